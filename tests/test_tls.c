/*
 * Other machines: where the service listens, TLS and its renewal, and what the client trusts. In
 * network and mount namespaces of our own; "far" is a second network namespace, another machine.
 */
#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <pty.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>

#include "harness.h"
#include "pki.h"

#define SOON         30000       /* ms */
#define NEAR         "192.0.2.1" /* where the service is; far is .2 */
#define STATS        "{\"tasks\": {}, \"downloader\": {}}"
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static struct service service;
static const char *cert, *key; /* good ones, of NEAR and 127.0.0.1 */

/* --- programs --- */

struct how { /* a program is run: by harness_user(), if nothing else is said */
    bool far, as_root;
    const char *environment[4];
    int terminal; /* its controlling one, if > 0 */
};

struct process {
    pid_t pid;
    int out, err;
};

static void enter_far(void)
{
    int fd = open("/run/netns/far", O_RDONLY | O_CLOEXEC);
    if (fd < 0 || setns(fd, CLONE_NEWNET) < 0)
        _exit(126);
}

static void become_user(void)
{
    const struct identity *user = harness_user();
    if (setgroups(0, NULL) < 0 || setresgid(user->gid, user->gid, user->gid) < 0 ||
        setresuid(user->uid, user->uid, user->uid) < 0)
        _exit(126);
}

static _Noreturn void become_program(const struct how *how, const char **argv, int out, int err)
{
    const char *environment[COUNT(how->environment) + 3];
    size_t count = 0;
    for (; count < COUNT(how->environment) && how->environment[count]; count++)
        environment[count] = how->environment[count];
    environment[count++] = textf("HOME=%s", service.home);
    environment[count++] = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";
    environment[count] = NULL;
    int in = open("/dev/null", O_RDWR);
    if (how->far)
        enter_far();
    if (setsid() < 0 || (how->terminal > 0 && ioctl(how->terminal, TIOCSCTTY, 0) < 0))
        _exit(126);
    if (!how->as_root)
        become_user();
    if (dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0 || chdir("/") < 0)
        _exit(126);
    execvpe(argv[0], (char **)argv, (char **)environment);
    _exit(127);
}

static struct process start_list(const struct how *how, va_list arguments)
{
    const char *argv[32];
    size_t count = 0;
    while (count < COUNT(argv) && (argv[count] = va_arg(arguments, const char *)))
        count++;
    struct process process = {.out = memfd_create("out", MFD_CLOEXEC),
                              .err = memfd_create("err", MFD_CLOEXEC)};
    process.pid = fork();
    ck_assert_int_ge(process.pid, 0);
    if (process.pid == 0)
        become_program(how, argv, process.out, process.err);
    return process;
}

static __attribute__((sentinel)) struct process start(const struct how *how, ...)
{
    va_list arguments;
    va_start(arguments, how);
    struct process process = start_list(how, arguments);
    va_end(arguments);
    return process;
}

static const char *content(int fd)
{
    char text[8192];
    ssize_t len = pread(fd, text, sizeof(text) - 1, 0);
    close(fd);
    text[len > 0 ? len : 0] = '\0';
    return textf("%s", text);
}

static const char *out, *err; /* of the program that ended last */

static int finish(const struct process *process)
{
    int status = wait_exit(process->pid, SOON);
    out = content(process->out);
    err = content(process->err);
    return status;
}

static __attribute__((sentinel)) int run(const struct how *how, ...)
{
    va_list arguments;
    va_start(arguments, how);
    struct process process = start_list(how, arguments);
    va_end(arguments);
    return finish(&process);
}

#define AUTODL textf("%s/autodl", harness_dir())
static const struct how plainly = {.as_root = false};
static const struct how from_far = {.far = true};
static const struct how with_password = {.environment = {"AUTODL_PASSWORD=se:cret"}};

/* curl's exit status; `out` is the HTTP status and the body. */
#define CURL(how, ...)                                                                             \
    run(how, "curl", "-sS", "--max-time", "20", "-w", "%{stderr}%{http_code}", __VA_ARGS__, NULL)

static void expect_in(const char *text, const char *part)
{
    ck_assert_msg(strstr(text, part) != NULL, "no \"%s\" in: %s", part, text);
}

/* --- certificates --- */

/* Readable for the service; gives the paths. */
static void make_pair(const char *name, const struct pki *pki, const char **ret_cert,
                      const char **ret_key)
{
    *ret_cert = textf("%s/%s-cert.pem", service.dir, name);
    *ret_key = textf("%s/%s-key.pem", service.dir, name);
    pki_make(pki, *ret_cert, *ret_key);
    ck_assert_int_eq(chown(*ret_key, harness_user()->uid, harness_user()->gid), 0);
    ck_assert_int_eq(chmod(*ret_key, 0600), 0);
}

static const struct pki good = {.san = "IP:" NEAR ",IP:127.0.0.1", .until_days = 30};

/* Puts the files of another pair under the names that the service knows. */
static void put_pair(const char *other_cert, const char *other_key)
{
    ck_assert_int_eq(rename(other_cert, cert), 0);
    ck_assert_int_eq(rename(other_key, key), 0);
}

/* --- the service --- */

static bool in_log(const char *text)
{
    _cleanup_free_ char *log = file_read(service.log);
    return strstr(log + service.log_start, text) != NULL;
}

/* Only what is logged from now on is looked at. */
static void forget_log(void)
{
    struct stat status;
    ck_assert_int_eq(stat(service.log, &status), 0);
    service.log_start = status.st_size;
}

/* The port behind this text in the log. */
static unsigned port_behind(const char *text)
{
    _cleanup_free_ char *log = file_read(service.log);
    const char *line = strstr(log + service.log_start, text);
    ck_assert_msg(line != NULL, "no %s in %s", text, log + service.log_start);
    return (unsigned)strtoul(line + strlen(text), NULL, 10);
}

#define START(...)                                                                                 \
    service_start(&service, "--log-level", "debug", "--listen", "127.0.0.1:0", __VA_ARGS__, NULL)

/* On NEAR, with the good pair; its URL. */
static const char *start_with_tls(void)
{
    START("--listen", NEAR ":0", "--tls-cert", cert, "--tls-key", key);
    return textf("https://" NEAR ":%u", port_behind("listening on https://" NEAR ":"));
}

/* On all addresses: who connects to 127.0.0.1 is vouched for by the kernel. */
static const char *start_everywhere(void)
{
    START("--listen", "0.0.0.0:0", "--tls-cert", cert, "--tls-key", key);
    return textf("https://127.0.0.1:%u", port_behind("listening on https://0.0.0.0:"));
}

static void reload(void)
{
    ck_assert_int_eq(kill(service.monitor, SIGHUP), 0);
}

/* --- where it listens --- */

START_TEST(without_tls_it_does_not_start)
{
    static const char *const addresses[] = {NEAR ":0", "0.0.0.0:0", "[::]:0"};
    for (size_t i = 0; i < COUNT(addresses); i++) {
        ck_assert_int_eq(service_start_failing(&service, "--listen", addresses[i], NULL), 1);
        ck_assert(in_log(textf("listen = %s: other machines reach that address, so it needs TLS: "
                               "set tls-cert and tls-key",
                               addresses[i])));
        ck_assert(!in_log("listening on"));
    }
}
END_TEST

START_TEST(plain_http_is_warned_of_at_each_start)
{
    for (int i = 0; i < 2; i++) {
        START("--listen", NEAR ":0", "--allow-plain-http", "yes");
        ck_assert(in_log("<4>listen = " NEAR ":0: without TLS everybody on the way can read"));
        unsigned port = port_behind("listening on " NEAR ":");
        ck_assert_int_eq(CURL(&from_far, textf("http://" NEAR ":%u/stats", port)), 0);
        ck_assert_str_eq(err, "401");
        service_stop(&service);
    }
}
END_TEST

START_TEST(loopback_stays_plain)
{
    start_with_tls();
    ck_assert(in_log(textf("(pin %s)", pki_pin(cert))));
    ck_assert_int_eq(CURL(&plainly, "-u", textf("%s:x", harness_user()->name),
                          textf("http://localhost:%u/stats", service.port)),
                     0);
    ck_assert_str_eq(err, "200");
}
END_TEST

START_TEST(pairs_that_are_refused_at_the_start)
{
    const char *other_cert, *other_key, *locked_cert, *locked_key;
    make_pair("other", &good, &other_cert, &other_key);
    make_pair("locked", &(struct pki){.san = "DNS:a", .passphrase = "x"}, &locked_cert,
              &locked_key);
    const char *garbage = textf("%s/garbage", service.dir), *shut = textf("%s/shut", service.dir);
    file_write(garbage, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    file_write(shut, "");
    ck_assert_int_eq(chmod(shut, 0), 0);
    /* clang-format off */
    const struct {
        const char *cert, *key, *message;
    } cases[] = {
        {cert, other_key,
         textf("tls-cert = %s and tls-key = %s do not belong together", cert, other_key)},
        {cert, shut,
         textf("tls-key = %s: Permission denied; the service runs as %s, who must be able to read "
               "it: chgrp ssl-cert and chmod 640 the file", shut, harness_user()->name)},
        {shut, key, textf("tls-cert = %s: Permission denied", shut)},
        {cert, "/nonexistent", "tls-key = /nonexistent: No such file or directory"},
        {cert, "/dev/zero", "tls-key = /dev/zero: this is not a file"},
        {garbage, key, "there is no certificate in PEM form in it"},
        {key, key, "there is no certificate in PEM form in it"},
        {cert, garbage, "there is no private key in PEM form in it"},
        {cert, cert, "there is no private key in PEM form in it"},
        {locked_cert, locked_key, "the key is encrypted"},
    };
    /* clang-format on */
    for (size_t i = 0; i < COUNT(cases); i++) {
        /* also where nobody would be shown it yet */
        const char *where = i % 2 ? NEAR ":0" : "127.0.0.1:0";
        ck_assert_int_eq(service_start_failing(&service, "--listen", where, "--tls-cert",
                                               cases[i].cert, "--tls-key", cases[i].key, NULL),
                         1);
        ck_assert_msg(in_log(cases[i].message), "%s", cases[i].message);
        ck_assert(!in_log("listening on"));
    }
    ck_assert_int_eq(service_start_failing(&service, "--tls-cert", cert, NULL), 1);
    ck_assert(in_log("tls-cert and tls-key go together; tls-key is missing"));
}
END_TEST

START_TEST(questionable_pairs_are_warned_of)
{
    const char *old_cert, *old_key;
    make_pair("old", &(struct pki){.san = "DNS:a", .from_days = -2, .until_days = -1}, &old_cert,
              &old_key);
    ck_assert_int_eq(chmod(old_key, 0644), 0);
    START("--tls-cert", old_cert, "--tls-key", old_key);
    ck_assert(in_log(textf("<4>tls-cert = %s: the certificate has expired", old_cert)));
    ck_assert(in_log(textf("<4>tls-key = %s: everybody on this machine may read it", old_key)));
}
END_TEST

/* --- over TLS --- */

START_TEST(from_another_machine)
{
    const char *url = start_with_tls(), *stats = textf("%s/stats", url);
    ck_assert_int_eq(CURL(&from_far, "-i", "--cacert", cert, stats), 0);
    ck_assert_str_eq(err, "401");
    expect_in(out, "WWW-Authenticate: Basic realm=\"autodl\"");
    expect_in(out, "X-Content-Type-Options: nosniff");
    expect_in(out, "Cache-Control: no-store");
    /* a name alone is nothing here, nor is an address of ours */
    ck_assert_int_eq(CURL(&from_far, "--cacert", cert, "-u", "nobody:", stats), 0);
    ck_assert_str_eq(err, "401");
    ck_assert_int_eq(CURL(&plainly, "--cacert", cert, "-u", "nobody:", stats), 0);
    ck_assert_str_eq(err, "401");
    ck_assert_int_eq(CURL(&from_far, "-k", "--pinnedpubkey", pki_pin(cert), stats), 0);
    ck_assert_int_eq(CURL(&from_far, stats), 60);
    ck_assert_int_eq(CURL(&from_far, "--cacert", cert, "-H", "Host: other.example", stats), 0);
    ck_assert_str_eq(err, "421");
}
END_TEST

START_TEST(only_tls_1_2_and_later)
{
    static const struct {
        const char *version;
        bool works;
    } cases[] = {
        {"1.0", false},
        {"1.1", false},
        {"1.2", true },
        {"1.3", true },
    };
    const char *stats = textf("%s/stats", start_with_tls());
    for (size_t i = 0; i < COUNT(cases); i++) {
        int status = CURL(&plainly, "-k", "--tlsv1", "--tls-max", cases[i].version, "--ciphers",
                          "DEFAULT@SECLEVEL=0", stats);
        ck_assert_msg(status == (cases[i].works ? 0 : 35), "%s: %d %s", cases[i].version, status,
                      err);
    }
}
END_TEST

START_TEST(it_never_falls_back_to_plain_http)
{
    const char *url = start_with_tls();
    ck_assert_int_ne(CURL(&from_far, textf("http%s/stats", url + strlen("https"))), 0);
    expect_in(err, "000");
    ck_assert_str_eq(out, "");
}
END_TEST

START_TEST(who_is_vouched_for_is_so_over_tls_too)
{
    const char *url = start_everywhere(), *stats = textf("%s/stats", url);
    const char *user = textf("%s:x", harness_user()->name);
    ck_assert_int_eq(CURL(&plainly, "--cacert", cert, "-u", user, stats), 0);
    ck_assert_str_eq(err, "200");
    ck_assert_int_eq(
        CURL(&plainly, "--cacert", cert, "-u", user, "-H", textf("Origin: %s", url), stats), 0);
    ck_assert_str_eq(err, "200");
    ck_assert_int_eq(CURL(&plainly, "--cacert", cert, "-u", user, "-H",
                          textf("Origin: http%s", url + strlen("https")), stats),
                     0);
    ck_assert_str_eq(err, "403");
    /* a body without end: no bytes outside of TLS */
    const char *large = textf("%s/large", service.dir);
    file_write(large, "");
    ck_assert_int_eq(truncate(large, 4 << 20), 0);
    ck_assert_int_ne(CURL(&plainly, "--cacert", cert, "-u", user, "-H",
                          "Transfer-Encoding: chunked", "--data-binary", textf("@%s", large),
                          textf("%s/clear", url)),
                     35);
    ck_assert_ptr_null(strstr(err, "wrong version"));
    ck_assert_ptr_null(strstr(err, "bad record"));
}
END_TEST

START_TEST(ipv6)
{
    START("--listen", "[::]:0", "--tls-cert", cert, "--tls-key", key);
    unsigned port = port_behind("listening on https://[::]:");
    ck_assert_int_eq(CURL(&plainly, "-k", "--pinnedpubkey", pki_pin(cert), "-u",
                          textf("%s:", harness_user()->name),
                          textf("https://[::1]:%u/stats", port)),
                     0);
    ck_assert_str_eq(err, "200");
}
END_TEST

/* --- a new certificate --- */

/* What a client gets that insists on this key: curl's code. */
static CURLcode ask(CURL *curl, const char *url, const char *pin, long *ret_connects)
{
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
    curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 0L);
    curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 0L);
    curl_easy_setopt(curl, CURLOPT_PINNEDPUBLICKEY, pin);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, 20L);
    CURLcode code = curl_easy_perform(curl);
    if (ret_connects)
        curl_easy_getinfo(curl, CURLINFO_NUM_CONNECTS, ret_connects);
    return code;
}

static CURLcode ask_once(const char *url, const char *pin)
{
    CURL *curl = curl_easy_init();
    CURLcode code = ask(curl, url, pin, NULL);
    curl_easy_cleanup(curl);
    return code;
}

#define RENEWED "new connections of other machines get tls-cert"
#define BURIED  "an old certificate has no connections any more"

START_TEST(reload_with_an_open_connection)
{
    const char *stats = textf("%s/stats", start_with_tls()), *before = pki_pin(cert);
    const char *new_cert, *new_key;
    CURL *curl = curl_easy_init();
    long connects;
    ck_assert_int_eq(ask(curl, stats, before, &connects), CURLE_OK);
    ck_assert_int_eq(connects, 1);

    make_pair("new", &good, &new_cert, &new_key);
    put_pair(new_cert, new_key);
    const char *after = pki_pin(cert);
    reload();
    service_wait_log(&service, textf(RENEWED " = %s (pin %s)", cert, after), SOON);
    ck_assert_int_eq(ask_once(stats, after), CURLE_OK);
    ck_assert_int_eq(ask_once(stats, before), CURLE_SSL_PINNEDPUBKEYNOTMATCH);

    /* the old connection is answered once more, then closed */
    ck_assert_int_eq(ask(curl, stats, before, &connects), CURLE_OK);
    ck_assert_int_eq(connects, 0);
    service_wait_log(&service, BURIED, 10000); /* not by being idle */
    ck_assert_int_eq(ask(curl, stats, after, &connects), CURLE_OK);
    ck_assert_int_eq(connects, 1);
    curl_easy_cleanup(curl);

    /* the same pair again is no news */
    forget_log();
    reload();
    service_wait_log(&service, "reloaded", SOON);
    ck_assert(!in_log(RENEWED));
    ck_assert_int_eq(ask_once(stats, after), CURLE_OK);
}
END_TEST

static void stop_filers(int signal)
{
    pid_t filers[8];
    unsigned count = service_filers(&service, (uid_t)-1, filers, 8);
    ck_assert_uint_ge(count, 1);
    for (unsigned i = 0; i < count; i++)
        ck_assert_int_eq(kill(filers[i], signal), 0);
}

/* An add that waits for the user's file system. */
static struct process start_add(const char *url)
{
    return start(&plainly, "curl", "-sS", "-w", "%{stderr}%{http_code}", "-k", "--pinnedpubkey",
                 pki_pin(cert), "-u", textf("%s:", harness_user()->name), "-d",
                 "url=http://127.0.0.1:1/x", textf("%s/add", url), NULL);
}

/* Its connection is there, and has been read from. */
static void wait_until_sent(const char *url)
{
    const char *port = strrchr(url, ':') + 1;
    int64_t end = harness_now() + SOON;
    do {
        ck_assert_msg(harness_now() < end, "curl did not send its request");
        ck_assert_int_eq(run(&plainly, "ss", "-Htni", "state", "established",
                             textf("( dport = :%s )", port), NULL),
                         0);
    } while (!strstr(out, "bytes_acked"));
}

static void renew(void)
{
    const char *new_cert, *new_key;
    make_pair("new", &good, &new_cert, &new_key);
    put_pair(new_cert, new_key);
    reload();
    service_wait_log(&service, textf(RENEWED " = %s (pin %s)", cert, pki_pin(cert)), SOON);
}

START_TEST(reload_with_a_suspended_request)
{
    const char *url = start_everywhere();
    struct process first = start_add(url);
    ck_assert_msg(finish(&first) == 0 && strcmp(err, "200") == 0, "%s %s", err, out);

    stop_filers(SIGSTOP);
    struct process second = start_add(url);
    wait_until_sent(url);
    renew();
    poll(NULL, 0, 2500); /* more than one look at what is retired: nothing may happen */
    ck_assert(!in_log(BURIED));
    ck_assert_int_eq(waitpid(second.pid, NULL, WNOHANG), 0);
    stop_filers(SIGCONT);
    ck_assert_msg(finish(&second) == 0 && strcmp(err, "200") == 0, "%s %s", err, out);
    service_wait_log(&service, BURIED, SOON);

    struct process third = start_add(url);
    ck_assert_msg(finish(&third) == 0 && strcmp(err, "200") == 0, "%s %s", err, out);
}
END_TEST

/* Who listens to events is told to come again: to the new certificate. */
START_TEST(reload_ends_streams)
{
    const char *url = start_everywhere();
    struct process stream =
        start(&plainly, "curl", "-sS", "-N", "-w", "%{stderr}%{http_code}", "-k", "--pinnedpubkey",
              pki_pin(cert), "-u", textf("%s:", harness_user()->name), textf("%s/v1/events", url),
              NULL);
    wait_until_sent(url);
    poll(NULL, 0, 200);
    renew();
    int64_t renewed = harness_now();
    ck_assert_msg(finish(&stream) == 0 && strcmp(err, "200") == 0, "%s %s", err, out);
    expect_in(out, "event: stats");
    ck_assert_int_lt(harness_now() - renewed, 5000); /* not with the next heartbeat */
    service_wait_log(&service, BURIED, SOON);
}
END_TEST

START_TEST(stop_with_an_old_certificate_in_use)
{
    const char *url = start_everywhere();
    struct process first = start_add(url);
    ck_assert_msg(finish(&first) == 0 && strcmp(err, "200") == 0, "%s %s", err, out);
    stop_filers(SIGSTOP);
    struct process second = start_add(url);
    wait_until_sent(url);
    renew();
    ck_assert_int_eq(kill(service.monitor, SIGTERM), 0);
    stop_filers(SIGCONT);
    ck_assert_int_eq(service_wait(&service, SOON), 0);
    finish(&second);
    ck_assert_msg(strcmp(err, "200") == 0 || strcmp(err, "503") == 0, "%s %s", err, out);
}
END_TEST

START_TEST(a_bad_new_pair_keeps_the_old)
{
    const char *stats = textf("%s/stats", start_with_tls()), *pin = pki_pin(cert);
    const char *other_cert, *other_key;
    make_pair("other", &good, &other_cert, &other_key);
    _cleanup_free_ char *good_key = file_read(key);
    static const char *const messages[] = {"do not belong together", "Permission denied",
                                           "there is no private key"};
    for (size_t i = 0; i < COUNT(messages); i++) {
        if (i == 0)
            ck_assert_int_eq(rename(other_key, key), 0);
        if (i == 1)
            ck_assert_int_eq(chmod(key, 0), 0);
        if (i == 2)
            file_write(key, "nonsense");
        ck_assert_int_eq(chmod(key, i == 1 ? 0 : 0600), 0);
        forget_log();
        reload();
        service_wait_log(&service, "the certificate is not reloaded, the old one stays", SOON);
        ck_assert_msg(in_log(messages[i]), "%s", messages[i]);
        ck_assert_int_eq(ask_once(stats, pin), CURLE_OK);
    }
    file_write(key, good_key);
    reload();
    service_wait_log(&service, "reloaded", SOON);
    ck_assert(!in_log(RENEWED));
    ck_assert_int_eq(ask_once(stats, pin), CURLE_OK);
}
END_TEST

/* From plain HTTP to TLS by a reload, and never back. */
START_TEST(reload_turns_tls_on)
{
    file_write(service.config, "listen = " NEAR ":0, 127.0.0.1:0\nallow-plain-http = yes\n");
    service_start(&service, "--log-level", "debug", "--listen", NEAR ":0", "--listen",
                  "127.0.0.1:0", NULL);
    unsigned port = port_behind("listening on " NEAR ":");
    const char *tls = textf("https://" NEAR ":%u/stats", port);
    const char *plain = textf("http://" NEAR ":%u/stats", port);
    ck_assert_int_eq(CURL(&from_far, plain), 0);

    file_write(service.config, textf("tls-cert = %s\ntls-key = %s\n", cert, key));
    reload();
    service_wait_log(&service, RENEWED, SOON);
    ck_assert_int_eq(CURL(&from_far, "--cacert", cert, tls), 0);
    ck_assert_int_ne(CURL(&from_far, plain), 0);

    file_write(service.config, "");
    reload();
    service_wait_log(&service, "not reloaded, the old settings stay: listen = " NEAR, SOON);
    file_write(service.config, "allow-plain-http = yes\n");
    forget_log();
    reload();
    service_wait_log(&service, "reloaded", SOON);
    ck_assert_int_eq(CURL(&from_far, "--cacert", cert, tls), 0);
    ck_assert_int_ne(CURL(&from_far, plain), 0);
}
END_TEST

/* Requests all the time while the certificate changes: none is lost. */
START_TEST(reload_under_load)
{
    const char *stats = textf("%s/stats", start_with_tls());
    struct process load[2];
    for (size_t i = 0; i < COUNT(load); i++)
        load[i] =
            start(&plainly, "sh", "-c",
                  textf("for i in $(seq 25); do curl -sS -k -o /dev/null %s %s || exit 1; done",
                        stats, stats),
                  NULL);
    for (int i = 0; i < 4; i++)
        renew();
    for (size_t i = 0; i < COUNT(load); i++)
        ck_assert_msg(finish(&load[i]) == 0, "%s", err);
}
END_TEST

/* --- --make-cert --- */

#define SERVICE textf("%s/autodl-service", harness_dir())

START_TEST(make_cert)
{
    const char *dir = textf("%s/made", service.dir);
    const char *made_cert = textf("%s/tls-cert.pem", dir), *made_key = textf("%s/tls-key.pem", dir);
    struct stat status;
    ck_assert_msg(run(&plainly, SERVICE, "--make-cert", dir, "--host-names",
                      "dl.example, b.example", NULL) == 0,
                  "%s", err);
    expect_in(out, textf("\ntls-cert = %s\ntls-key = %s\n", made_cert, made_key));
    expect_in(out, textf("--pin %s\n", pki_pin(made_cert)));
    expect_in(out, "localhost");
    expect_in(out, "dl.example, b.example");
    expect_in(out, NEAR);
    ck_assert_int_eq(stat(made_key, &status), 0);
    ck_assert_uint_eq(status.st_mode & 07777, 0600);
    ck_assert_int_eq(stat(made_cert, &status), 0);
    ck_assert_uint_eq(status.st_mode & 07777, 0644);

    const char *before = pki_pin(made_cert);
    ck_assert_int_eq(run(&plainly, SERVICE, "--make-cert", dir, NULL), 1);
    expect_in(err, "is there already and is not overwritten");
    ck_assert_int_eq(unlink(made_cert), 0); /* nor the key alone */
    ck_assert_int_eq(run(&plainly, SERVICE, "--make-cert", dir, NULL), 1);
    expect_in(err, textf("%s is there already", made_key));
    ck_assert(!file_exists(made_cert));
    ck_assert_int_eq(unlink(made_key), 0);

    /* by the chain and the name, and as openssl sees it */
    ck_assert_int_eq(run(&plainly, SERVICE, "--make-cert", dir, NULL), 0);
    ck_assert_str_ne(before, pki_pin(made_cert));
    START("--listen", NEAR ":0", "--tls-cert", made_cert, "--tls-key", made_key);
    const char *url = textf("https://" NEAR ":%u", port_behind("listening on https://" NEAR ":"));
    ck_assert_int_eq(CURL(&from_far, "--cacert", made_cert, textf("%s/stats", url)), 0);
    ck_assert_str_eq(err, "401");
    ck_assert_int_eq(run(&plainly, "openssl", "x509", "-in", made_cert, "-noout", "-checkend",
                         textf("%d", 3649 * 86400), NULL),
                     0);
    ck_assert_int_eq(run(&plainly, "openssl", "x509", "-in", made_cert, "-noout", "-checkend",
                         textf("%d", 3660 * 86400), NULL),
                     1);
}
END_TEST

START_TEST(make_cert_as_root)
{
    static const struct how as_root = {.as_root = true};
    const char *dir = textf("%s/made", service.dir);
    struct stat status;
    ck_assert_msg(
        run(&as_root, SERVICE, "--make-cert", dir, "--run-as", harness_user()->name, NULL) == 0,
        "%s", err);
    ck_assert_int_eq(stat(textf("%s/tls-key.pem", dir), &status), 0);
    ck_assert_uint_eq(status.st_mode & 07777, 0640);
    ck_assert_uint_eq(status.st_uid, 0);
    ck_assert_uint_eq(status.st_gid, harness_user()->gid);
    ck_assert_int_eq(run(&as_root, SERVICE, "--make-cert", textf("%s/more", service.dir),
                         "--run-as", "nosuchuser", NULL),
                     0);
    expect_in(err, "there is no user nosuchuser yet");
    ck_assert_int_eq(run(&as_root, SERVICE, "--make-cert", "/nonexistent/a", NULL), 1);
    expect_in(err, "--make-cert /nonexistent/a: cannot be made: No such file or directory");
}
END_TEST

/* --- the client --- */

static int client(const struct how *how, const char *url, const char *option, const char *value)
{
    return run(how, AUTODL, "-h", url, "stats", option, value, NULL);
}

START_TEST(the_client_over_tls)
{
    const char *url = start_everywhere(), *pin = pki_pin(cert);
    ck_assert_msg(client(&with_password, url, "--cacert", cert) == 0, "%s", err);
    expect_in(out, "\"tasks\"");
    ck_assert_msg(client(&with_password, url, "--pin", pin) == 0, "%s", err);
    ck_assert_int_eq(
        run(&with_password, AUTODL, "-h", url, "--pin", pin, "--cacert", cert, "stats", NULL), 0);
    const struct how by_variable = {
        .environment = {"AUTODL_PASSWORD=x", textf("AUTODL_HOST=%s/", url)}
    };
    ck_assert_int_eq(run(&by_variable, AUTODL, "stats", "--pin", pin, NULL), 0);
    ck_assert_int_eq(run(&plainly, AUTODL, "-h", url, "-V", "--pin", pin, NULL), 0);
    expect_in(out, textf(" at %s (TLS, key pinned)\n", url));
    ck_assert_int_eq(run(&plainly, AUTODL, "-h", url, "-V", "--cacert", cert, NULL), 0);
    expect_in(out, textf(" at %s (TLS, certificate checked)\n", url));
}
END_TEST

START_TEST(the_client_from_another_machine)
{
    static const struct how far = {.far = true, .environment = {"AUTODL_PASSWORD=x"}};
    const char *url = start_with_tls();
    ck_assert_int_eq(run(&far, AUTODL, "--text", "-h", url, "--cacert", cert, "stats", NULL), 4);
    ck_assert_str_ne(err, "");
    ck_assert_int_eq(run(&far, AUTODL, "-h", "http" NEAR, "stats", NULL), 5);
    /* plain HTTP to where TLS is spoken */
    ck_assert_int_eq(run(&far, AUTODL, "-h", strchr(url, '/') + 2, "stats", NULL), 5);
    expect_in(err, textf("if it speaks TLS: -h %s", url));
}
END_TEST

/* Without a service the default port may be anybody's. */
START_TEST(a_squatter_is_told_nothing)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(6736)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ck_assert_int_eq(setresuid(4711, 4711, 0), 0);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0); /* it is its maker's */
    ck_assert_int_eq(setresuid(0, 0, 0), 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    ck_assert_int_eq(listen(fd, 8), 0);
    ck_assert_int_eq(run(&plainly, AUTODL, "add", "http://u:secret@example.org/", NULL), 5);
    expect_in(err, "at localhost:6736 user 4711 listens");
    ck_assert_int_eq(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    ck_assert_int_eq(accept(fd, NULL, NULL), -1);
    close(fd);
}
END_TEST

/* --- a service that only records --- */

static struct {
    pthread_mutex_t lock;
    unsigned requests;
    char authorization[256];
} recorded = {.lock = PTHREAD_MUTEX_INITIALIZER};

static enum MHD_Result record(void *data, struct MHD_Connection *connection, const char *url,
                              const char *method, const char *version, const char *upload,
                              size_t *upload_len, void **context)
{
    (void)data, (void)url, (void)method, (void)version, (void)upload;
    if (!*context || *upload_len) {
        *context = &recorded;
        *upload_len = 0;
        return MHD_YES;
    }
    const char *value = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Authorization");
    pthread_mutex_lock(&recorded.lock);
    recorded.requests++;
    snprintf(recorded.authorization, sizeof(recorded.authorization), "%s", value ? value : "");
    pthread_mutex_unlock(&recorded.lock);
    struct MHD_Response *response =
        MHD_create_response_from_buffer(strlen(STATS), (char *)STATS, MHD_RESPMEM_PERSISTENT);
    enum MHD_Result result = MHD_queue_response(connection, 200, response);
    MHD_destroy_response(response);
    return result;
}

struct recorder {
    struct MHD_Daemon *daemon;
    const char *url;
};

static void forget_recorded(void)
{
    pthread_mutex_lock(&recorded.lock);
    recorded.requests = 0;
    pthread_mutex_unlock(&recorded.lock);
}

static struct recorder record_at(const char *cert_path, const char *key_path)
{
    _cleanup_free_ char *cert_text = cert_path ? file_read(cert_path) : NULL;
    _cleanup_free_ char *key_text = key_path ? file_read(key_path) : NULL;
    struct MHD_OptionItem options[] = {
        {cert_path ? MHD_OPTION_HTTPS_MEM_CERT : MHD_OPTION_END, 0, cert_text},
        {MHD_OPTION_HTTPS_MEM_KEY,                               0, key_text },
        {MHD_OPTION_END,                                         0, NULL     },
    };
    struct recorder recorder = {
        .daemon =
            MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD | (cert_path ? MHD_USE_TLS : 0), 0,
                             NULL, NULL, record, NULL, MHD_OPTION_ARRAY, options, MHD_OPTION_END)};
    ck_assert_ptr_nonnull(recorder.daemon);
    unsigned port = MHD_get_daemon_info(recorder.daemon, MHD_DAEMON_INFO_BIND_PORT)->port;
    recorder.url = textf("http%s://" NEAR ":%u", cert_path ? "s" : "", port);
    forget_recorded();
    return recorder;
}

static const char *basic(const char *user, const char *password)
{
    const char *line = http_basic(user, password); /* "Authorization: ...\r\n" */
    return textf("%.*s", (int)strcspn(line + 15, "\r"), line + 15);
}

/* Exactly so many requests since the last look, the last with this field. */
static void expect_recorded(unsigned requests, const char *authorization)
{
    pthread_mutex_lock(&recorded.lock);
    unsigned count = recorded.requests;
    const char *last = textf("%s", recorded.authorization);
    pthread_mutex_unlock(&recorded.lock);
    forget_recorded();
    ck_assert_uint_eq(count, requests);
    if (requests)
        ck_assert_str_eq(last, authorization);
}

START_TEST(a_password_only_over_tls)
{
    const char *user = harness_user()->name;
    struct recorder tls = record_at(cert, key);
    struct recorder plain = record_at(NULL, NULL);
    ck_assert_msg(client(&with_password, tls.url, "--cacert", cert) == 0, "%s", err);
    expect_recorded(1, basic(user, "se:cret"));
    ck_assert_int_eq(
        run(&with_password, AUTODL, "-h", tls.url, "-u", "alice", "--cacert", cert, "stats", NULL),
        0);
    expect_recorded(1, basic("alice", "se:cret"));
    ck_assert_int_eq(run(&with_password, AUTODL, "-h", plain.url, "stats", NULL), 0);
    expect_recorded(1, basic(user, ""));

    /* netrc, for https alone too */
    const char *netrc = textf("%s/.netrc", service.home);
    file_write(netrc, textf("machine " NEAR " login %s password from-netrc\n", user));
    ck_assert_int_eq(client(&plainly, tls.url, "--cacert", cert), 0);
    expect_recorded(1, basic(user, "from-netrc"));
    ck_assert_int_eq(client(&with_password, tls.url, "--cacert", cert), 0);
    expect_recorded(1, basic(user, "se:cret"));
    ck_assert_int_eq(run(&plainly, AUTODL, "-h", plain.url, "stats", NULL), 0);
    expect_recorded(1, basic(user, ""));
    ck_assert_int_eq(
        run(&plainly, AUTODL, "-h", tls.url, "-u", "bob", "--cacert", cert, "stats", NULL), 4);
    expect_recorded(0, NULL);
    expect_in(err, textf("no password of bob for %s: set AUTODL_PASSWORD, add \"machine " NEAR
                         " login bob password ...\" to %s, or run autodl on a terminal",
                         tls.url, netrc));

    /* the version needs none */
    ck_assert_int_eq(client(&with_password, tls.url, "--cacert", cert), 0);
    forget_recorded();
    ck_assert_int_eq(run(&with_password, AUTODL, "-h", tls.url, "-V", "--cacert", cert, NULL), 0);
    expect_recorded(1, "");
    static const struct how as_root = {.as_root = true, .environment = {"AUTODL_PASSWORD=x"}};
    ck_assert_int_eq(client(&as_root, tls.url, "--cacert", cert), 4);
    expect_recorded(0, NULL);
    MHD_stop_daemon(tls.daemon);
    MHD_stop_daemon(plain.daemon);
}
END_TEST

/* Whom the client does not trust gets nothing to hear. */
START_TEST(whom_the_client_does_not_trust)
{
    const char *other_cert, *other_key, *old_cert, *old_key, *named_cert, *named_key, *early_cert,
        *early_key;
    make_pair("other", &good, &other_cert, &other_key);
    make_pair("old", &(struct pki){.san = good.san, .from_days = -2, .until_days = -1}, &old_cert,
              &old_key);
    make_pair("early", &(struct pki){.san = good.san, .from_days = 2, .until_days = 3}, &early_cert,
              &early_key);
    make_pair("named", &(struct pki){.san = "DNS:dl.example", .until_days = 1}, &named_cert,
              &named_key);
    /* clang-format off */
    const struct {
        const char *cert, *key, *option, *value, *message;
    } cases[] = {
        {cert, key, "--pin", pki_pin(other_cert), "is not the one that --pin names"},
        {cert, key, "--cacert", other_cert, "nobody whom --cacert trusts vouches for"},
        {cert, key, "--text", NULL, "nobody whom this machine trusts vouches for"},
        {old_cert, old_key, "--cacert", old_cert, "has expired; have it renewed"},
        {early_cert, early_key, "--cacert", early_cert, "is not valid yet"},
        {named_cert, named_key, "--cacert", named_cert, "is not made out to that name"},
        {cert, key, "--cacert", "/etc/passwd", "--cacert /etc/passwd: there is no certificate"},
    };
    /* clang-format on */
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct recorder recorder = record_at(cases[i].cert, cases[i].key);
        int status = client(&with_password, recorder.url, cases[i].option, cases[i].value);
        ck_assert_msg(status == 5, "%zu: %d %s", i, status, err);
        expect_in(err, cases[i].message);
        ck_assert_msg(strchr(err, '\n') == err + strlen(err) - 1, "one line: %s", err);
        expect_recorded(0, NULL);
        /* but by its key each of them will do */
        ck_assert_int_eq(client(&with_password, recorder.url, "--pin", pki_pin(cases[i].cert)), 0);
        expect_recorded(1, basic(harness_user()->name, "se:cret"));
        MHD_stop_daemon(recorder.daemon);
    }
    struct recorder plain = record_at(NULL, NULL);
    ck_assert_int_eq(
        client(&with_password, textf("https%s", plain.url + strlen("http")), "--cacert", cert), 5);
    expect_in(err, "there is no TLS with https://" NEAR);
    expect_recorded(0, NULL);
    MHD_stop_daemon(plain.daemon);
}
END_TEST

/* --- the prompt --- */

/* Reads the terminal until `text` was shown. */
static const char *read_terminal(int master, const char *text)
{
    static char shown[4096];
    size_t len = 0;
    int64_t end = harness_now() + SOON;
    while (len < sizeof(shown) - 1) {
        struct pollfd event = {.fd = master, .events = POLLIN};
        ck_assert_msg(harness_now() < end, "no \"%s\" on the terminal: %s", text, shown);
        if (poll(&event, 1, 100) <= 0)
            continue;
        ssize_t n = read(master, shown + len, sizeof(shown) - 1 - len);
        if (n <= 0)
            break;
        len += (size_t)n;
        shown[len] = '\0';
        if (strstr(shown, text))
            break;
    }
    return shown;
}

/* Starts a client on a terminal and types `typed` when it asks. Its exit status; what was shown. */
static int type(const char *url, const char *typed, const char **ret_shown, bool *ret_echo)
{
    int master, terminal;
    struct termios mode;
    ck_assert_int_eq(openpty(&master, &terminal, NULL, NULL, NULL), 0);
    ck_assert_int_eq(fchmod(terminal, 0666), 0);
    struct how how = {.terminal = terminal};
    struct process process = start(&how, AUTODL, "-h", url, "--cacert", cert, "stats", NULL);
    const char *prompt = textf("Password of %s at %s: ", harness_user()->name, url);
    read_terminal(master, prompt);
    ck_assert_int_eq(write(master, typed, strlen(typed)), (ssize_t)strlen(typed));
    int status = finish(&process);
    fcntl(master, F_SETFL, O_NONBLOCK);
    char rest[512] = "";
    (void)!read(master, rest, sizeof(rest) - 1);
    *ret_shown = textf("%s", rest);
    ck_assert_int_eq(tcgetattr(terminal, &mode), 0);
    *ret_echo = (mode.c_lflag & ECHO) && (mode.c_lflag & ISIG);
    close(terminal);
    close(master);
    return status;
}

START_TEST(a_password_is_asked_for_on_the_terminal)
{
    struct recorder tls = record_at(cert, key);
    const char *shown;
    bool echo;
    ck_assert_int_eq(type(tls.url, "typed in\n", &shown, &echo), 0);
    ck_assert_ptr_null(strstr(shown, "typed"));
    ck_assert(echo);
    expect_recorded(1, basic(harness_user()->name, "typed in"));
    expect_in(out, STATS);

    ck_assert_int_eq(type(tls.url, "typ\003", &shown, &echo), 130);
    ck_assert(echo);
    ck_assert_int_eq(type(tls.url, "\004", &shown, &echo), 4);
    ck_assert(echo);
    expect_recorded(0, NULL);
    MHD_stop_daemon(tls.daemon);
}
END_TEST

/* --- which service --- */

/* When the system's service is down, anybody may answer at localhost. */
START_TEST(a_stranger_at_localhost_is_spoken_of)
{
    service_start(&service, "--listen", "127.0.0.1:6736", NULL);
    ck_assert_int_eq(run(&plainly, AUTODL, "stats", NULL), 0);
    ck_assert_str_eq(err, "");
    ck_assert_int_eq(mkdir("/run/autodl", 0755), 0);
    ck_assert_int_eq(run(&plainly, AUTODL, "stats", NULL), 0);
    ck_assert_str_eq(err, "autodl: nobody answers at /run/autodl/autodl.sock; this is from "
                          "localhost:6736, where anybody on this machine may answer\n");
    expect_in(out, "\"tasks\"");
    service_stop(&service);
    ck_assert_int_eq(run(&plainly, AUTODL, "stats", NULL), 5);
    expect_in(err, "autodl: no service answers at ");

    /* the system's own: of the directory's owner */
    ck_assert_int_eq(chown("/run/autodl", harness_user()->uid, harness_user()->gid), 0);
    service_start(&service, "--socket", "/run/autodl/autodl.sock", NULL);
    static const struct how as_root = {.as_root = true};
    ck_assert_int_eq(run(&as_root, AUTODL, "-V", NULL), 0);
    expect_in(out, " at /run/autodl/autodl.sock (unix socket)\n");
    /* of somebody else's service there */
    ck_assert_int_eq(chown("/run/autodl", 1, 1), 0);
    ck_assert_int_eq(run(&as_root, AUTODL, "-V", NULL), 0);
    expect_in(out, "service: none; ");
    ck_assert_int_eq(chown("/run/autodl", harness_user()->uid, harness_user()->gid), 0);
    service_stop(&service);
    remove_tree("/run/autodl");
}
END_TEST

/* --- the namespaces --- */

static void set_up(void)
{
    service_init(&service);
    make_pair("good", &good, &cert, &key);
}

static void tear_down(void)
{
    service_release(&service);
}

static const char *make_networks(void)
{
    if (geteuid() != 0)
        return "network namespaces need root";
    if (unshare(CLONE_NEWNET | CLONE_NEWNS) < 0 ||
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("none", "/run", "tmpfs", 0, "mode=755") < 0)
        return textf("no network namespace of our own: %s", strerror(errno));
    if (system("for i in ip ss curl openssl; do command -v $i >/dev/null || exit 1; done") != 0)
        return "one of ip, ss (iproute2), curl and openssl is not installed";
    if (system("exec 2>&1; set -e; ip link set lo up; ip netns add far; "
               "ip link add near type veth peer name far0 netns far; "
               "ip addr add " NEAR "/24 dev near; ip link set near up; "
               "ip -n far link set lo up; ip -n far addr add 192.0.2.2/24 dev far0; "
               "ip -n far link set far0 up") != 0)
        return "a pair of network interfaces cannot be made";
    return NULL;
}

int main(void)
{
    const char *why = make_networks();
    if (why)
        return harness_skip(why);
    Suite *suite = suite_create("tls");
    TCase *tcase = tcase_create("tls");
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, without_tls_it_does_not_start);
    tcase_add_test(tcase, plain_http_is_warned_of_at_each_start);
    tcase_add_test(tcase, loopback_stays_plain);
    tcase_add_test(tcase, pairs_that_are_refused_at_the_start);
    tcase_add_test(tcase, questionable_pairs_are_warned_of);
    tcase_add_test(tcase, from_another_machine);
    tcase_add_test(tcase, only_tls_1_2_and_later);
    tcase_add_test(tcase, it_never_falls_back_to_plain_http);
    tcase_add_test(tcase, who_is_vouched_for_is_so_over_tls_too);
    tcase_add_test(tcase, ipv6);
    tcase_add_test(tcase, reload_with_an_open_connection);
    tcase_add_test(tcase, reload_with_a_suspended_request);
    tcase_add_test(tcase, reload_ends_streams);
    tcase_add_test(tcase, stop_with_an_old_certificate_in_use);
    tcase_add_test(tcase, a_bad_new_pair_keeps_the_old);
    tcase_add_test(tcase, reload_turns_tls_on);
    tcase_add_test(tcase, reload_under_load);
    tcase_add_test(tcase, make_cert);
    tcase_add_test(tcase, make_cert_as_root);
    tcase_add_test(tcase, the_client_over_tls);
    tcase_add_test(tcase, a_squatter_is_told_nothing);
    tcase_add_test(tcase, the_client_from_another_machine);
    tcase_add_test(tcase, a_password_only_over_tls);
    tcase_add_test(tcase, whom_the_client_does_not_trust);
    tcase_add_test(tcase, a_password_is_asked_for_on_the_terminal);
    tcase_add_test(tcase, a_stranger_at_localhost_is_spoken_of);
    suite_add_tcase(suite, tcase);
    return harness_main(suite);
}
