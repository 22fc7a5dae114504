#include "cmd.h"

#include "output.h"

static enum api_exit exit_status(int status)
{
    if (status >= 200 && status < 300)
        return API_EXIT_DONE;
    if (status == 401 || status == 403 || status == 421)
        return API_EXIT_DENIED;
    return status >= 400 && status < 500 ? API_EXIT_REFUSED : API_EXIT_UNREACHABLE;
}

enum api_exit cmd_report(const struct client_answer *answer, const char *subject)
{
    enum api_exit status = answer->error ? API_EXIT_UNREACHABLE : exit_status(answer->status);

    if (answer->status && (status == API_EXIT_DONE || output_is_classic()))
        output_body(answer->body, answer->len);
    if (!output_flush() || status == API_EXIT_DONE)
        return status;

    const char *prefix = subject ? subject : "";
    const char *colon = subject ? ": " : "";
    const char *message = answer->error ? answer->error : answer->message;
    if (message)
        return output_fail(status, "%s%s%s", prefix, colon, message);
    return output_fail(status, "%s%sthe service refused and gave no reason (HTTP %d)", prefix,
                       colon, answer->status);
}

enum api_exit cmd_send(const struct command_call *call, const struct client_request *request)
{
    struct client_answer answer;

    client_send(call->client, request, &answer);
    return cmd_report(&answer, NULL);
}
