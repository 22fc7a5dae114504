/*
 * Following tasks until they have ended, pushed by the service (server-sent events): for a person a
 * live line for each one that runs and a summary; in a pipe a line for each change; or nothing.
 * When the connection breaks it is made anew. The interrupt key ends the following alone.
 */
#pragma once

#include <stdint.h>

#include "cmd.h"
#include "tasks.h"

struct json_object;

struct follow_wish {
    const struct id_list *ids; /* whole ids; NULL: all that are unfinished */
    struct json_object *known; /* id -> task, as they were printed already; or NULL */
    bool with_new;             /* without ids: those too that are added meanwhile */
    bool is_silent;
    bool is_classic; /* of a command of 2017, which prints JSON in a pipe */
    int64_t timeout; /* ms; 0: none */
};

/* 0, 1, 7 or 8 by how they ended; 5, 6 or 130. What there is to say was said. */
enum api_exit follow(const struct command_call *call, const struct follow_wish *wish);
