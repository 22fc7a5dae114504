#include "transfer/team.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/units.h"
#include "transfer/gather.h"
#include "transfer/ranges.h"

#define RATE_EVERY  250                   /* ms over which a rate is measured */
#define RATE_FIRST  50                    /* ms after which a first guess is worth something */
#define STALLED     1000                  /* ms without a byte: it has become slower */
#define SILENT      5000                  /* ms without an answer: it has none */
#define PART_MIN    (TEAM_WORTH / 2)      /* bytes of a part for one more helper, ... */
#define PART_TIME   (TEAM_WORTH_TIME / 2) /* ... and ms that it takes */
#define STEAL_MIN   ((int64_t)512 << 10)  /* bytes for a member that has nothing else to do, ... */
#define STEAL_TIME  400                   /* ... and ms */
#define FAR_SLOWER  4                     /* times: then fewer bytes are worth it, too */
#define CLOSE_LOOKS 100                   /* ms between two looks at who has not left */

struct team {
    atomic_int refs;
    atomic_bool closed; /* helpers leave */

    pthread_mutex_t lock;
    pthread_cond_t changed; /* something was given back, or somebody left */
    /* protected by lock, but that `file` stays while there are helpers */
    struct ranges ranges;
    bool is_open; /* others may join */
    struct team_file file;
    char *etag;
    struct team_member *members[TEAM_MAX]; /* by number - 1; the first is the lead */
    unsigned count;
    int64_t best; /* the best rate that a member had */
};

int team_create(struct team **ret_team)
{
    struct team *team = calloc(1, sizeof *team);
    if (!team)
        return -ENOMEM;
    units_condition_init(&team->changed);
    pthread_mutex_init(&team->lock, NULL);
    atomic_init(&team->refs, 1);
    atomic_init(&team->closed, true);
    ranges_begin(&team->ranges, 0, 0);
    *ret_team = team;
    return 0;
}

struct team *team_ref(struct team *team)
{
    atomic_fetch_add(&team->refs, 1);
    return team;
}

void team_unref(struct team *team)
{
    if (!team || atomic_fetch_sub(&team->refs, 1) > 1)
        return;
    pthread_mutex_destroy(&team->lock);
    pthread_cond_destroy(&team->changed);
    free(team->etag);
    free(team);
}

bool team_is_mine(struct team *team)
{
    return atomic_load(&team->refs) == 1;
}

bool team_is_closed(const struct team *team)
{
    return atomic_load_explicit(&team->closed, memory_order_relaxed);
}

const struct team_file *team_file(const struct team *team)
{
    return &team->file;
}

/* --- members --- */

static void show_ends_locked(struct team *team)
{
    for (unsigned i = 0; i < TEAM_MAX; i++) {
        struct team_member *member = team->members[i];
        const struct range *range = member ? ranges_of(&team->ranges, i + 1) : NULL;
        if (range)
            atomic_store_explicit(&member->end, range->end, memory_order_relaxed);
    }
}

static void enter_locked(struct team *team, struct team_member *member, unsigned number)
{
    member->team = team;
    member->number = number;
    member->since = member->carried = 0;
    member->rate = -1;
    member->proven = false;
    atomic_store(&member->end, 0);
    team->members[number - 1] = member;
    team->count++;
}

void team_begin(struct team *team, struct team_member *lead, int64_t total, int64_t have,
                const char *text)
{
    pthread_mutex_lock(&team->lock);
    assert(!team->is_open && team->count <= 1);
    atomic_store(&team->closed, false);
    ranges_begin(&team->ranges, total, have);
    ranges_read(&team->ranges, text);
    team->count = 0;
    team->best = 0;
    enter_locked(team, lead, 1);
    pthread_mutex_unlock(&team->lock);
}

void team_truncate(struct team *team, int64_t size)
{
    pthread_mutex_lock(&team->lock);
    ranges_truncate(&team->ranges, size);
    pthread_mutex_unlock(&team->lock);
}

int team_open(struct team *team, const struct team_file *file)
{
    char *etag = strdup(file->etag);
    if (!etag)
        return -ENOMEM;
    pthread_mutex_lock(&team->lock);
    free(team->etag);
    team->etag = etag;
    team->file = *file;
    team->file.etag = etag;
    team->is_open = true;
    pthread_mutex_unlock(&team->lock);
    return 0;
}

void team_end_here(struct team *team)
{
    pthread_mutex_lock(&team->lock);
    int64_t size = ranges_bytes(&team->ranges);
    ranges_begin(&team->ranges, size, size);
    pthread_mutex_unlock(&team->lock);
}

static void wait_locked(struct team *team, int64_t ms)
{
    struct timespec until = units_monotonic_in(ms);
    pthread_cond_timedwait(&team->changed, &team->lock, &until);
}

void team_wait(struct team *team, int64_t ms)
{
    pthread_mutex_lock(&team->lock);
    if (team->count > 1)
        wait_locked(team, ms);
    pthread_mutex_unlock(&team->lock);
}

/* The longest that a helper is in one file operation. */
static int64_t oldest_on_disk_locked(const struct team *team)
{
    int64_t oldest = 0;
    for (unsigned i = 1; i < TEAM_MAX; i++) {
        int64_t since = team->members[i] ? atomic_load(team->members[i]->on_disk_since) : 0;
        if (since != 0 && (oldest == 0 || since < oldest))
            oldest = since;
    }
    return oldest;
}

void team_close(struct team *team, _Atomic int64_t *on_disk_since)
{
    pthread_mutex_lock(&team->lock);
    team->is_open = false;
    atomic_store(&team->closed, true);
    while (team->count > 1) {
        wait_locked(team, CLOSE_LOOKS);
        atomic_store(on_disk_since, oldest_on_disk_locked(team));
    }
    atomic_store(on_disk_since, 0);
    if (team->members[0])
        ranges_give_back(&team->ranges, 1);
    pthread_mutex_unlock(&team->lock);
}

void team_leave(struct team_member *member)
{
    struct team *team = member->team;
    pthread_mutex_lock(&team->lock);
    ranges_give_back(&team->ranges, member->number);
    team->members[member->number - 1] = NULL;
    team->count--;
    pthread_cond_signal(&team->changed);
    pthread_mutex_unlock(&team->lock);
    member->team = NULL;
}

void team_refuse(struct team *team)
{
    pthread_mutex_lock(&team->lock);
    team->is_open = false;
    pthread_mutex_unlock(&team->lock);
}

/* --- rates --- */

static int64_t per_second(int64_t bytes, int64_t ms)
{
    return bytes * 1000 / (ms > 0 ? ms : 1);
}

/* -1: not known yet. */
static int64_t rate_of(const struct team_member *member, int64_t now)
{
    int64_t elapsed = now - member->since;
    int64_t lately = per_second(member->carried, elapsed);
    if (!member->proven)
        return elapsed < SILENT ? member->rate : 0;
    if (member->rate < 0)
        return elapsed >= RATE_FIRST && (member->carried > 0 || elapsed >= STALLED) ? lately : -1;
    return elapsed >= STALLED && lately < member->rate ? lately : member->rate;
}

void team_starts(struct team_member *member, int64_t now)
{
    struct team *team = member->team;
    pthread_mutex_lock(&team->lock);
    member->since = now;
    member->carried = 0;
    member->proven = true;
    pthread_mutex_unlock(&team->lock);
}

static void measure_locked(struct team *team, struct team_member *member, int64_t bytes,
                           int64_t now)
{
    member->carried += bytes;
    int64_t elapsed = now - member->since;
    if (elapsed < RATE_EVERY)
        return;
    int64_t rate = per_second(member->carried, elapsed);
    member->rate = member->rate < 0 ? rate : (member->rate + rate) / 2;
    member->since = now;
    member->carried = 0;
    if (member->rate > team->best)
        team->best = member->rate;
}

/* What the next member is likely to have. 0: nobody knows. */
static int64_t mean_rate_locked(const struct team *team, int64_t now)
{
    int64_t sum = 0, known = 0;
    for (unsigned i = 0; i < TEAM_MAX; i++) {
        int64_t rate = team->members[i] ? rate_of(team->members[i], now) : -1;
        sum += rate > 0 ? rate : 0;
        known += rate > 0;
    }
    return known ? sum / known : 0;
}

/* --- who does what --- */

struct rest {                   /* what a member has not come to yet */
    struct team_member *member; /* NULL: there is none */
    int64_t bytes;
    int64_t rate; /* its member's */
    int64_t time; /* ms until it is here */
};

static int64_t time_for(int64_t bytes, int64_t rate)
{
    int64_t time;
    if (bytes == 0)
        return 0;
    if (rate <= 0 || __builtin_mul_overflow(bytes, 1000, &time))
        return INT64_MAX;
    return time / rate;
}

/* The one that would be here last. */
static struct rest last_rest_locked(struct team *team, int64_t now)
{
    struct rest last = {0};
    int64_t mean = mean_rate_locked(team, now);
    for (unsigned i = 0; i < team->ranges.count; i++) {
        const struct range *range = &team->ranges.all[i];
        if (range->holder == RANGES_NOBODY)
            continue;
        struct rest rest = {.member = team->members[range->holder - 1],
                            .bytes = range->end - range->reserved};
        rest.rate = rate_of(rest.member, now);
        if (rest.rate < 0)
            rest.rate = mean;
        rest.time = time_for(rest.bytes, rest.rate);
        if (!last.member || rest.time > last.time ||
            (rest.time == last.time && rest.bytes > last.bytes))
            last = rest;
    }
    return last;
}

static bool has_free_locked(const struct team *team)
{
    for (unsigned i = 0; i < team->ranges.count; i++) {
        const struct range *range = &team->ranges.all[i];
        if (range->holder == RANGES_NOBODY && range->written < range->end)
            return true;
    }
    return false;
}

/* Parts for so many helpers that come together, all as long as the one who has them now keeps. */
static void make_room_locked(struct team *team, unsigned hands, int64_t now)
{
    struct rest rest = last_rest_locked(team, now);
    if (!rest.member || has_free_locked(team))
        return;
    int64_t parts = (int64_t)hands + 1;
    if (parts > rest.bytes / PART_MIN)
        parts = rest.bytes / PART_MIN;
    if (parts > rest.time / PART_TIME)
        parts = rest.time / PART_TIME;
    if (parts > 1)
        ranges_cut(&team->ranges, rest.member->number, (unsigned)parts);
    show_ends_locked(team);
}

int team_join(struct team *team, struct team_member *member, unsigned hands, int64_t now)
{
    pthread_mutex_lock(&team->lock);
    unsigned i = 1;
    while (i < TEAM_MAX && team->members[i])
        i++;
    bool may = team->is_open && i < TEAM_MAX;
    if (may) {
        enter_locked(team, member, i + 1);
        member->since = now;
        make_room_locked(team, hands, now);
    }
    pthread_mutex_unlock(&team->lock);
    return may ? 0 : -ESHUTDOWN;
}

/* Both are done at the same time then. What the other has gathered by now stays its own. */
static bool steal_locked(struct team *team, struct team_member *thief, int64_t now)
{
    struct rest rest = last_rest_locked(team, now);
    if (!rest.member || rest.time < STEAL_TIME)
        return false;
    int64_t own = rate_of(thief, now);
    if (own <= 0)
        own = team->best > 0 ? team->best : mean_rate_locked(team, now);
    if (rest.bytes < STEAL_MIN && (own == 0 || rest.rate > own / FAR_SLOWER))
        return false;
    double share = own > 0 ? (double)rest.rate / ((double)rest.rate + (double)own) : 0.5;
    int64_t keep = (int64_t)((double)rest.bytes * share);
    int64_t gathered = rest.rate < GATHER_SIZE ? rest.rate : GATHER_SIZE; /* in a second */
    return ranges_steal(&team->ranges, rest.member->number, thief->number,
                        keep > gathered ? keep : gathered);
}

static bool give_locked(struct team *team, struct team_member *member, struct team_part *ret_part)
{
    const struct range *range = ranges_of(&team->ranges, member->number);
    if (!range || range->reserved == range->end)
        return false;
    show_ends_locked(team);
    *ret_part = (struct team_part){range->reserved, range->end};
    return true;
}

bool team_take(struct team_member *member, int64_t now, struct team_part *ret_part)
{
    struct team *team = member->team;
    pthread_mutex_lock(&team->lock);
    member->proven = false;
    member->since = now;
    member->carried = 0;
    ranges_give_back(&team->ranges, member->number);
    if (!ranges_take(&team->ranges, member->number))
        steal_locked(team, member, now);
    bool found = give_locked(team, member, ret_part);
    pthread_cond_signal(&team->changed); /* it may have completed the file */
    pthread_mutex_unlock(&team->lock);
    return found;
}

void team_give_back(struct team_member *member)
{
    struct team *team = member->team;
    pthread_mutex_lock(&team->lock);
    ranges_give_back(&team->ranges, member->number);
    pthread_cond_signal(&team->changed);
    pthread_mutex_unlock(&team->lock);
}

bool team_has(struct team_member *member, struct team_part *ret_part)
{
    struct team *team = member->team;
    pthread_mutex_lock(&team->lock);
    bool has = give_locked(team, member, ret_part);
    pthread_mutex_unlock(&team->lock);
    return has;
}

int64_t team_reserve(struct team_member *member, int64_t len)
{
    struct team *team = member->team;
    pthread_mutex_lock(&team->lock);
    int64_t got = ranges_of(&team->ranges, member->number)
                      ? ranges_reserve(&team->ranges, member->number, len)
                      : 0;
    pthread_mutex_unlock(&team->lock);
    return got;
}

void team_commit(struct team_member *member, int64_t done, int64_t now)
{
    struct team *team = member->team;
    pthread_mutex_lock(&team->lock);
    ranges_commit(&team->ranges, member->number, done);
    ranges_unreserve(&team->ranges, member->number);
    measure_locked(team, member, done, now);
    pthread_mutex_unlock(&team->lock);
}

/* Who has asked for what begins there, and had no answer yet, does not get it: a stream that flows
 * is worth more than an answer that is still to come. */
static bool take_back_locked(struct team *team, int64_t start)
{
    for (unsigned i = 0; i < team->ranges.count; i++) {
        const struct range *range = &team->ranges.all[i];
        struct team_member *other =
            range->holder == RANGES_NOBODY ? NULL : team->members[range->holder - 1];
        if (!other || other->proven || range->start != start || range->reserved != start)
            continue;
        ranges_give_back(&team->ranges, other->number);
        atomic_store(&other->end, 0);
        return true;
    }
    return false;
}

bool team_extend(struct team_member *member, bool takes_back)
{
    struct team *team = member->team;
    bool extended = false;
    pthread_mutex_lock(&team->lock);
    const struct range *range = ranges_of(&team->ranges, member->number);
    if (range) {
        int64_t end = range->end;
        while (takes_back && take_back_locked(team, end)) /* of some all was taken before */
            ;
        extended = ranges_extend(&team->ranges, member->number);
    }
    show_ends_locked(team);
    pthread_mutex_unlock(&team->lock);
    return extended;
}

bool team_is_followed(struct team_member *member)
{
    struct team *team = member->team;
    bool followed = true;
    pthread_mutex_lock(&team->lock);
    const struct range *range = ranges_of(&team->ranges, member->number);
    if (range && range + 1 < team->ranges.all + team->ranges.count) {
        const struct range *next = range + 1;
        bool untouched = next->reserved == next->start;
        if (next->holder == RANGES_NOBODY)
            followed = !ranges_extend(&team->ranges, member->number);
        else
            followed = !untouched || team->members[next->holder - 1]->proven;
    }
    show_ends_locked(team);
    pthread_mutex_unlock(&team->lock);
    return followed;
}

/* --- looking --- */

/* One trickles while another was much faster: a helper fetches the rest in no time. */
static bool one_trickles_locked(struct team *team, int64_t now)
{
    struct rest rest = last_rest_locked(team, now);
    return rest.member && rest.time >= TEAM_WORTH_TIME && rest.rate <= team->best / FAR_SLOWER &&
           team->best > 0;
}

static unsigned wanted_locked(struct team *team, int64_t sum, int64_t left, int64_t now)
{
    int64_t missing = ranges_missing(&team->ranges), rate = mean_rate_locked(team, now);
    if (rate == 0)
        rate = team->best;
    if (!team->is_open || rate == 0 || sum >= TEAM_ENOUGH)
        return 0;
    int64_t parts = missing / PART_MIN, time = time_for(missing, rate) / PART_TIME;
    if (parts > time)
        parts = time;
    if (parts > TEAM_MAX)
        parts = TEAM_MAX;
    if (missing >= TEAM_WORTH && left >= TEAM_WORTH_TIME && parts > team->count)
        return (unsigned)parts - team->count;
    return one_trickles_locked(team, now);
}

void team_look(struct team *team, int64_t now, struct team_view *ret_view)
{
    int64_t sum = 0;
    pthread_mutex_lock(&team->lock);
    for (unsigned i = 0; i < TEAM_MAX; i++) {
        int64_t rate = team->members[i] ? rate_of(team->members[i], now) : 0;
        sum += rate > 0 ? rate : 0;
    }
    int64_t left = time_for(ranges_missing(&team->ranges), sum);
    *ret_view = (struct team_view){
        .written = ranges_prefix(&team->ranges),
        .bytes = ranges_bytes(&team->ranges),
        .whole = ranges_whole(&team->ranges),
        .members = team->count,
        .wanted = wanted_locked(team, sum, left, now),
        .left = left,
    };
    pthread_mutex_unlock(&team->lock);
}

int team_written(struct team *team, int64_t *ret_written, char **ret_text)
{
    char text[RANGES_TEXT_MAX];
    pthread_mutex_lock(&team->lock);
    int64_t written = ranges_prefix(&team->ranges);
    int len = ranges_print(&team->ranges, text);
    pthread_mutex_unlock(&team->lock);
    char *copy = len > 0 ? strdup(text) : NULL;
    if (len > 0 && !copy)
        return -ENOMEM;
    *ret_written = written;
    *ret_text = copy;
    return 0;
}
