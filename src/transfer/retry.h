/*
 * After a failed attempt: is another one worth it, and when? Pure; the table stands in
 * autodl-service(8), RETRIES.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "transfer/download.h"

#define RETRY_AFTER_MAX     3600000 /* ms; a server that asks for more patience is asked again then */
#define RETRY_RESOLVE_TIMES 3 /* a name that cannot be found is not looked for more often ... */

struct retry_policy {
    int retries;      /* attempts without progress that are forgiven */
    int64_t wait;     /* ms before the second attempt; doubles with each */
    int64_t max_wait; /* ms */
};

/* What happened so far. */
struct retry_history {
    int failures;  /* attempts without progress in a row, this one included; 0: this one had some */
    int64_t bytes; /* received by any attempt: ... unless something came from there already */
};

struct retry_decision {
    bool again;
    int64_t wait; /* ms until then, jitter included */
    bool host;    /* the server asked for patience: every task of that host waits */
};

/* `result` failed (error_code is set). `random` is any number; it chooses the jitter: a wait
 * between half of the doubled one and all of it. A Retry-After of the server is kept instead (0
 * says nothing: many send it with each 503). */
struct retry_decision retry_decide(const struct download_result *result,
                                   const struct retry_policy *policy,
                                   const struct retry_history *history, uint64_t random);

/* An HTTP date (RFC 9110, 5.6.7), `now` in ms since the epoch, to seconds since the epoch. 0, or
 * -EINVAL: it is none. */
int retry_parse_date(const char *text, int64_t now, time_t *ret_time);

/* Retry-After (RFC 9110, 10.2.3), seconds or a date, `now` in ms since the epoch, to ms from now,
 * clamped to [0, RETRY_AFTER_MAX]; -1: it is neither. */
int64_t retry_parse_after(const char *value, int64_t now);
