#include "core/settings.h"

#include <arpa/inet.h>
#include <assert.h>
#include <config.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/api.h"
#include "common/buf.h"
#include "common/cleanup.h"
#include "common/json.h"
#include "common/units.h"
#include "core/address.h"

#define LINE_MAX_BYTES 65536
#define SOCKET_MAX     107 /* what fits into struct sockaddr_un */
#define UMASK_DEFAULT  022
#define MIN_FREE_AUTO  -1
#define NAME_BYTES     64 /* more than the longest key */

typedef int (*check_item)(const char *item, char message[static 256]);

/* Small helpers. */

static void *field(const struct settings_key *key, struct settings *settings)
{
    return (char *)settings + key->offset;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* Cuts blanks off both ends, in place. */
static char *trim(char *text)
{
    while (is_blank(*text))
        text++;
    size_t len = strlen(text);
    while (len > 0 && is_blank(text[len - 1]))
        len--;
    text[len] = '\0';
    return text;
}

static bool has_control(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < ' ' || *text == 0x7F)
            return true;
    return false;
}

static int replace_string(char **string, const char *value)
{
    char *copy = value ? strdup(value) : NULL;
    if (value && !copy)
        return -ENOMEM;
    free(*string);
    *string = copy;
    return 0;
}

/* Lists. */

static void list_release(struct settings_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->items[i]);
    free(list->items);
    *list = (struct settings_list){0};
}

/* Takes `item` over, if it succeeds. */
static int list_add(struct settings_list *list, char *item)
{
    char **items = reallocarray(list->items, list->count + 1, sizeof(*items));
    if (!items)
        return -ENOMEM;
    list->items = items;
    list->items[list->count++] = item;
    return 0;
}

static int list_add_copies(struct settings_list *list, const struct settings_list *from)
{
    for (size_t i = 0; i < from->count; i++) {
        _cleanup_free_ char *item = strdup(from->items[i]);
        if (!item || list_add(list, item) < 0)
            return -ENOMEM;
        TAKE_PTR(item);
    }
    return 0;
}

/* "a, b" into a list of its own. */
static int list_split(const char *value, check_item check, struct settings_list *list,
                      char message[static 256])
{
    _cleanup_free_ char *copy = strdup(value);
    if (!copy)
        return -ENOMEM;
    char *rest = copy, *part;
    while ((part = strsep(&rest, ","))) {
        part = trim(part);
        int r = check(part, message);
        if (r < 0)
            return r;
        _cleanup_free_ char *item = strdup(part);
        if (!item || list_add(list, item) < 0)
            return -ENOMEM;
        TAKE_PTR(item);
    }
    return 0;
}

static int set_list(struct settings_list *list, const char *value, const char *empty_word,
                    check_item check, char message[static 256])
{
    _cleanup_(list_release) struct settings_list given = {0}, whole = {0};
    bool empties = strcmp(value, empty_word) == 0;
    int r = empties ? 0 : list_split(value, check, &given, message);
    if (r == 0 && !empties && !list->weak)
        r = list_add_copies(&whole, list);
    if (r == 0)
        r = list_add_copies(&whole, &given);
    if (r < 0)
        return r;
    list_release(list);
    *list = whole;
    whole = (struct settings_list){0};
    return 0;
}

/* What values look like: 0, -EINVAL or -ENOMEM, with a message only where "expected ..." would say
 * too little. */

static int check_word(const char *item, char message[static 256])
{
    (void)message;
    return *item && *item != '-' && !strpbrk(item, " \t/:,") ? 0 : -EINVAL;
}

static int check_host(const char *item, char message[static 256])
{
    (void)message;
    return *item && !strpbrk(item, " \t/,@") ? 0 : -EINVAL;
}

static int check_network(const char *item, char message[static 256])
{
    struct address_network network;
    (void)message;
    return address_parse_network(item, &network);
}

/* The address of an item, "127.0.0.1:6736", "[::1]:6736" or "[fe80::1%eth0]:6736": the family is
 * returned, and -EINVAL if it is none. */
static int parse_listen(const char *item, struct in_addr *ret_v4, struct in6_addr *ret_v6)
{
    char address[INET6_ADDRSTRLEN + IF_NAMESIZE];
    const char *colon = strrchr(item, ':');
    bool v6 = *item == '[';
    if (!colon || (v6 && colon[-1] != ']'))
        return -EINVAL;
    const char *start = v6 ? item + 1 : item;
    ptrdiff_t len = (v6 ? colon - 1 : colon) - start;
    uint64_t port;
    if (len < 0 || (size_t)len >= sizeof(address) ||
        units_parse_uint(colon + 1, 0, 65535, &port) < 0)
        return -EINVAL;
    memcpy(address, start, (size_t)len);
    address[len] = '\0';
    if (v6)
        address[strcspn(address, "%")] = '\0'; /* the link's name is for who binds it */
    int family = v6 ? AF_INET6 : AF_INET;
    return inet_pton(family, address, v6 ? (void *)ret_v6 : ret_v4) == 1 ? family : -EINVAL;
}

static int check_listen(const char *item, char message[static 256])
{
    struct in_addr v4;
    struct in6_addr v6;
    int family = parse_listen(item, &v4, &v6);
    if (family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&v6)) {
        snprintf(message, 256, "write it as the IPv4 address that it is");
        return -EINVAL;
    }
    return family < 0 ? family : 0;
}

bool settings_is_loopback(const char *listen)
{
    struct in_addr v4;
    struct in6_addr v6;
    int family = parse_listen(listen, &v4, &v6);
    if (family == AF_INET)
        return ntohl(v4.s_addr) >> 24 == IN_LOOPBACKNET;
    return family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&v6);
}

static int set_listen(const struct settings_key *key, struct settings *settings, const char *value,
                      char message[static 256])
{
    int r = set_list(field(key, settings), value, "none", check_listen, message);
    if (r == 0)
        settings->listen_set = true;
    return r;
}

static int set_users(const struct settings_key *key, struct settings *settings, const char *value,
                     char message[static 256])
{
    if (strcmp(value, "none") == 0)
        return -EINVAL; /* an empty list lets everybody in: nobody may mistake it for "nobody" */
    return set_list(field(key, settings), value, "all", check_word, message);
}

static int set_hosts(const struct settings_key *key, struct settings *settings, const char *value,
                     char message[static 256])
{
    return set_list(field(key, settings), value, "none", check_host, message);
}

static int set_networks(const struct settings_key *key, struct settings *settings,
                        const char *value, char message[static 256])
{
    return set_list(field(key, settings), value, "none", check_network, message);
}

static int set_number(const struct settings_key *key, struct settings *settings, const char *value,
                      char message[static 256])
{
    (void)message;
    uint64_t number;
    if (units_parse_uint(value, (uint64_t)key->min, (uint64_t)key->max, &number) < 0)
        return -EINVAL;
    *(unsigned *)field(key, settings) = (unsigned)number;
    return 0;
}

static int parse_octal(const char *value, mode_t max, mode_t *ret_mode)
{
    mode_t mode = 0;
    if (!*value)
        return -EINVAL;
    for (; *value; value++) {
        if (*value < '0' || *value > '7')
            return -EINVAL;
        mode = mode * 8 + (mode_t)(*value - '0');
        if (mode > max)
            return -EINVAL;
    }
    *ret_mode = mode;
    return 0;
}

static int set_mode(const struct settings_key *key, struct settings *settings, const char *value,
                    char message[static 256])
{
    (void)message;
    return parse_octal(value, (mode_t)key->max, field(key, settings));
}

static int set_duration(const struct settings_key *key, struct settings *settings,
                        const char *value, char message[static 256])
{
    (void)message;
    int64_t ms;
    if (units_parse_duration(value, &ms) < 0 || ms < key->min || ms > key->max)
        return -EINVAL;
    *(int64_t *)field(key, settings) = ms;
    return 0;
}

/* "off" is 0. */
static int set_size(const struct settings_key *key, struct settings *settings, const char *value,
                    char message[static 256])
{
    (void)message;
    int64_t bytes = 0;
    if (strcmp(value, "off") != 0 && (units_parse_size(value, &bytes) < 0 || bytes < key->min))
        return -EINVAL;
    *(int64_t *)field(key, settings) = bytes;
    return 0;
}

static int set_min_free(const struct settings_key *key, struct settings *settings,
                        const char *value, char message[static 256])
{
    if (strcmp(value, "auto") != 0)
        return set_size(key, settings, value, message);
    *(int64_t *)field(key, settings) = MIN_FREE_AUTO;
    return 0;
}

static int set_auth(const struct settings_key *key, struct settings *settings, const char *value,
                    char message[static 256])
{
    (void)message;
    unsigned ways = 0;
    for (const char *word = value, *next = value; next; word = next) {
        size_t len = strcspn(word, " \t,");
        if (len == 4 && strncmp(word, "peer", len) == 0)
            ways |= SETTINGS_AUTH_PEER;
        else if (len == 3 && strncmp(word, "pam", len) == 0)
            ways |= SETTINGS_AUTH_PAM;
        else
            return -EINVAL;
        next = word + len + strspn(word + len, " \t");
        if (*next && *next != ',')
            return -EINVAL;
        next = *next ? next + 1 + strspn(next + 1, " \t") : NULL;
    }
    *(unsigned *)field(key, settings) = ways;
    return 0;
}

static int set_durability(const struct settings_key *key, struct settings *settings,
                          const char *value, char message[static 256])
{
    static const char *const words[] = {
        [DURABILITY_BATCH] = "batch",
        [DURABILITY_EACH] = "each",
        [DURABILITY_NONE] = "none",
    };
    (void)message;
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcmp(value, words[i]) == 0) {
            *(enum settings_durability *)field(key, settings) = (enum settings_durability)i;
            return 0;
        }
    }
    return -EINVAL;
}

/* "30d", "100000" or both: what is not given sets no limit. A bare number is the count. */
static int set_history(const struct settings_key *key, struct settings *settings, const char *value,
                       char message[static 256])
{
    (void)message;
    int64_t ms = INT64_MAX;
    uint64_t count = UINT64_MAX;
    _cleanup_free_ char *copy = strdup(value);
    if (!copy)
        return -ENOMEM;
    char *rest = copy, *part;
    while ((part = strsep(&rest, ","))) {
        part = trim(part);
        if (count == UINT64_MAX && units_parse_uint(part, 0, (uint64_t)key->max, &count) == 0)
            continue;
        bool is_number = part[strspn(part, "0123456789")] == '\0';
        if (is_number || ms != INT64_MAX || units_parse_duration(part, &ms) < 0 || ms < key->min)
            return -EINVAL;
    }
    settings->keep_history = ms;
    settings->keep_history_count = count;
    return 0;
}

static int set_bool(const struct settings_key *key, struct settings *settings, const char *value,
                    char message[static 256])
{
    (void)message;
    return units_parse_bool(value, field(key, settings));
}

static int set_level(const struct settings_key *key, struct settings *settings, const char *value,
                     char message[static 256])
{
    (void)message;
    return log_level_parse(value, field(key, settings));
}

static int set_text(const struct settings_key *key, struct settings *settings, const char *value,
                    char message[static 256])
{
    (void)message;
    return replace_string(field(key, settings), value);
}

static int set_word(const struct settings_key *key, struct settings *settings, const char *value,
                    char message[static 256])
{
    int r = check_word(value, message);
    return r < 0 ? r : set_text(key, settings, value, message);
}

static int set_path(const struct settings_key *key, struct settings *settings, const char *value,
                    char message[static 256])
{
    if (*value != '/' || strlen(value) > (size_t)key->max)
        return -EINVAL;
    return set_text(key, settings, value, message);
}

static int set_socket(const struct settings_key *key, struct settings *settings, const char *value,
                      char message[static 256])
{
    if (strcmp(value, "none") == 0)
        return set_text(key, settings, "", message);
    return set_path(key, settings, value, message);
}

static int set_directory(const struct settings_key *key, struct settings *settings,
                         const char *value, char message[static 256])
{
    if (strncmp(value, "~/", 2) == 0 && strlen(value) <= (size_t)key->max)
        return set_text(key, settings, value, message);
    return set_path(key, settings, value, message);
}

static int set_proxy(const struct settings_key *key, struct settings *settings, const char *value,
                     char message[static 256])
{
    static const char *const schemes[] = {"http://",    "https://",  "socks4://",
                                          "socks4a://", "socks5://", "socks5h://"};
    if (strcmp(value, "none") == 0)
        return replace_string(field(key, settings), NULL);
    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        size_t len = strlen(schemes[i]);
        if (strncasecmp(value, schemes[i], len) == 0 && value[len] && !strpbrk(value, " \t"))
            return set_text(key, settings, value, message);
    }
    return -EINVAL;
}

/* The keys. */

_Static_assert(sizeof(uid_t) == sizeof(unsigned), "set_number stores uids too");

#define FIELD(name) .offset = offsetof(struct settings, name)
#define DAY_MS      86400000

#define HISTORY_COUNT_MAX 1000000000

/* clang-format off */
static const struct settings_key keys[] = {
    {.name = "max-tasks-num", .by_default = "10", .on_reload = true,
     .expects = "a number from 1 to 1000",
     .help = "how many downloads run at once",
     .set = set_number, FIELD(max_tasks_num), .min = 1, .max = API_MAX_TASKS_MAX},
    {.name = "max-per-host", .by_default = "16", .on_reload = true,
     .expects = "a number from 1 to 1000",
     .help = "how many downloads run at once at one host",
     .set = set_number, FIELD(max_per_host), .min = 1, .max = API_MAX_TASKS_MAX},
    {.name = "max-ranges", .by_default = "16", .on_reload = true,
     .expects = "a number from 1 to 64",
     .help = "how many workers fetch one large file together, when they have nothing else to do",
     .set = set_number, FIELD(max_ranges), .min = 1, .max = API_RANGES_MAX},
    {.name = "listen", .by_default = "127.0.0.1:" API_PORT ", [::1]:" API_PORT, .repeatable = true,
     .expects = "ADDRESS:PORT, such as 127.0.0.1:6736 or [::1]:6736, or none",
     .help = "where to answer HTTP requests",
     .set = set_listen, FIELD(listen)},
    {.name = "tls-cert", .by_default = "(none)", .on_reload = true,
     .expects = "an absolute path",
     .help = "the certificate (PEM) for listeners that other machines reach",
     .set = set_path, FIELD(tls_cert), .max = API_PATH_MAX},
    {.name = "tls-key", .by_default = "(none)", .on_reload = true,
     .expects = "an absolute path",
     .help = "its private key (PEM)",
     .set = set_path, FIELD(tls_key), .max = API_PATH_MAX},
    {.name = "allow-plain-http", .by_default = "no", .on_reload = true,
     .expects = "yes or no",
     .help = "let other machines in without TLS too",
     .set = set_bool, FIELD(allow_plain_http)},
    {.name = "socket",
     .by_default = "(" API_SYSTEM_SOCKET "; of a user: $XDG_RUNTIME_DIR/" API_SOCKET_NAME ")",
     .expects = "an absolute path of at most 107 bytes, or none",
     .help = "the Unix socket to answer HTTP requests on",
     .set = set_socket, FIELD(socket), .max = SOCKET_MAX},
    {.name = "socket-mode", .by_default = "0666",
     .expects = "an octal mode from 0 to 0777",
     .help = "permissions of the Unix socket",
     .set = set_mode, FIELD(socket_mode), .max = 0777},
    {.name = "state-dir", .by_default = "(/var/lib/autodl; of a user: $XDG_STATE_HOME/autodl)",
     .expects = "an absolute path",
     .help = "where the tasks are recorded",
     .set = set_path, FIELD(state_dir), .max = API_PATH_MAX},
    {.name = "run-as", .by_default = "_autodl",
     .expects = "a user name",
     .help = "the system account that the service runs as when root starts it",
     .set = set_word, FIELD(run_as)},
    {.name = "first-uid", .by_default = "1000", .on_reload = true,
     .expects = "a number from 1 to 4294967294",
     .help = "users with a smaller uid are not served",
     .set = set_number, FIELD(first_uid), .min = 1, .max = UINT32_MAX - 1},
    {.name = "allow-users", .by_default = "all", .repeatable = true, .on_reload = true,
     .expects = "user names separated by commas, or all",
     .help = "who is served",
     .set = set_users, FIELD(allow_users)},
    {.name = "operators", .by_default = "autodl", .on_reload = true,
     .expects = "a group name",
     .help = "the group whose members manage everybody's tasks",
     .set = set_word, FIELD(operators)},
    {.name = "auth", .by_default = "peer, pam", .on_reload = true,
     .expects = "peer, pam, or both",
     .help = "who vouches for users on TCP: the kernel on loopback, passwords",
     .set = set_auth, FIELD(auth)},
    {.name = "connect-timeout", .by_default = "30s", .on_reload = true,
     .expects = "a duration from 1ms to 1d, such as 30s",
     .help = "how long a connection to a server may take to come about",
     .set = set_duration, FIELD(connect_timeout), .min = 1, .max = DAY_MS},
    {.name = "stall-timeout", .by_default = "60s", .on_reload = true,
     .expects = "a duration from 1ms to 1d, such as 60s",
     .help = "how long a server may send nothing",
     .set = set_duration, FIELD(stall_timeout), .min = 1, .max = DAY_MS},
    {.name = "retries", .by_default = "8", .on_reload = true,
     .expects = "a number from 0 to 1000",
     .help = "how many attempts in a row may bring nothing before a download fails",
     .set = set_number, FIELD(retries), .min = 0, .max = 1000},
    {.name = "retry-wait", .by_default = "1s", .on_reload = true,
     .expects = "a duration from 1ms to 1d, such as 1s",
     .help = "how long to wait before the first retry; it doubles with each one",
     .set = set_duration, FIELD(retry_wait), .min = 1, .max = DAY_MS},
    {.name = "retry-max-wait", .by_default = "10m", .on_reload = true,
     .expects = "a duration from 1ms to 1d, such as 10m",
     .help = "the longest wait before a retry",
     .set = set_duration, FIELD(retry_max_wait), .min = 1, .max = DAY_MS},
    {.name = "min-free", .by_default = "(the smaller of 512M and 1 %)", .on_reload = true,
     .expects = "a size such as 512M, off, or auto",
     .help = "space that downloads leave free on a file system",
     .set = set_min_free, FIELD(min_free)},
    {.name = "max-file-size", .by_default = "off", .on_reload = true,
     .expects = "a size such as 100G, or off",
     .help = "the largest file that is downloaded",
     .set = set_size, FIELD(max_file_size), .min = 1},
    {.name = "rate-limit", .by_default = "off", .on_reload = true,
     .expects = "a size a second such as 2M, or off",
     .help = "bytes a second, for all downloads together",
     .set = set_size, FIELD(rate_limit), .min = 1},
    {.name = "max-waiting-per-user", .by_default = "1000000", .on_reload = true,
     .expects = "a number from 1 to 1000000000",
     .help = "how many tasks of one user may wait",
     .set = set_number, FIELD(max_waiting_per_user), .min = 1, .max = 1000000000},
    {.name = "durability", .by_default = "batch", .on_reload = true,
     .expects = "batch, each or none",
     .help = "how finished files are written through to the disk",
     .set = set_durability, FIELD(durability)},
    {.name = "keep-history", .by_default = "30d, 100000", .on_reload = true,
     .expects = "a duration, a number of tasks, or both, such as 30d, 100000",
     .help = "how long, and how many, ended tasks are remembered",
     .set = set_history, .min = 1, .max = HISTORY_COUNT_MAX},
    {.name = "unique-names", .by_default = "no", .on_reload = true,
     .expects = "yes or no",
     .help = "add eight random letters to every file name",
     .set = set_bool, FIELD(unique_names)},
    {.name = "remote-time", .by_default = "no", .on_reload = true,
     .expects = "yes or no",
     .help = "give files the time of modification that the server tells",
     .set = set_bool, FIELD(remote_time)},
    {.name = "allow-hidden", .by_default = "no", .on_reload = true,
     .expects = "yes or no",
     .help = "allow names and directories that begin with a dot",
     .set = set_bool, FIELD(allow_hidden)},
    {.name = "default-directory", .by_default = "~/autodl-storage", .on_reload = true,
     .expects = "an absolute path, or one that begins with ~/",
     .help = "where files go when a task names no directory",
     .set = set_directory, FIELD(default_directory), .max = API_PATH_MAX},
    {.name = "umask", .by_default = "(UMASK of /etc/login.defs, else 022)", .on_reload = true,
     .expects = "an octal mode from 0 to 0777",
     .help = "permissions that new files and directories do not get",
     .set = set_mode, FIELD(umask), .max = 0777},
    {.name = "host-names", .by_default = "none", .repeatable = true, .on_reload = true,
     .expects = "host names separated by commas, or none",
     .help = "further names that clients may call this machine by",
     .set = set_hosts, FIELD(host_names)},
    {.name = "deny-networks", .by_default = "none", .repeatable = true, .on_reload = true,
     .expects = "networks separated by commas, such as 10.0.0.0/8, 2001:db8::/32, or none",
     .help = "networks that nothing is downloaded from",
     .set = set_networks, FIELD(deny_networks)},
    {.name = "ca-file", .by_default = "(the system's)", .on_reload = true,
     .expects = "an absolute path",
     .help = "certificates of the authorities that servers are checked against",
     .set = set_path, FIELD(ca_file), .max = API_PATH_MAX},
    {.name = "known-hosts", .by_default = SETTINGS_KNOWN_HOSTS, .on_reload = true,
     .expects = "an absolute path",
     .help = "host keys that sftp servers are checked against",
     .set = set_path, FIELD(known_hosts), .max = API_PATH_MAX},
    {.name = "proxy", .by_default = "none", .on_reload = true, .secret = true,
     .expects = "an http, https or socks URL, such as http://proxy.example.org:3128, or none",
     .help = "the proxy that downloads go through",
     .set = set_proxy, FIELD(proxy)},
    {.name = "user-agent", .by_default = "autodl/" PACKAGE_VERSION, .on_reload = true,
     .expects = "a line of text",
     .help = "how downloads introduce themselves to servers",
     .set = set_text, FIELD(user_agent)},
    {.name = "log-level", .by_default = "info", .on_reload = true,
     .expects = "error, warning, info or debug",
     .help = "the least important lines that are logged",
     .set = set_level, FIELD(log_level)},
};
/* clang-format on */

#define KEY_COUNT (sizeof(keys) / sizeof(keys[0]))
static_assert(KEY_COUNT <= SETTINGS_KEYS_MAX, "each has its source");

const struct settings_key *settings_keys(size_t *ret_count)
{
    *ret_count = KEY_COUNT;
    return keys;
}

static const struct settings_key *find_key(const char *name)
{
    for (size_t i = 0; i < KEY_COUNT; i++)
        if (strcmp(keys[i].name, name) == 0)
            return &keys[i];
    return NULL;
}

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/* How many letters must be added, dropped or changed (Levenshtein). */
static unsigned distance(const char *a, const char *b)
{
    unsigned row[NAME_BYTES];
    size_t len = strlen(b);
    assert(len < NAME_BYTES);
    for (unsigned j = 0; j <= len; j++)
        row[j] = j;
    for (; *a; a++) {
        unsigned diagonal = row[0]++;
        for (size_t j = 1; j <= len; j++) {
            unsigned changed = diagonal + (*a != b[j - 1]);
            diagonal = row[j];
            row[j] = least(changed, least(row[j], row[j - 1]) + 1);
        }
    }
    return row[len];
}

static void say_unknown(const char *name, char message[static 256])
{
    const struct settings_key *closest = NULL;
    unsigned best = 3; /* further away is another word */
    for (size_t i = 0; i < KEY_COUNT; i++) {
        unsigned found = distance(name, keys[i].name);
        if (found < best) {
            best = found;
            closest = &keys[i];
        }
    }
    int len = snprintf(message, 256, "there is no key %.60s", name);
    if (closest)
        snprintf(message + len, 256 - (size_t)len, "; did you mean %s?", closest->name);
}

int settings_set(struct settings *settings, const char *name, const char *value,
                 char message[static 256])
{
    message[0] = '\0';
    const struct settings_key *key = find_key(name);
    if (!key) {
        say_unknown(name, message);
        return -ENOENT;
    }
    int r = -EINVAL;
    if (*value && !has_control(value))
        r = key->set(key, settings, value, message);
    if (r == 0)
        settings->sources[key - keys] = (uint8_t)settings->layer;
    if (r == -ENOMEM)
        snprintf(message, 256, "no memory left");
    else if (r < 0 && !message[0])
        snprintf(message, 256, "expected %s", key->expects);
    return r;
}

/* Files. */

/* 1 and a line without its end, 0 at the end of the file, or a negative errno. */
static int read_line(FILE *file, struct buf *line)
{
    int c;
    buf_clear(line);
    while ((c = getc_unlocked(file)) != EOF && c != '\n') {
        int r = buf_add_char(line, (char)c);
        if (r < 0)
            return r;
    }
    if (ferror(file))
        return errno ? -errno : -EIO;
    if (c == EOF && line->len == 0)
        return 0;
    if (line->len > 0 && line->data[line->len - 1] == '\r')
        line->data[--line->len] = '\0';
    int r = buf_add(line, "", 0); /* there is a string even for an empty line */
    return r < 0 ? r : 1;
}

/* A '#' opens a comment at the start of a line or after a blank. */
static void cut_comment(char *line)
{
    for (char *c = line; (c = strchr(c, '#')); c++) {
        if (c == line || is_blank(c[-1])) {
            *c = '\0';
            return;
        }
    }
}

static int take_line(struct settings *settings, struct buf *line, char problem[static 512])
{
    const char *wrong = NULL;
    if (memchr(line->data, '\0', line->len))
        wrong = "there is a NUL byte in this line";
    else if (!json_is_utf8(line->data, line->len))
        wrong = "this line is not valid UTF-8";
    if (wrong) {
        snprintf(problem, 512, "%s", wrong);
        return -EINVAL;
    }

    cut_comment(line->data);
    char *value = trim(line->data);
    if (!*value)
        return 0;
    const char *key = trim(strsep(&value, "="));
    if (!value || !*key) {
        snprintf(problem, 512, "expected key = value");
        return -EINVAL;
    }
    value = trim(value);
    char message[256];
    int r = settings_set(settings, key, value, message);
    if (r == -ENOENT)
        snprintf(problem, 512, "%s", message);
    else if (r < 0 && find_key(key)->secret)
        snprintf(problem, 512, "%s: %s", key, message);
    else if (r < 0)
        snprintf(problem, 512, "%s = %.80s: %s", key, value, message);
    return r == -ENOENT ? -EINVAL : r; /* -ENOENT is for the file */
}

static int read_lines(struct settings *settings, FILE *file, const char *path,
                      char message[static 512])
{
    _cleanup_(buf_release) struct buf line;
    buf_init(&line, LINE_MAX_BYTES);
    int r;
    for (unsigned number = 1; (r = read_line(file, &line)) != 0; number++) {
        char problem[512];
        if (r == -EMSGSIZE)
            snprintf(problem, sizeof(problem), "this line is longer than 64 KiB");
        else if (r < 0)
            snprintf(problem, sizeof(problem), "cannot be read: %s", strerror(-r));
        else
            r = take_line(settings, &line, problem);
        if (r < 0) {
            snprintf(message, 512, "%.150s:%u: %.340s", path, number, problem);
            return r;
        }
    }
    return 0;
}

static void close_file(FILE **file)
{
    if (*file)
        fclose(*file);
}

int settings_read_file(struct settings *settings, const char *path, bool may_be_missing,
                       char message[static 512])
{
    _cleanup_(close_file) FILE *file = fopen(path, "re");
    if (file)
        return read_lines(settings, file, path, message);
    int r = -errno;
    if (r == -ENOENT && may_be_missing)
        return 0;
    snprintf(message, 512, "%.300s: cannot be read: %s", path, strerror(-r));
    return r;
}

/* UMASK in a file like login.defs(5), where blanks separate name and value. */
static int read_umask(const char *path, mode_t *ret_mask)
{
    mode_t mask = UMASK_DEFAULT;
    int r = 0;
    _cleanup_(buf_release) struct buf line;
    buf_init(&line, LINE_MAX_BYTES);
    _cleanup_(close_file) FILE *file = fopen(path, "re");
    while (file && (r = read_line(file, &line)) > 0) {
        char *rest = trim(line.data);
        const char *name = strsep(&rest, " \t");
        if (!rest || strcmp(name, "UMASK") != 0)
            continue;
        rest = trim(rest);
        parse_octal(strsep(&rest, " \t"), 0777, &mask);
    }
    if (r == -ENOMEM)
        return r;
    *ret_mask = mask;
    return 0;
}

/* All of them. */

int settings_init(struct settings *settings, const char *login_defs)
{
    *settings = (struct settings){.min_free = MIN_FREE_AUTO};
    int umask_known = read_umask(login_defs, &settings->umask);
    if (umask_known < 0)
        return umask_known;
    for (size_t i = 0; i < KEY_COUNT; i++) {
        char message[256];
        if (keys[i].by_default[0] == '(')
            continue;
        int r = settings_set(settings, keys[i].name, keys[i].by_default, message);
        assert(r == 0 || r == -ENOMEM);
        if (r < 0) {
            settings_release(settings);
            return r;
        }
    }
    settings->listen_set = false;
    settings_new_layer(settings);
    return 0;
}

int settings_check(const struct settings *settings, char message[static 512])
{
    if (!settings->tls_cert != !settings->tls_key) {
        snprintf(message, 512, "tls-cert and tls-key go together; %s is missing",
                 settings->tls_cert ? "tls-key" : "tls-cert");
        return -EINVAL;
    }
    if (settings->tls_cert || settings->allow_plain_http)
        return 0;
    for (size_t i = 0; i < settings->listen.count; i++) {
        const char *item = settings->listen.items[i];
        if (settings_is_loopback(item))
            continue;
        snprintf(message, 512,
                 "listen = %.80s: other machines reach that address, so it needs TLS: set tls-cert "
                 "and tls-key (autodl-service --make-cert /etc/autodl makes both); with "
                 "allow-plain-http = yes it goes without, and passwords can be read on the way",
                 item);
        return -EINVAL;
    }
    return 0;
}

void settings_release(struct settings *settings)
{
    list_release(&settings->listen);
    list_release(&settings->allow_users);
    list_release(&settings->host_names);
    list_release(&settings->deny_networks);
    free(settings->tls_cert);
    free(settings->tls_key);
    free(settings->socket);
    free(settings->state_dir);
    free(settings->run_as);
    free(settings->operators);
    free(settings->default_directory);
    free(settings->ca_file);
    free(settings->known_hosts);
    free(settings->proxy);
    free(settings->user_agent);
    *settings = (struct settings){0};
}

enum settings_source settings_source(const struct settings *settings, const char *name)
{
    const struct settings_key *key = find_key(name);
    unsigned layer = settings->sources[key - keys];
    return layer < SETTINGS_COMMAND_LINE ? (enum settings_source)layer : SETTINGS_COMMAND_LINE;
}

void settings_new_layer(struct settings *settings)
{
    settings->layer++;
    settings->listen.weak = true;
    settings->allow_users.weak = true;
    settings->host_names.weak = true;
    settings->deny_networks.weak = true;
}
