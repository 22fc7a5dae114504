#include "mirrors.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

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

/* Another scheme is another server: what goes by TLS does not go without it. */
static bool same_server(const char *a, const char *b)
{
    size_t len = strcspn(a, ":");
    _cleanup_free_ char *host_a = hosts_of_url(a), *host_b = hosts_of_url(b);
    return len == strcspn(b, ":") && strncasecmp(a, b, len) == 0 && host_a && host_b &&
           strcmp(host_a, host_b) == 0;
}

bool mirrors_is_first_server(const struct task *task)
{
    if (task->mirror == 0)
        return true;
    _cleanup_free_ char *url = mirrors_url(task);
    return url && same_server(task->url, url);
}

/* What is known of the server in use, not of the file. */
static int settle(struct engine *engine, struct task *task)
{
    _cleanup_free_ char *url = mirrors_url(task);
    uint64_t host = url ? hosts_number(engine->host_key, url) : 0;
    free(TAKE_PTR(task->etag));
    task->was_global = false;
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
    const char *end = strstr(before, name); /* of what this one said before */
    size_t len = end ? (size_t)(end - before) : strlen(before);
    bool fits = len <= ERRORS_MAX;
    snprintf(all, sizeof all, "%.*s%s%s%.450s", (int)(fits ? len : ERRORS_MAX - 3), before,
             fits ? "" : "...", len > 0 ? name : name + 2, message);
    engine_set_error(task, code, all);
}
