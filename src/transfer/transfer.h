/*
 * One file, fetched: goes on where an earlier attempt stopped if the server proves that the file is
 * the same, and writes to the part file with pwrite(2), gathered into larger writes. What the
 * outside must do for it comes as operations.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "transfer/download.h"
#include "transfer/ratelimit.h"
#include "transfer/resume.h"

struct transfer_ops { /* `data` is passed through; called on the worker's thread */
    /*
     * Opens the part file for reading and writing, once: before the request when there are bytes to
     * go on with (`head` is NULL; they are kept), else when the server has accepted (`head` is its
     * answer, which may name the file; what is in it is cut off). The descriptor stays the
     * caller's. 0 or a negative errno, which ends the transfer with that result.
     */
    int (*open)(void *data, const struct download_head *head, int *ret_fd);
    /* The answer that bytes will be kept of, before any changes the file: what to know it by next
     * time. The validators of an encoded one are NULL: another time other bytes may come, so it is
     * not gone on with. `start` is where they go on; 0 though bytes were there: `why` says in a
     * sentence why they are given up (else NULL). May come twice: bytes that went on may turn out
     * to be others. */
    void (*on_version)(void *data, const struct download_head *head, int64_t total, int64_t start,
                       const char *why);
    /* The first `written` bytes are in the file (not synced): about once a second, and after each
     * larger write. */
    void (*on_progress)(void *data, int64_t written);
    void (*on_response)(void *data, int status);
    bool (*cancelled)(void *data);
    void *data;
};

#define TRANSFER_LIMITS 2

struct transfer_job { /* borrowed for the call */
    const char *url;
    struct resume_known known; /* have 0: nothing is there */
    const char *checksum; /* normalised (checksum.h), or NULL */
    int64_t max_size; /* of the file, 0: any; more: "too_large", as soon as it is known */
    struct ratelimit *limits[TRANSFER_LIMITS]; /* each or NULL: the file's own, then that of all */
};

struct transfer_outcome {
    struct download_result download; /* bytes_done, bytes_total: of the last request */
    int64_t written; /* bytes from the start that are in the part file and to be kept; as many as
                        were known when it could not be opened */
    int64_t total; /* of the file, -1: not known */
    bool progress; /* there are more of them than there were */
};

/* One gather buffer and one downloader; belongs to one worker thread. 0 or -ENOMEM. */
struct transfer;
int transfer_create(struct download_share *share, struct transfer **ret_transfer);
void transfer_destroy(struct transfer *transfer);
/* Around what the owner's operations do with the file themselves, where the kernel may hold them. */
void transfer_enter_disk(struct transfer *transfer);
void transfer_leave_disk(struct transfer *transfer);
/* For another thread: since when (boot time, ms) it has been in one file operation; 0: it is in none. */
int64_t transfer_on_disk_since(const struct transfer *transfer);

/*
 * Blocks. 0: all bytes are in the part file (not synced), its size is the file's, and the checksum
 * is right. -ECANCELED; the errno of ops->open; or -EIO with `ret_outcome->download` saying why,
 * errors of writing (code "disk", with disk_error) and "checksum" included. What came is written,
 * however it ends.
 */
int transfer_run(struct transfer *transfer, const struct transfer_job *job,
                 const struct download_options *options, const struct transfer_ops *ops,
                 struct transfer_outcome *ret_outcome);
