/* The service's end of the monitor: a thread that hears it (its end is ours: the process exits),
 * and what the service asks of it. */
#pragma once

#include <sys/types.h>

#include "privsep/wire.h"

struct privsep;

struct privsep_events { /* called on the listening thread, one at a time */
    void (*on_stop)(void *data); /* once; a second stop ends the process in here */
    void (*on_reload)(void *data);
    void *data;
};

/* Takes `control`, also on failure. 0 or a negative errno. */
int privsep_create(int control, const struct privsep_events *events, struct privsep **ret_privsep);
void privsep_destroy(struct privsep *privsep);

int privsep_ready(struct privsep *privsep);
/* The service works: for systemd's watchdog. Thread safe. */
int privsep_alive(struct privsep *privsep);
int privsep_stopping(struct privsep *privsep);

/*
 * Asks for a new filer for `uid`, without waiting for it. `ret_control` is the caller's end of its
 * control socket: on it comes a wire_hello with 0, -EACCES (not for this uid), -ENOENT (no such
 * user) or another errno, or the end. Thread safe. 0 or a negative errno.
 */
int privsep_spawn_filer(struct privsep *privsep, uid_t uid, mode_t umask, int *ret_control);

/* --- passwords --- */

#define PRIVSEP_CHECKS_MAX 8 /* how many the service may have under way; more: -EPIPE of some */

/*
 * Asks PAM about a password, without waiting for it: `host` is the address that it came from, in
 * numbers. `ret_socket` becomes readable when the answer is there (within 30 s and a little); read
 * it with privsep_read_verdict. No copy of the password stays in this process. Thread safe. 0 or a
 * negative errno: -EINVAL for what cannot be a name or a password, -EAGAIN when the monitor is busy.
 */
int privsep_check_password(struct privsep *privsep, const char *user, const char *password,
                           const char *host, int *ret_socket);
/* Never blocks; WIRE_UNDECIDED also when the PAM child ended without a word. */
enum wire_verdict_kind privsep_read_verdict(int socket);
