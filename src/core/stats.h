/*
 * Counters: how many tasks are in which state, and every HTTP response of the last 600 seconds by
 * status code, as a true sliding window in steps of one second. Pure: the time is given with each
 * call (milliseconds of a clock that never goes back). Thread safe.
 */
#pragma once

#include <stdint.h>

#include "core/task.h"

#define STATS_WINDOW_SECONDS 600
/* Different codes held apart; what is more counts in the total only. */
#define STATS_CODES_MAX 64

#define STATS_STEP_SECONDS 10
#define STATS_STEPS        (STATS_WINDOW_SECONDS / STATS_STEP_SECONDS)

struct stats;

/* The window in steps, the oldest first; the last one is under way. */
struct stats_series {
    uint64_t bytes[STATS_STEPS]; /* of files, that came */
    uint64_t responses[STATS_STEPS];
};

struct stats_snapshot {
    uint64_t tasks[TASK_STATES];
    uint64_t responses_total;
    unsigned codes; /* how many of the following are set, ascending by code, none with count 0 */
    struct {
        int code;
        uint64_t count;
    } by_code[STATS_CODES_MAX];
};

#define STATS_CODE_MIN 100
#define STATS_CODE_MAX 599
/* Since the start: what only grows. */
struct stats_totals {
    uint64_t bytes;
    uint64_t responses[STATS_CODE_MAX - STATS_CODE_MIN + 1]; /* by code */
    uint64_t other_responses;
};

int stats_create(struct stats **ret_stats); /* 0 or -ENOMEM */
void stats_destroy(struct stats *stats);

/* A task appeared in `state`, or left one for another; `count` of them at once. One that is retried
 * may have ended in an earlier run and so never have been counted: no ended state goes below 0. */
void stats_enter(struct stats *stats, enum task_state state, uint64_t count);
void stats_move(struct stats *stats, enum task_state from, enum task_state to, uint64_t count);
/* A response with this status came at `now`. */
void stats_response(struct stats *stats, int code, int64_t now);
/* So many bytes of files have come at `now`, or since the last call. */
void stats_bytes(struct stats *stats, uint64_t bytes, int64_t now);
void stats_read_series(struct stats *stats, int64_t now, struct stats_series *ret_series);
void stats_read_totals(struct stats *stats, struct stats_totals *ret_totals);
void stats_read(struct stats *stats, int64_t now, struct stats_snapshot *ret_snapshot);
