#include "transfer/ratelimit.h"

#include <time.h>

#include "common/units.h"

#define SECOND      INT64_C(1000000000) /* ns */
#define PORTION_MIN 512
#define PORTION_MAX 16384
#define PORTIONS    20   /* a second, of a low rate */
#define SAVED       0.05 /* s: what was not used is good for so long */

void ratelimit_init(struct ratelimit *limit, int64_t rate)
{
    *limit = (struct ratelimit){.rate = rate};
    units_condition_init(&limit->changed);
    pthread_mutex_init(&limit->lock, NULL);
}

void ratelimit_release(struct ratelimit *limit)
{
    pthread_cond_destroy(&limit->changed);
    pthread_mutex_destroy(&limit->lock);
}

/* Who is just going to sleep may miss it, and sees it after a slice. */
void ratelimit_set(struct ratelimit *limit, int64_t rate)
{
    atomic_store_explicit(&limit->rate, rate, memory_order_relaxed);
    pthread_cond_broadcast(&limit->changed);
}

int64_t ratelimit_get(const struct ratelimit *limit)
{
    return atomic_load_explicit(&limit->rate, memory_order_relaxed);
}

size_t ratelimit_portion(const struct ratelimit *limit, size_t len)
{
    int64_t rate = ratelimit_get(limit), portion = rate / PORTIONS;
    if (rate == 0)
        return len;
    if (portion < PORTION_MIN)
        portion = PORTION_MIN;
    if (portion > PORTION_MAX)
        portion = PORTION_MAX;
    return len < (size_t)portion ? len : (size_t)portion;
}

static void supply_locked(struct ratelimit *limit, int64_t now)
{
    double rate = (double)ratelimit_get(limit);
    if (now > limit->at)
        limit->supplied += rate * (double)(now - limit->at) / (double)SECOND;
    limit->at = now;
    if (limit->supplied > limit->issued + rate * SAVED)
        limit->supplied = limit->issued + rate * SAVED;
}

double ratelimit_take(struct ratelimit *limit, size_t bytes, int64_t now)
{
    pthread_mutex_lock(&limit->lock);
    supply_locked(limit, now);
    limit->issued += (double)bytes;
    double turn = limit->issued;
    pthread_mutex_unlock(&limit->lock);
    return turn;
}

static int64_t left_locked(struct ratelimit *limit, double turn, int64_t now)
{
    supply_locked(limit, now);
    double rate = (double)ratelimit_get(limit), missing = turn - limit->supplied;
    if (rate <= 0 || missing <= 0)
        return 0;
    double left = missing / rate * (double)SECOND;
    return left < (double)INT64_MAX / 2 ? (int64_t)left + 1 : INT64_MAX / 2;
}

int64_t ratelimit_left(struct ratelimit *limit, double turn, int64_t now)
{
    pthread_mutex_lock(&limit->lock);
    int64_t left = left_locked(limit, turn, now);
    pthread_mutex_unlock(&limit->lock);
    return left;
}

static int64_t monotonic(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * SECOND + now.tv_nsec;
}

/* A slice of the wait for a turn; true: it has come. */
static bool sleep_a_slice(struct ratelimit *limit, double turn)
{
    pthread_mutex_lock(&limit->lock);
    int64_t now = monotonic(), left = left_locked(limit, turn, now);
    if (left > 0) {
        int64_t until = now + (left < RATELIMIT_SLICE ? left : RATELIMIT_SLICE);
        struct timespec time = {.tv_sec = until / SECOND, .tv_nsec = until % SECOND};
        pthread_cond_timedwait(&limit->changed, &limit->lock, &time);
        left = left_locked(limit, turn, monotonic());
    }
    pthread_mutex_unlock(&limit->lock);
    return left == 0;
}

bool ratelimit_pass(struct ratelimit *limit, size_t bytes, bool (*cancelled)(void *data),
                    void *data)
{
    if (ratelimit_get(limit) == 0)
        return true;
    double turn = ratelimit_take(limit, bytes, monotonic());
    while (!sleep_a_slice(limit, turn))
        if (cancelled(data))
            return false;
    return true;
}

bool ratelimit_is_felt(struct ratelimit *limit)
{
    int64_t now = monotonic();
    return ratelimit_get(limit) > 0 && ratelimit_left(limit, ratelimit_take(limit, 0, now), now) > 0;
}

static size_t portion(struct ratelimit *const *limits, size_t len)
{
    for (size_t i = 0; i < RATELIMIT_EACH; i++)
        if (limits[i])
            len = ratelimit_portion(limits[i], len);
    return len;
}

static bool pass(struct ratelimit *const *limits, size_t len, bool (*cancelled)(void *data),
                 void *data)
{
    for (size_t i = 0; i < RATELIMIT_EACH; i++)
        if (limits[i] && !ratelimit_pass(limits[i], len, cancelled, data))
            return false;
    return true;
}

int ratelimit_hand_on(struct ratelimit *const limits[static RATELIMIT_EACH], const char *bytes,
                      size_t len, int (*take)(void *data, const char *bytes, size_t len),
                      bool (*cancelled)(void *data), void *data)
{
    bool wanted = true;
    int r = 0;
    while (len > 0 && r == 0) {
        size_t n = wanted ? portion(limits, len) : len;
        wanted = wanted && pass(limits, n, cancelled, data);
        r = take(data, bytes, n);
        bytes += n;
        len -= n;
    }
    return r;
}
