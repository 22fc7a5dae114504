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
#include "transfer/team.h"

struct transfer_progress {
    int64_t written;  /* bytes from the start that are in the file (not synced) */
    int64_t bytes;    /* in all: others may fetch what is further on */
    unsigned workers; /* that fetch it now */
};

struct transfer_ops { /* `data` is passed through; called on the worker's thread */
    /*
     * Opens the part file for reading and writing, once: before the request when there are bytes to
     * go on with (`head` is NULL; they are kept), else when the server has accepted (`head` is its
     * answer, which may name the file; what is in it is cut off). The descriptor stays the
     * caller's. 0 or a negative errno, which ends the transfer with that result.
     */
    int (*open)(void *data, const struct download_head *head, int *ret_fd);
    /* The answer that bytes will be kept of, before any changes the file: what to know it by next
     * time. 0, or a negative errno, which ends the transfer with that result, the file as it is. The validators of an encoded one are NULL: another time other bytes may come, so it is
     * not gone on with. `start` is where they go on. `anew`: whatever was there is given up; if
     * anything was, `why` says in a sentence why (else NULL). May come twice: bytes that went on
     * may turn out to be others. */
    int (*on_version)(void *data, const struct download_head *head, int64_t total, int64_t start,
                      bool anew, const char *why);
    /* About once a second, and after each larger write. */
    void (*on_progress)(void *data, const struct transfer_progress *progress);
    /* Others may join (transfer_help): so many would be worth their while now. `left`: ms until all
     * is here as it goes. A few times a second, once it could be so. May be NULL. */
    void (*on_hands)(void *data, struct team *team, unsigned wanted, int64_t left);
    void (*on_response)(void *data, int status);
    bool (*cancelled)(void *data);
    void *data;
};

struct transfer_job { /* borrowed for the call */
    const char *url;
    struct resume_known known; /* have 0: nothing is there */
    const char *ranges;        /* what is there beyond that (ranges.h), or NULL */
    const char *checksum;      /* normalised (checksum.h), or NULL */
    int64_t max_size;          /* of the file, 0: any; more: "too_large", as soon as it is known */
    struct ratelimit *limits[RATELIMIT_EACH]; /* each or NULL: the file's own, then that of all */
};

struct transfer_outcome {
    struct download_result download; /* bytes_done, bytes_total: of the last request */
    int64_t written; /* bytes from the start that are in the part file and to be kept; as many as
                        were known when it could not be opened */
    int64_t bytes;   /* the same in all */
    int64_t total;   /* of the file, -1: not known */
    bool progress;   /* there are more of them than there were */
};

/* One gather buffer and one downloader; belongs to one worker thread. 0 or -ENOMEM. */
struct transfer;
int transfer_create(struct download_share *share, struct transfer **ret_transfer);
void transfer_destroy(struct transfer *transfer);
/* Around what the owner's operations do with the file themselves, where the kernel may hold them.
 */
void transfer_enter_disk(struct transfer *transfer);
void transfer_leave_disk(struct transfer *transfer);
/* For another thread: since when (boot time, ms) it has been in one file operation; 0: it is in
 * none. */
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
/* For the operations, and after the run: what is written from the start, and the text (ranges.h) of
 * what is beyond (NULL: nothing), to be freed. 0 or -ENOMEM. */
int transfer_written(struct transfer *transfer, int64_t *ret_written, char **ret_ranges);

/* Another worker's transfer helps with what a team fetches. */
struct transfer_help {
    unsigned hands;           /* so many helpers come together */
    const atomic_bool *leave; /* it is to leave at once */
    const atomic_bool *lost;  /* likewise */
    void (*on_response)(void *data, int status);
    void *data;
};
/* Blocks until nothing is left to help with, or it has to leave, or cannot go on; tells nobody why.
 * How long the server asked to be left alone by helpers (429, 503), in ms; 0: it did not. */
int64_t transfer_help(struct transfer *transfer, struct team *team,
                      const struct transfer_help *help);
