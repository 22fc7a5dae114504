#include "given.h"

#include <stdlib.h>
#include <string.h>

#include "options.h"

void given_release(struct given *given)
{
    free(given->list);
    *given = (struct given){0};
}

static const char *find(const struct given *given, const char *name, bool common)
{
    for (size_t i = given->count; i-- > 0;) {
        const struct given_option *option = &given->list[i];
        if (option->row->common == common && strcmp(option->row->name, name) == 0)
            return option->value ? option->value : "";
    }
    return NULL;
}

const char *given_value(const struct given *given, const char *name)
{
    return find(given, name, false);
}

const char *given_common(const struct given *given, const char *name)
{
    return find(given, name, true);
}

const char *given_next(const struct given *given, const char *name, size_t *position)
{
    while (*position < given->count) {
        const struct given_option *option = &given->list[(*position)++];
        if (!option->row->common && strcmp(option->row->name, name) == 0)
            return option->value ? option->value : "";
    }
    return NULL;
}
