/*
 * A web server that misbehaves on request: raw sockets, HTTP/1.1, one request a connection, each in
 * a thread. What comes is written into the URL, so that a test can be read in one line:
 *
 *   /NAME?size=SIZE&KEY=VALUE&...
 *
 * The bytes depend on NAME (and on the version, below) alone. Without more it is a good server:
 * Range and If-Range, a strong ETag, Last-Modified. The keys:
 *
 *   size=N           of the file (100000)
 *   rate=N           body bytes a second
 *   do=ACTION        one of those in hostile.c's table, such as reset, cut, stall, chunked, chain
 *   at=N             the position in the file where reset, cut and stall happen (half of it)
 *                    (503: that status; trickle: the second request gets its bytes 50 times slower;
 *                    slower: twice)
 *   times=K          only the first K requests of NAME see the action (all of them)
 *   then=ACTION      what the requests after these see
 *   hops=N           redirects of `do=chain`
 *   changes=A+B+..   requests after the first K (1) find another version: what changes is `etag`,
 *                    `date`, `size` and `content`
 *   etag=weak|none|node   node: another one with each request
 *   date=none        no Last-Modified
 *   ranges=no        Accept-Ranges: none, and Range is ignored
 *   status=N         that status and no file (the first K times)
 *   retry-after=V    with it: seconds, or `date:SECONDS` for a date so far away
 *   disposition=V    Content-Disposition (percent-encoded)
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct hostile;

/* Listens on 127.0.0.1 and `port` (0: of the kernel's choice). 0 or a negative errno. */
int hostile_start(unsigned port, struct hostile **ret_hostile);
/* Closes all connections, waits for the threads. NULL is fine. */
void hostile_stop(struct hostile *hostile);
unsigned hostile_port(const struct hostile *hostile);
/* From now on `rate` is ignored. */
void hostile_hurry(struct hostile *hostile);

/* From now on it has this version of those that change, whatever was asked before; -1: as the URL
 * says. */
void hostile_show(struct hostile *hostile, int version);

/* What was served of NAME (a path of a URL; its query does not matter), counted at the sender. */
struct hostile_count {
    unsigned requests;
    unsigned ranges; /* of these: answered with 206 */
    unsigned running; /* being answered now ... */
    unsigned max_running; /* ... and at most */
    uint64_t sent; /* body bytes */
    uint64_t again; /* of these: sent before */
    uint64_t excused; /* of these may have been: what each connection but the last carried in its
                         last 1.5 s, and 64 KiB */
    int64_t first_at, last_at; /* when requests came, ms of CLOCK_MONOTONIC */
};

/* How many requests of all names were answered at the same time, at most. */
unsigned hostile_max_running(struct hostile *hostile);
void hostile_read(struct hostile *hostile, const char *path, struct hostile_count *ret_count);
/* The sum of all names: what was sent again beyond what is excused, name by name (each such name is
 * printed, as a comment of TAP). */
uint64_t hostile_unexcused(struct hostile *hostile, uint64_t *ret_sent, uint64_t *ret_again);

/* 0 when the file holds exactly what this path gives in this version (0: the first); -EUCLEAN when
 * something else, or the errno of reading. */
int hostile_expect_file(const char *path_on_disk, const char *url_path, unsigned version);
/* These bytes, from `pos` on; how many there are up to `len`. */
size_t hostile_fill(const char *url_path, unsigned version, uint64_t pos, char *data, size_t len);
