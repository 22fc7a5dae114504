#include "http/routes_events.h"

#include <stdio.h>
#include <string.h>

#include "http/events.h"
#include "http/form.h"
#include "http/routes.h"
#include "http/v1.h"

/* False: the request is answered. */
static bool add_id(struct http_request *request, const char *value, size_t len, const char **ids,
                   size_t *count)
{
    if (strlen(value) == len && routes_is_id_prefix(value)) {
        ids[(*count)++] = value;
        return true;
    }
    routes_refuse(request, "task must be an id, or at least four characters of its start");
    return false;
}

/* False: the request is answered. */
static bool read_parameters(struct http_request *request, const char **ids, size_t *ret_count,
                            const char **ret_scope)
{
    const char *name;
    *ret_scope = NULL;
    *ret_count = 0;
    for (size_t i = 0; (name = http_request_param_name(request, i)); i++) {
        size_t len;
        const char *value = http_request_param_value(request, i, &len);
        if (strcmp(name, "task") == 0) {
            if (!add_id(request, value, len, ids, ret_count))
                return false;
        } else if (strcmp(name, "scope") == 0) {
            if (!routes_text(request, name, ret_scope))
                return false;
        } else {
            v1_refuse_parameter(request, name);
            return false;
        }
    }
    return true;
}

/* False: the request is answered. */
static bool read_wish(struct http_request *request, const struct routes *routes, const char **ids,
                      struct events_wish *ret_wish)
{
    struct events_wish wish = {
        .auth = routes->auth, .ids = ids, .last_id = http_request_header(request, "Last-Event-ID")};
    const char *scope;
    if (!read_parameters(request, ids, &wish.id_count, &scope) ||
        !routes_may(request, routes, AUTH_EVENTS, scope, &wish.scope))
        return false;
    *ret_wish = wish;
    return true;
}

static void handle_events(struct http_request *request, void *data)
{
    const struct routes *routes = data;
    const char *ids[FORM_FIELDS_MAX];
    struct events_wish wish;
    if (read_wish(request, routes, ids, &wish) && events_listen(routes->events, request, &wish) < 0)
        http_answer(request, 503, NULL);
}

/* Apart: of a stream, the HTTP library would send the end. */
static void handle_head(struct http_request *request, void *data)
{
    const char *ids[FORM_FIELDS_MAX];
    struct events_wish wish;
    if (read_wish(request, data, ids, &wish))
        http_answer_text(request, 200, strdup(""), EVENTS_TYPE);
}

#define EVENTS_PATH "/v1/events"

const struct http_route routes_events[] = {
    {.path = EVENTS_PATH,      .methods = HTTP_GET, .handle = handle_events, .body_max = 1},
    {.path = EVENTS_PATH, .methods = HTTP_HEAD, .handle = handle_head, .body_max = 1},
    {.path = NULL                       },
};
