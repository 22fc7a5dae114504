#include "common/json.h"

#include <assert.h>
#include <errno.h>
#include <float.h>
#include <json-c/json.h>
#include <limits.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"

#define DIGITS_MAX 17 /* enough for every double */
#define DEPTH_MAX  8  /* levels of what is read */

/* --- writing --- */

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

/* How much of it goes as it is. */
static size_t plain_length(const char *string, size_t len)
{
    size_t i = 0;
    while (i < len && string[i] >= ' ' && string[i] <= '~' && string[i] != '"' && string[i] != '\\')
        i++;
    return i;
}

void json_add_string(struct buf *buf, const char *string)
{
    size_t len = strlen(string);
    buf_add_char(buf, '"');
    while (len > 0) {
        size_t plain = plain_length(string, len);
        buf_add(buf, string, plain);
        string += plain;
        len -= plain;
        if (len == 0)
            break;
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
    /* No two numbers of so few digits are the same normal double: if these are it, they are without
     * their zeros the shortest. */
    round_to(value, DBL_DIG, digits, &point);
    if ((value == 0 || isnormal(value)) && reads_back(digits, point, value)) {
        for (size_t end = DBL_DIG; end > 1 && digits[end - 1] == '0'; end--)
            digits[end - 1] = '\0';
        return point;
    }
    for (int count = isnormal(value) ? DBL_DIG + 1 : 1; count <= DIGITS_MAX; count++) {
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

/* --- reading --- */

static void free_tokener(struct json_tokener **tokener)
{
    if (*tokener)
        json_tokener_free(*tokener);
}

/* json-c's own words, which name what it stumbled over. */
static int say_broken(struct json_tokener *tokener, char message[static 128])
{
    enum json_tokener_error error = json_tokener_get_error(tokener);
    if (error == json_tokener_continue || error == json_tokener_error_parse_eof)
        snprintf(message, 128, "it ends too early");
    else if (error == json_tokener_error_depth)
        snprintf(message, 128, "it is nested more than %d levels deep", DEPTH_MAX - 1);
    else
        snprintf(message, 128, "%s at byte %zu", json_tokener_error_desc(error),
                 json_tokener_get_parse_end(tokener));
    return -EBADMSG;
}

/* A few bytes can ask for a thousand times as much memory: "{},{},{}". */
static bool has_too_many_values(const char *text, size_t len)
{
    size_t containers = 0, values = 0;
    bool quoted = false;
    for (const char *c = text; c < text + len; c++) {
        if (quoted && *c == '\\')
            c++;
        else if (*c == '"')
            quoted = !quoted;
        else if (!quoted) {
            containers += *c == '{' || *c == '[';
            values += *c == ',';
        }
    }
    return containers > JSON_CONTAINERS_MAX || containers + values > JSON_VALUES_MAX;
}

static int check_text(const char *text, size_t len, char message[static 128])
{
    if (len >= INT_MAX)
        snprintf(message, 128, "it is too long");
    else if (memchr(text, '\0', len))
        snprintf(message, 128, "it holds a NUL");
    else if (!json_is_utf8(text, len))
        snprintf(message, 128, "it is not valid UTF-8");
    else if (has_too_many_values(text, len))
        snprintf(message, 128, "it has more than %d values, or %d objects and arrays",
                 JSON_VALUES_MAX, JSON_CONTAINERS_MAX);
    else
        return 0;
    return -EBADMSG;
}

int json_read(const char *text, size_t len, struct json_object **ret_object,
              char message[static 128])
{
    if (check_text(text, len, message) < 0)
        return -EBADMSG;
    _cleanup_(free_tokener) struct json_tokener *tokener = json_tokener_new_ex(DEPTH_MAX);
    if (!tokener)
        return -ENOMEM;
    json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
    /* The NUL goes with it: it ends a number that nothing follows. */
    struct json_object *value = json_tokener_parse_ex(tokener, text, (int)len + 1);
    if (json_tokener_get_error(tokener) != json_tokener_success)
        return say_broken(tokener, message);
    if (!json_is_object(value)) {
        json_object_put(value);
        snprintf(message, 128, "it is not an object, {...}");
        return -EBADMSG;
    }
    *ret_object = value;
    return 0;
}

void json_release(struct json_object *object)
{
    json_object_put(object);
}

int json_each(struct json_object *object,
              int (*visit)(void *data, const char *name, struct json_object *value), void *data)
{
    json_object_object_foreach(object, name, value)
    {
        int r = visit(data, name, value);
        if (r != 0)
            return r;
    }
    return 0;
}

int json_get_text(struct json_object *value, const char **ret_text)
{
    if (!json_object_is_type(value, json_type_string))
        return -EINVAL;
    const char *text = json_object_get_string(value);
    if (strlen(text) != (size_t)json_object_get_string_len(value))
        return -EILSEQ;
    *ret_text = text;
    return 0;
}

int json_get_integer(struct json_object *value, int64_t *ret_number)
{
    if (!json_object_is_type(value, json_type_int))
        return -EINVAL;
    *ret_number = json_object_get_int64(value);
    return 0;
}

int json_get_bool(struct json_object *value, bool *ret_truth)
{
    if (!json_object_is_type(value, json_type_boolean))
        return -EINVAL;
    *ret_truth = json_object_get_boolean(value);
    return 0;
}

bool json_is_object(struct json_object *value)
{
    return json_object_is_type(value, json_type_object);
}

bool json_is_array(struct json_object *value)
{
    return json_object_is_type(value, json_type_array);
}

size_t json_count(struct json_object *array)
{
    return json_object_array_length(array);
}

int json_each_item(struct json_object *array,
                   int (*visit)(void *data, size_t index, struct json_object *value), void *data)
{
    size_t count = json_count(array);
    for (size_t i = 0; i < count; i++) {
        int r = visit(data, i, json_object_array_get_idx(array, i));
        if (r != 0)
            return r;
    }
    return 0;
}

struct json_object *json_member(struct json_object *object, const char *name)
{
    struct json_object *value = NULL;
    json_object_object_get_ex(object, name, &value);
    return value;
}
