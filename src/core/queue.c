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

/* A row waiting for its time. */
struct later {
    int64_t at;
    int64_t row;
    uid_t uid;
    enum queue_reason reason;
};

struct pause {
    bool on;
    int64_t until; /* 0: until resumed */
};

/* A user is kept while anything about them differs from a user never heard of. */
struct user {
    uid_t uid;
    struct line line; /* has room for those in `later` too: their coming back cannot fail */
    size_t later;     /* how many of their rows wait for their time */
    size_t booked;    /* tasks of theirs that wait outside */
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
    struct later *later; /* a binary heap, the first to come at its top */
    size_t later_count;
    size_t later_size;
    unsigned slots;
    unsigned running;
    size_t waiting; /* in lines and for their time */
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

/* Room for so many more. */
static int line_reserve(struct line *line, size_t more)
{
    if (line->size - line->count >= more)
        return 0;
    size_t size = line->size ? line->size : LINE_FIRST_SIZE;
    while (size - line->count < more)
        size *= 2;
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

static int64_t *line_at(const struct line *line, size_t i)
{
    return &line->rows[(line->head + i) & (line->size - 1)]; /* a power of two */
}

/* There must be room. */
static void line_push(struct line *line, int64_t row, bool in_front)
{
    assert(line->count < line->size);
    if (in_front)
        line->head = (line->head + line->size - 1) % line->size;
    *line_at(line, in_front ? 0 : line->count) = row;
    line->count++;
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
    line->count--;
    return row;
}

/* Where the row is; `count` when it is not there. */
static size_t line_find(const struct line *line, int64_t row)
{
    size_t i = 0;
    while (i < line->count && *line_at(line, i) != row)
        i++;
    return i;
}

static void line_remove(struct line *line, size_t at)
{
    line->count--;
    for (size_t i = at; i < line->count; i++)
        *line_at(line, i) = *line_at(line, i + 1);
}

/* The heap of those that wait for their time. */

static int compare_later(const void *left, const void *right)
{
    const struct later *a = left, *b = right;
    if (a->at != b->at)
        return a->at < b->at ? -1 : 1;
    return a->row < b->row ? -1 : a->row > b->row;
}

static void swap_later(struct later *a, struct later *b)
{
    struct later kept = *a;
    *a = *b;
    *b = kept;
}

/* Moves what is at `i` up or down to where it belongs. */
static void later_settle(struct later *later, size_t count, size_t i)
{
    for (; i > 0 && compare_later(&later[i], &later[(i - 1) / 2]) < 0; i = (i - 1) / 2)
        swap_later(&later[i], &later[(i - 1) / 2]);
    for (;;) {
        size_t child = 2 * i + 1;
        if (child + 1 < count && compare_later(&later[child + 1], &later[child]) < 0)
            child++;
        if (child >= count || compare_later(&later[i], &later[child]) < 0)
            return;
        swap_later(&later[i], &later[child]);
        i = child;
    }
}

static int later_add_locked(struct queue *queue, const struct later *later)
{
    assert_locked(queue);
    if (queue->later_count == queue->later_size) {
        size_t size = queue->later_size ? queue->later_size * 2 : LINE_FIRST_SIZE;
        struct later *grown = reallocarray(queue->later, size, sizeof(*grown));
        if (!grown)
            return -ENOMEM;
        queue->later = grown;
        queue->later_size = size;
    }
    queue->later[queue->later_count++] = *later;
    later_settle(queue->later, queue->later_count, queue->later_count - 1);
    return 0;
}

/* Takes one out of the heap; it is then right behind the heap's end. */
static void later_take_locked(struct queue *queue, size_t i)
{
    assert_locked(queue);
    size_t last = --queue->later_count;
    swap_later(&queue->later[i], &queue->later[last]);
    if (i < last)
        later_settle(queue->later, last, i);
}

static void trim_later_locked(struct queue *queue)
{
    assert_locked(queue);
    if (queue->later_count > 0)
        return;
    free(queue->later);
    queue->later = NULL;
    queue->later_size = 0;
}

/* Where the row is; the heap's size when it is not there. */
static size_t later_find_locked(struct queue *queue, uid_t uid, int64_t row)
{
    assert_locked(queue);
    size_t i = 0;
    while (i < queue->later_count && (queue->later[i].row != row || queue->later[i].uid != uid))
        i++;
    return i;
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

/* Nothing of theirs is here. */
static bool is_idle(const struct user *user)
{
    return user->line.count == 0 && user->later == 0 && user->running == 0 && !user->pause.on &&
           !user->held;
}

/* Drops the record of a user about whom nothing is left to know. */
static void forget_if_idle_locked(struct queue *queue, struct user *user)
{
    assert_locked(queue);
    if (!is_idle(user) || user->booked > 0)
        return;
    line_empty(&user->line);
    *user = queue->users[--queue->user_count];
}

/* A line that nothing needs has no memory. */
static void trim_line(struct user *user)
{
    if (user->line.count + user->later == 0)
        line_empty(&user->line);
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
static struct user *next_user_locked(struct queue *queue, int64_t now)
{
    assert_locked(queue);
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
    return user ? user->line.count + user->later : 0;
}

/* Those whose time has come go to the heads of their lines, the earliest foremost. */
static void move_due_locked(struct queue *queue, int64_t now)
{
    assert_locked(queue);
    size_t all = queue->later_count;
    while (queue->later_count > 0 && queue->later[0].at <= now)
        later_take_locked(queue, 0);
    if (queue->later_count == all)
        return;
    for (size_t i = queue->later_count; i < all; i++) { /* behind the heap, the latest first */
        struct user *user = find_user_locked(queue, queue->later[i].uid);
        assert(user && user->later > 0);
        line_push(&user->line, queue->later[i].row, true);
        user->later--;
    }
    trim_later_locked(queue);
    pthread_cond_broadcast(&queue->changed);
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
    free(queue->later);
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

/* The user, with room in the line for one more. NULL: no memory. */
static struct user *make_room_locked(struct queue *queue, uid_t uid)
{
    struct user *user = get_user_locked(queue, uid);
    if (user && is_idle(user)) /* a record was there for what is booked alone */
        user->turn = ++queue->turns;
    if (!user || line_reserve(&user->line, user->later + 1) == 0)
        return user;
    forget_if_idle_locked(queue, user);
    return NULL;
}

static int push_locked(struct queue *queue, uid_t uid, int64_t row, bool in_front)
{
    assert_locked(queue);
    if (queue->closed)
        return -ESHUTDOWN;
    struct user *user = make_room_locked(queue, uid);
    if (!user)
        return -ENOMEM;
    line_push(&user->line, row, in_front);
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

static int push_later_locked(struct queue *queue, const struct later *later)
{
    assert_locked(queue);
    if (queue->closed)
        return -ESHUTDOWN;
    struct user *user = make_room_locked(queue, later->uid);
    if (!user)
        return -ENOMEM;
    int r = later_add_locked(queue, later);
    if (r < 0) {
        trim_line(user);
        forget_if_idle_locked(queue, user);
        return r;
    }
    user->later++;
    queue->waiting++;
    move_due_locked(queue, queue->clock());
    return 0;
}

int queue_push_later(struct queue *queue, uid_t uid, int64_t row, int64_t at,
                     enum queue_reason reason)
{
    assert(reason < QUEUE_SLOT);
    struct later later = {.at = at, .row = row, .uid = uid, .reason = reason};
    lock(queue);
    int r = push_later_locked(queue, &later);
    unlock(queue);
    return r;
}

static int remove_locked(struct queue *queue, uid_t uid, int64_t row)
{
    struct user *user = find_user_locked(queue, uid);
    if (!user)
        return -ENOENT;
    size_t in_line = line_find(&user->line, row);
    if (in_line < user->line.count) {
        line_remove(&user->line, in_line);
    } else {
        size_t later = later_find_locked(queue, uid, row);
        if (later == queue->later_count)
            return -ENOENT;
        later_take_locked(queue, later);
        trim_later_locked(queue);
        user->later--;
    }
    queue->waiting--;
    trim_line(user);
    forget_if_idle_locked(queue, user);
    return 0;
}

int queue_remove(struct queue *queue, uid_t uid, int64_t row)
{
    lock(queue);
    int r = remove_locked(queue, uid, row);
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
        int64_t now =
            queue->clock(); /* one moment: else a pause may end before what is due moves */
        move_due_locked(queue, now);
        struct user *user = queue->running < queue->slots ? next_user_locked(queue, now) : NULL;
        if (user) {
            user->turn = ++queue->turns;
            user->running++;
            queue->running++;
            queue->waiting--;
            *ret_uid = user->uid;
            *ret_row = line_pop(&user->line);
            trim_line(user);
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

/* Empties the lines in question into `rows`. How many those were. */
static size_t take_lines_locked(struct queue *queue, uid_t uid, int64_t *rows)
{
    size_t taken = 0;
    for (size_t i = queue->user_count; i-- > 0;) { /* downwards: forgetting moves the last */
        struct user *user = &queue->users[i];
        if (uid != QUEUE_EVERYBODY && uid != user->uid)
            continue;
        line_copy(&user->line, rows + taken);
        taken += user->line.count;
        user->later = 0;
        line_empty(&user->line);
        forget_if_idle_locked(queue, user);
    }
    return taken;
}

/* The same with those that wait for their time. What is sorted is a heap too. */
static size_t take_later_locked(struct queue *queue, uid_t uid, int64_t *rows)
{
    size_t taken = 0, kept = 0;
    if (queue->later_count > 0)
        qsort(queue->later, queue->later_count, sizeof(*queue->later), compare_later);
    for (size_t i = 0; i < queue->later_count; i++) {
        if (uid == QUEUE_EVERYBODY || uid == queue->later[i].uid)
            rows[taken++] = queue->later[i].row;
        else
            queue->later[kept++] = queue->later[i];
    }
    queue->later_count = kept;
    trim_later_locked(queue);
    return taken;
}

static int clear_locked(struct queue *queue, uid_t uid, int64_t **ret_rows, size_t *ret_count)
{
    size_t count = length_locked(queue, uid);
    int64_t *rows = NULL;
    if (count > 0) {
        rows = calloc(count, sizeof(*rows));
        if (!rows)
            return -ENOMEM;
        size_t taken = take_lines_locked(queue, uid, rows);
        taken += take_later_locked(queue, uid, rows + taken);
        assert(taken == count);
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
    move_due_locked(queue, now);
    if (queue->later_count > 0)
        next = queue->later[0].at;
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

/* When a user may start again as far as pauses go; 0: nobody knows. */
static int64_t paused_until(const struct pause *own, const struct pause *common, int64_t now)
{
    int64_t until = 0;
    const struct pause *pauses[] = {own, common};
    for (size_t i = 0; i < 2; i++) {
        if (!in_force(pauses[i], now))
            continue;
        if (pauses[i]->until == 0)
            return 0;
        if (pauses[i]->until > until)
            until = pauses[i]->until;
    }
    return until;
}

static int why_locked(struct queue *queue, uid_t uid, int64_t row, enum queue_reason *ret_reason,
                      int64_t *ret_until)
{
    int64_t now = queue->clock();
    const struct user *user = find_user_locked(queue, uid);
    size_t i = later_find_locked(queue, uid, row);
    const struct later *later = i < queue->later_count ? &queue->later[i] : NULL;
    if (!user || (!later && line_find(&user->line, row) == user->line.count))
        return -ENOENT;
    *ret_until = 0;
    if (in_force(&queue->pause, now) || in_force(&user->pause, now)) {
        *ret_reason = QUEUE_PAUSED;
        *ret_until = paused_until(&user->pause, &queue->pause, now);
    } else if (user->held) {
        *ret_reason = QUEUE_STORAGE;
    } else if (later && later->at > now) {
        *ret_reason = later->reason;
        *ret_until = later->at;
    } else {
        *ret_reason = QUEUE_SLOT;
    }
    return 0;
}

int queue_why(struct queue *queue, uid_t uid, int64_t row, enum queue_reason *ret_reason,
              int64_t *ret_until)
{
    lock(queue);
    int r = why_locked(queue, uid, row, ret_reason, ret_until);
    unlock(queue);
    return r;
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

/* Tasks outside. */

static int book_locked(struct queue *queue, uid_t uid, size_t count, size_t max)
{
    assert_locked(queue);
    struct user *user = get_user_locked(queue, uid);
    if (!user)
        return -ENOMEM;
    size_t now = user->line.count + user->later + user->booked;
    bool fits = now <= max && count <= max - now;
    if (fits)
        user->booked += count;
    forget_if_idle_locked(queue, user);
    return fits ? 0 : -EDQUOT;
}

int queue_book(struct queue *queue, uid_t uid, size_t count, size_t max)
{
    assert(count > 0);
    lock(queue);
    int r = book_locked(queue, uid, count, max);
    unlock(queue);
    return r;
}

void queue_unbook(struct queue *queue, uid_t uid, size_t count)
{
    lock(queue);
    struct user *user = find_user_locked(queue, uid);
    if (user) {
        user->booked -= count < user->booked ? count : user->booked;
        forget_if_idle_locked(queue, user);
    }
    unlock(queue);
}
