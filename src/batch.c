#include "batch.h"

#include <assert.h>
#include <errno.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "common/units.h"
#include "lanes.h"
#include "transfer/naming.h"

#define ANSWER_WITHIN 5000  /* ms; as for one task */
#define LANE_IDLE     60000 /* ms */

static_assert(FILES_NAMES_MAX >= MANAGER_ADD_MAX, "asked at once");

struct batches {
    struct engine *engine;
    struct admission *admission;
    struct lanes *lanes;
};

/* A directory that tasks of the batch want to go to. */
struct place {
    char *wanted;
    char *settled; /* what it really is ... */
    int error;     /* ... or why that is not known */
};

/* A dest that several tasks of the batch may want, and how far its numbers are taken. */
struct series {
    char *dest;
    unsigned next;
    struct batch_entry *won, **end; /* those whose names were free, in their order */
};

struct batch_entry {
    struct task *task;
    enum task_state state; /* it begins in */
    struct place *place;
    struct series *series;    /* if it takes numbers */
    char *name;               /* as it was wanted */
    char *reserved;           /* the dest it keeps others from, or NULL */
    bool given;               /* it is there already, by one of the following: not added */
    struct batch_entry *twin; /* in this batch */
    struct task *stored;      /* added earlier */
    struct batch_entry *next; /* that has won */
};

struct batch {
    struct lane_job job; /* first: lanes hand it back */
    struct batches *batches;
    struct engine *engine;
    struct task *tasks;
    struct batch_entry *entries;
    size_t count;
    size_t booked;    /* among those of the user that wait */
    int64_t deadline; /* boot time */
    void *places;     /* trees (tsearch) */
    void *series;
    bool stored; /* the store has answered: */
    int result;
    manager_done done;
    void *data;
};

/* --- its end --- */

static void free_place(void *node)
{
    struct place *place = node;
    free(place->wanted);
    free(place->settled);
    free(place);
}

static void free_series(void *node)
{
    struct series *series = node;
    free(series->dest);
    free(series);
}

static void forget_stored(struct batch_entry *entry)
{
    if (entry->stored)
        task_release(entry->stored);
    free(TAKE_PTR(entry->stored));
}

/* What was settled is not any more. */
static void unsettle(struct batch *batch)
{
    for (size_t i = 0; i < batch->count; i++)
        admission_unreserve(batch->batches->admission, TAKE_PTR(batch->entries[i].reserved));
    tdestroy(TAKE_PTR(batch->places), free_place);
    tdestroy(TAKE_PTR(batch->series), free_series);
}

static void unbook(struct batch *batch)
{
    if (batch->booked)
        queue_unbook(batch->engine->queue, batch->tasks[0].uid, batch->booked);
    batch->booked = 0;
}

static void batch_free(struct batch *batch)
{
    if (batch->entries)
        unsettle(batch);
    for (size_t i = 0; i < batch->count; i++) {
        if (batch->entries) {
            free(batch->entries[i].name);
            forget_stored(&batch->entries[i]);
        }
        if (batch->tasks)
            task_release(&batch->tasks[i]);
    }
    free(batch->entries);
    free(batch->tasks);
    free(batch);
}

/* Answers and ends it. */
static void refuse(struct batch *batch, int error, const char *message)
{
    unbook(batch);
    batch->done(batch->data, &(struct manager_reply){.error = error, .message = message});
    batch_free(batch);
}

static void refuse_error(struct batch *batch, int error)
{
    if (error != -ESHUTDOWN && error != -ENOMEM)
        log_error("%zu tasks at once cannot be stored: %s", batch->count, strerror(-error));
    refuse(batch, error, admission_store_sentence(error));
}

/* Because of one of them. -ECANCELED, for `return`: it is answered. */
static int refuse_for(const struct batch_entry *entry, struct batch *batch, int error,
                      const char *message)
{
    char text[600];
    snprintf(text, sizeof text, "tasks[%zu]%s%s", (size_t)(entry - batch->entries),
             error == -EDOM ? "." : ": ", message);
    refuse(batch, error, text);
    return -ECANCELED;
}

static bool is_late(const struct batch *batch)
{
    return units_now_boottime() >= batch->deadline;
}

/* --- directories --- */

static int compare_places(const void *left, const void *right)
{
    return strcmp(((const struct place *)left)->wanted, ((const struct place *)right)->wanted);
}

/* The place of this name, known or new (`ret_new`). NULL: no memory. */
static struct place *get_place(struct batch *batch, const char *wanted, bool *ret_new)
{
    struct place key = {.wanted = (char *)wanted};
    void *node = tfind(&key, &batch->places, compare_places);
    *ret_new = !node;
    if (node)
        return *(struct place **)node;
    struct place *place = calloc(1, sizeof *place);
    if (place)
        place->wanted = strdup(wanted);
    if (place && place->wanted && tsearch(place, &batch->places, compare_places))
        return place;
    if (place)
        free_place(place);
    return NULL;
}

/* The filer is asked once for each. */
static int settle_place(struct batch *batch, struct batch_entry *entry,
                        struct files_channel **channel)
{
    bool is_new;
    struct task *task = entry->task;
    struct place *place = entry->place = get_place(batch, task->directory, &is_new);
    if (!place)
        return -ENOMEM;
    if (is_new && !*channel)
        place->error = -ETIMEDOUT;
    else if (is_new && is_late(batch))
        place->error = -EAGAIN;
    else if (is_new)
        place->error =
            files_prepare(*channel, place->wanted, units_timeout(batch->deadline), &place->settled);
    if (is_new && place->error == -ETIMEDOUT && *channel)
        admission_hold_user(batch->engine, task->uid, channel);
    if (place->error)
        return place->error;
    char *settled = strdup(place->settled);
    if (!settled)
        return -ENOMEM;
    free(task->directory);
    task->directory = settled;
    return 0;
}

/* 0: each entry has its place, which may have an error that can be waited out. */
static int settle_places(struct batch *batch, struct files_channel **channel)
{
    for (size_t i = 0; i < batch->count; i++) {
        struct batch_entry *entry = &batch->entries[i];
        char message[512];
        int r = settle_place(batch, entry, channel);
        if (r == 0 || admission_can_wait(r))
            continue;
        if (r == -ENOMEM || r == -ESHUTDOWN || r == -EHOSTDOWN) {
            refuse_error(batch, r);
            return -ECANCELED;
        }
        admission_describe(r, entry->task->directory, message);
        return refuse_for(entry, batch, admission_may_pass(r) ? -EIO : -EACCES, message);
    }
    return 0;
}

/* --- names --- */

static int compare_series(const void *left, const void *right)
{
    return strcmp(((const struct series *)left)->dest, ((const struct series *)right)->dest);
}

/* Those that want the same dest, known or new. NULL: no memory. */
static struct series *get_series(struct batch *batch, const struct task *task)
{
    _cleanup_free_ char *dest = task_dest(task);
    struct series key = {.dest = dest};
    void *node = dest ? tfind(&key, &batch->series, compare_series) : NULL;
    if (node)
        return *(struct series **)node;
    struct series *series = dest ? calloc(1, sizeof *series) : NULL;
    if (!series)
        return NULL;
    series->dest = TAKE_PTR(dest);
    if (tsearch(series, &batch->series, compare_series))
        return series;
    free_series(series);
    return NULL;
}

/* True: nobody else is going to write the entry's dest now. False: somebody is (or there is no
 * memory, -ENOMEM in `ret_error`). */
static bool reserve(struct batch *batch, struct batch_entry *entry, int *ret_error)
{
    char *dest = task_dest(entry->task);
    if (!dest)
        *ret_error = -ENOMEM;
    if (dest && admission_reserve(batch->batches->admission, dest)) {
        entry->reserved = dest;
        return true;
    }
    free(dest);
    return false;
}

/* The next number that nobody else is about to take. 0, -ENOMEM, -EAGAIN: it is late. */
static int take_number(struct batch *batch, struct batch_entry *entry)
{
    int error = 0;
    do {
        if (is_late(batch))
            return -EAGAIN;
        char *name = naming_numbered(entry->name, entry->series->next++);
        if (!name)
            return -ENOMEM;
        free(entry->task->name);
        entry->task->name = name;
    } while (!reserve(batch, entry, &error) && error == 0);
    return error;
}

static struct batch_entry *find_in_batch(struct batch *batch, const struct batch_entry *of)
{
    for (size_t i = 0; i < batch->count; i++) {
        struct batch_entry *entry = &batch->entries[i];
        if (entry != of && entry->reserved && strcmp(entry->task->name, of->task->name) == 0 &&
            strcmp(entry->task->directory, of->task->directory) == 0)
            return entry;
    }
    return NULL;
}

/* The one name that it can have. 0; -EEXIST: the entry is done with, having a twin in this batch;
 * -EBUSY: another's add comes between; or refused. */
static int take_name(struct batch *batch, struct batch_entry *entry)
{
    int error = 0;
    if (reserve(batch, entry, &error) || error)
        return error;
    struct batch_entry *twin = find_in_batch(batch, entry);
    if (entry->task->if_exists == TASK_OVERWRITE)
        return refuse_for(entry, batch, -EEXIST,
                          "another task is going to write that dest; cancel it first, or wait for "
                          "it");
    if (!twin)
        return -EBUSY;
    entry->given = true;
    entry->twin = twin;
    return -EEXIST;
}

/* A name for each of the open ones, or what else becomes of them; those that stay open have one. */
static int take_names(struct batch *batch, struct batch_entry **open, size_t *count)
{
    size_t left = 0;
    for (size_t i = 0; i < *count; i++) {
        int r = open[i]->series ? take_number(batch, open[i]) : take_name(batch, open[i]);
        if (r == 0)
            open[left++] = open[i];
        else if (r != -EEXIST && r != -EAGAIN)
            return r;
    }
    *count = left;
    return 0;
}

/* An unfinished task has the dest of one that would rather skip: that is the answer. */
static int give_stored(struct batch *batch, struct batch_entry *entry)
{
    _cleanup_free_ struct task *twin = malloc(sizeof *twin);
    int r = twin ? store_find_dest(batch->engine->store, entry->task->directory, entry->task->name,
                                   twin)
                 : -ENOMEM;
    if (r == -ENOENT)
        return -EBUSY; /* it has just ended */
    if (r < 0)
        return r;
    entry->stored = TAKE_PTR(twin);
    if (entry->stored->uid != entry->task->uid)
        return refuse_for(entry, batch, -EEXIST, "another user's task is going to make that file");
    admission_unreserve(batch->batches->admission, TAKE_PTR(entry->reserved));
    entry->given = true;
    return 0;
}

/* The file is there: nothing is to be done, and that is a task's end. The store keeps no secrets of
 * it; here they stay, since the file may be gone if it comes to a second try. */
static void skip(struct task *task)
{
    engine_set_error(task, "exists", "the file is there already");
    task->state = TASK_FINISHED;
    task->ended_at = units_now_realtime();
}

/* What stands by the name is known. 0; -EAGAIN: another name is needed; -EBUSY; or refused. */
static int judge(struct batch *batch, struct batch_entry *entry, bool taken, enum files_kind kind)
{
    struct task *task = entry->task;
    bool is_free = !taken && kind == FILES_NOTHING;
    if (!is_free && task->if_exists == TASK_RENAME) {
        admission_unreserve(batch->batches->admission, TAKE_PTR(entry->reserved));
        return -EAGAIN;
    }
    if (taken && task->if_exists == TASK_SKIP)
        return give_stored(batch, entry);
    if (taken)
        return refuse_for(entry, batch, -EEXIST,
                          "an unfinished task has that dest; cancel it first, or wait for it");
    if (kind != FILES_NOTHING && task->if_exists == TASK_SKIP)
        skip(task);
    else if (kind == FILES_OTHER)
        return refuse_for(entry, batch, -EEXIST,
                          "what is there is not a file that can be replaced");
    task->admitted = true;
    return 0;
}

static void append_winner(struct batch_entry *entry)
{
    struct series *series = entry->series;
    entry->next = NULL;
    *(series->won ? series->end : &series->won) = entry;
    series->end = &entry->next;
}

/* The free names of each series go to its entries in their order, so that the first has the lowest
 * number. Those that are left without come to stand foremost; how many. */
static size_t give_names(struct batch_entry **open, size_t count)
{
    size_t left = 0;
    for (size_t i = 0; i < count; i++) {
        struct batch_entry *entry = open[i], *winner = entry->series ? entry->series->won : NULL;
        if (entry->series && !winner)
            open[left++] = entry;
        if (!winner)
            continue;
        entry->series->won = winner->next;
        if (winner == entry)
            continue;
        char *name = entry->task->name;
        entry->task->name = winner->task->name;
        winner->task->name = name;
        entry->reserved = TAKE_PTR(winner->reserved);
        entry->task->admitted = true;
        winner->task->admitted = false;
    }
    return left;
}

/* Asks about the names of some entries in one place, first the store, then the disk: a task that
 * ends in between has its file there first. Those that need another name come to stand foremost. */
static int settle_in_place(struct batch *batch, struct batch_entry **open, size_t count,
                           struct files_channel *channel, size_t *ret_left)
{
    _cleanup_free_ const char **names = calloc(count, sizeof *names);
    _cleanup_free_ bool *taken = calloc(count, sizeof *taken);
    _cleanup_free_ enum files_kind *kinds = calloc(count, sizeof *kinds);
    const char *directory = open[0]->place->settled;
    if (!names || !taken || !kinds)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++)
        names[i] = open[i]->task->name;
    int r = store_dests_taken(batch->engine->store, directory, names, count, taken);
    if (r == 0)
        r = files_stat_many(channel, directory, names, count, units_timeout(batch->deadline),
                            kinds);
    if (r < 0)
        return r;
    for (size_t i = 0; i < count; i++)
        if (open[i]->series)
            open[i]->series->won = NULL;
    for (size_t i = 0; i < count; i++) {
        r = judge(batch, open[i], taken[i], kinds[i]);
        if (r == 0 && open[i]->series)
            append_winner(open[i]);
        else if (r < 0 && r != -EAGAIN)
            return r;
    }
    *ret_left = give_names(open, count);
    return 0;
}

/* Once round all places. */
static int settle_round(struct batch *batch, struct batch_entry **open, size_t *count,
                        struct files_channel *channel)
{
    size_t left = 0, of_place = 0, still = 0;
    int r = take_names(batch, open, count);
    for (size_t i = 0; i < *count && r == 0; i += of_place) {
        of_place = 1;
        while (i + of_place < *count && open[i + of_place]->place == open[i]->place)
            of_place++;
        r = settle_in_place(batch, open + i, of_place, channel, &still);
        for (size_t k = 0; k < still && r == 0; k++)
            open[left++] = open[i + k];
    }
    if (r == 0)
        *count = left;
    return r;
}

static int by_place(const void *left, const void *right)
{
    const struct batch_entry *a = *(struct batch_entry *const *)left,
                             *b = *(struct batch_entry *const *)right;
    if (a->place != b->place)
        return a->place < b->place ? -1 : 1;
    return a < b ? -1 : a > b;
}

/* Those whose names can be settled, place by place. */
static int list_open(struct batch *batch, struct batch_entry **open, size_t *ret_count)
{
    size_t count = 0;
    for (size_t i = 0; i < batch->count; i++) {
        struct batch_entry *entry = &batch->entries[i];
        if (entry->place->error)
            continue;
        entry->series = NULL;
        if (entry->task->if_exists == TASK_RENAME &&
            !(entry->series = get_series(batch, entry->task)))
            return -ENOMEM;
        open[count++] = entry;
    }
    qsort(open, count, sizeof *open, by_place);
    *ret_count = count;
    return 0;
}

/* Entries whose twin took that name first, and has another in the end, are open again; how many. */
static size_t reopen(struct batch *batch, struct batch_entry **open)
{
    size_t count = 0;
    for (size_t i = 0; i < batch->count; i++) {
        struct batch_entry *entry = &batch->entries[i];
        const struct batch_entry *twin = entry->twin;
        if (!twin || !twin->series ||
            (twin->task->admitted && strcmp(twin->task->name, entry->task->name) == 0))
            continue;
        entry->given = false;
        entry->twin = NULL;
        open[count++] = entry;
    }
    qsort(open, count, sizeof *open, by_place);
    return count;
}

/* What could not be settled in time is accepted all the same, by the name it wanted. */
static int forget_names(struct batch *batch)
{
    for (size_t i = 0; i < batch->count; i++) {
        struct batch_entry *entry = &batch->entries[i];
        if (entry->task->admitted || entry->given)
            continue;
        admission_unreserve(batch->batches->admission, TAKE_PTR(entry->reserved));
        char *name = strdup(entry->name);
        if (!name)
            return -ENOMEM;
        free(entry->task->name);
        entry->task->name = name;
    }
    return 0;
}

/* 0, -EBUSY: once more from the start, or -ECANCELED: it is answered; or another error. */
static int settle_names(struct batch *batch, struct files_channel **channel)
{
    _cleanup_free_ struct batch_entry **open = calloc(batch->count, sizeof *open);
    size_t count = 0;
    int r = open ? list_open(batch, open, &count) : -ENOMEM;
    bool goes_on = r == 0;
    while (goes_on) {
        while (r == 0 && count > 0 && *channel && !is_late(batch)) /* one place may have cost it */
            r = settle_round(batch, open, &count, *channel);
        if (r == -ECANCELED)
            return r;
        count = reopen(batch, open);
        goes_on = r == 0 && count > 0 && *channel && !is_late(batch);
    }
    if (r == -ETIMEDOUT)
        admission_hold_user(batch->engine, batch->tasks[0].uid, channel);
    return r == 0 || admission_can_wait(r) ? forget_names(batch) : r;
}

static int find_afters(struct batch *batch)
{
    for (size_t i = 0; i < batch->count; i++) {
        char message[512];
        struct task *task = batch->entries[i].task;
        int r = admission_find_after(batch->engine, task, message);
        if (r == -EDOM)
            return refuse_for(&batch->entries[i], batch, r, message);
        if (r < 0)
            return r;
    }
    return 0;
}

/* --- storing --- */

static void finish(struct batch *batch);

/* On the store's thread, which has other things to do: the rest is for the lane, while there is
 * one. */
static void on_stored(void *data, int result)
{
    struct batch *batch = data;
    batch->stored = true;
    batch->result = result;
    if (lanes_put(batch->batches->lanes, batch->tasks[0].uid, &batch->job) < 0)
        finish(batch);
}

static void store(struct batch *batch)
{
    size_t count = 0;
    _cleanup_free_ struct task **tasks = calloc(batch->count, sizeof *tasks);
    for (size_t i = 0; i < batch->count && tasks; i++)
        if (!batch->entries[i].given)
            tasks[count++] = batch->entries[i].task;
    int r = tasks ? store_add_many(batch->engine->store, tasks, count, on_stored, batch) : -ENOMEM;
    if (r < 0)
        refuse_error(batch, r);
}

/* They are in the store: each waits for its turn, unless it begins PAUSED or was skipped. */
static void enter_queue(struct batch *batch)
{
    struct engine *engine = batch->engine;
    uint64_t states[TASK_STATES] = {0};
    for (size_t i = 0; i < batch->count; i++)
        if (!batch->entries[i].given)
            states[batch->tasks[i].state]++;
    for (int state = 0; state < TASK_STATES; state++)
        if (states[state])
            stats_enter(engine->stats, (enum task_state)state, states[state]);
    for (size_t i = 0; i < batch->count; i++) {
        const struct task *task = &batch->tasks[i];
        if (batch->entries[i].given)
            continue;
        log_debug("task=%s user=%s added", task->id, task->user);
        engine_tell(engine, task);
        if (task->state == TASK_PAUSED)
            engine_count_paused(engine, task);
        if (task->state == TASK_ENQUEUED)
            engine_enqueue(engine, task, false);
    }
    log_info("user=%s added %zu tasks at once", batch->tasks[0].user, batch->count);
}

static void answer(struct batch *batch)
{
    struct manager_view *views = calloc(batch->count, sizeof *views);
    int64_t far = 0;
    for (size_t i = 0; i < batch->count && views; i++) {
        const struct batch_entry *entry = &batch->entries[i];
        entry = entry->twin ? entry->twin : entry;
        views[i] =
            engine_view_next(batch->engine, entry->stored ? entry->stored : entry->task, &far);
    }
    struct manager_reply reply = {.view = views, .count = batch->count};
    if (!views) {
        reply.error = -ENOMEM;
        reply.message = "the tasks were added, but there is no memory to show them";
    }
    batch->done(batch->data, &reply);
    free(views);
    batch_free(batch);
}

static void finish(struct batch *batch)
{
    if (batch->result < 0) {
        refuse_error(batch, batch->result);
        return;
    }
    unsettle(batch);
    unbook(batch);
    enter_queue(batch);
    answer(batch);
}

/* --- the lane --- */

/* Names and directories as they were wanted. */
static int start_over(struct batch *batch)
{
    unsettle(batch);
    batch->stored = false;
    for (size_t i = 0; i < batch->count; i++) {
        struct batch_entry *entry = &batch->entries[i];
        entry->task->admitted = false;
        entry->task->state = entry->state;
        entry->task->ended_at = 0;
        engine_set_error(entry->task, NULL, NULL);
        entry->series = NULL;
        entry->given = false;
        entry->twin = NULL;
        forget_stored(entry);
    }
    return forget_names(batch);
}

/* Somebody came between. */
static void put_again(struct batch *batch)
{
    int r = start_over(batch);
    if (r == 0)
        r = lanes_put(batch->batches->lanes, batch->tasks[0].uid, &batch->job);
    if (r < 0)
        refuse_error(batch, r);
}

static void admit(struct batch *batch, struct files_channel **channel)
{
    int r = atomic_load(&batch->engine->stopping) ? -ESHUTDOWN : find_afters(batch);
    if (r == 0)
        r = settle_places(batch, channel);
    if (r == 0)
        r = settle_names(batch, channel);
    if (r == 0)
        store(batch);
    else if (r == -EBUSY)
        put_again(batch);
    else if (r != -ECANCELED)
        refuse_error(batch, r);
}

static void work(void *data, uid_t uid, struct files_channel **channel, struct lane_job *jobs)
{
    struct batches *batches = data;
    while (jobs) {
        struct batch *batch = (struct batch *)jobs;
        jobs = jobs->next;
        if (queue_held(batches->engine->queue, uid, QUEUE_HOLD_STORAGE) && *channel) {
            files_close(*channel);
            *channel = NULL;
        }
        if (batch->stored && batch->result == -EEXIST)
            put_again(batch); /* by another way than admission */
        else if (batch->stored)
            finish(batch);
        else
            admit(batch, channel);
    }
}

/* --- adding --- */

static int fill(struct batch *batch, const struct manager_add *adds)
{
    batch->tasks = calloc(batch->count, sizeof *batch->tasks);
    batch->entries = calloc(batch->count, sizeof *batch->entries);
    if (!batch->tasks || !batch->entries)
        return -ENOMEM;
    for (size_t i = 0; i < batch->count; i++) {
        struct batch_entry *entry = &batch->entries[i];
        entry->task = &batch->tasks[i];
        int r = admission_fill(batch->engine, &adds[i], entry->task);
        entry->state = entry->task->state;
        if (r == 0)
            r = (entry->name = strdup(entry->task->name)) ? 0 : -ENOMEM;
        if (r < 0)
            return r;
    }
    return 0;
}

/* 0, -ENOMEM, or -EDQUOT: the user has enough. */
static int book(struct batch *batch)
{
    struct engine_options *options = engine_options_ref(batch->engine);
    int r =
        queue_book(batch->engine->queue, batch->tasks[0].uid, batch->count, options->max_waiting);
    engine_options_unref(batch->engine, options);
    batch->booked = r == 0 ? batch->count : 0;
    return r;
}

void batches_add(struct batches *batches, const struct manager_add *adds, size_t count,
                 manager_done done, void *data)
{
    assert(count > 0 && count <= MANAGER_ADD_MAX);
    struct batch *batch = calloc(1, sizeof *batch);
    if (!batch) {
        done(data, &(struct manager_reply){.error = -ENOMEM,
                                           .message = admission_store_sentence(-ENOMEM)});
        return;
    }
    *batch = (struct batch){.batches = batches,
                            .engine = batches->engine,
                            .count = count,
                            .deadline = units_now_boottime() + ANSWER_WITHIN,
                            .done = done,
                            .data = data};
    int r = fill(batch, adds);
    if (r == 0)
        r = book(batch);
    if (r == -EDQUOT) {
        refuse(batch, r,
               "with these you would have more waiting tasks than max-waiting-per-user allows; try "
               "again when some are done, or clear them");
        return;
    }
    if (r == 0)
        r = lanes_put(batches->lanes, adds[0].uid, &batch->job);
    if (r < 0)
        refuse_error(batch, r);
}

/* --- life --- */

int batches_create(struct engine *engine, struct admission *admission, struct batches **ret_batches)
{
    struct batches *batches = calloc(1, sizeof *batches);
    if (!batches)
        return -ENOMEM;
    batches->engine = engine;
    batches->admission = admission;
    int r = lanes_create(engine->files, LANE_IDLE, work, batches, &batches->lanes);
    if (r < 0) {
        free(batches);
        return r;
    }
    *ret_batches = batches;
    return 0;
}

int batches_stop(struct batches *batches, int64_t timeout)
{
    lanes_close(batches->lanes);
    return lanes_wait(batches->lanes, timeout);
}

void batches_destroy(struct batches *batches)
{
    if (!batches)
        return;
    lanes_destroy(batches->lanes);
    free(batches);
}
