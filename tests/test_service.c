/* End to end: the real service and the real command line, as people use them. */
#include <errno.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "harness.h"
#include "origin.h"

#define SOON 30000 /* ms: for what should take a moment, on a slow machine under sanitizers */

static struct service service;
static struct origin *origin;

static void set_up_unstarted(void)
{
    ck_assert_int_eq(origin_start(&origin), 0);
    service_init(&service);
}

static void set_up(void)
{
    set_up_unstarted();
    service_start(&service, NULL);
}

static void tear_down(void)
{
    service_release(&service);
    origin_stop(origin);
}

static void expect_cli(const char *expected, const char *command, const char *argument)
{
    _cleanup_output_ struct output output;
    cli(&service, &output, command, argument, NULL);
    ck_assert_msg(output.status == 0, "autodl %s ends with %d: %s%s", command, output.status,
                  output.out, output.err);
    ck_assert_str_eq(output.err, "");
    if (expected)
        ck_assert_str_eq(output.out, expected);
}

static void cli_pause(void)
{
    expect_cli("{\"message\": \"Pausing Workers\"}\n", "pause", NULL);
}

static void cli_resume(void)
{
    expect_cli("{\"message\": \"Resuming Workers\"}\n", "resume", NULL);
}

static void cli_add(const char *url, const char *directory, struct task_view *ret_view)
{
    _cleanup_output_ struct output output;
    cli(&service, &output, "add", url, directory, NULL);
    ck_assert_msg(output.status == 0, "autodl add ends with %d: %s%s", output.status, output.out,
                  output.err);
    task_parse(output.out, ret_view);
    ck_assert_str_eq(ret_view->status, "ENQUEUED");
    ck_assert_double_eq(ret_view->duration, 0.0);
    ck_assert_str_eq(ret_view->url, url);
}

static void add(const char *path, const char *directory, struct task_view *ret_view)
{
    ck_assert_int_eq(add_task(&service, NULL, origin_url(origin, path), directory, ret_view), 200);
}

static void expect_file(const char *file, const char *path)
{
    int result = origin_expect_file(file, path);
    ck_assert_msg(result == 0, "%s is not what %s gives: %s", file, path, strerror(-result));
}

static void expect_state(const char *id, const char *state)
{
    _cleanup_view_ struct task_view view = {0};
    ck_assert_int_eq(get_task(&service, NULL, id, &view), 200);
    ck_assert_str_eq(view.status, state);
}

/* Waits until the task has ended, in whatever state. */
static void wait_end(const char *id, struct task_view *ret_view)
{
    int64_t end = harness_now() + SOON;
    for (;;) {
        ck_assert_int_eq(get_task(&service, NULL, id, ret_view), 200);
        if (strcmp(ret_view->status, "FINISHED") == 0 || strcmp(ret_view->status, "FAILED") == 0)
            return;
        ck_assert_msg(harness_now() < end, "task %s is still %s", id, ret_view->status);
        task_view_release(ret_view);
    }
}

static void expect_no_parts(const char *directory)
{
    ck_assert_uint_eq(count_names(directory, ".part"), 0);
}

/* --- the integration test of the 2017 system --- */

START_TEST(pause_add_resume)
{
    const char *directory = make_directory(&service, "files");
    struct task_view tasks[3];
    const char *paths[3];

    cli_pause();
    for (unsigned i = 0; i < 3; i++) {
        paths[i] = textf("/bytes/%u/file%u.bin", 300000 * i + 17, i);
        cli_add(origin_url(origin, paths[i]), directory, &tasks[i]);
        ck_assert_str_eq(tasks[i].dest, textf("%s/file%u.bin", directory, i));
    }
    ck_assert_int_eq(read_count(&service, "ENQUEUED"), 3);
    ck_assert_int_eq(read_count(&service, "DOWNLOADING"), 0);
    ck_assert_int_eq(read_count(&service, "FINISHED"), 0);
    for (unsigned i = 0; i < 3; i++)
        ck_assert(!file_exists(tasks[i].dest));
    ck_assert_uint_eq(origin_requests(origin), 0);

    cli_resume();
    wait_count(&service, "FINISHED", 3, SOON);
    ck_assert_int_eq(read_count(&service, "ENQUEUED"), 0);
    for (unsigned i = 0; i < 3; i++) {
        expect_file(tasks[i].dest, paths[i]);
        expect_state(tasks[i].id, "FINISHED");
        task_view_release(&tasks[i]);
    }
    expect_no_parts(directory);
    ck_assert_int_eq(read_count(&service, "responses/200"), 3);
    ck_assert_int_eq(read_count(&service, "responses/total"), 3);
}
END_TEST

START_TEST(pause_add_clear)
{
    const char *directory = make_directory(&service, "files");

    cli_pause();
    for (unsigned i = 0; i < 3; i++) {
        _cleanup_view_ struct task_view task = {0};
        cli_add(origin_url(origin, textf("/bytes/100/%u", i)), directory, &task);
    }
    expect_cli("{\"message\": \"Enqueued tasks cleared\"}\n", "clear", NULL);
    ck_assert_int_eq(read_count(&service, "CLEARED"), 3);
    ck_assert_int_eq(read_count(&service, "ENQUEUED"), 0);
    cli_resume();

    _cleanup_view_ struct task_view later = {0};
    cli_add(origin_url(origin, "/bytes/100/later"), directory, &later);
    wait_state(&service, NULL, later.id, "FINISHED", SOON);
    ck_assert_uint_eq(origin_requests(origin), 1);
    ck_assert_uint_eq(count_names(directory, NULL), 1);
}
END_TEST

/* Ten times the same URL into one directory, two at a time; `first` names are there already. */
static void ten_by_two(const char *directory, unsigned first, const char *gate)
{
    const char *path = textf("/gate/same.bin?size=%u", 40000);
    cli_pause();
    for (unsigned i = first; i < first + 10; i++) {
        _cleanup_view_ struct task_view task = {0};
        cli_add(origin_url(origin, path), directory, &task);
        ck_assert_str_eq(task.dest, i == 0 ? textf("%s/same.bin", directory)
                                           : textf("%s/same-%u.bin", directory, i));
    }
    expect_cli("{\"message\": \"max_tasks set to 2\"}\n", "update_tasks_num", "2");
    cli_resume();
    if (gate) {
        wait_count(&service, "DOWNLOADING", 2, SOON);
        ck_assert_int_eq(read_count(&service, "ENQUEUED"), 8);
        origin_open_gate(origin, gate);
    }
    int64_t end = harness_now() + SOON;
    while (read_count(&service, "FINISHED") != first + 10) {
        ck_assert_int_le(read_count(&service, "DOWNLOADING"), 2);
        ck_assert_msg(harness_now() < end, "not finished");
    }
}

START_TEST(ten_of_the_same_two_at_a_time)
{
    const char *directory = make_directory(&service, "files");

    ten_by_two(directory, 0, "same.bin");
    ten_by_two(directory, 10, NULL);
    ck_assert_uint_eq(origin_max_concurrent(origin), 2);
    ck_assert_uint_eq(count_names(directory, ".bin"), 20);
    ck_assert_uint_eq(count_names(directory, NULL), 20);
    for (unsigned i = 0; i < 20; i++)
        expect_file(i == 0 ? textf("%s/same.bin", directory)
                           : textf("%s/same-%u.bin", directory, i),
                    "/gate/same.bin?size=40000");
}
END_TEST

START_TEST(status_of_a_task)
{
    _cleanup_view_ struct task_view task = {0}, now = {0};
    _cleanup_output_ struct output output = {0}, unknown = {0};

    cli_pause();
    cli_add(origin_url(origin, "/bytes/1000/a"), NULL, &task);
    ck_assert_str_eq(task.dest, textf("%s/autodl-storage/a", service.home));
    cli(&service, &output, "status", textf("%.8s", task.id), NULL);
    ck_assert_int_eq(output.status, 0);
    task_parse(output.out, &now);
    ck_assert_str_eq(now.id, task.id);
    ck_assert_str_eq(now.status, "ENQUEUED");
    ck_assert_str_eq(now.dest, task.dest);
    ck_assert_double_ge(now.duration, 0.0);
    cli_resume();
    wait_state(&service, NULL, task.id, "FINISHED", SOON);
    expect_file(task.dest, "/bytes/1000/a");

    cli(&service, &unknown, "status", "00000000-0000-4000-8000-000000000000", NULL);
    ck_assert_int_eq(unknown.status, 3);
    ck_assert_str_eq(unknown.out, "{\"message\": \"Not Found\"}\n");
}
END_TEST

START_TEST(pause_for_two_seconds)
{
    _cleanup_view_ struct task_view task = {0};
    int64_t begin = harness_now();

    expect_cli("{\"message\": \"Pausing Workers\"}\n", "pause", "2");
    add("/bytes/1000/a", NULL, &task);
    expect_state(task.id, "ENQUEUED");
    wait_state(&service, NULL, task.id, "FINISHED", SOON);
    ck_assert_int_ge(harness_now() - begin, 1900);
}
END_TEST

static void add_hundred(const char *directory)
{
    for (unsigned i = 0; i < 100; i++) {
        _cleanup_view_ struct task_view task = {0};
        add(textf("/bytes/%u/f%u", 1000 + i, i), directory, &task);
    }
}

static void expect_hundred(const char *directory)
{
    ck_assert_uint_eq(count_names(directory, NULL), 100);
    for (unsigned i = 0; i < 100; i++)
        expect_file(textf("%s/f%u", directory, i), textf("/bytes/%u/f%u", 1000 + i, i));
}

START_TEST(kill_with_hundred_waiting)
{
    const char *directory = make_directory(&service, "files");

    call(&service, NULL, "POST", "/pause");
    add_hundred(directory);
    service_kill_all(&service);
    service_start(&service, NULL);
    ck_assert_int_eq(read_count(&service, "ENQUEUED"), 100); /* the pause is kept too */
    call(&service, NULL, "POST", "/resume");
    wait_count(&service, "FINISHED", 100, 2 * SOON);
    expect_hundred(directory);
}
END_TEST

/* The same in the middle of the work, twice: whatever state a task was in. */
START_TEST(kill_while_hundred_run)
{
    const char *directory = make_directory(&service, "files");

    add_hundred(directory);
    service_kill_all(&service);
    service_start(&service, NULL);
    int64_t end = harness_now() + SOON;
    while (count_names(directory, NULL) < 50)
        ck_assert_msg(harness_now() < end, "half of the files did not come");
    service_kill_all(&service);
    service_start(&service, NULL);
    wait_count(&service, "ENQUEUED", 0, 2 * SOON);
    wait_count(&service, "DOWNLOADING", 0, SOON);
    wait_count(&service, "FINISHING", 0, SOON);
    ck_assert_int_eq(read_count(&service, "FAILED"), 0);
    expect_hundred(directory);
}
END_TEST

/* --- stopping and starting --- */

START_TEST(stop_with_a_running_download)
{
    const char *directory = make_directory(&service, "files");
    _cleanup_view_ struct task_view task = {0};

    add("/gate/a?size=300000", directory, &task);
    wait_state(&service, NULL, task.id, "DOWNLOADING", SOON);
    ck_assert_int_lt(service_stop(&service), 10000);
    ck_assert(!file_exists(task.dest));
    ck_assert(!file_exists(service.socket));

    service_start(&service, NULL);
    wait_state(&service, NULL, task.id, "DOWNLOADING", SOON);
    origin_open_gate(origin, "a");
    wait_state(&service, NULL, task.id, "FINISHED", SOON);
    expect_file(task.dest, "/gate/a?size=300000");
    ck_assert_uint_eq(count_names(directory, NULL), 1);
}
END_TEST

START_TEST(second_sigterm)
{
    _cleanup_view_ struct task_view task = {0};

    add("/gate/a?size=300000", NULL, &task);
    wait_state(&service, NULL, task.id, "DOWNLOADING", SOON);
    int64_t begin = harness_now();
    ck_assert_int_eq(kill(service.monitor, SIGTERM), 0);
    service_wait_log(&service, "stopping", SOON);
    kill(service.monitor, SIGTERM); /* it may have ended already: a zombie until we wait */
    ck_assert_int_ge(service_wait(&service, SOON), 0);
    ck_assert_int_lt(harness_now() - begin, 3000);

    origin_open_gate(origin, "a");
    service_start(&service, NULL);
    wait_state(&service, NULL, task.id, "FINISHED", SOON);
}
END_TEST

START_TEST(reload)
{
    struct task_view tasks[5];

    file_write(service.config, "# how many\nmax-tasks-num = 1\n");
    service_start(&service, NULL);
    for (unsigned i = 0; i < 5; i++)
        add(textf("/gate/g?size=%u", 1000 + i), NULL, &tasks[i]);
    wait_count(&service, "DOWNLOADING", 1, SOON);
    ck_assert_int_eq(read_count(&service, "ENQUEUED"), 4);

    file_write(service.config, "# how many\nmax-tasks-num = 3\nsocket-mode = 0600\n");
    ck_assert_int_eq(kill(service.monitor, SIGHUP), 0);
    wait_count(&service, "DOWNLOADING", 3, SOON);
    service_wait_log(&service, "socket-mode has changed, which takes effect at a restart", SOON);

    file_write(service.config, "# how many\nmax-tasks-num = lots\n");
    ck_assert_int_eq(kill(service.monitor, SIGHUP), 0);
    service_wait_log(&service, textf("%s:2", service.config), SOON);
    ck_assert_int_eq(read_count(&service, "DOWNLOADING"), 3);
    ck_assert_int_eq(read_count(&service, "ENQUEUED"), 2);

    origin_open_gate(origin, "g");
    wait_count(&service, "FINISHED", 5, SOON);
    ck_assert_uint_eq(origin_max_concurrent(origin), 3);
    for (unsigned i = 0; i < 5; i++)
        task_view_release(&tasks[i]);
}
END_TEST

static void expect_in_log(const char *text)
{
    _cleanup_free_ char *log = file_read(service.log);
    ck_assert_msg(strstr(log, text) != NULL, "no \"%s\" in the log:\n%s", text, log);
}

START_TEST(bad_starts)
{
    file_write(service.config, "umask = 022\nno-such-key = 1\n");
    ck_assert_int_ne(service_start_failing(&service, NULL), 0);
    expect_in_log(textf("%s:2", service.config));
    file_write(service.config, "");

    ck_assert_int_ne(service_start_failing(&service, "--max-tasks-num", "0", NULL), 0);
    expect_in_log("max-tasks-num");

    const char *taken = textf("127.0.0.1:%u", origin_port(origin));
    ck_assert_int_ne(service_start_failing(&service, "--listen", taken, NULL), 0);
    expect_in_log(taken);

    service_start(&service, NULL);
}
END_TEST

START_TEST(one_instance)
{
    struct service second = service;
    second.monitor = 0;
    second.log = textf("%s/second-log", service.dir);
    second.notify = textf("%s/second-notify", service.dir);
    int status =
        service_start_failing(&second, "--socket", textf("%s/run/second", service.dir), NULL);
    ck_assert_int_eq(status, 1);

    int pid = 0;
    _cleanup_free_ char *log = file_read(second.log);
    const char *found = strstr(log, "already running as PID ");
    ck_assert_msg(found && sscanf(found, "already running as PID %d", &pid) == 1, "log: %s", log);
    ck_assert_msg(pid == service.monitor || pid == service_process(&service), "PID %d", pid);
    ck_assert_int_eq(read_count(&service, "ENQUEUED"), 0); /* the first one goes on */
}
END_TEST

START_TEST(a_start_takes_over_a_stale_socket)
{
    service_kill_all(&service);
    ck_assert(file_exists(service.socket));
    service_start(&service, NULL);
    ck_assert_int_eq(read_count(&service, "ENQUEUED"), 0);
}
END_TEST

/* --- killed processes --- */

START_TEST(kill_the_service_process)
{
    pid_t pid = service_process(&service);
    service_kill(pid);
    ck_assert_int_eq(service_wait(&service, SOON), 1);
    service_start(&service, NULL);
}
END_TEST

START_TEST(kill_the_monitor)
{
    _cleanup_view_ struct task_view task = {0};
    pid_t filers[8];

    add("/gate/a", NULL, &task);
    wait_state(&service, NULL, task.id, "DOWNLOADING", SOON);
    pid_t pid = service_process(&service);
    unsigned count = service_filers(&service, (uid_t)-1, filers, 8);
    ck_assert_uint_ge(count, 1);
    service_kill(service.monitor);
    ck_assert_int_eq(service_wait(&service, SOON), -SIGKILL);
    wait_gone(pid, SOON);
    for (unsigned i = 0; i < count; i++)
        wait_gone(filers[i], SOON);

    origin_open_gate(origin, "a");
    service_start(&service, NULL);
    wait_state(&service, NULL, task.id, "FINISHED", SOON);
    expect_file(task.dest, "/gate/a");
}
END_TEST

START_TEST(kill_a_filer)
{
    _cleanup_view_ struct task_view running = {0}, later = {0};
    pid_t filers[8];

    add("/gate/a", NULL, &running);
    wait_state(&service, NULL, running.id, "DOWNLOADING", SOON);
    wait_count(&service, "responses/200", 1, SOON);
    unsigned count = service_filers(&service, (uid_t)-1, filers, 8);
    ck_assert_uint_ge(count, 1);
    for (unsigned i = 0; i < count; i++)
        service_kill(filers[i]);
    add("/bytes/1000/b", NULL, &later);
    wait_state(&service, NULL, later.id, "FINISHED", SOON);
    origin_open_gate(origin, "a");
    wait_state(&service, NULL, running.id, "FINISHED", SOON);
    expect_file(running.dest, "/gate/a");
    expect_file(later.dest, "/bytes/1000/b");
}
END_TEST

/* A stopped process stands in for a file system that does not answer. */
START_TEST(a_file_system_that_does_not_answer)
{
    _cleanup_view_ struct task_view before = {0}, task = {0}, end = {0};
    pid_t filers[8];

    add("/bytes/1000/before", NULL, &before);
    wait_state(&service, NULL, before.id, "FINISHED", SOON);
    unsigned count = service_filers(&service, (uid_t)-1, filers, 8);
    ck_assert_uint_ge(count, 1);
    for (unsigned i = 0; i < count; i++)
        ck_assert_int_eq(kill(filers[i], SIGSTOP), 0);

    int64_t begin = harness_now();
    add("/bytes/1000/during", NULL, &task);
    ck_assert_int_ge(harness_now() - begin, 4000);
    ck_assert_int_le(harness_now() - begin, 10000);
    expect_state(task.id, "ENQUEUED");
    ck_assert_int_eq(read_count(&service, "DOWNLOADING"), 0);

    for (unsigned i = 0; i < count; i++)
        ck_assert_int_eq(kill(filers[i], SIGCONT), 0);
    wait_state(&service, NULL, task.id, "FINISHED", SOON);
    ck_assert_int_eq(get_task(&service, NULL, task.id, &end), 200); /* the first dest was a guess */
    ck_assert_str_eq(end.dest, textf("%s/autodl-storage/during", service.home));
    expect_file(end.dest, "/bytes/1000/during");
}
END_TEST

/* --- pauses --- */

/* A hung file system of a user is none of the watchdog's business; a store that hangs is. */
START_TEST(the_watchdog)
{
    pid_t filers[8];
    _cleanup_view_ struct task_view task = {0};
    service.watchdog = 200;
    service_start(&service, NULL);
    service_wait_alive(&service, 3, SOON);
    cli_add(origin_url(origin, "/bytes/10/before"), NULL, &task);
    wait_state(&service, NULL, task.id, "FINISHED", SOON);

    unsigned count = service_filers(&service, (uid_t)-1, filers, 8);
    ck_assert_uint_ge(count, 1);
    for (unsigned i = 0; i < count; i++)
        ck_assert_int_eq(kill(filers[i], SIGSTOP), 0);
    task_view_release(&task);
    cli_add(origin_url(origin, "/bytes/10/after"), NULL, &task); /* in 5 s: nobody answers */
    service_wait_alive(&service, 3, SOON);
    for (unsigned i = 0; i < count; i++)
        kill(filers[i], SIGCONT);

    sqlite3 *other;
    const char *path = textf("%s/state/autodl/autodl.db", service.dir);
    ck_assert_int_eq(sqlite3_open(path, &other), SQLITE_OK);
    ck_assert_int_eq(sqlite3_busy_timeout(other, SOON), SQLITE_OK);
    ck_assert_int_eq(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    service_heard_alive(&service, 300); /* what was on its way */
    ck_assert_uint_eq(service_heard_alive(&service, 1000), 0);
    ck_assert_int_eq(sqlite3_exec(other, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(other);
    service_wait_alive(&service, 3, SOON);
}
END_TEST

/* A terminal that root started it on is not theirs to type on. */
START_TEST(children_have_sessions_of_their_own)
{
    pid_t filers[8], process = service_process(&service);
    _cleanup_view_ struct task_view task = {0};
    cli_add(origin_url(origin, "/gate/session"), NULL, &task);
    wait_state(&service, NULL, task.id, "DOWNLOADING", SOON);
    ck_assert_int_eq(getsid(process), process);
    ck_assert_uint_eq(service_filers(&service, (uid_t)-1, filers, 8), 1);
    ck_assert_int_eq(getsid(filers[0]), filers[0]);
    origin_open_gate(origin, "session");
    wait_state(&service, NULL, task.id, "FINISHED", SOON);
}
END_TEST

START_TEST(a_timed_pause_survives_a_restart)
{
    _cleanup_view_ struct task_view task = {0};
    int64_t begin = harness_now();

    call(&service, NULL, "POST", "/pause?seconds=6");
    add("/bytes/1000/a", NULL, &task);
    service_stop(&service);
    service_start(&service, NULL);
    if (harness_now() - begin < 5500)
        expect_state(task.id, "ENQUEUED");
    wait_state(&service, NULL, task.id, "FINISHED", SOON);
    ck_assert_int_ge(harness_now() - begin, 5900);
    ck_assert_int_le(harness_now() - begin, 20000);
}
END_TEST

START_TEST(a_pause_survives_a_restart)
{
    _cleanup_view_ struct task_view task = {0};

    call(&service, NULL, "POST", "/pause");
    add("/bytes/1000/a", NULL, &task);
    service_stop(&service);
    service_start(&service, NULL);
    expect_state(task.id, "ENQUEUED");
    ck_assert_uint_eq(origin_requests(origin), 0);
    call(&service, NULL, "GET", "/resume");
    wait_state(&service, NULL, task.id, "FINISHED", SOON);
}
END_TEST

START_TEST(running_downloads_go_on_in_a_pause)
{
    _cleanup_view_ struct task_view task = {0};

    add("/gate/a", NULL, &task);
    wait_state(&service, NULL, task.id, "DOWNLOADING", SOON);
    call(&service, NULL, "POST", "/pause");
    origin_open_gate(origin, "a");
    wait_state(&service, NULL, task.id, "FINISHED", SOON);
}
END_TEST

/* --- files --- */

static mode_t mode_of(const char *path)
{
    struct stat status;
    ck_assert_int_eq(stat(path, &status), 0);
    return status.st_mode & 07777;
}

static void finish_one(const char *path, struct task_view *ret_view)
{
    add(path, NULL, ret_view);
    wait_state(&service, NULL, ret_view->id, "FINISHED", SOON);
    expect_file(ret_view->dest, path);
}

START_TEST(modes)
{
    _cleanup_view_ struct task_view open = {0}, closed = {0};

    service_start(&service, "--umask", "022", NULL);
    finish_one("/bytes/10/open", &open);
    ck_assert_uint_eq(mode_of(open.dest), 0644);
    ck_assert_uint_eq(mode_of(textf("%s/autodl-storage", service.home)), 0755);
    service_stop(&service);
    service_start(&service, "--umask", "077", NULL);
    finish_one("/bytes/10/closed", &closed);
    ck_assert_uint_eq(mode_of(closed.dest), 0600);
}
END_TEST

START_TEST(names_that_are_taken)
{
    const char *directory = make_directory(&service, "files");
    _cleanup_view_ struct task_view task = {0}, late = {0}, end = {0};

    file_write(textf("%s/a.bin", directory), "mine");
    make_directory(&service, "files/a-1.bin");
    add("/bytes/100/a.bin", directory, &task);
    ck_assert_str_eq(task.dest, textf("%s/a-2.bin", directory));
    wait_state(&service, NULL, task.id, "FINISHED", SOON);
    expect_file(task.dest, "/bytes/100/a.bin");

    /* Taken by somebody else while it downloads: nothing is overwritten, the task ends. */
    add("/gate/late", directory, &late);
    wait_state(&service, NULL, late.id, "DOWNLOADING", SOON);
    file_write(late.dest, "mine too");
    origin_open_gate(origin, "late");
    wait_end(late.id, &end);
    _cleanup_free_ char *first = file_read(textf("%s/a.bin", directory));
    _cleanup_free_ char *second = file_read(textf("%s/late", directory));
    ck_assert_str_eq(first, "mine");
    ck_assert_str_eq(second, "mine too");
    expect_no_parts(directory);

    if (strcmp(end.status, "FINISHED") == 0)
        expect_file(end.dest, "/gate/late");
    else
        ck_assert_str_eq(end.status, "FAILED");
}
END_TEST

START_TEST(a_directory_removed_meanwhile)
{
    const char *directory = make_directory(&service, "files");
    _cleanup_view_ struct task_view task = {0}, end = {0};

    call(&service, NULL, "POST", "/pause");
    add("/bytes/100/a", directory, &task);
    remove_tree(directory);
    ck_assert(!file_exists(directory));
    call(&service, NULL, "POST", "/resume");
    wait_end(task.id, &end);
    if (strcmp(end.status, "FINISHED") == 0)
        expect_file(end.dest, "/bytes/100/a");
    else
        ck_assert_str_eq(end.status, "FAILED");
}
END_TEST

/* `parts`: how many part files stay, for a retry. */
static void expect_failure(const char *path, unsigned parts)
{
    const char *directory = textf("%s/nothing", service.home);
    _cleanup_view_ struct task_view task = {0};
    add(path, directory, &task);
    wait_state(&service, NULL, task.id, "FAILED", SOON);
    ck_assert(!file_exists(task.dest));
    ck_assert_uint_eq(count_names(directory, NULL), parts);
    ck_assert_uint_eq(count_names(directory, ".part"), parts);
    service_wait_log(&service, textf("task=%s", task.id), SOON);
}

START_TEST(failures_leave_nothing)
{
    struct origin *gone;
    _cleanup_view_ struct task_view task = {0};

    service_stop(&service);
    service_start(&service, "--retries", "0", NULL);
    expect_failure("/status/404/a", 0);
    expect_failure("/status/500/a", 0);
    expect_failure("/short/200000/a", 1);
    ck_assert_int_eq(read_count(&service, "FAILED"), 3);
    ck_assert_int_eq(read_count(&service, "responses/404"), 1);
    ck_assert_int_eq(read_count(&service, "responses/500"), 1);

    ck_assert_int_eq(origin_start(&gone), 0);
    const char *url = textf("%s", origin_url(gone, "/bytes/1/a"));
    origin_stop(gone);
    ck_assert_int_eq(add_task(&service, NULL, url, NULL, &task), 200);
    wait_state(&service, NULL, task.id, "FAILED", SOON);
}
END_TEST

START_TEST(kinds_of_answers)
{
    _cleanup_view_ struct task_view empty = {0}, chunked = {0}, moved = {0}, strange = {0};

    finish_one("/bytes/0/empty", &empty);
    finish_one("/chunked/3000000/chunked", &chunked);
    finish_one("/redirect/3/bytes/100000/moved", &moved);
    finish_one("/bytes/100/caf%C3%A9%20%26%20%22co%22", &strange);
    ck_assert_str_eq(strange.dest, textf("%s/autodl-storage/caf\xc3\xa9 & \"co\"", service.home));
    ck_assert_int_eq(read_count(&service, "responses/302"), 3);
    ck_assert_int_eq(read_count(&service, "responses/200"), 4);
}
END_TEST

START_TEST(tilde_and_new_directories)
{
    _cleanup_view_ struct task_view task = {0};

    add("/bytes/100/a", "~/new/deep", &task);
    ck_assert_str_eq(task.dest, textf("%s/new/deep/a", service.home));
    wait_state(&service, NULL, task.id, "FINISHED", SOON);
    expect_file(task.dest, "/bytes/100/a");
}
END_TEST

/* --- TCP --- */

START_TEST(add_over_tcp)
{
    _cleanup_answer_ struct answer added = {0}, stats = {0};
    _cleanup_view_ struct task_view task = {0};
    const char *who = http_basic(harness_user()->name, "any password");
    const char *body = textf("url=%s", origin_url(origin, "/bytes/100/a"));

    http_tcp(&service, NULL, http_request_text("POST", "/add", who, body), &added);
    ck_assert_int_eq(added.status, 200);
    ck_assert_str_eq(answer_header(&added, "Content-Type"), "application/json");
    task_parse(added.body, &task);
    wait_state(&service, NULL, task.id, "FINISHED", SOON);

    _cleanup_free_ char *expected = read_stats(&service);
    http_tcp(&service, NULL, http_request_text("GET", "/stats", who, NULL), &stats);
    ck_assert_str_eq(stats.body, expected);
}
END_TEST

/* --- the suite --- */

static TCase *new_case(Suite *suite, const char *name, SFun begin)
{
    TCase *tcase = tcase_create(name);
    tcase_add_checked_fixture(tcase, begin, tear_down);
    tcase_set_timeout(tcase, 180);
    suite_add_tcase(suite, tcase);
    return tcase;
}

int main(void)
{
    Suite *suite = suite_create("service");
    TCase *unstarted = new_case(suite, "from the start", set_up_unstarted);
    tcase_add_test(unstarted, reload);
    tcase_add_test(unstarted, bad_starts);
    tcase_add_test(unstarted, modes);
    tcase_add_test(unstarted, the_watchdog);

    TCase *running = new_case(suite, "running", set_up);
    tcase_add_test(running, pause_add_resume);
    tcase_add_test(running, pause_add_clear);
    tcase_add_test(running, ten_of_the_same_two_at_a_time);
    tcase_add_test(running, status_of_a_task);
    tcase_add_test(running, pause_for_two_seconds);
    tcase_add_test(running, kill_with_hundred_waiting);
    tcase_add_test(running, kill_while_hundred_run);
    tcase_add_test(running, stop_with_a_running_download);
    tcase_add_test(running, second_sigterm);
    tcase_add_test(running, one_instance);
    tcase_add_test(running, a_start_takes_over_a_stale_socket);
    tcase_add_test(running, children_have_sessions_of_their_own);
    tcase_add_test(running, kill_the_service_process);
    tcase_add_test(running, kill_the_monitor);
    tcase_add_test(running, kill_a_filer);
    tcase_add_test(running, a_file_system_that_does_not_answer);
    tcase_add_test(running, a_timed_pause_survives_a_restart);
    tcase_add_test(running, a_pause_survives_a_restart);
    tcase_add_test(running, running_downloads_go_on_in_a_pause);
    tcase_add_test(running, names_that_are_taken);
    tcase_add_test(running, a_directory_removed_meanwhile);
    tcase_add_test(running, failures_leave_nothing);
    tcase_add_test(running, kinds_of_answers);
    tcase_add_test(running, tilde_and_new_directories);
    tcase_add_test(running, add_over_tcp);
    return harness_main(suite);
}
