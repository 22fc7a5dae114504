#include "http/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/api.h"
#include "common/cleanup.h"
#include "common/log.h"

#define BACKLOG     1024
#define ADDRESS_MAX (INET6_ADDRSTRLEN + sizeof "[]:65535")

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_un local;
};

static int add_socket(struct listeners *listeners, int *fd, bool is_public)
{
    struct listener *more = realloc(listeners->items, (listeners->count + 1) * sizeof *more);
    if (!more)
        return -ENOMEM;
    listeners->items = more;
    listeners->items[listeners->count++] =
        (struct listener){.socket = TAKE_FD(*fd), .is_public = is_public};
    return 0;
}

/* --- TCP --- */

/* "ADDRESS:PORT" or "[ADDRESS]:PORT", numbers only. 0 or -EINVAL. */
static int parse_address(const char *text, union address *ret_address, socklen_t *ret_len)
{
    const char *colon = strrchr(text, ':');
    size_t len = colon ? (size_t)(colon - text) : 0;
    bool bracketed = len >= 2 && text[0] == '[' && text[len - 1] == ']';
    char host[INET6_ADDRSTRLEN + 17];
    if (bracketed) {
        text++;
        len -= 2;
    }
    if (len == 0 || len >= sizeof host)
        return -EINVAL;
    memcpy(host, text, len);
    host[len] = '\0';

    struct addrinfo hints = {.ai_family = bracketed ? AF_INET6 : AF_INET,
                             .ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE};
    struct addrinfo *found;
    if (getaddrinfo(host, colon + 1, &hints, &found) != 0)
        return -EINVAL;
    memcpy(ret_address, found->ai_addr, found->ai_addrlen);
    *ret_len = found->ai_addrlen;
    freeaddrinfo(found);
    return 0;
}

static void print_address(int fd, char text[static ADDRESS_MAX])
{
    union address address = {0};
    socklen_t len = sizeof address;
    char host[INET6_ADDRSTRLEN] = "?";
    getsockname(fd, &address.any, &len);
    bool is_v6 = address.any.sa_family == AF_INET6;
    const void *raw = is_v6 ? (void *)&address.v6.sin6_addr : (void *)&address.v4.sin_addr;
    inet_ntop(address.any.sa_family, raw, host, sizeof host);
    unsigned port = ntohs(is_v6 ? address.v6.sin6_port : address.v4.sin_port);
    snprintf(text, ADDRESS_MAX, is_v6 ? "[%s]:%u" : "%s:%u", host, port);
}

static int open_tcp(const char *text, int *ret_fd)
{
    union address address;
    socklen_t len;
    int error = parse_address(text, &address, &len);
    if (error)
        return error;
    _cleanup_close_ int fd =
        socket(address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (address.any.sa_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    if (bind(fd, &address.any, len) < 0 || listen(fd, BACKLOG) < 0)
        return -errno;
    *ret_fd = TAKE_FD(fd);
    return 0;
}

static void explain(const char *text, int error)
{
    if (error == -EINVAL)
        log_error("listen = %s: expected ADDRESS:PORT with numbers, like 127.0.0.1:%s or [::1]:%s",
                  text, API_PORT, API_PORT);
    else if (error == -EADDRINUSE)
        log_error("listen = %s: another process listens there, or another line of this "
                  "configuration does (0.0.0.0 and [::] are all addresses); choose another port",
                  text);
    else if (error == -EADDRNOTAVAIL || error == -EAFNOSUPPORT)
        log_error("listen = %s: this machine does not have that address; choose one of "
                  "\"ip address\", or remove the line",
                  text);
    else if (error == -EACCES)
        log_error("listen = %s: the service may not use that port; choose one from 1024", text);
    else
        log_error("listen = %s: %s", text, strerror(-error));
}

static void announce(const char *text, const char *address, bool is_public, const char *pin)
{
    if (!is_public) {
        log_info("listening on %s", address);
        return;
    }
    if (pin) {
        log_info("listening on https://%s (pin %s)", address, pin);
        return;
    }
    log_info("listening on %s, plain HTTP for other machines", address);
    log_warning("listen = %s: without TLS everybody on the way can read and change what is said, "
                "passwords too; set tls-cert and tls-key (allow-plain-http is yes)",
                text);
}

static int add_tcp(struct listeners *listeners, const char *text, bool by_default, const char *pin)
{
    _cleanup_close_ int fd = -1;
    int error = open_tcp(text, &fd);
    if (by_default && (error == -EADDRNOTAVAIL || error == -EAFNOSUPPORT)) {
        log_info("not listening on %s: %s", text, strerror(-error));
        return 0;
    }
    if (by_default && error == -EADDRINUSE) {
        /* anybody may have taken it first: that is to stop nobody's downloads */
        log_warning("not listening on %s: another process does; autodl uses the unix socket", text);
        return 0;
    }
    if (error) {
        explain(text, error);
        return error;
    }
    char address[ADDRESS_MAX];
    print_address(fd, address);
    bool is_public = !settings_is_loopback(text);
    error = add_socket(listeners, &fd, is_public);
    if (!error)
        announce(text, address, is_public, pin);
    return error;
}

/* --- the unix socket --- */

/* A socket that nobody answers behind is left over from a crash. */
static bool is_answered(const union address *address)
{
    _cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    return fd >= 0 && (connect(fd, &address->any, sizeof address->local) == 0 || errno == EAGAIN);
}

/* By a handle: where others may write in the directory, they could put a link in its place. */
static int set_mode(const char *path, mode_t mode)
{
    char link[64];
    struct stat there;
    _cleanup_close_ int fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &there) < 0)
        return -1;
    if (!S_ISSOCK(there.st_mode) || there.st_uid != geteuid()) {
        errno = EEXIST;
        return -1;
    }
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    return chmod(link, mode);
}

static int bind_unix(int fd, const char *path, mode_t mode)
{
    union address address = {.local = {.sun_family = AF_UNIX}};
    if (strlen(path) >= sizeof address.local.sun_path) {
        log_error("socket = %s: the path is too long; the system takes at most %zu bytes", path,
                  sizeof address.local.sun_path - 1);
        return -ENAMETOOLONG;
    }
    memcpy(address.local.sun_path, path, strlen(path) + 1);

    struct stat there;
    if (lstat(path, &there) == 0 && !S_ISSOCK(there.st_mode)) {
        log_error("socket = %s: something that is not a socket is there; move it away", path);
        return -EEXIST;
    }
    if (is_answered(&address)) {
        log_error("socket = %s: another service answers there; stop it first, or give this one "
                  "another --socket",
                  path);
        return -EADDRINUSE;
    }
    unlink(path);
    if (bind(fd, &address.any, sizeof address.local) < 0 || set_mode(path, mode) < 0 ||
        listen(fd, BACKLOG) < 0) {
        int error = -errno;
        log_error("socket = %s: %s; the directory must exist and the service's user must be able "
                  "to write in it",
                  path, strerror(-error));
        return error;
    }
    return 0;
}

static int add_unix(struct listeners *listeners, const char *path, mode_t mode)
{
    _cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        int error = -errno;
        log_error("socket = %s: %s", path, strerror(-error));
        return error;
    }
    int error = bind_unix(fd, path, mode);
    if (error)
        return error;
    struct stat ours;
    if (stat(path, &ours) == 0) {
        listeners->socket_dev = ours.st_dev;
        listeners->socket_ino = ours.st_ino;
    }
    listeners->socket_path = strdup(path);
    error = listeners->socket_path ? add_socket(listeners, &fd, false) : -ENOMEM;
    if (!error)
        log_info("listening on unix:%s", path);
    return error;
}

/* --- all of them --- */

int listeners_open(const struct settings *settings, const char *socket_path, const char *pin,
                   struct listeners *ret_listeners)
{
    static const char *const defaults[] = {"127.0.0.1:" API_PORT, "[::1]:" API_PORT};
    struct listeners listeners = {0};
    bool by_default = !settings->listen_set;
    size_t count = by_default ? sizeof defaults / sizeof *defaults : settings->listen.count;
    int error = socket_path ? add_unix(&listeners, socket_path, settings->socket_mode) : 0;
    for (size_t i = 0; i < count && !error; i++)
        error = add_tcp(&listeners, by_default ? defaults[i] : settings->listen.items[i],
                        by_default, pin);
    if (!error && by_default && !listeners.count) {
        log_error("there is nowhere to listen; set socket, or listen to another port");
        error = -EADDRINUSE;
    }
    if (error) {
        listeners_stop(&listeners);
        listeners_close(&listeners);
        return error;
    }
    *ret_listeners = listeners;
    return 0;
}

int listeners_endpoints(const struct listeners *listeners, struct address_endpoint **ret_endpoints,
                        size_t *ret_count)
{
    struct address_endpoint *endpoints = calloc(listeners->count + 1, sizeof *endpoints);
    size_t count = 0;
    if (!endpoints)
        return -ENOMEM;
    for (size_t i = 0; i < listeners->count; i++) {
        union address name = {0};
        socklen_t len = sizeof name;
        if (getsockname(listeners->items[i].socket, &name.any, &len) == 0 &&
            address_from_socket(&name.any, &endpoints[count].address, &endpoints[count].port))
            count++;
    }
    *ret_endpoints = endpoints;
    *ret_count = count;
    return 0;
}

void listeners_stop(struct listeners *listeners)
{
    for (size_t i = 0; i < listeners->count; i++)
        shutdown(listeners->items[i].socket, SHUT_RDWR);
    struct stat there;
    if (listeners->socket_path && lstat(listeners->socket_path, &there) == 0 &&
        there.st_dev == listeners->socket_dev && there.st_ino == listeners->socket_ino)
        unlink(listeners->socket_path);
    free(TAKE_PTR(listeners->socket_path));
}

void listeners_close(struct listeners *listeners)
{
    for (size_t i = 0; i < listeners->count; i++)
        close(listeners->items[i].socket);
    free(listeners->items);
    free(listeners->socket_path);
    *listeners = (struct listeners){0};
}
