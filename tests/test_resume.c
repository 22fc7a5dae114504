/* Nothing is lost: what was downloaded is kept through whatever interrupts, what people ask for
 * holds, and files are whole or not there. */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>

#include "hostile.h"
#include "v1.h"

#define SOON    30000 /* ms */
#define OVERLAP 65536
#define SLACK   131072 /* bytes that may be under way when somebody hangs up */

static struct service service;
static struct hostile *hostile;
static const char *directory;

/* One connection a download: its requests are counted. Several: test_ranges.c. */
#define QUICK                                                                                      \
    "--max-ranges", "1", "--retry-wait", "50ms", "--retry-max-wait", "200ms", "--stall-timeout", "30s",                 \
        "--connect-timeout", "30s"

static void set_up(void)
{
    ck_assert_int_eq(hostile_start(0, &hostile), 0);
    service_init(&service);
    directory = make_directory(&service, "files");
}

static void tear_down(void)
{
    service_release(&service);
    hostile_stop(hostile);
}

static void start(void)
{
    service_start(&service, QUICK, NULL);
}

static const char *url_of(const char *path)
{
    return textf("http://127.0.0.1:%u%s", hostile_port(hostile), path);
}

static const char *add(const char *path, const char *more)
{
    return v1_add(&service, url_of(path), directory, more);
}

static const char *get(const char *id, const char *member)
{
    return v1_get(&service, id, member);
}

static void expect_file(const char *file, const char *path, unsigned version)
{
    int result = hostile_expect_file(file, path, version);
    ck_assert_msg(result == 0, "%s is not what %s gives: %s", file, path, strerror(-result));
}

static void expect_text(const char *file, const char *text)
{
    _cleanup_free_ char *have = file_read(file);
    ck_assert_str_eq(have, text);
}

static void expect_member(const char *id, const char *member, const char *value)
{
    const char *have = get(id, member);
    ck_assert_msg(have && strcmp(have, value) == 0, "%s is not %s: %s", member, value, get(id, ""));
}

/* FINISHED with this version, as the only file of the directory. */
static void expect_finished(const char *id, const char *path, unsigned version)
{
    v1_wait(&service, id, "FINISHED", SOON);
    expect_file(get(id, "dest"), path, version);
    ck_assert_uint_eq(count_names(directory, NULL), 1);
}

static struct hostile_count count_of(const char *path)
{
    struct hostile_count count;
    hostile_read(hostile, path, &count);
    return count;
}

struct sent {
    const char *path;
    uint64_t bytes;
};

static bool was_sent(void *data)
{
    const struct sent *sent = data;
    return count_of(sent->path).sent >= sent->bytes;
}

static void wait_sent(const char *path, uint64_t bytes)
{
    struct sent sent = {path, bytes};
    wait_until(was_sent, &sent, SOON, "the server has sent enough");
}

static bool no_part_left(void *data)
{
    return count_names(data, ".part") == 0;
}

static void wait_no_part(void)
{
    wait_until(no_part_left, (void *)directory, SOON, "the part file is gone");
}

/* The path of the only part file. */
static const char *part_path(void)
{
    DIR *dir = opendir(directory);
    const char *path = NULL;
    struct dirent *entry;
    ck_assert_ptr_nonnull(dir);
    while ((entry = readdir(dir)))
        if (strstr(entry->d_name, ".part"))
            path = textf("%s/%s", directory, entry->d_name);
    closedir(dir);
    ck_assert_ptr_nonnull(path);
    return path;
}

/* --- what was downloaded is not downloaded again --- */

enum interruption {
    LOST_CONNECTION,
    HELD,
    STOPPED,
    REBOOTED,
    KILLED,
    SERVICE_KILLED,
    FILER_KILLED,
    INTERRUPTIONS,
};

static void kill_filer(void)
{
    pid_t pids[32];
    unsigned count = service_filers(&service, (uid_t)-1, pids, 32);
    ck_assert_uint_gt(count, 0);
    for (unsigned i = 0; i < count; i++)
        service_kill(pids[i]);
}

static void interrupt(enum interruption interruption, const char *id)
{
    switch (interruption) {
    case HELD:
        v1_verb(&service, id, "hold", 200);
        v1_wait(&service, id, "PAUSED", SOON);
        v1_verb(&service, id, "release", 200);
        break;
    case STOPPED:
        service_stop(&service);
        start();
        break;
    case REBOOTED:
        service_stop(&service);
        service.boot_id = "another boot";
        start();
        break;
    case KILLED:
        service_kill_all(&service);
        start();
        break;
    case SERVICE_KILLED:
        service_kill(service_process(&service));
        service_wait(&service, SOON);
        start();
        break;
    case FILER_KILLED:
        kill_filer();
        break;
    default:
        break; /* the server does it */
    }
}

/* 2 MB/s: two of four seconds are behind it, so that a new start would show. */
START_TEST(resume)
{
    enum interruption interruption = (enum interruption)_i;
    const char *path = interruption == LOST_CONNECTION
                           ? "/big?size=8000000&rate=2000000&do=reset&times=1&at=5000000"
                           : "/big?size=8000000&rate=2000000";
    bool sudden = interruption == KILLED || interruption == SERVICE_KILLED;

    start();
    const char *id = add(path, NULL);
    wait_sent(path, 5000000);
    interrupt(interruption, id);
    expect_finished(id, path, 0);
    struct hostile_count count = count_of(path);
    uint64_t bound = sudden ? count.excused : OVERLAP + SLACK;
    printf("# interruption %d: %u requests, %llu bytes sent again, at most %llu\n", _i,
           count.requests, (unsigned long long)count.again, (unsigned long long)bound);
    ck_assert_uint_le(count.again, bound);
    if (interruption != FILER_KILLED)
        ck_assert_uint_eq(count.ranges, 1);
    ck_assert_int_eq(v1_number(&service, id, "bytes_done"), 8000000);
    ck_assert_int_eq(v1_number(&service, id, "bytes_total"), 8000000);
}
END_TEST

START_TEST(held_through_a_kill)
{
    const char *path = "/big?size=3000000&rate=1000000";
    start();
    const char *id = add(path, NULL);
    wait_sent(path, 1000000);
    v1_verb(&service, id, "hold", 200);
    v1_wait(&service, id, "PAUSED", SOON);
    int64_t done = v1_number(&service, id, "bytes_done");
    ck_assert_int_ge(done, 800000);
    service_kill_all(&service);
    start();
    expect_member(id, "status", "PAUSED");
    ck_assert_int_eq(v1_number(&service, id, "bytes_done"), done);
    ck_assert_uint_eq(count_of(path).requests, 1);
    v1_verb(&service, id, "release", 200);
    expect_finished(id, path, 0);
    ck_assert_uint_le(count_of(path).again, OVERLAP + SLACK);
}
END_TEST

static bool has_half(void *data)
{
    return v1_number(&service, data, "bytes_done") == 200000;
}

/* Holds it in the middle, all bytes sent so far being there, so that the test can meddle with the
 * part file or find a changed one. */
static const char *hold_at_half(const char *path)
{
    start();
    const char *id = add(path, NULL);
    wait_sent(path, 200000);
    wait_until(has_half, (void *)(uintptr_t)id, SOON, "the half is written");
    v1_verb(&service, id, "hold", 200);
    v1_wait(&service, id, "PAUSED", SOON);
    ck_assert_uint_eq(count_names(directory, ".part"), 1);
    return id;
}

START_TEST(changed_on_the_server)
{
    const char *path = "/new?size=400000&do=stall&at=200000&times=1&changes=etag+date+content";
    const char *id = hold_at_half(path);
    v1_verb(&service, id, "release", 200);
    expect_finished(id, path, 1);
    expect_member(id, "error.code", "changed");
}
END_TEST

#define STALLED_ONCE "/half?size=400000&do=stall&at=200000&times=1"

START_TEST(part_removed_by_somebody)
{
    const char *id = hold_at_half(STALLED_ONCE);
    ck_assert_int_eq(unlink(part_path()), 0);
    v1_verb(&service, id, "release", 200);
    expect_finished(id, STALLED_ONCE, 0);
}
END_TEST

START_TEST(part_shortened_by_somebody)
{
    const char *id = hold_at_half(STALLED_ONCE);
    ck_assert_int_eq(truncate(part_path(), 150000), 0);
    v1_verb(&service, id, "release", 200);
    expect_finished(id, STALLED_ONCE, 0);
}
END_TEST

START_TEST(part_damaged_by_somebody)
{
    const char *id = hold_at_half(STALLED_ONCE);
    _cleanup_close_ int fd = open(part_path(), O_WRONLY | O_CLOEXEC);
    ck_assert_int_eq(pwrite(fd, "damage", 6, 195000), 6);
    v1_verb(&service, id, "release", 200);
    expect_finished(id, STALLED_ONCE, 0);
    expect_member(id, "error.code", "changed");
}
END_TEST

/* A link that somebody puts in its place is not followed. */
START_TEST(part_replaced_by_a_link)
{
    const char *victim = textf("%s/victim", service.home);
    const char *id = hold_at_half(STALLED_ONCE);
    file_write(victim, "precious");
    const char *part = part_path();
    ck_assert_int_eq(unlink(part), 0);
    ck_assert_int_eq(symlink(victim, part), 0);
    v1_verb(&service, id, "release", 200);
    const char *state = v1_wait_end(&service, id, SOON);
    expect_text(victim, "precious");
    if (strcmp(state, "FINISHED") == 0)
        expect_file(get(id, "dest"), STALLED_ONCE, 0);
}
END_TEST

/* --- states and verbs --- */

enum state {
    ENQUEUED,
    DOWNLOADING,
    PAUSED,
    FINISHED,
    FAILED,
    CLEARED,
    CANCELLED,
    STATES,
};

static const char *const state_names[] = {"ENQUEUED", "DOWNLOADING", "PAUSED",   "FINISHED",
                                          "FAILED",   "CLEARED",     "CANCELLED"};

static const char *bring_about(enum state state, unsigned number)
{
    const char *slow = textf("/slow%u?size=1000000&rate=20000", number);
    const char *id;
    switch (state) {
    case FINISHED:
        id = add(textf("/fine%u?size=1000", number), NULL);
        break;
    case FAILED:
        id = add(textf("/gone%u?status=404", number), NULL);
        break;
    case ENQUEUED:
    case CLEARED:
        call(&service, NULL, "POST", "/pause");
        id = add(slow, NULL);
        if (state == CLEARED)
            call(&service, NULL, "POST", "/clear");
        break;
    case PAUSED:
        id = add(slow, "\"paused\": true");
        break;
    default:
        id = add(slow, NULL);
        v1_wait(&service, id, "DOWNLOADING", SOON);
        if (state == CANCELLED)
            v1_verb(&service, id, "cancel", 200);
        break;
    }
    v1_wait(&service, id, state_names[state], SOON);
    return id;
}

/* What each verb answers in each state, and where it leads (NULL: nowhere). While the service is
 * paused, in the columns ENQUEUED and CLEARED, tasks stay ENQUEUED. */
static const struct {
    const char *verb;
    int status[STATES];
    const char *next[STATES];
} verbs[] = {
    {"hold",    {200, 200, 409, 409, 409, 409, 409}, {"PAUSED", "PAUSED"}                   },
    {"release", {409, 409, 200, 409, 409, 409, 409}, {[PAUSED] = "DOWNLOADING"}             },
    {"cancel",  {200, 200, 200, 409, 409, 200, 200}, {"CANCELLED", "CANCELLED", "CANCELLED"}},
    {"retry",
     {409, 409, 409, 409, 200, 200, 200},
     {[FAILED] = "FAILED", [CLEARED] = "ENQUEUED", [CANCELLED] = "DOWNLOADING"}             },
};

START_TEST(verb_in_each_state)
{
    enum state state = (enum state)_i;
    start();
    for (unsigned i = 0; i < sizeof(verbs) / sizeof(*verbs); i++) {
        const char *id = bring_about(state, i);
        const char *body = v1_verb(&service, id, verbs[i].verb, verbs[i].status[state]);
        const char *next = verbs[i].next[state] ? verbs[i].next[state] : state_names[state];
        ck_assert_ptr_nonnull(json_at(body, verbs[i].status[state] == 200 ? "status" : "message"));
        v1_wait(&service, id, next, SOON);
    }
    ck_assert_uint_eq(state == ENQUEUED ? count_names(directory, NULL) : 0, 0);
}
END_TEST

START_TEST(forget_in_each_state)
{
    enum state state = (enum state)_i;
    bool ended = state >= FINISHED;
    start();
    const char *id = bring_about(state, 0), *body = "";
    const char *target = textf("/v1/tasks/%s", id);
    ck_assert_int_eq(v1_call(&service, "DELETE", target, NULL, &body), ended ? 204 : 409);
    if (!ended)
        ck_assert_str_eq(json_at(body, "message"), "it is running; cancel it first");
    ck_assert_int_eq(v1_call(&service, "GET", target, NULL, NULL), ended ? 404 : 200);
    ck_assert_int_eq(v1_call(&service, "DELETE", target, NULL, NULL), ended ? 404 : 409);
    if (ended)
        wait_no_part();
    if (state == FINISHED)
        expect_file(textf("%s/fine0", directory), "/fine0?size=1000", 0);
}
END_TEST

START_TEST(verbs_without_a_task)
{
    const char *nobody = "00000000-0000-4000-8000-000000000000";
    start();
    for (unsigned i = 0; i < sizeof(verbs) / sizeof(*verbs); i++)
        v1_verb(&service, nobody, verbs[i].verb, 404);
    ck_assert_int_eq(v1_call(&service, "DELETE", textf("/v1/tasks/%s", nobody), NULL, NULL), 404);
}
END_TEST

/* --- what becomes of files --- */

START_TEST(cancel_removes_the_part)
{
    start();
    const char *id = add("/slow?size=1000000&rate=50000", NULL);
    wait_sent("/slow", 20000);
    v1_verb(&service, id, "cancel", 200);
    v1_wait(&service, id, "CANCELLED", SOON);
    wait_no_part();
    ck_assert_uint_eq(count_names(directory, NULL), 0);
    ck_assert_ptr_nonnull(get(id, "finished_at"));
}
END_TEST

START_TEST(cancel_keeps_the_part_for_a_retry)
{
    const char *id = hold_at_half(STALLED_ONCE);
    v1_verb(&service, id, "cancel?keep=yes", 200);
    v1_wait(&service, id, "CANCELLED", SOON);
    ck_assert_uint_eq(count_names(directory, ".part"), 1);
    v1_verb(&service, id, "retry", 200);
    expect_finished(id, STALLED_ONCE, 0);
    ck_assert_uint_eq(count_of(STALLED_ONCE).ranges, 1);
    ck_assert_uint_le(count_of(STALLED_ONCE).again, OVERLAP);
}
END_TEST

static int connect_to_service(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", service.socket);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

/* Several ask within microseconds, before the first could be stored: one has it, the others are
 * told that there is nothing to do. */
static void ask_at_once(const char *id, const char *verb)
{
    enum { ASKERS = 6 };
    int askers[ASKERS], granted = 0;
    const char *request = textf("POST /v1/tasks/%s/%s HTTP/1.1\r\nHost: localhost\r\n"
                                "Connection: close\r\nContent-Length: 0\r\n\r\n",
                                id, verb);
    for (int i = 0; i < ASKERS; i++)
        askers[i] = connect_to_service();
    for (int i = 0; i < ASKERS; i++)
        ck_assert_int_eq(write(askers[i], request, strlen(request)), strlen(request));
    for (int i = 0; i < ASKERS; i++) {
        char answer[64] = "";
        ck_assert_int_ge(recv(askers[i], answer, 12, MSG_WAITALL), 12);
        close(askers[i]);
        bool done = strcmp(answer, "HTTP/1.1 200") == 0;
        ck_assert_msg(done || strcmp(answer, "HTTP/1.1 409") == 0, "%s", answer);
        granted += done;
    }
    ck_assert_int_eq(granted, 1);
}

START_TEST(verbs_of_one_task_come_one_by_one)
{
    start();
    /* What is released or retried stays where it can be seen. */
    call(&service, NULL, "POST", "/pause");
    const char *id = add("/one?size=5000", "\"paused\": true");
    for (int round = 0; round < 5; round++) {
        ask_at_once(id, "release");
        v1_wait(&service, id, "ENQUEUED", SOON);
        ck_assert_int_eq(read_count(&service, "ENQUEUED"), 1);
        v1_verb(&service, id, "cancel", 200);
        ask_at_once(id, "retry");
        ck_assert_int_eq(read_count(&service, "ENQUEUED"), 1);
        v1_verb(&service, id, "hold", 200);
    }
    v1_verb(&service, id, "release", 200);
    call(&service, NULL, "POST", "/resume");
    expect_finished(id, "/one?size=5000", 0);
    ck_assert_uint_eq(count_of("/one?size=5000").requests, 1);
    ck_assert_uint_eq(count_names(directory, NULL), 1);
}
END_TEST

START_TEST(clear_removes_the_part)
{
    const char *id = hold_at_half(STALLED_ONCE);
    call(&service, NULL, "POST", "/pause");
    v1_verb(&service, id, "release", 200);
    call(&service, NULL, "POST", "/clear");
    v1_wait(&service, id, "CLEARED", SOON);
    wait_no_part();
    ck_assert_uint_eq(count_names(directory, NULL), 0);
}
END_TEST

START_TEST(retry_when_the_name_was_taken)
{
    start();
    const char *id = add("/twice?status=404&times=1&size=5000", NULL);
    v1_wait(&service, id, "FAILED", SOON);
    file_write(textf("%s/twice", directory), "mine");
    v1_verb(&service, id, "retry", 200);
    v1_wait(&service, id, "FINISHED", SOON);
    expect_member(id, "name", "twice-1");
    expect_file(textf("%s/twice-1", directory), "/twice?size=5000", 0);
    expect_text(textf("%s/twice", directory), "mine");
    ck_assert_ptr_null(get(id, "error"));
}
END_TEST

static int forget_with_file(const char *id)
{
    return v1_call(&service, "DELETE", textf("/v1/tasks/%s?file=delete", id), NULL, NULL);
}

/* The file is not ours to delete: it stays, and the task too if that is said. */
static void forget_with_another_file(const char *id)
{
    int status = forget_with_file(id);
    ck_assert_msg(status == 204 || status == 409, "forgetting it gives %d", status);
}

static bool file_gone(void *data)
{
    return !file_exists(data);
}

START_TEST(forget_with_the_file)
{
    start();
    const char *id = add("/old?size=5000", NULL), *file = textf("%s/old", directory);
    expect_finished(id, "/old?size=5000", 0);
    ck_assert_int_eq(forget_with_file(id), 204);
    wait_until(file_gone, (void *)file, SOON, "the file is removed");
}
END_TEST

START_TEST(forget_spares_a_replaced_file)
{
    start();
    const char *id = add("/old?size=5000", NULL), *file = textf("%s/old", directory);
    expect_finished(id, "/old?size=5000", 0);
    file_write(textf("%s.new", file), "somebody's own");
    ck_assert_int_eq(rename(textf("%s.new", file), file), 0);
    forget_with_another_file(id);
    const char *other = add("/after?size=10", NULL); /* what comes after it is done: so is it */
    v1_wait(&service, other, "FINISHED", SOON);
    expect_text(file, "somebody's own");
}
END_TEST

START_TEST(forget_spares_a_grown_file)
{
    start();
    const char *id = add("/old?size=5000", NULL), *file = textf("%s/old", directory);
    expect_finished(id, "/old?size=5000", 0);
    ck_assert_int_eq(truncate(file, 6000), 0);
    forget_with_another_file(id);
    const char *other = add("/after?size=10", NULL);
    v1_wait(&service, other, "FINISHED", SOON);
    ck_assert(file_exists(file));
}
END_TEST

/* --- waiting --- */

static void expect_future(const char *id)
{
    struct tm tm = {0};
    const char *until = get(id, "waiting_for.until");
    ck_assert_msg(until && strptime(until, "%Y-%m-%dT%H:%M:%S", &tm), "until is %s",
                  until ? until : "null");
    ck_assert_int_ge(timegm(&tm) + 1, time(NULL));
}

START_TEST(waits_for_a_retry_without_a_worker)
{
    service_start(&service, "--retry-wait", "5s", "--max-tasks-num", "1", NULL);
    const char *bad = add("/bad?status=500&times=1&size=1000", NULL);
    v1_wait_reason(&service, bad, "retry", SOON);
    expect_member(bad, "status", "ENQUEUED");
    expect_member(bad, "http_status", "500");
    expect_future(bad);
    const char *good = add("/good?size=1000", NULL);
    v1_wait(&service, good, "FINISHED", 2000);
    expect_member(bad, "status", "ENQUEUED");

    service_kill_all(&service);
    service_start(&service, "--retry-wait", "5s", "--max-tasks-num", "1", NULL);
    v1_wait(&service, bad, "FINISHED", SOON);
    struct hostile_count count = count_of("/bad");
    ck_assert_int_ge(count.last_at - count.first_at, 2400);
    expect_member(bad, "attempts", "2");
}
END_TEST

START_TEST(retry_after_holds_the_host_back)
{
    start();
    const char *asked = add("/asked?status=503&times=1&retry-after=3&size=1000", NULL);
    v1_wait_reason(&service, asked, "host", SOON);
    const char *same = add("/same?size=1000", NULL);
    v1_wait_reason(&service, same, "host", SOON);
    expect_future(asked);
    expect_future(same);
    const char *other =
        v1_add(&service, textf("http://localhost:%u/other?size=1000", hostile_port(hostile)),
               directory, NULL);
    v1_wait(&service, other, "FINISHED", 2000);
    expect_member(asked, "status", "ENQUEUED");
    expect_member(same, "status", "ENQUEUED");
    v1_wait(&service, asked, "FINISHED", SOON);
    v1_wait(&service, same, "FINISHED", SOON);
    int64_t began = count_of("/asked").first_at;
    ck_assert_int_ge(count_of("/asked").last_at - began, 2900);
    ck_assert_int_ge(count_of("/same").first_at - began, 2900);
}
END_TEST

START_TEST(retries_as_asked)
{
    start();
    const char *once = add("/once?status=500", "\"retries\": 0");
    const char *thrice = add("/thrice?status=500", "\"retries\": 2");
    ck_assert_str_eq(v1_wait_end(&service, once, SOON), "FAILED");
    ck_assert_str_eq(v1_wait_end(&service, thrice, SOON), "FAILED");
    expect_member(once, "attempts", "1");
    expect_member(thrice, "attempts", "3");
    expect_member(thrice, "error.code", "http");
    ck_assert_uint_eq(count_of("/once").requests, 1);
    ck_assert_uint_eq(count_of("/thrice").requests, 3);
}
END_TEST

/* --- a worker is free within 1.2 s, wherever it was --- */

enum phase {
    IN_CONNECT,
    IN_TLS,
    IN_ANSWER,
    IN_HEAD,
    IN_BODY,
    IN_SLOW_BODY,
    IN_DNS,
    PHASES,
};

enum way_out {
    CANCEL,
    HOLD,
    STOP,
    WAYS_OUT,
};

static unsigned listen_unattended(int backlog, int *ret_fd)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, len), 0);
    ck_assert_int_eq(listen(fd, backlog), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    *ret_fd = fd;
    return ntohs(address.sin_port);
}

/* A port where connections come about and nobody says a word. */
static unsigned mute_port(void)
{
    int fd;
    return listen_unattended(10, &fd);
}

/* A port whose connections do not come about: the backlog is full. */
static unsigned full_port(void)
{
    struct sockaddr_in address;
    socklen_t len = sizeof(address);
    int fd;
    unsigned port = listen_unattended(0, &fd);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    for (unsigned i = 0; i < 8; i++) {
        int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (connect(client, (struct sockaddr *)&address, len) < 0)
            ck_assert_int_eq(errno, EINPROGRESS);
    }
    return port;
}

/* This test and its service alone get a name server that never answers. */
static bool silence_dns(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(53)};
    const char *file = textf("%s/resolv.conf", service.dir);
    if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0 ||
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return false;
    inet_pton(AF_INET, "127.53.53.53", &address.sin_addr);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    file_write(file, "nameserver 127.53.53.53\noptions timeout:30 attempts:1\n");
    return bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0 &&
           mount(file, "/etc/resolv.conf", NULL, MS_BIND, NULL) == 0;
}

static const char *url_that_hangs(enum phase phase)
{
    switch (phase) {
    case IN_CONNECT:
        return textf("http://127.0.0.1:%u/a", full_port());
    case IN_TLS:
        return textf("https://127.0.0.1:%u/a", mute_port());
    case IN_ANSWER:
        return url_of("/a?do=silent");
    case IN_HEAD:
        return url_of("/a?do=half-head");
    case IN_BODY:
        return url_of("/a?do=stall");
    case IN_SLOW_BODY:
        return url_of("/a?rate=1000");
    default:
        return "http://slow.example.org/a";
    }
}

START_TEST(worker_is_freed)
{
    enum phase phase = (enum phase)(_i / WAYS_OUT);
    enum way_out way_out = (enum way_out)(_i % WAYS_OUT);
    if (phase == IN_DNS && !silence_dns()) {
        printf("# not tried: a silent name server needs root and a mount namespace\n");
        return;
    }
    service_start(&service, QUICK, "--max-tasks-num", "1", NULL);
    const char *id = v1_add(&service, url_that_hangs(phase), directory, NULL);
    v1_wait(&service, id, "DOWNLOADING", SOON);
    poll(NULL, 0, 300); /* so that it is in that phase: nobody could tell us */
    const char *next = add("/next?size=1000", NULL);
    expect_member(next, "waiting_for.reason", "slot");

    int64_t begin = harness_now();
    if (way_out == STOP) {
        service_stop(&service);
    } else {
        v1_verb(&service, id, way_out == CANCEL ? "cancel" : "hold", 200);
        v1_wait(&service, next, "FINISHED", SOON);
        expect_member(id, "status", way_out == CANCEL ? "CANCELLED" : "PAUSED");
    }
    int64_t took = harness_now() - begin;
    ck_assert_msg(took <= 1200 + 300, "the worker was free after %lld ms", (long long)took);
}
END_TEST

/* --- checksums --- */

static const char *digest_of(const char *path, const EVP_MD *type)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    char hex[2 * EVP_MAX_MD_SIZE + 1];
    unsigned len;
    size_t size = 400000;
    _cleanup_free_ char *data = malloc(size);
    ck_assert_ptr_nonnull(data);
    ck_assert_int_eq(
        EVP_Digest(data, hostile_fill(path, 0, 0, data, size), digest, &len, type, NULL), 1);
    for (unsigned i = 0; i < len; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    return textf("%s", hex);
}

static const struct {
    const char *name;
    const EVP_MD *(*type)(void);
} digests[] = {
    {"sha-256", EVP_sha256},
    {"sha-512", EVP_sha512},
    {"sha-1",   EVP_sha1  },
    {"md5",     EVP_md5   },
};

START_TEST(checksum_right)
{
    const char *path = "/sum?size=300000&do=reset&at=200000&times=1"; /* resumed on the way */
    const char *sum = textf("%s=%s", digests[_i].name, digest_of(path, digests[_i].type()));
    start();
    const char *id = add(path, textf("\"checksum\": \"%s\"", sum));
    expect_finished(id, path, 0);
    expect_member(id, "checksum", sum);
}
END_TEST

START_TEST(checksum_wrong)
{
    const char *right = digest_of("/sum?size=300000", digests[_i].type());
    char *wrong = (char *)textf("%s", right);
    wrong[0] = wrong[0] == '0' ? '1' : '0';
    start();
    const char *id =
        add("/sum?size=300000", textf("\"checksum\": \"%s=%s\"", digests[_i].name, wrong));
    ck_assert_str_eq(v1_wait_end(&service, id, SOON), "FAILED");
    expect_member(id, "error.code", "checksum");
    const char *message = get(id, "error.message");
    ck_assert_msg(strstr(message, right) && strstr(message, wrong), "it says: %s", message);
    wait_no_part();
    ck_assert_uint_eq(count_names(directory, NULL), 0);
    ck_assert_uint_eq(count_of("/sum").requests, 1);
}
END_TEST

START_TEST(checksum_nonsense)
{
    static const char *const sums[] = {"sha-256=12", "crc32=00000000", "nothing", "", "md5="};
    const char *body = "";
    start();
    for (unsigned i = 0; i < sizeof(sums) / sizeof(*sums); i++) {
        const char *more = textf("\"checksum\": \"%s\"", sums[i]);
        ck_assert_int_eq(v1_try_add(&service, url_of("/a"), directory, more, &body), 400);
        ck_assert_ptr_nonnull(strstr(json_at(body, "message"), "checksum"));
    }
}
END_TEST

/* --- files that are there already --- */

static const char *put_old_file(void)
{
    const char *file = textf("%s/there", directory);
    file_write(file, "old");
    return file;
}

START_TEST(exists_rename)
{
    const char *old = put_old_file();
    start();
    const char *id = add("/there?size=1000", NULL);
    v1_wait(&service, id, "FINISHED", SOON);
    expect_member(id, "name", "there-1");
    expect_text(old, "old");
    expect_file(textf("%s/there-1", directory), "/there?size=1000", 0);
}
END_TEST

/* The name is taken while the download runs. */
START_TEST(exists_late)
{
    start();
    const char *id = add("/there?size=100000&rate=100000", NULL);
    wait_sent("/there", 20000);
    const char *old = put_old_file();
    v1_wait(&service, id, "FINISHED", SOON);
    expect_text(old, "old");
    expect_member(id, "name", "there-1");
    expect_file(get(id, "dest"), "/there?size=100000", 0);
}
END_TEST

START_TEST(exists_skip)
{
    const char *old = put_old_file();
    start();
    const char *id = add("/there?size=1000", "\"if_exists\": \"skip\"");
    v1_wait(&service, id, "FINISHED", SOON);
    expect_member(id, "error.code", "exists");
    expect_text(old, "old");
    ck_assert_uint_eq(count_of("/there").requests, 0);
    ck_assert_uint_eq(count_names(directory, NULL), 1);
}
END_TEST

START_TEST(exists_skip_twin)
{
    const char *body = "";
    start();
    const char *id = add("/there?size=100000&rate=20000", NULL);
    ck_assert_int_eq(v1_try_add(&service, url_of("/there?size=100000&rate=20000"), directory,
                                "\"if_exists\": \"skip\"", &body),
                     200);
    ck_assert_str_eq(json_at(body, "id"), id);
    ck_assert_int_eq(read_count(&service, "DOWNLOADING") + read_count(&service, "ENQUEUED"), 1);
}
END_TEST

static int64_t modified(const char *file)
{
    struct stat now;
    ck_assert_int_eq(stat(file, &now), 0);
    return now.st_mtime;
}

/* The server's time, if it tells one and people want it. */
START_TEST(files_have_the_time_of_the_server)
{
    int64_t begin = time(NULL) - 1;
    service_start(&service, QUICK, "--remote-time", "yes", NULL);
    const char *dated = add("/dated?size=1000&etag=weak", NULL);
    const char *other = add("/other?size=1000&date=none", NULL);
    v1_wait(&service, dated, "FINISHED", SOON);
    v1_wait(&service, other, "FINISHED", SOON);
    ck_assert_int_eq(modified(get(dated, "dest")), 1704078245); /* Mon, 01 Jan 2024 03:04:05 GMT */
    ck_assert_int_ge(modified(get(other, "dest")), begin);
    service_stop(&service);
    start();
    const char *not_wanted = add("/again?size=1000&etag=weak", NULL);
    v1_wait(&service, not_wanted, "FINISHED", SOON);
    ck_assert_int_ge(modified(get(not_wanted, "dest")), begin);
}
END_TEST

START_TEST(exists_overwrite)
{
    const char *old = put_old_file(), *body = "";
    const char *path = "/there?size=100000&rate=100000";
    start();
    const char *id = add(path, "\"if_exists\": \"overwrite\"");
    wait_sent("/there", 20000);
    expect_text(old, "old");
    ck_assert_int_eq(
        v1_try_add(&service, url_of(path), directory, "\"if_exists\": \"overwrite\"", &body), 409);
    expect_finished(id, path, 0);
    expect_member(id, "name", "there");
}
END_TEST

START_TEST(exists_overwrite_failing)
{
    const char *old = put_old_file();
    start();
    const char *id = add("/there?size=100000&do=cut", "\"if_exists\": \"overwrite\", "
                                                      "\"retries\": 0");
    ck_assert_str_eq(v1_wait_end(&service, id, SOON), "FAILED");
    expect_text(old, "old");
}
END_TEST

/* --- limits --- */

START_TEST(too_large)
{
    static const char *const paths[] = {"/known?size=100000", "/unknown?size=100000&do=chunked",
                                        "/endless?size=100000&do=close"};
    service_start(&service, QUICK, "--max-file-size", "50K", NULL);
    for (unsigned i = 0; i < 3; i++) {
        const char *id = add(paths[i], NULL);
        ck_assert_str_eq(v1_wait_end(&service, id, SOON), "FAILED");
        expect_member(id, "error.code", "too_large");
        ck_assert(!file_exists(get(id, "dest")));
        ck_assert_uint_eq(count_of(paths[i]).requests, 1);
    }
    const char *id = add("/fits?size=51200", NULL);
    v1_wait(&service, id, "FINISHED", SOON);
}
END_TEST

/* A file system of 16 MB under files/, seen by this test and its service alone. */
static bool mount_small(void)
{
    const struct identity *user = harness_user();
    const char *options = textf("size=16M,mode=0755,uid=%u,gid=%u", user->uid, user->gid);
    if (geteuid() == 0 && unshare(CLONE_NEWNS) == 0 &&
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
        mount("small", directory, "tmpfs", 0, options) == 0)
        return true;
    printf("# not tried: a small file system needs root and a mount namespace\n");
    return false;
}

static const char *fill_up(off_t size)
{
    const char *path = textf("%s/filler", directory);
    _cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(posix_fallocate(fd, 0, size), 0);
    return path;
}

START_TEST(min_free_is_kept)
{
    if (!mount_small())
        return;
    const char *filler = fill_up(8 << 20);
    service_start(&service, QUICK, "--min-free", "4M", NULL);
    const char *id = add("/large?size=6000000", NULL), *small = add("/small?size=1000", NULL);
    v1_wait_reason(&service, id, "disk", SOON);
    expect_member(id, "status", "ENQUEUED");
    v1_wait(&service, small, "FINISHED", SOON);
    ck_assert_int_eq(unlink(filler), 0);
    v1_wait(&service, id, "FINISHED", SOON);
    expect_file(get(id, "dest"), "/large?size=6000000", 0);
    ck_assert_int_eq(umount2(directory, MNT_DETACH), 0);
}
END_TEST

/* Two that fit one at a time: the second waits for the first. */
START_TEST(min_free_counts_what_others_need)
{
    if (!mount_small())
        return;
    service_start(&service, QUICK, "--min-free", "2M", NULL);
    const char *first = add("/first?size=8000000&rate=2000000", NULL);
    wait_sent("/first", 100000);
    const char *second = add("/second?size=8000000", NULL);
    v1_wait_reason(&service, second, "disk", SOON);
    v1_wait(&service, first, "FINISHED", SOON);
    expect_member(second, "status", "ENQUEUED");
    ck_assert_int_eq(unlink(get(first, "dest")), 0);
    v1_wait(&service, second, "FINISHED", SOON);
    expect_file(get(second, "dest"), "/second?size=8000000", 0);
    ck_assert_int_eq(umount2(directory, MNT_DETACH), 0);
}
END_TEST

/* Nobody could know how large it is, so the disk is full in the middle of it. */
START_TEST(disk_full)
{
    if (!mount_small())
        return;
    const char *filler = fill_up(12 << 20);
    service_start(&service, QUICK, "--min-free", "off", NULL);
    const char *id = add("/surprise?size=6000000&do=chunked", NULL);
    v1_wait_reason(&service, id, "disk", SOON);
    expect_member(id, "status", "ENQUEUED");
    ck_assert_int_eq(unlink(filler), 0);
    v1_wait(&service, id, "FINISHED", SOON);
    expect_file(get(id, "dest"), "/surprise?size=6000000&do=chunked", 0);
    ck_assert_int_eq(umount2(directory, MNT_DETACH), 0);
}
END_TEST

/* --- finishing, forgetting by itself --- */

START_TEST(durability)
{
    static const char *const values[] = {"batch", "each", "none"};
    service_start(&service, QUICK, "--durability", values[_i], NULL);
    for (unsigned i = 0; i < 20; i++)
        add(textf("/f%u?size=%u", i, 1000 * i), NULL);
    wait_count(&service, "FINISHED", 20, SOON);
    for (unsigned i = 0; i < 20; i++)
        expect_file(textf("%s/f%u", directory, i), textf("/f%u?size=%u", i, 1000 * i), 0);
    ck_assert_uint_eq(count_names(directory, NULL), 20);
}
END_TEST

static bool is_forgotten(void *data)
{
    return v1_call(&service, "GET", textf("/v1/tasks/%s", (const char *)data), NULL, NULL) == 404;
}

START_TEST(history_is_pruned)
{
    const char *ids[10];
    service_start(&service, QUICK, "--keep-history", "3", NULL);
    for (unsigned i = 0; i < 10; i++) {
        ids[i] = add(textf("/f%u?size=100", i), NULL);
        v1_wait(&service, ids[i], "FINISHED", SOON);
    }
    service_stop(&service); /* at the start, and then now and again */
    service_start(&service, QUICK, "--keep-history", "3", NULL);
    for (unsigned i = 0; i < 7; i++)
        wait_until(is_forgotten, (void *)ids[i], SOON, "an old task is forgotten");
    for (unsigned i = 7; i < 10; i++)
        expect_member(ids[i], "status", "FINISHED");
    ck_assert_uint_eq(count_names(directory, NULL), 10);
}
END_TEST

/* A task that failed in the middle, in a directory of its own. */
static const char *fail_halfway(const char *name, const char *in)
{
    const char *id =
        v1_add(&service, url_of(textf("/%s?do=cut&size=200000", name)), in, "\"retries\": 0");
    v1_wait(&service, id, "FAILED", SOON);
    ck_assert_uint_eq(count_names(in, ".part"), 1);
    return id;
}

/* What is forgotten leaves no part file behind. One that cannot be removed keeps its task, and no
 * other's. */
START_TEST(history_goes_with_its_part_files)
{
    const char *ids[3], *in[3] = {make_directory(&service, "one"), make_directory(&service, "two"),
                                  make_directory(&service, "three")};
    start();
    for (unsigned i = 0; i < 3; i++)
        ids[i] = fail_halfway(textf("h%u", i), in[i]);
    ck_assert_int_eq(chmod(in[0], 0555), 0);
    service_stop(&service);
    service_start(&service, QUICK, "--keep-history", "0", NULL);
    for (unsigned i = 1; i < 3; i++) {
        wait_until(is_forgotten, (void *)ids[i], SOON, "an old task is forgotten");
        ck_assert_uint_eq(count_names(in[i], NULL), 0);
    }
    expect_member(ids[0], "status", "FAILED");
    ck_assert_uint_eq(count_names(in[0], ".part"), 1);
    ck_assert_int_eq(chmod(in[0], 0755), 0);
    ck_assert_int_eq(kill(service.monitor, SIGHUP), 0);
    wait_until(is_forgotten, (void *)ids[0], SOON, "an old task is forgotten");
    ck_assert_uint_eq(count_names(in[0], NULL), 0);
}
END_TEST

/* The next start removes what a cancel had to leave, and nothing that it was told to keep. */
START_TEST(cancelled_parts_are_swept_at_the_start)
{
    const char *left = make_directory(&service, "left");
    const char *kept = hold_at_half(STALLED_ONCE);
    v1_verb(&service, kept, "cancel?keep=yes", 200);
    const char *id = v1_add(&service, url_of("/slow?size=1000000&rate=50000"), left, NULL);
    wait_sent("/slow", 20000);
    v1_verb(&service, id, "hold", 200);
    ck_assert_int_eq(chmod(left, 0555), 0);
    v1_verb(&service, id, "cancel", 200);
    expect_member(id, "status", "CANCELLED");
    ck_assert_uint_eq(count_names(left, ".part"), 1);
    service_kill_all(&service);
    ck_assert_int_eq(chmod(left, 0755), 0);
    start();
    directory = left;
    wait_no_part();
    ck_assert_str_eq(get(kept, "status"), "CANCELLED");
    ck_assert_uint_eq(count_names(textf("%s/files", service.home), ".part"), 1);
}
END_TEST

static void add_interruptions(Suite *s)
{
    TCase *tcase = tcase_create("interruptions");
    tcase_set_timeout(tcase, 180);
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_loop_test(tcase, resume, 0, INTERRUPTIONS);
    tcase_add_test(tcase, held_through_a_kill);
    tcase_add_test(tcase, changed_on_the_server);
    tcase_add_test(tcase, part_removed_by_somebody);
    tcase_add_test(tcase, part_shortened_by_somebody);
    tcase_add_test(tcase, part_damaged_by_somebody);
    tcase_add_test(tcase, part_replaced_by_a_link);
    suite_add_tcase(s, tcase);
}

static void add_verbs(Suite *s)
{
    TCase *tcase = tcase_create("verbs");
    tcase_set_timeout(tcase, 180);
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_loop_test(tcase, verb_in_each_state, 0, STATES);
    tcase_add_loop_test(tcase, forget_in_each_state, 0, STATES);
    tcase_add_test(tcase, verbs_without_a_task);
    tcase_add_test(tcase, cancel_removes_the_part);
    tcase_add_test(tcase, cancel_keeps_the_part_for_a_retry);
    tcase_add_test(tcase, verbs_of_one_task_come_one_by_one);
    tcase_add_test(tcase, clear_removes_the_part);
    tcase_add_test(tcase, retry_when_the_name_was_taken);
    tcase_add_test(tcase, forget_with_the_file);
    tcase_add_test(tcase, forget_spares_a_replaced_file);
    tcase_add_test(tcase, forget_spares_a_grown_file);
    suite_add_tcase(s, tcase);
}

static void add_waiting(Suite *s)
{
    TCase *tcase = tcase_create("waiting");
    tcase_set_timeout(tcase, 180);
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, waits_for_a_retry_without_a_worker);
    tcase_add_test(tcase, retry_after_holds_the_host_back);
    tcase_add_test(tcase, retries_as_asked);
    tcase_add_loop_test(tcase, worker_is_freed, 0, PHASES * WAYS_OUT);
    suite_add_tcase(s, tcase);
}

static void add_wishes(Suite *s)
{
    TCase *tcase = tcase_create("wishes");
    tcase_set_timeout(tcase, 180);
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_loop_test(tcase, checksum_right, 0, 4);
    tcase_add_loop_test(tcase, checksum_wrong, 0, 4);
    tcase_add_test(tcase, checksum_nonsense);
    tcase_add_test(tcase, exists_rename);
    tcase_add_test(tcase, exists_late);
    tcase_add_test(tcase, exists_skip);
    tcase_add_test(tcase, exists_skip_twin);
    tcase_add_test(tcase, files_have_the_time_of_the_server);
    tcase_add_test(tcase, exists_overwrite);
    tcase_add_test(tcase, exists_overwrite_failing);
    tcase_add_test(tcase, too_large);
    tcase_add_test(tcase, min_free_is_kept);
    tcase_add_test(tcase, min_free_counts_what_others_need);
    tcase_add_test(tcase, disk_full);
    tcase_add_loop_test(tcase, durability, 0, 3);
    tcase_add_test(tcase, history_is_pruned);
    tcase_add_test(tcase, history_goes_with_its_part_files);
    tcase_add_test(tcase, cancelled_parts_are_swept_at_the_start);
    suite_add_tcase(s, tcase);
}

int main(void)
{
    Suite *s = suite_create("resume");
    add_interruptions(s);
    add_verbs(s);
    add_waiting(s);
    add_wishes(s);
    return harness_main(s);
}
