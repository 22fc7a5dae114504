/* What is wished of a download, as members of the task that version 1 takes. Each call reads what
 * was typed; on failure the reason was said, with `what` ("--checksum", "line 7: checksum") as the
 * name of what was typed. */
#pragma once

#include "client.h"
#include "common/api.h"
#include "options.h"

struct json_object;

/* All of add's options; a password is asked for here. `first_url`: where it is for, or NULL. */
enum api_exit wish_read(struct client *client, const struct given *given, const char *first_url,
                        struct json_object *wish);
/* One option of aria2's input format, NAME=VALUE. A name that is not known is noted and left out.
 * `where`: "line 7: ". */
enum api_exit wish_read_aria2(const struct client *client, const char *where, const char *text,
                              struct json_object *wish);
