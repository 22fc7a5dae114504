/* JSON bodies: what is read is what the text says, with a table of fields of every type; and what
 * is written is read again as the same. */
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <string.h>

#include "common/buf.h"
#include "common/cleanup.h"
#include "common/json.h"
#include "fuzz.h"
#include "http/fields.h"

struct target {
    unsigned seen;
    int64_t number;
    const char *text;
};

static int set(const struct field *field, void *pointer, const struct field_value *value,
               char message[static 512])
{
    struct target *target = pointer;
    target->seen++;
    switch (field->type) {
    case FIELD_TEXT:
        MUST(value->text && is_utf8(value->text));
        target->text = value->text;
        break;
    case FIELD_INTEGER:
        MUST(value->number >= field->min && value->number <= field->max);
        target->number = value->number;
        break;
    case FIELD_BOOL:
        break;
    case FIELD_OBJECT:
        MUST(json_is_object(value->object));
        break;
    case FIELD_ARRAY:
        MUST(json_is_array(value->object));
        if (json_count(value->object) > 3) {
            snprintf(message, 512, "%s is refused", field->name);
            return -EINVAL;
        }
    }
    return 0;
}

static const struct field fields[] = {
    {.name = "t", .type = FIELD_TEXT, .set = set},
    {.name = "i", .type = FIELD_INTEGER, .min = -7, .max = INT_MAX, .set = set},
    {.name = "b", .type = FIELD_BOOL, .set = set},
    {.name = "o",  .type = FIELD_OBJECT, .set = set},
    {.name = "a", .type = FIELD_ARRAY, .set = set},
    {.name = NULL},
};

static void read_fields(const char *text, size_t len)
{
    struct target target = {0};
    struct json_object *object = NULL;
    char message[512] = "", broken[128];
    if (json_read(text, len, &object, broken) < 0)
        return;
    int r = fields_read(fields, object, len % 2 ? "tasks[9999]" : NULL, &target, message);
    MUST(r == 0 || r == -EINVAL);
    MUST(r == 0 || (*message && is_utf8(message)));
    json_release(object);
}

/* --- reading and writing --- */

static int write_member(void *pointer, const char *name, struct json_object *value)
{
    struct buf *copy = pointer;
    const char *text;
    int64_t number;
    bool truth;
    buf_add_string(copy, copy->len > 1 ? ", " : "");
    json_add_string(copy, name);
    buf_add_string(copy, ": ");
    int error = value ? json_get_text(value, &text) : -EINVAL;
    if (!value)
        buf_add_string(copy, "null");
    else if (error == 0)
        json_add_string(copy, text);
    else if (json_get_integer(value, &number) == 0)
        buf_printf(copy, "%jd", (intmax_t)number);
    else if (json_get_bool(value, &truth) == 0)
        buf_add_string(copy, truth ? "true" : "false");
    else if (error == -EILSEQ)
        buf_add_string(copy, "\"a NUL\"");
    else if (json_is_object(value))
        buf_add_string(copy, "{}");
    else
        buf_add_string(copy, "0.5");
    return 0;
}

/* The same in the house's layout; nested things stand for themselves. The caller frees it. */
static char *write_object(struct json_object *object)
{
    struct buf copy;
    buf_init(&copy, 1 << 24);
    buf_add_char(&copy, '{');
    MUST(json_each(object, write_member, &copy) == 0);
    buf_add_char(&copy, '}');
    char *text = buf_take(&copy);
    MUST(text);
    return text;
}

static void read_and_write(const char *text, size_t len)
{
    char message[128] = "";
    struct json_object *object = NULL;
    int r = json_read(text, len, &object, message);
    MUST(r == 0 || r == -EBADMSG);
    MUST(r == 0 || (*message && is_utf8(message) && !object));
    if (r < 0)
        return;
    MUST(is_utf8(text) && strlen(text) == len && json_is_object(object));
    _cleanup_free_ char *once = write_object(object);
    json_release(object);
    MUST(json_read(once, strlen(once), &object, message) == 0);
    _cleanup_free_ char *twice = write_object(object);
    json_release(object);
    MUST(strcmp(once, twice) == 0);
}

/* Whatever bytes a string has, what is written is ASCII and read as a string. */
static void write_string(const char *text)
{
    _cleanup_(buf_release) struct buf written;
    struct json_object *object = NULL;
    char message[128];
    buf_init(&written, 1 << 24);
    buf_add_string(&written, "{\"s\": ");
    json_add_string(&written, text);
    buf_add_string(&written, "}");
    MUST(!written.error);
    for (size_t i = 0; i < written.len; i++)
        MUST(written.data[i] >= ' ' && written.data[i] <= '~');
    MUST(json_read(written.data, written.len, &object, message) == 0);
    json_release(object);
}

/* The shortest text that reads back as the same number. */
static void write_float(uint64_t bits)
{
    _cleanup_(buf_release) struct buf written;
    double value;
    memcpy(&value, &bits, sizeof value);
    if (!isfinite(value))
        return;
    buf_init(&written, 64);
    json_add_float(&written, value);
    MUST(!written.error && written.len <= 24);
    MUST(written.data[strspn(written.data, "-+.e0123456789")] == '\0');
    MUST(strpbrk(written.data, ".e"));
    double again = strtod(written.data, NULL);
    MUST(memcmp(&again, &value, sizeof value) == 0);
}

/* The text is a body; its start is a number, too. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size}, start = {data, size};
    size_t len;
    _cleanup_free_ char *text = take_rest(&input, &len);
    read_fields(text, len);
    read_and_write(text, len);
    write_string(text);
    write_float(take_number(&start));
    return 0;
}
