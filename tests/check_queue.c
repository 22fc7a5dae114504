#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/queue.h"
#include "tap.h"

enum { ALICE = 1000, BOB, CAROL };

static _Atomic int64_t now;
static struct queue *queue;

static int64_t clock_now(void)
{
    return now;
}

static void set_up(void)
{
    now = 1000;
    ck_assert_int_eq(queue_create(1000, 1000, clock_now, &queue), 0);
}

static void tear_down(void)
{
    queue_destroy(queue);
    queue_destroy(NULL);
}

static unsigned print_seed(void)
{
    const char *given = getenv("AUTODL_SEED");
    unsigned seed = given ? (unsigned)strtoul(given, NULL, 10) : (unsigned)time(NULL);
    printf("# seed %u\n", seed);
    fflush(stdout);
    return seed;
}

/* Each user's tasks come from a host of their own. */
static const struct queue_task *task_of(uid_t uid, int64_t row)
{
    static _Thread_local struct queue_task task;
    task = (struct queue_task){.row = row, .host = uid, .uid = uid};
    return &task;
}

static void push(uid_t uid, int64_t row)
{
    ck_assert_int_eq(queue_push(queue, task_of(uid, row)), 0);
}

/* Only where something may start: it would wait otherwise. */
static void pops(uid_t uid, int64_t row)
{
    struct queue_task got = {0};
    ck_assert_int_eq(queue_pop(queue, 0, &got), 0);
    ck_assert_int_eq(got.row, row);
    ck_assert_uint_eq(got.uid, uid);
}

static int compare_rows(const void *left, const void *right)
{
    int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
    return a < b ? -1 : a > b;
}

/* `rows` ascending: they come in no order. */
static void clears(uid_t uid, const int64_t *rows, size_t count)
{
    int64_t *got = (int64_t *)1;
    size_t got_count = 4711;
    ck_assert_int_eq(queue_clear(queue, uid, &got, &got_count), 0);
    ck_assert_uint_eq(got_count, count);
    if (count == 0)
        ck_assert_ptr_null(got);
    else
        qsort(got, count, sizeof(*got), compare_rows);
    if (count > 0)
        ck_assert_mem_eq(got, rows, count * sizeof(*rows));
    free(got);
}

/* One thread in queue_pop, to see whether it waits. */
static struct waiter {
    pthread_t thread;
    unsigned worker;
    int r;
    struct queue_task task;
} waiters[8];

static void *wait_for_a_task(void *data)
{
    struct waiter *waiter = data;
    waiter->r = queue_pop(queue, waiter->worker, &waiter->task);
    return NULL;
}

static void start_waiter(unsigned worker)
{
    waiters[worker].worker = worker;
    ck_assert_int_eq(
        pthread_create(&waiters[worker].thread, NULL, wait_for_a_task, &waiters[worker]), 0);
}

static void waiter_ends(unsigned worker, int r, int64_t row)
{
    ck_assert_int_eq(pthread_join(waiters[worker].thread, NULL), 0);
    ck_assert_int_eq(waiters[worker].r, r);
    if (r == 0)
        ck_assert_int_eq(waiters[worker].task.row, row);
}

START_TEST(first_in_first_out)
{
    for (int64_t row = 1; row <= 1000; row++)
        push(ALICE, row);
    ck_assert_uint_eq(queue_length(queue, ALICE), 1000);
    ck_assert_uint_eq(queue_length(queue, BOB), 0);
    ck_assert_uint_eq(queue_length(queue, QUEUE_EVERYBODY), 1000);
    for (int64_t row = 1; row <= 1000; row++)
        pops(ALICE, row);
    ck_assert_uint_eq(queue_length(queue, QUEUE_EVERYBODY), 0);
}
END_TEST

/* Looks at many share what they found out. */
START_TEST(what_is_behind_one_far_back_is_far_back)
{
    int64_t far = 0, gone = 30;
    for (int64_t row = 1; row <= 150; row++)
        push(ALICE, row);
    push(BOB, 200);
    ck_assert_uint_eq(queue_position(queue, 130, &far), 0);
    ck_assert_int_eq(far, 130);
    ck_assert_uint_eq(queue_position(queue, 50, &far), 50);
    ck_assert_uint_eq(queue_position(queue, 100, &far), 100);
    ck_assert_int_eq(far, 130);
    ck_assert_uint_eq(queue_position(queue, 101, &far), 0);
    ck_assert_int_eq(far, 101);
    ck_assert_uint_eq(queue_position(queue, 140, &far), 0);
    ck_assert_int_eq(far, 101);
    ck_assert_uint_eq(queue_position(queue, 200, &far), 1); /* another line */
    struct queue_task urgent = *task_of(ALICE, 300);
    urgent.priority = 1;
    ck_assert_int_eq(queue_push(queue, &urgent), 0);
    ck_assert_uint_eq(queue_position(queue, 300, &far), 1);
    pops(ALICE, 300);
    pops(BOB, 200);
    for (int64_t row = 1; row <= 60; row++)
        pops(ALICE, row);
    ck_assert_uint_eq(queue_position(queue, 70, &far), 10);
    ck_assert_uint_eq(queue_position(queue, 110, &gone), 50); /* nothing is behind one that is gone */
}
END_TEST

START_TEST(put_back_goes_to_the_head)
{
    push(ALICE, 1);
    push(ALICE, 2);
    pops(ALICE, 1);
    ck_assert_int_eq(queue_push_front(queue, task_of(ALICE, 1)), 0);
    queue_release(queue, task_of(ALICE, 0));
    pops(ALICE, 1);
    pops(ALICE, 2);
    queue_release(queue, task_of(ALICE, 0));
    queue_release(queue, task_of(ALICE, 0));
    ck_assert_int_eq(queue_push_front(queue, task_of(ALICE, 3)), 0);
    for (int64_t row = 4; row < 100; row++)
        ck_assert_int_eq(queue_push_front(queue, task_of(ALICE, row)), 0);
    for (int64_t row = 99; row >= 3; row--)
        pops(ALICE, row);
}
END_TEST

START_TEST(fewest_running_goes_first)
{
    for (int64_t row = 1; row <= 4; row++)
        push(ALICE, row);
    pops(ALICE, 1);
    pops(ALICE, 2);
    push(BOB, 11);
    push(BOB, 12);
    push(BOB, 13);
    pops(BOB, 11);
    pops(BOB, 12);
    pops(ALICE, 3); /* two each: alice's last turn is longer ago */
    pops(BOB, 13);
    pops(ALICE, 4);
}
END_TEST

START_TEST(turns_go_round)
{
    for (int64_t row = 0; row < 3; row++) {
        push(ALICE, 10 + row);
        push(BOB, 20 + row);
        push(CAROL, 30 + row);
    }
    for (int64_t row = 0; row < 3; row++) {
        pops(ALICE, 10 + row);
        queue_release(queue, task_of(ALICE, 0));
        pops(BOB, 20 + row);
        queue_release(queue, task_of(BOB, 0));
        pops(CAROL, 30 + row);
        queue_release(queue, task_of(CAROL, 0));
    }
}
END_TEST

START_TEST(one_at_a_time_neither_waits_long_nor_starves_others)
{
    queue_set_slots(queue, 1);
    for (int64_t row = 1; row <= 20; row++)
        push(ALICE, row);
    for (int64_t row = 1; row <= 20; row++) {
        pops(ALICE, row);
        push(BOB, 100 + row); /* bob comes while alice has the slot */
        queue_release(queue, task_of(ALICE, 0));
        pops(BOB, 100 + row);
        queue_release(queue, task_of(BOB, 0));
    }
}
END_TEST

START_TEST(idle_users_are_forgotten)
{
    push(ALICE, 1);
    pops(ALICE, 1);
    queue_release(queue, task_of(ALICE, 0));
    push(BOB, 2);
    push(ALICE, 3); /* with the old record alice's turn would be before bob's */
    pops(BOB, 2);
    pops(ALICE, 3);
    queue_release(queue, task_of(BOB, 0));
    queue_release(queue, task_of(ALICE, 0));

    push(ALICE, 4);
    clears(ALICE, (int64_t[]){4}, 1);
    ck_assert_int_eq(queue_pause(queue, CAROL, 0), 0);
    ck_assert(queue_resume(queue, CAROL));
    push(BOB, 5);
    push(CAROL, 6);
    push(ALICE, 7);
    pops(BOB, 5);
    pops(CAROL, 6);
    pops(ALICE, 7);
}
END_TEST

START_TEST(pause_of_a_user)
{
    push(ALICE, 1);
    push(BOB, 2);
    ck_assert_int_eq(queue_pause(queue, ALICE, 0), 0);
    push(ALICE, 3);
    pops(BOB, 2);
    start_waiter(1);
    ck_assert(!queue_resume(queue, BOB));
    ck_assert(!queue_resume(queue, QUEUE_EVERYBODY));
    now = INT64_MAX;
    ck_assert_int_eq(queue_tick(queue), 0);
    ck_assert_uint_eq(queue_length(queue, ALICE), 2);
    ck_assert(queue_resume(queue, ALICE));
    waiter_ends(1, 0, 1);
    pops(ALICE, 3);
    ck_assert(!queue_resume(queue, ALICE));
}
END_TEST

START_TEST(pause_of_everybody)
{
    ck_assert_int_eq(queue_pause(queue, QUEUE_EVERYBODY, 0), 0);
    ck_assert_int_eq(queue_pause(queue, BOB, 0), 0);
    push(ALICE, 1);
    push(BOB, 2);
    start_waiter(1);
    start_waiter(2);
    ck_assert(!queue_resume(queue, ALICE));
    ck_assert(queue_resume(queue, QUEUE_EVERYBODY));
    while (queue_length(queue, QUEUE_EVERYBODY) == 2)
        sched_yield();
    ck_assert_uint_eq(queue_length(queue, BOB), 1);
    ck_assert(queue_resume(queue, BOB));
    pthread_join(waiters[1].thread, NULL);
    pthread_join(waiters[2].thread, NULL);
    ck_assert_int_eq(waiters[1].task.row + waiters[2].task.row, 1 + 2);
}
END_TEST

START_TEST(pauses_end_on_time)
{
    push(ALICE, 1);
    push(BOB, 2);
    ck_assert_int_eq(queue_tick(queue), 0);
    ck_assert_int_eq(queue_pause(queue, ALICE, 3000), 0);
    ck_assert_int_eq(queue_pause(queue, QUEUE_EVERYBODY, 5000), 0);
    ck_assert_int_eq(queue_tick(queue), 3000);
    start_waiter(1);
    now = 2999;
    ck_assert_int_eq(queue_tick(queue), 3000);
    now = 3000;
    ck_assert_int_eq(queue_tick(queue), 5000);
    ck_assert(!queue_resume(queue, ALICE));
    now = 4999;
    ck_assert_int_eq(queue_tick(queue), 5000);
    ck_assert_uint_eq(queue_length(queue, QUEUE_EVERYBODY), 2);
    now = 5000;
    ck_assert_int_eq(queue_tick(queue), 0);
    waiter_ends(1, 0, 1);
    ck_assert(!queue_resume(queue, QUEUE_EVERYBODY));
}
END_TEST

START_TEST(a_second_pause_replaces_the_first)
{
    ck_assert_int_eq(queue_pause(queue, ALICE, 9000), 0);
    ck_assert_int_eq(queue_pause(queue, ALICE, 2000), 0);
    ck_assert_int_eq(queue_tick(queue), 2000);
    ck_assert_int_eq(queue_pause(queue, ALICE, 0), 0);
    ck_assert_int_eq(queue_tick(queue), 0);
    push(ALICE, 1);
    push(BOB, 2);
    now = 10000;
    pops(BOB, 2);
    ck_assert_uint_eq(queue_length(queue, ALICE), 1);
    ck_assert_int_eq(queue_pause(queue, ALICE, 10000), 0); /* over already */
    ck_assert(!queue_resume(queue, ALICE));
    pops(ALICE, 1);
}
END_TEST

START_TEST(a_dead_file_system_holds_its_user_only)
{
    push(ALICE, 1);
    push(BOB, 2);
    ck_assert_int_eq(queue_hold(queue, ALICE, QUEUE_HOLD_STORAGE, true), 0);
    ck_assert_int_eq(queue_hold(queue, CAROL, QUEUE_HOLD_STORAGE, false), 0);
    pops(BOB, 2);
    start_waiter(1);
    ck_assert_int_eq(queue_pause(queue, ALICE, 0), 0);
    ck_assert(queue_resume(queue, ALICE));
    ck_assert_uint_eq(queue_length(queue, ALICE), 1);
    ck_assert_int_eq(queue_hold(queue, ALICE, QUEUE_HOLD_STORAGE, false), 0);
    waiter_ends(1, 0, 1);
}
END_TEST

START_TEST(each_reason_holds_for_itself)
{
    push(ALICE, 1);
    ck_assert(!queue_held(queue, ALICE, QUEUE_HOLD_STORAGE));
    ck_assert_int_eq(queue_hold(queue, ALICE, QUEUE_HOLD_STORAGE, true), 0);
    ck_assert_int_eq(queue_hold(queue, ALICE, QUEUE_HOLD_FINISHING, true), 0);
    ck_assert_int_eq(queue_hold(queue, ALICE, QUEUE_HOLD_FINISHING, false), 0);
    ck_assert(queue_held(queue, ALICE, QUEUE_HOLD_STORAGE));
    ck_assert(!queue_held(queue, ALICE, QUEUE_HOLD_FINISHING));
    start_waiter(1);
    ck_assert_int_eq(queue_hold(queue, ALICE, QUEUE_HOLD_FINISHING, true), 0);
    ck_assert_int_eq(queue_hold(queue, ALICE, QUEUE_HOLD_STORAGE, false), 0);
    ck_assert_uint_eq(queue_length(queue, ALICE), 1);
    ck_assert_int_eq(queue_hold(queue, ALICE, QUEUE_HOLD_FINISHING, false), 0);
    waiter_ends(1, 0, 1);
}
END_TEST

START_TEST(clear_gives_the_rows)
{
    clears(ALICE, NULL, 0);
    clears(QUEUE_EVERYBODY, NULL, 0);
    ck_assert_int_eq(queue_pause(queue, CAROL, 0), 0);
    clears(QUEUE_EVERYBODY, NULL, 0);
    clears(CAROL, NULL, 0);
    for (int64_t row = 1; row <= 8; row++)
        push(ALICE, row);
    for (int64_t row = 1; row <= 5; row++)
        pops(ALICE, row);
    for (int64_t row = 9; row <= 12; row++)
        push(ALICE, row); /* round the end of the ring */
    push(BOB, 20);
    clears(ALICE, (int64_t[]){6, 7, 8, 9, 10, 11, 12}, 7);
    ck_assert_uint_eq(queue_length(queue, QUEUE_EVERYBODY), 1);
    push(ALICE, 13);
    pops(BOB, 20);
    clears(QUEUE_EVERYBODY, (int64_t[]){13}, 1);
    for (int i = 0; i < 5; i++)
        queue_release(queue, task_of(ALICE, 0));

    int64_t *rows;
    size_t count;
    for (uid_t uid = 1; uid <= 50; uid++) {
        push(uid, uid * 10);
        push(uid, uid * 10 + 1);
    }
    ck_assert_int_eq(queue_clear(queue, QUEUE_EVERYBODY, &rows, &count), 0);
    ck_assert_uint_eq(count, 100);
    free(rows);
    ck_assert_uint_eq(queue_length(queue, QUEUE_EVERYBODY), 0);
}
END_TEST

START_TEST(close_wakes_everybody)
{
    struct queue_task task = {.row = 7};
    ck_assert_int_eq(queue_pause(queue, ALICE, 0), 0);
    push(ALICE, 1);
    for (unsigned i = 0; i < 8; i++)
        start_waiter(i);
    queue_close(queue);
    for (unsigned i = 0; i < 8; i++)
        waiter_ends(i, -ESHUTDOWN, 0);
    ck_assert_int_eq(queue_push(queue, task_of(BOB, 1)), -ESHUTDOWN);
    ck_assert_int_eq(queue_push_front(queue, task_of(BOB, 1)), -ESHUTDOWN);
    ck_assert_int_eq(queue_pop(queue, 5000, &task), -ESHUTDOWN);
    ck_assert_int_eq(task.row, 7);
    clears(ALICE, (int64_t[]){1}, 1);
}
END_TEST

START_TEST(fewer_slots_send_workers_away)
{
    for (unsigned i = 0; i < 8; i++)
        start_waiter(i);
    queue_set_slots(queue, 3);
    ck_assert_uint_eq(queue_slots(queue), 3);
    for (unsigned i = 3; i < 8; i++)
        waiter_ends(i, -ECANCELED, 0);
    for (int64_t row = 1; row <= 3; row++)
        push(ALICE, row);
    for (unsigned i = 0; i < 3; i++)
        pthread_join(waiters[i].thread, NULL);
    ck_assert_int_eq(waiters[0].task.row + waiters[1].task.row + waiters[2].task.row, 6);

    push(ALICE, 4); /* all slots taken: it waits for one to come back, or for more slots */
    start_waiter(0);
    queue_release(queue, task_of(ALICE, 0));
    waiter_ends(0, 0, 4);
    push(ALICE, 5);
    start_waiter(3);
    waiter_ends(3, -ECANCELED, 0);
    start_waiter(2);
    queue_set_slots(queue, 4);
    waiter_ends(2, 0, 5);
}
END_TEST

static void push_later(uid_t uid, int64_t row, int64_t at, enum queue_reason reason)
{
    ck_assert_int_eq(queue_push_later(queue, task_of(uid, row), at, reason), 0);
}

static void why_is(int64_t row, enum queue_reason reason, int64_t until)
{
    enum queue_reason got_reason = (enum queue_reason)77;
    int64_t got_until = 77;
    ck_assert_int_eq(queue_why(queue, row, &got_reason, &got_until), 0);
    ck_assert_int_eq(got_reason, reason);
    ck_assert_int_eq(got_until, until);
}

static void waits_not(int64_t row)
{
    enum queue_reason reason = (enum queue_reason)77;
    int64_t until = 77;
    ck_assert_int_eq(queue_why(queue, row, &reason, &until), -ENOENT);
    ck_assert(reason == (enum queue_reason)77 && until == 77);
    ck_assert_int_eq(queue_remove(queue, row), -ENOENT);
}

START_TEST(later_ones_wait_for_their_time)
{
    push_later(ALICE, 1, 3000, QUEUE_RETRY);
    push_later(ALICE, 2, 2000, QUEUE_HOST);
    push_later(BOB, 11, 5000, QUEUE_DISK);
    ck_assert_uint_eq(queue_length(queue, ALICE), 2);
    ck_assert_uint_eq(queue_length(queue, QUEUE_EVERYBODY), 3);
    ck_assert_int_eq(queue_tick(queue), 2000);
    push(ALICE, 3); /* what can run goes by */
    pops(ALICE, 3);
    start_waiter(1);
    now = 1999;
    ck_assert_int_eq(queue_tick(queue), 2000);
    ck_assert_uint_eq(queue_length(queue, ALICE), 2);
    now = 2000;
    ck_assert_int_eq(queue_tick(queue), 3000);
    waiter_ends(1, 0, 2);
    ck_assert_int_eq(queue_pause(queue, BOB, 4000), 0);
    now = 3500;
    ck_assert_int_eq(queue_tick(queue), 4000);
    pops(ALICE, 1);
    now = 4000;
    ck_assert_int_eq(queue_tick(queue), 5000);
    now = 5000;
    ck_assert_int_eq(queue_tick(queue), 0);
    pops(BOB, 11);
    ck_assert_uint_eq(queue_length(queue, QUEUE_EVERYBODY), 0);
}
END_TEST

START_TEST(due_ones_go_to_the_head_in_their_order)
{
    for (int64_t row = 1; row <= 3; row++)
        push(ALICE, row);
    for (int64_t row = 29; row >= 10; row--)
        push_later(ALICE, row, 2000 + row / 2, QUEUE_RETRY); /* two at a time */
    now = 9000;
    push_later(ALICE, 9, 1000, QUEUE_RETRY); /* its time has come: at once */
    for (int64_t row = 9; row < 30; row++)
        pops(ALICE, row);
    for (int64_t row = 1; row <= 3; row++)
        pops(ALICE, row);
}
END_TEST

/* Between two ticks: whoever looks for work finds it, and a worker that waits is told too. */
START_TEST(pop_looks_at_the_time_itself)
{
    push_later(ALICE, 1, 2000, QUEUE_RETRY);
    push_later(ALICE, 2, 2000, QUEUE_RETRY);
    start_waiter(1);
    now = 2000;
    pops(ALICE, 1);
    waiter_ends(1, 0, 2);
    queue_release(queue, task_of(ALICE, 0));
    queue_release(queue, task_of(ALICE, 0));
    start_waiter(1);
    push_later(BOB, 3, 2000, QUEUE_DISK);
    waiter_ends(1, 0, 3);
}
END_TEST

/* Time goes by between the first two times that somebody asks for it. */
static atomic_uint askings;

static int64_t jumping_clock(void)
{
    return atomic_fetch_add(&askings, 1) == 0 ? 1999 : 2000;
}

static void *pop_first(void *unused)
{
    (void)unused;
    pops(ALICE, 2);
    return NULL;
}

/* A pause that ends, and one that is due at the same time: that one goes first, as always. */
START_TEST(pop_looks_at_one_moment)
{
    pthread_t popper_thread;
    struct queue *usual = queue;
    ck_assert_int_eq(queue_create(1, 1, jumping_clock, &queue), 0);
    atomic_store(&askings, 1);
    ck_assert_int_eq(queue_pause(queue, ALICE, 2001), 0);
    push(ALICE, 1);
    ck_assert_int_eq(queue_pause(queue, ALICE, 2000), 0);
    atomic_store(&askings, 0);
    push_later(ALICE, 2, 2000, QUEUE_RETRY); /* asks once */
    ck_assert_uint_eq(askings, 1);
    atomic_store(&askings, 0);
    ck_assert_int_eq(pthread_create(&popper_thread, NULL, pop_first, NULL), 0);
    while (askings == 0)
        sched_yield();
    ck_assert_int_eq(queue_tick(queue), 0);
    pthread_join(popper_thread, NULL);
    queue_destroy(queue);
    queue = usual;
}
END_TEST

START_TEST(later_ones_are_still_held_back)
{
    push_later(ALICE, 1, 2000, QUEUE_RETRY);
    ck_assert_int_eq(queue_pause(queue, ALICE, 0), 0);
    push(BOB, 2);
    now = 2000;
    ck_assert_int_eq(queue_tick(queue), 0);
    pops(BOB, 2);
    ck_assert_int_eq(queue_hold(queue, ALICE, QUEUE_HOLD_STORAGE, true), 0);
    ck_assert(queue_resume(queue, ALICE));
    start_waiter(1);
    ck_assert_uint_eq(queue_length(queue, ALICE), 1);
    ck_assert_int_eq(queue_hold(queue, ALICE, QUEUE_HOLD_STORAGE, false), 0);
    waiter_ends(1, 0, 1);
}
END_TEST

START_TEST(removed_ones_do_not_come)
{
    waits_not(1);
    for (int64_t row = 1; row <= 8; row++)
        push(ALICE, row);
    for (int64_t row = 1; row <= 3; row++)
        pops(ALICE, row);
    for (int64_t row = 9; row <= 11; row++)
        push(ALICE, row); /* round the end of the ring */
    for (int64_t row = 20; row < 30; row++)
        push_later(BOB, row, row * 100, QUEUE_RETRY);
    static const int64_t removed[] = {4, 11, 8, 9, 6};
    for (size_t i = 0; i < 5; i++) {
        ck_assert_int_eq(queue_remove(queue, removed[i]), 0);
        waits_not(removed[i]);
    }
    for (int64_t row = 20; row < 30; row += 3)
        ck_assert_int_eq(queue_remove(queue, row), 0);
    ck_assert_uint_eq(queue_length(queue, ALICE), 3);
    ck_assert_uint_eq(queue_length(queue, BOB), 6);
    waits_not(20);
    waits_not(1); /* it runs */
    pops(ALICE, 5);
    pops(ALICE, 7);
    pops(ALICE, 10);
    now = 2500;
    ck_assert_int_eq(queue_tick(queue), 2700);
    for (int64_t row = 21; row < 26; row++)
        if (row != 23)
            pops(BOB, row);
    ck_assert_int_eq(queue_remove(queue, 27), 0);
    ck_assert_int_eq(queue_remove(queue, 28), 0);
    ck_assert_int_eq(queue_tick(queue), 0);
    ck_assert_uint_eq(queue_length(queue, QUEUE_EVERYBODY), 0);
}
END_TEST

START_TEST(why_tells_the_strongest_reason)
{
    queue_set_slots(queue, 0);
    push(ALICE, 1);
    push_later(ALICE, 2, 2000, QUEUE_DISK);
    push_later(ALICE, 3, 3000, QUEUE_HOST);
    why_is(1, QUEUE_SLOT, 0);
    why_is(2, QUEUE_DISK, 2000);
    why_is(3, QUEUE_HOST, 3000);
    ck_assert_int_eq(queue_hold(queue, ALICE, QUEUE_HOLD_FINISHING, true), 0);
    why_is(1, QUEUE_STORAGE, 0);
    why_is(2, QUEUE_STORAGE, 0);
    ck_assert_int_eq(queue_pause(queue, ALICE, 5000), 0);
    why_is(1, QUEUE_PAUSED, 5000);
    ck_assert_int_eq(queue_pause(queue, QUEUE_EVERYBODY, 7000), 0);
    why_is(2, QUEUE_PAUSED, 7000);
    ck_assert_int_eq(queue_pause(queue, ALICE, 0), 0);
    why_is(2, QUEUE_PAUSED, 0);
    ck_assert(queue_resume(queue, ALICE));
    why_is(3, QUEUE_PAUSED, 7000);
    now = 7000; /* pause and times are over, tick or no tick */
    why_is(3, QUEUE_STORAGE, 0);
    ck_assert_int_eq(queue_hold(queue, ALICE, QUEUE_HOLD_FINISHING, false), 0);
    why_is(3, QUEUE_SLOT, 0);
    queue_set_slots(queue, 9);
    pops(ALICE, 2);
    waits_not(2);
}
END_TEST

START_TEST(clear_takes_later_ones_too)
{
    push_later(ALICE, 5, 5000, QUEUE_RETRY);
    push_later(BOB, 12, 3000, QUEUE_RETRY);
    push_later(ALICE, 4, 4000, QUEUE_RETRY);
    push_later(BOB, 11, 6000, QUEUE_RETRY);
    push_later(CAROL, 21, 3500, QUEUE_RETRY);
    push(ALICE, 9);
    push(ALICE, 1);
    clears(ALICE, (int64_t[]){1, 4, 5, 9}, 4);
    ck_assert_uint_eq(queue_length(queue, QUEUE_EVERYBODY), 3);
    ck_assert_int_eq(queue_tick(queue), 3000);
    clears(ALICE, NULL, 0);
    push(BOB, 10);
    clears(QUEUE_EVERYBODY, (int64_t[]){10, 11, 12, 21}, 4);
    for (int64_t row = 39; row >= 30; row--)
        push_later(row % 3 ? ALICE : BOB, row, 2000 + row * 7 % 10, QUEUE_RETRY);
    clears(ALICE, (int64_t[]){31, 32, 34, 35, 37, 38}, 6);
    ck_assert_int_eq(queue_tick(queue), 2000);
    clears(QUEUE_EVERYBODY, (int64_t[]){30, 33, 36, 39}, 4);
    ck_assert_uint_eq(queue_length(queue, QUEUE_EVERYBODY), 0);
    ck_assert_int_eq(queue_tick(queue), 0);
}
END_TEST

START_TEST(closed_takes_no_later_ones)
{
    push_later(ALICE, 1, 2000, QUEUE_RETRY);
    queue_close(queue);
    ck_assert_int_eq(queue_push_later(queue, task_of(ALICE, 2), 2000, QUEUE_RETRY), -ESHUTDOWN);
    ck_assert_uint_eq(queue_length(queue, ALICE), 1);
}
END_TEST

static void push_to(uid_t uid, int64_t row, uint64_t host, int8_t priority)
{
    struct queue_task task = {.row = row, .host = host, .uid = uid, .priority = priority};
    ck_assert_int_eq(queue_push(queue, &task), 0);
}

static void release_from(uid_t uid, uint64_t host)
{
    queue_release(queue, &(struct queue_task){.host = host, .uid = uid});
}

START_TEST(priority_goes_first_within_a_user)
{
    push_to(ALICE, 1, 7, 0);
    push_to(ALICE, 2, 7, 10);
    push_to(ALICE, 3, 8, -10);
    push_to(ALICE, 4, 8, 10);
    push_to(BOB, 5, 7, -100); /* another's line */
    pops(ALICE, 2);
    pops(BOB, 5);
    pops(ALICE, 4);
    pops(ALICE, 1);
    pops(ALICE, 3);
}
END_TEST

START_TEST(a_busy_host_is_passed_over)
{
    queue_set_host_max(queue, 2);
    for (int64_t row = 1; row <= 4; row++)
        push_to(ALICE, row, 7, 0);
    push_to(ALICE, 5, 8, 0);
    push_to(BOB, 6, 7, 0);
    pops(ALICE, 1);
    pops(BOB, 6);
    why_is(2, QUEUE_HOST, 0);
    pops(ALICE, 5);
    start_waiter(1);
    release_from(BOB, 7);
    waiter_ends(1, 0, 2);
    start_waiter(1);
    queue_set_host_max(queue, 3);
    waiter_ends(1, 0, 3);
    why_is(4, QUEUE_HOST, 0);
}
END_TEST

START_TEST(a_host_that_asked_for_patience_is_left_alone)
{
    push_to(ALICE, 1, 7, 0);
    push_to(BOB, 2, 7, 0);
    push_to(BOB, 3, 8, 0);
    ck_assert_int_eq(queue_hold_host(queue, 7, 5000), 0);
    ck_assert_int_eq(queue_hold_host(queue, 7, 3000), 0); /* it said more before */
    ck_assert_int_eq(queue_hold_host(queue, 9, 4000), 0);
    why_is(1, QUEUE_HOST, 5000);
    pops(BOB, 3);
    push_to(ALICE, 4, 7, 0);
    start_waiter(1);
    start_waiter(2);
    ck_assert_int_eq(queue_tick(queue), 4000);
    now = 4999;
    ck_assert_int_eq(queue_tick(queue), 5000);
    ck_assert_uint_eq(queue_length(queue, QUEUE_EVERYBODY), 3);
    now = 5000;
    ck_assert_int_eq(queue_tick(queue), 0);
    pthread_join(waiters[1].thread, NULL);
    pthread_join(waiters[2].thread, NULL);
    pops(ALICE, 4); /* alice and bob had one each */
}
END_TEST

START_TEST(start_times_follow_the_wall_clock)
{
    push_later(ALICE, 1, 5000, QUEUE_START_TIME);
    push_later(ALICE, 2, 5000, QUEUE_RETRY);
    push_later(BOB, 3, 4000, QUEUE_START_TIME);
    why_is(1, QUEUE_START_TIME, 5000);
    queue_shift_starts(queue, 2000);
    why_is(1, QUEUE_START_TIME, 7000);
    why_is(2, QUEUE_RETRY, 5000);
    ck_assert_int_eq(queue_tick(queue), 5000);
    start_waiter(1);
    queue_shift_starts(queue, -5500); /* that is 500 for bob's: now */
    waiter_ends(1, 0, 3);
    ck_assert_int_eq(queue_tick(queue), 1500);
    why_is(1, QUEUE_START_TIME, 1500);
}
END_TEST

/* What waits for another task waits for no time, and otherwise like what does. */
START_TEST(what_waits_for_another)
{
    struct queue_task task = {.row = 2, .host = 7, .uid = ALICE, .priority = -5}, got = {0};
    ck_assert(!queue_has_after(queue));
    ck_assert_int_eq(queue_push_later(queue, &task, QUEUE_NEVER, QUEUE_AFTER), 0);
    push_later(ALICE, 1, 2000, QUEUE_RETRY);
    why_is(2, QUEUE_AFTER, 0);
    ck_assert_int_eq(queue_pause(queue, ALICE, 3000), 0);
    why_is(2, QUEUE_PAUSED, 3000);
    ck_assert_int_eq(queue_tick(queue), 2000);
    now = INT64_MAX - 1;
    ck_assert_int_eq(queue_tick(queue), 0);
    pops(ALICE, 1);
    why_is(2, QUEUE_AFTER, 0);
    ck_assert_uint_eq(queue_length(queue, ALICE), 1);
    ck_assert_int_eq(queue_book(queue, ALICE, 1, 1), -EDQUOT);
    ck_assert(queue_has_after(queue));
    ck_assert_int_eq(queue_take_after(queue, 1, &got), -ENOENT);
    ck_assert_int_eq(queue_take_after(queue, 2, &got), 0);
    ck_assert_int_eq(queue_take_after(queue, 2, &got), -ENOENT);
    ck_assert_mem_eq(&got, &task, sizeof got);
    ck_assert(!queue_has_after(queue));
    waits_not(2);

    push_later(ALICE, 3, QUEUE_NEVER, QUEUE_AFTER);
    push_later(BOB, 4, QUEUE_NEVER, QUEUE_AFTER);
    push_later(BOB, 5, QUEUE_NEVER, QUEUE_AFTER);
    push(BOB, 6);
    queue_shift_starts(queue, 5000);
    ck_assert_int_eq(queue_take_after(queue, 6, &got), -ENOENT); /* it waits for a slot alone */
    ck_assert_int_eq(queue_remove(queue, 3), 0);
    ck_assert(queue_has_after(queue));
    clears(BOB, (int64_t[]){4, 5, 6}, 3);
    ck_assert(!queue_has_after(queue));
}
END_TEST

START_TEST(a_slot_is_wanted_by_who_runs_fewer)
{
    queue_set_slots(queue, 4);
    for (int64_t row = 1; row <= 6; row++)
        push(ALICE, row);
    for (int64_t row = 1; row <= 3; row++)
        pops(ALICE, row);
    push(BOB, 11);
    ck_assert(!queue_wants_slot(queue, task_of(ALICE, 0))); /* there is one */
    pops(BOB, 11);
    ck_assert(!queue_wants_slot(queue, task_of(ALICE, 0))); /* her own wait, nobody else's */
    push(CAROL, 21);
    ck_assert(!queue_wants_slot(queue, task_of(BOB, 0))); /* alice has more */
    ck_assert(!queue_wants_slot(queue, task_of(4711, 0)));
    ck_assert_int_eq(queue_pause(queue, CAROL, 0), 0);
    ck_assert(!queue_wants_slot(queue, task_of(ALICE, 0))); /* hers could not start */
    ck_assert(queue_resume(queue, CAROL));
    ck_assert(queue_wants_slot(queue, task_of(ALICE, 0)));
    ck_assert(!queue_wants_slot(queue, task_of(ALICE, 0))); /* once is enough ... */
    ck_assert_int_eq(queue_push(queue, task_of(ALICE, 1)), 0);
    queue_release(queue, task_of(ALICE, 0));
    pops(CAROL, 21);
    push(CAROL, 22);
    push(BOB, 12);
    ck_assert(!queue_wants_slot(queue, task_of(ALICE, 0))); /* 2 against 1: nobody would gain */
    queue_release(queue, task_of(BOB, 0));
    pops(BOB, 12);
    push(4711, 31);
    queue_set_slots(queue, 2);
    ck_assert(queue_wants_slot(queue, task_of(ALICE, 0))); /* more run than may: all the more */
    queue_release(queue, task_of(ALICE, 0));
    ck_assert(queue_wants_slot(
        queue, task_of(ALICE, 0))); /* ... until it came: one each, and one has none */
    queue_release(queue, task_of(ALICE, 0));
    queue_release(queue, task_of(CAROL, 0));
    ck_assert(!queue_wants_slot(queue, task_of(BOB, 0)));
    pops(4711, 31);
    queue_close(queue);
    ck_assert(!queue_wants_slot(queue, task_of(BOB, 0)));
}
END_TEST

START_TEST(a_slot_given_back_goes_to_the_other)
{
    struct queue_task task;
    queue_set_slots(queue, 1);
    push(ALICE, 1);
    push(ALICE, 2);
    ck_assert_int_eq(queue_pop(queue, 0, &task), 0);
    ck_assert_uint_eq(task.given_back, 0);
    push(BOB, 11);
    ck_assert(queue_wants_slot(queue, task_of(ALICE, 0)));
    task.given_back = 3;
    ck_assert_int_eq(queue_push(queue, &task), 0);
    queue_release(queue, &task);
    pops(BOB, 11);
    queue_release(queue, task_of(BOB, 0));
    pops(ALICE, 2); /* behind the others */
    queue_release(queue, task_of(ALICE, 0));
    ck_assert_int_eq(queue_pop(queue, 0, &task), 0);
    ck_assert_int_eq(task.row, 1);
    ck_assert_uint_eq(task.given_back, 3);
}
END_TEST

static bool wanted_from(uid_t uid, uint64_t host)
{
    return queue_wants_slot(queue, &(struct queue_task){.host = host, .uid = uid});
}

START_TEST(a_place_at_a_host_is_wanted_by_who_runs_fewer)
{
    queue_set_host_max(queue, 3);
    for (int64_t row = 1; row <= 9; row++)
        push_to(ALICE, row, row == 4 ? 8 : 7, 0);
    for (int64_t row = 1; row <= 4; row++)
        pops(ALICE, row);
    ck_assert(!wanted_from(ALICE, 7)); /* nobody else waits there */
    push_to(BOB, 11, 7, 0);
    push_to(BOB, 12, 9, 0);
    pops(BOB, 12);
    ck_assert(!wanted_from(ALICE, 8)); /* there is room, or there would be a slot */
    ck_assert(!wanted_from(BOB, 9));
    ck_assert_int_eq(queue_hold(queue, BOB, QUEUE_HOLD_STORAGE, true), 0);
    ck_assert(!wanted_from(ALICE, 7));
    ck_assert_int_eq(queue_hold(queue, BOB, QUEUE_HOLD_STORAGE, false), 0);
    ck_assert_int_eq(queue_hold_host(queue, 7, 5000), 0);
    ck_assert(!wanted_from(ALICE, 7)); /* it asked for patience */
    now = 5000;
    queue_tick(queue);
    ck_assert(wanted_from(ALICE, 7));
    ck_assert(!wanted_from(ALICE, 7)); /* once is enough */
    ck_assert_int_eq(queue_push(queue, &(struct queue_task){.row = 1, .host = 7, .uid = ALICE}), 0);
    release_from(ALICE, 7);
    pops(BOB, 11);
    push_to(BOB, 13, 7, 0);
    ck_assert(!wanted_from(ALICE, 7)); /* 2 against 1: nobody would gain */
    push_to(CAROL, 21, 7, 0);
    ck_assert(wanted_from(ALICE, 7)); /* who has none there */
    release_from(ALICE, 7);
    pops(CAROL, 21);
    ck_assert(!wanted_from(ALICE, 7)); /* one each */
}
END_TEST

START_TEST(no_place_is_wanted_in_vain)
{
    queue_set_host_max(queue, 2);
    for (int64_t row = 1; row <= 2; row++) {
        push_to(ALICE, row, 7, 0);
        pops(ALICE, row);
        push_to(BOB, 10 + row, 8, 0);
        pops(BOB, 10 + row);
    }
    push_to(BOB, 13, 7, 0);
    ck_assert(!wanted_from(ALICE, 7)); /* alice, who would run fewer, would come next */
    release_from(BOB, 8);
    queue_set_slots(queue, 2);
    ck_assert(!wanted_from(ALICE, 7)); /* more run than may: what is given back is gone */
    queue_set_slots(queue, 3);
    ck_assert(wanted_from(ALICE, 7));
}
END_TEST

/* A slot and the place come back together. */
START_TEST(a_place_given_back_goes_to_the_other)
{
    queue_set_slots(queue, 2);
    queue_set_host_max(queue, 2);
    for (int64_t row = 1; row <= 4; row++)
        push_to(ALICE, row, 7, 0);
    pops(ALICE, 1);
    pops(ALICE, 2);
    push_to(BOB, 11, 7, 0);
    ck_assert(wanted_from(ALICE, 7));
    push_to(ALICE, 1, 7, 0);
    release_from(ALICE, 7);
    pops(BOB, 11);
    ck_assert(!wanted_from(ALICE, 7));
    ck_assert(!wanted_from(BOB, 7));
}
END_TEST

/* RAM per waiting task. */
START_TEST(a_waiting_task_costs_little)
{
    static const struct {
        uint64_t hosts;
        size_t bytes;
    } cases[] = {
        {100,    64 },
        {100000, 200},
        {10,     64 }, /* and each waits for another */
    };
    for (size_t i = 0; i < 3; i++) {
        bool endless = i == 2;
        for (int64_t row = 1; row <= 100000 && endless; row++)
            push_later((uid_t)(1000 + row % 10), row, QUEUE_NEVER, QUEUE_AFTER);
        for (int64_t row = 1; row <= 100000 && !endless; row++)
            push_to((uid_t)(1000 + row % 10), row, (uint64_t)row % cases[i].hosts, 0);
        size_t bytes = queue_bytes(queue);
        printf("# %zu bytes a task at %d hosts\n", bytes / 100000, (int)cases[i].hosts);
        ck_assert_uint_le(bytes, cases[i].bytes * 100000);
        int64_t *rows;
        size_t count;
        ck_assert_int_eq(queue_clear(queue, QUEUE_EVERYBODY, &rows, &count), 0);
        free(rows);
        ck_assert_uint_le(queue_bytes(queue), 100000); /* and leaves nothing behind */
    }
}
END_TEST

/*
 * Every operation at random beside a model so simple that it is seen to be right. One thread pops:
 * whenever the model says that a task may start it must get just this one, and otherwise wait.
 */

#define MODEL_USERS 6
#define MODEL_HOSTS 7
#define MODEL_LINE  400
#define MODEL_SLOTS 6
#define MODEL_OPS                                                                                  \
    200000             /* AUTODL_OPS is another number, which is done to the end; each waits for */
#define MODEL_TIME  60 /* the other thread: with much else to do, so many s are enough, ... */
#define MODEL_LEAST 5000 /* ... but for so many operations */

static struct model {
    struct {
        bool known;
        int64_t line[MODEL_LINE];
        int length;
        struct {
            int64_t row, at;
            enum queue_reason reason;
        } later[MODEL_LINE];
        int laters;
        int64_t runs[MODEL_SLOTS];
        int running;
        uint64_t turn;
        bool paused;
        int64_t until;
        bool held;
    } user[MODEL_USERS + 1]; /* the last one stands for everybody: only its pause is used */
    struct {
        unsigned running;
        int64_t until; /* held until then */
    } host[MODEL_HOSTS];
    unsigned host_max;
    unsigned slots;
    unsigned running;
    uint64_t turns;
    bool asked;      /* for a slot, since the last one was given back */
    unsigned wanted; /* how often */
} model;

static struct popper {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    enum { IDLE, ASKED, DONE, END } phase;
    unsigned worker;
    int r;
    struct queue_task task;
} popper = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, IDLE, 0, 0, {0}};

static void *run_popper(void *unused)
{
    (void)unused;
    pthread_mutex_lock(&popper.lock);
    for (;;) {
        while (popper.phase != ASKED && popper.phase != END)
            pthread_cond_wait(&popper.changed, &popper.lock);
        if (popper.phase == END)
            break;
        unsigned worker = popper.worker;
        struct queue_task task = {0};
        pthread_mutex_unlock(&popper.lock);
        int r = queue_pop(queue, worker, &task);
        pthread_mutex_lock(&popper.lock);
        popper.r = r;
        popper.task = task;
        popper.phase = DONE;
        pthread_cond_broadcast(&popper.changed);
    }
    pthread_mutex_unlock(&popper.lock);
    return NULL;
}

static bool model_paused(int i)
{
    return model.user[i].paused && (model.user[i].until == 0 || now < model.user[i].until);
}

static int host_of(int64_t row)
{
    return (int)(row % MODEL_HOSTS);
}

static int priority_of(int64_t row)
{
    return (int)(row / MODEL_HOSTS % 3) - 1;
}

static const struct queue_task *model_task(int i, int64_t row)
{
    static _Thread_local struct queue_task task;
    task = (struct queue_task){.row = row,
                               .host = (uint64_t)host_of(row) << 40,
                               .uid = (uid_t)(1000 + i),
                               .priority = (int8_t)priority_of(row)};
    return &task;
}

static bool model_host_free(int host)
{
    return model.host[host].running < model.host_max && model.host[host].until <= now;
}

/* Which task of a user's line is next; -1: none may start. */
static int model_first(int i)
{
    for (int j = 0; j < model.user[i].length; j++)
        if (model_host_free(host_of(model.user[i].line[j])))
            return j;
    return -1;
}

/* Slots apart. */
static int model_best(void)
{
    int best = -1;
    if (model_paused(MODEL_USERS))
        return -1;
    for (int i = 0; i < MODEL_USERS; i++) {
        if (model_first(i) < 0 || model.user[i].held || model_paused(i))
            continue;
        if (best < 0 || model.user[i].running < model.user[best].running ||
            (model.user[i].running == model.user[best].running &&
             model.user[i].turn < model.user[best].turn))
            best = i;
    }
    return best;
}

static int model_next(void)
{
    return model.running >= model.slots ? -1 : model_best();
}

static void model_know(int i)
{
    if (!model.user[i].known)
        model.user[i].turn = ++model.turns;
    model.user[i].known = true;
}

static void model_forget(int i)
{
    if (model.user[i].length == 0 && model.user[i].laters == 0 && model.user[i].running == 0 &&
        !model.user[i].paused && !model.user[i].held)
        model.user[i].known = false;
}

/* At the head or the end of those of its priority. */
static void model_insert(int i, bool front, int64_t row)
{
    int at = 0, length = model.user[i].length;
    for (; at < length; at++) {
        int priority = priority_of(model.user[i].line[at]);
        if (priority < priority_of(row) || (front && priority == priority_of(row)))
            break;
    }
    model_know(i);
    memmove(&model.user[i].line[at + 1], &model.user[i].line[at],
            (size_t)(model.user[i].length - at) * sizeof(row));
    model.user[i].line[at] = row;
    model.user[i].length++;
}

/* Some of the user's cannot start now, for their host or their time. */
static bool model_keeps_some(int i)
{
    for (int host = 0; host < MODEL_HOSTS; host++) {
        bool any = false, now_too = false;
        for (int j = 0; j < model.user[i].length; j++)
            now_too = now_too || host_of(model.user[i].line[j]) == host;
        for (int j = 0; j < model.user[i].laters; j++)
            any = any || host_of(model.user[i].later[j].row) == host;
        if ((any || now_too) && !(now_too && model_host_free(host)))
            return true;
    }
    return false;
}

static int64_t model_start(int i)
{
    int at = model_first(i);
    int64_t row = model.user[i].line[at];
    model.user[i].length--;
    memmove(&model.user[i].line[at], &model.user[i].line[at + 1],
            (size_t)(model.user[i].length - at) * sizeof(row));
    model.user[i].runs[model.user[i].running++] = row;
    model.user[i].turn = ++model.turns;
    model.host[host_of(row)].running++;
    model.running++;
    return row;
}

static void model_drop_later(int i, int at)
{
    model.user[i].laters--;
    memmove(&model.user[i].later[at], &model.user[i].later[at + 1],
            (size_t)(model.user[i].laters - at) * sizeof(model.user[i].later[0]));
}

/* The latest of those whose time has come, again and again, so that the earliest ends foremost. */
static void model_move_due(int i)
{
    for (;;) {
        int last = -1;
        for (int j = 0; j < model.user[i].laters; j++) {
            if (model.user[i].later[j].at > now)
                continue;
            if (last < 0 || model.user[i].later[j].at > model.user[i].later[last].at ||
                (model.user[i].later[j].at == model.user[i].later[last].at &&
                 model.user[i].later[j].row > model.user[i].later[last].row))
                last = j;
        }
        if (last < 0)
            return;
        model_insert(i, true, model.user[i].later[last].row);
        model_drop_later(i, last);
    }
}

static uid_t model_uid(int i)
{
    return i == MODEL_USERS ? QUEUE_EVERYBODY : (uid_t)(1000 + i);
}

static void try_push(int i, int64_t row)
{
    if (model.user[i].length + model.user[i].laters == MODEL_LINE)
        return;
    bool front = rand() % 8 == 0;
    model_insert(i, front, row);
    ck_assert_int_eq(front ? queue_push_front(queue, model_task(i, row))
                           : queue_push(queue, model_task(i, row)),
                     0);
}

static void try_push_later(int i, int64_t row)
{
    if (model.user[i].length + model.user[i].laters == MODEL_LINE)
        return;
    bool endless = rand() % 6 == 0;
    int64_t at = endless ? QUEUE_NEVER : now + rand() % 120 - 5;
    enum queue_reason reason = endless ? QUEUE_AFTER : (enum queue_reason)(rand() % QUEUE_AFTER);
    int last = model.user[i].laters++;
    model_know(i);
    model.user[i].later[last].row = row;
    model.user[i].later[last].at = at;
    model.user[i].later[last].reason = reason;
    model_move_due(i);
    ck_assert_int_eq(queue_push_later(queue, model_task(i, row), at, reason), 0);
}

static int model_find(int i, int64_t row)
{
    for (int j = 0; j < model.user[i].length; j++)
        if (model.user[i].line[j] == row)
            return j;
    return -1;
}

static int model_find_later(int i, int64_t row)
{
    for (int j = 0; j < model.user[i].laters; j++)
        if (model.user[i].later[j].row == row)
            return j;
    return -1;
}

/* One that waits, mostly. */
static int64_t any_row(int i)
{
    int length = model.user[i].length, laters = model.user[i].laters;
    int j = rand() % (length + laters + 1);
    if (j < length)
        return model.user[i].line[j];
    return j < length + laters ? model.user[i].later[j - length].row : -7;
}

static void try_remove(int i)
{
    int64_t row = any_row(i);
    int j = model_find(i, row), later = model_find_later(i, row);
    if (j >= 0) {
        model.user[i].length--;
        memmove(&model.user[i].line[j], &model.user[i].line[j + 1],
                (size_t)(model.user[i].length - j) * sizeof(row));
    } else if (later >= 0) {
        model_drop_later(i, later);
    }
    model_forget(i);
    ck_assert_int_eq(queue_remove(queue, row), j >= 0 || later >= 0 ? 0 : -ENOENT);
}

/* Among those whose hosts are free. */
static unsigned model_position(int i, int64_t row)
{
    unsigned before = 0;
    for (int j = 0; j < model.user[i].length && before < QUEUE_POSITION_MAX; j++) {
        bool free = model_host_free(host_of(model.user[i].line[j]));
        if (free && model.user[i].line[j] == row)
            return before + 1;
        before += free;
    }
    return 0;
}

/* Of several, in any order, of this user and of another. */
static void try_position(int i)
{
    int64_t far = 0;
    for (int n = 0; n < 6; n++) {
        int of = n % 3 ? i : (i + n) % MODEL_USERS;
        int64_t row = any_row(of);
        ck_assert_uint_eq(queue_position(queue, row, &far), model_position(of, row));
    }
}

static void try_take_after(int i)
{
    int64_t row = any_row(i);
    int later = model_find_later(i, row);
    struct queue_task got = {0};
    bool waits = later >= 0 && model.user[i].later[later].reason == QUEUE_AFTER;
    ck_assert_int_eq(queue_take_after(queue, row, &got), waits ? 0 : -ENOENT);
    if (!waits)
        return;
    ck_assert_mem_eq(&got, model_task(i, row), sizeof got);
    model_drop_later(i, later);
    model_forget(i);
}

static bool model_has_after(void)
{
    bool has = false;
    for (int i = 0; i < MODEL_USERS; i++)
        for (int j = 0; j < model.user[i].laters; j++)
            has = has || model.user[i].later[j].reason == QUEUE_AFTER;
    return has;
}

static void try_why(int i)
{
    int64_t row = any_row(i), until = 0, got_until;
    int later = model_find_later(i, row);
    enum queue_reason reason = QUEUE_SLOT, got_reason;
    if (later < 0 && model_find(i, row) < 0) {
        ck_assert_int_eq(queue_why(queue, row, &got_reason, &got_until), -ENOENT);
        return;
    }
    bool own = model_paused(i), common = model_paused(MODEL_USERS);
    int64_t own_until = model.user[i].until, common_until = model.user[MODEL_USERS].until;
    if (own && common) {
        bool endless = own_until == 0 || common_until == 0;
        until = endless ? 0 : own_until > common_until ? own_until : common_until;
    } else if (own || common) {
        until = own ? own_until : common_until;
    } else if (later >= 0 && !model.user[i].held) {
        until = model.user[i].later[later].at;
        until = until == QUEUE_NEVER ? 0 : until;
        reason = model.user[i].later[later].reason;
    } else if (!model.user[i].held && !model_host_free(host_of(row))) {
        int64_t host_until = model.host[host_of(row)].until;
        until = host_until > now ? host_until : 0;
        reason = QUEUE_HOST;
    }
    if (own || common)
        reason = QUEUE_PAUSED;
    else if (model.user[i].held)
        reason = QUEUE_STORAGE;
    why_is(row, reason, until);
}

static void try_release(int i)
{
    if (model.user[i].running == 0)
        return;
    int at = rand() % model.user[i].running;
    int64_t row = model.user[i].runs[at];
    model.user[i].runs[at] = model.user[i].runs[--model.user[i].running];
    model.user[i].turn = ++model.turns;
    model.host[host_of(row)].running--;
    model.running--;
    model.asked = false;
    model_forget(i);
    queue_release(queue, model_task(i, row));
}

static int model_at(int i, int host)
{
    int count = 0;
    for (int j = 0; j < model.user[i].running; j++)
        count += host_of(model.user[i].runs[j]) == host;
    return count;
}

/* Who would have a place at this host that user i gives back; -1: nobody. */
static int model_next_at(int i, int host)
{
    int best = -1;
    for (int u = 0; u < MODEL_USERS && !model_paused(MODEL_USERS); u++) {
        bool waits = false;
        for (int j = 0; j < model.user[u].length; j++)
            waits = waits || host_of(model.user[u].line[j]) == host;
        if (!waits || model.user[u].held || model_paused(u) ||
            model.user[u].running >= model.user[i].running)
            continue;
        if (best < 0 || model.user[u].running < model.user[best].running ||
            (model.user[u].running == model.user[best].running &&
             model.user[u].turn < model.user[best].turn))
            best = u;
    }
    return best;
}

static bool model_wants(int i, int host)
{
    int next = model.running >= model.slots ? model_best() : -1, has = 0, other = 0, most = 0;
    bool of_slots = next >= 0 && next != i;
    if (!of_slots && (model.running > model.slots || model.host[host].until > now ||
                      model.host[host].running < model.host_max))
        return false;
    if (!of_slots && (next = model_next_at(i, host)) < 0)
        return false;
    for (int u = 0; u < MODEL_USERS; u++) {
        int runs = of_slots ? model.user[u].running : model_at(u, host);
        most = runs > most ? runs : most;
        has = u == i ? runs : has;
        other = u == next ? runs : other;
    }
    return has - other >= 2 || (other == 0 && has == most);
}

static void try_wanting(int i)
{
    if (model.user[i].running == 0)
        return;
    int64_t row = model.user[i].runs[rand() % model.user[i].running];
    bool expected = !model.asked && model_wants(i, host_of(row));
    ck_assert(queue_wants_slot(queue, model_task(i, row)) == expected);
    model.asked = model.asked || expected;
    model.wanted += expected;
}

static void try_clear(int i)
{
    size_t expected = 0, count;
    int64_t *rows;
    ck_assert_int_eq(queue_clear(queue, model_uid(i), &rows, &count), 0);
    for (int u = 0; u < MODEL_USERS; u++) {
        if (i != MODEL_USERS && i != u)
            continue;
        int all = model.user[u].length + model.user[u].laters;
        for (int j = 0; j < all; j++, expected++) {
            int64_t row = j < model.user[u].length
                              ? model.user[u].line[j]
                              : model.user[u].later[j - model.user[u].length].row;
            bool found = false;
            for (size_t k = 0; k < count; k++)
                found = found || rows[k] == row;
            ck_assert(found);
        }
        model.user[u].length = 0;
        model.user[u].laters = 0;
        model_forget(u);
    }
    ck_assert_uint_eq(count, expected);
    free(rows);
}

static void try_pause(int i)
{
    model_know(i);
    model.user[i].paused = true;
    model.user[i].until = rand() % 2 ? 0 : now + rand() % 100;
    ck_assert_int_eq(queue_pause(queue, model_uid(i), model.user[i].until), 0);
}

static void try_resume(int i)
{
    bool was = model_paused(i);
    model.user[i].paused = false;
    model_forget(i);
    ck_assert_int_eq(queue_resume(queue, model_uid(i)), was);
}

static void try_tick(void)
{
    int64_t next = 0;
    now += rand() % 60;
    for (int i = 0; i < MODEL_USERS; i++) {
        model_move_due(i);
        for (int j = 0; j < model.user[i].laters; j++)
            if (model.user[i].later[j].at != QUEUE_NEVER &&
                (next == 0 || model.user[i].later[j].at < next))
                next = model.user[i].later[j].at;
    }
    for (int i = 0; i < MODEL_HOSTS; i++)
        if (model.host[i].until > now && (next == 0 || model.host[i].until < next))
            next = model.host[i].until;
    for (int i = 0; i <= MODEL_USERS; i++) {
        if (!model.user[i].paused || model.user[i].until == 0)
            continue;
        if (!model_paused(i))
            model.user[i].paused = false;
        else if (next == 0 || model.user[i].until < next)
            next = model.user[i].until;
        model_forget(i);
    }
    ck_assert_int_eq(queue_tick(queue), next);
}

static void try_hold(int i, bool on)
{
    if (on)
        model_know(i);
    model.user[i].held = on;
    model_forget(i);
    ck_assert_int_eq(queue_hold(queue, model_uid(i), QUEUE_HOLD_STORAGE, on), 0);
}

static void try_hold_host(int host)
{
    int64_t until = now + rand() % 80;
    if (model.host[host].until < until)
        model.host[host].until = until;
    ck_assert_int_eq(queue_hold_host(queue, (uint64_t)host << 40, until), 0);
}

static void try_shift(void)
{
    int64_t by = rand() % 101 - 50;
    for (int i = 0; i < MODEL_USERS; i++)
        for (int j = 0; j < model.user[i].laters; j++)
            if (model.user[i].later[j].reason == QUEUE_START_TIME)
                model.user[i].later[j].at += by;
    queue_shift_starts(queue, by);
    for (int i = 0; i < MODEL_USERS; i++)
        model_move_due(i);
}

static void try_anything(int64_t row)
{
    int user = rand() % MODEL_USERS, scope = rand() % 4 ? user : MODEL_USERS, what = rand() % 100;
    if (what < 20) {
        try_push(user, row);
    } else if (what < 28) {
        try_push_later(user, row);
    } else if (what < 30) {
        try_take_after(user);
    } else if (what < 32) {
        try_remove(user);
    } else if (what < 34) {
        try_why(user);
        try_position(user);
        try_wanting(user);
    } else if (what < 35) {
        try_shift();
    } else if (what < 72) {
        try_release(user);
    } else if (what < 74) {
        try_clear(scope);
    } else if (what < 78) {
        try_pause(scope);
    } else if (what < 86) {
        try_resume(scope);
    } else if (what < 91) {
        try_tick();
    } else if (what < 97) {
        try_hold(user, rand() % 3 == 0);
    } else if (what < 98) {
        try_hold_host(rand() % MODEL_HOSTS);
    } else if (what < 99) {
        model.host_max = 1 + (unsigned)rand() % 3;
        queue_set_host_max(queue, model.host_max);
    } else {
        model.slots = 1 + (unsigned)rand() % MODEL_SLOTS;
        queue_set_slots(queue, model.slots);
    }
}

/* After an operation: the popper has what the model says, or still waits. */
static void check_popper_locked(void)
{
    int next = model_next();
    if (popper.phase == IDLE && rand() % 2) {
        popper.worker = (unsigned)rand() % 7;
        popper.phase = ASKED;
        pthread_cond_broadcast(&popper.changed);
    }
    if (popper.phase == IDLE)
        return;
    bool canceled = popper.worker >= model.slots;
    if (next < 0 && !canceled) {
        ck_assert_int_eq(popper.phase, ASKED);
        return;
    }
    while (popper.phase != DONE)
        pthread_cond_wait(&popper.changed, &popper.lock);
    popper.phase = IDLE;
    ck_assert_int_eq(popper.r, canceled ? -ECANCELED : 0);
    if (canceled)
        return;
    ck_assert(popper.task.out_of_turn == model_keeps_some(next));
    popper.task.out_of_turn = false;
    int64_t row = model_start(next);
    ck_assert_int_eq(popper.task.row, row);
    ck_assert_mem_eq(&popper.task, model_task(next, row), sizeof(popper.task));
}

/* Seconds of a clock that never goes back; `now` is the queue's. */
static int64_t real_seconds(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec;
}

static void books(uid_t uid, size_t count, size_t max, int result)
{
    ck_assert_int_eq(queue_book(queue, uid, count, max), result);
}

START_TEST(what_waits_outside_counts_too)
{
    push(ALICE, 1);
    ck_assert_int_eq(queue_push_later(queue, task_of(ALICE, 2), 5000, QUEUE_RETRY), 0);
    books(ALICE, 2, 3, -EDQUOT);
    books(ALICE, 1, 3, 0);
    books(ALICE, 1, 3, -EDQUOT);
    books(BOB, 3, 3, 0); /* each for themselves */
    books(BOB, 1, 3, -EDQUOT);
    books(BOB, SIZE_MAX, SIZE_MAX, -EDQUOT);
    ck_assert_uint_eq(queue_length(queue, QUEUE_EVERYBODY), 2);
    ck_assert_uint_eq(queue_length(queue, BOB), 0);

    pops(ALICE, 1); /* it runs: it does not wait */
    books(ALICE, 1, 3, 0);
    queue_release(queue, task_of(ALICE, 0));
    queue_unbook(queue, ALICE, 2);
    books(ALICE, 2, 3, 0);
    queue_unbook(queue, BOB, 3);
    queue_unbook(queue, CAROL, 1); /* of whom nothing is known */
    books(BOB, 3, 3, 0);
}
END_TEST

/* Who has but PAUSED tasks comes as if they had none. */
START_TEST(what_waits_outside_gains_no_turn)
{
    books(CAROL, 1, 10, 0);
    push(ALICE, 1);
    push(BOB, 2);
    push(CAROL, 3);
    pops(ALICE, 1);
    pops(BOB, 2);
    pops(CAROL, 3);
}
END_TEST

START_TEST(agrees_with_a_model)
{
    pthread_t thread;
    const char *given = getenv("AUTODL_OPS");
    int64_t op, ops = given ? strtoll(given, NULL, 10) : MODEL_OPS;
    int64_t end = given ? INT64_MAX : real_seconds() + MODEL_TIME;
    srand(print_seed());
    model.slots = 3;
    model.host_max = 2;
    queue_set_slots(queue, 3);
    queue_set_host_max(queue, 2);
    ck_assert_int_eq(pthread_create(&thread, NULL, run_popper, NULL), 0);
    for (op = 0; op < ops && (op < MODEL_LEAST || real_seconds() < end); op++) {
        size_t total = 0;
        try_anything(op + 1);
        pthread_mutex_lock(&popper.lock);
        check_popper_locked();
        pthread_mutex_unlock(&popper.lock);
        for (int i = 0; i < MODEL_USERS; i++)
            total += (size_t)(model.user[i].length + model.user[i].laters);
        ck_assert_uint_eq(queue_length(queue, QUEUE_EVERYBODY), total);
        ck_assert_uint_eq(queue_length(queue, model_uid(0)),
                          (size_t)(model.user[0].length + model.user[0].laters));
        ck_assert_int_eq(queue_has_after(queue), model_has_after());
    }
    printf("# %lld operations\n", (long long)op);
    if (op >= MODEL_LEAST)
        ck_assert_uint_gt(model.wanted, 0);
    fflush(stdout);
    queue_close(queue);
    pthread_mutex_lock(&popper.lock);
    while (popper.phase == ASKED)
        pthread_cond_wait(&popper.changed, &popper.lock);
    popper.phase = END;
    pthread_cond_broadcast(&popper.changed);
    pthread_mutex_unlock(&popper.lock);
    pthread_join(thread, NULL);
}
END_TEST

/*
 * Threads at once: pushing, popping, putting back, putting off, removing, clearing, pausing,
 * resizing. Each row comes out
 * exactly once, and while the number of slots stands no more run than that.
 */

#define PUSHERS 2
#define WORKERS 4
#define ROWS    40000

static struct {
    atomic_uchar ended[ROWS];
    atomic_int left;
    atomic_int running;
    atomic_uint limit;
    atomic_uint generation; /* odd: the number of slots is about to change */
    bool time_goes_by;
} crowd;

static void end_row(int64_t row)
{
    ck_assert_int_eq(atomic_fetch_add(&crowd.ended[row], 1), 0);
    atomic_fetch_sub(&crowd.left, 1);
}

static void *run_pusher(void *data)
{
    int first = *(int *)data;
    for (int64_t row = first; row < ROWS; row += PUSHERS) {
        int r = queue_push(queue, task_of((uid_t)(1000 + row % 5), row));
        ck_assert_int_eq(r, 0);
        if (row % 64 < PUSHERS)
            sched_yield();
    }
    return NULL;
}

/* Takes tasks until the queue is closed; comes back when it was sent away and is wanted again. */
static void *run_worker(void *data)
{
    unsigned worker = *(unsigned *)data;
    for (int turn = 1;; turn++) {
        struct queue_task task;
        unsigned generation = crowd.generation;
        int r = queue_pop(queue, worker, &task);
        uid_t uid = task.uid;
        int64_t row = task.row;
        if (r == -ESHUTDOWN)
            return NULL;
        if (r == -ECANCELED) {
            sched_yield();
            continue;
        }
        ck_assert_int_eq(r, 0);
        ck_assert_uint_eq(uid, (uid_t)(1000 + row % 5));
        unsigned running = (unsigned)atomic_fetch_add(&crowd.running, 1) + 1;
        unsigned limit = crowd.limit;
        if (generation % 2 == 0 && generation == crowd.generation)
            ck_assert_uint_le(running, limit);
        if (turn % 16 == 0)
            sched_yield();
        if (turn % 10 == 0)
            ck_assert_int_eq(queue_push_front(queue, task_of(uid, row)), 0);
        else if (turn % 10 == 5 && crowd.time_goes_by)
            ck_assert_int_eq(
                queue_push_later(queue, task_of(uid, row), now + turn % 64, QUEUE_RETRY), 0);
        else
            end_row(row);
        atomic_fetch_sub(&crowd.running, 1);
        queue_release(queue, task_of(uid, 0));
    }
}

static void *run_clearer(void *unused)
{
    (void)unused;
    for (int i = 0; crowd.left > 0; i++) {
        int64_t *rows;
        size_t count;
        for (int pause = 0; pause < 50; pause++)
            sched_yield();
        uid_t uid = i % 10 ? (uid_t)(1000 + i % 5) : QUEUE_EVERYBODY;
        ck_assert_int_eq(queue_clear(queue, uid, &rows, &count), 0);
        for (size_t j = 0; j < count; j++)
            end_row(rows[j]);
        free(rows);
    }
    return NULL;
}

static void *run_remover(void *unused)
{
    (void)unused;
    enum queue_reason reason;
    int64_t until;
    for (int64_t row = 0; crowd.left > 0; row = (row + 7919) % ROWS) {
        if (queue_why(queue, row, &reason, &until) == 0 && row % 3 == 0 &&
            queue_remove(queue, row) == 0)
            end_row(row);
        sched_yield();
    }
    return NULL;
}

/* What waits for its time never runs, if nobody ticks. */
static void *run_ticker(void *unused)
{
    (void)unused;
    while (crowd.left > 0) {
        int64_t next = queue_tick(queue);
        now += next && next < now + 16 ? next - now : 16;
        sched_yield();
    }
    return NULL;
}

static void change_slots(unsigned slots)
{
    crowd.generation++;
    queue_set_slots(queue, slots);
    while ((unsigned)crowd.running > slots)
        sched_yield();
    crowd.limit = slots;
    crowd.generation++;
}

static void *run_disturber(void *unused)
{
    (void)unused;
    for (int i = 0; crowd.left > 0; i++) {
        uid_t scope = i % 3 ? (uid_t)(1000 + i % 5) : QUEUE_EVERYBODY;
        change_slots(1 + (unsigned)i % WORKERS);
        for (int pause = 0; pause < 20; pause++)
            sched_yield();
        ck_assert_int_eq(queue_pause(queue, scope, 0), 0);
        ck_assert_int_eq(queue_hold(queue, 1000, QUEUE_HOLD_STORAGE, i % 2), 0);
        sched_yield();
        ck_assert(queue_resume(queue, scope));
    }
    ck_assert_int_eq(queue_hold(queue, 1000, QUEUE_HOLD_STORAGE, false), 0);
    return NULL;
}

START_TEST(every_row_comes_out_once)
{
    pthread_t pushers[PUSHERS], workers[WORKERS], others[4];
    void *(*const other_runs[4])(void *) = {run_clearer, run_remover, run_ticker, run_disturber};
    int firsts[PUSHERS];
    unsigned numbers[WORKERS];
    crowd.left = ROWS;
    crowd.time_goes_by = true;
    change_slots(WORKERS);
    for (unsigned i = 0; i < WORKERS; i++) {
        numbers[i] = i;
        ck_assert_int_eq(pthread_create(&workers[i], NULL, run_worker, &numbers[i]), 0);
    }
    for (int i = 0; i < PUSHERS; i++) {
        firsts[i] = i;
        ck_assert_int_eq(pthread_create(&pushers[i], NULL, run_pusher, &firsts[i]), 0);
    }
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&others[i], NULL, other_runs[i], NULL), 0);
    for (int i = 0; i < PUSHERS; i++)
        pthread_join(pushers[i], NULL);
    for (int i = 0; i < 4; i++)
        pthread_join(others[i], NULL);
    queue_close(queue);
    for (int i = 0; i < WORKERS; i++)
        pthread_join(workers[i], NULL);
    for (int i = 0; i < ROWS; i++)
        ck_assert_int_eq(crowd.ended[i], 1);
    ck_assert_int_eq(crowd.running, 0);
}
END_TEST

/* A task at a time, each of which must wake a worker, while workers are sent away and come back. */
START_TEST(no_wake_up_is_lost)
{
    pthread_t workers[WORKERS];
    unsigned numbers[WORKERS];
    change_slots(WORKERS);
    crowd.left = ROWS / 4;
    for (unsigned i = 0; i < WORKERS; i++) {
        numbers[i] = i;
        ck_assert_int_eq(pthread_create(&workers[i], NULL, run_worker, &numbers[i]), 0);
    }
    for (int row = 0; row < ROWS / 4; row++) {
        queue_set_slots(queue, 1 + (unsigned)row % WORKERS);
        push((uid_t)(1000 + row % 5), row);
        while (!crowd.ended[row])
            sched_yield();
    }
    queue_close(queue);
    for (int i = 0; i < WORKERS; i++)
        pthread_join(workers[i], NULL);
    ck_assert_int_eq(crowd.left, 0);
}
END_TEST

static Suite *suite(void)
{
    Suite *suite = suite_create("queue");
    TCase *tcase = tcase_create("queue");
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    const char *ops = getenv("AUTODL_OPS");
    tcase_set_timeout(tcase,
                      300 + (ops ? strtod(ops, NULL) / 1000
                                 : 0)); /* for what hangs; threads that yield are slow under load */
    tcase_add_test(tcase, first_in_first_out);
    tcase_add_test(tcase, what_is_behind_one_far_back_is_far_back);
    tcase_add_test(tcase, put_back_goes_to_the_head);
    tcase_add_test(tcase, fewest_running_goes_first);
    tcase_add_test(tcase, turns_go_round);
    tcase_add_test(tcase, one_at_a_time_neither_waits_long_nor_starves_others);
    tcase_add_test(tcase, idle_users_are_forgotten);
    tcase_add_test(tcase, pause_of_a_user);
    tcase_add_test(tcase, pause_of_everybody);
    tcase_add_test(tcase, pauses_end_on_time);
    tcase_add_test(tcase, a_second_pause_replaces_the_first);
    tcase_add_test(tcase, a_dead_file_system_holds_its_user_only);
    tcase_add_test(tcase, each_reason_holds_for_itself);
    tcase_add_test(tcase, clear_gives_the_rows);
    tcase_add_test(tcase, close_wakes_everybody);
    tcase_add_test(tcase, fewer_slots_send_workers_away);
    tcase_add_test(tcase, later_ones_wait_for_their_time);
    tcase_add_test(tcase, due_ones_go_to_the_head_in_their_order);
    tcase_add_test(tcase, pop_looks_at_the_time_itself);
    tcase_add_test(tcase, pop_looks_at_one_moment);
    tcase_add_test(tcase, later_ones_are_still_held_back);
    tcase_add_test(tcase, removed_ones_do_not_come);
    tcase_add_test(tcase, why_tells_the_strongest_reason);
    tcase_add_test(tcase, clear_takes_later_ones_too);
    tcase_add_test(tcase, closed_takes_no_later_ones);
    tcase_add_test(tcase, what_waits_outside_counts_too);
    tcase_add_test(tcase, what_waits_outside_gains_no_turn);
    tcase_add_test(tcase, priority_goes_first_within_a_user);
    tcase_add_test(tcase, a_place_at_a_host_is_wanted_by_who_runs_fewer);
    tcase_add_test(tcase, no_place_is_wanted_in_vain);
    tcase_add_test(tcase, a_place_given_back_goes_to_the_other);
    tcase_add_test(tcase, a_busy_host_is_passed_over);
    tcase_add_test(tcase, a_host_that_asked_for_patience_is_left_alone);
    tcase_add_test(tcase, start_times_follow_the_wall_clock);
    tcase_add_test(tcase, what_waits_for_another);
    tcase_add_test(tcase, a_slot_is_wanted_by_who_runs_fewer);
    tcase_add_test(tcase, a_slot_given_back_goes_to_the_other);
    tcase_add_test(tcase, a_waiting_task_costs_little);
    tcase_add_test(tcase, agrees_with_a_model);
    tcase_add_test(tcase, every_row_comes_out_once);
    tcase_add_test(tcase, no_wake_up_is_lost);
    suite_add_tcase(suite, tcase);
    return suite;
}

int main(void)
{
    return tap_main(suite());
}
