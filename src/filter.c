#include "filter.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "hosts.h"

#define IN_HAND (1U << TASK_DOWNLOADING | 1U << TASK_FINISHING)

struct filter {
    struct engine *engine;
    char *user; /* whose uid is not known yet, or NULL */
    char *text;
    struct store_filter stored;
};

static int copy_text(const char *from, char **ret_to)
{
    *ret_to = from ? strdup(from) : NULL;
    return from && !*ret_to ? -ENOMEM : 0;
}

/* Hosts are found by the number that their URLs give. */
static int number_host(struct filter *filter, const char *host)
{
    _cleanup_free_ char *url = NULL;
    if (!host)
        return 0;
    if (asprintf(&url, "http://%s/", host) < 0) {
        url = NULL;
        return -ENOMEM;
    }
    filter->stored.host = hosts_number(filter->engine->host_key, url);
    return filter->stored.host ? 0 : -ENOMEM;
}

int filter_create(struct engine *engine, const struct manager_filter *wanted,
                  struct filter **ret_filter)
{
    struct filter *filter = calloc(1, sizeof *filter);
    if (!filter)
        return -ENOMEM;
    filter->engine = engine;
    filter->stored = (struct store_filter){.uid = wanted->scope,
                                           .reader = wanted->reader,
                                           .states = wanted->states,
                                           .since = wanted->since,
                                           .until = wanted->until};
    int r = copy_text(wanted->user, &filter->user);
    if (r == 0)
        r = copy_text(wanted->text, &filter->text);
    if (r == 0)
        r = number_host(filter, wanted->host);
    filter->stored.text = filter->text;
    if (r < 0) {
        filter_destroy(filter);
        return r;
    }
    *ret_filter = filter;
    return 0;
}

void filter_destroy(struct filter *filter)
{
    if (!filter)
        return;
    free(filter->user);
    free(filter->text);
    free(filter);
}

bool filter_has_state(const struct filter *filter, enum task_state state)
{
    return !filter->stored.states || filter->stored.states >> state & 1;
}

/* -ENOENT: nobody of that name has a task. */
static int find_user(struct filter *filter)
{
    if (!filter->user)
        return 0;
    uid_t uid;
    int r = store_uid_of(filter->engine->store, filter->user, &uid);
    if (r < 0)
        return r;
    if (filter->stored.uid != STORE_EVERYBODY && filter->stored.uid != uid)
        return -ENOENT;
    filter->stored.uid = uid;
    free(TAKE_PTR(filter->user));
    return 0;
}

static int newest_first(const void *left, const void *right)
{
    int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
    return a > b ? -1 : a < b;
}

/* Of these rows those that are meant whatever their states, below `before` and not below `down_to`.
 */
static int keep_fitting(struct filter *filter, int64_t before, int64_t down_to, int64_t *rows,
                        size_t *count)
{
    struct store_filter any_state = filter->stored;
    any_state.states = 0;
    size_t kept = 0;
    for (size_t i = 0; i < *count; i++) {
        if (rows[i] >= before || rows[i] < down_to)
            continue;
        int r = store_fits(filter->engine->store, &any_state, rows[i]);
        if (r < 0)
            return r;
        if (r > 0)
            rows[kept++] = rows[i];
    }
    *count = kept;
    return 0;
}

/* Both lists without those that are in both, the newest first, at most `max`; `before` is where
 * those begin that are left. */
static void merge(int64_t *rows, size_t *count, const int64_t *more, size_t more_count, size_t max,
                  int64_t *before)
{
    size_t all = *count;
    for (size_t i = 0; i < more_count; i++) {
        size_t at = 0;
        while (at < all && rows[at] > more[i])
            at++;
        if (at == max || (at < all && rows[at] == more[i]))
            continue;
        if (all == max)
            all--;
        memmove(&rows[at + 1], &rows[at], (all - at) * sizeof *rows);
        rows[at] = more[i];
        all++;
    }
    if (all == max)
        *before = rows[all - 1];
    *count = all;
}

int filter_next(struct filter *filter, int64_t *before, size_t max, int64_t *ret_rows,
                size_t *ret_count)
{
    struct store *store = filter->engine->store;
    const unsigned states = filter->stored.states;
    _cleanup_free_ int64_t *in_hand = NULL;
    size_t count = 0, in_hand_count = 0;
    int64_t from = *before, down_to = 0;
    int r = find_user(filter);
    if (r == -ENOENT) {
        *before = 0;
        *ret_count = 0;
        return 0;
    }
    if (r == 0 && states & IN_HAND)
        r = active_list(filter->engine->active, states & IN_HAND, &in_hand, &in_hand_count);
    if (r == 0 && (!states || states & ~IN_HAND)) {
        down_to = from;
        r = store_list(store, &filter->stored, &down_to, max, ret_rows, &count);
    }
    if (r == 0)
        r = keep_fitting(filter, from, down_to, in_hand, &in_hand_count);
    if (r < 0)
        return r;
    if (in_hand_count > 0) {
        qsort(in_hand, in_hand_count, sizeof *in_hand, newest_first);
        merge(ret_rows, &count, in_hand, in_hand_count, max, &down_to);
    }
    *before = down_to;
    *ret_count = count;
    return 0;
}
