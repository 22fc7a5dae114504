#include <errno.h>
#include <stddef.h>
#include <time.h>

#include "common/units.h"
#include "tap.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

START_TEST(uint_values)
{
    static const struct {
        const char *text;
        uint64_t min, max;
        int r;
        uint64_t value;
    } cases[] = {
        {"0",                                 0, 10,         0,       0         },
        {"1",                                 1, 1000,       0,       1         },
        {"1000",                              1, 1000,       0,       1000      },
        {"007",                               1, 1000,       0,       7         },
        {"18446744073709551615",              0, UINT64_MAX, 0,       UINT64_MAX},
        {"0",                                 1, 1000,       -ERANGE, 0         },
        {"1001",                              1, 1000,       -ERANGE, 0         },
        {"18446744073709551616",              0, UINT64_MAX, -ERANGE, 0         },
        {"99999999999999999999999999999999",  0, UINT64_MAX, -ERANGE, 0         },
        {"99999999999999999999999999999999x", 0, UINT64_MAX, -EINVAL, 0         },
        {"",                                  0, 10,         -EINVAL, 0         },
        {"-1",                                0, 10,         -EINVAL, 0         },
        {"+1",                                0, 10,         -EINVAL, 0         },
        {" 1",                                0, 10,         -EINVAL, 0         },
        {"1 ",                                0, 10,         -EINVAL, 0         },
        {"1\n",                               0, 10,         -EINVAL, 0         },
        {"0x1",                               0, 10,         -EINVAL, 0         },
        {"1.0",                               0, 10,         -EINVAL, 0         },
        {"abc",                               0, 10,         -EINVAL, 0         },
        {"\xd9\xa1",                          0, 10,         -EINVAL, 0         },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        uint64_t value = 4711;
        int r = units_parse_uint(cases[i].text, cases[i].min, cases[i].max, &value);
        ck_assert_msg(r == cases[i].r, "%s: %d", cases[i].text, r);
        ck_assert_msg(value == (r ? 4711 : cases[i].value), "%s", cases[i].text);
    }
}
END_TEST

typedef int (*parser)(const char *text, int64_t *ret_value);

struct scaled {
    const char *text;
    int r;
    int64_t value;
};

static void check_scaled(parser parse, const struct scaled *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int64_t value = 4711;
        int r = parse(cases[i].text, &value);
        ck_assert_msg(r == cases[i].r, "%s: %d", cases[i].text, r);
        ck_assert_msg(value == (r ? 4711 : cases[i].value), "%s: %lld", cases[i].text,
                      (long long)value);
    }
}

START_TEST(size_values)
{
    static const struct scaled cases[] = {
        {"0",                        0,       0              },
        {"512",                      0,       512            },
        {"64K",                      0,       65536          },
        {"10M",                      0,       10485760       },
        {"4G",                       0,       4294967296     },
        {"1T",                       0,       1099511627776  },
        {"9223372036854775807",      0,       INT64_MAX      },
        {"8388607T",                 0,       8388607LL << 40},
        {"9223372036854775808",      -ERANGE, 0              },
        {"8388608T",                 -ERANGE, 0              },
        {"99999999999999999999999K", -ERANGE, 0              },
        {"",                         -EINVAL, 0              },
        {"K",                        -EINVAL, 0              },
        {"1k",                       -EINVAL, 0              },
        {"1KB",                      -EINVAL, 0              },
        {"1 K",                      -EINVAL, 0              },
        {"1.5G",                     -EINVAL, 0              },
        {"-1",                       -EINVAL, 0              },
        {"off",                      -EINVAL, 0              },
    };
    check_scaled(units_parse_size, cases, COUNT(cases));
}
END_TEST

START_TEST(duration_values)
{
    static const struct scaled cases[] = {
        {"0",                      0,       0                        },
        {"1",                      0,       1000                     },
        {"500ms",                  0,       500                      },
        {"30s",                    0,       30000                    },
        {"10m",                    0,       600000                   },
        {"2h",                     0,       7200000                  },
        {"30d",                    0,       2592000000               },
        {"9223372036854775807ms",  0,       INT64_MAX                },
        {"106751991167d",          0,       106751991167LL * 86400000},
        {"106751991168d",          -ERANGE, 0                        },
        {"9223372036854775807",    -ERANGE, 0                        },
        {"18446744073709551616ms", -ERANGE, 0                        },
        {"",                       -EINVAL, 0                        },
        {"s",                      -EINVAL, 0                        },
        {"1w",                     -EINVAL, 0                        },
        {"1S",                     -EINVAL, 0                        },
        {"1m30s",                  -EINVAL, 0                        },
        {"1 s",                    -EINVAL, 0                        },
        {"-1s",                    -EINVAL, 0                        },
        {"99999999999999999999w",  -EINVAL, 0                        },
    };
    check_scaled(units_parse_duration, cases, COUNT(cases));
}
END_TEST

START_TEST(boolean_values)
{
    static const char *const yes[] = {"yes", "true", "on", "1"};
    static const char *const no[] = {"no", "false", "off", "0"};
    static const char *const neither[] = {"", "Yes", "y", "2", "yes ", "01"};
    for (size_t i = 0; i < COUNT(yes); i++) {
        bool value = false;
        ck_assert_int_eq(units_parse_bool(yes[i], &value), 0);
        ck_assert(value);
        ck_assert_int_eq(units_parse_bool(no[i], &value), 0);
        ck_assert(!value);
    }
    for (size_t i = 0; i < COUNT(neither); i++) {
        bool value = true;
        ck_assert_int_eq(units_parse_bool(neither[i], &value), -EINVAL);
        ck_assert(value);
    }
}
END_TEST

START_TEST(clocks_run)
{
    int64_t real = units_now_realtime(), boot = units_now_boottime();
    ck_assert_int_le(real / 1000 - (int64_t)time(NULL), 1);
    ck_assert_int_le((int64_t)time(NULL) - real / 1000, 5);
    ck_assert_int_gt(boot, 0);
    ck_assert_int_ge(units_now_boottime(), boot);
}
END_TEST

/* What pthread_cond_timedwait(3) takes, and as far ahead as was asked for. */
START_TEST(times_to_wait_for)
{
    static const int64_t waits[] = {0, 1, 999, 1000, 1001, 86400000};
    for (int i = 0; i < 6000; i++) {
        int64_t wait = waits[i % COUNT(waits)];
        struct timespec before, after, then;
        clock_gettime(CLOCK_MONOTONIC, &before);
        then = units_monotonic_in(wait);
        clock_gettime(CLOCK_MONOTONIC, &after);
        ck_assert(then.tv_nsec >= 0 && then.tv_nsec < 1000000000);
        int64_t at = then.tv_sec * 1000000000LL + then.tv_nsec - wait * 1000000;
        ck_assert_int_ge(at, before.tv_sec * 1000000000LL + before.tv_nsec);
        ck_assert_int_le(at, after.tv_sec * 1000000000LL + after.tv_nsec);
    }
}
END_TEST

static const struct {
    const char *text;
    int64_t ms; /* 0: none */
} moments[] = {
    {"1970-01-01T00:00:01Z",             1000                    },
    {"2030-01-31T22:00:00Z",             INT64_C(1896127200000)  },
    {"2030-01-31T23:00:00.5+01:00",      INT64_C(1896127200500)  },
    {"2030-01-31T16:30:00.123456-05:30", INT64_C(1896127200123)  },
    {"2028-02-29T00:00:00Z",             INT64_C(1835395200000)  },
    {"9999-12-31T23:59:59.999Z",         INT64_C(253402300799999)},
    {"1970-01-01T00:00:00Z",             0                       },
    {"2030-02-29T00:00:00Z",             0                       },
    {"2030-13-01T00:00:00Z",             0                       },
    {"2030-00-01T00:00:00Z",             0                       },
    {"2030-01-00T00:00:00Z",             0                       },
    {"2030-01-01T24:00:00Z",             0                       },
    {"2030-01-01T00:00:60Z",             0                       },
    {"2030-01-01T00:00:00",              0                       },
    {"2030-01-01T00:00:00.Z",            0                       },
    {"2030-01-01T00:00:00+1:00",         0                       },
    {"2030-01-01T00:00:00+0100",         0                       },
    {"2030-01-01T00:00:00Z ",            0                       },
    {"2030-1-01T00:00:00Z",              0                       },
    {"2030-01-01 00:00:00Z",             0                       },
    {"2030-01-01",                       0                       },
    {"9999-12-31T23:59:59-00:01",        0                       },
    {"tomorrow",                         0                       },
    {"",                                 0                       },
};

START_TEST(parse_moment)
{
    int64_t ms = 0;
    ck_assert_int_eq(units_parse_moment(moments[_i].text, &ms), moments[_i].ms ? 0 : -EINVAL);
    ck_assert_int_eq(ms, moments[_i].ms);
}
END_TEST

static Suite *suite(void)
{
    Suite *suite = suite_create("units");
    TCase *tcase = tcase_create("units");
    tcase_add_test(tcase, uint_values);
    tcase_add_test(tcase, size_values);
    tcase_add_test(tcase, duration_values);
    tcase_add_test(tcase, boolean_values);
    tcase_add_test(tcase, clocks_run);
    tcase_add_test(tcase, times_to_wait_for);
    tcase_add_loop_test(tcase, parse_moment, 0, sizeof moments / sizeof *moments);
    suite_add_tcase(suite, tcase);
    return suite;
}

int main(void)
{
    return tap_main(suite());
}
