#include <json-c/json.h>
#include <string.h>

#include "cmd.h"
#include "common/cleanup.h"
#include "follow.h"
#include "human.h"
#include "output.h"
#include "tasks.h"
#include "view.h"

/* Whole ids for what was typed; those that are not there are said. */
static enum api_exit find_ids(const struct command_call *call, struct id_list *ret_ids)
{
    _cleanup_(id_list_release) struct id_list typed = {0};
    enum api_exit worst = id_list_read(call->argc, call->argv, &typed);
    struct view view;

    for (size_t i = 0; i < typed.count && worst == API_EXIT_DONE; i++) {
        struct json_object *task;
        if (strlen(typed.ids[i]) == API_ID_LENGTH) {
            id_list_add(ret_ids, typed.ids[i]);
            continue;
        }
        worst = tasks_get(call->client, typed.ids[i], &task);
        if (worst == API_EXIT_DONE && view_read(task, &view))
            id_list_add(ret_ids, view.id);
    }
    return worst;
}

static enum api_exit follow_ids(const struct command_call *call, struct follow_wish wish)
{
    _cleanup_(id_list_release) struct id_list ids = {0};
    enum api_exit status = find_ids(call, &ids);

    if (status != API_EXIT_DONE)
        return status;
    if (call->argc > 0)
        wish.ids = &ids;
    if (call->argc > 0 && ids.count == 0) /* no line on standard input */
        return API_EXIT_DONE;
    return follow(call, &wish);
}

enum api_exit cmd_watch(const struct command_call *call)
{
    struct follow_wish wish = {.with_new = call->argc == 0};
    return follow_ids(call, wish);
}

enum api_exit cmd_wait(const struct command_call *call)
{
    struct follow_wish wish = {.is_silent = true};
    const char *timeout = given_value(&call->given, "timeout");

    if (timeout) {
        enum api_exit status = human_parse_duration("--timeout", timeout, &wish.timeout);
        if (status != API_EXIT_DONE)
            return status;
    }
    return follow_ids(call, wish);
}
