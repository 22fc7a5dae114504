/* Version 1 of the interface (autodl-api(7)), subject by subject: what JSON becomes which call of
 * the manager's, and what is answered. Data: struct routes. */
#pragma once

#include "http/http.h"

extern const struct http_route routes_v1_add[];  /* tasks, one or many */
extern const struct http_route routes_v1_list[]; /* which there are */
extern const struct http_route routes_v1_many[]; /* a verb for those of a filter */
extern const struct http_route routes_v1_service[]; /* clear, pause, resume, settings, stats */
extern const struct http_route routes_v1_task[]; /* one, and what is done with it */
