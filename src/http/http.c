#include "http/http.h"

#include <assert.h>
#include <config.h>
#include <errno.h>
#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>

#include "common/api.h"
#include "common/buf.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "common/units.h"
#include "http/bodies.h"
#include "http/connections.h"
#include "http/daemon.h"
#include "http/drain.h"
#include "http/form.h"
#include "http/head.h"
#include "http/listen.h"
#include "http/params.h"
#include "http/refusal.h"
#include "http/tls.h"

#define PARAMETERS_MAX  128        /* more may not fit, which the library does not always answer */
#define BODIES_MAX      (64 << 20) /* bytes, of all requests in hand */
#define ANSWERS_MAX     (512 << 20) /* bytes, of all large ones that are going out */
#define ANSWER_SMALL    (16 << 10)  /* bytes: as many of these as there are connections */
#define DROPPED_MAX     (1 << 20)  /* bytes of a body of unknown length, before giving up */
#define LAST_ANSWERS_MS 2000       /* for what is answered to get out, when stopping */
#define RAW_ANSWER_MAX  4096
#define PATH_SHOWN_MAX  200
#define RETRY_AFTER     5 /* seconds, with 503, where nobody knows better */

struct http {
    /* immutable */
    struct http_options options;
    struct listeners listeners;
    struct drain *drain;
    struct connections *connections;
    struct bodies *bodies;
    struct bodies *answers; /* that grew larger than what was asked: lists */
    struct streams *streams;

    /* the thread that creates, reloads and destroys only */
    struct daemons *daemons;
    struct tls_pair pair; /* what public listeners show; all NULL: none */

    /* protected by lock */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool stopping;
    unsigned promised;            /* requests that another thread will go on with */
    unsigned unsent;              /* of those, the ones that are not answered in full yet */
    struct http_request *counted; /* these */
    struct head_names *names;
};

/* What the HTTP library is to do with the request next. */
enum step {
    STEP_HEAD,
    STEP_IDENTIFY,
    STEP_BODY,
    STEP_WAIT,   /* until another thread has answered */
    STEP_ANSWER, /* the answer is there: send it at the next call */
    STEP_DONE,
};

static const struct {
    enum http_method method;
    const char *name;
} methods[] = {
    {HTTP_GET,    "GET"   },
    {HTTP_HEAD,   "HEAD"  },
    {HTTP_POST,   "POST"  },
    {HTTP_DELETE, "DELETE"},
    {HTTP_PATCH, "PATCH"},
};
#define METHODS (sizeof methods / sizeof *methods)

/* Of every answer: nothing keeps it, and no web page makes anything of it. */
static const struct {
    const char *name, *value;
} common_fields[] = {
    {"Server",                       "autodl/" PACKAGE_VERSION                   },
    {"Cache-Control",                "no-store"                                  },
    {"X-Content-Type-Options",       "nosniff"                                   },
    {"Content-Security-Policy",      "default-src 'none'; frame-ancestors 'none'"},
    {"Referrer-Policy",              "no-referrer"                               },
    {"Cross-Origin-Resource-Policy", "same-origin"                               },
};
#define COMMON_FIELDS (sizeof common_fields / sizeof *common_fields)

struct answer {
    int status; /* 0: none yet */
    char *body;
    char *location;   /* or NULL */
    const char *type; /* NULL: JSON */
    bool close;
    unsigned allow;       /* enum http_method, or'ed; for 405 */
    unsigned retry_after; /* seconds; 0: the status's usual */
};

struct http_request {
    struct http *http;
    struct MHD_Connection *connection;
    struct daemon *daemon;  /* library's thread only */
    atomic_uint references; /* the library's, and one for each promise */

    /* library's thread only, until the handler is called; then immutable */
    enum step step;
    char *uri; /* as it came */
    char *path;
    char *segment; /* what the route's "*" stands for, or NULL */
    struct head head;
    enum http_method method;
    const struct http_route *route;
    struct caller caller;
    struct form form;

    /* library's thread only */
    struct buf body;
    size_t taken;   /* bytes of http->bodies */
    size_t dropped; /* bytes of a body that is too large, or that there was no room for */
    bool crowded;   /* there was no room */
    bool promise;   /* the handler made one */
    struct stream *stream; /* the answer, or NULL */

    /* protected by http->lock */
    bool counted;                      /* in http->unsent */
    bool seen;                         /* by abandon_all_locked */
    struct http_request *next, **link; /* of those */

    /* protected by lock */
    pthread_mutex_t lock;
    bool suspended;
    bool woken;
    size_t charged; /* bytes of http->answers */
    bool abandoned; /* answered 503 in place of whoever has it: their answer comes too late */
    struct answer answer;
};

/* --- connections --- */

static bool has_room(void *data)
{
    const struct http *http = data;
    return connections_have_room(http->connections);
}

static enum MHD_Result on_accept(void *data, const struct sockaddr *peer, socklen_t len)
{
    static const struct sockaddr unnamed = {.sa_family = AF_UNSPEC};
    struct http *http = data;
    return connections_admit(http->connections, len ? peer : &unnamed) ? MHD_YES : MHD_NO;
}

/* What the library keeps for us with a connection. */
struct visit {
    struct connection *entry;   /* in http->connections */
    struct http_request *begun; /* and not completed yet, or NULL */
};

static struct visit *visit_of(struct MHD_Connection *connection)
{
    return MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
}

static void enter(const struct http_request *request, enum connection_phase phase, uint64_t bytes)
{
    connections_enter(request->http->connections, visit_of(request->connection)->entry, phase,
                      bytes);
}

/* --- the life of a request --- */

static void request_unref(struct http_request *request)
{
    if (atomic_fetch_sub(&request->references, 1) != 1)
        return;
    bodies_give_back(request->http->bodies, request->caller.uid, request->taken);
    bodies_give_back(request->http->answers, request->caller.uid, request->charged);
    free(request->uri);
    free(request->path);
    free(request->segment);
    form_release(&request->form);
    buf_release(&request->body);
    free(request->answer.body);
    free(request->answer.location);
    pthread_mutex_destroy(&request->lock);
    free(request);
}

/* The library sees that its peer is gone. */
static void hang_up(struct MHD_Connection *connection)
{
    shutdown(MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd,
             SHUT_RDWR);
}

/* NULL: no memory. */
static struct visit *visit_begin(struct http *http, struct MHD_Connection *connection)
{
    int fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
    struct visit *visit = calloc(1, sizeof *visit);
    const struct sockaddr *peer =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS)->client_addr;
    if (visit)
        visit->entry = connections_add(http->connections, fd, peer);
    if (!visit || visit->entry)
        return visit;
    free(visit);
    return NULL;
}

/* The library does not complete each request that it has begun: one whose parameters do not fit
 * into the connection's memory it forgets together with the connection. */
static void visit_end(struct http *http, struct visit *visit)
{
    if (!visit)
        return;
    connections_remove(http->connections, visit->entry);
    if (visit->begun) {
        stream_close(TAKE_PTR(visit->begun->stream));
        request_unref(visit->begun);
    }
    free(visit);
}

static void on_connection(void *data, struct MHD_Connection *connection, void **context,
                          enum MHD_ConnectionNotificationCode how)
{
    if (how == MHD_CONNECTION_NOTIFY_CLOSED) {
        visit_end(data, TAKE_PTR(*context));
        return;
    }
    *context = visit_begin(data, connection);
    if (!*context)
        hang_up(connection);
}

static size_t count_parameters(const char *uri)
{
    size_t count = 1;
    for (; (uri = strchr(uri, '&')); uri++)
        count++;
    return count;
}

/* The library read a request's first line. Its result is the request of all later calls. */
static void *on_uri(void *data, const char *uri, struct MHD_Connection *connection)
{
    struct visit *visit = visit_of(connection);
    struct http_request *request = visit ? calloc(1, sizeof *request) : NULL;
    if (!request)
        return NULL;
    visit->begun = request;
    request->daemon = data;
    request->http = daemon_data(request->daemon);
    request->connection = connection;
    atomic_init(&request->references, 1);
    buf_init(&request->body, API_BODY_MAX);
    pthread_mutex_init(&request->lock, NULL);
    request->uri = strdup(uri ? uri : "");
    enter(request, CONNECTION_HEAD, 0);
    if (uri && count_parameters(uri) > PARAMETERS_MAX)
        hang_up(connection);
    return request;
}

static void on_completed(void *data, struct MHD_Connection *connection, void **context,
                         enum MHD_RequestTerminationCode how)
{
    (void)how;
    struct http *http = data;
    struct http_request *request = TAKE_PTR(*context);
    if (!request)
        return;
    visit_of(connection)->begun = NULL;
    stream_close(TAKE_PTR(request->stream)); /* while there is a connection to wake */
    head_wipe(&request->head); /* if nobody got to it */
    enter(request, CONNECTION_IDLE, 0);
    pthread_mutex_lock(&http->lock);
    if (request->counted) {
        http->unsent--;
        *request->link = request->next;
        if (request->next)
            request->next->link = request->link;
        pthread_cond_broadcast(&http->changed);
    }
    pthread_mutex_unlock(&http->lock);
    request_unref(request);
}

static void count_locked(struct http_request *request)
{
    struct http *http = request->http;
    request->counted = true;
    request->next = http->counted;
    request->link = &http->counted;
    if (request->next)
        request->next->link = &request->next;
    http->counted = request;
    http->unsent++;
}

/* Another thread is going to have the request: it lives until let go. False: the server is
 * stopping. */
static bool hold(struct http_request *request)
{
    struct http *http = request->http;
    atomic_fetch_add(&request->references, 1);
    pthread_mutex_lock(&http->lock);
    bool stopping = http->stopping;
    http->promised++;
    if (!request->counted)
        count_locked(request);
    pthread_mutex_unlock(&http->lock);
    return !stopping;
}

static void let_go(struct http_request *request)
{
    struct http *http = request->http;
    request_unref(request);
    pthread_mutex_lock(&http->lock);
    http->promised--;
    pthread_cond_broadcast(&http->changed);
    pthread_mutex_unlock(&http->lock);
}

/* On the library's thread: true if the request was woken; else the connection is suspended, and the
 * library calls again after wake(). */
static bool woken_or_suspended(struct http_request *request)
{
    pthread_mutex_lock(&request->lock);
    bool woken = request->woken;
    request->woken = false;
    if (!woken) {
        MHD_suspend_connection(request->connection);
        request->suspended = true;
    }
    pthread_mutex_unlock(&request->lock);
    return woken;
}

static void wake_locked(struct http_request *request)
{
    if (request->suspended) {
        request->suspended = false;
        MHD_resume_connection(request->connection);
    } else {
        request->woken = true;
    }
}

/* --- answering --- */

/* Who asks for lists and does not read them could fill the memory. (An answer to a body is paid for
 * by that: it is kept as long.) */
static size_t charge(struct http_request *request, struct answer *answer)
{
    size_t len = answer->status == 200 && answer->body ? strlen(answer->body) : 0;
    if (len <= ANSWER_SMALL)
        return 0;
    if (bodies_take(request->http->answers, request->caller.uid, len))
        return len;
    free(answer->body);
    answer->status = 503;
    answer->type = NULL;
    answer->body = refusal_body("unavailable", "as many answers to you are on their way as the "
                                               "service holds; read those first, or ask for less");
    return 0;
}

static void give_answer(struct http_request *request, const struct answer *given)
{
    bool promise = request->promise;
    struct answer charged = *given, *answer = &charged;
    size_t bytes = charge(request, answer);
    pthread_mutex_lock(&request->lock);
    request->charged += bytes;
    assert(!request->answer.status || request->abandoned);
    if (request->abandoned) {
        free(answer->body);
        free(answer->location);
    } else {
        request->answer = *answer;
        wake_locked(request);
    }
    pthread_mutex_unlock(&request->lock);
    if (promise)
        let_go(request);
}

void http_answer(struct http_request *request, int status, char *body)
{
    struct answer answer = {.status = status, .body = body};
    give_answer(request, &answer);
}

void http_answer_at(struct http_request *request, int status, char *body, const char *location)
{
    struct answer answer = {.status = status, .body = body, .location = strdup(location)};
    give_answer(request, &answer);
}

void http_answer_text(struct http_request *request, int status, char *body, const char *type)
{
    struct answer answer = {.status = status, .body = body, .type = type};
    give_answer(request, &answer);
}

/* It counts as unsent until its end, so that a stop lets that get out. */
struct stream *http_answer_stream(struct http_request *request, const char *type,
                                  const struct stream_source *source)
{
    struct http *http = request->http;
    request->stream = stream_open(http->streams, request->daemon, request->connection, source);
    if (!request->stream)
        return NULL;
    pthread_mutex_lock(&http->lock);
    if (!request->counted)
        count_locked(request);
    pthread_mutex_unlock(&http->lock);
    struct answer answer = {.status = 200, .type = type, .close = true};
    give_answer(request, &answer);
    return request->stream;
}

void http_answer_error(struct http_request *request, int status, const char *code,
                       const char *message)
{
    http_answer(request, status, refusal_body(code, message));
}

void http_suspend(struct http_request *request)
{
    assert(!request->promise);
    request->promise = true;
    (void)hold(request); /* the manager answers, stopping or not */
}

static void add_allow(struct MHD_Response *response, unsigned allow)
{
    char text[64] = "";
    size_t len = 0;
    for (size_t i = 0; i < METHODS; i++)
        if (methods[i].method & allow)
            len += (size_t)snprintf(text + len, sizeof text - len, "%s%s", len ? ", " : "",
                                    methods[i].name);
    MHD_add_response_header(response, "Allow", text);
}

static void add_retry_after(struct MHD_Response *response, unsigned seconds)
{
    char text[16];
    snprintf(text, sizeof text, "%u", seconds ? seconds : RETRY_AFTER);
    MHD_add_response_header(response, "Retry-After", text);
}

static void add_headers(struct MHD_Response *response, const struct answer *answer)
{
    for (size_t i = 0; i < COMMON_FIELDS; i++)
        MHD_add_response_header(response, common_fields[i].name, common_fields[i].value);
    if (answer->status != 204)
        MHD_add_response_header(response, "Content-Type",
                                answer->type ? answer->type : "application/json");
    if (answer->location)
        MHD_add_response_header(response, "Location", answer->location);
    if (answer->status == 401)
        MHD_add_response_header(response, "WWW-Authenticate", "Basic realm=\"" API_REALM "\"");
    if (answer->status == 405)
        add_allow(response, answer->allow);
    if (answer->status == 503 || answer->status == 429)
        add_retry_after(response, answer->retry_after);
    if (answer->close)
        MHD_add_response_header(response, "Connection", "close");
}

static struct MHD_Response *stream_answer(struct http_request *request)
{
    enter(request, CONNECTION_STREAM, 0);
    return stream_response(request->stream);
}

static struct MHD_Response *text_answer(struct http_request *request, struct answer *answer)
{
    static char no_memory[] =
        "{\"code\": \"unavailable\", \"message\": \"the service is out of memory; try again\"}";
    if (!answer->body) {
        answer->status = 503;
        answer->type = NULL;
    }
    char *body = answer->body ? answer->body : no_memory;
    struct MHD_Response *response = MHD_create_response_from_buffer(
        strlen(body), body, answer->body ? MHD_RESPMEM_MUST_FREE : MHD_RESPMEM_PERSISTENT);
    if (response)
        request->answer.body = NULL;
    enter(request, CONNECTION_ANSWER, strlen(body));
    return response;
}

static enum MHD_Result send_answer(struct http_request *request)
{
    struct answer answer = request->answer;
    answer.close |= daemon_is_retired(request->daemon);
    struct MHD_Response *response =
        request->stream ? stream_answer(request) : text_answer(request, &answer);
    if (!response)
        return MHD_NO;
    request->step = STEP_DONE;
    add_headers(response, &answer);
    log_debug("%s answered %d user=%s", request->route ? request->route->path : "-", answer.status,
              *request->caller.user ? request->caller.user : "-");
    enum MHD_Result result =
        MHD_queue_response(request->connection, (unsigned)answer.status, response);
    MHD_destroy_response(response);
    return result;
}

static int socket_of(const struct http_request *request)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    return info ? info->connect_fd : -1;
}

static void set_refusal(struct http_request *request, const struct refusal *refusal)
{
    free(request->answer.body);
    request->answer = (struct answer){.status = refusal->status,
                                      .body = refusal_body(refusal->code, refusal->message),
                                      .close = refusal->close,
                                      .allow = refusal->allow,
                                      .retry_after = refusal->retry_after};
}

/* Answers in place of reading on. Without a body to come this waits for the library's last call,
 * since it closes the connection after answers to earlier ones. */
static enum MHD_Result refuse(struct http_request *request, const struct refusal *refusal)
{
    set_refusal(request, refusal);
    request->step = STEP_ANSWER;
    if (!request->head.has_body)
        return MHD_YES;
    drain_add(request->http->drain, socket_of(request));
    return send_answer(request);
}

/* --- the head --- */

static size_t body_max(const struct http_request *request)
{
    return request->route->body_max ? request->route->body_max : API_BODY_MAX;
}

static int too_large(const struct http_request *request, struct refusal *refusal)
{
    return refusal_say(refusal, 413, "too_large", "the body is larger than %zu bytes",
                       body_max(request));
}

static int too_crowded(struct refusal *refusal)
{
    return refusal_say(refusal, 503, "unavailable",
                       "the service has as many bodies of requests in hand as it can; try again in "
                       "a moment");
}

static enum MHD_Result on_field(void *data, enum MHD_ValueKind kind, const char *name,
                                size_t name_len, const char *value, size_t value_len)
{
    (void)kind;
    head_field(data, name, name_len, value, value_len);
    return MHD_YES;
}

static bool is_stopping(struct http *http)
{
    pthread_mutex_lock(&http->lock);
    bool stopping = http->stopping;
    pthread_mutex_unlock(&http->lock);
    return stopping;
}

static int check_head(struct http_request *request, struct refusal *ret_refusal)
{
    struct http *http = request->http;
    pthread_mutex_lock(&http->lock);
    int error = head_check(&request->head, http->names, socket_of(request), ret_refusal);
    pthread_mutex_unlock(&http->lock);
    return error;
}

static enum http_method method_of(const char *name)
{
    for (size_t i = 0; i < METHODS; i++)
        if (strcmp(methods[i].name, name) == 0)
            return methods[i].method;
    return 0;
}

/* Is it the path that the pattern describes? Gives what stands for its "*", if there is one. */
static bool path_fits(const char *path, const char *pattern, const char **ret_segment,
                      size_t *ret_len)
{
    *ret_segment = NULL;
    for (; *pattern; pattern++) {
        if (*pattern == '*') {
            *ret_segment = path;
            *ret_len = strcspn(path, "/");
            if (!*ret_len)
                return false;
            path += *ret_len;
        } else if (*pattern != *path++) {
            return false;
        }
    }
    return !*path;
}

/* The route of a path and method; of the path at least, if none takes the method. */
static int look_for_route(struct http_request *request, unsigned *ret_allow)
{
    const struct http_route *const *table = request->http->options.tables;
    const char *segment;
    size_t len;
    for (; *table; table++) {
        for (const struct http_route *route = *table; route->path; route++) {
            if (!path_fits(request->path, route->path, &segment, &len))
                continue;
            *ret_allow |= route->methods;
            if (request->route && !(request->method & route->methods))
                continue;
            request->route = route;
            free(request->segment);
            request->segment = segment ? strndup(segment, len) : NULL;
            if (segment && !request->segment)
                return -ENOMEM;
        }
    }
    return 0;
}

static int find_route(struct http_request *request, const char *method, struct refusal *ret_refusal)
{
    unsigned allow = 0;
    request->method = method_of(method);
    if (look_for_route(request, &allow) < 0)
        return refusal_no_memory(ret_refusal);
    if (!request->route)
        return refusal_say(ret_refusal, 404, "not_found",
                           "there is no %.*s; the paths are listed in autodl-api(7)",
                           PATH_SHOWN_MAX, request->path);
    if (request->method & request->route->methods) {
        request->body.max = body_max(request);
        return 0;
    }
    int error =
        refusal_say(ret_refusal, 405, "method_not_allowed", "%.*s does not take the method %.32s",
                    PATH_SHOWN_MAX, request->path, method);
    ret_refusal->allow = allow;
    return error;
}

static int refuse_stopping(struct refusal *ret_refusal)
{
    int error =
        refusal_say(ret_refusal, 503, "unavailable", "the service is stopping; try again later");
    ret_refusal->close = true;
    return error;
}

/* Everything that can be said before knowing who asks. */
static int read_head(struct http_request *request, const char *method, const char *version,
                     struct refusal *ret_refusal)
{
    request->head.version = version;
    request->head.has_tls = daemon_has_tls(request->daemon);
    MHD_get_connection_values_n(request->connection, MHD_HEADER_KIND, on_field, &request->head);
    if (!request->uri)
        return refusal_no_memory(ret_refusal);
    const char *target = head_target(&request->head, request->uri);
    if (is_stopping(request->http))
        return refuse_stopping(ret_refusal);
    int error = check_head(request, ret_refusal);
    if (!error)
        error = params_read_target(target, &request->path, &request->form, ret_refusal);
    return error ? error : find_route(request, method, ret_refusal);
}

/* --- who asks --- */

static void on_looked_up(void *data)
{
    struct http_request *request = data;
    pthread_mutex_lock(&request->lock);
    if (!request->abandoned)
        wake_locked(request);
    pthread_mutex_unlock(&request->lock);
    let_go(request);
}

enum identified {
    IDENTIFIED,
    LOOKING, /* the connection is suspended */
    REFUSED,
};

/* A look-up is not begun any more when the server is stopping: no request may be suspended at its
 * end. One may take several. */
static enum identified ask_auth(struct http_request *request, const char *user,
                                const char *password, struct refusal *ret_refusal)
{
    for (;;) {
        bool goes_on = hold(request);
        enum auth_result result = AUTH_REFUSED;
        if (goes_on)
            result = auth_identify(request->http->options.auth, socket_of(request), user, password,
                                   &request->caller, ret_refusal, on_looked_up, request);
        if (result == AUTH_LOOKING && !woken_or_suspended(request))
            return LOOKING;
        if (result == AUTH_LOOKING)
            continue;
        let_go(request);
        if (!goes_on)
            refuse_stopping(ret_refusal);
        return result == AUTH_OK ? IDENTIFIED : REFUSED;
    }
}

/* The password is here for as long as that takes, and in the library's memory until it is known who
 * asks. */
static enum identified identify(struct http_request *request, struct refusal *ret_refusal)
{
    char user[API_USER_MAX + 1], password[API_PASSWORD_MAX + 1];
    const char *authorization = request->head.authorization;
    enum identified result = REFUSED;
    if (!authorization)
        result = ask_auth(request, NULL, NULL, ret_refusal);
    else if (head_basic(authorization, user, password) == 0)
        result = ask_auth(request, user, password, ret_refusal);
    else
        refusal_say(ret_refusal, 401, "unauthorized",
                    "the Authorization field is not of the Basic scheme, or is too long");
    explicit_bzero(password, sizeof password);
    if (result != LOOKING)
        head_wipe(&request->head);
    return result;
}

/* --- the body --- */

static enum MHD_Result on_part(void *data, enum MHD_ValueKind kind, const char *name,
                               const char *file, const char *type, const char *encoding,
                               const char *value, uint64_t offset, size_t size)
{
    (void)kind;
    (void)file;
    (void)type;
    (void)encoding;
    struct form *form = data;
    if (!name)
        return MHD_YES;
    int error =
        offset ? form_extend(form, value, size) : form_add(form, name, strlen(name), value, size);
    return error ? MHD_NO : MHD_YES;
}

static int parse_multipart(struct http_request *request, struct refusal *ret_refusal)
{
    struct MHD_PostProcessor *processor =
        MHD_create_post_processor(request->connection, 4096, on_part, &request->form);
    enum MHD_Result fed = MHD_NO, ended = MHD_NO;
    if (processor) {
        fed = MHD_post_process(processor, request->body.data, request->body.len);
        ended = MHD_destroy_post_processor(processor);
    }
    if (fed == MHD_YES && ended == MHD_YES)
        return 0;
    return refusal_say(ret_refusal, 400, "bad_request",
                       "the multipart body is broken, or has more than %d parameters",
                       FORM_FIELDS_MAX);
}

/* Once it is known who asks: is the body that is announced one that can be taken? */
static int check_announced(const struct http_request *request, struct refusal *ret_refusal)
{
    const struct head *head = &request->head;
    if (head->length > body_max(request))
        return too_large(request, ret_refusal);
    if (!bodies_have_room(request->http->bodies, request->caller.uid, head->length))
        return too_crowded(ret_refusal);
    if (request->route->body == HTTP_BODY_JSON_NEEDED && !head->lengths && !head->codings)
        return refusal_say(ret_refusal, 411, "length_required",
                           "the request has no body; send a JSON object (curl --json does)");
    return 0;
}

static int wrong_type(const struct http_request *request, struct refusal *ret_refusal)
{
    return refusal_say(ret_refusal, 415, "unsupported_media_type",
                       request->route->body == HTTP_BODY_FORM
                           ? "send parameters in the query, or a body with Content-Type: "
                             "application/x-www-form-urlencoded or multipart/form-data"
                           : "send Content-Type: application/json (curl --json does)");
}

static int parse_body(struct http_request *request, struct refusal *ret_refusal)
{
    const struct buf *body = &request->body;
    if (body->error == -ENOMEM)
        return refusal_no_memory(ret_refusal);
    if (request->crowded)
        return too_crowded(ret_refusal);
    if (request->dropped)
        return too_large(request, ret_refusal);
    if (!body->len)
        return 0;
    enum params_type type = params_body_type(request->head.content_type);
    if ((type == PARAMS_JSON) != (request->route->body != HTTP_BODY_FORM))
        return wrong_type(request, ret_refusal);
    switch (type) {
    case PARAMS_JSON:
        return 0;
    case PARAMS_URLENCODED:
        return params_read_body(body->data, body->len, &request->form, ret_refusal);
    case PARAMS_MULTIPART:
        return parse_multipart(request, ret_refusal);
    case PARAMS_UNKNOWN:
        break;
    }
    return wrong_type(request, ret_refusal);
}

/* A body without end. The library takes no answer in the middle of a body, so this one goes by
 * hand; within TLS nothing can. */
static enum MHD_Result give_up(struct http_request *request)
{
    struct refusal refusal;
    if (request->crowded)
        too_crowded(&refusal);
    else
        too_large(request, &refusal);
    _cleanup_free_ char *body = refusal_body(refusal.code, refusal.message);
    _cleanup_(buf_release) struct buf text;
    buf_init(&text, RAW_ANSWER_MAX);
    buf_printf(&text, "HTTP/1.1 %d %s\r\nConnection: close\r\nContent-Type: application/json\r\n",
               refusal.status, MHD_get_reason_phrase_for((unsigned)refusal.status));
    for (size_t i = 0; i < COMMON_FIELDS; i++)
        buf_printf(&text, "%s: %s\r\n", common_fields[i].name, common_fields[i].value);
    if (refusal.status == 503)
        buf_add_string(&text, "Retry-After: 5\r\n");
    buf_printf(&text, "Content-Length: %zu\r\n\r\n%s", body ? strlen(body) : 0, body ? body : "");
    int fd = socket_of(request);
    drain_add(request->http->drain, fd);
    if (!text.error && !daemon_has_tls(request->daemon))
        (void)!send(fd, text.data, text.len, MSG_NOSIGNAL | MSG_DONTWAIT);
    request->step = STEP_DONE;
    return MHD_NO;
}

static enum MHD_Result take_body(struct http_request *request, const char *data, size_t *len)
{
    size_t bytes = *len;
    *len = 0;
    if (!request->dropped && request->body.len + bytes <= request->body.max) {
        request->crowded = !bodies_take(request->http->bodies, request->caller.uid, bytes);
        request->taken += request->crowded ? 0 : bytes;
        if (!request->crowded && buf_add(&request->body, data, bytes) == 0)
            return MHD_YES;
    }
    request->dropped += bytes;
    return request->dropped > DROPPED_MAX ? give_up(request) : MHD_YES;
}

/* --- the request --- */

static enum MHD_Result call_handler(struct http_request *request)
{
    struct refusal refusal;
    enter(request, CONNECTION_WORK, 0);
    if (parse_body(request, &refusal) < 0) {
        set_refusal(request, &refusal);
        return send_answer(request);
    }
    request->step = STEP_WAIT;
    request->route->handle(request, request->http->options.data);
    assert(request->promise || request->answer.status);
    return woken_or_suspended(request) ? send_answer(request) : MHD_YES;
}

static enum MHD_Result go_on_with_head(struct http_request *request)
{
    struct refusal refusal;
    enum identified identified =
        request->route->is_open ? IDENTIFIED : identify(request, &refusal);
    if (identified == LOOKING)
        return MHD_YES;
    if (identified == IDENTIFIED && check_announced(request, &refusal) == 0) {
        request->step = STEP_BODY;
        if (request->head.has_body)
            enter(request, CONNECTION_BODY,
                  request->head.codings ? body_max(request) : request->head.length);
        return MHD_YES;
    }
    return refuse(request, &refusal);
}

/* The library calls this when it has the head, for each piece of the body, at the end of the
 * request, and after each resume. */
static enum MHD_Result on_request(void *data, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_len, void **context)
{
    (void)data;
    (void)connection;
    (void)url;
    struct http_request *request = *context;
    struct refusal refusal;
    if (!request)
        return MHD_NO;
    switch (request->step) {
    case STEP_HEAD:
        enter(request, CONNECTION_WORK, 0);
        if (read_head(request, method, version, &refusal) < 0) {
            head_wipe(&request->head);
            return refuse(request, &refusal);
        }
        request->step = STEP_IDENTIFY;
        return go_on_with_head(request);
    case STEP_IDENTIFY:
        return go_on_with_head(request);
    case STEP_BODY:
        return *upload_len ? take_body(request, upload, upload_len) : call_handler(request);
    case STEP_WAIT:
    case STEP_ANSWER:
        return send_answer(request);
    case STEP_DONE:
        break;
    }
    return MHD_NO;
}

/* --- start and stop --- */

static int read_pair(const struct settings *settings, struct tls_pair *ret_pair)
{
    return settings->tls_cert ? tls_read(settings->tls_cert, settings->tls_key, ret_pair) : 0;
}

/* What keeps floods within bounds. */
static int start_guards(struct http *http)
{
    struct rlimit files = {0};
    getrlimit(RLIMIT_NOFILE, &files);
    unsigned max = connections_affordable(files.rlim_cur);
    if (max < CONNECTIONS_MAX)
        log_warning("at most %u connections at once, since the limit of open files is %llu; raise "
                    "LimitNOFILE of the unit",
                    max, (unsigned long long)files.rlim_cur);
    int error = connections_create(max, units_now_boottime, &http->connections);
    if (!error)
        error = connections_watch(http->connections);
    if (!error)
        error = bodies_create(BODIES_MAX, &http->bodies);
    if (!error)
        error = bodies_create(ANSWERS_MAX, &http->answers);
    if (!error)
        error = streams_create(&http->streams);
    return error ? error : drain_create(&http->drain);
}

static int start(struct http *http)
{
    static const struct daemon_calls calls = {
        .has_room = has_room,
        .on_accept = on_accept,
        .on_connection = on_connection,
        .on_uri = on_uri,
        .on_request = on_request,
        .on_completed = on_completed,
    };
    const struct settings *settings = http->options.settings;
    int error = head_names_create(settings, &http->names);
    if (!error)
        error = start_guards(http);
    if (!error)
        error = read_pair(settings, &http->pair);
    bool has_pair = http->pair.cert;
    if (!error)
        error = listeners_open(settings, http->options.socket, has_pair ? http->pair.pin : NULL,
                               &http->listeners);
    if (!error)
        error = daemons_create(&http->listeners, has_pair ? &http->pair : NULL, &calls, http,
                               &http->daemons);
    return error;
}

int http_create(const struct http_options *options, struct http **ret_http)
{
    struct http *http = calloc(1, sizeof *http);
    if (!http)
        return -ENOMEM;
    units_condition_init(&http->changed);
    pthread_mutex_init(&http->lock, NULL);
    http->options = *options;
    int error = start(http);
    http->options.settings = NULL;
    if (error) {
        http_destroy(http);
        return error;
    }
    *ret_http = http;
    return 0;
}

int http_listeners(const struct http *http, struct address_endpoint **ret_endpoints,
                   size_t *ret_count)
{
    return listeners_endpoints(&http->listeners, ret_endpoints, ret_count);
}

void http_quiesce(struct http *http)
{
    pthread_mutex_lock(&http->lock);
    bool again = http->stopping;
    http->stopping = true;
    pthread_mutex_unlock(&http->lock);
    if (again)
        return;
    if (http->daemons)
        daemons_quiesce(http->daemons);
    listeners_stop(&http->listeners);
    if (http->streams)
        streams_stop(http->streams);
}

/* For a while, until the answers are out. */
static void wait_sent_locked(struct http *http)
{
    struct timespec end = units_monotonic_in(LAST_ANSWERS_MS);
    while (http->unsent && pthread_cond_timedwait(&http->changed, &http->lock, &end) != ETIMEDOUT)
        ;
}

/* Until nobody else has a request. */
static void wait_for_answers(struct http *http)
{
    pthread_mutex_lock(&http->lock);
    while (http->promised)
        pthread_cond_wait(&http->changed, &http->lock);
    wait_sent_locked(http);
    pthread_mutex_unlock(&http->lock);
}

/* Whoever has the request keeps it, but for the answer. */
static void abandon(struct http_request *request)
{
    struct refusal refusal;
    refuse_stopping(&refusal);
    pthread_mutex_lock(&request->lock);
    if (!request->answer.status) {
        request->abandoned = true;
        set_refusal(request, &refusal);
        wake_locked(request);
    }
    pthread_mutex_unlock(&request->lock);
}

/* Not under the lock, which the library's calls may ask for. */
static void abandon_all_locked(struct http *http)
{
    struct http_request *request = http->counted;
    while (request) {
        bool seen = request->seen;
        request->seen = true;
        if (seen) {
            request = request->next;
            continue;
        }
        atomic_fetch_add(&request->references, 1);
        pthread_mutex_unlock(&http->lock);
        abandon(request);
        request_unref(request);
        pthread_mutex_lock(&http->lock);
        request = http->counted;
    }
}

int http_settle(struct http *http, int64_t timeout)
{
    struct timespec end = units_monotonic_in(timeout);
    pthread_mutex_lock(&http->lock);
    assert(http->stopping);
    while (http->promised && pthread_cond_timedwait(&http->changed, &http->lock, &end) != ETIMEDOUT)
        ;
    int error = http->promised ? -ETIMEDOUT : 0;
    if (error)
        abandon_all_locked(http);
    wait_sent_locked(http);
    pthread_mutex_unlock(&http->lock);
    return error;
}

void http_destroy(struct http *http)
{
    if (!http)
        return;
    http_quiesce(http);
    wait_for_answers(http);
    daemons_destroy(http->daemons);
    listeners_close(&http->listeners);
    tls_release(&http->pair);
    drain_destroy(http->drain);
    streams_destroy(http->streams);
    connections_destroy(http->connections);
    bodies_destroy(http->bodies);
    bodies_destroy(http->answers);
    head_names_destroy(http->names);
    pthread_cond_destroy(&http->changed);
    pthread_mutex_destroy(&http->lock);
    free(http);
}

static void reload_names(struct http *http, const struct settings *settings)
{
    struct head_names *names;
    if (head_names_create(settings, &names) < 0) {
        log_warning("no memory for the new host-names; the old ones stay");
        return;
    }
    pthread_mutex_lock(&http->lock);
    struct head_names *old = http->names;
    http->names = names;
    pthread_mutex_unlock(&http->lock);
    head_names_destroy(old);
}

static bool is_same(const struct tls_pair *one, const struct tls_pair *other)
{
    return one->cert && other->cert && strcmp(one->cert, other->cert) == 0 &&
           strcmp(one->key, other->key) == 0;
}

/* Where TLS was spoken it stays so, whatever the settings say now. */
static void reload_pair(struct http *http, const struct settings *settings)
{
    struct tls_pair pair = {0};
    int error = read_pair(settings, &pair);
    bool is_new = !error && pair.cert && !is_same(&pair, &http->pair);
    if (is_new)
        error = daemons_replace(http->daemons, &pair);
    if (error)
        log_error("the certificate is not reloaded, the old one stays");
    if (error || !is_new) {
        tls_release(&pair);
        return;
    }
    tls_release(&http->pair);
    http->pair = pair;
    log_info("new connections of other machines get tls-cert = %s (pin %s)", settings->tls_cert,
             pair.pin);
}

void http_reload(struct http *http, const struct settings *settings)
{
    reload_names(http, settings);
    reload_pair(http, settings);
    streams_end_retired(http->streams);
}

/* --- for handlers --- */

const struct caller *http_request_caller(const struct http_request *request)
{
    return &request->caller;
}

const char *http_request_param(const struct http_request *request, const char *name,
                               size_t *ret_len)
{
    const struct form_field *field = form_find(&request->form, name);
    if (!field)
        return NULL;
    if (ret_len)
        *ret_len = field->value_len;
    return field->value;
}

const char *http_request_param_name(const struct http_request *request, size_t index)
{
    return index < request->form.count ? request->form.fields[index].name : NULL;
}

const char *http_request_param_value(const struct http_request *request, size_t index,
                                     size_t *ret_len)
{
    if (index >= request->form.count)
        return NULL;
    *ret_len = request->form.fields[index].value_len;
    return request->form.fields[index].value;
}

const char *http_request_header(const struct http_request *request, const char *name)
{
    return MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, name);
}

const char *http_request_segment(const struct http_request *request)
{
    return request->segment;
}

const char *http_request_body(const struct http_request *request, size_t *ret_len)
{
    *ret_len = request->body.len;
    return request->body.len ? request->body.data : "";
}
