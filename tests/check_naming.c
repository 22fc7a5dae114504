/* File names from URLs and Content-Disposition: tables of cases, then random ones against a
 * validator of its own. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/api.h"
#include "common/cleanup.h"
#include "tap.h"
#include "transfer/naming.h"

#define NAME_LIMIT     (255 - 26)
#define NUMBERED_LIMIT (NAME_LIMIT + 11)

static const struct {
    const char *url;
    const char *name;
} cases[] = {
  /* the last segment */
    {"http://example.org/a.iso",                        "a.iso"                                },
    {"http://example.org/dir/b.iso?key=value/x#part/y", "b.iso"                                },
    {"http://example.org/a.iso#part?x",                 "a.iso"                                },
    {"http://user:secret@example.org:8080/c.iso",       "c.iso"                                },
    {"http://example.org/a;type=i",                     "a;type=i"                             },
    {"sftp://example.org/a;type=i",                     "a;type=i"                             },
    {"ftp://example.org/a.bin;type=i",                  "a.bin"                                },
    {"FTPS://example.org/a.bin;TYPE=a",                 "a.bin"                                },
    {"ftp://example.org/a.bin?;type=i",                 "a.bin"                                },
 /* none */
    {"http://example.org",                              "index.html"                           },
    {"http://example.org/",                             "index.html"                           },
    {"http://example.org/dir/",                         "index.html"                           },
    {"http://example.org?a/b",                          "index.html"                           },
    {"http://example.org#a/b",                          "index.html"                           },
    {"http://example.org/.",                            "index.html"                           },
    {"http://example.org/dir/..",                       "index.html"                           },
    {"http://example.org/%2e%2E",                       "index.html"                           },
    {"http://example.org/%2E",                          "index.html"                           },
    {"",                                                "index.html"                           },
    {"nonsense",                                        "index.html"                           },
 /* decoding */
    {"http://example.org/a%20b.txt",                    "a b.txt"                              },
    {"http://example.org/a b+c.txt",                    "a b+c.txt"                            },
    {"http://example.org/b%C3%BCcher.pdf",              "b\xc3\xbc"
                                           "cher.pdf"},
    {"http://example.org/\xe6\x97\xa5\xe6\x9c\xac",     "\xe6\x97\xa5\xe6\x9c\xac"             },
    {"http://example.org/%F0%9F%90%A7.png",             "\xf0\x9f\x90\xa7.png"                 },
    {"http://example.org/100%",                         "100%"                                 },
    {"http://example.org/100%2",                        "100%2"                                },
    {"http://example.org/%zz%4",                        "%zz%4"                                },
    {"http://example.org/%2541",                        "%41"                                  },
    {"http://example.org/a%5cb",                        "a\\b"                                 },
 /* what must not stand in a name */
    {"http://example.org/..%2F..%2fetc",                "_.%2F..%2Fetc"                        },
    {"http://example.org/a%00b",                        "a%00b"                                },
    {"http://example.org/a%0a%0Db%7F",                  "a%0A%0Db%7F"                          },
    {"http://example.org/%1b[31m",                      "%1B[31m"                              },
    {"http://example.org/a%C2%9Bb",                     "a%C2%9Bb"                             },
    {"http://example.org/%ff%C3",                       "%FF%C3"                               },
    {"http://example.org/\xff",                         "%FF"                                  },
    {"http://example.org/%C0%AF",                       "%C0%AF"                               },
    {"http://example.org/%ED%A0%80",                    "%ED%A0%80"                            },
    {"http://example.org/%F4%90%80%80",                 "%F4%90%80%80"                         },
    {"http://example.org/a%E2%80%AEgpj.exe",            "a%E2%80%AEgpj.exe"                    },
    {"http://example.org/%E2%80%8E%E2%80%8F%E2%80%AA",  "%E2%80%8E%E2%80%8F%E2%80%AA"          },
    {"http://example.org/%E2%81%A6%E2%81%A9%D8%9C",     "%E2%81%A6%E2%81%A9%D8%9C"             },
    {"http://example.org/%E2%80%90%E2%81%A5",           "\xe2\x80\x90\xe2\x81\xa5"             },
 /* what must not be first */
    {"http://example.org/.bashrc",                      "_bashrc"                              },
    {"http://example.org/%2ebashrc",                    "_bashrc"                              },
    {"http://example.org/...",                          "_.."                                  },
    {"http://example.org/-rf",                          "_rf"                                  },
    {"http://example.org/%2Drf",                        "_rf"                                  },
};

START_TEST(test_from_url)
{
    _cleanup_free_ char *name = naming_from_url(cases[_i].url, false);
    ck_assert_str_eq(name, cases[_i].name);
}
END_TEST

START_TEST(test_hidden)
{
    static const char *const hidden[][2] = {
        {"http://example.org/.bashrc", ".bashrc"   },
        {"http://example.org/..x",     "..x"       },
        {"http://example.org/%2E%2E",  "index.html"},
        {"http://example.org/-x",      "_x"        }
    };
    for (size_t i = 0; i < sizeof hidden / sizeof *hidden; i++) {
        _cleanup_free_ char *name = naming_from_url(hidden[i][0], true);
        ck_assert_str_eq(name, hidden[i][1]);
    }
}
END_TEST

/* A URL with `count` times `unit`, then `end`. */
static char *long_url(const char *unit, size_t count, const char *end)
{
    static const char start[] = "http://example.org/";
    char *url = malloc(sizeof start + strlen(unit) * count + strlen(end));
    ck_assert_ptr_nonnull(url);
    char *p = stpcpy(url, start);
    while (count-- > 0)
        p = stpcpy(p, unit);
    stpcpy(p, end);
    return url;
}

START_TEST(test_cut)
{
    static const struct {
        const char *unit, *end;
        size_t len;
        const char *ends_with;
    } longs[] = {
        {"a",                "",                   NAME_LIMIT,     "a"                },
        {"a",                ".tar.gz",            NAME_LIMIT,     ".gz"              },
        {"a",                ".0123456789abcdef",  NAME_LIMIT,     ".0123456789abcdef"},
        {"a",                ".0123456789abcdefg", NAME_LIMIT,     "a"                },
        {"\xc3\xbc",         "",                   NAME_LIMIT - 1, "\xc3\xbc"         },
        {"\xe6\x97\xa5",     ".x",                 NAME_LIMIT - 2, "\xe6\x97\xa5.x"   },
        {"\xf0\x9f\x90\xa7", "",                   NAME_LIMIT - 1, "\xf0\x9f\x90\xa7" },
    };
    for (size_t i = 0; i < sizeof longs / sizeof *longs; i++) {
        _cleanup_free_ char *url = long_url(longs[i].unit, 300, longs[i].end);
        _cleanup_free_ char *name = naming_from_url(url, false);
        ck_assert_uint_eq(strlen(name), longs[i].len);
        ck_assert_str_eq(name + strlen(name) - strlen(longs[i].ends_with), longs[i].ends_with);
    }
    _cleanup_free_ char *fits = long_url("a", NAME_LIMIT, "");
    _cleanup_free_ char *name = naming_from_url(fits, false);
    ck_assert_str_eq(name, strrchr(fits, '/') + 1);
}
END_TEST

START_TEST(test_numbered)
{
    static const struct {
        const char *name;
        unsigned n;
        const char *numbered;
    } table[] = {
        {"a.iso",               0,           "a.iso"                },
        {"a.iso",               1,           "a-1.iso"              },
        {"a.tar.gz",            12,          "a.tar-12.gz"          },
        {"README",              3,           "README-3"             },
        {".bashrc",             1,           ".bashrc-1"            },
        {"a.",                  1,           "a-1."                 },
        {"a.0123456789abcdefg", 1,           "a-1.0123456789abcdefg"},
        {".a.b",                2,           ".a-2.b"               },
        {"a",                   4294967295U, "a-4294967295"         },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        _cleanup_free_ char *name = naming_numbered(table[i].name, table[i].n);
        ck_assert_str_eq(name, table[i].numbered);
    }

    char longest[API_NAME_MAX + 1] = "";
    for (size_t i = 0; i < API_NAME_MAX - 6; i += 3)
        memcpy(longest + i, "\xe6\x97\xa5", 4);
    strncat(longest, ".iso", API_NAME_MAX - strlen(longest));
    _cleanup_free_ char *cut = naming_numbered(longest, 4294967295U);
    ck_assert_uint_le(strlen(cut), NUMBERED_LIMIT);
    ck_assert_uint_gt(strlen(cut), NUMBERED_LIMIT - 3);
    ck_assert_str_eq(cut + strlen(cut) - 18, "\xe6\x97\xa5-4294967295.iso");
}
END_TEST

static void assert_letters(const char *text)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    ck_assert_uint_eq(strspn(text, alphabet), 8);
}

START_TEST(test_unique)
{
    _cleanup_free_ char *one = naming_unique("http://example.org/a.iso", false);
    _cleanup_free_ char *two = naming_unique("http://example.org/a.iso", false);
    ck_assert_str_ne(one, two);
    ck_assert_uint_eq(strlen(one), strlen("a-XXXXXXXX.iso"));
    ck_assert(strncmp(one, "a-", 2) == 0);
    assert_letters(one + 2);
    ck_assert_str_eq(one + 10, ".iso");

    _cleanup_free_ char *none = naming_unique("http://example.org/", false);
    ck_assert_uint_eq(strlen(none), strlen("Unknown-XXXXXXXX"));
    ck_assert(strncmp(none, "Unknown-", 8) == 0);
    assert_letters(none + 8);

    _cleanup_free_ char *url = long_url("a", 300, ".iso");
    _cleanup_free_ char *cut = naming_unique(url, false);
    ck_assert_uint_eq(strlen(cut), NAME_LIMIT);
    ck_assert_str_eq(cut + NAME_LIMIT - 4, ".iso");
    assert_letters(cut + NAME_LIMIT - 12);
}
END_TEST

/* Why the name is not valid, NULL: it is. Written without looking at naming.c: by the byte patterns
 * of RFC 3629. */
static const char *fault(const char *name, size_t limit, bool allow_hidden)
{
    const unsigned char *p = (const unsigned char *)name;
    size_t len = strlen(name);
    if (len == 0 || len > limit)
        return "length";
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return "dots";
    if (name[0] == '-' || (name[0] == '.' && !allow_hidden))
        return "first character";
    while (*p) {
        unsigned char b1 = p[1], b2 = b1 ? p[2] : 0, b3 = b2 ? p[3] : 0;
        bool t1 = b1 >> 6 == 2, t2 = b2 >> 6 == 2, t3 = b3 >> 6 == 2;
        if (*p < 0x20 || *p == 0x7f || *p == '/')
            return "control or slash";
        if (*p == 0xc2 && b1 < 0xa0)
            return "C1 control";
        if (*p == 0xd8 && b1 == 0x9c)
            return "U+061C";
        if (*p == 0xe2 && b1 == 0x80 && (b2 == 0x8e || b2 == 0x8f || (b2 >= 0xaa && b2 <= 0xae)))
            return "U+200E or U+202A";
        if (*p == 0xe2 && b1 == 0x81 && b2 >= 0xa6 && b2 <= 0xa9)
            return "U+2066";
        if (*p < 0x80)
            p += 1;
        else if (*p >= 0xc2 && *p <= 0xdf && t1)
            p += 2;
        else if (*p >= 0xe0 && *p <= 0xef && t1 && t2 && !(*p == 0xe0 && b1 < 0xa0) &&
                 !(*p == 0xed && b1 > 0x9f))
            p += 3;
        else if (*p >= 0xf0 && *p <= 0xf4 && t1 && t2 && t3 && !(*p == 0xf0 && b1 < 0x90) &&
                 !(*p == 0xf4 && b1 > 0x8f))
            p += 4;
        else
            return "UTF-8";
    }
    return NULL;
}

START_TEST(test_validator)
{
    ck_assert_ptr_null(fault("a.iso", 255, false));
    ck_assert_ptr_null(fault("\xf0\x9f\x90\xa7\xe6\x97\xa5\xc3\xbc", 255, false));
    static const char *const bad[] = {"",
                                      ".",
                                      "..",
                                      "-a",
                                      ".a",
                                      "a/b",
                                      "a\n",
                                      "\xff",
                                      "\xc0\xaf",
                                      "\xed\xa0\x80",
                                      "\xf4\x90\x80\x80",
                                      "\xe2\x80\xae",
                                      "\xc3"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        ck_assert_ptr_nonnull(fault(bad[i], 255, false));
}
END_TEST

/* Pieces that come near the edges, more than random bytes would. */
static size_t random_piece(char *piece)
{
    static const char *const pieces[] = {"/",
                                         ".",
                                         "..",
                                         "-",
                                         "%",
                                         "%2",
                                         "%2F",
                                         "%00",
                                         "%2e",
                                         "?",
                                         "#",
                                         "://",
                                         ";type=i",
                                         ".tar.gz",
                                         "%E2%80%AE",
                                         "%E2",
                                         "%80",
                                         "%F0%9F%90%A7",
                                         "\xf0\x9f\x90\xa7",
                                         "\xe6\x97\xa5",
                                         "\xed\xa0\x80",
                                         "\xc0",
                                         "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz",
                                         " ",
                                         "%0a",
                                         "%C2%9B"};
    if (random() % 2) {
        piece[0] = (char)(1 + random() % 255);
        piece[1] = '\0';
    } else {
        stpcpy(piece, pieces[random() % (long)(sizeof pieces / sizeof *pieces)]);
    }
    return strlen(piece);
}

static void random_url(char *url, size_t size)
{
    static const char *const starts[] = {"http://h/", "ftp://h/", "ftp://", ""};
    char *end = stpcpy(url, starts[random() % 4]);
    for (long count = random() % 60; count > 0; count--) {
        char piece[64];
        size_t len = random_piece(piece);
        if ((size_t)(end - url) + len + 1 > size)
            return;
        end = stpcpy(end, piece);
    }
}

/* Check writes a record for each assertion that holds: not three hundred thousand times. */
static void assert_valid(const char *name, size_t limit, bool allow_hidden, const char *url)
{
    const char *why = fault(name, limit, allow_hidden);
    if (why)
        ck_abort_msg("%s: \"%s\" from \"%s\"", why, name, url);
}

static void seed_random(void)
{
    const char *given = getenv("AUTODL_SEED");
    unsigned seed = given ? (unsigned)strtoul(given, NULL, 10) : (unsigned)time(NULL);
    printf("# check_naming: AUTODL_SEED=%u\n", seed);
    fflush(stdout);
    srandom(seed);
}

START_TEST(test_random)
{
    seed_random();
    for (int i = 0; i < 100000; i++) {
        char url[1024];
        bool hidden = random() % 2;
        random_url(url, sizeof url);
        _cleanup_free_ char *name = naming_from_url(url, hidden);
        _cleanup_free_ char *unique = naming_unique(url, hidden);
        _cleanup_free_ char *numbered = naming_numbered(name, (unsigned)random());
        assert_valid(name, NAME_LIMIT, hidden, url);
        assert_valid(unique, NAME_LIMIT, hidden, url);
        assert_valid(numbered, NUMBERED_LIMIT, hidden, url);
    }
}
END_TEST

/* Content-Disposition. */

#define UTF8_NAME                                                                                  \
    "b\xc3\xbc"                                                                                    \
    "cher.pdf"

static const struct {
    const char *value;
    const char *name; /* NULL: none */
} dispositions[] = {
  /* as it should be */
    {"attachment; filename=\"a.iso\"",                                         "a.iso"           },
    {"attachment; filename=a.iso",                                             "a.iso"           },
    {"inline; filename=\"a.iso\"",                                             "a.iso"           },
    {"attachment;filename=\"a.iso\"",                                          "a.iso"           },
    {"Attachment ; FileName = \"a.iso\" ; size=5",                             "a.iso"           },
    {"attachment; size=5; filename=a.iso; foo=\"b\"",                          "a.iso"           },
    {"attachment; foo=\"x; filename=evil\"; filename=a.iso",                   "a.iso"           },
    {"attachment; foo=\"\\\"; filename=evil\"; filename=a.iso",                "a.iso"           },
    {"attachment; filename=\"a \\\"quoted\\\" b\"",                            "a \"quoted\" b"  },
    {"attachment; filename=\"f\\oo.html\"",                                    "foo.html"        },
    {"attachment; filename=\"a;b=c.txt\"",                                     "a;b=c.txt"       },
    {"attachment; filename='a.iso'",                                           "'a.iso'"         },
    {"attachment; filename=\"b\xc3\xbc"
     "cher.pdf\"",                                                        UTF8_NAME         },
    {"attachment; filename=\"b\xfc"
     "cher.pdf\"",                                                        UTF8_NAME         },
    {"attachment; filename=\"a%20b%2F.txt\"",                                  "a%20b%2F.txt"    },
    {"attachment; filename=\"=?UTF-8?B?YQ==?=\"",                              "=?UTF-8?B?YQ==?="},
    {"attachment; filename*=UTF-8''b%C3%BCcher.pdf",                           UTF8_NAME         },
    {"attachment; filename*=utf-8'de'b%c3%bccher.pdf",                         UTF8_NAME         },
    {"attachment; FILENAME*=ISO-8859-1'en'b%FCcher.pdf",                       UTF8_NAME         },
    {"attachment; filename*=iso-8859-1''%A3.txt",                              "\xc2\xa3.txt"    },
    {"attachment; filename*=UTF-8''%E6%97%A5.txt",                             "\xe6\x97\xa5.txt"},
    {"attachment; filename*=UTF-8''it's.txt",                                  "it's.txt"        },
    {"attachment; filename*=UTF-8''%2541.txt",                                 "%41.txt"         },
 /* which one */
    {"attachment; filename=\"plain\"; filename*=UTF-8''better",                "better"          },
    {"attachment; filename*=UTF-8''better; filename=\"plain\"",                "better"          },
    {"attachment; filename=first; filename=second",                            "first"           },
    {"attachment; filename*=UTF-8''first; filename*=UTF-8''second",            "first"           },
    {"attachment; filename=plain; filename*=UTF-8''",                          "plain"           },
    {"attachment; filename=plain; filename*=UTF-16''a",                        "plain"           },
    {"attachment; filename=plain; filename*=''a",                              "plain"           },
    {"attachment; filename=plain; filename*=better",                           "plain"           },
    {"attachment; filename=plain; filename*=UTF-8'better",                     "plain"           },
    {"attachment; filename=plain; filename*=UTF-8''%",                         "plain"           },
    {"attachment; filename=plain; filename*=UTF-8''a%2",                       "plain"           },
    {"attachment; filename=plain; filename*=UTF-8''%zz",                       "plain"           },
    {"attachment; filename=plain; filename*=UTF-8''b%FCcher",                  "plain"           },
    {"attachment; filename=plain; filename*=UTF-8''%C0%AF",                    "plain"           },
    {"attachment; filename=plain; filename*=UTF-8''%ED%A0%80",                 "plain"           },
    {"attachment; filename=plain; filename*=UTF-8''%2e%2e",                    "plain"           },
    {"attachment; filename=plain; filename*=UTF-8''dir%2F",                    "plain"           },
    {"attachment; filename=plain; filename*=UTF-8''%00%01",                    "plain"           },
    {"attachment; filename=plain; filename*0=no; filename*0*=UTF-8''no",       "plain"           },
 /* sloppy servers */
    {"filename=a.iso",                                                         "a.iso"           },
    {"attachment; filename=my file.txt ; x=y",                                 "my file.txt"     },
    {"attachment; filename=\"  a.iso  \"",                                     "a.iso"           },
    {"attachment; filename=\"a.iso",                                           "a.iso"           },
    {"attachment; filename=\"a.iso\\",                                         NULL              },
    {"attachment; filename=\"a.iso\"junk; x=y",                                "a.iso"           },
    {";;; ; filename=a.iso;;",                                                 "a.iso"           },
    {"attachment; =x; ==; filename=a.iso",                                     "a.iso"           },
    {"attachment; filename*=\"UTF-8''b%C3%BCcher.pdf\"",                       UTF8_NAME         },
    {"attachment; filename==a",                                                "=a"              },
 /* none */
    {"",                                                                       NULL              },
    {"attachment",                                                             NULL              },
    {"attachment;",                                                            NULL              },
    {"attachment; filename",                                                   NULL              },
    {"attachment; filename=",                                                  NULL              },
    {"attachment; filename=;",                                                 NULL              },
    {"attachment; filename=\"\"",                                              NULL              },
    {"attachment; filename=\"",                                                NULL              },
    {"attachment; filename=\"\\",                                              NULL              },
    {"attachment; filename=\"   \"",                                           NULL              },
    {"attachment; xfilename=a",                                                NULL              },
    {"attachment; filenamex=a",                                                NULL              },
    {"attachment; filename*=a",                                                NULL              },
    {"attachment; name=a",                                                     NULL              },
    {"filename",                                                               NULL              },
    {"\"filename=a\"",                                                         NULL              },
 /* attacks */
    {"attachment; filename=\"../../etc/passwd\"",                              "passwd"          },
    {"attachment; filename=../../etc/passwd",                                  "passwd"          },
    {"attachment; filename=\"/etc/passwd\"",                                   "passwd"          },
    {"attachment; filename=\"..\\\\..\\\\autoexec.bat\"",                      "autoexec.bat"    },
    {"attachment; filename=..\\..\\autoexec.bat",                              "autoexec.bat"    },
    {"attachment; filename=\"C:\\\\dir\\\\a.exe\"",                            "a.exe"           },
    {"attachment; filename=C:\\dir\\a.exe",                                    "a.exe"           },
    {"attachment; filename=\"/a\\\\b/c\\\\d\"",                                "d"               },
    {"attachment; filename=\"dir/\"",                                          NULL              },
    {"attachment; filename=\"/\"",                                             NULL              },
    {"attachment; filename=\"\\\\\"",                                          NULL              },
    {"attachment; filename=\".\"",                                             NULL              },
    {"attachment; filename=\"..\"",                                            NULL              },
    {"attachment; filename=\"a/..\"",                                          NULL              },
    {"attachment; filename=\".\x01.\"",                                        NULL              },
    {"attachment; filename=\" .. \"",                                          NULL              },
    {"attachment; filename*=UTF-8''..%2F..%2Fetc%2Fpasswd",                    "passwd"          },
    {"attachment; filename*=UTF-8''..%5C..%5Ca.bat",                           "a.bat"           },
    {"attachment; filename*=UTF-8''%2Fetc%2F.ssh",                             "_ssh"            },
    {"attachment; filename*=ISO-8859-1''a%2Fb",                                "b"               },
    {"attachment; filename=.bashrc",                                           "_bashrc"         },
    {"attachment; filename=\" .bashrc\"",                                      "_bashrc"         },
    {"attachment; filename=\"\x01.bashrc\"",                                   "_bashrc"         },
    {"attachment; filename*=UTF-8''%E2%80%AE.bashrc",                          "_bashrc"         },
    {"attachment; filename=\"...\"",                                           "_.."             },
    {"attachment; filename=-rf",                                               "_rf"             },
    {"attachment; filename=\"\x7f-rf\"",                                       "_rf"             },
    {"attachment; filename=\"a\x01\x1b[31mb\tc\x7f\"",                         "a[31mbc"         },
    {"attachment; filename=\"a\xc2\x9b"
     "b\"",                                                               "ab"              },
    {"attachment; filename=\"a\x9b\xff\"",                                     "a\xc3\xbf"       },
    {"attachment; filename*=ISO-8859-1''a%9Bb%85",                             "ab"              },
    {"attachment; filename*=UTF-8''a%00b%0A%0Dc",                              "abc"             },
    {"attachment; filename*=UTF-8''a%E2%80%AEgpj.exe",                         "agpj.exe"        },
    {"attachment; filename=\"a\xe2\x80\xaegpj.exe\"",                          "agpj.exe"        },
    {"attachment; filename=\"\xd8\x9c\xe2\x80\x8e\xe2\x81\xa6x\xe2\x81\xa9\"", "x"               },
    {"attachment; filename=\"\xc0\xaf"
     "a\"",                                                               "\xc3\x80\xc2\xaf"
     "a"                                                                         },
};

START_TEST(test_disposition)
{
    _cleanup_free_ char *name = naming_from_disposition(dispositions[_i].value, false);
    ck_assert_pstr_eq(name, dispositions[_i].name);
}
END_TEST

START_TEST(test_disposition_hidden)
{
    _cleanup_free_ char *hidden = naming_from_disposition("attachment; filename=.bashrc", true);
    ck_assert_str_eq(hidden, ".bashrc");
    _cleanup_free_ char *option = naming_from_disposition("attachment; filename=-x", true);
    ck_assert_str_eq(option, "_x");
    ck_assert_ptr_null(naming_from_disposition("attachment; filename=..", true));
}
END_TEST

/* Overlong: cut as names from URLs are. */
START_TEST(test_disposition_cut)
{
    char value[4096];
    char *end = stpcpy(value, "attachment; filename*=UTF-8''");
    for (int i = 0; i < 300; i++)
        end = stpcpy(end, "%C3%BC");
    stpcpy(end, ".iso");
    _cleanup_free_ char *name = naming_from_disposition(value, false);
    ck_assert_uint_eq(strlen(name), NAME_LIMIT - 1);
    ck_assert_str_eq(name + strlen(name) - 6, "\xc3\xbc.iso");

    /* Each byte of ISO-8859-1 becomes two. */
    end = stpcpy(value, "attachment; filename=\"");
    memset(end, 0xfc, 2000);
    stpcpy(end + 2000, ".iso\"");
    _cleanup_free_ char *latin = naming_from_disposition(value, false);
    ck_assert_str_eq(latin, name);
}
END_TEST

static void random_disposition(char *value, size_t size)
{
    static const char *const pieces[] = {"filename=",
                                         "filename*=",
                                         "filename*=UTF-8''",
                                         "filename*=iso-8859-1''",
                                         ";",
                                         "; ",
                                         "\"",
                                         "\\",
                                         "\\\"",
                                         "'",
                                         "=",
                                         "../",
                                         "..\\",
                                         "C:\\",
                                         "attachment; ",
                                         " ",
                                         "\t"};
    char *end = value;
    *value = '\0';
    for (long count = random() % 40; count > 0; count--) {
        char piece[64];
        size_t len = random_piece(piece);
        if (random() % 2)
            len =
                (size_t)(stpcpy(piece, pieces[random() % (long)(sizeof pieces / sizeof *pieces)]) -
                         piece);
        if ((size_t)(end - value) + len + 1 > size)
            return;
        end = stpcpy(end, piece);
    }
}

/* `text` in both notations of the header. */
static void write_both(const char *text, char quoted[static 512], char extended[static 512])
{
    char *q = stpcpy(quoted, "attachment; filename=\"");
    char *e = stpcpy(extended, "attachment; filename=no; filename*=UTF-8''");
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            *q++ = '\\';
        *q++ = *text;
        e += snprintf(e, 4, "%%%02x", (unsigned char)*text);
    }
    stpcpy(q, "\"; filename=no");
    *e = '\0';
}

START_TEST(test_random_disposition)
{
    seed_random();
    int named = 0;
    for (int i = 0; i < 100000; i++) {
        char value[1024];
        bool hidden = random() % 2;
        random_disposition(value, sizeof value);
        _cleanup_free_ char *name = naming_from_disposition(value, hidden);
        named += name != NULL;
        if (name)
            assert_valid(name, NAME_LIMIT, hidden, value);
    }
    printf("# check_naming: %d of 100000 gave a name\n", named);
    ck_assert_int_gt(named, 10000);
}
END_TEST

/* A name that is fit comes through both notations as it is. */
START_TEST(test_round_trip)
{
    static const char *const pieces[] = {
        "a", ".tar", "\xc3\xbc", "\xf0\x9f\x90\xa7", "\"", ";", "'", "%41", "=", " ", "*", "x-"};
    seed_random();
    for (int i = 0; i < 20000; i++) {
        char name[128], quoted[512], extended[512];
        char *end = stpcpy(name, "n");
        for (long count = random() % 20; count > 0; count--)
            end = stpcpy(end, pieces[random() % (long)(sizeof pieces / sizeof *pieces)]);
        stpcpy(end, "m");
        write_both(name, quoted, extended);
        _cleanup_free_ char *from_quoted = naming_from_disposition(quoted, false);
        _cleanup_free_ char *from_extended = naming_from_disposition(extended, false);
        if (!from_quoted || strcmp(from_quoted, name) != 0)
            ck_abort_msg("\"%s\" from %s", from_quoted, quoted);
        if (!from_extended || strcmp(from_extended, name) != 0)
            ck_abort_msg("\"%s\" from %s", from_extended, extended);
    }
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("naming");
    TCase *tests = tcase_create("naming");
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, test_from_url, 0, (int)(sizeof cases / sizeof *cases));
    tcase_add_test(tests, test_hidden);
    tcase_add_test(tests, test_cut);
    tcase_add_test(tests, test_numbered);
    tcase_add_test(tests, test_unique);
    tcase_add_test(tests, test_validator);
    tcase_add_test(tests, test_random);
    tcase_add_loop_test(tests, test_disposition, 0,
                        (int)(sizeof dispositions / sizeof *dispositions));
    tcase_add_test(tests, test_disposition_hidden);
    tcase_add_test(tests, test_disposition_cut);
    tcase_add_test(tests, test_random_disposition);
    tcase_add_test(tests, test_round_trip);
    suite_add_tcase(s, tests);
    return s;
}

int main(void)
{
    return tap_main(suite());
}
