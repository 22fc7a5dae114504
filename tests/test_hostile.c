/* Servers that break the rules, against the real service: the right end and the right word for it,
 * never a file with wrong bytes, and the next download is as good as any. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/api.h"
#include "hostile.h"
#include "v1.h"

#define SOON    30000  /* ms */
#define OVERLAP 65536  /* bytes fetched twice by a resume */
#define LOST    131072 /* bytes that may be under way when a connection breaks */

static struct service service;
static struct hostile *hostile;
static const char *directory;

static void set_up(void)
{
    ck_assert_int_eq(hostile_start(0, &hostile), 0);
    service_init(&service);
    service_start(&service, "--retry-wait", "50ms", "--retry-max-wait", "200ms", "--stall-timeout",
                  "1s", "--connect-timeout", "2s", "--retries", "3", NULL);
    directory = make_directory(&service, "files");
}

static void tear_down(void)
{
    service_release(&service);
    hostile_stop(hostile);
}

static const char *url_of(const char *path)
{
    return textf("http://127.0.0.1:%u%s", hostile_port(hostile), path);
}

static void expect_file(const char *file, const char *path, unsigned version)
{
    int result = hostile_expect_file(file, path, version);
    ck_assert_msg(result == 0, "%s is not what %s gives: %s", file, path, strerror(-result));
}

static const char *describe(const char *id)
{
    return v1_get(&service, id, "");
}

static bool no_name_left(void *data)
{
    return count_names(data, NULL) == 0;
}

/* What failed leaves nothing under the final name, and nothing at all once it is forgotten. */
static void expect_no_file(const char *id)
{
    ck_assert_msg(!file_exists(v1_get(&service, id, "dest")), "a file, and it says %s",
                  describe(id));
    ck_assert_uint_eq(count_names(directory, ".part"), count_names(directory, NULL));
    int status = v1_call(&service, "DELETE", textf("/v1/tasks/%s", id), NULL, NULL);
    ck_assert_msg(status == 200 || status == 204, "forgetting it gives %d", status);
    wait_until(no_name_left, (void *)directory, SOON, "the part file is removed");
}

static void expect_service_goes_on(void)
{
    const char *path = "/good?size=70000", *elsewhere = make_directory(&service, "elsewhere");
    const char *id = v1_add(&service, url_of(path), elsewhere, NULL);
    v1_wait(&service, id, "FINISHED", SOON);
    expect_file(textf("%s/good", elsewhere), path, 0);
    ck_assert_uint_eq(count_names(elsewhere, NULL), 1);
    ck_assert_int_eq(read_count(&service, "DOWNLOADING"), 0);
}

/* --- one way to break the rules after the other --- */

/* A first attempt that breaks off, so that a second one asks for the rest. */
#define HALF "do=reset&times=1&at=200000&size=300000"

#define GOOD(path)                                                                                 \
    {                                                                                              \
        path, "FINISHED", NULL, 0, false                                                           \
    }
#define RESUMED(path)                                                                              \
    {                                                                                              \
        path, "FINISHED", NULL, 0, true                                                            \
    }
#define NOTED(path, code, version)                                                                 \
    {                                                                                              \
        path, "FINISHED", code, version, false                                                     \
    }
#define FAILS(path, code)                                                                          \
    {                                                                                              \
        path, "FAILED", code, 0, false                                                             \
    }
#define ENDS(path, states, code)                                                                   \
    {                                                                                              \
        path, states, code, 0, false                                                               \
    }

static const struct breach {
    const char *path;
    const char *state;
    const char *code; /* NULL: no error; "a|b": one of them */
    unsigned version; /* FINISHED: whose bytes */
    bool resumes;     /* ... and little but the overlap came twice */
} breaches[] = {
    /* nothing is wrong here */
    GOOD("/plain?size=100000"),
    GOOD("/empty?size=0"),
    GOOD("/chunked?do=chunked"),
    GOOD("/close?do=close"),
    GOOD("/no-validators?etag=none&date=none"),
    GOOD("/chain?do=chain&hops=5"),
    GOOD("/one-a-second?size=3&rate=1"),

    /* connections that break */
    RESUMED("/resets?do=reset&times=3&at=400000&size=600000"),
    GOOD("/reset-early?do=reset-early&times=2"),
    GOOD("/close-early?do=close-early&times=2"),
    RESUMED("/cuts?do=cut&times=3&at=400000&size=600000"),
    RESUMED("/stall-once?do=stall&times=1&at=400000&size=600000"),
    FAILS("/reset-always?do=reset", "reset|truncated"),
    FAILS("/reset-early-always?do=reset-early", "reset"),
    FAILS("/close-early-always?do=close-early", "reset"),
    FAILS("/cut-always?do=cut", "truncated"),
    NOTED("/no-validators-cut?do=cut&times=1&etag=none&date=none", "truncated|changed|", 0),

    /* nothing comes */
    FAILS("/silent?do=silent", "stalled|timeout"),
    FAILS("/half-head?do=half-head", "stalled|timeout"),
    FAILS("/stall?do=stall", "stalled"),
    FAILS("/stall-at-0?do=stall&at=0", "stalled"),

    /* redirects */
    FAILS("/loop?do=loop", "redirect"),
    FAILS("/long-chain?do=chain&hops=30", "redirect"),
    FAILS("/nowhere?do=redirect-nowhere", "redirect"),
    FAILS("/local?do=redirect-file", "redirect|scheme"),

    /* statuses */
    FAILS("/gone?status=404", "http"),
    FAILS("/login?status=401", "auth"),
    FAILS("/forbidden?status=403", "http|auth"),
    FAILS("/broken?status=500", "http"),
    GOOD("/broken-twice?status=500&times=2"),
    GOOD("/too-many?status=429&times=1&retry-after=1"),
    GOOD("/busy?status=503&times=1&retry-after=date:2"),

    /* answers to a Range */
    NOTED("/whole?" HALF "&then=whole", "changed|", 0),
    NOTED("/no-ranges?" HALF "&ranges=no", "changed|", 0),
    FAILS("/wrong-start?" HALF "&then=wrong-start", "protocol"),
    ENDS("/shifted?" HALF "&then=shifted", "FAILED|FINISHED", "protocol|truncated|changed"),
    FAILS("/wrong-end?" HALF "&then=wrong-end", "truncated"),
    FAILS("/part-cut?" HALF "&then=part-cut", "truncated"),
    GOOD("/portions?" HALF "&then=portions"),
    ENDS("/wrong-total?" HALF "&then=wrong-total", "FAILED|FINISHED", "protocol|changed"),
    FAILS("/huge-range?" HALF "&then=huge-range", "protocol"),
    FAILS("/no-content-range?" HALF "&then=no-content-range", "protocol"),
    FAILS("/416?" HALF "&then=416", "protocol"),
    FAILS("/unasked-206?do=unasked-206", "protocol"),
    FAILS("/unasked-416?status=416", "http|protocol"),

    /* other files under the same URL */
    RESUMED("/nodes?do=cut&times=2&at=400000&size=600000&etag=node"),
    RESUMED("/weak?do=cut&times=2&at=400000&size=600000&etag=weak"),
    RESUMED("/dated?do=cut&times=2&at=400000&size=600000&etag=none"),
    NOTED("/undated-nodes?" HALF "&etag=node&date=none", "changed", 0),
    NOTED("/etag-content?" HALF "&changes=etag+content", "changed", 1),
    NOTED("/all?" HALF "&changes=etag+date+size+content", "changed", 1),
    NOTED("/etag-date?" HALF "&changes=etag+date+content", "changed", 1),
    NOTED("/etag-size?" HALF "&changes=etag+size+content", "changed", 1),
    NOTED("/silently?" HALF "&changes=content", "changed", 1),

    /* lengths and framing */
    FAILS("/too-long?do=too-long", "truncated|protocol"),
    GOOD("/too-short?do=too-short"),
    FAILS("/two-lengths?do=two-lengths", "protocol"),
    FAILS("/junk-length?do=junk-length", "protocol"),
    FAILS("/negative-length?do=negative-length", "protocol"),
    ENDS("/huge-length?do=huge-length", "FAILED|ENQUEUED", "truncated|disk|too_large|"),
    FAILS("/chunk-bad?do=chunk-bad", "protocol"),
    FAILS("/chunk-cut?do=chunk-cut", "truncated"),
    FAILS("/chunk-unended?do=chunk-unended", "truncated"),
    FAILS("/http09?do=http09", "protocol"),

    /* heads */
    FAILS("/long-header?do=long-header", "protocol"),
    FAILS("/flood?do=flood", "protocol"),
    FAILS("/hundreds?do=hundreds", "protocol"),
    GOOD("/bomb?do=gzip&size=50000"),
};

/* "a|b" lets through a and b, "a|" a and nothing. */
static bool among(const char *word, const char *allowed)
{
    size_t len = word ? strlen(word) : 0;
    for (const char *each = allowed ? allowed : "";; each++) {
        size_t n = strcspn(each, "|");
        if (n == len && strncmp(each, word ? word : "", len) == 0)
            return true;
        each += n;
        if (!*each)
            return false;
    }
}

/* The state when it ended; ENQUEUED if it waits for the disk, which is an end for these tests. */
static const char *wait_outcome(const char *id)
{
    int64_t end = harness_now() + SOON;
    for (;;) {
        const char *reason = v1_get(&service, id, "waiting_for.reason");
        const char *state = v1_get(&service, id, "status"); /* after it, and so of that time */
        if (v1_ended(state) || (reason && strcmp(reason, "disk") == 0))
            return state;
        ck_assert_msg(harness_now() < end, "it has not ended: %s", describe(id));
    }
}

static void expect_whole(const struct breach *breach, const char *id)
{
    struct hostile_count count;
    const char *dest = v1_get(&service, id, "dest");
    ck_assert_str_eq(
        dest, textf("%s/%.*s", directory, (int)strcspn(breach->path + 1, "?"), breach->path + 1));
    expect_file(dest, breach->path, breach->version);
    ck_assert_uint_eq(count_names(directory, NULL), 1);
    hostile_read(hostile, breach->path, &count);
    if (!breach->resumes)
        return;
    ck_assert_uint_ge(count.ranges, 1);
    ck_assert_msg(count.again <= (uint64_t)(OVERLAP + LOST) * (count.requests - 1),
                  "%u requests, and %llu bytes came twice", count.requests,
                  (unsigned long long)count.again);
}

START_TEST(breach_of_rules)
{
    const struct breach *breach = &breaches[_i];
    const char *id = v1_add(&service, url_of(breach->path), directory, NULL);
    const char *state = wait_outcome(id), *code = v1_get(&service, id, "error.code");
    ck_assert_msg(among(state, breach->state), "%s ends so: %s", breach->path, describe(id));
    ck_assert_msg(among(code, breach->code), "%s ends so: %s", breach->path, describe(id));
    if (code)
        ck_assert_uint_gt(strlen(v1_get(&service, id, "error.message")), 10);
    if (strcmp(state, "ENQUEUED") == 0)
        v1_verb(&service, id, "cancel", 200);
    if (strcmp(state, "FINISHED") == 0)
        expect_whole(breach, id);
    else
        expect_no_file(id);
    expect_service_goes_on();
}
END_TEST

/* --- names that a server proposes --- */

static const struct {
    const char *header;
    const char *name; /* NULL: any harmless one */
} dispositions[] = {
    {"attachment; filename=\"plain.iso\"",                                     "plain.iso"    },
    {"attachment; filename=plain.iso",                                         "plain.iso"    },
    {"attachment; filename=\"../../../../../../tmp/evil\"",                    "evil"         },
    {"attachment; filename=\"/etc/cron.d/evil\"",                              "evil"         },
    {"attachment; filename=\"..\\..\\evil\"",                                  NULL           },
    {"attachment; filename=\"..\"",                                            NULL           },
    {"attachment; filename=\".\"",                                             NULL           },
    {"attachment; filename=\"\"",                                              NULL           },
    {"attachment; filename=\"/\"",                                             NULL           },
    {"attachment; filename=\".bashrc\"",                                       "_bashrc"      },
    {"attachment; filename=\"-rf\"",                                           "_rf"          },
    {"attachment; filename*=UTF-8''%2e%2e%2f%2e%2e%2fevil",                    "evil"         },
    {"attachment; filename*=UTF-8''%2e%2e%5c%2e%2e%5cevil",                    "evil"         },
    {"attachment; filename*=UTF-8''a%00b%0ac%1bd",                             NULL           },
    {"attachment; filename*=UTF-8''photo%e2%80%aegnp.exe",                     NULL           },
    {"attachment; filename*=UTF-8''%ff%fe%fd",                                 NULL           },
    {"attachment; filename=\"rates\"; filename*=UTF-8''%e2%82%ac%20rates.iso", "€ rates.iso"},
    {"attachment; filename*=ISO-8859-1''%e9t%e9",                              "été"        },
    {"attachment; filename*=KLINGON''abc; filename=\"b\"",                     NULL           },
    {"attachment; filename=\"no end",                                          NULL           },
    {"attachment; filename*=UTF-8''%",                                         NULL           },
    {";;;===\"\"\"filename",                                                   NULL           },
    {"filename",                                                               NULL           },
    {"attachment; filename=\"$(touch evil);`id`|x\"",                          NULL           },
    {"attachment; filename=\"\x01\x02\x7fx\"",                                 NULL           },
    {"attachment; filename=\"x.iso.part\"",                                    NULL           },
};

static const char *percent_encoded(const char *text)
{
    char coded[8192] = "", *to = coded;
    ck_assert_uint_lt(3 * strlen(text), sizeof(coded));
    for (; *text; text++)
        to += snprintf(to, 4, "%%%02x", (unsigned char)*text);
    return textf("%s", coded);
}

/* In UTF-8: U+200E, U+200F, U+202A..U+202E, U+2066..U+2069. */
static bool is_bidi(const unsigned char *at)
{
    return at[0] == 0xe2 && ((at[1] == 0x80 && (at[2] == 0x8e || at[2] == 0x8f ||
                                                (at[2] >= 0xaa && at[2] <= 0xae))) ||
                             (at[1] == 0x81 && at[2] >= 0xa6 && at[2] <= 0xa9));
}

static void expect_harmless(const char *name)
{
    ck_assert_msg(name[0] && name[0] != '.' && name[0] != '-', "the name is \"%s\"", name);
    ck_assert_uint_le(strlen(name), API_NAME_MAX);
    for (const unsigned char *at = (const unsigned char *)name; *at; at++)
        ck_assert_msg(*at >= ' ' && *at != 0x7f && *at != '/' && !is_bidi(at), "the name is \"%s\"",
                      name);
}

static void expect_named(const char *header, const char *name)
{
    const char *path = textf("/from-url?size=1000&disposition=%s", percent_encoded(header));
    unsigned around = count_names(service.home, NULL);
    const char *id = v1_add(&service, url_of(path), directory, NULL);

    v1_wait(&service, id, "FINISHED", SOON);
    const char *given = v1_get(&service, id, "name");
    expect_harmless(given);
    if (name)
        ck_assert_str_eq(given, name);
    ck_assert_str_eq(v1_get(&service, id, "dest"), textf("%s/%s", directory, given));
    expect_file(textf("%s/%s", directory, given), path, 0);
    ck_assert_uint_eq(count_names(directory, NULL), 1);
    ck_assert_uint_eq(count_names(service.home, NULL), around);
}

START_TEST(disposition_attack)
{
    expect_named(dispositions[_i].header, dispositions[_i].name);
}
END_TEST

START_TEST(disposition_too_long)
{
    char name[401];
    memset(name, 'n', 396);
    memcpy(name + 396, ".iso", 5);
    expect_named(textf("attachment; filename=\"%s\"", name), NULL);
}
END_TEST

START_TEST(disposition_of_a_name_that_is_there)
{
    const char *path =
        textf("/u?size=1000&disposition=%s", percent_encoded("attachment; filename=\"taken.iso\""));
    file_write(textf("%s/taken.iso", directory), "mine");
    const char *id = v1_add(&service, url_of(path), directory, NULL);
    v1_wait(&service, id, "FINISHED", SOON);
    ck_assert_str_eq(v1_get(&service, id, "name"), "taken-1.iso");
    _cleanup_free_ char *mine = file_read(textf("%s/taken.iso", directory));
    ck_assert_str_eq(mine, "mine");
}
END_TEST

/* A name that was given, and classic tasks, are not for the server to change. */
START_TEST(disposition_without_a_say)
{
    _cleanup_view_ struct task_view classic = {0};
    const char *path =
        textf("/u?size=1000&disposition=%s", percent_encoded("attachment; filename=\"other.iso\""));
    const char *id = v1_add(&service, url_of(path), directory, "\"name\": \"mine.iso\"");
    v1_wait(&service, id, "FINISHED", SOON);
    ck_assert_str_eq(v1_get(&service, id, "name"), "mine.iso");
    ck_assert_int_eq(add_task(&service, NULL, url_of(path), directory, &classic), 200);
    wait_state(&service, NULL, classic.id, "FINISHED", SOON);
    expect_file(textf("%s/u", directory), path, 0);
}
END_TEST

/* --- no server at all --- */

START_TEST(connection_refused)
{
    const char *id = v1_add(&service, "http://127.0.0.1:1/a", directory, NULL);
    ck_assert_str_eq(v1_wait_end(&service, id, SOON), "FAILED");
    ck_assert_str_eq(v1_get(&service, id, "error.code"), "connect");
    ck_assert_int_eq(v1_number(&service, id, "attempts"), 4);
    expect_no_file(id);
    expect_service_goes_on();
}
END_TEST

/* Ten of them at once, and a good one that is not held up by more than a worker's turn. */
START_TEST(all_at_once)
{
    const char *bad[] = {"/silent%u?do=silent", "/stall%u?do=stall", "/loop%u?do=loop",
                         "/reset%u?do=reset",   "/flood%u?do=flood", "/half%u?do=half-head"};
    const char *ids[30];
    for (unsigned i = 0; i < 30; i++) {
        const char *pattern = bad[i % 6];
        const char *mark = strstr(pattern, "%u");
        const char *path = textf("%.*s%u%s", (int)(mark - pattern), pattern, i, mark + 2);
        ids[i] = v1_add(&service, url_of(path), directory, NULL);
    }
    const char *good = v1_add(&service, url_of("/fine?size=5000"), directory, NULL);
    v1_wait(&service, good, "FINISHED", 2 * SOON);
    for (unsigned i = 0; i < 30; i++)
        ck_assert_str_eq(v1_wait_end(&service, ids[i], 2 * SOON), "FAILED");
    expect_file(textf("%s/fine", directory), "/fine?size=5000", 0);
    ck_assert_int_eq(read_count(&service, "FAILED"), 30);
    expect_service_goes_on();
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("hostile");
    TCase *tcase = tcase_create("origins");
    tcase_set_timeout(tcase, 180);
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_loop_test(tcase, breach_of_rules, 0, sizeof(breaches) / sizeof(*breaches));
    tcase_add_loop_test(tcase, disposition_attack, 0, sizeof(dispositions) / sizeof(*dispositions));
    tcase_add_test(tcase, disposition_too_long);
    tcase_add_test(tcase, disposition_of_a_name_that_is_there);
    tcase_add_test(tcase, disposition_without_a_say);
    tcase_add_test(tcase, connection_refused);
    tcase_add_test(tcase, all_at_once);
    suite_add_tcase(s, tcase);
    return s;
}

int main(void)
{
    return harness_main(suite());
}
