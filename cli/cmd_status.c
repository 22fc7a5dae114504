#include <stdio.h>
#include <string.h>

#include "cmd.h"
#include "common/buf.h"
#include "common/cleanup.h"
#include "output.h"

#define QUERY_MAX ((size_t)1 << 20)

enum api_exit cmd_status(const struct command_call *call)
{
    _cleanup_(buf_release) struct buf query;
    _cleanup_free_ char *message = NULL;
    struct client_answer answer;
    const char *id = call->argv[0];

    buf_init(&query, QUERY_MAX);
    if (client_add_field(&query, "task_id", id) < 0)
        return output_fail(API_EXIT_USAGE, "\"%.100s...\" is too long for a task's id", id);
    client_send(call->client,
                &(struct client_request){.path = "/status", .query = query.data, .expects = "task"},
                &answer);
    bool missing = answer.status == 404 && !answer.error;
    if (missing) {
        if (asprintf(&message, "no such task: \"%s\"; its id is in what autodl add printed", id) <
            0)
            message = NULL;
        answer.message = message;
    }
    enum api_exit status = cmd_report(&answer, NULL);
    return missing ? API_EXIT_NO_TASK : status;
}

enum api_exit cmd_stats(const struct command_call *call)
{
    return cmd_send(call, &(struct client_request){.path = "/stats", .expects = "tasks"});
}
