/* Helpers: who is helped, who has to leave, and that they are in nobody's way. */
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/units.h"
#include "core/queue.h"
#include "tap.h"

#define ALICE 1000
#define BOB   1001

static int64_t now;

static int64_t clock_now(void)
{
    return now;
}

/* --- the room itself --- */

static struct helping helping;
static unsigned room = 100;

static unsigned any_room(void *data, uid_t uid, uint64_t host)
{
    (void)data, (void)uid, (void)host;
    return room;
}

static void begin(void)
{
    helping = (struct helping){0};
    room = 100;
    now = 1000000;
}

static void end(void)
{
    helping_release(&helping);
}

static void offer(int64_t row, unsigned wanted, int64_t left)
{
    const struct helping_wish wish = {
        .row = row, .host = 7, .uid = ALICE, .wanted = wanted, .max = 15, .left = left};
    ck_assert_int_eq(helping_offer(&helping, &wish), 0);
}

static bool next(struct helping_place *place)
{
    return helping_next(&helping, now, 9, any_room, NULL, place);
}

static void enter(struct helping_place *place)
{
    ck_assert(next(place));
    helping_enter(&helping, place);
}

START_TEST(who_ends_last_is_helped_first)
{
    struct helping_place place;
    ck_assert(!next(&place));
    offer(1, 3, 5000);
    offer(2, 2, 9000);
    offer(3, 5, 100);
    ck_assert(next(&place));
    ck_assert_int_eq(place.row, 2);
    ck_assert_uint_eq(place.hands, 2);
    helping_withdraw(&helping, 2);
    ck_assert(next(&place));
    ck_assert_int_eq(place.row, 1);
    offer(1, 0, 5000);
    ck_assert(next(&place));
    ck_assert_int_eq(place.row, 3);
    room = 4;
    ck_assert(next(&place));
    ck_assert_uint_eq(place.hands, 4);
    room = 0;
    ck_assert(!next(&place));
}
END_TEST

START_TEST(no_more_come_than_are_wanted)
{
    struct helping_place places[3];
    offer(1, 2, 5000);
    enter(&places[0]);
    ck_assert_uint_eq(places[0].hands, 2);
    enter(&places[1]);
    ck_assert(!next(&places[2]));
    offer(1, 14, 5000); /* 15 at most, two are there */
    ck_assert(next(&places[2]));
    ck_assert_uint_eq(places[2].hands, 9);
    helping_enter(&helping, &places[2]);

    struct helping_wish wish = {.row = 1, .host = 7, .uid = ALICE, .wanted = 5, .max = 1};
    ck_assert_int_eq(helping_offer(&helping, &wish), 0);
    ck_assert_uint_eq(helping.leaving, 2); /* the last to come */
    ck_assert(!atomic_load(&places[0].leave));
    ck_assert(atomic_load(&places[2].leave));
    for (int i = 0; i < 3; i++)
        helping_leave(&helping, &places[i], now);
    ck_assert_uint_eq(helping.count, 0);
    ck_assert_uint_eq(helping.leaving, 0);
}
END_TEST

START_TEST(helpers_of_what_has_ended_leave)
{
    struct helping_place place;
    offer(1, 2, 5000);
    enter(&place);
    helping_withdraw(&helping, 1);
    ck_assert(atomic_load(&place.leave));
    offer(1, 2, 5000); /* a new one */
    helping_leave(&helping, &place, now);
    enter(&place);
    helping_leave(&helping, &place, now);
}
END_TEST

/* When a helper is let in again, after one had to leave. */
static int64_t quiet_after_leaving(void)
{
    struct helping_place place;
    offer(1, 5, 5000);
    enter(&place);
    helping_ask(&helping, 1, now);
    ck_assert(atomic_load(&place.leave));
    now += 40;
    helping_leave(&helping, &place, now);
    int64_t until = helping_next_time(&helping, now);
    now = until - 1;
    ck_assert(!next(&place));
    now = until;
    ck_assert(next(&place));
    ck_assert_int_eq(helping_next_time(&helping, now), 0);
    return until;
}

START_TEST(it_is_quiet_for_a_while_after_somebody_left)
{
    static const int64_t quiets[] = {250, 500, 1000, 2000, 4000, 5000, 5000};
    for (size_t i = 0; i < sizeof quiets / sizeof *quiets; i++) {
        int64_t left = now + 40;
        ck_assert_int_eq(quiet_after_leaving() - left, quiets[i]);
    }
    now += 10001; /* none came for long */
    int64_t left = now + 40;
    ck_assert_int_eq(quiet_after_leaving() - left, 250);
}
END_TEST

START_TEST(a_burst_counts_once)
{
    struct helping_place places[5];
    offer(1, 5, 5000);
    for (int i = 0; i < 5; i++)
        enter(&places[i]);
    for (unsigned i = 1; i <= 5; i++, now += 20)
        helping_ask(&helping, i, now);
    for (int i = 0; i < 5; i++, now += 20)
        helping_leave(&helping, &places[i], now);
    ck_assert_int_eq(helping_next_time(&helping, now) - (now - 20), 250);
}
END_TEST

START_TEST(a_shy_host_is_left_alone)
{
    struct helping_place place;
    offer(1, 5, 5000);
    helping_spare_host(&helping, 7, now + 100);
    helping_spare_host(&helping, 7, now + 50);
    helping_spare_host(&helping, 8, now + 500);
    ck_assert(!next(&place));
    now += 99;
    ck_assert(!next(&place));
    now += 1;
    ck_assert(next(&place));
}
END_TEST

/* --- in the queue --- */

static struct queue *queue;
static struct queue_task first;
static struct helping_place places[20];

static void push(int64_t row, uint64_t host, uid_t uid)
{
    const struct queue_task task = {.row = row, .host = host, .uid = uid};
    ck_assert_int_eq(queue_push(queue, &task), 0);
}

/* One runs, the others help with it. */
static void set_up(unsigned slots, unsigned host_max, unsigned helpers)
{
    struct queue_task task;
    now = 1000000;
    ck_assert_int_eq(queue_create(slots, host_max, clock_now, &queue), 0);
    push(1, 7, ALICE);
    ck_assert_int_eq(queue_pop_or_help(queue, 0, &first, &places[0]), 0);
    const struct helping_wish wish = {
        .row = 1, .host = 7, .uid = ALICE, .wanted = 63, .max = 63, .left = 9000};
    ck_assert_int_eq(queue_offer_help(queue, &wish), 0);
    for (unsigned i = 0; i < helpers; i++)
        ck_assert_int_eq(queue_pop_or_help(queue, i, &task, &places[i]), QUEUE_HELP);
    ck_assert_uint_eq(places[0].hands, slots - 1 < host_max - 1 ? slots - 1 : host_max - 1);
    ck_assert_uint_eq(queue_helpers(queue), helpers);
}

static void tear_down(void)
{
    queue_destroy(queue);
}

static unsigned leaving(void)
{
    unsigned count = 0;
    for (unsigned i = 0; i < queue_helpers(queue); i++)
        count += atomic_load(&places[i].leave);
    return count;
}

START_TEST(as_many_leave_as_could_start)
{
    struct queue_task task;
    set_up(10, 16, 9);
    ck_assert_uint_eq(leaving(), 0);
    push(2, 7, ALICE);
    push(3, 8, BOB);
    push(4, 9, BOB);
    ck_assert_uint_eq(leaving(), 3);
    queue_end_help(queue, &places[8]);
    ck_assert_int_eq(queue_pop_or_help(queue, 8, &task, &places[8]), 0); /* its worker takes one */
    ck_assert_uint_eq(queue_helpers(queue), 8);
    ck_assert_uint_eq(leaving(), 2);
    for (int64_t row = 5; row < 40; row++)
        push(row, 9, BOB);
    ck_assert_uint_eq(leaving(), 8);
    tear_down();
}
END_TEST

START_TEST(none_leaves_for_what_cannot_start)
{
    const struct queue_task later = {.row = 2, .host = 7, .uid = BOB};
    set_up(10, 16, 9);
    queue_push_later(queue, &later, now + 1000, QUEUE_RETRY);
    ck_assert_int_eq(queue_pause(queue, BOB, 0), 0);
    push(3, 7, BOB);
    ck_assert_uint_eq(leaving(), 0);
    queue_hold_host(queue, 8, now + 5000);
    push(4, 8, ALICE);
    ck_assert_uint_eq(leaving(), 0);
    now += 1000;
    ck_assert_int_ne(queue_tick(queue), 0);
    ck_assert_uint_eq(leaving(), 0); /* still paused */
    queue_resume(queue, BOB);
    ck_assert_uint_eq(leaving(), 2);
    tear_down();
}
END_TEST

START_TEST(a_host_has_room_for_its_tasks)
{
    struct queue_task task;
    set_up(20, 4, 3);
    push(2, 8, BOB); /* there is a slot for it */
    ck_assert_uint_eq(leaving(), 0);
    ck_assert_int_eq(queue_pop_or_help(queue, 4, &task, &places[4]), 0);
    push(3, 7, BOB);
    ck_assert_uint_eq(leaving(), 1);
    for (int64_t row = 5; row < 10; row++)
        push(row, 7, BOB);
    ck_assert_uint_eq(leaving(), 3);
    tear_down();
}
END_TEST

/* What several users want of one host counts together: all of it, and no more than there is room. */
START_TEST(users_share_a_host)
{
    struct queue_task task;
    set_up(20, 4, 3);
    push(2, 7, ALICE);
    ck_assert_uint_eq(leaving(), 1);
    push(3, 7, BOB);
    ck_assert_uint_eq(leaving(), 2);
    tear_down();

    set_up(32, 16, 15);
    for (int64_t row = 2; row < 14; row++) {
        push(row, 9, BOB);
        ck_assert_int_eq(queue_pop_or_help(queue, 16, &task, &places[16]), 0);
    }
    for (int64_t row = 14; row < 22; row++)
        push(row, 9, row % 2 ? ALICE : BOB);
    ck_assert_uint_eq(leaving(), 0); /* four of these can start, and there are as many slots */
    push(30, 8, BOB);
    ck_assert_uint_eq(leaving(), 1);
    tear_down();
}
END_TEST

/* A user whose next task waits for helpers to leave its host keeps nobody else's from starting. */
START_TEST(others_start_meanwhile)
{
    struct queue_task task;
    set_up(20, 4, 3);
    push(2, 7, BOB); /* who has none running, and so is next */
    push(3, 8, ALICE);
    ck_assert_int_eq(queue_pop_or_help(queue, 4, &task, &places[4]), 0);
    ck_assert_int_eq(task.row, 3);
    ck_assert_uint_eq(leaving(), 1);
    queue_end_help(queue, &places[2]);
    ck_assert_int_eq(queue_pop_or_help(queue, 2, &task, &places[2]), 0);
    ck_assert_int_eq(task.row, 2);
    tear_down();
}
END_TEST

START_TEST(helpers_leave_what_is_lowered)
{
    set_up(10, 16, 9);
    queue_set_slots(queue, 4);
    ck_assert_uint_eq(leaving(), 6);
    queue_set_host_max(queue, 2);
    ck_assert_uint_eq(leaving(), 8);
    queue_close(queue);
    ck_assert_uint_eq(leaving(), 9);
    tear_down();
}
END_TEST

/* --- with threads --- */

static atomic_int popped = 1000;

static void *pop_one(void *data)
{
    struct queue_task task;
    atomic_store(&popped, queue_pop_or_help(queue, 0, &task, data));
    return NULL;
}

/* Everybody's pause, or the user's; or the file system does not answer. */
START_TEST(none_comes_while_the_user_may_not)
{
    pthread_t thread;
    set_up(10, 16, 1);
    if (_i < 2)
        ck_assert_int_eq(queue_pause(queue, _i ? ALICE : QUEUE_EVERYBODY, 0), 0);
    else
        ck_assert_int_eq(queue_hold(queue, ALICE, QUEUE_HOLD_STORAGE, true), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, pop_one, &places[1]), 0);
    nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    ck_assert_int_eq(atomic_load(&popped), 1000);
    if (_i < 2)
        queue_resume(queue, _i ? ALICE : QUEUE_EVERYBODY);
    else
        ck_assert_int_eq(queue_hold(queue, ALICE, QUEUE_HOLD_STORAGE, false), 0);
    pthread_join(thread, NULL);
    ck_assert_int_eq(atomic_load(&popped), QUEUE_HELP);
    tear_down();
}
END_TEST

#define SLOTS   8
#define WORKERS 14
#define HOSTS   3
#define AT_HOST 5
#define TASKS   3000

static struct {
    atomic_uint busy, at_host[HOSTS], done, helped;
    atomic_uint too_many, too_many_at_host;
    atomic_bool stop;
} crowd;

static void nap(long us)
{
    nanosleep(&(struct timespec){.tv_nsec = us * 1000}, NULL);
}

static void come(uint64_t host)
{
    if (atomic_fetch_add(&crowd.busy, 1) >= SLOTS)
        atomic_fetch_add(&crowd.too_many, 1);
    if (atomic_fetch_add(&crowd.at_host[host], 1) >= AT_HOST)
        atomic_fetch_add(&crowd.too_many_at_host, 1);
}

static void go(uint64_t host)
{
    atomic_fetch_sub(&crowd.at_host[host], 1);
    atomic_fetch_sub(&crowd.busy, 1);
}

static void run_task(const struct queue_task *task, unsigned *seed)
{
    for (int i = rand_r(seed) % 4; i > 0; i--) {
        const struct helping_wish wish = {.row = task->row,
                                          .host = task->host,
                                          .uid = task->uid,
                                          .wanted = (unsigned)rand_r(seed) % 8,
                                          .max = 7,
                                          .left = rand_r(seed) % 1000};
        queue_offer_help(queue, &wish);
        nap(200);
    }
    queue_withdraw_help(queue, task->row);
}

static void *work(void *data)
{
    unsigned seed = (unsigned)(uintptr_t)data;
    struct queue_task task;
    struct helping_place place;
    for (;;) {
        int r = queue_pop_or_help(queue, 0, &task, &place);
        if (r < 0)
            return NULL;
        come(r == QUEUE_HELP ? place.host : task.host);
        if (r == QUEUE_HELP) {
            for (int i = rand_r(&seed) % 50; i > 0 && !atomic_load(&place.leave); i--)
                nap(100);
            atomic_fetch_add(&crowd.helped, 1);
            go(place.host);
            queue_end_help(queue, &place);
        } else {
            run_task(&task, &seed);
            go(task.host);
            queue_release(queue, &task);
            atomic_fetch_add(&crowd.done, 1);
        }
    }
}

START_TEST(a_crowd_keeps_within_bounds)
{
    pthread_t threads[WORKERS];
    unsigned seed = (unsigned)units_now_realtime();
    printf("# seed %u\n", seed);
    ck_assert_int_eq(queue_create(SLOTS, AT_HOST, units_now_boottime, &queue), 0);
    for (uintptr_t i = 0; i < WORKERS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, work, (void *)(seed + i)), 0);
    for (int64_t row = 1; row <= TASKS; row++) {
        push(row, (uint64_t)rand_r(&seed) % HOSTS, rand_r(&seed) % 2 ? ALICE : BOB);
        if (rand_r(&seed) % 50 == 0)
            nap(rand_r(&seed) % 20000);
        if (rand_r(&seed) % 100 == 0)
            queue_tick(queue);
    }
    for (int i = 0; i < 1000 && atomic_load(&crowd.done) < TASKS; i++) {
        nap(10000);
        queue_tick(queue);
    }
    queue_close(queue);
    for (int i = 0; i < WORKERS; i++)
        pthread_join(threads[i], NULL);
    printf("# %u helped\n", crowd.helped);
    ck_assert_uint_eq(crowd.done, TASKS);
    ck_assert_uint_gt(crowd.helped, 0);
    ck_assert_uint_eq(crowd.too_many, 0);
    ck_assert_uint_eq(crowd.too_many_at_host, 0);
    queue_destroy(queue);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("helping");
    TCase *tcase = tcase_create("offers");
    tcase_add_checked_fixture(tcase, begin, end);
    tcase_add_test(tcase, who_ends_last_is_helped_first);
    tcase_add_test(tcase, no_more_come_than_are_wanted);
    tcase_add_test(tcase, helpers_of_what_has_ended_leave);
    tcase_add_test(tcase, it_is_quiet_for_a_while_after_somebody_left);
    tcase_add_test(tcase, a_burst_counts_once);
    tcase_add_test(tcase, a_shy_host_is_left_alone);
    suite_add_tcase(suite, tcase);
    tcase = tcase_create("queue");
    tcase_add_test(tcase, as_many_leave_as_could_start);
    tcase_add_test(tcase, none_leaves_for_what_cannot_start);
    tcase_add_test(tcase, a_host_has_room_for_its_tasks);
    tcase_add_test(tcase, users_share_a_host);
    tcase_add_test(tcase, others_start_meanwhile);
    tcase_add_test(tcase, helpers_leave_what_is_lowered);
    suite_add_tcase(suite, tcase);
    tcase = tcase_create("threads");
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, none_comes_while_the_user_may_not, 0, 3);
    tcase_add_test(tcase, a_crowd_keeps_within_bounds);
    suite_add_tcase(suite, tcase);
    return tap_main(suite);
}
