/*
 * What a person or a script gets to see: the only writer to standard output, and the one line on
 * standard error that says what went wrong. What came from a server is shown with control, escape,
 * bidirectional and invisible characters made visible (\x1b, \u202e, \u200b).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/api.h"
#include "common/buf.h"

struct json_object;

enum output_form {
    OUTPUT_AUTO, /* off a terminal the classic form: each answer's body, to the byte */
    OUTPUT_JSON,
    OUTPUT_TEXT,
};

/* "auto", "json" or "text"; -EINVAL otherwise. */
int output_parse_form(const char *text, enum output_form *ret_form);
void output_init(enum output_form form);
/* Whether tasks and answers of version 1 are printed as JSON; `is_classic`: by a command of 2017,
 * which print JSON in a pipe. */
bool output_is_json(bool is_classic);
/* Whether a person looks on: tables fit it, lines are coloured (output_paint) and redrawn. */
bool output_to_terminal(void);
/* Its columns and rows now; off a terminal 80 and 24. */
void output_size(unsigned *ret_columns, unsigned *ret_rows);
/* Whether a refusal's body is printed too, as scripts of the 2017 system expect. */
bool output_is_classic(void);

/* The body of an answer and a newline. */
void output_body(const char *data, size_t len);
/* An object on one line; on a terminal all of it in ASCII. */
void output_json(struct json_object *object);
/* What to print with; nothing changes off a terminal or with NO_COLOR. */
enum output_paint {
    PAINT_NONE,
    PAINT_BOLD,
    PAINT_DIM,
    PAINT_RED,
    PAINT_GREEN,
    PAINT_YELLOW,
    PAINT_BLUE
};
void output_paint(enum output_paint paint);
/* Moves on a terminal: `rows` up to the start of a line, and all from there on is erased. */
void output_rewind(unsigned rows);
/* A line on a terminal that stands until the next one, NULL or a message takes its place. */
void output_transient(const char *text);
/* What is made visible: as output_print prints it. */
void output_add_visible(struct buf *buf, const char *text);
/* Our own words, with what they quote made visible; a line ends only where the format does. */
void output_print(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* What is our own to the last word, as it is: help, and programs for shells. */
void output_own(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Hands over what was written so far. False: it cannot be written, so stop. */
bool output_flush(void);
/* Ends the output. Returns `status`, or API_EXIT_REFUSED if something could not be written. */
enum api_exit output_finish(enum api_exit status);

/* One line "autodl: ..." on standard error; returns `status`. */
enum api_exit output_fail(enum api_exit status, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The same for what is worth knowing, though nothing failed. */
void output_note(const char *format, ...) __attribute__((format(printf, 1, 2)));
