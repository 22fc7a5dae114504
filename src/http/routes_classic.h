/* The routes of the 2017 system, to the byte (autodl-service(8), CLASSIC ROUTES). */
#pragma once

#include "http/http.h"

/* The table for http_create; its handlers' data is a struct routes_classic. */
extern const struct http_route routes_classic[];

struct routes_classic {
    struct manager *manager;
    struct auth *auth;
};
