/*
 * Bad input is normal input: each request of the table gets its status and one sentence, and
 * nothing changes. One service, paused, answers them all; then thousands of them, chosen at random
 * (REQUESTS=n SEED=n), and its memory stays what it was.
 */
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "harness.h"

#define MANY_TASKS     (9 << 20)
#define MANY           (10 << 20) /* bytes of a body that nobody wants */
#define REQUESTS       2000
#define WARM_UP        300  /* requests until its memory is what it stays */
#define MEMORY_MAX     4096 /* KiB that it may have more after thousands of requests */
#define COMPARED_EVERY 50

static struct service service;

enum where {
    BOTH,
    TCP,
    UNIX,
};

enum what {
    FORM,      /* `text` is an urlencoded body */
    JSON,      /* `text` is a JSON body */
    PLAIN,     /* no body; `text` is more header lines */
    RAW,       /* `text` is the whole request, in which @ stands for the Authorization line */
    LONG,      /* FORM; `text` followed by `count` times "a" */
    LONG_BODY, /* a body of `count` bytes, with its Content-Length */
    CHUNKED,   /* the same without */
    LONG_HEAD, /* a header of `count` bytes */
};

struct bad {
    const char *name;
    enum where where;
    enum what what;
    const char *method;
    const char *target;
    const char *text;
    int status;
    const char *says; /* in the message; or, with 405, the methods of Allow */
    unsigned count;
    bool no_json; /* the answer is the HTTP library's own */
};

#define ADD      "POST", "/add"
#define URL      "url=http%3A%2F%2F127.0.0.1%2Fa"
#define UNKNOWN  "/status?task_id=00000000-0000-4000-8000-000000000000"
#define MAXTASKS "POST", "/maxtasks"
#define STATS    "GET", "/stats"
#define V1       "POST", "/v1/tasks"
#define HEAD(line, fields) line " HTTP/1.1\r\nHost: localhost\r\n@" fields "\r\n"

// clang-format off
static const struct bad table[] = {
    /* what to download */
    {"no url", BOTH, FORM, ADD, "path=%2Ftmp", 400, "url", 0, false},
    {"empty url", BOTH, FORM, ADD, "url=", 400, "url", 0, false},
    {"no scheme", BOTH, FORM, ADD, "url=example.org%2Fa", 400, "", 0, false},
    {"magnet", BOTH, FORM, ADD, "url=magnet%3A%3Fxt%3Durn%3Abtih%3Aabc", 400, "", 0, false},
    {"file", BOTH, FORM, ADD, "url=file%3A%2F%2F%2Fetc%2Fpasswd", 400, "", 0, false},
    {"gopher", BOTH, FORM, ADD, "url=gopher%3A%2F%2F127.0.0.1%2Fa", 400, "", 0, false},
    {"scheme alone", BOTH, FORM, ADD, "url=http%3A%2F%2F", 400, "", 0, false},
    {"a scheme with blanks", BOTH, FORM, ADD, "url=+http%3A%2F%2F127.0.0.1%2Fa", 400, "", 0, false},
    {"NUL in url", BOTH, FORM, ADD, URL "%00b", 400, "url", 0, false},
    {"newline in url", BOTH, FORM, ADD, URL "%0Ab", 400, "url", 0, false},
    {"carriage return in url", BOTH, FORM, ADD, URL "%0Db", 400, "url", 0, false},
    {"too long a url", BOTH, LONG, ADD, URL, 400, "url", 8192, false},
    {"broken encoding in a body", BOTH, FORM, ADD, URL "%zz", 400, "", 0, false},
    {"half an encoding in a body", BOTH, FORM, ADD, URL "%4", 400, "", 0, false},
    {"a lone % in a body", BOTH, FORM, ADD, URL "%", 400, "", 0, false},
    {"broken encoding in a query", BOTH, FORM, "POST", "/add?" URL "%zz", "", 400, "", 0, false},
    {"half an encoding in a query", BOTH, FORM, "POST", "/add?" URL "%4", "", 400, "", 0, false},
    {"broken encoding, not needed", BOTH, FORM, ADD, URL "&x=%g1", 400, "", 0, false},
    /* where to */
    {"relative path", BOTH, FORM, ADD, URL "&path=some%2Fwhere", 400, "path", 0, false},
    {"dots", BOTH, FORM, ADD, URL "&path=..", 400, "path", 0, false},
    {"another one's tilde", BOTH, FORM, ADD, URL "&path=~root", 400, "~/", 0, false},
    {"empty path", BOTH, FORM, ADD, URL "&path=", 400, "path", 0, false},
    {"NUL in path", BOTH, FORM, ADD, URL "&path=%2Ftmp%00", 400, "path", 0, false},
    {"newline in path", BOTH, FORM, ADD, URL "&path=%2Ftmp%0Aa", 400, "path", 0, false},
    {"too long a path", BOTH, LONG, ADD, URL "&path=%2Ftmp%2F", 400, "path", 4096, false},
    {"may not make it", BOTH, FORM, ADD, URL "&path=%2Fetc%2Fautodl-test%2Fa", 403,
     "Permission denied", 0, false},
    {"may not write it", BOTH, FORM, ADD, URL "&path=%2Fetc", 403, "Permission denied", 0, false},
    {"a file is no directory", BOTH, FORM, ADD, URL "&path=%2Fetc%2Fpasswd%2Fa", 403,
     "Not a directory", 0, false},
    {"a directory of the kernel", BOTH, FORM, ADD, URL "&path=%2Fproc%2Fautodl", 403, "", 0, false},
    /* tasks and numbers */
    {"no task_id", BOTH, PLAIN, "GET", "/status", "", 400, "task_id", 0, false},
    {"broken task_id", BOTH, PLAIN, "GET", "/status?task_id=%zz", "", 400, "", 0, false},
    {"no number", BOTH, FORM, MAXTASKS, "", 400, "max_tasks_number", 0, false},
    {"empty number", BOTH, FORM, MAXTASKS, "max_tasks_number=", 400, "max_tasks_number", 0, false},
    {"0 tasks", BOTH, FORM, MAXTASKS, "max_tasks_number=0", 400, "max_tasks_number", 0, false},
    {"-1 tasks", BOTH, FORM, MAXTASKS, "max_tasks_number=-1", 400, "max_tasks_number", 0, false},
    {"1001 tasks", BOTH, FORM, MAXTASKS, "max_tasks_number=1001", 400, "1000", 0, false},
    {"abc tasks", BOTH, FORM, MAXTASKS, "max_tasks_number=abc", 400, "max_tasks_number", 0, false},
    {"5x tasks", BOTH, FORM, MAXTASKS, "max_tasks_number=5x", 400, "max_tasks_number", 0, false},
    {"+5 tasks", BOTH, FORM, MAXTASKS, "max_tasks_number=%2B5", 400, "max_tasks_number", 0, false},
    {"2^64 + 1 tasks", BOTH, FORM, MAXTASKS, "max_tasks_number=18446744073709551617", 400,
     "max_tasks_number", 0, false},
    {"0 seconds", BOTH, PLAIN, "POST", "/pause?seconds=0", "", 400, "seconds", 0, false},
    {"-1 seconds", BOTH, PLAIN, "GET", "/pause?seconds=-1", "", 400, "seconds", 0, false},
    {"abc seconds", BOTH, FORM, "POST", "/pause", "seconds=abc", 400, "seconds", 0, false},
    {"empty seconds", BOTH, FORM, "POST", "/pause", "seconds=", 400, "seconds", 0, false},
    {"1.5 seconds", BOTH, FORM, "POST", "/pause", "seconds=1.5", 400, "seconds", 0, false},
    {"more than a year", BOTH, FORM, "POST", "/pause", "seconds=31536001", 400, "31536000", 0,
     false},
    {"no such scope", BOTH, PLAIN, "POST", "/clear?scope=world", "", 400, "scope", 0, false},
    /* routes and methods */
    {"unknown route", BOTH, PLAIN, "GET", "/nothing", "", 404, "", 0, false},
    {"root", BOTH, PLAIN, "GET", "/", "", 404, "", 0, false},
    {"a route with a tail", BOTH, PLAIN, "GET", "/stats/", "", 404, "", 0, false},
    {"GET /add", BOTH, PLAIN, "GET", "/add?" URL, "", 405, "POST", 0, false},
    {"HEAD /add", BOTH, PLAIN, "HEAD", "/add?" URL, "", 405, "POST", 0, false},
    {"PUT /add", BOTH, FORM, "PUT", "/add", URL, 405, "POST", 0, false},
    {"BREW /add", BOTH, PLAIN, "BREW", "/add", "", 405, "POST", 0, false},
    {"POST /status", BOTH, FORM, "POST", UNKNOWN, "", 405, "GET HEAD", 0, false},
    {"POST /stats", BOTH, FORM, "POST", "/stats", "", 405, "GET HEAD", 0, false},
    {"DELETE /clear", BOTH, PLAIN, "DELETE", "/clear", "", 405, "GET POST", 0, false},
    {"HEAD /clear", BOTH, PLAIN, "HEAD", "/clear", "", 405, "GET POST", 0, false},
    {"PATCH /pause", BOTH, FORM, "PATCH", "/pause", "", 405, "GET POST", 0, false},
    {"OPTIONS /resume", BOTH, PLAIN, "OPTIONS", "/resume", "", 405, "GET POST", 0, false},
    {"GET /maxtasks", BOTH, PLAIN, "GET", "/maxtasks?max_tasks_number=3", "", 405, "POST", 0,
     false},
    /* bodies and heads */
    {"a large body", BOTH, LONG_BODY, ADD, NULL, 413, "", MANY, false},
    {"a large body in chunks", BOTH, CHUNKED, ADD, NULL, 413, "", MANY, false},
    {"a large body for nobody", BOTH, LONG_BODY, "POST", "/nothing", NULL, 0, "", MANY, false},
    {"length and chunks", BOTH, RAW, ADD,
     "POST /add HTTP/1.1\r\nHost: localhost\r\n@Content-Length: 5\r\n"
     "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "", 0, false},
    {"two lengths", BOTH, RAW, ADD,
     "POST /add HTTP/1.1\r\nHost: localhost\r\n@Content-Length: 5\r\n"
     "Content-Length: 30\r\n\r\n" URL, 400, "", 0, false},
    {"the same length twice", BOTH, RAW, ADD,
     "POST /add HTTP/1.1\r\nHost: localhost\r\n@Content-Length: 30\r\n"
     "Content-Length: 30\r\n\r\n" URL, 400, "", 0, false},
    {"no Host", TCP, RAW, STATS, "GET /stats HTTP/1.1\r\n@Connection: close\r\n\r\n", 400, "", 0,
     false},
    {"a long head", BOTH, LONG_HEAD, STATS, NULL, 431, "", 20000, true},
    {"not HTTP", BOTH, RAW, STATS, "hello there old service\r\n\r\n", 400, "", 0, true},
    {"a length with a plus", BOTH, RAW, ADD, HEAD("POST /add", "Content-Length: +5\r\n") URL, 400, "",
     0, true},
    {"a length in hexadecimal", BOTH, RAW, ADD, HEAD("POST /add", "Content-Length: 0x5\r\n") URL, 400,
     "", 0, true},
    {"an empty length", BOTH, RAW, ADD, HEAD("POST /add", "Content-Length:\r\n") URL, 400, "", 0, true},
    {"a length beyond 2^64", BOTH, RAW, ADD,
     HEAD("POST /add", "Content-Length: 99999999999999999999\r\n") URL, 413, "", 0, true},
    {"blank before a colon", BOTH, RAW, ADD, HEAD("POST /add", "Content-Length : 30\r\n") URL, 400,
     "name of a header field", 0, false},
    {"tab before a colon", BOTH, RAW, ADD, HEAD("POST /add", "Transfer-Encoding\t: chunked\r\n")
     "0\r\n\r\n", 400, "name of a header field", 0, false},
    {"blank in a field's name", BOTH, RAW, STATS, HEAD("GET /stats", "X Y: 1\r\n"), 400,
     "name of a header field", 0, false},
    {"a field without a colon", BOTH, RAW, STATS, HEAD("GET /stats", "nonsense\r\n"), 400, "", 0, true},
    {"bare CR in a field", BOTH, RAW, ADD, HEAD("POST /add", "X: a\rContent-Length: 30\r\n") URL, 400,
     "control character", 0, false},
    {"a control character in a field", BOTH, RAW, STATS, HEAD("GET /stats", "X: \x01\r\n"), 400,
     "control character", 0, false},
    {"an escape in a field", BOTH, RAW, STATS, HEAD("GET /stats", "X: \x1b[2J\r\n"), 400,
     "control character", 0, false},
    {"another coding", BOTH, RAW, ADD, HEAD("POST /add", "Transfer-Encoding: gzip\r\n") URL, 400, "", 0,
     false},
    {"two codings", BOTH, RAW, ADD,
     HEAD("POST /add", "Transfer-Encoding: gzip, chunked\r\n") "0\r\n\r\n", 400, "", 0, false},
    {"a coding that looks like one", BOTH, RAW, ADD,
     HEAD("POST /add", "Transfer-Encoding: xchunked\r\n") "0\r\n\r\n", 400, "", 0, false},
    {"chunks in HTTP/1.0", BOTH, RAW, ADD,
     "POST /add HTTP/1.0\r\nHost: localhost\r\n@Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400,
     "HTTP/1.0", 0, false},
    {"a broken chunk", BOTH, RAW, ADD,
     HEAD("POST /add", "Content-Type: application/x-www-form-urlencoded\r\n"
                       "Transfer-Encoding: chunked\r\n") "xyz\r\n", 400, "", 0, true},
    {"a chunk beyond 2^64", BOTH, RAW, ADD,
     HEAD("POST /add", "Transfer-Encoding: chunked\r\n") "fffffffffffffffff\r\n", 413, "", 0, true},
    {"blanks in the target", BOTH, RAW, STATS, HEAD("GET /stats /more", "Connection: close\r\n"), 400,
     "target", 0, false},
    {"a target that is no path", BOTH, RAW, STATS, HEAD("GET stats", "Connection: close\r\n"), 400,
     "target", 0, false},
    {"a target for a proxy", BOTH, RAW, STATS,
     HEAD("CONNECT localhost:22", "Connection: close\r\n"), 400, "target", 0, false},
    {"OPTIONS *", BOTH, RAW, STATS, HEAD("OPTIONS *", "Connection: close\r\n"), 400, "target", 0,
     false},
    {"another's target", TCP, RAW, STATS,
     HEAD("GET http://evil.example/stats", "Connection: close\r\n"), 421, "evil.example", 0, false},
    {"a target of a thousand hosts", TCP, RAW, STATS,
     HEAD("GET http://localhost:1:2/stats", "Connection: close\r\n"), 400, "HOST[:PORT]", 0, false},
    {"an old version", BOTH, RAW, STATS, "GET /stats HTTP/0.9\r\n\r\n", 505, "", 0, true},
    {"a version to come", BOTH, RAW, STATS, "GET /stats HTTP/3.0\r\n\r\n", 505, "", 0, true},
    {"a negative length", BOTH, RAW, ADD,
     "POST /add HTTP/1.1\r\nHost: localhost\r\n@Content-Length: -5\r\n\r\n" URL, 400, "", 0, true},
    /* version 1 */
    {"v1: no body", BOTH, PLAIN, V1, "", 411, "", 0, false},
    {"v1: a form", BOTH, FORM, V1, URL, 415, "application/json", 0, false},
    {"v1: no JSON", BOTH, JSON, V1, "{", 400, "", 0, false},
    {"v1: more than JSON", BOTH, JSON, V1, "{} {}", 400, "", 0, false},
    {"v1: an array", BOTH, JSON, V1, "[]", 400, "", 0, false},
    {"v1: a number", BOTH, JSON, V1, "1", 400, "", 0, false},
    {"v1: no url", BOTH, JSON, V1, "{}", 400, "url", 0, false},
    {"v1: a url that is a number", BOTH, JSON, V1, "{\"url\": 1}", 400, "url", 0, false},
    {"v1: a url with a NUL", BOTH, JSON, V1, "{\"url\": \"http://a/\\u0000\"}", 400, "url", 0, false},
    {"v1: an unknown member", BOTH, JSON, V1, "{\"url\": \"http://a/\", \"x\": 1}", 400, "x", 0,
     false},
    {"v1: no UTF-8", BOTH, JSON, V1, "{\"url\": \"http://a/\xff\"}", 400, "", 0, false},
    {"v1: a name with a slash", BOTH, JSON, V1, "{\"url\": \"http://a/\", \"name\": \"a/b\"}", 400,
     "name", 0, false},
    {"v1: a header with a newline", BOTH, JSON, V1,
     "{\"url\": \"http://a/\", \"headers\": {\"X\": \"a\\r\\nY: b\"}}", 400, "headers", 0, false},
    {"v1: too many retries", BOTH, JSON, V1, "{\"url\": \"http://a/\", \"retries\": 1001}", 400,
     "retries", 0, false},
    {"v1: deep JSON", BOTH, JSON, V1,
     "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", 400, "", 0,
     false},
    {"v1: a large body", BOTH, LONG_BODY, V1, NULL, 413, "", MANY_TASKS, false},
    {"v1: no tasks", BOTH, JSON, V1, "{\"tasks\": []}", 400, "tasks", 0, false},
    {"v1: one bad task", BOTH, JSON, V1,
     "{\"tasks\": [{\"url\": \"http://127.0.0.1/a\"}, {\"url\": \"a\"}]}", 400, "tasks[1].url", 0, false},
    {"v1: a task beside tasks", BOTH, JSON, V1, "{\"tasks\": [], \"url\": \"http://a/\"}", 400, "tasks", 0,
     false},
    {"v1: after nobody", BOTH, JSON, V1, "{\"url\": \"http://127.0.0.1/a\", \"after\": \"00000000\"}", 400,
     "after", 0, false},
    {"v1: mirrors with a login", BOTH, JSON, V1,
     "{\"url\": \"http://127.0.0.1/a\", \"mirrors\": [\"http://u:p@h/\"]}", 400, "mirrors[0]", 0, false},
    {"v1: a negative rate", BOTH, JSON, V1, "{\"url\": \"http://a/\", \"rate_limit\": -1}", 400,
     "rate_limit", 0, false},
    {"v1: a list of no state", BOTH, PLAIN, "GET", "/v1/tasks?status=DONE", "", 400, "status", 0, false},
    {"v1: a list without end", BOTH, PLAIN, "GET", "/v1/tasks?limit=1001", "", 400, "limit", 0, false},
    {"v1: a list from nowhere", BOTH, PLAIN, "GET", "/v1/tasks?after=-1", "", 400, "after", 0, false},
    {"v1: a list with an offset", BOTH, PLAIN, "GET", "/v1/tasks?offset=1", "", 400, "offset", 0, false},
    {"v1: change what is not there", BOTH, JSON, "PATCH", "/v1/tasks/00000000", "{\"priority\": 1}",
     404, "", 0, false},
    {"v1: change nothing", BOTH, JSON, "PATCH", "/v1/tasks/00000000", "{}", 400, "", 0, false},
    {"v1: change the user", BOTH, JSON, "PATCH", "/v1/tasks/00000000", "{\"user\": \"root\"}", 400,
     "user", 0, false},
    {"v1: cancel whatever", BOTH, JSON, "POST", "/v1/tasks/cancel", "{}", 400, "scope", 0, false},
    {"v1: ids and a filter", BOTH, JSON, "POST", "/v1/tasks/hold",
     "{\"ids\": [\"00000000\"], \"q\": \"a\"}", 400, "ids", 0, false},
    {"v1: pause twice", BOTH, JSON, "POST", "/v1/pause",
     "{\"seconds\": 5, \"until\": \"2001-01-01T00:00:00Z\"}", 400, "until", 0, false},
    {"v1: no tasks at once", BOTH, JSON, "PATCH", "/v1/settings", "{\"max_tasks_num\": 0}", 400,
     "max_tasks_num", 0, false},
    {"v1: a setting that is none", BOTH, JSON, "PATCH", "/v1/settings", "{\"run_as\": \"root\"}", 400,
     "run_as", 0, false},
    {"v1: an unknown parameter", BOTH, PLAIN, "GET", "/v1/tasks/00000000?x=1", "", 400, "x", 0, false},
    {"v1: not there", BOTH, PLAIN, "GET", "/v1/tasks/00000000", "", 404, "", 0, false},
    {"v1: an id of too few", BOTH, PLAIN, "GET", "/v1/tasks/abc", "", 404, "", 0, false},
    {"v1: a broken id", BOTH, PLAIN, "GET", "/v1/tasks/%2e%2e%2f", "", 404, "", 0, false},
    {"v1: no such verb", BOTH, JSON, "POST", "/v1/tasks/00000000/eat", "{}", 404, "", 0, false},
    {"v1: hold what is not there", BOTH, JSON, "POST", "/v1/tasks/00000000/hold", "{}", 404, "", 0,
     false},
    {"v1: another use of file", BOTH, PLAIN, "DELETE", "/v1/tasks/00000000?file=eat", "", 400, "file",
     0, false},
    /* other sites */
    {"foreign Host", TCP, RAW, STATS,
     "GET /stats HTTP/1.1\r\nHost: dl.lan\r\n@Connection: close\r\n\r\n", 421,
     "this service does not answer to the name \"dl.lan\"; add host-names = dl.lan to autodl.conf",
     0, false},
    {"foreign Host and port", TCP, RAW, STATS,
     "GET /stats HTTP/1.1\r\nHost: dl.lan:6736\r\n@Connection: close\r\n\r\n", 421, "dl.lan", 0,
     false},
    {"foreign Host, POST", TCP, RAW, ADD,
     "POST /add HTTP/1.1\r\nHost: 192.0.2.1\r\n@Connection: close\r\nContent-Length: 30\r\n"
     "Content-Type: application/x-www-form-urlencoded\r\n\r\n" URL, 421, "192.0.2.1", 0, false},
    {"foreign Origin", BOTH, PLAIN, "POST", "/clear", "Origin: http://example.org\r\n", 403, "", 0,
     false},
    {"Origin null", BOTH, PLAIN, "POST", "/clear", "Origin: null\r\n", 403, "", 0, false},
    {"foreign Origin, reading", BOTH, PLAIN, STATS, "Origin: http://localhost.example.org\r\n", 403,
     "", 0, false},
    {"cross-site", BOTH, PLAIN, "GET", "/clear", "Sec-Fetch-Site: cross-site\r\n", 403, "", 0,
     false},
    {"same-site", BOTH, PLAIN, "GET", "/pause", "Sec-Fetch-Site: same-site\r\n", 403, "", 0, false},
    /* who is asking */
    {"nobody on TCP", TCP, RAW, STATS,
     "GET /stats HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 401, "", 0, false},
    {"a token on TCP", TCP, RAW, STATS,
     "GET /stats HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer abc\r\n"
     "Connection: close\r\n\r\n", 401, "", 0, false},
    {"no base64", TCP, RAW, STATS,
     "GET /stats HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic !!!!\r\n"
     "Connection: close\r\n\r\n", 401, "", 0, false},
    {"root on TCP", TCP, RAW, ADD, /* root: */
     "POST /add HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic cm9vdDo=\r\n"
     "Connection: close\r\nContent-Length: 30\r\n"
     "Content-Type: application/x-www-form-urlencoded\r\n\r\n" URL, 401, "", 0, false},
    {"root on the socket", UNIX, RAW, ADD,
     "POST /add HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic cm9vdDo=\r\n"
     "Connection: close\r\nContent-Length: 30\r\n"
     "Content-Type: application/x-www-form-urlencoded\r\n\r\n" URL, 403, "only root may act for",
     0, false},
};
// clang-format on

#define CASES ((int)(sizeof(table) / sizeof(table[0])))

static void start(void)
{
    service_init(&service);
    service_start(&service, NULL);
    call(&service, NULL, "POST", "/pause");
}

static void stop(void)
{
    service_release(&service);
}

/* --- making the requests --- */

static const char *authorization(bool tcp)
{
    return tcp ? http_basic(harness_user()->name, "") : "";
}

static const char *with_authorization(const char *text, bool tcp)
{
    const char *at = strchr(text, '@');
    return at ? textf("%.*s%s%s", (int)(at - text), text, authorization(tcp), at + 1) : text;
}

static const char *letters(unsigned count)
{
    char *text = (char *)textf("%*s", (int)count, "");
    memset(text, 'a', count);
    return text;
}

static const char *in_chunks(const char *head, unsigned count)
{
    const unsigned size = 1 << 20;
    const char *chunk = textf("%x\r\n%s\r\n", size, letters(size));
    const char *text = textf("%sTransfer-Encoding: chunked\r\n\r\n", head);
    for (unsigned i = 0; i < count / size; i++)
        text = textf("%s%s", text, chunk);
    return textf("%s0\r\n\r\n", text);
}

static const char *request_of(const struct bad *bad, bool tcp)
{
    const char *who = authorization(tcp);
    switch (bad->what) {
    case FORM:
        return http_request_text(bad->method, bad->target, who, bad->text);
    case JSON:
        return http_request_text(bad->method, bad->target,
                                 textf("%sContent-Type: application/json\r\n", who), bad->text);
    case PLAIN:
        return http_request_text(bad->method, bad->target, textf("%s%s", who, bad->text), NULL);
    case RAW:
        return with_authorization(bad->text, tcp);
    case LONG:
        return http_request_text(bad->method, bad->target, who,
                                 textf("%s%s", bad->text, letters(bad->count)));
    case LONG_BODY:
        return http_request_text(bad->method, bad->target, who, letters(bad->count));
    case CHUNKED: {
        const char *head = http_request_text(bad->method, bad->target, who, NULL);
        return in_chunks(textf("%.*s", (int)strlen(head) - 2, head), bad->count);
    }
    case LONG_HEAD:
        return http_request_text(bad->method, bad->target,
                                 textf("%sX-Long: %s\r\n", who, letters(bad->count)), NULL);
    }
    return NULL;
}

/* --- judging the answers --- */

/* One line that begins like a sentence in a log and says something. */
static void expect_sentence(const struct bad *bad, const struct answer *answer)
{
    const char *code = answer_string(answer, "code"), *message = answer_string(answer, "message");
    ck_assert_msg(code && message, "%s: no code or message in %s", bad->name, answer->body);
    ck_assert_msg(strlen(message) > 10 && strchr(message, ' ') && !strchr(message, '\n'),
                  "%s: not a sentence: %s", bad->name, message);
    for (const char *c = code; *c; c++)
        ck_assert_msg(islower((unsigned char)*c) || *c == '_', "%s: code %s", bad->name, code);
    ck_assert_str_eq(answer_header(answer, "Content-Type"), "application/json");
    if (bad->status != 405)
        ck_assert_msg(strstr(message, bad->says), "%s: \"%s\" is not in: %s", bad->name, bad->says,
                      message);
}

/* `says` lists the methods, a blank between two. */
static void expect_allow(const struct bad *bad, const struct answer *answer)
{
    static const char *const methods[] = {"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH"};
    const char *allow = answer_header(answer, "Allow");
    ck_assert_msg(allow != NULL, "%s: no Allow", bad->name);
    for (unsigned i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
        ck_assert_msg(!strstr(allow, methods[i]) == !strstr(bad->says, methods[i]), "%s: Allow: %s",
                      bad->name, allow);
}

static void expect_answer(const struct bad *bad, const struct answer *answer)
{
    bool as_said = answer->status == bad->status ||
                   (bad->status == 0 && (answer->status == 404 || answer->status == 413));
    ck_assert_msg(as_said, "%s: %d, not %d: %s", bad->name, answer->status, bad->status,
                  answer->body ? answer->body : "(closed)");
    if (answer->status == 405)
        expect_allow(bad, answer);
    if (answer->status == 401)
        ck_assert_str_eq(answer_header(answer, "WWW-Authenticate"), "Basic realm=\"autodl\"");
    bool has_body = strcmp(bad->method, "HEAD") != 0;
    if (has_body && !bad->no_json)
        expect_sentence(bad, answer);
    if (!has_body)
        ck_assert_msg(answer->body_length == 0, "%s: HEAD with a body", bad->name);
}

static void exchange(const char *request, size_t len, bool tcp, struct answer *ret_answer)
{
    int fd = tcp ? connect_tcp(service.port, NULL) : connect_unix(service.socket, NULL);
    http_exchange(fd, request, len, ret_answer);
}

static void try_on(const struct bad *bad, bool tcp)
{
    _cleanup_answer_ struct answer answer = {0};
    _cleanup_free_ char *before = read_stats(&service);
    unsigned names = count_names(service.home, NULL);
    const char *request = request_of(bad, tcp);

    exchange(request, strlen(request), tcp, &answer);
    expect_answer(bad, &answer);
    _cleanup_free_ char *after = read_stats(&service);
    ck_assert_msg(strcmp(before, after) == 0, "%s: changed\n%s\ninto\n%s", bad->name, before,
                  after);
    ck_assert_uint_eq(count_names(service.home, NULL), names);
}

START_TEST(refused)
{
    if (table[_i].where != UNIX)
        try_on(&table[_i], true);
    if (table[_i].where != TCP)
        try_on(&table[_i], false);
}
END_TEST

/* --- thousands of them --- */

static unsigned from_environment(const char *name, unsigned otherwise)
{
    const char *given = getenv(name);
    return given ? (unsigned)strtoul(given, NULL, 10) : otherwise;
}

/* Bodies that nobody wants are shorter here. */
static void make_requests(const char *requests[CASES][2])
{
    for (int i = 0; i < CASES; i++) {
        struct bad bad = table[i];
        bad.count = bad.count == MANY ? MANY / 5 : bad.count;
        for (int tcp = 0; tcp < 2; tcp++)
            if (bad.where == BOTH || (bad.where == TCP) == tcp)
                requests[i][tcp] = request_of(&bad, tcp);
    }
}

START_TEST(thousands)
{
    static const char *requests[CASES][2];
    unsigned count = from_environment("REQUESTS", REQUESTS);
    unsigned seed = from_environment("SEED", (unsigned)time(NULL));
    printf("# %u bad requests of %d kinds, SEED=%u\n", count, CASES, seed);
    fflush(stdout);
    make_requests(requests);
    _cleanup_free_ char *before = read_stats(&service);
    long memory = 0;
    for (unsigned i = 0; i < WARM_UP + count; i++) {
        int kind = rand_r(&seed) % CASES, tcp = rand_r(&seed) % 2;
        if (i == WARM_UP)
            memory = service_memory(&service);
        if (!requests[kind][tcp])
            tcp = !tcp;
        _cleanup_answer_ struct answer answer = {0};
        exchange(requests[kind][tcp], strlen(requests[kind][tcp]), tcp, &answer);
        expect_answer(&table[kind], &answer);
        if (i % COMPARED_EVERY != 0)
            continue;
        _cleanup_free_ char *after = read_stats(&service);
        ck_assert_str_eq(before, after);
    }
    _cleanup_free_ char *after = read_stats(&service);
    ck_assert_str_eq(before, after);
    ck_assert_uint_eq(count_names(service.home, NULL), 0);
    long grown = service_memory(&service) - memory;
    printf("# its memory: %ld KiB, then %ld KiB more\n", memory, grown);
    fflush(stdout);
    ck_assert_int_le(grown, MEMORY_MAX);
}
END_TEST

/* --- what does not fit into the table --- */

START_TEST(unknown_task_is_not_found_to_the_byte)
{
    _cleanup_answer_ struct answer answer = {0};
    http_unix(&service, NULL, http_request_text("GET", UNKNOWN, NULL, NULL), &answer);
    ck_assert_int_eq(answer.status, 404);
    ck_assert_str_eq(answer.body, "{\"message\": \"Not Found\"}");
}
END_TEST

START_TEST(half_a_request)
{
    _cleanup_free_ char *before = read_stats(&service);
    const char *request = "POST /add HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n"
                          "Content-Type: application/x-www-form-urlencoded\r\n\r\n" URL;
    int fd = connect_unix(service.socket, NULL);
    ck_assert_int_eq(write(fd, request, strlen(request)), (ssize_t)strlen(request));
    close(fd);
    _cleanup_free_ char *after = read_stats(&service);
    ck_assert_str_eq(before, after);
}
END_TEST

static void expect_accepted(bool tcp, const char *method, const char *target, const char *headers)
{
    _cleanup_answer_ struct answer answer = {0};
    const char *request =
        http_request_text(method, target, textf("%s%s", authorization(tcp), headers), NULL);
    if (tcp)
        http_tcp(&service, NULL, request, &answer);
    else
        http_unix(&service, NULL, request, &answer);
    ck_assert_msg(answer.status == 200, "%s %s %s gives %d: %s", method, target, headers,
                  answer.status, answer.body);
    ck_assert((answer.body_length == 0) == (strcmp(method, "HEAD") == 0));
}

START_TEST(neighbours_that_are_fine)
{
    expect_accepted(true, "GET", "/stats", "Sec-Fetch-Site: same-origin\r\n");
    expect_accepted(true, "GET", "/stats", "Sec-Fetch-Site: none\r\n");
    expect_accepted(false, "GET", "/stats", "Sec-Fetch-Site: none\r\n");
    expect_accepted(true, "HEAD", "/stats", "");
    expect_accepted(false, "HEAD", "/stats", "");
    expect_accepted(true, "GET", "/pause", "");
    expect_accepted(false, "POST", "/pause?seconds=31536000", "");
    expect_accepted(true, "POST", "/maxtasks?max_tasks_number=1000", "");
    expect_accepted(false, "POST", "/maxtasks?max_tasks_number=1", "");
}
END_TEST

START_TEST(any_host_on_the_socket)
{
    _cleanup_answer_ struct answer answer = {0};
    http_unix(&service, NULL,
              "GET /stats HTTP/1.1\r\nHost: example.org\r\nConnection: close\r\n\r\n", &answer);
    ck_assert_int_eq(answer.status, 200);
}
END_TEST

START_TEST(own_address_as_host)
{
    _cleanup_answer_ struct answer answer = {0};
    http_tcp(&service, NULL,
             textf("GET /stats HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nOrigin: http://127.0.0.1:%u\r\n"
                   "%sConnection: close\r\n\r\n",
                   service.port, service.port, authorization(true)),
             &answer);
    ck_assert_int_eq(answer.status, 200);
}
END_TEST

/* A % that the task's URL itself holds, encoded properly in the request. */
START_TEST(percent_inside_the_url)
{
    _cleanup_view_ struct task_view task = {0};
    ck_assert_int_eq(add_task(&service, NULL, "http://127.0.0.1/100%/a%zz", NULL, &task), 200);
    ck_assert_str_eq(task.url, "http://127.0.0.1/100%/a%zz");
    call(&service, NULL, "POST", "/clear");
}
END_TEST

START_TEST(multipart)
{
    _cleanup_answer_ struct answer answer = {0};
    _cleanup_view_ struct task_view task = {0};
    const char *body = "--xyz\r\nContent-Disposition: form-data; name=\"url\"\r\n\r\n"
                       "http://127.0.0.1/a+b%20c\r\n--xyz--\r\n";
    http_unix(&service, NULL,
              http_request_text("POST", "/add",
                                "Content-Type: multipart/form-data; boundary=xyz\r\n", body),
              &answer);
    ck_assert_msg(answer.status == 200, "%s", answer.body);
    task_parse(answer.body, &task);
    ck_assert_str_eq(task.url, "http://127.0.0.1/a+b%20c");
    call(&service, NULL, "POST", "/clear");
}
END_TEST

/* After all of that the service is whole. */
START_TEST(nothing_is_broken)
{
    _cleanup_free_ char *log = file_read(service.log);
    ck_assert_msg(!strstr(log, "<3>"), "errors in the log:\n%s", log);
    ck_assert_int_eq(read_count(&service, "ENQUEUED"), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("bad input");
    TCase *tcase = tcase_create("requests");
    tcase_add_unchecked_fixture(tcase, start, stop);
    tcase_set_timeout(tcase, 900);
    tcase_add_loop_test(tcase, refused, 0, CASES);
    tcase_add_test(tcase, thousands);
    tcase_add_test(tcase, unknown_task_is_not_found_to_the_byte);
    tcase_add_test(tcase, half_a_request);
    tcase_add_test(tcase, neighbours_that_are_fine);
    tcase_add_test(tcase, any_host_on_the_socket);
    tcase_add_test(tcase, own_address_as_host);
    tcase_add_test(tcase, percent_inside_the_url);
    tcase_add_test(tcase, multipart);
    tcase_add_test(tcase, nothing_is_broken);
    suite_add_tcase(suite, tcase);
    return harness_main(suite);
}
