#include "attempt.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "common/units.h"

/* ms a worker waits for the user's file system before it turns to other users */
#define FILER_TIMEOUT 1000

struct attempt {
    struct attempt_rooms *rooms;
    struct engine *engine;
    struct worker_tools *tools;
    struct task task;
    char *part; /* the part file's name */
    int fd;     /* the part file, or -1 */
    struct download_result result;
};

/* --- what the transfer asks for --- */

static int open_part(void *data, int *ret_fd)
{
    struct attempt *attempt = data;
    struct task *task = &attempt->task;
    int r = files_open_part(attempt->tools->channel, task->directory, attempt->part, true,
                            FILER_TIMEOUT, &attempt->fd);
    if (r == 0)
        *ret_fd = attempt->fd;
    return r;
}

static void count_response(void *data, int status)
{
    struct attempt *attempt = data;
    stats_response(attempt->engine->stats, status, units_now_boottime());
}

static bool is_cancelled(void *data)
{
    struct attempt *attempt = data;
    return atomic_load(&attempt->engine->stopping);
}

/* --- how it ends --- */

static void put_back(struct attempt *attempt)
{
    struct engine *engine = attempt->engine;
    struct task *task = &attempt->task;
    if (task->state == TASK_DOWNLOADING)
        engine_move(engine, task, TASK_PUT_BACK);
    store_update_lazily(engine->store, task);
    queue_push_front(engine->queue, task->uid, task->row); /* closed: the next start finds it */
}

/* The user's file system does not answer: the others go first until it does. */
static void hold_user(struct attempt *attempt)
{
    log_warning("task=%s user=%s the file system does not answer; this user's tasks wait",
                attempt->task.id, attempt->task.user);
    queue_hold(attempt->engine->queue, attempt->task.uid, QUEUE_HOLD_STORAGE, true);
    files_close(TAKE_PTR(attempt->tools->channel));
    put_back(attempt);
}

static void fail(struct attempt *attempt, const char *code, const char *message)
{
    struct task *task = &attempt->task;
    /* Without a way to resume, what came so far is of no use. */
    if (attempt->fd >= 0 &&
        files_unlink(attempt->tools->channel, task->directory, attempt->part, FILER_TIMEOUT) == 0)
        task->has_part = false;
    engine_fail(attempt->engine, task, code, message);
}

/* The user's filer refused the directory or the part file. */
static void fail_on_files(struct attempt *attempt, int error)
{
    char message[512];
    admission_describe(error, attempt->task.directory, message);
    bool permission = error == -EACCES || error == -EPERM;
    fail(attempt, permission ? "permission" : "disk", message);
}

static void conclude(struct attempt *attempt, int result)
{
    struct task *task = &attempt->task;
    task->http_status = attempt->result.http_status;
    task->bytes_done = attempt->result.bytes_done;
    task->bytes_total = attempt->result.bytes_total;
    switch (result) {
    case 0:
        finisher_take(attempt->rooms->finisher, task, TAKE_FD(attempt->fd));
        break;
    case -EIO:
        if (attempt->result.error_code) {
            fail(attempt, attempt->result.error_code, attempt->result.error_message);
            break;
        }
        fail_on_files(attempt, result);
        break;
    case -ECANCELED:
    case -ESHUTDOWN:
        put_back(attempt);
        break;
    case -ETIMEDOUT:
        hold_user(attempt);
        break;
    default:
        fail_on_files(attempt, result);
    }
}

/* --- the steps --- */

static int open_channel(struct worker_tools *tools, struct files *files, uid_t uid)
{
    if (tools->channel && files_uid(tools->channel) == uid)
        return 0;
    files_close(TAKE_PTR(tools->channel));
    return files_open(files, uid, &tools->channel);
}

/* 0: the task may start. Otherwise the reason, for conclude. */
static int prepare(struct attempt *attempt)
{
    struct task *task = &attempt->task;
    int r = open_channel(attempt->tools, attempt->engine->files, task->uid);
    if (r == 0 && !task->admitted)
        r = admission_settle(attempt->rooms->admission, attempt->tools->channel, task,
                             FILER_TIMEOUT);
    if (r < 0)
        return r;
    attempt->part = task_part_name(task);
    return attempt->part ? 0 : -ENOMEM;
}

static int download(struct attempt *attempt)
{
    struct engine *engine = attempt->engine;
    struct engine_options *options = engine_options_ref(engine);
    struct download_options download = {
        .user_agent = options->user_agent,
        .ca_file = options->ca_file,
        .proxy = options->proxy,
        .connect_timeout = options->connect_timeout,
        .stall_timeout = options->stall_timeout,
    };
    struct transfer_ops ops = {
        .open = open_part,
        .on_response = count_response,
        .cancelled = is_cancelled,
        .data = attempt,
    };
    int r = transfer_run(attempt->tools->transfer, attempt->task.url, &download, &ops,
                         &attempt->result);
    engine_options_unref(engine, options);
    return r;
}

static void start(struct attempt *attempt)
{
    struct task *task = &attempt->task;
    task->started_at = units_now_realtime();
    task->has_part = true; /* before it is: a crash in between leaves one that is known of */
    store_update_lazily(attempt->engine->store, task);
    log_info("task=%s user=%s DOWNLOADING", task->id, task->user);
}

void attempt_run(void *data, struct worker_tools *tools, uid_t uid, int64_t row)
{
    struct attempt_rooms *rooms = data;
    struct attempt attempt = {.rooms = rooms,
                              .engine = rooms->engine,
                              .tools = tools,
                              .fd = -1,
                              .result = {.bytes_total = -1}};
    struct task *task = &attempt.task;

    int r = store_fetch(rooms->engine->store, row, task);
    if (r < 0) {
        log_error("uid=%u a task cannot be read from the store, it stays for the next start: %s",
                  uid, strerror(-r));
        return;
    }
    task->state = TASK_ENQUEUED; /* that is what the queue says; the store may lag behind */
    engine_move(rooms->engine, task, TASK_START);
    r = prepare(&attempt);
    if (r == 0) {
        start(&attempt);
        r = download(&attempt);
    }
    conclude(&attempt, r);
    if (attempt.fd >= 0)
        close(attempt.fd);
    free(attempt.part);
    task_release(task);
}
