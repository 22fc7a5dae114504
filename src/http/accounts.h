/*
 * Accounts of this machine by name or uid, looked up on a thread of its own (a directory service
 * may take its time) and remembered: 60 s, and 5 s that there is none.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/api.h"

struct accounts;

struct account {
    bool found; /* false: there is no such account; the rest is not set */
    uid_t uid;
    char name[API_USER_MAX + 1];
    bool in_group; /* a member of the group that was named */
};

/* `group`: whose members are told apart; copied. 0 or a negative errno. */
int accounts_create(const char *group, struct accounts **ret_accounts);
/* Nobody may wait any more. NULL is fine. */
void accounts_destroy(struct accounts *accounts);
/* Another group; forgets what was remembered. 0 or -ENOMEM. */
int accounts_set_group(struct accounts *accounts, const char *group);

/* By name, or with a NULL name by uid. 0; -EINPROGRESS: `again` will be called once, on another
 * thread, no lock held: ask again then; -ENOMEM. */
int accounts_find(struct accounts *accounts, const char *name, uid_t uid,
                  struct account *ret_account, void (*again)(void *data), void *data);
/* The same, of what was looked up in the last `age` ms. */
int accounts_find_fresh(struct accounts *accounts, uid_t uid, int64_t age,
                        struct account *ret_account, void (*again)(void *data), void *data);
