#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

#include "common/units.h"
#include "lanes.h"
#include "tap.h"

#define ALICE 1000
#define BOB   1001

struct job {
    struct lane_job job;
    int number;
    uid_t uid;
    int deferrals; /* times it wants to come again */
};

static struct lanes *lanes;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
/* protected by lock */
static bool gate_closed[2]; /* ALICE's and BOB's */
static int done[64];
static int done_count;
static int runs;

static void work(void *data, uid_t uid, struct files_channel **channel, struct lane_job *jobs)
{
    (void)data;
    ck_assert_ptr_null(*channel);
    pthread_mutex_lock(&lock);
    while (gate_closed[uid - ALICE])
        pthread_cond_wait(&changed, &lock);
    while (jobs) {
        struct job *job = (struct job *)jobs;
        jobs = jobs->next;
        ck_assert_uint_eq(job->uid, uid);
        runs++;
        if (job->deferrals-- > 0) {
            pthread_mutex_unlock(&lock);
            lanes_defer(lanes, uid, &job->job, 30);
            pthread_mutex_lock(&lock);
            continue;
        }
        done[done_count++] = job->number;
        free(job);
    }
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void set_gate(uid_t uid, bool closed)
{
    pthread_mutex_lock(&lock);
    gate_closed[uid - ALICE] = closed;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void put(uid_t uid, int number, int deferrals, int expected)
{
    struct job *job = calloc(1, sizeof *job);
    *job = (struct job){.number = number, .uid = uid, .deferrals = deferrals};
    ck_assert_int_eq(lanes_put(lanes, uid, &job->job), expected);
    if (expected < 0)
        free(job);
}

static void wait_done(int count)
{
    pthread_mutex_lock(&lock);
    while (done_count < count)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
}

static void set_up(void)
{
    ck_assert_int_eq(lanes_create(NULL, 50, work, NULL, &lanes), 0);
}

static void tear_down(void)
{
    lanes_close(lanes);
    ck_assert_int_eq(lanes_wait(lanes, -1), 0);
    lanes_destroy(lanes);
}

START_TEST(jobs_are_done_in_order)
{
    set_gate(ALICE, true);
    for (int i = 0; i < 20; i++)
        put(ALICE, i, 0, 0);
    set_gate(ALICE, false);
    wait_done(20);
    for (int i = 0; i < 20; i++)
        ck_assert_int_eq(done[i], i);
}
END_TEST

START_TEST(one_that_hangs_delays_nobody_else)
{
    set_gate(ALICE, true);
    put(ALICE, 1, 0, 0);
    put(BOB, 2, 0, 0);
    wait_done(1);
    ck_assert_int_eq(done[0], 2);
    ck_assert_int_eq(lanes_wait(lanes, 20), -ETIMEDOUT);
    set_gate(ALICE, false);
    wait_done(2);
}
END_TEST

START_TEST(deferred_ones_come_again)
{
    int64_t begin = units_now_boottime();
    put(ALICE, 1, 3, 0);
    put(ALICE, 2, 0, 0);
    wait_done(2);
    ck_assert_int_eq(done[0], 2);
    ck_assert_int_eq(done[1], 1);
    ck_assert_int_ge(units_now_boottime() - begin, 90);
    ck_assert_int_eq(runs, 5);
}
END_TEST

START_TEST(a_lane_ends_and_comes_back)
{
    put(ALICE, 1, 0, 0);
    wait_done(1);
    ck_assert_int_eq(lanes_wait(lanes, 5000), 0); /* it idled long enough */
    put(ALICE, 2, 0, 0);
    wait_done(2);
}
END_TEST

START_TEST(a_pinned_lane_stays)
{
    ck_assert_int_eq(lanes_pin(lanes, ALICE), 0);
    ck_assert_int_eq(lanes_pin(lanes, ALICE), 0);
    lanes_unpin(lanes, ALICE);
    ck_assert_int_eq(lanes_wait(lanes, 300), -ETIMEDOUT);
    put(ALICE, 1, 0, 0);
    wait_done(1);
    lanes_unpin(lanes, ALICE);
    ck_assert_int_eq(lanes_wait(lanes, 5000), 0);
}
END_TEST

START_TEST(closing_ends_pinned_lanes_too)
{
    ck_assert_int_eq(lanes_pin(lanes, ALICE), 0);
    lanes_close(lanes);
    ck_assert_int_eq(lanes_wait(lanes, -1), 0);
    lanes_unpin(lanes, ALICE);
    ck_assert_int_eq(lanes_pin(lanes, ALICE), -ESHUTDOWN);
}
END_TEST

/* What is there is done, deferred or not; nothing more is taken. */
START_TEST(closing_finishes_what_is_there)
{
    set_gate(ALICE, true);
    put(ALICE, 1, 1, 0);
    put(ALICE, 2, 0, 0);
    lanes_close(lanes);
    put(ALICE, 3, 0, -ESHUTDOWN);
    put(BOB, 4, 0, -ESHUTDOWN);
    set_gate(ALICE, false);
    ck_assert_int_eq(lanes_wait(lanes, -1), 0);
    ck_assert_int_eq(done_count, 2);
}
END_TEST

static Suite *suite(void)
{
    Suite *all = suite_create("lanes");
    TCase *tcase = tcase_create("lanes");
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, jobs_are_done_in_order);
    tcase_add_test(tcase, one_that_hangs_delays_nobody_else);
    tcase_add_test(tcase, deferred_ones_come_again);
    tcase_add_test(tcase, a_lane_ends_and_comes_back);
    tcase_add_test(tcase, a_pinned_lane_stays);
    tcase_add_test(tcase, closing_ends_pinned_lanes_too);
    tcase_add_test(tcase, closing_finishes_what_is_there);
    suite_add_tcase(all, tcase);
    return all;
}

int main(void)
{
    return tap_main(suite());
}
