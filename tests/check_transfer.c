/* Transfers from an HTTP server whose answers are written out byte by byte here. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
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
#include "core/address.h"
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
    {"http://far.invalid/inside",
     "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/x\r\nContent-Length: 0\r\n\r\n", KEEP, 0},
    {"http://far.invalid/inside-by-name",
     "HTTP/1.1 302 Found\r\nLocation: http://db.LOCALHOST./\r\nContent-Length: 0\r\n\r\n", KEEP, 0},
    {"http://127.0.0.1:9/x", OK_5 "hello", KEEP, 0},
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
    {"/chunked-once",
     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nETag: \"1\"\r\n\r\n"
     "5\r\nhello\r\n0\r\n\r\n", KEEP, 0},
    {"/real-gzip",
     "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\nETag: \"1\"\r\n"
     "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n\x1f\x8b\x08!!", KEEP, 0},
    {"/gzip-transfer",
     "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
     "", KEEP, 0},
    {"/chunked-twice",
     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"
     "5\r\nhello\r\n0\r\n\r\n", END, 0},
    {"/bad-second-chunk",
     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nxyz\r\n", END, 0},
    {"/described",
     "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: \"e\"\r\nAccept-Ranges: none\r\n"
     "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
     "Content-Disposition: attachment; filename=a.txt\r\n\r\nhello", KEEP, 0},
    {"/bad-validators",
     "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: \"\x01\"\r\nLast-Modified: \x7f\r\n"
     "\r\nhello", KEEP, 0},
    {"/wait-seconds",
     "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n", KEEP, 0},
    {"/wait-past",
     "HTTP/1.1 429 Too Many Requests\r\nRetry-After: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
     "Content-Length: 0\r\n\r\n", KEEP, 0},
    {"/wait-long",
     "HTTP/1.1 429 Too Many Requests\r\nRetry-After: Fri, 31 Dec 2100 23:59:59 GMT\r\n"
     "Content-Length: 0\r\n\r\n", KEEP, 0},
    {"/wait-nonsense",
     "HTTP/1.1 503 Service Unavailable\r\nRetry-After: soon\r\nContent-Length: 0\r\n\r\n"
     "", KEEP, 0},
    {"/wait-there",
     "HTTP/1.1 302 Found\r\nLocation: /503\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n"
     "", KEEP, 0},
    {"/to-spaces",
     "HTTP/1.1 302 Found\r\nLocation: a b\xc3\xbc\r\nContent-Length: 0\r\n\r\n", KEEP, 0},
    {"/redirect-large", "HTTP/1.1 302 Found\r\nLocation: /length\r\n\r\n", END, 64 * MIB},
    {"/8EiB", "HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775807\r\n\r\nhello", HANG, 0},
};
/* clang-format on */

#define CONNECTIONS_MAX 32
#define REQUEST_MAX     8192
#define LOG_MAX         32

/* "/file": one that is there in several versions, and whose server is honest or not. */
struct file {
    int64_t size;
    unsigned version;     /* of its bytes */
    const char *etag;     /* or NULL */
    const char *modified; /* or NULL */
    int64_t cut;          /* the connection ends after so many bytes of a body; -1: at once */
    bool ignores_ranges;
    bool loses_ranges;     /* after the first request with a range */
    const char *part_head; /* what is answered to a range, whatever it is; the body follows */
    const char *part_once; /* the same, for the first one alone */
    bool part_chunked;
};

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
    /* protected by lock; written by the thread before it answers */
    pthread_mutex_t lock;
    char log[LOG_MAX][REQUEST_MAX]; /* the requests; the last one repeats */
    unsigned logged;
    struct file file;
    int64_t file_bytes; /* sent of "/file" */
} server = {.lock = PTHREAD_MUTEX_INITIALIZER};

static uint8_t pattern(int64_t at)
{
    return (uint8_t)((uint64_t)at * 2654435761U >> 13);
}

static uint8_t file_byte(unsigned version, int64_t at)
{
    return pattern(at + version * 1000003LL);
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
static bool send_file(int fd, const struct file *file, int64_t from, bool chunked)
{
    int64_t end = file->cut > 0 && from + file->cut < file->size ? from + file->cut : file->size;
    char block[16384], size[32];
    bool sent = true;
    for (int64_t at = from; at < end && sent;) {
        size_t n = 0;
        for (; n < sizeof block && at < end; n++, at++)
            block[n] = (char)file_byte(file->version, at);
        snprintf(size, sizeof size, "%zx\r\n", n);
        sent = (!chunked || send_all(fd, size, strlen(size))) && send_all(fd, block, n) &&
               (!chunked || send_all(fd, "\r\n", 2));
        pthread_mutex_lock(&server.lock);
        server.file_bytes += (int64_t)n;
        pthread_mutex_unlock(&server.lock);
    }
    if (chunked && sent)
        sent = send_all(fd, "0\r\n\r\n", 5);
    return sent && end == file->size;
}

static bool condition_holds(const struct file *file, const char *request)
{
    char expected[256];
    const char *condition = strstr(request, "\r\nIf-Range: ");
    if (!condition)
        return true;
    snprintf(expected, sizeof expected, "\r\nIf-Range: %s\r\n",
             condition[12] == '"' ? file->etag : file->modified);
    return strncmp(condition, expected, strlen(expected)) == 0;
}

static void send_file_head(int fd, const struct file *file, int64_t from, bool part)
{
    char head[512];
    int len =
        part ? snprintf(head, sizeof head,
                        "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes %lld-%lld/%lld\r\n",
                        (long long)from, (long long)file->size - 1, (long long)file->size)
             : snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\n");
    if (part && file->part_chunked)
        len += snprintf(head + len, sizeof head - (size_t)len, "Transfer-Encoding: chunked\r\n");
    else
        len += snprintf(head + len, sizeof head - (size_t)len, "Content-Length: %lld\r\n",
                        (long long)(file->size - from));
    if (file->etag)
        len += snprintf(head + len, sizeof head - (size_t)len, "ETag: %s\r\n", file->etag);
    if (file->modified)
        len += snprintf(head + len, sizeof head - (size_t)len, "Last-Modified: %s\r\n",
                        file->modified);
    len += snprintf(head + len, sizeof head - (size_t)len, "\r\n");
    send_all(fd, head, (size_t)len);
}

static bool answer_file(int fd, const char *request)
{
    pthread_mutex_lock(&server.lock);
    struct file file = server.file;
    const char *range = strstr(request, "\r\nRange: bytes=");
    if (range)
        server.file.part_once = NULL;
    if (range && file.loses_ranges)
        server.file.ignores_ranges = true;
    pthread_mutex_unlock(&server.lock);

    if (file.cut < 0 && !file.part_once)
        return false;
    int64_t from = range ? strtoll(range + 15, NULL, 10) : 0;
    const char *canned = file.part_once ? file.part_once : file.part_head;
    if (range && canned) {
        send_all(fd, canned, strlen(canned));
        if (file.cut >= 0)
            send_file(fd, &file, from, false);
        return false;
    }
    bool part = range && !file.ignores_ranges && condition_holds(&file, request);
    if (part && from >= file.size) {
        char head[128];
        int len = snprintf(head, sizeof head,
                           "HTTP/1.1 416 No\r\nContent-Range: bytes */%lld\r\n"
                           "Content-Length: 4\r\n\r\nnope",
                           (long long)file.size);
        return send_all(fd, head, (size_t)len);
    }
    if (!part)
        from = 0;
    send_file_head(fd, &file, from, part);
    return send_file(fd, &file, from, part && file.part_chunked);
}

static bool send_away(int fd, const char *url)
{
    char head[256];
    int len = snprintf(head, sizeof head,
                       "HTTP/1.1 302 Found\r\nLocation: %s\r\nContent-Length: 4\r\n\r\naway", url);
    return send_all(fd, head, (size_t)len);
}

static void log_request(const char *request)
{
    pthread_mutex_lock(&server.lock);
    if (server.logged < LOG_MAX)
        server.logged++;
    stpcpy(server.log[server.logged - 1], request);
    pthread_mutex_unlock(&server.lock);
    atomic_fetch_add(&server.requests, 1);
}

/* Whether the connection stays. */
static bool answer_request(int fd, char *request)
{
    log_request(request);
    if (strncmp(request, "GET /file ", 10) == 0)
        return answer_file(fd, request);
    char *path = strchr(request, ' ') + 1;
    path[strcspn(path, " ")] = '\0';
    if (strncmp(path, "/to/", 4) == 0)
        return send_away(fd, path + 4);

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
static struct transfer_outcome outcome;
static struct download_result *const result = &outcome.download;
static struct transfer_job job; /* but for the URL */
static unsigned versions;       /* how often on_version was called, and what it was told last */
static struct {
    char etag[64], modified[64], why[256], disposition[64];
    int64_t total, start;
    bool encoded, no_ranges;
} version;
static int64_t progress;        /* what on_progress was told last */
static bool cancel_at_progress; /* and is this to end it? */

static int open_part(void *data, const struct download_head *head, int *ret_fd)
{
    ck_assert_ptr_eq(data, &opens);
    opens++;
    if (open_error)
        return open_error;
    part = open(open_path ? open_path : part_path, open_flags | O_CLOEXEC, 0600);
    ck_assert_int_ge(part, 0);
    ck_assert_int_eq(!head, job.known.have > 0);
    if (head && !open_path)
        ck_assert_int_eq(ftruncate(part_file, 0), 0);
    *ret_fd = part;
    return 0;
}

static void copy_text(char *copy, size_t size, const char *text)
{
    snprintf(copy, size, "%s", text ? text : "");
}

static int note_version(void *data, const struct download_head *head, int64_t total, int64_t from,
                        bool anew, const char *why)
{
    ck_assert_int_eq(anew, from == 0);
    ck_assert_ptr_eq(data, &opens);
    versions++;
    copy_text(version.etag, sizeof version.etag, head->etag);
    copy_text(version.modified, sizeof version.modified, head->last_modified);
    copy_text(version.disposition, sizeof version.disposition, head->disposition);
    copy_text(version.why, sizeof version.why, why);
    version.total = total;
    version.start = from;
    version.encoded = head->encoded;
    version.no_ranges = head->no_ranges;
    return 0;
}

static void note_progress(void *data, const struct transfer_progress *now)
{
    ck_assert_ptr_eq(data, &opens);
    ck_assert_int_gt(now->written, 0);
    ck_assert_int_eq(now->bytes, now->written);
    ck_assert_uint_eq(now->workers, 1);
    progress = now->written;
    if (cancel_at_progress)
        atomic_store(&cancel, true);
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

static const struct transfer_ops ops = {.open = open_part,
                                        .on_version = note_version,
                                        .on_progress = note_progress,
                                        .on_response = count_response,
                                        .cancelled = is_cancelled,
                                        .data = &opens};

static const struct address_policy nothing_denied;

/* Redirects that lead to other places of this machine, where the rules for that are not the
 * matter. */
static bool anywhere, everything_global, everything_elsewhere;

enum address_verdict __real_address_judge(const struct address_policy *policy,
                                          const struct address_question *question);
enum address_verdict __wrap_address_judge(const struct address_policy *policy,
                                          const struct address_question *question);

enum address_verdict __wrap_address_judge(const struct address_policy *policy,
                                          const struct address_question *question)
{
    return anywhere ? ADDRESS_ALLOWED : __real_address_judge(policy, question);
}

enum address_kind __real_address_kind(const struct ip_address *address);
enum address_kind __wrap_address_kind(const struct ip_address *address);

enum address_kind __wrap_address_kind(const struct ip_address *address)
{
    return everything_global ? ADDRESS_GLOBAL : __real_address_kind(address);
}

int __real_getifaddrs(struct ifaddrs **list);
int __wrap_getifaddrs(struct ifaddrs **list);

int __wrap_getifaddrs(struct ifaddrs **list)
{
    *list = NULL;
    return everything_elsewhere ? 0 : __real_getifaddrs(list);
}

static void start(void)
{
    anywhere = everything_global = everything_elsewhere = false;
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
        .user_agent = "autodl/test",
        .policy = &nothing_denied,
        .connect_timeout = 5000,
        .stall_timeout = 5000,
    };
    job = (struct transfer_job){.known.total = -1};
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

/* Runs one transfer with the part file as it is; a leading '/' stands for our server. */
static int go_on(const char *url)
{
    _cleanup_free_ char *full = NULL;
    ck_assert_int_ge(url[0] == '/' ? asprintf(&full, "http://127.0.0.1:%u%s", server.port, url)
                                   : asprintf(&full, "%s", url),
                     0);
    if (part >= 0)
        close(part);
    part = -1;
    opens = responses = versions = 0;
    progress = 0;
    pthread_mutex_lock(&server.lock);
    server.logged = 0;
    server.file_bytes = 0;
    pthread_mutex_unlock(&server.lock);
    job.url = full;
    int r = transfer_run(transfer, &job, &options, &ops, &outcome);
    job.url = NULL;
    return r;
}

/* The same with nothing there. */
static int fetch(const char *url)
{
    ck_assert_int_eq(ftruncate(part_file, 0), 0);
    return go_on(url);
}

/* Whether the request (0: the first one) has that text in it. */
static bool was_asked(unsigned request, const char *text)
{
    pthread_mutex_lock(&server.lock);
    bool was = request < server.logged && strstr(server.log[request], text);
    pthread_mutex_unlock(&server.lock);
    return was;
}

static unsigned requests_made(void)
{
    pthread_mutex_lock(&server.lock);
    unsigned made = server.logged;
    pthread_mutex_unlock(&server.lock);
    return made;
}

static void assert_part(const char *content)
{
    char bytes[64] = "";
    struct stat st;
    ck_assert_uint_eq(opens, 1);
    ck_assert_int_eq(fstat(part, &st), 0);
    ck_assert_int_eq(st.st_size, (off_t)strlen(content));
    ck_assert_int_eq(outcome.written, st.st_size);
    ck_assert_int_eq(pread(part, bytes, sizeof bytes - 1, 0), st.st_size);
    ck_assert_str_eq(bytes, content);
}

static void assert_failed(int r, const char *code)
{
    ck_assert_int_eq(r, -EIO);
    ck_assert_str_eq(result->error_code, code);
    ck_assert_uint_gt(strlen(result->error_message), 10);
    ck_assert_ptr_null(strstr(result->error_message, "secret"));
    for (const char *c = result->error_message; *c; c++)
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
    {"/hang-in-redirect",  "hello", 2},
    {"/redirect-large",    "hello", 2},
    {"/to-spaces",         "hello", 2},
    {"/chunked-once",      "hello", 1},
};

START_TEST(test_whole)
{
    int r = fetch(whole[_i].path);
    ck_assert_msg(r == 0, "%d: %s", r, result->error_message);
    ck_assert_ptr_null(result->error_code);
    ck_assert_int_eq(result->http_status, 200);
    ck_assert_int_eq(result->bytes_total, (int64_t)strlen(whole[_i].content));
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
    {"/to-refused",                            "address",  302, 1 },
    {"/nothing",                               "reset",    0,   0 },
    {"/two-lengths",                           "protocol", 200, 1 },
    {"/hex-length",                            "protocol", 200, 1 },
    {"/negative-length",                       "protocol", 0,   0 },
    {"/huge-length",                           "protocol", 200, 1 },
    {"/http09",                                "protocol", 0,   0 },
    {"/bad-chunk",                             "protocol", 200, 1 },
    {"/gzip-transfer",                         "protocol", 200, 1 },
    {"/chunked-twice",                         "protocol", 200, 1 },
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
    ck_assert_int_eq(result->http_status, refused[_i].status);
    ck_assert_uint_eq(responses, refused[_i].responses);
    ck_assert_uint_eq(opens, 0);
    ck_assert_int_eq(result->bytes_done, 0);
}
END_TEST

static const struct {
    const char *path;
    const char *code;
    const char *content;
} broken[] = {
    {"/truncated",        "truncated", "hello"},
    {"/truncated-chunk",  "truncated", "hello"},
    {"/reset",            "reset",     "hello"},
    {"/bad-second-chunk", "protocol",  "hello"},
};

START_TEST(test_broken)
{
    int r = fetch(broken[_i].path);
    assert_failed(r, broken[_i].code);
    ck_assert_int_eq(result->http_status, 200);
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

START_TEST(test_messages)
{
    fetch("/404");
    ck_assert_str_eq(result->error_message, "the server answered 404 Not Found");
    fetch("/escape");
    ck_assert_str_eq(result->error_message, "the server answered 500 ?[31m?");
    fetch("http://127.0.0.1:1/x?secret");
    ck_assert_str_eq(result->error_message, "cannot connect to 127.0.0.1:1: Connection refused");
    fetch("http://user:secret@something.invalid/x");
    ck_assert_str_eq(result->error_message, "cannot find the address of something.invalid:80");
    fetch("http://b\xc3\xbc"
          "cher.invalid/x");
    ck_assert_str_eq(result->error_message, "cannot find the address of xn--bcher-kva.invalid:80");

    char expected[128];
    fetch("/truncated");
    snprintf(expected, sizeof expected, "only 5 of 9 bytes came from 127.0.0.1:%u", server.port);
    ck_assert_str_eq(result->error_message, expected);
}
END_TEST

START_TEST(test_request)
{
    char url[128];
    setenv("http_proxy", "http://127.0.0.1:1/", 1);
    snprintf(url, sizeof url, "http://user:pass@127.0.0.1:%u/private#x", server.port);
    ck_assert_int_eq(fetch(url), 0);
    ck_assert(was_asked(0, "GET /private HTTP/1.1\r\n"));
    ck_assert(was_asked(0, "User-Agent: autodl/test\r\n"));
    ck_assert(was_asked(0, "Authorization: Basic dXNlcjpwYXNz\r\n"));
    ck_assert(!was_asked(0, "Accept-Encoding"));
    ck_assert(!was_asked(0, "Range"));

    /* Nothing of it is left for the next one. */
    ck_assert_int_eq(fetch("/length"), 0);
    ck_assert(!was_asked(0, "Authorization"));
    ck_assert(!was_asked(0, "Cookie"));
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
    ck_assert_int_eq(result->http_status, 404);
    ck_assert_uint_eq(opens, 0);

    assert_failed(fetch("https://far.invalid/x?secret"), "connect");
    ck_assert_str_eq(result->error_message, "the proxy refused to connect us (status 403)");
    ck_assert_int_eq(result->http_status, 0);
    ck_assert_uint_eq(responses, 0);

    options.proxy = "http://127.0.0.1:1";
    assert_failed(fetch("http://far.invalid/x?secret"), "connect");
    ck_assert_str_eq(result->error_message, "cannot connect to the proxy: Connection refused");
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

/* --- limits --- */

static struct ratelimit narrow;

static void *lift_the_limit(void *unused)
{
    (void)unused;
    poll(NULL, 0, 1500);
    ratelimit_set(&narrow, 0);
    return NULL;
}

/* That we wait is no stall of the server's; and who waits is told of a new rate. */
START_TEST(test_throttled_is_not_stalled)
{
    pthread_t thread;
    ratelimit_init(&narrow, 1000);
    job.limits[_i] = &narrow;
    options.stall_timeout = 300;
    int64_t begin = units_now_boottime();
    ck_assert_int_eq(pthread_create(&thread, NULL, lift_the_limit, NULL), 0);
    ck_assert_int_eq(fetch("/large"), 0);
    int64_t took = units_now_boottime() - begin;
    ck_assert_int_ge(took, 1500);
    ck_assert_int_le(took, 4000);
    ck_assert_int_eq(outcome.written, LARGE);
    pthread_join(thread, NULL);
    ratelimit_release(&narrow);
}
END_TEST

/* It begins when the bytes that we held back have been taken. */
START_TEST(test_a_stall_begins_after_the_wait)
{
    ratelimit_init(&narrow, 4); /* 5 bytes: 1.2 s */
    job.limits[0] = &narrow;
    options.stall_timeout = 1500;
    int64_t begin = units_now_boottime();
    assert_failed(fetch("/hang-in-body"), "stalled");
    ck_assert_int_ge(units_now_boottime() - begin, 2650);
    ratelimit_release(&narrow);
}
END_TEST

static void *cancel_soon(void *unused)
{
    (void)unused;
    poll(NULL, 0, 700);
    atomic_store(&cancel, true);
    return NULL;
}

START_TEST(test_cancel_while_throttled)
{
    pthread_t thread;
    ratelimit_init(&narrow, 1000);
    job.limits[_i] = &narrow;
    int64_t begin = units_now_boottime();
    ck_assert_int_eq(pthread_create(&thread, NULL, cancel_soon, NULL), 0);
    ck_assert_int_eq(fetch("/large"), -ECANCELED);
    ck_assert_int_le(units_now_boottime() - begin, 700 + 500);
    ck_assert_int_ge(outcome.written, 1024); /* what came is kept */
    atomic_store(&cancel, false);
    pthread_join(thread, NULL);
    ratelimit_release(&narrow);
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
    ck_assert_ptr_null(result->error_code);
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
    ck_assert_int_eq(result->bytes_done, LARGE);
    ck_assert_int_eq(result->bytes_total, LARGE);
    assert_pattern(LARGE);
}
END_TEST

START_TEST(test_large_truncated)
{
    assert_failed(fetch("/large-truncated"), "truncated");
    ck_assert_int_eq(result->bytes_done, LARGE);
    ck_assert_int_eq(result->bytes_total, LARGE + 1);
    assert_pattern(LARGE);
}
END_TEST

START_TEST(test_write_error)
{
    static const char *const paths[] = {"/length", "/large", "/large-until-close"};
    open_path = "/dev/full";
    open_flags = O_WRONLY;
    assert_failed(fetch(paths[_i]), "disk");
    ck_assert_str_eq(result->error_message, "cannot write the file: No space left on device");
    ck_assert_int_eq(result->disk_error, -ENOSPC);
    ck_assert_int_eq(outcome.written, 0);

    open_path = NULL;
    open_flags = O_RDONLY;
    assert_failed(fetch(paths[_i]), "disk");
    ck_assert_str_eq(result->error_message, "cannot write the file: Bad file descriptor");

    open_flags = O_RDWR;
    ck_assert_int_eq(fetch("/length"), 0);
    assert_part("hello");
}
END_TEST

START_TEST(test_no_space)
{
    assert_failed(fetch("/8EiB"), "disk");
    ck_assert_int_eq(strncmp(result->error_message, "not enough space for the file: ", 31), 0);
}
END_TEST

START_TEST(test_open_error)
{
    open_error = -EACCES;
    ck_assert_int_eq(fetch("/length"), -EACCES);
    ck_assert_ptr_null(result->error_code);
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

/* Going on with a part file. */

#define FILE_SIZE   (MIB + 7)
#define FILE_SHA256 "db2f6ec1b4ef97a0d56297478b3adc5fe7d11a2a648d181c8d331ac4d8ab09dc"
#define DATE        "Sun, 06 Nov 1994 08:49:37 GMT"
#define OTHER_DATE  "Mon, 07 Nov 1994 08:49:37 GMT"

static const struct file honest = {.size = FILE_SIZE, .etag = "\"one\"", .modified = DATE};

static void serve_file(const struct file *file)
{
    pthread_mutex_lock(&server.lock);
    server.file = *file;
    pthread_mutex_unlock(&server.lock);
}

static int64_t file_bytes_sent(void)
{
    pthread_mutex_lock(&server.lock);
    int64_t sent = server.file_bytes;
    pthread_mutex_unlock(&server.lock);
    return sent;
}

/* Puts `size` bytes of a version there, and says that `have` of them were promised as in `honest`.
 */
static void leave_part(unsigned of_version, int64_t size, int64_t have)
{
    char block[16384];
    ck_assert_int_eq(ftruncate(part_file, 0), 0);
    for (int64_t at = 0; at < size;) {
        int64_t begin = at;
        size_t n = 0;
        for (; n < sizeof block && at < size; n++, at++)
            block[n] = (char)file_byte(of_version, at);
        ck_assert_int_eq(pwrite(part_file, block, n, begin), (ssize_t)n);
    }
    job.known = (struct resume_known){have, FILE_SIZE, honest.etag, honest.modified, false};
}

/* Returns how long it is. */
static int64_t assert_file_begins(unsigned of_version, int64_t size)
{
    static uint8_t bytes[2 * MIB];
    ssize_t n = pread(part_file, bytes, sizeof bytes, 0);
    ck_assert_int_ge(n, size);
    for (int64_t at = 0; at < size; at++)
        if (bytes[at] != file_byte(of_version, at))
            ck_abort_msg("byte %lld is wrong", (long long)at);
    return n;
}

static void assert_file(unsigned of_version, int64_t size)
{
    ck_assert_uint_eq(opens, 1);
    ck_assert_int_eq(outcome.written, size);
    ck_assert_int_eq(outcome.total, size);
    ck_assert_int_eq(assert_file_begins(of_version, size), size);
}

static void assert_whole(int r, unsigned of_version, int64_t size)
{
    ck_assert_msg(r == 0, "%d: %s", r, result->error_message);
    ck_assert_ptr_null(result->error_code);
    assert_file(of_version, size);
}

static const struct {
    int64_t have;
    int64_t size; /* of the part file */
    const char *etag;
    const char *modified;
    const char *condition; /* NULL: none is sent */
    bool chunked;
} resumes[] = {
    {500000,             500000,          "\"one\"", DATE, "If-Range: \"one\"\r\n",  false},
    {500000,             500000,          "\"one\"", NULL, "If-Range: \"one\"\r\n",  false},
    {500000,             500000,          NULL,      DATE, "If-Range: " DATE "\r\n", false},
    {500000,             500000,          "W/\"w\"", DATE, NULL,                     false},
    {500000,             500000,          "\"one\"", DATE, "If-Range: \"one\"\r\n",  true },
    {500000,             700000,          "\"one\"", DATE, "If-Range: \"one\"\r\n",  false},
    {500000,             FILE_SIZE + 999, "\"one\"", DATE, "If-Range: \"one\"\r\n",  false},
    {RESUME_OVERLAP + 1, 500000,          "\"one\"", DATE, "If-Range: \"one\"\r\n",  false},
    {FILE_SIZE - 1,      FILE_SIZE - 1,   "\"one\"", DATE, "If-Range: \"one\"\r\n",  false},
    {FILE_SIZE,          FILE_SIZE,       "\"one\"", DATE, "If-Range: \"one\"\r\n",  false},
    {FILE_SIZE + 5,      FILE_SIZE + 9,   "\"one\"", DATE, "If-Range: \"one\"\r\n",  false},
    {900000,             500000,          "\"one\"", DATE, "If-Range: \"one\"\r\n",  false},
};

START_TEST(test_resume)
{
    int64_t have = resumes[_i].have < resumes[_i].size ? resumes[_i].have : resumes[_i].size;
    have = have < FILE_SIZE ? have : FILE_SIZE;
    struct file file = honest;
    file.etag = resumes[_i].etag;
    file.modified = resumes[_i].modified;
    file.part_chunked = resumes[_i].chunked;
    serve_file(&file);
    leave_part(0, resumes[_i].size, resumes[_i].have);
    if (resumes[_i].size > have) /* these bytes were never promised */
        ck_assert_int_eq(pwrite(part_file, "garbage", 7, have), 7);
    job.known.etag = file.etag;
    job.known.last_modified = file.modified;

    assert_whole(go_on("/file"), 0, FILE_SIZE);
    ck_assert_uint_eq(requests_made(), 1);
    ck_assert_int_eq(result->http_status, 206);
    ck_assert(was_asked(0, "\r\nRange: bytes="));
    ck_assert(!was_asked(0, "Accept-Encoding"));
    if (resumes[_i].condition)
        ck_assert(was_asked(0, resumes[_i].condition));
    else
        ck_assert(!was_asked(0, "If-Range"));
    ck_assert_int_eq(file_bytes_sent(), FILE_SIZE - have + RESUME_OVERLAP);
    ck_assert_int_eq(result->bytes_total, file_bytes_sent());
    ck_assert_int_eq(outcome.progress, have < FILE_SIZE);
    ck_assert_uint_eq(versions, 1);
    ck_assert_int_eq(version.start, have);
    ck_assert_int_eq(version.total, FILE_SIZE);
    ck_assert_str_eq(version.why, "");
}
END_TEST

/* Too little is there, nobody can know it again, or it is gone: all of it, by one request. */
START_TEST(test_resume_useless)
{
    static const struct {
        int64_t have, size, total;
        bool known;
        const char *why;
    } useless[] = {
        {RESUME_OVERLAP, RESUME_OVERLAP, FILE_SIZE, true,  ""       },
        {500000,         500000,         FILE_SIZE, false, "nothing"},
        {500000,         500000,         -1,        true,  "nothing"},
        {500000,         0,              FILE_SIZE, true,  "missing"},
        {500000,         1000,           FILE_SIZE, true,  "missing"},
    };
    serve_file(&honest);
    leave_part(1, useless[_i].size, useless[_i].have);
    job.known.total = useless[_i].total;
    if (!useless[_i].known)
        job.known.etag = job.known.last_modified = NULL;
    assert_whole(go_on("/file"), 0, FILE_SIZE);
    ck_assert_uint_eq(requests_made(), 1);
    ck_assert(!was_asked(0, "Range"));
    ck_assert_int_eq(version.start, 0);
    ck_assert_ptr_nonnull(strstr(version.why, useless[_i].why));
    ck_assert(outcome.progress);
}
END_TEST

/* One byte of the overlap is another one. */
START_TEST(test_other_bytes)
{
    static const int64_t places[] = {499999, 500000 - RESUME_OVERLAP, 470000};
    uint8_t wrong = (uint8_t)~file_byte(0, places[_i]);
    serve_file(&honest);
    leave_part(0, 500000, 500000);
    ck_assert_int_eq(pwrite(part_file, &wrong, 1, places[_i]), 1);
    assert_whole(go_on("/file"), 0, FILE_SIZE);
    ck_assert_uint_eq(requests_made(), 2);
    ck_assert(was_asked(0, "\r\nRange"));
    ck_assert(!was_asked(1, "Range"));
    ck_assert_uint_eq(versions, 2);
    ck_assert_int_eq(version.start, 0);
    ck_assert_str_eq(version.why, "the server has other bytes than those that are there; "
                                  "started again from zero");
}
END_TEST

/* What else can come of asking for a part; the part file is of version 0. */
#define PART(headers)    .part_head = "HTTP/1.1 206 Part\r\n" headers "\r\n"
#define FIRST(headers)   .part_once = "HTTP/1.1 206 Part\r\n" headers "\r\n"
#define REFUSAL(headers) "HTTP/1.1 416 No\r\nContent-Length: 0\r\n" headers "\r\n"
#define RANGE(range)     "Content-Range: bytes " range "\r\n"
#define TAGGED(range)    "ETag: \"one\"\r\n" RANGE(range)
#define FILE_OF(size, version, etag, modified, ...)                                                \
    {                                                                                              \
        size, version, etag, modified, .cut = 0, __VA_ARGS__                                       \
    }
#define ONE(...) FILE_OF(FILE_SIZE, 0, "\"one\"", DATE, __VA_ARGS__)

/* clang-format off */
static const struct {
    struct file file;
    unsigned requests;
    const char *code; /* NULL: the file is fetched */
    int64_t start;    /* where the bytes go on that were kept */
} answers_to_range[] = {
    /* the same file, but only as a whole */
    {ONE(.ignores_ranges = true), 1, NULL, 0},
    /* another file */
    {FILE_OF(FILE_SIZE, 1, "\"two\"", OTHER_DATE), 1, NULL, 0},
    {FILE_OF(FILE_SIZE + 5, 1, "\"two\"", DATE), 1, NULL, 0},
    {FILE_OF(5, 1, "\"two\"", OTHER_DATE), 1, NULL, 0},
    {FILE_OF(FILE_SIZE, 1, "\"two\"", NULL), 1, NULL, 0},
    {FILE_OF(FILE_SIZE, 1, NULL, NULL, .ignores_ranges = true), 1, NULL, 0},
    /* a node with an ETag of its own; the same, but it has other bytes */
    {FILE_OF(FILE_SIZE, 0, "\"node\"", DATE), 2, NULL, 500000},
    {FILE_OF(FILE_SIZE, 0, "\"node\"", DATE, .ignores_ranges = true), 2, NULL, 0},
    {FILE_OF(FILE_SIZE, 0, "\"node\"", DATE, .loses_ranges = true), 2, NULL, 0},
    {FILE_OF(FILE_SIZE, 1, "\"node\"", DATE), 3, NULL, 0},
    /* nonsense */
    {ONE(PART(TAGGED("434465-1048582/1048583"))), 1, "protocol", -1},
    {ONE(PART(TAGGED("434464-1048582/1048584"))), 1, "protocol", -1},
    {ONE(PART(TAGGED("434464-1048582/1048583") "Content-Length: 614118\r\n")), 1, "protocol", -1},
    {ONE(PART("ETag: \"one\"\r\n")), 1, "protocol", -1},
    {ONE(.part_head = REFUSAL("")), 1, "protocol", -1},
    {ONE(.part_head = REFUSAL(RANGE("*/1048583"))), 1, "protocol", -1},
    {ONE(.part_head = "HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n"), 1, "http", -1},
    /* the part ends before the file does: at 600,000 bytes, and among those that are there */
    {FILE_OF(600000, 0, "\"one\"", DATE, PART(TAGGED("434464-599999/1048583"))),
     1, "truncated", 500000},
    {FILE_OF(450000, 0, "\"one\"", DATE, PART(TAGGED("434464-449999/1048583"))),
     1, "truncated", 500000},
    /* more or fewer bytes than the part has */
    {ONE(PART(TAGGED("434464-1048581/1048583"))), 1, "protocol", 500000},
    {FILE_OF(FILE_SIZE + 1, 0, "\"one\"", DATE, PART(TAGGED("434464-1048582/1048583"))),
     1, "protocol", 500000},
    {FILE_OF(FILE_SIZE - 1, 0, "\"one\"", DATE, PART(TAGGED("434464-1048582/1048583"))),
     1, "truncated", 500000},
    /* changed, as the part or the refusal shows */
    {FILE_OF(FILE_SIZE + 7, 1, "\"two\"", DATE,
             FIRST("ETag: \"two\"\r\n" RANGE("434464-1048589/1048590"))), 2, NULL, 0},
    {FILE_OF(FILE_SIZE, 1, "\"two\"", OTHER_DATE,
             FIRST("ETag: \"two\"\r\n" RANGE("434464-1048582/1048583"))), 2, NULL, 0},
    {ONE(FIRST("Content-Encoding: gzip\r\n" TAGGED("434464-1048582/1048583"))), 2, NULL, 0},
    {FILE_OF(1000, 1, "\"two\"", DATE, .part_once = REFUSAL(RANGE("*/1000"))), 2, NULL, 0},
};
/* clang-format on */

START_TEST(test_answer_to_range)
{
    const struct file *file = &answers_to_range[_i].file;
    const char *code = answers_to_range[_i].code;
    int64_t start = answers_to_range[_i].start;
    serve_file(file);
    leave_part(0, 500000, 500000);
    int r = go_on("/file");
    ck_assert_uint_eq(requests_made(), answers_to_range[_i].requests);
    if (code) {
        assert_failed(r, code);
        ck_assert_int_ge(outcome.written, 500000);
        ck_assert_int_eq(outcome.progress, outcome.written > 500000);
        assert_file_begins(0, outcome.written);
        ck_assert_uint_eq(versions, start > 0);
        return;
    }
    assert_whole(r, file->version, file->size);
    ck_assert_int_eq(version.start, start);
    ck_assert_str_eq(version.etag, file->etag ? file->etag : "");
    if (start == 0)
        ck_assert_ptr_nonnull(strstr(version.why, "; started again from zero"));
    else
        ck_assert_str_eq(version.why, "");
}
END_TEST

/* Cut again and again, a file is fetched once, but for the overlaps. */
START_TEST(test_many_cuts)
{
    int cuts = 0, r = -EIO;
    int64_t sent = 0;
    unsigned seed = (unsigned)units_now_realtime() + (unsigned)_i;
    struct file file = honest;
    printf("# seed %u\n", seed);
    leave_part(0, 0, 0);
    while (r != 0) {
        ck_assert_int_lt(cuts, 100);
        file.cut = RESUME_OVERLAP + 1 + rand_r(&seed) % 60000;
        serve_file(&file);
        int64_t before = outcome.written;
        r = go_on("/file");
        sent += file_bytes_sent();
        if (r == 0)
            break;
        cuts++;
        assert_failed(r, "truncated");
        ck_assert(outcome.progress);
        ck_assert_int_gt(outcome.written, before);
        job.known =
            (struct resume_known){outcome.written, outcome.total, file.etag, file.modified, false};
    }
    assert_file(0, FILE_SIZE);
    ck_assert_int_ge(cuts, 5);
    ck_assert_int_le(sent, FILE_SIZE + (int64_t)cuts * RESUME_OVERLAP);
}
END_TEST

START_TEST(test_cut_within_overlap)
{
    struct file file = honest;
    file.cut = 1000;
    serve_file(&file);
    leave_part(0, 500000, 500000);
    assert_failed(go_on("/file"), "truncated");
    ck_assert(!outcome.progress);
    ck_assert_int_eq(outcome.written, 500000);
    assert_file_begins(0, 500000);
}
END_TEST

/* The second request, from zero, fails: what is there stays until other bytes come. */
START_TEST(test_failed_second_request)
{
    struct file file = honest;
    file.cut = -1;
    file.part_once = REFUSAL(RANGE("*/1000"));
    serve_file(&file);
    leave_part(0, 500000, 500000);
    assert_failed(go_on("/file"), "reset");
    ck_assert_uint_eq(requests_made(), 2);
    ck_assert_uint_eq(versions, 0);
    ck_assert(!outcome.progress);
    ck_assert_int_eq(outcome.written, 500000);
    assert_file_begins(0, 500000);
}
END_TEST

/* Of another version nothing is left behind, however little comes of the new one. */
START_TEST(test_new_version_cut)
{
    struct file file = {.size = FILE_SIZE, .version = 1, .etag = "\"two\"", .cut = 200000};
    serve_file(&file);
    leave_part(0, 500000, 500000);
    assert_failed(go_on("/file"), "truncated");
    ck_assert_int_eq(outcome.written, 200000);
    ck_assert_int_eq(assert_file_begins(1, 200000), 200000);
    ck_assert_int_eq(version.start, 0);
    ck_assert_str_eq(version.etag, "\"two\"");
    ck_assert(!outcome.progress);
}
END_TEST

/* The rest comes without the validators; they are known still. */
START_TEST(test_terse_part)
{
    static const char *const parts[] = {
        "HTTP/1.1 206 Part\r\n" TAGGED("434464-1048582/1048583") "\r\n",
        "HTTP/1.1 206 Part\r\nLast-Modified: " DATE "\r\n" RANGE("434464-1048582/1048583") "\r\n",
    };
    struct file file = honest;
    file.part_head = parts[_i];
    serve_file(&file);
    leave_part(0, 500000, 500000);
    assert_whole(go_on("/file"), 0, FILE_SIZE);
    ck_assert_str_eq(version.etag, "\"one\"");
    ck_assert_str_eq(version.modified, DATE);
}
END_TEST

START_TEST(test_open_error_on_resume)
{
    leave_part(0, 500000, 500000);
    open_error = -ENOENT;
    ck_assert_int_eq(go_on("/file"), -ENOENT);
    ck_assert_int_eq(outcome.written, 500000);
    ck_assert(!outcome.progress);
    ck_assert_uint_eq(requests_made(), 0);
    ck_assert_ptr_null(result->error_code);
}
END_TEST

START_TEST(test_checksum)
{
    static const char *const right[] = {"sha-256=" FILE_SHA256,
                                        "md5=6afe401dad84773b8e640ec0d322f1f2"};
    serve_file(&honest);
    for (int64_t have = 0; have <= 500000; have += 500000) {
        for (size_t i = 0; i < sizeof right / sizeof *right; i++) {
            leave_part(0, have, have);
            job.checksum = right[i];
            assert_whole(go_on("/file"), 0, FILE_SIZE);
            ck_assert_int_eq(version.start, have);
        }
        leave_part(0, have, have);
        job.checksum = "sha-256=0000000000000000000000000000000000000000000000000000000000000000";
        assert_failed(go_on("/file"), "checksum");
        ck_assert_ptr_nonnull(strstr(result->error_message, FILE_SHA256));
        ck_assert_ptr_nonnull(strstr(result->error_message, job.checksum + 8));
    }
    /* The bytes before the overlap are checked as well. */
    leave_part(0, 500000, 500000);
    ck_assert_int_eq(pwrite(part_file, "wrong", 5, 100), 5);
    job.checksum = right[0];
    assert_failed(go_on("/file"), "checksum");

    leave_part(0, 0, 0);
    job.checksum =
        "sha-512=000000000000000000000000000000000000000000000000000000000000000000000000"
        "00000000000000000000000000000000000000000000000000000000";
    assert_failed(go_on("/length"), "checksum");
    ck_assert_ptr_nonnull(strstr(result->error_message, job.checksum + 8));
    ck_assert_ptr_nonnull(strstr(result->error_message, "9b71d224bd62f3785d96d46ad3ea3d73319bfbc28"
                                                        "90caadae2dff72519673ca72323c3d99ba5c11d"
                                                        "7c7acc6e14b8c5da0c4663475c2e5c3adef46f7"
                                                        "3bcdec043"));
}
END_TEST

/* From zero after all: what was hashed before does not count. */
START_TEST(test_checksum_from_zero)
{
    serve_file(&honest);
    leave_part(1, 500000, 500000);
    job.checksum = "sha-256=" FILE_SHA256;
    assert_whole(go_on("/file"), 0, FILE_SIZE);
    ck_assert_uint_eq(requests_made(), 2);
}
END_TEST

START_TEST(test_max_size)
{
    job.max_size = 5;
    ck_assert_int_eq(fetch("/length"), 0);
    ck_assert_int_eq(fetch("/chunked"), 0);
    job.max_size = 4;
    assert_failed(fetch("/length"), "too_large");
    ck_assert_uint_eq(opens, 0);
    assert_failed(fetch("/chunked"), "too_large");
    ck_assert_int_le(outcome.written, 4);

    job.max_size = MIB;
    assert_failed(fetch("/large-until-close"), "too_large");
    ck_assert_int_le(outcome.written, MIB);
    serve_file(&honest);
    leave_part(0, 500000, 500000);
    assert_failed(go_on("/file"), "too_large");
    ck_assert_uint_eq(versions, 0);
}
END_TEST

/* What trickles in is written and told within about a second. */
START_TEST(test_trickle)
{
    cancel_at_progress = true;
    int64_t begin = units_now_boottime();
    ck_assert_int_eq(fetch("/hang-in-body"), -ECANCELED);
    ck_assert_int_le(units_now_boottime() - begin, 1700);
    ck_assert_int_eq(progress, 5);
    assert_part("hello");
}
END_TEST

START_TEST(test_progress)
{
    ck_assert_int_eq(fetch("/large"), 0);
    ck_assert_int_eq(progress, LARGE);
    ck_assert_int_eq(outcome.written, LARGE);
    ck_assert(outcome.progress);
    assert_failed(fetch("/404"), "http");
    ck_assert(!outcome.progress);
}
END_TEST

START_TEST(test_retry_after)
{
    static const struct {
        const char *path;
        int64_t after;
    } waits[] = {
        {"/wait-seconds",  7000   },
        {"/wait-past",     0      },
        {"/wait-long",     3600000},
        {"/wait-nonsense", -1     },
        {"/wait-there",    -1     }, /* the last response asks for nothing */
        {"/503",           -1     },
    };
    assert_failed(fetch(waits[_i].path), "http");
    ck_assert_int_eq(result->retry_after, waits[_i].after);
}
END_TEST

START_TEST(test_head)
{
    ck_assert_int_eq(fetch("/described"), 0);
    ck_assert_str_eq(version.etag, "\"e\"");
    ck_assert_str_eq(version.modified, DATE);
    ck_assert_str_eq(version.disposition, "attachment; filename=a.txt");
    ck_assert_int_eq(version.total, 5);
    ck_assert(version.no_ranges && !version.encoded);

    ck_assert_int_eq(fetch("/bad-validators"), 0);
    ck_assert_str_eq(version.etag, "");
    ck_assert_str_eq(version.modified, "");

    /* Saved as sent, and never gone on with. */
    ck_assert_int_eq(fetch("/real-gzip"), 0);
    assert_part("\x1f\x8b\x08!!");
    ck_assert(version.encoded);
    ck_assert_str_eq(version.etag, "");
    ck_assert_str_eq(version.modified, "");

    ck_assert_int_eq(fetch("/chunked-once"), 0);
    ck_assert_int_eq(version.total, -1);
    ck_assert_int_eq(outcome.total, 5);
}
END_TEST

/* What was given for one server is for that one alone. */
START_TEST(test_headers)
{
    anywhere = true;
    char url[128];
    options.headers = "X-Secret: one\nAuthorization: Bearer two\nCookie: c=three\r\n"
                      "Range: bytes=0-1\nif-range: \"x\"\n";
    ck_assert_int_eq(fetch("/hop"), 0);
    for (unsigned i = 0; i < 3; i++) {
        ck_assert(was_asked(i, "\r\nX-Secret: one\r\n"));
        ck_assert(was_asked(i, "\r\nAuthorization: Bearer two\r\n"));
        ck_assert(was_asked(i, "\r\nCookie: c=three\r\n"));
        ck_assert(!was_asked(i, "ange:"));
    }

    snprintf(url, sizeof url, "/to/http://localhost:%u/to/http://127.0.0.1:%u/length", server.port,
             server.port);
    ck_assert_int_eq(fetch(url), 0);
    assert_part("hello");
    ck_assert_uint_eq(requests_made(), 3);
    ck_assert(was_asked(0, "X-Secret"));
    for (unsigned i = 1; i < 3; i++) { /* nor when it leads back */
        ck_assert(!was_asked(i, "X-Secret"));
        ck_assert(!was_asked(i, "Authorization"));
        ck_assert(!was_asked(i, "Cookie"));
    }

    snprintf(url, sizeof url, "/to/http://localhost:%u/hop", server.port);
    ck_assert_int_eq(fetch(url), 0);
    ck_assert_uint_eq(requests_made(), 4);
    for (unsigned i = 1; i < 4; i++)
        ck_assert(!was_asked(i, "X-Secret"));

    /* The next transfer gets them again, the proxy's own request does not. */
    ck_assert_int_eq(fetch("/length"), 0);
    ck_assert(was_asked(0, "X-Secret"));
    char proxy[64];
    snprintf(proxy, sizeof proxy, "http://127.0.0.1:%u", server.port);
    options.proxy = proxy;
    assert_failed(fetch("https://far.invalid/x"), "connect");
    ck_assert(was_asked(0, "CONNECT far.invalid:443"));
    ck_assert(!was_asked(0, "X-Secret"));

    options.proxy = options.headers = NULL;
    ck_assert_int_eq(fetch("/length"), 0);
    ck_assert(!was_asked(0, "X-Secret"));
}
END_TEST

START_TEST(test_headers_other_port)
{
    unsigned port;
    char url[64], request[2048] = "";
    int listener = listen_on_loopback(&port);
    anywhere = true;
    ck_assert_int_eq(listen(listener, 1), 0);
    snprintf(url, sizeof url, "/to/http://127.0.0.1:%u/x", port);
    options.headers = "X-Secret: one\nAuthorization: Bearer two\n";
    options.stall_timeout = 300;
    assert_failed(fetch(url), "stalled"); /* nobody answers there, but what was asked waits */
    int fd = accept(listener, NULL, NULL);
    ck_assert_int_gt(recv(fd, request, sizeof request - 1, 0), 0);
    ck_assert_ptr_nonnull(strstr(request, "GET /x HTTP/1.1"));
    ck_assert_ptr_null(strstr(request, "X-Secret"));
    ck_assert_ptr_null(strstr(request, "Authorization"));
    close(fd);
    close(listener);
}
END_TEST

START_TEST(test_login)
{
    char url[256];
    anywhere = true;
    snprintf(url, sizeof url, "http://user:pass@127.0.0.1:%u/hop", server.port);
    ck_assert_int_eq(fetch(url), 0);
    for (unsigned i = 0; i < 3; i++)
        ck_assert(was_asked(i, "Authorization: Basic dXNlcjpwYXNz\r\n"));

    snprintf(url, sizeof url, "http://user:pass@127.0.0.1:%u/to/http://127.0.0.1:%u/length",
             server.port, server.port);
    ck_assert_int_eq(fetch(url), 0);
    ck_assert(was_asked(1, "Authorization: Basic dXNlcjpwYXNz\r\n"));

    snprintf(url, sizeof url, "http://user:pass@127.0.0.1:%u/to/http://localhost:%u/length",
             server.port, server.port);
    ck_assert_int_eq(fetch(url), 0);
    ck_assert(was_asked(0, "Authorization"));
    ck_assert(!was_asked(1, "Authorization"));

    snprintf(url, sizeof url, "http://user:pass@127.0.0.1:%u/to///localhost:%u/length", server.port,
             server.port);
    ck_assert_int_eq(fetch(url), 0);
    ck_assert(was_asked(0, "Authorization"));
    ck_assert(was_asked(1, "Host: localhost"));
    ck_assert(!was_asked(1, "Authorization"));
}
END_TEST

/* The part that is wanted is asked for wherever the file is. */
START_TEST(test_resume_elsewhere)
{
    char url[128];
    anywhere = true;
    serve_file(&honest);
    leave_part(0, 500000, 500000);
    snprintf(url, sizeof url, "/to/http://localhost:%u/file", server.port);
    assert_whole(go_on(url), 0, FILE_SIZE);
    ck_assert_uint_eq(requests_made(), 2);
    ck_assert(was_asked(1, "\r\nRange: bytes=434464-\r\n"));
    ck_assert(was_asked(1, "\r\nIf-Range: \"one\"\r\n"));
}
END_TEST

/* An FTP server for one control connection after the other: "file" has 5 bytes, "empty" none,
 * "large" is a file as above; in the directory "rigid" nothing begins in the middle. */
struct ftp {
    int control;
    int data_listener;
    unsigned data_port;
    int64_t rest;
    bool rigid;
};

static const char *ftp_reply(const char *line)
{
    bool file = strstr(line, " file\r\n"), empty = strstr(line, " empty\r\n");
    bool large = strstr(line, " large\r\n");

    if (strncmp(line, "USER", 4) == 0)
        return "331 password?\r\n";
    if (strncmp(line, "PASS", 4) == 0)
        return strcmp(line, "PASS wrong\r\n") == 0 ? "530 no\r\n" : "230 hello\r\n";
    if (strncmp(line, "PWD", 3) == 0)
        return "257 \"/\"\r\n";
    if (strncmp(line, "CWD", 3) == 0)
        return "250 here\r\n";
    if (strncmp(line, "TYPE", 4) == 0)
        return "200 binary\r\n";
    if (strncmp(line, "MDTM", 4) == 0)
        return large ? "213 19941106084937\r\n" : "550 none\r\n";
    if (strncmp(line, "SIZE", 4) == 0)
        return file    ? "213 5\r\n"
               : empty ? "213 0\r\n"
               : large ? "213 1048583\r\n"
                       : "550 none\r\n";
    if (strncmp(line, "RETR", 4) == 0)
        return file || empty || large ? "150 coming\r\n" : "550 none\r\n";
    return "500 what?\r\n";
}

static bool send_ftp_file(struct ftp *ftp, const char *line)
{
    int fd = accept(ftp->data_listener, NULL, NULL);
    if (strstr(line, " large\r\n"))
        send_file(fd, &honest, ftp->rest, false);
    else
        send_all(fd, "hello", strstr(line, " file\r\n") ? 5 : 0);
    close(fd);
    ftp->rest = 0;
    return send_all(ftp->control, "226 done\r\n", 10);
}

static bool answer_ftp(struct ftp *ftp, const char *line)
{
    char passive[64];
    const char *reply = ftp_reply(line);
    log_request(line);
    if (strncmp(line, "EPSV", 4) == 0) {
        struct pollfd stale = {.fd = ftp->data_listener, .events = POLLIN};
        while (poll(&stale, 1, 0) > 0) /* of a file that was not asked for in the end */
            close(accept(ftp->data_listener, NULL, NULL));
        snprintf(passive, sizeof passive, "229 here (|||%u|)\r\n", ftp->data_port);
        reply = passive;
    } else if (strncmp(line, "CWD rigid", 9) == 0) {
        ftp->rigid = true;
    } else if (strncmp(line, "REST", 4) == 0 && !ftp->rigid) {
        ftp->rest = strtoll(line + 5, NULL, 10);
        reply = "350 from there\r\n";
    }
    if (!send_all(ftp->control, reply, strlen(reply)))
        return false;
    if (strncmp(reply, "150", 3) == 0)
        return send_ftp_file(ftp, line);
    return strncmp(line, "QUIT", 4) != 0;
}

static struct {
    pthread_t thread;
    int listener, data_listener;
    unsigned port, data_port;
} ftp_server;

static void *serve_ftp(void *arg)
{
    struct ftp ftp = {.data_listener = ftp_server.data_listener, .data_port = ftp_server.data_port};
    while ((ftp.control = accept(*(int *)arg, NULL, NULL)) >= 0) {
        char line[256];
        bool stays = send_all(ftp.control, "220 hello\r\n", 11);
        while (stays) {
            ssize_t n = recv(ftp.control, line, sizeof line - 1, 0); /* curl sends line by line */
            line[n > 0 ? n : 0] = '\0';
            stays = n > 0 && answer_ftp(&ftp, line);
        }
        close(ftp.control);
    }
    close(ftp.data_listener);
    return NULL;
}

static void start_ftp(void)
{
    start();
    ftp_server.listener = listen_on_loopback(&ftp_server.port);
    ck_assert_int_eq(listen(ftp_server.listener, 4), 0);
    ftp_server.data_listener = listen_on_loopback(&ftp_server.data_port);
    ck_assert_int_eq(listen(ftp_server.data_listener, 4), 0);
    ck_assert_int_eq(pthread_create(&ftp_server.thread, NULL, serve_ftp, &ftp_server.listener), 0);
}

static void stop_ftp(void)
{
    transfer_destroy(transfer); /* ends the control connection */
    transfer = NULL;
    shutdown(ftp_server.listener, SHUT_RDWR);
    pthread_join(ftp_server.thread, NULL);
    close(ftp_server.listener);
    stop();
}

static int go_on_ftp(const char *login, const char *path)
{
    char url[128];
    snprintf(url, sizeof url, "ftp://%s127.0.0.1:%u/%s", login, ftp_server.port, path);
    return go_on(url);
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
    int r = go_on_ftp(files[_i].login, files[_i].path);
    ck_assert_uint_eq(responses, 0);
    ck_assert_int_eq(result->http_status, files[_i].status);
    if (files[_i].code) {
        assert_failed(r, files[_i].code);
        ck_assert_uint_eq(opens, 0);
    } else {
        ck_assert_msg(r == 0, "%d: %s", r, result->error_message);
        assert_part(files[_i].content);
        ck_assert_str_eq(version.modified, "");
    }
}
END_TEST

START_TEST(test_ftp_resume)
{
    static const struct {
        const char *path;
        int64_t total;
        const char *modified;
        unsigned part; /* the version that is there */
        int64_t start;
    } files[] = {
        {"large",       FILE_SIZE,       DATE,       0, 500000},
        {"large",       FILE_SIZE,       DATE,       1, 0     },
        {"large",       FILE_SIZE,       OTHER_DATE, 1, 0     },
        {"large",       FILE_SIZE + 1,   DATE,       1, 0     },
        {"rigid/large", FILE_SIZE,       DATE,       0, 0     },
        {"large",       FILE_SIZE * 3LL, DATE,       1, 0     }, /* shorter than what is there */
    };
    int64_t have = files[_i].total > 2 * FILE_SIZE ? 2 * FILE_SIZE : 500000;
    leave_part(files[_i].part, have, have);
    job.known = (struct resume_known){have, files[_i].total, NULL, files[_i].modified, false};
    assert_whole(go_on_ftp("", files[_i].path), 0, FILE_SIZE);
    ck_assert_int_eq(version.start, files[_i].start);
    ck_assert_int_eq(version.total, FILE_SIZE);
    ck_assert_str_eq(version.modified, DATE);
    ck_assert_int_eq(version.why[0] == '\0', files[_i].start > 0);
    if (files[_i].start > 0)
        ck_assert_int_eq(file_bytes_sent(), FILE_SIZE - have + RESUME_OVERLAP);
}
END_TEST

/* Where downloads may go. The verdicts themselves are check_address's. */

static struct ip_address ip(const char *text)
{
    struct ip_address address;
    ck_assert(address_parse(text, &address));
    return address;
}

static void assert_refused(int r, const char *text)
{
    assert_failed(r, "address");
    ck_assert_msg(strstr(result->error_message, text), "%s", result->error_message);
    ck_assert_uint_eq(opens, 0);
}

START_TEST(test_never)
{
    static const char *const urls[] = {
        "http://169.254.169.254/x?secret",
        "http://2852039166/", /* the same in other ways */
        "http://0xa9fea9fe/",
        "http://0251.0376.0251.0376/",
        "http://169.254.43518/",
        "http://[::ffff:169.254.169.254]/",
        "http://[::ffff:a9fe:a9fe]/",
        "http://[64:ff9b::a9fe:a9fe]/",
        "http://[2002:a9fe:a9fe::1]/",
        "http://[::a9fe:a9fe]/",
        "https://user:secret@169.254.169.254/",
        "ftp://169.254.169.254/x",
        "sftp://169.254.169.254/x",
        "http://100.100.100.200/",
        "http://[fd00:ec2::254]/",
        "http://169.254.1.1/",
        "http://[fe80::1]/",
        "http://[fe80::1%25lo]/",
        "http://0.0.0.0/",
        "http://0/",
        "http://[::]/",
        "http://224.0.0.1/",
        "http://[ff02::1]/",
        "http://255.255.255.255/",
    };
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        assert_refused(fetch(urls[i]), "nothing is downloaded from");
        ck_assert_uint_eq(requests_made(), 0);
    }
    char url[64];
    snprintf(url, sizeof url, "http://0.0.0.0:%u/length", server.port);
    assert_refused(fetch(url), "an unspecified address");
    snprintf(url, sizeof url, "/to/http://0:%u/length", server.port);
    assert_refused(fetch(url), "an unspecified address");
    ck_assert_uint_eq(requests_made(), 1);
}
END_TEST

START_TEST(test_redirect_inside)
{
    char url[128];
    snprintf(url, sizeof url, "/to/http://localhost:%u/length", server.port);
    assert_refused(fetch(url), "add that URL itself");
    ck_assert_uint_eq(requests_made(), 1);
    snprintf(url, sizeof url, "/to/http://127.0.0.2:%u/length", server.port);
    assert_refused(fetch(url), "is at 127.0.0.2, a loopback address");
    assert_refused(fetch("/to/http://127.0.0.1:9/?secret"), "redirects to 127.0.0.1:9,");
    assert_refused(fetch("/to/http://10.0.0.1/"), "a private address");
    assert_refused(fetch("/to/http://[::1]:9/"), "is at ::1");
    snprintf(url, sizeof url, "/to/http://127.0.0.1:%u/length", server.port);
    ck_assert_int_eq(fetch(url), 0);
    assert_part("hello");
}
END_TEST

/* A connection that one download may use is refused to another, though it stands. */
START_TEST(test_pooled_connection)
{
    char typed[128], url[128];
    snprintf(typed, sizeof typed, "http://localhost:%u/length", server.port);
    snprintf(url, sizeof url, "/to/http://localhost:%u/length", server.port);
    ck_assert_int_eq(fetch(typed), 0);
    ck_assert_int_eq(fetch("/length"), 0);
    unsigned accepted = atomic_load(&server.accepted);
    assert_refused(fetch(url), "add that URL itself");
    ck_assert_uint_eq(requests_made(), 1);
    anywhere = true; /* just to see that the connection would have been used */
    ck_assert_int_eq(fetch(typed), 0);
    ck_assert_int_eq(fetch(url), 0);
    ck_assert_uint_le(atomic_load(&server.accepted), accepted + 1); /* the refused one is closed */
}
END_TEST

START_TEST(test_own_listener)
{
    uint16_t port = (uint16_t)server.port;
    struct address_endpoint listeners[] = {
        {ip("127.0.0.1"), port},
        {ip("::1"),       port},
    };
    struct address_policy policy = {.listeners = listeners, .listener_count = 2};
    char url[128];
    ck_assert_int_eq(fetch("/length"), 0);
    options.policy = &policy; /* the connection from before is of no use */
    assert_refused(fetch("/length"), "is this service itself");
    snprintf(url, sizeof url, "http://localhost:%u/length", server.port);
    assert_refused(fetch(url), "is this service itself");
    snprintf(url, sizeof url, "http://127.0.0.2:%u/length", server.port);
    assert_failed(fetch(url), "connect");

    policy.listener_count = 1;
    listeners[0].address = ip("0.0.0.0");
    assert_refused(fetch("/length"), "is this service itself");
    assert_refused(fetch(url), "is this service itself");
    listeners[0].address = ip("::");
    assert_refused(fetch("/length"), "is this service itself");
    listeners[0].port++;
    ck_assert_int_eq(fetch("/length"), 0);
}
END_TEST

START_TEST(test_denied)
{
    struct address_network denied;
    struct address_policy policy = {.denied = &denied, .denied_count = 1};
    char url[128];
    ck_assert_int_eq(address_parse_network("127.0.0.1", &denied), 0);
    options.policy = &policy;
    assert_refused(fetch("/length"), "deny-networks");
    snprintf(url, sizeof url, "http://localhost:%u/length", server.port);
    ck_assert_int_eq(fetch(url), -EIO);
    ck_assert_int_eq(atomic_load(&server.accepted), 0);

    /* Of several addresses, the others are tried. */
    ck_assert_int_eq(address_parse_network("::1", &denied), 0);
    ck_assert_int_eq(fetch(url), 0);
    assert_part("hello");
}
END_TEST

START_TEST(test_moved_inside)
{
    ck_assert_int_eq(fetch("/length"), 0);
    ck_assert(!result->was_global);
    options.was_global = true;
    assert_refused(fetch("/length"), "was at a public one before");

    options.was_global = false;
    everything_global = true;
    ck_assert_int_eq(fetch("/length"), 0);
    ck_assert(!result->was_global); /* it is this machine's own */
    everything_elsewhere = true;
    ck_assert_int_eq(fetch("/length"), 0);
    ck_assert(result->was_global);
    anywhere = true; /* where a redirect leads does not count */
    char url[128];
    snprintf(url, sizeof url, "/to/http://localhost:%u/404", server.port);
    everything_global = false;
    assert_failed(fetch(url), "http");
    ck_assert(!result->was_global);
}
END_TEST

START_TEST(test_policy_with_proxy)
{
    char proxy[64];
    snprintf(proxy, sizeof proxy, "http://127.0.0.1:%u", server.port);
    options.proxy = proxy; /* a loopback address, that nobody typed */
    ck_assert_int_eq(fetch("http://far.invalid/x?secret"), 0);
    ck_assert_int_eq(fetch("http://127.0.0.1:9/x"), 0);
    assert_part("hello");
    assert_refused(fetch("http://169.254.169.254/x"), "a cloud's metadata address");
    ck_assert_uint_eq(requests_made(), 0);
    assert_refused(fetch("http://[::ffff:a9fe:a9fe]/x"), "a cloud's metadata address");
    assert_refused(fetch("http://2852039166/x"), "a cloud's metadata address");
    assert_refused(fetch("https://169.254.169.254./x"), "nothing is downloaded from");
    assert_refused(fetch("http://far.invalid/inside"), "redirects to 127.0.0.1:9");
    ck_assert_uint_eq(requests_made(), 1);
    assert_refused(fetch("http://far.invalid/inside-by-name"), "a loopback address");
    ck_assert_uint_eq(requests_made(), 1);
}
END_TEST

/* The service answers on the port that an FTP server names for its file. */
START_TEST(test_ftp_data)
{
    struct address_endpoint listener = {ip("127.0.0.1"), (uint16_t)ftp_server.data_port};
    struct address_policy policy = {.listeners = &listener, .listener_count = 1};
    ck_assert_int_eq(go_on_ftp("", "file"), 0);
    assert_part("hello");
    options.policy = &policy;
    assert_refused(go_on_ftp("", "file"), "is this service itself");
}
END_TEST

START_TEST(test_given_login)
{
    char url[128];
    anywhere = true;
    options.username = "user";
    options.password = "pass";
    ck_assert_int_eq(fetch("/hop"), 0);
    for (unsigned i = 0; i < 3; i++)
        ck_assert(was_asked(i, "Authorization: Basic dXNlcjpwYXNz\r\n"));
    snprintf(url, sizeof url, "/to/http://localhost:%u/to/http://127.0.0.1:%u/length", server.port,
             server.port);
    ck_assert_int_eq(fetch(url), 0);
    ck_assert(was_asked(0, "Authorization: Basic dXNlcjpwYXNz\r\n"));
    ck_assert(!was_asked(1, "Authorization"));
    ck_assert(!was_asked(2, "Authorization")); /* nor when it leads back */
    options.username = options.password = NULL;
    ck_assert_int_eq(fetch("/length"), 0);
    ck_assert(!was_asked(0, "Authorization"));
}
END_TEST

START_TEST(test_ftp_login)
{
    options.username = "user";
    options.password = "wrong";
    assert_failed(go_on_ftp("", "file"), "auth");
    ck_assert_ptr_null(strstr(result->error_message, "wrong"));
    ck_assert(was_asked(0, "USER user\r\n"));
    options.password = "secret";
    ck_assert_int_eq(go_on_ftp("", "file"), 0);
    assert_part("hello");
}
END_TEST

/* Several at once: the share's locks, seen by the thread sanitizer. */
static void *fetch_many(void *arg)
{
    struct transfer *own;
    struct transfer_outcome own_outcome;
    char url[64];
    if (transfer_create(share, &own) < 0)
        return arg;
    for (int i = 0; i < 20; i++) {
        snprintf(url, sizeof url, "http://%s:%u/404", i % 2 ? "127.0.0.1" : "localhost",
                 server.port);
        const struct transfer_job own_job = {.url = url, .known.total = -1};
        if (transfer_run(own, &own_job, &options, arg, &own_outcome) != -EIO ||
            own_outcome.download.http_status != 404) {
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
    const struct transfer_ops quiet = {.open = open_part, .on_version = note_version, .on_progress = note_progress, .on_response = ignore_response, .cancelled = is_cancelled, .data = &opens};
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

static TCase *case_of_transfers(void)
{
    TCase *tests = tcase_create("transfer");
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, start, stop);
    tcase_add_loop_test(tests, test_whole, 0, (int)(sizeof whole / sizeof *whole));
    tcase_add_loop_test(tests, test_refused, 0, (int)(sizeof refused / sizeof *refused));
    tcase_add_loop_test(tests, test_broken, 0, (int)(sizeof broken / sizeof *broken));
    tcase_add_loop_test(tests, test_unwanted_body, 0, 2);
    tcase_add_test(tests, test_messages);
    tcase_add_test(tests, test_request);
    tcase_add_test(tests, test_proxy);
    tcase_add_loop_test(tests, test_stalled, 0, 3);
    tcase_add_loop_test(tests, test_throttled_is_not_stalled, 0, RATELIMIT_EACH);
    tcase_add_test(tests, test_a_stall_begins_after_the_wait);
    tcase_add_loop_test(tests, test_cancel_while_throttled, 0, RATELIMIT_EACH);
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
    tcase_add_test(tests, test_threads);
    return tests;
}

static TCase *case_of_resumes(void)
{
    TCase *tests = tcase_create("resume");
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, start, stop);
    tcase_add_loop_test(tests, test_resume, 0, (int)(sizeof resumes / sizeof *resumes));
    tcase_add_loop_test(tests, test_resume_useless, 0, 5);
    tcase_add_loop_test(tests, test_other_bytes, 0, 3);
    tcase_add_loop_test(tests, test_answer_to_range, 0,
                        (int)(sizeof answers_to_range / sizeof *answers_to_range));
    tcase_add_loop_test(tests, test_many_cuts, 0, 3);
    tcase_add_test(tests, test_cut_within_overlap);
    tcase_add_test(tests, test_failed_second_request);
    tcase_add_loop_test(tests, test_terse_part, 0, 2);
    tcase_add_test(tests, test_new_version_cut);
    tcase_add_test(tests, test_open_error_on_resume);
    tcase_add_test(tests, test_checksum);
    tcase_add_test(tests, test_checksum_from_zero);
    tcase_add_test(tests, test_max_size);
    tcase_add_test(tests, test_trickle);
    tcase_add_test(tests, test_progress);
    tcase_add_loop_test(tests, test_retry_after, 0, 6);
    tcase_add_test(tests, test_head);
    tcase_add_test(tests, test_headers);
    tcase_add_test(tests, test_headers_other_port);
    tcase_add_test(tests, test_login);
    tcase_add_test(tests, test_resume_elsewhere);
    return tests;
}

static TCase *case_of_policy(void)
{
    TCase *tests = tcase_create("policy");
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, start, stop);
    tcase_add_test(tests, test_never);
    tcase_add_test(tests, test_redirect_inside);
    tcase_add_test(tests, test_pooled_connection);
    tcase_add_test(tests, test_own_listener);
    tcase_add_test(tests, test_denied);
    tcase_add_test(tests, test_moved_inside);
    tcase_add_test(tests, test_policy_with_proxy);
    tcase_add_test(tests, test_given_login);
    return tests;
}

static TCase *case_of_ftp(void)
{
    TCase *tests = tcase_create("ftp");
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, start_ftp, stop_ftp);
    tcase_add_loop_test(tests, test_ftp, 0, 5);
    tcase_add_loop_test(tests, test_ftp_resume, 0, 6);
    tcase_add_test(tests, test_ftp_data);
    tcase_add_test(tests, test_ftp_login);
    return tests;
}

static Suite *suite(void)
{
    Suite *s = suite_create("transfer");
    suite_add_tcase(s, case_of_transfers());
    suite_add_tcase(s, case_of_resumes());
    suite_add_tcase(s, case_of_policy());
    suite_add_tcase(s, case_of_ftp());
    return s;
}

int main(void)
{
    return tap_main(suite());
}
