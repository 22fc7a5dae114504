/*
 * Lock order: gate -> everything else; workers -> queue; settings_lock -> queue. No other lock of
 * this floor (lanes, admission, engine) is held while a function of another room is called; queue,
 * stats, store and files lock inside themselves and call nobody while they do.
 */
#include "manager.h"

#include <assert.h>
#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admission.h"
#include "attempt.h"
#include "batch.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "common/units.h"
#include "dependants.h"
#include "engine.h"
#include "finisher.h"
#include "help.h"
#include "knobs.h"
#include "lists.h"
#include "many.h"
#include "overview.h"
#include "timer.h"
#include "verbs.h"
#include "worker.h"

#define FILER_IDLE    60000  /* ms until a filer that nobody needs is ended */
#define STUCK_AFTER   5000   /* ms in one file operation until a worker is replaced */
#define WATCH_EVERY   1000   /* ms, while something runs */
#define PRUNE_EVERY   600000 /* ms */
#define PRUNE_AT_ONCE 10000  /* tasks */
#define STAFF_AGAIN   10000  /* ms, after threads could not be started */
#define CLOCK_SET_BY  100    /* ms; less is what two clocks differ by that are read in turn */
#define STOP_PATIENCE 5000 /* ms for what is in hand when the service stops, a last sync included  \
                            */
#define LAST_PATIENCE 1000 /* ms for what is in nobody's hand but the kernel's by then */

static_assert(MANAGER_EVERYBODY == QUEUE_EVERYBODY && MANAGER_EVERYBODY == STORE_EVERYBODY,
              "scopes are handed through");

struct manager {
    pthread_rwlock_t gate; /* read: a verb is being handed on; write: the manager stops */
    struct engine engine;
    struct attempt_rooms rooms;
    struct admission *admission;
    struct batches *batches;
    struct finisher *finisher;
    struct workers *workers;
    struct verbs *verbs;
    struct lists *lists;
    struct many *many;
    struct overviews *overviews;
    struct timer *_Atomic timer; /* NULL until the last run was taken up */
    _Atomic int64_t prune_at; /* boot time */
    atomic_bool understaffed; /* there may be fewer workers than slots */

    pthread_mutex_t settings_lock; /* what is set is in force, in the same order */
    struct knobs *knobs;
};

static const char STOPPING[] = "the service is stopping; try again in a moment";
static const char NO_MEMORY[] = "the service is out of memory; try again later";

/* A verb on its way through the store. */
struct verb {
    struct manager *manager;
    uid_t scope;
    int64_t *rows; /* clear: those that the queue gave, ... */
    size_t row_count;
    size_t count;  /* ... and what came of the verb */
    int64_t until; /* pause: ms since the epoch, 0: until resumed */
    int64_t until_boot;
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
    struct manager_reply reply = {.error = error, .count = verb->count, .until = verb->until,
                                  .everybody = verb->scope == MANAGER_EVERYBODY};
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

/* --- about one task --- */

void manager_add(struct manager *manager, const struct manager_add *add, manager_done done,
                 void *data)
{
    admission_add(manager->admission, add, done, data);
}

void manager_add_many(struct manager *manager, const struct manager_add *adds, size_t count,
                      manager_done done, void *data)
{
    batches_add(manager->batches, adds, count, done, data);
}

void manager_find(struct manager *manager, uid_t scope, const char *prefix, manager_done done,
                  void *data)
{
    verbs_ask(manager->verbs, VERB_FIND, scope, prefix, done, data);
}

void manager_hold(struct manager *manager, uid_t scope, const char *prefix, manager_done done,
                  void *data)
{
    verbs_ask(manager->verbs, VERB_HOLD, scope, prefix, done, data);
}

void manager_release(struct manager *manager, uid_t scope, const char *prefix, manager_done done,
                     void *data)
{
    verbs_ask(manager->verbs, VERB_RELEASE, scope, prefix, done, data);
}

void manager_cancel(struct manager *manager, uid_t scope, const char *prefix, bool keep,
                    manager_done done, void *data)
{
    verbs_ask(manager->verbs, keep ? VERB_CANCEL_KEEP : VERB_CANCEL, scope, prefix, done, data);
}

void manager_retry(struct manager *manager, uid_t scope, const char *prefix, manager_done done,
                   void *data)
{
    verbs_ask(manager->verbs, VERB_RETRY, scope, prefix, done, data);
}

void manager_forget(struct manager *manager, uid_t scope, const char *prefix, bool delete_file,
                    manager_done done, void *data)
{
    verbs_ask(manager->verbs, delete_file ? VERB_FORGET_FILE : VERB_FORGET, scope, prefix, done,
              data);
}

void manager_first(struct manager *manager, uid_t scope, const char *prefix, manager_done done,
                   void *data)
{
    verbs_ask(manager->verbs, VERB_FIRST, scope, prefix, done, data);
}

void manager_change(struct manager *manager, uid_t scope, const char *prefix,
                    const struct manager_change *change, manager_done done, void *data)
{
    verbs_change(manager->verbs, scope, prefix, change, done, data);
}

void manager_do_many(struct manager *manager, enum manager_verb verb,
                     const struct manager_filter *filter, const char *const *ids, size_t id_count,
                     manager_done done, void *data)
{
    many_do(manager->many, verb, filter, ids, id_count, done, data);
}

void manager_list(struct manager *manager, const struct manager_filter *filter, int64_t after,
                  size_t limit, manager_done done, void *data)
{
    lists_page(manager->lists, filter, after, limit, done, data);
}

/* --- clear --- */

static void on_cleared_part(void *data, const struct task *task)
{
    struct verb *verb = data;
    struct task copy;
    if (task_copy(task, &copy) == 0)
        finisher_remove_part(verb->manager->finisher, &copy);
}

static int compare_rows(const void *left, const void *right)
{
    int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
    return a < b ? -1 : a > b;
}

static void on_cleared(void *data, int result)
{
    struct verb *verb = data;
    struct engine *engine = &verb->manager->engine;
    if (result == 0) {
        stats_move(engine->stats, TASK_ENQUEUED, TASK_CLEARED, verb->count);
        atomic_fetch_add(&engine->names_freed, 1);
        dependants_look_at_all(engine->dependants);
        engine_tell_many(engine, verb->scope);
    } else { /* they still wait, then, as they came */
        struct task task;
        if (verb->row_count > 0)
            qsort(verb->rows, verb->row_count, sizeof *verb->rows, compare_rows);
        for (size_t i = 0; i < verb->row_count; i++)
            if (store_fetch(engine->store, verb->rows[i], &task) == 0) {
                engine_enqueue(engine, &task, false);
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
    int r = queue_clear(engine->queue, scope, &verb->rows, &verb->row_count);
    if (r == 0)
        r = store_clear(engine->store, verb->rows, verb->row_count, units_now_realtime(),
                        &verb->count, on_cleared_part, on_cleared, verb);
    if (r < 0)
        on_cleared(verb, r);
    pthread_rwlock_unlock(&manager->gate);
}

/* --- pause and resume: the queue follows the store, in the order of its commits --- */

static void on_paused(void *data, int result)
{
    struct verb *verb = data;
    if (result == 0)
        result = queue_pause(verb->manager->engine.queue, verb->scope, verb->until_boot);
    if (result == 0)
        engine_tell_many(&verb->manager->engine, verb->scope);
    timer_kick(verb->manager->timer);
    verb_end(verb, result);
}

static void pause_for(struct manager *manager, uid_t scope, int64_t length, manager_done done,
                      void *data)
{
    struct verb *verb = verb_begin(manager, scope, done, data);
    if (!verb)
        return;
    struct store_pause pause = {.uid = scope, .length = length};
    if (length > 0) {
        pause.until = verb->until = units_now_realtime() + length;
        verb->until_boot = units_now_boottime() + length;
    }
    if (store_set_pause(manager->engine.store, &pause, on_paused, verb) < 0)
        verb_end(verb, -ENOMEM);
    pthread_rwlock_unlock(&manager->gate);
}

void manager_pause(struct manager *manager, uid_t scope, unsigned seconds, manager_done done,
                   void *data)
{
    pause_for(manager, scope, (int64_t)seconds * 1000, done, data);
}

void manager_pause_until(struct manager *manager, uid_t scope, int64_t until, manager_done done,
                         void *data)
{
    int64_t length = until - units_now_realtime();
    pause_for(manager, scope, length > 0 ? length : 1, done, data);
}

static void on_resumed(void *data, int result)
{
    struct verb *verb = data;
    if (result == 0) {
        verb->count = queue_resume(verb->manager->engine.queue, verb->scope);
        engine_tell_many(&verb->manager->engine, verb->scope);
    }
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

/* --- the watchdog's question --- */

/* A store that fails is alive: starting anew makes no room on a disk. */
static void on_came_round(void *data, int result)
{
    (void)result;
    verb_end(data, 0);
}

void manager_prove_alive(struct manager *manager, manager_done done, void *data)
{
    struct verb *verb = verb_begin(manager, MANAGER_EVERYBODY, done, data);
    if (!verb)
        return;
    (void)queue_slots(manager->engine.queue);
    if (store_come_round(manager->engine.store, on_came_round, verb) < 0)
        verb_end(verb, -ENOMEM);
    pthread_rwlock_unlock(&manager->gate);
}

/* --- at once --- */

void manager_watch(struct manager *manager, bool on)
{
    atomic_store(&manager->engine.watched, on && manager->engine.events.on_task);
}

/* The store is there until it closes, after which nothing grows any more. */
void manager_totals(struct manager *manager, struct manager_totals *ret_totals)
{
    struct engine *engine = &manager->engine;
    *ret_totals = (struct manager_totals){.started_at = engine->started_at};
    stats_read_totals(engine->stats, &ret_totals->stats);
    pthread_rwlock_rdlock(&manager->gate);
    if (!atomic_load(&engine->stopping))
        store_commits(engine->store, &ret_totals->commits, &ret_totals->commit_seconds);
    pthread_rwlock_unlock(&manager->gate);
}

void manager_each_running(struct manager *manager, manager_see see, void *data)
{
    active_each(manager->engine.active, see, data);
}

void manager_stats(struct manager *manager, struct stats_snapshot *ret_snapshot)
{
    stats_read(manager->engine.stats, units_now_boottime(), ret_snapshot);
}

int manager_count_own(struct manager *manager, uid_t uid, uint64_t ret_own[static TASK_STATES])
{
    pthread_rwlock_rdlock(&manager->gate); /* the store is there until it closes */
    bool stopping = atomic_load(&manager->engine.stopping);
    int r = stopping ? -ESHUTDOWN : overviews_count(&manager->engine, uid, ret_own);
    pthread_rwlock_unlock(&manager->gate);
    return r;
}

void manager_overview(struct manager *manager, uid_t uid, manager_looked looked, void *data)
{
    overviews_look(manager->overviews, uid, looked, data);
}

/* --- settings at run time --- */

void manager_settings(struct manager *manager, struct manager_setting_view ret_views[MANAGER_SETTINGS])
{
    knobs_read(manager->knobs, ret_views);
}

/* A thousand threads take their time: no HTTP thread waits for them. */
static int start_workers(struct manager *manager)
{
    int r = workers_fill(manager->workers);
    if (r < 0)
        log_error("not all workers could be started: %s", strerror(-r));
    else
        log_info("max_tasks_num=%u", queue_slots(manager->engine.queue));
    return r;
}

static void apply_settings_locked(struct manager *manager)
{
    struct engine *engine = &manager->engine;
    unsigned slots = (unsigned)knobs_value(manager->knobs, MANAGER_MAX_TASKS);
    engine_set_rate_limit(engine, knobs_value(manager->knobs, MANAGER_RATE_LIMIT));
    queue_set_host_max(engine->queue, (unsigned)knobs_value(manager->knobs, MANAGER_MAX_PER_HOST));
    bool changed = slots != queue_slots(engine->queue);
    queue_set_slots(engine->queue, slots);
    if (changed) /* last: the timer's thread goes by the slots */
        atomic_store(&manager->understaffed, true);
}

int manager_change_settings(struct manager *manager, const struct manager_settings_change *change)
{
    pthread_rwlock_rdlock(&manager->gate);
    int r = atomic_load(&manager->engine.stopping) ? -ESHUTDOWN : 0;
    if (r == 0) {
        pthread_mutex_lock(&manager->settings_lock);
        knobs_turn(manager->knobs, change);
        apply_settings_locked(manager);
        pthread_mutex_unlock(&manager->settings_lock);
        timer_kick(manager->timer);
    }
    pthread_rwlock_unlock(&manager->gate);
    return r;
}

void manager_reload(struct manager *manager, const struct settings *settings)
{
    if (engine_set_options(&manager->engine, settings) < 0)
        log_error("no memory for the new settings; the old ones stay");
    files_renew(manager->engine.files, settings->umask);
    pthread_mutex_lock(&manager->settings_lock);
    knobs_reset(manager->knobs, settings);
    apply_settings_locked(manager);
    pthread_mutex_unlock(&manager->settings_lock);
    atomic_store(&manager->prune_at, 0);
    timer_kick(manager->timer);
}

/* --- taking up the last run --- */

struct recovered_user {
    struct recovered_user *next;
    uid_t uid;
    unsigned seen[TASK_PRIORITY_MAX - TASK_PRIORITY_MIN + 1]; /* waiting tasks of a priority */
};

struct recovery {
    struct manager *manager;
    struct recovered_user *users;
    uint64_t waiting, interrupted, finishing;
};

/* Among the first of a user's line, of each priority, some may have begun without the store
 * knowing: that is written behind (attempt.c). */
static bool may_have_begun(struct recovery *recovery, uid_t uid, int priority)
{
    struct recovered_user *user = recovery->users;
    while (user && user->uid != uid)
        user = user->next;
    if (!user) {
        user = calloc(1, sizeof *user);
        if (!user)
            return true;
        *user = (struct recovered_user){.next = recovery->users, .uid = uid};
        recovery->users = user;
    }
    return user->seen[priority - TASK_PRIORITY_MIN]++ < API_MAX_TASKS_MAX;
}

static int recover_waiting(struct recovery *recovery, const struct task *task, bool begun,
                           uint64_t *ret_host)
{
    struct engine *engine = &recovery->manager->engine;
    struct task changed = *task;
    changed.state = TASK_ENQUEUED;
    changed.has_part = task->has_part || (begun && task->admitted);
    changed.host = engine_queued(engine, task).host;
    *ret_host = changed.host;
    if (task->state == TASK_DOWNLOADING)
        recovery->interrupted++;
    if (changed.state == task->state && changed.has_part == task->has_part &&
        changed.host == task->host)
        return 0;
    return store_update(engine->store, &changed, NULL, NULL);
}

/* A task that a worker or a finisher may have had in hand (`begun`), or one from before hosts had
 * numbers. */
static int recover_in_hand(struct recovery *recovery, struct store_listed *listed, bool begun)
{
    struct engine *engine = &recovery->manager->engine;
    struct task task;
    int r = store_fetch(engine->store, listed->row, &task);
    if (r < 0)
        return r;
    if (listed->state == TASK_FINISHING) {
        recovery->finishing++;
        stats_enter(engine->stats, TASK_FINISHING, 1);
        return finisher_resume(recovery->manager->finisher, &task);
    }
    r = recover_waiting(recovery, &task, begun, &listed->host);
    task_release(&task);
    return r;
}

static int recover(void *data, const struct store_listed *listed)
{
    struct recovery *recovery = data;
    struct engine *engine = &recovery->manager->engine;
    struct store_listed task = *listed;
    if (task.state == TASK_FINISHING)
        return recover_in_hand(recovery, &task, true);
    if (task.state == TASK_PAUSED) {
        stats_enter(engine->stats, TASK_PAUSED, 1);
        return queue_book(engine->queue, task.uid, 1, SIZE_MAX);
    }
    int r = 0;
    /* What waits for its start is recorded when it begins, and stands before nobody. */
    bool waits = task.wait == TASK_WAIT_START || task.wait == TASK_WAIT_AFTER;
    bool begun = task.state == TASK_DOWNLOADING ||
                 (!waits && may_have_begun(recovery, task.uid, task.priority));
    if (begun || task.host == 0)
        r = recover_in_hand(recovery, &task, begun);
    if (r < 0)
        return r;
    recovery->waiting++;
    stats_enter(engine->stats, TASK_ENQUEUED, 1);
    return engine_take_up(engine, &task);
}

/* A task whose part file was to be removed, and was not any more. */
static int recover_stray(void *data, const struct store_listed *listed)
{
    struct manager *manager = data;
    struct task task;
    int r = store_fetch(manager->engine.store, listed->row, &task);
    if (r == 0)
        finisher_remove_part(manager->finisher, &task);
    return r == -ENOENT ? 0 : r;
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

static struct recovered_user *take_first(struct recovery *recovery)
{
    struct recovered_user *first = recovery->users;
    recovery->users = first->next;
    return first;
}

static int recover_all(struct manager *manager)
{
    struct recovery recovery = {.manager = manager};
    int r = recover_pauses(&manager->engine);
    if (r == 0)
        r = store_each_unfinished(manager->engine.store, recover, &recovery);
    if (r == 0)
        dependants_look_at_all(manager->engine.dependants);
    if (r == 0)
        r = store_each_stray(manager->engine.store, recover_stray, manager);
    while (recovery.users)
        free(take_first(&recovery));
    store_give_memory_back(manager->engine.store);
    malloc_trim(0); /* of a million rows read, most is garbage */
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

/* An old task that may have left a part file. Those of a file system that does not answer wait. */
static void on_old_part(void *data, const struct task *task)
{
    struct manager *manager = data;
    if (!queue_held(manager->engine.queue, task->uid, QUEUE_HOLD_STORAGE))
        verbs_prune(manager->verbs, task);
}

/* Ended tasks are kept for a while only. */
static void prune(struct manager *manager)
{
    struct engine_options *options = engine_options_ref(&manager->engine);
    int64_t before = units_now_realtime() - options->keep_history;
    if (store_prune(manager->engine.store, before, options->keep_history_count, PRUNE_AT_ONCE,
                    on_old_part, NULL, manager) < 0)
        log_warning("no memory to prune the history; it is tried again later");
    engine_options_unref(&manager->engine, options);
}

static void on_lost_worker(void *data, uid_t uid)
{
    struct manager *manager = data;
    log_warning("uid=%u the file system hangs in the middle of a write; this user's tasks wait",
                uid);
    queue_hold(manager->engine.queue, uid, QUEUE_HOLD_STORAGE, true);
}

static void on_found_worker(void *data, uid_t uid)
{
    on_storage_answers(data, uid);
}

/* Start times are the wall clock's, the queue's times are the boot's. */
static void follow_wall_clock(struct manager *manager)
{
    int64_t ahead = units_now_realtime() - units_now_boottime();
    int64_t by = manager->engine.wall_ahead - ahead;
    if (llabs(by) < CLOCK_SET_BY)
        return;
    manager->engine.wall_ahead = ahead;
    queue_shift_starts(manager->engine.queue, by);
}

static int64_t do_what_is_due(struct manager *manager)
{
    int64_t now = units_now_boottime();
    follow_wall_clock(manager);
    int64_t watch_at = workers_watch(manager->workers, STUCK_AFTER) ? now + WATCH_EVERY : INT64_MAX;
    int64_t next = queue_tick(manager->engine.queue);
    if (now >= atomic_load(&manager->prune_at)) {
        prune(manager);
        atomic_store(&manager->prune_at, now + PRUNE_EVERY);
    }
    int64_t prune_at = atomic_load(&manager->prune_at);
    if (watch_at > prune_at)
        watch_at = prune_at;
    pthread_mutex_lock(&manager->settings_lock);
    int64_t knobs_at = knobs_tick(manager->knobs, now);
    if (knobs_at == 0) /* a time has come just now */
        apply_settings_locked(manager);
    pthread_mutex_unlock(&manager->settings_lock);
    if (atomic_exchange(&manager->understaffed, false) && start_workers(manager) < 0) {
        atomic_store(&manager->understaffed, true);
        knobs_at = now + STAFF_AGAIN;
    }
    if (knobs_at != 0 && watch_at > knobs_at)
        watch_at = knobs_at;
    return next != 0 && next < watch_at ? next : watch_at;
}

/* Not while the manager stops: the store is closed then. */
static int64_t on_time(void *data)
{
    struct manager *manager = data;
    pthread_rwlock_rdlock(&manager->gate);
    bool stopping = atomic_load(&manager->engine.stopping);
    int64_t next = stopping ? 0 : do_what_is_due(manager);
    pthread_rwlock_unlock(&manager->gate);
    return next;
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
    r = queue_create(settings->max_tasks_num, settings->max_per_host, units_now_boottime,
                     &engine->queue);
    if (r == 0)
        r = store_host_key(engine->store, engine->host_key);
    if (r == 0)
        r = stats_create(&engine->stats);
    if (r == 0)
        r = active_create(&engine->active);
    if (r == 0)
        r = disk_create(&engine->disk);
    if (r == 0)
        r = files_create(privsep, settings->umask, FILER_IDLE, on_storage_answers, manager,
                         &engine->files);
    return r;
}

static void kick_timer(void *data)
{
    struct manager *manager = data;
    struct timer *timer = atomic_load(&manager->timer);
    if (timer) /* lanes are at work before there is one */
        timer_kick(timer);
}

static void run_attempt(void *data, struct worker_tools *tools, const struct queue_task *task)
{
    struct manager *manager = data;
    attempt_run(&manager->rooms, tools, task);
}

static void run_help(void *data, struct worker_tools *tools, const struct helping_place *place)
{
    struct manager *manager = data;
    help_run(&manager->engine, tools, place);
}

static int create_workers(struct manager *manager)
{
    struct worker_events events = {
        .run = run_attempt,
        .help = run_help,
        .on_busy = kick_timer,
        .on_lost = on_lost_worker,
        .on_found = on_found_worker,
        .data = manager,
    };
    return workers_create(manager->engine.queue, &events, &manager->workers);
}

static int create_rooms(struct manager *manager)
{
    struct engine *engine = &manager->engine;
    int r = dependants_create(engine, &engine->dependants);
    if (r == 0)
        r = admission_create(engine, &manager->admission);
    if (r == 0)
        r = batches_create(engine, manager->admission, &manager->batches);
    if (r == 0)
        r = finisher_create(engine, &manager->finisher);
    if (r == 0)
        r = verbs_create(engine, manager->finisher, &manager->verbs);
    if (r == 0)
        r = lists_create(engine, &manager->lists);
    if (r == 0)
        r = many_create(engine, manager->verbs, manager->finisher, &manager->many);
    if (r == 0)
        r = overviews_create(engine, &manager->overviews);
    manager->rooms = (struct attempt_rooms){
        .engine = engine,
        .admission = manager->admission,
        .finisher = manager->finisher,
    };
    if (r == 0)
        r = create_workers(manager);
    return r;
}

int manager_create(const struct settings *settings, const char *boot_id, struct privsep *privsep,
                   const struct manager_events *events, struct manager **ret_manager)
{
    struct manager *manager = calloc(1, sizeof *manager);
    if (!manager)
        return -ENOMEM;
    pthread_rwlock_init(&manager->gate, NULL);
    pthread_mutex_init(&manager->settings_lock, NULL);
    int r = engine_init(&manager->engine, settings);
    if (r == 0)
        r = knobs_create(settings, &manager->knobs);
    manager->engine.kick = kick_timer;
    manager->engine.kick_data = manager;
    if (events)
        manager->engine.events = *events;
    snprintf(manager->engine.boot_id, sizeof manager->engine.boot_id, "%s", boot_id);
    if (r == 0)
        r = create_parts(manager, settings, privsep);
    if (r == 0)
        r = create_rooms(manager);
    if (r == 0)
        r = recover_all(manager);
    struct timer *timer = NULL;
    if (r == 0) /* after the pauses: it has to know of them */
        r = timer_start(on_time, manager, &timer);
    if (r == 0) {
        atomic_store(&manager->timer, timer);
        timer_kick(timer); /* who came before could not */
    }
    if (r < 0) {
        manager_stop(manager);
        manager_destroy(manager);
        return r;
    }
    *ret_manager = manager;
    return 0;
}

int manager_set_listeners(struct manager *manager, const struct address_endpoint *listeners,
                          size_t count)
{
    return engine_set_listeners(&manager->engine, listeners, count);
}

int manager_start(struct manager *manager)
{
    pthread_mutex_lock(&manager->settings_lock);
    apply_settings_locked(manager);
    pthread_mutex_unlock(&manager->settings_lock);
    return start_workers(manager);
}

static int64_t time_left(int64_t until)
{
    int64_t left = until - units_now_boottime();
    return left > 0 ? left : 0;
}

/* 0, or -ETIMEDOUT: some thread has not ended. */
static int stop_threads(struct manager *manager, int64_t until)
{
    int r = 0;
    if (manager->workers)
        r = workers_join(manager->workers, time_left(until));
    if (manager->admission && admission_stop(manager->admission, time_left(until)) < 0)
        r = -ETIMEDOUT;
    if (manager->batches && batches_stop(manager->batches, time_left(until)) < 0)
        r = -ETIMEDOUT;
    if (manager->overviews && overviews_stop(manager->overviews, time_left(until)) < 0)
        r = -ETIMEDOUT;
    if (manager->finisher && finisher_stop(manager->finisher, time_left(until)) < 0)
        r = -ETIMEDOUT;
    return r;
}

int manager_stop(struct manager *manager)
{
    struct engine *engine = &manager->engine;
    pthread_rwlock_wrlock(&manager->gate);
    atomic_store(&engine->stopping, true);
    pthread_rwlock_unlock(&manager->gate);
    if (engine->queue)
        queue_close(engine->queue);
    int r = stop_threads(manager, units_now_boottime() + STOP_PATIENCE);
    if (engine->files)
        files_shutdown(engine->files); /* whoever still waits for a filer waits no longer */
    if (r < 0)
        r = stop_threads(manager, units_now_boottime() + LAST_PATIENCE);
    if (manager->many)
        many_stop(manager->many); /* whose verbs still run */
    if (manager->verbs)
        verbs_stop(manager->verbs);
    if (engine->dependants)
        dependants_stop(engine->dependants);
    if (manager->lists)
        lists_stop(manager->lists);
    if (r < 0) {
        store_sync(engine->store);
        return r;
    }
    store_close(engine->store); /* its callbacks may still read it */
    engine->store = NULL;
    timer_stop(atomic_exchange(&manager->timer, NULL));
    return 0;
}

void manager_destroy(struct manager *manager)
{
    if (!manager)
        return;
    workers_destroy(manager->workers);
    overviews_destroy(manager->overviews);
    many_destroy(manager->many);
    lists_destroy(manager->lists);
    verbs_destroy(manager->verbs);
    finisher_destroy(manager->finisher);
    batches_destroy(manager->batches);
    admission_destroy(manager->admission);
    dependants_destroy(manager->engine.dependants);
    files_destroy(manager->engine.files);
    disk_destroy(manager->engine.disk);
    active_destroy(manager->engine.active);
    stats_destroy(manager->engine.stats);
    queue_destroy(manager->engine.queue);
    engine_release(&manager->engine);
    knobs_destroy(manager->knobs);
    pthread_mutex_destroy(&manager->settings_lock);
    pthread_rwlock_destroy(&manager->gate);
    free(manager);
}
