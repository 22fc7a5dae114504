#include "engine.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "common/units.h"
#include "dependants.h"
#include "hosts.h"
#include "mirrors.h"

#define PUSH_TIMES 100
#define PUSH_PAUSE 10000 /* us */

static void options_free(struct engine_options *options)
{
    if (!options)
        return;
    free(options->default_directory);
    free(options->ca_file);
    free(options->known_hosts);
    free(options->denied);
    free(options->proxy);
    free(options->user_agent);
    free(options);
}

static int copy_string(const char *from, char **ret_to)
{
    if (!from)
        return 0;
    *ret_to = strdup(from);
    return *ret_to ? 0 : -ENOMEM;
}

static int parse_networks(const struct settings_list *list, struct engine_options *options)
{
    options->denied = calloc(list->count + 1, sizeof *options->denied);
    if (!options->denied)
        return -ENOMEM;
    for (size_t i = 0; i < list->count; i++) {
        int r = address_parse_network(list->items[i], &options->denied[i]);
        assert(r == 0); /* the settings saw to that */
        (void)r;
    }
    options->denied_count = list->count;
    return 0;
}

static struct engine_options *options_new(const struct settings *settings)
{
    struct engine_options *options = calloc(1, sizeof *options);
    if (!options)
        return NULL;
    options->refs = 1;
    options->connect_timeout = settings->connect_timeout;
    options->stall_timeout = settings->stall_timeout;
    options->unique_names = settings->unique_names;
    options->remote_time = settings->remote_time;
    options->allow_hidden = settings->allow_hidden;
    options->retry = (struct retry_policy){(int)settings->retries, settings->retry_wait,
                                           settings->retry_max_wait};
    options->min_free = settings->min_free;
    options->max_file_size = settings->max_file_size;
    options->max_ranges = settings->max_ranges;
    options->max_waiting = settings->max_waiting_per_user;
    options->durability = settings->durability;
    options->keep_history = settings->keep_history;
    options->keep_history_count = settings->keep_history_count;
    if (copy_string(settings->default_directory, &options->default_directory) < 0 ||
        copy_string(settings->ca_file, &options->ca_file) < 0 ||
        copy_string(settings->known_hosts, &options->known_hosts) < 0 ||
        parse_networks(&settings->deny_networks, options) < 0 ||
        copy_string(settings->proxy, &options->proxy) < 0 ||
        copy_string(settings->user_agent, &options->user_agent) < 0) {
        options_free(options);
        return NULL;
    }
    return options;
}

int engine_init(struct engine *engine, const struct settings *settings)
{
    *engine = (struct engine){0};
    engine->options = options_new(settings);
    if (!engine->options)
        return -ENOMEM;
    engine->started_at = units_now_realtime();
    engine->wall_ahead = engine->started_at - units_now_boottime();
    ratelimit_init(&engine->limit, settings->rate_limit);
    pthread_mutex_init(&engine->lock, NULL);
    return 0;
}

void engine_release(struct engine *engine)
{
    if (!engine->options)
        return;
    options_free(engine->options);
    engine->options = NULL;
    free(engine->listeners);
    ratelimit_release(&engine->limit);
    pthread_mutex_destroy(&engine->lock);
}

void engine_set_rate_limit(struct engine *engine, int64_t bytes_per_second)
{
    ratelimit_set(&engine->limit, bytes_per_second);
}

int engine_set_listeners(struct engine *engine, const struct address_endpoint *listeners,
                         size_t count)
{
    struct address_endpoint *copy = calloc(count + 1, sizeof *copy);
    if (!copy)
        return -ENOMEM;
    memcpy(copy, listeners, count * sizeof *copy);
    free(engine->listeners);
    engine->listeners = copy;
    engine->listener_count = count;
    return 0;
}

struct engine_options *engine_options_ref(struct engine *engine)
{
    pthread_mutex_lock(&engine->lock);
    struct engine_options *options = engine->options;
    options->refs++;
    pthread_mutex_unlock(&engine->lock);
    return options;
}

void engine_options_unref(struct engine *engine, struct engine_options *options)
{
    pthread_mutex_lock(&engine->lock);
    bool last = --options->refs == 0;
    pthread_mutex_unlock(&engine->lock);
    if (last)
        options_free(options);
}

int engine_set_options(struct engine *engine, const struct settings *settings)
{
    struct engine_options *fresh = options_new(settings);
    if (!fresh)
        return -ENOMEM;
    pthread_mutex_lock(&engine->lock);
    struct engine_options *old = engine->options;
    engine->options = fresh;
    pthread_mutex_unlock(&engine->lock);
    engine_options_unref(engine, old);
    return 0;
}

void engine_count_paused(struct engine *engine, const struct task *task)
{
    if (queue_book(engine->queue, task->uid, 1, SIZE_MAX) < 0)
        log_warning("task=%s user=%s no memory to count it among those that wait", task->id,
                    task->user);
}

void engine_moved(struct engine *engine, enum task_state from, const struct task *task)
{
    enum task_state to = task->state;
    stats_move(engine->stats, from, to, 1);
    if (to == TASK_PAUSED)
        engine_count_paused(engine, task);
    if (from == TASK_PAUSED)
        queue_unbook(engine->queue, task->uid, 1);
    if (task_state_ended(to) && to != TASK_FINISHED)
        atomic_fetch_add(&engine->names_freed, 1);
    if (task_state_ended(to))
        dependants_ended(engine->dependants, task);
    engine_tell(engine, task);
}

void engine_move(struct engine *engine, struct active_entry *entry, struct task *task,
                 enum task_verb verb)
{
    enum task_state from = task->state, next;
    int r = task_next(from, verb, &next);
    assert(r == 0);
    (void)r;
    task->state = next;
    if (entry) /* first: nobody sees the counters ahead of the task */
        active_set_state(engine->active, entry, next);
    engine_moved(engine, from, task);
}

void engine_set_start(struct task *task, int64_t not_before)
{
    task->not_before = not_before;
    task->wait = task->after ? TASK_WAIT_AFTER : not_before ? TASK_WAIT_START : TASK_WAIT_NONE;
}

static uint64_t find_host(const struct engine *engine, const struct task *task)
{
    _cleanup_free_ char *url = mirrors_url(task);
    return hosts_number(engine->host_key, url ? url : task->url);
}

struct queue_task engine_queued(const struct engine *engine, const struct task *task)
{
    return (struct queue_task){
        .row = task->row,
        .host = task->host ? task->host : find_host(engine, task),
        .uid = task->uid,
        .priority = (int8_t)task->priority,
    };
}

/* Where a task comes into the queue: at `at` because of `reason`, or, `at` being 0, now. */
struct entrance {
    int64_t at;
    enum queue_reason reason;
    bool in_front;
};

/* By the time that the store has for a task. */
static struct entrance entrance_at(const struct engine *engine, int64_t not_before,
                                   enum task_wait wait, bool in_front)
{
    static const enum queue_reason reasons[TASK_WAITS] = {
        [TASK_WAIT_NONE] = QUEUE_RETRY,       [TASK_WAIT_RETRY] = QUEUE_RETRY,
        [TASK_WAIT_HOST] = QUEUE_HOST,        [TASK_WAIT_DISK] = QUEUE_DISK,
        [TASK_WAIT_START] = QUEUE_START_TIME, [TASK_WAIT_AFTER] = QUEUE_AFTER,
    };
    if (wait == TASK_WAIT_AFTER)
        return (struct entrance){QUEUE_NEVER, QUEUE_AFTER, false};
    if (not_before <= units_now_realtime())
        return (struct entrance){.in_front = in_front};
    int64_t at = wait == TASK_WAIT_START ? not_before - engine->wall_ahead
                                         : engine_boot_time(not_before, RETRY_AFTER_MAX);
    return (struct entrance){at, reasons[wait], false};
}

/* What it waits for once it is in the queue, as far as that is known beforehand. */
static void foresee(const struct engine *engine, const struct task *task, struct manager_view *view)
{
    struct entrance entrance = entrance_at(engine, task->not_before, task->wait, false);
    struct queue_pauses pauses;
    int64_t until = 0;
    queue_pauses(engine->queue, task->uid, &pauses);
    view->waits = true;
    view->reason = entrance.at ? entrance.reason : QUEUE_SLOT;
    view->until = entrance.at && entrance.at != QUEUE_NEVER ? task->not_before : 0;
    if (!pauses.own && !pauses.all) /* the strongest reason */
        return;
    if ((!pauses.own || pauses.own_until) && (!pauses.all || pauses.all_until))
        until = pauses.own_until > pauses.all_until ? pauses.own_until : pauses.all_until;
    view->reason = QUEUE_PAUSED;
    view->until = until ? units_now_realtime() + until - units_now_boottime() : 0;
}

void engine_tell(struct engine *engine, const struct task *task)
{
    if (!atomic_load(&engine->watched))
        return;
    struct manager_view view = {
        .task = task, .bytes_done = task->bytes_done, .bytes_per_second = -1};
    if (task->state == TASK_DOWNLOADING)
        view.bytes_per_second = 0;
    if (task->state == TASK_ENQUEUED)
        foresee(engine, task, &view);
    engine->events.on_task(engine->events.data, &view);
}

void engine_tell_many(struct engine *engine, uid_t scope)
{
    if (atomic_load(&engine->watched))
        engine->events.on_many(engine->events.data, scope);
}

static int enter(struct engine *engine, const struct queue_task *task,
                 const struct entrance *entrance)
{
    if (entrance->at != 0)
        return queue_push_later(engine->queue, task, entrance->at, entrance->reason);
    return entrance->in_front ? queue_push_front(engine->queue, task)
                              : queue_push(engine->queue, task);
}

static void enter_with_patience(struct engine *engine, const struct queue_task *task,
                                const struct entrance *entrance)
{
    int r = enter(engine, task, entrance);
    for (int times = 1; r == -ENOMEM && times < PUSH_TIMES; times++) {
        usleep(PUSH_PAUSE);
        r = enter(engine, task, entrance);
    }
    if (r == -ENOMEM)
        log_error("uid=%u no memory to queue a task; it waits for the next start", task->uid);
    if (entrance->at != 0)
        engine->kick(engine->kick_data);
}

int engine_take_up(struct engine *engine, const struct store_listed *listed)
{
    struct queue_task task = {
        .row = listed->row,
        .host = listed->host,
        .uid = listed->uid,
        .priority = (int8_t)listed->priority,
    };
    struct entrance entrance = entrance_at(engine, listed->not_before, listed->wait, false);
    int r = 0;
    if (entrance.at != 0 && listed->wait == TASK_WAIT_HOST) /* what it asked for stands */
        r = queue_hold_host(engine->queue, listed->host, entrance.at);
    return r < 0 ? r : enter(engine, &task, &entrance);
}

void engine_enqueue(struct engine *engine, const struct task *task, bool in_front)
{
    struct queue_task queued = engine_queued(engine, task);
    struct entrance entrance = entrance_at(engine, task->not_before, task->wait, in_front);
    enter_with_patience(engine, &queued, &entrance);
    if (task->wait == TASK_WAIT_AFTER)
        dependants_look(engine->dependants, task);
}

void engine_put_back(struct engine *engine, const struct queue_task *task, int64_t at,
                     enum queue_reason reason)
{
    enter_with_patience(engine, task, &(struct entrance){at, reason, at == 0});
}

void engine_put_last(struct engine *engine, const struct queue_task *task)
{
    enter_with_patience(engine, task, &(struct entrance){0});
}

void engine_set_error(struct task *task, const char *code, const char *message)
{
    free(task->error_code);
    free(task->error_message);
    task->error_code =
        code ? strdup(code) : NULL; /* without memory the reason is in the log alone */
    task->error_message = message ? strdup(message) : NULL;
}

int engine_fail(struct engine *engine, struct active_entry *entry, struct task *task,
                const char *code, const char *message)
{
    enum task_state before = task->state;
    engine_set_error(task, code, message);
    task->ended_at = units_now_realtime();
    task->wait = TASK_WAIT_NONE;
    task->not_before = 0;
    task->state = TASK_FAILED;
    int r = engine_store_update(engine, task); /* first: nobody sees the counters ahead of it */
    task->state = before;
    if (r < 0) {
        task->ended_at = 0;
        log_error("task=%s user=%s that it failed (%s) cannot be stored; it is tried again: %s",
                  task->id, task->user, code, strerror(-r));
        return r;
    }
    log_warning("task=%s user=%s FAILED %s: %s", task->id, task->user, code, message);
    engine_move(engine, entry, task, TASK_FAIL);
    return 0;
}

struct manager_view engine_view_next(struct engine *engine, struct task *task, int64_t *far)
{
    struct manager_view view = {
        .task = task, .bytes_done = task->bytes_done, .bytes_per_second = -1};
    struct active_view now;
    int64_t until;
    if (task_state_ended(task->state))
        return view;
    if (active_look(engine->active, task->row, &now)) {
        task->state = now.state;
        if (now.state == TASK_DOWNLOADING) {
            view.bytes_done = now.bytes_done;
            view.bytes_per_second = now.bytes_per_second;
            view.ranges = now.ranges;
            if (now.http_status)
                task->http_status = now.http_status;
        } else if (now.bytes_done > view.bytes_done) { /* the store lags behind */
            view.bytes_done = now.bytes_done;
        }
    } else if (queue_why(engine->queue, task->row, &view.reason, &until) == 0) {
        task->state = TASK_ENQUEUED;
        view.waits = true;
        view.position = queue_position(engine->queue, task->row, far);
        view.until = until ? units_now_realtime() + until - units_now_boottime() : 0;
    } else if (task->state == TASK_ENQUEUED) { /* just on its way into the queue, or out of it */
        view.waits = true;
        view.reason = QUEUE_SLOT;
    }
    return view;
}

struct manager_view engine_view(struct engine *engine, struct task *task)
{
    int64_t far = 0;
    return engine_view_next(engine, task, &far);
}

static bool came_true(enum active_wish wish, enum task_state state)
{
    return state == (wish == ACTIVE_HAND_OVER ? TASK_ENQUEUED
                     : wish == ACTIVE_HOLD    ? TASK_PAUSED
                                              : TASK_CANCELLED);
}

void engine_answer(struct active_waiter *waiters, const struct task *task, int error)
{
    struct manager_view view = {
        .task = task, .bytes_done = task->bytes_done, .bytes_per_second = -1};
    while (waiters) {
        struct active_waiter *waiter = waiters;
        struct manager_reply reply = {.error = error, .view = &view};
        waiters = waiter->next;
        char message[128];
        if (error == 0 && !came_true(waiter->wish, task->state)) {
            reply.error = -EBUSY;
            snprintf(message, sizeof message, "it came to an end meanwhile: it is %s",
                     task_state_name(task->state));
            reply.message = message;
        } else if (error < 0) {
            reply.message = error == -ESHUTDOWN
                                ? "the service is stopping; try again in a moment"
                                : "the service could not write its store; its log says why";
        }
        waiter->done(waiter->data, &reply);
        free(waiter);
    }
}

int64_t engine_boot_time(int64_t wall, int64_t max)
{
    int64_t left = wall - units_now_realtime();
    if (left < 0)
        left = 0;
    return units_now_boottime() + (left < max ? left : max);
}

void engine_latch_init(struct engine_latch *latch, unsigned count)
{
    *latch = (struct engine_latch){.left = count};
    pthread_mutex_init(&latch->lock, NULL);
    pthread_cond_init(&latch->zero, NULL);
}

void engine_latch_count_down(void *data, int result)
{
    struct engine_latch *latch = data;
    pthread_mutex_lock(&latch->lock);
    if (latch->result == 0)
        latch->result = result;
    if (--latch->left == 0)
        pthread_cond_signal(&latch->zero);
    pthread_mutex_unlock(&latch->lock);
}

int engine_latch_wait(struct engine_latch *latch)
{
    pthread_mutex_lock(&latch->lock);
    while (latch->left > 0)
        pthread_cond_wait(&latch->zero, &latch->lock);
    int result = latch->result;
    pthread_mutex_unlock(&latch->lock);
    pthread_cond_destroy(&latch->zero);
    pthread_mutex_destroy(&latch->lock);
    return result;
}

int engine_store_update(struct engine *engine, const struct task *task)
{
    struct engine_latch latch;
    engine_latch_init(&latch, 1);
    int r = store_update(engine->store, task, engine_latch_count_down, &latch);
    if (r < 0)
        engine_latch_count_down(&latch, r);
    return engine_latch_wait(&latch);
}
