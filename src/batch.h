/*
 * Many tasks at once, all or none: admission in bulk, so that the user's filer is asked once for a
 * directory, not for each task, and the store commits them together. What it decides is what
 * admission decides one by one.
 */
#pragma once

#include "admission.h"
#include "engine.h"
#include "manager.h"

struct batches;

/* 0 or -ENOMEM. Engine and admission outlive it. */
int batches_create(struct engine *engine, struct admission *admission,
                   struct batches **ret_batches);
/* As admission_stop. */
int batches_stop(struct batches *batches, int64_t timeout);
void batches_destroy(struct batches *batches);

/* As manager_add_many. */
void batches_add(struct batches *batches, const struct manager_add *adds, size_t count,
                 manager_done done, void *data);
