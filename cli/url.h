/* URLs of what is to be downloaded: whether autodl speaks them, and their parts. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/api.h"

bool url_is_magnet(const char *url);
/* Says on standard error what is wrong with it; `where` ("line 7: ") stands in front, or NULL. */
enum api_exit url_check(const char *where, const char *url);

struct url_parts { /* point into the URL */
    const char *scheme, *host, *path;
    size_t scheme_len, host_len, path_len; /* path: "" where there is none; without the query */
};

/* Of a URL that url_check took. */
struct url_parts url_split(const char *url);
