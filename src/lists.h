/* Lists of tasks, page by page: each made on a thread of the one who asks, so that looking for long
 * delays nobody else. */
#pragma once

#include "engine.h"
#include "manager.h"

struct lists;

/* 0 or -ENOMEM. The engine outlives it. */
int lists_create(struct engine *engine, struct lists **ret_lists);
/* What was asked is answered; what comes later is answered -ESHUTDOWN. */
void lists_stop(struct lists *lists);
void lists_destroy(struct lists *lists);

/* As manager_list. */
void lists_page(struct lists *lists, const struct manager_filter *filter, int64_t after,
                size_t limit, manager_done done, void *data);
