#include "verbs.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "common/units.h"
#include "core/url.h"
#include "grasp.h"
#include "hosts.h"
#include "lanes.h"
#include "mirrors.h"
#include "removal.h"

#define IDLE          60000 /* ms until the thread that looks tasks up is ended */
#define FILER_TIMEOUT REMOVAL_TIMEOUT
#define GRASP_WITHIN  5000  /* ms to get hold of a task that changes hands */
#define GRASP_EVERY   2     /* ms */
#define MATCHES_TOLD  5     /* ids, when a prefix fits several */

struct verbs {
    /* immutable */
    struct engine *engine;
    struct finisher *finisher;
    struct lanes *lanes; /* one */
    struct grasps *grasps;
};

struct verb_change {
    struct manager_change wanted; /* its texts are the following */
    char *url, *label;
    struct store_change what; /* that has to be stored */
    bool moved;               /* taken out of the queue meanwhile */
    bool stored;
};

struct verb_job {
    struct lane_job job; /* first: lanes hand it back */
    struct verbs *verbs;
    enum verb_kind kind;
    uid_t scope;
    char prefix[API_ID_LENGTH + 1];
    struct task task; /* as it was found, then as it becomes */
    enum task_state before;
    struct verb_change *change; /* owned, or NULL */
    int64_t ended_at; /* before a retry; prune: the end that is long ago */
    int64_t until;    /* boot time: it is refused if the task cannot be grasped by then */
    struct grasp grasp;
    manager_done done;
    void *data;
};

/* --- answers; each ends the job --- */

static void change_free(struct verb_change *change)
{
    if (!change)
        return;
    free(change->url);
    free(change->label);
    free(change);
}

static void job_free(struct verb_job *job)
{
    grasp_let_go(job->verbs->grasps, &job->grasp);
    change_free(job->change);
    task_release(&job->task);
    free(job);
}

static void refuse(struct verb_job *job, int error, const char *message)
{
    job->done(job->data, &(struct manager_reply){.error = error, .message = message});
    job_free(job);
}

static const char *error_sentence(int error)
{
    switch (error) {
    case -ENOENT:
        return "there is no such task";
    case -ESHUTDOWN:
        return "the service is stopping; try again in a moment";
    case -ENOMEM:
        return "the service is out of memory; try again later";
    case -ENOSPC:
        return "the service's disk is full: nothing was changed; make room there first";
    default:
        return "the service could not use its store; its log says why";
    }
}

/* That the store is busy is not that the task is. */
static void refuse_error(struct verb_job *job, int error)
{
    refuse(job, error == -EBUSY ? -EIO : error, error_sentence(error));
}

/* Which ones are meant, as far as that helps. */
static void refuse_ambiguous(struct verb_job *job)
{
    char ids[MATCHES_TOLD + 1][API_ID_LENGTH + 1], message[512];
    size_t count = 0;
    if (store_find_ids(job->verbs->engine->store, job->scope, job->prefix, MATCHES_TOLD + 1, ids,
                       &count) < 0)
        count = 0;
    int len = snprintf(message, sizeof message, "several tasks begin like that; give more of the id");
    for (size_t i = 0; i < count && i < MATCHES_TOLD; i++)
        len += snprintf(message + len, sizeof message - (size_t)len, "%s %s", i > 0 ? "," : ":",
                        ids[i]);
    if (count > MATCHES_TOLD)
        snprintf(message + len, sizeof message - (size_t)len, " and others");
    refuse(job, -EMLINK, message);
}

/* Its state does not take the verb. */
static void refuse_state(struct verb_job *job, const char *hint)
{
    char message[160];
    snprintf(message, sizeof message, "it is %s; %s", task_state_name(job->task.state), hint);
    refuse(job, -EBUSY, message);
}

static void answer(struct verb_job *job)
{
    struct manager_view view = engine_view(job->verbs->engine, &job->task);
    job->done(job->data, &(struct manager_reply){.view = &view});
    job_free(job);
}

static void log_verb(const struct task *task)
{
    log_info("task=%s user=%s %s", task->id, task->user, task_state_name(task->state));
}

/* The counters know only tasks that ended since this start. */
static void count(struct engine *engine, const struct verb_job *job)
{
    bool counted = !task_state_ended(job->before) || job->ended_at >= engine->started_at;
    if (counted) {
        engine_moved(engine, job->before, &job->task);
    } else {
        stats_enter(engine->stats, job->task.state, 1);
        engine_tell(engine, &job->task);
    }
}

/* A store_done: only now is it true. */
static void on_changed(void *data, int result)
{
    struct verb_job *job = data;
    struct engine *engine = job->verbs->engine;
    struct task *task = &job->task;
    if (result < 0) {
        if (job->before == TASK_ENQUEUED) /* it was taken out of the queue */
            engine_enqueue(engine, task, true);
        refuse_error(job, result);
        return;
    }
    count(engine, job);
    log_verb(task);
    if (task->state == TASK_ENQUEUED)
        engine_enqueue(engine, task, false);
    struct task copy;
    if (task->state == TASK_CANCELLED && task->drop_part && task_copy(task, &copy) == 0)
        finisher_remove_part(job->verbs->finisher, &copy); /* it could not be just now */
    answer(job);
}

/* Ends the job, later. An illegal verb is a bug. */
static void change(struct verb_job *job, enum task_verb verb)
{
    job->before = job->task.state;
    int r = task_next(job->before, verb, &job->task.state);
    assert(r == 0);
    r = store_update(job->verbs->engine->store, &job->task, on_changed, job);
    if (r < 0)
        on_changed(job, r);
}

/* --- finding --- */

/* What is in hand is ahead of the store; what just left it is in the store by now. */
static int find(struct verb_job *job)
{
    struct engine *engine = job->verbs->engine;
    struct active_view view;
    task_release(&job->task);
    int r = store_find(engine->store, job->scope, job->prefix, &job->task);
    if (r < 0 || active_look(engine->active, job->task.row, &view))
        return r;
    int64_t row = job->task.row;
    task_release(&job->task);
    return store_fetch(engine->store, row, &job->task);
}

/* --- hold and cancel --- */

/* A task that waited, and was taken out of the queue, or is PAUSED. */
static void settle(struct verb_job *job, enum task_verb verb)
{
    struct task *task = &job->task;
    if (verb == TASK_CANCEL)
        task->ended_at = units_now_realtime();
    task->drop_part = job->kind == VERB_CANCEL && task->has_part;
    engine_set_error(task, NULL, NULL);
    change(job, verb);
}

/* The part file goes first, if it can. A finisher_work. */
static void cancel_with_part(void *data, struct files_channel *channel)
{
    struct verb_job *job = data;
    struct task *task = &job->task;
    _cleanup_free_ char *part = task_part_name(task);
    if (part && channel && files_unlink(channel, task->directory, part, FILER_TIMEOUT) == 0) {
        task->has_part = false;
        task_forget_bytes(task);
    }
    settle(job, TASK_CANCEL);
}

static void cancel_waiting(struct verb_job *job)
{
    int r = -ENOMEM;
    if (job->kind == VERB_CANCEL && job->task.has_part)
        r = finisher_call(job->verbs->finisher, job->task.uid, cancel_with_part, job);
    if (r == -ESHUTDOWN)
        refuse_error(job, r);
    else if (r < 0)
        settle(job, TASK_CANCEL);
}

static void take_waiting(struct verb_job *job)
{
    job->task.state = TASK_ENQUEUED; /* that is what the queue says; the store may lag behind */
    if (job->kind == VERB_HOLD)
        settle(job, TASK_HOLD);
    else
        cancel_waiting(job);
}

/* Whoever has it in hand answers, once they have let go. */
static bool wish(struct verb_job *job)
{
    struct active_waiter *waiter = calloc(1, sizeof *waiter);
    if (!waiter)
        return false;
    waiter->wish = job->kind == VERB_HOLD     ? ACTIVE_HOLD
                   : job->kind == VERB_CANCEL ? ACTIVE_CANCEL
                                              : ACTIVE_CANCEL_KEEP;
    waiter->done = job->done;
    waiter->data = job->data;
    if (active_add_wish(job->verbs->engine->active, job->task.row, waiter)) {
        job_free(job);
        return true;
    }
    free(waiter);
    return false;
}

/* True: the job is done with, or is in other hands. False: the task is just changing hands. */
static bool try_stop(struct verb_job *job)
{
    struct engine *engine = job->verbs->engine;
    struct task *task = &job->task;
    bool cancels = job->kind != VERB_HOLD;
    struct active_view view;
    if (active_look(engine->active, task->row, &view) && !task_state_ended(task->state))
        task->state = view.state;
    if (cancels && (task->state == TASK_CANCELLED || task->state == TASK_CLEARED)) {
        answer(job);
    } else if (task_state_ended(task->state) || task->state == TASK_FINISHING) {
        refuse_state(job, cancels ? "there is nothing to cancel" : "there is nothing to hold");
    } else if (task->state == TASK_PAUSED && cancels) {
        cancel_waiting(job);
    } else if (task->state == TASK_PAUSED) {
        refuse_state(job, "release lets it go on");
    } else if (queue_remove(engine->queue, task->row) == 0) {
        take_waiting(job);
    } else if (!wish(job)) {
        return false;
    }
    return true;
}

/* The task is just changing hands, or another verb has it: in a moment. */
static void come_again(struct verb_job *job)
{
    grasp_let_go(job->verbs->grasps, &job->grasp);
    if (atomic_load(&job->verbs->engine->stopping))
        refuse_error(job, -ESHUTDOWN);
    else if (units_now_boottime() >= job->until)
        refuse(job, -EBUSY, "it is just changing its state; try again");
    else
        lanes_defer(job->verbs->lanes, 0, &job->job, GRASP_EVERY);
}

static void stop(struct verb_job *job)
{
    if (!try_stop(job))
        come_again(job);
}

/* --- release and retry --- */

/* What it waits for but for its own start. */
static void forget_patience(struct task *task)
{
    bool has_start = task->wait == TASK_WAIT_START || task->wait == TASK_WAIT_AFTER;
    engine_set_start(task, has_start ? task->not_before : 0);
}

static void release(struct verb_job *job)
{
    struct task *task = &job->task;
    if (task->state != TASK_PAUSED) {
        refuse_state(job, "only a PAUSED task can be released");
        return;
    }
    forget_patience(task);
    change(job, TASK_RELEASE);
}

/* After whatever the lane still had to do with its part file. A finisher_work. */
static void retry(void *data, struct files_channel *channel)
{
    (void)channel;
    struct verb_job *job = data;
    struct task *task = &job->task;
    int r = find(job);
    if (r < 0) {
        refuse_error(job, r);
        return;
    }
    if (task->state != TASK_FAILED && task->state != TASK_CANCELLED &&
        task->state != TASK_CLEARED) {
        refuse_state(job, task->state == TASK_FINISHED ? "its file is there"
                                                       : "it is on its way already");
        return;
    }
    engine_set_error(task, NULL, NULL);
    mirrors_rewind(job->verbs->engine, task);
    job->ended_at = task->ended_at;
    task->ended_at = 0;
    task->failures = 0;
    engine_set_start(task, 0);
    task->admitted = false; /* its dest may be taken meanwhile */
    task->drop_part = false;
    change(job, TASK_RETRY);
}

/* --- first, and what else people change --- */

/* Whoever has the task in hand has to know; who is just about to may have read it before. */
static void tell_limits(struct verb_job *job, bool on_lane)
{
    struct engine *engine = job->verbs->engine;
    struct active_view view;
    enum queue_reason reason;
    int64_t until;
    active_change_limits(engine->active, &job->task);
    bool settled = job->change->moved || task_state_ended(job->task.state) ||
                   job->task.state == TASK_PAUSED ||
                   active_look(engine->active, job->task.row, &view) ||
                   queue_why(engine->queue, job->task.row, &reason, &until) == 0 ||
                   units_now_boottime() >= job->until;
    if (!settled) {
        grasp_let_go(job->verbs->grasps, &job->grasp);
        if (on_lane)
            lanes_defer(job->verbs->lanes, 0, &job->job, GRASP_EVERY);
        else
            settled = lanes_put(job->verbs->lanes, 0, &job->job) < 0;
    }
    if (settled)
        answer(job);
}

/* What could not be stored has not happened: it waits as the store has it, else the next start and this
 * one would tell different things. */
static void put_back_unchanged(struct verb_job *job)
{
    struct engine *engine = job->verbs->engine;
    _cleanup_(task_release) struct task before = {0};
    bool known = store_fetch(engine->store, job->task.row, &before) == 0;
    engine_enqueue(engine, known ? &before : &job->task, true);
}

/* A store_done. */
static void on_altered(void *data, int result)
{
    struct verb_job *job = data;
    struct engine *engine = job->verbs->engine;
    /* Of one that others have in hand, those tell what becomes of it. */
    if (result == 0 && (job->change->moved || task_state_ended(job->task.state) ||
                        job->task.state == TASK_PAUSED))
        engine_tell(engine, &job->task);
    if (result < 0) {
        if (job->change->moved)
            put_back_unchanged(job);
        refuse_error(job, result);
        return;
    }
    if (job->change->moved)
        engine_enqueue(engine, &job->task, job->kind == VERB_FIRST);
    log_info("task=%s user=%s changed", job->task.id, job->task.user);
    job->change->stored = true;
    tell_limits(job, false);
}

static void store_altered(struct verb_job *job)
{
    int r = store_change(job->verbs->engine->store, &job->task, job->change->what, on_altered, job);
    if (r < 0)
        on_altered(job, r);
}

/* What was meant for one server does not go to another. */
static int retarget(struct verb_job *job)
{
    struct task *task = &job->task;
    _cleanup_free_ char *url = NULL, *username = NULL, *password = NULL;
    int r = url_take_login(job->change->url, &url, &username, &password);
    uint64_t host = r == 0 ? hosts_number(job->verbs->engine->host_key, url) : 0;
    if (r < 0 || !host)
        return -ENOMEM;
    bool same = hosts_same_origin(task->url, url);
    job->change->what.secrets = !same || username;
    if (!same)
        task_forget_secrets(task);
    if (username) {
        free(task->username);
        free(task->password);
        task->username = TAKE_PTR(username);
        task->password = TAKE_PTR(password);
    }
    free(task->url);
    task->url = TAKE_PTR(url);
    task->host = host;
    task->mirror = 0;
    task->was_global &= ~1U; /* of the mirrors it is known as before */
    task->failures = 0;
    forget_patience(task); /* it has not been tried there */
    return 0;
}

static int apply_change(struct verb_job *job)
{
    struct verb_change *change = job->change;
    const struct manager_change *wanted = &change->wanted;
    struct task *task = &job->task;
    if (wanted->fields & MANAGER_CHANGE_PRIORITY)
        task->priority = wanted->priority;
    if (wanted->fields & MANAGER_CHANGE_RATE_LIMIT)
        task->rate_limit = wanted->rate_limit;
    if (wanted->fields & MANAGER_CHANGE_MAX_RANGES)
        task->max_ranges = wanted->max_ranges;
    if (wanted->fields & MANAGER_CHANGE_LABEL) {
        free(task->label);
        task->label = TAKE_PTR(change->label);
    }
    if (wanted->fields & MANAGER_CHANGE_NOT_BEFORE)
        engine_set_start(task, wanted->not_before);
    change->what.place = wanted->fields & (MANAGER_CHANGE_NOT_BEFORE | MANAGER_CHANGE_URL);
    return wanted->fields & MANAGER_CHANGE_URL ? retarget(job) : 0;
}

/* NULL, or why it cannot be changed so in its state. */
static const char *why_not(const struct verb_job *job)
{
    unsigned fields = job->change->wanted.fields;
    enum task_state state = job->task.state;
    if (fields == MANAGER_CHANGE_LABEL)
        return NULL;
    if (state == TASK_FINISHED)
        return "only its label can be changed";
    if (state == TASK_FINISHING)
        return "only its label can be changed, since all its bytes are here";
    if (task_state_ended(state) && fields & MANAGER_CHANGE_NOT_BEFORE)
        return "retry it first; then it can be given a start time";
    if (state == TASK_DOWNLOADING && fields & MANAGER_CHANGE_URL)
        return "hold it, give it the new URL, then release it: it keeps its bytes";
    if (state == TASK_DOWNLOADING && fields & MANAGER_CHANGE_NOT_BEFORE)
        return "hold it, give it a start time, then release it";
    return NULL;
}

/* True: done with, or in other hands. False: the task is just changing hands. */
static bool try_alter(struct verb_job *job)
{
    struct engine *engine = job->verbs->engine;
    struct verb_change *change = job->change;
    struct task *task = &job->task;
    struct active_view view;
    bool in_hand = active_look(engine->active, task->row, &view) && !task_state_ended(task->state);
    if (in_hand)
        task->state = view.state;
    bool waits = !in_hand && !task_state_ended(task->state) && task->state != TASK_PAUSED;
    const char *hint = job->kind == VERB_CHANGE ? why_not(job)
                       : waits                  ? NULL
                                                : "only a waiting task can be first";
    if (!hint && job->kind == VERB_FIRST && task->wait == TASK_WAIT_START &&
        task->not_before > units_now_realtime())
        hint = "it waits for its start time; give it another not_before";
    if (!hint && job->kind == VERB_FIRST && task->after)
        hint = "it waits until another task is FINISHED";
    if (hint) {
        refuse_state(job, hint);
        return true;
    }
    bool moves = waits && (job->kind == VERB_FIRST ||
                           change->wanted.fields & (MANAGER_CHANGE_URL | MANAGER_CHANGE_PRIORITY |
                                                    MANAGER_CHANGE_NOT_BEFORE));
    if (moves && queue_remove(engine->queue, task->row) < 0)
        return false;
    change->moved = moves;
    if (moves)
        task->state = TASK_ENQUEUED;
    int r = 0;
    if (job->kind == VERB_CHANGE) {
        r = apply_change(job);
    } else {
        int lead = queue_lead(engine->queue, task->uid, task->priority);
        task->priority = lead > task->priority ? lead : task->priority;
        engine_set_start(task, 0);
        change->what.place = true;
    }
    if (r < 0)
        on_altered(job, r);
    else
        store_altered(job);
    return true;
}

static void alter(struct verb_job *job)
{
    if (!job->change)
        job->change = calloc(1, sizeof *job->change);
    if (!job->change)
        refuse_error(job, -ENOMEM);
    else if (job->change->stored)
        tell_limits(job, true);
    else if (!try_alter(job))
        come_again(job);
}

/* --- forget --- */

static void on_forgotten(void *data, int result)
{
    struct verb_job *job = data;
    if (result == -EBUSY) {
        refuse_state(job, "it is running; cancel it first");
    } else if (result < 0) {
        refuse_error(job, result);
    } else {
        log_info("task=%s user=%s forgotten", job->task.id, job->task.user);
        job->done(job->data, &(struct manager_reply){.count = 1});
        job_free(job);
    }
}

/* A finisher_work. */
static void forget(void *data, struct files_channel *channel)
{
    struct verb_job *job = data;
    struct task *task = &job->task;
    int r = find(job);
    if (r < 0) {
        refuse_error(job, r);
        return;
    }
    if (!task_state_ended(task->state)) {
        refuse(job, -EBUSY, "it is running; cancel it first");
        return;
    }
    if (job->kind == VERB_PRUNE && task->ended_at != job->ended_at) {
        refuse(job, -EBUSY, "it has ended once more meanwhile");
        return;
    }
    r = removal_do(task, job->kind == VERB_FORGET_FILE, channel);
    if (r < 0) {
        char message[512];
        snprintf(message, sizeof message, "%s: the file cannot be removed: %s", task->directory,
                 strerror(-r));
        refuse(job, -EACCES, message);
    } else if (store_forget(job->verbs->engine->store, task->row, on_forgotten, job) < 0) {
        refuse_error(job, -ENOMEM);
    }
}

/* --- the thread --- */

/* Goes to the lane of the task's user, behind what that still has to do. */
static void hand_to_lane(struct verb_job *job, finisher_work work)
{
    int r = finisher_call(job->verbs->finisher, job->task.uid, work, job);
    if (r < 0)
        refuse_error(job, r == -ESHUTDOWN ? r : -ENOMEM);
}

static void do_job(struct verb_job *job)
{
    int r = find(job);
    if (r == 0 && job->kind != VERB_FIND) {
        if (!grasp_one(job->verbs->grasps, &job->grasp, job->task.row)) {
            come_again(job);
            return;
        }
        r = find(job); /* again: the verb before has come true by now */
    }
    if (r == -EMLINK)
        refuse_ambiguous(job);
    else if (r < 0)
        refuse_error(job, r);
    else if (job->kind == VERB_FIND)
        answer(job);
    else if (job->kind == VERB_HOLD || job->kind == VERB_CANCEL || job->kind == VERB_CANCEL_KEEP)
        stop(job);
    else if (job->kind == VERB_RELEASE)
        release(job);
    else if (job->kind == VERB_FIRST || job->kind == VERB_CHANGE)
        alter(job);
    else
        hand_to_lane(job, job->kind == VERB_RETRY ? retry : forget);
}

static void work(void *data, uid_t uid, struct files_channel **channel, struct lane_job *jobs)
{
    (void)data;
    (void)uid;
    (void)channel;
    while (jobs) {
        struct verb_job *job = (struct verb_job *)jobs;
        jobs = jobs->next;
        do_job(job);
    }
}

static void ask(struct verbs *verbs, const struct verb_job *wanted)
{
    struct verb_job *job = malloc(sizeof *job);
    if (!job) {
        change_free(wanted->change);
        wanted->done(wanted->data,
                     &(struct manager_reply){.error = -ENOMEM, .message = error_sentence(-ENOMEM)});
        return;
    }
    *job = *wanted;
    job->until = units_now_boottime() + GRASP_WITHIN;
    int r = lanes_put(verbs->lanes, 0, &job->job);
    if (r < 0)
        refuse_error(job, r == -ESHUTDOWN ? r : -ENOMEM);
}

void verbs_ask(struct verbs *verbs, enum verb_kind kind, uid_t scope, const char *prefix,
               manager_done done, void *data)
{
    struct verb_job job = {
        .verbs = verbs, .kind = kind, .scope = scope, .done = done, .data = data};
    size_t len = strlen(prefix);
    if (len > API_ID_LENGTH) {
        done(data, &(struct manager_reply){.error = -ENOENT, .message = error_sentence(-ENOENT)});
        return;
    }
    memcpy(job.prefix, prefix, len + 1);
    ask(verbs, &job);
}

/* NULL: no memory. */
static struct verb_change *copy_change(const struct manager_change *wanted)
{
    struct verb_change *change = calloc(1, sizeof *change);
    if (!change)
        return NULL;
    change->wanted = *wanted;
    bool has_label = wanted->fields & MANAGER_CHANGE_LABEL && *wanted->label;
    bool has_url = wanted->fields & MANAGER_CHANGE_URL;
    if (has_label)
        change->label = strdup(wanted->label);
    if (has_url)
        change->url = strdup(wanted->url);
    if ((!has_label || change->label) && (!has_url || change->url))
        return change;
    change_free(change);
    return NULL;
}

void verbs_change(struct verbs *verbs, uid_t scope, const char *prefix,
                  const struct manager_change *change, manager_done done, void *data)
{
    struct verb_job job = {
        .verbs = verbs, .kind = VERB_CHANGE, .scope = scope, .done = done, .data = data};
    if (strlen(prefix) > API_ID_LENGTH) {
        done(data, &(struct manager_reply){.error = -ENOENT, .message = error_sentence(-ENOENT)});
        return;
    }
    strcpy(job.prefix, prefix);
    job.change = copy_change(change);
    if (job.change)
        ask(verbs, &job);
    else
        done(data, &(struct manager_reply){.error = -ENOMEM, .message = error_sentence(-ENOMEM)});
}

/* A manager_done. It is tried again with the next look at the history. */
static void on_pruned(void *data, const struct manager_reply *reply)
{
    (void)data;
    if (reply->error < 0 && reply->error != -ESHUTDOWN)
        log_debug("an old task stays for now: %s", reply->message);
}

void verbs_prune(struct verbs *verbs, const struct task *task)
{
    struct verb_job job = {.verbs = verbs,
                           .kind = VERB_PRUNE,
                           .scope = MANAGER_EVERYBODY,
                           .ended_at = task->ended_at,
                           .done = on_pruned};
    memcpy(job.prefix, task->id, sizeof job.prefix);
    ask(verbs, &job);
}

struct grasps *verbs_grasps(struct verbs *verbs)
{
    return verbs->grasps;
}

/* --- life --- */

int verbs_create(struct engine *engine, struct finisher *finisher, struct verbs **ret_verbs)
{
    struct verbs *verbs = calloc(1, sizeof *verbs);
    if (!verbs)
        return -ENOMEM;
    verbs->engine = engine;
    verbs->finisher = finisher;
    int r = grasps_create(&verbs->grasps);
    if (r == 0)
        r = lanes_create(NULL, IDLE, work, verbs, &verbs->lanes);
    if (r < 0) {
        grasps_destroy(verbs->grasps);
        free(verbs);
        return r;
    }
    *ret_verbs = verbs;
    return 0;
}

void verbs_stop(struct verbs *verbs)
{
    lanes_close(verbs->lanes);
    lanes_wait(verbs->lanes, -1);
}

void verbs_destroy(struct verbs *verbs)
{
    if (!verbs)
        return;
    lanes_destroy(verbs->lanes);
    grasps_destroy(verbs->grasps);
    free(verbs);
}
