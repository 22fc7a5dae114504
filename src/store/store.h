/*
 * The store: tasks and pauses, durable. Writes are queued and committed in groups by one writer
 * thread: BEGIN, everything that waits, COMMIT (synced to disk), then the callbacks. Reads see what
 * is committed. All functions are thread safe and keep nothing they were given (deep copies).
 *
 * Nothing here knows SQL; another implementation may stand behind this header.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/task.h"

/* In place of a uid: everybody. */
#define STORE_EVERYBODY ((uid_t)-1)

struct store;

/* Called once on a store thread, with no lock held; it may queue more writes. 0 after the commit, or
 * a negative errno: -EEXIST (the dest is taken by an unfinished task), -ENOENT (an update of a row
 * that is not there), -ENOSPC (disk full or quota), -EIO, -EUCLEAN (the file is damaged), -EBUSY
 * (another program holds it for more than 5 s), -ENOMEM. But for the first two, everything that was
 * to be committed with it failed too. */
typedef void (*store_done)(void *data, int result);

/* Opens or makes the database in `directory` (which exists), brings its schema up to date, starts
 * the threads. 0; -EUCLEAN (a newer version's, or damaged: `message` says it), or another errno;
 * `message` gets a sentence on every failure. */
int store_open(const char *directory, struct store **ret_store, char message[static 256]);
/* Commits what waits (and what callbacks add meanwhile), calls back, ends the threads, closes. No
 * other thread uses the store any more. NULL is fine. */
void store_close(struct store *store);

/* How many commits there were since it was opened, and how long they took together. At once. */
void store_commits(struct store *store, uint64_t *ret_count, double *ret_seconds);

/* --- writes: return 0 (then `done` is called, if not NULL) or -ENOMEM (then it is not) --- */

/* Adds a task as it is. `ret_row` gets its row before `done` is called; it must live until then. */
int store_add(struct store *store, const struct task *task, int64_t *ret_row, store_done done,
              void *data);
/* The same for many, all or none; `tasks` and their rows, which are set before, are the store's until
 * `done` is called. */
int store_add_many(struct store *store, struct task *const *tasks, size_t count, store_done done,
                   void *data);
/* Writes everything about the task with this row that comes of its way: all but row, id, uid, user,
 * created_at, what store_change writes, and the secrets, which are there as they were added, until the task is FINISHED,
 * forgotten or pruned. Some seconds later nothing of them is left in the files of the store. */
int store_update(struct store *store, const struct task *task, store_done done, void *data);
/* The same, but not worth a sync of its own: 500 ms later at the latest it goes with a commit, unless
 * another update of the task comes first. For a task that has not ended, whose directory, name and
 * `admitted` are as they were stored. */
int store_update_lazily(struct store *store, const struct task *task);

/* What people change of a task: label, priority, rate_limit and max_ranges; with `place` url, host,
 * mirror, was_global, failures, wait and not_before too, with `secrets` those. -ENOENT. */
struct store_change {
    bool place, secrets;
};
int store_change(struct store *store, const struct task *task, struct store_change what,
                 store_done done, void *data);

/* What store_clear and store_prune tell of the tasks that may have left a part file behind: called on
 * the writer thread after the commit, before `done`. */
typedef void (*store_part)(void *data, const struct task *task);
/* Tasks that were taken out of the queue become CLEARED at `when` (ms since the epoch) and wait for
 * nothing any more, in one transaction; a part file is to be dropped (drop_part). ENQUEUED ones, or
 * DOWNLOADING ones, whose way back to the queue could not be stored; others are left as they are.
 * `ret_cleared` (or NULL) gets how many before `done` is called; it must live until then. */
int store_clear(struct store *store, const int64_t *rows, size_t count, int64_t when,
                size_t *ret_cleared, store_part part, store_done done, void *data);

/* What people ask of many tasks at once; each changes a task as the verb for one does. */
enum store_verb {
    STORE_HOLD,
    STORE_RELEASE,
    STORE_CANCEL, /* a part file is to be dropped (drop_part) */
    STORE_CANCEL_KEEP,
    STORE_RETRY, /* of one that had come to a mirror the host is not known then (0) */
    STORE_FORGET,
    STORE_VERBS, /* how many */
};
struct store_many { /* the caller's, until `done` is called */
    enum store_verb verb;
    const int64_t *rows;
    size_t count;
    unsigned states; /* 1 << state, or'ed: those in others are left as they are */
    int64_t when;    /* ms since the epoch */
    uint8_t *ret_before; /* of each row: the state that it was in, TASK_STATES: it was left */
    const atomic_bool *give_up; /* set: the rest is left to the next start */
    bool is_bound;              /* zeroed at first, and the store's; it happens in any case */
    int64_t errand;             /* likewise */
    size_t next;
};
/*
 * All of them or none, whenever the process ends. Up to STORE_MANY_AT_ONCE go in one transaction. More
 * would hold up everybody else's writes, so what is to be done is stored first, in one transaction, then
 * done in turn with the others' writes, by as many at a time; what is cut short, the next store_open does.
 * Nobody else may write these rows meanwhile. A failure before anything is stored has changed nothing;
 * after one with `is_bound` set ask for the same again, until it succeeds. -ESHUTDOWN: it was given up.
 */
#define STORE_MANY_AT_ONCE 1000
int store_do_many(struct store *store, struct store_many *many, store_done done, void *data);

/* Removes an ended task. `done` gets -ENOENT when there is no such row, -EBUSY when it has not
 * ended. */
int store_forget(struct store *store, int64_t row, store_done done, void *data);
/* Removes ended tasks that ended before `before` (ms since the epoch), and those beyond the newest
 * `keep` ended ones (UINT64_MAX: all), at most `max` of them, the oldest first; not what an unfinished
 * one waits for (after). Those that may have
 * left a part file stay, and `part` is told of them (a thousand each time, in turn): to be forgotten
 * once it is gone. What it costs does not grow with what stays for good. */
int store_prune(struct store *store, int64_t before, uint64_t keep, unsigned max, store_part part,
                store_done done, void *data);

/* Writes nothing: `done` comes when the writer thread has come round, after all that was queued
 * before. */
int store_come_round(struct store *store, store_done done, void *data);

struct store_pause {
    uid_t uid; /* or STORE_EVERYBODY */
    int64_t until; /* ms since the epoch; 0: until resumed */
    int64_t length; /* ms from its start to `until`; 0: until resumed */
};
/* Replaces the pause of that scope. */
int store_set_pause(struct store *store, const struct store_pause *pause, store_done done,
                    void *data);
int store_end_pause(struct store *store, uid_t uid, store_done done, void *data);

/* Waits until what was asked for before is committed, or has failed, and called back. */
void store_sync(struct store *store);

/* --- reads: block for a short while, never for a commit; -EIO, -EUCLEAN, -ENOMEM --- */

/* 0, -ENOENT or one of these; on success the caller releases `ret_task`. */
int store_fetch(struct store *store, int64_t row, struct task *ret_task);
/* By id or a prefix of it (of at least API_ID_PREFIX_MIN characters, case of letters ignored), among
 * the tasks of `uid` or of everybody. 0; -ENOENT; -EMLINK when several match. */
int store_find(struct store *store, uid_t uid, const char *prefix, struct task *ret_task);
/* The ids of those that begin like this, at most `max`, in their order. -EINVAL: no prefix. */
int store_find_ids(struct store *store, uid_t uid, const char *prefix, size_t max,
                   char (*ret_ids)[API_ID_LENGTH + 1], size_t *ret_count);
/* 1 when an unfinished task, admitted, has this dest; 0; or a negative errno. */
int store_dest_taken(struct store *store, const char *directory, const char *name);
/* The same for many names. 0 or a negative errno. */
int store_dests_taken(struct store *store, const char *directory, const char *const *names,
                      size_t count, bool *ret_taken);
/* The dest of an unfinished, admitted task: that task. 0, -ENOENT or as above; the caller releases
 * it. */
int store_find_dest(struct store *store, const char *directory, const char *name,
                    struct task *ret_task);

/* Which tasks are meant. Zeroed but for `uid` and `reader`: all of that user's. */
struct store_filter {
    uid_t uid;            /* or STORE_EVERYBODY */
    uid_t reader;         /* who asks: in others' URLs `text` is looked for without their queries */
    unsigned states;      /* 1 << state, or'ed; 0: any */
    uint64_t host;        /* 0: any */
    const char *text;     /* in URL, name or label, ASCII letters of either case alike; NULL: any */
    int64_t since, until; /* those that had not ended before, and were there then; ms since the
                           * epoch, 0: any */
};
/* The rows, below `before` (INT64_MAX: all), at most `max` of them, the newest first. It looks at some
 * thousand rows and leaves in `before` where to go on, 0: it has seen all. States are those of the
 * store, which tasks in hand are ahead of. */
int store_list(struct store *store, const struct store_filter *filter, int64_t *before, size_t max,
               int64_t *ret_rows, size_t *ret_count);
/* 1: the filter lets this row through; 0: not, or there is no such row; or a negative errno. */
int store_fits(struct store *store, const struct store_filter *filter, int64_t row);
/* Of one moment, without their secrets; the row of one that is not there any more is 0. The caller
 * releases them, also after an error; `ret_tasks` is zeroed. */
int store_fetch_many(struct store *store, const int64_t *rows, size_t count,
                     struct task *ret_tasks);
/* How many of a user's are in which state, of those that ended or are PAUSED; the others are left as
 * they are. What it costs grows with those of all users. */
int store_count_at_rest(struct store *store, uid_t uid, uint64_t ret_counts[TASK_STATES]);
/* The uid that this user has, or had, tasks with. 0, or -ENOENT. */
int store_uid_of(struct store *store, const char *user, uid_t *ret_uid);

/* What the queue has to know of a task. */
struct store_listed {
    int64_t row;
    uid_t uid;
    enum task_state state;
    int priority;
    uint64_t host; /* 0: not known */
    enum task_wait wait; /* and until when, ms since the epoch */
    int64_t not_before;
};
/* All tasks that have not ended, in the order of rows. A callback's non-zero ends the walk with that
 * value. */
typedef int (*store_each)(void *data, const struct store_listed *listed);
int store_each_unfinished(struct store *store, store_each each, void *data);
/* A task that has not ended and has `after`. */
struct store_dependant {
    char after[API_ID_LENGTH + 1];
    int64_t row;
};
/* Those behind `last`, in the order of `after`, then row, at most `max`. */
int store_list_dependants(struct store *store, const struct store_dependant *last, size_t max,
                          struct store_dependant *ret_list, size_t *ret_count);
/* Likewise those whose part file is to be removed (drop_part). */
int store_each_stray(struct store *store, store_each each, void *data);
/* After much was read: what is cached of it is forgotten. */
void store_give_memory_back(struct store *store);
/* The key by which hosts get their numbers: random, made with the database and never changed. */
#define STORE_HOST_KEY_SIZE 32
int store_host_key(struct store *store, uint8_t ret_key[static STORE_HOST_KEY_SIZE]);
/* The pauses in force; the caller frees them. */
int store_pauses(struct store *store, struct store_pause **ret_pauses, size_t *ret_count);
