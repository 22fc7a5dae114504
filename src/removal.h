/* What goes from the disk before a task is forgotten: its record is the only one who knows of it.
 */
#pragma once

#include <stdbool.h>

#include "core/task.h"
#include "finisher.h"
#include "privsep/files.h"

#define REMOVAL_TIMEOUT 5000 /* ms for a file operation that somebody waits for */

/* Whether there may be anything: a part file; `with_file`: a finished file too. */
bool removal_is_needed(const struct task *task, bool with_file);
/* Removes it, a finished file only if it is still the one that was written. `channel`: the user's
 * filer, or NULL: there is none to be had. 0, or a negative errno. */
int removal_do(const struct task *task, bool with_file, struct files_channel *channel);
/*
 * The same for many of one user, on their lane, behind what that still has to do; that alone, if
 * `count` is 0. Their content is moved. `ret_results` gets the outcome of each. 0; -ETIMEDOUT: the
 * file system does not answer, and what comes of it is not known; -ESHUTDOWN, -ENOMEM.
 */
int removal_do_many(struct finisher *finisher, uid_t uid, struct task *tasks, size_t count,
                    bool with_file, int *ret_results);
