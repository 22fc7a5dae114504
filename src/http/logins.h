/*
 * Passwords that are being checked: PAM is asked by way of the monitor, a bounded number of times
 * at once; those who sent the same password meanwhile wait for the same answer. A wrong password (a
 * user that is not there is nothing else) is told at whole multiples of 2 s after it came, so that
 * the time tells nothing, and no thread waits for that. A thread of its own hears the answers.
 */
#pragma once

#include "privsep/privsep.h"

struct logins;

/* What came with a request. */
struct login {
    const char *user, *password;
    const char *address; /* where it came from, in numbers */
    const char *origin;  /* what wrong ones are counted by: see passwords.h */
};

enum logins_result {
    LOGINS_RIGHT,
    LOGINS_LOOKING, /* `again` will be called once, on another thread, no lock held: ask again then
                     */
    LOGINS_WRONG,
    LOGINS_PASSWORD_EXPIRED, /* this and the next two: the password is right, but */
    LOGINS_ACCOUNT_EXPIRED,
    LOGINS_ACCOUNT_REFUSED,
    LOGINS_LATER, /* too many were wrong: it is not looked at before `ret_seconds` are over */
    LOGINS_BUSY,  /* too many are being checked, or PAM cannot tell; the same */
};

/* 0 or a negative errno. `privsep` has to live as long. */
int logins_create(struct privsep *privsep, struct logins **ret_logins);
/* Whoever waits is called, and told LOGINS_BUSY; so is everybody after this. NULL is fine. */
void logins_stop(struct logins *logins);
/* Nobody may wait any more. NULL is fine. */
void logins_destroy(struct logins *logins);

/* Never blocks. */
enum logins_result logins_check(struct logins *logins, const struct login *login,
                                unsigned *ret_seconds, void (*again)(void *data), void *data);
