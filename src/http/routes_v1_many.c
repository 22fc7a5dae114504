#include <errno.h>
#include <stdlib.h>

#include "common/buf.h"
#include "common/cleanup.h"
#include "common/json.h"
#include "http/filter_fields.h"
#include "http/routes_v1.h"
#include "http/v1.h"

#define BODY_MAX (1 << 20) /* bytes: 10,000 ids fit */

struct id_list {
    const char **ids;
    size_t count;
};

/* They were checked. */
static int add_id(void *data, size_t index, struct json_object *json)
{
    struct id_list *list = data;
    (void)index;
    return json_get_text(json, &list->ids[list->count++]);
}

/* Nobody means all of their tasks by a slip: it has to be said. */
static bool is_said(struct http_request *request, const struct filter_wanted *wanted)
{
    if (wanted->ids && wanted->narrowed)
        routes_refuse(request, "ids and a filter contradict each other; give one of them");
    else if (!wanted->ids && !wanted->narrowed && !wanted->scope)
        routes_refuse(request, "which tasks? give ids, or status, host or q; all of yours are "
                               "scope: own");
    else
        return true;
    return false;
}

static bool read_scope(struct http_request *request, const struct routes *routes,
                       enum auth_action action, struct filter_wanted *wanted)
{
    /* ids are looked for where a single one would be */
    bool as_single = wanted->ids && !wanted->scope;
    wanted->filter.reader = http_request_caller(request)->uid;
    return routes_may(request, routes, as_single ? action : AUTH_MANY, wanted->scope,
                      &wanted->filter.scope);
}

static void do_many(struct http_request *request, struct routes *routes, enum auth_action action,
                    const struct field *fields, enum manager_verb verb, enum manager_verb flagged)
{
    struct filter_wanted wanted = {0};
    struct id_list list = {0};
    _cleanup_(v1_release_object) struct json_object *object = NULL;
    if (!v1_no_other_parameter(request, NULL) || !v1_read_body(request, fields, &wanted, &object) ||
        !is_said(request, &wanted) || !read_scope(request, routes, action, &wanted))
        return;
    _cleanup_free_ const char **ids = calloc(wanted.ids ? json_count(wanted.ids) : 1, sizeof *ids);
    list.ids = ids;
    if (!ids) {
        http_answer(request, 503, NULL);
        return;
    }
    if (wanted.ids)
        (void)json_each_item(wanted.ids, add_id, &list);
    http_suspend(request);
    manager_do_many(routes->manager, wanted.flag ? flagged : verb, &wanted.filter, list.ids,
                    list.count, v1_on_counted, request);
}

static void handle_hold(struct http_request *request, void *data)
{
    do_many(request, data, AUTH_HOLD, filter_verb_fields, MANAGER_HOLD, MANAGER_HOLD);
}

static void handle_release(struct http_request *request, void *data)
{
    do_many(request, data, AUTH_RELEASE, filter_verb_fields, MANAGER_RELEASE, MANAGER_RELEASE);
}

static void handle_cancel(struct http_request *request, void *data)
{
    do_many(request, data, AUTH_CANCEL, filter_cancel_fields, MANAGER_CANCEL, MANAGER_CANCEL_KEEP);
}

static void handle_retry(struct http_request *request, void *data)
{
    do_many(request, data, AUTH_RETRY, filter_verb_fields, MANAGER_RETRY, MANAGER_RETRY);
}

static void handle_forget(struct http_request *request, void *data)
{
    do_many(request, data, AUTH_FORGET, filter_forget_fields, MANAGER_FORGET, MANAGER_FORGET_FILE);
}

#define VERB .methods = HTTP_POST, .body = HTTP_BODY_JSON, .body_max = BODY_MAX

const struct http_route routes_v1_many[] = {
    {.path = V1_TASKS "/hold",    VERB, .handle = handle_hold},
    {.path = V1_TASKS "/release",      VERB, .handle = handle_release},
    {.path = V1_TASKS "/cancel", VERB, .handle = handle_cancel},
    {.path = V1_TASKS "/retry",   VERB, .handle = handle_retry},
    {.path = V1_TASKS "/forget",  VERB, .handle = handle_forget},
    {.path = NULL   },
};
