#include "hosts.h"

#include <assert.h>
#include <ctype.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <threads.h>

#include "common/cleanup.h"
#include "core/url.h"

/* A port that goes without saying is not part of it. */
static size_t without_default_port(const char *scheme, const char *host, size_t len)
{
    static const struct {
        const char *scheme, *port;
    } defaults[] = {
        {"http://",  ":80" },
        {"https://", ":443"},
        {"ftp://",   ":21" },
        {"sftp://",  ":22" }
    };
    for (size_t i = 0; i < sizeof defaults / sizeof *defaults; i++) {
        size_t n = strlen(defaults[i].port);
        if (strncasecmp(scheme, defaults[i].scheme, strlen(defaults[i].scheme)) == 0 && len > n &&
            strncmp(host + len - n, defaults[i].port, n) == 0)
            return len - n;
    }
    return len;
}

char *hosts_of_url(const char *url)
{
    const char *host = url_host(url);
    if (!host)
        return NULL;
    size_t len = strcspn(host, "/?#");
    len = without_default_port(url, host, len);
    char *copy = len > 0 ? strndup(host, len) : NULL;
    for (char *c = copy; c && *c; c++)
        *c = (char)tolower((unsigned char)*c);
    return copy;
}

bool hosts_same_origin(const char *one, const char *other)
{
    size_t scheme = strcspn(one, ":");
    _cleanup_free_ char *host = hosts_of_url(one), *other_host = hosts_of_url(other);
    return host && other_host && strcmp(host, other_host) == 0 && strcspn(other, ":") == scheme &&
           strncasecmp(one, other, scheme) == 0;
}

/* Many tasks in a row are of one host, and libcrypto looks for its algorithm each time, which takes
 * longer than the hash. */
static thread_local struct {
    uint8_t key[STORE_HOST_KEY_SIZE];
    char host[256];  /* as long as a name can be (RFC 1035, 2.3.4), with a port */
    uint64_t number; /* 0: none yet */
} last;

static bool is_last(const uint8_t *key, const char *host)
{
    return last.number && strcmp(last.host, host) == 0 &&
           memcmp(last.key, key, sizeof last.key) == 0;
}

static void remember(const uint8_t *key, const char *host, uint64_t number)
{
    size_t len = strlen(host);
    if (len >= sizeof last.host)
        return;
    memcpy(last.key, key, sizeof last.key);
    memcpy(last.host, host, len + 1);
    last.number = number;
}

uint64_t hosts_number(const uint8_t key[static STORE_HOST_KEY_SIZE], const char *url)
{
    unsigned char mac[EVP_MAX_MD_SIZE];
    unsigned mac_len = 0;
    uint64_t number = 0;
    _cleanup_free_ char *host = hosts_of_url(url);
    const char *text = host ? host : "";
    if (is_last(key, text))
        return last.number;
    if (!HMAC(EVP_sha256(), key, STORE_HOST_KEY_SIZE, (const unsigned char *)text, strlen(text),
              mac, &mac_len))
        return 0;
    assert(mac_len >= sizeof number);
    memcpy(&number, mac, sizeof number);
    number = number ? number : 1;
    remember(key, text, number);
    return number;
}
