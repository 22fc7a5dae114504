#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/buf.h"
#include "tap.h"

START_TEST(grows_and_stays_terminated)
{
    struct buf buf;
    buf_init(&buf, 100000);
    for (int i = 0; i < 10000; i++) {
        ck_assert_int_eq(buf_add_char(&buf, (char)('a' + i % 26)), 0);
        ck_assert_int_eq(buf.data[buf.len], '\0');
    }
    ck_assert_uint_eq(buf.len, 10000);
    for (int i = 0; i < 10000; i++)
        ck_assert_int_eq(buf.data[i], 'a' + i % 26);
    buf_release(&buf);
    ck_assert_ptr_null(buf.data);
}
END_TEST

START_TEST(adds_all_kinds)
{
    struct buf buf;
    buf_init(&buf, 100);
    ck_assert_int_eq(buf_add_string(&buf, "one"), 0);
    ck_assert_int_eq(buf_add_char(&buf, ','), 0);
    ck_assert_int_eq(buf_printf(&buf, "%d-%s", 2, "three"), 0);
    ck_assert_int_eq(buf_add(&buf, "\0x", 2), 0);
    ck_assert_uint_eq(buf.len, 13);
    ck_assert_mem_eq(buf.data, "one,2-three\0x", 14);
    buf_release(&buf);
}
END_TEST

START_TEST(bound_is_exact_and_error_sticks)
{
    struct buf buf;
    buf_init(&buf, 10);
    ck_assert_int_eq(buf_add_string(&buf, "0123456789"), 0);
    ck_assert_int_eq(buf_add(&buf, "", 0), 0);
    ck_assert_int_eq(buf_add_char(&buf, 'x'), -EMSGSIZE);
    ck_assert_str_eq(buf.data, "0123456789");
    ck_assert_int_eq(buf_add(&buf, "", 0), -EMSGSIZE);
    ck_assert_int_eq(buf.error, -EMSGSIZE);
    ck_assert_ptr_null(buf_take(&buf));

    buf_clear(&buf);
    ck_assert_int_eq(buf.error, 0);
    ck_assert_uint_eq(buf.len, 0);
    ck_assert_int_eq(buf_printf(&buf, "%s", "0123456789a"), -EMSGSIZE);
    ck_assert_uint_eq(buf.len, 0);
    buf_clear(&buf);
    ck_assert_int_eq(buf_printf(&buf, "%d", 1234567890), 0);
    ck_assert_str_eq(buf.data, "1234567890");
    buf_release(&buf);
}
END_TEST

START_TEST(huge_length_does_not_wrap)
{
    struct buf buf;
    buf_init(&buf, 10);
    buf_add_string(&buf, "ab");
    ck_assert_int_eq(buf_add(&buf, "x", SIZE_MAX), -EMSGSIZE);
    ck_assert_str_eq(buf.data, "ab");
    buf_release(&buf);
}
END_TEST

START_TEST(take_gives_the_content_away)
{
    struct buf buf;
    buf_init(&buf, 10);
    char *empty = buf_take(&buf);
    ck_assert_str_eq(empty, "");
    free(empty);
    buf_add_string(&buf, "mine");
    char *text = buf_take(&buf);
    ck_assert_str_eq(text, "mine");
    ck_assert_ptr_null(buf.data);
    buf_add_string(&buf, "next");
    ck_assert_str_eq(text, "mine");
    ck_assert_str_eq(buf.data, "next");
    free(text);
    buf_release(&buf);
    buf_release(&buf);
}
END_TEST

static Suite *suite(void)
{
    Suite *suite = suite_create("buf");
    TCase *tcase = tcase_create("buf");
    tcase_add_test(tcase, grows_and_stays_terminated);
    tcase_add_test(tcase, adds_all_kinds);
    tcase_add_test(tcase, bound_is_exact_and_error_sticks);
    tcase_add_test(tcase, huge_length_does_not_wrap);
    tcase_add_test(tcase, take_gives_the_content_away);
    suite_add_tcase(suite, tcase);
    return suite;
}

int main(void)
{
    return tap_main(suite());
}
