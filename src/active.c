#include "active.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"

struct active_entry {
    /* immutable */
    int64_t row;
    uid_t uid;
    char id[API_ID_LENGTH + 1];
    char *url;

    atomic_int wish, http_status;
    _Atomic int64_t bytes_done, bytes_per_second, bytes_total;
    atomic_uint ranges;
    atomic_bool broken;
    _Atomic uint64_t version;
    struct ratelimit limit;
    atomic_int max_ranges, priority;

    /* protected by lock */
    struct active_entry *next;
    struct active_entry **link; /* what points to it */
    enum task_state state;
    bool decided; /* it is ending: too late for wishes */
    bool changed; /* people have set the limits */
    struct active_waiter *waiters;
    struct team *team; /* or NULL */
    bool has_durable;  /* nobody has taken it yet */
    int64_t durable;
    char *durable_ranges;
};

static _Atomic uint64_t versions; /* no two entries have the same */

struct active {
    pthread_mutex_t lock;
    /* protected by lock */
    struct active_entry *entries;
};

int active_create(struct active **ret_active)
{
    struct active *active = calloc(1, sizeof *active);
    if (!active)
        return -ENOMEM;
    pthread_mutex_init(&active->lock, NULL);
    *ret_active = active;
    return 0;
}

void active_destroy(struct active *active)
{
    if (!active)
        return;
    assert(!active->entries);
    pthread_mutex_destroy(&active->lock);
    free(active);
}

static struct active_entry *find_locked(struct active *active, int64_t row)
{
    struct active_entry *entry = active->entries;
    while (entry && entry->row != row)
        entry = entry->next;
    return entry;
}

int active_enter(struct active *active, const struct task *task, enum task_state state,
                 struct active_entry **ret_entry)
{
    struct active_entry *entry = calloc(1, sizeof *entry);
    char *url = strdup(task->url);
    if (!entry || !url) {
        free(entry);
        free(url);
        return -ENOMEM;
    }
    entry->row = task->row;
    entry->uid = task->uid;
    memcpy(entry->id, task->id, sizeof entry->id);
    entry->url = url;
    entry->state = state;
    ratelimit_init(&entry->limit, 0);
    active_set_total(entry, task->bytes_total);
    atomic_store(&entry->version, atomic_fetch_add(&versions, 1) + 1);
    pthread_mutex_lock(&active->lock);
    entry->next = active->entries;
    entry->link = &active->entries;
    if (entry->next)
        entry->next->link = &entry->next;
    active->entries = entry;
    pthread_mutex_unlock(&active->lock);
    *ret_entry = entry;
    return 0;
}

void active_leave(struct active *active, struct active_entry *entry)
{
    if (!entry)
        return;
    pthread_mutex_lock(&active->lock);
    *entry->link = entry->next;
    if (entry->next)
        entry->next->link = entry->link;
    assert(!entry->waiters);
    pthread_mutex_unlock(&active->lock);
    ratelimit_release(&entry->limit);
    free(entry->url);
    team_unref(entry->team);
    free(entry->durable_ranges);
    free(entry);
}

void active_set_state(struct active *active, struct active_entry *entry, enum task_state state)
{
    pthread_mutex_lock(&active->lock);
    entry->state = state;
    pthread_mutex_unlock(&active->lock);
}

void active_set_bytes(struct active_entry *entry, int64_t bytes, int64_t per_second,
                      unsigned ranges)
{
    atomic_store_explicit(&entry->ranges, ranges, memory_order_relaxed);
    atomic_store_explicit(&entry->bytes_done, bytes, memory_order_relaxed);
    atomic_store_explicit(&entry->bytes_per_second, per_second, memory_order_relaxed);
}

void active_set_total(struct active_entry *entry, int64_t total)
{
    atomic_store_explicit(&entry->bytes_total, total, memory_order_relaxed);
}

void active_set_http_status(struct active_entry *entry, int status)
{
    atomic_store_explicit(&entry->http_status, status, memory_order_relaxed);
}

enum active_wish active_wished(const struct active_entry *entry)
{
    return (enum active_wish)atomic_load(&entry->wish);
}

int64_t active_rate_limit(const struct active_entry *entry)
{
    return ratelimit_get(&entry->limit);
}

int active_max_ranges(const struct active_entry *entry)
{
    return atomic_load(&entry->max_ranges);
}

int active_priority(const struct active_entry *entry)
{
    return atomic_load(&entry->priority);
}

static void set_limits(struct active_entry *entry, const struct task *task)
{
    ratelimit_set(&entry->limit, task->rate_limit);
    atomic_store(&entry->max_ranges, task->max_ranges);
    atomic_store(&entry->priority, task->priority);
}

void active_begin_limits(struct active *active, struct active_entry *entry,
                         const struct task *task)
{
    pthread_mutex_lock(&active->lock);
    if (!entry->changed)
        set_limits(entry, task);
    pthread_mutex_unlock(&active->lock);
}

void active_change_limits(struct active *active, const struct task *task)
{
    pthread_mutex_lock(&active->lock);
    struct active_entry *entry = find_locked(active, task->row);
    if (entry) {
        set_limits(entry, task);
        entry->changed = true;
    }
    pthread_mutex_unlock(&active->lock);
}

uint64_t active_version(const struct active_entry *entry)
{
    return atomic_load(&entry->version);
}

static void set_durable_locked(struct active_entry *entry, int64_t bytes, const char *ranges)
{
    free(entry->durable_ranges);
    entry->durable = bytes;
    entry->durable_ranges = ranges ? strdup(ranges) : NULL; /* without memory less is trusted */
}

void active_new_version(struct active *active, struct active_entry *entry)
{
    pthread_mutex_lock(&active->lock);
    atomic_store(&entry->version, atomic_fetch_add(&versions, 1) + 1);
    set_durable_locked(entry, 0, NULL);
    entry->has_durable = false;
    pthread_mutex_unlock(&active->lock);
}

bool active_is_broken(const struct active_entry *entry)
{
    return atomic_load(&entry->broken);
}

bool active_take_durable(struct active *active, struct active_entry *entry, int64_t *ret_bytes,
                         char **ret_ranges)
{
    pthread_mutex_lock(&active->lock);
    bool has = entry->has_durable;
    if (has) {
        *ret_bytes = entry->durable;
        *ret_ranges = TAKE_PTR(entry->durable_ranges);
        entry->has_durable = false;
    }
    pthread_mutex_unlock(&active->lock);
    return has;
}

void active_set_team(struct active *active, struct active_entry *entry, struct team *team)
{
    pthread_mutex_lock(&active->lock);
    struct team *old = entry->team;
    entry->team = team ? team_ref(team) : NULL;
    pthread_mutex_unlock(&active->lock);
    team_unref(old);
}

struct team *active_find_team(struct active *active, int64_t row)
{
    pthread_mutex_lock(&active->lock);
    struct active_entry *entry = find_locked(active, row);
    struct team *team = entry && entry->team ? team_ref(entry->team) : NULL;
    pthread_mutex_unlock(&active->lock);
    return team;
}

void active_set_durable(struct active *active, int64_t row, uint64_t version, int64_t bytes,
                        const char *ranges)
{
    pthread_mutex_lock(&active->lock);
    struct active_entry *entry = find_locked(active, row);
    if (entry && atomic_load(&entry->version) == version) {
        if (bytes < 0)
            atomic_store(&entry->broken, true);
        else
            set_durable_locked(entry, bytes, ranges);
        entry->has_durable = bytes >= 0;
    }
    pthread_mutex_unlock(&active->lock);
}

struct ratelimit *active_limit(struct active_entry *entry)
{
    return &entry->limit;
}

void active_each(struct active *active, manager_see see, void *data)
{
    pthread_mutex_lock(&active->lock);
    for (const struct active_entry *entry = active->entries; entry; entry = entry->next) {
        if (entry->state != TASK_DOWNLOADING)
            continue;
        struct manager_running running = {
            .id = entry->id,
            .uid = entry->uid,
            .url = entry->url,
            .bytes_done = atomic_load(&entry->bytes_done),
            .bytes_total = atomic_load(&entry->bytes_total),
            .bytes_per_second = atomic_load(&entry->bytes_per_second),
            .ranges = atomic_load(&entry->ranges),
        };
        see(data, &running);
    }
    pthread_mutex_unlock(&active->lock);
}

bool active_look(struct active *active, int64_t row, struct active_view *ret_view)
{
    pthread_mutex_lock(&active->lock);
    struct active_entry *entry = find_locked(active, row);
    if (entry)
        *ret_view = (struct active_view){
            .state = entry->state,
            .bytes_done = atomic_load(&entry->bytes_done),
            .bytes_per_second = atomic_load(&entry->bytes_per_second),
            .http_status = atomic_load(&entry->http_status),
            .ranges = atomic_load(&entry->ranges),
        };
    pthread_mutex_unlock(&active->lock);
    return entry;
}

int active_list(struct active *active, unsigned states, int64_t **ret_rows, size_t *ret_count)
{
    size_t size = 0, count = 0;
    pthread_mutex_lock(&active->lock);
    for (const struct active_entry *entry = active->entries; entry; entry = entry->next)
        size += states >> entry->state & 1;
    int64_t *rows = calloc(size + 1, sizeof *rows);
    for (const struct active_entry *entry = active->entries; entry && rows; entry = entry->next)
        if (states >> entry->state & 1)
            rows[count++] = entry->row;
    pthread_mutex_unlock(&active->lock);
    if (!rows)
        return -ENOMEM;
    *ret_rows = rows;
    *ret_count = count;
    return 0;
}

bool active_add_wish(struct active *active, int64_t row, struct active_waiter *waiter)
{
    pthread_mutex_lock(&active->lock);
    struct active_entry *entry = find_locked(active, row);
    bool taken = entry && entry->state == TASK_DOWNLOADING && !entry->decided;
    if (taken) {
        waiter->next = entry->waiters;
        entry->waiters = waiter;
        if ((int)waiter->wish > atomic_load(&entry->wish))
            atomic_store(&entry->wish, (int)waiter->wish);
    }
    pthread_mutex_unlock(&active->lock);
    return taken;
}

enum active_wish active_take_wishes(struct active *active, struct active_entry *entry,
                                    struct active_waiter **ret_waiters)
{
    pthread_mutex_lock(&active->lock);
    entry->decided = true;
    *ret_waiters = entry->waiters;
    entry->waiters = NULL;
    enum active_wish wish = (enum active_wish)atomic_load(&entry->wish);
    pthread_mutex_unlock(&active->lock);
    return wish;
}
