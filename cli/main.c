#include <config.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "address.h"
#include "client.h"
#include "cmd.h"
#include "common/cleanup.h"
#include "completions.h"
#include "help.h"
#include "login.h"
#include "output.h"

/* clang-format off */
const struct command commands[] = {
    {"add", NULL, "URL... [PATH]", "download URLs into the directory PATH",
     "Asks the service to download each URL and prints its task: where the file will be, and\n"
     "the task's id. With two arguments, a second one without :// is PATH, a directory on the\n"
     "service's machine, made if missing; without it files go to your default directory,\n"
     "~/autodl-storage. A relative PATH counts from the current directory, if the service is\n"
     "on this machine. Put URLs in quotes, and '~/...' too where the service is elsewhere.\n",
     1, INT_MAX, false, cmd_add, false, COMPLETES_DIRECTORIES},
    {"status", NULL, "TASK_ID", "how one task is doing",
     "Prints a task: its URL, file and state, and how many seconds it has taken so far.\n"
     "TASK_ID is what autodl add printed, or its first characters, at least four.\n",
     1, 1, false, cmd_status, false, NULL},
    {"clear", NULL, "[--all]", "drop the tasks that wait",
     "Drops your waiting tasks; their state becomes CLEARED. Running downloads go on.\n"
     "--all: everybody's (for operators).\n",
     0, 0, true, cmd_clear, false, NULL},
    {"pause", NULL, "[SECONDS] [--all]", "start no more downloads for now",
     "Starts none of your downloads until autodl resume, or for SECONDS. Running ones go on to\n"
     "their end. SECONDS may have a unit: 90s, 15m, 2h, 1d.\n"
     "--all: none of anybody's (for operators).\n",
     0, 1, true, cmd_pause, false, NULL},
    {"resume", NULL, "[--all]", "end a pause",
     "Ends your pause, so that waiting downloads start.\n"
     "--all: everybody's pause (for operators).\n",
     0, 0, true, cmd_resume, false, NULL},
    {"stats", NULL, "", "how many tasks are in which state",
     "Prints how many tasks are in which state, and the HTTP responses of the last 10 minutes.\n",
     0, 0, false, cmd_stats, false, NULL},
    {"update_tasks_num", "update-tasks-num", "[N]", "run up to N downloads at once",
     "Lets up to N downloads run at once, 1 to 1000; without N: 10. A higher number works at\n"
     "once, a lower one as running downloads end. For operators.\n",
     0, 1, false, cmd_update_tasks_num, false, NULL},
    {"help", NULL, "[COMMAND]", "this help, or that of a command",
     "Prints what there is, or how COMMAND is used.\n",
     0, 1, false, cmd_help, true, COMPLETES_COMMANDS},
    {"completions", NULL, "SHELL", "a completion script for bash or zsh",
     "Prints what makes the shell complete autodl's commands and options. Packages install it;\n"
     "by hand: eval \"$(autodl completions bash)\", or for zsh put the output into a file _autodl\n"
     "in a directory of $fpath.\n",
     1, 1, false, cmd_completions, true, "bash zsh"},
    {0},
};

const struct option_row options[] = {
    {"host", 'h', "HOST", "the service's host: HOST, HOST:PORT or https://HOST:PORT", COMPLETES_HOSTS},
    {"port", 'p', "PORT", "its port, if not 6736", NULL},
    {"user", 'u', "NAME", "act as this user", COMPLETES_USERS},
    {"socket", '\0', "PATH", "the service's unix socket", COMPLETES_FILES},
    {"cacert", '\0', "FILE", "over https: trust this certificate, not the system's",
     COMPLETES_FILES},
    {"pin", '\0', "PIN", "over https: trust the key with this pin, sha256//...", NULL},
    {"json", '\0', NULL, "print JSON; a refusal prints only its message", NULL},
    {"text", '\0', NULL, "print text; a refusal prints only its message", NULL},
    {"output", '\0', "FORM", "json, text, or auto: see man autodl", "auto json text"},
    {"all", '\0', NULL, "clear, pause, resume: everybody's tasks", NULL},
    {"version", 'V', NULL, "print the version, and which service answers", NULL},
    {"help", '\0', NULL, "print help (-h is the host)", NULL},
    {0},
};
/* clang-format on */

struct invocation {
    struct address_options service;
    const char *user;
    enum output_form form;
    bool all, version, help;
    int argc; /* the command and its arguments */
    char **argv;
};

#define OPTIONS (sizeof(options) / sizeof(options[0]))

/* getopt_long's two descriptions of the table above; a long option's value is its row + 256. */
static void describe_options(struct option ret_long[static OPTIONS], char ret_short[static 32])
{
    size_t len = 0;

    ret_short[len++] = ':';
    for (size_t i = 0; i < OPTIONS; i++) {
        const struct option_row *row = &options[i];
        ret_long[i] = (struct option){.name = row->name,
                                      .has_arg = row->argument != NULL,
                                      .val = row->name ? (int)i + 256 : 0};
        if (row->letter)
            ret_short[len++] = row->letter;
        if (row->letter && row->argument)
            ret_short[len++] = ':';
    }
    ret_short[len] = '\0';
}

static enum api_exit take_form(const char *source, const char *text, enum output_form *ret_form)
{
    if (output_parse_form(text, ret_form) < 0)
        return output_fail(API_EXIT_USAGE, "%s takes auto, json or text, not \"%s\"", source, text);
    return API_EXIT_DONE;
}

static enum api_exit take_option(struct invocation *invocation, const char *name, const char *value)
{
    if (strcmp(name, "host") == 0)
        invocation->service.host = value;
    else if (strcmp(name, "port") == 0)
        invocation->service.port = value;
    else if (strcmp(name, "user") == 0)
        invocation->user = value;
    else if (strcmp(name, "socket") == 0)
        invocation->service.socket = value;
    else if (strcmp(name, "cacert") == 0)
        invocation->service.cacert = value;
    else if (strcmp(name, "pin") == 0)
        invocation->service.pin = value;
    else if (strcmp(name, "json") == 0 || strcmp(name, "text") == 0)
        return take_form(name, name, &invocation->form);
    else if (strcmp(name, "output") == 0)
        return take_form("--output", value, &invocation->form);
    else if (strcmp(name, "all") == 0)
        invocation->all = true;
    else if (strcmp(name, "version") == 0)
        invocation->version = true;
    else
        invocation->help = true;
    return API_EXIT_DONE;
}

/* `found` is what getopt_long returned: '?' or ':'. */
static enum api_exit refuse_option(int found, const char *last)
{
    if (found == ':' && optopt == 'h')
        return output_fail(API_EXIT_USAGE, "-h takes a host; for help: autodl --help");
    if (found == ':')
        return output_fail(API_EXIT_USAGE, "%s takes a value; see autodl --help", last);
    if (optopt >= 256)
        return output_fail(API_EXIT_USAGE, "--%s takes no value", options[optopt - 256].name);
    if (optopt)
        return output_fail(API_EXIT_USAGE, "there is no option -%c; see autodl --help", optopt);
    return output_fail(API_EXIT_USAGE, "there is no option %s; see autodl --help", last);
}

static const char *row_name(int found)
{
    if (found >= 256)
        return options[found - 256].name;
    for (const struct option_row *row = options;; row++)
        if (row->letter == found)
            return row->name;
}

static enum api_exit parse(int argc, char **argv, struct invocation *invocation)
{
    struct option long_options[OPTIONS];
    char short_options[32];
    const char *form = getenv("AUTODL_OUTPUT");
    enum api_exit status = API_EXIT_DONE;
    int found;

    if (form && *form)
        status = take_form("AUTODL_OUTPUT", form, &invocation->form);
    describe_options(long_options, short_options);
    unsetenv("POSIXLY_CORRECT"); /* options may stand after the command */
    while (status == API_EXIT_DONE &&
           (found = getopt_long(argc, argv, short_options, long_options, NULL)) != -1)
        status = found == '?' || found == ':' ? refuse_option(found, argv[optind - 1])
                                              : take_option(invocation, row_name(found), optarg);
    invocation->argc = argc - optind;
    invocation->argv = argv + optind;
    const char *user = invocation->user;
    if (status == API_EXIT_DONE && user && (*user == '\0' || strchr(user, ':')))
        return output_fail(API_EXIT_USAGE, "-u takes a user's name, without a colon, not \"%s\"",
                           user);
    return status;
}

static void destroy_client(struct client **client)
{
    client_destroy(*client);
}

/* `names_user`: the service is told who asks. */
static enum api_exit connect_client(const struct invocation *invocation, bool names_user,
                                    struct client **ret_client)
{
    _cleanup_(login_release) struct login login = {0};
    struct address address;
    enum api_exit status = address_find(&invocation->service, &address);

    if (status != API_EXIT_DONE)
        return status;
    if (names_user)
        status = login_find(&address, invocation->user, &login);
    if (status != API_EXIT_DONE) {
        address_release(&address);
        return status;
    }
    *ret_client = client_create(&address, &login);
    return *ret_client ? API_EXIT_DONE : output_fail(API_EXIT_REFUSED, "out of memory");
}

static enum api_exit print_version(const struct invocation *invocation)
{
    _cleanup_(destroy_client) struct client *client = NULL;
    struct client_answer answer;

    /* Any answer will do, so that no password is needed. */
    enum api_exit status = connect_client(invocation, false, &client);
    if (status != API_EXIT_DONE)
        return status;
    client_send(client, &(struct client_request){.path = "/stats"}, &answer);
    output_print("autodl %s\n", PACKAGE_VERSION);
    if (answer.error)
        output_print("service: none; %s\n", answer.error);
    else
        output_print("service: %s at %s (%s)\n",
                     answer.server ? answer.server : "without a name", client_name(client),
                     client_channel(client));
    return API_EXIT_DONE;
}

static enum api_exit run(const struct invocation *invocation)
{
    const struct command *command = help_find(invocation->argv[0]);
    struct command_call call = {NULL, invocation->user, invocation->all, invocation->argc - 1,
                                invocation->argv + 1};
    _cleanup_(destroy_client) struct client *client = NULL;

    if (!command)
        return output_fail(API_EXIT_USAGE, "there is no command \"%s\"; see autodl --help",
                           invocation->argv[0]);
    if (call.argc < command->min || call.argc > command->max)
        return output_fail(API_EXIT_USAGE, "usage: autodl %s%s%s", command->name,
                           *command->arguments ? " " : "", command->arguments);
    if (call.all && !command->takes_all)
        return output_fail(API_EXIT_USAGE, "%s takes no --all", command->name);
    if (command->alone)
        return command->run(&call);
    enum api_exit status = connect_client(invocation, true, &client);
    if (status != API_EXIT_DONE)
        return status;
    call.client = client;
    return command->run(&call);
}

/* A closed standard stream must not become a socket that is then written to: what takes its place
 * fails with EBADF. */
static void guard_standard_streams(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF)
            open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
}

int main(int argc, char **argv)
{
    struct invocation invocation = {0};

    guard_standard_streams();
    signal(SIGPIPE, SIG_IGN); /* a reader that went away is an error like any other */
    opterr = 0;
    enum api_exit status = parse(argc, argv, &invocation);
    output_init(invocation.form);
    if (status != API_EXIT_DONE)
        return status;
    if (invocation.version)
        status = print_version(&invocation);
    else if (invocation.help || argc == 1)
        status = help_print(invocation.argc ? invocation.argv[0] : NULL);
    else if (invocation.argc == 0)
        status = output_fail(API_EXIT_USAGE, "which command? autodl --help lists them");
    else
        status = run(&invocation);
    return output_finish(status);
}
