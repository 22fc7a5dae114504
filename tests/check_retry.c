/* Which failures are tried again and when, and what a server may say in Retry-After. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "tap.h"
#include "transfer/retry.h"

static const struct retry_policy policy = {.retries = 8, .wait = 1000, .max_wait = 600000};

static struct download_result failure(const char *code, int status)
{
    return (struct download_result){
        .error_code = code, .http_status = status, .retry_after = -1, .bytes_total = -1};
}

static struct retry_decision decide(const char *code, int status, int failures, int64_t bytes)
{
    struct download_result result = failure(code, status);
    struct retry_history history = {.failures = failures, .bytes = bytes};
    return retry_decide(&result, &policy, &history, 0);
}

/* How often a first failure may be followed by others like it: -1, never. */
static const struct {
    const char *code;
    int status;
    int times;
} worths[] = {
    {"http",         408, 8 },
    {"http",         425, 8 },
    {"http",         429, 8 },
    {"http",         500, 8 },
    {"http",         502, 8 },
    {"http",         503, 8 },
    {"http",         504, 8 },
    {"connect",      0,   8 },
    {"timeout",      0,   8 },
    {"stalled",      0,   8 },
    {"stalled",      200, 8 },
    {"reset",        0,   8 },
    {"truncated",    200, 8 },
    {"truncated",    206, 8 },
    {"changed",      206, 8 },
    {"resolve",      0,   3 },
    {"http",         400, -1},
    {"http",         403, -1},
    {"http",         404, -1},
    {"http",         405, -1},
    {"http",         409, -1},
    {"http",         410, -1},
    {"http",         416, -1},
    {"http",         451, -1},
    {"http",         501, -1},
    {"http",         505, -1},
    {"http",         550, -1},
    {"http",         0,   -1},
    {"auth",         401, -1},
    {"tls",          0,   -1},
    {"scheme",       0,   -1},
    {"url",          0,   -1},
    {"redirect",     302, -1},
    {"address",      0,   -1},
    {"protocol",     206, -1},
    {"too_large",    200, -1},
    {"checksum",     200, -1},
    {"disk",         200, -1},
    {"permission",   0,   -1},
    {"exists",       0,   -1},
    {"internal",     0,   -1},
    {"dependency",   0,   -1},
    {"protocol",     503, -1},
    {"checksum",     503, -1},
    {"tls",          503, -1},
    {"auth",         429, -1},
    {"no such word", 0,   -1}
};

START_TEST(test_worth)
{
    const char *code = worths[_i].code;
    int status = worths[_i].status, times = worths[_i].times;

    ck_assert(decide(code, status, 0, 5).again == (times > 0));
    for (int failures = 1; failures <= 12; failures++)
        ck_assert_msg(decide(code, status, failures, 0).again == (failures <= times),
                      "%s %d, failure %d", code, status, failures);
}
END_TEST

/* A name that was found once is worth as much patience as a connection. */
START_TEST(test_resolve_after_bytes)
{
    ck_assert(decide("resolve", 0, 3, 0).again);
    ck_assert(!decide("resolve", 0, 4, 0).again);
    ck_assert(decide("resolve", 0, 8, 1).again);
    ck_assert(!decide("resolve", 0, 9, 1).again);

    struct retry_policy once = {.retries = 1, .wait = 1000, .max_wait = 600000};
    struct download_result result = failure("resolve", 0);
    ck_assert(retry_decide(&result, &once, &(struct retry_history){.failures = 1}, 0).again);
    ck_assert(!retry_decide(&result, &once, &(struct retry_history){.failures = 2}, 0).again);
}
END_TEST

START_TEST(test_no_retries)
{
    struct retry_policy none = {.retries = 0, .wait = 1000, .max_wait = 600000};
    struct download_result result = failure("reset", 0);
    ck_assert(!retry_decide(&result, &none, &(struct retry_history){.failures = 1}, 0).again);
    ck_assert(retry_decide(&result, &none, &(struct retry_history){.failures = 0}, 0).again);
}
END_TEST

/* The wait lies in [full / 2, full]. */
static const struct {
    int failures;
    int64_t wait, max_wait, full;
} waits[] = {
    {0,          1000,              600000,    1000     },
    {1,          1000,              600000,    1000     },
    {2,          1000,              600000,    2000     },
    {3,          1000,              600000,    4000     },
    {8,          1000,              600000,    128000   },
    {10,         1000,              600000,    512000   },
    {11,         1000,              600000,    600000   },
    {1000000000, 1000,              600000,    600000   },
    {1,          5000,              3000,      3000     },
    {9,          5000,              3000,      3000     },
    {1,          1,                 600000,    1        },
    {5,          0,                 600000,    0        },
    {2147483647, 0,                 600000,    0        },
    {100,        3,                 INT64_MAX, INT64_MAX},
    {60,         INT64_MAX / 2 + 1, INT64_MAX, INT64_MAX},
};

START_TEST(test_wait)
{
    struct retry_policy patient = {
        .retries = 2147483647, .wait = waits[_i].wait, .max_wait = waits[_i].max_wait};
    struct retry_history history = {.failures = waits[_i].failures};
    struct download_result result = failure("connect", 0);
    int64_t full = waits[_i].full, least = INT64_MAX, most = 0;

    for (uint64_t number = 0; number < 2000; number++) {
        struct retry_decision decision = retry_decide(&result, &patient, &history, number);
        if (!decision.again || decision.host)
            ck_abort_msg("number %" PRIu64, number);
        least = decision.wait < least ? decision.wait : least;
        most = decision.wait > most ? decision.wait : most;
    }
    ck_assert_int_eq(least, full - full / 2);
    ck_assert_int_le(most, full);
    if (full <= 2000) /* then all of them were seen */
        ck_assert_int_eq(most, full);
    int64_t last = retry_decide(&result, &patient, &history, UINT64_MAX).wait;
    ck_assert_int_ge(last, least);
    ck_assert_int_le(last, full);
}
END_TEST

START_TEST(test_retry_after_is_kept)
{
    struct retry_history history = {.failures = 7};
    static const int statuses[] = {408, 425, 429, 500, 502, 503, 504};
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++) {
        struct download_result result = failure("http", statuses[i]);
        result.retry_after = 7001;
        struct retry_decision decision = retry_decide(&result, &policy, &history, 12345);
        ck_assert(decision.again && decision.host);
        ck_assert_int_eq(decision.wait, 7001);
    }

    /* Where a redirect led, it is not the typed host that wants to be left alone. */
    struct download_result led_away = failure("http", 503);
    led_away.retry_after = 7001;
    led_away.elsewhere = true;
    struct retry_decision elsewhere = retry_decide(&led_away, &policy, &history, 12345);
    ck_assert(elsewhere.again && !elsewhere.host);
    ck_assert_int_eq(elsewhere.wait, 7001);

    /* It holds nobody back when this task is not tried again anyhow. */
    struct download_result given_up = failure("http", 503);
    given_up.retry_after = 7001;
    history.failures = 9;
    struct retry_decision decision = retry_decide(&given_up, &policy, &history, 12345);
    ck_assert(!decision.again && !decision.host);
    struct download_result gone = failure("http", 404);
    gone.retry_after = 7001;
    history.failures = 1;
    decision = retry_decide(&gone, &policy, &history, 12345);
    ck_assert(!decision.again && !decision.host);
}
END_TEST

/* "At once" would spend all attempts within a moment. */
START_TEST(test_retry_after_zero)
{
    struct download_result result = failure("http", 503);
    result.retry_after = 0;
    struct retry_history history = {.failures = 4};
    struct retry_decision decision = retry_decide(&result, &policy, &history, 0);
    ck_assert(decision.again && !decision.host);
    ck_assert_int_eq(decision.wait, 4000);
}
END_TEST

/* 784111777: Sun, 06 Nov 1994 08:49:37 GMT, the date of the RFCs. */
#define NOV_1994 INT64_C(784111777000)

static const struct {
    const char *value;
    int64_t now;
    int64_t wait;
} values[] = {
  /* seconds */
    {"0",                                                                        NOV_1994,                       0              },
    {"1",                                                                        NOV_1994,                       1000           },
    {"120",                                                                      NOV_1994,                       120000         },
    {"0120",                                                                     NOV_1994,                       120000         },
    {" \t120 \t",                                                                NOV_1994,                       120000         },
    {"3600",                                                                     NOV_1994,                       RETRY_AFTER_MAX},
    {"3601",                                                                     NOV_1994,                       RETRY_AFTER_MAX},
    {"9223372036854775808",                                                      NOV_1994,                       RETRY_AFTER_MAX},
    {"99999999999999999999999999999999",                                         NOV_1994,                       RETRY_AFTER_MAX},
 /* the three dates */
    {"Sun, 06 Nov 1994 08:49:37 GMT",                                            NOV_1994 - 60000,               60000          },
    {"Sun, 06 Nov 1994 08:49:37 GMT",                                            NOV_1994 - 59999,               59999          },
    {"Sun, 06 Nov 1994 08:49:37 GMT",                                            NOV_1994 - 1,                   1              },
    {"Sun, 06 Nov 1994 08:49:37 GMT",                                            NOV_1994,                       0              },
    {"Sun, 06 Nov 1994 08:49:37 GMT",                                            NOV_1994 + 999,                 0              },
    {"Sun, 06 Nov 1994 08:49:37 GMT",                                            NOV_1994 + 86400000,            0              },
    {"Sun, 06 Nov 1994 08:49:37 GMT",                                            NOV_1994 - 86400000,            RETRY_AFTER_MAX},
    {"Sunday, 06-Nov-94 08:49:37 GMT",                                           NOV_1994 - 60000,               60000          },
    {"Sun Nov  6 08:49:37 1994",                                                 NOV_1994 - 60000,               60000          },
    {" Sun Nov  6 08:49:37 1994 ",                                               NOV_1994 - 60000,               60000          },
    {"Wed Nov 16 08:49:37 1994",                                                 NOV_1994 + 10 * 86400000 - 500, 500            },
    {"Mon, 29 Feb 2016 00:00:00 GMT",                                            INT64_C(1456704000000) - 1000,  1000           },
    {"Fri, 31 Dec 2027 23:59:60 GMT",                                            INT64_C(1830297599000) - 1000,  1000           },
    {"Fri, 31 Dec 9999 23:59:59 GMT",                                            NOV_1994,                       RETRY_AFTER_MAX},
    {"Thu, 01 Jan 1970 00:00:00 GMT",                                            NOV_1994,                       0              },
    {"Sat, 01 Jan 0000 00:00:00 GMT",                                            NOV_1994,                       0              },
 /* two digits of a year: at most 50 years ahead */
    {"Sunday, 06-Nov-44 08:49:37 GMT",                                           NOV_1994,                       RETRY_AFTER_MAX},
    {"Thursday, 06-Nov-95 08:49:37 GMT",                                         NOV_1994,                       RETRY_AFTER_MAX},
    {"Sunday, 06-Nov-76 08:49:37 GMT",                                           INT64_C(1783000000000),         RETRY_AFTER_MAX},
    {"Sunday, 06-Nov-77 08:49:37 GMT",                                           INT64_C(1783000000000),         0              },
 /* neither */
    {"",                                                                         NOV_1994,                       -1             },
    {" ",                                                                        NOV_1994,                       -1             },
    {"-1",                                                                       NOV_1994,                       -1             },
    {"+1",                                                                       NOV_1994,                       -1             },
    {"1.5",                                                                      NOV_1994,                       -1             },
    {"1 s",                                                                      NOV_1994,                       -1             },
    {"0x10",                                                                     NOV_1994,                       -1             },
    {"120, 60",                                                                  NOV_1994,                       -1             },
    {"soon",                                                                     NOV_1994,                       -1             },
    {"Sun, 06 Nov 1994 08:49:37",                                                NOV_1994,                       -1             },
    {"Sun, 06 Nov 1994 08:49:37 CET",                                            NOV_1994,                       -1             },
    {"Sun, 06 Nov 1994 08:49:37 GMTx",                                           NOV_1994,                       -1             },
    {"Sun, 06 Nov 1994  08:49:37 GMT",                                           NOV_1994,                       -1             },
    {"Sun, 6 Nov 1994 08:49:37 GMT",                                             NOV_1994,                       -1             },
    {"Sun, 06 Nov 94 08:49:37 GMT",                                              NOV_1994,                       -1             },
    {"Sun, 06 Nov 1994 08:49 GMT",                                               NOV_1994,                       -1             },
    {"Sun, 06 Nov 1994 24:00:00 GMT",                                            NOV_1994,                       -1             },
    {"Sun, 06 Nov 1994 08:60:37 GMT",                                            NOV_1994,                       -1             },
    {"Sun, 06 Nov 1994 08:49:61 GMT",                                            NOV_1994,                       -1             },
    {"Sun, 06 Nov 1994 -8:49:37 GMT",                                            NOV_1994,                       -1             },
    {"Sun, 00 Nov 1994 08:49:37 GMT",                                            NOV_1994,                       -1             },
    {"Sun, 31 Nov 1994 08:49:37 GMT",                                            NOV_1994,                       -1             },
    {"Sun, 29 Feb 2015 00:00:00 GMT",                                            NOV_1994,                       -1             },
    {"Son, 06 Nov 1994 08:49:37 GMT",                                            NOV_1994,                       -1             },
    {"Sun, 06 Okt 1994 08:49:37 GMT",                                            NOV_1994,                       -1             },
    {"Sun, 06-Nov-94 08:49:37 GMT",                                              NOV_1994,                       -1             },
    {"Sunday, 06 Nov 1994 08:49:37 GMT",                                         NOV_1994,                       -1             },
    {"Sun Nov 6 08:49:37 1994",                                                  NOV_1994,                       -1             },
    {"Sun Nov  6 08:49:37 1994 GMT",                                             NOV_1994,                       -1             },
    {"1994-11-06T08:49:37Z",                                                     NOV_1994,                       -1             },
    {"000000000000000000000000000000000000000000000000000000000000000000000001", NOV_1994,                       -1             },
};

START_TEST(test_parse_after)
{
    int64_t wait = retry_parse_after(values[_i].value, values[_i].now);
    ck_assert_msg(wait == values[_i].wait, "\"%s\" at %" PRId64 ": %" PRId64 ", not %" PRId64,
                  values[_i].value, values[_i].now, wait, values[_i].wait);
}
END_TEST

static void seed(void)
{
    const char *given = getenv("AUTODL_SEED");
    unsigned number = given ? (unsigned)strtoul(given, NULL, 10) : (unsigned)time(NULL);
    printf("# check_retry: AUTODL_SEED=%u\n", number);
    fflush(stdout);
    srandom(number);
}

static size_t write_date(int form, const struct tm *tm, char text[static 64])
{
    if (form == 0)
        return strftime(text, 64, "%a, %d %b %Y %H:%M:%S GMT", tm);
    if (form == 1)
        return strftime(text, 64, "%a %b %e %H:%M:%S %Y", tm);
    size_t len = strftime(text, 64, "%A, %d-%b-", tm);
    len += (size_t)snprintf(text + len, 64 - len, "%02d", tm->tm_year % 100);
    return len + strftime(text + len, 64 - len, " %H:%M:%S GMT", tm);
}

/* Dates that strftime(3) writes are read back; with a byte changed they are read as something else
 * or refused, and never leave the range. */
START_TEST(test_random_dates)
{
    seed();
    for (int i = 0; i < 30000; i++) {
        time_t date = 1000000000 + random() % 2000000000;
        int64_t ahead = random() % (RETRY_AFTER_MAX + 1);
        struct tm tm;
        char text[64];
        ck_assert_ptr_nonnull(gmtime_r(&date, &tm));
        size_t len = write_date(i % 3, &tm, text);
        int64_t wait = retry_parse_after(text, 1000 * (int64_t)date - ahead);
        if (wait != ahead)
            ck_abort_msg("\"%s\", %" PRId64 " ahead: %" PRId64, text, ahead, wait);

        text[random() % (long)len] = (char)(1 + random() % 255);
        wait = retry_parse_after(text, 1000 * (int64_t)date - ahead);
        if (wait < -1 || wait > RETRY_AFTER_MAX)
            ck_abort_msg("\"%s\": %" PRId64, text, wait);
    }
}
END_TEST

/* The wait never shrinks with failures by more than the jitter, and never passes the bounds. */
START_TEST(test_random_waits)
{
    seed();
    for (int i = 0; i < 30000; i++) {
        struct retry_policy any = {
            .retries = 100, .wait = random() % 100000, .max_wait = random() % 10000000};
        struct download_result result = failure("stalled", 0);
        int64_t bound = 0;
        for (int failures = 1; failures <= 20; failures++) {
            struct retry_history history = {.failures = failures};
            uint64_t number = (uint64_t)random() << 33 ^ (uint64_t)random();
            int64_t wait = retry_decide(&result, &any, &history, number).wait;
            int64_t full = any.wait << (failures - 1);
            bound = full < any.max_wait ? full : any.max_wait;
            if (wait < bound / 2 || wait > bound)
                ck_abort_msg("wait %" PRId64 ", max %" PRId64 ", failure %d: %" PRId64, any.wait,
                             any.max_wait, failures, wait);
        }
    }
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("retry");
    TCase *tests = tcase_create("retry");
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, test_worth, 0, (int)(sizeof worths / sizeof *worths));
    tcase_add_test(tests, test_resolve_after_bytes);
    tcase_add_test(tests, test_no_retries);
    tcase_add_loop_test(tests, test_wait, 0, (int)(sizeof waits / sizeof *waits));
    tcase_add_test(tests, test_retry_after_is_kept);
    tcase_add_test(tests, test_retry_after_zero);
    tcase_add_loop_test(tests, test_parse_after, 0, (int)(sizeof values / sizeof *values));
    tcase_add_test(tests, test_random_dates);
    tcase_add_test(tests, test_random_waits);
    suite_add_tcase(s, tests);
    return s;
}

int main(void)
{
    return tap_main(suite());
}
