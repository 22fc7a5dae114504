/*
 * The service's end of the filers: what a user's file operations look like to everybody else. A
 * channel is one conversation with one user's filer; filers are started when first needed, ended
 * after idling, and started again when they die: a call in progress is then repeated once.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "privsep/privsep.h"

struct files; /* all filers; thread safe */
struct files_channel; /* used by one thread at a time */

struct files_stat {
    mode_t mode;
    dev_t dev;
    ino_t ino;
    int64_t size;
    int64_t allocated; /* bytes on disk; of an open part alone */
};

/*
 * Filers that have had no open channel for `idle` ms are ended. `on_answer` is called (on a thread of
 * files, or by files_close) when a filer that had let a call time out answers again, or is gone:
 * trying again makes sense. That comes after the files_close of the channel with that call. `privsep`
 * outlives files. 0 or a negative errno.
 */
int files_create(struct privsep *privsep, mode_t umask, int64_t idle,
                 void (*on_answer)(void *data, uid_t uid), void *data, struct files **ret_files);
/* The configuration changed: the filers that run go by the old one, and are let go; the next call
 * starts new ones, with this umask. What is under way is repeated, as when a filer dies. */
void files_renew(struct files *files, mode_t umask);
/* Every call, in progress or to come, returns -ESHUTDOWN at once; `on_answer` is not called any
 * more (one call of it may still be under way). */
void files_shutdown(struct files *files);
/* All channels are closed, those aside too. NULL is fine. */
void files_destroy(struct files *files);

/* A channel to the filer of `uid`, made at its first call. 0 or -ENOMEM. */
int files_open(struct files *files, uid_t uid, struct files_channel **ret_channel);
/* NULL is fine. A channel whose last call timed out is kept aside until its answer comes. */
void files_close(struct files_channel *channel);
uid_t files_uid(const struct files_channel *channel);
/* A call has timed out: every other one does at once, until it is closed. */
bool files_is_stuck(const struct files_channel *channel);

/*
 * All calls: `timeout` in ms, -1: none. 0 (or as said), the negative errno of the operation done as
 * the user, -ETIMEDOUT (the file system does not answer: close the channel), -ESHUTDOWN, -EINVAL or
 * -ENAMETOOLONG (a name that cannot be one), -EPERM (a hidden name), -EPIPE (the filer died twice),
 * or what the monitor said about this user: -EACCES (no filer for this uid), -ENOENT (no such
 * user).
 */

/* Expands ~, makes what is missing, sees that files can be made there. `ret_directory` is the
 * caller's. */
int files_prepare(struct files_channel *channel, const char *directory, int timeout,
                  char **ret_directory);
/* The same, and how many bytes there is room for. */
int files_room(struct files_channel *channel, const char *directory, int timeout,
               char **ret_directory, int64_t *ret_free);
/* -ENOENT when there is none. Symbolic links are not followed. */
int files_stat(struct files_channel *channel, const char *directory, const char *name, int timeout,
               struct files_stat *ret_stat);
enum files_kind {
    FILES_NOTHING,
    FILES_FILE, /* a regular one */
    FILES_OTHER,
};
#define FILES_NAMES_MAX 10000
/* What is there by these names, at most FILES_NAMES_MAX, in one question. */
int files_stat_many(struct files_channel *channel, const char *directory, const char *const *names,
                    size_t count, int timeout, enum files_kind *ret_kinds);
/* `name` is a part's, NAME.XXXXXXXX.part, as in the calls below. The descriptor (a regular file, read
 * and write, close-on-exec) is the caller's; `ret_stat` says which file it is, as it was just now. */
int files_open_part(struct files_channel *channel, const char *directory, const char *name,
                    int timeout, int *ret_fd, struct files_stat *ret_stat);

struct files_move { /* strings are borrowed */
    const char *directory;
    const char *from; /* a part, a regular file */
    const char *to;
    bool replace; /* else -EEXIST when there is `to`. A directory is never replaced: -EEXIST or
                     -EISDIR */
    dev_t dev; /* which file it is: done already (`from` gone, `to` is it) is 0; 0, 0: not known */
    ino_t ino;
    int result; /* files_rename_all: what a files_rename of it would have returned */
    bool has_time; /* its time of modification becomes ... */
    time_t time;
};
int files_rename(struct files_channel *channel, const struct files_move *move, int timeout);
/* Many, without waiting for each answer in turn. No timeout. */
void files_rename_all(struct files_channel *channel, struct files_move *moves, size_t count);
/* A part; a missing one is fine. */
int files_unlink(struct files_channel *channel, const char *directory, const char *name,
                 int timeout);
/* Any name, only if it is still this regular file: -ESTALE when it is another one. A missing one is fine. */
int files_unlink_if(struct files_channel *channel, const char *directory, const char *name,
                    dev_t dev, ino_t ino, int64_t size, int timeout);
/* The regular file in the directory whose name ends in `suffix` (".XXXXXXXX.part"): -ENOENT;
 * -EACCES (the directory cannot be read); -E2BIG (too many files there to look). The caller frees
 * the name. */
int files_find_part(struct files_channel *channel, const char *directory, const char *suffix,
                    int timeout, char **ret_name);
int files_sync(struct files_channel *channel, const char *directory, int timeout);
