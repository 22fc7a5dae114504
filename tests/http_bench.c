#include "http_bench.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/cleanup.h"
#include "fake_manager.h"
#include "http/routes.h"

/* --- the server --- */

char directory[64], socket_path[80], own_name[API_USER_MAX + 1];
unsigned port, port6;
struct settings settings;
struct auth *auth;
struct http *http;
struct events *events;
static struct routes routes = {.manager = &manager};

struct readers *bench_readers(void)
{
    return routes.readers;
}

struct http_options bench_options(void)
{
    return (struct http_options){.settings = &settings,
                                 .socket = socket_path,
                                 .auth = auth,
                                 .tables = routes_tables,
                                 .data = &routes};
}

/* The head is there, and says that what follows has no end. */
static bool is_stream(const char *text)
{
    const char *end = text ? strstr(text, "\r\n\r\n") : NULL;
    const char *stream = end ? strstr(text, "\r\nContent-Type: text/event-stream") : NULL;
    return stream && stream < end;
}

char *read_all(int fd)
{
    struct buf text;
    char piece[4096];
    buf_init(&text, 32 << 20);
    for (ssize_t n; (n = read(fd, piece, sizeof piece)) != 0;) {
        if (n < 0 && errno == EINTR)
            continue;
        ck_assert_msg(n > 0, "reading: %s", strerror(errno)); /* a reset, which may eat an answer */
        ck_assert_int_eq(buf_add(&text, piece, (size_t)n), 0);
        if (is_stream(text.data))
            break;
    }
    char *all = buf_take(&text);
    ck_assert_ptr_nonnull(all);
    return all;
}

static unsigned port_after(const char *log, const char *what)
{
    const char *found = strstr(log, what);
    return found ? (unsigned)strtoul(found + strlen(what), NULL, 10) : 0;
}

void set(const char *key, const char *value)
{
    char message[256];
    ck_assert_msg(settings_set(&settings, key, value, message) == 0, "%s: %s", key, message);
}

/* Starts it, with its log lines in a file, from which the ports are read. */
static void start_server(bool user_mode)
{
    snprintf(directory, sizeof directory, "/tmp/check_routes.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(directory));
    chmod(directory, 0755);
    snprintf(socket_path, sizeof socket_path, "%s/socket", directory);
    set("listen", "127.0.0.1:0");
    int probe = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    if (probe >= 0 && bind(probe, (struct sockaddr *)&any, sizeof any) == 0)
        set("listen", "[::1]:0");
    close(probe);

    ck_assert_int_eq(auth_create(&settings, user_mode, NULL, &auth), 0);
    routes.auth = auth;
    ck_assert_int_eq(events_create(&events), 0);
    ck_assert_int_eq(events_start(events, &manager), 0);
    routes.events = events;
    ck_assert_int_eq(readers_create(&routes.readers), 0);
    struct http_options options = bench_options();
    int log[2];
    _cleanup_close_ int saved = dup(STDERR_FILENO);
    ck_assert_int_eq(pipe2(log, O_CLOEXEC), 0);
    dup2(log[1], STDERR_FILENO);
    close(log[1]);
    int error = http_create(&options, &http);
    dup2(saved, STDERR_FILENO);
    _cleanup_free_ char *lines = read_all(log[0]);
    close(log[0]);
    ck_assert_msg(error == 0, "http_create: %s\n%s", strerror(-error), lines);
    port = port_after(lines, "listening on 127.0.0.1:");
    port6 = port_after(lines, "listening on [::1]:");
    ck_assert_uint_ne(port, 0);
    ck_assert_ptr_nonnull(strstr(lines, "listening on unix:/tmp/check_routes."));
}

void stop_server(void)
{
    readers_stop(routes.readers);
    http_destroy(http);
    readers_destroy(routes.readers);
    auth_destroy(auth);
    events_destroy(events);
    ck_assert_int_ne(access(socket_path, F_OK), 0);
    ck_assert_int_eq(rmdir(directory), 0);
    settings_release(&settings);
}

/* User mode; root becomes somebody without an account, for good (each test is a process). */
void start_own(void)
{
    if (geteuid() == 0) {
        ck_assert_int_eq(setgroups(0, NULL), 0);
        ck_assert_int_eq(setresgid(STRANGER, STRANGER, STRANGER), 0);
        ck_assert_int_eq(setresuid(STRANGER, STRANGER, STRANGER), 0);
        prctl(PR_SET_DUMPABLE, 1); /* LeakSanitizer wants it */
    }
    const struct passwd *account = getpwuid(getuid());
    if (account)
        snprintf(own_name, sizeof own_name, "%s", account->pw_name);
    else
        snprintf(own_name, sizeof own_name, "%u", (unsigned)getuid());
    manager.task.uid = getuid();
    ck_assert_int_eq(settings_init(&settings, "/dev/null"), 0);
    start_server(true);
}

/* System mode, for root: "daemon" and "bin" are users, and "bin" is an operator. */
void start_system(void)
{
    ck_assert_int_eq(settings_init(&settings, "/dev/null"), 0);
    set("first-uid", "1");
    set("operators", "bin");
    manager.task.uid = 1;
    start_server(false);
}

/* --- a client --- */

int connect_to(enum way way)
{
    struct sockaddr_un local = {.sun_family = AF_UNIX};
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6,
                              .sin6_port = htons((uint16_t)port6),
                              .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    memcpy(local.sun_path, socket_path, strlen(socket_path));
    int fd = socket(way == UNIX  ? AF_UNIX
                    : way == TCP ? AF_INET
                                 : AF_INET6,
                    SOCK_STREAM | SOCK_CLOEXEC, 0);
    const void *address = way == UNIX ? (void *)&local : way == TCP ? (void *)&v4 : (void *)&v6;
    socklen_t len = way == UNIX ? sizeof local : way == TCP ? sizeof v4 : sizeof v6;
    if (fd >= 0 && connect(fd, address, len) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

/* False: the other side does not take it all; the answer may be there already. */
bool send_text(int fd, const char *text)
{
    for (size_t len = strlen(text); len;) {
        ssize_t n = send(fd, text, len, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return false;
        text += n;
        len -= (size_t)n;
    }
    return true;
}

/* Sends the text and reads all up to the end of the stream. The caller frees it. */
char *exchange(enum way way, const char *text)
{
    _cleanup_close_ int fd = connect_to(way);
    ck_assert_int_ge(fd, 0);
    send_text(fd, text);
    return read_all(fd);
}

char *base64(const char *text)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    struct buf out;
    buf_init(&out, 4096);
    for (size_t len = strlen(text); len; len -= len < 3 ? len : 3, text += 3) {
        unsigned bits = (unsigned)(unsigned char)text[0] << 16;
        bits |= len > 1 ? (unsigned)(unsigned char)text[1] << 8 : 0;
        bits |= len > 2 ? (unsigned)(unsigned char)text[2] : 0;
        for (unsigned i = 0; i < 4; i++)
            buf_add_char(&out, i <= len ? digits[bits >> (18 - 6 * i) & 63] : '=');
        if (len < 3)
            break;
    }
    return buf_take(&out);
}

/* One request with the head that a client like curl sends; `extra`: more lines, each with its CRLF;
 * `user` NULL: no Authorization. */
char *request_text(const char *line, const char *user, const char *extra, const char *body)
{
    struct buf text;
    buf_init(&text, 32 << 20);
    buf_printf(&text, "%s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n%s", line, extra);
    if (user) {
        char pair[300];
        snprintf(pair, sizeof pair, "%s:", user);
        _cleanup_free_ char *code = base64(pair);
        buf_printf(&text, "Authorization: Basic %s\r\n", code);
    }
    if (body && !strcasestr(extra, "Content-Type"))
        buf_add_string(&text, "Content-Type: application/x-www-form-urlencoded\r\n");
    if (body)
        buf_printf(&text, "Content-Length: %zu\r\n", strlen(body));
    buf_printf(&text, "\r\n%s", body ? body : "");
    return buf_take(&text);
}

char *ask(enum way way, const char *line, const char *user, const char *extra, const char *body)
{
    _cleanup_free_ char *text = request_text(line, user, extra, body);
    return exchange(way, text);
}

void check_answer(const char *answer, int status, const char *body, const char *what)
{
    char start[32];
    snprintf(start, sizeof start, "HTTP/1.1 %d ", status);
    ck_assert_msg(strncmp(answer, start, strlen(start)) == 0, "%s: wanted %d, got: %s", what,
                  status, answer);
    const char *got = strstr(answer, "\r\n\r\n");
    ck_assert_msg(got, "%s: no body in: %s", what, answer);
    if (body)
        ck_assert_msg(strcmp(got + 4, body) == 0, "%s: wanted %s, got %s", what, body, got + 4);
}

/* On the unix socket and, with one's name, on TCP. */
void expect_with(const char *line, const char *extra, const char *sent, int status,
                 const char *body)
{
    for (int way = UNIX; way <= (port6 ? TCP6 : TCP); way++) {
        _cleanup_free_ char *answer =
            ask((enum way)way, line, way == UNIX ? NULL : own_name, extra, sent);
        check_answer(answer, status, body, line);
    }
}

void expect(const char *line, int status, const char *body)
{
    expect_with(line, "", NULL, status, body);
}

void expect_error(const char *line, int status, const char *code, const char *message)
{
    char body[1024];
    snprintf(body, sizeof body, "{\"code\": \"%s\", \"message\": \"%s\"}", code, message);
    expect(line, status, body);
}

void expect_raw(const char *text, int status, const char *body)
{
    _cleanup_free_ char *answer = exchange(UNIX, text);
    check_answer(answer, status, body, text);
}

char *padded(const char *start, size_t count)
{
    size_t len = strlen(start);
    char *text = malloc(len + count + 1);
    ck_assert_ptr_nonnull(text);
    memcpy(text, start, len);
    memset(text + len, 'a', count);
    text[len + count] = '\0';
    return text;
}

/* The answer that a process with this uid gets. The caller frees it. */
char *ask_as(uid_t uid, enum way way, const char *line, const char *user)
{
    return ask_with_as(uid, way, line, user, "", NULL);
}

/* For this thread alone (glibc's functions would change all threads): what the kernel notes about
 * a socket is who made it. */
static void set_thread_user(uid_t uid)
{
    if (uid == 0)
        ck_assert_int_eq(syscall(SYS_setresuid, -1, uid, -1), 0);
    ck_assert_int_eq(syscall(SYS_setresgid, -1, uid, -1), 0);
    if (uid != 0)
        ck_assert_int_eq(syscall(SYS_setresuid, -1, uid, -1), 0);
}

char *ask_with_as(uid_t uid, enum way way, const char *line, const char *user, const char *extra,
                  const char *body)
{
    _cleanup_free_ char *text = request_text(line, user, extra, body);
    set_thread_user(uid);
    _cleanup_close_ int fd = connect_to(way);
    set_thread_user(0);
    ck_assert_int_ge(fd, 0);
    send_text(fd, text);
    return read_all(fd);
}

void expect_as(uid_t uid, enum way way, const char *line, const char *user, int status,
               const char *message)
{
    _cleanup_free_ char *answer = ask_as(uid, way, line, user);
    char what[200];
    snprintf(what, sizeof what, "uid %u as %s: %s", (unsigned)uid, user ? user : "-", line);
    check_answer(answer, status, NULL, what);
    if (message)
        ck_assert_msg(strstr(answer, message), "%s: %s is not in %s", what, message, answer);
}

void add_tests(Suite *suite, const char *name, void (*start)(void), const TTest *const *tests)
{
    TCase *cases = tcase_create(name);
    tcase_set_timeout(cases, 120);
    tcase_add_checked_fixture(cases, start, stop_server);
    for (; *tests; tests++)
        tcase_add_test(cases, *tests);
    suite_add_tcase(suite, cases);
}
