#include <errno.h>
#include <stdio.h>

#include "common/cleanup.h"
#include "http/routes_v1.h"
#include "http/task_fields.h"
#include "http/v1.h"

#define BODY_MAX (256 << 10) /* bytes: the longest fields fit, each character escaped */

static void on_added(void *data, const struct manager_reply *reply)
{
    struct http_request *request = data;
    if (reply->error == -EEXIST ||
        (reply->twin && reply->view->task->uid != http_request_caller(request)->uid)) {
        http_answer_error(request, 409, "conflict",
                          reply->message ? reply->message
                                         : "an unfinished task is going to write that file");
        return;
    }
    if (reply->error) {
        routes_fail(request, reply);
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

static void handle_add(struct http_request *request, void *data)
{
    struct routes *routes = data;
    struct manager_add defaults = {
        .user = http_request_caller(request)->user, .if_exists = TASK_RENAME, .retries = -1};
    if (!v1_no_other_parameter(request, NULL) ||
        !routes_may(request, routes, AUTH_ADD, NULL, &defaults.uid))
        return;
    _cleanup_(v1_release_object) struct json_object *object = NULL;
    _cleanup_(task_wanted_release) struct task_wanted wanted;
    task_wanted_init(&wanted, &defaults);
    if (!v1_read_body(request, task_fields, &wanted, &object))
        return;
    const char *problem = task_wanted_problem(&wanted, !object);
    if (problem) {
        routes_refuse(request, problem);
        return;
    }
    http_suspend(request);
    manager_add(routes->manager, &wanted.add, on_added, request);
}

const struct http_route routes_v1_add[] = {
    {.path = V1_TASKS,
     .methods = HTTP_POST,
     .handle = handle_add,
     .body = HTTP_BODY_JSON_NEEDED,
     .body_max = BODY_MAX},
    {.path = NULL},
};
