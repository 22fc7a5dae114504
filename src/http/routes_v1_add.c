#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/buf.h"
#include "common/cleanup.h"
#include "common/json.h"
#include "http/routes_v1.h"
#include "http/task_fields.h"
#include "http/task_json.h"
#include "http/v1.h"

#define BODY_MAX (8 << 20) /* bytes */
#define AT_ONCE  (16 << 10) /* are read on the HTTP thread: some tenths of a millisecond */

/* A dest that is taken is a conflict here. */
static void fail(struct http_request *request, const struct manager_reply *reply)
{
    if (reply->error == -EEXIST)
        http_answer_error(request, 409, "conflict",
                          reply->message ? reply->message
                                         : "an unfinished task is going to write that file");
    else
        routes_fail(request, reply);
}

static void on_added(void *data, const struct manager_reply *reply)
{
    struct http_request *request = data;
    bool foreign_twin = reply->twin && reply->view->task->uid != http_request_caller(request)->uid;
    if (reply->error || foreign_twin) {
        fail(request, foreign_twin ? &(struct manager_reply){.error = -EEXIST} : reply);
        return;
    }
    char location[sizeof V1_TASKS "/" + API_ID_LENGTH];
    snprintf(location, sizeof location, V1_TASKS "/%s", reply->view->task->id);
    char *body = v1_task_body(request, reply->view);
    if (reply->twin)
        http_answer(request, 200, body);
    else
        http_answer_at(request, 201, body, location);
}

/* --- many --- */

struct many {
    const struct manager_add *defaults;
    struct task_wanted *wanted; /* `count` of them */
    size_t count;
    char *message;
};

static void release_many(struct many *many)
{
    for (size_t i = 0; i < many->count; i++)
        task_wanted_release(&many->wanted[i]);
    free(many->wanted);
}

static int read_one_of_many(void *data, size_t index, struct json_object *json)
{
    struct many *many = data;
    struct task_wanted *wanted = &many->wanted[many->count++];
    char what[32];
    snprintf(what, sizeof what, "tasks[%zu]", index);
    task_wanted_init(wanted, many->defaults);
    if (!json_is_object(json)) {
        snprintf(many->message, 512, "%s must be an object, {...}", what);
        return -EINVAL;
    }
    int r = fields_read(task_fields, json, what, wanted, many->message);
    const char *problem = r == 0 ? task_wanted_problem(wanted) : NULL;
    if (problem)
        snprintf(many->message, 512, "%s.%s", what, problem);
    return problem ? -EINVAL : r;
}

static int set_tasks(const struct field *field, void *target, const struct field_value *value,
                     char message[static 512])
{
    struct many *many = target;
    size_t count = json_count(value->object);
    if (count < 1 || count > MANAGER_ADD_MAX) {
        snprintf(message, 512, "%s must be 1 to %d tasks; these are %zu", field->name,
                 MANAGER_ADD_MAX, count);
        return -EINVAL;
    }
    many->wanted = calloc(count, sizeof *many->wanted);
    many->message = message;
    return many->wanted ? json_each_item(value->object, read_one_of_many, many) : -ENOMEM;
}

static const struct field many_fields[] = {
    {.name = "tasks",   .type = FIELD_ARRAY, .set = set_tasks},
    {.name = NULL},
};

static void on_all_added(void *data, const struct manager_reply *reply)
{
    struct http_request *request = data;
    if (reply->error) {
        fail(request, reply);
        return;
    }
    _cleanup_(buf_release) struct buf body;
    buf_init(&body, TASK_JSON_LIST_MAX);
    buf_add_char(&body, '{');
    task_json_list(&body, reply->view, reply->count, http_request_caller(request)->uid);
    buf_add_char(&body, '}');
    http_answer(request, 201, buf_take(&body));
}

static void add_many(struct http_request *request, struct manager *manager, const struct many *many)
{
    _cleanup_free_ struct manager_add *adds = calloc(many->count, sizeof *adds);
    if (!adds) {
        http_answer(request, 503, NULL);
        return;
    }
    for (size_t i = 0; i < many->count; i++)
        adds[i] = many->wanted[i].add;
    manager_add_many(manager, adds, many->count, on_all_added, request);
}

/* --- one or many --- */

static void add_one(struct http_request *request, struct manager *manager,
                    const struct manager_add *defaults, struct json_object *object)
{
    char message[512];
    _cleanup_(task_wanted_release) struct task_wanted wanted;
    task_wanted_init(&wanted, defaults);
    int r = fields_read(task_fields, object, NULL, &wanted, message);
    const char *problem = r == 0 ? task_wanted_problem(&wanted) : message;
    if (r == -ENOMEM) {
        http_answer(request, 503, NULL);
    } else if (problem) {
        routes_refuse(request, problem);
    } else {
        manager_add(manager, &wanted.add, on_added, request);
    }
}

/* A readers_read: the request is suspended, and who may was looked at. */
static void read_body(struct http_request *request, void *data)
{
    struct routes *routes = data;
    const struct caller *caller = http_request_caller(request);
    const struct manager_add defaults = {
        .uid = caller->uid, .user = caller->user, .if_exists = TASK_RENAME, .retries = -1};
    _cleanup_(v1_release_object) struct json_object *object = NULL;
    _cleanup_(release_many) struct many many = {.defaults = &defaults};
    if (!v1_parse_body(request, &object))
        return;
    if (!object) {
        routes_refuse(request, "the body is empty; send a JSON object with a url");
    } else if (!json_member(object, "tasks")) {
        add_one(request, routes->manager, &defaults, object);
    } else if (v1_read_object(request, many_fields, object, &many)) {
        add_many(request, routes->manager, &many);
    }
}

static void handle_add(struct http_request *request, void *data)
{
    struct routes *routes = data;
    uid_t uid;
    size_t len;
    if (!v1_no_other_parameter(request, NULL) ||
        !routes_may(request, routes, AUTH_ADD, NULL, &uid))
        return;
    (void)http_request_body(request, &len);
    http_suspend(request);
    if (len <= AT_ONCE || !routes->readers)
        read_body(request, routes);
    else if (readers_put(routes->readers, uid, request, read_body, routes) < 0)
        http_answer(request, 503, NULL);
}

const struct http_route routes_v1_add[] = {
    {.path = V1_TASKS,
     .methods = HTTP_POST,
     .handle = handle_add,
     .body = HTTP_BODY_JSON_NEEDED,
     .body_max = BODY_MAX},
    {.path = NULL},
};
