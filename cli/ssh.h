/*
 * The service on another machine, reached as a user of that machine: ssh(1) is a child that carries
 * one connection (its -W), so that no port is open, no certificate needed, and the far kernel says
 * who asks. What ssh says goes to standard error as it is. AUTODL_SSH names another program, with
 * arguments between blanks, as in "ssh -F config".
 */
#pragma once

#include <stdbool.h>

struct ssh_place {     /* owned strings */
    char *host, *user; /* user NULL: ssh's own choice */
    char *port;        /* of the ssh server; NULL: ssh's own choice */
};

void ssh_place_release(struct ssh_place *place);

/* Whom ssh logs in as there (ssh -G). 0, -ENOENT (ssh does not say) or another negative errno. */
int ssh_find_user(const struct ssh_place *place, char **ret_user);

struct ssh;

/* `place` and `port` are kept, not copied; `port` is that of the service, at localhost over there.
 * NULL: no memory. */
struct ssh *ssh_create(const struct ssh_place *place, const char *port);
/* Ends the children, and waits for their end. NULL is fine. */
void ssh_destroy(struct ssh *ssh);
/* A new connection: its end here, the caller's, or a negative errno. */
int ssh_connect(struct ssh *ssh);
/* Whether a child ended with an error: then there was no way. */
bool ssh_failed(struct ssh *ssh);
