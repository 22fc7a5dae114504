/* For the tests of the routes: the HTTP server with all its routes over the fake manager, on a unix
 * socket and on TCP, and a client that writes its requests by hand. What goes wrong fails the
 * test. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "common/api.h"
#include "core/settings.h"
#include "http/events.h"
#include "http/http.h"
#include "tap.h"

#define STRANGER 12345 /* a uid without an account */

enum way {
    UNIX,
    TCP,
    TCP6,
};

extern char directory[64], socket_path[80];
extern unsigned port, port6;              /* port6 0: no IPv6 here */
extern char own_name[API_USER_MAX + 1];   /* user mode: who this is */
extern struct settings settings;
extern struct auth *auth;
extern struct http *http;
extern struct events *events;

/* --- the server: fixtures --- */

/* User mode; root becomes STRANGER, for good (each test is a process). */
void start_own(void);
/* System mode, for root: "daemon" (uid 1) and "bin" (2) are users, and "bin" is an operator. */
void start_system(void);
void stop_server(void);
void add_tests(Suite *suite, const char *name, void (*start)(void), const TTest *const *tests);
struct http_options bench_options(void);
/* Who reads long bodies. */
struct readers *bench_readers(void); /* of such a server, in user mode */
void set(const char *key, const char *value);

/* --- the client; the caller frees what it gets --- */

int connect_to(enum way way); /* -1: nobody listens */
/* False: the other side does not take it all; the answer may be there already. */
bool send_text(int fd, const char *text);
/* Up to the end of the stream; of events, to the end of the head. */
char *read_all(int fd);
char *exchange(enum way way, const char *text);
char *base64(const char *text);
/* One request with the head that a client like curl sends; `extra`: more lines, each with its CRLF;
 * `user` NULL: no Authorization. */
char *request_text(const char *line, const char *user, const char *extra, const char *body);
char *ask(enum way way, const char *line, const char *user, const char *extra, const char *body);
/* The answer that root's test gets on a connection that this uid made. */
char *ask_as(uid_t uid, enum way way, const char *line, const char *user);
char *ask_with_as(uid_t uid, enum way way, const char *line, const char *user, const char *extra,
                  const char *body);
/* `start` and so many times "a". */
char *padded(const char *start, size_t count);

/* --- what is expected; `body` NULL: any --- */

void check_answer(const char *answer, int status, const char *body, const char *what);
/* On the unix socket and, with one's name, on TCP. */
void expect_with(const char *line, const char *extra, const char *sent, int status,
                 const char *body);
void expect(const char *line, int status, const char *body);
void expect_error(const char *line, int status, const char *code, const char *message);
void expect_raw(const char *text, int status, const char *body);
/* `message`: a part of the answer, or NULL. */
void expect_as(uid_t uid, enum way way, const char *line, const char *user, int status,
               const char *message);
