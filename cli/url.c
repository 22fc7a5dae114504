#include "url.h"

#include <string.h>
#include <strings.h>

#include "common/json.h"
#include "output.h"

bool url_is_magnet(const char *url)
{
    return strncasecmp(url, "magnet:", 7) == 0;
}

enum api_exit url_check(const char *where, const char *url)
{
    static const char *const schemes[] = {"http", "https", "ftp", "ftps", "sftp"};
    const char *end = strstr(url, "://");

    where = where ? where : "";
    if (url_is_magnet(url))
        return output_fail(API_EXIT_USAGE, "%s\"%s\": autodl does not speak BitTorrent", where,
                           url);
    if (*url == '\0')
        return output_fail(API_EXIT_USAGE, "%sthe URL is empty", where);
    size_t len = end ? (size_t)(end - url) : 0;
    if (!end || len == 0 ||
        strcspn(url, "/?#") < len) /* the :// belongs to the path or the query */
        return output_fail(API_EXIT_USAGE, "%s\"%s\": no scheme; did you mean https://%s ?", where,
                           url, url);
    if (strlen(url) > API_URL_MAX)
        return output_fail(API_EXIT_USAGE, "%s\"%.60s...\": a URL has at most %d bytes", where, url,
                           API_URL_MAX);
    if (!json_is_utf8(url, strlen(url)))
        return output_fail(API_EXIT_USAGE, "%s\"%s\": the URL is not UTF-8", where, url);
    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++)
        if (strlen(schemes[i]) == len && strncasecmp(url, schemes[i], len) == 0)
            return API_EXIT_DONE;
    return output_fail(API_EXIT_USAGE,
                       "%s\"%s\": autodl does not speak %.*s, only http, https, ftp, ftps and sftp",
                       where, url, (int)len, url);
}

struct url_parts url_split(const char *url)
{
    const char *end = strstr(url, "://");
    struct url_parts parts = {.scheme = url, .scheme_len = (size_t)(end - url), .host = end + 3};
    size_t len = strcspn(parts.host, "/?#");
    const char *at = memrchr(parts.host, '@', len);

    parts.path = parts.host + len;
    parts.path_len = *parts.path == '/' ? strcspn(parts.path, "?#") : 0;
    if (at) {
        len -= (size_t)(at + 1 - parts.host);
        parts.host = at + 1;
    }
    if (*parts.host == '[')
        parts.host_len = strcspn(parts.host, "]") + 1;
    else
        parts.host_len = strcspn(parts.host, ":/?#");
    if (parts.host_len > len)
        parts.host_len = len;
    return parts;
}
