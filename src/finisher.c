#include "finisher.h"

#include <errno.h>
#include <fcntl.h>
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
#include "transfer/retry.h"

#define LANE_IDLE 60000 /* ms */
#define RENAMED_AT_ONCE 64
#define TRY_AGAIN 10000 /* ms until what could not be finished is tried once more */
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
    JOB_CHECKPOINT,
    JOB_CALL,
};

enum job_outcome {
    JOB_GOES_ON,
    JOB_DONE,  /* nothing is left to do for it */
    JOB_LATER, /* cannot be done now: tried again, or left as the store has it to the next start */
};

struct finish_job {
    struct lane_job job; /* first: lanes hand it back */
    enum job_kind kind;
    enum job_outcome outcome;
    struct task task;
    struct active_entry *entry; /* or NULL */
    char *part;                 /* the part file's name */
    int fd;                     /* the part file, or -1 */
    dev_t dev;                  /* of the file behind fd */
    ino_t ino;
    uint64_t version;           /* JOB_CHECKPOINT: what `task` says is written is of this one */
    bool renamed;               /* it has its final name */
    struct engine_latch *latch; /* of the commit that is under way, ... */
    int committed;              /* ... and what became of it */
    finisher_work work;         /* JOB_CALL */
    void *data;
};

/* What a batch works with. */
struct batch {
    struct finisher *finisher;
    struct files_channel *channel;
    struct lane_job *jobs;
    unsigned count;
    enum settings_durability durability;
    bool remote_time;
};

#define EACH_GOING_ON(job, batch)                                                                  \
    struct finish_job *job = (struct finish_job *)(batch)->jobs;                                   \
    job;                                                                                           \
    job = (struct finish_job *)job->job.next

/* Lets go of all that the job holds. */
static void job_close(struct finisher *finisher, struct finish_job *job)
{
    active_leave(finisher->engine->active, job->entry);
    if (job->fd >= 0)
        close(job->fd);
    free(job->part);
    task_release(&job->task);
}

static void job_free(struct finisher *finisher, struct finish_job *job)
{
    job_close(finisher, job);
    free(job);
}

/* --- outcomes --- */

/* The task failed at the last moment: its bytes are here and cannot be kept. */
static void fail(struct batch *batch, struct finish_job *job, const char *code, const char *message)
{
    job->task.has_part = files_unlink(batch->channel, job->task.directory, job->part, -1) != 0;
    job->task.drop_part = job->task.has_part; /* at the next start, then */
    int r = engine_fail(batch->finisher->engine, job->entry, &job->task, code, message);
    job->outcome = r < 0 ? JOB_LATER : JOB_DONE;
}

/* A service that is stopping, a file system that has gone or is full: no verdict on the task. */
static bool may_pass(int error)
{
    switch (error) {
    case -ESHUTDOWN:
    case -ETIMEDOUT:
    case -EHOSTDOWN:
    case -ENOMEM:
    case -EMFILE:
    case -ENFILE:
    case -ENOSPC:
    case -EDQUOT:
        return true;
    default:
        return false;
    }
}

static void fail_on_files(struct batch *batch, struct finish_job *job, int error, const char *doing)
{
    char message[256];
    snprintf(message, sizeof message, "cannot %s: %s", doing, strerror(-error));
    fail(batch, job, error == -EACCES || error == -EPERM ? "permission" : "disk", message);
}

/* One file operation went wrong. */
static void give_up(struct batch *batch, struct finish_job *job, int error, const char *doing)
{
    if (may_pass(error))
        job->outcome = JOB_LATER;
    else
        fail_on_files(batch, job, error, doing);
}

/* Whatever the reason: the kernel tells it once, and what it dropped is not written another time.
 */
static void lose_data(struct batch *batch, struct finish_job *job, int error)
{
    fail_on_files(batch, job, error, "write the file to disk");
}

/* --- the steps, each over the whole batch --- */

/* The part file of a task that was FINISHING: it keeps the name that it was written under, whatever
 * the final name became meanwhile. */
static int find_part(struct batch *batch, struct finish_job *job)
{
    struct task *task = &job->task;
    char suffix[32];
    char *part;
    snprintf(suffix, sizeof suffix, ".%.8s.part", task->id);
    int r = files_find_part(batch->channel, task->directory, suffix, -1, &part);
    if (r < 0)
        return r;
    free(job->part);
    job->part = part;
    struct files_stat file;
    r = files_open_part(batch->channel, task->directory, part, -1, &job->fd, &file);
    if (r < 0)
        return r;
    job->dev = file.dev;
    job->ino = file.ino;
    return file.size == task->bytes_done ? 0 : -EUCLEAN;
}

/* What the last run left: the part is still there, or it has its final name already. */
static void look_again(struct batch *batch, struct finish_job *job)
{
    struct task *task = &job->task;
    if (job->fd >= 0) /* it has been looked at before */
        return;
    int r = find_part(batch, job);
    if (r == 0)
        return;
    struct files_stat stat;
    if (r == -ENOENT)
        r = files_stat(batch->channel, task->directory, task->name, -1, &stat);
    if (r == 0 && S_ISREG(stat.mode) && stat.size == task->bytes_done) {
        job->dev = stat.dev; /* renamed: what is left is to say so */
        job->ino = stat.ino;
        return;
    }
    if (r == 0 || r == -ENOENT || r == -EUCLEAN)
        fail(batch, job, "disk",
             "the file was taken away while the service was down; retry it to fetch it again");
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
    for (EACH_GOING_ON(job, batch))
        if (job->outcome == JOB_GOES_ON && job->entry && active_is_broken(job->entry))
            lose_data(batch, job, -EIO);
    if (batch->durability == DURABILITY_NONE ||
        (batch->durability == DURABILITY_BATCH && batch->count > 1 && sync_file_systems(batch)))
        return;
    for (EACH_GOING_ON(job, batch))
        if (job->outcome == JOB_GOES_ON && job->fd >= 0 && fdatasync(job->fd) < 0)
            lose_data(batch, job, -errno);
}

static void on_committed(void *data, int result)
{
    struct finish_job *job = data;
    job->committed = result;
    engine_latch_count_down(job->latch, 0);
}

/* Commits what the tasks are now, waiting once for all. */
static void commit(struct batch *batch)
{
    struct engine *engine = batch->finisher->engine;
    struct engine_latch latch;
    engine_latch_init(&latch, batch->count);
    for (EACH_GOING_ON(job, batch)) {
        job->latch = &latch;
        job->committed = 0;
        int r = job->outcome == JOB_GOES_ON
                    ? store_update(engine->store, &job->task, on_committed, job)
                    : -ECANCELED;
        if (r < 0)
            on_committed(job, r == -ECANCELED ? 0 : r);
    }
    engine_latch_wait(&latch);
    for (EACH_GOING_ON(job, batch)) {
        if (job->outcome != JOB_GOES_ON || job->committed == 0)
            continue;
        log_error("task=%s user=%s that it finishes cannot be stored; it is tried again: %s",
                  job->task.id, job->task.user, strerror(-job->committed));
        job->task.state = TASK_FINISHING;
        job->outcome = JOB_LATER;
    }
}

static struct files_move move_of(const struct batch *batch, const struct finish_job *job)
{
    const struct task *task = &job->task;
    time_t time = 0;
    bool has_time = batch->remote_time && task->last_modified &&
                    retry_parse_date(task->last_modified, units_now_realtime(), &time) == 0;
    return (struct files_move){
        .has_time = has_time,
        .time = time,
        .directory = task->directory,
        .from = job->part,
        .to = task->name,
        .replace = task->if_exists == TASK_OVERWRITE,
        .dev = job->dev,
        .ino = job->ino,
    };
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
        struct files_move move = move_of(batch, job);
        if (r == 0)
            r = files_rename(batch->channel, &move, -1);
        else if (r != -EEXIST) /* that name is another unfinished task's */
            r = -EHOSTDOWN;
    }
    if (r < 0 && wanted) { /* the next try begins with the name that was promised */
        free(task->name);
        task->name = TAKE_PTR(wanted);
    }
    return r;
}

static void rename_some(struct batch *batch, struct finish_job *jobs[], size_t count)
{
    struct files_move moves[RENAMED_AT_ONCE];
    for (size_t i = 0; i < count; i++)
        moves[i] = move_of(batch, jobs[i]);
    files_rename_all(batch->channel, moves, count);
    for (size_t i = 0; i < count; i++) {
        int r = moves[i].result == -EEXIST ? rename_to_next(batch, jobs[i]) : moves[i].result;
        if (r < 0)
            give_up(batch, jobs[i], r, "give the file its final name");
        else
            jobs[i]->renamed = true;
    }
}

static void rename_all(struct batch *batch)
{
    struct finish_job *jobs[RENAMED_AT_ONCE];
    size_t count = 0;
    for (EACH_GOING_ON(job, batch)) {
        if (job->outcome == JOB_GOES_ON && job->fd >= 0 && !job->renamed)
            jobs[count++] = job;
        if (count < RENAMED_AT_ONCE)
            continue;
        rename_some(batch, jobs, count);
        count = 0;
    }
    rename_some(batch, jobs, count);
}

static void sync_directories(struct batch *batch)
{
    const char *synced = NULL;
    if (batch->durability == DURABILITY_NONE)
        return;
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

/* What is not needed any more goes: secrets first. That it was begun anew stays told. */
static void set_finished(struct batch *batch)
{
    for (EACH_GOING_ON(job, batch)) {
        struct task *task = &job->task;
        if (job->outcome != JOB_GOES_ON)
            continue;
        task->has_part = false;
        task->ended_at = units_now_realtime();
        task->file_dev = job->dev;
        task->file_ino = job->ino;
        task_forget_secrets(task);
        if (task->error_code && strcmp(task->error_code, "changed") != 0)
            engine_set_error(task, NULL, NULL);
        /* The counters follow once it is true. */
        task_next(task->state, TASK_FINISH, &task->state);
    }
}

static void tell_finished(struct batch *batch)
{
    for (EACH_GOING_ON(job, batch)) {
        struct task *task = &job->task;
        if (job->outcome != JOB_GOES_ON)
            continue;
        task->state = TASK_FINISHING;
        engine_move(batch->finisher->engine, job->entry, task, TASK_FINISH);
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

/* Whether the part file is still left over: the task may have been retried since. */
static bool is_left_over(struct engine *engine, struct finish_job *job)
{
    struct active_view view;
    struct task now;
    if (store_fetch(engine->store, job->task.row, &now) < 0)
        return false; /* forgotten, with its part */
    bool left = task_state_ended(now.state) && now.drop_part &&
                !active_look(engine->active, now.row, &view);
    task_release(&job->task);
    job->task = now;
    return left;
}

static void remove_part(struct batch *batch, struct finish_job *job)
{
    struct engine *engine = batch->finisher->engine;
    if (!is_left_over(engine, job))
        return;
    int r = files_unlink(batch->channel, job->task.directory, job->part, -1);
    if (r == 0) {
        job->task.has_part = job->task.drop_part = false;
        task_forget_bytes(&job->task);
        store_update(engine->store, &job->task, NULL, NULL);
    } else if (r == -EHOSTDOWN || r == -ETIMEDOUT) {
        job->outcome = JOB_LATER;
    } else if (r != -ESHUTDOWN) {
        log_warning("task=%s user=%s the part file %s/%s cannot be removed: %s", job->task.id,
                    job->task.user, job->task.directory, job->part, strerror(-r));
    }
}

/* The kernel tells of a failed write once: it is remembered for the end. */
static void make_durable(struct batch *batch, struct finish_job *job)
{
    if (batch->durability == DURABILITY_NONE)
        return;
    bool done = fdatasync(job->fd) == 0;
    active_set_durable(batch->finisher->engine->active, job->task.row, job->version,
                       done ? job->task.written : -1, job->task.written_ranges);
}

static void prepare(struct batch *batch, struct finish_job *job)
{
    job->outcome = JOB_DONE;
    if (job->kind == JOB_CALL)
        job->work(job->data, batch->channel);
    else if (job->kind == JOB_CHECKPOINT)
        make_durable(batch, job);
    else if (!batch->channel)
        job->outcome = JOB_LATER;
    else if (job->kind == JOB_REMOVE_PART)
        remove_part(batch, job);
    else
        job->outcome = JOB_GOES_ON;
    if (job->outcome == JOB_GOES_ON && job->kind == JOB_RESUME)
        look_again(batch, job);
}

static void do_batch(struct finisher *finisher, struct files_channel *channel,
                     struct lane_job *jobs)
{
    struct engine_options *options = engine_options_ref(finisher->engine);
    struct batch batch = {
        .finisher = finisher,
        .channel = channel,
        .jobs = jobs,
        .durability = options->durability,
        .remote_time = options->remote_time,
    };
    engine_options_unref(finisher->engine, options);
    for (EACH_GOING_ON(job, &batch)) {
        prepare(&batch, job);
        batch.count++;
    }
    finish_batch(&batch);
}

static void work(void *data, uid_t uid, struct files_channel **channel, struct lane_job *jobs)
{
    struct finisher *finisher = data;
    queue_hold(finisher->engine->queue, uid, QUEUE_HOLD_FINISHING, false);
    do_batch(finisher, *channel, jobs);
    if (*channel && files_is_stuck(*channel)) {
        files_close(*channel);
        *channel = NULL;
    }
    while (jobs) {
        struct finish_job *job = (struct finish_job *)jobs;
        jobs = jobs->next;
        if (job->outcome == JOB_LATER && !atomic_load(&finisher->engine->stopping))
            lanes_defer(finisher->lanes, uid, &job->job, TRY_AGAIN);
        else
            job_free(finisher, job);
    }
}

/* The lane lets go when it takes its next batch; the second look is for one taken just now. */
static void hold_back(struct finisher *finisher, uid_t uid)
{
    queue_hold(finisher->engine->queue, uid, QUEUE_HOLD_FINISHING, true);
    if (lanes_waiting(finisher->lanes, uid) <= FINISHER_LIMIT)
        queue_hold(finisher->engine->queue, uid, QUEUE_HOLD_FINISHING, false);
}

static int put_job(struct finisher *finisher, uid_t uid, struct finish_job *job)
{
    int r = lanes_put(finisher->lanes, uid, &job->job);
    if (r == 0 && lanes_waiting(finisher->lanes, uid) > FINISHER_LIMIT)
        hold_back(finisher, uid);
    return r;
}

/* Takes what is in `content`, task and descriptor and entry, if it returns 0. */
static int put(struct finisher *finisher, uid_t uid, const struct finish_job *content)
{
    struct finish_job *job = malloc(sizeof *job);
    if (!job)
        return -ENOMEM;
    *job = *content;
    int r = put_job(finisher, uid, job);
    if (r < 0)
        free(job);
    return r;
}

static struct task take_task(struct task *task)
{
    struct task taken = *task;
    *task = (struct task){0};
    return taken;
}

int finisher_reserve(struct finisher *finisher, uid_t uid, struct finish_job **ret_place)
{
    struct finish_job *place = malloc(sizeof *place);
    int r = place ? lanes_pin(finisher->lanes, uid) : -ENOMEM;
    if (r < 0)
        free(place);
    else
        *ret_place = place;
    return r;
}

void finisher_unreserve(struct finisher *finisher, uid_t uid, struct finish_job *place)
{
    if (!place)
        return;
    lanes_unpin(finisher->lanes, uid);
    free(place);
}

void finisher_take(struct finisher *finisher, struct finish_job *place, struct task *task,
                   char *part, int fd, const struct files_stat *file,
                   struct active_entry *entry)
{
    uid_t uid = task->uid;
    *place = (struct finish_job){.kind = JOB_FINISH,
                                 .task = take_task(task),
                                 .part = part,
                                 .fd = fd,
                                 .dev = file->dev,
                                 .ino = file->ino,
                                 .entry = entry};
    if (put_job(finisher, uid, place) < 0) /* closed: the next start does it */
        job_free(finisher, place);
    lanes_unpin(finisher->lanes, uid);
}

int finisher_resume(struct finisher *finisher, struct task *task)
{
    struct finish_job job = {.kind = JOB_RESUME, .fd = -1};
    int r = active_enter(finisher->engine->active, task, TASK_FINISHING, &job.entry);
    job.task = take_task(task);
    job.part = task_part_name(&job.task);
    if (r == 0)
        r = job.part ? put(finisher, job.task.uid, &job) : -ENOMEM;
    if (r < 0)
        job_close(finisher, &job);
    return r;
}

/* What cannot be done now is done at the next start: the store knows of the part. */
void finisher_remove_part(struct finisher *finisher, struct task *task)
{
    struct finish_job job = {.kind = JOB_REMOVE_PART, .task = take_task(task), .fd = -1};
    job.part = task_part_name(&job.task);
    if (!job.part || put(finisher, job.task.uid, &job) < 0)
        job_close(finisher, &job);
}

/* Without it, less is trusted after a power cut. */
void finisher_checkpoint(struct finisher *finisher, const struct task *task, uint64_t version,
                         int fd)
{
    const char *ranges = task->written_ranges;
    struct finish_job job = {.kind = JOB_CHECKPOINT,
                             .task = {.row = task->row,
                                      .written = task->written,
                                      .written_ranges = ranges ? strdup(ranges) : NULL},
                             .fd = fcntl(fd, F_DUPFD_CLOEXEC, 0),
                             .version = version};
    if (job.fd < 0 || put(finisher, task->uid, &job) < 0)
        job_close(finisher, &job);
}

int finisher_call(struct finisher *finisher, uid_t uid, finisher_work call, void *data)
{
    struct finish_job job = {.kind = JOB_CALL, .fd = -1, .work = call, .data = data};
    return put(finisher, uid, &job);
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
