/* Transfers from an HTTP server whose answers are written out byte by byte here. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/units.h"
#include "tap.h"
#include "transfer/transfer.h"

/* The server: one thread that polls its connections. A request's path chooses the answer. */

enum afterwards {
    KEEP,  /* wait for the next request */
    END,   /* close */
    RESET, /* close with a reset */
    HANG,  /* say nothing more */
};

struct answer {
    const char *path;
    const char *text; /* headers, and the body if it is small */
    enum afterwards afterwards;
    int64_t more; /* bytes of pattern() that follow */
};

#define OK_5  "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
#define MIB   (1024 * 1024)
#define LARGE (20 * MIB + 5)

/* clang-format off */
static const struct answer answers[] = {
    {"/length", OK_5 "hello", KEEP, 0},
    {"/chunked",
     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n"
     "HTTP/1.1 404 Not: a status line\r\n\r\n", KEEP, 0},
    {"/until-close", "HTTP/1.0 200 OK\r\n\r\nhello", END, 0},
    {"/empty", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", KEEP, 0},
    {"/empty-chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", KEEP, 0},
    {"/empty-until-close", "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", END, 0},
    {"/same-length-twice",
     "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello", KEEP, 0},
    {"/informed", "HTTP/1.1 103 Early Hints\r\nContent-Length: 9\r\n\r\n" OK_5 "hello", KEEP, 0},
    {"/gzip",
     "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello", KEEP, 0},
    {"/too-much", OK_5 "hello, world", END, 0},
    {"/a%20b%c3%bc", OK_5 "hello", KEEP, 0},
    {"/private", OK_5 "hello", KEEP, 0},
    {"http://far.invalid/x?secret", OK_5 "hello", KEEP, 0},
    {"far.invalid:443", "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", END, 0},
    {"ftp://far.invalid/x", OK_5 "hello", KEEP, 0},
    {"ftp://far.invalid/none", "HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnope", KEEP, 0},
    {"/404", "HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnope", KEEP, 0},
    {"/404-without-reason", "HTTP/1.1 404\r\nContent-Length: 4\r\n\r\nnope", KEEP, 0},
    {"/404-truncated", "HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\nnope", END, 0},
    {"/404-endless", "HTTP/1.1 404 Not Found\r\n\r\n", END, 64 * MIB},
    {"/404-large", "HTTP/1.1 404 Not Found\r\nContent-Length: 20971525\r\n\r\n", KEEP, LARGE},
    {"/404-trailer",
     "HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
     "HTTP/1.1 200 OK: a trailer\r\n\r\n", KEEP, 0},
    {"/escape", "HTTP/1.1 500 \x1b[31m\xff\r\nContent-Length: 0\r\n\r\n", KEEP, 0},
    {"/204", "HTTP/1.1 204 No Content\r\n\r\n", KEEP, 0},
    {"/205", "HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n", KEEP, 0},
    {"/304", "HTTP/1.1 304 Not Modified\r\n\r\n", KEEP, 0},
    {"/401",
     "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n", KEEP, 0},
    {"/403", "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", KEEP, 0},
    {"/416", "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Length: 0\r\n\r\n", KEEP, 0},
    {"/503", "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", KEEP, 0},
    {"/206",
     "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-4/9\r\nContent-Length: 5\r\n\r\n"
     "hello", KEEP, 0},
    {"/hop", "HTTP/1.1 302 Found\r\nLocation: /hop2\r\nContent-Length: 4\r\n\r\nhere", KEEP, 0},
    {"/hop2",
     "HTTP/1.1 308 Permanent Redirect\r\nLocation: /length\r\nContent-Length: 0\r\n\r\n", KEEP, 0},
    {"/loop", "HTTP/1.1 302 Found\r\nLocation: /loop\r\nContent-Length: 0\r\n\r\n", KEEP, 0},
    {"/to-file",
     "HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n", KEEP, 0},
    {"/to-ftp",
     "HTTP/1.1 302 Found\r\nLocation: ftp://127.0.0.1/x\r\nContent-Length: 0\r\n\r\n", KEEP, 0},
    {"/to-nonsense",
     "HTTP/1.1 302 Found\r\nLocation: http://[bad/\r\nContent-Length: 0\r\n\r\n", KEEP, 0},
    {"/to-nowhere", "HTTP/1.1 302 Found\r\nContent-Length: 4\r\n\r\nhere", KEEP, 0},
    {"/to-empty", "HTTP/1.1 302 Found\r\nLocation:\r\nContent-Length: 4\r\n\r\nhere", KEEP, 0},
    {"/to-404", "HTTP/1.1 301 Moved\r\nLocation: /404\r\nContent-Length: 0\r\n\r\n", KEEP, 0},
    {"/to-refused",
     "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/x?secret\r\nContent-Length: 0\r\n\r\n"
     "", KEEP, 0},
    {"/truncated", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", END, 0},
    {"/truncated-chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhello", END, 0},
    {"/reset", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", RESET, 0},
    {"/nothing", "", END, 0},
    {"/two-lengths",
     "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", END, 0},
    {"/hex-length", "HTTP/1.1 200 OK\r\nContent-Length: 0x5\r\n\r\nhello", END, 0},
    {"/negative-length", "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello", END, 0},
    {"/huge-length",
     "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nhello", END, 0},
    {"/bad-chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\nhello", END, 0},
    {"/http09", "hello", END, 0},
    {"/bad-status", "HTTP/1.1 abc\r\n\r\nhello", END, 0},
    {"/endless-header", "HTTP/1.1 200 OK\r\nX: ", END, 64 * MIB},
    {"/endless-headers", "HTTP/1.1 200 OK\r\n", END, -64 * MIB},
    {"/hang", "", HANG, 0},
    {"/hang-in-headers", "HTTP/1.1 200 OK\r\nContent-", HANG, 0},
    {"/hang-in-body", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", HANG, 0},
    {"/hang-in-404", "HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\nnope", HANG, 0},
    {"/hang-in-redirect",
     "HTTP/1.1 302 Found\r\nLocation: /length\r\nContent-Length: 9\r\n\r\nhere", HANG, 0},
    {"/large", "HTTP/1.1 200 OK\r\nContent-Length: 20971525\r\n\r\n", KEEP, LARGE},
    {"/large-until-close", "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", END, LARGE},
    {"/large-truncated", "HTTP/1.1 200 OK\r\nContent-Length: 20971526\r\n\r\n", END, LARGE},
    {"/8EiB", "HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775807\r\n\r\nhello", HANG, 0},
};
/* clang-format on */

#define CONNECTIONS_MAX 32
#define REQUEST_MAX     8192

static struct {
    pthread_t thread;
    int listener;
    int stop[2]; /* a pipe: closing the write end ends the thread */
    unsigned port;
    atomic_uint accepted;
    atomic_uint requests;
    atomic_llong sent; /* bytes */
    /* server thread only */
    int fds[CONNECTIONS_MAX];
    char request[CONNECTIONS_MAX][REQUEST_MAX];
    size_t filled[CONNECTIONS_MAX];
    /* written by the thread before it answers */
    char last_request[REQUEST_MAX];
} server;

static uint8_t pattern(int64_t at)
{
    return (uint8_t)((uint64_t)at * 2654435761U >> 13);
}

static bool send_all(int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        bytes += n;
        len -= (size_t)n;
        atomic_fetch_add(&server.sent, n);
    }
    return true;
}

static void send_pattern(int fd, int64_t count)
{
    char block[16384];
    for (int64_t at = 0; at < count;) {
        size_t n = 0;
        for (; n < sizeof block && at < count; n++, at++)
            block[n] = (char)pattern(at);
        if (!send_all(fd, block, n))
            return;
    }
}

static void send_headers(int fd, int64_t count)
{
    static const char line[] = "X-Header: and one more\r\n";
    for (int64_t at = 0; at < count; at += (int64_t)sizeof line)
        if (!send_all(fd, line, sizeof line - 1))
            return;
}

/* Whether the connection stays. */
static bool answer_request(int fd, char *request)
{
    stpcpy(server.last_request, request);
    atomic_fetch_add(&server.requests, 1);
    char *path = strchr(request, ' ') + 1;
    path[strcspn(path, " ")] = '\0';

    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        const struct answer *answer = &answers[i];
        if (strcmp(answer->path, path) != 0)
            continue;
        send_all(fd, answer->text, strlen(answer->text));
        if (answer->more < 0)
            send_headers(fd, -answer->more);
        else
            send_pattern(fd, answer->more);
        if (answer->afterwards == RESET) {
            struct linger at_once = {.l_onoff = 1};
            poll(NULL, 0, 50); /* a reset would overtake the bytes */
            setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
        }
        return answer->afterwards == KEEP || answer->afterwards == HANG;
    }
    return false;
}

static void read_request(int slot)
{
    char *request = server.request[slot];
    size_t *filled = &server.filled[slot];
    ssize_t n = recv(server.fds[slot], request + *filled, REQUEST_MAX - 1 - *filled, 0);
    bool stays = n > 0;
    if (stays) {
        *filled += (size_t)n;
        request[*filled] = '\0';
        if (strstr(request, "\r\n\r\n")) {
            *filled = 0;
            stays = answer_request(server.fds[slot], request);
        }
    }
    if (!stays) {
        close(server.fds[slot]);
        server.fds[slot] = -1;
        *filled = 0;
    }
}

static void accept_connection(void)
{
    int fd = accept(server.listener, NULL, NULL);
    for (int slot = 0; fd >= 0 && slot < CONNECTIONS_MAX; slot++) {
        if (server.fds[slot] < 0) {
            server.fds[slot] = fd;
            atomic_fetch_add(&server.accepted, 1);
            return;
        }
    }
}

static void *serve(void *arg)
{
    (void)arg;
    for (;;) {
        struct pollfd polled[CONNECTIONS_MAX + 2];
        for (int i = 0; i < CONNECTIONS_MAX; i++)
            polled[i] = (struct pollfd){.fd = server.fds[i], .events = POLLIN};
        polled[CONNECTIONS_MAX] = (struct pollfd){.fd = server.listener, .events = POLLIN};
        polled[CONNECTIONS_MAX + 1] = (struct pollfd){.fd = server.stop[0], .events = POLLIN};
        poll(polled, CONNECTIONS_MAX + 2, -1);
        if (polled[CONNECTIONS_MAX + 1].revents)
            return NULL;
        for (int i = 0; i < CONNECTIONS_MAX; i++)
            if (polled[i].revents)
                read_request(i);
        if (polled[CONNECTIONS_MAX].revents)
            accept_connection();
    }
}

static int listen_on_loopback(unsigned *ret_port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, len), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    *ret_port = ntohs(address.sin_port);
    return fd;
}

/* What a transfer is given, and what it is seen to do. */

static struct download_share *share;
static struct transfer *transfer;
static const char *open_path; /* what ops->open opens; NULL: the part file */
static int open_flags, open_error;
static int part_file = -1, part = -1;
static char part_path[64];
static unsigned opens;
static int statuses[64];
static unsigned responses;
static atomic_bool cancel;
static struct download_options options;
static struct download_result result;

static int open_part(void *data, int *ret_fd)
{
    ck_assert_ptr_eq(data, &opens);
    opens++;
    if (open_error)
        return open_error;
    part = open(open_path ? open_path : part_path, open_flags | O_CLOEXEC, 0600);
    ck_assert_int_ge(part, 0);
    *ret_fd = part;
    return 0;
}

static void count_response(void *data, int status)
{
    ck_assert_ptr_eq(data, &opens);
    ck_assert_uint_lt(responses, 64);
    statuses[responses++] = status;
}

static bool is_cancelled(void *data)
{
    ck_assert_ptr_eq(data, &opens);
    return atomic_load(&cancel);
}

static const struct transfer_ops ops = {open_part, count_response, is_cancelled, &opens};

static void start(void)
{
    signal(SIGPIPE, SIG_IGN);
    for (int i = 0; i < CONNECTIONS_MAX; i++)
        server.fds[i] = -1;
    server.listener = listen_on_loopback(&server.port);
    ck_assert_int_eq(listen(server.listener, 16), 0);
    ck_assert_int_eq(pipe(server.stop), 0);
    ck_assert_int_eq(pthread_create(&server.thread, NULL, serve, NULL), 0);

    ck_assert_int_eq(download_share_create(&share), 0);
    ck_assert_int_eq(transfer_create(share, &transfer), 0);
    options = (struct download_options){
        .user_agent = "autodl/test", .connect_timeout = 5000, .stall_timeout = 5000};
    open_flags = O_RDWR;
    open_path = NULL;
    open_error = 0;
    /* Without a name, so that a failing test leaves nothing behind. */
    char name[] = "/tmp/autodl-transfer-XXXXXX";
    part_file = mkstemp(name);
    ck_assert_int_ge(part_file, 0);
    unlink(name);
    snprintf(part_path, sizeof part_path, "/proc/self/fd/%d", part_file);
}

static void stop(void)
{
    transfer_destroy(transfer);
    download_share_destroy(share);
    close(server.stop[1]);
    pthread_join(server.thread, NULL);
    for (int i = 0; i < CONNECTIONS_MAX; i++)
        if (server.fds[i] >= 0)
            close(server.fds[i]);
    close(server.stop[0]);
    close(server.listener);
    if (part >= 0)
        close(part);
    close(part_file);
}

/* Runs one transfer; a leading '/' stands for our server. */
static int fetch(const char *url)
{
    _cleanup_free_ char *full = NULL;
    ck_assert_int_ge(url[0] == '/' ? asprintf(&full, "http://127.0.0.1:%u%s", server.port, url)
                                   : asprintf(&full, "%s", url),
                     0);
    if (part >= 0)
        close(part);
    part = -1;
    opens = responses = 0;
    ck_assert_int_eq(ftruncate(part_file, 0), 0);
    return transfer_run(transfer, full, &options, &ops, &result);
}

static void assert_part(const char *content)
{
    char bytes[64] = "";
    struct stat st;
    ck_assert_uint_eq(opens, 1);
    ck_assert_int_eq(fstat(part, &st), 0);
    ck_assert_int_eq(st.st_size, (off_t)strlen(content));
    ck_assert_int_eq(result.bytes_done, st.st_size);
    ck_assert_int_eq(pread(part, bytes, sizeof bytes - 1, 0), st.st_size);
    ck_assert_str_eq(bytes, content);
}

static void assert_failed(int r, const char *code)
{
    ck_assert_int_eq(r, -EIO);
    ck_assert_str_eq(result.error_code, code);
    ck_assert_uint_gt(strlen(result.error_message), 10);
    ck_assert_ptr_null(strstr(result.error_message, "secret"));
    for (const char *c = result.error_message; *c; c++)
        ck_assert(*c >= ' ' && *c <= '~');
}

/* Tests. */

static const struct {
    const char *path;
    const char *content;
    unsigned responses;
} whole[] = {
    {"/length",            "hello", 1},
    {"/chunked",           "hello", 1},
    {"/until-close",       "hello", 1},
    {"/empty",             "",      1},
    {"/empty-chunked",     "",      1},
    {"/empty-until-close", "",      1},
    {"/same-length-twice", "hello", 1},
    {"/informed",          "hello", 1},
    {"/gzip",              "hello", 1},
    {"/too-much",          "hello", 1},
    {"/a b\xc3\xbc",       "hello", 1},
    {"/length#fragment",   "hello", 1},
    {"/hop",               "hello", 3},
};

START_TEST(test_whole)
{
    int r = fetch(whole[_i].path);
    ck_assert_msg(r == 0, "%d: %s", r, result.error_message);
    ck_assert_ptr_null(result.error_code);
    ck_assert_int_eq(result.http_status, 200);
    ck_assert_int_eq(result.bytes_total, (int64_t)strlen(whole[_i].content));
    ck_assert_uint_eq(responses, whole[_i].responses);
    assert_part(whole[_i].content);
}
END_TEST

static const struct {
    const char *path;
    const char *code;
    int status;
    unsigned responses;
} refused[] = {
    {"/404",                                   "http",     404, 1 },
    {"/404-without-reason",                    "http",     404, 1 },
    {"/404-truncated",                         "http",     404, 1 },
    {"/404-endless",                           "http",     404, 1 },
    {"/404-large",                             "http",     404, 1 },
    {"/404-trailer",                           "http",     404, 1 },
    {"/escape",                                "http",     500, 1 },
    {"/204",                                   "http",     204, 1 },
    {"/205",                                   "http",     205, 1 },
    {"/304",                                   "http",     304, 1 },
    {"/401",                                   "auth",     401, 1 },
    {"/403",                                   "http",     403, 1 },
    {"/416",                                   "http",     416, 1 },
    {"/503",                                   "http",     503, 1 },
    {"/206",                                   "protocol", 206, 1 },
    {"/loop",                                  "redirect", 302, 21},
    {"/to-file",                               "redirect", 302, 1 },
    {"/to-ftp",                                "redirect", 302, 1 },
    {"/to-nonsense",                           "redirect", 302, 1 },
    {"/to-nowhere",                            "redirect", 302, 1 },
    {"/to-empty",                              "redirect", 302, 1 },
    {"/to-404",                                "http",     404, 2 },
    {"/to-refused",                            "connect",  302, 1 },
    {"/nothing",                               "reset",    0,   0 },
    {"/two-lengths",                           "protocol", 200, 1 },
    {"/hex-length",                            "protocol", 200, 1 },
    {"/negative-length",                       "protocol", 0,   0 },
    {"/huge-length",                           "protocol", 200, 1 },
    {"/http09",                                "protocol", 0,   0 },
    {"/bad-status",                            "protocol", 0,   0 },
    {"/endless-header",                        "protocol", 0,   0 },
    {"/endless-headers",                       "protocol", 0,   0 },
    {"http://127.0.0.1:1/x?secret",            "connect",  0,   0 },
    {"http://user:secret@something.invalid/x", "resolve",  0,   0 },
    {"gopher://127.0.0.1/x",                   "scheme",   0,   0 },
    {"magnet:?xt=secret",                      "scheme",   0,   0 },
    {"file:///etc/passwd",                     "scheme",   0,   0 },
    {"http://[secret/",                        "url",      0,   0 },
    {"http://127.0.0.1:99999/secret",          "url",      0,   0 },
    {"127.0.0.1/secret",                       "url",      0,   0 },
    {"",                                       "url",      0,   0 },
};

START_TEST(test_refused)
{
    int r = fetch(refused[_i].path);
    assert_failed(r, refused[_i].code);
    ck_assert_int_eq(result.http_status, refused[_i].status);
    ck_assert_uint_eq(responses, refused[_i].responses);
    ck_assert_uint_eq(opens, 0);
    ck_assert_int_eq(result.bytes_done, 0);
}
END_TEST

static const struct {
    const char *path;
    const char *code;
    const char *content;
} broken[] = {
    {"/truncated",       "truncated", "hello"},
    {"/truncated-chunk", "truncated", "hello"},
    {"/reset",           "reset",     "hello"},
};

START_TEST(test_broken)
{
    int r = fetch(broken[_i].path);
    assert_failed(r, broken[_i].code);
    ck_assert_int_eq(result.http_status, 200);
    assert_part(broken[_i].content);
}
END_TEST

/* An unwanted body is not read to its end. */
START_TEST(test_unwanted_body)
{
    static const char *const paths[] = {"/404-endless", "/404-large"};
    assert_failed(fetch(paths[_i]), "http");
    assert_failed(fetch("/404"), "http");
    ck_assert_int_lt(atomic_load(&server.sent), 16 * MIB); /* sockets hold some */
}
END_TEST

START_TEST(test_bad_chunk)
{
    int r = fetch("/bad-chunk");
    ck_assert_int_eq(r, -EIO);
    ck_assert_ptr_nonnull(result.error_code);
    ck_assert_uint_eq(opens, 0);
}
END_TEST

START_TEST(test_messages)
{
    fetch("/404");
    ck_assert_str_eq(result.error_message, "the server answered 404 Not Found");
    fetch("/escape");
    ck_assert_str_eq(result.error_message, "the server answered 500 ?[31m?");
    fetch("http://127.0.0.1:1/x?secret");
    ck_assert_str_eq(result.error_message, "cannot connect to 127.0.0.1:1: Connection refused");
    fetch("http://user:secret@something.invalid/x");
    ck_assert_str_eq(result.error_message, "cannot find the address of something.invalid:80");
    fetch("http://b\xc3\xbc"
          "cher.invalid/x");
    ck_assert_str_eq(result.error_message, "cannot find the address of xn--bcher-kva.invalid:80");

    char expected[128];
    fetch("/truncated");
    snprintf(expected, sizeof expected, "only 5 of 9 bytes came from 127.0.0.1:%u", server.port);
    ck_assert_str_eq(result.error_message, expected);
}
END_TEST

START_TEST(test_request)
{
    char url[128];
    setenv("http_proxy", "http://127.0.0.1:1/", 1);
    snprintf(url, sizeof url, "http://user:pass@127.0.0.1:%u/private#x", server.port);
    ck_assert_int_eq(fetch(url), 0);
    ck_assert_ptr_nonnull(strstr(server.last_request, "GET /private HTTP/1.1\r\n"));
    ck_assert_ptr_nonnull(strstr(server.last_request, "User-Agent: autodl/test\r\n"));
    ck_assert_ptr_nonnull(strstr(server.last_request, "Authorization: Basic dXNlcjpwYXNz\r\n"));
    ck_assert_ptr_null(strstr(server.last_request, "Accept-Encoding"));
    ck_assert_ptr_null(strstr(server.last_request, "Range"));

    /* Nothing of it is left for the next one. */
    ck_assert_int_eq(fetch("/length"), 0);
    ck_assert_ptr_null(strstr(server.last_request, "Authorization"));
    ck_assert_ptr_null(strstr(server.last_request, "Cookie"));
}
END_TEST

START_TEST(test_proxy)
{
    char proxy[64];
    snprintf(proxy, sizeof proxy, "http://127.0.0.1:%u", server.port);
    setenv("no_proxy", "*", 1);
    options.proxy = proxy;
    ck_assert_int_eq(fetch("http://far.invalid/x?secret"), 0);
    assert_part("hello");

    /* A proxy speaks HTTP for ftp, too: its answers are judged as such. */
    ck_assert_int_eq(fetch("ftp://far.invalid/x"), 0);
    ck_assert_uint_eq(responses, 1);
    assert_part("hello");
    assert_failed(fetch("ftp://far.invalid/none"), "http");
    ck_assert_int_eq(result.http_status, 404);
    ck_assert_uint_eq(opens, 0);

    assert_failed(fetch("https://far.invalid/x?secret"), "connect");
    ck_assert_str_eq(result.error_message, "the proxy refused to connect us (status 403)");
    ck_assert_int_eq(result.http_status, 0);
    ck_assert_uint_eq(responses, 0);

    options.proxy = "http://127.0.0.1:1";
    assert_failed(fetch("http://far.invalid/x?secret"), "connect");
    ck_assert_str_eq(result.error_message, "cannot connect to the proxy: Connection refused");
}
END_TEST

START_TEST(test_stalled)
{
    static const struct {
        const char *path;
        const char *code;
    } stalls[] = {
        {"/hang",            "stalled"},
        {"/hang-in-headers", "stalled"},
        {"/hang-in-body",    "stalled"}
    };
    options.stall_timeout = 300;
    int64_t begin = units_now_boottime();
    assert_failed(fetch(stalls[_i].path), stalls[_i].code);
    int64_t took = units_now_boottime() - begin;
    ck_assert_int_ge(took, 300);
    ck_assert_int_le(took, 2500);
}
END_TEST

START_TEST(test_stalled_redirect)
{
    options.stall_timeout = 300;
    options.connect_timeout = 300;
    assert_failed(fetch("/hang-in-redirect"), "stalled");
}
END_TEST

START_TEST(test_hanging_404)
{
    options.stall_timeout = 60000;
    int64_t begin = units_now_boottime();
    assert_failed(fetch("/hang-in-404"), "http");
    ck_assert_int_le(units_now_boottime() - begin, 8000);
}
END_TEST

START_TEST(test_connect_timeout)
{
    /* A listener whose backlog is full does not answer. */
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    unsigned port;
    int listener = listen_on_loopback(&port);
    int fillers[4];
    ck_assert_int_eq(listen(listener, 0), 0);
    address.sin_port = htons((uint16_t)port);
    for (size_t i = 0; i < 4; i++) {
        fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        connect(fillers[i], (struct sockaddr *)&address, sizeof address);
    }

    char url[64];
    snprintf(url, sizeof url, "http://127.0.0.1:%u/x", port);
    options.connect_timeout = 500;
    options.stall_timeout = 100; /* does not run yet */
    int64_t begin = units_now_boottime();
    assert_failed(fetch(url), "timeout");
    ck_assert_int_ge(units_now_boottime() - begin, 490);
    ck_assert_int_le(units_now_boottime() - begin, 2500);
    for (size_t i = 0; i < 4; i++)
        close(fillers[i]);
    close(listener);
}
END_TEST

/* Cancels once the server has been asked. */
static void *cancel_when_asked(void *arg)
{
    (void)arg;
    while (atomic_load(&server.requests) == 0)
        poll(NULL, 0, 1);
    poll(NULL, 0, 50); /* let the answer's first bytes arrive */
    atomic_store(&cancel, true);
    return NULL;
}

START_TEST(test_cancel)
{
    static const char *const paths[] = {"/hang", "/hang-in-headers", "/hang-in-body"};
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, cancel_when_asked, NULL), 0);
    int64_t begin = units_now_boottime();
    ck_assert_int_eq(fetch(paths[_i]), -ECANCELED);
    ck_assert_int_le(units_now_boottime() - begin, 1500);
    ck_assert_ptr_null(result.error_code);
    pthread_join(thread, NULL);

    atomic_store(&cancel, false);
    ck_assert_int_eq(fetch("/length"), 0);
    assert_part("hello");
}
END_TEST

START_TEST(test_cancelled_before)
{
    atomic_store(&cancel, true);
    ck_assert_int_eq(fetch("/large"), -ECANCELED);
    ck_assert_uint_eq(opens, 0);
}
END_TEST

static void assert_pattern(int64_t size)
{
    static uint8_t block[MIB];
    struct stat st;
    ck_assert_int_eq(fstat(part, &st), 0);
    ck_assert_int_eq(st.st_size, size);
    for (int64_t at = 0; at < size;) {
        ssize_t n = pread(part, block, sizeof block, at);
        ck_assert_int_gt(n, 0);
        for (ssize_t i = 0; i < n; i++)
            if (block[i] != pattern(at + i))
                ck_abort_msg("byte %lld is wrong", (long long)(at + i));
        at += n;
    }
}

START_TEST(test_large)
{
    static const char *const paths[] = {"/large", "/large-until-close"};
    ck_assert_int_eq(fetch(paths[_i]), 0);
    ck_assert_int_eq(result.bytes_done, LARGE);
    ck_assert_int_eq(result.bytes_total, LARGE);
    assert_pattern(LARGE);
}
END_TEST

START_TEST(test_large_truncated)
{
    assert_failed(fetch("/large-truncated"), "truncated");
    ck_assert_int_eq(result.bytes_done, LARGE);
    ck_assert_int_eq(result.bytes_total, LARGE + 1);
    assert_pattern(LARGE);
}
END_TEST

START_TEST(test_write_error)
{
    static const char *const paths[] = {"/length", "/large", "/large-until-close"};
    open_path = "/dev/full";
    open_flags = O_WRONLY;
    assert_failed(fetch(paths[_i]), "disk");
    ck_assert_str_eq(result.error_message, "cannot write the file: No space left on device");
    ck_assert_int_eq(result.bytes_done, 0);

    open_path = NULL;
    open_flags = O_RDONLY;
    assert_failed(fetch(paths[_i]), "disk");
    ck_assert_str_eq(result.error_message, "cannot write the file: Bad file descriptor");

    open_flags = O_RDWR;
    ck_assert_int_eq(fetch("/length"), 0);
    assert_part("hello");
}
END_TEST

START_TEST(test_no_space)
{
    assert_failed(fetch("/8EiB"), "disk");
    ck_assert_int_eq(strncmp(result.error_message, "not enough space for the file: ", 31), 0);
}
END_TEST

START_TEST(test_open_error)
{
    open_error = -EACCES;
    ck_assert_int_eq(fetch("/length"), -EACCES);
    ck_assert_ptr_null(result.error_code);
    ck_assert_uint_eq(opens, 1);
    ck_assert_int_eq(fetch("/empty"), -EACCES);
}
END_TEST

START_TEST(test_reuse)
{
    for (int i = 0; i < 100; i++) {
        ck_assert_int_eq(fetch("/length"), 0);
        assert_part("hello");
        assert_failed(fetch("/404"), "http");
    }
    ck_assert_uint_eq(atomic_load(&server.accepted), 1);
    ck_assert_uint_eq(atomic_load(&server.requests), 200);
}
END_TEST

static long peak_memory(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss; /* KiB */
}

START_TEST(test_memory_is_flat)
{
    ck_assert_int_eq(fetch("/large"), 0);
    long before = peak_memory();
    for (int i = 0; i < 5; i++)
        ck_assert_int_eq(fetch("/large"), 0);
    ck_assert_int_le(peak_memory() - before, 16 * 1024); /* of 100 MiB; sanitizers keep some */
}
END_TEST

/* An FTP server for one control connection: "file" has 5 bytes, "empty" none; that is all. */
static const char *ftp_reply(const char *line)
{
    bool file = strstr(line, " file\r\n"), empty = strstr(line, " empty\r\n");

    if (strncmp(line, "USER", 4) == 0)
        return "331 password?\r\n";
    if (strncmp(line, "PASS", 4) == 0)
        return strcmp(line, "PASS wrong\r\n") == 0 ? "530 no\r\n" : "230 hello\r\n";
    if (strncmp(line, "PWD", 3) == 0)
        return "257 \"/\"\r\n";
    if (strncmp(line, "TYPE", 4) == 0)
        return "200 binary\r\n";
    if (strncmp(line, "SIZE", 4) == 0)
        return file ? "213 5\r\n" : empty ? "213 0\r\n" : "550 none\r\n";
    if (strncmp(line, "RETR", 4) == 0)
        return file || empty ? "150 coming\r\n" : "550 none\r\n";
    return "500 what?\r\n";
}

static bool answer_ftp(int control, const char *line, int data_listener, unsigned data_port)
{
    char passive[64];
    const char *reply = ftp_reply(line);
    if (strncmp(line, "EPSV", 4) == 0) {
        snprintf(passive, sizeof passive, "229 here (|||%u|)\r\n", data_port);
        reply = passive;
    }
    if (!send_all(control, reply, strlen(reply)))
        return false;
    if (strncmp(reply, "150", 3) == 0) {
        int fd = accept(data_listener, NULL, NULL);
        send_all(fd, "hello", strstr(line, " file\r\n") ? 5 : 0);
        close(fd);
        return send_all(control, "226 done\r\n", 10);
    }
    return strncmp(line, "QUIT", 4) != 0;
}

static void *serve_ftp(void *arg)
{
    unsigned data_port;
    int data_listener = listen_on_loopback(&data_port);
    int control = accept(*(int *)arg, NULL, NULL);
    char line[256];
    bool stays = listen(data_listener, 4) == 0 && send_all(control, "220 hello\r\n", 11);
    while (stays) {
        ssize_t n = recv(control, line, sizeof line - 1, 0); /* curl sends one line at a time */
        line[n > 0 ? n : 0] = '\0';
        stays = n > 0 && answer_ftp(control, line, data_listener, data_port);
    }
    close(control);
    close(data_listener);
    return NULL;
}

START_TEST(test_ftp)
{
    static const struct {
        const char *login;
        const char *path;
        const char *code;
        int status;
        const char *content;
    } files[] = {
        {"",             "file",        NULL,   226, "hello"},
        {"user:secret@", "file;type=i", NULL,   226, "hello"},
        {"",             "empty",       NULL,   226, ""     },
        {"",             "missing",     "http", 550, NULL   },
        {"user:wrong@",  "file",        "auth", 530, NULL   },
    };
    unsigned port;
    int listener = listen_on_loopback(&port);
    pthread_t thread;
    char url[128];
    ck_assert_int_eq(listen(listener, 4), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, serve_ftp, &listener), 0);

    snprintf(url, sizeof url, "ftp://%s127.0.0.1:%u/%s", files[_i].login, port, files[_i].path);
    int r = fetch(url);
    ck_assert_uint_eq(responses, 0);
    ck_assert_int_eq(result.http_status, files[_i].status);
    if (files[_i].code) {
        assert_failed(r, files[_i].code);
        ck_assert_uint_eq(opens, 0);
    } else {
        ck_assert_msg(r == 0, "%d: %s", r, result.error_message);
        assert_part(files[_i].content);
    }
    transfer_destroy(transfer); /* ends the control connection */
    transfer = NULL;
    pthread_join(thread, NULL);
    close(listener);
}
END_TEST

/* Several at once: the share's locks, seen by the thread sanitizer. */
static void *fetch_many(void *arg)
{
    struct transfer *own;
    struct download_result own_result;
    char url[64];
    if (transfer_create(share, &own) < 0)
        return arg;
    for (int i = 0; i < 20; i++) {
        snprintf(url, sizeof url, "http://%s:%u/404", i % 2 ? "127.0.0.1" : "localhost",
                 server.port);
        if (transfer_run(own, url, &options, arg, &own_result) != -EIO ||
            own_result.http_status != 404) {
            transfer_destroy(own);
            return arg;
        }
    }
    transfer_destroy(own);
    return NULL;
}

static void ignore_response(void *data, int status)
{
    (void)data, (void)status;
}

START_TEST(test_threads)
{
    const struct transfer_ops quiet = {open_part, ignore_response, is_cancelled, &opens};
    pthread_t threads[8];
    for (size_t i = 0; i < 8; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, fetch_many, (void *)&quiet), 0);
    for (size_t i = 0; i < 8; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        ck_assert_ptr_null(failed);
    }
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("transfer");
    TCase *tests = tcase_create("transfer");
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, start, stop);
    tcase_add_loop_test(tests, test_whole, 0, (int)(sizeof whole / sizeof *whole));
    tcase_add_loop_test(tests, test_refused, 0, (int)(sizeof refused / sizeof *refused));
    tcase_add_loop_test(tests, test_broken, 0, (int)(sizeof broken / sizeof *broken));
    tcase_add_loop_test(tests, test_unwanted_body, 0, 2);
    tcase_add_test(tests, test_bad_chunk);
    tcase_add_test(tests, test_messages);
    tcase_add_test(tests, test_request);
    tcase_add_test(tests, test_proxy);
    tcase_add_loop_test(tests, test_stalled, 0, 3);
    tcase_add_test(tests, test_stalled_redirect);
    tcase_add_test(tests, test_hanging_404);
    tcase_add_test(tests, test_connect_timeout);
    tcase_add_loop_test(tests, test_cancel, 0, 3);
    tcase_add_test(tests, test_cancelled_before);
    tcase_add_loop_test(tests, test_large, 0, 2);
    tcase_add_test(tests, test_large_truncated);
    tcase_add_loop_test(tests, test_write_error, 0, 3);
    tcase_add_test(tests, test_no_space);
    tcase_add_test(tests, test_open_error);
    tcase_add_test(tests, test_reuse);
    tcase_add_test(tests, test_memory_is_flat);
    tcase_add_loop_test(tests, test_ftp, 0, 5);
    tcase_add_test(tests, test_threads);
    suite_add_tcase(s, tests);
    return s;
}

int main(void)
{
    return tap_main(suite());
}
