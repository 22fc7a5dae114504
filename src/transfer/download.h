/*
 * One attempt at one URL over the network: the only user of libcurl in the service. It judges the
 * answer (status, length) and hands the bytes on; where they go is not its business. See
 * curl_easy_perform(3), libcurl-errors(3), RFC 9110.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct address_policy;
struct downloader; /* one easy handle, reused; belongs to one thread */
struct download_share; /* DNS answers and TLS sessions, shared by all downloaders */

/* Once per process, before any thread uses curl. SIGPIPE must be ignored: TLS writes to sockets
 * without MSG_NOSIGNAL. 0 or -ENOMEM. */
int download_share_create(struct download_share **ret_share);
void download_share_destroy(struct download_share *share);
int downloader_create(struct download_share *share, struct downloader **ret_downloader);
void downloader_destroy(struct downloader *downloader);

struct download_options { /* all borrowed for the call */
    const char *user_agent;
    const char *ca_file; /* NULL: the system's */
    const char *known_hosts; /* host keys for SFTP; NULL: none is known */
    const char *proxy; /* NULL: none; the environment is never asked */
    const struct address_policy *policy; /* where nobody may go */
    bool was_global; /* the URL's host had a global address in an earlier attempt */
    int64_t connect_timeout; /* ms */
    int64_t stall_timeout; /* ms without a byte */
    const char *headers; /* "Name: value\n"... to send along, or NULL. A redirect to another
                            scheme, host or port leaves them behind for good; Range and If-Range
                            are not taken from here */
    const char *username; /* to log in with, left behind likewise; NULL: what the URL says */
    const char *password; /* may be NULL */
    int64_t start; /* > 0: ask for the bytes from here on (Range; FTP: REST) */
    int64_t end;          /* > 0, with `start`, HTTP alone: up to the byte before this one */
    const char *if_range; /* with `start`: the validator, or NULL */
};

/* The head of an answer; strings live as long as the callback. */
struct download_head {
    int status; /* 0: not HTTP */
    int64_t length; /* bytes to come, -1: not known */
    const char *content_range; /* these are NULL when absent */
    const char *etag; /* NULL, too, if it is not fit to be kept: too long, control bytes */
    const char *last_modified; /* FTP: made from MDTM, if it was told */
    const char *disposition; /* Content-Disposition */
    bool encoded; /* Content-Encoding, not asked for */
    bool no_ranges; /* Accept-Ranges: none */
};

struct download_callbacks { /* called on the caller's thread, `data` passed through */
    /* Each HTTP response's status, those of redirects and errors too, informational ones not. */
    void (*on_response)(void *data, int status);
    /* Once, for a 200, for a 206 or 416 that was asked for with `start`, or when FTP or SFTP
     * begins (or cannot begin at `start`: length -1): is that what was wanted? Before the first
     * byte, or at the end of an empty body. 0 goes on (a 416 fails then); a negative errno ends the
     * attempt with that result. */
    int (*on_head)(void *data, const struct download_head *head);
    /* Body bytes in order. 0 goes on; a negative errno ends the attempt with that result. */
    int (*on_data)(void *data, const char *bytes, size_t len);
    /* Asked about once a second or more often: true ends the attempt with -ECANCELED. */
    bool (*cancelled)(void *data);
    void *data;
};

struct download_result {
    int http_status; /* last response (FTP: its code); 0: none came */
    int64_t bytes_done; /* of this attempt's body */
    int64_t bytes_total; /* of this attempt's body; -1: not known; always known of a whole one */
    int64_t retry_after; /* ms, as the server asked (clamped, retry.h); -1: it did not */
    bool elsewhere; /* that came from another host than the URL's */
    bool was_global; /* the URL's host has a global address, and was reached there */
    int disk_error; /* the negative errno behind the code "disk", or 0 */
    const char *error_code; /* a word of the API, static; NULL on success or -ECANCELED */
    char error_message[400]; /* one sentence, no secret of the URL (userinfo, query) in it */
};

/*
 * Blocks until the body is whole (0), was cancelled (-ECANCELED), a callback refused (its errno;
 * error_code is NULL, the caller knows better) or the attempt failed (-EIO: `result` says why).
 * Redirects are followed to http and https only, at most 20; a login in the URL goes along within
 * one server. Each connection, one that is used again too, is held against the policy on addresses
 * (core/address.h): what is not global is reached only where the URL itself names host and port.
 * With a proxy that is asked of addresses in URLs alone. A body is accepted with status 200, or what on_head says of 206 (FTP and SFTP: any
 * success); a whole one has as many bytes as were promised.
 */
int download_run(struct downloader *downloader, const char *url,
                 const struct download_options *options,
                 const struct download_callbacks *callbacks, struct download_result *ret_result);
