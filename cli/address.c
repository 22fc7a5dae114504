#include "address.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/units.h"
#include "output.h"

#define FIRST_UID 1000 /* of people */

void address_release(struct address *address)
{
    free(address->socket);
    free(address->host);
    free(address->url);
    free(address->name);
    free(address->tried);
    free(address->port);
    ssh_place_release(&address->ssh);
    free(address->cacert);
    free(address->pin);
    *address = (struct address){0};
}

int address_copy(const struct address *address, struct address *ret_copy)
{
    struct address copy = {.is_https = address->is_https};
    const struct {
        const char *from;
        char **to;
    } texts[] = {
        {address->socket,   &copy.socket  },
        {address->host,     &copy.host    },
        {address->url,      &copy.url     },
        {address->name,     &copy.name    },
        {address->tried,    &copy.tried   },
        {address->port,     &copy.port    },
        {address->cacert,   &copy.cacert  },
        {address->pin,      &copy.pin     },
        {address->ssh.host, &copy.ssh.host},
        {address->ssh.user, &copy.ssh.user},
        {address->ssh.port, &copy.ssh.port},
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        if (texts[i].from && !(*texts[i].to = strdup(texts[i].from))) {
            address_release(&copy);
            return -ENOMEM;
        }
    }
    *ret_copy = copy;
    return 0;
}

static enum api_exit no_memory(void)
{
    return output_fail(API_EXIT_REFUSED, "out of memory");
}

/* An environment variable that is set and not empty, or NULL. */
static const char *environment(const char *name)
{
    const char *value = secure_getenv(name);
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

struct place {         /* what -h says; owned strings, freed by its user */
    char *host, *port; /* port NULL: not said */
    bool is_https;
    struct ssh_place ssh; /* with a host: host and port are not set */
};

static void place_release(struct place *place)
{
    free(place->host);
    free(place->port);
    ssh_place_release(&place->ssh);
}

/* ssh://[USER@]HOST[:PORT], the port being that of ssh, as ssh(1) itself takes it. */
static enum api_exit parse_ssh(const char *source, const char *text, struct ssh_place *ret_place)
{
    const char *rest = text + strlen("ssh://");
    const char *at = strrchr(rest, '@');
    size_t len = strlen(rest);
    _cleanup_free_ char *host = NULL;
    _cleanup_(ssh_place_release) struct ssh_place place = {0};

    if (at) {
        place.user = strndup(rest, (size_t)(at - rest));
        rest = at + 1;
        len = strlen(rest);
    }
    host = strndup(rest, len > 0 && rest[len - 1] == '/' ? len - 1 : len);
    if (!host || (at && !place.user))
        return no_memory();
    if (place.user && strchr(place.user, ':'))
        return output_fail(API_EXIT_USAGE, "%s ssh://... takes no password: ssh asks for it itself",
                           source);
    if (!split_host(host, &place.host, &place.port) || *place.host == '-' ||
        (place.user && (*place.user == '-' || *place.user == '\0')))
        return output_fail(API_EXIT_USAGE, "%s takes ssh://[USER@]HOST[:PORT], not \"%s\"", source,
                           text);
    *ret_place = place;
    place = (struct ssh_place){0};
    return API_EXIT_DONE;
}

static enum api_exit parse_host(const char *source, const char *text, struct place *ret_place)
{
    _cleanup_free_ char *trimmed = NULL;
    const char *rest = text;

    if (strncasecmp(text, "ssh://", 6) == 0)
        return parse_ssh(source, text, &ret_place->ssh);
    if (strchr(text, '@')) /* a password may stand before it: it is not repeated */
        return output_fail(API_EXIT_USAGE,
                           "%s takes no user and no password: the user goes to -u, the password "
                           "to AUTODL_PASSWORD, ~/.netrc or the prompt",
                           source);
    ret_place->is_https = skip_prefix(&rest, "https://");
    if (ret_place->is_https || skip_prefix(&rest, "http://")) {
        size_t len = strlen(rest);
        trimmed = strndup(rest, len > 0 && rest[len - 1] == '/' ? len - 1 : len);
        if (!trimmed)
            return no_memory();
        rest = trimmed;
    }
    if (strstr(rest, "://") || !split_host(rest, &ret_place->host, &ret_place->port))
        return output_fail(
            API_EXIT_USAGE,
            "%s takes HOST, HOST:PORT, [IPV6]:PORT, https://HOST:PORT or ssh://HOST, not \"%s\"",
            source, text);
    return ret_place->host ? API_EXIT_DONE : no_memory();
}

static enum api_exit set_tcp(const char *host, const char *port, bool is_https,
                             struct address *ret_address)
{
    bool is_v6 = strchr(host, ':') != NULL;
    struct address address = {.is_https = is_https};
    uint64_t number;

    if (units_parse_uint(port, 1, 65535, &number) < 0)
        return output_fail(API_EXIT_USAGE,
                           "\"%s\" is not a port; a port is a number from 1 to 65535", port);
    if (asprintf(&address.url, is_v6 ? "http%s://[%s]:%u" : "http%s://%s:%u", is_https ? "s" : "",
                 host, (unsigned)number) < 0)
        address.url = NULL;
    address.host = strdup(host);
    address.port = strdup(port);
    if (address.url) /* plain HTTP goes without saying */
        address.name = strdup(address.url + (is_https ? 0 : strlen("http://")));
    if (!address.name || !address.host || !address.port) {
        address_release(&address);
        return no_memory();
    }
    *ret_address = address;
    return API_EXIT_DONE;
}

/* The service at localhost over there; takes the place. */
static enum api_exit set_ssh(struct ssh_place *place, const char *port, struct address *ret_address)
{
    struct address address;
    enum api_exit status = set_tcp("localhost", port, false, &address);

    if (status != API_EXIT_DONE)
        return status;
    free(address.name);
    if (asprintf(&address.name, "ssh://%s", place->host) < 0) {
        address.name = NULL;
        address_release(&address);
        return no_memory();
    }
    address.ssh = *place;
    *place = (struct ssh_place){0};
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
    _cleanup_(place_release) struct place place = {0};
    const char *source = host ? "-h" : "AUTODL_HOST";
    const char *text = host ? host : environment("AUTODL_HOST");

    enum api_exit status = parse_host(source, text ? text : "localhost", &place);
    if (status != API_EXIT_DONE)
        return status;
    if (host && place.port && port)
        return output_fail(API_EXIT_USAGE, "-h names a port already; leave out -p");
    if (!port)
        port = place.port ? place.port : environment("AUTODL_PORT");
    if (place.ssh.host)
        return set_ssh(&place.ssh, port ? port : API_PORT, ret_address);
    return set_tcp(place.host, port ? port : API_PORT, place.is_https, ret_address);
}

/* --- the first that accepts --- */

static bool connects(int fd, const void *address, socklen_t size)
{
    /* EAGAIN: its backlog is full, so somebody does listen. */
    return fd >= 0 && (connect(fd, address, size) == 0 || errno == EAGAIN);
}

/* Is who listens there somebody to be trusted: root, ourselves, or the owner of the directory? */
static bool accepts(const char *path, uid_t owner)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct ucred peer;
    socklen_t len = sizeof(peer);
    _cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (strlen(path) >= sizeof(address.sun_path))
        return false;
    memcpy(address.sun_path, path, strlen(path) + 1);
    if (!connects(fd, &address, sizeof(address)))
        return false;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
        return false;
    /* Not connected (EAGAIN): the pid is 0, and only those who may write to the directory could
     * have put a socket there. */
    return peer.pid == 0 || peer.uid == 0 || peer.uid == geteuid() || peer.uid == owner;
}

/* A directory that nobody but its owner puts sockets into; false: none, or not such a one. */
static bool owner_of(const char *directory, uid_t *ret_owner)
{
    struct stat status;

    if (stat(directory, &status) < 0 || !S_ISDIR(status.st_mode) ||
        (status.st_mode & (S_IWGRP | S_IWOTH)))
        return false;
    *ret_owner = status.st_uid;
    return true;
}

/* $XDG_RUNTIME_DIR has to be the user's own (XDG Base Directory Specification): after su it may be
 * somebody else's. */
static enum api_exit find_own(char **ret_path, bool *ret_accepts)
{
    _cleanup_free_ char *directory = NULL;
    const char *runtime = environment("XDG_RUNTIME_DIR");
    uid_t owner;

    if (runtime)
        directory = strdup(runtime);
    else if (asprintf(&directory, "/run/user/%u", (unsigned)geteuid()) < 0)
        directory = NULL;
    if (!directory || asprintf(ret_path, "%s/%s", directory, API_SOCKET_NAME) < 0) {
        *ret_path = NULL;
        return no_memory();
    }
    *ret_accepts =
        owner_of(directory, &owner) && owner == geteuid() && accepts(*ret_path, geteuid());
    return API_EXIT_DONE;
}

/* Does another user of this machine listen there (proc(5))? They would be told what the service is
 * told, passwords of origins too. */
static bool is_squatted(const char *table, unsigned *ret_uid)
{
    char line[512];
    unsigned port = (unsigned)strtoul(API_PORT, NULL, 10);
    unsigned at, state, uid;
    bool found = false;
    FILE *file = fopen(table, "re");
    while (file && !found && fgets(line, sizeof(line), file))
        found = sscanf(line, " %*u: %*[0-9A-F]:%x %*[0-9A-F]:%*x %x %*s %*s %*s %u", &at, &state,
                       &uid) == 3 &&
                at == port && state == 0x0a && uid >= FIRST_UID && uid != geteuid();
    if (file)
        fclose(file);
    if (found)
        *ret_uid = uid;
    return found;
}

static enum api_exit find_default(struct address *ret_address)
{
    unsigned squatter;
    _cleanup_free_ char *own = NULL;
    bool own_accepts = false;
    uid_t owner;

    enum api_exit status = find_own(&own, &own_accepts);
    if (status != API_EXIT_DONE)
        return status;
    if (own_accepts)
        return set_unix("XDG_RUNTIME_DIR", own, ret_address);
    bool has_system = owner_of(API_SYSTEM_DIRECTORY, &owner);
    if (has_system && accepts(API_SYSTEM_SOCKET, owner))
        return set_unix("", API_SYSTEM_SOCKET, ret_address);

    if (is_squatted("/proc/net/tcp", &squatter) || is_squatted("/proc/net/tcp6", &squatter))
        return output_fail(API_EXIT_UNREACHABLE,
                           "at localhost:%s user %u listens, who is not the service; nothing was "
                           "sent. If that is right: -h localhost",
                           API_PORT, squatter);
    struct address address = {0};
    status = set_tcp("localhost", API_PORT, false, &address);
    if (status != API_EXIT_DONE)
        return status;
    address.is_doubtful = has_system;
    if (asprintf(&address.tried, "%s, %s or %s", own, API_SYSTEM_SOCKET, address.name) < 0) {
        address.tried = NULL;
        address_release(&address);
        return no_memory();
    }
    *ret_address = address;
    return API_EXIT_DONE;
}

/* --- whom to trust --- */

/* Pins as curl takes them, "sha256//BASE64", several with ';' between: anything else would be the
 * name of a file to curl. */
static bool is_pin(const char *text)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    for (;; text++) {
        if (strncmp(text, "sha256//", 8) != 0 || strspn(text + 8, digits) != 43 ||
            text[8 + 43] != '=')
            return false;
        text += 8 + 44;
        if (*text != ';')
            return *text == '\0';
    }
}

static enum api_exit set_trust(const struct address_options *options, struct address *address)
{
    const char *option = options->cacert ? "--cacert" : "--pin";

    if (!options->cacert && !options->pin)
        return API_EXIT_DONE;
    if (!address->is_https)
        return output_fail(API_EXIT_USAGE, "%s is for services over TLS: -h https://HOST", option);
    if (options->pin && !is_pin(options->pin))
        return output_fail(API_EXIT_USAGE,
                           "--pin takes sha256//... with 44 characters of base64, as the service "
                           "logs it at its start, not \"%s\"",
                           options->pin);
    if (options->cacert && access(options->cacert, R_OK) < 0)
        return output_fail(API_EXIT_USAGE, "--cacert %s: %s", options->cacert, strerror(errno));
    address->cacert = options->cacert ? strdup(options->cacert) : NULL;
    address->pin = options->pin ? strdup(options->pin) : NULL;
    if ((options->cacert && !address->cacert) || (options->pin && !address->pin))
        return no_memory();
    return API_EXIT_DONE;
}

static enum api_exit find_service(const struct address_options *options,
                                  struct address *ret_address)
{
    const char *variable = environment("AUTODL_SOCKET");

    if (options->socket && (options->host || options->port))
        return output_fail(API_EXIT_USAGE, "--socket and %s name two services; give one of them",
                           options->host ? "-h" : "-p");
    if (options->socket)
        return set_unix("--socket", options->socket, ret_address);
    if (options->host || options->port)
        return find_tcp(options->host, options->port, ret_address);
    if (variable)
        return set_unix("AUTODL_SOCKET", variable, ret_address);
    if (environment("AUTODL_HOST") || environment("AUTODL_PORT"))
        return find_tcp(NULL, NULL, ret_address);
    return find_default(ret_address);
}

enum api_exit address_find(const struct address_options *options, struct address *ret_address)
{
    struct address address;
    enum api_exit status = find_service(options, &address);

    if (status != API_EXIT_DONE)
        return status;
    status = set_trust(options, &address);
    if (status == API_EXIT_DONE)
        *ret_address = address;
    else
        address_release(&address);
    return status;
}
