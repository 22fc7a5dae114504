/*
 * The last events in the order that they came, for many readers that are each at a place of their
 * own. What is more than it may hold drops out at the old end; who has not read it by then is told
 * so. An event is text ready to be sent (server-sent events, HTML Living Standard 9.2), made once
 * for all readers; one that is being sent lives on when it drops out. Pure; its owner locks.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/api.h"

#define RING_EVERYBODY ((uid_t)-1)

struct ring;

struct event { /* immutable but for `references`, once it has a number */
    unsigned references;
    uint64_t number;            /* 0: none */
    const char *name;           /* static */
    uid_t uid;                  /* whose task; RING_EVERYBODY: it concerns all */
    char id[API_ID_LENGTH + 1]; /* the task's, or "" */
    bool passing;               /* of no interest later */
    char *to_owner;             /* JSON on one line */
    char *to_others;            /* the same, NULL: they get what the owner gets */
    char head[96];
    size_t head_len;
};

/* `to_owner` and `to_others` are taken, whatever happens (to_owner NULL: there was no memory).
 * NULL: no memory. The caller has the one reference. */
struct event *event_create(const char *name, uid_t uid, const char *id, char *to_owner,
                           char *to_others);
/* A line that is no event ("retry: 3000", ":" and anything), copied. NULL: no memory. */
struct event *event_line(const char *line);
struct event *event_ref(struct event *event);
void event_unref(struct event *event); /* NULL is fine */
/* Copies at most `max` bytes of the event's text from `offset` on. How many; 0: that was all. */
size_t event_copy(const struct event *event, bool to_owner, size_t offset, char *to, size_t max);

/* Holds at most so many events, and so many bytes of them. `token` (copied, short) begins each
 * event's id, and tells this run from others. 0 or -ENOMEM. */
int ring_create(size_t events_max, size_t bytes_max, const char *token, struct ring **ret_ring);
void ring_destroy(struct ring *ring); /* NULL is fine */
/* Takes over the reference. */
void ring_put(struct ring *ring, struct event *event);
/* Forgets all; to every reader it is as if something had come and dropped out. */
void ring_clear(struct ring *ring);
/* The place of the next event to come. */
uint64_t ring_end(const struct ring *ring);
/* The place behind the event with this id ("TOKEN-NUMBER"): ring_read tells whether something is
 * missing there. Without a place in this run (another's id, or none): 0, which is always missed. */
uint64_t ring_place(const struct ring *ring, const char *id);
/* An event that is in no ring gets the id of the last one before `place`, so that it can be sent in
 * between. */
void ring_number(const struct ring *ring, struct event *event, uint64_t place);

enum ring_look {
    RING_NOTHING, /* more has to come first */
    RING_EVENT,   /* `place` is at the first event from there that is wanted */
    RING_MISSED,  /* events from there on have dropped out; `place` is at the end */
};

/* Moves `place` on, past what is not wanted. */
enum ring_look ring_look(const struct ring *ring, uint64_t *place,
                         bool (*wants)(const void *reader, const struct event *event),
                         const void *reader);
/* The event at a place where ring_look found one; borrowed. */
struct event *ring_at(const struct ring *ring, uint64_t place);
