/*
 * Who is asking, and who may. The kernel vouches: on the unix socket by SO_PEERCRED (unix(7)), on
 * loopback TCP by the owner of the socket at the other end (sock_diag(7)).
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "common/api.h"
#include "core/settings.h"

struct auth;

struct caller {
    uid_t uid;
    char user[API_USER_MAX + 1];
    bool is_root;
    bool is_operator; /* root, members of the operators' group; in user mode the one user */
};

/* `user_mode`: the process's own user is the only one. Starts the look-up thread (accounts are looked
 * up off the HTTP threads and remembered 60 s). 0 or a negative errno. */
int auth_create(const struct settings *settings, bool user_mode, struct auth **ret_auth);
void auth_destroy(struct auth *auth);
void auth_reload(struct auth *auth, const struct settings *settings);

enum auth_result {
    AUTH_OK,
    AUTH_LOOKING, /* `again` will be called on another thread: ask again then */
    AUTH_UNKNOWN, /* 401 */
    AUTH_DENIED, /* 403; the message says why */
};

/*
 * Who sends the request that came on this connected socket, as `name` (from the Authorization header;
 * NULL: none)? After AUTH_LOOKING, `again` is called exactly once.
 */
enum auth_result auth_identify(struct auth *auth, int socket, const char *name,
                               struct caller *ret_caller, char message[static 256],
                               void (*again)(void *data), void *data);

enum auth_action {
    AUTH_ADD,
    AUTH_STATUS, /* this and the next five: of one task */
    AUTH_HOLD,
    AUTH_RELEASE,
    AUTH_CANCEL,
    AUTH_RETRY,
    AUTH_FORGET,
    AUTH_STATS,
    AUTH_CLEAR,
    AUTH_PAUSE,
    AUTH_RESUME,
    AUTH_MAXTASKS,
    AUTH_ACTIONS, /* how many */
};

/*
 * May this caller do it, and to whose tasks? `scope_text` is the request's scope parameter ("all",
 * "own", or NULL: the caller's default). 0: `ret_scope` is a uid or (uid_t)-1 for everybody.
 * -EACCES: the message says who may. -EINVAL: no such scope.
 */
int auth_authorize(struct auth *auth, const struct caller *caller, enum auth_action action,
                   const char *scope_text, uid_t *ret_scope, char message[static 256]);
