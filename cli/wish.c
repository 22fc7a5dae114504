#include "wish.h"

#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/cleanup.h"
#include "common/json.h"
#include "common/units.h"
#include "human.h"
#include "login.h"
#include "output.h"
#include "path.h"
#include "tasks.h"
#include "url.h"
#include "view.h"

#define FOR_EVER 1000 /* tries that are as good as all */

static void set_text(struct json_object *wish, const char *key, const char *text)
{
    json_object_object_add(wish, key, json_object_new_string(text));
}

static void set_number(struct json_object *wish, const char *key, int64_t number)
{
    json_object_object_add(wish, key, json_object_new_int64(number));
}

static enum api_exit read_utf8(const char *what, const char *text)
{
    if (json_is_utf8(text, strlen(text)))
        return API_EXIT_DONE;
    return output_fail(API_EXIT_USAGE, "%s \"%s\" is not UTF-8", what, text);
}

static enum api_exit read_text(const char *what, const char *text, struct json_object *wish,
                               const char *key)
{
    enum api_exit status = read_utf8(what, text);

    if (status == API_EXIT_DONE)
        set_text(wish, key, text);
    return status;
}

static enum api_exit read_checksum(const char *what, const char *text, struct json_object *wish)
{
    static const struct {
        const char *name;
        size_t digits;
    } kinds[] = {
        {"sha-256=", 64 },
        {"sha-512=", 128},
        {"sha-1=",   40 },
        {"md5=",     32 },
    };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        size_t len = strlen(kinds[i].name);
        if (strncasecmp(text, kinds[i].name, len) != 0)
            continue;
        if (strspn(text + len, "0123456789abcdefABCDEF") != strlen(text + len) ||
            strlen(text + len) != kinds[i].digits)
            return output_fail(API_EXIT_USAGE, "%s %.*s takes %zu hexadecimal digits, not \"%s\"",
                               what, (int)len, text, kinds[i].digits, text + len);
        set_text(wish, "checksum", text);
        return API_EXIT_DONE;
    }
    return output_fail(API_EXIT_USAGE, "%s takes sha-256=HEX, sha-512=, sha-1= or md5=, not \"%s\"",
                       what, text);
}

static void set_header(struct json_object *wish, const char *name, const char *value)
{
    struct json_object *headers;

    if (!json_object_object_get_ex(wish, "headers", &headers)) {
        headers = json_object_new_object();
        json_object_object_add(wish, "headers", headers);
    }
    json_object_object_add(headers, name, json_object_new_string(value));
}

/* "Name: value"; the message does not repeat the value, which may be a secret. */
static enum api_exit read_header(const char *what, const char *text, struct json_object *wish)
{
    size_t len = strcspn(text, ":");
    _cleanup_free_ char *name = strndup(text, len);

    if (!name)
        return output_fail(API_EXIT_REFUSED, "out of memory");
    if (len == 0 || !text[len] || strpbrk(name, " \t"))
        return output_fail(API_EXIT_USAGE, "%s takes 'Name: value', or @FILE with such lines",
                           what);
    enum api_exit status = read_utf8(what, text);
    if (status == API_EXIT_DONE)
        set_header(wish, name, text + len + 1 + strspn(text + len + 1, " \t"));
    return status;
}

static enum api_exit read_header_file(const char *path, struct json_object *wish)
{
    _cleanup_free_ char *line = NULL;
    enum api_exit status = API_EXIT_DONE;
    size_t size = 0;
    FILE *file = fopen(path, "re");

    if (!file)
        return output_fail(API_EXIT_USAGE, "--header @%s: %s", path, strerror(errno));
    while (status == API_EXIT_DONE && getline(&line, &size, file) > 0) {
        line[strcspn(line, "\r\n")] = '\0';
        if (*line)
            status = read_header("--header", line, wish);
    }
    fclose(file);
    if (line)
        explicit_bzero(line, size);
    free(TAKE_PTR(line));
    return status;
}

static enum api_exit read_number(const char *what, const char *text, int min, int max,
                                 struct json_object *wish, const char *key)
{
    bool is_negative = *text == '-' && min < 0;
    uint64_t number;

    if (units_parse_uint(text + is_negative, 0, INT32_MAX, &number) < 0 ||
        (is_negative ? -(int64_t)number : (int64_t)number) < min || (int64_t)number > max)
        return output_fail(API_EXIT_USAGE, "%s takes a number from %d to %d, not \"%s\"", what, min,
                           max, text);
    set_number(wish, key, is_negative ? -(int64_t)number : (int64_t)number);
    return API_EXIT_DONE;
}

/* So many in all, as wget and aria2 count; 0 is for ever. */
static enum api_exit read_tries(const char *what, const char *text, struct json_object *wish)
{
    uint64_t tries;

    if (strcmp(text, "inf") == 0 || strcmp(text, "0") == 0)
        tries = FOR_EVER + 1;
    else if (units_parse_uint(text, 1, FOR_EVER + 1, &tries) < 0)
        return output_fail(API_EXIT_USAGE, "%s takes a number up to %d, or inf, not \"%s\"", what,
                           FOR_EVER + 1, text);
    set_number(wish, "retries", (int64_t)tries - 1);
    return API_EXIT_DONE;
}

static enum api_exit read_rate(const char *what, const char *text, struct json_object *wish)
{
    int64_t rate;
    enum api_exit status = human_parse_rate(what, text, &rate);

    if (status == API_EXIT_DONE && rate > 0)
        set_number(wish, "rate_limit", rate);
    return status;
}

static enum api_exit read_start(const struct given *given, struct json_object *wish)
{
    const char *at = given_value(given, "at"), *in = given_value(given, "in");
    enum api_exit status = API_EXIT_DONE;
    char text[HUMAN_MAX];
    int64_t ms = 0;

    if (!at && !in)
        return status;
    if (at && in)
        return output_fail(API_EXIT_USAGE, "--at and --in name two times; give one of them");
    if (at)
        status = human_parse_time("--at", at, false, &ms);
    else
        status = human_parse_duration("--in", in, &ms);
    if (status == API_EXIT_DONE)
        set_text(wish, "not_before", human_rfc3339(at ? ms : units_now_realtime() + ms, text));
    return status;
}

static enum api_exit read_after(struct client *client, const char *id, struct json_object *wish)
{
    struct json_object *task;
    struct view view;
    enum api_exit status = tasks_get(client, id, &task);

    if (status == API_EXIT_DONE && view_read(task, &view))
        set_text(wish, "after", view.id);
    return status;
}

static enum api_exit read_mirrors(const struct given *given, struct json_object *wish)
{
    struct json_object *mirrors = NULL;
    size_t position = 0;
    const char *url;

    while ((url = given_next(given, "mirror", &position))) {
        enum api_exit status = url_check("--mirror ", url);
        if (status != API_EXIT_DONE) {
            json_object_put(mirrors);
            return status;
        }
        if (!mirrors)
            mirrors = json_object_new_array();
        json_object_array_add(mirrors, json_object_new_string(url));
    }
    if (mirrors)
        json_object_object_add(wish, "mirrors", mirrors);
    return API_EXIT_DONE;
}

static enum api_exit read_origin(const char *user, const char *url, struct json_object *wish)
{
    struct url_parts parts = url ? url_split(url) : (struct url_parts){.host = "", .host_len = 0};
    _cleanup_free_ char *host = strndup(parts.host, parts.host_len);
    char *password = NULL;

    if (!host)
        return output_fail(API_EXIT_REFUSED, "out of memory");
    enum api_exit status = read_text("--origin-user", user, wish, "username");
    if (status == API_EXIT_DONE)
        status = login_find_origin(host, user, &password);
    if (status == API_EXIT_DONE) {
        set_text(wish, "password", password);
        explicit_bzero(password, strlen(password));
    }
    free(password);
    return status;
}

static enum api_exit read_exists(const char *text, struct json_object *wish)
{
    if (strcmp(text, "rename") != 0 && strcmp(text, "skip") != 0 && strcmp(text, "overwrite") != 0)
        return output_fail(API_EXIT_USAGE,
                           "--if-exists takes rename, skip or overwrite, not \"%s\"", text);
    set_text(wish, "if_exists", text);
    return API_EXIT_DONE;
}

static enum api_exit read_headers(const struct given *given, struct json_object *wish)
{
    enum api_exit status = API_EXIT_DONE;
    size_t position = 0;
    const char *header;

    while (status == API_EXIT_DONE && (header = given_next(given, "header", &position)))
        status = *header == '@' ? read_header_file(header + 1, wish)
                                : read_header("--header", header, wish);
    return status;
}

static enum api_exit read_directory(const struct client *client, const char *where,
                                    const char *text, struct json_object *wish)
{
    _cleanup_free_ char *path = NULL;
    enum api_exit status = path_resolve(client, where, text, &path);

    return status == API_EXIT_DONE ? read_text("--dir", path, wish, "directory") : status;
}

enum api_exit wish_read(struct client *client, const struct given *given, const char *first_url,
                        struct json_object *wish)
{
    enum api_exit status = API_EXIT_DONE;
    const char *value;

#define READ(option, call)                                                                         \
    if (status == API_EXIT_DONE && (value = given_value(given, option)))                           \
    status = call
    READ("dir", read_directory(client, NULL, value, wish));
    READ("out", read_text("--out", value, wish, "name"));
    READ("checksum", read_checksum("--checksum", value, wish));
    READ("priority", read_number("--priority", value, -100, 100, wish, "priority"));
    READ("limit", read_rate("--limit", value, wish));
    READ("if-exists", read_exists(value, wish));
    READ("tries", read_tries("--tries", value, wish));
    READ("label", read_text("--label", value, wish, "label"));
    if (status == API_EXIT_DONE)
        status = read_headers(given, wish);
    if (status == API_EXIT_DONE)
        status = read_mirrors(given, wish);
    if (status == API_EXIT_DONE)
        status = read_start(given, wish);
    READ("after", read_after(client, value, wish));
    READ("origin-user", read_origin(value, first_url, wish));
#undef READ
    return status;
}

/* --- aria2c(1), Input File --- */

static enum api_exit read_aria2_text(const char *what, const char *value, struct json_object *wish,
                                     const char *name)
{
    static const struct {
        const char *name, *member;
    } members[] = {
        {"out",         "name"    },
        {"http-user",   "username"},
        {"ftp-user",    "username"},
        {"http-passwd", "password"},
        {"ftp-passwd",  "password"},
    };
    for (size_t i = 0; i < sizeof members / sizeof *members; i++)
        if (strcmp(name, members[i].name) == 0)
            return read_text(what, value, wish, members[i].member);
    if (strcmp(name, "referer") == 0 || strcmp(name, "user-agent") == 0) {
        set_header(wish, strcmp(name, "referer") == 0 ? "Referer" : "User-Agent", value);
        return read_utf8(what, value);
    }
    output_note("%s is not known here and was left out", what);
    return API_EXIT_DONE;
}

enum api_exit wish_read_aria2(const struct client *client, const char *where, const char *text,
                              struct json_object *wish)
{
    const char *value = strchr(text, '=');
    char name[32], what[96];

    snprintf(name, sizeof name, "%.*s", (int)(value - text), text);
    snprintf(what, sizeof what, "%s%s", where, name);
    value++;
    if (strcmp(name, "dir") == 0)
        return read_directory(client, where, value, wish);
    if (strcmp(name, "checksum") == 0)
        return read_checksum(what, value, wish);
    if (strcmp(name, "header") == 0)
        return read_header(what, value, wish);
    if (strcmp(name, "max-download-limit") == 0)
        return strcmp(value, "0") == 0 ? API_EXIT_DONE : read_rate(what, value, wish);
    if (strcmp(name, "max-tries") == 0)
        return read_tries(what, value, wish);
    if (strcmp(name, "split") == 0 || strcmp(name, "max-connection-per-server") == 0)
        return read_number(what, value, 1, 64, wish, "max_ranges");
    if (strcmp(name, "pause") == 0) {
        json_object_object_add(wish, "paused", json_object_new_boolean(strcmp(value, "true") == 0));
        return API_EXIT_DONE;
    }
    return read_aria2_text(what, value, wish, name);
}
