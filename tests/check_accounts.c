/*
 * Accounts are looked up on a thread of their own and remembered for 60 s: whoever comes into the
 * operators' group, or out of it, is told apart within that time. Over files of our own in place of
 * /etc/passwd and /etc/group, with a clock of our own.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "common/units.h"
#include "http/accounts.h"
#include "tap.h"

#define ALICE      51001
#define GROUP      953
#define REMEMBERED 60000 /* ms */

static _Atomic int64_t now = 1000;
static char directory[] = "/tmp/check_accounts.XXXXXX";
static struct accounts *accounts;

int64_t __wrap_units_now_boottime(void); /* the linker gives it to the program */
int64_t __wrap_units_now_boottime(void)
{
    return now;
}

/* --- files --- */

static void write_file(const char *name, const char *text)
{
    char path[200];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *file = fopen(path, "we");
    if (!file || fputs(text, file) < 0 || fclose(file) != 0)
        abort(); /* may be called outside of tests, where Check's macros do not work */
}

static void set_members(const char *members)
{
    char text[200];
    snprintf(text, sizeof text, "root:x:0:\nalice:x:%d:\nautodl:x:%d:%s\n", ALICE, GROUP, members);
    write_file("group", text);
}

static const char *mount_over(const char *name, const char *path)
{
    static char why[300];
    char copy[200];
    snprintf(copy, sizeof copy, "%s/%s", directory, name);
    if (mount(copy, path, NULL, MS_BIND, NULL) == 0)
        return NULL;
    snprintf(why, sizeof why, "%s cannot be replaced: %s", path, strerror(errno));
    return why;
}

/* NULL, or why it cannot be done here. */
static const char *replace_files(void)
{
    if (geteuid() != 0)
        return "files in place of /etc/group need root";
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return "no mount namespace of our own";
    if (!mkdtemp(directory))
        return "no directory of our own";
    return NULL;
}

static const char *put_files(void)
{
    char text[200];
    snprintf(text, sizeof text, "root:x:0:0::/root:/bin/sh\nalice:x:%d:%d::/:/bin/sh\n", ALICE,
             ALICE);
    write_file("passwd", text);
    set_members("");
    const char *why = mount_over("passwd", "/etc/passwd");
    return why ? why : mount_over("group", "/etc/group");
}

/* --- asking --- */

struct answer {
    pthread_mutex_t lock;
    pthread_cond_t came;
    bool again;
    pthread_t thread;
};

static void on_again(void *data)
{
    struct answer *answer = data;
    pthread_mutex_lock(&answer->lock);
    answer->again = true;
    answer->thread = pthread_self();
    pthread_cond_signal(&answer->came);
    pthread_mutex_unlock(&answer->lock);
}

/* Whether it was known already, without a look-up. */
static bool find(const char *name, struct account *ret_account)
{
    struct answer answer = {.lock = PTHREAD_MUTEX_INITIALIZER, .came = PTHREAD_COND_INITIALIZER};
    int result = accounts_find(accounts, name, ALICE, ret_account, on_again, &answer);
    if (result == 0)
        return true;
    ck_assert_int_eq(result, -EINPROGRESS);
    pthread_mutex_lock(&answer.lock);
    while (!answer.again)
        pthread_cond_wait(&answer.came, &answer.lock);
    pthread_mutex_unlock(&answer.lock);
    ck_assert(!pthread_equal(answer.thread, pthread_self())); /* not on the caller's thread */
    ck_assert_int_eq(accounts_find(accounts, name, ALICE, ret_account, on_again, &answer), 0);
    return false;
}

static void expect_operator(bool is_operator, bool known)
{
    const char *names[] = {"alice", NULL}; /* by name, and by uid */
    for (unsigned i = 0; i < 2; i++) {
        struct account account = {0};
        ck_assert_int_eq(find(names[i], &account), known);
        ck_assert(account.found);
        ck_assert_uint_eq(account.uid, ALICE);
        ck_assert_str_eq(account.name, "alice");
        ck_assert_int_eq(account.in_group, is_operator);
    }
}

static void set_up(void)
{
    set_members("");
    ck_assert_int_eq(accounts_create("autodl", &accounts), 0);
}

static void tear_down(void)
{
    accounts_destroy(accounts);
}

START_TEST(memberships_are_noticed_within_60_s)
{
    expect_operator(false, false);
    set_members("alice");
    now += REMEMBERED - 1;
    expect_operator(false, true);
    now += 1;
    expect_operator(true, false);
    expect_operator(true, true);
    set_members("somebody");
    now += REMEMBERED;
    expect_operator(false, false);
}
END_TEST

START_TEST(who_insists_gets_what_is_fresh)
{
    struct answer answer = {.lock = PTHREAD_MUTEX_INITIALIZER, .came = PTHREAD_COND_INITIALIZER};
    struct account account;
    expect_operator(false, false);
    set_members("alice");
    now += 1000;
    ck_assert_int_eq(accounts_find_fresh(accounts, ALICE, 1000, &account, on_again, &answer), 0);
    ck_assert(!account.in_group);
    ck_assert_int_eq(accounts_find_fresh(accounts, ALICE, 999, &account, on_again, &answer),
                     -EINPROGRESS);
    pthread_mutex_lock(&answer.lock);
    while (!answer.again)
        pthread_cond_wait(&answer.came, &answer.lock);
    pthread_mutex_unlock(&answer.lock);
    ck_assert_int_eq(accounts_find_fresh(accounts, ALICE, 0, &account, on_again, &answer), 0);
    ck_assert(account.in_group);
    ck_assert(find(NULL, &account)); /* and so do others */
    ck_assert(account.in_group);
}
END_TEST

START_TEST(new_accounts_are_noticed_soon)
{
    struct account account;
    ck_assert(!find("carol", &account));
    ck_assert(!account.found);
    char text[300];
    snprintf(text, sizeof text,
             "root:x:0:0::/root:/bin/sh\nalice:x:%d:%d::/:/bin/sh\ncarol:x:%d:%d::/:/bin/sh\n",
             ALICE, ALICE, ALICE + 1, GROUP);
    write_file("passwd", text);
    now += 5000;
    ck_assert(!find("carol", &account));
    ck_assert(account.found);
    ck_assert_uint_eq(account.uid, ALICE + 1);
    ck_assert(account.in_group); /* as its primary group */
}
END_TEST

START_TEST(another_group_is_looked_at_at_once)
{
    set_members("alice");
    expect_operator(true, false);
    ck_assert_int_eq(accounts_set_group(accounts, "nogroup"), 0);
    expect_operator(false, false);
    ck_assert_int_eq(accounts_set_group(accounts, "autodl"), 0);
    expect_operator(true, false);
}
END_TEST

static int run(void)
{
    Suite *suite = suite_create("accounts");
    TCase *tcase = tcase_create("accounts");
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, memberships_are_noticed_within_60_s);
    tcase_add_test(tcase, who_insists_gets_what_is_fresh);
    tcase_add_test(tcase, new_accounts_are_noticed_soon);
    tcase_add_test(tcase, another_group_is_looked_at_at_once);
    suite_add_tcase(suite, tcase);
    return tap_main(suite);
}

static void remove_files(void)
{
    const char *names[] = {"passwd", "group"};
    for (unsigned i = 0; i < 2; i++) {
        char path[200];
        snprintf(path, sizeof path, "%s/%s", directory, names[i]);
        unlink(path);
    }
    rmdir(directory);
}

int main(void)
{
    const char *why = replace_files();
    if (why) {
        printf("1..0 # SKIP %s\n", why);
        return EXIT_SUCCESS;
    }
    why = put_files();
    if (why)
        printf("1..0 # SKIP %s\n", why);
    int status = why ? EXIT_SUCCESS : run();
    umount("/etc/passwd");
    umount("/etc/group");
    remove_files();
    return status;
}
