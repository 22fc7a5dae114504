#include "http/checks.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/api.h"
#include "common/cleanup.h"
#include "common/json.h"
#include "common/visible.h"
#include "core/url.h"

#define SHOWN_MAX 100 /* bytes of somebody's text in a message */

#define SAY(message, ...) (snprintf(message, 512, __VA_ARGS__), false)
#define COUNT(array)      (sizeof(array) / sizeof((array)[0]))

/* How much of a valid text is shown in a message. */
static int shown(const char *text)
{
    size_t len = strlen(text);
    if (len > SHOWN_MAX)
        for (len = SHOWN_MAX; len && ((unsigned char)text[len] & 0xc0) == 0x80; len--)
            ;
    return (int)len;
}

static bool has_control(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            return true;
    return false;
}

static bool is_among(const char *const *list, size_t count, const char *text, size_t len)
{
    for (size_t i = 0; i < count; i++)
        if (strlen(list[i]) == len && strncasecmp(text, list[i], len) == 0)
            return true;
    return false;
}

/* --- URLs --- */

/* 0, or what is wrong with the login in a URL. */
static int check_login(const char *url)
{
    _cleanup_free_ char *bare = NULL, *username = NULL, *password = NULL;
    return url_take_login(url, &bare, &username, &password) == -EINVAL ? -EINVAL : 0;
}

bool check_url(const char *field, const char *url, char message[static 512])
{
    static const char *const schemes[] = {"http", "https", "ftp", "ftps", "sftp"};
    const char *separator = strstr(url, "://");
    size_t scheme = strcspn(url, ":/?#");
    if (!*url)
        return SAY(message, "%s is empty", field);
    if (strlen(url) > API_URL_MAX)
        return SAY(message, "%s is longer than %d bytes", field, API_URL_MAX);
    if (has_control(url))
        return SAY(message, "%s holds a control character", field);
    if (strncasecmp(url, "magnet:", strlen("magnet:")) == 0)
        return SAY(message, "autodl does not speak BitTorrent");
    if (is_among(schemes, COUNT(schemes), url, scheme) && separator == url + scheme) {
        if (check_login(url) < 0)
            return SAY(message, "the user name or password in %s holds a control character", field);
        return strcspn(url_host(url), ":/?#") > 0 ||
               SAY(message, "%.*s has no host", shown(url), url);
    }
    if (url[scheme] != ':' && !separator && *url != '/')
        return SAY(message, "no scheme; did you mean https://%.*s ?", shown(url), url);
    return SAY(message,
               "%.*s is not a URL this service can fetch; it takes http, https, ftp, ftps and sftp",
               shown(url), url);
}

char *shown_url(const char *url, bool with_query)
{
    size_t end = with_query ? strlen(url) : strcspn(url, "?#");
    const char *separator = strstr(url, "://");
    size_t start = separator ? (size_t)(separator - url) + 3 : 0;
    size_t host = start ? (size_t)(url_host(url) - url) : 0;
    if (end < host)
        start = host = 0;
    char *result = malloc(end + 1);
    if (!result)
        return NULL;
    memcpy(result, url, start);
    memcpy(result + start, url + host, end - host);
    result[start + end - host] = '\0';
    return result;
}

bool check_label(const char *field, const char *label, char message[static 512])
{
    if (strlen(label) > CHECKS_LABEL_MAX)
        return SAY(message, "%s is longer than %d bytes", field, CHECKS_LABEL_MAX);
    return !has_control(label) || SAY(message, "%s holds a control character", field);
}

/* --- directories and names --- */

bool check_directory(const char *field, const char *path, char message[static 512])
{
    if (!*path)
        return SAY(message, "%s is empty; leave it out for your default directory", field);
    if (strlen(path) > API_PATH_MAX)
        return SAY(message, "%s is longer than %d bytes", field, API_PATH_MAX);
    if (strchr(path, '\n'))
        return SAY(message, "%s holds a newline", field);
    if (*path == '~' && path[1] && path[1] != '/')
        return SAY(message, "%s %.*s: only your own ~/ is understood; write the directory in full",
                   field, shown(path), path);
    if (*path != '/' && *path != '~')
        return SAY(message,
                   "%s is relative; it is a directory on the service's machine, so begin it with / "
                   "or ~/",
                   field);
    return true;
}

bool check_name(const char *field, const char *name, char message[static 512])
{
    size_t len = strlen(name);
    if (!len)
        return SAY(message, "%s is empty; leave it out for the name that the URL gives", field);
    if (len > CHECKS_NAME_MAX)
        return SAY(message, "%s is longer than %d bytes", field, CHECKS_NAME_MAX);
    if (strchr(name, '/'))
        return SAY(message, "%s holds a '/'; the place for that is directory", field);
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return SAY(message, "%s cannot be \"%s\"", field, name);
    if (*name == '-')
        return SAY(message, "%s begins with '-', which commands would take for an option", field);
    while (len > 0) {
        uint32_t code = 0;
        size_t length = json_utf8_char(name, len, &code);
        if (length == 0)
            return SAY(message, "%s is not valid UTF-8", field);
        if (visible_is_control(code))
            return SAY(message, "%s holds a control character", field);
        if (visible_is_layout(code))
            return SAY(message, "%s holds a character that turns the direction of text", field);
        name += length;
        len -= length;
    }
    return true;
}

/* --- header fields --- */

/* RFC 9110, 5.6.2. */
static bool is_token(const char *text)
{
    static const char characters[] = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
                                     "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    return *text && !text[strspn(text, characters)];
}

/* What the transfer itself has to say, or the framing of its requests. */
static bool is_ours(const char *name)
{
    static const char *const names[] = {"Host",           "Range",      "If-Range",
                                        "Content-Length", "Connection", "Transfer-Encoding",
                                        "Accept-Encoding"};
    return is_among(names, COUNT(names), name, strlen(name));
}

static bool is_field_value(const char *text)
{
    for (; *text; text++)
        if (((unsigned char)*text < 0x20 && *text != '\t') || *text == 0x7f)
            return false;
    return true;
}

bool check_login_text(const char *field, const char *text, char message[static 512])
{
    if (strlen(text) > CHECKS_LOGIN_MAX)
        return SAY(message, "%s is longer than %d bytes", field, CHECKS_LOGIN_MAX);
    return url_is_login_text(text) || SAY(message, "%s holds a control character", field);
}

bool check_header(const char *field, const char *name, const char *value, char message[static 512])
{
    if (!is_token(name))
        return SAY(message, "%s: \"%.*s\" is not the name of a header field", field, shown(name),
                   name);
    if (is_ours(name))
        return SAY(message, "%s: %s is set by the download itself and cannot be given", field,
                   name);
    if (!value[strspn(value, " \t")])
        return SAY(message, "%s: %.*s is empty", field, shown(name), name);
    if (!is_field_value(value))
        return SAY(message, "%s: %.*s holds a line break or another control character", field,
                   shown(name), name);
    return true;
}
