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

#define PEER_TEXT_SIZE 64
/* Where the peer is, in numbers; "" on the unix socket. */
void peer_address(int socket, char ret_text[static PEER_TEXT_SIZE]);
/* The part of its address that one party has for itself: the address, or its first 64 bits if it is
 * one of IPv6. */
void peer_network(int socket, char ret_text[static PEER_TEXT_SIZE]);

/*
 * 0 and the uid. On TCP also -EACCES: its socket is root's, which may relay for others; -ENOENT:
 * nothing vouches for the peer (it is on another machine, or has closed its end already); another
 * negative errno.
 */
int peers_uid(struct peers *peers, int socket, uid_t *ret_uid);
