#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "http/acceptor.h"
#include "tap.h"

#define LISTENERS 2
#define CLIENTS   100 /* more than one burst */

static struct listener items[LISTENERS];
static const struct listeners listeners = {.count = LISTENERS, .items = items};
static struct sockaddr_un addresses[LISTENERS];
static struct acceptor *acceptor;

static struct {
    atomic_uint room; /* connections that may still be taken */
    atomic_uint taken[LISTENERS];
} server;

static bool has_room(void *data)
{
    ck_assert_ptr_eq(data, &server);
    return server.room > 0;
}

static void take(void *data, size_t index, int socket, const struct sockaddr *address,
                 socklen_t len)
{
    ck_assert_ptr_eq(data, &server);
    ck_assert(address->sa_family == AF_UNIX && len >= sizeof(sa_family_t));
    ck_assert(fcntl(socket, F_GETFL) & O_NONBLOCK);
    ck_assert(fcntl(socket, F_GETFD) & FD_CLOEXEC);
    server.room--;
    server.taken[index]++;
    close(socket);
}

static void set_up(void)
{
    static const struct acceptor_calls calls = {.has_room = has_room, .take = take};
    for (size_t i = 0; i < LISTENERS; i++) {
        socklen_t len = sizeof addresses[i];
        items[i].socket = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        addresses[i] = (struct sockaddr_un){.sun_family = AF_UNIX};
        /* a name of the kernel's choice, in no file system */
        ck_assert_int_eq(
            bind(items[i].socket, (struct sockaddr *)&addresses[i], sizeof(sa_family_t)), 0);
        ck_assert_int_eq(listen(items[i].socket, 2 * CLIENTS), 0);
        ck_assert_int_eq(getsockname(items[i].socket, (struct sockaddr *)&addresses[i], &len), 0);
    }
    server.room = 1000000;
    ck_assert_int_eq(acceptor_create(&listeners, &calls, &server, &acceptor), 0);
}

static void tear_down(void)
{
    acceptor_destroy(acceptor);
    acceptor_destroy(NULL);
    for (size_t i = 0; i < LISTENERS; i++)
        close(items[i].socket);
}

static int connect_to(size_t index)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(fd, 0);
    socklen_t len = sizeof(sa_family_t) + 6; /* unix(7), Autobind feature */
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&addresses[index], len), 0);
    return fd;
}

static bool is_taken(int fd, int timeout)
{
    struct pollfd polled = {.fd = fd, .events = POLLIN};
    return poll(&polled, 1, timeout) == 1; /* take() has closed it */
}

START_TEST(all_are_taken)
{
    int clients[CLIENTS];
    for (size_t i = 0; i < CLIENTS; i++)
        clients[i] = connect_to(i % LISTENERS);
    for (size_t i = 0; i < CLIENTS; i++) {
        ck_assert(is_taken(clients[i], 10000));
        close(clients[i]);
    }
    ck_assert_uint_eq(server.taken[0], CLIENTS / 2);
    ck_assert_uint_eq(server.taken[1], CLIENTS / 2);
}
END_TEST

START_TEST(without_room_they_wait)
{
    server.room = 1;
    int first = connect_to(0);
    ck_assert(is_taken(first, 10000));
    int second = connect_to(0), third = connect_to(1);
    ck_assert(!is_taken(second, 250));
    ck_assert(!is_taken(third, 0));
    server.room = 2;
    ck_assert(is_taken(second, 10000) && is_taken(third, 10000));
    close(first);
    close(second);
    close(third);
}
END_TEST

/* It goes on by itself when there are descriptors again. */
START_TEST(without_descriptors_they_wait)
{
    struct rlimit limit, none;
    int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    getrlimit(RLIMIT_NOFILE, &limit);
    none = (struct rlimit){.rlim_cur = (rlim_t)client + 1, .rlim_max = limit.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    ck_assert_int_eq(connect(client, (struct sockaddr *)&addresses[0], sizeof(sa_family_t) + 6), 0);
    ck_assert(!is_taken(client, 250));
    ck_assert_uint_eq(server.taken[0], 0);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    ck_assert(is_taken(client, 10000));
    close(client);
}
END_TEST

START_TEST(nothing_is_taken_after_the_end)
{
    acceptor_destroy(acceptor);
    acceptor = NULL;
    int client = connect_to(0);
    ck_assert(!is_taken(client, 250));
    ck_assert_uint_eq(server.taken[0], 0);
    close(client);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("acceptor");
    TCase *tests = tcase_create("acceptor");
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, all_are_taken);
    tcase_add_test(tests, without_room_they_wait);
    tcase_add_test(tests, without_descriptors_they_wait);
    tcase_add_test(tests, nothing_is_taken_after_the_end);
    suite_add_tcase(suite, tests);
    return tap_main(suite);
}
