#include "sse.h"

#include <check.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define TEXT_MAX (64U << 20)

static long now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* False: nothing came in time, or the connection is closed. */
static bool receive(struct sse *sse, int timeout)
{
    char piece[16384];
    struct pollfd event = {.fd = sse->fd, .events = POLLIN};
    if (sse->closed || poll(&event, 1, timeout) <= 0)
        return false;
    ssize_t n = recv(sse->fd, piece, sizeof piece, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN)
        return true;
    sse->closed = n <= 0;
    if (n > 0)
        ck_assert_int_eq(buf_add(&sse->raw, piece, (size_t)n), 0);
    return n > 0;
}

/* RFC 9112, 7.1 */
static void decode(struct sse *sse)
{
    while (!sse->ended) {
        const char *at = sse->raw.data + sse->decoded, *end = strstr(at, "\r\n");
        if (!end)
            return;
        char *number_end;
        size_t len = strtoul(at, &number_end, 16);
        ck_assert_msg(number_end == end, "no chunk: %.40s", at);
        size_t whole = (size_t)(end + 2 - at) + len + 2;
        if (sse->raw.len - sse->decoded < whole)
            return;
        ck_assert_int_eq(buf_add(&sse->text, end + 2, len), 0);
        ck_assert_int_eq(memcmp(end + 2 + len, "\r\n", 2), 0);
        sse->decoded += whole;
        sse->ended = len == 0;
    }
}

void sse_begin(struct sse *sse, int fd, const char *request)
{
    *sse = (struct sse){.fd = fd};
    buf_init(&sse->raw, TEXT_MAX);
    buf_init(&sse->text, TEXT_MAX);
    buf_add(&sse->text, "", 0);
    size_t len = strlen(request);
    ck_assert_int_eq(send(fd, request, len, MSG_NOSIGNAL), (ssize_t)len);
    const char *end = NULL;
    while (!end && receive(sse, 10000))
        end = sse->raw.data ? strstr(sse->raw.data, "\r\n\r\n") : NULL;
    ck_assert_msg(end && strncmp(sse->raw.data, "HTTP/1.1 200 ", 13) == 0 &&
                      strstr(sse->raw.data, "\r\nContent-Type: text/event-stream\r\n"),
                  "no stream of events: %s", sse->raw.data ? sse->raw.data : "nothing");
    sse->decoded = (size_t)(end + 4 - sse->raw.data);
}

static void take_line(struct sse_event *event, size_t *comments, char *line)
{
    if (strncmp(line, "id: ", 4) == 0)
        event->id = line + 4;
    else if (strncmp(line, "event: ", 7) == 0)
        event->name = line + 7;
    else if (strncmp(line, "data: ", 6) == 0)
        event->data = line + 6;
    else if (*line == ':')
        ++*comments;
    else
        ck_assert_msg(strncmp(line, "retry: ", 7) == 0, "not of an event: %s", line);
}

/* The next block that ends with an empty line; false: it is not whole yet. */
static bool take_block(struct sse *sse, struct sse_event *ret_event)
{
    struct sse_event event = {0};
    char *at = sse->text.data ? sse->text.data + sse->taken : NULL;
    char *end = at ? strstr(at, "\n\n") : NULL;
    if (!end)
        return false;
    sse->taken += (size_t)(end + 2 - at);
    *end = '\0';
    for (char *line; (line = strsep(&at, "\n"));)
        take_line(&event, &sse->comments, line);
    *ret_event = event;
    return true;
}

bool sse_next(struct sse *sse, int timeout, struct sse_event *ret_event)
{
    long until = now_ms() + timeout;
    for (;;) {
        struct sse_event event;
        while (take_block(sse, &event)) {
            if (!event.name) /* a comment */
                continue;
            ck_assert_ptr_nonnull(event.id);
            ck_assert_ptr_nonnull(event.data);
            *ret_event = event;
            return true;
        }
        decode(sse);
        if (sse->text.data && strstr(sse->text.data + sse->taken, "\n\n"))
            continue;
        long left = until - now_ms();
        if (!receive(sse, left > 0 ? (int)left : 0))
            return false;
    }
}

const char *sse_find(struct sse *sse, int timeout, const char *name, struct sse_event *ret_event)
{
    long until = now_ms() + timeout;
    struct sse_event event;
    for (;;) {
        long left = until - now_ms();
        ck_assert_msg(left > 0 && sse_next(sse, (int)left, &event), "no event %s within %d ms%s",
                      name, timeout, sse->closed ? ": the stream is over" : "");
        if (strcmp(event.name, name) == 0)
            break;
    }
    if (ret_event)
        *ret_event = event;
    return event.data;
}

void sse_end(struct sse *sse)
{
    if (sse->fd >= 0)
        close(sse->fd);
    buf_release(&sse->raw);
    buf_release(&sse->text);
    *sse = (struct sse){.fd = -1};
}
