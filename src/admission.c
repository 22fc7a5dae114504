#include "admission.h"

#include <errno.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "common/units.h"
#include "core/url.h"
#include "hosts.h"
#include "lanes.h"
#include "together.h"
#include "transfer/naming.h"

#define ANSWER_WITHIN                                                                              \
    5000 /* ms; API: no answer from the file system by then: accepted all the same */
#define LANE_IDLE     60000 /* ms */
#define FILER_TIMEOUT 1000  /* ms a worker waits for an answer */
#define HINTS         16
#define HINT_LIFE     1000  /* ms */
#define SCAN_LIFE     60000 /* ms; of a search that has not come to its end */

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
    bool booked;      /* it counts among those of its user that wait */
    manager_done done;
    void *data;
};

/* --- the dests on their way --- */

static int compare_dests(const void *a, const void *b)
{
    return strcmp(a, b);
}

bool admission_reserve(struct admission *admission, char *dest)
{
    pthread_mutex_lock(&admission->lock);
    void *node = tsearch(dest, &admission->reserved, compare_dests);
    bool ours = node && *(char **)node == dest;
    pthread_mutex_unlock(&admission->lock);
    return ours;
}

void admission_unreserve(struct admission *admission, char *dest)
{
    if (!dest)
        return;
    pthread_mutex_lock(&admission->lock);
    tdelete(dest, &admission->reserved, compare_dests);
    pthread_mutex_unlock(&admission->lock);
    free(dest);
}

/* --- settling directory and name --- */

/* Who has a name. */
enum holder {
    NOBODY,
    SOMEBODY_COMING, /* a task on its way into the store */
    SOMEBODY,        /* an unfinished task */
    SOME_FILE,
};

/* Who has task->name in task->directory? NOBODY: it is reserved now. Or a negative errno. The order
 * matters: a task that ends in between has its file on disk first. */
static int ask_holder(struct admission *admission, struct files_channel *channel,
                      const struct task *task, int timeout, char **ret_reserved)
{
    char *dest = task_dest(task);
    if (!dest)
        return -ENOMEM;
    if (!admission_reserve(admission, dest)) {
        free(dest);
        return SOMEBODY_COMING;
    }
    struct files_stat stat;
    int r = store_dest_taken(admission->engine->store, task->directory, task->name);
    if (r == 0) {
        r = files_stat(channel, task->directory, task->name, timeout, &stat);
        r = r == 0 ? SOME_FILE : r == -ENOENT ? NOBODY : r;
        if (r == SOME_FILE && task->if_exists == TASK_OVERWRITE && S_ISREG(stat.mode))
            r = NOBODY; /* it is going to be replaced */
    } else if (r == 1) {
        r = SOMEBODY;
    }
    if (r == NOBODY)
        *ret_reserved = dest;
    else
        admission_unreserve(admission, dest);
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
                               unsigned next, int64_t life)
{
    pthread_mutex_lock(&admission->lock);
    struct hint *hint = hint_of_locked(admission, wanted);
    free(hint->wanted);
    *hint = (struct hint){wanted, next, freed, units_now_boottime() + life};
    pthread_mutex_unlock(&admission->lock);
}

/* The first free one of task->name, name-1, ... -EAGAIN: not found by the deadline, though
 * questions are answered; the next try goes on from there. */
static int settle_numbered(struct admission *admission, struct files_channel *channel,
                           struct task *task, int64_t deadline, char **ret_reserved)
{
    unsigned freed = atomic_load(&admission->engine->names_freed);
    _cleanup_free_ char *wanted = strdup(task->name);
    _cleanup_free_ char *wanted_dest = task_dest(task);
    if (!wanted || !wanted_dest)
        return -ENOMEM;
    int holder = SOME_FILE;
    unsigned n = first_candidate(admission, wanted_dest);
    for (; holder > NOBODY; n++) {
        if (units_now_boottime() >= deadline) {
            holder = -EAGAIN;
            n++; /* as if it had been asked for in vain */
            break;
        }
        char *name = naming_numbered(wanted, n);
        if (!name)
            return -ENOMEM;
        free(task->name);
        task->name = name;
        holder = ask_holder(admission, channel, task, units_timeout(deadline), ret_reserved);
    }
    if (holder < 0) {
        free(task->name);
        task->name = TAKE_PTR(wanted);
        n--; /* that one was not answered */
    }
    if (n > 1) /* those below are taken: others may come for the name */
        remember_candidate(admission, TAKE_PTR(wanted_dest), freed, n,
                           holder < 0 ? SCAN_LIFE : HINT_LIFE);
    return holder;
}

/* By what the task says about files that are there. NOBODY (reserved), who has it, or a negative
 * errno. */
static int settle_name(struct admission *admission, struct files_channel *channel,
                       struct task *task, int64_t deadline, char **ret_reserved)
{
    if (task->if_exists == TASK_RENAME)
        return settle_numbered(admission, channel, task, deadline, ret_reserved);
    return ask_holder(admission, channel, task, units_timeout(deadline), ret_reserved);
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

/* The part file goes by the name: where that has changed, it moves along. */
static int move_part(struct files_channel *channel, const struct task *task, const char *old_part,
                     int timeout)
{
    _cleanup_free_ char *part = task_part_name(task);
    if (!part || !old_part)
        return -ENOMEM;
    if (!task->has_part || strcmp(part, old_part) == 0)
        return 0;
    struct files_move move = {.directory = task->directory, .from = old_part, .to = part};
    int r = files_rename(channel, &move, timeout);
    return r == -ENOENT ? 0 : r;
}

/* Stores the task, whose dest is reserved until then. */
static int store_settled(struct admission *admission, struct task *task, char *reserved)
{
    int r = engine_store_update(admission->engine, task);
    admission_unreserve(admission, reserved);
    return r < 0 && r != -EEXIST ? -EHOSTDOWN : r; /* no fault of the user's file system */
}

int admission_settle(struct admission *admission, struct files_channel *channel, struct task *task)
{
    _cleanup_free_ char *old_part = task_part_name(task);
    char *reserved = NULL;
    int64_t deadline = units_now_boottime() + ANSWER_WITHIN;
    int r = settle_directory(channel, task, FILER_TIMEOUT);
    if (r == 0)
        r = settle_name(admission, channel, task, deadline, &reserved);
    if (r != NOBODY)
        return r < 0 ? r : -EEXIST;
    r = move_part(channel, task, old_part, FILER_TIMEOUT);
    if (r < 0) {
        admission_unreserve(admission, reserved);
        return r;
    }
    task->admitted = true;
    r = store_settled(admission, task, reserved);
    if (r < 0)
        task->admitted = false;
    return r;
}

int admission_rename(struct admission *admission, struct files_channel *channel, struct task *task,
                     char *name)
{
    char *old_name = task->name, *reserved = NULL;
    task->name = name;
    int64_t deadline = units_now_boottime() + ANSWER_WITHIN;
    int r = strcmp(name, old_name) == 0
                ? NOBODY
                : settle_name(admission, channel, task, deadline, &reserved);
    if (r == NOBODY)
        r = store_settled(admission, task, reserved);
    else
        r = r < 0 ? r : -EEXIST;
    if (r < 0 && !(r == -EEXIST && task->if_exists == TASK_SKIP)) {
        free(task->name);
        task->name = old_name;
    } else { /* skipped: it is told which file is there */
        free(old_name);
    }
    return r;
}

void admission_describe(int error, const char *directory, char message[static 512])
{
    switch (error) {
    case -ETIMEDOUT:
        snprintf(message, 512, "%s: the file system does not answer", directory);
        break;
    case -EEXIST:
        snprintf(message, 512, "%s: the file is there already", directory);
        break;
    case -EPERM:
        snprintf(message, 512, "%s: %s (hidden directories need allow-hidden = yes in autodl.conf)",
                 directory, strerror(EPERM));
        break;
    case -EACCES:
        snprintf(message, 512, "%s: %s; the user of the download has to be allowed to write there",
                 directory, strerror(EACCES));
        break;
    case -EROFS:
        snprintf(message, 512,
                 "%s is read-only for the service; see EXTRA DIRECTORIES in autodl-service(8)",
                 directory);
        break;
    case -EIO:
    case -EUCLEAN:
        snprintf(message, 512, "%s: %s; the system's log says more about that disk", directory,
                 strerror(-error));
        break;
    case -EMFILE:
    case -ENFILE:
    case -ENOMEM:
        snprintf(message, 512, "%s: %s; try again later", directory, strerror(-error));
        break;
    default:
        snprintf(message, 512, "%s: %s", directory, strerror(-error));
    }
}

/* Not for want of permission, or of a directory that could be. */
bool admission_may_pass(int error)
{
    switch (error) {
    case -EIO:
    case -EUCLEAN:
    case -EREMOTEIO:
    case -ESTALE:
    case -EMFILE:
    case -ENFILE:
    case -ENOMEM:
    case -ENOBUFS:
    case -EBUSY:
    case -EINTR:
        return true;
    default:
        return false;
    }
}

/* --- adding --- */

/* Before it is answered: who has the answer may rely on the count. */
static void unbook(struct add_job *job)
{
    if (job->booked)
        queue_unbook(job->admission->engine->queue, job->task.uid, 1);
    job->booked = false;
}

static void job_free(struct add_job *job)
{
    unbook(job);
    admission_unreserve(job->admission, job->reserved);
    task_release(&job->task);
    free(job);
}

/* Answers and ends the job. */
static void refuse(struct add_job *job, int error, const char *message)
{
    unbook(job);
    job->done(job->data, &(struct manager_reply){.error = error, .message = message});
    job_free(job);
}

const char *admission_store_sentence(int error)
{
    switch (error) {
    case -ENOSPC:
        return "the service's disk is full: nothing was added; try again when there is room";
    case -ESHUTDOWN:
        return "the service is stopping; try again in a moment";
    case -ENOMEM:
        return "the service is out of memory; try again later";
    case -EHOSTDOWN:
        return "the service cannot start a process for your files; its log says why; try again "
               "later";
    default:
        return "the service could not store the task; its log says why";
    }
}

static void answer(struct add_job *job)
{
    struct manager_view view = engine_view(job->admission->engine, &job->task);
    job->done(job->data, &(struct manager_reply){.view = &view});
    job_free(job);
}

/* It is in the store: let it wait for its turn, unless it begins PAUSED or was skipped. */
static void enter_queue(struct engine *engine, const struct task *task)
{
    log_info("task=%s user=%s added%s", task->id, task->user,
             task->state == TASK_FINISHED ? ", and skipped: the file is there" : "");
    stats_enter(engine->stats, task->state, 1);
    engine_tell(engine, task);
    if (task->state == TASK_PAUSED)
        engine_count_paused(engine, task);
    if (task->state == TASK_ENQUEUED)
        engine_enqueue(engine, task, false);
}

/* Once more from the start: somebody came between. */
static void put_again(struct add_job *job)
{
    admission_unreserve(job->admission, TAKE_PTR(job->reserved));
    job->task.admitted = false;
    if (lanes_put(job->admission->lanes, job->task.uid, &job->job) < 0)
        refuse(job, -ESHUTDOWN, admission_store_sentence(-ESHUTDOWN));
}

/* On the store's thread, after the commit. */
static void on_stored(void *data, int result)
{
    struct add_job *job = data;
    if (result == -EEXIST) { /* by another way than this room */
        put_again(job);
    } else if (result < 0) {
        log_error("task=%s user=%s cannot be stored: %s", job->task.id, job->task.user,
                  strerror(-result));
        refuse(job, result, admission_store_sentence(result));
    } else {
        unbook(job);
        enter_queue(job->admission->engine, &job->task);
        answer(job);
    }
}

static void store_job(struct add_job *job)
{
    struct store *store = job->admission->engine->store;
    if (store_add(store, &job->task, &job->task.row, on_stored, job) < 0)
        refuse(job, -ENOMEM, admission_store_sentence(-ENOMEM));
}

/* The dest is that of an unfinished task already. */
static void answer_twin(struct add_job *job)
{
    struct engine *engine = job->admission->engine;
    struct task twin;
    int r = store_find_dest(engine->store, job->task.directory, job->task.name, &twin);
    if (r == -ENOENT) { /* it has just ended */
        put_again(job);
        return;
    }
    bool ours = r == 0 && twin.uid == job->task.uid;
    if (ours) {
        struct manager_view view = engine_view(engine, &twin);
        unbook(job);
        job->done(job->data, &(struct manager_reply){.view = &view, .twin = true});
        job_free(job);
    } else {
        refuse(job, r < 0 ? r : -EEXIST,
               r < 0 ? admission_store_sentence(r) : "another user's task is going to make that file");
    }
    if (r == 0)
        task_release(&twin);
}

/* Somebody has the name that the task insists on. */
static void answer_taken(struct add_job *job, enum holder holder)
{
    if (job->task.if_exists == TASK_OVERWRITE) {
        refuse(job, -EEXIST,
               holder == SOME_FILE
                   ? "what is there is not a file that can be replaced"
                   : "an unfinished task has that dest; cancel it first, or wait for it");
    } else if (holder == SOMEBODY_COMING) {
        put_again(job);
    } else if (holder == SOMEBODY) {
        answer_twin(job);
    } else { /* the file is there: nothing is to be done, and that is a task's end */
        engine_set_error(&job->task, "exists", "the file is there already");
        task_forget_secrets(&job->task);
        job->task.state = TASK_FINISHED;
        job->task.ended_at = units_now_realtime();
        store_job(job);
    }
}

void admission_hold_user(struct engine *engine, uid_t uid, struct files_channel **channel)
{
    log_warning("uid=%u the file system does not answer; this user's tasks wait", uid);
    queue_hold(engine->queue, uid, QUEUE_HOLD_STORAGE, true);
    files_close(*channel);
    *channel = NULL;
}

/* NOBODY, another holder of the name, or a negative errno. */
static int settle_job(struct add_job *job, struct files_channel *channel)
{
    if (job->reserved) /* together with others */
        return NOBODY;
    int r = settle_directory(channel, &job->task, units_timeout(job->deadline));
    if (r == 0)
        r = settle_name(job->admission, channel, &job->task, job->deadline, &job->reserved);
    return r;
}

bool admission_can_wait(int error)
{
    return error == -ETIMEDOUT || error == -EAGAIN || error == -ENOSPC || error == -EDQUOT;
}

/* False: it has been refused. */
static bool find_after(struct add_job *job)
{
    char message[512];
    int r = admission_find_after(job->admission->engine, &job->task, message);
    if (r < 0)
        refuse(job, r, r == -EDOM ? message : admission_store_sentence(r));
    return r == 0;
}

static void admit(struct add_job *job, struct files_channel **channel, bool *stuck)
{
    struct engine *engine = job->admission->engine;
    int r = -ESHUTDOWN;
    if (!atomic_load(&engine->stopping))
        r = *stuck ? -ETIMEDOUT : *channel ? settle_job(job, *channel) : -ENOMEM;
    if (r == -ETIMEDOUT && !*stuck) {
        *stuck = true;
        admission_hold_user(engine, job->task.uid, channel);
    }
    if (r == NOBODY || admission_can_wait(r)) {
        job->task.admitted = r == NOBODY;
        store_job(job);
    } else if (r > NOBODY) {
        answer_taken(job, (enum holder)r);
    } else if (r == -ESHUTDOWN || r == -EHOSTDOWN) {
        refuse(job, r, admission_store_sentence(r));
    } else {
        char message[512];
        admission_describe(r, job->task.directory, message);
        refuse(job, admission_may_pass(r) ? -EIO : -EACCES, message);
    }
}

/* The first of these, and those after it that want the same directory; how many. */
static size_t take_together(struct lane_job **jobs, struct add_job *ret_jobs[static TOGETHER_MAX])
{
    size_t count = 0;
    do {
        struct add_job *job = (struct add_job *)*jobs;
        if (count > 0 && strcmp(job->task.directory, ret_jobs[0]->task.directory) != 0)
            break;
        ret_jobs[count++] = job;
        *jobs = (*jobs)->next;
    } while (*jobs && count < TOGETHER_MAX);
    return count;
}

static void settle_together(struct admission *admission, struct files_channel *channel,
                            struct add_job *const *jobs, size_t count)
{
    struct task *tasks[TOGETHER_MAX];
    char *reserved[TOGETHER_MAX] = {NULL};
    for (size_t i = 0; i < count; i++)
        tasks[i] = &jobs[i]->task;
    together_settle(admission->engine, admission, channel, tasks, count,
                    jobs[0]->deadline, reserved);
    for (size_t i = 0; i < count; i++)
        jobs[i]->reserved = reserved[i];
}

static void admit_batch(void *data, uid_t uid, struct files_channel **channel,
                        struct lane_job *jobs)
{
    struct admission *admission = data;
    bool stuck = queue_held(admission->engine->queue, uid, QUEUE_HOLD_STORAGE);
    while (jobs) {
        struct add_job *next[TOGETHER_MAX];
        size_t count = take_together(&jobs, next);
        if (count > 1 && *channel && !stuck && !atomic_load(&admission->engine->stopping))
            settle_together(admission, *channel, next, count);
        for (size_t i = 0; i < count; i++)
            if (find_after(next[i]))
                admit(next[i], channel, &stuck);
    }
}

static int copy_text(const char *from, char **ret_to)
{
    *ret_to = from ? strdup(from) : NULL;
    return from && !*ret_to ? -ENOMEM : 0;
}

static char *first_name(const struct manager_add *add, const struct engine_options *options)
{
    if (add->name)
        return strdup(add->name);
    return options->unique_names ? naming_unique(add->url, options->allow_hidden)
                                 : naming_from_url(add->url, options->allow_hidden);
}

static int copy_login(const struct manager_add *add, struct task *task)
{
    free(TAKE_PTR(task->username));
    free(TAKE_PTR(task->password));
    int r = copy_text(add->username, &task->username);
    return r < 0 ? r : copy_text(add->password, &task->password);
}

int admission_fill(struct engine *engine, const struct manager_add *add, struct task *task)
{
    struct engine_options *options = engine_options_ref(engine);
    task_make_id(task->id);
    task->uid = add->uid;
    task->state = add->paused ? TASK_PAUSED : TASK_ENQUEUED;
    task->created_at = units_now_realtime();
    task->bytes_total = -1;
    task->if_exists = add->if_exists;
    task->name_is_final = add->classic || add->name || options->unique_names;
    task->retries = add->retries;
    task->priority = add->priority;
    task->rate_limit = add->rate_limit;
    task->max_ranges = add->max_ranges;
    task->name = first_name(add, options);
    int r = task->name ? 0 : -ENOMEM;
    if (r == 0)
        r = copy_text(add->user, &task->user);
    if (r == 0)
        r = url_take_login(add->url, &task->url, &task->username, &task->password);
    if (r == 0 && add->username)
        r = copy_login(add, task);
    if (r == 0)
        r = copy_text(add->directory ? add->directory : options->default_directory,
                      &task->directory);
    if (r == 0)
        r = (task->host = hosts_number(engine->host_key, task->url)) ? 0 : -ENOMEM;
    if (r == 0)
        r = copy_text(add->checksum, &task->checksum);
    if (r == 0)
        r = copy_text(add->headers, &task->headers);
    if (r == 0)
        r = copy_text(add->label, &task->label);
    if (r == 0)
        r = copy_text(add->mirrors, &task->mirrors);
    if (r == 0)
        r = copy_text(add->after, &task->after);
    engine_set_start(task, add->not_before);
    engine_options_unref(engine, options);
    return r;
}

int admission_find_after(struct engine *engine, struct task *task, char message[static 512])
{
    struct task found;
    if (!task->after)
        return 0;
    int r = store_find(engine->store, task->uid, task->after, &found);
    if (r == -ENOENT || r == -EMLINK) {
        snprintf(message, 512,
                 r == -ENOENT ? "after: you have no task with the id %s"
                              : "after: several of your tasks begin with %s; give more of the id",
                 task->after);
        return -EDOM;
    }
    if (r < 0)
        return r;
    free(task->after);
    task->after = strdup(found.id);
    task_release(&found);
    return task->after ? 0 : -ENOMEM;
}

/* 0, -ENOMEM, or -EDQUOT: the user has enough. */
static int book(struct add_job *job)
{
    struct engine *engine = job->admission->engine;
    struct engine_options *options = engine_options_ref(engine);
    int r = queue_book(engine->queue, job->task.uid, 1, options->max_waiting);
    engine_options_unref(engine, options);
    job->booked = r == 0;
    return r;
}

void admission_add(struct admission *admission, const struct manager_add *add, manager_done done,
                   void *data)
{
    struct add_job *job = calloc(1, sizeof *job);
    if (!job) {
        done(data, &(struct manager_reply){.error = -ENOMEM, .message = admission_store_sentence(-ENOMEM)});
        return;
    }
    job->admission = admission;
    job->deadline = units_now_boottime() + ANSWER_WITHIN;
    job->done = done;
    job->data = data;
    int r = admission_fill(admission->engine, add, &job->task);
    if (r == 0)
        r = book(job);
    if (r == -EDQUOT) {
        refuse(job, r,
               "you have as many waiting tasks as max-waiting-per-user allows; try again when some "
               "are done, or clear them");
        return;
    }
    if (r == 0)
        r = lanes_put(admission->lanes, add->uid, &job->job);
    if (r < 0)
        refuse(job, r, admission_store_sentence(r));
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
