#include "http/task_fields.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/json.h"
#include "common/units.h"
#include "core/url.h"
#include "http/checks.h"
#include "http/routes.h"

#define RETRIES_MAX 1000
#define RATE_MAX    ((int64_t)1 << 50) /* bytes per second; 0: no limit */

static int set_url(const struct field *field, void *target, const struct field_value *value,
                   char message[static 512])
{
    struct task_wanted *wanted = target;
    wanted->changes |= MANAGER_CHANGE_URL;
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
    wanted->changes |= MANAGER_CHANGE_PRIORITY;
    wanted->add.priority = (int)value->number;
    return 0;
}

static int set_not_before(const struct field *field, void *target, const struct field_value *value,
                          char message[static 512])
{
    struct task_wanted *wanted = target;
    wanted->changes |= MANAGER_CHANGE_NOT_BEFORE;
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

static int set_label(const struct field *field, void *target, const struct field_value *value,
                     char message[static 512])
{
    struct task_wanted *wanted = target;
    wanted->changes |= MANAGER_CHANGE_LABEL;
    wanted->add.label = value->text;
    return check_label(field->name, value->text, message) ? 0 : -EINVAL;
}

struct mirror_list {
    const struct field *field;
    struct buf *lines;
    char *message;
};

/* They are kept longer, and shown to more eyes, than a login may be. */
static int add_mirror(void *data, size_t index, struct json_object *json)
{
    struct mirror_list *list = data;
    char name[64];
    const char *url;
    snprintf(name, sizeof name, "%s[%zu]", list->field->name, index);
    int r = json_get_text(json, &url);
    if (r < 0)
        snprintf(list->message, 512, "%s %s", name,
                 r == -EILSEQ ? "holds a NUL character" : "must be a string");
    else if (index >= TASK_MIRRORS_MAX)
        snprintf(list->message, 512, "%s are more than %d", list->field->name, TASK_MIRRORS_MAX);
    else if (check_url(name, url, list->message) && url_has_login(url))
        snprintf(list->message, 512, "%s holds a user name; only url may", name);
    else if (check_url(name, url, list->message))
        return buf_printf(list->lines, "%s\n", url);
    return -EINVAL;
}

static int set_mirrors(const struct field *field, void *target, const struct field_value *value,
                       char message[static 512])
{
    struct task_wanted *wanted = target;
    struct mirror_list list = {.field = field, .lines = &wanted->mirrors, .message = message};
    buf_clear(list.lines);
    int r = json_each_item(value->object, add_mirror, &list);
    wanted->add.mirrors = wanted->mirrors.len ? wanted->mirrors.data : NULL;
    return r;
}

static int set_after(const struct field *field, void *target, const struct field_value *value,
                     char message[static 512])
{
    struct task_wanted *wanted = target;
    wanted->add.after = value->text;
    if (routes_is_id_prefix(value->text))
        return 0;
    snprintf(message, 512, "%s must be the id of a task, or its first 4 characters or more",
             field->name);
    return -EINVAL;
}

static int set_rate_limit(const struct field *field, void *target, const struct field_value *value,
                          char message[static 512])
{
    (void)field;
    (void)message;
    struct task_wanted *wanted = target;
    wanted->changes |= MANAGER_CHANGE_RATE_LIMIT;
    wanted->add.rate_limit = value->number;
    return 0;
}

static int set_max_ranges(const struct field *field, void *target, const struct field_value *value,
                          char message[static 512])
{
    (void)field;
    (void)message;
    struct task_wanted *wanted = target;
    wanted->changes |= MANAGER_CHANGE_MAX_RANGES;
    wanted->add.max_ranges = (int)value->number;
    return 0;
}

/* clang-format off */
#define URL        {.name = "url", .type = FIELD_TEXT, .set = set_url}
#define PRIORITY   {.name = "priority", .type = FIELD_INTEGER, .min = TASK_PRIORITY_MIN, \
                    .max = TASK_PRIORITY_MAX, .set = set_priority}
#define NOT_BEFORE {.name = "not_before", .type = FIELD_TEXT, .set = set_not_before}
#define LABEL      {.name = "label", .type = FIELD_TEXT, .set = set_label}
#define RATE_LIMIT {.name = "rate_limit", .type = FIELD_INTEGER, .max = RATE_MAX, \
                    .set = set_rate_limit}
#define MAX_RANGES {.name = "max_ranges", .type = FIELD_INTEGER, .min = 1, .max = TASK_RANGES_MAX, \
                    .set = set_max_ranges}

const struct field task_fields[] = {
    URL,
    {.name = "directory", .type = FIELD_TEXT, .set = set_directory},
    {.name = "name", .type = FIELD_TEXT, .set = set_name},
    {.name = "if_exists", .type = FIELD_TEXT, .set = set_if_exists},
    {.name = "checksum", .type = FIELD_TEXT, .set = set_checksum},
    {.name = "headers", .type = FIELD_OBJECT, .set = set_headers},
    {.name = "mirrors", .type = FIELD_ARRAY, .set = set_mirrors},
    PRIORITY,
    NOT_BEFORE,
    {.name = "after", .type = FIELD_TEXT, .set = set_after},
    RATE_LIMIT,
    MAX_RANGES,
    {.name = "retries", .type = FIELD_INTEGER, .max = RETRIES_MAX, .set = set_retries},
    LABEL,
    {.name = "username", .type = FIELD_TEXT, .set = set_username},
    {.name = "password", .type = FIELD_TEXT, .set = set_password},
    {.name = "paused", .type = FIELD_BOOL, .set = set_paused},
    {.name = NULL},
};

const struct field task_change_fields[] = {
    URL, PRIORITY, NOT_BEFORE, RATE_LIMIT, MAX_RANGES, LABEL, {.name = NULL},
};
/* clang-format on */

void task_wanted_init(struct task_wanted *wanted, const struct manager_add *defaults)
{
    *wanted = (struct task_wanted){.add = *defaults};
    buf_init(&wanted->headers, CHECKS_HEADERS_MAX);
    buf_init(&wanted->mirrors, TASK_MIRRORS_MAX * (API_URL_MAX + 2));
}

void task_wanted_release(struct task_wanted *wanted)
{
    buf_release(&wanted->headers);
    buf_release(&wanted->mirrors);
}

const char *task_wanted_problem(const struct task_wanted *wanted)
{
    const struct manager_add *add = &wanted->add;
    if (!add->url)
        return "url is missing";
    if (add->password && !add->username)
        return "password needs a username";
    if (add->username && url_has_login(add->url))
        return "url holds a user name, and username is another; give one of them";
    return NULL;
}

struct manager_change task_wanted_change(const struct task_wanted *wanted)
{
    return (struct manager_change){.fields = wanted->changes,
                                   .url = wanted->add.url,
                                   .priority = wanted->add.priority,
                                   .not_before = wanted->add.not_before,
                                   .label = wanted->add.label,
                                   .rate_limit = wanted->add.rate_limit,
                                   .max_ranges = wanted->add.max_ranges};
}
