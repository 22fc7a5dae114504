#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "core/task.h"
#include "tap.h"

/* What API.md's table says, written down state by state: a letter for each verb, in the order of
 * enum task_verb: start, put back, receive, finish, fail, clear, cancel, hold, release, retry. */
static const struct {
    enum task_state state;
    const char *name;
    bool ended;
    const char *next; /* '.': not taken, else the initial of the next state as in `initials` */
} expected[TASK_STATES] = {
    {TASK_CREATED,     "CREATED",     false, ".........."},
    {TASK_ENQUEUED,    "ENQUEUED",    false, "D...XCKP.."},
    {TASK_DOWNLOADING, "DOWNLOADING", false, ".EI.X.KP.."},
    {TASK_FINISHED,    "FINISHED",    true,  ".........."},
    {TASK_FAILED,      "FAILED",      true,  ".........E"},
    {TASK_CLEARED,     "CLEARED",     true,  "......C..E"},
    {TASK_FINISHING,   "FINISHING",   false, "...FX....."},
    {TASK_PAUSED,      "PAUSED",      false, "......K.E."},
    {TASK_CANCELLED,   "CANCELLED",   true,  "......K..E"},
};

static enum task_state state_of(char letter)
{
    static const char initials[] = "?EDFXCIPK"; /* in the order of enum task_state */
    const char *found = strchr(initials, letter);
    ck_assert_ptr_nonnull(found);
    return (enum task_state)(found - initials);
}

START_TEST(every_state_takes_exactly_its_verbs)
{
    enum task_state state = (enum task_state)_i;
    ck_assert_int_eq(expected[state].state, state);
    ck_assert_uint_eq(strlen(expected[state].next), TASK_VERBS);
    for (int verb = 0; verb < TASK_VERBS; verb++) {
        enum task_state next = TASK_STATES;
        int r = task_next(state, (enum task_verb)verb, &next);
        if (expected[state].next[verb] == '.') {
            ck_assert_msg(r == -EINVAL && next == TASK_STATES, "%s takes verb %d",
                          task_state_name(state), verb);
        } else {
            ck_assert_msg(r == 0, "%s refuses verb %d", task_state_name(state), verb);
            ck_assert_str_eq(task_state_name(next),
                             task_state_name(state_of(expected[state].next[verb])));
        }
    }
}
END_TEST

START_TEST(states_have_names_and_ends)
{
    ck_assert_str_eq(task_state_name((enum task_state)_i), expected[_i].name);
    ck_assert_int_eq(task_state_ended((enum task_state)_i), expected[_i].ended);
}
END_TEST

START_TEST(ids_are_random_uuids)
{
    char ids[100][API_ID_LENGTH + 1];
    for (int i = 0; i < 100; i++) {
        task_make_id(ids[i]);
        ck_assert_uint_eq(strlen(ids[i]), API_ID_LENGTH);
        for (int c = 0; c < API_ID_LENGTH; c++) {
            bool dash = c == 8 || c == 13 || c == 18 || c == 23;
            ck_assert(dash ? ids[i][c] == '-' : strchr("0123456789abcdef", ids[i][c]) != NULL);
        }
        ck_assert_int_eq(ids[i][14], '4');
        ck_assert_ptr_nonnull(strchr("89ab", ids[i][19]));
        for (int j = 0; j < i; j++)
            ck_assert_str_ne(ids[i], ids[j]);
    }
}
END_TEST

/* Every string of a task, so that none is forgotten: a new one must be added here. */
static void list_strings(struct task *task, char **strings[static 13])
{
    strings[0] = &task->user;
    strings[1] = &task->url;
    strings[2] = &task->directory;
    strings[3] = &task->name;
    strings[4] = &task->checksum;
    strings[5] = &task->headers;
    strings[6] = &task->boot_id;
    strings[7] = &task->etag;
    strings[8] = &task->last_modified;
    strings[9] = &task->error_code;
    strings[10] = &task->error_message;
    strings[11] = &task->username;
    strings[12] = &task->password;
}

START_TEST(copies_are_deep)
{
    struct task copy, task = {
                          .row = 7,
                          .id = "5b0c9a1e-0000-4000-8000-000000000000",
                          .uid = 1000,
                          .state = TASK_FAILED,
                          .bytes_total = -1,
                          .if_exists = TASK_SKIP,
                          .retries = 3,
                          .wait = TASK_WAIT_DISK,
                          .not_before = 99,
                          .file_ino = UINT64_MAX,
                      };
    char **strings[13], **copies[13];
    list_strings(&task, strings);
    list_strings(&copy, copies);
    for (int i = 0; i < 13; i++)
        ck_assert_int_ge(asprintf(strings[i], "string %d", i), 0);
    ck_assert_int_eq(task_copy(&task, &copy), 0);
    task_release(&task);
    for (int i = 0; i < 13; i++) {
        char text[32];
        snprintf(text, sizeof(text), "string %d", i);
        ck_assert_ptr_null(*strings[i]);
        ck_assert_str_eq(*copies[i], text);
    }
    ck_assert_int_eq(task.row, 0);
    ck_assert_int_eq(copy.row, 7);
    ck_assert_str_eq(copy.id, "5b0c9a1e-0000-4000-8000-000000000000");
    ck_assert(copy.state == TASK_FAILED && copy.if_exists == TASK_SKIP && copy.retries == 3);
    ck_assert(copy.wait == TASK_WAIT_DISK && copy.not_before == 99);
    ck_assert(copy.file_ino == UINT64_MAX);
    task_release(&copy);
}
END_TEST

START_TEST(copies_without_strings)
{
    struct task copy, task = {.url = strdup("https://example.org/a")};
    char **copies[13];
    list_strings(&copy, copies);
    ck_assert_int_eq(task_copy(&task, &copy), 0);
    for (int i = 0; i < 13; i++)
        ck_assert(copies[i] == &copy.url ? *copies[i] && *copies[i] != task.url : !*copies[i]);
    task_release(&copy);
    task_release(&copy); /* fine */
    task_release(&task);
}
END_TEST

START_TEST(secrets_are_forgotten)
{
    struct task task = {.url = strdup("https://example.org/a"),
                        .headers = strdup("Cookie: a\n"),
                        .username = strdup("u"),
                        .password = strdup("p")};
    task_forget_secrets(&task);
    ck_assert(!task.headers && !task.username && !task.password);
    ck_assert_ptr_nonnull(task.url);
    task_forget_secrets(&task); /* fine */
    task_release(&task);
}
END_TEST

START_TEST(dest_joins_directory_and_name)
{
    struct task task = {.directory = (char *)"/home/alice", .name = (char *)"a.iso"};
    char *dest = task_dest(&task);
    ck_assert_str_eq(dest, "/home/alice/a.iso");
    free(dest);
    task.directory = (char *)"/";
    dest = task_dest(&task);
    ck_assert_str_eq(dest, "/a.iso");
    free(dest);
}
END_TEST

START_TEST(part_names_fit_and_stay_utf8)
{
    struct task task = {.id = "5b0c9a1e-0000-4000-8000-000000000000", .name = (char *)"a.iso"};
    char *part = task_part_name(&task);
    ck_assert_str_eq(part, "a.iso.5b0c9a1e.part");
    free(part);

    static const char *const units[] = {"x", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80"};
    for (size_t u = 0; u < sizeof(units) / sizeof(units[0]); u++) {
        for (size_t shift = 0; shift < 5; shift++) {
            char name[API_NAME_MAX + 1] = "abcd";
            size_t len = shift, width = strlen(units[u]);
            for (; len + width <= API_NAME_MAX; len += width)
                memcpy(name + len, units[u], width + 1);
            task.name = name;
            part = task_part_name(&task);
            ck_assert_uint_le(strlen(part), API_NAME_MAX);
            ck_assert_uint_gt(strlen(part), API_NAME_MAX - 26 - 4);
            ck_assert(json_is_utf8(part, strlen(part)));
            ck_assert_str_eq(part + strlen(part) - 14, ".5b0c9a1e.part");
            ck_assert_mem_eq(part, name, strlen(part) - 14);
            free(part);
        }
    }

    char bad[API_NAME_MAX + 1];
    memset(bad, 0x80, API_NAME_MAX);
    bad[API_NAME_MAX] = '\0';
    task.name = bad;
    part = task_part_name(&task);
    ck_assert_uint_gt(strlen(part), 14);
    ck_assert_uint_le(strlen(part), API_NAME_MAX);
    free(part);
}
END_TEST

START_TEST(names_that_need_no_cut_are_whole)
{
    char name[API_NAME_MAX - 26 + 1];
    memset(name, 'n', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    struct task task = {.id = "5b0c9a1e", .name = name};
    char *part = task_part_name(&task);
    ck_assert_uint_eq(strlen(part), strlen(name) + 14);
    free(part);
}
END_TEST

START_TEST(durations)
{
    struct task task = {.created_at = 1000};
    ck_assert_double_eq(task_duration(&task, 1000), 0.0);
    ck_assert_double_eq(task_duration(&task, 13345), 12.345);
    ck_assert_double_eq(task_duration(&task, 1001), 0.001);
    ck_assert_double_eq(task_duration(&task, 500), 0.0);
    task.ended_at = 3500;
    ck_assert_double_eq(task_duration(&task, 99999), 2.5);
    task.ended_at = 900;
    ck_assert_double_eq(task_duration(&task, 99999), 0.0);
}
END_TEST

static Suite *suite(void)
{
    Suite *suite = suite_create("task");
    TCase *tcase = tcase_create("task");
    tcase_add_loop_test(tcase, every_state_takes_exactly_its_verbs, 0, TASK_STATES);
    tcase_add_loop_test(tcase, states_have_names_and_ends, 0, TASK_STATES);
    tcase_add_test(tcase, ids_are_random_uuids);
    tcase_add_test(tcase, copies_are_deep);
    tcase_add_test(tcase, copies_without_strings);
    tcase_add_test(tcase, secrets_are_forgotten);
    tcase_add_test(tcase, dest_joins_directory_and_name);
    tcase_add_test(tcase, part_names_fit_and_stay_utf8);
    tcase_add_test(tcase, names_that_need_no_cut_are_whole);
    tcase_add_test(tcase, durations);
    suite_add_tcase(suite, tcase);
    return suite;
}

int main(void)
{
    return tap_main(suite());
}
