/*
 * autodl against a small server of its own: what it sends, what it prints, how it ends. Run by
 * root, the client runs as nobody, but where root is what is tested.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <pty.h>
#include <pwd.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "common/api.h"
#include "common/buf.h"
#include "tap.h"

#define NOBODY       65534
#define REQUESTS_MAX 8
#define HOLD         "hold" /* an answer that never comes */
#define TEXT_MAX     (1 << 16)

/* --- the server --- */

static struct {
    char directory[64];
    char socket[96];
    int port;
    int listeners[2]; /* unix, TCP */
    int stop[2];
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* protected by lock */
    const char *answers[REQUESTS_MAX]; /* the last one is repeated */
    char *requests[REQUESTS_MAX];
    int count;
} server;

static int binary = -1;

/* Reads a head and the body that its Content-Length announces. False: the peer only looked in. */
static bool read_request(int fd, struct buf *request)
{
    char chunk[4096];

    for (;;) {
        const char *end = request->data ? strstr(request->data, "\r\n\r\n") : NULL;
        if (end) {
            const char *length = strcasestr(request->data, "\r\nContent-Length:");
            size_t body = length && length < end ? strtoul(length + 17, NULL, 10) : 0;
            if (request->len >= (size_t)(end - request->data) + 4 + body)
                return true;
        }
        ssize_t n = read(fd, chunk, sizeof(chunk));
        if (n <= 0)
            return false;
        buf_add(request, chunk, (size_t)n);
    }
}

static void write_all(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, data, len, MSG_NOSIGNAL);
        if (n <= 0)
            return;
        data += n;
        len -= (size_t)n;
    }
}

static void serve_one(int fd)
{
    struct buf request;
    const char *answer;
    char byte;

    buf_init(&request, 1 << 20);
    if (!read_request(fd, &request)) {
        buf_release(&request);
        close(fd);
        return;
    }
    pthread_mutex_lock(&server.lock);
    int number = server.count < REQUESTS_MAX ? server.count++ : REQUESTS_MAX - 1;
    free(server.requests[number]);
    server.requests[number] = buf_take(&request);
    while (number > 0 && !server.answers[number])
        number--;
    answer = server.answers[number];
    pthread_cond_broadcast(&server.changed);
    pthread_mutex_unlock(&server.lock);
    if (answer && strcmp(answer, HOLD) == 0)
        while (read(fd, &byte, 1) > 0)
            ;
    else if (answer)
        write_all(fd, answer, strlen(answer));
    shutdown(fd, SHUT_WR);
    while (read(fd, &byte, 1) > 0)
        ;
    close(fd);
}

static void *serve(void *nothing)
{
    struct pollfd fds[3] = {
        {.fd = server.listeners[0], .events = POLLIN},
        {.fd = server.listeners[1], .events = POLLIN},
        {.fd = server.stop[0],      .events = POLLIN}
    };

    while (poll(fds, 3, -1) > 0 && !fds[2].revents)
        for (int i = 0; i < 2; i++)
            if (fds[i].revents) {
                int fd = accept4(fds[i].fd, NULL, NULL, SOCK_CLOEXEC);
                if (fd >= 0)
                    serve_one(fd);
            }
    return nothing;
}

static int listen_unix(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    ck_assert_uint_lt(strlen(path), sizeof(address.sun_path));
    memcpy(address.sun_path, path, strlen(path) + 1);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    ck_assert_int_eq(chmod(path, 0666), 0);
    ck_assert_int_eq(listen(fd, 8), 0);
    return fd;
}

static int bind_tcp(int *ret_port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, len), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    *ret_port = ntohs(address.sin_port);
    return fd;
}

static void start_server(void)
{
    const char *build = getenv("AUTODL_BUILD");
    char path[4096];

    snprintf(path, sizeof(path), "%s/autodl", build ? build : ".");
    binary = open(path, O_RDONLY | O_CLOEXEC);
    ck_assert_msg(binary >= 0, "%s: %s (AUTODL_BUILD says where autodl is)", path, strerror(errno));
    snprintf(server.directory, sizeof(server.directory), "/tmp/autodl-cli-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(server.directory));
    ck_assert_int_eq(chmod(server.directory, 0755), 0);
    if (geteuid() == 0) /* as XDG_RUNTIME_DIR it is the client's own */
        ck_assert_int_eq(chown(server.directory, NOBODY, NOBODY), 0);
    snprintf(server.socket, sizeof(server.socket), "%s/s", server.directory);
    server.listeners[0] = listen_unix(server.socket);
    server.listeners[1] = bind_tcp(&server.port);
    ck_assert_int_eq(listen(server.listeners[1], 8), 0);
    ck_assert_int_eq(pipe2(server.stop, O_CLOEXEC), 0);
    pthread_mutex_init(&server.lock, NULL);
    pthread_cond_init(&server.changed, NULL);
    ck_assert_int_eq(pthread_create(&server.thread, NULL, serve, NULL), 0);
}

static void stop_server(void)
{
    char path[128];

    ck_assert_int_eq(write(server.stop[1], "", 1), 1);
    pthread_join(server.thread, NULL);
    for (int i = 0; i < 2; i++) {
        close(server.listeners[i]);
        close(server.stop[i]);
    }
    for (int i = 0; i < REQUESTS_MAX; i++)
        free(server.requests[i]);
    unlink(server.socket);
    snprintf(path, sizeof(path), "%s/%s", server.directory, API_SOCKET_NAME);
    unlink(path);
    snprintf(path, sizeof(path), "%s/.netrc", server.directory);
    unlink(path);
    rmdir(server.directory);
    close(binary);
}

/* Forgets requests and sets the answers that come next (up to a NULL). */
static void set_answers(const char *first, ...)
{
    va_list list;

    pthread_mutex_lock(&server.lock);
    for (int i = 0; i < REQUESTS_MAX; i++) {
        free(server.requests[i]);
        server.requests[i] = NULL;
        server.answers[i] = NULL;
    }
    server.count = 0;
    va_start(list, first);
    for (int i = 0; first && i < REQUESTS_MAX; i++, first = va_arg(list, const char *))
        server.answers[i] = first;
    va_end(list);
    pthread_mutex_unlock(&server.lock);
}

static int count_requests(void)
{
    pthread_mutex_lock(&server.lock);
    int count = server.count;
    pthread_mutex_unlock(&server.lock);
    return count;
}

static const char *request(int number)
{
    ck_assert_int_lt(number, count_requests());
    return server.requests[number];
}

/* A whole answer of autodl-service; one of four buffers. */
static const char *http(int status, const char *body)
{
    static char texts[4][1024];
    static int next;
    char *text = texts[next++ % 4];

    snprintf(text, sizeof(texts[0]),
             "HTTP/1.1 %d Word\r\nServer: autodl/1.2.3\r\nContent-Type: application/json\r\n"
             "Content-Length: %zu\r\nConnection: close\r\n\r\n%s",
             status, strlen(body), body);
    return text;
}

#define TASK    "{\"task\": \"{}\"}"
#define STATS   "{\"tasks\": {}, \"downloader\": {}}"
#define MESSAGE "{\"message\": \"Done so\"}"

/* --- the client --- */

struct setting { /* how the next client is run */
    bool as_root;
    bool terminal; /* standard output is one */
    int out;       /* or this, if > 0 */
    bool close_out;
    const char *environment[6]; /* "NAME=VALUE" */
};

static char out[TEXT_MAX];
static char err[TEXT_MAX];

static bool am_root(void)
{
    return geteuid() == 0;
}

static void become_nobody(void)
{
    if (setgroups(0, NULL) < 0 || setgid(NOBODY) < 0 || setuid(NOBODY) < 0)
        _exit(99);
}

static _Noreturn void exec_client(const struct setting *how, char **argv, const int fds[3])
{
    char home[96];
    char runtime[96];
    const char *sanitizers[] = {"ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS"};
    char inherited[3][512];
    char *environment[16];
    size_t count = 0;

    snprintf(home, sizeof(home), "HOME=%s", server.directory);
    snprintf(runtime, sizeof(runtime), "XDG_RUNTIME_DIR=%s", server.directory);
    environment[count++] = home;
    environment[count++] = runtime;
    environment[count++] = (char *)"http_proxy=http://127.0.0.1:1"; /* must not matter */
    environment[count++] = (char *)"ALL_PROXY=http://127.0.0.1:1";
    for (int i = 0; i < 3; i++)
        if (getenv(sanitizers[i])) {
            snprintf(inherited[i], sizeof(inherited[i]), "%s=%s", sanitizers[i],
                     getenv(sanitizers[i]));
            environment[count++] = inherited[i];
        }
    for (int i = 0; i < 6 && how->environment[i]; i++)
        environment[count++] = (char *)how->environment[i];
    environment[count] = NULL;
    for (int i = 0; i < 3; i++)
        if (dup2(fds[i], i) < 0)
            _exit(99);
    if (how->close_out)
        close(STDOUT_FILENO);
    if (chdir(server.directory) < 0)
        _exit(99);
    if (am_root() && !how->as_root)
        become_nobody();
    fexecve(binary, argv, environment);
    _exit(98);
}

static void read_file(int fd, char *text)
{
    size_t len = 0;
    ssize_t n;

    lseek(fd, 0, SEEK_SET);
    while (len < TEXT_MAX - 1 && (n = read(fd, text + len, TEXT_MAX - 1 - len)) > 0)
        len += (size_t)n;
    text[len] = '\0';
}

/* Starts a client; wait_client gives its status and fills `out` and `err`. */
struct child {
    pid_t pid;
    int fds[3]; /* what it has as standard streams */
    int master; /* the terminal's other end, or -1 */
};

static struct child start_client(const struct setting *how, char **argv)
{
    struct child child = {.master = -1};

    child.fds[0] = memfd_create("in", MFD_CLOEXEC);
    child.fds[1] = memfd_create("out", MFD_CLOEXEC);
    child.fds[2] = memfd_create("err", MFD_CLOEXEC);
    ck_assert_int_eq(write(child.fds[0], "unread\n", 7), 7);
    lseek(child.fds[0], 0, SEEK_SET);
    if (how->terminal) {
        struct termios raw = {0};
        cfmakeraw(&raw);
        close(child.fds[1]);
        ck_assert_int_eq(openpty(&child.master, &child.fds[1], NULL, &raw, NULL), 0);
    } else if (how->out > 0) {
        close(child.fds[1]);
        child.fds[1] = fcntl(how->out, F_DUPFD_CLOEXEC, 0);
    }
    child.pid = fork();
    ck_assert_int_ge(child.pid, 0);
    if (child.pid == 0)
        exec_client(how, argv, child.fds);
    return child;
}

static int wait_client(struct child *child)
{
    int status;

    ck_assert_int_eq(waitpid(child->pid, &status, 0), child->pid);
    ck_assert_msg(lseek(child->fds[0], 0, SEEK_CUR) == 0, "the client read standard input");
    if (child->master >= 0)
        close(child->fds[1]); /* so that reading the other end comes to an end */
    read_file(child->master >= 0 ? child->master : child->fds[1], out);
    read_file(child->fds[2], err);
    close(child->fds[0]);
    close(child->master >= 0 ? child->master : child->fds[1]);
    close(child->fds[2]);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static int run_words(const struct setting *how, char **words)
{
    struct child child = start_client(how, words);
    return wait_client(&child);
}

static const struct setting plain;

/* Runs `autodl WORDS...` with the options that lead to the server's socket or port in front. */
static int run_at(const struct setting *how, const char *where, const char *first, va_list list)
{
    char *words[24] = {(char *)"autodl"};
    char host[64];
    int count = 1;

    snprintf(host, sizeof(host), "127.0.0.1:%d", server.port);
    if (strcmp(where, "unix") == 0) {
        words[count++] = (char *)"--socket";
        words[count++] = server.socket;
    } else if (strcmp(where, "tcp") == 0) {
        words[count++] = (char *)"-h";
        words[count++] = host;
    }
    for (; first; first = va_arg(list, const char *)) {
        ck_assert_int_lt(count, 23);
        words[count++] = (char *)first;
    }
    return run_words(how, words);
}

static int run(const struct setting *how, const char *where, const char *first, ...)
{
    va_list list;

    va_start(list, first);
    int status = run_at(how, where, first, list);
    va_end(list);
    return status;
}

/* Standard output and standard error hold exactly this. */
static void expect(const char *expected_out, const char *expected_err)
{
    ck_assert_str_eq(out, expected_out);
    ck_assert_str_eq(err, expected_err);
}

static void expect_in(const char *text, const char *part)
{
    ck_assert_msg(strstr(text, part) != NULL, "no \"%s\" in: %s", part, text);
}

/* One line "autodl: ..." with `part` in it. */
static void expect_error(const char *part)
{
    ck_assert_msg(strncmp(err, "autodl: ", 8) == 0, "not a message: %s", err);
    ck_assert_ptr_eq(strchr(err, '\n'), err + strlen(err) - 1);
    expect_in(err, part);
}

static const char *body_of(const char *text)
{
    return strstr(text, "\r\n\r\n") + 4;
}

/* --- what is sent --- */

struct sending {
    const char *words[6];
    const char *line; /* the request's first line */
    const char *body;
    const char *answer;
};

/* clang-format off */
static const struct sending sendings[] = {
    {{"add", "http://a.example/x?a=1&b=%20"}, "POST /add HTTP/1.1",
     "url=http%3A%2F%2Fa.example%2Fx%3Fa%3D1%26b%3D%2520", TASK},
    {{"add", "ftp://a.example/x", "/srv/my files"}, "POST /add HTTP/1.1",
     "url=ftp%3A%2F%2Fa.example%2Fx&path=%2Fsrv%2Fmy%20files", TASK},
    {{"add", "HTTPS://a.example/x", "~/isos"}, "POST /add HTTP/1.1",
     "url=HTTPS%3A%2F%2Fa.example%2Fx&path=~%2Fisos", TASK},
    {{"add", "sftp://a.example/x", "~"}, "POST /add HTTP/1.1",
     "url=sftp%3A%2F%2Fa.example%2Fx&path=~%2F", TASK},
    {{"status", "5b0c9a1e"}, "GET /status?task_id=5b0c9a1e HTTP/1.1", "", TASK},
    {{"status", "a&b c"}, "GET /status?task_id=a%26b%20c HTTP/1.1", "", TASK},
    {{"clear"}, "POST /clear HTTP/1.1", "", MESSAGE},
    {{"clear", "--all"}, "POST /clear HTTP/1.1", "scope=all", MESSAGE},
    {{"pause"}, "POST /pause HTTP/1.1", "", MESSAGE},
    {{"pause", "90"}, "POST /pause HTTP/1.1", "seconds=90", MESSAGE},
    {{"pause", "90s"}, "POST /pause HTTP/1.1", "seconds=90", MESSAGE},
    {{"pause", "15m"}, "POST /pause HTTP/1.1", "seconds=900", MESSAGE},
    {{"--all", "pause", "2h"}, "POST /pause HTTP/1.1", "seconds=7200&scope=all", MESSAGE},
    {{"pause", "365d"}, "POST /pause HTTP/1.1", "seconds=31536000", MESSAGE},
    {{"resume"}, "POST /resume HTTP/1.1", "", MESSAGE},
    {{"resume", "--all"}, "POST /resume HTTP/1.1", "scope=all", MESSAGE},
    {{"stats"}, "GET /stats HTTP/1.1", "", STATS},
    {{"update_tasks_num"}, "POST /maxtasks HTTP/1.1", "max_tasks_number=10", MESSAGE},
    {{"update_tasks_num", "1"}, "POST /maxtasks HTTP/1.1", "max_tasks_number=1", MESSAGE},
    {{"update-tasks-num", "1000"}, "POST /maxtasks HTTP/1.1", "max_tasks_number=1000", MESSAGE},
};
/* clang-format on */

/* base64 of "NAME:" */
static void credentials(const char *name, char *text)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char plain_text[300];
    size_t len = (size_t)snprintf(plain_text, sizeof(plain_text), "%s:", name);

    text = stpcpy(text, "\r\nAuthorization: Basic ");
    for (size_t i = 0; i < len; i += 3) {
        unsigned three = 0;
        for (size_t k = 0; k < 3; k++)
            three = three << 8 | (i + k < len ? (unsigned char)plain_text[i + k] : 0);
        for (int k = 0; k < 4; k++)
            *text++ = (size_t)k <= len - i ? digits[three >> (18 - 6 * k) & 63] : '=';
    }
    memcpy(text, "\r\n", 3);
}

static void expect_identity(const char *text, const char *name)
{
    char header[512];

    if (!name) {
        ck_assert_ptr_null(strstr(text, "Authorization"));
        return;
    }
    credentials(name, header);
    expect_in(text, header);
}

/* Who the client is if it is not root on purpose. */
static const char *own_name(void)
{
    static char number[16];
    uid_t uid = am_root() ? NOBODY : geteuid();
    const struct passwd *entry = getpwuid(uid);

    snprintf(number, sizeof(number), "%u", (unsigned)uid);
    return entry ? entry->pw_name : number;
}

START_TEST(sends_what_the_classic_routes_take)
{
    const struct sending *sending = &sendings[_i];
    char *words[12] = {(char *)"autodl"};
    char port[16];
    char line[128];

    snprintf(port, sizeof(port), "%d", server.port);
    for (int tcp = 0; tcp < 2; tcp++) {
        int count = 1;
        while (count <= 6 && sending->words[count - 1]) {
            words[count] = (char *)sending->words[count - 1];
            count++;
        }
        words[count++] = (char *)(tcp ? "--port" : "--socket"); /* after the command */
        words[count++] = tcp ? port : server.socket;
        words[count] = NULL;
        set_answers(http(200, sending->answer), NULL);
        ck_assert_msg(run_words(&plain, words) == 0, "%s", err);
        snprintf(line, sizeof(line), "%s\n", sending->answer);
        expect(line, "");
        ck_assert_int_eq(count_requests(), 1);
        snprintf(line, sizeof(line), "%s\r\n", sending->line);
        ck_assert_msg(strncmp(request(0), line, strlen(line)) == 0, "%s", request(0));
        ck_assert_str_eq(body_of(request(0)), sending->body);
        if (strncmp(line, "POST", 4) == 0)
            expect_in(request(0), "\r\nContent-Type: application/x-www-form-urlencoded\r\n");
        expect_identity(request(0), tcp ? own_name() : NULL);
    }
}
END_TEST

/* clang-format off */
#define ID   "5b0c9a1e-0000-4000-8000-000000000000"
#define ADD  "POST /v1/tasks HTTP/1.1"
#define URL  "{\"url\":\"http://h/x\""
#define SHOW "{\"id\": \"" ID "\", \"status\": \"ENQUEUED\"}"
#define SETTINGS "{\"max_tasks_num\": {}}"
#define COUNT_OF "{\"count\": 1}"
static const struct sending v1_sendings[] = {
    {{"add", "http://h/x", "--tries", "5"}, ADD, URL ",\"retries\":4}", SHOW},
    {{"add", "http://h/x", "--tries=inf"}, ADD, URL ",\"retries\":1000}", SHOW},
    {{"add", "http://h/x", "--limit", "500K"}, ADD, URL ",\"rate_limit\":512000}", SHOW},
    {{"add", "http://h/x", "--limit", "off"}, ADD, URL "}", SHOW},
    {{"add", "http://h/x", "--priority", "-3"}, ADD, URL ",\"priority\":-3}", SHOW},
    {{"add", "http://h/x", "--label", "a b"}, ADD, URL ",\"label\":\"a b\"}", SHOW},
    {{"add", "http://h/x", "--if-exists", "skip"}, ADD, URL ",\"if_exists\":\"skip\"}", SHOW},
    {{"add", "http://h/x", "-o", "y"}, ADD, URL ",\"name\":\"y\"}", SHOW},
    {{"add", "http://h/x", "-O", "y"}, ADD, URL ",\"name\":\"y\"}", SHOW},
    {{"add", "http://h/x", "-d", "/d"}, ADD, URL ",\"directory\":\"/d\"}", SHOW},
    {{"add", "http://h/x", "-P", "/d"}, ADD, URL ",\"directory\":\"/d\"}", SHOW},
    {{"add", "http://h/x", "/d", "--label=l"}, ADD, URL ",\"label\":\"l\",\"directory\":\"/d\"}", SHOW},
    {{"add", "http://h/x", "--header", "A: b"}, ADD, URL ",\"headers\":{\"A\":\"b\"}}", SHOW},
    {{"add", "http://h/x", "--mirror", "http://m/1", "--mirror=http://m/2"}, ADD,
     URL ",\"mirrors\":[\"http://m/1\",\"http://m/2\"]}", SHOW},
    {{"add", "http://h/x", "--checksum", "md5=00000000000000000000000000000000"}, ADD,
     URL ",\"checksum\":\"md5=00000000000000000000000000000000\"}", SHOW},
    {{"add", "http://h/x", "--at", "2040-01-31"}, ADD, URL ",\"not_before\":\"2040-01-31T00:00:00.000Z\"}", SHOW},
    {{"add", "http://h/x", "http://h/y", "-q"}, ADD, "{\"tasks\":[" URL "},{\"url\":\"http://h/y\"}]}",
     "{\"tasks\": [" SHOW ", " SHOW "]}"},
    {{"list", "--state", "waiting,held", "--host", "h", "--match=m"},
     "GET /v1/tasks?status=ENQUEUED%2CPAUSED&host=h&q=m&limit=500 HTTP/1.1", "", "{\"tasks\": []}"},
    {{"list", "--all", "--since", "2030-01-31", "--limit=5"},
     "GET /v1/tasks?scope=all&since=2030-01-31T00%3A00%3A00.000Z&limit=5 HTTP/1.1", "", "{\"tasks\": []}"},
    {{"list", "--until", "2030-01-31"}, "GET /v1/tasks?until=2030-01-31T00%3A00%3A00.000Z&limit=500 HTTP/1.1",
     "", "{\"tasks\": []}"},
    {{"show", "5b0c"}, "GET /v1/tasks/5b0c HTTP/1.1", "", SHOW},
    {{"hold", "5b0c"}, "POST /v1/tasks/5b0c/hold HTTP/1.1", "{}", SHOW},
    {{"release", "5b0c"}, "POST /v1/tasks/5b0c/release HTTP/1.1", "{}", SHOW},
    {{"cancel", "5b0c", "--keep"}, "POST /v1/tasks/5b0c/cancel HTTP/1.1", "{\"keep\": true}", SHOW},
    {{"retry", "5b0c"}, "POST /v1/tasks/5b0c/retry HTTP/1.1", "{}", SHOW},
    {{"first", "5b0c"}, "POST /v1/tasks/5b0c/first HTTP/1.1", "{}", SHOW},
    {{"rm", "5b0c"}, "DELETE /v1/tasks/5b0c HTTP/1.1", "", SHOW},
    {{"rm", "5b0c", "--delete-file"}, "DELETE /v1/tasks/5b0c?file=delete HTTP/1.1", "", SHOW},
    {{"hold", "--state", "waiting"}, "POST /v1/tasks/hold HTTP/1.1", "{\"status\":\"ENQUEUED\"}", COUNT_OF},
    {{"release", "--match", "m"}, "POST /v1/tasks/release HTTP/1.1", "{\"q\":\"m\"}", COUNT_OF},
    {{"cancel", "--host", "h", "--keep"}, "POST /v1/tasks/cancel HTTP/1.1",
     "{\"host\":\"h\",\"keep\":true}", COUNT_OF},
    {{"retry", "--all", "--state=failed"}, "POST /v1/tasks/retry HTTP/1.1",
     "{\"status\":\"FAILED\",\"scope\":\"all\"}", COUNT_OF},
    {{"rm", "--state", "finished"}, "POST /v1/tasks/forget HTTP/1.1", "{\"status\":\"FINISHED\"}", COUNT_OF},
    {{"set", "5b0c", "label=a", "priority=7", "rate_limit=2M", "max_ranges=2"}, "PATCH /v1/tasks/5b0c HTTP/1.1",
     "{\"label\":\"a\",\"priority\":7,\"rate_limit\":2097152,\"max_ranges\":2}", SHOW},
    {{"set", "5b0c", "rate_limit=off", "not_before=2040-01-31", "url=http://h/z"}, "PATCH /v1/tasks/5b0c HTTP/1.1",
     "{\"rate_limit\":0,\"not_before\":\"2040-01-31T00:00:00.000Z\",\"url\":\"http://h/z\"}", SHOW},
    {{"retarget", "5b0c", "http://h/z"}, "PATCH /v1/tasks/5b0c HTTP/1.1", "{\"url\":\"http://h/z\"}", SHOW},
    {{"limit", "2M", "--until", "2040-01-31"}, "PATCH /v1/settings HTTP/1.1",
     "{\"rate_limit\":2097152,\"until\":\"2040-01-31T00:00:00.000Z\"}", SETTINGS},
    {{"limit", "off"}, "PATCH /v1/settings HTTP/1.1", "{\"rate_limit\":0}", SETTINGS},
    {{"limit"}, "GET /v1/settings HTTP/1.1", "", SETTINGS},
    {{"settings", "max_tasks_num=4", "max_per_host=5"}, "PATCH /v1/settings HTTP/1.1",
     "{\"max_tasks_num\":4,\"max_per_host\":5}", SETTINGS},
    {{"clear", "--all", "--text"}, "POST /v1/clear HTTP/1.1", "{\"scope\": \"all\"}", COUNT_OF},
    {{"pause", "2h", "--text"}, "POST /v1/pause HTTP/1.1", "{\"seconds\": 7200}", "{}"},
    {{"resume", "--all", "--json"}, "POST /v1/resume HTTP/1.1", "{\"scope\": \"all\"}", "{}"},
    {{"update_tasks_num", "3", "--text"}, "PATCH /v1/settings HTTP/1.1", "{\"max_tasks_num\": 3}", SETTINGS},
    {{"stats", "--text"}, "GET /v1/stats HTTP/1.1", "", STATS},
    {{"status", "5b0c", "--text"}, "GET /v1/tasks/5b0c HTTP/1.1", "", SHOW},
};
/* clang-format on */

START_TEST(sends_what_version_1_takes)
{
    static const struct setting utc = {.environment = {"TZ=UTC"}};
    const struct sending *sending = &v1_sendings[_i];
    const char *const *words = sending->words;
    char line[128];

    set_answers(http(200, sending->answer), NULL);
    int status =
        run(&utc, "unix", words[0], words[1], words[2], words[3], words[4], words[5], NULL);
    ck_assert_msg(status == 0, "%s: %d %s", words[0], status, err);
    ck_assert_str_eq(err, "");
    snprintf(line, sizeof line, "%s\r\n", sending->line);
    ck_assert_msg(strncmp(request(0), line, strlen(line)) == 0, "%s", request(0));
    ck_assert_str_eq(body_of(request(0)), sending->body);
    if (*sending->body)
        expect_in(request(0), "Content-Type: application/json\r\n");
}
END_TEST

START_TEST(a_name_is_sent_when_given)
{
    set_answers(http(200, STATS), NULL);
    ck_assert_int_eq(run(&plain, "unix", "-u", "alice", "stats", NULL), 0);
    expect_identity(request(0), "alice");
    set_answers(http(200, STATS), NULL);
    ck_assert_int_eq(run(&plain, "tcp", "stats", "--user=bo b", NULL), 0);
    expect_identity(request(0), "bo b");
    if (!am_root())
        return;
    struct setting root = {.as_root = true};
    set_answers(http(200, STATS), NULL);
    ck_assert_int_eq(run(&root, "tcp", "stats", NULL), 0);
    expect_identity(request(0), "root");
}
END_TEST

START_TEST(no_password_leaves)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/.netrc", server.directory);
    FILE *file = fopen(path, "w");
    fprintf(file, "default login %s password secret\n", own_name());
    fclose(file);
    set_answers(http(200, STATS), NULL);
    ck_assert_int_eq(run(&plain, "tcp", "stats", NULL), 0);
    expect_identity(request(0), own_name());
    ck_assert_int_eq(run(&plain, "unix", "stats", NULL), 0);
    expect_identity(request(1), NULL);
}
END_TEST

START_TEST(root_has_no_downloads_over_tcp)
{
    if (!am_root())
        return;
    struct setting root = {.as_root = true};
    set_answers(http(200, TASK), NULL);
    ck_assert_int_eq(run(&root, "tcp", "add", "http://a.example/x", NULL), 4);
    expect("", "autodl: root has no downloads here; use -u USER\n");
    ck_assert_int_eq(count_requests(), 0);
    ck_assert_int_eq(run(&root, "tcp", "add", "http://a.example/x", "-u", "alice", NULL), 0);
    ck_assert_int_eq(run(&root, "unix", "add", "http://a.example/x", NULL), 0);
    ck_assert_int_eq(count_requests(), 2);
}
END_TEST

/* --- add --- */

START_TEST(several_urls_are_several_requests)
{
    const char *refusal = "{\"code\": \"directory\", \"message\": \"No.\"}";
    char expected[256];

    set_answers(http(200, TASK), http(403, refusal), http(400, refusal), http(200, TASK), NULL);
    ck_assert_int_eq(run(&plain, "unix", "add", "http://a.example/1", "http://a.example/2",
                         "http://a.example/3", "http://a.example/4", NULL),
                     4);
    snprintf(expected, sizeof(expected), "%s\n%s\n%s\n%s\n", TASK, refusal, refusal, TASK);
    expect(expected, "autodl: http://a.example/2: No.\nautodl: http://a.example/3: No.\n");
    ck_assert_int_eq(count_requests(), 4);
    ck_assert_str_eq(body_of(request(3)), "url=http%3A%2F%2Fa.example%2F4");
}
END_TEST

START_TEST(a_broken_connection_stops_the_rest)
{
    set_answers(http(200, TASK), "", NULL);
    ck_assert_int_eq(run(&plain, "unix", "add", "http://a.example/1", "http://a.example/2",
                         "http://a.example/3", "http://a.example/4", NULL),
                     5);
    ck_assert_str_eq(out, TASK "\n");
    expect_in(err, "autodl: http://a.example/2: the service at ");
    expect_in(err, "\nautodl: stopped; not sent: http://a.example/3 and what follows it\n");
    ck_assert_int_eq(count_requests(), 2);
}
END_TEST

/* Over the unix socket, from the client's directory /tmp/autodl-cli-XXXXXX ("@": its name). */
static const char *const paths[][2] = {
    {"isos",     "%2Ftmp%2F@%2Fisos" },
    {"./a//b/",  "%2Ftmp%2F@%2Fa%2Fb"},
    {".",        "%2Ftmp%2F@"        },
    {"..",       "%2Ftmp"            },
    {"../../..", "%2F"               },
    {"...",      "%2Ftmp%2F@%2F..."  },
    {"a/../.b",  "%2Ftmp%2F@%2F.b"   },
};

START_TEST(a_relative_path_is_from_the_current_directory)
{
    struct buf expected;

    buf_init(&expected, 1024);
    buf_add_string(&expected, "url=http%3A%2F%2Fa%2F&path=");
    for (const char *p = paths[_i][1]; *p; p++)
        if (*p == '@')
            buf_add_string(&expected, server.directory + strlen("/tmp/"));
        else
            buf_add_char(&expected, *p);
    set_answers(http(200, TASK), NULL);
    ck_assert_int_eq(run(&plain, "unix", "add", "http://a/", paths[_i][0], NULL), 0);
    ck_assert_str_eq(body_of(request(0)), expected.data);
    buf_release(&expected);
}
END_TEST

/* --- wrong usage: nothing is sent --- */

struct misuse {
    const char *words[5];
    const char *message;
};

/* clang-format off */
static const struct misuse misuses[] = {
    {{"add"}, "usage: autodl add URL... [PATH]"},
    {{"add", "example.org/a"},
     "\"example.org/a\": no scheme; did you mean https://example.org/a ?"},
    {{"add", "example.org/a", "~/x"},
     "\"example.org/a\": no scheme; did you mean https://example.org/a ?"},
    {{"add", "http://a/1", "http://a/2", "b"}, "\"b\": no scheme; did you mean https://b ?"},
    {{"add", "http://a/1", "http://a/2", "~/b"},
     "\"~/b\": PATH goes with one URL alone; for several: -d DIR"},
    {{"add", "a?u=http://b"}, "\"a?u=http://b\": no scheme; did you mean https://a?u=http://b ?"},
    {{"add", "magnet:?xt=a"}, "\"magnet:?xt=a\": autodl does not speak BitTorrent"},
    {{"add", "http://a/", "MAGNET:?xt=x"}, "\"MAGNET:?xt=x\": autodl does not speak BitTorrent"},
    {{"add", "gopher://a/"},
     "\"gopher://a/\": autodl does not speak gopher, only http, https, ftp, ftps and sftp"},
    {{"add", ""}, "the URL is empty"},
    {{"add", "http://a/", ""}, "PATH is empty; leave it out for the default directory"},
    {{"add", "http://a/", "~bob/x"}, "\"~bob/x\": only '~/...' is understood, your own directory"},
    {{"status"}, "usage: autodl status TASK_ID"},
    {{"status", "a", "b"}, "usage: autodl status TASK_ID"},
    {{"stats", "a"}, "usage: autodl stats"},
    {{"stats", "--all"}, "stats takes no --all"},
    {{"clear", "a"}, "usage: autodl clear [--all]"},
    {{"pause", "5b0c9a1e"}, "pause takes seconds; to hold one download: autodl hold 5b0c9a1e"},
    {{"pause", ""}, "pause takes seconds; to hold one download: autodl hold 5b0c9a1e"},
    {{"pause", "m"}, "pause takes seconds; to hold one download: autodl hold 5b0c9a1e"},
    {{"pause", "5M"}, "pause takes seconds; to hold one download: autodl hold 5b0c9a1e"},
    {{"pause", "5ms"}, "pause takes seconds; to hold one download: autodl hold 5b0c9a1e"},
    {{"pause", "+5"}, "pause takes seconds; to hold one download: autodl hold 5b0c9a1e"},
    {{"pause", "0"}, "pause takes 1 second to 365 days (31536000 seconds), not 0"},
    {{"pause", "366d"}, "pause takes 1 second to 365 days (31536000 seconds), not 366d"},
    {{"pause", "99999999999999999999s"},
     "pause takes 1 second to 365 days (31536000 seconds), not 99999999999999999999s"},
    {{"pause", "-5"}, "there is no option -5; see autodl --help"},
    {{"update_tasks_num", "0"}, "update_tasks_num takes a number from 1 to 1000, not \"0\""},
    {{"update_tasks_num", "1001"}, "update_tasks_num takes a number from 1 to 1000, not \"1001\""},
    {{"update_tasks_num", "abc"}, "update_tasks_num takes a number from 1 to 1000, not \"abc\""},
    {{"update_tasks_num", ""}, "update_tasks_num takes a number from 1 to 1000, not \"\""},
    {{"lst"}, "there is no command \"lst\"; see autodl --help"},
    {{"lst", "--help"}, "there is no command \"lst\"; see autodl --help"},
    {{"help", "lst"}, "there is no command \"lst\"; see autodl --help"},
    {{"completions", "fish"}, "completions are for bash or zsh, not \"fish\""},
    {{"--json"}, "which command? autodl --help lists them"},
    {{"-u", "a:b", "stats"}, "-u takes a user's name, without a colon, not \"a:b\""},
    {{"-u", "", "stats"}, "-u takes a user's name, without a colon, not \"\""},
    {{"stats", "-x"}, "there is no option -x; see autodl --help"},
    {{"stats", "--nope=1"}, "there is no option --nope=1; see autodl --help"},
    {{"stats", "--json=1"}, "--json takes no value"},
    {{"stats", "--output=xml"}, "--output takes auto, json or text, not \"xml\""},
    {{"stats", "-h"}, "-h takes a host; for help: autodl --help"},
    {{"stats", "--port"}, "--port takes a value; see autodl --help"},
    {{"st\033[2J\nats"}, "there is no command \"st\\x1b[2J\\x0aats\"; see autodl --help"},
};
/* clang-format on */

START_TEST(wrong_usage_sends_nothing)
{
    const char *const *words = misuses[_i].words;
    char expected[512];

    set_answers(http(200, TASK), NULL);
    ck_assert_int_eq(run(&plain, "unix", words[0], words[1], words[2], words[3], NULL), 2);
    snprintf(expected, sizeof(expected), "autodl: %s\n", misuses[_i].message);
    expect("", expected);
    ck_assert_int_eq(count_requests(), 0);
}
END_TEST

/* clang-format off */
#define PIN "sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
#define NO_PIN(text) \
    "--pin takes sha256//... with 44 characters of base64, as the service logs it at its start, " \
    "not \"" text "\""
static const struct misuse addresses[] = {
    {{"-h", "a", "--socket=b"}, "--socket and -h name two services; give one of them"},
    {{"-p", "1", "--socket=b"}, "--socket and -p name two services; give one of them"},
    {{"-h", "a:1", "-p", "2"}, "-h names a port already; leave out -p"},
    {{"-h", ""}, "-h takes HOST, HOST:PORT, [IPV6]:PORT, https://HOST:PORT or ssh://HOST, not \"\""},
    {{"-h", "[::1"}, "-h takes HOST, HOST:PORT, [IPV6]:PORT, https://HOST:PORT or ssh://HOST, not \"[::1\""},
    {{"-h", "[::1]x"},
     "-h takes HOST, HOST:PORT, [IPV6]:PORT, https://HOST:PORT or ssh://HOST, not \"[::1]x\""},
    {{"-h", "a b"}, "-h takes HOST, HOST:PORT, [IPV6]:PORT, https://HOST:PORT or ssh://HOST, not \"a b\""},
    {{"-h", "ftp://a"},
     "-h takes HOST, HOST:PORT, [IPV6]:PORT, https://HOST:PORT or ssh://HOST, not \"ftp://a\""},
    {{"-h", "http://a/b"},
     "-h takes HOST, HOST:PORT, [IPV6]:PORT, https://HOST:PORT or ssh://HOST, not \"http://a/b\""},
    {{"-h", "al@a"},
     "-h takes no user and no password: the user goes to -u, the password to AUTODL_PASSWORD, "
     "~/.netrc or the prompt"},
    {{"-h", "https://al:secret@a:1"},
     "-h takes no user and no password: the user goes to -u, the password to AUTODL_PASSWORD, "
     "~/.netrc or the prompt"},
    {{"-h", "a:"}, "\"\" is not a port; a port is a number from 1 to 65535"},
    {{"-p", "65536"}, "\"65536\" is not a port; a port is a number from 1 to 65535"},
    {{"-p", "0"}, "\"0\" is not a port; a port is a number from 1 to 65535"},
    {{"--socket", ""}, "--socket takes the path of a socket, up to 107 bytes"},
    {{"-h", "https://"},
     "-h takes HOST, HOST:PORT, [IPV6]:PORT, https://HOST:PORT or ssh://HOST, not \"https://\""},
    {{"-h", "https://a/b"},
     "-h takes HOST, HOST:PORT, [IPV6]:PORT, https://HOST:PORT or ssh://HOST, not \"https://a/b\""},
    {{"-h", "a", "--pin", PIN}, "--pin is for services over TLS: -h https://HOST"},
    {{"--socket=a", "--cacert", "/dev/null"},
     "--cacert is for services over TLS: -h https://HOST"},
    {{"-h", "https://a", "--pin", "sha256//abc"},
     NO_PIN("sha256//abc")},
    {{"-h", "https://a", "--pin", "/etc/passwd"},
     NO_PIN("/etc/passwd")},
    {{"-h", "https://a", "--pin", PIN ";"},
     NO_PIN(PIN ";")},
    {{"-h", "https://a", "--pin", PIN "x"},
     NO_PIN(PIN "x")},
    {{"-h", "https://a", "--cacert", "/nonexistent"},
     "--cacert /nonexistent: No such file or directory"},
    {{"-h", "SSH://al:secret@nas/"}, "-h ssh://... takes no password: ssh asks for it itself"},
    {{"-h", "ssh://-oProxyCommand=x"},
     "-h takes ssh://[USER@]HOST[:PORT], not \"ssh://-oProxyCommand=x\""},
    {{"-h", "ssh://-x@nas"}, "-h takes ssh://[USER@]HOST[:PORT], not \"ssh://-x@nas\""},
    {{"-h", "ssh://"}, "-h takes ssh://[USER@]HOST[:PORT], not \"ssh://\""},
    {{"-h", "ssh://nas", "--pin", PIN}, "--pin is for services over TLS: -h https://HOST"},
};
/* clang-format on */

START_TEST(a_wrong_address_is_wrong_usage)
{
    const char *const *words = addresses[_i].words;
    char expected[512];

    ck_assert_int_eq(run(&plain, "", "stats", words[0], words[1], words[2], words[3], NULL), 2);
    snprintf(expected, sizeof(expected), "autodl: %s\n", addresses[_i].message);
    expect("", expected);
}
END_TEST

START_TEST(a_relative_path_needs_the_same_machine)
{
    set_answers(http(200, TASK), NULL);
    ck_assert_int_eq(run(&plain, "tcp", "add", "http://a/", "isos", NULL), 2);
    expect("", "autodl: \"isos\" is relative, but the directory is on the service's machine; write "
               "'~/isos' in quotes, or an absolute path\n");
    ck_assert_int_eq(count_requests(), 0);
}
END_TEST

/* --- how it ends --- */

struct ending {
    int answered;
    const char *body;
    const char *words[3];
    int status;
    const char *error;
};

#define SENTENCE(text) "{\"code\": \"x\", \"message\": \"" text "\"}"

/* clang-format off */
static const struct ending endings[] = {
    {200, STATS, {"stats"}, 0, ""},
    {201, TASK, {"add", "http://a/"}, 0, ""},
    {404, "{\"message\": \"Not Found\"}", {"status", "5b0c"}, 3,
     "autodl: no such task: \"5b0c\"; autodl list prints their ids\n"},
    {404, SENTENCE("No such route."), {"stats"}, 1, "autodl: No such route.\n"},
    {400, SENTENCE("Give a path."), {"add", "http://a/"}, 1, "autodl: Give a path.\n"},
    {409, SENTENCE("Several."), {"status", "5b0c"}, 1, "autodl: Several.\n"},
    {429, SENTENCE("Slower."), {"stats"}, 1, "autodl: Slower.\n"},
    {401, SENTENCE("Who?"), {"stats"}, 4, "autodl: Who?\n"},
    {403, SENTENCE("Not you."), {"update_tasks_num", "3"}, 4, "autodl: Not you.\n"},
    {421, SENTENCE("Not my name."), {"stats"}, 4, "autodl: Not my name.\n"},
    {500, SENTENCE("Sorry."), {"stats"}, 5, "autodl: Sorry.\n"},
    {503, SENTENCE("Stopping."), {"clear"}, 5, "autodl: Stopping.\n"},
    {403, "{}", {"stats"}, 4, "autodl: the service refused and gave no reason (HTTP 403)\n"},
    {400, "{\"message\": 5}", {"stats"}, 1,
     "autodl: the service refused and gave no reason (HTTP 400)\n"},
    {400, SENTENCE("\\u0000x"), {"stats"}, 1,
     "autodl: the service refused and gave no reason (HTTP 400)\n"},
    {400, SENTENCE("a\\u001b[2J\\n\\u202eb\\u009b\xc3\xa9\xff"), {"stats"}, 1,
     "autodl: a\\x1b[2J\\x0a\\u202eb\\u009b\xc3\xa9\\xff\n"},
};
/* clang-format on */

START_TEST(ends_as_the_answer_says)
{
    static const struct setting terminal = {.terminal = true};
    static const struct setting json = {.environment = {"AUTODL_OUTPUT=json"}};
    const struct ending *ending = &endings[_i];
    char body[256];
    bool done = ending->status == 0;

    snprintf(body, sizeof(body), "%s\n", ending->body);
    set_answers(http(ending->answered, ending->body), NULL);
#define ENDS(how, option, printed)                                                                 \
    do {                                                                                           \
        ck_assert_int_eq(run(how, "unix", option, ending->words[0], ending->words[1], NULL),       \
                         ending->status);                                                          \
        expect(printed, ending->error);                                                            \
    } while (0)
    ENDS(&plain, "--output=auto", body);
    if (!done) /* successes of version 1 are test_cli_v1's */
        ENDS(&terminal, "--output=auto", "");
    if (_i == 2) {
        ENDS(&plain, "--json", "");
        ENDS(&plain, "--text", "");
        ENDS(&json, "--user=x", "");
        ENDS(&json, "--output=auto", body);
        ENDS(&terminal, "--output=json", "");
    }
#undef ENDS
}
END_TEST

START_TEST(a_terminal_is_not_driven_by_the_server)
{
    static const struct setting terminal = {.terminal = true, .environment = {"TERM=xterm"}};
    const char *body = "{\"id\": \"5b0c9a1e-0000-4000-8000-000000000000\", \"status\": \"FAILED\", "
                       "\"name\": \"\\u001b]0;x\\u0007\xe2\x80\xae\x7f\xc2\x9b\xc3\xa9\", "
                       "\"directory\": \"/a\\nb\", \"error\": {\"message\": \"\\u001b[2J\"}}";
    const char *shown = "5b0c9a1e  failed  \\x1b]0;x\\x07\\u202e\\x7f\\u009b\xc3\xa9 \xe2\x86\x92 "
                        "/a\\x0ab  (\\x1b[2J)\n";
    char exactly[512];

    snprintf(exactly, sizeof(exactly), "%s\n", TASK);
    set_answers(http(200, TASK), NULL);
    ck_assert_msg(run(&plain, "unix", "status", "5b0c", NULL) == 0, "%s", err);
    expect(exactly, "");
    set_answers(http(200, body), NULL);
    ck_assert_int_eq(run(&plain, "unix", "status", "5b0c", "--text", NULL), 0);
    expect(shown, "");
    ck_assert_int_eq(run(&terminal, "unix", "status", "5b0c", "--json", NULL), 0);
    expect_in(out, "\\u001b]0;x\\u0007\\u202e\\u007f\\u009b\\u00e9");
    ck_assert_int_eq(run(&terminal, "unix", "status", "5b0c", NULL), 0);
    snprintf(exactly, sizeof(exactly), "\033[1m5b0c9a1e\033[0m%s", shown + 8);
    expect(exactly, "");
}
END_TEST

/* A text of the service never ends a line of ours, nor hides in it; what is spelt with joiners
 * stays. */
START_TEST(texts_of_the_server_stay_within_their_line)
{
    /* clang-format off */
    static const struct {
        const char *words[3];
        const char *body, *shown;
    } cases[] = {
        {{"settings"}, "{\"max_tasks_num\": {\"value\": 3, \"source\": \"a\\nb\", \"who\": \"c\\u200bd\"}}",
         "max_tasks_num = 3  (a\\x0ab, by c\\u200bd)\n"},
        {{"limit"}, "{\"max_tasks_num\": {}, \"rate_limit\": {\"value\": 1024, \"until\": \"x\\n\"}}",
         "At most 1.0K/s (autodl limit off ends it)\n"},
        {{"stats", "--text"},
         "{\"tasks\": {}, \"disk\": {\"free\": 1024, \"directory\": \"/a\\nb\\ufeff\"}}",
         "disk      1.0K free in /a\\x0ab\\ufeff\n"},
        {{"status", "5b0c", "--text"},
         "{\"id\": \"5b0c9a1e\", \"status\": \"CLEARED\", \"directory\": \"/a\", "
         "\"name\": \"a\\u00ad\\u2060\\u200d\\ufe0f\\udb40\\udc61b\"}",
         "5b0c9a1e  cleared  a\\u00ad\\u2060\xe2\x80\x8d\xef\xb8\x8f\\ue0061b \xe2\x86\x92 /a\n"},
    };
    /* clang-format on */
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        set_answers(http(200, cases[i].body), NULL);
        ck_assert_int_eq(
            run(&plain, "unix", cases[i].words[0], cases[i].words[1], cases[i].words[2], NULL), 0);
        expect(cases[i].shown, "");
    }
}
END_TEST

/* --- answers that are none --- */

struct garbage {
    const char *answer;
    const char *error;
};

#define NOT_OURS "is not autodl-service"

/* clang-format off */
static const struct garbage garbages[] = {
    {"", "broke off the connection"},
    {"SSH-2.0-OpenSSH_9.2\r\n", "does not speak HTTP"},
    {"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{\"tasks\"", "broke off the connection"},
    {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nServer:  nginx/1.22 \r\n\r\nhello",
     NOT_OURS " (HTTP 200, server nginx/1.22)"},
    {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", NOT_OURS " (HTTP 200, server without a name)"},
    {"HTTP/1.1 404 No\r\nContent-Length: 6\r\n\r\n<html>", NOT_OURS},
    {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", NOT_OURS},
    {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", NOT_OURS},
    {"HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n{\"tasks\": {}}x", NOT_OURS},
    {"HTTP/1.1 302 Go\r\nLocation: /stats\r\nContent-Length: 2\r\n\r\n{}", NOT_OURS " (HTTP 302"},
    {"HTTP/1.1 200 OK\r\nContent-Length: 9999999999\r\n\r\n{}", "broke off the connection"},
};
/* clang-format on */

START_TEST(garbage_is_told_apart)
{
    set_answers(garbages[_i].answer, NULL);
    ck_assert_int_eq(run(&plain, "tcp", "stats", "--json", NULL), 5);
    ck_assert_str_eq(out, "");
    expect_error(garbages[_i].error);
    ck_assert_int_eq(count_requests(), 1);
}
END_TEST

START_TEST(an_answer_is_bounded)
{
    size_t size = (size_t)9 << 20;
    char *answer = malloc(size + 1);

    memset(answer, ' ', size);
    answer[size] = '\0';
    memcpy(answer, "HTTP/1.1 200 OK\r\n\r\n", 19);
    set_answers(answer, NULL);
    ck_assert_int_eq(run(&plain, "tcp", "stats", NULL), 5);
    expect_error("is too large");
    memcpy(answer, "HTTP/1.1 200 OK\r\nX-Long:", 24);
    for (size_t i = 1000; i < size; i += 1000)
        memcpy(answer + i, "\r\nX: ", 5);
    ck_assert_int_eq(run(&plain, "tcp", "stats", NULL), 5);
    expect_error("is too large");
    set_answers(NULL);
    free(answer);
}
END_TEST

/* --- which service --- */

START_TEST(the_environment_names_a_service)
{
    char host[64], both[64], port[64], path[128], v6[64];
    snprintf(host, sizeof(host), "AUTODL_HOST=127.0.0.1");
    snprintf(both, sizeof(both), "AUTODL_HOST=http://localhost:%d/", server.port);
    snprintf(port, sizeof(port), "AUTODL_PORT=%d", server.port);
    snprintf(path, sizeof(path), "AUTODL_SOCKET=%s", server.socket);
    snprintf(v6, sizeof(v6), "AUTODL_HOST=[::1]:%d", server.port);
    const struct setting good[] = {{.environment = {host, port}},
                                   {.environment = {both}},
                                   {.environment = {port, "AUTODL_HOST="}},
                                   {.environment = {path, "AUTODL_HOST=nosuch.invalid"}},
                                   {.environment = {path, "AUTODL_PORT=nonsense"}}};

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        set_answers(http(200, STATS), NULL);
        ck_assert_msg(run(&good[i], "", "stats", NULL) == 0, "%zu: %s", i, err);
        ck_assert_int_eq(count_requests(), 1);
        expect_identity(request(0), i < 3 ? own_name() : NULL);
    }
    /* What the options name goes before it. */
    const struct setting bad = {.environment = {"AUTODL_SOCKET=/nonexistent"}};
    ck_assert_int_eq(run(&bad, "", "stats", NULL), 5);
    expect_error("no service answers at /nonexistent; start it");
    ck_assert_int_eq(run(&bad, "tcp", "stats", NULL), 0);
    ck_assert_int_eq(run(&bad, "unix", "stats", NULL), 0);
    const struct setting ssh = {.environment = {"AUTODL_HOST=ssh://a@-nas"}};
    ck_assert_int_eq(run(&ssh, "", "stats", NULL), 2);
    expect_error("AUTODL_HOST takes ssh://[USER@]HOST[:PORT], not \"ssh://a@-nas\"");
    ck_assert_int_eq(run(&ssh, "tcp", "stats", NULL), 0);
    const struct setting nobody_there = {.environment = {v6}};
    ck_assert_int_eq(run(&nobody_there, "", "stats", NULL), 5);
    expect_error("no service answers at [::1]:");
    const struct setting form = {.environment = {"AUTODL_OUTPUT=xml"}};
    ck_assert_int_eq(run(&form, "unix", "stats", NULL), 2);
    expect_error("AUTODL_OUTPUT takes auto, json or text, not \"xml\"");
}
END_TEST

START_TEST(the_first_that_accepts_is_asked)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", server.directory, API_SOCKET_NAME);
    ck_assert_int_eq(rename(server.socket, path), 0);
    set_answers(http(200, STATS), NULL);
    ck_assert_int_eq(run(&plain, "", "stats", NULL), 0);
    ck_assert_int_eq(count_requests(), 1);
    expect_identity(request(0), NULL);
}
END_TEST

/* After su the variable may be that of another user, who could have put anything there. */
START_TEST(the_runtime_directory_of_another_user_is_not_used)
{
    char path[128];
    if (!am_root())
        return;
    snprintf(path, sizeof(path), "%s/%s", server.directory, API_SOCKET_NAME);
    ck_assert_int_eq(rename(server.socket, path), 0);
    set_answers(http(200, STATS), NULL);
    ck_assert_int_eq(chown(server.directory, NOBODY - 1, NOBODY), 0);
    run(&plain, "", "stats", NULL);
    ck_assert_int_eq(count_requests(), 0);
    ck_assert_int_eq(chown(server.directory, NOBODY, NOBODY), 0);
    ck_assert_int_eq(chmod(server.directory, 0777), 0);
    run(&plain, "", "stats", NULL);
    ck_assert_int_eq(count_requests(), 0);
    ck_assert_int_eq(chmod(server.directory, 0755), 0);
    ck_assert_int_eq(run(&plain, "", "stats", NULL), 0);
    ck_assert_int_eq(count_requests(), 1);
}
END_TEST

START_TEST(nobody_answers)
{
    char number[16], expected[512];
    int port;
    int fd = bind_tcp(&port); /* bound, but it does not listen */

    snprintf(number, sizeof(number), "%d", port);
    ck_assert_int_eq(run(&plain, "", "-p", number, "-h", "127.0.0.1", "stats", NULL), 5);
    snprintf(expected, sizeof(expected),
             "autodl: no service answers at 127.0.0.1:%d; start it: systemctl start "
             "autodl-service; elsewhere: -h ssh://HOST\n",
             port);
    expect("", expected);
    ck_assert_int_eq(run(&plain, "", "-h", "nosuch.invalid", "stats", NULL), 5);
    expect_error("the host of nosuch.invalid:6736 is not known");
    close(fd);

    ck_assert_int_eq(chmod(server.socket, 0600), 0);
    if (!am_root())
        return;
    ck_assert_int_eq(run(&plain, "unix", "stats", NULL), 5);
    expect_error("you may not connect to ");
    expect_error(": Permission denied");
}
END_TEST

START_TEST(the_default_addresses_are_named_when_none_answers)
{
    char expected[512];

    int status = run(&plain, "", "stats", NULL);
    if (status != 5 || !strstr(err, "no service answers"))
        return; /* one is installed here */
    snprintf(expected, sizeof(expected),
             "autodl: no service answers at %s/autodl.sock, /run/autodl/autodl.sock or "
             "localhost:6736; start it: systemctl start autodl-service; elsewhere: -h ssh://HOST\n",
             server.directory);
    expect("", expected);
}
END_TEST

/* --- version and help --- */

START_TEST(version_says_who_answers)
{
    set_answers(http(401, SENTENCE("Who?")), NULL);
    ck_assert_int_eq(run(&plain, "unix", "-V", NULL), 0);
    ck_assert_int_eq(strncmp(out, "autodl ", 7), 0);
    expect_in(out, "\nservice: autodl/1.2.3 at /tmp/autodl-cli-");
    expect_in(out, " (unix socket)\n");
    ck_assert_str_eq(err, "");
    set_answers("HTTP/1.1 200 OK\r\nServer: \033[1mx\r\nContent-Length: 0\r\n\r\n", NULL);
    ck_assert_int_eq(run(&plain, "tcp", "stats", "--version", NULL), 0);
    expect_in(out, "\nservice: \\x1b[1mx at 127.0.0.1:");
    expect_in(out, " (plain HTTP)\n");
    ck_assert_int_eq(run(&plain, "", "--socket", "/nonexistent", "-V", NULL), 0);
    expect_in(out, "\nservice: none; no service answers at /nonexistent; ");
    ck_assert_int_eq(run(&plain, "", "-V", "-h", "ssh://-nas", NULL), 2);
}
END_TEST

START_TEST(help_is_on_standard_output)
{
    static const char *const commands[] = {
        "add",   "status",           "clear", "pause",      "resume",
        "stats", "update_tasks_num", "help",  "completions"};
    char overview[TEXT_MAX], help[TEXT_MAX], usage[64];

    ck_assert_int_eq(run(&plain, "", NULL), 0);
    ck_assert_str_eq(err, "");
    snprintf(overview, sizeof(overview), "%s", out);
    ck_assert_int_eq(run(&plain, "", "--help", NULL), 0);
    expect(overview, "");
    ck_assert_int_eq(run(&plain, "unix", "help", NULL), 0);
    expect(overview, "");
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        snprintf(usage, sizeof(usage), "\n  %s ", commands[i]);
        expect_in(overview, usage);
        ck_assert_int_eq(run(&plain, "", commands[i], "--help", NULL), 0);
        ck_assert_str_eq(err, "");
        snprintf(usage, sizeof(usage), "Usage: autodl [OPTIONS] %s", commands[i]);
        ck_assert_int_eq(strncmp(out, usage, strlen(usage)), 0);
        snprintf(help, sizeof(help), "%s", out);
        ck_assert_int_eq(run(&plain, "", "help", commands[i], NULL), 0);
        expect(help, "");
    }
    ck_assert_int_eq(run(&plain, "", "help", "update-tasks-num", NULL), 0);
    expect_in(out, "autodl [OPTIONS] update-tasks-num [N]");
}
END_TEST

START_TEST(options_may_stand_anywhere)
{
    static const struct setting posix = {.environment = {"POSIXLY_CORRECT=1"}};

    set_answers(http(403, MESSAGE), NULL);
    ck_assert_int_eq(run(&posix, "unix", "--json", "pause", "-u", "al", "5", "--all", NULL), 4);
    expect("", "autodl: Done so\n");
    ck_assert_str_eq(body_of(request(0)), "{\"scope\": \"all\", \"seconds\": 5}");
    expect_identity(request(0), "al");
    set_answers(http(200, TASK), NULL);
    ck_assert_int_eq(run(&plain, "unix", "status", "--", "--all", NULL), 0);
    expect_in(request(0), "GET /status?task_id=--all ");
}
END_TEST

/* --- standard output that cannot be written, signals --- */

START_TEST(a_failed_write_is_noticed)
{
    int ends[2];
    int full = open("/dev/full", O_WRONLY | O_CLOEXEC);

    set_answers(http(200, TASK), NULL);
    ck_assert_int_eq(run(&(struct setting){.out = full}, "unix", "stats", NULL), 5);
    set_answers(http(200, STATS), NULL);
    ck_assert_int_eq(run(&(struct setting){.out = full}, "unix", "stats", NULL), 1);
    ck_assert_str_eq(err, "autodl: cannot write to standard output: No space left on device\n");
    ck_assert_int_eq(run(&(struct setting){.out = full}, "unix", "--help", NULL), 1);
    expect_error("cannot write to standard output: No space left on device");
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    close(ends[0]);
    ck_assert_int_eq(run(&(struct setting){.out = ends[1]}, "unix", "stats", NULL), 1);
    expect_error("cannot write to standard output: Broken pipe");
    set_answers(http(200, TASK), NULL);
    ck_assert_int_eq(
        run(&(struct setting){.out = ends[1]}, "unix", "add", "http://a/1", "http://a/2", NULL), 1);
    ck_assert_int_eq(count_requests(), 1);
    expect_in(err, "autodl: stopped; not sent: http://a/2\n");
    ck_assert_int_eq(run(&(struct setting){.close_out = true}, "tcp", "stats", "--text", NULL), 5);
    /* The connection that is kept must not have taken the place of standard output. */
    set_answers("HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{\"tasks\": {}}", NULL);
    ck_assert_int_eq(run(&(struct setting){.close_out = true}, "tcp", "stats", NULL), 1);
    ck_assert_str_eq(err, "autodl: cannot write to standard output: Bad file descriptor\n");
    close(ends[1]);
    close(full);
}
END_TEST

START_TEST(an_interrupt_ends_it)
{
    char *words[] = {(char *)"autodl", (char *)"--socket", server.socket, (char *)"stats", NULL};

    set_answers(HOLD, NULL);
    struct child child = start_client(&plain, words);
    pthread_mutex_lock(&server.lock);
    while (server.count == 0)
        pthread_cond_wait(&server.changed, &server.lock);
    pthread_mutex_unlock(&server.lock);
    kill(child.pid, SIGINT);
    ck_assert_int_eq(wait_client(&child), 1000 + SIGINT); /* a shell shows 130 */
}
END_TEST

#define LOOP(test, table) tcase_add_loop_test(tcase, test, 0, sizeof(table) / sizeof(table[0]))

static Suite *suite(void)
{
    Suite *s = suite_create("cli");
    TCase *tcase = tcase_create("autodl");

    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, start_server, stop_server);
    LOOP(sends_what_the_classic_routes_take, sendings);
    LOOP(sends_what_version_1_takes, v1_sendings);
    tcase_add_test(tcase, a_name_is_sent_when_given);
    tcase_add_test(tcase, no_password_leaves);
    tcase_add_test(tcase, root_has_no_downloads_over_tcp);
    tcase_add_test(tcase, several_urls_are_several_requests);
    tcase_add_test(tcase, a_broken_connection_stops_the_rest);
    LOOP(a_relative_path_is_from_the_current_directory, paths);
    LOOP(wrong_usage_sends_nothing, misuses);
    LOOP(a_wrong_address_is_wrong_usage, addresses);
    tcase_add_test(tcase, a_relative_path_needs_the_same_machine);
    LOOP(ends_as_the_answer_says, endings);
    tcase_add_test(tcase, a_terminal_is_not_driven_by_the_server);
    tcase_add_test(tcase, texts_of_the_server_stay_within_their_line);
    LOOP(garbage_is_told_apart, garbages);
    tcase_add_test(tcase, an_answer_is_bounded);
    tcase_add_test(tcase, the_environment_names_a_service);
    tcase_add_test(tcase, the_first_that_accepts_is_asked);
    tcase_add_test(tcase, the_runtime_directory_of_another_user_is_not_used);
    tcase_add_test(tcase, nobody_answers);
    tcase_add_test(tcase, the_default_addresses_are_named_when_none_answers);
    tcase_add_test(tcase, version_says_who_answers);
    tcase_add_test(tcase, help_is_on_standard_output);
    tcase_add_test(tcase, options_may_stand_anywhere);
    tcase_add_test(tcase, a_failed_write_is_noticed);
    tcase_add_test(tcase, an_interrupt_ends_it);
    suite_add_tcase(s, tcase);
    return s;
}

int main(void)
{
    return tap_main(suite());
}
