#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "tap.h"
#include "transfer/ratelimit.h"

#define SECOND INT64_C(1000000000) /* ns */
#define CHUNK  16384               /* bytes that a reader has at a time */
#define MANY   10

static struct ratelimit limit;

static void set_up(void)
{
    ratelimit_init(&limit, 0);
}

static void tear_down(void)
{
    ratelimit_release(&limit);
}

static void assert_within(double is, double wanted, double share)
{
    ck_assert_msg(is > wanted * (1 - share) && is < wanted * (1 + share), "%.0f is not %.0f", is,
                  wanted);
}

/* Readers on a clock of our own. Each waits for its turn, then has its bytes, then needs `pause`
 * until the next. */
struct reader {
    size_t bytes; /* of its turn */
    double turn;
    int64_t again_at; /* it asks then; INT64_MAX: it waits for its turn */
    int64_t pause;
    double passed;
};

static int64_t now;

static void ask(struct reader *reader)
{
    reader->bytes = ratelimit_portion(&limit, CHUNK);
    reader->turn = ratelimit_take(&limit, reader->bytes, now);
    reader->again_at = INT64_MAX;
}

static int64_t next_event(const struct reader *reader)
{
    if (reader->again_at != INT64_MAX)
        return reader->again_at;
    return now + ratelimit_left(&limit, reader->turn, now);
}

static void run(struct reader *readers, int count, int64_t until)
{
    for (;;) {
        int next = 0;
        for (int i = 1; i < count; i++)
            if (next_event(&readers[i]) < next_event(&readers[next]))
                next = i;
        int64_t at = next_event(&readers[next]);
        if (at > until)
            break;
        now = at > now ? at : now;
        if (readers[next].again_at != INT64_MAX) {
            ask(&readers[next]);
        } else {
            readers[next].passed += (double)readers[next].bytes;
            readers[next].again_at = now + readers[next].pause;
        }
    }
    now = until;
}

static double sum(const struct reader *readers, int count)
{
    double all = 0;
    for (int i = 0; i < count; i++)
        all += readers[i].passed;
    return all;
}

static const int64_t rates[] = {1000, 20000, 1 << 20, 100 << 20};

/* 5 s: less than 5 % off, for one and for ten, and each has its share. */
START_TEST(keeps_the_rate)
{
    for (int count = 1; count <= MANY; count += MANY - 1) {
        struct reader readers[MANY] = {0};
        now += 3600 * SECOND; /* what was not used for long is not saved up */
        ratelimit_set(&limit, rates[_i]);
        int64_t begin = now;
        run(readers, count, begin + 5 * SECOND);
        double slack = rates[_i] < 20000 ? 0.15 : 0.05; /* few portions: some are under way */
        assert_within(sum(readers, count), 5.0 * (double)rates[_i], slack);
        for (int i = 0; i < count; i++) { /* who comes first has what was saved up */
            double share = 5.0 * (double)rates[_i] / count;
            ck_assert_double_ge(readers[i].passed, share * 0.95 - CHUNK / 8.0);
            ck_assert_double_le(readers[i].passed, share * 1.02 + 0.05 * (double)rates[_i] + 1000);
        }
    }
}
END_TEST

/* Two that are slow themselves have what they can take; the fast one has the rest, and no more. */
START_TEST(the_fast_one_has_the_rest)
{
    struct reader readers[3] = {{.pause = SECOND}, {.pause = SECOND / 2}, {0}};
    ratelimit_set(&limit, 1 << 20);
    run(readers, 3, 10 * SECOND);
    ck_assert_double_ge(readers[0].passed, 9 * CHUNK);
    ck_assert_double_ge(readers[1].passed, 18 * CHUNK);
    assert_within(sum(readers, 3), 10.0 * (1 << 20), 0.05);
}
END_TEST

START_TEST(turns_come_in_the_order_of_asking)
{
    double turns[MANY];
    ratelimit_set(&limit, 16384);
    now = 100 * SECOND;
    ratelimit_left(&limit, ratelimit_take(&limit, 819, now), now); /* what was saved up */
    for (int i = 0; i < MANY; i++)
        turns[i] = ratelimit_take(&limit, 16384, now);
    for (int i = 0; i < MANY; i++) {
        int64_t left = ratelimit_left(&limit, turns[i], now);
        assert_within((double)left, (double)((i + 1) * SECOND), 0.01);
    }
    now += 5 * SECOND + SECOND / 100;
    for (int i = 0; i < MANY; i++)
        ck_assert_int_eq(ratelimit_left(&limit, turns[i], now) == 0, i < 5);
}
END_TEST

START_TEST(a_changed_rate_counts_at_once)
{
    ratelimit_set(&limit, 1000);
    now = 100 * SECOND;
    double turn = ratelimit_take(&limit, 100000, now);
    assert_within((double)ratelimit_left(&limit, turn, now), 100.0 * SECOND, 0.01);
    ratelimit_set(&limit, 100000);
    assert_within((double)ratelimit_left(&limit, turn, now), 1.0 * SECOND, 0.01);
    ratelimit_set(&limit, 10);
    assert_within((double)ratelimit_left(&limit, turn, now), 10000.0 * SECOND, 0.01);
    ratelimit_set(&limit, 0);
    ck_assert_int_eq(ratelimit_left(&limit, turn, now), 0);
    ck_assert_int_eq(ratelimit_get(&limit), 0);
    ratelimit_set(&limit, INT64_MAX);
    ck_assert_int_le(ratelimit_left(&limit, turn, now), 1);
    ratelimit_set(&limit, 1);
    turn = ratelimit_take(&limit, SIZE_MAX / 2, now);
    ck_assert_int_gt(ratelimit_left(&limit, turn, now), 1000 * SECOND);
}
END_TEST

START_TEST(portions)
{
    ck_assert_uint_eq(ratelimit_portion(&limit, 100000), 100000); /* no rate */
    ratelimit_set(&limit, 1);
    ck_assert_uint_eq(ratelimit_portion(&limit, 100000), 512);
    ck_assert_uint_eq(ratelimit_portion(&limit, 5), 5);
    ratelimit_set(&limit, 20000);
    ck_assert_uint_eq(ratelimit_portion(&limit, 100000), 1000);
    ratelimit_set(&limit, INT64_MAX);
    ck_assert_uint_eq(ratelimit_portion(&limit, 100000), 16384);
}
END_TEST

/* The real clock. */

static int64_t monotonic(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * SECOND + time.tv_nsec;
}

static bool never(void *unused)
{
    (void)unused;
    return false;
}

static struct crowd {
    struct ratelimit limit;
    int64_t until;
    atomic_llong passed;
    pthread_t threads[MANY];
} crowds[2];

static void *read_on(void *data)
{
    struct crowd *crowd = data;
    while (monotonic() < crowd->until) {
        size_t bytes = ratelimit_portion(&crowd->limit, CHUNK);
        ck_assert(ratelimit_pass(&crowd->limit, bytes, never, NULL));
        atomic_fetch_add(&crowd->passed, (long long)bytes);
    }
    return NULL;
}

START_TEST(threads_keep_it_too)
{
    static const int counts[] = {1, MANY};
    for (int i = 0; i < 2; i++) {
        ratelimit_init(&crowds[i].limit, 2 << 20);
        crowds[i].until = monotonic() + 5 * SECOND;
        for (int j = 0; j < counts[i]; j++)
            ck_assert_int_eq(pthread_create(&crowds[i].threads[j], NULL, read_on, &crowds[i]), 0);
    }
    for (int i = 0; i < 2; i++) {
        for (int j = 0; j < counts[i]; j++)
            pthread_join(crowds[i].threads[j], NULL);
        double error = (double)crowds[i].passed / (5.0 * (2 << 20)) - 1;
        printf("# %d thread%s: %+.2f %% off\n", counts[i], counts[i] > 1 ? "s" : "", 100 * error);
        fflush(stdout);
        ck_assert_double_gt(error, -0.05);
        ck_assert_double_lt(error, 0.05);
        ratelimit_release(&crowds[i].limit);
    }
}
END_TEST

static bool third_time(void *data)
{
    int *times = data;
    return ++*times == 3;
}

START_TEST(a_wait_looks_round)
{
    int times = 0;
    ratelimit_set(&limit, 1);
    int64_t begin = monotonic();
    ck_assert(!ratelimit_pass(&limit, CHUNK, third_time, &times));
    ck_assert_int_ge(monotonic() - begin, 3 * RATELIMIT_SLICE);
    ck_assert_int_le(monotonic() - begin, 3 * RATELIMIT_SLICE + SECOND / 2);
    ratelimit_set(&limit, 0);
    begin = monotonic();
    ck_assert(ratelimit_pass(&limit, CHUNK, third_time, &times));
    ck_assert_int_eq(times, 3);
}
END_TEST

static Suite *suite(void)
{
    Suite *suite = suite_create("ratelimit");
    TCase *tcase = tcase_create("ratelimit");
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, keeps_the_rate, 0, sizeof rates / sizeof *rates);
    tcase_add_test(tcase, the_fast_one_has_the_rest);
    tcase_add_test(tcase, turns_come_in_the_order_of_asking);
    tcase_add_test(tcase, a_changed_rate_counts_at_once);
    tcase_add_test(tcase, portions);
    tcase_add_test(tcase, threads_keep_it_too);
    tcase_add_test(tcase, a_wait_looks_round);
    suite_add_tcase(suite, tcase);
    return suite;
}

int main(void)
{
    return tap_main(suite());
}
