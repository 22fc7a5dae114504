#include "transfer/naming.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

#include "common/api.h"
#include "common/buf.h"
#include "common/cleanup.h"
#include "common/json.h"

#define PART_ROOM      14 /* ".12345678.part" */
#define NUMBER_ROOM    11 /* "-4294967295" */
#define NUMBERED_MAX   (API_NAME_MAX - PART_ROOM - 1)
#define NAME_MAX_BYTES (NUMBERED_MAX - NUMBER_ROOM)
#define EXTENSION_MAX  16 /* bytes after the '.'; what is longer is not kept when cutting */
#define LETTERS        8

struct span {
    const char *data;
    size_t len;
};

/* The last segment of the path, as written in the URL. */
static struct span last_segment(const char *url)
{
    const char *authority = strstr(url, "://");
    const char *path = authority ? authority + 3 : url;
    path += strcspn(path, "/?#");
    size_t len = strcspn(path, "?#");

    if (strncasecmp(url, "ftp://", 6) == 0 || strncasecmp(url, "ftps://", 7) == 0) {
        const char *type = strcasestr(path, ";type=");
        if (type && (size_t)(type - path) < len)
            len = (size_t)(type - path);
    }
    const char *slash = memrchr(path, '/', len);
    if (!slash)
        return (struct span){path, 0};
    return (struct span){slash + 1, len - (size_t)(slash + 1 - path)};
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* A '%' that no two digits follow is itself. */
static void decode(struct span text, struct buf *decoded)
{
    for (size_t i = 0; i < text.len; i++) {
        int high = -1, low = -1;
        if (text.data[i] == '%' && text.len - i > 2) {
            high = hex_value(text.data[i + 1]);
            low = hex_value(text.data[i + 2]);
        }
        if (high >= 0 && low >= 0) {
            buf_add_char(decoded, (char)(high << 4 | low));
            i += 2;
        } else {
            buf_add_char(decoded, text.data[i]);
        }
    }
}

static bool may_stand_in_name(uint32_t code)
{
    bool control = code < 0x20 || (code >= 0x7f && code <= 0x9f);
    bool bidi = code == 0x061c || code == 0x200e || code == 0x200f ||
                (code >= 0x202a && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069);
    return !control && !bidi && code != '/';
}

static void encode_forbidden(const struct buf *decoded, struct buf *name)
{
    for (size_t i = 0; i < decoded->len;) {
        uint32_t code;
        size_t n = json_utf8_char(decoded->data + i, decoded->len - i, &code);
        if (n > 0 && may_stand_in_name(code)) {
            buf_add(name, decoded->data + i, n);
            i += n;
            continue;
        }
        size_t end = i + (n > 0 ? n : 1);
        for (; i < end; i++)
            buf_printf(name, "%%%02X", (uint8_t)decoded->data[i]);
    }
}

/* Puts `insert` before the extension and cuts the stem so that the whole has at most `max` bytes.
 */
static char *compose(const char *name, const char *insert, size_t max)
{
    const char *end = name + strlen(name);
    const char *extension = strrchr(name, '.');
    if (!extension || extension == name)
        extension = end;
    bool too_long = strlen(name) + strlen(insert) > max;
    if (too_long && end - extension > 1 + EXTENSION_MAX)
        extension = end;

    size_t stem = (size_t)(extension - name);
    if (too_long) {
        stem = max - strlen(insert) - strlen(extension);
        while (stem > 0 && ((uint8_t)name[stem] & 0xc0) == 0x80)
            stem--;
    }
    char *result;
    return asprintf(&result, "%.*s%s%s", (int)stem, name, insert, extension) < 0 ? NULL : result;
}

/* The URL's name, or `otherwise` when it has none, with `insert` before the extension. */
static char *name_url(const char *url, bool allow_hidden, const char *otherwise, const char *insert)
{
    struct span segment = last_segment(url);
    _cleanup_(buf_release) struct buf decoded, name;
    buf_init(&decoded, segment.len);
    buf_init(&name, 3 * segment.len);

    decode(segment, &decoded);
    encode_forbidden(&decoded, &name);
    if (decoded.error || name.error)
        return NULL;
    if (name.len == 0 || strcmp(name.data, ".") == 0 || strcmp(name.data, "..") == 0)
        return compose(otherwise, insert, NAME_MAX_BYTES);
    if (name.data[0] == '-' || (name.data[0] == '.' && !allow_hidden))
        name.data[0] = '_';
    return compose(name.data, insert, NAME_MAX_BYTES);
}

char *naming_from_url(const char *url, bool allow_hidden)
{
    return name_url(url, allow_hidden, "index.html", "");
}

char *naming_unique(const char *url, bool allow_hidden)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    const size_t count = sizeof alphabet - 1;
    char insert[1 + LETTERS + 1] = "-";
    uint64_t number;

    if (getrandom(&number, sizeof number, 0) != sizeof number)
        abort(); /* no kernel we run on does that */
    for (size_t i = 1; i <= LETTERS; i++, number /= count)
        insert[i] = alphabet[number % count];
    return name_url(url, allow_hidden, "Unknown", insert);
}

char *naming_numbered(const char *name, unsigned n)
{
    if (n == 0)
        return strdup(name);
    char insert[NUMBER_ROOM + 1];
    snprintf(insert, sizeof insert, "-%u", n);
    return compose(name, insert, NUMBERED_MAX);
}
