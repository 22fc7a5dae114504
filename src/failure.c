#include "failure.h"

#include <string.h>
#include <sys/random.h>

#include "common/units.h"
#include "mirrors.h"

static bool is(const struct download_result *result, const char *code)
{
    return strcmp(result->error_code, code) == 0;
}

/* Ours: another server would change nothing. */
static bool is_of_here(const struct download_result *result)
{
    return is(result, "disk") || is(result, "permission") || is(result, "exists") ||
           is(result, "internal");
}

static struct retry_decision decide(const struct retry_policy *policy, struct task *task,
                                    const struct transfer_outcome *outcome)
{
    struct retry_policy own = *policy;
    uint64_t random = 0;
    if (getrandom(&random, sizeof random, 0) < 0)
        random = (uint64_t)units_now_boottime();
    if (task->retries >= 0)
        own.retries = task->retries;
    task->failures = outcome->progress ? 0 : task->failures + 1;
    struct retry_history history = {task->failures, outcome->bytes};
    return retry_decide(&outcome->download, &own, &history, random);
}

struct failure failure_judge(struct engine *engine, const struct retry_policy *policy,
                             struct task *task, const struct transfer_outcome *outcome,
                             int64_t went_on_from)
{
    const struct download_result *result = &outcome->download;
    struct retry_decision decision = decide(policy, task, outcome);
    bool can_move_on = mirrors_has_next(task) && !is_of_here(result);
    mirrors_set_error(task, result->error_code, result->error_message);
    /* With others to ask, a name that is not found is not waited for. */
    if (decision.again && !(can_move_on && is(result, "resolve")))
        return (struct failure){
            .verdict = FAILURE_AGAIN, .wait = decision.wait, .host = decision.host};
    struct failure failure = {.drop_part = is(result, "checksum") || is(result, "too_large")};
    if (is(result, "checksum") && task->mirror > 0 && went_on_from > 0)
        failure.verdict = FAILURE_FROM_ZERO; /* it may have been the other's bytes */
    else if (can_move_on && mirrors_move_on(engine, task) == 0)
        failure.verdict = FAILURE_ELSEWHERE;
    return failure;
}
