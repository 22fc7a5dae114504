/*
 * Lists of downloads: a URL a line, or aria2's input format, where tabs part a URL from its mirrors
 * and indented lines NAME=VALUE are about the one above. '#' starts a comment line.
 */
#pragma once

#include <stddef.h>
#include <stdio.h>

#include "client.h"
#include "common/api.h"

struct json_object;

struct input_entry {
    size_t line;
    struct json_object *task; /* what version 1 takes: url, mirrors, and what the options say */
};

/*
 * Calls `visit` for each entry, which is the input's; its status other than done ends the reading
 * and is returned. Bad lines are said on standard error by their number, and left out: then it
 * returns API_EXIT_USAGE in the end.
 */
enum api_exit input_read(FILE *file, const struct client *client,
                         enum api_exit (*visit)(void *data, const struct input_entry *entry),
                         void *data);
