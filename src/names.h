/*
 * Names in the settings that mean nothing: no error, since they may come to be, but nobody shall
 * wonder. Users and groups are looked up on a thread that nobody waits for: NSS may hang.
 */
#pragma once

#include <stdbool.h>

#include "core/settings.h"

/* Warns in the log, now or soon. Keeps nothing of the settings. */
void names_warn(const struct settings *settings, bool user_mode);
