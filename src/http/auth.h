/*
 * Who is asking, and who may. In this order: on the unix socket the kernel says it (SO_PEERCRED,
 * unix(7)); on loopback TCP it vouches for the owner of the socket at the other end (sock_diag(7)),
 * whatever the password; else the password has to be right (PAM). Root is root on the unix socket
 * alone.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/api.h"
#include "core/settings.h"
#include "http/refusal.h"
#include "privsep/privsep.h"

struct auth;

struct caller {
    uid_t uid;
    char user[API_USER_MAX + 1];
    bool is_root;
    bool is_operator; /* root, members of the operators' group; in user mode the one user */
};

/* `user_mode`: the process's own user is the only one, and there are no passwords. Else it starts a
 * thread for accounts and one for passwords; `privsep` NULL: no passwords. 0 or a negative errno. */
int auth_create(const struct settings *settings, bool user_mode, struct privsep *privsep,
                struct auth **ret_auth);
/* No password is checked any more: whoever waits for one is refused now. */
void auth_stop(struct auth *auth);
void auth_destroy(struct auth *auth);
void auth_reload(struct auth *auth, const struct settings *settings);

enum auth_result {
    AUTH_OK,
    AUTH_LOOKING, /* `again` will be called on another thread: ask again then */
    AUTH_REFUSED, /* 401, 403, 429 or 503 */
};

/*
 * Who sends the request that came on this connected socket, with this name and password in its
 * Authorization field (NULL both: it has none)? After AUTH_LOOKING, `again` is called exactly once.
 * No copy of the password stays.
 */
enum auth_result auth_identify(struct auth *auth, int socket, const char *name,
                               const char *password, struct caller *ret_caller,
                               struct refusal *ret_refusal, void (*again)(void *data), void *data);

/*
 * Who this uid is now: judged anew, by what was looked up in the last `age` ms. AUTH_REFUSED:
 * nobody whom the service serves. After AUTH_LOOKING, `again` is called exactly once.
 */
enum auth_result auth_recall(struct auth *auth, uid_t uid, int64_t age, struct caller *ret_caller,
                             void (*again)(void *data), void *data);

enum auth_action {
    AUTH_ADD,
    AUTH_STATUS, /* this and those up to AUTH_FIRST: of one task */
    AUTH_HOLD,
    AUTH_RELEASE,
    AUTH_CANCEL,
    AUTH_RETRY,
    AUTH_FORGET,
    AUTH_CHANGE,
    AUTH_FIRST,
    AUTH_LIST,
    AUTH_EVENTS,
    AUTH_MANY, /* a verb by filter */
    AUTH_STATS,
    AUTH_CLEAR,
    AUTH_PAUSE,
    AUTH_RESUME,
    AUTH_MAXTASKS,
    AUTH_SETTINGS, /* to see them */
    AUTH_SET,
    AUTH_METRICS,
    AUTH_ACTIONS, /* how many */
};

/*
 * May this caller do it, and to whose tasks? `scope_text` is the request's scope parameter ("all",
 * "own", or NULL: the caller's default). 0: `ret_scope` is a uid or (uid_t)-1 for everybody.
 * -EACCES: the message says who may. -EINVAL: no such scope.
 */
int auth_authorize(struct auth *auth, const struct caller *caller, enum auth_action action,
                   const char *scope_text, uid_t *ret_scope, char message[static 256]);
