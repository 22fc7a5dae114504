/*
 * Events, health and metrics: the server with its routes over a manager that runs nothing; what
 * that would tell, the tests tell.
 */
#include <config.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/units.h"
#include "fake_manager.h"
#include "http_bench.h"
#include "sse.h"

#define SOON          10000 /* ms */
#define BEFORE_A_BEAT 5000

/* --- steps --- */

static void listen_by(struct sse *sse, enum way way, const char *target, const char *extra)
{
    char line[300];
    snprintf(line, sizeof line, "GET %s", target);
    _cleanup_free_ char *text =
        request_text(line, way == UNIX ? NULL : own_name, extra ? extra : "", NULL);
    int fd = connect_to(way);
    ck_assert_int_ge(fd, 0);
    sse_begin(sse, fd, text);
}

/* Listens, and has the counts that come first: what is told from now on comes. */
static void listen_to(struct sse *sse, const char *target)
{
    listen_by(sse, UNIX, target, NULL);
    sse_find(sse, SOON, "stats", NULL);
}

static void tell(uid_t uid, const char *id, enum task_state state)
{
    struct task task = {.uid = uid,
                        .user = (char *)"x",
                        .url = (char *)"http://h/a?secret",
                        .directory = (char *)"/srv",
                        .name = (char *)"a",
                        .state = state,
                        .created_at = 1000,
                        .ended_at = 2000,
                        .bytes_total = -1};
    struct manager_view view = {.task = &task, .bytes_per_second = -1};
    snprintf(task.id, sizeof task.id, "%s", id);
    struct manager_events told = events_of_manager(events);
    told.on_task(told.data, &view);
}

static void tell_own(const char *id, enum task_state state)
{
    tell(getuid(), id, state);
}

static void tell_many(uid_t scope)
{
    struct manager_events told = events_of_manager(events);
    told.on_many(told.data, scope);
}

static void expect_task(struct sse *sse, const char *id, enum task_state state)
{
    char text[100];
    const char *data = sse_find(sse, SOON, "task", NULL);
    snprintf(text, sizeof text, "{\"id\": \"%s\", ", id);
    ck_assert_msg(strncmp(data, text, strlen(text)) == 0, "%s is not of %s", data, id);
    snprintf(text, sizeof text, "\"status\": \"%s\"", task_state_name(state));
    ck_assert_msg(strstr(data, text) != NULL, "%s is not %s", data, task_state_name(state));
}

static void wait_for_listeners(unsigned count)
{
    int64_t until = units_now_boottime() + SOON;
    while (events_listeners(events) != count) {
        ck_assert_msg(units_now_boottime() < until, "%u listen, not %u", events_listeners(events),
                      count);
        usleep(1000);
    }
}

static bool is_watched(void)
{
    return seen()->watched;
}

/* --- what comes --- */

START_TEST(events_come_in_their_order)
{
    struct sse sse;
    listen_to(&sse, "/v1/events");
    for (int i = 0; i < 300; i++)
        tell_own("aaaaaaaa", (enum task_state)(i % TASK_STATES));
    for (int i = 0; i < 300; i++)
        expect_task(&sse, "aaaaaaaa", (enum task_state)(i % TASK_STATES));
    sse_end(&sse);
}
END_TEST

START_TEST(the_first_words)
{
    struct sse sse;
    struct sse_event event;
    listen_by(&sse, TCP, "/v1/events", NULL);
    const char *data = sse_find(&sse, SOON, "stats", &event);
    ck_assert_ptr_nonnull(strchr(event.id, '-'));
    ck_assert_str_eq(data, "{\"own\": {\"CREATED\": 0, \"ENQUEUED\": 0, \"DOWNLOADING\": 0, "
                           "\"FINISHED\": 0, \"FAILED\": 0, \"CLEARED\": 0, \"FINISHING\": 0, "
                           "\"PAUSED\": 4, \"CANCELLED\": 0}, "
                           "\"all\": {\"CREATED\": 0, \"ENQUEUED\": 1, \"DOWNLOADING\": 0, "
                           "\"FINISHED\": 0, \"FAILED\": 0, \"CLEARED\": 0, \"FINISHING\": 0, "
                           "\"PAUSED\": 0, \"CANCELLED\": 7}}");
    ck_assert_ptr_nonnull(strstr(sse.raw.data, "\r\nCache-Control: no-store\r\n"));
    ck_assert_ptr_nonnull(strstr(sse.raw.data, "retry: 3000\n\n"));
    sse_end(&sse);
}
END_TEST

/* Half a second after the first ones, and not again: nothing has changed. */
START_TEST(counts_come_when_they_change_and_not_too_often)
{
    struct sse sse;
    struct sse_event event;
    listen_to(&sse, "/v1/events");
    unsigned counts = 0, tasks = 0;
    int64_t begin = units_now_boottime(), until = begin + 2300;
    for (int64_t now; (now = units_now_boottime()) < until;) {
        if (tasks < 200 && now > begin + tasks * 10) {
            tell_own("aaaaaaaa", TASK_ENQUEUED);
            tasks++;
        }
        if (sse_next(&sse, 1, &event))
            counts += strcmp(event.name, "stats") == 0;
    }
    ck_assert_uint_ge(counts, 2);
    ck_assert_uint_le(counts, 4);
    while (sse_next(&sse, 1200, &event))
        ;
    ck_assert(!sse.closed);
    sse_end(&sse);
}
END_TEST

START_TEST(large_events_come_whole)
{
    enum { LARGE = 300000 };
    struct sse sse;
    struct sse_event event;
    listen_to(&sse, "/v1/events");
    char *name = malloc(LARGE + 1);
    memset(name, 'n', LARGE);
    name[LARGE] = '\0';
    struct task task = {.uid = getuid(),
                        .id = "bbbbbbbb",
                        .user = name,
                        .url = (char *)"http://h/",
                        .directory = (char *)"/",
                        .name = (char *)"a",
                        .bytes_total = -1};
    struct manager_view view = {.task = &task, .bytes_per_second = -1};
    struct manager_events told = events_of_manager(events);
    for (int i = 0; i < 5; i++)
        told.on_task(told.data, &view);
    for (int i = 0; i < 5; i++) {
        const char *data = sse_find(&sse, SOON, "task", &event);
        ck_assert_uint_gt(strlen(data), LARGE);
        ck_assert_ptr_nonnull(strstr(data, name));
    }
    free(name);
    sse_end(&sse);
}
END_TEST

START_TEST(progress_of_what_runs)
{
    struct sse sse, other;
    struct sse_event event;
    pthread_mutex_lock(&manager.lock);
    manager.running[0] = (struct manager_running){.id = "aaaaaaaa",
                                                  .uid = getuid(),
                                                  .url = "http://h/",
                                                  .bytes_done = 1000,
                                                  .bytes_total = 4001,
                                                  .bytes_per_second = 1000,
                                                  .ranges = 3};
    manager.running[1] = (struct manager_running){.id = "bbbbbbbb",
                                                  .uid = getuid() + 1,
                                                  .url = "http://h/",
                                                  .bytes_done = 7,
                                                  .bytes_total = -1,
                                                  .ranges = 1};
    manager.running_count = 2;
    pthread_mutex_unlock(&manager.lock);
    listen_to(&sse, "/v1/events?scope=own");
    listen_to(&other, "/v1/events?scope=all&task=bbbb");
    int64_t begin = units_now_boottime();
    for (int i = 0; i < 3; i++) {
        const char *data = sse_find(&sse, SOON, "progress", &event);
        ck_assert_str_eq(data,
                         "{\"id\": \"aaaaaaaa\", \"bytes_done\": 1000, \"bytes_total\": 4001, "
                         "\"bytes_per_second\": 1000, \"eta_seconds\": 4, \"ranges\": 3}");
        data = sse_find(&other, SOON, "progress", &event);
        ck_assert_str_eq(data, "{\"id\": \"bbbbbbbb\", \"bytes_done\": 7, \"bytes_total\": null, "
                               "\"bytes_per_second\": 0, \"eta_seconds\": null, \"ranges\": 1}");
    }
    int64_t took = units_now_boottime() - begin;
    ck_assert_msg(took >= 1900, "three came within %lld ms", (long long)took);
    sse_end(&sse);
    sse_end(&other);
}
END_TEST

/* --- whose --- */

START_TEST(only_ones_own)
{
    struct sse own, all;
    struct sse_event event;
    listen_to(&own, "/v1/events?scope=own");
    listen_to(&all, "/v1/events?scope=all");
    tell(getuid() + 1, "aaaaaaaa", TASK_FAILED);
    tell_own("bbbbbbbb", TASK_FINISHED);
    expect_task(&own, "bbbbbbbb", TASK_FINISHED);
    ck_assert_ptr_nonnull(strstr(own.raw.data, "http://h/a?secret"));
    ck_assert_ptr_null(strstr(own.raw.data, "aaaaaaaa"));
    const char *data = sse_find(&all, SOON, "task", &event);
    ck_assert_ptr_nonnull(strstr(data, "\"url\": \"http://h/a\"")); /* without its query */
    expect_task(&all, "bbbbbbbb", TASK_FINISHED);
    tell_many(getuid() + 1);
    tell_own("cccccccc", TASK_FINISHED);
    expect_task(&own, "cccccccc", TASK_FINISHED); /* and no reset: it has been looked past */
    ck_assert_ptr_null(strstr(own.raw.data, "event: reset"));
    sse_find(&all, SOON, "reset", NULL);
    tell_many(getuid());
    ck_assert_str_eq(sse_find(&own, SOON, "reset", NULL), "{}");
    sse_end(&own);
    sse_end(&all);
}
END_TEST

START_TEST(only_some_tasks)
{
    struct sse sse;
    listen_to(&sse, "/v1/events?task=aaaa&task=bbbbbbbb-0");
    tell_own("aaaab111", TASK_ENQUEUED);
    tell_own("bbbbbbbb-1111", TASK_ENQUEUED);
    tell_own("bbbbbbbb-0222", TASK_FAILED);
    tell_own("baaa", TASK_FAILED);
    tell_own("aaaa", TASK_FINISHED);
    expect_task(&sse, "aaaab111", TASK_ENQUEUED);
    expect_task(&sse, "bbbbbbbb-0222", TASK_FAILED);
    expect_task(&sse, "aaaa", TASK_FINISHED);
    sse_end(&sse);
}
END_TEST

START_TEST(what_is_asked_wrong_is_refused)
{
    static const char *const bad[] = {"task=",
                                      "task=abc",
                                      "task=ABCD",
                                      "task=abcg",
                                      "task=00000000-0000-4000-8000-0000000000001",
                                      "task=aaaa&task=x",
                                      "task=aaaa%00",
                                      "scope=",
                                      "scope=everybody",
                                      "scope=all%00x",
                                      "tasks=aaaa",
                                      "id=aaaa"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char line[200];
        snprintf(line, sizeof line, "GET /v1/events?%s", bad[i]);
        expect(line, 400, NULL);
    }
    expect("POST /v1/events", 405, NULL);
    expect("DELETE /v1/events", 405, NULL);
    _cleanup_free_ char *answer = ask(UNIX, "POST /v1/events", NULL, "", NULL);
    ck_assert_ptr_nonnull(strstr(answer, "\r\nAllow: GET, HEAD\r\n"));
    _cleanup_free_ char *head = ask(UNIX, "HEAD /v1/events", NULL, "", NULL);
    check_answer(head, 200, "", "HEAD");
    wait_for_listeners(0);
}
END_TEST

/* --- coming again --- */

START_TEST(who_comes_again_misses_nothing)
{
    struct sse sse;
    struct sse_event event;
    char extra[100];
    listen_by(&sse, UNIX, "/v1/events", NULL);
    sse_find(&sse, SOON, "stats", &event);
    snprintf(extra, sizeof extra, "Last-Event-ID: %s\r\n", event.id);
    sse_end(&sse); /* nothing but the counts has come by then */
    wait_for_listeners(0);
    ck_assert(is_watched());
    tell_own("aaaaaaaa", TASK_ENQUEUED);
    tell_own("aaaaaaaa", TASK_DOWNLOADING);
    listen_by(&sse, UNIX, "/v1/events", extra);
    expect_task(&sse, "aaaaaaaa", TASK_ENQUEUED);
    const char *data = sse_find(&sse, SOON, "task", &event);
    ck_assert_ptr_nonnull(strstr(data, "DOWNLOADING"));
    ck_assert_ptr_null(strstr(sse.raw.data, "event: reset"));
    snprintf(extra, sizeof extra, "Last-Event-ID: %s\r\n", event.id);
    sse_end(&sse);
    tell_own("aaaaaaaa", TASK_FINISHED);
    listen_by(&sse, UNIX, "/v1/events", extra);
    expect_task(&sse, "aaaaaaaa", TASK_FINISHED); /* once, and what was had is not told again */
    sse_end(&sse);
}
END_TEST

/* How far something was is of no use later. */
START_TEST(progress_is_not_told_again)
{
    struct sse stays, comes;
    struct sse_event event;
    char extra[100];
    pthread_mutex_lock(&manager.lock);
    manager.running[0] = (struct manager_running){
        .id = "aaaaaaaa", .uid = getuid(), .url = "http://h/", .bytes_total = -1};
    manager.running_count = 1;
    pthread_mutex_unlock(&manager.lock);
    listen_to(&stays, "/v1/events");
    sse_find(&stays, SOON, "progress", &event);
    snprintf(extra, sizeof extra, "Last-Event-ID: %s\r\n", event.id);
    sse_find(&stays, SOON, "progress", NULL);
    tell_own("bbbbbbbb", TASK_FAILED);
    expect_task(&stays, "bbbbbbbb", TASK_FAILED);
    listen_by(&comes, UNIX, "/v1/events", extra);
    ck_assert(sse_next(&comes, SOON, &event));
    ck_assert_str_eq(event.name, "task");
    sse_find(&comes, SOON, "progress", NULL); /* from then on */
    sse_end(&stays);
    sse_end(&comes);
}
END_TEST

/* What is told just when its stream goes to sleep: else it would come with the next heartbeat. */
START_TEST(no_call_is_slept_through)
{
    enum { CALLS = 20000 };
    struct sse sse;
    listen_to(&sse, "/v1/events");
    for (int i = 0; i < CALLS; i++) {
        tell_own("aaaaaaaa", TASK_PAUSED);
        sse_find(&sse, BEFORE_A_BEAT, "task", NULL);
        buf_clear(&sse.raw);
        buf_clear(&sse.text);
        sse.decoded = sse.taken = 0;
    }
    sse_end(&sse);
}
END_TEST

START_TEST(who_comes_too_late_is_told_so)
{
    static const char *const ids[] = {"00000000-1", "", "x", "99999999999"};
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        struct sse sse;
        struct sse_event event;
        char extra[100];
        snprintf(extra, sizeof extra, "Last-Event-ID: %s\r\n", ids[i]);
        listen_by(&sse, UNIX, "/v1/events", extra);
        ck_assert(sse_next(&sse, SOON, &event));
        ck_assert_str_eq(event.name, "reset");
        snprintf(extra, sizeof extra, "Last-Event-ID: %s\r\n", event.id);
        sse_end(&sse);
        listen_by(&sse, UNIX, "/v1/events", extra);
        ck_assert(sse_next(&sse, SOON, &event)); /* the reset was a place like any other */
        ck_assert_str_eq(event.name, "stats");
        sse_end(&sse);
    }
}
END_TEST

/* A reader that does not read costs no memory: it is told that it has missed something. */
START_TEST(who_is_too_slow_is_told_so)
{
    struct sse slow, quick;
    struct sse_event event;
    listen_to(&slow, "/v1/events");
    listen_to(&quick, "/v1/events?task=ffff");
    for (int i = 0; i < 40000; i++)
        tell_own("aaaaaaaa", TASK_ENQUEUED);
    tell_own("ffffffff", TASK_FINISHED);
    expect_task(&quick, "ffffffff", TASK_FINISHED); /* others' haste is nothing to it */
    ck_assert_ptr_null(strstr(quick.raw.data, "event: reset"));
    unsigned tasks = 0, resets = 0;
    while (sse_next(&slow, resets ? 500 : SOON, &event)) {
        resets += strcmp(event.name, "reset") == 0;
        tasks += strcmp(event.name, "task") == 0;
    }
    ck_assert(!slow.closed);
    printf("# a slow one got %u events and %u resets\n", tasks, resets);
    ck_assert_uint_ge(resets, 1);
    ck_assert_uint_lt(tasks, 40000);
    tell_own("bbbbbbbb", TASK_FINISHED);
    expect_task(&slow, "bbbbbbbb", TASK_FINISHED);
    sse_end(&slow);
    sse_end(&quick);
}
END_TEST

/* --- going --- */

START_TEST(nobody_is_watched_for_nobody)
{
    struct sse sse;
    ck_assert(!is_watched());
    listen_to(&sse, "/v1/events");
    ck_assert(is_watched());
    sse_end(&sse);
    wait_for_listeners(0);
}
END_TEST

START_TEST(who_hangs_up_is_gone_at_once)
{
    static const enum way ways[] = {UNIX, TCP};
    for (size_t w = 0; w < 2; w++) {
        struct sse sse[20];
        for (int i = 0; i < 20; i++)
            listen_by(&sse[i], ways[w], "/v1/events", NULL);
        wait_for_listeners(20);
        int64_t begin = units_now_boottime();
        for (int i = 0; i < 20; i++)
            sse_end(&sse[i]);
        wait_for_listeners(0);
        int64_t took = units_now_boottime() - begin;
        ck_assert_msg(took < 3000, "it took %lld ms", (long long)took);
    }
}
END_TEST

/* Who has only said all that it had to say goes on listening. */
START_TEST(half_a_close_is_none)
{
    static const enum way ways[] = {UNIX, TCP};
    for (size_t w = 0; w < 2; w++) {
        struct sse sse;
        struct sse_event event;
        listen_by(&sse, ways[w], "/v1/events", NULL);
        sse_find(&sse, SOON, "stats", NULL);
        ck_assert_int_eq(shutdown(sse.fd, SHUT_WR), 0);
        for (int64_t until = units_now_boottime() + SOON; sse.comments == 0;) {
            ck_assert_int_lt(units_now_boottime(), until); /* it is asked whether it is there */
            (void)sse_next(&sse, 10, &event);
        }
        tell_own("aaaaaaaa", TASK_FAILED);
        expect_task(&sse, "aaaaaaaa", TASK_FAILED);
        sse_end(&sse);
        wait_for_listeners(0);
    }
}
END_TEST

static void expect_ended(struct sse *sse, int within)
{
    struct sse_event event;
    int64_t until = units_now_boottime() + within;
    while (!sse->closed && units_now_boottime() < until)
        (void)sse_next(sse, 100, &event);
    ck_assert(sse->closed);
    ck_assert_msg(sse->ended, "it broke off");
}

START_TEST(a_stop_ends_streams_at_once)
{
    struct sse sse[30];
    for (int i = 0; i < 30; i++)
        listen_by(&sse[i], i % 2 ? UNIX : TCP, "/v1/events", NULL);
    wait_for_listeners(30);
    int64_t begin = units_now_boottime();
    http_quiesce(http);
    for (int i = 0; i < 30; i++)
        expect_ended(&sse[i], SOON);
    ck_assert_int_eq(http_settle(http, 1000), 0);
    int64_t took = units_now_boottime() - begin;
    ck_assert_msg(took < 1500, "it took %lld ms", (long long)took);
    ck_assert_uint_eq(events_listeners(events), 0);
    for (int i = 0; i < 30; i++)
        sse_end(&sse[i]);
}
END_TEST

/* One that does not read is not waited for. */
START_TEST(a_stop_waits_for_no_slow_one)
{
    struct sse sse;
    listen_to(&sse, "/v1/events");
    for (int i = 0; i < 10000; i++)
        tell_own("aaaaaaaa", TASK_ENQUEUED);
    int64_t begin = units_now_boottime();
    http_quiesce(http);
    ck_assert_int_eq(http_settle(http, 1000), 0);
    int64_t took = units_now_boottime() - begin;
    ck_assert_msg(took < 5000, "it took %lld ms", (long long)took);
    sse_end(&sse);
}
END_TEST

/* --- many --- */

enum { MANY = 1000, EVENTS = 21, EVENTS_MAX = 41 };

static struct sse many[MANY];

static long now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static long resident_kib(void)
{
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fscanf(file, "%*d %ld", &pages), 1);
    fclose(file);
    return pages * sysconf(_SC_PAGESIZE) / 1024;
}

static long cpu_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static int compare_times(const void *left, const void *right)
{
    long a = *(const long *)left, b = *(const long *)right;
    return a < b ? -1 : a > b;
}

/* The time until the last of a thousand has it, the test's own reading included. On a machine that
 * has other things to do it is tried more often. */
START_TEST(a_thousand_hear_it_soon)
{
    for (int i = 0; i < MANY; i++)
        listen_by(&many[i], i % 2 ? UNIX : TCP, "/v1/events", NULL);
    for (int i = 0; i < MANY; i++)
        sse_find(&many[i], SOON, "stats", NULL);
    long times[EVENTS_MAX], best = 1L << 40, cpu = cpu_us(), events_told = 0;
    for (int n = 0; n < EVENTS || (best >= 100000 && n < EVENTS_MAX); n++) {
        long begin = now_us();
        tell_own("aaaaaaaa", TASK_FINISHED);
        for (int i = 0; i < MANY; i++)
            expect_task(&many[i], "aaaaaaaa", TASK_FINISHED);
        long took = now_us() - begin;
        best = took < best ? took : best;
        times[events_told++] = took;
    }
    cpu = cpu_us() - cpu;
    qsort(times, (size_t)events_told, sizeof *times, compare_times);
    printf("# an event to %d listeners, %ld times: %ld ms at best, %ld in the middle, %ld at worst; "
           "%ld of CPU for each\n",
           MANY, events_told, best / 1000, times[events_told / 2] / 1000,
           times[events_told - 1] / 1000, cpu / 1000 / events_told);
    ck_assert_int_lt(best, 100000);
    for (int i = 0; i < MANY; i++)
        sse_end(&many[i]);
    wait_for_listeners(0);
}
END_TEST

/* In this process, so that the other ends' memory (some KiB each) is counted too. */
START_TEST(idle_listeners_cost_little)
{
    enum { FIRST = 100 };
    for (int i = 0; i < FIRST; i++) {
        listen_by(&many[i], UNIX, "/v1/events", NULL);
        sse_find(&many[i], SOON, "stats", NULL);
    }
    long before = resident_kib();
    for (int i = FIRST; i < MANY; i++) {
        listen_by(&many[i], UNIX, "/v1/events", NULL);
        sse_find(&many[i], SOON, "stats", NULL);
        buf_release(&many[i].raw);
        buf_release(&many[i].text);
    }
    double each = (double)(resident_kib() - before) / (MANY - FIRST);
    printf("# %.1f KiB for each idle listener\n", each);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    ck_assert_double_lt(each, 20);
#endif
    for (int i = 0; i < MANY; i++)
        close(many[i].fd);
    wait_for_listeners(0);
}
END_TEST

/* --- all at once --- */

static _Atomic bool over;

static void *keep_telling(void *data)
{
    (void)data;
    for (unsigned n = 0; !over; n++) {
        tell_own("aaaaaaaa", TASK_DOWNLOADING);
        if (n % 50 == 0)
            tell_many((uid_t)-1);
        usleep(100);
    }
    return NULL;
}

static void *come_and_go(void *data)
{
    unsigned seed = *(unsigned *)data;
    while (!over) {
        struct sse sse;
        struct sse_event event;
        listen_by(&sse, rand_r(&seed) % 2 ? UNIX : TCP, "/v1/events", NULL);
        for (int n = rand_r(&seed) % 20; n > 0; n--)
            (void)sse_next(&sse, 20, &event);
        sse_end(&sse);
    }
    return NULL;
}

START_TEST(many_come_and_go_while_much_happens)
{
    enum { TELLERS = 2, LISTENERS = 6 };
    pthread_t threads[TELLERS + LISTENERS];
    unsigned seeds[LISTENERS];
    over = false;
    for (unsigned i = 0; i < TELLERS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, keep_telling, NULL), 0);
    for (unsigned i = 0; i < LISTENERS; i++) {
        seeds[i] = i;
        ck_assert_int_eq(pthread_create(&threads[TELLERS + i], NULL, come_and_go, &seeds[i]), 0);
    }
    usleep(1500000);
    over = true;
    for (unsigned i = 0; i < TELLERS + LISTENERS; i++)
        pthread_join(threads[i], NULL);
    wait_for_listeners(0);
}
END_TEST

/* --- health and metrics --- */

START_TEST(health_is_for_anybody)
{
    _cleanup_free_ char *answer = ask(TCP, "GET /healthz", NULL, "", NULL);
    check_answer(answer, 200, "{\"status\": \"ok\"}", "health");
    _cleanup_free_ char *head = ask(TCP, "HEAD /healthz", NULL, "", NULL);
    check_answer(head, 200, "", "health's head");
    _cleanup_free_ char *wrong = ask(TCP, "POST /healthz", NULL, "", NULL);
    check_answer(wrong, 405, NULL, "health is not posted");
    ck_assert_ptr_nonnull(strstr(wrong, "\r\nAllow: GET, HEAD\r\n"));
    _cleanup_free_ char *body = ask(TCP, "GET /healthz", NULL, "", "aa=bbbbbbbbb");
    check_answer(body, 413, NULL, "health with a body");
    ck_assert_uint_eq(calls(), 0);
}
END_TEST

/* The text format (exposition_formats.md of Prometheus), as promtool would check it. */
static void check_metrics(char *text)
{
    char family[100] = "", type[20] = "";
    unsigned samples = 0;
    for (char *line; (line = strsep(&text, "\n")) && (*line || text);) {
        char name[100], rest[200];
        double value;
        if (strncmp(line, "# HELP ", 7) == 0) {
            ck_assert_int_eq(sscanf(line, "# HELP %99s %199[^\n]", family, rest), 2);
            ck_assert_msg(rest[strlen(rest) - 1] == '.', "%s", line);
            continue;
        }
        if (strncmp(line, "# TYPE ", 7) == 0) {
            ck_assert_int_eq(sscanf(line, "# TYPE %99s %19s", name, type), 2);
            ck_assert_str_eq(name, family); /* help first, once for each family */
            ck_assert_msg((strcmp(type, "counter") == 0) == (strstr(name, "_total") != NULL), "%s",
                          line);
            continue;
        }
        size_t len = strcspn(line, "{ ");
        ck_assert_msg(strncmp(line, family, strlen(family)) == 0, "%s is not of %s", line, family);
        ck_assert_msg(len == strlen(family) || strcmp(type, "summary") == 0, "%s", line);
        const char *number = strrchr(line, ' ');
        ck_assert_msg(number && sscanf(number, " %lf", &value) == 1 && value >= 0, "%s", line);
        samples++;
    }
    ck_assert_uint_gt(samples, 10);
}

START_TEST(metrics_are_what_prometheus_reads)
{
    static const char *const lines[] = {
        "autodl_build_info{version=\"" PACKAGE_VERSION "\"} 1\n",
        "autodl_tasks{state=\"ENQUEUED\"} 1\n",
        "autodl_tasks{state=\"CANCELLED\"} 7\n",
        "autodl_bytes_received_total 12345\n",
        "autodl_responses_total{code=\"200\"} 7\n",
        "autodl_responses_total{code=\"599\"} 1\n",
        "autodl_responses_total{code=\"other\"} 2\n",
        "autodl_store_commit_seconds_sum 0.500000\n",
        "autodl_store_commit_seconds_count 8\n",
        "autodl_running{host=\"busy\"} 5\n",
        "autodl_running{host=\"a\\\\\\\"b:8080\"} 1\n",
        "autodl_event_streams 0\n",
        "process_start_time_seconds 1.000\n",
    };
    static char urls[100][40];
    pthread_mutex_lock(&manager.lock);
    for (int i = 0; i < 40; i++) {
        snprintf(urls[i], sizeof urls[i],
                 i < 5    ? "http://BUSY:80/%d"
                 : i == 5 ? "http://a\\\"b:8080/%d"
                          : "https://z%d/",
                 i);
        manager.running[i] = (struct manager_running){.id = "aaaaaaaa", .url = urls[i]};
    }
    manager.running_count = 40;
    pthread_mutex_unlock(&manager.lock);
    _cleanup_free_ char *answer = ask(UNIX, "GET /metrics", NULL, "", NULL);
    check_answer(answer, 200, NULL, "metrics");
    ck_assert_ptr_nonnull(
        strstr(answer, "\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
    char *body = strstr(answer, "\r\n\r\n") + 4;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        ck_assert_msg(strstr(body, lines[i]) != NULL, "%s is not in\n%s", lines[i], body);
    unsigned hosts = 0;
    for (const char *at = body; (at = strstr(at, "autodl_running{")); at++)
        hosts++;
    ck_assert_uint_eq(hosts, 20);
    check_metrics(body);
    _cleanup_free_ char *head = ask(UNIX, "HEAD /metrics", NULL, "", NULL);
    check_answer(head, 200, "", "metrics' head");
}
END_TEST

/* --- --- */

static Suite *suite(void)
{
    const TTest *const own[] = {
        events_come_in_their_order,
        the_first_words,
        counts_come_when_they_change_and_not_too_often,
        large_events_come_whole,
        progress_of_what_runs,
        only_ones_own,
        only_some_tasks,
        what_is_asked_wrong_is_refused,
        who_comes_again_misses_nothing,
        progress_is_not_told_again,
        no_call_is_slept_through,
        who_comes_too_late_is_told_so,
        who_is_too_slow_is_told_so,
        nobody_is_watched_for_nobody,
        who_hangs_up_is_gone_at_once,
        half_a_close_is_none,
        a_stop_ends_streams_at_once,
        a_stop_waits_for_no_slow_one,
        a_thousand_hear_it_soon,
        idle_listeners_cost_little,
        many_come_and_go_while_much_happens,
        health_is_for_anybody,
        metrics_are_what_prometheus_reads,
        NULL,
    };
    Suite *all = suite_create("events");
    add_tests(all, "own", start_own, own);
    return all;
}

int main(void)
{
    return tap_main(suite());
}
