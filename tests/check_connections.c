/*
 * The table of open connections and the shares of bodies: pure, with a clock of our own. The
 * connections are pairs of sockets; who is shut down reads the end at once.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "http/bodies.h"
#include "http/connections.h"
#include "tap.h"

#define MAX       8 /* connections; beyond it, some that are told to go may be there */
#define HALF      (MAX / 2 + 1)
#define MANY      (CONNECTIONS_PER_ADDRESS + 16)
#define WAITS     20000         /* ms */
#define ELSEWHERE "2001:db8::1" /* whose share is larger than MAX */

static _Atomic int64_t now;
static struct connections *connections;

struct client {
    int ours, theirs;
    struct connection *connection;
};

static int64_t clock_now(void)
{
    return now;
}

static void set_up(void)
{
    now = 1000;
    ck_assert_int_eq(connections_create(MAX, clock_now, &connections), 0);
}

static void tear_down(void)
{
    connections_destroy(connections);
    connections_destroy(NULL);
}

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

/* By how it is written; "unix" for a unix socket. */
static union address address_of(const char *text)
{
    union address address = {.any.sa_family = AF_UNIX};
    if (strchr(text, ':')) {
        address.v6.sin6_family = AF_INET6;
        ck_assert_int_eq(inet_pton(AF_INET6, text, &address.v6.sin6_addr), 1);
    } else if (strcmp(text, "unix") != 0) {
        address.v4.sin_family = AF_INET;
        ck_assert_int_eq(inet_pton(AF_INET, text, &address.v4.sin_addr), 1);
    }
    return address;
}

static bool comes(struct client *client, const char *from)
{
    int pair[2];
    union address address = address_of(from);
    *client = (struct client){-1, -1, NULL};
    if (!connections_admit(connections, &address.any))
        return false;
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
    client->ours = pair[0];
    client->theirs = pair[1];
    client->connection = connections_add(connections, pair[0], &address.any);
    ck_assert_ptr_nonnull(client->connection);
    return true;
}

static void all_come(struct client *clients, unsigned count, const char *from)
{
    for (unsigned i = 0; i < count; i++) {
        ck_assert_msg(comes(&clients[i], from), "number %u from %s", i, from);
        now++;
    }
}

static bool was_cut(const struct client *client)
{
    char byte;
    return recv(client->theirs, &byte, 1, 0) == 0;
}

static void leaves(struct client *client)
{
    if (!client->connection)
        return;
    connections_remove(connections, client->connection);
    close(client->ours);
    close(client->theirs);
    *client = (struct client){-1, -1, NULL};
}

static void all_leave(struct client *clients, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        leaves(&clients[i]);
    ck_assert_uint_eq(connections_count(connections), 0);
}

static void goes_on(struct client *client, enum connection_phase phase, uint64_t bytes)
{
    connections_enter(connections, client->connection, phase, bytes);
}

/* Nobody else than these was cut. */
static void expect_cut(const struct client *clients, unsigned count, unsigned first, unsigned last)
{
    for (unsigned i = 0; i < count; i++)
        if (clients[i].connection)
            ck_assert_msg(was_cut(&clients[i]) == (i >= first && i <= last), "number %u", i);
}

#define NONE 1, 0

/* --- deadlines --- */

START_TEST(each_phase_has_its_deadline)
{
    static const struct {
        enum connection_phase phase;
        uint64_t bytes;
        int64_t time;
    } cases[] = {
        {CONNECTION_IDLE,   0,          CONNECTION_IDLE_MS                     },
        {CONNECTION_BODY,   0,          CONNECTION_BODY_MS                     },
        {CONNECTION_BODY,   65536,      CONNECTION_BODY_MS + 4096              },
        {CONNECTION_BODY,   8 << 20,    CONNECTION_BODY_MS + (8 << 20) / 16    },
        {CONNECTION_BODY,   UINT64_MAX, CONNECTION_BODY_MS + (int64_t)INT32_MAX},
        {CONNECTION_ANSWER, 160000,     CONNECTION_ANSWER_MS + 10000           },
    };
    struct client client;
    ck_assert_int_eq(connections_expire(connections), -1);
    ck_assert(comes(&client, ELSEWHERE));
    ck_assert_int_eq(connections_expire(connections), CONNECTION_HEAD_MS);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        goes_on(&client, CONNECTION_WORK, 0);
        ck_assert_int_eq(connections_expire(connections), -1);
        goes_on(&client, cases[i].phase, cases[i].bytes);
        ck_assert_int_eq(connections_expire(connections), cases[i].time);
        now += 5;
        ck_assert_int_eq(connections_expire(connections), cases[i].time - 5);
        goes_on(&client, cases[i].phase, cases[i].bytes); /* no new time for the same */
        ck_assert_int_eq(connections_expire(connections), cases[i].time - 5);
    }
    ck_assert(!was_cut(&client));
    all_leave(&client, 1);
    ck_assert_int_eq(connections_expire(connections), -1);
}
END_TEST

START_TEST(over_its_time_it_is_cut)
{
    struct client clients[3];
    all_come(clients, 3, ELSEWHERE); /* 1 ms between two */
    goes_on(&clients[1], CONNECTION_WORK, 0);
    now += CONNECTION_HEAD_MS - 4;
    ck_assert_int_eq(connections_expire(connections), 1);
    expect_cut(clients, 3, NONE);
    now += 1;
    ck_assert_int_eq(connections_expire(connections), 2);
    expect_cut(clients, 3, 0, 0);
    goes_on(&clients[0], CONNECTION_WORK, 0); /* too late */
    now += 2;
    ck_assert_int_eq(connections_expire(connections), -1);
    ck_assert(was_cut(&clients[2]));
    now += INT32_MAX;
    ck_assert_int_eq(connections_expire(connections), -1); /* whoever waits for us stays */
    ck_assert(!was_cut(&clients[1]));
    ck_assert_uint_eq(connections_count(connections), 3); /* they are there until removed */
    all_leave(clients, 3);
}
END_TEST

static bool cut_by_the_thread(struct client *client)
{
    for (int waited = 0; waited < WAITS; waited += 10) {
        if (was_cut(client))
            return true;
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
    return false;
}

START_TEST(the_thread_sees_to_it)
{
    struct client clients[2];
    ck_assert_int_eq(connections_watch(connections), 0);
    all_come(clients, 2, ELSEWHERE);
    goes_on(&clients[1], CONNECTION_WORK, 0);
    now += CONNECTION_HEAD_MS;
    ck_assert(cut_by_the_thread(&clients[0]));
    ck_assert(!was_cut(&clients[1]));
    all_leave(clients, 2);
    ck_assert(comes(&clients[0], ELSEWHERE)); /* after a time without any */
    now += CONNECTION_HEAD_MS;
    ck_assert(cut_by_the_thread(&clients[0]));
    all_leave(clients, 1);
}
END_TEST

/* --- when it is full --- */

START_TEST(the_oldest_slow_one_makes_room)
{
    struct client clients[MAX], more[3];
    all_come(clients, MAX, ELSEWHERE);
    goes_on(&clients[0], CONNECTION_WORK, 0);
    goes_on(&clients[1], CONNECTION_BODY, 100);
    goes_on(&clients[2], CONNECTION_WORK, 0);
    goes_on(&clients[2], CONNECTION_IDLE, 0); /* the youngest of the slow ones */
    goes_on(&clients[3], CONNECTION_ANSWER, 100);
    ck_assert(comes(&more[0], ELSEWHERE));
    expect_cut(clients, MAX, 4, 4);
    leaves(&clients[4]);
    ck_assert(comes(&more[1], ELSEWHERE));
    expect_cut(clients, MAX, 5, 5);
    leaves(&clients[5]);
    goes_on(&more[0], CONNECTION_WORK, 0);
    goes_on(&more[1], CONNECTION_WORK, 0);
    goes_on(&clients[6], CONNECTION_WORK, 0);
    goes_on(&clients[7], CONNECTION_WORK, 0);
    ck_assert(comes(&more[2], ELSEWHERE));
    expect_cut(clients, MAX, 2, 2);
    for (unsigned i = 0; i < 3; i++)
        leaves(&more[i]);
    all_leave(clients, MAX);
}
END_TEST

START_TEST(bodies_and_answers_go_when_they_are_slow)
{
    struct client clients[MAX], more;
    all_come(clients, MAX, ELSEWHERE);
    for (unsigned i = 0; i < MAX; i++)
        goes_on(&clients[i], CONNECTION_WORK, 0);
    ck_assert(!comes(&more, ELSEWHERE)); /* all have to stay */
    goes_on(&clients[3], CONNECTION_ANSWER, 100);
    now += CONNECTION_SLOW_MS - 1;
    goes_on(&clients[1], CONNECTION_BODY, 100);
    ck_assert(!comes(&more, ELSEWHERE)); /* it may be a quick one */
    now += 1;
    ck_assert(comes(&more, ELSEWHERE));
    expect_cut(clients, MAX, 3, 3);
    leaves(&more);
    all_leave(clients, MAX);
}
END_TEST

/* A stream has no deadline, and goes only if there is no other way: the oldest one, which can come
 * again. */
START_TEST(streams_make_room_last)
{
    struct client clients[MAX], more[3];
    all_come(clients, MAX, ELSEWHERE);
    for (unsigned i = 0; i < MAX; i++)
        goes_on(&clients[i], i < 2 ? CONNECTION_STREAM : CONNECTION_WORK, 0);
    now += INT64_C(365) * 24 * 3600 * 1000;
    ck_assert_int_eq(connections_expire(connections), -1);
    goes_on(&clients[5], CONNECTION_ANSWER, 0);
    now += CONNECTION_SLOW_MS;
    ck_assert(comes(&more[0], ELSEWHERE));
    expect_cut(clients, MAX, 5, 5);
    goes_on(&more[0], CONNECTION_WORK, 0);
    leaves(&clients[5]);
    ck_assert(comes(&more[1], ELSEWHERE));
    expect_cut(clients, MAX, 0, 0);
    leaves(&clients[0]);
    ck_assert(comes(&more[2], ELSEWHERE));
    ck_assert(was_cut(&more[1])); /* without a head it is nothing yet */
    expect_cut(clients, MAX, NONE);
    for (unsigned i = 0; i < 3; i++)
        leaves(&more[i]);
    all_leave(clients, MAX);
}
END_TEST

/* Who was told to go has a descriptor still: of those there are few at once. */
START_TEST(descriptors_are_bounded)
{
    enum { FULL = 40, BEYOND = FULL + FULL / 2 + 1 };
    struct client clients[BEYOND + 1];
    connections_destroy(connections);
    ck_assert_int_eq(connections_create(FULL, clock_now, &connections), 0);
    all_come(clients, BEYOND, ELSEWHERE);
    expect_cut(clients, BEYOND, 0, BEYOND - FULL - 1);
    ck_assert(!comes(&clients[BEYOND], ELSEWHERE));
    leaves(&clients[0]);
    ck_assert(comes(&clients[BEYOND], ELSEWHERE));
    expect_cut(clients, BEYOND + 1, 1, BEYOND - FULL);
    all_leave(clients, BEYOND + 1);
}
END_TEST

START_TEST(small_limits_leave_half_to_downloads)
{
    ck_assert_uint_eq(connections_affordable(UINT64_MAX), CONNECTIONS_MAX);
    ck_assert_uint_eq(connections_affordable(524288), CONNECTIONS_MAX);
    ck_assert_uint_eq(connections_affordable(1024), 340); /* and 171 on their way out */
    ck_assert_uint_eq(connections_affordable(256), 84);
    ck_assert_uint_ge(connections_affordable(0), 1);
    for (uint64_t files = 4; files < 20000; files++) {
        unsigned max = connections_affordable(files);
        uint64_t all = max + max / 2 + 1;
        ck_assert_uint_le(max, CONNECTIONS_MAX);
        ck_assert_msg(all <= files / 2 || files - all >= 6512, "%lu", (unsigned long)files);
    }
}
END_TEST

static struct client admitted(const char *from)
{
    int pair[2];
    union address address = address_of(from);
    ck_assert(connections_admit(connections, &address.any));
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
    return (struct client){.ours = pair[0], .theirs = pair[1]};
}

/* Many are admitted before the first of them is there. */
START_TEST(those_on_their_way_are_counted)
{
    struct client clients[2 * MAX];
    union address address = address_of(ELSEWHERE);
    unsigned count = 0;
    for (; count < 2 * MAX && connections_admit(connections, &address.any); count++)
        ;
    ck_assert_uint_gt(count, MAX);
    ck_assert_uint_lt(count, 2 * MAX);
    connections_expire(connections);
    for (unsigned i = 0; i < count; i++) /* they were lost */
        clients[i] = admitted(ELSEWHERE);
    ck_assert(!connections_have_room(connections));
    ck_assert(!connections_admit(connections, &address.any));
    for (unsigned i = 0; i < count; i++)
        clients[i].connection = connections_add(connections, clients[i].ours, &address.any);
    expect_cut(clients, count, 0, count - MAX - 1);
    all_leave(clients, count);
}
END_TEST

START_TEST(an_address_that_hurries_has_its_share)
{
    static struct client clients[MANY];
    union address address = address_of("192.0.2.1");
    tear_down();
    ck_assert_int_eq(connections_create(2 * MANY, clock_now, &connections), 0);
    for (unsigned i = 0; i < MANY; i++)
        clients[i] = admitted("192.0.2.1");
    for (unsigned i = 0; i < MANY; i++)
        clients[i].connection = connections_add(connections, clients[i].ours, &address.any);
    expect_cut(clients, MANY, 0, MANY - CONNECTIONS_PER_ADDRESS - 1);
    all_leave(clients, MANY);
}
END_TEST

/* --- from one address --- */

START_TEST(an_address_has_its_share)
{
    struct client clients[MANY], other, more;
    connections_destroy(connections);
    ck_assert_int_eq(connections_create(4096, clock_now, &connections), 0);
    all_come(clients, CONNECTIONS_PER_ADDRESS, "192.0.2.1");
    ck_assert(comes(&other, "192.0.2.2"));
    ck_assert(comes(&more, "::ffff:192.0.2.1")); /* the same one */
    expect_cut(clients, CONNECTIONS_PER_ADDRESS, 0, 0);
    ck_assert(!was_cut(&other));
    leaves(&more);
    for (unsigned i = 1; i < CONNECTIONS_PER_ADDRESS; i++)
        goes_on(&clients[i], CONNECTION_WORK, 0);
    ck_assert(comes(&more, "192.0.2.1"));
    goes_on(&more, CONNECTION_WORK, 0);
    ck_assert(!comes(&clients[CONNECTIONS_PER_ADDRESS], "192.0.2.1"));
    expect_cut(clients, CONNECTIONS_PER_ADDRESS, 0, 0);
    leaves(&clients[5]);
    ck_assert(comes(&clients[5], "192.0.2.1"));
    leaves(&more);
    leaves(&other);
    all_leave(clients, CONNECTIONS_PER_ADDRESS);
}
END_TEST

/* Of many they have more than an address elsewhere; but nobody here takes all. */
START_TEST(users_of_this_machine_have_half)
{
    static const char *const peers[] = {"127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1",
                                        "unix"};
    struct client clients[MANY], other;
    connections_destroy(connections);
    ck_assert_int_eq(connections_create(4096, clock_now, &connections), 0);
    for (size_t i = 0; i < sizeof peers / sizeof *peers; i++) {
        all_come(clients, MANY, peers[i]);
        expect_cut(clients, MANY, NONE);
        all_leave(clients, MANY);
    }
    tear_down();
    ck_assert_int_eq(connections_create(MAX, clock_now, &connections), 0);
    for (size_t i = 0; i < sizeof peers / sizeof *peers; i++) {
        all_come(clients, HALF, peers[i]);
        for (unsigned n = 0; n < HALF; n++)
            goes_on(&clients[n], CONNECTION_WORK, 0); /* none of these has to go */
        bool in = comes(&clients[HALF], peers[i]);
        ck_assert_msg(!in || was_cut(&clients[HALF]), "one too many from %s", peers[i]);
        ck_assert(comes(&other, i < 4 ? "unix" : "::1"));
        ck_assert(!was_cut(&other));
        leaves(&other);
        all_leave(clients, HALF + 1);
    }
}
END_TEST

/* Against a plain model: counts, and who of an address goes. */
START_TEST(many_addresses_come_and_go)
{
    enum { PEERS = 200, ROUNDS = 20000 };
    static struct client clients[PEERS][4];
    const char *given = getenv("AUTODL_SEED");
    unsigned seed = given ? (unsigned)strtoul(given, NULL, 10) : (unsigned)time(NULL), open = 0;
    printf("# seed %u\n", seed);
    fflush(stdout);
    connections_destroy(connections);
    ck_assert_int_eq(connections_create(4096, clock_now, &connections), 0);
    for (unsigned round = 0; round < ROUNDS; round++) {
        unsigned peer = (unsigned)rand_r(&seed) % PEERS, i = (unsigned)rand_r(&seed) % 4;
        struct client *client = &clients[peer][i];
        char from[64];
        snprintf(from, sizeof from, peer % 2 ? "2001:db8::%x" : "198.51.100.%u", peer);
        if (client->connection) {
            leaves(client);
            open--;
        } else {
            ck_assert(comes(client, from));
            goes_on(client, (enum connection_phase)(rand_r(&seed) % 5), 10);
            open++;
        }
        ck_assert_uint_eq(connections_count(connections), open);
    }
    for (unsigned peer = 0; peer < PEERS; peer++)
        for (unsigned i = 0; i < 4; i++)
            leaves(&clients[peer][i]);
    ck_assert_uint_eq(connections_count(connections), 0);
}
END_TEST

/* --- bodies --- */

START_TEST(bodies_are_shared_out)
{
    enum { ALICE = 1000, BOB, CAROL };
    struct bodies *bodies;
    ck_assert_int_eq(bodies_create(1024, &bodies), 0);
    ck_assert(bodies_have_room(bodies, ALICE, 512));
    ck_assert(!bodies_have_room(bodies, ALICE, 513));
    ck_assert(!bodies_have_room(bodies, ALICE, SIZE_MAX));
    ck_assert(bodies_take(bodies, ALICE, 500));
    ck_assert(bodies_take(bodies, ALICE, 12));
    ck_assert(!bodies_take(bodies, ALICE, 1));
    ck_assert(bodies_take(bodies, ALICE, 0));
    ck_assert(!bodies_take(bodies, BOB, 257));
    ck_assert(bodies_take(bodies, BOB, 256));
    ck_assert(!bodies_take(bodies, BOB, 1));
    ck_assert(bodies_take(bodies, CAROL, 128)); /* there is something for one more */
    ck_assert(!bodies_take(bodies, ALICE, 1));
    bodies_give_back(bodies, BOB, 256);
    ck_assert(bodies_take(bodies, CAROL, 128));
    ck_assert(!bodies_take(bodies, CAROL, 1));
    bodies_give_back(bodies, ALICE, 511);
    ck_assert(bodies_take(bodies, CAROL, 255));
    bodies_give_back(bodies, CAROL, 511);
    bodies_give_back(bodies, ALICE, 1);
    bodies_give_back(bodies, ALICE, 0);
    ck_assert(bodies_take(bodies, BOB, 512));
    bodies_give_back(bodies, BOB, 512);
    bodies_destroy(bodies);
    bodies_destroy(NULL);
}
END_TEST

static Suite *suite(void)
{
    Suite *suite = suite_create("connections");
    TCase *tcase = tcase_create("connections");
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, each_phase_has_its_deadline);
    tcase_add_test(tcase, over_its_time_it_is_cut);
    tcase_add_test(tcase, the_thread_sees_to_it);
    tcase_add_test(tcase, the_oldest_slow_one_makes_room);
    tcase_add_test(tcase, bodies_and_answers_go_when_they_are_slow);
    tcase_add_test(tcase, streams_make_room_last);
    tcase_add_test(tcase, descriptors_are_bounded);
    tcase_add_test(tcase, small_limits_leave_half_to_downloads);
    tcase_add_test(tcase, those_on_their_way_are_counted);
    tcase_add_test(tcase, an_address_has_its_share);
    tcase_add_test(tcase, an_address_that_hurries_has_its_share);
    tcase_add_test(tcase, users_of_this_machine_have_half);
    tcase_add_test(tcase, many_addresses_come_and_go);
    tcase_add_test(tcase, bodies_are_shared_out);
    suite_add_tcase(suite, tcase);
    return suite;
}

int main(void)
{
    return tap_main(suite());
}
