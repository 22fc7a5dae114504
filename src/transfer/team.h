/*
 * The workers that fetch one file together: the lead, who begins and ends the download, and
 * helpers, who come and go. They share its map (ranges.h) under the team's lock, which is held for
 * moments and calls nobody.
 *
 * A team is kept by references; its members may use it as long as they have not left, the lead as
 * long as the download lasts. All times are ms of the boot's clock.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/api.h"

struct download_options;
struct ratelimit;
struct team;

#define TEAM_MAX        API_RANGES_MAX     /* members, the lead included */
#define TEAM_WORTH      ((int64_t)2 << 20) /* missing bytes that a helper comes for */
#define TEAM_WORTH_TIME 2000               /* ms that they would take without it */
/* Bytes per second, of all members: nobody else comes to one that is as fast, since then a line of
 * a gigabit is full, or soon the disk is what it waits for. */
#define TEAM_ENOUGH ((int64_t)100 << 20)

struct team_member {   /* one worker's; in its hands */
    struct team *team; /* NULL: it is in none */
    unsigned number;
    _Atomic int64_t end; /* where its range ends; others may move that towards the start; 0: the
                            lead took it back */
    const _Atomic int64_t *on_disk_since; /* 0: it is in no file operation */

    /* protected by the team's lock */
    int64_t since;   /* what came is counted from here on, ... */
    int64_t carried; /* ... in bytes */
    int64_t rate;    /* bytes per second, -1: not known yet */
    bool proven;     /* the server sends what it has now */
};

struct team_part { /* of the file, for a member to fetch */
    int64_t start;
    int64_t end;
};

/* What a helper needs to know; borrowed while it is in the team, but for the ETag (copied). */
struct team_file {
    const char *url;
    const struct download_options *options;
    struct ratelimit *const *limits; /* that all keep to (ratelimit.h) */
    const char *etag; /* a strong one */
    int64_t total;
    int fd; /* its part file */
};

/* 0 or -ENOMEM. The one reference is the caller's. */
int team_create(struct team **ret_team);
struct team *team_ref(struct team *team);
void team_unref(struct team *team);
/* Has nobody else a reference? */
bool team_is_mine(struct team *team);

/* --- the lead's --- */

/* A new download: `lead` is its only member, and nobody may join. Of `total` bytes (-1: not known)
 * the first `have` are there, and those of `text` (ranges.h; NULL: none; bad ones are not
 * believed). */
void team_begin(struct team *team, struct team_member *lead, int64_t total, int64_t have,
                const char *text);
/* The file on disk is no longer than that. */
void team_truncate(struct team *team, int64_t size);
/* Others may join. 0 or -ENOMEM. */
int team_open(struct team *team, const struct team_file *file);
/* The length was not known: it is what is there. */
void team_end_here(struct team *team);
/* Waits until somebody gave something back or left, at most so many ms. */
void team_wait(struct team *team, int64_t ms);
/* Nobody may join any more, all helpers leave, and have left when this returns. What holds one of
 * them in a file operation holds the lead, and is shown in `on_disk_since`. */
void team_close(struct team *team, _Atomic int64_t *on_disk_since);

struct team_view {
    int64_t written; /* bytes from the start */
    int64_t bytes;   /* in all */
    bool whole;
    unsigned members;
    unsigned wanted; /* helpers that would be worth their while, beside the members */
    int64_t left;    /* ms until all is here as it goes; INT64_MAX: nobody knows */
};
void team_look(struct team *team, int64_t now, struct team_view *ret_view);
/* How many bytes from the start are written, and the text of those beyond (NULL: there are none),
 * to be freed. 0 or -ENOMEM. */
int team_written(struct team *team, int64_t *ret_written, char **ret_text);

/* --- a helper's --- */

/* One of `hands` helpers that come together. 0; -ESHUTDOWN: nobody may join (any more). */
int team_join(struct team *team, struct team_member *member, unsigned hands, int64_t now);
/* It gives back what it has. */
void team_leave(struct team_member *member);
/* The server gives no parts, or not to one more: nobody else joins this download. */
void team_refuse(struct team *team);
/* It is to leave at once. Without a lock. */
bool team_is_closed(const struct team *team);
const struct team_file *team_file(const struct team *team);

/* --- every member's --- */

/* Gives back what it has and finds its next part: a free one, or what a slower or busier member
 * will not come to so soon. False: nothing is worth it now. */
bool team_take(struct team_member *member, int64_t now, struct team_part *ret_part);
/* Gives back what it has. */
void team_give_back(struct team_member *member);
/* The rest of its range, or false: it has none. */
bool team_has(struct team_member *member, struct team_part *ret_part);
/* The bytes come from now on: the rate is counted from here, and what it has stays its own. */
void team_starts(struct team_member *member, int64_t now);
/* As many of `len` bytes as are still its own, on their way into the file; of these `done` came
 * there. */
int64_t team_reserve(struct team_member *member, int64_t len);
void team_commit(struct team_member *member, int64_t done, int64_t now);
/* Its range goes on where it ended: what follows is free, or (`takes_back`) somebody has only asked
 * for it so far. */
bool team_extend(struct team_member *member, bool takes_back);
/* It has come to its end, while nothing comes: is what follows in good hands, so that its request
 * can be given up? What nobody has (any more) becomes its own again. */
bool team_is_followed(struct team_member *member);
