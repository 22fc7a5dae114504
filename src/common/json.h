/*
 * JSON. Writing, as the classic routes have always sent it: the layout of Python's json.dumps
 * (what separates items is the caller's to write: ", " and ": "). Reading: what a client sent.
 */
#pragma once

#include <stdbool.h>
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

/* --- reading --- */

/* A value that was read, owned by the outermost one; what is in it lives as long. NULL is JSON's
 * null. (It is json-c's, which nobody above needs to know.) */
struct json_object;

/* At most so many objects and arrays, and values in all, so that what a text takes in memory is
 * bounded by more than its length. */
#define JSON_CONTAINERS_MAX 32000
#define JSON_VALUES_MAX     400000

/*
 * Reads one object with nothing but white space after it. Strict: valid UTF-8, no NUL, a few levels
 * deep at most; of a name given twice the last one counts. `text[len]` is a NUL. The caller
 * releases it. 0, -ENOMEM, or -EBADMSG: `message` says what is wrong.
 */
int json_read(const char *text, size_t len, struct json_object **ret_object,
              char message[static 128]);
void json_release(struct json_object *object); /* NULL is fine */

/* Calls `visit` for each member in the order of the text, until one returns other than 0, which is
 * then returned; else 0. */
int json_each(struct json_object *object,
              int (*visit)(void *data, const char *name, struct json_object *value), void *data);

/* The same for each item of an array. */
int json_each_item(struct json_object *array,
                   int (*visit)(void *data, size_t index, struct json_object *value), void *data);
size_t json_count(struct json_object *array);
/* The member of that name, or NULL. */
struct json_object *json_member(struct json_object *object, const char *name);

/* What a value is: 0, or -EINVAL when it is something else. A text is -EILSEQ if a NUL is in it. */
int json_get_text(struct json_object *value, const char **ret_text);
int json_get_integer(struct json_object *value, int64_t *ret_number); /* too large: the largest */
int json_get_bool(struct json_object *value, bool *ret_truth);
bool json_is_object(struct json_object *value);
bool json_is_array(struct json_object *value);
