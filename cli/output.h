/*
 * What a person or a script gets to see: the only writer to standard output, and the one line on
 * standard error that says what went wrong. What came from a server is shown with control,
 * escape and bidirectional characters made visible (\x1b, \u202e).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/api.h"

enum output_form {
    OUTPUT_AUTO, /* off a terminal the classic form: each answer's body, to the byte */
    OUTPUT_JSON,
    OUTPUT_TEXT,
};

/* "auto", "json" or "text"; -EINVAL otherwise. */
int output_parse_form(const char *text, enum output_form *ret_form);
void output_init(enum output_form form);
/* Whether a refusal's body is printed too, as scripts of the 2017 system expect. */
bool output_is_classic(void);

/* The body of an answer and a newline. */
void output_body(const char *data, size_t len);
/* Our own lines, with what they quote made visible. */
void output_print(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Hands over what was written so far. False: it cannot be written, so stop. */
bool output_flush(void);
/* Ends the output. Returns `status`, or API_EXIT_REFUSED if something could not be written. */
enum api_exit output_finish(enum api_exit status);

/* One line "autodl: ..." on standard error; returns `status`. */
enum api_exit output_fail(enum api_exit status, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The same for what is worth knowing, though nothing failed. */
void output_note(const char *format, ...) __attribute__((format(printf, 1, 2)));
