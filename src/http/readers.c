#include "http/readers.h"

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>

#include "lanes.h"

#define IDLE 10000 /* ms until the thread of one who sends no more is ended */

struct readers {
    struct lanes *lanes;

    pthread_mutex_t lock;
    pthread_cond_t turn;
    /* protected by lock */
    uint64_t asked, served;
};

struct reading {
    struct lane_job job; /* first: lanes hand it back */
    struct http_request *request;
    readers_read read;
    void *data;
};

static void begin_turn(struct readers *readers)
{
    pthread_mutex_lock(&readers->lock);
    uint64_t turn = readers->asked++;
    while (readers->served != turn)
        pthread_cond_wait(&readers->turn, &readers->lock);
    pthread_mutex_unlock(&readers->lock);
}

static void end_turn(struct readers *readers)
{
    pthread_mutex_lock(&readers->lock);
    readers->served++;
    pthread_cond_broadcast(&readers->turn);
    pthread_mutex_unlock(&readers->lock);
}

static void work(void *data, uid_t uid, struct files_channel **channel, struct lane_job *jobs)
{
    struct readers *readers = data;
    (void)uid;
    (void)channel;
    while (jobs) {
        struct reading *reading = (struct reading *)jobs;
        jobs = jobs->next;
        begin_turn(readers);
        reading->read(reading->request, reading->data);
        end_turn(readers);
        free(reading);
    }
}

int readers_put(struct readers *readers, uid_t uid, struct http_request *request, readers_read read,
                void *data)
{
    struct reading *reading = malloc(sizeof *reading);
    if (!reading)
        return -ENOMEM;
    *reading = (struct reading){.request = request, .read = read, .data = data};
    int r = lanes_put(readers->lanes, uid, &reading->job);
    if (r < 0)
        free(reading);
    return r < 0 && r != -ESHUTDOWN ? -ENOMEM : r;
}

int readers_create(struct readers **ret_readers)
{
    struct readers *readers = calloc(1, sizeof *readers);
    if (!readers)
        return -ENOMEM;
    int r = lanes_create(NULL, IDLE, work, readers, &readers->lanes);
    if (r < 0) {
        free(readers);
        return r;
    }
    pthread_mutex_init(&readers->lock, NULL);
    pthread_cond_init(&readers->turn, NULL);
    *ret_readers = readers;
    return 0;
}

void readers_stop(struct readers *readers)
{
    lanes_close(readers->lanes);
    lanes_wait(readers->lanes, -1);
}

void readers_destroy(struct readers *readers)
{
    if (!readers)
        return;
    lanes_destroy(readers->lanes);
    pthread_cond_destroy(&readers->turn);
    pthread_mutex_destroy(&readers->lock);
    free(readers);
}
