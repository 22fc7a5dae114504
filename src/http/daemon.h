/*
 * The HTTP library's daemons, one for each listening socket, whose connections are accepted here
 * and handed to it. Their certificate can be replaced: the library takes one at the start only, so
 * a new daemon gets the connections from then on, and the old one lives until the last of its own
 * is closed.
 */
#pragma once

#include <microhttpd.h>
#include <stdbool.h>

#include "http/listen.h"
#include "http/tls.h"

struct daemon;
struct daemons;

struct daemon_calls {             /* most are the library's; `daemon` is the connection's own */
    bool (*has_room)(void *data); /* for one more connection; see acceptor.h */
    MHD_AcceptPolicyCallback on_accept;         /* their `data` is daemons_create's */
    MHD_NotifyConnectionCallback on_connection; /* the same */
    void *(*on_uri)(void *daemon, const char *uri, struct MHD_Connection *connection);
    MHD_AccessHandlerCallback on_request;      /* the same */
    MHD_RequestCompletedCallback on_completed; /* the same */
};

/* Starts a daemon for each listener (borrowed until daemons_destroy), with TLS where other machines
 * reach it and there is a `pair` (NULL: none). 0 or a negative errno (logged). */
int daemons_create(const struct listeners *listeners, const struct tls_pair *pair,
                   const struct daemon_calls *calls, void *data, struct daemons **ret_daemons);
/* From now on connections that other machines can make get this pair; those that are open keep what
 * they have. On failure (logged) all stays as it was. Not after daemons_quiesce. */
int daemons_replace(struct daemons *daemons, const struct tls_pair *pair);
/* No connection is accepted any more. */
void daemons_quiesce(struct daemons *daemons);
/* Ends the threads and closes the connections, none of which may be suspended. NULL is fine. */
void daemons_destroy(struct daemons *daemons);

/* For on_uri and on_request: daemons_create's `data`. */
void *daemon_data(const struct daemon *daemon);
bool daemon_has_tls(const struct daemon *daemon);
/* Another one took its place: its connections are to be closed after their answers. */
bool daemon_is_retired(const struct daemon *daemon);
