#include "http/acceptor.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/log.h"

#define PAUSE      100 /* ms until what is short now is looked at again */
#define ROOM_PAUSE 5   /* the same of room, which comes sooner */
#define BURST      64  /* connections of one listener before the others have their turn */

struct acceptor {
    /* immutable */
    const struct listeners *listeners;
    struct acceptor_calls calls;
    void *data;
    int stop; /* an eventfd */
    pthread_t thread;

    /* the thread's only */
    struct pollfd *polled; /* the listeners, then `stop` */
    bool is_short;         /* of descriptors or memory, and that is said */
};

/* False: something is short. Whoever hung up meanwhile is no loss. */
static bool accept_one(struct acceptor *acceptor, size_t index, bool *ret_more)
{
    struct sockaddr_storage address = {0};
    socklen_t len = sizeof address;
    int fd = accept4(acceptor->listeners->items[index].socket, (struct sockaddr *)&address, &len,
                     SOCK_NONBLOCK | SOCK_CLOEXEC);
    *ret_more = fd >= 0;
    if (fd >= 0) {
        acceptor->calls.take(acceptor->data, index, fd, (struct sockaddr *)&address, len);
        acceptor->is_short = false;
        return true;
    }
    if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)
        return true;
    if (!acceptor->is_short)
        log_warning("connections cannot be accepted just now: %s", strerror(errno));
    acceptor->is_short = true;
    return false;
}

static bool accept_burst(struct acceptor *acceptor, size_t index)
{
    bool more = true, well = true;
    for (int i = 0; i < BURST && more && well; i++) {
        if (!acceptor->calls.has_room(acceptor->data))
            break;
        well = accept_one(acceptor, index, &more);
    }
    return well;
}

/* Waits for connections if there is room, or, when not `well`, for a while; false: it is time to
 * end. */
static bool wait_for_some(struct acceptor *acceptor, bool well)
{
    size_t count = acceptor->listeners->count;
    bool wanted = well && acceptor->calls.has_room(acceptor->data);
    for (size_t i = 0; i < count; i++)
        acceptor->polled[i] = (struct pollfd){
            .fd = wanted ? acceptor->listeners->items[i].socket : -1, .events = POLLIN};
    acceptor->polled[count] = (struct pollfd){.fd = acceptor->stop, .events = POLLIN};
    if (poll(acceptor->polled, count + 1, wanted ? -1 : well ? ROOM_PAUSE : PAUSE) < 0)
        memset(acceptor->polled, 0, (count + 1) * sizeof *acceptor->polled);
    return !acceptor->polled[count].revents;
}

static void *accept_all(void *data)
{
    struct acceptor *acceptor = data;
    bool well = true;
    while (wait_for_some(acceptor, well)) {
        well = true;
        for (size_t i = 0; i < acceptor->listeners->count; i++)
            if (acceptor->polled[i].revents)
                well = accept_burst(acceptor, i) && well;
    }
    return NULL;
}

static void release(struct acceptor *acceptor)
{
    if (acceptor->stop >= 0)
        close(acceptor->stop);
    free(acceptor->polled);
    free(acceptor);
}

int acceptor_create(const struct listeners *listeners, const struct acceptor_calls *calls,
                    void *data, struct acceptor **ret_acceptor)
{
    struct acceptor *acceptor = calloc(1, sizeof *acceptor);
    if (!acceptor)
        return -ENOMEM;
    acceptor->listeners = listeners;
    acceptor->calls = *calls;
    acceptor->data = data;
    acceptor->polled = calloc(listeners->count + 1, sizeof *acceptor->polled);
    acceptor->stop = eventfd(0, EFD_CLOEXEC);
    int error = !acceptor->polled ? -ENOMEM : acceptor->stop < 0 ? -errno : 0;
    if (!error)
        error = -pthread_create(&acceptor->thread, NULL, accept_all, acceptor);
    if (error)
        release(acceptor);
    else
        *ret_acceptor = acceptor;
    return error;
}

void acceptor_destroy(struct acceptor *acceptor)
{
    if (!acceptor)
        return;
    eventfd_write(acceptor->stop, 1);
    pthread_join(acceptor->thread, NULL);
    release(acceptor);
}
