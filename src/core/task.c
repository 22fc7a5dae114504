#include "core/task.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* Bytes of the final name that a part file's name keeps. */
#define PART_NAME_KEEPS (API_NAME_MAX - 26)
#define PART_ID_LENGTH  8

static const struct {
    enum task_verb verb;
    enum task_state from;
    enum task_state to;
} transitions[] = {
    {TASK_START,    TASK_ENQUEUED,    TASK_DOWNLOADING},
    {TASK_PUT_BACK, TASK_DOWNLOADING, TASK_ENQUEUED   },
    {TASK_RECEIVE,  TASK_DOWNLOADING, TASK_FINISHING  },
    {TASK_FINISH,   TASK_FINISHING,   TASK_FINISHED   },
    {TASK_FAIL,     TASK_ENQUEUED,    TASK_FAILED     },
    {TASK_FAIL,     TASK_DOWNLOADING, TASK_FAILED     },
    {TASK_FAIL,     TASK_FINISHING,   TASK_FAILED     },
    {TASK_CLEAR,    TASK_ENQUEUED,    TASK_CLEARED    },
    {TASK_CANCEL,   TASK_ENQUEUED,    TASK_CANCELLED  },
    {TASK_CANCEL,   TASK_PAUSED,      TASK_CANCELLED  },
    {TASK_CANCEL,   TASK_DOWNLOADING, TASK_CANCELLED  },
    {TASK_CANCEL,   TASK_CANCELLED,   TASK_CANCELLED  },
    {TASK_CANCEL,   TASK_CLEARED,     TASK_CLEARED    },
    {TASK_HOLD,     TASK_ENQUEUED,    TASK_PAUSED     },
    {TASK_HOLD,     TASK_DOWNLOADING, TASK_PAUSED     },
    {TASK_RELEASE,  TASK_PAUSED,      TASK_ENQUEUED   },
    {TASK_RETRY,    TASK_FAILED,      TASK_ENQUEUED   },
    {TASK_RETRY,    TASK_CANCELLED,   TASK_ENQUEUED   },
    {TASK_RETRY,    TASK_CLEARED,     TASK_ENQUEUED   },
};

static const char *const state_names[TASK_STATES] = {
    [TASK_CREATED] = "CREATED",         [TASK_ENQUEUED] = "ENQUEUED",
    [TASK_DOWNLOADING] = "DOWNLOADING", [TASK_FINISHED] = "FINISHED",
    [TASK_FAILED] = "FAILED",           [TASK_CLEARED] = "CLEARED",
    [TASK_FINISHING] = "FINISHING",     [TASK_PAUSED] = "PAUSED",
    [TASK_CANCELLED] = "CANCELLED",
};

/* The strings that a task owns. */
#define STRINGS 18
static void list_strings(struct task *task, char **strings[static STRINGS])
{
    char **const all[STRINGS] = {
        &task->user,           &task->url,
        &task->directory,      &task->name,
        &task->headers,        &task->username,
        &task->password,       &task->checksum,
        &task->boot_id,        &task->etag,
        &task->error_code,     &task->last_modified,
        &task->error_message,  &task->label,
        &task->mirrors,        &task->after,
        &task->written_ranges, &task->durable_ranges,
    };
    memcpy(strings, all, sizeof(all));
}

void task_release(struct task *task)
{
    char **strings[STRINGS];
    list_strings(task, strings);
    for (size_t i = 0; i < STRINGS; i++)
        free(*strings[i]);
    *task = (struct task){0};
}

int task_copy(const struct task *task, struct task *copy)
{
    char **strings[STRINGS];
    bool all = true;
    *copy = *task;
    list_strings(copy, strings);
    for (size_t i = 0; i < STRINGS; i++) {
        if (!*strings[i])
            continue;
        *strings[i] = strdup(*strings[i]);
        all = all && *strings[i];
    }
    if (all)
        return 0;
    task_release(copy);
    return -ENOMEM;
}

void task_forget_bytes(struct task *task)
{
    task->written = task->durable = 0;
    free(task->written_ranges);
    free(task->durable_ranges);
    task->written_ranges = task->durable_ranges = NULL;
}

void task_forget_secrets(struct task *task)
{
    char **secrets[] = {&task->headers, &task->username, &task->password};
    for (size_t i = 0; i < sizeof(secrets) / sizeof(secrets[0]); i++) {
        free(*secrets[i]);
        *secrets[i] = NULL;
    }
}

/* Random bytes are fetched for several ids at once. */
static void take_random(unsigned char byte[static 16])
{
    static _Thread_local unsigned char pool[256];
    static _Thread_local size_t left;
    if (left == 0) {
        ssize_t got;
        do
            got = getrandom(pool, sizeof(pool), 0);
        while (got < 0 && errno == EINTR);
        if (got != (ssize_t)sizeof(pool))
            abort(); /* an id that is not random would be worse */
        left = sizeof(pool);
    }
    left -= 16;
    memcpy(byte, pool + left, 16);
}

void task_make_id(char id[static API_ID_LENGTH + 1])
{
    static const char digits[] = "0123456789abcdef";
    unsigned char byte[16];
    take_random(byte);
    byte[6] = (byte[6] & 0x0F) | 0x40;
    byte[8] = (byte[8] & 0x3F) | 0x80;
    size_t len = 0;
    for (size_t i = 0; i < sizeof(byte); i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            id[len++] = '-';
        id[len++] = digits[byte[i] >> 4];
        id[len++] = digits[byte[i] & 15];
    }
    assert(len == API_ID_LENGTH);
    id[len] = '\0';
}

char *task_dest(const struct task *task)
{
    const char *slash = strcmp(task->directory, "/") == 0 ? "" : "/";
    char *dest;
    if (asprintf(&dest, "%s%s%s", task->directory, slash, task->name) < 0)
        return NULL;
    return dest;
}

static size_t cut_utf8(const char *text, size_t max)
{
    size_t len = strlen(text);
    if (len <= max)
        return len;
    for (len = max; len > 0 && ((unsigned char)text[len] & 0xC0) == 0x80; len--)
        ;
    return len > 0 ? len : max; /* continuation bytes alone: not UTF-8, cut anywhere */
}

char *task_part_name(const struct task *task)
{
    char *name;
    if (asprintf(&name, "%.*s.%.*s.part", (int)cut_utf8(task->name, PART_NAME_KEEPS), task->name,
                 PART_ID_LENGTH, task->id) < 0)
        return NULL;
    return name;
}

double task_duration(const struct task *task, int64_t now)
{
    int64_t end = task->ended_at ? task->ended_at : now;
    if (end <= task->created_at)
        return 0;
    return (double)(end - task->created_at) / 1000; /* milliseconds: three decimals */
}

const char *task_state_name(enum task_state state)
{
    assert(state < TASK_STATES);
    return state_names[state];
}

bool task_state_ended(enum task_state state)
{
    return state == TASK_FINISHED || state == TASK_FAILED || state == TASK_CLEARED ||
           state == TASK_CANCELLED;
}

int task_next(enum task_state state, enum task_verb verb, enum task_state *ret_next)
{
    for (size_t i = 0; i < sizeof(transitions) / sizeof(transitions[0]); i++) {
        if (transitions[i].verb == verb && transitions[i].from == state) {
            *ret_next = transitions[i].to;
            return 0;
        }
    }
    return -EINVAL;
}
