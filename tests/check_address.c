#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/address.h"
#include "tap.h"

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

static struct ip_address parse(const char *text)
{
    struct ip_address address;
    ck_assert_msg(address_parse(text, &address), "%s", text);
    return address;
}

/* Both edges of each range, and what is next to it. */
static const struct {
    const char *text;
    enum address_kind kind;
} kinds[] = {
  /* IPv4, in the order of the registry */
    {"0.0.0.0",                         ADDRESS_UNSPECIFIED},
    {"0.0.0.1",                         ADDRESS_UNSPECIFIED},
    {"0.255.255.255",                   ADDRESS_UNSPECIFIED},
    {"1.0.0.0",                         ADDRESS_GLOBAL     },
    {"1.1.1.1",                         ADDRESS_GLOBAL     },
    {"8.8.8.8",                         ADDRESS_GLOBAL     },
    {"9.255.255.255",                   ADDRESS_GLOBAL     },
    {"10.0.0.0",                        ADDRESS_LOCAL      },
    {"10.255.255.255",                  ADDRESS_LOCAL      },
    {"11.0.0.0",                        ADDRESS_GLOBAL     },
    {"100.63.255.255",                  ADDRESS_GLOBAL     },
    {"100.64.0.0",                      ADDRESS_LOCAL      },
    {"100.100.100.199",                 ADDRESS_LOCAL      },
    {"100.100.100.200",                 ADDRESS_METADATA   },
    {"100.100.100.201",                 ADDRESS_LOCAL      },
    {"100.127.255.255",                 ADDRESS_LOCAL      },
    {"100.128.0.0",                     ADDRESS_GLOBAL     },
    {"126.255.255.255",                 ADDRESS_GLOBAL     },
    {"127.0.0.0",                       ADDRESS_LOCAL      },
    {"127.0.0.1",                       ADDRESS_LOCAL      },
    {"127.255.255.255",                 ADDRESS_LOCAL      },
    {"128.0.0.0",                       ADDRESS_GLOBAL     },
    {"168.63.129.15",                   ADDRESS_GLOBAL     },
    {"168.63.129.16",                   ADDRESS_METADATA   },
    {"169.253.255.255",                 ADDRESS_GLOBAL     },
    {"169.254.0.0",                     ADDRESS_LINK_LOCAL },
    {"169.254.169.253",                 ADDRESS_LINK_LOCAL },
    {"169.254.169.254",                 ADDRESS_METADATA   },
    {"169.254.255.255",                 ADDRESS_LINK_LOCAL },
    {"169.255.0.0",                     ADDRESS_GLOBAL     },
    {"172.15.255.255",                  ADDRESS_GLOBAL     },
    {"172.16.0.0",                      ADDRESS_LOCAL      },
    {"172.31.255.255",                  ADDRESS_LOCAL      },
    {"172.32.0.0",                      ADDRESS_GLOBAL     },
    {"191.255.255.255",                 ADDRESS_GLOBAL     },
    {"192.0.0.0",                       ADDRESS_LOCAL      },
    {"192.0.0.8",                       ADDRESS_LOCAL      },
    {"192.0.0.9",                       ADDRESS_GLOBAL     },
    {"192.0.0.10",                      ADDRESS_GLOBAL     },
    {"192.0.0.11",                      ADDRESS_LOCAL      },
    {"192.0.0.170",                     ADDRESS_LOCAL      },
    {"192.0.0.192",                     ADDRESS_METADATA   },
    {"192.0.0.255",                     ADDRESS_LOCAL      },
    {"192.0.1.0",                       ADDRESS_GLOBAL     },
    {"192.0.2.0",                       ADDRESS_LOCAL      },
    {"192.0.2.255",                     ADDRESS_LOCAL      },
    {"192.0.3.0",                       ADDRESS_GLOBAL     },
    {"192.31.196.1",                    ADDRESS_GLOBAL     },
    {"192.52.193.1",                    ADDRESS_GLOBAL     },
    {"192.88.98.255",                   ADDRESS_GLOBAL     },
    {"192.88.99.1",                     ADDRESS_LOCAL      },
    {"192.88.100.0",                    ADDRESS_GLOBAL     },
    {"192.167.255.255",                 ADDRESS_GLOBAL     },
    {"192.168.0.0",                     ADDRESS_LOCAL      },
    {"192.168.255.255",                 ADDRESS_LOCAL      },
    {"192.169.0.0",                     ADDRESS_GLOBAL     },
    {"192.175.48.1",                    ADDRESS_GLOBAL     },
    {"198.17.255.255",                  ADDRESS_GLOBAL     },
    {"198.18.0.0",                      ADDRESS_LOCAL      },
    {"198.19.255.255",                  ADDRESS_LOCAL      },
    {"198.20.0.0",                      ADDRESS_GLOBAL     },
    {"198.51.99.255",                   ADDRESS_GLOBAL     },
    {"198.51.100.0",                    ADDRESS_LOCAL      },
    {"198.51.100.255",                  ADDRESS_LOCAL      },
    {"198.51.101.0",                    ADDRESS_GLOBAL     },
    {"203.0.112.255",                   ADDRESS_GLOBAL     },
    {"203.0.113.0",                     ADDRESS_LOCAL      },
    {"203.0.113.255",                   ADDRESS_LOCAL      },
    {"203.0.114.0",                     ADDRESS_GLOBAL     },
    {"223.255.255.255",                 ADDRESS_GLOBAL     },
    {"224.0.0.0",                       ADDRESS_MULTICAST  },
    {"239.255.255.255",                 ADDRESS_MULTICAST  },
    {"240.0.0.0",                       ADDRESS_LOCAL      },
    {"255.255.255.254",                 ADDRESS_LOCAL      },
    {"255.255.255.255",                 ADDRESS_BROADCAST  },

 /* IPv6 */
    {"::",                              ADDRESS_UNSPECIFIED},
    {"::1",                             ADDRESS_LOCAL      },
    {"::2",                             ADDRESS_UNSPECIFIED},
    {"::1:0:0:0:0",                     ADDRESS_LOCAL      },
    {"100::1",                          ADDRESS_LOCAL      },
    {"1fff:ffff::",                     ADDRESS_LOCAL      },
    {"2000::",                          ADDRESS_GLOBAL     },
    {"2001:1::",                        ADDRESS_LOCAL      },
    {"2001:1::1",                       ADDRESS_GLOBAL     },
    {"2001:1::2",                       ADDRESS_GLOBAL     },
    {"2001:1::4",                       ADDRESS_LOCAL      },
    {"2001:2::1",                       ADDRESS_LOCAL      },
    {"2001:3::1",                       ADDRESS_GLOBAL     },
    {"2001:4:111::1",                   ADDRESS_LOCAL      },
    {"2001:4:112::1",                   ADDRESS_GLOBAL     },
    {"2001:10::1",                      ADDRESS_LOCAL      },
    {"2001:20::1",                      ADDRESS_GLOBAL     },
    {"2001:2f:ffff::1",                 ADDRESS_GLOBAL     },
    {"2001:3f:ffff::1",                 ADDRESS_GLOBAL     },
    {"2001:40::1",                      ADDRESS_LOCAL      },
    {"2001:1ff:ffff::1",                ADDRESS_LOCAL      },
    {"2001:200::1",                     ADDRESS_GLOBAL     },
    {"2001:4860:4860::8888",            ADDRESS_GLOBAL     },
    {"2001:db7:ffff::1",                ADDRESS_GLOBAL     },
    {"2001:db8::1",                     ADDRESS_LOCAL      },
    {"2001:db9::1",                     ADDRESS_GLOBAL     },
    {"2606:4700:4700::1111",            ADDRESS_GLOBAL     },
    {"2620:4f:8000::1",                 ADDRESS_GLOBAL     },
    {"3ffe:ffff::1",                    ADDRESS_GLOBAL     },
    {"3fff::1",                         ADDRESS_LOCAL      },
    {"3fff:fff:ffff::1",                ADDRESS_LOCAL      },
    {"3fff:1000::1",                    ADDRESS_GLOBAL     },
    {"4000::1",                         ADDRESS_LOCAL      },
    {"5f00::1",                         ADDRESS_LOCAL      },
    {"fbff:ffff::1",                    ADDRESS_LOCAL      },
    {"fc00::1",                         ADDRESS_LOCAL      },
    {"fd00:ec2::253",                   ADDRESS_LOCAL      },
    {"fd00:ec2::254",                   ADDRESS_METADATA   },
    {"fd20:ce::254",                    ADDRESS_METADATA   },
    {"fd00:42::42",                     ADDRESS_METADATA   },
    {"fdff:ffff::1",                    ADDRESS_LOCAL      },
    {"fe7f:ffff::1",                    ADDRESS_LOCAL      },
    {"fe80::1",                         ADDRESS_LINK_LOCAL },
    {"fe80::1%eth0",                    ADDRESS_LINK_LOCAL },
    {"[fe80::1%25eth0]",                ADDRESS_LINK_LOCAL },
    {"febf:ffff::1",                    ADDRESS_LINK_LOCAL },
    {"fec0::1",                         ADDRESS_LOCAL      },
    {"feff:ffff::1",                    ADDRESS_LOCAL      },
    {"ff02::1",                         ADDRESS_MULTICAST  },
    {"ffff:ffff::1",                    ADDRESS_MULTICAST  },

 /* IPv4 inside IPv6: mapped */
    {"::ffff:8.8.8.8",                  ADDRESS_GLOBAL     },
    {"::ffff:127.0.0.1",                ADDRESS_LOCAL      },
    {"[::ffff:7f00:1]",                 ADDRESS_LOCAL      },
    {"::ffff:0.0.0.0",                  ADDRESS_UNSPECIFIED},
    {"::ffff:169.254.169.254",          ADDRESS_METADATA   },
    {"::ffff:a9fe:a9fe",                ADDRESS_METADATA   },
    {"::ffff:224.0.0.1",                ADDRESS_MULTICAST  },
 /* compatible, translated */
    {"::8.8.8.8",                       ADDRESS_LOCAL      },
    {"::127.0.0.1",                     ADDRESS_LOCAL      },
    {"::169.254.169.254",               ADDRESS_METADATA   },
    {"::100.100.100.200",               ADDRESS_METADATA   },
    {"::ffff:0:8.8.8.8",                ADDRESS_LOCAL      },
    {"::ffff:0:169.254.169.254",        ADDRESS_METADATA   },
 /* NAT64 */
    {"64:ff9b::8.8.8.8",                ADDRESS_GLOBAL     },
    {"64:ff9b::10.0.0.1",               ADDRESS_LOCAL      },
    {"64:ff9b::127.0.0.1",              ADDRESS_LOCAL      },
    {"64:ff9b::0.0.0.0",                ADDRESS_UNSPECIFIED},
    {"64:ff9b::169.254.169.254",        ADDRESS_METADATA   },
    {"64:ff9b::a9fe:1",                 ADDRESS_LINK_LOCAL },
    {"64:ff9b:0:0:0:1:808:808",         ADDRESS_LOCAL      },
    {"64:ff9b:1::8.8.8.8",              ADDRESS_LOCAL      },
    {"64:ff9b:1::10.0.0.1",             ADDRESS_LOCAL      },
    {"64:ff9b:1::169.254.169.254",      ADDRESS_METADATA   },
    {"64:ff9b:1:fffe::169.254.169.254", ADDRESS_METADATA   },
    {"64:ff9b:1:a9fe:a9:fe00::",        ADDRESS_METADATA   }, /* prefix of 48 */
    {"64:ff9b:1:12a9:fe:a9fe::",        ADDRESS_METADATA   }, /* of 56 */
    {"64:ff9b:1:1234:a9:fea9:fe00:0",   ADDRESS_METADATA   }, /* of 64 */
    {"64:ff9b:2::1",                    ADDRESS_LOCAL      },
 /* 6to4 */
    {"2002:808:808::1",                 ADDRESS_GLOBAL     },
    {"2002:a00:1::1",                   ADDRESS_LOCAL      },
    {"2002:7f00:1::1",                  ADDRESS_LOCAL      },
    {"2002:a9fe:a9fe::1",               ADDRESS_METADATA   },
    {"2002:a9fe:1::1",                  ADDRESS_LINK_LOCAL },
    {"2002:6464:64c8::",                ADDRESS_METADATA   },
    {"2002::1",                         ADDRESS_UNSPECIFIED},
    {"2002:e000:1::1",                  ADDRESS_MULTICAST  },
 /* Teredo: the server's address plain, the client's with each bit turned */
    {"2001:0:808:808:0:0:f7f7:f7f7",    ADDRESS_LOCAL      },
    {"2001:0:a9fe:a9fe:0:0:f7f7:f7f7",  ADDRESS_METADATA   },
    {"2001:0:808:808:0:0:5601:5601",    ADDRESS_METADATA   },
    {"2001:0:808:808:0:0:5601:fffe",    ADDRESS_LINK_LOCAL },
    {"2001:0:808:808:0:0:1fff:fffe",    ADDRESS_MULTICAST  },
};

START_TEST(each_address_is_of_its_kind)
{
    struct ip_address address = parse(kinds[_i].text);
    ck_assert_msg(address_kind(&address) == kinds[_i].kind, "%s is %d, not %d", kinds[_i].text,
                  address_kind(&address), kinds[_i].kind);
    ck_assert_int_eq(strncmp(address_adjective(&address), "a", 1), 0);
}
END_TEST

START_TEST(names_are_not_addresses)
{
    static const char *const names[] = {
        "",
        "localhost",
        "1.2.3",
        "1.2.3.4.",
        "0x7f.1",
        "2130706433",
        "127.0.0.1x",
        "[::1",
        "::1::",
        "1.2.3.256",
        "a%b",
        "10.0.0.1/8",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
    struct ip_address address = parse("192.0.2.1"), before = address;
    for (int i = 0; i < COUNT(names); i++)
        ck_assert_msg(!address_parse(names[i], &address), "%s", names[i]);
    ck_assert(address_equal(&address, &before));
}
END_TEST

/* However an IPv4 address comes, it is the same one: as a socket of either family, or as text. */
START_TEST(one_form_for_each_address)
{
    unsigned seed = (unsigned)time(NULL) ^ (unsigned)clock();
    printf("# seed %u\n", seed);
    fflush(stdout);
    srandom(seed);
    for (int i = 0; i < 20000; i++) {
        struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(80)};
        struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(80)};
        uint32_t number = htonl((uint32_t)random() << 1 ^ (uint32_t)random());
        if (i % 4 == 0) { /* near the ranges that matter */
            struct ip_address near = parse(kinds[i / 4 % 75].text);
            memcpy(&number, near.bytes + 12, 4);
        }
        v4.sin_addr.s_addr = number;
        v6.sin6_addr.s6_addr[10] = v6.sin6_addr.s6_addr[11] = 0xff;
        memcpy(v6.sin6_addr.s6_addr + 12, &number, 4);
        char text[ADDRESS_TEXT_MAX], mapped[ADDRESS_TEXT_MAX + 8], nat64[ADDRESS_TEXT_MAX + 16];
        struct ip_address one, other, printed, inside;
        uint16_t port = 0;
        ck_assert(address_from_socket((struct sockaddr *)&v4, &one, &port));
        ck_assert_uint_eq(port, 80);
        ck_assert(address_from_socket((struct sockaddr *)&v6, &other, &port));
        ck_assert(address_equal(&one, &other));
        address_print(&one, text);
        snprintf(mapped, sizeof mapped, "::ffff:%s", text);
        snprintf(nat64, sizeof nat64, "64:ff9b::%s", text);
        printed = parse(text);
        ck_assert(address_equal(&one, &printed));
        printed = parse(mapped);
        ck_assert(address_equal(&one, &printed));
        inside = parse(nat64);
        ck_assert_msg(address_kind(&inside) == address_kind(&one), "%s", nat64);
    }
    struct sockaddr local = {.sa_family = AF_UNIX};
    struct ip_address address;
    uint16_t port;
    ck_assert(!address_from_socket(&local, &address, &port));
}
END_TEST

static const struct {
    const char *network; /* NULL: not one */
    const char *inside, *outside;
} networks[] = {
    {"10.0.0.0/8",     "10.255.0.1",       "11.0.0.0"       },
    {"10.0.0.0/8",     "::ffff:10.1.2.3",  "::10.1.2.3"     },
    {"192.0.2.128/25", "192.0.2.128",      "192.0.2.127"    },
    {"192.0.2.7",      "192.0.2.7",        "192.0.2.6"      },
    {"192.0.2.7/32",   "192.0.2.7",        "192.0.2.8"      },
    {"0.0.0.0/0",      "203.0.113.9",      "2001:db8::1"    },
    {"::/0",           "203.0.113.9",      NULL             },
    {"2001:db8::/33",  "2001:db8:7fff::1", "2001:db8:8000::"},
    {"2001:db8::7",    "2001:db8::7",      "2001:db8::8"    },
    {"fe80::/10",      "febf::1",          "fec0::1"        },
};

START_TEST(networks_hold_what_is_in_them)
{
    struct address_network network;
    ck_assert_int_eq(address_parse_network(networks[_i].network, &network), 0);
    struct ip_address address = parse(networks[_i].inside);
    ck_assert(address_in_network(&address, &network));
    if (networks[_i].outside) {
        address = parse(networks[_i].outside);
        ck_assert(!address_in_network(&address, &network));
    }
}
END_TEST

START_TEST(what_is_no_network_is_refused)
{
    static const char *const bad[] = {"",
                                      "/8",
                                      "10.0.0.0/",
                                      "10.0.0.0/33",
                                      "10.0.0.1/8",
                                      "10/8",
                                      "10.0.0.0/8/",
                                      "10.0.0.0/-1",
                                      "10.0.0.0/ 8",
                                      "::/129",
                                      "2001:db8::1/32",
                                      "[::1]/128",
                                      "fe80::%eth0/64",
                                      "localhost",
                                      "10.0.0.0/08x"};
    struct address_network network;
    for (int i = 0; i < COUNT(bad); i++)
        ck_assert_msg(address_parse_network(bad[i], &network) == -EINVAL, "%s", bad[i]);
}
END_TEST

static const struct {
    struct address_target typed, now;
    bool as_typed;
} targets[] = {
    {{"http", "a.example", 80},   {"http", "a.example", 80},    true },
    {{"http", "a.example", 80},   {"http", "A.Example.", 80},   true },
    {{"http", "a.example", 80},   {"https", "a.example", 443},  true },
    {{"http", "a.example", 8080}, {"https", "a.example", 443},  false},
    {{"https", "a.example", 443}, {"http", "a.example", 80},    false},
    {{"https", "a.example", 443}, {"https", "a.example", 443},  true },
    {{"http", "a.example", 80},   {"http", "a.example", 443},   false},
    {{"http", "a.example", 80},   {"https", "a.example", 8443}, false},
    {{"http", "a.example", 80},   {"http", "a.example", 8080},  false},
    {{"http", "a.example", 8080}, {"https", "a.example", 8080}, true },
    {{"ftp", "a.example", 80},    {"https", "a.example", 443},  false},
    {{"http", "a.example", 80},   {"http", "b.example", 80},    false},
    {{"http", "a.example", 80},   {"http", "a.example.b", 80},  false},
    {{"http", "localhost", 80},   {"http", "127.0.0.1", 80},    false},
    {{"http", "127.0.0.1", 80},   {"http", "127.0.0.2", 80},    false},
    {{"http", "[::1]", 80},       {"http", "[::1]", 80},        true },
};

START_TEST(typed_is_host_and_port)
{
    ck_assert_int_eq(address_as_typed(&targets[_i].typed, &targets[_i].now), targets[_i].as_typed);
}
END_TEST

/* In this house port 6736 of 127.0.0.1 and port 7000 of everything are the service, and two
 * networks are denied. */
static const struct {
    const char *address;
    uint16_t port;
    bool ours, typed, was_global;
    enum address_verdict verdict;
} questions[] = {
    {"8.8.8.8",           80,   false, true,  false, ADDRESS_ALLOWED     },
    {"8.8.8.8",           80,   false, false, false, ADDRESS_ALLOWED     },
    {"8.8.8.8",           80,   false, false, true,  ADDRESS_ALLOWED     },
    {"127.0.0.1",         80,   true,  true,  false, ADDRESS_ALLOWED     },
    {"127.0.0.1",         80,   true,  false, false, ADDRESS_NOT_TYPED   },
    {"127.0.0.1",         80,   true,  true,  true,  ADDRESS_MOVED_INSIDE},
    {"10.0.0.1",          80,   false, true,  false, ADDRESS_ALLOWED     },
    {"10.0.0.1",          80,   false, false, false, ADDRESS_NOT_TYPED   },
    {"10.0.0.1",          80,   false, true,  true,  ADDRESS_MOVED_INSIDE},
    {"::1",               80,   true,  true,  false, ADDRESS_ALLOWED     },
    {"::1",               80,   true,  false, false, ADDRESS_NOT_TYPED   },
    {"64:ff9b::10.0.0.1", 80,   false, false, false, ADDRESS_NOT_TYPED   },
    {"64:ff9b::8.8.8.8",  80,   false, false, false, ADDRESS_ALLOWED     },
    {"169.254.169.254",   80,   false, true,  false, ADDRESS_NEVER       },
    {"169.254.1.1",       80,   false, true,  false, ADDRESS_NEVER       },
    {"fe80::1",           80,   false, true,  false, ADDRESS_NEVER       },
    {"0.0.0.0",           80,   true,  true,  false, ADDRESS_NEVER       },
    {"::",                80,   true,  true,  false, ADDRESS_NEVER       },
    {"224.0.0.1",         80,   false, true,  false, ADDRESS_NEVER       },
    {"255.255.255.255",   80,   false, true,  false, ADDRESS_NEVER       },
    {"127.0.0.1",         6736, true,  true,  false, ADDRESS_OWN         },
    {"::ffff:127.0.0.1",  6736, true,  true,  false, ADDRESS_OWN         },
    {"127.0.0.2",         6736, true,  true,  false, ADDRESS_ALLOWED     },
    {"::1",               6736, true,  true,  false, ADDRESS_ALLOWED     },
    {"127.0.0.2",         7000, true,  true,  false, ADDRESS_OWN         },
    {"8.8.8.8",           7000, true,  true,  false, ADDRESS_OWN         },
    {"8.8.8.8",           7000, false, true,  false, ADDRESS_ALLOWED     },
    {"8.8.4.1",           80,   false, true,  false, ADDRESS_DENIED      },
    {"10.9.0.1",          80,   false, true,  false, ADDRESS_DENIED      },
    {"64:ff9b::10.9.0.1", 80,   false, true,  false, ADDRESS_DENIED      },
    {"2002:a09:1::1",     80,   false, true,  false, ADDRESS_DENIED      },
    {"10.8.0.1",          80,   false, true,  false, ADDRESS_ALLOWED     },
};

START_TEST(verdicts)
{
    struct address_network denied[2];
    struct address_endpoint listeners[] = {
        {parse("127.0.0.1"), 6736},
        {parse("0.0.0.0"),   7000},
    };
    ck_assert_int_eq(address_parse_network("10.9.0.0/16", &denied[0]), 0);
    ck_assert_int_eq(address_parse_network("8.8.4.0/24", &denied[1]), 0);
    const struct address_policy policy = {denied, 2, listeners, 2};
    struct ip_address address = parse(questions[_i].address);
    const struct address_question question = {
        .address = &address,
        .port = questions[_i].port,
        .is_ours = questions[_i].ours,
        .as_typed = questions[_i].typed,
        .was_global = questions[_i].was_global,
    };
    enum address_verdict verdict = address_judge(&policy, &question);
    ck_assert_msg(verdict == questions[_i].verdict, "%s port %u: %d, not %d", questions[_i].address,
                  question.port, verdict, questions[_i].verdict);
}
END_TEST

/* Nothing leads to this machine's own services but what was typed, be the address global. */
START_TEST(own_global_addresses)
{
    const struct address_policy policy = {0};
    struct ip_address address = parse("9.9.9.9");
    struct address_question question = {.address = &address, .port = 9200, .is_here = true};
    ck_assert_int_eq(address_judge(&policy, &question), ADDRESS_NOT_TYPED);
    question.as_typed = true;
    ck_assert_int_eq(address_judge(&policy, &question), ADDRESS_ALLOWED);
    question.as_typed = question.is_here = false;
    ck_assert_int_eq(address_judge(&policy, &question), ADDRESS_ALLOWED);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("address");
    TCase *tests = tcase_create("address");
    tcase_add_loop_test(tests, each_address_is_of_its_kind, 0, COUNT(kinds));
    tcase_add_test(tests, names_are_not_addresses);
    tcase_add_test(tests, one_form_for_each_address);
    tcase_add_loop_test(tests, networks_hold_what_is_in_them, 0, COUNT(networks));
    tcase_add_test(tests, what_is_no_network_is_refused);
    tcase_add_loop_test(tests, typed_is_host_and_port, 0, COUNT(targets));
    tcase_add_loop_test(tests, verdicts, 0, COUNT(questions));
    tcase_add_test(tests, own_global_addresses);
    suite_add_tcase(suite, tests);
    return tap_main(suite);
}
