/*
 * The verbs: what people can ask for, as the one place where queue, store, workers, transfers and
 * filers meet. Who may ask what is decided above (auth); here a scope is a uid or
 * MANAGER_EVERYBODY.
 */
#pragma once

#include <stddef.h>
#include <sys/types.h>

#include "core/settings.h"
#include "core/stats.h"
#include "core/task.h"
#include "privsep/privsep.h"

#define MANAGER_EVERYBODY ((uid_t)-1)

struct manager;

/* Opens the store under settings->state_dir, takes up the tasks of the last run, but starts none yet.
 * Copies what it needs of the settings. 0 or a negative errno (logged). */
int manager_create(const struct settings *settings, struct privsep *privsep,
                   struct manager **ret_manager);
/* Workers begin. 0 or a negative errno (logged). */
int manager_start(struct manager *manager);
/* Answers every outstanding reply (-ESHUTDOWN where nothing was done), leaves running downloads to the
 * next start, commits, ends all threads. Calls after it are answered -ESHUTDOWN. */
void manager_stop(struct manager *manager);
void manager_destroy(struct manager *manager);
/* New settings after a reload. */
void manager_reload(struct manager *manager, const struct settings *settings);

/*
 * The outcome of a verb: called exactly once, on another thread or before the verb returns, no lock
 * held. `error` is 0 or a negative errno, then `message` is a sentence for the person who asked.
 * `task` (borrowed) comes with add and find, `count` with clear.
 */
struct manager_reply {
    int error;
    const char *message;
    const struct task *task;
    size_t count;
};
typedef void (*manager_done)(void *data, const struct manager_reply *reply);

struct manager_add { /* borrowed for the call */
    uid_t uid;
    const char *user;
    const char *url; /* scheme checked, at most API_URL_MAX */
    const char *directory; /* absolute or ~/..., at most API_PATH_MAX; NULL: the default one */
};

/* Replies after the commit with the task as it was added (ENQUEUED). -EACCES, -EROFS, -ENOTDIR, ...:
 * the user may not write there; -ENOSPC, -EIO: the store could not; -ESHUTDOWN. */
void manager_add(struct manager *manager, const struct manager_add *add, manager_done done,
                 void *data);
/* By id or prefix, among the tasks of `scope`. -ENOENT, -EMLINK (ambiguous). */
void manager_find(struct manager *manager, uid_t scope, const char *prefix, manager_done done,
                  void *data);
/* Waiting ones become CLEARED; replies after the commit, counters moved. */
void manager_clear(struct manager *manager, uid_t scope, manager_done done, void *data);
/* `seconds` 0: until resumed. Replies after the commit. */
void manager_pause(struct manager *manager, uid_t scope, unsigned seconds, manager_done done,
                   void *data);
void manager_resume(struct manager *manager, uid_t scope, manager_done done, void *data);

/* These two answer at once. */
void manager_stats(struct manager *manager, struct stats_snapshot *ret_snapshot);
int manager_set_max_tasks(struct manager *manager, unsigned number);
