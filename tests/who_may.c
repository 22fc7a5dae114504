#include "who_may.h"

#define URL "url=http%3A%2F%2F127.0.0.1%2Fa"

/* clang-format off */
#define USERS         {401, 200, 200, 200, 200}
#define THEIR_TASK    {401, 200, 404, 200, 200}
#define OPERATORS     {401, 403, 403, 200, 200}

const struct who_may who_may[] = {
    {"POST",   "/add",      NULL,        URL,     NULL, NULL, {401, 200, 200, 200, 403}},
    {"GET",    "/status",   NULL,        "task_id=*", NULL, NULL, THEIR_TASK},
    {"HEAD",   "/status",   NULL,        "task_id=*", NULL, NULL, THEIR_TASK},
    {"GET",    "/clear",    NULL,        NULL,    NULL, NULL, USERS},
    {"POST",   "/clear",    NULL,        NULL,    NULL, NULL, USERS},
    {"GET",    "/clear",    "scope=own", NULL,    NULL, NULL, USERS},
    {"POST",   "/clear",    "scope=own", NULL,    NULL, NULL, USERS},
    {"GET",    "/clear",    "scope=all", NULL,    NULL, NULL, OPERATORS},
    {"POST",   "/clear",    "scope=all", NULL,    NULL, NULL, OPERATORS},
    {"GET",    "/pause",    NULL,        NULL,    NULL, NULL, USERS},
    {"POST",   "/pause",    NULL,        NULL,    NULL, NULL, USERS},
    {"GET",    "/pause",    "scope=own", NULL,    NULL, NULL, USERS},
    {"POST",   "/pause",    "scope=own", NULL,    NULL, NULL, USERS},
    {"GET",    "/pause",    "scope=all", NULL,    NULL, NULL, OPERATORS},
    {"POST",   "/pause",    "scope=all", NULL,    NULL, NULL, OPERATORS},
    {"GET",    "/resume",   NULL,        NULL,    NULL, NULL, USERS},
    {"POST",   "/resume",   NULL,        NULL,    NULL, NULL, USERS},
    {"GET",    "/resume",   "scope=own", NULL,    NULL, NULL, USERS},
    {"POST",   "/resume",   "scope=own", NULL,    NULL, NULL, USERS},
    {"GET",    "/resume",   "scope=all", NULL,    NULL, NULL, OPERATORS},
    {"POST",   "/resume",   "scope=all", NULL,    NULL, NULL, OPERATORS},
    {"GET",    "/stats",    NULL,        NULL,    NULL, NULL, USERS},
    {"HEAD",   "/stats",    NULL,        NULL,    NULL, NULL, USERS},
    {"POST",   "/maxtasks", NULL,        "max_tasks_number=3", NULL, NULL, OPERATORS},

    {"POST",   "/v1/tasks", NULL,        NULL, "{\"url\": \"http://127.0.0.1/a\"}", NULL,
     {401, 201, 201, 201, 403}},
    {"GET",    "/v1/tasks", NULL,        NULL,    NULL, NULL, USERS},
    {"HEAD",   "/v1/tasks", NULL,        NULL,    NULL, NULL, USERS},
    {"GET",    "/v1/tasks", "scope=own", NULL,    NULL, NULL, USERS},
    {"HEAD",   "/v1/tasks", "scope=own", NULL,    NULL, NULL, USERS},
    {"GET",    "/v1/tasks", "scope=all", NULL,    NULL, NULL, OPERATORS},
    {"HEAD",   "/v1/tasks", "scope=all", NULL,    NULL, NULL, OPERATORS},
    {"GET",    "/v1/tasks/*",         NULL, NULL, NULL, NULL,     THEIR_TASK},
    {"HEAD",   "/v1/tasks/*",         NULL, NULL, NULL, NULL,     THEIR_TASK},
    {"PATCH",  "/v1/tasks/*",         NULL, NULL, "{\"label\": \"x\"}", NULL, THEIR_TASK},
    {"DELETE", "/v1/tasks/*",         NULL, NULL, NULL, "cancel", {401, 204, 404, 204, 204}},
    {"POST",   "/v1/tasks/*/hold",    NULL, NULL, NULL, NULL,     THEIR_TASK},
    {"POST",   "/v1/tasks/*/release", NULL, NULL, NULL, "hold",   THEIR_TASK},
    {"POST",   "/v1/tasks/*/cancel",  NULL, NULL, NULL, NULL,     THEIR_TASK},
    {"POST",   "/v1/tasks/*/retry",   NULL, NULL, NULL, "cancel", THEIR_TASK},

    {"GET",    "/v1/events", NULL,        NULL, NULL, NULL, USERS},
    {"HEAD",   "/v1/events", NULL,        NULL, NULL, NULL, USERS},
    {"GET",    "/v1/events", "scope=own", NULL, NULL, NULL, USERS},
    {"HEAD",   "/v1/events", "scope=own", NULL, NULL, NULL, USERS},
    {"GET",    "/v1/events", "scope=all", NULL, NULL, NULL, OPERATORS},
    {"HEAD",   "/v1/events", "scope=all", NULL, NULL, NULL, OPERATORS},

    {"GET",    "/healthz",   NULL,        NULL, NULL, NULL, {200, 200, 200, 200, 200}},
    {"HEAD",   "/healthz",   NULL,        NULL, NULL, NULL, {200, 200, 200, 200, 200}},
    {"GET",    "/metrics",   NULL,        NULL, NULL, NULL, OPERATORS},
    {"HEAD",   "/metrics",   NULL,        NULL, NULL, NULL, OPERATORS},
    {"POST",   "/v1/tasks/*/first",   NULL, NULL, NULL, NULL,     THEIR_TASK},

    {"POST",   "/v1/tasks/hold",    NULL, NULL, "{\"q\": \"no such\"}", NULL, USERS},
    {"POST",   "/v1/tasks/release", NULL, NULL, "{\"q\": \"no such\"}", NULL, USERS},
    {"POST",   "/v1/tasks/cancel",  NULL, NULL, "{\"q\": \"no such\"}", NULL, USERS},
    {"POST",   "/v1/tasks/retry",   NULL, NULL, "{\"q\": \"no such\"}", NULL, USERS},
    {"POST",   "/v1/tasks/forget",  NULL, NULL, "{\"q\": \"no such\"}", NULL, USERS},
    {"POST",   "/v1/clear",         NULL, NULL, NULL, NULL, USERS},
    {"POST",   "/v1/pause",         NULL, NULL, NULL, NULL, USERS},
    {"POST",   "/v1/resume",        NULL, NULL, NULL, NULL, USERS},
    {"POST",   "/v1/clear",  "scope=own", NULL, NULL, NULL, USERS},
    {"POST",   "/v1/pause",  "scope=own", NULL, NULL, NULL, USERS},
    {"POST",   "/v1/resume", "scope=own", NULL, NULL, NULL, USERS},
    {"POST",   "/v1/clear",  "scope=all", NULL, NULL, NULL, OPERATORS},
    {"POST",   "/v1/pause",  "scope=all", NULL, NULL, NULL, OPERATORS},
    {"POST",   "/v1/resume", "scope=all", NULL, NULL, NULL, OPERATORS},
    {"GET",    "/v1/settings",      NULL, NULL, NULL, NULL, USERS},
    {"HEAD",   "/v1/settings",      NULL, NULL, NULL, NULL, USERS},
    {"PATCH",  "/v1/settings",      NULL, NULL, "{\"max_tasks_num\": 3}", NULL, OPERATORS},
    {"GET",    "/v1/stats",         NULL, NULL, NULL, NULL, USERS},
    {"HEAD",   "/v1/stats",         NULL, NULL, NULL, NULL, USERS},
};
/* clang-format on */

const size_t who_may_count = sizeof who_may / sizeof *who_may;
