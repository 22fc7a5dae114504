/* What a request may say: an accepted URL shows no login, wherever curl may find one in it; an
 * accepted name, directory or header field is what it has to be; every refusal has a sentence. */
#include <curl/curl.h>
#include <string.h>
#include <strings.h>

#include "common/api.h"
#include "common/cleanup.h"
#include "fuzz.h"
#include "http/checks.h"

static bool has_control(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            return true;
    return false;
}

static void must_explain(const char *message)
{
    MUST(memchr(message, '\0', 512));
    MUST(*message && is_utf8(message));
}

/* --- URLs --- */

static void free_url(CURLU **url)
{
    curl_url_cleanup(*url);
}

/* A part of the URL as curl, which goes there, understands it; "": it has none, or is none to curl.
 */
static void curl_part(const char *text, CURLUPart part, char ret_part[static API_URL_MAX + 1])
{
    _cleanup_(free_url) CURLU *url = curl_url();
    char *found = NULL;
    *ret_part = '\0';
    if (curl_url_set(url, CURLUPART_URL, text, CURLU_NON_SUPPORT_SCHEME) == CURLUE_OK &&
        curl_url_get(url, part, &found, 0) == CURLUE_OK)
        snprintf(ret_part, API_URL_MAX + 1, "%s", found);
    curl_free(found);
}

static void check_shown(const char *url, bool with_query)
{
    char one[API_URL_MAX + 1], other[API_URL_MAX + 1], message[512];
    _cleanup_free_ char *shown = shown_url(url, with_query);
    MUST(shown && strlen(shown) <= strlen(url));
    MUST(check_url("url", shown, message));
    MUST(with_query || !strpbrk(shown, "?#"));
    curl_part(shown, CURLUPART_USER, one);
    MUST(!*one);
    curl_part(shown, CURLUPART_PASSWORD, one);
    MUST(!*one);
    curl_part(url, CURLUPART_HOST, one);
    curl_part(shown, CURLUPART_HOST, other);
    MUST(!*one || strcmp(one, other) == 0);
    _cleanup_free_ char *again = shown_url(shown, with_query);
    MUST(again && strcmp(again, shown) == 0);
}

static void look_at_url(const char *url)
{
    static const char *const schemes[] = {"http://", "https://", "ftp://", "ftps://", "sftp://"};
    char message[512] = "";
    if (!check_url("url", url, message)) {
        must_explain(message);
        return;
    }
    bool known = false;
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++)
        known |= strncasecmp(url, schemes[i], strlen(schemes[i])) == 0;
    MUST(known && strlen(url) <= API_URL_MAX && !has_control(url));
    check_shown(url, false);
    check_shown(url, true);
}

/* --- the others --- */

static void look_at_directory(const char *path)
{
    char message[512] = "";
    if (!check_directory("directory", path, message)) {
        must_explain(message);
        return;
    }
    MUST(*path == '/' || strcmp(path, "~") == 0 || strncmp(path, "~/", 2) == 0);
    MUST(strlen(path) <= API_PATH_MAX && !strchr(path, '\n'));
}

static void look_at_name(const char *name)
{
    char message[512] = "";
    bool good = check_name("name", name, message);
    MUST(good == is_fit_name(name, CHECKS_NAME_MAX, true));
    if (!good)
        must_explain(message);
}

/* A line of its own, that says nothing about the request's framing. */
static void look_at_header(const char *name, const char *value)
{
    char message[512] = "";
    if (!check_header("headers", name, value, message)) {
        must_explain(message);
        return;
    }
    MUST(*name && !name[strcspn(name, ":()<>@,;\\\"/[]?={} \t\r\n")]);
    MUST(!strpbrk(value, "\r\n\x7f") && value[strspn(value, " \t")]);
    MUST(strcasecmp(name, "Host") != 0 && strcasecmp(name, "Content-Length") != 0 &&
         strcasecmp(name, "Transfer-Encoding") != 0 && strcasecmp(name, "Range") != 0);
    for (; *name; name++)
        MUST(*name > ' ' && *name < 0x7f);
}

/* Two texts. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    _cleanup_free_ char *text = take_text(&input);
    _cleanup_free_ char *other = take_text(&input);
    if (!is_utf8(text) || !is_utf8(other))
        return 0;
    look_at_url(text);
    look_at_directory(text);
    look_at_name(text);
    look_at_header(text, other);
    return 0;
}
