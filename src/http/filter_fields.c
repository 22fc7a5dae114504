#include "http/filter_fields.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/json.h"
#include "common/units.h"
#include "http/routes.h"

static bool find_state(const char *name, size_t len, unsigned *ret_state)
{
    for (unsigned i = 0; i < TASK_STATES; i++) {
        const char *known = task_state_name((enum task_state)i);
        if (strlen(known) == len && memcmp(known, name, len) == 0) {
            *ret_state = i;
            return true;
        }
    }
    return false;
}

/* One, or several with commas between them. */
static int set_status(const struct field *field, void *target, const struct field_value *value,
                      char message[static 512])
{
    struct filter_wanted *wanted = target;
    wanted->narrowed = true;
    const char *name = value->text;
    unsigned state;
    for (;;) {
        size_t len = strcspn(name, ",");
        if (!find_state(name, len, &state)) {
            snprintf(message, 512,
                     "%s must be one or several, separated by commas, of ENQUEUED, DOWNLOADING, "
                     "FINISHING, FINISHED, FAILED, CLEARED, CANCELLED and PAUSED",
                     field->name);
            return -EINVAL;
        }
        wanted->filter.states |= 1U << state;
        if (!name[len])
            return 0;
        name += len + 1;
    }
}

static int set_user(const struct field *field, void *target, const struct field_value *value,
                    char message[static 512])
{
    struct filter_wanted *wanted = target;
    wanted->filter.user = value->text;
    if (*value->text && strlen(value->text) <= API_USER_MAX)
        return 0;
    snprintf(message, 512, "%s must be the name of a user", field->name);
    return -EINVAL;
}

static int set_host(const struct field *field, void *target, const struct field_value *value,
                    char message[static 512])
{
    struct filter_wanted *wanted = target;
    wanted->narrowed = true;
    wanted->filter.host = value->text;
    if (*value->text && !strpbrk(value->text, "/?#@ "))
        return 0;
    snprintf(message, 512, "%s must be a host such as example.org or example.org:8080",
             field->name);
    return -EINVAL;
}

static int set_q(const struct field *field, void *target, const struct field_value *value,
                 char message[static 512])
{
    struct filter_wanted *wanted = target;
    wanted->narrowed = true;
    wanted->filter.text = value->text;
    if (*value->text)
        return 0;
    snprintf(message, 512, "%s is empty; it is a text to look for in URL, name and label",
             field->name);
    return -EINVAL;
}

static int read_moment(const struct field *field, const char *text, int64_t *ret_time,
                       char message[static 512])
{
    if (units_parse_moment(text, ret_time) == 0)
        return 0;
    snprintf(message, 512, "%s must be a time such as 2030-01-31T22:00:00Z", field->name);
    return -EINVAL;
}

static int set_since(const struct field *field, void *target, const struct field_value *value,
                     char message[static 512])
{
    struct filter_wanted *wanted = target;
    return read_moment(field, value->text, &wanted->filter.since, message);
}

static int set_until(const struct field *field, void *target, const struct field_value *value,
                     char message[static 512])
{
    struct filter_wanted *wanted = target;
    return read_moment(field, value->text, &wanted->filter.until, message);
}

static int set_scope(const struct field *field, void *target, const struct field_value *value,
                     char message[static 512])
{
    (void)field;
    (void)message;
    struct filter_wanted *wanted = target;
    wanted->scope = value->text; /* what it may be is auth's to say */
    return 0;
}

static int set_limit(const struct field *field, void *target, const struct field_value *value,
                     char message[static 512])
{
    (void)field;
    (void)message;
    struct filter_wanted *wanted = target;
    wanted->limit = (size_t)value->number;
    return 0;
}

static int set_after(const struct field *field, void *target, const struct field_value *value,
                     char message[static 512])
{
    struct filter_wanted *wanted = target;
    uint64_t row;
    if (units_parse_uint(value->text, 1, INT64_MAX, &row) < 0) {
        snprintf(message, 512, "%s must be what \"next\" of an earlier page was", field->name);
        return -EINVAL;
    }
    wanted->after = (int64_t)row;
    return 0;
}

static int check_id(void *data, size_t index, struct json_object *json)
{
    char *message = data;
    const char *id;
    if (json_get_text(json, &id) == 0 && routes_is_id_prefix(id))
        return 0;
    snprintf(message, 512, "ids[%zu] must be the id of a task, or its first 4 characters or more",
             index);
    return -EINVAL;
}

static int set_ids(const struct field *field, void *target, const struct field_value *value,
                   char message[static 512])
{
    struct filter_wanted *wanted = target;
    wanted->ids = value->object;
    size_t count = json_count(value->object);
    if (count >= 1 && count <= MANAGER_ADD_MAX)
        return json_each_item(value->object, check_id, message);
    snprintf(message, 512, "%s must be 1 to %d ids; these are %zu", field->name, MANAGER_ADD_MAX,
             count);
    return -EINVAL;
}

static int set_keep(const struct field *field, void *target, const struct field_value *value,
                    char message[static 512])
{
    (void)field;
    (void)message;
    struct filter_wanted *wanted = target;
    wanted->flag = value->truth;
    return 0;
}

static int set_file(const struct field *field, void *target, const struct field_value *value,
                    char message[static 512])
{
    struct filter_wanted *wanted = target;
    wanted->flag = true;
    if (strcmp(value->text, "delete") == 0)
        return 0;
    snprintf(message, 512, "%s can only be delete; leave it out to keep the files", field->name);
    return -EINVAL;
}

/* clang-format off */
#define STATUS {.name = "status", .type = FIELD_TEXT, .set = set_status}
#define HOST   {.name = "host", .type = FIELD_TEXT, .set = set_host}
#define Q      {.name = "q", .type = FIELD_TEXT, .set = set_q}
#define SCOPE  {.name = "scope", .type = FIELD_TEXT, .set = set_scope}
#define IDS    {.name = "ids", .type = FIELD_ARRAY, .set = set_ids}

const struct field filter_list_fields[] = {
    STATUS,
    {.name = "user", .type = FIELD_TEXT, .set = set_user},
    HOST, Q,
    {.name = "since", .type = FIELD_TEXT, .set = set_since},
    {.name = "until", .type = FIELD_TEXT, .set = set_until},
    SCOPE,
    {.name = "limit", .type = FIELD_INTEGER, .min = 1, .max = MANAGER_LIST_MAX, .set = set_limit},
    {.name = "after", .type = FIELD_TEXT, .set = set_after},
    {.name = NULL},
};

const struct field filter_verb_fields[] = {STATUS, HOST, Q, IDS, SCOPE, {.name = NULL}};

const struct field filter_cancel_fields[] = {
    STATUS, HOST, Q, IDS, SCOPE,
    {.name = "keep", .type = FIELD_BOOL, .set = set_keep},
    {.name = NULL},
};

const struct field filter_forget_fields[] = {
    STATUS, HOST, Q, IDS, SCOPE,
    {.name = "file", .type = FIELD_TEXT, .set = set_file},
    {.name = NULL},
};
/* clang-format on */
