/*
 * Answers that go out bit by bit for as long as both sides like: the HTTP library's part of it.
 * What is in them is their source's business. A stream that has nothing to send is suspended until
 * it is woken; one whose other side has gone ends at once, though the library does not look at
 * suspended connections.
 */
#pragma once

#include <stddef.h>
#include <sys/types.h>

struct daemon;
struct MHD_Connection;
struct MHD_Response;
struct stream;
struct streams; /* all of a server */

struct stream_source { /* called on the library's threads, one at a time; never blocking */
    /* The next bytes, at most `max`: how many; -EAGAIN: none for now, stream_wake tells of more; 0:
     * that was all. */
    ssize_t (*read)(void *data, char *to, size_t max);
    /* Perhaps the other side has gone (or has only said all that it had to say), which shows when
     * something is sent: let `read` have something soon. On any thread. */
    void (*probe)(void *data);
    /* Nothing is called any more; called once, whoever ended it. */
    void (*close)(void *data);
    void *data;
};

/* Starts a thread, which sleeps while nothing happens. 0 or a negative errno. */
int streams_create(struct streams **ret_streams);
/* There is no stream any more. NULL is fine. */
void streams_destroy(struct streams *streams);
/* All come to their end, and those to come at once: none is suspended from here on. */
void streams_stop(struct streams *streams);
/* Those of daemons that were retired come to their end. */
void streams_end_retired(struct streams *streams);

/* NULL: no memory; then `source` is not closed. */
struct stream *stream_open(struct streams *streams, const struct daemon *daemon,
                           struct MHD_Connection *connection, const struct stream_source *source);
/* The answer, for the library; the caller destroys it. NULL: no memory. */
struct MHD_Response *stream_response(struct stream *stream);
/* There is something to read. On any thread, until the source is closed. */
void stream_wake(struct stream *stream);
/* The library has done with it: closes the source, frees. NULL is fine. */
void stream_close(struct stream *stream);
