/* What becomes of a task whose attempt failed, by the network's or the server's fault: the same URL
 * again, the next mirror, or the end. */
#pragma once

#include "engine.h"
#include "transfer/transfer.h"

enum failure_verdict {
    FAILURE_FINAL,     /* code and message stand in the task */
    FAILURE_AGAIN,     /* in a while */
    FAILURE_FROM_ZERO, /* at once; the bytes of several mirrors do not make the file */
    FAILURE_ELSEWHERE, /* at once, at the next mirror, which the task is set to */
};

struct failure {
    enum failure_verdict verdict;
    int64_t wait;   /* FAILURE_AGAIN: ms */
    bool host;      /* the server asked for that: for every task of that host */
    bool drop_part; /* its bytes are of no use */
};

/* `went_on_from`: the bytes that were there before the attempt, of the file that it found. Counts
 * the failure, and tells it in the task. */
struct failure failure_judge(struct engine *engine, const struct retry_policy *policy,
                             struct task *task, const struct transfer_outcome *outcome,
                             int64_t went_on_from);
