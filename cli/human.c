#include "human.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "common/units.h"
#include "output.h"

const char *human_size(int64_t bytes, char text[static HUMAN_MAX])
{
    static const char units[] = "KMGTPE";
    double value = (double)bytes;
    int unit = -1;

    while (value >= 999.5 && unit < 5) { /* never four digits */
        value /= 1024;
        unit++;
    }
    if (unit < 0)
        snprintf(text, HUMAN_MAX, "%" PRId64, bytes);
    else
        snprintf(text, HUMAN_MAX, value < 9.95 ? "%.1f%c" : "%.0f%c", value, units[unit]);
    return text;
}

const char *human_duration(int64_t ms, char text[static HUMAN_MAX])
{
    int64_t seconds = (ms + 500) / 1000;

    if (ms < 9950 && ms % 1000 == 0)
        snprintf(text, HUMAN_MAX, "%" PRId64 "s", seconds);
    else if (ms < 9950)
        snprintf(text, HUMAN_MAX, "%.1fs", (double)(ms < 0 ? 0 : ms) / 1000);
    else if (seconds < 60)
        snprintf(text, HUMAN_MAX, "%" PRId64 "s", seconds);
    else if (seconds < 3600)
        snprintf(text, HUMAN_MAX, "%" PRId64 "m %02" PRId64 "s", seconds / 60, seconds % 60);
    else if (seconds < 86400)
        snprintf(text, HUMAN_MAX, "%" PRId64 "h %02" PRId64 "m", seconds / 3600, seconds / 60 % 60);
    else
        snprintf(text, HUMAN_MAX, "%" PRId64 "d %" PRId64 "h", seconds / 86400,
                 seconds / 3600 % 24);
    return text;
}

static struct tm local(int64_t ms)
{
    time_t seconds = (time_t)(ms / 1000);
    struct tm tm = {0};

    localtime_r(&seconds, &tm);
    return tm;
}

const char *human_time(int64_t ms, char text[static HUMAN_MAX])
{
    /* The service counts on another clock, and may be off by a millisecond. */
    struct tm tm = local(ms + 500), now = local(units_now_realtime());
    bool today = tm.tm_year == now.tm_year && tm.tm_yday == now.tm_yday;

    strftime(text, HUMAN_MAX, today ? "%H:%M" : "%Y-%m-%d %H:%M", &tm);
    return text;
}

const char *human_rfc3339(int64_t ms, char text[static HUMAN_MAX])
{
    time_t seconds = (time_t)(ms / 1000);
    struct tm tm = {0};

    gmtime_r(&seconds, &tm);
    size_t len = strftime(text, HUMAN_MAX, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(text + len, HUMAN_MAX - len, ".%03dZ", (int)(ms % 1000));
    return text;
}

const char *human_ordinal(int64_t number, char text[static HUMAN_MAX])
{
    static const char *const ends[] = {"th", "st", "nd", "rd"};
    int64_t digit = number / 10 % 10 == 1 ? 0 : number % 10; /* 11th, 12th, 13th */

    snprintf(text, HUMAN_MAX, "%" PRId64 "%s", number, ends[digit < 4 ? digit : 0]);
    return text;
}

/* --- what people write --- */

/* "14:02" or "14:02:30". */
static bool parse_clock(const char *text, struct tm *tm)
{
    int hour, minute, second = 0, end = 0;

    if (sscanf(text, "%2d:%2d%n:%2d%n", &hour, &minute, &end, &second, &end) < 2 || text[end] ||
        strspn(text, "0123456789:") != strlen(text))
        return false;
    if (hour > 23 || minute > 59 || second > 59)
        return false;
    tm->tm_hour = hour, tm->tm_min = minute, tm->tm_sec = second;
    return true;
}

static bool is_in_calendar(struct tm tm)
{
    int day = tm.tm_mday;
    tm.tm_hour = 12;
    timegm(&tm);
    return tm.tm_mday == day;
}

/* A word or a date at the start, which is skipped with the blanks behind it. */
static bool parse_day(const char **text, struct tm *tm)
{
    static const char *const days[] = {"yesterday", "today", "tomorrow"};
    int year, month, day, end = 0;

    for (int i = 0; i < 3; i++) {
        if (strncasecmp(*text, days[i], strlen(days[i])) != 0)
            continue;
        tm->tm_mday += i - 1;
        end = (int)strlen(days[i]);
    }
    if (!end) {
        if (sscanf(*text, "%4d-%2d-%2d%n", &year, &month, &day, &end) != 3 || end != 10)
            return false;
        tm->tm_year = year - 1900, tm->tm_mon = month - 1, tm->tm_mday = day;
        if (month < 1 || month > 12 || !is_in_calendar(*tm))
            return false;
    }
    *text += end;
    size_t blanks = strspn(*text, " T");
    if (**text && blanks == 0)
        return false;
    *text += blanks;
    return true;
}

/* Milliseconds; a clock that jumps over the hour, or "tomorrow" at the end of a month, is set
 * right. */
static int64_t moment(struct tm *tm)
{
    tm->tm_isdst = -1;
    time_t seconds = mktime(tm);
    return seconds < 0 ? -1 : (int64_t)seconds * 1000;
}

static bool parse_words(const char *text, bool is_past, int64_t *ret_ms)
{
    int64_t now = units_now_realtime();
    struct tm tm = local(now);
    bool has_day = parse_day(&text, &tm);

    tm.tm_hour = tm.tm_min = tm.tm_sec = 0;
    if ((*text || !has_day) && !parse_clock(text, &tm))
        return false;
    struct tm other = tm;
    int64_t ms = moment(&tm);
    if (!has_day && (is_past ? ms > now : ms <= now)) { /* mktime(3) knows clock changes */
        other.tm_mday += is_past ? -1 : 1;
        ms = moment(&other);
    }
    *ret_ms = ms;
    return ms > 0;
}

enum api_exit human_parse_time(const char *what, const char *text, bool is_past, int64_t *ret_ms)
{
    int64_t now = units_now_realtime(), length;

    if (units_parse_moment(text, ret_ms) == 0 || parse_words(text, is_past, ret_ms))
        return API_EXIT_DONE;
    if (strcasecmp(text, "now") == 0) {
        *ret_ms = now;
        return API_EXIT_DONE;
    }
    if (units_parse_duration(text, &length) == 0 && length < now) {
        *ret_ms = is_past ? now - length : now + length;
        return API_EXIT_DONE;
    }
    return output_fail(API_EXIT_USAGE,
                       "%s takes a time such as 18:00, %s, 2030-01-31 or 2h%s, not \"%s\"", what,
                       is_past ? "yesterday" : "'tomorrow 6:00'", is_past ? " (ago)" : "", text);
}

enum api_exit human_parse_duration(const char *what, const char *text, int64_t *ret_ms)
{
    if (units_parse_duration(text, ret_ms) == 0 && *ret_ms <= INT64_C(1000) * API_PAUSE_MAX)
        return API_EXIT_DONE;
    return output_fail(API_EXIT_USAGE, "%s takes a duration such as 90s, 15m, 2h or 1d, not \"%s\"",
                       what, text);
}

enum api_exit human_parse_rate(const char *what, const char *text, int64_t *ret_rate)
{
    int64_t rate;

    if (strcasecmp(text, "off") == 0) {
        *ret_rate = 0;
        return API_EXIT_DONE;
    }
    if (units_parse_size(text, &rate) < 0 || rate == 0)
        return output_fail(API_EXIT_USAGE,
                           "%s takes bytes a second such as 500K or 2M, or off, not \"%s\"", what,
                           text);
    *ret_rate = rate;
    return API_EXIT_DONE;
}
