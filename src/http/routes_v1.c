#include "http/routes_v1.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/api.h"
#include "common/buf.h"
#include "common/cleanup.h"
#include "common/json.h"
#include "common/units.h"
#include "core/url.h"
#include "http/checks.h"
#include "http/fields.h"
#include "http/routes.h"
#include "http/task_json.h"
#include "transfer/checksum.h"

#define TASKS_PATH   "/v1/tasks"
#define ADD_BODY_MAX (256 << 10) /* bytes: the longest fields fit, each character escaped */
#define RETRIES_MAX  1000

/* --- answers --- */

static void answer_no_task(struct http_request *request)
{
    http_answer_error(request, 404, "not_found",
                      "you have no task with that id, or whose id begins like that");
}

/* The task as the one who asked may see it. */
static char *body_for(const struct http_request *request, const struct manager_view *view)
{
    return task_json(view, http_request_caller(request)->uid == view->task->uid);
}

/* False: the request is answered, the verb having failed. */
static bool went_well(struct http_request *request, const struct manager_reply *reply)
{
    if (reply->error == -ENOENT)
        answer_no_task(request);
    else if (reply->error)
        routes_fail(request, reply);
    return !reply->error;
}

static void on_done(void *data, const struct manager_reply *reply)
{
    struct http_request *request = data;
    if (went_well(request, reply))
        http_answer(request, 200, body_for(request, reply->view));
}

static void on_forgotten(void *data, const struct manager_reply *reply)
{
    struct http_request *request = data;
    if (went_well(request, reply))
        http_answer(request, 204, strdup(""));
}

/* --- what a request says --- */

/* False: the request is answered, having a parameter other than `known` (NULL: none is known). */
static bool no_other_parameter(struct http_request *request, const char *known)
{
    const char *name;
    for (size_t i = 0; (name = http_request_param_name(request, i)); i++) {
        if (known && strcmp(name, known) == 0)
            continue;
        char message[160];
        snprintf(message, sizeof message, "there is no parameter \"%.64s\" here", name);
        routes_refuse(request, json_is_utf8(message, strlen(message))
                                   ? message
                                   : "there is a parameter that is not known here");
        return false;
    }
    return true;
}

/* The body, member by member, into `target`. False: the request is answered. */
static bool read_body(struct http_request *request, const struct field *fields, void *target,
                      struct json_object **ret_object)
{
    char message[512];
    size_t len;
    const char *body = http_request_body(request, &len);
    int r = fields_read(fields, body, len, target, ret_object, message);
    if (r == -ENOMEM)
        http_answer(request, 503, NULL);
    else if (r < 0)
        routes_refuse(request, message);
    return r == 0;
}

/* What is asked of one task. */
struct errand {
    struct manager *manager;
    const char *id;
    uid_t scope;
};

/* False: the request is answered. */
static bool read_errand(struct http_request *request, const struct routes *routes,
                        enum auth_action action, struct errand *ret_errand)
{
    struct errand errand = {.manager = routes->manager, .id = http_request_segment(request)};
    if (!routes_may(request, routes, action, NULL, &errand.scope))
        return false;
    if (!routes_is_id_prefix(errand.id)) {
        answer_no_task(request);
        return false;
    }
    *ret_errand = errand;
    return true;
}

/* --- add --- */

struct wanted {
    struct manager_add add;
    char checksum[CHECKSUM_TEXT_MAX];
    struct buf headers;
};

static int set_url(const struct field *field, void *target, const struct field_value *value,
                   char message[static 512])
{
    struct wanted *wanted = target;
    wanted->add.url = value->text;
    return check_url(field->name, value->text, message) ? 0 : -EINVAL;
}

static int set_directory(const struct field *field, void *target, const struct field_value *value,
                         char message[static 512])
{
    struct wanted *wanted = target;
    wanted->add.directory = value->text;
    return check_directory(field->name, value->text, message) ? 0 : -EINVAL;
}

static int set_name(const struct field *field, void *target, const struct field_value *value,
                    char message[static 512])
{
    struct wanted *wanted = target;
    wanted->add.name = value->text;
    return check_name(field->name, value->text, message) ? 0 : -EINVAL;
}

static int set_if_exists(const struct field *field, void *target, const struct field_value *value,
                         char message[static 512])
{
    static const char *const names[] = {
        [TASK_RENAME] = "rename", [TASK_SKIP] = "skip", [TASK_OVERWRITE] = "overwrite"};
    struct wanted *wanted = target;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(value->text, names[i]) == 0) {
            wanted->add.if_exists = (enum task_if_exists)i;
            return 0;
        }
    }
    snprintf(message, 512, "%s must be rename, skip or overwrite", field->name);
    return -EINVAL;
}

static int set_checksum(const struct field *field, void *target, const struct field_value *value,
                        char message[static 512])
{
    struct wanted *wanted = target;
    char expected[256];
    wanted->add.checksum = wanted->checksum;
    if (checksum_normalise(value->text, wanted->checksum, expected) == 0)
        return 0;
    snprintf(message, 512, "%s: %s", field->name, expected);
    return -EINVAL;
}

struct header_list {
    const struct field *field;
    struct buf *lines;
    char *message;
};

static int add_header(void *data, const char *name, struct json_object *json)
{
    struct header_list *list = data;
    const char *field = list->field->name, *value;
    int r = json_get_text(json, &value);
    if (r < 0)
        snprintf(list->message, 512,
                 r == -EILSEQ ? "%s: %.64s holds a NUL character" : "%s: %.64s must be a string",
                 field, name);
    else if (check_header(field, name, value, list->message)) {
        buf_printf(list->lines, "%s: %s\n", name, value);
        return 0;
    }
    return -EINVAL;
}

static int set_headers(const struct field *field, void *target, const struct field_value *value,
                       char message[static 512])
{
    struct wanted *wanted = target;
    struct header_list list = {.field = field, .lines = &wanted->headers, .message = message};
    int r = json_each(value->object, add_header, &list);
    if (r < 0 || wanted->headers.error == -ENOMEM)
        return r < 0 ? r : -ENOMEM;
    if (wanted->headers.error) {
        snprintf(message, 512, "%s are more than %d bytes", field->name, CHECKS_HEADERS_MAX);
        return -EINVAL;
    }
    wanted->add.headers = wanted->headers.data;
    return 0;
}

static int set_username(const struct field *field, void *target, const struct field_value *value,
                        char message[static 512])
{
    struct wanted *wanted = target;
    wanted->add.username = value->text;
    if (check_login_text(field->name, value->text, message) && *value->text)
        return 0;
    if (!*value->text)
        snprintf(message, 512, "%s is empty", field->name);
    return -EINVAL;
}

static int set_password(const struct field *field, void *target, const struct field_value *value,
                        char message[static 512])
{
    struct wanted *wanted = target;
    wanted->add.password = value->text;
    return check_login_text(field->name, value->text, message) ? 0 : -EINVAL;
}

static int set_retries(const struct field *field, void *target, const struct field_value *value,
                       char message[static 512])
{
    (void)field;
    (void)message;
    struct wanted *wanted = target;
    wanted->add.retries = (int)value->number;
    return 0;
}

static int set_priority(const struct field *field, void *target, const struct field_value *value,
                        char message[static 512])
{
    (void)field;
    (void)message;
    struct wanted *wanted = target;
    wanted->add.priority = (int)value->number;
    return 0;
}

static int set_not_before(const struct field *field, void *target, const struct field_value *value,
                          char message[static 512])
{
    struct wanted *wanted = target;
    if (units_parse_moment(value->text, &wanted->add.not_before) == 0)
        return 0;
    snprintf(message, 512, "%s must be a time such as 2030-01-31T22:00:00Z", field->name);
    return -EINVAL;
}

static int set_paused(const struct field *field, void *target, const struct field_value *value,
                      char message[static 512])
{
    (void)field;
    (void)message;
    struct wanted *wanted = target;
    wanted->add.paused = value->truth;
    return 0;
}

static int refuse_many(const struct field *field, void *target, const struct field_value *value,
                       char message[static 512])
{
    (void)target;
    (void)value;
    snprintf(message, 512,
             "%s: many at once are for a later version; send one task object per request",
             field->name);
    return -EINVAL;
}

static const struct field add_fields[] = {
    {.name = "url",         .type = FIELD_TEXT, .set = set_url},
    {.name = "directory",       .type = FIELD_TEXT, .set = set_directory},
    {.name = "name",   .type = FIELD_TEXT, .set = set_name},
    {.name = "if_exists", .type = FIELD_TEXT, .set = set_if_exists},
    {.name = "checksum",        .type = FIELD_TEXT, .set = set_checksum},
    {.name = "headers",      .type = FIELD_OBJECT, .set = set_headers},
    {.name = "username",   .type = FIELD_TEXT, .set = set_username},
    {.name = "password",   .type = FIELD_TEXT, .set = set_password},
    {.name = "retries",   .type = FIELD_INTEGER, .max = RETRIES_MAX, .set = set_retries},
    {.name = "priority", .set = set_priority, .type = FIELD_INTEGER, .min = TASK_PRIORITY_MIN,
     .max = TASK_PRIORITY_MAX},
    {.name = "not_before", .type = FIELD_TEXT, .set = set_not_before},
    {.name = "paused", .type = FIELD_BOOL, .set = set_paused},
    {.name = "tasks",    .type = FIELD_REFUSED, .set = refuse_many},
    {.name = NULL },
};

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
    char location[sizeof TASKS_PATH "/" + API_ID_LENGTH];
    snprintf(location, sizeof location, TASKS_PATH "/%s", reply->view->task->id);
    char *body = body_for(request, reply->view);
    if (reply->twin)
        http_answer(request, 200, body);
    else
        http_answer_at(request, 201, body, location);
}

static void release_wanted(struct wanted *wanted)
{
    buf_release(&wanted->headers);
}

/* NULL, or what is missing or too much. */
static const char *contradiction(const struct manager_add *add, bool empty)
{
    if (!add->url)
        return empty ? "the body is empty; send a JSON object with a url" : "url is missing";
    if (add->password && !add->username)
        return "password needs a username";
    if (add->username && url_has_login(add->url))
        return "url holds a user name, and username is another; give one of them";
    return NULL;
}

static void release_object(struct json_object **object)
{
    json_release(*object);
}

static void handle_add(struct http_request *request, void *data)
{
    struct routes *routes = data;
    const struct caller *caller = http_request_caller(request);
    _cleanup_(release_object) struct json_object *object = NULL;
    _cleanup_(release_wanted) struct wanted wanted = {
        .add = {.user = caller->user, .if_exists = TASK_RENAME, .retries = -1}
    };
    buf_init(&wanted.headers, CHECKS_HEADERS_MAX);
    if (!no_other_parameter(request, NULL) ||
        !routes_may(request, routes, AUTH_ADD, NULL, &wanted.add.uid) ||
        !read_body(request, add_fields, &wanted, &object))
        return;
    const char *wrong = contradiction(&wanted.add, !object);
    if (wrong) {
        routes_refuse(request, wrong);
        return;
    }
    http_suspend(request);
    manager_add(routes->manager, &wanted.add, on_added, request);
}

/* --- one task --- */

static void handle_show(struct http_request *request, void *data)
{
    struct errand errand;
    if (!no_other_parameter(request, NULL) || !read_errand(request, data, AUTH_STATUS, &errand))
        return;
    http_suspend(request);
    manager_find(errand.manager, errand.scope, errand.id, on_done, request);
}

static const struct field no_fields[] = {{.name = NULL}};

/* Nothing to say but which task. False: the request is answered. */
static bool read_plain(struct http_request *request, void *data, enum auth_action action,
                       struct errand *ret_errand)
{
    _cleanup_(release_object) struct json_object *object = NULL;
    return no_other_parameter(request, NULL) && read_errand(request, data, action, ret_errand) &&
           read_body(request, no_fields, NULL, &object);
}

static void handle_hold(struct http_request *request, void *data)
{
    struct errand errand;
    if (!read_plain(request, data, AUTH_HOLD, &errand))
        return;
    http_suspend(request);
    manager_hold(errand.manager, errand.scope, errand.id, on_done, request);
}

static void handle_release(struct http_request *request, void *data)
{
    struct errand errand;
    if (!read_plain(request, data, AUTH_RELEASE, &errand))
        return;
    http_suspend(request);
    manager_release(errand.manager, errand.scope, errand.id, on_done, request);
}

static void handle_retry(struct http_request *request, void *data)
{
    struct errand errand;
    if (!read_plain(request, data, AUTH_RETRY, &errand))
        return;
    http_suspend(request);
    manager_retry(errand.manager, errand.scope, errand.id, on_done, request);
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
    struct errand errand;
    const char *text;
    bool keep = false;
    _cleanup_(release_object) struct json_object *object = NULL;
    if (!no_other_parameter(request, "keep") || !read_errand(request, data, AUTH_CANCEL, &errand) ||
        !routes_text(request, "keep", &text))
        return;
    if (text && units_parse_bool(text, &keep) < 0) {
        routes_refuse(request, "keep must be yes or no");
        return;
    }
    if (!read_body(request, cancel_fields, &keep, &object))
        return;
    http_suspend(request);
    manager_cancel(errand.manager, errand.scope, errand.id, keep, on_done, request);
}

static void handle_forget(struct http_request *request, void *data)
{
    struct errand errand;
    const char *file;
    _cleanup_(release_object) struct json_object *object = NULL;
    if (!no_other_parameter(request, "file") || !read_errand(request, data, AUTH_FORGET, &errand) ||
        !routes_text(request, "file", &file))
        return;
    if (file && strcmp(file, "delete") != 0) {
        routes_refuse(request, "file can only be delete; leave it out to keep the file");
        return;
    }
    if (!read_body(request, no_fields, NULL, &object))
        return;
    http_suspend(request);
    manager_forget(errand.manager, errand.scope, errand.id, file != NULL, on_forgotten, request);
}

#define TASK_PATH   TASKS_PATH "/*"
#define GET_OR_HEAD (HTTP_GET | HTTP_HEAD)
#define VERB        .methods = HTTP_POST, .body = HTTP_BODY_JSON

const struct http_route routes_v1[] = {
    {.path = TASKS_PATH,
     .methods = HTTP_POST,
     .handle = handle_add,
     .body = HTTP_BODY_JSON_NEEDED,
     .body_max = ADD_BODY_MAX},
    {.path = TASK_PATH,     .methods = GET_OR_HEAD, .handle = handle_show, .body = HTTP_BODY_JSON},
    {.path = TASK_PATH, .methods = HTTP_DELETE, .handle = handle_forget, .body = HTTP_BODY_JSON},
    {.path = TASK_PATH "/hold",        VERB, .handle = handle_hold},
    {.path = TASK_PATH "/release",   VERB, .handle = handle_release},
    {.path = TASK_PATH "/cancel",                        VERB, .handle = handle_cancel},
    {.path = TASK_PATH "/retry",  VERB, .handle = handle_retry},
    {.path = NULL },
};
