/*
 * Several users: the service as root starts it, in a mount namespace of our own with its own
 * /etc/passwd, group and shadow. Who may do what to whose tasks, and as whom each process runs.
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness.h"
#include "hostile.h"
#include "origin.h"
#include "people.h"
#include "sse.h"
#include "v1.h"
#include "who_may.h"

#define SOON 30000 /* ms */

static struct service service;
static struct origin *origin;

/* --- steps --- */

static void start(void)
{
    service_start(&service, "--state-dir", textf("%s/lib", service.dir), "--socket", service.socket,
                  "--umask", "022", NULL);
}

static void set_up(void)
{
    ck_assert_int_eq(origin_start(&origin), 0);
    service_init(&service);
    service.system_mode = true;
    service.socket = textf("%s/system-run/autodl.sock", service.dir);
    ck_assert_int_eq(chown(service.dir, 0, 0), 0);
    start();
}

static void tear_down(void)
{
    service_release(&service);
    origin_stop(origin);
    remove_storage();
}

static void add(const struct identity *who, const char *path, struct task_view *ret_view)
{
    ck_assert_int_eq(add_task(&service, who, origin_url(origin, path), NULL, ret_view), 200);
}

static int status_for(const struct identity *who, const char *id)
{
    _cleanup_view_ struct task_view view = {0};
    return get_task(&service, who, id, &view);
}

/* A request whose refusal is of interest. */
static void expect_refusal(const struct identity *who, const char *method, const char *target,
                           int status, const char *says)
{
    _cleanup_answer_ struct answer answer = {0};
    http_unix(&service, who, http_request_text(method, target, NULL, NULL), &answer);
    ck_assert_msg(answer.status == status, "%s %s by %s: %d, not %d: %s", method, target, who->name,
                  answer.status, status, answer.body);
    const char *message = answer_string(&answer, "message");
    ck_assert_msg(message && strstr(message, says), "no \"%s\" in: %s", says, answer.body);
}

static void expect_owner(const char *path, const struct identity *who, mode_t mode)
{
    struct stat status;
    ck_assert_msg(stat(path, &status) == 0, "%s: %s", path, strerror(errno));
    ck_assert_uint_eq(status.st_uid, who->uid);
    ck_assert_uint_eq(status.st_gid, who->gid);
    ck_assert_uint_eq(status.st_mode & 07777, mode);
}

/* --- files are their user's --- */

START_TEST(files_belong_to_who_added)
{
    _cleanup_view_ struct task_view task = {0};

    add(&alice, "/bytes/100000/a", &task);
    ck_assert_str_eq(task.dest, textf("%s/autodl-storage/a", home_of(&alice)));
    wait_state(&service, &alice, task.id, "FINISHED", SOON);
    ck_assert_int_eq(origin_expect_file(task.dest, "/bytes/100000/a"), 0);
    expect_owner(task.dest, &alice, 0644);
    expect_owner(textf("%s/autodl-storage", home_of(&alice)), &alice, 0755);
}
END_TEST

START_TEST(not_into_the_home_of_another)
{
    _cleanup_answer_ struct answer answer = {0};
    _cleanup_free_ char *before = read_stats(&service);
    const char *body = textf("url=http://127.0.0.1/a&path=%s/in", home_of(&bob));

    http_unix(&service, &alice, http_request_text("POST", "/add", NULL, body), &answer);
    ck_assert_int_eq(answer.status, 403);
    const char *message = answer_string(&answer, "message");
    ck_assert_msg(message && strstr(message, "Permission denied"), "%s", answer.body);
    _cleanup_free_ char *after = read_stats(&service);
    ck_assert_str_eq(before, after);
    ck_assert_uint_eq(count_names(home_of(&bob), NULL), 0);
}
END_TEST

START_TEST(no_filers_for_system_users)
{
    _cleanup_view_ struct task_view view = {0};
    ck_assert_int_eq(add_task(&service, &somed, "http://127.0.0.1/a", "/tmp", &view), 403);
    ck_assert_int_eq(read_count(&service, "ENQUEUED"), 0);
}
END_TEST

/* --- tasks are their user's --- */

START_TEST(tasks_of_others_are_not_there)
{
    _cleanup_view_ struct task_view task = {0};
    _cleanup_output_ struct output output = {0};

    call(&service, &dora, "POST", "/pause?scope=all");
    add(&alice, "/bytes/1000/a", &task);
    ck_assert_int_eq(status_for(&alice, task.id), 200);
    ck_assert_int_eq(status_for(&dora, task.id), 200);
    ck_assert_int_eq(status_for(&root, task.id), 200);
    ck_assert_int_eq(status_for(&bob, task.id), 404);
    cli_as(&service, &bob, &output, "status", task.id, NULL);
    ck_assert_int_eq(output.status, 3);
    ck_assert_str_eq(output.out, "{\"message\": \"Not Found\"}\n");

    call(&service, &bob, "POST", "/clear");
    call(&service, &bob, "POST", "/resume");
    call(&service, &dora, "POST", "/clear"); /* an operator's own */
    ck_assert_int_eq(read_count(&service, "ENQUEUED"), 1);
    ck_assert_uint_eq(origin_requests(origin), 0);
    call(&service, &dora, "POST", "/resume?scope=all");
    wait_state(&service, &alice, task.id, "FINISHED", SOON);
}
END_TEST

START_TEST(operators)
{
    _cleanup_view_ struct task_view task = {0}, more = {0};

    call(&service, &root, "POST", "/pause"); /* root: everybody's */
    add(&alice, "/bytes/1000/a", &task);
    expect_refusal(&bob, "POST", "/clear?scope=all", 403, "operator");
    expect_refusal(&alice, "POST", "/pause?scope=all", 403, "operator");
    expect_refusal(&alice, "POST", "/resume?scope=all", 403, "operator");
    expect_refusal(&alice, "POST", "/maxtasks?max_tasks_number=3", 403,
                   "only operators may change max_tasks_num; an administrator can make you one: "
                   "adduser alice autodl");
    ck_assert_int_eq(read_count(&service, "ENQUEUED"), 1);
    call(&service, &dora, "POST", "/maxtasks?max_tasks_number=3");
    call(&service, &dora, "POST", "/clear?scope=all");
    ck_assert_int_eq(read_count(&service, "CLEARED"), 1);

    add(&bob, "/bytes/1000/b", &more);
    call(&service, &root, "POST", "/clear");
    ck_assert_int_eq(read_count(&service, "CLEARED"), 2);
    call(&service, &root, "POST", "/resume");
}
END_TEST

START_TEST(a_pause_is_the_users_own)
{
    _cleanup_view_ struct task_view hers = {0}, his = {0};

    call(&service, &alice, "POST", "/pause");
    add(&alice, "/bytes/1000/a", &hers);
    add(&bob, "/bytes/1000/b", &his);
    wait_state(&service, &bob, his.id, "FINISHED", SOON);
    ck_assert_int_eq(read_count(&service, "ENQUEUED"), 1);
    call(&service, &bob, "POST", "/resume"); /* not hers */
    ck_assert_int_eq(read_count(&service, "ENQUEUED"), 1);
    call(&service, &alice, "POST", "/resume");
    wait_state(&service, &alice, hers.id, "FINISHED", SOON);
    expect_owner(his.dest, &bob, 0644);
}
END_TEST

/* --- who may do what: the whole table --- */

static const char *with_id(const char *text, const char *id)
{
    const char *star = strchr(text, '*');
    return star ? textf("%.*s%s%s", (int)(star - text), text, id, star + 1) : text;
}

static const char *request_of(const struct who_may *row, const char *id)
{
    const char *target = with_id(row->path, id);
    if (row->query)
        target = textf("%s?%s", target, row->query);
    if (row->needed)
        target = textf("%s%c%s", target, row->query ? '&' : '?', with_id(row->needed, id));
    return http_request_text(row->method, target,
                             row->json ? "Content-Type: application/json\r\n" : NULL, row->json);
}

static void alice_does(const char *method, const char *target, const char *json,
                       struct answer *ret_answer)
{
    http_unix(&service, &alice,
              http_request_text(method, target, "Content-Type: application/json\r\n", json),
              ret_answer);
    ck_assert_msg(ret_answer->status < 300, "%s %s: %d %s", method, target, ret_answer->status,
                  ret_answer->body);
}

/* A task of alice's, in the state that the request wants. */
static const char *ready_task(const struct who_may *row)
{
    _cleanup_answer_ struct answer added = {0}, prepared = {0};
    alice_does("POST", "/v1/tasks", "{\"url\": \"http://127.0.0.1/a\", \"retries\": 0}", &added);
    const char *id = answer_string(&added, "id");
    if (row->prepare)
        alice_does("POST", textf("/v1/tasks/%s/%s", id, row->prepare), "{}", &prepared);
    return id;
}

static const char *what_alice_sees(const char *id)
{
    _cleanup_answer_ struct answer seen = {0};
    alice_does("GET", textf("/v1/tasks/%s", id), NULL, &seen);
    return answer_string(&seen, "status");
}

/* To the byte what is answered about a task that never was, apart from the id. */
static void expect_like_unknown(const struct who_may *row, const struct identity *who,
                                const struct answer *answer)
{
    _cleanup_answer_ struct answer unknown = {0};
    http_unix(&service, who, request_of(row, "00000000-0000-4000-8000-000000000000"), &unknown);
    ck_assert_int_eq(unknown.status, 404);
    ck_assert_str_eq(unknown.body, answer->body);
    ck_assert_str_eq(strchr(unknown.head, '\n') + sizeof("Date: Tue, 24 Nov 2026 08:12:34 GMT\r\n"),
                     strchr(answer->head, '\n') +
                         sizeof("Date: Tue, 24 Nov 2026 08:12:34 GMT\r\n"));
}

static void walk(const struct who_may *row, enum who who)
{
    static const struct identity *const people[PEOPLE] = {&bob, &alice, &bob, &dora, &root};
    _cleanup_answer_ struct answer answer = {0};
    call(&service, &root, "POST", "/pause");
    const char *id = ready_task(row), *before = what_alice_sees(id);
    int fd = who == NOBODY ? connect_tcp(service.port, people[who])
                           : connect_unix(service.socket, people[who]);
    /* what a resume let start; after some requests, since a worker may just have taken one */
    wait_count(&service, "DOWNLOADING", 0, SOON);
    _cleanup_free_ char *stats = read_stats(&service);
    const char *request = request_of(row, id);
    http_exchange(fd, request, strlen(request), &answer);
    ck_assert_msg(answer.status == row->status[who], "%s %s %s, person %d: %d, not %d: %s",
                  row->method, row->path, row->query ? row->query : "", who, answer.status,
                  row->status[who], answer.body);
    if (answer.status == 404)
        expect_like_unknown(row, people[who], &answer);
    if (answer.status < 300)
        return;
    _cleanup_free_ char *after = read_stats(&service);
    ck_assert_str_eq(stats, after);
    ck_assert_str_eq(what_alice_sees(id), before);
}

START_TEST(the_table_of_who_may_do_what)
{
    for (size_t i = 0; i < who_may_count; i++)
        for (int who = NOBODY; who < PEOPLE; who++)
            walk(&who_may[i], (enum who)who);
}
END_TEST

static void listen_as(struct sse *sse, const struct identity *who, const char *query)
{
    sse_begin(sse, connect_unix(service.socket, who),
              http_request_text("GET", textf("/v1/events%s", query), NULL, NULL));
    sse_find(sse, SOON, "stats", NULL);
}

/* Up to the end of this task; everything that came until then. */
static const char *heard_until_finished(struct sse *sse, const char *id)
{
    const char *data;
    do
        data = sse_find(sse, SOON, "task", NULL);
    while (strcmp(json_at(data, "id"), id) != 0 || strcmp(json_at(data, "status"), "FINISHED") != 0);
    return sse->raw.data;
}

static const char *add_body(const char *path)
{
    return textf("{\"url\": \"%s\"}", origin_url(origin, path));
}

/* bob's tasks go through hers in the ring, and dora is told of all, as GET would tell her. */
START_TEST(events_are_the_owners)
{
    struct sse to_alice, to_bob, to_dora, to_her_own;
    struct answer his = {0}, hers = {0};
    listen_as(&to_alice, &alice, "");
    listen_as(&to_bob, &bob, "");
    listen_as(&to_dora, &dora, "?scope=all");
    listen_as(&to_her_own, &dora, "");
    alice_does("POST", "/v1/tasks", add_body("/bytes/1000/hers?secret=1"),
               &hers);
    const char *her_id = answer_string(&hers, "id");
    heard_until_finished(&to_alice, her_id);
    http_unix(&service, &bob,
              http_request_text("POST", "/v1/tasks", "Content-Type: application/json\r\n",
                                add_body("/bytes/1000/his?secret=2")),
              &his);
    const char *his_id = answer_string(&his, "id");
    const char *bob_heard = heard_until_finished(&to_bob, his_id);
    ck_assert_ptr_null(strstr(bob_heard, her_id));
    ck_assert_ptr_null(strstr(bob_heard, "hers"));
    ck_assert_ptr_nonnull(strstr(bob_heard, "his?secret=2"));
    ck_assert_ptr_nonnull(strstr(to_alice.raw.data, "hers?secret=1"));
    const char *dora_heard = heard_until_finished(&to_dora, his_id);
    ck_assert_ptr_nonnull(strstr(dora_heard, her_id));
    ck_assert_ptr_null(strstr(dora_heard, "secret"));
    call(&service, &dora, "POST", "/pause");
    sse_find(&to_her_own, SOON, "reset", NULL);
    ck_assert_ptr_null(strstr(to_her_own.raw.data, "event: task"));
    /* a pause of hers is nothing to others */
    call(&service, &alice, "POST", "/pause");
    sse_find(&to_alice, SOON, "reset", NULL);
    call(&service, &bob, "POST", "/resume");
    sse_find(&to_bob, SOON, "reset", NULL);
    struct sse *all[] = {&to_alice, &to_bob, &to_dora, &to_her_own};
    for (size_t i = 0; i < 4; i++)
        sse_end(all[i]);
    answer_release(&his);
    answer_release(&hers);
}
END_TEST

/* Who is an operator no more hears of others' tasks no more: looked at with each beat (15 s). */
START_TEST(a_lost_right_ends_what_is_heard_by_it)
{
    struct sse to_dora, to_her_own;
    struct sse_event event;
    const char *config = textf("%s/autodl.conf", service.dir);
    file_write(config, "");
    service_stop(&service);
    service_start(&service, "--state-dir", textf("%s/lib", service.dir), "--socket", service.socket,
                  "--config", config, NULL);
    listen_as(&to_dora, &dora, "?scope=all");
    listen_as(&to_her_own, &dora, "");
    file_write(config, "operators = nogroup\n");
    ck_assert_int_eq(kill(service.monitor, SIGHUP), 0);
    int64_t until = harness_now() + SOON;
    while (sse_next(&to_dora, SOON, &event) && harness_now() < until)
        ;
    ck_assert(to_dora.ended);
    call(&service, &dora, "POST", "/pause");
    sse_find(&to_her_own, SOON, "reset", NULL);
    sse_end(&to_dora);
    sse_end(&to_her_own);
}
END_TEST

/* Neither a beginning of an id nor that several begin like it tells of another's tasks. */
START_TEST(beginnings_of_ids_tell_nothing)
{
    enum { TASKS = 1200 }; /* among so many, two begin with the same four characters */
    static char ids[TASKS][8];
    const char *common = NULL;
    call(&service, &root, "POST", "/pause");
    for (unsigned i = 0; i < TASKS && !common; i++) {
        _cleanup_answer_ struct answer added = {0};
        alice_does("POST", "/v1/tasks", "{\"url\": \"http://127.0.0.1/a\"}", &added);
        snprintf(ids[i], sizeof(ids[i]), "%.4s", answer_string(&added, "id"));
        for (unsigned j = 0; j < i && !common; j++)
            if (strcmp(ids[j], ids[i]) == 0)
                common = ids[i];
    }
    ck_assert_ptr_nonnull(common); /* not there once in 60,000 runs */
    const struct identity *people[] = {&alice, &dora, &bob};
    static const int statuses[] = {409, 409, 404};
    for (unsigned i = 0; i < 3; i++) {
        _cleanup_answer_ struct answer classic = {0}, shown = {0}, held = {0};
        http_unix(&service, people[i],
                  http_request_text("GET", textf("/status?task_id=%s", common), NULL, NULL),
                  &classic);
        http_unix(&service, people[i],
                  http_request_text("GET", textf("/v1/tasks/%s", common), NULL, NULL), &shown);
        http_unix(&service, people[i],
                  http_request_text("POST", textf("/v1/tasks/%s/hold", common), NULL, NULL), &held);
        ck_assert_int_eq(classic.status, statuses[i]);
        ck_assert_int_eq(shown.status, statuses[i]);
        ck_assert_int_eq(held.status, statuses[i]);
    }
    ck_assert_int_eq(read_count(&service, "PAUSED"), 0);
}
END_TEST

/* Whoever adds for alice adds to what of hers waits. */
START_TEST(waiting_tasks_count_for_their_user)
{
    _cleanup_output_ struct output output = {0}, more = {0};
    _cleanup_view_ struct task_view his = {0}, hers = {0};
    service_stop(&service);
    service_start(&service, "--state-dir", textf("%s/lib", service.dir), "--socket", service.socket,
                  "--umask", "022", "--max-waiting-per-user", "1", NULL);
    call(&service, &root, "POST", "/pause");
    cli_as(&service, &root, &output, "-u", "alice", "add", "http://127.0.0.1/a", NULL);
    ck_assert_msg(output.status == 0, "%d: %s", output.status, output.err);
    cli_as(&service, &root, &more, "-u", "alice", "add", "http://127.0.0.1/a", NULL);
    ck_assert_int_ne(more.status, 0);
    ck_assert_int_eq(add_task(&service, &alice, "http://127.0.0.1/a", NULL, &hers), 429);
    ck_assert_int_eq(add_task(&service, &bob, "http://127.0.0.1/a", NULL, &his), 200);
}
END_TEST

/* --- whose turn it is --- */

/* A long line of one user's delays the other's only task by none of them: the next of hers would
 * not end. */
START_TEST(a_long_line_delays_nobody_else)
{
    _cleanup_view_ struct task_view first = {0}, his = {0};
    service_stop(&service);
    service_start(&service, "--state-dir", textf("%s/lib", service.dir), "--socket", service.socket,
                  "--umask", "022", "--max-tasks-num", "1", NULL);
    add(&alice, "/gate/first?size=1000", &first);
    wait_state(&service, &alice, first.id, "DOWNLOADING", SOON);
    for (unsigned i = 0; i < 200; i++) {
        _cleanup_view_ struct task_view hers = {0};
        add(&alice, "/gate/hers?size=1000", &hers);
    }
    add(&bob, "/bytes/1000/his", &his);
    origin_open_gate(origin, "first");
    wait_state(&service, &bob, his.id, "FINISHED", SOON);
    wait_count(&service, "DOWNLOADING", 1, SOON); /* and now she goes on */
    ck_assert_int_eq(read_count(&service, "FINISHED"), 2);
    origin_open_gate(origin, "hers");
}
END_TEST

/* --- slow origins --- */

static const char *member_of(const struct identity *who, const char *id, const char *path)
{
    _cleanup_answer_ struct answer answer = {0};
    const char *target = textf("/v1/tasks/%s", id);
    http_unix(&service, who, http_request_text("GET", target, NULL, NULL), &answer);
    ck_assert_int_eq(answer.status, 200);
    return json_at(answer.body, path);
}

/* Alice has every slot, and files that trickle in. One goes aside for bob: not the one that would
 * have to be fetched from its beginning. It goes on when bob's is done. */
START_TEST(slow_origins_delay_nobody_else)
{
    struct hostile *hostile;
    struct hostile_count count;
    struct task_view tasks[3] = {0};
    _cleanup_view_ struct task_view bobs = {0};
    static const char *const paths[] = {"/whole?size=300000&rate=12000&ranges=no",
                                        "/a?size=300000&rate=12000", "/b?size=300000&rate=12000"};
    unsigned aside = 0, at_a_slot = 0;
    service_stop(&service);
    service_start(&service, "--state-dir", textf("%s/lib", service.dir), "--socket", service.socket,
                  "--max-tasks-num", "3", NULL);
    ck_assert_int_eq(hostile_start(0, &hostile), 0);
    for (unsigned i = 0; i < 3; i++)
        ck_assert_int_eq(add_task(&service, &alice,
                                  textf("http://127.0.0.1:%u%s", hostile_port(hostile), paths[i]),
                                  NULL, &tasks[i]),
                         200);
    wait_count(&service, "DOWNLOADING", 3, SOON);
    int64_t began = harness_now();
    add(&bob, "/gate/b?size=1000", &bobs);
    wait_state(&service, &bob, bobs.id, "DOWNLOADING", SOON);
    ck_assert_int_lt(harness_now() - began, 20000); /* 10 s, and it looks each second */
    ck_assert_int_ge(harness_now() - began, 9000);
    for (unsigned i = 0; i < 3; i++) {
        const char *reason = member_of(&alice, tasks[i].id, "waiting_for.reason");
        at_a_slot += reason == NULL;
        if (reason) {
            aside = i;
            ck_assert_str_eq(reason, "slot");
            ck_assert_ptr_null(member_of(&alice, tasks[i].id, "error"));
        }
    }
    ck_assert_uint_eq(at_a_slot, 2);
    ck_assert_uint_ne(aside, 0);
    origin_open_gate(origin, "b");
    wait_state(&service, &bob, bobs.id, "FINISHED", SOON);
    hostile_hurry(hostile);
    for (unsigned i = 0; i < 3; i++) {
        wait_state(&service, &alice, tasks[i].id, "FINISHED", SOON);
        hostile_read(hostile, paths[i], &count);
        ck_assert_uint_eq(count.requests, i == aside ? 2 : 1);
        ck_assert_uint_eq(count.ranges, i == aside ? 1 : 0);
        ck_assert_uint_le(count.again, i == aside ? count.excused : 0);
        ck_assert_int_eq(hostile_expect_file(tasks[i].dest, paths[i], 0), 0);
        task_view_release(&tasks[i]);
    }
    hostile_stop(hostile);
}
END_TEST

/* There are slots, but alice's downloads are all that may run at the host. */
START_TEST(slow_origins_leave_room_at_their_hosts)
{
    struct hostile *hostile;
    struct hostile_count count;
    struct task_view tasks[2] = {0};
    _cleanup_view_ struct task_view bobs = {0};
    static const char *const paths[] = {"/a?size=300000&rate=12000", "/b?size=300000&rate=12000"};
    unsigned requests = 0;
    service_stop(&service);
    service_start(&service, "--state-dir", textf("%s/lib", service.dir), "--socket", service.socket,
                  "--max-tasks-num", "9", "--max-per-host", "2", NULL);
    ck_assert_int_eq(hostile_start(0, &hostile), 0);
    const char *host = textf("http://127.0.0.1:%u", hostile_port(hostile));
    for (unsigned i = 0; i < 2; i++)
        ck_assert_int_eq(add_task(&service, &alice, textf("%s%s", host, paths[i]), NULL, &tasks[i]),
                         200);
    wait_count(&service, "DOWNLOADING", 2, SOON);
    int64_t began = harness_now();
    ck_assert_int_eq(add_task(&service, &bob, textf("%s/bobs?size=1000", host), NULL, &bobs), 200);
    ck_assert_str_eq(member_of(&bob, bobs.id, "waiting_for.reason"), "host");
    wait_state(&service, &bob, bobs.id, "FINISHED", SOON);
    ck_assert_int_lt(harness_now() - began, 20000);
    ck_assert_int_ge(harness_now() - began, 9000);
    hostile_hurry(hostile);
    for (unsigned i = 0; i < 2; i++) {
        wait_state(&service, &alice, tasks[i].id, "FINISHED", SOON);
        hostile_read(hostile, paths[i], &count);
        requests += count.requests;
        ck_assert_uint_le(count.again, count.excused);
        ck_assert_int_eq(hostile_expect_file(tasks[i].dest, paths[i], 0), 0);
        task_view_release(&tasks[i]);
    }
    ck_assert_uint_eq(requests, 3); /* one went aside, and on */
    hostile_stop(hostile);
}
END_TEST

/* --- who is asking --- */

START_TEST(root_acts_for_others_on_the_socket)
{
    _cleanup_output_ struct output output = {0}, without = {0}, other = {0};
    _cleanup_view_ struct task_view task = {0};
    const char *url = origin_url(origin, "/bytes/1000/a");

    cli_as(&service, &root, &output, "-u", "alice", "add", url, NULL);
    ck_assert_msg(output.status == 0, "%d: %s", output.status, output.err);
    task_parse(output.out, &task);
    wait_state(&service, &alice, task.id, "FINISHED", SOON);
    expect_owner(task.dest, &alice, 0644);

    cli_as(&service, &root, &without, "add", url, NULL);
    ck_assert_int_eq(without.status, 4);
    ck_assert_msg(strstr(without.err, "root has no downloads here; use -u USER") ||
                      strstr(without.out, "root has no downloads here; use -u USER"),
                  "%s%s", without.out, without.err);
    cli_as(&service, &bob, &other, "-u", "alice", "add", url, NULL);
    ck_assert_int_eq(other.status, 4);
    ck_assert_msg(strstr(other.out, "you are bob; only root may act for alice") ||
                      strstr(other.err, "you are bob; only root may act for alice"),
                  "%s%s", other.out, other.err);
    ck_assert_int_eq(read_count(&service, "FINISHED"), 1);
}
END_TEST

static const char *add_as(const char *name, const char *password)
{
    return http_request_text("POST", "/add", http_basic(name, password),
                             textf("url=%s", origin_url(origin, "/bytes/10/tcp")));
}

static int status_over(unsigned port, const struct identity *who, const char *request)
{
    _cleanup_answer_ struct answer answer = {0};
    http_exchange(connect_tcp(port, who), request, strlen(request), &answer);
    return answer.status;
}

START_TEST(the_kernel_vouches_on_loopback)
{
    const unsigned port = service.port;
    ck_assert_int_eq(status_over(port, &alice, add_as("alice", "x")), 200);
    ck_assert_int_eq(status_over(port, &alice, add_as("alice", "another")), 200);
    wait_count(&service, "FINISHED", 2, SOON);
    ck_assert_int_eq(status_over(port, &bob, add_as("alice", "x")), 401);
    ck_assert_int_eq(status_over(port, &alice, add_as("root", "")), 401);
    ck_assert_int_eq(status_over(port, &root, add_as("alice", "x")), 401);
    ck_assert_int_eq(status_over(port, &root, add_as("root", "")), 401);
    ck_assert_int_eq(status_over(port, &alice, add_as("nosuchuser", "x")), 401);
    ck_assert_int_eq(status_over(port, &alice, http_request_text("GET", "/stats", NULL, NULL)),
                     401);
    ck_assert_int_eq(read_count(&service, "FINISHED"), 2);
    ck_assert_int_eq(read_count(&service, "ENQUEUED"), 0);
    expect_owner(textf("%s/autodl-storage/tcp-1", home_of(&alice)), &alice, 0644);
}
END_TEST

/* Connections to the service that it has not closed yet. */
static bool no_open_connections(void *data)
{
    char line[512];
    unsigned port, state, open = 0;
    FILE *file = fopen("/proc/net/tcp", "re");
    (void)data;
    ck_assert_ptr_nonnull(file);
    while (fgets(line, sizeof(line), file))
        if (sscanf(line, "%*u: %*x:%x %*x:%*x %x", &port, &state) == 2 && port == service.port &&
            state != 0x0a && state != 0x06) /* LISTEN, TIME_WAIT */
            open++;
    fclose(file);
    return open == 0;
}

/* Whoever is gone before the look-up cannot be told from anybody: it must be nobody. */
START_TEST(sends_and_closes_at_once)
{
    const char *request = add_as("alice", "x");
    for (unsigned i = 0; i < 200; i++) {
        int fd = connect_tcp(service.port, i % 3 ? &bob : &root);
        struct linger reset = {.l_onoff = i % 2, .l_linger = 0};
        ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)), 0);
        ck_assert_int_eq(send(fd, request, strlen(request), MSG_NOSIGNAL),
                         (ssize_t)strlen(request));
        close(fd);
    }
    wait_until(no_open_connections, NULL, SOON, "the service closes all connections");
    static const char *const states[] = {"ENQUEUED", "DOWNLOADING", "FINISHING", "FINISHED",
                                         "FAILED"};
    for (unsigned i = 0; i < 5; i++)
        ck_assert_int_eq(read_count(&service, states[i]), 0);
    ck_assert_uint_eq(count_names(home_of(&alice), NULL), 0);
}
END_TEST

/* --- a relay --- */

static void pass_on(int from, int to)
{
    char buffer[16384];
    ssize_t len = recv(from, buffer, sizeof(buffer), 0);
    if (len <= 0 || send(to, buffer, (size_t)len, MSG_NOSIGNAL) != len)
        _exit(0);
}

/* Serves one connection after the other, each by a child, until it is killed. */
static void relay(int listener)
{
    struct sockaddr_in target = {.sin_family = AF_INET,
                                 .sin_port = htons((uint16_t)service.port),
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    signal(SIGCHLD, SIG_IGN);
    for (;;) {
        int client = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (client < 0)
            _exit(1);
        if (fork() == 0) {
            int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
            if (connect(server, (struct sockaddr *)&target, sizeof(target)) < 0)
                _exit(1);
            pass_on(client, server); /* the request is one small message */
            for (;;)
                pass_on(server, client);
        }
        close(client);
    }
}

static unsigned start_relay(pid_t *ret_pid)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(listener, (struct sockaddr *)&address, size), 0);
    ck_assert_int_eq(listen(listener, 16), 0);
    ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&address, &size), 0);
    *ret_pid = fork();
    ck_assert_int_ge(*ret_pid, 0);
    if (*ret_pid == 0)
        relay(listener);
    close(listener);
    return ntohs(address.sin_port);
}

START_TEST(a_relay_of_root_vouches_for_nobody)
{
    pid_t pid;
    unsigned port = start_relay(&pid);
    ck_assert_int_eq(status_over(port, &alice, add_as("alice", "x")), 401);
    ck_assert_int_eq(status_over(port, &bob, add_as("alice", "x")), 401);
    ck_assert_int_eq(status_over(port, &bob, add_as("root", "x")), 401);
    ck_assert_int_eq(status_over(port, &root, add_as("root", "x")), 401);
    service_kill(pid);
    wait_exit(pid, SOON);
    ck_assert_int_eq(read_count(&service, "ENQUEUED"), 0);
    ck_assert_int_eq(read_count(&service, "FINISHED"), 0);
}
END_TEST

/* --- processes --- */

static void expect_status(pid_t pid, const char *field, const char *value)
{
    const char *is = process_status(pid, field);
    size_t len = strlen(is);
    while (len > 0 && (is[len - 1] == ' ' || is[len - 1] == '\t'))
        len--;
    ck_assert_msg(len == strlen(value) && strncmp(is, value, len) == 0,
                  "%s of process %d is \"%s\", not \"%s\"", field, (int)pid, is, value);
}

static void expect_uid(pid_t pid, unsigned uid)
{
    const char *four = textf("%u\t%u\t%u\t%u", uid, uid, uid, uid);
    expect_status(pid, "Uid", four);
    expect_status(pid, "Gid", four); /* each account here has a group of the same number */
}

/* Nobody but root looks into a process that is not dumpable: its /proc files are root's. */
static void expect_closed(pid_t pid)
{
    struct stat status;
    ck_assert_int_eq(stat(textf("/proc/%d/fd", (int)pid), &status), 0);
    ck_assert_uint_eq(status.st_uid, 0);
    char line[256];
    unsigned long soft = 1, hard = 1;
    FILE *limits = fopen(textf("/proc/%d/limits", (int)pid), "re");
    ck_assert_ptr_nonnull(limits);
    while (fgets(line, sizeof(line), limits))
        (void)sscanf(line, "Max core file size %lu %lu", &soft, &hard);
    fclose(limits);
    ck_assert(soft == 0 && hard == 0);
}

static void expect_caps(pid_t pid, const char *caps)
{
    static const char *const sets[] = {"CapPrm", "CapEff"};
    static const char *const empty[] = {"CapInh", "CapAmb"};
    for (unsigned i = 0; i < 2; i++) {
        expect_status(pid, sets[i], caps);
        expect_status(pid, empty[i], "0000000000000000");
    }
    expect_status(pid, "CapBnd", "00000000000000c0"); /* SETGID and SETUID */
    expect_status(pid, "NoNewPrivs", "1");
    expect_closed(pid);
}

/* What a process holds beside its standard streams: each begins with one of these (ended by NULL).
 */
static void expect_descriptors(pid_t pid, const char *const *allowed)
{
    DIR *dir = opendir(textf("/proc/%d/fd", (int)pid));
    const struct dirent *entry;
    ck_assert_ptr_nonnull(dir);
    while ((entry = readdir(dir))) {
        char target[512];
        if (entry->d_name[0] == '.')
            continue;
        ssize_t len = readlinkat(dirfd(dir), entry->d_name, target, sizeof(target) - 1);
        if (len < 0 && errno == ENOENT)
            continue; /* closed meanwhile */
        ck_assert_int_gt(len, 0);
        target[len] = '\0';
        bool standard = strlen(entry->d_name) == 1 && entry->d_name[0] < '3', known = false;
        for (unsigned i = 0; allowed[i]; i++)
            known = known || strncmp(target, allowed[i], strlen(allowed[i])) == 0;
        if (standard)
            known = strcmp(target, entry->d_name[0] == '2' ? service.log : "/dev/null") == 0;
        ck_assert_msg(known, "process %d holds %s: %s", (int)pid, entry->d_name, target);
    }
    closedir(dir);
}

START_TEST(what_the_processes_are)
{
    static const char *const of_filers[] = {"socket:", "anon_inode:[eventpoll]", NULL};
    static const char *const of_monitor[] = {"socket:", "anon_inode:[signalfd]", NULL};
    _cleanup_view_ struct task_view task = {0}, his = {0};
    const char *const of_service[] = {"socket:",
                                      "anon_inode:[eventpoll]",
                                      "anon_inode:[eventfd]",
                                      "anon_inode:[timerfd]",
                                      textf("%s/lib/", service.dir),
                                      textf("%s/autodl-storage/", home_of(&alice)),
                                      textf("%s/autodl-storage/", home_of(&bob)),
                                      NULL};
    pid_t filers[8];

    add(&alice, "/gate/a", &task);
    add(&bob, "/gate/a", &his);
    wait_state(&service, &alice, task.id, "DOWNLOADING", SOON);
    wait_state(&service, &bob, his.id, "DOWNLOADING", SOON);
    ck_assert_uint_eq(service_filers(&service, (uid_t)-1, filers, 8), 2);
    expect_caps(filers[0], "0000000000000000");
    expect_caps(filers[1], "0000000000000000");
    expect_descriptors(filers[0], of_filers);
    expect_descriptors(filers[1], of_filers);
    ck_assert_uint_eq(service_filers(&service, BOB_UID, filers, 8), 1);
    expect_uid(filers[0], BOB_UID);
    expect_status(filers[0], "Groups", textf("%d", BOB_UID));
    ck_assert_uint_eq(service_filers(&service, ALICE_UID, filers, 8), 1);
    expect_uid(filers[0], ALICE_UID);
    expect_status(filers[0], "Groups", textf("%d %d", ALICE_UID, CREW));

    pid_t pid = service_process(&service);
    expect_uid(pid, SERVICE_UID);
    expect_caps(pid, "0000000000000000");
    expect_descriptors(pid, of_service);
    expect_status(pid, "Groups", textf("%d", SERVICE_UID));

    expect_uid(service.monitor, SERVICE_UID);
    expect_caps(service.monitor, "00000000000000c0");
    expect_descriptors(service.monitor, of_monitor);
    expect_status(service.monitor, "Threads", "1");
    origin_open_gate(origin, "a");
    wait_state(&service, &alice, task.id, "FINISHED", SOON);
    wait_state(&service, &bob, his.id, "FINISHED", SOON);
}
END_TEST

/* --- one user's trouble is not another's --- */

START_TEST(a_dead_file_system_delays_its_user_alone)
{
    _cleanup_view_ struct task_view before = {0}, hers = {0}, his = {0}, end = {0};
    _cleanup_answer_ struct answer answer = {0};
    pid_t filers[8];

    add(&alice, "/bytes/1000/before", &before);
    wait_state(&service, &alice, before.id, "FINISHED", SOON);
    unsigned count = service_filers(&service, ALICE_UID, filers, 8);
    ck_assert_uint_ge(count, 1);
    for (unsigned i = 0; i < count; i++)
        ck_assert_int_eq(kill(filers[i], SIGSTOP), 0);

    int64_t begin = harness_now();
    const char *request = http_request_text(
        "POST", "/add", NULL, textf("url=%s", origin_url(origin, "/bytes/1000/hers")));
    int fd = connect_unix(service.socket, &alice);
    ck_assert_int_eq(write(fd, request, strlen(request)), (ssize_t)strlen(request));
    add(&bob, "/bytes/1000/his", &his); /* meanwhile */
    wait_state(&service, &bob, his.id, "FINISHED", 4000);
    ck_assert_int_lt(harness_now() - begin, 4000);

    http_exchange(fd, "", 0, &answer);
    ck_assert_int_eq(answer.status, 200);
    ck_assert_int_ge(harness_now() - begin, 4000);
    ck_assert_int_le(harness_now() - begin, 10000);
    task_parse(answer.body, &hers);
    ck_assert_int_eq(read_count(&service, "ENQUEUED"), 1);
    for (unsigned i = 0; i < count; i++)
        ck_assert_int_eq(kill(filers[i], SIGCONT), 0);
    wait_state(&service, &alice, hers.id, "FINISHED", SOON);
    ck_assert_int_eq(get_task(&service, &alice, hers.id, &end), 200); /* dest was a guess */
    expect_owner(end.dest, &alice, 0644);
}
END_TEST

START_TEST(everybody_is_there_after_a_crash)
{
    _cleanup_view_ struct task_view hers = {0}, his = {0};

    call(&service, &root, "POST", "/pause");
    add(&alice, "/bytes/1000/a", &hers);
    add(&bob, "/bytes/1000/b", &his);
    service_kill_all(&service);
    start();
    call(&service, &root, "POST", "/resume");
    wait_state(&service, &alice, hers.id, "FINISHED", SOON);
    wait_state(&service, &bob, his.id, "FINISHED", SOON);
    expect_owner(hers.dest, &alice, 0644);
    expect_owner(his.dest, &bob, 0644);
}
END_TEST

int main(void)
{
    const char *why = make_accounts();
    if (why)
        return harness_skip(why);
    Suite *suite = suite_create("users");
    TCase *tcase = tcase_create("users");
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, files_belong_to_who_added);
    tcase_add_test(tcase, not_into_the_home_of_another);
    tcase_add_test(tcase, no_filers_for_system_users);
    tcase_add_test(tcase, tasks_of_others_are_not_there);
    tcase_add_test(tcase, operators);
    tcase_add_test(tcase, a_pause_is_the_users_own);
    tcase_add_test(tcase, the_table_of_who_may_do_what);
    tcase_add_test(tcase, events_are_the_owners);
    tcase_add_test(tcase, a_lost_right_ends_what_is_heard_by_it);
    tcase_add_test(tcase, beginnings_of_ids_tell_nothing);
    tcase_add_test(tcase, waiting_tasks_count_for_their_user);
    tcase_add_test(tcase, a_long_line_delays_nobody_else);
    tcase_add_test(tcase, slow_origins_delay_nobody_else);
    tcase_add_test(tcase, slow_origins_leave_room_at_their_hosts);
    tcase_add_test(tcase, root_acts_for_others_on_the_socket);
    tcase_add_test(tcase, the_kernel_vouches_on_loopback);
    tcase_add_test(tcase, sends_and_closes_at_once);
    tcase_add_test(tcase, a_relay_of_root_vouches_for_nobody);
    tcase_add_test(tcase, what_the_processes_are);
    tcase_add_test(tcase, a_dead_file_system_delays_its_user_alone);
    tcase_add_test(tcase, everybody_is_there_after_a_crash);
    suite_add_tcase(suite, tcase);
    return harness_main(suite);
}
