#include "common/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/json.h"
#include "common/visible.h"

#define LINE_MAX_BYTES 8192
#define CUT_MARK       "...\n"

static atomic_int max_level = LOG_LEVEL_INFO;

static const struct {
    const char *name;
    enum log_level level;
} levels[] = {
    {"error",   LOG_LEVEL_ERROR  },
    {"warning", LOG_LEVEL_WARNING},
    {"info",    LOG_LEVEL_INFO   },
    {"debug",   LOG_LEVEL_DEBUG  },
};

void log_set_level(enum log_level level)
{
    atomic_store(&max_level, (int)level);
}

int log_level_parse(const char *text, enum log_level *ret_level)
{
    for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
        if (strcmp(text, levels[i].name) == 0) {
            *ret_level = levels[i].level;
            return 0;
        }
    }
    return -EINVAL;
}

static void write_all(const char *data, size_t len)
{
    while (len > 0) {
        ssize_t written = write(STDERR_FILENO, data, len);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return; /* nobody is left to tell */
        data += written;
        len -= (size_t)written;
    }
}

/* Copies `text` made visible behind `line[len]`, cut where it would not fit; the new length. */
static size_t add_visible(char line[static LINE_MAX_BYTES], size_t len, const char *text,
                          size_t text_len)
{
    static const char hex[] = "0123456789abcdef";
    const size_t bound = LINE_MAX_BYTES - (sizeof(CUT_MARK) - 1);
    while (text_len > 0) {
        uint32_t code = 0;
        size_t taken = json_utf8_char(text, text_len, &code);
        bool plain = taken > 0 && !visible_is_control(code) && !visible_is_layout(code);
        if (taken == 0)
            taken = 1;
        if (len + (plain ? taken : 4 * taken) > bound)
            break;
        for (size_t i = 0; i < taken; i++) {
            unsigned char byte = (unsigned char)text[i];
            if (plain) {
                line[len++] = text[i];
            } else {
                line[len++] = '\\';
                line[len++] = 'x';
                line[len++] = hex[byte >> 4];
                line[len++] = hex[byte & 15];
            }
        }
        text += taken;
        text_len -= taken;
    }
    const char *end = text_len > 0 ? CUT_MARK : "\n";
    memcpy(line + len, end, strlen(end));
    return len + strlen(end);
}

void log_line(enum log_level level, const char *format, ...)
{
    if ((int)level > atomic_load(&max_level))
        return;
    int saved_errno = errno;
    char text[LINE_MAX_BYTES], line[LINE_MAX_BYTES];
    va_list args;
    va_start(args, format);
    int wanted = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (wanted >= 0) {
        int len = snprintf(line, sizeof(line), "<%d>", (int)level);
        write_all(line, add_visible(line, (size_t)len, text, strlen(text)));
    }
    errno = saved_errno;
}
