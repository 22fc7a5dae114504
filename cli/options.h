/* The options there are, and reading a command line by them. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/api.h"
#include "given.h"

struct option_row {
    const char *name;     /* long */
    const char *letters;  /* the short forms, "" for none */
    const char *argument; /* or NULL */
    const char *help;
    const char *completes; /* what its argument is, see completions.h; or NULL */
    bool common;           /* every command takes it; else those whose row names it */
};

/* Ended by a NULL name. A name that a common option has too means that one in front of the command,
 * and behind a command that takes the other one, the other one. */
extern const struct option_row options[];

/*
 * Reads a command line, options and arguments in any order. On success `*ret_words` (owned; the
 * strings are argv's) holds what is not an option: the command, and its arguments.
 */
enum api_exit options_parse(int argc, char **argv, struct given *ret_given, char ***ret_words,
                            int *ret_count);
