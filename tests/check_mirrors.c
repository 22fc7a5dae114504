#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mirrors.h"
#include "tap.h"

static struct task task;

static void set_up(void)
{
    task = (struct task){
        .url = strdup("https://a.example/f?x"),
        .mirrors = strdup("https://A.example:443/g\nhttp://a.example/f\nftp://b.example/f\n"),
    };
}

static void tear_down(void)
{
    task_release(&task);
}

START_TEST(they_come_in_order)
{
    static const struct {
        const char *url;
        bool is_first_server, has_next;
    } expected[] = {
        {"https://a.example/f?x",   true,  true },
        {"https://A.example:443/g", true,  true },
        {"http://a.example/f",      false, true }, /* what goes by TLS alone stays there */
        {"ftp://b.example/f",       false, false},
        {"https://a.example/f?x",   true,  false}, /* no such mirror */
    };
    task.mirror = _i;
    char *url = mirrors_url(&task);
    ck_assert_str_eq(url, expected[_i].url);
    free(url);
    ck_assert_int_eq(mirrors_is_first_server(&task), expected[_i].is_first_server);
    ck_assert_int_eq(mirrors_has_next(&task), expected[_i].has_next);
}
END_TEST

START_TEST(none)
{
    free(task.mirrors);
    task.mirrors = NULL;
    ck_assert(!mirrors_has_next(&task));
    task.mirrors = strdup("");
    ck_assert(!mirrors_has_next(&task));
}
END_TEST

/* Of what was known, what is of the server goes. */
START_TEST(the_next_server_is_another)
{
    struct engine engine = {.host_key = {1}};
    task.host = 7;
    task.failures = 3;
    task.written = 100;
    task.etag = strdup("\"a\"");
    task.last_modified = strdup("then");
    ck_assert_int_eq(mirrors_move_on(&engine, &task), 0);
    uint64_t first = task.host;
    ck_assert(first != 0 && first != 7);
    ck_assert_int_eq(task.mirror, 1);
    ck_assert(!task.etag && task.failures == 0);
    ck_assert_str_eq(task.last_modified, "then");
    ck_assert_int_eq(task.written, 100);
    ck_assert_int_eq(mirrors_move_on(&engine, &task), 0);
    ck_assert_int_eq(mirrors_move_on(&engine, &task), 0);
    ck_assert_uint_ne(task.host, first);
    task.etag = strdup("\"b\"");
    mirrors_rewind(&engine, &task);
    ck_assert_int_eq(task.mirror, 0);
    ck_assert_uint_eq(task.host, first);
    ck_assert_ptr_null(task.etag);
    task.etag = strdup("\"a\"");
    mirrors_rewind(&engine, &task); /* it is there already */
    ck_assert_str_eq(task.etag, "\"a\"");
}
END_TEST

/* Once a host was outside it does not lead inside, in a later round either. */
START_TEST(who_was_global_is_remembered)
{
    struct engine engine = {.host_key = {1}};
    ck_assert(!mirrors_was_global(&task));
    mirrors_set_global(&task);
    ck_assert(mirrors_was_global(&task));
    ck_assert_int_eq(mirrors_move_on(&engine, &task), 0);
    ck_assert(mirrors_was_global(&task)); /* the same server */
    ck_assert_int_eq(mirrors_move_on(&engine, &task), 0);
    ck_assert(!mirrors_was_global(&task));
    ck_assert_int_eq(mirrors_move_on(&engine, &task), 0);
    ck_assert(!mirrors_was_global(&task));
    mirrors_set_global(&task);
    mirrors_rewind(&engine, &task);
    ck_assert(mirrors_was_global(&task));
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(mirrors_move_on(&engine, &task), 0);
    ck_assert(mirrors_was_global(&task));
}
END_TEST

START_TEST(errors_are_told_together)
{
    char wanted[8192];
    mirrors_set_error(&task, "http", "x");
    mirrors_set_error(&task, "http", "first");
    ck_assert_str_eq(task.error_message, "first");
    task.mirror = 1;
    mirrors_set_error(&task, "reset", "second");
    mirrors_set_error(&task, "resolve", "once more");
    ck_assert_str_eq(task.error_message, "first; mirror 1: once more");
    ck_assert_str_eq(task.error_code, "resolve");
    task.mirror = 2;
    mirrors_set_error(&task, "tls", "third");
    ck_assert_str_eq(task.error_message, "first; mirror 1: once more; mirror 2: third");
    engine_set_error(&task, NULL, NULL);
    mirrors_set_error(&task, "tls", "third");
    ck_assert_str_eq(task.error_message, "mirror 2: third");
    mirrors_set_error(&task, "tls", "fourth");
    ck_assert_str_eq(task.error_message, "mirror 2: fourth");
    memset(wanted, 'x', 400);
    wanted[400] = '\0';
    for (task.mirror = 0; task.mirror <= TASK_MIRRORS_MAX; task.mirror++)
        mirrors_set_error(&task, "tls", wanted);
    ck_assert_uint_le(strlen(task.error_message), 2500);
    snprintf(wanted, sizeof wanted, "...; mirror %d: xxx", TASK_MIRRORS_MAX);
    ck_assert_ptr_nonnull(strstr(task.error_message, wanted));
}
END_TEST

static Suite *suite(void)
{
    Suite *suite = suite_create("mirrors");
    TCase *tcase = tcase_create("mirrors");
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_loop_test(tcase, they_come_in_order, 0, 5);
    tcase_add_test(tcase, none);
    tcase_add_test(tcase, the_next_server_is_another);
    tcase_add_test(tcase, who_was_global_is_remembered);
    tcase_add_test(tcase, errors_are_told_together);
    suite_add_tcase(suite, tcase);
    return suite;
}

int main(void)
{
    return tap_main(suite());
}
