/* Tasks that wait until another one is FINISHED. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "database.h"
#include "harness.h"
#include "origin.h"
#include "v1.h"

#define SOON    30000 /* ms */
#define MANY    600   /* more than are looked at, or committed, at once */
#define AT_ONCE 50    /* in one request */

static struct service service;
static struct origin *origin;

static void set_up(void)
{
    ck_assert_int_eq(origin_start(&origin), 0);
    service_init(&service);
    service_start(&service, NULL);
}

static void tear_down(void)
{
    service_release(&service);
    origin_stop(origin);
}

static void expect(const char *id, const char *path, const char *value)
{
    const char *is = v1_get(&service, id, path);
    ck_assert_msg(is ? value && strcmp(is, value) == 0 : !value, "%s is %s, not %s", path,
                  is ? is : "null", value ? value : "null");
}

static const char *add(const char *path, const char *more)
{
    return v1_add(&service, origin_url(origin, path), NULL, more);
}

static const char *add_after(const char *path, const char *after)
{
    return add(path, textf("\"after\": \"%s\"", after));
}

/* One that downloads until the gate is open. */
static const char *add_at_gate(void)
{
    const char *id = add("/gate/g?size=100", NULL);
    v1_wait(&service, id, "DOWNLOADING", SOON);
    return id;
}

static void expect_failed(const char *id, const char *after, const char *why)
{
    v1_wait(&service, id, "FAILED", SOON);
    expect(id, "error.code", "dependency");
    const char *message = v1_get(&service, id, "error.message");
    ck_assert_msg(strstr(message, after) && strstr(message, why), "%s: no %s", message, why);
}

/* --- well --- */

START_TEST(a_chain_goes_link_by_link)
{
    const char *a = add_at_gate(), *b = add_after("/bytes/100/b", a);
    const char *c = add_after("/bytes/100/c", b), *d = add_after("/bytes/100/d", b);
    const char *other = add("/bytes/100/o", NULL);
    const char *links[] = {b, c, d};
    v1_wait(&service, other, "FINISHED", SOON);
    for (unsigned i = 0; i < 3; i++) {
        expect(links[i], "waiting_for.reason", "after");
        expect(links[i], "waiting_for.until", NULL);
        expect(links[i], "position", NULL);
    }
    ck_assert_int_eq(read_count(&service, "ENQUEUED"), 3);
    origin_open_gate(origin, "g");
    v1_wait(&service, c, "FINISHED", SOON);
    v1_wait(&service, d, "FINISHED", SOON);
    const char *a_end = v1_get(&service, a, "finished_at"),
               *b_start = v1_get(&service, b, "started_at");
    const char *b_end = v1_get(&service, b, "finished_at"),
               *c_start = v1_get(&service, c, "started_at");
    ck_assert(strcmp(a_end, b_start) <= 0 && strcmp(b_end, c_start) <= 0); /* RFC 3339 */
    ck_assert_uint_eq(origin_requests(origin), 5);
}
END_TEST

/* The other ended before. */
START_TEST(of_one_that_has_ended)
{
    const char *done = add("/bytes/100/a", NULL), *failed = add("/status/404/a", NULL);
    v1_wait(&service, done, "FINISHED", SOON);
    v1_wait(&service, failed, "FAILED", SOON);
    v1_wait(&service, add_after("/bytes/100/b", done), "FINISHED", SOON);
    expect_failed(add_after("/bytes/100/c", failed), failed, "FAILED");
}
END_TEST

START_TEST(a_start_time_comes_after_it)
{
    char moment[32];
    time_t start = time(NULL) + 3;
    strftime(moment, sizeof moment, "%Y-%m-%dT%H:%M:%SZ", gmtime(&start));
    const char *a = add_at_gate();
    const char *b =
        add("/bytes/100/b", textf("\"after\": \"%s\", \"not_before\": \"%s\"", a, moment));
    expect(b, "waiting_for.reason", "after");
    v1_verb(&service, b, "hold", 200);
    v1_verb(&service, b, "release", 200);
    expect(b, "waiting_for.reason", "after");
    origin_open_gate(origin, "g");
    v1_wait_reason(&service, b, "start_time", SOON);
    v1_wait(&service, b, "FINISHED", SOON);
    ck_assert_int_ge(time(NULL), start);
}
END_TEST

/* Whatever else people wish of it. */
START_TEST(changes_leave_it_waiting)
{
    const char *a = add_at_gate(), *b = add_after("/bytes/100/b", a), *body;
    const char *target = textf("/v1/tasks/%s", b);
    const char *change = textf("{\"priority\": 5, \"not_before\": \"2020-02-29T00:00:00Z\", "
                               "\"url\": \"%s\"}",
                               origin_url(origin, "/bytes/200/b"));
    ck_assert_int_eq(v1_call(&service, "PATCH", target, change, &body), 200);
    expect(b, "waiting_for.reason", "after");
    v1_verb(&service, b, "first", 409);
    service_kill_all(&service);
    service_start(&service, NULL);
    expect(b, "waiting_for.reason", "after");
    origin_open_gate(origin, "g");
    v1_wait(&service, b, "FINISHED", SOON);
    expect(b, "bytes_total", "200");
}
END_TEST

/* --- badly --- */

START_TEST(any_other_end_fails_them)
{
    const char *a = add_at_gate(), *b = add_after("/bytes/100/b", a),
               *c = add_after("/bytes/100/c", b);
    const char *held = add_after("/bytes/100/h", a);
    v1_verb(&service, held, "hold", 200);
    v1_verb(&service, a, "cancel", 200);
    expect_failed(b, a, "CANCELLED");
    expect_failed(c, b, "FAILED");
    expect(held, "status", "PAUSED");
    v1_verb(&service, held, "release", 200); /* it finds out then */
    expect_failed(held, a, "CANCELLED");

    a = add("/status/404/x", "\"paused\": true");
    b = add_after("/bytes/100/b", a);
    expect(b, "waiting_for.reason", "after");
    v1_verb(&service, a, "release", 200);
    expect_failed(b, a, "FAILED");
}
END_TEST

START_TEST(what_failed_stays_so_until_retried)
{
    const char *a = add_at_gate(), *b = add_after("/bytes/100/b", a),
               *c = add_after("/bytes/100/c", b);
    v1_verb(&service, a, "cancel", 200);
    expect_failed(c, b, "FAILED");
    v1_verb(&service, a, "retry", 200);
    origin_open_gate(origin, "g");
    v1_wait(&service, a, "FINISHED", SOON);
    expect(b, "status", "FAILED");
    v1_verb(&service, c, "retry", 200); /* what it waits for is still FAILED */
    expect_failed(c, b, "FAILED");
    v1_verb(&service, b, "retry", 200);
    v1_wait(&service, b, "FINISHED", SOON);
    v1_verb(&service, c, "retry", 200);
    v1_wait(&service, c, "FINISHED", SOON);
}
END_TEST

START_TEST(of_one_that_is_forgotten)
{
    const char *a = add_at_gate(), *b = add_after("/bytes/100/b", a),
               *c = add_after("/bytes/100/c", a);
    const char *body;
    v1_verb(&service, b, "hold", 200);
    v1_verb(&service, c, "hold", 200);
    origin_open_gate(origin, "g");
    v1_wait(&service, a, "FINISHED", SOON);
    v1_verb(&service, c, "release", 200);
    v1_wait(&service, c, "FINISHED", SOON); /* once is enough */
    ck_assert_int_eq(v1_call(&service, "DELETE", textf("/v1/tasks/%s", a), NULL, &body), 204);
    v1_verb(&service, b, "release", 200);
    expect_failed(b, a, "not there");
}
END_TEST

START_TEST(a_clear_takes_them_too)
{
    const char *a = add_at_gate(), *b = add_after("/bytes/100/b", a);
    const char *c = add("/bytes/100/c", textf("\"after\": \"%s\", \"paused\": true", b));
    call(&service, NULL, "POST", "/clear");
    expect(b, "status", "CLEARED");
    expect(c, "status", "PAUSED");
    v1_verb(&service, c, "release", 200);
    expect_failed(c, b, "CLEARED");
    v1_verb(&service, b, "retry", 200);
    expect(b, "waiting_for.reason", "after"); /* still */
    v1_verb(&service, b, "cancel", 200);
    expect(b, "status", "CANCELLED");
    origin_open_gate(origin, "g");
}
END_TEST

/* --- many, and across starts --- */

static void add_many_after(const char *a)
{
    for (unsigned i = 0; i < MANY; i += AT_ONCE) {
        size_t size = 0;
        _cleanup_free_ char *json = NULL;
        const char *body;
        FILE *text = open_memstream(&json, &size);
        fprintf(text, "{\"tasks\": [");
        for (unsigned j = i; j < i + AT_ONCE; j++)
            fprintf(text, "%s{\"url\": \"%s\", \"after\": \"%s\", \"name\": \"n%u\"}",
                    j > i ? "," : "", origin_url(origin, "/bytes/10/n"), a, j);
        fprintf(text, "]}");
        fclose(text);
        ck_assert_int_eq(v1_call(&service, "POST", "/v1/tasks", json, &body), 201);
    }
}

START_TEST(many_wait_for_one)
{
    bool well = _i;
    const char *a = add_at_gate();
    add_many_after(a);
    ck_assert_int_eq(read_count(&service, "ENQUEUED"), MANY);
    if (well)
        origin_open_gate(origin, "g");
    else
        v1_verb(&service, a, "cancel", 200);
    wait_count(&service, well ? "FINISHED" : "FAILED", well ? MANY + 1 : MANY, SOON);
    ck_assert_int_eq(read_count(&service, "ENQUEUED"), 0);
    ck_assert_uint_eq(origin_requests(origin), well ? MANY + 1 : 1);
}
END_TEST

START_TEST(it_goes_on_after_a_kill)
{
    const char *a = add_at_gate(), *b = add_after("/bytes/100/b", a),
               *c = add_after("/bytes/100/c", b);
    service_kill_all(&service);
    service_start(&service, NULL);
    v1_wait(&service, a, "DOWNLOADING", SOON);
    expect(b, "waiting_for.reason", "after");
    expect(c, "waiting_for.reason", "after");
    origin_open_gate(origin, "g");
    v1_wait(&service, c, "FINISHED", SOON);
}
END_TEST

/* The power went between the other's end and what comes of it. */
static const struct {
    const char *change, *state, *why; /* of the other; %s: its id */
} ends[] = {
    {"UPDATE tasks SET state = 3, has_part = 0 WHERE id = '%s'", "FINISHED", NULL       },
    {"UPDATE tasks SET state = 4, has_part = 0 WHERE id = '%s'", "FAILED",   "FAILED"   },
    {"UPDATE tasks SET state = 8, has_part = 0 WHERE id = '%s'", "FAILED",   "CANCELLED"},
    {"DELETE FROM tasks WHERE id = '%s'",                        "FAILED",   "not there"},
};

START_TEST(a_start_looks_what_became_of_the_other)
{
    const char *a = add_at_gate(), *b = add_after("/bytes/100/b", a);
    add_many_after(a);
    service_kill_all(&service);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    ask_database(&service, textf(ends[_i].change, a));
#pragma GCC diagnostic pop
    service_start(&service, NULL);
    v1_wait(&service, b, ends[_i].state, SOON);
    if (ends[_i].why)
        expect_failed(b, a, ends[_i].why);
    wait_count(&service, ends[_i].state, MANY + 1, SOON);
    origin_open_gate(origin, "g");
}
END_TEST

/* They count among those that may wait. */
START_TEST(they_count)
{
    const char *body;
    service_stop(&service);
    service_start(&service, "--max-waiting-per-user", "2", "--max-tasks-num", "1", NULL);
    const char *a = add_at_gate();
    ck_assert_int_eq(v1_try_add(&service, origin_url(origin, "/bytes/1/d"), NULL,
                                "\"after\": \"00000000\"", &body),
                     400);
    add_after("/bytes/100/b", a);
    add_after("/bytes/100/c", a);
    ck_assert_int_eq(v1_try_add(&service, origin_url(origin, "/bytes/1/d"), NULL, NULL, &body),
                     429);
    origin_open_gate(origin, "g");
    wait_count(&service, "FINISHED", 3, SOON);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("after");
    TCase *tcase = tcase_create("after");
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, a_chain_goes_link_by_link);
    tcase_add_test(tcase, of_one_that_has_ended);
    tcase_add_test(tcase, a_start_time_comes_after_it);
    tcase_add_test(tcase, changes_leave_it_waiting);
    tcase_add_test(tcase, any_other_end_fails_them);
    tcase_add_test(tcase, what_failed_stays_so_until_retried);
    tcase_add_test(tcase, of_one_that_is_forgotten);
    tcase_add_test(tcase, a_clear_takes_them_too);
    tcase_add_loop_test(tcase, many_wait_for_one, 0, 2);
    tcase_add_test(tcase, it_goes_on_after_a_kill);
    tcase_add_loop_test(tcase, a_start_looks_what_became_of_the_other, 0, 4);
    tcase_add_test(tcase, they_count);
    suite_add_tcase(suite, tcase);
    return harness_main(suite);
}
