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

/*
 * `place` is kept, not copied; `port` is that of the service, at localhost over there. 0 or a
 * negative errno.
 */
int ssh_create(const struct ssh_place *place, const char *port, struct ssh **ret_ssh);
/* Ends the children, and waits for their end. NULL is fine. */
void ssh_destroy(struct ssh *ssh);
/* Where connections begin: the path of a unix socket that nobody else can reach. */
const char *ssh_path(const struct ssh *ssh);
/* Starts an ssh that takes the next connection there. 0 or a negative errno. */
int ssh_start(struct ssh *ssh);
/* Whether a child ended with an error: then there was no way. */
bool ssh_failed(struct ssh *ssh);
