/* What is to be seen at a glance, for one user; put together on a thread of their own, since their
 * file system is asked for its room. */
#pragma once

#include "engine.h"
#include "manager.h"

struct overviews;

/* 0 or -ENOMEM. The engine outlives it. */
int overviews_create(struct engine *engine, struct overviews **ret_overviews);
/* As admission_stop. */
int overviews_stop(struct overviews *overviews, int64_t timeout);
void overviews_destroy(struct overviews *overviews);

/* As manager_overview. */
/* The uid's tasks by state, as an overview has them. Reads the store. 0 or a negative errno. */
int overviews_count(struct engine *engine, uid_t uid, uint64_t ret_own[static TASK_STATES]);
void overviews_look(struct overviews *overviews, uid_t uid, manager_looked looked, void *data);
