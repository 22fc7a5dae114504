#include "transfer/retry.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <time.h>

#define ANY_STATUS 0

enum worth {
    NEVER,
    FEW_TIMES, /* RETRY_RESOLVE_TIMES, unless bytes came from there already */
    RETRIED,
};

/* Each word of the API that an attempt can fail with; the first line that fits counts. */
static const struct rule {
    const char *code;
    int status;
    enum worth worth;
} rules[] = {
    {"resolve",    ANY_STATUS, FEW_TIMES},
    {"connect",    ANY_STATUS, RETRIED  },
    {"timeout",    ANY_STATUS, RETRIED  },
    {"stalled",    ANY_STATUS, RETRIED  },
    {"reset",      ANY_STATUS, RETRIED  },
    {"truncated",  ANY_STATUS, RETRIED  },
    {"changed",    ANY_STATUS, RETRIED  }, /* from zero */
    {"http",       408,        RETRIED  },
    {"http",       425,        RETRIED  },
    {"http",       429,        RETRIED  },
    {"http",       500,        RETRIED  },
    {"http",       502,        RETRIED  },
    {"http",       503,        RETRIED  },
    {"http",       504,        RETRIED  },
    {"http",       ANY_STATUS, NEVER    },
    {"url",        ANY_STATUS, NEVER    },
    {"scheme",     ANY_STATUS, NEVER    },
    {"address",    ANY_STATUS, NEVER    },
    {"tls",        ANY_STATUS, NEVER    },
    {"protocol",   ANY_STATUS, NEVER    },
    {"redirect",   ANY_STATUS, NEVER    },
    {"auth",       ANY_STATUS, NEVER    },
    {"too_large",  ANY_STATUS, NEVER    },
    {"checksum",   ANY_STATUS, NEVER    },
    {"permission", ANY_STATUS, NEVER    },
    {"disk",       ANY_STATUS, NEVER    },
    {"exists",     ANY_STATUS, NEVER    },
    {"dependency", ANY_STATUS, NEVER    },
    {"internal",   ANY_STATUS, NEVER    },
};

static enum worth look_up(const struct download_result *result)
{
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        if (strcmp(rules[i].code, result->error_code) == 0 &&
            (rules[i].status == ANY_STATUS || rules[i].status == result->http_status))
            return rules[i].worth;
    return NEVER;
}

static int forgiven(enum worth worth, const struct retry_policy *policy,
                    const struct retry_history *history)
{
    if (worth == FEW_TIMES && history->bytes == 0 && policy->retries > RETRY_RESOLVE_TIMES)
        return RETRY_RESOLVE_TIMES;
    return policy->retries;
}

static int64_t back_off(const struct retry_policy *policy, int failures, uint64_t random)
{
    int64_t wait = policy->wait;
    for (; failures > 1 && wait > 0 && wait < policy->max_wait; failures--)
        wait = wait > policy->max_wait / 2 ? policy->max_wait : 2 * wait;
    if (wait > policy->max_wait)
        wait = policy->max_wait;
    int64_t half = wait / 2;
    return wait - half + (int64_t)(random % ((uint64_t)half + 1));
}

struct retry_decision retry_decide(const struct download_result *result,
                                   const struct retry_policy *policy,
                                   const struct retry_history *history, uint64_t random)
{
    assert(result->error_code);
    struct retry_decision decision = {0};
    enum worth worth = look_up(result);
    if (worth == NEVER || history->failures > forgiven(worth, policy, history))
        return decision;

    decision.again = true;
    /* 0, or a date that is over, does not say how long: eight attempts at once would help nobody.
     */
    bool asked = strcmp(result->error_code, "http") == 0 && result->retry_after > 0;
    decision.host = asked && !result->elsewhere;
    decision.wait = asked ? result->retry_after : back_off(policy, history->failures, random);
    return decision;
}

/* HTTP dates (RFC 9110, 5.6.7). strptime(3) depends on the locale and takes what is none. */

static bool scan_digits(const char **text, int count, int *ret_value)
{
    int value = 0;
    for (int i = 0; i < count; i++) {
        char c = (*text)[i];
        if (c < '0' || c > '9')
            return false;
        value = 10 * value + (c - '0');
    }
    *text += count;
    *ret_value = value;
    return true;
}

static bool scan_name(const char **text, const char *const *names, int count, int *ret_index)
{
    for (int i = 0; i < count; i++) {
        size_t len = strlen(names[i]);
        if (strncmp(*text, names[i], len) == 0) {
            *text += len;
            *ret_index = i;
            return true;
        }
    }
    return false;
}

/* Two digits or, when below ten, a space and one. */
static bool scan_padded_day(const char **text, int *ret_day)
{
    if (**text != ' ')
        return scan_digits(text, 2, ret_day);
    ++*text;
    return scan_digits(text, 1, ret_day);
}

/* The one that is nearest; at most 50 years ahead. */
static int full_year(int two_digits, int this_year)
{
    int year = this_year - this_year % 100 + two_digits;
    if (year > this_year + 50)
        return year - 100;
    return year > this_year - 50 ? year : year + 100;
}

/* One conversion of a format below; other characters stand for themselves. */
static bool scan_part(char conversion, const char **text, int this_year, struct tm *tm)
{
    static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char *const long_days[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                            "Thursday", "Friday", "Saturday"};
    static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    switch (conversion) {
    case 'a':
        return scan_name(text, days, 7, &tm->tm_wday);
    case 'A':
        return scan_name(text, long_days, 7, &tm->tm_wday);
    case 'b':
        return scan_name(text, months, 12, &tm->tm_mon);
    case 'd':
        return scan_digits(text, 2, &tm->tm_mday);
    case 'e':
        return scan_padded_day(text, &tm->tm_mday);
    case 'Y':
        return scan_digits(text, 4, &tm->tm_year);
    case 'y':
        if (!scan_digits(text, 2, &tm->tm_year))
            return false;
        tm->tm_year = full_year(tm->tm_year, this_year);
        return true;
    case 'H':
        return scan_digits(text, 2, &tm->tm_hour);
    case 'M':
        return scan_digits(text, 2, &tm->tm_min);
    case 'S':
        return scan_digits(text, 2, &tm->tm_sec);
    default:
        return false;
    }
}

/* The whole text must fit; tm_year is the year itself. */
static bool scan_format(const char *text, const char *format, int this_year, struct tm *tm)
{
    for (; *format; format++) {
        if (*format == '%') {
            if (!scan_part(*++format, &text, this_year, tm))
                return false;
        } else if (*text++ != *format) {
            return false;
        }
    }
    return *text == '\0';
}

/* To seconds since the epoch. */
static bool parse_date(const char *text, time_t now, time_t *ret_time)
{
    static const char *const formats[] = {
        "%a, %d %b %Y %H:%M:%S GMT", /* what is to be sent */
        "%A, %d-%b-%y %H:%M:%S GMT", /* RFC 850 */
        "%a %b %e %H:%M:%S %Y",      /* asctime(3) */
    };
    struct tm today;
    if (!gmtime_r(&now, &today))
        return false;
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        struct tm tm = {0};
        if (!scan_format(text, formats[i], today.tm_year + 1900, &tm))
            continue;
        if (tm.tm_hour > 23 || tm.tm_min > 59 || tm.tm_sec > 60)
            return false;
        tm.tm_year -= 1900;
        int day = tm.tm_mday;
        if (tm.tm_sec == 60) /* a leap second, which time_t does not know */
            tm.tm_sec = 59;
        *ret_time = timegm(&tm);
        return tm.tm_mday == day; /* else there is no such day */
    }
    return false;
}

int retry_parse_date(const char *text, int64_t now, time_t *ret_time)
{
    time_t time;
    if (!parse_date(text, (time_t)(now / 1000), &time))
        return -EINVAL;
    *ret_time = time;
    return 0;
}

/* Decimal digits alone; what is more than the longest wait is that. */
static bool parse_seconds(const char *text, int64_t *ret_ms)
{
    int64_t seconds = 0;
    if (*text == '\0')
        return false;
    for (; *text; text++) {
        if (*text < '0' || *text > '9')
            return false;
        seconds = 10 * seconds + (*text - '0');
        if (seconds > RETRY_AFTER_MAX / 1000)
            seconds = RETRY_AFTER_MAX / 1000;
    }
    *ret_ms = 1000 * seconds;
    return true;
}

int64_t retry_parse_after(const char *value, int64_t now)
{
    char text[64]; /* a number of more digits than that is no wait that anybody means */
    value += strspn(value, " \t");
    size_t len = strlen(value);
    while (len > 0 && (value[len - 1] == ' ' || value[len - 1] == '\t'))
        len--;
    if (len >= sizeof text)
        return -1;
    memcpy(text, value, len);
    text[len] = '\0';

    int64_t wait;
    time_t date;
    if (parse_seconds(text, &wait))
        return wait;
    if (!parse_date(text, now / 1000, &date))
        return -1;
    if (date <= now / 1000)
        return 0;
    return date > (now + RETRY_AFTER_MAX) / 1000 ? RETRY_AFTER_MAX : 1000 * date - now;
}
