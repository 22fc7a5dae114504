/* The sockets that the service listens on: TCP ones and the unix socket. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "core/settings.h"

struct listeners {
    size_t count;
    int *sockets;      /* listening, non-blocking */
    char *socket_path; /* of the unix socket, or NULL */
    dev_t socket_dev;  /* what it is known by: it may be another service's by now */
    ino_t socket_ino;
};

/* Opens what the settings say, and the unix socket at `socket_path` (NULL: none); each is logged as
 * "listening on ...". 0 or a negative errno (logged, everything closed again). */
int listeners_open(const struct settings *settings, const char *socket_path, bool user_mode,
                   struct listeners *ret_listeners);
/* Nobody can connect any more; the descriptors stay open. The unix socket's name is removed. */
void listeners_stop(struct listeners *listeners);
void listeners_close(struct listeners *listeners);
