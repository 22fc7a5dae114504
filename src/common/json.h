/*
 * JSON as the classic routes have always sent it: the layout of Python's json.dumps (what
 * separates items is the caller's to write: ", " and ": ").
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"

/*
 * Adds a quoted string: ", \ and control characters escaped, '/' bare, everything outside
 * printable ASCII (DEL too) as \uXXXX in lower case hexadecimal, with a surrogate pair above
 * U+FFFF. A byte that is not part of valid UTF-8 becomes \udcXX (Python's surrogateescape).
 */
void json_add_string(struct buf *buf, const char *string);

/* Adds a number as Python's repr(float) prints it: shortest digits that read back the same,
 * always with a point or an exponent. `value` is finite. */
void json_add_float(struct buf *buf, double value);

/* Whether `len` bytes are valid UTF-8 (RFC 3629: no surrogates, no overlong forms). */
int json_is_utf8(const char *data, size_t len);
/* The character at the start of `data`: how many bytes it takes, its number in `ret_code`; 0 when
 * the bytes there are not a whole valid one. */
size_t json_utf8_char(const char *data, size_t len, uint32_t *ret_code);
