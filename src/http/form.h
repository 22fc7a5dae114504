/* Named parameters of a request: the query, and bodies of the same make. Strict: a broken
 * percent-encoding is an error, not a guess. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define FORM_FIELDS_MAX 64

struct form_field {
    char *name; /* owned, as is the value; both end with a NUL that is not counted */
    size_t name_len;
    char *value;
    size_t value_len;
};

struct form { /* all zero: empty */
    struct form_field fields[FORM_FIELDS_MAX];
    size_t count;
};

void form_release(struct form *form);
/* Adds a field as it is. 0, -ENOMEM or -E2BIG (more than FORM_FIELDS_MAX). */
int form_add(struct form *form, const char *name, size_t name_len, const char *value,
             size_t value_len);
/* Adds bytes to the value of the last field. 0 or -ENOMEM. */
int form_extend(struct form *form, const char *value, size_t value_len);
/* Adds the fields of `name=value&name=value`, '+' a space. 0, -ENOMEM, -E2BIG, or -EILSEQ: the
 * encoding is broken at `ret_bad`, which points into `text`. */
int form_parse(struct form *form, const char *text, size_t len, const char **ret_bad);
/* The first field of that name, or NULL. */
const struct form_field *form_find(const struct form *form, const char *name);

/* Percent-decoding; `plus`: '+' is a space. The caller frees `ret_text`. 0, -ENOMEM or -EILSEQ. */
int form_decode(const char *text, size_t len, bool plus, char **ret_text, size_t *ret_len,
                const char **ret_bad);
