#include "attempt.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "common/units.h"
#include "failure.h"
#include "mirrors.h"
#include "put_back.h"
#include "transfer/naming.h"
#include "transfer/ranges.h"
#include "yielding.h"

/* ms a worker waits for the user's file system before it turns to other users */
#define FILER_TIMEOUT 1000
#define MEASURE_EVERY 1000 /* ms between two looks at the rate */
/* ms between two records of how far it is: with the 500 that the store may add, a kill loses less
 * than what came in 1.5 s */
#define RECORD_EVERY 400
#define SYNC_EVERY   10000               /* ms between two syncs to disk, ... */
#define SYNC_BYTES   ((int64_t)64 << 20) /* ... which come after this many bytes at the latest */
#define FLUSH_BYTES  ((int64_t)16 << 20) /* of dirty data before the disk is set to work */
#define DISK_WAIT    10000               /* ms until a full disk is looked at again, ... */
#define QUOTA_WAIT   60000               /* ... and a used up quota */
#define EARLY_MAX    100                 /* ms */

struct attempt {
    struct attempt_rooms *rooms;
    struct engine *engine;
    struct engine_options *options;
    struct worker_tools *tools;
    struct task task;
    bool out_of_turn;
    struct active_entry *entry;
    struct finish_job *place; /* in the finisher; NULL: it has been taken */
    char *part;               /* the part file's name */
    int fd;                   /* the part file, or -1, ... */
    struct files_stat file;   /* ... and what it was when it was opened */
    struct disk_claim *claim;
    bool disk_full; /* found as it goes */
    bool yields;    /* its slot, to another user */
    uint8_t given_back;
    int64_t went_on_from;
    bool no_ranges; /* the server said so: it cannot go on from the middle */
    bool offers;    /* others were asked to help */
    struct transfer_outcome outcome;

    int64_t started_at; /* boot times */
    int64_t asked_at;   /* whether to yield */
    int64_t recorded_at;
    int64_t synced_at;
    int64_t measured_at;
    int64_t bytes;    /* that are written, in all */
    unsigned workers; /* that fetch it */
    int64_t measured; /* bytes, when the rate was measured last */
    int64_t rate;     /* bytes per second */
    int64_t counted;  /* bytes that the service's counters know of */
    int64_t synced;   /* bytes that a sync was asked for, or are on disk */
    int64_t flushed;  /* bytes that the disk was set to work on */
};

static struct resume_known known_bytes(const struct attempt *attempt)
{
    const struct task *task = &attempt->task;
    return (struct resume_known){
        .have = task->written,
        .total = task->bytes_total,
        .etag = task->etag,
        .last_modified = task->last_modified,
        .checked = task->checksum && task->mirror > 0 && !task->etag,
    };
}

/* --- what the transfer asks for --- */

/* The server may name the file, once, if the task leaves that open. */
static int adopt_name(struct attempt *attempt, const struct download_head *head)
{
    struct task *task = &attempt->task;
    if (task->name_is_final)
        return 0;
    task->name_is_final = true;
    char *name = head->disposition
                     ? naming_from_disposition(head->disposition, attempt->options->allow_hidden)
                     : NULL;
    int r =
        name ? admission_rename(attempt->rooms->admission, attempt->tools->channel, task, name) : 0;
    if (r < 0)
        return r;
    free(attempt->part);
    attempt->part = task_part_name(task);
    return attempt->part ? 0 : -ENOMEM;
}

/* The user's file system may fail as it likes, but not in words that mean something of ours. */
static int file_error(int error)
{
    switch (error) {
    case -ENOSPC:
    case -EDQUOT:
    case -EACCES:
    case -EPERM:
    case -EROFS:
        return error;
    default:
        return -EIO;
    }
}

static int open_part(struct attempt *attempt, bool truncate)
{
    struct task *task = &attempt->task;
    struct transfer *transfer = attempt->tools->transfer;
    int r = attempt->fd >= 0 ? 0
                             : files_open_part(attempt->tools->channel, task->directory,
                                               attempt->part, FILER_TIMEOUT, &attempt->fd,
                                               &attempt->file);
    if (r < 0 || !truncate || attempt->file.size == 0) /* as most are */
        return r;
    transfer_enter_disk(transfer);
    r = ftruncate(attempt->fd, 0) < 0 ? file_error(-errno) : 0;
    transfer_leave_disk(transfer);
    return r;
}

static int claim_room(struct attempt *attempt, int64_t total)
{
    if (attempt->claim)
        return 0;
    transfer_enter_disk(attempt->tools->transfer);
    int r = disk_claim(attempt->engine->disk, attempt->fd, &attempt->file, total,
                       attempt->options->min_free, &attempt->claim);
    transfer_leave_disk(attempt->tools->transfer);
    return r < 0 ? file_error(r) : 0;
}

static int on_open(void *data, const struct download_head *head, int *ret_fd)
{
    struct attempt *attempt = data;
    struct task *task = &attempt->task;
    int r = head ? adopt_name(attempt, head) : 0;
    if (r == 0)
        r = open_part(attempt, head);
    if (head) /* remembered, so that a full disk is looked at before the next request */
        task->bytes_total = head->length;
    active_set_total(attempt->entry, task->bytes_total);
    if (r == 0)
        r = claim_room(attempt, task->bytes_total);
    if (r == 0)
        *ret_fd = attempt->fd;
    engine_tell(attempt->engine, task); /* its name and size, which are known by now */
    return r;
}

static void replace(char **string, const char *value)
{
    free(*string);
    *string = value ? strdup(value) : NULL; /* without memory it is not resumed */
}

/* Without memory, as it was. */
static void update_written(struct attempt *attempt)
{
    struct task *task = &attempt->task;
    char *ranges;
    if (transfer_written(attempt->tools->transfer, &task->written, &ranges) < 0)
        return;
    free(task->written_ranges);
    task->written_ranges = ranges;
}

static int64_t bytes_of(const struct task *task)
{
    return task->written + ranges_text_bytes(task->written_ranges);
}

/* Of bytes that are believed no longer, none is on record when the file changes: a crash must not
 * find them there, and something else in their place. */
static int take_off_record(struct attempt *attempt)
{
    struct task *task = &attempt->task;
    if (task->durable > task->written)
        task->durable = task->written;
    replace(&task->durable_ranges, NULL); /* until the next sync */
    task->bytes_done = bytes_of(task);
    attempt->synced = attempt->flushed = task->durable;
    return engine_store_update(attempt->engine, task) < 0 ? -ENOMEM : 0; /* it is tried again */
}

static int on_version(void *data, const struct download_head *head, int64_t total, int64_t start,
                      bool anew, const char *why)
{
    struct attempt *attempt = data;
    struct task *task = &attempt->task;
    int64_t had = bytes_of(task);
    attempt->no_ranges = head->no_ranges;
    attempt->went_on_from = start;
    replace(&task->etag, head->etag);
    replace(&task->last_modified, head->last_modified);
    task->bytes_total = total;
    active_set_total(attempt->entry, total);
    task->written = start;
    if (why) {
        mirrors_set_error(task, "changed", why);
        log_info("task=%s user=%s starts from zero: %s", task->id, task->user, why);
    }
    if (anew) {
        task_forget_bytes(task);
        attempt->synced = attempt->flushed = 0;
        active_new_version(attempt->engine->active, attempt->entry);
    } else {
        update_written(attempt);
    }
    attempt->bytes = attempt->counted = bytes_of(task);
    return attempt->bytes < had ? take_off_record(attempt) : 0;
}

/* How far it is, for the next start: under this boot what was written, else what was synced. */
static void record(struct attempt *attempt, int64_t now)
{
    struct task *task = &attempt->task;
    char *ranges;
    if (active_take_durable(attempt->engine->active, attempt->entry, &task->durable, &ranges)) {
        free(task->durable_ranges);
        task->durable_ranges = ranges;
    }
    update_written(attempt);
    task->bytes_done = bytes_of(task);
    store_update_lazily(attempt->engine->store, task);
    attempt->recorded_at = now;
}

/* What came since the last time, for the counters; not more often than the rate is measured. */
static void count_bytes(struct attempt *attempt, int64_t now)
{
    if (attempt->bytes > attempt->counted)
        stats_bytes(attempt->engine->stats, (uint64_t)(attempt->bytes - attempt->counted), now);
    attempt->counted = attempt->bytes;
}

static void measure(struct attempt *attempt, int64_t now)
{
    int64_t elapsed = now - attempt->measured_at;
    if (elapsed >= MEASURE_EVERY) {
        count_bytes(attempt, now);
        int64_t rate = (attempt->bytes - attempt->measured) * 1000 / elapsed;
        attempt->rate = attempt->rate < 0 ? rate : (attempt->rate + rate) / 2;
        attempt->measured = attempt->bytes;
        attempt->measured_at = now;
    }
    active_set_bytes(attempt->entry, attempt->bytes, attempt->rate < 0 ? 0 : attempt->rate,
                     attempt->workers);
}

/* Keeps the dirty data of this file small, so that nobody's sync takes long, and has what came
 * before made durable now and then: on the user's lane, the worker goes on. */
static void set_disk_to_work(struct attempt *attempt, int64_t now)
{
    int64_t bytes = attempt->bytes;
    if (bytes - attempt->flushed >= FLUSH_BYTES) {
        sync_file_range(attempt->fd, 0, 0, SYNC_FILE_RANGE_WRITE); /* wherever they are */
        attempt->flushed = bytes;
    }
    if (bytes > attempt->synced &&
        (bytes - attempt->synced >= SYNC_BYTES || now - attempt->synced_at >= SYNC_EVERY)) {
        update_written(attempt);
        finisher_checkpoint(attempt->rooms->finisher, &attempt->task,
                            active_version(attempt->entry), attempt->fd);
        attempt->synced = bytes;
        attempt->synced_at = now;
    }
}

static void on_progress(void *data, const struct transfer_progress *progress)
{
    struct attempt *attempt = data;
    int64_t now = units_now_boottime();
    attempt->task.written = progress->written;
    attempt->bytes = progress->bytes;
    attempt->workers = progress->workers;
    measure(attempt, now);
    set_disk_to_work(attempt, now);
    if (now - attempt->recorded_at < RECORD_EVERY)
        return;
    record(attempt, now);
    if (attempt->claim && disk_go_on(attempt->engine->disk, attempt->claim, attempt->fd,
                                     attempt->options->min_free) < 0)
        attempt->disk_full = true;
}

/* More connections would only wait for their turns. */
static bool is_limited(struct attempt *attempt)
{
    struct ratelimit *own = active_limit(attempt->entry), *common = &attempt->engine->limit;
    int64_t least = ratelimit_get(own), all = ratelimit_get(common);
    if (least == 0 || (all != 0 && all < least))
        least = all;
    return least != 0 && (attempt->rate < 0 || attempt->rate >= least / 10 * 8 ||
                          ratelimit_is_felt(own) || ratelimit_is_felt(common));
}

/* A free worker may help: the queue knows which, and whether there is nothing better to do. */
static void on_hands(void *data, struct team *team, unsigned wanted, int64_t left)
{
    struct attempt *attempt = data;
    struct engine *engine = attempt->engine;
    const struct queue_task queued = engine_queued(engine, &attempt->task);
    unsigned max = (unsigned)active_max_ranges(attempt->entry);
    if (max == 0)
        max = attempt->options->max_ranges;
    if (!attempt->offers && (wanted == 0 || max < 2))
        return;
    if (!attempt->offers)
        active_set_team(engine->active, attempt->entry, team);
    const struct helping_wish wish = {
        .row = queued.row,
        .host = queued.host,
        .uid = queued.uid,
        .wanted = is_limited(attempt) ? 0 : wanted,
        .max = max - 1,
        .left = left,
    };
    attempt->offers = queue_offer_help(engine->queue, &wish) == 0 || attempt->offers;
}

static void end_help(struct attempt *attempt)
{
    if (!attempt->offers)
        return;
    queue_withdraw_help(attempt->engine->queue, attempt->task.row);
    active_set_team(attempt->engine->active, attempt->entry, NULL);
}

static void on_response(void *data, int status)
{
    struct attempt *attempt = data;
    stats_response(attempt->engine->stats, status, units_now_boottime());
    active_set_http_status(attempt->entry, status);
}

/* Bytes that would be fetched again after a break. */
static int64_t costs_of_a_break(const struct attempt *attempt)
{
    struct resume_known known = known_bytes(attempt);
    known.have = attempt->task.written;
    return known.have - (attempt->no_ranges ? 0 : resume_plan(&known, false).start);
}

/* A slow origin keeps its slot only as long as nobody else needs it. */
static bool has_to_yield(struct attempt *attempt)
{
    int64_t now = units_now_boottime();
    if (attempt->yields || now - attempt->asked_at < MEASURE_EVERY)
        return attempt->yields;
    attempt->asked_at = now;
    measure(attempt, now);
    if (attempt->task.written == attempt->task.bytes_total) /* it is being checked */
        return false;
    int64_t own = active_rate_limit(attempt->entry);
    int64_t share = ratelimit_get(&attempt->engine->limit) / queue_slots(attempt->engine->queue);
    const struct yielding yielding = {
        .ran = now - attempt->started_at,
        .rate = attempt->rate,
        .share = own > 0 && (share == 0 || own < share) ? own : share,
        .lost = costs_of_a_break(attempt),
        .before = attempt->given_back,
    };
    const struct queue_task queued = engine_queued(attempt->engine, &attempt->task);
    attempt->yields = yielding_may(&yielding) && queue_wants_slot(attempt->engine->queue, &queued);
    return attempt->yields;
}

static bool is_cancelled(void *data)
{
    struct attempt *attempt = data;
    return attempt->disk_full || has_to_yield(attempt) || atomic_load(&attempt->tools->lost) ||
           atomic_load(&attempt->engine->stopping) ||
           active_wished(attempt->entry) != ACTIVE_NO_WISH;
}

/* --- how it ends: it waits again --- */

static void wait_again(struct attempt *attempt, int64_t at, enum queue_reason reason)
{
    put_back(attempt->engine, TAKE_PTR(attempt->entry), &attempt->task,
             &(struct put_back_place){.at = at, .reason = reason}, attempt->given_back);
}

/* Somebody else needs the slot more: behind the user's others of that priority. */
static void give_slot_back(struct attempt *attempt)
{
    struct task *task = &attempt->task;
    uint8_t times = attempt->given_back < UINT8_MAX ? attempt->given_back + 1 : UINT8_MAX;
    log_info("task=%s user=%s gives its slot to another user: its origin is slow", task->id,
             task->user);
    put_back(attempt->engine, TAKE_PTR(attempt->entry), task,
             &(struct put_back_place){.reason = QUEUE_SLOT, .last = true}, times);
}

static void put_aside(struct attempt *attempt, int64_t wait, enum task_wait why,
                      enum queue_reason reason)
{
    attempt->task.wait = why;
    attempt->task.not_before = units_now_realtime() + wait;
    wait_again(attempt, units_now_boottime() + wait, reason);
}

/* The user's file system does not answer: the others go first until it does. */
static void hold_user(struct attempt *attempt)
{
    log_warning("task=%s user=%s the file system does not answer; this user's tasks wait",
                attempt->task.id, attempt->task.user);
    queue_hold(attempt->engine->queue, attempt->task.uid, QUEUE_HOLD_STORAGE, true);
    files_close(TAKE_PTR(attempt->tools->channel));
    wait_again(attempt, 0, QUEUE_STORAGE);
}

static void wait_for_disk(struct attempt *attempt, int error)
{
    struct task *task = &attempt->task;
    const char *message = error == -EDQUOT
                              ? "the user's quota is used up; it goes on when there is room"
                              : "there is not enough room on the disk; it goes on when "
                                "there is";
    if (task->wait != TASK_WAIT_DISK)
        log_warning("task=%s user=%s waits: %s", task->id, task->user, message);
    engine_set_error(task, "disk", message);
    put_aside(attempt, error == -EDQUOT ? QUOTA_WAIT : DISK_WAIT, TASK_WAIT_DISK, QUEUE_DISK);
}

/* --- how it ends: for good --- */

static void remove_part(struct attempt *attempt)
{
    struct task *task = &attempt->task;
    task->drop_part = task->has_part; /* unless it can be just now */
    task_forget_bytes(task); /* be the part there or not, nothing in it counts any more */
    if (!task->has_part || !attempt->part || !attempt->tools->channel)
        return;
    if (files_unlink(attempt->tools->channel, task->directory, attempt->part, FILER_TIMEOUT) == 0)
        task->has_part = task->drop_part = false;
}

/* If it could not be just now. */
static void remove_part_later(struct attempt *attempt)
{
    struct task copy;
    active_leave(attempt->engine->active, TAKE_PTR(attempt->entry));
    if (task_state_ended(attempt->task.state) && attempt->task.drop_part &&
        task_copy(&attempt->task, &copy) == 0)
        finisher_remove_part(attempt->rooms->finisher, &copy);
}

/* Nothing was to be kept of it: the file is there, and the task says to skip then. */
static void skip(struct attempt *attempt)
{
    struct task *task = &attempt->task;
    remove_part(attempt);
    engine_set_error(task, "exists", "the file is there already");
    task->ended_at = units_now_realtime();
    task->state = TASK_FINISHED;
    int r = engine_store_update(attempt->engine, task);
    task->state = TASK_DOWNLOADING;
    if (r < 0) {
        task->ended_at = 0;
        put_aside(attempt, DISK_WAIT, TASK_WAIT_RETRY, QUEUE_RETRY);
        return;
    }
    log_info("task=%s user=%s skipped: the file is there", task->id, task->user);
    engine_move(attempt->engine, attempt->entry, task, TASK_RECEIVE);
    engine_move(attempt->engine, attempt->entry, task, TASK_FINISH);
    remove_part_later(attempt);
}

/* What cannot be stored has not happened: then it is tried again. */
static void fail(struct attempt *attempt, const char *code, const char *message)
{
    if (engine_fail(attempt->engine, attempt->entry, &attempt->task, code, message) < 0)
        put_aside(attempt, DISK_WAIT, TASK_WAIT_RETRY, QUEUE_RETRY);
    else
        remove_part_later(attempt);
}

/* The user's filer refused the directory or the part file. */
static void fail_on_files(struct attempt *attempt, int error)
{
    struct task *task = &attempt->task;
    char message[512];
    const char *code = error == -EACCES || error == -EPERM ? "permission"
                       : error == -EEXIST                  ? "exists"
                       : error == -ENOMEM                  ? "internal"
                                                           : "disk";
    admission_describe(error, task->directory, message);
    fail(attempt, code, message);
}

/* The network's or the server's fault. */
static void fail_or_retry(struct attempt *attempt)
{
    struct engine *engine = attempt->engine;
    struct task *task = &attempt->task;
    const struct download_result *result = &attempt->outcome.download;
    uint64_t host = engine_queued(engine, task).host;
    struct failure failure = failure_judge(engine, &attempt->options->retry, task,
                                           &attempt->outcome, attempt->went_on_from);
    if (failure.drop_part)
        remove_part(attempt);
    if (failure.verdict == FAILURE_FINAL) {
        _cleanup_free_ char *message = task->error_message ? strdup(task->error_message) : NULL;
        fail(attempt, result->error_code, message ? message : result->error_message);
        return;
    }
    log_info("task=%s user=%s tries %s in %lld ms: %s: %s", task->id, task->user,
             failure.verdict == FAILURE_ELSEWHERE ? "the next mirror" : "again",
             (long long)failure.wait, result->error_code, result->error_message);
    if (failure.host) /* without memory this task alone waits */
        queue_hold_host(engine->queue, host, units_now_boottime() + failure.wait);
    if (failure.verdict == FAILURE_AGAIN)
        put_aside(attempt, failure.wait, failure.host ? TASK_WAIT_HOST : TASK_WAIT_RETRY,
                  failure.host ? QUEUE_HOST : QUEUE_RETRY);
    else
        wait_again(attempt, 0, QUEUE_SLOT);
}

/* A verb for many has it from here; what cannot be stored waits again. */
static void hand_over(struct attempt *attempt, struct active_waiter *waiters)
{
    struct task *task = &attempt->task;
    int r = put_back_to(attempt->engine, TAKE_PTR(attempt->entry), task);
    if (r < 0) {
        struct queue_task queued = engine_queued(attempt->engine, task);
        engine_put_back(attempt->engine, &queued, 0, QUEUE_SLOT);
    }
    engine_answer(waiters, task, r);
}

/* Held or cancelled, as people wished, who are answered after the commit. What cannot be stored has
 * not happened: then it waits again. */
static void grant(struct attempt *attempt, enum active_wish wish, struct active_waiter *waiters)
{
    struct engine *engine = attempt->engine;
    struct task *task = &attempt->task;
    if (wish == ACTIVE_CANCEL)
        remove_part(attempt);
    if (wish != ACTIVE_HOLD)
        task->ended_at = units_now_realtime();
    engine_set_error(task, NULL, NULL);
    task_next(TASK_DOWNLOADING, wish == ACTIVE_HOLD ? TASK_HOLD : TASK_CANCEL, &task->state);
    int r = engine_store_update(engine, task);
    if (r < 0) {
        task->state = TASK_DOWNLOADING;
        task->ended_at = 0;
        engine_answer(waiters, task, r);
        wait_again(attempt, 0, QUEUE_SLOT);
        return;
    }
    log_info("task=%s user=%s %s", task->id, task->user, task_state_name(task->state));
    engine_moved(engine, TASK_DOWNLOADING, task);
    active_leave(engine->active, TAKE_PTR(attempt->entry));
    engine_answer(waiters, task, 0);
    remove_part_later(attempt);
}

static void conclude_failure(struct attempt *attempt, int result)
{
    int disk_error = attempt->outcome.download.disk_error;
    switch (result) {
    case -EIO:
        if (disk_error == -ENOSPC || disk_error == -EDQUOT)
            wait_for_disk(attempt, disk_error);
        else if (attempt->outcome.download.error_code)
            fail_or_retry(attempt);
        else
            fail_on_files(attempt, result);
        break;
    case -ENOSPC:
    case -EDQUOT:
        wait_for_disk(attempt, result);
        break;
    case -ECANCELED:
    case -ESHUTDOWN:
        if (attempt->disk_full && !atomic_load(&attempt->engine->stopping))
            wait_for_disk(attempt, -ENOSPC);
        else if (attempt->yields && !atomic_load(&attempt->engine->stopping))
            give_slot_back(attempt);
        else
            wait_again(attempt, 0, QUEUE_SLOT);
        break;
    case -ETIMEDOUT:
        hold_user(attempt);
        break;
    case -EHOSTDOWN: /* no filer to be had: not the task's fault */
    case -EAGAIN:    /* the search for a free name takes long */
    case -ENOMEM:
    case -EMFILE:
    case -ENFILE:
        put_aside(attempt, DISK_WAIT, TASK_WAIT_RETRY, QUEUE_RETRY);
        break;
    case -EEXIST:
        if (attempt->task.if_exists == TASK_SKIP) {
            skip(attempt);
            break;
        }
        fail_on_files(attempt, result);
        break;
    default:
        fail_on_files(attempt, result);
    }
}

static int64_t durable_bytes_of(const struct task *task)
{
    return task->durable + ranges_text_bytes(task->durable_ranges);
}

/* What was written, but not synced, is not there. */
static void trust_durable(struct task *task)
{
    task->written = task->durable;
    replace(&task->written_ranges, task->durable_ranges);
}

/* What came is on disk before it is said to be there: the next start may be one of the machine. An
 * error is told once (fsync(2)): what was not synced then is not there, whatever later syncs say.
 * Of an attempt that did not start, `written` may be of another boot. */
static void keep_what_came(struct attempt *attempt)
{
    struct task *task = &attempt->task;
    if (attempt->fd < 0 || attempt->recorded_at == 0 || bytes_of(task) <= durable_bytes_of(task))
        return;
    transfer_enter_disk(attempt->tools->transfer);
    if (fdatasync(attempt->fd) == 0 && !active_is_broken(attempt->entry)) {
        task->durable = task->written;
        replace(&task->durable_ranges, task->written_ranges);
    } else {
        trust_durable(task);
    }
    transfer_leave_disk(attempt->tools->transfer);
}

static void conclude(struct attempt *attempt, int result)
{
    struct task *task = &attempt->task;
    struct active_waiter *waiters;
    enum active_wish wish = active_take_wishes(attempt->engine->active, attempt->entry, &waiters);
    if (result != 0 && active_is_broken(attempt->entry) && bytes_of(task) > durable_bytes_of(task))
        trust_durable(task);
    if (result != 0 && result != -ETIMEDOUT && wish != ACTIVE_CANCEL)
        keep_what_came(attempt);
    task->bytes_done = bytes_of(task);
    if (attempt->outcome.download.http_status)
        task->http_status = attempt->outcome.download.http_status;
    if (result != 0 && wish == ACTIVE_HAND_OVER && result != -ESHUTDOWN) {
        hand_over(attempt, waiters);
        return;
    }
    if (result != 0 && wish != ACTIVE_NO_WISH && result != -ESHUTDOWN) {
        grant(attempt, wish, waiters);
        return;
    }
    if (result == 0) {
        task->bytes_done = task->bytes_total = attempt->outcome.total;
        engine_move(attempt->engine, attempt->entry, task, TASK_RECEIVE);
        engine_answer(waiters, task, 0);
        finisher_take(attempt->rooms->finisher, TAKE_PTR(attempt->place), task,
                      TAKE_PTR(attempt->part), TAKE_FD(attempt->fd), &attempt->file,
                      TAKE_PTR(attempt->entry));
        return;
    }
    conclude_failure(attempt, result);
    engine_answer(waiters, task, -ESHUTDOWN); /* none, unless the service stops */
}

/* --- the steps --- */

static int open_channel(struct worker_tools *tools, struct files *files, uid_t uid)
{
    if (tools->channel && files_uid(tools->channel) == uid)
        return 0;
    files_close(TAKE_PTR(tools->channel));
    return files_open(files, uid, &tools->channel);
}

/* One that the disk had no room for: look before the server is asked again. */
static int look_for_room(struct attempt *attempt)
{
    struct task *task = &attempt->task;
    if (task->wait != TASK_WAIT_DISK || task->bytes_total < 0)
        return 0;
    int r = open_part(attempt, false);
    return r < 0 ? r : claim_room(attempt, task->bytes_total);
}

/* 0: the task may start. Otherwise the reason, for conclude. */
static int prepare(struct attempt *attempt)
{
    struct task *task = &attempt->task;
    int r = open_channel(attempt->tools, attempt->engine->files, task->uid);
    if (r == 0 && !task->admitted)
        r = admission_settle(attempt->rooms->admission, attempt->tools->channel, task);
    if (r < 0)
        return r;
    attempt->part = task_part_name(task);
    return attempt->part ? look_for_room(attempt) : -ENOMEM;
}

/* What is written is what is there, unless another boot was before it could be synced. */
static void believe(struct attempt *attempt)
{
    struct task *task = &attempt->task;
    bool this_boot = task->boot_id && attempt->engine->boot_id[0] &&
                     strcmp(task->boot_id, attempt->engine->boot_id) == 0;
    if (!task->has_part)
        task_forget_bytes(task);
    else if (!this_boot || bytes_of(task) < durable_bytes_of(task))
        trust_durable(task);
    attempt->bytes = bytes_of(task);
}

static int transfer(struct attempt *attempt)
{
    const struct engine_options *options = attempt->options;
    struct task *task = &attempt->task;
    /* Copies: on_version replaces the task's while they are in use. */
    struct resume_known known = known_bytes(attempt);
    _cleanup_free_ char *etag = known.etag ? strdup(known.etag) : NULL;
    _cleanup_free_ char *last_modified = known.last_modified ? strdup(known.last_modified) : NULL;
    _cleanup_free_ char *ranges = task->written_ranges ? strdup(task->written_ranges) : NULL;
    known.etag = etag;
    known.last_modified = last_modified;

    _cleanup_free_ char *url = mirrors_url(task);
    bool is_first_server = mirrors_is_first_server(task);
    if (!url)
        return -ENOMEM;

    struct transfer_job job = {
        .url = url,
        .known = known,
        .ranges = ranges,
        .checksum = task->checksum,
        .max_size = options->max_file_size,
        .limits = {active_limit(attempt->entry), &attempt->engine->limit},
    };
    const struct address_policy policy = {
        .denied = options->denied,
        .denied_count = options->denied_count,
        .listeners = attempt->engine->listeners,
        .listener_count = attempt->engine->listener_count,
    };
    struct download_options download = {
        .user_agent = options->user_agent,
        .ca_file = options->ca_file,
        .known_hosts = options->known_hosts,
        .proxy = options->proxy,
        .policy = &policy,
        .connect_timeout = options->connect_timeout,
        .stall_timeout = options->stall_timeout,
        .was_global = mirrors_was_global(task),
        .headers = is_first_server ? task->headers : NULL,
        .username = is_first_server ? task->username : NULL,
        .password = is_first_server ? task->password : NULL,
    };
    struct transfer_ops ops = {
        .open = on_open,
        .on_version = on_version,
        .on_progress = on_progress,
        .on_hands = on_hands,
        .on_response = on_response,
        .cancelled = is_cancelled,
        .data = attempt,
    };
    int r = transfer_run(attempt->tools->transfer, &job, &download, &ops, &attempt->outcome);
    end_help(attempt);
    if (task->has_part)
        update_written(attempt);
    attempt->bytes = attempt->outcome.bytes;
    count_bytes(attempt, units_now_boottime());
    if (attempt->outcome.download.was_global)
        mirrors_set_global(task);
    return r;
}

static void start(struct attempt *attempt)
{
    struct task *task = &attempt->task;
    int64_t now = units_now_boottime();
    attempt->started_at = attempt->asked_at = now;
    attempt->recorded_at = attempt->synced_at = attempt->measured_at = now;
    attempt->rate = -1;
    believe(attempt);
    attempt->measured = attempt->synced = attempt->flushed = attempt->bytes;
    attempt->counted = attempt->bytes;
    attempt->workers = 1;
    active_set_bytes(attempt->entry, attempt->bytes, 0, 1);
    replace(&task->boot_id, attempt->engine->boot_id[0] ? attempt->engine->boot_id : NULL);

    if (task->started_at == 0)
        task->started_at = units_now_realtime();
    task->attempts++;
    task->wait = TASK_WAIT_NONE;
    task->not_before = 0;
    log_info("task=%s user=%s DOWNLOADING attempt=%d from=%lld", task->id, task->user,
             task->attempts, (long long)attempt->bytes);
}

/* Before there is a part file: a crash in between leaves one that is known of. The next start looks
 * for such among the first of each line; who starts out of turn is not found there, and so is
 * recorded at once. */
static int record_start(struct attempt *attempt)
{
    struct task *task = &attempt->task;
    bool had_part = task->has_part;
    task->has_part = true;
    if (!had_part && attempt->out_of_turn)
        return engine_store_update(attempt->engine, task) < 0 ? -ENOMEM : 0; /* it is tried again */
    store_update_lazily(attempt->engine->store, task);
    return 0;
}

static void run(struct attempt *attempt)
{
    struct task *task = &attempt->task;
    task->state = TASK_ENQUEUED; /* that is what the queue says; the store may lag behind */
    engine_move(attempt->engine, attempt->entry, task, TASK_START);
    int r = prepare(attempt);
    if (r == 0) {
        start(attempt);
        r = record_start(attempt);
    }
    if (r == 0)
        r = transfer(attempt);
    conclude(attempt, r);
}

/* ms until its start time, or until that is to be looked at again: the queue goes by the boot's
 * clock, and the two drift apart a little before it follows the other. 0: it may start. */
static int64_t earliness(const struct task *task)
{
    int64_t left = task->wait == TASK_WAIT_START ? task->not_before - units_now_realtime() : 0;
    return left <= 0 ? 0 : left < EARLY_MAX ? left + 1 : EARLY_MAX;
}

static void release(struct attempt *attempt, uid_t uid)
{
    finisher_unreserve(attempt->rooms->finisher, uid, attempt->place);
    active_leave(attempt->engine->active, attempt->entry);
    disk_unclaim(attempt->engine->disk, attempt->claim);
    transfer_enter_disk(attempt->tools->transfer);
    if (attempt->fd >= 0)
        close(attempt->fd);
    transfer_leave_disk(attempt->tools->transfer);
    free(attempt->part);
    task_release(&attempt->task);
    engine_options_unref(attempt->engine, attempt->options);
}

void attempt_run(struct attempt_rooms *rooms, struct worker_tools *tools,
                 const struct queue_task *queued)
{
    struct engine *engine = rooms->engine;
    struct attempt attempt = {.rooms = rooms, .engine = engine, .tools = tools, .fd = -1};

    int r = store_fetch(engine->store, queued->row, &attempt.task);
    if (r < 0) {
        log_error("uid=%u a task cannot be read from the store; it is tried again: %s", queued->uid,
                  strerror(-r));
        engine_put_back(engine, queued, units_now_boottime() + DISK_WAIT, QUEUE_RETRY);
        return;
    }
    attempt.options = engine_options_ref(engine);
    attempt.given_back = queued->given_back;
    attempt.out_of_turn = queued->out_of_turn || attempt.task.wait == TASK_WAIT_START;
    int64_t early = earliness(&attempt.task);
    if (early > 0)
        engine_put_back(engine, queued, units_now_boottime() + early, QUEUE_START_TIME);
    else if (finisher_reserve(rooms->finisher, queued->uid, &attempt.place) == 0 &&
             active_enter(engine->active, &attempt.task, TASK_ENQUEUED, &attempt.entry) == 0) {
        active_begin_limits(engine->active, attempt.entry, &attempt.task);
        run(&attempt);
    } else {
        engine_put_back(engine, queued, units_now_boottime() + DISK_WAIT, QUEUE_RETRY);
    }
    release(&attempt, queued->uid);
}
