/* End to end: where downloads may go, and what becomes of secrets. The verdicts on addresses are
 * check_address's, single transfers check_transfer's. */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "v1.h"

#define SOON      30000 /* ms */
#define WIPE_SOON 15000 /* ms until nothing of a secret is on disk: 10 s, on a slow machine */

/* --- a web server that keeps connections and sends on to wherever the path says: /to/URL; else it
 * gives the file "hello" --- */

static struct {
    pthread_t thread;
    int listener;
    unsigned port;
    pthread_mutex_t lock;
    char seen[65536]; /* all that was asked */
    unsigned requests;
} site = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void note(const char *request)
{
    pthread_mutex_lock(&site.lock);
    size_t len = strlen(site.seen);
    snprintf(site.seen + len, sizeof site.seen - len, "%s", request);
    site.requests++;
    pthread_mutex_unlock(&site.lock);
}

static unsigned requests_made(void)
{
    pthread_mutex_lock(&site.lock);
    unsigned requests = site.requests;
    pthread_mutex_unlock(&site.lock);
    return requests;
}

static bool was_asked(const char *text)
{
    pthread_mutex_lock(&site.lock);
    bool found = strstr(site.seen, text) != NULL;
    pthread_mutex_unlock(&site.lock);
    return found;
}

static void answer_one(int fd, const char *request)
{
    char answer[1024];
    const char *to = strstr(request, " /to/");
    note(request);
    if (to && to < strchr(request, '\r'))
        snprintf(answer, sizeof answer,
                 "HTTP/1.1 302 Found\r\nLocation: %.*s\r\nContent-Length: 0\r\n\r\n",
                 (int)strcspn(to + 5, " "), to + 5);
    else if (strstr(request, " /missing"))
        snprintf(answer, sizeof answer, "HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n");
    else
        snprintf(answer, sizeof answer, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    (void)!send(fd, answer, strlen(answer), MSG_NOSIGNAL);
}

static void *serve_connection(void *data)
{
    int fd = (int)(intptr_t)data;
    char request[8192];
    size_t filled = 0;
    ssize_t n;
    while (filled < sizeof request - 1 &&
           (n = recv(fd, request + filled, sizeof request - 1 - filled, 0)) > 0) {
        filled += (size_t)n;
        request[filled] = '\0';
        if (strstr(request, "\r\n\r\n")) {
            answer_one(fd, request);
            filled = 0;
        }
    }
    close(fd);
    return NULL;
}

static void *serve(void *data)
{
    int fd;
    (void)data;
    while ((fd = accept(site.listener, NULL, NULL)) >= 0) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, serve_connection, (void *)(intptr_t)fd) == 0)
            pthread_detach(thread); /* ends with the service's connection */
        else
            close(fd);
    }
    return NULL;
}

static unsigned listen_anywhere(int *ret_fd)
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof name;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&name, len), 0);
    ck_assert_int_eq(listen(fd, 64), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&name, &len), 0);
    *ret_fd = fd;
    return ntohs(name.sin_port);
}

static struct service service;
static const char *directory;

static void set_up_unstarted(void)
{
    site.seen[0] = '\0';
    site.requests = 0;
    site.port = listen_anywhere(&site.listener);
    ck_assert_int_eq(pthread_create(&site.thread, NULL, serve, NULL), 0);
    service_init(&service);
}

#define FEW_TRIES "--retry-wait", "50ms", "--retry-max-wait", "100ms", "--retries", "2"

static void set_up(void)
{
    set_up_unstarted();
    service_start(&service, "--max-tasks-num", "1", FEW_TRIES, NULL);
    directory = make_directory(&service, "files");
}

static void tear_down(void)
{
    service_release(&service);
    shutdown(site.listener, SHUT_RDWR);
    pthread_join(site.thread, NULL);
    close(site.listener);
}

static const char *site_url(const char *host, const char *path)
{
    return textf("http://%s:%u%s", host, site.port, path);
}

/* It fails for its address, at the first attempt, and says so. */
static void expect_refused(const char *url, const char *sentence)
{
    const char *id = v1_add(&service, url, directory, NULL);
    const char *state = v1_wait_end(&service, id, SOON);
    const char *code = v1_get(&service, id, "error.code");
    ck_assert_msg(strcmp(state, "FAILED") == 0 && code && strcmp(code, "address") == 0, "%s: %s",
                  url, v1_get(&service, id, ""));
    const char *message = v1_get(&service, id, "error.message");
    ck_assert_msg(strstr(message, sentence), "%s", message);
    ck_assert_int_eq(v1_number(&service, id, "attempts"), 1);
}

static void expect_finished(const char *url)
{
    v1_wait(&service, v1_add(&service, url, directory, NULL), "FINISHED", SOON);
}

/* --- where downloads may go --- */

START_TEST(never)
{
    static const char *const urls[] = {"http://169.254.169.254/latest/meta-data/",
                                       "http://[::ffff:169.254.169.254]/",
                                       "http://2852039166/",
                                       "ftp://[fe80::1]/x",
                                       "http://0.0.0.0/",
                                       "http://224.0.0.1/"};
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++)
        expect_refused(urls[i], "where nothing is downloaded from");
    expect_refused(site_url("127.0.0.1", "/to/http://169.254.169.254/"), "a cloud's metadata");
    expect_finished(site_url("127.0.0.1", "/file"));
}
END_TEST

START_TEST(the_service_itself)
{
    const char *own = textf("http://127.0.0.1:%u/stats", service.port);
    expect_refused(own, "this service itself");
    expect_refused(textf("http://[::ffff:127.0.0.1]:%u/stats", service.port),
                   "this service itself");
    expect_refused(textf("ftp://127.0.0.1:%u/stats", service.port), "this service itself");
    expect_refused(site_url("127.0.0.1", textf("/to/%s", own)), "this service itself");
}
END_TEST

/* One worker: the second download finds the connection that the first one may have left. */
START_TEST(inside_by_redirect)
{
    expect_finished(site_url("127.0.0.1", "/file"));
    expect_finished(site_url("localhost", "/file"));
    unsigned before = requests_made();
    expect_refused(site_url("localhost", textf("/to/%s", site_url("127.0.0.1", "/inside"))),
                   "if that is meant, add that URL itself");
    expect_refused(site_url("127.0.0.1", textf("/to/%s", site_url("127.0.0.2", "/inside"))),
                   "is at 127.0.0.2");
    ck_assert_uint_eq(requests_made(), before + 2);
    ck_assert(!was_asked("GET /inside"));
    expect_finished(site_url("127.0.0.1", "/inside"));
}
END_TEST

START_TEST(denied_networks)
{
    file_write(service.config, "deny-networks = 127.0.0.1, ::1\ndeny-networks = 10.0.0.0/8\n");
    service_start(&service, FEW_TRIES, NULL);
    directory = make_directory(&service, "files");
    expect_refused(site_url("127.0.0.1", "/file"), "deny-networks");
    expect_refused(site_url("localhost", "/file"), "deny-networks");
    expect_refused("http://10.1.2.3/", "deny-networks");
    ck_assert_uint_eq(requests_made(), 0);

    file_write(service.config, "deny-networks = 10.0.0.0/8\n");
    kill(service.monitor, SIGHUP);
    service_wait_log(&service, "reloaded", SOON);
    expect_finished(site_url("127.0.0.1", "/file"));
}
END_TEST

START_TEST(proxies)
{
    setenv("http_proxy", "http://127.0.0.1:1/", 1);
    setenv("ALL_PROXY", "http://127.0.0.1:1/", 1);
    file_write(service.config, "");
    service_start(&service, FEW_TRIES, NULL);
    directory = make_directory(&service, "files");
    expect_finished(site_url("127.0.0.1", "/file"));
    service_stop(&service);

    setenv("no_proxy", "*", 1);
    file_write(service.config, textf("proxy = http://user:sesame@127.0.0.1:%u\n", site.port));
    service_start(&service, FEW_TRIES, NULL);
    expect_finished("http://far.invalid/through-the-proxy");
    ck_assert(was_asked("GET http://far.invalid/through-the-proxy HTTP/1.1\r\n"));
    ck_assert(was_asked("Proxy-Authorization: Basic dXNlcjpzZXNhbWU=\r\n"));
    expect_refused("http://169.254.169.254/", "a cloud's metadata");
    /* what a proxy may understand as that */
    expect_refused("http://169\u3002254\u3002169\u3002254/", "a cloud's metadata");
    expect_refused("http://\u2460\u2465\u2468.254.169.254/", "a cloud's metadata");
    expect_refused("http://%31%36%39.254.43518/", "a cloud's metadata");
    expect_refused(textf("http://127.0.0.1:%u/stats", service.port), "this service itself");
    service_stop(&service);
    _cleanup_free_ char *log = file_read(service.log);
    ck_assert_ptr_null(strstr(log, "sesame"));

    ck_assert_int_ne(
        service_start_failing(&service, "--proxy", "http://user:sesame@127.0.0.1:1", NULL), 0);
    free(log);
    log = file_read(service.log);
    ck_assert_ptr_nonnull(strstr(log, "--proxy: everybody on this machine can read"));
    ck_assert_ptr_null(strstr(log, "sesame"));
}
END_TEST

START_TEST(names_that_mean_nothing)
{
    service_start(&service, "--ca-file", "/nonexistent/ca.pem", "--known-hosts",
                  "/nonexistent/known_hosts", NULL);
    service_wait_log(&service, "ca-file = /nonexistent/ca.pem: the service cannot read it", SOON);
    service_wait_log(&service, "known-hosts = /nonexistent/known_hosts: the service cannot", SOON);
}
END_TEST

/* --- secrets --- */

static bool is_in_file(const char *path, const char *text)
{
    struct stat there;
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &there) < 0)
        return false;
    size_t size = there.st_size > 0 ? (size_t)there.st_size : 1 << 20; /* /proc says 0 */
    _cleanup_free_ char *content = malloc(size);
    size_t len = 0;
    ssize_t n;
    while (len < size && (n = read(fd, content + len, size - len)) > 0)
        len += (size_t)n;
    return len > 0 && memmem(content, len, text, strlen(text));
}

/* In a file of the service's state directory. */
static bool is_on_disk(const char *text)
{
    const char *state = textf("%s/state/autodl", service.dir);
    DIR *entries = opendir(state);
    struct dirent *entry;
    bool found = false;
    ck_assert_ptr_nonnull(entries);
    while ((entry = readdir(entries)))
        found = found || is_in_file(textf("%s/%s", state, entry->d_name), text);
    closedir(entries);
    return found;
}

static bool is_gone(void *data)
{
    return !is_on_disk(data);
}

static void expect_gone(const char *const *secrets)
{
    for (; *secrets; secrets++)
        wait_until(is_gone, (void *)*secrets, WIPE_SOON, *secrets);
}

static const char *const header_secrets[] = {"sesame-header", NULL};
static const char *const login_secrets[] = {"sesame-name", "sesame-word", NULL};

START_TEST(finished_ones_are_wiped)
{
    const char *cookie = v1_add(&service, site_url("127.0.0.1", "/a?token=sesame-query"), directory,
                                "\"headers\": {\"Cookie\": \"id=sesame-header\"}");
    const char *given = v1_add(&service, site_url("127.0.0.1", "/b"), directory,
                               "\"username\": \"sesame-name\", \"password\": \"sesame-word\"");
    const char *url = v1_add(&service, site_url("sesame%2Dname:sesame%2dword@127.0.0.1", "/c?q=1"),
                             directory, NULL);
    v1_wait(&service, cookie, "FINISHED", SOON);
    v1_wait(&service, given, "FINISHED", SOON);
    v1_wait(&service, url, "FINISHED", SOON);
    ck_assert(was_asked("Cookie: id=sesame-header\r\n"));
    ck_assert(was_asked("Authorization: Basic c2VzYW1lLW5hbWU6c2VzYW1lLXdvcmQ=\r\n"));
    expect_gone(header_secrets);
    expect_gone(login_secrets);

    ck_assert(is_on_disk("sesame-query")); /* the right place was looked at */

    /* What was asked for stays the owner's to see, but for the login. */
    ck_assert_str_eq(v1_get(&service, cookie, "url"),
                     site_url("127.0.0.1", "/a?token=sesame-query"));
    ck_assert_str_eq(v1_get(&service, url, "url"), site_url("127.0.0.1", "/c?q=1"));
    _cleanup_view_ struct task_view view = {0};
    ck_assert_int_eq(get_task(&service, NULL, url, &view), 200);
    ck_assert_str_eq(view.url, site_url("127.0.0.1", "/c?q=1"));

    pid_t pid = service_process(&service);
    ck_assert(!is_in_file(service.log, "sesame"));
    ck_assert(!is_in_file(textf("/proc/%d/cmdline", pid), "sesame"));
    ck_assert(!is_in_file(textf("/proc/%d/environ", pid), "sesame"));
}
END_TEST

START_TEST(failed_ones_keep_theirs_for_a_retry)
{
    const char *id =
        v1_add(&service, site_url("127.0.0.1", "/missing?token=sesame-query"), directory,
               "\"username\": \"sesame-name\", \"password\": \"sesame-word\", \"headers\": "
               "{\"Authorization-Extra\": \"sesame-header\"}");
    ck_assert_str_eq(v1_wait_end(&service, id, SOON), "FAILED");
    const char *shown = v1_get(&service, id, "");
    ck_assert_msg(!strstr(shown, "sesame-name") && !strstr(shown, "sesame-word") &&
                      !strstr(shown, "sesame-header"),
                  "%s", shown);
    service_kill_all(&service); /* no wipe gets lost in a crash, and no secret */
    service_start(&service, "--max-tasks-num", "1", FEW_TRIES, NULL);
    ck_assert(is_on_disk("sesame-word"));
    unsigned before = requests_made();
    v1_verb(&service, id, "retry", 200);
    ck_assert_str_eq(v1_wait_end(&service, id, SOON), "FAILED");
    ck_assert_uint_eq(requests_made(), before + 1);
    pthread_mutex_lock(&site.lock);
    const char *last = strstr(strstr(site.seen, "GET /missing") + 1, "GET /missing");
    ck_assert(last && strstr(last, "Authorization: Basic c2VzYW1lLW5hbWU6c2VzYW1lLXdvcmQ=\r\n"));
    pthread_mutex_unlock(&site.lock);

    int status = v1_call(&service, "DELETE", textf("/v1/tasks/%s", id), NULL, NULL);
    ck_assert_int_eq(status, 204);
    expect_gone(header_secrets);
    expect_gone(login_secrets);
    expect_gone((const char *const[]){"sesame-query", NULL});
    ck_assert(!is_in_file(service.log, "sesame"));
}
END_TEST

/* Between the commit that wipes and the cutting of the log. */
START_TEST(a_crash_before_the_wipe_is_made_up_for)
{
    const char *id = v1_add(&service, site_url("127.0.0.1", "/a"), directory,
                            "\"headers\": {\"Cookie\": \"id=sesame-header\"}");
    v1_wait(&service, id, "FINISHED", SOON);
    service_kill_all(&service);
    ck_assert(is_on_disk("sesame-header"));
    service_start(&service, NULL);
    expect_gone(header_secrets);
}
END_TEST

/* --- sftp --- */

static pid_t sshd;

static const char *sshd_path(void)
{
    static const char *const paths[] = {"/usr/sbin/sshd", "/usr/local/sbin/sshd", NULL};
    for (int i = 0; paths[i]; i++)
        if (access(paths[i], X_OK) == 0 && access("/usr/bin/ssh-keygen", X_OK) == 0)
            return paths[i];
    return NULL;
}

static void become_user(void)
{
    const struct identity *user = harness_user();
    if (getuid() == 0 && (setgid(user->gid) < 0 || setuid(user->uid) < 0))
        _exit(126);
    int null = open("/dev/null", O_RDWR);
    dup2(null, STDIN_FILENO);
    dup2(null, STDOUT_FILENO);
    dup2(null, STDERR_FILENO);
}

static void make_key(const char *path)
{
    pid_t pid = fork();
    if (pid == 0) {
        become_user();
        execl("/usr/bin/ssh-keygen", "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path,
              (char *)NULL);
        _exit(127);
    }
    ck_assert_int_eq(wait_exit(pid, SOON), 0);
}

static unsigned start_sshd(const char *key)
{
    int fd;
    unsigned port = listen_anywhere(&fd);
    close(fd);
    sshd = fork();
    if (sshd == 0) {
        become_user();
        execl(sshd_path(), sshd_path(), "-D", "-e", "-f", "/dev/null", "-h", key, "-o",
              "ListenAddress=127.0.0.1", "-o", textf("Port=%u", port), "-o", "PidFile=none", "-o",
              "UsePAM=no", (char *)NULL);
        _exit(127);
    }
    return port;
}

static bool answers(void *data)
{
    struct sockaddr_in name = {.sin_family = AF_INET,
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                               .sin_port = htons(*(uint16_t *)data)};
    _cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return connect(fd, (struct sockaddr *)&name, sizeof name) == 0;
}

/* A line of known_hosts(5) for that port. */
static const char *known_line(unsigned port, const char *key)
{
    _cleanup_free_ char *public = file_read(textf("%s.pub", key));
    return textf("[127.0.0.1]:%u %s", port, public);
}

static void expect_code(const char *url, const char *code, const char *sentence)
{
    const char *id = v1_add(&service, url, directory, NULL);
    ck_assert_str_eq(v1_wait_end(&service, id, SOON), "FAILED");
    const char *message = v1_get(&service, id, "error.message");
    ck_assert_msg(strcmp(v1_get(&service, id, "error.code"), code) == 0, "%s", message);
    ck_assert_msg(strstr(message, sentence), "%s", message);
    ck_assert_int_eq(v1_number(&service, id, "attempts"), 1);
}

START_TEST(host_keys_of_sftp)
{
    const char *known = textf("%s/known_hosts", service.home);
    const char *key = textf("%s/key", service.home), *other = textf("%s/other", service.home);
    make_key(key);
    make_key(other);
    unsigned port = start_sshd(key);
    uint16_t short_port = (uint16_t)port;
    wait_until(answers, &short_port, SOON, "sshd listens");
    const char *url = textf("sftp://nobody:sesame@127.0.0.1:%u/etc/passwd", port);
    service_start(&service, "--known-hosts", known, FEW_TRIES, NULL);
    directory = make_directory(&service, "files");

    expect_code(url, "tls", textf("the host key of 127.0.0.1 is not in %s", known));
    expect_code(url, "tls", textf("ssh-keyscan -p %u 127.0.0.1 >>%s", port, known));
    file_write(known, known_line(port, other));
    expect_code(url, "tls", "is not the one in");
    file_write(known, known_line(port, key));
    expect_code(url, "auth", "the login was refused"); /* the key is good, the password is not */
    ck_assert(!is_in_file(service.log, "sesame"));
}
END_TEST

static void tear_down_sshd(void)
{
    if (sshd > 0) {
        kill(sshd, SIGTERM);
        waitpid(sshd, NULL, 0);
        sshd = 0;
    }
    tear_down();
}

static void add_tests(TCase *tcase, void (*before)(void), void (*after)(void), Suite *s)
{
    tcase_set_timeout(tcase, 120);
    tcase_add_checked_fixture(tcase, before, after);
    suite_add_tcase(s, tcase);
}

static Suite *suite(void)
{
    Suite *s = suite_create("policy");
    TCase *running = tcase_create("running"), *unstarted = tcase_create("unstarted");
    TCase *ssh = tcase_create("ssh");
    add_tests(running, set_up, tear_down, s);
    tcase_add_test(running, never);
    tcase_add_test(running, the_service_itself);
    tcase_add_test(running, inside_by_redirect);
    tcase_add_test(running, finished_ones_are_wiped);
    tcase_add_test(running, failed_ones_keep_theirs_for_a_retry);
    tcase_add_test(running, a_crash_before_the_wipe_is_made_up_for);
    add_tests(unstarted, set_up_unstarted, tear_down, s);
    tcase_add_test(unstarted, denied_networks);
    tcase_add_test(unstarted, proxies);
    tcase_add_test(unstarted, names_that_mean_nothing);
    add_tests(ssh, set_up_unstarted, tear_down_sshd, s);
    if (sshd_path())
        tcase_add_test(ssh, host_keys_of_sftp);
    else
        printf("# host keys of sftp: skipped, openssh-server is not installed\n");
    return s;
}

int main(void)
{
    return harness_main(suite());
}
