#include "many.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "common/units.h"
#include "filter.h"
#include "grasp.h"
#include "lanes.h"
#include "removal.h"
#include "takeover.h"

#define IDLE         10000 /* ms until the thread of one who asks no more is ended */
#define AT_ONCE      250   /* tasks looked at */
#define ROWS_AT_ONCE 1000
#define GRASP_WITHIN 5000   /* ms until a task stays with the verb that has it */
#define STOP_WITHIN  200    /* ms until a stop is noticed */
#define TRY_EVERY    500000 /* us */
#define HUNG_USERS   16     /* are known and not asked again */

/* A lot besides those of takeover.h: at rest, and since before the counters began. */
#define LOT_OLD (TAKEOVER_TAKEN + 1)

#define STATE(name) (1U << TASK_##name)
#define ON_THE_WAY  (STATE(ENQUEUED) | STATE(DOWNLOADING)) /* the store may lag behind */

/* What each verb is in the store, and the states that take it. */
static const struct kind {
    enum store_verb verb;
    unsigned states;
} kinds[] = {
    [MANAGER_HOLD] = {STORE_HOLD,        ON_THE_WAY                                       },
    [MANAGER_RELEASE] = {STORE_RELEASE,     STATE(PAUSED)                                    },
    [MANAGER_CANCEL] = {STORE_CANCEL,      ON_THE_WAY | STATE(PAUSED)                       },
    [MANAGER_CANCEL_KEEP] = {STORE_CANCEL_KEEP, ON_THE_WAY | STATE(PAUSED)                       },
    [MANAGER_RETRY] = {STORE_RETRY,       STATE(FAILED) | STATE(CANCELLED) | STATE(CLEARED)},
    [MANAGER_FORGET] = {STORE_FORGET,
                      STATE(FINISHED) | STATE(FAILED) | STATE(CANCELLED) | STATE(CLEARED) },
    [MANAGER_FORGET_FILE] = {STORE_FORGET,
                      STATE(FINISHED) | STATE(FAILED) | STATE(CANCELLED) | STATE(CLEARED) },
};

struct many {
    struct engine *engine;
    struct grasps *grasps;
    struct finisher *finisher;
    struct lanes *lanes;
};

struct round {
    struct lane_job job; /* first: lanes hand it back */
    struct many *many;
    enum manager_verb verb;
    uid_t scope;
    unsigned states;       /* that are meant */
    struct filter *filter; /* or ids */
    char (*ids)[API_ID_LENGTH + 1];
    size_t id_count;
    manager_done done;
    void *data;

    int64_t *rows; /* that are meant, in their order, each once */
    uint8_t *lots; /* of each */
    size_t count, size;
    size_t same; /* that are already what they are to become */
    struct grasp_many grasp;
    size_t hung; /* left, because a file system does not answer */
    uid_t hung_users[HUNG_USERS];
    size_t hung_user_count;

    int64_t *changed;               /* those of the rows that are changed; ... */
    uint8_t *before, *changed_lots; /* ... from which state */
    size_t changed_count;
    size_t done_count;
    struct store_many change;
};

static const struct kind *kind_of(const struct round *round)
{
    return &kinds[round->verb];
}

static void round_free(struct round *round)
{
    filter_destroy(round->filter);
    free(round->ids);
    free(round->rows);
    free(round->lots);
    free(round->changed);
    free(round->before);
    free(round->changed_lots);
    free(round);
}

static void answer(struct round *round, int error)
{
    struct manager_reply reply = {.error = error, .count = round->done_count + round->same};
    char message[200];
    if (error == 0 && round->hung > 0) {
        snprintf(message, sizeof message,
                 "a file system does not answer: %zu tasks were left as they are, %zu others are "
                 "done; ask again once it does",
                 round->hung, reply.count);
        reply.error = -ETIMEDOUT;
        reply.message = message;
    } else if (error == -ESHUTDOWN && round->change.is_bound) {
        reply.message = "the service is stopping; what is left is done when it starts again";
    } else if (error == -ESHUTDOWN) {
        reply.message = "the service is stopping: nothing was changed; ask again in a moment";
    } else if (error == -ENOMEM) {
        reply.message = "the service is out of memory: nothing was changed; try again later";
    } else if (error == -ENOSPC) {
        reply.message = "the service's disk is full: nothing was changed; make room there first";
    } else if (error < 0) {
        reply.message =
            "the service could not use its store: nothing was changed; its log says why";
    }
    if (error < 0 && error != -ESHUTDOWN)
        log_error("a verb for many tasks has changed nothing: %s", strerror(-error));
    round->done(round->data, &reply);
    round_free(round);
}

static bool is_stopping(const struct round *round)
{
    return atomic_load(&round->many->engine->stopping);
}

/* --- which tasks --- */

static int add_rows(struct round *round, const int64_t *rows, size_t count)
{
    if (round->count + count > round->size) {
        size_t size = (round->count + count) * 2;
        int64_t *grown = reallocarray(round->rows, size, sizeof *grown);
        if (!grown)
            return -ENOMEM;
        round->rows = grown;
        round->size = size;
    }
    memcpy(round->rows + round->count, rows, count * sizeof *rows);
    round->count += count;
    return 0;
}

static int find_by_filter(struct round *round)
{
    int64_t before = INT64_MAX, rows[ROWS_AT_ONCE];
    size_t count = 0;
    int r = 0;
    while (before != 0 && r == 0) {
        if (is_stopping(round))
            return -ESHUTDOWN;
        r = filter_next(round->filter, &before, ROWS_AT_ONCE, rows, &count);
        if (r == 0 && count > 0)
            r = add_rows(round, rows, count);
    }
    return r;
}

/* One that is unknown or ambiguous is skipped, as one that does not take the verb. */
static int find_by_ids(struct round *round)
{
    bool cancels = round->verb == MANAGER_CANCEL || round->verb == MANAGER_CANCEL_KEEP;
    int r = 0;
    for (size_t i = 0; i < round->id_count && r == 0; i++) {
        _cleanup_(task_release) struct task task = {0};
        r = store_find(round->many->engine->store, round->scope, round->ids[i], &task);
        if (r == 0 && cancels && (task.state == TASK_CANCELLED || task.state == TASK_CLEARED))
            round->same++;
        else if (r == 0)
            r = add_rows(round, &task.row, 1);
        if (r == -ENOENT || r == -EMLINK)
            r = 0;
    }
    return r;
}

static int compare_rows(const void *left, const void *right)
{
    int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
    return a < b ? -1 : a > b;
}

static int find(struct round *round)
{
    int r = round->filter ? find_by_filter(round) : find_by_ids(round);
    if (r < 0 || round->count == 0)
        return r;
    qsort(round->rows, round->count, sizeof *round->rows, compare_rows);
    size_t kept = 1;
    for (size_t i = 1; i < round->count; i++)
        if (round->rows[i] != round->rows[kept - 1])
            round->rows[kept++] = round->rows[i];
    round->count = kept;
    round->lots = calloc(round->count, sizeof *round->lots); /* open */
    return round->lots ? 0 : -ENOMEM;
}

/* --- getting hold of them --- */

static void leave_row(struct round *round, int64_t row)
{
    const int64_t *found = bsearch(&row, round->rows, round->count, sizeof row, compare_rows);
    if (found)
        round->lots[found - round->rows] = TAKEOVER_LEFT;
}

/* Those that verbs for one keep stay with them. */
static int leave_missing(struct round *round)
{
    _cleanup_free_ int64_t *missing = calloc(round->count, sizeof *missing);
    if (!missing)
        return -ENOMEM;
    size_t count = grasp_many_missing(round->many->grasps, &round->grasp, missing);
    for (size_t i = 0; i < count; i++)
        leave_row(round, missing[i]);
    return 0;
}

/* Until no other verb has any of them. */
static int grasp(struct round *round)
{
    struct grasps *grasps = round->many->grasps;
    while (!grasp_many(grasps, &round->grasp, round->rows, round->count, STOP_WITHIN))
        if (is_stopping(round))
            return -ESHUTDOWN;
    int64_t until = units_now_boottime() + GRASP_WITHIN;
    while (!grasp_many_is_whole(grasps, &round->grasp, STOP_WITHIN)) {
        if (is_stopping(round))
            return -ESHUTDOWN;
        if (units_now_boottime() >= until)
            return leave_missing(round);
    }
    return 0;
}

static bool is_hung(const struct round *round, uid_t uid)
{
    for (size_t i = 0; i < round->hung_user_count; i++)
        if (round->hung_users[i] == uid)
            return true;
    return false;
}

/* Tasks whose files are in the way, all of one user. */
struct in_the_way {
    uid_t uid;
    size_t count;
    size_t indices[AT_ONCE];
    struct task tasks[AT_ONCE];
};

/* To forget them, what they have on disk goes; to retry them, what was to go has gone. */
static int clear_the_way(struct round *round, struct in_the_way *some)
{
    int results[AT_ONCE] = {0};
    bool forgets = kind_of(round)->verb == STORE_FORGET;
    int r = is_hung(round, some->uid)
                ? -ETIMEDOUT
                : removal_do_many(round->many->finisher, some->uid, some->tasks,
                                  forgets ? some->count : 0, round->verb == MANAGER_FORGET_FILE,
                                  results);
    if (r < 0 && r != -ETIMEDOUT)
        return r;
    for (size_t i = 0; i < some->count; i++) {
        int result = r < 0 ? r : results[i];
        bool hangs = result == -ETIMEDOUT || result == -EHOSTDOWN;
        round->hung += hangs;
        if (hangs && !is_hung(round, some->uid) && round->hung_user_count < HUNG_USERS)
            round->hung_users[round->hung_user_count++] = some->uid;
        if (result < 0)
            round->lots[some->indices[i]] = TAKEOVER_LEFT;
    }
    return 0;
}

static bool has_files_in_the_way(const struct round *round, const struct task *task)
{
    return kind_of(round)->verb == STORE_FORGET
               ? removal_is_needed(task, round->verb == MANAGER_FORGET_FILE)
               : task->drop_part;
}

/* Takes those of the first user that is left. */
static void choose_some(const struct round *round, struct task *tasks, size_t from, size_t count,
                        struct in_the_way *ret_some)
{
    ret_some->count = 0;
    for (size_t i = 0; i < count; i++) {
        struct task *task = &tasks[i];
        if (task->row == 0 || round->lots[from + i] == TAKEOVER_LEFT ||
            !has_files_in_the_way(round, task) ||
            (ret_some->count > 0 && task->uid != ret_some->uid))
            continue;
        ret_some->uid = task->uid;
        ret_some->indices[ret_some->count] = from + i;
        ret_some->tasks[ret_some->count++] = *task;
        *task = (struct task){0};
    }
}

/* Some of the ended ones, `tasks` as the store has them. */
static int prepare_some(struct round *round, struct task *tasks, size_t from, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint8_t *lot = &round->lots[from + i];
        bool meant = tasks[i].row != 0 && round->states >> tasks[i].state & 1;
        bool old = meant && tasks[i].ended_at < round->many->engine->started_at;
        if (*lot == TAKEOVER_OPEN)
            *lot = !meant ? TAKEOVER_LEFT : old ? LOT_OLD : TAKEOVER_AT_REST;
    }
    _cleanup_free_ struct in_the_way *some = malloc(sizeof *some);
    int r = some ? 0 : -ENOMEM;
    while (r == 0) {
        choose_some(round, tasks, from, count, some);
        if (some->count == 0)
            break;
        r = clear_the_way(round, some);
        for (size_t i = 0; i < some->count; i++)
            task_release(&some->tasks[i]);
    }
    return r;
}

static int prepare_ended(struct round *round)
{
    int r = 0;
    for (size_t i = 0; i < round->count && r == 0; i += AT_ONCE) {
        struct task tasks[AT_ONCE] = {0};
        size_t count = round->count - i < AT_ONCE ? round->count - i : AT_ONCE;
        r = store_fetch_many(round->many->engine->store, round->rows + i, count, tasks);
        if (r == 0)
            r = is_stopping(round) ? -ESHUTDOWN : prepare_some(round, tasks, i, count);
        for (size_t k = 0; k < count; k++)
            task_release(&tasks[k]);
    }
    return r;
}

static int prepare(struct round *round)
{
    switch (kind_of(round)->verb) {
    case STORE_HOLD:
    case STORE_CANCEL:
    case STORE_CANCEL_KEEP:
        return takeover_take(round->many->engine, round->rows, round->count, round->states,
                             round->lots, &round->hung);
    case STORE_RETRY:
    case STORE_FORGET:
        return prepare_ended(round);
    default: /* PAUSED ones are in nobody's hand */
        for (size_t i = 0; i < round->count; i++)
            if (round->lots[i] == TAKEOVER_OPEN)
                round->lots[i] = TAKEOVER_AT_REST;
        return 0;
    }
}

/* --- the transaction --- */

static int choose_changed(struct round *round)
{
    round->changed = calloc(round->count + 1, sizeof *round->changed);
    round->before = calloc(round->count + 1, sizeof *round->before);
    round->changed_lots = calloc(round->count + 1, sizeof *round->changed_lots);
    if (!round->changed || !round->before || !round->changed_lots)
        return -ENOMEM;
    for (size_t i = 0; i < round->count; i++) {
        if (round->lots[i] == TAKEOVER_OPEN || round->lots[i] == TAKEOVER_LEFT)
            continue;
        round->changed_lots[round->changed_count] = round->lots[i];
        round->changed[round->changed_count++] = round->rows[i];
    }
    return 0;
}

static int ask_store(struct round *round)
{
    struct engine_latch latch;
    engine_latch_init(&latch, 1);
    int r =
        store_do_many(round->many->engine->store, &round->change, engine_latch_count_down, &latch);
    if (r < 0)
        engine_latch_count_down(&latch, r);
    return engine_latch_wait(&latch);
}

/* Once it is bound to happen it is tried until it does. */
static int change(struct round *round)
{
    struct engine *engine = round->many->engine;
    if (is_stopping(round))
        return -ESHUTDOWN;
    int r = choose_changed(round);
    if (r < 0 || round->changed_count == 0)
        return r;
    round->change = (struct store_many){
        .verb = kind_of(round)->verb,
        .rows = round->changed,
        .count = round->changed_count,
        .states = round->states | (round->states & ON_THE_WAY ? ON_THE_WAY : 0),
        .when = units_now_realtime(),
        .ret_before = round->before,
        .give_up = &engine->stopping,
    };
    r = ask_store(round);
    if (r < 0 && round->change.is_bound && !is_stopping(round))
        log_error("a verb for many tasks is done in part, and tried again until it is done: %s",
                  strerror(-r));
    while (r < 0 && round->change.is_bound && !is_stopping(round)) {
        usleep(TRY_EVERY);
        r = ask_store(round);
    }
    return r < 0 && round->change.is_bound ? -ESHUTDOWN : r;
}

/* --- what follows --- */

/* As a verb for one does when its change is committed. */
static void follow_one(struct round *round, struct task *task, enum task_state before, bool old)
{
    struct engine *engine = round->many->engine;
    struct task copy;
    if (old) {
        stats_enter(engine->stats, task->state, 1);
        engine_tell(engine, task);
    } else {
        engine_moved(engine, before, task);
    }
    log_info("task=%s user=%s %s", task->id, task->user, task_state_name(task->state));
    if (task->state == TASK_ENQUEUED && task->host == 0) { /* for lists by host */
        task->host = engine_queued(engine, task).host;
        (void)store_update(engine->store, task, NULL, NULL);
    }
    if (task->state == TASK_ENQUEUED)
        engine_enqueue(engine, task, false);
    if (task->state == TASK_CANCELLED && task->drop_part && task_copy(task, &copy) == 0)
        finisher_remove_part(round->many->finisher, &copy);
}

static void follow_some(struct round *round, size_t from, size_t count)
{
    struct task tasks[AT_ONCE] = {0};
    int r = store_fetch_many(round->many->engine->store, round->changed + from, count, tasks);
    for (size_t i = 0; i < count; i++) {
        enum task_state before = (enum task_state)round->before[from + i];
        if (before == TASK_DOWNLOADING) /* the store lagged behind */
            before = TASK_ENQUEUED;
        if (r == 0 && tasks[i].row != 0 && before != TASK_STATES)
            follow_one(round, &tasks[i], before, round->changed_lots[from + i] == LOT_OLD);
        task_release(&tasks[i]);
    }
    if (r < 0)
        log_error("tasks that a verb for many has changed cannot be read; the next start takes "
                  "them up: %s",
                  strerror(-r));
}

static void follow(struct round *round)
{
    for (size_t i = 0; i < round->changed_count; i++)
        round->done_count += round->before[i] != TASK_STATES;
    if (kind_of(round)->verb == STORE_FORGET) {
        log_info("forgotten: %zu tasks", round->done_count);
        return;
    }
    for (size_t i = 0; i < round->changed_count; i += AT_ONCE) {
        size_t left = round->changed_count - i;
        follow_some(round, i, left < AT_ONCE ? left : AT_ONCE);
    }
}

static void do_round(struct round *round)
{
    int r = find(round);
    if (r < 0 || round->count == 0) {
        answer(round, r);
        return;
    }
    r = grasp(round);
    if (r == 0)
        r = prepare(round);
    if (r == 0)
        r = change(round);
    if (r == 0)
        follow(round);
    else
        takeover_put_back(round->many->engine, round->rows, round->count, round->lots);
    grasp_many_let_go(round->many->grasps, &round->grasp);
    answer(round, r);
}

static void work(void *data, uid_t uid, struct files_channel **channel, struct lane_job *jobs)
{
    (void)data;
    (void)uid;
    (void)channel;
    while (jobs) {
        struct round *round = (struct round *)jobs;
        jobs = jobs->next;
        do_round(round);
    }
}

/* --- asking --- */

/* -ENOENT: no task that is meant takes the verb. */
static int choose(struct round *round, const struct manager_filter *filter, const char *const *ids,
                  size_t id_count)
{
    round->states = kind_of(round)->states;
    if (id_count > 0) {
        round->ids = calloc(id_count, sizeof *round->ids);
        for (size_t i = 0; i < id_count && round->ids; i++)
            strncpy(round->ids[i], ids[i], API_ID_LENGTH);
        round->id_count = id_count;
        return round->ids ? 0 : -ENOMEM;
    }
    struct manager_filter narrower = *filter;
    if (filter->states)
        round->states &= filter->states;
    narrower.states = round->states;
    return narrower.states ? filter_create(round->many->engine, &narrower, &round->filter)
                           : -ENOENT;
}

void many_do(struct many *many, enum manager_verb verb, const struct manager_filter *filter,
             const char *const *ids, size_t id_count, manager_done done, void *data)
{
    struct round *round = calloc(1, sizeof *round);
    if (!round) {
        done(data,
             &(struct manager_reply){.error = -ENOMEM,
                                     .message = "the service is out of memory; try again later"});
        return;
    }
    round->many = many;
    round->verb = verb;
    round->scope = filter->scope;
    round->done = done;
    round->data = data;
    int r = choose(round, filter, ids, id_count);
    if (r == 0)
        r = lanes_put(many->lanes, filter->reader, &round->job);
    if (r < 0)
        answer(round, r == -ENOENT ? 0 : r == -ESHUTDOWN ? r : -ENOMEM);
}

int many_create(struct engine *engine, struct verbs *verbs, struct finisher *finisher,
                struct many **ret_many)
{
    struct many *many = calloc(1, sizeof *many);
    if (!many)
        return -ENOMEM;
    many->engine = engine;
    many->grasps = verbs_grasps(verbs);
    many->finisher = finisher;
    int r = lanes_create(NULL, IDLE, work, many, &many->lanes);
    if (r < 0) {
        free(many);
        return r;
    }
    *ret_many = many;
    return 0;
}

void many_stop(struct many *many)
{
    lanes_close(many->lanes);
    lanes_wait(many->lanes, -1);
}

void many_destroy(struct many *many)
{
    if (!many)
        return;
    lanes_destroy(many->lanes);
    free(many);
}
