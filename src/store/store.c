#include "store/store.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/cleanup.h"
#include "common/units.h"
#include "store/store_sqlite.h"

#define LAZY_DELAY_MS 500
#define WIPE_DELAY_MS 5000 /* what was wiped stays in the log so long, and several go at once */
#define WIPE_AGAIN_MS 1000 /* somebody was reading */
#define WALK_CHUNK    256
#define PRUNED_PARTS  1000 /* told of at once */

/* One write. It waits in a list, runs in a transaction with what waits beside it, and then calls
 * back. */
struct op {
    struct op *next;
    int (*run)(struct database *database, struct op *op); /* in the transaction */
    store_done done;
    void *data;
    int result;
    int refusal; /* what `done` gets although the commit went well */

    struct op *overtaken; /* update: the lazy one before it, which stands if this one is refused */

    struct task task; /* add, update */
    int64_t *ret_row; /* add */
    struct task **tasks; /* add_many; `count` of them, the caller's */
    int64_t row;      /* forget */
    int64_t *rows;    /* clear: what to clear; then, as with prune, those that had a part */
    size_t cleared, *ret_cleared;
    size_t count;
    int64_t when;
    store_part part;
    int64_t before; /* prune */
    uint64_t keep;
    unsigned max;
    struct store_change what; /* change */
    bool alone;               /* do_many: in a transaction of its own */
    struct store_many *many;  /* the caller's */
    int64_t errand;           /* what this transaction makes of it */
    size_t many_next;
    struct store_pause pause; /* set_pause; end_pause: the uid alone */
};

struct store {
    /* immutable */
    pthread_t thread;
    bool thread_runs;

    /* writer thread only */
    struct database *writer;
    _Atomic uint64_t commits, commit_us; /* and how long they took; others read them */
    bool truncates;              /* the log is to be cut off, ... */
    struct timespec truncate_at; /* ... then (CLOCK_MONOTONIC) */

    /* protected by reader_lock */
    pthread_mutex_t reader_lock;
    struct database *reader;

    /* protected by lister_lock: long looks hold nobody's short ones up. One looks after the other, in
     * the order of asking: a mutex alone would go to the same one again and again. */
    pthread_mutex_t lister_lock;
    pthread_cond_t lister_turn;
    uint64_t lister_asked, lister_served;
    char *path;
    struct database *lister; /* connected when first needed */

    /* protected by lock */
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct op *head; /* first in, first out */
    struct op **tail;
    struct op *lazy;               /* at most one a row: updates that nobody waits for, ... */
    struct timespec lazy_deadline; /* ... which join the list then (CLOCK_MONOTONIC) */
    bool closing;
};

/* --- the writer thread --- */

static void op_destroy(struct op *op)
{
    if (op->overtaken)
        op_destroy(op->overtaken);
    task_release(&op->task);
    free(op->rows);
    free(op->tasks);
    free(op);
}

static bool is_earlier(const struct timespec *one, const struct timespec *other)
{
    return one->tv_sec != other->tv_sec ? one->tv_sec < other->tv_sec
                                        : one->tv_nsec < other->tv_nsec;
}

/* What the writer wakes for by itself, or NULL. */
static const struct timespec *next_deadline_locked(const struct store *store)
{
    const struct timespec *lazy = store->lazy ? &store->lazy_deadline : NULL;
    const struct timespec *truncate = store->truncates ? &store->truncate_at : NULL;
    return !truncate || (lazy && is_earlier(lazy, truncate)) ? lazy : truncate;
}

static void append_locked(struct store *store, struct op *op)
{
    *store->tail = op;
    while (*store->tail)
        store->tail = &(*store->tail)->next;
}

/* The lazy ones come before what is asked for from now on. */
static void append_lazy_locked(struct store *store)
{
    append_locked(store, TAKE_PTR(store->lazy));
}

/* Everything that waits, NULL when it is time to cut the log off. False: the store closes, and
 * nothing waits. */
static bool take_ops(struct store *store, struct op **ret_ops)
{
    pthread_mutex_lock(&store->lock);
    while (!store->head && !store->closing) {
        const struct timespec *deadline = next_deadline_locked(store);
        if (!deadline)
            pthread_cond_wait(&store->wake, &store->lock);
        else if (pthread_cond_timedwait(&store->wake, &store->lock, deadline) == ETIMEDOUT)
            break;
    }
    struct timespec now = units_monotonic_in(0);
    if (store->closing || !is_earlier(&now, &store->lazy_deadline))
        append_lazy_locked(store);
    *ret_ops = TAKE_PTR(store->head);
    bool ends = store->closing && !*ret_ops;
    store->tail = &store->head;
    pthread_mutex_unlock(&store->lock);
    return !ends;
}

/* Failed, but as one write alone: the others can go on. */
static bool failed_alone(int result)
{
    return result == -EEXIST || result == -ENOENT;
}

static int commit_ops(struct database *database, struct op *ops)
{
    int result = database_begin(database);
    for (struct op *op = ops; op && result == 0; op = op->next) {
        op->result = op->run(database, op);
        if (op->result < 0 && !failed_alone(op->result))
            result = op->result;
    }
    if (result == 0)
        result = database_commit(database);
    if (result < 0)
        database_rollback(database);
    return result;
}

static int64_t microseconds_since(const struct timespec *begin)
{
    struct timespec end = units_monotonic_in(0);
    return (end.tv_sec - begin->tv_sec) * 1000000 + (end.tv_nsec - begin->tv_nsec) / 1000;
}

void store_commits(struct store *store, uint64_t *ret_count, double *ret_seconds)
{
    *ret_count = atomic_load(&store->commits);
    *ret_seconds = (double)atomic_load(&store->commit_us) / 1e6;
}

/* Tells of the parts that ended tasks left. They are fetched one by one, so that clearing very many
 * costs no more memory than their rows. */
static void report_parts(struct database *database, const struct op *op)
{
    for (size_t i = 0; i < op->count; i++) {
        _cleanup_(task_release) struct task task = {0};
        if (database_fetch(database, op->rows[i], &task) == 0 && task_state_ended(task.state))
            op->part(op->data, &task);
    }
}

static void finish_op(struct database *database, struct op *op)
{
    if (op->result == 0 && op->ret_row)
        *op->ret_row = op->task.row;
    if (op->result == 0 && op->ret_cleared)
        *op->ret_cleared = op->cleared;
    if (op->result == 0 && op->part)
        report_parts(database, op);
    if (op->done)
        op->done(op->data, op->result < 0 ? op->result : op->refusal);
    op_destroy(op);
}

/* True: more is to be done, after what others wait for. */
static bool go_on(struct store *store, struct op *op)
{
    struct store_many *many = op->many;
    if (!many || op->result < 0)
        return false;
    many->errand = op->errand;
    many->is_bound = many->errand != 0;
    many->next = op->many_next;
    if (many->next == many->count)
        return false;
    if (many->give_up && atomic_load(many->give_up)) {
        op->refusal = -ESHUTDOWN;
        return false;
    }
    op->next = NULL;
    pthread_mutex_lock(&store->lock);
    append_locked(store, op);
    pthread_mutex_unlock(&store->lock);
    return true;
}

static void do_together(struct store *store, struct op *ops)
{
    struct timespec begin = units_monotonic_in(0);
    int failure = commit_ops(store->writer, ops);
    atomic_fetch_add(&store->commit_us, (uint64_t)microseconds_since(&begin));
    atomic_fetch_add(&store->commits, 1);
    while (ops) {
        struct op *op = ops;
        ops = op->next;
        if (failure < 0)
            op->result = failure;
        if (!go_on(store, op))
            finish_op(store->writer, op);
    }
}

/* The first of them that go into one transaction; `ops` keeps the others. */
static struct op *split(struct op **ops)
{
    struct op *first = *ops, *last = first;
    while (!first->alone && last->next && !last->next->alone)
        last = last->next;
    *ops = last->next;
    last->next = NULL;
    return first;
}

static void do_ops(struct store *store, struct op *ops)
{
    while (ops)
        do_together(store, split(&ops));
}

/* Secrets that were deleted are in the log until it is cut off: soon, but not for each one. */
static void care_for_log(struct store *store)
{
    struct timespec now = units_monotonic_in(0);
    if (!store->truncates) {
        store->truncates = database_has_wiped(store->writer);
        store->truncate_at = units_monotonic_in(WIPE_DELAY_MS);
    } else if (!is_earlier(&now, &store->truncate_at)) {
        store->truncates = database_truncate_log(store->writer) < 0;
        store->truncate_at = units_monotonic_in(WIPE_AGAIN_MS);
    }
}

static void *writer_main(void *data)
{
    struct store *store = data;
    struct op *ops;
    store->truncates = true; /* the last run may not have come to it */
    store->truncate_at = units_monotonic_in(0);
    while (take_ops(store, &ops)) {
        if (ops)
            do_ops(store, ops);
        care_for_log(store);
    }
    return NULL;
}

/* --- opening and closing --- */

static void init_locks(struct store *store)
{
    units_condition_init(&store->wake);
    pthread_mutex_init(&store->lock, NULL);
    pthread_mutex_init(&store->reader_lock, NULL);
    pthread_mutex_init(&store->lister_lock, NULL);
    pthread_cond_init(&store->lister_turn, NULL);
}

static int open_database(struct store *store, const char *directory, char message[static 256])
{
    _cleanup_free_ char *path = NULL;
    if (asprintf(&path, "%s/autodl.db", directory) < 0) {
        path = NULL;
        snprintf(message, 256, "cannot open the database: out of memory");
        return -ENOMEM;
    }
    int result = database_make(path, message);
    if (result == 0)
        result = database_open(path, &store->writer, message);
    if (result == 0) {
        result = database_do_errands(store->writer);
        if (result < 0)
            snprintf(message, 256, "%s: what was begun before cannot be done: %s", path,
                     strerror(-result));
    }
    if (result == 0)
        result = database_open(path, &store->reader, message);
    store->path = TAKE_PTR(path);
    return result;
}

int store_open(const char *directory, struct store **ret_store, char message[static 256])
{
    struct store *store = calloc(1, sizeof(*store));
    if (!store) {
        snprintf(message, 256, "cannot open the database: out of memory");
        return -ENOMEM;
    }
    store->tail = &store->head;
    init_locks(store);
    int result = open_database(store, directory, message);
    if (result == 0) {
        result = -pthread_create(&store->thread, NULL, writer_main, store);
        store->thread_runs = result == 0;
        if (result < 0)
            snprintf(message, 256, "cannot start a thread for the database: %s", strerror(-result));
    }
    if (result < 0) {
        store_close(store);
        return result;
    }
    *ret_store = store;
    return 0;
}

void store_close(struct store *store)
{
    if (!store)
        return;
    if (store->thread_runs) {
        pthread_mutex_lock(&store->lock);
        store->closing = true;
        pthread_cond_signal(&store->wake);
        pthread_mutex_unlock(&store->lock);
        pthread_join(store->thread, NULL);
    }
    assert(!store->head);
    database_close(store->lister);
    database_close(store->reader);
    database_close(store->writer);
    free(store->path);
    pthread_cond_destroy(&store->lister_turn);
    pthread_mutex_destroy(&store->lister_lock);
    pthread_mutex_destroy(&store->reader_lock);
    pthread_mutex_destroy(&store->lock);
    pthread_cond_destroy(&store->wake);
    free(store);
}

/* --- writes --- */

/* What may touch any row: the lazy updates come before it. */
static void queue_op(struct store *store, struct op *op)
{
    pthread_mutex_lock(&store->lock);
    append_lazy_locked(store);
    append_locked(store, op);
    pthread_cond_signal(&store->wake);
    pthread_mutex_unlock(&store->lock);
}

/* The lazy update of this row, which a newer one overtakes, or NULL. They are about what runs, and
 * so few. */
static struct op *take_overtaken_locked(struct store *store, int64_t row)
{
    struct op **link = &store->lazy;
    while (*link && (*link)->task.row != row)
        link = &(*link)->next;
    struct op *op = *link;
    if (op) {
        *link = op->next;
        op->next = NULL;
    }
    return op;
}

static void queue_update(struct store *store, struct op *op, bool lazy)
{
    struct timespec deadline = units_monotonic_in(LAZY_DELAY_MS);
    pthread_mutex_lock(&store->lock);
    struct op *overtaken = take_overtaken_locked(store, op->task.row);
    bool first = !store->lazy && !overtaken;
    if (lazy) {
        op->next = store->lazy;
        store->lazy = op;
    } else {
        append_locked(store, op);
    }
    if (!lazy)
        op->overtaken = TAKE_PTR(overtaken);
    if (lazy && first)
        store->lazy_deadline = deadline;
    if (!lazy || first) /* the first lazy one sets the writer's clock going */
        pthread_cond_signal(&store->wake);
    pthread_mutex_unlock(&store->lock);
    if (overtaken)
        op_destroy(overtaken);
}

static struct op *create_op(int (*run)(struct database *, struct op *), store_done done, void *data)
{
    struct op *op = calloc(1, sizeof(*op));
    if (op) {
        op->run = run;
        op->done = done;
        op->data = data;
    }
    return op;
}

static struct op *create_task_op(int (*run)(struct database *, struct op *),
                                 const struct task *task, store_done done, void *data)
{
    struct op *op = create_op(run, done, data);
    if (op && task_copy(task, &op->task) < 0) {
        op_destroy(op);
        return NULL;
    }
    return op;
}

static int run_add(struct database *database, struct op *op)
{
    return database_add(database, &op->task, &op->task.row);
}

int store_add(struct store *store, const struct task *task, int64_t *ret_row, store_done done,
              void *data)
{
    struct op *op = create_task_op(run_add, task, done, data);
    if (!op)
        return -ENOMEM;
    op->ret_row = ret_row;
    queue_update(store, op, false);
    return 0;
}

static int run_add_many(struct database *database, struct op *op)
{
    return database_add_many(database, op->tasks, op->count);
}

int store_add_many(struct store *store, struct task *const *tasks, size_t count, store_done done,
                   void *data)
{
    struct op *op = create_op(run_add_many, done, data);
    if (!op)
        return -ENOMEM;
    op->tasks = reallocarray(NULL, count + 1, sizeof *tasks);
    if (!op->tasks) {
        op_destroy(op);
        return -ENOMEM;
    }
    memcpy(op->tasks, tasks, count * sizeof *tasks);
    op->count = count;
    queue_op(store, op);
    return 0;
}

static int run_update(struct database *database, struct op *op)
{
    int result = database_update(database, &op->task);
    if (result != -EEXIST || !op->overtaken)
        return result;
    int before = database_update(database, &op->overtaken->task);
    return before < 0 && !failed_alone(before) ? before : result;
}

int store_update(struct store *store, const struct task *task, store_done done, void *data)
{
    struct op *op = create_task_op(run_update, task, done, data);
    if (!op)
        return -ENOMEM;
    queue_update(store, op, false);
    return 0;
}

int store_update_lazily(struct store *store, const struct task *task)
{
    struct op *op = create_task_op(run_update, task, NULL, NULL);
    if (!op)
        return -ENOMEM;
    queue_update(store, op, true);
    return 0;
}

static int run_change(struct database *database, struct op *op)
{
    return database_change(database, &op->task, op->what);
}

int store_change(struct store *store, const struct task *task, struct store_change what,
                 store_done done, void *data)
{
    struct op *op = create_task_op(run_change, task, done, data);
    if (!op)
        return -ENOMEM;
    op->what = what;
    queue_op(store, op);
    return 0;
}

/* Leaves in op->rows those that were cleared and may have a part. */
static int run_clear(struct database *database, struct op *op)
{
    size_t with_part = 0;
    for (size_t i = 0; i < op->count; i++) {
        bool has_part = false;
        int result = database_clear(database, op->rows[i], op->when, &has_part);
        if (result < 0 && result != -ENOENT)
            return result;
        op->cleared += result == 0;
        if (has_part)
            op->rows[with_part++] = op->rows[i];
    }
    op->count = with_part;
    return 0;
}

int store_clear(struct store *store, const int64_t *rows, size_t count, int64_t when,
                size_t *ret_cleared, store_part part, store_done done, void *data)
{
    struct op *op = create_op(run_clear, done, data);
    if (!op)
        return -ENOMEM;
    op->when = when;
    op->ret_cleared = ret_cleared;
    op->part = part;
    op->count = count;
    if (count > 0) {
        op->rows = reallocarray(NULL, count, sizeof(*rows));
        if (!op->rows) {
            op_destroy(op);
            return -ENOMEM;
        }
        memcpy(op->rows, rows, count * sizeof(*rows));
    }
    queue_op(store, op);
    return 0;
}

/* One step of it. What becomes of it is true after the commit, in go_on. */
static int run_many(struct database *database, struct op *op)
{
    const struct store_many *many = op->many;
    op->errand = many->errand;
    op->many_next = many->next;
    if (many->count > STORE_MANY_AT_ONCE && many->errand == 0)
        return database_begin_errand(database, many, &op->errand);
    size_t left = many->count - many->next;
    size_t count = left < STORE_MANY_AT_ONCE ? left : STORE_MANY_AT_ONCE;
    op->many_next = many->next + count;
    int result = database_do_some(database, many, count);
    if (result == 0 && op->many_next == many->count && many->errand != 0)
        result = database_end_errand(database, many->errand);
    return result;
}

int store_do_many(struct store *store, struct store_many *many, store_done done, void *data)
{
    struct op *op = create_op(run_many, done, data);
    if (!op)
        return -ENOMEM;
    op->alone = true;
    op->many = many;
    queue_op(store, op);
    return 0;
}

static int run_forget(struct database *database, struct op *op)
{
    bool ended = false;
    int result = database_forget(database, op->row, &ended);
    op->refusal = ended ? 0 : -EBUSY;
    return result;
}

int store_forget(struct store *store, int64_t row, store_done done, void *data)
{
    struct op *op = create_op(run_forget, done, data);
    if (!op)
        return -ENOMEM;
    op->row = row;
    queue_op(store, op);
    return 0;
}

static int run_prune(struct database *database, struct op *op)
{
    return database_prune(database, op->before, op->keep, op->max, op->rows, PRUNED_PARTS,
                          &op->count);
}

int store_prune(struct store *store, int64_t before, uint64_t keep, unsigned max, store_part part,
                store_done done, void *data)
{
    struct op *op = create_op(run_prune, done, data);
    if (!op)
        return -ENOMEM;
    op->rows = calloc(PRUNED_PARTS, sizeof(*op->rows));
    if (!op->rows) {
        op_destroy(op);
        return -ENOMEM;
    }
    op->before = before;
    op->keep = keep;
    op->max = max;
    op->part = part;
    queue_op(store, op);
    return 0;
}

static int run_set_pause(struct database *database, struct op *op)
{
    return database_set_pause(database, &op->pause);
}

int store_set_pause(struct store *store, const struct store_pause *pause, store_done done,
                    void *data)
{
    struct op *op = create_op(run_set_pause, done, data);
    if (!op)
        return -ENOMEM;
    op->pause = *pause;
    queue_op(store, op);
    return 0;
}

static int run_end_pause(struct database *database, struct op *op)
{
    return database_end_pause(database, op->pause.uid);
}

int store_end_pause(struct store *store, uid_t uid, store_done done, void *data)
{
    struct op *op = create_op(run_end_pause, done, data);
    if (!op)
        return -ENOMEM;
    op->pause.uid = uid;
    queue_op(store, op);
    return 0;
}

static int run_nothing(struct database *database, struct op *op)
{
    (void)database;
    (void)op;
    return 0;
}

int store_come_round(struct store *store, store_done done, void *data)
{
    struct op *op = create_op(run_nothing, done, data);
    if (!op)
        return -ENOMEM;
    queue_op(store, op);
    return 0;
}

struct passing {
    pthread_mutex_t lock;
    pthread_cond_t passed;
    bool has_passed; /* protected by lock */
};

static void on_passed(void *data, int result)
{
    struct passing *passing = data;
    (void)result;
    pthread_mutex_lock(&passing->lock);
    passing->has_passed = true;
    pthread_cond_signal(&passing->passed);
    pthread_mutex_unlock(&passing->lock);
}

void store_sync(struct store *store)
{
    struct passing passing = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false};
    if (store_come_round(store, on_passed, &passing) < 0)
        return; /* nothing is lost: what is not committed was not acknowledged either */
    pthread_mutex_lock(&passing.lock);
    while (!passing.has_passed)
        pthread_cond_wait(&passing.passed, &passing.lock);
    pthread_mutex_unlock(&passing.lock);
    pthread_cond_destroy(&passing.passed);
    pthread_mutex_destroy(&passing.lock);
}

/* --- reads --- */

int store_fetch(struct store *store, int64_t row, struct task *ret_task)
{
    pthread_mutex_lock(&store->reader_lock);
    int result = database_fetch(store->reader, row, ret_task);
    pthread_mutex_unlock(&store->reader_lock);
    return result;
}

/* What can begin an id, in lower case. */
static bool normalise_prefix(const char *prefix, char ret_prefix[static API_ID_LENGTH + 1])
{
    size_t length = strnlen(prefix, API_ID_LENGTH + 1);
    if (length < API_ID_PREFIX_MIN || length > API_ID_LENGTH)
        return false;
    for (size_t i = 0; i < length; i++) {
        if (!isxdigit((unsigned char)prefix[i]) && prefix[i] != '-')
            return false;
        ret_prefix[i] = (char)tolower((unsigned char)prefix[i]);
    }
    ret_prefix[length] = '\0';
    return true;
}

int store_find(struct store *store, uid_t uid, const char *prefix, struct task *ret_task)
{
    char normalised[API_ID_LENGTH + 1];
    if (!normalise_prefix(prefix, normalised))
        return -ENOENT;
    pthread_mutex_lock(&store->reader_lock);
    int result = database_find(store->reader, uid, normalised, ret_task);
    pthread_mutex_unlock(&store->reader_lock);
    return result;
}

int store_find_ids(struct store *store, uid_t uid, const char *prefix, size_t max,
                   char (*ret_ids)[API_ID_LENGTH + 1], size_t *ret_count)
{
    char normalised[API_ID_LENGTH + 1];
    if (!normalise_prefix(prefix, normalised))
        return -EINVAL;
    pthread_mutex_lock(&store->reader_lock);
    int result = database_find_ids(store->reader, uid, normalised, max, ret_ids, ret_count);
    pthread_mutex_unlock(&store->reader_lock);
    return result;
}

int store_dest_taken(struct store *store, const char *directory, const char *name)
{
    pthread_mutex_lock(&store->reader_lock);
    int result = database_dest_taken(store->reader, directory, name);
    pthread_mutex_unlock(&store->reader_lock);
    return result;
}

int store_dests_taken(struct store *store, const char *directory, const char *const *names,
                      size_t count, bool *ret_taken)
{
    pthread_mutex_lock(&store->reader_lock);
    int result = database_dests_taken(store->reader, directory, names, count, ret_taken);
    pthread_mutex_unlock(&store->reader_lock);
    return result;
}

int store_find_dest(struct store *store, const char *directory, const char *name,
                    struct task *ret_task)
{
    pthread_mutex_lock(&store->reader_lock);
    int result = database_find_dest(store->reader, directory, name, ret_task);
    pthread_mutex_unlock(&store->reader_lock);
    return result;
}

int store_list_dependants(struct store *store, const struct store_dependant *last, size_t max,
                          struct store_dependant *ret_list, size_t *ret_count)
{
    pthread_mutex_lock(&store->reader_lock);
    int result = database_list_dependants(store->reader, last, max, ret_list, ret_count);
    pthread_mutex_unlock(&store->reader_lock);
    return result;
}

/* In chunks, so that nothing is locked and no read transaction is open while calling back. */
typedef int (*list_chunk)(struct database *database, int64_t after, size_t max,
                          struct store_listed *ret_list, size_t *ret_count);

/* The lock is not held while the caller is called. */
static int walk(struct store *store, list_chunk list, store_each each, void *data)
{
    int64_t after = 0;
    size_t count;
    do {
        struct store_listed chunk[WALK_CHUNK];
        pthread_mutex_lock(&store->reader_lock);
        int result = list(store->reader, after, WALK_CHUNK, chunk, &count);
        pthread_mutex_unlock(&store->reader_lock);
        if (result < 0)
            return result;
        for (size_t i = 0; i < count; i++) {
            result = each(data, &chunk[i]);
            if (result != 0)
                return result;
            after = chunk[i].row;
        }
    } while (count == WALK_CHUNK);
    return 0;
}

int store_each_unfinished(struct store *store, store_each each, void *data)
{
    return walk(store, database_list_unfinished, each, data);
}

int store_each_stray(struct store *store, store_each each, void *data)
{
    return walk(store, database_list_strays, each, data);
}

void store_give_memory_back(struct store *store)
{
    pthread_mutex_lock(&store->reader_lock);
    database_give_memory_back(store->reader);
    pthread_mutex_unlock(&store->reader_lock);
}

int store_host_key(struct store *store, uint8_t ret_key[static STORE_HOST_KEY_SIZE])
{
    pthread_mutex_lock(&store->reader_lock);
    int result = database_host_key(store->reader, ret_key);
    pthread_mutex_unlock(&store->reader_lock);
    return result;
}

int store_pauses(struct store *store, struct store_pause **ret_pauses, size_t *ret_count)
{
    pthread_mutex_lock(&store->reader_lock);
    int result = database_list_pauses(store->reader, ret_pauses, ret_count);
    pthread_mutex_unlock(&store->reader_lock);
    return result;
}

/* --- lists --- */

static int unlock_lister(struct store *store, int result)
{
    pthread_mutex_lock(&store->lister_lock);
    store->lister_served++;
    pthread_cond_broadcast(&store->lister_turn);
    pthread_mutex_unlock(&store->lister_lock);
    return result;
}

/* 0: it is ours, and connected. */
static int lock_lister(struct store *store)
{
    char message[256];
    pthread_mutex_lock(&store->lister_lock);
    uint64_t turn = store->lister_asked++;
    while (store->lister_served != turn)
        pthread_cond_wait(&store->lister_turn, &store->lister_lock);
    pthread_mutex_unlock(&store->lister_lock);
    int result = store->lister ? 0 : database_open(store->path, &store->lister, message);
    return result < 0 ? unlock_lister(store, result) : 0;
}

int store_list(struct store *store, const struct store_filter *filter, int64_t *before, size_t max,
               int64_t *ret_rows, size_t *ret_count)
{
    int result = lock_lister(store);
    if (result < 0)
        return result;
    result = database_list(store->lister, filter, before, max, ret_rows, ret_count);
    return unlock_lister(store, result);
}

int store_fits(struct store *store, const struct store_filter *filter, int64_t row)
{
    int result = lock_lister(store);
    if (result < 0)
        return result;
    return unlock_lister(store, database_fits(store->lister, filter, row));
}

int store_fetch_many(struct store *store, const int64_t *rows, size_t count,
                     struct task *ret_tasks)
{
    int result = lock_lister(store);
    if (result < 0)
        return result;
    return unlock_lister(store, database_fetch_many(store->lister, rows, count, ret_tasks));
}

int store_uid_of(struct store *store, const char *user, uid_t *ret_uid)
{
    int result = lock_lister(store);
    if (result < 0)
        return result;
    return unlock_lister(store, database_uid_of(store->lister, user, ret_uid));
}

int store_count_at_rest(struct store *store, uid_t uid, uint64_t ret_counts[TASK_STATES])
{
    int result = lock_lister(store);
    if (result < 0)
        return result;
    return unlock_lister(store, database_count_at_rest(store->lister, uid, ret_counts));
}
