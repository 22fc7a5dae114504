#include <errno.h>
#include <float.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/json.h"
#include "tap.h"

/* What Python 3 prints for these. */
static const struct {
    const char *text;
    const char *json;
} strings[] = {
    {"",                            "\"\""                            },
    {"plain",                       "\"plain\""                       },
    {"https://example.org/a?b=c&d", "\"https://example.org/a?b=c&d\"" },
    {"\"quoted\" \\ back",          "\"\\\"quoted\\\" \\\\ back\""    },
    {"\b\f\n\r\t",                  "\"\\b\\f\\n\\r\\t\""             },
    {"\x01\x1f\x7f",                "\"\\u0001\\u001f\\u007f\""       },
    {"<>&'/",                       "\"<>&'/\""                       },
    {"caf\xc3\xa9",                 "\"caf\\u00e9\""                  },
    {"\xe2\x82\xac",                "\"\\u20ac\""                     },
    {"\xef\xbf\xbf",                "\"\\uffff\""                     },
    {"\xf0\x9f\x98\x80",            "\"\\ud83d\\ude00\""              },
    {"\xf4\x8f\xbf\xbf",            "\"\\udbff\\udfff\""              },
    {"a\xff"
     "b",                      "\"a\\udcffb\""                   },
    {"\xc3",                        "\"\\udcc3\""                     },
    {"\xe2\x82",                    "\"\\udce2\\udc82\""              },
    {"\xed\xa0\x80",                "\"\\udced\\udca0\\udc80\""       },
    {"\xc0\xaf",                    "\"\\udcc0\\udcaf\""              },
    {"\xf4\x90\x80\x80",            "\"\\udcf4\\udc90\\udc80\\udc80\""},
};

START_TEST(string_is_as_python_prints_it)
{
    struct buf buf;
    buf_init(&buf, 1000);
    json_add_string(&buf, strings[_i].text);
    ck_assert_int_eq(buf.error, 0);
    ck_assert_str_eq(buf.data, strings[_i].json);
    buf_release(&buf);
}
END_TEST

static const struct {
    double value;
    const char *json;
} floats[] = {
    {0.0,                "0.0"                    },
    {-0.0,               "-0.0"                   },
    {1,                  "1.0"                    },
    {-1.5,               "-1.5"                   },
    {0.1,                "0.1"                    },
    {0.1 + 0.2,          "0.30000000000000004"    },
    {12.3456,            "12.3456"                },
    {100,                "100.0"                  },
    {1.0 / 600,          "0.0016666666666666668"  },
    {2.0 / 600,          "0.0033333333333333335"  },
    {7.0 / 600,          "0.011666666666666667"   },
    {100.0 / 600,        "0.16666666666666666"    },
    {123456.789,         "123456.789"             },
    {31536000.001,       "31536000.001"           },
    {0.001,              "0.001"                  },
    {0.0001,             "0.0001"                 },
    {0.00012345,         "0.00012345"             },
    {0.00001,            "1e-05"                  },
    {0.000012345,        "1.2345e-05"             },
    {1e15,               "1000000000000000.0"     },
    {1e16,               "1e+16"                  },
    {9999999999999998,   "9999999999999998.0"     },
    {12345678901234568,  "1.2345678901234568e+16" },
    {1e22,               "1e+22"                  },
    {1e100,              "1e+100"                 },
    {1.5e-200,           "1.5e-200"               },
    {5e-324,             "5e-324"                 },
    {DBL_MAX,            "1.7976931348623157e+308"},
    {DBL_MIN,            "2.2250738585072014e-308"},
    {0x1p-44,            "5.684341886080802e-14"  },
    {0x1p-24,            "5.960464477539063e-08"  },
    {2251799813685249.5, "2251799813685249.5"     },
};

START_TEST(float_is_as_python_prints_it)
{
    struct buf buf;
    buf_init(&buf, 1000);
    json_add_float(&buf, floats[_i].value);
    ck_assert_str_eq(buf.data, floats[_i].json);
    buf_release(&buf);
}
END_TEST

START_TEST(float_reads_back)
{
    unsigned seed = (unsigned)time(NULL);
    printf("# seed %u\n", seed);
    fflush(stdout);
    struct buf buf;
    buf_init(&buf, 100);
    srand(seed);
    for (int i = 0; i < 20000; i++) {
        double value = (double)rand() / (1 + rand() % 100000);
        buf_clear(&buf);
        json_add_float(&buf, value);
        ck_assert_msg(strtod(buf.data, NULL) == value, "seed %u: %s is not %.17g", seed, buf.data,
                      value);
    }
    buf_release(&buf);
}
END_TEST

START_TEST(float_does_not_follow_the_locale)
{
    static const char *const with_comma[] = {"de_DE.UTF-8", "fr_FR.UTF-8", "de_DE", "nl_NL.UTF-8"};
    struct buf buf;
    for (size_t i = 0; i < sizeof(with_comma) / sizeof(with_comma[0]); i++)
        if (setlocale(LC_ALL, with_comma[i]))
            break;
    buf_init(&buf, 100);
    json_add_float(&buf, 1234.5);
    ck_assert_str_eq(buf.data, "1234.5");
    buf_release(&buf);
}
END_TEST

START_TEST(utf8_is_told_from_other_bytes)
{
    static const struct {
        const char *data;
        size_t len;
        int valid;
    } cases[] = {
        {"",                                                                         0,  1},
        {"abc",                                                                      3,  1},
        {"a\0b",                                                                     3,  1},
        {"\x7f",                                                                     1,  1},
        {"\xc2\x80\xdf\xbf\xe0\xa0\x80\xef\xbf\xbf\xf0\x90\x80\x80\xf4\x8f\xbf\xbf", 18, 1},
        {"\xed\x9f\xbf\xee\x80\x80",                                                 6,  1},
        {"\x80",                                                                     1,  0},
        {"\xbf",                                                                     1,  0},
        {"\xc1\xbf",                                                                 2,  0},
        {"\xe0\x9f\xbf",                                                             3,  0},
        {"\xed\xa0\x80",                                                             3,  0},
        {"\xed\xbf\xbf",                                                             3,  0},
        {"\xf0\x8f\xbf\xbf",                                                         4,  0},
        {"\xf4\x90\x80\x80",                                                         4,  0},
        {"\xf5\x80\x80\x80",                                                         4,  0},
        {"\xf8\x88\x80\x80\x80",                                                     5,  0},
        {"\xfe",                                                                     1,  0},
        {"\xff",                                                                     1,  0},
        {"\xc3\xa9",                                                                 1,  0},
        {"\xf0\x9f\x98\x80",                                                         3,  0},
        {"\xc3(",                                                                    2,  0},
        {"\xe2\x28\xa1",                                                             3,  0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        ck_assert_msg(json_is_utf8(cases[i].data, cases[i].len) == cases[i].valid, "case %zu", i);
}
END_TEST

/* --- reading --- */

static int read_text(const char *text, struct json_object **ret_object)
{
    char message[128] = "";
    int r = json_read(text, strlen(text), ret_object, message);
    ck_assert_msg(r == 0 || (r == -EBADMSG && message[0]), "%s: %d", text, r);
    return r;
}

START_TEST(objects_are_read)
{
    static const char *const good[] = {
        "{}",
        " {\n}\r\n\t",
        "{\"a\": -1, \"b\": [1, 2.5e3, \"x\", null, true, {}]}",
        "{\"\\u00e9\\ud83d\\ude00\": \"\xc3\xa9\"}",
        "{\"1\":{\"2\":{\"3\":{\"4\":{\"5\":{\"6\":{\"7\":1}}}}}}}",
    };
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct json_object *object = NULL;
        ck_assert_int_eq(read_text(good[i], &object), 0);
        ck_assert(json_is_object(object));
        json_release(object);
    }
    json_release(NULL);
}
END_TEST

START_TEST(what_is_no_object_is_refused)
{
    static const char *const bad[] = {
        "",
        " ",
        "{",
        "}",
        "{\"a\"",
        "{\"a\":",
        "{\"a\":1",
        "{\"a\":\"",
        "{\"a\":1,}",
        "{,}",
        "{\"a\":1}}",
        "{\"a\":1}x",
        "{} {}",
        "[]",
        "[{}]",
        "null",
        "1",
        "\"a\"",
        "true",
        "{a:1}",
        "{\"a\" 1}",
        "{\"a\":01}",
        "{\"a\":+1}",
        "{\"a\":TRUE}",
        "{\"a\":\"\\q\"}",
        "{\"a\":\"\\u12\"}",
        "{\"a\":\"\xff\"}",
        "{\"a\":\"\xed\xa0\x80\"}",
        "\xef\xbb\xbf{}",
        "{/**/}",
        "{}//",
        "{\"1\":{\"2\":{\"3\":{\"4\":{\"5\":{\"6\":{\"7\":{\"8\":1}}}}}}}}",
    };
    char message[128];
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct json_object *object = NULL;
        ck_assert_msg(read_text(bad[i], &object) == -EBADMSG, "%s", bad[i]);
        ck_assert_ptr_null(object);
    }
    struct json_object *object = NULL;
    ck_assert_int_eq(json_read("{}\0", 3, &object, message), -EBADMSG);
    ck_assert_str_eq(message, "it holds a NUL");
    ck_assert_ptr_null(object);
}
END_TEST

static int note_name(void *data, const char *name, struct json_object *value)
{
    struct buf *names = data;
    buf_printf(names, "%s%s ", name, value ? "" : "=null");
    return strcmp(name, "stop") == 0 ? -ECANCELED : 0;
}

START_TEST(members_are_visited_in_order)
{
    struct buf names;
    struct json_object *object = NULL;
    buf_init(&names, 100);
    ck_assert_int_eq(read_text("{\"b\":1,\"a\":null,\"c\":2}", &object), 0);
    ck_assert_int_eq(json_each(object, note_name, &names), 0);
    ck_assert_str_eq(names.data, "b a=null c ");
    json_release(object);
    buf_clear(&names);
    ck_assert_int_eq(read_text("{\"b\":1,\"stop\":1,\"c\":2}", &object), 0);
    ck_assert_int_eq(json_each(object, note_name, &names), -ECANCELED);
    ck_assert_str_eq(names.data, "b stop ");
    json_release(object);
    buf_release(&names);
}
END_TEST

/* Letters for what a value is taken for. */
static int note_kind(void *data, const char *name, struct json_object *value)
{
    struct buf *kinds = data;
    const char *text;
    int64_t number;
    bool truth;
    int r = json_get_text(value, &text);
    ck_assert(r == 0 || r == -EINVAL || r == -EILSEQ);
    buf_printf(kinds, "%s%s%s%s%s%s ", name, r == 0 ? "T" : "", r == -EILSEQ ? "N" : "",
               json_get_integer(value, &number) == 0 ? "I" : "",
               json_get_bool(value, &truth) == 0 ? "B" : "", json_is_object(value) ? "O" : "");
    return 0;
}

START_TEST(a_value_is_one_thing)
{
    struct buf kinds;
    struct json_object *object = NULL;
    buf_init(&kinds, 200);
    ck_assert_int_eq(read_text("{\"a\":\"x\",\"b\":\"\",\"c\":\"x\\u0000y\",\"d\":1,\"e\":1.0,"
                               "\"f\":true,\"g\":null,\"h\":{},\"i\":[],\"j\":\"1\",\"k\":1e3}",
                               &object),
                     0);
    ck_assert_int_eq(json_each(object, note_kind, &kinds), 0);
    ck_assert_str_eq(kinds.data, "aT bT cN dI e fB g hO i jT k ");
    json_release(object);
    buf_release(&kinds);
}
END_TEST

static int add_number(void *data, const char *name, struct json_object *value)
{
    struct buf *numbers = data;
    int64_t number = 0;
    (void)name;
    ck_assert_int_eq(json_get_integer(value, &number), 0);
    return buf_printf(numbers, "%lld ", (long long)number);
}

START_TEST(numbers_stay_within_bounds)
{
    struct buf numbers;
    struct json_object *object = NULL;
    buf_init(&numbers, 200);
    ck_assert_int_eq(read_text("{\"a\":-9223372036854775808,\"b\":9223372036854775807,"
                               "\"c\":9223372036854775808,\"d\":99999999999999999999999,"
                               "\"e\":-99999999999999999999999}",
                               &object),
                     0);
    ck_assert_int_eq(json_each(object, add_number, &numbers), 0);
    ck_assert_str_eq(numbers.data, "-9223372036854775808 9223372036854775807 9223372036854775807 "
                                   "9223372036854775807 -9223372036854775808 ");
    json_release(object);
    buf_release(&numbers);
}
END_TEST

/* Damaged texts: an answer, and no more. */
START_TEST(any_bytes_are_survived)
{
    static const char good[] = "{\"url\": \"http://h/\\u00e9\", \"headers\": {\"A\": \"b\"}, "
                               "\"retries\": 12, \"x\": [1.5, null, true]}";
    unsigned seed = (unsigned)time(NULL);
    printf("# seed %u\n", seed);
    fflush(stdout);
    srand(seed);
    for (int i = 0; i < 20000; i++) {
        char text[sizeof(good)], message[128];
        size_t len = sizeof(good) - 1;
        struct json_object *object = NULL;
        memcpy(text, good, sizeof(good));
        for (int changes = 1 + rand() % 3; changes > 0; changes--)
            text[(size_t)rand() % len] = (char)(rand() % 256);
        if (rand() % 4 == 0)
            text[len = (size_t)rand() % len] = '\0';
        int r = json_read(text, len, &object, message);
        ck_assert_msg(r == 0 || r == -EBADMSG, "seed %u: %d", seed, r);
        ck_assert_msg((r == 0) == (object != NULL), "seed %u", seed);
        json_release(object);
    }
}
END_TEST

static Suite *suite(void)
{
    Suite *suite = suite_create("json");
    TCase *tcase = tcase_create("json");
    tcase_add_loop_test(tcase, string_is_as_python_prints_it, 0,
                        sizeof(strings) / sizeof(strings[0]));
    tcase_add_loop_test(tcase, float_is_as_python_prints_it, 0, sizeof(floats) / sizeof(floats[0]));
    tcase_add_test(tcase, float_reads_back);
    tcase_add_test(tcase, float_does_not_follow_the_locale);
    tcase_add_test(tcase, utf8_is_told_from_other_bytes);
    tcase_add_test(tcase, objects_are_read);
    tcase_add_test(tcase, what_is_no_object_is_refused);
    tcase_add_test(tcase, members_are_visited_in_order);
    tcase_add_test(tcase, a_value_is_one_thing);
    tcase_add_test(tcase, numbers_stay_within_bounds);
    tcase_add_test(tcase, any_bytes_are_survived);
    suite_add_tcase(suite, tcase);
    return suite;
}

int main(void)
{
    return tap_main(suite());
}
