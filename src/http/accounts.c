#include "http/accounts.h"

#include <errno.h>
#include <grp.h>
#include <pthread.h>
#include <pwd.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/units.h"

#define REMEMBERED_MAX   1024
#define FOUND_FOR_MS     60000
#define NOT_FOUND_FOR_MS 5000
#define NSS_BUFFER_MAX   (1 << 20)
#define GROUPS_MAX       (1 << 16)

struct waiter {
    struct waiter *next;
    void (*again)(void *data);
    void *data;
};

struct entry {
    struct entry *next; /* of the known ones, or of those to look up */
    char *name;         /* NULL: by uid */
    uid_t uid;
    int64_t found_at, expires; /* CLOCK_BOOTTIME, ms */
    struct account account;
    struct waiter *waiters;
};

struct accounts {
    /* immutable */
    pthread_t thread;

    /* protected by lock */
    pthread_mutex_t lock;
    pthread_cond_t wanted_more;
    bool closing;
    char *group;
    unsigned generation; /* of the group */
    struct entry *known; /* youngest first */
    size_t known_count;
    struct entry *wanted; /* oldest first; the first may be in the thread's hands */
};

static void entry_free(struct entry *entry)
{
    free(entry->name);
    free(entry);
}

static void entries_free(struct entry *entry)
{
    while (entry) {
        struct entry *next = entry->next;
        entry_free(entry);
        entry = next;
    }
}

/* --- asking the system; on the thread --- */

/* One of the getpw and getgr calls, with a buffer that grows. True if there is such an entry. */
static bool ask_system(int (*call)(const void *key, void *ret_entry, char *buffer, size_t size,
                                   void **ret_found),
                       const void *key, void *ret_entry, char **ret_buffer)
{
    for (size_t size = 1024; size <= NSS_BUFFER_MAX; size *= 2) {
        char *buffer = malloc(size);
        if (!buffer)
            return false;
        void *found = NULL;
        int error = call(key, ret_entry, buffer, size, &found);
        if (error == 0 && found) {
            *ret_buffer = buffer;
            return true;
        }
        free(buffer);
        if (error != ERANGE)
            return false;
    }
    return false;
}

static int user_by_name(const void *key, void *ret_entry, char *buffer, size_t size,
                        void **ret_found)
{
    return getpwnam_r(key, ret_entry, buffer, size, (struct passwd **)ret_found);
}

static int user_by_uid(const void *key, void *ret_entry, char *buffer, size_t size,
                       void **ret_found)
{
    return getpwuid_r(*(const uid_t *)key, ret_entry, buffer, size, (struct passwd **)ret_found);
}

static int group_by_name(const void *key, void *ret_entry, char *buffer, size_t size,
                         void **ret_found)
{
    return getgrnam_r(key, ret_entry, buffer, size, (struct group **)ret_found);
}

static bool is_member(const char *user, gid_t primary, const char *group_name)
{
    struct group group;
    _cleanup_free_ char *buffer = NULL;
    if (!ask_system(group_by_name, group_name, &group, &buffer))
        return false;

    int count = 0;
    _cleanup_free_ gid_t *groups = NULL;
    for (int room = 64; room <= GROUPS_MAX; room *= 2) {
        free(groups);
        groups = calloc((size_t)room, sizeof *groups);
        if (!groups)
            return false;
        count = room;
        if (getgrouplist(user, primary, groups, &count) >= 0)
            break;
        count = room; /* as many as there was room for */
    }
    for (int i = 0; i < count; i++)
        if (groups[i] == group.gr_gid)
            return true;
    return false;
}

static struct account look_up(const char *name, uid_t uid, const char *group)
{
    struct account account = {0};
    struct passwd user;
    _cleanup_free_ char *buffer = NULL;
    bool found = name ? ask_system(user_by_name, name, &user, &buffer)
                      : ask_system(user_by_uid, &uid, &user, &buffer);
    if (!found || strlen(user.pw_name) > API_USER_MAX)
        return account;
    account.found = true;
    account.uid = user.pw_uid;
    memcpy(account.name, user.pw_name, strlen(user.pw_name) + 1);
    account.in_group = group && is_member(user.pw_name, user.pw_gid, group);
    return account;
}

/* --- the table --- */

static bool entry_is(const struct entry *entry, const char *name, uid_t uid)
{
    if (name)
        return entry->name && strcmp(entry->name, name) == 0;
    return !entry->name && entry->uid == uid;
}

/* Forgets what is too old, and the oldest of too many. */
static void tidy_locked(struct accounts *accounts, int64_t now)
{
    size_t kept = 0;
    for (struct entry **link = &accounts->known; *link;) {
        struct entry *entry = *link;
        if (entry->expires > now && kept < REMEMBERED_MAX) {
            kept++;
            link = &entry->next;
            continue;
        }
        *link = entry->next;
        entry_free(entry);
    }
    accounts->known_count = kept;
}

static struct entry *find_known_locked(struct accounts *accounts, const char *name, uid_t uid)
{
    int64_t now = units_now_boottime();
    for (struct entry *entry = accounts->known; entry; entry = entry->next)
        if (entry_is(entry, name, uid))
            return entry->expires > now ? entry : NULL;
    return NULL;
}

static struct entry *want_locked(struct accounts *accounts, const char *name, uid_t uid)
{
    struct entry **link = &accounts->wanted;
    for (; *link; link = &(*link)->next)
        if (entry_is(*link, name, uid))
            return *link;

    struct entry *entry = calloc(1, sizeof *entry);
    if (!entry)
        return NULL;
    entry->uid = uid;
    if (name && !(entry->name = strdup(name))) {
        free(entry);
        return NULL;
    }
    *link = entry;
    return entry;
}

static int find(struct accounts *accounts, const char *name, uid_t uid, int64_t age,
                struct account *ret_account, void (*again)(void *data), void *data)
{
    pthread_mutex_lock(&accounts->lock);
    struct entry *entry = find_known_locked(accounts, name, uid);
    if (entry && units_now_boottime() - entry->found_at <= age) {
        *ret_account = entry->account;
        pthread_mutex_unlock(&accounts->lock);
        return 0;
    }
    int error = -ENOMEM;
    struct waiter *waiter = malloc(sizeof *waiter);
    if (waiter && (entry = want_locked(accounts, name, uid))) {
        *waiter = (struct waiter){.next = entry->waiters, .again = again, .data = data};
        entry->waiters = TAKE_PTR(waiter);
        pthread_cond_signal(&accounts->wanted_more);
        error = -EINPROGRESS;
    }
    pthread_mutex_unlock(&accounts->lock);
    free(waiter);
    return error;
}

int accounts_find(struct accounts *accounts, const char *name, uid_t uid,
                  struct account *ret_account, void (*again)(void *data), void *data)
{
    return find(accounts, name, uid, INT64_MAX, ret_account, again, data);
}

int accounts_find_fresh(struct accounts *accounts, uid_t uid, int64_t age,
                        struct account *ret_account, void (*again)(void *data), void *data)
{
    return find(accounts, NULL, uid, age, ret_account, again, data);
}

/* Moves the entry from the wanted to the known ones; its waiters go to the caller. */
static struct waiter *settle_locked(struct accounts *accounts, struct entry *entry)
{
    struct waiter *waiters = TAKE_PTR(entry->waiters);
    accounts->wanted = entry->next;
    int64_t now = units_now_boottime();
    entry->found_at = now;
    entry->expires = now + (entry->account.found ? FOUND_FOR_MS : NOT_FOUND_FOR_MS);
    entry->next = accounts->known;
    accounts->known = entry;
    if (++accounts->known_count > REMEMBERED_MAX)
        tidy_locked(accounts, now);
    return waiters;
}

static void *run(void *data)
{
    struct accounts *accounts = data;
    pthread_mutex_lock(&accounts->lock);
    for (;;) {
        while (!accounts->wanted && !accounts->closing)
            pthread_cond_wait(&accounts->wanted_more, &accounts->lock);
        struct entry *entry = accounts->wanted;
        if (!entry)
            break;
        unsigned generation = accounts->generation;
        _cleanup_free_ char *group = strdup(accounts->group);
        pthread_mutex_unlock(&accounts->lock);

        struct account account = look_up(entry->name, entry->uid, group);

        pthread_mutex_lock(&accounts->lock);
        if (generation != accounts->generation)
            continue; /* the group changed meanwhile */
        entry->account = account;
        struct waiter *waiter = settle_locked(accounts, entry);
        pthread_mutex_unlock(&accounts->lock);
        while (waiter) {
            struct waiter *next = waiter->next;
            waiter->again(waiter->data);
            free(waiter);
            waiter = next;
        }
        pthread_mutex_lock(&accounts->lock);
    }
    pthread_mutex_unlock(&accounts->lock);
    return NULL;
}

int accounts_create(const char *group, struct accounts **ret_accounts)
{
    struct accounts *accounts = calloc(1, sizeof *accounts);
    if (!accounts)
        return -ENOMEM;
    pthread_mutex_init(&accounts->lock, NULL);
    pthread_cond_init(&accounts->wanted_more, NULL);
    accounts->group = strdup(group);
    int error = accounts->group ? -pthread_create(&accounts->thread, NULL, run, accounts) : -ENOMEM;
    if (error) {
        pthread_cond_destroy(&accounts->wanted_more);
        pthread_mutex_destroy(&accounts->lock);
        free(accounts->group);
        free(accounts);
        return error;
    }
    *ret_accounts = accounts;
    return 0;
}

void accounts_destroy(struct accounts *accounts)
{
    if (!accounts)
        return;
    pthread_mutex_lock(&accounts->lock);
    accounts->closing = true;
    pthread_cond_signal(&accounts->wanted_more);
    pthread_mutex_unlock(&accounts->lock);
    pthread_join(accounts->thread, NULL);
    entries_free(accounts->known);
    pthread_cond_destroy(&accounts->wanted_more);
    pthread_mutex_destroy(&accounts->lock);
    free(accounts->group);
    free(accounts);
}

int accounts_set_group(struct accounts *accounts, const char *group)
{
    char *copy = strdup(group);
    if (!copy)
        return -ENOMEM;
    pthread_mutex_lock(&accounts->lock);
    free(accounts->group);
    accounts->group = copy;
    accounts->generation++;
    entries_free(TAKE_PTR(accounts->known));
    accounts->known_count = 0;
    pthread_mutex_unlock(&accounts->lock);
    return 0;
}
