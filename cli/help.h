/* All help is printed from the tables of commands and options. */
#pragma once

#include "cmd.h"

struct option_row {
    const char *name; /* long */
    char letter; /* short, or '\0' */
    const char *argument; /* or NULL */
    const char *help;
};

extern const struct option_row options[]; /* ended by a NULL name */

/* Name or alias; NULL: there is none. */
const struct command *help_find(const char *name);
void help_overview(void);
void help_command(const struct command *command);
