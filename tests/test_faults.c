/*
 * The whole service while calls fail at random (tests/fault.c): what it acknowledged is not lost,
 * what it calls finished is right, what failed says why, and nothing crashes.
 *
 * SEED=n repeats the dice, though not which call gets which throw; RATE=n: one call in n fails.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fault.h"
#include "harness.h"
#include "origin.h"
#include "v1.h"

#define SMALL    300
#define LARGE    6
#define TASKS    (SMALL + LARGE)
#define RATE     1000  /* one call in so many fails */
#define SOON     20000 /* ms */
#define PATIENCE 12000 /* ms, with faults */

static struct service service;
static struct origin *origin;
static struct fault_board *board;
static const char *downloads;
static unsigned restarts;

static struct job {
    const char *path; /* of the URL */
    const char *name;
    const char *id; /* NULL: not acknowledged */
} jobs[TASKS];

/* --- the service, with faults --- */

static void copy(const char *from, const char *to)
{
    char bytes[65536];
    ssize_t len;
    _cleanup_close_ int in = open(from, O_RDONLY | O_CLOEXEC);
    _cleanup_close_ int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
    ck_assert_msg(in >= 0 && out >= 0, "%s to %s: %s", from, to, strerror(errno));
    while ((len = read(in, bytes, sizeof(bytes))) > 0)
        ck_assert_int_eq(write(out, bytes, (size_t)len), len);
    ck_assert_int_eq(len, 0);
}

static void make_board(const char *path)
{
    _cleanup_close_ int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(ftruncate(fd, sizeof(*board)), 0);
    ck_assert_int_eq(fchown(fd, harness_user()->uid, harness_user()->gid), 0);
    void *map = mmap(NULL, sizeof(*board), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    ck_assert_ptr_ne(map, MAP_FAILED);
    board = map;
}

/* A script takes the program's place, and loads the faults into it. */
static void put_faults_in(unsigned long seed, unsigned long rate)
{
    const char *build = getenv("AUTODL_BUILD"),
               *program = textf("%s/autodl-service", harness_dir());
    const char *real = textf("%s/real", harness_dir()), *library = textf("%s/fault.so", real);
    const char *board_path = textf("%s/board", service.dir);
    if (mkdir(real, 0755) == 0) {
        copy(textf("%s/tests/fault.so", build ? build : "."), library);
        ck_assert_int_eq(rename(program, textf("%s/autodl-service", real)), 0);
    }
    make_board(board_path);
    file_write(program,
               textf("#!/bin/sh\nFAULT_BOARD=%s FAULT_RATE=%lu FAULT_SEED=%lu LD_PRELOAD=%s"
                     " exec %s/autodl-service \"$@\"\n",
                     board_path, rate, seed, library, real));
    ck_assert_int_eq(chmod(program, 0755), 0);
}

static void set_faults(bool armed)
{
    atomic_store(&board->armed, armed);
}

static void start(bool faults)
{
    set_faults(false);
    service_start(&service, "--retries", "20", "--retry-wait", "20ms", "--retry-max-wait", "100ms",
                  "--min-free", "off", "--log-level", "debug", NULL);
    set_faults(faults);
}

static bool has_died(void)
{
    siginfo_t info = {0};
    int r = waitid(P_PID, (id_t)service.monitor, &info, WEXITED | WNOHANG | WNOWAIT);
    return r == 0 && info.si_pid != 0;
}

/* It may give up, but not crash. */
static void assert_not_killed(int status)
{
    ck_assert_msg(status >= 0, "the monitor was killed by signal %d", -status);
}

static void start_again_if_dead(void)
{
    if (!has_died())
        return;
    assert_not_killed(service_wait(&service, SOON));
    restarts++;
    start(true);
}

static void stop(void)
{
    ck_assert_int_eq(kill(service.monitor, SIGTERM), 0);
    assert_not_killed(service_wait(&service, SOON));
}

/* --- tasks --- */

static void name_jobs(void)
{
    for (unsigned i = 0; i < TASKS; i++) {
        unsigned size = i % (TASKS / LARGE) == 0 ? 1048576 : 100 + i;
        jobs[i].name = textf("f%u", i);
        jobs[i].path = textf("/%s/%u/%s", i % 7 == 0 ? "chunked" : "bytes", size, jobs[i].name);
    }
}

static void add(struct job *job)
{
    const char *body = "";
    int status = v1_try_add(&service, origin_url(origin, job->path), downloads, NULL, &body);
    if (status == 201)
        job->id = json_at(body, "id");
    else if (status > 0)
        ck_assert_msg(status == 503 && json_at(body, "message"), "adding gives %d: %s", status,
                      body);
    else
        start_again_if_dead();
}

static bool has_ended(const struct job *job)
{
    const char *body = "", *state;
    int status = v1_call(&service, "GET", textf("/v1/tasks/%s", job->id), NULL, &body);
    if (status <= 0)
        start_again_if_dead();
    ck_assert_int_ne(status, 404);
    return status == 200 && (state = json_at(body, "status")) && v1_ended(state);
}

/* How many of them did not end in time. */
static unsigned wait_all_ended(int timeout)
{
    int64_t end = harness_now() + timeout;
    unsigned left = 0;
    for (unsigned i = 0; i < TASKS; i++) {
        bool ended = false;
        while (jobs[i].id && !(ended = has_ended(&jobs[i])) && harness_now() < end)
            poll(NULL, 0, 20);
        left += jobs[i].id && !ended;
    }
    return left;
}

/* After a quota was used up for once, a task waits for a minute; a person need not. */
static void hurry(const struct job *job)
{
    if (!job->id || has_ended(job))
        return;
    v1_call(&service, "POST", textf("/v1/tasks/%s/hold", job->id), NULL, NULL);
    v1_call(&service, "POST", textf("/v1/tasks/%s/release", job->id), NULL, NULL);
}

static void assert_all_end(void)
{
    for (unsigned i = 0; i < TASKS; i++)
        hurry(&jobs[i]);
    unsigned left = wait_all_ended(SOON);
    for (unsigned i = 0; i < TASKS && left > 0; i++)
        if (jobs[i].id && !has_ended(&jobs[i]))
            ck_abort_msg("%u tasks do not end, such as %s", left, v1_get(&service, jobs[i].id, ""));
}

static void check(const struct job *job, unsigned *finished, unsigned *failed)
{
    const char *file = textf("%s/%s", downloads, job->name);
    int content = origin_expect_file(file, job->path);
    ck_assert_msg(content == 0 || content == -ENOENT, "%s: %s", file, strerror(-content));
    if (!job->id)
        return;
    const char *body = v1_get(&service, job->id, ""), *state = json_at(body, "status");
    if (strcmp(state, "FINISHED") == 0) {
        ck_assert_msg(content == 0, "no file: %s", body);
        (*finished)++;
        return;
    }
    ck_assert_msg(strcmp(state, "FAILED") == 0, "%s", body);
    const char *code = json_at(body, "error.code"), *message = json_at(body, "error.message");
    ck_assert_msg(code && *code && message && *message, "no reason: %s", body);
    printf("# %s failed: %s: %s\n", job->name, code, message);
    (*failed)++;
}

static unsigned report_faults(void)
{
    static const char *const names[FAULT_CALLS] = {
        [FAULT_MEMORY] = "allocations", [FAULT_WRITE] = "writes",
        [FAULT_SYNC] = "syncs",         [FAULT_OPEN] = "opens",
        [FAULT_RENAME] = "renames",     [FAULT_TRUNCATE] = "truncations",
    };
    unsigned sum = 0;
    printf("# failed of %llu calls:", (unsigned long long)atomic_load(&board->rolls));
    for (unsigned i = 0; i < FAULT_CALLS; i++) {
        sum += atomic_load(&board->failed[i]);
        printf(" %s %u", names[i], atomic_load(&board->failed[i]));
    }
    printf("\n");
    fflush(stdout);
    return sum;
}

static unsigned long number_from(const char *variable, unsigned long otherwise)
{
    const char *text = getenv(variable);
    return text && *text ? strtoul(text, NULL, 10) : otherwise;
}

static void assert_no_crash(void)
{
    _cleanup_free_ char *log = file_read(service.log);
    const char *crash = strstr(log, "(signal ");
    ck_assert_msg(!crash, "a process was killed: %.80s", crash);
}

static void begin(void)
{
    unsigned long seed = number_from("SEED", (unsigned long)harness_now());
    unsigned long rate = number_from("RATE", RATE);
    printf("# SEED=%lu RATE=%lu\n", seed, rate);
    fflush(stdout);
    ck_assert_int_eq(origin_start(&origin), 0);
    service_init(&service);
    downloads = make_directory(&service, "downloads");
    put_faults_in(seed, rate);
    name_jobs();
    start(true);
}

START_TEST(one_in_a_thousand)
{
    unsigned acknowledged = 0, finished = 0, failed = 0;
    begin();
    for (unsigned i = 0; i < TASKS; i++) {
        add(&jobs[i]);
        acknowledged += jobs[i].id != NULL;
    }
    unsigned late = wait_all_ended(PATIENCE);
    unsigned faults = report_faults();
    set_faults(false);
    start_again_if_dead();
    set_faults(false);
    assert_all_end(); /* with the service as it is: nothing waits for the next start */
    stop();
    start(false);
    for (unsigned i = 0; i < TASKS; i++)
        check(&jobs[i], &finished, &failed);
    printf("# %u of %u acknowledged: %u finished, %u failed; %u late, %u restarts\n", acknowledged,
           TASKS, finished, failed, late, restarts);
    fflush(stdout);
    assert_no_crash();
    ck_assert_uint_gt(faults, 0);
    service_release(&service);
    origin_stop(origin);
}
END_TEST

/* --- one call that fails for sure --- */

/* What somebody gets who adds a task for a directory that cannot be looked at for this reason. */
static const struct {
    int error;
    int status;
    const char *state; /* of the task that there is then, or NULL */
} adds[] = {
    {EMFILE,  503, NULL      },
    {ENFILE,  503, NULL      },
    {ENOMEM,  503, NULL      },
    {EIO,     503, NULL      },
    {ESTALE,  503, NULL      },
    {EACCES,  403, NULL      },
    {EROFS,   403, NULL      },
    {ENOTDIR, 403, NULL      },
    {EMLINK,  403, NULL      },
    {ENOSPC,  201, "ENQUEUED"},
    {EDQUOT,  201, "ENQUEUED"},
};

static void aim(int error, const char *target)
{
    snprintf(board->target, sizeof(board->target), "%s", target);
    atomic_store(&board->aim, error);
}

static void expect_refused(int error, int status)
{
    _cleanup_answer_ struct answer answer = {0};
    const char *url = origin_url(origin, "/bytes/10/classic");
    http_unix(&service, NULL,
              http_request_text("POST", "/add", NULL, textf("url=%s&path=%s", url, downloads)),
              &answer);
    ck_assert_int_eq(answer.status, status);
    const char *message = answer_string(&answer, "message");
    const char *reason = error == EROFS ? "is read-only for the service; see" : strerror(error);
    ck_assert_msg(message && strstr(message, downloads) && strstr(message, reason), "no reason: %s",
                  answer.body);
    ck_assert_int_eq(answer_header(&answer, "Retry-After") != NULL, status == 503);
    ck_assert_uint_eq(count_names(downloads, NULL), 0);
}

/* It waits for room, says so, and goes on by itself. */
static void expect_waits_for_room(const char *id, const char *path)
{
    v1_wait_reason(&service, id, "disk", SOON);
    aim(0, "");
    v1_wait(&service, id, "ENQUEUED", SOON);
    v1_verb(&service, id, "hold", 200);
    v1_verb(&service, id, "release", 200);
    v1_wait(&service, id, "FINISHED", SOON);
    ck_assert_int_eq(origin_expect_file(v1_get(&service, id, "dest"), path), 0);
    ck_assert_int_eq(unlink(v1_get(&service, id, "dest")), 0);
}

START_TEST(directory_that_fails)
{
    const char *path = "/bytes/10/a", *body = "";
    begin();
    set_faults(false);
    for (size_t i = 0; i < sizeof(adds) / sizeof(*adds); i++) {
        aim(adds[i].error, downloads);
        int status = v1_try_add(&service, origin_url(origin, path), downloads, NULL, &body);
        ck_assert_msg(status == adds[i].status, "%s gives %d: %s", strerror(adds[i].error), status,
                      body);
        if (adds[i].state)
            expect_waits_for_room(json_at(body, "id"), path);
        else
            expect_refused(adds[i].error, status);
    }
    service_release(&service);
    origin_stop(origin);
}
END_TEST

/* The kernel tells once that what was written is lost: nobody may trust it after that. */
START_TEST(lost_on_the_way_to_the_disk)
{
    const char *path = "/gate/lost?size=1000000";
    begin();
    set_faults(false);
    const char *id = v1_add(&service, origin_url(origin, path), downloads, NULL);
    v1_wait(&service, id, "DOWNLOADING", SOON);
    while (v1_number(&service, id, "bytes_done") < 500000)
        poll(NULL, 0, 10);
    atomic_store(&board->sync_error, EIO);
    v1_verb(&service, id, "hold", 200);
    v1_wait(&service, id, "PAUSED", SOON);
    ck_assert_int_eq(atomic_load(&board->sync_error), 0);
    v1_verb(&service, id, "release", 200);
    service_wait_log(&service, "attempt=2 from=0", SOON);
    origin_open_gate(origin, "lost");
    v1_wait(&service, id, "FINISHED", SOON);
    ck_assert_int_eq(origin_expect_file(v1_get(&service, id, "dest"), path), 0);
    service_release(&service);
    origin_stop(origin);
}
END_TEST

int main(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return harness_skip("the sanitizers have an allocator of their own");
#endif
    Suite *suite = suite_create("faults");
    TCase *tcase = tcase_create("at random");
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, one_in_a_thousand);
    tcase_add_test(tcase, directory_that_fails);
    tcase_add_test(tcase, lost_on_the_way_to_the_disk);
    suite_add_tcase(suite, tcase);
    return harness_main(suite);
}
