#include "http/v1.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/buf.h"
#include "common/cleanup.h"
#include "common/json.h"
#include "http/task_json.h"

const struct field v1_no_fields[] = {{.name = NULL}};

void v1_release_object(struct json_object **object)
{
    json_release(*object);
}

/* --- answers --- */

void v1_answer_no_task(struct http_request *request)
{
    http_answer_error(request, 404, "not_found",
                      "you have no task with that id, or whose id begins like that");
}

char *v1_task_body(const struct http_request *request, const struct manager_view *view)
{
    return task_json(view, http_request_caller(request)->uid == view->task->uid);
}

void v1_on_counted(void *data, const struct manager_reply *reply)
{
    struct http_request *request = data;
    if (reply->error) {
        routes_fail(request, reply);
        return;
    }
    _cleanup_(buf_release) struct buf body;
    buf_init(&body, 100);
    buf_printf(&body, "{\"count\": %zu}", reply->count);
    http_answer(request, 200, buf_take(&body));
}

bool v1_went_well(struct http_request *request, const struct manager_reply *reply)
{
    if (reply->error == -ENOENT)
        v1_answer_no_task(request);
    else if (reply->error)
        routes_fail(request, reply);
    return !reply->error;
}

void v1_on_done(void *data, const struct manager_reply *reply)
{
    struct http_request *request = data;
    if (v1_went_well(request, reply))
        http_answer(request, 200, v1_task_body(request, reply->view));
}

/* --- what a request says --- */

void v1_refuse_parameter(struct http_request *request, const char *name)
{
    char message[160];
    snprintf(message, sizeof message, "there is no parameter \"%.64s\" here", name);
    routes_refuse(request, json_is_utf8(message, strlen(message))
                               ? message
                               : "there is a parameter that is not known here");
}

bool v1_no_other_parameter(struct http_request *request, const char *known)
{
    const char *name;
    for (size_t i = 0; (name = http_request_param_name(request, i)); i++) {
        if (known && strcmp(name, known) == 0)
            continue;
        v1_refuse_parameter(request, name);
        return false;
    }
    return true;
}

bool v1_read_parameters(struct http_request *request, const struct field *fields, void *target)
{
    char message[512];
    const char *name, *text;
    for (size_t i = 0; (name = http_request_param_name(request, i)); i++) {
        const struct field *field = field_find(fields, name);
        if (!field) {
            v1_refuse_parameter(request, name);
            return false;
        }
        if (!routes_text(request, name, &text))
            return false;
        if (field_set_text(field, target, text, message) < 0) {
            routes_refuse(request, message);
            return false;
        }
    }
    return true;
}

bool v1_parse_body(struct http_request *request, struct json_object **ret_object)
{
    char message[512], broken[128];
    size_t len;
    struct json_object *object = NULL;
    const char *body = http_request_body(request, &len);
    int r = len ? json_read(body, len, &object, broken) : 0;
    if (r == -EBADMSG) {
        snprintf(message, sizeof message, "the body is not a JSON object: %s", broken);
        routes_refuse(request, message);
    } else if (r < 0) {
        http_answer(request, 503, NULL);
    } else {
        *ret_object = object;
    }
    return r == 0;
}

bool v1_read_object(struct http_request *request, const struct field *fields,
                    struct json_object *object, void *target)
{
    char message[512];
    int r = object ? fields_read(fields, object, NULL, target, message) : 0;
    if (r == -ENOMEM)
        http_answer(request, 503, NULL);
    else if (r < 0)
        routes_refuse(request, message);
    return r == 0;
}

bool v1_read_body(struct http_request *request, const struct field *fields, void *target,
                  struct json_object **ret_object)
{
    return v1_parse_body(request, ret_object) &&
           v1_read_object(request, fields, *ret_object, target);
}

bool v1_read_errand(struct http_request *request, const struct routes *routes,
                    enum auth_action action, struct v1_errand *ret_errand)
{
    struct v1_errand errand = {.manager = routes->manager, .id = http_request_segment(request)};
    if (!routes_may(request, routes, action, NULL, &errand.scope))
        return false;
    if (!routes_is_id_prefix(errand.id)) {
        v1_answer_no_task(request);
        return false;
    }
    *ret_errand = errand;
    return true;
}
