#include "transfer/part.h"

#include <errno.h>
#include <string.h>

#include "common/units.h"
#include "transfer/ratelimit.h"
#include "transfer/resume.h"

/* Less than that, and than half, of a part, from an answer that says nothing of having been cut:
 * asking on could be asking for ever. */
#define SHORT GATHER_SIZE

struct fetch {
    const struct part_tools *tools;
    const struct team_file *file;
    const struct team_part *part;
    bool accepted;
    bool taken; /* others have all of it */
    int disk_error;
};

/* The part that was asked for, whole, of the file that the team has. */
static bool is_ours(const struct fetch *fetch, const struct download_head *head)
{
    int64_t first, last, total;
    return head->status == 206 && !head->encoded && head->content_range &&
           resume_parse_content_range(head->content_range, &first, &last, &total) &&
           first == fetch->part->start && last == fetch->part->end - 1 &&
           total == fetch->file->total && (head->length < 0 || head->length == last - first + 1) &&
           head->etag && strcmp(head->etag, fetch->file->etag) == 0;
}

static int on_head(void *data, const struct download_head *head)
{
    struct fetch *fetch = data;
    if (!is_ours(fetch, head))
        return PART_REFUSED;
    fetch->accepted = true;
    team_starts(fetch->tools->gather->member, units_now_boottime());
    return 0;
}

static int keep_error(struct fetch *fetch, int r)
{
    if (r < 0 && r != GATHER_RANGE_DONE)
        fetch->disk_error = r;
    return r;
}

static int take_in(void *data, const char *bytes, size_t len)
{
    struct fetch *fetch = data;
    struct gather *gather = fetch->tools->gather;
    int64_t left = fetch->part->end - gather_position(gather);
    bool is_more = (int64_t)len > left; /* than it announced: who knows when that ends */
    int r = keep_error(fetch, gather_add(gather, bytes, is_more ? (size_t)left : len));
    if (r == 0 &&
        (is_more || (gather_position(gather) < fetch->part->end && gather_is_done(gather))))
        r = GATHER_RANGE_DONE; /* the rest would come for nothing */
    return r;
}

static void on_response(void *data, int status)
{
    struct fetch *fetch = data;
    fetch->tools->on_response(fetch->tools->data, status);
}

static bool cancelled(void *data)
{
    struct fetch *fetch = data;
    struct gather *gather = fetch->tools->gather;
    keep_error(fetch, gather_flush_due(gather));
    if (gather_is_done(gather) && gather_position(gather) < fetch->part->end)
        fetch->taken = true; /* while it stalled */
    return fetch->taken || fetch->disk_error || fetch->tools->cancelled(fetch->tools->data);
}

static int on_data(void *data, const char *bytes, size_t len)
{
    struct fetch *fetch = data;
    return ratelimit_hand_on(fetch->file->limits, bytes, len, take_in, cancelled, fetch);
}

/* The answer has ended, and nothing was wrong with it but that. */
static bool is_short(const struct fetch *fetch)
{
    struct gather *gather = fetch->tools->gather;
    int64_t asked = fetch->part->end - fetch->part->start;
    int64_t came = gather_position(gather) - fetch->part->start;
    return came < SHORT && came * 2 < asked && !gather_is_done(gather);
}

int part_fetch(const struct part_tools *tools, const struct team_part *part,
               struct download_result *ret_result)
{
    const struct team_file *file = team_file(tools->gather->member->team);
    struct fetch fetch = {.tools = tools, .file = file, .part = part};
    const struct download_callbacks callbacks = {
        .on_response = on_response,
        .on_head = on_head,
        .on_data = on_data,
        .cancelled = cancelled,
        .data = &fetch,
    };
    struct download_options options = *file->options;
    options.start = part->start;
    options.end = part->end;
    options.if_range = file->etag;
    gather_begin(tools->gather, part->start);
    tools->gather->extends = true; /* what others took of it, and gave back */
    int r = download_run(tools->downloader, file->url, &options, &callbacks, ret_result);
    keep_error(&fetch, gather_flush(tools->gather));
    if (fetch.disk_error)
        return fetch.disk_error;
    if (r == -ECANCELED && fetch.taken) /* before there was an answer? */
        return fetch.accepted ? 0 : PART_REFUSED;
    if (r == 0 && is_short(&fetch))
        return PART_REFUSED;
    return r == GATHER_RANGE_DONE ? 0 : r;
}
