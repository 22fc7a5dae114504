#include <json-c/json.h>
#include <stdio.h>
#include <string.h>

#include "cmd.h"
#include "common/buf.h"
#include "common/cleanup.h"
#include "common/units.h"
#include "human.h"
#include "output.h"
#include "tasks.h"
#include "url.h"
#include "view.h"

#define ONE_BY_ONE 100 /* ids: more go in one request, and are counted */
#define CARD_MAX   ((size_t)1 << 20)

static void put_object(struct json_object **object)
{
    json_object_put(*object);
}

#define JSON_PLAIN (JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE)

/* --- verbs --- */

struct verb {
    const char *route, *method; /* behind /v1/tasks/ID; NULL: the task itself, by another method */
    const char *by_filter;      /* POST /v1/tasks/..., NULL: there is none */
    const char *done;           /* what happened to so many: "Held", ... */
    const char *again;          /* what undoes it, or NULL */
};

static enum api_exit print_count(const struct verb *verb, struct json_object *answer)
{
    struct json_object *count = NULL;

    json_object_object_get_ex(answer, "count", &count);
    int64_t number = json_object_get_int64(count);
    if (output_is_json(false)) {
        output_json(answer);
        return API_EXIT_DONE;
    }
    output_print("%s %lld download%s", verb->done, (long long)number, number == 1 ? "" : "s");
    if (number > 0 && verb->again)
        output_print(" (%s)", verb->again);
    output_print("\n");
    return API_EXIT_DONE;
}

static enum api_exit send_by_filter(const struct command_call *call, const struct verb *verb,
                                    struct json_object *filter)
{
    struct client_answer answer;
    char path[64];

    snprintf(path, sizeof path, "/v1/tasks/%s", verb->by_filter);
    if (given_value(&call->given, "keep"))
        json_object_object_add(filter, "keep", json_object_new_boolean(true));
    enum api_exit status =
        cmd_ask(call,
                &(struct client_request){.path = path,
                                         .json = json_object_to_json_string_ext(filter, JSON_PLAIN),
                                         .expects = "count"},
                NULL, &answer);
    return status == API_EXIT_DONE ? print_count(verb, answer.json) : status;
}

static enum api_exit by_filter(const struct command_call *call, const struct verb *verb)
{
    _cleanup_(put_object) struct json_object *filter = json_object_new_object();

    if (call->argc > 0)
        return output_fail(API_EXIT_USAGE, "%s takes ids or a filter, not both",
                           call->command->name);
    enum api_exit status = filter_add_members(call, filter);
    if (status != API_EXIT_DONE)
        return status;
    if (given_value(&call->given, "all"))
        json_object_object_add(filter, "scope", json_object_new_string("all"));
    return send_by_filter(call, verb, filter);
}

static enum api_exit by_many_ids(const struct command_call *call, const struct verb *verb,
                                 const struct id_list *ids)
{
    enum api_exit worst = API_EXIT_DONE;

    for (size_t at = 0; at < ids->count;) {
        _cleanup_(put_object) struct json_object *filter = json_object_new_object();
        struct json_object *list = json_object_new_array();
        for (size_t n = 0; n < API_TASKS_MAX && at < ids->count; n++)
            json_object_array_add(list, json_object_new_string(ids->ids[at++]));
        json_object_object_add(filter, "ids", list);
        enum api_exit status = send_by_filter(call, verb, filter);
        worst = status > worst ? status : worst;
    }
    return worst;
}

/* `is_alone`: a refusal need not say which one is meant. */
static enum api_exit one(const struct command_call *call, const struct verb *verb, const char *id,
                         bool is_alone)
{
    bool keeps = given_value(&call->given, "keep") != NULL;
    bool deletes = given_value(&call->given, "delete-file") != NULL;
    struct client_answer answer;
    const char *json = verb->route ? keeps ? "{\"keep\": true}" : "{}" : NULL;

    enum api_exit status = tasks_send(call->client, id,
                                      verb->route ? verb->route
                                      : deletes   ? "?file=delete"
                                                  : "",
                                      verb->method, json, is_alone ? NULL : id, &answer);
    if (status != API_EXIT_DONE)
        return status;
    if (answer.json)
        view_print(answer.json, output_is_json(false));
    else if (!output_is_json(false))
        output_print("%s %s\n", verb->done, id);
    return status;
}

static enum api_exit run_verb(const struct command_call *call, const struct verb *verb)
{
    _cleanup_(id_list_release) struct id_list ids = {0};
    enum api_exit worst = API_EXIT_DONE;

    if (verb->by_filter && filter_is_given(call))
        return by_filter(call, verb);
    if (call->argc == 0)
        return output_fail(API_EXIT_USAGE,
                           "%s what? Give ids (autodl list), - for ids on standard input, or a "
                           "filter: --state, --host, --match",
                           call->command->name);
    worst = id_list_read(call->argc, call->argv, &ids);
    if (worst == API_EXIT_DONE && ids.count > ONE_BY_ONE && verb->by_filter &&
        !given_value(&call->given, "delete-file"))
        return by_many_ids(call, verb, &ids);
    for (size_t i = 0; i < ids.count && output_flush(); i++) {
        enum api_exit status = one(call, verb, ids.ids[i], ids.count == 1);
        worst = status > worst ? status : worst;
        if (status == API_EXIT_UNREACHABLE)
            break;
    }
    return worst;
}

enum api_exit cmd_hold(const struct command_call *call)
{
    static const struct verb verb = {"/hold", NULL, "hold", "Held",
                                     "autodl release --state held lets them go on"};
    return run_verb(call, &verb);
}

enum api_exit cmd_release(const struct command_call *call)
{
    static const struct verb verb = {"/release", NULL, "release", "Released", NULL};
    return run_verb(call, &verb);
}

enum api_exit cmd_cancel(const struct command_call *call)
{
    static const struct verb verb = {"/cancel", NULL, "cancel", "Cancelled",
                                     "autodl retry --state cancelled starts them again"};
    return run_verb(call, &verb);
}

enum api_exit cmd_retry(const struct command_call *call)
{
    static const struct verb verb = {"/retry", NULL, "retry", "Queued again", NULL};
    return run_verb(call, &verb);
}

enum api_exit cmd_rm(const struct command_call *call)
{
    static const struct verb verb = {NULL, "DELETE", "forget", "Forgot", NULL};

    if (filter_is_given(call) && given_value(&call->given, "delete-file"))
        return output_fail(API_EXIT_USAGE, "--delete-file goes with ids, not with a filter");
    return run_verb(call, &verb);
}

enum api_exit cmd_first(const struct command_call *call)
{
    static const struct verb verb = {"/first", NULL, NULL, NULL, NULL};
    return run_verb(call, &verb);
}

/* --- show --- */

static void print_pair(const char *name, const char *value)
{
    output_paint(PAINT_DIM);
    output_print("%12s", name);
    output_paint(PAINT_NONE);
    output_print("  %s\n", value);
}

static void print_text(const char *name, const char *value)
{
    _cleanup_(buf_release) struct buf visible = {0};

    buf_init(&visible, CARD_MAX);
    if (!value || !*value)
        return;
    output_add_visible(&visible, value);
    print_pair(name, visible.data ? visible.data : "");
}

static void print_number(const char *name, int64_t number, bool is_shown)
{
    char text[32];

    snprintf(text, sizeof text, "%lld", (long long)number);
    if (is_shown)
        print_pair(name, text);
}

static void print_time(const char *name, int64_t ms)
{
    char text[HUMAN_MAX];

    if (ms >= 0)
        print_pair(name, human_time(ms, text));
}

static void print_card(struct json_object *task)
{
    _cleanup_(buf_release) struct buf state = {0};
    char size[HUMAN_MAX], done[HUMAN_MAX], rate[HUMAN_MAX + 8];
    struct view view;

    if (!view_read(task, &view))
        return;
    buf_init(&state, CARD_MAX);
    view_add_state(&state, &view);
    print_text("id", view.id);
    print_text("name", view.name);
    print_text("state", state.data);
    print_text("error", view.error_message);
    print_text("file", view.dest);
    print_text("url", view.url);
    print_text("user", view.user);
    print_text("label", view.label);
    if (view.bytes_total >= 0 || view.bytes_done > 0) {
        buf_clear(&state);
        buf_printf(&state, view.bytes_total >= 0 ? "%s of %s" : "%s",
                   human_size(view.bytes_done, done), human_size(view.bytes_total, size));
        print_pair("bytes", state.data ? state.data : "");
    }
    if (view.rate_limit > 0) {
        snprintf(rate, sizeof rate, "%s/s", human_size(view.rate_limit, size));
        print_pair("limit", rate);
    }
    print_text("checksum", view.checksum);
    print_number("priority", view.priority, view.priority != 0);
    print_number("attempts", view.attempts, view.attempts > 1);
    print_number("connections", view.ranges, view.ranges > 0);
    print_time("added", view.created);
    print_time("not before", view.not_before);
    print_time("started", view.started);
    print_time("ended", view.ended);
}

enum api_exit cmd_show(const struct command_call *call)
{
    _cleanup_(id_list_release) struct id_list ids = {0};
    enum api_exit worst = id_list_read(call->argc, call->argv, &ids);

    for (size_t i = 0; i < ids.count && output_flush(); i++) {
        struct json_object *task;
        enum api_exit status = tasks_get(call->client, ids.ids[i], &task);
        worst = status > worst ? status : worst;
        if (status == API_EXIT_UNREACHABLE)
            break;
        if (status != API_EXIT_DONE)
            continue;
        if (output_to_terminal()) {
            if (i > 0)
                output_print("\n");
            print_card(task);
        } else {
            view_print(task, output_is_json(false));
        }
    }
    return worst;
}

/* --- set --- */

static enum api_exit set_number(struct json_object *patch, const char *key, const char *value,
                                int min, int max)
{
    uint64_t number;
    bool is_negative = *value == '-';

    if (units_parse_uint(value + is_negative, 0, (uint64_t)(is_negative ? -min : max), &number) <
            0 ||
        (!is_negative && (int64_t)number < min))
        return output_fail(API_EXIT_USAGE, "%s takes a number from %d to %d, not \"%s\"", key, min,
                           max, value);
    json_object_object_add(patch, key,
                           json_object_new_int64(is_negative ? -(int64_t)number : (int64_t)number));
    return API_EXIT_DONE;
}

static enum api_exit set_one(struct json_object *patch, const char *key, const char *value)
{
    char time[HUMAN_MAX];
    int64_t number;
    enum api_exit status;

    if (strcmp(key, "priority") == 0)
        return set_number(patch, key, value, -100, 100);
    if (strcmp(key, "max_ranges") == 0)
        return set_number(patch, key, value, 1, API_RANGES_MAX);
    if (strcmp(key, "rate_limit") == 0) {
        status = human_parse_rate(key, value, &number);
        if (status == API_EXIT_DONE)
            json_object_object_add(patch, key, json_object_new_int64(number));
        return status;
    }
    if (strcmp(key, "not_before") == 0) {
        status = human_parse_time(key, value, false, &number);
        if (status == API_EXIT_DONE)
            json_object_object_add(patch, key, json_object_new_string(human_rfc3339(number, time)));
        return status;
    }
    if (strcmp(key, "url") == 0) {
        status = url_check(NULL, value);
        if (status == API_EXIT_DONE)
            json_object_object_add(patch, key, json_object_new_string(value));
        return status;
    }
    if (strcmp(key, "label") == 0) {
        json_object_object_add(patch, key, json_object_new_string(value));
        return API_EXIT_DONE;
    }
    return output_fail(API_EXIT_USAGE,
                       "set knows priority, rate_limit, not_before, max_ranges, label and url, not"
                       " \"%s\"",
                       key);
}

static enum api_exit send_patch(const struct command_call *call, struct json_object *patch)
{
    struct client_answer answer;
    enum api_exit status =
        tasks_send(call->client, call->argv[0], "", "PATCH",
                   json_object_to_json_string_ext(patch, JSON_PLAIN), NULL, &answer);

    if (status == API_EXIT_DONE && answer.json)
        view_print(answer.json, output_is_json(false));
    return status;
}

enum api_exit cmd_set(const struct command_call *call)
{
    _cleanup_(put_object) struct json_object *patch = json_object_new_object();

    for (int i = 1; i < call->argc; i++) {
        const char *equals = strchr(call->argv[i], '=');
        if (!equals)
            return output_fail(API_EXIT_USAGE, "set takes KEY=VALUE, not \"%s\"", call->argv[i]);
        _cleanup_free_ char *key = strndup(call->argv[i], (size_t)(equals - call->argv[i]));
        if (!key)
            return cmd_no_memory();
        enum api_exit status = set_one(patch, key, equals + 1);
        if (status != API_EXIT_DONE)
            return status;
    }
    return send_patch(call, patch);
}

enum api_exit cmd_retarget(const struct command_call *call)
{
    _cleanup_(put_object) struct json_object *patch = json_object_new_object();
    enum api_exit status = set_one(patch, "url", call->argv[1]);

    return status == API_EXIT_DONE ? send_patch(call, patch) : status;
}
