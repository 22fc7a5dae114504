#include "transfer/download.h"

#include <arpa/inet.h>
#include <assert.h>
#include <curl/curl.h>
#include <errno.h>
#include <ifaddrs.h>
#include <inttypes.h>
#include <locale.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/units.h"
#include "core/address.h"
#include "transfer/retry.h"

#define RECEIVE_BUFFER (1024L * 1024)
#define REDIRECTS_MAX  20
#define HEADERS_MAX    (256 * 1024) /* bytes, of all responses to one request */
#define DRAIN_MAX      (64 * 1024)  /* bytes of an unwanted body read to keep the connection */
#define DRAIN_TIME     2000         /* ms spent on that */
#define VALIDATOR_MAX  1024         /* bytes; a longer one is as good as none */
#define MESSAGE_MAX    sizeof(((struct download_result *)0)->error_message)

struct download_share {
    CURLSH *curl;
    locale_t locale; /* UTF-8, for the host names of other scripts; 0: not there */
    pthread_mutex_t locks[CURL_LOCK_DATA_LAST];
};

struct downloader {
    CURL *curl;
    struct download_share *share;
};

struct attempt { /* one download_run: one request, or several where redirects lead on */
    CURL *curl;
    const struct download_options *options;
    const struct download_callbacks *callbacks;
    struct download_result *result;

    CURLU *here;  /* the URL that is asked for */
    CURLU *next;  /* where the answer sends us, or NULL */
    CURLU *typed; /* the URL that somebody asked for */
    bool left;    /* a redirect led to another server: the headers for the first stay behind */
    int stopped;  /* errno of a callback, or -ECANCELED: the attempt ends with it */

    /* one request */
    bool as_typed;             /* it goes to the host and port that somebody asked for */
    bool opened;               /* a connection was tried */
    char refused[MESSAGE_MAX]; /* why one was not; "": none was refused */
    struct ip_address peer;    /* what the request went to, if not to a proxy */
    bool passive;              /* FTP: the next connection is for the file */
    bool http;                 /* it speaks HTTP */
    bool asked;                /* the connection is there, the request is out */
    bool answered;             /* the final answer's headers are complete */
    bool accepted;             /* on_head was called */
    char status_line[128];     /* of the response being read; "" between responses */
    size_t header_bytes;       /* since the request */
    int64_t last_byte;         /* when something came last (boottime) */
    int64_t unwanted_at;       /* when the answer's body was found to be of no use (boottime) */
    int64_t drained;           /* bytes of it */
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
    attempt->unwanted_at = units_now_boottime();
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
    char *host = NULL, *port = NULL;

    if (curl_url_get(attempt->here, CURLUPART_HOST, &host, CURLU_PUNYCODE) == CURLUE_OK &&
        curl_url_get(attempt->here, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK)
        snprintf(peer, 160, "%.140s:%s", host, port);
    else
        snprintf(peer, 160, "the server");
    curl_free(host);
    curl_free(port);
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

    if (attempt->refused[0] && (attempt->passive || !attempt->opened))
        fail(attempt, "address", "%s", attempt->refused);
    else if (proxy_status >= 300 && !attempt->asked)
        fail(attempt, "connect", "the proxy refused to connect us (status %ld)", proxy_status);
    else if (code == CURLE_PARTIAL_FILE && attempt->result->bytes_total >= 0)
        fail_truncated(attempt);
    else if (code == CURLE_OUT_OF_MEMORY && attempt->asked && !attempt->accepted)
        fail(attempt, "protocol",
             "the server sent a header line that is too long"); /* libcurl's word */
    else if (code == CURLE_RECV_ERROR && strstr(attempt->curl_message, "chunked"))
        fail_by_table(attempt, CURLE_WEIRD_SERVER_REPLY); /* libcurl tells it by its text alone */
    else if (code == CURLE_SSH && attempt->result->bytes_done > 0)
        fail_by_table(attempt,
                      CURLE_RECV_ERROR); /* SFTP says no more of a connection that is lost */
    else
        fail_by_table(attempt, code);
}

/* Where a connection may go. */

/* Scheme, host and port of a URL, to be freed. */
struct place {
    char *scheme, *host, *port;
};

static void place_release(struct place *place)
{
    curl_free(place->scheme);
    curl_free(place->host);
    curl_free(place->port);
}

static bool place_of(CURLU *url, struct place *place, struct address_target *ret_target)
{
    if (curl_url_get(url, CURLUPART_SCHEME, &place->scheme, 0) != CURLUE_OK ||
        curl_url_get(url, CURLUPART_HOST, &place->host, CURLU_PUNYCODE) != CURLUE_OK ||
        curl_url_get(url, CURLUPART_PORT, &place->port, CURLU_DEFAULT_PORT) != CURLUE_OK)
        return false;
    uint64_t port;
    if (units_parse_uint(place->port, 0, UINT16_MAX, &port) < 0)
        return false;
    *ret_target = (struct address_target){place->scheme, place->host, (uint16_t)port};
    return true;
}

static bool goes_as_typed(CURLU *typed, CURLU *here)
{
    _cleanup_(place_release) struct place place = {0}, other = {0};
    struct address_target target, now;
    return place_of(typed, &place, &target) && place_of(here, &other, &now) &&
           address_as_typed(&target, &now);
}

/* The kernel lets us have an address of this machine, and no other. */
static bool is_own_address(const struct ip_address *address)
{
    struct sockaddr_storage name;
    socklen_t len = address_to_socket(address, 0, &name);
    _cleanup_close_ int fd = socket(name.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    return fd >= 0 && bind(fd, (struct sockaddr *)&name, len) == 0;
}

/* An interface has it, though it be global: no firewall is in front of what listens there. bind(2)
 * may let us have any (net.ipv4.ip_nonlocal_bind). */
static bool is_here(const struct ip_address *address)
{
    struct ifaddrs *list;
    struct ip_address own;
    uint16_t port;
    bool found = false;
    if (getifaddrs(&list) < 0)
        return true;
    for (const struct ifaddrs *one = list; one && !found; one = one->ifa_next)
        found = one->ifa_addr && address_from_socket(one->ifa_addr, &own, &port) &&
                address_equal(&own, address);
    freeifaddrs(list);
    return found;
}

static bool is_listening_port(const struct address_policy *policy, uint16_t port)
{
    for (size_t i = 0; i < policy->listener_count; i++)
        if (policy->listeners[i].port == port)
            return true;
    return false;
}

static enum address_verdict judge_address(const struct attempt *attempt,
                                          const struct ip_address *address, uint16_t port)
{
    const struct address_policy *policy = attempt->options->policy;
    const struct address_question question = {
        .address = address,
        .port = port,
        .is_ours = is_listening_port(policy, port) && is_own_address(address),
        .is_here = address_kind(address) == ADDRESS_GLOBAL && is_here(address),
        .as_typed = attempt->as_typed,
        .was_global = attempt->options->was_global || attempt->result->was_global,
    };
    return address_judge(policy, &question);
}

static void explain_refusal(struct attempt *attempt, enum address_verdict verdict,
                            const struct ip_address *address, char message[static MESSAGE_MAX])
{
    char peer[160], text[ADDRESS_TEXT_MAX];
    bool is_own = address_kind(address) == ADDRESS_GLOBAL; /* others of these are not refused so */
    const char *adjective = is_own ? "this machine's own" : address_adjective(address);
    name_peer(attempt, peer);
    address_print(address, text);
    switch (verdict) {
    case ADDRESS_ALLOWED:
        break;
    case ADDRESS_NEVER:
        snprintf(message, MESSAGE_MAX, "%s is at %s, %s address, where nothing is downloaded from",
                 peer, text, adjective);
        break;
    case ADDRESS_OWN:
        snprintf(message, MESSAGE_MAX, "%s is this service itself, at %s", peer, text);
        break;
    case ADDRESS_DENIED:
        snprintf(message, MESSAGE_MAX,
                 "%s is at %s, which deny-networks in the service's configuration rules out", peer,
                 text);
        break;
    case ADDRESS_NOT_TYPED:
        snprintf(message, MESSAGE_MAX,
                 "the server redirects to %s, which is at %s, %s address; if that is meant, add "
                 "that URL itself",
                 peer, text, adjective);
        break;
    case ADDRESS_MOVED_INSIDE:
        snprintf(message, MESSAGE_MAX,
                 "%s is now at %s, %s address, and was at a public one before; if that is right, "
                 "add the URL again",
                 peer, text, adjective);
        break;
    }
}

/* True: the connection may be tried. Else `refused` says why not. A proxy is where the
 * configuration says. The file of an FTP server comes from the server itself. */
static bool may_connect(struct attempt *attempt, const struct sockaddr *socket)
{
    struct ip_address address;
    uint16_t port;
    if (attempt->options->proxy)
        return true;
    if (!address_from_socket(socket, &address, &port))
        return false;
    if (attempt->passive && !address_equal(&address, &attempt->peer)) {
        snprintf(attempt->refused, sizeof attempt->refused,
                 "the server wants to send the file from another address than its own");
        return false;
    }
    enum address_verdict verdict = judge_address(attempt, &address, port);
    if (verdict != ADDRESS_ALLOWED && !attempt->refused[0])
        explain_refusal(attempt, verdict, &address, attempt->refused);
    return verdict == ADDRESS_ALLOWED;
}

static curl_socket_t on_socket(void *data, curlsocktype purpose, struct curl_sockaddr *peer)
{
    struct attempt *attempt = data;
    if (purpose != CURLSOCKTYPE_IPCXN || !may_connect(attempt, &peer->addr))
        return CURL_SOCKET_BAD; /* libcurl tries the host's next address */
    attempt->opened = true;
    return socket(peer->family, peer->socktype | SOCK_CLOEXEC, peer->protocol);
}

/* The same for a connection that stands: it may have been made for another URL. */
static bool may_use_connection(struct attempt *attempt, const char *remote_ip, int remote_port)
{
    if (attempt->options->proxy)
        return true;
    if (!address_parse(remote_ip, &attempt->peer)) {
        fail(attempt, "internal", "the address of the connection is not known");
        return false;
    }
    enum address_verdict verdict = judge_address(attempt, &attempt->peer, (uint16_t)remote_port);
    if (verdict != ADDRESS_ALLOWED) {
        char message[MESSAGE_MAX];
        explain_refusal(attempt, verdict, &attempt->peer, message);
        fail(attempt, "address", "%s", message);
    } else if (attempt->as_typed && address_kind(&attempt->peer) == ADDRESS_GLOBAL &&
               !is_here(&attempt->peer)) {
        attempt->result->was_global = true;
    }
    return verdict == ADDRESS_ALLOWED;
}

/* RFC 6761, 6.3: this name is an address. */
static bool is_localhost(const char *host)
{
    static const char name[] = ".localhost";
    size_t len = strlen(host), name_len = sizeof name - 1;
    return strcasecmp(host, name + 1) == 0 ||
           (len > name_len && strcasecmp(host + len - name_len, name) == 0);
}

/* A proxy connects for us: of where it leads, addresses in the URL are all that can be known.
 * False: fail() was told why. */
static bool check_literal(struct attempt *attempt)
{
    _cleanup_(place_release) struct place place = {0};
    struct address_target target;
    struct ip_address address;
    if (!attempt->options->proxy || !place_of(attempt->here, &place, &target))
        return true;
    size_t len = strlen(place.host);
    if (len > 1 && place.host[len - 1] == '.')
        place.host[len - 1] = '\0';
    /* What comes of percent-encoding or another script may be an address of few numbers, which a
     * proxy understands (inet_aton(3)). */
    struct in_addr v4;
    char text[INET_ADDRSTRLEN];
    bool is_v4 = inet_aton(place.host, &v4) && inet_ntop(AF_INET, &v4, text, sizeof text);
    if (!address_parse(is_localhost(place.host) ? "127.0.0.1"
                       : is_v4                  ? text
                                                : place.host,
                       &address))
        return true;
    enum address_verdict verdict = judge_address(attempt, &address, target.port);
    if (verdict == ADDRESS_ALLOWED)
        return true;
    char message[MESSAGE_MAX];
    explain_refusal(attempt, verdict, &address, message);
    fail(attempt, "address", "%s", message);
    return false;
}

/* SFTP: nobody is there to ask, so a key that is not known is no key. */
static int on_host_key(CURL *curl, const struct curl_khkey *known, const struct curl_khkey *found,
                       enum curl_khmatch match, void *data)
{
    (void)curl, (void)known, (void)found;
    struct attempt *attempt = data;
    const char *file =
        attempt->options->known_hosts ? attempt->options->known_hosts : "known-hosts";
    _cleanup_(place_release) struct place place = {0};
    struct address_target target = {.host = "HOST", .port = 22};
    if (match == CURLKHMATCH_OK)
        return CURLKHSTAT_FINE;
    place_of(attempt->here, &place, &target);
    if (match == CURLKHMATCH_MISMATCH)
        fail(attempt, "tls",
             "the host key of %.80s is not the one in %.80s: somebody may be in between; if it was "
             "changed on purpose, an administrator has to replace it there",
             target.host, file);
    else
        fail(attempt, "tls",
             "the host key of %.80s is not in %.80s; an administrator can add it: ssh-keyscan -p "
             "%u %.80s >>%.80s",
             target.host, file, target.port, target.host, file);
    return CURLKHSTAT_REJECT;
}

/* What libcurl calls while it runs. */

static bool stop_if_cancelled(struct attempt *attempt)
{
    if (!attempt->stopped && attempt->callbacks->cancelled(attempt->callbacks->data))
        attempt->stopped = -ECANCELED;
    return attempt->stopped != 0;
}

/* The `index`th header of that name in the last answer, or NULL. */
static const char *find_header(CURL *curl, const char *name, size_t index)
{
    struct curl_header *header;
    return curl_easy_header(curl, name, index, CURLH_HEADER, -1, &header) == CURLHE_OK
               ? header->value
               : NULL;
}

/* The only one that we understand and that needs no asking. */
static bool is_plainly_chunked(CURL *curl)
{
    const char *coding = find_header(curl, "Transfer-Encoding", 0);
    return strcasecmp(coding, "chunked") == 0 && !find_header(curl, "Transfer-Encoding", 1);
}

/* How many bytes the answer promises: -1 if it does not say. False if it contradicts itself. */
static bool promised_length(CURL *curl, int64_t *ret_length)
{
    int64_t length = -1;
    const char *text;

    if (!find_header(curl, "Transfer-Encoding", 0)) {
        for (size_t i = 0; (text = find_header(curl, "Content-Length", i)); i++) {
            uint64_t value;
            if (units_parse_uint(text, 0, INT64_MAX, &value) < 0 ||
                (length >= 0 && length != (int64_t)value))
                return false;
            length = (int64_t)value;
        }
    }
    *ret_length = length;
    return true;
}

static int64_t asked_patience(CURL *curl)
{
    const char *after = find_header(curl, "Retry-After", 0);
    return after ? retry_parse_after(after, units_now_realtime()) : -1;
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

static bool same_part(CURLU *one, CURLU *other, CURLUPart part)
{
    char *left = NULL, *right = NULL;
    bool same = curl_url_get(one, part, &left, CURLU_DEFAULT_PORT) == CURLUE_OK &&
                curl_url_get(other, part, &right, CURLU_DEFAULT_PORT) == CURLUE_OK &&
                strcasecmp(left, right) == 0;
    curl_free(left);
    curl_free(right);
    return same;
}

static bool same_server(CURLU *one, CURLU *other)
{
    return same_part(one, other, CURLUPART_SCHEME) && same_part(one, other, CURLUPART_HOST) &&
           same_part(one, other, CURLUPART_PORT);
}

static bool copy_part(CURLU *from, CURLU *to, CURLUPart part)
{
    char *text = NULL;
    CURLUcode code = curl_url_get(from, part, &text, 0);
    if (code == CURLUE_OK)
        code = curl_url_set(to, part, text, 0);
    curl_free(text);
    return code != CURLUE_OUT_OF_MEMORY; /* not having that part is fine */
}

/* What was given in the URL to log in with, there, is good for that server's other URLs. */
static bool keep_login(CURLU *from, CURLU *to)
{
    char *user = NULL;
    bool has_own = curl_url_get(to, CURLUPART_USER, &user, 0) == CURLUE_OK;
    curl_free(user);
    return has_own ||
           (copy_part(from, to, CURLUPART_USER) && copy_part(from, to, CURLUPART_PASSWORD));
}

static bool is_web(CURLU *url)
{
    char *scheme = NULL;
    bool web = curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
               (strcasecmp(scheme, "http") == 0 || strcasecmp(scheme, "https") == 0);
    curl_free(scheme);
    return web;
}

/* libcurl would follow by itself, but take all headers along, wherever it leads. */
static void redirect(struct attempt *attempt, const char *location)
{
    CURLU *next = curl_url_dup(attempt->here);
    CURLUcode code =
        next ? curl_url_set(next, CURLUPART_URL, location, CURLU_URLENCODE) : CURLUE_OUT_OF_MEMORY;
    bool same = code == CURLUE_OK && same_server(attempt->here, next);

    if (code == CURLUE_OUT_OF_MEMORY || (same && !keep_login(attempt->here, next)))
        fail_by_table(attempt, CURLE_OUT_OF_MEMORY);
    else if (code != CURLUE_OK || !is_web(next))
        fail(attempt, "redirect", "the server redirects to a URL that is not http or https");
    else
        attempt->next = TAKE_PTR(next);
    attempt->left = attempt->left || !same;
    attempt->unwanted_at = units_now_boottime();
    curl_url_cleanup(next);
}

/* Whether on_head is asked about an answer with this status. */
static bool may_be_wanted(const struct attempt *attempt, int status)
{
    return status == 200 || (attempt->options->start > 0 && (status == 206 || status == 416));
}

/* The headers of a response are complete. False: nothing more of it is wanted. */
static bool judge_response(struct attempt *attempt)
{
    CURL *curl = attempt->curl;
    struct download_result *result = attempt->result;
    long status = 0;
    int64_t length;
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    if (status < 200)
        return true; /* informational: the answer is still to come */

    attempt->answered = true;
    result->http_status = (int)status;
    result->retry_after = asked_patience(curl);
    result->elsewhere = !same_part(attempt->typed, attempt->here, CURLUPART_HOST);
    attempt->callbacks->on_response(attempt->callbacks->data, (int)status);
    if (!promised_length(curl, &length)) {
        fail(attempt, "protocol", "the server sent lengths that are no numbers or not the same");
        return false;
    }
    if (find_header(curl, "Transfer-Encoding", 0) && !is_plainly_chunked(curl)) {
        fail(attempt, "protocol", "the server sent a transfer encoding that was not asked for");
        return false;
    }
    if (may_be_wanted(attempt, (int)status)) {
        result->bytes_total = status == 416 ? -1 : length;
        return true;
    }
    const char *location = find_header(curl, "Location", 0);
    if (status >= 300 && status < 400 && location && location[strspn(location, " \t")])
        redirect(attempt, location);
    else
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
    if (!attempt->http && len > 3 && (memcmp(line, "227", 3) == 0 || memcmp(line, "229", 3) == 0))
        attempt->passive = true;
    if (!attempt->http || attempt->answered) /* then it is a trailer */
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

/* A header that is stored and sent back one day: NULL if it is not fit for that. */
static const char *find_validator(CURL *curl, const char *name)
{
    const char *value = find_header(curl, name, 0);
    size_t len = value ? strlen(value) : 0;
    if (len == 0 || len > VALIDATOR_MAX)
        return NULL;
    for (const char *c = value; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            return NULL;
    return value;
}

static bool is_encoded(CURL *curl)
{
    const char *coding;
    for (size_t i = 0; (coding = find_header(curl, "Content-Encoding", i)); i++)
        if (coding[0] && strcasecmp(coding, "identity") != 0)
            return true;
    return false;
}

static bool refuses_ranges(CURL *curl)
{
    const char *ranges = find_header(curl, "Accept-Ranges", 0);
    return ranges && strcasecmp(ranges, "none") == 0;
}

/* The file's time, as HTTP would have told it; NULL if it is not known. */
static const char *find_time(CURL *curl, char text[static 64])
{
    curl_off_t seconds = -1;
    curl_easy_getinfo(curl, CURLINFO_FILETIME_T, &seconds);
    time_t time = seconds;
    struct tm parts;
    if (seconds < 0 || !gmtime_r(&time, &parts))
        return NULL;
    return strftime(text, 64, "%a, %d %b %Y %H:%M:%S GMT", &parts) > 0 ? text : NULL;
}

static void ask_about_http(struct attempt *attempt)
{
    CURL *curl = attempt->curl;
    int status = attempt->result->http_status;
    const struct download_head head = {
        .status = status,
        .length = attempt->result->bytes_total,
        .content_range = find_header(curl, "Content-Range", 0),
        .etag = find_validator(curl, "ETag"),
        .last_modified = find_validator(curl, "Last-Modified"),
        .disposition = find_header(curl, "Content-Disposition", 0),
        .encoded = is_encoded(curl),
        .no_ranges = refuses_ranges(curl),
    };
    attempt->stopped = attempt->callbacks->on_head(attempt->callbacks->data, &head);
    if (!attempt->stopped && status == 416)
        fail(attempt, "http", "the server answered that it does not have the rest of the file");
}

static void ask_about_file(struct attempt *attempt, int64_t length)
{
    char time[64];
    const struct download_head head = {
        .length = length,
        .last_modified = find_time(attempt->curl, time),
    };
    attempt->stopped = attempt->callbacks->on_head(attempt->callbacks->data, &head);
}

/* Whether the body is wanted. */
static bool accept_body(struct attempt *attempt)
{
    attempt->accepted = true;
    if (attempt->http) {
        ask_about_http(attempt);
    } else {
        curl_off_t length = -1;
        curl_easy_getinfo(attempt->curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
        attempt->result->bytes_total = length;
        ask_about_file(attempt, length);
    }
    return !attempt->stopped && !attempt->result->error_code;
}

static size_t drain(struct attempt *attempt, size_t len)
{
    attempt->drained += (int64_t)len;
    return attempt->drained <= DRAIN_MAX ? len : 0;
}

static size_t on_body(char *bytes, size_t size, size_t count, void *data)
{
    struct attempt *attempt = data;
    size_t len = size * count;

    attempt->last_byte = units_now_boottime();
    if (!attempt->accepted && stop_if_cancelled(attempt))
        return 0;
    if (attempt->unwanted_at)
        return drain(attempt, len);
    if (len == 0)
        return 0;
    if (!attempt->accepted && !accept_body(attempt))
        return attempt->stopped ? 0 : drain(attempt, len);
    attempt->stopped = attempt->callbacks->on_data(attempt->callbacks->data, bytes, len);
    attempt->last_byte = units_now_boottime(); /* it may have been we who waited */
    if (attempt->stopped)
        return 0;
    attempt->result->bytes_done += (int64_t)len;
    return stop_if_cancelled(attempt) ? 0 : len; /* what is here is kept first */
}

/* The connection stands, the request goes out next: from here on, the stall clock runs. */
static int on_request(void *data, char *remote_ip, char *local_ip, int remote_port, int local_port)
{
    (void)local_ip, (void)local_port;
    struct attempt *attempt = data;
    const char *scheme = NULL;

    attempt->passive = false;
    if (!may_use_connection(attempt, remote_ip, remote_port))
        return CURL_PREREQFUNC_ABORT;
    curl_easy_getinfo(attempt->curl, CURLINFO_SCHEME, &scheme);
    attempt->http = scheme && strncasecmp(scheme, "http", 4) == 0;
    attempt->asked = true;
    attempt->answered = false;
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
    if (attempt->unwanted_at)
        return now - attempt->unwanted_at >= DRAIN_TIME;

    int64_t patience = attempt->options->stall_timeout;
    if (attempt->asked && now - attempt->last_byte >= patience) {
        char peer[160];
        name_peer(attempt, peer);
        fail(attempt, "stalled", "no byte came for %g s from %s", (double)patience / 1000, peer);
        return 1;
    }
    return 0;
}

/* Setting up. */

/* Spaces and other scripts get encoded, as libcurl wants it. False: fail() was told why. */
static bool parse_url(struct attempt *attempt, const char *url)
{
    static const char *const schemes[] = {"http", "https", "ftp", "ftps", "sftp"};
    char *scheme = NULL;
    bool known = false;

    attempt->here = curl_url();
    CURLUcode code = attempt->here
                         ? curl_url_set(attempt->here, CURLUPART_URL, url, CURLU_URLENCODE)
                         : CURLUE_OUT_OF_MEMORY;
    if (code == CURLUE_OK)
        code = curl_url_get(attempt->here, CURLUPART_SCHEME, &scheme, 0);
    for (size_t i = 0; scheme && i < sizeof schemes / sizeof *schemes; i++)
        known = known || strcasecmp(scheme, schemes[i]) == 0;
    curl_free(scheme);

    if (code == CURLUE_UNSUPPORTED_SCHEME || (code == CURLUE_OK && !known))
        fail(attempt, "scheme", "the URL must begin with http, https, ftp, ftps or sftp");
    else if (code == CURLUE_OUT_OF_MEMORY)
        fail_by_table(attempt, CURLE_OUT_OF_MEMORY);
    else if (code != CURLUE_OK)
        fail(attempt, "url", "the URL is malformed: %s", curl_url_strerror(code));
    else if (!(attempt->typed = curl_url_dup(attempt->here)))
        fail_by_table(attempt, CURLE_OUT_OF_MEMORY);
    return !attempt->result->error_code;
}

/* Fails for want of memory alone; `list` stays whole then. */
static bool add_header(struct curl_slist **list, const char *line)
{
    struct curl_slist *longer = curl_slist_append(*list, line);
    if (longer)
        *list = longer;
    return longer != NULL;
}

static bool is_ours(const char *line)
{
    return strncasecmp(line, "Range:", 6) == 0 || strncasecmp(line, "If-Range:", 9) == 0;
}

/* The caller's lines, but for those on ranges: what is asked for is our business. */
static bool add_lines(struct curl_slist **list, const char *lines)
{
    _cleanup_free_ char *copy = strdup(lines);
    if (!copy)
        return false;
    for (char *rest = copy, *line; (line = strsep(&rest, "\n"));) {
        line[strcspn(line, "\r")] = '\0';
        if (line[0] && !is_ours(line) && !add_header(list, line))
            return false;
    }
    return true;
}

/* CURLOPT_RESUME_FROM would make libcurl judge the answer, and not well. */
static bool add_range(struct curl_slist **list, const struct download_options *options)
{
    _cleanup_free_ char *condition = NULL;
    char range[64];
    int len = snprintf(range, sizeof range, "Range: bytes=%" PRId64 "-", options->start);
    if (options->end > 0)
        snprintf(range + len, sizeof range - (size_t)len, "%" PRId64, options->end - 1);
    if (options->if_range && asprintf(&condition, "If-Range: %s", options->if_range) < 0) {
        condition = NULL;
        return false;
    }
    return add_header(list, range) && (!condition || add_header(list, condition));
}

/* What to send along; curl_slist_free_all() it. False: no memory. */
static bool make_headers(const struct attempt *attempt, struct curl_slist **ret_list)
{
    const struct download_options *options = attempt->options;
    struct curl_slist *list = NULL;

    if ((options->start > 0 && !add_range(&list, options)) ||
        (options->headers && !attempt->left && !add_lines(&list, options->headers))) {
        curl_slist_free_all(list);
        return false;
    }
    *ret_list = list;
    return true;
}

/* FTP, unless a proxy speaks HTTP for it, or SFTP. */
static bool is_file_protocol(CURLU *url, const char *proxy)
{
    char *scheme = NULL;
    bool by_proxy = proxy && strncasecmp(proxy, "socks", 5) != 0;
    bool is_file = !is_web(url) && curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
                   !(by_proxy && strcasecmp(scheme, "ftp") == 0);
    curl_free(scheme);
    return is_file;
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
        failed |= curl_easy_setopt(curl, CURLOPT_PROXY_CAINFO, options->ca_file);
        failed |= curl_easy_setopt(curl, CURLOPT_PROXY_CAPATH, NULL);
    }
    return failed;
}

static CURLcode set_protocol(CURL *curl, const struct download_options *options)
{
    CURLcode failed = CURLE_OK;
    failed |= curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https,ftp,ftps,sftp");
    failed |= curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
    failed |= curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
    failed |= curl_easy_setopt(curl, CURLOPT_HTTP09_ALLOWED, 0L);
    failed |= curl_easy_setopt(curl, CURLOPT_HTTP_CONTENT_DECODING, 0L);
    failed |= curl_easy_setopt(curl, CURLOPT_USERAGENT, options->user_agent);
    failed |= curl_easy_setopt(curl, CURLOPT_HEADEROPT, (long)CURLHEADER_SEPARATE);
    failed |= curl_easy_setopt(curl, CURLOPT_FILETIME, 1L);
    /* The service's own keys and agent are not for other people's downloads. */
    failed |= curl_easy_setopt(curl, CURLOPT_SSH_AUTH_TYPES,
                               CURLSSH_AUTH_PASSWORD | CURLSSH_AUTH_KEYBOARD);
    /* Without a file libcurl would not look at the server's key at all. */
    failed |= curl_easy_setopt(curl, CURLOPT_SSH_KNOWNHOSTS,
                               options->known_hosts ? options->known_hosts : "/dev/null");
    failed |= curl_easy_setopt(curl, CURLOPT_FTP_SKIP_PASV_IP, 1L);
    return failed;
}

/* Within the server that it is for, and unless the URL has its own. */
static CURLcode set_login(const struct attempt *attempt)
{
    const struct download_options *options = attempt->options;
    CURLcode failed = CURLE_OK;
    char *user = NULL;
    bool has_own = curl_url_get(attempt->here, CURLUPART_USER, &user, 0) == CURLUE_OK;
    curl_free(user);
    if (has_own || attempt->left || !options->username)
        return CURLE_OK;
    failed |= curl_easy_setopt(attempt->curl, CURLOPT_USERNAME, options->username);
    failed |= curl_easy_setopt(attempt->curl, CURLOPT_PASSWORD,
                               options->password ? options->password : "");
    return failed;
}

/* What is asked for; `headers` must live until it was. */
static CURLcode set_request(struct attempt *attempt, struct curl_slist *headers)
{
    CURL *curl = attempt->curl;
    const struct download_options *options = attempt->options;
    CURLcode failed = CURLE_OK;
    char *url = NULL;
    if (curl_url_get(attempt->here, CURLUPART_URL, &url, 0) != CURLUE_OK)
        return CURLE_OUT_OF_MEMORY;
    failed |= curl_easy_setopt(curl, CURLOPT_URL, url);
    failed |= curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    if (is_file_protocol(attempt->here, options->proxy))
        failed |= curl_easy_setopt(curl, CURLOPT_RESUME_FROM_LARGE, (curl_off_t)options->start);
    curl_free(url);
    return failed | set_login(attempt);
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
    failed |= curl_easy_setopt(curl, CURLOPT_OPENSOCKETFUNCTION, on_socket);
    failed |= curl_easy_setopt(curl, CURLOPT_OPENSOCKETDATA, attempt);
    failed |= curl_easy_setopt(curl, CURLOPT_SSH_KEYFUNCTION, on_host_key);
    failed |= curl_easy_setopt(curl, CURLOPT_SSH_KEYDATA, attempt);
    failed |= curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    failed |= curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_tick);
    failed |= curl_easy_setopt(curl, CURLOPT_XFERINFODATA, attempt);
    return failed;
}

/* Running. CURLE_OK alone proves nothing. */

/* FTP: the server cannot begin in the middle, or the file is shorter than that by now. */
static bool has_no_such_rest(const struct attempt *attempt, CURLcode code)
{
    return !attempt->http && attempt->options->start > 0 &&
           (code == CURLE_FTP_COULDNT_USE_REST || code == CURLE_BAD_DOWNLOAD_RESUME);
}

static void judge_end(struct attempt *attempt, CURLcode code)
{
    struct download_result *result = attempt->result;

    if (has_no_such_rest(attempt, code) && !attempt->accepted)
        ask_about_file(attempt, -1);
    if (attempt->stopped || result->error_code)
        return;
    if (code != CURLE_OK)
        fail_code(attempt, code);
    else if (attempt->http && !attempt->answered)
        fail_by_table(attempt, CURLE_GOT_NOTHING);
    else if ((attempt->accepted || accept_body(attempt)) && result->bytes_total >= 0 &&
             result->bytes_done != result->bytes_total)
        fail_truncated(attempt);
}

static int judge(struct attempt *attempt, CURLcode code)
{
    struct download_result *result = attempt->result;

    if (!attempt->http && !is_web(attempt->here)) {
        long status = 0;
        curl_easy_getinfo(attempt->curl, CURLINFO_RESPONSE_CODE, &status);
        result->http_status = (int)status;
    }
    judge_end(attempt, code);
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

/* One request. False: it could not be made; fail() was told why. */
static bool perform(struct attempt *attempt, struct download_share *share, CURLcode *ret_code)
{
    CURL *curl = attempt->curl;
    struct curl_slist *headers;
    attempt->as_typed = goes_as_typed(attempt->typed, attempt->here);
    if (!check_literal(attempt))
        return false;
    if (!make_headers(attempt, &headers)) {
        fail_by_table(attempt, CURLE_OUT_OF_MEMORY);
        return false;
    }
    curl_easy_reset(curl); /* keeps the connections, forgets what the last request was given */
    CURLcode code = set_network(curl, attempt->options);
    if (code == CURLE_OK)
        code = set_protocol(curl, attempt->options);
    if (code == CURLE_OK)
        code = set_callbacks(curl, share, attempt);
    if (code == CURLE_OK)
        code = set_request(attempt, headers);
    if (code == CURLE_OK)
        *ret_code = curl_easy_perform(curl);
    else
        fail(attempt, "internal", "the network library refused an option");
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, NULL);
    curl_slist_free_all(headers);
    return code == CURLE_OK;
}

/* On to where the answer sent us. */
static void go_to_next(struct attempt *attempt)
{
    curl_url_cleanup(attempt->here);
    attempt->here = TAKE_PTR(attempt->next);
    attempt->http = attempt->asked = attempt->answered = false;
    attempt->opened = attempt->passive = false;
    attempt->refused[0] = '\0';
    attempt->unwanted_at = 0;
    attempt->drained = 0;
    attempt->curl_message[0] = '\0';
}

static int run(struct attempt *attempt, struct download_share *share)
{
    CURLcode code = CURLE_OK;
    for (int redirects = 0;; redirects++) {
        if (!perform(attempt, share, &code))
            return -EIO;
        if (!attempt->next || attempt->stopped)
            return judge(attempt, code);
        if (redirects == REDIRECTS_MAX) {
            fail(attempt, "redirect", "too many redirects, more than %d", REDIRECTS_MAX);
            return -EIO;
        }
        go_to_next(attempt);
    }
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
    *ret_result = (struct download_result){.bytes_total = -1, .retry_after = -1};

    locale_t before = share->locale ? uselocale(share->locale) : (locale_t)0;
    int r = parse_url(&attempt, url) ? run(&attempt, share) : -EIO;
    curl_easy_reset(downloader->curl); /* forgets `attempt` and the secrets */
    curl_url_cleanup(attempt.here);
    curl_url_cleanup(attempt.next);
    curl_url_cleanup(attempt.typed);
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
