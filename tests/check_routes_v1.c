/*
 * Version 1 over real sockets, above a manager that only notes what it is asked. What concerns
 * every request (heads, hosts, who is asking) is looked at in check_routes_classic.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/cleanup.h"
#include "fake_manager.h"
#include "http/readers.h"
#include "http_bench.h"

#define ID   FAKE_ID
#define PATH "/v1/tasks/" ID
#define JSON "Content-Type: application/json\r\n"

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

static void add(const char *json, int status, const char *body)
{
    expect_with("POST /v1/tasks", JSON, json, status, body);
}

static char *error_body(const char *code, const char *message)
{
    struct buf body;
    buf_init(&body, 4096);
    buf_printf(&body, "{\"code\": \"%s\", \"message\": \"%s\"}", code, message);
    return buf_take(&body);
}

/* 400, and the manager is not asked; `message` as it stands in JSON. */
static void add_refused(const char *json, const char *message)
{
    unsigned before = calls();
    _cleanup_free_ char *body = error_body("bad_request", message);
    add(json, 400, body);
    ck_assert_uint_eq(calls(), before);
}

/* --- the task, to the byte --- */

#define TASK(status, waiting, numbers, error, checksum, started, finished, duration)               \
    "{\"id\": \"" ID "\", \"url\": \"http://h/a b\\\"\\u00e9\", \"user\": \"x\", "                 \
    "\"directory\": \"/srv/d\", \"name\": \"a \\ud83d\\ude00\", "                                  \
    "\"dest\": \"/srv/d/a \\ud83d\\ude00\", \"status\": \"" status "\", \"waiting_for\": " waiting \
    ", \"position\": null, \"priority\": 0, \"label\": null, " numbers ", \"error\": " error       \
    ", \"checksum\": " checksum ", \"created_at\": \"1970-01-01T00:00:01.000Z\", "                 \
    "\"started_at\": " started ", \"finished_at\": " finished ", \"duration\": " duration "}"

#define NUMBERS(done, total, rate, eta, ranges, attempts, http_status)                             \
    "\"bytes_done\": " done ", \"bytes_total\": " total ", \"bytes_per_second\": " rate            \
    ", \"eta_seconds\": " eta ", \"ranges\": " ranges ", \"attempts\": " attempts                  \
    ", \"http_status\": " http_status

#define NOTHING NUMBERS("0", "null", "null", "null", "null", "0", "null")
#define PLAIN                                                                                      \
    TASK("FINISHED", "null", NOTHING, "null", "null", "null", "\"1970-01-01T00:00:02.234Z\"",      \
         "1.234")

static void show(const struct task *task, const struct manager_view *view)
{
    pthread_mutex_lock(&manager.lock);
    manager.task = *task;
    manager.view = *view;
    pthread_mutex_unlock(&manager.lock);
}

START_TEST(a_task_to_the_byte)
{
    struct task task = manager.task;
    struct manager_view view = manager.view;
    expect("GET " PATH, 200, PLAIN);
    ck_assert_str_eq(seen()->verb, "find");
    ck_assert_str_eq(seen()->id, ID);
    expect("GET /v1/tasks/5b0c", 200, PLAIN);
    ck_assert_str_eq(seen()->id, "5b0c");
    expect("HEAD " PATH, 200, "");

    task.started_at = 1700000000007;
    task.bytes_total = 1000;
    task.attempts = 3;
    task.http_status = 206;
    task.checksum = (char *)"md5=00112233445566778899aabbccddeeff";
    task.error_code = (char *)"reset";
    view.bytes_done = 900;
    view.bytes_per_second = 33;
    view.ranges = 3;
    task.state = TASK_DOWNLOADING;
    show(&task, &view);
    expect("GET " PATH, 200,
           TASK("DOWNLOADING", "null", NUMBERS("900", "1000", "33", "4", "3", "3", "206"),
                "{\"code\": \"reset\", \"message\": null}",
                "\"md5=00112233445566778899aabbccddeeff\"", "\"2023-11-14T22:13:20.007Z\"",
                "\"1970-01-01T00:00:02.234Z\"", "1.234"));

    task.state = TASK_FAILED;
    task.error_message = (char *)"the server \"h\" closed";
    view.bytes_per_second = -1;
    view.bytes_done = INT64_C(5000000000);
    show(&task, &view);
    expect("GET " PATH, 200,
           TASK("FAILED", "null", NUMBERS("5000000000", "1000", "null", "null", "null", "3", "206"),
                "{\"code\": \"reset\", \"message\": \"the server \\\"h\\\" closed\"}",
                "\"md5=00112233445566778899aabbccddeeff\"", "\"2023-11-14T22:13:20.007Z\"",
                "\"1970-01-01T00:00:02.234Z\"", "1.234"));
}
END_TEST

/* Also when there was no memory to keep the reason. */
START_TEST(what_failed_says_why)
{
    struct task task = manager.task;
    task.state = TASK_FAILED;
    for (int i = 0; i < 2; i++) {
        task.error_code = i ? (char *)"reset" : NULL;
        show(&task, &manager.view);
        _cleanup_free_ char *answer = ask(UNIX, "GET " PATH, NULL, "", NULL);
        ck_assert_ptr_nonnull(
            strstr(answer, i ? "{\"code\": \"reset\", \"message\": \"the reason is in "
                             : "{\"code\": \"internal\", \"message\": \"the reason is in "));
    }
}
END_TEST

START_TEST(speed_and_time_left)
{
    static const struct {
        int64_t done, total, rate;
        const char *shown;
    } cases[] = {
        {0,  10,        0,  "\"bytes_per_second\": 0, \"eta_seconds\": null"               },
        {0,  10,        10, "\"bytes_per_second\": 10, \"eta_seconds\": 1"                 },
        {0,  11,        10, "\"bytes_per_second\": 10, \"eta_seconds\": 2"                 },
        {10, 10,        10, "\"bytes_per_second\": 10, \"eta_seconds\": 0"                 },
        {20, 10,        10, "\"bytes_per_second\": 10, \"eta_seconds\": 0"                 },
        {20, -1,        10, "\"bytes_per_second\": 10, \"eta_seconds\": null"              },
        {0,  INT64_MAX, 1,  "\"bytes_per_second\": 1, \"eta_seconds\": 9223372036854775807"},
    };
    struct task task = manager.task;
    task.state = TASK_DOWNLOADING;
    for (size_t i = 0; i < LENGTH(cases); i++) {
        task.bytes_total = cases[i].total;
        show(&task, &(struct manager_view){.bytes_done = cases[i].done,
                                           .bytes_per_second = cases[i].rate});
        _cleanup_free_ char *answer = ask(UNIX, "GET " PATH, NULL, "", NULL);
        ck_assert_msg(strstr(answer, cases[i].shown), "%s is not in %s", cases[i].shown, answer);
    }
}
END_TEST

START_TEST(where_it_stands)
{
    struct task task = manager.task;
    task.state = TASK_ENQUEUED;
    task.label = (char *)"l \"1\"";
    show(&task, &(struct manager_view){.waits = true, .position = 7, .bytes_per_second = -1});
    _cleanup_free_ char *answer = ask(UNIX, "GET " PATH, NULL, "", NULL);
    ck_assert_ptr_nonnull(
        strstr(answer, "\"position\": 7, \"priority\": 0, \"label\": \"l \\\"1\\\"\", "));
}
END_TEST

START_TEST(what_it_waits_for)
{
    static const struct {
        enum queue_reason reason;
        int64_t until;
        const char *shown;
    } cases[] = {
        {QUEUE_RETRY,   1700000000999,
         "{\"reason\": \"retry\", \"until\": \"2023-11-14T22:13:20.999Z\"}"        },
        {QUEUE_HOST,    4102444800000,
         "{\"reason\": \"host\", \"until\": \"2100-01-01T00:00:00.000Z\"}"         },
        {QUEUE_DISK,    0,             "{\"reason\": \"disk\", \"until\": null}"   },
        {QUEUE_SLOT,    0,             "{\"reason\": \"slot\", \"until\": null}"   },
        {QUEUE_STORAGE, 0,             "{\"reason\": \"storage\", \"until\": null}"},
        {QUEUE_PAUSED,  0,             "{\"reason\": \"paused\", \"until\": null}" },
    };
    struct task task = manager.task;
    task.state = TASK_ENQUEUED;
    for (size_t i = 0; i < LENGTH(cases); i++) {
        char shown[200];
        show(&task, &(struct manager_view){.waits = true,
                                           .reason = cases[i].reason,
                                           .until = cases[i].until,
                                           .bytes_per_second = -1});
        snprintf(shown, sizeof shown, "\"status\": \"ENQUEUED\", \"waiting_for\": %s, ",
                 cases[i].shown);
        _cleanup_free_ char *answer = ask(UNIX, "GET " PATH, NULL, "", NULL);
        ck_assert_msg(strstr(answer, shown), "%s is not in %s", shown, answer);
    }
}
END_TEST

/* --- lists --- */

START_TEST(a_list_to_the_byte)
{
    expect("GET /v1/tasks", 200, "{\"tasks\": [" PLAIN ", " PLAIN ", " PLAIN "], \"next\": null}");
    const struct manager *now = seen();
    ck_assert_str_eq(now->verb, "list");
    ck_assert_uint_eq(now->limit, 100);
    ck_assert_int_eq(now->list_after, 0);
    ck_assert_uint_eq(now->scope, (uid_t)-1); /* in user mode */
    ck_assert_uint_eq(now->filter.reader, getuid());
    ck_assert_uint_eq(now->filter.states, 0);
    ck_assert(!now->filter.user && !now->filter.host && !now->filter.text);
    ck_assert(now->filter.since == 0 && now->filter.until == 0);
    expect("HEAD /v1/tasks", 200, "");

    pthread_mutex_lock(&manager.lock);
    manager.count = 1;
    manager.next = INT64_MAX;
    pthread_mutex_unlock(&manager.lock);
    expect("GET /v1/tasks", 200, "{\"tasks\": [" PLAIN "], \"next\": \"9223372036854775807\"}");
    pthread_mutex_lock(&manager.lock);
    manager.count = 0;
    pthread_mutex_unlock(&manager.lock);
    expect("GET /v1/tasks", 200, "{\"tasks\": [], \"next\": \"9223372036854775807\"}");
    set_reply(-EIO, "the store failed");
    expect_error("GET /v1/tasks", 503, "unavailable", "the store failed");
}
END_TEST

START_TEST(a_list_with_everything)
{
    expect("GET /v1/tasks?status=PAUSED,FAILED&user=bob&host=H.example:8080&q=%c3%a9%20x&"
           "since=2030-01-31T22:00:00Z&until=2030-01-31T23:00:00Z&limit=1000&after=77&scope=all",
           200, NULL);
    const struct manager *now = seen();
    ck_assert_uint_eq(now->filter.states, 1U << TASK_PAUSED | 1U << TASK_FAILED);
    ck_assert_str_eq(now->filter.user, "bob");
    ck_assert_str_eq(now->filter.host, "H.example:8080");
    ck_assert_str_eq(now->filter.text, "\xc3\xa9 x");
    ck_assert_int_eq(now->filter.since, 1896127200000);
    ck_assert_int_eq(now->filter.until, 1896130800000);
    ck_assert_uint_eq(now->limit, 1000);
    ck_assert_int_eq(now->list_after, 77);
    char line[400];
    snprintf(line, sizeof line, "GET /v1/tasks?user=%s", own_name);
    expect(line, 200, NULL); /* one's own need no other's name */
    ck_assert_ptr_null(seen()->filter.user);
    ck_assert_uint_eq(seen()->scope, getuid());
}
END_TEST

#define STATES                                                                                     \
    "status must be one or several, separated by commas, of ENQUEUED, DOWNLOADING, FINISHING, "    \
    "FINISHED, FAILED, CLEARED, CANCELLED and PAUSED"

START_TEST(bad_parameters_of_lists)
{
    static const struct {
        const char *query, *message;
    } cases[] = {
        {"status=",            STATES                                                          },
        {"status=failed",      STATES                                                          },
        {"status=FAILED,",     STATES                                                          },
        {"status=,",           STATES                                                          },
        {"status=FAILEDx",     STATES                                                          },
        {"user=",              "user must be the name of a user"                               },
        {"host=",              "host must be a host such as example.org or example.org:8080"   },
        {"host=http://h/",     "host must be a host such as example.org or example.org:8080"   },
        {"q=",                 "q is empty; it is a text to look for in URL, name and label"   },
        {"q=%00",              "q holds a NUL character"                                       },
        {"q=%ff",              "q is not valid UTF-8"                                          },
        {"since=today",        "since must be a time such as 2030-01-31T22:00:00Z"             },
        {"until=",             "until must be a time such as 2030-01-31T22:00:00Z"             },
        {"limit=0",            "limit must be a whole number from 1 to 1000"                   },
        {"limit=1001",         "limit must be a whole number from 1 to 1000"                   },
        {"limit=-1",           "limit must be a whole number from 1 to 1000"                   },
        {"limit=1e2",          "limit must be a whole number from 1 to 1000"                   },
        {"after=0",            "after must be what \\\"next\\\" of an earlier page was"        },
        {"after=x",            "after must be what \\\"next\\\" of an earlier page was"        },
        {"after=9223372036854775808", "after must be what \\\"next\\\" of an earlier page was" },
        {"scope=",             "scope is own or all"                                           },
        {"scope=bob",          "scope is own or all"                                           },
        {"offset=5",           "there is no parameter \\\"offset\\\" here"                     },
        {"state=FAILED",       "there is no parameter \\\"state\\\" here"                      },
    };
    unsigned before = calls();
    for (size_t i = 0; i < LENGTH(cases); i++) {
        char line[200];
        snprintf(line, sizeof line, "GET /v1/tasks?%s", cases[i].query);
        expect_error(line, 400, "bad_request", cases[i].message);
    }
    ck_assert_uint_eq(calls(), before);
}
END_TEST

/* --- add --- */

START_TEST(add_with_a_url_alone)
{
    unsigned before = calls();
    _cleanup_free_ char *answer =
        ask(UNIX, "POST /v1/tasks", NULL, JSON, "{\"url\": \"https://h/a\"}\n");
    check_answer(answer, 201, PLAIN, "add");
    ck_assert_ptr_nonnull(strstr(answer, "\r\nLocation: " PATH "\r\n"));
    ck_assert_ptr_nonnull(strstr(answer, "\r\nContent-Type: application/json\r\n"));
    ck_assert_uint_eq(calls(), before + 1);
    const struct manager *now = seen();
    ck_assert_str_eq(now->verb, "add");
    ck_assert_str_eq(now->add.url, "https://h/a");
    ck_assert_str_eq(now->add.user, own_name);
    ck_assert_uint_eq(now->add.uid, getuid());
    ck_assert_ptr_null(now->add.directory);
    ck_assert_ptr_null(now->add.name);
    ck_assert_ptr_null(now->add.checksum);
    ck_assert_ptr_null(now->add.headers);
    ck_assert(!now->add.classic);
    ck_assert(!now->add.paused);
    ck_assert_int_eq(now->add.priority, 0);
    ck_assert_int_eq(now->add.not_before, 0);
    ck_assert_int_eq(now->add.if_exists, TASK_RENAME);
    ck_assert_int_eq(now->add.retries, -1);
}
END_TEST

START_TEST(add_with_everything)
{
    add("{\"url\": \"http://h/\", \"directory\": \"~/x\", \"name\": \"\\u00e9 b.iso\", "
        "\"if_exists\": \"overwrite\", \"checksum\": \"MD5=00112233445566778899AABBCCDDEEFF\", "
        "\"headers\": {\"Cookie\": \"a=b; c=\\\"d\\\"\", \"X-1\": \"\\tz\"}, \"retries\": 0, \"username\": \"u: x\", \"password\": \"\", "
        "\"paused\": true, \"priority\": -100, \"not_before\": \"2030-01-31T23:00:00.25+01:00\"}",
        201, PLAIN);
    const struct manager *now = seen();
    ck_assert_str_eq(now->add.directory, "~/x");
    ck_assert_str_eq(now->add.name, "\xc3\xa9 b.iso");
    ck_assert_str_eq(now->add.checksum, "md5=00112233445566778899aabbccddeeff");
    ck_assert_str_eq(now->add.headers, "Cookie: a=b; c=\"d\"\nX-1: \tz\n");
    ck_assert_str_eq(now->add.username, "u: x");
    ck_assert_str_eq(now->add.password, "");
    ck_assert_int_eq(now->add.if_exists, TASK_OVERWRITE);
    ck_assert_int_eq(now->add.retries, 0);
    ck_assert_int_eq(now->add.priority, -100);
    ck_assert_int_eq(now->add.not_before, 1896127200250);
    ck_assert(now->add.paused);
    ck_assert(!now->add.label && !now->add.mirrors && !now->add.after);
    ck_assert(now->add.rate_limit == 0 && now->add.max_ranges == 0);

    add("{\"url\": \"http://h/\", \"label\": \"\\u00e9 x\", \"rate_limit\": 5000000000, "
        "\"max_ranges\": 16, \"after\": \"5b0c\", \"mirrors\": [\"http://m/a?b\", \"ftp://n/a\"]}",
        201, PLAIN);
    now = seen();
    ck_assert_str_eq(now->add.label, "\xc3\xa9 x");
    ck_assert_int_eq(now->add.rate_limit, INT64_C(5000000000));
    ck_assert_int_eq(now->add.max_ranges, 16);
    ck_assert_str_eq(now->add.after, "5b0c");
    ck_assert_str_eq(now->add.mirrors, "http://m/a?b\nftp://n/a\n");

    add("{\"paused\":false,\"retries\":1000,\"if_exists\":\"skip\",\"url\":\"http://h/\","
        "\"headers\":{},\"priority\":100}",
        201, PLAIN);
    ck_assert_int_eq(seen()->add.if_exists, TASK_SKIP);
    ck_assert_int_eq(seen()->add.retries, 1000);
    ck_assert_int_eq(seen()->add.priority, 100);
    ck_assert(!seen()->add.paused);

    /* null is as if it were not there; of a name given twice the last one counts */
    add("{\"url\": \"http://first/\", \"directory\": null, \"name\": null, \"if_exists\": null, "
        "\"checksum\": null, \"headers\": null, \"retries\": null, \"paused\": null, "
        "\"url\": \"http://last/\"}",
        201, PLAIN);
    ck_assert_str_eq(seen()->add.url, "http://last/");
    ck_assert_int_eq(seen()->add.retries, -1);
    ck_assert_ptr_null(seen()->add.headers);
    ck_assert(!seen()->add.username && !seen()->add.password);
}
END_TEST

START_TEST(a_twin_is_given_back)
{
    pthread_mutex_lock(&manager.lock);
    manager.twin = true;
    pthread_mutex_unlock(&manager.lock);
    _cleanup_free_ char *answer = ask(UNIX, "POST /v1/tasks", NULL, JSON,
                                      "{\"url\": \"http://h/\", \"if_exists\": \"skip\"}");
    check_answer(answer, 200, PLAIN, "twin");
    ck_assert_ptr_null(strstr(answer, "Location"));

    pthread_mutex_lock(&manager.lock);
    manager.task.uid++; /* somebody else's is not shown */
    pthread_mutex_unlock(&manager.lock);
    _cleanup_free_ char *body =
        error_body("conflict", "an unfinished task is going to write that file");
    add("{\"url\": \"http://h/\", \"if_exists\": \"skip\"}", 409, body);
}
END_TEST

/* --- bad fields --- */

START_TEST(bad_fields)
{
    /* clang-format off */
    static const struct {
        const char *json, *message;
    } cases[] = {
        {"{}", "url is missing"},
        {"{\"url\": null}", "url is missing"},
        {"{\"url\": 1}", "url must be a string"},
        {"{\"url\": [\"http://h/\"]}", "url must be a string"},
        {"{\"url\": \"\"}", "url is empty"},
        {"{\"url\": \"http://h/\\u0000\"}", "url holds a NUL character"},
        {"{\"url\": \"http://h/\\n\"}", "url holds a control character"},
        {"{\"url\": \"http://\"}", "http:// has no host"},
        {"{\"url\": \"h/a\"}", "no scheme; did you mean https://h/a ?"},
        {"{\"url\": \"magnet:?x\"}", "autodl does not speak BitTorrent"},
        {"{\"url\": \"file:///etc/passwd\"}",
         "file:///etc/passwd is not a URL this service can fetch; it takes http, https, ftp, ftps "
         "and sftp"},
        {"{\"directory\": 1}", "directory must be a string"},
        {"{\"directory\": \"\"}", "directory is empty; leave it out for your default directory"},
        {"{\"directory\": \"a/b\"}",
         "directory is relative; it is a directory on the service's machine, so begin it with / or "
         "~/"},
        {"{\"directory\": \"~bob/x\"}",
         "directory ~bob/x: only your own ~/ is understood; write the directory in full"},
        {"{\"directory\": \"/a\\nb\"}", "directory holds a newline"},
        {"{\"directory\": \"/a\\u0000b\"}", "directory holds a NUL character"},
        {"{\"name\": {}}", "name must be a string"},
        {"{\"name\": \"\"}", "name is empty; leave it out for the name that the URL gives"},
        {"{\"name\": \".\"}", "name cannot be \\\".\\\""},
        {"{\"name\": \"..\"}", "name cannot be \\\"..\\\""},
        {"{\"name\": \"a/b\"}", "name holds a '/'; the place for that is directory"},
        {"{\"name\": \"\\/etc\\/passwd\"}", "name holds a '/'; the place for that is directory"},
        {"{\"name\": \"a\\u0000\"}", "name holds a NUL character"},
        {"{\"name\": \"a\\u001fb\"}", "name holds a control character"},
        {"{\"name\": \"a\\u007f\"}", "name holds a control character"},
        {"{\"name\": \"a\\u0085\"}", "name holds a control character"},
        {"{\"name\": \"a\\u202egpj\"}", "name holds a character that turns the direction of text"},
        {"{\"name\": \"-rf\"}", "name begins with '-', which commands would take for an option"},
        {"{\"if_exists\": \"\"}", "if_exists must be rename, skip or overwrite"},
        {"{\"if_exists\": \"Skip\"}", "if_exists must be rename, skip or overwrite"},
        {"{\"if_exists\": true}", "if_exists must be a string"},
        {"{\"checksum\": 5}", "checksum must be a string"},
        {"{\"retries\": -1}", "retries must be a whole number from 0 to 1000"},
        {"{\"retries\": 1001}", "retries must be a whole number from 0 to 1000"},
        {"{\"retries\": 1.0}", "retries must be a whole number from 0 to 1000"},
        {"{\"retries\": \"3\"}", "retries must be a whole number from 0 to 1000"},
        {"{\"retries\": true}", "retries must be a whole number from 0 to 1000"},
        {"{\"retries\": 99999999999999999999999}", "retries must be a whole number from 0 to 1000"},
        {"{\"retries\": 18446744073709551616}", "retries must be a whole number from 0 to 1000"},
        {"{\"priority\": 101}", "priority must be a whole number from -100 to 100"},
        {"{\"priority\": -101}", "priority must be a whole number from -100 to 100"},
        {"{\"priority\": \"high\"}", "priority must be a whole number from -100 to 100"},
        {"{\"not_before\": 5}", "not_before must be a string"},
        {"{\"not_before\": \"tomorrow\"}",
         "not_before must be a time such as 2030-01-31T22:00:00Z"},
        {"{\"paused\": 1}", "paused must be true or false"},
        {"{\"paused\": \"yes\"}", "paused must be true or false"},
        {"{\"headers\": \"A: b\"}", "headers must be an object, {...}"},
        {"{\"headers\": [\"A: b\"]}", "headers must be an object, {...}"},
        {"{\"headers\": {\"A\": 1}}", "headers: A must be a string"},
        {"{\"headers\": {\"A\": null}}", "headers: A must be a string"},
        {"{\"headers\": {\"A\": \"\\u0000\"}}", "headers: A holds a NUL character"},
        {"{\"headers\": {\"A\": \"b\\r\\nHost: x\"}}",
         "headers: A holds a line break or another control character"},
        {"{\"headers\": {\"A\": \"b\\nc\"}}",
         "headers: A holds a line break or another control character"},
        {"{\"headers\": {\"A\": \"\\u007f\"}}",
         "headers: A holds a line break or another control character"},
        {"{\"headers\": {\"A\": \" \"}}", "headers: A is empty"},
        {"{\"username\": \"\"}", "username is empty"},
        {"{\"username\": 5}", "username must be a string"},
        {"{\"username\": \"a\\r\\nQUIT\"}", "username holds a control character"},
        {"{\"username\": \"a\\u0000\"}", "username holds a NUL character"},
        {"{\"password\": \"a\\u007f\", \"username\": \"u\"}",
         "password holds a control character"},
        {"{\"url\": \"http://h/\", \"password\": \"p\"}", "password needs a username"},
        {"{\"url\": \"http://u:p@h/\", \"username\": \"v\"}",
         "url holds a user name, and username is another; give one of them"},
        {"{\"url\": \"ftp://u%0d%0aQUIT@h/\"}",
         "the user name or password in url holds a control character"},
        {"{\"headers\": {\"A\": \"\"}}", "headers: A is empty"},
        {"{\"headers\": {\"\": \"b\"}}", "headers: \\\"\\\" is not the name of a header field"},
        {"{\"headers\": {\"A:\": \"b\"}}", "headers: \\\"A:\\\" is not the name of a header field"},
        {"{\"headers\": {\"A b\": \"c\"}}",
         "headers: \\\"A b\\\" is not the name of a header field"},
        {"{\"headers\": {\"A\\r\\nB\": \"c\"}}",
         "headers: \\\"A\\r\\nB\\\" is not the name of a header field"},
        {"{\"headers\": {\"\\u00e9\": \"c\"}}",
         "headers: \\\"\\u00e9\\\" is not the name of a header field"},
        {"{\"label\": 1}", "label must be a string"},
        {"{\"label\": \"a\\nb\"}", "label holds a control character"},
        {"{\"rate_limit\": -1}", "rate_limit must be a whole number from 0 to 1125899906842624"},
        {"{\"rate_limit\": \"2M\"}", "rate_limit must be a whole number from 0 to 1125899906842624"},
        {"{\"max_ranges\": 0}", "max_ranges must be a whole number from 1 to 64"},
        {"{\"max_ranges\": 65}", "max_ranges must be a whole number from 1 to 64"},
        {"{\"after\": 5}", "after must be a string"},
        {"{\"after\": \"abc\"}",
         "after must be the id of a task, or its first 4 characters or more"},
        {"{\"after\": \"x000\"}",
         "after must be the id of a task, or its first 4 characters or more"},
        {"{\"mirrors\": \"http://h/\"}", "mirrors must be an array, [...]"},
        {"{\"mirrors\": [1]}", "mirrors[0] must be a string"},
        {"{\"mirrors\": [\"http://h/\", null]}", "mirrors[1] must be a string"},
        {"{\"mirrors\": [\"http://h/\\u0000\"]}", "mirrors[0] holds a NUL character"},
        {"{\"mirrors\": [\"http://h/\\n\"]}", "mirrors[0] holds a control character"},
        {"{\"mirrors\": [\"\"]}", "mirrors[0] is empty"},
        {"{\"mirrors\": [\"http://u:p@h/\"]}", "mirrors[0] holds a user name; only url may"},
        {"{\"mirrors\": [\"file:///a\"]}",
         "file:///a is not a URL this service can fetch; it takes http, https, ftp, ftps and sftp"},
    };
    /* clang-format on */
    for (size_t i = 0; i < LENGTH(cases); i++)
        add_refused(cases[i].json, cases[i].message);
}
END_TEST

START_TEST(header_fields_of_the_download_itself)
{
    static const char *const names[] = {"Host",
                                        "Range",
                                        "If-Range",
                                        "Content-Length",
                                        "Transfer-Encoding",
                                        "Connection",
                                        "Accept-Encoding",
                                        "content-length",
                                        "HOST"};
    for (size_t i = 0; i < LENGTH(names); i++) {
        char json[200], message[200];
        snprintf(json, sizeof json, "{\"url\": \"http://h/\", \"headers\": {\"%s\": \"x\"}}",
                 names[i]);
        snprintf(message, sizeof message,
                 "headers: %s is set by the download itself and cannot be given", names[i]);
        add_refused(json, message);
    }
}
END_TEST

START_TEST(checksums_are_looked_at)
{
    unsigned before = calls();
    static const char *const bad[] = {"", "md5=", "md5=00", "crc32=00112233", "sha-256=xyz"};
    for (size_t i = 0; i < LENGTH(bad); i++) {
        char json[200];
        snprintf(json, sizeof json, "{\"url\": \"http://h/\", \"checksum\": \"%s\"}", bad[i]);
        _cleanup_free_ char *answer = ask(UNIX, "POST /v1/tasks", NULL, JSON, json);
        check_answer(answer, 400, NULL, json);
        ck_assert_ptr_nonnull(
            strstr(answer, "{\"code\": \"bad_request\", \"message\": \"checksum: "));
    }
    ck_assert_uint_eq(calls(), before);
}
END_TEST

START_TEST(unknown_fields)
{
    static const char *const names[] = {
        "id",         "status",   "URL",        "url ",       "keep",
        "",         "retries\\t", "name.",      "Location", "\\u00e9"};
    for (size_t i = 0; i < LENGTH(names); i++) {
        char json[200], message[300];
        snprintf(json, sizeof json, "{\"url\": \"http://h/\", \"%s\": 1}", names[i]);
        snprintf(message, sizeof message,
                 "there is no field \\\"%s\\\" here; the fields are: url, directory, name, "
                 "if_exists, checksum, headers, mirrors, priority, not_before, after, "
                 "rate_limit, max_ranges, retries, label, username, password, paused",
                 names[i]);
        add_refused(json, message);
    }
    _cleanup_free_ char *longest = padded("{\"url\": \"http://h/\", \"b", 60000);
    _cleanup_free_ char *json = malloc(strlen(longest) + 10);
    snprintf(json, strlen(longest) + 10, "%s\": 1}", longest);
    add(json, 400, NULL);
    _cleanup_free_ char *body = error_body("bad_request", "there is no parameter \\\"url\\\" here");
    expect_with("POST /v1/tasks?url=http://h/", JSON, "{}", 400, body);
}
END_TEST

/* `count` bytes of "a" between two texts. */
static char *around(const char *before, size_t count, const char *after)
{
    _cleanup_free_ char *start = padded(before, count);
    struct buf text;
    buf_init(&text, 1 << 20);
    buf_printf(&text, "%s%s", start, after);
    return buf_take(&text);
}

START_TEST(bounds_of_fields)
{
    /* clang-format off */
    static const struct {
        const char *before, *after;
        size_t most;
        const char *message;
    } cases[] = {
        {"{\"url\": \"http://h/",
         "\"}",                API_URL_MAX - 9,  "url is longer than 8192 bytes"},
        {"{\"url\": \"http://h/\", \"directory\": \"/", "\"}",                API_PATH_MAX - 1,
         "directory is longer than 4095 bytes"},
        {"{\"url\": \"http://h/\", \"name\": \"\\u00e9", "\"}",                227,
         "name is longer than 229 bytes"},
        {"{\"url\": \"http://h/\", \"headers\": {\"A\": \"", "\", \"B\": \"c\"}}", 16384 - 4 - 5,
         "headers are more than 16384 bytes"},
    };
    /* clang-format on */
    for (size_t i = 0; i < LENGTH(cases); i++) {
        _cleanup_free_ char *fits = around(cases[i].before, cases[i].most, cases[i].after);
        _cleanup_free_ char *over = around(cases[i].before, cases[i].most + 1, cases[i].after);
        add(fits, 201, PLAIN);
        add_refused(over, cases[i].message);
    }
}
END_TEST

/* --- bodies --- */

START_TEST(broken_json)
{
    /* clang-format off */
    static const struct {
        const char *body, *what; /* NULL: whatever it is called */
    } cases[] = {
        {"{", "it ends too early"},
        {"{\"url\": \"http://h/", "it ends too early"},
        {" ", "it ends too early"},
        {"[]", "it is not an object, {...}"},
        {"[{\"url\": \"http://h/\"}]", "it is not an object, {...}"},
        {"\"http://h/\"", "it is not an object, {...}"},
        {"null", "it is not an object, {...}"},
        {"12", "it is not an object, {...}"},
        {"{\"url\": \"\xff\"}", "it is not valid UTF-8"},
        {"{\"url\": \"\xc0\xaf\"}", "it is not valid UTF-8"},
        {"\xef\xbb\xbf{}",                                                              NULL},
        {"{\"url\": \"http://h/\"} x",                                                  NULL},
        {"{\"url\": \"http://h/\"}{}",                                                  NULL},
        {"{\"url\": \"http://h/\",}",                                                   NULL},
        {"{url: \"http://h/\"}",                                                        NULL},
        {"{\"url\": \"http://h/\" /* c */}",                                            NULL},
        {"{\"url\": \"\\q\"}",                                                          NULL},
        {"{\"retries\": 01}",                                                           NULL},
        {"{\"paused\": TRUE}",                                                          NULL},
        {"url=http://h/",                                                               NULL},
        {"{\"url\": {\"a\": {\"a\": {\"a\": {\"a\": {\"a\": {\"a\": {\"a\": 1}}}}}}}}",
         "it is nested more than 7 levels deep"},
    };
    /* clang-format on */
    unsigned before = calls();
    for (size_t i = 0; i < LENGTH(cases); i++) {
        char message[200];
        snprintf(message, sizeof message, "the body is not a JSON object: %s",
                 cases[i].what ? cases[i].what : "");
        _cleanup_free_ char *body = error_body("bad_request", message);
        add(cases[i].body, 400, cases[i].what ? body : NULL);
    }
    expect_raw("POST /v1/tasks HTTP/1.1\r\nHost: a\r\n" JSON "Connection: close\r\n"
               "Transfer-Encoding: chunked\r\n\r\n1\r\n[\r\n1\r\n]\r\n0\r\n\r\n",
               400, NULL);
    ck_assert_uint_eq(calls(), before);
}
END_TEST

START_TEST(a_nul_in_the_body)
{
    static const char text[] = "POST /v1/tasks HTTP/1.1\r\nHost: a\r\nConnection: close\r\n" JSON
                               "Content-Length: 22\r\n\r\n{\"url\": \"http://h/\"}\0x";
    _cleanup_close_ int fd = connect_to(UNIX);
    ck_assert_int_eq(write(fd, text, sizeof text - 1), (ssize_t)sizeof text - 1);
    _cleanup_free_ char *answer = read_all(fd);
    _cleanup_free_ char *body =
        error_body("bad_request", "the body is not a JSON object: it holds a NUL");
    check_answer(answer, 400, body, "NUL");
}
END_TEST

#define SEND_JSON                                                                                  \
    "{\"code\": \"unsupported_media_type\", \"message\": \"send Content-Type: application/json "   \
    "(curl --json does)\"}"
#define NO_BODY                                                                                    \
    "{\"code\": \"length_required\", \"message\": \"the request has no body; send a JSON object "  \
    "(curl --json does)\"}"

START_TEST(body_types_and_lengths)
{
    unsigned before = calls();
    const char *sent = "{\"url\": \"http://h/\"}";
    expect_with("POST /v1/tasks", "", "url=http://h/", 415, SEND_JSON);
    expect_with("POST /v1/tasks", "Content-Type: text/plain\r\n", sent, 415, SEND_JSON);
    expect_with("POST /v1/tasks", "Content-Type: application/jsonx\r\n", sent, 415, SEND_JSON);
    expect_with("POST /v1/tasks", "Content-Type: multipart/form-data; boundary=X\r\n", "--X--\r\n",
                415, SEND_JSON);
    expect_raw("POST /v1/tasks HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 2\r\n"
               "\r\n{}",
               415, SEND_JSON);
    expect_with("POST " PATH "/hold", "", "a=b", 415, SEND_JSON);
    expect_with("DELETE " PATH, "", "a=b", 415, SEND_JSON);
    expect("POST /v1/tasks", 411, NO_BODY);
    _cleanup_free_ char *empty =
        error_body("bad_request", "the body is empty; send a JSON object with a url");
    add("", 400, empty);
    expect_with("POST /v1/tasks", "", "", 400, empty);
    ck_assert_uint_eq(calls(), before);

    expect_with("POST /v1/tasks", "Content-Type: Application/JSON; charset=utf-8\r\n", sent, 201,
                PLAIN);
    expect_raw("POST /v1/tasks HTTP/1.1\r\nHost: a\r\n" JSON "Connection: close\r\n"
               "Transfer-Encoding: chunked\r\n\r\n8\r\n{\"url\":\"\r\nb\r\nhttp://h/\"}\r\n"
               "0\r\n\r\n",
               201, PLAIN);
}
END_TEST

#define LARGEST 8388608

START_TEST(large_bodies)
{
    const char *too_large =
        "{\"code\": \"too_large\", \"message\": \"the body is larger than 8388608 bytes\"}";
    unsigned before = calls();
    static const char start[] = "{\"url\": \"http://h/\", \"directory\": \"/d\"";
    _cleanup_free_ char *fits = malloc(LARGEST + 2);
    memset(fits, ' ', LARGEST + 1);
    memcpy(fits, start, sizeof start - 1);
    fits[LARGEST - 1] = '}';
    fits[LARGEST] = '\0';
    add(fits, 201, PLAIN);
    fits[LARGEST - 1] = ' ';
    fits[LARGEST] = '}';
    fits[LARGEST + 1] = '\0';
    add(fits, 413, too_large);
    _cleanup_free_ char *more = padded("", LARGEST + (3 << 20));
    add(more, 413, too_large);
    _cleanup_free_ char *verb = padded("", API_BODY_MAX + 1);
    expect_with("POST " PATH "/hold", JSON, verb, 413, NULL);
    unsigned added = port6 ? 3 : 2;
    ck_assert_uint_eq(calls(), before + added);
    expect_raw("POST /v1/tasks HTTP/1.1\r\nHost: a\r\n" JSON "Expect: 100-continue\r\n"
               "Content-Length: 8388609\r\n\r\n",
               413, too_large);
}
END_TEST

/* To add a task, in so many bytes. */
static char *spaced(size_t len)
{
    static const char start[] = "{\"url\": \"http://h/\"";
    char *text = malloc(len + 1);
    ck_assert_ptr_nonnull(text);
    memset(text, ' ', len);
    memcpy(text, start, sizeof start - 1);
    text[len - 1] = '}';
    text[len] = '\0';
    return text;
}

/* Not on an HTTP thread, but by readers: after those have stopped nobody reads them. */
START_TEST(long_bodies_are_read_elsewhere)
{
    _cleanup_free_ char *shorter = spaced(16 << 10);
    _cleanup_free_ char *longer = spaced((16 << 10) + 1);
    add(shorter, 201, PLAIN);
    add(longer, 201, PLAIN);
    readers_stop(bench_readers());
    add(shorter, 201, PLAIN);
    add(longer, 503, NULL);
}
END_TEST

/* What takes a thousand times as much memory as it has bytes. */
START_TEST(bodies_of_many_values)
{
    unsigned before = calls();
    struct buf body;
    buf_init(&body, LARGEST);
    buf_add_string(&body, "{\"tasks\": [{}");
    for (int i = 0; i < 32000; i++)
        buf_add_string(&body, ",{}");
    buf_add_string(&body, "]}");
    _cleanup_free_ char *refusal = error_body(
        "bad_request", "the body is not a JSON object: it has more than 400000 values, or 32000 "
                       "objects and arrays");
    add(body.data, 400, refusal);
    buf_clear(&body);
    buf_add_string(&body, "{\"tasks\": [1");
    for (int i = 0; i < 400000; i++)
        buf_add_string(&body, ",1");
    buf_add_string(&body, "]}");
    add(body.data, 400, refusal);
    buf_release(&body);
    ck_assert_uint_eq(calls(), before);
}
END_TEST

/* --- many at once --- */

/* Tasks with these members after their urls, as many as there are. */
static char *many_tasks(size_t count)
{
    struct buf body;
    buf_init(&body, LARGEST);
    buf_add_string(&body, "{\"tasks\": [");
    for (size_t i = 0; i < count; i++)
        buf_printf(&body, "%s{\"url\": \"http://h/%zu\", \"priority\": %zu}", i ? ", " : "", i,
                   i % 100);
    buf_add_string(&body, "]}");
    return buf_take(&body);
}

START_TEST(many_at_once)
{
    add("{\"tasks\": [{\"url\": \"http://h/\"}, {\"url\": \"http://g/\", \"label\": \"x\"}]}", 201,
        "{\"tasks\": [" PLAIN ", " PLAIN ", " PLAIN "]}");
    const struct manager *now = seen();
    ck_assert_str_eq(now->verb, "add_many");
    ck_assert_uint_eq(now->added, 2);
    ck_assert_str_eq(now->add.url, "http://g/");
    ck_assert_str_eq(now->add.label, "x");
    ck_assert_str_eq(now->add.user, own_name);
    ck_assert_uint_eq(now->scope, getuid());
    ck_assert_int_eq(now->add.retries, -1);
    _cleanup_free_ char *most = many_tasks(MANAGER_ADD_MAX);
    add(most, 201, NULL);
    ck_assert_uint_eq(seen()->added, MANAGER_ADD_MAX);
    ck_assert_str_eq(seen()->add.url, "http://h/9999");
    ck_assert_int_eq(seen()->add.priority, 99);
    _cleanup_free_ char *over = many_tasks(MANAGER_ADD_MAX + 1);
    add_refused(over, "tasks must be 1 to 10000 tasks; these are 10001");
    set_reply(-EEXIST, "tasks[1]: an unfinished task has that dest");
    _cleanup_free_ char *conflict =
        error_body("conflict", "tasks[1]: an unfinished task has that dest");
    add("{\"tasks\": [{\"url\": \"http://h/\"}]}", 409, conflict);
    set_reply(-EDOM, "tasks[0].after: no such task");
    _cleanup_free_ char *nothing = error_body("bad_request", "tasks[0].after: no such task");
    add("{\"tasks\": [{\"url\": \"http://h/\"}]}", 400, nothing);
}
END_TEST

START_TEST(one_wrong_of_many)
{
    static const struct {
        const char *json, *message;
    } cases[] = {
        {"{\"tasks\": []}", "tasks must be 1 to 10000 tasks; these are 0"},
        {"{\"tasks\": {}}", "tasks must be an array, [...]"},
        {"{\"tasks\": \"x\"}", "tasks must be an array, [...]"},
        {"{\"tasks\": [1]}", "tasks[0] must be an object, {...}"},
        {"{\"tasks\": [{\"url\": \"http://h/\"}, null]}", "tasks[1] must be an object, {...}"},
        {"{\"tasks\": [{\"url\": \"http://h/\"}, {}]}", "tasks[1].url is missing"},
        {"{\"tasks\": [{\"url\": \"h/a\"}]}",
         "tasks[0].url: no scheme; did you mean https://h/a ?"},
        {"{\"tasks\": [{\"url\": 1}]}", "tasks[0].url must be a string"},
        {"{\"tasks\": [{\"url\": \"http://h/\", \"priority\": 101}]}",
         "tasks[0].priority must be a whole number from -100 to 100"},
        {"{\"tasks\": [{\"url\": \"http://h/\", \"password\": \"p\"}]}",
         "tasks[0].password needs a username"},
        {"{\"tasks\": [{\"url\": \"http://h/\"}], \"url\": \"http://h/\"}",
         "there is no field \\\"url\\\" here; the fields are: tasks"},
        {"{\"tasks\": [{\"url\": \"http://h/\", \"tasks\": []}]}",
         "tasks[0]: there is no field \\\"tasks\\\" here; the fields are: url, directory, name, "
         "if_exists, checksum, headers, mirrors, priority, not_before, after, rate_limit, "
         "max_ranges, retries, label, username, password, paused"},
    };
    for (size_t i = 0; i < LENGTH(cases); i++)
        add_refused(cases[i].json, cases[i].message);
}
END_TEST

/* --- the verbs --- */

START_TEST(verbs_to_the_byte)
{
    static const char *const verbs[] = {"hold", "release", "cancel", "retry", "first"};
    for (size_t i = 0; i < LENGTH(verbs); i++) {
        char line[100], other[100];
        snprintf(line, sizeof line, "POST " PATH "/%s", verbs[i]);
        snprintf(other, sizeof other, "POST /v1/tasks/5b0c9/%s", verbs[i]);
        expect(line, 200, PLAIN);
        ck_assert_str_eq(seen()->verb, verbs[i]);
        ck_assert_str_eq(seen()->id, ID);
        ck_assert_uint_eq(seen()->scope, (uid_t)-1);
        ck_assert(!seen()->flag);
        expect_with(other, JSON, "{}", 200, PLAIN);
        ck_assert_str_eq(seen()->id, "5b0c9");
    }
}
END_TEST

START_TEST(cancel_may_keep_the_part)
{
    static const struct {
        const char *query, *body;
        bool keep;
    } cases[] = {
        {"",           NULL,                false},
        {"",           "{\"keep\": true}",  true },
        {"",           "{\"keep\": false}", false},
        {"",           "{\"keep\": null}",  false},
        {"?keep=yes",  NULL,                true },
        {"?keep=true", "{}",                true },
        {"?keep=no",   NULL,                false},
        {"?keep=yes",  "{\"keep\": false}", false},
    };
    for (size_t i = 0; i < LENGTH(cases); i++) {
        char line[100];
        snprintf(line, sizeof line, "POST " PATH "/cancel%s", cases[i].query);
        expect_with(line, JSON, cases[i].body, 200, PLAIN);
        ck_assert_msg(seen()->flag == cases[i].keep, "case %zu", i);
    }
    unsigned before = calls();
    expect_error("POST " PATH "/cancel?keep=maybe", 400, "bad_request", "keep must be yes or no");
    expect_error("POST " PATH "/cancel?keep=", 400, "bad_request", "keep must be yes or no");
    _cleanup_free_ char *body = error_body("bad_request", "keep must be true or false");
    expect_with("POST " PATH "/cancel", JSON, "{\"keep\": 1}", 400, body);
    ck_assert_uint_eq(calls(), before);
}
END_TEST

START_TEST(forget_has_no_body)
{
    _cleanup_free_ char *answer = ask(UNIX, "DELETE " PATH, NULL, "", NULL);
    check_answer(answer, 204, "", "forget");
    ck_assert_ptr_null(strstr(answer, "\r\nContent-Type"));
    ck_assert_ptr_null(strstr(answer, "\r\nContent-Length"));
    ck_assert_str_eq(seen()->verb, "forget");
    ck_assert(!seen()->flag);
    expect("DELETE /v1/tasks/5b0c?file=delete", 204, "");
    ck_assert_str_eq(seen()->id, "5b0c");
    ck_assert(seen()->flag);
    unsigned before = calls();
    expect_error("DELETE " PATH "?file=keep", 400, "bad_request",
                 "file can only be delete; leave it out to keep the file");
    expect_error("DELETE " PATH "?flie=delete", 400, "bad_request",
                 "there is no parameter \\\"flie\\\" here");
    ck_assert_uint_eq(calls(), before);

    /* The connection goes on. */
    _cleanup_free_ char *two =
        exchange(UNIX, "DELETE " PATH " HTTP/1.1\r\nHost: x\r\n\r\n"
                       "GET " PATH " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    check_answer(two, 204, NULL, "the first of two");
    ck_assert_ptr_nonnull(strstr(two, PLAIN));
}
END_TEST

START_TEST(what_verbs_do_not_take)
{
    unsigned before = calls();
    _cleanup_free_ char *none =
        error_body("bad_request", "there is no field \\\"keep\\\" here; the fields are: none");
    _cleanup_free_ char *keep =
        error_body("bad_request", "there is no field \\\"kep\\\" here; the fields are: keep");
    expect_with("POST " PATH "/hold", JSON, "{\"keep\": true}", 400, none);
    expect_with("DELETE " PATH, JSON, "{\"keep\": true}", 400, none);
    expect_with("POST " PATH "/cancel", JSON, "{\"kep\": true}", 400, keep);
    expect_with("POST " PATH "/retry", JSON, "{", 400, NULL);
    static const char *const lines[] = {"GET " PATH, "POST " PATH "/hold", "POST " PATH "/release",
                                        "POST " PATH "/retry", "POST " PATH "/cancel"};
    for (size_t i = 0; i < LENGTH(lines); i++) {
        char line[100];
        snprintf(line, sizeof line, "%s?scope=all", lines[i]);
        expect_error(line, 400, "bad_request", "there is no parameter \\\"scope\\\" here");
    }
    expect("GET " PATH "?%ff=1", 400, NULL);
    ck_assert_uint_eq(calls(), before);
}
END_TEST

START_TEST(what_can_be_changed)
{
    expect_with("PATCH " PATH, JSON,
                "{\"url\": \"http://g/b\", \"priority\": -5, \"rate_limit\": 0, \"max_ranges\": 1, "
                "\"label\": \"\", \"not_before\": \"2030-01-31T22:00:00Z\"}",
                200, PLAIN);
    const struct manager *now = seen();
    ck_assert_str_eq(now->verb, "change");
    ck_assert_str_eq(now->id, ID);
    ck_assert_uint_eq(now->change.fields, 63);
    ck_assert_str_eq(now->change.url, "http://g/b");
    ck_assert_str_eq(now->change.label, "");
    ck_assert_int_eq(now->change.priority, -5);
    ck_assert_int_eq(now->change.rate_limit, 0);
    ck_assert_int_eq(now->change.max_ranges, 1);
    ck_assert_int_eq(now->change.not_before, 1896127200000);
    expect_with("PATCH /v1/tasks/5b0c", JSON, "{\"priority\": 3, \"label\": null}", 200, PLAIN);
    ck_assert_uint_eq(seen()->change.fields, MANAGER_CHANGE_PRIORITY);

    static const struct {
        const char *json, *message;
    } cases[] = {
        {"{}", "nothing is to be changed; send a JSON object with one of: url, priority, not_before, "
               "rate_limit, max_ranges, label"},
        {"{\"name\": \"x\"}", "there is no field \\\"name\\\" here; the fields are: url, priority, "
                              "not_before, rate_limit, max_ranges, label"},
        {"{\"url\": \"x\"}", "no scheme; did you mean https://x ?"},
        {"{\"priority\": 1000}", "priority must be a whole number from -100 to 100"},
    };
    unsigned before = calls();
    for (size_t i = 0; i < LENGTH(cases); i++) {
        _cleanup_free_ char *body = error_body("bad_request", cases[i].message);
        expect_with("PATCH " PATH, JSON, cases[i].json, 400, body);
    }
    expect("PATCH " PATH, 411, NULL);
    expect_with("PATCH " PATH, "", "a=b", 415, NULL);
    ck_assert_uint_eq(calls(), before);
}
END_TEST

#define COUNT "{\"count\": 3}"

START_TEST(verbs_for_many)
{
    static const struct {
        const char *path, *json;
        enum manager_verb verb;
    } cases[] = {
        {"hold",    "{\"scope\": \"own\"}",                                     MANAGER_HOLD       },
        {"release", "{\"host\": \"h\"}",                                        MANAGER_RELEASE    },
        {"cancel",  "{\"q\": \"x\"}",                                           MANAGER_CANCEL     },
        {"cancel",  "{\"q\": \"x\", \"keep\": true}",                           MANAGER_CANCEL_KEEP},
        {"retry",   "{\"status\": \"FAILED,CLEARED\"}",                         MANAGER_RETRY      },
        {"forget",  "{\"status\": \"FINISHED\", \"scope\": \"all\"}",           MANAGER_FORGET     },
        {"forget",  "{\"ids\": [\"5b0c\", \"" ID "\"], \"file\": \"delete\"}", MANAGER_FORGET_FILE},
    };
    for (size_t i = 0; i < LENGTH(cases); i++) {
        char line[100];
        snprintf(line, sizeof line, "POST /v1/tasks/%s", cases[i].path);
        expect_with(line, JSON, cases[i].json, 200, COUNT);
        ck_assert_str_eq(seen()->verb, "do_many");
        ck_assert_int_eq(seen()->many, cases[i].verb);
        ck_assert_uint_eq(seen()->scope, i == 0 ? getuid() : (uid_t)-1);
        ck_assert_uint_eq(seen()->filter.reader, getuid());
    }
    ck_assert_uint_eq(seen()->id_count, 2);
    ck_assert_str_eq(seen()->id, ID);
    expect_with("POST /v1/tasks/retry", JSON, "{\"status\": \"FAILED\", \"host\": \"h:8\", \"q\": \"y\"}",
                200, COUNT);
    ck_assert_uint_eq(seen()->filter.states, 1U << TASK_FAILED);
    ck_assert_str_eq(seen()->filter.host, "h:8");
    ck_assert_str_eq(seen()->filter.text, "y");
    ck_assert_uint_eq(seen()->id_count, 0);
}
END_TEST

START_TEST(what_many_do_not_take)
{
    static const struct {
        const char *path, *json, *message;
    } cases[] = {
        {"cancel", "{}", "which tasks? give ids, or status, host or q; all of yours are scope: own"},
        {"cancel", NULL, "which tasks? give ids, or status, host or q; all of yours are scope: own"},
        {"forget", "{\"file\": \"delete\"}",
         "which tasks? give ids, or status, host or q; all of yours are scope: own"},
        {"hold", "{\"ids\": [\"5b0c\"], \"q\": \"x\"}",
         "ids and a filter contradict each other; give one of them"},
        {"hold", "{\"ids\": []}", "ids must be 1 to 10000 ids; these are 0"},
        {"hold", "{\"ids\": [\"5b0c\", 7]}",
         "ids[1] must be the id of a task, or its first 4 characters or more"},
        {"hold", "{\"ids\": [\"abc\"]}",
         "ids[0] must be the id of a task, or its first 4 characters or more"},
        {"hold", "{\"ids\": \"5b0c\"}", "ids must be an array, [...]"},
        {"hold", "{\"scope\": \"mine\"}", "scope is own or all"},
        {"hold", "{\"q\": \"x\", \"keep\": true}",
         "there is no field \\\"keep\\\" here; the fields are: status, host, q, ids, scope"},
        {"forget", "{\"q\": \"x\", \"file\": \"keep\"}",
         "file can only be delete; leave it out to keep the files"},
        {"hold", "{\"user\": \"x\"}",
         "there is no field \\\"user\\\" here; the fields are: status, host, q, ids, scope"},
    };
    unsigned before = calls();
    for (size_t i = 0; i < LENGTH(cases); i++) {
        char line[100];
        snprintf(line, sizeof line, "POST /v1/tasks/%s", cases[i].path);
        _cleanup_free_ char *body = error_body("bad_request", cases[i].message);
        expect_with(line, JSON, cases[i].json, 400, body);
    }
    expect("POST /v1/tasks/hold?scope=own", 400, NULL);
    ck_assert_uint_eq(calls(), before);
}
END_TEST

/* --- the service --- */

START_TEST(clear_pause_resume)
{
    expect("POST /v1/clear", 200, COUNT);
    ck_assert_str_eq(seen()->verb, "clear");
    ck_assert_uint_eq(seen()->scope, (uid_t)-1);
    expect_with("POST /v1/clear", JSON, "{\"scope\": \"own\"}", 200, COUNT);
    ck_assert_uint_eq(seen()->scope, getuid());
    expect("POST /v1/resume?scope=own", 200, COUNT);
    ck_assert_str_eq(seen()->verb, "resume");
    ck_assert_uint_eq(seen()->scope, getuid());
    expect("POST /v1/pause", 200, "{\"scope\": \"own\", \"until\": null}");
    ck_assert_str_eq(seen()->verb, "pause");
    ck_assert_uint_eq(seen()->number, 0);
    expect_with("POST /v1/pause", JSON, "{\"seconds\": 60, \"scope\": \"all\"}", 200, NULL);
    ck_assert_uint_eq(seen()->number, 60);
    char json[100];
    time_t later = time(NULL) + 86400;
    strftime(json, sizeof json, "{\"until\": \"%Y-%m-%dT%H:%M:%SZ\"}", gmtime(&later));
    expect_with("POST /v1/pause", JSON, json, 200, NULL);
    ck_assert_str_eq(seen()->verb, "pause_until");
    ck_assert_int_eq(seen()->pause_until, (int64_t)later * 1000);

    static const struct {
        const char *line, *json, *message;
    } cases[] = {
        {"POST /v1/pause", "{\"seconds\": 0}", "seconds must be a whole number from 1 to 31536000"},
        {"POST /v1/pause", "{\"until\": \"now\"}",
         "until must be a time such as 2030-01-31T22:00:00Z"},
        {"POST /v1/pause", "{\"until\": \"2001-01-31T22:00:00Z\"}",
         "until is over already; by the service's clock it is later"},
        {"POST /v1/pause", "{\"until\": \"9001-01-31T22:00:00Z\"}",
         "until is more than a year away"},
        {"POST /v1/pause?scope=own", "{\"scope\": \"all\"}", "scope is said twice, and differently"},
        {"POST /v1/pause?seconds=5", NULL, "there is no parameter \\\"seconds\\\" here"},
        {"POST /v1/clear", "{\"seconds\": 5}",
         "there is no field \\\"seconds\\\" here; the fields are: scope"},
        {"POST /v1/resume", "{\"scope\": \"\"}", "scope is own or all"},
    };
    unsigned before = calls();
    for (size_t i = 0; i < LENGTH(cases); i++) {
        _cleanup_free_ char *body = error_body("bad_request", cases[i].message);
        expect_with(cases[i].line, JSON, cases[i].json, 400, body);
    }
    ck_assert_uint_eq(calls(), before);
}
END_TEST

#define SETTINGS                                                                                   \
    "{\"max_tasks_num\": {\"value\": 10, \"source\": \"default\", \"who\": null}, "                    \
    "\"rate_limit\": {\"value\": 5, \"source\": \"run time\", \"who\": \"dora\", "                     \
    "\"until\": \"2023-11-14T22:13:20.007Z\"}, "                                                   \
    "\"max_per_host\": {\"value\": 16, \"source\": \"command line\", \"who\": null}}"

START_TEST(settings_to_the_byte)
{
    expect("GET /v1/settings", 200, SETTINGS);
    expect("HEAD /v1/settings", 200, "");
    expect_with("PATCH /v1/settings", JSON, "{\"max_per_host\": 1, \"rate_limit\": 0}", 200, SETTINGS);
    const struct manager *now = seen();
    ck_assert(now->setting.set[MANAGER_MAX_PER_HOST] && now->setting.set[MANAGER_RATE_LIMIT]);
    ck_assert(!now->setting.set[MANAGER_MAX_TASKS]);
    ck_assert_int_eq(now->setting.value[MANAGER_MAX_PER_HOST], 1);
    ck_assert_int_eq(now->setting.value[MANAGER_RATE_LIMIT], 0);
    ck_assert_int_eq(now->setting.until, 0);
    expect_with("PATCH /v1/settings", JSON, "{}", 200, SETTINGS);
    static const struct {
        const char *json, *message;
    } cases[] = {
        {"{\"max_tasks_num\": 0}",    "max_tasks_num must be a whole number from 1 to 1000"      },
        {"{\"max_tasks_num\": 1001}", "max_tasks_num must be a whole number from 1 to 1000"      },
        {"{\"max_per_host\": 0}",     "max_per_host must be a whole number from 1 to 1000"       },
        {"{\"rate_limit\": -1}",      "rate_limit must be a whole number from 0 to 1125899906842624"},
        {"{\"until\": \"2099-01-31T22:00:00Z\"}", "until is more than a year away"               },
        {"{\"state_dir\": \"/\"}",
         "there is no field \\\"state_dir\\\" here; the fields are: max_tasks_num, rate_limit, "
         "until, max_per_host"                                                                 },
    };
    unsigned before = calls();
    for (size_t i = 0; i < LENGTH(cases); i++) {
        _cleanup_free_ char *body = error_body("bad_request", cases[i].message);
        expect_with("PATCH /v1/settings", JSON, cases[i].json, 400, body);
    }
    ck_assert_uint_eq(calls(), before);
    set_reply(-EAGAIN, NULL);
    expect_with("PATCH /v1/settings", JSON, "{\"max_tasks_num\": 5}", 503, NULL);
}
END_TEST

START_TEST(stats_at_a_glance)
{
    _cleanup_free_ char *answer = ask(UNIX, "GET /v1/stats", NULL, "", NULL);
    check_answer(answer, 200, NULL, "stats");
    ck_assert_str_eq(seen()->verb, "overview");
    ck_assert_uint_eq(seen()->scope, getuid());
    static const char *const parts[] = {
        "{\"tasks\": {\"own\": {\"CREATED\": 0, \"ENQUEUED\": 0, \"DOWNLOADING\": 0, \"FINISHED\": "
        "0, "
        "\"FAILED\": 0, \"CLEARED\": 0, \"FINISHING\": 0, \"PAUSED\": 4, \"CANCELLED\": 0}, "
        "\"all\": {\"CREATED\": 0, \"ENQUEUED\": 0, \"DOWNLOADING\": 0, \"FINISHED\": 5, ",
        "}}, \"step_seconds\": 10, \"bytes\": [0, 0, 0, ", ", 0, 1000], \"responses\": [7, 0, ",
        (", 0], \"disk\": {\"directory\": \"/home/x/d \\u00e9\", \"free\": 5000000000}, "
         "\"pauses\": {\"own\": {\"until\": null}, \"all\": null}}")};
    for (size_t i = 0; i < LENGTH(parts); i++)
        ck_assert_msg(strstr(answer, parts[i]), "%s is not in %s", parts[i], answer);
    expect("HEAD /v1/stats", 200, "");
    unsigned before = calls();
    expect_error("GET /v1/stats?scope=all", 400, "bad_request",
                 "there is no parameter \\\"scope\\\" here");
    ck_assert_uint_eq(calls(), before);
    set_reply(-EIO, NULL);
    expect("GET /v1/stats", 503, NULL);
}
END_TEST

/* --- routes, ids, errors --- */

#define NO_TASK                                                                                    \
    "{\"code\": \"not_found\", \"message\": \"you have no task with that id, or whose id begins "  \
    "like that\"}"

START_TEST(routes_and_methods)
{
    static const struct {
        const char *line, *allow;
    } wrong[] = {
        {"DELETE /v1/tasks",       "GET, HEAD, POST"  },
        {"POST " PATH,             "GET, HEAD, DELETE, PATCH"},
        {"PUT " PATH,              "GET, HEAD, DELETE, PATCH"},
        {"GET " PATH "/hold",      "POST"             },
        {"DELETE " PATH "/cancel", "POST"             },
        {"PUT /v1/tasks/hold",     "GET, HEAD, POST, DELETE, PATCH"},
        {"POST /v1/tasks/first",   "GET, HEAD, DELETE, PATCH"},
        {"GET /v1/clear",          "POST"             },
        {"POST /v1/settings",      "GET, HEAD, PATCH" },
        {"POST /v1/stats",         "GET, HEAD"        },
    };
    unsigned before = calls();
    for (size_t i = 0; i < LENGTH(wrong); i++) {
        char allow[64];
        snprintf(allow, sizeof allow, "\r\nAllow: %s\r\n", wrong[i].allow);
        _cleanup_free_ char *answer = ask(UNIX, wrong[i].line, NULL, "", NULL);
        check_answer(answer, 405, NULL, wrong[i].line);
        ck_assert_msg(strstr(answer, allow), "%s: %s", wrong[i].line, answer);
    }
    static const char *const nowhere[] = {
        "GET /v1",        "GET /v1/",           "GET /v1/tasks/",         "GET /v1/tasks//hold",
        "GET " PATH "/",  "POST " PATH "/hld",  "POST " PATH "/hold/",    "POST " PATH "/hold/x",
        "GET /v1/tasksx", "GET /v2/tasks/5b0c", "POST /v1/tasks/a/b/hold"};
    for (size_t i = 0; i < LENGTH(nowhere); i++)
        expect(nowhere[i], 404, NULL);
    expect_error("GET /v1/nothing", 404, "not_found",
                 "there is no /v1/nothing; the paths are listed in autodl-api(7)");
    static const char *const ids[] = {"abc",     "xyz-1234", "5B0C", "..",
                                      "%00aaaa", "5b0c%00",  ID "0", "*"};
    for (size_t i = 0; i < LENGTH(ids); i++) {
        char line[100];
        snprintf(line, sizeof line, "GET /v1/tasks/%s", ids[i]);
        expect(line, 404, strstr(ids[i], "%00") ? NULL : NO_TASK);
        snprintf(line, sizeof line, "POST /v1/tasks/%s/cancel", ids[i]);
        expect(line, 404, NULL);
        snprintf(line, sizeof line, "DELETE /v1/tasks/%s", ids[i]);
        expect(line, 404, NULL);
    }
    ck_assert_uint_eq(calls(), before);
    expect("GET /v1/tasks/%35b0c", 200, PLAIN);
    ck_assert_str_eq(seen()->id, "5b0c");
}
END_TEST

START_TEST(errors_of_the_manager)
{
    static const struct {
        int error;
        const char *message;
        int one, add; /* statuses */
        const char *code;
    } cases[] = {
        {-EBUSY,     "it is running; cancel it first",                    409, 409, "conflict"   },
        {-EMLINK,    "5b0c is 5b0c9a1e or 5b0cffff; give more of the id", 409, 409, "conflict"   },
        {-EACCES,    "/root: Permission denied",                          403, 403, "forbidden"  },
        {-EPERM,     "names that begin with a dot need allow-hidden",     403, 403, "forbidden"  },
        {-EROFS,     "/d: Read-only file system",                         403, 403, "forbidden"  },
        {-ENOSPC,    "the disk is full",                                  503, 503, "unavailable"},
        {-EIO,       "the store failed",                                  503, 503, "unavailable"},
        {-ESHUTDOWN, "the service is stopping",                           503, 503, "unavailable"},
        {-ENOMEM,    "no memory",                                         503, 503, "unavailable"},
    };
    static const char *const lines[] = {"GET " PATH,
                                        "DELETE " PATH,
                                        "POST " PATH "/hold",
                                        "POST " PATH "/release",
                                        "POST " PATH "/cancel",
                                        "POST " PATH "/retry"};
    for (size_t i = 0; i < LENGTH(cases); i++) {
        set_reply(cases[i].error, cases[i].message);
        _cleanup_free_ char *body = error_body(cases[i].code, cases[i].message);
        for (size_t j = 0; j < LENGTH(lines); j++)
            expect(lines[j], cases[i].one, body);
        add("{\"url\": \"http://h/\"}", cases[i].add, body);
    }
    set_reply(-ENOENT, "no such task");
    for (size_t j = 0; j < LENGTH(lines); j++)
        expect(lines[j], 404, NO_TASK);
    set_reply(-ENOENT, "/d: No such file or directory");
    _cleanup_free_ char *gone = error_body("forbidden", "/d: No such file or directory");
    add("{\"url\": \"http://h/\"}", 403, gone);
    set_reply(-EEXIST, NULL);
    _cleanup_free_ char *exists =
        error_body("conflict", "an unfinished task is going to write that file");
    add("{\"url\": \"http://h/\", \"if_exists\": \"overwrite\"}", 409, exists);
    set_reply(-EBUSY, NULL);
    expect("POST " PATH "/hold", 409, NULL);
}
END_TEST

/* A web page of another site cannot give orders. */
START_TEST(foreign_origins)
{
    static const char *const extras[] = {"Origin: http://evil.example\r\n", "Origin: null\r\n",
                                         "Sec-Fetch-Site: cross-site\r\n",
                                         "Sec-Fetch-Site: same-site\r\n"};
    unsigned before = calls();
    for (size_t i = 0; i < LENGTH(extras); i++) {
        char extra[200];
        snprintf(extra, sizeof extra, "%s%s", extras[i], JSON);
        expect_with("POST /v1/tasks", extra, "{\"url\": \"http://h/\"}", 403, NULL);
        expect_with("DELETE " PATH, extra, NULL, 403, NULL);
        expect_with("POST " PATH "/cancel", extra, NULL, 403, NULL);
    }
    _cleanup_free_ char *nobody =
        ask(TCP, "POST /v1/tasks", NULL, JSON, "{\"url\": \"http://h/\"}");
    check_answer(nobody, 401, NULL, "no name on TCP");
    ck_assert_uint_eq(calls(), before);
}
END_TEST

START_TEST(answers_come_later)
{
    int fds[8];
    set_hold(true);
    _cleanup_free_ char *text =
        request_text("POST /v1/tasks", own_name, JSON, "{\"url\": \"http://h/\"}");
    for (unsigned i = 0; i < 8; i++) {
        fds[i] = connect_to(i % 2 ? TCP : UNIX);
        send_text(fds[i], text);
        wait_for_held(i + 1);
    }
    close(fds[0]); /* who leaves is not waited for */
    set_hold(false);
    expect("GET " PATH, 200, PLAIN);
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, release_replies, NULL), 0);
    for (int i = 1; i < 8; i++) {
        _cleanup_free_ char *answer = read_all(fds[i]);
        check_answer(answer, 201, PLAIN, "a late answer");
        ck_assert_ptr_nonnull(strstr(answer, "\r\nLocation: " PATH "\r\n"));
        close(fds[i]);
    }
    pthread_join(thread, NULL);
}
END_TEST

/* --- secrets --- */

static void set_url(const char *url)
{
    pthread_mutex_lock(&manager.lock);
    manager.task.url = (char *)url;
    manager.task.headers = (char *)"Cookie: topsecret\n";
    pthread_mutex_unlock(&manager.lock);
}

START_TEST(what_the_owner_sees_of_a_url)
{
    static const char *const cases[][2] = {
        {"http://u:topsecret@h/a?q=1#f",     "http://h/a?q=1#f"    },
        {"http://u@h:80/a",                  "http://h:80/a"       },
        {"ftp://u:top@secret@h",             "ftp://h"             },
        {"http://h/a@b",                     "http://h/a@b"        },
        {"http://h?a@b",                     "http://h?a@b"        },
        {"http://u:topsecret@h?a@b://c:d@e", "http://h?a@b://c:d@e"},
        {"http://u:topsecret@[::1]:8/",      "http://[::1]:8/"     },
    };
    for (size_t i = 0; i < LENGTH(cases); i++) {
        char shown[100];
        set_url(cases[i][0]);
        snprintf(shown, sizeof shown, "\"url\": \"%s\", ", cases[i][1]);
        _cleanup_free_ char *answer = ask(UNIX, "GET " PATH, NULL, "", NULL);
        ck_assert_msg(strstr(answer, shown), "%s: %s", cases[i][0], answer);
        ck_assert_ptr_null(strstr(answer, "topsecret"));
    }
}
END_TEST

/* --- several users; root alone --- */

START_TEST(whose_are_listed)
{
    static const struct {
        uid_t uid;
        const char *query;
        int status;
        uid_t scope;
    } cases[] = {
        {1, "",                     200, 1        },
        {1, "?scope=own",           200, 1        },
        {1, "?user=daemon",         200, 1        },
        {1, "?scope=all",           403, 0        },
        {1, "?user=bin",            403, 0        },
        {1, "?user=nobody-at-all",  403, 0        }, /* as for somebody */
        {1, "?user=bin&scope=own",  200, 1        }, /* which is none */
        {2, "",                     200, 2        },
        {2, "?scope=all",           200, (uid_t)-1},
        {2, "?user=daemon",         200, (uid_t)-1},
        {0, "",                     200, (uid_t)-1},
        {0, "?scope=own",           200, 0        },
    };
    for (size_t i = 0; i < LENGTH(cases); i++) {
        char line[100];
        unsigned before = calls();
        snprintf(line, sizeof line, "GET /v1/tasks%s", cases[i].query);
        expect_as(cases[i].uid, UNIX, line, NULL, cases[i].status, NULL);
        ck_assert_uint_eq(calls(), before + (cases[i].status == 200));
        if (cases[i].status != 200)
            continue;
        ck_assert_msg(seen()->scope == cases[i].scope, "%s by %u", line, cases[i].uid);
        ck_assert_uint_eq(seen()->filter.reader, cases[i].uid);
    }
}
END_TEST

START_TEST(whose_tasks)
{
    static const char *const lines[] = {"GET " PATH,
                                        "DELETE " PATH,
                                        "POST " PATH "/hold",
                                        "POST " PATH "/release",
                                        "POST " PATH "/cancel",
                                        "POST " PATH "/retry"};
    for (size_t i = 0; i < LENGTH(lines); i++) {
        int status = i == 1 ? 204 : 200;
        expect_as(1, UNIX, lines[i], NULL, status, NULL);
        ck_assert_uint_eq(seen()->scope, 1);
        expect_as(1, TCP, lines[i], "daemon", status, NULL);
        ck_assert_uint_eq(seen()->scope, 1);
        expect_as(2, UNIX, lines[i], NULL, status, NULL);
        ck_assert_uint_eq(seen()->scope, (uid_t)-1);
        expect_as(0, UNIX, lines[i], NULL, status, NULL);
        ck_assert_uint_eq(seen()->scope, (uid_t)-1);
        expect_as(0, UNIX, lines[i], "daemon", status, NULL);
        ck_assert_uint_eq(seen()->scope, 1);
        unsigned before = calls();
        expect_as(STRANGER, UNIX, lines[i], NULL, 403, NULL);
        expect_as(1, TCP, lines[i], "bin", 401, NULL);
        ck_assert_uint_eq(calls(), before);
    }
}
END_TEST

START_TEST(who_adds)
{
    const char *json = "{\"url\": \"http://h/\"}";
    unsigned before = calls();
    _cleanup_free_ char *root = ask(UNIX, "POST /v1/tasks", NULL, JSON, json);
    check_answer(root, 403,
                 "{\"code\": \"forbidden\", \"message\": \"root has no downloads here; use -u "
                 "USER\"}",
                 "root");
    ck_assert_uint_eq(calls(), before);
    _cleanup_free_ char *daemon = ask(UNIX, "POST /v1/tasks", "daemon", JSON, json);
    check_answer(daemon, 201, NULL, "root for daemon");
    ck_assert_uint_eq(seen()->add.uid, 1);
    ck_assert_str_eq(seen()->add.user, "daemon");
}
END_TEST

START_TEST(what_others_see_of_a_url)
{
    set_url("http://u:topsecret@h/a?key=secret#secret");
    _cleanup_free_ char *own = ask_as(1, UNIX, "GET " PATH, NULL);
    ck_assert_ptr_nonnull(strstr(own, "\"url\": \"http://h/a?key=secret#secret\""));
    ck_assert_ptr_null(strstr(own, "topsecret"));
    static const uid_t others[] = {0, 2};
    for (size_t i = 0; i < LENGTH(others); i++) {
        _cleanup_free_ char *other = ask_as(others[i], UNIX, "POST " PATH "/hold", NULL);
        ck_assert_ptr_nonnull(strstr(other, "\"url\": \"http://h/a\""));
        ck_assert_ptr_null(strstr(other, "secret"));
    }
}
END_TEST

/* --- --- */

static Suite *suite(void)
{
    const TTest *const own[] = {a_task_to_the_byte,
                                what_failed_says_why,
                                speed_and_time_left,
                                what_it_waits_for,
                                where_it_stands,
                                a_list_to_the_byte,
                                a_list_with_everything,
                                bad_parameters_of_lists,
                                add_with_a_url_alone,
                                add_with_everything,
                                a_twin_is_given_back,
                                bad_fields,
                                header_fields_of_the_download_itself,
                                checksums_are_looked_at,
                                unknown_fields,
                                bounds_of_fields,
                                broken_json,
                                a_nul_in_the_body,
                                body_types_and_lengths,
                                large_bodies,
                                long_bodies_are_read_elsewhere,
                                bodies_of_many_values,
                                many_at_once,
                                one_wrong_of_many,
                                verbs_to_the_byte,
                                cancel_may_keep_the_part,
                                forget_has_no_body,
                                what_verbs_do_not_take,
                                what_can_be_changed,
                                verbs_for_many,
                                what_many_do_not_take,
                                clear_pause_resume,
                                settings_to_the_byte,
                                stats_at_a_glance,
                                routes_and_methods,
                                errors_of_the_manager,
                                foreign_origins,
                                answers_come_later,
                                what_the_owner_sees_of_a_url,
                                NULL};
    const TTest *const system[] = {whose_are_listed, whose_tasks, who_adds, what_others_see_of_a_url, NULL};
    Suite *all = suite_create("routes_v1");
    add_tests(all, "own", start_own, own);
    if (geteuid() == 0)
        add_tests(all, "system", start_system, system);
    else
        printf("# several users: skipped, since that needs root\n");
    return all;
}

int main(void)
{
    return tap_main(suite());
}
