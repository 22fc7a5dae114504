/*
 * The classic routes over real sockets: the HTTP server, who is asking and the routes as they are,
 * above a manager that only notes what it is asked. Run by root it also looks at several users.
 */
#include <arpa/inet.h>
#include <config.h>
#include <errno.h>
#include <malloc.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/cleanup.h"
#include "fake_manager.h"
#include "http/accounts.h"
#include "http/listen.h"
#include "http_bench.h"

#define ID        FAKE_ID
#define BUSY_MAX  16
#define NOT_FOUND "{\"message\": \"Not Found\"}"

/* --- golden bytes --- */

#define ADDED                                                                                      \
    "{\"task\": \"{\\\"url\\\": \\\"http://h/a b\\\\\\\"\\\\u00e9\\\", \\\"dest\\\": "             \
    "\\\"/srv/d/a \\\\ud83d\\\\ude00\\\", \\\"duration\\\": 0.0, \\\"status\\\": "                 \
    "\\\"ENQUEUED\\\", "                                                                           \
    "\\\"id\\\": \\\"" ID "\\\"}\"}"
#define FOUND                                                                                      \
    "{\"task\": \"{\\\"url\\\": \\\"http://h/a b\\\\\\\"\\\\u00e9\\\", \\\"dest\\\": "             \
    "\\\"/srv/d/a \\\\ud83d\\\\ude00\\\", \\\"duration\\\": 1.234, \\\"status\\\": "               \
    "\\\"FINISHED\\\", \\\"id\\\": \\\"" ID "\\\"}\"}"
#define STATS                                                                                      \
    "{\"tasks\": {\"CREATED\": 0, \"ENQUEUED\": 1, \"DOWNLOADING\": 0, \"FINISHED\": 0, "          \
    "\"FAILED\": 0, \"CLEARED\": 0, \"FINISHING\": 0, \"PAUSED\": 0, \"CANCELLED\": 7}, "          \
    "\"downloader\": {\"responses/total\": 3, \"responses/200\": 2, \"responses/404\": 1, "        \
    "\"response_ratio_per_10_min\": 0.005}}"

START_TEST(add_answers_to_the_byte)
{
    expect("POST /add?url=http%3A%2F%2Fh%2Fa+b%2525&path=%2Fsrv%2Fd", 200, ADDED);
    ck_assert_str_eq(seen()->url, "http://h/a b%25");
    ck_assert_str_eq(seen()->directory, "/srv/d");
    ck_assert_str_eq(seen()->user, own_name);
    ck_assert_uint_eq(seen()->scope, getuid());
    expect_with("POST /add", "", "url=HTTPS://h&url=ftp://second/&path=~/x", 200, ADDED);
    ck_assert_str_eq(seen()->url, "HTTPS://h");
    ck_assert_str_eq(seen()->directory, "~/x");
    expect_with("POST /add?url=sftp://query/", "", "url=ftp://body/&path=~", 200, ADDED);
    ck_assert_str_eq(seen()->url, "sftp://query/");
    expect_with("POST /add", "Content-Type: application/x-www-form-urlencoded; charset=UTF-8\r\n",
                "url=ftps://u:p@h/", 200, ADDED);
    ck_assert(!seen()->add.directory);
}
END_TEST

START_TEST(add_takes_multipart)
{
    const char *type = "Content-Type: multipart/form-data; boundary=XX\r\n";
    expect_with("POST /add", type,
                "--XX\r\nContent-Disposition: form-data; name=\"url\"\r\n\r\nhttp://h/%zz+\r\n"
                "--XX\r\nContent-Disposition: form-data; name=\"path\"\r\n\r\n/d\r\n--XX--\r\n",
                200, ADDED);
    ck_assert_str_eq(seen()->url, "http://h/%zz+");
    ck_assert_str_eq(seen()->directory, "/d");
    expect_with("POST /add", type, "--XX\r\nContent-Dispos", 400, NULL);
    expect_with("POST /add", "Content-Type: multipart/form-data\r\n", "--XX\r\n", 400, NULL);
}
END_TEST

START_TEST(the_others_answer_to_the_byte)
{
    expect("GET /status?task_id=5b0c", 200, FOUND);
    expect("GET /clear", 200, "{\"message\": \"Enqueued tasks cleared\"}");
    ck_assert_uint_eq(seen()->scope, (uid_t)-1);
    expect("POST /clear?scope=own", 200, "{\"message\": \"Enqueued tasks cleared\"}");
    ck_assert_uint_eq(seen()->scope, getuid());
    expect("GET /pause", 200, "{\"message\": \"Pausing Workers\"}");
    ck_assert_uint_eq(seen()->number, 0);
    expect("POST /pause?seconds=31536000", 200, "{\"message\": \"Pausing Workers\"}");
    ck_assert_uint_eq(seen()->number, 31536000);
    expect_with("POST /pause", "", "seconds=2&scope=all", 200,
                "{\"message\": \"Pausing Workers\"}");
    expect("GET /resume", 200, "{\"message\": \"Resuming Workers\"}");
    expect("POST /resume", 200, "{\"message\": \"Resuming Workers\"}");
    expect("GET /stats", 200, STATS);
    expect("POST /maxtasks?max_tasks_number=1000", 200, "{\"message\": \"max_tasks set to 1000\"}");
    ck_assert_uint_eq(seen()->number, 1000);
    expect("HEAD /stats", 200, "");
    expect("HEAD /status?task_id=" ID, 200, "");
}
END_TEST

static void expect_headers(const char *answer)
{
    static const char *const lines[] = {"Content-Type: application/json",
                                        "Server: autodl/" PACKAGE_VERSION,
                                        "Cache-Control: no-store",
                                        "X-Content-Type-Options: nosniff",
                                        "Content-Security-Policy: default-src 'none'; "
                                        "frame-ancestors 'none'",
                                        "Referrer-Policy: no-referrer",
                                        "Cross-Origin-Resource-Policy: same-origin"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        char line[128];
        snprintf(line, sizeof line, "\r\n%s\r\n", lines[i]);
        ck_assert_msg(strstr(answer, line), "no %s in %s", lines[i], answer);
    }
    ck_assert_ptr_nonnull(strstr(answer, "\r\nContent-Length: "));
    ck_assert_ptr_null(strcasestr(answer, "\r\nAccess-Control-"));
}

START_TEST(answers_carry_the_headers)
{
    static const struct {
        const char *line, *extra;
        int status;
    } cases[] = {
        {"GET /stats",              "",                                200},
        {"HEAD /stats",             "",                                200},
        {"GET /none",               "",                                404},
        {"POST /stats",             "",                                405},
        {"POST /add?url=%zz",       "",                                400},
        {"POST /clear",             "Origin: http://evil.example\r\n", 403},
        {"OPTIONS /v1/tasks",
         "Origin: http://evil.example\r\nAccess-Control-Request-Method: POST\r\n"
         "Access-Control-Request-Headers: content-type\r\n",           403},
        {"OPTIONS /v1/tasks",       "",                                405},
        {"GET /status?task_id=" ID, "Content-Length: 0\r\n",           200},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        _cleanup_free_ char *answer = ask(UNIX, cases[i].line, NULL, cases[i].extra, NULL);
        check_answer(answer, cases[i].status, NULL, cases[i].line);
        expect_headers(answer);
    }
    _cleanup_free_ char *unknown = ask(TCP, "GET /stats", NULL, "", NULL);
    check_answer(unknown, 401, NULL, "nobody");
    expect_headers(unknown);
    _cleanup_free_ char *misdirected =
        exchange(TCP, "GET /stats HTTP/1.1\r\nHost: dl.lan\r\nConnection: close\r\n\r\n");
    check_answer(misdirected, 421, NULL, "another's name");
    expect_headers(misdirected);
    /* Errors before a body do not cost the connection. */
    _cleanup_free_ char *two =
        exchange(UNIX, "GET /none HTTP/1.1\r\nHost: x\r\n\r\n"
                       "GET /stats HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    check_answer(two, 404, NULL, "the first of two");
    ck_assert_ptr_nonnull(strstr(two, STATS));
}
END_TEST

/* --- bad input --- */

START_TEST(bad_urls)
{
    unsigned before = calls();
    const char *takes = " is not a URL this service can fetch; it takes http, https, ftp, ftps and "
                        "sftp";
    char message[256];
    expect_error("POST /add", 400, "bad_request", "url is missing");
    expect_error("POST /add?url=", 400, "bad_request", "url is empty");
    expect_error("POST /add?url=http://h/%00", 400, "bad_request", "url holds a NUL character");
    expect_error("POST /add?url=http://h/%0A", 400, "bad_request", "url holds a control character");
    expect_error("POST /add?url=http://h/%ff", 400, "bad_request", "url is not valid UTF-8");
    expect_error("POST /add?url=http://", 400, "bad_request", "http:// has no host");
    expect_error("POST /add?url=http://u@:80/x", 400, "bad_request", "http://u@:80/x has no host");
    expect_error("POST /add?url=example.org/a", 400, "bad_request",
                 "no scheme; did you mean https://example.org/a ?");
    expect_error("POST /add?url=magnet:%3Fxt=urn:btih:x", 400, "bad_request",
                 "autodl does not speak BitTorrent");
    const char *others[] = {"file:///etc/passwd", "gopher://h/", "http:/h", "http:h",
                            "/etc/passwd"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        char line[128];
        snprintf(line, sizeof line, "POST /add?url=%s", others[i]);
        snprintf(message, sizeof message, "%s%s", others[i], takes);
        expect_error(line, 400, "bad_request", message);
    }
    ck_assert_uint_eq(calls(), before);
}
END_TEST

START_TEST(bounds_of_url_and_path)
{
    _cleanup_free_ char *longest = padded("url=http://h/", API_URL_MAX - strlen("http://h/"));
    _cleanup_free_ char *longer = padded("url=http://h/", API_URL_MAX + 1 - strlen("http://h/"));
    expect_with("POST /add", "", longest, 200, ADDED);
    expect_with("POST /add", "", longer, 400,
                "{\"code\": \"bad_request\", \"message\": \"url is longer than 8192 bytes\"}");
    _cleanup_free_ char *path = padded("url=http://h/&path=/", API_PATH_MAX - 1);
    _cleanup_free_ char *longer_path = padded("url=http://h/&path=/", API_PATH_MAX);
    expect_with("POST /add", "", path, 200, ADDED);
    expect_with("POST /add", "", longer_path, 400,
                "{\"code\": \"bad_request\", \"message\": \"path is longer than 4095 bytes\"}");
}
END_TEST

START_TEST(bad_parameters)
{
    unsigned before = calls();
    expect("POST /add?url=http://h/&path=", 400, NULL);
    expect("POST /add?url=http://h/&path=a/b", 400, NULL);
    expect("POST /add?url=http://h/&path=~bob/x", 400, NULL);
    expect("POST /add?url=http://h/&path=/a%0Ab", 400, NULL);
    expect("POST /add?url=http://h/&path=/a%00b", 400, NULL);
    const char *seconds[] = {"0",        "-1",  "abc",  "",
                             "31536001", "1.5", "%201", "99999999999999999999"};
    for (size_t i = 0; i < sizeof seconds / sizeof *seconds; i++) {
        char line[96];
        snprintf(line, sizeof line, "POST /pause?seconds=%s", seconds[i]);
        expect_error(line, 400, "bad_request", "seconds must be a whole number from 1 to 31536000");
    }
    const char *numbers[] = {"0", "-1", "1001", "abc", ""};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        char line[96];
        snprintf(line, sizeof line, "POST /maxtasks?max_tasks_number=%s", numbers[i]);
        expect_error(line, 400, "bad_request",
                     "max_tasks_number must be a whole number from 1 to 1000");
    }
    expect_error("POST /maxtasks", 400, "bad_request", "max_tasks_number is missing");
    expect_error("GET /status", 400, "bad_request", "task_id is missing");
    expect("GET /status?task_id=abc", 404, NOT_FOUND);
    expect("GET /status?task_id=", 404, NOT_FOUND);
    expect("GET /status?task_id=xyz-123", 404, NOT_FOUND);
    expect("GET /status?task_id=" ID "0", 404, NOT_FOUND);
    expect_error("GET /clear?scope=bob", 400, "bad_request", "scope is own or all");
    ck_assert_uint_eq(calls(), before);
}
END_TEST

START_TEST(broken_encoding)
{
    unsigned before = calls();
    const char *bad = "{\"code\": \"bad_request\", \"message\": \"broken percent-encoding in the ";
    char body[200];
    snprintf(body, sizeof body, "%squery: \\\"%%zz\\\"\"}", bad);
    expect("POST /add?url=http://h/%zz", 400, body);
    expect("GET /stats?x=%zz", 400, body);
    snprintf(body, sizeof body, "%squery: \\\"%%4\\\"\"}", bad);
    expect("GET /stats?x=%4", 400, body);
    snprintf(body, sizeof body, "%sbody: \\\"%%4g\\\"\"}", bad);
    expect_with("POST /add", "", "url=%4g", 400, body);
    snprintf(body, sizeof body, "%spath: \\\"%%zz\\\"\"}", bad);
    expect("GET /%zz", 400, body);
    struct buf line;
    buf_init(&line, 4096);
    buf_add_string(&line, "GET /stats?");
    for (int i = 0; i < 65; i++)
        buf_printf(&line, "a%d=&", i);
    expect_error(line.data, 400, "bad_request", "more than 64 parameters");
    buf_release(&line);
    ck_assert_uint_eq(calls(), before);
}
END_TEST

/* A message that quotes what is no text, or is cut inside a character, is text all the same. */
START_TEST(messages_are_text)
{
    expect_error("GET /%c3\xa9%80x", 404, "not_found",
                 "there is no /\\u00e9\\ufffdx; the paths are listed in autodl-api(7)");
    expect_error("GET /stats?%a\xc3\xa9", 400, "bad_request",
                 "broken percent-encoding in the query: \\\"%a\\ufffd\\\"");
}
END_TEST

START_TEST(routes_and_methods)
{
    expect_error("GET /", 404, "not_found", "there is no /; the paths are listed in autodl-api(7)");
    expect("POST /add/", 404, NULL);
    expect("GET //stats", 404, NULL);
    expect("GET /stats%00", 404, NULL);
    expect("GET http://localhost/stats", 200, STATS);
    expect("GET HTTPS://LOCALHOST:6736/stats", 200, STATS);
    expect("GET http://localhost", 404, NULL);
    expect("GET http:/localhost/stats", 400, NULL);
    expect("GET stats", 400, NULL);
    expect("OPTIONS *", 400, NULL);
    expect("CONNECT localhost:80", 400, NULL);
    expect("GET /%73tats", 200, STATS);
    static const struct {
        const char *line, *allow;
    } wrong[] = {
        {"GET /add",                 "POST"     },
        {"HEAD /add",                "POST"     },
        {"POST /status?task_id=" ID, "GET, HEAD"},
        {"HEAD /clear",              "GET, POST"},
        {"PUT /pause",               "GET, POST"},
        {"DELETE /resume",           "GET, POST"},
        {"OPTIONS /stats",           "GET, HEAD"},
        {"get /stats",               "GET, HEAD"},
        {"GET /maxtasks",            "POST"     },
    };
    unsigned before = calls();
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char allow[64];
        snprintf(allow, sizeof allow, "\r\nAllow: %s\r\n", wrong[i].allow);
        _cleanup_free_ char *answer = ask(UNIX, wrong[i].line, NULL, "", NULL);
        check_answer(answer, 405, NULL, wrong[i].line);
        ck_assert_msg(strstr(answer, allow), "%s: %s", wrong[i].line, answer);
    }
    ck_assert_uint_eq(calls(), before);
}
END_TEST

START_TEST(broken_heads)
{
    unsigned before = calls();
#define POST "POST /add?url=http://h/ HTTP/1.1\r\n"
    expect_raw(POST "\r\n", 400,
               "{\"code\": \"bad_request\", \"message\": \"the request has no Host field\"}");
    expect_raw(POST "Host: a\r\nHost: a\r\n\r\n", 400, NULL);
    expect_raw(POST "Host: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
               400, NULL);
    expect_raw(POST "Host: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na", 400, NULL);
    expect_raw(POST "Host: a\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\n", 400, NULL);
    expect_raw(POST "Host: a\r\nContent-Length: abc\r\n\r\n", 400, NULL);
    expect_raw(POST "Host: a\r\nContent-Length: -1\r\n\r\n", 400, NULL);
    expect_raw(POST "Host: a\r\nTransfer-Encoding: gzip\r\n\r\n", 400, NULL);
    expect_raw(POST "Host: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n", 400, NULL);
    expect_raw(POST "Host: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n\r\n", 400,
               NULL);
    expect_raw(POST "Host: a\r\nContent-Length: +5\r\n\r\nabcde", 400, NULL);
    expect_raw(POST "Host: a\r\nContent-Length: 5 5\r\n\r\nabcde", 400, NULL);
    expect_raw(POST "Host: a\r\nContent-Length: 0x5\r\n\r\nabcde", 400, NULL);
    /* what one server takes for a field and another does not */
    expect_raw(POST "Host: a\r\nContent-Length : 5\r\n\r\nabcde", 400, NULL);
    expect_raw(POST "Host: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400, NULL);
    expect_raw(POST "Host: a\r\nTransfer-Encoding\t: chunked\r\n\r\n", 400, NULL);
    expect_raw(POST "Host: a\r\nX Y: 1\r\n\r\n", 400, NULL);
    expect_raw(POST "Host: a\r\n(X): 1\r\n\r\n", 400, NULL);
    expect_raw(POST "Host: a\r\nX: 1\rTransfer-Encoding: chunked\r\n\r\n", 400, NULL);
    expect_raw(POST "Host: a\r\nX: \x01\r\n\r\n", 400, NULL);
    expect_raw("POST /add ?url=http://h/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, NULL);
    expect_raw("POST /add?url=http://h/\x7f HTTP/1.1\r\nHost: a\r\n\r\n", 400, NULL);
    expect_raw("POST /add?url=http://h/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
               400, NULL);
    ck_assert_uint_eq(calls(), before);
    /* after one of these nothing more is read from the connection */
    _cleanup_free_ char *smuggled =
        exchange(UNIX, POST "Host: a\r\nContent-Length : 5\r\n\r\n"
                            "GET /clear HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    check_answer(smuggled, 400, NULL, "two in one");
    ck_assert_ptr_null(strstr(strchr(smuggled, ' '), "HTTP/1.1"));
    ck_assert_uint_eq(calls(), before);
    expect_raw(POST "Host: a\r\nX-Odd!#$%&'*+-.^_`|~9: \tvalue\xff\t\r\nConnection: close\r\n\r\n",
               200, ADDED);
    expect_raw("POST /add?url=http://h/ HTTP/1.0\r\n\r\n", 200, ADDED);
}
END_TEST

/* More parameters than the HTTP library has room for: it forgets the request that it began, and
 * answers nothing. */
START_TEST(parameters_that_do_not_fit)
{
    struct buf text;
    buf_init(&text, 4096);
    buf_add_string(&text, "GET /stats?");
    for (int i = 0; i < 300; i++)
        buf_add_char(&text, '&');
    buf_add_string(&text, " HTTP/1.1\r\nHost: localhost\r\n\r\n");
    ck_assert_int_eq(text.error, 0);
    size_t before = 0;
    for (int i = 0; i < 1100; i++) {
        _cleanup_close_ int fd = connect_to(UNIX);
        ck_assert(fd >= 0 && send_text(fd, text.data));
        free(read_all(fd));
        before = i == 99 ? mallinfo2().uordblks : before;
    }
    /* Each would be 3 KiB; the last one may still be on its way. */
    ck_assert_uint_lt(mallinfo2().uordblks, before + (256 << 10));
    buf_release(&text);
    expect("GET /stats", 200, STATS);
}
END_TEST

START_TEST(foreign_hosts_and_origins)
{
    static const struct {
        const char *host, *extra;
        int status;
    } cases[] = {
        {"localhost",              "",                                200},
        {"LocalHost:1",            "",                                200},
        {"localhost.",             "",                                200},
        {"127.0.0.1:6736",         "",                                200},
        {"127.0.0.2",              "",                                421},
        {"[::1]",                  "",                                421},
        {"dl.lan",                 "",                                421},
        {"dl.example:80",          "",                                200},
        {"localhost.evil.example", "",                                421},
        {"",                       "",                                400},
        {"a:b",                    "",                                400},
        {"[::1",                   "",                                400},
        {"[::1]x",                 "",                                400},
        {"LOCALHOST.:6736",        "",                                200},
        {"localhost..",            "",                                421},
        {"127.0.0.1.",             "",                                200},
        {"127.1",                  "",                                421},
        {"0.0.0.0",                "",                                421},
        {"2130706433",             "",                                421},
        {"user@localhost",         "",                                421},
        {"localhost/",             "",                                421},
        {"[::ffff:127.0.0.1]",     "",                                421},
        {"localhost:",             "",                                200},
        {"localhost:1",            "Origin: http://localhost:1\r\n",  200},
        {"localhost:1",            "Origin: http://localhost:2\r\n",  403},
        {"localhost",              "Origin: https://localhost\r\n",   403},
        {"localhost",              "Origin: null\r\n",                403},
        {"localhost",              "Origin: http://evil.example\r\n", 403},
        {"localhost",              "Sec-Fetch-Site: same-origin\r\n", 200},
        {"localhost",              "Sec-Fetch-Site: none\r\n",        200},
        {"localhost",              "Sec-Fetch-Site: cross-site\r\n",  403},
        {"localhost",              "Sec-Fetch-Site: same-site\r\n",   403},
    };
    char pair[300];
    snprintf(pair, sizeof pair, "%s:", own_name);
    _cleanup_free_ char *code = base64(pair);
    set("host-names", "dl.example");
    http_reload(http, &settings);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[600];
        unsigned before = calls();
        snprintf(text, sizeof text,
                 "GET /clear HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n%sAuthorization: Basic "
                 "%s\r\n\r\n",
                 cases[i].host, cases[i].extra, code);
        _cleanup_free_ char *answer = exchange(TCP, text);
        check_answer(
            answer, cases[i].status,
            strcmp(cases[i].host, "dl.lan") == 0
                ? "{\"code\": \"misdirected\", \"message\": \"this service does not answer "
                  "to the name \\\"dl.lan\\\"; add host-names = dl.lan to autodl.conf\"}"
                : NULL,
            text);
        ck_assert_uint_eq(calls() - before, cases[i].status == 200);
    }
    /* a host in the target has to be ours too, whatever Host says */
    unsigned before = calls();
    for (int way = TCP; way <= (port6 ? TCP6 : TCP); way++) {
        static const char *const lines[] = {"GET http://evil.example/clear",
                                            "GET http://localhost@evil.example/clear",
                                            "GET https://evil.example:80/clear"};
        for (size_t i = 0; i < 3; i++) {
            _cleanup_free_ char *answer = ask((enum way)way, lines[i], own_name, "", NULL);
            check_answer(answer, 421, NULL, lines[i]);
        }
        _cleanup_free_ char *empty = ask((enum way)way, "GET http:///clear", own_name, "", NULL);
        check_answer(empty, 400, NULL, "no host");
    }
    ck_assert_uint_eq(calls(), before);
    if (port6) {
        _cleanup_free_ char *answer = exchange(
            TCP6, "GET /stats HTTP/1.1\r\nHost: [0:0:0:0:0:0:0:1]:80\r\nConnection: close\r\n\r\n");
        check_answer(answer, 401, NULL, "its own address"); /* past the check of Host */
        _cleanup_free_ char *other =
            exchange(TCP6, "GET /stats HTTP/1.1\r\nHost: [::2]:80\r\nConnection: close\r\n\r\n");
        check_answer(other, 421, NULL, "another address");
    }
    expect_raw("GET /clear HTTP/1.1\r\nHost: any.thing\r\nConnection: close\r\n\r\n", 200, NULL);
    expect_raw("GET /clear HTTP/1.1\r\nHost: a\r\nOrigin: http://b\r\n\r\n"
               "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
               403, NULL);
}
END_TEST

/* --- bodies --- */

START_TEST(body_types)
{
    unsigned before = calls();
    expect_with("POST /add?url=http://h/", "Content-Type: application/json\r\n", "{}", 415, NULL);
    expect_with("POST /add?url=http://h/", "Content-Type: application/x-www-form-urlencodedx\r\n",
                "a=b", 415, NULL);
    ck_assert_uint_eq(calls(), before);
    expect_with("POST /add?url=http://h/", "Content-Type: application/json\r\n", "", 200, ADDED);
    expect_raw("POST /add HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 12\r\n\r\n"
               "url=http://h",
               415, NULL);
    expect_raw(
        "POST /add HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n"
        "Content-Type: application/x-www-form-urlencoded\r\n\r\n"
        "4\r\nurl=\r\n8\r\nhttp://h\r\n0\r\n\r\n",
        200, ADDED);
}
END_TEST

#define TOO_LARGE "{\"code\": \"too_large\", \"message\": \"the body is larger than 65536 bytes\"}"

/* `chunk` 0: with Content-Length, else in chunks, `ended` by the last one or not. That all can be
 * sent and the stream then ends well means that no reset can eat the answer. */
static char *send_large(enum way way, size_t size, size_t chunk, bool ended)
{
    struct buf text;
    char head[200];
    _cleanup_free_ char *filler = padded("", chunk ? chunk : size);
    snprintf(head, sizeof head, "Transfer-Encoding: chunked\r\n");
    if (!chunk)
        snprintf(head, sizeof head, "Content-Length: %zu\r\n", size);
    char pair[300];
    snprintf(pair, sizeof pair, "%s:", own_name);
    _cleanup_free_ char *authorization = base64(pair);
    buf_init(&text, 32 << 20);
    buf_printf(&text,
               "POST /add?url=http://h/ HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic %s\r\n"
               "Content-Type: application/x-www-form-urlencoded\r\nConnection: close\r\n%s\r\n",
               authorization, head);
    for (size_t sent = 0; chunk && sent < size; sent += chunk)
        buf_printf(&text, "%zx\r\n%s\r\n", chunk, filler);
    buf_add_string(&text, !chunk ? filler : ended ? "0\r\n\r\n" : "");
    ck_assert_int_eq(text.error, 0);
    _cleanup_close_ int fd = connect_to(way);
    ck_assert(send_text(fd, text.data));
    buf_release(&text);
    return read_all(fd);
}

START_TEST(large_bodies)
{
    unsigned before = calls();
    for (int way = UNIX; way <= (port6 ? TCP6 : TCP); way++) {
        for (int round = 0; round < 5; round++) {
            static const size_t kinds[][2] = {
                {10 << 20, 0    },
                {65537,    0    },
                {10 << 20, 65536},
                {10 << 20, 1000 },
                {131072,   8192 }
            };
            for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
                _cleanup_free_ char *answer =
                    send_large((enum way)way, kinds[i][0], kinds[i][1], true);
                check_answer(answer, 413, TOO_LARGE, "large body");
            }
        }
    }
    _cleanup_free_ char *endless = send_large(TCP, 2 << 20, 4096, false);
    check_answer(endless, 413, TOO_LARGE, "a body without end");
    expect_headers(endless); /* that answer is made by hand */
    ck_assert_uint_eq(calls(), before);
    _cleanup_free_ char *fits = send_large(UNIX, 65536, 0, true);
    check_answer(fits, 200, ADDED, "a body of 64 KiB");
}
END_TEST

/* Said as soon as the head is there, a client that waits for 100 Continue included. */
START_TEST(refused_before_the_body)
{
    expect_raw("POST /add HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
               "Content-Length: 10485760\r\n\r\n",
               413, TOO_LARGE);
    expect_raw("POST /none HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n", 404, NULL);
    _cleanup_free_ char *answer =
        exchange(TCP, "POST /add HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n");
    check_answer(answer, 401, NULL, "no name on TCP");
    /* nobody is told to go on, and nobody's bytes are waited for */
    _cleanup_free_ char *waits = exchange(
        TCP, "POST /add HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: "
             "65536\r\n\r\n");
    check_answer(waits, 401, NULL, "no name, and 100-continue");
    _cleanup_free_ char *filler = padded("", 65536);
    _cleanup_free_ char *sends = ask(TCP, "POST /add?url=http://h/", "no-such-user", "", filler);
    check_answer(sends, 401, NULL, "no such user, and a body");
    ck_assert_ptr_null(strstr(sends, "100 Continue"));
    ck_assert_ptr_nonnull(strstr(answer, "\r\nWWW-Authenticate: Basic realm=\"autodl\"\r\n"));
}
END_TEST

/* --- what the manager says --- */

START_TEST(errors_of_the_manager)
{
    static const struct {
        int error;
        const char *message;
        int status;
        const char *body;
    } cases[] = {
        {-EACCES,       "/root: Permission denied", 403,
         "{\"code\": \"forbidden\", \"message\": \"/root: Permission denied\"}"                                             },
        {-EROFS,        NULL,                       403, "{\"code\": \"forbidden\", \"message\": \"Read-only file system\"}"},
        {-ENOTDIR,      NULL,                       403, NULL                                                               },
        {-ENAMETOOLONG, NULL,                       403, NULL                                                               },
        {-EDQUOT,       "you have enough",          429,
         "{\"code\": \"too_many\", \"message\": \"you have enough\"}"                                                       },
        {-ENOSPC,       "the disk is full",         503,
         "{\"code\": \"unavailable\", \"message\": \"the disk is full\"}"                                                   },
        {-EIO,          NULL,                       503, NULL                                                               },
        {-ESHUTDOWN,    NULL,                       503, NULL                                                               },
        {-ENOMEM,       NULL,                       503, NULL                                                               },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        set_reply(cases[i].error, cases[i].message);
        expect("POST /add?url=http://h/", cases[i].status, cases[i].body);
        _cleanup_free_ char *answer = ask(UNIX, "POST /add?url=http://h/", NULL, "", NULL);
        ck_assert_int_eq(strstr(answer, "\r\nRetry-After: ") != NULL,
                         cases[i].status == 503 || cases[i].status == 429);
    }
    set_reply(-ENOENT, NULL);
    expect("GET /status?task_id=" ID, 404, NOT_FOUND);
    expect("HEAD /status?task_id=" ID, 404, "");
    set_reply(-EMLINK, NULL);
    expect("GET /status?task_id=5b0c", 409, NULL);
    set_reply(-EIO, NULL);
    expect("GET /clear", 503, NULL);
    expect("GET /pause", 503, NULL);
    expect("GET /resume", 503, NULL);
    expect("POST /maxtasks?max_tasks_number=3", 503, NULL);
}
END_TEST

/* --- answers from another thread --- */

START_TEST(answers_come_later)
{
    int fds[24];
    set_hold(true);
    _cleanup_free_ char *text = request_text("GET /clear", own_name, "", NULL);
    for (int i = 0; i < 24; i++) {
        fds[i] = connect_to(i % 2 ? TCP : UNIX);
        send_text(fds[i], text);
    }
    wait_for_held(24);
    set_hold(false);
    expect("GET /stats", 200, STATS); /* those that wait are in nobody's way */
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, release_replies, NULL), 0);
    for (int i = 0; i < 24; i++) {
        _cleanup_free_ char *answer = read_all(fds[i]);
        check_answer(answer, 200, "{\"message\": \"Enqueued tasks cleared\"}", "a late answer");
        close(fds[i]);
    }
    pthread_join(thread, NULL);
}
END_TEST

START_TEST(client_leaves_while_it_waits)
{
    set_hold(true);
    _cleanup_free_ char *text = request_text("POST /add?url=http://h/", own_name, "", NULL);
    for (int i = 0; i < 10; i++) {
        int fd = connect_to(i % 2 ? TCP : UNIX);
        send_text(fd, text);
        wait_for_held((unsigned)i + 1);
        close(fd);
    }
    set_hold(false);
    release_replies(NULL);
    expect("GET /stats", 200, STATS);
}
END_TEST

static void *destroy(void *data)
{
    http_destroy(data);
    return NULL;
}

START_TEST(stops_with_requests_waiting)
{
    set_hold(true);
    _cleanup_free_ char *text = request_text("GET /clear", own_name, "", NULL);
    _cleanup_close_ int waiting = connect_to(TCP);
    _cleanup_close_ int idle = connect_to(UNIX);
    _cleanup_close_ int halfway = connect_to(UNIX);
    send_text(idle, "GET /stats HTTP/1.1\r\nHost: a\r\n\r\n");
    char start[12];
    ck_assert_int_eq(recv(idle, start, sizeof start, MSG_WAITALL), sizeof start);
    send_text(halfway, "GET /stats HT");
    send_text(waiting, text);
    wait_for_held(1);

    http_quiesce(http);
    ck_assert_int_ne(access(socket_path, F_OK), 0);
    ck_assert_int_lt(connect_to(TCP), 0);
    ck_assert_int_lt(connect_to(UNIX), 0);
    send_text(halfway, "TP/1.1\r\nHost: a\r\n\r\n");
    _cleanup_free_ char *refused = read_all(halfway);
    check_answer(refused, 503,
                 "{\"code\": \"unavailable\", \"message\": \"the service is stopping; try again "
                 "later\"}",
                 "while stopping");
    ck_assert_ptr_nonnull(strstr(refused, "\r\nConnection: close\r\n"));
    ck_assert_ptr_nonnull(strstr(refused, "\r\nRetry-After: "));

    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, destroy, TAKE_PTR(http)), 0);
    struct pollfd still = {.fd = waiting, .events = POLLIN};
    ck_assert_int_eq(poll(&still, 1, 2500), 0); /* it waits for the manager, however long */
    set_reply(-ESHUTDOWN, NULL);
    release_replies(NULL);
    _cleanup_free_ char *answer = read_all(waiting);
    check_answer(answer, 503, NULL, "unfinished at the stop");
    pthread_join(thread, NULL);
}
END_TEST

/* Who has the request does not come back in time: their answer is given, and theirs comes too late.
 */
START_TEST(settles_without_those_who_hang)
{
    set_hold(true);
    _cleanup_free_ char *text = request_text("GET /clear", own_name, "", NULL);
    _cleanup_close_ int waiting = connect_to(TCP);
    send_text(waiting, text);
    wait_for_held(1);
    http_quiesce(http);
    ck_assert_int_eq(http_settle(http, 50), -ETIMEDOUT);
    _cleanup_free_ char *answer = read_all(waiting);
    check_answer(answer, 503,
                 "{\"code\": \"unavailable\", \"message\": \"the service is stopping; try again "
                 "later\"}",
                 "abandoned");
    set_reply(0, NULL);
    release_replies(NULL);
    ck_assert_int_eq(http_settle(http, 50), 0);
}
END_TEST

/* A look-up that takes its time, in place of accounts_find (-Wl,--wrap). */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    enum { AS_ALWAYS, ALL_HANG, NAMES_HANG } mode;
    unsigned count;
    void (*again)(void *data); /* of the last one that hangs */
    void *data;
} look_ups = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

int __real_accounts_find(struct accounts *accounts, const char *name, uid_t uid,
                         struct account *ret_account, void (*again)(void *data), void *data);
int __wrap_accounts_find(struct accounts *accounts, const char *name, uid_t uid,
                         struct account *ret_account, void (*again)(void *data), void *data);
int __wrap_accounts_find(struct accounts *accounts, const char *name, uid_t uid,
                         struct account *ret_account, void (*again)(void *data), void *data)
{
    pthread_mutex_lock(&look_ups.lock);
    bool hangs = look_ups.mode == ALL_HANG || (look_ups.mode == NAMES_HANG && name);
    if (hangs) {
        look_ups.count++;
        look_ups.again = again;
        look_ups.data = data;
        pthread_cond_broadcast(&look_ups.changed);
    }
    pthread_mutex_unlock(&look_ups.lock);
    return hangs ? -EINPROGRESS
                 : __real_accounts_find(accounts, name, uid, ret_account, again, data);
}

/* root acting for somebody takes two look-ups: the second is not begun any more. */
START_TEST(stops_between_two_look_ups)
{
    unsigned before = calls();
    look_ups.mode = ALL_HANG;
    _cleanup_free_ char *text = request_text("GET /clear", "daemon", "", NULL);
    _cleanup_close_ int waiting = connect_to(UNIX);
    send_text(waiting, text);
    pthread_mutex_lock(&look_ups.lock);
    while (look_ups.count < 1)
        pthread_cond_wait(&look_ups.changed, &look_ups.lock);
    look_ups.mode = NAMES_HANG;
    pthread_mutex_unlock(&look_ups.lock);
    http_quiesce(http);
    look_ups.again(look_ups.data);
    ck_assert_int_eq(http_settle(http, 5000), 0);
    _cleanup_free_ char *answer = read_all(waiting);
    check_answer(answer, 503, NULL, "between two look-ups");
    ck_assert_uint_eq(look_ups.count, 1);
    ck_assert_uint_eq(calls(), before);
}
END_TEST

/* A look-up that never ends keeps no stop waiting, either. */
START_TEST(settles_without_a_look_up)
{
    look_ups.mode = ALL_HANG;
    _cleanup_free_ char *text = request_text("GET /clear", "daemon", "", NULL);
    _cleanup_close_ int waiting = connect_to(UNIX);
    send_text(waiting, text);
    pthread_mutex_lock(&look_ups.lock);
    while (look_ups.count < 1)
        pthread_cond_wait(&look_ups.changed, &look_ups.lock);
    pthread_mutex_unlock(&look_ups.lock);
    http_quiesce(http);
    ck_assert_int_eq(http_settle(http, 50), -ETIMEDOUT);
    _cleanup_free_ char *answer = read_all(waiting);
    check_answer(answer, 503, NULL, "in a look-up");
    look_ups.again(look_ups.data);
}
END_TEST

/* --- who is asking --- */

START_TEST(names_in_user_mode)
{
    char body[400];
    unsigned before = calls();
    snprintf(body, sizeof body,
             "{\"code\": \"forbidden\", \"message\": \"you are %s; only root may act for bob\"}",
             own_name);
    _cleanup_free_ char *other = ask(UNIX, "GET /clear", "bob", "", NULL);
    check_answer(other, 403, body, "another name on the unix socket");
    _cleanup_free_ char *other_tcp = ask(TCP, "GET /clear", "bob", "", NULL);
    check_answer(other_tcp, 401, NULL, "another name on TCP");
    _cleanup_free_ char *none = ask(TCP, "GET /clear", NULL, "", NULL);
    check_answer(none, 401, NULL, "no name on TCP");
    _cleanup_free_ char *bearer =
        ask(UNIX, "GET /clear", NULL, "Authorization: Bearer abc\r\n", NULL);
    check_answer(bearer, 401, NULL, "another scheme");
    _cleanup_free_ char *broken = ask(UNIX, "GET /clear", NULL, "Authorization: Basic ?\r\n", NULL);
    check_answer(broken, 401, NULL, "broken base64");
    ck_assert_uint_eq(calls(), before);
    _cleanup_free_ char *self = ask(UNIX, "GET /clear", own_name, "", NULL);
    check_answer(self, 200, NULL, "one's own name on the unix socket");
}
END_TEST

/* The library gives a connection to the thread its descriptor's number falls to: an odd number of
 * descriptors is taken for each, and the other thread's turn comes. Returns how many were needed.
 */
static unsigned occupy_both_threads(int busy[BUSY_MAX], int odd[BUSY_MAX])
{
    _cleanup_free_ char *stats = request_text("GET /stats", own_name, "", NULL);
    unsigned count = 0;
    pthread_mutex_lock(&manager.lock);
    while (manager.blocked < 2) {
        ck_assert_uint_lt(count, BUSY_MAX);
        odd[count] = eventfd(0, EFD_CLOEXEC);
        busy[count] = connect_to(TCP);
        send_text(busy[count++], stats);
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec++;
        while (manager.blocked < (count < 2 ? 1 : 2) &&
               pthread_cond_timedwait(&manager.changed, &manager.lock, &until) == 0)
            ;
    }
    pthread_mutex_unlock(&manager.lock);
    return count;
}

/* Nobody is vouched for by a socket that its owner has closed already. */
START_TEST(send_and_close)
{
    int busy[BUSY_MAX], odd[BUSY_MAX];
    pthread_mutex_lock(&manager.lock);
    manager.block = true;
    pthread_mutex_unlock(&manager.lock);
    unsigned before = calls();
    unsigned count = occupy_both_threads(busy, odd);
    _cleanup_free_ char *clear = request_text("GET /clear", own_name, "", NULL);
    for (int i = 0; i < 20; i++) {
        int fd = connect_to(TCP);
        send_text(fd, clear);
        close(fd);
    }
    pthread_mutex_lock(&manager.lock);
    manager.block = false;
    pthread_cond_broadcast(&manager.changed);
    pthread_mutex_unlock(&manager.lock);
    for (unsigned i = 0; i < count; i++) {
        _cleanup_free_ char *answer = read_all(busy[i]);
        check_answer(answer, 200, STATS, "one that was in the way");
        close(busy[i]);
        close(odd[i]);
    }
    http_destroy(TAKE_PTR(http));
    ck_assert_uint_eq(calls(), before + count);
}
END_TEST

/* --- listeners --- */

START_TEST(listeners_that_cannot_be_had)
{
    char busy[32], path[200], shut[100];
    snprintf(busy, sizeof busy, "127.0.0.1:%u", port);
    snprintf(shut, sizeof shut, "%s/none/socket", directory);
    memset(path, 'a', sizeof path - 1);
    path[0] = '/';
    path[sizeof path - 1] = '\0';
    const struct {
        const char *listen, *path;
        int error;
    } cases[] = {
        {busy,             NULL,      -EADDRINUSE   },
        {"127.0.0.1",      NULL,      -EINVAL       },
        {"::1:80",         NULL,      -EINVAL       },
        {"[127.0.0.1]:80", NULL,      -EINVAL       },
        {"localhost:80",   NULL,      -EINVAL       },
        {"192.0.2.1:0",    NULL,      -EADDRNOTAVAIL},
        {"none",           path,      -ENAMETOOLONG },
        {"none",           directory, -EEXIST       },
        {"none",           shut,      -ENOENT       },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct settings other;
        char message[256];
        ck_assert_int_eq(settings_init(&other, "/dev/null"), 0);
        if (settings_set(&other, "listen", cases[i].listen, message) == 0) {
            struct http_options options = bench_options();
            options.settings = &other;
            options.socket = cases[i].path;
            struct http *none = NULL;
            ck_assert_int_eq(http_create(&options, &none), cases[i].error);
            ck_assert_ptr_null(none);
        }
        settings_release(&other);
    }
}
END_TEST

/* Whoever was first at the default port stops nobody's downloads; but nowhere is too little. */
START_TEST(default_listeners_in_use)
{
    struct settings defaults;
    struct listeners listeners;
    char path[200];
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(6736)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(6736)};
    v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    v6.sin6_addr = in6addr_loopback;
    _cleanup_close_ int first = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    _cleanup_close_ int second = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    (void)!bind(first, (struct sockaddr *)&v4, sizeof v4); /* or another process has it */
    (void)!bind(second, (struct sockaddr *)&v6, sizeof v6);
    (void)!listen(first, 1);
    (void)!listen(second, 1);
    ck_assert_int_eq(settings_init(&defaults, "/dev/null"), 0);
    snprintf(path, sizeof path, "%s/beside", directory);
    ck_assert_int_eq(listeners_open(&defaults, path, NULL, &listeners), 0);
    ck_assert_uint_eq(listeners.count, 1);
    listeners_stop(&listeners);
    listeners_close(&listeners);
    ck_assert_int_eq(listeners_open(&defaults, NULL, NULL, &listeners), -EADDRINUSE);
    settings_release(&defaults);
}
END_TEST

/* The next start takes the place of a socket that was left behind; others may connect to it. */
START_TEST(stale_unix_socket)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    http_destroy(TAKE_PTR(http));
    memcpy(address.sun_path, socket_path, strlen(socket_path));
    _cleanup_close_ int stale = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(stale, (struct sockaddr *)&address, sizeof address), 0);
    struct http_options options = bench_options();
    ck_assert_int_eq(http_create(&options, &http), 0);
    struct stat there;
    ck_assert_int_eq(stat(socket_path, &there), 0);
    ck_assert_uint_eq(there.st_mode & 07777, 0666);
    _cleanup_free_ char *answer = ask(UNIX, "GET /stats", NULL, "", NULL);
    check_answer(answer, 200, STATS, "after a stale socket");
}
END_TEST

/* --- several users; root alone --- */

START_TEST(users_on_the_unix_socket)
{
    expect_as(1, UNIX, "GET /clear", NULL, 200, NULL);
    ck_assert_uint_eq(seen()->scope, 1);
    expect_as(1, UNIX, "GET /clear", "daemon", 200, NULL);
    expect_as(1, UNIX, "GET /clear", "bin", 403, "you are daemon; only root may act for bin");
    expect_as(1, UNIX, "GET /clear", "root", 403, "you are daemon; only root may act for root");
    expect_as(1, UNIX, "GET /clear?scope=all", NULL, 403,
              "only operators may use scope=all; an administrator can make you one: adduser daemon "
              "bin");
    expect_as(1, UNIX, "POST /maxtasks?max_tasks_number=2", NULL, 403,
              "only operators may change max_tasks_num; an administrator can make you one: adduser "
              "daemon bin");
    expect_as(1, UNIX, "GET /stats", NULL, 200, NULL);
    expect_as(1, UNIX, "GET /status?task_id=" ID, NULL, 200, "http://h/a b");
    ck_assert_uint_eq(seen()->scope, 1);
    expect_as(2, UNIX, "GET /clear", NULL, 200, NULL);
    ck_assert_uint_eq(seen()->scope, 2);
    expect_as(2, UNIX, "GET /clear?scope=all", NULL, 200, NULL);
    ck_assert_uint_eq(seen()->scope, (uid_t)-1);
    expect_as(2, UNIX, "POST /maxtasks?max_tasks_number=2", NULL, 200, NULL);
    expect_as(STRANGER, UNIX, "GET /clear", NULL, 403, "uid 12345 has no account on this machine");
    expect_as(65534, UNIX, "GET /clear", NULL, 403, "is a system account");
}
END_TEST

START_TEST(urls_in_other_eyes)
{
    pthread_mutex_lock(&manager.lock);
    manager.task.url = (char *)"http://u:secret@h/a?key=secret#secret";
    pthread_mutex_unlock(&manager.lock);
    _cleanup_free_ char *own = ask_as(1, UNIX, "GET /status?task_id=" ID, NULL);
    ck_assert_ptr_nonnull(strstr(own, "http://h/a?key=secret#secret"));
    ck_assert_ptr_null(strstr(own, "u:")); /* a login is shown to nobody */
    _cleanup_free_ char *operator= ask_as(2, UNIX, "GET /status?task_id=" ID, NULL);
    ck_assert_ptr_null(strstr(operator, "secret"));
    ck_assert_ptr_nonnull(strstr(operator, "http://h/a\\\""));
    ck_assert_uint_eq(seen()->scope, (uid_t)-1);
}
END_TEST

START_TEST(root_on_the_unix_socket)
{
    expect_as(
        0, UNIX, "POST /add?url=http://h/", NULL, 403,
        "{\"code\": \"forbidden\", \"message\": \"root has no downloads here; use -u USER\"}");
    expect_as(0, UNIX, "POST /add?url=http://h/", "daemon", 200, NULL);
    ck_assert_uint_eq(seen()->scope, 1);
    ck_assert_str_eq(seen()->user, "daemon");
    expect_as(0, UNIX, "GET /clear", NULL, 200, NULL);
    ck_assert_uint_eq(seen()->scope, (uid_t)-1);
    expect_as(0, UNIX, "GET /clear", "root", 200, NULL);
    expect_as(0, UNIX, "GET /clear", "daemon", 200, NULL);
    ck_assert_uint_eq(seen()->scope, 1);
    expect_as(0, UNIX, "GET /clear?scope=all", "daemon", 403, "only operators");
    expect_as(0, UNIX, "GET /clear", "no-such-user", 403, "there is no user no-such-user");
    expect_as(0, UNIX, "POST /maxtasks?max_tasks_number=2", NULL, 200, NULL);
}
END_TEST

START_TEST(users_on_tcp)
{
    for (int way = TCP; way <= (port6 ? TCP6 : TCP); way++) {
        expect_as(1, (enum way)way, "GET /clear", "daemon", 200, NULL);
        ck_assert_uint_eq(seen()->scope, 1);
        unsigned before = calls();
        expect_as(1, (enum way)way, "GET /clear", "bin", 401, "WWW-Authenticate");
        expect_as(1, (enum way)way, "GET /clear", "root", 401, NULL);
        expect_as(1, (enum way)way, "GET /clear", "no-such-user", 401, NULL);
        expect_as(1, (enum way)way, "GET /clear", NULL, 401, NULL);
        expect_as(0, (enum way)way, "GET /clear", "root", 401, NULL);
        expect_as(0, (enum way)way, "GET /clear", "daemon", 401, NULL);
        ck_assert_uint_eq(calls(), before);
    }
}
END_TEST

START_TEST(who_is_served)
{
    settings_new_layer(&settings);
    set("first-uid", "2");
    auth_reload(auth, &settings);
    expect_as(1, UNIX, "GET /stats", NULL, 403,
              "daemon (uid 1) is a system account; this service is for uids from 2");
    expect_as(1, TCP, "GET /stats", "daemon", 403, "is a system account");
    expect_as(0, UNIX, "GET /stats", "daemon", 403, "is a system account");
    expect_as(2, UNIX, "GET /stats", NULL, 200, NULL);
    set("first-uid", "1");
    set("allow-users", "daemon");
    set("operators", "daemon");
    auth_reload(auth, &settings);
    expect_as(1, UNIX, "POST /maxtasks?max_tasks_number=2", NULL, 200, NULL);
    expect_as(2, UNIX, "GET /stats", NULL, 403, "allow-users = bin");
    expect_as(0, UNIX, "GET /stats", NULL, 200, NULL);
}
END_TEST

/* A relay of root's, like docker-proxy: what daemon sends through it comes from root's socket. */
START_TEST(relay_of_root)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t len = sizeof address;
    _cleanup_close_ int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(listener, (struct sockaddr *)&address, len), 0);
    ck_assert_int_eq(listen(listener, 4), 0);
    ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&address, &len), 0);
    unsigned before = calls();
    const char *names[] = {"daemon", "root", "bin"};
    for (size_t i = 0; i < 3; i++) {
        _cleanup_close_ int up = connect_to(TCP);
        unsigned real = port;
        port = ntohs(address.sin_port);
        _cleanup_free_ char *text = request_text("GET /clear", names[i], "", NULL);
        pid_t pid = fork();
        if (pid == 0) {
            if (setresuid(1, 1, 1) < 0)
                _exit(1);
            _cleanup_free_ char *answer = exchange(TCP, text);
            _exit(strncmp(answer, "HTTP/1.1 401 ", 13) == 0 ? 0 : 2);
        }
        port = real;
        _cleanup_close_ int down = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        char piece[4096];
        for (size_t got = 0; got < strlen(text);) {
            ssize_t n = recv(down, piece, sizeof piece, 0);
            ck_assert_int_gt(n, 0);
            ck_assert_int_eq(send(up, piece, (size_t)n, MSG_NOSIGNAL), n);
            got += (size_t)n;
        }
        _cleanup_free_ char *answer = read_all(up);
        send_text(down, answer);
        shutdown(down, SHUT_RDWR);
        int status;
        waitpid(pid, &status, 0);
        ck_assert_int_eq(status, 0);
    }
    ck_assert_uint_eq(calls(), before);
}
END_TEST

/* --- --- */

static Suite *suite(void)
{
    const TTest *const own[] = {add_answers_to_the_byte,
                                add_takes_multipart,
                                the_others_answer_to_the_byte,
                                answers_carry_the_headers,
                                bad_urls,
                                bounds_of_url_and_path,
                                bad_parameters,
                                broken_encoding,
                                messages_are_text,
                                routes_and_methods,
                                broken_heads,
                                parameters_that_do_not_fit,
                                foreign_hosts_and_origins,
                                body_types,
                                large_bodies,
                                refused_before_the_body,
                                errors_of_the_manager,
                                answers_come_later,
                                client_leaves_while_it_waits,
                                stops_with_requests_waiting,
                                settles_without_those_who_hang,
                                names_in_user_mode,
                                send_and_close,
                                listeners_that_cannot_be_had,
                                default_listeners_in_use,
                                stale_unix_socket,
                                NULL};
    const TTest *const system[] = {users_on_the_unix_socket,
                                   urls_in_other_eyes,
                                   root_on_the_unix_socket,
                                   users_on_tcp,
                                   who_is_served,
                                   relay_of_root,
                                   stops_between_two_look_ups,
                                   settles_without_a_look_up,
                                   NULL};
    Suite *all = suite_create("routes_classic");
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
