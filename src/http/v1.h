/* What the routes of version 1 have in common: how parameters and bodies are read, and what is
 * answered about a task. */
#pragma once

#include <stdbool.h>

#include "http/fields.h"
#include "http/routes.h"

struct json_object;

#define V1_TASKS "/v1/tasks"
#define V1_TASK  V1_TASKS "/*"

/* For _cleanup_. */
void v1_release_object(struct json_object **object);

/* --- answers --- */

void v1_answer_no_task(struct http_request *request);
/* The task as the one who asked may see it; the caller frees it; NULL: no memory. */
char *v1_task_body(const struct http_request *request, const struct manager_view *view);
/* A manager_done of a verb about one task; `data` is the request. */
void v1_on_done(void *data, const struct manager_reply *reply);
/* The same of one about many: answers their count. */
void v1_on_counted(void *data, const struct manager_reply *reply);
/* False: the request is answered, the verb having failed. */
bool v1_went_well(struct http_request *request, const struct manager_reply *reply);

/* --- what a request says; false: the request is answered --- */

/* There is no such parameter. */
void v1_refuse_parameter(struct http_request *request, const char *name);
/* It has no parameter other than `known` (NULL: none is known). */
bool v1_no_other_parameter(struct http_request *request, const char *known);
/* The query's parameters, by the table, into `target`. */
bool v1_read_parameters(struct http_request *request, const struct field *fields, void *target);
/* The body, member by member, into `target`. What was set lives as long as the object. */
bool v1_read_body(struct http_request *request, const struct field *fields, void *target,
                  struct json_object **ret_object);
/* The same in two steps; `ret_object` NULL: there is no body. */
bool v1_parse_body(struct http_request *request, struct json_object **ret_object);
bool v1_read_object(struct http_request *request, const struct field *fields,
                    struct json_object *object, void *target);
/* Nothing. */
extern const struct field v1_no_fields[];

/* What is asked of one task. */
struct v1_errand {
    struct manager *manager;
    const char *id;
    uid_t scope;
};
bool v1_read_errand(struct http_request *request, const struct routes *routes,
                    enum auth_action action, struct v1_errand *ret_errand);
