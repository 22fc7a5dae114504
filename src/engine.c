#include "engine.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/units.h"

static void options_free(struct engine_options *options)
{
    if (!options)
        return;
    free(options->default_directory);
    free(options->ca_file);
    free(options->proxy);
    free(options->user_agent);
    free(options);
}

static int copy_string(const char *from, char **ret_to)
{
    if (!from)
        return 0;
    *ret_to = strdup(from);
    return *ret_to ? 0 : -ENOMEM;
}

static struct engine_options *options_new(const struct settings *settings)
{
    struct engine_options *options = calloc(1, sizeof *options);
    if (!options)
        return NULL;
    options->refs = 1;
    options->connect_timeout = settings->connect_timeout;
    options->stall_timeout = settings->stall_timeout;
    options->unique_names = settings->unique_names;
    options->allow_hidden = settings->allow_hidden;
    if (copy_string(settings->default_directory, &options->default_directory) < 0 ||
        copy_string(settings->ca_file, &options->ca_file) < 0 ||
        copy_string(settings->proxy, &options->proxy) < 0 ||
        copy_string(settings->user_agent, &options->user_agent) < 0) {
        options_free(options);
        return NULL;
    }
    return options;
}

int engine_init(struct engine *engine, const struct settings *settings)
{
    *engine = (struct engine){0};
    engine->options = options_new(settings);
    if (!engine->options)
        return -ENOMEM;
    pthread_mutex_init(&engine->lock, NULL);
    return 0;
}

void engine_release(struct engine *engine)
{
    if (!engine->options)
        return;
    while (engine->active) {
        struct engine_active *entry = engine->active;
        engine->active = entry->next;
        free(entry);
    }
    options_free(engine->options);
    engine->options = NULL;
    pthread_mutex_destroy(&engine->lock);
}

struct engine_options *engine_options_ref(struct engine *engine)
{
    pthread_mutex_lock(&engine->lock);
    struct engine_options *options = engine->options;
    options->refs++;
    pthread_mutex_unlock(&engine->lock);
    return options;
}

void engine_options_unref(struct engine *engine, struct engine_options *options)
{
    pthread_mutex_lock(&engine->lock);
    bool last = --options->refs == 0;
    pthread_mutex_unlock(&engine->lock);
    if (last)
        options_free(options);
}

int engine_set_options(struct engine *engine, const struct settings *settings)
{
    struct engine_options *fresh = options_new(settings);
    if (!fresh)
        return -ENOMEM;
    pthread_mutex_lock(&engine->lock);
    struct engine_options *old = engine->options;
    engine->options = fresh;
    pthread_mutex_unlock(&engine->lock);
    engine_options_unref(engine, old);
    return 0;
}

static struct engine_active **find_active_locked(struct engine *engine, int64_t row)
{
    struct engine_active **link = &engine->active;
    while (*link && (*link)->row != row)
        link = &(*link)->next;
    return link;
}

static bool in_hand(enum task_state state)
{
    return state == TASK_DOWNLOADING || state == TASK_FINISHING;
}

/* Without memory for an entry, people merely see what the store has: a little late. */
static void set_active(struct engine *engine, int64_t row, enum task_state state)
{
    struct engine_active *unused = in_hand(state) ? malloc(sizeof *unused) : NULL;
    pthread_mutex_lock(&engine->lock);
    struct engine_active **link = find_active_locked(engine, row);
    struct engine_active *entry = *link;
    if (!in_hand(state) && entry) {
        *link = entry->next;
        unused = entry;
    } else if (entry) {
        entry->state = state;
    } else if (unused) {
        *unused = (struct engine_active){.next = engine->active, .row = row, .state = state};
        engine->active = unused;
        unused = NULL;
    }
    pthread_mutex_unlock(&engine->lock);
    free(unused);
}

void engine_move(struct engine *engine, struct task *task, enum task_verb verb)
{
    enum task_state next;
    int r = task_next(task->state, verb, &next);
    assert(r == 0);
    (void)r;
    set_active(engine, task->row, next); /* first: nobody sees the counters ahead of the task */
    stats_move(engine->stats, task->state, next, 1);
    task->state = next;
    if (task_state_ended(next) && next != TASK_FINISHED)
        atomic_fetch_add(&engine->names_freed, 1);
}

void engine_fail(struct engine *engine, struct task *task, const char *code, const char *message)
{
    free(task->error_code);
    free(task->error_message);
    task->error_code = strdup(code); /* without memory the reason is in the log alone */
    task->error_message = strdup(message);
    task->ended_at = units_now_realtime();
    engine_move(engine, task, TASK_FAIL);
    store_update(engine->store, task, NULL, NULL);
    log_warning("task=%s user=%s FAILED %s: %s", task->id, task->user, code, message);
}

bool engine_in_hand(struct engine *engine, int64_t row, enum task_state *ret_state)
{
    pthread_mutex_lock(&engine->lock);
    struct engine_active *entry = *find_active_locked(engine, row);
    if (entry)
        *ret_state = entry->state;
    pthread_mutex_unlock(&engine->lock);
    return entry;
}

void engine_latch_init(struct engine_latch *latch, unsigned count)
{
    *latch = (struct engine_latch){.left = count};
    pthread_mutex_init(&latch->lock, NULL);
    pthread_cond_init(&latch->zero, NULL);
}

void engine_latch_count_down(void *data, int result)
{
    struct engine_latch *latch = data;
    pthread_mutex_lock(&latch->lock);
    if (latch->result == 0)
        latch->result = result;
    if (--latch->left == 0)
        pthread_cond_signal(&latch->zero);
    pthread_mutex_unlock(&latch->lock);
}

int engine_latch_wait(struct engine_latch *latch)
{
    pthread_mutex_lock(&latch->lock);
    while (latch->left > 0)
        pthread_cond_wait(&latch->zero, &latch->lock);
    int result = latch->result;
    pthread_mutex_unlock(&latch->lock);
    pthread_cond_destroy(&latch->zero);
    pthread_mutex_destroy(&latch->lock);
    return result;
}

int engine_store_update(struct engine *engine, const struct task *task)
{
    struct engine_latch latch;
    engine_latch_init(&latch, 1);
    int r = store_update(engine->store, task, engine_latch_count_down, &latch);
    if (r < 0)
        engine_latch_count_down(&latch, r);
    return engine_latch_wait(&latch);
}
