/* A table of text that fits the terminal: each column is as wide as what is in it, and where that
 * is too wide, the flexible ones are cut in the middle. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "output.h"

#define TABLE_COLUMNS_MAX 8

struct table_column {
    const char *title;
    bool is_flexible, is_right;
    bool is_cut_at_end; /* else in the middle */
    size_t least;       /* columns that a flexible one keeps */
};

struct table;

/* `columns` is kept, not copied. NULL: no memory. */
struct table *table_create(const struct table_column *columns, size_t count);
void table_destroy(struct table *table);
/* A row of `count` texts (NULL: nothing), which are copied, painted like this. 0 or -ENOMEM. */
int table_add(struct table *table, const char *const *cells, enum output_paint paint);
/* Prints the rows, under the titles if `with_titles`, and forgets them. */
void table_print(struct table *table, bool with_titles);
