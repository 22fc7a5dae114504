/* The routes of the 2017 system, to the byte (autodl-api(7), CLASSIC ROUTES). */
#pragma once

#include "http/http.h"

/* A table for http_create; its handlers' data is a struct routes (routes.h). */
extern const struct http_route routes_classic[];
