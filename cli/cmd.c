#include "cmd.h"

#include <string.h>

#include "output.h"

bool cmd_takes(const struct command *command, const char *option)
{
    size_t len = strlen(option);

    for (const char *at = command->options; *at; at += strspn(at, " ")) {
        size_t n = strcspn(at, " ");
        if (n == len && memcmp(at, option, n) == 0)
            return true;
        at += n;
    }
    return false;
}

bool cmd_is_classic(const struct command_call *call)
{
    for (size_t i = 0; i < call->given.count; i++) {
        const struct option_row *row = call->given.list[i].row;
        if (!row->common && strcmp(row->name, "all") != 0)
            return false;
    }
    return output_is_classic();
}

static enum api_exit exit_status(int status)
{
    if (status >= 200 && status < 300)
        return API_EXIT_DONE;
    if (status == 401 || status == 403 || status == 421)
        return API_EXIT_DENIED;
    return status >= 400 && status < 500 ? API_EXIT_REFUSED : API_EXIT_UNREACHABLE;
}

static enum api_exit explain(const struct client_answer *answer, enum api_exit status,
                             const char *subject)
{
    const char *prefix = subject ? subject : "";
    const char *colon = subject ? ": " : "";
    const char *message = answer->error ? answer->error : answer->message;

    if (message)
        return output_fail(status, "%s%s%s", prefix, colon, message);
    return output_fail(status, "%s%sthe service refused and gave no reason (HTTP %d)", prefix,
                       colon, answer->status);
}

static enum api_exit status_of(const struct client_answer *answer)
{
    return answer->error ? API_EXIT_UNREACHABLE : exit_status(answer->status);
}

enum api_exit cmd_report(const struct client_answer *answer, const char *subject)
{
    enum api_exit status = status_of(answer);

    if (answer->status && (status == API_EXIT_DONE || output_is_classic()))
        output_body(answer->body, answer->len);
    if (!output_flush() || status == API_EXIT_DONE)
        return status;
    return explain(answer, status, subject);
}

enum api_exit cmd_send(const struct command_call *call, const struct client_request *request)
{
    struct client_answer answer;

    client_send(call->client, request, &answer);
    return cmd_report(&answer, NULL);
}

enum api_exit cmd_judge(const struct client_answer *answer, const char *subject)
{
    enum api_exit status = status_of(answer);

    if (status == API_EXIT_DONE)
        return status;
    output_flush(); /* lines come in their order */
    return explain(answer, status, subject);
}

enum api_exit cmd_ask(const struct command_call *call, const struct client_request *request,
                      const char *subject, struct client_answer *ret_answer)
{
    client_send(call->client, request, ret_answer);
    return cmd_judge(ret_answer, subject);
}

enum api_exit cmd_no_task(const char *id)
{
    return output_fail(API_EXIT_NO_TASK, "no such task: \"%s\"; autodl list prints their ids", id);
}

enum api_exit cmd_no_memory(void)
{
    return output_fail(API_EXIT_REFUSED, "out of memory");
}
