/* The settings that people turn while the service runs: their values, and where these came from.
 * Keeps them; what acts by them is the manager's to tell. Thread safe. */
#pragma once

#include "core/settings.h"
#include "manager.h"

struct knobs;

/* 0 or -ENOMEM. */
int knobs_create(const struct settings *settings, struct knobs **ret_knobs);
/* NULL is fine. */
void knobs_destroy(struct knobs *knobs);
/* As configured, all of them: what was set at run time is over. */
void knobs_reset(struct knobs *knobs, const struct settings *settings);
void knobs_turn(struct knobs *knobs, const struct manager_settings_change *change);
int64_t knobs_value(struct knobs *knobs, enum manager_setting setting);
void knobs_read(struct knobs *knobs, struct manager_setting_view ret_views[MANAGER_SETTINGS]);
/* Ends what was set until a time (boot time) that has come: 0, something has changed. Else the time
 * of the next one, INT64_MAX: there is none. */
int64_t knobs_tick(struct knobs *knobs, int64_t now);
