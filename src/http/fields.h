/* A JSON object whose members are known: one table says what they are called, what they may be and
 * where they go. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct json_object;

enum field_type {
    FIELD_TEXT, /* without a NUL */
    FIELD_INTEGER,
    FIELD_BOOL,
    FIELD_OBJECT,
    FIELD_ARRAY,
};

struct field_value { /* borrowed; the one that the type tells is set */
    const char *text;
    int64_t number;
    bool truth;
    struct json_object *object; /* or array */
};

struct field {
    const char *name; /* NULL ends the table */
    enum field_type type;
    int64_t min, max; /* of an integer */
    /* 0, -ENOMEM, or -EINVAL: `message` says what is wrong and names the field. */
    int (*set)(const struct field *field, void *target, const struct field_value *value,
               char message[static 512]);
};

/*
 * Sets what the object says, member by member; null is as if the member were not there. What was
 * set lives as long as the object. `what` ("tasks[3]") stands before the names in messages, NULL:
 * nothing does. 0, -ENOMEM, or -EINVAL: `message` says what is wrong and names the field.
 */
int fields_read(const struct field *fields, struct json_object *object, const char *what,
                void *target, char message[static 512]);

/* The field of that name; NULL: there is none. */
const struct field *field_find(const struct field *fields, const char *name);
/* Sets a field from a text, as parameters come: a number in digits, "yes" or "no". 0, or as
 * fields_read. */
int field_set_text(const struct field *field, void *target, const char *text,
                   char message[static 512]);
