#include "http/routes.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/api.h"
#include "common/json.h"
#include "http/routes_classic.h"
#include "http/routes_events.h"
#include "http/routes_metrics.h"
#include "http/routes_v1.h"

const struct http_route *const routes_tables[] = {
    routes_classic, routes_v1_add, routes_v1_list, routes_v1_many, routes_v1_service, routes_v1_task,
    routes_events, routes_metrics, NULL,
};

void routes_refuse(struct http_request *request, const char *message)
{
    http_answer_error(request, 400, "bad_request", message);
}

void routes_fail(struct http_request *request, const struct manager_reply *reply)
{
    const char *message = reply->message ? reply->message : strerror(-reply->error);
    switch (-reply->error) {
    case EMLINK:
    case EBUSY:
        http_answer_error(request, 409, "conflict",
                          reply->message ? reply->message
                          : reply->error == -EBUSY
                              ? "the state of the task does not allow that"
                              : "several tasks begin like that; give more of the id");
        break;
    case EDOM:
        routes_refuse(request, message);
        break;
    case EDQUOT:
        http_answer_error(request, 429, "too_many", message);
        break;
    case EACCES:
    case EPERM:
    case EROFS:
    case ENOTDIR:
    case ENOENT:
    case ELOOP:
    case ENAMETOOLONG:
    case EEXIST:
    case EISDIR:
    case EINVAL:
    case EILSEQ:
        http_answer_error(request, 403, "forbidden", message);
        break;
    default:
        http_answer_error(request, 503, "unavailable", message);
    }
}

bool routes_text(struct http_request *request, const char *name, const char **ret_text)
{
    char message[80];
    size_t len;
    const char *text = http_request_param(request, name, &len);
    if (text && memchr(text, '\0', len)) {
        snprintf(message, sizeof message, "%s holds a NUL character", name);
        routes_refuse(request, message);
        return false;
    }
    if (text && !json_is_utf8(text, len)) {
        snprintf(message, sizeof message, "%s is not valid UTF-8", name);
        routes_refuse(request, message);
        return false;
    }
    *ret_text = text;
    return true;
}

bool routes_may(struct http_request *request, const struct routes *routes, enum auth_action action,
                const char *scope, uid_t *ret_scope)
{
    char message[256];
    int error = auth_authorize(routes->auth, http_request_caller(request), action, scope, ret_scope,
                               message);
    if (error == -EINVAL)
        routes_refuse(request, message);
    else if (error)
        http_answer_error(request, 403, "forbidden", message);
    return !error;
}

bool routes_is_id_prefix(const char *text)
{
    size_t len = strlen(text);
    return len >= API_ID_PREFIX_MIN && len <= API_ID_LENGTH &&
           strspn(text, "0123456789abcdef-") == len;
}
