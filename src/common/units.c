#include "common/units.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <time.h>

struct suffix {
    const char *text;
    int64_t factor;
};

/* The decimal number at the start of `text`. 0, -EINVAL (no digit there) or -ERANGE; the end of
 * the digits is given for both 0 and -ERANGE. */
static int scan_number(const char *text, uint64_t *ret_value, const char **ret_end)
{
    uint64_t value = 0;
    bool overflow = false;
    const char *c;
    for (c = text; *c >= '0' && *c <= '9'; c++)
        overflow |= __builtin_mul_overflow(value, 10, &value) ||
                    __builtin_add_overflow(value, (uint64_t)(*c - '0'), &value);
    if (c == text)
        return -EINVAL;
    *ret_end = c;
    if (overflow)
        return -ERANGE;
    *ret_value = value;
    return 0;
}

int units_parse_uint(const char *text, uint64_t min, uint64_t max, uint64_t *ret_value)
{
    uint64_t value = 0;
    const char *end = text;
    int r = scan_number(text, &value, &end);
    if (r == -EINVAL || *end != '\0')
        return -EINVAL;
    if (r < 0 || value < min || value > max)
        return -ERANGE;
    *ret_value = value;
    return 0;
}

static int parse_with_suffix(const char *text, const struct suffix *suffixes, size_t count,
                             int64_t *ret_value)
{
    uint64_t number = 0;
    const char *end = text;
    int r = scan_number(text, &number, &end);
    if (r == -EINVAL)
        return r;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(end, suffixes[i].text) != 0)
            continue;
        int64_t value;
        if (r < 0 || __builtin_mul_overflow(number, suffixes[i].factor, &value))
            return -ERANGE;
        *ret_value = value;
        return 0;
    }
    return -EINVAL;
}

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

int units_parse_size(const char *text, int64_t *ret_bytes)
{
    static const struct suffix suffixes[] = {
        {"",  1               },
        {"K", INT64_C(1) << 10},
        {"M", INT64_C(1) << 20},
        {"G", INT64_C(1) << 30},
        {"T", INT64_C(1) << 40},
    };
    return parse_with_suffix(text, suffixes, COUNT(suffixes), ret_bytes);
}

int units_parse_duration(const char *text, int64_t *ret_ms)
{
    static const struct suffix suffixes[] = {
        {"",   1000    },
        {"ms", 1       },
        {"s",  1000    },
        {"m",  60000   },
        {"h",  3600000 },
        {"d",  86400000},
    };
    return parse_with_suffix(text, suffixes, COUNT(suffixes), ret_ms);
}

int units_parse_bool(const char *text, bool *ret_value)
{
    static const char *const words[][2] = {
        {"no",    "yes" },
        {"false", "true"},
        {"off",   "on"  },
        {"0",     "1"   },
    };
    for (size_t i = 0; i < COUNT(words); i++) {
        for (int value = 0; value < 2; value++) {
            if (strcmp(text, words[i][value]) == 0) {
                *ret_value = value;
                return 0;
            }
        }
    }
    return -EINVAL;
}

static int64_t now(clockid_t clock)
{
    struct timespec time;
    clock_gettime(clock, &time);
    return (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

int64_t units_now_realtime(void)
{
    return now(CLOCK_REALTIME);
}

int64_t units_now_boottime(void)
{
    return now(CLOCK_BOOTTIME);
}

struct timespec units_monotonic_in(int64_t ms)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    time.tv_nsec += ms % 1000 * 1000000;
    time.tv_sec += ms / 1000 + time.tv_nsec / 1000000000;
    time.tv_nsec %= 1000000000;
    return time;
}
