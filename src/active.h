/*
 * The tasks that a worker or a finisher has in hand: what people see of them, which is ahead of the
 * store, and what people wish of them meanwhile. Thread safe; calls nobody.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/task.h"
#include "manager.h"
#include "transfer/ratelimit.h"
#include "transfer/team.h"

struct active; /* all of them */
struct active_entry; /* one; belongs to who has the task in hand */

enum active_wish {
    ACTIVE_NO_WISH,
    ACTIVE_HAND_OVER, /* stronger ones come later. It waits again, but whoever asked has it */
    ACTIVE_HOLD,
    ACTIVE_CANCEL,
    ACTIVE_CANCEL_KEEP, /* the part file stays */
};

/* Somebody who waits for what becomes of a wish. */
struct active_waiter {
    struct active_waiter *next;
    enum active_wish wish;
    manager_done done;
    void *data;
};

struct active_view {
    enum task_state state;
    int64_t bytes_done;
    int64_t bytes_per_second;
    int http_status; /* of this attempt's last response; 0: none came yet */
    unsigned ranges; /* fetched now */
};

int active_create(struct active **ret_active); /* 0 or -ENOMEM */
/* No entries are left. NULL is fine. */
void active_destroy(struct active *active);

/* 0 or -ENOMEM. */
int active_enter(struct active *active, const struct task *task, enum task_state state,
                 struct active_entry **ret_entry);
/* NULL is fine. Its waiters have been taken. */
void active_leave(struct active *active, struct active_entry *entry);
void active_set_state(struct active *active, struct active_entry *entry, enum task_state state);

/* Without a lock, for the holder's callbacks. */
void active_set_bytes(struct active_entry *entry, int64_t bytes, int64_t per_second,
                      unsigned ranges);
void active_set_total(struct active_entry *entry, int64_t total); /* bytes, -1: not known */
void active_set_http_status(struct active_entry *entry, int status);
enum active_wish active_wished(const struct active_entry *entry);
/* What its task may take: bytes per second (0: any), ranges at once (0: as configured). Set by
 * active_begin_limits, and by people meanwhile. */
int64_t active_rate_limit(const struct active_entry *entry);
int active_max_ranges(const struct active_entry *entry);
int active_priority(const struct active_entry *entry);
/* Which version of the file its bytes are of; a new one when the bytes are given up. */
uint64_t active_version(const struct active_entry *entry);
void active_new_version(struct active *active, struct active_entry *entry);
/* What keeps to active_rate_limit; good as long as the entry is. */
struct ratelimit *active_limit(struct active_entry *entry);
/* Bytes that were written did not reach the disk. */
bool active_is_broken(const struct active_entry *entry);

/* The bytes of this task that are on disk by now, from the start and (ranges.h; NULL: none; copied)
 * further on; -1: they could not be brought there. Only if it is still in hand, with the same version
 * of the file. */
void active_set_durable(struct active *active, int64_t row, uint64_t version, int64_t bytes,
                        const char *ranges);
/* What was told since the last call: true, and the text is the caller's. */
bool active_take_durable(struct active *active, struct active_entry *entry, int64_t *ret_bytes,
                         char **ret_ranges);

/* Who fetches it, for helpers to find (NULL: none may come any more); a reference of its own. */
void active_set_team(struct active *active, struct active_entry *entry, struct team *team);
/* With a reference for the caller; NULL: there is none. */
struct team *active_find_team(struct active *active, int64_t row);

/* Tells of those that are DOWNLOADING; `see` is called under the lock: quick, and calls nobody. */
void active_each(struct active *active, manager_see see, void *data);
/* As the task says that was fetched after active_enter; if people changed it in between, that stands. */
void active_begin_limits(struct active *active, struct active_entry *entry,
                         const struct task *task);
/* People changed it: takes effect at once, if it is in hand. */
void active_change_limits(struct active *active, const struct task *task);
/* False: nobody has it in hand. */
bool active_look(struct active *active, int64_t row, struct active_view *ret_view);
/* The rows of those in these states (1 << state, or'ed), in no order; the caller frees them. 0 or
 * -ENOMEM. */
int active_list(struct active *active, unsigned states, int64_t **ret_rows, size_t *ret_count);
/* Takes the waiter (from malloc) when the task is DOWNLOADING and not just ending; false: it is not. */
bool active_add_wish(struct active *active, int64_t row, struct active_waiter *waiter);
/* No more wishes are taken; the strongest one, and who waits. The waiters are the caller's to answer
 * and free. */
enum active_wish active_take_wishes(struct active *active, struct active_entry *entry,
                                    struct active_waiter **ret_waiters);
