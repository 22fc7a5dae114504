/* Limits on bytes per second: of all, of one task, changed while it runs. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "origin.h"
#include "v1.h"

#define SOON         30000 /* ms */
#define RATE         200000
#define MANY         10
#define NOTHING_ELSE "--stall-timeout", "1s"

static struct service service;
static struct origin *origin;

static void set_up(void)
{
    ck_assert_int_eq(origin_start(&origin), 0);
    service_init(&service);
}

static void tear_down(void)
{
    service_release(&service);
    origin_stop(origin);
}

static void reload(const char *settings)
{
    file_write(service.config, settings);
    ck_assert_int_eq(kill(service.monitor, SIGHUP), 0);
    service_wait_log(&service, "reloaded", SOON);
}

static const char *add(unsigned size)
{
    return v1_add(&service, origin_url(origin, textf("/bytes/%u/f", size)), NULL, NULL);
}

static int64_t time_of(int count, unsigned size)
{
    int64_t begin = harness_now();
    for (int i = 0; i < count; i++)
        add(size);
    wait_count(&service, "ENQUEUED", 0, SOON);
    wait_count(&service, "DOWNLOADING", 0, SOON);
    wait_count(&service, "FINISHING", 0, SOON);
    return harness_now() - begin;
}

/* 5 s worth of bytes, over one connection and over ten. */
START_TEST(all_together_keep_the_rate)
{
    int count = _i ? MANY : 1;
    service_start(&service, "--max-tasks-num", "10", "--rate-limit", textf("%d", RATE),
                  NOTHING_ELSE, NULL);
    int64_t base = time_of(count, 1);
    int64_t took = time_of(count, (unsigned)(5 * RATE / count));
    printf("# %d at once: %lld ms, and %lld without bytes\n", count, (long long)took,
           (long long)base);
    fflush(stdout);
    ck_assert_int_eq(read_count(&service, "FINISHED"), 2 * count);
    ck_assert_int_ge(took, 4750);
    ck_assert_int_le(took - base, 5250);
}
END_TEST

START_TEST(it_changes_while_they_run)
{
    file_write(service.config, "rate-limit = 1K\n");
    service_start(&service, NOTHING_ELSE, NULL);
    const char *cancelled = add(3000000), *held = add(3000000), *left = add(3000000);
    const char *finished = add(3000000);
    wait_count(&service, "DOWNLOADING", 4, SOON);
    int64_t began = harness_now();
    v1_verb(&service, cancelled, "cancel", 200);
    v1_verb(&service, held, "hold", 200);
    ck_assert_int_le(harness_now() - began, 1200);
    reload("rate-limit = 100M\n");
    began = harness_now();
    v1_wait(&service, finished, "FINISHED", SOON);
    v1_wait(&service, left, "FINISHED", SOON);
    ck_assert_int_le(harness_now() - began, 2000);
    reload("rate-limit = 1K\n");
    v1_verb(&service, held, "release", 200);
    v1_wait(&service, held, "DOWNLOADING", SOON);
    ck_assert_int_le(service_stop(&service), 1200 + 500);
    file_write(service.config, "");
    service_start(&service, NULL);
    v1_wait(&service, held, "FINISHED", SOON);
}
END_TEST

/* Its own one, beside others that have none; people change it while it runs, and that is kept. */
START_TEST(a_task_has_its_own)
{
    const char *url = origin_url(origin, "/bytes/3000000/slow"), *body;
    service_start(&service, NOTHING_ELSE, NULL);
    int64_t began = harness_now();
    const char *slow = v1_add(&service, url, NULL, "\"rate_limit\": 100000");
    v1_wait(&service, add(5000000), "FINISHED", SOON);
    ck_assert_int_lt(harness_now() - began, 2500);
    while (v1_number(&service, slow, "bytes_done") < 200000)
        ck_assert_int_lt(harness_now() - began, 6000);
    ck_assert_int_ge(harness_now() - began, 1850);
    const char *target = textf("/v1/tasks/%s", slow);
    ck_assert_int_eq(v1_call(&service, "PATCH", target, "{\"rate_limit\": 1000}", &body), 200);
    service_kill_all(&service);
    service_start(&service, NOTHING_ELSE, NULL);
    v1_wait(&service, slow, "DOWNLOADING", SOON);
    int64_t had = v1_number(&service, slow, "bytes_done");
    ck_assert_int_eq(v1_call(&service, "PATCH", target, "{\"rate_limit\": 50000000}", &body), 200);
    began = harness_now();
    v1_wait(&service, slow, "FINISHED", SOON);
    ck_assert_int_lt(harness_now() - began, 2000); /* with 1000 a second it takes an hour */
    ck_assert_int_lt(had, 1000000);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("rates");
    TCase *tcase = tcase_create("rates");
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_set_timeout(tcase, 120);
    tcase_add_loop_test(tcase, all_together_keep_the_rate, 0, 2);
    tcase_add_test(tcase, it_changes_while_they_run);
    tcase_add_test(tcase, a_task_has_its_own);
    suite_add_tcase(suite, tcase);
    return harness_main(suite);
}
