#include "admission.h"

#include <errno.h>
#include <limits.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "common/units.h"
#include "lanes.h"
#include "transfer/naming.h"

#define ANSWER_WITHIN                                                                              \
    5000                /* ms; API: no answer from the file system by then: accepted all the same */
#define LANE_IDLE 60000 /* ms */
#define HINTS     16
#define HINT_LIFE 1000 /* ms */

/* How far the numbers of a wanted dest are taken: many adds of one URL need not try them all. */
struct hint {
    char *wanted;   /* or NULL */
    unsigned next;  /* all candidates below were taken ... */
    unsigned freed; /* ... while engine->names_freed was this, */
    int64_t until;  /* and for no longer than this (people remove files too) */
};

struct admission {
    /* immutable */
    struct engine *engine;
    struct lanes *lanes;

    pthread_mutex_t lock;
    /* protected by lock */
    void *reserved; /* tree (tsearch) of dests that are on their way into the store */
    struct hint hints[HINTS];
};

struct add_job {
    struct lane_job job; /* first: lanes hand it back */
    struct admission *admission;
    struct task task;
    int64_t deadline; /* boot time */
    char *reserved;   /* the dest it keeps others from, or NULL */
    manager_done done;
    void *data;
};

/* --- the dests on their way --- */

static int compare_dests(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* Takes `dest` when true. */
static bool reserve(struct admission *admission, char *dest)
{
    pthread_mutex_lock(&admission->lock);
    void *node = tsearch(dest, &admission->reserved, compare_dests);
    bool ours = node && *(char **)node == dest;
    pthread_mutex_unlock(&admission->lock);
    return ours;
}

static void unreserve(struct admission *admission, char *dest)
{
    if (!dest)
        return;
    pthread_mutex_lock(&admission->lock);
    tdelete(dest, &admission->reserved, compare_dests);
    pthread_mutex_unlock(&admission->lock);
    free(dest);
}

/* --- settling directory and name --- */

static int remaining(int64_t deadline)
{
    int64_t left = deadline - units_now_boottime();
    return left < 1 ? 1 : left > INT_MAX ? INT_MAX : (int)left;
}

/* Whether nobody has task->name in task->directory. 0: no, 1: yes and reserved, or a negative
 * errno. The order matters: a task that ends in between has its file on disk first. */
static int try_name(struct admission *admission, struct files_channel *channel,
                    const struct task *task, int timeout, char **ret_reserved)
{
    char *dest = task_dest(task);
    if (!dest)
        return -ENOMEM;
    if (!reserve(admission, dest)) {
        free(dest);
        return 0;
    }
    struct files_stat stat;
    int r = store_dest_taken(admission->engine->store, task->directory, task->name);
    if (r == 0) {
        r = files_stat(channel, task->directory, task->name, timeout, &stat);
        r = r == -ENOENT ? 1 : r;
    } else if (r == 1) {
        r = 0;
    }
    if (r == 1)
        *ret_reserved = dest;
    else
        unreserve(admission, dest);
    return r;
}

static struct hint *hint_of_locked(struct admission *admission, const char *wanted)
{
    unsigned hash = 5381;
    for (const char *c = wanted; *c; c++)
        hash = hash * 33 + (unsigned char)*c;
    return &admission->hints[hash % HINTS];
}

static unsigned first_candidate(struct admission *admission, const char *wanted)
{
    unsigned n = 0;
    pthread_mutex_lock(&admission->lock);
    struct hint *hint = hint_of_locked(admission, wanted);
    if (hint->wanted && strcmp(hint->wanted, wanted) == 0 &&
        hint->freed == atomic_load(&admission->engine->names_freed) &&
        units_now_boottime() < hint->until)
        n = hint->next;
    pthread_mutex_unlock(&admission->lock);
    return n;
}

/* Takes `wanted`. */
static void remember_candidate(struct admission *admission, char *wanted, unsigned freed,
                               unsigned next)
{
    pthread_mutex_lock(&admission->lock);
    struct hint *hint = hint_of_locked(admission, wanted);
    free(hint->wanted);
    *hint = (struct hint){wanted, next, freed, units_now_boottime() + HINT_LIFE};
    pthread_mutex_unlock(&admission->lock);
}

/* The first free name. 0 (reserved), or a negative errno. */
static int settle_name(struct admission *admission, struct files_channel *channel,
                       struct task *task, int64_t deadline, char **ret_reserved)
{
    unsigned freed = atomic_load(&admission->engine->names_freed);
    _cleanup_free_ char *wanted = strdup(task->name);
    _cleanup_free_ char *wanted_dest = task_dest(task);
    if (!wanted || !wanted_dest)
        return -ENOMEM;
    int r = 0;
    unsigned n = first_candidate(admission, wanted_dest);
    for (; r == 0; n++) {
        char *name = naming_numbered(wanted, n);
        if (!name)
            return -ENOMEM;
        free(task->name);
        task->name = name;
        r = try_name(admission, channel, task, remaining(deadline), ret_reserved);
    }
    if (r < 0) {
        free(task->name);
        task->name = TAKE_PTR(wanted);
        return r;
    }
    if (n > 1) /* it was taken: others may come for it */
        remember_candidate(admission, TAKE_PTR(wanted_dest), freed, n);
    return 0;
}

static int settle_directory(struct files_channel *channel, struct task *task, int timeout)
{
    char *directory;
    int r = files_prepare(channel, task->directory, timeout, &directory);
    if (r < 0)
        return r;
    free(task->directory);
    task->directory = directory;
    return 0;
}

int admission_settle(struct admission *admission, struct files_channel *channel, struct task *task,
                     int timeout)
{
    char *reserved = NULL;
    int r = settle_directory(channel, task, timeout);
    if (r == 0)
        r = settle_name(admission, channel, task, units_now_boottime() + timeout, &reserved);
    if (r < 0)
        return r;
    task->admitted = true;
    r = engine_store_update(admission->engine, task);
    unreserve(admission, reserved);
    if (r < 0)
        task->admitted = false;
    return r;
}

void admission_describe(int error, const char *directory, char message[static 512])
{
    switch (error) {
    case -ETIMEDOUT:
        snprintf(message, 512, "%s: the file system does not answer", directory);
        break;
    case -EPERM:
        snprintf(message, 512, "%s: %s (hidden directories need allow-hidden = yes in autodl.conf)",
                 directory, strerror(EPERM));
        break;
    default:
        snprintf(message, 512, "%s: %s", directory, strerror(-error));
    }
}

/* --- adding --- */

static void job_free(struct add_job *job)
{
    unreserve(job->admission, job->reserved);
    task_release(&job->task);
    free(job);
}

/* Answers and ends the job. */
static void refuse(struct add_job *job, int error, const char *message)
{
    job->done(job->data, &(struct manager_reply){.error = error, .message = message});
    job_free(job);
}

static const char *store_sentence(int error)
{
    switch (error) {
    case -ENOSPC:
        return "the service's disk is full: nothing was added; try again when there is room";
    case -ESHUTDOWN:
        return "the service is stopping; try again in a moment";
    case -ENOMEM:
        return "the service is out of memory; try again later";
    default:
        return "the service could not store the task; its log says why";
    }
}

/* On the store's thread, after the commit. */
static void on_stored(void *data, int result)
{
    struct add_job *job = data;
    struct engine *engine = job->admission->engine;
    if (result == -EEXIST) { /* somebody came between, by another way than this room */
        unreserve(job->admission, TAKE_PTR(job->reserved));
        job->task.admitted = false;
        if (lanes_put(job->admission->lanes, job->task.uid, &job->job) == 0)
            return;
        result = -ESHUTDOWN;
    }
    if (result < 0) {
        log_error("task=%s user=%s cannot be stored: %s", job->task.id, job->task.user,
                  strerror(-result));
        refuse(job, result, store_sentence(result));
        return;
    }
    log_info("task=%s user=%s added", job->task.id, job->task.user);
    stats_enter(engine->stats, TASK_ENQUEUED, 1);
    if (queue_push(engine->queue, job->task.uid, job->task.row) == -ENOMEM)
        log_error("task=%s user=%s no memory to queue it; it waits for the next start",
                  job->task.id, job->task.user);
    job->done(job->data, &(struct manager_reply){.task = &job->task});
    job_free(job);
}

static void store_job(struct add_job *job)
{
    struct store *store = job->admission->engine->store;
    if (store_add(store, &job->task, &job->task.row, on_stored, job) < 0)
        refuse(job, -ENOMEM, store_sentence(-ENOMEM));
}

/* The user's file system is given up on for now. */
static void hold_user(struct engine *engine, uid_t uid, struct files_channel **channel)
{
    log_warning("uid=%u the file system does not answer; this user's tasks wait", uid);
    queue_hold(engine->queue, uid, QUEUE_HOLD_STORAGE, true);
    files_close(*channel);
    *channel = NULL;
}

static int settle_job(struct add_job *job, struct files_channel *channel)
{
    int r = settle_directory(channel, &job->task, remaining(job->deadline));
    if (r == 0)
        r = settle_name(job->admission, channel, &job->task, job->deadline, &job->reserved);
    return r;
}

static void admit(struct add_job *job, struct files_channel **channel, bool *stuck)
{
    struct engine *engine = job->admission->engine;
    int r = -ESHUTDOWN;
    if (!atomic_load(&engine->stopping))
        r = *stuck ? -ETIMEDOUT : *channel ? settle_job(job, *channel) : -ENOMEM;
    if (r == -ETIMEDOUT && !*stuck) {
        *stuck = true;
        hold_user(engine, job->task.uid, channel);
    }
    if (r == 0)
        job->task.admitted = true;
    if (r == 0 || r == -ETIMEDOUT) {
        store_job(job);
    } else if (r == -ESHUTDOWN || r == -ENOMEM) {
        refuse(job, r, store_sentence(r));
    } else {
        char message[512];
        admission_describe(r, job->task.directory, message);
        refuse(job, -EACCES, message);
    }
}

static void admit_batch(void *data, uid_t uid, struct files_channel **channel,
                        struct lane_job *jobs)
{
    struct admission *admission = data;
    bool stuck = queue_held(admission->engine->queue, uid, QUEUE_HOLD_STORAGE);
    while (jobs) {
        struct add_job *job = (struct add_job *)jobs;
        jobs = jobs->next;
        admit(job, channel, &stuck);
    }
}

static int fill_task(struct admission *admission, const struct manager_add *add, struct task *task)
{
    struct engine_options *options = engine_options_ref(admission->engine);
    const char *directory = add->directory ? add->directory : options->default_directory;
    task_make_id(task->id);
    task->uid = add->uid;
    task->user = strdup(add->user);
    task->url = strdup(add->url);
    task->directory = strdup(directory);
    task->name = options->unique_names ? naming_unique(add->url, options->allow_hidden)
                                       : naming_from_url(add->url, options->allow_hidden);
    task->state = TASK_ENQUEUED;
    task->created_at = units_now_realtime();
    task->bytes_total = -1;
    engine_options_unref(admission->engine, options);
    return task->user && task->url && task->directory && task->name ? 0 : -ENOMEM;
}

void admission_add(struct admission *admission, const struct manager_add *add, manager_done done,
                   void *data)
{
    struct add_job *job = calloc(1, sizeof *job);
    if (!job) {
        done(data, &(struct manager_reply){.error = -ENOMEM, .message = store_sentence(-ENOMEM)});
        return;
    }
    job->admission = admission;
    job->deadline = units_now_boottime() + ANSWER_WITHIN;
    job->done = done;
    job->data = data;
    int r = fill_task(admission, add, &job->task);
    if (r == 0)
        r = lanes_put(admission->lanes, add->uid, &job->job);
    if (r < 0)
        refuse(job, r, store_sentence(r));
}

/* --- life --- */

int admission_create(struct engine *engine, struct admission **ret_admission)
{
    struct admission *admission = calloc(1, sizeof *admission);
    if (!admission)
        return -ENOMEM;
    admission->engine = engine;
    int r = lanes_create(engine->files, LANE_IDLE, admit_batch, admission, &admission->lanes);
    if (r < 0) {
        free(admission);
        return r;
    }
    pthread_mutex_init(&admission->lock, NULL);
    *ret_admission = admission;
    return 0;
}

int admission_stop(struct admission *admission, int64_t timeout)
{
    lanes_close(admission->lanes);
    return lanes_wait(admission->lanes, timeout);
}

void admission_destroy(struct admission *admission)
{
    if (!admission)
        return;
    lanes_destroy(admission->lanes);
    for (unsigned i = 0; i < HINTS; i++)
        free(admission->hints[i].wanted);
    pthread_mutex_destroy(&admission->lock);
    free(admission);
}
