/*
 * Who is at the other end, when it changes while we ask: the kernel is asked with send(2), and the
 * wrapped one here has the peer's port change hands just before.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include "http/peer.h"
#include "tap.h"

#define BOB   51002
#define ALICE 51001

static int orders[2][2]; /* pipes to bob and alice */
static int reports[2];   /* from both */
static bool swap;

ssize_t __real_send(int fd, const void *data, size_t len, int flags);
ssize_t __wrap_send(int fd, const void *data, size_t len, int flags);

static void order(int whom)
{
    char done;
    ck_assert_int_eq(write(orders[whom][1], "x", 1), 1);
    ck_assert_int_eq(read(reports[0], &done, 1), 1);
}

ssize_t __wrap_send(int fd, const void *data, size_t len, int flags)
{
    if (swap) {
        order(0); /* bob resets his connection, */
        order(1); /* alice connects from its port */
        swap = false;
    }
    return __real_send(fd, data, len, flags);
}

static struct sockaddr_in loopback(in_port_t port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = port, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

/* A child that is `uid`, connects from `from` to `to` when told, and resets that when told again.
 */
static pid_t start_peer(int whom, uid_t uid, in_port_t from, in_port_t to)
{
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    char told;
    int on = 1;
    struct linger reset = {.l_onoff = 1};
    struct sockaddr_in own = loopback(from), service = loopback(to);
    if (setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0 ||
        read(orders[whom][0], &told, 1) != 1)
        _exit(1);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&own, sizeof own) < 0 ||
        connect(fd, (struct sockaddr *)&service, sizeof service) < 0)
        _exit(2);
    if (write(reports[1], "x", 1) != 1 || read(orders[whom][0], &told, 1) != 1)
        _exit(3);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    close(fd);
    (void)!write(reports[1], "x", 1);
    pause();
    _exit(0);
}

static int listen_anywhere(in_port_t *ret_port)
{
    struct sockaddr_in address = loopback(0);
    socklen_t len = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    ck_assert_int_eq(listen(fd, 8), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    *ret_port = address.sin_port;
    return fd;
}

START_TEST(a_port_that_changes_hands_vouches_for_nobody)
{
    in_port_t to, from;
    int listener = listen_anywhere(&to);
    close(listen_anywhere(&from)); /* free now */
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(pipe(orders[i]), 0);
    ck_assert_int_eq(pipe(reports), 0);
    pid_t bob = start_peer(0, BOB, from, to), alice = start_peer(1, ALICE, from, to);

    struct peers *peers;
    uid_t uid = 0;
    ck_assert_int_eq(peers_create(&peers), 0);
    order(0);
    int connection = accept(listener, NULL, NULL);
    ck_assert_int_ge(connection, 0);
    ck_assert_int_eq(peers_uid(peers, connection, &uid), 0);
    ck_assert_uint_eq(uid, BOB);

    swap = true;
    uid = 0;
    ck_assert_int_eq(peers_uid(peers, connection, &uid), -ENOENT);
    ck_assert_uint_eq(uid, 0);
    ck_assert(!swap);

    peers_destroy(peers);
    kill(bob, SIGKILL);
    kill(alice, SIGKILL);
    waitpid(bob, NULL, 0);
    waitpid(alice, NULL, 0);
}
END_TEST

static Suite *suite(void)
{
    Suite *peer = suite_create("peer");
    TCase *tcase = tcase_create("hands");
    tcase_add_test(tcase, a_port_that_changes_hands_vouches_for_nobody);
    suite_add_tcase(peer, tcase);
    return peer;
}

int main(void)
{
    if (getuid() != 0) {
        puts("1..0 # SKIP two users are needed, and only root can be them");
        return 0;
    }
    return tap_main(suite());
}
