#include "transfer/checksum.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/cleanup.h"

static const struct algorithm {
    const char *name;
    size_t digits;
    const EVP_MD *(*digest)(void);
} algorithms[] = {
    {"sha-256", 64,  EVP_sha256},
    {"sha-512", 128, EVP_sha512},
    {"sha-1",   40,  EVP_sha1  },
    {"md5",     32,  EVP_md5   },
};

struct checksum {
    const struct algorithm *algorithm;
    char expected[CHECKSUM_TEXT_MAX]; /* the digits */
    EVP_MD_CTX *context;
};

/* By what stands before the '='; NULL: none of ours. */
static const struct algorithm *find_algorithm(const char *text)
{
    size_t len = strcspn(text, "=");
    if (text[len] != '=')
        return NULL;
    for (size_t i = 0; i < sizeof algorithms / sizeof *algorithms; i++)
        if (strlen(algorithms[i].name) == len && strncasecmp(text, algorithms[i].name, len) == 0)
            return &algorithms[i];
    return NULL;
}

int checksum_normalise(const char *text, char normal[static CHECKSUM_TEXT_MAX],
                       char message[static 256])
{
    const struct algorithm *algorithm = find_algorithm(text);
    if (!algorithm) {
        snprintf(message, 256, "checksum must be sha-256=HEX, sha-512=HEX, sha-1=HEX or md5=HEX");
        return -EINVAL;
    }
    const char *digits = strchr(text, '=') + 1;
    size_t len = strlen(digits);
    if (len != algorithm->digits || strspn(digits, "0123456789abcdefABCDEF") != len) {
        snprintf(message, 256, "checksum must be %s= and %zu hexadecimal digits after it",
                 algorithm->name, algorithm->digits);
        return -EINVAL;
    }
    size_t n = (size_t)snprintf(normal, CHECKSUM_TEXT_MAX, "%s=", algorithm->name);
    for (size_t i = 0; i <= len; i++)
        normal[n + i] = (char)tolower((unsigned char)digits[i]);
    return 0;
}

int checksum_create(const char *expected, struct checksum **ret_checksum)
{
    struct checksum *checksum = calloc(1, sizeof *checksum);
    if (!checksum)
        return -ENOMEM;
    checksum->algorithm = find_algorithm(expected);
    assert(checksum->algorithm);
    snprintf(checksum->expected, sizeof checksum->expected, "%s", strchr(expected, '=') + 1);

    checksum->context = EVP_MD_CTX_new();
    int r = !checksum->context ? -ENOMEM : 0;
    if (r == 0 && EVP_DigestInit_ex(checksum->context, checksum->algorithm->digest(), NULL) != 1)
        r = -EOPNOTSUPP;
    if (r < 0) {
        checksum_destroy(checksum);
        return r;
    }
    *ret_checksum = checksum;
    return 0;
}

void checksum_destroy(struct checksum *checksum)
{
    if (!checksum)
        return;
    EVP_MD_CTX_free(checksum->context);
    free(checksum);
}

void checksum_add(struct checksum *checksum, const void *data, size_t len)
{
    if (EVP_DigestUpdate(checksum->context, data, len) != 1)
        abort(); /* arithmetic does not fail */
}

int checksum_verify(struct checksum *checksum, char message[static 400])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    char found[2 * EVP_MAX_MD_SIZE + 1] = "";
    unsigned len = 0;
    if (EVP_DigestFinal_ex(checksum->context, digest, &len) != 1)
        abort();
    for (unsigned i = 0; i < len; i++)
        snprintf(found + 2 * i, 3, "%02x", digest[i]);
    if (strcmp(found, checksum->expected) == 0)
        return 0;
    snprintf(message, 400, "%s is %s, not the expected %s", checksum->algorithm->name, found,
             checksum->expected);
    return -EBADMSG;
}
