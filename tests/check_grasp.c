#include <pthread.h>

#include "common/units.h"
#include "grasp.h"
#include "tap.h"

START_TEST(one_verb_has_a_task)
{
    struct grasps *grasps;
    struct grasp one = {0}, other = {0};
    ck_assert_int_eq(grasps_create(&grasps), 0);
    ck_assert(grasp_one(grasps, &one, 5));
    ck_assert(!grasp_one(grasps, &other, 5));
    ck_assert(grasp_one(grasps, &other, 6));
    grasp_let_go(grasps, &one);
    grasp_let_go(grasps, &one); /* it has none */
    ck_assert(grasp_one(grasps, &one, 5));
    grasp_let_go(grasps, &one);
    grasp_let_go(grasps, &other);
    grasps_destroy(grasps);
}
END_TEST

/* Those that a verb for one has still are told; nobody new gets any of them. */
START_TEST(many_and_one)
{
    static const int64_t rows[] = {2, 5, 9}, others[] = {1, 3, 9}, apart[] = {1, 3, 10};
    struct grasps *grasps;
    struct grasp one = {0}, other = {0};
    struct grasp_many many = {0}, second = {0}, third = {0};
    int64_t missing[3];
    ck_assert_int_eq(grasps_create(&grasps), 0);
    ck_assert(grasp_one(grasps, &one, 5));
    ck_assert(grasp_one(grasps, &other, 4));
    ck_assert(grasp_many(grasps, &many, rows, 3, 0));
    ck_assert(!grasp_many_is_whole(grasps, &many, 0));
    ck_assert_uint_eq(grasp_many_missing(grasps, &many, missing), 1);
    ck_assert_int_eq(missing[0], 5);
    grasp_let_go(grasps, &one);
    ck_assert(grasp_many_is_whole(grasps, &many, 0));
    ck_assert_uint_eq(grasp_many_missing(grasps, &many, missing), 0);
    for (size_t i = 0; i < 3; i++)
        ck_assert(!grasp_one(grasps, &one, rows[i]));
    ck_assert(!grasp_many(grasps, &second, others, 3, 0));
    ck_assert(grasp_many(grasps, &third, apart, 3, 0));
    grasp_many_let_go(grasps, &second); /* it has none */
    grasp_many_let_go(grasps, &many);
    ck_assert(grasp_one(grasps, &one, 9));
    grasp_many_let_go(grasps, &third);
    ck_assert(grasp_many(grasps, &second, others, 3, 0));
    grasp_many_let_go(grasps, &second);
    grasp_let_go(grasps, &one);
    grasp_let_go(grasps, &other);
    grasps_destroy(grasps);
}
END_TEST

struct holders {
    struct grasps *grasps;
    struct grasp *one;
    struct grasp_many *many;
};

static void *let_go(void *data)
{
    const struct holders *holders = data;
    grasp_many_let_go(holders->grasps, holders->many);
    grasp_let_go(holders->grasps, holders->one);
    return NULL;
}

/* Who waits goes on as soon as the others have let go, long before the time is up. */
START_TEST(others_are_waited_for)
{
    static const int64_t rows[] = {2, 5}, others[] = {5, 9};
    struct grasps *grasps;
    struct grasp one = {0};
    struct grasp_many many = {0}, second = {0};
    pthread_t thread;
    ck_assert_int_eq(grasps_create(&grasps), 0);
    ck_assert(grasp_one(grasps, &one, 9));
    ck_assert(grasp_many(grasps, &many, rows, 2, 0));
    struct holders holders = {grasps, &one, &many};
    int64_t begin = units_now_boottime();
    ck_assert(!grasp_many(grasps, &second, others, 2, 50));
    ck_assert_int_ge(units_now_boottime() - begin, 50);
    ck_assert_int_eq(pthread_create(&thread, NULL, let_go, &holders), 0);
    ck_assert(grasp_many(grasps, &second, others, 2, 60000));
    ck_assert(grasp_many_is_whole(grasps, &second, 60000));
    pthread_join(thread, NULL);
    ck_assert_int_lt(units_now_boottime() - begin, 30000);
    grasp_many_let_go(grasps, &second);
    grasps_destroy(grasps);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("grasp");
    TCase *tcase = tcase_create("grasp");
    tcase_add_test(tcase, one_verb_has_a_task);
    tcase_add_test(tcase, many_and_one);
    tcase_add_test(tcase, others_are_waited_for);
    suite_add_tcase(suite, tcase);
    return tap_main(suite);
}
