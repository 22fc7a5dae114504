/*
 * What happens, told to those who listen (server-sent events): the manager tells of changes, they
 * go into one ring (ring.h), and each listener reads from a place of its own as fast as it can. Who
 * is too slow for that is told to look anew. Nothing is recorded, and nobody woken, while nobody
 * listens (but for a minute after the last one went, who may come again).
 */
#pragma once

#include <stddef.h>
#include <sys/types.h>

#include "http/auth.h"
#include "http/http.h"
#include "manager.h"

#define EVENTS_TYPE "text/event-stream"

struct events;

/* 0 or a negative errno. */
int events_create(struct events **ret_events);
/* What manager_create takes. The events outlive the manager. */
struct manager_events events_of_manager(struct events *events);
/* From here on people can listen; starts a thread. 0 or a negative errno. */
int events_start(struct events *events, struct manager *manager);
/* Ends the thread. Nobody listens any more, and the manager is still there. */
void events_stop(struct events *events);
void events_destroy(struct events *events); /* NULL is fine */

struct events_wish {        /* borrowed */
    struct auth *auth;      /* who may listen to that, now and later; it outlives the listener */
    uid_t scope;            /* whose tasks, or MANAGER_EVERYBODY */
    const char *const *ids; /* of the tasks, or their beginnings */
    size_t id_count;        /* 0: all of them */
    const char *last_id;    /* of the last event that the listener has, or NULL: it begins */
};

/* Answers the request with the events from now on, or from `last_id`. In a handler. 0, or -ENOMEM:
 * the request is still to be answered. */
int events_listen(struct events *events, struct http_request *request,
                  const struct events_wish *wish);
/* How many listen. */
unsigned events_listeners(struct events *events);
