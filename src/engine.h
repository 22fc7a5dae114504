/*
 * What the rooms of this floor share: the parts that a task passes through. The manager makes and
 * unmakes it; the others borrow.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/queue.h"
#include "core/settings.h"
#include "core/stats.h"
#include "core/task.h"
#include "privsep/files.h"
#include "store/store.h"

/* Those settings that this floor works by. Never changed once made: a reload makes new ones, and who
 * still works by the old ones holds a reference. */
struct engine_options {
    int refs; /* protected by the engine's lock */
    char *default_directory;
    char *ca_file;
    char *proxy;
    char *user_agent;
    int64_t connect_timeout;
    int64_t stall_timeout;
    bool unique_names;
    bool allow_hidden;
};

/* A task that a worker or a finisher has in hand. */
struct engine_active {
    struct engine_active *next;
    int64_t row;
    enum task_state state;
};

struct engine {
    /* immutable */
    struct store *store;
    struct queue *queue;
    struct stats *stats;
    struct files *files;

    atomic_bool stopping; /* running downloads are left to the next start */
    atomic_uint names_freed; /* counts the times that a dest became free again */

    pthread_mutex_t lock;
    /* protected by lock */
    struct engine_options *options;
    struct engine_active *active;
};

/* 0 or -ENOMEM. The parts are set by the caller. */
int engine_init(struct engine *engine, const struct settings *settings);
void engine_release(struct engine *engine);

/* New options for what starts from now on. 0 or -ENOMEM (the old ones stay). */
int engine_set_options(struct engine *engine, const struct settings *settings);
/* Each ref is paired with one unref. */
struct engine_options *engine_options_ref(struct engine *engine);
void engine_options_unref(struct engine *engine, struct engine_options *options);

/*
 * Moves a task that is in hand to another state: in the counters and in what engine_in_hand tells, which
 * is ahead of the store while DOWNLOADING and FINISHING. `task->state` is set too. An illegal verb is
 * a bug.
 */
void engine_move(struct engine *engine, struct task *task, enum task_verb verb);
/* The task in hand ended FAILED: moved, stored, logged. `code` is a word of the API. */
void engine_fail(struct engine *engine, struct task *task, const char *code, const char *message);
/* Whether a worker or a finisher has the task in hand; then `ret_state` is ahead of the store's. */
bool engine_in_hand(struct engine *engine, int64_t row, enum task_state *ret_state);

/* store_update, waiting for the commit. 0 or a negative errno. */
int engine_store_update(struct engine *engine, const struct task *task);

/* Counts down callbacks of the store: wait for several with one sleep. */
struct engine_latch {
    pthread_mutex_t lock;
    pthread_cond_t zero;
    unsigned left; /* protected by lock */
    int result; /* the first failure, or 0; protected by lock */
};
void engine_latch_init(struct engine_latch *latch, unsigned count);
/* A store_done; `data` is the latch. */
void engine_latch_count_down(void *data, int result);
/* Waits for all, releases the latch; the first failure, or 0. */
int engine_latch_wait(struct engine_latch *latch);
