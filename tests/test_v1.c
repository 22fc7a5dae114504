/*
 * Version 1 over the real service: lists, many at once, changes, verbs for many, settings, stats.
 * One task at a time: tests/test_service.c and others.
 */
#include <json-c/json.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/buf.h"
#include "harness.h"
#include "origin.h"
#include "v1.h"

#define SOON 30000 /* ms */

static struct service service;
static struct origin *origin, *other;

static void set_up(void)
{
    ck_assert_int_eq(origin_start(&origin), 0);
    ck_assert_int_eq(origin_start(&other), 0);
    service_init(&service);
}

static void tear_down(void)
{
    service_release(&service);
    origin_stop(other);
    origin_stop(origin);
}

static const char *call_v1(const char *method, const char *target, const char *json, int status)
{
    const char *body = "";
    int got = v1_call(&service, method, target, json, &body);
    ck_assert_msg(got == status, "%s %s %s gives %d, not %d: %s", method, target, json ? json : "",
                  got, status, body);
    return body;
}

static void expect(const char *id, const char *path, const char *value)
{
    const char *is = v1_get(&service, id, path);
    ck_assert_msg(is ? value && strcmp(is, value) == 0 : !value, "%s is %s, not %s", path,
                  is ? is : "null", value ? value : "null");
}

/* A member of each of "tasks", with blanks between them. */
static const char *members(const char *body, const char *name)
{
    struct json_object *root = json_tokener_parse(body), *tasks = NULL, *value;
    struct buf text;
    buf_init(&text, 1 << 20);
    ck_assert_msg(json_object_object_get_ex(root, "tasks", &tasks), "no tasks in %s", body);
    for (size_t i = 0; i < json_object_array_length(tasks); i++) {
        ck_assert(json_object_object_get_ex(json_object_array_get_idx(tasks, i), name, &value));
        buf_printf(&text, "%s%s", i ? " " : "", json_object_get_string(value));
    }
    json_object_put(root);
    const char *result = textf("%s", text.data ? text.data : "");
    buf_release(&text);
    return result;
}

static void expect_list(const char *query, const char *names)
{
    const char *body = call_v1("GET", textf("/v1/tasks%s", query), NULL, 200);
    const char *are = members(body, "name");
    ck_assert_msg(strcmp(are, names) == 0, "%s gives %s, not %s", query, are, names);
}

static const char *add_named(struct origin *at, const char *path, const char *name,
                             const char *more)
{
    return v1_add(&service, origin_url(at, path), NULL,
                  textf("\"name\": \"%s\"%s%s", name, more ? ", " : "", more ? more : ""));
}

/* --- lists --- */

START_TEST(lists_are_filtered_and_paged)
{
    service_start(&service, "--max-tasks-num", "1", NULL);
    const char *a = add_named(origin, "/bytes/100/a", "a", "\"label\": \"Holiday\"");
    v1_wait(&service, a, "FINISHED", SOON);
    const char *b = add_named(origin, "/status/404/b", "b", NULL);
    v1_wait(&service, b, "FAILED", SOON);
    const char *c = add_named(origin, "/gate/g?size=1000", "c", NULL);
    v1_wait(&service, c, "DOWNLOADING", SOON);
    int64_t end = harness_now() + SOON;
    while (!v1_get(&service, c, "http_status")) /* known as soon as it has come */
        ck_assert_int_lt(harness_now(), end);
    expect(c, "http_status", "200");
    expect(c, "status", "DOWNLOADING");
    const char *d = add_named(other, "/bytes/100/d?token=secret", "d", NULL);
    const char *e = add_named(other, "/bytes/100/e", "e", "\"priority\": 5");
    add_named(origin, "/bytes/100/f", "f", "\"paused\": true");

    expect_list("", "f e d c b a");
    expect_list("?limit=1000&scope=own", "f e d c b a");
    expect_list("?status=DOWNLOADING", "c");
    expect_list("?status=ENQUEUED", "e d");
    expect_list("?status=ENQUEUED,DOWNLOADING,PAUSED", "f e d c");
    expect_list("?status=FINISHED", "a");
    expect_list("?status=FAILED,FINISHED", "b a");
    expect_list("?status=CANCELLED", "");
    expect_list(textf("?host=127.0.0.1:%u", origin_port(other)), "e d");
    expect_list("?host=example.org", "");
    expect_list("?q=HOLI", "a");
    expect_list("?q=token%3dsecret", "d");
    expect_list("?q=nothing", "");
    expect_list(textf("?user=%s", harness_user()->name), "f e d c b a");
    expect_list("?user=nobody-has-this-name", "");
    expect_list("?since=2020-01-01T00:00:00Z", "f e d c b a");
    expect_list("?until=2020-01-01T00:00:00Z", "");
    expect_list(textf("?since=%s", "2099-01-01T00:00:00Z"), "f e d c"); /* they have not ended */

    const char *first = call_v1("GET", "/v1/tasks?limit=4", NULL, 200);
    ck_assert_str_eq(members(first, "name"), "f e d c");
    const char *next = json_at(first, "next");
    ck_assert_ptr_nonnull(next);
    add_named(origin, "/bytes/100/g", "g", NULL); /* what comes meanwhile moves no page */
    const char *second = call_v1("GET", textf("/v1/tasks?limit=4&after=%s", next), NULL, 200);
    ck_assert_str_eq(members(second, "name"), "b a");
    ck_assert_ptr_null(json_at(second, "next"));
    const char *whole = call_v1("GET", "/v1/tasks?limit=2&status=FINISHED,FAILED", NULL, 200);
    ck_assert_ptr_null(json_at(whole, "next")); /* just as many as there are */

    ck_assert_str_eq(members(call_v1("GET", "/v1/tasks?status=ENQUEUED", NULL, 200), "position"),
                     "3 1 2");
    expect(e, "position", "1");
    expect(d, "position", "2");
    expect(c, "position", NULL);
    origin_open_gate(origin, "g");
    v1_wait(&service, d, "FINISHED", SOON);
    expect_list("?status=ENQUEUED,DOWNLOADING,FINISHING,PAUSED&q=f", "f");
}
END_TEST

/* --- many at once --- */

static const char *url_list(unsigned count, const char *prefix)
{
    struct buf text;
    buf_init(&text, 4 << 20);
    for (unsigned i = 0; i < count; i++)
        buf_printf(&text, "%s{\"url\": \"%s%u\"}", i ? ", " : "", prefix, i);
    const char *result = textf("%s", text.data);
    buf_release(&text);
    return result;
}

static const char *add_many(const char *tasks, int status)
{
    return call_v1("POST", "/v1/tasks", textf("{\"tasks\": [%s]}", tasks), status);
}

START_TEST(many_are_added_or_none)
{
    service_start(&service, "--max-waiting-per-user", "60", NULL);
    call_v1("POST", "/v1/pause", NULL, 200);
    const char *there = make_directory(&service, "there");
    file_write(textf("%s/a", there), "x");
    file_write(textf("%s/a-2", there), "x");
    const char *one = textf("{\"url\": \"http://h/a\", \"directory\": \"%s\"}", there);
    const char *body = add_many(
        textf("%s, {\"url\": \"http://h/b\", \"label\": \"l\"}, %s, %s", one, one, one), 201);
    ck_assert_str_eq(members(body, "name"), "a-1 b a-3 a-4");
    ck_assert_str_eq(members(body, "status"), "ENQUEUED ENQUEUED ENQUEUED ENQUEUED");
    ck_assert_str_eq(members(body, "position"), "1 2 3 4");
    ck_assert_str_eq(members(add_many(textf("%s, %s", one, one), 201), "name"), "a-5 a-6");

    /* none, whichever is wrong */
    const char *bad =
        add_many("{\"url\": \"http://h/x\"}, {\"url\": \"http://h/y\", \"directory\": "
                 "\"/proc/nowhere\"}",
                 403);
    ck_assert_msg(strncmp(json_at(bad, "message"), "tasks[1]: /proc/nowhere: ", 25) == 0, "%s",
                  bad);
    bad =
        add_many("{\"url\": \"http://h/x\"}, {\"url\": \"http://h/x\", \"after\": \"0000\"}", 400);
    ck_assert_str_eq(json_at(bad, "message"), "tasks[1].after: you have no task with the id 0000");
    bad = add_many(textf("{\"url\": \"http://h/x\"}, {\"url\": \"http://h/a-1\", \"directory\": "
                         "\"%s\", \"if_exists\": \"overwrite\"}",
                         there),
                   409);
    ck_assert_msg(strncmp(json_at(bad, "message"), "tasks[1]: ", 10) == 0, "%s", bad);
    add_many(url_list(55, "http://h/many"), 429); /* 6 wait */
    ck_assert_int_eq(read_count(&service, "ENQUEUED"), 6);
    add_many(url_list(54, "http://h/many"), 201);
    add_many("{\"url\": \"http://h/x\"}", 429);
    ck_assert_int_eq(read_count(&service, "ENQUEUED"), 60);
}
END_TEST

/* Of 2,000 ids some begin with the same four characters. */
START_TEST(what_a_prefix_may_mean_is_told)
{
    service_start(&service, NULL);
    struct buf json;
    buf_init(&json, 1 << 20);
    for (int i = 0; i < 2000; i++)
        buf_printf(&json, "%s{\"url\": \"%s\", \"paused\": true}", i ? ", " : "{\"tasks\": [",
                   origin_url(origin, "/bytes/1/x"));
    buf_add_string(&json, "]}");
    char *ids = strdup(members(call_v1("POST", "/v1/tasks", json.data, 201), "id"));
    buf_release(&json);
    const char *one = NULL, *twin = NULL;
    for (const char *next = ids; !twin; next = strchr(one, ' ') + 1) {
        one = next;
        ck_assert_msg(strchr(one, ' '), "no two ids begin alike");
        char beginning[] = " 0123";
        memcpy(beginning + 1, one, 4);
        twin = strstr(one, beginning);
    }
    const char *body = call_v1("GET", textf("/v1/tasks/%.4s", one), NULL, 409);
    ck_assert_ptr_nonnull(strstr(body, textf("%.36s", one)));
    ck_assert_ptr_nonnull(strstr(body, textf("%.36s", twin + 1)));
    free(ids);
}
END_TEST

START_TEST(many_skip_what_is_there)
{
    service_start(&service, NULL);
    call_v1("POST", "/v1/pause", NULL, 200);
    const char *there = make_directory(&service, "there");
    file_write(textf("%s/old", there), "x");
    const char *skip = textf("\"directory\": \"%s\", \"if_exists\": \"skip\"", there);
    const char *twin = v1_add(&service, "http://h/twin", there, NULL);
    const char *body =
        add_many(textf("{\"url\": \"http://h/old\", %s}, {\"url\": \"http://h/twin\", "
                       "%s}, {\"url\": \"http://h/new\", %s}, {\"url\": "
                       "\"http://g/new\", %s}",
                       skip, skip, skip, skip),
                 201);
    ck_assert_str_eq(members(body, "status"), "FINISHED ENQUEUED ENQUEUED ENQUEUED");
    const char *ids = members(body, "id");
    ck_assert_ptr_nonnull(strstr(ids, twin));
    ck_assert_str_eq(textf("%.36s", ids + 2 * 37), ids + 3 * 37); /* the same task */
    ck_assert_int_eq(read_count(&service, "ENQUEUED"), 2);
    ck_assert_int_eq(read_count(&service, "FINISHED"), 1);
    expect(textf("%.36s", ids), "error.code", "exists");
}
END_TEST

/* The first takes the name, and finds it on the disk: then the second has no twin. */
START_TEST(many_skip_what_another_did_not_get)
{
    service_start(&service, NULL);
    call_v1("POST", "/v1/pause", NULL, 200);
    const char *there = make_directory(&service, "there");
    file_write(textf("%s/old", there), "x");
    const char *rename = textf("\"directory\": \"%s\"", there);
    const char *skip = textf("%s, \"if_exists\": \"skip\"", rename);
    const char *body = add_many(textf("{\"url\": \"http://h/old\", %s}, {\"url\": "
                                      "\"http://h/old\", %s}, {\"url\": \"http://h/new\", %s}, "
                                      "{\"url\": \"http://h/new\", %s}",
                                      rename, skip, rename, skip),
                                201);
    ck_assert_str_eq(members(body, "status"), "ENQUEUED FINISHED ENQUEUED ENQUEUED");
    ck_assert_str_eq(members(body, "name"), "old-1 old new new");
    const char *ids = members(body, "id");
    ck_assert_str_eq(textf("%.36s", ids + 2 * 37), ids + 3 * 37); /* the same task */
}
END_TEST

/* Somebody whose tasks of a name come and go. */
static void come_and_go(const char *there)
{
    for (;;) {
        const char *body;
        v1_try_add(&service, "http://h/going", there, "\"if_exists\": \"skip\"", &body);
        const char *id = json_at(body, "id");
        if (id)
            v1_call(&service, "POST", textf("/v1/tasks/%s/cancel", id), NULL, &body);
    }
}

/* Who has to begin anew, as somebody came between, has found out nothing yet. */
START_TEST(many_begin_anew)
{
    enum { ROUNDS = 300 };
    service_start(&service, NULL);
    call_v1("POST", "/v1/pause", NULL, 200);
    const char *there = make_directory(&service, "there");
    const char *skip = textf("\"directory\": \"%s\", \"if_exists\": \"skip\"", there);
    const char *twin = v1_add(&service, "http://h/twin", there, NULL);
    pid_t somebody = fork();
    if (somebody == 0)
        come_and_go(there);
    for (int i = 0; i < ROUNDS; i++) {
        const char *body = add_many(textf("{\"url\": \"http://h/twin\", %s}, {\"url\": "
                                          "\"http://h/going\", %s}",
                                          skip, skip),
                                    201);
        ck_assert_str_eq(members(body, "name"), "twin going");
        const char *ids = members(body, "id");
        ck_assert_str_eq(textf("%.36s", ids), twin);
        call_v1("POST", textf("/v1/tasks/%s/cancel", ids + 37), NULL, 200);
    }
    kill(somebody, SIGKILL);
    wait_exit(somebody, SOON);
}
END_TEST

START_TEST(many_survive_a_kill)
{
    service_start(&service, NULL);
    call_v1("POST", "/v1/pause", NULL, 200);
    add_many(url_list(80, "http://127.0.0.1:9/f"), 201);
    service_kill_all(&service);
    service_start(&service, NULL);
    ck_assert_int_eq(read_count(&service, "ENQUEUED"), 80);
    expect_list("?limit=2", "f79 f78");
    ck_assert_str_eq(json_at(call_v1("POST", "/v1/clear", NULL, 200), "count"), "80");
}
END_TEST

/* --- at the same moment --- */

#define AT_ONCE 20

/* Asks them all while the user's filer stands still, so that they wait for it together. */
static void add_at_once(const char *const *jsons, const char **ret_bodies)
{
    pid_t filers[8];
    int fds[AT_ONCE];
    unsigned count = service_filers(&service, (uid_t)-1, filers, 8);
    ck_assert_uint_ge(count, 1);
    for (unsigned i = 0; i < count; i++)
        ck_assert_int_eq(kill(filers[i], SIGSTOP), 0);
    for (unsigned i = 0; i < AT_ONCE; i++) {
        const char *request =
            http_request_text("POST", "/v1/tasks", "Content-Type: application/json\r\n", jsons[i]);
        fds[i] = connect_unix(service.socket, NULL);
        ck_assert_int_eq(write(fds[i], request, strlen(request)), (ssize_t)strlen(request));
    }
    /* What is asserted holds however many of them have arrived by now. */
    nanosleep(&(struct timespec){.tv_nsec = 300 * 1000000}, NULL);
    for (unsigned i = 0; i < count; i++)
        ck_assert_int_eq(kill(filers[i], SIGCONT), 0);
    for (unsigned i = 0; i < AT_ONCE; i++) {
        _cleanup_answer_ struct answer answer;
        http_exchange(fds[i], "", 0, &answer);
        ck_assert_msg(answer.status == 201 || answer.status == 200, "%s gives %d: %s", jsons[i],
                      answer.status, answer.body);
        ret_bodies[i] = textf("%s", answer.body);
    }
}

static bool has_dest(const char *const *bodies, const char *dest)
{
    for (unsigned i = 0; i < AT_ONCE; i++)
        if (strcmp(json_at(bodies[i], "dest"), dest) == 0)
            return true;
    return false;
}

START_TEST(adds_at_the_same_moment)
{
    const char *jsons[AT_ONCE], *bodies[AT_ONCE];
    service_start(&service, NULL);
    const char *dir = make_directory(&service, "files"), *sub = make_directory(&service, "sub");
    call(&service, NULL, "POST", "/pause");
    v1_add(&service, origin_url(origin, "/bytes/10/first"), dir, NULL);
    file_write(textf("%s/mine", dir), "mine");
    file_write(textf("%s/there", dir), "mine");
    file_write(textf("%s/old", dir), "old");

    unsigned n = 0;
    for (; n < 8; n++)
        jsons[n] = textf("{\"url\": \"%s\", \"directory\": \"%s\"}",
                         origin_url(origin, "/bytes/10/same"), dir);
    static const struct {
        const char *name, *more;
    } others[] = {
        {"a",     ""                              },
        {"b",     ""                              },
        {"c",     ""                              },
        {"first", ""                              },
        {"mine",  ""                              },
        {"there", ", \"if_exists\": \"skip\""     },
        {"old",   ", \"if_exists\": \"overwrite\""},
        {"twin",  ", \"if_exists\": \"skip\""     },
        {"twin",  ", \"if_exists\": \"skip\""     },
        {"new",   ", \"if_exists\": \"overwrite\""}
    };
    for (unsigned i = 0; i < sizeof others / sizeof *others; i++)
        jsons[n++] =
            textf("{\"url\": \"%s\", \"directory\": \"%s\"%s}",
                  origin_url(origin, textf("/bytes/10/%s", others[i].name)), dir, others[i].more);
    for (; n < AT_ONCE; n++)
        jsons[n] = textf("{\"url\": \"%s\", \"directory\": \"%s\"}",
                         origin_url(origin, "/bytes/10/same"), sub);
    add_at_once(jsons, bodies);

    static const char *const names[] = {"same",   "same-1",  "same-2", "same-3", "same-4", "same-5",
                                        "same-6", "same-7",  "a",      "b",      "c",      "mine-1",
                                        "there",  "first-1", "old",    "twin",   "new"};
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
        ck_assert_msg(has_dest(bodies, textf("%s/%s", dir, names[i])), "none has %s", names[i]);
    ck_assert(has_dest(bodies, textf("%s/same", sub)) && has_dest(bodies, textf("%s/same-1", sub)));
    ck_assert_str_eq(json_at(bodies[13], "status"), "FINISHED"); /* "there" */
    ck_assert_str_eq(json_at(bodies[15], "id"), json_at(bodies[16], "id"));

    call(&service, NULL, "POST", "/resume");
    for (unsigned i = 0; i < AT_ONCE; i++)
        v1_wait(&service, json_at(bodies[i], "id"), "FINISHED", SOON);
    for (unsigned i = 0; i < 3; i++) {
        _cleanup_free_ char *text = file_read(textf("%s/%s", dir,
                                                    i == 0   ? "mine"
                                                    : i == 1 ? "there"
                                                             : "old"));
        ck_assert_int_eq(strcmp(text, "mine") == 0, i < 2);
        ck_assert_str_ne(text, "old");
    }
    ck_assert_uint_eq(count_names(dir, NULL), 19);
    ck_assert_uint_eq(count_names(sub, NULL), 2);
}
END_TEST

/* --- changes --- */

static int64_t count_secrets(void)
{
    sqlite3 *connection;
    sqlite3_stmt *statement;
    const char *path = textf("%s/state/autodl/autodl.db", service.dir);
    ck_assert_int_eq(sqlite3_open_v2(path, &connection, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
    ck_assert_int_eq(
        sqlite3_prepare_v2(connection, "SELECT count(*) FROM secrets", -1, &statement, NULL),
        SQLITE_OK);
    ck_assert_int_eq(sqlite3_step(statement), SQLITE_ROW);
    int64_t count = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    sqlite3_close(connection);
    return count;
}

static void change(const char *id, const char *json, int status)
{
    call_v1("PATCH", textf("/v1/tasks/%s", id), json, status);
}

START_TEST(what_waits_is_changed)
{
    service_start(&service, "--max-tasks-num", "1", NULL);
    const char *running = add_named(origin, "/gate/g?size=1000", "r", NULL);
    v1_wait(&service, running, "DOWNLOADING", SOON);
    const char *a = add_named(origin, "/bytes/100/a", "a", NULL);
    const char *b = add_named(origin, "/bytes/100/b", "b", NULL);
    const char *c = add_named(origin, "/bytes/100/c", "c", "\"paused\": true");
    change(b, "{\"priority\": 7, \"label\": \"mine\"}", 200);
    expect(b, "position", "1");
    expect(a, "position", "2");
    expect(b, "priority", "7");
    change(a, "{\"label\": \"keeps its place\", \"rate_limit\": 500}", 200);
    expect(a, "position", "2");
    change(c, "{\"priority\": 9}", 200);
    expect(c, "status", "PAUSED");
    v1_verb(&service, c, "release", 200);
    expect(c, "position", "1");
    change(b, "{\"not_before\": \"2090-01-01T00:00:00Z\"}", 200);
    expect(b, "waiting_for.reason", "start_time");
    change(b, "{\"not_before\": \"2020-01-01T00:00:00Z\"}", 200);
    expect(b, "waiting_for.reason", "slot");

    change(running, "{\"label\": \"r\", \"priority\": 3, \"rate_limit\": 9000, \"max_ranges\": 1}",
           200);
    expect(running, "label", "r");
    expect(running, "priority", "3");
    change(running, "{\"url\": \"http://h/\"}", 409);
    change(running, "{\"not_before\": \"2090-01-01T00:00:00Z\"}", 409);
    change("0000", "{\"priority\": 7}", 404);
    service_kill_all(&service);
    service_start(&service, NULL);
    expect(running, "label", "r");
    expect(b, "priority", "7");
    v1_wait(&service, running, "DOWNLOADING", SOON);
    change(running, "{\"label\": \"r2\"}", 200);
    origin_open_gate(origin, "g");
    v1_wait(&service, running, "FINISHED", SOON);
    expect(running, "label", "r2"); /* not written over by how it ended */
    change(running, "{\"priority\": 3}", 409);
    change(running, "{\"label\": \"done\"}", 200);
    expect(running, "label", "done");
    change(running, "{\"label\": \"\"}", 200);
    expect(running, "label", NULL);
}
END_TEST

START_TEST(a_task_gets_another_url)
{
    service_start(&service, NULL);
    const char *id = add_named(origin, "/status/404/x", "x",
                               "\"headers\": {\"Cookie\": \"a=b\"}, \"username\": \"u\"");
    v1_wait(&service, id, "FAILED", SOON);
    ck_assert_int_eq(count_secrets(), 1);
    change(id, textf("{\"url\": \"%s\"}", origin_url(origin, "/status/403/x")), 200);
    ck_assert_int_eq(count_secrets(), 1); /* the same server may have them */
    change(id, textf("{\"url\": \"%s\"}", origin_url(other, "/bytes/5000/x")), 200);
    ck_assert_int_eq(count_secrets(), 0);
    expect(id, "status", "FAILED");
    v1_verb(&service, id, "retry", 200);
    v1_wait(&service, id, "FINISHED", SOON);
    ck_assert_int_eq(origin_expect_file(v1_get(&service, id, "dest"), "/bytes/5000/x"), 0);
    expect(id, "name", "x");
    expect_list(textf("?host=127.0.0.1:%u", origin_port(other)), "x");
}
END_TEST

START_TEST(the_last_can_be_first)
{
    service_start(&service, "--max-tasks-num", "1", NULL);
    const char *running = add_named(origin, "/gate/g?size=1000", "r", NULL);
    v1_wait(&service, running, "DOWNLOADING", SOON);
    const char *a = add_named(origin, "/bytes/100/a", "a", "\"priority\": 4");
    add_named(origin, "/bytes/100/b", "b", NULL);
    const char *c = add_named(origin, "/gate/h?size=1000", "c", "\"priority\": -9");
    v1_verb(&service, c, "first", 200);
    expect(c, "position", "1");
    expect(c, "priority", "4");
    expect(a, "position", "2");
    v1_verb(&service, running, "first", 409);
    origin_open_gate(origin, "g");
    v1_wait(&service, c, "DOWNLOADING", SOON);
    expect(a, "status", "ENQUEUED");
    origin_open_gate(origin, "h");
}
END_TEST

/* --- verbs for many --- */

static void do_many(const char *verb, const char *json, const char *count)
{
    const char *body = call_v1("POST", textf("/v1/tasks/%s", verb), json, 200);
    ck_assert_msg(strcmp(json_at(body, "count"), count) == 0, "%s %s gives %s, not %s", verb, json,
                  body, count);
}

START_TEST(verbs_for_many)
{
    service_start(&service, "--max-tasks-num", "2", "--max-per-host", "1", NULL);
    const char *running = add_named(origin, "/gate/g?size=1000", "r", NULL);
    v1_wait(&service, running, "DOWNLOADING", SOON);
    add_many(url_list(80, origin_url(origin, "/bytes/10/o")), 201);
    const char *busy = add_named(other, "/gate/h?size=1000", "s", NULL);
    v1_wait(&service, busy, "DOWNLOADING", SOON);
    const char *at_other = textf("{\"host\": \"127.0.0.1:%u\"}", origin_port(other));
    const char *at_origin = textf("{\"host\": \"127.0.0.1:%u\"}", origin_port(origin));

    do_many("cancel", at_other, "1"); /* what runs is told */
    expect(busy, "status", "CANCELLED");
    do_many("hold", at_origin, "81");
    expect(running, "status", "PAUSED");
    ck_assert_int_eq(read_count(&service, "PAUSED"), 81);
    do_many("hold", at_origin, "0");
    do_many("release", "{\"q\": \"/bytes/10/o1\"}", "11");
    do_many("cancel", "{\"status\": \"PAUSED\"}", "70");
    do_many("forget", "{\"status\": \"CANCELLED\", \"q\": \"/gate/\"}", "2");
    do_many("retry", textf("{\"ids\": [\"%s\", \"0000\"]}", running), "0"); /* it is forgotten */
    do_many("retry", "{\"status\": \"CANCELLED,FINISHED\"}", "69");
    wait_count(&service, "FINISHED", 80, SOON);
    do_many("forget", "{\"scope\": \"own\", \"file\": \"delete\"}", "80");
    expect_list("", "");
    ck_assert_uint_eq(count_names(textf("%s/autodl-storage", service.home), NULL), 0);
}
END_TEST

/* --- the service --- */

static const char *setting(const char *path)
{
    return json_at(call_v1("GET", "/v1/settings", NULL, 200), path);
}

START_TEST(settings_at_run_time)
{
    file_write(service.config, "max-per-host = 3\n");
    service_start(&service, "--max-tasks-num", "4", NULL);
    ck_assert_str_eq(setting("max_tasks_num.source"), "command line");
    ck_assert_str_eq(setting("max_per_host.source"), "file");
    ck_assert_str_eq(setting("rate_limit.source"), "default");
    for (int i = 0; i < 6; i++)
        v1_add(&service, origin_url(origin, "/gate/g?size=1000"), NULL, NULL);
    wait_count(&service, "DOWNLOADING", 3, SOON);
    char until[40];
    time_t end = time(NULL) + 2;
    strftime(until, sizeof until, "%Y-%m-%dT%H:%M:%SZ", gmtime(&end));
    call_v1("PATCH", "/v1/settings",
            textf("{\"max_per_host\": 9, \"max_tasks_num\": 5, \"rate_limit\": 1000000, \"until\": "
                  "\"%s\"}",
                  until),
            200);
    wait_count(&service, "DOWNLOADING", 5, SOON);
    ck_assert_str_eq(setting("max_per_host.value"), "9");
    ck_assert_str_eq(setting("max_tasks_num.source"), "run time");
    ck_assert_str_eq(setting("max_tasks_num.who"), harness_user()->name);
    int64_t last = harness_now() + SOON;
    while (setting("rate_limit.value")) /* until its end, and no longer */
        ck_assert_int_lt(harness_now(), last);
    ck_assert_int_ge(time(NULL), end - 1);
    ck_assert_str_eq(setting("rate_limit.source"), "default");
    ck_assert_str_eq(setting("max_per_host.value"), "9");
    ck_assert_int_eq(kill(service.monitor, SIGHUP), 0);
    service_wait_log(&service, "reloaded", SOON);
    ck_assert_str_eq(setting("max_per_host.value"), "3");
    ck_assert_str_eq(setting("max_tasks_num.value"), "4");
    ck_assert_str_eq(setting("max_tasks_num.source"), "command line");
    origin_open_gate(origin, "g");
}
END_TEST

static int64_t sum(const char *body, const char *series)
{
    struct json_object *root = json_tokener_parse(body), *steps = NULL;
    int64_t total = 0;
    ck_assert(json_object_object_get_ex(root, series, &steps));
    ck_assert_uint_eq(json_object_array_length(steps), 60);
    for (size_t i = 0; i < 60; i++)
        total += json_object_get_int64(json_object_array_get_idx(steps, i));
    json_object_put(root);
    return total;
}

START_TEST(stats_at_a_glance)
{
    service_start(&service, NULL);
    v1_wait_end(&service, v1_add(&service, origin_url(origin, "/bytes/100000/a"), NULL, NULL),
                SOON);
    v1_wait_end(&service, v1_add(&service, origin_url(origin, "/status/404/b"), NULL, NULL), SOON);
    add_named(origin, "/bytes/1/c", "c", "\"paused\": true");
    const char *running = v1_add(&service, origin_url(origin, "/gate/g?size=1000"), NULL, NULL);
    v1_wait(&service, running, "DOWNLOADING", SOON);
    int64_t last = harness_now() + SOON;
    while (v1_number(&service, running, "bytes_done") < 500)
        ck_assert_int_lt(harness_now(), last);
    call_v1("POST", "/v1/pause", "{\"scope\": \"own\", \"seconds\": 500}", 200);
    v1_add(&service, origin_url(origin, "/bytes/1/d"), NULL, NULL);
    const char *body = call_v1("GET", "/v1/stats", NULL, 200);
    static const char *const one_each[] = {"FINISHED", "FAILED", "PAUSED", "DOWNLOADING",
                                           "ENQUEUED"};
    for (size_t i = 0; i < 5; i++) {
        ck_assert_str_eq(json_at(body, textf("tasks.own.%s", one_each[i])), "1");
        ck_assert_str_eq(json_at(body, textf("tasks.all.%s", one_each[i])), "1");
    }
    int64_t bytes = sum(body, "bytes"); /* those of a running one are told now and then */
    ck_assert(bytes == 100000 || bytes == 100500);
    ck_assert_int_eq(sum(body, "responses"), 3);
    ck_assert_str_eq(json_at(body, "disk.directory"), textf("%s/autodl-storage", service.home));
    ck_assert_int_gt(strtoll(json_at(body, "disk.free"), NULL, 10), 0);
    ck_assert_ptr_nonnull(json_at(body, "pauses.own.until"));
    ck_assert_ptr_null(json_at(body, "pauses.all"));
    ck_assert_str_eq(json_at(call_v1("POST", "/v1/resume", "{\"scope\": \"own\"}", 200), "count"),
                     "1");
    origin_open_gate(origin, "g");
    wait_count(&service, "FINISHED", 3, SOON);
    ck_assert_int_eq(sum(call_v1("GET", "/v1/stats", NULL, 200), "bytes"), 101001);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("v1");
    TCase *tcase = tcase_create("v1");
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, lists_are_filtered_and_paged);
    tcase_add_test(tcase, many_are_added_or_none);
    tcase_add_test(tcase, what_a_prefix_may_mean_is_told);
    tcase_add_test(tcase, many_skip_what_is_there);
    tcase_add_test(tcase, many_skip_what_another_did_not_get);
    tcase_add_test(tcase, many_begin_anew);
    tcase_add_test(tcase, many_survive_a_kill);
    tcase_add_test(tcase, adds_at_the_same_moment);
    tcase_add_test(tcase, what_waits_is_changed);
    tcase_add_test(tcase, a_task_gets_another_url);
    tcase_add_test(tcase, the_last_can_be_first);
    tcase_add_test(tcase, verbs_for_many);
    tcase_add_test(tcase, settings_at_run_time);
    tcase_add_test(tcase, stats_at_a_glance);
    suite_add_tcase(suite, tcase);
    return harness_main(suite);
}
