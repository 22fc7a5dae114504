#include "http/auth.h"

#include <errno.h>
#include <pthread.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "http/accounts.h"
#include "http/logins.h"
#include "http/peer.h"

#define NOBODY 65534

struct auth {
    /* immutable */
    bool user_mode;
    struct caller owner; /* user mode: the one user */
    struct peers *peers;
    struct accounts *accounts; /* system mode */
    struct logins *logins;     /* the same; NULL: no passwords */
    char *socket_path;         /* of the unix socket; NULL: there is none */

    /* protected by lock: what a reload changes */
    pthread_mutex_t lock;
    unsigned ways; /* enum settings_auth, or'ed */
    uid_t first_uid;
    char *operators;
    char **allowed; /* ended by NULL; NULL: all are */
};

/* Who asks, as far as the socket and the Authorization header say. */
struct claim {
    int socket;
    bool is_unix;
    int vouched; /* 0: the peer is the user `peer`; -EACCES: root over TCP; else nobody says who */
    uid_t peer;
    const char *name, *password; /* NULL: none was given */
    void (*again)(void *data);
    void *data;
};

#define SAY(message, ...) snprintf(message, 256, __VA_ARGS__)

#define UNAUTHORIZED(refusal, ...)                                                                 \
    (refusal_say(refusal, 401, "unauthorized", __VA_ARGS__), AUTH_REFUSED)
#define FORBIDDEN(refusal, ...) (refusal_say(refusal, 403, "forbidden", __VA_ARGS__), AUTH_REFUSED)

/* --- create and destroy --- */

static void free_list(char **list)
{
    for (char **item = list; item && *item; item++)
        free(*item);
    free(list);
}

/* NULL with 0: an empty list. */
static int copy_list(const struct settings_list *list, char ***ret_copy)
{
    if (!list->count) {
        *ret_copy = NULL;
        return 0;
    }
    char **copy = calloc(list->count + 1, sizeof *copy);
    for (size_t i = 0; copy && i < list->count; i++) {
        copy[i] = strdup(list->items[i]);
        if (!copy[i]) {
            free_list(copy);
            return -ENOMEM;
        }
    }
    *ret_copy = copy;
    return copy ? 0 : -ENOMEM;
}

static int take_settings(struct auth *auth, const struct settings *settings)
{
    _cleanup_free_ char *operators = strdup(settings->operators);
    if (!operators)
        return -ENOMEM;
    char **allowed;
    int error = copy_list(&settings->allow_users, &allowed);
    if (error)
        return error;

    pthread_mutex_lock(&auth->lock);
    bool changed = auth->operators && strcmp(auth->operators, operators) != 0;
    free(auth->operators);
    free_list(auth->allowed);
    auth->operators = TAKE_PTR(operators);
    auth->allowed = allowed;
    auth->first_uid = settings->first_uid;
    auth->ways = settings->auth;
    pthread_mutex_unlock(&auth->lock);
    return changed && auth->accounts ? accounts_set_group(auth->accounts, settings->operators) : 0;
}

static void name_owner(struct caller *owner)
{
    owner->uid = getuid();
    owner->is_root = owner->uid == 0;
    owner->is_operator = true;
    const struct passwd *account = getpwuid(owner->uid);
    if (account && strlen(account->pw_name) <= API_USER_MAX)
        memcpy(owner->user, account->pw_name, strlen(account->pw_name) + 1);
    else
        snprintf(owner->user, sizeof owner->user, "%u", (unsigned)owner->uid);
}

int auth_create(const struct settings *settings, bool user_mode, struct privsep *privsep,
                struct auth **ret_auth)
{
    struct auth *auth = calloc(1, sizeof *auth);
    if (!auth)
        return -ENOMEM;
    pthread_mutex_init(&auth->lock, NULL);
    auth->user_mode = user_mode;
    int error = take_settings(auth, settings);
    if (!error)
        error = peers_create(&auth->peers);
    if (!error && user_mode)
        name_owner(&auth->owner);
    else if (!error)
        error = accounts_create(settings->operators, &auth->accounts);
    if (!error && !user_mode && privsep)
        error = logins_create(privsep, &auth->logins);
    bool has_socket = settings->socket && *settings->socket;
    if (!error && has_socket && !(auth->socket_path = strdup(settings->socket)))
        error = -ENOMEM;
    if (error) {
        auth_destroy(auth);
        return error;
    }
    *ret_auth = auth;
    return 0;
}

void auth_destroy(struct auth *auth)
{
    if (!auth)
        return;
    logins_destroy(auth->logins);
    accounts_destroy(auth->accounts);
    free(auth->socket_path);
    peers_destroy(auth->peers);
    free(auth->operators);
    free_list(auth->allowed);
    pthread_mutex_destroy(&auth->lock);
    free(auth);
}

void auth_stop(struct auth *auth)
{
    logins_stop(auth->logins);
}

void auth_reload(struct auth *auth, const struct settings *settings)
{
    if (take_settings(auth, settings) < 0)
        log_warning("no memory for the new settings of users and operators; the old ones stay");
}

/* --- who is asking: a user's own service --- */

static enum auth_result not_you(const char *self, const struct claim *claim,
                                struct refusal *ret_refusal)
{
    return FORBIDDEN(ret_refusal, "you are %.100s; only root may act for %.100s", self,
                     claim->name);
}

static enum auth_result identify_in_user_mode(struct auth *auth, const struct claim *claim,
                                              struct caller *ret_caller,
                                              struct refusal *ret_refusal)
{
    const struct caller *owner = &auth->owner;
    bool for_owner = !claim->name || strcmp(claim->name, owner->user) == 0;
    bool is_owner = claim->vouched == 0 && claim->peer == owner->uid;
    bool is_root = claim->is_unix && claim->vouched == 0 && claim->peer == 0;
    if ((is_owner && for_owner) || (is_root && (for_owner || strcmp(claim->name, "root") == 0))) {
        *ret_caller = *owner;
        return AUTH_OK;
    }
    if (is_owner && claim->is_unix)
        return not_you(owner->user, claim, ret_refusal);
    if (!claim->is_unix && (is_owner || for_owner))
        return UNAUTHORIZED(
            ret_refusal,
            "this service is %.80s's own and cannot check passwords (one that root starts can); "
            "nothing on this machine vouches that you are %.80s",
            owner->user, claim->name);
    return FORBIDDEN(ret_refusal, "this service is %.80s's own; only %.80s may use it", owner->user,
                     owner->user);
}

/* --- who is asking: accounts --- */

static bool is_listed(char *const *list, const char *name)
{
    for (; *list; list++)
        if (strcmp(*list, name) == 0)
            return true;
    return false;
}

/* Is this account one that the service serves at all? */
static enum auth_result admit(struct auth *auth, const struct account *account,
                              struct caller *ret_caller, struct refusal *ret_refusal)
{
    pthread_mutex_lock(&auth->lock);
    uid_t first = auth->first_uid;
    bool allowed = !auth->allowed || is_listed(auth->allowed, account->name);
    pthread_mutex_unlock(&auth->lock);

    bool is_root = account->uid == 0;
    if (!is_root && (account->uid < first || account->uid == NOBODY || account->uid == (uid_t)-1))
        return FORBIDDEN(ret_refusal,
                         "%.80s (uid %u) is a system account; this service is for uids from %u",
                         account->name, (unsigned)account->uid, (unsigned)first);
    if (!is_root && !allowed)
        return FORBIDDEN(ret_refusal,
                         "%.80s is not among this service's users; an administrator can add "
                         "allow-users = %.80s to autodl.conf",
                         account->name, account->name);
    *ret_caller = (struct caller){
        .uid = account->uid, .is_root = is_root, .is_operator = is_root || account->in_group};
    memcpy(ret_caller->user, account->name, sizeof ret_caller->user);
    return AUTH_OK;
}

/* By name, or with NULL by uid. */
static enum auth_result find_account(struct auth *auth, const struct claim *claim, const char *name,
                                     uid_t uid, struct account *ret_account,
                                     struct refusal *ret_refusal)
{
    int error = accounts_find(auth->accounts, name, uid, ret_account, claim->again, claim->data);
    if (error == -EINPROGRESS)
        return AUTH_LOOKING;
    if (error) {
        refusal_say(ret_refusal, 503, "unavailable", "accounts cannot be looked up now; try again");
        return AUTH_REFUSED;
    }
    return AUTH_OK;
}

/*
 * The account that a name stands for. Not found: there is none, or (with `expected`) it has another
 * uid. The uid decides: of several names of one uid, and after a user was renamed, the caller has
 * the name that the system gives this uid.
 */
static enum auth_result find_named(struct auth *auth, const struct claim *claim,
                                   const uid_t *expected, struct account *ret_account,
                                   struct refusal *ret_refusal)
{
    struct account by_uid = {0}, by_name = {0};
    enum auth_result result = AUTH_OK;
    if (expected)
        result = find_account(auth, claim, NULL, *expected, &by_uid, ret_refusal);
    bool done = by_uid.found && strcmp(by_uid.name, claim->name) == 0;
    if (result == AUTH_OK && !done)
        result = find_account(auth, claim, claim->name, 0, &by_name, ret_refusal);
    if (expected && by_name.found && by_name.uid != *expected)
        by_name.found = false;
    if (result == AUTH_OK && !expected && by_name.found)
        result = find_account(auth, claim, NULL, by_name.uid, &by_uid, ret_refusal);
    if (result == AUTH_OK)
        *ret_account = (done || by_name.found) && by_uid.found ? by_uid : by_name;
    return result;
}

/* --- who is asking: the unix socket --- */

static enum auth_result identify_on_unix(struct auth *auth, const struct claim *claim,
                                         struct caller *ret_caller, struct refusal *ret_refusal)
{
    struct account account;
    if (claim->vouched < 0)
        return UNAUTHORIZED(ret_refusal, "the system does not say who you are");
    enum auth_result result = find_account(auth, claim, NULL, claim->peer, &account, ret_refusal);
    if (result != AUTH_OK)
        return result;
    if (!account.found && claim->peer == 0)
        account = (struct account){.found = true, .name = "root"};
    else if (!account.found)
        return FORBIDDEN(ret_refusal, "uid %u has no account on this machine",
                         (unsigned)claim->peer);
    if (!claim->name || strcmp(claim->name, account.name) == 0)
        return admit(auth, &account, ret_caller, ret_refusal);

    struct account named;
    result = find_named(auth, claim, claim->peer ? &claim->peer : NULL, &named, ret_refusal);
    if (result != AUTH_OK)
        return result;
    if (named.found)
        return admit(auth, &named, ret_caller, ret_refusal);
    if (claim->peer != 0)
        return not_you(account.name, claim, ret_refusal);
    return FORBIDDEN(ret_refusal, "there is no user %.100s on this machine", claim->name);
}

/* --- who is asking: TCP --- */

static enum auth_result not_root_here(const struct auth *auth, struct refusal *ret_refusal)
{
    if (!auth->socket_path)
        return UNAUTHORIZED(ret_refusal,
                            "root is not served over TCP, whatever the password, but on the unix "
                            "socket alone, and this service has none; give it one: socket = %s in "
                            "autodl.conf",
                            API_SYSTEM_SOCKET);
    return UNAUTHORIZED(ret_refusal,
                        "root is not served over TCP, whatever the password; use the unix socket: "
                        "autodl --socket '%s', and -u USER to act for somebody",
                        auth->socket_path);
}

/* Nobody vouches, and there is no password that could be looked at. */
static enum auth_result not_vouched(const struct auth *auth, const struct claim *claim,
                                    bool passwords, struct refusal *ret_refusal)
{
    char who[192] = "nothing on this machine vouches for you";
    if (claim->vouched == -EACCES)
        snprintf(who, sizeof who,
                 "a process of root is at the other end, which vouches for nobody over TCP%s%.100s",
                 auth->socket_path ? "; root's own place is the unix socket, "
                                   : " since it may relay for others",
                 auth->socket_path ? auth->socket_path : "");
    else if (claim->vouched == 0)
        snprintf(who, sizeof who, "you are another user of this machine");
    if (passwords)
        return UNAUTHORIZED(ret_refusal, "%s; send the password of %.80s", who, claim->name);
    return UNAUTHORIZED(ret_refusal,
                        "%s, and this service takes no passwords; ask as %.80s on the machine "
                        "itself",
                        who, claim->name);
}

static void fill_login(const struct claim *claim, char address[static PEER_TEXT_SIZE],
                       char origin[static PEER_TEXT_SIZE], struct login *ret_login)
{
    peer_address(claim->socket, address);
    if (claim->vouched == 0)
        snprintf(origin, PEER_TEXT_SIZE, "uid %u", (unsigned)claim->peer);
    else if (claim->vouched == -EACCES)
        snprintf(origin, PEER_TEXT_SIZE, "uid 0");
    else
        peer_network(claim->socket, origin);
    *ret_login = (struct login){
        .user = claim->name, .password = claim->password, .address = address, .origin = origin};
}

/* A right password came; is there somebody behind it? */
static enum auth_result welcome(struct auth *auth, const struct claim *claim,
                                struct caller *ret_caller, struct refusal *ret_refusal)
{
    struct account account = {0};
    enum auth_result result = find_named(auth, claim, NULL, &account, ret_refusal);
    if (result != AUTH_OK)
        return result;
    if (!account.found)
        return FORBIDDEN(ret_refusal, "%.80s has no account on this machine", claim->name);
    if (account.uid == 0)
        return not_root_here(auth, ret_refusal);
    return admit(auth, &account, ret_caller, ret_refusal);
}

static enum auth_result identify_by_password(struct auth *auth, const struct claim *claim,
                                             struct caller *ret_caller, struct refusal *ret_refusal)
{
    char address[PEER_TEXT_SIZE], origin[PEER_TEXT_SIZE];
    struct login login;
    unsigned seconds = 0;
    fill_login(claim, address, origin, &login);
    switch (logins_check(auth->logins, &login, &seconds, claim->again, claim->data)) {
    case LOGINS_LOOKING:
        return AUTH_LOOKING;
    case LOGINS_RIGHT:
        return welcome(auth, claim, ret_caller, ret_refusal);
    case LOGINS_WRONG:
        return UNAUTHORIZED(ret_refusal, "user name or password is wrong");
    case LOGINS_PASSWORD_EXPIRED:
        return FORBIDDEN(ret_refusal,
                         "the password of %.80s has expired; log in on the machine to change it",
                         claim->name);
    case LOGINS_ACCOUNT_EXPIRED:
        return FORBIDDEN(ret_refusal, "the account %.80s has expired; ask an administrator",
                         claim->name);
    case LOGINS_ACCOUNT_REFUSED:
        return FORBIDDEN(
            ret_refusal,
            "the system does not let %.80s in (an expired account, or logins are shut); "
            "ask an administrator",
            claim->name);
    case LOGINS_LATER:
        refusal_say(ret_refusal, 429, "too_many_requests",
                    "too many wrong passwords came from %.63s, or for %.80s; try again in %u s",
                    address, claim->name, seconds);
        break;
    case LOGINS_BUSY:
        refusal_say(ret_refusal, 503, "unavailable",
                    "passwords cannot be checked just now; try again in %u s", seconds);
        break;
    }
    ret_refusal->retry_after = seconds;
    return AUTH_REFUSED;
}

static enum auth_result identify_on_tcp(struct auth *auth, const struct claim *claim,
                                        struct caller *ret_caller, struct refusal *ret_refusal)
{
    pthread_mutex_lock(&auth->lock);
    unsigned ways = auth->ways;
    pthread_mutex_unlock(&auth->lock);

    struct account account = {0};
    if (strcmp(claim->name, "root") == 0)
        return not_root_here(auth, ret_refusal);
    if (claim->vouched == 0 && (ways & SETTINGS_AUTH_PEER)) {
        enum auth_result result = find_named(auth, claim, &claim->peer, &account, ret_refusal);
        if (result != AUTH_OK)
            return result;
    }
    if (account.found)
        return admit(auth, &account, ret_caller, ret_refusal);
    bool passwords = auth->logins && (ways & SETTINGS_AUTH_PAM);
    if (!passwords || !*claim->password)
        return not_vouched(auth, claim, passwords, ret_refusal);
    return identify_by_password(auth, claim, ret_caller, ret_refusal);
}

enum auth_result auth_identify(struct auth *auth, int socket, const char *name,
                               const char *password, struct caller *ret_caller,
                               struct refusal *ret_refusal, void (*again)(void *data), void *data)
{
    struct claim claim = {.socket = socket,
                          .is_unix = peer_is_unix(socket),
                          .name = name,
                          .password = password,
                          .again = again,
                          .data = data};
    if (!claim.is_unix && !name)
        return UNAUTHORIZED(ret_refusal,
                            "say who you are by Basic authentication; on this machine your own "
                            "user name without a password will do");
    if (name && (!*name || strlen(name) > API_USER_MAX))
        return UNAUTHORIZED(ret_refusal, "that is not a user name");
    claim.vouched = peers_uid(auth->peers, socket, &claim.peer);
    if (auth->user_mode)
        return identify_in_user_mode(auth, &claim, ret_caller, ret_refusal);
    if (claim.is_unix)
        return identify_on_unix(auth, &claim, ret_caller, ret_refusal);
    return identify_on_tcp(auth, &claim, ret_caller, ret_refusal);
}

/* --- who it still is --- */

enum auth_result auth_recall(struct auth *auth, uid_t uid, int64_t age, struct caller *ret_caller,
                             void (*again)(void *data), void *data)
{
    struct account account;
    struct refusal refusal;
    if (auth->user_mode) {
        *ret_caller = auth->owner;
        return AUTH_OK;
    }
    int error = accounts_find_fresh(auth->accounts, uid, age, &account, again, data);
    if (error == -EINPROGRESS)
        return AUTH_LOOKING;
    if (error == 0 && !account.found && uid == 0)
        account = (struct account){.found = true, .name = "root"};
    return error == 0 && account.found ? admit(auth, &account, ret_caller, &refusal) : AUTH_REFUSED;
}

/* --- who may --- */

enum who {
    ANYBODY,
    NOT_ROOT,
    OPERATORS,
};

enum whose {
    OWN,
    EVERYBODYS,
    OWN_OR_ANY, /* operators: everybody's */
    AS_ASKED,   /* by the scope parameter */
};

static const struct rule {
    enum who who;
    enum whose whose;
} rules[AUTH_ACTIONS] = {
    [AUTH_ADD] = {NOT_ROOT,  OWN       },
      [AUTH_STATUS] = {ANYBODY,   OWN_OR_ANY},
    [AUTH_HOLD] = {ANYBODY,   OWN_OR_ANY},
      [AUTH_RELEASE] = {ANYBODY,   OWN_OR_ANY},
    [AUTH_CANCEL] = {ANYBODY,   OWN_OR_ANY},
      [AUTH_RETRY] = {ANYBODY,   OWN_OR_ANY},
    [AUTH_FORGET] = {ANYBODY,   OWN_OR_ANY},
    [AUTH_CHANGE] = {ANYBODY,   OWN_OR_ANY},
      [AUTH_FIRST] = {ANYBODY,   OWN_OR_ANY},
    [AUTH_MANY] = {ANYBODY,   AS_ASKED  },
    [AUTH_LIST] = {ANYBODY,   AS_ASKED  },
    [AUTH_EVENTS] = {ANYBODY,   AS_ASKED  },
      [AUTH_STATS] = {ANYBODY,   EVERYBODYS},
    [AUTH_CLEAR] = {ANYBODY,   AS_ASKED  },
      [AUTH_PAUSE] = {ANYBODY,   AS_ASKED  },
    [AUTH_RESUME] = {ANYBODY,   AS_ASKED  },
      [AUTH_MAXTASKS] = {OPERATORS, EVERYBODYS},
    [AUTH_SETTINGS] = {ANYBODY,   EVERYBODYS},
      [AUTH_SET] = {OPERATORS, EVERYBODYS},
    [AUTH_METRICS] = {OPERATORS, EVERYBODYS},
};

static int operators_only(struct auth *auth, const struct caller *caller, const char *what,
                          char message[static 256])
{
    pthread_mutex_lock(&auth->lock);
    SAY(message, "only operators may %s; an administrator can make you one: adduser %.64s %.64s",
        what, caller->user, auth->operators);
    pthread_mutex_unlock(&auth->lock);
    return -EACCES;
}

static int scope_as_asked(struct auth *auth, const struct caller *caller, const char *text,
                          uid_t *ret_scope, char message[static 256])
{
    bool all = text ? strcmp(text, "all") == 0 : caller->is_root || auth->user_mode;
    if (text && !all && strcmp(text, "own") != 0) {
        SAY(message, "scope is own or all");
        return -EINVAL;
    }
    if (all && !caller->is_operator)
        return operators_only(auth, caller, "use scope=all", message);
    *ret_scope = all ? (uid_t)-1 : caller->uid;
    return 0;
}

int auth_authorize(struct auth *auth, const struct caller *caller, enum auth_action action,
                   const char *scope_text, uid_t *ret_scope, char message[static 256])
{
    const struct rule *rule = &rules[action];
    if (rule->who == NOT_ROOT && caller->is_root && !auth->user_mode) {
        SAY(message, "root has no downloads here; use -u USER");
        return -EACCES;
    }
    if (rule->who == OPERATORS && !caller->is_operator)
        return operators_only(auth, caller,
                              action == AUTH_SET       ? "change settings"
                              : action == AUTH_METRICS ? "read the metrics"
                                                       : "change max_tasks_num",
                              message);

    bool all = rule->whose == EVERYBODYS || (rule->whose == OWN_OR_ANY && caller->is_operator);
    if (rule->whose == AS_ASKED)
        return scope_as_asked(auth, caller, scope_text, ret_scope, message);
    *ret_scope = all ? (uid_t)-1 : caller->uid;
    return 0;
}
