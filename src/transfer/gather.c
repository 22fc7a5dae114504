#include "transfer/gather.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/units.h"

#define FLUSH_AFTER 500 /* ms */

int gather_init(struct gather *gather)
{
    *gather = (struct gather){.bytes = malloc(GATHER_SIZE), .fd = -1};
    return gather->bytes ? 0 : -ENOMEM;
}

void gather_release(struct gather *gather)
{
    free(gather->bytes);
}

void gather_begin(struct gather *gather, int64_t at)
{
    gather->at = at;
    gather->filled = 0;
    gather->extends = gather->takes_back = false;
    gather->flushed_at = units_now_boottime();
}

int64_t gather_position(const struct gather *gather)
{
    return gather->at + (int64_t)gather->filled;
}

void gather_enter_disk(struct gather *gather)
{
    atomic_store_explicit(&gather->on_disk_since, units_now_boottime(), memory_order_relaxed);
}

void gather_leave_disk(struct gather *gather)
{
    atomic_store_explicit(&gather->on_disk_since, 0, memory_order_relaxed);
}

/* 0 or the errno; how many came there. */
static int write_bytes(struct gather *gather, size_t len, size_t *ret_done)
{
    size_t done = 0;
    int r = 0;
    while (done < len && r == 0) {
        gather_enter_disk(gather);
        ssize_t n =
            pwrite(gather->fd, gather->bytes + done, len - done, gather->at + (int64_t)done);
        gather_leave_disk(gather);
        if (n > 0)
            done += (size_t)n;
        else if (n == 0 || errno != EINTR)
            r = n < 0 ? -errno : -EIO;
    }
    *ret_done = done;
    return r;
}

/* How many of so many bytes are its own. */
static size_t reserve(struct gather *gather, size_t len)
{
    struct team_member *member = gather->member;
    size_t own = (size_t)team_reserve(member, (int64_t)len);
    if (own < len && gather->extends && team_extend(member, gather->takes_back))
        own += (size_t)team_reserve(member, (int64_t)(len - own));
    return own;
}

int gather_flush(struct gather *gather)
{
    size_t done = 0, len = gather->filled;
    gather->filled = 0;
    gather->flushed_at = units_now_boottime();
    if (len == 0)
        return 0;
    size_t own = reserve(gather, len);
    int r = write_bytes(gather, own, &done);
    team_commit(gather->member, (int64_t)done, gather->flushed_at);
    int64_t at = gather->at;
    gather->at += (int64_t)done;
    if (done > 0 && gather->on_written)
        gather->on_written(gather->data, at, gather->bytes, done);
    return r < 0 ? r : own < len ? GATHER_RANGE_DONE : 0;
}

int gather_flush_due(struct gather *gather)
{
    bool due = gather->filled > 0 && units_now_boottime() - gather->flushed_at >= FLUSH_AFTER;
    return due ? gather_flush(gather) : 0;
}

static size_t room(const struct gather *gather)
{
    int64_t left =
        atomic_load_explicit(&gather->member->end, memory_order_relaxed) - gather_position(gather);
    size_t space = GATHER_SIZE - gather->filled;
    return left <= 0 ? 0 : left < (int64_t)space ? (size_t)left : space;
}

bool gather_is_done(struct gather *gather)
{
    struct team_member *member = gather->member;
    if (gather_position(gather) < atomic_load_explicit(&member->end, memory_order_relaxed))
        return false;
    return gather->filled > 0 || !gather->extends || !team_extend(member, gather->takes_back);
}

int gather_add(struct gather *gather, const char *bytes, size_t len)
{
    while (len > 0) {
        size_t n = room(gather);
        if (n > len)
            n = len;
        if (n == 0) { /* its end */
            int r = gather_flush(gather);
            if (r < 0)
                return r;
            if (gather_is_done(gather))
                return GATHER_RANGE_DONE;
            continue;
        }
        memcpy(gather->bytes + gather->filled, bytes, n);
        gather->filled += n;
        bytes += n;
        len -= n;
        if (gather->filled == GATHER_SIZE) {
            int r = gather_flush(gather);
            if (r < 0)
                return r;
        }
    }
    return 0;
}
