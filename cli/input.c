#include "input.h"

#include <ctype.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "output.h"
#include "url.h"
#include "wish.h"

struct reader {
    const struct client *client;
    enum api_exit (*visit)(void *data, const struct input_entry *entry);
    void *data;
    struct input_entry entry; /* task NULL: none, or a bad one */
    bool has_bad;
};

static bool is_option(const char *text)
{
    size_t len = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-");
    return len > 0 && text[len] == '=';
}

static enum api_exit end_entry(struct reader *reader)
{
    enum api_exit status =
        reader->entry.task ? reader->visit(reader->data, &reader->entry) : API_EXIT_DONE;

    json_object_put(reader->entry.task);
    reader->entry.task = NULL;
    return status;
}

static void drop_entry(struct reader *reader)
{
    json_object_put(reader->entry.task);
    reader->entry.task = NULL;
    reader->has_bad = true;
}

/* "URL", "URL<TAB>MIRROR..." */
static enum api_exit read_urls(const char *where, char *text, struct json_object *task)
{
    struct json_object *mirrors = NULL;
    char *url;

    while ((url = strsep(&text, "\t"))) {
        url[strcspn(url, " ")] = '\0';
        if (!*url)
            continue;
        enum api_exit status = url_check(where, url);
        if (status != API_EXIT_DONE)
            return status;
        if (!json_object_object_get_ex(task, "url", NULL)) {
            json_object_object_add(task, "url", json_object_new_string(url));
            continue;
        }
        if (!mirrors) {
            mirrors = json_object_new_array();
            json_object_object_add(task, "mirrors", mirrors);
        }
        json_object_array_add(mirrors, json_object_new_string(url));
    }
    return API_EXIT_DONE;
}

static enum api_exit read_line(struct reader *reader, size_t number, char *line, size_t len)
{
    char where[32];
    bool is_indented = isspace((unsigned char)*line);
    char *text = line + strspn(line, " \t");

    snprintf(where, sizeof where, "line %zu: ", number);
    while (len > 0 && isspace((unsigned char)line[len - 1]))
        line[--len] = '\0';
    if (*text == '\0' || *text == '#')
        return API_EXIT_DONE;
    if (is_indented && is_option(text)) {
        if (reader->entry.task &&
            wish_read_aria2(reader->client, where, text, reader->entry.task) != API_EXIT_DONE)
            drop_entry(reader);
        return API_EXIT_DONE;
    }
    enum api_exit status = end_entry(reader);
    reader->entry = (struct input_entry){.line = number, .task = json_object_new_object()};
    if (status == API_EXIT_DONE && strlen(line) != len) {
        output_fail(API_EXIT_USAGE, "%sthere is a NUL character in it", where);
        drop_entry(reader);
    } else if (read_urls(where, text, reader->entry.task) != API_EXIT_DONE) {
        drop_entry(reader);
    }
    return status;
}

enum api_exit input_read(FILE *file, const struct client *client,
                         enum api_exit (*visit)(void *data, const struct input_entry *entry),
                         void *data)
{
    struct reader reader = {.client = client, .visit = visit, .data = data};
    enum api_exit status = API_EXIT_DONE;
    _cleanup_free_ char *line = NULL;
    size_t size = 0;
    ssize_t len;

    for (size_t number = 1; status == API_EXIT_DONE && (len = getline(&line, &size, file)) > 0;
         number++)
        status = read_line(&reader, number, line, (size_t)len);
    if (status == API_EXIT_DONE)
        status = end_entry(&reader);
    json_object_put(reader.entry.task);
    if (status == API_EXIT_DONE && ferror(file))
        status = output_fail(API_EXIT_USAGE, "the list cannot be read to its end");
    return status == API_EXIT_DONE && reader.has_bad ? API_EXIT_USAGE : status;
}
