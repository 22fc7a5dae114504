/*
 * The tasks that wait, and which one of a user is next: the highest priority first, then in the
 * order of coming, but none whose host is busy or has asked for patience. Pure and without a lock:
 * the queue, whose part it is, holds its own. Every operation is O(log n), but where it says
 * otherwise.
 *
 * A task is known by its row, a user's tasks by the number of their line.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/heap.h"
#include "core/table.h"

struct waiting_task {
    int64_t row;
    uint64_t host;    /* who serves it: the same number, the same host */
    int8_t priority;  /* higher goes first */
    uint8_t given_back; /* handed through */
    bool out_of_turn; /* told by waiting_next: some of its line may come before it, and are kept */
};

struct waiting {          /* waiting.c only, but for `host_max` and `endless` */
    struct table items;   /* waiting tasks, by row */
    struct table strands; /* those of one line for one host, by both */
    struct table hosts;
    struct table lines;
    struct heap later;   /* items that wait for their time, the first to come on top */
    struct heap held;    /* hosts that asked for patience, the first to be free on top */
    int64_t first, last; /* the order of coming: the numbers given at the head and at the end */
    uint64_t line_keys;
    uint32_t endless;  /* items that wait for no time */
    unsigned host_max; /* tasks that run at one host at once; change it by waiting_set_host_max */
};

void waiting_init(struct waiting *waiting, unsigned host_max);
void waiting_release(struct waiting *waiting);

/* A line for one more user; 0: no memory. */
uint32_t waiting_open(struct waiting *waiting);
/* Nothing may wait in it. */
void waiting_close(struct waiting *waiting, uint32_t line);
/* How many wait in a line, those that wait for their time too. */
uint32_t waiting_length(const struct waiting *waiting, uint32_t line);

/* At the end of those of its priority, or at their head. Its row must not wait yet. 0 or -ENOMEM.
 */
int waiting_push(struct waiting *waiting, uint32_t line, const struct waiting_task *task,
                 bool in_front);
#define WAITING_NEVER INT64_MAX
/* It waits beside its line until waiting_tick comes to `at`, then goes to its head; with
 * WAITING_NEVER that never comes. `why` is kept for waiting_look. 0 or -ENOMEM. */
int waiting_push_later(struct waiting *waiting, uint32_t line, const struct waiting_task *task,
                       int64_t at, uint8_t why);

/* Those that wait for their time because of `why` wait `by` longer. O(n log n) with those that wait
 * for a time. */
void waiting_shift(struct waiting *waiting, uint8_t why, int64_t by);

/* The one of this line whose turn it is; false: none may start. */
bool waiting_next(struct waiting *waiting, uint32_t line, struct waiting_task *ret_task);
/* It starts: it waits no longer, and its host has one more running. */
void waiting_start(struct waiting *waiting, int64_t row);
/* One of this line that was started at this host runs no longer. */
void waiting_end(struct waiting *waiting, uint32_t line, uint64_t host);
/* As many run at this host as may, which alone keeps others from it. */
bool waiting_is_full(const struct waiting *waiting, uint64_t host);
/* How many of this line run at this host; `ret_more`: others would, if their host let them. */
unsigned waiting_at_host(const struct waiting *waiting, uint32_t line, uint64_t host,
                         bool *ret_more);
/* It waits no longer. 0, or -ENOENT. */
int waiting_remove(struct waiting *waiting, int64_t row);
/* Takes all of a line (0: of every line) into `rows`, which has room for them, in no order; how
 * many. O(n). */
size_t waiting_clear(struct waiting *waiting, uint32_t line, int64_t *rows);

/* None of anybody's tasks starts at this host before `until`; a later time than one before wins.
 * 0 or -ENOMEM. */
int waiting_hold_host(struct waiting *waiting, uint64_t host, int64_t until);
/* O(hosts). */
void waiting_set_host_max(struct waiting *waiting, unsigned host_max);

/* How many more may run at this host; 0, too, while it is held. */
unsigned waiting_room(const struct waiting *waiting, uint64_t host);
/* Of the hosts for which tasks of this line may start, the one numbered `index` (from 0, in no order):
 * how many could, as far as their host goes. False: there are not so many hosts. O(1). */
bool waiting_ready(const struct waiting *waiting, uint32_t line, uint32_t index,
                   uint64_t *ret_host, unsigned *ret_number);

struct waiting_view {
    uint32_t line;
    uint64_t host;
    int8_t priority;
    bool later; /* it waits for `at`, because of `why` */
    uint8_t why;
    int64_t at;
    bool host_busy;  /* as many run there as may */
    int64_t host_at; /* until when the host is held; 0: it is not */
};
/* What keeps it waiting. 0, or -ENOENT: it does not wait. */
int waiting_look(const struct waiting *waiting, int64_t row, struct waiting_view *ret_view);

#define WAITING_POSITION_MAX 100
/* Its place in its line, from 1 to WAITING_POSITION_MAX, among those that nothing keeps but the ones
 * before them; 0: it is farther back, waits for its time or its host, or not at all. O(place). `far`,
 * between looks at several: a row that was farther back, 0 at first. What comes behind that is so,
 * too, in O(1). */
unsigned waiting_position(struct waiting *waiting, int64_t row, int64_t *far);

/* Lets go whom the time has come for; true if there was anybody. */
bool waiting_tick(struct waiting *waiting, int64_t now);
/* When the next one's time comes; 0: nobody waits for a time. */
int64_t waiting_next_time(const struct waiting *waiting);
/* Bytes of memory. O(users + hosts). */
size_t waiting_bytes(const struct waiting *waiting);
