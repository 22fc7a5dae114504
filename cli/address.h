/* Which service to talk to: from the options, the environment, or the first that accepts. */
#pragma once

#include <stdbool.h>

#include "common/api.h"
#include "ssh.h"

struct address {
    char *socket; /* the path of a unix socket, or NULL */
    char *host;   /* its name or address, without brackets; NULL: a unix socket */
    char *url;    /* "http://HOST:PORT", "https://HOST:PORT" */
    char *name;   /* for messages */
    char *tried;  /* all that were tried, for the message that none answers; NULL: only this one */
    bool is_doubtful; /* there is a system's service, but its socket is not answered */
    bool is_https;
    struct ssh_place ssh; /* with a host: through ssh to `host` and `port` there */
    char *port;           /* of the service; NULL: a unix socket */
    char *cacert;         /* https: whom to trust, a file; NULL: the system's authorities */
    char *pin;            /* https: "sha256//BASE64" of the public key, or NULL */
};

struct address_options { /* those that were not given are NULL */
    const char *host, *port, *socket, *cacert, *pin;
};

/* On failure the reason was said and nothing is to be released. */
enum api_exit address_find(const struct address_options *options, struct address *ret_address);
/* 0 or -ENOMEM. */
int address_copy(const struct address *address, struct address *ret_copy);
void address_release(struct address *address);
