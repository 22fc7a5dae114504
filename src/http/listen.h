/* The sockets that the service listens on: TCP ones and the unix socket. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "core/address.h"
#include "core/settings.h"

struct listener {
    int socket;     /* listening, non-blocking */
    bool is_public; /* other machines reach it */
};

struct listeners {
    size_t count;
    struct listener *items;
    char *socket_path; /* of the unix socket, or NULL */
    dev_t socket_dev;  /* what it is known by: it may be another service's by now */
    ino_t socket_ino;
};

/* Opens what the settings say, and the unix socket at `socket_path` (NULL: none); each is logged as
 * "listening on ...". `pin`: of the key that public ones will show; NULL: they speak plain HTTP,
 * which is warned of. 0 or a negative errno (logged, everything closed again). */
int listeners_open(const struct settings *settings, const char *socket_path, const char *pin,
                   struct listeners *ret_listeners);
/* Where the TCP ones are, as the kernel has it. The caller frees the list. 0 or -ENOMEM. */
int listeners_endpoints(const struct listeners *listeners, struct address_endpoint **ret_endpoints,
                        size_t *ret_count);
/* Nobody can connect any more; the descriptors stay open. The unix socket's name is removed. */
void listeners_stop(struct listeners *listeners);
void listeners_close(struct listeners *listeners);
