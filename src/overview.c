#include "overview.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "common/units.h"
#include "lanes.h"

#define IDLE          10000 /* ms until the thread of one who looks no more is ended */
#define FILER_TIMEOUT 1000  /* ms */

struct overviews {
    struct engine *engine;
    struct lanes *lanes;
};

struct look {
    struct lane_job job; /* first: lanes hand it back */
    struct engine *engine;
    uid_t uid;
    manager_looked looked;
    void *data;
};

/* Those in hand are ahead of the store. */
static int count_in_hand(struct engine *engine, uid_t uid, enum task_state state, uint64_t *ret_count)
{
    struct store_filter own = {.uid = uid, .reader = uid};
    _cleanup_free_ int64_t *rows = NULL;
    size_t count = 0;
    int r = active_list(engine->active, 1U << state, &rows, &count);
    for (size_t i = 0; i < count && r >= 0; i++) {
        r = store_fits(engine->store, &own, rows[i]);
        *ret_count += r > 0;
    }
    return r < 0 ? r : 0;
}

int overviews_count(struct engine *engine, uid_t uid, uint64_t ret_own[static TASK_STATES])
{
    uint64_t own[TASK_STATES] = {0};
    int r = store_count_at_rest(engine->store, uid, own);
    if (r == 0)
        r = count_in_hand(engine, uid, TASK_DOWNLOADING, &own[TASK_DOWNLOADING]);
    if (r == 0)
        r = count_in_hand(engine, uid, TASK_FINISHING, &own[TASK_FINISHING]);
    own[TASK_ENQUEUED] = queue_length(engine->queue, uid);
    if (r == 0)
        memcpy(ret_own, own, sizeof own);
    return r;
}

static void find_room(const struct look *look, struct files_channel **channel, char **ret_directory,
                      int64_t *ret_free)
{
    struct engine_options *options = engine_options_ref(look->engine);
    int r = -ETIMEDOUT;
    if (*channel && !queue_held(look->engine->queue, look->uid, QUEUE_HOLD_STORAGE))
        r = files_room(*channel, options->default_directory, FILER_TIMEOUT, ret_directory,
                       ret_free);
    if (r == -ETIMEDOUT && *channel) {
        files_close(*channel);
        *channel = NULL;
    }
    engine_options_unref(look->engine, options);
}

static void answer(struct look *look, struct files_channel **channel)
{
    struct engine *engine = look->engine;
    uint64_t own[TASK_STATES] = {0};
    struct stats_snapshot all;
    struct stats_series series;
    struct manager_overview overview = {.own = own, .all = all.tasks, .series = &series};
    _cleanup_free_ char *directory = NULL;
    int64_t now = units_now_boottime();
    find_room(look, channel, &directory, &overview.free);
    overview.directory = directory;
    stats_read(engine->stats, now, &all);
    stats_read_series(engine->stats, now, &series);
    queue_pauses(engine->queue, look->uid, &overview.pauses);
    int r = overviews_count(engine, look->uid, own);
    if (r < 0)
        log_error("uid=%u tasks cannot be counted: %s", look->uid, strerror(-r));
    look->looked(look->data, r, &overview);
    free(look);
}

static void work(void *data, uid_t uid, struct files_channel **channel, struct lane_job *jobs)
{
    (void)data;
    (void)uid;
    while (jobs) {
        struct look *look = (struct look *)jobs;
        jobs = jobs->next;
        answer(look, channel);
    }
}

void overviews_look(struct overviews *overviews, uid_t uid, manager_looked looked, void *data)
{
    struct look *look = malloc(sizeof *look);
    int r = look ? 0 : -ENOMEM;
    if (look) {
        *look =
            (struct look){.engine = overviews->engine, .uid = uid, .looked = looked, .data = data};
        r = lanes_put(overviews->lanes, uid, &look->job);
    }
    if (r < 0) {
        free(look);
        looked(data, r, NULL);
    }
}

int overviews_create(struct engine *engine, struct overviews **ret_overviews)
{
    struct overviews *overviews = calloc(1, sizeof *overviews);
    if (!overviews)
        return -ENOMEM;
    overviews->engine = engine;
    int r = lanes_create(engine->files, IDLE, work, overviews, &overviews->lanes);
    if (r < 0) {
        free(overviews);
        return r;
    }
    *ret_overviews = overviews;
    return 0;
}

int overviews_stop(struct overviews *overviews, int64_t timeout)
{
    lanes_close(overviews->lanes);
    return lanes_wait(overviews->lanes, timeout);
}

void overviews_destroy(struct overviews *overviews)
{
    if (!overviews)
        return;
    lanes_destroy(overviews->lanes);
    free(overviews);
}
