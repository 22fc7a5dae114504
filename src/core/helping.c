#include "core/helping.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

/* Nobody comes back to a download whose helpers had to leave before so many ms have passed; that
 * doubles while tasks keep coming. */
#define QUIET_MIN 250
#define QUIET_MAX 5000

struct helping_offer {
    struct helping_offer *next;
    struct helping_wish wish;
    unsigned helpers;
    int64_t quiet;       /* ms, 0: none had to leave yet */
    int64_t quiet_until; /* of the clock */
};

struct helping_shy { /* a host that wants no helpers for a while */
    struct helping_shy *next;
    uint64_t host;
    int64_t until;
};

void helping_release(struct helping *helping)
{
    while (helping->offers) {
        struct helping_offer *next = helping->offers->next;
        free(helping->offers);
        helping->offers = next;
    }
    while (helping->shy) {
        struct helping_shy *next = helping->shy->next;
        free(helping->shy);
        helping->shy = next;
    }
}

static struct helping_offer **find(struct helping *helping, int64_t row)
{
    struct helping_offer **link = &helping->offers;
    while (*link && (*link)->wish.row != row)
        link = &(*link)->next;
    return link;
}

/* --- leaving --- */

/* One burst of tasks counts once; soon after the last it is twice as long. */
static void keep_quiet(struct helping_offer *offer, int64_t now)
{
    if (now >= offer->quiet_until) {
        bool again = offer->quiet > 0 && now - offer->quiet_until <= 2 * offer->quiet;
        int64_t quiet = again ? 2 * offer->quiet : QUIET_MIN;
        offer->quiet = quiet < QUIET_MAX ? quiet : QUIET_MAX;
    }
    offer->quiet_until = now + offer->quiet;
}

static void ask(struct helping *helping, struct helping_place *place)
{
    if (atomic_load_explicit(&place->leave, memory_order_relaxed))
        return;
    atomic_store(&place->leave, true);
    helping->leaving++;
}

static void ask_for_task(struct helping *helping, struct helping_place *place, int64_t now)
{
    ask(helping, place);
    if (place->offer)
        keep_quiet(place->offer, now);
}

void helping_ask(struct helping *helping, unsigned number, int64_t now)
{
    for (struct helping_place *place = helping->places; place && helping->leaving < number;
         place = place->next)
        if (!atomic_load(&place->leave))
            ask_for_task(helping, place, now);
}

void helping_ask_at_host(struct helping *helping, uint64_t host, unsigned number, int64_t now)
{
    for (const struct helping_place *place = helping->places; place; place = place->next)
        number -= number > 0 && place->host == host && atomic_load(&place->leave);
    for (struct helping_place *place = helping->places; place && number > 0; place = place->next) {
        if (place->host != host || atomic_load(&place->leave))
            continue;
        ask_for_task(helping, place, now);
        number--;
    }
}

/* --- offers --- */

int helping_offer(struct helping *helping, const struct helping_wish *wish)
{
    struct helping_offer *offer = *find(helping, wish->row);
    if (!offer) {
        offer = calloc(1, sizeof *offer);
        if (!offer)
            return -ENOMEM;
        offer->next = helping->offers;
        helping->offers = offer;
    }
    offer->wish = *wish;
    unsigned kept = 0;
    for (const struct helping_place *place = helping->places; place; place = place->next)
        kept += place->offer == offer && !atomic_load(&place->leave);
    for (struct helping_place *place = helping->places; place && kept > wish->max;
         place = place->next) {
        if (place->offer != offer || atomic_load(&place->leave))
            continue;
        ask(helping, place);
        kept--;
    }
    return 0;
}

void helping_withdraw(struct helping *helping, int64_t row)
{
    struct helping_offer **link = find(helping, row), *offer = *link;
    if (!offer)
        return;
    for (struct helping_place *place = helping->places; place; place = place->next) {
        if (place->offer != offer)
            continue;
        place->offer = NULL;
        ask(helping, place);
    }
    *link = offer->next;
    free(offer);
}

/* Without memory the next helper learns it from the host itself. */
void helping_spare_host(struct helping *helping, uint64_t host, int64_t until)
{
    struct helping_shy *shy = helping->shy;
    while (shy && shy->host != host)
        shy = shy->next;
    if (!shy) {
        shy = calloc(1, sizeof *shy);
        if (!shy)
            return;
        shy->host = host;
        shy->next = helping->shy;
        helping->shy = shy;
    }
    if (shy->until < until)
        shy->until = until;
}

/* Those whose time is over are forgotten. */
static bool is_shy(struct helping *helping, uint64_t host, int64_t now)
{
    bool found = false;
    for (struct helping_shy **link = &helping->shy; *link;) {
        struct helping_shy *shy = *link;
        if (shy->until <= now) {
            *link = shy->next;
            free(shy);
            continue;
        }
        found = found || shy->host == host;
        link = &shy->next;
    }
    return found;
}

/* --- coming and going --- */

/* How many may come to it now. */
static unsigned open_places(struct helping *helping, const struct helping_offer *offer, int64_t now,
                            helping_room room, void *data)
{
    const struct helping_wish *wish = &offer->wish;
    unsigned wanted = wish->wanted;
    if (offer->helpers >= wish->max || now < offer->quiet_until)
        return 0;
    if (wanted > wish->max - offer->helpers)
        wanted = wish->max - offer->helpers;
    if (wanted == 0 || is_shy(helping, wish->host, now))
        return 0;
    unsigned most = room(data, wish->uid, wish->host);
    unsigned there = helping_at_host(helping, wish->host);
    if (there >= most)
        return 0;
    return wanted < most - there ? wanted : most - there;
}

bool helping_next(struct helping *helping, int64_t now, unsigned idle, helping_room room,
                  void *data, struct helping_place *place)
{
    const struct helping_offer *best = NULL;
    unsigned hands = 0;
    for (struct helping_offer *offer = helping->offers; offer; offer = offer->next) {
        if (best && offer->wish.left <= best->wish.left)
            continue;
        unsigned places = open_places(helping, offer, now, room, data);
        if (places == 0)
            continue;
        best = offer;
        hands = places;
    }
    if (!best)
        return false;
    *place = (struct helping_place){.row = best->wish.row,
                                    .host = best->wish.host,
                                    .uid = best->wish.uid,
                                    .hands = hands < idle ? hands : idle};
    return true;
}

void helping_enter(struct helping *helping, struct helping_place *place)
{
    struct helping_offer *offer = *find(helping, place->row);
    assert(offer);
    place->offer = offer;
    place->next = helping->places;
    helping->places = place;
    helping->count++;
    offer->helpers++;
    offer->wish.wanted -= offer->wish.wanted > 0; /* until it says something else */
}

void helping_leave(struct helping *helping, struct helping_place *place, int64_t now)
{
    struct helping_place **link = &helping->places;
    while (*link != place)
        link = &(*link)->next;
    *link = place->next;
    helping->count--;
    helping->leaving -= atomic_load(&place->leave);
    if (!place->offer)
        return;
    place->offer->helpers--;
    if (atomic_load(&place->leave)) /* counted from the last one */
        place->offer->quiet_until = now + place->offer->quiet;
}

unsigned helping_at_host(const struct helping *helping, uint64_t host)
{
    unsigned count = 0;
    for (const struct helping_place *place = helping->places; place; place = place->next)
        count += place->host == host;
    return count;
}

int64_t helping_next_time(const struct helping *helping, int64_t now)
{
    int64_t next = 0;
    for (const struct helping_offer *offer = helping->offers; offer; offer = offer->next)
        if (offer->quiet_until > now && (next == 0 || offer->quiet_until < next))
            next = offer->quiet_until;
    return next;
}
