/*
 * One connection to the database file and the statements that the store needs, each prepared once.
 * The only user of SQLite. Not thread safe: a connection belongs to a thread, or to a lock.
 *
 * Unless said otherwise functions return 0, -ENOSPC, -EIO, -EBUSY (another program holds the file),
 * -EUCLEAN (it is damaged) or -ENOMEM.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/task.h"
#include "store/store.h"

struct database;

/* Makes the file if there is none, and brings its schema up to date. Only while this process has no
 * connection to it (POSIX locks: closing any descriptor of a file lets go of all). On failure
 * `message` gets a sentence. */
int database_make(const char *path, char message[static 256]);
/* Connects to a file that was made. */
int database_open(const char *path, struct database **ret_database, char message[static 256]);
/* NULL is fine. The last connection to go folds the log into the file. */
void database_close(struct database *database);
/* Forgets the pages that it keeps in memory. */
void database_give_memory_back(struct database *database);

/* Writes go between begin and commit. After a failed commit, or a write that failed with anything
 * but -EEXIST or -ENOENT, roll back; that never fails. */
int database_begin(struct database *database);
int database_commit(struct database *database);
void database_rollback(struct database *database);

/* Whether something that may be secret was deleted and is in the write-ahead log still. */
bool database_has_wiped(const struct database *database);
/* Between transactions: folds the log into the file and cuts it off. -EBUSY: somebody reads, try
 * again; nobody is waited for. */
int database_truncate_log(struct database *database);

/* -EEXIST: an unfinished task has this dest (or there is this id). */
int database_add(struct database *database, const struct task *task, int64_t *ret_row);
/* All or none; sets their rows. */
int database_add_many(struct database *database, struct task *const *tasks, size_t count);
/* But for the secrets: they are as they were added, and go when the task is FINISHED. -EEXIST as
 * above; -ENOENT: there is no such row. */
int database_update(struct database *database, const struct task *task);
/* As store_change. */
int database_change(struct database *database, const struct task *task, struct store_change what);
/* -ENOENT: the row is not there or not ENQUEUED. */
int database_clear(struct database *database, int64_t row, int64_t when, bool *ret_has_part);
/* -ENOENT. What has not ended stays: false. */
int database_forget(struct database *database, int64_t row, bool *ret_ended);
/* Some of them, from many->next on. After a failure, whichever it is, roll back. */
int database_do_some(struct database *database, const struct store_many *many, size_t count);
/* Remembers what is to be done; forgets it once it is. */
int database_begin_errand(struct database *database, const struct store_many *many,
                          int64_t *ret_errand);
int database_end_errand(struct database *database, int64_t errand);
/* Does what an earlier process has begun, in transactions of its own. */
int database_do_errands(struct database *database);
/* As store_prune; `ret_left_over` (room for `left_over_max`) gets the rows of those that may have left
 * a part file, others each time as long as there are more. */
int database_prune(struct database *database, int64_t before, uint64_t keep, unsigned max,
                   int64_t *ret_left_over, size_t left_over_max, size_t *ret_left_over_count);
int database_set_pause(struct database *database, const struct store_pause *pause);
int database_end_pause(struct database *database, uid_t uid);

/* -ENOENT. The caller releases the task. */
int database_fetch(struct database *database, int64_t row, struct task *ret_task);
/* `prefix` in lower case. -ENOENT; -EMLINK. */
int database_find(struct database *database, uid_t uid, const char *prefix, struct task *ret_task);
/* As store_find_ids, `prefix` in lower case. */
int database_find_ids(struct database *database, uid_t uid, const char *prefix, size_t max,
                      char (*ret_ids)[API_ID_LENGTH + 1], size_t *ret_count);
/* 1, 0 or an error. */
int database_dest_taken(struct database *database, const char *directory, const char *name);
/* In one look: 0 or an error. */
int database_dests_taken(struct database *database, const char *directory,
                         const char *const *names, size_t count, bool *ret_taken);
/* -ENOENT. The caller releases the task. */
int database_find_dest(struct database *database, const char *directory, const char *name,
                       struct task *ret_task);

/* As store_list and store_fits. */
int database_list(struct database *database, const struct store_filter *filter, int64_t *before,
                  size_t max, int64_t *ret_rows, size_t *ret_count);
int database_fits(struct database *database, const struct store_filter *filter, int64_t row);
/* As store_fetch_many. */
int database_fetch_many(struct database *database, const int64_t *rows, size_t count,
                        struct task *ret_tasks);
/* As store_count_at_rest. */
int database_count_at_rest(struct database *database, uid_t uid, uint64_t ret_counts[TASK_STATES]);
/* -ENOENT. */
int database_uid_of(struct database *database, const char *user, uid_t *ret_uid);

/* The next ones, at most `max`, with rows above `after`. */
int database_list_unfinished(struct database *database, int64_t after, size_t max,
                             struct store_listed *ret_list, size_t *ret_count);
/* Those with drop_part. */
int database_list_strays(struct database *database, int64_t after, size_t max,
                         struct store_listed *ret_list, size_t *ret_count);
/* As store_list_dependants. */
int database_list_dependants(struct database *database, const struct store_dependant *last,
                             size_t max, struct store_dependant *ret_list, size_t *ret_count);
int database_host_key(struct database *database, uint8_t ret_key[static STORE_HOST_KEY_SIZE]);
/* The caller frees them. */
int database_list_pauses(struct database *database, struct store_pause **ret_pauses,
                         size_t *ret_count);
