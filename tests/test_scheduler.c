/*
 * Who is next: priorities, the most that run at one host, hosts that asked for patience, and what
 * of that a restart must not forget. Between users: tests/test_users.c.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "database.h"
#include "harness.h"
#include "hostile.h"
#include "origin.h"
#include "v1.h"

#define SOON      30000 /* ms */
#define AT_A_HOST 2
#define MANY      30

static struct service service;
static struct origin *origin, *other;
static struct hostile *hostile;

static void set_up(void)
{
    ck_assert_int_eq(origin_start(&origin), 0);
    ck_assert_int_eq(origin_start(&other), 0);
    ck_assert_int_eq(hostile_start(0, &hostile), 0);
    service_init(&service);
}

static void tear_down(void)
{
    service_release(&service);
    hostile_stop(hostile);
    origin_stop(other);
    origin_stop(origin);
}

static const char *hostile_url(const char *path)
{
    return textf("http://127.0.0.1:%u%s", hostile_port(hostile), path);
}

static struct hostile_count count_of(const char *path)
{
    struct hostile_count count;
    hostile_read(hostile, path, &count);
    return count;
}

static void reload(const char *settings)
{
    file_write(service.config, settings);
    ck_assert_int_eq(kill(service.monitor, SIGHUP), 0);
    service_wait_log(&service, "reloaded", SOON);
}

static void expect(const char *id, const char *path, const char *value)
{
    const char *is = v1_get(&service, id, path);
    ck_assert_msg(is ? value && strcmp(is, value) == 0 : !value, "%s is %s, not %s", path,
                  is ? is : "null", value ? value : "null");
}

/* --- the most at one host --- */

START_TEST(others_pass_by_a_busy_host)
{
    const char *at_gate[6];
    service_start(&service, "--max-tasks-num", "5", "--max-per-host", "2", NULL);
    for (unsigned i = 0; i < 6; i++)
        at_gate[i] = v1_add(&service, origin_url(origin, "/gate/g?size=1000"), NULL, NULL);
    wait_count(&service, "DOWNLOADING", 2, SOON);
    v1_wait_reason(&service, at_gate[5], "host", SOON);
    expect(at_gate[5], "waiting_for.until", NULL); /* nobody knows */
    const char *elsewhere = v1_add(&service, origin_url(other, "/bytes/1000/b"), NULL, NULL);
    v1_wait(&service, elsewhere, "FINISHED", SOON);
    ck_assert_int_eq(read_count(&service, "DOWNLOADING"), 2);

    file_write(service.config, "max-per-host = 4\n"); /* the option wins */
    ck_assert_int_eq(kill(service.monitor, SIGHUP), 0);
    service_wait_log(&service, "reloaded", SOON);
    v1_wait_reason(&service, at_gate[5], "host", SOON);
    ck_assert_int_eq(read_count(&service, "DOWNLOADING"), 2);
    origin_open_gate(origin, "g");
    wait_count(&service, "FINISHED", 7, SOON);
    ck_assert_uint_eq(origin_max_concurrent(origin), 2);
}
END_TEST

START_TEST(the_most_at_a_host_can_change)
{
    file_write(service.config, "max-per-host = 1\n");
    service_start(&service, "--max-tasks-num", "4", NULL);
    const char *last = NULL;
    for (unsigned i = 0; i < 6; i++)
        last = v1_add(&service, origin_url(origin, "/gate/g?size=1000"), NULL, NULL);
    wait_count(&service, "DOWNLOADING", 1, SOON);
    v1_wait_reason(&service, last, "host", SOON);
    reload("max-per-host = 3\n");
    wait_count(&service, "DOWNLOADING", 3, SOON);
    v1_wait_reason(&service, last, "host", SOON);
    reload("max-per-host = 10\n");
    wait_count(&service, "DOWNLOADING", 4, SOON);
    v1_wait_reason(&service, last, "slot", SOON);
    reload("max-per-host = 2\n"); /* those that run go on */
    v1_wait_reason(&service, last, "host", SOON);
    ck_assert_int_eq(read_count(&service, "DOWNLOADING"), 4);
    origin_open_gate(origin, "g");
    wait_count(&service, "FINISHED", 6, SOON);
    ck_assert_uint_eq(origin_max_concurrent(origin), 4);
}
END_TEST

static void add_many(unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        const char *path = textf("/bytes/%u/f", 1000 + 70000 * (i % 3));
        v1_add(&service, origin_url(i % 2 ? origin : other, path), NULL, NULL);
    }
}

/* While tasks come and end, are held and go on; and after a kill. */
START_TEST(the_most_at_a_host_is_kept_under_load)
{
    service_start(&service, "--max-tasks-num", "8", "--max-per-host", "2", NULL);
    for (unsigned i = 0; i < 6; i++)
        v1_add(&service, origin_url(i % 2 ? origin : other, "/gate/g?size=1000"), NULL, NULL);
    add_many(MANY);
    wait_count(&service, "DOWNLOADING", 2 * AT_A_HOST, SOON);
    origin_open_gate(origin, "g");
    origin_open_gate(other, "g");
    call(&service, NULL, "POST", "/pause");
    add_many(MANY);
    const char *held = v1_add(&service, origin_url(origin, "/bytes/1000/h"), NULL, NULL);
    wait_count(&service, "DOWNLOADING", 0, SOON); /* the origin has to know of the end of each */
    v1_verb(&service, held, "hold", 200);
    service_kill_all(&service);
    service_start(&service, "--max-tasks-num", "8", "--max-per-host", "2", NULL);
    call(&service, NULL, "POST", "/resume");
    add_many(MANY);
    v1_verb(&service, held, "release", 200);
    v1_wait(&service, held, "FINISHED", SOON);
    wait_count(&service, "ENQUEUED", 0, SOON);
    wait_count(&service, "DOWNLOADING", 0, SOON);
    ck_assert_int_eq(read_count(&service, "FAILED"), 0);
    ck_assert_uint_eq(origin_max_concurrent(origin), AT_A_HOST);
    ck_assert_uint_eq(origin_max_concurrent(other), AT_A_HOST);
}
END_TEST

/* Their hosts have no numbers yet: they get them at the first start, beyond the first thousand too
 * (which are looked at anyway). */
START_TEST(tasks_of_an_older_version)
{
    service_start(&service, "--max-tasks-num", "4", "--max-per-host", "1", NULL);
    call(&service, NULL, "POST", "/pause");
    for (unsigned i = 0; i < 1010; i++)
        v1_add(&service, origin_url(origin, "/gate/g?size=10"), NULL, NULL);
    service_stop(&service);
    ask_database(&service, "UPDATE tasks SET host = 0");
    service_start(&service, "--max-tasks-num", "4", "--max-per-host", "1", NULL);
    const char *last = v1_add(&service, origin_url(origin, "/gate/g?size=10"), NULL, NULL);
    call(&service, NULL, "POST", "/resume");
    v1_wait_reason(&service, last, "host", SOON);
    ck_assert_int_eq(read_count(&service, "DOWNLOADING"), 1);
    service_stop(&service);
    ck_assert_int_eq(ask_database(&service, "SELECT count(*) FROM tasks"), 1011);
    ck_assert_int_le(ask_database(&service, "SELECT count(*) FROM tasks WHERE has_part"), 1000);
    ck_assert_int_eq(ask_database(&service, "SELECT count(DISTINCT host) FROM tasks"), 1);
    ck_assert_int_ne(ask_database(&service, "SELECT min(host) FROM tasks"), 0);
}
END_TEST

static bool has_been_asked(void *data)
{
    return origin_requests(data) > 0;
}

/* It passed by what the next start takes for the first ones: that it may have a part file is known
 * before it has one. */
START_TEST(a_start_out_of_turn_is_known_after_a_kill)
{
    service_start(&service, "--max-per-host", "1", NULL);
    v1_add(&service, origin_url(origin, "/gate/a?size=10"), NULL, NULL);
    v1_add(&service, origin_url(origin, "/gate/a?size=10"), NULL, NULL);
    wait_count(&service, "DOWNLOADING", 1, SOON);
    v1_add(&service, origin_url(other, "/gate/b?size=10"), NULL, NULL);
    wait_until(has_been_asked, other, SOON, "the request of the last one");
    service_kill_all(&service);
    ck_assert_int_eq(ask_database(&service, "SELECT has_part FROM tasks WHERE name = 'b'"), 1);
}
END_TEST

/* --- priority --- */

static const struct {
    const char *name;
    int priority;
    unsigned place; /* among those that start */
} contenders[] = {
    {"low",    -100, 6},
    {"first",  0,    3},
    {"high",   7,    1},
    {"second", 0,    4},
    {"higher", 100,  0},
    {"third",  0,    5},
    {"high2",  7,    2},
};
#define CONTENDERS (sizeof contenders / sizeof *contenders)

START_TEST(the_highest_priority_goes_first)
{
    int64_t at[CONTENDERS] = {0};
    bool restart = _i;
    service_start(&service, "--max-tasks-num", "1", NULL);
    call(&service, NULL, "POST", "/pause");
    for (size_t i = 0; i < CONTENDERS; i++) {
        const char *more = textf("\"priority\": %d", contenders[i].priority);
        const char *url = hostile_url(textf("/%s?size=2000&rate=40000", contenders[i].name));
        const char *id = v1_add(&service, url, NULL, more);
        expect(id, "priority", textf("%d", contenders[i].priority));
    }
    if (restart) {
        service_kill_all(&service);
        service_start(&service, "--max-tasks-num", "1", NULL);
    }
    call(&service, NULL, "POST", "/resume");
    wait_count(&service, "FINISHED", CONTENDERS, SOON);
    for (size_t i = 0; i < CONTENDERS; i++) {
        struct hostile_count count = count_of(textf("/%s", contenders[i].name));
        ck_assert_uint_eq(count.requests, 1);
        at[contenders[i].place] = count.first_at;
    }
    for (size_t i = 1; i < CONTENDERS; i++)
        ck_assert_msg(at[i] > at[i - 1], "number %zu came before number %zu", i, i - 1);
}
END_TEST

/* --- patience --- */

static time_t seconds_of(const char *moment)
{
    struct tm tm = {0};
    ck_assert_msg(moment && strptime(moment, "%Y-%m-%dT%H:%M:%S", &tm), "no time: %s",
                  moment ? moment : "null");
    return timegm(&tm);
}

/* A task of the host that was not told itself waits too, and the next start knows that. */
START_TEST(a_restart_keeps_the_patience)
{
    service_start(&service, NULL);
    const char *asked = v1_add(
        &service, hostile_url("/asked?status=503&times=1&retry-after=5&size=1000"), NULL, NULL);
    v1_wait_reason(&service, asked, "host", SOON);
    time_t until = seconds_of(v1_get(&service, asked, "waiting_for.until"));
    const char *same = v1_add(&service, hostile_url("/same?size=1000"), NULL, NULL);
    expect(same, "waiting_for.reason", "host");
    service_kill_all(&service);

    service_start(&service, NULL);
    expect(asked, "waiting_for.reason", "host");
    expect(same, "waiting_for.reason", "host");
    time_t still = seconds_of(v1_get(&service, same, "waiting_for.until"));
    ck_assert_int_le(labs(still - until), 1); /* two clocks are read, one after the other */
    v1_wait(&service, asked, "FINISHED", SOON);
    v1_wait(&service, same, "FINISHED", SOON);
    int64_t began = count_of("/asked").first_at;
    ck_assert_int_ge(count_of("/asked").last_at - began, 4900);
    ck_assert_int_ge(count_of("/same").first_at - began, 4900);
}
END_TEST

/* --- start times --- */

START_TEST(a_start_time_is_waited_for)
{
    char moment[32];
    time_t start = time(NULL) + 4;
    service_start(&service, NULL);
    strftime(moment, sizeof moment, "%Y-%m-%dT%H:%M:%SZ", gmtime(&start));
    const char *at = textf("\"not_before\": \"%s\"", moment);
    const char *timed = v1_add(&service, hostile_url("/timed?size=1000"), NULL, at);
    const char *held = v1_add(&service, hostile_url("/held?size=1000"), NULL, at);
    v1_verb(&service, held, "hold", 200);
    v1_verb(&service, held, "release", 200);
    service_kill_all(&service);
    service_start(&service, NULL);
    const char *now = v1_add(&service, hostile_url("/now?size=1000"), NULL,
                             "\"not_before\": \"2020-02-29T00:00:00Z\"");
    v1_wait(&service, now, "FINISHED", SOON);
    if (time(NULL) < start - 1) {
        expect(timed, "waiting_for.reason", "start_time");
        expect(held, "waiting_for.reason", "start_time");
        ck_assert_int_le(labs(seconds_of(v1_get(&service, timed, "waiting_for.until")) - start), 1);
    }
    v1_wait(&service, timed, "FINISHED", SOON);
    v1_wait(&service, held, "FINISHED", SOON);
    ck_assert_int_ge(seconds_of(v1_get(&service, timed, "started_at")), start);
    ck_assert_int_ge(seconds_of(v1_get(&service, held, "started_at")), start);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("scheduler");
    TCase *tcase = tcase_create("scheduler");
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, others_pass_by_a_busy_host);
    tcase_add_test(tcase, the_most_at_a_host_can_change);
    tcase_add_test(tcase, the_most_at_a_host_is_kept_under_load);
    tcase_add_test(tcase, tasks_of_an_older_version);
    tcase_add_test(tcase, a_start_out_of_turn_is_known_after_a_kill);
    tcase_add_loop_test(tcase, the_highest_priority_goes_first, 0, 2);
    tcase_add_test(tcase, a_restart_keeps_the_patience);
    tcase_add_test(tcase, a_start_time_is_waited_for);
    suite_add_tcase(suite, tcase);
    return harness_main(suite);
}
