/*
 * When a slow download has had its slot for long enough that somebody else may have it. Pure;
 * whether anybody needs it, the queue knows (queue_wants_slot). Stands in autodl-service(8), SLOW
 * DOWNLOADS.
 *
 * What cannot be gone on with keeps its slot longer, since what came would be fetched again: so
 * others of the user, which can, are taken first. Each time that it gave its slot back a download
 * has twice as long the next time, or one that is fetched in too short turns might never come to
 * its end.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define YIELDING_SLOW_RATE ((int64_t)16 << 10) /* bytes per second */
#define YIELDING_AFTER     10000               /* ms */
#define YIELDING_DOUBLINGS 4

struct yielding {
    int64_t ran;     /* ms that it has had the slot, this time */
    int64_t rate;    /* bytes per second over the last seconds; -1: not known */
    int64_t share;   /* its share of a limited rate, 0: there is no limit */
    int64_t lost;    /* bytes that would be fetched again */
    unsigned before; /* how often it gave its slot back */
};

bool yielding_may(const struct yielding *yielding);
