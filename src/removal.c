#include "removal.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/cleanup.h"
#include "common/units.h"

#define PATIENCE 8000 /* ms for some hundred files: more than one operation may take */

static bool has_file(const struct task *task)
{
    return task->state == TASK_FINISHED && task->file_ino != 0;
}

bool removal_is_needed(const struct task *task, bool with_file)
{
    return task->has_part || (with_file && has_file(task));
}

int removal_do(const struct task *task, bool with_file, struct files_channel *channel)
{
    if (!removal_is_needed(task, with_file))
        return 0;
    _cleanup_free_ char *part = task_part_name(task);
    if (!channel || !part)
        return -EHOSTDOWN;
    int r = task->has_part ? files_unlink(channel, task->directory, part, REMOVAL_TIMEOUT) : 0;
    if (r == 0 && with_file && has_file(task))
        r = files_unlink_if(channel, task->directory, task->name, task->file_dev, task->file_ino,
                            task->bytes_done, REMOVAL_TIMEOUT);
    return r == -ESTALE ? 0 : r; /* another file by now, which is spared */
}

/* --- many --- */

struct errand {
    struct task *tasks;
    int *results;
    size_t count;
    bool with_file;

    pthread_mutex_t lock;
    pthread_cond_t done;
    /* protected by lock */
    bool is_done;
    bool left; /* nobody waits any more: who is last frees it */
};

static void errand_free(struct errand *errand)
{
    for (size_t i = 0; i < errand->count; i++)
        task_release(&errand->tasks[i]);
    free(errand->tasks);
    free(errand->results);
    pthread_cond_destroy(&errand->done);
    pthread_mutex_destroy(&errand->lock);
    free(errand);
}

/* A finisher_work. After one that was not answered the others are not tried. */
static void do_errand(void *data, struct files_channel *channel)
{
    struct errand *errand = data;
    int r = 0;
    for (size_t i = 0; i < errand->count; i++) {
        if (r != -ETIMEDOUT && r != -EHOSTDOWN)
            r = removal_do(&errand->tasks[i], errand->with_file, channel);
        errand->results[i] = r;
    }
    pthread_mutex_lock(&errand->lock);
    errand->is_done = true;
    bool left = errand->left;
    pthread_cond_signal(&errand->done);
    pthread_mutex_unlock(&errand->lock);
    if (left)
        errand_free(errand);
}

static struct errand *create_errand(struct task *tasks, size_t count, bool with_file)
{
    struct errand *errand = calloc(1, sizeof *errand);
    if (!errand)
        return NULL;
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&errand->done, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&errand->lock, NULL);
    errand->with_file = with_file;
    errand->tasks = calloc(count + 1, sizeof *tasks);
    errand->results = calloc(count + 1, sizeof *errand->results);
    if (!errand->tasks || !errand->results) {
        errand_free(errand);
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        errand->tasks[i] = tasks[i];
        tasks[i] = (struct task){0};
    }
    errand->count = count;
    return errand;
}

int removal_do_many(struct finisher *finisher, uid_t uid, struct task *tasks, size_t count,
                    bool with_file, int *ret_results)
{
    struct errand *errand = create_errand(tasks, count, with_file);
    int r = errand ? finisher_call(finisher, uid, do_errand, errand) : -ENOMEM;
    if (r < 0) {
        if (errand)
            errand_free(errand);
        return r == -ESHUTDOWN ? r : -ENOMEM;
    }
    struct timespec deadline = units_monotonic_in(PATIENCE);
    pthread_mutex_lock(&errand->lock);
    while (!errand->is_done && r == 0)
        r = pthread_cond_timedwait(&errand->done, &errand->lock, &deadline);
    bool done = errand->is_done;
    errand->left = true;
    pthread_mutex_unlock(&errand->lock);
    if (!done)
        return -ETIMEDOUT;
    if (count > 0)
        memcpy(ret_results, errand->results, count * sizeof *ret_results);
    errand_free(errand);
    return 0;
}
