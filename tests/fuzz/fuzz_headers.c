/* What a server's header fields say: how long to wait, which part of the file this is, and whether
 * it is the same file as before. */
#include <string.h>
#include <time.h>

#include "common/cleanup.h"
#include "fuzz.h"
#include "transfer/resume.h"
#include "transfer/retry.h"

/* --- Retry-After --- */

/* The same moment in the three forms that there are (RFC 9110, 5.6.7). */
static void check_dates(int64_t now, int64_t ahead)
{
    char texts[3][64];
    time_t then = (now + ahead) / 1000;
    struct tm tm;
    MUST(gmtime_r(&then, &tm));
    int64_t wait = 1000 * then - now;
    wait = wait < 0 ? 0 : wait > RETRY_AFTER_MAX ? RETRY_AFTER_MAX : wait;
    strftime(texts[0], sizeof texts[0], "%a, %d %b %Y %H:%M:%S GMT", &tm);
    size_t len = strftime(texts[1], sizeof texts[1], "%A, %d-%b-", &tm);
    len += (size_t)sprintf(texts[1] + len, "%02d", tm.tm_year % 100);
    strftime(texts[1] + len, sizeof texts[1] - len, " %H:%M:%S GMT", &tm);
    strftime(texts[2], sizeof texts[2], "%a %b %e %H:%M:%S %Y", &tm);
    for (size_t i = 0; i < 3; i++)
        MUST(retry_parse_after(texts[i], now) == wait);
}

static void check_retry_after(const char *text, int64_t now, int64_t ahead)
{
    int64_t wait = retry_parse_after(text, now);
    MUST(wait >= -1 && wait <= RETRY_AFTER_MAX);
    size_t digits = strspn(text, "0123456789");
    if (digits && digits < 64 && !text[digits]) {
        const char *start = text + strspn(text, "0");
        int64_t seconds = strlen(start) > 5 ? RETRY_AFTER_MAX : strtol(text, NULL, 10);
        MUST(wait == (seconds > RETRY_AFTER_MAX / 1000 ? RETRY_AFTER_MAX : 1000 * seconds));
    }
    check_dates(now, ahead);
}

static void check_decision(uint64_t random, int failures, int64_t wait, int64_t max_wait)
{
    struct download_result result = {.error_code = "http", .http_status = 503, .retry_after = -1};
    struct retry_policy policy = {.retries = 1000, .wait = wait, .max_wait = max_wait};
    struct retry_history history = {.failures = failures};
    struct retry_decision decision = retry_decide(&result, &policy, &history, random);
    MUST(decision.again == (failures <= policy.retries) && !decision.host);
    MUST(decision.wait >= 0 && decision.wait <= max_wait);
}

/* --- Content-Range --- */

static void check_range(const char *text)
{
    int64_t first = 7, last = 7, total = 7;
    if (!resume_parse_content_range(text, &first, &last, &total)) {
        MUST(first == 7 && last == 7 && total == 7);
        return;
    }
    bool unsatisfied = first == -1 && last == -1 && total >= 0;
    MUST(unsatisfied || (first >= 0 && first <= last && (total == -1 || last < total)));

    char again[128];
    if (unsatisfied)
        snprintf(again, sizeof again, "bytes */%jd", (intmax_t)total);
    else if (total < 0)
        snprintf(again, sizeof again, "bytes %jd-%jd/*", (intmax_t)first, (intmax_t)last);
    else
        snprintf(again, sizeof again, "bytes %jd-%jd/%jd", (intmax_t)first, (intmax_t)last,
                 (intmax_t)total);
    int64_t same_first, same_last, same_total;
    MUST(resume_parse_content_range(again, &same_first, &same_last, &same_total));
    MUST(same_first == first && same_last == last && same_total == total);
}

/* --- the same file? --- */

static bool same_text(const char *one, const char *other)
{
    return one && other && strcmp(one, other) == 0;
}

/* What may be written behind the bytes that are there is what the server showed to be the same. */
static void check_part(const struct resume_known *known, const struct resume_request *request,
                       const struct resume_head *head)
{
    int64_t first, last, total;
    MUST(request->start > 0);
    MUST(!head->encoded);
    MUST((resume_etag_is_strong(known->etag) && same_text(known->etag, head->etag)) ||
         same_text(known->last_modified, head->last_modified));
    if (head->status == 206) {
        MUST(head->content_range &&
             resume_parse_content_range(head->content_range, &first, &last, &total));
        MUST(first == request->start && last < total); /* it may end early */
        MUST(head->length < 0 || head->length == last - first + 1);
    } else {
        MUST(head->status == 0 && head->length >= 0);
        total = request->start + head->length;
    }
    MUST(total == known->total);
}

static void check_resume(const struct resume_known *known, const struct resume_head *head,
                         bool without_if_range)
{
    struct resume_request request = resume_plan(known, without_if_range);
    MUST(request.start >= 0 && request.start <= known->have);
    MUST(request.start == 0 || request.start < known->total);
    MUST(!request.if_range || (request.start > 0 && (request.if_range == known->etag ||
                                                     request.if_range == known->last_modified)));
    MUST(!request.if_range || !strpbrk(request.if_range, "\r\n"));

    char message[128];
    memset(message, 'x', sizeof message);
    enum resume_verdict verdict = resume_judge(known, &request, head, message);
    MUST(memchr(message, '\0', sizeof message));
    if (verdict == RESUME_PART)
        check_part(known, &request, head);
    if (verdict == RESUME_WHOLE)
        MUST(head->status == 200 || head->status == 0);
    if (verdict == RESUME_CHANGED || verdict == RESUME_NONSENSE)
        MUST(*message);
    if (verdict == RESUME_WITHOUT_IF_RANGE)
        MUST(request.if_range && head->status == 200);
}

static const char *or_null(const char *text)
{
    return *text ? text : NULL;
}

/* Options, a status, numbers, then texts: Retry-After, Content-Range, both sides' ETag and
 * Last-Modified. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int statuses[] = {200, 206, 416, 0, 204, 302, 500};
    struct input input = {data, size};
    uint8_t options = take_byte(&input);
    int status = statuses[take_byte(&input) % 7];
    int64_t have = (int64_t)take_number(&input), total = (int64_t)take_number(&input);
    int64_t length = (int64_t)take_number(&input);
    int64_t ahead = (int64_t)(take_number(&input) % (2 * RETRY_AFTER_MAX)) - RETRY_AFTER_MAX / 2;
    _cleanup_free_ char *after = take_text(&input);
    _cleanup_free_ char *range = take_text(&input);
    _cleanup_free_ char *etag = take_text(&input);
    _cleanup_free_ char *date = take_text(&input);
    _cleanup_free_ char *other_etag = take_text(&input);
    _cleanup_free_ char *other_date = take_text(&input);

    if (options & 32)
        ahead *= 200000; /* some years */
    check_retry_after(after, INT64_C(1700000000123), ahead);
    check_decision((uint64_t)length, options, have & INT64_MAX, total & INT64_MAX);
    check_range(range);

    struct resume_known known = {.have = have & INT64_MAX,
                                 .total = total < 0 ? -1 : total,
                                 .etag = or_null(etag),
                                 .last_modified = or_null(date)};
    struct resume_head head = {.status = status,
                               .length = length < 0 ? -1 : length,
                               .content_range = or_null(range),
                               .etag = options & 1 ? known.etag : or_null(other_etag),
                               .last_modified =
                                   options & 2 ? known.last_modified : or_null(other_date),
                               .encoded = options & 4,
                               .no_ranges = options & 8};
    check_resume(&known, &head, options & 16);
    return 0;
}
