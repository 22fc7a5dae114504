/* Asking for tasks: one by its id, many by a filter, page after page. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "cmd.h"
#include "common/buf.h"

/* The task; owned by the client until its next request. What went wrong was said. */
enum api_exit tasks_get(struct client *client, const char *id, struct json_object **ret_task);
/* Sends to /v1/tasks/ID and what is `behind` it ("", "/hold") by `method` (NULL: POST); what there
 * is not is API_EXIT_NO_TASK. What went wrong was said. */
enum api_exit tasks_send(struct client *client, const char *id, const char *behind,
                         const char *method, const char *json, struct client_answer *ret_answer);

/* False: stop. The task is freed afterwards, unless a reference is taken. */
typedef bool tasks_visit(void *data, struct json_object *task);

/* Visits what the query (urlencoded, or empty) selects, newest first; 0: no limit. */
enum api_exit tasks_each(struct client *client, const char *query, size_t limit, tasks_visit *visit,
                         void *data);

/* Ids, as they are typed, with "-" standing for those on standard input. */
struct id_list {
    char **ids; /* owned */
    size_t count;
};

enum api_exit id_list_read(int argc, char **argv, struct id_list *ret_list);
int id_list_add(struct id_list *list, const char *id); /* 0 or -ENOMEM */
void id_list_release(struct id_list *list);

/* --- filters: --state, --host, --match, --all and -u --- */

bool filter_is_given(const struct command_call *call);
/* As a query, or as members of an object. */
enum api_exit filter_add_query(const struct command_call *call, struct buf *query);
enum api_exit filter_add_members(const struct command_call *call, struct json_object *object);
