/*
 * What the rooms of this floor share: the parts that a task passes through. The manager makes and
 * unmakes it; the others borrow.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "active.h"
#include "core/address.h"
#include "core/queue.h"
#include "core/settings.h"
#include "core/stats.h"
#include "core/task.h"
#include "disk.h"
#include "privsep/files.h"
#include "store/store.h"
#include "transfer/ratelimit.h"
#include "transfer/retry.h"

#define ENGINE_BOOT_ID_MAX 64

/* Those settings that this floor works by. Never changed once made: a reload makes new ones, and who
 * still works by the old ones holds a reference. */
struct engine_options {
    int refs; /* protected by the engine's lock */
    char *default_directory;
    char *ca_file;
    char *known_hosts;
    struct address_network *denied;
    size_t denied_count;
    char *proxy;
    char *user_agent;
    int64_t connect_timeout;
    int64_t stall_timeout;
    bool unique_names;
    bool remote_time;
    bool allow_hidden;
    struct retry_policy retry;
    int64_t min_free; /* bytes, -1: automatic */
    int64_t max_file_size; /* bytes, 0: any */
    size_t max_waiting; /* tasks of one user */
    unsigned max_ranges; /* workers for one file */
    enum settings_durability durability;
    int64_t keep_history; /* ms */
    uint64_t keep_history_count;
};

struct engine {
    /* immutable */
    struct store *store;
    struct queue *queue;
    struct stats *stats;
    struct files *files;
    struct active *active;
    struct disk *disk;
    int64_t started_at; /* ms since the epoch: tasks that ended before are not in the counters */
    struct address_endpoint *listeners; /* the service's own */
    size_t listener_count;
    struct dependants *dependants;
    uint8_t host_key[STORE_HOST_KEY_SIZE]; /* hosts_number's */
    void (*kick)(void *data); /* there may be an earlier time to wake at */
    void *kick_data;
    struct manager_events events;
    char boot_id[ENGINE_BOOT_ID_MAX]; /* "": not known, and nothing is trusted that is not on disk */

    _Atomic int64_t wall_ahead; /* ms by which the wall clock is ahead of the boot's, as start times in
                                 * the queue have it */
    struct ratelimit limit;     /* of all downloads together */
    atomic_bool watched; /* somebody wants to know of changes */
    atomic_bool stopping; /* running downloads are left to the next start */
    atomic_uint names_freed; /* counts the times that a dest became free again */

    pthread_mutex_t lock;
    /* protected by lock */
    struct engine_options *options;
};

/* 0 or -ENOMEM. The parts are set by the caller. */
int engine_init(struct engine *engine, const struct settings *settings);
void engine_release(struct engine *engine);

/* New options for what starts from now on. 0 or -ENOMEM (the old ones stay). */
int engine_set_options(struct engine *engine, const struct settings *settings);
/* For all downloads together, from now on, those that run too; 0: none. */
void engine_set_rate_limit(struct engine *engine, int64_t bytes_per_second);
/* Copies them. Before the workers start. 0 or -ENOMEM. */
int engine_set_listeners(struct engine *engine, const struct address_endpoint *listeners,
                         size_t count);
/* Each ref is paired with one unref. */
struct engine_options *engine_options_ref(struct engine *engine);
void engine_options_unref(struct engine *engine, struct engine_options *options);

/*
 * Moves a task to another state: `task->state`, the counters, and what people see of `entry` (NULL when
 * nobody has it in hand). An illegal verb is a bug.
 */
void engine_move(struct engine *engine, struct active_entry *entry, struct task *task,
                 enum task_verb verb);
/* Counts a PAUSED task among those of its user that wait (max-waiting-per-user). */
void engine_count_paused(struct engine *engine, const struct task *task);
/* Counts a task, in nobody's hand, that came to its state from another. */
void engine_moved(struct engine *engine, enum task_state from, const struct task *task);
/* Tells those who watch what a task is now. Before it is in others' hands, so that what becomes of it
 * there is told later. */
void engine_tell(struct engine *engine, const struct task *task);
/* Tells them that much changed at once for a user, or for all. */
void engine_tell_many(struct engine *engine, uid_t scope);
/* As engine_move for a task that ends FAILED: stored and logged too. `code` is a word of the API. 0, or a
 * negative errno: that could not be stored, and so has not happened (logged). */
int engine_fail(struct engine *engine, struct active_entry *entry, struct task *task,
                 const char *code, const char *message);
/* It starts at `not_before` (ms since the epoch; 0: as soon as it can), and after what it waits for
 * (task->after). */
void engine_set_start(struct task *task, int64_t not_before);
/* The task as the queue knows it. */
struct queue_task engine_queued(const struct engine *engine, const struct task *task);
/* Puts a task into the queue as the last run left it: to wait for its time, if that has not come. 0,
 * -ENOMEM, or -ESHUTDOWN. */
int engine_take_up(struct engine *engine, const struct store_listed *listed);
/* Has a task wait for its time, if that has not come, then for its turn, at the end of its user's line
 * or at its head. Where there is no memory for that, it is tried again for a second; then, as once the
 * queue is closed, the next start finds it. */
void engine_enqueue(struct engine *engine, const struct task *task, bool in_front);
/* The same for a task at the head of its line, now; or beside it until `at` (boot time, not 0). */
void engine_put_back(struct engine *engine, const struct queue_task *task, int64_t at,
                     enum queue_reason reason);
/* The same for one that goes to the end of its line. */
void engine_put_last(struct engine *engine, const struct queue_task *task);
/* What went wrong last, as people see it; NULL, NULL: nothing. */
void engine_set_error(struct task *task, const char *code, const char *message);
/* Answers those who wished something of a task that is ending now, by what it became. */
void engine_answer(struct active_waiter *waiters, const struct task *task, int error);
/* A task as people see it now; `task->state` is brought up to date. */
struct manager_view engine_view(struct engine *engine, struct task *task);
/* The same of one task of many, preferably from the first added to the last; `far` as for
 * queue_position. */
struct manager_view engine_view_next(struct engine *engine, struct task *task, int64_t *far);
/* `wall` (ms since the epoch) on the clock of the boot, at most `max` ms from now. */
int64_t engine_boot_time(int64_t wall, int64_t max);

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
