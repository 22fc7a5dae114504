/* Mirrors: the next URL when one fails, with what is there already if that can be. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "harness.h"
#include "hostile.h"
#include "v1.h"

#define SOON 30000 /* ms */
#define SIZE 600000
#define HALF 300000

static struct service service;
static struct hostile *first, *second, *third;

static void set_up(void)
{
    ck_assert_int_eq(hostile_start(0, &first), 0);
    ck_assert_int_eq(hostile_start(0, &second), 0);
    ck_assert_int_eq(hostile_start(0, &third), 0);
    service_init(&service);
    service_start(&service, "--retry-wait", "50ms", "--retry-max-wait", "50ms", NULL);
}

static void tear_down(void)
{
    service_release(&service);
    hostile_stop(third);
    hostile_stop(second);
    hostile_stop(first);
}

static const char *at(struct hostile *hostile, const char *path)
{
    return textf("http://127.0.0.1:%u%s", hostile_port(hostile), path);
}

static const char *mirrors(const char *one, const char *two)
{
    return two ? textf("\"mirrors\": [\"%s\", \"%s\"]", one, two)
               : textf("\"mirrors\": [\"%s\"]", one);
}

static struct hostile_count count_of(struct hostile *hostile, const char *path)
{
    struct hostile_count count;
    hostile_read(hostile, path, &count);
    return count;
}

static void expect(const char *id, const char *path, const char *value)
{
    const char *is = v1_get(&service, id, path);
    ck_assert_msg(is ? value && strcmp(is, value) == 0 : !value, "%s is %s, not %s", path,
                  is ? is : "null", value ? value : "null");
}

static const char *checksum_of(const char *path, unsigned version)
{
    static char bytes[SIZE];
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned len;
    ck_assert_uint_eq(hostile_fill(path, version, 0, bytes, SIZE), SIZE);
    ck_assert_int_eq(EVP_Digest(bytes, SIZE, digest, &len, EVP_sha256(), NULL), 1);
    char hex[2 * EVP_MAX_MD_SIZE + 1] = "";
    for (unsigned i = 0; i < len; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    return textf("\"checksum\": \"sha-256=%s\"", hex);
}

static void expect_file(const char *id, const char *path)
{
    ck_assert_int_eq(hostile_expect_file(v1_get(&service, id, "dest"), path, 0), 0);
}

/* --- when --- */

/* Where another attempt would not help, at once; elsewhere when the retries are used up. */
static const struct {
    const char *path; /* a whole URL: as it is */
    unsigned requests, attempts; /* attempts: the one at the mirror too */
} failures[] = {
    {"/f?size=600000&status=404",     1,  2},
    {"/f?size=600000&status=503",     3,  4},
    {"/f?size=600000&do=reset-early", 3,  4},
    {"/f?size=600000&do=loop",        21, 2},
    {"/f?size=600000&do=junk-length", 1,  2},
    {"/other?size=600000",            1,  2}, /* by its checksum */
    {"http://nowhere.invalid/f",      0,  2},
    {"http://127.0.0.1:1/f",          0,  4},
};

START_TEST(the_next_one_is_tried)
{
    const char *path = failures[_i].path, *good = "/f?size=600000";
    const char *more =
        textf("%s, %s, \"retries\": 2", mirrors(at(second, good), NULL), checksum_of(good, 0));
    int64_t began = harness_now();
    const char *id = v1_add(&service, path[0] == '/' ? at(first, path) : path, NULL, more);
    v1_wait(&service, id, "FINISHED", SOON);
    ck_assert_int_lt(harness_now() - began, 4000);
    expect_file(id, good);
    expect(id, "error", NULL);
    expect(id, "attempts", textf("%u", failures[_i].attempts));
    ck_assert_uint_eq(count_of(second, good).requests, 1);
    if (path[0] == '/')
        ck_assert_uint_eq(count_of(first, path).requests, failures[_i].requests);
}
END_TEST

START_TEST(it_fails_when_all_did)
{
    const char *one = "/f?status=404", *two = "/f?status=403",
               *three = "/f?size=600000&status=410&times=1";
    const char *id =
        v1_add(&service, at(first, one), NULL, mirrors(at(second, two), at(third, three)));
    v1_wait(&service, id, "FAILED", SOON);
    expect(id, "error.code", "http");
    const char *message = v1_get(&service, id, "error.message");
    const char *last = strstr(message, "; mirror 1: ");
    ck_assert_msg(strstr(message, "404") && last && strstr(last, "403") &&
                      strstr(last, "; mirror 2: ") && strstr(last, "410"),
                  "%s", message);
    v1_verb(&service, id, "retry", 200); /* with the first again */
    v1_wait(&service, id, "FINISHED", SOON);
    ck_assert_uint_eq(count_of(first, one).requests, 2);
    ck_assert_uint_eq(count_of(second, two).requests, 2);
    ck_assert_uint_eq(count_of(third, three).requests, 2);
}
END_TEST

/* --- what is there --- */

/* Half comes from the first one, which has it no more then. */
static const struct {
    const char *more_of_first, *more_of_second;
    bool with_checksum, goes_on;
} halves[] = {
    {"",           "",           false, true }, /* the date is the same */
    {"",           "&etag=none", false, true },
    {"&date=none", "&date=none", false, false}, /* an ETag says nothing */
    {"&date=none", "&date=none", true,  true }, /* the checksum will tell */
    {"",           "&date=none", true,  true },
    {"",           "&ranges=no", true,  false},
};

START_TEST(bytes_are_kept_if_they_can_be)
{
    const char *one = textf("/f?size=%d%s&do=reset&at=%d&times=1&then=close-early", SIZE,
                            halves[_i].more_of_first, HALF);
    const char *two = textf("/f?size=%d%s", SIZE, halves[_i].more_of_second);
    const char *more = textf("%s%s%s, \"retries\": 1", mirrors(at(second, two), NULL),
                             halves[_i].with_checksum ? ", " : "",
                             halves[_i].with_checksum ? checksum_of(two, 0) : "");
    const char *id = v1_add(&service, at(first, one), NULL, more);
    v1_wait(&service, id, "FINISHED", SOON);
    expect_file(id, two);
    struct hostile_count count = count_of(second, two);
    ck_assert_uint_eq(count.ranges, halves[_i].goes_on);
    if (halves[_i].goes_on)
        ck_assert_uint_le(count.sent, SIZE - HALF + 65536 + 65536 /* a reset loses some */);
}
END_TEST

/* What the first one sent was not the file, which shows in the end: the other is not to blame. */
START_TEST(bytes_of_two_are_not_the_seconds_fault)
{
    const char *one = textf("/f?size=%d&do=reset&at=%d&times=1&then=reset-early", SIZE, HALF);
    const char *two = textf("/f?size=%d", SIZE);
    const char *more = textf("%s, %s, \"retries\": 1, \"name\": \"f\"",
                             mirrors(at(second, two), NULL), checksum_of(two, 0));
    service_stop(&service);
    service_start(&service, "--retry-wait", "10s", NULL);
    const char *id = v1_add(&service, at(first, one), NULL, more);
    v1_wait_reason(&service, id, "retry", SOON);
    v1_verb(&service, id, "hold", 200);
    const char *dest = v1_get(&service, id, "dest");
    int fd = open(textf("%s.%.8s.part", dest, id), O_WRONLY | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(pwrite(fd, "bad", 3, 10), 3);
    close(fd);
    service_stop(&service);
    service_start(&service, "--retry-wait", "50ms", NULL);
    v1_verb(&service, id, "release", 200);
    v1_wait(&service, id, "FINISHED", SOON);
    expect_file(id, two);
    struct hostile_count count = count_of(second, two);
    ck_assert_uint_eq(count.requests, 2);
    ck_assert_uint_eq(count.ranges, 1);
}
END_TEST

/* --- for whom --- */

/* Takes requests on a port of its own, and answers 404. */
static int listen_somewhere(unsigned *ret_port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, len), 0);
    ck_assert_int_eq(listen(fd, 8), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    *ret_port = ntohs(address.sin_port);
    return fd;
}

static const char *take_request(int listener)
{
    static const char answer[] =
        "HTTP/1.1 404 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    char request[4096] = "";
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    for (size_t got = 0; !strstr(request, "\r\n\r\n");) {
        ssize_t n = read(fd, request + got, sizeof request - 1 - got);
        ck_assert_int_gt(n, 0);
        got += (size_t)n;
        request[got] = '\0';
    }
    ck_assert_int_eq(write(fd, answer, sizeof answer - 1), sizeof answer - 1);
    close(fd);
    return textf("%s", request);
}

START_TEST(secrets_stay_with_the_first_server)
{
    unsigned own, other;
    int own_fd = listen_somewhere(&own), other_fd = listen_somewhere(&other);
    const char *more =
        textf("\"mirrors\": [\"http://127.0.0.1:%u/f\", \"http://127.0.0.1:%u/g\"], "
              "\"headers\": {\"X-Key\": \"open\"}, \"username\": \"u\", \"password\": \"p\"",
              other, own);
    const char *id = v1_add(&service, textf("http://127.0.0.1:%u/f", own), NULL, more);
    const char *requests[] = {take_request(own_fd), take_request(other_fd), take_request(own_fd)};
    for (unsigned i = 0; i < 3; i++) {
        bool is_own = i != 1;
        ck_assert_msg(!strstr(requests[i], "X-Key: open") == !is_own, "%s", requests[i]);
        ck_assert_msg(!strstr(requests[i], "Authorization: ") == !is_own, "%s", requests[i]);
    }
    v1_wait(&service, id, "FAILED", SOON);
    close(own_fd);
    close(other_fd);
}
END_TEST

/* It is the mirror's host that it waits for, also after a kill. */
START_TEST(patience_is_the_mirrors)
{
    const char *asked =
        v1_add(&service, at(second, "/p?status=503&times=1&retry-after=4&size=100"), NULL, NULL);
    v1_wait_reason(&service, asked, "host", SOON);
    int64_t began = harness_now();
    const char *id = v1_add(&service, at(first, "/f?status=404"), NULL,
                            mirrors(at(second, "/f?size=1000"), NULL));
    v1_wait_reason(&service, id, "host", SOON);
    ck_assert_ptr_nonnull(v1_get(&service, id, "error.message"));
    service_kill_all(&service);
    service_start(&service, NULL);
    expect(id, "waiting_for.reason", "host");
    const char *other = v1_add(&service, at(first, "/g?size=1000"), NULL, NULL);
    v1_wait(&service, other, "FINISHED", SOON);
    ck_assert_int_lt(harness_now() - began, 3500);
    v1_wait(&service, id, "FINISHED", SOON);
    ck_assert_uint_eq(count_of(first, "/f").requests, 1); /* not once more */
    ck_assert_uint_eq(count_of(second, "/f").requests, 1);
    ck_assert_int_ge(harness_now() - began, 3000);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("mirrors");
    TCase *tcase = tcase_create("mirrors");
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_set_timeout(tcase, 120);
    tcase_add_loop_test(tcase, the_next_one_is_tried, 0, sizeof failures / sizeof *failures);
    tcase_add_test(tcase, it_fails_when_all_did);
    tcase_add_loop_test(tcase, bytes_are_kept_if_they_can_be, 0, sizeof halves / sizeof *halves);
    tcase_add_test(tcase, bytes_of_two_are_not_the_seconds_fault);
    tcase_add_test(tcase, secrets_stay_with_the_first_server);
    tcase_add_test(tcase, patience_is_the_mirrors);
    suite_add_tcase(suite, tcase);
    return harness_main(suite);
}
