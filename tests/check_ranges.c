/* The map of a file's bytes, against one that has a byte of its own for each of them. */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/units.h"
#include "tap.h"
#include "transfer/ranges.h"

#define TOTAL_MAX 60000
#define HOLDERS   8
#define OPS       1000000

/* ck_assert is a system call: too slow for each byte. */
#define expect(condition)                                                                          \
    do {                                                                                           \
        if (!(condition))                                                                          \
            ck_abort_msg("it is not so: %s", #condition);                                          \
    } while (0)

static struct ranges ranges;

/* --- the text --- */

static const char *printed(void)
{
    static char text[RANGES_TEXT_MAX];
    ck_assert_int_eq(ranges_print(&ranges, text), (int)strlen(text));
    return text;
}

START_TEST(a_text_is_read_and_printed)
{
    ranges_begin(&ranges, 1000, 100);
    ck_assert_int_eq(ranges_read(&ranges, "200-299,300-399,500-999,"), -EINVAL); /* touching */
    ck_assert_int_eq(ranges_read(&ranges, "200-299,301-399,500-999,"), 0);
    ck_assert_str_eq(printed(), "200-299,301-399,500-999,");
    ck_assert_int_eq(ranges_prefix(&ranges), 100);
    ck_assert_int_eq(ranges_bytes(&ranges), 100 + 100 + 99 + 500);
    ck_assert_int_eq(ranges_missing(&ranges), 100 + 1 + 100);
    ck_assert_int_eq(ranges_text_bytes(printed()), 699);
    ck_assert_int_eq(ranges_text_bytes(NULL), 0);
    ck_assert_int_eq(ranges_text_bytes("1-2"), 0);
    ranges_truncate(&ranges, 350);
    ck_assert_str_eq(printed(), "200-299,301-349,");
    ranges_truncate(&ranges, 100);
    ck_assert_str_eq(printed(), "");
    ck_assert_uint_eq(ranges.count, 1);
}
END_TEST

START_TEST(a_bad_text_is_refused)
{
    static const char *const bad[] = {
        "x",
        "1",
        "200",
        "200-",
        "200-250",
        "-250,",
        "200-199,",
        "100-150,",
        "50-150,",
        "0-5,",
        "200-1000,",
        " 200-250,",
        "200 -250,",
        "+200-250,",
        "200-250,,",
        "200-250,x",
        "200-250,240-260,",
        "200-250,220-230,",
        "300-350,200-250,",
        "200-99999999999999999999,",
        "9223372036854775807-9223372036854775807,",
        "200-9223372036854775807,",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ranges_begin(&ranges, 1000, 100);
        ck_assert_msg(ranges_read(&ranges, bad[i]) == -EINVAL, "%s is taken", bad[i]);
        ck_assert_uint_eq(ranges.count, 1);
        ck_assert_int_eq(ranges_bytes(&ranges), 100);
        ck_assert_int_eq(ranges_missing(&ranges), 900);
    }
    ranges_begin(&ranges, -1, 100); /* where does it end? */
    ck_assert_int_eq(ranges_read(&ranges, "200-250,"), -EINVAL);
}
END_TEST

START_TEST(a_text_is_bounded)
{
    char text[RANGES_TEXT_MAX * 2];
    size_t len = 0;
    int64_t far = INT64_MAX / 2;
    for (int i = 1; i < RANGES_MAX; i++)
        len += (size_t)snprintf(text + len, sizeof text - len, "%lld-%lld,", (long long)far + 3 * i,
                                (long long)far + 3 * i + 1);
    ranges_begin(&ranges, INT64_MAX - 1, 0);
    ck_assert_int_eq(ranges_read(&ranges, text), 0);
    ck_assert_str_eq(printed(), text);
    ranges_begin(&ranges, INT64_MAX - 1, 0);
    snprintf(text + len, sizeof text - len, "%lld-%lld,", (long long)far + 3 * RANGES_MAX,
             (long long)far + 3 * RANGES_MAX);
    ck_assert_int_eq(ranges_read(&ranges, text), -EINVAL);
    ck_assert_int_eq(ranges_bytes(&ranges), 0);
    ranges_begin(&ranges, INT64_MAX - 1, 0);
    ranges_take(&ranges, 1);
    ck_assert_uint_eq(ranges_cut(&ranges, 1, 2 * RANGES_MAX), RANGES_MAX);
    ck_assert(!ranges_steal(&ranges, 1, 2, 0));
}
END_TEST

/* --- the model --- */

enum { MISSING, RESERVED, WRITTEN };

static struct {
    int64_t total;
    unsigned char state[TOTAL_MAX];
    unsigned char holder[TOTAL_MAX]; /* of what is not written, or RANGES_NOBODY */
} model;
static uint64_t dice;

static unsigned roll(unsigned sides)
{
    dice ^= dice << 13;
    dice ^= dice >> 7;
    dice ^= dice << 17;
    return (unsigned)(dice >> 33) % sides;
}

static int64_t count_state(unsigned char state)
{
    int64_t count = 0;
    for (int64_t i = 0; i < model.total; i++)
        count += model.state[i] == state;
    return count;
}

/* The map says of each byte what the model says. */
static void compare(void)
{
    int64_t at = 0, prefix = 0;
    for (unsigned i = 0; i < ranges.count; i++) {
        const struct range *range = &ranges.all[i];
        expect(range->start == at && range->start <= range->written &&
               range->written <= range->reserved && range->reserved <= range->end);
        for (; at < range->end; at++) {
            unsigned char state = at < range->written    ? WRITTEN
                                  : at < range->reserved ? RESERVED
                                                         : MISSING;
            expect(model.state[at] == state);
            expect(state == WRITTEN || model.holder[at] == range->holder);
        }
    }
    expect(at == model.total);
    while (prefix < model.total && model.state[prefix] == WRITTEN)
        prefix++;
    expect(ranges_prefix(&ranges) == prefix);
    expect(ranges_bytes(&ranges) == count_state(WRITTEN));
    expect(ranges_missing(&ranges) == model.total - count_state(WRITTEN));
    expect(ranges_whole(&ranges) == (prefix == model.total));
}

/* What is printed, read again, is what is written. */
static void compare_text(void)
{
    struct ranges again;
    int64_t at = 0;
    ranges_begin(&again, model.total, ranges_prefix(&ranges));
    expect(ranges_read(&again, printed()) == 0);
    expect(ranges_text_bytes(printed()) == ranges_bytes(&ranges) - ranges_prefix(&ranges));
    for (unsigned i = 0; i < again.count; i++)
        for (; at < again.all[i].end; at++)
            expect((model.state[at] == WRITTEN) == (at < again.all[i].written));
}

static void begin_anew(void)
{
    model.total = 1 + roll(roll(4) ? 300 : TOTAL_MAX);
    int64_t have = roll(2) ? 0 : roll((unsigned)model.total + 1);
    memset(model.holder, RANGES_NOBODY, sizeof model.holder);
    memset(model.state, MISSING, sizeof model.state);
    memset(model.state, WRITTEN, (size_t)have);
    ranges_begin(&ranges, model.total, have);
    char text[RANGES_TEXT_MAX];
    size_t len = 0;
    text[0] = '\0';
    for (int64_t at = have; roll(3) && at + 2 < model.total && len < sizeof text / 2;) {
        int64_t first = at + 1 + roll((unsigned)(model.total - at - 1));
        int64_t end = first + 1 + roll((unsigned)(model.total - first));
        len += (size_t)snprintf(text + len, sizeof text - len, "%lld-%lld,", (long long)first,
                                (long long)end - 1);
        memset(model.state + first, WRITTEN, (size_t)(end - first));
        at = end;
    }
    expect(ranges_read(&ranges, text) == 0);
}

/* Marks what this holder has from `from` on as another's, up to where its range ends. */
static void hand_over(unsigned holder, int64_t from, unsigned to)
{
    for (int64_t at = from;
         at < model.total && model.holder[at] == holder && model.state[at] == MISSING; at++)
        model.holder[at] = (unsigned char)to;
}

static void expect_take(unsigned holder)
{
    int64_t at = 0;
    while (at < model.total && (model.state[at] == WRITTEN || model.holder[at] != RANGES_NOBODY))
        at++;
    expect(ranges_take(&ranges, holder) == (at < model.total));
    if (at == model.total)
        return;
    const struct range *range = ranges_of(&ranges, holder);
    expect(range->written == at);
    for (; at < range->end; at++) {
        expect(model.state[at] == MISSING && model.holder[at] == RANGES_NOBODY);
        model.holder[at] = (unsigned char)holder;
    }
}

static void give_back(unsigned holder)
{
    for (int64_t at = 0; at < model.total; at++) {
        if (model.state[at] == WRITTEN || model.holder[at] != holder)
            continue;
        model.holder[at] = RANGES_NOBODY;
        model.state[at] = MISSING;
    }
    ranges_give_back(&ranges, holder);
    expect(!ranges_of(&ranges, holder));
}

static void write_some(unsigned holder, struct range range)
{
    int64_t want = roll(100), got = ranges_reserve(&ranges, holder, want);
    int64_t left = range.end - range.reserved;
    expect(got == (want < left ? want : left));
    memset(model.state + range.reserved, RESERVED, (size_t)got);
}

static void commit_some(unsigned holder, struct range range)
{
    int64_t len = roll((unsigned)(range.reserved - range.written) + 1);
    ranges_commit(&ranges, holder, len);
    memset(model.state + range.written, WRITTEN, (size_t)len);
    if (roll(2))
        return;
    ranges_unreserve(&ranges, holder);
    memset(model.state + range.written + len, MISSING,
           (size_t)(range.reserved - range.written - len));
}

/* Somebody was left with nothing: a byte map cannot tell where that stands. */
static bool has_empty_one(int64_t at)
{
    for (unsigned i = 0; i < ranges.count; i++)
        if (ranges.all[i].start == at && ranges.all[i].end == at)
            return true;
    return false;
}

static void extend(unsigned holder, struct range range)
{
    if (has_empty_one(range.end))
        return;
    bool free = range.end < model.total && model.state[range.end] == MISSING &&
                model.holder[range.end] == RANGES_NOBODY;
    expect(ranges_extend(&ranges, holder) == free);
    int64_t end = ranges_of(&ranges, holder)->end;
    expect((end > range.end) == free);
    for (int64_t at = range.end; at < end; at++) {
        expect(model.state[at] == MISSING && model.holder[at] == RANGES_NOBODY);
        model.holder[at] = (unsigned char)holder;
    }
}

static void cut(unsigned holder, struct range range)
{
    unsigned parts = 1 + roll(6), before = ranges.count;
    unsigned made = ranges_cut(&ranges, holder, parts);
    expect(made >= 1 && made <= parts && ranges.count == before + made - 1);
    int64_t end = ranges_of(&ranges, holder)->end, left = range.end - range.reserved;
    expect(made == 1 ? end == range.end : end > range.reserved && end < range.end);
    if (left >= (int64_t)parts && before + parts <= RANGES_MAX) {
        expect(made == parts);
        expect(llabs(end - range.reserved - left / parts) <= 4096);
    }
    hand_over(holder, end, RANGES_NOBODY);
}

static void steal(unsigned holder, struct range range)
{
    unsigned thief = 1 + roll(HOLDERS);
    int64_t left = range.end - range.reserved, keep = roll((unsigned)left + 2);
    if (ranges_of(&ranges, thief))
        return;
    bool done = ranges_steal(&ranges, holder, thief, keep);
    expect(done == (keep < left && ranges.count <= RANGES_MAX));
    if (!done)
        return;
    const struct range *stolen = ranges_of(&ranges, thief);
    expect(stolen->end == range.end);
    expect(ranges_of(&ranges, holder)->end == stolen->start);
    expect(llabs(stolen->start - range.reserved - keep) <= 4096);
    hand_over(holder, stolen->start, thief);
}

static void step(void)
{
    unsigned holder = 1 + roll(HOLDERS);
    const struct range *held = ranges_of(&ranges, holder);
    if (!held) {
        expect_take(holder);
        return;
    }
    switch (roll(12)) {
    case 0:
        give_back(holder);
        break;
    case 1:
        extend(holder, *held);
        break;
    case 2:
        if (ranges.count < 60)
            cut(holder, *held);
        break;
    case 3:
    case 4:
        steal(holder, *held);
        break;
    case 5:
    case 6:
    case 7:
    case 8:
        write_some(holder, *held);
        break;
    default:
        commit_some(holder, *held);
        break;
    }
}

START_TEST(it_agrees_with_a_naive_map)
{
    const char *ops = getenv("AUTODL_OPS"), *seed = getenv("SEED");
    long count = ops ? atol(ops) : OPS;
    uint64_t first = seed ? strtoull(seed, NULL, 10) : (uint64_t)units_now_realtime();
    printf("# SEED=%llu, %ld operations\n", (unsigned long long)first, count);
    fflush(stdout);
    dice = first * 2 + 1;
    begin_anew();
    for (long i = 0; i < count; i++) {
        step();
        /* A comparison takes as long as the file is. */
        if (model.total < 400 ? roll(4) == 0 : roll(200) == 0)
            compare();
        if (roll(400) == 0)
            compare_text();
        if (ranges_whole(&ranges) || roll(2000) == 0) {
            compare();
            begin_anew();
        }
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("ranges");
    TCase *tcase = tcase_create("text");
    tcase_add_test(tcase, a_text_is_read_and_printed);
    tcase_add_test(tcase, a_bad_text_is_refused);
    tcase_add_test(tcase, a_text_is_bounded);
    suite_add_tcase(suite, tcase);
    tcase = tcase_create("model");
    tcase_set_timeout(tcase, 300);
    tcase_add_test(tcase, it_agrees_with_a_naive_map);
    suite_add_tcase(suite, tcase);
    return tap_main(suite);
}
