#include "finisher.h"

#include <errno.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "common/units.h"
#include "lanes.h"
#include "transfer/naming.h"

#define LANE_IDLE 60000 /* ms */
#ifndef XFS_SUPER_MAGIC
#define XFS_SUPER_MAGIC 0x58465342
#endif

struct finisher {
    /* immutable */
    struct engine *engine;
    struct lanes *lanes;
};

enum job_kind {
    JOB_FINISH,
    JOB_RESUME, /* FINISHING in the last run */
    JOB_REMOVE_PART,
};

enum job_outcome {
    JOB_GOES_ON,
    JOB_DONE,  /* nothing is left to do for it */
    JOB_LATER, /* cannot be done now: stays as it is in the store, for the next start */
};

struct finish_job {
    struct lane_job job; /* first: lanes hand it back */
    enum job_kind kind;
    enum job_outcome outcome;
    struct task task;
    char *part; /* the part file's name */
    int fd;     /* the part file, or -1 */
    dev_t dev;  /* of the file behind fd */
    ino_t ino;
};

/* What a batch works with. */
struct batch {
    struct finisher *finisher;
    struct files_channel *channel;
    struct lane_job *jobs;
    unsigned count;
};

#define EACH_GOING_ON(job, batch)                                                                  \
    struct finish_job *job = (struct finish_job *)(batch)->jobs;                                   \
    job;                                                                                           \
    job = (struct finish_job *)job->job.next

static void job_free(struct finish_job *job)
{
    if (job->fd >= 0)
        close(job->fd);
    free(job->part);
    task_release(&job->task);
    free(job);
}

/* --- outcomes --- */

/* The task failed at the last moment: its bytes are here and cannot be kept. */
static void fail(struct batch *batch, struct finish_job *job, const char *code, const char *message)
{
    if (files_unlink(batch->channel, job->task.directory, job->part, -1) == 0)
        job->task.has_part = false;
    engine_fail(batch->finisher->engine, &job->task, code, message);
    job->outcome = JOB_DONE;
}

/* One file operation went wrong. A service that is stopping, or a file system that has gone, is no
 * verdict on the task. */
static void give_up(struct batch *batch, struct finish_job *job, int error, const char *doing)
{
    if (error == -ESHUTDOWN || error == -ETIMEDOUT || error == -ENOMEM) {
        job->outcome = JOB_LATER;
        return;
    }
    char message[256];
    snprintf(message, sizeof message, "cannot %s: %s", doing, strerror(-error));
    fail(batch, job, error == -EACCES || error == -EPERM ? "permission" : "disk", message);
}

/* --- the steps, each over the whole batch --- */

/* What the last run left: the part is still there, or it has its final name already. */
static void look_again(struct batch *batch, struct finish_job *job)
{
    struct task *task = &job->task;
    struct files_stat stat;
    int r = files_stat(batch->channel, task->directory, job->part, -1, &stat);
    if (r == 0) {
        r = files_open_part(batch->channel, task->directory, job->part, false, -1, &job->fd);
        if (r < 0)
            give_up(batch, job, r, "open the part file");
        return;
    }
    if (r == -ENOENT)
        r = files_stat(batch->channel, task->directory, task->name, -1, &stat);
    if (r == 0 && S_ISREG(stat.mode) && stat.size == task->bytes_done)
        return; /* renamed: what is left is to say so */
    if (r == 0 || r == -ENOENT)
        fail(batch, job, "disk",
             "the file was taken away while the service was down; add the URL again");
    else
        give_up(batch, job, r, "look at the part file");
}

/* One syncfs is worth more than many fdatasyncs where it is known to report errors of writing. */
static bool syncs_as_a_whole(int fd)
{
    struct statfs fs;
    if (fstatfs(fd, &fs) < 0)
        return false;
    switch ((unsigned long)fs.f_type) {
    case EXT4_SUPER_MAGIC:
    case XFS_SUPER_MAGIC:
    case BTRFS_SUPER_MAGIC:
    case F2FS_SUPER_MAGIC:
        return true;
    default:
        return false;
    }
}

static bool sync_file_systems(struct batch *batch)
{
    dev_t synced = 0;
    bool any = false;
    for (EACH_GOING_ON(job, batch)) {
        if (job->outcome != JOB_GOES_ON || job->fd < 0 || (any && job->dev == synced))
            continue;
        if (!syncs_as_a_whole(job->fd) || syncfs(job->fd) < 0)
            return false;
        synced = job->dev;
        any = true;
    }
    return true;
}

static void sync_data(struct batch *batch)
{
    for (EACH_GOING_ON(job, batch)) {
        struct stat stat;
        if (job->outcome == JOB_GOES_ON && job->fd >= 0 && fstat(job->fd, &stat) == 0) {
            job->dev = stat.st_dev;
            job->ino = stat.st_ino;
        }
    }
    if (batch->count > 1 && sync_file_systems(batch))
        return;
    for (EACH_GOING_ON(job, batch))
        if (job->outcome == JOB_GOES_ON && job->fd >= 0 && fdatasync(job->fd) < 0)
            give_up(batch, job, -errno, "write the file to disk");
}

/* Commits what the tasks are now, waiting once for all. */
static void commit(struct batch *batch)
{
    struct engine *engine = batch->finisher->engine;
    struct engine_latch latch;
    engine_latch_init(&latch, batch->count);
    for (EACH_GOING_ON(job, batch)) {
        int r = job->outcome == JOB_GOES_ON
                    ? store_update(engine->store, &job->task, engine_latch_count_down, &latch)
                    : -ECANCELED;
        if (r < 0)
            engine_latch_count_down(&latch, r == -ECANCELED ? 0 : r);
    }
    int r = engine_latch_wait(&latch);
    if (r == 0)
        return;
    log_error("the store cannot commit: %s", strerror(-r));
    for (EACH_GOING_ON(job, batch))
        if (job->outcome == JOB_GOES_ON)
            job->outcome = JOB_LATER;
}

/* The final name was taken meanwhile by somebody else: the next free one. */
static int rename_to_next(struct batch *batch, struct finish_job *job)
{
    struct engine *engine = batch->finisher->engine;
    struct task *task = &job->task;
    _cleanup_free_ char *wanted = strdup(task->name);
    int r = wanted ? -EEXIST : -ENOMEM;
    for (unsigned n = 1; r == -EEXIST; n++) {
        char *name = naming_numbered(wanted, n);
        if (!name)
            return -ENOMEM;
        free(task->name);
        task->name = name;
        r = engine_store_update(engine, task);
        if (r == 0)
            r = files_rename(batch->channel, task->directory, job->part, task->name, job->dev,
                             job->ino, -1);
    }
    return r;
}

static void rename_all(struct batch *batch)
{
    for (EACH_GOING_ON(job, batch)) {
        if (job->outcome != JOB_GOES_ON || job->fd < 0)
            continue;
        struct task *task = &job->task;
        int r = files_rename(batch->channel, task->directory, job->part, task->name, job->dev,
                             job->ino, -1);
        if (r == -EEXIST)
            r = rename_to_next(batch, job);
        if (r < 0)
            give_up(batch, job, r, "give the file its final name");
    }
}

static void sync_directories(struct batch *batch)
{
    const char *synced = NULL;
    for (EACH_GOING_ON(job, batch)) {
        if (job->outcome != JOB_GOES_ON || (synced && strcmp(synced, job->task.directory) == 0))
            continue;
        int r = files_sync(batch->channel, job->task.directory, -1);
        if (r < 0)
            give_up(batch, job, r, "write the directory to disk");
        else
            synced = job->task.directory;
    }
}

static void set_finished(struct batch *batch)
{
    for (EACH_GOING_ON(job, batch)) {
        if (job->outcome != JOB_GOES_ON)
            continue;
        job->task.has_part = false;
        job->task.ended_at = units_now_realtime();
        /* The counters follow once it is true. */
        task_next(job->task.state, TASK_FINISH, &job->task.state);
    }
}

static void tell_finished(struct batch *batch)
{
    for (EACH_GOING_ON(job, batch)) {
        struct task *task = &job->task;
        if (job->outcome != JOB_GOES_ON)
            continue;
        task->state = TASK_FINISHING;
        engine_move(batch->finisher->engine, task, TASK_FINISH);
        log_info("task=%s user=%s FINISHED bytes=%lld seconds=%.4f dest=%s/%s", task->id,
                 task->user, (long long)task->bytes_done, task_duration(task, task->ended_at),
                 task->directory, task->name);
    }
}

static void finish_batch(struct batch *batch)
{
    sync_data(batch);
    commit(batch); /* FINISHING, with the name it will have */
    rename_all(batch);
    sync_directories(batch);
    set_finished(batch);
    commit(batch);
    tell_finished(batch);
}

/* --- the lane --- */

static void prepare(struct batch *batch, struct finish_job *job)
{
    job->outcome = JOB_GOES_ON;
    if (!batch->channel) {
        job->outcome = JOB_LATER;
    } else if (job->kind == JOB_REMOVE_PART) {
        int r = files_unlink(batch->channel, job->task.directory, job->part, -1);
        if (r < 0 && r != -ESHUTDOWN)
            log_warning("task=%s user=%s the part file %s/%s cannot be removed: %s", job->task.id,
                        job->task.user, job->task.directory, job->part, strerror(-r));
        job->outcome = JOB_DONE;
    } else if (job->kind == JOB_RESUME) {
        look_again(batch, job);
    }
}

static void work(void *data, uid_t uid, struct files_channel **channel, struct lane_job *jobs)
{
    struct finisher *finisher = data;
    struct batch batch = {.finisher = finisher, .channel = *channel, .jobs = jobs};
    queue_hold(finisher->engine->queue, uid, QUEUE_HOLD_FINISHING, false);
    for (EACH_GOING_ON(job, &batch)) {
        prepare(&batch, job);
        batch.count++;
    }
    finish_batch(&batch);
    while (jobs) {
        struct finish_job *job = (struct finish_job *)jobs;
        jobs = jobs->next;
        job_free(job);
    }
}

/* The lane lets go when it takes its next batch; the second look is for one taken just now. */
static void hold_back(struct finisher *finisher, uid_t uid)
{
    queue_hold(finisher->engine->queue, uid, QUEUE_HOLD_FINISHING, true);
    if (lanes_waiting(finisher->lanes, uid) <= FINISHER_LIMIT)
        queue_hold(finisher->engine->queue, uid, QUEUE_HOLD_FINISHING, false);
}

static void put(struct finisher *finisher, struct task *task, int fd, enum job_kind kind)
{
    struct finish_job *job = calloc(1, sizeof *job);
    char *part = task_part_name(task);
    if (!job || !part) {
        log_error("task=%s user=%s no memory to finish it; it is finished at the next start",
                  task->id, task->user);
        free(job);
        free(part);
        if (fd >= 0)
            close(fd);
        task_release(task);
        return;
    }
    *job = (struct finish_job){.kind = kind, .task = *task, .part = part, .fd = fd};
    *task = (struct task){0};
    uid_t uid = job->task.uid;
    if (lanes_put(finisher->lanes, uid, &job->job) < 0)
        job_free(job);
    else if (lanes_waiting(finisher->lanes, uid) > FINISHER_LIMIT)
        hold_back(finisher, uid);
}

void finisher_take(struct finisher *finisher, struct task *task, int fd)
{
    engine_move(finisher->engine, task, TASK_RECEIVE);
    put(finisher, task, fd, JOB_FINISH);
}

void finisher_resume(struct finisher *finisher, struct task *task)
{
    put(finisher, task, -1, JOB_RESUME);
}

void finisher_remove_part(struct finisher *finisher, struct task *task)
{
    put(finisher, task, -1, JOB_REMOVE_PART);
}

/* --- life --- */

int finisher_create(struct engine *engine, struct finisher **ret_finisher)
{
    struct finisher *finisher = calloc(1, sizeof *finisher);
    if (!finisher)
        return -ENOMEM;
    finisher->engine = engine;
    int r = lanes_create(engine->files, LANE_IDLE, work, finisher, &finisher->lanes);
    if (r < 0) {
        free(finisher);
        return r;
    }
    *ret_finisher = finisher;
    return 0;
}

int finisher_stop(struct finisher *finisher, int64_t timeout)
{
    lanes_close(finisher->lanes);
    return lanes_wait(finisher->lanes, timeout);
}

void finisher_destroy(struct finisher *finisher)
{
    if (!finisher)
        return;
    lanes_destroy(finisher->lanes);
    free(finisher);
}
