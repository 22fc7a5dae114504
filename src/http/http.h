/*
 * The HTTP server: the only user of libmicrohttpd. It checks what concerns every request (head,
 * Host, origin, body bounds, who is asking), finds the route, gathers the parameters and calls the
 * route's handler, on one of the library's threads. A handler never blocks: it answers, or lets
 * another thread answer later (the connection is suspended meanwhile).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "core/settings.h"
#include "http/auth.h"

struct http;
struct http_request;

enum http_method {
    HTTP_GET = 1,
    HTTP_HEAD = 2,
    HTTP_POST = 4,
};

struct http_route {
    const char *path;
    unsigned methods; /* enum http_method, or'ed */
    void (*handle)(struct http_request *request, void *data);
};

struct http_options { /* borrowed until http_destroy, but settings: copied */
    const struct settings *settings;
    const char *socket; /* the unix socket's path, or NULL */
    bool user_mode; /* then a default listener that is in use may be missing too */
    struct auth *auth;
    const struct http_route *routes; /* ended by a NULL path */
    void *data; /* for the handlers */
};

/* Makes the listening sockets (a default one that cannot be had is logged and skipped; one that
 * somebody wrote is an error, logged) and starts the threads. A stale unix socket is replaced: the
 * caller holds the instance lock. 0 or a negative errno. */
int http_create(const struct http_options *options, struct http **ret_http);
/* Closes the listeners; what comes on open connections is answered 503. Suspended requests go on. */
void http_quiesce(struct http *http);
/* Waits until no request is suspended, ends the threads. NULL is fine. */
void http_destroy(struct http *http);
/* New settings after a reload (host-names). */
void http_reload(struct http *http, const struct settings *settings);

/* --- for handlers --- */

enum http_method http_request_method(const struct http_request *request);
const struct caller *http_request_caller(const struct http_request *request);
/* The first value of a parameter, from the query, then from the body; NULL: absent. Percent-decoded,
 * `ret_len` (may be NULL) tells of NULs inside. Lives as long as the request. */
const char *http_request_param(const struct http_request *request, const char *name,
                               size_t *ret_len);

/* Answers the request; on the handler's thread, or later on any other. `body` is taken (freed with
 * free). `body` NULL: no memory, 503. */
void http_answer(struct http_request *request, int status, char *body);
/* Answers {"code": CODE, "message": MESSAGE}. */
void http_answer_error(struct http_request *request, int status, const char *code,
                       const char *message);
/* To be called before an answer from another thread is possible: the handler promises that exactly
 * one http_answer comes, from any thread, even before it returns. */
void http_suspend(struct http_request *request);
