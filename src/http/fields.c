#include "http/fields.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/buf.h"
#include "common/cleanup.h"
#include "common/json.h"
#include "common/units.h"

#define NAME_SHOWN_MAX 64
#define NAMES_MAX      320 /* bytes of all names of a table in a message */

struct reading {
    const struct field *fields;
    const char *what; /* before the field's name in messages, or NULL */
    void *target;
    char *message;
};

static int wrong_type(const struct field *field, const char *expected, char message[static 512])
{
    snprintf(message, 512, "%s must be %s", field->name, expected);
    return -EINVAL;
}

static int read_text(const struct field *field, struct json_object *value, const char **ret_text,
                     char message[static 512])
{
    int r = json_get_text(value, ret_text);
    if (r == -EILSEQ) {
        snprintf(message, 512, "%s holds a NUL character", field->name);
        return -EINVAL;
    }
    return r < 0 ? wrong_type(field, "a string", message) : 0;
}

static int wrong_number(const struct field *field, char message[static 512])
{
    snprintf(message, 512, "%s must be a whole number from %lld to %lld", field->name,
             (long long)field->min, (long long)field->max);
    return -EINVAL;
}

static int read_integer(const struct field *field, struct json_object *value, int64_t *ret_number,
                        char message[static 512])
{
    if (json_get_integer(value, ret_number) == 0 && *ret_number >= field->min &&
        *ret_number <= field->max)
        return 0;
    return wrong_number(field, message);
}

static int read_value(const struct field *field, struct json_object *json,
                      struct field_value *value, char message[static 512])
{
    switch (field->type) {
    case FIELD_TEXT:
        return read_text(field, json, &value->text, message);
    case FIELD_INTEGER:
        return read_integer(field, json, &value->number, message);
    case FIELD_BOOL:
        return json_get_bool(json, &value->truth) < 0 ? wrong_type(field, "true or false", message)
                                                      : 0;
    case FIELD_OBJECT:
        value->object = json;
        return json_is_object(json) ? 0 : wrong_type(field, "an object, {...}", message);
    case FIELD_ARRAY:
        value->object = json;
        return json_is_array(json) ? 0 : wrong_type(field, "an array, [...]", message);
    }
    return 0;
}

static int unknown_field(const struct field *fields, const char *name, char message[static 512])
{
    _cleanup_(buf_release) struct buf names;
    buf_init(&names, NAMES_MAX);
    for (; fields->name; fields++)
        buf_printf(&names, "%s%s", names.len ? ", " : "", fields->name);
    const char *known = names.len ? names.data : "none";
    size_t shown = strlen(name);
    if (shown > NAME_SHOWN_MAX)
        for (shown = NAME_SHOWN_MAX; shown && (name[shown] & 0xc0) == 0x80; shown--)
            ;
    snprintf(message, 512, "there is no field \"%.*s\" here; the fields are: %s", (int)shown, name,
             known);
    return -EINVAL;
}

const struct field *field_find(const struct field *fields, const char *name)
{
    while (fields->name && strcmp(fields->name, name) != 0)
        fields++;
    return fields->name ? fields : NULL;
}

/* "tasks[3].url is empty", "tasks[3].url: no scheme": which of many, and which field of it. */
static int say_what(const char *what, const char *field, char message[static 512])
{
    char text[512];
    size_t len = field ? strlen(field) : 0;
    bool named = field && strncmp(message, field, len) == 0;
    snprintf(text, sizeof text, "%s%s%s%s%.400s", what, field ? "." : ": ",
             field && !named ? field : "", field && !named ? ": " : "", message);
    memcpy(message, text, sizeof text);
    return -EINVAL;
}

static int read_member(void *data, const char *name, struct json_object *json)
{
    struct reading *reading = data;
    const struct field *field = field_find(reading->fields, name);
    if (!field) {
        unknown_field(reading->fields, name, reading->message);
        return reading->what ? say_what(reading->what, NULL, reading->message) : -EINVAL;
    }
    if (!json)
        return 0;
    struct field_value value = {0};
    int r = read_value(field, json, &value, reading->message);
    if (r == 0)
        r = field->set(field, reading->target, &value, reading->message);
    return r == -EINVAL && reading->what ? say_what(reading->what, field->name, reading->message)
                                         : r;
}

int fields_read(const struct field *fields, struct json_object *object, const char *what,
                       void *target, char message[static 512])
{
    struct reading reading = {
        .fields = fields, .what = what, .target = target, .message = message};
    return json_each(object, read_member, &reading);
}

int field_set_text(const struct field *field, void *target, const char *text,
                   char message[static 512])
{
    struct field_value value = {.text = text};
    uint64_t number;
    if (field->type == FIELD_INTEGER) {
        if (units_parse_uint(text, (uint64_t)field->min, (uint64_t)field->max, &number) < 0)
            return wrong_number(field, message);
        value.number = (int64_t)number;
    }
    if (field->type == FIELD_BOOL && units_parse_bool(text, &value.truth) < 0)
        return wrong_type(field, "yes or no", message);
    return field->set(field, target, &value, message);
}
