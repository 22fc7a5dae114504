#include "mirrors.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "hosts.h"

#define ERRORS_MAX 2000 /* bytes, of all mirrors together */

/* The mirror with this number, from 1; it ends with the line. NULL: there is none. */
static const char *find(const struct task *task, int number)
{
    const char *line = task->mirrors;
    for (; line && *line && number > 1; number--)
        line += strcspn(line, "\n") + (line[strcspn(line, "\n")] == '\n');
    return line && *line ? line : NULL;
}

char *mirrors_url(const struct task *task)
{
    const char *line = task->mirror > 0 ? find(task, task->mirror) : NULL;
    return line ? strndup(line, strcspn(line, "\n")) : strdup(task->url);
}

bool mirrors_has_next(const struct task *task)
{
    return find(task, task->mirror + 1) != NULL;
}

bool mirrors_is_first_server(const struct task *task)
{
    if (task->mirror == 0)
        return true;
    _cleanup_free_ char *url = mirrors_url(task);
    return url && hosts_same_origin(task->url, url);
}

void mirrors_set_global(struct task *task)
{
    task->was_global |= 1U << task->mirror;
}

/* Several of them may be on one server. */
bool mirrors_was_global(const struct task *task)
{
    static_assert(TASK_MIRRORS_MAX < 32, "bits of was_global");
    _cleanup_free_ char *now = task->was_global ? mirrors_url(task) : NULL;
    struct task other = {.url = task->url, .mirrors = task->mirrors};
    bool known = task->was_global & 1U << task->mirror;
    for (int i = 0; now && i <= TASK_MIRRORS_MAX && !known; i++) {
        other.mirror = i;
        _cleanup_free_ char *url = task->was_global & 1U << i ? mirrors_url(&other) : NULL;
        known = url && hosts_same_origin(now, url);
    }
    return known;
}

/* What is known of the server in use, not of the file. */
static int settle(struct engine *engine, struct task *task)
{
    _cleanup_free_ char *url = mirrors_url(task);
    uint64_t host = url ? hosts_number(engine->host_key, url) : 0;
    free(TAKE_PTR(task->etag));
    task->host = host; /* 0: found out later */
    return host ? 0 : -ENOMEM;
}

int mirrors_move_on(struct engine *engine, struct task *task)
{
    task->mirror++;
    task->failures = 0;
    return settle(engine, task);
}

void mirrors_rewind(struct engine *engine, struct task *task)
{
    if (task->mirror == 0)
        return;
    task->mirror = 0;
    settle(engine, task);
}

void mirrors_set_error(struct task *task, const char *code, const char *message)
{
    char name[32], all[ERRORS_MAX + 512];
    const char *before = task->error_message ? task->error_message : "";
    if (task->mirror == 0) {
        engine_set_error(task, code, message);
        return;
    }
    snprintf(name, sizeof name, "; mirror %d: ", task->mirror);
    bool alone = strncmp(before, name + 2, strlen(name + 2)) == 0;
    const char *end = alone ? before : strstr(before, name); /* of what this one said before */
    size_t len = end ? (size_t)(end - before) : strlen(before);
    bool fits = len <= ERRORS_MAX;
    snprintf(all, sizeof all, "%.*s%s%s%.450s", (int)(fits ? len : ERRORS_MAX - 3), before,
             fits ? "" : "...", len > 0 ? name : name + 2, message);
    engine_set_error(task, code, all);
}
