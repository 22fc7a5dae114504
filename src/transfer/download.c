#include "transfer/download.h"

#include <assert.h>
#include <curl/curl.h>
#include <errno.h>
#include <inttypes.h>
#include <locale.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/cleanup.h"
#include "common/units.h"

#define RECEIVE_BUFFER (1024L * 1024)
#define REDIRECTS_MAX  20L
#define HEADERS_MAX    (256 * 1024) /* bytes, of all responses to one request */
#define DRAIN_MAX      (64 * 1024)  /* bytes of an unwanted body read to keep the connection */
#define DRAIN_TIME     2000         /* ms spent on that */

struct download_share {
    CURLSH *curl;
    locale_t locale; /* UTF-8, for the host names of other scripts; 0: not there */
    pthread_mutex_t locks[CURL_LOCK_DATA_LAST];
};

struct downloader {
    CURL *curl;
    struct download_share *share;
};

struct attempt { /* one download_run */
    CURL *curl;
    const struct download_options *options;
    const struct download_callbacks *callbacks;
    struct download_result *result;

    int stopped;           /* errno of a callback, or -ECANCELED: the attempt ends with it */
    bool http;             /* the request that runs speaks HTTP */
    bool asked;            /* the connection is there, the request is out */
    bool redirecting;      /* an answer sent us elsewhere; the next request is not out yet */
    bool accepted;         /* on_accept was called */
    char status_line[128]; /* of the response being read; "" between responses */
    size_t header_bytes;   /* since the request */
    int64_t last_byte;     /* when something came last (boottime) */
    int64_t refused_at;    /* when the answer was found to be no good (boottime) */
    int64_t drained;       /* bytes of its body */
    char curl_message[CURL_ERROR_SIZE];
};

/* Failures. The first one found is the one that is told. */

static void vfail(struct attempt *attempt, const char *word, const char *format, va_list args)
    __attribute__((format(printf, 3, 0)));
static void fail(struct attempt *attempt, const char *word, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void vfail(struct attempt *attempt, const char *word, const char *format, va_list args)
{
    struct download_result *result = attempt->result;
    if (result->error_code)
        return;
    result->error_code = word;
    attempt->refused_at = units_now_boottime();
    vsnprintf(result->error_message, sizeof result->error_message, format, args);
    for (char *c = result->error_message; *c; c++) /* it may quote the server */
        if (*c < ' ' || *c > '~')
            *c = '?';
}

static void fail(struct attempt *attempt, const char *word, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vfail(attempt, word, format, args);
    va_end(args);
}

enum detail {
    ALONE,
    PEER,      /* host and port follow the sentence */
    PEER_OS,   /* and what the system says */
    PEER_CURL, /* and what the library says */
};

static const struct failure {
    CURLcode code;
    const char *word;
    const char *sentence;
    enum detail detail;
} failures[] = {
    {CURLE_URL_MALFORMAT,            "url",       "the URL is malformed",              ALONE    },
    {CURLE_COULDNT_RESOLVE_PROXY,    "resolve",   "cannot find the proxy's address",   ALONE    },
    {CURLE_COULDNT_RESOLVE_HOST,     "resolve",   "cannot find the address of",        PEER     },
    {CURLE_COULDNT_CONNECT,          "connect",   "cannot connect to",                 PEER_OS  },
    {CURLE_PROXY,                    "connect",   "the proxy does not connect to",     PEER     },
    {CURLE_OPERATION_TIMEDOUT,       "timeout",   "could not connect in time to",      PEER     },
    {CURLE_SSL_CONNECT_ERROR,        "tls",       "no secure connection to",           PEER_CURL},
    {CURLE_PEER_FAILED_VERIFICATION, "tls",       "no secure connection to",           PEER_CURL},
    {CURLE_SSL_ISSUER_ERROR,         "tls",       "no secure connection to",           PEER_CURL},
    {CURLE_SSL_CACERT_BADFILE,       "tls",       "cannot read ca-file to check",      PEER     },
    {CURLE_USE_SSL_FAILED,           "tls",       "no secure connection to",           PEER_CURL},
    {CURLE_GOT_NOTHING,              "reset",     "no answer came from",               PEER     },
    {CURLE_SEND_ERROR,               "reset",     "lost the connection to",            PEER_OS  },
    {CURLE_RECV_ERROR,               "reset",     "lost the connection to",            PEER_OS  },
    {CURLE_PARTIAL_FILE,             "truncated", "the file ended early, coming from", PEER     },
    {CURLE_UNSUPPORTED_PROTOCOL,     "protocol",  "cannot understand the answer of",   PEER     },
    {CURLE_WEIRD_SERVER_REPLY,       "protocol",  "cannot understand the answer of",   PEER     },
    {CURLE_TOO_MANY_REDIRECTS,       "redirect",  "too many redirects, more than 20",  ALONE    },
    {CURLE_LOGIN_DENIED,             "auth",      "the login was refused by",          PEER     },
    {CURLE_REMOTE_ACCESS_DENIED,     "http",      "the file is not given out by",      PEER     },
    {CURLE_REMOTE_FILE_NOT_FOUND,    "http",      "there is no such file on",          PEER     },
    {CURLE_FTP_COULDNT_RETR_FILE,    "http",      "no readable file of that name on",  PEER     },
    {CURLE_SSH,                      "protocol",  "cannot speak SSH with",             PEER_CURL},
    {CURLE_OUT_OF_MEMORY,            "internal",  "out of memory",                     ALONE    },
};

/* "host:port" of where the attempt is now; never userinfo or query. */
static void name_peer(struct attempt *attempt, char peer[static 160])
{
    const char *url = NULL;
    char *host = NULL, *port = NULL;
    CURLU *parsed = curl_url();

    curl_easy_getinfo(attempt->curl, CURLINFO_EFFECTIVE_URL, &url);
    if (parsed && url && curl_url_set(parsed, CURLUPART_URL, url, CURLU_URLENCODE) == CURLUE_OK &&
        curl_url_get(parsed, CURLUPART_HOST, &host, CURLU_PUNYCODE) == CURLUE_OK &&
        curl_url_get(parsed, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK)
        snprintf(peer, 160, "%.140s:%s", host, port);
    else
        snprintf(peer, 160, "the server");
    curl_free(host);
    curl_free(port);
    curl_url_cleanup(parsed);
}

static const char *explain(struct attempt *attempt, CURLcode code, enum detail detail)
{
    long system_error = 0;
    curl_easy_getinfo(attempt->curl, CURLINFO_OS_ERRNO, &system_error);
    if (detail == PEER_OS && system_error != 0)
        return strerrordesc_np((int)system_error);
    return attempt->curl_message[0] ? attempt->curl_message : curl_easy_strerror(code);
}

static const struct failure *find_failure(CURLcode code)
{
    for (size_t i = 0; i < sizeof failures / sizeof *failures; i++)
        if (failures[i].code == code)
            return &failures[i];
    return NULL;
}

static void fail_by_table(struct attempt *attempt, CURLcode code)
{
    const struct failure *failure = find_failure(code);
    char peer[160];
    name_peer(attempt, peer);
    if (code == CURLE_COULDNT_CONNECT && attempt->options->proxy)
        snprintf(peer, sizeof peer, "the proxy");

    if (!failure)
        fail(attempt, "protocol", "cannot fetch the file from %s: %s", peer,
             curl_easy_strerror(code));
    else if (failure->detail == ALONE)
        fail(attempt, failure->word, "%s", failure->sentence);
    else if (failure->detail == PEER)
        fail(attempt, failure->word, "%s %s", failure->sentence, peer);
    else
        fail(attempt, failure->word, "%s %s: %s", failure->sentence, peer,
             explain(attempt, code, failure->detail));
}

static void fail_truncated(struct attempt *attempt)
{
    char peer[160];
    name_peer(attempt, peer);
    fail(attempt, "truncated", "only %" PRId64 " of %" PRId64 " bytes came from %s",
         attempt->result->bytes_done, attempt->result->bytes_total, peer);
}

/* libcurl said something other than CURLE_OK, and we had not found out why before. */
static void fail_code(struct attempt *attempt, CURLcode code)
{
    long proxy_status = 0;
    curl_easy_getinfo(attempt->curl, CURLINFO_HTTP_CONNECTCODE, &proxy_status);

    if (attempt->redirecting && (code == CURLE_UNSUPPORTED_PROTOCOL || code == CURLE_URL_MALFORMAT))
        fail(attempt, "redirect", "the server redirects to a URL that is not http or https");
    else if (proxy_status >= 300 && !attempt->asked)
        fail(attempt, "connect", "the proxy refused to connect us (status %ld)", proxy_status);
    else if (code == CURLE_PARTIAL_FILE && attempt->result->bytes_total >= 0)
        fail_truncated(attempt);
    else
        fail_by_table(attempt, code);
}

/* What libcurl calls while it runs. */

static bool stop_if_cancelled(struct attempt *attempt)
{
    if (!attempt->stopped && attempt->callbacks->cancelled(attempt->callbacks->data))
        attempt->stopped = -ECANCELED;
    return attempt->stopped != 0;
}

/* How many bytes the answer promises: -1 if it does not say. False if it contradicts itself. */
static bool promised_length(CURL *curl, int64_t *ret_length)
{
    struct curl_header *header;
    int64_t length = -1;

    if (curl_easy_header(curl, "Transfer-Encoding", 0, CURLH_HEADER, -1, &header) != CURLHE_OK) {
        for (size_t i = 0;
             curl_easy_header(curl, "Content-Length", i, CURLH_HEADER, -1, &header) == CURLHE_OK;
             i++) {
            uint64_t value;
            if (units_parse_uint(header->value, 0, INT64_MAX, &value) < 0 ||
                (length >= 0 && length != (int64_t)value))
                return false;
            length = (int64_t)value;
        }
    }
    *ret_length = length;
    return true;
}

static bool has_location(CURL *curl)
{
    struct curl_header *header;
    return curl_easy_header(curl, "Location", 0, CURLH_HEADER, -1, &header) == CURLHE_OK &&
           header->value[strspn(header->value, " \t\r\n")] != '\0';
}

static void refuse_status(struct attempt *attempt, int status)
{
    const char *answer = strchr(attempt->status_line, ' ');
    answer = answer ? answer + strspn(answer, " ") : "";

    if (status == 401 || status == 407)
        fail(attempt, "auth", "the server answered %s", answer);
    else if (status == 206)
        fail(attempt, "protocol", "the server answered with a part of the file, unasked (%s)",
             answer);
    else if (status == 301 || status == 302 || status == 303 || status == 307 || status == 308)
        fail(attempt, "redirect", "the server answered %s without saying where to go", answer);
    else
        fail(attempt, "http", "the server answered %s", answer);
}

/* The headers of a response are complete. False: nothing more of it is wanted. */
static bool judge_response(struct attempt *attempt)
{
    long status = 0;
    int64_t length;
    curl_easy_getinfo(attempt->curl, CURLINFO_RESPONSE_CODE, &status);
    if (status < 200)
        return true; /* informational: the answer is still to come */

    attempt->result->http_status = (int)status;
    attempt->callbacks->on_response(attempt->callbacks->data, (int)status);
    if (!promised_length(attempt->curl, &length)) {
        fail(attempt, "protocol", "the server sent lengths that are no numbers or not the same");
        return false;
    }
    if (status >= 300 && status < 400 && has_location(attempt->curl)) {
        attempt->redirecting = true;
        return true;
    }
    if (status == 200) {
        attempt->result->bytes_total = length;
        return true;
    }
    refuse_status(attempt, (int)status);
    return status != 206 && length <= DRAIN_MAX;
}

static size_t on_header(char *line, size_t size, size_t count, void *data)
{
    struct attempt *attempt = data;
    size_t len = size * count;

    attempt->last_byte = units_now_boottime();
    attempt->header_bytes += len;
    if (attempt->header_bytes > HEADERS_MAX) {
        fail(attempt, "protocol", "the server sent more than %d KiB of headers",
             HEADERS_MAX / 1024);
        return 0;
    }
    if (!attempt->http)
        return len;
    if (!attempt->status_line[0]) {
        snprintf(attempt->status_line, sizeof attempt->status_line, "%.*s", (int)len, line);
        attempt->status_line[strcspn(attempt->status_line, "\r\n")] = '\0';
    } else if (line[0] == '\r' || line[0] == '\n') {
        bool go_on = judge_response(attempt);
        attempt->status_line[0] = '\0';
        return go_on ? len : 0;
    }
    return len;
}

static bool accept_body(struct attempt *attempt)
{
    struct download_result *result = attempt->result;
    if (!attempt->http) {
        curl_off_t length = -1;
        curl_easy_getinfo(attempt->curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
        result->bytes_total = length;
    }
    attempt->accepted = true;
    attempt->stopped = attempt->callbacks->on_accept(attempt->callbacks->data, result->bytes_total);
    return attempt->stopped == 0;
}

static size_t on_body(char *bytes, size_t size, size_t count, void *data)
{
    struct attempt *attempt = data;
    size_t len = size * count;

    attempt->last_byte = units_now_boottime();
    if (stop_if_cancelled(attempt))
        return 0;
    if (attempt->http && attempt->result->http_status != 200)
        fail(attempt, "redirect", "the redirect of the server cannot be followed");
    if (attempt->result->error_code) {
        attempt->drained += (int64_t)len;
        return attempt->drained <= DRAIN_MAX ? len : 0;
    }
    if (len == 0)
        return 0;
    if (!attempt->accepted && !accept_body(attempt))
        return 0;
    attempt->stopped = attempt->callbacks->on_data(attempt->callbacks->data, bytes, len);
    if (attempt->stopped)
        return 0;
    attempt->result->bytes_done += (int64_t)len;
    return len;
}

/* The connection stands, the request goes out next: from here on, the stall clock runs. */
static int on_request(void *data, char *remote_ip, char *local_ip, int remote_port, int local_port)
{
    (void)remote_ip, (void)local_ip, (void)remote_port, (void)local_port;
    struct attempt *attempt = data;
    const char *scheme = NULL;

    curl_easy_getinfo(attempt->curl, CURLINFO_SCHEME, &scheme);
    attempt->http = scheme && strncasecmp(scheme, "http", 4) == 0;
    attempt->asked = true;
    attempt->redirecting = false;
    attempt->status_line[0] = '\0';
    attempt->header_bytes = 0;
    attempt->last_byte = units_now_boottime();
    return CURL_PREREQFUNC_OK;
}

static int on_tick(void *data, curl_off_t down_total, curl_off_t down, curl_off_t up_total,
                   curl_off_t up)
{
    (void)down_total, (void)down, (void)up_total, (void)up;
    struct attempt *attempt = data;
    int64_t now = units_now_boottime();

    if (stop_if_cancelled(attempt))
        return 1;
    if (attempt->result->error_code)
        return now - attempt->refused_at >= DRAIN_TIME;

    int64_t patience = attempt->options->stall_timeout;
    if (attempt->redirecting) /* the next connection may take its time */
        patience += attempt->options->connect_timeout;
    if (attempt->asked && now - attempt->last_byte >= patience) {
        char peer[160];
        name_peer(attempt, peer);
        fail(attempt, "stalled", "no byte came for %g s from %s", (double)patience / 1000, peer);
        return 1;
    }
    return 0;
}

/* Setting up. */

/* The URL with spaces and other scripts encoded, as libcurl wants it; curl_free() it. */
static char *normalise(struct attempt *attempt, const char *url)
{
    static const char *const schemes[] = {"http", "https", "ftp", "ftps", "sftp"};
    char *scheme = NULL, *normal = NULL;
    bool known = false;

    CURLU *parsed = curl_url();
    CURLUcode code =
        parsed ? curl_url_set(parsed, CURLUPART_URL, url, CURLU_URLENCODE) : CURLUE_OUT_OF_MEMORY;
    if (code == CURLUE_OK)
        code = curl_url_get(parsed, CURLUPART_SCHEME, &scheme, 0);
    if (code == CURLUE_OK)
        code = curl_url_get(parsed, CURLUPART_URL, &normal, 0);
    for (size_t i = 0; scheme && i < sizeof schemes / sizeof *schemes; i++)
        known = known || strcasecmp(scheme, schemes[i]) == 0;

    if (code == CURLUE_UNSUPPORTED_SCHEME || (code == CURLUE_OK && !known))
        fail(attempt, "scheme", "the URL must begin with http, https, ftp, ftps or sftp");
    else if (code == CURLUE_OUT_OF_MEMORY)
        fail_by_table(attempt, CURLE_OUT_OF_MEMORY);
    else if (code != CURLUE_OK)
        fail(attempt, "url", "the URL is malformed: %s", curl_url_strerror(code));
    if (attempt->result->error_code) {
        curl_free(normal);
        normal = NULL;
    }
    curl_free(scheme);
    curl_url_cleanup(parsed);
    return normal;
}

static CURLcode set_network(CURL *curl, const struct download_options *options)
{
    CURLcode failed = CURLE_OK;
    /* Refused while the handle still has the buffer of an attempt that found no address; harmless,
     * but for the speed of this one. */
    curl_easy_setopt(curl, CURLOPT_BUFFERSIZE, RECEIVE_BUFFER);
    failed |= curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    failed |= curl_easy_setopt(curl, CURLOPT_QUICK_EXIT, 1L);
    failed |= curl_easy_setopt(curl, CURLOPT_TCP_KEEPALIVE, 1L);
    failed |= curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)options->connect_timeout);
    /* Empty, not NULL: libcurl would look into the environment. */
    failed |= curl_easy_setopt(curl, CURLOPT_PROXY, options->proxy ? options->proxy : "");
    failed |= curl_easy_setopt(curl, CURLOPT_NOPROXY, "");
    failed |= curl_easy_setopt(curl, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    if (options->ca_file) {
        failed |= curl_easy_setopt(curl, CURLOPT_CAINFO, options->ca_file);
        failed |= curl_easy_setopt(curl, CURLOPT_CAPATH, NULL);
    }
    return failed;
}

static CURLcode set_protocol(CURL *curl, const char *url, const struct download_options *options)
{
    CURLcode failed = CURLE_OK;
    failed |= curl_easy_setopt(curl, CURLOPT_URL, url);
    failed |= curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https,ftp,ftps,sftp");
    failed |= curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    failed |= curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 1L);
    failed |= curl_easy_setopt(curl, CURLOPT_MAXREDIRS, REDIRECTS_MAX);
    failed |= curl_easy_setopt(curl, CURLOPT_UNRESTRICTED_AUTH, 0L);
    failed |= curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
    failed |= curl_easy_setopt(curl, CURLOPT_HTTP09_ALLOWED, 0L);
    failed |= curl_easy_setopt(curl, CURLOPT_HTTP_CONTENT_DECODING, 0L);
    failed |= curl_easy_setopt(curl, CURLOPT_USERAGENT, options->user_agent);
    /* The service's own keys and agent are not for other people's downloads. */
    failed |= curl_easy_setopt(curl, CURLOPT_SSH_AUTH_TYPES,
                               CURLSSH_AUTH_PASSWORD | CURLSSH_AUTH_KEYBOARD);
    return failed;
}

static CURLcode set_callbacks(CURL *curl, struct download_share *share, struct attempt *attempt)
{
    CURLcode failed = CURLE_OK;
    failed |= curl_easy_setopt(curl, CURLOPT_SHARE, share->curl);
    failed |= curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, attempt->curl_message);
    failed |= curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    failed |= curl_easy_setopt(curl, CURLOPT_HEADERDATA, attempt);
    failed |= curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    failed |= curl_easy_setopt(curl, CURLOPT_WRITEDATA, attempt);
    failed |= curl_easy_setopt(curl, CURLOPT_PREREQFUNCTION, on_request);
    failed |= curl_easy_setopt(curl, CURLOPT_PREREQDATA, attempt);
    failed |= curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    failed |= curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_tick);
    failed |= curl_easy_setopt(curl, CURLOPT_XFERINFODATA, attempt);
    return failed;
}

/* Running. CURLE_OK alone proves nothing. */

static int judge(struct attempt *attempt, CURLcode code)
{
    struct download_result *result = attempt->result;

    if (!attempt->http) {
        long status = 0;
        curl_easy_getinfo(attempt->curl, CURLINFO_RESPONSE_CODE, &status);
        result->http_status = (int)status;
    }
    if (!attempt->stopped && !result->error_code) {
        if (code != CURLE_OK)
            fail_code(attempt, code);
        else if (attempt->http && result->http_status != 200)
            fail(attempt, "redirect", "the redirect of the server cannot be followed");
        else if (!attempt->accepted)
            accept_body(attempt);
    }
    if (!attempt->stopped && !result->error_code && result->bytes_total >= 0 &&
        result->bytes_done != result->bytes_total)
        fail_truncated(attempt);

    if (attempt->stopped) {
        result->error_code = NULL;
        result->error_message[0] = '\0';
        return attempt->stopped;
    }
    if (result->error_code)
        return -EIO;
    result->bytes_total = result->bytes_done;
    return 0;
}

static int perform(struct downloader *downloader, struct attempt *attempt, const char *url)
{
    CURL *curl = downloader->curl;
    CURLcode code = set_network(curl, attempt->options);
    if (code == CURLE_OK)
        code = set_protocol(curl, url, attempt->options);
    if (code == CURLE_OK)
        code = set_callbacks(curl, downloader->share, attempt);
    if (code != CURLE_OK) {
        fail(attempt, "internal", "the network library refused an option");
        return -EIO;
    }
    return judge(attempt, curl_easy_perform(curl));
}

int download_run(struct downloader *downloader, const char *url,
                 const struct download_options *options, const struct download_callbacks *callbacks,
                 struct download_result *ret_result)
{
    struct download_share *share = downloader->share;
    struct attempt attempt = {
        .curl = downloader->curl,
        .options = options,
        .callbacks = callbacks,
        .result = ret_result,
    };
    *ret_result = (struct download_result){.bytes_total = -1};

    locale_t before = share->locale ? uselocale(share->locale) : (locale_t)0;
    char *normal = normalise(&attempt, url);
    int r = normal ? perform(downloader, &attempt, normal) : -EIO;
    curl_free(normal);
    curl_easy_reset(
        downloader->curl); /* keeps the connections, forgets `attempt` and the secrets */
    if (before)
        uselocale(before);
    return r;
}

int downloader_create(struct download_share *share, struct downloader **ret_downloader)
{
    _cleanup_free_ struct downloader *downloader = calloc(1, sizeof *downloader);
    if (!downloader)
        return -ENOMEM;
    downloader->share = share;
    downloader->curl = curl_easy_init();
    if (!downloader->curl)
        return -ENOMEM;
    *ret_downloader = TAKE_PTR(downloader);
    return 0;
}

void downloader_destroy(struct downloader *downloader)
{
    if (!downloader)
        return;
    curl_easy_cleanup(downloader->curl);
    free(downloader);
}

/* The share. */

static void lock_share(CURL *curl, curl_lock_data what, curl_lock_access access, void *data)
{
    (void)curl, (void)access;
    struct download_share *share = data;
    pthread_mutex_lock(&share->locks[what]);
}

static void unlock_share(CURL *curl, curl_lock_data what, void *data)
{
    (void)curl;
    struct download_share *share = data;
    pthread_mutex_unlock(&share->locks[what]);
}

static CURLSHcode set_share(struct download_share *share)
{
    CURLSHcode failed = CURLSHE_OK;
    failed |= curl_share_setopt(share->curl, CURLSHOPT_USERDATA, share);
    failed |= curl_share_setopt(share->curl, CURLSHOPT_LOCKFUNC, lock_share);
    failed |= curl_share_setopt(share->curl, CURLSHOPT_UNLOCKFUNC, unlock_share);
    failed |= curl_share_setopt(share->curl, CURLSHOPT_SHARE, CURL_LOCK_DATA_DNS);
    failed |= curl_share_setopt(share->curl, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
    return failed;
}

int download_share_create(struct download_share **ret_share)
{
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return -ENOMEM;
    struct download_share *share = calloc(1, sizeof *share);
    if (!share) {
        curl_global_cleanup();
        return -ENOMEM;
    }
    for (size_t i = 0; i < CURL_LOCK_DATA_LAST; i++)
        pthread_mutex_init(&share->locks[i], NULL);
    share->locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
    share->curl = curl_share_init();
    if (!share->curl || set_share(share) != CURLSHE_OK) {
        download_share_destroy(share);
        return -ENOMEM;
    }
    *ret_share = share;
    return 0;
}

void download_share_destroy(struct download_share *share)
{
    if (!share)
        return;
    curl_share_cleanup(share->curl);
    if (share->locale)
        freelocale(share->locale);
    for (size_t i = 0; i < CURL_LOCK_DATA_LAST; i++)
        pthread_mutex_destroy(&share->locks[i]);
    free(share);
    curl_global_cleanup();
}
