/* A reader of server-sent events (HTML Living Standard, section 9.2.6), as bytes come. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/buf.h"

struct sse {
    /* private */
    struct buf line, name, data;
    /* told to `on_event`; false: enough */
    bool (*on_event)(void *user, const char *name, const char *data, size_t len);
    void *user;
};

void sse_init(struct sse *sse, bool (*on_event)(void *, const char *, const char *, size_t),
              void *user);
/* Before the events of another connection. */
void sse_restart(struct sse *sse);
void sse_release(struct sse *sse);
/* False: on_event said that it is enough. What is too large is left out. */
bool sse_feed(struct sse *sse, const char *bytes, size_t len);
