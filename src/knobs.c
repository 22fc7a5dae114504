#include "knobs.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/log.h"
#include "common/units.h"

static const char *const names[MANAGER_SETTINGS] = {
    [MANAGER_MAX_TASKS] = "max-tasks-num",
    [MANAGER_RATE_LIMIT] = "rate-limit",
    [MANAGER_MAX_PER_HOST] = "max-per-host",
};

struct knob {
    int64_t configured;
    struct manager_setting_view now;
    int64_t until; /* boot time; 0: it does not end */
};

struct knobs {
    pthread_mutex_t lock;
    /* protected by lock */
    struct knob knob[MANAGER_SETTINGS];
};

static void configure_locked(struct knob *knob)
{
    knob->now.value = knob->configured;
    knob->now.who[0] = '\0';
    knob->now.until = knob->until = 0;
}

void knobs_reset(struct knobs *knobs, const struct settings *settings)
{
    const int64_t values[MANAGER_SETTINGS] = {
        [MANAGER_MAX_TASKS] = settings->max_tasks_num,
        [MANAGER_RATE_LIMIT] = settings->rate_limit,
        [MANAGER_MAX_PER_HOST] = settings->max_per_host,
    };
    pthread_mutex_lock(&knobs->lock);
    for (int i = 0; i < MANAGER_SETTINGS; i++) {
        struct knob *knob = &knobs->knob[i];
        knob->configured = values[i];
        knob->now.source = settings_source(settings, names[i]);
        configure_locked(knob);
    }
    pthread_mutex_unlock(&knobs->lock);
}

int knobs_create(const struct settings *settings, struct knobs **ret_knobs)
{
    struct knobs *knobs = calloc(1, sizeof *knobs);
    if (!knobs)
        return -ENOMEM;
    pthread_mutex_init(&knobs->lock, NULL);
    knobs_reset(knobs, settings);
    *ret_knobs = knobs;
    return 0;
}

void knobs_destroy(struct knobs *knobs)
{
    if (!knobs)
        return;
    pthread_mutex_destroy(&knobs->lock);
    free(knobs);
}

void knobs_turn(struct knobs *knobs, const struct manager_settings_change *change)
{
    pthread_mutex_lock(&knobs->lock);
    for (int i = 0; i < MANAGER_SETTINGS; i++) {
        struct knob *knob = &knobs->knob[i];
        if (!change->set[i])
            continue;
        configure_locked(knob);
        knob->now.value = change->value[i];
        snprintf(knob->now.who, sizeof knob->now.who, "%s", change->who);
        if (i != MANAGER_RATE_LIMIT || !change->until)
            continue;
        int64_t left = change->until - units_now_realtime();
        knob->now.until = change->until;
        knob->until = units_now_boottime() + (left > 0 ? left : 0);
    }
    pthread_mutex_unlock(&knobs->lock);
    for (int i = 0; i < MANAGER_SETTINGS; i++)
        if (change->set[i])
            log_info("user=%s %s=%lld", change->who, names[i], (long long)change->value[i]);
}

int64_t knobs_value(struct knobs *knobs, enum manager_setting setting)
{
    pthread_mutex_lock(&knobs->lock);
    int64_t value = knobs->knob[setting].now.value;
    pthread_mutex_unlock(&knobs->lock);
    return value;
}

void knobs_read(struct knobs *knobs, struct manager_setting_view ret_views[MANAGER_SETTINGS])
{
    pthread_mutex_lock(&knobs->lock);
    for (int i = 0; i < MANAGER_SETTINGS; i++)
        ret_views[i] = knobs->knob[i].now;
    pthread_mutex_unlock(&knobs->lock);
}

int64_t knobs_tick(struct knobs *knobs, int64_t now)
{
    int64_t next = INT64_MAX;
    bool changed = false;
    pthread_mutex_lock(&knobs->lock);
    for (int i = 0; i < MANAGER_SETTINGS; i++) {
        struct knob *knob = &knobs->knob[i];
        if (knob->until && knob->until <= now) {
            configure_locked(knob);
            changed = true;
        } else if (knob->until && knob->until < next) {
            next = knob->until;
        }
    }
    pthread_mutex_unlock(&knobs->lock);
    return changed ? 0 : next;
}
