#include "transfer/transfer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"

#define GATHER_SIZE (256 * 1024)

struct transfer {
    struct downloader *downloader;
    char *gathered; /* GATHER_SIZE bytes */

    /* one run */
    const struct transfer_ops *ops;
    int fd;        /* -1: not open; the caller's */
    size_t filled; /* bytes gathered, to be written at `written` */
    int64_t written;
    int disk_error; /* errno of reserving or writing; then nothing more is written */
    const char *disk_message;
};

static int disk_failed(struct transfer *transfer, int r, const char *message)
{
    transfer->disk_error = r;
    transfer->disk_message = message;
    return r;
}

static int write_gathered(struct transfer *transfer)
{
    size_t done = 0;
    while (done < transfer->filled) {
        ssize_t n = pwrite(transfer->fd, transfer->gathered + done, transfer->filled - done,
                           transfer->written);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return disk_failed(transfer, n < 0 ? -errno : -EIO, "cannot write the file");
        done += (size_t)n;
        transfer->written += n;
    }
    transfer->filled = 0;
    return 0;
}

/* So that a file that cannot fit fails at once, and lies together on the disk. The file's size does
 * not change: it says how much was written. */
static int reserve(struct transfer *transfer, int64_t total)
{
    if (total <= GATHER_SIZE) /* one write: nothing to gain */
        return 0;
    int r;
    do
        r = fallocate(transfer->fd, FALLOC_FL_KEEP_SIZE, 0, total);
    while (r < 0 && errno == EINTR);
    if (r < 0 && (errno == ENOSPC || errno == EDQUOT || errno == EFBIG))
        return disk_failed(transfer, -errno, "not enough space for the file");
    return 0; /* whatever else is wrong, writing will tell */
}

static int on_accept(void *data, int64_t total)
{
    struct transfer *transfer = data;
    int r = transfer->ops->open(transfer->ops->data, &transfer->fd);
    return r < 0 ? r : reserve(transfer, total);
}

static int on_data(void *data, const char *bytes, size_t len)
{
    struct transfer *transfer = data;
    while (len > 0) {
        size_t n = GATHER_SIZE - transfer->filled;
        if (n > len)
            n = len;
        memcpy(transfer->gathered + transfer->filled, bytes, n);
        transfer->filled += n;
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

static void on_response(void *data, int status)
{
    struct transfer *transfer = data;
    transfer->ops->on_response(transfer->ops->data, status);
}

static bool cancelled(void *data)
{
    struct transfer *transfer = data;
    return transfer->ops->cancelled(transfer->ops->data);
}

int transfer_run(struct transfer *transfer, const char *url, const struct download_options *options,
                 const struct transfer_ops *ops, struct download_result *ret_result)
{
    const struct download_callbacks callbacks = {
        .on_response = on_response,
        .on_accept = on_accept,
        .on_data = on_data,
        .cancelled = cancelled,
        .data = transfer,
    };
    transfer->ops = ops;
    transfer->fd = -1;
    transfer->filled = 0;
    transfer->written = 0;
    transfer->disk_error = 0;

    int r = download_run(transfer->downloader, url, options, &callbacks, ret_result);
    if (!transfer->disk_error)
        write_gathered(transfer); /* what came is kept, however it ended */
    ret_result->bytes_done = transfer->written;
    /* A failed last write does not hide how the download itself failed. */
    if (transfer->disk_error && (r == 0 || r == transfer->disk_error)) {
        ret_result->error_code = "disk";
        snprintf(ret_result->error_message, sizeof ret_result->error_message, "%s: %s",
                 transfer->disk_message, strerrordesc_np(-transfer->disk_error));
        r = -EIO;
    }
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
