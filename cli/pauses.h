/* Pauses in force, so that nobody wonders why nothing moves. */
#pragma once

#include "cmd.h"

struct json_object;

#define PAUSES_TEXT 64

/* Asks for the pauses and says on standard error which are in force, and what ends them. */
void pauses_shout(const struct command_call *call);
/* The same for those in an answer of /v1/stats. */
void pauses_say(struct json_object *stats);
/* " until 14:02" or "": how long the pause in this object (of version 1) holds. */
const char *pauses_length(struct json_object *pause, char text[static PAUSES_TEXT]);
