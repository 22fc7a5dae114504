#include "http/ring.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/units.h"

#define TOKEN_MAX 20

struct ring {
    char token[TOKEN_MAX + 1];
    size_t events_max, bytes_max;
    size_t bytes;
    uint64_t first, end; /* numbers of the oldest event, and of the next one; never 0 */
    struct event *events[];
};

/* --- one event --- */

struct event *event_create(const char *name, uid_t uid, const char *id, char *to_owner,
                           char *to_others)
{
    struct event *event = to_owner ? calloc(1, sizeof *event) : NULL;
    if (!event) {
        free(to_owner);
        free(to_others);
        return NULL;
    }
    event->references = 1;
    event->name = name;
    event->uid = uid;
    snprintf(event->id, sizeof event->id, "%s", id);
    event->to_owner = to_owner;
    event->to_others = to_others;
    return event;
}

struct event *event_line(const char *line)
{
    struct event *event = event_create("", RING_EVERYBODY, "", strdup(""), NULL);
    if (event)
        event->head_len = (size_t)snprintf(event->head, sizeof event->head, "%s", line);
    return event;
}

struct event *event_ref(struct event *event)
{
    event->references++;
    return event;
}

void event_unref(struct event *event)
{
    if (!event || --event->references > 0)
        return;
    free(event->to_owner);
    free(event->to_others);
    free(event);
}

size_t event_copy(const struct event *event, bool to_owner, size_t offset, char *to, size_t max)
{
    const char *data = to_owner || !event->to_others ? event->to_owner : event->to_others;
    const struct {
        const char *text;
        size_t len;
    } parts[] = {
        {event->head, event->head_len},
        {data,        strlen(data)   },
        {"\n\n",      2              },
    };
    size_t copied = 0;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (offset >= parts[i].len) {
            offset -= parts[i].len;
            continue;
        }
        size_t len = parts[i].len - offset;
        if (len > max - copied)
            len = max - copied;
        memcpy(to + copied, parts[i].text + offset, len);
        copied += len;
        offset = 0;
        if (copied == max)
            break;
    }
    return copied;
}

static size_t size_of(const struct event *event)
{
    return sizeof *event + strlen(event->to_owner) +
           (event->to_others ? strlen(event->to_others) : 0);
}

/* --- the ring --- */

int ring_create(size_t events_max, size_t bytes_max, const char *token, struct ring **ret_ring)
{
    assert(events_max > 0 && strlen(token) <= TOKEN_MAX);
    struct ring *ring = calloc(1, sizeof *ring + events_max * sizeof *ring->events);
    if (!ring)
        return -ENOMEM;
    snprintf(ring->token, sizeof ring->token, "%s", token);
    ring->events_max = events_max;
    ring->bytes_max = bytes_max;
    ring->first = ring->end = 1;
    *ret_ring = ring;
    return 0;
}

static struct event **slot(struct ring *ring, uint64_t number)
{
    return &ring->events[number % ring->events_max];
}

static void drop_first(struct ring *ring)
{
    struct event **event = slot(ring, ring->first++);
    ring->bytes -= size_of(*event);
    event_unref(*event);
    *event = NULL;
}

void ring_destroy(struct ring *ring)
{
    if (!ring)
        return;
    while (ring->first < ring->end)
        drop_first(ring);
    free(ring);
}

static void set_head(const struct ring *ring, struct event *event, uint64_t number)
{
    event->head_len = (size_t)snprintf(event->head, sizeof event->head,
                                       "id: %s-%llu\nevent: %s\ndata: ", ring->token,
                                       (unsigned long long)number, event->name);
    assert(event->head_len < sizeof event->head);
}

/* The newest one stays, however large. */
void ring_put(struct ring *ring, struct event *event)
{
    size_t size = size_of(event);
    while (ring->first < ring->end &&
           (ring->end - ring->first == ring->events_max || ring->bytes + size > ring->bytes_max))
        drop_first(ring);
    event->number = ring->end++;
    set_head(ring, event, event->number);
    *slot(ring, event->number) = event;
    ring->bytes += size;
}

void ring_clear(struct ring *ring)
{
    while (ring->first < ring->end)
        drop_first(ring);
    ring->first = ++ring->end;
}

uint64_t ring_end(const struct ring *ring)
{
    return ring->end;
}

void ring_number(const struct ring *ring, struct event *event, uint64_t place)
{
    set_head(ring, event, place - 1);
}

uint64_t ring_place(const struct ring *ring, const char *id)
{
    uint64_t number;
    size_t len = strlen(ring->token);
    if (strncmp(id, ring->token, len) != 0 || id[len] != '-' ||
        units_parse_uint(id + len + 1, 0, ring->end - 1, &number) < 0)
        return 0;
    return number + 1;
}

enum ring_look ring_look(const struct ring *ring, uint64_t *place,
                         bool (*wants)(const void *reader, const struct event *event),
                         const void *reader)
{
    if (*place < ring->first) {
        *place = ring->end;
        return RING_MISSED;
    }
    while (*place < ring->end && !wants(reader, ring_at(ring, *place)))
        (*place)++;
    return *place < ring->end ? RING_EVENT : RING_NOTHING;
}

struct event *ring_at(const struct ring *ring, uint64_t place)
{
    assert(place >= ring->first && place < ring->end);
    return ring->events[place % ring->events_max];
}
