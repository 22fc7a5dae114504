#include <config.h>
#include <errno.h>
#include <fcntl.h>
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
#include "options.h"
#include "output.h"

#define FILTERS "state host match all"

/* clang-format off */
const struct command commands[] = {
    {"add", NULL, "URL... [PATH]", "download URLs into the directory PATH",
     "Asks the service to download each URL and prints its task: its id, what it waits for, the\n"
     "file and its directory. With two arguments, a second one without :// is PATH, a directory\n"
     "on the service's machine, made if missing; without it files go to your default directory,\n"
     "~/autodl-storage. A relative PATH counts from the current directory, if the service is\n"
     "on this machine. Put URLs in quotes, and '~/...' too where the service is elsewhere.\n"
     "-i reads a list: a URL a line, or aria2's input format.\n",
     0, INT_MAX,
     "input-file dir out wait quiet checksum header priority at in after limit mirror if-exists "
     "tries label origin-user load-cookies",
     cmd_add, false, COMPLETES_DIRECTORIES},
    {"list", NULL, "", "what runs, waits, and ended lately",
     "Lists your downloads, newest first: the unfinished ones and those that ended in the last\n"
     "24 hours; with --state, --since or --until, those. One that waits says what for.\n"
     "TIME is 14:02, yesterday, 2030-01-31, '2030-01-31 14:02', or how long ago: 2h.\n",
     0, 0, FILTERS " since until limit", cmd_list, false, NULL},
    {"show", NULL, "ID...", "all there is to know of a download",
     "Prints all there is to know of downloads. ID is what autodl add and list print, or its\n"
     "first characters, at least four; - reads ids from standard input.\n",
     1, INT_MAX, "", cmd_show, false, NULL},
    {"watch", NULL, "[ID...]", "follow downloads as they run",
     "Shows downloads as they run, until they have ended: those named, or all of yours. The\n"
     "interrupt key (Ctrl-C) ends the watching; the downloads go on.\n"
     "Ends with 1 if one failed, was cleared or cancelled; 7 if all that failed had no room, 8 if\n"
     "their checksums were wrong.\n",
     0, INT_MAX, "", cmd_watch, false, NULL},
    {"wait", NULL, "[ID...]", "wait until downloads have ended, in a script",
     "Waits until the downloads have ended: those named, or all of yours that are unfinished\n"
     "now. Prints nothing unless one failed. Ends as watch does, and with 6 after --timeout.\n",
     0, INT_MAX, "timeout", cmd_wait, false, NULL},
    {"hold", NULL, "[ID...]", "hold downloads: they keep what they have",
     "Holds downloads that wait or run, until autodl release. They keep what they have.\n",
     0, INT_MAX, FILTERS, cmd_hold, false, NULL},
    {"release", NULL, "[ID...]", "let held downloads go on",
     "Lets downloads that are held go on.\n",
     0, INT_MAX, FILTERS, cmd_release, false, NULL},
    {"cancel", NULL, "[ID...]", "give downloads up",
     "Ends downloads that wait, run or are held, and removes what they have; --keep keeps it.\n",
     0, INT_MAX, FILTERS " keep", cmd_cancel, false, NULL},
    {"retry", NULL, "[ID...]", "try failed or cancelled downloads again",
     "Puts downloads that failed, were cancelled or cleared back into the queue. They go on from\n"
     "what they have.\n",
     0, INT_MAX, FILTERS, cmd_retry, false, NULL},
    {"rm", NULL, "[ID...]", "forget ended downloads; files stay",
     "Forgets downloads that have ended. Their files stay, but with --delete-file.\n",
     0, INT_MAX, FILTERS " delete-file", cmd_rm, false, NULL},
    {"first", NULL, "ID...", "put waiting downloads in front of the others",
     "Puts downloads that wait in front of all others of their priority.\n",
     1, INT_MAX, "", cmd_first, false, NULL},
    {"set", NULL, "ID KEY=VALUE...", "change a download",
     "Changes a download. KEY is priority (-100 to 100, higher is earlier), rate_limit (such as\n"
     "2M, a second, or off), not_before (a time), max_ranges (parts of it that may be\n"
     "fetched at once, 1 to 64), label, or url.\n",
     2, INT_MAX, "", cmd_set, false, NULL},
    {"retarget", NULL, "ID URL", "give a download another URL, keeping what it has",
     "Lets a download go on from another URL, keeping what it has if the file is the same.\n",
     2, 2, "", cmd_retarget, false, NULL},
    {"limit", NULL, "[RATE|off]", "limit how fast the service downloads",
     "Limits all downloads together to RATE bytes a second (500K, 2M, 1G), for ever, until a\n"
     "time (18:00) or for a duration (2h). Without RATE: prints the limit. For operators.\n",
     0, 1, "until for", cmd_limit, false, NULL},
    {"settings", NULL, "[KEY=VALUE...]", "print or change the service's settings",
     "Prints the settings that can change while the service runs, or changes them until it is\n"
     "started again: max_tasks_num, rate_limit, max_per_host. Changing is for operators.\n",
     0, INT_MAX, "", cmd_settings, false, "max_tasks_num= rate_limit= max_per_host="},
    {"status", NULL, "TASK_ID", "how one task is doing",
     "Prints a task in a line: how far it is, its file and state, and how many seconds it has\n"
     "taken so far. TASK_ID is what autodl add printed, or its first characters, at least four.\n",
     1, 1, "", cmd_status, false, NULL},
    {"clear", NULL, "[--all]", "drop the tasks that wait",
     "Drops your waiting tasks; their state becomes CLEARED. Running downloads go on.\n"
     "--all: everybody's (for operators).\n",
     0, 0, "all", cmd_clear, false, NULL},
    {"pause", NULL, "[SECONDS] [--all]", "start no more downloads for now",
     "Starts none of your downloads until autodl resume, or for SECONDS. Running ones go on to\n"
     "their end. SECONDS may have a unit: 90s, 15m, 2h, 1d.\n"
     "--all: none of anybody's (for operators).\n",
     0, 1, "all", cmd_pause, false, NULL},
    {"resume", NULL, "[--all]", "end a pause",
     "Ends your pause, so that waiting downloads start.\n"
     "--all: everybody's pause (for operators).\n",
     0, 0, "all", cmd_resume, false, NULL},
    {"stats", NULL, "", "how many tasks are in which state",
     "Prints how many tasks are in which state, how fast they came in the last 10 minutes, and\n"
     "the room on disks. In a pipe: the tasks, and the HTTP responses of those minutes.\n",
     0, 0, "", cmd_stats, false, NULL},
    {"update_tasks_num", "update-tasks-num", "[N]", "run up to N downloads at once",
     "Lets up to N downloads run at once, 1 to 1000; without N: 10. A higher number works at\n"
     "once, a lower one as running downloads end. For operators.\n",
     0, 1, "", cmd_update_tasks_num, false, NULL},
    {"help", NULL, "[COMMAND]", "this help, or that of a command",
     "Prints what there is, or how COMMAND is used.\n",
     0, 1, "", cmd_help, true, COMPLETES_COMMANDS},
    {"completions", NULL, "SHELL", "a completion script for bash or zsh",
     "Prints what makes the shell complete autodl's commands and options. Packages install it;\n"
     "by hand: eval \"$(autodl completions bash)\", or for zsh put the output into a file _autodl\n"
     "in a directory of $fpath.\n",
     1, 1, "", cmd_completions, true, "bash zsh"},
    {0},
};

const struct option_row options[] = {
    {"host", "h", "HOST", "the service's host: HOST, HOST:PORT, https://HOST:PORT or ssh://HOST",
     COMPLETES_HOSTS, true},
    {"port", "p", "PORT", "its port, if not 6736", NULL, true},
    {"user", "u", "NAME", "act as this user", COMPLETES_USERS, true},
    {"socket", "", "PATH", "the service's unix socket", COMPLETES_FILES, true},
    {"cacert", "", "FILE", "over https: trust this certificate, not the system's",
     COMPLETES_FILES, true},
    {"pin", "", "PIN", "over https: trust the key with this pin, sha256//...", NULL, true},
    {"json", "", NULL, "print JSON, a task a line; a refusal prints only its message", NULL, true},
    {"text", "", NULL, "print text; a refusal prints only its message", NULL, true},
    {"output", "", "FORM", "json, text, or auto: see man autodl", "auto json text", true},
    {"version", "V", NULL, "print the version, and which service answers", NULL, true},
    {"help", "", NULL, "print help (-h is the host)", NULL, true},

    {"input-file", "i", "FILE", "a list of URLs, plain or aria2's; - is standard input",
     COMPLETES_FILES, false},
    {"dir", "dP", "DIR", "the directory, as PATH", COMPLETES_DIRECTORIES, false},
    {"out", "oO", "NAME", "the file's name", NULL, false},
    {"wait", "", NULL, "follow it until it has ended, as autodl watch", NULL, false},
    {"quiet", "q", NULL, "print nothing but errors", NULL, false},
    {"checksum", "", "SUM", "what the file must have: sha-256=HEX, sha-512=, sha-1=, md5=", NULL,
     false},
    {"header", "", "LINE", "send this header, 'Name: value'; @FILE: the lines of a file",
     COMPLETES_FILES, false},
    {"priority", "", "N", "-100 to 100; higher starts earlier", NULL, false},
    {"at", "", "TIME", "start at: 22:00, 'tomorrow 6:00', 2030-01-31", NULL, false},
    {"in", "", "DURATION", "start in: 90s, 15m, 2h, 1d", NULL, false},
    {"after", "", "ID", "start once that download is FINISHED", NULL, false},
    {"limit", "", "N", "add: at most so many bytes a second, 500K, 2M; list: so many downloads",
     NULL, false},
    {"mirror", "", "URL", "where the same file is too; again for more", NULL, false},
    {"if-exists", "", "WHAT", "rename (as always), skip or overwrite", "rename skip overwrite",
     false},
    {"tries", "", "N", "fail after so many attempts in a row that brought nothing", NULL, false},
    {"label", "", "TEXT", "a word of yours that is kept with it", NULL, false},
    {"origin-user", "", "NAME", "log in there; the password is from ~/.netrc or asked for", NULL,
     false},
    {"load-cookies", "", "FILE", "send the cookies of that file (Netscape's format)",
     COMPLETES_FILES, false},

    {"state", "", "STATE", "those in this state: waiting, running, finished, failed, ...",
     "waiting running held finished failed cancelled cleared", false},
    {"host", "", "HOST", "those from this host (the service's is -h then)", COMPLETES_HOSTS, false},
    {"match", "", "TEXT", "those with this in URL or name", NULL, false},
    {"since", "", "TIME", "those that had not ended before", NULL, false},
    {"until", "", "TIME", "list: those added until; limit: until when it holds", NULL, false},
    {"all", "", NULL, "everybody's, for operators", NULL, false},
    {"keep", "", NULL, "keep what was downloaded so far", NULL, false},
    {"delete-file", "", NULL, "delete the file too", NULL, false},
    {"timeout", "", "DURATION", "give up waiting after: 90s, 15m, 2h, 1d", NULL, false},
    {"for", "", "DURATION", "how long it holds: 90s, 15m, 2h, 1d", NULL, false},
    {0},
};
/* clang-format on */

static enum api_exit take_form(const char *source, const char *text, enum output_form *ret_form)
{
    if (output_parse_form(text, ret_form) < 0)
        return output_fail(API_EXIT_USAGE, "%s takes auto, json or text, not \"%s\"", source, text);
    return API_EXIT_DONE;
}

/* How to print: by the last option that says so, else by AUTODL_OUTPUT. */
static enum api_exit find_form(const struct given *given, enum output_form *ret_form)
{
    const char *variable = getenv("AUTODL_OUTPUT");
    enum api_exit status = API_EXIT_DONE;

    if (variable && *variable)
        status = take_form("AUTODL_OUTPUT", variable, ret_form);
    for (size_t i = 0; status == API_EXIT_DONE && i < given->count; i++) {
        const struct given_option *option = &given->list[i];
        const char *name = option->row->name;
        if (strcmp(name, "json") == 0 || strcmp(name, "text") == 0)
            status = take_form(name, name, ret_form);
        else if (strcmp(name, "output") == 0)
            status = take_form("--output", option->value, ret_form);
    }
    return status;
}

static void destroy_client(struct client **client)
{
    client_destroy(*client);
}

/* `names_user`: the service is told who asks. */
static enum api_exit connect_client(const struct given *given, bool names_user,
                                    struct client **ret_client)
{
    _cleanup_(login_release) struct login login = {0};
    struct address_options wanted = {
        .host = given_common(given, "host"),
        .port = given_common(given, "port"),
        .socket = given_common(given, "socket"),
        .cacert = given_common(given, "cacert"),
        .pin = given_common(given, "pin"),
    };
    struct address address;
    enum api_exit status = address_find(&wanted, &address);

    if (status != API_EXIT_DONE)
        return status;
    if (names_user)
        status = login_find(&address, given_common(given, "user"), &login);
    if (status != API_EXIT_DONE) {
        address_release(&address);
        return status;
    }
    *ret_client = client_create(&address, &login);
    return *ret_client ? API_EXIT_DONE : cmd_no_memory();
}

static enum api_exit print_version(const struct given *given)
{
    _cleanup_(destroy_client) struct client *client = NULL;
    struct client_answer answer;

    /* Any answer will do, so that no password is needed. */
    enum api_exit status = connect_client(given, false, &client);
    if (status != API_EXIT_DONE)
        return status;
    client_send(client, &(struct client_request){.path = "/stats"}, &answer);
    output_print("autodl %s\n", PACKAGE_VERSION);
    if (answer.error)
        output_print("service: none; %s\n", answer.error);
    else
        output_print("service: %s at %s (%s)\n", answer.server ? answer.server : "without a name",
                     client_name(client), client_channel(client));
    return API_EXIT_DONE;
}

/* Options that are not this command's. */
static enum api_exit check_options(const struct command_call *call)
{
    const char *user = given_common(&call->given, "user");

    for (size_t i = 0; i < call->given.count; i++) {
        const struct option_row *row = call->given.list[i].row;
        if (!row->common && !cmd_takes(call->command, row->name))
            return output_fail(API_EXIT_USAGE, "%s takes no --%s", call->command->name, row->name);
    }
    if (user && (*user == '\0' || strchr(user, ':')))
        return output_fail(API_EXIT_USAGE, "-u takes a user's name, without a colon, not \"%s\"",
                           user);
    return API_EXIT_DONE;
}

static enum api_exit run(struct command_call *call)
{
    const struct command *command = call->command;
    _cleanup_(destroy_client) struct client *client = NULL;

    enum api_exit status = check_options(call);
    if (status != API_EXIT_DONE)
        return status;
    if (call->argc < command->min || call->argc > command->max)
        return output_fail(API_EXIT_USAGE, "usage: autodl %s%s%s", command->name,
                           *command->arguments ? " " : "", command->arguments);
    if (command->alone)
        return command->run(call);
    status = connect_client(&call->given, true, &client);
    if (status != API_EXIT_DONE)
        return status;
    call->client = client;
    return command->run(call);
}

/* A closed standard stream must not become a socket that is then written to: what takes its place
 * fails with EBADF. */
static void guard_standard_streams(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF)
            open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
}

static enum api_exit run_words(const struct given *given, char **words, int count)
{
    if (given_common(given, "version"))
        return print_version(given);
    if (given_common(given, "help") || (count == 0 && given->count == 0))
        return help_print(count ? words[0] : NULL);
    if (count == 0)
        return output_fail(API_EXIT_USAGE, "which command? autodl --help lists them");
    struct command_call call = {
        .command = help_find(words[0]), .given = *given, .argc = count - 1, .argv = words + 1};
    if (!call.command)
        return output_fail(API_EXIT_USAGE, "there is no command \"%s\"; see autodl --help",
                           words[0]);
    return run(&call);
}

int main(int argc, char **argv)
{
    _cleanup_(given_release) struct given given = {0};
    _cleanup_free_ char **words = NULL;
    enum output_form form = OUTPUT_AUTO;
    int count = 0;

    guard_standard_streams();
    signal(SIGPIPE, SIG_IGN); /* a reader that went away is an error like any other */
    enum api_exit status = options_parse(argc, argv, &given, &words, &count);
    if (status == API_EXIT_DONE)
        status = find_form(&given, &form);
    if (status != API_EXIT_DONE)
        return status;
    output_init(form);
    return output_finish(run_words(&given, words, count));
}
