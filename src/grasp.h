/* Which tasks the verbs have in hand: one verb has a task at most, so that each sees what the one
 * before it made true. Thread safe; calls nobody. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct grasps;

int grasps_create(struct grasps **ret_grasps); /* 0 or -ENOMEM */
void grasps_destroy(struct grasps *grasps);    /* NULL is fine */

/* By a verb for one task. Zeroed, it has none. */
struct grasp {
    int64_t row;
    struct grasp *next; /* protected by the lock */
};
/* False: another verb has the task. */
bool grasp_one(struct grasps *grasps, struct grasp *grasp, int64_t row);
/* Fine if it has none. */
void grasp_let_go(struct grasps *grasps, struct grasp *grasp);

/* By a verb for many; zeroed, it has none. The rows are the caller's, in their order, and stay as
 * they are until it has let go. */
struct grasp_many {
    const int64_t *rows;
    size_t count;
    struct grasp_many *next; /* protected by the lock */
};
/* Waits at most `ms` until no other verb for many has one of these tasks. False: one has still.
 * True: no other verb gets any of them from now on, but verbs for one may have some still. */
bool grasp_many(struct grasps *grasps, struct grasp_many *many, const int64_t *rows, size_t count,
                int64_t ms);
void grasp_many_let_go(struct grasps *grasps, struct grasp_many *many);
/* Waits at most `ms` until verbs for one have none of them any more. False: some have. */
bool grasp_many_is_whole(struct grasps *grasps, const struct grasp_many *many, int64_t ms);
/* The rows of those that they have still, into `ret_rows`, with room for all; how many. */
size_t grasp_many_missing(struct grasps *grasps, const struct grasp_many *many, int64_t *ret_rows);
