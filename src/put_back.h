/* A task that was in somebody's hand waits again: stored first, since whoever takes it next reads
 * it from the store. */
#pragma once

#include "engine.h"

struct put_back_place {
    int64_t at; /* boot time: it waits beside its line until then, because of `reason`; 0: it does
                   not */
    enum queue_reason reason;
    bool last; /* with `at` 0: at the end of its priority's line, not at the head */
};

/* From DOWNLOADING to ENQUEUED; takes `entry`. `given_back`: how often it gave its slot back. */
void put_back(struct engine *engine, struct active_entry *entry, struct task *task,
              const struct put_back_place *place, uint8_t given_back);
/* The same, but into the hands of who has asked for it (ACTIVE_HAND_OVER): it is not in the queue then.
 * Waits for the commit. 0, or a negative errno (logged): the store lags behind. */
int put_back_to(struct engine *engine, struct active_entry *entry, struct task *task);
