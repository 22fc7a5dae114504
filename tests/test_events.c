/*
 * Events end to end: what a listener hears of real downloads, stops and restarts of the service,
 * and clients that are killed at any moment.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "harness.h"
#include "origin.h"
#include "sse.h"
#include "v1.h"

#define SOON           30000 /* ms */
#define KILLS_IN_CHECK 1000
#define RING_KIB       8192 /* which may have been filling */

static struct service service;
static struct origin *origin;

static void set_up(void)
{
    ck_assert_int_eq(origin_start(&origin), 0);
    service_init(&service);
    service_start(&service, "--retry-wait", "100ms", "--max-tasks-num", "20", NULL);
}

static void tear_down(void)
{
    service_release(&service);
    origin_stop(origin);
}

/* --- steps --- */

static const char *events_request(const char *query, const char *last_id)
{
    const char *extra = last_id ? textf("Last-Event-ID: %s\r\n", last_id) : "";
    return http_request_text("GET", textf("/v1/events%s", query), extra, NULL);
}

static void listen_from(struct sse *sse, const char *query, const char *last_id)
{
    sse_begin(sse, connect_unix(service.socket, NULL), events_request(query, last_id));
}

static void listen_to(struct sse *sse, const char *query)
{
    listen_from(sse, query, NULL);
    sse_find(sse, SOON, "stats", NULL);
}

/* The next event about this task; its data lives as long as the test. */
static const char *next_of(struct sse *sse, const char *id, struct sse_event *ret_event)
{
    for (;;) {
        const char *data = textf("%s", sse_find(sse, SOON, "task", ret_event));
        if (strcmp(json_at(data, "id"), id) == 0)
            return data;
    }
}

/* Through these states ("A B C"), each perhaps told several times, and no other. */
static void expect_states(struct sse *sse, const char *id, const char *states)
{
    const char *now = "";
    while (*states) {
        size_t len = strcspn(states, " ");
        const char *state = json_at(next_of(sse, id, NULL), "status");
        if (strcmp(state, now) == 0)
            continue;
        ck_assert_msg(strlen(state) == len && strncmp(state, states, len) == 0,
                      "%s where %s was to come", state, states);
        now = textf("%s", state);
        states += len + (states[len] == ' ');
    }
}

static bool nobody_listens(void *data)
{
    (void)data;
    _cleanup_answer_ struct answer answer = {0};
    http_unix(&service, NULL, http_request_text("GET", "/metrics", NULL, NULL), &answer);
    ck_assert_int_eq(answer.status, 200);
    return strstr(answer.body, "\nautodl_event_streams 0\n") != NULL;
}

/* --- downloads --- */

START_TEST(a_download_as_it_is_heard)
{
    struct sse sse;
    struct sse_event event;
    listen_to(&sse, "");
    const char *id =
        v1_add(&service, origin_url(origin, "/gate/a?size=1000000"), NULL, "\"label\": \"mine\"");
    const char *first = next_of(&sse, id, &event);
    ck_assert_str_eq(json_at(first, "status"), "ENQUEUED");
    ck_assert_str_eq(json_at(first, "waiting_for.reason"), "slot");
    ck_assert_str_eq(json_at(first, "label"), "mine");

    /* with the first answer's head more is known; a moment later GET has it too */
    const char *data;
    do
        data = next_of(&sse, id, &event);
    while (!json_at(data, "bytes_total"));
    ck_assert_str_eq(json_at(data, "status"), "DOWNLOADING");
    ck_assert_str_eq(json_at(data, "bytes_total"), "1000000");
    const char *progress = sse_find(&sse, SOON, "progress", &event);
    ck_assert_str_eq(json_at(progress, "id"), id);
    ck_assert_str_eq(json_at(progress, "bytes_total"), "1000000");
    while (strcmp(json_at(progress, "bytes_done"), "500000") != 0)
        progress = sse_find(&sse, SOON, "progress", &event);
    static const char *const same[] = {"url",   "user",       "directory", "name",
                                       "dest",  "priority",   "label",     "attempts",
                                       "error", "created_at", "started_at"};
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        const char *got = v1_get(&service, id, same[i]), *told = json_at(data, same[i]);
        ck_assert_msg(got == told || (got && told && strcmp(got, told) == 0),
                      "%s: GET has %s, the event %s", same[i], got ? got : "null",
                      told ? told : "null");
    }
    origin_open_gate(origin, "a");
    expect_states(&sse, id, "FINISHING FINISHED");
    sse_end(&sse);
}
END_TEST

START_TEST(each_verb_is_heard)
{
    struct sse sse;
    call(&service, NULL, "POST", "/pause");
    listen_to(&sse, "");
    const char *id = v1_add(&service, origin_url(origin, "/bytes/1000/a"), NULL, NULL);
    const char *data = next_of(&sse, id, NULL);
    ck_assert_str_eq(json_at(data, "waiting_for.reason"), "paused");
    v1_verb(&service, id, "hold", 200);
    v1_verb(&service, id, "release", 200);
    v1_verb(&service, id, "cancel", 200);
    v1_verb(&service, id, "retry", 200);
    expect_states(&sse, id, "PAUSED ENQUEUED CANCELLED ENQUEUED");
    call(&service, NULL, "POST", "/clear");
    sse_find(&sse, SOON, "reset", NULL);
    v1_verb(&service, id, "retry", 200);
    call(&service, NULL, "POST", "/resume");
    expect_states(&sse, id, "ENQUEUED");
    sse_find(&sse, SOON, "reset", NULL);
    expect_states(&sse, id, "DOWNLOADING FINISHING FINISHED");
    const char *bad = v1_add(&service, origin_url(origin, "/status/404/b"), NULL, NULL);
    expect_states(&sse, bad, "ENQUEUED DOWNLOADING FAILED");
    sse_end(&sse);
}
END_TEST

START_TEST(many_at_once_are_heard_each)
{
    enum { TASKS = 200 };
    struct sse sse;
    char *body = NULL;
    size_t len;
    unsigned heard = 0, finished = 0;
    call(&service, NULL, "POST", "/pause");
    listen_to(&sse, "");
    FILE *file = open_memstream(&body, &len);
    for (int i = 0; i < TASKS; i++)
        fprintf(file, "%s{\"url\": \"%s\"}", i ? ", " : "{\"tasks\": [",
                origin_url(origin, textf("/bytes/100/f%d", i)));
    fprintf(file, "]}");
    fclose(file);
    ck_assert_int_eq(v1_call(&service, "POST", "/v1/tasks", body, NULL), 201);
    free(body);
    for (; heard < TASKS; heard++)
        ck_assert_str_eq(json_at(sse_find(&sse, SOON, "task", NULL), "status"), "ENQUEUED");
    call(&service, NULL, "POST", "/resume");
    while (finished < TASKS)
        finished += strcmp(json_at(sse_find(&sse, SOON, "task", NULL), "status"), "FINISHED") == 0;
    const char *counts = sse_find(&sse, SOON, "stats", NULL);
    while (strcmp(json_at(counts, "own.FINISHED"), textf("%d", TASKS)) != 0)
        counts = sse_find(&sse, SOON, "stats", NULL);
    ck_assert_str_eq(json_at(counts, "all.FINISHED"), textf("%d", TASKS));
    ck_assert_str_eq(json_at(counts, "own.ENQUEUED"), "0");
    sse_end(&sse);
}
END_TEST

/* --- coming again --- */

START_TEST(what_was_missed_is_told)
{
    struct sse sse;
    struct sse_event event;
    listen_to(&sse, "");
    const char *id = v1_add(&service, origin_url(origin, "/gate/b?size=1000"), NULL, NULL);
    next_of(&sse, id, &event);
    const char *last = textf("%s", event.id);
    sse_end(&sse);
    origin_open_gate(origin, "b");
    v1_wait(&service, id, "FINISHED", SOON);
    listen_from(&sse, "", last);
    expect_states(&sse, id, "DOWNLOADING FINISHING FINISHED");
    ck_assert_ptr_null(strstr(sse.raw.data, "event: reset"));
    ck_assert_ptr_null(strstr(sse.raw.data, "event: progress"));
    sse_end(&sse);

    /* another run knows nothing of it */
    service_stop(&service);
    service_start(&service, NULL);
    listen_from(&sse, "", last);
    ck_assert(sse_next(&sse, SOON, &event));
    ck_assert_str_eq(event.name, "reset");
    sse_end(&sse);
}
END_TEST

START_TEST(a_stop_ends_it)
{
    struct sse unix_one, tcp_one;
    struct sse_event event;
    listen_to(&unix_one, "");
    v1_add(&service, origin_url(origin, "/gate/c?size=1000"), NULL, NULL);
    sse_begin(&tcp_one, connect_tcp(service.port, NULL),
              http_request_text("GET", "/v1/events", http_basic(harness_user()->name, ""), NULL));
    int64_t took = service_stop(&service);
    ck_assert_msg(took < 5000, "the stop took %lld ms", (long long)took);
    while (sse_next(&unix_one, SOON, &event))
        ;
    while (sse_next(&tcp_one, SOON, &event))
        ;
    ck_assert(unix_one.ended && unix_one.closed && tcp_one.ended && tcp_one.closed);
    sse_end(&unix_one);
    sse_end(&tcp_one);
}
END_TEST

/* --- idle --- */

static long context_switches(void)
{
    const char *path = textf("/proc/%d/task", (int)service_process(&service));
    DIR *tasks = opendir(path);
    ck_assert_ptr_nonnull(tasks);
    long sum = 0;
    for (struct dirent *entry; (entry = readdir(tasks));) {
        pid_t thread = (pid_t)strtol(entry->d_name, NULL, 10);
        if (thread > 0)
            sum += strtol(process_status(thread, "voluntary_ctxt_switches"), NULL, 10);
    }
    closedir(tasks);
    ck_assert_int_gt(sum, 0);
    return sum;
}

static bool is_quiet(void *data)
{
    long *last = data, now = context_switches();
    bool quiet = now - *last <= 1;
    *last = now;
    usleep(quiet ? 0 : 500000);
    return quiet;
}

static void expect_rest(void)
{
    enum { WHILE = 2 };
    long last = 0;
    wait_until(is_quiet, &last, SOON, "rest");
    long begin = context_switches();
    sleep(WHILE);
    long wakes = context_switches() - begin;
    ck_assert_msg(wakes <= WHILE, "%ld wake-ups in %d s", wakes, WHILE);
}

START_TEST(nobody_listens_nothing_wakes)
{
#ifdef __SANITIZE_THREAD__
    puts("# that nothing wakes: skipped, since the sanitizer has a thread that does");
    return;
#endif
    struct sse sse;
    expect_rest();
    listen_to(&sse, "");
    sse_end(&sse);
    expect_rest();
}
END_TEST

/* --- many --- */

/* What a listener costs the service, the HTTP library's share (up to 16 KiB for the connection's
 * buffers) included; and one that is counted as idle hears what comes all the same. */
START_TEST(three_thousand_listen)
{
    enum { LISTENERS = 3000, FIRST = 100, ON_TCP = 1500 };
    static struct sse sse[LISTENERS];
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    if (files.rlim_max < 2 * LISTENERS) {
        printf("# three thousand listeners: skipped, since the limit of open files is %llu\n",
               (unsigned long long)files.rlim_max);
        return;
    }
    const char *on_tcp =
        http_request_text("GET", "/v1/events", http_basic(harness_user()->name, ""), NULL);
    long before = 0;
    for (int i = 0; i < LISTENERS; i++) {
        if (i == FIRST)
            before = service_memory(&service);
        if (i < ON_TCP)
            sse_begin(&sse[i], connect_tcp(service.port, NULL), on_tcp);
        else
            listen_from(&sse[i], "", NULL);
        sse_find(&sse[i], SOON, "stats", NULL);
    }
    double each = (double)(service_memory(&service) - before) / (LISTENERS - FIRST);
    printf("# %.1f KiB of the service for each of %d idle listeners\n", each, LISTENERS);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    ck_assert_double_lt(each, 20);
#endif
    const char *id = v1_add(&service, origin_url(origin, "/bytes/1000/m"), NULL, NULL);
    for (int i = 0; i < LISTENERS; i++) {
        expect_states(&sse[i], id, "ENQUEUED DOWNLOADING FINISHING FINISHED");
        close(sse[i].fd);
        sse[i].fd = -1;
        sse_end(&sse[i]);
    }
    wait_until(nobody_listens, NULL, SOON, "that nobody listens any more");
}
END_TEST

/* --- clients that are killed --- */

static unsigned kills(void)
{
    const char *given = getenv("KILLS");
    return given ? (unsigned)strtoul(given, NULL, 10) : KILLS_IN_CHECK;
}

static unsigned seed;

static unsigned roll(unsigned sides)
{
    return (unsigned)rand_r(&seed) % sides;
}

/* Sends some of a request, reads some of the answer, and is gone: with a reset, or as a process
 * that is killed is. */
static void be_killed(const char *request)
{
    char piece[8192];
    size_t len = strlen(request);
    int fd = roll(2) ? connect_tcp(service.port, NULL) : connect_unix(service.socket, NULL);
    struct linger at_once = {.l_onoff = 1};
    if (roll(2))
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    if (roll(4) == 0)
        len = roll((unsigned)len);
    (void)!send(fd, request, len, MSG_NOSIGNAL);
    for (unsigned reads = roll(4); reads > 0; reads--) {
        usleep(roll(1000));
        (void)!recv(fd, piece, sizeof piece, MSG_DONTWAIT);
    }
    close(fd);
}

static void kill_many(unsigned count)
{
    const char *auth = http_basic(harness_user()->name, "");
    const char *events = http_request_text("GET", "/v1/events", auth, NULL);
    const char *batch = http_request_text(
        "POST", "/v1/tasks", textf("%sContent-Type: application/json\r\n", auth),
        textf("{\"tasks\": [{\"url\": \"%s\", \"paused\": true}, {\"url\": \"%s\", \"paused\": "
              "true}]}",
              origin_url(origin, "/bytes/10/k"), origin_url(origin, "/bytes/10/l")));
    for (unsigned i = 0; i < count; i++)
        be_killed(roll(10) ? events : batch);
    wait_until(nobody_listens, NULL, SOON, "that those who were killed listen no more");
}

START_TEST(clients_are_killed)
{
    struct sse witness;
    const char *given = getenv("AUTODL_SEED");
    seed = given ? (unsigned)strtoul(given, NULL, 10) : (unsigned)harness_now();
    printf("# AUTODL_SEED=%u\n", seed);
    kill_many(kills()); /* what is made once; the ring fills */
    long before = service_memory(&service);
    kill_many(kills());
    long after = service_memory(&service);
    printf("# %u killed: %ld KiB before, %ld after\n", kills(), before, after);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    ck_assert_int_lt(after - before, kills() > KILLS_IN_CHECK ? 4096 + RING_KIB : 4096);
#endif
    listen_to(&witness, "");
    const char *id = v1_add(&service, origin_url(origin, "/bytes/1000/w"), NULL, NULL);
    expect_states(&witness, id, "ENQUEUED DOWNLOADING FINISHING FINISHED");
    sse_end(&witness);
    service_stop(&service);
}
END_TEST

/* --- --- */

int main(void)
{
    Suite *suite = suite_create("events");
    TCase *heard = tcase_create("heard"), *killed = tcase_create("killed");
    tcase_add_checked_fixture(heard, set_up, tear_down);
    tcase_set_timeout(heard, 120);
    tcase_add_test(heard, a_download_as_it_is_heard);
    tcase_add_test(heard, each_verb_is_heard);
    tcase_add_test(heard, many_at_once_are_heard_each);
    tcase_add_test(heard, what_was_missed_is_told);
    tcase_add_test(heard, a_stop_ends_it);
    tcase_add_test(heard, nobody_listens_nothing_wakes);
    tcase_add_test(heard, three_thousand_listen);
    suite_add_tcase(suite, heard);
    tcase_add_checked_fixture(killed, set_up, tear_down);
    tcase_set_timeout(killed, 120 + (double)kills() / 50);
    tcase_add_test(killed, clients_are_killed);
    suite_add_tcase(suite, killed);
    return harness_main(suite);
}
