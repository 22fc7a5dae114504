#include "cookies.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/cleanup.h"
#include "common/units.h"
#include "url.h"

#define FIELDS 7

struct cookie {
    char *line; /* owned; the fields are in it */
    const char *domain, *path, *name, *value;
    bool with_subdomains, is_secure;
    int64_t expires; /* seconds since the epoch; 0: with the browser's session */
};

struct cookies { /* the longest path first, as they are sent */
    struct cookie *list;
    size_t count;
};

void cookies_destroy(struct cookies *cookies)
{
    if (!cookies)
        return;
    for (size_t i = 0; i < cookies->count; i++) {
        struct cookie *cookie = &cookies->list[i];
        explicit_bzero((char *)cookie->value, strlen(cookie->value));
        free(cookie->line);
    }
    free(cookies->list);
    free(cookies);
}

/* domain, subdomains too, path, secure, expires, name, value; tabs between. */
static bool read_cookie(char *line, struct cookie *ret_cookie)
{
    char *fields[FIELDS], *rest = line;
    uint64_t expires;

    if (strncmp(rest, "#HttpOnly_", 10) == 0)
        rest += 10;
    for (int i = 0; i < FIELDS; i++)
        fields[i] = strsep(&rest, "\t");
    if (!fields[5] || rest || units_parse_uint(fields[4], 0, INT64_MAX, &expires) < 0)
        return false;
    *ret_cookie = (struct cookie){
        .line = line,
        .domain = fields[0] + (*fields[0] == '.'),
        .with_subdomains = strcasecmp(fields[1], "TRUE") == 0,
        .path = fields[2],
        .is_secure = strcasecmp(fields[3], "TRUE") == 0,
        .expires = (int64_t)expires,
        .name = fields[5],
        .value = fields[6] ? fields[6] : "",
    };
    return *ret_cookie->domain && *ret_cookie->path == '/';
}

static int add_line(struct cookies *cookies, const char *text)
{
    _cleanup_free_ char *line = strndup(text, strcspn(text, "\r\n"));
    struct cookie cookie;

    if (!line)
        return -ENOMEM;
    if (*line == '\0' || (*line == '#' && strncmp(line, "#HttpOnly_", 10) != 0))
        return 0;
    if (!read_cookie(line, &cookie))
        return -EBADMSG;
    struct cookie *grown = reallocarray(cookies->list, cookies->count + 1, sizeof *cookies->list);
    if (!grown)
        return -ENOMEM;
    cookies->list = grown;
    cookies->list[cookies->count++] = cookie;
    TAKE_PTR(line);
    return 0;
}

static int by_path(const void *one, const void *other)
{
    const struct cookie *a = one, *b = other;
    size_t first = strlen(a->path), second = strlen(b->path);
    return first < second ? 1 : first > second ? -1 : 0;
}

int cookies_load(const char *path, struct cookies **ret_cookies, size_t *ret_line)
{
    struct cookies *cookies = calloc(1, sizeof *cookies);
    _cleanup_free_ char *line = NULL;
    size_t size = 0;
    FILE *file = fopen(path, "re");
    int r = !cookies ? -ENOMEM : !file ? -errno : 0;

    *ret_line = 0;
    while (r == 0 && getline(&line, &size, file) > 0) {
        r = add_line(cookies, line);
        ++*ret_line;
    }
    if (file)
        fclose(file);
    if (line)
        explicit_bzero(line, size);
    if (r < 0) {
        cookies_destroy(cookies);
        return r;
    }
    if (cookies->count > 1)
        qsort(cookies->list, cookies->count, sizeof *cookies->list, by_path);
    *ret_cookies = cookies;
    return 0;
}

/* RFC 6265, section 5.1.3. */
static bool is_for_host(const struct cookie *cookie, const struct url_parts *url)
{
    size_t len = strlen(cookie->domain);

    if (len > url->host_len ||
        strncasecmp(url->host + url->host_len - len, cookie->domain, len) != 0)
        return false;
    bool is_address = url->host[url->host_len - 1] >= '0' && url->host[url->host_len - 1] <= '9';
    return len == url->host_len ||
           (cookie->with_subdomains && !is_address && url->host[url->host_len - len - 1] == '.');
}

/* RFC 6265, section 5.1.4. */
static bool is_for_path(const struct cookie *cookie, const struct url_parts *url)
{
    const char *path = url->path_len ? url->path : "/";
    size_t path_len = url->path_len ? url->path_len : 1, len = strlen(cookie->path);

    if (len > path_len || strncmp(path, cookie->path, len) != 0)
        return false;
    return len == path_len || cookie->path[len - 1] == '/' || path[len] == '/';
}

void cookies_add(const struct cookies *cookies, const char *url, struct buf *buf)
{
    struct url_parts parts = url_split(url);
    bool is_https = parts.scheme_len == 5 && strncasecmp(parts.scheme, "https", 5) == 0;
    bool is_http = parts.scheme_len == 4 && strncasecmp(parts.scheme, "http", 4) == 0;
    int64_t now = units_now_realtime() / 1000;

    if ((!is_http && !is_https) || parts.host_len == 0)
        return;
    for (size_t i = 0; i < cookies->count; i++) {
        const struct cookie *cookie = &cookies->list[i];
        if ((cookie->is_secure && !is_https) || (cookie->expires && cookie->expires < now) ||
            !is_for_host(cookie, &parts) || !is_for_path(cookie, &parts))
            continue;
        buf_printf(buf, "%s%s%s%s", buf->len ? "; " : "", cookie->name, *cookie->name ? "=" : "",
                   cookie->value);
    }
}
