#include "worker.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#include "common/api.h"
#include "common/cleanup.h"

enum worker_life {
    WORKER_NONE, /* no thread, none to join */
    WORKER_ALIVE,
    WORKER_ENDED, /* to be joined */
};

struct worker {
    /* immutable */
    struct workers *workers;
    unsigned number;

    /* protected by workers->lock */
    enum worker_life life;
    pthread_t thread;

    /* worker thread only */
    struct worker_tools tools;
};

struct workers {
    /* immutable */
    struct queue *queue;
    struct download_share *share;
    worker_run run;
    void *data;

    pthread_mutex_t lock;
    /* protected by lock */
    struct worker all[API_MAX_TASKS_MAX];
};

int workers_create(struct queue *queue, worker_run run, void *data, struct workers **ret_workers)
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
    workers->run = run;
    workers->data = data;
    pthread_mutex_init(&workers->lock, NULL);
    for (unsigned i = 0; i < API_MAX_TASKS_MAX; i++) {
        workers->all[i].workers = workers;
        workers->all[i].number = i;
    }
    *ret_workers = workers;
    return 0;
}

/* True when the worker has to end: not if it was asked back between the queue's word and here. */
static bool leave(struct worker *worker, int reason)
{
    struct workers *workers = worker->workers;
    pthread_mutex_lock(&workers->lock);
    bool leaving = reason != -ECANCELED || worker->number >= queue_slots(workers->queue);
    if (leaving)
        worker->life = WORKER_ENDED;
    pthread_mutex_unlock(&workers->lock);
    return leaving;
}

/* Until the queue says why not; that is the value. */
static int work(struct worker *worker)
{
    struct workers *workers = worker->workers;
    uid_t uid;
    int64_t row;
    int r;
    while ((r = queue_pop(workers->queue, worker->number, &uid, &row)) == 0) {
        workers->run(workers->data, &worker->tools, uid, row);
        queue_release(workers->queue, uid);
        /* An idle worker keeps nobody's filer from ending. */
        if (queue_length(workers->queue, QUEUE_EVERYBODY) == 0)
            files_close(TAKE_PTR(worker->tools.channel));
    }
    return r;
}

static void *worker_thread(void *data)
{
    struct worker *worker = data;
    while (!leave(worker, work(worker)))
        ;
    files_close(TAKE_PTR(worker->tools.channel));
    transfer_destroy(TAKE_PTR(worker->tools.transfer));
    return NULL;
}

static int start_locked(struct worker *worker)
{
    if (worker->life == WORKER_ENDED)
        pthread_join(worker->thread, NULL);
    worker->life = WORKER_NONE;
    int r = transfer_create(worker->workers->share, &worker->tools.transfer);
    if (r < 0)
        return r;
    r = pthread_create(&worker->thread, NULL, worker_thread, worker);
    if (r != 0) {
        transfer_destroy(TAKE_PTR(worker->tools.transfer));
        return -r;
    }
    worker->life = WORKER_ALIVE;
    return 0;
}

int workers_resize(struct workers *workers, unsigned number)
{
    int r = 0;
    pthread_mutex_lock(&workers->lock);
    queue_set_slots(workers->queue, number);
    for (unsigned i = 0; i < number && r == 0; i++)
        if (workers->all[i].life != WORKER_ALIVE)
            r = start_locked(&workers->all[i]);
    pthread_mutex_unlock(&workers->lock);
    return r;
}

void workers_join(struct workers *workers)
{
    for (unsigned i = 0; i < API_MAX_TASKS_MAX; i++) {
        struct worker *worker = &workers->all[i];
        pthread_mutex_lock(&workers->lock);
        bool joinable = worker->life != WORKER_NONE;
        pthread_mutex_unlock(&workers->lock);
        if (joinable)
            pthread_join(worker->thread, NULL);
        worker->life = WORKER_NONE;
    }
}

void workers_destroy(struct workers *workers)
{
    if (!workers)
        return;
    download_share_destroy(workers->share);
    pthread_mutex_destroy(&workers->lock);
    free(workers);
}
