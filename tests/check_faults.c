/*
 * What happens when something fails that hardly ever does. The linker puts our functions between
 * the program's own objects (not its libraries) and malloc(3) and the like, sqlite3_step() and the
 * like, pwrite(2) and the like. Each scenario runs again and again, with the first such call
 * failing, then the second, ..., until one run meets no failure.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/cleanup.h"
#include "common/json.h"
#include "core/address.h"
#include "core/queue.h"
#include "core/settings.h"
#include "core/stats.h"
#include "core/task.h"
#include "hostile.h"
#include "store/store.h"
#include "tap.h"
#include "transfer/checksum.h"
#include "transfer/naming.h"
#include "transfer/transfer.h"

#define ALICE     1000
#define BOB       1001
#define CALLS_MAX 2000 /* a scenario has fewer that can fail */

/* --- making calls fail --- */

enum kind {
    NOTHING,
    ALLOCATION,
    SQL,
    DISK,
};

static struct {
    atomic_int kind; /* what may fail now */
    atomic_int on_all_threads;
    pthread_t thread;  /* else on this one only */
    atomic_uint calls; /* so many came */
    unsigned failing;  /* this one fails, counted from 1 */
    bool lasting;      /* and those after it */
    int code;          /* SQL: the result; DISK: the errno, 0: written in part */
    atomic_uint failed;
} faults;

static unsigned scenario_failures; /* of all runs */

static void begin_faults(enum kind kind)
{
    faults.thread = pthread_self();
    atomic_store(&faults.kind, kind);
}

static void end_faults(void)
{
    atomic_store(&faults.kind, NOTHING);
}

/* Check needs memory for its assertions, and statically linked its calls are seen here too. */
#define CALMLY(...)                                                                                \
    do {                                                                                           \
        int kind_ = atomic_exchange(&faults.kind, NOTHING);                                        \
        __VA_ARGS__;                                                                               \
        atomic_store(&faults.kind, kind_);                                                         \
    } while (0)

static void prepare_faults(unsigned failing, int code, bool lasting)
{
    atomic_store(&faults.calls, 0);
    atomic_store(&faults.failed, 0);
    faults.failing = failing;
    faults.code = code;
    faults.lasting = lasting;
}

static bool fails(enum kind kind)
{
    if (atomic_load(&faults.kind) != (int)kind)
        return false;
    if (!atomic_load(&faults.on_all_threads) && !pthread_equal(faults.thread, pthread_self()))
        return false;
    unsigned call = atomic_fetch_add(&faults.calls, 1) + 1;
    if (faults.lasting ? call < faults.failing : call != faults.failing)
        return false;
    atomic_fetch_add(&faults.failed, 1);
    errno = kind == DISK ? faults.code : ENOMEM;
    return true;
}

/* Runs the scenario with each of its calls failing; it says 0 or a negative errno. That errno must
 * be `expected`, and a run without a failure must succeed. */
static void fail_each(int (*scenario)(void), int code, bool lasting, int expected)
{
    for (unsigned n = 1;; n++) {
        ck_assert_uint_lt(n, CALLS_MAX);
        prepare_faults(n, code, lasting);
        int r = scenario();
        end_faults();
        unsigned failed = atomic_load(&faults.failed);
        scenario_failures += failed;
        ck_assert_msg(r == 0 || (failed > 0 && r == expected), "call %u failing gives %d", n, r);
        if (failed == 0)
            return;
    }
}

static void report(const char *name)
{
    printf("# %s: %u failures\n", name, scenario_failures);
    fflush(stdout);
}

static void fail_each_allocation(const char *name, int (*scenario)(void))
{
    fail_each(scenario, 0, false, -ENOMEM);
    fail_each(scenario, 0, true, -ENOMEM);
    ck_assert_uint_gt(scenario_failures, 0);
    report(name);
}

/* The linker's names: a call of X in our objects is one of __wrap_X, and __real_X is the X meant.
 */
#define WRAPPED(type, name, ...)                                                                   \
    extern type __real_##name(__VA_ARGS__);                                                        \
    type __wrap_##name(__VA_ARGS__);                                                               \
    type __wrap_##name(__VA_ARGS__)

WRAPPED(void *, malloc, size_t size)
{
    return fails(ALLOCATION) ? NULL : __real_malloc(size);
}

WRAPPED(void *, calloc, size_t count, size_t size)
{
    return fails(ALLOCATION) ? NULL : __real_calloc(count, size);
}

WRAPPED(void *, realloc, void *old, size_t size)
{
    return fails(ALLOCATION) ? NULL : __real_realloc(old, size);
}

WRAPPED(void *, reallocarray, void *old, size_t count, size_t size)
{
    return fails(ALLOCATION) ? NULL : __real_reallocarray(old, count, size);
}

WRAPPED(char *, strdup, const char *text)
{
    return fails(ALLOCATION) ? NULL : __real_strdup(text);
}

WRAPPED(char *, strndup, const char *text, size_t max)
{
    return fails(ALLOCATION) ? NULL : __real_strndup(text, max);
}

int __wrap_asprintf(char **ret_text, const char *format, ...) __attribute__((format(printf, 2, 3)));
int __wrap_asprintf(char **ret_text, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int r = fails(ALLOCATION) ? -1 : vasprintf(ret_text, format, arguments);
    va_end(arguments);
    return r;
}

/* What glibc makes of it where it checks more. */
int __wrap___asprintf_chk(char **ret_text, int flag, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
int __wrap___asprintf_chk(char **ret_text, int flag, const char *format, ...)
{
    (void)flag;
    va_list arguments;
    va_start(arguments, format);
    int r = fails(ALLOCATION) ? -1 : vasprintf(ret_text, format, arguments);
    va_end(arguments);
    return r;
}

WRAPPED(int, sqlite3_open_v2, const char *path, sqlite3 **ret_connection, int flags,
        const char *vfs)
{
    int code = __real_sqlite3_open_v2(path, ret_connection, flags, vfs);
    return fails(SQL) ? faults.code : code;
}

WRAPPED(int, sqlite3_prepare_v2, sqlite3 *connection, const char *sql, int len,
        sqlite3_stmt **ret_statement, const char **ret_tail)
{
    return fails(SQL) ? faults.code
                      : __real_sqlite3_prepare_v2(connection, sql, len, ret_statement, ret_tail);
}

WRAPPED(int, sqlite3_prepare_v3, sqlite3 *connection, const char *sql, int len, unsigned flags,
        sqlite3_stmt **ret_statement, const char **ret_tail)
{
    if (fails(SQL))
        return faults.code;
    return __real_sqlite3_prepare_v3(connection, sql, len, flags, ret_statement, ret_tail);
}

WRAPPED(int, sqlite3_exec, sqlite3 *connection, const char *sql,
        int (*callback)(void *, int, char **, char **), void *data, char **ret_message)
{
    bool ends_anyway = strcmp(sql, "ROLLBACK") == 0;
    return !ends_anyway && fails(SQL)
               ? faults.code
               : __real_sqlite3_exec(connection, sql, callback, data, ret_message);
}

WRAPPED(int, sqlite3_step, sqlite3_stmt *statement)
{
    return fails(SQL) ? faults.code : __real_sqlite3_step(statement);
}

WRAPPED(ssize_t, pwrite, int fd, const void *bytes, size_t len, off_t at)
{
    if (!fails(DISK))
        return __real_pwrite(fd, bytes, len, at);
    return faults.code == 0 ? __real_pwrite(fd, bytes, (len + 1) / 2, at) : -1;
}

WRAPPED(ssize_t, pread, int fd, void *bytes, size_t len, off_t at)
{
    if (!fails(DISK))
        return __real_pread(fd, bytes, len, at);
    return faults.code == 0 ? __real_pread(fd, bytes, (len + 1) / 2, at) : -1;
}

WRAPPED(int, ftruncate, int fd, off_t size)
{
    return faults.code != 0 && fails(DISK) ? -1 : __real_ftruncate(fd, size);
}

WRAPPED(int, fallocate, int fd, int mode, off_t at, off_t len)
{
    return faults.code != 0 && fails(DISK) ? -1 : __real_fallocate(fd, mode, at, len);
}

WRAPPED(int, fstat, int fd, struct stat *ret_status)
{
    return faults.code != 0 && fails(DISK) ? -1 : __real_fstat(fd, ret_status);
}

/* --- a directory for each test --- */

static char directory[PATH_MAX];

static const char *path_of(const char *file)
{
    static char path[PATH_MAX + 32];
    snprintf(path, sizeof(path), "%s/%s", directory, file);
    return path;
}

static void set_up(void)
{
    const char *parent = getenv("TMPDIR");
    snprintf(directory, sizeof(directory), "%s/check_faults.XXXXXX", parent ? parent : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(directory));
    signal(SIGPIPE, SIG_IGN);
}

static void remove_database(void)
{
    unlink(path_of("autodl.db"));
    unlink(path_of("autodl.db-wal"));
    unlink(path_of("autodl.db-shm"));
}

static void tear_down(void)
{
    remove_database();
    unlink(path_of("file"));
    ck_assert_int_eq(rmdir(directory), 0);
}

static void write_text(const char *file, const char *text)
{
    FILE *stream = fopen(path_of(file), "we");
    ck_assert_ptr_nonnull(stream);
    fputs(text, stream);
    ck_assert_int_eq(fclose(stream), 0);
}

/* --- memory: pure modules --- */

static struct task make_task(const char *name)
{
    struct task task = {
        .uid = ALICE,
        .user = strdup("alice"),
        .url = strdup("https://example.org/a?b=c"),
        .directory = strdup("/home/alice"),
        .name = strdup(name),
        .state = TASK_ENQUEUED,
        .admitted = true,
        .created_at = 1700000000123,
        .bytes_total = -1,
        .retries = -1,
        .checksum = strdup("md5=00"),
        .headers = strdup("X: y\n"),
        .etag = strdup("\"e\""),
    };
    task_make_id(task.id);
    return task;
}

static int copy_a_task(void)
{
    _cleanup_(task_release) struct task task = make_task("a"), copy = {0};
    begin_faults(ALLOCATION);
    int r = task_copy(&task, &copy);
    _cleanup_free_ char *dest = r == 0 ? task_dest(&task) : NULL;
    _cleanup_free_ char *part = dest ? task_part_name(&task) : NULL;
    end_faults();
    if (r < 0)
        ck_assert(!copy.user && !copy.name && !copy.etag && copy.uid == 0); /* zeroed */
    else
        ck_assert(strcmp(copy.etag, task.etag) == 0 && copy.etag != task.etag);
    ck_assert_str_eq(task.name, "a");
    return part ? 0 : -ENOMEM;
}

START_TEST(tasks)
{
    fail_each_allocation("task", copy_a_task);
}
END_TEST

static int64_t queue_time;

static int64_t queue_now(void)
{
    return queue_time;
}

/* Rows 1 to 40 in turn; what was taken in comes out once. */
static int use_a_queue(void)
{
    struct queue *queue = NULL;
    bool in[41] = {false};
    size_t count = 0, cleared = 0;
    int64_t *rows = NULL;
    int first = 0;
    queue_time = 1;
    begin_faults(ALLOCATION);
    int r = queue_create(4, 4, queue_now, &queue);
    if (r < 0) {
        CALMLY(ck_assert_ptr_null(queue));
        return r;
    }
    for (int i = 1; i <= 40; i++) {
        uid_t uid = (uid_t)(ALICE + i % 10); /* more users than there is room for at first */
        const struct queue_task task = {
            .row = i, .host = (uint64_t)i % 20, .uid = uid, .priority = (int8_t)(i % 2)};
        r = i % 3 == 0   ? queue_push_later(queue, &task, 10 * i, QUEUE_RETRY)
            : i % 3 == 1 ? queue_push(queue, &task)
                         : queue_push_front(queue, &task);
        in[i] = r == 0;
        count += r == 0;
        first = first < 0 ? first : r;
    }
    CALMLY(ck_assert_uint_eq(queue_length(queue, QUEUE_EVERYBODY), count));
    r = queue_pause(queue, BOB + 50, 5);
    first = first < 0 ? first : r;
    CALMLY(ck_assert_int_eq(queue_resume(queue, BOB + 50), r == 0));
    r = queue_hold(queue, BOB + 51, QUEUE_HOLD_STORAGE, true);
    first = first < 0 ? first : r;
    CALMLY(ck_assert_int_eq(queue_held(queue, BOB + 51, QUEUE_HOLD_STORAGE), r == 0));

    r = queue_hold_host(queue, 21, 199);
    first = first < 0 ? first : r;

    struct queue_task task = {0};
    queue_time = 200; /* half of those that wait */
    queue_tick(queue);
    for (int i = 0; i < 5 && queue_length(queue, QUEUE_EVERYBODY) > 30; i++) {
        CALMLY(ck_assert_int_eq(queue_pop(queue, 0, &task), 0));
        CALMLY(ck_assert(in[task.row]));
        in[task.row] = false;
        count--;
        queue_release(queue, &task);
    }
    r = queue_clear(queue, QUEUE_EVERYBODY, &rows, &cleared);
    end_faults();
    if (r < 0) { /* nothing was taken: the next one gets all */
        first = first < 0 ? first : r;
        ck_assert_ptr_null(rows);
        ck_assert_uint_eq(queue_length(queue, QUEUE_EVERYBODY), count);
        ck_assert_int_eq(queue_clear(queue, QUEUE_EVERYBODY, &rows, &cleared), 0);
    }
    ck_assert_uint_eq(cleared, count);
    for (size_t i = 0; i < cleared; i++) {
        ck_assert(in[rows[i]]);
        in[rows[i]] = false;
    }
    free(rows);
    ck_assert_int_eq(queue_push(queue, &(struct queue_task){.row = 99, .uid = ALICE}), 0);
    ck_assert_int_eq(queue_pop(queue, 0, &task), 0);
    ck_assert_int_eq(task.row, 99);
    queue_release(queue, &task);
    queue_destroy(queue);
    return first;
}

START_TEST(queues)
{
    fail_each_allocation("queue", use_a_queue);
}
END_TEST

static int use_settings(void)
{
    struct settings settings = {0};
    char message[512] = "";
    begin_faults(ALLOCATION);
    int r = settings_init(&settings, path_of("file"));
    if (r < 0)
        return r;
    CALMLY(ck_assert_uint_eq(settings.umask, 077); /* not quietly a laxer one */
           r = settings_set(&settings, "host-names", "a, b", message));
    CALMLY(ck_assert_uint_eq(settings.host_names.count, r < 0 ? 0 : 2));
    if (r == 0)
        r = settings_set(&settings, "host-names", "c", message);
    if (r == 0)
        r = settings_set(&settings, "user-agent", "me", message);
    CALMLY(ck_assert_ptr_nonnull(settings.user_agent));
    CALMLY(ck_assert(r == 0 || strcmp(settings.user_agent, "me") != 0));
    if (r == 0)
        r = settings_read_file(&settings, path_of("conf"), false, message);
    end_faults();
    settings_release(&settings);
    return r;
}

START_TEST(the_settings)
{
    write_text("file", "# as in login.defs\nUMASK 077\n");
    write_text("conf", "host-names = d, e\nproxy = none\nkeep-history = 30d, 1000\n"
                       "allow-users = alice\ndefault-directory = ~/x\n");
    fail_each_allocation("settings", use_settings);
    unlink(path_of("conf"));
}
END_TEST

static int use_stats(void)
{
    struct stats *stats = NULL;
    struct stats_snapshot seen;
    begin_faults(ALLOCATION);
    int r = stats_create(&stats);
    if (r < 0) {
        CALMLY(ck_assert_ptr_null(stats));
        return r;
    }
    for (int code = 200; code < 210; code++)
        stats_response(stats, code, 1000);
    end_faults();
    stats_read(stats, 1000, &seen);
    ck_assert_uint_eq(seen.responses_total, 10); /* counted, if not by code */
    stats_destroy(stats);
    return 0;
}

START_TEST(the_stats)
{
    fail_each_allocation("stats", use_stats);
}
END_TEST

static int write_json(void)
{
    struct buf buf;
    buf_init(&buf, 10000);
    begin_faults(ALLOCATION);
    for (int i = 0; i < 40; i++) {
        json_add_string(&buf, "caf\xc3\xa9 \"x\"\xff");
        json_add_float(&buf, 0.1 * i);
        buf_printf(&buf, ", %d", i);
    }
    int r = buf.error;
    _cleanup_free_ char *text = buf_take(&buf);
    end_faults();
    ck_assert((r == 0) == (text != NULL));
    if (r < 0)
        buf_clear(&buf);
    ck_assert_int_eq(buf_add_string(&buf, "more"), 0);
    ck_assert_str_eq(buf.data, "more");
    buf_release(&buf);
    return r;
}

START_TEST(buffers_and_json)
{
    fail_each_allocation("buf and json", write_json);
}
END_TEST

static int visit_member(void *data, const char *name, struct json_object *value)
{
    const char *text;
    (*(unsigned *)data)++;
    (void)name;
    return json_get_text(value, &text);
}

/* Only its library needs memory; so nothing of ours can fail. */
static int read_json(void)
{
    static const char text[] = "{\"a\": \"b\", \"c\": \"d\"}";
    struct json_object *object = NULL;
    char message[128];
    unsigned members = 0;
    begin_faults(ALLOCATION);
    int r = json_read(text, sizeof(text) - 1, &object, message);
    end_faults();
    if (r == 0)
        ck_assert_int_eq(json_each(object, visit_member, &members), 0);
    ck_assert_uint_eq(members, r == 0 ? 2 : 0);
    json_release(object);
    return r;
}

START_TEST(reading_json)
{
    fail_each(read_json, 0, false, -ENOMEM);
    report("reading json");
}
END_TEST

static bool is_name(const char *name)
{
    return *name && strcmp(name, ".") != 0 && strcmp(name, "..") != 0 && !strchr(name, '/');
}

static int make_names(void)
{
    begin_faults(ALLOCATION);
    _cleanup_free_ char *plain = naming_from_url("https://x/a/caf%C3%A9%0a.txt?q", false);
    _cleanup_free_ char *unique = naming_unique("https://x/", false);
    _cleanup_free_ char *numbered = naming_numbered("stem.ext", 7);
    _cleanup_free_ char *same = naming_numbered("stem.ext", 0);
    _cleanup_free_ char *given = naming_from_disposition(
        "attachment; filename=\"plain.txt\"; filename*=UTF-8''caf%C3%A9.txt", false);
    end_faults();
    ck_assert(!plain || strcmp(plain, "caf\xc3\xa9%0A.txt") == 0);
    ck_assert(!unique || is_name(unique));
    ck_assert(!numbered || strcmp(numbered, "stem-7.ext") == 0);
    ck_assert(!same || strcmp(same, "stem.ext") == 0);
    ck_assert(!given || strcmp(given, "plain.txt") == 0 || strcmp(given, "caf\xc3\xa9.txt") == 0);
    return plain && unique && numbered && same && given ? 0 : -ENOMEM;
}

START_TEST(names)
{
    fail_each_allocation("naming", make_names);
}
END_TEST

static int check_a_sum(void)
{
    struct checksum *checksum = NULL;
    char message[400];
    begin_faults(ALLOCATION);
    int r = checksum_create("md5=5d41402abc4b2a76b9719d911017c592", &checksum);
    CALMLY(ck_assert((r == 0) == (checksum != NULL)));
    if (r == 0)
        checksum_add(checksum, "hello", 5);
    end_faults();
    if (r == 0)
        ck_assert_int_eq(checksum_verify(checksum, message), 0);
    checksum_destroy(checksum);
    return r;
}

START_TEST(checksums)
{
    fail_each_allocation("checksum", check_a_sum);
}
END_TEST

/* --- the store --- */

static struct store *store;

static void open_store(void)
{
    char message[256];
    int r = store_open(directory, &store, message);
    ck_assert_msg(r == 0, "%s", message);
}

/* A write, and what its callback said. */
struct write {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned called;
    int result;
    int64_t row;
};
#define WRITE_INIT                                                                                 \
    {                                                                                              \
        .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER, .result = 1        \
    }

static void on_done(void *data, int result)
{
    struct write *write = data;
    pthread_mutex_lock(&write->lock);
    write->called++;
    write->result = result;
    pthread_cond_signal(&write->changed);
    pthread_mutex_unlock(&write->lock);
}

/* `queued`: what the store said at once. What came in the end. */
static int outcome_of(int queued, struct write *write)
{
    if (queued < 0)
        return queued;
    pthread_mutex_lock(&write->lock);
    while (write->called == 0)
        pthread_cond_wait(&write->changed, &write->lock);
    CALMLY(ck_assert_uint_eq(write->called, 1));
    CALMLY(ck_assert_int_le(write->result, 0));
    pthread_mutex_unlock(&write->lock);
    return write->result;
}

static int first_failure;

static bool went_well(int r)
{
    if (r < 0 && first_failure == 0)
        first_failure = r;
    CALMLY(ck_assert_msg(r == 0 || r == first_failure, "%d after %d", r, first_failure));
    return r == 0;
}

/* What must be there. */
struct known {
    struct task task;
    bool there;
};

static void assert_known(struct known *known)
{
    _cleanup_(task_release) struct task found = {0};
    int r = store_find(store, ALICE, known->task.id, &found);
    ck_assert_int_eq(r, known->there ? 0 : -ENOENT);
    if (!known->there)
        return;
    ck_assert_int_eq(found.row, known->task.row);
    ck_assert_int_eq(found.state, known->task.state);
    ck_assert_int_eq(found.bytes_done, known->task.bytes_done);
    ck_assert_str_eq(found.name, known->task.name);
}

static void assert_pauses(bool alice, bool everybody)
{
    _cleanup_free_ struct store_pause *pauses = NULL;
    size_t count;
    ck_assert_int_eq(store_pauses(store, &pauses, &count), 0);
    ck_assert_uint_eq(count, (size_t)alice + everybody);
}

static void add_both(struct known known[static 2])
{
    struct write writes[2] = {WRITE_INIT, WRITE_INIT};
    int queued[2];
    for (int i = 0; i < 2; i++)
        queued[i] = store_add(store, &known[i].task, &writes[i].row, on_done, &writes[i]);
    for (int i = 0; i < 2; i++) {
        known[i].there = went_well(outcome_of(queued[i], &writes[i]));
        CALMLY(ck_assert_int_eq(writes[i].row > 0, known[i].there));
        known[i].task.row = writes[i].row;
    }
}

static void update(struct known *known, enum task_state state)
{
    struct write write = WRITE_INIT;
    struct task changed = known->task;
    changed.state = state;
    changed.bytes_done = 5;
    if (!known->there ||
        !went_well(outcome_of(store_update(store, &changed, on_done, &write), &write)))
        return;
    known->task.state = state;
    known->task.bytes_done = 5;
}

static void clear_both(struct known known[static 2])
{
    struct write write = WRITE_INIT;
    int64_t rows[] = {known[0].task.row, known[1].task.row};
    int queued = store_clear(store, rows, 2, 5, NULL, NULL, on_done, &write);
    if (!went_well(outcome_of(queued, &write)))
        return;
    for (int i = 0; i < 2; i++)
        if (known[i].there &&
            (known[i].task.state == TASK_ENQUEUED || known[i].task.state == TASK_DOWNLOADING))
            known[i].task.state = TASK_CLEARED;
}

static void forget(struct known *known)
{
    struct write write = WRITE_INIT;
    if (!known->there || !task_state_ended(known->task.state))
        return;
    if (went_well(outcome_of(store_forget(store, known->task.row, on_done, &write), &write)))
        known->there = false;
}

static void prune(struct known *known, unsigned count)
{
    struct write write = WRITE_INIT;
    if (!went_well(outcome_of(store_prune(store, 0, 0, 100, NULL, on_done, &write), &write)))
        return;
    for (unsigned i = 0; i < count; i++)
        known[i].there = known[i].there && !task_state_ended(known[i].task.state);
}

static bool pause_store(uid_t uid)
{
    struct write write = WRITE_INIT;
    struct store_pause pause = {.uid = uid, .until = 5, .length = 6};
    return went_well(outcome_of(store_set_pause(store, &pause, on_done, &write), &write));
}

static bool resume_store(uid_t uid)
{
    struct write write = WRITE_INIT;
    return went_well(outcome_of(store_end_pause(store, uid, on_done, &write), &write));
}

static void read_store(const struct known *known)
{
    _cleanup_(task_release) struct task task = {0}, found = {0}, at_dest = {0};
    _cleanup_free_ struct store_pause *pauses = NULL;
    size_t count;
    if (known->there) {
        went_well(store_fetch(store, known->task.row, &task));
        went_well(store_find(store, ALICE, known->task.id, &found));
    }
    int r = store_find_dest(store, "/home/alice", "no such", &at_dest);
    went_well(r == -ENOENT ? 0 : r);
    went_well(store_dest_taken(store, "/home/alice", "no such"));
    went_well(store_pauses(store, &pauses, &count));
}

/* All kinds of writes. Those that said 0 have had their effect and no other has, before and after
 * the store was opened again; and then everything goes well. */
static enum kind store_faults;

static int use_a_store(void)
{
    struct known known[] = {{.task = make_task("a")},
                            {.task = make_task("b")},
                            {.task = make_task("c")},
                            {.task = make_task("d")}};
    enum { COUNT = sizeof(known) / sizeof(known[0]) };
    first_failure = 0;
    atomic_store(&faults.on_all_threads, true);
    begin_faults(store_faults);
    add_both(known);
    add_both(known + 2);
    update(&known[0], TASK_DOWNLOADING);
    clear_both(known + 1);
    bool alice = pause_store(ALICE), everybody = pause_store(STORE_EVERYBODY);
    read_store(&known[3]);
    forget(&known[2]);
    update(&known[3], TASK_FAILED);
    prune(known, COUNT);
    if (alice && resume_store(ALICE))
        alice = false;
    end_faults();
    atomic_store(&faults.on_all_threads, false);
    int r = first_failure;
    for (int again = 0; again < 2; again++) {
        for (unsigned i = 0; i < COUNT; i++)
            assert_known(&known[i]);
        assert_pauses(alice, everybody);
        if (again == 0) {
            store_close(TAKE_PTR(store));
            open_store();
        }
    }

    first_failure = 0;
    for (unsigned i = 0; i < COUNT; i++)
        update(&known[i], TASK_FINISHED);
    prune(known, COUNT);
    ck_assert(resume_store(ALICE) && resume_store(STORE_EVERYBODY));
    for (unsigned i = 0; i < COUNT; i++) {
        ck_assert(!known[i].there);
        assert_known(&known[i]);
        task_release(&known[i].task);
    }
    return r;
}

START_TEST(store_memory)
{
    open_store();
    store_faults = ALLOCATION;
    fail_each_allocation("store", use_a_store);
    store_close(store);
}
END_TEST

static const struct {
    int code;
    int expected;
} sql_codes[] = {
    {SQLITE_FULL,        -ENOSPC},
    {SQLITE_IOERR_FSYNC, -EIO   },
    {SQLITE_IOERR_WRITE, -EIO   },
    {SQLITE_BUSY,        -EBUSY },
    {SQLITE_NOMEM,       -ENOMEM},
};
#define SQL_CODES ((int)(sizeof(sql_codes) / sizeof(sql_codes[0])))

START_TEST(store_statements)
{
    open_store();
    store_faults = SQL;
    fail_each(use_a_store, sql_codes[_i].code, false, sql_codes[_i].expected);
    if (sql_codes[_i].code == SQLITE_FULL)
        fail_each(use_a_store, sql_codes[_i].code, true, sql_codes[_i].expected);
    ck_assert_uint_gt(scenario_failures, 0);
    report(sqlite3_errstr(sql_codes[_i].code));
    store_close(store);
}
END_TEST

/* The first time, schema and all. */
static int open_a_store(void)
{
    struct store *opened = NULL;
    char message[256] = "";
    remove_database();
    begin_faults(store_faults);
    int r = store_open(directory, &opened, message);
    end_faults();
    if (r == 0) {
        store_close(opened);
        return 0;
    }
    ck_assert_ptr_null(opened);
    ck_assert_str_ne(message, "");
    open_store(); /* what is there by now is no hindrance */
    store_close(TAKE_PTR(store));
    return r;
}

START_TEST(store_opening_memory)
{
    store_faults = ALLOCATION;
    fail_each_allocation("opening a store", open_a_store);
}
END_TEST

START_TEST(store_opening_statements)
{
    store_faults = SQL;
    fail_each(open_a_store, sql_codes[_i].code, false, sql_codes[_i].expected);
    ck_assert_uint_gt(scenario_failures, 0);
    report("opening a store");
}
END_TEST

/* --- transfers --- */

#define FILE_SIZE 1000000
static const char url_path[] = "/file?size=1000000";
static char url[64];

static struct hostile *server;
static struct download_share *share;
static int part = -1;

static int open_part(void *data, const struct download_head *head, int *ret_fd)
{
    (void)data, (void)head;
    *ret_fd = part;
    return 0;
}

static int on_version(void *data, const struct download_head *head, int64_t total, int64_t start,
                      bool anew, const char *why)
{
    (void)data, (void)head, (void)total, (void)start, (void)anew, (void)why;
    return 0;
}

static void on_progress(void *data, const struct transfer_progress *progress)
{
    struct stat status;
    (void)data;
    CALMLY(ck_assert_int_eq(__real_fstat(part, &status), 0));
    CALMLY(ck_assert_int_ge(status.st_size, progress->written));
}

static void on_response(void *data, int status)
{
    (void)data, (void)status;
}

static bool is_cancelled(void *data)
{
    (void)data;
    return false;
}

static const struct transfer_ops ops = {.open = open_part,
                                        .on_version = on_version,
                                        .on_progress = on_progress,
                                        .on_response = on_response,
                                        .cancelled = is_cancelled};
static const struct address_policy nothing_denied;
static const struct download_options options = {
    .user_agent = "check",
    .policy = &nothing_denied,
    .connect_timeout = 5000,
    .stall_timeout = 5000,
};

static enum kind transfer_faults;
static int64_t bytes_known; /* of an earlier attempt */

/* Bytes that nobody trusts, so that the file is cut. */
static void make_part(void)
{
    static const char junk[100000] = "junk";
    part = open(path_of("file"), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ck_assert_int_ge(part, 0);
    if (bytes_known > 0)
        ck_assert_int_eq(write(part, junk, sizeof(junk)), sizeof(junk));
}

static int run_transfer(struct transfer *transfer, const struct transfer_job *job)
{
    struct transfer_outcome outcome;
    const struct download_result *result = &outcome.download;
    int r = transfer_run(transfer, job, &options, &ops, &outcome);
    end_faults();
    if (r == 0) {
        ck_assert_int_eq(hostile_expect_file(path_of("file"), url_path, 0), 0);
        return 0;
    }
    ck_assert_int_eq(r, -EIO);
    ck_assert_ptr_nonnull(result->error_code);
    ck_assert_str_ne(result->error_message, "");
    if (transfer_faults == DISK) {
        ck_assert_str_eq(result->error_code, "disk");
        ck_assert_int_eq(result->disk_error, -faults.code);
        return result->disk_error;
    }
    ck_assert_str_eq(result->error_code, "internal");
    return -ENOMEM;
}

static int fetch_a_file(void)
{
    struct transfer *transfer = NULL;
    struct transfer_job job = {
        .url = url, .known = {.have = bytes_known, .total = bytes_known > 0 ? FILE_SIZE : -1}
    };
    make_part();
    begin_faults(transfer_faults);
    int r = transfer_create(share, &transfer);
    CALMLY(ck_assert((r == 0) == (transfer != NULL)));
    if (r == 0)
        r = run_transfer(transfer, &job);
    end_faults();
    if (transfer && r < 0) /* it can be used again */
        ck_assert_int_eq(run_transfer(transfer, &job), 0);
    transfer_destroy(transfer);
    close(part);
    return r;
}

static void start_transfers(enum kind kind)
{
    transfer_faults = kind;
    ck_assert_int_eq(hostile_start(0, &server), 0);
    ck_assert_int_eq(download_share_create(&share), 0);
    snprintf(url, sizeof(url), "http://127.0.0.1:%u%s", hostile_port(server), url_path);
}

static void stop_transfers(void)
{
    download_share_destroy(share);
    hostile_stop(server);
}

static int share_downloads(void)
{
    struct download_share *another = NULL;
    begin_faults(ALLOCATION);
    int r = download_share_create(&another);
    end_faults();
    ck_assert((r == 0) == (another != NULL));
    download_share_destroy(another);
    return r;
}

START_TEST(transfer_memory)
{
    fail_each_allocation("download share", share_downloads);
    start_transfers(ALLOCATION);
    fail_each_allocation("transfer", fetch_a_file);
    stop_transfers();
}
END_TEST

static const int disk_errors[] = {ENOSPC, EIO, EDQUOT, 0};
#define DISK_ERRORS ((int)(sizeof(disk_errors) / sizeof(disk_errors[0])))

START_TEST(transfer_files)
{
    int error = disk_errors[_i];
    start_transfers(DISK);
    for (bytes_known = 0; bytes_known <= 100000; bytes_known += 100000) {
        fail_each(fetch_a_file, error, false, -error);
        fail_each(fetch_a_file, error, true, -error);
    }
    ck_assert_uint_gt(scenario_failures, 0);
    report(error ? strerror(error) : "writing and reading less than asked for");
    stop_transfers();
}
END_TEST

static Suite *faults_suite(void)
{
    Suite *suite = suite_create("faults");
    TCase *tcase = tcase_create("each call");
    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, tasks);
    tcase_add_test(tcase, queues);
    tcase_add_test(tcase, the_settings);
    tcase_add_test(tcase, the_stats);
    tcase_add_test(tcase, buffers_and_json);
    tcase_add_test(tcase, reading_json);
    tcase_add_test(tcase, names);
    tcase_add_test(tcase, checksums);
    tcase_add_test(tcase, store_memory);
    tcase_add_loop_test(tcase, store_statements, 0, SQL_CODES);
    tcase_add_test(tcase, store_opening_memory);
    tcase_add_loop_test(tcase, store_opening_statements, 0, SQL_CODES);
    tcase_add_test(tcase, transfer_memory);
    tcase_add_loop_test(tcase, transfer_files, 0, DISK_ERRORS);
    suite_add_tcase(suite, tcase);
    return suite;
}

int main(void)
{
    return tap_main(faults_suite());
}
