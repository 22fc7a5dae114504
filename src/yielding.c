#include "yielding.h"

#include "transfer/resume.h"

#define LONGER_IF_LOST 3

static int64_t patience(const struct yielding *yielding)
{
    int64_t wait = YIELDING_AFTER;
    if (yielding->lost > RESUME_OVERLAP)
        wait *= LONGER_IF_LOST;
    unsigned doublings =
        yielding->before < YIELDING_DOUBLINGS ? yielding->before : YIELDING_DOUBLINGS;
    return wait << doublings;
}

/* What a limit of ours makes slow is not slow. */
static int64_t slow_rate(const struct yielding *yielding)
{
    int64_t half = yielding->share / 2;
    return half > 0 && half < YIELDING_SLOW_RATE ? half : YIELDING_SLOW_RATE;
}

bool yielding_may(const struct yielding *yielding)
{
    return yielding->ran >= patience(yielding) && yielding->rate >= 0 &&
           yielding->rate < slow_rate(yielding);
}
