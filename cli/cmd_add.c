#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bar.h"
#include "cmd.h"
#include "common/buf.h"
#include "common/cleanup.h"
#include "cookies.h"
#include "follow.h"
#include "input.h"
#include "output.h"
#include "path.h"
#include "pauses.h"
#include "tasks.h"
#include "url.h"
#include "view.h"
#include "wish.h"

#define FORM_MAX   ((size_t)1 << 20) /* the command line is shorter */
#define COOKIE_MAX ((size_t)1 << 16)
#define BATCH_MAX  1000              /* tasks; the service takes more, but a bar should move */
#define BATCH_SIZE ((size_t)2 << 20) /* bytes, about */
#define FEW        20                /* tasks: a person wants to see each of them */
#define JSON_PLAIN (JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE)

/* Over TCP nobody vouches for root, whose downloads would have no home anyway. */
static enum api_exit check_user(const struct command_call *call)
{
    struct client_answer answer;

    if (given_common(&call->given, "user") || client_names_user(call->client) || geteuid() != 0)
        return API_EXIT_DONE;
    if (!client_probe(call->client, &answer))
        return cmd_report(&answer, NULL);
    return output_fail(API_EXIT_DENIED, "root has no downloads here; use -u USER");
}

/* --- as in 2017 --- */

static enum api_exit add_one(const struct command_call *call, const char *url, const char *path,
                             const char *subject, bool *ret_answered)
{
    _cleanup_(buf_release) struct buf form = {0};
    struct client_answer answer;

    buf_init(&form, FORM_MAX);
    client_add_field(&form, "url", url);
    if (path)
        client_add_field(&form, "path", path);
    if (form.error)
        return output_fail(API_EXIT_REFUSED, "\"%.100s...\" is too long", url);
    client_send(call->client,
                &(struct client_request){.path = "/add", .form = form.data, .expects = "task"},
                &answer);
    *ret_answered = answer.error == NULL;
    return cmd_report(&answer, subject);
}

static enum api_exit add_classic(const struct command_call *call, int urls, const char *path)
{
    enum api_exit worst = API_EXIT_DONE;
    bool answered = true;
    int sent = 0;

    while (sent < urls && answered && output_flush()) {
        const char *url = call->argv[sent++];
        enum api_exit status = add_one(call, url, path, urls > 1 ? url : NULL, &answered);
        if (status > worst)
            worst = status;
    }
    if (sent < urls)
        output_fail(worst, "stopped; not sent: %s%s", call->argv[sent],
                    sent + 1 < urls ? " and what follows it" : "");
    return worst;
}

/* --- version 1 --- */

struct adding {
    const struct command_call *call;
    struct json_object *wish; /* what goes for each of them */
    struct cookies *cookies;  /* or NULL */
    bool is_quiet, is_list, waits;

    struct json_object *batch; /* an array of tasks */
    size_t lines[BATCH_MAX];   /* of the list, 0: the command line's */
    size_t size;               /* bytes, about */

    size_t added, refused;
    enum api_exit worst;
    bool is_lost;       /* the service does not answer any more */
    bool is_paused;     /* one that was added waits for the end of a pause */
    struct id_list ids; /* of those to be waited for */
    struct json_object *shown; /* those of them that were printed */
    char last_id[VIEW_ID_MAX];
    FILE *list;
    int64_t list_size; /* bytes; 0: nobody knows */
};

static void see_status(struct adding *adding, enum api_exit status)
{
    adding->worst = status > adding->worst ? status : adding->worst;
}

static bool shows_each(const struct adding *adding)
{
    return !adding->is_quiet && !(adding->list && output_to_terminal());
}

static void draw_bar(const struct adding *adding)
{
    _cleanup_(buf_release) struct buf line = {0};
    unsigned columns, rows;

    if (!adding->list || !output_to_terminal() || adding->is_quiet)
        return;
    output_size(&columns, &rows);
    buf_init(&line, 4096);
    buf_printf(&line, "adding %zu ", adding->added);
    bar_add(&line, ftello(adding->list), adding->list_size, columns > 60 ? 40 : columns / 2);
    output_transient(line.data);
}

static void on_added(struct adding *adding, struct json_object *task)
{
    struct view view;

    if (!view_read(task, &view))
        return;
    adding->added++;
    adding->is_paused = adding->is_paused || (view.reason && strcmp(view.reason, "paused") == 0);
    view_short_id(view.id, adding->last_id);
    if (adding->waits)
        id_list_add(&adding->ids, view.id);
    if (!shows_each(adding))
        return;
    view_print(task, output_is_json(true));
    if (adding->waits)
        json_object_object_add(adding->shown, view.id, json_object_get(task));
}

/* Which of them a refusal is about. */
static void report_refusal(struct adding *adding, const struct client_answer *answer, size_t at)
{
    struct json_object *url = NULL;
    char line[32];

    json_object_object_get_ex(json_object_array_get_idx(adding->batch, at), "url", &url);
    snprintf(line, sizeof line, "line %zu", adding->lines[at]);
    enum api_exit status = cmd_judge(answer, adding->lines[at]        ? line
                                             : adding->call->argc > 1 ? json_object_get_string(url)
                                                                      : NULL);
    bool is_bad_line = adding->lines[at] && answer->status == 400;
    see_status(adding, is_bad_line ? API_EXIT_USAGE : status);
    adding->refused++;
}

static void send_part(struct adding *adding, size_t from, size_t count);

/* One of them is to blame: halves are tried, so that the others are added. */
static void split_part(struct adding *adding, size_t from, size_t count)
{
    send_part(adding, from, count / 2);
    if (!adding->is_lost)
        send_part(adding, from + count / 2, count - count / 2);
}

static struct json_object *make_body(const struct adding *adding, size_t from, size_t count)
{
    struct json_object *body = json_object_new_object(), *tasks = json_object_new_array();

    if (count == 1) {
        json_object_put(tasks);
        json_object_put(body);
        return json_object_get(json_object_array_get_idx(adding->batch, from));
    }
    for (size_t i = 0; i < count; i++)
        json_object_array_add(tasks,
                              json_object_get(json_object_array_get_idx(adding->batch, from + i)));
    json_object_object_add(body, "tasks", tasks);
    return body;
}

static void send_part(struct adding *adding, size_t from, size_t count)
{
    struct client_answer answer;
    struct json_object *tasks = NULL, *body = make_body(adding, from, count);

    client_send(adding->call->client,
                &(struct client_request){.path = "/v1/tasks",
                                         .json = json_object_to_json_string_ext(body, JSON_PLAIN),
                                         .expects = count == 1 ? "id" : "tasks"},
                &answer);
    json_object_put(body);
    bool is_theirs = answer.status == 400 || answer.status == 403 || answer.status == 404 ||
                     answer.status == 409 || answer.status == 413;
    if (!answer.error && answer.status < 300) {
        json_object_object_get_ex(answer.json, "tasks", &tasks);
        for (size_t i = 0; i < count && (tasks || i == 0); i++)
            on_added(adding, tasks ? json_object_array_get_idx(tasks, i) : answer.json);
    } else if (!answer.error && is_theirs && count > 1) {
        split_part(adding, from, count);
    } else if (!answer.error && is_theirs) {
        report_refusal(adding, &answer, from);
    } else {
        see_status(adding, cmd_judge(&answer, NULL));
        adding->is_lost = true;
        if (adding->lines[from])
            output_note("stopped at line %zu", adding->lines[from]);
    }
}

static void send_batch(struct adding *adding)
{
    size_t count = json_object_array_length(adding->batch);

    if (count > 0 && !adding->is_lost)
        send_part(adding, 0, count);
    json_object_put(adding->batch);
    adding->batch = json_object_new_array();
    adding->size = 0;
    draw_bar(adding);
}

static void add_cookies(const struct adding *adding, struct json_object *task, const char *url)
{
    _cleanup_(buf_release) struct buf cookie = {0};
    struct json_object *headers = NULL, *own;

    buf_init(&cookie, COOKIE_MAX);
    cookies_add(adding->cookies, url, &cookie);
    if (cookie.len == 0 || cookie.error)
        return;
    own = json_object_new_object(); /* the wish's own headers are shared by all */
    json_object_object_get_ex(task, "headers", &headers);
    if (headers) {
        json_object_object_foreach(headers, name, value)
            json_object_object_add(own, name, json_object_get(value));
    }
    json_object_object_add(own, "Cookie", json_object_new_string(cookie.data));
    json_object_object_add(task, "headers", own);
    explicit_bzero(cookie.data, cookie.len);
}

/* Takes the task: what it does not say itself, the options say. */
static void add_task(struct adding *adding, struct json_object *task, size_t line)
{
    struct json_object *url = NULL;

    json_object_object_foreach(adding->wish, name,
                               value) if (!json_object_object_get_ex(task, name, NULL))
        json_object_object_add(task, name, json_object_get(value));
    json_object_object_get_ex(task, "url", &url);
    if (adding->cookies)
        add_cookies(adding, task, json_object_get_string(url));
    adding->lines[json_object_array_length(adding->batch)] = line;
    json_object_array_add(adding->batch, task);
    adding->size += strlen(json_object_to_json_string_ext(task, JSON_PLAIN));
    if (json_object_array_length(adding->batch) == BATCH_MAX || adding->size > BATCH_SIZE)
        send_batch(adding);
}

static enum api_exit on_entry(void *data, const struct input_entry *entry)
{
    struct adding *adding = data;

    add_task(adding, json_object_get(entry->task), entry->line);
    return adding->is_lost || !output_flush() ? adding->worst : API_EXIT_DONE;
}

static enum api_exit add_list(struct adding *adding, const char *name)
{
    bool is_stdin = strcmp(name, "-") == 0;
    FILE *file = is_stdin ? stdin : fopen(name, "re");
    struct stat status;

    if (!file)
        return output_fail(API_EXIT_USAGE, "-i %s: %s", name, strerror(errno));
    adding->list = file;
    if (fstat(fileno(file), &status) == 0 && S_ISREG(status.st_mode))
        adding->list_size = status.st_size;
    enum api_exit result = input_read(file, adding->call->client, on_entry, adding);
    send_batch(adding);
    output_transient(NULL);
    adding->list = NULL;
    if (!is_stdin)
        fclose(file);
    return result;
}

/* What a person wants to know in the end. */
static void print_summary(const struct adding *adding)
{
    if (adding->is_quiet || output_is_json(true))
        return;
    if (adding->is_list && output_to_terminal()) {
        output_print("Added %zu download%s", adding->added, adding->added == 1 ? "" : "s");
        if (adding->refused)
            output_print(", %zu %s refused", adding->refused,
                         adding->refused == 1 ? "was" : "were");
        output_print("\n");
    }
    if (output_to_terminal() && adding->added > 0 && !adding->waits) {
        output_paint(PAINT_DIM);
        if (adding->added == 1)
            output_print("follow it: autodl watch %s\n", adding->last_id);
        else
            output_print("follow them: autodl watch\n");
        output_paint(PAINT_NONE);
    }
    if (adding->is_paused)
        pauses_shout(adding->call);
}

static enum api_exit read_options(struct adding *adding, const char *first_url)
{
    const struct given *given = &adding->call->given;
    const char *cookies = given_value(given, "load-cookies");
    size_t line = 0;
    int r = cookies ? cookies_load(cookies, &adding->cookies, &line) : 0;

    if (r == -EBADMSG)
        return output_fail(API_EXIT_USAGE,
                           "--load-cookies %s: line %zu is none of a cookie file (Netscape's "
                           "format, tabs between seven fields)",
                           cookies, line);
    if (r < 0)
        return output_fail(API_EXIT_USAGE, "--load-cookies %s: %s", cookies, strerror(-r));
    adding->is_quiet = given_value(given, "quiet") != NULL;
    adding->waits = given_value(given, "wait") != NULL;
    return wish_read(adding->call->client, given, first_url, adding->wish);
}

static enum api_exit wait_for_all(struct adding *adding)
{
    struct follow_wish wish = {
        .ids = &adding->ids,
        .known = adding->shown,
        .is_silent = adding->is_quiet,
        .is_classic = true,
    };

    if (!adding->waits || adding->ids.count == 0 || adding->is_lost)
        return API_EXIT_DONE;
    return follow(adding->call, &wish);
}

static void release_adding(struct adding *adding)
{
    json_object_put(adding->wish);
    json_object_put(adding->batch);
    json_object_put(adding->shown);
    cookies_destroy(adding->cookies);
    id_list_release(&adding->ids);
}

static enum api_exit add_v1(const struct command_call *call, int urls, const char *path)
{
    _cleanup_(release_adding) struct adding adding = {
        .call = call,
        .wish = json_object_new_object(),
        .batch = json_object_new_array(),
        .shown = json_object_new_object(),
    };
    const char *list = given_value(&call->given, "input-file");

    enum api_exit status = read_options(&adding, urls ? call->argv[0] : NULL);
    if (status != API_EXIT_DONE)
        return status;
    if (path)
        json_object_object_add(adding.wish, "directory", json_object_new_string(path));
    for (int i = 0; i < urls; i++) {
        struct json_object *task = json_object_new_object();
        json_object_object_add(task, "url", json_object_new_string(call->argv[i]));
        add_task(&adding, task, 0);
    }
    send_batch(&adding);
    adding.is_list = list != NULL;
    if (list && !adding.is_lost)
        see_status(&adding, add_list(&adding, list));
    print_summary(&adding);
    see_status(&adding, wait_for_all(&adding));
    return adding.worst;
}

/* --- add --- */

/* What is meant for one server (and may be out of ~/.netrc, for that) does not go to another. */
static bool is_same_server(const char *one, const char *other)
{
    struct url_parts a = url_split(one), b = url_split(other);
    size_t a_len = (size_t)(a.path - a.host), b_len = (size_t)(b.path - b.host); /* ports too */

    return a.scheme_len == b.scheme_len && strncasecmp(a.scheme, b.scheme, a.scheme_len) == 0 &&
           a_len == b_len && strncasecmp(a.host, b.host, a_len) == 0;
}

static enum api_exit check_origin(const struct command_call *call, int urls)
{
    if (!given_value(&call->given, "origin-user"))
        return API_EXIT_DONE;
    if (given_value(&call->given, "input-file"))
        return output_fail(API_EXIT_USAGE, "--origin-user is for one server; in a list write "
                                           "http-user= and http-passwd= under each URL");
    for (int i = 1; i < urls; i++)
        if (!is_same_server(call->argv[0], call->argv[i]))
            return output_fail(API_EXIT_USAGE, "--origin-user is for one server; \"%s\" is at another",
                               call->argv[i]);
    return API_EXIT_DONE;
}

/* How many of the arguments are URLs; the last one may be PATH. */
static enum api_exit count_urls(const struct command_call *call, int *ret_urls)
{
    const struct given *given = &call->given;
    int urls = call->argc;

    if (urls == 0 && !given_value(given, "input-file"))
        return output_fail(API_EXIT_USAGE, "usage: autodl add %s", call->command->arguments);
    if (urls == 2 && !strstr(call->argv[1], "://") && !url_is_magnet(call->argv[1]))
        urls = 1;
    if (urls > 2 && strspn(call->argv[urls - 1], "~/.") > 0)
        return output_fail(API_EXIT_USAGE,
                           "\"%s\": PATH goes with one URL alone; for several: -d DIR",
                           call->argv[urls - 1]);
    if (urls < call->argc && given_value(given, "dir"))
        return output_fail(API_EXIT_USAGE, "-d and PATH name two directories; give one of them");
    if (given_value(given, "out") && (urls > 1 || given_value(given, "input-file")))
        return output_fail(API_EXIT_USAGE, "-o names one file; it goes with one URL alone");
    if (given_value(given, "checksum") && (urls > 1 || given_value(given, "input-file")))
        return output_fail(API_EXIT_USAGE, "--checksum is one file's; it goes with one URL alone");
    for (int i = 0; i < urls; i++) {
        enum api_exit status = url_check(NULL, call->argv[i]);
        if (status != API_EXIT_DONE)
            return status;
    }
    *ret_urls = urls;
    return check_origin(call, urls);
}

enum api_exit cmd_add(const struct command_call *call)
{
    _cleanup_free_ char *path = NULL;
    int urls = 0;

    enum api_exit status = count_urls(call, &urls);
    if (status == API_EXIT_DONE && urls < call->argc)
        status = path_resolve(call->client, NULL, call->argv[1], &path);
    if (status == API_EXIT_DONE)
        status = check_user(call);
    if (status != API_EXIT_DONE)
        return status;
    return cmd_is_classic(call) ? add_classic(call, urls, path) : add_v1(call, urls, path);
}
