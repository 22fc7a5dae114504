#include "common/buf.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_SIZE 64
#define PRINTED    256 /* bytes; what is longer is printed once more */

void buf_init(struct buf *buf, size_t max)
{
    assert(max < SIZE_MAX / 2);
    *buf = (struct buf){.max = max};
}

void buf_release(struct buf *buf)
{
    free(buf->data);
    buf_init(buf, buf->max);
}

void buf_clear(struct buf *buf)
{
    buf->len = 0;
    buf->error = 0;
    if (buf->data)
        buf->data[0] = '\0';
}

static size_t grown(size_t size, size_t needed, size_t bound)
{
    if (size < FIRST_SIZE)
        size = FIRST_SIZE;
    while (size < needed)
        size *= 2;
    return size < bound ? size : bound;
}

/* Makes room for `more` bytes and the NUL. */
static int reserve(struct buf *buf, size_t more)
{
    if (buf->error)
        return buf->error;
    if (more > buf->max - buf->len)
        return buf->error = -EMSGSIZE;
    size_t needed = buf->len + more + 1;
    if (needed <= buf->size)
        return 0;
    size_t size = grown(buf->size, needed, buf->max + 1);
    char *data = realloc(buf->data, size);
    if (!data)
        return buf->error = -ENOMEM;
    buf->data = data;
    buf->size = size;
    return 0;
}

int buf_add(struct buf *buf, const void *data, size_t len)
{
    int r = reserve(buf, len);
    if (r < 0)
        return r;
    if (len > 0)
        memcpy(buf->data + buf->len, data, len);
    buf->len += len;
    buf->data[buf->len] = '\0';
    return 0;
}

int buf_add_string(struct buf *buf, const char *string)
{
    return buf_add(buf, string, strlen(string));
}

int buf_add_char(struct buf *buf, char c)
{
    return buf_add(buf, &c, 1);
}

int buf_printf(struct buf *buf, const char *format, ...)
{
    va_list args;
    char text[PRINTED];
    va_start(args, format);
    int len = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    assert(len >= 0);
    if ((size_t)len < sizeof(text))
        return buf_add(buf, text, (size_t)len);

    int r = reserve(buf, (size_t)len);
    if (r < 0)
        return r;
    va_start(args, format);
    vsnprintf(buf->data + buf->len, (size_t)len + 1, format, args);
    va_end(args);
    buf->len += (size_t)len;
    return 0;
}

char *buf_take(struct buf *buf)
{
    if (buf_add(buf, "", 0) < 0)
        return NULL;
    char *data = buf->data;
    buf_init(buf, buf->max);
    return data;
}
