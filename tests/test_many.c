/* Verbs for many tasks, over the real service: all are changed, or none, and nobody else waits. */
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/buf.h"
#include "harness.h"
#include "origin.h"
#include "v1.h"

#define SOON 30000 /* ms */

static struct service service;
static struct origin *origin;

static void set_up(void)
{
    ck_assert_int_eq(origin_start(&origin), 0);
    service_init(&service);
}

static void tear_down(void)
{
    service_release(&service);
    origin_stop(origin);
}

static const char *call_v1(const char *method, const char *target, const char *json, int status)
{
    const char *body = "";
    int got = v1_call(&service, method, target, json, &body);
    ck_assert_msg(got == status, "%s %s %.200s gives %d, not %d: %s", method, target,
                  json ? json : "", got, status, body);
    return body;
}

static void do_many(const char *verb, const char *json, long count)
{
    const char *body = call_v1("POST", textf("/v1/tasks/%s", verb), json, 200);
    ck_assert_msg(strtol(json_at(body, "count"), NULL, 10) == count, "%s %s gives %s, not %ld",
                  verb, json, body, count);
}

#define BATCH 2500 /* whose answer the harness takes */

static void add_batch(unsigned count, const char *url)
{
    struct buf json;
    buf_init(&json, 4 << 20);
    for (unsigned i = 0; i < count; i++)
        buf_printf(&json, "%s{\"url\": \"%s%u\"}", i ? ", " : "{\"tasks\": [", url, i);
    buf_add_string(&json, "]}");
    call_v1("POST", "/v1/tasks", json.data, 201);
    buf_release(&json);
}

static void add_many(unsigned count, const char *url)
{
    for (unsigned i = 0; i < count; i += BATCH)
        add_batch(count - i < BATCH ? count - i : BATCH, textf("%s%u-", url, i / BATCH));
}

/* In the store of a service that does not run, or that reads it. */
static long query(const char *sql)
{
    sqlite3 *connection;
    sqlite3_stmt *statement;
    ck_assert_int_eq(sqlite3_open(textf("%s/state/autodl/autodl.db", service.dir), &connection),
                     SQLITE_OK);
    sqlite3_busy_timeout(connection, 5000);
    int code = sqlite3_prepare_v2(connection, sql, -1, &statement, NULL);
    ck_assert_msg(code == SQLITE_OK, "%s", sqlite3_errmsg(connection));
    code = sqlite3_step(statement);
    long value = code == SQLITE_ROW ? sqlite3_column_int(statement, 0) : -1;
    ck_assert_msg(code == SQLITE_ROW || code == SQLITE_DONE, "%s", sqlite3_errmsg(connection));
    sqlite3_finalize(statement);
    sqlite3_close(connection);
    return value;
}

static long count_state(const char *state)
{
    return query(textf("SELECT count(*) FROM tasks WHERE state = %s", state));
}

#define PAUSED_STATE    "7"
#define CANCELLED_STATE "8"

/* --- all --- */

static unsigned count_parts(void)
{
    return count_names(textf("%s/autodl-storage", service.home), ".part");
}

static bool no_parts(void *data)
{
    (void)data;
    return count_parts() == 0;
}

START_TEST(more_than_a_thousand)
{
    service_start(&service, "--max-tasks-num", "5", NULL);
    const char *running[5];
    for (unsigned i = 0; i < 5; i++)
        running[i] =
            v1_add(&service, origin_url(origin, textf("/gate/g%u?size=1000", i)), NULL, NULL);
    for (unsigned i = 0; i < 5; i++)
        v1_wait(&service, running[i], "DOWNLOADING", SOON);
    add_many(1500, origin_url(origin, "/bytes/10/o"));
    const char *held =
        v1_add(&service, origin_url(origin, "/bytes/10/held"), NULL, "\"paused\": true");
    do_many("hold", "{\"status\": \"DOWNLOADING\", \"q\": \"g0\"}", 1); /* one waits for its slot */
    v1_wait(&service, running[0], "PAUSED", SOON);
    v1_verb(&service, running[0], "release", 200);
    ck_assert_int_gt(count_parts(), 0);

    /* those that run, those that wait, and those that came to an end meanwhile */
    const char *body = call_v1("POST", "/v1/tasks/hold", "{\"scope\": \"own\"}", 200);
    long finished = read_count(&service, "FINISHED");
    ck_assert_int_eq(strtol(json_at(body, "count"), NULL, 10), 1505 - finished);
    ck_assert_int_eq(read_count(&service, "PAUSED"), 1506 - finished);
    ck_assert_int_eq(read_count(&service, "DOWNLOADING"), 0);
    do_many("hold", "{\"scope\": \"own\"}", 0);
    service_kill_all(&service);
    service_start(&service, "--max-tasks-num", "5", "--max-waiting-per-user", "10000", NULL);
    ck_assert_int_eq(read_count(&service, "PAUSED"), 1506 - finished);

    /* the second time as many wait as before: they are counted right */
    call_v1("POST", "/v1/pause", NULL, 200);
    do_many("release", "{\"scope\": \"own\"}", 1506 - finished);
    do_many("hold", textf("{\"ids\": [\"%s\", \"%s\", \"%s\", \"00000000-0000-4000-8000-000000000000\"]}", held, running[1], held),
            2);
    do_many("cancel", "{\"status\": \"PAUSED\"}", 2);
    v1_get(&service, held, "status");
    do_many("cancel", textf("{\"ids\": [\"%s\", \"%s\"]}", held, running[2]), 2);
    do_many("retry", "{\"status\": \"CANCELLED\"}", 3);
    do_many("cancel", "{\"scope\": \"own\"}", 1506 - finished);
    ck_assert_int_eq(read_count(&service, "ENQUEUED"), 0);
    wait_until(no_parts, NULL, SOON, "no part file is left");
    do_many("retry", "{\"q\": \"/bytes/\"}", 1501 - finished);
    call_v1("POST", "/v1/resume", NULL, 200);
    wait_count(&service, "FINISHED", 1501 - finished, SOON);
    do_many("forget", "{\"status\": \"FINISHED\", \"file\": \"delete\"}", 1501);
    do_many("forget", "{\"scope\": \"own\"}", 5);
    ck_assert_uint_eq(count_names(textf("%s/autodl-storage", service.home), NULL), 0);
    add_many(10000, "http://127.0.0.1:9/f"); /* nothing is counted among those that wait */
}
END_TEST

/* --- or none --- */

/* What the store refuses half way: what waited waits again, what ran goes on where it was. */
START_TEST(a_failure_changes_nothing)
{
    service_start(&service, "--max-tasks-num", "1", NULL);
    const char *running = v1_add(&service, origin_url(origin, "/gate/g?size=100000"), NULL, NULL);
    v1_wait(&service, running, "DOWNLOADING", SOON);
    add_many(900, origin_url(origin, "/bytes/10/o"));
    query("CREATE TRIGGER fault BEFORE UPDATE ON tasks WHEN new.state IN (" PAUSED_STATE
          ", " CANCELLED_STATE
          ") AND old.url LIKE '%/o0-700' BEGIN SELECT RAISE(ABORT, 'no'); END");
    service_stop(&service);
    service_start(&service, "--max-tasks-num", "1", NULL);
    v1_wait(&service, running, "DOWNLOADING", SOON);
    const char *body = call_v1("POST", "/v1/tasks/cancel", "{\"scope\": \"own\"}", 503);
    ck_assert_ptr_nonnull(strstr(json_at(body, "message"), "nothing was changed"));
    call_v1("POST", "/v1/tasks/hold", "{\"scope\": \"own\"}", 503);
    ck_assert_int_eq(count_state(PAUSED_STATE), 0);
    ck_assert_int_eq(count_state(CANCELLED_STATE), 0);
    ck_assert_int_eq(read_count(&service, "ENQUEUED") + read_count(&service, "DOWNLOADING") +
                         read_count(&service, "FINISHED"),
                     901);
    origin_open_gate(origin, "g");
    wait_count(&service, "FINISHED", 901, SOON);
}
END_TEST

#define KILLED 3000
#define ROUNDS 8

/* In a process of its own, which ends with 0 if the answer is 200 and has this text. */
static pid_t ask_beside(const char *verb, const char *json, const char *text)
{
    pid_t pid = fork();
    if (pid == 0) {
        const char *body = "";
        int got = v1_call(&service, "POST", textf("/v1/tasks/%s", verb), json, &body);
        _exit(got != 200 || !strstr(body, text));
    }
    ck_assert_int_gt(pid, 0);
    return pid;
}

START_TEST(a_kill_leaves_all_or_none)
{
    const char *seed_text = getenv("AUTODL_SEED");
    unsigned seed = seed_text ? (unsigned)strtoul(seed_text, NULL, 10) : (unsigned)time(NULL);
    unsigned none = 0, all = 0;
    printf("# AUTODL_SEED=%u\n", seed);
    srandom(seed);
    service_start(&service, NULL);
    call_v1("POST", "/v1/pause", NULL, 200);
    add_many(KILLED, "http://127.0.0.1:9/f");
    for (unsigned round = 0; round < ROUNDS; round++) {
        pid_t asking = ask_beside("cancel", "{\"status\": \"ENQUEUED\"}", "");
        usleep((useconds_t)(random() % 120000));
        service_kill_all(&service);
        waitpid(asking, NULL, 0);
        service_start(&service, NULL);
        long cancelled = count_state(CANCELLED_STATE);
        ck_assert_msg(cancelled == 0 || cancelled == KILLED, "%ld of %d are CANCELLED", cancelled,
                      KILLED);
        none += cancelled == 0;
        all += cancelled == KILLED;
        ck_assert_int_eq(read_count(&service, "ENQUEUED"), KILLED - cancelled);
        if (cancelled > 0)
            do_many("retry", "{\"status\": \"CANCELLED\"}", KILLED);
    }
    printf("# of %d kills %u left none, %u all\n", ROUNDS, none, all);

    /* in the middle, for certain */
    query("CREATE TRIGGER fault BEFORE UPDATE ON tasks WHEN new.state = " CANCELLED_STATE
          " AND old.url LIKE '%/f0-1500' BEGIN SELECT RAISE(ABORT, 'no'); END");
    pid_t asking = ask_beside("cancel", "{\"status\": \"ENQUEUED\"}", "");
    service_wait_log(&service, "is done in part", SOON);
    v1_add(&service, "http://127.0.0.1:9/x", NULL, NULL); /* others do not mind */
    service_kill_all(&service);
    waitpid(asking, NULL, 0);
    query("DROP TRIGGER fault");
    service_start(&service, NULL);
    ck_assert_int_eq(count_state(CANCELLED_STATE), KILLED);
    ck_assert_int_eq(read_count(&service, "ENQUEUED"), 1);
}
END_TEST

/* --- and nobody else waits --- */

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define A_LOT 10000 /* which takes as long */
#else
#define A_LOT 100000
#endif
#define OTHERS_WAIT 1000 /* ms at most */

START_TEST(others_do_not_wait)
{
    static const char *const verbs[] = {"hold", "release", "cancel"};
    service_start(&service, NULL);
    call_v1("POST", "/v1/pause", NULL, 200);
    add_many(A_LOT, "http://127.0.0.1:9/f");
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
        int64_t longest = 0, began = harness_now();
        unsigned adds = 0;
        int status = -1;
        pid_t asking = ask_beside(verbs[i], "{\"q\": \"/f\"}", textf("%d", A_LOT));
        while (waitpid(asking, &status, WNOHANG) == 0) {
            int64_t start = harness_now();
            v1_add(&service, "http://127.0.0.1:9/x", NULL, NULL);
            int64_t took = harness_now() - start;
            longest = took > longest ? took : longest;
            adds++;
        }
        ck_assert_int_eq(status, 0);
        printf("# %s of %d: %lld ms; %u adds meanwhile, the longest %lld ms\n", verbs[i], A_LOT,
               (long long)(harness_now() - began), adds, (long long)longest);
        ck_assert_int_lt(longest, OTHERS_WAIT);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("many");
    TCase *tcase = tcase_create("many");
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_set_timeout(tcase, 180);
    tcase_add_test(tcase, more_than_a_thousand);
    tcase_add_test(tcase, a_failure_changes_nothing);
    tcase_add_test(tcase, a_kill_leaves_all_or_none);
    tcase_add_test(tcase, others_do_not_wait);
    suite_add_tcase(suite, tcase);
    return harness_main(suite);
}
