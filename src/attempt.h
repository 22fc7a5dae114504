/* One attempt at one task, from the queue's row to the finisher, a failure, or back into the queue. */
#pragma once

#include "admission.h"
#include "engine.h"
#include "finisher.h"
#include "worker.h"

struct attempt_rooms {
    struct engine *engine;
    struct admission *admission;
    struct finisher *finisher;
};

/* On a worker's thread; blocks until the task has ended, or is handed on, or put back. */
void attempt_run(struct attempt_rooms *rooms, struct worker_tools *tools,
                 const struct queue_task *queued);
