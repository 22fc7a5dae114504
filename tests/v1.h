/* For the end to end tests: tasks through version 1 of the interface, beside what harness.h has for
 * the classic routes. Texts live as long as the test. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "harness.h"

/* A call over the unix socket with this body (NULL: none), made by harness_user(). The HTTP status;
 * 0: closed without an answer; -1: nothing accepts. `ret_body` (may be NULL) gets the body. */
int v1_call(const struct service *service, const char *method, const char *target,
            const char *json, const char **ret_body);
/* What stands under this path ("status", "error.code") of a JSON text: strings as they are, others
 * as JSON; NULL: null or not there. */
const char *json_at(const char *json, const char *path);

/* POST /v1/tasks with url and directory (NULL: the default) and `more` (further members such as
 * "\"name\": \"a\", \"retries\": 2", or NULL). The HTTP status and the body. */
int v1_try_add(const struct service *service, const char *url, const char *directory,
               const char *more, const char **ret_body);
/* The same for one that must succeed; the id. */
const char *v1_add(const struct service *service, const char *url, const char *directory,
                   const char *more);
/* GET /v1/tasks/ID, which must be there, and one of its members. */
const char *v1_get(const struct service *service, const char *id, const char *path);
int64_t v1_number(const struct service *service, const char *id, const char *path);
/* POST /v1/tasks/ID/VERB, which must answer with `status`; the body. */
const char *v1_verb(const struct service *service, const char *id, const char *verb, int status);
/* Waits until it is in this state; fails when it ended in another. */
void v1_wait(const struct service *service, const char *id, const char *state, int timeout);
/* Waits until it has ended (FINISHED, FAILED, CLEARED, CANCELLED); the state. */
const char *v1_wait_end(const struct service *service, const char *id, int timeout);
/* Waits until it waits for this reason. */
void v1_wait_reason(const struct service *service, const char *id, const char *reason, int timeout);
bool v1_ended(const char *state);
