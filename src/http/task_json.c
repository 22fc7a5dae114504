#include "http/task_json.h"

#include <errno.h>
#include <time.h>

#include "common/buf.h"
#include "common/cleanup.h"
#include "common/json.h"
#include "common/units.h"
#include "http/checks.h"

#define OBJECT_MAX (1 << 20) /* bytes; the longest texts, escaped, fit */

static void add_key(struct buf *buf, const char *key)
{
    buf_add_string(buf, buf->data[buf->len - 1] == '{' ? "\"" : ", \"");
    buf_add_string(buf, key);
    buf_add_string(buf, "\": ");
}

static void add_text(struct buf *buf, const char *key, const char *text)
{
    add_key(buf, key);
    if (text)
        json_add_string(buf, text);
    else
        buf_add_string(buf, "null");
}

/* As printf would, which a page of tasks spends much of its time in. */
static void add_digits(struct buf *buf, uint64_t number, unsigned least)
{
    char digits[24];
    size_t at = sizeof digits;
    for (; number > 0 || least > 0; number /= 10) {
        digits[--at] = (char)('0' + number % 10);
        least -= least > 0;
    }
    buf_add(buf, digits + at, sizeof digits - at);
}

static void add_integer(struct buf *buf, int64_t number)
{
    if (number < 0)
        buf_add_char(buf, '-');
    add_digits(buf, number < 0 ? -(uint64_t)number : (uint64_t)number, 1);
}

static void add_number(struct buf *buf, const char *key, bool known, int64_t number)
{
    add_key(buf, key);
    if (known)
        add_integer(buf, number);
    else
        buf_add_string(buf, "null");
}

void task_json_moment(struct buf *buf, int64_t ms)
{
    time_t seconds = (time_t)(ms / 1000);
    struct tm tm;
    if (ms <= 0 || !gmtime_r(&seconds, &tm)) {
        buf_add_string(buf, "null");
        return;
    }
    const struct {
        char before;
        int number;
        unsigned digits;
    } parts[] = {
        {'"', tm.tm_year + 1900, 4}, {'-', tm.tm_mon + 1, 2}, {'-', tm.tm_mday, 2},
        {'T', tm.tm_hour, 2},        {':', tm.tm_min, 2},     {':', tm.tm_sec, 2},
        {'.', (int)(ms % 1000), 3},
    };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        buf_add_char(buf, parts[i].before);
        add_digits(buf, (uint64_t)parts[i].number, parts[i].digits);
    }
    buf_add_string(buf, "Z\"");
}

static void add_time(struct buf *buf, const char *key, int64_t ms)
{
    add_key(buf, key);
    task_json_moment(buf, ms);
}

static const char *reason_name(enum queue_reason reason)
{
    switch (reason) {
    case QUEUE_RETRY:
        return "retry";
    case QUEUE_HOST:
        return "host";
    case QUEUE_DISK:
        return "disk";
    case QUEUE_START_TIME:
        return "start_time";
    case QUEUE_AFTER:
        return "after";
    case QUEUE_SLOT:
        return "slot";
    case QUEUE_STORAGE:
        return "storage";
    case QUEUE_PAUSED:
        return "paused";
    }
    return "slot";
}

static void add_waiting(struct buf *buf, const struct manager_view *view)
{
    add_key(buf, "waiting_for");
    if (!view->waits) {
        buf_add_string(buf, "null");
        return;
    }
    buf_printf(buf, "{\"reason\": \"%s\", \"until\": ", reason_name(view->reason));
    task_json_moment(buf, view->until);
    buf_add_char(buf, '}');
}

static void add_progress(struct buf *buf, const struct manager_view *view)
{
    const struct task *task = view->task;
    int64_t rate = view->bytes_per_second;
    int64_t left = task->bytes_total > view->bytes_done ? task->bytes_total - view->bytes_done : 0;
    add_number(buf, "bytes_done", true, view->bytes_done);
    add_number(buf, "bytes_total", task->bytes_total >= 0, task->bytes_total);
    add_number(buf, "bytes_per_second", rate >= 0, rate);
    add_number(buf, "eta_seconds", rate > 0 && task->bytes_total >= 0,
               rate > 0 ? left / rate + (left % rate > 0) : 0);
    add_number(buf, "ranges", task->state == TASK_DOWNLOADING, view->ranges);
    add_number(buf, "attempts", true, task->attempts);
    add_number(buf, "http_status", task->http_status > 0, task->http_status);
}

/* A FAILED task says why even when there was no memory to keep the reason. */
static void add_error(struct buf *buf, const struct task *task)
{
    bool failed = task->state == TASK_FAILED;
    const char *code = task->error_code, *message = task->error_message;
    if (failed && !code)
        code = "internal";
    if (failed && !message)
        message = "the reason is in the service's log: there was no memory to keep it";
    add_key(buf, "error");
    if (!code) {
        buf_add_string(buf, "null");
        return;
    }
    buf_add_string(buf, "{\"code\": ");
    json_add_string(buf, code);
    add_text(buf, "message", message);
    buf_add_char(buf, '}');
}

static void add_task(struct buf *buf, const struct manager_view *view, bool to_owner)
{
    const struct task *task = view->task;
    _cleanup_free_ char *url = shown_url(task->url, to_owner);
    _cleanup_free_ char *dest = task_dest(task);
    if (!url || !dest || buf_add_char(buf, '{') < 0) {
        buf->error = -ENOMEM;
        return;
    }
    add_text(buf, "id", task->id);
    add_text(buf, "url", url);
    add_text(buf, "user", task->user);
    add_text(buf, "directory", task->directory);
    add_text(buf, "name", task->name);
    add_text(buf, "dest", dest);
    add_text(buf, "status", task_state_name(task->state));
    add_waiting(buf, view);
    add_number(buf, "position", view->position > 0, view->position);
    add_number(buf, "priority", true, task->priority);
    add_text(buf, "label", task->label);
    add_progress(buf, view);
    add_error(buf, task);
    add_text(buf, "checksum", task->checksum);
    add_time(buf, "created_at", task->created_at);
    add_time(buf, "started_at", task->started_at);
    add_time(buf, "finished_at", task->ended_at);
    add_key(buf, "duration");
    json_add_float(buf, task_duration(task, units_now_realtime()));
    buf_add_char(buf, '}');
}

char *task_json(const struct manager_view *view, bool to_owner)
{
    _cleanup_(buf_release) struct buf buf;
    buf_init(&buf, OBJECT_MAX);
    add_task(&buf, view, to_owner);
    return buf_take(&buf);
}

void task_json_list(struct buf *buf, const struct manager_view *views, size_t count, uid_t reader)
{
    buf_add_string(buf, "\"tasks\": [");
    for (size_t i = 0; i < count; i++) {
        buf_add_string(buf, i ? ", " : "");
        add_task(buf, &views[i], views[i].task->uid == reader);
    }
    buf_add_char(buf, ']');
}
