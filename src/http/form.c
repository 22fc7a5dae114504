#include "http/form.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"

void form_release(struct form *form)
{
    for (size_t i = 0; i < form->count; i++) {
        free(form->fields[i].name);
        free(form->fields[i].value);
    }
    form->count = 0;
}

static char *copy_bytes(const char *data, size_t len)
{
    char *copy = malloc(len + 1);
    if (!copy)
        return NULL;
    if (len)
        memcpy(copy, data, len);
    copy[len] = '\0';
    return copy;
}

/* Takes both strings, whatever happens. */
static int add_owned(struct form *form, char *name, size_t name_len, char *value, size_t value_len)
{
    int error = !name || !value ? -ENOMEM : form->count == FORM_FIELDS_MAX ? -E2BIG : 0;
    if (error) {
        free(name);
        free(value);
        return error;
    }
    form->fields[form->count++] = (struct form_field){
        .name = name, .name_len = name_len, .value = value, .value_len = value_len};
    return 0;
}

int form_add(struct form *form, const char *name, size_t name_len, const char *value,
             size_t value_len)
{
    return add_owned(form, copy_bytes(name, name_len), name_len, copy_bytes(value, value_len),
                     value_len);
}

int form_extend(struct form *form, const char *value, size_t value_len)
{
    if (!form->count || !value_len)
        return 0;
    struct form_field *field = &form->fields[form->count - 1];
    char *grown = realloc(field->value, field->value_len + value_len + 1);
    if (!grown)
        return -ENOMEM;
    memcpy(grown + field->value_len, value, value_len);
    field->value = grown;
    field->value_len += value_len;
    grown[field->value_len] = '\0';
    return 0;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

int form_decode(const char *text, size_t len, bool plus, char **ret_text, size_t *ret_len,
                const char **ret_bad)
{
    _cleanup_free_ char *decoded = malloc(len + 1);
    if (!decoded)
        return -ENOMEM;
    size_t out = 0;
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        if (c == '%') {
            int high = i + 2 < len ? hex_digit(text[i + 1]) : -1;
            int low = i + 2 < len ? hex_digit(text[i + 2]) : -1;
            if (high < 0 || low < 0) {
                *ret_bad = text + i;
                return -EILSEQ;
            }
            c = (char)(high << 4 | low);
            i += 2;
        } else if (c == '+' && plus) {
            c = ' ';
        }
        decoded[out++] = c;
    }
    decoded[out] = '\0';
    *ret_text = TAKE_PTR(decoded);
    *ret_len = out;
    return 0;
}

static int parse_pair(struct form *form, const char *text, size_t len, const char **ret_bad)
{
    const char *equals = memchr(text, '=', len);
    size_t raw_name = equals ? (size_t)(equals - text) : len;
    size_t raw_value = equals ? len - raw_name - 1 : 0;
    _cleanup_free_ char *name = NULL, *value = NULL;
    size_t name_len, value_len;
    int error = form_decode(text, raw_name, true, &name, &name_len, ret_bad);
    if (!error)
        error = form_decode(equals ? equals + 1 : text + len, raw_value, true, &value, &value_len,
                            ret_bad);
    if (error)
        return error;
    return add_owned(form, TAKE_PTR(name), name_len, TAKE_PTR(value), value_len);
}

int form_parse(struct form *form, const char *text, size_t len, const char **ret_bad)
{
    const char *end = text + len;
    while (text < end) {
        const char *ampersand = memchr(text, '&', (size_t)(end - text));
        const char *stop = ampersand ? ampersand : end;
        int error = stop > text ? parse_pair(form, text, (size_t)(stop - text), ret_bad) : 0;
        if (error)
            return error;
        text = stop + 1;
    }
    return 0;
}

const struct form_field *form_find(const struct form *form, const char *name)
{
    size_t len = strlen(name);
    for (size_t i = 0; i < form->count; i++)
        if (form->fields[i].name_len == len && memcmp(form->fields[i].name, name, len) == 0)
            return &form->fields[i];
    return NULL;
}
