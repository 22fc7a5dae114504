/*
 * The client's end of HTTP, the only user of libcurl here: one request after the other to one
 * service, straight to it (no proxy, no redirects). A password goes over https alone, and only when
 * the service has proved who it is.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "address.h"
#include "common/buf.h"
#include "login.h"

struct client;

struct json_object;

struct client_request {
    const char *path;
    const char *query;   /* urlencoded, or NULL */
    const char *form;    /* urlencoded; sent with POST; NULL: GET */
    const char *method;  /* NULL: GET, or POST with a form */
    const char *json;    /* what goes with the method, or NULL */
    const char *expects; /* the key that a success has; NULL: any answer will do */
};

struct client_answer {  /* owned by the client, until its next request */
    int status;         /* 0: there is none */
    const char *server; /* the Server header, or NULL */
    const char *body;
    size_t len;
    struct json_object *json; /* the body as an object, or NULL */
    const char *message;      /* the service's sentence, or NULL */
    const char *error; /* why there is no answer, or none of autodl-service; NULL: all is well */
};

/* Takes the address. `login` is copied; without a user in it no name goes along. NULL: no memory.
 */
struct client *client_create(struct address *address, const struct login *login);
void client_destroy(struct client *client);

bool client_is_unix(const struct client *client);
/* Whether the service knows who asks though we do not run as that user: a unix socket, ssh. */
bool client_names_user(const struct client *client);
const char *client_name(const struct client *client);
/* What it speaks to the service over, for people. */
const char *client_channel(const struct client *client);

void client_send(struct client *client, const struct client_request *request,
                 struct client_answer *ret_answer);

/* Who hears an answer as it comes; both return false for enough. */
struct client_listener {
    bool (*on_data)(void *data, const char *bytes, size_t len);
    bool (*on_tick)(void *data); /* once a second at least, and soon after each signal */
    void *data;
};

/* A GET whose answer may have no end. Returns when it has one, at enough (then ret_answer->error is
 * NULL) or after `timeout` ms (0: never). What comes with another status than 200 is in
 * ret_answer as with client_send, and the listener does not hear it. */
void client_listen(struct client *client, const struct client_request *request,
                   const struct client_listener *listener, int64_t timeout,
                   struct client_answer *ret_answer);
/* A second connection to the same service, as the same user; NULL: no memory. */
struct client *client_twin(const struct client *client);

/* Only connects: whether somebody listens. If not, ret_answer->error says so. */
bool client_probe(struct client *client, struct client_answer *ret_answer);

/* Adds KEY=VALUE to an urlencoded form or query; the result is the buffer's error. */
int client_add_field(struct buf *form, const char *key, const char *value);
/* Adds a text as it may stand in a path. */
int client_add_escaped(struct buf *buf, const char *text);
