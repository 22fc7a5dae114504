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

/* A worker_run; `data` is a struct attempt_rooms. */
void attempt_run(void *data, struct worker_tools *tools, uid_t uid, int64_t row);
