#include "http/task_fields.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/json.h"
#include "common/units.h"
#include "core/url.h"
#include "http/checks.h"

#define RETRIES_MAX 1000

static int set_url(const struct field *field, void *target, const struct field_value *value,
                   char message[static 512])
{
    struct task_wanted *wanted = target;
    wanted->add.url = value->text;
    return check_url(field->name, value->text, message) ? 0 : -EINVAL;
}

static int set_directory(const struct field *field, void *target, const struct field_value *value,
                         char message[static 512])
{
    struct task_wanted *wanted = target;
    wanted->add.directory = value->text;
    return check_directory(field->name, value->text, message) ? 0 : -EINVAL;
}

static int set_name(const struct field *field, void *target, const struct field_value *value,
                    char message[static 512])
{
    struct task_wanted *wanted = target;
    wanted->add.name = value->text;
    return check_name(field->name, value->text, message) ? 0 : -EINVAL;
}

static int set_if_exists(const struct field *field, void *target, const struct field_value *value,
                         char message[static 512])
{
    static const char *const names[] = {
        [TASK_RENAME] = "rename", [TASK_SKIP] = "skip", [TASK_OVERWRITE] = "overwrite"};
    struct task_wanted *wanted = target;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(value->text, names[i]) == 0) {
            wanted->add.if_exists = (enum task_if_exists)i;
            return 0;
        }
    }
    snprintf(message, 512, "%s must be rename, skip or overwrite", field->name);
    return -EINVAL;
}

static int set_checksum(const struct field *field, void *target, const struct field_value *value,
                        char message[static 512])
{
    struct task_wanted *wanted = target;
    char expected[256];
    wanted->add.checksum = wanted->checksum;
    if (checksum_normalise(value->text, wanted->checksum, expected) == 0)
        return 0;
    snprintf(message, 512, "%s: %s", field->name, expected);
    return -EINVAL;
}

struct header_list {
    const struct field *field;
    struct buf *lines;
    char *message;
};

static int add_header(void *data, const char *name, struct json_object *json)
{
    struct header_list *list = data;
    const char *field = list->field->name, *value;
    int r = json_get_text(json, &value);
    if (r < 0)
        snprintf(list->message, 512,
                 r == -EILSEQ ? "%s: %.64s holds a NUL character" : "%s: %.64s must be a string",
                 field, name);
    else if (check_header(field, name, value, list->message)) {
        buf_printf(list->lines, "%s: %s\n", name, value);
        return 0;
    }
    return -EINVAL;
}

static int set_headers(const struct field *field, void *target, const struct field_value *value,
                       char message[static 512])
{
    struct task_wanted *wanted = target;
    struct header_list list = {.field = field, .lines = &wanted->headers, .message = message};
    int r = json_each(value->object, add_header, &list);
    if (r < 0 || wanted->headers.error == -ENOMEM)
        return r < 0 ? r : -ENOMEM;
    if (wanted->headers.error) {
        snprintf(message, 512, "%s are more than %d bytes", field->name, CHECKS_HEADERS_MAX);
        return -EINVAL;
    }
    wanted->add.headers = wanted->headers.data;
    return 0;
}

static int set_username(const struct field *field, void *target, const struct field_value *value,
                        char message[static 512])
{
    struct task_wanted *wanted = target;
    wanted->add.username = value->text;
    if (check_login_text(field->name, value->text, message) && *value->text)
        return 0;
    if (!*value->text)
        snprintf(message, 512, "%s is empty", field->name);
    return -EINVAL;
}

static int set_password(const struct field *field, void *target, const struct field_value *value,
                        char message[static 512])
{
    struct task_wanted *wanted = target;
    wanted->add.password = value->text;
    return check_login_text(field->name, value->text, message) ? 0 : -EINVAL;
}

static int set_retries(const struct field *field, void *target, const struct field_value *value,
                       char message[static 512])
{
    (void)field;
    (void)message;
    struct task_wanted *wanted = target;
    wanted->add.retries = (int)value->number;
    return 0;
}

static int set_priority(const struct field *field, void *target, const struct field_value *value,
                        char message[static 512])
{
    (void)field;
    (void)message;
    struct task_wanted *wanted = target;
    wanted->add.priority = (int)value->number;
    return 0;
}

static int set_not_before(const struct field *field, void *target, const struct field_value *value,
                          char message[static 512])
{
    struct task_wanted *wanted = target;
    if (units_parse_moment(value->text, &wanted->add.not_before) == 0)
        return 0;
    snprintf(message, 512, "%s must be a time such as 2030-01-31T22:00:00Z", field->name);
    return -EINVAL;
}

static int set_paused(const struct field *field, void *target, const struct field_value *value,
                      char message[static 512])
{
    (void)field;
    (void)message;
    struct task_wanted *wanted = target;
    wanted->add.paused = value->truth;
    return 0;
}

static int refuse_many(const struct field *field, void *target, const struct field_value *value,
                       char message[static 512])
{
    (void)target;
    (void)value;
    snprintf(message, 512,
             "%s: many at once are for a later version; send one task object per request",
             field->name);
    return -EINVAL;
}

const struct field task_fields[] = {
    {.name = "url",         .type = FIELD_TEXT, .set = set_url},
    {.name = "directory",       .type = FIELD_TEXT, .set = set_directory},
    {.name = "name",   .type = FIELD_TEXT, .set = set_name},
    {.name = "if_exists", .type = FIELD_TEXT, .set = set_if_exists},
    {.name = "checksum",        .type = FIELD_TEXT, .set = set_checksum},
    {.name = "headers",      .type = FIELD_OBJECT, .set = set_headers},
    {.name = "username",   .type = FIELD_TEXT, .set = set_username},
    {.name = "password",   .type = FIELD_TEXT, .set = set_password},
    {.name = "retries",   .type = FIELD_INTEGER, .max = RETRIES_MAX, .set = set_retries},
    {.name = "priority", .set = set_priority, .type = FIELD_INTEGER, .min = TASK_PRIORITY_MIN,
     .max = TASK_PRIORITY_MAX},
    {.name = "not_before", .type = FIELD_TEXT, .set = set_not_before},
    {.name = "paused", .type = FIELD_BOOL, .set = set_paused},
    {.name = "tasks",    .type = FIELD_REFUSED, .set = refuse_many},
    {.name = NULL },
};

void task_wanted_init(struct task_wanted *wanted, const struct manager_add *defaults)
{
    *wanted = (struct task_wanted){.add = *defaults};
    buf_init(&wanted->headers, CHECKS_HEADERS_MAX);
}

void task_wanted_release(struct task_wanted *wanted)
{
    buf_release(&wanted->headers);
}

const char *task_wanted_problem(const struct task_wanted *wanted, bool empty)
{
    const struct manager_add *add = &wanted->add;
    if (!add->url)
        return empty ? "the body is empty; send a JSON object with a url" : "url is missing";
    if (add->password && !add->username)
        return "password needs a username";
    if (add->username && url_has_login(add->url))
        return "url holds a user name, and username is another; give one of them";
    return NULL;
}
