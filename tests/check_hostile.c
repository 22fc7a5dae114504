/* The hostile origin itself: a test that relies on it must be able to. */
#include <arpa/inet.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "hostile.h"
#include "tap.h"

static struct hostile *hostile;
static char answer[2000000]; /* of the last request, NUL-terminated */
static const char *body;
static size_t body_length;
static bool was_reset;

static void set_up(void)
{
    ck_assert_int_eq(hostile_start(0, &hostile), 0);
}

static void tear_down(void)
{
    hostile_stop(hostile);
}

static void ask(const char *target, const char *headers)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)hostile_port(hostile)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    char request[1024];
    size_t len = 0;
    ssize_t n;
    _cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    int size =
        snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: x\r\n%s\r\n", target, headers);
    ck_assert_int_eq(send(fd, request, (size_t)size, MSG_NOSIGNAL), size);
    while ((n = recv(fd, answer + len, sizeof(answer) - 1 - len, 0)) > 0)
        len += (size_t)n;
    was_reset = n < 0;
    answer[len] = '\0';
    body = strstr(answer, "\r\n\r\n");
    body = body ? body + 4 : answer + len;
    body_length = len - (size_t)(body - answer);
}

static void expect_head(const char *text)
{
    ck_assert_msg(strstr(answer, text) && strstr(answer, text) < body, "no \"%s\" in %.400s", text,
                  answer);
}

static void expect_body(const char *target, unsigned version, uint64_t first, size_t len)
{
    _cleanup_free_ char *want = malloc(len + 1);
    ck_assert_uint_eq(hostile_fill(target, version, first, want, len), len);
    ck_assert_uint_eq(body_length, len);
    ck_assert_mem_eq(body, want, len);
}

START_TEST(good_server)
{
    ask("/a?size=50000", "");
    expect_head("HTTP/1.1 200");
    expect_head("Content-Length: 50000\r\n");
    expect_head("ETag: \"");
    expect_head("Last-Modified: ");
    expect_body("/a?size=50000", 0, 0, 50000);
    ask("/b?size=50000", "");
    char other[50000];
    hostile_fill("/a?size=50000", 0, 0, other, sizeof(other));
    ck_assert_mem_ne(body, other, sizeof(other));
}
END_TEST

START_TEST(ranges)
{
    char if_range[128];
    ask("/a?size=50000", "Range: bytes=30000-\r\n");
    expect_head("HTTP/1.1 206");
    expect_head("Content-Range: bytes 30000-49999/50000\r\n");
    expect_body("/a?size=50000", 0, 30000, 20000);
    const char *etag = strstr(answer, "ETag: ") + 6;
    snprintf(if_range, sizeof(if_range), "Range: bytes=10-19\r\nIf-Range: %.*s\r\n",
             (int)strcspn(etag, "\r"), etag);
    ask("/a?size=50000", if_range);
    expect_head("Content-Range: bytes 10-19/50000\r\n");
    expect_body("/a?size=50000", 0, 10, 10);
    ask("/a?size=50000", "Range: bytes=10-\r\nIf-Range: \"other\"\r\n");
    expect_head("HTTP/1.1 200");
    ask("/a?size=50000", "Range: bytes=50000-\r\n");
    expect_head("HTTP/1.1 416");
    expect_head("Content-Range: bytes */50000\r\n");
}
END_TEST

START_TEST(counting)
{
    struct hostile_count count;
    ask("/a?size=500000&do=reset&at=300000&times=1", "");
    ck_assert_uint_le(body_length, 300000);
    ck_assert(was_reset || body_length < 500000);
    ask("/a?size=500000&do=reset&at=300000&times=1", "Range: bytes=200000-\r\n");
    ck_assert_uint_eq(body_length, 300000);
    hostile_read(hostile, "/a", &count);
    ck_assert_uint_eq(count.requests, 2);
    ck_assert_uint_eq(count.sent, 600000);
    ck_assert_uint_eq(count.again, 100000);
    ck_assert_uint_eq(count.excused, 300000 + 65536);
}
END_TEST

START_TEST(excused_is_what_came_lately)
{
    struct hostile_count count;
    ask("/a?size=300000&rate=100000", "");
    ask("/a?size=300000", "Range: bytes=299999-\r\n");
    hostile_read(hostile, "/a", &count);
    ck_assert_uint_ge(count.excused, 140000 + 65536);
    ck_assert_uint_le(count.excused, 160000 + 65536);
    ck_assert_uint_eq(count.ranges, 1);
    ck_assert_int_ge(count.last_at - count.first_at, 2900);
}
END_TEST

START_TEST(versions)
{
    const char *target = "/a?size=5000&changes=content+size+etag";
    ask(target, "");
    expect_body(target, 0, 0, 5000);
    ask(target, "");
    expect_body(target, 1, 0, 6000);
}
END_TEST

START_TEST(ends)
{
    ask("/a?size=5000&do=cut&at=1000", "");
    expect_body("/a?size=5000", 0, 0, 1000);
    ask("/c?size=5000&do=chunked", "");
    ck_assert_str_eq(body + body_length - 5, "0\r\n\r\n");
    ask("/c?size=5000&do=chunk-unended", "");
    ck_assert_str_ne(body + body_length - 5, "0\r\n\r\n");
    ask("/c?size=5000&do=two-lengths", "");
    expect_head("Content-Length: 5000\r\n");
    expect_head("Content-Length: 2500\r\n");
    ask("/c?do=no-such-thing", "");
    expect_head("HTTP/1.1 501");
}
END_TEST

START_TEST(bomb)
{
    ask("/a?size=20000&do=gzip", "");
    expect_head("Content-Encoding: gzip\r\n");
    expect_body("/a?size=20000&do=gzip", 0, 0, 20000);
    ck_assert_mem_eq(body, "\x1f\x8b\x08", 3);
    ck_assert_mem_eq(body + 200, body + 213, 13); /* the same few bits again and again */
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("hostile origin");
    TCase *tcase = tcase_create("origin");
    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, good_server);
    tcase_add_test(tcase, ranges);
    tcase_add_test(tcase, counting);
    tcase_add_test(tcase, excused_is_what_came_lately);
    tcase_add_test(tcase, versions);
    tcase_add_test(tcase, ends);
    tcase_add_test(tcase, bomb);
    suite_add_tcase(suite, tcase);
    return tap_main(suite);
}
