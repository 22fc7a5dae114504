/* What a person sees of tasks that run: a line for each and a summary, drawn anew in place; what is
 * to stay goes above them. Off a terminal nothing is drawn. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "view.h"

struct live;

struct live *live_create(void); /* NULL: no memory */
void live_destroy(struct live *live);
/* Takes the lines away, so that others can be printed. */
void live_erase(struct live *live);
/* Begins drawing; then come the tasks that are worth a line, and the summary (or NULL). */
void live_begin(struct live *live);
void live_add(struct live *live, const struct view *view);
void live_end(struct live *live, const char *summary);
