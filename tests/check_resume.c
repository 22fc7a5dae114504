/* Going on with a file: what is asked for, and every answer that a server may come up with. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "tap.h"
#include "transfer/resume.h"

#define DATE  "Sun, 06 Nov 1994 08:49:37 GMT"
#define LATER "Mon, 07 Nov 1994 08:49:37 GMT"
#define TAG   "\"v1\""
#define OTHER "\"v2\""
#define WEAK  "W/\"v1\""
#define MIB   1048576

/* Validators. */

static const struct {
    const char *etag;
    bool strong;
} etags[] = {
    {TAG,             true },
    {"\"a-b:c/d=\"",  true },
    {"\"\x80\xff\"",  true },
    {"\"W/\"",        true },
    {NULL,            false},
    {"",              false},
    {"\"",            false},
    {"\"\"",          false},
    {"W/\"v1\"",      false},
    {"w/\"v1\"",      false},
    {"v1",            false},
    {"\"v1",          false},
    {"v1\"",          false},
    {"\"v1\" ",       false},
    {" \"v1\"",       false},
    {"\"v\"1\"",      false},
    {"\"v 1\"",       false},
    {"\"v\t1\"",      false},
    {"\"v\r\nX: y\"", false},
    {"\"v\x7f\"",     false},
};

START_TEST(test_etag)
{
    ck_assert_msg(resume_etag_is_strong(etags[_i].etag) == etags[_i].strong, "%s", etags[_i].etag);
}
END_TEST

/* Content-Range. */

static const struct {
    const char *value;
    bool good;
    int64_t first, last, total;
} ranges[] = {
    {"bytes 0-0/1",                                     true,  0,     0,             1        },
    {"bytes 65536-1048575/1048576",                     true,  65536, MIB - 1,       MIB      },
    {"bytes 1-2/*",                                     true,  1,     2,             -1       },
    {"bytes */1048576",                                 true,  -1,    -1,            MIB      },
    {"bytes */0",                                       true,  -1,    -1,            0        },
    {"Bytes \t1-2/3 ",                                  true,  1,     2,             3        },
    {"  bytes 1-2/3",                                   true,  1,     2,             3        },
    {"bytes 0-9223372036854775806/9223372036854775807", true,  0,     INT64_MAX - 1, INT64_MAX},
    {"",                                                false, 0,     0,             0        },
    {"bytes",                                           false, 0,     0,             0        },
    {"bytes ",                                          false, 0,     0,             0        },
    {"bytes 1-2",                                       false, 0,     0,             0        },
    {"bytes 1-2/",                                      false, 0,     0,             0        },
    {"bytes 1/3",                                       false, 0,     0,             0        },
    {"bytes -2/3",                                      false, 0,     0,             0        },
    {"bytes 1-/3",                                      false, 0,     0,             0        },
    {"bytes 1--2/3",                                    false, 0,     0,             0        },
    {"bytes 1-2/-3",                                    false, 0,     0,             0        },
    {"bytes +1-2/3",                                    false, 0,     0,             0        },
    {"bytes 1 - 2/3",                                   false, 0,     0,             0        },
    {"bytes 1-2 /3",                                    false, 0,     0,             0        },
    {"bytes 1-2/ 3",                                    false, 0,     0,             0        },
    {"bytes 2-1/3",                                     false, 0,     0,             0        },
    {"bytes 1-3/3",                                     false, 0,     0,             0        },
    {"bytes 0-0/0",                                     false, 0,     0,             0        },
    {"bytes */*",                                       false, 0,     0,             0        },
    {"bytes *",                                         false, 0,     0,             0        },
    {"bytes 1-2/3, 5-6/3",                              false, 0,     0,             0        },
    {"bytes 1-2/3x",                                    false, 0,     0,             0        },
    {"bytes=1-2/3",                                     false, 0,     0,             0        },
    {"bytes: 1-2/3",                                    false, 0,     0,             0        },
    {"bytes1-2/3",                                      false, 0,     0,             0        },
    {"1-2/3",                                           false, 0,     0,             0        },
    {"items 1-2/3",                                     false, 0,     0,             0        },
    {"bytes 0x1-2/3",                                   false, 0,     0,             0        },
    {"bytes 1-9223372036854775807/9223372036854775808", false, 0,     0,             0        },
    {"bytes 18446744073709551617-2/3",                  false, 0,     0,             0        },
};

START_TEST(test_content_range)
{
    int64_t first = -7, last = -8, total = -9;
    bool good = resume_parse_content_range(ranges[_i].value, &first, &last, &total);
    ck_assert_msg(good == ranges[_i].good, "\"%s\"", ranges[_i].value);
    ck_assert_int_eq(first, good ? ranges[_i].first : -7);
    ck_assert_int_eq(last, good ? ranges[_i].last : -8);
    ck_assert_int_eq(total, good ? ranges[_i].total : -9);
}
END_TEST

/* Asking. */

static const struct {
    struct resume_known known;
    bool without;
    int64_t start;
    const char *if_range;
} plans[] = {
  /* nothing to go on with */
    {{0, MIB, TAG, DATE, false},                  false, 0,                          NULL},
    {{1, MIB, TAG, DATE, false},                  false, 0,                          NULL},
    {{RESUME_OVERLAP, MIB, TAG, DATE, false},     false, 0,                          NULL},
    {{MIB, RESUME_OVERLAP, TAG, DATE, false},     false, 0,                          NULL},
    {{MIB, 0, TAG, DATE, false},                  false, 0,                          NULL},
    {{MIB / 2, -1, TAG, DATE, false},             false, 0,                          NULL},
    {{MIB / 2, MIB, NULL, NULL, false},           false, 0,                          NULL},
    {{MIB / 2, MIB, WEAK, NULL, false},           false, 0,                          NULL},
    {{MIB / 2, MIB, "v1", "", false},             false, 0,                          NULL},
    {{MIB / 2, MIB, NULL, "bad\rdate", false},    false, 0,                          NULL},
    {{MIB / 2, MIB, NULL, "bad\xff", false},      true,  0,                          NULL},
 /* where */
    {{RESUME_OVERLAP + 1, MIB, TAG, DATE, false}, false, 1,                          TAG },
    {{MIB / 2, MIB, TAG, DATE, false},            false, MIB / 2 - RESUME_OVERLAP,   TAG },
    {{MIB, MIB, TAG, DATE, false},                false, MIB - RESUME_OVERLAP,       TAG },
    {{2 * MIB, MIB, TAG, DATE, false},            false, MIB - RESUME_OVERLAP,       TAG },
    {{INT64_MAX, INT64_MAX, TAG, DATE, false},    false, INT64_MAX - RESUME_OVERLAP, TAG },
 /* by which validator */
    {{MIB, MIB, TAG, NULL, false},                false, MIB - RESUME_OVERLAP,       TAG },
    {{MIB, MIB, NULL, DATE, false},               false, MIB - RESUME_OVERLAP,       DATE},
    {{MIB, MIB, WEAK, DATE, false},               false, MIB - RESUME_OVERLAP,       NULL},
    {{MIB, MIB, "v1", DATE, false},               false, MIB - RESUME_OVERLAP,       NULL},
    {{MIB, MIB, TAG, "bad\ndate", false},         false, MIB - RESUME_OVERLAP,       TAG },
    {{MIB, MIB, TAG, DATE, false},                true,  MIB - RESUME_OVERLAP,       NULL},
    {{MIB, MIB, NULL, DATE, false},               true,  MIB - RESUME_OVERLAP,       NULL},
};

START_TEST(test_plan)
{
    struct resume_request request = resume_plan(&plans[_i].known, plans[_i].without);
    ck_assert_int_eq(request.start, plans[_i].start);
    ck_assert_pstr_eq(request.if_range, plans[_i].if_range);
}
END_TEST

/* A checksum of the whole file is worth more than what a server says of it, but for its length. */
START_TEST(test_checked)
{
    static const struct {
        struct resume_head head;
        enum resume_verdict verdict;
    } heads[] = {
        {{206, MIB / 2 + RESUME_OVERLAP, "bytes 458752-1048575/1048576", NULL, NULL, false, false},
         RESUME_PART                                                                                            },
        {{206, MIB / 2 + RESUME_OVERLAP, "bytes 458752-1048575/1048576", OTHER, LATER, false,
          false},
         RESUME_PART                                                                                            },
        {{206, MIB / 2 + RESUME_OVERLAP + 1, "bytes 458752-1048576/1048577", OTHER, DATE, false,
          false},
         RESUME_CHANGED                                                                                         },
        {{206, MIB / 2 + RESUME_OVERLAP, "bytes 458752-1048575/1048576", NULL, DATE, true, false},
         RESUME_CHANGED                                                                                         },
        {{200, MIB, NULL, OTHER, LATER, false, false},                                              RESUME_WHOLE},
    };
    char message[128];
    struct resume_known known = {MIB / 2, MIB, NULL, _i % 2 ? DATE : NULL, true};
    struct resume_request request = resume_plan(&known, false);
    ck_assert_int_eq(request.start, MIB / 2 - RESUME_OVERLAP);
    ck_assert_ptr_null(request.if_range);
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++)
        ck_assert_int_eq(resume_judge(&known, &request, &heads[i].head, message), heads[i].verdict);
}
END_TEST

/* Judging. A file of 1 MiB of which the half is there, unless a line says otherwise. */

#define PART  "bytes 458752-1048575/1048576"
#define START (MIB / 2 - RESUME_OVERLAP)
#define REST  (MIB - START)

/* clang-format off */
static const struct judgement {
    const char *what;
    const char *etag, *date; /* known */
    bool without;            /* asked without If-Range */
    struct resume_head head;
    enum resume_verdict verdict;
} judgements[] = {
    /* 206 */
    {"same", TAG, DATE, false, {206, REST, PART, TAG, DATE, false, false}, RESUME_PART},
    {"no length", TAG, DATE, false, {206, -1, PART, TAG, DATE, false, false}, RESUME_PART},
    {"ETag alone", TAG, NULL, false, {206, REST, PART, TAG, NULL, false, false}, RESUME_PART},
    {"no date now", TAG, DATE, false, {206, REST, PART, TAG, NULL, false, false}, RESUME_PART},
    {"other date", TAG, DATE, false, {206, REST, PART, TAG, LATER, false, false}, RESUME_PART},
    {"date alone", NULL, DATE, false, {206, REST, PART, NULL, DATE, false, false}, RESUME_PART},
    {"an ETag now", NULL, DATE, false, {206, REST, PART, TAG, DATE, false, false}, RESUME_PART},
    {"node", TAG, DATE, true, {206, REST, PART, OTHER, DATE, false, false}, RESUME_PART},
    {"node, asked", TAG, DATE, false, {206, REST, PART, OTHER, DATE, false, false}, RESUME_PART},
    {"weak", WEAK, DATE, false, {206, REST, PART, WEAK, DATE, false, false}, RESUME_PART},
    {"no ETag now", TAG, DATE, true, {206, REST, PART, NULL, DATE, false, false}, RESUME_PART},
    {"contradiction", TAG, DATE, false, {206, REST, PART, TAG, DATE, false, true}, RESUME_PART},
    {"ETag alone, other", TAG, NULL, false,
     {206, REST, PART, OTHER, NULL, false, false}, RESUME_CHANGED},
    {"ETag, a date now", TAG, NULL, false,
     {206, REST, PART, OTHER, DATE, false, false}, RESUME_CHANGED},
    {"ETag and date", TAG, DATE, false,
     {206, REST, PART, OTHER, LATER, false, false}, RESUME_CHANGED},
    {"other ETag, no date", TAG, DATE, false,
     {206, REST, PART, OTHER, NULL, false, false}, RESUME_CHANGED},
    {"date, other", NULL, DATE, false,
     {206, REST, PART, NULL, LATER, false, false}, RESUME_CHANGED},
    {"date, none now", NULL, DATE, false,
     {206, REST, PART, NULL, NULL, false, false}, RESUME_CHANGED},
    {"weak, other date", WEAK, DATE, false,
     {206, REST, PART, WEAK, LATER, false, false}, RESUME_CHANGED},
    {"weak, no date", WEAK, DATE, false,
     {206, REST, PART, WEAK, NULL, false, false}, RESUME_CHANGED},
    {"strong to weak", TAG, NULL, false,
     {206, REST, PART, WEAK, NULL, false, false}, RESUME_CHANGED},
    {"nothing to go by", TAG, DATE, false,
     {206, REST, PART, NULL, NULL, false, false}, RESUME_CHANGED},
    {"encoded", TAG, DATE, false, {206, REST, PART, TAG, DATE, true, false}, RESUME_CHANGED},
    {"grown, ETag", TAG, DATE, false,
     {206, REST + 1, "bytes 458752-1048576/1048577", OTHER, LATER, false, false}, RESUME_CHANGED},
    {"grown, same date", NULL, DATE, false,
     {206, REST + 1, "bytes 458752-1048576/1048577", NULL, DATE, false, false}, RESUME_CHANGED},
    {"grown, cut", NULL, DATE, false,
     {206, REST, "bytes 458752-1048575/1048577", NULL, DATE, false, false}, RESUME_CHANGED},
    {"shrunk, node", TAG, DATE, true,
     {206, REST - 1, "bytes 458752-1048574/1048575", OTHER, DATE, false, false}, RESUME_CHANGED},
    {"no total", TAG, DATE, false,
     {206, REST, "bytes 458752-1048575/*", TAG, DATE, false, false}, RESUME_CHANGED},
    {"same ETag, grown", TAG, DATE, false,
     {206, REST + 1, "bytes 458752-1048576/1048577", TAG, DATE, false, false}, RESUME_NONSENSE},
    {"from before", TAG, DATE, false,
     {206, REST + 1, "bytes 458751-1048575/1048576", TAG, DATE, false, false}, RESUME_NONSENSE},
    {"from behind", TAG, DATE, false,
     {206, REST - 1, "bytes 458753-1048575/1048576", TAG, DATE, false, false}, RESUME_NONSENSE},
    {"from zero", TAG, DATE, false,
     {206, MIB, "bytes 0-1048575/1048576", TAG, DATE, false, false}, RESUME_NONSENSE},
    {"too short", TAG, DATE, false,
     {206, REST - 1, "bytes 458752-1048574/1048576", TAG, DATE, false, false}, RESUME_PART},
    {"one byte", TAG, DATE, false,
     {206, 1, "bytes 458752-458752/1048576", TAG, DATE, false, false}, RESUME_PART},
    {"one byte of two", TAG, DATE, false,
     {206, 1, "bytes 458752-458753/1048576", TAG, DATE, false, false}, RESUME_NONSENSE},
    {"short of another", TAG, DATE, false,
     {206, 1, "bytes 458752-458752/1048577", OTHER, LATER, false, false}, RESUME_CHANGED},
    {"length too long", TAG, DATE, false,
     {206, REST + 1, PART, TAG, DATE, false, false}, RESUME_NONSENSE},
    {"length too short", TAG, DATE, false,
     {206, REST - 1, PART, TAG, DATE, false, false}, RESUME_NONSENSE},
    {"length of all", TAG, DATE, false, {206, MIB, PART, TAG, DATE, false, false}, RESUME_NONSENSE},
    {"length zero", TAG, DATE, false, {206, 0, PART, TAG, DATE, false, false}, RESUME_NONSENSE},
    {"no range", TAG, DATE, false, {206, REST, NULL, TAG, DATE, false, false}, RESUME_NONSENSE},
    {"bad range", TAG, DATE, false,
     {206, REST, "bytes 458752-1048576/1048576", TAG, DATE, false, false}, RESUME_NONSENSE},
    {"range of a 416", TAG, DATE, false,
     {206, REST, "bytes */1048576", TAG, DATE, false, false}, RESUME_NONSENSE},
    /* 200 */
    {"whole, no ranges", TAG, DATE, false, {200, MIB, NULL, TAG, DATE, false, false}, RESUME_WHOLE},
    {"whole, node", TAG, DATE, false,
     {200, MIB, NULL, OTHER, DATE, false, false}, RESUME_WITHOUT_IF_RANGE},
    {"whole, node, no ETag", TAG, DATE, false,
     {200, MIB, NULL, NULL, DATE, false, false}, RESUME_WITHOUT_IF_RANGE},
    {"whole, date, node", NULL, DATE, false,
     {200, MIB, NULL, TAG, DATE, false, false}, RESUME_WITHOUT_IF_RANGE},
    {"whole, node, once", TAG, DATE, true,
     {200, MIB, NULL, OTHER, DATE, false, false}, RESUME_WHOLE},
    {"whole, weak: not sent", WEAK, DATE, false,
     {200, MIB, NULL, OTHER, DATE, false, false}, RESUME_WHOLE},
    {"whole, node without ranges", TAG, DATE, false,
     {200, MIB, NULL, OTHER, DATE, false, true}, RESUME_WHOLE},
    {"whole, by date", NULL, DATE, false, {200, MIB, NULL, NULL, DATE, false, false}, RESUME_WHOLE},
    {"whole, other date", TAG, DATE, false,
     {200, MIB, NULL, OTHER, LATER, false, false}, RESUME_WHOLE},
    {"whole, other size", TAG, DATE, false,
     {200, MIB + 1, NULL, OTHER, DATE, false, false}, RESUME_WHOLE},
    {"whole, no size", TAG, DATE, false, {200, -1, NULL, OTHER, DATE, false, false}, RESUME_WHOLE},
    {"whole, no date", TAG, NULL, false, {200, MIB, NULL, OTHER, NULL, false, false}, RESUME_WHOLE},
    {"whole, encoded", TAG, DATE, false, {200, MIB, NULL, OTHER, DATE, true, false}, RESUME_WHOLE},
    {"whole, with a range", TAG, DATE, false,
     {200, MIB, PART, TAG, DATE, false, false}, RESUME_WHOLE},
    /* 416 */
    {"shrunk below", TAG, DATE, false,
     {416, 0, "bytes */1000", NULL, NULL, false, false}, RESUME_CHANGED},
    {"empty now", TAG, DATE, false,
     {416, -1, "bytes */0", NULL, NULL, false, false}, RESUME_CHANGED},
    {"grown", TAG, DATE, false,
     {416, 0, "bytes */1048577", NULL, NULL, false, false}, RESUME_CHANGED},
    {"refused for nothing", TAG, DATE, false,
     {416, 0, "bytes */1048576", NULL, NULL, false, false}, RESUME_NONSENSE},
    {"refused, no total", TAG, DATE, false,
     {416, 0, NULL, TAG, DATE, false, false}, RESUME_NONSENSE},
    {"refused, unknown total", TAG, DATE, false,
     {416, 0, "bytes */*", TAG, DATE, false, false}, RESUME_NONSENSE},
    {"refused, a part", TAG, DATE, false,
     {416, REST, PART, TAG, DATE, false, false}, RESUME_NONSENSE},
    {"refused, another part", TAG, DATE, false,
     {416, 10, "bytes 0-9/10", TAG, DATE, false, false}, RESUME_NONSENSE},
    /* FTP and SFTP */
    {"ftp", NULL, DATE, false, {0, REST, NULL, NULL, DATE, false, false}, RESUME_PART},
    {"ftp, modified", NULL, DATE, false,
     {0, REST, NULL, NULL, LATER, false, false}, RESUME_CHANGED},
    {"ftp, no time", NULL, DATE, false, {0, REST, NULL, NULL, NULL, false, false}, RESUME_CHANGED},
    {"ftp, grown", NULL, DATE, false,
     {0, REST + 1, NULL, NULL, DATE, false, false}, RESUME_CHANGED},
    {"ftp, no size", NULL, DATE, false, {0, -1, NULL, NULL, DATE, false, false}, RESUME_CHANGED},
    {"ftp, absurd", NULL, DATE, false,
     {0, INT64_MAX, NULL, NULL, DATE, false, false}, RESUME_CHANGED},
    /* what nobody should come with */
    {"status", TAG, DATE, false, {204, 0, NULL, TAG, DATE, false, false}, RESUME_NONSENSE},
};
/* clang-format on */

START_TEST(test_judge)
{
    const struct judgement *line = &judgements[_i];
    struct resume_known known = {MIB / 2, MIB, line->etag, line->date, false};
    struct resume_request request = resume_plan(&known, line->without);
    char message[128] = "untouched";

    ck_assert_int_eq(request.start, START);
    enum resume_verdict verdict = resume_judge(&known, &request, &line->head, message);
    ck_assert_msg(verdict == line->verdict, "%s: %d, not %d (%s)", line->what, verdict,
                  line->verdict, message);
    bool said = verdict != RESUME_PART && verdict != RESUME_WITHOUT_IF_RANGE;
    ck_assert_msg((message[0] != '\0') == said, "%s: \"%s\"", line->what, message);
    ck_assert_uint_lt(strlen(message), 127);
}
END_TEST

/* With nothing asked for but the file, a 200 is the file and a part is not. */
START_TEST(test_plain)
{
    struct resume_known known = {MIB / 2, -1, TAG, DATE, false};
    struct resume_request request = resume_plan(&known, false);
    char message[128];
    struct resume_head head = {200, MIB, NULL, OTHER, LATER, false, false};
    ck_assert_int_eq(resume_judge(&known, &request, &head, message), RESUME_WHOLE);
    ck_assert_str_eq(message, "");
    head = (struct resume_head){0, MIB, NULL, NULL, DATE, false, false};
    ck_assert_int_eq(resume_judge(&known, &request, &head, message), RESUME_WHOLE);
    head = (struct resume_head){206, MIB, "bytes 0-1048575/1048576", TAG, DATE, false, false};
    ck_assert_int_eq(resume_judge(&known, &request, &head, message), RESUME_NONSENSE);
    ck_assert_str_eq(message, "the server sent a part of the file though all of it was wanted");
    head = (struct resume_head){416, 0, "bytes */1048576", NULL, NULL, false, false};
    ck_assert_int_eq(resume_judge(&known, &request, &head, message), RESUME_NONSENSE);
}
END_TEST

START_TEST(test_messages)
{
    struct resume_known known = {MIB / 2, MIB, TAG, DATE, false};
    struct resume_request request = resume_plan(&known, false);
    static const struct {
        struct resume_head head;
        const char *message;
    } table[] = {
        {{200, MIB, NULL, TAG, DATE, false, false},              "the server sends the file only as a whole"},
        {{200, 17, NULL, OTHER, LATER, false, false},
         "the file changed on the server: it has 17 bytes, not 1048576"                                     },
        {{206, REST, PART, OTHER, LATER, false, false},
         "the file changed on the server: it was modified meanwhile"                                        },
        {{206, REST, PART, OTHER, NULL, false, false},
         "the file changed on the server: its ETag is another one"                                          },
        {{206, REST, PART, NULL, NULL, false, false},
         "the server does not show that the file is still the same"                                         },
        {{206, 1, "bytes 7-7/1048576", TAG, DATE, false, false},
         "the server sent the bytes from 7 on, not those from 458752"                                       },
        {{416, 0, "bytes */1048576", NULL, NULL, false, false},
         "the server refused the bytes from 458752 on of the 1048576 that it has"                           },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        char message[128];
        resume_judge(&known, &request, &table[i].head, message);
        ck_assert_str_eq(message, table[i].message);
    }
}
END_TEST

/* The longest numbers fit, and none of them overflows. */
START_TEST(test_longest)
{
    struct resume_known known = {INT64_MAX - 1, INT64_MAX - 1, TAG, DATE, false};
    struct resume_request request = resume_plan(&known, false);
    static const struct resume_head heads[] = {
        {206, -1,        "bytes 9223372036854710270-9223372036854775806/9223372036854775807", TAG,   DATE,
         false,                                                                                                   false},
        {206, INT64_MAX, "bytes 9223372036854710270-9223372036854775805/9223372036854775806", TAG,
         DATE,                                                                                             false, false},
        {206, -1,        "bytes 9223372036854710271-9223372036854775805/9223372036854775806", TAG,   DATE,
         false,                                                                                                   false},
        {206, 1,         "bytes 9223372036854710270-9223372036854775804/9223372036854775806", TAG,   DATE,
         false,                                                                                                   false},
        {206, -1,        "bytes 9223372036854710269-9223372036854775805/9223372036854775806", TAG,   DATE,
         false,                                                                                                   false},
        {200, INT64_MAX, NULL,                                                                OTHER, DATE, false, false},
        {416, -1,        "bytes */9223372036854775806",                                       NULL,  NULL, false, false},
        {0,   INT64_MAX, NULL,                                                                NULL,  DATE, false, false},
    };
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        char message[128] = "";
        ck_assert_int_ne(resume_judge(&known, &request, &heads[i], message), RESUME_PART);
        ck_assert_uint_gt(strlen(message), 0);
        ck_assert_uint_lt(strlen(message), 127);
    }
}
END_TEST

/* Random servers against the rules in other words. */

static const char *any_of(const char *const *texts, size_t count)
{
    return texts[random() % (long)count];
}

static void random_head(int64_t start, int64_t total, char range[static 96],
                        struct resume_head *head)
{
    static const int statuses[] = {200, 206, 206, 206, 206, 416, 0};
    static const char *const tags[] = {NULL, TAG, TAG, OTHER, WEAK, "v1", ""};
    static const char *const dates[] = {NULL, DATE, DATE, LATER, ""};
    int64_t first = start + (random() % 4 ? 0 : random() % 3 - 1);
    int64_t all = total + (random() % 4 ? 0 : random() % 3 - 1);
    int64_t last = all - 1 + (random() % 4 ? 0 : random() % 3 - 1);

    *head = (struct resume_head){.status = statuses[random() % 7],
                                 .etag = any_of(tags, 7),
                                 .last_modified = any_of(dates, 5),
                                 .encoded = random() % 8 == 0,
                                 .no_ranges = random() % 8 == 0};
    head->length = random() % 3 == 0     ? -1
                   : head->status == 200 ? all
                                         : last - first + 1 - (random() % 8 == 0);
    if (random() % 8)
        head->content_range = range;
    if (random() % 8 == 0)
        snprintf(range, 96, "bytes */%" PRId64, all);
    else if (random() % 8 == 0)
        snprintf(range, 96, "bytes %" PRId64 "-%" PRId64 "/*", first, last);
    else
        snprintf(range, 96, "bytes %" PRId64 "-%" PRId64 "/%" PRId64, first, last, all);
}

static bool equal(const char *a, const char *b)
{
    return a && b && strcmp(a, b) == 0;
}

/* Why RESUME_PART was wrong, NULL: it was right. */
static const char *fault(const struct resume_known *known, const struct resume_request *request,
                         const struct resume_head *head)
{
    int64_t last = known->total - 1;
    char wanted[96];
    if (head->status == 206 && head->content_range)
        sscanf(head->content_range, "bytes %*u-%" SCNd64, &last);
    snprintf(wanted, sizeof wanted, "bytes %" PRId64 "-%" PRId64 "/%" PRId64, request->start, last,
             known->total);
    if (request->start == 0 || head->encoded)
        return "not asked for, or encoded";
    if (head->status == 206 &&
        (!equal(head->content_range, wanted) || last < request->start || last >= known->total))
        return "range";
    if (head->status != 206 && head->status != 0)
        return "status";
    if (head->length >= 0 ? head->length != last + 1 - request->start : head->status == 0)
        return "length";
    if (!(equal(known->etag, TAG) && equal(head->etag, TAG)) &&
        !(equal(known->last_modified, DATE) && equal(head->last_modified, DATE)))
        return "version";
    return NULL;
}

START_TEST(test_random)
{
    static const char *const tags[] = {NULL, TAG, TAG, WEAK, "v1"};
    static const char *const dates[] = {NULL, DATE, DATE, ""};
    const char *given = getenv("AUTODL_SEED");
    unsigned seed = given ? (unsigned)strtoul(given, NULL, 10) : (unsigned)time(NULL);
    int parts = 0;
    printf("# check_resume: AUTODL_SEED=%u\n", seed);
    fflush(stdout);
    srandom(seed);

    for (int i = 0; i < 200000; i++) {
        struct resume_known known = {.total = random() % (4 * RESUME_OVERLAP) - 1,
                                     .etag = any_of(tags, 5),
                                     .last_modified = any_of(dates, 4)};
        known.have = random() % (4 * RESUME_OVERLAP);
        struct resume_request request = resume_plan(&known, random() % 2);
        struct resume_head head;
        char range[96], message[128];
        random_head(request.start, known.total, range, &head);
        enum resume_verdict verdict = resume_judge(&known, &request, &head, message);
        const char *why = verdict == RESUME_PART ? fault(&known, &request, &head) : NULL;
        if (verdict == RESUME_WITHOUT_IF_RANGE && (!request.if_range || head.status != 200))
            why = "again without the If-Range that was not sent";
        if (verdict == RESUME_WHOLE && head.status != 200 && head.status != 0)
            why = "not the whole";
        if (request.start < 0 || request.start > known.have ||
            (request.start > 0 && request.start + RESUME_OVERLAP > known.total))
            why = "start";
        if (why)
            ck_abort_msg("%s: %d of %" PRId64 ", start %" PRId64 ", status %d, range %s, tag %s, "
                         "date %s",
                         why, verdict, known.total, request.start, head.status, range, head.etag,
                         head.last_modified);
        parts += verdict == RESUME_PART;
    }
    printf("# check_resume: %d of 200000 were parts\n", parts);
    ck_assert_int_gt(parts, 1000);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("resume");
    TCase *tests = tcase_create("resume");
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, test_etag, 0, (int)(sizeof etags / sizeof *etags));
    tcase_add_loop_test(tests, test_content_range, 0, (int)(sizeof ranges / sizeof *ranges));
    tcase_add_loop_test(tests, test_plan, 0, (int)(sizeof plans / sizeof *plans));
    tcase_add_loop_test(tests, test_checked, 0, 2);
    tcase_add_loop_test(tests, test_judge, 0, (int)(sizeof judgements / sizeof *judgements));
    tcase_add_test(tests, test_plain);
    tcase_add_test(tests, test_messages);
    tcase_add_test(tests, test_longest);
    tcase_add_test(tests, test_random);
    suite_add_tcase(s, tests);
    return s;
}

int main(void)
{
    return tap_main(suite());
}
