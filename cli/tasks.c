#include "tasks.h"

#include <ctype.h>
#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "output.h"
#include "view.h"

#define TARGET_MAX ((size_t)1 << 16)
#define PAGE       500 /* tasks: with the longest texts they fit into an answer */
#define UNFINISHED "ENQUEUED,DOWNLOADING,FINISHING,PAUSED"

enum api_exit tasks_send(struct client *client, const char *id, const char *behind,
                         const char *method, const char *json, struct client_answer *ret_answer)
{
    _cleanup_(buf_release) struct buf path = {0};

    buf_init(&path, TARGET_MAX);
    buf_add_string(&path, "/v1/tasks/");
    client_add_escaped(&path, id);
    buf_add_string(&path, behind);
    if (path.error)
        return output_fail(API_EXIT_USAGE, "\"%.100s...\" is too long for a task's id", id);
    struct client_request request = {.path = path.data, .method = method, .json = json};
    client_send(client, &request, ret_answer);
    if (!ret_answer->error && ret_answer->status == 404)
        return cmd_no_task(id);
    return cmd_judge(ret_answer, NULL);
}

enum api_exit tasks_get(struct client *client, const char *id, struct json_object **ret_task)
{
    struct client_answer answer;
    struct view view;
    enum api_exit status = tasks_send(client, id, "", "GET", NULL, &answer);

    if (status != API_EXIT_DONE)
        return status;
    if (!answer.json || !view_read(answer.json, &view))
        return output_fail(API_EXIT_UNREACHABLE, "what answers at %s is not autodl-service",
                           client_name(client));
    *ret_task = answer.json;
    return API_EXIT_DONE;
}

/* One page; false: it was the last one, or enough. */
static bool visit_page(struct json_object *page, size_t *left, tasks_visit *visit, void *data)
{
    struct json_object *tasks = NULL;

    json_object_object_get_ex(page, "tasks", &tasks);
    size_t count =
        json_object_is_type(tasks, json_type_array) ? json_object_array_length(tasks) : 0;
    for (size_t i = 0; i < count; i++) {
        if (!visit(data, json_object_array_get_idx(tasks, i)) || --*left == 0)
            return false;
    }
    return count > 0;
}

enum api_exit tasks_each(struct client *client, const char *query, size_t limit, tasks_visit *visit,
                         void *data)
{
    _cleanup_(buf_release) struct buf target = {0};
    _cleanup_free_ char *next = NULL;
    size_t left = limit ? limit : SIZE_MAX;
    struct client_answer answer;
    bool more = true;

    buf_init(&target, TARGET_MAX);
    while (more) {
        struct json_object *cursor = NULL;
        buf_clear(&target);
        buf_printf(&target, "%s%slimit=%zu", query, *query ? "&" : "", left < PAGE ? left : PAGE);
        if (next)
            client_add_field(&target, "after", next);
        if (target.error)
            return output_fail(API_EXIT_USAGE, "the filter is too long");
        client_send(
            client,
            &(struct client_request){.path = "/v1/tasks", .query = target.data, .expects = "tasks"},
            &answer);
        enum api_exit status = cmd_judge(&answer, NULL);
        if (status != API_EXIT_DONE)
            return status;
        more = visit_page(answer.json, &left, visit, data);
        json_object_object_get_ex(answer.json, "next", &cursor);
        free(next);
        next = cursor ? strdup(json_object_get_string(cursor)) : NULL;
        more = more && next;
    }
    return API_EXIT_DONE;
}

/* --- ids --- */

void id_list_release(struct id_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->ids[i]);
    free(list->ids);
    *list = (struct id_list){0};
}

static int add_id(struct id_list *list, const char *id, size_t len)
{
    if ((list->count & (list->count - 1)) == 0) { /* full at each power of two */
        size_t size = list->count ? 2 * list->count : 1;
        char **grown = reallocarray(list->ids, size, sizeof *grown);
        if (!grown)
            return -ENOMEM;
        list->ids = grown;
    }
    list->ids[list->count] = strndup(id, len);
    return list->ids[list->count] ? (list->count++, 0) : -ENOMEM;
}

int id_list_add(struct id_list *list, const char *id)
{
    return add_id(list, id, strlen(id));
}

/* The first word of each line: what "autodl list" prints will do. With --json, the id in it. */
static int read_line(struct id_list *list, const char *line)
{
    while (isspace((unsigned char)*line))
        line++;
    const char *id = *line == '{' ? strstr(line, "\"id\":") : NULL;
    if (id) {
        id += strlen("\"id\":");
        id += strspn(id, " \"");
        return add_id(list, id, strcspn(id, "\""));
    }
    size_t len = strcspn(line, " \t\r\n");
    return len > 0 ? add_id(list, line, len) : 0;
}

static int read_stream(struct id_list *list)
{
    _cleanup_free_ char *line = NULL;
    size_t size = 0;
    int r = 0;

    while (r == 0 && getline(&line, &size, stdin) > 0)
        r = read_line(list, line);
    return r;
}

enum api_exit id_list_read(int argc, char **argv, struct id_list *ret_list)
{
    struct id_list list = {0};
    int r = 0;

    for (int i = 0; r == 0 && i < argc; i++)
        r = strcmp(argv[i], "-") == 0 ? read_stream(&list)
                                      : add_id(&list, argv[i], strlen(argv[i]));
    if (r < 0) {
        id_list_release(&list);
        return cmd_no_memory();
    }
    *ret_list = list;
    return API_EXIT_DONE;
}

/* --- filters --- */

bool filter_is_given(const struct command_call *call)
{
    return given_value(&call->given, "state") || given_value(&call->given, "host") ||
           given_value(&call->given, "match") || given_value(&call->given, "all");
}

/* "waiting,held" or the service's own words, as the service's. */
static enum api_exit read_states(const char *text, struct buf *states)
{
    for (;;) {
        size_t len = strcspn(text, ",");
        _cleanup_free_ char *word = strndup(text, len);
        const char *state = word ? view_state(word) : NULL;
        if (word && !state && strcasecmp(word, "unfinished") == 0)
            state = UNFINISHED;
        if (!state)
            return output_fail(API_EXIT_USAGE,
                               "--state takes waiting, running, finishing, held, finished, failed, "
                               "cancelled, cleared or unfinished, not \"%s\"",
                               word ? word : "");
        buf_printf(states, "%s%s", states->len ? "," : "", state);
        if (!text[len])
            return states->error ? cmd_no_memory() : API_EXIT_DONE;
        text += len + 1;
    }
}

/* Calls `add` for each part of the filter. */
static enum api_exit each_part(const struct command_call *call,
                               void (*add)(void *data, const char *key, const char *value),
                               void *data)
{
    const struct given *given = &call->given;
    const char *state = given_value(given, "state");
    _cleanup_(buf_release) struct buf states = {0};

    buf_init(&states, 1024);
    if (state) {
        enum api_exit status = read_states(state, &states);
        if (status != API_EXIT_DONE)
            return status;
        add(data, "status", states.data);
    }
    if (given_value(given, "host"))
        add(data, "host", given_value(given, "host"));
    if (given_value(given, "match"))
        add(data, "q", given_value(given, "match"));
    return API_EXIT_DONE;
}

static void add_to_query(void *data, const char *key, const char *value)
{
    client_add_field(data, key, value);
}

enum api_exit filter_add_query(const struct command_call *call, struct buf *query)
{
    enum api_exit status = each_part(call, add_to_query, query);

    if (status == API_EXIT_DONE && given_value(&call->given, "all"))
        client_add_field(query, "scope", "all");
    return query->error ? output_fail(API_EXIT_USAGE, "the filter is too long") : status;
}

static void add_to_object(void *data, const char *key, const char *value)
{
    json_object_object_add(data, key, json_object_new_string(value));
}

enum api_exit filter_add_members(const struct command_call *call, struct json_object *object)
{
    return each_part(call, add_to_object, object);
}
