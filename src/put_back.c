#include "put_back.h"

#include <stdlib.h>
#include <string.h>

#include "common/log.h"

struct put_back {
    struct engine *engine;
    struct queue_task task;
    struct put_back_place place;
};

static void enqueue(struct engine *engine, const struct queue_task *task,
                    const struct put_back_place *place)
{
    if (place->at == 0 && place->last)
        engine_put_last(engine, task);
    else
        engine_put_back(engine, task, place->at, place->reason);
}

/* A store_done. */
static void on_stored(void *data, int result)
{
    struct put_back *back = data;
    if (result < 0)
        log_error("uid=%u a task that waits again cannot be stored: %s", back->task.uid,
                  strerror(-result));
    enqueue(back->engine, &back->task, &back->place);
    free(back);
}

static void let_it_wait(struct engine *engine, struct active_entry *entry, struct task *task)
{
    task->drop_part = false;
    task->priority = active_priority(entry); /* people may have changed it meanwhile */
    engine_move(engine, entry, task, TASK_PUT_BACK);
}

int put_back_to(struct engine *engine, struct active_entry *entry, struct task *task)
{
    let_it_wait(engine, entry, task);
    int r = engine_store_update(engine, task);
    if (r < 0)
        log_error("task=%s user=%s that it waits again cannot be stored: %s", task->id, task->user,
                  strerror(-r));
    active_leave(engine->active, entry);
    return r;
}

void put_back(struct engine *engine, struct active_entry *entry, struct task *task,
              const struct put_back_place *place, uint8_t given_back)
{
    let_it_wait(engine, entry, task);
    active_leave(engine->active, entry);
    struct queue_task queued = engine_queued(engine, task);
    queued.given_back = given_back;
    struct put_back *back = malloc(sizeof *back);
    if (back)
        *back = (struct put_back){engine, queued, *place};
    if (!back || store_update(engine->store, task, on_stored, back) < 0) {
        free(back);
        enqueue(engine, &queued, place);
    }
}
