/*
 * Lock order: gate -> everything else; workers -> queue. No other lock of this floor (lanes,
 * admission, engine) is held while a function of another room is called; queue, stats, store and
 * files lock inside themselves and call nobody while they do.
 */
#include "manager.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "admission.h"
#include "attempt.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "common/units.h"
#include "engine.h"
#include "finisher.h"
#include "lanes.h"
#include "timer.h"
#include "worker.h"

#define FILER_IDLE    60000 /* ms until a filer that nobody needs is ended */
#define LOOKUP_IDLE   60000 /* ms until the thread that looks tasks up is ended */
#define STOP_PATIENCE 3000  /* ms for what is in hand when the service stops */

static_assert(MANAGER_EVERYBODY == QUEUE_EVERYBODY && MANAGER_EVERYBODY == STORE_EVERYBODY,
              "scopes are handed through");

struct manager {
    pthread_rwlock_t gate; /* read: a verb is being handed on; write: the manager stops */
    struct engine engine;
    struct attempt_rooms rooms;
    struct admission *admission;
    struct finisher *finisher;
    struct workers *workers;
    struct lanes *lookups;
    struct timer *timer;
    unsigned max_tasks; /* what manager_start begins with */
};

static const char STOPPING[] = "the service is stopping; try again in a moment";
static const char NO_MEMORY[] = "the service is out of memory; try again later";

/* A verb on its way through the store. */
struct verb {
    struct manager *manager;
    uid_t scope;
    int64_t *rows; /* clear */
    size_t count;
    int64_t until; /* pause: boot time, 0: until resumed */
    manager_done done;
    void *data;
};

static void reply_error(manager_done done, void *data, int error, const char *message)
{
    done(data, &(struct manager_reply){.error = error, .message = message});
}

/* Enters the gate, which the caller leaves; NULL: it is closed, and that is answered. */
static struct verb *verb_begin(struct manager *manager, uid_t scope, manager_done done, void *data)
{
    struct verb *verb = calloc(1, sizeof *verb);
    pthread_rwlock_rdlock(&manager->gate);
    bool stopping = atomic_load(&manager->engine.stopping);
    if (!verb || stopping) {
        pthread_rwlock_unlock(&manager->gate);
        free(verb);
        reply_error(done, data, stopping ? -ESHUTDOWN : -ENOMEM, stopping ? STOPPING : NO_MEMORY);
        return NULL;
    }
    *verb = (struct verb){.manager = manager, .scope = scope, .done = done, .data = data};
    return verb;
}

static void verb_end(struct verb *verb, int error)
{
    struct manager_reply reply = {.error = error, .count = verb->count};
    if (error == -ENOSPC)
        reply.message = "the service's disk is full: nothing was changed; make room there first";
    else if (error < 0)
        reply.message = "the service could not write its store; its log says why";
    if (error < 0)
        log_error("a change could not be stored: %s", strerror(-error));
    verb->done(verb->data, &reply);
    free(verb->rows);
    free(verb);
}

/* --- add and find --- */

void manager_add(struct manager *manager, const struct manager_add *add, manager_done done,
                 void *data)
{
    admission_add(manager->admission, add, done, data);
}

struct lookup {
    struct lane_job job; /* first: lanes hand it back */
    uid_t scope;
    char prefix[API_ID_LENGTH + 1];
    manager_done done;
    void *data;
};

/* What is in hand is ahead of the store; what just left it is in the store by now. */
static int find(struct engine *engine, const struct lookup *lookup, struct task *ret_task)
{
    struct task task;
    enum task_state state;
    int r = store_find(engine->store, lookup->scope, lookup->prefix, &task);
    if (r < 0)
        return r;
    if (!engine_in_hand(engine, task.row, &state)) {
        int64_t row = task.row;
        task_release(&task);
        r = store_fetch(engine->store, row, &task);
        if (r < 0)
            return r;
    } else if (!task_state_ended(task.state)) {
        task.state = state;
    }
    *ret_task = task;
    return 0;
}

static void look_up(void *data, uid_t uid, struct files_channel **channel, struct lane_job *jobs)
{
    struct manager *manager = data;
    (void)uid;
    (void)channel;
    while (jobs) {
        struct lookup *lookup = (struct lookup *)jobs;
        jobs = jobs->next;
        struct task task = {0};
        struct manager_reply reply = {.task = &task};
        reply.error = find(&manager->engine, lookup, &task);
        if (reply.error == -ENOENT)
            reply.message = "there is no such task";
        else if (reply.error == -EMLINK)
            reply.message = "several tasks begin like that; give more of the id";
        else if (reply.error < 0)
            reply.message = "the service could not read its store; its log says why";
        lookup->done(lookup->data, &reply);
        task_release(&task);
        free(lookup);
    }
}

void manager_find(struct manager *manager, uid_t scope, const char *prefix, manager_done done,
                  void *data)
{
    if (strlen(prefix) > API_ID_LENGTH) {
        reply_error(done, data, -ENOENT, "there is no such task");
        return;
    }
    struct lookup *lookup = calloc(1, sizeof *lookup);
    if (!lookup) {
        reply_error(done, data, -ENOMEM, NO_MEMORY);
        return;
    }
    *lookup = (struct lookup){.scope = scope, .done = done, .data = data};
    memcpy(lookup->prefix, prefix, strlen(prefix) + 1);
    int r = lanes_put(manager->lookups, 0, &lookup->job);
    if (r < 0) {
        free(lookup);
        reply_error(done, data, r, r == -ESHUTDOWN ? STOPPING : NO_MEMORY);
    }
}

/* --- clear --- */

static void on_cleared_part(void *data, const struct task *task)
{
    struct verb *verb = data;
    struct task copy;
    if (task_copy(task, &copy) == 0)
        finisher_remove_part(verb->manager->finisher, &copy);
}

static void on_cleared(void *data, int result)
{
    struct verb *verb = data;
    struct engine *engine = &verb->manager->engine;
    if (result == 0) {
        stats_move(engine->stats, TASK_ENQUEUED, TASK_CLEARED, verb->count);
        atomic_fetch_add(&engine->names_freed, 1);
    } else { /* they still wait, then */
        struct task task;
        for (size_t i = 0; i < verb->count; i++)
            if (store_fetch(engine->store, verb->rows[i], &task) == 0) {
                queue_push(engine->queue, task.uid, task.row);
                task_release(&task);
            }
    }
    verb_end(verb, result);
}

void manager_clear(struct manager *manager, uid_t scope, manager_done done, void *data)
{
    struct engine *engine = &manager->engine;
    struct verb *verb = verb_begin(manager, scope, done, data);
    if (!verb)
        return;
    int r = queue_clear(engine->queue, scope, &verb->rows, &verb->count);
    if (r == 0)
        r = store_clear(engine->store, verb->rows, verb->count, units_now_realtime(),
                        on_cleared_part, on_cleared, verb);
    if (r < 0)
        on_cleared(verb, r);
    pthread_rwlock_unlock(&manager->gate);
}

/* --- pause and resume: the queue follows the store, in the order of its commits --- */

static void on_paused(void *data, int result)
{
    struct verb *verb = data;
    if (result == 0)
        result = queue_pause(verb->manager->engine.queue, verb->scope, verb->until);
    timer_kick(verb->manager->timer);
    verb_end(verb, result);
}

void manager_pause(struct manager *manager, uid_t scope, unsigned seconds, manager_done done,
                   void *data)
{
    struct verb *verb = verb_begin(manager, scope, done, data);
    if (!verb)
        return;
    struct store_pause pause = {.uid = scope};
    if (seconds > 0) {
        pause.length = (int64_t)seconds * 1000;
        pause.until = units_now_realtime() + pause.length;
        verb->until = units_now_boottime() + pause.length;
    }
    if (store_set_pause(manager->engine.store, &pause, on_paused, verb) < 0)
        verb_end(verb, -ENOMEM);
    pthread_rwlock_unlock(&manager->gate);
}

static void on_resumed(void *data, int result)
{
    struct verb *verb = data;
    if (result == 0)
        queue_resume(verb->manager->engine.queue, verb->scope);
    verb_end(verb, result);
}

void manager_resume(struct manager *manager, uid_t scope, manager_done done, void *data)
{
    struct verb *verb = verb_begin(manager, scope, done, data);
    if (!verb)
        return;
    if (store_end_pause(manager->engine.store, scope, on_resumed, verb) < 0)
        verb_end(verb, -ENOMEM);
    pthread_rwlock_unlock(&manager->gate);
}

/* --- at once --- */

void manager_stats(struct manager *manager, struct stats_snapshot *ret_snapshot)
{
    stats_read(manager->engine.stats, units_now_boottime(), ret_snapshot);
}

int manager_set_max_tasks(struct manager *manager, unsigned number)
{
    pthread_rwlock_rdlock(&manager->gate);
    bool stopping = atomic_load(&manager->engine.stopping);
    int r = stopping ? -ESHUTDOWN : workers_resize(manager->workers, number);
    pthread_rwlock_unlock(&manager->gate);
    if (r < 0 && !stopping)
        log_error("not all of %u workers could be started: %s", number, strerror(-r));
    else if (r == 0)
        log_info("max_tasks_num=%u", number);
    return r;
}

void manager_reload(struct manager *manager, const struct settings *settings)
{
    if (engine_set_options(&manager->engine, settings) < 0)
        log_error("no memory for the new settings; the old ones stay");
    files_set_umask(manager->engine.files, settings->umask);
    manager_set_max_tasks(manager, settings->max_tasks_num);
}

/* --- taking up the last run --- */

struct recovery {
    struct manager *manager;
    uint64_t waiting, interrupted, finishing;
};

/* A task that a worker had in hand, or a finisher. */
static int recover_in_hand(struct recovery *recovery, int64_t row, enum task_state state)
{
    struct engine *engine = &recovery->manager->engine;
    struct task task;
    int r = store_fetch(engine->store, row, &task);
    if (r < 0)
        return r;
    if (state == TASK_FINISHING) {
        recovery->finishing++;
        stats_enter(engine->stats, TASK_FINISHING, 1);
        finisher_resume(recovery->manager->finisher, &task);
        return 0;
    }
    recovery->interrupted++;
    task.state = TASK_ENQUEUED;
    r = store_update(engine->store, &task, NULL, NULL);
    task_release(&task);
    return r;
}

static int recover(void *data, int64_t row, uid_t uid, enum task_state state)
{
    struct recovery *recovery = data;
    struct engine *engine = &recovery->manager->engine;
    if (state == TASK_FINISHING)
        return recover_in_hand(recovery, row, state);
    if (state == TASK_PAUSED) {
        stats_enter(engine->stats, TASK_PAUSED, 1);
        return 0;
    }
    int r = state == TASK_DOWNLOADING ? recover_in_hand(recovery, row, state) : 0;
    if (r < 0)
        return r;
    recovery->waiting++;
    stats_enter(engine->stats, TASK_ENQUEUED, 1);
    return queue_push(engine->queue, uid, row);
}

/* Deadlines are kept on the boot's clock; a wall clock that was set meanwhile makes no pause longer
 * than it was asked for. */
static int recover_pauses(struct engine *engine)
{
    _cleanup_free_ struct store_pause *pauses = NULL;
    size_t count;
    int r = store_pauses(engine->store, &pauses, &count);
    for (size_t i = 0; i < count && r == 0; i++) {
        int64_t left = pauses[i].until - units_now_realtime();
        if (pauses[i].until != 0 && left > pauses[i].length)
            left = pauses[i].length;
        if (pauses[i].until == 0)
            r = queue_pause(engine->queue, pauses[i].uid, 0);
        else if (left > 0)
            r = queue_pause(engine->queue, pauses[i].uid, units_now_boottime() + left);
        else
            r = store_end_pause(engine->store, pauses[i].uid, NULL, NULL);
    }
    return r;
}

static int recover_all(struct manager *manager)
{
    struct recovery recovery = {.manager = manager};
    int r = recover_pauses(&manager->engine);
    if (r == 0)
        r = store_each_unfinished(manager->engine.store, recover, &recovery);
    if (r == 0)
        log_info(
            "taken up from the last run: %llu waiting (%llu of them interrupted), %llu finishing",
            (unsigned long long)recovery.waiting, (unsigned long long)recovery.interrupted,
            (unsigned long long)recovery.finishing);
    else
        log_error("the tasks of the last run cannot be taken up: %s", strerror(-r));
    return r;
}

/* --- life --- */

static void on_storage_answers(void *data, uid_t uid)
{
    struct manager *manager = data;
    log_info("uid=%u the file system answers again", uid);
    queue_hold(manager->engine.queue, uid, QUEUE_HOLD_STORAGE, false);
}

static int64_t on_time(void *data)
{
    struct manager *manager = data;
    return queue_tick(manager->engine.queue);
}

static int create_parts(struct manager *manager, const struct settings *settings,
                        struct privsep *privsep)
{
    struct engine *engine = &manager->engine;
    char message[256];
    int r = store_open(settings->state_dir, &engine->store, message);
    if (r < 0) {
        log_error("%s", message);
        return r;
    }
    r = queue_create(settings->max_tasks_num, units_now_boottime, &engine->queue);
    if (r == 0)
        r = stats_create(&engine->stats);
    if (r == 0)
        r = files_create(privsep, settings->umask, FILER_IDLE, on_storage_answers, manager,
                         &engine->files);
    return r;
}

static int create_rooms(struct manager *manager)
{
    struct engine *engine = &manager->engine;
    int r = admission_create(engine, &manager->admission);
    if (r == 0)
        r = finisher_create(engine, &manager->finisher);
    if (r == 0)
        r = lanes_create(NULL, LOOKUP_IDLE, look_up, manager, &manager->lookups);
    manager->rooms = (struct attempt_rooms){engine, manager->admission, manager->finisher};
    if (r == 0)
        r = workers_create(engine->queue, attempt_run, &manager->rooms, &manager->workers);
    return r;
}

int manager_create(const struct settings *settings, struct privsep *privsep,
                   struct manager **ret_manager)
{
    struct manager *manager = calloc(1, sizeof *manager);
    if (!manager)
        return -ENOMEM;
    pthread_rwlock_init(&manager->gate, NULL);
    manager->max_tasks = settings->max_tasks_num;
    int r = engine_init(&manager->engine, settings);
    if (r == 0)
        r = create_parts(manager, settings, privsep);
    if (r == 0)
        r = create_rooms(manager);
    if (r == 0)
        r = recover_all(manager);
    if (r == 0) /* after the pauses: it has to know of them */
        r = timer_start(on_time, manager, &manager->timer);
    if (r < 0) {
        manager_stop(manager);
        manager_destroy(manager);
        return r;
    }
    *ret_manager = manager;
    return 0;
}

int manager_start(struct manager *manager)
{
    return manager_set_max_tasks(manager, manager->max_tasks);
}

static void stop_rooms(struct manager *manager, int64_t patience)
{
    if (manager->admission)
        admission_stop(manager->admission, patience);
    if (manager->finisher)
        finisher_stop(manager->finisher, patience);
}

void manager_stop(struct manager *manager)
{
    struct engine *engine = &manager->engine;
    pthread_rwlock_wrlock(&manager->gate);
    atomic_store(&engine->stopping, true);
    pthread_rwlock_unlock(&manager->gate);
    if (engine->queue)
        queue_close(engine->queue);
    if (manager->workers)
        workers_join(manager->workers);
    stop_rooms(manager, STOP_PATIENCE);
    if (engine->files)
        files_shutdown(engine->files); /* whoever still waits for a filer waits no longer */
    stop_rooms(manager, -1);
    if (manager->lookups) {
        lanes_close(manager->lookups);
        lanes_wait(manager->lookups, -1);
    }
    store_close(TAKE_PTR(engine->store));
    timer_stop(TAKE_PTR(manager->timer));
}

void manager_destroy(struct manager *manager)
{
    if (!manager)
        return;
    workers_destroy(manager->workers);
    lanes_destroy(manager->lookups);
    finisher_destroy(manager->finisher);
    admission_destroy(manager->admission);
    files_destroy(manager->engine.files);
    stats_destroy(manager->engine.stats);
    queue_destroy(manager->engine.queue);
    engine_release(&manager->engine);
    pthread_rwlock_destroy(&manager->gate);
    free(manager);
}
