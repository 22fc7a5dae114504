/*
 * Who has which bytes of one file. The file is a row of ranges without gaps; of each, the bytes up
 * to `written` are in the file, those up to `reserved` are on their way there, and the rest is
 * missing. A range is held by one worker, or free for the next. Pure, without a lock, never out of
 * memory: the team (team.h) whose part it is holds its own.
 *
 * What was written at some moment is the text form (ranges_print): synced to disk after that
 * moment, it is what is durable.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define RANGES_MAX      256               /* in one file; more are not made */
#define RANGES_TEXT_MAX (RANGES_MAX * 40) /* bytes, its NUL included */
#define RANGES_NOBODY   0u                /* in place of a holder */

struct range { /* start <= written <= reserved <= end */
    int64_t start;
    int64_t written;
    int64_t reserved;
    int64_t end;
    unsigned holder;
};

struct ranges { /* ranges.c only, but for looking */
    unsigned count;
    struct range all[RANGES_MAX];
};

/* A file of `total` bytes (-1: not known), of which the first `have` are there; nobody holds any.
 */
void ranges_begin(struct ranges *ranges, int64_t total, int64_t have);
/* Adds what a text says is there beyond those: "FIRST-LAST,"..., growing, inside of the file. After
 * ranges_begin alone. NULL: nothing. 0, or -EINVAL: it is no such text, and nothing was added. */
int ranges_read(struct ranges *ranges, const char *text);
/* That text of what is written beyond the first bytes; its length, 0: there is nothing. */
int ranges_print(const struct ranges *ranges, char text[static RANGES_TEXT_MAX]);
/* How many bytes such a text speaks of; one that is none: 0. NULL is fine. */
int64_t ranges_text_bytes(const char *text);
/* Forgets what is written from `size` on, beyond the first bytes: the file is no longer than that.
 * Nobody may hold any. */
void ranges_truncate(struct ranges *ranges, int64_t size);

/* Written bytes from the start, written bytes in all, missing ones; is it whole? */
int64_t ranges_prefix(const struct ranges *ranges);
int64_t ranges_bytes(const struct ranges *ranges);
int64_t ranges_missing(const struct ranges *ranges);
bool ranges_whole(const struct ranges *ranges);

/* The range that this holder has, or NULL; until the next change. */
const struct range *ranges_of(const struct ranges *ranges, unsigned holder);
/* Gives the first free range in which something is missing to this holder, who has none. False:
 * there is no such one. */
bool ranges_take(struct ranges *ranges, unsigned holder);
/* The next `len` bytes, or as many as its range still has, are on their way into the file: how
 * many, from its `reserved` on. They come there (all of them, ranges_commit), or the last of them
 * do not (ranges_unreserve: what was not committed is missing again). */
int64_t ranges_reserve(struct ranges *ranges, unsigned holder, int64_t len);
void ranges_commit(struct ranges *ranges, unsigned holder, int64_t len);
void ranges_unreserve(struct ranges *ranges, unsigned holder);
/* It holds nothing any more; what is missing is free. Holding nothing is fine. */
void ranges_give_back(struct ranges *ranges, unsigned holder);
/* Its range goes on into the next one, if that is free and nothing of it is there: one request can
 * bring both. False: it is not. */
bool ranges_extend(struct ranges *ranges, unsigned holder);

/* Cuts what is missing of a range into `parts` equal ones; the holder keeps the first, the others
 * are free. How many there are then: fewer where there is no room for more. */
unsigned ranges_cut(struct ranges *ranges, unsigned holder, unsigned parts);
/* The holder keeps `keep` of what is missing, and `thief`, who has no range, gets the rest. False:
 * no room, or nothing would be left for the thief. */
bool ranges_steal(struct ranges *ranges, unsigned holder, unsigned thief, int64_t keep);
