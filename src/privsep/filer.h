/* A filer: a process that is a user, irrevocably, and does what only that user may: one thread that
 * polls its channels. It ends when its control socket does. */
#pragma once

#include <stdbool.h>

/* `control`: its end of the control socket (owned). `home`: what ~ means. Without `allow_hidden`
 * names that begin with '.' are refused (-EPERM). Says hello, then serves; never returns. */
void filer_run(int control, const char *home, bool allow_hidden) __attribute__((noreturn));
