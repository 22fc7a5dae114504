/*
 * Who may help whom: the downloads that offer work to idle workers, and the helpers there are. Pure
 * and without a lock: the queue, whose part it is, holds its own. Few of both: everything is
 * O(both), but where it says otherwise.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct helping_offer;

/* A worker's place as a helper: its own, where it stays while it helps. */
struct helping_place {
    int64_t row; /* of the task that it helps with */
    uint64_t host;
    uid_t uid;
    unsigned hands;    /* so many helpers are about to come there, this one included */
    atomic_bool leave; /* it is to leave at once: somebody else needs what it takes */

    /* helping.c only */
    struct helping_place *next;
    struct helping_offer *offer; /* NULL: that download has ended */
};

struct helping { /* helping.c only, but for looking */
    struct helping_offer *offers;
    struct helping_place *places; /* the last to come first */
    struct helping_shy *shy;
    unsigned count;   /* places */
    unsigned leaving; /* of these: asked to leave */
};

void helping_release(struct helping *helping);

struct helping_wish { /* what a running download says */
    int64_t row;
    uint64_t host;
    uid_t uid;
    unsigned wanted; /* more helpers, beside those that it has */
    unsigned max;    /* helpers in all; those beyond leave */
    int64_t left;    /* ms until it has ended as it goes: who ends last is helped first */
};
/* A new wish replaces an earlier one. 0 or -ENOMEM. */
int helping_offer(struct helping *helping, const struct helping_wish *wish);
/* The download has ended: its helpers leave. Unknown ones are fine. */
void helping_withdraw(struct helping *helping, int64_t row);
/* No helper goes to this host before `until`. */
void helping_spare_host(struct helping *helping, uint64_t host, int64_t until);

/* Asked about a download: may somebody help it now? */
typedef unsigned (*helping_room)(void *data, uid_t uid, uint64_t host);
/*
 * The next one to help, where `room` (how many helpers may come beside those at its host) allows
 * it. `idle`: workers that could come, the asking one included. False: there is none.
 */
bool helping_next(struct helping *helping, int64_t now, unsigned idle, helping_room room,
                  void *data, struct helping_place *place);
/* It takes that place; or has left it. */
void helping_enter(struct helping *helping, struct helping_place *place);
void helping_leave(struct helping *helping, struct helping_place *place, int64_t now);
unsigned helping_at_host(const struct helping *helping, uint64_t host);
/* Asks helpers to leave until `number` are (those of one host: `at_host`), the last to come first.
 */
void helping_ask(struct helping *helping, unsigned number, int64_t now);
void helping_ask_at_host(struct helping *helping, uint64_t host, unsigned number, int64_t now);
/* When an offer is worth looking at again, or a host; 0: no time is waited for. */
int64_t helping_next_time(const struct helping *helping, int64_t now);
