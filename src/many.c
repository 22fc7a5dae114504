#include "many.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "common/units.h"
#include "filter.h"
#include "lanes.h"

#define IDLE    10000 /* ms until the thread of one who asks no more is ended */
#define AT_ONCE 250   /* tasks */
#define PATIENCE 8000 /* ms for those: more than one file operation may take that somebody waits for */

#define STATE(name) (1U << TASK_##name)

/* What each verb is to a single task, and the states that take it. */
static const struct kind {
    enum verb_kind verb;
    unsigned states;
} kinds[] = {
    [MANAGER_HOLD] = {VERB_HOLD,        STATE(ENQUEUED) | STATE(DOWNLOADING)                },
    [MANAGER_RELEASE] = {VERB_RELEASE,     STATE(PAUSED)                                       },
    [MANAGER_CANCEL] = {VERB_CANCEL,      STATE(ENQUEUED) | STATE(PAUSED) | STATE(DOWNLOADING)},
    [MANAGER_CANCEL_KEEP] = {VERB_CANCEL_KEEP,
                      STATE(ENQUEUED) | STATE(PAUSED) | STATE(DOWNLOADING)                  },
    [MANAGER_RETRY] = {VERB_RETRY,       STATE(FAILED) | STATE(CANCELLED) | STATE(CLEARED)   },
    [MANAGER_FORGET] = {VERB_FORGET,
                      STATE(FINISHED) | STATE(FAILED) | STATE(CANCELLED) | STATE(CLEARED)   },
    [MANAGER_FORGET_FILE] = {VERB_FORGET_FILE,
                      STATE(FINISHED) | STATE(FAILED) | STATE(CANCELLED) | STATE(CLEARED)   },
};

struct many {
    struct engine *engine;
    struct verbs *verbs;
    struct lanes *lanes;
};

struct round {
    struct lane_job job; /* first: lanes hand it back */
    struct many *many;
    const struct kind *kind;
    uid_t scope;
    struct filter *filter; /* or ids */
    char (*ids)[API_ID_LENGTH + 1];
    size_t id_count;
    manager_done done;
    void *data;

    pthread_mutex_t lock;
    pthread_cond_t answered;
    /* protected by lock */
    bool left; /* nobody waits any more: the last answer to come frees it */
    size_t outstanding;
    size_t count;
    int error; /* but for tasks that do not take the verb, or are gone */
};

static void round_free(struct round *round)
{
    pthread_cond_destroy(&round->answered);
    pthread_mutex_destroy(&round->lock);
    filter_destroy(round->filter);
    free(round->ids);
    free(round);
}

/* What is outstanding still has to find it. */
static void leave(struct round *round)
{
    pthread_mutex_lock(&round->lock);
    round->left = true;
    bool last = round->outstanding == 0;
    pthread_mutex_unlock(&round->lock);
    if (last)
        round_free(round);
}

static void answer(struct round *round, int error)
{
    struct manager_reply reply = {.error = error, .count = round->count};
    if (error == -ESHUTDOWN)
        reply.message = "the service is stopping, and has done a part; ask again in a moment";
    else if (error == -ENOMEM)
        reply.message = "the service is out of memory, and has done a part; try again later";
    else if (error == -ENOSPC)
        reply.message = "the service's disk is full; a part was done; make room there first";
    else if (error == -ETIMEDOUT)
        reply.message = "a file system does not answer, and a part was done; what was asked of tasks "
                        "there is done once it does; ask again for the rest";
    else if (error < 0)
        reply.message =
            "the service could not use its store, and has done a part; its log says why";
    if (error < 0 && error != -ESHUTDOWN)
        log_error("a verb for many tasks has done a part: %s", strerror(-error));
    round->done(round->data, &reply);
    leave(round);
}

/* A manager_done of one task. */
static void on_one(void *data, const struct manager_reply *reply)
{
    struct round *round = data;
    bool skipped = reply->error == -EBUSY || reply->error == -ENOENT || reply->error == -EMLINK ||
                   reply->error == -EACCES;
    pthread_mutex_lock(&round->lock);
    round->count += reply->error == 0;
    if (reply->error < 0 && !skipped && round->error == 0)
        round->error = reply->error;
    bool last = --round->outstanding == 0;
    bool left = round->left;
    if (last)
        pthread_cond_signal(&round->answered);
    pthread_mutex_unlock(&round->lock);
    if (last && left)
        round_free(round);
}

static void ask(struct round *round, const char *id)
{
    pthread_mutex_lock(&round->lock);
    round->outstanding++;
    pthread_mutex_unlock(&round->lock);
    verbs_ask(round->many->verbs, round->kind->verb, round->scope, id, on_one, round);
}

/* Until all that were asked have answered; the first failure. -ETIMEDOUT: one user's file system holds
 * up the others no longer. */
static int wait_for_answers(struct round *round)
{
    struct timespec deadline = units_monotonic_in(PATIENCE);
    int r = 0;
    pthread_mutex_lock(&round->lock);
    while (round->outstanding > 0 && r == 0)
        r = pthread_cond_timedwait(&round->answered, &round->lock, &deadline);
    int error = round->outstanding > 0 ? -ETIMEDOUT : round->error;
    pthread_mutex_unlock(&round->lock);
    return error;
}

static int do_ids(struct round *round)
{
    int r = 0;
    for (size_t i = 0; i < round->id_count && r == 0; i += AT_ONCE) {
        for (size_t k = i; k < i + AT_ONCE && k < round->id_count; k++)
            ask(round, round->ids[k]);
        r = wait_for_answers(round);
    }
    return r;
}

/* Those of the rows that are in a state that takes the verb. */
static int do_rows(struct round *round, const int64_t *rows, size_t count)
{
    struct engine *engine = round->many->engine;
    _cleanup_free_ struct task *tasks = calloc(count + 1, sizeof *tasks);
    if (!tasks)
        return -ENOMEM;
    int r = store_fetch_many(engine->store, rows, count, tasks);
    for (size_t i = 0; i < count; i++) {
        if (r == 0 && tasks[i].row != 0) {
            (void)engine_view(engine, &tasks[i]);
            if (filter_has_state(round->filter, tasks[i].state))
                ask(round, tasks[i].id);
        }
        task_release(&tasks[i]);
    }
    int error = wait_for_answers(round);
    return r < 0 ? r : error;
}

static int do_filter(struct round *round)
{
    int64_t before = INT64_MAX, rows[AT_ONCE];
    size_t count = 0;
    int r = 0;
    while (before != 0 && r == 0) {
        if (atomic_load(&round->many->engine->stopping))
            return -ESHUTDOWN;
        r = filter_next(round->filter, &before, AT_ONCE, rows, &count);
        if (r == 0 && count > 0)
            r = do_rows(round, rows, count);
    }
    return r;
}

static void work(void *data, uid_t uid, struct files_channel **channel, struct lane_job *jobs)
{
    (void)data;
    (void)uid;
    (void)channel;
    while (jobs) {
        struct round *round = (struct round *)jobs;
        jobs = jobs->next;
        answer(round, round->filter ? do_filter(round) : do_ids(round));
    }
}

/* -ENOENT: no task that is meant takes the verb. */
static int choose(struct round *round, const struct manager_filter *filter, const char *const *ids,
                  size_t id_count)
{
    if (id_count > 0) {
        round->ids = calloc(id_count, sizeof *round->ids);
        for (size_t i = 0; i < id_count && round->ids; i++)
            strncpy(round->ids[i], ids[i], API_ID_LENGTH);
        round->id_count = id_count;
        return round->ids ? 0 : -ENOMEM;
    }
    struct manager_filter narrower = *filter;
    narrower.states = filter->states ? filter->states & round->kind->states : round->kind->states;
    return narrower.states ? filter_create(round->many->engine, &narrower, &round->filter)
                           : -ENOENT;
}

void many_do(struct many *many, enum manager_verb verb, const struct manager_filter *filter,
             const char *const *ids, size_t id_count, manager_done done, void *data)
{
    struct round *round = calloc(1, sizeof *round);
    if (!round) {
        done(data,
             &(struct manager_reply){.error = -ENOMEM,
                                     .message = "the service is out of memory; try again later"});
        return;
    }
    round->many = many;
    round->kind = &kinds[verb];
    round->scope = filter->scope;
    round->done = done;
    round->data = data;
    pthread_mutex_init(&round->lock, NULL);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&round->answered, &attributes);
    pthread_condattr_destroy(&attributes);
    int r = choose(round, filter, ids, id_count);
    if (r == 0)
        r = lanes_put(many->lanes, filter->reader, &round->job);
    if (r < 0)
        answer(round, r == -ENOENT ? 0 : r == -ESHUTDOWN ? r : -ENOMEM);
}

int many_create(struct engine *engine, struct verbs *verbs, struct many **ret_many)
{
    struct many *many = calloc(1, sizeof *many);
    if (!many)
        return -ENOMEM;
    many->engine = engine;
    many->verbs = verbs;
    int r = lanes_create(NULL, IDLE, work, many, &many->lanes);
    if (r < 0) {
        free(many);
        return r;
    }
    *ret_many = many;
    return 0;
}

void many_stop(struct many *many)
{
    lanes_close(many->lanes);
    lanes_wait(many->lanes, -1);
}

void many_destroy(struct many *many)
{
    if (!many)
        return;
    lanes_destroy(many->lanes);
    free(many);
}
