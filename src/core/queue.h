/*
 * The queue: which task runs next, and the only scheduler. Pure but for its one mutex and its
 * condition variables: no I/O, the clock is given. Each user has a line: by priority, then first
 * in, first out, passing over tasks whose host is busy or asked for patience. Between users the one
 * with the fewest running tasks goes first, then the one whose last turn is longest ago, so that a
 * long line of one user delays no other's. Coming (with nothing waiting or running before), taking
 * a slot and giving it back each count as a turn.
 *
 * Every function locks inside, none blocks but queue_pop, none calls out. Times are milliseconds
 * of the given clock (CLOCK_BOOTTIME in the service). With n waiting tasks and u users each takes
 * O(log n + u), but where it says otherwise.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/helping.h"

/* In place of a uid: everybody. */
#define QUEUE_EVERYBODY ((uid_t)-1)

struct queue;

/* Called under the queue's lock: quick, and takes no lock itself. */
typedef int64_t (*queue_clock)(void);

struct queue_task {
    int64_t row;   /* what the store knows it by */
    uint64_t host; /* who serves it: the same number, the same host */
    uid_t uid;
    int8_t priority; /* higher goes first among the tasks of its user */
    uint8_t
        given_back;   /* how often it gave its slot back (queue_wants_slot): kept while it waits */
    bool out_of_turn; /* told by queue_pop: others of its user may come before it, and are kept by their
                       * hosts or times */
};

/* At most `slots` tasks run at once, `host_max` of them at one host. 0 or -ENOMEM. */
int queue_create(unsigned slots, unsigned host_max, queue_clock clock, struct queue **ret_queue);
/* No thread may be in queue_pop any more. NULL is fine. */
void queue_destroy(struct queue *queue);
/* Every queue_pop, waiting or to come, returns -ESHUTDOWN; pushing does too. */
void queue_close(struct queue *queue);

/* At the end of those of its priority in the user's line. No task with its row may wait. 0, -ENOMEM
 * or -ESHUTDOWN. */
int queue_push(struct queue *queue, const struct queue_task *task);
/* At their head: what was popped and could not run. */
int queue_push_front(struct queue *queue, const struct queue_task *task);

/* Why a task does not run, as queue_why tells; those before QUEUE_SLOT are given to queue_push_later. */
enum queue_reason {
    QUEUE_RETRY,
    QUEUE_HOST, /* its host asked for patience, or as many run there as may */
    QUEUE_DISK,
    QUEUE_START_TIME, /* it was asked to start at a time of the wall clock */
    QUEUE_AFTER,      /* another task has to be FINISHED first: with QUEUE_NEVER */
    QUEUE_SLOT,       /* others come first */
    QUEUE_STORAGE,    /* the user's file system does not answer, or lags behind */
    QUEUE_PAUSED,     /* the user's pause, or everybody's */
};

#define QUEUE_NEVER INT64_MAX /* no time: it waits until it is taken out */
/* It waits beside the line until `at`, then goes to the line's head (at once, if `at` is not to
 * come). Like the end of a pause, that wakes a worker by the queue_tick of that time only: one that
 * comes to queue_pop later sees it by itself. 0, -ENOMEM or -ESHUTDOWN. */
int queue_push_later(struct queue *queue, const struct queue_task *task, int64_t at,
                     enum queue_reason reason);
/* The wall clock was set: what waits for its start time does so for `by` ms more (less: negative).
 * O(n log n) with n tasks that wait for a time. */
void queue_shift_starts(struct queue *queue, int64_t by);
/* Takes a waiting task out, wherever it waits. 0, or -ENOENT: it does not wait (any more). */
int queue_remove(struct queue *queue, int64_t row);
/* Takes out a task that waits because of QUEUE_AFTER. 0, or -ENOENT: it does not (any more). */
int queue_take_after(struct queue *queue, int64_t row, struct queue_task *ret_task);
/* Whether there is any such task. */
bool queue_has_after(struct queue *queue);
/* Why a waiting task waits, and until when (0: nobody knows). The strongest reason: paused, then
 * storage, then its own time, then its host, then slot. 0 or -ENOENT. */
int queue_why(struct queue *queue, int64_t row, enum queue_reason *ret_reason, int64_t *ret_until);

/* The priority of the first of a user's line; `otherwise`, when none may start. */
int queue_lead(struct queue *queue, uid_t uid, int otherwise);

#define QUEUE_POSITION_MAX 100
/* Its place in its user's line, 1 for the next one, among those that wait for a slot alone; 0: it is
 * behind QUEUE_POSITION_MAX, waits for its own time or its host, or does not wait. O(place). `far` is
 * kept between looks at several tasks, 0 at first: those behind one that was too far back a moment
 * ago are so in O(1). The first in line should be looked at first. */
unsigned queue_position(struct queue *queue, int64_t row, int64_t *far);

/*
 * Waits until a task may run and a slot is free, takes the task and the slot. 0; -ESHUTDOWN once
 * the queue is closed; -ECANCELED when `worker` (numbered from 0) is not below the slots any more:
 * its thread should end. Every 0 is paired with one queue_release.
 */
int queue_pop(struct queue *queue, unsigned worker, struct queue_task *ret_task);
/*
 * All slots are taken, and another user has a task that could start: should this running task give
 * its slot back? Only if its user has none the fewer for it (two more than the other, or the other
 * none and nobody more than they), so that no slot goes to and fro. The same if all that may run at
 * its host do, and another user, who runs fewer in all, waits for that alone; what counts then is
 * what each runs there. If true, the task has to be released soon; until something is, nobody is
 * asked again. Of `from`, uid and host are looked at.
 */
bool queue_wants_slot(struct queue *queue, const struct queue_task *from);

/*
 * Workers that have no task may help with one that runs. Such helpers are invisible to tasks: none
 * comes while a task could start, and as many leave as tasks could start without them (by
 * helping_place.leave, which whoever helps looks at often). They count in the slots and at their host
 * as tasks do. None comes during a pause, everybody's or the user's.
 */
#define QUEUE_HELP 1 /* from queue_pop_or_help: there is no task, but a place as helper */
/* As queue_pop; QUEUE_HELP: `place` is taken, and paired with a queue_end_help. */
int queue_pop_or_help(struct queue *queue, unsigned worker, struct queue_task *ret_task,
                      struct helping_place *place);
/* True: tasks wait for somebody to be let back in, queue_tick is wanted at another time. */
bool queue_end_help(struct queue *queue, struct helping_place *place);
/* A task that was popped could be helped with, or not any more. 0 or -ENOMEM. */
int queue_offer_help(struct queue *queue, const struct helping_wish *wish);
/* Before it is released. */
void queue_withdraw_help(struct queue *queue, int64_t row);
/* This host wants no helpers before `until`; its tasks are not held. */
void queue_spare_host(struct queue *queue, uint64_t host, int64_t until);
/* How many help now, with whatever. */
unsigned queue_helpers(struct queue *queue);

/* What was popped holds its slot no longer. */
void queue_release(struct queue *queue, const struct queue_task *task);

/* Takes all waiting tasks of a user, or of all, in no order. The rows go to the caller, who frees
 * them; (NULL, 0) when there were none. O(n). 0 or -ENOMEM (nothing was taken). */
int queue_clear(struct queue *queue, uid_t uid, int64_t **ret_rows, size_t *ret_count);

/* No new starts for a user, or for everybody; `until` 0: until resumed. A second pause of the same
 * scope replaces the first. 0 or -ENOMEM. */
int queue_pause(struct queue *queue, uid_t uid, int64_t until);
/* Ends the pause of exactly this scope; true if one was in force. */
bool queue_resume(struct queue *queue, uid_t uid);
struct queue_pauses {
    bool own, all;                   /* in force */
    int64_t own_until, all_until;    /* 0: until resumed */
};
/* A user's and everybody's. */
void queue_pauses(struct queue *queue, uid_t uid, struct queue_pauses *ret_pauses);
/* Ends the pauses whose time has come, puts the tasks whose time has come at the heads of their
 * lines, and wakes who waited for that; gives the time of the next one, 0: none. */
int64_t queue_tick(struct queue *queue);

/* Why a user's tasks are held back, pauses apart. */
enum queue_hold_reason {
    QUEUE_HOLD_STORAGE = 1,   /* the file system does not answer */
    QUEUE_HOLD_FINISHING = 2, /* too many files wait to be made durable */
};
/* Holds a user back (on), or lets go (off); each reason for itself. 0 or -ENOMEM. */
int queue_hold(struct queue *queue, uid_t uid, enum queue_hold_reason reason, bool on);
bool queue_held(struct queue *queue, uid_t uid, enum queue_hold_reason reason);

/* A host asked for patience: nobody's tasks start there before `until`; a later time wins. 0 or
 * -ENOMEM. */
int queue_hold_host(struct queue *queue, uint64_t host, int64_t until);
void queue_set_host_max(struct queue *queue, unsigned host_max);

void queue_set_slots(struct queue *queue, unsigned slots);
unsigned queue_slots(struct queue *queue);
/* Waiting tasks of a user, or all, those that wait for a time too. */
size_t queue_length(struct queue *queue, uid_t uid);

/* Counts tasks of a user that wait outside of the queue (about to be added, or PAUSED), as long as
 * they and those in the queue are not more than `max` together. 0; -EDQUOT: they would be; or
 * -ENOMEM. Every 0 is paired with a queue_unbook of as many. */
int queue_book(struct queue *queue, uid_t uid, size_t count, size_t max);
void queue_unbook(struct queue *queue, uid_t uid, size_t count);

/* Bytes of memory that waiting tasks take. O(hosts). */
size_t queue_bytes(struct queue *queue);
