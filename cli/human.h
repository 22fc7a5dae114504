/* Sizes, durations and times as people read and write them; times are of this machine's zone. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/api.h"

#define HUMAN_MAX 48

/* Each fills `text` and returns it. */
const char *human_size(int64_t bytes, char text[static HUMAN_MAX]);  /* "512", "1.4M", "12G" */
const char *human_duration(int64_t ms, char text[static HUMAN_MAX]); /* "0.3s", "2m 03s", "3d 4h" */
/* "14:02" today, "2030-01-31 14:02" on another day. */
const char *human_time(int64_t ms, char text[static HUMAN_MAX]);
const char *human_rfc3339(int64_t ms, char text[static HUMAN_MAX]);
const char *human_ordinal(int64_t number, char text[static HUMAN_MAX]); /* "1st" */

/*
 * What was typed; on failure it was said, with `what` as the option's name. A time is RFC 3339,
 * "14:02[:30]", "today", "tomorrow" or "yesterday" (with a time behind or midnight), "2030-01-31"
 * (likewise), "now", or a duration: from now, or with `is_past` ago. A time of day alone is the
 * next one, or with `is_past` the last one.
 */
enum api_exit human_parse_time(const char *what, const char *text, bool is_past, int64_t *ret_ms);
enum api_exit human_parse_duration(const char *what, const char *text, int64_t *ret_ms);
/* Bytes a second; "off": `*ret_rate` 0. */
enum api_exit human_parse_rate(const char *what, const char *text, int64_t *ret_rate);
