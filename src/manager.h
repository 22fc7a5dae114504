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
    unsigned position; /* in its user's line, from 1; 0: it stands in none, or too far back */
    int64_t bytes_done; /* right now */
    int64_t bytes_per_second; /* -1: does not run */
    unsigned ranges; /* fetched now */
};

/*
 * The outcome of a verb: called exactly once, on another thread or before the verb returns, no lock
 * held. `error` is 0 or a negative errno, then `message` is a sentence for the person who asked.
 * `view` (borrowed) comes with what is about one task, `count` with clear; with what is about many, it
 * is the first of `count`.
 */
struct manager_reply {
    int error;
    const char *message;
    const struct manager_view *view;
    bool twin; /* add with TASK_SKIP: an unfinished task has that dest already; `view` is that one */
    bool everybody; /* pause: not one user's alone */
    int64_t until; /* pause: ms since the epoch, 0: until resumed */
    size_t count;
    int64_t next; /* list: where the next page begins; 0: there is none */
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
    const char *label; /* or NULL */
    const char *mirrors; /* other URLs of the same file (checked as `url`), each ended by '\n', in the
                          * order they are tried; or NULL */
    const char *after; /* the id of a task of the same user, or a prefix of it, which has to be FINISHED
                        * first; or NULL */
    int64_t rate_limit; /* bytes per second; 0: none of its own */
    int max_ranges; /* 0: as configured */
    bool paused; /* begins PAUSED */
};

/* Replies after the commit with the task as it was added. -EDOM: what a field refers to is not there
 * (the message names it); -EDQUOT: as many of the user's wait as
 * may (max-waiting-per-user); -EACCES: the user cannot write there; -EIO: not now (the message says
 * why); -EEXIST: with TASK_OVERWRITE, an unfinished task has that dest; -ENOSPC, -EIO: the
 * store could not; -ESHUTDOWN. */
void manager_add(struct manager *manager, const struct manager_add *add, manager_done done,
                 void *data);

#define MANAGER_ADD_MAX 10000
/* The same for many (up to MANAGER_ADD_MAX) of one user, all or none; messages say which one is wrong.
 * Replies with all of them, in the same order. */
void manager_add_many(struct manager *manager, const struct manager_add *adds, size_t count,
                      manager_done done, void *data);

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
/* To the head of its user's line, with the priority of the one that led it. */
void manager_first(struct manager *manager, uid_t scope, const char *prefix, manager_done done,
                   void *data);

enum manager_change_field { /* or'ed */
    MANAGER_CHANGE_URL = 1,
    MANAGER_CHANGE_PRIORITY = 2,
    MANAGER_CHANGE_NOT_BEFORE = 4,
    MANAGER_CHANGE_LABEL = 8,
    MANAGER_CHANGE_RATE_LIMIT = 16,
    MANAGER_CHANGE_MAX_RANGES = 32,
};
struct manager_change { /* borrowed for the call */
    unsigned fields; /* enum manager_change_field: which of these count */
    const char *url; /* keeps the bytes; of another origin, it drops header fields and login */
    int priority;
    int64_t not_before;
    const char *label; /* "": none */
    int64_t rate_limit;
    int max_ranges;
};
/* What waits moves in the line, if need be; what runs goes on by the new limits at once. -EBUSY: the state
 * does not allow it. */
void manager_change(struct manager *manager, uid_t scope, const char *prefix,
                    const struct manager_change *change, manager_done done, void *data);
/* An ended task is removed; `delete_file`: its file too, if it is still the one that was written. */
void manager_forget(struct manager *manager, uid_t scope, const char *prefix, bool delete_file,
                    manager_done done, void *data);

/* Which tasks are meant; borrowed for the call. */
struct manager_filter {
    uid_t scope;
    uid_t reader;      /* who asks: in others' URLs `text` is looked for without their queries */
    const char *user;  /* by name; NULL: any of the scope's */
    unsigned states;   /* 1 << state, or'ed; 0: any */
    const char *host;  /* "example.org", "example.org:8080"; NULL: any */
    const char *text;  /* in URL, name or label, ASCII letters of either case alike; NULL: any */
    int64_t since, until; /* those that had not ended before, and were there then; ms since the
                           * epoch, 0: any */
};
#define MANAGER_LIST_MAX 1000
/* The newest `limit` (at most MANAGER_LIST_MAX) from `after` on (an earlier `next`; 0: from the newest
 * of all). It looks for a second at most: there may be fewer, and a next page all the same. */
void manager_list(struct manager *manager, const struct manager_filter *filter, int64_t after,
                  size_t limit, manager_done done, void *data);

enum manager_verb {
    MANAGER_HOLD,
    MANAGER_RELEASE,
    MANAGER_CANCEL,
    MANAGER_CANCEL_KEEP,
    MANAGER_RETRY,
    MANAGER_FORGET,
    MANAGER_FORGET_FILE,
};
/* A verb for each task of the filter, or with these ids (or prefixes) among those of its scope; those
 * that do not take it are skipped. Replies with the count of those that did. */
void manager_do_many(struct manager *manager, enum manager_verb verb,
                     const struct manager_filter *filter, const char *const *ids, size_t id_count,
                     manager_done done, void *data);

/* Waiting ones become CLEARED; replies after the commit, counters moved. */
void manager_clear(struct manager *manager, uid_t scope, manager_done done, void *data);
/* `seconds` 0: until resumed. Replies after the commit, with the time that it is until. */
void manager_pause(struct manager *manager, uid_t scope, unsigned seconds, manager_done done,
                   void *data);
/* `until`: ms since the epoch. */
void manager_pause_until(struct manager *manager, uid_t scope, int64_t until, manager_done done,
                         void *data);
/* Replies with the count of pauses that this ended, 0 or 1. */
void manager_resume(struct manager *manager, uid_t scope, manager_done done, void *data);

/* Replies when the queue's lock could be had and the store's writer has come round, whatever the store
 * could do: for the watchdog. No file system of a user is in that way. */
void manager_prove_alive(struct manager *manager, manager_done done, void *data);

struct manager_totals { /* what only grows */
    struct stats_totals stats;
    uint64_t commits; /* of the store */
    double commit_seconds; /* that they took together */
    int64_t started_at; /* ms since the epoch */
};
void manager_totals(struct manager *manager, struct manager_totals *ret_totals);

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

/* What is to be seen at a glance. */
struct manager_overview {
    const uint64_t *own, *all; /* tasks by state; of one's own those that are kept, of all as /stats */
    const struct stats_series *series;
    struct queue_pauses pauses;
    const char *directory; /* the default one; NULL: it cannot be looked at ... */
    int64_t free;          /* ... else how many bytes this user has room for there */
};
/* The user's tasks by state, as an overview has them. Reads the store: not on a thread that has others
 * to serve. 0, or a negative errno. */
int manager_count_own(struct manager *manager, uid_t uid, uint64_t ret_own[static TASK_STATES]);
typedef void (*manager_looked)(void *data, int error, const struct manager_overview *overview);
/* 0, or a negative errno as of the verbs. */
void manager_overview(struct manager *manager, uid_t uid, manager_looked looked, void *data);

/* What can be changed at run time, until the next start or reload. */
enum manager_setting {
    MANAGER_MAX_TASKS,
    MANAGER_RATE_LIMIT, /* bytes per second for all together, 0: off */
    MANAGER_MAX_PER_HOST,
    MANAGER_SETTINGS, /* how many */
};
struct manager_setting_view {
    int64_t value;
    enum settings_source source;
    char who[API_USER_MAX + 1]; /* set it at run time; "": nobody did, and `source` counts */
    int64_t until;              /* then `source` counts again; ms since the epoch, 0: does not end */
};
struct manager_settings_change { /* borrowed */
    bool set[MANAGER_SETTINGS];
    int64_t value[MANAGER_SETTINGS];
    int64_t until; /* of the rate limit; ms since the epoch, 0: until changed */
    const char *who;
};

/* These answer at once. */
void manager_stats(struct manager *manager, struct stats_snapshot *ret_snapshot);
void manager_settings(struct manager *manager, struct manager_setting_view ret_views[MANAGER_SETTINGS]);
/* They are in force when it returns; workers that have to be started come soon. 0 or -ESHUTDOWN. */
int manager_change_settings(struct manager *manager, const struct manager_settings_change *change);
