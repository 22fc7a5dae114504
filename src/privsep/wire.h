/*
 * What monitor, service and filers say to each other: fixed-size structs, one a message, over
 * SOCK_SEQPACKET (unix(7)), descriptors beside them (SCM_RIGHTS). Each side distrusts the other:
 * wire_receive and the _valid functions check sizes, counts of descriptors, enums, and that strings
 * end and names hold no '/'. What one op does not use is zero.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/api.h"

#define WIRE_HOST_MAX 63

/* --- service and monitor, on the control socket --- */

enum wire_control_kind {
    /* from the service */
    WIRE_READY, /* listeners are up */
    WIRE_ALIVE, /* the watchdog's question was answered */
    WIRE_STOPPING,
    WIRE_SPAWN_FILER, /* `uid`, `umask`; with one end of the filer's control socket */
    WIRE_CHECK_PASSWORD, /* with one end of a socket: a wire_password waits there, a wire_verdict is
                            the answer; the monitor itself never sees the password */
    /* from the monitor */
    WIRE_STOP, /* SIGTERM or SIGINT came: end, leaving running downloads for the next start */
    WIRE_STOP_NOW, /* a second one */
    WIRE_RELOAD, /* SIGHUP */
    WIRE_CONTROL_KINDS,
};

struct wire_control {
    uint32_t kind;
    uint32_t uid;
    uint32_t umask;
};

/* --- service and PAM child, on a socket of their own: one each --- */

struct wire_password {
    char user[API_USER_MAX + 1];
    char password[API_PASSWORD_MAX + 1];
    char host[WIRE_HOST_MAX + 1]; /* the address where it came from, in numbers; may be "" */
};

enum wire_verdict_kind {
    WIRE_UNDECIDED, /* PAM could not be asked, or could not tell */
    WIRE_WRONG, /* or there is no such user */
    WIRE_RIGHT,
    WIRE_PASSWORD_EXPIRED, /* this and the next two: the password is right, but */
    WIRE_ACCOUNT_EXPIRED,
    WIRE_ACCOUNT_REFUSED,
    WIRE_VERDICTS,
};
struct wire_verdict {
    uint32_t verdict;
};

/* --- service and filer: the filer's control socket carries these, then channels --- */

/* The filer's first message, once it is the user: `error` is 0 or a negative errno. */
struct wire_hello {
    int32_t error;
    uint32_t uid;
};
/* From the service: one end of a new channel comes with it. */
struct wire_channel {
    uint32_t reserved; /* 0 */
};

/* --- on a channel: one request, one reply, in turn --- */

enum wire_op {
    WIRE_PREPARE, /* directory ("~" and "~/..." are the user's): make it if missing, see that files
                     can be made in it; the reply has it expanded, without '/' at the end, and how
                     many bytes there is room for (`size`) */
    WIRE_STAT, /* directory, name */
    /* PART is a name "NAME.XXXXXXXX.part", X a lower-case hexadecimal digit. */
    WIRE_OPEN_PART, /* directory, PART; made if missing; the reply brings the
                       descriptor, of a regular file, open for reading and writing */
    WIRE_RENAME, /* directory, PART, a regular file -> name2, which must not exist (-EEXIST) unless
                    `replace`, and never is a directory; with `has_time` its time of modification is
                    `time` then, if that can be set */
    WIRE_UNLINK, /* directory, PART; a missing one is fine. With `same` any name, but only of a
                    regular file with this `dev`, `ino` and `size` (-ESTALE) */
    WIRE_SYNC, /* directory: fsync(2) of it */
    WIRE_FIND_PART, /* directory, name: a suffix ".XXXXXXXX.part"; the reply's `name` is that of a
                       regular file that ends so, -ENOENT; -E2BIG: too many files there to look */
    WIRE_STAT_MANY, /* directory; a memory file (memfd_create(2)) comes with the request: names, each
                       followed by a NUL, and behind the last one a byte for each name, which the
                       filer sets to what is there: enum wire_kind */
    WIRE_OPS,
};

enum wire_kind {
    WIRE_NOTHING,
    WIRE_FILE, /* a regular one */
    WIRE_OTHER,
    WIRE_KINDS,
};
#define WIRE_NAMES_MAX 10000 /* of WIRE_STAT_MANY */

struct wire_request {
    uint32_t op;
    uint32_t replace;
    uint32_t same;
    uint32_t has_time;
    int64_t time; /* seconds since the epoch, with `has_time` */
    uint64_t dev, ino; /* with `same` */
    int64_t size;
    char directory[API_PATH_MAX + 1];
    char name[API_NAME_MAX + 1];
    char name2[API_NAME_MAX + 1];
};

struct wire_reply {
    int32_t error; /* 0 or a negative errno */
    uint32_t mode; /* WIRE_STAT: st_mode */
    uint64_t dev, ino; /* WIRE_STAT, WIRE_OPEN_PART */
    int64_t size;
    char directory[API_PATH_MAX + 1]; /* WIRE_PREPARE */
    char name[API_NAME_MAX + 1]; /* WIRE_FIND_PART */
};

bool wire_control_valid(const struct wire_control *message);
/* A user name without control characters, ':' or '/'; an address. */
bool wire_password_valid(const struct wire_password *message);
bool wire_verdict_valid(const struct wire_verdict *message);
bool wire_hello_valid(const struct wire_hello *message);
bool wire_name_valid(const char *name);
bool wire_request_valid(const struct wire_request *request);
bool wire_reply_valid(const struct wire_reply *reply);
/* Whether a file's name (no path) has this suffix, and something before it. */
bool wire_name_ends(const char *name, const char *suffix);

/* Sends one message, with `fd` beside it unless that is -1. Never blocks, never raises a signal. 0
 * or a negative errno (-EPIPE: the other side is gone; -EAGAIN: it has not read earlier ones). */
int wire_send(int socket, const void *message, size_t size, int fd);
/* Receives one message of exactly `size` bytes, close-on-exec descriptor included (`ret_fd` gets it
 * or -1; with NULL none may come). `timeout` in ms, -1: none. 0; -EPIPE at the end; -ETIMEDOUT;
 * -EMFILE; -EPROTO when it has another size or other descriptors (which are closed). After an error
 * the content of `message` means nothing. */
int wire_receive(int socket, void *message, size_t size, int *ret_fd, int timeout);
