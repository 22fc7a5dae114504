/* Which service to talk to: from the options, the environment, or the first that accepts. */
#pragma once

#include "common/api.h"

struct address {
    char *socket; /* the path of a unix socket, or NULL */
    char *url; /* "http://HOST:PORT" */
    char *name; /* for messages */
    char *tried; /* all that were tried, for the message that none answers; NULL: only this one */
};

/* Options that were not given are NULL. On failure the reason was said and nothing is to be
 * released. */
enum api_exit address_find(const char *host, const char *port, const char *socket,
                           struct address *ret_address);
void address_release(struct address *address);
