/* Cookies that a browser or curl saved in Netscape's format: which go along to a URL (RFC 6265,
 * section 5.4). */
#pragma once

#include <stddef.h>

#include "common/buf.h"

struct cookies;

/* 0, -EBADMSG (it is not such a file; the line's number in `ret_line`) or another negative errno.
 */
int cookies_load(const char *path, struct cookies **ret_cookies, size_t *ret_line);
void cookies_destroy(struct cookies *cookies); /* wipes them; NULL is fine */
/* Adds "a=b; c=d", or nothing. */
void cookies_add(const struct cookies *cookies, const char *url, struct buf *buf);
