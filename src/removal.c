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

struct removal {
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

static void removal_free(struct removal *removal)
{
    for (size_t i = 0; i < removal->count; i++)
        task_release(&removal->tasks[i]);
    free(removal->tasks);
    free(removal->results);
    pthread_cond_destroy(&removal->done);
    pthread_mutex_destroy(&removal->lock);
    free(removal);
}

/* A finisher_work. After one that was not answered the others are not tried. */
static void do_removal(void *data, struct files_channel *channel)
{
    struct removal *removal = data;
    int r = 0;
    for (size_t i = 0; i < removal->count; i++) {
        if (r != -ETIMEDOUT && r != -EHOSTDOWN)
            r = removal_do(&removal->tasks[i], removal->with_file, channel);
        removal->results[i] = r;
    }
    pthread_mutex_lock(&removal->lock);
    removal->is_done = true;
    bool left = removal->left;
    pthread_cond_signal(&removal->done);
    pthread_mutex_unlock(&removal->lock);
    if (left)
        removal_free(removal);
}

static struct removal *create_removal(struct task *tasks, size_t count, bool with_file)
{
    struct removal *removal = calloc(1, sizeof *removal);
    if (!removal)
        return NULL;
    units_condition_init(&removal->done);
    pthread_mutex_init(&removal->lock, NULL);
    removal->with_file = with_file;
    removal->tasks = calloc(count + 1, sizeof *tasks);
    removal->results = calloc(count + 1, sizeof *removal->results);
    if (!removal->tasks || !removal->results) {
        removal_free(removal);
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        removal->tasks[i] = tasks[i];
        tasks[i] = (struct task){0};
    }
    removal->count = count;
    return removal;
}

int removal_do_many(struct finisher *finisher, uid_t uid, struct task *tasks, size_t count,
                    bool with_file, int *ret_results)
{
    struct removal *removal = create_removal(tasks, count, with_file);
    int r = removal ? finisher_call(finisher, uid, do_removal, removal) : -ENOMEM;
    if (r < 0) {
        if (removal)
            removal_free(removal);
        return r == -ESHUTDOWN ? r : -ENOMEM;
    }
    struct timespec deadline = units_monotonic_in(PATIENCE);
    pthread_mutex_lock(&removal->lock);
    while (!removal->is_done && r == 0)
        r = pthread_cond_timedwait(&removal->done, &removal->lock, &deadline);
    bool done = removal->is_done;
    removal->left = true;
    pthread_mutex_unlock(&removal->lock);
    if (!done)
        return -ETIMEDOUT;
    if (count > 0)
        memcpy(ret_results, removal->results, count * sizeof *ret_results);
    removal_free(removal);
    return 0;
}
