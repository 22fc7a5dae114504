/*
 * One thread that accepts connections on all listening sockets and hands them on. The HTTP library
 * could accept by itself; but it takes a listening socket back from its threads by a race that it
 * loses now and then, and ends the process (MHD_quiesce_daemon with a thread pool, 0.9.75).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#include "http/listen.h"

struct acceptor;

struct acceptor_calls { /* on the acceptor's thread */
    /* Is there room for one more? Else the kernel keeps them waiting, and this is asked again. */
    bool (*has_room)(void *data);
    /* Takes the connection over: non-blocking, close-on-exec. `index`: of the listener. */
    void (*take)(void *data, size_t index, int socket, const struct sockaddr *address,
                 socklen_t len);
};

/* `listeners` is borrowed until acceptor_destroy. 0 or a negative errno. */
int acceptor_create(const struct listeners *listeners, const struct acceptor_calls *calls,
                    void *data, struct acceptor **ret_acceptor);
/* Nothing is accepted, and no call under way, any more. NULL is fine. */
void acceptor_destroy(struct acceptor *acceptor);
