#include <json-c/json.h>
#include <stdio.h>
#include <string.h>

#include "cmd.h"
#include "common/cleanup.h"
#include "common/units.h"
#include "human.h"
#include "output.h"

#define PATH "/v1/settings"

static void put_object(struct json_object **object)
{
    json_object_put(*object);
}

/* --- what is said of a setting: {"value": ..., "source": ..., "until": ..., "who": ...} --- */

static const char *text_of(struct json_object *setting, const char *key)
{
    struct json_object *value = NULL;

    json_object_object_get_ex(setting, key, &value);
    return value ? json_object_get_string(value) : NULL;
}

static void print_setting(const char *name, struct json_object *setting)
{
    const char *until = text_of(setting, "until"), *source = text_of(setting, "source"),
               *who = text_of(setting, "who");
    struct json_object *value = NULL;
    char text[HUMAN_MAX], time[HUMAN_MAX];
    int64_t ms;

    json_object_object_get_ex(setting, "value", &value);
    int64_t number = json_object_get_int64(value);
    bool is_rate = strcmp(name, "rate_limit") == 0;
    if (is_rate)
        snprintf(text, sizeof text, "%s", "off");
    if (is_rate && number > 0)
        human_size(number, text);
    else if (!is_rate)
        snprintf(text, sizeof text, "%lld", (long long)number);
    output_print("%s = %s", name, text);
    if (until && units_parse_moment(until, &ms) == 0)
        output_print(" until %s", human_time(ms, time));
    if (source)
        output_print("  (%s%s%s)", source, who ? ", by " : "", who ? who : "");
    output_print("\n");
}

static void print_settings(struct json_object *settings)
{
    json_object_object_foreach(settings, name, setting)
    {
        if (json_object_is_type(setting, json_type_object))
            print_setting(name, setting);
    }
}

/* Reads them, or changes them by `patch`, and prints what they are then. */
static enum api_exit ask_settings(const struct command_call *call, struct json_object *patch,
                                  void (*print)(struct json_object *settings))
{
    struct client_request request = {.path = PATH, .expects = "max_tasks_num"};
    struct client_answer answer;

    if (patch) {
        request.method = "PATCH";
        request.json = json_object_to_json_string_ext(patch, JSON_C_TO_STRING_PLAIN);
    }
    enum api_exit status = cmd_ask(call, &request, NULL, &answer);
    if (status != API_EXIT_DONE)
        return status;
    if (output_is_json(false))
        output_json(answer.json);
    else
        print(answer.json);
    return status;
}

static enum api_exit set_one(struct json_object *patch, const char *key, const char *value)
{
    int64_t number;
    uint64_t count;
    enum api_exit status;

    if (strcmp(key, "rate_limit") == 0) {
        status = human_parse_rate(key, value, &number);
        if (status == API_EXIT_DONE)
            json_object_object_add(patch, key, json_object_new_int64(number));
        return status;
    }
    if (strcmp(key, "max_tasks_num") != 0 && strcmp(key, "max_per_host") != 0)
        return output_fail(API_EXIT_USAGE,
                           "settings are max_tasks_num, rate_limit and max_per_host, not \"%s\"; "
                           "others are in autodl.conf",
                           key);
    if (units_parse_uint(value, 1, API_MAX_TASKS_MAX, &count) < 0)
        return output_fail(API_EXIT_USAGE, "%s takes a number from 1 to %d, not \"%s\"", key,
                           API_MAX_TASKS_MAX, value);
    json_object_object_add(patch, key, json_object_new_int64((int64_t)count));
    return API_EXIT_DONE;
}

enum api_exit cmd_settings(const struct command_call *call)
{
    _cleanup_(put_object) struct json_object *patch = json_object_new_object();

    if (call->argc == 0)
        return ask_settings(call, NULL, print_settings);
    for (int i = 0; i < call->argc; i++) {
        const char *equals = strchr(call->argv[i], '=');
        if (!equals)
            return output_fail(API_EXIT_USAGE, "settings takes KEY=VALUE, not \"%s\"",
                               call->argv[i]);
        _cleanup_free_ char *key = strndup(call->argv[i], (size_t)(equals - call->argv[i]));
        if (!key)
            return cmd_no_memory();
        enum api_exit status = set_one(patch, key, equals + 1);
        if (status != API_EXIT_DONE)
            return status;
    }
    return ask_settings(call, patch, print_settings);
}

/* --- limit --- */

static void print_limit(struct json_object *settings)
{
    struct json_object *setting = NULL, *value = NULL;
    char rate[HUMAN_MAX], time[HUMAN_MAX];
    int64_t ms;

    json_object_object_get_ex(settings, "rate_limit", &setting);
    json_object_object_get_ex(setting, "value", &value);
    if (json_object_get_int64(value) <= 0) {
        output_print("No limit\n");
        return;
    }
    const char *until = text_of(setting, "until");
    bool has_end = until && units_parse_moment(until, &ms) == 0;
    output_print("At most %s/s%s%s (autodl limit off ends it)\n",
                 human_size(json_object_get_int64(value), rate), has_end ? " until " : "",
                 has_end ? human_time(ms, time) : "");
}

/* When it ends by --until or --for; 0: never. */
static enum api_exit read_end(const struct command_call *call, int64_t *ret_ms)
{
    const char *until = given_value(&call->given, "until"),
               *length = given_value(&call->given, "for");
    enum api_exit status = API_EXIT_DONE;

    *ret_ms = 0;
    if (until && length)
        return output_fail(API_EXIT_USAGE, "--until and --for name two ends; give one of them");
    if (until)
        return human_parse_time("--until", until, false, ret_ms);
    if (length) {
        status = human_parse_duration("--for", length, ret_ms);
        *ret_ms += units_now_realtime();
    }
    return status;
}

enum api_exit cmd_limit(const struct command_call *call)
{
    _cleanup_(put_object) struct json_object *patch = json_object_new_object();
    char text[HUMAN_MAX];
    int64_t rate, end;

    enum api_exit status = read_end(call, &end);
    if (status != API_EXIT_DONE)
        return status;
    if (call->argc == 0 && end)
        return output_fail(API_EXIT_USAGE, "limit what? As in: autodl limit 2M --until 18:00");
    if (call->argc == 0)
        return ask_settings(call, NULL, print_limit);
    status = human_parse_rate("limit", call->argv[0], &rate);
    if (status != API_EXIT_DONE)
        return status;
    if (rate == 0 && end)
        return output_fail(API_EXIT_USAGE, "a limit that is off has no end; leave out --until");
    json_object_object_add(patch, "rate_limit", json_object_new_int64(rate));
    if (end)
        json_object_object_add(patch, "until", json_object_new_string(human_rfc3339(end, text)));
    return ask_settings(call, patch, print_limit);
}
