#include "http/head.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/units.h"

#define HOST_MAX 255

/* --- names --- */

struct head_names {
    size_t count;
    char **names;
};

static int add_name(struct head_names *names, const char *name)
{
    char **more = realloc(names->names, (names->count + 1) * sizeof *more);
    if (!more)
        return -ENOMEM;
    names->names = more;
    names->names[names->count] = strdup(name);
    return names->names[names->count++] ? 0 : -ENOMEM;
}

/* The full name that /etc/hosts gives a host; DNS is not asked, since that may take its time. */
static int add_full_name(struct head_names *names, const char *name)
{
    int error = 0;
    sethostent(1);
    for (const struct hostent *host = gethostent(); host && !error; host = gethostent()) {
        bool is_ours = strcasecmp(host->h_name, name) == 0;
        for (char **alias = host->h_aliases; *alias && !is_ours; alias++)
            is_ours = strcasecmp(*alias, name) == 0;
        if (is_ours)
            error = add_name(names, host->h_name);
    }
    endhostent();
    return error;
}

static int add_own_names(struct head_names *names)
{
    char name[HOST_MAX + 1] = "";
    if (gethostname(name, sizeof name - 1) < 0 || !*name)
        return 0;
    char local[HOST_MAX + 8];
    snprintf(local, sizeof local, "%.*s.local", (int)strcspn(name, "."), name);
    int error = add_name(names, name);
    if (!error)
        error = add_name(names, local);
    return error ? error : add_full_name(names, name);
}

int head_names_create(const struct settings *settings, struct head_names **ret_names)
{
    struct head_names *names = calloc(1, sizeof *names);
    if (!names)
        return -ENOMEM;
    int error = add_name(names, "localhost");
    if (!error)
        error = add_own_names(names);
    for (size_t i = 0; i < settings->host_names.count && !error; i++)
        error = add_name(names, settings->host_names.items[i]);
    if (error) {
        head_names_destroy(names);
        return error;
    }
    *ret_names = names;
    return 0;
}

void head_names_destroy(struct head_names *names)
{
    if (!names)
        return;
    for (size_t i = 0; i < names->count; i++)
        free(names->names[i]);
    free(names->names);
    free(names);
}

const char *head_names_at(const struct head_names *names, size_t index)
{
    return index < names->count ? names->names[index] : NULL;
}

/* Is `name` the address of the socket's own end? */
static bool is_address_of(const char *name, const struct sockaddr_storage *own)
{
    struct in_addr v4;
    struct in6_addr v6;
    const struct sockaddr_in6 *own6 = (const struct sockaddr_in6 *)own;
    if (own->ss_family == AF_INET)
        return inet_pton(AF_INET, name, &v4) == 1 &&
               v4.s_addr == ((const struct sockaddr_in *)own)->sin_addr.s_addr;
    if (own->ss_family != AF_INET6)
        return false;
    if (inet_pton(AF_INET, name, &v4) == 1)
        return IN6_IS_ADDR_V4MAPPED(&own6->sin6_addr) &&
               memcmp(&own6->sin6_addr.s6_addr[12], &v4, sizeof v4) == 0;
    return inet_pton(AF_INET6, name, &v6) == 1 && IN6_ARE_ADDR_EQUAL(&v6, &own6->sin6_addr);
}

/* HOST[:PORT] without the port, brackets and a final dot. False if it is not of that make. */
static bool host_name(const char *host, char ret_name[static HOST_MAX + 1])
{
    const char *start = host, *end;
    if (*host == '[') {
        start++;
        end = strchr(start, ']');
        if (!end || (end[1] && end[1] != ':'))
            return false;
    } else {
        end = start + strcspn(start, ":");
    }
    const char *port = *host == '[' ? end + 1 : end;
    if (*port == ':' && port[1 + strspn(port + 1, "0123456789")])
        return false;
    size_t len = (size_t)(end - start);
    if (len > 1 && start[len - 1] == '.')
        len--;
    if (len == 0 || len > HOST_MAX)
        return false;
    memcpy(ret_name, start, len);
    ret_name[len] = '\0';
    return true;
}

static bool names_know(const struct head_names *names, const char *name,
                       const struct sockaddr_storage *own)
{
    for (size_t i = 0; i < names->count; i++)
        if (strcasecmp(names->names[i], name) == 0)
            return true;
    return is_address_of(name, own);
}

/* --- the head --- */

/* A token (RFC 9110, 5.6.2). What blanks in it would mean is a matter of taste, and two servers of
 * different taste in a row make one request two. */
static bool is_token(const char *text, size_t len)
{
    static const char others[] = "!#$%&'*+-.^_`|~";
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        bool is_alnum = (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
        if (!is_alnum && (!c || !strchr(others, c)))
            return false;
    }
    return len > 0;
}

static bool has_control(const char *text, size_t len, const char *allowed)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        if ((c <= ' ' || c == 0x7f) && (!c || !strchr(allowed, c)))
            return true;
    }
    return false;
}

void head_field(struct head *head, const char *name, size_t name_len, const char *value,
                size_t value_len)
{
    if (!value)
        value = "";
    if (!is_token(name, name_len))
        head->broken = "the name of a header field holds a character that no name may have";
    if (has_control(value, value_len, " \t"))
        head->broken = "the value of a header field holds a control character";
    if (strcasecmp(name, "Host") == 0) {
        head->host = value;
        head->hosts++;
    } else if (strcasecmp(name, "Content-Length") == 0) {
        head->length_text = value;
        head->lengths++;
        head->has_body |= value[strspn(value, "0")] != '\0';
    } else if (strcasecmp(name, "Transfer-Encoding") == 0) {
        head->coding = value;
        head->codings++;
        head->has_body = true;
    } else if (strcasecmp(name, "Origin") == 0) {
        head->origin = value;
        head->origins++;
    } else if (strcasecmp(name, "Sec-Fetch-Site") == 0) {
        if (strcasecmp(value, "same-origin") != 0 && strcasecmp(value, "none") != 0)
            head->from_other_site = true;
    } else if (strcasecmp(name, "Content-Type") == 0 && !head->content_type) {
        head->content_type = value;
    } else if (strcasecmp(name, "Authorization") == 0 && !head->authorization) {
        head->authorization = value;
    }
}

const char *head_target(struct head *head, const char *target)
{
    static const char *const schemes[] = {"http://", "https://"};
    const char *path = target;
    for (size_t i = 0; i < 2 && path == target; i++) {
        size_t len = strlen(schemes[i]);
        if (strncasecmp(target, schemes[i], len) != 0)
            continue;
        head->authority = target + len;
        head->authority_len = strcspn(head->authority, "/?");
        path = head->authority + head->authority_len;
        if (!*path)
            path = "/";
    }
    if (has_control(target, strlen(target), ""))
        head->broken = "the request's target holds a blank or a control character";
    else if (*path != '/')
        head->broken = "the request's target is not a path that begins with /";
    return path;
}

static int check_framing(struct head *head, struct refusal *refusal)
{
    if (head->broken)
        return refusal_say(refusal, 400, "bad_request", "%s", head->broken);
    if (head->hosts > 1)
        return refusal_say(refusal, 400, "bad_request", "the request has more than one Host field");
    if (!head->hosts && strcmp(head->version, "HTTP/1.0") != 0)
        return refusal_say(refusal, 400, "bad_request", "the request has no Host field");
    if (head->lengths && head->codings)
        return refusal_say(
            refusal, 400, "bad_request",
            "the request has both Content-Length and Transfer-Encoding; send one of them");
    if (head->codings && strcmp(head->version, "HTTP/1.0") == 0)
        return refusal_say(refusal, 400, "bad_request",
                           "HTTP/1.0 has no Transfer-Encoding; send Content-Length");
    if (head->lengths > 1)
        return refusal_say(refusal, 400, "bad_request",
                           "the request has more than one Content-Length field");
    if (head->codings > 1 || (head->codings && strcasecmp(head->coding, "chunked") != 0))
        return refusal_say(refusal, 400, "bad_request",
                           "the only Transfer-Encoding that this service takes is chunked");
    if (head->lengths && units_parse_uint(head->length_text, 0, UINT64_MAX, &head->length) < 0)
        return refusal_say(refusal, 400, "bad_request", "Content-Length \"%.64s\" is not a number",
                           head->length_text);
    return 0;
}

static int check_name(const char *host, const struct head_names *names,
                      const struct sockaddr_storage *own, struct refusal *refusal)
{
    char name[HOST_MAX + 1];
    if (!host_name(host, name))
        return refusal_say(refusal, 400, "bad_request",
                           "the Host field \"%.255s\" is not HOST[:PORT]", host);
    if (names_know(names, name, own))
        return 0;
    return refusal_say(refusal, 421, "misdirected",
                       "this service does not answer to the name \"%s\"; add host-names = %s to "
                       "autodl.conf",
                       name, name);
}

/* The Host field, and the host of a target that names one: a client sends the same in both. */
static int check_host(const struct head *head, const struct head_names *names, int socket,
                      struct refusal *refusal)
{
    struct sockaddr_storage own = {0};
    socklen_t len = sizeof own;
    getsockname(socket, (struct sockaddr *)&own, &len);
    if (own.ss_family == AF_UNIX)
        return 0;
    int error = head->hosts ? check_name(head->host, names, &own, refusal) : 0;
    if (error || !head->authority)
        return error;
    char authority[HOST_MAX + sizeof "[]:65535"];
    snprintf(authority, sizeof authority, "%.*s", (int)head->authority_len, head->authority);
    return check_name(authority, names, &own, refusal);
}

/* A web page of somebody else's must not use its reader's browser to give orders here. */
static int check_origin(const struct head *head, struct refusal *refusal)
{
    const char *scheme = head->has_tls ? "https://" : "http://";
    bool ours = !head->origins || (head->origins == 1 && head->host &&
                                   strncasecmp(head->origin, scheme, strlen(scheme)) == 0 &&
                                   strcasecmp(head->origin + strlen(scheme), head->host) == 0);
    if (ours && !head->from_other_site)
        return 0;
    return refusal_say(refusal, 403, "forbidden",
                       "requests from the web pages of other sites are not taken");
}

int head_check(struct head *head, const struct head_names *names, int socket,
               struct refusal *ret_refusal)
{
    int error = check_framing(head, ret_refusal);
    if (!error)
        error = check_host(head, names, socket, ret_refusal);
    if (error)
        ret_refusal->close = ret_refusal->status == 400;
    return error ? error : check_origin(head, ret_refusal);
}

static int base64_digit(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *found = c ? strchr(digits, c) : NULL;
    return found ? (int)(found - digits) : -1;
}

/* RFC 4648, 4. The length, or -EINVAL. */
static ssize_t base64_decode(const char *text, char *ret_bytes, size_t size)
{
    size_t len = 0;
    unsigned bits = 0, held = 0;
    for (; base64_digit(*text) >= 0; text++) {
        bits = bits << 6 | (unsigned)base64_digit(*text);
        held += 6;
        if (held < 8)
            continue;
        held -= 8;
        if (len == size)
            return -EINVAL;
        ret_bytes[len++] = (char)(bits >> held & 0xff);
    }
    return text[strspn(text, "= \t")] ? -EINVAL : (ssize_t)len;
}

int head_basic(const char *authorization, char ret_user[static API_USER_MAX + 1],
               char ret_password[static API_PASSWORD_MAX + 1])
{
    static const char scheme[] = "Basic ";
    char both[API_USER_MAX + 1 + API_PASSWORD_MAX];
    if (strncasecmp(authorization, scheme, strlen(scheme)) != 0)
        return -EINVAL;
    const char *text = authorization + strlen(scheme);
    ssize_t len = base64_decode(text + strspn(text, " "), both, sizeof both);
    const char *colon = len > 0 ? memchr(both, ':', (size_t)len) : NULL;
    size_t user = colon ? (size_t)(colon - both) : 0;
    size_t password = colon ? (size_t)len - user - 1 : 0;
    int error = -EINVAL;
    if (colon && user <= API_USER_MAX && password <= API_PASSWORD_MAX &&
        !memchr(both, '\0', (size_t)len)) {
        memcpy(ret_user, both, user);
        ret_user[user] = '\0';
        memcpy(ret_password, colon + 1, password);
        ret_password[password] = '\0';
        error = 0;
    }
    explicit_bzero(both, sizeof both);
    return error;
}

void head_wipe(struct head *head)
{
    if (head->authorization)
        explicit_bzero((char *)head->authorization, strlen(head->authorization));
    head->authorization = NULL;
}
