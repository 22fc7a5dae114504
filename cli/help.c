#include "help.h"

#include <stdio.h>
#include <string.h>

#include "output.h"

#define COLUMN 30

const struct command *help_find(const char *name)
{
    for (const struct command *command = commands; command->name; command++)
        if (strcmp(name, command->name) == 0 ||
            (command->alias && strcmp(name, command->alias) == 0))
            return command;
    return NULL;
}

/* "-d, -P, --dir DIR" */
static void print_option(const struct option_row *row)
{
    char left[64] = "";
    size_t len = 0;

    for (const char *letter = row->letters; *letter; letter++)
        len += (size_t)snprintf(left + len, sizeof left - len, "-%c, ", *letter);
    snprintf(left + len, sizeof left - len, "%s--%s%s%s", len ? "" : "    ", row->name,
             row->argument ? " " : "", row->argument ? row->argument : "");
    output_own("  %-*s %s\n", COLUMN - 3, left, row->help);
}

/* Those that every command takes (NULL), or that this one takes beside them. */
static void print_options(const struct command *command)
{
    for (const struct option_row *row = options; row->name; row++)
        if (command ? !row->common && cmd_takes(command, row->name) : row->common)
            print_option(row);
}

static void print_overview(void)
{
    output_own("Usage: autodl [OPTIONS] COMMAND [ARGUMENTS]\n\n"
               "Hands downloads to autodl-service, which puts the files into your directories.\n\n"
               "Commands:\n");
    for (const struct command *command = commands; command->name; command++) {
        char left[COLUMN];
        snprintf(left, sizeof(left), "%s%s%s", command->name, *command->arguments ? " " : "",
                 command->arguments);
        output_own("  %-*s%s%s%s%s\n", COLUMN - 2, left, command->summary,
                   command->alias ? " (or " : "", command->alias ? command->alias : "",
                   command->alias ? ")" : "");
    }
    output_own("\nOptions, before or after the command:\n");
    print_options(NULL);
    output_own("\nPut URLs in quotes, since & and ? mean something to the shell:\n"
               "  autodl add 'https://example.org/get?file=a.iso&mirror=2' '~/isos'\n\n"
               "More: autodl help COMMAND, man autodl\n");
}

static void print_command(const struct command *command)
{
    output_own("Usage: autodl [OPTIONS] %s%s%s\n", command->name, *command->arguments ? " " : "",
               command->arguments);
    if (command->alias)
        output_own("       autodl [OPTIONS] %s%s%s\n", command->alias,
                   *command->arguments ? " " : "", command->arguments);
    output_own("\n%s\n", command->help);
    if (*command->options) {
        output_own("Options:\n");
        print_options(command);
        output_own("\n");
    }
    output_own("Options for every command: autodl --help\n");
}

enum api_exit help_print(const char *topic)
{
    const struct command *command = topic ? help_find(topic) : NULL;

    if (topic && !command)
        return output_fail(API_EXIT_USAGE, "there is no command \"%s\"; see autodl --help", topic);
    if (command)
        print_command(command);
    else
        print_overview();
    return API_EXIT_DONE;
}

enum api_exit cmd_help(const struct command_call *call)
{
    return help_print(call->argc ? call->argv[0] : NULL);
}
