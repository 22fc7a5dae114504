/* Passwords in netrc files, as people write them. */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../cli/netrc.h"
#include "common/cleanup.h"
#include "tap.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static int file; /* in memory */
static char path[64];

static void write_file(const char *text)
{
    ck_assert_int_eq(ftruncate(file, 0), 0);
    ck_assert_int_eq(pwrite(file, text, strlen(text), 0), (ssize_t)strlen(text));
}

/* alice's at dl.lan; NULL: none. */
static void finds(const char *text, const char *expected)
{
    _cleanup_free_ char *password = NULL;
    write_file(text);
    int r = netrc_find(path, "dl.lan", "alice", &password);
    ck_assert_msg(r == (expected ? 0 : -ENOENT), "%s: %d", text, r);
    if (expected)
        ck_assert_msg(strcmp(password, expected) == 0, "%s: %s", text, password);
}

START_TEST(entries)
{
    static const struct {
        const char *text, *password;
    } cases[] = {
        {"",                                                                               NULL       },
        {"\n\n",                                                                           NULL       },
        {"machine dl.lan login alice password x",                                          "x"        },
        {"machine dl.lan login alice password x\n",                                        "x"        },
        {"machine\tdl.lan\n\tlogin alice\r\n\tpassword x\r\n",                             "x"        },
        {"machine dl.lan password x login alice",                                          "x"        },
        {"machine DL.lan login alice password x",                                          "x"        },
        {"machine dl.lan login Alice password x",                                          NULL       },
        {"machine dl.lan login bob password y machine dl.lan login alice password x",      "x"        },
        {"machine dl.lan login bob password y",                                            NULL       },
        {"machine dl.lan password x",                                                      "x"        },
        {"machine dl.lan login alice",                                                     NULL       },
        {"machine dl.lan login alice password",                                            NULL       },
        {"machine dl.lan login alice machine other password y",                            NULL       },
        {"machine other login alice password y",                                           NULL       },
        {"machine dl.lan.evil login alice password y",                                     NULL       },
        {"default login alice password x",                                                 "x"        },
        {"default password x",                                                             "x"        },
        {"machine other login alice password y\ndefault login alice password x",           "x"        },
        {"machine dl.lan login alice password x\nmachine dl.lan login alice password y",   "x"        },
        {"machine dl.lan account a login alice password x",                                "x"        },
        {"machine",                                                                        NULL       },
        {"password x",                                                                     NULL       },
        {"login alice password x",                                                         NULL       },
        {"# machine dl.lan login alice password y\nmachine dl.lan login alice password x", "x"        },
        {"  # a password\nmachine dl.lan login alice password x",                          "x"        },
        {"machine dl.lan # login\n login alice password x",                                NULL       }, /* no comment */
        {"machine dl.lan login alice password #x",                                         "#x"       },
        {"machine dl.lan login alice password \"a b\\\"c\\\\\"",                           "a b\"c\\" },
        {"machine dl.lan login \"alice\" password x",                                      "x"        },
        {"machine dl.lan login alice password \"open",                                     "open"     },
        {"machine dl.lan login alice password \"",                                         ""         },
        {"macdef init\nmachine dl.lan login alice password y\n\n"
         "machine dl.lan login alice password x",                                 "x"        },
        {"macdef init\nmachine dl.lan login alice password y\n",                           NULL       },
        {"machine dl.lan login alice password \xc3\xa9:",                                  "\xc3\xa9:"},
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        finds(cases[i].text, cases[i].password);
}
END_TEST

START_TEST(files_that_cannot_be_read)
{
    char *password = NULL;
    ck_assert_int_eq(netrc_find("/nonexistent", "dl.lan", "alice", &password), -ENOENT);
    ck_assert_int_eq(netrc_find("/", "dl.lan", "alice", &password), -EFBIG);
    ck_assert_int_eq(netrc_find("/dev/zero", "dl.lan", "alice", &password), -EFBIG);
    ck_assert_int_eq(truncate(path, (1 << 20) + 1), 0);
    ck_assert_int_eq(netrc_find(path, "dl.lan", "alice", &password), -EFBIG);
    ck_assert_ptr_null(password);
}
END_TEST

/* Any bytes at all end without a crash (for the sanitizers). */
START_TEST(random_files)
{
    static const char *const words[] = {"machine", "dl.lan", "login", "alice", "password", "macdef",
                                        "default", "\"",     "\\",    "#",     "\n\n",     " "};
    const char *given = getenv("SEED");
    unsigned seed = given ? (unsigned)strtoul(given, NULL, 10) : (unsigned)getpid();
    printf("# SEED=%u\n", seed);
    srand(seed);
    for (int i = 0; i < 2000; i++) {
        char text[512] = "";
        _cleanup_free_ char *password = NULL;
        for (int j = rand() % 30; j > 0; j--) {
            strcat(text, words[(size_t)rand() % COUNT(words)]);
            strcat(text, rand() % 3 ? " " : "");
        }
        write_file(text);
        int r = netrc_find(path, "dl.lan", "alice", &password);
        ck_assert(r == 0 || r == -ENOENT);
        ck_assert((r == 0) == (password != NULL));
    }
}
END_TEST

static void set_up(void)
{
    file = memfd_create("netrc", MFD_CLOEXEC);
    ck_assert_int_ge(file, 0);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
}

static void tear_down(void)
{
    close(file);
}

int main(void)
{
    Suite *suite = suite_create("netrc");
    TCase *tcase = tcase_create("netrc");
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, entries);
    tcase_add_test(tcase, files_that_cannot_be_read);
    tcase_add_test(tcase, random_files);
    suite_add_tcase(suite, tcase);
    return tap_main(suite);
}
