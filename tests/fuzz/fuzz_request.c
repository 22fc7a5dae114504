/* The parts of a request before anybody is asked for anything: the head's fields, the target, an
 * urlencoded body. What is taken is sound, and what is not has a status and a sentence. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/json.h"
#include "fuzz.h"
#include "http/head.h"
#include "http/params.h"

#define FIELDS_MAX 32

static struct head_names *names;
static int sockets[3]; /* on a unix socket, on 127.0.0.1, on ::1 */

static void prepare(void)
{
    struct settings settings;
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (names)
        return;
    MUST(settings_init(&settings, "/dev/null") == 0);
    MUST(head_names_create(&settings, &names) == 0);
    settings_release(&settings);
    sockets[0] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockets[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockets[2] = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    MUST(sockets[0] >= 0 && bind(sockets[1], (struct sockaddr *)&v4, sizeof v4) == 0);
    if (sockets[2] < 0 || bind(sockets[2], (struct sockaddr *)&v6, sizeof v6) < 0)
        sockets[2] = sockets[1]; /* no IPv6 here */
}

/* It can be sent, as JSON that everybody reads. */
static void must_explain(const struct refusal *refusal)
{
    struct json_object *object;
    char message[128];
    _cleanup_free_ char *body = refusal_body(refusal->code, refusal->message);
    MUST(refusal->status == 400 || refusal->status == 403 || refusal->status == 421);
    MUST(*refusal->code && *refusal->message);
    MUST(body && json_read(body, strlen(body), &object, message) == 0);
    json_release(object);
    MUST(!has_half_pair(body));
}

/* --- the head --- */

/* A name, with a port perhaps, that a service on 127.0.0.1 answers to. */
static bool is_ours(const char *name, size_t len)
{
    char self[256] = "", host[512];
    MUST(len < sizeof host);
    snprintf(host, sizeof host, "%.*s", (int)len, name);
    host[strcspn(host, ":")] = '\0';
    gethostname(self, sizeof self - 1);
    return strcmp(host, "127.0.0.1") == 0 || strcmp(host, "127.0.0.1.") == 0 ||
           strncasecmp(host, "localhost", 9) == 0 ||
           strncasecmp(host, self, strcspn(self, ".")) == 0;
}

static void check_host(const struct head *head, int socket)
{
    struct sockaddr_storage own;
    socklen_t len = sizeof own;
    MUST(getsockname(socket, (struct sockaddr *)&own, &len) == 0);
    MUST(head->hosts <= 1);
    if (own.ss_family != AF_INET)
        return; /* anything, or a number that can be written in many ways */
    if (head->hosts && *head->host != '[')
        MUST(is_ours(head->host, strlen(head->host)));
    if (head->authority && *head->authority != '[')
        MUST(is_ours(head->authority, head->authority_len));
}

static void check_basic(const char *authorization)
{
    char user[API_USER_MAX + 1], password[API_PASSWORD_MAX + 1];
    if (head_basic(authorization, user, password) == 0)
        MUST(strlen(user) <= API_USER_MAX && !strchr(user, ':') &&
             strlen(password) <= API_PASSWORD_MAX);
}

/* As many fields as there are; an empty name is the end. The texts are freed by free_texts. */
static void read_head(struct input *input, struct head *head, char *texts[static 2 * FIELDS_MAX])
{
    static const char *const known[] = {"Host",         "Content-Length", "Transfer-Encoding",
                                        "Origin",       "Sec-Fetch-Site", "Content-Type",
                                        "Authorization"};
    for (size_t i = 0; i < FIELDS_MAX && input->size; i++) {
        uint8_t which = take_byte(input);
        if (which == '.')
            return;
        bool other = which < 'A' || which - 'A' >= (int)(sizeof known / sizeof *known);
        char *name = texts[2 * i] = other ? take_text(input) : NULL;
        char *value = texts[2 * i + 1] = take_text(input);
        const char *called = other ? name : known[which - 'A'];
        head_field(head, called, strlen(called), value, strlen(value));
    }
}

/* Gives the path and the query of the target. */
static const char *look_at_head(struct input *input, const char *target)
{
    struct refusal refusal = {0};
    char *texts[2 * FIELDS_MAX] = {NULL};
    uint8_t options = take_byte(input);
    int socket = sockets[options % 3];
    struct head head = {.version = options & 8 ? "HTTP/1.0" : "HTTP/1.1"};
    const char *path = head_target(&head, target);
    read_head(input, &head, texts);
    if (head_check(&head, names, socket, &refusal) == 0) {
        check_host(&head, socket);
        MUST(*path == '/' && !strpbrk(target, " \t\r\n"));
        MUST(!head.lengths || !head.codings);
        MUST(head.lengths <= 1 && head.codings <= 1 && !head.from_other_site && head.origins <= 1);
        MUST(!head.lengths || head.length == strtoull(head.length_text, NULL, 10));
        MUST(head.has_body == (head.length || head.codings));
    } else {
        must_explain(&refusal);
    }
    if (head.authorization)
        check_basic(head.authorization);
    MUST(!head.content_type || params_body_type(head.content_type) <= PARAMS_JSON);
    for (size_t i = 0; i < 2 * FIELDS_MAX; i++)
        free(texts[i]);
    return path;
}

/* --- parameters --- */

/* Written down again, all encoded, and read again: the same. */
static void must_read_the_same(const struct form *form)
{
    struct form again = {0};
    struct refusal refusal;
    size_t len = 0;
    _cleanup_free_ char *text = malloc(1);
    MUST(text);
    for (size_t i = 0; i < form->count; i++) {
        const struct form_field *field = &form->fields[i];
        MUST(!field->name[field->name_len] && !field->value[field->value_len]);
        _cleanup_free_ char *name = percent_encode(field->name, field->name_len);
        _cleanup_free_ char *value = percent_encode(field->value, field->value_len);
        text = realloc(text, len + strlen(name) + strlen(value) + 3);
        MUST(text);
        len += (size_t)sprintf(text + len, "%s%s=%s", i ? "&" : "", name, value);
    }
    MUST(params_read_body(text, len, &again, &refusal) == 0 && again.count == form->count);
    for (size_t i = 0; i < form->count; i++) {
        const struct form_field *one = &form->fields[i], *other = &again.fields[i];
        MUST(one->name_len == other->name_len && one->value_len == other->value_len);
        MUST(memcmp(one->name, other->name, one->name_len) == 0);
        MUST(memcmp(one->value, other->value, one->value_len) == 0);
    }
    form_release(&again);
}

static void look_at_target(const char *target, const char *body, size_t len)
{
    struct form form = {0};
    struct refusal refusal = {0};
    _cleanup_free_ char *path = NULL;
    int r = params_read_target(target, &path, &form, &refusal);
    MUST(form.count <= FORM_FIELDS_MAX && (r < 0 || path));
    size_t path_len = strcspn(target, "?");
    if (r == 0 && !memchr(target, '%', path_len))
        MUST(strlen(path) == path_len && memcmp(path, target, path_len) == 0);
    if (r == 0)
        r = params_read_body(body, len, &form, &refusal);
    MUST(form.count <= FORM_FIELDS_MAX);
    if (r < 0)
        must_explain(&refusal);
    must_read_the_same(&form);
    if (form.count)
        MUST(form_find(&form, form.fields[0].name) ||
             strlen(form.fields[0].name) < form.fields[0].name_len);
    form_release(&form);
}

/* The target, options and fields of the head, the body. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    size_t len;
    prepare();
    _cleanup_free_ char *target = take_text(&input);
    const char *path = look_at_head(&input, target);
    _cleanup_free_ char *body = take_rest(&input, &len);
    look_at_target(path, body, len);
    return 0;
}
