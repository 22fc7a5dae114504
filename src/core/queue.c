#include "core/queue.h"

#include <assert.h>
#include <config.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define LINE_FIRST_SIZE 8

/* Rows waiting in order, in a ring that has memory only while something waits. */
struct line {
    int64_t *rows;
    size_t size;
    size_t head;
    size_t count;
};

struct pause {
    bool on;
    int64_t until; /* 0: until resumed */
};

/* A user is kept while anything about them differs from a user never heard of. */
struct user {
    uid_t uid;
    struct line line;
    unsigned running;
    uint64_t turn; /* the queue's count when they last came, took a slot or gave one back */
    struct pause pause;
    unsigned held; /* enum queue_hold_reason, or'ed */
};

struct queue {
    /* immutable */
    queue_clock clock;

    pthread_mutex_t lock;
    pthread_cond_t changed; /* a worker in queue_pop may have something to do */

    /* protected by lock */
    struct user *users;
    size_t user_count;
    size_t user_size;
    unsigned slots;
    unsigned running;
    size_t waiting;
    uint64_t turns;
    struct pause pause; /* everybody's */
    bool closed;
#ifdef AUTODL_DEBUG
    bool locked;
    pthread_t owner;
#endif
};

/* The lock. */

static void set_owner(struct queue *queue, bool locked)
{
#ifdef AUTODL_DEBUG
    queue->locked = locked;
    queue->owner = pthread_self();
#else
    (void)queue;
    (void)locked;
#endif
}

static void assert_locked(struct queue *queue)
{
#ifdef AUTODL_DEBUG
    assert(queue->locked && pthread_equal(queue->owner, pthread_self()));
#else
    (void)queue;
#endif
}

static void lock(struct queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    set_owner(queue, true);
}

static void unlock(struct queue *queue)
{
    set_owner(queue, false);
    pthread_mutex_unlock(&queue->lock);
}

static void wait_locked(struct queue *queue)
{
    assert_locked(queue);
    set_owner(queue, false);
    pthread_cond_wait(&queue->changed, &queue->lock);
    set_owner(queue, true);
}

/* A user's line. */

static void line_copy(const struct line *line, int64_t *rows)
{
    size_t first = line->size - line->head < line->count ? line->size - line->head : line->count;
    if (line->count == 0)
        return;
    memcpy(rows, line->rows + line->head, first * sizeof(*rows));
    memcpy(rows + first, line->rows, (line->count - first) * sizeof(*rows));
}

static int line_reserve(struct line *line)
{
    if (line->count < line->size)
        return 0;
    size_t size = line->size ? line->size * 2 : LINE_FIRST_SIZE;
    int64_t *rows = calloc(size, sizeof(*rows));
    if (!rows)
        return -ENOMEM;
    line_copy(line, rows);
    free(line->rows);
    line->rows = rows;
    line->size = size;
    line->head = 0;
    return 0;
}

static int line_push(struct line *line, int64_t row, bool in_front)
{
    int r = line_reserve(line);
    if (r < 0)
        return r;
    if (in_front)
        line->head = (line->head + line->size - 1) % line->size;
    size_t offset = in_front ? 0 : line->count;
    line->rows[(line->head + offset) % line->size] = row;
    line->count++;
    return 0;
}

static void line_empty(struct line *line)
{
    free(line->rows);
    *line = (struct line){0};
}

static int64_t line_pop(struct line *line)
{
    assert(line->count > 0);
    int64_t row = line->rows[line->head];
    line->head = (line->head + 1) % line->size;
    if (--line->count == 0)
        line_empty(line);
    return row;
}

/* Users. */

static struct user *find_user_locked(struct queue *queue, uid_t uid)
{
    assert_locked(queue);
    assert(uid != QUEUE_EVERYBODY);
    for (size_t i = 0; i < queue->user_count; i++)
        if (queue->users[i].uid == uid)
            return &queue->users[i];
    return NULL;
}

/* Finds a user or makes a record of them; NULL: no memory. */
static struct user *get_user_locked(struct queue *queue, uid_t uid)
{
    struct user *user = find_user_locked(queue, uid);
    if (user)
        return user;
    if (queue->user_count == queue->user_size) {
        size_t size = queue->user_size ? queue->user_size * 2 : 8;
        struct user *users = reallocarray(queue->users, size, sizeof(*users));
        if (!users)
            return NULL;
        queue->users = users;
        queue->user_size = size;
    }
    user = &queue->users[queue->user_count++];
    *user = (struct user){.uid = uid, .turn = ++queue->turns};
    return user;
}

/* Drops the record of a user about whom nothing is left to know. */
static void forget_if_idle_locked(struct queue *queue, struct user *user)
{
    assert_locked(queue);
    if (user->line.count > 0 || user->running > 0 || user->pause.on || user->held)
        return;
    *user = queue->users[--queue->user_count];
}

static bool in_force(const struct pause *pause, int64_t now)
{
    return pause->on && (pause->until == 0 || now < pause->until);
}

static bool may_start_locked(struct queue *queue, const struct user *user, int64_t now)
{
    assert_locked(queue);
    return user->line.count > 0 && !user->held && !in_force(&queue->pause, now) &&
           !in_force(&user->pause, now);
}

/* Whose turn it is: the fewest running, then the longest without a turn. NULL: nobody may. */
static struct user *next_user_locked(struct queue *queue)
{
    assert_locked(queue);
    int64_t now = queue->clock();
    struct user *best = NULL;
    for (size_t i = 0; i < queue->user_count; i++) {
        struct user *user = &queue->users[i];
        if (!may_start_locked(queue, user, now))
            continue;
        if (!best || user->running < best->running ||
            (user->running == best->running && user->turn < best->turn))
            best = user;
    }
    return best;
}

static size_t length_locked(struct queue *queue, uid_t uid)
{
    assert_locked(queue);
    if (uid == QUEUE_EVERYBODY)
        return queue->waiting;
    const struct user *user = find_user_locked(queue, uid);
    return user ? user->line.count : 0;
}

/* Making and ending a queue. */

int queue_create(unsigned slots, queue_clock clock, struct queue **ret_queue)
{
    struct queue *queue = calloc(1, sizeof(*queue));
    if (!queue)
        return -ENOMEM;
    queue->clock = clock;
    queue->slots = slots;
    pthread_mutex_init(&queue->lock, NULL);
    pthread_cond_init(&queue->changed, NULL);
    *ret_queue = queue;
    return 0;
}

void queue_destroy(struct queue *queue)
{
    if (!queue)
        return;
    for (size_t i = 0; i < queue->user_count; i++)
        line_empty(&queue->users[i].line);
    free(queue->users);
    pthread_cond_destroy(&queue->changed);
    pthread_mutex_destroy(&queue->lock);
    free(queue);
}

void queue_close(struct queue *queue)
{
    lock(queue);
    queue->closed = true;
    pthread_cond_broadcast(&queue->changed);
    unlock(queue);
}

/* Tasks come and go. */

static int push_locked(struct queue *queue, uid_t uid, int64_t row, bool in_front)
{
    assert_locked(queue);
    if (queue->closed)
        return -ESHUTDOWN;
    struct user *user = get_user_locked(queue, uid);
    if (!user)
        return -ENOMEM;
    int r = line_push(&user->line, row, in_front);
    if (r < 0) {
        forget_if_idle_locked(queue, user);
        return r;
    }
    queue->waiting++;
    if (queue->running < queue->slots && may_start_locked(queue, user, queue->clock()))
        pthread_cond_signal(&queue->changed);
    return 0;
}

int queue_push(struct queue *queue, uid_t uid, int64_t row)
{
    lock(queue);
    int r = push_locked(queue, uid, row, false);
    unlock(queue);
    return r;
}

int queue_push_front(struct queue *queue, uid_t uid, int64_t row)
{
    lock(queue);
    int r = push_locked(queue, uid, row, true);
    unlock(queue);
    return r;
}

static int pop_locked(struct queue *queue, unsigned worker, uid_t *ret_uid, int64_t *ret_row)
{
    for (;;) {
        if (queue->closed)
            return -ESHUTDOWN;
        if (worker >= queue->slots) {
            pthread_cond_signal(&queue->changed); /* the wake-up may have been for another */
            return -ECANCELED;
        }
        struct user *user = queue->running < queue->slots ? next_user_locked(queue) : NULL;
        if (user) {
            user->turn = ++queue->turns;
            user->running++;
            queue->running++;
            queue->waiting--;
            *ret_uid = user->uid;
            *ret_row = line_pop(&user->line);
            return 0;
        }
        wait_locked(queue);
    }
}

int queue_pop(struct queue *queue, unsigned worker, uid_t *ret_uid, int64_t *ret_row)
{
    lock(queue);
    int r = pop_locked(queue, worker, ret_uid, ret_row);
    unlock(queue);
    return r;
}

void queue_release(struct queue *queue, uid_t uid)
{
    lock(queue);
    struct user *user = find_user_locked(queue, uid);
    assert(user && user->running > 0 && queue->running > 0);
    user->turn = ++queue->turns;
    user->running--;
    queue->running--;
    forget_if_idle_locked(queue, user);
    if (queue->waiting > 0)
        pthread_cond_signal(&queue->changed);
    unlock(queue);
}

static int clear_locked(struct queue *queue, uid_t uid, int64_t **ret_rows, size_t *ret_count)
{
    size_t count = length_locked(queue, uid), taken = 0;
    int64_t *rows = NULL;
    if (count > 0) {
        rows = calloc(count, sizeof(*rows));
        if (!rows)
            return -ENOMEM;
    }
    for (size_t i = queue->user_count; taken < count;) { /* downwards: forgetting moves the last */
        struct user *user = &queue->users[--i];
        if (uid != QUEUE_EVERYBODY && uid != user->uid)
            continue;
        line_copy(&user->line, rows + taken);
        taken += user->line.count;
        line_empty(&user->line);
        forget_if_idle_locked(queue, user);
    }
    queue->waiting -= count;
    *ret_rows = rows;
    *ret_count = count;
    return 0;
}

int queue_clear(struct queue *queue, uid_t uid, int64_t **ret_rows, size_t *ret_count)
{
    lock(queue);
    int r = clear_locked(queue, uid, ret_rows, ret_count);
    unlock(queue);
    return r;
}

/* What keeps tasks from starting. */

int queue_pause(struct queue *queue, uid_t uid, int64_t until)
{
    lock(queue);
    struct user *user = uid == QUEUE_EVERYBODY ? NULL : get_user_locked(queue, uid);
    bool known = user || uid == QUEUE_EVERYBODY;
    if (known) {
        struct pause *pause = user ? &user->pause : &queue->pause;
        *pause = (struct pause){.on = true, .until = until};
        pthread_cond_broadcast(&queue->changed); /* it may be over sooner than the one before */
    }
    unlock(queue);
    return known ? 0 : -ENOMEM;
}

bool queue_resume(struct queue *queue, uid_t uid)
{
    bool was_on = false;
    lock(queue);
    struct user *user = uid == QUEUE_EVERYBODY ? NULL : find_user_locked(queue, uid);
    if (user || uid == QUEUE_EVERYBODY) {
        struct pause *pause = user ? &user->pause : &queue->pause;
        was_on = in_force(pause, queue->clock());
        *pause = (struct pause){0};
        if (user)
            forget_if_idle_locked(queue, user);
        pthread_cond_broadcast(&queue->changed);
    }
    unlock(queue);
    return was_on;
}

/* Ends a pause whose time has come, else looks whether it is the next one to end. */
static void tick_pause(struct pause *pause, int64_t now, int64_t *next)
{
    if (!pause->on || pause->until == 0)
        return;
    if (!in_force(pause, now))
        *pause = (struct pause){0};
    else if (*next == 0 || pause->until < *next)
        *next = pause->until;
}

int64_t queue_tick(struct queue *queue)
{
    lock(queue);
    int64_t now = queue->clock(), next = 0;
    tick_pause(&queue->pause, now, &next);
    for (size_t i = queue->user_count; i-- > 0;) { /* downwards: forgetting moves the last */
        tick_pause(&queue->users[i].pause, now, &next);
        forget_if_idle_locked(queue, &queue->users[i]);
    }
    pthread_cond_broadcast(&queue->changed);
    unlock(queue);
    return next;
}

int queue_hold(struct queue *queue, uid_t uid, enum queue_hold_reason reason, bool on)
{
    int r = 0;
    lock(queue);
    struct user *user = on ? get_user_locked(queue, uid) : find_user_locked(queue, uid);
    if (user) {
        user->held = on ? user->held | reason : user->held & ~(unsigned)reason;
        forget_if_idle_locked(queue, user);
        pthread_cond_broadcast(&queue->changed);
    } else if (on) {
        r = -ENOMEM;
    }
    unlock(queue);
    return r;
}

bool queue_held(struct queue *queue, uid_t uid, enum queue_hold_reason reason)
{
    lock(queue);
    struct user *user = find_user_locked(queue, uid);
    bool held = user && user->held & reason;
    unlock(queue);
    return held;
}

/* Numbers. */

void queue_set_slots(struct queue *queue, unsigned slots)
{
    lock(queue);
    queue->slots = slots;
    pthread_cond_broadcast(&queue->changed);
    unlock(queue);
}

unsigned queue_slots(struct queue *queue)
{
    lock(queue);
    unsigned slots = queue->slots;
    unlock(queue);
    return slots;
}

size_t queue_length(struct queue *queue, uid_t uid)
{
    lock(queue);
    size_t length = length_locked(queue, uid);
    unlock(queue);
    return length;
}
