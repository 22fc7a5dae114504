/* Which tasks are meant, as people say it: the one table of what lists and verbs about many take.
 */
#pragma once

#include <stdbool.h>

#include "http/fields.h"
#include "manager.h"

struct filter_wanted { /* zeroed: nothing was said */
    struct manager_filter filter;
    const char *scope; /* own, all, or NULL */
    int64_t after;     /* lists */
    size_t limit;
    struct json_object *ids; /* verbs: an array of texts, or NULL */
    bool flag;               /* `keep`, or `file` is "delete" */
    bool narrowed;           /* status, host or q were said */
};

/* For v1_read_parameters into a struct filter_wanted. */
extern const struct field filter_list_fields[];
/* The same for what the verbs take in a body; cancel and forget take something more. */
extern const struct field filter_verb_fields[], filter_cancel_fields[], filter_forget_fields[];
