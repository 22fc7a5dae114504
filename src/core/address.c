#include "core/address.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <string.h>
#include <strings.h>

#include "common/units.h"

#define V4_BITS 96 /* in front of an IPv4 address, in its mapped form */

static const uint8_t mapped_prefix[12] = {[10] = 0xff, [11] = 0xff};

/* --- forms --- */

static struct ip_address from_v4(const void *bytes)
{
    struct ip_address address;
    memcpy(address.bytes, mapped_prefix, 12);
    memcpy(address.bytes + 12, bytes, 4);
    return address;
}

static struct ip_address from_v6(const void *bytes)
{
    struct ip_address address;
    memcpy(address.bytes, bytes, 16);
    return address;
}

static bool is_v4(const struct ip_address *address)
{
    return memcmp(address->bytes, mapped_prefix, 12) == 0;
}

bool address_from_socket(const struct sockaddr *socket, struct ip_address *ret_address,
                         uint16_t *ret_port)
{
    if (socket->sa_family == AF_INET) {
        struct sockaddr_in v4;
        memcpy(&v4, socket, sizeof v4);
        *ret_address = from_v4(&v4.sin_addr);
        *ret_port = ntohs(v4.sin_port);
        return true;
    }
    if (socket->sa_family == AF_INET6) {
        struct sockaddr_in6 v6;
        memcpy(&v6, socket, sizeof v6);
        *ret_address = from_v6(&v6.sin6_addr);
        *ret_port = ntohs(v6.sin6_port);
        return true;
    }
    return false;
}

socklen_t address_to_socket(const struct ip_address *address, uint16_t port,
                            struct sockaddr_storage *ret_socket)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    bool is_four = is_v4(address);
    memcpy(&v4.sin_addr, address->bytes + 12, 4);
    memcpy(&v6.sin6_addr, address->bytes, 16);
    memset(ret_socket, 0, sizeof *ret_socket);
    memcpy(ret_socket, is_four ? (void *)&v4 : (void *)&v6, is_four ? sizeof v4 : sizeof v6);
    return is_four ? sizeof v4 : sizeof v6;
}

bool address_parse(const char *text, struct ip_address *ret_address)
{
    char plain[INET6_ADDRSTRLEN];
    uint8_t bytes[16];
    bool bracketed = *text == '[';
    text += bracketed;
    size_t len = strcspn(text, bracketed ? "%]" : "%");
    if (len >= sizeof plain || (bracketed && !strchr(text + len, ']')))
        return false;
    memcpy(plain, text, len);
    plain[len] = '\0';
    if (inet_pton(AF_INET, plain, bytes) == 1)
        *ret_address = from_v4(bytes);
    else if (inet_pton(AF_INET6, plain, bytes) == 1)
        *ret_address = from_v6(bytes);
    else
        return false;
    return true;
}

void address_print(const struct ip_address *address, char text[static ADDRESS_TEXT_MAX])
{
    bool v4 = is_v4(address);
    inet_ntop(v4 ? AF_INET : AF_INET6, address->bytes + (v4 ? 12 : 0), text, ADDRESS_TEXT_MAX);
}

bool address_equal(const struct ip_address *one, const struct ip_address *other)
{
    return memcmp(one->bytes, other->bytes, sizeof one->bytes) == 0;
}

/* --- networks --- */

bool address_in_network(const struct ip_address *address, const struct address_network *network)
{
    unsigned bytes = network->length / 8, bits = network->length % 8;
    if (memcmp(address->bytes, network->address.bytes, bytes) != 0)
        return false;
    uint8_t mask = (uint8_t)(0xff00 >> bits);
    return bits == 0 || ((address->bytes[bytes] ^ network->address.bytes[bytes]) & mask) == 0;
}

static bool has_bits_behind(const struct address_network *network)
{
    for (unsigned bit = network->length; bit < 128; bit++)
        if (network->address.bytes[bit / 8] & 0x80 >> bit % 8)
            return true;
    return false;
}

int address_parse_network(const char *text, struct address_network *ret_network)
{
    char plain[INET6_ADDRSTRLEN];
    struct address_network network;
    size_t len = strcspn(text, "/");
    if (len >= sizeof plain || strpbrk(text, "%[]"))
        return -EINVAL;
    memcpy(plain, text, len);
    plain[len] = '\0';
    if (!address_parse(plain, &network.address))
        return -EINVAL;

    bool v4 = !strchr(plain, ':');
    uint64_t length = v4 ? 32 : 128;
    if (text[len] && units_parse_uint(text + len + 1, 0, length, &length) < 0)
        return -EINVAL;
    network.length = (unsigned)length + (v4 ? V4_BITS : 0);
    if (has_bits_behind(&network))
        return -EINVAL;
    *ret_network = network;
    return 0;
}

/* --- kinds --- */

/* The first line that fits counts. */
/* clang-format off */
static const struct range {
    const char *network;
    enum address_kind kind;
    const char *adjective;
} ranges[] = {
    {"169.254.169.254",   ADDRESS_METADATA,    "a cloud's metadata"}, /* AWS, Google, most others */
    {"100.100.100.200",   ADDRESS_METADATA,    "a cloud's metadata"}, /* Alibaba */
    {"192.0.0.192",       ADDRESS_METADATA,    "a cloud's metadata"}, /* Oracle */
    {"168.63.129.16",     ADDRESS_METADATA,    "a cloud's metadata"}, /* Azure */
    {"fd00:ec2::254",     ADDRESS_METADATA,    "a cloud's metadata"}, /* AWS */
    {"fd20:ce::254",      ADDRESS_METADATA,    "a cloud's metadata"}, /* Google */
    {"fd00:42::42",       ADDRESS_METADATA,    "a cloud's metadata"}, /* Scaleway */

    {"0.0.0.0/8",         ADDRESS_UNSPECIFIED, "an unspecified"},
    {"10.0.0.0/8",        ADDRESS_LOCAL,       "a private"},
    {"100.64.0.0/10",     ADDRESS_LOCAL,       "a carrier's shared"},
    {"127.0.0.0/8",       ADDRESS_LOCAL,       "a loopback"},
    {"169.254.0.0/16",    ADDRESS_LINK_LOCAL,  "a link-local"},
    {"172.16.0.0/12",     ADDRESS_LOCAL,       "a private"},
    {"192.0.0.9",         ADDRESS_GLOBAL,      "a global"},
    {"192.0.0.10",        ADDRESS_GLOBAL,      "a global"},
    {"192.0.0.0/24",      ADDRESS_LOCAL,       "a reserved"},
    {"192.0.2.0/24",      ADDRESS_LOCAL,       "a documentation"},
    {"192.88.99.0/24",    ADDRESS_LOCAL,       "a reserved"},
    {"192.168.0.0/16",    ADDRESS_LOCAL,       "a private"},
    {"198.18.0.0/15",     ADDRESS_LOCAL,       "a benchmarking"},
    {"198.51.100.0/24",   ADDRESS_LOCAL,       "a documentation"},
    {"203.0.113.0/24",    ADDRESS_LOCAL,       "a documentation"},
    {"224.0.0.0/4",       ADDRESS_MULTICAST,   "a multicast"},
    {"255.255.255.255",   ADDRESS_BROADCAST,   "a broadcast"},
    {"240.0.0.0/4",       ADDRESS_LOCAL,       "a reserved"},
    {"0.0.0.0/0",         ADDRESS_GLOBAL,      "a global"},

    {"::",                ADDRESS_UNSPECIFIED, "an unspecified"},
    {"::1",               ADDRESS_LOCAL,       "a loopback"},
    {"64:ff9b::/96",      ADDRESS_GLOBAL,      "a translated"},
    {"fe80::/10",         ADDRESS_LINK_LOCAL,  "a link-local"},
    {"fc00::/7",          ADDRESS_LOCAL,       "a private"},
    {"ff00::/8",          ADDRESS_MULTICAST,   "a multicast"},
    {"2001:1::1",         ADDRESS_GLOBAL,      "a global"},
    {"2001:1::2",         ADDRESS_GLOBAL,      "a global"},
    {"2001:1::3",         ADDRESS_GLOBAL,      "a global"},
    {"2001:3::/32",       ADDRESS_GLOBAL,      "a global"},
    {"2001:4:112::/48",   ADDRESS_GLOBAL,      "a global"},
    {"2001:20::/28",      ADDRESS_GLOBAL,      "a global"},
    {"2001:30::/28",      ADDRESS_GLOBAL,      "a global"},
    {"2001::/23",         ADDRESS_LOCAL,       "a reserved"},
    {"2001:db8::/32",     ADDRESS_LOCAL,       "a documentation"},
    {"3fff::/20",         ADDRESS_LOCAL,       "a documentation"},
    {"2000::/3",          ADDRESS_GLOBAL,      "a global"},
    {"::/0",              ADDRESS_LOCAL,       "a reserved"}, /* not given out yet */
};

/* Where in the addresses of some networks an IPv4 address is, to be unwrapped by a router. */
static const struct wrapping {
    const char *network;
    uint8_t at[4]; /* its bytes, one after the other, */
    uint8_t flip;  /* ... with these bits turned */
    bool guess;    /* one of several readings */
} wrappings[] = {
    {"::/96",           {12, 13, 14, 15}, 0,    false}, /* IPv4-compatible, RFC 4291 */
    {"::ffff:0:0:0/96", {12, 13, 14, 15}, 0,    false}, /* IPv4-translated, RFC 2765 */
    {"64:ff9b::/96",    {12, 13, 14, 15}, 0,    false}, /* NAT64, RFC 6052 */
    {"64:ff9b:1::/48",  {12, 13, 14, 15}, 0,    true }, /* NAT64, RFC 8215; where the prefix */
    {"64:ff9b:1::/48",  {6, 7, 9, 10},    0,    true }, /* ... ends is not known */
    {"64:ff9b:1::/48",  {7, 9, 10, 11},   0,    true },
    {"64:ff9b:1::/48",  {9, 10, 11, 12},  0,    true },
    {"2002::/16",       {2, 3, 4, 5},     0,    false}, /* 6to4, RFC 3056 */
    {"2001::/32",       {4, 5, 6, 7},     0,    false}, /* Teredo, RFC 4380: server, */
    {"2001::/32",       {12, 13, 14, 15}, 0xff, false}, /* ... and client */
};
/* clang-format on */

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static struct address_network range_networks[COUNT(ranges)];
static struct address_network wrapping_networks[COUNT(wrappings)];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void parse_tables(void)
{
    int r = 0;
    for (size_t i = 0; i < COUNT(ranges) && r == 0; i++)
        r = address_parse_network(ranges[i].network, &range_networks[i]);
    for (size_t i = 0; i < COUNT(wrappings) && r == 0; i++)
        r = address_parse_network(wrappings[i].network, &wrapping_networks[i]);
    assert(r == 0);
    (void)r;
}

static const struct range *range_of(const struct ip_address *address)
{
    size_t i = 0;
    pthread_once(&once, parse_tables);
    while (!address_in_network(address, &range_networks[i])) /* the last one takes all */
        i++;
    return &ranges[i];
}

#define READINGS_MAX 6

static struct ip_address unwrap(const struct ip_address *address, const struct wrapping *wrapping)
{
    uint8_t inside[4];
    for (unsigned i = 0; i < 4; i++)
        inside[i] = address->bytes[wrapping->at[i]] ^ wrapping->flip;
    return from_v4(inside);
}

static bool is_exact(const struct range *range)
{
    return !strchr(range->network, '/');
}

/* The address itself and those inside; how many. */
static size_t read_address(const struct ip_address *address,
                           struct ip_address readings[static READINGS_MAX])
{
    size_t count = 0;
    readings[count++] = *address;
    if (is_exact(range_of(address))) /* ::1 is no 0.0.0.1 */
        return count;
    for (size_t i = 0; i < COUNT(wrappings); i++) {
        if (!address_in_network(address, &wrapping_networks[i]))
            continue;
        struct ip_address inside = unwrap(address, &wrappings[i]);
        if (wrappings[i].guess && range_of(&inside)->kind == ADDRESS_UNSPECIFIED)
            continue;
        readings[count++] = inside;
    }
    return count;
}

static const struct range *worst_range(const struct ip_address *address)
{
    struct ip_address readings[READINGS_MAX];
    size_t count = read_address(address, readings);
    const struct range *worst = range_of(&readings[0]);
    for (size_t i = 1; i < count; i++) {
        const struct range *range = range_of(&readings[i]);
        if (range->kind > worst->kind)
            worst = range;
    }
    return worst;
}

enum address_kind address_kind(const struct ip_address *address)
{
    return worst_range(address)->kind;
}

const char *address_adjective(const struct ip_address *address)
{
    return worst_range(address)->adjective;
}

/* --- what may be reached --- */

/* A dot at the end changes nothing about a name. */
static size_t name_length(const char *host)
{
    size_t len = strlen(host);
    return len > 1 && host[len - 1] == '.' ? len - 1 : len;
}

static bool same_host(const char *one, const char *other)
{
    size_t len = name_length(one);
    return len == name_length(other) && strncasecmp(one, other, len) == 0;
}

bool address_as_typed(const struct address_target *typed, const struct address_target *now)
{
    if (!same_host(typed->host, now->host))
        return false;
    return now->port == typed->port ||
           (strcasecmp(typed->scheme, "http") == 0 && typed->port == 80 &&
            strcasecmp(now->scheme, "https") == 0 && now->port == 443);
}

static bool is_denied(const struct address_policy *policy, const struct ip_address *address)
{
    struct ip_address readings[READINGS_MAX];
    size_t count = read_address(address, readings);
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < policy->denied_count; k++)
            if (address_in_network(&readings[i], &policy->denied[k]))
                return true;
    return false;
}

static bool is_listener(const struct address_policy *policy,
                        const struct address_question *question)
{
    for (size_t i = 0; i < policy->listener_count; i++) {
        const struct address_endpoint *listener = &policy->listeners[i];
        bool any = range_of(&listener->address)->kind == ADDRESS_UNSPECIFIED;
        if (listener->port == question->port &&
            (any ? question->is_ours : address_equal(&listener->address, question->address)))
            return true;
    }
    return false;
}

enum address_verdict address_judge(const struct address_policy *policy,
                                   const struct address_question *question)
{
    enum address_kind kind = address_kind(question->address);
    if (kind > ADDRESS_LOCAL)
        return ADDRESS_NEVER;
    if (is_listener(policy, question))
        return ADDRESS_OWN;
    if (is_denied(policy, question->address))
        return ADDRESS_DENIED;
    if (kind == ADDRESS_GLOBAL && !question->is_here)
        return ADDRESS_ALLOWED;
    if (!question->as_typed)
        return ADDRESS_NOT_TYPED;
    return question->was_global ? ADDRESS_MOVED_INSIDE : ADDRESS_ALLOWED;
}
