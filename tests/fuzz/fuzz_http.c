/*
 * Raw bytes of a connection, through the real HTTP library and the real rooms of src/http, to a
 * manager that only notes what it is asked. All on one thread: the library's daemon is made without
 * threads and listeners, gets one end of a socket pair at a time, and is run until it hangs up.
 * What reaches the manager is sound, and what comes back is HTTP with sound JSON in it.
 */
#include <errno.h>
#include <malloc.h>
#include <microhttpd.h>
#include <stdarg.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "../fake_manager.h"
#include "common/cleanup.h"
#include "common/json.h"
#include "fuzz.h"
#include "http/checks.h"
#include "http/routes.h"
#include "http/routes_classic.h"
#include "http/routes_v1.h"
#include "transfer/checksum.h"

#define ANSWERS_MAX (1 << 20)
#define ROUNDS_MAX  20000
#define AGAIN       30
#define LEFT_MAX    1536 /* bytes for each; a request has more */

/* --- the daemon --- */

static struct MHD_Daemon *http_daemon;

struct MHD_Daemon *__real_MHD_start_daemon(unsigned flags, uint16_t port,
                                           MHD_AcceptPolicyCallback accept, void *accept_data,
                                           MHD_AccessHandlerCallback handler, void *handler_data,
                                           ...);
struct MHD_Daemon *__wrap_MHD_start_daemon(unsigned flags, uint16_t port,
                                           MHD_AcceptPolicyCallback accept, void *accept_data,
                                           MHD_AccessHandlerCallback handler, void *handler_data,
                                           ...);

/* One option of the list, as an item. False: it has no meaning without threads and listeners. */
static bool take_option(enum MHD_OPTION option, va_list *arguments, struct MHD_OptionItem *item)
{
    *item = (struct MHD_OptionItem){.option = option};
    switch (option) {
    case MHD_OPTION_CONNECTION_MEMORY_LIMIT:
    case MHD_OPTION_CONNECTION_MEMORY_INCREMENT:
        item->value = (intptr_t)va_arg(*arguments, size_t);
        return true;
    case MHD_OPTION_NOTIFY_COMPLETED:
    case MHD_OPTION_NOTIFY_CONNECTION:
    case MHD_OPTION_URI_LOG_CALLBACK:
    case MHD_OPTION_EXTERNAL_LOGGER:
    case MHD_OPTION_UNESCAPE_CALLBACK:
        item->value = (intptr_t)va_arg(*arguments, void *);
        item->ptr_value = va_arg(*arguments, void *);
        return true;
    case MHD_OPTION_ARRAY:
        item->ptr_value = va_arg(*arguments, void *);
        return item->ptr_value != NULL;
    case MHD_OPTION_LISTEN_SOCKET:
    case MHD_OPTION_THREAD_POOL_SIZE:
        (void)va_arg(*arguments, unsigned);
        return false;
    case MHD_OPTION_CONNECTION_LIMIT:
    case MHD_OPTION_CONNECTION_TIMEOUT:
    case MHD_OPTION_PER_IP_CONNECTION_LIMIT:
    case MHD_OPTION_STRICT_FOR_CLIENT:
        item->value = (intptr_t)va_arg(*arguments, unsigned);
        return true;
    default:
        MUST(!"an option that this file does not know");
        return false;
    }
}

/* As src/http/http.c asks for it, but without threads and listener. */
struct MHD_Daemon *__wrap_MHD_start_daemon(unsigned flags, uint16_t port,
                                           MHD_AcceptPolicyCallback accept, void *accept_data,
                                           MHD_AccessHandlerCallback handler, void *handler_data,
                                           ...)
{
    struct MHD_OptionItem items[32];
    size_t count = 0;
    va_list arguments;
    va_start(arguments, handler_data);
    for (int option; (option = va_arg(arguments, int)) != MHD_OPTION_END;) {
        MUST(count + 1 < sizeof items / sizeof *items);
        if (take_option((enum MHD_OPTION)option, &arguments, &items[count]))
            count++;
    }
    va_end(arguments);
    items[count] = (struct MHD_OptionItem){.option = MHD_OPTION_END};
    flags &= ~(unsigned)(MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_POLL_INTERNAL_THREAD |
                         MHD_USE_INTERNAL_POLLING_THREAD);
    http_daemon = __real_MHD_start_daemon(flags | MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET, port,
                                          accept, accept_data, handler, handler_data,
                                          MHD_OPTION_ARRAY, items, MHD_OPTION_END);
    MUST(http_daemon);
    return http_daemon;
}

/* A service of its own user, as if it listened on a unix socket. */
static void start(void)
{
    static const struct http_route *const *const tables = routes_tables;
    static struct routes routes = {.manager = &manager};
    static struct settings settings;
    char directory[] = "/tmp/fuzz_http.XXXXXX", path[64], message[256];
    struct http *http;
    if (http_daemon)
        return;
    MUST(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/socket", directory);
    log_set_level(LOG_LEVEL_ERROR);
    MUST(settings_init(&settings, "/dev/null") == 0);
    MUST(settings_set(&settings, "listen", "none", message) == 0);
    MUST(auth_create(&settings, true, NULL, &routes.auth) == 0);
    struct http_options options = {.settings = &settings,
                                   .socket = path,
                                   .auth = routes.auth,
                                   .tables = tables,
                                   .data = &routes};
    MUST(http_create(&options, &http) == 0);
    unlink(path);
    rmdir(directory);
    manager.task.uid = getuid();
}

/* --- what the manager was asked --- */

static void check_headers(const char *headers)
{
    _cleanup_free_ char *copy = strdup(headers ? headers : "");
    char message[512], *rest = copy, *line;
    MUST(strlen(copy) <= CHECKS_HEADERS_MAX);
    while ((line = strsep(&rest, "\n"))) {
        if (!*line && !rest)
            break;
        char *value = strstr(line, ": ");
        MUST(value);
        *value = '\0';
        MUST(check_header("headers", line, value + 2, message));
    }
}

static void check_add(const struct manager_add *add)
{
    char message[512], normal[CHECKSUM_TEXT_MAX];
    MUST(add->uid == getuid() && add->user && *add->user);
    MUST(add->url && is_utf8(add->url) && check_url("url", add->url, message));
    MUST(!add->directory ||
         (is_utf8(add->directory) && check_directory("directory", add->directory, message)));
    MUST(!add->name || is_fit_name(add->name, CHECKS_NAME_MAX, true));
    MUST(!add->checksum || (checksum_normalise(add->checksum, normal, message) == 0 &&
                            strcmp(normal, add->checksum) == 0));
    MUST(add->retries >= -1 && add->retries <= 1000);
    check_headers(add->headers);
}

static void check_asked(const struct manager *asked)
{
    if (!asked->verb)
        return;
    MUST(asked->number <= API_PAUSE_MAX);
    MUST(asked->scope == getuid() || asked->scope == MANAGER_EVERYBODY);
    if (strcmp(asked->verb, "add") == 0)
        check_add(&asked->add);
    else if (*asked->id)
        MUST(routes_is_id_prefix(asked->id));
}

/* --- what comes back --- */

struct answer {
    int status;
    bool ours; /* not the HTTP library's own */
    const char *body;
    size_t len;
};

/* The value of a field of the head, up to its line's end; NULL: it is not there. */
static const char *find_field(const char *head, const char *end, const char *name)
{
    size_t len = strlen(name);
    for (const char *line = head; (line = memmem(line, (size_t)(end - line), "\r\n", 2));) {
        line += 2;
        if (strncasecmp(line, name, len) == 0 && strncmp(line + len, ": ", 2) == 0)
            return line + len + 2;
    }
    return NULL;
}

static bool field_is(const char *head, const char *end, const char *name, const char *value)
{
    const char *found = find_field(head, end, name);
    return found && strncmp(found, value, strlen(value)) == 0 &&
           strncmp(found + strlen(value), "\r\n", 2) == 0;
}

/* One answer at the start of the text; what follows it. NULL: the rest of it was cut off. */
static const char *read_answer(const char *text, const char *end, struct answer *answer)
{
    const char *body = memmem(text, (size_t)(end - text), "\r\n\r\n", 4);
    if (!body)
        return NULL;
    const char *length = find_field(text, body + 2, "Content-Length");
    MUST(strncmp(text, "HTTP/1.1 ", 9) == 0 || strncmp(text, "HTTP/1.0 ", 9) == 0);
    answer->status = atoi(text + 9);
    answer->ours = find_field(text, body + 2, "Server");
    body += 4;
    answer->body = body;
    answer->len = length ? strtoul(length, NULL, 10) : 0;
    if (answer->ours) {
        MUST(field_is(text, body, "Cache-Control", "no-store"));
        MUST(field_is(text, body, "X-Content-Type-Options", "nosniff"));
        MUST(answer->status == 204 || field_is(text, body, "Content-Type", "application/json"));
    }
    /* To a HEAD there is a length and no body; the next answer, or nothing, follows at once. */
    if (body == end || strncmp(body, "HTTP/1.", 7) == 0)
        answer->len = 0;
    return answer->len <= (size_t)(end - body) ? body + answer->len : NULL;
}

static int is_known_member(void *data, const char *name, struct json_object *value)
{
    const char *text;
    MUST(json_get_text(value, &text) == 0 && *text);
    *(unsigned *)data |= strcmp(name, "code") == 0 ? 1 : strcmp(name, "message") == 0 ? 2 : 4;
    return 0;
}

/* JSON that each reader takes: no half of a surrogate pair alone. */
static void check_body(const struct answer *answer)
{
    struct json_object *object;
    char message[128];
    unsigned members = 0;
    if (!answer->len)
        return;
    _cleanup_free_ char *body = strndup(answer->body, answer->len);
    MUST(body && strlen(body) == answer->len);
    MUST(json_read(body, answer->len, &object, message) == 0);
    if (answer->status >= 400) {
        MUST(json_each(object, is_known_member, &members) == 0);
        MUST(members == 3 || (answer->status == 404 && members == 2));
    }
    json_release(object);
    MUST(!has_half_pair(body));
}

static bool is_known_status(int status)
{
    static const int statuses[] = {200, 201, 204, 400, 401, 403, 404, 405,
                                   409, 411, 413, 414, 415, 421, 429, 503};
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++)
        if (statuses[i] == status)
            return true;
    return false;
}

/* How many of them are a success. */
static unsigned check_answers(const char *text, size_t len)
{
    unsigned successes = 0;
    const char *end = text + len;
    while (text && text < end) {
        struct answer answer = {0};
        text = read_answer(text, end, &answer);
        if (!text || !answer.ours)
            continue;
        MUST(is_known_status(answer.status));
        check_body(&answer);
        successes += answer.status < 300;
    }
    return successes;
}

/* --- a connection --- */

/* Sends the bytes in two pieces and reads all that is answered, until the next time. */
static const char *converse(const uint8_t *data, size_t size, size_t first, size_t *ret_len)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    static char answers[ANSWERS_MAX + 1];
    size_t sent = 0, len = 0;
    ssize_t n = -1;
    int ends[2];
    MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
    MUST(MHD_add_connection(http_daemon, ends[1], (struct sockaddr *)&address, sizeof address) ==
         MHD_YES);
    for (unsigned round = 0; n != 0 && round < ROUNDS_MAX; round++) {
        size_t end = round == 0 ? first : size;
        ssize_t m = sent < end ? send(ends[0], data + sent, end - sent, MSG_NOSIGNAL) : 0;
        sent = m > 0 ? sent + (size_t)m : m < 0 && errno != EAGAIN ? size : sent;
        if (round > 0 && sent == size)
            shutdown(ends[0], SHUT_WR);
        MHD_run(http_daemon);
        MUST(len < ANSWERS_MAX);
        n = recv(ends[0], answers + len, ANSWERS_MAX - len, 0);
        len += n > 0 ? (size_t)n : 0;
        if (n < 0 && errno == ECONNRESET)
            n = 0;
        if (n < 0 && round > 100)
            usleep(100); /* another thread has to do something first */
    }
    MUST(n == 0);
    close(ends[0]);
    MHD_run(http_daemon);
    answers[len] = '\0';
    *ret_len = len;
    return answers;
}

/* A connection that is over leaves nothing, but what malloc keeps at hand. Sanitizers count no
 * memory, and look for leaks themselves. */
static void converse_again(const uint8_t *data, size_t size, size_t first)
{
    size_t len, before = mallinfo2().uordblks;
    if (!before)
        return;
    for (unsigned i = 0; i < AGAIN; i++)
        converse(data, size, first, &len);
    MUST(mallinfo2().uordblks < before + AGAIN * LEFT_MAX);
}

/* What the manager answers, where to cut, and the bytes. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int errors[] = {0,      0,      ENOENT, EMLINK,    EBUSY,
                                 EACCES, ENOSPC, EEXIST, ESHUTDOWN, EINVAL};
    struct input input = {data, size};
    uint8_t reply = take_byte(&input), cut = take_byte(&input);
    size_t len;
    start();
    manager.error = -errors[reply % 10];
    manager.message = reply & 16 ? "a sentence" : NULL;
    manager.twin = reply % 10 == 1;
    manager.calls = 0;
    manager.verb = NULL;
    manager.number = 0;
    *manager.id = '\0';
    const char *answers = converse(input.data, input.size, cut * input.size / 256, &len);
    unsigned successes = check_answers(answers, len);
    if (manager.calls)
        check_asked(&manager);
    MUST(manager.error || manager.calls <= successes);
    converse_again(input.data, input.size, cut * input.size / 256);
    return 0;
}
