#include "common/units.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <string.h>
#include <time.h>

#define MOMENT_MAX INT64_C(253402300799999) /* the last of the year 9999 */

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

bool units_scan_digits(const char **text, int64_t *ret_value)
{
    uint64_t value = 0;
    const char *end = *text;
    if (scan_number(*text, &value, &end) < 0 || value > INT64_MAX)
        return false;
    *text = end;
    *ret_value = (int64_t)value;
    return true;
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

/* A number of exactly `digits` digits, which are skipped. -1: it is none, or too large. */
static int take_digits(const char **text, int digits, int max)
{
    int value = 0;
    for (int i = 0; i < digits; i++) {
        if (!isdigit((unsigned char)(*text)[i]))
            return -1;
        value = 10 * value + (*text)[i] - '0';
    }
    *text += digits;
    return value <= max ? value : -1;
}

static bool take_char(const char **text, char c)
{
    bool is = **text == c;
    *text += is;
    return is;
}

/* "2030-01-31T22:00:00", which is in the calendar. */
static bool take_date_and_time(const char **text, struct tm *tm)
{
    static const struct {
        int digits, max;
        char after; /* 0: nothing */
    } parts[6] = {
        {4, 9999, '-'},
        {2, 12,   '-'},
        {2, 31,   'T'},
        {2, 23,   ':'},
        {2, 59,   ':'},
        {2, 59,   0  }
    };
    int values[6];
    for (int i = 0; i < 6; i++) {
        values[i] = take_digits(text, parts[i].digits, parts[i].max);
        if (values[i] < 0 || (parts[i].after && !take_char(text, parts[i].after)))
            return false;
    }
    struct tm given = {.tm_year = values[0] - 1900,
                       .tm_mon = values[1] - 1,
                       .tm_mday = values[2],
                       .tm_hour = values[3],
                       .tm_min = values[4],
                       .tm_sec = values[5]};
    *tm = given;
    timegm(tm);
    return tm->tm_mon == given.tm_mon && tm->tm_mday == given.tm_mday;
}

/* ".5": the milliseconds of it. -1: there is a point and no digit. */
static int take_fraction(const char **text)
{
    int ms = 0, unit = 100;
    if (!take_char(text, '.'))
        return 0;
    if (!isdigit((unsigned char)**text))
        return -1;
    for (; isdigit((unsigned char)**text); unit /= 10)
        ms += unit * (*(*text)++ - '0');
    return ms;
}

/* "Z" or "+01:00", in seconds. */
static bool take_zone(const char **text, int *ret_seconds)
{
    int sign = **text == '-' ? -1 : 1;
    *ret_seconds = 0;
    if (take_char(text, 'Z'))
        return true;
    if (!take_char(text, '+') && !take_char(text, '-'))
        return false;
    int hours = take_digits(text, 2, 23);
    int minutes = hours >= 0 && take_char(text, ':') ? take_digits(text, 2, 59) : -1;
    *ret_seconds = sign * (hours * 3600 + minutes * 60);
    return minutes >= 0;
}

int units_parse_moment(const char *text, int64_t *ret_ms)
{
    struct tm tm;
    int ms = 0, zone;
    if (!take_date_and_time(&text, &tm) || (ms = take_fraction(&text)) < 0 ||
        !take_zone(&text, &zone) || *text)
        return -EINVAL;
    int64_t moment = ((int64_t)timegm(&tm) - zone) * 1000 + ms;
    if (moment <= 0 || moment > MOMENT_MAX)
        return -EINVAL;
    *ret_ms = moment;
    return 0;
}

int64_t units_now_realtime(void)
{
    return now(CLOCK_REALTIME);
}

int64_t units_now_boottime(void)
{
    return now(CLOCK_BOOTTIME);
}

int units_timeout(int64_t boottime)
{
    int64_t left = boottime - units_now_boottime();
    return left < 1 ? 1 : left > INT_MAX ? INT_MAX : (int)left;
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

void units_condition_init(pthread_cond_t *condition)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(condition, &attributes);
    pthread_condattr_destroy(&attributes);
}
