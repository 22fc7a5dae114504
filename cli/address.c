#include "address.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "common/cleanup.h"
#include "common/units.h"
#include "output.h"

void address_release(struct address *address)
{
    free(address->socket);
    free(address->url);
    free(address->name);
    free(address->tried);
    *address = (struct address){0};
}

static enum api_exit no_memory(void)
{
    return output_fail(API_EXIT_REFUSED, "out of memory");
}

/* An environment variable that is set and not empty, or NULL. */
static const char *environment(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

static bool skip_prefix(const char **text, const char *prefix)
{
    size_t len = strlen(prefix);
    if (strncasecmp(*text, prefix, len) != 0)
        return false;
    *text += len;
    return true;
}

/* For ssh:// and https:// hosts, which a later version speaks to by itself. */
static enum api_exit not_yet(const char *source, const char *text)
{
    const char *target = text;
    bool is_ssh = skip_prefix(&target, "ssh://");

    if (!is_ssh)
        skip_prefix(&target, "https://");
    size_t len = strcspn(target, ":/");
    if (is_ssh && target[len] == ':') /* ssh(1) itself takes the form with a port */
        target = text, len = strlen(text);
    return output_fail(API_EXIT_USAGE,
                       "%s %s comes with a later version; until then: ssh -N -L %s:localhost:%s "
                       "%.*s, then autodl -h localhost ...",
                       source, text, API_PORT, API_PORT, (int)len, target);
}

/* The parts of HOST, HOST:PORT, V6, [V6] or [V6]:PORT, brackets taken away. */
static bool split_host(const char *text, char **ret_host, char **ret_port)
{
    const char *host = text;
    const char *port = NULL;
    size_t len = strcspn(text, ":");

    if (text[0] == '[') {
        host = text + 1;
        len = strcspn(host, "]");
        const char *rest = host + len;
        if (*rest != ']' || (rest[1] != '\0' && rest[1] != ':'))
            return false;
        port = rest[1] == ':' ? rest + 2 : NULL;
    } else if (text[len] == ':' && strchr(text + len + 1, ':')) {
        len = strlen(text); /* an IPv6 address alone */
    } else if (text[len] == ':') {
        port = text + len + 1;
    }
    if (len == 0)
        return false;
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)host[i] <= ' ' || host[i] == 0x7f || strchr("/@?#\\[]", host[i]))
            return false;
    *ret_host = strndup(host, len);
    *ret_port = port ? strdup(port) : NULL;
    return true;
}

static enum api_exit parse_host(const char *source, const char *text, char **ret_host,
                                char **ret_port)
{
    _cleanup_free_ char *trimmed = NULL;
    const char *rest = text;

    if (strncasecmp(text, "ssh://", 6) == 0 || strncasecmp(text, "https://", 8) == 0)
        return not_yet(source, text);
    if (skip_prefix(&rest, "http://")) {
        size_t len = strlen(rest);
        trimmed = strndup(rest, len > 0 && rest[len - 1] == '/' ? len - 1 : len);
        if (!trimmed)
            return no_memory();
        rest = trimmed;
    }
    if (strstr(rest, "://") || !split_host(rest, ret_host, ret_port))
        return output_fail(API_EXIT_USAGE, "%s takes HOST, HOST:PORT or [IPV6]:PORT, not \"%s\"%s",
                           source, text, strchr(text, '@') ? "; the user goes to -u" : "");
    return API_EXIT_DONE;
}

static enum api_exit set_tcp(const char *host, const char *port, struct address *ret_address)
{
    bool is_v6 = strchr(host, ':') != NULL;
    struct address address = {0};
    uint64_t number;

    if (units_parse_uint(port, 1, 65535, &number) < 0)
        return output_fail(API_EXIT_USAGE,
                           "\"%s\" is not a port; a port is a number from 1 to 65535", port);
    if (asprintf(&address.name, is_v6 ? "[%s]:%u" : "%s:%u", host, (unsigned)number) < 0)
        address.name = NULL;
    else if (asprintf(&address.url, "http://%s", address.name) < 0)
        address.url = NULL;
    if (!address.url) {
        address_release(&address);
        return no_memory();
    }
    *ret_address = address;
    return API_EXIT_DONE;
}

static enum api_exit set_unix(const char *source, const char *path, struct address *ret_address)
{
    if (strlen(path) >= sizeof(((struct sockaddr_un *)NULL)->sun_path) || *path == '\0')
        return output_fail(API_EXIT_USAGE, "%s takes the path of a socket, up to %zu bytes", source,
                           sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1);

    struct address address = {
        .socket = strdup(path), .url = strdup("http://localhost"), .name = strdup(path)};
    if (!address.socket || !address.url || !address.name) {
        address_release(&address);
        return no_memory();
    }
    *ret_address = address;
    return API_EXIT_DONE;
}

/* By -h and -p, by AUTODL_HOST and AUTODL_PORT, by both: an option goes before its variable. */
static enum api_exit find_tcp(const char *host, const char *port, struct address *ret_address)
{
    _cleanup_free_ char *found_host = NULL;
    _cleanup_free_ char *found_port = NULL;
    const char *source = host ? "-h" : "AUTODL_HOST";
    const char *text = host ? host : environment("AUTODL_HOST");

    enum api_exit status = parse_host(source, text ? text : "localhost", &found_host, &found_port);
    if (status != API_EXIT_DONE)
        return status;
    if (!found_host)
        return no_memory();
    if (host && found_port && port)
        return output_fail(API_EXIT_USAGE, "-h names a port already; leave out -p");
    if (!port)
        port = found_port ? found_port : environment("AUTODL_PORT");
    return set_tcp(found_host, port ? port : API_PORT, ret_address);
}

static bool accepts(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    _cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0 || strlen(path) >= sizeof(address.sun_path))
        return false;
    memcpy(address.sun_path, path, strlen(path) + 1);
    /* EAGAIN: its backlog is full, so somebody does listen. */
    return connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 || errno == EAGAIN;
}

static enum api_exit find_default(struct address *ret_address)
{
    _cleanup_free_ char *path = NULL;
    const char *runtime = environment("XDG_RUNTIME_DIR");
    int len = runtime ? asprintf(&path, "%s/%s", runtime, API_SOCKET_NAME)
                      : asprintf(&path, "/run/user/%u/%s", (unsigned)geteuid(), API_SOCKET_NAME);
    if (len < 0) {
        path = NULL;
        return no_memory();
    }
    if (accepts(path))
        return set_unix("XDG_RUNTIME_DIR", path, ret_address);
    if (accepts(API_SYSTEM_SOCKET))
        return set_unix("", API_SYSTEM_SOCKET, ret_address);

    struct address address = {0};
    enum api_exit status = set_tcp("localhost", API_PORT, &address);
    if (status != API_EXIT_DONE)
        return status;
    if (asprintf(&address.tried, "%s, %s or %s", path, API_SYSTEM_SOCKET, address.name) < 0) {
        address.tried = NULL;
        address_release(&address);
        return no_memory();
    }
    *ret_address = address;
    return API_EXIT_DONE;
}

enum api_exit address_find(const char *host, const char *port, const char *socket,
                           struct address *ret_address)
{
    const char *variable = environment("AUTODL_SOCKET");

    if (socket && (host || port))
        return output_fail(API_EXIT_USAGE, "--socket and %s name two services; give one of them",
                           host ? "-h" : "-p");
    if (socket)
        return set_unix("--socket", socket, ret_address);
    if (host || port)
        return find_tcp(host, port, ret_address);
    if (variable)
        return set_unix("AUTODL_SOCKET", variable, ret_address);
    if (environment("AUTODL_HOST") || environment("AUTODL_PORT"))
        return find_tcp(NULL, NULL, ret_address);
    return find_default(ret_address);
}
