/*
 * The pool of workers: max_tasks_num threads that each block on the queue, pop a task, and run it.
 * What running means is given (attempt.h does it).
 */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "core/queue.h"
#include "privsep/files.h"
#include "transfer/transfer.h"

struct workers;

struct worker_tools { /* one worker's own */
    struct transfer *transfer;
    struct files_channel *channel; /* to the filer of the last task's user, or NULL */
};

/* Runs one task, on the worker's thread; blocks until it has ended, or is handed on, or put back. */
typedef void (*worker_run)(void *data, struct worker_tools *tools, uid_t uid, int64_t row);

/* No thread yet. 0 or -ENOMEM. */
int workers_create(struct queue *queue, worker_run run, void *data, struct workers **ret_workers);
/* From now on `number` of them, which is set as the queue's slots too: more at once, fewer as tasks
 * end. 0, or a negative errno when not all threads could be made (as many as could work). */
int workers_resize(struct workers *workers, unsigned number);
/* After queue_close: waits until all have ended. */
void workers_join(struct workers *workers);
/* All have ended. NULL is fine. */
void workers_destroy(struct workers *workers);
