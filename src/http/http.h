/*
 * The HTTP server: the only user of libmicrohttpd. It checks what concerns every request (head,
 * Host, origin, body bounds, who is asking), finds the route, gathers the parameters and calls the
 * route's handler, on one of the library's threads. A handler never blocks: it answers, or lets
 * another thread answer later (the connection is suspended meanwhile).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "core/address.h"
#include "core/settings.h"
#include "http/auth.h"
#include "http/stream.h"

struct http;
struct http_request;

enum http_method {
    HTTP_GET = 1,
    HTTP_HEAD = 2,
    HTTP_POST = 4,
    HTTP_DELETE = 8,
    HTTP_PATCH = 16,
};

enum http_body {
    HTTP_BODY_FORM, /* parameters, as in the query */
    HTTP_BODY_JSON, /* JSON or nothing; for http_request_body */
    HTTP_BODY_JSON_NEEDED,
};

struct http_route {
    const char *path; /* "*" stands for one segment; a path may be there again with other methods */
    unsigned methods; /* enum http_method, or'ed */
    void (*handle)(struct http_request *request, void *data);
    enum http_body body;
    size_t body_max; /* bytes; 0: API_BODY_MAX */
    bool is_open;    /* to anybody: who asks is not looked at */
};

struct http_options { /* borrowed until http_destroy, but settings: copied */
    const struct settings *settings;
    const char *socket; /* the unix socket's path, or NULL */
    struct auth *auth;
    const struct http_route *const *tables; /* each ended by a NULL path, all by NULL */
    void *data;                             /* for the handlers */
};

/* Makes the listening sockets (a default one that cannot be had is logged and skipped; one that
 * somebody wrote is an error, logged) and starts the threads. A stale unix socket is replaced: the
 * caller holds the instance lock. 0 or a negative errno. */
int http_create(const struct http_options *options, struct http **ret_http);
/* What it listens on, as the kernel has it, but for the unix socket. The caller frees the list. 0
 * or -ENOMEM. */
int http_listeners(const struct http *http, struct address_endpoint **ret_endpoints,
                   size_t *ret_count);
/* Closes the listeners and ends the streams; what comes on open connections is answered 503.
 * Suspended requests go on. */
void http_quiesce(struct http *http);
/* After http_quiesce: waits until no request is suspended, at most `timeout` ms: 0. What is left
 * then is answered 503, whoever has it in hand, and that gets out: -ETIMEDOUT, and the process has
 * to end without http_destroy. */
int http_settle(struct http *http, int64_t timeout);
/* Ends the threads, once no request is suspended. NULL is fine. */
void http_destroy(struct http *http);
/* New settings after a reload: host-names, and the certificate (a bad one is logged, and the old
 * one stays). By the thread that created it. */
void http_reload(struct http *http, const struct settings *settings);

/* --- for handlers --- */

const struct caller *http_request_caller(const struct http_request *request);
/* The first value of a parameter, from the query, then from the body; NULL: absent.
 * Percent-decoded, `ret_len` (may be NULL) tells of NULs inside. Lives as long as the request. */
const char *http_request_param(const struct http_request *request, const char *name,
                               size_t *ret_len);
/* The name of the parameter at `index`, counted from 0; NULL: there are no more. */
const char *http_request_param_name(const struct http_request *request, size_t index);
/* Its value, likewise. */
const char *http_request_param_value(const struct http_request *request, size_t index,
                                     size_t *ret_len);
/* A field of the head, or NULL. On the handler's thread, before it has answered. */
const char *http_request_header(const struct http_request *request, const char *name);
/* What the route's "*" stands for, percent-decoded. Lives as long as the request. */
const char *http_request_segment(const struct http_request *request);
/* The body of a route with JSON, not looked at yet; "" if there is none. It is followed by a NUL
 * that `ret_len` does not count. Lives as long as the request. */
const char *http_request_body(const struct http_request *request, size_t *ret_len);

/* Answers the request; on the handler's thread, or later on any other. `body` is taken (freed with
 * free). `body` NULL: no memory, 503. With 204 it is "". */
void http_answer(struct http_request *request, int status, char *body);
/* The same with a Location field (copied). */
void http_answer_at(struct http_request *request, int status, char *body, const char *location);
/* The same with another Content-Type (static) than that of JSON. */
void http_answer_text(struct http_request *request, int status, char *body, const char *type);
/* Answers 200 with what the source gives, of this type (static), until its end or the server's; on
 * the handler's thread. The stream is the source's to wake. NULL: no memory, and the request is
 * still to be answered. */
struct stream *http_answer_stream(struct http_request *request, const char *type,
                                  const struct stream_source *source);
/* Answers {"code": CODE, "message": MESSAGE}. */
void http_answer_error(struct http_request *request, int status, const char *code,
                       const char *message);
/* To be called before an answer from another thread is possible: the handler promises that exactly
 * one http_answer comes, from any thread, even before it returns. */
void http_suspend(struct http_request *request);
