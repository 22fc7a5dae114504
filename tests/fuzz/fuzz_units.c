/* Numbers, sizes, durations and checksums as people write them, against arithmetic that cannot
 * overflow. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/units.h"
#include "fuzz.h"
#include "transfer/checksum.h"

/* The number at the start of a text, as far as it fits; and what follows it. */
static bool read_number(const char *text, unsigned __int128 *ret_number, const char **ret_rest)
{
    size_t digits = strspn(text, "0123456789");
    unsigned __int128 number = 0;
    for (size_t i = 0; i < digits; i++)
        if (number <= UINT64_MAX)
            number = 10 * number + (unsigned)(text[i] - '0');
    *ret_number = number;
    *ret_rest = text + digits;
    return digits > 0;
}

static void check_uint(const char *text, uint64_t min, uint64_t max)
{
    unsigned __int128 number;
    const char *rest;
    uint64_t value = 7;
    int r = units_parse_uint(text, min, max, &value);
    if (!read_number(text, &number, &rest) || *rest)
        MUST(r == -EINVAL && value == 7);
    else if (number < min || number > max)
        MUST(r == -ERANGE && value == 7);
    else
        MUST(r == 0 && value == number);
}

static int64_t factor_of(const char *suffix, const char *const *suffixes, const int64_t *factors)
{
    for (; *suffixes; suffixes++, factors++)
        if (strcmp(suffix, *suffixes) == 0)
            return *factors;
    return 0;
}

static void check_suffixed(const char *text, int (*parse)(const char *, int64_t *),
                           const char *const *suffixes, const int64_t *factors)
{
    unsigned __int128 number;
    const char *rest;
    int64_t value = 7;
    int r = parse(text, &value);
    int64_t factor = read_number(text, &number, &rest) ? factor_of(rest, suffixes, factors) : 0;
    if (!factor)
        MUST(r == -EINVAL && value == 7);
    else if (number > INT64_MAX || number * (unsigned __int128)factor > INT64_MAX)
        MUST(r == -ERANGE && value == 7);
    else
        MUST(r == 0 && value == (int64_t)(number * (unsigned __int128)factor));
}

static void check_sizes(const char *text)
{
    static const char *const sizes[] = {"", "K", "M", "G", "T", NULL};
    static const int64_t bytes[] = {1, 1 << 10, 1 << 20, 1 << 30, INT64_C(1) << 40};
    static const char *const durations[] = {"", "ms", "s", "m", "h", "d", NULL};
    static const int64_t ms[] = {1000, 1, 1000, 60000, 3600000, 86400000};
    check_suffixed(text, units_parse_size, sizes, bytes);
    check_suffixed(text, units_parse_duration, durations, ms);
    bool truth;
    int r = units_parse_bool(text, &truth);
    MUST(r == 0 || r == -EINVAL);
}

/* What is normal stays as it is, and a wrong sum is told with both values. */
static void check_checksum(const char *text, const char *data)
{
    char normal[CHECKSUM_TEXT_MAX], again[CHECKSUM_TEXT_MAX], message[400] = "";
    int r = checksum_normalise(text, normal, message);
    MUST(r == 0 || r == -EINVAL);
    if (r < 0) {
        MUST(*message && strlen(message) < 256);
        return;
    }
    MUST(strcasecmp(text, normal) == 0);
    MUST(!strpbrk(normal, "ABCDEF"));
    MUST(checksum_normalise(normal, again, message) == 0 && strcmp(normal, again) == 0);
    struct checksum *checksum;
    r = checksum_create(normal, &checksum);
    MUST(r == 0 || r == -EOPNOTSUPP);
    if (r < 0)
        return;
    checksum_add(checksum, data, strlen(data));
    r = checksum_verify(checksum, message);
    MUST(r == 0 || (r == -EBADMSG && strstr(message, strchr(normal, '=') + 1)));
    checksum_destroy(checksum);
}

/* Two numbers, and two texts. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    uint64_t min = take_number(&input), max = take_number(&input);
    _cleanup_free_ char *text = take_text(&input);
    _cleanup_free_ char *other = take_text(&input);
    check_uint(text, min, max);
    check_uint(text, 0, UINT64_MAX);
    check_sizes(text);
    check_checksum(text, other);
    return 0;
}
