/* The mirrors of a task: other URLs of the same file, tried in order when one fails for good. Which
 * is in use, task->mirror says: 0 is the task's own URL. */
#pragma once

#include "engine.h"

/* The URL in use; the caller frees it; NULL: no memory. */
char *mirrors_url(const struct task *task);
bool mirrors_has_next(const struct task *task);
/* Whether the URL in use is on the server of the task's own one, which alone the headers and the
 * login are for. */
bool mirrors_is_first_server(const struct task *task);
/* Whether the server in use was reached at a global address (address.h), however long ago; and that
 * it was now. */
bool mirrors_was_global(const struct task *task);
void mirrors_set_global(struct task *task);
/* The next one is in use: nothing but the bytes, their number and their date is known of its file.
 * 0 or -ENOMEM. */
int mirrors_move_on(struct engine *engine, struct task *task);
/* The task's own URL is in use again. */
void mirrors_rewind(struct engine *engine, struct task *task);
/* As engine_set_error, behind what went wrong with those before: "404 Not Found; mirror 1: ...". */
void mirrors_set_error(struct task *task, const char *code, const char *message);
