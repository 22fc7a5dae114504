#include "transfer/naming.h"

#include <assert.h>
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
#include "common/visible.h"

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

/* A '%' that no two digits follow is itself; false: there was one. */
static bool decode(struct span text, struct buf *decoded)
{
    bool good = true;
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
            good = good && text.data[i] != '%';
            buf_add_char(decoded, text.data[i]);
        }
    }
    return good;
}

static bool may_stand_in_name(uint32_t code)
{
    return !visible_is_control(code) && !visible_is_layout(code) && code != '/';
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

/* The name in `name`, which holds no forbidden character, made fit, with `insert` before the
 * extension; `otherwise` (NULL: nothing) when it is none. */
static char *make_fit(struct buf *name, bool allow_hidden, const char *otherwise,
                      const char *insert)
{
    if (name->len == 0 || strcmp(name->data, ".") == 0 || strcmp(name->data, "..") == 0)
        return otherwise ? compose(otherwise, insert, NAME_MAX_BYTES) : NULL;
    if (name->data[0] == '-' || (name->data[0] == '.' && !allow_hidden))
        name->data[0] = '_';
    return compose(name->data, insert, NAME_MAX_BYTES);
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
    return make_fit(&name, allow_hidden, otherwise, insert);
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

/* Content-Disposition. A hostile server wrote it: what is malformed says nothing. */

/* What is given is read once: a parameter that comes again is ignored. */
struct disposition {
    struct buf plain, extended; /* values of filename and filename*, as they stand there */
    bool has_plain, has_extended;
};

/* The value at `text` without its quotes. Returns where the next parameter may be. */
static const char *read_value(const char *text, struct buf *value)
{
    if (*text != '"') {
        size_t len = strcspn(text, ";");
        buf_add(value, text, len);
        return text + len;
    }
    for (text++; *text && *text != '"'; text++) {
        if (*text == '\\' && text[1])
            text++;
        buf_add_char(value, *text);
    }
    return text + strcspn(text, ";");
}

static bool span_is(struct span span, const char *word)
{
    return strlen(word) == span.len && strncasecmp(span.data, word, span.len) == 0;
}

static void read_disposition(const char *text, struct disposition *disposition)
{
    _cleanup_(buf_release) struct buf ignored;
    buf_init(&ignored, strlen(text));

    while (*(text += strspn(text, "; \t")) != '\0') {
        struct span name = {text, strcspn(text, " \t=;")};
        text += name.len;
        text += strspn(text, " \t");
        if (*text != '=') { /* "attachment" */
            text += strcspn(text, ";");
            continue;
        }
        text++;
        text += strspn(text, " \t");

        struct buf *value = &ignored;
        buf_clear(&ignored);
        if (span_is(name, "filename") && !disposition->has_plain) {
            disposition->has_plain = true;
            value = &disposition->plain;
        } else if (span_is(name, "filename*") && !disposition->has_extended) {
            disposition->has_extended = true;
            value = &disposition->extended;
        }
        text = read_value(text, value);
    }
}

static void add_latin1(const char *text, size_t len, struct buf *name)
{
    for (size_t i = 0; i < len; i++) {
        uint8_t c = (uint8_t)text[i];
        if (c >= 0x80)
            buf_add_char(name, (char)(0xc0 | c >> 6));
        buf_add_char(name, (char)(c < 0x80 ? c : 0x80 | (c & 0x3f)));
    }
}

/* CHARSET'LANGUAGE'PERCENT-ENCODED (RFC 8187) to UTF-8. */
static void decode_extended(const struct buf *value, struct buf *name)
{
    const char *language = value->len > 0 ? strchr(value->data, '\'') : NULL;
    const char *text = language ? strchr(language + 1, '\'') : NULL;
    if (!text)
        return;
    text++;
    struct span charset = {value->data, (size_t)(language - value->data)};
    _cleanup_(buf_release) struct buf decoded;
    buf_init(&decoded, value->len);

    if (!decode((struct span){text, strlen(text)}, &decoded) || decoded.len == 0)
        return;
    if (span_is(charset, "UTF-8") && json_is_utf8(decoded.data, decoded.len))
        buf_add(name, decoded.data, decoded.len);
    else if (span_is(charset, "ISO-8859-1"))
        add_latin1(decoded.data, decoded.len, name);
}

static void decode_plain(const struct buf *value, struct buf *name)
{
    if (value->len > 0 && json_is_utf8(value->data, value->len))
        buf_add(name, value->data, value->len);
    else
        add_latin1(value->data, value->len, name);
}

/* Of a path (UTF-8), as others than we write them too: what follows the last separator, without
 * what must not stand in a name, and without spaces around it. */
static void keep_file_name(const struct buf *path, struct buf *name)
{
    size_t start = path->len;
    while (start > 0 && path->data[start - 1] != '/' && path->data[start - 1] != '\\')
        start--;
    for (size_t i = start; i < path->len;) {
        uint32_t code;
        size_t n = json_utf8_char(path->data + i, path->len - i, &code);
        assert(n > 0);
        if (may_stand_in_name(code) && !(code == ' ' && name->len == 0))
            buf_add(name, path->data + i, n);
        i += n;
    }
    while (name->len > 0 && name->data[name->len - 1] == ' ')
        name->data[--name->len] = '\0';
}

static char *name_value(const struct buf *value, void (*to_utf8)(const struct buf *, struct buf *),
                        bool allow_hidden)
{
    _cleanup_(buf_release) struct buf path, name;
    buf_init(&path, 2 * value->len);
    buf_init(&name, 2 * value->len);
    to_utf8(value, &path);
    keep_file_name(&path, &name);
    if (value->error || path.error || name.error)
        return NULL;
    return make_fit(&name, allow_hidden, NULL, "");
}

char *naming_from_disposition(const char *value, bool allow_hidden)
{
    struct disposition found = {0};
    buf_init(&found.plain, strlen(value));
    buf_init(&found.extended, strlen(value));
    read_disposition(value, &found);

    char *name = name_value(&found.extended, decode_extended, allow_hidden);
    if (!name)
        name = name_value(&found.plain, decode_plain, allow_hidden);
    buf_release(&found.plain);
    buf_release(&found.extended);
    return name;
}
