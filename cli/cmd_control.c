#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "cmd.h"
#include "common/buf.h"
#include "common/cleanup.h"
#include "common/units.h"
#include "output.h"

#define FORM_MAX 256

/* A POST of one field, or none (key NULL), and the scope. */
static enum api_exit post(const struct command_call *call, const char *path, const char *key,
                          const char *value)
{
    _cleanup_(buf_release) struct buf form;

    buf_init(&form, FORM_MAX);
    if (key)
        client_add_field(&form, key, value);
    if (call->all)
        client_add_field(&form, "scope", "all");
    if (form.error)
        return output_fail(API_EXIT_REFUSED, "out of memory");
    return cmd_send(call, &(struct client_request){.path = path,
                                                   .form = form.data ? form.data : "",
                                                   .expects = "message"});
}

enum api_exit cmd_clear(const struct command_call *call)
{
    return post(call, "/clear", NULL, NULL);
}

enum api_exit cmd_resume(const struct command_call *call)
{
    return post(call, "/resume", NULL, NULL);
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
    char text[32];
    uint64_t seconds = 0;

    if (call->argc == 0)
        return post(call, "/pause", NULL, NULL);
    enum api_exit status = parse_pause(call->argv[0], &seconds);
    if (status != API_EXIT_DONE)
        return status;
    snprintf(text, sizeof(text), "%lu", (unsigned long)seconds);
    return post(call, "/pause", "seconds", text);
}

enum api_exit cmd_update_tasks_num(const struct command_call *call)
{
    char text[32];
    uint64_t number = API_MAX_TASKS_DEFAULT;

    if (call->argc > 0 && units_parse_uint(call->argv[0], 1, API_MAX_TASKS_MAX, &number) < 0)
        return output_fail(API_EXIT_USAGE,
                           "update_tasks_num takes a number from 1 to %d, not \"%s\"",
                           API_MAX_TASKS_MAX, call->argv[0]);
    snprintf(text, sizeof(text), "%lu", (unsigned long)number);
    return post(call, "/maxtasks", "max_tasks_number", text);
}
