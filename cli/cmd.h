/* What a command is, and what commands share. */
#pragma once

#include <stdbool.h>

#include "client.h"
#include "common/api.h"

struct command_call {
    struct client *client; /* NULL where no service is asked */
    const char *user; /* -u, or NULL */
    bool all; /* --all */
    int argc; /* arguments after the command's name */
    char **argv;
};

struct command {
    const char *name;
    const char *alias; /* or NULL */
    const char *arguments; /* for the usage line */
    const char *summary; /* one line */
    const char *help;
    int min, max; /* how many arguments it takes */
    bool takes_all; /* --all */
    enum api_exit (*run)(const struct command_call *call);
    bool alone; /* asks no service: the call has no client */
    const char *completes; /* what its arguments are, see completions.h; or NULL */
};

extern const struct command commands[]; /* ended by a NULL name */

enum api_exit cmd_add(const struct command_call *call);
enum api_exit cmd_status(const struct command_call *call);
enum api_exit cmd_stats(const struct command_call *call);
enum api_exit cmd_clear(const struct command_call *call);
enum api_exit cmd_pause(const struct command_call *call);
enum api_exit cmd_resume(const struct command_call *call);
enum api_exit cmd_update_tasks_num(const struct command_call *call);

/* Prints an answer: the body, or in a line why there is none. `subject` (or NULL) is what a refusal
 * is about, such as a URL of several. Returns the exit status that the answer stands for. */
enum api_exit cmd_report(const struct client_answer *answer, const char *subject);
/* Sends a request and reports its answer. */
enum api_exit cmd_send(const struct command_call *call, const struct client_request *request);
