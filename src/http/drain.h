/*
 * Closing without eating the last answer: when a request is refused before its body was read,
 * closing at once makes the kernel reset the connection, and the reset throws the answer away on
 * the other side. A copy of the socket stays here for some seconds, and what still comes is read
 * and dropped.
 */
#pragma once

struct drain;

int drain_create(struct drain **ret_drain); /* 0 or a negative errno; starts a thread */
void drain_destroy(struct drain *drain);    /* ends it; NULL is fine */
/* From now on what comes on this socket is dropped, until its end or for some seconds; the caller
 * writes and closes as usual, but reads no more. With too many of them it does nothing. */
void drain_add(struct drain *drain, int socket);
