#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/cleanup.h"
#include "http/ring.h"
#include "tap.h"

#define EVERYBODY RING_EVERYBODY

static struct ring *make(size_t events, size_t bytes)
{
    struct ring *ring;
    ck_assert_int_eq(ring_create(events, bytes, "run", &ring), 0);
    return ring;
}

static struct event *event_of(uid_t uid, const char *data)
{
    struct event *event = event_create("task", uid, "5b0c9a1e", strdup(data), NULL);
    ck_assert_ptr_nonnull(event);
    return event;
}

/* A reader that wants one user's, or all (0). */
static bool wants(const void *reader, const struct event *event)
{
    const uid_t *uid = reader;
    return *uid == 0 || event->uid == *uid || event->uid == EVERYBODY;
}

static const char *text_of(const struct event *event, bool to_owner, size_t piece)
{
    static char text[4096];
    size_t len = 0;
    for (size_t n = piece; n == piece; len += n)
        n = event_copy(event, to_owner, len, text + len, piece);
    text[len] = '\0';
    return text;
}

/* --- one event --- */

START_TEST(an_event_is_the_same_in_pieces)
{
    struct ring *ring = make(4, 10000);
    struct event *event = event_create("task", 7, "5b0c", strdup("{\"url\": \"http://h/?q\"}"),
                                       strdup("{\"url\": \"http://h/\"}"));
    ring_put(ring, event);
    for (size_t piece = 1; piece < 100; piece++) {
        ck_assert_str_eq(text_of(event, true, piece),
                         "id: run-1\nevent: task\ndata: {\"url\": \"http://h/?q\"}\n\n");
        ck_assert_str_eq(text_of(event, false, piece),
                         "id: run-1\nevent: task\ndata: {\"url\": \"http://h/\"}\n\n");
    }
    struct event *line = event_line("retry: 3000");
    ck_assert_str_eq(text_of(line, true, 5), "retry: 3000\n\n");
    event_unref(line);
    ck_assert_ptr_null(event_create("task", 7, "", NULL, strdup("{}")));
    ring_destroy(ring);
}
END_TEST

START_TEST(an_event_outlives_the_ring)
{
    struct ring *ring = make(2, 10000);
    struct event *first = event_of(1, "{\"n\": 1}");
    ring_put(ring, first);
    event_ref(first);
    for (int i = 0; i < 5; i++)
        ring_put(ring, event_of(1, "{}"));
    ck_assert_uint_eq(first->references, 1);
    ck_assert_str_eq(text_of(first, true, 7), "id: run-1\nevent: task\ndata: {\"n\": 1}\n\n");
    ring_destroy(ring);
    event_unref(first);
    event_unref(NULL);
    ring_destroy(NULL);
}
END_TEST

/* --- places --- */

START_TEST(ids_are_places)
{
    struct ring *ring = make(3, 10000);
    ck_assert_uint_eq(ring_place(ring, "run-0"), 1);
    ck_assert_uint_eq(ring_place(ring, "run-1"), 0); /* not yet */
    for (int i = 0; i < 5; i++)
        ring_put(ring, event_of(1, "{}"));
    ck_assert_uint_eq(ring_end(ring), 6);
    ck_assert_uint_eq(ring_place(ring, "run-5"), 6);
    ck_assert_uint_eq(ring_place(ring, "run-2"), 3);
    static const char *const none[] = {"",
                                       "run",
                                       "run-",
                                       "run-6",
                                       "run--1",
                                       "other-2",
                                       "run-2x",
                                       "run 2",
                                       "run-+2",
                                       "RUN-2",
                                       "run-18446744073709551616",
                                       "run-99999999999999999999999999"};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        ck_assert_msg(ring_place(ring, none[i]) == 0, "%s", none[i]);
    struct event *between = event_of(1, "{}");
    ring_number(ring, between, 4);
    ck_assert_str_eq(text_of(between, true, 100), "id: run-3\nevent: task\ndata: {}\n\n");
    event_unref(between);
    ring_destroy(ring);
}
END_TEST

START_TEST(who_is_too_slow_has_missed_something)
{
    struct ring *ring = make(3, 10000);
    uid_t all = 0;
    uint64_t place = ring_end(ring);
    ck_assert_int_eq(ring_look(ring, &place, wants, &all), RING_NOTHING);
    for (int i = 0; i < 3; i++)
        ring_put(ring, event_of(1, "{}"));
    ck_assert_int_eq(ring_look(ring, &place, wants, &all), RING_EVENT);
    ring_put(ring, event_of(1, "{}"));
    ck_assert_int_eq(ring_look(ring, &place, wants, &all), RING_MISSED);
    ck_assert_uint_eq(place, 5);
    ck_assert_int_eq(ring_look(ring, &place, wants, &all), RING_NOTHING); /* told once */
    place = 0;
    ck_assert_int_eq(ring_look(ring, &place, wants, &all), RING_MISSED);
    ring_destroy(ring);
}
END_TEST

START_TEST(what_is_forgotten_is_missed)
{
    struct ring *ring = make(3, 10000);
    uid_t all = 0;
    ring_put(ring, event_of(1, "{}"));
    uint64_t at_end = ring_end(ring), begun = at_end;
    ring_clear(ring);
    ck_assert_int_eq(ring_look(ring, &at_end, wants, &all), RING_MISSED);
    uint64_t fresh = ring_end(ring);
    ck_assert_uint_gt(fresh, begun);
    ck_assert_int_eq(ring_look(ring, &fresh, wants, &all), RING_NOTHING);
    ring_destroy(ring);
}
END_TEST

START_TEST(others_events_are_passed_over)
{
    struct ring *ring = make(100, 100000);
    uid_t alice = 1, bob = 2;
    uint64_t hers = ring_end(ring), his = hers;
    for (int i = 0; i < 50; i++)
        ring_put(ring, event_of(alice, "{}"));
    ck_assert_int_eq(ring_look(ring, &his, wants, &bob), RING_NOTHING);
    ck_assert_uint_eq(his, 51); /* and need not be looked at again */
    ring_put(ring, event_of(EVERYBODY, "{}"));
    ck_assert_int_eq(ring_look(ring, &his, wants, &bob), RING_EVENT);
    ck_assert_int_eq(ring_look(ring, &hers, wants, &alice), RING_EVENT);
    ck_assert_uint_eq(hers, 1);
    ck_assert_uint_eq(ring_at(ring, his)->number, 51);
    ring_destroy(ring);
}
END_TEST

/* The oldest go for the newest one's sake, which stays however large it is. */
START_TEST(bytes_are_bounded)
{
    enum { EVENTS = 100 };
    char data[2000];
    struct ring *ring = make(EVENTS, 10 * (sizeof(struct event) + 1000));
    uid_t all = 0;
    memset(data, 'x', sizeof data);
    data[1000] = '\0';
    for (int i = 0; i < 30; i++)
        ring_put(ring, event_of(1, data));
    uint64_t place = ring_end(ring) - 10, before = place - 1;
    ck_assert_int_eq(ring_look(ring, &place, wants, &all), RING_EVENT);
    ck_assert_int_eq(ring_look(ring, &before, wants, &all), RING_MISSED);
    char *large = calloc(1, 100001);
    memset(large, 'y', 100000);
    ring_put(ring, event_create("task", 1, "", large, NULL));
    place = ring_end(ring) - 1;
    before = place - 1;
    ck_assert_int_eq(ring_look(ring, &place, wants, &all), RING_EVENT);
    ck_assert_int_eq(ring_look(ring, &before, wants, &all), RING_MISSED);
    ring_destroy(ring);
}
END_TEST

/* --- against a model --- */

enum { HISTORY = 20000, READERS = 8, USERS = 4 };

static struct {
    uid_t uid; /* of event n; 0: it was cleared there */
    size_t size;
} history[HISTORY + 1];

static struct {
    uid_t uid;
    uint64_t place; /* the ring's */
    uint64_t seen;  /* the model's: the next one it would get */
} readers[READERS];

/* The oldest that the ring must hold, counting back from the newest. */
static uint64_t oldest(uint64_t end, size_t events_max, size_t bytes_max)
{
    size_t bytes = 0;
    uint64_t first = end;
    while (first > 1 && history[first - 1].uid && end - first < events_max &&
           (first == end || bytes + history[first - 1].size <= bytes_max))
        bytes += history[--first].size;
    return first;
}

/* The real ring has dropped for good what once had no room, though there may be room again. */
static void read_one(struct ring *ring, unsigned n, uint64_t first, uint64_t end)
{
    enum ring_look look = ring_look(ring, &readers[n].place, wants, &readers[n].uid);
    if (readers[n].seen < first) {
        ck_assert_int_eq(look, RING_MISSED);
        readers[n].seen = end;
        return;
    }
    while (readers[n].seen < end && readers[n].uid &&
           history[readers[n].seen].uid != readers[n].uid)
        readers[n].seen++;
    ck_assert_int_eq(look, readers[n].seen < end ? RING_EVENT : RING_NOTHING);
    if (look != RING_EVENT)
        return;
    const struct event *event = ring_at(ring, readers[n].place);
    ck_assert_uint_eq(event->number, readers[n].seen);
    ck_assert_uint_eq(event->uid, history[readers[n].seen].uid);
    readers[n].place++;
    readers[n].seen++;
}

static void put_one(struct ring *ring, uint64_t number)
{
    char data[600];
    size_t len = (size_t)rand() % (sizeof data - 1);
    memset(data, 'z', len);
    data[len] = '\0';
    history[number].uid = 1 + (uid_t)(rand() % USERS);
    struct event *event = event_of(history[number].uid, data);
    history[number].size = sizeof *event + len;
    ring_put(ring, event);
    ck_assert_uint_eq(ring_end(ring), number + 1);
}

static void come_again(struct ring *ring, unsigned n, uint64_t end)
{
    char id[40];
    uint64_t last = (uint64_t)rand() % end;
    snprintf(id, sizeof id, "run-%llu", (unsigned long long)last);
    readers[n].uid = (uid_t)(rand() % (USERS + 1));
    readers[n].place = ring_place(ring, id);
    readers[n].seen = last + 1;
}

START_TEST(does_what_the_model_does)
{
    const char *given = getenv("AUTODL_SEED");
    unsigned seed = given ? (unsigned)strtoul(given, NULL, 10) : (unsigned)time(NULL);
    srand(seed);
    printf("# AUTODL_SEED=%u\n", seed);
    size_t events_max = 1 + (size_t)rand() % 200, bytes_max = 1000 + (size_t)rand() % 60000;
    struct ring *ring = make(events_max, bytes_max);
    uint64_t end = 1, first = 1;
    for (unsigned n = 0; n < READERS; n++) {
        readers[n].uid = (uid_t)(rand() % (USERS + 1));
        readers[n].place = readers[n].seen = end;
    }
    while (end < HISTORY) {
        int what = rand() % 1000;
        unsigned n = (unsigned)rand() % READERS;
        if (what < 400) {
            put_one(ring, end++);
            uint64_t held = oldest(end, events_max, bytes_max);
            first = held > first ? held : first;
        } else if (what < 402) {
            history[end++].uid = 0;
            ring_clear(ring);
            first = end;
        } else if (what < 420) {
            come_again(ring, n, end);
        } else {
            read_one(ring, n, first, end);
        }
    }
    ring_destroy(ring);
}
END_TEST

static Suite *suite(void)
{
    Suite *all = suite_create("ring");
    TCase *cases = tcase_create("ring");
    tcase_add_test(cases, an_event_is_the_same_in_pieces);
    tcase_add_test(cases, an_event_outlives_the_ring);
    tcase_add_test(cases, ids_are_places);
    tcase_add_test(cases, who_is_too_slow_has_missed_something);
    tcase_add_test(cases, what_is_forgotten_is_missed);
    tcase_add_test(cases, others_events_are_passed_over);
    tcase_add_test(cases, bytes_are_bounded);
    tcase_add_test(cases, does_what_the_model_does);
    suite_add_tcase(all, cases);
    return all;
}

int main(void)
{
    return tap_main(suite());
}
