/* What the routes of all versions have in common: who may, what a parameter may be, and what an
 * error of the manager's is to the one who asked. */
#pragma once

#include <stdbool.h>

#include "http/auth.h"
#include "http/events.h"
#include "http/http.h"
#include "http/readers.h"
#include "manager.h"

/* The handlers' data: of every table of routes that is given to http_create. */
struct routes {
    struct manager *manager;
    struct auth *auth;
    struct events *events;
    struct readers *readers; /* NULL: all bodies are read at once */
};

/* All that there are, for http_create. */
extern const struct http_route *const routes_tables[];

/* 400. */
void routes_refuse(struct http_request *request, const char *message);
/* What a manager's error is; those about the state of a task, and ambiguous ids, are 409. */
void routes_fail(struct http_request *request, const struct manager_reply *reply);

/* The following answer the request when they return false. */

/* A parameter as a text: valid UTF-8 without a NUL. NULL: absent. */
bool routes_text(struct http_request *request, const char *name, const char **ret_text);
/* May the caller, and to whose tasks? `scope`: as auth_authorize takes it. */
bool routes_may(struct http_request *request, const struct routes *routes, enum auth_action action,
                const char *scope, uid_t *ret_scope);

/* Long enough for an id, of the right characters. */
bool routes_is_id_prefix(const char *text);
