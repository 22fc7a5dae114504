/*
 * A verb for many tasks: all that it touches are changed, or none. What is meant is looked for, and
 * kept from other verbs; what waits is taken out of the queue, what runs is told to let go and
 * stored as waiting (takeover.h). Then the store changes all (store_do_many): one transaction
 * decides on all of them. Only after that does the rest follow: counters, the queue, part files. A
 * crash before that transaction finds tasks that wait, as if nothing had been asked; after one
 * later the next start does what was left: it changes those that were not, queues what is ENQUEUED,
 * and removes part files that are to be dropped. Where files have to go before their record, to
 * forget them, they go before the transaction: a crash then leaves records whose files are gone, to
 * be forgotten again.
 *
 * A task takes 25 bytes meanwhile. The store's writer is held up for STORE_MANY_AT_ONCE tasks at a
 * time, the queue for one, and the lane of a user for some hundred files at a time.
 */
#pragma once

#include "engine.h"
#include "finisher.h"
#include "manager.h"
#include "verbs.h"

struct many;

/* 0 or -ENOMEM. Engine, verbs and finisher outlive it. */
int many_create(struct engine *engine, struct verbs *verbs, struct finisher *finisher,
                struct many **ret_many);
/* Before verbs_stop: what was asked is answered, done or not; what comes later is answered
 * -ESHUTDOWN. */
void many_stop(struct many *many);
void many_destroy(struct many *many);

/* As manager_do_many. */
void many_do(struct many *many, enum manager_verb verb, const struct manager_filter *filter,
             const char *const *ids, size_t id_count, manager_done done, void *data);
