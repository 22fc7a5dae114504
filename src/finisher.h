/*
 * The finisher: from "all bytes are here" to "durable under the final name", in batches per user:
 * data synced, FINISHING committed with the final name, renamed, directory synced, FINISHED committed.
 * Whatever moment the power fails at, the next start finds out what is left to do.
 */
#pragma once

#include "engine.h"

/* With more than these waiting (and as many in the batch in hand), a user's next downloads are held
 * back: at most 1,000 files of a user are FINISHING, besides those that were running already. */
#define FINISHER_LIMIT 500

struct finisher;

/* 0 or -ENOMEM. The engine outlives it. */
int finisher_create(struct engine *engine, struct finisher **ret_finisher);
/* What is in hand is finished, within `timeout` ms: 0, or -ETIMEDOUT. What is not is taken up at the
 * next start. */
int finisher_stop(struct finisher *finisher, int64_t timeout);
void finisher_destroy(struct finisher *finisher);

/* A place for one task of this user's, made before it is needed: what is all here can be finished then,
 * whatever is short. 0, or a negative errno. */
struct finish_job;
int finisher_reserve(struct finisher *finisher, uid_t uid, struct finish_job **ret_place);
/* One that was not needed. NULL is fine. */
void finisher_unreserve(struct finisher *finisher, uid_t uid, struct finish_job *place);
/* Takes a task (its content is moved) that is FINISHING and whole in its part file, with its place, the
 * name and the descriptor of that file (which is `file`), and its entry. */
void finisher_take(struct finisher *finisher, struct finish_job *place, struct task *task, char *part,
                   int fd, const struct files_stat *file, struct active_entry *entry);
/* Takes a task (its content is moved) that was FINISHING when the last run ended. 0, or a negative
 * errno: the next start has to do it. */
int finisher_resume(struct finisher *finisher, struct task *task);
/* Removes the part file of an ended task (its content is moved; drop_part), some time soon. */
void finisher_remove_part(struct finisher *finisher, struct task *task);
/* Has what the task says is written behind `fd` (the caller's) made durable, and tells the task's entry,
 * if that still has this version of the file. */
void finisher_checkpoint(struct finisher *finisher, const struct task *task, uint64_t version, int fd);

/* Something that has to come after all that was asked for before: done on the user's lane. `channel` is
 * the user's filer, NULL when there is none to be had. */
typedef void (*finisher_work)(void *data, struct files_channel *channel);
/* 0, or a negative errno: `work` is not called then. */
int finisher_call(struct finisher *finisher, uid_t uid, finisher_work work, void *data);
