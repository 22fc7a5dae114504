#include "core/stats.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* Responses of one code: a ring with one bucket a second, and the sum over it. */
struct column {
    int code;
    uint64_t sum;
    uint32_t bucket[STATS_WINDOW_SECONDS];
};

struct stats {
    pthread_mutex_t lock;

    /* protected by lock */
    uint64_t tasks[TASK_STATES];
    int64_t second; /* the newest in the window; it never goes back */
    unsigned columns;
    struct column *column[STATS_CODES_MAX]; /* ascending by code, made when a code is first seen */
    struct column others;                   /* codes that found no column: in the total only */
    uint64_t bytes[STATS_WINDOW_SECONDS];
    struct stats_totals totals;
};

int stats_create(struct stats **ret_stats)
{
    struct stats *stats = calloc(1, sizeof(*stats));
    if (!stats)
        return -ENOMEM;
    pthread_mutex_init(&stats->lock, NULL);
    *ret_stats = stats;
    return 0;
}

void stats_destroy(struct stats *stats)
{
    if (!stats)
        return;
    for (unsigned i = 0; i < stats->columns; i++)
        free(stats->column[i]);
    pthread_mutex_destroy(&stats->lock);
    free(stats);
}

void stats_enter(struct stats *stats, enum task_state state, uint64_t count)
{
    pthread_mutex_lock(&stats->lock);
    stats->tasks[state] += count;
    pthread_mutex_unlock(&stats->lock);
}

void stats_move(struct stats *stats, enum task_state from, enum task_state to, uint64_t count)
{
    pthread_mutex_lock(&stats->lock);
    uint64_t left = stats->tasks[from];
    assert(left >= count || task_state_ended(from));
    stats->tasks[from] -= left < count ? left : count;
    stats->tasks[to] += count;
    pthread_mutex_unlock(&stats->lock);
}

static void drop_bucket(struct column *column, int64_t second)
{
    uint32_t *bucket = &column->bucket[second % STATS_WINDOW_SECONDS];
    column->sum -= *bucket;
    *bucket = 0;
}

/* Moves the window on to `now`: the buckets that come in held what goes out. */
static void advance_locked(struct stats *stats, int64_t now)
{
    int64_t second = now / 1000;
    if (second <= stats->second)
        return;
    int64_t first = stats->second + 1;
    if (first < second - STATS_WINDOW_SECONDS + 1)
        first = second - STATS_WINDOW_SECONDS + 1;
    for (int64_t s = first; s <= second; s++) {
        for (unsigned i = 0; i < stats->columns; i++)
            drop_bucket(stats->column[i], s);
        drop_bucket(&stats->others, s);
        stats->bytes[s % STATS_WINDOW_SECONDS] = 0;
    }
    stats->second = second;
}

static void remove_column_locked(struct stats *stats, unsigned at)
{
    stats->columns--;
    memmove(&stats->column[at], &stats->column[at + 1],
            (stats->columns - at) * sizeof(stats->column[0]));
}

static void insert_column_locked(struct stats *stats, struct column *column)
{
    unsigned at = stats->columns++;
    for (; at > 0 && stats->column[at - 1]->code > column->code; at--)
        stats->column[at] = stats->column[at - 1];
    stats->column[at] = column;
}

/* A column with nothing in it, new or of a code not seen for long; NULL: there is none. */
static struct column *free_column_locked(struct stats *stats)
{
    if (stats->columns < STATS_CODES_MAX)
        return calloc(1, sizeof(struct column));
    for (unsigned i = 0; i < stats->columns; i++) {
        struct column *column = stats->column[i];
        if (column->sum == 0) {
            remove_column_locked(stats, i);
            return column;
        }
    }
    return NULL;
}

static struct column *column_of_locked(struct stats *stats, int code)
{
    for (unsigned i = 0; i < stats->columns; i++)
        if (stats->column[i]->code == code)
            return stats->column[i];
    struct column *column = free_column_locked(stats);
    if (!column)
        return &stats->others;
    column->code = code;
    insert_column_locked(stats, column);
    return column;
}

void stats_response(struct stats *stats, int code, int64_t now)
{
    pthread_mutex_lock(&stats->lock);
    advance_locked(stats, now);
    struct column *column = column_of_locked(stats, code);
    column->bucket[stats->second % STATS_WINDOW_SECONDS]++;
    column->sum++;
    if (code >= STATS_CODE_MIN && code <= STATS_CODE_MAX)
        stats->totals.responses[code - STATS_CODE_MIN]++;
    else
        stats->totals.other_responses++;
    pthread_mutex_unlock(&stats->lock);
}

void stats_bytes(struct stats *stats, uint64_t bytes, int64_t now)
{
    pthread_mutex_lock(&stats->lock);
    advance_locked(stats, now);
    stats->bytes[stats->second % STATS_WINDOW_SECONDS] += bytes;
    stats->totals.bytes += bytes;
    pthread_mutex_unlock(&stats->lock);
}

static uint64_t responses_locked(const struct stats *stats, int64_t second)
{
    uint64_t count = stats->others.bucket[second % STATS_WINDOW_SECONDS];
    for (unsigned i = 0; i < stats->columns; i++)
        count += stats->column[i]->bucket[second % STATS_WINDOW_SECONDS];
    return count;
}

/* Steps begin at whole multiples of their length, so that what was shown once stays as it was (all 60 are within the
 * window). */
void stats_read_series(struct stats *stats, int64_t now, struct stats_series *ret_series)
{
    struct stats_series series = {0};
    pthread_mutex_lock(&stats->lock);
    advance_locked(stats, now);
    int64_t last_step = stats->second / STATS_STEP_SECONDS;
    int64_t second = (last_step - STATS_STEPS + 1) * STATS_STEP_SECONDS;
    for (; second <= stats->second; second++) {
        if (second < 0)
            continue;
        int64_t step = second / STATS_STEP_SECONDS - last_step + STATS_STEPS - 1;
        series.bytes[step] += stats->bytes[second % STATS_WINDOW_SECONDS];
        series.responses[step] += responses_locked(stats, second);
    }
    pthread_mutex_unlock(&stats->lock);
    *ret_series = series;
}

void stats_read_totals(struct stats *stats, struct stats_totals *ret_totals)
{
    pthread_mutex_lock(&stats->lock);
    *ret_totals = stats->totals;
    pthread_mutex_unlock(&stats->lock);
}

void stats_read(struct stats *stats, int64_t now, struct stats_snapshot *ret_snapshot)
{
    struct stats_snapshot snapshot = {0};
    pthread_mutex_lock(&stats->lock);
    advance_locked(stats, now);
    memcpy(snapshot.tasks, stats->tasks, sizeof(snapshot.tasks));
    snapshot.responses_total = stats->others.sum;
    for (unsigned i = 0; i < stats->columns; i++) {
        if (stats->column[i]->sum == 0)
            continue;
        snapshot.responses_total += stats->column[i]->sum;
        snapshot.by_code[snapshot.codes].code = stats->column[i]->code;
        snapshot.by_code[snapshot.codes++].count = stats->column[i]->sum;
    }
    pthread_mutex_unlock(&stats->lock);
    *ret_snapshot = snapshot;
}
