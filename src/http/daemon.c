#include "http/daemon.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "common/units.h"
#include "http/acceptor.h"

#define THREADS          2         /* of each daemon */
#define CONNECTION_BYTES 16384     /* of memory for head and buffers */
#define UNBOUNDED        (1 << 20) /* connections of each daemon: on_accept bounds better */
#define IDLE_SECONDS     30        /* of a connection */
#define LOOK_EVERY       1000      /* ms between looks at retired daemons */
#define TLS_VERSIONS     "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"

struct daemon {
    struct MHD_Daemon *mhd;
    void *data;
    bool has_tls;
    atomic_bool retired;
    struct daemon *next; /* among the retired, under their lock */
};

struct daemons {
    /* immutable */
    const struct listeners *listeners;
    struct daemon_calls calls;
    void *data;

    /* the owner's thread only */
    struct acceptor *acceptor; /* NULL: nobody accepts */
    pthread_t undertaker;      /* ends retired daemons */
    bool has_undertaker;

    /* protected by lock */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct daemon **current; /* one for each listener; NULL: not started */
    struct daemon *retired;
    bool closing;
};

void *daemon_data(const struct daemon *daemon)
{
    return daemon->data;
}

bool daemon_has_tls(const struct daemon *daemon)
{
    return daemon->has_tls;
}

bool daemon_is_retired(const struct daemon *daemon)
{
    return atomic_load(&daemon->retired);
}

/* --- one daemon --- */

__attribute__((format(printf, 2, 0))) static void on_log(void *data, const char *format,
                                                         va_list arguments)
{
    (void)data;
    char line[512];
    vsnprintf(line, sizeof line, format, arguments);
    line[strcspn(line, "\n")] = '\0';
    log_debug("http: %s", line);
}

static struct MHD_Daemon *start_mhd(const struct daemons *daemons, struct daemon *daemon,
                                    const struct tls_pair *pair)
{
    struct MHD_OptionItem secured[] = {
        {MHD_OPTION_HTTPS_MEM_CERT,   0, pair ? pair->cert : NULL},
        {MHD_OPTION_HTTPS_MEM_KEY,    0, pair ? pair->key : NULL },
        {MHD_OPTION_HTTPS_PRIORITIES, 0, TLS_VERSIONS            },
        {MHD_OPTION_END,              0, NULL                    },
    };
    struct MHD_OptionItem plain[] = {
        {MHD_OPTION_END, 0, NULL},
    };
    const struct daemon_calls *calls = &daemons->calls;
    return MHD_start_daemon(
        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_NO_LISTEN_SOCKET | MHD_USE_ITC |
            MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG | (pair ? MHD_USE_TLS : 0),
        0, calls->on_accept, daemons->data, calls->on_request, daemons->data,
        MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL, MHD_OPTION_ARRAY, pair ? secured : plain,
        MHD_OPTION_THREAD_POOL_SIZE, (unsigned)THREADS, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)CONNECTION_BYTES, MHD_OPTION_CONNECTION_LIMIT, (unsigned)UNBOUNDED,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_SECONDS, MHD_OPTION_URI_LOG_CALLBACK,
        calls->on_uri, daemon, MHD_OPTION_NOTIFY_COMPLETED, calls->on_completed, daemons->data,
        MHD_OPTION_NOTIFY_CONNECTION, calls->on_connection, daemons->data, MHD_OPTION_END);
}

static int start_daemon(const struct daemons *daemons, const struct listener *listener,
                        const struct tls_pair *pair, struct daemon **ret_daemon)
{
    struct daemon *daemon = calloc(1, sizeof *daemon);
    if (!daemon)
        return -ENOMEM;
    if (!listener->is_public)
        pair = NULL;
    daemon->data = daemons->data;
    daemon->has_tls = pair != NULL;
    atomic_init(&daemon->retired, false);
    daemon->mhd = start_mhd(daemons, daemon, pair);
    if (!daemon->mhd) {
        if (pair && MHD_is_feature_supported(MHD_FEATURE_TLS) == MHD_NO)
            log_error("this libmicrohttpd was built without TLS");
        else
            log_error("the HTTP server does not start: %s%s", strerror(errno),
                      pair ? "; perhaps its TLS library, GnuTLS, does not take this certificate"
                           : "");
        free(daemon);
        return -EIO;
    }
    *ret_daemon = daemon;
    return 0;
}

/* Nothing is added to it any more, and no connection of it is suspended. */
static void end_daemon(struct daemon *daemon)
{
    MHD_stop_daemon(daemon->mhd);
    free(daemon);
}

static unsigned connections_of(const struct daemon *daemon)
{
    const union MHD_DaemonInfo *info =
        MHD_get_daemon_info(daemon->mhd, MHD_DAEMON_INFO_CURRENT_CONNECTIONS);
    return info ? info->num_connections : 0;
}

/* --- retired ones --- */

/* Takes those that have no connection out of the list. */
static struct daemon *take_drained_locked(struct daemons *daemons)
{
    struct daemon *drained = NULL;
    for (struct daemon **link = &daemons->retired; *link;) {
        struct daemon *daemon = *link;
        if (connections_of(daemon) > 0) {
            link = &daemon->next;
            continue;
        }
        *link = daemon->next;
        daemon->next = drained;
        drained = daemon;
    }
    return drained;
}

static void *bury(void *data)
{
    struct daemons *daemons = data;
    pthread_mutex_lock(&daemons->lock);
    while (!daemons->closing) {
        if (!daemons->retired) {
            pthread_cond_wait(&daemons->changed, &daemons->lock);
            continue;
        }
        /* What was handed to it when it was retired is counted by then. */
        struct timespec next = units_monotonic_in(LOOK_EVERY);
        if (pthread_cond_timedwait(&daemons->changed, &daemons->lock, &next) != ETIMEDOUT)
            continue;
        struct daemon *drained = take_drained_locked(daemons);
        pthread_mutex_unlock(&daemons->lock);
        for (struct daemon *daemon; (daemon = drained);) {
            drained = daemon->next;
            end_daemon(daemon);
            log_debug("http: an old certificate has no connections any more");
        }
        pthread_mutex_lock(&daemons->lock);
    }
    pthread_mutex_unlock(&daemons->lock);
    return NULL;
}

static int start_undertaker(struct daemons *daemons)
{
    if (daemons->has_undertaker)
        return 0;
    int error = -pthread_create(&daemons->undertaker, NULL, bury, daemons);
    daemons->has_undertaker = !error;
    return error;
}

static void retire_locked(struct daemons *daemons, struct daemon *daemon)
{
    atomic_store(&daemon->retired, true);
    daemon->next = daemons->retired;
    daemons->retired = daemon;
    pthread_cond_broadcast(&daemons->changed);
}

/* --- connections --- */

static bool has_room(void *data)
{
    struct daemons *daemons = data;
    return daemons->calls.has_room(daemons->data);
}

static void take(void *data, size_t index, int socket, const struct sockaddr *address,
                 socklen_t len)
{
    struct daemons *daemons = data;
    pthread_mutex_lock(&daemons->lock); /* it is not retired in between */
    if (MHD_add_connection(daemons->current[index]->mhd, socket, address, len) != MHD_YES)
        log_debug("http: a connection is refused: %s", strerror(errno)); /* and closed */
    pthread_mutex_unlock(&daemons->lock);
}

/* --- all of them --- */

static struct daemons *allocate(const struct listeners *listeners)
{
    struct daemons *daemons = calloc(1, sizeof *daemons);
    if (!daemons)
        return NULL;
    daemons->current = calloc(listeners->count + 1, sizeof *daemons->current);
    if (!daemons->current) {
        free(daemons);
        return NULL;
    }
    units_condition_init(&daemons->changed);
    pthread_mutex_init(&daemons->lock, NULL);
    daemons->listeners = listeners;
    return daemons;
}

int daemons_create(const struct listeners *listeners, const struct tls_pair *pair,
                   const struct daemon_calls *calls, void *data, struct daemons **ret_daemons)
{
    static const struct acceptor_calls acceptor = {.has_room = has_room, .take = take};
    struct daemons *daemons = allocate(listeners);
    int error = daemons ? 0 : -ENOMEM;
    if (daemons) {
        daemons->calls = *calls;
        daemons->data = data;
    }
    for (size_t i = 0; i < listeners->count && !error; i++)
        error = start_daemon(daemons, &listeners->items[i], pair, &daemons->current[i]);
    if (!error)
        error = acceptor_create(listeners, &acceptor, daemons, &daemons->acceptor);
    if (error)
        daemons_destroy(daemons);
    else
        *ret_daemons = daemons;
    return error;
}

int daemons_replace(struct daemons *daemons, const struct tls_pair *pair)
{
    const struct listeners *listeners = daemons->listeners;
    _cleanup_free_ struct daemon **fresh = calloc(listeners->count + 1, sizeof *fresh);
    int error = fresh ? start_undertaker(daemons) : -ENOMEM;
    for (size_t i = 0; i < listeners->count && !error; i++)
        if (listeners->items[i].is_public)
            error = start_daemon(daemons, &listeners->items[i], pair, &fresh[i]);
    pthread_mutex_lock(&daemons->lock);
    for (size_t i = 0; i < listeners->count && !error; i++) {
        if (!fresh[i])
            continue;
        retire_locked(daemons, daemons->current[i]);
        daemons->current[i] = fresh[i];
    }
    pthread_mutex_unlock(&daemons->lock);
    for (size_t i = 0; fresh && error && i < listeners->count; i++)
        if (fresh[i])
            end_daemon(fresh[i]);
    return error;
}

void daemons_quiesce(struct daemons *daemons)
{
    acceptor_destroy(TAKE_PTR(daemons->acceptor));
}

void daemons_destroy(struct daemons *daemons)
{
    if (!daemons)
        return;
    daemons_quiesce(daemons);
    pthread_mutex_lock(&daemons->lock);
    daemons->closing = true;
    pthread_cond_broadcast(&daemons->changed);
    pthread_mutex_unlock(&daemons->lock);
    if (daemons->has_undertaker)
        pthread_join(daemons->undertaker, NULL);
    for (struct daemon *daemon; (daemon = daemons->retired);) {
        daemons->retired = daemon->next;
        end_daemon(daemon);
    }
    for (size_t i = 0; i < daemons->listeners->count && daemons->current[i]; i++)
        end_daemon(daemons->current[i]);
    free(daemons->current);
    pthread_cond_destroy(&daemons->changed);
    pthread_mutex_destroy(&daemons->lock);
    free(daemons);
}
