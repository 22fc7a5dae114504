#include "dependants.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/units.h"
#include "lanes.h"

#define LANE      0     /* there is one */
#define IDLE      60000 /* ms until the thread is ended */
#define TRY_AGAIN 10000 /* ms, after the store could not */
#define AT_ONCE   256   /* committed together */

struct dependants {
    /* immutable */
    struct engine *engine;
    struct lanes *lanes;

    atomic_bool looks_at_all; /* such a job waits: one is enough */
};

enum job_kind {
    LOOK,
    ENDED,
    LOOK_AT_ALL,
};

struct dependants_job {
    struct lane_job job; /* first: lanes hand it back */
    enum job_kind kind;
    int64_t row;                /* LOOK: the dependant */
    char id[API_ID_LENGTH + 1]; /* of the other */
};

/* One that is out of the queue, and whose lot is being committed. */
struct decided {
    struct task task; /* as it is to be stored */
    struct engine_latch *latch;
    int result;
};

struct decisions {
    struct dependants *dependants;
    struct decided all[AT_ONCE];
    unsigned count;
    bool again; /* some could not be stored, or read */

    /* the other that was looked at last */
    char id[API_ID_LENGTH + 1];
    int found; /* 0, -ENOENT, or another errno */
    enum task_state state;
};

/* --- what comes of one --- */

static void on_stored(void *data, int result)
{
    struct decided *decided = data;
    decided->result = result;
    engine_latch_count_down(decided->latch, 0);
}

/* It waits as before: the store has it so. */
static void take_back(struct decisions *decisions, const struct task *task)
{
    struct queue_task queued = engine_queued(decisions->dependants->engine, task);
    engine_put_back(decisions->dependants->engine, &queued, QUEUE_NEVER, QUEUE_AFTER);
    decisions->again = true;
}

static void conclude(struct decisions *decisions, struct decided *decided)
{
    struct engine *engine = decisions->dependants->engine;
    struct task *task = &decided->task;
    if (decided->result < 0) {
        log_error("task=%s user=%s what it waited for has ended, and that cannot be stored; it is "
                  "tried again: %s",
                  task->id, task->user, strerror(-decided->result));
        take_back(decisions, task);
    } else if (task->state == TASK_FAILED) {
        log_warning("task=%s user=%s FAILED %s: %s", task->id, task->user, task->error_code,
                    task->error_message);
        engine_moved(engine, TASK_ENQUEUED, task);
    } else {
        log_info("task=%s user=%s goes on: what it waited for is FINISHED", task->id, task->user);
        engine_enqueue(engine, task, false);
    }
    task_release(task);
}

static void commit(struct decisions *decisions)
{
    struct store *store = decisions->dependants->engine->store;
    struct engine_latch latch;
    if (decisions->count == 0)
        return;
    engine_latch_init(&latch, decisions->count);
    for (unsigned i = 0; i < decisions->count; i++) {
        struct decided *decided = &decisions->all[i];
        decided->latch = &latch;
        int r = store_update(store, &decided->task, on_stored, decided);
        if (r < 0)
            on_stored(decided, r);
    }
    engine_latch_wait(&latch);
    for (unsigned i = 0; i < decisions->count; i++)
        conclude(decisions, &decisions->all[i]);
    decisions->count = 0;
}

static void let_go(struct task *task)
{
    free(task->after);
    task->after = NULL;
    engine_set_start(task, task->not_before);
}

static void fail(const struct decisions *decisions, struct task *task)
{
    char message[128];
    if (decisions->found == -ENOENT)
        snprintf(message, sizeof message, "the task that it waited for (%s) is not there any more",
                 decisions->id);
    else
        snprintf(message, sizeof message, "the task that it waited for (%s) is %s", decisions->id,
                 task_state_name(decisions->state));
    engine_set_error(task, "dependency", message);
    task->ended_at = units_now_realtime();
    task->wait = TASK_WAIT_NONE;
    task->not_before = 0;
    task->state = TASK_FAILED;
}

/* The other has ended. Only now is the dependant read: nobody changes it any more. */
static void decide(struct decisions *decisions, int64_t row)
{
    struct engine *engine = decisions->dependants->engine;
    struct decided *decided = &decisions->all[decisions->count];
    struct queue_task queued;
    if (queue_take_after(engine->queue, row, &queued) < 0)
        return; /* it is held, or has ended, or was decided */
    int r = store_fetch(engine->store, row, &decided->task);
    if (r < 0) {
        engine_put_back(engine, &queued, QUEUE_NEVER, QUEUE_AFTER);
        decisions->again = true;
        return;
    }
    decided->task.state = TASK_ENQUEUED;
    if (decisions->found == 0 && decisions->state == TASK_FINISHED)
        let_go(&decided->task);
    else
        fail(decisions, &decided->task);
    if (++decisions->count == AT_ONCE)
        commit(decisions);
}

/* --- what became of the other --- */

static void look_up(struct decisions *decisions, const char *id)
{
    struct task other;
    if (strcmp(decisions->id, id) == 0)
        return;
    snprintf(decisions->id, sizeof decisions->id, "%s", id);
    decisions->found =
        store_find(decisions->dependants->engine->store, STORE_EVERYBODY, id, &other);
    if (decisions->found == 0) {
        decisions->state = other.state;
        task_release(&other);
    }
    decisions->again = decisions->again || (decisions->found < 0 && decisions->found != -ENOENT);
}

static void look_at(struct decisions *decisions, int64_t row, const char *id)
{
    look_up(decisions, id);
    if (decisions->found == -ENOENT ||
        (decisions->found == 0 && task_state_ended(decisions->state)))
        decide(decisions, row);
}

/* Those of one other, or (`id` NULL) all. */
static void look_at_list(struct decisions *decisions, const char *id)
{
    struct dependants *dependants = decisions->dependants;
    struct store_dependant list[AT_ONCE], last = {0};
    size_t count = AT_ONCE;
    if (id)
        snprintf(last.after, sizeof last.after, "%s", id);
    while (count == AT_ONCE && !atomic_load(&dependants->engine->stopping)) {
        int r = store_list_dependants(dependants->engine->store, &last, AT_ONCE, list, &count);
        if (r < 0) {
            decisions->again = true;
            return;
        }
        for (size_t i = 0; i < count; i++) {
            if (id && strcmp(list[i].after, id) != 0)
                return;
            look_at(decisions, list[i].row, list[i].after);
            last = list[i];
        }
    }
}

/* --- the thread --- */

static void do_job(struct decisions *decisions, struct dependants_job *job)
{
    struct dependants *dependants = decisions->dependants;
    decisions->id[0] = '\0'; /* it may have ended since the last job */
    if (job->kind == LOOK)
        look_at(decisions, job->row, job->id);
    else if (job->kind == ENDED)
        look_at_list(decisions, job->id);
    else {
        atomic_store(&dependants->looks_at_all,
                     false); /* first: what comes now is looked at again */
        look_at_list(decisions, NULL);
    }
}

/* What could not be stored or read is tried again, all at once. */
static void come_again(struct dependants *dependants)
{
    struct dependants_job *job =
        atomic_exchange(&dependants->looks_at_all, true) ? NULL : calloc(1, sizeof *job);
    if (!job)
        return;
    job->kind = LOOK_AT_ALL;
    lanes_defer(dependants->lanes, LANE, &job->job, TRY_AGAIN);
}

static void work(void *data, uid_t uid, struct files_channel **channel, struct lane_job *jobs)
{
    (void)uid;
    (void)channel;
    struct dependants *dependants = data;
    struct decisions *decisions = calloc(1, sizeof *decisions);
    if (decisions)
        decisions->dependants = dependants;
    while (jobs) {
        struct dependants_job *job = (struct dependants_job *)jobs;
        jobs = jobs->next;
        if (decisions && !atomic_load(&dependants->engine->stopping))
            do_job(decisions, job);
        free(job);
    }
    if (decisions)
        commit(decisions);
    if ((!decisions || decisions->again) && !atomic_load(&dependants->engine->stopping))
        come_again(dependants);
    free(decisions);
}

static void ask(struct dependants *dependants, const struct dependants_job *wanted)
{
    struct dependants_job *job = malloc(sizeof *job);
    int r = -ENOMEM;
    if (job) {
        *job = *wanted;
        r = lanes_put(dependants->lanes, LANE, &job->job);
    }
    if (r == 0)
        return;
    free(job);
    if (wanted->kind == LOOK_AT_ALL)
        atomic_store(&dependants->looks_at_all, false);
    if (r != -ESHUTDOWN)
        log_error("tasks that wait for others may wait too long: %s", strerror(-r));
}

void dependants_look(struct dependants *dependants, const struct task *task)
{
    struct dependants_job job = {.kind = LOOK, .row = task->row};
    snprintf(job.id, sizeof job.id, "%s", task->after);
    ask(dependants, &job);
}

void dependants_ended(struct dependants *dependants, const struct task *task)
{
    struct dependants_job job = {.kind = ENDED};
    snprintf(job.id, sizeof job.id, "%s", task->id);
    if (queue_has_after(dependants->engine->queue)) /* who comes later is looked at then */
        ask(dependants, &job);
}

void dependants_look_at_all(struct dependants *dependants)
{
    if (queue_has_after(dependants->engine->queue) &&
        !atomic_exchange(&dependants->looks_at_all, true))
        ask(dependants, &(struct dependants_job){.kind = LOOK_AT_ALL});
}

/* --- life --- */

int dependants_create(struct engine *engine, struct dependants **ret_dependants)
{
    struct dependants *dependants = calloc(1, sizeof *dependants);
    if (!dependants)
        return -ENOMEM;
    dependants->engine = engine;
    int r = lanes_create(NULL, IDLE, work, dependants, &dependants->lanes);
    if (r < 0) {
        free(dependants);
        return r;
    }
    *ret_dependants = dependants;
    return 0;
}

void dependants_stop(struct dependants *dependants)
{
    lanes_close(dependants->lanes);
    lanes_wait(dependants->lanes, -1);
}

void dependants_destroy(struct dependants *dependants)
{
    if (!dependants)
        return;
    lanes_destroy(dependants->lanes);
    free(dependants);
}
