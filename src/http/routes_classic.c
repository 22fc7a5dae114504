#include "http/routes_classic.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/api.h"
#include "common/buf.h"
#include "common/cleanup.h"
#include "common/json.h"
#include "common/units.h"
#include "manager.h"

#define BODY_MAX  (1 << 20) /* of an answer; the longest URL and path, escaped twice, fit */
#define SHOWN_MAX 100       /* bytes of somebody's text in a message */

/* --- parameters --- */

static void refuse(struct http_request *request, const char *message)
{
    http_answer_error(request, 400, "bad_request", message);
}

/* False: the request is answered, the text being unfit. `ret_text` NULL: absent. */
static bool read_text(struct http_request *request, const char *name, const char **ret_text)
{
    char message[80];
    size_t len;
    const char *text = http_request_param(request, name, &len);
    if (text && memchr(text, '\0', len)) {
        snprintf(message, sizeof message, "%s holds a NUL character", name);
        refuse(request, message);
        return false;
    }
    if (text && !json_is_utf8(text, len)) {
        snprintf(message, sizeof message, "%s is not valid UTF-8", name);
        refuse(request, message);
        return false;
    }
    *ret_text = text;
    return true;
}

/* The same for a number from 1 to `max`; 0: absent. */
static bool read_number(struct http_request *request, const char *name, unsigned max,
                        unsigned *ret_number)
{
    const char *text;
    uint64_t number = 0;
    if (!read_text(request, name, &text))
        return false;
    if (text && units_parse_uint(text, 1, max, &number) < 0) {
        char message[80];
        snprintf(message, sizeof message, "%s must be a whole number from 1 to %u", name, max);
        refuse(request, message);
        return false;
    }
    *ret_number = (unsigned)number;
    return true;
}

/* How much of a valid text is shown in a message. */
static int shown(const char *text)
{
    size_t len = strlen(text);
    if (len > SHOWN_MAX)
        for (len = SHOWN_MAX; len && ((unsigned char)text[len] & 0xc0) == 0x80; len--)
            ;
    return (int)len;
}

static bool has_control(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            return true;
    return false;
}

/* The host in a URL, after its "://". */
static size_t host_length(const char *rest)
{
    size_t authority = strcspn(rest, "/?#");
    const char *start = rest, *end = rest + authority;
    for (const char *c = rest; c < end; c++)
        if (*c == '@')
            start = c + 1;
    return strcspn(start, ":") < (size_t)(end - start) ? strcspn(start, ":")
                                                       : (size_t)(end - start);
}

static bool is_taken_scheme(const char *url, size_t len)
{
    static const char *const schemes[] = {"http", "https", "ftp", "ftps", "sftp"};
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++)
        if (strlen(schemes[i]) == len && strncasecmp(url, schemes[i], len) == 0)
            return true;
    return false;
}

/* False: `message` says what is wrong with the URL. */
static bool check_url(const char *url, char message[static 512])
{
    const char *separator = strstr(url, "://");
    size_t scheme = strcspn(url, ":/?#");
    *message = '\0';
    if (!*url)
        snprintf(message, 512, "url is empty");
    else if (strlen(url) > API_URL_MAX)
        snprintf(message, 512, "url is longer than %d bytes", API_URL_MAX);
    else if (has_control(url))
        snprintf(message, 512, "url holds a control character");
    else if (strncasecmp(url, "magnet:", strlen("magnet:")) == 0)
        snprintf(message, 512, "autodl does not speak BitTorrent");
    else if (is_taken_scheme(url, scheme) && separator == url + scheme) {
        if (!host_length(separator + 3))
            snprintf(message, 512, "%.*s has no host", shown(url), url);
    } else if (url[scheme] != ':' && !separator && *url != '/')
        snprintf(message, 512, "no scheme; did you mean https://%.*s ?", shown(url), url);
    else
        snprintf(message, 512,
                 "%.*s is not a URL this service can fetch; it takes http, https, ftp, ftps and "
                 "sftp",
                 shown(url), url);
    return !*message;
}

/* False: `message` says what is wrong with the path. */
static bool check_path(const char *path, char message[static 512])
{
    *message = '\0';
    if (!*path)
        snprintf(message, 512, "path is empty; leave it out for your default directory");
    else if (strlen(path) > API_PATH_MAX)
        snprintf(message, 512, "path is longer than %d bytes", API_PATH_MAX);
    else if (strchr(path, '\n'))
        snprintf(message, 512, "path holds a newline");
    else if (*path == '~' && path[1] && path[1] != '/')
        snprintf(message, 512, "path %.*s: only your own ~/ is understood; write the directory in full",
                 shown(path), path);
    else if (*path != '/' && *path != '~')
        snprintf(message, 512,
                 "path is relative; it is a directory on the service's machine, so begin it with / "
                 "or ~/");
    return !*message;
}

/* --- answers --- */

static void add_pair(struct buf *buf, const char *before, const char *key, const char *value)
{
    buf_printf(buf, "%s\"%s\": ", before, key);
    json_add_string(buf, value);
}

/* The task in the shape of old: a JSON document inside a string. */
static char *task_body(const char *url, const char *dest, double duration, const char *status,
                       const char *id)
{
    _cleanup_(buf_release) struct buf inner;
    _cleanup_(buf_release) struct buf outer;
    buf_init(&inner, BODY_MAX);
    buf_init(&outer, BODY_MAX);
    add_pair(&inner, "{", "url", url);
    add_pair(&inner, ", ", "dest", dest);
    buf_add_string(&inner, ", \"duration\": ");
    json_add_float(&inner, duration);
    add_pair(&inner, ", ", "status", status);
    add_pair(&inner, ", ", "id", id);
    buf_add_string(&inner, "}");
    if (inner.error)
        return NULL;
    add_pair(&outer, "{", "task", inner.data);
    buf_add_string(&outer, "}");
    return buf_take(&outer);
}

static char *message_body(const char *message)
{
    _cleanup_(buf_release) struct buf body;
    buf_init(&body, BODY_MAX);
    add_pair(&body, "{", "message", message);
    buf_add_string(&body, "}");
    return buf_take(&body);
}

/* What a manager's error is to the one who asked. */
static void answer_failure(struct http_request *request, const struct manager_reply *reply)
{
    const char *message = reply->message ? reply->message : strerror(-reply->error);
    switch (-reply->error) {
    case EACCES:
    case EPERM:
    case EROFS:
    case ENOTDIR:
    case ENOENT:
    case ELOOP:
    case ENAMETOOLONG:
    case EEXIST:
    case EISDIR:
    case EINVAL:
    case EILSEQ:
        http_answer_error(request, 403, "forbidden", message);
        break;
    default:
        http_answer_error(request, 503, "unavailable", message);
    }
}

/* False: the request is answered. */
static bool authorize(struct http_request *request, struct routes_classic *routes,
                      enum auth_action action, uid_t *ret_scope)
{
    char message[256];
    const char *scope;
    if (!read_text(request, "scope", &scope))
        return false;
    int error = auth_authorize(routes->auth, http_request_caller(request), action, scope, ret_scope,
                               message);
    if (error == -EINVAL)
        refuse(request, message);
    else if (error)
        http_answer_error(request, 403, "forbidden", message);
    return !error;
}

/* --- add --- */

static void on_added(void *data, const struct manager_reply *reply)
{
    struct http_request *request = data;
    if (reply->error) {
        answer_failure(request, reply);
        return;
    }
    _cleanup_free_ char *dest = task_dest(reply->task);
    http_answer(
        request, 200,
        dest ? task_body(reply->task->url, dest, 0, task_state_name(TASK_ENQUEUED), reply->task->id)
             : NULL);
}

static void handle_add(struct http_request *request, void *data)
{
    struct routes_classic *routes = data;
    const struct caller *caller = http_request_caller(request);
    struct manager_add add = {.uid = caller->uid, .user = caller->user};
    char message[512];
    uid_t scope;
    if (!authorize(request, routes, AUTH_ADD, &scope) || !read_text(request, "url", &add.url) ||
        !read_text(request, "path", &add.directory))
        return;
    if (!add.url)
        refuse(request, "url is missing");
    else if (!check_url(add.url, message) || (add.directory && !check_path(add.directory, message)))
        refuse(request, message);
    else {
        http_suspend(request);
        manager_add(routes->manager, &add, on_added, request);
    }
}

/* --- status --- */

/* A URL for other eyes than its owner's: no password, no query. The caller frees it. */
static char *public_url(const char *url)
{
    size_t end = strcspn(url, "?#");
    const char *separator = strstr(url, "://");
    size_t start = separator && (size_t)(separator - url) < end ? (size_t)(separator - url) + 3 : 0;
    size_t host = start;
    for (size_t i = start; i < end && url[i] != '/'; i++)
        if (url[i] == '@')
            host = i + 1;
    char *public = malloc(end + 1);
    if (!public)
        return NULL;
    memcpy(public, url, start);
    memcpy(public + start, url + host, end - host);
    public[start + end - host] = '\0';
    return public;
}

static char *status_body(const struct caller *caller, const struct task *task)
{
    _cleanup_free_ char *dest = task_dest(task);
    _cleanup_free_ char *url = caller->uid == task->uid ? strdup(task->url) : public_url(task->url);
    if (!dest || !url)
        return NULL;
    return task_body(url, dest, task_duration(task, units_now_realtime()),
                     task_state_name(task->state), task->id);
}

static void answer_no_task(struct http_request *request)
{
    http_answer(request, 404, message_body("Not Found"));
}

static void on_found(void *data, const struct manager_reply *reply)
{
    struct http_request *request = data;
    if (!reply->error)
        http_answer(request, 200, status_body(http_request_caller(request), reply->task));
    else if (reply->error == -ENOENT)
        answer_no_task(request);
    else if (reply->error == -EMLINK)
        http_answer_error(request, 409, "conflict",
                          reply->message ? reply->message
                                         : "several tasks begin like that; give more of the id");
    else
        answer_failure(request, reply);
}

static bool is_id_prefix(const char *text)
{
    size_t len = strlen(text);
    return len >= API_ID_PREFIX_MIN && len <= API_ID_LENGTH &&
           strspn(text, "0123456789abcdef-") == len;
}

static void handle_status(struct http_request *request, void *data)
{
    struct routes_classic *routes = data;
    const char *id;
    uid_t scope;
    if (!authorize(request, routes, AUTH_STATUS, &scope) || !read_text(request, "task_id", &id))
        return;
    if (!id)
        refuse(request, "task_id is missing");
    else if (!is_id_prefix(id))
        answer_no_task(request);
    else {
        http_suspend(request);
        manager_find(routes->manager, scope, id, on_found, request);
    }
}

/* --- clear, pause, resume --- */

static void answer_done(struct http_request *request, const struct manager_reply *reply,
                        const char *message)
{
    if (reply->error)
        answer_failure(request, reply);
    else
        http_answer(request, 200, message_body(message));
}

static void on_cleared(void *data, const struct manager_reply *reply)
{
    answer_done(data, reply, "Enqueued tasks cleared");
}

static void on_paused(void *data, const struct manager_reply *reply)
{
    answer_done(data, reply, "Pausing Workers");
}

static void on_resumed(void *data, const struct manager_reply *reply)
{
    answer_done(data, reply, "Resuming Workers");
}

static void handle_clear(struct http_request *request, void *data)
{
    struct routes_classic *routes = data;
    uid_t scope;
    if (!authorize(request, routes, AUTH_CLEAR, &scope))
        return;
    http_suspend(request);
    manager_clear(routes->manager, scope, on_cleared, request);
}

static void handle_pause(struct http_request *request, void *data)
{
    struct routes_classic *routes = data;
    unsigned seconds;
    uid_t scope;
    if (!authorize(request, routes, AUTH_PAUSE, &scope) ||
        !read_number(request, "seconds", API_PAUSE_MAX, &seconds))
        return;
    http_suspend(request);
    manager_pause(routes->manager, scope, seconds, on_paused, request);
}

static void handle_resume(struct http_request *request, void *data)
{
    struct routes_classic *routes = data;
    uid_t scope;
    if (!authorize(request, routes, AUTH_RESUME, &scope))
        return;
    http_suspend(request);
    manager_resume(routes->manager, scope, on_resumed, request);
}

/* --- stats, maxtasks --- */

static char *stats_body(const struct stats_snapshot *stats)
{
    _cleanup_(buf_release) struct buf body;
    buf_init(&body, BODY_MAX);
    buf_add_string(&body, "{\"tasks\": {");
    for (int i = 0; i < TASK_STATES; i++)
        buf_printf(&body, "%s\"%s\": %llu", i ? ", " : "", task_state_name((enum task_state)i),
                   (unsigned long long)stats->tasks[i]);
    buf_printf(&body, "}, \"downloader\": {\"responses/total\": %llu",
               (unsigned long long)stats->responses_total);
    for (unsigned i = 0; i < stats->codes; i++)
        buf_printf(&body, ", \"responses/%d\": %llu", stats->by_code[i].code,
                   (unsigned long long)stats->by_code[i].count);
    buf_add_string(&body, ", \"response_ratio_per_10_min\": ");
    json_add_float(&body, (double)stats->responses_total / STATS_WINDOW_SECONDS);
    buf_add_string(&body, "}}");
    return buf_take(&body);
}

static void handle_stats(struct http_request *request, void *data)
{
    struct routes_classic *routes = data;
    struct stats_snapshot stats;
    uid_t scope;
    if (!authorize(request, routes, AUTH_STATS, &scope))
        return;
    manager_stats(routes->manager, &stats);
    http_answer(request, 200, stats_body(&stats));
}

static void handle_maxtasks(struct http_request *request, void *data)
{
    struct routes_classic *routes = data;
    unsigned number;
    uid_t scope;
    char message[80];
    if (!authorize(request, routes, AUTH_MAXTASKS, &scope) ||
        !read_number(request, "max_tasks_number", API_MAX_TASKS_MAX, &number))
        return;
    if (!number) {
        refuse(request, "max_tasks_number is missing");
        return;
    }
    int error = manager_set_max_tasks(routes->manager, number);
    if (error) {
        answer_failure(request, &(struct manager_reply){.error = error});
        return;
    }
    snprintf(message, sizeof message, "max_tasks set to %u", number);
    http_answer(request, 200, message_body(message));
}

const struct http_route routes_classic[] = {
    {"/add",         HTTP_POST, handle_add},
    {"/status",    HTTP_GET | HTTP_HEAD, handle_status},
    {"/clear",      HTTP_GET | HTTP_POST, handle_clear},
    {"/pause", HTTP_GET | HTTP_POST, handle_pause},
    {"/resume",       HTTP_GET | HTTP_POST, handle_resume},
    {"/stats",  HTTP_GET | HTTP_HEAD, handle_stats},
    {"/maxtasks",       HTTP_POST, handle_maxtasks},
    {0 },
};
