#include <errno.h>
#include <stdlib.h>

#include "core/url.h"
#include "tap.h"

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

static const struct {
    const char *url, *bare, *username, *password;
} urls[] = {
    {"http://h/a",                 "http://h/a",           NULL,    NULL      },
    {"http://h/a@b:c",             "http://h/a@b:c",       NULL,    NULL      },
    {"http://h?a@b",               "http://h?a@b",         NULL,    NULL      },
    {"http://h#a@b",               "http://h#a@b",         NULL,    NULL      },
    {"http://u@h/a",               "http://h/a",           "u",     NULL      },
    {"http://u:p@h/a",             "http://h/a",           "u",     "p"       },
    {"http://u:@h/a",              "http://h/a",           "u",     ""        },
    {"http://:p@h/a",              "http://h/a",           "",      "p"       },
    {"http://@h/a",                "http://h/a",           "",      NULL      },
    {"HTTP://u:p:q@h:80/a?x=1#f",  "HTTP://h:80/a?x=1#f",  "u",     "p:q"     },
    {"ftp://a@b.c:p@ss@h",         "ftp://h",              "a@b.c", "p@ss"    },
    {"http://u%40h:p%3a%25%20@h/", "http://h/",            "u@h",   "p:% "    },
    {"http://u%:100%2@h/",         "http://h/",            "u%",    "100%2"   },
    {"http://u%zz:%C3%bc@h/",      "http://h/",            "u%zz",  "\xc3\xbc"},
    {"http://u:p@[::1]:8/",        "http://[::1]:8/",      "u",     "p"       },
    {"http://u:p@h?a@b://c:d@e",   "http://h?a@b://c:d@e", "u",     "p"       },
    {"no url u:p@h",               "no url u:p@h",         NULL,    NULL      },
};

static void assert_text(const char *text, const char *expected)
{
    if (expected)
        ck_assert_str_eq(text, expected);
    else
        ck_assert_ptr_null(text);
}

START_TEST(a_login_is_taken_out)
{
    char *bare, *username, *password;
    ck_assert_int_eq(url_take_login(urls[_i].url, &bare, &username, &password), 0);
    ck_assert_str_eq(bare, urls[_i].bare);
    assert_text(username, urls[_i].username);
    assert_text(password, urls[_i].password);
    ck_assert_int_eq(url_has_login(urls[_i].url), urls[_i].username != NULL);
    ck_assert(!url_has_login(bare));
    free(bare);
    free(username);
    free(password);
}
END_TEST

START_TEST(a_login_is_text)
{
    static const char *const bad[] = {"http://u%0a:p@h/", "http://u:p%0D%0AQUIT@h/",
                                      "http://u%00x@h/", "http://u:%7f@h/", "http://u\x1b@h/"};
    char *bare = NULL, *username = NULL, *password = NULL;
    for (int i = 0; i < COUNT(bad); i++)
        ck_assert_msg(url_take_login(bad[i], &bare, &username, &password) == -EINVAL, "%s", bad[i]);
    ck_assert(!bare && !username && !password);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("url");
    TCase *tests = tcase_create("url");
    tcase_add_loop_test(tests, a_login_is_taken_out, 0, COUNT(urls));
    tcase_add_test(tests, a_login_is_text);
    suite_add_tcase(suite, tests);
    return tap_main(suite);
}
