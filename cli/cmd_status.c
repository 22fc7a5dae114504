#include <stdio.h>
#include <string.h>

#include "cmd.h"
#include "common/buf.h"
#include "common/cleanup.h"
#include "output.h"
#include "tasks.h"
#include "view.h"

#define QUERY_MAX ((size_t)1 << 20)

static enum api_exit status_v1(const struct command_call *call)
{
    struct json_object *task;
    enum api_exit status = tasks_get(call->client, call->argv[0], &task);

    if (status == API_EXIT_DONE)
        view_print(task, output_is_json(true));
    return status;
}

enum api_exit cmd_status(const struct command_call *call)
{
    _cleanup_(buf_release) struct buf query = {0};
    struct client_answer answer;
    const char *id = call->argv[0];

    if (!cmd_is_classic(call))
        return status_v1(call);
    buf_init(&query, QUERY_MAX);
    if (client_add_field(&query, "task_id", id) < 0)
        return output_fail(API_EXIT_USAGE, "\"%.100s...\" is too long for a task's id", id);
    client_send(call->client,
                &(struct client_request){.path = "/status", .query = query.data, .expects = "task"},
                &answer);
    if (answer.status != 404 || answer.error)
        return cmd_report(&answer, NULL);
    if (output_is_classic())
        output_body(answer.body, answer.len);
    output_flush();
    return cmd_no_task(id);
}
