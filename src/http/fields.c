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
    case FIELD_REFUSED:
        break;
    }
    return 0;
}

static int unknown_field(const struct field *fields, const char *name, char message[static 512])
{
    _cleanup_(buf_release) struct buf names;
    buf_init(&names, NAMES_MAX);
    for (; fields->name; fields++)
        if (fields->type != FIELD_REFUSED)
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

static int read_member(void *data, const char *name, struct json_object *json)
{
    struct reading *reading = data;
    const struct field *field = field_find(reading->fields, name);
    if (!field)
        return unknown_field(reading->fields, name, reading->message);
    if (!json)
        return 0;
    struct field_value value = {0};
    int r = read_value(field, json, &value, reading->message);
    return r < 0 ? r : field->set(field, reading->target, &value, reading->message);
}

int fields_read(const struct field *fields, const char *text, size_t len, void *target,
                struct json_object **ret_object, char message[static 512])
{
    char broken[128];
    struct json_object *object = NULL;
    int r = len ? json_read(text, len, &object, broken) : 0;
    if (r == -EBADMSG) {
        snprintf(message, 512, "the body is not a JSON object: %s", broken);
        return -EINVAL;
    }
    struct reading reading = {.fields = fields, .target = target, .message = message};
    if (r == 0 && object)
        r = json_each(object, read_member, &reading);
    if (r < 0) {
        json_release(object);
        return r;
    }
    *ret_object = object;
    return 0;
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
