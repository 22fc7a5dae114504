/*
 * Log lines on standard error, one event a line, each with the priority prefix of sd-daemon(3)
 * ("<6>text\n") and written with one write(2), so that lines of threads and processes never mix.
 * Characters that act (newline, escape, ...; visible.h) and bytes that are no text are written as
 * \xNN each. Thread safe.
 */
#pragma once

enum log_level { /* syslog(3)'s numbers */
    LOG_LEVEL_ERROR = 3,
    LOG_LEVEL_WARNING = 4,
    LOG_LEVEL_INFO = 6,
    LOG_LEVEL_DEBUG = 7,
};

/* Lines above `level` are dropped. At the start it is LOG_LEVEL_INFO. */
void log_set_level(enum log_level level);
/* "error", "warning", "info", "debug"; -EINVAL otherwise. */
int log_level_parse(const char *text, enum log_level *ret_level);

void log_line(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...)   log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_line(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...)    log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)   log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)
