/*
 * Bytes that come for one range of a file are gathered and written in large pieces, each reserved
 * in the team's map first. One per worker, on its thread.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "transfer/team.h"

#define GATHER_SIZE       (256 * 1024)
#define GATHER_RANGE_DONE (-EXFULL) /* as the result of a callback: the rest is somebody else's */

struct gather {
    char *bytes;                   /* GATHER_SIZE */
    _Atomic int64_t on_disk_since; /* boot time, ms; 0: in no file operation */

    /* one download */
    struct team_member *member;
    int fd;
    /* So many bytes (not 0) are in the file, from `at` on. NULL: nobody wants to know. */
    void (*on_written)(void *data, int64_t at, const char *bytes, size_t len);
    void *data;

    /* one request */
    int64_t at; /* where the gathered bytes begin: the written end of the member's range */
    size_t filled;
    int64_t flushed_at;
    bool extends;    /* it may bring what follows its range, if that is free, ... */
    bool takes_back; /* ... or somebody has only asked for it so far */
};

int gather_init(struct gather *gather); /* 0 or -ENOMEM */
void gather_release(struct gather *gather);
void gather_begin(struct gather *gather, int64_t at);
/* The next `len` bytes. 0; GATHER_RANGE_DONE: the range ends among them or before (it may have
 * become shorter), what is its own is written; or the negative errno of writing. */
int gather_add(struct gather *gather, const char *bytes, size_t len);
/* Writes what is there. As gather_add. */
int gather_flush(struct gather *gather);
/* The same if it has lain for half a second; asked about once a second. */
int gather_flush_due(struct gather *gather);
/* All of the range has come: the next byte is not its own. The range goes on, if it may. */
bool gather_is_done(struct gather *gather);
/* Where the next byte belongs. */
int64_t gather_position(const struct gather *gather);

/* Around each call that the kernel may hold. */
void gather_enter_disk(struct gather *gather);
void gather_leave_disk(struct gather *gather);
