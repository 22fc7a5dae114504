/*
 * Who may do what: the table of who_may.h against the routes that there are, the manual page, the
 * function that decides, and the answers of the server above a manager that only notes what it is
 * asked (for whose tasks above all).
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/buf.h"
#include "common/cleanup.h"
#include "fake_manager.h"
#include "http/routes.h"
#include "http_bench.h"
#include "who_may.h"

#define EVERYBODY ((uid_t)-1)

/* as start_system has them */
enum { DAEMON = 1, BIN, SYS };

/* --- the table is whole --- */

static const struct {
    enum http_method method;
    const char *name;
} methods[] = {
    {HTTP_GET,    "GET"   },
    {HTTP_HEAD,   "HEAD"  },
    {HTTP_POST,   "POST"  },
    {HTTP_DELETE, "DELETE"},
    {HTTP_PATCH,  "PATCH" },
};

static bool has_row(const char *method, const char *path)
{
    for (size_t i = 0; i < who_may_count; i++)
        if (strcmp(who_may[i].method, method) == 0 && strcmp(who_may[i].path, path) == 0)
            return true;
    return false;
}

/* How many of the names are methods of the route; each must have a row. */
static unsigned count_methods(const struct http_route *route)
{
    unsigned known = 0;
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        if (!(route->methods & methods[i].method))
            continue;
        known |= methods[i].method;
        ck_assert_msg(has_row(methods[i].name, route->path),
                      "%s %s is a route, but who may call it is not written in who_may.c",
                      methods[i].name, route->path);
    }
    ck_assert_msg(known == route->methods, "%s takes a method that this test does not know",
                  route->path);
    return known;
}

static bool has_route(const struct who_may *row)
{
    for (const struct http_route *const *table = routes_tables; *table; table++)
        for (const struct http_route *route = *table; route->path; route++)
            for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
                if (strcmp(route->path, row->path) == 0 && (route->methods & methods[i].method) &&
                    strcmp(methods[i].name, row->method) == 0)
                    return true;
    return false;
}

START_TEST(every_route_is_in_the_table)
{
    unsigned routes = 0;
    for (const struct http_route *const *table = routes_tables; *table; table++)
        for (const struct http_route *route = *table; route->path; route++, routes++)
            count_methods(route);
    ck_assert_uint_gt(routes, 10);
    for (size_t i = 0; i < who_may_count; i++)
        ck_assert_msg(has_route(&who_may[i]), "%s %s is in who_may.c, but no route",
                      who_may[i].method, who_may[i].path);
}
END_TEST

/* --- the manual page --- */

static bool holds_word(const char *text, const char *word)
{
    size_t len = strlen(word);
    for (const char *at = text; (at = strstr(at, word)); at += len)
        if ((at == text || at[-1] == ' ') && (at[len] == '\0' || strchr(", ", at[len])))
            return true;
    return false;
}

/* The path as the page has it: with ID for "*". */
static const char *page_path(const struct who_may *row)
{
    static char path[200];
    const char *star = strchr(row->path, '*');
    snprintf(path, sizeof path, "%.*s%s%s", (int)(star ? star - row->path : 100), row->path,
             star ? "ID" : "", star ? star + 1 : "");
    return path;
}

static bool is_about(const char *request, const struct who_may *row)
{
    bool query = row->query ? holds_word(request, row->query) : !strstr(request, "scope=");
    return query && holds_word(request, row->method) && holds_word(request, page_path(row));
}

/* "REQUEST Ta cell Ta cell ...": what a row's statuses are in words. */
static void expect_cells(const char *cells, const struct who_may *row)
{
    char wanted[100] = "";
    size_t len = 0;
    for (int who = 0; who < PEOPLE; who++) {
        bool yes = row->status[who] < 300;
        len += (size_t)snprintf(wanted + len, sizeof wanted - len, yes ? " Ta yes" : " Ta %d",
                                row->status[who]);
    }
    ck_assert_msg(strcmp(cells, wanted) == 0, "%s %s: autodl-service(8) says%s, not%s", row->method,
                  row->path, cells, wanted);
}

/* How many methods and paths a line of the page stands for. */
static unsigned combinations(const char *request)
{
    unsigned verbs = 0, paths = 0;
    for (const char *c = request; *c; c++) {
        bool begins = c == request || c[-1] == ' ';
        verbs += begins && isupper((unsigned char)*c);
        paths += begins && *c == '/';
    }
    return verbs * paths;
}

START_TEST(the_manual_page_says_the_same)
{
    const char *source = getenv("AUTODL_SOURCE");
    char name[1024], line[1024];
    bool inside = false;
    unsigned found[256] = {0}, claimed = 0;
    snprintf(name, sizeof name, "%s/man/autodl-service.8", source ? source : ".");
    FILE *page = fopen(name, "re");
    ck_assert_msg(page != NULL, "%s: %s", name, strerror(errno));
    ck_assert_uint_le(who_may_count, 256);
    while (fgets(line, sizeof line, page)) {
        line[strcspn(line, "\n")] = '\0';
        if (strncmp(line, ".Sh ", 4) == 0)
            inside = strcmp(line, ".Sh WHO MAY DO WHAT") == 0;
        char *cells = strstr(line, " Ta ");
        if (!inside || !cells || strncmp(line, ".It Sy", 6) == 0)
            continue;
        char request[1024];
        snprintf(request, sizeof request, "%.*s", (int)(cells - line - 4), line + 4);
        claimed += combinations(request);
        for (size_t i = 0; i < who_may_count; i++) {
            if (!is_about(request, &who_may[i]))
                continue;
            expect_cells(cells, &who_may[i]);
            found[i]++;
        }
    }
    fclose(page);
    for (size_t i = 0; i < who_may_count; i++)
        ck_assert_msg(found[i] == 1, "%s %s %s is %u times in WHO MAY DO WHAT of autodl-service(8)",
                      who_may[i].method, who_may[i].path, who_may[i].query ? who_may[i].query : "",
                      found[i]);
    ck_assert_uint_eq(claimed, who_may_count); /* and nothing else is */
}
END_TEST

/* --- the function that decides --- */

static const struct caller user = {.uid = 1000, .user = "alice"};
static const struct caller operator= {.uid = 1001, .user = "dora", .is_operator = true};
static const struct caller root = {.uid = 0, .user = "root", .is_root = true, .is_operator = true};

#define NO ((uid_t)-2) /* in place of a scope */

static const struct {
    enum auth_action action;
    const char *scope;
    uid_t user, operator, root;
} decisions[] = {
    {AUTH_ADD,      NULL,  1000,      1001,      NO       },
    {AUTH_ADD,      "all", 1000,      1001,      NO       }, /* it has no such parameter */
    {AUTH_STATUS,   NULL,  1000,      EVERYBODY, EVERYBODY},
    {AUTH_HOLD,     NULL,  1000,      EVERYBODY, EVERYBODY},
    {AUTH_RELEASE,  NULL,  1000,      EVERYBODY, EVERYBODY},
    {AUTH_CANCEL,   NULL,  1000,      EVERYBODY, EVERYBODY},
    {AUTH_RETRY,    NULL,  1000,      EVERYBODY, EVERYBODY},
    {AUTH_FORGET,   NULL,  1000,      EVERYBODY, EVERYBODY},
    {AUTH_CHANGE,   NULL,  1000,      EVERYBODY, EVERYBODY},
    {AUTH_FIRST,    NULL,  1000,      EVERYBODY, EVERYBODY},
    {AUTH_MANY,     NULL,  1000,      1001,      EVERYBODY},
    {AUTH_MANY,     "own", 1000,      1001,      0        },
    {AUTH_MANY,     "all", NO,        EVERYBODY, EVERYBODY},
    {AUTH_SETTINGS, NULL,  EVERYBODY, EVERYBODY, EVERYBODY},
    {AUTH_SET,      NULL,  NO,        EVERYBODY, EVERYBODY},
    {AUTH_LIST,     NULL,  1000,      1001,      EVERYBODY},
    {AUTH_LIST,     "own", 1000,      1001,      0        },
    {AUTH_LIST,     "all", NO,        EVERYBODY, EVERYBODY},
    {AUTH_STATS,    NULL,  EVERYBODY, EVERYBODY, EVERYBODY},
    {AUTH_CLEAR,    NULL,  1000,      1001,      EVERYBODY},
    {AUTH_CLEAR,    "own", 1000,      1001,      0        },
    {AUTH_CLEAR,    "all", NO,        EVERYBODY, EVERYBODY},
    {AUTH_PAUSE,    NULL,  1000,      1001,      EVERYBODY},
    {AUTH_PAUSE,    "own", 1000,      1001,      0        },
    {AUTH_PAUSE,    "all", NO,        EVERYBODY, EVERYBODY},
    {AUTH_RESUME,   NULL,  1000,      1001,      EVERYBODY},
    {AUTH_RESUME,   "own", 1000,      1001,      0        },
    {AUTH_RESUME,   "all", NO,        EVERYBODY, EVERYBODY},
    {AUTH_MAXTASKS, NULL,  NO,        EVERYBODY, EVERYBODY},
    {AUTH_EVENTS,   NULL,  1000,      1001,      EVERYBODY},
    {AUTH_EVENTS,   "own", 1000,      1001,      0        },
    {AUTH_EVENTS,   "all", NO,        EVERYBODY, EVERYBODY},
    {AUTH_METRICS,  NULL,  NO,        EVERYBODY, EVERYBODY},
};
#define DECISIONS (sizeof decisions / sizeof *decisions)

static void expect_decision(struct auth *who_decides, size_t i, const struct caller *caller,
                            uid_t wanted)
{
    char message[256] = "";
    uid_t scope = 4711;
    int result = auth_authorize(who_decides, caller, decisions[i].action, decisions[i].scope,
                                &scope, message);
    ck_assert_msg(result == (wanted == NO ? -EACCES : 0), "decision %zu for %s: %d", i,
                  caller->user, result);
    ck_assert_msg(scope == (wanted == NO ? 4711 : wanted), "decision %zu for %s: scope %u", i,
                  caller->user, scope);
    ck_assert(wanted != NO || strlen(message) > 20);
}

START_TEST(decisions_of_system_mode)
{
    struct settings own;
    struct auth *decides;
    char message[256];
    uid_t scope = 4711;
    ck_assert_int_eq(settings_init(&own, "/dev/null"), 0);
    ck_assert_int_eq(auth_create(&own, false, NULL, &decides), 0);
    unsigned seen_actions = 0;
    for (size_t i = 0; i < DECISIONS; i++) {
        seen_actions |= 1U << decisions[i].action;
        expect_decision(decides, i, &user, decisions[i].user);
        expect_decision(decides, i, &operator, decisions[i].operator);
        expect_decision(decides, i, &root, decisions[i].root);
    }
    ck_assert_uint_eq(seen_actions, (1U << AUTH_ACTIONS) - 1); /* none is left out */
    static const char *const no_scopes[] = {"", "ALL", "all ", "own,all", "1000"};
    for (size_t i = 0; i < sizeof no_scopes / sizeof *no_scopes; i++)
        ck_assert_int_eq(auth_authorize(decides, &root, AUTH_CLEAR, no_scopes[i], &scope, message),
                         -EINVAL);
    ck_assert_uint_eq(scope, 4711);
    auth_destroy(decides);
    settings_release(&own);
}
END_TEST

/* --- the answers --- */

static char *line_of(const struct who_may *row)
{
    struct buf line;
    buf_init(&line, 4096);
    const char *star = strchr(row->path, '*');
    buf_printf(&line, "%s %.*s%s%s", row->method, (int)(star ? star - row->path : 1000), row->path,
               star ? FAKE_ID : "", star ? star + 1 : "");
    if (row->query)
        buf_printf(&line, "?%s", row->query);
    if (row->needed) {
        star = strchr(row->needed, '*');
        buf_printf(&line, "%c%.*s%s", row->query ? '&' : '?',
                   (int)(star ? star - row->needed : 1000), row->needed, star ? FAKE_ID : "");
    }
    return buf_take(&line);
}

static const char *extra_of(const struct who_may *row)
{
    return row->json ? "Content-Type: application/json\r\n" : "";
}

static int status_of(const char *answer)
{
    int status = 0;
    ck_assert_msg(sscanf(answer, "HTTP/1.1 %d", &status) == 1, "not HTTP: %s", answer);
    return status;
}

/* The manager is asked nothing, or at its own time. */
static bool is_apart(const struct who_may *row)
{
    return strcmp(row->path, "/v1/events") == 0 || strcmp(row->path, "/healthz") == 0;
}

/* What is answered to somebody who is nobody here. */
static int for_nobody(const struct who_may *row, int status)
{
    return row->status[NOBODY] < 300 ? row->status[NOBODY] : status;
}

/* The fake manager finds every task: instead of 404 it is asked among the caller's own tasks. */
static void expect_row(const struct who_may *row, const char *answer, int wanted, uid_t scope,
                       unsigned calls_before, const char *who)
{
    bool allowed = wanted < 300 || wanted == 404;
    bool has_scope = strcmp(row->path, "/stats") != 0 && strcmp(row->path, "/maxtasks") != 0 &&
                     strcmp(row->path, "/metrics") != 0 && !strstr(row->path, "/v1/s");
    /* what was set is shown */
    bool twice = allowed && strcmp(row->method, "PATCH") == 0 && !strchr(row->path, '*');
    int status = status_of(answer);
    ck_assert_msg(wanted == 404 ? status < 300 : status == wanted, "%s %s by %s: %d, not %d",
                  row->method, row->path, who, status, wanted);
    if (is_apart(row))
        return;
    ck_assert_msg(calls() - calls_before == allowed + (unsigned)twice, "%s %s by %s: the manager was asked %u times",
                  row->method, row->path, who, calls() - calls_before);
    if (allowed && has_scope)
        ck_assert_msg(seen()->scope == scope, "%s %s by %s: scope %u, not %u", row->method,
                      row->path, who, seen()->scope, scope);
}

static bool is_add(const struct who_may *row)
{
    return strcmp(row->method, "POST") == 0 &&
           (strcmp(row->path, "/add") == 0 || strcmp(row->path, "/v1/tasks") == 0);
}

static bool is_about_a_task(const struct who_may *row)
{
    return row->status[OTHER] == 404;
}

static uid_t scope_for(const struct who_may *row, uid_t uid, enum who who)
{
    bool all = row->query && strcmp(row->query, "scope=all") == 0;
    bool own = row->query && strcmp(row->query, "scope=own") == 0;
    if (is_add(row) || own || who < OPERATOR)
        return uid;
    return all || is_about_a_task(row) || who == ROOT ? EVERYBODY : uid;
}

START_TEST(several_users)
{
    static const uid_t uids[PEOPLE] = {DAEMON, DAEMON, SYS, BIN, 0};
    static const char *const names[PEOPLE] = {"nobody", "the owner", "another", "an operator",
                                              "root"};
    for (size_t i = 0; i < who_may_count; i++) {
        const struct who_may *row = &who_may[i];
        _cleanup_free_ char *line = line_of(row);
        for (int who = NOBODY; who < PEOPLE; who++) {
            unsigned before = calls();
            _cleanup_free_ char *answer = ask_with_as(uids[who], who == NOBODY ? TCP : UNIX, line,
                                                      NULL, extra_of(row), row->json);
            expect_row(row, answer, row->status[who], scope_for(row, uids[who], (enum who)who),
                       before, names[who]);
        }
        unsigned before = calls();
        _cleanup_free_ char *stranger =
            ask_with_as(STRANGER, UNIX, line, NULL, extra_of(row), row->json);
        expect_row(row, stranger, for_nobody(row, 403), 0, before, "a uid without an account");
        _cleanup_free_ char *liar =
            ask_with_as(SYS, UNIX, line, "daemon", extra_of(row), row->json);
        expect_row(row, liar, for_nobody(row, 403), 0, before, "one who says to be another");
        _cleanup_free_ char *far = ask_with_as(SYS, TCP, line, "daemon", extra_of(row), row->json);
        expect_row(row, far, for_nobody(row, 401), 0, before, "one who says so on TCP");
    }
}
END_TEST

START_TEST(one_user)
{
    for (size_t i = 0; i < who_may_count; i++) {
        const struct who_may *row = &who_may[i];
        _cleanup_free_ char *line = line_of(row);
        bool own = is_add(row) || (row->query && strcmp(row->query, "scope=own") == 0);
        unsigned before = calls();
        _cleanup_free_ char *nobody = ask(TCP, line, NULL, extra_of(row), row->json);
        expect_row(row, nobody, for_nobody(row, 401), 0, before, "nobody");
        _cleanup_free_ char *him = ask(UNIX, line, NULL, extra_of(row), row->json);
        expect_row(row, him, row->status[OPERATOR], own ? getuid() : EVERYBODY, before,
                   "the one user");
    }
}
END_TEST

/* --- --- */

static Suite *suite(void)
{
    const TTest *const own[] = {one_user, NULL};
    const TTest *const system[] = {several_users, NULL};
    Suite *all = suite_create("authorisation");
    TCase *cases = tcase_create("table");
    tcase_add_test(cases, every_route_is_in_the_table);
    tcase_add_test(cases, the_manual_page_says_the_same);
    tcase_add_test(cases, decisions_of_system_mode);
    suite_add_tcase(all, cases);
    add_tests(all, "own", start_own, own);
    if (geteuid() == 0)
        add_tests(all, "system", start_system, system);
    else
        printf("# several users: skipped, since that needs root\n");
    return all;
}

int main(void)
{
    return tap_main(suite());
}
