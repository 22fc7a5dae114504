/*
 * Lanes: for each user a thread of their own that does their jobs in batches, made at the first job
 * and ended after idling, so that a file system that does not answer delays its user alone.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "privsep/files.h"

struct lanes;

struct lane_job { /* at the head of the caller's own struct */
    struct lane_job *next;
};

/* All jobs that waited, in their order, on the lane's thread; they are the callee's now. `channel` is
 * the user's filer (NULL without files), kept open while the lane lives; the callee may close it and
 * set NULL: the next batch has a new one. */
typedef void (*lane_work)(void *data, uid_t uid, struct files_channel **channel,
                          struct lane_job *jobs);

/* `files` may be NULL: jobs that need none. `idle`: ms. 0 or -ENOMEM. */
int lanes_create(struct files *files, int64_t idle, lane_work work, void *data,
                 struct lanes **ret_lanes);
/* 0, -ESHUTDOWN after lanes_close, or another errno when no thread can be made; the job stays the
 * caller's then. */
int lanes_put(struct lanes *lanes, uid_t uid, struct lane_job *job);
/* The user's lane is there from now on, so that lanes_put can fail with -ESHUTDOWN alone. 0, or as
 * lanes_put; paired with lanes_unpin. */
int lanes_pin(struct lanes *lanes, uid_t uid);
void lanes_unpin(struct lanes *lanes, uid_t uid);
/* For the callee: this job of its own lane comes again, in `ms` or when the lanes are closed. */
void lanes_defer(struct lanes *lanes, uid_t uid, struct lane_job *job, int64_t ms);
/* Jobs of this user that no batch has taken yet. */
size_t lanes_waiting(struct lanes *lanes, uid_t uid);
/* No more jobs are taken; those there are done as usual. */
void lanes_close(struct lanes *lanes);
/* Waits until all lanes have ended after lanes_close, at most `timeout` ms (-1: for ever). 0 or
 * -ETIMEDOUT. */
int lanes_wait(struct lanes *lanes, int64_t timeout);
/* All lanes have ended. NULL is fine. */
void lanes_destroy(struct lanes *lanes);
