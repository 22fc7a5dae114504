/*
 * The client's end of HTTP, the only user of libcurl here: one request after the other to one
 * service, straight to it (no proxy, no redirects). A password goes over https alone, and only when
 * the service has proved who it is.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "address.h"
#include "common/buf.h"
#include "login.h"

struct client;

struct client_request {
    const char *path;
    const char *query; /* urlencoded, or NULL */
    const char *form; /* urlencoded; sent with POST; NULL: GET */
    const char *expects; /* the key that a success has; NULL: any answer will do */
};

struct client_answer { /* owned by the client, until its next request */
    int status; /* 0: there is none */
    const char *server; /* the Server header, or NULL */
    const char *body;
    size_t len;
    const char *message; /* the service's sentence, or NULL */
    const char *error; /* why there is no answer, or none of autodl-service; NULL: all is well */
};

/* Takes the address. `login` is copied; without a user in it no name goes along. NULL: no memory. */
struct client *client_create(struct address *address, const struct login *login);
void client_destroy(struct client *client);

bool client_is_unix(const struct client *client);
const char *client_name(const struct client *client);
/* What it speaks to the service over, for people. */
const char *client_channel(const struct client *client);

void client_send(struct client *client, const struct client_request *request,
                 struct client_answer *ret_answer);
/* Only connects: whether somebody listens. If not, ret_answer->error says so. */
bool client_probe(struct client *client, struct client_answer *ret_answer);

/* Adds KEY=VALUE to an urlencoded form or query; the result is the buffer's error. */
int client_add_field(struct buf *form, const char *key, const char *value);
