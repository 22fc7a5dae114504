#include "output.h"

#include <errno.h>
#include <json-c/json.h>
#include <langinfo.h>
#include <locale.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "common/buf.h"
#include "common/cleanup.h"
#include "common/json.h"
#include "common/units.h"
#include "common/visible.h"

#define VISIBLE_MAX ((size_t)64 << 20) /* an answer is at most 8 MiB, a byte grows to four */

static enum output_form form;
static bool to_terminal;
static bool in_colour;
static bool has_transient;
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
    const char *no_colour = getenv("NO_COLOR");
    const char *terminal = getenv("TERM");

    form = wanted;
    to_terminal = isatty(STDOUT_FILENO);
    in_colour =
        to_terminal && !(no_colour && *no_colour) && terminal && strcmp(terminal, "dumb") != 0;
    setlocale(LC_CTYPE, "");
    if (strcmp(nl_langinfo(CODESET), "UTF-8") != 0)
        setlocale(LC_CTYPE, "C.UTF-8"); /* what comes is UTF-8, and has to be measured */
}

bool output_is_json(bool is_classic)
{
    return form == OUTPUT_JSON || (form == OUTPUT_AUTO && is_classic && !to_terminal);
}

bool output_to_terminal(void)
{
    return to_terminal && form != OUTPUT_JSON;
}

/* A number from the environment, or 0. */
static unsigned environment_size(const char *name)
{
    const char *value = getenv(name);
    uint64_t number = 0;

    if (value && units_parse_uint(value, 1, 10000, &number) < 0)
        number = 0;
    return (unsigned)number;
}

void output_size(unsigned *ret_columns, unsigned *ret_rows)
{
    struct winsize size = {0};
    unsigned columns = environment_size("COLUMNS"), rows = environment_size("LINES");

    if (to_terminal && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0)
        size = (struct winsize){0};
    *ret_columns = columns ? columns : size.ws_col ? size.ws_col : 80;
    *ret_rows = rows ? rows : size.ws_row ? size.ws_row : 24;
}

bool output_is_classic(void)
{
    return form == OUTPUT_AUTO && !to_terminal;
}

static void add_visible(struct buf *buf, const char *data, size_t len)
{
    for (size_t i = 0; i < len;) {
        uint32_t character = 0;
        size_t n = json_utf8_char(data + i, len - i, &character);
        if (n == 0 || (n == 1 && visible_is_control(character)))
            buf_printf(buf, "\\x%02x", (unsigned char)data[i]);
        else if (visible_is_control(character) || visible_is_layout(character) ||
                 visible_is_hidden(character))
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

/* All but printable ASCII as \uXXXX, which only strings hold. */
static void add_ascii(struct buf *buf, const char *text)
{
    for (size_t left = strlen(text), n; left > 0; left -= n, text += n) {
        uint32_t code = 0;
        n = json_utf8_char(text, left, &code);
        n = n ? n : 1;
        if (n == 1 && *text != 0x7f)
            buf_add_char(buf, *text);
        else if (code <= 0xffff)
            buf_printf(buf, "\\u%04x", (unsigned)code);
        else
            buf_printf(buf, "\\u%04x\\u%04x", 0xd800 + (unsigned)((code - 0x10000) >> 10),
                       0xdc00 + (unsigned)((code - 0x10000) & 0x3ff));
    }
}

void output_json(struct json_object *object)
{
    _cleanup_(buf_release) struct buf ascii;
    const char *text = json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN |
                                                                  JSON_C_TO_STRING_NOSLASHESCAPE);

    buf_init(&ascii, VISIBLE_MAX);
    if (to_terminal) {
        add_ascii(&ascii, text);
        put_buf(&ascii);
    } else {
        put(text, strlen(text));
    }
    put("\n", 1);
}

void output_paint(enum output_paint paint)
{
    static const char *const codes[] = {
        [PAINT_NONE] = "\033[0m",  [PAINT_BOLD] = "\033[1m",   [PAINT_DIM] = "\033[2m",
        [PAINT_RED] = "\033[31m",  [PAINT_GREEN] = "\033[32m", [PAINT_YELLOW] = "\033[33m",
        [PAINT_BLUE] = "\033[36m",
    };
    if (in_colour)
        put(codes[paint], strlen(codes[paint]));
}

void output_rewind(unsigned rows)
{
    char text[32];

    if (!to_terminal)
        return;
    if (rows > 0)
        snprintf(text, sizeof text, "\r\033[%uA\033[J", rows);
    else
        snprintf(text, sizeof text, "\r\033[J");
    put(text, strlen(text));
}

void output_transient(const char *text)
{
    if (!output_to_terminal())
        return;
    if (has_transient)
        output_rewind(0);
    has_transient = text != NULL;
    if (text)
        output_print("%s", text);
    output_flush();
}

void output_add_visible(struct buf *buf, const char *text)
{
    add_visible(buf, text, strlen(text));
}

void output_own(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    if (write_error == 0 && vfprintf(stdout, format, arguments) < 0)
        write_error = errno;
    va_end(arguments);
}

/* How many line ends a format ends with. */
static size_t count_ends(const char *format)
{
    size_t len = strlen(format), ends = 0;

    while (ends < len && format[len - 1 - ends] == '\n')
        ends++;
    return ends;
}

void output_print(const char *format, ...)
{
    _cleanup_free_ char *text = NULL;
    _cleanup_(buf_release) struct buf visible;
    size_t ends = count_ends(format);
    va_list arguments;

    buf_init(&visible, VISIBLE_MAX);
    va_start(arguments, format);
    int len = vasprintf(&text, format, arguments);
    va_end(arguments);
    if (len < 0) {
        text = NULL;
        visible.error = -ENOMEM;
    } else {
        add_visible(&visible, text, (size_t)len - ends);
        buf_add(&visible, text + (size_t)len - ends, ends);
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

    output_transient(NULL);
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
