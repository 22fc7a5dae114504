/* A verb for many tasks: each is asked as if alone, some hundred at a time, so that their changes
 * are committed together and nobody else waits long for a verb of theirs. */
#pragma once

#include "engine.h"
#include "manager.h"
#include "verbs.h"

struct many;

/* 0 or -ENOMEM. Engine and verbs outlive it. */
int many_create(struct engine *engine, struct verbs *verbs, struct many **ret_many);
/* Before verbs_stop: what was asked is answered, as far as it has come; what comes later is
 * answered -ESHUTDOWN. */
void many_stop(struct many *many);
void many_destroy(struct many *many);

/* As manager_do_many. */
void many_do(struct many *many, enum manager_verb verb, const struct manager_filter *filter,
             const char *const *ids, size_t id_count, manager_done done, void *data);
