#include "worker.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "common/api.h"
#include "common/cleanup.h"
#include "common/units.h"

struct worker {
    /* immutable */
    struct workers *workers;
    unsigned number;

    /* protected by workers->lock */
    pthread_t thread;
    bool ended; /* to be joined */
    bool lost;  /* nobody joins it: it frees itself */
    bool busy;
    bool helps;
    struct queue_task task; /* that it runs; of one that it helps with, the user alone */

    struct helping_place place; /* the queue's, while it helps */

    /* worker thread only, but for `lost` */
    struct worker_tools tools;
};

struct workers {
    /* immutable */
    struct queue *queue;
    struct download_share *share;
    struct worker_events events;

    atomic_bool watched;

    pthread_mutex_t lock;
    /* protected by lock */
    pthread_cond_t ended; /* one has, be it a lost one */
    unsigned lost;
    struct worker *all[API_MAX_TASKS_MAX]; /* by number; NULL: none */
};

int workers_create(struct queue *queue, const struct worker_events *events,
                   struct workers **ret_workers)
{
    struct workers *workers = calloc(1, sizeof *workers);
    if (!workers)
        return -ENOMEM;
    int r = download_share_create(&workers->share);
    if (r < 0) {
        free(workers);
        return r;
    }
    workers->queue = queue;
    workers->events = *events;
    units_condition_init(&workers->ended);
    pthread_mutex_init(&workers->lock, NULL);
    *ret_workers = workers;
    return 0;
}

static void worker_free(struct worker *worker)
{
    if (!worker)
        return;
    files_close(worker->tools.channel);
    transfer_destroy(worker->tools.transfer);
    free(worker);
}

/* --- a worker's thread --- */

static void begin(struct worker *worker, const struct queue_task *task, bool helps)
{
    struct workers *workers = worker->workers;
    pthread_mutex_lock(&workers->lock);
    worker->busy = true;
    worker->helps = helps;
    worker->task = *task;
    pthread_mutex_unlock(&workers->lock);
    if (!atomic_exchange(&workers->watched, true))
        workers->events.on_busy(workers->events.data);
}

/* False: it was replaced meanwhile, and its slot is the other's. */
static bool end(struct worker *worker)
{
    struct workers *workers = worker->workers;
    pthread_mutex_lock(&workers->lock);
    worker->busy = false;
    bool lost = worker->lost;
    pthread_mutex_unlock(&workers->lock);
    if (lost)
        return false;
    if (worker->helps) {
        if (queue_end_help(workers->queue, &worker->place))
            workers->events.on_busy(workers->events.data);
        return true;
    }
    queue_release(workers->queue, &worker->task);
    /* An idle worker keeps nobody's filer from ending. */
    if (queue_length(workers->queue, QUEUE_EVERYBODY) == 0)
        files_close(TAKE_PTR(worker->tools.channel));
    return true;
}

/* True when the worker has to end: not if it was asked back between the queue's word and here. */
static bool leave(struct worker *worker, int reason)
{
    struct workers *workers = worker->workers;
    pthread_mutex_lock(&workers->lock);
    bool leaving = reason != -ECANCELED || worker->number >= queue_slots(workers->queue);
    worker->ended = leaving;
    if (leaving)
        pthread_cond_broadcast(&workers->ended);
    pthread_mutex_unlock(&workers->lock);
    return leaving;
}

static void come_back(struct worker *worker)
{
    struct workers *workers = worker->workers;
    workers->events.on_found(workers->events.data, worker->task.uid);
    worker_free(worker);
    pthread_mutex_lock(&workers->lock);
    workers->lost--;
    pthread_cond_broadcast(&workers->ended);
    pthread_mutex_unlock(&workers->lock);
}

static void *worker_thread(void *data)
{
    struct worker *worker = data;
    struct workers *workers = worker->workers;
    struct queue_task task;
    for (;;) {
        int r = queue_pop_or_help(workers->queue, worker->number, &task, &worker->place);
        if (r < 0 && leave(worker, r))
            return NULL;
        if (r < 0)
            continue;
        if (r == QUEUE_HELP) {
            begin(worker, &(struct queue_task){.uid = worker->place.uid}, true);
            workers->events.help(workers->events.data, &worker->tools, &worker->place);
        } else {
            begin(worker, &task, false);
            workers->events.run(workers->events.data, &worker->tools, &task);
        }
        if (!end(worker)) {
            come_back(worker);
            return NULL;
        }
    }
}

/* --- the pool --- */

static int start_locked(struct workers *workers, unsigned number)
{
    struct worker *old = TAKE_PTR(workers->all[number]);
    if (old) {
        pthread_join(old->thread, NULL);
        worker_free(old);
    }
    struct worker *worker = calloc(1, sizeof *worker);
    if (!worker)
        return -ENOMEM;
    worker->workers = workers;
    worker->number = number;
    int r = transfer_create(workers->share, &worker->tools.transfer);
    if (r == 0)
        r = -pthread_create(&worker->thread, NULL, worker_thread, worker);
    if (r < 0) {
        worker_free(worker);
        return r;
    }
    workers->all[number] = worker;
    return 0;
}

int workers_fill(struct workers *workers)
{
    int r = 0;
    pthread_mutex_lock(&workers->lock);
    unsigned number = queue_slots(workers->queue);
    for (unsigned i = 0; i < number && r == 0; i++)
        if (!workers->all[i] || workers->all[i]->ended)
            r = start_locked(workers, i);
    pthread_mutex_unlock(&workers->lock);
    return r;
}

static bool is_stuck(const struct worker *worker, int64_t patience)
{
    int64_t since = transfer_on_disk_since(worker->tools.transfer);
    return since != 0 && units_now_boottime() - since > patience;
}

/* The next one that is stuck gives its number and its slot to another. False: there is none. */
static bool replace_one(struct workers *workers, int64_t patience, bool *ret_busy)
{
    struct worker *stuck = NULL;
    bool busy = false;
    pthread_mutex_lock(&workers->lock);
    for (unsigned i = 0; i < API_MAX_TASKS_MAX && !stuck; i++) {
        struct worker *worker = workers->all[i];
        busy = busy || (worker && worker->busy);
        if (worker && worker->busy && is_stuck(worker, patience))
            stuck = worker;
    }
    struct queue_task task = {0};
    bool helps = false;
    if (stuck) {
        task = stuck->task;
        helps = stuck->helps;
        if (helps) /* before it can come back and free its place */
            queue_end_help(workers->queue, &stuck->place);
        workers->events.on_lost(workers->events.data, task.uid);
        stuck->lost = true;
        atomic_store(&stuck->tools.lost, true);
        workers->lost++;
        pthread_detach(stuck->thread);
        workers->all[stuck->number] = NULL;
        if (stuck->number < queue_slots(workers->queue))
            start_locked(workers, stuck->number); /* without one, the others share its work */
    }
    pthread_mutex_unlock(&workers->lock);
    *ret_busy = busy;
    if (!stuck)
        return false;
    if (!helps)
        queue_release(workers->queue, &task);
    return true;
}

bool workers_watch(struct workers *workers, int64_t patience)
{
    bool busy;
    atomic_store(&workers->watched, false);
    while (replace_one(workers, patience, &busy))
        ;
    if (busy)
        atomic_store(&workers->watched, true);
    return busy;
}

static bool any_left_locked(struct workers *workers)
{
    for (unsigned i = 0; i < API_MAX_TASKS_MAX; i++)
        if (workers->all[i] && !workers->all[i]->ended)
            return true;
    return workers->lost > 0;
}

int workers_join(struct workers *workers, int64_t timeout)
{
    struct timespec until = units_monotonic_in(timeout);
    int r = 0;
    pthread_mutex_lock(&workers->lock);
    while (any_left_locked(workers) && r == 0)
        r = pthread_cond_timedwait(&workers->ended, &workers->lock, &until);
    r = any_left_locked(workers) ? -ETIMEDOUT : 0;
    for (unsigned i = 0; i < API_MAX_TASKS_MAX && r == 0; i++) {
        struct worker *worker = TAKE_PTR(workers->all[i]);
        if (!worker)
            continue;
        pthread_join(worker->thread, NULL);
        worker_free(worker);
    }
    pthread_mutex_unlock(&workers->lock);
    return r;
}

void workers_destroy(struct workers *workers)
{
    if (!workers)
        return;
    download_share_destroy(workers->share);
    pthread_cond_destroy(&workers->ended);
    pthread_mutex_destroy(&workers->lock);
    free(workers);
}
