#include "fuzz.h"

#include <string.h>
#include <wchar.h>

uint8_t take_byte(struct input *input)
{
    if (!input->size)
        return 0;
    input->size--;
    return *input->data++;
}

uint64_t take_number(struct input *input)
{
    uint64_t number = 0;
    for (unsigned i = 0; i < 8; i++)
        number |= (uint64_t)take_byte(input) << (8 * i);
    return number;
}

static char *copy(const uint8_t *data, size_t len)
{
    char *text = malloc(len + 1);
    MUST(text);
    if (len)
        memcpy(text, data, len);
    text[len] = '\0';
    return text;
}

char *take_text(struct input *input)
{
    const uint8_t *end = input->size ? memchr(input->data, '\0', input->size) : NULL;
    size_t len = end ? (size_t)(end - input->data) : input->size;
    char *text = copy(input->data, len);
    len += end != NULL;
    input->data += len;
    input->size -= len;
    return text;
}

char *take_rest(struct input *input, size_t *ret_len)
{
    char *text = copy(input->data, input->size);
    *ret_len = input->size;
    input->data += input->size;
    input->size = 0;
    return text;
}

/* The character at the start, and how long it is; 0: it is none (table 3-7 of Unicode). */
static size_t read_character(const unsigned char *c, uint32_t *ret_code)
{
    static const struct {
        unsigned char first, last, second_min, second_max;
        size_t len;
    } forms[] = {
        {0x00, 0x7f, 0x00, 0x00, 1},
        {0xc2, 0xdf, 0x80, 0xbf, 2},
        {0xe0, 0xe0, 0xa0, 0xbf, 3},
        {0xe1, 0xec, 0x80, 0xbf, 3},
        {0xed, 0xed, 0x80, 0x9f, 3},
        {0xee, 0xef, 0x80, 0xbf, 3},
        {0xf0, 0xf0, 0x90, 0xbf, 4},
        {0xf1, 0xf3, 0x80, 0xbf, 4},
        {0xf4, 0xf4, 0x80, 0x8f, 4},
    };
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        if (*c < forms[i].first || *c > forms[i].last)
            continue;
        uint32_t code = forms[i].len == 1 ? *c : *c & (0x7fu >> forms[i].len);
        for (size_t n = 1; n < forms[i].len; n++) {
            unsigned char min = n == 1 ? forms[i].second_min : 0x80;
            unsigned char max = n == 1 ? forms[i].second_max : 0xbf;
            if (c[n] < min || c[n] > max)
                return 0;
            code = code << 6 | (c[n] & 0x3f);
        }
        *ret_code = code;
        return forms[i].len;
    }
    return 0;
}

bool is_utf8(const char *text)
{
    uint32_t code;
    for (size_t len; *text; text += len)
        if (!(len = read_character((const unsigned char *)text, &code)))
            return false;
    return true;
}

bool is_fit_name(const char *name, size_t max, bool allow_hidden)
{
    /* what turns the direction of text, and two line breaks */
    static const wchar_t layout[] = L"\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e"
                                    L"\u2066\u2067\u2068\u2069\u2028\u2029";
    size_t size = strlen(name);
    if (!size || size > max || strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || *name == '-' ||
        (*name == '.' && !allow_hidden))
        return false;
    uint32_t code;
    for (size_t len; *name; name += len) {
        len = read_character((const unsigned char *)name, &code);
        if (!len || code == '/' || code < 0x20 || (code >= 0x7f && code < 0xa0) ||
            wcschr(layout, (wchar_t)code))
            return false;
    }
    return true;
}

bool has_half_pair(const char *json)
{
    bool low_wanted = false;
    for (size_t step; *json; json += step) {
        bool escape = json[0] == '\\' && json[1] == 'u' && strnlen(json, 6) == 6;
        bool surrogate = escape && (json[2] | 0x20) == 'd' && json[3] >= '8';
        bool is_low = surrogate && (json[3] | 0x20) >= 'c';
        if (is_low != low_wanted)
            return true;
        low_wanted = surrogate && !is_low;
        step = escape ? 6 : json[0] == '\\' && json[1] ? 2 : 1;
    }
    return low_wanted;
}

char *percent_encode(const char *data, size_t len)
{
    char *text = malloc(3 * len + 1), *end = text;
    MUST(text);
    *end = '\0';
    for (; len; data++, len--) {
        bool plain = (*data >= '0' && *data <= '9') || (*data >= 'a' && *data <= 'z') ||
                     (*data >= 'A' && *data <= 'Z');
        end += sprintf(end, plain ? "%c" : "%%%02X", (unsigned char)*data);
    }
    return text;
}
