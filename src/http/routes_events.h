/* GET /v1/events[?task=ID...][&scope=all]: what happens, as server-sent events (autodl-api(7),
 * EVENTS). */
#pragma once

#include "http/http.h"

/* A table for http_create; its handlers' data is a struct routes (routes.h). */
extern const struct http_route routes_events[];
