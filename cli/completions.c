#include "completions.h"

#include <stdio.h>
#include <string.h>

#include "help.h"
#include "output.h"

/* How each shell offers what a word of the tables stands for. */
static const struct {
    const char *what, *bash, *zsh;
} kinds[] = {
    {COMPLETES_COMMANDS,    "$(compgen -W \"$commands\" -- \"$current\")",
     "_describe command commands"                                                        },
    {COMPLETES_DIRECTORIES, "$(compgen -d -- \"$current\")",               "_directories"},
    {COMPLETES_FILES,       "$(compgen -f -- \"$current\")",               "_files"      },
    {COMPLETES_HOSTS,       "$(compgen -A hostname -- \"$current\")",      "_hosts"      },
    {COMPLETES_USERS,       "$(compgen -u -- \"$current\")",               "_users"      },
};
#define KINDS (sizeof kinds / sizeof *kinds)

/* --- bash(1), Programmable Completion --- */

/* Common ones, or (with a command) those that it takes beside them; or (`all`) every one. */
static bool is_meant(const struct option_row *row, const struct command *command, bool all)
{
    if (all) /* a name that two have is meant once */
        return row->common || strcmp(row->name, "host") != 0;
    return command ? !row->common && cmd_takes(command, row->name) : row->common;
}

static void print_option_names(const struct command *command, bool with_argument,
                               const char *between)
{
    const char *before = "";
    for (const struct option_row *row = options; row->name; row++) {
        if (!is_meant(row, command, with_argument) || (with_argument && !row->argument))
            continue;
        output_own("%s--%s", before, row->name);
        before = between;
        for (const char *letter = row->letters; *letter; letter++)
            output_own("%s-%c", before, *letter);
    }
}

static void print_bash_case(const char *names, const char *completes)
{
    bool is_file = completes && (strcmp(completes, COMPLETES_FILES) == 0 ||
                                 strcmp(completes, COMPLETES_DIRECTORIES) == 0);
    if (!completes)
        return;
    output_own("    %s)\n", names);
    for (size_t i = 0; i < KINDS; i++)
        if (strcmp(kinds[i].what, completes) == 0)
            output_own("        found=%s\n", kinds[i].bash);
    if (completes[0] != '<')
        output_own("        found=$(compgen -W '%s' -- \"$current\")\n", completes);
    output_own("%s        ;;\n", is_file ? "        compopt -o filenames 2>/dev/null\n" : "");
}

static void print_bash_arguments(void)
{
    char names[64];
    for (const struct option_row *row = options; row->name; row++) {
        int len = snprintf(names, sizeof names, "--%s", row->name);
        for (const char *letter = row->letters; *letter; letter++)
            len += snprintf(names + len, sizeof names - (size_t)len, " | -%c", *letter);
        if (is_meant(row, NULL, true))
            print_bash_case(names, row->argument ? row->completes : NULL);
    }
    for (const struct command *command = commands; command->name; command++) {
        if (command->alias)
            snprintf(names, sizeof names, "%s | %s", command->name, command->alias);
        else
            snprintf(names, sizeof names, "%s", command->name);
        print_bash_case(names, command->completes);
    }
}

/* Those that a command takes beside the common ones. */
static void print_bash_options(void)
{
    for (const struct command *command = commands; command->name; command++) {
        if (!*command->options)
            continue;
        output_own("    %s) options+=' ", command->name);
        print_option_names(command, false, " ");
        output_own("' ;;\n");
    }
}

/* $subject is the option whose value is completed, else the command, else what stands for it. */
static void print_bash(void)
{
    output_own("# bash completion for autodl; made by: autodl completions bash\n"
               "_autodl() {\n"
               "    local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}\n"
               "    local subject= command= found= i commands options\n"
               "    commands='");
    for (const struct command *command = commands; command->name; command++)
        output_own("%s%s", command == commands ? "" : " ", command->name);
    output_own("'\n    options='");
    print_option_names(NULL, false, " ");
    output_own("'\n"
               "    COMPREPLY=()\n"
               "    if [[ $current == = ]]; then\n"
               "        current=\n"
               "    elif [[ $before == = ]]; then\n"
               "        before=${COMP_WORDS[COMP_CWORD - 2]}\n"
               "    fi\n"
               "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
               "        case ${COMP_WORDS[i]} in\n"
               "        ");
    print_option_names(NULL, true, " | ");
    output_own(")\n"
               "            [[ ${COMP_WORDS[++i]} != = ]] || ((++i)) ;;\n"
               "        -*) ;;\n"
               "        *) subject=${COMP_WORDS[i]} command=$subject && break ;;\n"
               "        esac\n"
               "    done\n"
               "    case $before in\n"
               "    ");
    print_option_names(NULL, true, " | ");
    output_own(") subject=$before ;;\n"
               "    *) [[ $current != -* ]] || subject=options ;;\n"
               "    esac\n"
               "    case $command in\n");
    print_bash_options();
    output_own("    esac\n"
               "    case $subject in\n"
               "    '') found=$(compgen -W \"$commands\" -- \"$current\") ;;\n"
               "    options) found=$(compgen -W \"$options\" -- \"$current\") ;;\n");
    print_bash_arguments();
    output_own("    esac\n"
               "    [[ -z $found ]] || mapfile -t COMPREPLY <<<\"$found\"\n"
               "}\n"
               "complete -F _autodl autodl\n");
}

/* --- zsh: zshcompsys(1), _arguments and _describe --- */

/* Inside single quotes: those are closed for a quote; a colon ends a field of _arguments and a
 * bracket its explanation. */
static void print_zsh_text(const char *text)
{
    for (; *text; text++) {
        if (*text == '\'')
            output_own("'\\''");
        else
            output_own(strchr(":[]", *text) ? "\\%c" : "%c", *text);
    }
}

static void print_zsh_action(const char *completes)
{
    for (size_t i = 0; completes && i < KINDS; i++)
        if (strcmp(kinds[i].what, completes) == 0)
            output_own("%s", kinds[i].zsh);
    if (completes && completes[0] != '<')
        output_own("(%s)", completes);
}

/* Names of the option other than this one, so that it is offered once. */
static void print_zsh_others(const struct option_row *row)
{
    for (const char *letter = row->letters; *letter; letter++)
        output_own("-%c ", *letter);
    output_own("--%s", row->name);
}

static void print_zsh_option(const struct option_row *row)
{
    bool is_repeated = strcmp(row->name, "header") == 0 || strcmp(row->name, "mirror") == 0;
    output_own("        '");
    if (is_repeated)
        output_own("*");
    if (*row->letters) {
        output_own("(");
        print_zsh_others(row);
        output_own(")'{");
        for (const char *letter = row->letters; *letter; letter++)
            output_own("-%c%s,", *letter, row->argument ? "+" : "");
        output_own("--%s%s}'[", row->name, row->argument ? "=" : "");
    } else {
        output_own("--%s%s[", row->name, row->argument ? "=" : "");
    }
    print_zsh_text(row->help);
    output_own("]");
    if (row->argument) {
        output_own(":%s:", row->argument);
        print_zsh_action(row->completes);
    }
    output_own("' \\\n");
}

static void print_zsh(void)
{
    output_own("#compdef autodl\n"
               "# zsh completion for autodl; made by: autodl completions zsh\n"
               "local context state state_descr line\n"
               "typeset -A opt_args\n"
               "local -a commands\n"
               "commands=(\n");
    for (const struct command *command = commands; command->name; command++) {
        output_own("    '%s:", command->name);
        print_zsh_text(command->summary);
        output_own("'\n");
    }
    output_own(")\n"
               "_arguments -S -C \\\n");
    for (const struct option_row *row = options; row->name; row++)
        if (is_meant(row, NULL, true))
            print_zsh_option(row);
    output_own("        '1:command:->command' '*:argument:->argument' && return\n"
               "case $state in\n"
               "command) _describe command commands ;;\n"
               "argument)\n"
               "    case $line[1] in\n");
    for (const struct command *command = commands; command->name; command++) {
        if (!command->completes)
            continue;
        output_own("    %s%s%s) ", command->name, command->alias ? "|" : "",
                   command->alias ? command->alias : "");
        if (command->completes[0] != '<')
            output_own("compadd -- %s", command->completes);
        else
            print_zsh_action(command->completes);
        output_own(" ;;\n");
    }
    output_own("    esac\n"
               "    ;;\n"
               "esac\n");
}

enum api_exit cmd_completions(const struct command_call *call)
{
    const char *shell = call->argv[0];
    if (strcmp(shell, "bash") == 0)
        print_bash();
    else if (strcmp(shell, "zsh") == 0)
        print_zsh();
    else
        return output_fail(API_EXIT_USAGE, "completions are for bash or zsh, not \"%s\"", shell);
    return API_EXIT_DONE;
}
