/* All help is printed from the tables of commands and options. */
#pragma once

#include "cmd.h"

/* Name or alias; NULL: there is none. */
const struct command *help_find(const char *name);
/* Help on a topic, or all of it (NULL). */
enum api_exit help_print(const char *topic);
enum api_exit cmd_help(const struct command_call *call);
