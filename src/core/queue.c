#include "core/queue.h"

#include <assert.h>
#include <config.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "core/waiting.h"

struct pause {
    bool on;
    int64_t until; /* 0: until resumed */
};

/* A user is kept while anything about them differs from a user never heard of. */
struct user {
    uid_t uid;
    uint32_t line; /* of the waiting tasks */
    size_t booked; /* tasks of theirs that wait outside */
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
    struct waiting waiting;
    unsigned slots;
    unsigned running;
    uint64_t turns;
    bool wants_slot;    /* one is about to be given back */
    struct pause pause; /* everybody's */
    struct helping helping;
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

static struct user *user_of_line_locked(struct queue *queue, uint32_t line)
{
    assert_locked(queue);
    struct user *user = queue->users;
    while (user->line != line)
        user++;
    return user;
}

/* Room for one more. */
static int grow_users_locked(struct queue *queue)
{
    assert_locked(queue);
    if (queue->user_count < queue->user_size)
        return 0;
    size_t size = queue->user_size ? queue->user_size * 2 : 8;
    struct user *users = reallocarray(queue->users, size, sizeof(*users));
    if (!users)
        return -ENOMEM;
    queue->users = users;
    queue->user_size = size;
    return 0;
}

/* Finds a user or makes a record of them; NULL: no memory. */
static struct user *get_user_locked(struct queue *queue, uid_t uid)
{
    struct user *user = find_user_locked(queue, uid);
    if (user)
        return user;
    uint32_t line = grow_users_locked(queue) == 0 ? waiting_open(&queue->waiting) : 0;
    if (!line)
        return NULL;
    user = &queue->users[queue->user_count++];
    *user = (struct user){.uid = uid, .line = line, .turn = ++queue->turns};
    return user;
}

/* Nothing of theirs is here. */
static bool is_idle_locked(struct queue *queue, const struct user *user)
{
    assert_locked(queue);
    return waiting_length(&queue->waiting, user->line) == 0 && user->running == 0 &&
           !user->pause.on && !user->held;
}

/* Drops the record of a user about whom nothing is left to know. */
static void forget_if_idle_locked(struct queue *queue, struct user *user)
{
    assert_locked(queue);
    if (!is_idle_locked(queue, user) || user->booked > 0)
        return;
    waiting_close(&queue->waiting, user->line);
    *user = queue->users[--queue->user_count];
}

static bool in_force(const struct pause *pause, int64_t now)
{
    return pause->on && (pause->until == 0 || now < pause->until);
}

/* By a pause, or by their file system. */
static bool is_kept_locked(struct queue *queue, const struct user *user, int64_t now)
{
    assert_locked(queue);
    return user->held || in_force(&queue->pause, now) || in_force(&user->pause, now);
}

/* Has the user a task that may start, slots apart? Which one? */
static bool may_start_locked(struct queue *queue, const struct user *user, int64_t now,
                             struct waiting_task *ret_task)
{
    return !is_kept_locked(queue, user, now) && waiting_next(&queue->waiting, user->line, ret_task);
}

static bool comes_before(const struct user *one, const struct user *other)
{
    return one->running != other->running ? one->running < other->running : one->turn < other->turn;
}

/* As many as may are at its host, helpers among them. */
static bool is_host_crowded_locked(struct queue *queue, const struct waiting_task *task)
{
    assert_locked(queue);
    return helping_at_host(&queue->helping, task->host) >=
           waiting_room(&queue->waiting, task->host);
}

/* Whose turn it is: the fewest running, then the longest without a turn. `at_once`: of those whose
 * task does not wait for helpers to leave its host. NULL: nobody may. */
static struct user *next_user_locked(struct queue *queue, int64_t now, bool at_once,
                                     struct waiting_task *ret_task)
{
    assert_locked(queue);
    struct user *best = NULL;
    for (size_t i = 0; i < queue->user_count; i++) {
        struct user *user = &queue->users[i];
        struct waiting_task task;
        if (best && !comes_before(user, best))
            continue;
        if (!may_start_locked(queue, user, now, &task) ||
            (at_once && is_host_crowded_locked(queue, &task)))
            continue;
        best = user;
        *ret_task = task;
    }
    return best;
}

/* Helpers. */

/* The hosts that tasks could start at, and how many: those of several users are counted together.
 */
#define NEEDS_MAX 64 /* of more hosts each counts as another one */
struct needs {
    unsigned count;
    struct need {
        uint64_t host;
        unsigned tasks;
    } all[NEEDS_MAX];
};

static struct need *need_at(struct needs *needs, uint64_t host, struct need *otherwise)
{
    for (unsigned i = 0; i < needs->count; i++)
        if (needs->all[i].host == host)
            return &needs->all[i];
    struct need *need = needs->count < NEEDS_MAX ? &needs->all[needs->count++] : otherwise;
    *need = (struct need){.host = host};
    return need;
}

/* So many more could start there: its helpers are asked for what they take of that. How many of
 * them it has room for, when they have left. */
static unsigned ask_at_host_locked(struct queue *queue, struct needs *needs, uint64_t host,
                                   unsigned number, int64_t now)
{
    struct need another, *need = need_at(needs, host, &another);
    unsigned there = helping_at_host(&queue->helping, host);
    unsigned room = waiting_room(&queue->waiting, host), before = need->tasks;
    need->tasks = number < room - before ? before + number : room;
    if (need->tasks + there > room)
        helping_ask_at_host(&queue->helping, host, need->tasks + there - room, now);
    return need->tasks - before;
}

/* As many leave as there are tasks that could start without them, at their host or anywhere. */
static void ask_helpers_locked(struct queue *queue, int64_t now)
{
    assert_locked(queue);
    struct helping *helping = &queue->helping;
    struct waiting_task task;
    struct needs needs;
    unsigned tasks = 0, free = queue->slots > queue->running ? queue->slots - queue->running : 0;
    if (helping->leaving == helping->count)
        return;
    needs.count = 0;
    for (size_t i = 0; i < queue->user_count && tasks < helping->count; i++) {
        const struct user *user = &queue->users[i];
        uint64_t host;
        unsigned number;
        if (!may_start_locked(queue, user, now, &task))
            continue;
        for (uint32_t n = 0; tasks < helping->count &&
                             waiting_ready(&queue->waiting, user->line, n, &host, &number);
             n++)
            tasks += ask_at_host_locked(queue, &needs, host, number, now);
    }
    unsigned busy = helping->count + (tasks < free ? tasks : free);
    if (busy > free)
        helping_ask(helping, busy - free, now);
}

/* How many helpers may be at this host, as far as it and the user go. */
static unsigned room_for_helpers(void *data, uid_t uid, uint64_t host)
{
    struct queue *queue = data;
    int64_t now = queue->clock();
    const struct user *user = find_user_locked(queue, uid);
    if (!user || user->held || in_force(&queue->pause, now) || in_force(&user->pause, now))
        return 0;
    return waiting_room(&queue->waiting, host);
}

static bool find_help_locked(struct queue *queue, int64_t now, struct helping_place *place)
{
    assert_locked(queue);
    unsigned busy = queue->running + queue->helping.count;
    return busy < queue->slots &&
           helping_next(&queue->helping, now, queue->slots - busy, room_for_helpers, queue, place);
}

/* What keeps a task that could start is that helpers are where it wants to be. */
static bool is_crowded_locked(struct queue *queue, const struct waiting_task *task)
{
    assert_locked(queue);
    return queue->running + queue->helping.count >= queue->slots ||
           is_host_crowded_locked(queue, task);
}

static size_t length_locked(struct queue *queue, uid_t uid)
{
    assert_locked(queue);
    if (uid == QUEUE_EVERYBODY)
        return table_count(&queue->waiting.items);
    const struct user *user = find_user_locked(queue, uid);
    return user ? waiting_length(&queue->waiting, user->line) : 0;
}

static void move_due_locked(struct queue *queue, int64_t now)
{
    assert_locked(queue);
    if (!waiting_tick(&queue->waiting, now))
        return;
    pthread_cond_broadcast(&queue->changed);
    ask_helpers_locked(queue, now);
}

/* Making and ending a queue. */

int queue_create(unsigned slots, unsigned host_max, queue_clock clock, struct queue **ret_queue)
{
    struct queue *queue = calloc(1, sizeof(*queue));
    if (!queue)
        return -ENOMEM;
    queue->clock = clock;
    queue->slots = slots;
    waiting_init(&queue->waiting, host_max);
    pthread_mutex_init(&queue->lock, NULL);
    pthread_cond_init(&queue->changed, NULL);
    *ret_queue = queue;
    return 0;
}

void queue_destroy(struct queue *queue)
{
    if (!queue)
        return;
    waiting_release(&queue->waiting);
    helping_release(&queue->helping);
    free(queue->users);
    pthread_cond_destroy(&queue->changed);
    pthread_mutex_destroy(&queue->lock);
    free(queue);
}

void queue_close(struct queue *queue)
{
    lock(queue);
    queue->closed = true;
    helping_ask(&queue->helping, queue->helping.count, queue->clock());
    pthread_cond_broadcast(&queue->changed);
    unlock(queue);
}

/* Tasks come and go. */

/* How a task comes: at the end, at the head, or at a time. */
struct coming {
    bool in_front;
    bool later;
    int64_t at;
    enum queue_reason reason;
};

static int add_locked(struct queue *queue, const struct queue_task *task,
                      const struct coming *coming)
{
    assert_locked(queue);
    struct waiting_task waiting = {.row = task->row,
                                   .host = task->host,
                                   .priority = task->priority,
                                   .given_back = task->given_back};
    struct user *user = queue->closed ? NULL : get_user_locked(queue, task->uid);
    if (!user)
        return queue->closed ? -ESHUTDOWN : -ENOMEM;
    if (is_idle_locked(queue, user)) /* a record was there for what is booked alone */
        user->turn = ++queue->turns;
    int r = coming->later ? waiting_push_later(&queue->waiting, user->line, &waiting, coming->at,
                                               (uint8_t)coming->reason)
                          : waiting_push(&queue->waiting, user->line, &waiting, coming->in_front);
    if (r < 0) {
        forget_if_idle_locked(queue, user);
        return r;
    }
    int64_t now = queue->clock();
    move_due_locked(queue, now);
    if (queue->running < queue->slots && may_start_locked(queue, user, now, &waiting))
        pthread_cond_signal(&queue->changed);
    ask_helpers_locked(queue, now);
    return 0;
}

static int add(struct queue *queue, const struct queue_task *task, const struct coming *coming)
{
    lock(queue);
    int r = add_locked(queue, task, coming);
    unlock(queue);
    return r;
}

int queue_push(struct queue *queue, const struct queue_task *task)
{
    return add(queue, task, &(struct coming){0});
}

int queue_push_front(struct queue *queue, const struct queue_task *task)
{
    return add(queue, task, &(struct coming){.in_front = true});
}

int queue_push_later(struct queue *queue, const struct queue_task *task, int64_t at,
                     enum queue_reason reason)
{
    assert(reason < QUEUE_SLOT);
    return add(queue, task, &(struct coming){.later = true, .at = at, .reason = reason});
}

void queue_shift_starts(struct queue *queue, int64_t by)
{
    lock(queue);
    waiting_shift(&queue->waiting, (uint8_t)QUEUE_START_TIME, by);
    move_due_locked(queue, queue->clock());
    unlock(queue);
}

static int remove_locked(struct queue *queue, int64_t row)
{
    struct waiting_view view;
    int r = waiting_look(&queue->waiting, row, &view);
    if (r < 0)
        return r;
    waiting_remove(&queue->waiting, row);
    forget_if_idle_locked(queue, user_of_line_locked(queue, view.line));
    return 0;
}

int queue_remove(struct queue *queue, int64_t row)
{
    lock(queue);
    int r = remove_locked(queue, row);
    unlock(queue);
    return r;
}

static int take_after_locked(struct queue *queue, int64_t row, struct queue_task *ret_task)
{
    struct waiting_view view;
    if (waiting_look(&queue->waiting, row, &view) < 0 || !view.later || view.why != QUEUE_AFTER)
        return -ENOENT;
    *ret_task = (struct queue_task){.row = row,
                                    .host = view.host,
                                    .uid = user_of_line_locked(queue, view.line)->uid,
                                    .priority = view.priority};
    return remove_locked(queue, row);
}

int queue_take_after(struct queue *queue, int64_t row, struct queue_task *ret_task)
{
    lock(queue);
    int r = take_after_locked(queue, row, ret_task);
    unlock(queue);
    return r;
}

bool queue_has_after(struct queue *queue)
{
    lock(queue);
    bool has = queue->waiting.endless > 0;
    unlock(queue);
    return has;
}

static void start_locked(struct queue *queue, struct user *user, const struct waiting_task *task)
{
    assert_locked(queue);
    waiting_start(&queue->waiting, task->row);
    user->turn = ++queue->turns;
    user->running++;
    queue->running++;
}

static int pop_locked(struct queue *queue, unsigned worker, struct queue_task *ret_task,
                      struct helping_place *place)
{
    for (;;) {
        struct waiting_task task = {0};
        if (queue->closed)
            return -ESHUTDOWN;
        if (worker >= queue->slots) {
            pthread_cond_signal(&queue->changed); /* the wake-up may have been for another */
            return -ECANCELED;
        }
        int64_t now = queue->clock(); /* once: else a pause may end before what is due moves */
        move_due_locked(queue, now);
        struct user *user = NULL;
        if (queue->running < queue->slots)
            user = next_user_locked(queue, now, false, &task);
        bool is_kept = user && is_crowded_locked(queue, &task);
        if (is_kept) {
            ask_helpers_locked(queue, now);
            user = next_user_locked(queue, now, true, &task);
            is_kept = !user || is_crowded_locked(queue, &task);
        }
        if (user && !is_kept) {
            start_locked(queue, user, &task);
            *ret_task = (struct queue_task){.row = task.row,
                                            .host = task.host,
                                            .uid = user->uid,
                                            .priority = task.priority,
                                            .given_back = task.given_back,
                                            .out_of_turn = task.out_of_turn};
            return 0;
        }
        struct helping_place found;
        if (!is_kept && place && find_help_locked(queue, now, &found)) {
            *place = found;
            helping_enter(&queue->helping, place);
            return QUEUE_HELP;
        }
        wait_locked(queue);
    }
}

int queue_pop(struct queue *queue, unsigned worker, struct queue_task *ret_task)
{
    lock(queue);
    int r = pop_locked(queue, worker, ret_task, NULL);
    unlock(queue);
    return r;
}

/* The most that any user runs. */
static unsigned most_running_locked(struct queue *queue)
{
    assert_locked(queue);
    unsigned most = 0;
    for (size_t i = 0; i < queue->user_count; i++)
        if (queue->users[i].running > most)
            most = queue->users[i].running;
    return most;
}

/* Who has so many gives one to who has so many, and has none the fewer for it. */
static bool has_to_share(unsigned has, unsigned other, unsigned most)
{
    return has >= other + 2 || (other == 0 && has == most);
}

/* The same for the places at a host. Whoever comes next there must come before this one, who would
 * only get it back. */
static bool wants_place_locked(struct queue *queue, const struct user *user, uint64_t host,
                               int64_t now)
{
    assert_locked(queue);
    if (queue->running > queue->slots || !waiting_is_full(&queue->waiting, host))
        return false;
    const struct user *next = NULL;
    unsigned most = 0, nexts = 0;
    bool waits;
    for (size_t i = 0; i < queue->user_count; i++) {
        const struct user *other = &queue->users[i];
        unsigned there = waiting_at_host(&queue->waiting, other->line, host, &waits);
        if (there > most)
            most = there;
        if (!waits || is_kept_locked(queue, other, now) || other->running >= user->running)
            continue;
        if (next && !comes_before(other, next))
            continue;
        next = other;
        nexts = there;
    }
    return next &&
           has_to_share(waiting_at_host(&queue->waiting, user->line, host, &waits), nexts, most);
}

static bool wants_slot_locked(struct queue *queue, const struct queue_task *from)
{
    struct waiting_task task;
    if (queue->closed || queue->wants_slot || queue->slots == 0)
        return false;
    int64_t now = queue->clock();
    const struct user *user = find_user_locked(queue, from->uid), *next = NULL;
    if (user && queue->running >= queue->slots)
        next = next_user_locked(queue, now, false, &task);
    if (next && next != user)
        return has_to_share(user->running, next->running, most_running_locked(queue));
    return user && wants_place_locked(queue, user, from->host, now);
}

bool queue_wants_slot(struct queue *queue, const struct queue_task *from)
{
    lock(queue);
    bool wanted = wants_slot_locked(queue, from);
    queue->wants_slot = queue->wants_slot || wanted;
    unlock(queue);
    return wanted;
}

int queue_pop_or_help(struct queue *queue, unsigned worker, struct queue_task *ret_task,
                      struct helping_place *place)
{
    lock(queue);
    int r = pop_locked(queue, worker, ret_task, place);
    unlock(queue);
    return r;
}

bool queue_end_help(struct queue *queue, struct helping_place *place)
{
    lock(queue);
    int64_t now = queue->clock();
    helping_leave(&queue->helping, place, now);
    bool waits = helping_next_time(&queue->helping, now) != 0;
    pthread_cond_signal(&queue->changed);
    unlock(queue);
    return waits;
}

int queue_offer_help(struct queue *queue, const struct helping_wish *wish)
{
    struct helping_place place;
    lock(queue);
    int r = helping_offer(&queue->helping, wish);
    if (r == 0 && wish->wanted > 0 && find_help_locked(queue, queue->clock(), &place))
        for (unsigned i = 0; i < place.hands; i++)
            pthread_cond_signal(&queue->changed);
    unlock(queue);
    return r;
}

void queue_withdraw_help(struct queue *queue, int64_t row)
{
    lock(queue);
    helping_withdraw(&queue->helping, row);
    unlock(queue);
}

void queue_spare_host(struct queue *queue, uint64_t host, int64_t until)
{
    lock(queue);
    helping_spare_host(&queue->helping, host, until);
    unlock(queue);
}

unsigned queue_helpers(struct queue *queue)
{
    lock(queue);
    unsigned helpers = queue->helping.count;
    unlock(queue);
    return helpers;
}

void queue_release(struct queue *queue, const struct queue_task *task)
{
    lock(queue);
    struct user *user = find_user_locked(queue, task->uid);
    assert(user && user->running > 0 && queue->running > 0);
    user->turn = ++queue->turns;
    user->running--;
    queue->running--;
    queue->wants_slot = false;
    waiting_end(&queue->waiting, user->line, task->host);
    forget_if_idle_locked(queue, user);
    ask_helpers_locked(queue, queue->clock()); /* its host may take another now */
    if (length_locked(queue, QUEUE_EVERYBODY) > 0 || queue->helping.offers)
        pthread_cond_signal(&queue->changed);
    unlock(queue);
}

static void forget_idle_users_locked(struct queue *queue)
{
    for (size_t i = queue->user_count; i-- > 0;) /* downwards: forgetting moves the last */
        forget_if_idle_locked(queue, &queue->users[i]);
}

static int clear_locked(struct queue *queue, uid_t uid, int64_t **ret_rows, size_t *ret_count)
{
    size_t count = length_locked(queue, uid);
    int64_t *rows = NULL;
    if (count > 0) {
        rows = calloc(count, sizeof(*rows));
        if (!rows)
            return -ENOMEM;
        uint32_t line = uid == QUEUE_EVERYBODY ? 0 : find_user_locked(queue, uid)->line;
        size_t taken = waiting_clear(&queue->waiting, line, rows);
        assert(taken == count);
        (void)taken;
        forget_idle_users_locked(queue);
    }
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
        ask_helpers_locked(queue, queue->clock());
        pthread_cond_broadcast(&queue->changed);
    }
    unlock(queue);
    return was_on;
}

void queue_pauses(struct queue *queue, uid_t uid, struct queue_pauses *ret_pauses)
{
    lock(queue);
    int64_t now = queue->clock();
    const struct user *user = find_user_locked(queue, uid);
    bool own = user && in_force(&user->pause, now), all = in_force(&queue->pause, now);
    *ret_pauses = (struct queue_pauses){.own = own,
                                        .all = all,
                                        .own_until = own ? user->pause.until : 0,
                                        .all_until = all ? queue->pause.until : 0};
    unlock(queue);
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
    int64_t now = queue->clock();
    move_due_locked(queue, now);
    int64_t next = waiting_next_time(&queue->waiting);
    tick_pause(&queue->pause, now, &next);
    for (size_t i = 0; i < queue->user_count; i++)
        tick_pause(&queue->users[i].pause, now, &next);
    forget_idle_users_locked(queue);
    ask_helpers_locked(queue, now); /* the end of a pause is nobody's push */
    int64_t help = helping_next_time(&queue->helping, now);
    pthread_cond_broadcast(&queue->changed);
    unlock(queue);
    return next == 0 || (help != 0 && help < next) ? help : next;
}

int queue_hold(struct queue *queue, uid_t uid, enum queue_hold_reason reason, bool on)
{
    int r = 0;
    lock(queue);
    struct user *user = on ? get_user_locked(queue, uid) : find_user_locked(queue, uid);
    if (user) {
        user->held = on ? user->held | reason : user->held & ~(unsigned)reason;
        forget_if_idle_locked(queue, user);
        ask_helpers_locked(queue, queue->clock());
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

static int why_locked(struct queue *queue, int64_t row, enum queue_reason *ret_reason,
                      int64_t *ret_until)
{
    int64_t now = queue->clock();
    struct waiting_view view;
    if (waiting_look(&queue->waiting, row, &view) < 0)
        return -ENOENT;
    const struct user *user = user_of_line_locked(queue, view.line);
    *ret_until = 0;
    if (in_force(&queue->pause, now) || in_force(&user->pause, now)) {
        *ret_reason = QUEUE_PAUSED;
        *ret_until = paused_until(&user->pause, &queue->pause, now);
    } else if (user->held) {
        *ret_reason = QUEUE_STORAGE;
    } else if (view.later && view.at > now) {
        *ret_reason = (enum queue_reason)view.why;
        *ret_until = view.at == QUEUE_NEVER ? 0 : view.at;
    } else if (view.host_at > now) {
        *ret_reason = QUEUE_HOST;
        *ret_until = view.host_at;
    } else {
        *ret_reason = view.host_busy ? QUEUE_HOST : QUEUE_SLOT;
    }
    return 0;
}

int queue_why(struct queue *queue, int64_t row, enum queue_reason *ret_reason, int64_t *ret_until)
{
    lock(queue);
    int r = why_locked(queue, row, ret_reason, ret_until);
    unlock(queue);
    return r;
}

int queue_lead(struct queue *queue, uid_t uid, int otherwise)
{
    struct waiting_task first;
    lock(queue);
    const struct user *user = find_user_locked(queue, uid);
    bool found = user && waiting_next(&queue->waiting, user->line, &first);
    unlock(queue);
    return found ? first.priority : otherwise;
}

unsigned queue_position(struct queue *queue, int64_t row, int64_t *far)
{
    static_assert(QUEUE_POSITION_MAX == WAITING_POSITION_MAX, "handed through");
    lock(queue);
    move_due_locked(queue, queue->clock());
    unsigned position = waiting_position(&queue->waiting, row, far);
    unlock(queue);
    return position;
}

int queue_hold_host(struct queue *queue, uint64_t host, int64_t until)
{
    lock(queue);
    int r = waiting_hold_host(&queue->waiting, host, until);
    unlock(queue);
    return r;
}

void queue_set_host_max(struct queue *queue, unsigned host_max)
{
    lock(queue);
    waiting_set_host_max(&queue->waiting, host_max);
    for (struct helping_place *each = queue->helping.places; each; each = each->next) {
        unsigned there = helping_at_host(&queue->helping, each->host);
        unsigned room = waiting_room(&queue->waiting, each->host);
        if (there > room)
            helping_ask_at_host(&queue->helping, each->host, there - room, queue->clock());
    }
    ask_helpers_locked(queue, queue->clock());
    pthread_cond_broadcast(&queue->changed);
    unlock(queue);
}

/* Numbers. */

void queue_set_slots(struct queue *queue, unsigned slots)
{
    lock(queue);
    queue->slots = slots;
    ask_helpers_locked(queue, queue->clock());
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

size_t queue_bytes(struct queue *queue)
{
    lock(queue);
    size_t bytes = waiting_bytes(&queue->waiting) + queue->user_size * sizeof(*queue->users);
    unlock(queue);
    return bytes;
}

/* Tasks outside. */

static int book_locked(struct queue *queue, uid_t uid, size_t count, size_t max)
{
    assert_locked(queue);
    struct user *user = get_user_locked(queue, uid);
    if (!user)
        return -ENOMEM;
    size_t now = waiting_length(&queue->waiting, user->line) + user->booked;
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
