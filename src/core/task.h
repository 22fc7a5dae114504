/* A task: its record, its states, and which verb leads from which state to which. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/api.h"

/* In the order of /stats. The numbers are stored: never renumber, only append. */
enum task_state {
    TASK_CREATED,
    TASK_ENQUEUED,
    TASK_DOWNLOADING,
    TASK_FINISHED,
    TASK_FAILED,
    TASK_CLEARED,
    TASK_FINISHING,
    TASK_PAUSED,
    TASK_CANCELLED,
    TASK_STATES, /* how many */
};

/* What happens to a task: by the service, then by people. */
enum task_verb {
    TASK_START, /* a worker takes it */
    TASK_PUT_BACK, /* the worker could not go on; it waits again, in front */
    TASK_RECEIVE, /* all bytes are here */
    TASK_FINISH, /* they are durable under the final name */
    TASK_FAIL,
    TASK_CLEAR,
    TASK_CANCEL,
    TASK_HOLD,
    TASK_RELEASE,
    TASK_RETRY,
    TASK_VERBS, /* how many */
};

/* Why a task waits until `not_before`. The numbers are stored: only append. */
enum task_wait {
    TASK_WAIT_NONE,
    TASK_WAIT_RETRY, /* the last attempt failed; the next one is worth a try then */
    TASK_WAIT_HOST,  /* its host asked for patience (Retry-After) */
    TASK_WAIT_DISK,  /* it does not fit on the disk */
    TASK_WAIT_START, /* it was asked to start then */
    TASK_WAIT_AFTER, /* until another is FINISHED (`after`), and then until its start */
    TASK_WAITS,      /* how many */
};

/* What to do when the file is there already. The numbers are stored: only append. */
enum task_if_exists {
    TASK_RENAME, /* name-1, name-2, ... */
    TASK_SKIP,
    TASK_OVERWRITE,
};

#define TASK_PRIORITY_MIN (-100)
#define TASK_PRIORITY_MAX 100
#define TASK_RANGES_MAX   API_RANGES_MAX /* of one task at once */
#define TASK_MIRRORS_MAX  16

struct task {
    int64_t row; /* the store's key, growing in the order of adding; 0: not stored yet */
    char id[API_ID_LENGTH + 1]; /* UUID version 4 */
    uid_t uid;
    char *user; /* the name that went with uid when it was added */
    char *url; /* without a login */
    uint64_t host; /* that serves the URL, by number (hosts.h); 0: not known */
    char *directory; /* absolute, no '/' at its end (but "/") */
    char *name; /* in `directory`; `directory`/`name` is what users see as dest */
    enum task_state state;
    bool admitted; /* directory and name were settled with the user's file system */
    bool has_part; /* a part file may be on disk */
    bool drop_part; /* it is of no use any more: to be removed as soon as it can be */
    int64_t created_at; /* these three: milliseconds since the epoch, 0: not yet */
    int64_t started_at;
    int64_t ended_at;
    int64_t bytes_done;
    int64_t bytes_total; /* -1: not known */
    int http_status; /* of the last response; 0: none */

    /* what was asked for */
    int priority; /* TASK_PRIORITY_MIN to _MAX: higher ones of a user's go first */
    enum task_if_exists if_exists;
    bool name_is_final; /* false: the server may name it (Content-Disposition), once */
    int retries; /* attempts without progress before it fails; -1: as configured */
    char *checksum; /* "sha-256=HEX", ... in lower case, or NULL */
    char *label; /* what its owner calls it, or NULL */
    char *mirrors; /* other URLs of the same file, each ended by '\n', or NULL */
    int mirror; /* which is tried: 0 is `url`, then those in order */
    int64_t rate_limit; /* bytes per second, 0: none of its own */
    int max_ranges; /* fetched at once, 0: as configured */
    char *after; /* the id of the task whose FINISHED it waits for, or NULL */
    /* Secrets of the origin, each or NULL. They are stored when the task is added, and wiped when it
     * is FINISHED. */
    char *headers; /* "Name: value\n"... to send along */
    char *username; /* to log in with */
    char *password;

    /* how it fares */
    int attempts; /* begun */
    int failures; /* in a row, without progress */
    enum task_wait wait; /* and until when, ms since the epoch */
    int64_t not_before;

    /* what a resume goes by */
    int64_t written; /* bytes from the start that were written; to be trusted under `boot_id`
                        alone */
    int64_t durable; /* bytes from the start that are on disk */
    char *written_ranges; /* bytes beyond those, likewise: "FIRST-LAST,"... growing, or NULL */
    char *durable_ranges;
    char *boot_id; /* of the boot that `written` is from, or NULL */
    uint64_t file_dev, file_ino; /* of the finished file; 0: not known */
    char *etag; /* as the server sent it, or NULL */
    char *last_modified; /* as the server sent it, or NULL */
    uint32_t was_global; /* which hosts were reached at a global address (address.h): bit 0 the
                            URL's, bit n the one of mirror n */

    char *error_code; /* why it failed, or the last attempt did (a word), or NULL */
    char *error_message; /* the same as a sentence, or NULL */
};

/* Frees the strings, zeroes the struct. */
void task_release(struct task *task);
/* A deep copy into `copy`, which is overwritten. 0 or -ENOMEM (then `copy` is zeroed). */
int task_copy(const struct task *task, struct task *copy);
/* Nothing of the file is there (any more). */
void task_forget_bytes(struct task *task);
/* What nobody needs any more once the file is there. */
void task_forget_secrets(struct task *task);
/* A fresh random UUID version 4 (RFC 9562) from getrandom(2). */
void task_make_id(char id[static API_ID_LENGTH + 1]);
/* The path of the final file; the caller frees it; NULL: no memory. */
char *task_dest(const struct task *task);
/* The part file's name, NAME.<first 8 of id>.part, NAME cut at a UTF-8 boundary so that it fits;
 * the caller frees it; NULL: no memory. */
char *task_part_name(const struct task *task);
/* Seconds from adding to the end, or to `now` (ms since the epoch) while unfinished, rounded to 4
 * decimals; never negative. */
double task_duration(const struct task *task, int64_t now);

const char *task_state_name(enum task_state state);
/* Ended: FINISHED, FAILED, CLEARED, CANCELLED. */
bool task_state_ended(enum task_state state);
/* The state after `verb`. 0, or -EINVAL when the state does not take that verb. */
int task_next(enum task_state state, enum task_verb verb, enum task_state *ret_next);
