/*
 * Bodies that take long to read: not on an HTTP thread, whose other requests would wait, but on a
 * thread of their user's. One is read at a time, in the order of asking, and so the memory that
 * this takes is that of one.
 */
#pragma once

#include <sys/types.h>

#include "http/http.h"

struct readers;

int readers_create(struct readers **ret_readers); /* 0 or -ENOMEM */
/* What was put is read; what comes later is refused. */
void readers_stop(struct readers *readers);
/* After readers_stop, if anything was put. NULL is fine. */
void readers_destroy(struct readers *readers);

/* Has `read` called on that thread, for a request that is suspended (http_suspend) and that it, or
 * whoever it hands it to, answers. `data` is borrowed until then. 0; -ESHUTDOWN or -ENOMEM: it is
 * not called. */
typedef void (*readers_read)(struct http_request *request, void *data);
int readers_put(struct readers *readers, uid_t uid, struct http_request *request, readers_read read,
                void *data);
