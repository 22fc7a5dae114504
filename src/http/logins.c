#include "http/logins.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <unistd.h>

#include "common/api.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "common/units.h"
#include "http/passwords.h"

#define CHECKS_PER_ORIGIN (PRIVSEP_CHECKS_MAX / 2) /* the others are for others */
#define ATTEMPTS_MAX      1024
#define WRONG_DELAY_MS    2000
#define KEPT_FOR_MS       5000  /* after it can be told: those who wait come back for it */
#define CHECK_MAX_MS      35000 /* the monitor's PAM child ends after 30 s */
#define BUSY_SECONDS      2
#define ORIGIN_SIZE       64

struct waiter {
    struct waiter *next;
    void (*again)(void *data);
    void *data;
};

/* One password of one user from one address, and what became of it. */
struct attempt {
    struct attempt *next;
    struct passwords_mark mark;
    char user[API_USER_MAX + 1];
    char origin[ORIGIN_SIZE];
    int64_t asked; /* CLOCK_BOOTTIME, ms, as all times here */
    int socket;    /* where the answer comes; -1: it is there, or could not be asked for */
    enum logins_result result;
    int64_t told_at; /* once the answer is there: when those who wait are called */
    struct waiter *waiters;
};

struct logins {
    /* immutable */
    struct privsep *privsep;
    int wake; /* an eventfd */
    pthread_t thread;
    bool started;

    /* protected by lock */
    pthread_mutex_t lock;
    bool stopping;
    struct passwords *passwords;
    struct attempt *attempts; /* youngest first */
    size_t count;
};

/* --- attempts --- */

static void attempt_free(struct attempt *attempt)
{
    if (attempt->socket >= 0)
        close(attempt->socket);
    free(attempt);
}

static struct attempt *find_locked(struct logins *logins, const struct passwords_mark *mark)
{
    struct attempt *attempt = logins->attempts;
    while (attempt && !passwords_equal(&attempt->mark, mark))
        attempt = attempt->next;
    return attempt;
}

/* Is there room for one more, from this origin? */
static bool room_locked(const struct logins *logins, const char *origin)
{
    unsigned checks = 0, from_here = 0;
    for (const struct attempt *attempt = logins->attempts; attempt; attempt = attempt->next) {
        if (attempt->socket < 0)
            continue;
        checks++;
        from_here += strcmp(attempt->origin, origin) == 0;
    }
    return logins->count < ATTEMPTS_MAX && checks < PRIVSEP_CHECKS_MAX &&
           from_here < CHECKS_PER_ORIGIN;
}

static bool wait_for_locked(struct attempt *attempt, void (*again)(void *data), void *data)
{
    struct waiter *waiter = malloc(sizeof *waiter);
    if (!waiter)
        return false;
    *waiter = (struct waiter){.next = attempt->waiters, .again = again, .data = data};
    attempt->waiters = waiter;
    return true;
}

/* The monitor is asked under the lock: that takes no other, and never blocks. */
static int begin_locked(struct logins *logins, const struct login *login,
                        const struct passwords_mark *mark, struct attempt **ret_attempt)
{
    if (strlen(login->user) > API_USER_MAX || strlen(login->origin) >= ORIGIN_SIZE)
        return -EINVAL;
    struct attempt *attempt = calloc(1, sizeof *attempt);
    if (!attempt)
        return -ENOMEM;
    attempt->mark = *mark;
    attempt->asked = units_now_boottime();
    strcpy(attempt->user, login->user);
    strcpy(attempt->origin, login->origin);
    int error = privsep_check_password(logins->privsep, login->user, login->password,
                                       login->address, &attempt->socket);
    if (error) {
        free(attempt);
        return error;
    }
    attempt->next = logins->attempts;
    logins->attempts = attempt;
    logins->count++;
    *ret_attempt = attempt;
    return 0;
}

static enum logins_result start_locked(struct logins *logins, const struct login *login,
                                       const struct passwords_mark *mark, unsigned *ret_seconds,
                                       struct attempt **ret_attempt)
{
    *ret_seconds = BUSY_SECONDS;
    if (logins->stopping)
        return LOGINS_BUSY;
    int64_t wait =
        passwords_try(logins->passwords, login->user, login->origin, units_now_boottime());
    if (wait > 0) {
        *ret_seconds = (unsigned)((wait + 999) / 1000);
        return LOGINS_LATER;
    }
    int error = room_locked(logins, login->origin) ? begin_locked(logins, login, mark, ret_attempt)
                                                   : -EBUSY;
    if (!error)
        return LOGINS_LOOKING;
    if (error == -EINVAL) /* no user has such a name; it counts */
        return LOGINS_WRONG;
    passwords_untried(logins->passwords, login->user, login->origin);
    return LOGINS_BUSY;
}

static enum logins_result check_locked(struct logins *logins, const struct login *login,
                                       unsigned *ret_seconds, void (*again)(void *data), void *data)
{
    int64_t now = units_now_boottime();
    struct passwords_mark mark;
    if (passwords_mark(logins->passwords, login->user, login->password, login->address, &mark) < 0)
        return LOGINS_WRONG;
    if (passwords_are_right(logins->passwords, &mark, now))
        return LOGINS_RIGHT;
    struct attempt *attempt = find_locked(logins, &mark);
    if (!attempt) {
        enum logins_result result = start_locked(logins, login, &mark, ret_seconds, &attempt);
        if (result != LOGINS_LOOKING)
            return result;
        eventfd_write(logins->wake, 1);
    } else if (attempt->socket < 0 && attempt->told_at <= now) {
        *ret_seconds = BUSY_SECONDS;
        return attempt->result;
    }
    if (wait_for_locked(attempt, again, data))
        return LOGINS_LOOKING;
    *ret_seconds = BUSY_SECONDS;
    return LOGINS_BUSY;
}

enum logins_result logins_check(struct logins *logins, const struct login *login,
                                unsigned *ret_seconds, void (*again)(void *data), void *data)
{
    pthread_mutex_lock(&logins->lock);
    enum logins_result result = check_locked(logins, login, ret_seconds, again, data);
    pthread_mutex_unlock(&logins->lock);
    return result;
}

/* --- answers; on the thread --- */

static enum logins_result result_of(enum wire_verdict_kind verdict)
{
    switch (verdict) {
    case WIRE_RIGHT:
        return LOGINS_RIGHT;
    case WIRE_WRONG:
        return LOGINS_WRONG;
    case WIRE_PASSWORD_EXPIRED:
        return LOGINS_PASSWORD_EXPIRED;
    case WIRE_ACCOUNT_EXPIRED:
        return LOGINS_ACCOUNT_EXPIRED;
    case WIRE_ACCOUNT_REFUSED:
        return LOGINS_ACCOUNT_REFUSED;
    case WIRE_UNDECIDED:
    case WIRE_VERDICTS:
        break;
    }
    return LOGINS_BUSY;
}

static void settle_locked(struct logins *logins, struct attempt *attempt, enum logins_result result)
{
    int64_t now = units_now_boottime(), past = now - attempt->asked;
    close(TAKE_FD(attempt->socket));
    attempt->result = result;
    attempt->told_at = now;
    if (result == LOGINS_WRONG)
        attempt->told_at = attempt->asked + (past / WRONG_DELAY_MS + 1) * WRONG_DELAY_MS;
    else if (result == LOGINS_RIGHT)
        passwords_right(logins->passwords, &attempt->mark, attempt->user, attempt->origin, now);
    else
        passwords_untried(logins->passwords, attempt->user, attempt->origin);
}

static void read_answers_locked(struct logins *logins, const struct pollfd *polled, size_t count)
{
    int64_t now = units_now_boottime();
    for (struct attempt *attempt = logins->attempts; attempt; attempt = attempt->next) {
        if (attempt->socket < 0)
            continue;
        bool answered = false;
        for (size_t i = 0; i < count; i++)
            answered = answered || (polled[i].fd == attempt->socket && polled[i].revents);
        if (answered)
            settle_locked(logins, attempt, result_of(privsep_read_verdict(attempt->socket)));
        else if (logins->stopping || now >= attempt->asked + CHECK_MAX_MS)
            settle_locked(logins, attempt, LOGINS_BUSY);
    }
}

/* Takes out those who can be told now; forgets what nobody has come back for. */
static struct waiter *take_told_locked(struct logins *logins)
{
    int64_t now = units_now_boottime();
    struct waiter *told = NULL;
    for (struct attempt **link = &logins->attempts; *link;) {
        struct attempt *attempt = *link;
        bool due = attempt->socket < 0 && (attempt->told_at <= now || logins->stopping);
        while (due && attempt->waiters) {
            struct waiter *waiter = attempt->waiters;
            attempt->waiters = waiter->next;
            waiter->next = told;
            told = waiter;
        }
        if (due && (logins->stopping || now >= attempt->told_at + KEPT_FOR_MS)) {
            *link = attempt->next;
            logins->count--;
            attempt_free(attempt);
        } else {
            link = &attempt->next;
        }
    }
    return told;
}

/* What to wait for: the sockets, and in how many ms something is due (-1: nothing). */
static int prepare_locked(const struct logins *logins, struct pollfd *items, size_t *ret_count)
{
    int64_t first = INT64_MAX, now = units_now_boottime();
    size_t count = 1;
    items[0] = (struct pollfd){.fd = logins->wake, .events = POLLIN};
    for (const struct attempt *attempt = logins->attempts; attempt; attempt = attempt->next) {
        int64_t due = attempt->socket >= 0 ? attempt->asked + CHECK_MAX_MS
                      : attempt->waiters   ? attempt->told_at
                                           : attempt->told_at + KEPT_FOR_MS;
        first = due < first ? due : first;
        if (attempt->socket >= 0)
            items[count++] = (struct pollfd){.fd = attempt->socket, .events = POLLIN};
    }
    *ret_count = count;
    if (first == INT64_MAX)
        return -1;
    return first > now ? (int)(first - now) : 0;
}

static void call(struct waiter *waiter)
{
    while (waiter) {
        struct waiter *next = waiter->next;
        waiter->again(waiter->data);
        free(waiter);
        waiter = next;
    }
}

static void *run(void *data)
{
    struct logins *logins = data;
    struct pollfd items[1 + PRIVSEP_CHECKS_MAX];
    bool stopping = false;
    do {
        size_t count;
        eventfd_t unused;
        pthread_mutex_lock(&logins->lock);
        int timeout = prepare_locked(logins, items, &count);
        pthread_mutex_unlock(&logins->lock);

        if (poll(items, count, timeout) < 0)
            continue;
        if (items[0].revents)
            eventfd_read(logins->wake, &unused);

        pthread_mutex_lock(&logins->lock);
        stopping = logins->stopping;
        read_answers_locked(logins, items + 1, count - 1);
        struct waiter *told = take_told_locked(logins);
        pthread_mutex_unlock(&logins->lock);
        call(told);
    } while (!stopping);
    return NULL;
}

/* --- create and destroy --- */

static int create_passwords(struct passwords **ret_passwords)
{
    uint8_t key[PASSWORDS_KEY_SIZE];
    if (getrandom(key, sizeof key, 0) != (ssize_t)sizeof key)
        return -EIO;
    int error = passwords_create(key, ret_passwords);
    explicit_bzero(key, sizeof key);
    return error;
}

int logins_create(struct privsep *privsep, struct logins **ret_logins)
{
    struct logins *logins = calloc(1, sizeof *logins);
    if (!logins)
        return -ENOMEM;
    logins->privsep = privsep;
    pthread_mutex_init(&logins->lock, NULL);
    logins->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int error = logins->wake < 0 ? -errno : create_passwords(&logins->passwords);
    if (!error)
        error = -pthread_create(&logins->thread, NULL, run, logins);
    logins->started = !error;
    if (error) {
        logins_destroy(logins);
        return error;
    }
    *ret_logins = logins;
    return 0;
}

void logins_stop(struct logins *logins)
{
    if (!logins)
        return;
    pthread_mutex_lock(&logins->lock);
    logins->stopping = true;
    pthread_mutex_unlock(&logins->lock);
    eventfd_write(logins->wake, 1);
    if (logins->started)
        pthread_join(logins->thread, NULL);
    logins->started = false;
}

void logins_destroy(struct logins *logins)
{
    if (!logins)
        return;
    logins_stop(logins);
    while (logins->attempts) {
        struct attempt *next = logins->attempts->next;
        attempt_free(logins->attempts);
        logins->attempts = next;
    }
    passwords_destroy(logins->passwords);
    if (logins->wake >= 0)
        close(logins->wake);
    pthread_mutex_destroy(&logins->lock);
    free(logins);
}
