/*
 * How a verb for many gets hold of tasks that wait or run: they are taken out of the queue, and the
 * transfers that run are told to let go. Each of those is stored as one that waits, as if its
 * worker had put it back, so that nothing of the verb has happened yet if it ends here.
 */
#pragma once

#include "engine.h"

enum takeover_lot {                   /* of a task */
                    TAKEOVER_OPEN,    /* not looked at yet */
                    TAKEOVER_LEFT,    /* it does not take the verb, or is in other hands */
                    TAKEOVER_AT_REST, /* it is in one of the states, and in nobody's hand */
                    TAKEOVER_TAKEN, /* it is in no hand but the caller's: to be changed, or put back
                                     */
};

/*
 * Takes those of the rows that are TAKEOVER_OPEN and, now, in one of `states` (1 << state, or'ed;
 * of those not ended). No other verb has them in hand. Blocks while tasks change hands or transfers
 * let go, for some seconds at most; those that do not (their file system does not answer) are left,
 * counted in `ret_hung`, and go on in their own time. 0, -ENOMEM, or -ESHUTDOWN; what was taken is
 * to be put back then too.
 */
int takeover_take(struct engine *engine, const int64_t *rows, size_t count, unsigned states,
                  uint8_t *lots, size_t *ret_hung);
/* Those that were taken wait again, as the store has them. */
void takeover_put_back(struct engine *engine, const int64_t *rows, size_t count,
                       const uint8_t *lots);
