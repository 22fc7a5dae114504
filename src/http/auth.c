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
#include "http/peer.h"

#define NOBODY 65534

struct auth {
    /* immutable */
    bool user_mode;
    struct caller owner; /* user mode: the one user */
    struct peers *peers;
    struct accounts *accounts; /* system mode */

    /* protected by lock: what a reload changes */
    pthread_mutex_t lock;
    uid_t first_uid;
    char *operators;
    char **allowed; /* ended by NULL; NULL: all are */
};

/* Who asks, as far as the socket and the Authorization header say. */
struct claim {
    bool is_unix;
    uid_t peer;
    const char *name; /* NULL: none was given */
    void (*again)(void *data);
    void *data;
};

#define SAY(message, ...) snprintf(message, 256, __VA_ARGS__)

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

int auth_create(const struct settings *settings, bool user_mode, struct auth **ret_auth)
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
    accounts_destroy(auth->accounts);
    peers_destroy(auth->peers);
    free(auth->operators);
    free_list(auth->allowed);
    pthread_mutex_destroy(&auth->lock);
    free(auth);
}

void auth_reload(struct auth *auth, const struct settings *settings)
{
    if (take_settings(auth, settings) < 0)
        log_warning("no memory for the new settings of users and operators; the old ones stay");
}

/* --- who is asking --- */

static enum auth_result not_vouched(const struct claim *claim, char message[static 256])
{
    SAY(message, "nothing on this machine vouches that you are %.80s", claim->name);
    return AUTH_UNKNOWN;
}

static enum auth_result not_you(const char *self, const struct claim *claim,
                                char message[static 256])
{
    SAY(message, "you are %.100s; only root may act for %.100s", self, claim->name);
    return AUTH_DENIED;
}

static enum auth_result identify_in_user_mode(struct auth *auth, const struct claim *claim,
                                              struct caller *ret_caller, char message[static 256])
{
    const struct caller *owner = &auth->owner;
    bool for_owner = !claim->name || strcmp(claim->name, owner->user) == 0;
    bool is_owner = claim->peer == owner->uid;
    bool is_root = claim->is_unix && claim->peer == 0;
    if (is_owner && !for_owner)
        return claim->is_unix ? not_you(owner->user, claim, message) : not_vouched(claim, message);
    if (is_owner || (is_root && (for_owner || strcmp(claim->name, "root") == 0))) {
        *ret_caller = *owner;
        return AUTH_OK;
    }
    if (!claim->is_unix && for_owner)
        return not_vouched(claim, message);
    SAY(message, "this service is %.80s's own; only %.80s may use it", owner->user, owner->user);
    return AUTH_DENIED;
}

static bool is_listed(char *const *list, const char *name)
{
    for (; *list; list++)
        if (strcmp(*list, name) == 0)
            return true;
    return false;
}

/* Is this account one that the service serves at all? */
static enum auth_result admit(struct auth *auth, const struct account *account,
                              struct caller *ret_caller, char message[static 256])
{
    pthread_mutex_lock(&auth->lock);
    uid_t first = auth->first_uid;
    bool allowed = !auth->allowed || is_listed(auth->allowed, account->name);
    pthread_mutex_unlock(&auth->lock);

    bool is_root = account->uid == 0;
    if (!is_root && (account->uid < first || account->uid == NOBODY || account->uid == (uid_t)-1)) {
        SAY(message, "%.80s (uid %u) is a system account; this service is for uids from %u",
            account->name, (unsigned)account->uid, (unsigned)first);
        return AUTH_DENIED;
    }
    if (!is_root && !allowed) {
        SAY(message,
            "%.80s is not among this service's users; an administrator can add "
            "allow-users = %.80s to autodl.conf",
            account->name, account->name);
        return AUTH_DENIED;
    }
    *ret_caller = (struct caller){
        .uid = account->uid, .is_root = is_root, .is_operator = is_root || account->in_group};
    memcpy(ret_caller->user, account->name, sizeof ret_caller->user);
    return AUTH_OK;
}

static enum auth_result find_account(struct auth *auth, const struct claim *claim, const char *name,
                                     struct account *ret_account, char message[static 256])
{
    int error =
        accounts_find(auth->accounts, name, claim->peer, ret_account, claim->again, claim->data);
    if (error == -EINPROGRESS)
        return AUTH_LOOKING;
    if (error) {
        SAY(message, "accounts cannot be looked up now; try again");
        return AUTH_UNKNOWN;
    }
    return AUTH_OK;
}

static enum auth_result identify_on_unix(struct auth *auth, const struct claim *claim,
                                         struct caller *ret_caller, char message[static 256])
{
    struct account account;
    enum auth_result result = find_account(auth, claim, NULL, &account, message);
    if (result != AUTH_OK)
        return result;
    if (!account.found && claim->peer == 0) {
        account = (struct account){.found = true, .name = "root"};
    } else if (!account.found) {
        SAY(message, "uid %u has no account on this machine", (unsigned)claim->peer);
        return AUTH_DENIED;
    }
    if (!claim->name || strcmp(claim->name, account.name) == 0)
        return admit(auth, &account, ret_caller, message);
    if (claim->peer != 0)
        return not_you(account.name, claim, message);

    result = find_account(auth, claim, claim->name, &account, message);
    if (result != AUTH_OK)
        return result;
    if (!account.found) {
        SAY(message, "there is no user %.100s on this machine", claim->name);
        return AUTH_DENIED;
    }
    return admit(auth, &account, ret_caller, message);
}

static enum auth_result identify_on_tcp(struct auth *auth, const struct claim *claim,
                                        struct caller *ret_caller, char message[static 256])
{
    struct account account;
    enum auth_result result = find_account(auth, claim, claim->name, &account, message);
    if (result != AUTH_OK)
        return result;
    if (!account.found || account.uid != claim->peer)
        return not_vouched(claim, message);
    return admit(auth, &account, ret_caller, message);
}

enum auth_result auth_identify(struct auth *auth, int socket, const char *name,
                               struct caller *ret_caller, char message[static 256],
                               void (*again)(void *data), void *data)
{
    struct claim claim = {
        .is_unix = peer_is_unix(socket), .name = name, .again = again, .data = data};
    if (!claim.is_unix && !name) {
        SAY(message, "say who you are by Basic authentication; on this machine your own user name "
                     "without a password will do");
        return AUTH_UNKNOWN;
    }
    if (name && (!*name || strlen(name) > API_USER_MAX)) {
        SAY(message, "that is not a user name");
        return AUTH_UNKNOWN;
    }
    if (peers_uid(auth->peers, socket, &claim.peer) < 0) {
        if (name)
            return not_vouched(&claim, message);
        SAY(message, "the system does not say who you are");
        return AUTH_UNKNOWN;
    }
    if (auth->user_mode)
        return identify_in_user_mode(auth, &claim, ret_caller, message);
    if (claim.is_unix)
        return identify_on_unix(auth, &claim, ret_caller, message);
    return identify_on_tcp(auth, &claim, ret_caller, message);
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
      [AUTH_STATS] = {ANYBODY,   EVERYBODYS},
    [AUTH_CLEAR] = {ANYBODY,   AS_ASKED  },
      [AUTH_PAUSE] = {ANYBODY,   AS_ASKED  },
    [AUTH_RESUME] = {ANYBODY,   AS_ASKED  },
      [AUTH_MAXTASKS] = {OPERATORS, EVERYBODYS},
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
        return operators_only(auth, caller, "change max_tasks_num", message);

    bool all = rule->whose == EVERYBODYS || (rule->whose == OWN_OR_ANY && caller->is_operator);
    if (rule->whose == AS_ASKED)
        return scope_as_asked(auth, caller, scope_text, ret_scope, message);
    *ret_scope = all ? (uid_t)-1 : caller->uid;
    return 0;
}
