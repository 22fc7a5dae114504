#include "transfer/resume.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/units.h"

/* Validators. */

bool resume_etag_is_strong(const char *etag)
{
    if (!etag || *etag != '"')
        return false;
    size_t len = 1;
    for (; etag[len] && etag[len] != '"'; len++)
        if ((unsigned char)etag[len] <= ' ' || etag[len] == 0x7f)
            return false;
    return len > 1 /* "" is nothing to tell versions apart by */
           && etag[len] == '"' && etag[len + 1] == '\0';
}

/* A date is compared and sent as it came; it must only be fit for a header. */
static bool is_date(const char *date)
{
    if (!date || !*date)
        return false;
    for (; *date; date++)
        if (*date < ' ' || *date > '~')
            return false;
    return true;
}

/* None at all is the same as none. */
static bool same_etag(const struct resume_known *known, const struct resume_head *head)
{
    if (!known->etag || !head->etag)
        return known->etag == head->etag;
    return strcmp(known->etag, head->etag) == 0;
}

static bool same_strong_etag(const struct resume_known *known, const struct resume_head *head)
{
    return resume_etag_is_strong(known->etag) && same_etag(known, head);
}

static bool same_date(const struct resume_known *known, const struct resume_head *head)
{
    return is_date(known->last_modified) && head->last_modified &&
           strcmp(known->last_modified, head->last_modified) == 0;
}

/* The nodes of a network that give out the same file often differ in the ETag, never in its size
 * and date. */
static bool same_version(const struct resume_known *known, const struct resume_head *head,
                         int64_t total)
{
    return total == known->total && !head->encoded &&
           (known->checked || same_strong_etag(known, head) || same_date(known, head));
}

/* What is not the same, as a sentence. */
static void say_change(const struct resume_known *known, const struct resume_head *head,
                       int64_t total, char message[static 128])
{
    if (head->encoded)
        snprintf(message, 128, "the server now sends the file encoded");
    else if (total < 0)
        snprintf(message, 128, "the server no longer says how long the file is");
    else if (total != known->total)
        snprintf(message, 128,
                 "the file changed on the server: it has %" PRId64 " bytes, not %" PRId64, total,
                 known->total);
    else if (known->last_modified && head->last_modified && !same_date(known, head))
        snprintf(message, 128, "the file changed on the server: it was modified meanwhile");
    else if (known->etag && head->etag && !same_etag(known, head))
        snprintf(message, 128, "the file changed on the server: its ETag is another one");
    else
        snprintf(message, 128, "the server does not show that the file is still the same");
}

/* Asking. */

struct resume_request resume_plan(const struct resume_known *known, bool without_if_range)
{
    bool strong = resume_etag_is_strong(known->etag);
    bool dated = is_date(known->last_modified);
    struct resume_request request = {0};

    int64_t have = known->have < known->total ? known->have : known->total;
    if (have <= RESUME_OVERLAP || (!strong && !dated && !known->checked))
        return request;
    request.start = have - RESUME_OVERLAP;
    if (without_if_range || known->checked)
        return request;
    if (strong)
        request.if_range = known->etag;
    else if (!known->etag) /* RFC 9110, 13.1.5: a date only where there is no ETag */
        request.if_range = known->last_modified;
    return request;
}

/* Judging. */

bool resume_parse_content_range(const char *value, int64_t *ret_first, int64_t *ret_last,
                                int64_t *ret_total)
{
    int64_t first = -1, last = -1, total = -1;
    const char *c = value + strspn(value, " \t");
    if (strncasecmp(c, "bytes", 5) != 0 || (c[5] != ' ' && c[5] != '\t'))
        return false;
    c += 5;
    c += strspn(c, " \t");

    bool unsatisfied = *c == '*';
    if (unsatisfied)
        c++;
    else if (!units_scan_digits(&c, &first) || *c++ != '-' || !units_scan_digits(&c, &last) ||
             last < first)
        return false;
    if (*c++ != '/')
        return false;
    if (*c == '*' && !unsatisfied)
        c++;
    else if (!units_scan_digits(&c, &total) || last >= total)
        return false;
    if (c[strspn(c, " \t")] != '\0')
        return false;

    *ret_first = first;
    *ret_last = last;
    *ret_total = total;
    return true;
}

static enum resume_verdict judge_whole(const struct resume_known *known,
                                       const struct resume_request *request,
                                       const struct resume_head *head, char message[static 128])
{
    if (request->start == 0)
        return RESUME_WHOLE;
    if (!same_version(known, head, head->length)) {
        say_change(known, head, head->length, message);
        return RESUME_WHOLE;
    }
    if (request->if_range && !same_etag(known, head) && !head->no_ranges)
        return RESUME_WITHOUT_IF_RANGE;
    snprintf(message, 128, "the server sends the file only as a whole");
    return RESUME_WHOLE;
}

/* Whether a 206 agrees with itself and begins where it was to begin. */
static bool read_part(const struct resume_request *request, const struct resume_head *head,
                      int64_t *ret_total, char message[static 128])
{
    int64_t first, last, total;
    if (request->start == 0)
        snprintf(message, 128, "the server sent a part of the file though all of it was wanted");
    else if (!head->content_range)
        snprintf(message, 128, "the server sent a part of the file without saying which");
    else if (!resume_parse_content_range(head->content_range, &first, &last, &total) || first < 0)
        snprintf(message, 128, "the server sent a part of the file with a bad Content-Range");
    else if (first != request->start)
        snprintf(message, 128,
                 "the server sent the bytes from %" PRId64 " on, not those from %" PRId64, first,
                 request->start);
    else if (head->length >= 0 && head->length != last - first + 1)
        snprintf(message, 128, "the server announced %" PRId64 " bytes, and a part of %" PRId64,
                 head->length, last - first + 1);
    else {
        *ret_total = total;
        return true;
    }
    return false;
}

static enum resume_verdict judge_part(const struct resume_known *known,
                                      const struct resume_request *request,
                                      const struct resume_head *head, char message[static 128])
{
    int64_t total;
    if (!read_part(request, head, &total, message))
        return RESUME_NONSENSE;
    if (total >= 0 && total != known->total && same_strong_etag(known, head)) {
        snprintf(message, 128,
                 "the server says the file has %" PRId64 " bytes, and said %" PRId64
                 " of the same version",
                 total, known->total);
        return RESUME_NONSENSE;
    }
    if (!same_version(known, head, total)) {
        say_change(known, head, total, message);
        return RESUME_CHANGED;
    }
    return RESUME_PART;
}

static enum resume_verdict judge_unsatisfied(const struct resume_known *known,
                                             const struct resume_request *request,
                                             const struct resume_head *head,
                                             char message[static 128])
{
    int64_t first, last, total;
    if (request->start == 0) {
        snprintf(message, 128, "the server refused a part of the file though all of it was wanted");
        return RESUME_NONSENSE;
    }
    if (!head->content_range ||
        !resume_parse_content_range(head->content_range, &first, &last, &total) || first >= 0) {
        snprintf(message, 128,
                 "the server refused a part of the file without saying how long it is");
        return RESUME_NONSENSE;
    }
    if (total != known->total) {
        say_change(known, head, total, message);
        return RESUME_CHANGED;
    }
    snprintf(message, 128,
             "the server refused the bytes from %" PRId64 " on of the %" PRId64 " that it has",
             request->start, total);
    return RESUME_NONSENSE;
}

/* FTP and SFTP go on where they are told to; size and time are all there is to know a file by. */
static enum resume_verdict judge_other(const struct resume_known *known,
                                       const struct resume_request *request,
                                       const struct resume_head *head, char message[static 128])
{
    if (request->start == 0)
        return RESUME_WHOLE;
    int64_t total;
    if (head->length < 0 || __builtin_add_overflow(request->start, head->length, &total))
        total = -1;
    if (same_version(known, head, total))
        return RESUME_PART;
    say_change(known, head, total, message);
    return RESUME_CHANGED;
}

enum resume_verdict resume_judge(const struct resume_known *known,
                                 const struct resume_request *request,
                                 const struct resume_head *head, char message[static 128])
{
    message[0] = '\0';
    switch (head->status) {
    case 0:
        return judge_other(known, request, head, message);
    case 200:
        return judge_whole(known, request, head, message);
    case 206:
        return judge_part(known, request, head, message);
    case 416:
        return judge_unsatisfied(known, request, head, message);
    default:
        snprintf(message, 128, "the server answered with status %d", head->status);
        return RESUME_NONSENSE;
    }
}
