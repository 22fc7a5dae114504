/* Hosts that asked for patience (Retry-After): until when none of anybody's tasks goes there. Thread
 * safe. */
#pragma once

#include <stdint.h>

struct hosts;

int hosts_create(struct hosts **ret_hosts); /* 0 or -ENOMEM */
void hosts_destroy(struct hosts *hosts);

/* The URL's host and port, without userinfo, in lower case: what a host is here. NULL: no memory, or
 * there is none; the caller frees it. */
char *hosts_of_url(const char *url);
/* `until`: boot time (ms). A later one replaces an earlier one. Without memory nobody is held back. */
void hosts_hold(struct hosts *hosts, const char *host, int64_t until);
/* Until when it is held back; 0: it is not. */
int64_t hosts_held_until(struct hosts *hosts, const char *host, int64_t now);
