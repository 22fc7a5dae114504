/*
 * Going on with a file that is there in part: what to ask for, and whether what comes is the same
 * file. Pure (RFC 9110, 8.8, 13.1.5, 14). The last 64 KiB that are there are fetched again and
 * compared, so nothing is believed that was not seen twice.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define RESUME_OVERLAP 65536

/* What was promised with the bytes that are there. */
struct resume_known {
    int64_t have;              /* trusted bytes from the start */
    int64_t total;             /* -1: never promised: no resume */
    const char *etag;          /* or NULL */
    const char *last_modified; /* or NULL */
    bool checked;              /* a checksum tells at the end: who has as many bytes may go on */
};

struct resume_request {
    int64_t start;        /* 0: plain GET */
    const char *if_range; /* borrowed from known, or NULL */
};

/* `without_if_range`: this server (or one beside it) answered 200 though size and date were the
 * same. */
struct resume_request resume_plan(const struct resume_known *known, bool without_if_range);

/* The head of an answer. */
struct resume_head {
    int status;
    int64_t length;            /* Content-Length, -1: none */
    const char *content_range; /* or NULL */
    const char *etag;
    const char *last_modified;
    bool encoded;   /* Content-Encoding */
    bool no_ranges; /* Accept-Ranges: none */
};

enum resume_verdict {
    RESUME_WHOLE,            /* the whole file, from zero */
    RESUME_PART,             /* the wanted part of the same file, or the beginning of that part (RFC
                                9110, 15.3.7): what Content-Range says */
    RESUME_WITHOUT_IF_RANGE, /* same size and date, another ETag: ask again without If-Range */
    RESUME_CHANGED,          /* not the same file, and not all of it: ask again from zero */
    RESUME_NONSENSE,         /* breaks the protocol */
};

/* `message` says why known bytes are given up (WHOLE, CHANGED) or what is wrong (NONSENSE); else it
 * is empty. */
enum resume_verdict resume_judge(const struct resume_known *known,
                                 const struct resume_request *request,
                                 const struct resume_head *head, char message[static 128]);

/* Content-Range: "bytes FIRST-LAST/TOTAL" (total -1: "*"), or "bytes * /TOTAL" of a 416 (first and
 * last -1). False: neither. */
bool resume_parse_content_range(const char *value, int64_t *ret_first, int64_t *ret_last,
                                int64_t *ret_total);
/* A strong validator: quoted, without W/ (RFC 9110, 8.8.3). */
bool resume_etag_is_strong(const char *etag);
