#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/buf.h"
#include "common/cleanup.h"
#include "common/json.h"
#include "common/units.h"
#include "http/routes_v1.h"
#include "http/task_json.h"
#include "http/v1.h"

#define BODY_MAX (1 << 16) /* of an answer */
#define RATE_MAX ((int64_t)1 << 50)

/* --- what is said --- */

/* Of clear, pause and resume: whose. Of pause and settings: until when. */
struct order {
    const char *scope;
    unsigned seconds;
    int64_t until;
    struct manager_settings_change change;
    bool has_until;
};

static int set_scope(const struct field *field, void *target, const struct field_value *value,
                     char message[static 512])
{
    (void)field;
    (void)message;
    struct order *order = target;
    order->scope = value->text; /* what it may be is auth's to say */
    return 0;
}

static int set_seconds(const struct field *field, void *target, const struct field_value *value,
                       char message[static 512])
{
    (void)field;
    (void)message;
    struct order *order = target;
    order->seconds = (unsigned)value->number;
    return 0;
}

static int set_until(const struct field *field, void *target, const struct field_value *value,
                     char message[static 512])
{
    struct order *order = target;
    order->has_until = true;
    int64_t now = units_now_realtime();
    if (units_parse_moment(value->text, &order->until) < 0)
        snprintf(message, 512, "%s must be a time such as 2030-01-31T22:00:00Z", field->name);
    else if (order->until <= now)
        snprintf(message, 512, "%s is over already; by the service's clock it is later",
                 field->name);
    else if (order->until - now > (int64_t)API_PAUSE_MAX * 1000)
        snprintf(message, 512, "%s is more than a year away", field->name);
    else
        return 0;
    return -EINVAL;
}

static void change(void *target, enum manager_setting setting, int64_t value)
{
    struct order *order = target;
    order->change.set[setting] = true;
    order->change.value[setting] = value;
}

static int set_max_tasks(const struct field *field, void *target, const struct field_value *value,
                         char message[static 512])
{
    (void)field;
    (void)message;
    change(target, MANAGER_MAX_TASKS, value->number);
    return 0;
}

static int set_rate_limit(const struct field *field, void *target, const struct field_value *value,
                          char message[static 512])
{
    (void)field;
    (void)message;
    change(target, MANAGER_RATE_LIMIT, value->number);
    return 0;
}

static int set_max_per_host(const struct field *field, void *target,
                            const struct field_value *value, char message[static 512])
{
    (void)field;
    (void)message;
    change(target, MANAGER_MAX_PER_HOST, value->number);
    return 0;
}

/* clang-format off */
static const struct field scope_fields[] = {
    {.name = "scope", .type = FIELD_TEXT, .set = set_scope},
    {.name = NULL},
};

static const struct field pause_fields[] = {
    {.name = "scope", .type = FIELD_TEXT, .set = set_scope},
    {.name = "seconds", .type = FIELD_INTEGER, .min = 1, .max = API_PAUSE_MAX, .set = set_seconds},
    {.name = "until", .type = FIELD_TEXT, .set = set_until},
    {.name = NULL},
};

static const struct field settings_fields[] = {
    {.name = "max_tasks_num", .type = FIELD_INTEGER, .min = 1, .max = API_MAX_TASKS_MAX,
     .set = set_max_tasks},
    {.name = "rate_limit", .type = FIELD_INTEGER, .max = RATE_MAX, .set = set_rate_limit},
    {.name = "until", .type = FIELD_TEXT, .set = set_until},
    {.name = "max_per_host", .type = FIELD_INTEGER, .min = 1, .max = API_MAX_TASKS_MAX,
     .set = set_max_per_host},
    {.name = NULL},
};
/* clang-format on */

/* The body, and whose tasks are meant: the query may say that too, as the classic routes have it.
 */
static bool read_order(struct http_request *request, const struct routes *routes,
                       enum auth_action action, const struct field *fields, struct order *order,
                       uid_t *ret_scope)
{
    _cleanup_(v1_release_object) struct json_object *object = NULL;
    const char *scope;
    if (!v1_no_other_parameter(request, "scope") || !routes_text(request, "scope", &scope) ||
        !v1_read_body(request, fields, order, &object))
        return false;
    if (scope && order->scope && strcmp(scope, order->scope) != 0) {
        routes_refuse(request, "scope is said twice, and differently");
        return false;
    }
    return routes_may(request, routes, action, scope ? scope : order->scope, ret_scope);
}

/* --- clear, pause, resume --- */

static void on_paused(void *data, const struct manager_reply *reply)
{
    struct http_request *request = data;
    if (reply->error) {
        routes_fail(request, reply);
        return;
    }
    _cleanup_(buf_release) struct buf body;
    buf_init(&body, BODY_MAX);
    buf_printf(&body, "{\"scope\": \"%s\", \"until\": ", reply->everybody ? "all" : "own");
    task_json_moment(&body, reply->until);
    buf_add_char(&body, '}');
    http_answer(request, 200, buf_take(&body));
}

static void handle_clear(struct http_request *request, void *data)
{
    struct routes *routes = data;
    struct order order = {0};
    uid_t scope;
    if (!read_order(request, routes, AUTH_CLEAR, scope_fields, &order, &scope))
        return;
    http_suspend(request);
    manager_clear(routes->manager, scope, v1_on_counted, request);
}

static void handle_pause(struct http_request *request, void *data)
{
    struct routes *routes = data;
    struct order order = {0};
    uid_t scope;
    if (!read_order(request, routes, AUTH_PAUSE, pause_fields, &order, &scope))
        return;
    if (order.seconds && order.has_until) {
        routes_refuse(request, "seconds and until contradict each other; give one of them");
        return;
    }
    http_suspend(request);
    if (order.has_until)
        manager_pause_until(routes->manager, scope, order.until, on_paused, request);
    else
        manager_pause(routes->manager, scope, order.seconds, on_paused, request);
}

static void handle_resume(struct http_request *request, void *data)
{
    struct routes *routes = data;
    struct order order = {0};
    uid_t scope;
    if (!read_order(request, routes, AUTH_RESUME, scope_fields, &order, &scope))
        return;
    http_suspend(request);
    manager_resume(routes->manager, scope, v1_on_counted, request);
}

/* --- settings --- */

static void add_setting(struct buf *body, const char *name, enum manager_setting setting,
                        const struct manager_setting_view *view)
{
    static const char *const sources[] = {[SETTINGS_DEFAULT] = "default",
                                          [SETTINGS_FILE] = "file",
                                          [SETTINGS_COMMAND_LINE] = "command line"};
    bool is_rate = setting == MANAGER_RATE_LIMIT;
    buf_printf(body, "%s\"%s\": {\"value\": ", body->len > 1 ? ", " : "", name);
    if (is_rate && !view->value)
        buf_add_string(body, "null");
    else
        buf_printf(body, "%lld", (long long)view->value);
    buf_printf(
        body, ", \"source\": \"%s\", \"who\": ", view->who[0] ? "run time" : sources[view->source]);
    if (view->who[0])
        json_add_string(body, view->who);
    else
        buf_add_string(body, "null");
    if (is_rate) {
        buf_add_string(body, ", \"until\": ");
        task_json_moment(body, view->until);
    }
    buf_add_char(body, '}');
}

static void answer_settings(struct http_request *request, struct manager *manager)
{
    struct manager_setting_view views[MANAGER_SETTINGS];
    _cleanup_(buf_release) struct buf body;
    manager_settings(manager, views);
    buf_init(&body, BODY_MAX);
    buf_add_char(&body, '{');
    add_setting(&body, "max_tasks_num", MANAGER_MAX_TASKS, &views[MANAGER_MAX_TASKS]);
    add_setting(&body, "rate_limit", MANAGER_RATE_LIMIT, &views[MANAGER_RATE_LIMIT]);
    add_setting(&body, "max_per_host", MANAGER_MAX_PER_HOST, &views[MANAGER_MAX_PER_HOST]);
    buf_add_char(&body, '}');
    http_answer(request, 200, buf_take(&body));
}

static void handle_settings(struct http_request *request, void *data)
{
    struct routes *routes = data;
    uid_t scope;
    if (v1_no_other_parameter(request, NULL) &&
        routes_may(request, routes, AUTH_SETTINGS, NULL, &scope))
        answer_settings(request, routes->manager);
}

static void handle_set(struct http_request *request, void *data)
{
    struct routes *routes = data;
    struct order order = {.change.who = http_request_caller(request)->user};
    _cleanup_(v1_release_object) struct json_object *object = NULL;
    uid_t scope;
    if (!v1_no_other_parameter(request, NULL) ||
        !routes_may(request, routes, AUTH_SET, NULL, &scope) ||
        !v1_read_body(request, settings_fields, &order, &object))
        return;
    if (order.has_until && !order.change.set[MANAGER_RATE_LIMIT]) {
        routes_refuse(request, "until is of rate_limit, which is missing");
        return;
    }
    order.change.until = order.until;
    int error = manager_change_settings(routes->manager, &order.change);
    if (error)
        routes_fail(request, &(struct manager_reply){.error = error});
    else
        answer_settings(request, routes->manager);
}

/* --- stats --- */

static void add_counts(struct buf *body, const char *name, const uint64_t counts[TASK_STATES])
{
    buf_printf(body, "\"%s\": {", name);
    for (int i = 0; i < TASK_STATES; i++)
        buf_printf(body, "%s\"%s\": %llu", i ? ", " : "", task_state_name((enum task_state)i),
                   (unsigned long long)counts[i]);
    buf_add_char(body, '}');
}

static void add_series(struct buf *body, const char *name, const uint64_t steps[STATS_STEPS])
{
    buf_printf(body, ", \"%s\": [", name);
    for (int i = 0; i < STATS_STEPS; i++)
        buf_printf(body, "%s%llu", i ? ", " : "", (unsigned long long)steps[i]);
    buf_add_char(body, ']');
}

static void add_pause(struct buf *body, const char *name, bool on, int64_t until)
{
    int64_t left = until - units_now_boottime();
    buf_printf(body, "\"%s\": ", name);
    if (!on) {
        buf_add_string(body, "null");
        return;
    }
    buf_add_string(body, "{\"until\": ");
    task_json_moment(body, until ? units_now_realtime() + left : 0);
    buf_add_char(body, '}');
}

static void on_looked(void *data, int error, const struct manager_overview *overview)
{
    struct http_request *request = data;
    if (error) {
        routes_fail(request, &(struct manager_reply){.error = error});
        return;
    }
    _cleanup_(buf_release) struct buf body;
    buf_init(&body, BODY_MAX);
    buf_add_string(&body, "{\"tasks\": {");
    add_counts(&body, "own", overview->own);
    buf_add_string(&body, ", ");
    add_counts(&body, "all", overview->all);
    buf_printf(&body, "}, \"step_seconds\": %d", STATS_STEP_SECONDS);
    add_series(&body, "bytes", overview->series->bytes);
    add_series(&body, "responses", overview->series->responses);
    buf_add_string(&body, ", \"disk\": ");
    if (overview->directory) {
        buf_add_string(&body, "{\"directory\": ");
        json_add_string(&body, overview->directory);
        buf_printf(&body, ", \"free\": %lld}", (long long)overview->free);
    } else {
        buf_add_string(&body, "null");
    }
    buf_add_string(&body, ", \"pauses\": {");
    add_pause(&body, "own", overview->pauses.own, overview->pauses.own_until);
    buf_add_string(&body, ", ");
    add_pause(&body, "all", overview->pauses.all, overview->pauses.all_until);
    buf_add_string(&body, "}}");
    http_answer(request, 200, buf_take(&body));
}

static void handle_stats(struct http_request *request, void *data)
{
    struct routes *routes = data;
    uid_t scope;
    if (!v1_no_other_parameter(request, NULL) ||
        !routes_may(request, routes, AUTH_STATS, NULL, &scope))
        return;
    http_suspend(request);
    manager_overview(routes->manager, http_request_caller(request)->uid, on_looked, request);
}

#define GET_OR_HEAD (HTTP_GET | HTTP_HEAD)
#define ORDER       .methods = HTTP_POST, .body = HTTP_BODY_JSON

const struct http_route routes_v1_service[] = {
    {.path = "/v1/clear",      ORDER, .handle = handle_clear},
    {.path = "/v1/pause",  ORDER, .handle = handle_pause},
    {.path = "/v1/resume",      ORDER, .handle = handle_resume},
    {.path = "/v1/settings",
     .methods = GET_OR_HEAD,
     .handle = handle_settings,
     .body = HTTP_BODY_JSON},
    {.path = "/v1/settings",
     .methods = HTTP_PATCH,
     .handle = handle_set,
     .body = HTTP_BODY_JSON_NEEDED},
    {.path = "/v1/stats", .methods = GET_OR_HEAD, .handle = handle_stats, .body = HTTP_BODY_JSON},
    {.path = NULL  },
};
