/*
 * A growable buffer with an upper bound. The content is always followed by a NUL that is not
 * counted. An error sticks: writers need not look at each call, only at `error` in the end.
 */
#pragma once

#include <stddef.h>

struct buf {
    char *data; /* owned; NULL while nothing was added */
    size_t len; /* bytes of content */
    size_t size; /* bytes allocated */
    size_t max; /* content never grows beyond this many bytes */
    int error; /* 0, -ENOMEM or -EMSGSIZE (would have passed `max`): nothing is added any more */
};

void buf_init(struct buf *buf, size_t max);
/* Frees the content; the buffer may be used again with the same bound. */
void buf_release(struct buf *buf);
/* Forgets content and error, keeps the memory. */
void buf_clear(struct buf *buf);

/* All return 0 or the buffer's error; a failed call adds nothing. */
int buf_add(struct buf *buf, const void *data, size_t len);
int buf_add_string(struct buf *buf, const char *string);
int buf_add_char(struct buf *buf, char c);
int buf_printf(struct buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The content as a string that the caller frees, the buffer empty again; NULL on error. An empty
 * buffer gives "". */
char *buf_take(struct buf *buf);
