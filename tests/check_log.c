#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "tap.h"

static int saved_stderr;
static FILE *captured;

/* Each test runs in a process of its own, whose standard error goes to a file. */
static void capture(void)
{
    captured = tmpfile();
    ck_assert_ptr_nonnull(captured);
    saved_stderr = dup(STDERR_FILENO);
    ck_assert_int_ge(dup2(fileno(captured), STDERR_FILENO), 0);
}

static void end_capture(void)
{
    dup2(saved_stderr, STDERR_FILENO);
    close(saved_stderr);
    fclose(captured);
}

static void check_written(const char *expected)
{
    static char text[100000];
    rewind(captured);
    size_t len = fread(text, 1, sizeof(text) - 1, captured);
    text[len] = '\0';
    ck_assert_str_eq(text, expected);
}

START_TEST(lines_have_the_prefix_of_their_level)
{
    log_set_level(LOG_LEVEL_DEBUG);
    log_error("one %d", 1);
    log_warning("two");
    log_info("three");
    log_debug("four");
    check_written("<3>one 1\n<4>two\n<6>three\n<7>four\n");
}
END_TEST

START_TEST(lines_above_the_level_are_dropped)
{
    log_debug("dropped at the start");
    log_info("kept");
    log_set_level(LOG_LEVEL_ERROR);
    log_warning("dropped");
    log_error("kept");
    check_written("<6>kept\n<3>kept\n");
}
END_TEST

START_TEST(controls_are_made_visible)
{
    log_info("a\nb\r\tc\x1b[31m\x7f|\xc2\x80\xc2\x9f|\xc2\xa0");
    log_info("caf\xc3\xa9 \xf0\x9f\x98\x80 \xff\xc3|\xe2\x82|");
    check_written("<6>a\\x0ab\\x0d\\x09c\\x1b[31m\\x7f|\\xc2\\x80\\xc2\\x9f|\xc2\xa0\n"
                  "<6>caf\xc3\xa9 \xf0\x9f\x98\x80 \\xff\\xc3|\\xe2\\x82|\n");
}
END_TEST

/* U+202E and others turn what follows around, U+2028 breaks the line for some. */
START_TEST(what_turns_text_is_made_visible)
{
    log_info("a\xe2\x80\xae"
             "gpj|\xd8\x9c|\xe2\x80\x8f|\xe2\x80\xa8|\xe2\x81\xa9|\xe2\x80\x8b");
    check_written("<6>a\\xe2\\x80\\xaegpj|\\xd8\\x9c|\\xe2\\x80\\x8f|\\xe2\\x80\\xa8|"
                  "\\xe2\\x81\\xa9|\xe2\x80\x8b\n");
}
END_TEST

/* A text of `len` bytes, made of `unit` again and again, logged as one line: its length. */
static size_t logged_length(const char *unit, size_t len, char line[static 10000])
{
    static char text[50000];
    for (size_t i = 0; i < len; i++)
        text[i] = unit[i % strlen(unit)];
    text[len] = '\0';
    ck_assert_int_eq(ftruncate(fileno(captured), 0), 0);
    rewind(captured);
    log_info("%s", text);
    rewind(captured);
    size_t got = fread(line, 1, 9999, captured);
    line[got] = '\0';
    return got;
}

START_TEST(long_lines_are_cut)
{
    static char line[10000];
    ck_assert_uint_eq(logged_length("x", 8000, line), 8004);
    ck_assert_uint_eq(logged_length("x", 40000, line), 8192);
    ck_assert_str_eq(line + 8188, "...\n");
    ck_assert_uint_le(logged_length("\x01", 40000, line), 8192);
    ck_assert_ptr_nonnull(strstr(line, "\\x01...\n"));
    ck_assert_uint_le(logged_length("\xe2\x82\xac", 40000, line), 8192);
    ck_assert_ptr_nonnull(strstr(line, "\xe2\x82\xac...\n"));
    for (size_t len = 8180; len < 8200; len++) {
        size_t got = logged_length("x", len, line);
        ck_assert_uint_le(got, 8192);
        ck_assert_ptr_eq(strchr(line, '\n'), line + got - 1);
        ck_assert_int_eq(len > 8192 - 7, strstr(line, "x...\n") != NULL);
    }
}
END_TEST

START_TEST(errno_is_kept_and_understood)
{
    errno = ENOENT;
    log_info("%m");
    ck_assert_int_eq(errno, ENOENT);
    check_written("<6>No such file or directory\n");
}
END_TEST

START_TEST(nothing_to_write_to)
{
    ck_assert_int_ge(dup2(open("/dev/full", O_WRONLY), STDERR_FILENO), 0);
    errno = ENOENT;
    log_info("lost");
    ck_assert_int_eq(errno, ENOENT);
    close(STDERR_FILENO);
    log_info("lost");
}
END_TEST

static void *write_many(void *letter)
{
    for (int i = 0; i < 500; i++)
        log_info("%.*s", 60, (const char *)letter);
    return NULL;
}

START_TEST(threads_do_not_mix_lines)
{
    static char letters[4][61], line[200];
    pthread_t threads[4];
    ck_assert_int_ge(fcntl(STDERR_FILENO, F_SETFL, O_APPEND), 0);
    for (int i = 0; i < 4; i++) {
        memset(letters[i], 'a' + i, 60);
        ck_assert_int_eq(pthread_create(&threads[i], NULL, write_many, letters[i]), 0);
    }
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    rewind(captured);
    int count = 0;
    for (; fgets(line, sizeof(line), captured); count++) {
        ck_assert_uint_eq(strlen(line), 3 + 60 + 1);
        ck_assert_uint_eq(strspn(line + 3, (char[]){line[3], '\0'}), 60);
    }
    ck_assert_int_eq(count, 2000);
}
END_TEST

START_TEST(levels_have_names)
{
    enum log_level level = LOG_LEVEL_INFO;
    ck_assert_int_eq(log_level_parse("error", &level), 0);
    ck_assert_int_eq(level, LOG_LEVEL_ERROR);
    ck_assert_int_eq(log_level_parse("warning", &level), 0);
    ck_assert_int_eq(level, LOG_LEVEL_WARNING);
    ck_assert_int_eq(log_level_parse("info", &level), 0);
    ck_assert_int_eq(level, LOG_LEVEL_INFO);
    ck_assert_int_eq(log_level_parse("debug", &level), 0);
    ck_assert_int_eq(level, LOG_LEVEL_DEBUG);
    ck_assert_int_eq(log_level_parse("", &level), -EINVAL);
    ck_assert_int_eq(log_level_parse("Info", &level), -EINVAL);
    ck_assert_int_eq(log_level_parse("7", &level), -EINVAL);
    ck_assert_int_eq(level, LOG_LEVEL_DEBUG);
}
END_TEST

static Suite *suite(void)
{
    Suite *suite = suite_create("log");
    TCase *tcase = tcase_create("log");
    tcase_add_checked_fixture(tcase, capture, end_capture);
    tcase_add_test(tcase, lines_have_the_prefix_of_their_level);
    tcase_add_test(tcase, lines_above_the_level_are_dropped);
    tcase_add_test(tcase, controls_are_made_visible);
    tcase_add_test(tcase, what_turns_text_is_made_visible);
    tcase_add_test(tcase, long_lines_are_cut);
    tcase_add_test(tcase, errno_is_kept_and_understood);
    tcase_add_test(tcase, nothing_to_write_to);
    tcase_add_test(tcase, threads_do_not_mix_lines);
    tcase_add_test(tcase, levels_have_names);
    suite_add_tcase(suite, tcase);
    return suite;
}

int main(void)
{
    return tap_main(suite());
}
