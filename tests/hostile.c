#include "hostile.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "content.h"

#define SIZE_DEFAULT  100000
#define REQUEST_MAX   16384
#define HEAD_MAX      (256 * 1024)
#define BLOCK         16384
#define SEND_BUFFER   32768 /* so that "sent" is not far from "received" */
#define EXCUSED_TIME  1500  /* ms */
#define EXCUSED_BYTES 65536
#define SAMPLE_EVERY  5 /* ms */
#define SAMPLES       (EXCUSED_TIME / SAMPLE_EVERY + 2)
#define SIZE_CHANGE   1000 /* bytes by which `changes=size` does */
#define LENGTH_LIE    5000 /* bytes by which Content-Length does */
#define PORTION       100000
#define FLOOD_BYTES   (64 * 1024 * 1024)
#define VALUE_MAX     2048

enum framing {
    FRAMED_BY_LENGTH,
    FRAMED_BY_CHUNKS,
    FRAMED_BY_CLOSE,
};

enum ending {
    ENDS_WELL,
    ENDS_CLOSED,
    ENDS_RESET,
    ENDS_STALLED,
    ENDS_UNCHUNKED, /* what should be a chunk's size is none */
};

/* What the URL says. */
struct script {
    char path[512]; /* without the query */
    char action[32], then[32];
    uint64_t size, rate, at, times, hops, status;
    bool times_given, at_given;
    char changes[64], etag[16], date[16], ranges[16], retry_after[64];
    char disposition[VALUE_MAX];
};

struct resource {
    struct resource *next;
    struct hostile_count count;
    unsigned char *seen; /* a bit for each byte that was ever sent, ... */
    uint64_t seen_size;  /* ... of so many */
    uint64_t lost; /* what may be once there is another request */
    char path[];
};

struct connection {
    struct connection *next;
    struct hostile *hostile;
    int fd;
    struct resource *serves; /* or NULL; protected by the lock */
};

struct hostile {
    /* immutable */
    int fd, stop_fd;
    unsigned port;
    pthread_t acceptor;

    pthread_mutex_t lock;
    pthread_cond_t ended; /* a connection did */
    /* protected by lock */
    struct resource *resources;
    struct connection *connections;
    bool hurries; /* no rates */
    int shows;    /* this version, -1: as the URL says */
    unsigned max_running;
};

/* One request and what is answered. */
struct reply {
    struct connection *connection;
    struct resource *resource;
    struct script script;
    unsigned number; /* of the request, from 1 */
    int shows;
    unsigned version;
    bool acts;    /* the action applies */
    bool partial; /* the request is for a range that we give */
    char range_header[128], if_range[256];

    int status;
    uint64_t total;      /* of the file in this version */
    uint64_t first, end; /* what is sent */
    uint64_t stop;       /* where it ends badly */
    int64_t declared;    /* Content-Length */
    uint64_t surplus;    /* bytes sent after the end */
    enum framing framing;
    enum ending ending;
    char content_range[128]; /* "": none */
    char location[600];
    char extra[512]; /* header lines, each with its end */
    bool bomb, long_header;

    struct sample {
        int64_t at;
        uint64_t sent;
    } samples[SAMPLES]; /* a ring */
    unsigned sample_count;
    uint64_t sent; /* body bytes */
};

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* --- contents --- */

/* A gzip stream that begins and does not end: one block of zeros, 258 of them in 13 bits (a copy of
 * length 258 from distance 1 in fixed Huffman codes, RFC 1951), so 20 KB make 3 MB. */
static void fill_bomb(uint64_t pos, char *data, size_t len)
{
    static const unsigned char head[] = {0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3};
    /* BFINAL 0, BTYPE 01, literal 0 (00110000), then (11000101 00000) again and again */
    static const char start[] = "01000110000", zeros[] = "1100010100000";
    for (size_t i = 0; i < len; i++) {
        uint64_t at = pos + i, bit = at < sizeof(head) ? 0 : (at - sizeof(head)) * 8;
        unsigned value = at < sizeof(head) ? head[at] : 0;
        for (unsigned k = 0; k < 8 && at >= sizeof(head); k++, bit++) {
            uint64_t first = sizeof(start) - 1;
            char digit = bit < first ? start[bit] : zeros[(bit - first) % (sizeof(zeros) - 1)];
            value |= (unsigned)(digit == '1') << k;
        }
        data[i] = (char)value;
    }
}

/* --- the script --- */

static void copy_text(char *to, size_t size, const char *from, size_t len)
{
    snprintf(to, size, "%.*s", (int)len, from);
}

/* Percent-decoded; a NUL stays "%00". */
static void copy_decoded(char *to, size_t size, const char *from)
{
    size_t len = 0;
    unsigned value;
    while (*from && len + 1 < size) {
        bool coded = *from == '%' && sscanf(from + 1, "%2x", &value) == 1 && value > 0;
        to[len++] = coded ? (char)value : *from;
        from += coded ? 3 : 1;
    }
    to[len] = '\0';
}

static void parse_value(struct script *script, const char *key, const char *value)
{
    struct {
        const char *key;
        uint64_t *number;
        char *text;
        size_t size;
    } keys[] = {
        {"size",        &script->size,   NULL,                0                          },
        {"rate",        &script->rate,   NULL,                0                          },
        {"at",          &script->at,     NULL,                0                          },
        {"times",       &script->times,  NULL,                0                          },
        {"hops",        &script->hops,   NULL,                0                          },
        {"status",      &script->status, NULL,                0                          },
        {"do",          NULL,            script->action,      sizeof(script->action)     },
        {"then",        NULL,            script->then,        sizeof(script->then)       },
        {"changes",     NULL,            script->changes,     sizeof(script->changes)    },
        {"etag",        NULL,            script->etag,        sizeof(script->etag)       },
        {"date",        NULL,            script->date,        sizeof(script->date)       },
        {"ranges",      NULL,            script->ranges,      sizeof(script->ranges)     },
        {"retry-after", NULL,            script->retry_after, sizeof(script->retry_after)},
        {"disposition", NULL,            script->disposition, sizeof(script->disposition)},
    };
    for (unsigned i = 0; i < sizeof(keys) / sizeof(*keys); i++) {
        if (strcmp(keys[i].key, key) != 0)
            continue;
        if (keys[i].number)
            *keys[i].number = strtoull(value, NULL, 10);
        else
            copy_decoded(keys[i].text, keys[i].size, value);
    }
    script->times_given = script->times_given || strcmp(key, "times") == 0;
    script->at_given = script->at_given || strcmp(key, "at") == 0;
}

/* `target`: of the request line, or a path of a test. */
static void parse_script(const char *target, struct script *ret_script)
{
    struct script script = {.size = SIZE_DEFAULT};
    size_t len = strcspn(target, "?");
    copy_text(script.path, sizeof(script.path), target, len);
    _cleanup_free_ char *query = strdup(target[len] ? target + len + 1 : "");
    char *rest = query, *pair;
    while (rest && (pair = strsep(&rest, "&"))) {
        char *value = strchr(pair, '=');
        if (value)
            *value++ = '\0';
        parse_value(&script, pair, value ? value : "");
    }
    if (!script.at_given)
        script.at = script.size / 2;
    if (script.changes[0] && !script.times_given)
        script.times = 1;
    script.times_given = script.times_given || script.changes[0];
    *ret_script = script;
}

static bool changes(const struct script *script, const char *what, unsigned version)
{
    return version > 0 && strstr(script->changes, what);
}

static uint64_t seed_of(const struct script *script, unsigned version)
{
    return content_seed(script->path) ^ (changes(script, "content", version) ? 0x5bd1e995 : 0);
}

static uint64_t size_of(const struct script *script, unsigned version)
{
    return script->size + (changes(script, "size", version) ? SIZE_CHANGE : 0);
}

static void fill_script(const struct script *script, unsigned version, uint64_t pos, char *data,
                        size_t len)
{
    if (strcmp(script->action, "gzip") == 0)
        fill_bomb(pos, data, len);
    else
        content_fill(seed_of(script, version), pos, data, len);
}

/* --- sending --- */

/* False when the client went away or we stop; else after `timeout` ms (-1: never). */
static bool wait_for_client(const struct connection *connection, int timeout)
{
    struct pollfd fds[] = {
        {.fd = connection->fd,               .events = POLLRDHUP},
        {.fd = connection->hostile->stop_fd, .events = POLLIN   },
    };
    return poll(fds, 2, timeout) <= 0;
}

static bool send_all(const struct connection *connection, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = send(connection->fd, data, len, MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        data += n;
        len -= (size_t)n;
    }
    return true;
}

static bool send_text(const struct connection *connection, const char *text)
{
    return send_all(connection, text, strlen(text));
}

static void reset(const struct connection *connection)
{
    struct linger linger = {.l_onoff = 1};
    setsockopt(connection->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
}

/* How many of these bytes were sent before. */
static uint64_t note_sent_locked(struct resource *resource, uint64_t pos, size_t len)
{
    uint64_t again = 0;
    if (resource->seen_size < pos + len) {
        uint64_t size = (pos + len) * 2, bytes = resource->seen_size / 8;
        resource->seen = realloc(resource->seen, size / 8 + 1);
        if (!resource->seen)
            abort();
        if (bytes == 0)
            resource->seen[0] = 0;
        memset(resource->seen + bytes + 1, 0, size / 8 - bytes);
        resource->seen_size = size;
    }
    for (uint64_t at = pos; at < pos + len; at++) {
        unsigned char bit = (unsigned char)(1 << at % 8);
        again += (resource->seen[at / 8] & bit) != 0;
        resource->seen[at / 8] |= bit;
    }
    return again;
}

static void count_body(struct reply *reply, uint64_t pos, size_t len)
{
    struct resource *resource = reply->resource;
    int64_t now = now_ms();
    struct sample *newest = &reply->samples[(reply->sample_count + SAMPLES - 1) % SAMPLES];

    if (reply->sample_count == 0 || now - newest->at >= SAMPLE_EVERY)
        reply->samples[reply->sample_count++ % SAMPLES] = (struct sample){now, reply->sent};
    reply->sent += len;

    pthread_mutex_lock(&reply->connection->hostile->lock);
    resource->count.sent += len;
    resource->count.again += note_sent_locked(resource, pos, len);
    pthread_mutex_unlock(&reply->connection->hostile->lock);
}

/* What the connection carried in its last 1.5 s. */
static uint64_t carried_lately(const struct reply *reply)
{
    uint64_t before = reply->sent;
    unsigned kept = reply->sample_count < SAMPLES ? reply->sample_count : SAMPLES;
    int64_t newest =
        kept ? reply->samples[(reply->sample_count + SAMPLES - 1) % SAMPLES].at : now_ms();
    for (unsigned i = 0; i < kept; i++) {
        const struct sample *sample = &reply->samples[i];
        if (sample->at >= newest - EXCUSED_TIME && sample->sent < before)
            before = sample->sent;
    }
    return reply->sent - before;
}

static bool send_piece(struct reply *reply, uint64_t pos, size_t len)
{
    char data[BLOCK], frame[32];
    bool chunked = reply->framing == FRAMED_BY_CHUNKS;
    fill_script(&reply->script, reply->version, pos, data, len);
    snprintf(frame, sizeof(frame), "%zx\r\n", len);
    if (chunked && !send_text(reply->connection, frame))
        return false;
    if (!send_all(reply->connection, data, len))
        return false;
    count_body(reply, pos, len);
    return !chunked || send_text(reply->connection, "\r\n");
}

/* From `first` to where it ends, well or badly. */
static bool send_body(struct reply *reply)
{
    uint64_t rate = reply->script.rate, end = reply->end < reply->stop ? reply->end : reply->stop;
    uint64_t slice = rate == 0 ? BLOCK : rate < 50 ? 1 : rate / 50 < BLOCK ? rate / 50 : BLOCK;
    int64_t begin = now_ms();

    for (uint64_t pos = reply->first; pos < end;) {
        size_t len = end - pos < slice ? (size_t)(end - pos) : (size_t)slice;
        if (!send_piece(reply, pos, len))
            return false;
        pos += len;
        int64_t wait =
            rate == 0 ? 0 : begin + (int64_t)((pos - reply->first) * 1000 / rate) - now_ms();
        if (!wait_for_client(reply->connection, wait > 0 ? (int)wait : 0))
            return false;
    }
    return true;
}

static void end_badly(const struct reply *reply)
{
    switch (reply->ending) {
    case ENDS_RESET:
        reset(reply->connection);
        break;
    case ENDS_STALLED:
        wait_for_client(reply->connection, -1);
        break;
    case ENDS_UNCHUNKED:
        send_text(reply->connection, "this is no size\r\n");
        break;
    default:
        break;
    }
}

static void send_surplus(const struct reply *reply)
{
    static const char junk[] = "more than was promised ";
    for (uint64_t sent = 0; sent < reply->surplus; sent += sizeof(junk) - 1)
        if (!send_text(reply->connection, junk))
            return;
}

static void add_line(FILE *head, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void add_line(FILE *head, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vfprintf(head, format, arguments);
    va_end(arguments);
    fputs("\r\n", head);
}

static void make_validators(const struct reply *reply, char etag[static 64], const char **ret_date)
{
    const struct script *script = &reply->script;
    bool weak = strcmp(script->etag, "weak") == 0, node = strcmp(script->etag, "node") == 0;
    unsigned mark = node ? reply->number : changes(script, "etag", reply->version);
    etag[0] = '\0';
    if (strcmp(script->etag, "none") != 0)
        snprintf(etag, 64, "%s\"%016llx-%u\"", weak ? "W/" : "",
                 (unsigned long long)content_seed(script->path), mark);
    *ret_date = strcmp(script->date, "none") == 0         ? NULL
                : changes(script, "date", reply->version) ? "Tue, 02 Jan 2024 03:04:05 GMT"
                                                          : "Mon, 01 Jan 2024 03:04:05 GMT";
}

static void add_retry_after(FILE *head, const char *value)
{
    char date[64];
    struct tm tm;
    if (strncmp(value, "date:", 5) != 0) {
        add_line(head, "Retry-After: %s", value);
        return;
    }
    time_t then = time(NULL) + strtol(value + 5, NULL, 10);
    strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&then, &tm));
    add_line(head, "Retry-After: %s", date);
}

static void write_head(const struct reply *reply, FILE *head)
{
    const struct script *script = &reply->script;
    const char *date;
    char etag[64];
    make_validators(reply, etag, &date);
    add_line(head, "HTTP/1.1 %d Whatever", reply->status);
    add_line(head, "Connection: close");
    if (reply->framing == FRAMED_BY_LENGTH)
        add_line(head, "Content-Length: %lld", (long long)reply->declared);
    if (reply->framing == FRAMED_BY_CHUNKS)
        add_line(head, "Transfer-Encoding: chunked");
    if (reply->content_range[0])
        add_line(head, "Content-Range: %s", reply->content_range);
    if (etag[0] && reply->status < 300)
        add_line(head, "ETag: %s", etag);
    if (date && reply->status < 300)
        add_line(head, "Last-Modified: %s", date);
    if (strcmp(script->ranges, "no") == 0)
        add_line(head, "Accept-Ranges: none");
    if (script->disposition[0])
        add_line(head, "Content-Disposition: %s", script->disposition);
    if (script->retry_after[0] && reply->status >= 400)
        add_retry_after(head, script->retry_after);
    if (reply->location[0])
        add_line(head, "Location: %s", reply->location);
    if (reply->long_header)
        add_line(head, "X-Long: %0*d", HEAD_MAX, 0);
    add_line(head, "%s", reply->extra);
}

static void send_reply(struct reply *reply)
{
    char *text = NULL;
    size_t len;
    FILE *head = open_memstream(&text, &len);
    if (!head)
        return;
    write_head(reply, head);
    fclose(head);
    bool sent = send_all(reply->connection, text, len) && send_body(reply);
    free(text);
    if (!sent)
        return;
    if (reply->end > reply->stop || reply->ending == ENDS_UNCHUNKED) {
        end_badly(reply);
        return;
    }
    send_surplus(reply);
    if (reply->framing == FRAMED_BY_CHUNKS && reply->ending == ENDS_WELL)
        send_text(reply->connection, "0\r\n\r\n");
}

/* --- the actions: they change the reply of a good server ... --- */

static void stop_at(struct reply *reply, enum ending ending)
{
    reply->stop = reply->script.at;
    reply->ending = ending;
}

static void do_reset(struct reply *reply)
{
    stop_at(reply, ENDS_RESET);
}

static void do_cut(struct reply *reply)
{
    stop_at(reply, ENDS_CLOSED);
}

static void do_stall(struct reply *reply)
{
    stop_at(reply, ENDS_STALLED);
}

static void do_chunked(struct reply *reply)
{
    reply->framing = FRAMED_BY_CHUNKS;
}

static void do_chunk_cut(struct reply *reply)
{
    do_chunked(reply);
    stop_at(reply, ENDS_CLOSED);
}

static void do_chunk_unended(struct reply *reply)
{
    do_chunked(reply);
    reply->ending = ENDS_CLOSED;
}

static void do_chunk_bad(struct reply *reply)
{
    do_chunked(reply);
    stop_at(reply, ENDS_UNCHUNKED);
}

static void do_close(struct reply *reply)
{
    reply->framing = FRAMED_BY_CLOSE;
}

static void no_file(struct reply *reply, int status)
{
    reply->status = status;
    reply->first = reply->end = 0;
    reply->declared = 0;
    reply->content_range[0] = '\0';
}

static void do_loop(struct reply *reply)
{
    no_file(reply, 302);
    snprintf(reply->location, sizeof(reply->location), "%s?do=loop", reply->script.path);
}

static void do_chain(struct reply *reply)
{
    const struct script *script = &reply->script;
    if (script->hops == 0)
        return;
    no_file(reply, 302);
    snprintf(reply->location, sizeof(reply->location), "%s?do=chain&hops=%llu&size=%llu",
             script->path, (unsigned long long)script->hops - 1, (unsigned long long)script->size);
}

static void do_redirect_nowhere(struct reply *reply)
{
    no_file(reply, 302);
}

static void do_redirect_file(struct reply *reply)
{
    no_file(reply, 302);
    snprintf(reply->location, sizeof(reply->location), "file:///etc/passwd");
}

/* 200 to a Range. */
static void do_whole(struct reply *reply)
{
    reply->partial = false;
    reply->status = 200;
    reply->first = 0;
    reply->declared = (int64_t)reply->end;
    reply->content_range[0] = '\0';
}

static void set_content_range(struct reply *reply, uint64_t first, uint64_t last, uint64_t total)
{
    snprintf(reply->content_range, sizeof(reply->content_range), "bytes %llu-%llu/%llu",
             (unsigned long long)first, (unsigned long long)last, (unsigned long long)total);
}

static void do_wrong_start(struct reply *reply)
{
    if (!reply->partial)
        return;
    reply->first += 1000;
    reply->declared -= 1000;
    set_content_range(reply, reply->first, reply->end - 1, reply->total);
}

/* It says what was asked for, and sends what is 1,000 bytes further on. */
static void do_shifted(struct reply *reply)
{
    if (!reply->partial)
        return;
    reply->first += 1000;
    reply->framing = FRAMED_BY_CLOSE;
}

static void do_wrong_end(struct reply *reply)
{
    if (!reply->partial)
        return;
    reply->end -= 1000;
    reply->declared -= 1000;
    set_content_range(reply, reply->first, reply->end - 1, reply->total);
}

/* Never more than 100,000 bytes at once, which it says (RFC 9110, 15.3.7). */
static void do_portions(struct reply *reply)
{
    if (!reply->partial || reply->end - reply->first <= PORTION)
        return;
    reply->end = reply->first + PORTION;
    reply->declared = PORTION;
    set_content_range(reply, reply->first, reply->end - 1, reply->total);
}

/* It says so, and closes before. */
static void do_part_cut(struct reply *reply)
{
    if (!reply->partial)
        return;
    reply->end -= (reply->end - reply->first) / 4;
    reply->framing = FRAMED_BY_CLOSE;
}

/* All that it promises, and not a byte of it. */
static void do_part_empty(struct reply *reply)
{
    if (!reply->partial)
        return;
    reply->end = reply->first;
    reply->framing = FRAMED_BY_CHUNKS;
}

/* The part, and then more and more. */
static void do_part_endless(struct reply *reply)
{
    if (!reply->partial)
        return;
    reply->framing = FRAMED_BY_CLOSE;
    reply->surplus = UINT64_MAX / 2;
}

static void do_wrong_total(struct reply *reply)
{
    if (reply->partial)
        set_content_range(reply, reply->first, reply->end - 1, reply->total + 1000);
}

static void do_huge_range(struct reply *reply)
{
    if (reply->partial)
        snprintf(reply->content_range, sizeof(reply->content_range),
                 "bytes 18446744073709551616-18446744073709651615/99999999999999999999");
}

static void do_no_range(struct reply *reply)
{
    reply->content_range[0] = '\0';
}

static void do_unasked_206(struct reply *reply)
{
    reply->status = 206;
    set_content_range(reply, reply->first, reply->end - 1, reply->total);
}

static void do_416(struct reply *reply)
{
    if (reply->range_header[0])
        no_file(reply, 416);
}

static void do_gzip(struct reply *reply)
{
    snprintf(reply->extra, sizeof(reply->extra), "Content-Encoding: gzip\r\n");
}

static void do_too_long(struct reply *reply)
{
    reply->declared += LENGTH_LIE;
}

static void do_too_short(struct reply *reply)
{
    reply->surplus = LENGTH_LIE;
}

static void do_two_lengths(struct reply *reply)
{
    snprintf(reply->extra, sizeof(reply->extra), "Content-Length: %llu\r\n",
             (unsigned long long)reply->end / 2);
}

static void do_junk_length(struct reply *reply)
{
    reply->framing = FRAMED_BY_CLOSE;
    snprintf(reply->extra, sizeof(reply->extra), "Content-Length: 0x%llx\r\n",
             (unsigned long long)reply->end);
}

static void do_negative_length(struct reply *reply)
{
    reply->declared = -1;
}

static void do_huge_length(struct reply *reply)
{
    reply->declared = INT64_MAX;
}

static void do_long_header(struct reply *reply)
{
    reply->long_header = true;
}

static void do_503(struct reply *reply)
{
    no_file(reply, 503);
}

/* The part that was asked for, of what calls itself another version. */
static void do_other_etag(struct reply *reply)
{
    if (reply->partial)
        snprintf(reply->script.etag, sizeof(reply->script.etag), "node");
}

static void do_trickle(struct reply *reply)
{
    if (reply->number == 2)
        reply->script.rate /= 50;
}

static void do_slower(struct reply *reply)
{
    if (reply->number == 2)
        reply->script.rate /= 2;
}

static void do_nothing(struct reply *reply)
{
    (void)reply;
}

/* --- ... or take its place --- */

static void raw_silent(struct reply *reply)
{
    wait_for_client(reply->connection, -1);
}

static void raw_half_head(struct reply *reply)
{
    if (send_text(reply->connection, "HTTP/1.1 200 OK\r\nContent-Length: 10"))
        wait_for_client(reply->connection, -1);
}

static void raw_reset_early(struct reply *reply)
{
    reset(reply->connection);
}

static void raw_close_early(struct reply *reply)
{
    (void)reply;
}

static void raw_http09(struct reply *reply)
{
    reply->framing = FRAMED_BY_CLOSE;
    send_body(reply);
}

static void repeat(const struct reply *reply, const char *text)
{
    for (size_t sent = 0; sent < FLOOD_BYTES; sent += strlen(text))
        if (!send_text(reply->connection, text))
            return;
}

static void raw_flood(struct reply *reply)
{
    if (send_text(reply->connection, "HTTP/1.1 200 OK\r\n"))
        repeat(reply, "X-More: and more and more and more and more and more and more\r\n");
}

static void raw_hundreds(struct reply *reply)
{
    repeat(reply, "HTTP/1.1 100 Continue\r\n\r\n");
}

static const struct action {
    const char *name;
    void (*change)(struct reply *reply);
    void (*instead)(struct reply *reply);
} actions[] = {
    {"reset",            do_reset,            NULL           },
    {"cut",              do_cut,              NULL           },
    {"stall",            do_stall,            NULL           },
    {"chunked",          do_chunked,          NULL           },
    {"chunk-cut",        do_chunk_cut,        NULL           },
    {"chunk-unended",    do_chunk_unended,    NULL           },
    {"chunk-bad",        do_chunk_bad,        NULL           },
    {"close",            do_close,            NULL           },
    {"loop",             do_loop,             NULL           },
    {"chain",            do_chain,            NULL           },
    {"redirect-nowhere", do_redirect_nowhere, NULL           },
    {"redirect-file",    do_redirect_file,    NULL           },
    {"whole",            do_whole,            NULL           },
    {"wrong-start",      do_wrong_start,      NULL           },
    {"shifted",          do_shifted,          NULL           },
    {"wrong-end",        do_wrong_end,        NULL           },
    {"portions",         do_portions,         NULL           },
    {"part-cut",         do_part_cut,         NULL           },
    {"part-empty",       do_part_empty,       NULL           },
    {"part-endless",     do_part_endless,     NULL           },
    {"wrong-total",      do_wrong_total,      NULL           },
    {"huge-range",       do_huge_range,       NULL           },
    {"no-content-range", do_no_range,         NULL           },
    {"unasked-206",      do_unasked_206,      NULL           },
    {"416",              do_416,              NULL           },
    {"gzip",             do_gzip,             NULL           },
    {"too-long",         do_too_long,         NULL           },
    {"too-short",        do_too_short,        NULL           },
    {"two-lengths",      do_two_lengths,      NULL           },
    {"junk-length",      do_junk_length,      NULL           },
    {"negative-length",  do_negative_length,  NULL           },
    {"huge-length",      do_huge_length,      NULL           },
    {"long-header",      do_long_header,      NULL           },
    {"503",              do_503,              NULL           },
    {"other-etag",       do_other_etag,       NULL           },
    {"trickle",          do_trickle,          NULL           },
    {"slower",           do_slower,           NULL           },
    {"silent",           do_nothing,          raw_silent     },
    {"half-head",        do_nothing,          raw_half_head  },
    {"reset-early",      do_nothing,          raw_reset_early},
    {"close-early",      do_nothing,          raw_close_early},
    {"http09",           do_nothing,          raw_http09     },
    {"flood",            do_nothing,          raw_flood      },
    {"hundreds",         do_nothing,          raw_hundreds   },
};

static const struct action *find_action(const char *name)
{
    for (unsigned i = 0; i < sizeof(actions) / sizeof(*actions); i++)
        if (strcmp(actions[i].name, name) == 0)
            return &actions[i];
    return NULL;
}

/* --- answering --- */

/* Is the range asked for one that a good server gives? */
static bool range_wanted(const struct reply *reply, uint64_t *ret_first, uint64_t *ret_end)
{
    unsigned long long first, last;
    const char *date;
    char etag[64];
    int read = sscanf(reply->range_header, "bytes=%llu-%llu", &first, &last);

    make_validators(reply, etag, &date);
    bool same = !reply->if_range[0] || (etag[0] == '"' && strcmp(reply->if_range, etag) == 0) ||
                (date && strcmp(reply->if_range, date) == 0);
    if (read < 1 || !same || strcmp(reply->script.ranges, "no") == 0)
        return false;
    *ret_first = first;
    *ret_end = read == 2 && last < reply->total ? last + 1 : reply->total;
    return true;
}

static void prepare(struct reply *reply)
{
    const struct script *script = &reply->script;
    reply->acts = !script->times_given || reply->number <= script->times;
    reply->version = reply->shows >= 0 ? (unsigned)reply->shows
                                       : script->changes[0] && reply->number > script->times;
    reply->status = 200;
    reply->total = reply->end = size_of(script, reply->version);
    reply->stop = UINT64_MAX;
    reply->partial = range_wanted(reply, &reply->first, &reply->end);
    if (reply->partial && reply->first >= reply->total) {
        no_file(reply, 416);
        snprintf(reply->content_range, sizeof(reply->content_range), "bytes */%llu",
                 (unsigned long long)reply->total);
    } else if (reply->partial) {
        reply->status = 206;
        set_content_range(reply, reply->first, reply->end - 1, reply->total);
    }
    reply->declared = (int64_t)(reply->end - reply->first);
}

static void answer(struct reply *reply)
{
    const struct script *script = &reply->script;
    prepare(reply);
    const char *name = reply->acts ? script->action : script->then;
    const struct action *action = find_action(name);
    if (name[0] && !action)
        no_file(reply, 501); /* a mistake in the test */
    else if (reply->acts && script->status)
        no_file(reply, (int)script->status);
    else if (action)
        action->change(reply);
    if (action && action->instead)
        action->instead(reply);
    else
        send_reply(reply);
}

static struct resource *find_resource_locked(struct hostile *hostile, const char *path)
{
    size_t len = strcspn(path, "?");
    struct resource *resource;
    for (resource = hostile->resources; resource; resource = resource->next)
        if (strncmp(resource->path, path, len) == 0 && resource->path[len] == '\0')
            return resource;
    resource = calloc(1, sizeof(*resource) + len + 1);
    if (!resource)
        abort();
    memcpy(resource->path, path, len);
    resource->next = hostile->resources;
    hostile->resources = resource;
    return resource;
}

/* How many requests (of one resource; NULL: of all) are being answered, but for those whose client has
 * closed the connection, which their threads may not have seen yet. */
static unsigned count_live_locked(struct hostile *hostile, const struct resource *resource)
{
    unsigned count = 0;
    for (const struct connection *each = hostile->connections; each; each = each->next) {
        struct pollfd fd = {.fd = each->fd, .events = POLLRDHUP};
        if (each->serves && (!resource || each->serves == resource))
            count += poll(&fd, 1, 0) == 0;
    }
    return count;
}

static void count_request(struct reply *reply)
{
    struct hostile *hostile = reply->connection->hostile;
    pthread_mutex_lock(&hostile->lock);
    reply->resource = find_resource_locked(hostile, reply->script.path);
    struct hostile_count *count = &reply->resource->count;
    reply->number = ++count->requests;
    count->running++;
    reply->connection->serves = reply->resource;
    unsigned live = count_live_locked(hostile, reply->resource), all = count_live_locked(hostile, NULL);
    if (count->max_running < live)
        count->max_running = live;
    if (hostile->max_running < all)
        hostile->max_running = all;
    if (hostile->hurries)
        reply->script.rate = 0;
    reply->shows = hostile->shows;
    count->excused += reply->resource->lost;
    reply->resource->lost = 0;
    count->last_at = now_ms();
    if (count->requests == 1)
        count->first_at = count->last_at;
    pthread_mutex_unlock(&hostile->lock);
}

static void count_end(struct reply *reply)
{
    struct hostile *hostile = reply->connection->hostile;
    uint64_t carried = carried_lately(reply);
    pthread_mutex_lock(&hostile->lock);
    reply->resource->count.running--;
    reply->connection->serves = NULL;
    reply->resource->lost += carried + EXCUSED_BYTES;
    reply->resource->count.ranges += reply->status == 206;
    pthread_mutex_unlock(&hostile->lock);
}

static void copy_header(const char *request, const char *name, char *to, size_t size)
{
    const char *line = strcasestr(request, name);
    if (!line)
        return;
    line += strlen(name);
    line += strspn(line, " ");
    copy_text(to, size, line, strcspn(line, "\r\n"));
}

static bool read_request(const struct connection *connection, char *request)
{
    size_t len = 0;
    request[0] = '\0';
    while (!strstr(request, "\r\n\r\n")) {
        ssize_t n = recv(connection->fd, request + len, REQUEST_MAX - 1 - len, 0);
        if (n <= 0)
            return false;
        len += (size_t)n;
        request[len] = '\0';
    }
    return true;
}

static void serve(struct connection *connection)
{
    _cleanup_free_ char *request = malloc(REQUEST_MAX);
    _cleanup_free_ struct reply *reply = calloc(1, sizeof(*reply));
    char target[8192];

    if (!request || !reply || !read_request(connection, request) ||
        sscanf(request, "%*s %8191s", target) != 1)
        return;
    reply->connection = connection;
    parse_script(target, &reply->script);
    copy_header(request, "\r\nRange:", reply->range_header, sizeof(reply->range_header));
    copy_header(request, "\r\nIf-Range:", reply->if_range, sizeof(reply->if_range));
    count_request(reply);
    answer(reply);
    count_end(reply);
}

/* So that what was sent arrives: a close with unread input would reset the connection. */
static void close_softly(const struct connection *connection)
{
    char rest[4096];
    struct linger linger;
    socklen_t size = sizeof(linger);
    getsockopt(connection->fd, SOL_SOCKET, SO_LINGER, &linger, &size);
    if (!linger.l_onoff && shutdown(connection->fd, SHUT_WR) == 0)
        while (recv(connection->fd, rest, sizeof(rest), MSG_DONTWAIT) > 0)
            ;
}

static void *serve_thread(void *data)
{
    struct connection *connection = data;
    struct hostile *hostile = connection->hostile;

    serve(connection);
    close_softly(connection);
    pthread_mutex_lock(&hostile->lock);
    close(connection->fd);
    struct connection **link = &hostile->connections;
    while (*link != connection)
        link = &(*link)->next;
    *link = connection->next;
    free(connection);
    pthread_cond_signal(&hostile->ended);
    pthread_mutex_unlock(&hostile->lock);
    return NULL;
}

/* --- the server --- */

static void begin_connection(struct hostile *hostile, int fd)
{
    struct connection *connection = malloc(sizeof(*connection));
    pthread_attr_t attributes;
    pthread_t thread;
    if (!connection)
        abort();
    *connection = (struct connection){.hostile = hostile, .fd = fd};
    pthread_mutex_lock(&hostile->lock);
    connection->next = hostile->connections;
    hostile->connections = connection;
    pthread_mutex_unlock(&hostile->lock);
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    if (pthread_create(&thread, &attributes, serve_thread, connection) != 0)
        abort();
    pthread_attr_destroy(&attributes);
}

static void *accept_thread(void *data)
{
    struct hostile *hostile = data;
    for (;;) {
        struct pollfd fds[] = {
            {.fd = hostile->fd,      .events = POLLIN},
            {.fd = hostile->stop_fd, .events = POLLIN},
        };
        if (poll(fds, 2, -1) > 0 && fds[1].revents)
            return NULL;
        int fd = accept4(hostile->fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0)
            begin_connection(hostile, fd);
    }
}

static int listen_on(unsigned port, int *ret_fd, unsigned *ret_port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    int buffer = SEND_BUFFER, one = 1;
    _cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof(buffer)) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
        bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 1024) < 0 ||
        getsockname(fd, (struct sockaddr *)&address, &len) < 0)
        return -errno;
    *ret_port = ntohs(address.sin_port);
    *ret_fd = TAKE_FD(fd);
    return 0;
}

int hostile_start(unsigned port, struct hostile **ret_hostile)
{
    struct hostile *hostile = calloc(1, sizeof(*hostile));
    if (!hostile)
        return -ENOMEM;
    hostile->shows = -1;
    int result = listen_on(port, &hostile->fd, &hostile->port);
    if (result < 0) {
        free(hostile);
        return result;
    }
    hostile->stop_fd = eventfd(0, EFD_CLOEXEC);
    pthread_mutex_init(&hostile->lock, NULL);
    pthread_cond_init(&hostile->ended, NULL);
    if (hostile->stop_fd < 0 ||
        pthread_create(&hostile->acceptor, NULL, accept_thread, hostile) != 0)
        abort();
    *ret_hostile = hostile;
    return 0;
}

void hostile_stop(struct hostile *hostile)
{
    uint64_t one = 1;
    if (!hostile)
        return;
    if (write(hostile->stop_fd, &one, sizeof(one)) != sizeof(one))
        abort();
    pthread_join(hostile->acceptor, NULL);
    close(hostile->fd);
    pthread_mutex_lock(&hostile->lock);
    for (struct connection *each = hostile->connections; each; each = each->next)
        shutdown(each->fd, SHUT_RDWR);
    while (hostile->connections)
        pthread_cond_wait(&hostile->ended, &hostile->lock);
    pthread_mutex_unlock(&hostile->lock);
    while (hostile->resources) {
        struct resource *next = hostile->resources->next;
        free(hostile->resources->seen);
        free(hostile->resources);
        hostile->resources = next;
    }
    close(hostile->stop_fd);
    pthread_cond_destroy(&hostile->ended);
    pthread_mutex_destroy(&hostile->lock);
    free(hostile);
}

unsigned hostile_port(const struct hostile *hostile)
{
    return hostile->port;
}

void hostile_hurry(struct hostile *hostile)
{
    pthread_mutex_lock(&hostile->lock);
    hostile->hurries = true;
    pthread_mutex_unlock(&hostile->lock);
}

void hostile_show(struct hostile *hostile, int version)
{
    pthread_mutex_lock(&hostile->lock);
    hostile->shows = version;
    pthread_mutex_unlock(&hostile->lock);
}

void hostile_read(struct hostile *hostile, const char *path, struct hostile_count *ret_count)
{
    pthread_mutex_lock(&hostile->lock);
    *ret_count = find_resource_locked(hostile, path)->count;
    pthread_mutex_unlock(&hostile->lock);
}

unsigned hostile_max_running(struct hostile *hostile)
{
    pthread_mutex_lock(&hostile->lock);
    unsigned most = hostile->max_running;
    pthread_mutex_unlock(&hostile->lock);
    return most;
}

uint64_t hostile_unexcused(struct hostile *hostile, uint64_t *ret_sent, uint64_t *ret_again)
{
    uint64_t unexcused = 0, sent = 0, again = 0;
    pthread_mutex_lock(&hostile->lock);
    for (const struct resource *each = hostile->resources; each; each = each->next) {
        sent += each->count.sent;
        again += each->count.again;
        if (each->count.again <= each->count.excused)
            continue;
        unexcused += each->count.again - each->count.excused;
        printf("# %s: %llu bytes sent again in %u requests, %llu excused\n", each->path,
               (unsigned long long)each->count.again, each->count.requests,
               (unsigned long long)each->count.excused);
    }
    pthread_mutex_unlock(&hostile->lock);
    *ret_sent = sent;
    *ret_again = again;
    return unexcused;
}

/* --- comparing --- */

static size_t fill_some(const struct script *script, unsigned version, uint64_t pos, char *data,
                        size_t len)
{
    uint64_t size = size_of(script, version), left = pos < size ? size - pos : 0;
    if (len > left)
        len = (size_t)left;
    fill_script(script, version, pos, data, len);
    return len;
}

size_t hostile_fill(const char *url_path, unsigned version, uint64_t pos, char *data, size_t len)
{
    struct script script;
    parse_script(url_path, &script);
    return fill_some(&script, version, pos, data, len);
}

int hostile_expect_file(const char *path_on_disk, const char *url_path, unsigned version)
{
    char have[BLOCK], want[BLOCK + 1];
    struct script script;
    uint64_t pos = 0;
    size_t len;

    parse_script(url_path, &script);
    FILE *file = fopen(path_on_disk, "re");
    if (!file)
        return -errno;
    do {
        len = fread(have, 1, sizeof(have), file);
        size_t wanted = fill_some(&script, version, pos, want, sizeof(have));
        if (wanted != len || memcmp(have, want, len) != 0) {
            fclose(file);
            return -EUCLEAN;
        }
        pos += len;
    } while (len > 0);
    int result = ferror(file) ? -EIO : 0;
    fclose(file);
    return result;
}
