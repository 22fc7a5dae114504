#include "transfer/ranges.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/units.h"

#define BLOCK 4096 /* cuts are at its multiples: a page of the file has one writer */

void ranges_begin(struct ranges *ranges, int64_t total, int64_t have)
{
    ranges->count = 1;
    ranges->all[0] =
        (struct range){.written = have, .reserved = have, .end = total < 0 ? INT64_MAX : total};
    assert(have >= 0 && have <= ranges->all[0].end);
}

static void insert(struct ranges *ranges, unsigned at, const struct range *range)
{
    assert(ranges->count < RANGES_MAX && at <= ranges->count);
    memmove(&ranges->all[at + 1], &ranges->all[at], (ranges->count - at) * sizeof *range);
    ranges->all[at] = *range;
    ranges->count++;
}

static void drop(struct ranges *ranges, unsigned at)
{
    ranges->count--;
    memmove(&ranges->all[at], &ranges->all[at + 1], (ranges->count - at) * sizeof *ranges->all);
}

static bool is_complete(const struct range *range)
{
    return range->written == range->end;
}

static bool is_untouched(const struct range *range)
{
    return range->holder == RANGES_NOBODY && range->written == range->start;
}

/* Two free neighbours are one where nothing is lost by that: the first is complete, or nothing is
 * there of the second. A complete one joins the next, whoever holds that. */
static void merge(struct ranges *ranges)
{
    for (unsigned i = 0; i + 1 < ranges->count;) {
        struct range *left = &ranges->all[i], *right = left + 1;
        if (left->holder == RANGES_NOBODY && is_complete(left)) {
            right->start = left->start;
            drop(ranges, i);
        } else if (left->holder == RANGES_NOBODY && is_untouched(right)) {
            left->end = right->end;
            drop(ranges, i + 1);
        } else {
            i++;
        }
    }
}

/* --- the text --- */

/* One "FIRST-LAST,", FIRST after `before`; moves on. */
static bool scan_span(const char **text, int64_t before, int64_t *ret_first, int64_t *ret_end)
{
    int64_t first, last;
    if (!units_scan_digits(text, &first) || *(*text)++ != '-' || !units_scan_digits(text, &last) ||
        *(*text)++ != ',' || first <= before || last < first || last == INT64_MAX)
        return false;
    *ret_first = first;
    *ret_end = last + 1;
    return true;
}

int ranges_read(struct ranges *ranges, const char *text)
{
    assert(ranges->count == 1);
    struct range whole = ranges->all[0];
    int64_t first, end, before = whole.written;
    for (const char *c = text; c && *c;) {
        struct range *last = &ranges->all[ranges->count - 1];
        if (!scan_span(&c, before, &first, &end) || end > whole.end || whole.end == INT64_MAX ||
            ranges->count == RANGES_MAX) {
            ranges->count = 1;
            ranges->all[0] = whole;
            return -EINVAL;
        }
        last->end = first;
        ranges->all[ranges->count++] =
            (struct range){.start = first, .written = end, .reserved = end, .end = whole.end};
        before = end;
    }
    return 0;
}

int ranges_print(const struct ranges *ranges, char text[static RANGES_TEXT_MAX])
{
    size_t len = 0;
    text[0] = '\0';
    for (unsigned i = 0; i < ranges->count; i++) {
        int64_t start = ranges->all[i].start, end = ranges->all[i].written;
        bool has_end = i > 0 && end > start;
        /* A complete one and the next are neighbours: one span. */
        while (i + 1 < ranges->count && is_complete(&ranges->all[i])) {
            end = ranges->all[++i].written;
            has_end = has_end || (start > 0 && end > start);
        }
        if (has_end)
            len += (size_t)snprintf(text + len, RANGES_TEXT_MAX - len, "%" PRId64 "-%" PRId64 ",",
                                    start, end - 1);
    }
    return (int)len;
}

int64_t ranges_text_bytes(const char *text)
{
    int64_t bytes = 0, first, end, before = -1;
    for (const char *c = text; c && *c; before = end) {
        if (!scan_span(&c, before, &first, &end))
            return 0;
        bytes += end - first;
    }
    return bytes;
}

void ranges_truncate(struct ranges *ranges, int64_t size)
{
    for (unsigned i = 1; i < ranges->count; i++) {
        struct range *range = &ranges->all[i];
        assert(range->holder == RANGES_NOBODY);
        if (range->written > size)
            range->written = range->reserved = size > range->start ? size : range->start;
    }
    merge(ranges);
}

/* --- looking --- */

int64_t ranges_prefix(const struct ranges *ranges)
{
    unsigned i = 0;
    while (i + 1 < ranges->count && is_complete(&ranges->all[i]))
        i++;
    return ranges->all[i].written;
}

int64_t ranges_bytes(const struct ranges *ranges)
{
    int64_t bytes = 0;
    for (unsigned i = 0; i < ranges->count; i++)
        bytes += ranges->all[i].written - ranges->all[i].start;
    return bytes;
}

int64_t ranges_missing(const struct ranges *ranges)
{
    int64_t bytes = 0;
    for (unsigned i = 0; i < ranges->count; i++)
        bytes += ranges->all[i].end - ranges->all[i].written;
    return bytes;
}

bool ranges_whole(const struct ranges *ranges)
{
    for (unsigned i = 0; i < ranges->count; i++)
        if (!is_complete(&ranges->all[i]))
            return false;
    return true;
}

static unsigned find(const struct ranges *ranges, unsigned holder)
{
    unsigned i = 0;
    while (i < ranges->count && ranges->all[i].holder != holder)
        i++;
    return i;
}

const struct range *ranges_of(const struct ranges *ranges, unsigned holder)
{
    unsigned i = find(ranges, holder);
    return i < ranges->count ? &ranges->all[i] : NULL;
}

/* --- taking, writing, giving back --- */

static struct range *held_by(struct ranges *ranges, unsigned holder)
{
    unsigned i = find(ranges, holder);
    assert(holder != RANGES_NOBODY && i < ranges->count);
    return &ranges->all[i];
}

bool ranges_take(struct ranges *ranges, unsigned holder)
{
    assert(holder != RANGES_NOBODY && !ranges_of(ranges, holder));
    for (unsigned i = 0; i < ranges->count; i++) {
        struct range *range = &ranges->all[i];
        if (range->holder != RANGES_NOBODY || is_complete(range))
            continue;
        range->holder = holder;
        return true;
    }
    return false;
}

int64_t ranges_reserve(struct ranges *ranges, unsigned holder, int64_t len)
{
    struct range *range = held_by(ranges, holder);
    int64_t left = range->end - range->reserved;
    if (len > left)
        len = left;
    range->reserved += len;
    return len;
}

void ranges_commit(struct ranges *ranges, unsigned holder, int64_t len)
{
    struct range *range = held_by(ranges, holder);
    assert(len >= 0 && len <= range->reserved - range->written);
    range->written += len;
}

void ranges_unreserve(struct ranges *ranges, unsigned holder)
{
    struct range *range = held_by(ranges, holder);
    range->reserved = range->written;
}

void ranges_give_back(struct ranges *ranges, unsigned holder)
{
    unsigned i = find(ranges, holder);
    if (i == ranges->count)
        return;
    struct range *range = &ranges->all[i];
    range->reserved = range->written;
    range->holder = RANGES_NOBODY;
    merge(ranges);
}

bool ranges_extend(struct ranges *ranges, unsigned holder)
{
    struct range *range = held_by(ranges, holder), *next = range + 1;
    unsigned i = find(ranges, holder) + 1;
    if (i == ranges->count || !is_untouched(next))
        return false;
    range->end = next->end;
    drop(ranges, i);
    return true;
}

/* --- sharing --- */

/* The range at `at` ends there; what follows is a range of `holder`. */
static void split(struct ranges *ranges, unsigned i, int64_t at, unsigned holder)
{
    struct range *range = &ranges->all[i];
    struct range rest = {
        .start = at, .written = at, .reserved = at, .end = range->end, .holder = holder};
    assert(at >= range->reserved && at < range->end);
    range->end = at;
    insert(ranges, i + 1, &rest);
}

static int64_t round_down(int64_t at, int64_t least)
{
    int64_t rounded = at - at % BLOCK;
    return rounded > least ? rounded : at;
}

unsigned ranges_cut(struct ranges *ranges, unsigned holder, unsigned parts)
{
    unsigned first = find(ranges, holder), made = 1;
    assert(holder != RANGES_NOBODY && first < ranges->count && parts > 0);
    int64_t from = ranges->all[first].reserved, end = ranges->all[first].end;
    int64_t part = (end - from) / parts;
    for (unsigned i = parts - 1; i > 0 && ranges->count < RANGES_MAX; i--) { /* the last first */
        int64_t at = round_down(from + part * i, from + part * (i - 1));
        if (at <= from || at >= ranges->all[first].end)
            continue;
        split(ranges, first, at, RANGES_NOBODY);
        made++;
    }
    return made;
}

bool ranges_steal(struct ranges *ranges, unsigned holder, unsigned thief, int64_t keep)
{
    unsigned i = find(ranges, holder);
    assert(holder != RANGES_NOBODY && thief != RANGES_NOBODY && i < ranges->count);
    assert(!ranges_of(ranges, thief) && keep >= 0);
    const struct range *range = &ranges->all[i];
    if (ranges->count == RANGES_MAX || keep >= range->end - range->reserved)
        return false;
    split(ranges, i, round_down(range->reserved + keep, range->reserved), thief);
    return true;
}
