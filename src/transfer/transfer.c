#include "transfer/transfer.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/units.h"
#include "transfer/checksum.h"

#define GATHER_SIZE  (256 * 1024)
#define FLUSH_AFTER  500 /* ms that bytes are gathered at most; we are asked each second */
#define REQUESTS_MAX 4   /* in one run */

struct transfer {
    struct downloader *downloader;
    char *gathered; /* GATHER_SIZE bytes */

    _Atomic int64_t on_disk_since; /* boottime; 0: in no file operation */

    /* one run */
    const struct transfer_job *job;
    const struct transfer_ops *ops;
    int fd;           /* -1: not open; the caller's */
    int64_t written;  /* bytes from the start that are in the file and to be kept */
    int64_t total;    /* of the file, -1: not known */
    char why[200];    /* what is there is given up; "": it is not */
    const char *code; /* of our own failure, or NULL; the first one is told */
    int disk_error;   /* behind the code "disk" */
    char message[sizeof((struct download_result *)0)->error_message];
    struct checksum *checksum; /* of what was written, in order; NULL: not asked for, or not so */

    /* one request */
    struct resume_known known;
    struct resume_request request;
    bool again;         /* the answer is of no use, but another request may be */
    bool from_zero;     /* the next one is a plain GET */
    bool was_global;    /* so far in this run (download.h) */
    bool no_if_range;   /* the next one is without If-Range */
    int64_t at;         /* where in the file the next byte that comes belongs */
    int64_t end;        /* where the bytes that were announced end, -1: not known */
    size_t filled;      /* bytes gathered, to be written at `written` */
    int64_t flushed_at; /* boottime */
};

/* Failures of our own: a callback returns what these return, and so ends the download. */

static int fail(struct transfer *transfer, const char *code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static int fail(struct transfer *transfer, const char *code, const char *format, ...)
{
    va_list args;
    if (transfer->code)
        return -EIO;
    transfer->code = code;
    va_start(args, format);
    vsnprintf(transfer->message, sizeof transfer->message, format, args);
    va_end(args);
    return -EIO;
}

static int fail_disk(struct transfer *transfer, int r, const char *what)
{
    if (!transfer->code)
        transfer->disk_error = r;
    return fail(transfer, "disk", "%s: %s", what, strerrordesc_np(-r));
}

static int ask_again(struct transfer *transfer)
{
    transfer->again = true;
    return -EAGAIN;
}

static void give_up_bytes(struct transfer *transfer, const char *why)
{
    snprintf(transfer->why, sizeof transfer->why, "%s; started again from zero", why);
}

static int ask_from_zero(struct transfer *transfer, const char *why)
{
    transfer->from_zero = true;
    give_up_bytes(transfer, why);
    return ask_again(transfer);
}

/* The file. Around each of these calls, which the kernel may hold, others can see since when. */

void transfer_enter_disk(struct transfer *transfer)
{
    atomic_store_explicit(&transfer->on_disk_since, units_now_boottime(), memory_order_relaxed);
}

void transfer_leave_disk(struct transfer *transfer)
{
    atomic_store_explicit(&transfer->on_disk_since, 0, memory_order_relaxed);
}

int64_t transfer_on_disk_since(const struct transfer *transfer)
{
    return atomic_load_explicit(&transfer->on_disk_since, memory_order_relaxed);
}

static void report_progress(struct transfer *transfer)
{
    transfer_enter_disk(transfer); /* the callback looks at the file, too */
    transfer->ops->on_progress(transfer->ops->data, transfer->written);
    transfer_leave_disk(transfer);
}

static int write_gathered(struct transfer *transfer)
{
    size_t done = 0;
    while (done < transfer->filled) {
        transfer_enter_disk(transfer);
        ssize_t n = pwrite(transfer->fd, transfer->gathered + done, transfer->filled - done,
                           transfer->written);
        transfer_leave_disk(transfer);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return fail_disk(transfer, n < 0 ? -errno : -EIO, "cannot write the file");
        if (transfer->checksum)
            checksum_add(transfer->checksum, transfer->gathered + done, (size_t)n);
        done += (size_t)n;
        transfer->written += n;
    }
    transfer->filled = 0;
    transfer->flushed_at = units_now_boottime();
    if (done > 0)
        report_progress(transfer);
    return 0;
}

/* So that a file that cannot fit fails at once, and lies together on the disk. The file's size does
 * not change: it says how much was written. */
static int reserve(struct transfer *transfer)
{
    int64_t missing = transfer->total - transfer->written;
    if (missing <= GATHER_SIZE) /* one write: nothing to gain */
        return 0;
    int r;
    transfer_enter_disk(transfer);
    do
        r = fallocate(transfer->fd, FALLOC_FL_KEEP_SIZE, transfer->written, missing);
    while (r < 0 && errno == EINTR);
    transfer_leave_disk(transfer);
    if (r < 0 && (errno == ENOSPC || errno == EDQUOT || errno == EFBIG))
        return fail_disk(transfer, -errno, "not enough space for the file");
    return 0; /* whatever else is wrong, writing will tell */
}

static int cut(struct transfer *transfer, int64_t size)
{
    int r;
    transfer_enter_disk(transfer);
    do
        r = ftruncate(transfer->fd, size);
    while (r < 0 && errno == EINTR);
    transfer_leave_disk(transfer);
    return r < 0 ? fail_disk(transfer, -errno, "cannot cut the file to its size") : 0;
}

/* Up to `len` bytes at `at`; 0: the file ends there. */
static ssize_t read_some(struct transfer *transfer, char *buffer, size_t len, int64_t at)
{
    ssize_t n;
    transfer_enter_disk(transfer);
    do
        n = pread(transfer->fd, buffer, len, at);
    while (n < 0 && errno == EINTR);
    transfer_leave_disk(transfer);
    return n < 0 ? fail_disk(transfer, -errno, "cannot read the file") : n;
}

/* Answers. */

static int start_checksum(struct transfer *transfer)
{
    int r = checksum_create(transfer->job->checksum, &transfer->checksum);
    if (r == -EOPNOTSUPP)
        return fail(transfer, "checksum", "this system does not allow that kind of checksum");
    return r < 0 ? fail(transfer, "internal", "out of memory") : 0;
}

/* All of the file comes, though there may be bytes of it. */
static int begin(struct transfer *transfer, const struct download_head *head)
{
    const struct transfer_ops *ops = transfer->ops;
    struct download_head version = *head;
    bool is_open = transfer->fd >= 0;
    int r = is_open ? 0 : ops->open(ops->data, head, &transfer->fd);
    if (r < 0)
        return r;
    if (version.encoded) /* another time other bytes may come */
        version.etag = version.last_modified = NULL;
    transfer->total = transfer->end = head->length;
    transfer->at = transfer->written = 0;
    ops->on_version(ops->data, &version, head->length, 0, transfer->why[0] ? transfer->why : NULL);

    if (is_open) /* only now: what is on record is no longer what was there */
        r = cut(transfer, 0);
    if (r == 0 && transfer->job->checksum)
        r = start_checksum(transfer);
    return r < 0 ? r : reserve(transfer);
}

/* Not always where the file does. The head was judged: it is not nonsense. */
static int64_t end_of_part(const struct download_head *head, int64_t file_total)
{
    int64_t first, last, total;
    bool says = head->content_range &&
                resume_parse_content_range(head->content_range, &first, &last, &total);
    return says ? last + 1 : file_total;
}

/* The rest of the file comes, after some bytes that are there: to be compared. */
static int go_on(struct transfer *transfer, const struct download_head *head)
{
    const struct transfer_ops *ops = transfer->ops;
    const struct resume_known *known = &transfer->known;
    struct download_head version = *head;
    if (!version.etag) /* the head of a part need not say what the whole one's did */
        version.etag = known->etag;
    if (!version.last_modified)
        version.last_modified = known->last_modified;
    transfer->total = known->total;
    transfer->at = transfer->request.start;
    transfer->end = end_of_part(head, known->total);
    transfer->written = known->have;
    ops->on_version(ops->data, &version, transfer->total, transfer->written, NULL);
    return reserve(transfer);
}

static int check_size(struct transfer *transfer, int64_t size)
{
    int64_t max = transfer->job->max_size;
    if (max == 0 || size <= max)
        return 0;
    return fail(transfer, "too_large",
                "the file is larger than max-file-size allows (%" PRId64 " bytes)", max);
}

static int on_head(void *data, const struct download_head *head)
{
    struct transfer *transfer = data;
    const struct resume_head answer = {
        .status = head->status,
        .length = head->length,
        .content_range = head->content_range,
        .etag = head->etag,
        .last_modified = head->last_modified,
        .encoded = head->encoded,
        .no_ranges = head->no_ranges,
    };
    char message[128];
    int r;

    switch (resume_judge(&transfer->known, &transfer->request, &answer, message)) {
    case RESUME_WHOLE:
        if (transfer->request.start > 0)
            give_up_bytes(transfer, message);
        r = check_size(transfer, head->length);
        return r < 0 ? r : begin(transfer, head);
    case RESUME_PART:
        r = check_size(transfer, transfer->known.total);
        return r < 0 ? r : go_on(transfer, head);
    case RESUME_WITHOUT_IF_RANGE:
        transfer->no_if_range = true;
        return ask_again(transfer);
    case RESUME_CHANGED:
        return ask_from_zero(transfer, message);
    case RESUME_NONSENSE:
        break;
    }
    return fail(transfer, "protocol", "%s", message);
}

/* Bodies. */

/* Of bytes that come, those that are there already must be the same. Returns how many these are. */
static ssize_t compare(struct transfer *transfer, const char *bytes, size_t len)
{
    char there[16384];
    size_t same = 0;
    int64_t missing = transfer->written - transfer->at;
    if ((int64_t)len > missing)
        len = (size_t)missing;
    while (same < len) {
        size_t n = len - same < sizeof there ? len - same : sizeof there;
        ssize_t got = read_some(transfer, there, n, transfer->at);
        if (got < 0)
            return got;
        if (got == 0 || memcmp(there, bytes + same, (size_t)got) != 0)
            return ask_from_zero(transfer, "the server has other bytes than those that are there");
        same += (size_t)got;
        transfer->at += got;
    }
    return (ssize_t)same;
}

static int gather(struct transfer *transfer, const char *bytes, size_t len)
{
    while (len > 0) {
        size_t n = GATHER_SIZE - transfer->filled;
        if (n > len)
            n = len;
        memcpy(transfer->gathered + transfer->filled, bytes, n);
        transfer->filled += n;
        transfer->at += (int64_t)n;
        bytes += n;
        len -= n;
        if (transfer->filled == GATHER_SIZE) {
            int r = write_gathered(transfer);
            if (r < 0)
                return r;
        }
    }
    return 0;
}

static int take_in(struct transfer *transfer, const char *bytes, size_t len)
{
    size_t seen = 0;

    if (transfer->at < transfer->written) {
        ssize_t n = compare(transfer, bytes, len);
        if (n < 0)
            return (int)n;
        seen = (size_t)n;
    }
    int64_t end = transfer->at + (int64_t)(len - seen);
    if (transfer->end >= 0 && end > transfer->end)
        return fail(transfer, "protocol", "the server sends more than it announced");
    int r = check_size(transfer, end);
    return r < 0 ? r : gather(transfer, bytes + seen, len - seen);
}

static bool cancelled(void *data);

static size_t portion(const struct transfer *transfer, size_t len)
{
    for (size_t i = 0; i < TRANSFER_LIMITS; i++)
        if (transfer->job->limits[i])
            len = ratelimit_portion(transfer->job->limits[i], len);
    return len;
}

static bool pass_limits(struct transfer *transfer, size_t len)
{
    for (size_t i = 0; i < TRANSFER_LIMITS; i++)
        if (transfer->job->limits[i] &&
            !ratelimit_pass(transfer->job->limits[i], len, cancelled, transfer))
            return false;
    return true;
}

/* What is here is kept, though it be over the limit, if nothing more is wanted. */
static int on_data(void *data, const char *bytes, size_t len)
{
    struct transfer *transfer = data;
    bool wanted = true;
    int r = 0;
    while (len > 0 && r == 0) {
        size_t n = wanted ? portion(transfer, len) : len;
        wanted = wanted && pass_limits(transfer, n);
        r = take_in(transfer, bytes, n);
        bytes += n;
        len -= n;
    }
    return r;
}

static void on_response(void *data, int status)
{
    struct transfer *transfer = data;
    transfer->ops->on_response(transfer->ops->data, status);
}

/* Asked about once a second, and so the time to write what trickles in. */
static bool cancelled(void *data)
{
    struct transfer *transfer = data;
    bool due = transfer->filled > 0 && units_now_boottime() - transfer->flushed_at >= FLUSH_AFTER;
    return (due && write_gathered(transfer) < 0) || transfer->ops->cancelled(transfer->ops->data);
}

/* After the last byte. */

static int hash_file(struct transfer *transfer)
{
    int r = start_checksum(transfer);
    for (int64_t at = 0; r == 0 && at < transfer->written;) {
        if (transfer->ops->cancelled(transfer->ops->data))
            return -ECANCELED;
        ssize_t n = read_some(transfer, transfer->gathered, GATHER_SIZE, at);
        if (n == 0)
            r = fail_disk(transfer, -EIO, "the file was cut while it was checked");
        else if (n < 0)
            r = (int)n;
        else
            checksum_add(transfer->checksum, transfer->gathered, (size_t)n);
        at += n;
    }
    return r;
}

static int verify(struct transfer *transfer)
{
    char message[400];
    int r = 0;
    if (!transfer->job->checksum)
        return 0;
    if (!transfer->checksum)
        r = hash_file(transfer);
    if (r == 0 && checksum_verify(transfer->checksum, message) < 0)
        r = fail(transfer, "checksum", "%s", message);
    return r;
}

/* The server says that this was all. */
static int complete(struct transfer *transfer)
{
    if (transfer->total >= 0 && transfer->at != transfer->total)
        return fail(transfer, "truncated", "the file ended early: %" PRId64 " of %" PRId64 " bytes",
                    transfer->at, transfer->total);
    transfer->total = transfer->written;
    int r = transfer->request.start > 0 ? cut(transfer, transfer->total) : 0;
    return r < 0 ? r : verify(transfer);
}

/* Requests. */

/* What is really there. The bytes behind `have` are nobody's. */
static int open_known(struct transfer *transfer)
{
    const struct transfer_ops *ops = transfer->ops;
    struct resume_known *known = &transfer->known;
    struct stat st;

    int r = ops->open(ops->data, NULL, &transfer->fd);
    if (r < 0)
        return r;
    if (fstat(transfer->fd, &st) < 0)
        return fail_disk(transfer, -errno, "cannot look at the file");
    if (known->total >= 0 && known->have > known->total)
        known->have = known->total;
    if (st.st_size < known->have) {
        known->have = st.st_size;
        give_up_bytes(transfer, "bytes of the part file are missing");
    }
    transfer->written = known->have;
    return 0;
}

static void plan(struct transfer *transfer)
{
    if (transfer->from_zero)
        transfer->request = (struct resume_request){0};
    else
        transfer->request = resume_plan(&transfer->known, transfer->no_if_range);
    if (transfer->request.start == 0 && transfer->known.have > RESUME_OVERLAP && !transfer->why[0])
        give_up_bytes(transfer, "the server gave nothing to know the file again by");
    transfer->again = false;
    transfer->filled = 0;
    transfer->flushed_at = units_now_boottime();
}

/* Whatever came is kept, however it ended. */
static int request_once(struct transfer *transfer, const struct download_options *options,
                        struct download_result *result)
{
    const struct download_callbacks callbacks = {
        .on_response = on_response,
        .on_head = on_head,
        .on_data = on_data,
        .cancelled = cancelled,
        .data = transfer,
    };
    struct download_options ranged = *options;
    ranged.start = transfer->request.start;
    ranged.if_range = transfer->request.if_range;
    ranged.was_global = options->was_global || transfer->was_global;

    int r = download_run(transfer->downloader, transfer->job->url, &ranged, &callbacks, result);
    transfer->was_global = transfer->was_global || result->was_global;
    if (transfer->code)
        return r;
    int flushed = write_gathered(transfer);
    if (r == 0)
        return flushed;
    transfer->code = NULL; /* a failed last write does not hide how the download itself failed */
    return r;
}

static int run(struct transfer *transfer, const struct download_options *options,
               struct download_result *result)
{
    int r = transfer->known.have > 0 ? open_known(transfer) : 0;
    for (int requests = 0; r == 0; requests++) {
        if (requests == REQUESTS_MAX)
            return fail(transfer, "changed", "the server sends another version each time");
        plan(transfer);
        r = request_once(transfer, options, result);
        if (!transfer->again)
            return r < 0 ? r : complete(transfer);
        r = 0;
    }
    return r;
}

/* Field by field: others look at on_disk_since meanwhile. */
static void begin_run(struct transfer *transfer, const struct transfer_job *job,
                      const struct transfer_ops *ops)
{
    transfer->job = job;
    transfer->ops = ops;
    transfer->fd = -1;
    transfer->written = job->known.have;
    transfer->total = job->known.total;
    transfer->why[0] = '\0';
    transfer->code = NULL;
    transfer->disk_error = 0;
    transfer->message[0] = '\0';
    transfer->checksum = NULL;
    transfer->known = job->known;
    transfer->request = (struct resume_request){0};
    transfer->again = transfer->from_zero = transfer->no_if_range = false;
    transfer->was_global = false;
    transfer->at = 0;
    transfer->end = -1;
    transfer->filled = 0;
    transfer->flushed_at = 0;
}

int transfer_run(struct transfer *transfer, const struct transfer_job *job,
                 const struct download_options *options, const struct transfer_ops *ops,
                 struct transfer_outcome *ret_outcome)
{
    struct download_result *result = &ret_outcome->download;
    begin_run(transfer, job, ops);
    *ret_outcome = (struct transfer_outcome){
        .download = {.bytes_total = -1, .retry_after = -1}
    };

    int r = run(transfer, options, result);
    if (transfer->code) {
        result->error_code = transfer->code;
        result->disk_error = transfer->disk_error;
        stpcpy(result->error_message, transfer->message);
        r = -EIO;
    }
    result->was_global = transfer->was_global;
    ret_outcome->written = transfer->written;
    ret_outcome->total = transfer->total;
    ret_outcome->progress = transfer->written > transfer->known.have;
    checksum_destroy(transfer->checksum);
    transfer->checksum = NULL;
    transfer->job = NULL;
    transfer->ops = NULL;
    return r;
}

int transfer_create(struct download_share *share, struct transfer **ret_transfer)
{
    struct transfer *transfer = calloc(1, sizeof *transfer);
    if (!transfer)
        return -ENOMEM;
    transfer->gathered = malloc(GATHER_SIZE);
    if (!transfer->gathered || downloader_create(share, &transfer->downloader) < 0) {
        transfer_destroy(transfer);
        return -ENOMEM;
    }
    *ret_transfer = transfer;
    return 0;
}

void transfer_destroy(struct transfer *transfer)
{
    if (!transfer)
        return;
    downloader_destroy(transfer->downloader);
    free(transfer->gathered);
    free(transfer);
}
