#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "store/store.h"
#include "tap.h"

#define ALICE 1000
#define BOB   1001

static char directory[PATH_MAX];
static struct store *store;
static char message[256];

/* --- helpers --- */

static void open_store(void)
{
    int result = store_open(directory, &store, message);
    ck_assert_msg(result == 0, "%s", message);
}

static void reopen_store(void)
{
    store_close(TAKE_PTR(store));
    open_store();
}

static char *path_of(const char *file)
{
    static char path[PATH_MAX + 32];
    snprintf(path, sizeof(path), "%s/%s", directory, file);
    return path;
}

static void set_up_directory(void)
{
    const char *parent = getenv("TMPDIR");
    snprintf(directory, sizeof(directory), "%s/check_store.XXXXXX", parent ? parent : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(directory));
}

static void set_up(void)
{
    set_up_directory();
    open_store();
}

static void tear_down(void)
{
    store_close(TAKE_PTR(store));
    unlink(path_of("autodl.db"));
    unlink(path_of("autodl.db-wal"));
    unlink(path_of("autodl.db-shm"));
    ck_assert_int_eq(rmdir(directory), 0);
}

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Waits for a number of callbacks and keeps the last result. */
struct waiter {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int pending;
    int result;
};
#define WAITER(count)                                                                              \
    {                                                                                              \
        .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER, .pending = (count) \
    }

static void on_done(void *data, int result)
{
    struct waiter *waiter = data;
    pthread_mutex_lock(&waiter->lock);
    waiter->pending--;
    waiter->result = result;
    pthread_cond_broadcast(&waiter->changed);
    pthread_mutex_unlock(&waiter->lock);
}

static int wait_for(struct waiter *waiter)
{
    pthread_mutex_lock(&waiter->lock);
    while (waiter->pending > 0)
        pthread_cond_wait(&waiter->changed, &waiter->lock);
    int result = waiter->result;
    pthread_mutex_unlock(&waiter->lock);
    return result;
}

static struct task make_task(uid_t uid, const char *in, const char *name)
{
    struct task task = {
        .uid = uid,
        .user = strdup(uid == ALICE ? "alice" : "bob"),
        .url = strdup("https://example.org/a?b=c"),
        .directory = strdup(in),
        .name = strdup(name),
        .state = TASK_ENQUEUED,
        .admitted = true,
        .created_at = 1700000000123,
        .bytes_total = -1,
    };
    task_make_id(task.id);
    return task;
}

static void set_text(char **text, const char *value)
{
    free(*text);
    *text = value ? strdup(value) : NULL;
}

static int add_now(struct task *task)
{
    struct waiter waiter = WAITER(1);
    int64_t row = 0;
    ck_assert_int_eq(store_add(store, task, &row, on_done, &waiter), 0);
    int result = wait_for(&waiter);
    if (result == 0)
        task->row = row;
    else
        ck_assert_int_eq(row, 0);
    return result;
}

static int update_now(const struct task *task)
{
    struct waiter waiter = WAITER(1);
    ck_assert_int_eq(store_update(store, task, on_done, &waiter), 0);
    return wait_for(&waiter);
}

static int forget_now(int64_t row)
{
    struct waiter waiter = WAITER(1);
    ck_assert_int_eq(store_forget(store, row, on_done, &waiter), 0);
    return wait_for(&waiter);
}

static int prune_now(int64_t before, uint64_t keep, unsigned max)
{
    struct waiter waiter = WAITER(1);
    ck_assert_int_eq(store_prune(store, before, keep, max, NULL, on_done, &waiter), 0);
    return wait_for(&waiter);
}

static int pause_now(uid_t uid, int64_t until, int64_t length)
{
    struct waiter waiter = WAITER(1);
    struct store_pause pause = {.uid = uid, .until = until, .length = length};
    ck_assert_int_eq(store_set_pause(store, &pause, on_done, &waiter), 0);
    return wait_for(&waiter);
}

static int resume_now(uid_t uid)
{
    struct waiter waiter = WAITER(1);
    ck_assert_int_eq(store_end_pause(store, uid, on_done, &waiter), 0);
    return wait_for(&waiter);
}

static bool same_text(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static void assert_same(const struct task *a, const struct task *b)
{
    ck_assert_int_eq(a->row, b->row);
    ck_assert_str_eq(a->id, b->id);
    ck_assert_uint_eq(a->uid, b->uid);
    ck_assert_str_eq(a->user, b->user);
    ck_assert_str_eq(a->url, b->url);
    ck_assert_str_eq(a->directory, b->directory);
    ck_assert_str_eq(a->name, b->name);
    ck_assert_int_eq(a->state, b->state);
    ck_assert(a->admitted == b->admitted && a->has_part == b->has_part);
    ck_assert(a->drop_part == b->drop_part);
    ck_assert_int_eq(a->created_at, b->created_at);
    ck_assert_int_eq(a->started_at, b->started_at);
    ck_assert_int_eq(a->ended_at, b->ended_at);
    ck_assert_int_eq(a->bytes_done, b->bytes_done);
    ck_assert_int_eq(a->bytes_total, b->bytes_total);
    ck_assert_int_eq(a->http_status, b->http_status);
    ck_assert(same_text(a->error_code, b->error_code));
    ck_assert(same_text(a->error_message, b->error_message));
    ck_assert_int_eq(a->if_exists, b->if_exists);
    ck_assert(a->name_is_final == b->name_is_final);
    ck_assert_int_eq(a->retries, b->retries);
    ck_assert_int_eq(a->priority, b->priority);
    ck_assert_uint_eq(a->host, b->host);
    ck_assert(same_text(a->checksum, b->checksum));
    ck_assert(same_text(a->headers, b->headers));
    ck_assert(same_text(a->username, b->username));
    ck_assert(same_text(a->password, b->password));
    ck_assert_uint_eq(a->was_global, b->was_global);
    ck_assert_int_eq(a->attempts, b->attempts);
    ck_assert_int_eq(a->failures, b->failures);
    ck_assert_int_eq(a->wait, b->wait);
    ck_assert_int_eq(a->not_before, b->not_before);
    ck_assert_int_eq(a->written, b->written);
    ck_assert_int_eq(a->durable, b->durable);
    ck_assert(same_text(a->boot_id, b->boot_id));
    ck_assert_uint_eq(a->file_dev, b->file_dev);
    ck_assert_uint_eq(a->file_ino, b->file_ino);
    ck_assert(same_text(a->etag, b->etag));
    ck_assert(same_text(a->last_modified, b->last_modified));
    ck_assert(same_text(a->label, b->label));
    ck_assert(same_text(a->mirrors, b->mirrors));
    ck_assert_int_eq(a->mirror, b->mirror);
    ck_assert_int_eq(a->rate_limit, b->rate_limit);
    ck_assert_int_eq(a->max_ranges, b->max_ranges);
    ck_assert(same_text(a->after, b->after));
    ck_assert(same_text(a->written_ranges, b->written_ranges));
    ck_assert(same_text(a->durable_ranges, b->durable_ranges));
}

static void assert_stored(const struct task *task)
{
    _cleanup_(task_release) struct task found = {0};
    ck_assert_int_eq(store_fetch(store, task->row, &found), 0);
    assert_same(task, &found);
}

static bool is_there(int64_t row)
{
    _cleanup_(task_release) struct task found = {0};
    int result = store_fetch(store, row, &found);
    ck_assert(result == 0 || result == -ENOENT);
    return result == 0;
}

/* All that came after schema 1, with values of its own each. */
static void set_the_newer_fields(struct task *task)
{
    task->drop_part = true;
    task->if_exists = TASK_OVERWRITE;
    task->name_is_final = true;
    task->retries = -1;
    task->priority = -100;
    task->host = UINT64_MAX - 2;
    task->attempts = 5;
    task->failures = 6;
    task->wait = TASK_WAIT_DISK;
    task->not_before = 7;
    task->written = INT64_MAX - 8;
    task->durable = INT64_MAX - 9;
    task->file_dev = UINT64_MAX;
    task->file_ino = UINT64_MAX - 1;
    set_text(&task->checksum, "md5=00");
    task->was_global = 1U << TASK_MIRRORS_MAX | 1;
    set_text(&task->boot_id, "a boot");
    set_text(&task->etag, "\"an etag\"");
    set_text(&task->last_modified, "a date");
    set_text(&task->label, "mine");
    set_text(&task->mirrors, "http://b/\nhttp://c/\n");
    task->mirror = 2;
    task->rate_limit = 1 << 20;
    task->max_ranges = 4;
    set_text(&task->after, "another");
    set_text(&task->written_ranges, "100-199,300-399,");
    set_text(&task->durable_ranges, "100-149,");
}

static int state_of(int64_t row)
{
    _cleanup_(task_release) struct task found = {0};
    ck_assert_int_eq(store_fetch(store, row, &found), 0);
    return found.state;
}

/* --- adding, updating --- */

START_TEST(adds_and_keeps)
{
    _cleanup_(task_release) struct task first = make_task(ALICE, "/home/alice", "a");
    _cleanup_(task_release) struct task second = make_task(4294967294U, "/home/alice", "b");
    second.bytes_done = INT64_MAX;
    second.http_status = 206;
    second.has_part = true;
    set_the_newer_fields(&second);
    ck_assert_int_eq(add_now(&first), 0);
    ck_assert_int_eq(add_now(&second), 0);
    ck_assert_int_gt(first.row, 0);
    ck_assert_int_gt(second.row, first.row);
    assert_stored(&first);
    reopen_store();
    assert_stored(&first);
    assert_stored(&second);

    struct task none = {.row = 77};
    ck_assert_int_eq(store_fetch(store, second.row + 1, &none), -ENOENT);
    ck_assert_int_eq(none.row, 77); /* untouched */
}
END_TEST

START_TEST(keeps_texts_of_strangers)
{
    _cleanup_(task_release) struct task task = make_task(BOB, "/d'); DROP TABLE tasks; --", "n");
    set_text(&task.name, "\xff\xfe\x80 \"'%s?1\n\x1b[31m");
    char *url = malloc(API_URL_MAX + 1);
    memset(url, 'u', API_URL_MAX);
    url[API_URL_MAX] = '\0';
    free(task.url);
    task.url = url;
    set_text(&task.error_message, "");
    set_text(&task.error_code, "h\xc3\xa9");
    ck_assert_int_eq(add_now(&task), 0);
    assert_stored(&task);
    ck_assert_int_eq(store_dest_taken(store, task.directory, task.name), 1);
    reopen_store();
    assert_stored(&task);
}
END_TEST

/* What store_change alone writes. */
static void take_wishes(struct task *task, const struct task *from)
{
    set_text(&task->label, from->label);
    task->priority = from->priority;
    task->rate_limit = from->rate_limit;
    task->max_ranges = from->max_ranges;
}

static int change_now(const struct task *task, struct store_change what)
{
    struct waiter waiter = WAITER(1);
    ck_assert_int_eq(store_change(store, task, what, on_done, &waiter), 0);
    return wait_for(&waiter);
}

START_TEST(changes_what_people_change)
{
    _cleanup_(task_release) struct task task = make_task(ALICE, "/d", "a");
    _cleanup_(task_release) struct task changed = {0};
    set_text(&task.headers, "A: b\n");
    set_text(&task.username, "u");
    ck_assert_int_eq(add_now(&task), 0);
    ck_assert_int_eq(task_copy(&task, &changed), 0);
    set_text(&changed.label, "l");
    changed.priority = -100;
    changed.rate_limit = 5;
    changed.max_ranges = 16;
    set_text(&changed.url, "https://example.com/b"); /* these are for later */
    set_text(&changed.name, "b");
    set_text(&changed.headers, NULL);
    changed.state = TASK_FAILED;
    changed.host = 77;
    changed.wait = TASK_WAIT_START;
    changed.not_before = 99;
    ck_assert_int_eq(change_now(&changed, (struct store_change){0}), 0);
    take_wishes(&task, &changed);
    assert_stored(&task);

    ck_assert_int_eq(change_now(&changed, (struct store_change){.place = true}), 0);
    set_text(&task.url, changed.url);
    task.host = 77;
    task.wait = TASK_WAIT_START;
    task.not_before = 99;
    assert_stored(&task);

    set_text(&changed.username, NULL);
    ck_assert_int_eq(change_now(&changed, (struct store_change){.secrets = true}), 0);
    set_text(&task.headers, NULL);
    set_text(&task.username, NULL);
    assert_stored(&task);
    set_text(&changed.password, "p");
    ck_assert_int_eq(change_now(&changed, (struct store_change){.secrets = true}), 0);
    set_text(&task.password, "p");
    assert_stored(&task);

    changed.row++;
    ck_assert_int_eq(change_now(&changed, (struct store_change){.place = true, .secrets = true}),
                     -ENOENT);
}
END_TEST

static int add_many_now(struct task *tasks, size_t count)
{
    struct waiter waiter = WAITER(1);
    struct task *pointers[8];
    for (size_t i = 0; i < count; i++)
        pointers[i] = &tasks[i];
    ck_assert_int_eq(store_add_many(store, pointers, count, on_done, &waiter), 0);
    return wait_for(&waiter);
}

static bool is_id_there(const char *id)
{
    struct task found;
    int r = store_find(store, STORE_EVERYBODY, id, &found);
    if (r == 0)
        task_release(&found);
    return r == 0;
}

START_TEST(adds_all_or_none)
{
    struct task tasks[4] = {make_task(ALICE, "/d", "a"), make_task(ALICE, "/d", "b"),
                            make_task(ALICE, "/d", "c"), make_task(ALICE, "/d", "b")};
    set_text(&tasks[0].password, "p");
    tasks[1].state = TASK_FINISHED;
    ck_assert_int_eq(add_many_now(tasks, 4), 0); /* the second has ended: no conflict */
    for (int i = 0; i < 4; i++) {
        ck_assert_int_gt(tasks[i].row, i ? tasks[i - 1].row : 0);
        assert_stored(&tasks[i]);
        task_release(&tasks[i]);
    }
    const char *const names[] = {"a", "x", "b", "c", "d"};
    bool taken[5];
    ck_assert_int_eq(store_dests_taken(store, "/d", names, 5, taken), 0);
    ck_assert(taken[0] && !taken[1] && taken[2] && taken[3] && !taken[4]);
    ck_assert_int_eq(store_dests_taken(store, "/e", names, 5, taken), 0);
    ck_assert(!taken[0] && !taken[2]);

    struct task more[3] = {make_task(BOB, "/d", "d"), make_task(BOB, "/d", "e"),
                           make_task(BOB, "/d", "c")};
    ck_assert_int_eq(add_many_now(more, 3), -EEXIST);
    _cleanup_(task_release) struct task beside = make_task(BOB, "/d", "d");
    ck_assert_int_eq(add_now(&beside), 0); /* nothing is left of it */
    for (int i = 0; i < 3; i++) {
        ck_assert(!is_id_there(more[i].id));
        task_release(&more[i]);
    }
}
END_TEST

START_TEST(updates_what_can_change)
{
    _cleanup_(task_release) struct task task = make_task(ALICE, "/d", "a");
    _cleanup_(task_release) struct task as_added = {0};
    ck_assert_int_eq(add_now(&task), 0);
    ck_assert_int_eq(task_copy(&task, &as_added), 0);
    set_text(&task.directory, "/e");
    set_text(&task.name, "a-1");
    set_text(&task.error_code, "http");
    set_text(&task.error_message, "the server said 404");
    task.state = TASK_FAILED;
    task.admitted = false;
    task.has_part = true;
    task.started_at = 1;
    task.ended_at = 2;
    task.bytes_done = 3;
    task.bytes_total = 4;
    task.http_status = 404;
    set_the_newer_fields(&task);
    ck_assert_int_eq(update_now(&task), 0);
    take_wishes(&task, &as_added);
    assert_stored(&task);

    _cleanup_(task_release) struct task other = {0};
    ck_assert_int_eq(task_copy(&task, &other), 0);
    task_make_id(other.id);
    other.uid = BOB;
    other.created_at++;
    set_text(&other.user, "bob");
    set_text(&other.url, "ftp://x/");
    set_text(&other.error_code, NULL);
    set_text(&task.error_code, NULL);
    ck_assert_int_eq(update_now(&other), 0);
    assert_stored(&task);

    other.row++;
    ck_assert_int_eq(update_now(&other), -ENOENT);
}
END_TEST

START_TEST(one_unfinished_task_per_dest)
{
    _cleanup_(task_release) struct task task = make_task(ALICE, "/d", "a");
    _cleanup_(task_release) struct task twin = make_task(BOB, "/d", "a");
    ck_assert_int_eq(store_dest_taken(store, "/d", "a"), 0);
    ck_assert_int_eq(add_now(&task), 0);
    ck_assert_int_eq(store_dest_taken(store, "/d", "a"), 1);
    ck_assert_int_eq(store_dest_taken(store, "/d", "A"), 0);
    ck_assert_int_eq(add_now(&twin), -EEXIST);

    const enum task_state unfinished[] = {TASK_DOWNLOADING, TASK_FINISHING, TASK_PAUSED};
    for (size_t i = 0; i < sizeof(unfinished) / sizeof(unfinished[0]); i++) {
        task.state = unfinished[i];
        ck_assert_int_eq(update_now(&task), 0);
        ck_assert_int_eq(add_now(&twin), -EEXIST);
    }

    twin.admitted = false; /* may stand beside it, but not be admitted */
    ck_assert_int_eq(add_now(&twin), 0);
    twin.admitted = true;
    ck_assert_int_eq(update_now(&twin), -EEXIST);

    const enum task_state ended[] = {TASK_FINISHED, TASK_FAILED, TASK_CLEARED, TASK_CANCELLED};
    for (size_t i = 0; i < sizeof(ended) / sizeof(ended[0]); i++) {
        task.state = ended[i];
        ck_assert_int_eq(update_now(&task), 0);
        ck_assert_int_eq(store_dest_taken(store, "/d", "a"), 0);
        _cleanup_(task_release) struct task next = make_task(ALICE, "/d", "a");
        ck_assert_int_eq(add_now(&next), 0);
        next.state = TASK_FINISHED;
        ck_assert_int_eq(update_now(&next), 0);
    }
    ck_assert_int_eq(update_now(&twin), 0);
    task.state = TASK_ENQUEUED;
    ck_assert_int_eq(update_now(&task), -EEXIST);
}
END_TEST

/* A write that fails alone takes nothing of its group along. */
START_TEST(fails_alone)
{
    enum { COUNT = 50 };
    struct task tasks[COUNT];
    int64_t rows[COUNT] = {0};
    struct waiter odd = WAITER(COUNT / 2), even = WAITER(COUNT / 2);
    for (int i = 0; i < COUNT; i++) {
        char name[16];
        snprintf(name, sizeof(name), "%d", i / 2);
        tasks[i] = make_task(ALICE, "/d", name);
        store_add(store, &tasks[i], &rows[i], on_done, i % 2 ? &odd : &even);
    }
    ck_assert_int_eq(wait_for(&even), 0);
    ck_assert_int_eq(wait_for(&odd), -EEXIST);
    for (int i = 0; i < COUNT; i++) {
        ck_assert(i % 2 ? rows[i] == 0 : rows[i] > 0);
        tasks[i].row = rows[i];
        if (i % 2 == 0)
            assert_stored(&tasks[i]);
        task_release(&tasks[i]);
    }
}
END_TEST

/* Whether the text is in one of the store's files. */
static bool is_in_files(const char *text)
{
    static const char *const files[] = {"autodl.db", "autodl.db-wal"};
    bool found = false;
    for (size_t i = 0; i < 2; i++) {
        struct stat there;
        _cleanup_close_ int fd = open(path_of(files[i]), O_RDONLY | O_CLOEXEC);
        if (fd < 0 || fstat(fd, &there) < 0 || there.st_size == 0)
            continue;
        _cleanup_free_ char *content = malloc((size_t)there.st_size);
        ssize_t length = read(fd, content, (size_t)there.st_size);
        found = found || (length > 0 && memmem(content, (size_t)length, text, strlen(text)));
    }
    return found;
}

/* Waits until the log is cut off: nothing writes. */
static void wait_for_cut(void)
{
    struct stat log;
    int64_t start = now_ms();
    do {
        ck_assert_int_lt(now_ms() - start, 12000);
        nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    } while (stat(path_of("autodl.db-wal"), &log) < 0 || log.st_size > 0);
}

/* Nothing of what a record says no more is left in the file. */
START_TEST(wipes_secrets)
{
    struct task tasks[4];
    for (int i = 0; i < 4; i++) {
        char text[64];
        snprintf(text, sizeof(text), "%d", i);
        tasks[i] = make_task(ALICE, "/d", text);
        snprintf(text, sizeof(text), "Cookie: id=sesame-header-%d\n", i);
        set_text(&tasks[i].headers, text);
        snprintf(text, sizeof(text), "sesame-username-%d", i);
        set_text(&tasks[i].username, text);
        snprintf(text, sizeof(text), "sesame-password-%d", i);
        set_text(&tasks[i].password, text);
        tasks[i].ended_at = i < 2 ? i : 100;
        ck_assert_int_eq(add_now(&tasks[i]), 0);
    }
    reopen_store(); /* into the file itself */
    wait_for_cut();
    for (int i = 0; i < 4; i++)
        assert_stored(&tasks[i]);
    tasks[0].state = TASK_FINISHED;
    tasks[1].state = tasks[2].state = tasks[3].state = TASK_FAILED;
    task_forget_secrets(&tasks[0]);
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(update_now(&tasks[i]), 0);
    assert_stored(&tasks[3]); /* kept for a retry */
    ck_assert(is_in_files("sesame-header-2"));
    ck_assert_int_eq(prune_now(50, UINT64_MAX, 1), 0); /* the first */
    ck_assert(!is_there(tasks[0].row));
    ck_assert_int_eq(forget_now(tasks[2].row), 0);
    tasks[1].state = TASK_FINISHED;
    ck_assert_int_eq(update_now(&tasks[1]), 0); /* whatever it says of secrets */
    wait_for_cut();
    for (int i = 0; i < 4; i++) {
        char text[64];
        static const char *const kinds[] = {"header", "username", "password"};
        for (int k = 0; k < 3; k++) {
            snprintf(text, sizeof(text), "sesame-%s-%d", kinds[k], i);
            ck_assert_msg(is_in_files(text) == (i == 3), "%s", text);
        }
    }
    assert_stored(&tasks[3]);
    reopen_store();
    task_forget_secrets(&tasks[1]);
    assert_stored(&tasks[1]);
    for (int i = 0; i < 4; i++)
        task_release(&tasks[i]);
}
END_TEST

/* One change to one of the first `count` tasks; row 0: it was forgotten. */
static void change_secretive(struct task *tasks, int count)
{
    static char text[400];
    struct task *task = &tasks[random() % count];
    int kind = (int)(random() % 10);
    if (task->row == 0)
        return;
    if (kind < 4) { /* a record that grows makes others move */
        snprintf(text, sizeof(text), "%0*d", (int)(random() % 300), 0);
        set_text(&task->error_message, text);
    } else if (kind < 8) {
        task->state = TASK_FINISHED;
    } else {
        task->state = TASK_FAILED;
    }
    ck_assert_int_eq(store_update(store, task, NULL, NULL), 0);
    if (kind == 9) {
        ck_assert_int_eq(store_forget(store, task->row, NULL, NULL), 0);
        task->row = 0;
    }
}

/* Which of <0000>, <0001>, ... are in the file (the log is cut off). */
static void find_marks(bool *found, int count)
{
    struct stat there;
    _cleanup_close_ int fd = open(path_of("autodl.db"), O_RDONLY | O_CLOEXEC);
    ck_assert_int_eq(fstat(fd, &there), 0);
    _cleanup_free_ char *content = malloc((size_t)there.st_size + 1);
    ck_assert_int_eq(read(fd, content, (size_t)there.st_size), there.st_size);
    for (off_t at = 0; at + 6 <= there.st_size; at++) {
        unsigned mark;
        char text[7] = "";
        if (content[at] != '<' || content[at + 5] != '>')
            continue;
        memcpy(text, content + at, 6);
        if (sscanf(text, "<%4u>", &mark) == 1 && mark < (unsigned)count)
            found[mark] = true;
    }
}

static bool has_secrets(const struct task *task)
{
    _cleanup_(task_release) struct task found = {0};
    if (task->row == 0)
        return false;
    ck_assert_int_eq(store_fetch(store, task->row, &found), 0);
    return found.headers != NULL;
}

/* However the records were moved about: of many secrets those are left that are to be. */
START_TEST(wipes_secrets_of_many)
{
    enum { ROUNDS = 120, ADDED = 80, CHANGES = 160, COUNT = ROUNDS * ADDED };
    static struct task tasks[COUNT];
    static bool found[COUNT];
    static char text[500];
    unsigned seed = (unsigned)time(NULL) ^ (unsigned)getpid();
    printf("# seed %u\n", seed);
    fflush(stdout);
    srandom(seed);
    int count = 0;
    for (int round = 0; round < ROUNDS; round++) {
        for (int end = count + ADDED; count < end; count++) {
            snprintf(text, sizeof(text), "%d", count);
            tasks[count] = make_task(ALICE, "/d", text);
            snprintf(text, sizeof(text), "X: <%04d>%0*d\n", count, (int)(random() % 400), 0);
            set_text(&tasks[count].headers, text);
            ck_assert_int_eq(store_add(store, &tasks[count], &tasks[count].row, NULL, NULL), 0);
        }
        ck_assert_int_eq(pause_now(ALICE, 0, 0), 0);
        for (int n = 0; n < CHANGES; n++)
            change_secretive(tasks, count);
    }
    ck_assert_int_eq(pause_now(ALICE, 0, 0), 0);
    wait_for_cut();
    find_marks(found, COUNT);
    int kept = 0;
    for (int i = 0; i < COUNT; i++) {
        bool keeps = has_secrets(&tasks[i]);
        kept += keeps;
        snprintf(text, sizeof(text), "<%04d>", i);
        ck_assert_msg(found[i] == keeps, "%s", text);
        task_release(&tasks[i]);
    }
    ck_assert_int_gt(kept, 10);
    ck_assert_int_lt(kept, COUNT - 10);
}
END_TEST

/* One who reads is not waited for, and the log goes when they have done. */
START_TEST(a_reader_delays_the_wipe_alone)
{
    _cleanup_(task_release) struct task task = make_task(ALICE, "/d", "a");
    set_text(&task.headers, "Cookie: id=open sesame\n");
    ck_assert_int_eq(add_now(&task), 0);
    sqlite3 *reader;
    ck_assert_int_eq(sqlite3_open(path_of("autodl.db"), &reader), SQLITE_OK);
    ck_assert_int_eq(sqlite3_exec(reader, "BEGIN; SELECT count(*) FROM tasks", NULL, NULL, NULL),
                     SQLITE_OK);
    task.state = TASK_FINISHED;
    ck_assert_int_eq(update_now(&task), 0);
    int64_t start = now_ms();
    while (now_ms() - start < 7000) {
        int64_t before = now_ms();
        ck_assert_int_eq(pause_now(ALICE, 0, 0), 0);
        ck_assert_int_lt(now_ms() - before, 2000);
        nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    }
    ck_assert(is_in_files("open sesame"));
    ck_assert_int_eq(sqlite3_close(reader), SQLITE_OK);
    wait_for_cut();
    ck_assert(!is_in_files("open sesame"));
}
END_TEST

static int64_t wait_until_stored(int64_t row, int64_t bytes_done)
{
    int64_t start = now_ms();
    for (;;) {
        _cleanup_(task_release) struct task found = {0};
        ck_assert_int_eq(store_fetch(store, row, &found), 0);
        if (found.bytes_done == bytes_done)
            return now_ms() - start;
        nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    }
}

START_TEST(lazy_updates_wait_for_company)
{
    _cleanup_(task_release) struct task task = make_task(ALICE, "/d", "a");
    ck_assert_int_eq(add_now(&task), 0);
    int64_t start = now_ms();
    task.bytes_done = 1;
    ck_assert_int_eq(store_update_lazily(store, &task), 0);
    wait_until_stored(task.row, 1);
    ck_assert_int_ge(now_ms() - start, 490);
    ck_assert_int_lt(now_ms() - start, 5000);

    /* with company it goes at once, and in order */
    task.bytes_done = 2;
    ck_assert_int_eq(store_update_lazily(store, &task), 0);
    ck_assert_int_eq(pause_now(ALICE, 0, 0), 0);
    assert_stored(&task);
    task.bytes_done = 3;
    ck_assert_int_eq(store_update_lazily(store, &task), 0);
    task.bytes_done = 4;
    ck_assert_int_eq(update_now(&task), 0);
    assert_stored(&task);

    /* and with the closing */
    task.bytes_done = 5;
    ck_assert_int_eq(store_update_lazily(store, &task), 0);
    reopen_store();
    assert_stored(&task);
}
END_TEST

/* --- clearing --- */

struct cleared {
    struct waiter waiter;
    int parts;
    int64_t last_row;
    bool wrong; /* a part after `done`, or of the wrong task */
};

static void on_part(void *data, const struct task *task)
{
    struct cleared *cleared = data;
    cleared->parts++;
    if (cleared->waiter.pending != 1 || !task->has_part || !task->drop_part ||
        task->state != TASK_CLEARED || task->row <= cleared->last_row || task->ended_at != 42 ||
        task->wait || task->not_before || strcmp(task->user, "alice") != 0)
        cleared->wrong = true;
    cleared->last_row = task->row;
}

static void on_cleared(void *data, int result)
{
    on_done(&((struct cleared *)data)->waiter, result);
}

START_TEST(clears_what_is_enqueued)
{
    enum { COUNT = 2000 };
    static int64_t rows[COUNT + 1];
    struct waiter added = WAITER(COUNT);
    for (int i = 0; i < COUNT; i++) {
        char name[16];
        snprintf(name, sizeof(name), "%d", i);
        _cleanup_(task_release) struct task task = make_task(ALICE, "/d", name);
        task.has_part = i % 7 == 0;
        task.state = i % 5 == 0   ? TASK_FINISHING
                     : i % 3 == 0 ? TASK_DOWNLOADING /* it waits again, and that was not stored */
                                  : TASK_ENQUEUED;
        task.wait = TASK_WAIT_RETRY;
        task.not_before = 77;
        store_add(store, &task, &rows[i], on_done, &added);
    }
    ck_assert_int_eq(wait_for(&added), 0);
    rows[COUNT] = 1000000; /* no such row: not an error */

    struct cleared cleared = {.waiter = WAITER(1)};
    size_t number = 0;
    ck_assert_int_eq(
        store_clear(store, rows, COUNT + 1, 42, &number, on_part, on_cleared, &cleared), 0);
    memset(rows, 0, sizeof(rows[0])); /* the store has its own copy */
    ck_assert_int_eq(wait_for(&cleared.waiter), 0);
    ck_assert(!cleared.wrong);
    ck_assert_uint_eq(number, COUNT - COUNT / 5);
    ck_assert_int_eq(cleared.parts, (COUNT / 7 + 1) - (COUNT / 35 + 1));
    for (int i = 1; i < COUNT; i++)
        ck_assert_int_eq(state_of(rows[i]), i % 5 == 0 ? TASK_FINISHING : TASK_CLEARED);
    ck_assert_int_eq(store_dest_taken(store, "/d", "1"), 0);
    ck_assert_int_eq(store_dest_taken(store, "/d", "5"), 1);

    struct cleared again = {.waiter = WAITER(1)};
    ck_assert_int_eq(store_clear(store, rows, COUNT, 43, &number, on_part, on_cleared, &again), 0);
    ck_assert_int_eq(wait_for(&again.waiter), 0);
    ck_assert_int_eq(again.parts, 0);
    ck_assert_uint_eq(number, 0);

    struct cleared nothing = {.waiter = WAITER(1)};
    ck_assert_int_eq(store_clear(store, NULL, 0, 44, NULL, on_part, on_cleared, &nothing), 0);
    ck_assert_int_eq(wait_for(&nothing.waiter), 0);
    ck_assert_int_eq(store_clear(store, rows, COUNT, 45, NULL, NULL, NULL, NULL), 0);
}
END_TEST

/* --- many at once --- */

enum { MANY = 1200 };

static void execute(const char *sql);

/* In turn ENQUEUED, PAUSED, FAILED, DOWNLOADING; each with what verbs change. */
static void add_many_kinds(int64_t rows[static MANY])
{
    static const enum task_state states[] = {TASK_ENQUEUED, TASK_PAUSED, TASK_FAILED,
                                             TASK_DOWNLOADING};
    struct waiter added = WAITER(MANY);
    for (int i = 0; i < MANY; i++) {
        char name[16];
        snprintf(name, sizeof(name), "%d", i);
        _cleanup_(task_release) struct task task = make_task(ALICE, "/d", name);
        task.state = states[i % 4];
        task.has_part = i % 8 < 4;
        task.drop_part = task.state == TASK_FAILED;
        task.ended_at = task.state == TASK_FAILED ? 41 : 0;
        task.wait = i % 3 == 0 ? TASK_WAIT_START : i % 3 == 1 ? TASK_WAIT_RETRY : TASK_WAIT_AFTER;
        task.not_before = 77;
        if (i % 3 == 2)
            set_text(&task.after, "0000");
        task.failures = 3;
        task.mirror = i % 5 == 0;
        task.host = 9;
        task.was_global = 5;
        set_text(&task.etag, "\"e\"");
        set_text(&task.error_code, "reset");
        set_text(&task.error_message, "why");
        store_add(store, &task, &rows[i], on_done, &added);
    }
    ck_assert_int_eq(wait_for(&added), 0);
}

static int do_many_now(struct store_many *many)
{
    struct waiter waiter = WAITER(1);
    ck_assert_int_eq(store_do_many(store, many, on_done, &waiter), 0);
    return wait_for(&waiter);
}

#define STATE(name) (1U << TASK_##name)

/* As the verbs for one change a task (verbs.c). */
static void assert_done(enum store_verb verb, int i, const struct task *task)
{
    bool has_part = i % 8 < 4, rewound = i % 5 == 0, has_after = i % 3 == 2;
    ck_assert_int_eq(task->has_part, has_part);
    ck_assert_int_eq(task->drop_part, verb == STORE_CANCEL && has_part);
    ck_assert_int_eq(task->ended_at, verb == STORE_CANCEL || verb == STORE_CANCEL_KEEP ? 88 : 0);
    if (verb == STORE_RELEASE) {
        ck_assert_str_eq(task->error_code, "reset");
        ck_assert_int_eq(task->wait, has_after     ? TASK_WAIT_AFTER
                                     : i % 3 == 0 ? TASK_WAIT_START
                                                  : TASK_WAIT_NONE);
        ck_assert_int_eq(task->not_before, i % 3 == 1 ? 0 : 77);
        return;
    }
    ck_assert_ptr_null(task->error_code);
    ck_assert_ptr_null(task->error_message);
    bool retried = verb == STORE_RETRY;
    ck_assert_int_eq(task->failures, retried ? 0 : 3);
    ck_assert_int_eq(task->admitted, !retried);
    ck_assert_int_eq(task->mirror, !retried && rewound);
    ck_assert_uint_eq(task->host, retried && rewound ? 0 : 9);
    ck_assert_uint_eq(task->was_global, 5); /* whose hosts were outside is never forgotten */
    ck_assert_int_eq(task->etag == NULL, retried && rewound);
    if (retried) {
        ck_assert_int_eq(task->wait, has_after ? TASK_WAIT_AFTER : TASK_WAIT_NONE);
        ck_assert_int_eq(task->not_before, 0);
    }
}

static const struct {
    enum store_verb verb;
    unsigned states;
    enum task_state becomes;
} many_cases[] = {
    {STORE_HOLD, STATE(ENQUEUED) | STATE(DOWNLOADING), TASK_PAUSED},
    {STORE_RELEASE, STATE(PAUSED), TASK_ENQUEUED},
    {STORE_CANCEL, STATE(ENQUEUED) | STATE(PAUSED), TASK_CANCELLED},
    {STORE_CANCEL_KEEP, STATE(PAUSED), TASK_CANCELLED},
    {STORE_RETRY, STATE(FAILED), TASK_ENQUEUED},
    {STORE_FORGET, STATE(FAILED), TASK_STATES},
};
#define MANY_CASES ((int)(sizeof(many_cases) / sizeof(many_cases[0])))

static const enum task_state were[] = {TASK_ENQUEUED, TASK_PAUSED, TASK_FAILED,
                                       TASK_DOWNLOADING};

/* Of the first `count` rows each is changed that is meant, and no other. */
static void assert_all_done(int which, const int64_t *rows, int count)
{
    enum store_verb verb = many_cases[which].verb;
    for (int i = 0; i < MANY; i++) {
        _cleanup_(task_release) struct task task = {0};
        bool meant = i < count && many_cases[which].states >> were[i % 4] & 1;
        int result = store_fetch(store, rows[i], &task);
        ck_assert_int_eq(result, meant && verb == STORE_FORGET ? -ENOENT : 0);
        if (result == 0)
            ck_assert_int_eq(task.state, meant ? many_cases[which].becomes : were[i % 4]);
        if (result == 0 && meant)
            assert_done(verb, i, &task);
    }
}

static struct store_many many_of(int which, const int64_t *rows, size_t count, uint8_t *before)
{
    return (struct store_many){.verb = many_cases[which].verb,
                               .rows = rows,
                               .count = count,
                               .states = many_cases[which].states,
                               .when = 88,
                               .ret_before = before};
}

/* At once, and bit by bit. */
START_TEST(does_a_verb_for_many)
{
    static int64_t rows[MANY + 1];
    static uint8_t before[MANY + 1];
    int which = _i / 2, count = _i % 2 ? MANY : STORE_MANY_AT_ONCE - 1;
    add_many_kinds(rows);
    int64_t next = rows[count];
    rows[count] = 1000000; /* no such row: not an error */
    struct store_many many = many_of(which, rows, (size_t)count + 1, before);
    ck_assert_int_eq(do_many_now(&many), 0);
    ck_assert_int_eq(many.is_bound, count == MANY);
    ck_assert_int_eq(before[count], TASK_STATES);
    rows[count] = next;
    for (int i = 0; i < count; i++)
        ck_assert_int_eq(before[i], many_cases[which].states >> were[i % 4] & 1 ? were[i % 4]
                                                                                : TASK_STATES);
    assert_all_done(which, rows, count);
    struct store_many none = many_of(which, NULL, 0, before);
    ck_assert_int_eq(do_many_now(&none), 0);
}
END_TEST

/* The store refuses to touch four tasks, one of which each verb is about. */
static void add_fault(enum store_verb verb, int at)
{
    char trigger[256];
    store_close(TAKE_PTR(store));
    snprintf(trigger, sizeof(trigger),
             "CREATE TRIGGER fault BEFORE %s ON tasks WHEN old.name IN ('%d', '%d', '%d', '%d')"
             " BEGIN SELECT RAISE(ABORT, 'no'); END",
             verb == STORE_FORGET ? "DELETE" : "UPDATE", at, at + 1, at + 2, at + 3);
    execute(trigger);
    open_store();
}

static void remove_fault(void)
{
    store_close(TAKE_PTR(store));
    execute("DROP TRIGGER fault");
    open_store();
}

/* Something goes wrong half way: nothing is done, but what was asked for with it. */
START_TEST(does_nothing_after_a_failure)
{
    static int64_t rows[MANY];
    static uint8_t before[MANY];
    int64_t row_one, row_two;
    struct waiter asked = WAITER(1), beside = WAITER(2);
    _cleanup_(task_release) struct task one = make_task(BOB, "/b", "one");
    _cleanup_(task_release) struct task two = make_task(BOB, "/b", "two");
    add_many_kinds(rows);
    add_fault(many_cases[_i].verb, STORE_MANY_AT_ONCE / 2);
    struct store_many many = many_of(_i, rows, STORE_MANY_AT_ONCE, before);
    store_add(store, &one, &row_one, on_done, &beside);
    ck_assert_int_eq(store_do_many(store, &many, on_done, &asked), 0);
    store_add(store, &two, &row_two, on_done, &beside);
    ck_assert_int_eq(wait_for(&asked), -EIO);
    ck_assert_int_eq(wait_for(&beside), 0);
    ck_assert(!many.is_bound);
    ck_assert_int_eq(state_of(row_one), TASK_ENQUEUED);
    ck_assert_int_eq(state_of(row_two), TASK_ENQUEUED);
    assert_all_done(_i, rows, 0);
    remove_fault();
    assert_all_done(_i, rows, 0);
}
END_TEST

/* What is done bit by bit is done in the end, by this process or the next. */
START_TEST(does_all_in_the_end)
{
    static int64_t rows[MANY];
    static uint8_t before[MANY];
    static atomic_bool give_up;
    int which = _i / 3;
    add_many_kinds(rows);
    struct store_many many = many_of(which, rows, MANY, before);
    if (_i % 3 == 0) { /* the next, after what was not its fault */
        many.give_up = &give_up;
        atomic_store(&give_up, true);
        ck_assert_int_eq(do_many_now(&many), -ESHUTDOWN);
        ck_assert(many.is_bound);
        assert_all_done(which, rows, 0);
        reopen_store();
    } else {
        add_fault(many.verb, STORE_MANY_AT_ONCE + 10);
        ck_assert_int_eq(do_many_now(&many), -EIO);
        ck_assert(many.is_bound);
        ck_assert_uint_eq(many.next, STORE_MANY_AT_ONCE);
        ck_assert_int_eq(do_many_now(&many), -EIO);
    }
    if (_i % 3 == 1) { /* this one */
        execute("DROP TRIGGER fault");
        ck_assert_int_eq(do_many_now(&many), 0);
    } else if (_i % 3 == 2) { /* the next, once it can */
        store_close(TAKE_PTR(store));
        ck_assert_int_lt(store_open(directory, &store, message), 0);
        ck_assert_ptr_nonnull(strstr(message, "cannot be done"));
        execute("DROP TRIGGER fault");
        open_store();
    }
    assert_all_done(which, rows, MANY);
    reopen_store();
    assert_all_done(which, rows, MANY); /* it is not done again */
}
END_TEST

/* --- forgetting and pruning --- */

static void add_ended(struct task *task, const char *name, enum task_state state, int64_t ended_at)
{
    *task = make_task(ALICE, "/d", name);
    task->state = state;
    task->ended_at = ended_at;
    ck_assert_int_eq(add_now(task), 0);
}

START_TEST(forgets_what_has_ended)
{
    _cleanup_(task_release) struct task task = make_task(ALICE, "/d", "a");
    ck_assert_int_eq(forget_now(1), -ENOENT);
    ck_assert_int_eq(add_now(&task), 0);
    for (int state = 0; state < TASK_STATES; state++) {
        task.state = (enum task_state)state;
        if (task_state_ended(task.state))
            continue;
        ck_assert_int_eq(update_now(&task), 0);
        ck_assert_int_eq(forget_now(task.row), -EBUSY);
        assert_stored(&task);
    }
    task.state = TASK_PAUSED; /* the last one that was not ended */
    const enum task_state ended[] = {TASK_FINISHED, TASK_FAILED, TASK_CLEARED, TASK_CANCELLED};
    for (size_t i = 0; i < sizeof(ended) / sizeof(ended[0]); i++) {
        _cleanup_(task_release) struct task old = {0};
        add_ended(&old, "b", ended[i], 5);
        ck_assert_int_eq(forget_now(old.row), 0);
        ck_assert(!is_there(old.row));
        ck_assert_int_eq(forget_now(old.row), -ENOENT);
        ck_assert_int_eq(update_now(&old), -ENOENT);
    }
    assert_stored(&task);

    /* One that is refused takes nothing of its group along. */
    _cleanup_(task_release) struct task next = make_task(ALICE, "/d", "c");
    int64_t row = 0;
    struct waiter refused = WAITER(1), added = WAITER(1);
    ck_assert_int_eq(store_forget(store, task.row, on_done, &refused), 0);
    ck_assert_int_eq(store_add(store, &next, &row, on_done, &added), 0);
    ck_assert_int_eq(wait_for(&refused), -EBUSY);
    ck_assert_int_eq(wait_for(&added), 0);
    ck_assert(is_there(row));
}
END_TEST

/* Which of ten tasks are there: a digit each. */
static void assert_left(const struct task tasks[10], const char *expected)
{
    char left[11] = "";
    for (int i = 0; i < 10; i++)
        left[i] = is_there(tasks[i].row) ? (char)('0' + i) : '.';
    ck_assert_str_eq(left, expected);
}

START_TEST(prunes_by_age_and_number)
{
    static const struct {
        enum task_state state;
        int64_t ended_at;
    } cases[10] = {
        {TASK_FINISHED,    50},
        {TASK_ENQUEUED,    0 },
        {TASK_FAILED,      10},
        {TASK_CLEARED,     30},
        {TASK_PAUSED,      20},
        {TASK_CANCELLED,   20},
        {TASK_FINISHED,    40},
        {TASK_DOWNLOADING, 0 },
        {TASK_FINISHED,    20},
        {TASK_FINISHED,    60}
    };
    struct task tasks[10];
    for (int i = 0; i < 10; i++) {
        char name[2] = {(char)('0' + i), '\0'};
        add_ended(&tasks[i], name, cases[i].state, cases[i].ended_at);
    }
    ck_assert_int_eq(prune_now(INT64_MIN, UINT64_MAX, 1000), 0);
    ck_assert_int_eq(prune_now(10, 7, 1000), 0);
    ck_assert_int_eq(prune_now(INT64_MAX, 0, 0), 0);
    assert_left(tasks, "0123456789");
    ck_assert_int_eq(prune_now(21, UINT64_MAX, 2), 0); /* the oldest first */
    assert_left(tasks, "01.34.6789");
    ck_assert_int_eq(prune_now(21, UINT64_MAX, 1000), 0);
    assert_left(tasks, "01.34.67.9");
    ck_assert_int_eq(prune_now(0, 3, 1000), 0);
    assert_left(tasks, "01..4.67.9");
    ck_assert_int_eq(prune_now(0, 3, 1000), 0);
    assert_left(tasks, "01..4.67.9");

    /* It keeps count: what ends now, is forgotten, or does not end after all. */
    tasks[1].state = TASK_FINISHED;
    tasks[1].ended_at = 70;
    ck_assert_int_eq(update_now(&tasks[1]), 0);
    ck_assert_int_eq(forget_now(tasks[9].row), 0);
    ck_assert_int_eq(prune_now(0, 3, 1000), 0);
    assert_left(tasks, "01..4.67..");
    tasks[6].state = TASK_ENQUEUED;
    tasks[6].ended_at = 0;
    ck_assert_int_eq(update_now(&tasks[6]), 0);
    ck_assert_int_eq(prune_now(0, 2, 1000), 0);
    assert_left(tasks, "01..4.67..");
    struct waiter cleared = WAITER(1);
    ck_assert_int_eq(store_clear(store, &tasks[6].row, 1, 80, NULL, NULL, on_done, &cleared), 0);
    ck_assert_int_eq(wait_for(&cleared), 0);
    ck_assert_int_eq(prune_now(51, 1, 1), 0); /* by age, and that was one already */
    assert_left(tasks, ".1..4.67..");
    ck_assert_int_eq(prune_now(0, 0, 1), 0);
    assert_left(tasks, "....4.67..");
    ck_assert_int_eq(prune_now(0, 0, 9), 0);
    assert_left(tasks, "....4..7..");
    for (int i = 0; i < 10; i++)
        task_release(&tasks[i]);
}
END_TEST

/* What pruning tells of. */
struct told {
    struct waiter waiter;
    int count;
    int64_t first, last;
    bool wrong; /* a part after `done`, or none, or one told of before */
};

static void on_old_part(void *data, const struct task *task)
{
    struct told *told = data;
    told->wrong =
        told->wrong || told->waiter.pending != 1 || !task->has_part || task->row <= told->last;
    told->first = told->count++ ? told->first : task->row;
    told->last = task->row;
}

static void on_told(void *data, int result)
{
    on_done(&((struct told *)data)->waiter, result);
}

START_TEST(what_another_waits_for_is_not_pruned)
{
    struct task other, dependant = make_task(ALICE, "/d", "b");
    add_ended(&other, "a", TASK_FINISHED, 10);
    dependant.state = TASK_PAUSED;
    set_text(&dependant.after, other.id);
    ck_assert_int_eq(add_now(&dependant), 0);
    ck_assert_int_eq(prune_now(INT64_MAX, 0, 1000), 0);
    ck_assert(is_there(other.row));
    set_text(&dependant.after, NULL);
    ck_assert_int_eq(update_now(&dependant), 0);
    ck_assert_int_eq(prune_now(INT64_MAX, 0, 1000), 0);
    ck_assert(!is_there(other.row));
    task_release(&other);
    task_release(&dependant);
}
END_TEST

static struct told prune_telling(int64_t before, uint64_t keep, unsigned max)
{
    struct told told = {.waiter = WAITER(1)};
    ck_assert_int_eq(store_prune(store, before, keep, max, on_old_part, on_told, &told), 0);
    ck_assert_int_eq(wait_for(&told.waiter), 0);
    ck_assert(!told.wrong);
    return told;
}

/* The ends are 0, 10, ..., 90; every third one may have left a part. */
START_TEST(pruning_tells_of_parts)
{
    struct task tasks[10];
    for (int i = 0; i < 10; i++) {
        char name[2] = {(char)('0' + i), '\0'};
        add_ended(&tasks[i], name, i == 3 ? TASK_CANCELLED : TASK_FAILED, 10 * i);
        tasks[i].has_part = i % 3 == 0;
        ck_assert_int_eq(update_now(&tasks[i]), 0);
    }
    ck_assert_int_eq(prune_telling(0, 10, 9).count, 0);
    assert_left(tasks, "0123456789");
    struct told told = prune_telling(31, UINT64_MAX, 1);
    ck_assert(told.count == 2 && told.first == tasks[0].row && told.last == tasks[3].row);
    assert_left(tasks, "0.23456789");
    told = prune_telling(31, UINT64_MAX, 9);
    ck_assert_int_eq(told.count, 2); /* again, as long as they are there */
    assert_left(tasks, "0..3456789");

    /* Those that stay count, and do not stand in the way of others. */
    ck_assert_int_eq(prune_telling(0, 6, 9).count, 1 + 1);
    assert_left(tasks, "0..3456789");
    told = prune_telling(0, 4, 9);
    ck_assert(told.count == 2 && told.last == tasks[3].row);
    assert_left(tasks, "0..3..6789");
    tasks[3].has_part = false;
    ck_assert_int_eq(update_now(&tasks[3]), 0);
    ck_assert_int_eq(forget_now(tasks[0].row), 0);
    ck_assert_int_eq(prune_telling(0, 4, 9).count, 0);
    assert_left(tasks, "......6789");
    told = prune_telling(0, 0, 9);
    ck_assert(told.count == 2 && told.first == tasks[6].row && told.last == tasks[9].row);
    assert_left(tasks, "......6..9");
    for (int i = 0; i < 10; i++)
        task_release(&tasks[i]);
}
END_TEST

/* However many cannot be removed, each has its turn. */
START_TEST(pruning_tells_of_each_part_in_turn)
{
    enum { COUNT = 2500 };
    static int64_t rows[COUNT];
    struct waiter added = WAITER(COUNT);
    for (int i = 0; i < COUNT; i++) {
        char name[16];
        snprintf(name, sizeof(name), "%d", i);
        _cleanup_(task_release) struct task task = make_task(ALICE, "/d", name);
        task.has_part = true;
        task.state = TASK_FAILED;
        task.ended_at = 1;
        store_add(store, &task, &rows[i], on_done, &added);
    }
    ck_assert_int_eq(wait_for(&added), 0);
    for (int round = 0; round < 2; round++) {
        int seen = 0;
        int64_t last = 0;
        while (seen < COUNT) {
            struct told told = prune_telling(2, UINT64_MAX, 10);
            ck_assert_int_gt(told.count, 0);
            ck_assert_int_gt(told.first, last);
            last = told.last;
            seen += told.count;
        }
        ck_assert_int_eq(seen, COUNT);
    }
}
END_TEST

/* --- looking up --- */

static void add_with_id(struct task *task, const char *id)
{
    snprintf(task->id, sizeof(task->id), "%s", id);
    ck_assert_int_eq(add_now(task), 0);
}

static int find_row(uid_t uid, const char *prefix, int64_t *ret_row)
{
    _cleanup_(task_release) struct task found = {0};
    int result = store_find(store, uid, prefix, &found);
    *ret_row = found.row;
    return result;
}

START_TEST(finds_by_prefix)
{
    _cleanup_(task_release) struct task a = make_task(ALICE, "/d", "a");
    _cleanup_(task_release) struct task b = make_task(ALICE, "/d", "b");
    _cleanup_(task_release) struct task c = make_task(BOB, "/d", "c");
    add_with_id(&a, "abcd1234-0000-4000-8000-00000000000f");
    add_with_id(&b, "abcd1234-ffff-4000-8000-000000000000");
    add_with_id(&c, "abcf1234-ffff-4000-8000-000000000000");

    const struct {
        uid_t uid;
        const char *prefix;
        int result;
        int64_t row;
    } cases[] = {
        {STORE_EVERYBODY, "abcd1234-0000-4000-8000-00000000000f",  0,       a.row},
        {STORE_EVERYBODY, "ABCD1234-0000-4000-8000-00000000000F",  0,       a.row},
        {STORE_EVERYBODY, "abcd1234-0",                            0,       a.row},
        {STORE_EVERYBODY, "abcd1234-F",                            0,       b.row},
        {STORE_EVERYBODY, "abcf",                                  0,       c.row},
        {BOB,             "abcf",                                  0,       c.row},
        {ALICE,           "abcf",                                  -ENOENT, 0    },
        {STORE_EVERYBODY, "abcd",                                  -EMLINK, 0    },
        {ALICE,           "abcd1234-",                             -EMLINK, 0    },
        {BOB,             "abcd",                                  -ENOENT, 0    },
        {STORE_EVERYBODY, "abce",                                  -ENOENT, 0    },
        {STORE_EVERYBODY, "abc",                                   -ENOENT, 0    },
        {STORE_EVERYBODY, "",                                      -ENOENT, 0    },
        {STORE_EVERYBODY, "abc%",                                  -ENOENT, 0    },
        {STORE_EVERYBODY, "abc_",                                  -ENOENT, 0    },
        {STORE_EVERYBODY, "abcdg",                                 -ENOENT, 0    },
        {STORE_EVERYBODY, "abcd\xff",                              -ENOENT, 0    },
        {STORE_EVERYBODY, "abcd1234-0000-4000-8000-00000000000f0", -ENOENT, 0    },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int64_t row;
        int result = find_row(cases[i].uid, cases[i].prefix, &row);
        ck_assert_msg(result == cases[i].result, "%s: %d", cases[i].prefix, result);
        ck_assert_int_eq(row, cases[i].row);
    }
    char ids[2][API_ID_LENGTH + 1];
    size_t count;
    ck_assert_int_eq(store_find_ids(store, STORE_EVERYBODY, "ABCd", 2, ids, &count), 0);
    ck_assert_uint_eq(count, 2);
    ck_assert_str_eq(ids[0], a.id);
    ck_assert_str_eq(ids[1], b.id);
    ck_assert_int_eq(store_find_ids(store, STORE_EVERYBODY, "abcd", 1, ids, &count), 0);
    ck_assert_uint_eq(count, 1);
    ck_assert_int_eq(store_find_ids(store, BOB, "abcd", 2, ids, &count), 0);
    ck_assert_uint_eq(count, 0);
    ck_assert_int_eq(store_find_ids(store, BOB, "abc", 2, ids, &count), -EINVAL);
    _cleanup_(task_release) struct task twice = make_task(ALICE, "/d", "z");
    memcpy(twice.id, a.id, sizeof(a.id));
    ck_assert_int_eq(add_now(&twice), -EEXIST);
}
END_TEST

START_TEST(finds_who_has_a_dest)
{
    _cleanup_(task_release) struct task task = make_task(ALICE, "/d", "a");
    _cleanup_(task_release) struct task other = make_task(BOB, "/d", "b");
    struct task none = {.row = 77};
    ck_assert_int_eq(store_find_dest(store, "/d", "a", &none), -ENOENT);
    set_the_newer_fields(&task);
    other.admitted = false;
    ck_assert_int_eq(add_now(&task), 0);
    ck_assert_int_eq(add_now(&other), 0);
    ck_assert_int_eq(store_find_dest(store, "/d", "b", &none), -ENOENT);
    ck_assert_int_eq(store_find_dest(store, "/", "a", &none), -ENOENT);
    ck_assert_int_eq(none.row, 77);
    _cleanup_(task_release) struct task found = {0};
    ck_assert_int_eq(store_find_dest(store, "/d", "a", &found), 0);
    assert_same(&task, &found);
    task.state = TASK_FINISHED;
    ck_assert_int_eq(update_now(&task), 0);
    ck_assert_int_eq(store_find_dest(store, "/d", "a", &none), -ENOENT);
}
END_TEST

struct walk {
    int64_t last;
    int count;
    int stop_at;
};

static int on_unfinished(void *data, const struct store_listed *listed)
{
    struct walk *walk = data;
    int64_t row = listed->row;
    ck_assert_int_gt(row, walk->last);
    walk->last = row;
    walk->count++;
    ck_assert_uint_eq(listed->uid, row % 2 ? ALICE : BOB);
    ck_assert_int_eq(state_of(row), listed->state); /* the store can be used meanwhile */
    ck_assert_int_eq(listed->priority, row % 201 - 100);
    ck_assert_uint_eq(listed->host, UINT64_MAX - (uint64_t)row);
    ck_assert_int_eq(listed->wait, row % TASK_WAITS);
    ck_assert_int_eq(listed->not_before, row * 3);
    return walk->count == walk->stop_at ? 7 : 0;
}

START_TEST(walks_the_unfinished)
{
    enum { COUNT = 1200 };
    static const enum task_state states[] = {TASK_FINISHED, TASK_ENQUEUED,  TASK_DOWNLOADING,
                                             TASK_CLEARED,  TASK_FINISHING, TASK_PAUSED,
                                             TASK_FAILED,   TASK_CANCELLED};
    struct waiter added = WAITER(COUNT);
    for (int i = 0; i < COUNT; i++) {
        char name[16];
        snprintf(name, sizeof(name), "%d", i);
        _cleanup_(task_release) struct task task = make_task(i % 2 ? BOB : ALICE, "/d", name);
        task.state = states[i % 8];
        task.admitted = i % 3 == 0;
        task.priority = (i + 1) % 201 - 100;
        task.host = UINT64_MAX - (uint64_t)(i + 1);
        task.wait = (enum task_wait)((i + 1) % TASK_WAITS);
        task.not_before = (i + 1) * 3;
        store_add(store, &task, NULL, on_done, &added);
    }
    ck_assert_int_eq(wait_for(&added), 0);
    struct walk walk = {0};
    ck_assert_int_eq(store_each_unfinished(store, on_unfinished, &walk), 0);
    ck_assert_int_eq(walk.count, COUNT / 2);
    struct walk stopped = {.stop_at = 300};
    ck_assert_int_eq(store_each_unfinished(store, on_unfinished, &stopped), 7);
    ck_assert_int_eq(stopped.count, 300);
}
END_TEST

START_TEST(lists_the_dependants)
{
    enum { COUNT = 60 };
    static const enum task_state states[] = {TASK_FINISHED, TASK_ENQUEUED, TASK_PAUSED};
    struct waiter added = WAITER(COUNT);
    struct store_dependant list[COUNT], last = {0};
    size_t count = 0, seen = 0;
    for (int i = 0; i < COUNT; i++) {
        char name[16], after[64];
        snprintf(name, sizeof(name), "%d", i);
        snprintf(after, sizeof(after), "0000000%d-0000-4000-8000-000000000000", i % 4);
        _cleanup_(task_release) struct task task = make_task(ALICE, "/d", name);
        task.state = states[i % 3];
        task.after = i % 4 ? strdup(after) : NULL;
        store_add(store, &task, NULL, on_done, &added);
    }
    ck_assert_int_eq(wait_for(&added), 0);
    do {
        ck_assert_int_eq(store_list_dependants(store, &last, 7, list, &count), 0);
        ck_assert_uint_le(count, 7);
        for (size_t i = 0; i < count; i++, seen++) {
            int order = strcmp(list[i].after, last.after);
            ck_assert(order > 0 || (order == 0 && list[i].row > last.row));
            last = list[i];
            ck_assert_int_ne(state_of(last.row), TASK_FINISHED);
            ck_assert_int_eq(last.after[7] - '0', (last.row - 1) % 4);
        }
    } while (count > 0);
    ck_assert_uint_eq(seen, COUNT / 2); /* 3 of 4 have one, 2 of 3 have not ended */
    strcpy(last.after, "00000002-0000-4000-8000-000000000000"); /* those of one */
    last.row = 0;
    ck_assert_int_eq(store_list_dependants(store, &last, COUNT, list, &count), 0);
    ck_assert_str_eq(list[0].after, last.after);
    ck_assert_uint_eq(count, COUNT / 3);
}
END_TEST

static int on_stray(void *data, const struct store_listed *listed)
{
    struct walk *walk = data;
    walk->last = listed->row;
    walk->count++;
    return listed->uid == ALICE && task_state_ended(listed->state) ? 0 : -1;
}

static int on_old_unfinished(void *data, const struct store_listed *listed)
{
    struct walk *walk = data;
    walk->last = listed->row;
    walk->count++;
    return listed->uid == ALICE && listed->state == TASK_DOWNLOADING && listed->host == 0 ? 0 : -1;
}

/* Made once, with the database. */
START_TEST(keeps_the_key_of_the_hosts)
{
    uint8_t zero[STORE_HOST_KEY_SIZE] = {0}, key[STORE_HOST_KEY_SIZE], again[STORE_HOST_KEY_SIZE];
    ck_assert_int_eq(store_host_key(store, key), 0);
    ck_assert_mem_ne(key, zero, sizeof key);
    reopen_store();
    ck_assert_int_eq(store_host_key(store, again), 0);
    ck_assert_mem_eq(key, again, sizeof key);
}
END_TEST

START_TEST(keeps_pauses)
{
    ck_assert_int_eq(pause_now(ALICE, 5000, 4000), 0);
    ck_assert_int_eq(pause_now(STORE_EVERYBODY, 0, 0), 0);
    ck_assert_int_eq(pause_now(ALICE, 7000, 3000), 0);
    ck_assert_int_eq(pause_now(BOB, 1, 1), 0);
    ck_assert_int_eq(resume_now(BOB), 0);
    ck_assert_int_eq(resume_now(BOB), 0);
    reopen_store();

    _cleanup_free_ struct store_pause *pauses = NULL;
    size_t count = 0;
    ck_assert_int_eq(store_pauses(store, &pauses, &count), 0);
    ck_assert_uint_eq(count, 2);
    ck_assert(pauses[0].uid == STORE_EVERYBODY && pauses[0].until == 0 && pauses[0].length == 0);
    ck_assert(pauses[1].uid == ALICE && pauses[1].until == 7000 && pauses[1].length == 3000);

    ck_assert_int_eq(resume_now(STORE_EVERYBODY), 0);
    ck_assert_int_eq(resume_now(ALICE), 0);
    struct store_pause *none = NULL;
    ck_assert_int_eq(store_pauses(store, &none, &count), 0);
    ck_assert_uint_eq(count, 0);
    ck_assert_ptr_null(none);
}
END_TEST

/* --- the file --- */

static void write_file(const void *data, size_t length, off_t offset)
{
    int fd = open(path_of("autodl.db"), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(pwrite(fd, data, length, offset), (ssize_t)length);
    close(fd);
}

static void assert_refused(int error, const char *part_of_message)
{
    message[0] = '\0';
    ck_assert_int_eq(store_open(directory, &store, message), error);
    ck_assert_ptr_null(store);
    ck_assert_msg(strstr(message, part_of_message) != NULL, "%s", message);
}

static void assert_private(const char *file)
{
    struct stat status;
    ck_assert_int_eq(stat(path_of(file), &status), 0);
    ck_assert_int_eq(status.st_mode & 07777, 0600);
}

START_TEST(makes_a_private_file)
{
    umask(0);
    write_file("", 0, 0);
    open_store();
    _cleanup_(task_release) struct task task = make_task(ALICE, "/d", "a");
    ck_assert_int_eq(add_now(&task), 0);
    assert_private("autodl.db");
    assert_private("autodl.db-wal");
    assert_private("autodl.db-shm");
    reopen_store();
    assert_stored(&task);
    store_close(TAKE_PTR(store));
    ck_assert_int_eq(access(path_of("autodl.db-wal"), F_OK), -1);
}
END_TEST

START_TEST(refuses_strange_files)
{
    open_store();
    store_close(TAKE_PTR(store));
    write_file("\0\0\0\7", 4, 60); /* user_version in the header of an SQLite file */
    assert_refused(-EUCLEAN,
                   "autodl.db was written by a newer autodl (schema 7, this one knows 5)");
    write_file("\0\0\0\5", 4, 60);
    write_file("GPKG", 4, 68); /* application_id */
    assert_refused(-EUCLEAN, "another program's");
    write_file("AuDl", 4, 68);
    open_store();
    store_close(TAKE_PTR(store));

    char garbage[8192];
    memset(garbage, 0xa5, sizeof(garbage));
    write_file(garbage, sizeof(garbage), 100);
    assert_refused(-EUCLEAN, "autodl.db is damaged");
    write_file(garbage, 100, 0);
    assert_refused(-EUCLEAN, "autodl.db is damaged");

    ck_assert_int_eq(unlink(path_of("autodl.db")), 0);
    ck_assert_int_eq(mkdir(path_of("autodl.db"), 0700), 0);
    assert_refused(-EISDIR, "Is a directory");
    ck_assert_int_eq(rmdir(path_of("autodl.db")), 0);
    char *end = strchr(directory, '\0');
    memcpy(end, "/no", 4);
    assert_refused(-ENOENT, "No such file");
    *end = '\0';
}
END_TEST

/* What version 1 of the schema was, and some rows of its time. */
static const char version_1[] =
    "PRAGMA journal_mode = WAL; BEGIN;"
    "CREATE TABLE tasks (row INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE,"
    "    uid INTEGER NOT NULL, user TEXT NOT NULL, url TEXT NOT NULL, directory TEXT NOT NULL,"
    "    name TEXT NOT NULL, state INTEGER NOT NULL, admitted INTEGER NOT NULL,"
    "    has_part INTEGER NOT NULL, created_at INTEGER NOT NULL, started_at INTEGER NOT NULL,"
    "    ended_at INTEGER NOT NULL, bytes_done INTEGER NOT NULL, bytes_total INTEGER NOT NULL,"
    "    http_status INTEGER NOT NULL, error_code TEXT, error_message TEXT) STRICT;"
    "CREATE UNIQUE INDEX tasks_dest ON tasks (directory, name)"
    "    WHERE admitted AND state NOT IN (3, 4, 5, 8);"
    "CREATE INDEX tasks_unfinished ON tasks (row, uid, state) WHERE state NOT IN (3, 4, 5, 8);"
    "CREATE TABLE pauses (uid INTEGER PRIMARY KEY, until INTEGER NOT NULL,"
    "    length INTEGER NOT NULL) STRICT;"
    "INSERT INTO tasks VALUES (3, '00000003-0000-4000-8000-000000000000', 1000, 'alice', "
    "'http://a/',"
    "    '/d', 'a', 2, 1, 1, 11, 12, 0, 13, 14, 200, NULL, NULL);"
    "INSERT INTO tasks VALUES (5, '00000005-0000-4000-8000-000000000000', 1001, 'bob', 'http://b/',"
    "    '/d', 'b', 4, 1, 0, 21, 22, 23, 24, -1, 404, 'http', 'the server said 404');"
    "INSERT INTO tasks VALUES (6, '00000006-0000-4000-8000-000000000000', 1000, 'alice', "
    "'http://c/',"
    "    '/d', 'c', 3, 1, 0, 31, 32, 33, 34, 34, 200, NULL, NULL);"
    "INSERT INTO pauses VALUES (1000, 99, 98);"
    "PRAGMA application_id = 1098204268; PRAGMA user_version = 1; COMMIT;";

/* What version 2 added, and what became of three tasks under it: CLEARED with a part that is to be
 * removed, CANCELLED with one that is kept, FAILED. */
static const char version_2[] =
    "BEGIN;"
    "ALTER TABLE tasks ADD COLUMN if_exists INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE tasks ADD COLUMN name_is_final INTEGER NOT NULL DEFAULT 1;"
    "ALTER TABLE tasks ADD COLUMN retries INTEGER NOT NULL DEFAULT -1;"
    "ALTER TABLE tasks ADD COLUMN checksum TEXT;"
    "ALTER TABLE tasks ADD COLUMN headers TEXT;"
    "ALTER TABLE tasks ADD COLUMN attempts INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE tasks ADD COLUMN failures INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE tasks ADD COLUMN wait INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE tasks ADD COLUMN not_before INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE tasks ADD COLUMN written INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE tasks ADD COLUMN durable INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE tasks ADD COLUMN boot_id TEXT;"
    "ALTER TABLE tasks ADD COLUMN file_dev INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE tasks ADD COLUMN file_ino INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE tasks ADD COLUMN etag TEXT;"
    "ALTER TABLE tasks ADD COLUMN last_modified TEXT;"
    "CREATE INDEX tasks_ended ON tasks (ended_at) WHERE state IN (3, 4, 5, 8);"
    "CREATE INDEX tasks_strays ON tasks (row, uid, state) WHERE state = 5 AND has_part;"
    "UPDATE tasks SET state = 5, ended_at = 41, has_part = 1, written = 7 WHERE row = 3;"
    "UPDATE tasks SET ended_at = 42 WHERE row = 5;"
    "UPDATE tasks SET state = 8, ended_at = 43, has_part = 1, etag = '\"e\"' WHERE row = 6;"
    "PRAGMA user_version = 2; COMMIT;";

static void execute(const char *sql)
{
    sqlite3 *connection;
    char *error = NULL;
    ck_assert_int_eq(sqlite3_open(path_of("autodl.db"), &connection), SQLITE_OK);
    sqlite3_exec(connection, sql, NULL, NULL, &error);
    ck_assert_msg(!error, "%s", error);
    ck_assert_int_eq(sqlite3_close(connection), SQLITE_OK);
}

START_TEST(brings_version_1_up_to_date)
{
    execute(version_1);
    for (int i = 0; i < 2; i++) {
        open_store();
        struct task a = {.row = 3,
                         .id = "00000003-0000-4000-8000-000000000000",
                         .uid = ALICE,
                         .user = (char *)"alice",
                         .url = (char *)"http://a/",
                         .directory = (char *)"/d",
                         .name = (char *)"a",
                         .state = TASK_DOWNLOADING,
                         .admitted = true,
                         .has_part = true,
                         .created_at = 11,
                         .started_at = 12,
                         .bytes_done = 13,
                         .bytes_total = 14,
                         .http_status = 200,
                         .name_is_final = true,
                         .retries = -1};
        assert_stored(&a);
        _cleanup_(task_release) struct task b = {0};
        ck_assert_int_eq(store_find(store, BOB, "00000005", &b), 0);
        ck_assert(b.state == TASK_FAILED && b.ended_at == 23 && b.retries == -1);
        ck_assert_str_eq(b.error_message, "the server said 404");
        ck_assert_int_eq(store_dest_taken(store, "/d", "a"), 1);
        ck_assert_int_eq(store_dest_taken(store, "/d", "b"), 0);
        struct walk walk = {0};
        ck_assert_int_eq(store_each_unfinished(store, on_old_unfinished, &walk), 0);
        ck_assert(walk.count == 1 && walk.last == 3);
        _cleanup_free_ struct store_pause *pauses = NULL;
        size_t count = 0;
        ck_assert_int_eq(store_pauses(store, &pauses, &count), 0);
        ck_assert(count == 1 && pauses[0].until == 99 && pauses[0].length == 98);
        store_close(TAKE_PTR(store));
    }
    open_store();
    _cleanup_(task_release) struct task task = make_task(ALICE, "/d", "n");
    set_the_newer_fields(&task);
    ck_assert_int_eq(add_now(&task), 0);
    ck_assert_int_eq(task.row, 7);
    assert_stored(&task);
    ck_assert_int_eq(prune_now(0, 1, 10), 0); /* the index has the old rows too */
    ck_assert(is_there(3) && !is_there(5) && is_there(6));
}
END_TEST

/* --- the databases that were made by each version of its time (tests/fixtures) --- */

static int schema_of(const char *path)
{
    sqlite3 *connection;
    sqlite3_stmt *statement;
    ck_assert_int_eq(sqlite3_open(path, &connection), SQLITE_OK);
    ck_assert_int_eq(sqlite3_prepare_v2(connection, "PRAGMA user_version", -1, &statement, NULL),
                     SQLITE_OK);
    ck_assert_int_eq(sqlite3_step(statement), SQLITE_ROW);
    int version = sqlite3_column_int(statement, 0);
    sqlite3_finalize(statement);
    ck_assert_int_eq(sqlite3_close(connection), SQLITE_OK);
    return version;
}

/* False: there is none of this version. */
static bool put_fixture(int version)
{
    static char bytes[1 << 20];
    char path[PATH_MAX];
    const char *source = getenv("AUTODL_SOURCE");
    snprintf(path, sizeof(path), "%s/tests/fixtures/schema-%d.db", source ? source : ".", version);
    FILE *from = fopen(path, "r"), *to = fopen(path_of("autodl.db"), "w");
    ck_assert_ptr_nonnull(to);
    size_t len = from ? fread(bytes, 1, sizeof(bytes), from) : 0;
    ck_assert_uint_eq(fwrite(bytes, 1, len, to), len);
    ck_assert_int_eq(fclose(to), 0);
    return from && fclose(from) == 0;
}

static void assert_fixture_task(int64_t row, const char *begin, enum task_state state)
{
    _cleanup_(task_release) struct task task = {0};
    ck_assert_int_eq(store_find(store, STORE_EVERYBODY, begin, &task), 0);
    ck_assert(task.row == row && task.state == state && task.admitted);
    ck_assert_str_eq(task.url, "https://example.org/a?b=c");
    ck_assert_str_eq(task.directory, "/home/someone/autodl-storage");
    ck_assert_str_eq(task.user, task.uid == 1000 ? "alice" : "bob");
    ck_assert(task.created_at == 1700000000001 && task.retries == -1);
    ck_assert_int_eq(store_dest_taken(store, task.directory, task.name),
                     !task_state_ended(task.state));
}

static void assert_fixture_running(int version)
{
    _cleanup_(task_release) struct task task = {0};
    ck_assert_int_eq(store_find(store, 1000, "bbbbbbbb", &task), 0);
    ck_assert_str_eq(task.name, "running");
    ck_assert(task.has_part && task.started_at == 1700000000002);
    ck_assert(task.bytes_done == 1000 && task.bytes_total == 5000 && task.http_status == 200);
    if (version < 2)
        return;
    ck_assert(task.attempts == 2 && task.written == 1000 && task.durable == 900);
    ck_assert_str_eq(task.checksum, "md5=d41d8cd98f00b204e9800998ecf8427e");
    ck_assert_str_eq(task.headers, "X-One: 1\n");
    ck_assert_str_eq(task.boot_id, "4bd30a17-0a1f-4b4c-b0c7-cbd2d9bdbb1a");
    ck_assert_str_eq(task.etag, "\"one\"");
    ck_assert_str_eq(task.last_modified, "Tue, 14 Nov 2023 22:13:20 GMT");
}

static void assert_fixture(int version)
{
    assert_fixture_task(1, "aaaaaaaa", TASK_ENQUEUED);
    assert_fixture_task(2, "bbbbbbbb", TASK_DOWNLOADING);
    assert_fixture_task(3, "cccccccc", TASK_FINISHING);
    assert_fixture_task(4, "dddddddd", TASK_FINISHED);
    assert_fixture_task(5, "eeeeeeee", TASK_FAILED);
    assert_fixture_task(6, "ffffffff", TASK_CLEARED);
    if (version >= 2)
        assert_fixture_task(7, "abababab", TASK_PAUSED);
    _cleanup_(task_release) struct task cleared = {0};
    ck_assert_int_eq(store_fetch(store, 6, &cleared), 0);
    ck_assert(cleared.drop_part == (version >= 3));
    assert_fixture_running(version);
    _cleanup_free_ struct store_pause *pauses = NULL;
    size_t count = 0;
    ck_assert_int_eq(store_pauses(store, &pauses, &count), 0);
    ck_assert(count == 1 && pauses[0].uid == 1001 && pauses[0].until == 1700000060000 &&
              pauses[0].length == 60000);
    struct task more = make_task(ALICE, "/d", "n");
    ck_assert_int_eq(add_now(&more), 0);
    assert_stored(&more);
    task_release(&more);
}

START_TEST(every_version_is_brought_up_to_date)
{
    open_store();
    store_close(TAKE_PTR(store));
    int present = schema_of(path_of("autodl.db"));
    ck_assert_int_ge(present, 2);
    for (int version = 1; version <= present; version++) {
        if (!put_fixture(version)) {
            ck_assert_msg(version == present, "there is no tests/fixtures/schema-%d.db", version);
            break; /* it is made when the schema changes */
        }
        ck_assert_int_eq(schema_of(path_of("autodl.db")), version);
        open_store();
        assert_fixture(version);
        store_close(TAKE_PTR(store));
        ck_assert_int_eq(schema_of(path_of("autodl.db")), present);
    }
}
END_TEST

START_TEST(brings_version_2_up_to_date)
{
    execute(version_1);
    execute(version_2);
    for (int i = 0; i < 2; i++) {
        open_store();
        _cleanup_(task_release) struct task cleared = {0}, failed = {0}, cancelled = {0};
        ck_assert_int_eq(store_fetch(store, 3, &cleared), 0);
        ck_assert(cleared.state == TASK_CLEARED && cleared.has_part && cleared.drop_part);
        ck_assert_int_eq(cleared.written, 7);
        ck_assert_int_eq(store_fetch(store, 5, &failed), 0);
        ck_assert(failed.state == TASK_FAILED && !failed.has_part && !failed.drop_part);
        ck_assert_int_eq(store_fetch(store, 6, &cancelled), 0);
        ck_assert(cancelled.state == TASK_CANCELLED && cancelled.has_part && !cancelled.drop_part);
        ck_assert_str_eq(cancelled.etag, "\"e\"");
        struct walk strays = {0};
        ck_assert_int_eq(store_each_stray(store, on_stray, &strays), 0);
        ck_assert(strays.count == 1 && strays.last == 3);
        if (i == 0)
            store_close(TAKE_PTR(store));
    }
    struct told told = prune_telling(100, UINT64_MAX, 10);
    ck_assert(told.count == 2 && told.first == 3 && told.last == 6);
    ck_assert(is_there(3) && !is_there(5) && is_there(6));
}
END_TEST

START_TEST(brings_the_headers_of_version_2_along)
{
    execute(version_1);
    execute(version_2);
    execute(
        "UPDATE tasks SET headers = 'X: sesame-' || row || char(10);"
        "UPDATE tasks SET state = 3 WHERE row = 6; UPDATE tasks SET headers = NULL WHERE row = 5");
    open_store();
    _cleanup_(task_release) struct task a = {0}, b = {0}, c = {0};
    ck_assert_int_eq(store_fetch(store, 3, &a), 0);
    ck_assert_int_eq(store_fetch(store, 5, &b), 0);
    ck_assert_int_eq(store_fetch(store, 6, &c), 0);
    ck_assert_str_eq(a.headers, "X: sesame-3\n");
    ck_assert(!b.headers && !c.headers); /* c is FINISHED */
    wait_for_cut();
    ck_assert(is_in_files("sesame-3") && !is_in_files("sesame-6"));
}
END_TEST

/* A page that was damaged later on gives an error, not nonsense, and what lies elsewhere works. */
START_TEST(survives_a_damaged_page)
{
    struct task task = make_task(ALICE, "/d", "a");
    ck_assert_int_eq(add_now(&task), 0);
    store_close(TAKE_PTR(store));
    char garbage[4096];
    memset(garbage, 0xa5, sizeof(garbage));
    write_file(garbage, sizeof(garbage), 4096); /* the second page: the first table's root */

    open_store();
    struct task none = {0};
    ck_assert_int_eq(store_fetch(store, task.row, &none), -EUCLEAN);
    set_text(&task.name, "b");
    task_make_id(task.id);
    ck_assert_int_eq(add_now(&task), -EUCLEAN);
    ck_assert_int_eq(pause_now(ALICE, 0, 0), 0);
    task_release(&task);
}
END_TEST

START_TEST(recovers_from_a_full_disk)
{
    struct rlimit limit;
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
    signal(SIGXFSZ, SIG_IGN);
    struct rlimit tight = {.rlim_cur = 300000, .rlim_max = limit.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &tight), 0);

    enum { COUNT = 300 };
    static struct task tasks[COUNT];
    int failed = 0;
    for (int i = 0; i < COUNT; i++) {
        char name[16];
        snprintf(name, sizeof(name), "%d", i);
        tasks[i] = make_task(ALICE, "/d", name);
        if (i == COUNT - 20)
            ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
        int result = add_now(&tasks[i]);
        if (i >= COUNT - 20)
            ck_assert_int_eq(result, 0);
        else
            ck_assert_msg(result == 0 || result == -ENOSPC, "%d", result);
        failed += result < 0;
    }
    ck_assert_int_gt(failed, 0);
    ck_assert_int_lt(failed, COUNT - 20);
    reopen_store();
    for (int i = 0; i < COUNT; i++) {
        if (tasks[i].row > 0)
            assert_stored(&tasks[i]);
        ck_assert_int_eq(store_dest_taken(store, "/d", tasks[i].name), tasks[i].row > 0);
        task_release(&tasks[i]);
    }
}
END_TEST

/* --- threads and processes --- */

struct chain {
    struct waiter waiter;
    struct task task;
    int left;
};

static void add_another(void *data, int result)
{
    struct chain *chain = data;
    if (result == 0 && chain->left-- > 0) {
        char name[16];
        snprintf(name, sizeof(name), "%d", chain->left);
        set_text(&chain->task.name, name);
        task_make_id(chain->task.id);
        store_add(store, &chain->task, NULL, add_another, chain);
    }
}

START_TEST(closing_finishes_what_callbacks_queue)
{
    struct chain chain = {.task = make_task(ALICE, "/d", "first"), .left = 20};
    ck_assert_int_eq(store_add(store, &chain.task, NULL, add_another, &chain), 0);
    store_close(store);
    ck_assert_int_eq(chain.left, -1);
    open_store();
    for (int i = 0; i < 20; i++) {
        char name[16];
        snprintf(name, sizeof(name), "%d", i);
        ck_assert_int_eq(store_dest_taken(store, "/d", name), 1);
    }
    task_release(&chain.task);
}
END_TEST

struct adder {
    pthread_t thread;
    int number;
    int count;
    int acknowledged; /* a pipe for ids, or -1 */
    const char *name; /* or NULL: a new one each time */
    int added;
};

static void *adder_main(void *data)
{
    struct adder *adder = data;
    for (int i = 0; i < adder->count; i++) {
        char name[64];
        snprintf(name, sizeof(name), "%d-%d-%d-%d", (int)getpid(), adder->count, adder->number, i);
        struct task task = make_task(ALICE, "/d", adder->name ? adder->name : name);
        if (add_now(&task) == 0) {
            adder->added++;
            if (adder->acknowledged >= 0 &&
                write(adder->acknowledged, task.id, API_ID_LENGTH) != API_ID_LENGTH)
                abort();
        }
        task_release(&task);
    }
    return NULL;
}

/* How many were added by `threads` threads. */
static int add_in_parallel(int threads, int count, int acknowledged, const char *name)
{
    enum { MAX = 64 };
    struct adder adders[MAX];
    ck_assert_int_le(threads, MAX);
    for (int i = 0; i < threads; i++) {
        adders[i] =
            (struct adder){.number = i, .count = count, .acknowledged = acknowledged, .name = name};
        ck_assert_int_eq(pthread_create(&adders[i].thread, NULL, adder_main, &adders[i]), 0);
    }
    int added = 0;
    for (int i = 0; i < threads; i++) {
        pthread_join(adders[i].thread, NULL);
        added += adders[i].added;
    }
    return added;
}

START_TEST(only_one_thread_gets_a_dest)
{
    ck_assert_int_eq(add_in_parallel(16, 20, -1, "same"), 1);
}
END_TEST

/* Says what grouping is worth here; how fast a disk syncs is nothing to assert. */
START_TEST(commits_in_groups)
{
    int64_t start = now_ms();
    ck_assert_int_eq(add_in_parallel(1, 640, -1, NULL), 640);
    int64_t middle = now_ms();
    ck_assert_int_eq(add_in_parallel(64, 10, -1, NULL), 640);
    int64_t end = now_ms();
    printf("# 640 adds: one after the other %d ms, by 64 threads at once %d ms\n",
           (int)(middle - start), (int)(end - middle));
    fflush(stdout);
}
END_TEST

static pid_t start_writer(int rows_pipe)
{
    fflush(stdout);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        if (store_open(directory, &store, message) < 0)
            _exit(1);
        add_in_parallel(8, 500, rows_pipe, NULL);
        for (;;) /* all is written; the parent ends us */
            pause();
    }
    return pid;
}

/* What was acknowledged is there after the process was killed at any moment. */
START_TEST(survives_kill)
{
    static char ids[3 * 4000][API_ID_LENGTH + 1];
    const int kill_after[] = {1, 1234, 3999};
    int count = 0;
    for (int round = 0; round < 3; round++) {
        int ends[2];
        ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
        pid_t pid = start_writer(ends[1]);
        close(ends[1]);
        FILE *acknowledged = fdopen(ends[0], "r");
        for (int i = 0; fread(ids[count], API_ID_LENGTH, 1, acknowledged) == 1; i++) {
            count++;
            if (i == kill_after[round])
                ck_assert_int_eq(kill(pid, SIGKILL), 0);
        }
        fclose(acknowledged);
        int status;
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);

        open_store();
        for (int i = 0; i < count; i++) {
            int64_t row;
            ck_assert_int_eq(find_row(ALICE, ids[i], &row), 0);
        }
        store_close(TAKE_PTR(store));
    }
    ck_assert_int_gt(count, 1 + 1234 + 3999);
}
END_TEST

START_TEST(a_refused_update_loses_no_lazy_one)
{
    struct task a = make_task(ALICE, "/d", "a"), b = make_task(ALICE, "/d", "b");
    ck_assert_int_eq(add_now(&a), 0);
    ck_assert_int_eq(add_now(&b), 0);
    b.bytes_done = 123;
    ck_assert_int_eq(store_update_lazily(store, &b), 0);
    struct task moved;
    ck_assert_int_eq(task_copy(&b, &moved), 0);
    set_text(&moved.name, "a");
    struct waiter waiter = WAITER(1);
    ck_assert_int_eq(store_update(store, &moved, on_done, &waiter), 0);
    ck_assert_int_eq(wait_for(&waiter), -EEXIST);
    assert_stored(&b);
    task_release(&moved);
    task_release(&b);
    task_release(&a);
}
END_TEST

/* --- against a model --- */

enum {
    MODEL_OPS = 20000,
    MODEL_BATCH = 400,
    MODEL_DIRECTORIES = 3,
    MODEL_NAMES = 150,
};

static struct model {
    struct task tasks[MODEL_OPS];
    bool gone[MODEL_OPS]; /* forgotten or pruned */
    int count;            /* tasks that were added */
    int stored;           /* of these, those whose row is known: added in an earlier batch */
    struct store_pause pauses[4]; /* of everybody and three users */
    bool paused[4];
} model;

static struct model_op {
    int64_t row;
    int added; /* the task, or -1 */
    int expected;
    int result;
    struct waiter *waiter;
} model_ops[MODEL_BATCH];

static unsigned model_seed;

static int choose(int below)
{
    return (int)((unsigned)rand_r(&model_seed) % (unsigned)below);
}

static bool holds_dest(const struct task *task)
{
    return task->admitted && !task_state_ended(task->state);
}

static bool model_conflicts(const struct task *task, int except)
{
    if (!holds_dest(task))
        return false;
    for (int i = 0; i < model.count; i++) {
        const struct task *other = &model.tasks[i];
        if (i != except && holds_dest(other) && strcmp(other->name, task->name) == 0 &&
            strcmp(other->directory, task->directory) == 0)
            return true;
    }
    return false;
}

static void choose_dest(struct task *task)
{
    char text[16];
    snprintf(text, sizeof(text), "/%d", choose(MODEL_DIRECTORIES));
    set_text(&task->directory, text);
    snprintf(text, sizeof(text), "n%d", choose(MODEL_NAMES));
    set_text(&task->name, text);
}

/* All but what says whose dest is whose. */
static void choose_progress(struct task *task)
{
    task->has_part = choose(2);
    task->drop_part = choose(2);
    task->started_at = choose(1000);
    task->ended_at = choose(1000);
    task->bytes_done = (int64_t)choose(1 << 30) << choose(30);
    task->bytes_total = choose(4) ? choose(1 << 30) : -1;
    task->http_status = choose(600);
    set_text(&task->error_code, choose(2) ? "reset" : NULL);
    set_text(&task->error_message, choose(2) ? "the connection was reset" : NULL);
    task->if_exists = (enum task_if_exists)choose(3);
    task->name_is_final = choose(2);
    task->retries = choose(9) - 1;
    task->attempts = choose(99);
    task->failures = choose(9);
    task->wait = (enum task_wait)choose(4);
    task->not_before = choose(1000);
    task->written = choose(1 << 30);
    task->durable = choose(1 << 30);
    task->file_dev = (uint64_t)choose(99);
    task->file_ino = (uint64_t)choose(1 << 30) << choose(34);
    set_text(&task->checksum, choose(2) ? "sha-1=aa" : NULL);
    task->was_global = (uint32_t)choose(2 << TASK_MIRRORS_MAX);
    if (task->state == TASK_FINISHED)
        task_forget_secrets(task);
    set_text(&task->boot_id, choose(2) ? "boot" : NULL);
    set_text(&task->etag, choose(2) ? "\"e\"" : NULL);
    set_text(&task->last_modified, choose(2) ? "yesterday" : NULL);
    set_text(&task->mirrors, choose(2) ? "http://b/\n" : NULL);
    task->mirror = choose(3);
    set_text(&task->after, choose(2) ? "an id" : NULL);
    set_text(&task->written_ranges, choose(2) ? "9-11," : NULL);
    set_text(&task->durable_ranges, choose(2) ? "9-10," : NULL);
}

static void choose_fields(struct task *task)
{
    if (choose(3) == 0)
        choose_dest(task);
    task->state = (enum task_state)(TASK_ENQUEUED + choose(TASK_STATES - TASK_ENQUEUED));
    task->admitted = choose(8) > 0;
    choose_progress(task);
}

static void choose_wishes(struct task *task)
{
    set_text(&task->label, choose(2) ? "a label" : NULL);
    task->priority = choose(201) - 100;
    task->rate_limit = choose(1000);
    task->max_ranges = choose(17);
}

static void on_model_done(void *data, int result)
{
    struct model_op *op = data;
    op->result = result;
    on_done(op->waiter, result);
}

static void model_add(struct model_op *op)
{
    struct task task = make_task((uid_t)choose(3), "", "");
    choose_dest(&task);
    choose_wishes(&task);
    task.host = 1 + (uint64_t)choose(3);
    task.created_at = choose(1000);
    task.admitted = choose(8) > 0;
    task.has_part = choose(3) == 0;
    set_text(&task.headers, choose(3) ? NULL : "A: b\n");
    set_text(&task.username, choose(3) ? NULL : "u");
    set_text(&task.password, choose(3) ? NULL : "p");
    op->expected = model_conflicts(&task, -1) ? -EEXIST : 0;
    ck_assert_int_eq(store_add(store, &task, &op->row, on_model_done, op), 0);
    if (op->expected == 0) {
        op->added = model.count;
        model.tasks[model.count++] = task;
    } else {
        task_release(&task);
    }
}

static void model_update(struct model_op *op, bool lazily)
{
    int i = choose(model.stored);
    struct task task;
    ck_assert_int_eq(task_copy(&model.tasks[i], &task), 0);
    if (lazily)
        choose_progress(&task);
    else
        choose_fields(&task);
    op->expected = model.gone[i] ? -ENOENT : model_conflicts(&task, i) ? -EEXIST : 0;
    choose_wishes(&task); /* which are not written */
    if (lazily) {
        ck_assert_int_eq(store_update_lazily(store, &task), 0);
        on_model_done(op, op->expected);
    } else {
        ck_assert_int_eq(store_update(store, &task, on_model_done, op), 0);
    }
    if (op->expected == 0) {
        take_wishes(&task, &model.tasks[i]);
        task_release(&model.tasks[i]);
        model.tasks[i] = task;
    } else {
        task_release(&task);
    }
}

static void model_change(struct model_op *op)
{
    struct task *task = &model.tasks[choose(model.stored)];
    op->expected = model.gone[task - model.tasks] ? -ENOENT : 0;
    choose_wishes(task);
    ck_assert_int_eq(store_change(store, task, (struct store_change){0}, on_model_done, op), 0);
}

static void model_clear(struct model_op *op)
{
    int64_t rows[40];
    int count = choose(40);
    for (int i = 0; i < count; i++) {
        struct task *task = &model.tasks[choose(model.stored)];
        rows[i] = task->row;
        if (task->state == TASK_ENQUEUED || task->state == TASK_DOWNLOADING) {
            task->state = TASK_CLEARED;
            task->ended_at = 99;
            task->wait = TASK_WAIT_NONE;
            task->not_before = 0;
            task->drop_part = task->has_part;
        }
    }
    ck_assert_int_eq(store_clear(store, rows, (size_t)count, 99, NULL, NULL, on_model_done, op), 0);
}

static void model_forget(struct model_op *op)
{
    int i = choose(model.stored);
    bool ended = task_state_ended(model.tasks[i].state);
    op->expected = model.gone[i] ? -ENOENT : ended ? 0 : -EBUSY;
    model.gone[i] = model.gone[i] || ended;
    ck_assert_int_eq(store_forget(store, model.tasks[i].row, on_model_done, op), 0);
}

static bool model_is_before(const struct task *a, const struct task *b)
{
    return a->ended_at != b->ended_at ? a->ended_at < b->ended_at : a < b;
}

/* So many ended before this one did. */
static uint64_t model_older(int i)
{
    uint64_t count = 0;
    for (int j = 0; j < model.count; j++)
        count += !model.gone[j] && task_state_ended(model.tasks[j].state) &&
                 model_is_before(&model.tasks[j], &model.tasks[i]);
    return count;
}

static uint64_t model_ended(void)
{
    uint64_t count = 0;
    for (int i = 0; i < model.count; i++)
        count += !model.gone[i] && task_state_ended(model.tasks[i].state);
    return count;
}

/* The oldest that pruning may take; -1: none. */
static int model_oldest(int64_t before, uint64_t excess)
{
    int oldest = -1;
    for (int i = 0; i < model.count; i++) {
        const struct task *task = &model.tasks[i];
        if (!model.gone[i] && task_state_ended(task->state) && !task->has_part &&
            (oldest < 0 || model_is_before(task, &model.tasks[oldest])))
            oldest = i;
    }
    bool goes = oldest >= 0 && (model.tasks[oldest].ended_at < before ||
                                (excess > 0 && model_older(oldest) < excess));
    return goes ? oldest : -1;
}

static void model_prune(struct model_op *op)
{
    uint64_t count = model_ended();
    int max = choose(20), before = choose(4) ? choose(40) : 0, oldest;
    uint64_t keep = choose(3) ? count * 9 / 10 + (uint64_t)choose(9) : UINT64_MAX;
    uint64_t excess = keep < count ? count - keep : 0;
    for (int left = max; left > 0; left--) {
        oldest = model_oldest(before, excess);
        if (oldest < 0)
            break;
        model.gone[oldest] = true;
        excess -= excess > 0;
    }
    ck_assert_int_eq(store_prune(store, before, keep, (unsigned)max, NULL, on_model_done, op), 0);
}

static void model_pause(struct model_op *op)
{
    int scope = choose(4);
    uid_t uid = scope == 0 ? STORE_EVERYBODY : (uid_t)scope;
    model.paused[scope] = choose(2);
    model.pauses[scope] = (struct store_pause){.uid = uid, .until = choose(99), .length = scope};
    if (model.paused[scope])
        ck_assert_int_eq(store_set_pause(store, &model.pauses[scope], on_model_done, op), 0);
    else
        ck_assert_int_eq(store_end_pause(store, uid, on_model_done, op), 0);
}

static void model_op(struct model_op *op)
{
    int kind = model.stored ? choose(100) : 0;
    if (kind < 45)
        model_add(op);
    else if (kind < 75)
        model_update(op, false);
    else if (kind < 80)
        model_update(op, true);
    else if (kind < 85)
        model_change(op);
    else if (kind < 92)
        model_clear(op);
    else if (kind < 95)
        model_forget(op);
    else if (kind < 97)
        model_prune(op);
    else
        model_pause(op);
}

static void model_run_batch(int count)
{
    struct waiter waiter = WAITER(count);
    for (int i = 0; i < count; i++) {
        model_ops[i] = (struct model_op){.added = -1, .waiter = &waiter};
        model_op(&model_ops[i]);
    }
    ck_assert_int_eq(pause_now(0, 1, 1), 0); /* takes lazy ones at the end along */
    wait_for(&waiter);
    for (int i = 0; i < count; i++) {
        const struct model_op *op = &model_ops[i];
        ck_assert_int_eq(op->result, op->expected);
        if (op->added >= 0)
            model.tasks[op->added].row = op->row;
    }
    for (int i = model.stored; i < model.count; i++)
        ck_assert_int_gt(model.tasks[i].row, i ? model.tasks[i - 1].row : 0);
    model.stored = model.count;
}

static void model_check_task(int i)
{
    if (model.gone[i])
        ck_assert(!is_there(model.tasks[i].row));
    else
        assert_stored(&model.tasks[i]);
}

static bool model_fits(const struct store_filter *filter, int i)
{
    const struct task *task = &model.tasks[i];
    return !model.gone[i] && (filter->uid == STORE_EVERYBODY || filter->uid == task->uid) &&
           (!filter->states || filter->states >> task->state & 1) &&
           (!filter->host || filter->host == task->host) &&
           (!filter->until || task->created_at < filter->until) &&
           (!task->ended_at || task->ended_at >= filter->since) &&
           (!filter->text || strcasestr(task->name, filter->text) ||
            (task->label && strcasestr(task->label, filter->text)) ||
            strcasestr(task->uid == filter->reader ? "https://example.org/a?b=c"
                                                   : "https://example.org/a",
                       filter->text));
}

static void model_check_list(void)
{
    static const char *const texts[] = {NULL, NULL, "N1", "LABEL", "?b=", "example.org/A", "zzz"};
    struct store_filter filter = {.uid = choose(2) ? STORE_EVERYBODY : (uid_t)choose(3),
                                  .reader = (uid_t)choose(3),
                                  .states = choose(3) == 0 ? 0
                                            : choose(2)    ? 1U << choose(TASK_STATES)
                                                           : (unsigned)choose(1 << TASK_STATES),
                                  .host = (uint64_t)(choose(2) ? 0 : choose(5)),
                                  .text = texts[choose(7)],
                                  .since = choose(2) ? 0 : choose(1000),
                                  .until = choose(2) ? 0 : choose(1000)};
    int64_t before = INT64_MAX, rows[7];
    size_t count = 0, max = 1 + (size_t)choose(7), at = 0;
    for (int i = model.stored; i-- > 0;) {
        if (!model.tasks[i].row)
            continue;
        bool fits = model_fits(&filter, i);
        if (choose(50) == 0)
            ck_assert_int_eq(store_fits(store, &filter, model.tasks[i].row), fits);
        if (!fits)
            continue;
        while (at == count && before != 0) {
            ck_assert_int_eq(store_list(store, &filter, &before, max, rows, &count), 0);
            ck_assert_uint_le(count, max);
            at = 0;
        }
        ck_assert_uint_lt(at, count);
        ck_assert_int_eq(rows[at++], model.tasks[i].row);
    }
    while (at == count && before != 0) {
        ck_assert_int_eq(store_list(store, &filter, &before, max, rows, &count), 0);
        at = 0;
    }
    ck_assert_uint_eq(at, count); /* and no more */
}

static void model_check_find(void)
{
    const struct task *task = &model.tasks[choose(model.stored)];
    char prefix[API_ID_LENGTH + 1];
    snprintf(prefix, (size_t)(4 + choose(3) + 1), "%s", task->id);
    uid_t uid = choose(2) ? STORE_EVERYBODY : task->uid;
    int matches = 0;
    for (int i = 0; i < model.count; i++)
        matches += !model.gone[i] && (uid == STORE_EVERYBODY || uid == model.tasks[i].uid) &&
                   strncmp(model.tasks[i].id, prefix, strlen(prefix)) == 0;
    int64_t row;
    int expected = matches == 0 ? -ENOENT : matches == 1 ? 0 : -EMLINK;
    ck_assert_int_eq(find_row(uid, prefix, &row), expected);
    if (matches == 1 && !model.gone[task - model.tasks])
        ck_assert_int_eq(row, task->row);
}

static int on_model_unfinished(void *data, const struct store_listed *listed)
{
    int *next = data;
    while (*next < model.count && task_state_ended(model.tasks[*next].state))
        (*next)++;
    ck_assert_int_lt(*next, model.count);
    const struct task *task = &model.tasks[(*next)++];
    ck_assert(task->row == listed->row && task->uid == listed->uid && task->state == listed->state);
    ck_assert(task->priority == listed->priority && task->host == listed->host);
    return 0;
}

static void model_check_pauses(void)
{
    _cleanup_free_ struct store_pause *pauses = NULL;
    size_t count = 0, next = 0;
    ck_assert_int_eq(store_pauses(store, &pauses, &count), 0);
    for (int scope = 0; scope < 4; scope++) {
        if (!model.paused[scope])
            continue;
        while (next < count && pauses[next].uid == 0) /* the one that ends each batch */
            next++;
        ck_assert_uint_lt(next, count);
        ck_assert_int_eq(memcmp(&pauses[next].until, &model.pauses[scope].until, 16), 0);
        ck_assert_uint_eq(pauses[next++].uid, model.pauses[scope].uid);
    }
}

static void model_check(void)
{
    for (int i = 0; i < 30; i++) {
        model_check_task(choose(model.stored));
        model_check_find();
        if (choose(4) == 0)
            model_check_list();
        struct task dest = {.admitted = true, .state = TASK_ENQUEUED};
        choose_dest(&dest);
        ck_assert_int_eq(store_dest_taken(store, dest.directory, dest.name),
                         model_conflicts(&dest, -1));
        task_release(&dest);
    }
    int next = 0;
    ck_assert_int_eq(store_each_unfinished(store, on_model_unfinished, &next), 0);
    for (; next < model.count; next++)
        ck_assert(task_state_ended(model.tasks[next].state));
    model_check_pauses();
}

START_TEST(does_what_the_model_does)
{
    const char *given = getenv("AUTODL_SEED");
    unsigned seed = given ? (unsigned)strtoul(given, NULL, 10) : (unsigned)now_ms();
    printf("# AUTODL_SEED=%u\n", seed);
    fflush(stdout);
    model_seed = seed;
    int gone = 0;
    for (int done = 0; done < MODEL_OPS;) {
        int count = 1 + choose(MODEL_BATCH);
        count = count < MODEL_OPS - done ? count : MODEL_OPS - done;
        model_run_batch(count);
        done += count;
        if (choose(10) == 0)
            reopen_store();
        model_check();
    }
    for (int i = 0; i < model.count; i++) {
        model_check_task(i);
        gone += model.gone[i];
        task_release(&model.tasks[i]);
    }
    ck_assert_int_gt(gone, 0);
    printf("# %d tasks, %d of them forgotten or pruned\n", model.count, gone);
    fflush(stdout);
}
END_TEST

static Suite *suite(void)
{
    Suite *store_suite = suite_create("store");
    TCase *opened = tcase_create("opened");
    tcase_add_checked_fixture(opened, set_up, tear_down);
    tcase_set_timeout(opened, 180);
    tcase_add_test(opened, adds_and_keeps);
    tcase_add_test(opened, keeps_texts_of_strangers);
    tcase_add_test(opened, updates_what_can_change);
    tcase_add_test(opened, changes_what_people_change);
    tcase_add_test(opened, adds_all_or_none);
    tcase_add_test(opened, one_unfinished_task_per_dest);
    tcase_add_test(opened, fails_alone);
    tcase_add_test(opened, wipes_secrets);
    tcase_add_test(opened, wipes_secrets_of_many);
    tcase_add_test(opened, a_reader_delays_the_wipe_alone);
    tcase_add_test(opened, lazy_updates_wait_for_company);
    tcase_add_test(opened, clears_what_is_enqueued);
    tcase_add_test(opened, forgets_what_has_ended);
    tcase_add_test(opened, prunes_by_age_and_number);
    tcase_add_test(opened, what_another_waits_for_is_not_pruned);
    tcase_add_test(opened, pruning_tells_of_parts);
    tcase_add_test(opened, pruning_tells_of_each_part_in_turn);
    tcase_add_test(opened, finds_by_prefix);
    tcase_add_test(opened, finds_who_has_a_dest);
    tcase_add_test(opened, walks_the_unfinished);
    tcase_add_test(opened, lists_the_dependants);
    tcase_add_loop_test(opened, does_a_verb_for_many, 0, 2 * MANY_CASES);
    tcase_add_loop_test(opened, does_nothing_after_a_failure, 0, MANY_CASES);
    tcase_add_loop_test(opened, does_all_in_the_end, 0, 3 * MANY_CASES);
    tcase_add_test(opened, keeps_the_key_of_the_hosts);
    tcase_add_test(opened, keeps_pauses);
    tcase_add_test(opened, survives_a_damaged_page);
    tcase_add_test(opened, recovers_from_a_full_disk);
    tcase_add_test(opened, closing_finishes_what_callbacks_queue);
    tcase_add_test(opened, only_one_thread_gets_a_dest);
    tcase_add_test(opened, commits_in_groups);
    tcase_add_test(opened, a_refused_update_loses_no_lazy_one);
    tcase_add_test(opened, does_what_the_model_does);
    suite_add_tcase(store_suite, opened);

    TCase *closed = tcase_create("closed");
    tcase_add_checked_fixture(closed, set_up_directory, tear_down);
    tcase_set_timeout(closed, 180);
    tcase_add_test(closed, makes_a_private_file);
    tcase_add_test(closed, refuses_strange_files);
    tcase_add_test(closed, brings_version_1_up_to_date);
    tcase_add_test(closed, every_version_is_brought_up_to_date);
    tcase_add_test(closed, brings_version_2_up_to_date);
    tcase_add_test(closed, brings_the_headers_of_version_2_along);
    tcase_add_test(closed, survives_kill);
    suite_add_tcase(store_suite, closed);
    return store_suite;
}

int main(void)
{
    return tap_main(suite());
}
