#include "http/stream.h"

#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http/daemon.h"

#define HANG_UPS 64 /* looked at together */
#define UNHEARD_MS                                                                                 \
    60000 /* what was sent and not acknowledged for so long: the other side is gone */
#define PLAIN_BUFFER 512 /* for clients of HTTP/1.0; others read into the connection's memory */

struct streams {
    /* immutable */
    int poll; /* epoll, of all streams' sockets and `ending` */
    int ending;
    pthread_t thread;
    bool has_thread;

    atomic_bool stopping;

    /* protected by lock */
    pthread_mutex_t lock;
    struct stream *list;
    uint64_t opened; /* so many, ever */
};

struct stream {
    /* immutable */
    struct streams *streams;
    const struct daemon *daemon;
    struct MHD_Connection *connection;
    int socket;
    uint64_t number; /* among all; not 0 */
    struct stream_source source;

    atomic_bool gone; /* the other side */

    /* protected by streams->lock */
    struct stream *next, **link;

    /* protected by lock */
    pthread_mutex_t lock;
    bool suspended;
    bool woken;
};

/* --- reading --- */

/* On the library's thread: true if it was woken meanwhile. */
static bool woken_or_suspended(struct stream *stream)
{
    pthread_mutex_lock(&stream->lock);
    bool woken = stream->woken;
    stream->woken = false;
    if (!woken) {
        MHD_suspend_connection(stream->connection);
        stream->suspended = true;
    }
    pthread_mutex_unlock(&stream->lock);
    return woken;
}

void stream_wake(struct stream *stream)
{
    pthread_mutex_lock(&stream->lock);
    if (stream->suspended) {
        stream->suspended = false;
        MHD_resume_connection(stream->connection);
    } else {
        stream->woken = true;
    }
    pthread_mutex_unlock(&stream->lock);
}

static ssize_t on_read(void *data, uint64_t position, char *to, size_t max)
{
    (void)position;
    struct stream *stream = data;
    for (;;) {
        if (atomic_load(&stream->gone))
            return MHD_CONTENT_READER_END_WITH_ERROR;
        if (atomic_load(&stream->streams->stopping) || daemon_is_retired(stream->daemon))
            return MHD_CONTENT_READER_END_OF_STREAM;
        ssize_t n = stream->source.read(stream->source.data, to, max);
        if (n > 0)
            return n;
        if (n != -EAGAIN)
            return n == 0 ? MHD_CONTENT_READER_END_OF_STREAM : MHD_CONTENT_READER_END_WITH_ERROR;
        if (!woken_or_suspended(stream))
            return 0;
    }
}

/* --- who hangs up --- */

/* By its number: it may be gone by now, and another have its memory and its socket. */
static struct stream *find_locked(struct streams *streams, uint64_t number)
{
    struct stream *stream = streams->list;
    while (stream && stream->number != number)
        stream = stream->next;
    return stream;
}

/* A client that has said all may still listen (shutdown(2)): that shows when something is sent. */
static void hung_up_locked(struct streams *streams, struct stream *stream, uint32_t events)
{
    struct epoll_event rest = {.data.u64 = stream->number}; /* errors and hang-ups all the same */
    if (events & (EPOLLERR | EPOLLHUP)) {
        atomic_store(&stream->gone, true);
        epoll_ctl(streams->poll, EPOLL_CTL_DEL, stream->socket, NULL);
    } else {
        stream->source.probe(stream->source.data);
        epoll_ctl(streams->poll, EPOLL_CTL_MOD, stream->socket, &rest);
    }
    stream_wake(stream);
}

static void *watch(void *data)
{
    struct streams *streams = data;
    struct epoll_event events[HANG_UPS];
    for (;;) {
        int count = epoll_wait(streams->poll, events, HANG_UPS, -1);
        bool ends = false;
        pthread_mutex_lock(&streams->lock);
        for (int i = 0; i < count; i++) {
            struct stream *stream = find_locked(streams, events[i].data.u64);
            ends = ends || events[i].data.u64 == 0;
            if (stream)
                hung_up_locked(streams, stream, events[i].events);
        }
        pthread_mutex_unlock(&streams->lock);
        if (ends)
            return NULL;
    }
}

static int watch_socket(int poll, int socket, uint32_t events, uint64_t number)
{
    struct epoll_event event = {.events = events, .data.u64 = number};
    return epoll_ctl(poll, EPOLL_CTL_ADD, socket, &event) < 0 ? -errno : 0;
}

/* --- one stream --- */

struct stream *stream_open(struct streams *streams, const struct daemon *daemon,
                           struct MHD_Connection *connection, const struct stream_source *source)
{
    struct stream *stream = calloc(1, sizeof *stream);
    if (!stream)
        return NULL;
    stream->streams = streams;
    stream->daemon = daemon;
    stream->connection = connection;
    stream->socket =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
    stream->source = *source;
    atomic_init(&stream->gone, false);
    pthread_mutex_init(&stream->lock, NULL);
    setsockopt(stream->socket, IPPROTO_TCP, TCP_USER_TIMEOUT, &(unsigned){UNHEARD_MS},
               sizeof(unsigned)); /* not on the unix socket, where nobody is lost on the way */
    pthread_mutex_lock(&streams->lock);
    stream->next = streams->list;
    stream->link = &streams->list;
    if (stream->next)
        stream->next->link = &stream->next;
    streams->list = stream;
    stream->number = ++streams->opened;
    pthread_mutex_unlock(&streams->lock);
    /* Without it, a heartbeat finds out later. */
    (void)watch_socket(streams->poll, stream->socket, EPOLLRDHUP, stream->number);
    return stream;
}

struct MHD_Response *stream_response(struct stream *stream)
{
    return MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, PLAIN_BUFFER, on_read, stream, NULL);
}

void stream_close(struct stream *stream)
{
    if (!stream)
        return;
    struct streams *streams = stream->streams;
    epoll_ctl(streams->poll, EPOLL_CTL_DEL, stream->socket, NULL);
    pthread_mutex_lock(&streams->lock);
    *stream->link = stream->next;
    if (stream->next)
        stream->next->link = stream->link;
    pthread_mutex_unlock(&streams->lock);
    stream->source.close(stream->source.data);
    pthread_mutex_destroy(&stream->lock);
    free(stream);
}

/* --- all of them --- */

int streams_create(struct streams **ret_streams)
{
    struct streams *streams = calloc(1, sizeof *streams);
    if (!streams)
        return -ENOMEM;
    pthread_mutex_init(&streams->lock, NULL);
    atomic_init(&streams->stopping, false);
    streams->poll = epoll_create1(EPOLL_CLOEXEC);
    streams->ending = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int error = streams->poll < 0 || streams->ending < 0 ? -errno : 0;
    if (!error)
        error = watch_socket(streams->poll, streams->ending, EPOLLIN, 0);
    if (!error)
        error = -pthread_create(&streams->thread, NULL, watch, streams);
    streams->has_thread = !error;
    if (error)
        streams_destroy(streams);
    else
        *ret_streams = streams;
    return error;
}

void streams_destroy(struct streams *streams)
{
    if (!streams)
        return;
    if (streams->has_thread) {
        eventfd_write(streams->ending, 1);
        pthread_join(streams->thread, NULL);
    }
    if (streams->poll >= 0)
        close(streams->poll);
    if (streams->ending >= 0)
        close(streams->ending);
    pthread_mutex_destroy(&streams->lock);
    free(streams);
}

/* The lock keeps them here: who is woken may end before the next one's turn. */
static void wake_all(struct streams *streams)
{
    pthread_mutex_lock(&streams->lock);
    for (struct stream *stream = streams->list; stream; stream = stream->next)
        stream_wake(stream);
    pthread_mutex_unlock(&streams->lock);
}

void streams_stop(struct streams *streams)
{
    atomic_store(&streams->stopping, true);
    wake_all(streams);
}

void streams_end_retired(struct streams *streams)
{
    wake_all(streams);
}
