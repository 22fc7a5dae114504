/* Directories on the service's machine, as they are typed here. */
#pragma once

#include "client.h"
#include "common/api.h"

/* What the service is told for PATH (owned by the caller). On failure the reason was said, with
 * `where` ("line 7: ", or NULL) in front. */
enum api_exit path_resolve(const struct client *client, const char *where, const char *path,
                           char **ret_path);
