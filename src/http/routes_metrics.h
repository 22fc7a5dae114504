/* For those who watch over the service: GET /healthz, to anybody; GET /metrics, to operators, in
 * the text format 0.0.4 of Prometheus (autodl-api(7), METRICS). */
#pragma once

#include "http/http.h"

/* A table for http_create; its handlers' data is a struct routes (routes.h). */
extern const struct http_route routes_metrics[];
