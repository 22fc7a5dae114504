#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "core/stats.h"
#include "tap.h"

static struct stats *stats;

static void set_up(void)
{
    ck_assert_int_eq(stats_create(&stats), 0);
}

static void tear_down(void)
{
    stats_destroy(stats);
    stats_destroy(NULL);
}

static uint64_t total_at(int64_t now)
{
    struct stats_snapshot snapshot;
    stats_read(stats, now, &snapshot);
    return snapshot.responses_total;
}

START_TEST(starts_empty)
{
    struct stats_snapshot snapshot;
    stats_read(stats, 5000000, &snapshot);
    ck_assert_uint_eq(snapshot.responses_total, 0);
    ck_assert_uint_eq(snapshot.codes, 0);
    for (int i = 0; i < TASK_STATES; i++)
        ck_assert_uint_eq(snapshot.tasks[i], 0);
}
END_TEST

START_TEST(counts_tasks)
{
    struct stats_snapshot snapshot;
    stats_enter(stats, TASK_ENQUEUED, 3);
    stats_move(stats, TASK_ENQUEUED, TASK_DOWNLOADING, 1);
    stats_move(stats, TASK_ENQUEUED, TASK_CLEARED, 2);
    stats_move(stats, TASK_CLEARED, TASK_CLEARED, 2);
    stats_read(stats, 0, &snapshot);
    ck_assert_uint_eq(snapshot.tasks[TASK_ENQUEUED], 0);
    ck_assert_uint_eq(snapshot.tasks[TASK_DOWNLOADING], 1);
    ck_assert_uint_eq(snapshot.tasks[TASK_CLEARED], 2);
}
END_TEST

/* One ended in this run, the other one before it. */
START_TEST(retried_ones_of_an_earlier_run)
{
    struct stats_snapshot snapshot;
    stats_enter(stats, TASK_FAILED, 1);
    stats_move(stats, TASK_FAILED, TASK_ENQUEUED, 1);
    stats_move(stats, TASK_FAILED, TASK_ENQUEUED, 1);
    stats_read(stats, 0, &snapshot);
    ck_assert_uint_eq(snapshot.tasks[TASK_FAILED], 0);
    ck_assert_uint_eq(snapshot.tasks[TASK_ENQUEUED], 2);
}
END_TEST

START_TEST(window_has_exact_edges)
{
    const int64_t start = 1000000 * (int64_t)1000;
    stats_response(stats, 200, start + 999);
    ck_assert_uint_eq(total_at(start + 999), 1);
    ck_assert_uint_eq(total_at(start + 599 * 1000), 1);
    ck_assert_uint_eq(total_at(start + 599 * 1000 + 999), 1);
    ck_assert_uint_eq(total_at(start + 600 * 1000), 0);
}
END_TEST

START_TEST(window_slides_second_by_second)
{
    for (int s = 0; s < 2000; s++) {
        stats_response(stats, 200, s * (int64_t)1000);
        ck_assert_uint_eq(total_at(s * (int64_t)1000), s < 600 ? s + 1 : 600);
    }
    for (int s = 2000; s < 2600; s++)
        ck_assert_uint_eq(total_at(s * (int64_t)1000), 2599 - s);
}
END_TEST

START_TEST(a_long_silence_empties_it)
{
    for (int s = 0; s < 600; s++)
        stats_response(stats, 200, s * (int64_t)1000);
    ck_assert_uint_eq(total_at(599 * 1000), 600);
    ck_assert_uint_eq(total_at(5000 * 1000), 0);
    stats_response(stats, 404, 5000 * 1000);
    ck_assert_uint_eq(total_at(INT64_MAX), 0);
    stats_response(stats, 404, INT64_MAX);
    ck_assert_uint_eq(total_at(INT64_MAX), 1);
}
END_TEST

START_TEST(time_going_back_breaks_nothing)
{
    stats_response(stats, 200, 5000000);
    stats_response(stats, 200, 1000);
    stats_response(stats, 200, -1000);
    ck_assert_uint_eq(total_at(1000), 3);
    ck_assert_uint_eq(total_at(5000000 + 599999), 3);
    ck_assert_uint_eq(total_at(5000000 + 600000), 0);
}
END_TEST

START_TEST(codes_are_apart_and_ascending)
{
    static const int codes[] = {404, 200, 301, 999, 200, 100, 404, 404};
    static const int ordered[] = {100, 200, 301, 404, 999};
    static const unsigned counts[] = {1, 2, 1, 3, 1};
    struct stats_snapshot snapshot;
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
        stats_response(stats, codes[i], 1000);
    stats_response(stats, 302, 1000 + 599000);
    stats_read(stats, 1000 + 599000, &snapshot);
    ck_assert_uint_eq(snapshot.codes, 6);

    stats_read(stats, 1000 + 600000, &snapshot);
    ck_assert_uint_eq(snapshot.codes, 1);
    ck_assert_int_eq(snapshot.by_code[0].code, 302);
    ck_assert_uint_eq(snapshot.responses_total, 1);

    stats_read(stats, 1000 + 600000 + 599000, &snapshot);
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
        stats_response(stats, codes[i], 10000000);
    stats_read(stats, 10000000, &snapshot);
    ck_assert_uint_eq(snapshot.codes, 5);
    ck_assert_uint_eq(snapshot.responses_total, 8);
    for (unsigned i = 0; i < 5; i++) {
        ck_assert_int_eq(snapshot.by_code[i].code, ordered[i]);
        ck_assert_uint_eq(snapshot.by_code[i].count, counts[i]);
    }
}
END_TEST

START_TEST(codes_beyond_the_bound_are_in_the_total)
{
    struct stats_snapshot snapshot;
    for (int code = 900; code > 900 - STATS_CODES_MAX - 10; code--)
        stats_response(stats, code, 1000);
    stats_read(stats, 1000, &snapshot);
    ck_assert_uint_eq(snapshot.codes, STATS_CODES_MAX);
    ck_assert_uint_eq(snapshot.responses_total, STATS_CODES_MAX + 10);
    ck_assert_int_eq(snapshot.by_code[0].code, 900 - STATS_CODES_MAX + 1);

    /* Ten minutes later the columns are for whoever comes. */
    stats_response(stats, 200, 601000);
    stats_read(stats, 601000, &snapshot);
    ck_assert_uint_eq(snapshot.responses_total, 1);
    ck_assert_uint_eq(snapshot.codes, 1);
    ck_assert_int_eq(snapshot.by_code[0].code, 200);
}
END_TEST

#define EVENTS 20000

START_TEST(agrees_with_a_naive_count)
{
    static struct {
        int code;
        int64_t second;
    } seen[EVENTS];
    unsigned seed = (unsigned)time(NULL);
    printf("# seed %u\n", seed);
    fflush(stdout);
    srand(seed);
    int64_t now = 12345678;
    for (int i = 0; i < EVENTS; i++) {
        now += rand() % 100 ? rand() % 3000 : rand() % 700000;
        seen[i].code = 200 + rand() % 20;
        seen[i].second = now / 1000;
        stats_response(stats, seen[i].code, now);
        if (i % 50)
            continue;
        struct stats_snapshot snapshot;
        uint64_t expected[20] = {0}, total = 0;
        for (int j = i; j >= 0 && seen[j].second > now / 1000 - 600; j--, total++)
            expected[seen[j].code - 200]++;
        stats_read(stats, now, &snapshot);
        ck_assert_msg(snapshot.responses_total == total, "seed %u, event %d", seed, i);
        for (unsigned c = 0; c < snapshot.codes; c++)
            ck_assert_msg(snapshot.by_code[c].count == expected[snapshot.by_code[c].code - 200],
                          "seed %u, event %d, code %d", seed, i, snapshot.by_code[c].code);
    }
}
END_TEST

/* Steps of ten seconds that begin at whole tens; the newest is the last. */
START_TEST(series_in_steps)
{
    struct stats_series series;
    stats_read_series(stats, 1000, &series); /* soon after the boot */
    ck_assert_uint_eq(series.bytes[59], 0);
    stats_bytes(stats, 100, 1000999);
    stats_bytes(stats, 20, 1009999);
    stats_bytes(stats, 3, 1010000);
    stats_response(stats, 200, 1010000);
    stats_response(stats, 404, 1015000);
    stats_read_series(stats, 1019000, &series);
    ck_assert_uint_eq(series.bytes[58], 120);
    ck_assert_uint_eq(series.bytes[59], 3);
    ck_assert_uint_eq(series.responses[59], 2);
    ck_assert_uint_eq(series.responses[58], 0);
    stats_read_series(stats, 1020000, &series);
    ck_assert_uint_eq(series.bytes[57], 120);
    ck_assert_uint_eq(series.bytes[59], 0);
    stats_read_series(stats, 1599999, &series);
    ck_assert_uint_eq(series.bytes[0], 120);
    ck_assert_uint_eq(series.responses[1], 2);
    stats_read_series(stats, 1600000, &series); /* the oldest is out */
    ck_assert_uint_eq(series.bytes[0], 3);
    stats_read_series(stats, 1609999, &series);
    ck_assert_uint_eq(series.bytes[0], 3);
    stats_read_series(stats, 1610000, &series);
    for (int i = 0; i < STATS_STEPS; i++)
        ck_assert_uint_eq(series.bytes[i] + series.responses[i], 0);
}
END_TEST

static void *count_many(void *unused)
{
    (void)unused;
    struct stats_snapshot snapshot;
    for (int i = 0; i < 5000; i++) {
        stats_response(stats, 200 + i % 7, i);
        stats_enter(stats, TASK_ENQUEUED, 1);
        stats_move(stats, TASK_ENQUEUED, TASK_FINISHED, 1);
        if (i % 100 == 0)
            stats_read(stats, i, &snapshot);
    }
    return NULL;
}

START_TEST(threads_lose_nothing)
{
    pthread_t threads[4];
    struct stats_snapshot snapshot;
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, count_many, NULL), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    stats_read(stats, 5000, &snapshot);
    ck_assert_uint_eq(snapshot.responses_total, 20000);
    ck_assert_uint_eq(snapshot.tasks[TASK_FINISHED], 20000);
    ck_assert_uint_eq(snapshot.tasks[TASK_ENQUEUED], 0);
}
END_TEST

static Suite *suite(void)
{
    Suite *suite = suite_create("stats");
    TCase *tcase = tcase_create("stats");
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, starts_empty);
    tcase_add_test(tcase, counts_tasks);
    tcase_add_test(tcase, retried_ones_of_an_earlier_run);
    tcase_add_test(tcase, window_has_exact_edges);
    tcase_add_test(tcase, window_slides_second_by_second);
    tcase_add_test(tcase, a_long_silence_empties_it);
    tcase_add_test(tcase, time_going_back_breaks_nothing);
    tcase_add_test(tcase, codes_are_apart_and_ascending);
    tcase_add_test(tcase, codes_beyond_the_bound_are_in_the_total);
    tcase_add_test(tcase, agrees_with_a_naive_count);
    tcase_add_test(tcase, series_in_steps);
    tcase_add_test(tcase, threads_lose_nothing);
    suite_add_tcase(suite, tcase);
    return suite;
}

int main(void)
{
    return tap_main(suite());
}
