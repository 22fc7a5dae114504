/* Digests: what is accepted as one, the published values, and that pieces do not matter. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/cleanup.h"
#include "tap.h"
#include "transfer/checksum.h"

#define HEX8  "01234567"
#define HEX32 HEX8 HEX8 HEX8 HEX8
#define UP8   "89ABCDEF"
#define LOW8  "89abcdef"

static const char *const prefixes[] = {"sha-256=", "sha-512=", "sha-1=", "md5="};

START_TEST(test_normalise)
{
    static const char *const good[][2] = {
        {"md5=" HEX32,                                    "md5=" HEX32                        },
        {"MD5=" UP8 UP8 HEX8 HEX8,                        "md5=" LOW8 LOW8 HEX8 HEX8          },
        {"sha-1=" HEX32 LOW8,                             "sha-1=" HEX32 LOW8                 },
        {"Sha-256=" HEX32 HEX8 HEX8 UP8 LOW8,             "sha-256=" HEX32 HEX8 HEX8 LOW8 LOW8},
        {"SHA-512=" HEX32 HEX32 HEX32 HEX8 HEX8 HEX8 UP8,
         "sha-512=" HEX32 HEX32 HEX32 HEX8 HEX8 HEX8 LOW8                                     },
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        char normal[CHECKSUM_TEXT_MAX], message[256] = "untouched";
        ck_assert_int_eq(checksum_normalise(good[i][0], normal, message), 0);
        ck_assert_str_eq(normal, good[i][1]);
        ck_assert_str_eq(message, "untouched");
        char again[CHECKSUM_TEXT_MAX];
        ck_assert_int_eq(checksum_normalise(normal, again, message), 0);
        ck_assert_str_eq(again, normal);
    }
}
END_TEST

static const struct {
    const char *text, *message;
} bad[] = {
    {"",                                      "checksum must be sha-256=HEX, sha-512=HEX, sha-1=HEX or md5=HEX"},
    {"md5",                                   NULL                                                             },
    {"=" HEX32,                               NULL                                                             },
    {HEX32,                                   NULL                                                             },
    {"md5:" HEX32,                            NULL                                                             },
    {" md5=" HEX32,                           NULL                                                             },
    {"md5 =" HEX32,                           NULL                                                             },
    {"md=" HEX32,                             NULL                                                             },
    {"md55=" HEX32,                           NULL                                                             },
    {"sha256=" HEX32 HEX32,                   NULL                                                             },
    {"sha-384=" HEX32 HEX32 HEX32,            NULL                                                             },
    {"crc32=" HEX8,                           NULL                                                             },
    {"md5=",                                  "checksum must be md5= and 32 hexadecimal digits after it"       },
    {"MD5=" HEX8,                             "checksum must be md5= and 32 hexadecimal digits after it"       },
    {"md5=" HEX32 "0",                        NULL                                                             },
    {"md5=" HEX32 " ",                        NULL                                                             },
    {"md5= " HEX32,                           NULL                                                             },
    {"md5=" HEX8 HEX8 HEX8 "0123456g",        NULL                                                             },
    {"md5=" HEX8 HEX8 HEX8 "0123456\xc3\xa4", NULL                                                             },
    {"md5=0x" HEX8 HEX8 HEX8 "012345",        NULL                                                             },
    {"md5==" HEX8 HEX8 HEX8 "0123456",        NULL                                                             },
    {"sha-1=" HEX32,                          "checksum must be sha-1= and 40 hexadecimal digits after it"     },
    {"sha-256=" HEX32,                        "checksum must be sha-256= and 64 hexadecimal digits after it"   },
    {"sha-512=" HEX32 HEX32,                  "checksum must be sha-512= and 128 hexadecimal digits after it"  },
};

START_TEST(test_bad)
{
    char normal[CHECKSUM_TEXT_MAX] = "untouched", message[256] = "";
    ck_assert_int_eq(checksum_normalise(bad[_i].text, normal, message), -EINVAL);
    ck_assert_str_eq(normal, "untouched");
    ck_assert_str_ne(message, "");
    if (bad[_i].message)
        ck_assert_str_eq(message, bad[_i].message);
}
END_TEST

/* The examples of FIPS 180-4 and RFC 1321, and of nothing. */
static const struct {
    const char *data, *checksum;
} known[] = {
    {"abc",                                                      "md5=900150983cd24fb0d6963f7d28e17f72"                                    },
    {"",                                                         "md5=d41d8cd98f00b204e9800998ecf8427e"                                    },
    {"abc",                                                      "sha-1=a9993e364706816aba3e25717850c26c9cd0d89d"                          },
    {"",                                                         "sha-1=da39a3ee5e6b4b0d3255bfef95601890afd80709"                          },
    {"abc",                                                      "sha-256=ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
    {"",                                                         "sha-256=e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
    {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
     "sha-256=248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"                                                            },
    {"abc",                                                      "sha-512=ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
            "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"                                                  },
    {"",                                                         "sha-512=cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce"
         "47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e"                                                        },
};

/* 0 or -EBADMSG, of `data` in one piece. */
static int verify(const char *expected, const void *data, size_t len, char message[static 400])
{
    struct checksum *checksum;
    ck_assert_int_eq(checksum_create(expected, &checksum), 0);
    checksum_add(checksum, data, len);
    int r = checksum_verify(checksum, message);
    checksum_destroy(checksum);
    return r;
}

START_TEST(test_known)
{
    const char *data = known[_i].data, *expected = known[_i].checksum;
    char message[400] = "untouched";
    ck_assert_int_eq(verify(expected, data, strlen(data), message), 0);
    ck_assert_str_eq(message, "untouched");

    /* Any other digit is a mismatch, and both are named in full. */
    char other[CHECKSUM_TEXT_MAX], wanted[400];
    size_t name = strcspn(expected, "=");
    for (size_t i = name + 1; i < strlen(expected); i += 7) {
        snprintf(other, sizeof other, "%s", expected);
        other[i] = other[i] == '0' ? '1' : '0';
        ck_assert_int_eq(verify(other, data, strlen(data), message), -EBADMSG);
        snprintf(wanted, sizeof wanted, "%.*s is %s, not the expected %s", (int)name, expected,
                 expected + name + 1, other + name + 1);
        ck_assert_str_eq(message, wanted);
    }
    ck_assert_int_eq(verify(expected, "abd", 3, message), -EBADMSG);
}
END_TEST

/* The digest that we find, by asking for another one. */
static void found(const char *prefix, struct checksum *checksum,
                  char text[static CHECKSUM_TEXT_MAX])
{
    char message[400] = "";
    ck_assert_int_eq(checksum_verify(checksum, message), -EBADMSG);
    char *digits = strstr(message, " is ") + 4;
    snprintf(text, CHECKSUM_TEXT_MAX, "%s%.*s", prefix, (int)strcspn(digits, ","), digits);
}

static struct checksum *create_zero(const char *prefix)
{
    static const unsigned digits[] = {64, 128, 40, 32};
    char zero[CHECKSUM_TEXT_MAX];
    size_t which = 0;
    while (strcmp(prefixes[which], prefix) != 0)
        which++;
    snprintf(zero, sizeof zero, "%s%0*d", prefix, (int)digits[which], 0);
    struct checksum *checksum;
    ck_assert_int_eq(checksum_create(zero, &checksum), 0);
    return checksum;
}

/* Whole, in random pieces (empty ones too), and from a file whose offset is anywhere: the same. */
START_TEST(test_random)
{
    const char *given = getenv("AUTODL_SEED");
    unsigned seed = given ? (unsigned)strtoul(given, NULL, 10) : (unsigned)time(NULL);
    printf("# check_checksum: AUTODL_SEED=%u\n", seed);
    fflush(stdout);
    srandom(seed);
    static char data[700000]; /* more than two reads */
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (char)random();

    for (int i = 0; i < 60; i++) {
        const char *prefix = prefixes[i % 4];
        size_t len = i < 4 ? 0 : (size_t)random() % (i % 2 ? 300 : sizeof data + 1);
        char expected[CHECKSUM_TEXT_MAX], message[400];
        struct checksum *whole = create_zero(prefix);
        checksum_add(whole, data, len);
        found(prefix, whole, expected);
        checksum_destroy(whole);

        struct checksum *pieces;
        ck_assert_int_eq(checksum_create(expected, &pieces), 0);
        for (size_t done = 0; done < len;) {
            size_t n = (size_t)random() % (len - done < 20000 ? len - done + 1 : 20000);
            checksum_add(pieces, data + done, n);
            done += n;
        }
        ck_assert_int_eq(checksum_verify(pieces, message), 0);
        checksum_destroy(pieces);
    }
}
END_TEST

START_TEST(test_destroy)
{
    checksum_destroy(create_zero("md5=")); /* without verifying */
    checksum_destroy(NULL);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("checksum");
    TCase *tests = tcase_create("checksum");
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, test_normalise);
    tcase_add_loop_test(tests, test_bad, 0, (int)(sizeof bad / sizeof *bad));
    tcase_add_loop_test(tests, test_known, 0, (int)(sizeof known / sizeof *known));
    tcase_add_test(tests, test_random);
    tcase_add_test(tests, test_destroy);
    suite_add_tcase(s, tests);
    return s;
}

int main(void)
{
    return tap_main(suite());
}
