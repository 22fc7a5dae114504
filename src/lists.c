#include "lists.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "common/units.h"
#include "filter.h"
#include "lanes.h"

#define IDLE   60000 /* ms until the thread of one who lists no more is ended */
#define WITHIN 1000  /* ms to look for what fits; then the page ends */

struct lists {
    struct engine *engine;
    struct lanes *lanes;
};

struct page {
    struct lane_job job; /* first: lanes hand it back */
    struct engine *engine;
    struct filter *filter;
    int64_t after;
    size_t limit;
    manager_done done;
    void *data;

    int64_t *rows; /* room for one more than the limit */
    size_t count;
    struct task *tasks;
    struct manager_view *views;
};

static void page_free(struct page *page)
{
    for (size_t i = 0; page->tasks && i < page->count; i++)
        task_release(&page->tasks[i]);
    free(page->tasks);
    free(page->views);
    free(page->rows);
    filter_destroy(page->filter);
    free(page);
}

static void refuse(struct page *page, int error)
{
    struct manager_reply reply = {.error = error};
    reply.message = error == -ESHUTDOWN ? "the service is stopping; try again in a moment"
                    : error == -ENOMEM  ? "the service is out of memory; try again later"
                                        : "the service could not use its store; its log says why";
    if (error != -ESHUTDOWN && error != -ENOMEM)
        log_error("tasks cannot be listed: %s", strerror(-error));
    page->done(page->data, &reply);
    page_free(page);
}

/* One more than the page has: so it is known whether there is a next one. */
static int find_rows(struct page *page, int64_t *ret_next)
{
    int64_t before = page->after ? page->after : INT64_MAX;
    int64_t until = units_now_boottime() + WITHIN;
    size_t wanted = page->limit + 1;
    page->rows = calloc(wanted, sizeof *page->rows);
    if (!page->rows)
        return -ENOMEM;
    while (before != 0 && page->count < wanted && units_now_boottime() < until) {
        size_t count = 0;
        int r = filter_next(page->filter, &before, wanted - page->count, page->rows + page->count,
                            &count);
        if (r < 0)
            return r;
        page->count += count;
    }
    if (page->count == wanted)
        before = page->rows[--page->count - 1];
    *ret_next = before;
    return 0;
}

/* As they are now; those that are in another state, or gone, are left out. */
static int make_views(struct page *page, size_t *ret_count)
{
    size_t count = 0;
    page->tasks = calloc(page->count + 1, sizeof *page->tasks);
    page->views = calloc(page->count + 1, sizeof *page->views);
    if (!page->tasks || !page->views)
        return -ENOMEM;
    int r = store_fetch_many(page->engine->store, page->rows, page->count, page->tasks);
    int64_t far = 0;
    for (size_t i = page->count; i-- > 0 && r == 0;) /* from the oldest on */
        if (page->tasks[i].row)
            page->views[i] = engine_view_next(page->engine, &page->tasks[i], &far);
    for (size_t i = 0; i < page->count && r == 0; i++) {
        const struct task *task = page->views[i].task;
        page->views[count] = page->views[i];
        count += task && filter_has_state(page->filter, task->state);
    }
    *ret_count = count;
    return r;
}

static void answer(struct page *page)
{
    size_t count = 0;
    int64_t next = 0;
    int r = find_rows(page, &next);
    if (r == 0)
        r = make_views(page, &count);
    if (r < 0) {
        refuse(page, r);
        return;
    }
    page->done(page->data,
               &(struct manager_reply){.view = page->views, .count = count, .next = next});
    page_free(page);
}

static void work(void *data, uid_t uid, struct files_channel **channel, struct lane_job *jobs)
{
    (void)data;
    (void)uid;
    (void)channel;
    while (jobs) {
        struct page *page = (struct page *)jobs;
        jobs = jobs->next;
        answer(page);
    }
}

void lists_page(struct lists *lists, const struct manager_filter *filter, int64_t after,
                size_t limit, manager_done done, void *data)
{
    assert(limit > 0 && limit <= MANAGER_LIST_MAX);
    struct page *page = calloc(1, sizeof *page);
    if (!page) {
        done(data,
             &(struct manager_reply){.error = -ENOMEM,
                                     .message = "the service is out of memory; try again later"});
        return;
    }
    page->engine = lists->engine;
    page->after = after;
    page->limit = limit;
    page->done = done;
    page->data = data;
    int r = filter_create(lists->engine, filter, &page->filter);
    if (r == 0)
        r = lanes_put(lists->lanes, filter->reader, &page->job);
    if (r < 0)
        refuse(page, r == -ESHUTDOWN ? r : -ENOMEM);
}

int lists_create(struct engine *engine, struct lists **ret_lists)
{
    struct lists *lists = calloc(1, sizeof *lists);
    if (!lists)
        return -ENOMEM;
    lists->engine = engine;
    int r = lanes_create(NULL, IDLE, work, lists, &lists->lanes);
    if (r < 0) {
        free(lists);
        return r;
    }
    *ret_lists = lists;
    return 0;
}

void lists_stop(struct lists *lists)
{
    lanes_close(lists->lanes);
    lanes_wait(lists->lanes, -1);
}

void lists_destroy(struct lists *lists)
{
    if (!lists)
        return;
    lanes_destroy(lists->lanes);
    free(lists);
}
