#include "http/params.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

static int refuse(struct refusal *refusal, const char *where, int error, const char *bad)
{
    if (error == -ENOMEM)
        return refusal_no_memory(refusal);
    if (error == -E2BIG)
        return refusal_say(refusal, 400, "bad_request", "more than %d parameters", FORM_FIELDS_MAX);
    return refusal_say(refusal, 400, "bad_request", "broken percent-encoding in the %s: \"%.3s\"",
                       where, bad);
}

int params_read_target(const char *target, char **ret_path, struct form *form,
                       struct refusal *ret_refusal)
{
    const char *bad = NULL;
    size_t len = strcspn(target, "?"), path_len;
    int error = form_decode(target, len, false, ret_path, &path_len, &bad);
    if (error)
        return refuse(ret_refusal, "path", error, bad);
    if (path_len != strlen(*ret_path))
        **ret_path = '\0';
    if (target[len])
        error = form_parse(form, target + len + 1, strlen(target + len + 1), &bad);
    return error ? refuse(ret_refusal, "query", error, bad) : 0;
}

int params_read_body(const char *body, size_t len, struct form *form, struct refusal *ret_refusal)
{
    const char *bad = NULL;
    int error = form_parse(form, body, len, &bad);
    return error ? refuse(ret_refusal, "body", error, bad) : 0;
}

static bool has_type(const char *content_type, const char *type)
{
    size_t len = strlen(type);
    return strncasecmp(content_type, type, len) == 0 && strchr("; \t", content_type[len]);
}

enum params_type params_body_type(const char *content_type)
{
    if (content_type && has_type(content_type, "application/x-www-form-urlencoded"))
        return PARAMS_URLENCODED;
    if (content_type && has_type(content_type, "multipart/form-data"))
        return PARAMS_MULTIPART;
    if (content_type && has_type(content_type, "application/json"))
        return PARAMS_JSON;
    return PARAMS_UNKNOWN;
}
