#include "takeover.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/units.h"

#define CHANGE_WITHIN 5000 /* ms until one that changes hands is left to them ... */
#define LOOK_EVERY    2000 /* us */
#define PATIENCE      8000 /* ms for transfers to let go: more than one file operation may take */

/* A transfer that was told. */
struct told {
    struct told *next;
    struct takeover *takeover;
    size_t index; /* of its row */
    bool answered, given;
};

struct takeover {
    /* immutable */
    struct engine *engine;
    const int64_t *rows;
    size_t count;
    unsigned states;
    uint8_t *lots;

    pthread_mutex_t lock;
    pthread_cond_t answered;
    /* protected by lock */
    struct told *told;
    size_t outstanding;
    bool closed; /* what comes from now on is too late */
    bool left;   /* the last answer to come frees it */
};

static void takeover_free(struct takeover *takeover)
{
    while (takeover->told) {
        struct told *told = takeover->told;
        takeover->told = told->next;
        free(told);
    }
    pthread_cond_destroy(&takeover->answered);
    pthread_mutex_destroy(&takeover->lock);
    free(takeover);
}

/* What is outstanding still has to find it. */
static void leave(struct takeover *takeover)
{
    pthread_mutex_lock(&takeover->lock);
    takeover->left = true;
    bool last = takeover->outstanding == 0;
    pthread_mutex_unlock(&takeover->lock);
    if (last)
        takeover_free(takeover);
}

/* A manager_done of a wish. What comes too late goes back into the queue. */
static void on_told(void *data, const struct manager_reply *reply)
{
    struct told *told = data;
    struct takeover *takeover = told->takeover;
    struct engine *engine = takeover->engine;
    bool given = reply->error == 0 && reply->view->task->state == TASK_ENQUEUED;
    pthread_mutex_lock(&takeover->lock);
    told->answered = true;
    told->given = given;
    bool late = takeover->closed, frees = --takeover->outstanding == 0 && takeover->left;
    if (takeover->outstanding == 0)
        pthread_cond_signal(&takeover->answered);
    pthread_mutex_unlock(&takeover->lock);
    if (late && given)
        engine_enqueue(engine, reply->view->task, true);
    if (frees)
        takeover_free(takeover);
}

/* False: it is not DOWNLOADING any more, or just ending. */
static bool tell(struct takeover *takeover, size_t index)
{
    struct told *told = calloc(1, sizeof *told);
    struct active_waiter *waiter = calloc(1, sizeof *waiter);
    bool taken = told && waiter;
    if (taken) {
        *told = (struct told){.takeover = takeover, .index = index};
        *waiter = (struct active_waiter){.wish = ACTIVE_HAND_OVER, .done = on_told, .data = told};
        pthread_mutex_lock(&takeover->lock);
        takeover->outstanding++;
        pthread_mutex_unlock(&takeover->lock);
        taken = active_add_wish(takeover->engine->active, takeover->rows[index], waiter);
        pthread_mutex_lock(&takeover->lock);
        if (taken) {
            told->next = takeover->told;
            takeover->told = told;
        } else {
            takeover->outstanding--;
        }
        pthread_mutex_unlock(&takeover->lock);
    }
    if (!taken) {
        free(told);
        free(waiter);
    }
    return taken;
}

static bool wants(const struct takeover *takeover, enum task_state state)
{
    return takeover->states >> state & 1;
}

/* In nobody's hand, and not in the queue: at rest, or just changing hands. */
static enum takeover_lot look_into_store(struct takeover *takeover, int64_t row)
{
    _cleanup_(task_release) struct task task = {0};
    int r = store_fetch(takeover->engine->store, row, &task);
    if (r < 0)
        return r == -ENOENT ? TAKEOVER_LEFT : TAKEOVER_OPEN;
    if (task_state_ended(task.state) || task.state == TASK_PAUSED)
        return wants(takeover, task.state) ? TAKEOVER_AT_REST : TAKEOVER_LEFT;
    return TAKEOVER_OPEN;
}

/* TAKEOVER_OPEN: it is just changing hands, or was told. */
static enum takeover_lot try_one(struct takeover *takeover, size_t index, bool *ret_told)
{
    struct engine *engine = takeover->engine;
    int64_t row = takeover->rows[index], until;
    enum queue_reason reason;
    struct active_view view;
    *ret_told = false;
    if (wants(takeover, TASK_ENQUEUED) && queue_remove(engine->queue, row) == 0)
        return TAKEOVER_TAKEN;
    if (active_look(engine->active, row, &view)) {
        if (view.state == TASK_FINISHING ||
            (view.state == TASK_DOWNLOADING && !wants(takeover, TASK_DOWNLOADING)))
            return TAKEOVER_LEFT;
        *ret_told = view.state == TASK_DOWNLOADING && tell(takeover, index);
        return TAKEOVER_OPEN;
    }
    if (!wants(takeover, TASK_ENQUEUED) && queue_why(engine->queue, row, &reason, &until) == 0)
        return TAKEOVER_LEFT;
    return look_into_store(takeover, row);
}

/* First all that only wait: what they would start is not told in vain. */
static void take_waiting(struct takeover *takeover)
{
    for (size_t i = 0; i < takeover->count && wants(takeover, TASK_ENQUEUED); i++)
        if (takeover->lots[i] == TAKEOVER_OPEN &&
            queue_remove(takeover->engine->queue, takeover->rows[i]) == 0)
            takeover->lots[i] = TAKEOVER_TAKEN;
}

/* The indices of the open ones; `ret_count` of them. */
static size_t *list_open(const struct takeover *takeover, size_t *ret_count)
{
    size_t count = 0;
    for (size_t i = 0; i < takeover->count; i++)
        count += takeover->lots[i] == TAKEOVER_OPEN;
    size_t *open = calloc(count + 1, sizeof *open);
    *ret_count = 0;
    for (size_t i = 0; i < takeover->count && open; i++)
        if (takeover->lots[i] == TAKEOVER_OPEN)
            open[(*ret_count)++] = i;
    return open;
}

/* Until each is taken, told, or left. */
static int take_others(struct takeover *takeover)
{
    int64_t until = units_now_boottime() + CHANGE_WITHIN;
    size_t count;
    _cleanup_free_ size_t *open = list_open(takeover, &count);
    if (!open)
        return -ENOMEM;
    while (count > 0) {
        size_t still = 0;
        for (size_t k = 0; k < count; k++) {
            bool told;
            enum takeover_lot lot = try_one(takeover, open[k], &told);
            takeover->lots[open[k]] = (uint8_t)lot;
            if (lot == TAKEOVER_OPEN && !told)
                open[still++] = open[k];
        }
        count = still;
        if (atomic_load(&takeover->engine->stopping))
            return -ESHUTDOWN;
        if (count > 0 && units_now_boottime() >= until)
            break;
        if (count > 0)
            usleep(LOOK_EVERY);
    }
    for (size_t k = 0; k < count; k++)
        takeover->lots[open[k]] = TAKEOVER_LEFT;
    return 0;
}

/* Returns how many hang; what became of the others is in their lots. */
static size_t wait_for_told(struct takeover *takeover)
{
    struct timespec deadline = units_monotonic_in(PATIENCE);
    int r = 0;
    pthread_mutex_lock(&takeover->lock);
    while (takeover->outstanding > 0 && r == 0)
        r = pthread_cond_timedwait(&takeover->answered, &takeover->lock, &deadline);
    size_t hung = takeover->outstanding;
    takeover->closed = true;
    for (const struct told *told = takeover->told; told; told = told->next)
        takeover->lots[told->index] = told->given      ? TAKEOVER_TAKEN
                                      : told->answered ? TAKEOVER_OPEN
                                                       : TAKEOVER_LEFT;
    pthread_mutex_unlock(&takeover->lock);
    return hung;
}

/* Those that were told and came to another end meanwhile. */
static void settle_others(struct takeover *takeover)
{
    for (const struct told *told = takeover->told; told; told = told->next) {
        uint8_t *lot = &takeover->lots[told->index];
        if (*lot == TAKEOVER_OPEN)
            *lot = (uint8_t)look_into_store(takeover, takeover->rows[told->index]);
        if (*lot == TAKEOVER_OPEN)
            *lot = TAKEOVER_LEFT;
    }
}

int takeover_take(struct engine *engine, const int64_t *rows, size_t count, unsigned states,
                  uint8_t *lots, size_t *ret_hung)
{
    struct takeover *takeover = calloc(1, sizeof *takeover);
    if (!takeover)
        return -ENOMEM;
    *takeover = (struct takeover){
        .engine = engine, .rows = rows, .count = count, .states = states, .lots = lots};
    units_condition_init(&takeover->answered);
    pthread_mutex_init(&takeover->lock, NULL);
    take_waiting(takeover);
    int r = take_others(takeover);
    *ret_hung = wait_for_told(takeover);
    settle_others(takeover);
    leave(takeover);
    return r;
}

void takeover_put_back(struct engine *engine, const int64_t *rows, size_t count,
                       const uint8_t *lots)
{
    for (size_t i = 0; i < count; i++) {
        _cleanup_(task_release) struct task task = {0};
        if (lots[i] == TAKEOVER_TAKEN && store_fetch(engine->store, rows[i], &task) == 0) {
            task.state = TASK_ENQUEUED; /* the store may lag behind */
            engine_enqueue(engine, &task, false);
        }
    }
}
