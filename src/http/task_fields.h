/* What can be said of a task in JSON: the one table of its fields. */
#pragma once

#include "common/buf.h"
#include "http/fields.h"
#include "manager.h"
#include "transfer/checksum.h"

/* What somebody wants of a task, as far as it was said; texts live as long as the JSON object. */
struct task_wanted {
    struct manager_add add;
    unsigned changes; /* enum manager_change_field, or'ed: what was said of these */

    /* task_fields.c only: what `add` points to */
    char checksum[CHECKSUM_TEXT_MAX];
    struct buf headers, mirrors;
};

/* For fields_read into a struct task_wanted, to add a task. */
extern const struct field task_fields[];
/* Those of them that can be changed later. */
extern const struct field task_change_fields[];

void task_wanted_init(struct task_wanted *wanted, const struct manager_add *defaults);
/* What is to be changed; texts are borrowed. */
struct manager_change task_wanted_change(const struct task_wanted *wanted);
void task_wanted_release(struct task_wanted *wanted);
/* NULL, or what is missing or too much; it begins with the name of a field. */
const char *task_wanted_problem(const struct task_wanted *wanted);
