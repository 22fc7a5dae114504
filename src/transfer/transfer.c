#include "transfer/transfer.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/units.h"
#include "transfer/checksum.h"
#include "transfer/gather.h"
#include "transfer/part.h"
#include "transfer/ranges.h"

#define REQUESTS_MAX 4     /* in one run, before the first bytes are kept */
#define REPORT_EVERY 400   /* ms, at least, while others bring bytes */
#define HANDS_EVERY  200   /* ms between two calls for help */
#define OPEN_AFTER   60    /* ms from the first byte */
#define WAIT_SLICE   250   /* ms */
#define PATIENCE     60000 /* ms, of a server that wants no helpers and does not say for how long */

struct transfer {
    struct downloader *downloader;
    struct gather gather;
    struct team *team; /* that this one leads */
    struct team_member member;

    /* one run */
    const struct transfer_job *job;
    const struct transfer_ops *ops;
    const struct download_result *result; /* of the first requests */
    struct download_options options; /* for requests after the first, and for helpers */
    int fd;                          /* -1: not open; the caller's */
    int64_t total;                   /* of the file, -1: not known */
    char why[200];                   /* what is there is given up; "": it is not */
    const char *code;                /* of our own failure, or NULL; the first one is told */
    int disk_error;                  /* behind the code "disk" */
    char message[sizeof((struct download_result *)0)->error_message];
    struct checksum *checksum; /* of the first `hashed` bytes; NULL: not asked for, or not so */
    int64_t hashed;
    int64_t had;  /* bytes that were there in all */
    bool goes_on; /* bytes that were there are kept: the file may be too long */
    char *etag;   /* by which others may join, once bytes come: strong, owned; NULL: none may */
    bool is_open; /* they may now */
    bool has_begun; /* the team is this run's */
    int64_t reported_at, called_at; /* boottime */

    /* one request */
    struct resume_known known;
    struct resume_request request;
    bool again;       /* the answer is of no use, but another request may be */
    bool from_zero;   /* the next one is a plain GET */
    bool was_global;  /* so far in this run (download.h) */
    bool no_if_range; /* the next one is without If-Range */
    int64_t at;       /* where in the file the next byte that comes belongs */
    int64_t from;     /* the bytes before this one are there: to be compared */
    int64_t end;      /* where the bytes that were announced end, -1: not known */
    bool taken;       /* others have what it would bring */
};

/* Failures of our own: a callback returns what these return, and so ends the download. */

static int fail(struct transfer *transfer, const char *code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static int fail(struct transfer *transfer, const char *code, const char *format, ...)
{
    va_list args;
    if (transfer->code)
        return -EIO;
    transfer->code = code;
    va_start(args, format);
    vsnprintf(transfer->message, sizeof transfer->message, format, args);
    va_end(args);
    return -EIO;
}

static int fail_disk(struct transfer *transfer, int r, const char *what)
{
    if (!transfer->code)
        transfer->disk_error = r;
    return fail(transfer, "disk", "%s: %s", what, strerrordesc_np(-r));
}

static int ask_again(struct transfer *transfer)
{
    transfer->again = true;
    return -EAGAIN;
}

static void give_up_bytes(struct transfer *transfer, const char *why)
{
    snprintf(transfer->why, sizeof transfer->why, "%s; started again from zero", why);
}

static int ask_from_zero(struct transfer *transfer, const char *why)
{
    transfer->from_zero = true;
    give_up_bytes(transfer, why);
    return ask_again(transfer);
}

/* The file. Around each of these calls, which the kernel may hold, others can see since when. */

void transfer_enter_disk(struct transfer *transfer)
{
    gather_enter_disk(&transfer->gather);
}

void transfer_leave_disk(struct transfer *transfer)
{
    gather_leave_disk(&transfer->gather);
}

int64_t transfer_on_disk_since(const struct transfer *transfer)
{
    return atomic_load_explicit(&transfer->gather.on_disk_since, memory_order_relaxed);
}

static void call_for_help(struct transfer *transfer, const struct team_view *view, int64_t now)
{
    const struct transfer_ops *ops = transfer->ops;
    bool first = transfer->called_at == 0; /* once the rate is known */
    if (!transfer->is_open || !ops->on_hands || (first && view->wanted == 0) ||
        now - transfer->called_at < HANDS_EVERY)
        return;
    transfer->called_at = now;
    ops->on_hands(ops->data, transfer->team, view->wanted, view->left);
}

static void report_progress(struct transfer *transfer)
{
    const struct transfer_ops *ops = transfer->ops;
    int64_t now = units_now_boottime();
    struct team_view view;
    team_look(transfer->team, now, &view);
    transfer->reported_at = now;
    transfer_enter_disk(transfer); /* the callback looks at the file, too */
    ops->on_progress(ops->data,
                     &(struct transfer_progress){view.written, view.bytes, view.members});
    transfer_leave_disk(transfer);
    call_for_help(transfer, &view, now);
}

/* Without memory nobody joins. */
static void open_team(struct transfer *transfer)
{
    const struct team_file file = {.url = transfer->job->url,
                                   .options = &transfer->options,
                                   .etag = transfer->etag,
                                   .limits = transfer->job->limits,
                                   .total = transfer->total,
                                   .fd = transfer->fd};
    transfer->options.was_global = transfer->options.was_global || transfer->result->was_global;
    transfer->is_open = team_open(transfer->team, &file) == 0;
}

static void on_written(void *data, int64_t at, const char *bytes, size_t len)
{
    struct transfer *transfer = data;
    if (transfer->checksum && at == transfer->hashed) {
        checksum_add(transfer->checksum, bytes, len);
        transfer->hashed += (int64_t)len;
    }
    if (transfer->etag && !transfer->is_open)
        open_team(transfer);
    report_progress(transfer);
}

/* 0, GATHER_RANGE_DONE, or a failure that is told. */
static int judge_write(struct transfer *transfer, int r)
{
    return r < 0 && r != GATHER_RANGE_DONE ? fail_disk(transfer, r, "cannot write the file") : r;
}

/* So that a file that cannot fit fails at once, and lies together on the disk. The file's size does
 * not change: it says how much was written. */
static int reserve(struct transfer *transfer)
{
    int64_t missing = transfer->total - transfer->from;
    if (missing <= GATHER_SIZE) /* one write: nothing to gain */
        return 0;
    int r;
    transfer_enter_disk(transfer);
    do
        r = fallocate(transfer->fd, FALLOC_FL_KEEP_SIZE, transfer->from, missing);
    while (r < 0 && errno == EINTR);
    transfer_leave_disk(transfer);
    if (r < 0 && (errno == ENOSPC || errno == EDQUOT || errno == EFBIG))
        return fail_disk(transfer, -errno, "not enough space for the file");
    return 0; /* whatever else is wrong, writing will tell */
}

static int cut(struct transfer *transfer, int64_t size)
{
    int r;
    transfer_enter_disk(transfer);
    do
        r = ftruncate(transfer->fd, size);
    while (r < 0 && errno == EINTR);
    transfer_leave_disk(transfer);
    return r < 0 ? fail_disk(transfer, -errno, "cannot cut the file to its size") : 0;
}

/* Up to `len` bytes at `at`; 0: the file ends there. */
static ssize_t read_some(struct transfer *transfer, char *buffer, size_t len, int64_t at)
{
    ssize_t n;
    transfer_enter_disk(transfer);
    do
        n = pread(transfer->fd, buffer, len, at);
    while (n < 0 && errno == EINTR);
    transfer_leave_disk(transfer);
    return n < 0 ? fail_disk(transfer, -errno, "cannot read the file") : n;
}

/* Answers. */

static int start_checksum(struct transfer *transfer)
{
    int r = checksum_create(transfer->job->checksum, &transfer->checksum);
    if (r == -EOPNOTSUPP)
        return fail(transfer, "checksum", "this system does not allow that kind of checksum");
    return r < 0 ? fail(transfer, "internal", "out of memory") : 0;
}

/* By this answer others may know the file, once its bytes come. */
static void keep_etag(struct transfer *transfer, const struct download_head *head)
{
    bool may = head->status != 0 && strncasecmp(transfer->job->url, "http", 4) == 0 &&
               transfer->total >= TEAM_WORTH && !head->encoded && !head->no_ranges &&
               resume_etag_is_strong(head->etag);
    free(transfer->etag);
    transfer->etag = may ? strdup(head->etag) : NULL;
}

/* The first part of what is missing is what comes. */
static void begin_bytes(struct transfer *transfer, const struct download_head *head)
{
    struct team_part part;
    int64_t now = units_now_boottime();
    keep_etag(transfer, head);
    if (!team_take(&transfer->member, now, &part))
        atomic_store(&transfer->member.end, transfer->from);
    team_starts(&transfer->member, now);
    transfer->gather.fd = transfer->fd;
    gather_begin(&transfer->gather, transfer->from);
    transfer->gather.extends = transfer->gather.takes_back = true;
}

/* All of the file comes, though there may be bytes of it. */
static int begin(struct transfer *transfer, const struct download_head *head)
{
    const struct transfer_ops *ops = transfer->ops;
    struct download_head version = *head;
    bool is_open = transfer->fd >= 0;
    int r = is_open ? 0 : ops->open(ops->data, head, &transfer->fd);
    if (r < 0)
        return r;
    if (version.encoded) /* another time other bytes may come */
        version.etag = version.last_modified = NULL;
    transfer->total = transfer->end = head->length;
    transfer->at = transfer->from = 0;
    transfer->goes_on = false;
    team_begin(transfer->team, &transfer->member, head->length, 0, NULL);
    r = ops->on_version(ops->data, &version, head->length, 0, true,
                        transfer->why[0] ? transfer->why : NULL);
    if (r == 0 && is_open) /* only now: what is on record is no longer what was there */
        r = cut(transfer, 0);
    if (r == 0 && transfer->job->checksum)
        r = start_checksum(transfer);
    if (r == 0)
        r = reserve(transfer);
    if (r == 0)
        begin_bytes(transfer, head);
    return r;
}

/* Not always where the file does. The head was judged: it is not nonsense. */
static int64_t end_of_part(const struct download_head *head, int64_t file_total)
{
    int64_t first, last, total;
    bool says = head->content_range &&
                resume_parse_content_range(head->content_range, &first, &last, &total);
    return says ? last + 1 : file_total;
}

static bool has_same_etag(const struct transfer *transfer, const struct download_head *head)
{
    return resume_etag_is_strong(transfer->known.etag) && head->etag && !head->encoded &&
           strcmp(transfer->known.etag, head->etag) == 0;
}

/* All of the file comes, and it is the one that parts further on are there of. */
static bool keeps_parts(struct transfer *transfer, const struct download_head *head)
{
    struct team_view view;
    team_look(transfer->team, 0, &view);
    return transfer->request.start == 0 && !transfer->from_zero && transfer->fd >= 0 &&
           view.bytes > view.written && head->length == transfer->known.total &&
           has_same_etag(transfer, head);
}

/* The rest of the file comes, after some bytes that are there: to be compared. */
static int go_on(struct transfer *transfer, const struct download_head *head)
{
    const struct transfer_ops *ops = transfer->ops;
    const struct resume_known *known = &transfer->known;
    struct download_head version = *head;
    if (!version.etag) /* the head of a part need not say what the whole one's did */
        version.etag = known->etag;
    if (!version.last_modified)
        version.last_modified = known->last_modified;
    transfer->total = known->total;
    transfer->at = transfer->request.start;
    transfer->end = end_of_part(head, known->total);
    transfer->from = known->have;
    transfer->goes_on = true;
    if (!has_same_etag(transfer, head)) /* what is further on is seen by nobody again */
        team_begin(transfer->team, &transfer->member, known->total, known->have, NULL);
    int r = ops->on_version(ops->data, &version, transfer->total, transfer->from, false, NULL);
    if (r == 0)
        r = reserve(transfer);
    if (r == 0)
        begin_bytes(transfer, head);
    return r;
}

static int check_size(struct transfer *transfer, int64_t size)
{
    int64_t max = transfer->job->max_size;
    if (max == 0 || size <= max)
        return 0;
    return fail(transfer, "too_large",
                "the file is larger than max-file-size allows (%" PRId64 " bytes)", max);
}

static int on_head(void *data, const struct download_head *head)
{
    struct transfer *transfer = data;
    const struct resume_head answer = {
        .status = head->status,
        .length = head->length,
        .content_range = head->content_range,
        .etag = head->etag,
        .last_modified = head->last_modified,
        .encoded = head->encoded,
        .no_ranges = head->no_ranges,
    };
    char message[128];
    int r;

    switch (resume_judge(&transfer->known, &transfer->request, &answer, message)) {
    case RESUME_WHOLE:
        if (transfer->request.start > 0)
            give_up_bytes(transfer, message);
        r = check_size(transfer, head->length);
        if (r < 0)
            return r;
        return keeps_parts(transfer, head) ? go_on(transfer, head) : begin(transfer, head);
    case RESUME_PART:
        r = check_size(transfer, transfer->known.total);
        return r < 0 ? r : go_on(transfer, head);
    case RESUME_WITHOUT_IF_RANGE:
        transfer->no_if_range = true;
        return ask_again(transfer);
    case RESUME_CHANGED:
        return ask_from_zero(transfer, message);
    case RESUME_NONSENSE:
        break;
    }
    return fail(transfer, "protocol", "%s", message);
}

/* Bodies. */

/* Of bytes that come, those that are there already must be the same. Returns how many these are. */
static ssize_t compare(struct transfer *transfer, const char *bytes, size_t len)
{
    char there[16384];
    size_t same = 0;
    int64_t missing = transfer->from - transfer->at;
    if ((int64_t)len > missing)
        len = (size_t)missing;
    while (same < len) {
        size_t n = len - same < sizeof there ? len - same : sizeof there;
        ssize_t got = read_some(transfer, there, n, transfer->at);
        if (got < 0)
            return got;
        if (got == 0 || memcmp(there, bytes + same, (size_t)got) != 0)
            return ask_from_zero(transfer, "the server has other bytes than those that are there");
        same += (size_t)got;
        transfer->at += got;
    }
    return (ssize_t)same;
}

static bool is_at_end(const struct transfer *transfer)
{
    return gather_position(&transfer->gather) >= atomic_load(&transfer->member.end);
}

/* Written with nothing left of its range: the rest is somebody else's. */
static int stop_at_end(struct transfer *transfer)
{
    struct gather *gather = &transfer->gather;
    if (!is_at_end(transfer))
        return 0;
    int r = gather_flush(gather);
    return r == 0 && gather_is_done(gather) ? GATHER_RANGE_DONE : r;
}

static int add(struct transfer *transfer, const char *bytes, size_t len)
{
    int r = gather_add(&transfer->gather, bytes, len);
    transfer->at += (int64_t)len;
    if (r == 0 && transfer->total >= 0 && transfer->at < transfer->total)
        r = stop_at_end(transfer);
    return judge_write(transfer, r);
}

static int take_in(void *data, const char *bytes, size_t len)
{
    struct transfer *transfer = data;
    size_t seen = 0;

    if (transfer->at < transfer->from) {
        ssize_t n = compare(transfer, bytes, len);
        if (n < 0)
            return (int)n;
        seen = (size_t)n;
    }
    int64_t end = transfer->at + (int64_t)(len - seen);
    if (transfer->end >= 0 && end > transfer->end)
        return fail(transfer, "protocol", "the server sends more than it announced");
    int r = check_size(transfer, end);
    if (r < 0 || seen == len)
        return r;
    return add(transfer, bytes + seen, len - seen);
}

static bool cancelled(void *data);

static int on_data(void *data, const char *bytes, size_t len)
{
    struct transfer *transfer = data;
    return ratelimit_hand_on(transfer->job->limits, bytes, len, take_in, cancelled, transfer);
}

static void on_response(void *data, int status)
{
    struct transfer *transfer = data;
    transfer->ops->on_response(transfer->ops->data, status);
}

static void report_if_due(struct transfer *transfer)
{
    if (transfer->is_open && units_now_boottime() - transfer->reported_at >= REPORT_EVERY)
        report_progress(transfer);
}

/* Asked about once a second, and so the time to write what trickles in. */
static bool cancelled(void *data)
{
    struct transfer *transfer = data;
    int r = judge_write(transfer, gather_flush_due(&transfer->gather));
    report_if_due(transfer);
    return (r < 0 && r != GATHER_RANGE_DONE) || transfer->ops->cancelled(transfer->ops->data);
}

/* Helpers come as soon as it can be told how fast this is, though little is gathered yet. */
static void open_early(struct transfer *transfer)
{
    if (transfer->etag && !transfer->is_open && transfer->gather.filled > 0 &&
        units_now_boottime() - transfer->gather.flushed_at >= OPEN_AFTER)
        judge_write(transfer, gather_flush(&transfer->gather));
}

/* The same for the first request, which goes to the end of the file: others may have all of its
 * range by now, while it stalled. */
static bool first_cancelled(void *data)
{
    struct transfer *transfer = data;
    open_early(transfer);
    if (transfer->is_open && transfer->at >= transfer->from && transfer->at < transfer->total) {
        if (is_at_end(transfer))
            judge_write(transfer, gather_flush(&transfer->gather)); /* it may go on then */
        transfer->taken =
            transfer->taken || (is_at_end(transfer) && team_is_followed(&transfer->member));
    }
    return transfer->taken || cancelled(data);
}

/* After the last byte. */

/* What was not hashed as it came: others brought it, or an earlier attempt. */
static int hash_file(struct transfer *transfer)
{
    int r = transfer->checksum ? 0 : start_checksum(transfer);
    for (int64_t at = transfer->hashed; r == 0 && at < transfer->total;) {
        if (transfer->ops->cancelled(transfer->ops->data))
            return -ECANCELED;
        ssize_t n = read_some(transfer, transfer->gather.bytes, GATHER_SIZE, at);
        if (n == 0)
            r = fail_disk(transfer, -EIO, "the file was cut while it was checked");
        else if (n < 0)
            r = (int)n;
        else
            checksum_add(transfer->checksum, transfer->gather.bytes, (size_t)n);
        at += n;
    }
    return r;
}

static int verify(struct transfer *transfer)
{
    char message[400];
    int r = 0;
    if (!transfer->job->checksum)
        return 0;
    if (!transfer->checksum || transfer->hashed < transfer->total)
        r = hash_file(transfer);
    if (r == 0 && checksum_verify(transfer->checksum, message) < 0)
        r = fail(transfer, "checksum", "%s", message);
    return r;
}

/* All that was missing is here. */
static int complete(struct transfer *transfer)
{
    int r = transfer->goes_on ? cut(transfer, transfer->total) : 0;
    return r < 0 ? r : verify(transfer);
}

/* Requests. */

/* What is really there. The bytes behind `have` are nobody's. */
static int open_known(struct transfer *transfer)
{
    const struct transfer_ops *ops = transfer->ops;
    struct resume_known *known = &transfer->known;
    struct stat st;

    int r = ops->open(ops->data, NULL, &transfer->fd);
    if (r < 0)
        return r;
    if (fstat(transfer->fd, &st) < 0)
        return fail_disk(transfer, -errno, "cannot look at the file");
    if (st.st_size < known->have) {
        known->have = st.st_size;
        give_up_bytes(transfer, "bytes of the part file are missing");
        team_begin(transfer->team, &transfer->member, known->total, known->have,
                   transfer->job->ranges);
    }
    team_truncate(transfer->team, st.st_size);
    return 0;
}

static void plan(struct transfer *transfer)
{
    if (transfer->from_zero)
        transfer->request = (struct resume_request){0};
    else
        transfer->request = resume_plan(&transfer->known, transfer->no_if_range);
    if (transfer->request.start == 0 && transfer->known.have > RESUME_OVERLAP && !transfer->why[0])
        give_up_bytes(transfer, "the server gave nothing to know the file again by");
    transfer->again = false;
    gather_begin(&transfer->gather, transfer->known.have);
}

/* Whatever came is kept, however it ended. */
static int request_once(struct transfer *transfer, const struct download_options *options,
                        struct download_result *result)
{
    const struct download_callbacks callbacks = {
        .on_response = on_response,
        .on_head = on_head,
        .on_data = on_data,
        .cancelled = first_cancelled,
        .data = transfer,
    };
    struct download_options *ranged = &transfer->options;
    *ranged = *options;
    ranged->start = transfer->request.start;
    ranged->if_range = transfer->request.if_range;
    ranged->was_global = options->was_global || transfer->was_global;

    int r = download_run(transfer->downloader, transfer->job->url, ranged, &callbacks, result);
    transfer->was_global = transfer->was_global || result->was_global;
    if (r == GATHER_RANGE_DONE || (r == -ECANCELED && transfer->taken))
        r = 0;
    if (transfer->code)
        return r < 0 ? r : -EIO;
    int flushed = judge_write(transfer, gather_flush(&transfer->gather));
    if (r == 0)
        return flushed == GATHER_RANGE_DONE ? 0 : flushed;
    transfer->code = NULL; /* a failed last write does not hide how the download itself failed */
    return r;
}

static int fail_truncated(struct transfer *transfer)
{
    struct team_view view;
    team_look(transfer->team, 0, &view);
    return fail(transfer, "truncated", "the file ended early: %" PRId64 " of %" PRId64 " bytes",
                view.bytes, transfer->total);
}

/* The server says that this was all. */
static int check_first(struct transfer *transfer)
{
    struct team_part rest;
    if (transfer->total >= 0)
        return team_has(&transfer->member, &rest) ? fail_truncated(transfer) : 0;
    team_end_here(transfer->team);
    transfer->total = gather_position(&transfer->gather);
    return 0;
}

/* What neither the first request brought nor others have in hand; then waits for these. Their
 * connections may be good where one more is not to be had: what went wrong counts once they have
 * left. */
static int fetch_rest(struct transfer *transfer, struct download_result *result)
{
    struct download_result own;
    int failed = 0;
    const struct part_tools tools = {
        .downloader = transfer->downloader,
        .gather = &transfer->gather,
        .on_response = on_response,
        .cancelled = cancelled,
        .data = transfer,
    };
    struct team_part part;
    struct team_view view;
    bool refused = !transfer->is_open;
    for (;;) {
        team_look(transfer->team, units_now_boottime(), &view);
        if (view.whole)
            return 0;
        if (transfer->ops->cancelled(transfer->ops->data))
            return -ECANCELED;
        if (!refused && team_take(&transfer->member, units_now_boottime(), &part)) {
            int r = part_fetch(&tools, &part, &own);
            if (transfer->code) /* told by `cancelled` */
                return -EIO;
            if (r == PART_REFUSED || r == -EIO) {
                team_refuse(transfer->team);
                team_give_back(&transfer->member);
                refused = true;
                failed = r;
            } else if (r == -ECANCELED) {
                return r;
            } else if (r < 0) {
                return judge_write(transfer, r);
            }
        } else if (view.members == 1 && refused) {
            if (failed != -EIO)
                return fail_truncated(transfer);
            *result = own;
            return failed;
        } else {
            team_wait(transfer->team, WAIT_SLICE);
            report_if_due(transfer);
        }
    }
}

/* Until bytes were kept of an answer, and all of them have come. */
static int first_request(struct transfer *transfer, const struct download_options *options,
                         struct download_result *result)
{
    struct team_view view;
    team_look(transfer->team, 0, &view);
    int r = view.bytes > 0 ? open_known(transfer) : 0;
    for (int requests = 0; r == 0; requests++) {
        if (requests == REQUESTS_MAX)
            return fail(transfer, "changed", "the server sends another version each time");
        plan(transfer);
        r = request_once(transfer, options, result);
        if (!transfer->again)
            return r;
        r = 0;
    }
    return r;
}

static int run(struct transfer *transfer, const struct download_options *options,
               struct download_result *result)
{
    int r = first_request(transfer, options, result);
    if (r == 0)
        r = check_first(transfer);
    if (r == 0)
        r = fetch_rest(transfer, result);
    team_close(transfer->team, &transfer->gather.on_disk_since);
    return r < 0 ? r : complete(transfer);
}

/* A team that nobody else looks at any more. */
static int renew_team(struct transfer *transfer)
{
    if (team_is_mine(transfer->team))
        return 0;
    struct team *team;
    int r = team_create(&team);
    if (r < 0)
        return r;
    team_unref(transfer->team);
    transfer->team = team;
    return 0;
}

static int64_t bytes_of(struct transfer *transfer, int64_t *ret_written)
{
    struct team_view view;
    if (!transfer->has_begun) { /* the team's are another file's */
        *ret_written = transfer->known.have;
        return transfer->known.have + ranges_text_bytes(transfer->job->ranges);
    }
    team_look(transfer->team, 0, &view);
    *ret_written = view.written;
    return view.bytes;
}

/* Field by field: others look at on_disk_since meanwhile. */
static int begin_run(struct transfer *transfer, const struct transfer_job *job,
                     const struct transfer_ops *ops)
{
    int64_t written;
    transfer->job = job;
    transfer->ops = ops;
    transfer->fd = -1;
    transfer->total = job->known.total;
    transfer->why[0] = '\0';
    transfer->code = NULL;
    transfer->disk_error = 0;
    transfer->message[0] = '\0';
    transfer->checksum = NULL;
    transfer->hashed = 0;
    transfer->goes_on = transfer->is_open = transfer->taken = false;
    transfer->etag = NULL;
    transfer->reported_at = transfer->called_at = 0;
    transfer->known = job->known;
    if (transfer->known.total >= 0 && transfer->known.have > transfer->known.total)
        transfer->known.have = transfer->known.total;
    transfer->request = (struct resume_request){0};
    transfer->again = transfer->from_zero = transfer->no_if_range = false;
    transfer->was_global = false;
    transfer->at = transfer->from = 0;
    transfer->end = -1;
    transfer->has_begun = renew_team(transfer) == 0;
    if (!transfer->has_begun)
        return fail(transfer, "internal", "out of memory");
    transfer->gather.member = &transfer->member;
    transfer->gather.on_written = on_written;
    transfer->gather.data = transfer;
    team_begin(transfer->team, &transfer->member, transfer->known.total, transfer->known.have,
               job->ranges);
    transfer->had = bytes_of(transfer, &written);
    return 0;
}

int transfer_run(struct transfer *transfer, const struct transfer_job *job,
                 const struct download_options *options, const struct transfer_ops *ops,
                 struct transfer_outcome *ret_outcome)
{
    struct download_result *result = &ret_outcome->download;
    *ret_outcome = (struct transfer_outcome){
        .download = {.bytes_total = -1, .retry_after = -1}
    };

    int r = begin_run(transfer, job, ops);
    transfer->result = result;
    if (r == 0)
        r = run(transfer, options, result);
    if (transfer->code) {
        result->error_code = transfer->code;
        result->disk_error = transfer->disk_error;
        stpcpy(result->error_message, transfer->message);
        r = -EIO;
    }
    result->was_global = transfer->was_global;
    ret_outcome->bytes = bytes_of(transfer, &ret_outcome->written);
    ret_outcome->total = transfer->total;
    ret_outcome->progress = ret_outcome->bytes > transfer->had;
    checksum_destroy(transfer->checksum);
    transfer->checksum = NULL;
    free(TAKE_PTR(transfer->etag));
    transfer->job = NULL;
    transfer->ops = NULL;
    return r;
}

int transfer_written(struct transfer *transfer, int64_t *ret_written, char **ret_ranges)
{
    return transfer->has_begun ? team_written(transfer->team, ret_written, ret_ranges) : -ENOMEM;
}

/* Helping. */

struct helping {
    const struct transfer_help *help;
    struct team *team;
};

static void on_help_response(void *data, int status)
{
    struct helping *helping = data;
    helping->help->on_response(helping->help->data, status);
}

static bool has_to_leave(void *data)
{
    struct helping *helping = data;
    return team_is_closed(helping->team) || atomic_load(helping->help->leave) ||
           atomic_load(helping->help->lost);
}

/* Whatever went wrong, none who comes after fares better; but one whose connection was lost in the
 * middle may be followed by others. */
static int64_t judge_help(struct team *team, int r, const struct download_result *result)
{
    int status = result->http_status;
    bool lost = r == -EIO && result->bytes_done > 0;
    if (r == 0 || r == -ECANCELED || lost)
        return 0;
    team_refuse(team);
    if (r != -EIO || (status != 429 && status != 503))
        return 0;
    return result->retry_after > 0 ? result->retry_after : PATIENCE;
}

int64_t transfer_help(struct transfer *transfer, struct team *team,
                      const struct transfer_help *help)
{
    struct helping helping = {help, team};
    struct team_member member = {.on_disk_since = &transfer->gather.on_disk_since};
    struct download_result result = {0};
    struct team_part part;
    const struct part_tools tools = {
        .downloader = transfer->downloader,
        .gather = &transfer->gather,
        .on_response = on_help_response,
        .cancelled = has_to_leave,
        .data = &helping,
    };
    if (team_join(team, &member, help->hands, units_now_boottime()) < 0)
        return 0;
    transfer->gather.member = &member;
    transfer->gather.on_written = NULL;
    transfer->gather.fd = team_file(team)->fd;
    int r = 0;
    while (r == 0 && !has_to_leave(&helping) && team_take(&member, units_now_boottime(), &part))
        r = part_fetch(&tools, &part, &result);
    int64_t patience = judge_help(team, r, &result);
    team_leave(&member);
    return patience;
}

int transfer_create(struct download_share *share, struct transfer **ret_transfer)
{
    struct transfer *transfer = calloc(1, sizeof *transfer);
    if (!transfer)
        return -ENOMEM;
    if (gather_init(&transfer->gather) < 0 || team_create(&transfer->team) < 0 ||
        downloader_create(share, &transfer->downloader) < 0) {
        transfer_destroy(transfer);
        return -ENOMEM;
    }
    *ret_transfer = transfer;
    return 0;
}

void transfer_destroy(struct transfer *transfer)
{
    if (!transfer)
        return;
    downloader_destroy(transfer->downloader);
    gather_release(&transfer->gather);
    team_unref(transfer->team);
    free(transfer);
}
