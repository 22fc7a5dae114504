#include "http/drain.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/units.h"

#define SOCKETS_MAX 64
#define PATIENCE_MS 5000
#define READS       16 /* of one socket before the next one's turn */

struct drain {
    /* immutable */
    pthread_t thread;
    int wake;

    /* protected by lock; only the thread removes */
    pthread_mutex_t lock;
    bool closing;
    size_t count;
    struct {
        int fd;
        int64_t deadline; /* CLOCK_BOOTTIME, ms */
    } sockets[SOCKETS_MAX];

    /* thread only */
    char dropped[16384];
};

static void wake(struct drain *drain)
{
    while (write(drain->wake, &(uint64_t){1}, sizeof(uint64_t)) < 0 && errno == EINTR)
        ;
}

/* True at the end of the stream, or on an error. */
static bool drop(struct drain *drain, int fd)
{
    for (int i = 0; i < READS; i++) {
        ssize_t n = recv(fd, drain->dropped, sizeof drain->dropped, MSG_DONTWAIT);
        if (n <= 0)
            return n == 0 || (errno != EAGAIN && errno != EINTR);
    }
    return false;
}

/* Lets go of the sockets whose time is over and lists the others. The time to wait, -1: for ever.
 */
static int list_locked(struct drain *drain, struct pollfd *ret_polls)
{
    int64_t now = units_now_boottime();
    int64_t wait = -1;
    size_t kept = 0;
    for (size_t i = 0; i < drain->count; i++) {
        int64_t left = drain->closing ? 0 : drain->sockets[i].deadline - now;
        if (left <= 0) {
            close(drain->sockets[i].fd);
            continue;
        }
        wait = wait < 0 || left < wait ? left : wait;
        ret_polls[kept] = (struct pollfd){.fd = drain->sockets[i].fd, .events = POLLIN};
        drain->sockets[kept++] = drain->sockets[i];
    }
    drain->count = kept;
    return (int)wait;
}

static void *run(void *data)
{
    struct drain *drain = data;
    struct pollfd polls[SOCKETS_MAX + 1];
    for (;;) {
        pthread_mutex_lock(&drain->lock);
        int wait = list_locked(drain, polls);
        size_t count = drain->count;
        bool closing = drain->closing;
        pthread_mutex_unlock(&drain->lock);
        if (closing)
            return NULL;

        polls[count] = (struct pollfd){.fd = drain->wake, .events = POLLIN};
        if (poll(polls, count + 1, wait) <= 0)
            continue;
        if (polls[count].revents)
            (void)!read(drain->wake, &(uint64_t){0}, sizeof(uint64_t));
        for (size_t i = 0; i < count; i++) {
            if (!polls[i].revents || !drop(drain, polls[i].fd))
                continue;
            pthread_mutex_lock(&drain->lock);
            drain->sockets[i].deadline = 0;
            pthread_mutex_unlock(&drain->lock);
        }
    }
}

int drain_create(struct drain **ret_drain)
{
    struct drain *drain = calloc(1, sizeof *drain);
    if (!drain)
        return -ENOMEM;
    drain->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int error = drain->wake < 0 ? -errno : 0;
    pthread_mutex_init(&drain->lock, NULL);
    if (!error)
        error = -pthread_create(&drain->thread, NULL, run, drain);
    if (error) {
        pthread_mutex_destroy(&drain->lock);
        if (drain->wake >= 0)
            close(drain->wake);
        free(drain);
        return error;
    }
    *ret_drain = drain;
    return 0;
}

void drain_destroy(struct drain *drain)
{
    if (!drain)
        return;
    pthread_mutex_lock(&drain->lock);
    drain->closing = true;
    pthread_mutex_unlock(&drain->lock);
    wake(drain);
    pthread_join(drain->thread, NULL);
    pthread_mutex_destroy(&drain->lock);
    close(drain->wake);
    free(drain);
}

void drain_add(struct drain *drain, int socket)
{
    int fd = fcntl(socket, F_DUPFD_CLOEXEC, 0);
    if (fd < 0)
        return;
    pthread_mutex_lock(&drain->lock);
    bool full = drain->count == SOCKETS_MAX;
    if (!full) {
        drain->sockets[drain->count].fd = fd;
        drain->sockets[drain->count++].deadline = units_now_boottime() + PATIENCE_MS;
    }
    pthread_mutex_unlock(&drain->lock);
    if (full)
        close(fd);
    else
        wake(drain);
}
