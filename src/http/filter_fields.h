/* Which tasks are meant, as people say it: the one table of what lists and verbs about many take.
 */
#pragma once

#include "http/fields.h"
#include "manager.h"

struct filter_wanted { /* zeroed: nothing was said */
    struct manager_filter filter;
    const char *scope; /* own, all, or NULL */
    int64_t after;     /* lists */
    size_t limit;
};

/* For v1_read_parameters into a struct filter_wanted. */
extern const struct field filter_list_fields[];
