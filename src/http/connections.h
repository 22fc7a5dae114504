/*
 * The table of open connections: how many there are and from where, what each of them is doing and
 * until when, and which one goes when there are too many. Who goes is shut down (shutdown(2)),
 * which the HTTP library sees as the end of the connection; closing the descriptor is the
 * library's. shutdown(2) and connections_remove share the table's lock, so that no descriptor is
 * shut down that has become another file.
 *
 * Every function locks inside and calls nobody. Times are milliseconds of the given clock.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#define CONNECTIONS_MAX 4096 /* in all */
#define CONNECTIONS_PER_ADDRESS                                                                    \
    64 /* of one address elsewhere; loopback, and each user of the unix                            \
        * socket, have half of all */
#define CONNECTION_HEAD_MS      10000
#define CONNECTION_IDLE_MS      30000
#define CONNECTION_BODY_MS      10000 /* and the time that its bytes take */
#define CONNECTION_ANSWER_MS    30000 /* the same */
#define CONNECTION_BYTES_PER_MS 16    /* slower bodies and answers are given up */
#define CONNECTION_SLOW_MS      2000  /* in a body or an answer, until it may have to make room */

struct connections;
struct connection;

typedef int64_t (*connections_clock)(void);

enum connection_phase {
    CONNECTION_HEAD,   /* since it was accepted, or since a later request's first line */
    CONNECTION_IDLE,   /* between two requests */
    CONNECTION_BODY,   /* of a request, coming */
    CONNECTION_WORK,   /* the peer waits for us: no deadline, and it never has to go */
    CONNECTION_ANSWER, /* going out */
    CONNECTION_STREAM, /* an answer without end: no deadline, but it may have to make room */
};

/* How many connections a process may have whose RLIMIT_NOFILE is this, so that downloads never lack
 * a descriptor: what 1000 workers need is left to them, but of a small limit one half. */
unsigned connections_affordable(uint64_t descriptors);

/* At most `max` at once. Starts no thread yet. 0 or -ENOMEM. */
int connections_create(unsigned max, connections_clock clock, struct connections **ret_connections);
/* Starts the thread that ends what is over its time. 0 or a negative errno. */
int connections_watch(struct connections *connections);
/* Every connection must have been removed. NULL is fine. */
void connections_destroy(struct connections *connections);

/* Could one more be admitted, without a descriptor too many? Who was told to go has one until the
 * HTTP library has seen to it: soon. */
bool connections_have_room(struct connections *connections);
/* May one more come from this peer? Makes room if need be: first goes who has been the longest
 * without a whole head, or idle; where there is no such one, who has been the longest at a slow
 * body or answer, then who has been the longest at a stream (and can come again); of the peer's own address or user, if that has as many as it may. */
bool connections_admit(struct connections *connections, const struct sockaddr *peer);
/* Adds one that was admitted, perhaps on another thread and some time ago, in CONNECTION_HEAD.
 * `socket` stays the caller's. NULL: no memory. */
struct connection *connections_add(struct connections *connections, int socket,
                                   const struct sockaddr *peer);
/* Before its descriptor is closed. NULL is fine. */
void connections_remove(struct connections *connections, struct connection *connection);
/* It comes to another phase, whose deadline begins now; `bytes`: of the body or answer. The phase
 * that it is in already goes on as it is. NULL is fine. */
void connections_enter(struct connections *connections, struct connection *connection,
                       enum connection_phase phase, uint64_t bytes);

/* Shuts down what is over its time; the time until the next deadline, -1: there is none. */
int64_t connections_expire(struct connections *connections);
/* How many there are, those that were told to go included. */
unsigned connections_count(struct connections *connections);
