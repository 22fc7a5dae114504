#include "options.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "cmd.h"
#include "common/cleanup.h"
#include "help.h"
#include "output.h"

#define ROWS_MAX    80
#define LETTERS_MAX 64

struct parsing {
    struct option names[ROWS_MAX];
    char letters[LETTERS_MAX];
    const struct command *command; /* once its name was read */
    struct given given;
    char **words;
    int count;
};

/* getopt_long's two descriptions of the table; a long option's value is its row + 256. */
static void describe(struct parsing *parsing)
{
    size_t names = 0, letters = 0;

    parsing->letters[letters++] = '-'; /* arguments come in their order */
    parsing->letters[letters++] = ':';
    for (size_t i = 0; options[i].name; i++) {
        const struct option_row *row = &options[i];
        bool known = false;
        for (size_t k = 0; k < i; k++)
            known = known || strcmp(options[k].name, row->name) == 0;
        if (!known)
            parsing->names[names++] = (struct option){
                .name = row->name, .has_arg = row->argument != NULL, .val = (int)i + 256};
        for (const char *letter = row->letters; *letter; letter++) {
            parsing->letters[letters++] = *letter;
            if (row->argument)
                parsing->letters[letters++] = ':';
        }
    }
    parsing->letters[letters] = '\0';
}

/* `found` is what getopt_long returned: '?' or ':'. */
static enum api_exit refuse(int found, const char *last)
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

/* Which row an option stands for. */
static const struct option_row *row_of(const struct parsing *parsing, int found)
{
    const struct option_row *row = options, *other;

    if (found >= 256) {
        row = &options[found - 256];
        for (other = options; parsing->command && other->name; other++)
            if (!other->common && strcmp(other->name, row->name) == 0 &&
                cmd_takes(parsing->command, row->name))
                return other;
        return row;
    }
    while (!strchr(row->letters, found))
        row++;
    return row;
}

static enum api_exit keep_option(struct parsing *parsing, int found)
{
    struct given *given = &parsing->given;

    given->list[given->count++] =
        (struct given_option){.row = row_of(parsing, found), .value = optarg};
    return API_EXIT_DONE;
}

static void keep_word(struct parsing *parsing, char *word)
{
    if (parsing->count == 0)
        parsing->command = help_find(word);
    parsing->words[parsing->count++] = word;
}

enum api_exit options_parse(int argc, char **argv, struct given *ret_given, char ***ret_words,
                            int *ret_count)
{
    struct parsing parsing = {0};
    enum api_exit status = API_EXIT_DONE;
    int found;

    parsing.given.list = calloc((size_t)argc + 1, sizeof *parsing.given.list);
    _cleanup_free_ char **words = parsing.words = calloc((size_t)argc + 1, sizeof *words);
    if (!parsing.given.list || !words) {
        given_release(&parsing.given);
        return cmd_no_memory();
    }
    describe(&parsing);
    opterr = 0;
    while (status == API_EXIT_DONE &&
           (found = getopt_long(argc, argv, parsing.letters, parsing.names, NULL)) != -1) {
        if (found == '?' || found == ':')
            status = refuse(found, argv[optind - 1]);
        else if (found == 1)
            keep_word(&parsing, optarg);
        else
            status = keep_option(&parsing, found);
    }
    while (status == API_EXIT_DONE && optind < argc) /* behind -- */
        keep_word(&parsing, argv[optind++]);
    if (status != API_EXIT_DONE) {
        given_release(&parsing.given);
        return status;
    }
    *ret_given = parsing.given;
    *ret_words = TAKE_PTR(words);
    *ret_count = parsing.count;
    return API_EXIT_DONE;
}
