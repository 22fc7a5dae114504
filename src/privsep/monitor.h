/*
 * The monitor: the main process. It forks the service at the start and filers when asked, counts
 * signals, speaks to systemd (sd_notify(3)), and never has a thread. In system mode it runs as
 * `run_as` with CAP_SETUID and CAP_SETGID alone; the service as the same user with no capability;
 * a filer as its user with none (capabilities(7)); a PAM child as root, for one password.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/settings.h"

/* Reads the settings anew. 0: they are the caller's. A negative errno: the message says why not. */
typedef int (*monitor_reload)(void *data, struct settings *ret_settings,
                              char message[static 512]);

struct monitor_options {
    const char *run_as; /* system mode: the service's user */
    /* Whom filers are started for in system mode, whatever the service says, and what they may be
     * asked for: first_uid, allow_users, allow_hidden. */
    const struct settings *settings;
    monitor_reload reload; /* on SIGHUP, for the same; NULL: they stay */
    void *data;
    unsigned filers_max; /* at once; 0: 4096 */
    const char *home; /* user mode: what ~ means */
    const char *state_dir; /* system mode, started by root: made for run_as (0700) if missing */
    const char *socket_dir; /* the same, 0755, or NULL */
};

/* The service's life, in its process: `control` is its end of the control socket (owned). Its value
 * is the exit status. */
typedef int (*monitor_service)(int control, void *data);

/* Whether this process may become other users: started by root, or with CAP_SETUID. */
bool monitor_system_mode(void);

/* Within how many ms systemd wants to hear, each time, that the service is alive
 * (sd_watchdog_enabled(3)); 0: it does not. */
int64_t monitor_watchdog(void);

/* Runs until the service has ended; the value is the exit status of the program: 0 after a wanted
 * stop, 1 when the service died or could not start (logged). Call it before there is any thread. The
 * environment is wiped: nothing may point into it. */
int monitor_run(const struct monitor_options *options, monitor_service service, void *data);
