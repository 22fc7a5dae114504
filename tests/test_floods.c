/*
 * Floods: slow clients by the hundred, more connections than there may be, more bodies than fit and
 * more tasks than may wait. Whoever behaves is answered at once all the same.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "common/buf.h"
#include "harness.h"
#include "origin.h"
#include "v1.h"

#define SOON         30000 /* ms */
#define NEVER_MORE   5000  /* ms, for one in fifty: the machine may have other things to do */
#define AT_ONCE      1000  /* ms, for a good request */
#define SLOW         500   /* clients */
#define HEAD_TIME    10000 /* ms that a head may take, and a small body */
#define TOLERANCE    4000  /* ms on a machine with other things to do */
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define BODY         65536 /* bytes: as many as a classic body may have */
#define BODY_SHARE   512   /* such bodies are what one user may have in hand */

static struct service service;

static void set_up(void)
{
    service_init(&service);
}

static void tear_down(void)
{
    service_release(&service);
}

/* --- good clients --- */

static const char *authorization(bool tcp)
{
    return tcp ? http_basic(harness_user()->name, "") : "";
}

static int connect_by(bool tcp)
{
    return tcp ? connect_tcp(service.port, NULL) : connect_unix(service.socket, NULL);
}

static unsigned good_ones, late_ones;

static void good_request(bool tcp, const char *method, const char *target)
{
    _cleanup_answer_ struct answer answer = {0};
    int64_t begin = harness_now();
    const char *request = http_request_text(method, target, authorization(tcp), NULL);
    http_exchange(connect_by(tcp), request, strlen(request), &answer);
    int64_t took = harness_now() - begin;
    ck_assert_msg(answer.status == 200, "%s %s: %d %s", method, target, answer.status, answer.body);
    good_ones++;
    late_ones += took >= AT_ONCE;
    ck_assert_msg(took < NEVER_MORE && late_ones <= 1 + good_ones / 50,
                  "%s %s took %ld ms; %u of %u took longer than %d", method, target, (long)took,
                  late_ones, good_ones, AT_ONCE);
}

/* --- slow clients --- */

enum slowness {
    SLOW_HEAD,
    SLOW_BODY,
    NO_SECOND_REQUEST,
    NO_READING,
};

struct slow {
    int fd; /* -1: the service has cut it */
    enum slowness slowness;
    int64_t since;
    int64_t lasted; /* ms, once it is cut */
};

static const char *opening(enum slowness slowness, bool tcp)
{
    const char *who = authorization(tcp);
    const char *whole = textf("GET /stats HTTP/1.1\r\nHost: localhost\r\n%s\r\n", who);
    const char *text = "";
    switch (slowness) {
    case SLOW_HEAD:
        return textf("GET /stats HTTP/1.1\r\nHost: localhost\r\n%sX-Slow: ", who);
    case SLOW_BODY:
        return textf("POST /add HTTP/1.1\r\nHost: localhost\r\n%sContent-Length: 1000\r\n"
                     "Content-Type: application/x-www-form-urlencoded\r\n\r\n",
                     who);
    case NO_SECOND_REQUEST:
        return whole;
    case NO_READING:
        for (unsigned i = 0; i < 100; i++)
            text = textf("%s%s", text, whole);
        return text;
    }
    return NULL;
}

static void open_slow(struct slow *slow, unsigned count)
{
    const char *texts[4][2];
    for (unsigned i = 0; i < 8; i++)
        texts[i / 2][i % 2] = opening((enum slowness)(i / 2), i % 2);
    for (unsigned i = 0; i < count; i++) {
        slow[i] = (struct slow){.slowness = (enum slowness)(i % 4), .since = harness_now()};
        const char *text = texts[i % 4][i / 4 % 2];
        slow[i].fd = connect_by(i / 4 % 2);
        ck_assert_int_gt(send(slow[i].fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT), 0);
    }
}

/* One more byte of each head and body. */
static void trickle(struct slow *slow, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        char byte;
        if (slow[i].fd < 0 || slow[i].slowness > SLOW_BODY)
            continue;
        bool gone = send(slow[i].fd, "a", 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 && errno != EAGAIN;
        if (gone || recv(slow[i].fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) == 0) {
            slow[i].lasted = harness_now() - slow[i].since;
            close(slow[i].fd);
            slow[i].fd = -1;
        }
    }
}

static unsigned still_there(const struct slow *slow, unsigned count, enum slowness slowness)
{
    unsigned there = 0;
    for (unsigned i = 0; i < count; i++)
        there += slow[i].slowness == slowness && slow[i].fd >= 0;
    return there;
}

static void close_slow(struct slow *slow, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (slow[i].fd >= 0)
            close(slow[i].fd);
}

START_TEST(slow_clients_delay_nobody)
{
    static struct slow slow[SLOW];
    service_start(&service, NULL);
    call(&service, NULL, "POST", "/pause");
    open_slow(slow, SLOW);
    int64_t begin = harness_now(), end = slow[SLOW - 1].since + HEAD_TIME + TOLERANCE;
    unsigned round = 0;
    while (still_there(slow, SLOW, SLOW_HEAD) + still_there(slow, SLOW, SLOW_BODY) > 0) {
        ck_assert_msg(harness_now() < end, "%u slow heads and %u slow bodies are still there",
                      still_there(slow, SLOW, SLOW_HEAD), still_there(slow, SLOW, SLOW_BODY));
        trickle(slow, SLOW);
        good_request(round % 2, "GET", "/stats");
        good_request(round % 2, "POST", "/add?url=http%3A%2F%2F127.0.0.1%2Fa");
        round++;
        poll(NULL, 0, 50);
    }
    for (unsigned i = 0; i < SLOW; i++)
        if (slow[i].slowness <= SLOW_BODY)
            ck_assert_msg(slow[i].lasted >= HEAD_TIME - 100, "number %u was cut after %ld ms", i,
                          (long)slow[i].lasted);
    printf("# %u good requests in %ld ms beside %d slow clients, %u took longer than %d ms\n",
           good_ones, (long)(harness_now() - begin), SLOW, late_ones, AT_ONCE);
    ck_assert_uint_gt(round, 20);
    close_slow(slow, SLOW);
}
END_TEST

/* --- more connections than there may be --- */

static void raise_own_limit(void)
{
    struct rlimit files;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &files), 0);
    files.rlim_cur = files.rlim_max;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &files), 0);
}

static unsigned descriptors_of(pid_t pid)
{
    return count_names(textf("/proc/%d/fd", (int)pid), NULL);
}

static unsigned cut(const int *fds, unsigned count)
{
    unsigned gone = 0;
    char byte;
    for (unsigned i = 0; i < count; i++) {
        ssize_t len = recv(fds[i], &byte, 1, MSG_DONTWAIT | MSG_PEEK);
        gone += len == 0 || (len < 0 && errno != EAGAIN);
    }
    return gone;
}

static void flood(unsigned file_limit, unsigned count, unsigned max)
{
    struct origin *origin;
    _cleanup_view_ struct task_view before = {0}, within = {0};
    int *fds = calloc(count, sizeof(*fds));
    ck_assert_ptr_nonnull(fds);
    raise_own_limit();
    ck_assert_int_eq(origin_start(&origin), 0);
    service.file_limit = file_limit;
    service_start(&service, "--max-tasks-num", "3", NULL);
    ck_assert_int_eq(add_task(&service, NULL, origin_url(origin, "/gate/before"), NULL, &before),
                     200);
    wait_state(&service, NULL, before.id, "DOWNLOADING", SOON);
    pid_t pid = service_process(&service);

    for (unsigned i = 0; i < count; i++) {
        fds[i] = connect_by(i % 2);
        if (i % 100 == 99)
            good_request(i / 100 % 2, "GET", "/stats");
    }
    for (unsigned round = 0; round < 20; round++)
        good_request(round % 2, "GET", "/stats");
    ck_assert_uint_ge(cut(fds, count), count - max);
    if (file_limit > 0)
        ck_assert_uint_lt(descriptors_of(pid), file_limit / 2 + 60);

    /* downloads have what they need, those that begin now included */
    ck_assert_int_eq(
        add_task(&service, NULL, origin_url(origin, "/bytes/100000/within"), NULL, &within), 200);
    wait_state(&service, NULL, within.id, "FINISHED", SOON);
    origin_open_gate(origin, "before");
    wait_state(&service, NULL, before.id, "FINISHED", SOON);
    _cleanup_free_ char *log = file_read(service.log);
    ck_assert_msg(!strstr(log, "<3>"), "errors in the log:\n%s", log);
    for (unsigned i = 0; i < count; i++)
        close(fds[i]);
    free(fds);
    origin_stop(origin);
}

START_TEST(more_connections_than_a_small_limit_allows)
{
    flood(300, 600, 99);
    service_wait_log(&service, "at most 99 connections at once", 0);
}
END_TEST

START_TEST(more_connections_than_there_may_be)
{
    flood(0, 4600, 4096);
}
END_TEST

/* --- more bodies than there is room for --- */

static bool a_body_is_taken(void *data)
{
    _cleanup_answer_ struct answer answer = {0};
    const char *body = textf("seconds=5&%0*d", 1000, 0);
    (void)data;
    http_unix(&service, NULL, http_request_text("POST", "/pause", NULL, body), &answer);
    if (answer.status == 200)
        return true;
    ck_assert_int_eq(answer.status, 503);
    ck_assert_ptr_nonnull(answer_header(&answer, "Retry-After"));
    const char *message = answer_string(&answer, "message");
    ck_assert_msg(message && strstr(message, "try again"), "%s", answer.body);
    return false;
}

/* The service has read all that was sent to it. */
static bool is_read(void *data)
{
    int left = 0;
    return ioctl(*(int *)data, SIOCOUTQ, &left) == 0 && left == 0;
}

/* All but a byte of such a body. */
static int begin_body(unsigned size)
{
    int fd = connect_by(false);
    const char *text = textf("POST /pause HTTP/1.1\r\nHost: localhost\r\nContent-Length: %u\r\n"
                             "Content-Type: application/x-www-form-urlencoded\r\n\r\n%0*d",
                             size, (int)size - 1, 0);
    ck_assert_int_eq(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
    return fd;
}

START_TEST(bodies_in_hand_are_bounded)
{
    static int fds[2 * BODY_SHARE];
    unsigned count = 0;
    raise_own_limit();
    service_start(&service, NULL);
    ck_assert(a_body_is_taken(NULL));
    while (count < BODY_SHARE)
        fds[count++] = begin_body(BODY);
    for (unsigned i = 0; i < count; i++)
        wait_until(is_read, &fds[i], SOON, "the service reads the bodies");
    /* Some may have been refused when all of them grew; smaller ones fill their place. */
    for (unsigned size = BODY / 2; a_body_is_taken(NULL); size = size > 600 ? size / 2 : BODY / 2) {
        ck_assert_uint_lt(count, COUNT(fds));
        fds[count] = begin_body(size);
        wait_until(is_read, &fds[count++], SOON, "the service reads the bodies");
    }
    good_request(true, "POST", "/pause?seconds=5"); /* without a body */
    for (unsigned i = 0; i < count; i++)
        close(fds[i]);
    wait_until(a_body_is_taken, NULL, SOON, "there is room again");
}
END_TEST

/* --- more answers than are read --- */

#define LISTS 45 /* of 8 MB: more than a user's share of what the service holds */

static void add_with_long_urls(void)
{
    for (int batch = 0; batch < 10; batch++) {
        struct buf json;
        buf_init(&json, 1 << 20);
        for (int i = 0; i < 100; i++)
            buf_printf(&json, "%s{\"url\": \"http://127.0.0.1/%08000d\", \"paused\": true}",
                       i ? ", " : "{\"tasks\": [", i);
        buf_add_string(&json, "]}");
        ck_assert_int_eq(json.error, 0);
        ck_assert_int_eq(v1_call(&service, "POST", "/v1/tasks", json.data, NULL), 201);
        buf_release(&json);
    }
}

static int ask_for_a_list(void)
{
    static const char request[] = "GET /v1/tasks?limit=1000 HTTP/1.1\r\nHost: localhost\r\n\r\n";
    int fd = connect_by(false);
    ck_assert_int_gt(send(fd, request, sizeof request - 1, MSG_NOSIGNAL), 0);
    return fd;
}

/* By the first line; the rest is not read. */
static bool a_list_is_answered(void *data)
{
    char line[sizeof "HTTP/1.1 200"] = "";
    int fd = ask_for_a_list(), status = 0;
    struct pollfd item = {.fd = fd, .events = POLLIN};
    (void)data;
    ck_assert_int_eq(poll(&item, 1, SOON), 1);
    ck_assert_int_eq(recv(fd, line, sizeof line - 1, MSG_WAITALL), sizeof line - 1);
    close(fd);
    ck_assert_int_eq(sscanf(line, "HTTP/1.1 %d", &status), 1);
    ck_assert_msg(status == 200 || status == 503, "%s", line);
    return status == 200;
}

static bool a_list_is_refused(void *data)
{
    return !a_list_is_answered(data);
}

START_TEST(answers_that_nobody_reads_are_bounded)
{
    static int fds[LISTS];
    service_start(&service, NULL);
    add_with_long_urls();
    ck_assert(a_list_is_answered(NULL));
    for (unsigned i = 0; i < LISTS; i++)
        fds[i] = ask_for_a_list();
    wait_until(a_list_is_refused, NULL, SOON, "no more lists are held");
    ck_assert_int_lt(service_memory(&service), 450 << 10);
    good_request(true, "POST", "/pause?seconds=5"); /* with a small answer */
    for (unsigned i = 0; i < LISTS; i++)
        close(fds[i]);
    wait_until(a_list_is_answered, NULL, SOON, "there is room again");
}
END_TEST

/* --- more tasks than may wait --- */

static void expect_add(int status)
{
    const char *body;
    int is = v1_try_add(&service, "http://127.0.0.1/a", NULL, NULL, &body);
    ck_assert_msg(is == status, "%d, not %d: %s", is, status, body);
}

START_TEST(only_so_many_tasks_wait)
{
    _cleanup_answer_ struct answer answer = {0};
    const char *add = http_request_text("POST", "/add?url=http%3A%2F%2F127.0.0.1%2Fa", NULL, NULL);
    file_write(service.config, "max-waiting-per-user = 3\n");
    service_start(&service, NULL);
    call(&service, NULL, "POST", "/pause");
    const char *first = v1_add(&service, "http://127.0.0.1/a", NULL, NULL);
    const char *second = v1_add(&service, "http://127.0.0.1/a", NULL, "\"paused\": true");
    expect_add(201);
    expect_add(429);
    http_unix(&service, NULL, add, &answer);
    ck_assert_int_eq(answer.status, 429);
    ck_assert_ptr_nonnull(answer_header(&answer, "Retry-After"));
    ck_assert_str_eq(answer_string(&answer, "code"), "too_many");
    const char *message = answer_string(&answer, "message");
    ck_assert_msg(message && strstr(message, "max-waiting-per-user"), "%s", answer.body);

    v1_verb(&service, first, "hold", 200); /* that changes nothing */
    expect_add(429);
    v1_verb(&service, second, "release", 200);
    expect_add(429);
    v1_verb(&service, second, "cancel", 200);
    expect_add(201);
    expect_add(429);
    service_kill_all(&service);
    service_start(&service, NULL); /* it still knows them */
    expect_add(429);
    v1_verb(&service, first, "cancel", 200);
    expect_add(201);
    expect_add(429);
    call(&service, NULL, "POST", "/clear");
    expect_add(201);

    file_write(service.config, "max-waiting-per-user = 1\n");
    ck_assert_int_eq(kill(service.monitor, SIGHUP), 0);
    service_wait_log(&service, "reloaded", SOON);
    expect_add(429);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("floods");
    TCase *tcase = tcase_create("floods");
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, slow_clients_delay_nobody);
    tcase_add_test(tcase, more_connections_than_a_small_limit_allows);
    tcase_add_test(tcase, more_connections_than_there_may_be);
    tcase_add_test(tcase, bodies_in_hand_are_bounded);
    tcase_add_test(tcase, answers_that_nobody_reads_are_bounded);
    tcase_add_test(tcase, only_so_many_tasks_wait);
    suite_add_tcase(suite, tcase);
    return harness_main(suite);
}
