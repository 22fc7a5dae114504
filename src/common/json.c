#include "common/json.h"

#include <assert.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DIGITS_MAX 17 /* enough for every double */

static bool is_continuation(unsigned char byte)
{
    return (byte & 0xC0) == 0x80;
}

size_t json_utf8_char(const char *data, size_t len, uint32_t *ret_code)
{
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    const unsigned char *byte = (const unsigned char *)data;
    if (len == 0)
        return 0;
    if (byte[0] < 0x80) {
        *ret_code = byte[0];
        return 1;
    }

    size_t length = byte[0] >= 0xF0 ? 4 : byte[0] >= 0xE0 ? 3 : 2;
    if (byte[0] < 0xC0 || byte[0] >= 0xF8 || length > len)
        return 0;
    uint32_t code = byte[0] & (0x7Fu >> length);
    for (size_t i = 1; i < length; i++) {
        if (!is_continuation(byte[i]))
            return 0;
        code = code << 6 | (byte[i] & 0x3F);
    }
    if (code < smallest[length] || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF))
        return 0;
    *ret_code = code;
    return length;
}

int json_is_utf8(const char *data, size_t len)
{
    uint32_t code;
    while (len > 0) {
        size_t length = json_utf8_char(data, len, &code);
        if (length == 0)
            return 0;
        data += length;
        len -= length;
    }
    return 1;
}

static void add_code(struct buf *buf, uint32_t code)
{
    static const char short_forms[] = {
        ['"'] = '"',  ['\\'] = '\\', ['\b'] = 'b', ['\f'] = 'f',
        ['\n'] = 'n', ['\r'] = 'r',  ['\t'] = 't',
    };
    if (code < sizeof(short_forms) && short_forms[code])
        buf_printf(buf, "\\%c", short_forms[code]);
    else if (code >= ' ' && code <= '~')
        buf_add_char(buf, (char)code);
    else if (code <= 0xFFFF)
        buf_printf(buf, "\\u%04x", code);
    else
        buf_printf(buf, "\\u%04x\\u%04x", 0xD800 + ((code - 0x10000) >> 10),
                   0xDC00 + ((code - 0x10000) & 0x3FF));
}

void json_add_string(struct buf *buf, const char *string)
{
    size_t len = strlen(string);
    buf_add_char(buf, '"');
    while (len > 0) {
        uint32_t code;
        size_t length = json_utf8_char(string, len, &code);
        if (length == 0) {
            code = 0xDC00 + (unsigned char)*string;
            length = 1;
        }
        add_code(buf, code);
        string += length;
        len -= length;
    }
    buf_add_char(buf, '"');
}

/* Rounds a positive value to so many significant digits; the value is near 0.DIGITS times ten to
 * the power of `*ret_point`. */
static void round_to(double value, int count, char digits[static DIGITS_MAX + 1], int *ret_point)
{
    char text[64]; /* in whatever locale: only the digits are looked at */
    snprintf(text, sizeof(text), "%.*e", count - 1, value);
    char *exponent = strchr(text, 'e');
    int found = 0;
    for (char *c = text; c < exponent; c++)
        if (*c >= '0' && *c <= '9')
            digits[found++] = *c;
    assert(found == count);
    digits[found] = '\0';
    *ret_point = (int)strtol(exponent + 1, NULL, 10) + 1;
}

static bool reads_back(const char *digits, int point, double value)
{
    char text[64];
    snprintf(text, sizeof(text), "%se%d", digits, point - (int)strlen(digits));
    return strtod(text, NULL) == value;
}

/* The shortest digits that read back as the value. */
static int shortest(double value, char digits[static DIGITS_MAX + 1])
{
    int point = 0;
    for (int count = 1; count <= DIGITS_MAX; count++) {
        round_to(value, count, digits, &point);
        if (reads_back(digits, point, value))
            break;
        /* A power of two has more room above than below: the next digits up may do. */
        if (digits[count - 1] < '9') {
            digits[count - 1]++;
            if (reads_back(digits, point, value))
                break;
        }
    }
    return point;
}

static void add_fixed(struct buf *buf, const char *digits, int point)
{
    static const char zeros[] = "0000000000000000";
    int count = (int)strlen(digits);
    if (point <= 0)
        buf_printf(buf, "0.%.*s%s", -point, zeros, digits);
    else if (point >= count)
        buf_printf(buf, "%s%.*s.0", digits, point - count, zeros);
    else
        buf_printf(buf, "%.*s.%s", point, digits, digits + point);
}

static void add_exponential(struct buf *buf, const char *digits, int point)
{
    buf_printf(buf, "%c%s%s", digits[0], digits[1] ? "." : "", digits + 1);
    buf_printf(buf, "e%c%02d", point > 0 ? '+' : '-', abs(point - 1));
}

void json_add_float(struct buf *buf, double value)
{
    assert(isfinite(value));
    if (signbit(value))
        buf_add_char(buf, '-');

    char digits[DIGITS_MAX + 1];
    int point = shortest(fabs(value), digits);
    if (point <= -4 || point > 16)
        add_exponential(buf, digits, point);
    else
        add_fixed(buf, digits, point);
}
