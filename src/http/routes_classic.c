#include "http/routes_classic.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/api.h"
#include "common/buf.h"
#include "common/cleanup.h"
#include "common/json.h"
#include "common/units.h"
#include "http/checks.h"
#include "http/routes.h"

#define BODY_MAX (1 << 20) /* of an answer; the longest URL and path, escaped twice, fit */

/* --- parameters --- */

/* False: the request is answered. A number from 1 to `max`; 0: absent. */
static bool read_number(struct http_request *request, const char *name, unsigned max,
                        unsigned *ret_number)
{
    const char *text;
    uint64_t number = 0;
    if (!routes_text(request, name, &text))
        return false;
    if (text && units_parse_uint(text, 1, max, &number) < 0) {
        char message[80];
        snprintf(message, sizeof message, "%s must be a whole number from 1 to %u", name, max);
        routes_refuse(request, message);
        return false;
    }
    *ret_number = (unsigned)number;
    return true;
}

/* --- answers --- */

static void add_pair(struct buf *buf, const char *before, const char *key, const char *value)
{
    buf_printf(buf, "%s\"%s\": ", before, key);
    json_add_string(buf, value);
}

/* The task in the shape of old: a JSON document inside a string. */
static char *task_body(const char *url, const char *dest, double duration, const char *status,
                       const char *id)
{
    _cleanup_(buf_release) struct buf inner;
    _cleanup_(buf_release) struct buf outer;
    buf_init(&inner, BODY_MAX);
    buf_init(&outer, BODY_MAX);
    add_pair(&inner, "{", "url", url);
    add_pair(&inner, ", ", "dest", dest);
    buf_add_string(&inner, ", \"duration\": ");
    json_add_float(&inner, duration);
    add_pair(&inner, ", ", "status", status);
    add_pair(&inner, ", ", "id", id);
    buf_add_string(&inner, "}");
    if (inner.error)
        return NULL;
    add_pair(&outer, "{", "task", inner.data);
    buf_add_string(&outer, "}");
    return buf_take(&outer);
}

static char *message_body(const char *message)
{
    _cleanup_(buf_release) struct buf body;
    buf_init(&body, BODY_MAX);
    add_pair(&body, "{", "message", message);
    buf_add_string(&body, "}");
    return buf_take(&body);
}

/* By the scope parameter. False: the request is answered. */
static bool authorize(struct http_request *request, struct routes *routes, enum auth_action action,
                      uid_t *ret_scope)
{
    const char *scope;
    return routes_text(request, "scope", &scope) &&
           routes_may(request, routes, action, scope, ret_scope);
}

/* --- add --- */

static void on_added(void *data, const struct manager_reply *reply)
{
    struct http_request *request = data;
    if (reply->error) {
        routes_fail(request, reply);
        return;
    }
    const struct task *task = reply->view->task;
    _cleanup_free_ char *dest = task_dest(task), *url = shown_url(task->url, true);
    http_answer(request, 200,
                dest && url ? task_body(url, dest, 0, task_state_name(TASK_ENQUEUED), task->id)
                            : NULL);
}

static void handle_add(struct http_request *request, void *data)
{
    struct routes *routes = data;
    const struct caller *caller = http_request_caller(request);
    struct manager_add add = {.uid = caller->uid,
                              .user = caller->user,
                              .classic = true,
                              .if_exists = TASK_RENAME,
                              .retries = -1};
    char message[512];
    uid_t scope;
    if (!authorize(request, routes, AUTH_ADD, &scope) || !routes_text(request, "url", &add.url) ||
        !routes_text(request, "path", &add.directory))
        return;
    if (!add.url)
        routes_refuse(request, "url is missing");
    else if (!check_url("url", add.url, message) ||
             (add.directory && !check_directory("path", add.directory, message)))
        routes_refuse(request, message);
    else {
        http_suspend(request);
        manager_add(routes->manager, &add, on_added, request);
    }
}

/* --- status --- */

static char *status_body(const struct caller *caller, const struct task *task)
{
    _cleanup_free_ char *dest = task_dest(task);
    _cleanup_free_ char *url = shown_url(task->url, caller->uid == task->uid);
    if (!dest || !url)
        return NULL;
    return task_body(url, dest, task_duration(task, units_now_realtime()),
                     task_state_name(task->state), task->id);
}

static void answer_no_task(struct http_request *request)
{
    http_answer(request, 404, message_body("Not Found"));
}

static void on_found(void *data, const struct manager_reply *reply)
{
    struct http_request *request = data;
    if (!reply->error)
        http_answer(request, 200, status_body(http_request_caller(request), reply->view->task));
    else if (reply->error == -ENOENT)
        answer_no_task(request);
    else
        routes_fail(request, reply);
}

static void handle_status(struct http_request *request, void *data)
{
    struct routes *routes = data;
    const char *id;
    uid_t scope;
    if (!authorize(request, routes, AUTH_STATUS, &scope) || !routes_text(request, "task_id", &id))
        return;
    if (!id)
        routes_refuse(request, "task_id is missing");
    else if (!routes_is_id_prefix(id))
        answer_no_task(request);
    else {
        http_suspend(request);
        manager_find(routes->manager, scope, id, on_found, request);
    }
}

/* --- clear, pause, resume --- */

static void answer_done(struct http_request *request, const struct manager_reply *reply,
                        const char *message)
{
    if (reply->error)
        routes_fail(request, reply);
    else
        http_answer(request, 200, message_body(message));
}

static void on_cleared(void *data, const struct manager_reply *reply)
{
    answer_done(data, reply, "Enqueued tasks cleared");
}

static void on_paused(void *data, const struct manager_reply *reply)
{
    answer_done(data, reply, "Pausing Workers");
}

static void on_resumed(void *data, const struct manager_reply *reply)
{
    answer_done(data, reply, "Resuming Workers");
}

static void handle_clear(struct http_request *request, void *data)
{
    struct routes *routes = data;
    uid_t scope;
    if (!authorize(request, routes, AUTH_CLEAR, &scope))
        return;
    http_suspend(request);
    manager_clear(routes->manager, scope, on_cleared, request);
}

static void handle_pause(struct http_request *request, void *data)
{
    struct routes *routes = data;
    unsigned seconds;
    uid_t scope;
    if (!authorize(request, routes, AUTH_PAUSE, &scope) ||
        !read_number(request, "seconds", API_PAUSE_MAX, &seconds))
        return;
    http_suspend(request);
    manager_pause(routes->manager, scope, seconds, on_paused, request);
}

static void handle_resume(struct http_request *request, void *data)
{
    struct routes *routes = data;
    uid_t scope;
    if (!authorize(request, routes, AUTH_RESUME, &scope))
        return;
    http_suspend(request);
    manager_resume(routes->manager, scope, on_resumed, request);
}

/* --- stats, maxtasks --- */

static char *stats_body(const struct stats_snapshot *stats)
{
    _cleanup_(buf_release) struct buf body;
    buf_init(&body, BODY_MAX);
    buf_add_string(&body, "{\"tasks\": {");
    for (int i = 0; i < TASK_STATES; i++)
        buf_printf(&body, "%s\"%s\": %llu", i ? ", " : "", task_state_name((enum task_state)i),
                   (unsigned long long)stats->tasks[i]);
    buf_printf(&body, "}, \"downloader\": {\"responses/total\": %llu",
               (unsigned long long)stats->responses_total);
    for (unsigned i = 0; i < stats->codes; i++)
        buf_printf(&body, ", \"responses/%d\": %llu", stats->by_code[i].code,
                   (unsigned long long)stats->by_code[i].count);
    buf_add_string(&body, ", \"response_ratio_per_10_min\": ");
    json_add_float(&body, (double)stats->responses_total / STATS_WINDOW_SECONDS);
    buf_add_string(&body, "}}");
    return buf_take(&body);
}

static void handle_stats(struct http_request *request, void *data)
{
    struct routes *routes = data;
    struct stats_snapshot stats;
    uid_t scope;
    if (!authorize(request, routes, AUTH_STATS, &scope))
        return;
    manager_stats(routes->manager, &stats);
    http_answer(request, 200, stats_body(&stats));
}

static void handle_maxtasks(struct http_request *request, void *data)
{
    struct routes *routes = data;
    unsigned number;
    uid_t scope;
    char message[80];
    if (!authorize(request, routes, AUTH_MAXTASKS, &scope) ||
        !read_number(request, "max_tasks_number", API_MAX_TASKS_MAX, &number))
        return;
    if (!number) {
        routes_refuse(request, "max_tasks_number is missing");
        return;
    }
    struct manager_settings_change change = {.who = http_request_caller(request)->user};
    change.set[MANAGER_MAX_TASKS] = true;
    change.value[MANAGER_MAX_TASKS] = number;
    int error = manager_change_settings(routes->manager, &change);
    if (error) {
        routes_fail(request, &(struct manager_reply){.error = error});
        return;
    }
    snprintf(message, sizeof message, "max_tasks set to %u", number);
    http_answer(request, 200, message_body(message));
}

#define GET_OR_HEAD (HTTP_GET | HTTP_HEAD)
#define GET_OR_POST (HTTP_GET | HTTP_POST)

const struct http_route routes_classic[] = {
    {.path = "/add",           .methods = HTTP_POST, .handle = handle_add},
    {.path = "/status",    .methods = GET_OR_HEAD, .handle = handle_status},
    {.path = "/clear",        .methods = GET_OR_POST, .handle = handle_clear},
    {.path = "/pause", .methods = GET_OR_POST, .handle = handle_pause},
    {.path = "/resume",         .methods = GET_OR_POST, .handle = handle_resume},
    {.path = "/stats",  .methods = GET_OR_HEAD, .handle = handle_stats},
    {.path = "/maxtasks",         .methods = HTTP_POST, .handle = handle_maxtasks},
    {.path = NULL },
};
