/* A task as version 1 shows it (autodl-api(7), The task). */
#pragma once

#include <stdbool.h>

#include "common/buf.h"
#include "manager.h"

/* The JSON object; `to_owner`: the one who reads it owns the task, and sees the URL's query. What
 * was sent along for the origin (passwords, header fields) nobody sees. The caller frees it; NULL:
 * no memory. */
char *task_json(const struct manager_view *view, bool to_owner);
/* Adds a time (ms since the epoch), RFC 3339 in UTC; 0: null. */
void task_json_moment(struct buf *buf, int64_t ms);
#define TASK_JSON_LIST_MAX (256 << 20) /* bytes: the longest list fits */
/* Adds `"tasks": [...]`, as this user may see them. */
void task_json_list(struct buf *buf, const struct manager_view *views, size_t count, uid_t reader);
