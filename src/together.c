#include "together.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/units.h"

/* Those whose dests nobody else is about to take; `of` says whose they are. */
struct asked {
    const char *names[TOGETHER_MAX];
    char *dests[TOGETHER_MAX];
    size_t of[TOGETHER_MAX];
    size_t count;
};

static char *dest_in(const char *directory, const char *name)
{
    const struct task task = {.directory = (char *)directory, .name = (char *)name};
    return task_dest(&task);
}

static void reserve_names(struct admission *admission, const char *directory,
                          struct task *const *tasks, size_t count, struct asked *asked)
{
    for (size_t i = 0; i < count; i++) {
        char *dest = dest_in(directory, tasks[i]->name);
        if (!dest || !admission_reserve(admission, dest)) {
            free(dest);
            continue;
        }
        asked->names[asked->count] = tasks[i]->name;
        asked->dests[asked->count] = dest;
        asked->of[asked->count++] = i;
    }
}

/* As for one: the store comes first, since a task that ends in between has its file on disk first.
 */
static int ask(struct engine *engine, struct files_channel *channel, const char *directory,
               const struct asked *asked, int64_t deadline, bool *taken, enum files_kind *kinds)
{
    int r = store_dests_taken(engine->store, directory, asked->names, asked->count, taken);
    if (r == 0)
        r = files_stat_many(channel, directory, asked->names, asked->count, units_timeout(deadline),
                            kinds);
    return r;
}

static bool is_free(const struct task *task, bool taken, enum files_kind kind)
{
    return !taken &&
           (kind == FILES_NOTHING || (kind == FILES_FILE && task->if_exists == TASK_OVERWRITE));
}

/* False: no memory. */
static bool settle(struct task *task, const char *directory)
{
    char *copy = strdup(directory);
    if (!copy)
        return false;
    free(task->directory);
    task->directory = copy;
    return true;
}

void together_settle(struct engine *engine, struct admission *admission,
                     struct files_channel *channel, struct task *const *tasks, size_t count,
                     int64_t deadline, char **ret_reserved)
{
    struct asked asked = {.count = 0};
    bool taken[TOGETHER_MAX] = {false};
    enum files_kind kinds[TOGETHER_MAX];
    _cleanup_free_ char *directory = NULL;
    assert(count <= TOGETHER_MAX);
    if (files_prepare(channel, tasks[0]->directory, units_timeout(deadline), &directory) < 0)
        return; /* each hears of it alone */
    reserve_names(admission, directory, tasks, count, &asked);
    int r = asked.count == 0 ? 0 : ask(engine, channel, directory, &asked, deadline, taken, kinds);
    for (size_t i = 0; i < asked.count; i++) {
        struct task *task = tasks[asked.of[i]];
        if (r == 0 && is_free(task, taken[i], kinds[i]) && settle(task, directory))
            ret_reserved[asked.of[i]] = asked.dests[i];
        else
            admission_unreserve(admission, asked.dests[i]);
    }
}
