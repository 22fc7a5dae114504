/* Completion scripts for shells, printed from the tables of commands and options. */
#pragma once

#include "cmd.h"

/* What `completes` of a command or an option may say beside words to choose from ("json text"). */
#define COMPLETES_COMMANDS    "<commands>"
#define COMPLETES_DIRECTORIES "<directories>"
#define COMPLETES_FILES       "<files>"
#define COMPLETES_HOSTS       "<hosts>"
#define COMPLETES_USERS       "<users>"

enum api_exit cmd_completions(const struct command_call *call);
