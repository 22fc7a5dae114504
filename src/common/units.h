/* Numbers, sizes, durations and times as people write them, and the clocks. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

/* Decimal digits alone, the whole string, min <= value <= max. 0, -EINVAL (not a number) or
 * -ERANGE. */
int units_parse_uint(const char *text, uint64_t min, uint64_t max, uint64_t *ret_value);
/* The decimal digits at *text, which is moved behind them. False: there are none, or too many. */
bool units_scan_digits(const char **text, int64_t *ret_value);
/* "512", "64K", "10M", "4G", "1T": powers of 1024, to bytes. 0, -EINVAL or -ERANGE. */
int units_parse_size(const char *text, int64_t *ret_bytes);
/* "500ms", "30s", "10m", "2h", "30d"; a bare number is seconds. To milliseconds. 0, -EINVAL or
 * -ERANGE. */
int units_parse_duration(const char *text, int64_t *ret_ms);
/* "yes", "no", "true", "false", "on", "off", "1", "0". 0 or -EINVAL. */
int units_parse_bool(const char *text, bool *ret_value);

/* "2030-01-31T22:00:00Z", "2030-01-31T23:00:00.5+01:00" (RFC 3339), to milliseconds since the
 * epoch, after 1970 and before 10000. 0 or -EINVAL. */
int units_parse_moment(const char *text, int64_t *ret_ms);

/* Milliseconds since the epoch (CLOCK_REALTIME): what is shown and stored. */
int64_t units_now_realtime(void);
/* Milliseconds since the boot, sleep included (CLOCK_BOOTTIME): what deadlines are kept on. */
int64_t units_now_boottime(void);
/* ms from now until that boot time, as a timeout: 1 to INT_MAX. */
int units_timeout(int64_t boottime);
/* The time in `ms` (at least 0) of CLOCK_MONOTONIC, which condition variables are waited on by. */
struct timespec units_monotonic_in(int64_t ms);
/* One that is waited on until such times. */
void units_condition_init(pthread_cond_t *condition);
