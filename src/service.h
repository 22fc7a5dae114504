/* The service process: starts the floors from below, stops them from above. */
#pragma once

#include <stdbool.h>

#include "core/settings.h"

struct service_options {
    struct settings *settings; /* as they are at the start; the service owns what is inside now */
    /* Reads the configuration once more into `ret_settings`; 0, or a negative errno and `message`. */
    int (*reload)(void *data, struct settings *ret_settings, char message[static 512]);
    void *data;
    bool user_mode;
    const char *boot_id; /* as the environment says it; NULL: it does not */
    int64_t watchdog; /* ms, as monitor_watchdog gives it */
};

/* A monitor_service; `data` is a struct service_options. */
int service_run(int control, void *data);
