#include "http/passwords.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>

#include "common/api.h"

#define RIGHT_FOR_MS 60000
#define KNOWN_FOR_MS 86400000
#define ADDRESS_MAX  255

/* Both tables are sets of a few places: a mark says in which set it has to be, and the newcomer
 * takes the place whose time is over first. */
#define WAYS       8
#define RIGHT_SETS 128
#define COUNT_SETS 1024

enum scope {
    USER_FROM_ORIGIN,
    ORIGIN,
    USER,
    SCOPES,
};

/* So many at once, then one in so many ms. */
static const struct limit {
    int64_t burst, interval;
} limits[SCOPES] = {
    [USER_FROM_ORIGIN] = {5,  30000},
    [ORIGIN] = {20, 6000 },
    [USER] = {50, 6000 },
};

struct right {
    struct passwords_mark mark;
    int64_t until;
};

/* A bucket that leaks: it is empty at `empty_at`, each wrong password puts one interval on top
 * (the generic cell rate algorithm, ITU-T I.371). */
struct count {
    uint64_t name;
    int64_t empty_at;
    int64_t known_until; /* USER_FROM_ORIGIN: the right password came lately */
};

struct passwords {
    uint8_t key[PASSWORDS_KEY_SIZE];
    struct right rights[RIGHT_SETS][WAYS];
    struct count counts[COUNT_SETS][WAYS];
};

int passwords_create(const uint8_t key[static PASSWORDS_KEY_SIZE], struct passwords **ret_passwords)
{
    struct passwords *passwords = calloc(1, sizeof *passwords);
    if (!passwords)
        return -ENOMEM;
    memcpy(passwords->key, key, sizeof passwords->key);
    *ret_passwords = passwords;
    return 0;
}

void passwords_destroy(struct passwords *passwords)
{
    if (!passwords)
        return;
    explicit_bzero(passwords, sizeof *passwords);
    free(passwords);
}

/* --- keyed hashes --- */

/* HMAC-SHA-256 of a kind and texts, none of which holds a NUL. False: they are too long. */
static bool hash(const struct passwords *passwords, char kind, const char *const *texts,
                 size_t count, struct passwords_mark *ret_mark)
{
    char joined[1 + API_USER_MAX + 1 + API_PASSWORD_MAX + 1 + ADDRESS_MAX + 1];
    size_t len = 0;
    bool fits = true;
    joined[len++] = kind;
    for (size_t i = 0; i < count && fits; i++) {
        size_t size = strlen(texts[i]) + 1;
        fits = size <= sizeof joined - len;
        if (fits)
            memcpy(joined + len, texts[i], size);
        len += fits ? size : 0;
    }
    fits = fits && HMAC(EVP_sha256(), passwords->key, sizeof passwords->key,
                        (const unsigned char *)joined, len, ret_mark->bytes, NULL);
    explicit_bzero(joined, sizeof joined);
    return fits;
}

int passwords_mark(const struct passwords *passwords, const char *user, const char *password,
                   const char *address, struct passwords_mark *ret_mark)
{
    const char *texts[] = {user, password, address};
    struct passwords_mark mark;
    if (!hash(passwords, 'p', texts, 3, &mark))
        return -EINVAL;
    *ret_mark = mark;
    return 0;
}

bool passwords_equal(const struct passwords_mark *a, const struct passwords_mark *b)
{
    return CRYPTO_memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

static uint64_t number_of(const struct passwords_mark *mark)
{
    uint64_t number;
    memcpy(&number, mark->bytes, sizeof number);
    return number;
}

/* --- right ones --- */

bool passwords_are_right(const struct passwords *passwords, const struct passwords_mark *mark,
                         int64_t now)
{
    const struct right *set = passwords->rights[number_of(mark) % RIGHT_SETS];
    for (size_t i = 0; i < WAYS; i++)
        if (set[i].until > now && passwords_equal(&set[i].mark, mark))
            return true;
    return false;
}

static void remember_right(struct passwords *passwords, const struct passwords_mark *mark,
                           int64_t now)
{
    struct right *set = passwords->rights[number_of(mark) % RIGHT_SETS], *place = set;
    for (size_t i = 0; i < WAYS; i++) {
        bool is_same = passwords_equal(&set[i].mark, mark);
        if (is_same || set[i].until < place->until)
            place = &set[i];
        if (is_same)
            break;
    }
    *place = (struct right){.mark = *mark, .until = now + RIGHT_FOR_MS};
}

/* --- wrong ones --- */

static int64_t time_over(const struct count *count)
{
    return count->empty_at > count->known_until ? count->empty_at : count->known_until;
}

static uint64_t name_of(const struct passwords *passwords, enum scope scope, const char *user,
                        const char *origin)
{
    const char *texts[] = {scope == ORIGIN ? "" : user, scope == USER ? "" : origin};
    struct passwords_mark mark = {{0}}; /* texts that are too long share one count */
    (void)hash(passwords, (char)('0' + scope), texts, 2, &mark);
    return number_of(&mark);
}

/* The place of this name, or else the one that is the first to be given to another. */
static struct count *place_of(struct passwords *passwords, uint64_t name)
{
    struct count *set = passwords->counts[name % COUNT_SETS], *place = set;
    for (size_t i = 0; i < WAYS; i++) {
        if (set[i].name == name)
            return &set[i];
        if (time_over(&set[i]) < time_over(place))
            place = &set[i];
    }
    return place;
}

/* What is counted now; nothing, if it has no place. */
static struct count look_up(struct passwords *passwords, enum scope scope, const char *user,
                            const char *origin)
{
    uint64_t name = name_of(passwords, scope, user, origin);
    const struct count *place = place_of(passwords, name);
    return place->name == name ? *place : (struct count){.name = name};
}

static void store(struct passwords *passwords, const struct count *count)
{
    *place_of(passwords, count->name) = *count;
}

/* After how many ms one more fits in. */
static int64_t wait_of(const struct count *count, enum scope scope, int64_t now)
{
    const struct limit *limit = &limits[scope];
    int64_t full = count->empty_at - now, room = (limit->burst - 1) * limit->interval;
    return full > room ? full - room : 0;
}

int64_t passwords_try(struct passwords *passwords, const char *user, const char *origin,
                      int64_t now)
{
    struct count counts[SCOPES];
    int64_t wait = 0;
    for (enum scope scope = 0; scope < SCOPES; scope++) {
        counts[scope] = look_up(passwords, scope, user, origin);
        bool binds = scope == USER_FROM_ORIGIN || counts[USER_FROM_ORIGIN].known_until <= now;
        int64_t more = binds ? wait_of(&counts[scope], scope, now) : 0;
        wait = more > wait ? more : wait;
    }
    for (enum scope scope = 0; scope < SCOPES && wait == 0; scope++) {
        int64_t level = counts[scope].empty_at;
        counts[scope].empty_at = (level > now ? level : now) + limits[scope].interval;
        store(passwords, &counts[scope]);
    }
    return wait;
}

void passwords_untried(struct passwords *passwords, const char *user, const char *origin)
{
    for (enum scope scope = 0; scope < SCOPES; scope++) {
        struct count count = look_up(passwords, scope, user, origin);
        count.empty_at -= limits[scope].interval;
        store(passwords, &count);
    }
}

void passwords_right(struct passwords *passwords, const struct passwords_mark *mark,
                     const char *user, const char *origin, int64_t now)
{
    remember_right(passwords, mark, now);
    passwords_untried(passwords, user, origin);
    struct count own = look_up(passwords, USER_FROM_ORIGIN, user, origin);
    own.empty_at = now;
    own.known_until = now + KNOWN_FOR_MS;
    store(passwords, &own);
}
