/* What a server or a URL calls a file: whatever that is, the name is one that may come into a
 * user's directory; and a name that is fit already stays as it is. */
#include <string.h>

#include "common/cleanup.h"
#include "fuzz.h"
#include "http/checks.h"
#include "transfer/naming.h"

#define NUMBERED_MAX 240

static void must_be_fit(const char *name, bool allow_hidden)
{
    char message[512];
    MUST(is_fit_name(name, CHECKS_NAME_MAX, allow_hidden));
    MUST(check_name("name", name, message));
}

/* Each candidate is another one. */
static void number(const char *name, unsigned n, bool allow_hidden)
{
    _cleanup_free_ char *zero = naming_numbered(name, 0);
    _cleanup_free_ char *one = naming_numbered(name, n);
    _cleanup_free_ char *other = naming_numbered(name, n + 1);
    MUST(zero && one && other);
    MUST(strcmp(zero, name) == 0);
    MUST(is_fit_name(one, NUMBERED_MAX, allow_hidden));
    MUST(is_fit_name(other, NUMBERED_MAX, allow_hidden));
    MUST(n == 0 || strcmp(one, name) != 0);
    MUST(strcmp(other, one) != 0);
}

static char *join(const char *before, const char *text, const char *after)
{
    char *joined;
    MUST(asprintf(&joined, "%s%s%s", before, text, after) >= 0);
    return joined;
}

/* With a backslash before each quote. The caller frees it. */
static char *quote(const char *name)
{
    char *quoted = malloc(2 * strlen(name) + 1), *end = quoted;
    MUST(quoted);
    for (; *name; *end++ = *name++)
        if (*name == '"')
            *end++ = '\\';
    *end = '\0';
    return quoted;
}

/* Said in a URL and in both forms of the header. */
static void must_stay(const char *name, bool allow_hidden)
{
    _cleanup_free_ char *encoded = percent_encode(name, strlen(name));
    _cleanup_free_ char *url = join("http://h/x/", encoded, "?q#f");
    _cleanup_free_ char *same = naming_from_url(url, allow_hidden);
    MUST(same && strcmp(same, name) == 0);

    size_t len = strlen(name);
    if (strchr(name, '\\') || name[0] == ' ' || name[len - 1] == ' ')
        return;
    _cleanup_free_ char *extended = join("attachment; filename*=UTF-8''", encoded, "");
    _cleanup_free_ char *quoted = quote(name);
    _cleanup_free_ char *plain = join("attachment; filename=\"", quoted, "\"; x=y");
    _cleanup_free_ char *by_extended = naming_from_disposition(extended, allow_hidden);
    _cleanup_free_ char *by_plain = naming_from_disposition(plain, allow_hidden);
    MUST(by_extended && strcmp(by_extended, name) == 0);
    MUST(by_plain && strcmp(by_plain, name) == 0);
}

static void look_at(const char *name, unsigned n, bool allow_hidden)
{
    if (!name)
        return;
    must_be_fit(name, allow_hidden);
    number(name, n, allow_hidden);
    must_stay(name, allow_hidden);
}

/* One byte of options, four of a number, and the text: a header's value, and a URL (or its end). */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    uint8_t options = take_byte(&input);
    unsigned n = take_byte(&input);
    n |= (unsigned)take_byte(&input) << 24;
    _cleanup_free_ char *text = take_text(&input);
    _cleanup_free_ char *url = join(options & 2 ? "https://user:pw@example.org/" : "", text, "");
    bool allow_hidden = options & 1;

    _cleanup_free_ char *by_server = naming_from_disposition(text, allow_hidden);
    _cleanup_free_ char *by_url = naming_from_url(url, allow_hidden);
    _cleanup_free_ char *unique = naming_unique(url, allow_hidden);
    MUST(by_url && unique);
    look_at(by_server, n, allow_hidden);
    look_at(by_url, n, allow_hidden);
    look_at(unique, n, allow_hidden);
    return 0;
}
