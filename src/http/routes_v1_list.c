#include <errno.h>
#include <string.h>

#include "common/buf.h"
#include "common/cleanup.h"
#include "http/filter_fields.h"
#include "http/routes_v1.h"
#include "http/task_json.h"
#include "http/v1.h"

#define LIMIT 100

static void on_listed(void *data, const struct manager_reply *reply)
{
    struct http_request *request = data;
    if (reply->error) {
        routes_fail(request, reply);
        return;
    }
    _cleanup_(buf_release) struct buf body;
    buf_init(&body, TASK_JSON_LIST_MAX);
    buf_add_char(&body, '{');
    task_json_list(&body, reply->view, reply->count, http_request_caller(request)->uid);
    if (reply->next)
        buf_printf(&body, ", \"next\": \"%lld\"}", (long long)reply->next);
    else
        buf_add_string(&body, ", \"next\": null}");
    http_answer(request, 200, buf_take(&body));
}

/* Whose? By default one's own; another user's are for those who may see everybody's. */
static bool read_scope(struct http_request *request, const struct routes *routes,
                       struct filter_wanted *wanted)
{
    const struct caller *caller = http_request_caller(request);
    struct manager_filter *filter = &wanted->filter;
    const char *scope = wanted->scope;
    if (filter->user && strcmp(filter->user, caller->user) == 0) {
        filter->user = NULL;
        scope = "own";
    } else if (filter->user && !scope) {
        scope = "all";
    }
    filter->reader = caller->uid;
    return routes_may(request, routes, AUTH_LIST, scope, &filter->scope);
}

static void handle_list(struct http_request *request, void *data)
{
    struct routes *routes = data;
    struct filter_wanted wanted = {.limit = LIMIT};
    if (!v1_read_parameters(request, filter_list_fields, &wanted) ||
        !read_scope(request, routes, &wanted))
        return;
    http_suspend(request);
    manager_list(routes->manager, &wanted.filter, wanted.after, wanted.limit, on_listed, request);
}

const struct http_route routes_v1_list[] = {
    {.path = V1_TASKS,
     .methods = HTTP_GET | HTTP_HEAD,
     .handle = handle_list,
     .body = HTTP_BODY_JSON},
    {.path = NULL},
};
