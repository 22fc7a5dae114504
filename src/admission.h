/*
 * Admission: before a task is stored, its user's filer says whether the directory is theirs to write,
 * and the final name is settled: the first of name, name-1, ... that is neither on disk nor the dest
 * of an unfinished task. A file system that does not answer within 5 s is not waited for: the task is
 * stored as not admitted, its user is held back, and the worker that starts it admits it then. So does
 * one that is full: the task waits for room.
 */
#pragma once

#include "engine.h"
#include "manager.h"

struct admission;

/* 0 or -ENOMEM. The engine outlives it. */
int admission_create(struct engine *engine, struct admission **ret_admission);
/* What is outstanding is answered within `timeout` ms, -ESHUTDOWN where nothing was done; then
 * -ETIMEDOUT or 0. */
int admission_stop(struct admission *admission, int64_t timeout);
void admission_destroy(struct admission *admission);

/* As manager_add. */
void admission_add(struct admission *admission, const struct manager_add *add, manager_done done,
                   void *data);

/* For a worker: settles directory and name of a stored task that was not admitted, and stores that. 0 (task->admitted); -EEXIST: the name is taken, and the task says not to take another; or
 * a negative errno as of files_prepare. */
int admission_settle(struct admission *admission, struct files_channel *channel,
                     struct task *task);
/* The server named the file: the task goes by that name, or a numbered one, from here on, which is
 * stored. 0; or a negative errno as above (task->name as it was). Takes `name`. */
int admission_rename(struct admission *admission, struct files_channel *channel, struct task *task,
                     char *name);

/* What adding many at once (batch) has in common with adding one. */

/* Makes the task that is asked for, not admitted yet. 0 or -ENOMEM; the caller releases it. */
int admission_fill(struct engine *engine, const struct manager_add *add, struct task *task);
/* The id of the task that it is to come after, in place of the beginning of one. 0; -EDOM: there is
 * none, or several (`message` says it); or a negative errno of the store's. May block. */
int admission_find_after(struct engine *engine, struct task *task, char message[static 512]);
/* Keeps others from a dest that is on its way into the store, and takes it (from malloc), when true. */
bool admission_reserve(struct admission *admission, char *dest);
/* Lets others have it, and frees it. NULL is fine. */
void admission_unreserve(struct admission *admission, char *dest);
/* Whether a task can wait for a directory that failed in this way, not admitted yet. */
bool admission_can_wait(int error);
/* Whether it may well work another time. */
bool admission_may_pass(int error);
/* The user's file system is given up on for now; closes the channel. */
void admission_hold_user(struct engine *engine, uid_t uid, struct files_channel **channel);
/* A sentence about a store that could not. */
const char *admission_store_sentence(int error);

/* A sentence about a directory that cannot be used. */
void admission_describe(int error, const char *directory, char message[static 512]);
