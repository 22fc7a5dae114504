/* What a command is, and what commands share. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "client.h"
#include "common/api.h"
#include "options.h"

struct command_call {
    struct client *client; /* NULL where no service is asked */
    const struct command *command;
    struct given given; /* the options */
    int argc;           /* arguments after the command's name */
    char **argv;
};

struct command {
    const char *name;
    const char *alias;     /* or NULL */
    const char *arguments; /* for the usage line */
    const char *summary;   /* one line */
    const char *help;
    int min, max;        /* how many arguments it takes */
    const char *options; /* names of those that not every command takes, with blanks between */
    enum api_exit (*run)(const struct command_call *call);
    bool alone;            /* asks no service: the call has no client */
    const char *completes; /* what its arguments are, see completions.h; or NULL */
};

extern const struct command commands[]; /* ended by a NULL name */

enum api_exit cmd_add(const struct command_call *call);
enum api_exit cmd_list(const struct command_call *call);
enum api_exit cmd_show(const struct command_call *call);
enum api_exit cmd_watch(const struct command_call *call);
enum api_exit cmd_wait(const struct command_call *call);
enum api_exit cmd_hold(const struct command_call *call);
enum api_exit cmd_release(const struct command_call *call);
enum api_exit cmd_cancel(const struct command_call *call);
enum api_exit cmd_retry(const struct command_call *call);
enum api_exit cmd_rm(const struct command_call *call);
enum api_exit cmd_first(const struct command_call *call);
enum api_exit cmd_set(const struct command_call *call);
enum api_exit cmd_retarget(const struct command_call *call);
enum api_exit cmd_limit(const struct command_call *call);
enum api_exit cmd_settings(const struct command_call *call);
enum api_exit cmd_status(const struct command_call *call);
enum api_exit cmd_stats(const struct command_call *call);
enum api_exit cmd_clear(const struct command_call *call);
enum api_exit cmd_pause(const struct command_call *call);
enum api_exit cmd_resume(const struct command_call *call);
enum api_exit cmd_update_tasks_num(const struct command_call *call);

/* Whether the command takes this option, beside those that every command takes. */
bool cmd_takes(const struct command *command, const char *option);
/* Whether the call is one of the 2017 system's and wants that one's answers, to the byte. */
bool cmd_is_classic(const struct command_call *call);

/* Prints an answer: the body, or in a line why there is none. `subject` (or NULL) is what a refusal
 * is about, such as a URL of several. Returns the exit status that the answer stands for. */
enum api_exit cmd_report(const struct client_answer *answer, const char *subject);
/* Sends a request and reports its answer. */
enum api_exit cmd_send(const struct command_call *call, const struct client_request *request);
/* The same for version 1: a success is not printed, it is in `ret_answer`. */
enum api_exit cmd_judge(const struct client_answer *answer, const char *subject);
enum api_exit cmd_ask(const struct command_call *call, const struct client_request *request,
                      const char *subject, struct client_answer *ret_answer);
/* What went wrong there is a task that does not exist: says so and returns API_EXIT_NO_TASK. */
enum api_exit cmd_no_task(const char *id);
enum api_exit cmd_no_memory(void);
