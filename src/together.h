/*
 * Tasks of one user that are added at the same moment, to one directory: the first name of each is
 * looked up with one question to the store and one to the filer. What does not get that name is
 * left to ask alone, as all do that come alone (admission.h).
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "admission.h"

#define TOGETHER_MAX 64

/* `count` tasks (at most TOGETHER_MAX) that want the same directory. Of those whose names are free,
 * the directory is settled and the dest reserved in `ret_reserved` (which all NULL was); the others
 * are as they were. Waits for the filer until `deadline`
 * (boot time). */
void together_settle(struct engine *engine, struct admission *admission,
                     struct files_channel *channel, struct task *const *tasks, size_t count,
                     int64_t deadline, char **ret_reserved);
