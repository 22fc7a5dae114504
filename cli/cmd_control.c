#include <json-c/json.h>
#include <stdio.h>
#include <string.h>

#include "cmd.h"
#include "common/buf.h"
#include "common/cleanup.h"
#include "common/units.h"
#include "output.h"
#include "pauses.h"

#define FORM_MAX 256

/* A POST of one field, or none (key NULL), and the scope. */
static enum api_exit post(const struct command_call *call, const char *path, const char *key,
                          const char *value)
{
    _cleanup_(buf_release) struct buf form;

    buf_init(&form, FORM_MAX);
    if (key)
        client_add_field(&form, key, value);
    if (given_value(&call->given, "all"))
        client_add_field(&form, "scope", "all");
    if (form.error)
        return output_fail(API_EXIT_REFUSED, "out of memory");
    return cmd_send(call, &(struct client_request){.path = path,
                                                   .form = form.data ? form.data : "",
                                                   .expects = "message"});
}

/* --- version 1 --- */

static enum api_exit post_v1(const struct command_call *call, const char *path, const char *more,
                             struct client_answer *ret_answer)
{
    char json[128];
    bool all = given_value(&call->given, "all") != NULL;

    snprintf(json, sizeof json, "{%s%s%s}", all ? "\"scope\": \"all\"" : "",
             all && *more ? ", " : "", more);
    return cmd_ask(call, &(struct client_request){.path = path, .json = json}, NULL, ret_answer);
}

/* Whose tasks it was about: for root and in user mode, everybody's without --all. */
static const char *whose(const struct command_call *call, const struct client_answer *answer)
{
    struct json_object *scope = NULL;

    if (given_value(&call->given, "all"))
        return "everybody's";
    json_object_object_get_ex(answer->json, "scope", &scope);
    return scope && strcmp(json_object_get_string(scope), "all") == 0 ? "all" : "your";
}

/* What another command needs, to be about the same ones. */
static const char *all_of(const struct command_call *call)
{
    return given_value(&call->given, "all") ? " --all" : "";
}

/* The answer itself, where that is wanted. */
static bool printed_json(const struct client_answer *answer)
{
    if (!output_is_json(true))
        return false;
    if (answer->json)
        output_json(answer->json);
    return true;
}

enum api_exit cmd_clear(const struct command_call *call)
{
    struct client_answer answer;
    struct json_object *count = NULL;

    if (cmd_is_classic(call))
        return post(call, "/clear", NULL, NULL);
    enum api_exit status = post_v1(call, "/v1/clear", "", &answer);
    if (status != API_EXIT_DONE || printed_json(&answer))
        return status;
    json_object_object_get_ex(answer.json, "count", &count);
    int64_t number = json_object_get_int64(count);
    output_print("Cleared %lld waiting download%s", (long long)number, number == 1 ? "" : "s");
    if (number > 0)
        output_print(" (autodl retry --state CLEARED%s brings %s back)",
                     all_of(call), number == 1 ? "it" : "them");
    output_print("\n");
    return status;
}

enum api_exit cmd_resume(const struct command_call *call)
{
    struct client_answer answer;

    if (cmd_is_classic(call))
        return post(call, "/resume", NULL, NULL);
    enum api_exit status = post_v1(call, "/v1/resume", "", &answer);
    if (status != API_EXIT_DONE || printed_json(&answer))
        return status;
    output_print("Resumed%s: what waits may start\n",
                 given_value(&call->given, "all") ? " for everybody" : "");
    output_flush();
    pauses_shout(call); /* another one may be in force */
    return status;
}

static uint64_t unit_in_seconds(char unit)
{
    switch (unit) {
    case '\0':
    case 's':
        return 1;
    case 'm':
        return 60;
    case 'h':
        return 3600;
    case 'd':
        return 86400;
    default:
        return 0;
    }
}

/* [0-9]+[smhd]? in seconds. */
static enum api_exit parse_pause(const char *text, uint64_t *ret_seconds)
{
    _cleanup_free_ char *digits = strndup(text, strspn(text, "0123456789"));
    uint64_t number;

    if (!digits)
        return output_fail(API_EXIT_REFUSED, "out of memory");
    const char *unit = text + strlen(digits);
    uint64_t factor = unit[0] && unit[1] ? 0 : unit_in_seconds(unit[0]);
    if (*digits == '\0' || factor == 0)
        return output_fail(API_EXIT_USAGE,
                           "pause takes seconds; to hold one download: autodl hold 5b0c9a1e");
    if (units_parse_uint(digits, 1, API_PAUSE_MAX / factor, &number) < 0)
        return output_fail(API_EXIT_USAGE, "pause takes 1 second to 365 days (%d seconds), not %s",
                           API_PAUSE_MAX, text);
    *ret_seconds = number * factor;
    return API_EXIT_DONE;
}

enum api_exit cmd_pause(const struct command_call *call)
{
    char text[32], more[64], length[PAUSES_TEXT];
    uint64_t seconds = 0;
    struct client_answer answer;
    enum api_exit status = call->argc ? parse_pause(call->argv[0], &seconds) : API_EXIT_DONE;

    if (status != API_EXIT_DONE)
        return status;
    snprintf(text, sizeof(text), "%lu", (unsigned long)seconds);
    if (cmd_is_classic(call))
        return post(call, "/pause", seconds ? "seconds" : NULL, text);
    snprintf(more, sizeof more, "\"seconds\": %s", text);
    status = post_v1(call, "/v1/pause", seconds ? more : "", &answer);
    if (status != API_EXIT_DONE || printed_json(&answer))
        return status;
    output_print("Paused %s downloads%s (autodl resume%s ends it)\n", whose(call, &answer),
                 pauses_length(answer.json, length), all_of(call));
    return status;
}

enum api_exit cmd_update_tasks_num(const struct command_call *call)
{
    char text[32], json[64];
    uint64_t number = API_MAX_TASKS_DEFAULT;
    struct client_answer answer;

    if (call->argc > 0 && units_parse_uint(call->argv[0], 1, API_MAX_TASKS_MAX, &number) < 0)
        return output_fail(API_EXIT_USAGE,
                           "update_tasks_num takes a number from 1 to %d, not \"%s\"",
                           API_MAX_TASKS_MAX, call->argv[0]);
    snprintf(text, sizeof(text), "%lu", (unsigned long)number);
    if (cmd_is_classic(call))
        return post(call, "/maxtasks", "max_tasks_number", text);
    snprintf(json, sizeof json, "{\"max_tasks_num\": %s}", text);
    enum api_exit status = cmd_ask(
        call, &(struct client_request){.path = "/v1/settings", .method = "PATCH", .json = json},
        NULL, &answer);
    if (status != API_EXIT_DONE || printed_json(&answer))
        return status;
    output_print("Up to %s download%s run at once now\n", text, number == 1 ? "" : "s");
    return status;
}
