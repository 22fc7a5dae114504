/*
 * One file, fetched: runs the download and writes its bytes to the part file with pwrite(2),
 * gathered into larger writes. What the outside must do for it comes as operations.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "transfer/download.h"

struct transfer_ops { /* `data` is passed through; called on the worker's thread */
    /* Opens the empty part file for writing, once, when the server has accepted. The descriptor
     * stays the caller's. 0 or a negative errno, which ends the transfer with that result. */
    int (*open)(void *data, int *ret_fd);
    void (*on_response)(void *data, int status);
    bool (*cancelled)(void *data);
    void *data;
};

/* One gather buffer and one downloader; belongs to one worker thread. 0 or -ENOMEM. */
struct transfer;
int transfer_create(struct download_share *share, struct transfer **ret_transfer);
void transfer_destroy(struct transfer *transfer);

/*
 * Blocks. 0: all bytes are written to the part file (not synced). -ECANCELED; the errno of
 * ops->open; or -EIO with `ret_result` saying why, errors of writing (code "disk") included. What
 * came is written, however it ends: `bytes_done` is the size of the part file.
 */
int transfer_run(struct transfer *transfer, const char *url,
                 const struct download_options *options, const struct transfer_ops *ops,
                 struct download_result *ret_result);
