/* The path and the parameters of a request, from its target and its body; what is wrong with them
 * is said as a refusal. */
#pragma once

#include <stddef.h>

#include "http/form.h"
#include "http/refusal.h"

enum params_type {
    PARAMS_UNKNOWN,
    PARAMS_URLENCODED,
    PARAMS_MULTIPART,
    PARAMS_JSON,
};

/* "/path?query" as it came: the decoded path ("" if it holds a NUL), which the caller frees, and
 * the query's fields. 0 or -EBADMSG. */
int params_read_target(const char *target, char **ret_path, struct form *form,
                       struct refusal *ret_refusal);
/* An urlencoded body. 0 or -EBADMSG. */
int params_read_body(const char *body, size_t len, struct form *form, struct refusal *ret_refusal);
/* By the Content-Type field, which may be missing (NULL). */
enum params_type params_body_type(const char *content_type);
