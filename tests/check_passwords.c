#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/api.h"
#include "http/passwords.h"
#include "tap.h"

#define START 1000000 /* ms */
#define DAY   86400000

static struct passwords *passwords;
static int64_t now;

static void set_up(void)
{
    static const uint8_t key[PASSWORDS_KEY_SIZE] = {1, 2, 3};
    ck_assert_int_eq(passwords_create(key, &passwords), 0);
    now = START;
}

static void tear_down(void)
{
    passwords_destroy(passwords);
}

static struct passwords_mark mark(const char *user, const char *password, const char *address)
{
    struct passwords_mark result;
    ck_assert_int_eq(passwords_mark(passwords, user, password, address, &result), 0);
    return result;
}

static bool is_right(const char *user, const char *password, const char *address)
{
    struct passwords_mark m = mark(user, password, address);
    return passwords_are_right(passwords, &m, now);
}

static int64_t try(const char *user, const char *origin)
{
    return passwords_try(passwords, user, origin, now);
}

static void right(const char *user, const char *password, const char *address)
{
    struct passwords_mark m = mark(user, password, address);
    passwords_right(passwords, &m, user, address, now);
}

/* How many of `count` wrong ones are looked at. */
static unsigned flood(const char *user, const char *origin, unsigned count)
{
    unsigned looked_at = 0;
    for (unsigned i = 0; i < count; i++)
        looked_at += try(user, origin) == 0;
    return looked_at;
}

START_TEST(marks)
{
    const struct passwords_mark one = mark("alice", "secret", "192.0.2.1");
    const struct passwords_mark others[] = {
        mark("alice", "secret", "192.0.2.2"), mark("alice", "secre", "t192.0.2.1"),
        mark("alic", "esecret", "192.0.2.1"), mark("bob", "secret", "192.0.2.1"),
        mark("alice", "", "192.0.2.1"),
    };
    const struct passwords_mark again = mark("alice", "secret", "192.0.2.1");
    ck_assert(passwords_equal(&one, &again));
    for (unsigned i = 0; i < sizeof others / sizeof *others; i++)
        ck_assert_msg(!passwords_equal(&one, &others[i]), "%u", i);

    struct passwords *elsewhere;
    struct passwords_mark theirs;
    static const uint8_t key[PASSWORDS_KEY_SIZE] = {1, 2, 4};
    ck_assert_int_eq(passwords_create(key, &elsewhere), 0);
    ck_assert_int_eq(passwords_mark(elsewhere, "alice", "secret", "192.0.2.1", &theirs), 0);
    ck_assert_msg(!passwords_equal(&one, &theirs), "the key does not matter");
    passwords_destroy(elsewhere);
}
END_TEST

START_TEST(the_longest)
{
    char user[API_USER_MAX + 1], password[API_PASSWORD_MAX + 2], address[400];
    struct passwords_mark m;
    memset(user, 'u', sizeof user);
    memset(password, 'p', sizeof password);
    memset(address, '1', sizeof address);
    user[API_USER_MAX] = password[API_PASSWORD_MAX] = address[255] = '\0';
    ck_assert_int_eq(passwords_mark(passwords, user, password, address, &m), 0);
    password[API_PASSWORD_MAX] = 'p';
    password[API_PASSWORD_MAX + 1] = '\0';
    ck_assert_int_eq(passwords_mark(passwords, user, password, address, &m), -EINVAL);
    password[API_PASSWORD_MAX] = '\0';
    address[255] = '1';
    address[399] = '\0';
    ck_assert_int_eq(passwords_mark(passwords, user, password, address, &m), -EINVAL);
    ck_assert_int_eq(try(user, address), 0);
}
END_TEST

START_TEST(right_for_a_minute)
{
    ck_assert(!is_right("alice", "secret", "192.0.2.1"));
    ck_assert_int_eq(try("alice", "192.0.2.1"), 0);
    ck_assert(!is_right("alice", "secret", "192.0.2.1"));
    right("alice", "secret", "192.0.2.1");
    ck_assert(is_right("alice", "secret", "192.0.2.1"));
    ck_assert(!is_right("alice", "Secret", "192.0.2.1"));
    ck_assert(!is_right("alice", "secret", "192.0.2.2"));
    ck_assert(!is_right("bob", "secret", "192.0.2.1"));
    now += 59999;
    ck_assert(is_right("alice", "secret", "192.0.2.1"));
    now += 1;
    ck_assert(!is_right("alice", "secret", "192.0.2.1"));
}
END_TEST

START_TEST(only_so_many_right_ones)
{
    char user[32];
    unsigned kept = 0;
    for (unsigned i = 0; i < 5000; i++) {
        snprintf(user, sizeof user, "user%u", i);
        right(user, "x", "192.0.2.1");
        ck_assert_msg(is_right(user, "x", "192.0.2.1"), "the newest is there: %u", i);
    }
    for (unsigned i = 0; i < 5000; i++) {
        snprintf(user, sizeof user, "user%u", i);
        kept += is_right(user, "x", "192.0.2.1");
    }
    ck_assert_uint_ge(kept, 900);
    ck_assert_uint_le(kept, 1024);
}
END_TEST

START_TEST(five_at_once_then_one_in_30_s)
{
    ck_assert_uint_eq(flood("alice", "192.0.2.1", 1000), 5);
    ck_assert_int_eq(try("alice", "192.0.2.1"), 30000);
    now += 29999;
    ck_assert_int_eq(try("alice", "192.0.2.1"), 1);
    now += 1;
    ck_assert_uint_eq(flood("alice", "192.0.2.1", 1000), 1);
    now += 150000;
    ck_assert_uint_eq(flood("alice", "192.0.2.1", 1000), 5);
}
END_TEST

START_TEST(nobody_locks_out_another)
{
    ck_assert_uint_eq(flood("alice", "192.0.2.1", 1000), 5);
    ck_assert_int_eq(try("alice", "192.0.2.2"), 0); /* herself, elsewhere */
    ck_assert_int_eq(try("alice", "uid 51001"), 0);
    ck_assert_int_eq(try("bob", "192.0.2.1"), 0); /* somebody else, there */
    for (unsigned i = 0; i < 3600; i++) {         /* an hour of it */
        now += 1000;
        flood("alice", "192.0.2.1", 5);
    }
    ck_assert_int_eq(try("alice", "192.0.2.2"), 0);
    ck_assert_int_eq(try("bob", "192.0.2.1"), 0);
}
END_TEST

START_TEST(one_origin_many_users)
{
    char user[32];
    unsigned looked_at = 0;
    ck_assert_int_eq(try("carol", "192.0.2.1"), 0);
    right("carol", "x", "192.0.2.1");
    for (unsigned i = 0; i < 1000; i++) {
        snprintf(user, sizeof user, "user%u", i);
        looked_at += try(user, "192.0.2.1") == 0;
    }
    ck_assert_uint_eq(looked_at, 20);
    ck_assert_int_eq(try("dave", "192.0.2.1"), 6000);
    ck_assert_int_eq(try("dave", "192.0.2.2"), 0);
    ck_assert_msg(try("carol", "192.0.2.1") == 0, "who was there before is let in");
    now += DAY;
    for (unsigned i = 0; i < 1000; i++) {
        snprintf(user, sizeof user, "user%u", i);
        try(user, "192.0.2.1");
    }
    ck_assert_msg(try("carol", "192.0.2.1") > 0, "after a day that is forgotten");
}
END_TEST

START_TEST(one_user_many_origins)
{
    char origin[32];
    unsigned looked_at = 0;
    ck_assert_int_eq(try("alice", "198.51.100.7"), 0);
    right("alice", "x", "198.51.100.7");
    for (unsigned i = 0; i < 1000; i++) {
        snprintf(origin, sizeof origin, "203.0.113.%u", i);
        looked_at += try("alice", origin) == 0;
    }
    ck_assert_uint_eq(looked_at, 50);
    ck_assert_int_eq(try("alice", "198.51.100.8"), 6000);
    ck_assert_int_eq(try("bob", "203.0.113.1"), 0);
    ck_assert_msg(try("alice", "198.51.100.7") == 0, "where she was before she is let in");
}
END_TEST

START_TEST(right_ones_do_not_count)
{
    for (unsigned i = 0; i < 1000; i++) {
        ck_assert_int_eq(try("alice", "192.0.2.1"), 0);
        right("alice", "secret", "192.0.2.1");
    }
    ck_assert_uint_eq(flood("alice", "192.0.2.1", 4), 4);
    ck_assert_int_eq(try("alice", "192.0.2.1"), 0);
    right("alice", "secret", "192.0.2.1"); /* wipes out the four */
    ck_assert_uint_eq(flood("alice", "192.0.2.1", 1000), 5);
    for (unsigned i = 0; i < 1000; i++) {
        ck_assert_int_eq(try("bob", "192.0.2.1"), 0);
        passwords_untried(passwords, "bob", "192.0.2.1");
    }
    ck_assert_uint_eq(flood("bob", "192.0.2.1", 1000), 5);
}
END_TEST

/* What is refused takes no place: a flood does not make anything forgotten. */
START_TEST(a_flood_is_not_a_way_to_be_forgotten)
{
    char user[32];
    flood("alice", "192.0.2.1", 5);
    for (unsigned i = 0; i < 20; i++)
        try("x", "192.0.2.9");
    for (unsigned i = 0; i < 100000; i++) {
        snprintf(user, sizeof user, "user%u", i);
        try(user, "192.0.2.9");
    }
    ck_assert_int_eq(try("alice", "192.0.2.1"), 30000);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        marks,
        the_longest,
        right_for_a_minute,
        only_so_many_right_ones,
        five_at_once_then_one_in_30_s,
        nobody_locks_out_another,
        one_origin_many_users,
        one_user_many_origins,
        right_ones_do_not_count,
        a_flood_is_not_a_way_to_be_forgotten,
    };
    Suite *suite = suite_create("passwords");
    TCase *tcase = tcase_create("passwords");
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_set_timeout(tcase, 60);
    for (unsigned i = 0; i < sizeof tests / sizeof *tests; i++)
        tcase_add_test(tcase, tests[i]);
    suite_add_tcase(suite, tcase);
    return tap_main(suite);
}
