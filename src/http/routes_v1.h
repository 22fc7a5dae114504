/*
 * Version 1 (autodl-api(7), VERSION 1 ROUTES): one task at a time, so far.
 *
 * POST /v1/tasks: a JSON object with url, directory, name, if_exists, checksum, headers, retries,
 * paused. 201 with the task and its Location; 200 with the unfinished twin for if_exists "skip".
 * GET /v1/tasks/ID: the task. ID is an id or at least four characters of its start.
 * DELETE /v1/tasks/ID[?file=delete]: forget an ended one (and its file). 204.
 * POST /v1/tasks/ID/{hold,release,cancel,retry}: 200 with the task as it is then. A part file stays
 * after cancel with {"keep": true} in the body, or with ?keep=yes (the body wins).
 * A parameter or field that a route does not know is 400.
 */
#pragma once

#include "http/http.h"

/* A table for http_create; its handlers' data is a struct routes (routes.h). */
extern const struct http_route routes_v1[];
