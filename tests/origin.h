/*
 * A web server inside a test: what a path is decides what comes, always the same bytes for the same
 * path (but /head), so that a file on disk can be compared without a second download.
 *
 *   /bytes/SIZE/NAME      SIZE bytes with Content-Length
 *   /chunked/SIZE/NAME    SIZE bytes without it
 *   /short/SIZE/NAME      promises SIZE bytes, closes after half of them
 *   /gate/NAME?size=SIZE  half of the bytes at once, the rest when the gate NAME is open
 *   /redirect/N/REST      N times 302 on the way to /REST
 *   /status/CODE/NAME     that status, with a short body
 *   /head/NAME            the fields of the request's head, a line each
 *
 * Anything else is 404.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct origin;

/* Listens on 127.0.0.1, on a port of the kernel's choice. 0 or a negative errno. */
int origin_start(struct origin **ret_origin);
/* Opens all gates, waits for its threads. NULL is fine. */
void origin_stop(struct origin *origin);
unsigned origin_port(const struct origin *origin);
/* http://127.0.0.1:PORT followed by `path`; the string is the origin's until origin_stop. */
const char *origin_url(struct origin *origin, const char *path);

/* What waits at this gate, and what comes later, goes through. */
void origin_open_gate(struct origin *origin, const char *name);
/* How many requests came; how many were being answered at the same time, now and at most (a request
 * counts until its last byte is handed to the kernel). */
unsigned origin_requests(struct origin *origin);
unsigned origin_concurrent(struct origin *origin);
unsigned origin_max_concurrent(struct origin *origin);

/* 0 when the file holds exactly what this path gives (behind redirects too); -EUCLEAN when it holds
 * something else, -EINVAL when the path gives no bytes, or the errno of reading. */
int origin_expect_file(const char *path_on_disk, const char *url_path);
