/*
 * How much memory the bodies of requests take, over all requests: bounded, and shared out so that
 * nobody can have all of it. A user has at most half of what the others leave, so that there is
 * something left for one more.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct bodies;

/* `max`: bytes. 0 or -ENOMEM. */
int bodies_create(size_t max, struct bodies **ret_bodies);
/* All must have been given back. NULL is fine. */
void bodies_destroy(struct bodies *bodies);
/* Could this user take so many bytes now? */
bool bodies_have_room(struct bodies *bodies, uid_t uid, size_t bytes);
/* Takes them; false: there is no room (or no memory). */
bool bodies_take(struct bodies *bodies, uid_t uid, size_t bytes);
void bodies_give_back(struct bodies *bodies, uid_t uid, size_t bytes);
