/*
 * A limit on bytes per second, shared by those who fetch under it: a token bucket that hands out
 * turns in the order of asking, so that nobody who is fast starves the others. Thread safe; the
 * clock is given, but for ratelimit_pass. Times are nanoseconds of CLOCK_MONOTONIC.
 *
 * Without a rate nobody takes the lock: one atomic load says so.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RATELIMIT_SLICE INT64_C(250000000) /* ns: nobody sleeps longer without looking round */

struct ratelimit {        /* ratelimit.c only */
    _Atomic int64_t rate; /* bytes per second, 0: none */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* protected by lock */
    double issued;   /* bytes that turns were given for */
    double supplied; /* bytes that may have passed by `at` */
    int64_t at;
};

/* `rate`: bytes per second, 0: none. */
void ratelimit_init(struct ratelimit *limit, int64_t rate);
void ratelimit_release(struct ratelimit *limit);
/* Works at once, for those who wait too. Without a lock. */
void ratelimit_set(struct ratelimit *limit, int64_t rate);
int64_t ratelimit_get(const struct ratelimit *limit);

/* Of `len` bytes, how many are worth one turn. */
size_t ratelimit_portion(const struct ratelimit *limit, size_t len);
/* A turn for so many bytes: behind all turns that were given before. */
double ratelimit_take(struct ratelimit *limit, size_t bytes, int64_t now);
/* ns until it comes, as the rate is now; 0: it has come. */
int64_t ratelimit_left(struct ratelimit *limit, double turn, int64_t now);

/* Waits for a turn for so many bytes. `cancelled` is asked at least once in RATELIMIT_SLICE: false
 * when it says so. */
bool ratelimit_pass(struct ratelimit *limit, size_t bytes, bool (*cancelled)(void *data),
                    void *data);
/* Whether its rate is what keeps somebody waiting just now. */
bool ratelimit_is_felt(struct ratelimit *limit);

#define RATELIMIT_EACH 2 /* that one transfer keeps to */
/* Hands bytes on in turns under these limits (each may be NULL), to `take` with `data`; ends with what
 * that returns but 0. Once `cancelled` says so, the rest is handed on at once: what is here is kept. */
int ratelimit_hand_on(struct ratelimit *const limits[static RATELIMIT_EACH], const char *bytes,
                      size_t len, int (*take)(void *data, const char *bytes, size_t len),
                      bool (*cancelled)(void *data), void *data);
