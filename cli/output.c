#include "output.h"

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "common/buf.h"
#include "common/cleanup.h"
#include "common/json.h"
#include "common/visible.h"

#define VISIBLE_MAX ((size_t)64 << 20) /* an answer is at most 8 MiB, a byte grows to four */

static enum output_form form;
static bool to_terminal;
static int write_error; /* errno of the first failed write */

int output_parse_form(const char *text, enum output_form *ret_form)
{
    static const char *const names[] = {"auto", "json", "text"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(text, names[i]) == 0) {
            *ret_form = (enum output_form)i;
            return 0;
        }
    return -EINVAL;
}

void output_init(enum output_form wanted)
{
    form = wanted;
    to_terminal = isatty(STDOUT_FILENO);
}

bool output_is_classic(void)
{
    return form == OUTPUT_AUTO && !to_terminal;
}

/* Decodes one character of UTF-8 and returns its length; 0: not UTF-8. */
static size_t decode(const char *data, size_t len, uint32_t *ret_character)
{
    for (size_t n = 1; n <= 4 && n <= len; n++) {
        if (!json_is_utf8(data, n))
            continue;
        uint32_t character = (unsigned char)data[0] & (n == 1 ? 0x7f : 0x7f >> n);
        for (size_t i = 1; i < n; i++)
            character = character << 6 | ((unsigned char)data[i] & 0x3f);
        *ret_character = character;
        return n;
    }
    return 0;
}

static void add_visible(struct buf *buf, const char *data, size_t len)
{
    for (size_t i = 0; i < len;) {
        uint32_t character = 0;
        size_t n = decode(data + i, len - i, &character);
        if (n == 0 || (n == 1 && visible_is_control(character)))
            buf_printf(buf, "\\x%02x", (unsigned char)data[i]);
        else if (visible_is_control(character) || visible_is_layout(character))
            buf_printf(buf, "\\u%04x", (unsigned)character);
        else
            buf_add(buf, data + i, n);
        i += n ? n : 1;
    }
}

static void put(const char *data, size_t len)
{
    if (write_error == 0 && len > 0 && fwrite(data, 1, len, stdout) != len)
        write_error = errno;
}

static void put_buf(const struct buf *buf)
{
    if (buf->error && write_error == 0)
        write_error = -buf->error;
    put(buf->data, buf->len);
}

void output_body(const char *data, size_t len)
{
    _cleanup_(buf_release) struct buf visible;
    buf_init(&visible, VISIBLE_MAX);

    if (to_terminal || form == OUTPUT_TEXT) {
        while (len > 0 && (data[len - 1] == '\n' || data[len - 1] == '\r'))
            len--;
        add_visible(&visible, data, len);
        put_buf(&visible);
    } else {
        put(data, len);
    }
    put("\n", 1);
}

void output_print(const char *format, ...)
{
    _cleanup_free_ char *text = NULL;
    _cleanup_(buf_release) struct buf visible;
    va_list arguments;

    buf_init(&visible, VISIBLE_MAX);
    va_start(arguments, format);
    int len = vasprintf(&text, format, arguments);
    va_end(arguments);
    if (len < 0) {
        text = NULL;
        len = 0;
        visible.error = -ENOMEM;
    }
    for (const char *line = text; len > 0 && *line;) {
        size_t n = strcspn(line, "\n");
        add_visible(&visible, line, n);
        line += n;
        if (*line == '\n')
            buf_add_char(&visible, *line++);
    }
    put_buf(&visible);
}

bool output_flush(void)
{
    if (write_error == 0 && fflush(stdout) != 0)
        write_error = errno;
    return write_error == 0;
}

enum api_exit output_finish(enum api_exit status)
{
    output_flush();
    if (fclose(stdout) != 0 && write_error == 0)
        write_error = errno;
    if (write_error == 0)
        return status;
    return output_fail(status == API_EXIT_DONE ? API_EXIT_REFUSED : status,
                       "cannot write to standard output: %s", strerror(write_error));
}

__attribute__((format(printf, 1, 0))) static void put_line(const char *format, va_list arguments)
{
    _cleanup_free_ char *text = NULL;
    _cleanup_(buf_release) struct buf line;

    buf_init(&line, VISIBLE_MAX);
    buf_add_string(&line, "autodl: ");
    int len = vasprintf(&text, format, arguments);
    if (len >= 0)
        add_visible(&line, text, (size_t)len);
    else
        text = NULL;
    buf_add_char(&line, '\n');
    if (len < 0 || line.error)
        fputs("autodl: out of memory\n", stderr);
    else
        fputs(line.data, stderr); /* no NUL inside: all are visible */
}

enum api_exit output_fail(enum api_exit status, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    put_line(format, arguments);
    va_end(arguments);
    return status;
}

void output_note(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    put_line(format, arguments);
    va_end(arguments);
}
