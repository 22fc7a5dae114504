/*
 * Whose process is at the other end of a connected socket: the kernel knows. On the unix socket by
 * SO_PEERCRED (unix(7)); on loopback TCP by asking who owns the other end's socket (sock_diag(7)).
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

struct peers;

int peers_create(struct peers **ret_peers); /* 0 or a negative errno */
void peers_destroy(struct peers *peers);    /* NULL is fine */

bool peer_is_unix(int socket);
/*
 * 0 and the uid; -ENOENT: nothing vouches for the peer (it is on another machine, it has closed its
 * end already, or its socket is root's, which relays for others); another negative errno.
 */
int peers_uid(struct peers *peers, int socket, uid_t *ret_uid);
