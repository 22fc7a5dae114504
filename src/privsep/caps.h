/* The capabilities of this process (capabilities(7)), by the system calls themselves. Only while
 * there are no threads. */
#pragma once

#include <stdbool.h>

/* Root, or with CAP_SETUID. */
bool caps_may_become_others(void);
/* From now on CAP_SETUID and CAP_SETGID alone, none inheritable. 0 or a negative errno. */
int caps_keep_setid(void);
/* No program started from here gets others than these two. Without CAP_SETPCAP nothing changes,
 * which is fine: no_new_privs says the same. */
void caps_drop_bounding(void);
/* For good: none is left, and none can be had again (tried). 0 or a negative errno; then do not go
 * on. */
int caps_give_up(void);
