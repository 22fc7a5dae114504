/* Several workers fetch one file: one leads, the others are transfer_help in threads of their own.
 * The origin is tests/hostile. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/units.h"
#include "content.h"
#include "core/address.h"
#include "hostile.h"
#include "tap.h"
#include "transfer/transfer.h"

#define HELPERS_MAX 8

static struct hostile *hostile;
static struct download_share *share;
static struct transfer *lead;
static struct download_options options;
static struct transfer_outcome outcome;
static const struct address_policy nothing_denied;
static char part_path[64];
static int part = -1;
static struct resume_known known; /* what is there, ... */
static const char *ranges;        /* ... further on, too (ranges.h) */
static int64_t deadline; /* boot time: it is cancelled then */

static unsigned allowed; /* helpers, one after the other */
static struct helper {
    pthread_t thread;
    struct team *team;
    int64_t patience;
    atomic_bool done;
} helpers[HELPERS_MAX];
static unsigned came;
static atomic_bool leave; /* they are to */
static int64_t leave_at;  /* once that is there beyond the first bytes; 0: never */
static int64_t size_limit; /* of files, once one has come; 0: none */
static bool helpers_see_global; /* what the first of them was given */

/* --- where things are --- */

static bool everything_global;

enum address_kind __real_address_kind(const struct ip_address *address);
enum address_kind __wrap_address_kind(const struct ip_address *address);

enum address_kind __wrap_address_kind(const struct ip_address *address)
{
    return everything_global ? ADDRESS_GLOBAL : __real_address_kind(address);
}

int __real_getifaddrs(struct ifaddrs **list);
int __wrap_getifaddrs(struct ifaddrs **list);

int __wrap_getifaddrs(struct ifaddrs **list)
{
    *list = NULL;
    return everything_global ? 0 : __real_getifaddrs(list);
}

/* --- the lead's operations --- */

static int open_part(void *data, const struct download_head *head, int *ret_fd)
{
    (void)data;
    if (head)
        ck_assert_int_eq(ftruncate(part, 0), 0);
    *ret_fd = part;
    return 0;
}

static int note_version(void *data, const struct download_head *head, int64_t total, int64_t start,
                        bool anew, const char *why)
{
    (void)data, (void)head, (void)total, (void)start, (void)anew, (void)why;
    return 0;
}

static void note_progress(void *data, const struct transfer_progress *progress)
{
    (void)data;
    if (leave_at > 0 && progress->bytes - progress->written >= leave_at)
        atomic_store(&leave, true);
}

static void note_response(void *data, int status)
{
    (void)data, (void)status;
}

static bool is_late(void *data)
{
    (void)data;
    return units_now_boottime() >= deadline;
}

static void *help(void *data)
{
    static const atomic_bool never;
    struct helper *helper = data;
    struct transfer *own;
    const struct transfer_help how = {
        .hands = 1, .leave = &leave, .lost = &never, .on_response = note_response};
    if (transfer_create(share, &own) < 0)
        abort();
    helper->patience = transfer_help(own, helper->team, &how);
    atomic_store(&helper->done, true);
    team_unref(helper->team);
    transfer_destroy(own);
    return NULL;
}

static void on_hands(void *data, struct team *team, unsigned wanted, int64_t left)
{
    (void)data, (void)left;
    if (wanted == 0 || came == allowed || (came > 0 && !atomic_load(&helpers[came - 1].done)))
        return;
    if (came == 0)
        helpers_see_global = team_file(team)->options->was_global;
    if (size_limit > 0)
        ck_assert_int_eq(
            setrlimit(RLIMIT_FSIZE, &(struct rlimit){(rlim_t)size_limit, RLIM_INFINITY}), 0);
    struct helper *helper = &helpers[came++];
    helper->team = team_ref(team);
    ck_assert_int_eq(pthread_create(&helper->thread, NULL, help, helper), 0);
}

static const struct transfer_ops ops = {
    .open = open_part,
    .on_version = note_version,
    .on_progress = note_progress,
    .on_hands = on_hands,
    .on_response = note_response,
    .cancelled = is_late,
};

static void start(void)
{
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    ck_assert_int_eq(hostile_start(0, &hostile), 0);
    ck_assert_int_eq(download_share_create(&share), 0);
    ck_assert_int_eq(transfer_create(share, &lead), 0);
    options = (struct download_options){
        .user_agent = "autodl/test",
        .policy = &nothing_denied,
        .connect_timeout = 5000,
        .stall_timeout = 20000,
    };
    char name[] = "/tmp/autodl-team-XXXXXX"; /* gone when the test is */
    part = mkstemp(name);
    ck_assert_int_ge(part, 0);
    unlink(name);
    snprintf(part_path, sizeof part_path, "/proc/self/fd/%d", part);
    memset(helpers, 0, sizeof helpers);
    came = 0;
    known = (struct resume_known){.total = -1};
    ranges = NULL;
    leave_at = size_limit = 0;
    atomic_store(&leave, false);
    everything_global = false;
}

static void stop(void)
{
    transfer_destroy(lead);
    hostile_stop(hostile);
    download_share_destroy(share);
    close(part);
}

/* By one lead and so many helpers, at most in that time. */
static int fetch(const char *path, unsigned helpers_allowed, int64_t ms)
{
    _cleanup_free_ char *url = NULL;
    ck_assert_int_ge(asprintf(&url, "http://127.0.0.1:%u%s", hostile_port(hostile), path), 0);
    const struct transfer_job job = {.url = url, .known = known, .ranges = ranges};
    allowed = helpers_allowed;
    deadline = units_now_boottime() + ms;
    int r = transfer_run(lead, &job, &options, &ops, &outcome);
    for (unsigned i = 0; i < came; i++)
        pthread_join(helpers[i].thread, NULL);
    return r;
}

static struct hostile_count count_of(const char *path)
{
    struct hostile_count count;
    hostile_read(hostile, path, &count);
    return count;
}

/* Whole, of the first version, and helped with. */
static void expect_whole(int r, const char *path)
{
    ck_assert_msg(r == 0, "%d: %s", r, outcome.download.error_message);
    ck_assert_ptr_null(outcome.download.error_code);
    ck_assert_uint_gt(came, 0);
    int result = hostile_expect_file(part_path, path, 0);
    ck_assert_msg(result == 0, "not what %s gives: %s", path, strerror(-result));
}

/* --- tests --- */

START_TEST(a_file_is_fetched_together)
{
    const char *path = "/together?size=4000000&rate=1000000";
    expect_whole(fetch(path, 1, 20000), path);
    struct hostile_count count = count_of(path);
    ck_assert_uint_ge(count.ranges, 1);
    ck_assert_uint_eq(count.max_running, 2);
    ck_assert_int_eq(outcome.bytes, 4000000);
    ck_assert_int_eq(outcome.written, 4000000);
}
END_TEST

/* Parts of other bytes, by what says that it is another version, or is another part. */
START_TEST(no_other_version_gets_in)
{
    static const char *const ways[] = {"other-etag", "wrong-total", "wrong-start", "wrong-end",
                                       "gzip"};
    _cleanup_free_ char *path = NULL;
    ck_assert_int_ge(
        asprintf(&path, "/%s?size=3000000&rate=1000000&times=1&changes=content&then=%s", ways[_i],
                 ways[_i]),
        0);
    expect_whole(fetch(path, 2, 20000), path);
    ck_assert_uint_eq(count_of(path).requests, 2); /* one look was enough */
}
END_TEST

/* What comes is bounded by what was asked for, and who brings nothing is not asked for ever. */
START_TEST(a_part_has_an_end)
{
    static const char *const ways[] = {"part-endless", "part-empty"};
    _cleanup_free_ char *path = NULL;
    ck_assert_int_ge(
        asprintf(&path, "/%s?size=3000000&rate=1000000&times=1&then=%s", ways[_i], ways[_i]), 0);
    expect_whole(fetch(path, 1, 20000), path);
    ck_assert_uint_le(count_of(path).requests, 4);
}
END_TEST

/* The same of the lead, alone with what a helper has left: that, and another try, is the third
 * request. */
START_TEST(the_lead_is_not_kept_either)
{
    static const struct {
        const char *way, *code;
        int http_status;
    } ways[] = {
        {"part-endless", NULL,        200},
        {"part-empty",   "truncated", 200},
        {"503",          "http",      503},
        {"reset-early",  "reset",     0  },
    };
    _cleanup_free_ char *path = NULL;
    leave_at = 500000;
    ck_assert_int_ge(
        asprintf(&path, "/%d?size=4000000&rate=1000000&times=2&then=%s", _i, ways[_i].way), 0);
    int r = fetch(path, 1, 20000);
    if (ways[_i].code) {
        ck_assert_int_eq(r, -EIO);
        ck_assert_str_eq(outcome.download.error_code, ways[_i].code);
        ck_assert_int_lt(outcome.bytes, 4000000);
        ck_assert_int_ge(outcome.bytes, 2000000);
    } else {
        expect_whole(r, path);
    }
    ck_assert_int_eq(outcome.download.http_status, ways[_i].http_status);
    ck_assert_uint_eq(count_of(path).requests, 3);
}
END_TEST

START_TEST(helpers_leave_with_the_lead)
{
    const char *path = "/cancelled?size=20000000&rate=1000000";
    int64_t begun = units_now_boottime();
    ck_assert_int_eq(fetch(path, 1, 1500), -ECANCELED);
    ck_assert_int_lt(units_now_boottime() - begun, 6000); /* alone it would need 9 s more */
    ck_assert_uint_eq(came, 1);
    ck_assert_int_gt(outcome.bytes, outcome.written);
}
END_TEST

/* In the middle of the helper's part no more can be written. */
START_TEST(what_was_not_written_is_not_there)
{
    const char *path = "/limited?size=3000000&rate=1000000";
    size_limit = 2000000;
    int r = fetch(path, 1, 20000);
    setrlimit(RLIMIT_FSIZE, &(struct rlimit){RLIM_INFINITY, RLIM_INFINITY});
    ck_assert_int_eq(r, -EIO);
    ck_assert_str_eq(outcome.download.error_code, "disk");
    ck_assert_int_eq(outcome.download.disk_error, -EFBIG);
    ck_assert_uint_eq(came, 1);
    ck_assert_int_eq(outcome.bytes, size_limit);
    ck_assert_int_eq(outcome.written, size_limit);
    static char there[3000000], wanted[3000000];
    ck_assert_int_eq(pread(part, there, sizeof there, 0), size_limit);
    hostile_fill(path, 0, 0, wanted, sizeof wanted);
    ck_assert_mem_eq(there, wanted, (size_t)size_limit);
}
END_TEST

/* The second request is the only helper's; the lead's next one is refused. */
START_TEST(whoever_is_refused_leaves_it_to_the_others)
{
    static const char *const ways[] = {"503", "whole"};
    _cleanup_free_ char *path = NULL;
    ck_assert_int_ge(
        asprintf(&path, "/%s?size=4500000&rate=1000000&do=slower&times=2&then=%s", ways[_i],
                 ways[_i]),
        0);
    expect_whole(fetch(path, 1, 30000), path);
    ck_assert_uint_ge(count_of(path).requests, 3);
    ck_assert_int_eq(outcome.download.http_status, 200);
}
END_TEST

/* Something further on is said to be there, of the version that the server has, or of one that it says
 * is another; or the file was cut off in it. What is kept of it can be told by its bytes. */
START_TEST(parts_are_kept_by_the_etag_alone)
{
    static const struct {
        int64_t have;
        const char *query;
        size_t cut, kept;
    } cases[] = {
        {500000, "",           0,       500000},
        {1000,   "",           0,       500000},
        {500000, "&etag=node", 0,       0     },
        {1000,   "&etag=node", 0,       0     },
        {500000, "",           2200000, 200000},
        {1000,   "",           2200000, 200000},
    };
    static char bytes[3000000], there[3000000], mark[500000];
    char etag[64];
    _cleanup_free_ char *path = NULL;
    ck_assert_int_ge(asprintf(&path, "/kept?size=3000000%s", cases[_i].query), 0);
    hostile_fill(path, 0, 0, bytes, sizeof bytes);
    memset(mark, 'x', sizeof mark);
    snprintf(etag, sizeof etag, "\"%016llx-0\"", (unsigned long long)content_seed("/kept"));
    known = (struct resume_known){.have = cases[_i].have,
                                  .total = 3000000,
                                  .etag = etag,
                                  .last_modified = "Mon, 01 Jan 2024 03:04:05 GMT"};
    ranges = "2000000-2499999,";
    ck_assert_int_eq(pwrite(part, bytes, 500000, 0), 500000);
    ck_assert_int_eq(pwrite(part, mark, 500000, 2000000), 500000);
    if (cases[_i].cut)
        ck_assert_int_eq(ftruncate(part, (off_t)cases[_i].cut), 0);
    int r = fetch(path, 0, 20000);
    ck_assert_msg(r == 0, "%d: %s", r, outcome.download.error_message);
    memcpy(bytes + 2000000, mark, cases[_i].kept);
    ck_assert_int_eq(pread(part, there, sizeof there, 0), sizeof there);
    ck_assert(memcmp(there, bytes, sizeof there) == 0);
}
END_TEST

START_TEST(a_helper_is_told_how_long_to_stay_away)
{
    const char *path = "/shy?size=3000000&rate=1000000&times=1&then=503&retry-after=77";
    expect_whole(fetch(path, 1, 20000), path);
    ck_assert_int_eq(helpers[0].patience, 77000);
}
END_TEST

/* A name that led to a public address does not lead helpers inside. */
START_TEST(helpers_know_that_the_host_was_public)
{
    const char *path = "/public?size=3000000&rate=1000000";
    everything_global = true;
    expect_whole(fetch(path, 1, 20000), path);
    ck_assert(helpers_see_global);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("team");
    TCase *tcase = tcase_create("versions");
    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, start, stop);
    tcase_add_test(tcase, a_file_is_fetched_together);
    tcase_add_loop_test(tcase, no_other_version_gets_in, 0, 5);
    tcase_add_loop_test(tcase, parts_are_kept_by_the_etag_alone, 0, 6);
    tcase_add_test(tcase, helpers_know_that_the_host_was_public);
    suite_add_tcase(suite, tcase);
    tcase = tcase_create("ends");
    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, start, stop);
    tcase_add_loop_test(tcase, a_part_has_an_end, 0, 2);
    tcase_add_loop_test(tcase, the_lead_is_not_kept_either, 0, 4);
    tcase_add_test(tcase, helpers_leave_with_the_lead);
    tcase_add_test(tcase, what_was_not_written_is_not_there);
    suite_add_tcase(suite, tcase);
    tcase = tcase_create("refused");
    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, start, stop);
    tcase_add_loop_test(tcase, whoever_is_refused_leaves_it_to_the_others, 0, 2);
    tcase_add_test(tcase, a_helper_is_told_how_long_to_stay_away);
    suite_add_tcase(suite, tcase);
    return tap_main(suite);
}
