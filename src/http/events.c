#include "http/events.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "common/buf.h"
#include "common/cleanup.h"
#include "common/units.h"
#include "http/ring.h"
#include "http/task_json.h"

#define EVENTS_MAX     16384
#define BYTES_MAX      ((size_t)8 << 20)
#define KEPT_MS        60000 /* after the last listener went, who may come again */
#define PROGRESS_EVERY 1000  /* ms */
#define COUNTS_EVERY   1000 /* ms, and so many times as long as it takes to count a user's tasks: */
#define COUNTING_TIMES 20
#define BEAT_EVERY     15000 /* ms */
#define JUDGED_FOR     30000 /* ms; with a beat, a lost right is noticed within 60 s */
#define FIRST_LINE     "retry: 3000"
#define NEVER          INT64_MAX

struct events {
    /* immutable */
    struct manager *manager;
    pthread_t thread;
    bool has_thread;

    /* protected by readers_lock, which is taken before `lock` */
    pthread_mutex_t readers_lock;
    struct reader *readers;

    /* protected by lock */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct ring *ring;
    unsigned listeners;
    struct user *users;   /* those of the listeners */
    int64_t record_until; /* while nobody listens; this and the following: boot time */
    int64_t progress_at;  /* NEVER: nothing runs */
    int64_t progress_was_at;
    int64_t counts_at; /* NEVER: they have not changed */
    int64_t counts_were_at;
    int64_t beat_at;
    uint64_t counts_version; /* a listener that has seen another gets them */
    bool news;               /* in the ring, for the thread to wake listeners */
    bool judges;             /* whether they may still listen */
    bool closing;
};

/* Somebody who listens, perhaps several times. Protected by lock. */
struct user {
    struct user *next;
    uid_t uid;
    unsigned readers;
    uint64_t own[TASK_STATES]; /* tasks by state ... */
    bool counted;              /* ... once they were counted ... */
    bool stale;                /* ... and have not changed since */
    int64_t count_at;          /* boot time: not before */
};

/* One connection that listens. */
struct reader {
    /* immutable */
    struct events *events;
    struct stream *stream;
    struct auth *auth;
    uid_t uid, scope;
    char (*ids)[API_ID_LENGTH + 1];
    size_t id_count;

    /* protected by readers_lock */
    struct reader *next, **link;

    /* protected by lock */
    struct user *user;
    uint64_t place, replayed; /* before `replayed` is what it gets late */
    struct event *current;    /* that is being sent, or NULL ... */
    size_t offset;            /* ... up to here */
    bool missed, beat;
    bool over;
    uint64_t counts_seen;
};

/* --- what there is to tell --- */

static bool is_recording_locked(const struct events *events, int64_t now)
{
    return events->listeners > 0 || now < events->record_until;
}

/* NULL: no memory, so that everybody has missed something. */
static void put_locked(struct events *events, struct event *event)
{
    if (event)
        ring_put(events->ring, event);
    else
        ring_clear(events->ring);
    events->news = true;
}

/* The counts have changed, of this user's tasks, or of all users'. */
static void count_locked(struct events *events, uid_t uid, int64_t now)
{
    int64_t soonest = events->counts_were_at + COUNTS_EVERY;
    if (events->counts_at == NEVER)
        events->counts_at = now > soonest ? now : soonest;
    for (struct user *user = events->users; user; user = user->next)
        user->stale = user->stale || user->uid == uid || uid == MANAGER_EVERYBODY;
}

static void see_progress_locked(struct events *events, int64_t now)
{
    int64_t soonest = events->progress_was_at + PROGRESS_EVERY;
    if (events->progress_at == NEVER)
        events->progress_at = now > soonest ? now : soonest;
}

/* False: nobody wants to know, and the manager is told so. */
static bool is_wanted(struct events *events)
{
    pthread_mutex_lock(&events->lock);
    bool wanted = is_recording_locked(events, units_now_boottime());
    if (!wanted) {
        ring_clear(events->ring);
        manager_watch(events->manager, false);
    }
    pthread_mutex_unlock(&events->lock);
    return wanted;
}

static struct event *task_event(const struct manager_view *view)
{
    _cleanup_free_ char *to_owner = task_json(view, true);
    _cleanup_free_ char *to_others = task_json(view, false);
    if (!to_owner || !to_others)
        return NULL;
    if (strcmp(to_owner, to_others) == 0)
        free(TAKE_PTR(to_others));
    return event_create("task", view->task->uid, view->task->id, TAKE_PTR(to_owner),
                        TAKE_PTR(to_others));
}

static void on_task(void *data, const struct manager_view *view)
{
    struct events *events = data;
    if (!is_wanted(events))
        return;
    struct event *event = task_event(view);
    int64_t now = units_now_boottime();
    pthread_mutex_lock(&events->lock);
    put_locked(events, event);
    count_locked(events, view->task->uid, now);
    if (view->task->state == TASK_DOWNLOADING)
        see_progress_locked(events, now + PROGRESS_EVERY);
    pthread_cond_signal(&events->changed);
    pthread_mutex_unlock(&events->lock);
}

static void on_many(void *data, uid_t scope)
{
    struct events *events = data;
    if (!is_wanted(events))
        return;
    struct event *event = event_create("reset", scope, "", strdup("{}"), NULL);
    pthread_mutex_lock(&events->lock);
    put_locked(events, event);
    count_locked(events, scope, units_now_boottime());
    pthread_cond_signal(&events->changed);
    pthread_mutex_unlock(&events->lock);
}

struct manager_events events_of_manager(struct events *events)
{
    return (struct manager_events){.on_task = on_task, .on_many = on_many, .data = events};
}

/* --- progress --- */

static struct event *progress_event(const struct manager_running *running)
{
    _cleanup_(buf_release) struct buf buf;
    int64_t total = running->bytes_total, rate = running->bytes_per_second;
    int64_t left = total > running->bytes_done ? total - running->bytes_done : 0;
    buf_init(&buf, 512);
    buf_printf(&buf, "{\"id\": \"%s\", \"bytes_done\": %lld, \"bytes_total\": ", running->id,
               (long long)running->bytes_done);
    if (total >= 0)
        buf_printf(&buf, "%lld", (long long)total);
    else
        buf_add_string(&buf, "null");
    buf_printf(&buf, ", \"bytes_per_second\": %lld, \"eta_seconds\": ", (long long)rate);
    if (total >= 0 && rate > 0)
        buf_printf(&buf, "%lld", (long long)(left / rate + (left % rate > 0)));
    else
        buf_add_string(&buf, "null");
    buf_printf(&buf, ", \"ranges\": %d}", running->ranges);
    struct event *event = event_create("progress", running->uid, running->id, buf_take(&buf), NULL);
    if (event)
        event->passing = true;
    return event;
}

struct snapshot {
    struct event **events;
    size_t count, size;
};

static void see_running(void *data, const struct manager_running *running)
{
    struct snapshot *snapshot = data;
    if (snapshot->count == snapshot->size) {
        size_t size = snapshot->size ? snapshot->size * 2 : 16;
        struct event **grown = reallocarray(snapshot->events, size, sizeof(*grown));
        if (!grown)
            return;
        snapshot->events = grown;
        snapshot->size = size;
    }
    struct event *event = progress_event(running);
    if (event) /* without memory there is none this time */
        snapshot->events[snapshot->count++] = event;
}

static void tell_progress(struct events *events, int64_t now)
{
    struct snapshot snapshot = {0};
    manager_each_running(events->manager, see_running, &snapshot);
    pthread_mutex_lock(&events->lock);
    events->progress_was_at = now;
    events->progress_at = snapshot.count > 0 ? now + PROGRESS_EVERY : NEVER;
    for (size_t i = 0; i < snapshot.count; i++)
        put_locked(events, snapshot.events[i]);
    pthread_mutex_unlock(&events->lock);
    free(snapshot.events);
}

/* --- counts --- */

static void add_counts(struct buf *buf, const uint64_t counts[static TASK_STATES])
{
    for (int state = 0; state < TASK_STATES; state++)
        buf_printf(buf, "%s\"%s\": %llu", state ? ", " : "{", task_state_name(state),
                   (unsigned long long)counts[state]);
    buf_add_char(buf, '}');
}

static struct event *counts_event(const struct events *events, const struct user *user)
{
    struct stats_snapshot snapshot;
    _cleanup_(buf_release) struct buf buf;
    buf_init(&buf, 2048);
    manager_stats(events->manager, &snapshot);
    buf_add_string(&buf, "{\"own\": ");
    add_counts(&buf, user->own);
    buf_add_string(&buf, ", \"all\": ");
    add_counts(&buf, snapshot.tasks);
    buf_add_char(&buf, '}');
    return event_create("stats", RING_EVERYBODY, "", buf_take(&buf), NULL);
}

static struct user *find_user_locked(const struct events *events, uid_t uid)
{
    struct user *user = events->users;
    while (user && user->uid != uid)
        user = user->next;
    return user;
}

/* The next one whose tasks are to be counted, and at what time, NEVER: there is none. */
static struct user *next_to_count_locked(const struct events *events, int64_t *ret_at)
{
    struct user *next = NULL;
    *ret_at = NEVER;
    for (struct user *user = events->users; user; user = user->next) {
        if (!user->stale || user->count_at >= *ret_at)
            continue;
        next = user;
        *ret_at = user->count_at;
    }
    return next;
}

/* Once that is in the store: see the one whose turn it is, without the lock. */
static void count_one_locked(struct events *events, struct user *user)
{
    uid_t uid = user->uid;
    uint64_t own[TASK_STATES];
    user->stale = false;
    pthread_mutex_unlock(&events->lock);
    int64_t begin = units_now_boottime();
    int error = manager_count_own(events->manager, uid, own);
    int64_t end = units_now_boottime();
    pthread_mutex_lock(&events->lock);
    user = find_user_locked(events, uid); /* who may have gone, and come again */
    if (!user)
        return;
    user->count_at = end + COUNTS_EVERY + (end - begin) * COUNTING_TIMES;
    user->stale = user->stale || error;
    if (error) /* it is tried again */
        count_locked(events, uid, end);
    user->counted = user->counted || !error;
    if (!error)
        memcpy(user->own, own, sizeof own);
}

/* Those of who has just come. */
static void count_new_users_locked(struct events *events)
{
    for (;;) {
        struct user *user = events->users;
        while (user && (user->counted || user->count_at > 0))
            user = user->next;
        if (!user)
            return;
        count_one_locked(events, user);
    }
}

/* Those that are due; then everybody gets them, with all users' counts. */
static void count_users_locked(struct events *events, int64_t now)
{
    int64_t at;
    for (struct user *user; (user = next_to_count_locked(events, &at)) && at <= now;)
        count_one_locked(events, user);
    events->counts_version++;
    events->counts_were_at = now;
    events->counts_at = NEVER;
    if (next_to_count_locked(events, &at))
        events->counts_at = at > now + COUNTS_EVERY ? at : now + COUNTS_EVERY;
}

/* --- reading --- */

static bool has_id(const struct reader *reader, const char *id)
{
    for (size_t i = 0; i < reader->id_count; i++)
        if (strncmp(id, reader->ids[i], strlen(reader->ids[i])) == 0)
            return true;
    return reader->id_count == 0;
}

static bool wants(const void *data, const struct event *event)
{
    const struct reader *reader = data;
    if (event->passing && event->number < reader->replayed)
        return false;
    if (event->uid != RING_EVERYBODY && reader->scope != MANAGER_EVERYBODY &&
        event->uid != reader->scope)
        return false;
    return !*event->id || has_id(reader, event->id);
}

static bool wants_counts_locked(const struct reader *reader)
{
    return reader->counts_seen != reader->events->counts_version && reader->user->counted;
}

/* Whether there is something to send. */
static bool look_locked(struct reader *reader)
{
    struct events *events = reader->events;
    enum ring_look look = ring_look(events->ring, &reader->place, wants, reader);
    reader->missed = reader->missed || look == RING_MISSED;
    return reader->over || reader->current || reader->missed || look == RING_EVENT ||
           reader->beat || wants_counts_locked(reader);
}

/* What the listener gets in between the events of the ring; NULL: no memory. */
static struct event *own_event_locked(struct reader *reader)
{
    struct events *events = reader->events;
    struct event *event;
    if (reader->missed) {
        event = event_create("reset", RING_EVERYBODY, "", strdup("{}"), NULL);
        reader->missed = false;
    } else if (wants_counts_locked(reader)) {
        event = counts_event(events, reader->user);
        reader->counts_seen = events->counts_version;
    } else {
        return event_line(":");
    }
    if (event)
        ring_number(events->ring, event, reader->place);
    return event;
}

/* 0, -EAGAIN: there is nothing to send, or -ENOMEM. */
static int take_locked(struct reader *reader)
{
    struct events *events = reader->events;
    if (!look_locked(reader))
        return -EAGAIN;
    reader->offset = 0;
    enum ring_look look = ring_look(events->ring, &reader->place, wants, reader);
    if (!reader->missed && look == RING_EVENT)
        reader->current = event_ref(ring_at(events->ring, reader->place++));
    else
        reader->current = own_event_locked(reader);
    reader->beat = false;
    return reader->current ? 0 : -ENOMEM;
}

static size_t send_locked(struct reader *reader, char *to, size_t max)
{
    const struct event *event = reader->current;
    size_t n = event_copy(event, event->uid == reader->uid, reader->offset, to, max);
    reader->offset += n;
    if (n < max) {
        event_unref(reader->current);
        reader->current = NULL;
    }
    return n;
}

/* A stream_source's. */
static ssize_t read_events(void *data, char *to, size_t max)
{
    struct reader *reader = data;
    size_t filled = 0;
    int error = 0;
    pthread_mutex_lock(&reader->events->lock);
    while (filled < max && !error && !reader->over) {
        if (!reader->current)
            error = take_locked(reader);
        if (!error)
            filled += send_locked(reader, to + filled, max - filled);
    }
    pthread_mutex_unlock(&reader->events->lock);
    return filled ? (ssize_t)filled : error;
}

static void probe(void *data)
{
    struct reader *reader = data;
    pthread_mutex_lock(&reader->events->lock);
    reader->beat = true;
    pthread_mutex_unlock(&reader->events->lock);
}

/* --- coming and going --- */

/* NULL: no memory. */
static struct user *join_user_locked(struct events *events, uid_t uid)
{
    struct user *user = find_user_locked(events, uid);
    if (!user)
        user = calloc(1, sizeof *user);
    if (!user)
        return NULL;
    if (user->readers++ > 0)
        return user;
    user->uid = uid;
    user->stale = true;
    user->next = events->users;
    events->users = user;
    return user;
}

static void leave_user_locked(struct events *events, struct user *user)
{
    if (--user->readers > 0)
        return;
    struct user **link = &events->users;
    while (*link != user)
        link = &(*link)->next;
    *link = user->next;
    free(user);
}

static void reader_free(struct reader *reader)
{
    event_unref(reader->current);
    free(reader->ids);
    free(reader);
}

static void leave(void *data)
{
    struct reader *reader = data;
    struct events *events = reader->events;
    pthread_mutex_lock(&events->readers_lock);
    *reader->link = reader->next;
    if (reader->next)
        reader->next->link = reader->link;
    pthread_mutex_unlock(&events->readers_lock);
    pthread_mutex_lock(&events->lock);
    events->listeners--;
    events->record_until = units_now_boottime() + KEPT_MS;
    event_unref(TAKE_PTR(reader->current)); /* shared with others */
    leave_user_locked(events, reader->user);
    pthread_mutex_unlock(&events->lock);
    reader_free(reader);
}

/* One that has not begun. */
static void discard(struct reader *reader)
{
    struct events *events = reader->events;
    pthread_mutex_lock(&events->lock);
    if (reader->user)
        leave_user_locked(events, reader->user);
    pthread_mutex_unlock(&events->lock);
    reader_free(reader);
}

static struct reader *reader_create(struct events *events, const struct http_request *request,
                                    const struct events_wish *wish)
{
    struct reader *reader = calloc(1, sizeof *reader);
    if (!reader)
        return NULL;
    reader->events = events;
    reader->auth = wish->auth;
    reader->uid = http_request_caller(request)->uid;
    reader->scope = wish->scope;
    reader->ids = calloc(wish->id_count + 1, sizeof *reader->ids);
    reader->current = event_line(FIRST_LINE);
    pthread_mutex_lock(&events->lock);
    reader->user = join_user_locked(events, reader->uid);
    pthread_mutex_unlock(&events->lock);
    if (!reader->ids || !reader->current || !reader->user) {
        discard(reader);
        return NULL;
    }
    for (; reader->id_count < wish->id_count; reader->id_count++)
        snprintf(reader->ids[reader->id_count], sizeof *reader->ids, "%s",
                 wish->ids[reader->id_count]);
    return reader;
}

/* What happened when nobody recorded it is missing. */
static void record_locked(struct events *events, int64_t now)
{
    if (!is_recording_locked(events, now))
        ring_clear(events->ring);
    if (events->listeners++ == 0)
        events->beat_at = now + BEAT_EVERY;
    manager_watch(events->manager, true);
}

static void begin_locked(struct reader *reader, const char *last_id)
{
    struct events *events = reader->events;
    int64_t now = units_now_boottime();
    record_locked(events, now);
    reader->replayed = ring_end(events->ring);
    reader->place = last_id ? ring_place(events->ring, last_id) : reader->replayed;
    reader->counts_seen = events->counts_version - 1;
    see_progress_locked(events, now);
    events->news = true;
    pthread_cond_signal(&events->changed);
}

static void enter(struct reader *reader, const char *last_id)
{
    struct events *events = reader->events;
    pthread_mutex_lock(&events->readers_lock);
    reader->next = events->readers;
    reader->link = &events->readers;
    if (reader->next)
        reader->next->link = &reader->next;
    events->readers = reader;
    pthread_mutex_lock(&events->lock);
    begin_locked(reader, last_id);
    pthread_mutex_unlock(&events->lock);
    pthread_mutex_unlock(&events->readers_lock);
}

int events_listen(struct events *events, struct http_request *request,
                  const struct events_wish *wish)
{
    struct reader *reader = reader_create(events, request, wish);
    if (!reader)
        return -ENOMEM;
    struct stream_source source = {
        .read = read_events, .probe = probe, .close = leave, .data = reader};
    reader->stream = http_answer_stream(request, EVENTS_TYPE, &source);
    if (!reader->stream) {
        discard(reader);
        return -ENOMEM;
    }
    enter(reader, wish->last_id); /* nothing is read before the handler has returned */
    return 0;
}

unsigned events_listeners(struct events *events)
{
    pthread_mutex_lock(&events->lock);
    unsigned listeners = events->listeners;
    pthread_mutex_unlock(&events->lock);
    return listeners;
}

/* --- the thread --- */

static void on_looked_up(void *data)
{
    struct events *events = data;
    pthread_mutex_lock(&events->lock);
    events->news = events->judges = true;
    pthread_cond_signal(&events->changed);
    pthread_mutex_unlock(&events->lock);
}

/* A right may be lost while somebody listens. What has to be looked up is judged another time. */
static bool may_still_listen(struct reader *reader)
{
    struct caller caller;
    enum auth_result result =
        auth_recall(reader->auth, reader->uid, JUDGED_FOR, &caller, on_looked_up, reader->events);
    if (result != AUTH_OK)
        return result == AUTH_LOOKING;
    return reader->scope != MANAGER_EVERYBODY || caller.is_operator;
}

/* Wakes those that have something to read. The lock keeps them here. */
static void wake_readers(struct events *events, bool beat, bool judge)
{
    pthread_mutex_lock(&events->readers_lock);
    for (struct reader *reader = events->readers; reader; reader = reader->next) {
        bool over = judge && !may_still_listen(reader);
        pthread_mutex_lock(&events->lock);
        reader->over = reader->over || over;
        reader->beat = reader->beat || beat;
        bool ready = look_locked(reader);
        pthread_mutex_unlock(&events->lock);
        if (ready)
            stream_wake(reader->stream);
    }
    pthread_mutex_unlock(&events->readers_lock);
}

static int64_t earlier(int64_t one, int64_t other)
{
    return one < other ? one : other;
}

/* False: it is over. */
static bool wait_locked(struct events *events)
{
    while (!events->closing && !events->news) {
        if (events->listeners == 0) {
            pthread_cond_wait(&events->changed, &events->lock);
            continue;
        }
        int64_t next = earlier(events->beat_at, earlier(events->progress_at, events->counts_at));
        int64_t left = next - units_now_boottime();
        if (left <= 0)
            break;
        struct timespec end = units_monotonic_in(left);
        pthread_cond_timedwait(&events->changed, &events->lock, &end);
    }
    return !events->closing;
}

static void *run(void *data)
{
    struct events *events = data;
    pthread_mutex_lock(&events->lock);
    while (wait_locked(events)) {
        int64_t now = units_now_boottime();
        bool beats = now >= events->beat_at, runs = now >= events->progress_at;
        bool judges = beats || events->judges;
        events->news = events->judges = false;
        if (beats)
            events->beat_at = now + BEAT_EVERY;
        count_new_users_locked(events);
        if (now >= events->counts_at)
            count_users_locked(events, now);
        pthread_mutex_unlock(&events->lock);
        if (runs)
            tell_progress(events, now);
        wake_readers(events, beats, judges);
        pthread_mutex_lock(&events->lock);
    }
    pthread_mutex_unlock(&events->lock);
    return NULL;
}

/* --- life --- */

static int create_ring(struct events *events)
{
    uint32_t random = 0;
    char token[16];
    if (getrandom(&random, sizeof random, 0) < 0)
        random = (uint32_t)units_now_realtime();
    snprintf(token, sizeof token, "%08x", random);
    return ring_create(EVENTS_MAX, BYTES_MAX, token, &events->ring);
}

int events_create(struct events **ret_events)
{
    struct events *events = calloc(1, sizeof *events);
    int error = events ? create_ring(events) : -ENOMEM;
    if (error) {
        free(events);
        return error;
    }
    units_condition_init(&events->changed);
    pthread_mutex_init(&events->lock, NULL);
    pthread_mutex_init(&events->readers_lock, NULL);
    events->progress_at = events->counts_at = NEVER;
    *ret_events = events;
    return 0;
}

int events_start(struct events *events, struct manager *manager)
{
    events->manager = manager;
    int error = -pthread_create(&events->thread, NULL, run, events);
    events->has_thread = !error;
    return error;
}

void events_stop(struct events *events)
{
    if (!events || !events->has_thread)
        return;
    pthread_mutex_lock(&events->lock);
    events->closing = true;
    pthread_cond_signal(&events->changed);
    pthread_mutex_unlock(&events->lock);
    pthread_join(events->thread, NULL);
    events->has_thread = false;
}

void events_destroy(struct events *events)
{
    if (!events)
        return;
    events_stop(events);
    ring_destroy(events->ring);
    pthread_cond_destroy(&events->changed);
    pthread_mutex_destroy(&events->lock);
    pthread_mutex_destroy(&events->readers_lock);
    free(events);
}
