/* What service and client agree on: names, limits and exit statuses of the public interface. */
#pragma once

#define API_PORT             "6736"
#define API_REALM            "autodl"
#define API_SYSTEM_DIRECTORY "/run/autodl"
#define API_SYSTEM_SOCKET    API_SYSTEM_DIRECTORY "/" API_SOCKET_NAME
#define API_SOCKET_NAME      "autodl.sock" /* in $XDG_RUNTIME_DIR */

#define API_MAX_TASKS_DEFAULT 10
#define API_MAX_TASKS_MAX     1000
#define API_PAUSE_MAX         31536000 /* seconds */
#define API_URL_MAX           8192     /* bytes, without the NUL */
#define API_PATH_MAX          4095     /* bytes, without the NUL */
#define API_NAME_MAX          255      /* bytes, without the NUL */
#define API_USER_MAX          255      /* bytes, without the NUL */
#define API_PASSWORD_MAX      511      /* bytes, without the NUL; what PAM takes */
#define API_ID_LENGTH         36       /* a UUID in text */
#define API_ID_PREFIX_MIN     4
#define API_BODY_MAX          65536 /* bytes of a classic request's body */
#define API_TASKS_MAX         10000 /* of one request to add, and of ids in one verb by filter */
#define API_PAGE_MAX          1000 /* tasks on one page of a list */
#define API_RANGES_MAX        64 /* parts of a file fetched at once */

/* How autodl ends (autodl(1), EXIT STATUS). */
enum api_exit {
    API_EXIT_DONE = 0,
    API_EXIT_REFUSED = 1,
    API_EXIT_USAGE = 2,
    API_EXIT_NO_TASK = 3,
    API_EXIT_DENIED = 4,
    API_EXIT_UNREACHABLE = 5,
    API_EXIT_TIMEOUT = 6, /* --timeout */
    API_EXIT_NO_ROOM = 7, /* every failed task failed for disk or too_large */
    API_EXIT_CHECKSUM = 8, /* every failed task failed for checksum */
    API_EXIT_INTERRUPTED = 130,
};
