#include "origin.h"

#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "common/buf.h"
#include "common/cleanup.h"
#include "content.h"

#define CONNECTIONS_MAX   1000
#define GATE_SIZE_DEFAULT 100000
#define BLOCK             65536

struct string {
    struct string *next;
    char text[];
};

struct origin {
    /* immutable */
    struct MHD_Daemon *daemon;
    unsigned port;

    pthread_mutex_t lock;
    pthread_cond_t changed; /* a gate opened, or stopping */
    /* protected by lock */
    bool stopping;
    struct string *open_gates;
    struct string *urls;
    unsigned requests, concurrent, max_concurrent;
};

struct content {
    uint64_t seed;
    uint64_t size;
    uint64_t held_from; /* not sent before the gate opens */
    uint64_t ends_at;   /* the connection breaks here */
    bool chunked;
    char gate[64];
};

struct answer { /* one request */
    struct origin *origin;
    struct MHD_Connection *connection;
    struct content content;
    bool counted; /* in origin->concurrent; protected by origin->lock */
};

/* --- contents --- */

static bool parse_size(const char *text, char end, uint64_t *ret_size, const char **ret_rest)
{
    char *rest;
    if (*text < '0' || *text > '9')
        return false;
    *ret_size = strtoull(text, &rest, 10);
    *ret_rest = rest;
    return *rest == end;
}

/* `path` is decoded, without the query; `size` is the query's. */
static bool parse_content(const char *path, const char *size, struct content *ret_content)
{
    static const char *const sized[] = {"/bytes/", "/chunked/", "/short/"};
    struct content content = {.seed = content_seed(path), .size = GATE_SIZE_DEFAULT};
    const char *rest;

    if (strncmp(path, "/gate/", 6) == 0) {
        if (size && !parse_size(size, '\0', &content.size, &rest))
            return false;
        snprintf(content.gate, sizeof(content.gate), "%s", path + 6);
        content.held_from = content.size / 2;
        content.ends_at = content.size;
        *ret_content = content;
        return true;
    }
    for (unsigned i = 0; i < 3; i++) {
        size_t len = strlen(sized[i]);
        if (strncmp(path, sized[i], len) != 0 || !parse_size(path + len, '/', &content.size, &rest))
            continue;
        content.chunked = i == 1;
        content.held_from = content.size;
        content.ends_at = i == 2 ? content.size / 2 : content.size;
        *ret_content = content;
        return true;
    }
    return false;
}

/* --- answering --- */

static void uncount_locked(struct answer *answer)
{
    if (answer->counted)
        answer->origin->concurrent--;
    answer->counted = false;
}

static void uncount(struct answer *answer)
{
    pthread_mutex_lock(&answer->origin->lock);
    uncount_locked(answer);
    pthread_mutex_unlock(&answer->origin->lock);
}

static bool gate_open_locked(const struct origin *origin, const char *name)
{
    for (const struct string *gate = origin->open_gates; gate; gate = gate->next)
        if (strcmp(gate->text, name) == 0)
            return true;
    return origin->stopping;
}

static bool client_gone(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct pollfd fd = {.fd = info->connect_fd, .events = POLLRDHUP};
    return poll(&fd, 1, 0) > 0 && (fd.revents & (POLLRDHUP | POLLHUP | POLLERR));
}

/* False when the client went away before the gate opened. */
static bool wait_at_gate(struct answer *answer)
{
    struct origin *origin = answer->origin;
    bool gone = false;

    pthread_mutex_lock(&origin->lock);
    while (!gate_open_locked(origin, answer->content.gate) && !gone) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += 50000000;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        pthread_cond_timedwait(&origin->changed, &origin->lock, &until);
        gone = client_gone(answer->connection);
    }
    if (gone)
        uncount_locked(answer);
    pthread_mutex_unlock(&origin->lock);
    return !gone;
}

static ssize_t read_body(void *data, uint64_t pos, char *buffer, size_t max)
{
    struct answer *answer = data;
    const struct content *content = &answer->content;
    uint64_t end = pos < content->held_from ? content->held_from : content->size;

    if (pos >= content->size)
        return MHD_CONTENT_READER_END_OF_STREAM;
    if (content->ends_at < end)
        end = content->ends_at;
    if (pos >= content->ends_at)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    if (content->gate[0] && pos >= content->held_from && !wait_at_gate(answer))
        return MHD_CONTENT_READER_END_WITH_ERROR;
    if (max > end - pos)
        max = end - pos;
    content_fill(content->seed, pos, buffer, max);
    if (pos + max >= content->ends_at)
        uncount(answer);
    return (ssize_t)max;
}

static enum MHD_Result queue_response(struct MHD_Connection *connection, unsigned status,
                                      struct MHD_Response *response)
{
    if (!response)
        return MHD_NO;
    enum MHD_Result result = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result answer_status(struct answer *answer, unsigned status)
{
    char text[64];
    int len = snprintf(text, sizeof(text), "the answer is %u\n", status);
    uncount(answer);
    return queue_response(
        answer->connection, status,
        MHD_create_response_from_buffer((size_t)len, text, MHD_RESPMEM_MUST_COPY));
}

static enum MHD_Result add_field(void *head, enum MHD_ValueKind kind, const char *name,
                                 const char *value)
{
    (void)kind;
    buf_printf(head, "%s: %s\n", name, value ? value : "");
    return MHD_YES;
}

static enum MHD_Result answer_head(struct answer *answer)
{
    _cleanup_(buf_release) struct buf head;
    buf_init(&head, BLOCK);
    MHD_get_connection_values(answer->connection, MHD_HEADER_KIND, add_field, &head);
    uncount(answer);
    return queue_response(
        answer->connection, MHD_HTTP_OK,
        MHD_create_response_from_buffer(head.len, head.data, MHD_RESPMEM_MUST_COPY));
}

/* `rest`: N/PATH. */
static enum MHD_Result answer_redirect(struct answer *answer, const char *rest)
{
    _cleanup_free_ char *location = NULL;
    const char *path;
    uint64_t hops;

    if (!parse_size(rest, '/', &hops, &path) || hops == 0)
        return answer_status(answer, MHD_HTTP_NOT_FOUND);
    int len = hops == 1
                  ? asprintf(&location, "%s", path)
                  : asprintf(&location, "/redirect/%llu%s", (unsigned long long)hops - 1, path);
    if (len < 0)
        return MHD_NO;
    struct MHD_Response *response =
        MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
    if (response)
        MHD_add_response_header(response, MHD_HTTP_HEADER_LOCATION, location);
    uncount(answer);
    return queue_response(answer->connection, MHD_HTTP_FOUND, response);
}

static enum MHD_Result answer_path(struct answer *answer, const char *path)
{
    const char *rest;
    uint64_t status;

    if (strncmp(path, "/redirect/", 10) == 0)
        return answer_redirect(answer, path + 10);
    if (strncmp(path, "/head/", 6) == 0)
        return answer_head(answer);
    if (strncmp(path, "/status/", 8) == 0 && parse_size(path + 8, '/', &status, &rest))
        return answer_status(answer, (unsigned)status);
    const char *size =
        MHD_lookup_connection_value(answer->connection, MHD_GET_ARGUMENT_KIND, "size");
    if (!parse_content(path, size, &answer->content))
        return answer_status(answer, MHD_HTTP_NOT_FOUND);
    return queue_response(answer->connection, MHD_HTTP_OK,
                          MHD_create_response_from_callback(
                              answer->content.chunked ? MHD_SIZE_UNKNOWN : answer->content.size,
                              BLOCK, read_body, answer, NULL));
}

static enum MHD_Result on_request(void *data, struct MHD_Connection *connection, const char *path,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_size, void **request)
{
    struct origin *origin = data;
    struct answer *answer = *request;
    (void)method, (void)version, (void)upload;

    if (answer) {
        *upload_size = 0;
        return answer_path(answer, path);
    }
    answer = calloc(1, sizeof(*answer));
    if (!answer)
        return MHD_NO;
    answer->origin = origin;
    answer->connection = connection;
    answer->counted = true;
    pthread_mutex_lock(&origin->lock);
    origin->requests++;
    origin->concurrent++;
    if (origin->max_concurrent < origin->concurrent)
        origin->max_concurrent = origin->concurrent;
    pthread_mutex_unlock(&origin->lock);
    *request = answer;
    return MHD_YES;
}

static void on_completed(void *data, struct MHD_Connection *connection, void **request,
                         enum MHD_RequestTerminationCode code)
{
    (void)data, (void)connection, (void)code;
    if (!*request)
        return;
    uncount(*request);
    free(*request);
    *request = NULL;
}

/* --- the server --- */

int origin_start(struct origin **ret_origin)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct origin *origin = calloc(1, sizeof(*origin));
    if (!origin)
        return -ENOMEM;
    pthread_mutex_init(&origin->lock, NULL);
    pthread_cond_init(&origin->changed, NULL);
    origin->daemon = MHD_start_daemon(
        MHD_USE_POLL_INTERNAL_THREAD | MHD_USE_THREAD_PER_CONNECTION, 0, NULL, NULL, on_request,
        origin, MHD_OPTION_SOCK_ADDR, &address, MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS_MAX,
        MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL, MHD_OPTION_END);
    if (!origin->daemon) {
        origin_stop(origin);
        return -EADDRNOTAVAIL;
    }
    origin->port = MHD_get_daemon_info(origin->daemon, MHD_DAEMON_INFO_BIND_PORT)->port;
    *ret_origin = origin;
    return 0;
}

static void strings_free(struct string *strings)
{
    while (strings) {
        struct string *next = strings->next;
        free(strings);
        strings = next;
    }
}

static struct string *strings_add(struct string **strings, const char *prefix, const char *text)
{
    size_t size = strlen(prefix) + strlen(text) + 1;
    struct string *string = malloc(sizeof(*string) + size);
    if (!string)
        abort();
    snprintf(string->text, size, "%s%s", prefix, text);
    string->next = *strings;
    *strings = string;
    return string;
}

void origin_stop(struct origin *origin)
{
    if (!origin)
        return;
    pthread_mutex_lock(&origin->lock);
    origin->stopping = true;
    pthread_cond_broadcast(&origin->changed);
    pthread_mutex_unlock(&origin->lock);
    if (origin->daemon)
        MHD_stop_daemon(origin->daemon);
    strings_free(origin->open_gates);
    strings_free(origin->urls);
    pthread_cond_destroy(&origin->changed);
    pthread_mutex_destroy(&origin->lock);
    free(origin);
}

unsigned origin_port(const struct origin *origin)
{
    return origin->port;
}

const char *origin_url(struct origin *origin, const char *path)
{
    char base[64];
    snprintf(base, sizeof(base), "http://127.0.0.1:%u", origin->port);
    pthread_mutex_lock(&origin->lock);
    const char *url = strings_add(&origin->urls, base, path)->text;
    pthread_mutex_unlock(&origin->lock);
    return url;
}

void origin_open_gate(struct origin *origin, const char *name)
{
    pthread_mutex_lock(&origin->lock);
    strings_add(&origin->open_gates, "", name);
    pthread_cond_broadcast(&origin->changed);
    pthread_mutex_unlock(&origin->lock);
}

static unsigned read_counter(struct origin *origin, const unsigned *counter)
{
    pthread_mutex_lock(&origin->lock);
    unsigned value = *counter;
    pthread_mutex_unlock(&origin->lock);
    return value;
}

unsigned origin_requests(struct origin *origin)
{
    return read_counter(origin, &origin->requests);
}

unsigned origin_concurrent(struct origin *origin)
{
    return read_counter(origin, &origin->concurrent);
}

unsigned origin_max_concurrent(struct origin *origin)
{
    return read_counter(origin, &origin->max_concurrent);
}

/* --- comparing --- */

static void decode(char *path)
{
    char *to = path;
    for (const char *from = path; *from; to++) {
        unsigned value;
        if (sscanf(from, "%%%2x", &value) == 1) {
            *to = (char)value;
            from += 3;
        } else {
            *to = *from++;
        }
    }
    *to = '\0';
}

/* Behind "/redirect/N", where there is one. */
static const char *redirect_target(const char *path)
{
    const char *rest;
    uint64_t hops;
    if (strncmp(path, "/redirect/", 10) == 0 && parse_size(path + 10, '/', &hops, &rest))
        return rest;
    return path;
}

static int content_of_url_path(const char *url_path, struct content *ret_content)
{
    _cleanup_free_ char *path = strdup(redirect_target(url_path));
    if (!path)
        return -ENOMEM;
    char *query = strchr(path, '?');
    if (query)
        *query++ = '\0';
    decode(path);
    const char *size = query && strncmp(query, "size=", 5) == 0 ? query + 5 : NULL;
    return parse_content(path, size, ret_content) ? 0 : -EINVAL;
}

static int compare(FILE *file, const struct content *content)
{
    char have[4096], want[4096];
    uint64_t pos = 0;
    size_t len;

    while ((len = fread(have, 1, sizeof(have), file)) > 0) {
        if (len > content->size - pos)
            return -EUCLEAN;
        content_fill(content->seed, pos, want, len);
        if (memcmp(have, want, len) != 0)
            return -EUCLEAN;
        pos += len;
    }
    if (ferror(file))
        return -EIO;
    return pos == content->size ? 0 : -EUCLEAN;
}

int origin_expect_file(const char *path_on_disk, const char *url_path)
{
    struct content content;
    int result = content_of_url_path(url_path, &content);
    if (result < 0)
        return result;
    FILE *file = fopen(path_on_disk, "re");
    if (!file)
        return -errno;
    result = compare(file, &content);
    fclose(file);
    return result;
}
