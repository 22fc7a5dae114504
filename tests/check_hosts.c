#include <stdlib.h>

#include "hosts.h"
#include "tap.h"

static const struct {
    const char *url, *host; /* NULL: none */
} hosts_of_urls[] = {
    {"http://example.org/a",                    "example.org"     },
    {"HTTP://Example.ORG:80/a",                 "example.org"     },
    {"https://example.org:443",                 "example.org"     },
    {"https://example.org:80/a",                "example.org:80"  },
    {"http://example.org:8080?x=/y",            "example.org:8080"},
    {"http://user:pa@ss@example.org/a@b",       "example.org"     },
    {"ftp://example.org:21/x",                  "example.org"     },
    {"http://[::1]:80/",                        "[::1]"           },
    {"http://[::1]:8080#f",                     "[::1]:8080"      },
    {"http:///nothing",                         NULL              },
    {"no url",                                  NULL              },
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

START_TEST(held_until_its_time)
{
    struct hosts *hosts;
    ck_assert_int_eq(hosts_create(&hosts), 0);
    ck_assert_int_eq(hosts_held_until(hosts, "a", 0), 0);
    hosts_hold(hosts, "a", 1000);
    hosts_hold(hosts, "b", 2000);
    ck_assert_int_eq(hosts_held_until(hosts, "a", 999), 1000);
    ck_assert_int_eq(hosts_held_until(hosts, "c", 999), 0);
    ck_assert_int_eq(hosts_held_until(hosts, "a", 1000), 0);
    ck_assert_int_eq(hosts_held_until(hosts, "b", 1000), 2000);
    hosts_destroy(hosts);
    hosts_destroy(NULL);
}
END_TEST

START_TEST(the_longest_patience_counts)
{
    struct hosts *hosts;
    ck_assert_int_eq(hosts_create(&hosts), 0);
    hosts_hold(hosts, "a", 2000);
    hosts_hold(hosts, "a", 1000);
    ck_assert_int_eq(hosts_held_until(hosts, "a", 0), 2000);
    hosts_hold(hosts, "a", 3000);
    ck_assert_int_eq(hosts_held_until(hosts, "a", 0), 3000);
    hosts_destroy(hosts);
}
END_TEST

static Suite *suite(void)
{
    Suite *hosts = suite_create("hosts");
    TCase *tcase = tcase_create("hosts");
    tcase_add_loop_test(tcase, a_host_is_name_and_port, 0,
                        sizeof hosts_of_urls / sizeof *hosts_of_urls);
    tcase_add_test(tcase, held_until_its_time);
    tcase_add_test(tcase, the_longest_patience_counts);
    suite_add_tcase(hosts, tcase);
    return hosts;
}

int main(void)
{
    return tap_main(suite());
}
