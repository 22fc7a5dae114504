/* Which tasks people mean: found in the store, and, where the store lags behind, among those in
 * hand. */
#pragma once

#include "engine.h"
#include "manager.h"

struct filter;

/* Copies what is asked for. 0 or -ENOMEM. */
int filter_create(struct engine *engine, const struct manager_filter *wanted,
                  struct filter **ret_filter);
/* NULL is fine. */
void filter_destroy(struct filter *filter);

/* As store_list, but states are those of now. Blocks for some milliseconds. */
int filter_next(struct filter *filter, int64_t *before, size_t max, int64_t *ret_rows,
                size_t *ret_count);
/* Whether a state is one of those asked for. */
bool filter_has_state(const struct filter *filter, enum task_state state);
