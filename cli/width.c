#include "width.h"

#include <string.h>
#include <wchar.h>

#include "common/json.h"

#define ELLIPSIS "\xe2\x80\xa6"

/* The character at the start: its columns, its bytes in `ret_len`. */
static size_t step(const char *text, size_t len, size_t *ret_len)
{
    uint32_t code = 0;
    size_t n = json_utf8_char(text, len, &code);
    int width = n ? wcwidth((wchar_t)code) : 1;

    *ret_len = n ? n : 1;
    return width < 0 ? 1 : (size_t)width;
}

size_t width_of(const char *text)
{
    size_t width = 0;

    for (size_t left = strlen(text), n; left > 0; left -= n, text += n)
        width += step(text, left, &n);
    return width;
}

/* How many bytes of the start have at most so many columns. */
static size_t head(const char *text, size_t columns)
{
    size_t len = strlen(text), at = 0, width = 0, n;

    while (at < len) {
        width += step(text + at, len - at, &n);
        if (width > columns)
            break;
        at += n;
    }
    return at;
}

/* Where the longest end with at most so many columns starts. */
static size_t tail(const char *text, size_t columns)
{
    size_t len = strlen(text), total = width_of(text), at = 0, n;

    while (at < len && total > columns) {
        total -= step(text + at, len - at, &n);
        at += n;
    }
    while (at < len && step(text + at, len - at, &n) == 0) /* belongs to what was cut off */
        at += n;
    return at;
}

void width_add_cut(struct buf *buf, const char *text, size_t columns)
{
    if (width_of(text) <= columns) {
        buf_add_string(buf, text);
        return;
    }
    if (columns == 0)
        return;
    buf_add(buf, text, head(text, columns / 2));
    buf_add_string(buf, ELLIPSIS);
    buf_add_string(buf, text + tail(text, columns - 1 - columns / 2));
}

void width_add_start(struct buf *buf, const char *text, size_t columns)
{
    if (width_of(text) <= columns) {
        buf_add_string(buf, text);
    } else if (columns > 0) {
        buf_add(buf, text, head(text, columns - 1));
        buf_add_string(buf, ELLIPSIS);
    }
}
