#include <stdlib.h>

#include "hosts.h"
#include "tap.h"

static const struct {
    const char *url, *host; /* NULL: none */
} hosts_of_urls[] = {
    {"http://example.org/a",              "example.org"     },
    {"HTTP://Example.ORG:80/a",           "example.org"     },
    {"https://example.org:443",           "example.org"     },
    {"https://example.org:80/a",          "example.org:80"  },
    {"http://example.org:8080?x=/y",      "example.org:8080"},
    {"http://user:pa@ss@example.org/a@b", "example.org"     },
    {"ftp://example.org:21/x",            "example.org"     },
    {"http://[::1]:80/",                  "[::1]"           },
    {"http://[::1]:8080#f",               "[::1]:8080"      },
    {"http:///nothing",                   NULL              },
    {"no url",                            NULL              },
};

START_TEST(a_host_is_name_and_port)
{
    char *host = hosts_of_url(hosts_of_urls[_i].url);
    if (hosts_of_urls[_i].host)
        ck_assert_str_eq(host, hosts_of_urls[_i].host);
    else
        ck_assert_ptr_null(host);
    free(host);
}
END_TEST

START_TEST(a_number_is_of_the_host_and_the_key)
{
    static const uint8_t key[STORE_HOST_KEY_SIZE] = {1}, other[STORE_HOST_KEY_SIZE] = {2};
    uint64_t number = hosts_number(key, "http://Example.org:80/a");
    ck_assert_uint_ne(number, 0);
    ck_assert_uint_eq(number, hosts_number(key, "https://u:p@example.ORG/b"));
    ck_assert_uint_ne(number, hosts_number(key, "http://example.org:81/a"));
    ck_assert_uint_ne(number, hosts_number(key, "http://example.net/a"));
    ck_assert_uint_ne(number, hosts_number(other, "http://example.org/a"));
    ck_assert_uint_ne(hosts_number(key, "no url"), 0);

    /* one right after the other, where the last one is remembered */
    ck_assert_uint_eq(hosts_number(key, "http://example.org/a"), number);
    ck_assert_uint_ne(hosts_number(key, "http://example.net/a"), number);
    ck_assert_uint_eq(hosts_number(key, "http://example.org/a"), number);
    ck_assert_uint_ne(hosts_number(other, "http://example.org/a"), number);
    ck_assert_uint_eq(hosts_number(key, "http://example.org/a"), number);
}
END_TEST

START_TEST(an_origin_is_scheme_host_and_port)
{
    static const struct {
        const char *one, *other;
        bool same;
    } pairs[] = {
        {"http://example.org/a",  "HTTP://u:p@Example.ORG:80/b", true },
        {"https://example.org/a", "https://example.org:443/b",   true },
        {"http://example.org/a",  "https://example.org/a",       false},
        {"http://example.org/a",  "http://example.org:81/a",     false},
        {"http://example.org/a",  "http://example.org.evil/a",   false},
        {"http://example.org/a",  "http://example.org@evil/a",   false},
        {"ftp://example.org/a",   "ftps://example.org/a",        false},
        {"no url",                "no url",                      false},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        ck_assert_msg(hosts_same_origin(pairs[i].one, pairs[i].other) == pairs[i].same, "%s",
                      pairs[i].other);
        ck_assert(hosts_same_origin(pairs[i].other, pairs[i].one) == pairs[i].same);
    }
}
END_TEST

static Suite *suite(void)
{
    Suite *hosts = suite_create("hosts");
    TCase *tcase = tcase_create("hosts");
    tcase_add_loop_test(tcase, a_host_is_name_and_port, 0,
                        sizeof hosts_of_urls / sizeof *hosts_of_urls);
    tcase_add_test(tcase, a_number_is_of_the_host_and_the_key);
    tcase_add_test(tcase, an_origin_is_scheme_host_and_port);
    suite_add_tcase(hosts, tcase);
    return hosts;
}

int main(void)
{
    return tap_main(suite());
}
