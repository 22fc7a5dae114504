/* Parts of the client that are pure: events in any pieces, widths, cookies, times, short ids. */
#include <check.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../cli/bar.h"
#include "../cli/cookies.h"
#include "../cli/human.h"
#include "../cli/output.h"
#include "../cli/sse.h"
#include "../cli/view.h"
#include "../cli/width.h"
#include "common/units.h"
#include "tap.h"

/* --- events --- */

static bool on_event(void *data, const char *name, const char *text, size_t len)
{
    buf_printf(data, "%s(%s,%zu)", name, text, len);
    return strcmp(name, "last") != 0;
}

START_TEST(events_come_in_any_pieces)
{
    static const char stream[] =
        "retry: 3000\n\n: beat\n\nevent: task\nid: 7\ndata: {\"a\": 1}\n\ndata:x\r\ndata: y\r\n\r\n"
        "event: empty\n\nevent: last\ndata: z\n\nevent: never\ndata: w\n\n";
    struct buf seen;
    struct sse sse;

    for (size_t piece = 1; piece < sizeof stream; piece++) {
        bool more = true;
        buf_init(&seen, 4096);
        sse_init(&sse, on_event, &seen);
        for (size_t at = 0; more && at < sizeof stream - 1; at += piece) {
            size_t left = sizeof stream - 1 - at;
            more = sse_feed(&sse, stream + at, left < piece ? left : piece);
        }
        ck_assert_str_eq(seen.data, "task({\"a\": 1},8)message(x\ny,3)last(z,1)");
        ck_assert(!more);
        sse_release(&sse);
        buf_release(&seen);
    }
}
END_TEST

START_TEST(what_is_too_large_is_left_out)
{
    struct buf seen;
    struct sse sse;
    static char long_line[2 << 20];

    memset(long_line, 'x', sizeof long_line);
    buf_init(&seen, 4096);
    sse_init(&sse, on_event, &seen);
    ck_assert(sse_feed(&sse, "data: ", 6) && sse_feed(&sse, long_line, sizeof long_line) &&
              sse_feed(&sse, "\n\ndata: ok\n\n", 12));
    ck_assert_str_eq(seen.data, "message(ok,2)");
    sse_feed(&sse, "event: a\ndata: half", 19);
    sse_restart(&sse); /* another connection */
    sse_feed(&sse, "data: new\n\n", 11);
    ck_assert_str_eq(seen.data, "message(ok,2)message(new,3)");
    sse_release(&sse);
    buf_release(&seen);
}
END_TEST

/* --- widths --- */

static const struct {
    const char *text;
    size_t width, columns;
    const char *cut, *start;
} widths[] = {
    {"",                     0,  5, "",                    ""                   },
    {"abcdef",               6,  6, "abcdef",              "abcdef"             },
    {"abcdefgh",             8,  5, "ab…gh",             "abcd…"            },
    {"日本語",            6,  6, "日本語",           "日本語"          },
    {"日本語です",      10, 6, "日…す",           "日本…"          },
    {"e\xcc\x81te\xcc\x81",  3,  3, "e\xcc\x81te\xcc\x81", "e\xcc\x81te\xcc\x81"},
    {"e\xcc\x81te\xcc\x81x", 4,  3, "e\xcc\x81…x",       "e\xcc\x81t…"      },
    {"abc",                  3,  1, "…",                 "…"                },
    {"abc",                  3,  0, "",                    ""                   },
    {"\xff\xfe",             2,  2, "\xff\xfe",            "\xff\xfe"           },
};

START_TEST(texts_are_cut_to_columns)
{
    struct buf cut, start;

    buf_init(&cut, 256);
    buf_init(&start, 256);
    output_init(OUTPUT_TEXT); /* the locale */
    ck_assert_uint_eq(width_of(widths[_i].text), widths[_i].width);
    width_add_cut(&cut, widths[_i].text, widths[_i].columns);
    width_add_start(&start, widths[_i].text, widths[_i].columns);
    ck_assert_str_eq(cut.data ? cut.data : "", widths[_i].cut);
    ck_assert_str_eq(start.data ? start.data : "", widths[_i].start);
    ck_assert_uint_le(width_of(cut.data ? cut.data : ""), widths[_i].columns);
    buf_release(&cut);
    buf_release(&start);
}
END_TEST

START_TEST(bars_and_sparklines)
{
    static const int64_t numbers[] = {0, 1, 4, 8};
    struct buf buf;

    buf_init(&buf, 256);
    bar_add(&buf, 5, 10, 12);
    bar_add(&buf, 10, 10, 6);
    bar_add(&buf, 20, 10, 6);
    bar_add(&buf, 1, -1, 5);
    bar_add_sparkline(&buf, numbers, 4);
    ck_assert_str_eq(buf.data, "[====>     ][====][====][...] ▁▄█");
    buf_release(&buf);
}
END_TEST

/* --- cookies --- */

static const char jar[] = "# Netscape HTTP Cookie File\n\n"
                          ".example.org\tTRUE\t/\tFALSE\t0\tall\t1\n"
                          "example.org\tFALSE\t/deep\tFALSE\t0\tdeep\t2\n"
                          "#HttpOnly_example.org\tFALSE\t/\tTRUE\t9999999999\tsafe\t3\r\n"
                          "example.org\tFALSE\t/\tFALSE\t1\told\t4\n"
                          "10.0.0.1\tTRUE\t/\tFALSE\t0\taddress\t\n";

static const struct {
    const char *url, *cookie;
} cookies[] = {
    {"http://example.org",                   "all=1"                },
    {"http://user@EXAMPLE.org:8080/x?/deep", "all=1"                },
    {"https://example.org/deep/x",           "deep=2; all=1; safe=3"},
    {"http://example.org/deeper",            "all=1"                },
    {"http://sub.example.org/deep",          "all=1"                },
    {"http://badexample.org/",               ""                     },
    {"http://example.org.evil/",             ""                     },
    {"http://10.0.0.1/",                     "address="             },
    {"http://1.10.0.0.1/",                   ""                     },
    {"ftp://example.org/",                   ""                     },
};

START_TEST(cookies_go_where_they_belong)
{
    char path[] = "/tmp/autodl-jar-XXXXXX";
    struct cookies *loaded;
    struct buf buf;
    size_t line;

    int fd = mkstemp(path);
    ck_assert_int_eq(write(fd, jar, sizeof jar - 1), sizeof jar - 1);
    close(fd);
    ck_assert_int_eq(cookies_load(path, &loaded, &line), 0);
    unlink(path);
    buf_init(&buf, 256);
    cookies_add(loaded, cookies[_i].url, &buf);
    ck_assert_str_eq(buf.data ? buf.data : "", cookies[_i].cookie);
    buf_release(&buf);
    cookies_destroy(loaded);
}
END_TEST

/* --- times --- */

static const char *clock_of(int64_t ms)
{
    static char text[40];
    time_t seconds = (time_t)(ms / 1000);
    struct tm tm;

    strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", localtime_r(&seconds, &tm));
    return text;
}

START_TEST(times_as_people_write_them)
{
    int64_t now = units_now_realtime(), ms = 0;
    static const char *const zones[] = {"UTC", "Europe/Berlin", "America/New_York"};

    setenv("TZ", zones[_i], 1);
    tzset();
    ck_assert_int_eq(human_parse_time("x", "2030-01-31", false, &ms), 0);
    ck_assert_str_eq(clock_of(ms), "2030-01-31 00:00:00");
    ck_assert_int_eq(human_parse_time("x", "2030-07-31 14:02", false, &ms), 0);
    ck_assert_str_eq(clock_of(ms), "2030-07-31 14:02:00");
    ck_assert_int_eq(human_parse_time("x", "2030-01-31T22:00:00Z", false, &ms), 0);
    ck_assert_int_eq(ms / 1000, 1896127200);
    for (int is_past = 0; is_past < 2; is_past++) { /* the next one, the last one */
        ck_assert_int_eq(human_parse_time("x", "18:00", is_past, &ms), 0);
        ck_assert_str_eq(clock_of(ms) + 11, "18:00:00");
        ck_assert(is_past ? ms <= now + 1000 && ms > now - 25 * 3600000
                          : ms > now && ms < now + 25 * 3600000 + 1000);
    }
    ck_assert_int_eq(human_parse_time("x", "2h", true, &ms), 0);
    ck_assert(ms >= now - 7200000 && ms < now - 7100000);
    ck_assert_int_eq(human_parse_time("x", "tomorrow 6:00", false, &ms), 0);
    ck_assert(ms > now && ms < now + 54 * 3600000);
    ck_assert_str_eq(clock_of(ms) + 11, "06:00:00");
    ck_assert_int_eq(human_parse_time("x", "yesterday", true, &ms), 0);
    ck_assert(ms < now - 22 * 3600000 && ms > now - 50 * 3600000);
}
END_TEST

START_TEST(times_that_are_none)
{
    static const char *const texts[] = {"",        "soon", "25:00",      "12:60",
                                        "12:00x",  "12",   "2030-02-30", "2030-13-01",
                                        "1:2:3:4", "-2h",  "today x"};
    int64_t ms = 77;

    if (freopen("/dev/null", "w", stderr) == NULL)
        ck_abort();
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (strcmp(texts[i], "12") != 0) /* seconds */
            ck_assert_msg(human_parse_time("x", texts[i], false, &ms) == API_EXIT_USAGE, "%s",
                          texts[i]);
}
END_TEST

START_TEST(numbers_for_people)
{
    char text[HUMAN_MAX];

    ck_assert_str_eq(human_size(0, text), "0");
    ck_assert_str_eq(human_size(999, text), "999");
    ck_assert_str_eq(human_size(1000, text), "1.0K");
    ck_assert_str_eq(human_size(10 << 20, text), "10M");
    ck_assert_str_eq(human_size(INT64_MAX, text), "8.0E");
    ck_assert_str_eq(human_duration(300, text), "0.3s");
    ck_assert_str_eq(human_duration(63000, text), "1m 03s");
    ck_assert_str_eq(human_duration(7260000, text), "2h 01m");
    ck_assert_str_eq(human_duration(INT64_C(270000000), text), "3d 3h");
    ck_assert_str_eq(human_ordinal(1, text), "1st");
    ck_assert_str_eq(human_ordinal(12, text), "12th");
    ck_assert_str_eq(human_ordinal(23, text), "23rd");
    ck_assert_str_eq(human_ordinal(111, text), "111th");
}
END_TEST

START_TEST(short_ids_are_no_durations)
{
    char text[VIEW_ID_MAX];

    ck_assert_str_eq(view_short_id("5b0c9a1e-0000-4000-8000-000000000000", text), "5b0c9a1e");
    ck_assert_str_eq(view_short_id("12345678-9012-4a00-8000-000000000000", text),
                     "12345678-9012-4a");
    ck_assert_str_eq(view_short_id("1234567d-f000-4000-8000-000000000000", text), "1234567d-f");
    ck_assert_str_eq(view_short_id("12345678-9012-4000-8000-000000000000", text),
                     "12345678-9012-4000-8000-000000000000");
}
END_TEST

#define LOOP(test, table) tcase_add_loop_test(tcase, test, 0, sizeof(table) / sizeof(table[0]))

int main(void)
{
    Suite *suite = suite_create("cli");
    TCase *tcase = tcase_create("parts");

    tcase_add_test(tcase, events_come_in_any_pieces);
    tcase_add_test(tcase, what_is_too_large_is_left_out);
    LOOP(texts_are_cut_to_columns, widths);
    tcase_add_test(tcase, bars_and_sparklines);
    LOOP(cookies_go_where_they_belong, cookies);
    tcase_add_loop_test(tcase, times_as_people_write_them, 0, 3);
    tcase_add_test(tcase, times_that_are_none);
    tcase_add_test(tcase, numbers_for_people);
    tcase_add_test(tcase, short_ids_are_no_durations);
    suite_add_tcase(suite, tcase);
    return tap_main(suite);
}
