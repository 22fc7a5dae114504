/* For the tests of events: one who listens (server-sent events over HTTP/1.1, chunked). What goes
 * wrong fails the test. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/buf.h"

struct sse {
    int fd;
    struct buf raw, text;  /* as it came, and without the framing */
    size_t decoded, taken; /* of raw, of text */
    size_t comments;
    bool ended;  /* by the server, as it should be */
    bool closed; /* the connection */
};

struct sse_event { /* texts live until the next call */
    const char *id, *name, *data;
};

/* Sends the request on this socket, which is its own from now on, and reads the head, which must
 * say 200 and text/event-stream. */
void sse_begin(struct sse *sse, int fd, const char *request);
/* The next event. False: none within `timeout` ms, or the stream is over (`closed`). */
bool sse_next(struct sse *sse, int timeout, struct sse_event *ret_event);
/* The next one of this name, past others; there must be one. Its data. */
const char *sse_find(struct sse *sse, int timeout, const char *name, struct sse_event *ret_event);
void sse_end(struct sse *sse);
