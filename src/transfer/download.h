/*
 * One attempt at one URL over the network: the only user of libcurl in the service. It judges the
 * answer (status, length) and hands the bytes on; where they go is not its business. See
 * curl_easy_perform(3), libcurl-errors(3), RFC 9110.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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
    const char *proxy; /* NULL: none; the environment is never asked */
    int64_t connect_timeout; /* ms */
    int64_t stall_timeout; /* ms without a byte */
};

struct download_callbacks { /* called on the caller's thread, `data` passed through */
    /* Each HTTP response's status, those of redirects and errors too, informational ones not. */
    void (*on_response)(void *data, int status);
    /* Once, before the first byte of an accepted body, or at the end of an empty one. `total`:
     * bytes to come, -1: not known. 0 goes on; a negative errno ends the attempt with that
     * result. */
    int (*on_accept)(void *data, int64_t total);
    /* Body bytes in order. 0 goes on; a negative errno ends the attempt with that result. */
    int (*on_data)(void *data, const char *bytes, size_t len);
    /* Asked about once a second or more often: true ends the attempt with -ECANCELED. */
    bool (*cancelled)(void *data);
    void *data;
};

struct download_result {
    int http_status; /* last response (FTP: its code); 0: none came */
    int64_t bytes_done;
    int64_t bytes_total; /* -1: not known; always known of a whole body */
    const char *error_code; /* a word of the API, static; NULL on success or -ECANCELED */
    char error_message[256]; /* one sentence, no secret of the URL (userinfo, query) in it */
};

/*
 * Blocks until the body is whole (0), was cancelled (-ECANCELED), a callback refused (its errno;
 * error_code is NULL, the caller knows better) or the attempt failed (-EIO: `result` says why).
 * Redirects are followed to http and https only, at most 20. A body is accepted with status 200
 * (FTP and SFTP: any success); a whole one has as many bytes as were promised.
 */
int download_run(struct downloader *downloader, const char *url,
                 const struct download_options *options,
                 const struct download_callbacks *callbacks, struct download_result *ret_result);
