#include "privsep/privsep.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "privsep/wire.h"

struct privsep {
    /* immutable */
    int control;
    int wake; /* an eventfd: the thread shall end */
    struct privsep_events events;
    pthread_t thread;
    bool started;

    /* listening thread only */
    bool stopped;
};

static void handle(struct privsep *privsep, const struct wire_control *message)
{
    switch (message->kind) {
    case WIRE_STOP:
        if (privsep->stopped)
            _exit(0);
        privsep->stopped = true;
        privsep->events.on_stop(privsep->events.data);
        break;
    case WIRE_STOP_NOW:
        _exit(0);
    case WIRE_RELOAD:
        privsep->events.on_reload(privsep->events.data);
        break;
    default:
        log_error("the monitor sent a message of an unknown kind (%u)", message->kind);
        _exit(1);
    }
}

/* Without its monitor the service has nobody to stop it: it ends at once. */
static void hear(struct privsep *privsep)
{
    struct wire_control message;
    int r = wire_receive(privsep->control, &message, sizeof(message), NULL, 0);
    if (r == 0 && wire_control_valid(&message)) {
        handle(privsep, &message);
    } else if (r != -ETIMEDOUT) {
        log_error("the monitor is gone; ending");
        _exit(1);
    }
}

static void *listening_thread(void *data)
{
    struct privsep *privsep = data;
    struct pollfd items[] = {
        {.fd = privsep->control, .events = POLLIN},
        {.fd = privsep->wake,    .events = POLLIN},
    };
    while (!items[1].revents) {
        if (poll(items, 2, -1) > 0 && items[0].revents && !items[1].revents)
            hear(privsep);
    }
    return NULL;
}

int privsep_create(int control, const struct privsep_events *events, struct privsep **ret_privsep)
{
    struct privsep *privsep = calloc(1, sizeof(*privsep));
    if (!privsep) {
        close(control);
        return -ENOMEM;
    }
    privsep->control = control;
    privsep->events = *events;
    privsep->wake = eventfd(0, EFD_CLOEXEC);
    int r = privsep->wake < 0 ? -errno : 0;
    if (r == 0)
        r = -pthread_create(&privsep->thread, NULL, listening_thread, privsep);
    if (r < 0) {
        privsep_destroy(privsep);
        return r;
    }
    privsep->started = true;
    *ret_privsep = privsep;
    return 0;
}

void privsep_destroy(struct privsep *privsep)
{
    if (!privsep)
        return;
    if (privsep->started) {
        uint64_t one = 1;
        (void)!write(privsep->wake, &one, sizeof(one));
        pthread_join(privsep->thread, NULL);
    }
    if (privsep->wake >= 0)
        close(privsep->wake);
    close(privsep->control);
    free(privsep);
}

static int tell(struct privsep *privsep, enum wire_control_kind kind)
{
    struct wire_control message = {.kind = kind};
    return wire_send(privsep->control, &message, sizeof(message), -1);
}

int privsep_ready(struct privsep *privsep)
{
    return tell(privsep, WIRE_READY);
}

int privsep_alive(struct privsep *privsep)
{
    return tell(privsep, WIRE_ALIVE);
}

int privsep_stopping(struct privsep *privsep)
{
    return tell(privsep, WIRE_STOPPING);
}

int privsep_spawn_filer(struct privsep *privsep, uid_t uid, mode_t umask, int *ret_control)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
        return -errno;
    _cleanup_close_ int ours = ends[0];
    _cleanup_close_ int theirs = ends[1];
    struct wire_control message = {.kind = WIRE_SPAWN_FILER, .uid = uid, .umask = umask};
    int r = wire_send(privsep->control, &message, sizeof(message), theirs);
    if (r == 0)
        *ret_control = TAKE_FD(ours);
    return r;
}

/* --- passwords --- */

static bool put_text(char *to, size_t size, const char *text)
{
    size_t len = strlen(text);
    if (len >= size)
        return false;
    memcpy(to, text, len + 1);
    return true;
}

/* The question waits in the socket for the child that the monitor makes. */
static int send_question(int socket, const char *user, const char *password, const char *host)
{
    struct wire_password question = {0};
    int r = -EINVAL;
    if (put_text(question.user, sizeof(question.user), user) &&
        put_text(question.password, sizeof(question.password), password) &&
        put_text(question.host, sizeof(question.host), host) && wire_password_valid(&question))
        r = wire_send(socket, &question, sizeof(question), -1);
    explicit_bzero(&question, sizeof(question));
    return r;
}

int privsep_check_password(struct privsep *privsep, const char *user, const char *password,
                           const char *host, int *ret_socket)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
        return -errno;
    _cleanup_close_ int ours = ends[0];
    _cleanup_close_ int theirs = ends[1];
    struct wire_control message = {.kind = WIRE_CHECK_PASSWORD};
    int r = send_question(ours, user, password, host);
    if (r == 0)
        r = wire_send(privsep->control, &message, sizeof(message), theirs);
    if (r == 0)
        *ret_socket = TAKE_FD(ours);
    return r;
}

enum wire_verdict_kind privsep_read_verdict(int socket)
{
    struct wire_verdict answer;
    int r = wire_receive(socket, &answer, sizeof(answer), NULL, 0);
    return r == 0 && wire_verdict_valid(&answer) ? answer.verdict : WIRE_UNDECIDED;
}
