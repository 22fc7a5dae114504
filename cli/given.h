/* The options that were given. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct option_row;

struct given_option {
    const struct option_row *row;
    const char *value; /* NULL: it takes none */
};

struct given {                 /* in the order of the command line */
    struct given_option *list; /* owned */
    size_t count;
};

void given_release(struct given *given);
/* The last value of an option that is not common, or NULL; "" where it takes none. */
const char *given_value(const struct given *given, const char *name);
/* The same for a common one. */
const char *given_common(const struct given *given, const char *name);
/* The next value from `*position` (0 at first) on, or NULL. */
const char *given_next(const struct given *given, const char *name, size_t *position);
