#include "sse.h"

#include <string.h>

#define LINE_MAX ((size_t)1 << 20)

void sse_init(struct sse *sse, bool (*on_event)(void *, const char *, const char *, size_t),
              void *user)
{
    *sse = (struct sse){.on_event = on_event, .user = user};
    buf_init(&sse->line, LINE_MAX);
    buf_init(&sse->name, 64);
    buf_init(&sse->data, LINE_MAX);
}

void sse_restart(struct sse *sse)
{
    buf_clear(&sse->line);
    buf_clear(&sse->name);
    buf_clear(&sse->data);
}

void sse_release(struct sse *sse)
{
    buf_release(&sse->line);
    buf_release(&sse->name);
    buf_release(&sse->data);
}

/* An empty line ends an event; one without data is none. */
static bool end_event(struct sse *sse)
{
    bool more = true;

    if (sse->data.len > 0 && !sse->data.error && !sse->name.error)
        more = sse->on_event(sse->user, sse->name.len ? sse->name.data : "message", sse->data.data,
                             sse->data.len);
    buf_clear(&sse->name);
    buf_clear(&sse->data);
    return more;
}

static bool take_line(struct sse *sse)
{
    if (sse->line.len > 0 && sse->line.data[sse->line.len - 1] == '\r')
        sse->line.data[--sse->line.len] = '\0';
    const char *line = sse->line.data ? sse->line.data : "";
    size_t len = strcspn(line, ":");
    const char *value = line + len + (line[len] == ':');

    if (sse->line.error)
        return true;
    if (*line == '\0')
        return end_event(sse);
    value += *value == ' ';
    if (len == 5 && memcmp(line, "event", 5) == 0) {
        buf_clear(&sse->name);
        buf_add_string(&sse->name, value);
    } else if (len == 4 && memcmp(line, "data", 4) == 0) {
        if (sse->data.len > 0)
            buf_add_char(&sse->data, '\n');
        buf_add_string(&sse->data, value);
    }
    return true;
}

/* Lines end with LF or CR LF here; a CR alone does not come from our service. */
bool sse_feed(struct sse *sse, const char *bytes, size_t len)
{
    while (len > 0) {
        const char *end = memchr(bytes, '\n', len);
        size_t part = end ? (size_t)(end - bytes) : len;
        buf_add(&sse->line, bytes, part);
        bytes += part + (end != NULL);
        len -= part + (end != NULL);
        if (!end)
            continue;
        bool more = take_line(sse);
        buf_clear(&sse->line);
        if (!more)
            return false;
    }
    return true;
}
