/*
 * Which addresses a download may connect to. Pure: what an address is (the special-purpose address
 * registries of IANA, RFC 6890), and whether one may be reached, given what the user typed. The
 * kernel, the resolver and libcurl are asked elsewhere.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

/* IPv6, or IPv4 as IPv4-mapped IPv6 (RFC 4291, 2.5.5.2): each address has one form alone. */
struct ip_address {
    uint8_t bytes[16];
};

enum address_kind {
    ADDRESS_GLOBAL,
    ADDRESS_LOCAL, /* anything else that is not global: loopback, private, reserved, ... */
    /* no download goes there, whatever was typed */
    ADDRESS_LINK_LOCAL,
    ADDRESS_METADATA,    /* where clouds hand out credentials to who asks from inside */
    ADDRESS_UNSPECIFIED, /* "this host, this network" */
    ADDRESS_MULTICAST,
    ADDRESS_BROADCAST,
};

/* False: neither IPv4 nor IPv6. */
bool address_from_socket(const struct sockaddr *socket, struct ip_address *ret_address,
                         uint16_t *ret_port);
/* Its length; an IPv4 address gives an IPv4 socket. */
socklen_t address_to_socket(const struct ip_address *address, uint16_t port,
                            struct sockaddr_storage *ret_socket);
/* "192.0.2.1", "2001:db8::1", "[2001:db8::1]", a zone ("%eth0") left aside. False: a name. */
bool address_parse(const char *text, struct ip_address *ret_address);
#define ADDRESS_TEXT_MAX 46 /* bytes, with the NUL */
void address_print(const struct ip_address *address, char text[static ADDRESS_TEXT_MAX]);
bool address_equal(const struct ip_address *one, const struct ip_address *other);

/* Addresses that carry an IPv4 address inside (NAT64, 6to4, Teredo, compatible ones) are what that
 * one is, if it is the worse of the two. */
enum address_kind address_kind(const struct ip_address *address);
/* "a link-local", "a loopback", "a private", ...: to be followed by "address". */
const char *address_adjective(const struct ip_address *address);

struct address_network {
    struct ip_address address;
    unsigned length; /* bits of the prefix; of IPv4: 96 more */
};

/* "10.0.0.0/8", "2001:db8::/32", or one address. 0; -EINVAL, also when bits behind the prefix are
 * set. */
int address_parse_network(const char *text, struct address_network *ret_network);
bool address_in_network(const struct ip_address *address, const struct address_network *network);

struct address_endpoint {
    struct ip_address address; /* unspecified: every address of this machine */
    uint16_t port;
};

/* What is out of bounds for every download. */
struct address_policy {
    struct address_network *denied; /* deny-networks */
    size_t denied_count;
    struct address_endpoint *listeners; /* the service's own */
    size_t listener_count;
};

/* Where a URL leads, as far as policy goes. Borrowed. */
struct address_target {
    const char *scheme;
    const char *host;
    uint16_t port;
};

/* Whether `now` is the host and port that `typed` names, or its https at 443 after http at 80. */
bool address_as_typed(const struct address_target *typed, const struct address_target *now);

/* How the address was come by. */
struct address_question {
    const struct ip_address *address;
    uint16_t port;
    bool is_ours;    /* an address of this machine; asked for ports of listeners alone */
    bool is_here;    /* an address of this machine; asked for global ones alone */
    bool as_typed;   /* address_as_typed */
    bool was_global; /* the typed host had a global address before */
};

enum address_verdict {
    ADDRESS_ALLOWED,
    ADDRESS_NEVER,        /* by its kind */
    ADDRESS_OWN,          /* it is the service itself */
    ADDRESS_DENIED,       /* in deny-networks */
    ADDRESS_NOT_TYPED,    /* not global, and nobody asked for it */
    ADDRESS_MOVED_INSIDE, /* not global, though it was before */
};

enum address_verdict address_judge(const struct address_policy *policy,
                                   const struct address_question *question);
