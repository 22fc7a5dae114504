#include "lanes.h"

#include <assert.h>
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

#include "common/units.h"

struct lane {
    /* immutable */
    struct lanes *lanes;
    uid_t uid;

    /* protected by lanes->lock */
    struct lane *next;
    struct lane_job *first, **last;
    size_t waiting;
    struct lane_job *deferred;
    int64_t due;   /* boot time when the deferred ones come again */
    unsigned pins; /* it does not idle away */
    pthread_cond_t work;

    /* lane thread only */
    struct files_channel *channel;
};

struct lanes {
    /* immutable */
    struct files *files;
    int64_t idle;
    lane_work work;
    void *data;

    pthread_mutex_t lock;
    /* protected by lock */
    pthread_cond_t ended;
    struct lane *all;
    size_t running; /* threads that have not left yet */
    bool closed;
};

int lanes_create(struct files *files, int64_t idle, lane_work work, void *data,
                 struct lanes **ret_lanes)
{
    struct lanes *lanes = calloc(1, sizeof *lanes);
    if (!lanes)
        return -ENOMEM;
    lanes->files = files;
    lanes->idle = idle;
    lanes->work = work;
    lanes->data = data;
    pthread_mutex_init(&lanes->lock, NULL);
    units_condition_init(&lanes->ended);
    *ret_lanes = lanes;
    return 0;
}

static struct lane *find_locked(struct lanes *lanes, uid_t uid)
{
    for (struct lane *lane = lanes->all; lane; lane = lane->next)
        if (lane->uid == uid)
            return lane;
    return NULL;
}

static void unlink_locked(struct lane *lane)
{
    struct lane **link = &lane->lanes->all;
    while (*link != lane)
        link = &(*link)->next;
    *link = lane->next;
}

static void lane_free(struct lane *lane)
{
    pthread_cond_destroy(&lane->work);
    free(lane);
}

static void append_locked(struct lane *lane, struct lane_job *job)
{
    job->next = NULL;
    *lane->last = job;
    lane->last = &job->next;
    lane->waiting++;
}

/* Lets the deferred ones come again when it is time. ms until then, else until the lane has idled
 * long enough. */
static int64_t revive_deferred_locked(struct lane *lane)
{
    if (!lane->deferred)
        return lane->lanes->idle;
    int64_t left = lane->lanes->closed ? 0 : lane->due - units_now_boottime();
    if (left > 0)
        return left;
    while (lane->deferred) {
        struct lane_job *job = lane->deferred;
        lane->deferred = job->next;
        append_locked(lane, job);
    }
    return 0;
}

/* Waits for jobs; NULL when the lane has idled long enough or no more will come. */
static struct lane_job *take_batch_locked(struct lane *lane)
{
    int r = 0;
    for (;;) {
        bool waits_for_due = lane->deferred;
        struct timespec until = units_monotonic_in(revive_deferred_locked(lane));
        if (lane->first || lane->lanes->closed || (r == ETIMEDOUT && !waits_for_due && !lane->pins))
            break;
        r = pthread_cond_timedwait(&lane->work, &lane->lanes->lock, &until);
    }
    struct lane_job *jobs = lane->first;
    lane->first = NULL;
    lane->last = &lane->first;
    lane->waiting = 0;
    return jobs;
}

static void *lane_thread(void *data)
{
    struct lane *lane = data;
    struct lanes *lanes = lane->lanes;
    struct lane_job *jobs;

    pthread_mutex_lock(&lanes->lock);
    while ((jobs = take_batch_locked(lane))) {
        pthread_mutex_unlock(&lanes->lock);
        if (lanes->files && !lane->channel)
            files_open(lanes->files, lane->uid, &lane->channel); /* the callee sees NULL */
        lanes->work(lanes->data, lane->uid, &lane->channel, jobs);
        pthread_mutex_lock(&lanes->lock);
    }
    unlink_locked(lane);
    pthread_mutex_unlock(&lanes->lock);

    files_close(lane->channel);
    lane_free(lane);
    malloc_trim(0); /* the user has nothing to do any more: what that took goes back */
    pthread_mutex_lock(&lanes->lock);
    lanes->running--;
    pthread_cond_broadcast(&lanes->ended);
    pthread_mutex_unlock(&lanes->lock);
    return NULL;
}

static int start_locked(struct lanes *lanes, uid_t uid, struct lane **ret_lane)
{
    struct lane *lane = calloc(1, sizeof *lane);
    if (!lane)
        return -ENOMEM;
    lane->lanes = lanes;
    lane->uid = uid;
    lane->last = &lane->first;
    units_condition_init(&lane->work);
    pthread_t thread;
    int r = pthread_create(&thread, NULL, lane_thread, lane);
    if (r != 0) {
        lane_free(lane);
        return -r;
    }
    pthread_detach(thread);
    lanes->running++;
    lane->next = lanes->all;
    lanes->all = lane;
    *ret_lane = lane;
    return 0;
}

/* The user's lane, made if there is none. */
static int get_locked(struct lanes *lanes, uid_t uid, struct lane **ret_lane)
{
    if (lanes->closed)
        return -ESHUTDOWN;
    struct lane *lane = find_locked(lanes, uid);
    if (!lane)
        return start_locked(lanes, uid, ret_lane);
    *ret_lane = lane;
    return 0;
}

int lanes_put(struct lanes *lanes, uid_t uid, struct lane_job *job)
{
    struct lane *lane = NULL;
    pthread_mutex_lock(&lanes->lock);
    int r = get_locked(lanes, uid, &lane);
    if (r == 0) {
        append_locked(lane, job);
        pthread_cond_signal(&lane->work);
    }
    pthread_mutex_unlock(&lanes->lock);
    return r;
}

int lanes_pin(struct lanes *lanes, uid_t uid)
{
    struct lane *lane = NULL;
    pthread_mutex_lock(&lanes->lock);
    int r = get_locked(lanes, uid, &lane);
    if (r == 0)
        lane->pins++;
    pthread_mutex_unlock(&lanes->lock);
    return r;
}

void lanes_unpin(struct lanes *lanes, uid_t uid)
{
    pthread_mutex_lock(&lanes->lock);
    struct lane *lane = find_locked(lanes, uid); /* none: the lanes were closed */
    if (lane)
        lane->pins--;
    pthread_mutex_unlock(&lanes->lock);
}

void lanes_defer(struct lanes *lanes, uid_t uid, struct lane_job *job, int64_t ms)
{
    pthread_mutex_lock(&lanes->lock);
    struct lane *lane = find_locked(lanes, uid); /* the caller's own: it is there */
    job->next = lane->deferred;
    lane->deferred = job;
    lane->due = units_now_boottime() + ms;
    pthread_mutex_unlock(&lanes->lock);
}

size_t lanes_waiting(struct lanes *lanes, uid_t uid)
{
    pthread_mutex_lock(&lanes->lock);
    struct lane *lane = find_locked(lanes, uid);
    size_t waiting = lane ? lane->waiting : 0;
    pthread_mutex_unlock(&lanes->lock);
    return waiting;
}

void lanes_close(struct lanes *lanes)
{
    pthread_mutex_lock(&lanes->lock);
    lanes->closed = true;
    for (struct lane *lane = lanes->all; lane; lane = lane->next)
        pthread_cond_signal(&lane->work);
    pthread_mutex_unlock(&lanes->lock);
}

int lanes_wait(struct lanes *lanes, int64_t timeout)
{
    struct timespec until = units_monotonic_in(timeout < 0 ? 0 : timeout);
    int r = 0;
    pthread_mutex_lock(&lanes->lock);
    while (lanes->running > 0 && r != ETIMEDOUT)
        r = timeout < 0 ? pthread_cond_wait(&lanes->ended, &lanes->lock)
                        : pthread_cond_timedwait(&lanes->ended, &lanes->lock, &until);
    r = lanes->running > 0 ? -ETIMEDOUT : 0;
    pthread_mutex_unlock(&lanes->lock);
    return r;
}

void lanes_destroy(struct lanes *lanes)
{
    if (!lanes)
        return;
    assert(!lanes->all && lanes->running == 0);
    pthread_cond_destroy(&lanes->ended);
    pthread_mutex_destroy(&lanes->lock);
    free(lanes);
}
