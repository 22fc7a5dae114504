#include "core/url.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"

/* Behind the "://", or NULL. */
static const char *authority(const char *url)
{
    const char *separator = strstr(url, "://");
    return separator ? separator + 3 : NULL;
}

/* The last '@' in front of the path counts: there may be one in a password. */
const char *url_host(const char *url)
{
    const char *start = authority(url);
    if (!start)
        return NULL;
    const char *at = memrchr(start, '@', strcspn(start, "/?#"));
    return at ? at + 1 : start;
}

bool url_has_login(const char *url)
{
    const char *host = url_host(url);
    return host && host != authority(url);
}

bool url_is_login_text(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            return false;
    return true;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* 0, -ENOMEM or -EINVAL. A '%' that no two digits follow is itself. */
static int decode(const char *text, size_t len, char **ret_decoded)
{
    _cleanup_free_ char *decoded = malloc(len + 1);
    size_t out = 0;
    if (!decoded)
        return -ENOMEM;
    for (size_t i = 0; i < len; i++, out++) {
        int high = text[i] == '%' && len - i > 2 ? hex_value(text[i + 1]) : -1;
        int low = high >= 0 ? hex_value(text[i + 2]) : -1;
        decoded[out] = low >= 0 ? (char)(high << 4 | low) : text[i];
        if (decoded[out] == '\0')
            return -EINVAL;
        i += low >= 0 ? 2 : 0;
    }
    decoded[out] = '\0';
    if (!url_is_login_text(decoded))
        return -EINVAL;
    *ret_decoded = TAKE_PTR(decoded);
    return 0;
}

int url_take_login(const char *url, char **ret_bare, char **ret_username, char **ret_password)
{
    _cleanup_free_ char *bare = NULL, *username = NULL, *password = NULL;
    const char *start = authority(url), *host = url_host(url);
    int r = 0;
    if (host && host != start) {
        size_t len = (size_t)(host - 1 - start);
        const char *colon = memchr(start, ':', len);
        r = decode(start, colon ? (size_t)(colon - start) : len, &username);
        if (r == 0 && colon)
            r = decode(colon + 1, len - (size_t)(colon + 1 - start), &password);
        if (r == 0 && asprintf(&bare, "%.*s%s", (int)(start - url), url, host) < 0)
            bare = NULL;
    } else {
        bare = strdup(url);
    }
    if (r == 0 && !bare)
        r = -ENOMEM;
    if (r < 0)
        return r;
    *ret_bare = TAKE_PTR(bare);
    *ret_username = TAKE_PTR(username);
    *ret_password = TAKE_PTR(password);
    return 0;
}
