#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/units.h"
#include "http/routes_v1.h"
#include "http/task_fields.h"
#include "http/v1.h"

static void on_forgotten(void *data, const struct manager_reply *reply)
{
    struct http_request *request = data;
    if (v1_went_well(request, reply))
        http_answer(request, 204, strdup(""));
}

static void handle_show(struct http_request *request, void *data)
{
    struct v1_errand errand;
    if (!v1_no_other_parameter(request, NULL) ||
        !v1_read_errand(request, data, AUTH_STATUS, &errand))
        return;
    http_suspend(request);
    manager_find(errand.manager, errand.scope, errand.id, v1_on_done, request);
}

/* Nothing to say but which task. False: the request is answered. */
static bool read_plain(struct http_request *request, void *data, enum auth_action action,
                       struct v1_errand *ret_errand)
{
    _cleanup_(v1_release_object) struct json_object *object = NULL;
    return v1_no_other_parameter(request, NULL) &&
           v1_read_errand(request, data, action, ret_errand) &&
           v1_read_body(request, v1_no_fields, NULL, &object);
}

static void handle_change(struct http_request *request, void *data)
{
    struct v1_errand errand;
    _cleanup_(v1_release_object) struct json_object *object = NULL;
    _cleanup_(task_wanted_release) struct task_wanted wanted;
    task_wanted_init(&wanted, &(struct manager_add){0});
    if (!v1_no_other_parameter(request, NULL) ||
        !v1_read_errand(request, data, AUTH_CHANGE, &errand) ||
        !v1_read_body(request, task_change_fields, &wanted, &object))
        return;
    struct manager_change change = task_wanted_change(&wanted);
    if (!change.fields) {
        routes_refuse(request, "nothing is to be changed; send a JSON object with one of: url, "
                               "priority, not_before, rate_limit, max_ranges, label");
        return;
    }
    http_suspend(request);
    manager_change(errand.manager, errand.scope, errand.id, &change, v1_on_done, request);
}

static void handle_first(struct http_request *request, void *data)
{
    struct v1_errand errand;
    if (!read_plain(request, data, AUTH_FIRST, &errand))
        return;
    http_suspend(request);
    manager_first(errand.manager, errand.scope, errand.id, v1_on_done, request);
}

static void handle_hold(struct http_request *request, void *data)
{
    struct v1_errand errand;
    if (!read_plain(request, data, AUTH_HOLD, &errand))
        return;
    http_suspend(request);
    manager_hold(errand.manager, errand.scope, errand.id, v1_on_done, request);
}

static void handle_release(struct http_request *request, void *data)
{
    struct v1_errand errand;
    if (!read_plain(request, data, AUTH_RELEASE, &errand))
        return;
    http_suspend(request);
    manager_release(errand.manager, errand.scope, errand.id, v1_on_done, request);
}

static void handle_retry(struct http_request *request, void *data)
{
    struct v1_errand errand;
    if (!read_plain(request, data, AUTH_RETRY, &errand))
        return;
    http_suspend(request);
    manager_retry(errand.manager, errand.scope, errand.id, v1_on_done, request);
}

static int set_keep(const struct field *field, void *target, const struct field_value *value,
                    char message[static 512])
{
    (void)field;
    (void)message;
    bool *keep = target;
    *keep = value->truth;
    return 0;
}

static const struct field cancel_fields[] = {
    {.name = "keep",   .type = FIELD_BOOL, .set = set_keep},
    {.name = NULL},
};

static void handle_cancel(struct http_request *request, void *data)
{
    struct v1_errand errand;
    const char *text;
    bool keep = false;
    _cleanup_(v1_release_object) struct json_object *object = NULL;
    if (!v1_no_other_parameter(request, "keep") ||
        !v1_read_errand(request, data, AUTH_CANCEL, &errand) ||
        !routes_text(request, "keep", &text))
        return;
    if (text && units_parse_bool(text, &keep) < 0) {
        routes_refuse(request, "keep must be yes or no");
        return;
    }
    if (!v1_read_body(request, cancel_fields, &keep, &object))
        return;
    http_suspend(request);
    manager_cancel(errand.manager, errand.scope, errand.id, keep, v1_on_done, request);
}

static void handle_forget(struct http_request *request, void *data)
{
    struct v1_errand errand;
    const char *file;
    _cleanup_(v1_release_object) struct json_object *object = NULL;
    if (!v1_no_other_parameter(request, "file") ||
        !v1_read_errand(request, data, AUTH_FORGET, &errand) ||
        !routes_text(request, "file", &file))
        return;
    if (file && strcmp(file, "delete") != 0) {
        routes_refuse(request, "file can only be delete; leave it out to keep the file");
        return;
    }
    if (!v1_read_body(request, v1_no_fields, NULL, &object))
        return;
    http_suspend(request);
    manager_forget(errand.manager, errand.scope, errand.id, file != NULL, on_forgotten, request);
}

#define GET_OR_HEAD (HTTP_GET | HTTP_HEAD)
#define VERB        .methods = HTTP_POST, .body = HTTP_BODY_JSON

/* clang-format off */
const struct http_route routes_v1_task[] = {
    {.path = V1_TASK, .methods = HTTP_PATCH, .handle = handle_change,
     .body = HTTP_BODY_JSON_NEEDED},
    {.path = V1_TASK "/first", VERB, .handle = handle_first},
    {.path = V1_TASK,         .methods = GET_OR_HEAD, .handle = handle_show, .body = HTTP_BODY_JSON},
    {.path = V1_TASK,  .methods = HTTP_DELETE, .handle = handle_forget, .body = HTTP_BODY_JSON},
    {.path = V1_TASK "/hold",                       VERB, .handle = handle_hold},
    {.path = V1_TASK "/release",VERB, .handle = handle_release},
    {.path = V1_TASK "/cancel", VERB, .handle = handle_cancel},
    {.path = V1_TASK "/retry", VERB, .handle = handle_retry},
    {.path = NULL },
};
