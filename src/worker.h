/*
 * The pool of workers: max_tasks_num threads that each block on the queue, pop a task, and run it, or
 * help with what another runs while there is none.
 * What running means is given (attempt.h does it). A worker that the kernel does not let go of (a file
 * system that hangs in the middle of a write) is replaced; it ends when the kernel lets go.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/queue.h"
#include "privsep/files.h"
#include "transfer/transfer.h"

struct workers;

struct worker_tools { /* one worker's own */
    struct transfer *transfer;
    struct files_channel *channel; /* to the filer of the last task's user, or NULL */
    atomic_bool lost; /* it was replaced: whatever it runs should come to an end */
};

struct worker_events { /* `data` is passed through; no lock is held but where it is said */
    /* Runs one task, on the worker's thread; blocks until it has ended, or is handed on, or put back. */
    void (*run)(void *data, struct worker_tools *tools, const struct queue_task *task);
    /* Helps with what another worker runs, as long as that is worth it and the place is its own. */
    void (*help)(void *data, struct worker_tools *tools, const struct helping_place *place);
    /* Workers run again: workers_watch is wanted from now on. Or queue_tick is wanted sooner. */
    void (*on_busy)(void *data);
    /* A worker of this user's is replaced (the pool is locked: touch the queue alone), so that this
     * comes before: it has come back, and ended. */
    void (*on_lost)(void *data, uid_t uid);
    void (*on_found)(void *data, uid_t uid);
    void *data;
};

/* No thread yet. 0 or -ENOMEM. */
int workers_create(struct queue *queue, const struct worker_events *events,
                   struct workers **ret_workers);
/* As many as the queue has slots: starts those that are missing; those beyond end by themselves. 0,
 * or a negative errno when not all threads could be made (as many as could work). */
int workers_fill(struct workers *workers);
/* Replaces those that have been in one file operation for longer than `patience` ms. False: none runs
 * anything, there is nothing to watch until on_busy. */
bool workers_watch(struct workers *workers, int64_t patience);
/* After queue_close: waits until all have ended, at most `timeout` ms. 0; -ETIMEDOUT: some hang, and this
 * may be called again, but not workers_destroy. */
int workers_join(struct workers *workers, int64_t timeout);
/* All have ended. NULL is fine. */
void workers_destroy(struct workers *workers);
