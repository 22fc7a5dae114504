/*
 * The verbs: what people can ask for, as the one place where queue, store, workers, transfers and
 * filers meet. Who may ask what is decided above (auth); here a scope is a uid or
 * MANAGER_EVERYBODY.
 */
#pragma once

#include <stddef.h>
#include <sys/types.h>

#include "core/address.h"
#include "core/queue.h"
#include "core/settings.h"
#include "core/stats.h"
#include "core/task.h"
#include "privsep/privsep.h"

#define MANAGER_EVERYBODY ((uid_t)-1)

struct manager;

/* What the manager tells of itself while it is watched: on any thread, perhaps one that downloads, so
 * be quick, and call it no more than manager_watch. */
struct manager_view;
struct manager_events {
    /* A task has changed (borrowed); the changes of one task come in their order. */
    void (*on_task)(void *data, const struct manager_view *view);
    /* So much has changed at once for a user, or MANAGER_EVERYBODY, that it is not told one by one. */
    void (*on_many)(void *data, uid_t scope);
    void *data;
};

/* Opens the store under settings->state_dir, takes up the tasks of the last run, but starts none yet.
 * Copies what it needs of the settings. `boot_id` tells one boot of the machine from another, "" when
 * that is not known. `events` (copied) may be NULL. 0 or a negative errno (logged). */
int manager_create(const struct settings *settings, const char *boot_id, struct privsep *privsep,
                   const struct manager_events *events, struct manager **ret_manager);
/* Where the service itself answers, which no download may reach. Before manager_start; copied. 0 or
 * -ENOMEM. */
int manager_set_listeners(struct manager *manager, const struct address_endpoint *listeners,
                          size_t count);
/* Workers begin. 0 or a negative errno (logged). */
int manager_start(struct manager *manager);
/* Answers every outstanding reply (-ESHUTDOWN where nothing was done), leaves running downloads to the
 * next start, commits, ends all threads. Calls after it are answered -ESHUTDOWN. 0; -ETIMEDOUT: the
 * kernel does not let go of some thread; what that has in hand is not answered, all else is done and
 * committed, and the process has to end without manager_destroy. */
int manager_stop(struct manager *manager);
void manager_destroy(struct manager *manager);
/* New settings after a reload. */
void manager_reload(struct manager *manager, const struct settings *settings);

/* A task as people see it: the record, and what only those know who have it in hand. */
struct manager_view {
    const struct task *task; /* its state is the one of now */
    bool waits;
    enum queue_reason reason; /* with `waits`: why ... */
    int64_t until; /* ... and until when (ms since the epoch), 0: nobody knows */
    int64_t bytes_done; /* right now */
    int64_t bytes_per_second; /* -1: does not run */
};

/*
 * The outcome of a verb: called exactly once, on another thread or before the verb returns, no lock
 * held. `error` is 0 or a negative errno, then `message` is a sentence for the person who asked.
 * `view` (borrowed) comes with what is about one task, `count` with clear.
 */
struct manager_reply {
    int error;
    const char *message;
    const struct manager_view *view;
    bool twin; /* add with TASK_SKIP: an unfinished task has that dest already; `view` is that one */
    size_t count;
};
typedef void (*manager_done)(void *data, const struct manager_reply *reply);

struct manager_add { /* borrowed for the call */
    uid_t uid;
    const char *user;
    const char *url; /* scheme checked, at most API_URL_MAX */
    const char *directory; /* absolute or ~/..., at most API_PATH_MAX; NULL: the default one */
    const char *name; /* a file name (checked), or NULL: from the URL */
    bool classic; /* the name from the URL is final */
    enum task_if_exists if_exists;
    const char *checksum; /* normalised (checksum.h), or NULL */
    const char *headers; /* "Name: value\n"... (checked), or NULL */
    const char *username; /* to log in with at the origin, or NULL: what the URL says */
    const char *password;
    int retries; /* -1: as configured */
    int priority;
    int64_t not_before; /* ms since the epoch; 0: as soon as it can */
    bool paused; /* begins PAUSED */
};

/* Replies after the commit with the task as it was added. -EDQUOT: as many of the user's wait as
 * may (max-waiting-per-user); -EACCES: the user cannot write there; -EIO: not now (the message says
 * why); -EEXIST: with TASK_OVERWRITE, an unfinished task has that dest; -ENOSPC, -EIO: the
 * store could not; -ESHUTDOWN. */
void manager_add(struct manager *manager, const struct manager_add *add, manager_done done,
                 void *data);

/* The following are about one task, by id or prefix, among the tasks of `scope`: -ENOENT, -EMLINK
 * (ambiguous); -EBUSY: its state does not take that verb, the message says what would help. They reply
 * with the task as it is then, after the commit. */
void manager_find(struct manager *manager, uid_t scope, const char *prefix, manager_done done,
                  void *data);
void manager_hold(struct manager *manager, uid_t scope, const char *prefix, manager_done done,
                  void *data);
void manager_release(struct manager *manager, uid_t scope, const char *prefix, manager_done done,
                     void *data);
/* `keep`: the part file stays. */
void manager_cancel(struct manager *manager, uid_t scope, const char *prefix, bool keep,
                    manager_done done, void *data);
void manager_retry(struct manager *manager, uid_t scope, const char *prefix, manager_done done,
                   void *data);
/* An ended task is removed; `delete_file`: its file too, if it is still the one that was written. */
void manager_forget(struct manager *manager, uid_t scope, const char *prefix, bool delete_file,
                    manager_done done, void *data);

/* Waiting ones become CLEARED; replies after the commit, counters moved. */
void manager_clear(struct manager *manager, uid_t scope, manager_done done, void *data);
/* `seconds` 0: until resumed. Replies after the commit. */
void manager_pause(struct manager *manager, uid_t scope, unsigned seconds, manager_done done,
                   void *data);
void manager_resume(struct manager *manager, uid_t scope, manager_done done, void *data);

/* Replies when the queue's lock could be had and the store's writer has come round, whatever the store
 * could do: for the watchdog. No file system of a user is in that way. */
void manager_prove_alive(struct manager *manager, manager_done done, void *data);

/* Whether events are told; at first they are not. */
void manager_watch(struct manager *manager, bool on);
/* A task that is DOWNLOADING, right now; strings are borrowed. */
struct manager_running {
    const char *id;
    uid_t uid;
    const char *url;
    int64_t bytes_done;
    int64_t bytes_total; /* -1: not known */
    int64_t bytes_per_second;
    int ranges;
};
/* Called under a lock: quick, and calls nobody. */
typedef void (*manager_see)(void *data, const struct manager_running *running);
void manager_each_running(struct manager *manager, manager_see see, void *data);

/* These two answer at once. */
void manager_stats(struct manager *manager, struct stats_snapshot *ret_snapshot);
int manager_set_max_tasks(struct manager *manager, unsigned number);
