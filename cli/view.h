/* A task as version 1 of the interface shows it, and how it is shown to people. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/api.h"
#include "common/buf.h"

struct json_object;

struct view { /* strings are the object's; NULL and -1: not known, or does not apply */
    const char *id, *url, *user, *directory, *name, *dest, *status, *label, *checksum;
    const char *reason; /* what it waits for */
    const char *error_code, *error_message;
    int64_t until; /* ms since the epoch, as all times */
    int64_t position, priority, bytes_done, bytes_total, rate, eta, ranges, attempts, http_status;
    int64_t created, started, ended, not_before, rate_limit;
    double duration;
};

/* The object must live as long as the view. False: it is no task. */
bool view_read(struct json_object *object, struct view *ret_view);

/* The state as one of the words that --state takes, from one of them or the service's own. NULL:
 * there is no such state. */
const char *view_state(const char *word);
bool view_has_ended(const struct view *view);
/* FAILED, CLEARED or CANCELLED. */
bool view_went_wrong(const struct view *view);

#define VIEW_ID_MAX (API_ID_LENGTH + 1)
/* The start of an id that cannot be read as a number of seconds, minutes, ... */
const char *view_short_id(const char *id, char text[static VIEW_ID_MAX]);

/* What of it is going on, in a few words: "waiting, 3rd in line", "45% of 1.2G at 2.3M/s". */
void view_add_state(struct buf *buf, const struct view *view);
/* Its state in a word: "waiting", "held". */
const char *view_state_word(const struct view *view);
/* Why it waits or failed, or nothing. */
void view_add_why(struct buf *buf, const struct view *view);
/* A directory (NULL: nothing), the own home written as ~. */
void view_add_directory(struct buf *buf, const char *directory);

/* What to print for a task: a line of text that says all that a person needs, or the object. */
void view_print(struct json_object *object, bool as_json);
