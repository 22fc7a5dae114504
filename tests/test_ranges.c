/* Idle workers help with large downloads, and are never in anybody's way. */
#include <openssl/evp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hostile.h"
#include "v1.h"

#define SOON 30000 /* ms */
#define MIB  1048576

/* How many times longer than it should it may take. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SLOWER 5
#else
#define SLOWER 1
#endif

static struct service service;
static struct hostile *hostile;
static const char *directory;

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

#define QUICK "--retry-wait", "50ms", "--retry-max-wait", "200ms"

static const char *add(const char *path, const char *more)
{
    return v1_add(&service, textf("http://127.0.0.1:%u%s", hostile_port(hostile), path), directory,
                  more);
}

static struct hostile_count count_of(const char *path)
{
    struct hostile_count count;
    hostile_read(hostile, path, &count);
    return count;
}

static void expect_finished(const char *id, const char *path, unsigned version)
{
    v1_wait(&service, id, "FINISHED", SOON);
    const char *file = v1_get(&service, id, "dest");
    int result = hostile_expect_file(file, path, version);
    ck_assert_msg(result == 0, "%s is not what %s gives: %s", file, path, strerror(-result));
}

struct awaited {
    const char *id;
    int64_t least, most;
};

static bool has_ranges(void *data)
{
    const struct awaited *awaited = data;
    const char *ranges = v1_get(&service, awaited->id, "ranges");
    int64_t number = ranges ? atoll(ranges) : 0;
    return number >= awaited->least && number <= awaited->most;
}

static void wait_ranges(const char *id, int64_t least, int64_t most, int timeout)
{
    struct awaited awaited = {id, least, most};
    wait_until(has_ranges, &awaited, timeout,
               textf("%lld to %lld fetch it", (long long)least, (long long)most));
}

static bool has_bytes(void *data)
{
    const struct awaited *awaited = data;
    return v1_number(&service, awaited->id, "bytes_done") >= awaited->least;
}

static void wait_bytes(const char *id, int64_t bytes)
{
    struct awaited awaited = {id, bytes, 0};
    wait_until(has_bytes, &awaited, SOON, "enough bytes are here");
}

/* Nothing that was fetched is fetched again, but for what connections had just carried. */
static void expect_nothing_again(void)
{
    uint64_t sent, again, unexcused = hostile_unexcused(hostile, &sent, &again);
    printf("# %llu bytes sent, %llu of them again\n", (unsigned long long)sent,
           (unsigned long long)again);
    ck_assert_uint_eq(unexcused, 0);
}

/* --- as fast as all connections together --- */

static const char *sha256_of(const char *path, size_t size)
{
    char *bytes = malloc(size);
    unsigned char digest[32];
    static char text[80];
    ck_assert_ptr_nonnull(bytes);
    ck_assert_uint_eq(hostile_fill(path, 0, 0, bytes, size), size);
    ck_assert_int_eq(EVP_Digest(bytes, size, digest, NULL, EVP_sha256(), NULL), 1);
    for (size_t i = 0; i < sizeof digest; i++)
        snprintf(text + 2 * i, 3, "%02x", digest[i]);
    free(bytes);
    return text;
}

START_TEST(all_workers_fetch_one_file)
{
    const char *path = "/large?size=67108864&rate=2097152";
    service_start(&service, NULL); /* nothing is configured */
    int64_t begun = harness_now();
    const char *id = add(path, NULL);
    wait_ranges(id, 10, 10, SOON);
    expect_finished(id, path, 0);
    int64_t took = harness_now() - begun, ideal = 64 * 1000 / (10 * 2);
    struct hostile_count count = count_of(path);
    printf("# %lld ms, ideal %lld, %u requests, %llu bytes again\n", (long long)took,
           (long long)ideal, count.requests, (unsigned long long)count.again);
    ck_assert_int_le(took, SLOWER * ideal * 12 / 10);
    ck_assert_uint_eq(count.max_running, 10);
    ck_assert_uint_lt(count.again, MIB);
    ck_assert_int_eq(v1_number(&service, id, "bytes_done"), 64 * MIB);
    ck_assert_int_eq(v1_number(&service, id, "attempts"), 1);
}
END_TEST

START_TEST(as_many_as_are_allowed)
{
    const char *few = "/few?size=8388608&rate=1048576", *one = "/one?size=4194304&rate=2000000";
    const char *small = "/small?size=1000000&rate=400000";
    const char *sum = textf("\"checksum\": \"sha-256=%s\"", sha256_of(few, 8 * MIB));
    service_start(&service, "--max-ranges", "3", NULL);
    const char *id = add(few, sum);
    expect_finished(id, few, 0);
    ck_assert_uint_eq(count_of(few).max_running, 3);
    id = add(small, NULL); /* not worth it */
    expect_finished(id, small, 0);
    ck_assert_uint_eq(count_of(small).requests, 1);

    file_write(service.config, "max-ranges = 1\n");
    service_stop(&service);
    service_start(&service, NULL);
    id = add(one, NULL);
    expect_finished(id, one, 0);
    ck_assert_uint_eq(count_of(one).requests, 1);

    file_write(service.config, "max-per-host = 2\n");
    ck_assert_int_eq(kill(service.monitor, SIGHUP), 0);
    service_wait_log(&service, "reloaded", SOON);
    const char *host = "/host?size=8388608&rate=2097152";
    expect_finished(add(host, NULL), host, 0);
    ck_assert_uint_eq(count_of(host).max_running, 2);
}
END_TEST

/* A limit is one for all that fetch the file, and no reason for more connections. */
START_TEST(a_limited_rate_is_kept)
{
    const char *path = "/limited?size=8388608&rate=1048576",
               *fast = "/fast?size=8000000&rate=9000000";
    service_start(&service, NULL);
    int64_t begun = harness_now();
    const char *id = add(path, "\"rate_limit\": 2500000");
    const char *other = add(fast, "\"rate_limit\": 2000000");
    expect_finished(id, path, 0);
    int64_t took = harness_now() - begun;
    expect_finished(other, fast, 0);
    printf("# %lld ms, %u at once\n", (long long)took, count_of(path).max_running);
    ck_assert_int_ge(took, 8388608 / 2500 * 9 / 10);
    ck_assert_int_lt(took, SLOWER * 6500); /* 8 s alone */
    ck_assert_uint_gt(count_of(path).max_running, 1);
    if (SLOWER == 1) /* else the limit may not be what it waits for */
        ck_assert_uint_eq(count_of(fast).requests, 1);
}
END_TEST

/* --- in nobody's way --- */

START_TEST(helpers_make_room_for_tasks)
{
    const char *path = "/large?size=67108864&rate=2097152", *small[40];
    service_start(&service, NULL);
    const char *id = add(path, NULL);
    wait_ranges(id, 10, 10, SOON);
    int64_t begun = harness_now();
    for (unsigned i = 0; i < 40; i++)
        small[i] = add(textf("/small-%u?size=10000", i), NULL);
    int64_t added = harness_now();
    wait_count(&service, "FINISHED", 40, SLOWER * 2000);
    int64_t done = harness_now();
    printf("# small ones were added in %lld ms and done %lld ms later\n",
           (long long)(added - begun), (long long)(done - added));
    ck_assert_int_lt(done - added, SLOWER * 1000);
    wait_ranges(id, 5, 10, 3000); /* they come back */
    expect_finished(id, path, 0);
    for (unsigned i = 0; i < 40; i++)
        expect_finished(small[i], textf("/small-%u?size=10000", i), 0);
    ck_assert_uint_le(hostile_max_running(hostile), 10);
    expect_nothing_again();
}
END_TEST

START_TEST(a_task_takes_a_helpers_place_at_its_host)
{
    const char *path = "/large?size=33554432&rate=1048576";
    service_start(&service, "--max-tasks-num", "20", "--max-per-host", "4", NULL);
    const char *id = add(path, NULL);
    wait_ranges(id, 4, 4, SOON);
    const char *other = add("/other?size=1000000&rate=500000", NULL);
    v1_wait(&service, other, "DOWNLOADING", SLOWER * 1000);
    wait_ranges(id, 3, 3, SLOWER * 2000);
    ck_assert_uint_le(hostile_max_running(hostile), 4);
    hostile_hurry(hostile);
    expect_finished(id, path, 0);
}
END_TEST

START_TEST(helpers_leave_when_there_are_fewer_slots)
{
    const char *path = "/large?size=67108864&rate=1048576";
    service_start(&service, NULL);
    const char *id = add(path, NULL);
    wait_ranges(id, 10, 10, SOON);
    call(&service, NULL, "POST", "/maxtasks?max_tasks_number=3");
    wait_ranges(id, 1, 3, 2000);
    call(&service, NULL, "POST", "/maxtasks?max_tasks_number=6");
    wait_ranges(id, 6, 6, 8000);
    v1_verb(&service, id, "cancel", 200);
}
END_TEST

START_TEST(nobody_joins_during_a_pause)
{
    const char *path = "/large?size=8388608&rate=2097152";
    service_start(&service, NULL);
    /* It is let through the pause by being there already: it waits for the head. */
    const char *id = add(textf("%s&do=503&times=0", path), NULL);
    v1_wait(&service, id, "DOWNLOADING", SOON);
    call(&service, NULL, "POST", "/pause");
    unsigned before = count_of(path).requests;
    wait_bytes(id, 5 * MIB);
    /* Those that had come by then may have gone on to other parts. */
    ck_assert_uint_le(count_of(path).requests, before + 12);
    call(&service, NULL, "POST", "/resume");
    expect_finished(id, path, 0);
}
END_TEST

/* --- origins that do not want it, or lie --- */

static const char *const ways[] = {
    "times=1&then=whole",
    "times=1&then=wrong-total",
    "times=1&then=wrong-start",
    "times=1&then=wrong-end",
    "times=1&then=portions",
    "times=1&then=other-etag",
    "times=1&then=huge-range",
    "times=1&then=no-content-range",
    "times=1&then=416",
    "times=1&then=gzip",
    "times=1&then=reset-early",
    "times=1&then=close-early",
    "times=1&then=redirect-nowhere",
    "times=1&then=silent",
    "times=1&then=half-head",
    "etag=node",
    "etag=weak",
    "etag=none",
    "ranges=no",
    "do=chunked",
    "do=gzip&size=4000000",
};
#define WAYS (sizeof ways / sizeof *ways)

/* All at once: the lead's connection is good, and its download is not disturbed. */
START_TEST(a_helper_that_is_not_wanted_leaves)
{
    const char *ids[WAYS];
    service_start(&service, "--max-tasks-num", "60", "--max-per-host", "100", QUICK, NULL);
    for (unsigned i = 0; i < WAYS; i++)
        ids[i] = add(textf("/way%u?size=4000000&rate=1000000&%s", i, ways[i]), NULL);
    for (unsigned i = 0; i < WAYS; i++) {
        const char *path = textf("/way%u?size=4000000&rate=1000000&%s", i, ways[i]);
        expect_finished(ids[i], path, 0);
        struct hostile_count count = count_of(path);
        ck_assert_msg(v1_number(&service, ids[i], "attempts") == 1, "%s: %s", ways[i],
                      v1_get(&service, ids[i], ""));
        /* Its one connection has brought all of it. */
        double seconds = strtod(v1_get(&service, ids[i], "duration"), NULL);
        ck_assert_msg(seconds > 3.5, "%s: %g s", ways[i], seconds);
        ck_assert_msg(count.requests <= 1 + 3 * SLOWER, "%s: %u requests", ways[i], count.requests);
    }
}
END_TEST

START_TEST(connections_that_break_are_made_up_for)
{
    const char *path = "/cut?size=16000000&rate=1000000&times=1&then=part-cut";
    service_start(&service, QUICK, NULL);
    const char *id = add(path, NULL);
    expect_finished(id, path, 0);
    ck_assert_uint_gt(count_of(path).requests, 1);
}
END_TEST

START_TEST(a_server_that_wants_no_more_is_left_alone)
{
    const char *path = "/large?size=12000000&rate=3000000&times=1&then=503&retry-after=3600";
    const char *next = "/next?size=12000000&rate=3000000", *small = "/small?size=1000";
    service_start(&service, QUICK, NULL);
    const char *id = add(path, NULL);
    service_wait_log(&service, "wants no more connections for 3600000 ms", SOON);
    expect_finished(add(small, NULL), small, 0); /* nobody's task is held */
    expect_finished(id, path, 0);
    ck_assert_uint_le(count_of(path).requests, 10);
    expect_finished(add(next, NULL), next, 0);
    ck_assert_uint_eq(count_of(next).requests, 1);
}
END_TEST

START_TEST(the_slowest_part_is_taken_over)
{
    /* The second connection would need 4 MiB / 40 KiB/s = 100 s for its part. */
    const char *path = "/large?size=16777216&rate=2097152&times=1&then=trickle";
    service_start(&service, "--max-tasks-num", "4", NULL);
    int64_t begun = harness_now();
    const char *id = add(path, NULL);
    expect_finished(id, path, 0);
    int64_t took = harness_now() - begun;
    printf("# %lld ms\n", (long long)took);
    ck_assert_int_lt(took, SLOWER * 8000);
    ck_assert_uint_lt(count_of(path).again, 2 * MIB);
}
END_TEST

START_TEST(a_stalled_part_is_taken_over)
{
    /* All that begin before this point stall there: the lead, that is, and nobody else. */
    const char *path = "/large?size=16777216&rate=2097152&do=stall&at=1000000&times=1";
    service_start(&service, "--max-tasks-num", "4", NULL);
    int64_t begun = harness_now();
    const char *id = add(path, NULL);
    expect_finished(id, path, 0);
    int64_t took = harness_now() - begun;
    printf("# %lld ms\n", (long long)took);
    ck_assert_int_lt(took, 15000);
    ck_assert_int_eq(v1_number(&service, id, "attempts"), 1);
}
END_TEST

/* --- nothing is lost --- */

enum interruption { KILLED, STOPPED, REBOOTED, HELD, INTERRUPTIONS };

static void interrupt(enum interruption how, const char *id)
{
    switch (how) {
    case KILLED:
        service_kill_all(&service);
        service_start(&service, QUICK, NULL);
        break;
    case REBOOTED:
        service.boot_id = "00000000-0000-4000-8000-000000000002";
        service_stop(&service);
        service_start(&service, QUICK, NULL);
        break;
    case STOPPED:
        service_stop(&service);
        service_start(&service, QUICK, NULL);
        break;
    default:
        v1_verb(&service, id, "hold", 200);
        v1_wait(&service, id, "PAUSED", SOON);
        ck_assert_int_ge(v1_number(&service, id, "bytes_done"), 16 * MIB);
        v1_verb(&service, id, "release", 200);
    }
}

START_TEST(the_map_survives)
{
    const char *path = textf("/large%d?size=50331648&rate=2097152", _i);
    service.boot_id = "00000000-0000-4000-8000-000000000001";
    service_start(&service, QUICK, NULL);
    const char *id = add(path, NULL);
    wait_ranges(id, 10, 10, SOON);
    wait_bytes(id, (_i == KILLED ? 36 : 20) * MIB); /* 1.5 s of them may be lost */
    interrupt((enum interruption)_i, id);
    ck_assert_int_gt(v1_number(&service, id, "bytes_done"), _i == KILLED ? 4 * MIB : 16 * MIB);
    wait_ranges(id, 5, 10, SOON);
    expect_finished(id, path, 0);
    struct hostile_count count = count_of(path);
    printf("# %llu bytes of %d again\n", (unsigned long long)count.again, 48 * MIB);
    expect_nothing_again();
    if (_i != KILLED)
        ck_assert_uint_lt(count.again, 4 * MIB);
}
END_TEST

/* What was only written is not believed of another boot; what was synced is. */
START_TEST(what_is_on_disk_survives_a_power_cut)
{
    const char *path = "/large?size=100663296&rate=2097152";
    service.boot_id = "00000000-0000-4000-8000-000000000001";
    service_start(&service, QUICK, NULL);
    const char *id = add(path, NULL);
    wait_ranges(id, 10, 10, SOON);
    wait_bytes(id, 90 * MIB); /* 64 MiB are synced */
    service_kill_all(&service);
    service.boot_id = "00000000-0000-4000-8000-000000000002";
    hostile_hurry(hostile);
    service_start(&service, QUICK, NULL);
    service_wait_log(&service, "DOWNLOADING attempt=2 from=6", SOON); /* 6x,xxx,xxx */
    expect_finished(id, path, 0);
    ck_assert_uint_lt(count_of(path).again, 36 * MIB);
}
END_TEST

/* The validators are what the map goes by. */
START_TEST(another_version_starts_from_zero)
{
    const char *path = "/large?size=25165824&rate=1048576&times=10&changes=etag+content+date";
    service_start(&service, QUICK, NULL);
    const char *id = add(path, NULL);
    wait_ranges(id, 10, 10, SOON);
    wait_bytes(id, 6 * MIB);
    v1_verb(&service, id, "hold", 200);
    v1_wait(&service, id, "PAUSED", SOON);
    hostile_hurry(hostile);
    v1_verb(&service, id, "release", 200);
    expect_finished(id, path, 1);
    ck_assert_str_eq(v1_get(&service, id, "error.code"), "changed");
}
END_TEST

static const char *part_of(const char *id)
{
    return textf("%s/large.%.8s.part", directory, id);
}

static int64_t size_of_part(const char *part)
{
    struct stat st;
    return stat(part, &st) == 0 ? st.st_size : -1;
}

struct awaited_size {
    const char *part;
    int64_t least, most;
};

static bool has_size(void *data)
{
    const struct awaited_size *awaited = data;
    int64_t size = size_of_part(awaited->part);
    return size >= awaited->least && size <= awaited->most;
}

/* Seen at once: the store learns of it within a second. */
static void wait_size(const char *part, int64_t least, int64_t most)
{
    struct awaited_size awaited = {part, least, most};
    for (int i = 0; i < SOON && !has_size(&awaited); i++)
        poll(NULL, 0, 1);
    ck_assert(has_size(&awaited));
}

static void hold(const char *id)
{
    v1_verb(&service, id, "hold", 200);
    v1_wait(&service, id, "PAUSED", SOON);
}

/* The end is cut off, and helpers make the file as long as it was, before it is held again or the
 * service killed: that what was there was on disk once does not make it be there. */
START_TEST(what_was_cut_off_is_fetched_again)
{
    const char *path = "/large?size=25165824&rate=1048576";
    service_start(&service, QUICK, NULL);
    const char *id = add(path, NULL), *part = part_of(id);
    wait_ranges(id, 10, 10, SOON);
    wait_bytes(id, 16 * MIB);
    hold(id);
    ck_assert_int_eq(truncate(part, 4 * MIB), 0);
    v1_verb(&service, id, "release", 200);
    wait_size(part, 20 * MIB, 25165824);
    if (_i)
        service_kill_all(&service);
    else
        hold(id);
    hostile_hurry(hostile);
    if (_i)
        service_start(&service, QUICK, NULL);
    else
        v1_verb(&service, id, "release", 200);
    expect_finished(id, path, 0);
}
END_TEST

/* What is on record of a version that is gone goes before the file does: the other one may be back
 * at the next start. */
START_TEST(another_version_comes_and_goes)
{
    const char *path = "/large?size=25165824&rate=1048576&times=1000&changes=etag+content";
    service_start(&service, QUICK, NULL);
    const char *id = add(path, NULL), *part = part_of(id);
    wait_ranges(id, 10, 10, SOON);
    wait_bytes(id, 8 * MIB);
    hold(id);
    hostile_show(hostile, 1);
    v1_verb(&service, id, "release", 200);
    wait_size(part, 0, 4 * MIB);
    service_kill_all(&service);
    hostile_show(hostile, 0);
    hostile_hurry(hostile);
    service_start(&service, QUICK, NULL);
    service_wait_log(&service, "DOWNLOADING attempt=3 from=0", SOON);
    expect_finished(id, path, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("ranges");
    TCase *tcase = tcase_create("speed");
    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, all_workers_fetch_one_file);
    tcase_add_test(tcase, as_many_as_are_allowed);
    tcase_add_test(tcase, a_limited_rate_is_kept);
    suite_add_tcase(suite, tcase);

    tcase = tcase_create("yield");
    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, helpers_make_room_for_tasks);
    tcase_add_test(tcase, a_task_takes_a_helpers_place_at_its_host);
    tcase_add_test(tcase, helpers_leave_when_there_are_fewer_slots);
    tcase_add_test(tcase, nobody_joins_during_a_pause);
    suite_add_tcase(suite, tcase);

    tcase = tcase_create("origins");
    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, a_helper_that_is_not_wanted_leaves);
    tcase_add_test(tcase, connections_that_break_are_made_up_for);
    tcase_add_test(tcase, a_server_that_wants_no_more_is_left_alone);
    tcase_add_test(tcase, the_slowest_part_is_taken_over);
    tcase_add_test(tcase, a_stalled_part_is_taken_over);
    suite_add_tcase(suite, tcase);

    tcase = tcase_create("kept");
    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_loop_test(tcase, the_map_survives, 0, INTERRUPTIONS);
    tcase_add_test(tcase, what_is_on_disk_survives_a_power_cut);
    tcase_add_test(tcase, another_version_starts_from_zero);
    tcase_add_loop_test(tcase, what_was_cut_off_is_fetched_again, 0, 2);
    tcase_add_test(tcase, another_version_comes_and_goes);
    suite_add_tcase(suite, tcase);
    return harness_main(suite);
}
