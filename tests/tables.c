/*
 * What the code says in its tables, one line each, for tests/test_docs.sh: `tables routes` prints
 * "POST /add", `tables keys` prints a setting as autodl.conf(5) heads its paragraph.
 */
#include <config.h>
#include <stdio.h>
#include <string.h>

#include "core/settings.h"
#include "http/routes.h"

/* "*" stands for a task's id. */
static void print_route(const struct http_route *route)
{
    static const struct {
        enum http_method method;
        const char *name;
    } methods[] = {
        {HTTP_GET,    "GET"   },
        {HTTP_POST,   "POST"  },
        {HTTP_DELETE, "DELETE"},
        {HTTP_PATCH,  "PATCH" },
    };
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        if (!(route->methods & methods[i].method))
            continue;
        printf("%s ", methods[i].name);
        for (const char *c = route->path; *c; c++)
            printf(*c == '*' ? "ID" : "%c", *c);
        printf("\n");
    }
}

static void print_routes(void)
{
    for (const struct http_route *const *table = routes_tables; *table; table++)
        for (const struct http_route *route = *table; route->path; route++)
            print_route(route);
}

static void print_keys(void)
{
    size_t count;
    const struct settings_key *keys = settings_keys(&count);
    for (size_t i = 0; i < count; i++) {
        const char *by_default = keys[i].by_default;
        const char *version = strstr(by_default, PACKAGE_VERSION);
        printf("%s", keys[i].name);
        if (by_default[0] != '(')
            printf(" = %.*s%s", version ? (int)(version - by_default) : (int)strlen(by_default),
                   by_default, version ? "VERSION" : "");
        printf("%s\n", keys[i].on_reload ? "" : " *");
    }
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "routes") == 0)
        print_routes();
    else if (argc == 2 && strcmp(argv[1], "keys") == 0)
        print_keys();
    else
        return 2;
    return 0;
}
