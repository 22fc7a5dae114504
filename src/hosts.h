/* What a host is to the queue: a URL's host and port, as a number. Pure. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "store/store.h"

/* The URL's host and port, without userinfo, in lower case, without the scheme's own port. NULL: no
 * memory, or there is none; the caller frees it. */
char *hosts_of_url(const char *url);
/* Whether scheme, host and port are the same (RFC 6454): what was meant for one, as a password is, may
 * go to the other. False, too, for want of memory. */
bool hosts_same_origin(const char *one, const char *other);
/* The number of the URL's host: a keyed hash, so that nobody finds hosts that share one. Never 0,
 * which stands for "not known" where it is stored, but for want of memory. */
uint64_t hosts_number(const uint8_t key[static STORE_HOST_KEY_SIZE], const char *url);
