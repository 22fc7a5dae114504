#include "http/bodies.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

struct share { /* of a user who has something */
    uid_t uid;
    size_t bytes;
};

struct bodies {
    /* immutable */
    size_t max;

    /* protected by lock */
    pthread_mutex_t lock;
    size_t taken;
    struct share *shares;
    size_t count, size;
};

int bodies_create(size_t max, struct bodies **ret_bodies)
{
    struct bodies *bodies = calloc(1, sizeof *bodies);
    if (!bodies)
        return -ENOMEM;
    bodies->max = max;
    pthread_mutex_init(&bodies->lock, NULL);
    *ret_bodies = bodies;
    return 0;
}

void bodies_destroy(struct bodies *bodies)
{
    if (!bodies)
        return;
    assert(bodies->taken == 0);
    free(bodies->shares);
    pthread_mutex_destroy(&bodies->lock);
    free(bodies);
}

static struct share *find_locked(struct bodies *bodies, uid_t uid)
{
    for (size_t i = 0; i < bodies->count; i++)
        if (bodies->shares[i].uid == uid)
            return &bodies->shares[i];
    return NULL;
}

static struct share *get_locked(struct bodies *bodies, uid_t uid)
{
    struct share *share = find_locked(bodies, uid);
    if (share)
        return share;
    if (bodies->count == bodies->size) {
        size_t size = bodies->size ? bodies->size * 2 : 8;
        struct share *shares = reallocarray(bodies->shares, size, sizeof *shares);
        if (!shares)
            return NULL;
        bodies->shares = shares;
        bodies->size = size;
    }
    share = &bodies->shares[bodies->count++];
    *share = (struct share){.uid = uid};
    return share;
}

static bool has_room_locked(struct bodies *bodies, uid_t uid, size_t bytes)
{
    const struct share *share = find_locked(bodies, uid);
    size_t own = share ? share->bytes : 0;
    size_t most = (bodies->max - (bodies->taken - own)) / 2;
    return own <= most && bytes <= most - own;
}

bool bodies_have_room(struct bodies *bodies, uid_t uid, size_t bytes)
{
    pthread_mutex_lock(&bodies->lock);
    bool has_room = has_room_locked(bodies, uid, bytes);
    pthread_mutex_unlock(&bodies->lock);
    return has_room;
}

bool bodies_take(struct bodies *bodies, uid_t uid, size_t bytes)
{
    if (!bytes)
        return true;
    pthread_mutex_lock(&bodies->lock);
    struct share *share = has_room_locked(bodies, uid, bytes) ? get_locked(bodies, uid) : NULL;
    if (share) {
        share->bytes += bytes;
        bodies->taken += bytes;
    }
    pthread_mutex_unlock(&bodies->lock);
    return share != NULL;
}

void bodies_give_back(struct bodies *bodies, uid_t uid, size_t bytes)
{
    if (!bytes)
        return;
    pthread_mutex_lock(&bodies->lock);
    struct share *share = find_locked(bodies, uid);
    assert(share && share->bytes >= bytes);
    share->bytes -= bytes;
    bodies->taken -= bytes;
    if (!share->bytes)
        *share = bodies->shares[--bodies->count];
    pthread_mutex_unlock(&bodies->lock);
}
