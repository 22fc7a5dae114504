/*
 * The command line's reading of what answers: a service, or whatever else listens there. Head and
 * body go in where curl would give them. What a person sees has nothing in it that acts on a
 * terminal, a script gets the body to the byte, and success is only what a service said.
 */
#include <curl/curl.h>
#include <string.h>

static CURLcode answer_request(CURL *curl);
static CURLcode tell_info(CURL *curl, CURLINFO info, long *ret_value);
#undef curl_easy_perform
#undef curl_easy_getinfo
#define curl_easy_perform                    answer_request
#define curl_easy_getinfo(curl, info, value) tell_info(curl, info, value)
#include "../../cli/client.c"
#include "../../cli/cmd.h"
#include "../../cli/output.h"
#include "fuzz.h"

/* --- what answers --- */

static struct {
    struct client *client; /* which asks */
    CURLcode code;
    long status, error;
    const char *reason; /* curl's own words, which may be a certificate's */
    char *head, *body;
    size_t body_len, piece;
} peer;

/* As curl does: the head line by line, the body in pieces, and then how it ended. */
static CURLcode answer_request(CURL *curl)
{
    (void)curl;
    if (peer.code != CURLE_OK)
        snprintf(peer.client->reason, sizeof peer.client->reason, "%s", peer.reason);
    for (char *line = peer.head; *line;) {
        size_t len = strcspn(line, "\n");
        len += line[len] == '\n';
        if (on_header(line, 1, len, peer.client) != len)
            return CURLE_WRITE_ERROR;
        line += len;
    }
    for (size_t at = 0; at < peer.body_len;) {
        size_t len = peer.body_len - at < peer.piece ? peer.body_len - at : peer.piece;
        if (on_body(peer.body + at, 1, len, peer.client) != len)
            return CURLE_WRITE_ERROR;
        at += len;
    }
    return peer.code;
}

static CURLcode tell_info(CURL *curl, CURLINFO info, long *ret_value)
{
    (void)curl;
    *ret_value = info == CURLINFO_RESPONSE_CODE ? peer.status : peer.error;
    return CURLE_OK;
}

/* --- what people see --- */

struct seen {
    FILE *real;
    char *text;
    size_t len;
};

static void capture(FILE **stream, struct seen *seen)
{
    seen->real = *stream;
    *stream = open_memstream(&seen->text, &seen->len);
    MUST(*stream);
}

static void end_capture(FILE **stream, struct seen *seen)
{
    fclose(*stream);
    *stream = seen->real;
}

/* Lines in which nothing acts: neither control nor bidi characters, and all is UTF-8. */
static void must_be_visible(const struct seen *seen)
{
    MUST(strlen(seen->text) == seen->len && is_utf8(seen->text));
    for (char *rest = seen->text, *line; (line = strsep(&rest, "\n"));) {
        char name[300] = "x"; /* what may stand in a name may be shown, and '/' and what is long */
        for (size_t at = 0, len; line[at]; at += len) {
            for (len = 1; len < 4 && (line[at + len] & 0xc0) == 0x80; len++)
                ;
            memcpy(name + 1, line + at, len);
            name[1 + len] = '\0';
            MUST(line[at] == '/' || is_fit_name(name, sizeof name, true));
        }
    }
}

/* "autodl: ...", one line. */
static void must_explain(const struct seen *err)
{
    MUST(strncmp(err->text, "autodl: ", 8) == 0 && err->len > 9);
    MUST(strchr(err->text, '\n') == err->text + err->len - 1);
    must_be_visible(err);
}

static bool is_success(enum api_exit status)
{
    bool known = status == API_EXIT_DONE || status == API_EXIT_REFUSED ||
                 status == API_EXIT_NO_TASK || status == API_EXIT_DENIED ||
                 status == API_EXIT_UNREACHABLE || status == API_EXIT_USAGE;
    MUST(known);
    return status == API_EXIT_DONE;
}

/* The commands of 2017 in a pipe. */
static void run_classic(const struct command_call *call, unsigned which)
{
    static enum api_exit (*const runs[])(const struct command_call *) = {
        cmd_status, cmd_stats, cmd_clear, cmd_add, cmd_update_tasks_num};
    static const char *const expected[] = {"task", "tasks", "message", "task", "message"};
    struct seen out, err;
    output_init(OUTPUT_AUTO);
    capture(&stdout, &out);
    capture(&stderr, &err);
    enum api_exit status = runs[which % 5](call);
    end_capture(&stderr, &err);
    end_capture(&stdout, &out);
    if (is_success(status)) {
        MUST(!err.len && out.len && peer.code == CURLE_OK);
        MUST(peer.status >= 200 && peer.status < 300 && peer.client->json);
        MUST(json_object_object_get_ex(peer.client->json, expected[which % 5], NULL));
    } else {
        must_explain(&err);
    }
    bool whole = out.len == peer.body_len + 1 && memcmp(out.text, peer.body, peer.body_len) == 0;
    if (output_is_classic())
        MUST(!out.len || whole);
    free(out.text);
    free(err.text);
}

/* Version 1: for a person nothing acts, for a script each line is JSON. */
static void run_v1(const struct command_call *call, enum output_form form, unsigned which)
{
    static enum api_exit (*const runs[])(const struct command_call *) = {
        cmd_status, cmd_stats,    cmd_clear, cmd_add,      cmd_pause, cmd_list,
        cmd_show,   cmd_settings, cmd_hold,  cmd_retarget, cmd_limit};
    struct command_call own = *call;
    struct seen out, err;
    which %= sizeof runs / sizeof *runs;
    if (which == 4 || which == 5 || which == 7 || which == 10)
        own.argc = 0;
    if (which == 9)
        own.argc = 2;
    output_init(form);
    capture(&stdout, &out);
    capture(&stderr, &err);
    enum api_exit status = runs[which](&own);
    if (form == OUTPUT_TEXT)
        output_print("service: %s\n", peer.client->server ? peer.client->server : "");
    end_capture(&stderr, &err);
    end_capture(&stdout, &out);
    must_be_visible(&err);
    if (form == OUTPUT_TEXT)
        must_be_visible(&out);
    if (!is_success(status))
        MUST(strncmp(err.text, "autodl: ", 8) == 0);
    for (char *rest = form == OUTPUT_JSON ? out.text : NULL, *line;
         (line = strsep(&rest, "\n")) && *line;) {
        struct json_object *object = json_tokener_parse(line);
        MUST(object);
        json_object_put(object);
    }
    free(out.text);
    free(err.text);
}

static void answer(bool is_unix, bool is_https, unsigned form, unsigned which)
{
    static char url[] = "http://h/x", user[] = "alice";
    static char *arguments[] = {url, url, NULL};
    static const struct command command = {.name = "x", .arguments = "", .options = ""};
    struct address address = {.socket = is_unix ? strdup("/s") : NULL,
                              .host = is_unix ? NULL : strdup("h"),
                              .url = strdup(is_https ? "https://h:6736" : "http://h:6736"),
                              .name = strdup("h:6736"),
                              .is_https = is_https};
    struct login login = {.user = user, .password = is_https ? user : NULL};
    peer.client = client_create(&address, &login);
    MUST(peer.client);
    struct command_call call = {.client = peer.client,
                                .command = &command,
                                .argc = form == OUTPUT_AUTO && which % 5 == 4 ? 0 : 1,
                                .argv = arguments};
    if (form == OUTPUT_AUTO)
        run_classic(&call, which);
    else
        run_v1(&call, (enum output_form)form, which);
    client_destroy(peer.client);
}

/* --- addresses --- */

static void find_address(const char *host, const char *port, bool pinned)
{
    struct address address;
    struct seen err;
    capture(&stderr, &err);
    struct address_options chosen = {
        .host = host, .port = !pinned && *port ? port : NULL, .pin = pinned ? port : NULL};
    enum api_exit status = address_find(&chosen, &address);
    end_capture(&stderr, &err);
    if (status == API_EXIT_DONE) {
        CURLU *url = curl_url();
        char *user = NULL;
        const char *scheme = address.is_https ? "https://" : "http://";
        size_t len = strlen(scheme);
        MUST(strncmp(address.url, scheme, len) == 0 && !address.socket && address.name);
        MUST(!strpbrk(address.url + len, "/?#@ \t\r\n"));
        MUST(pinned == (address.pin != NULL) && (!pinned || address.is_https));
        if (curl_url_set(url, CURLUPART_URL, address.url, 0) == CURLUE_OK)
            MUST(curl_url_get(url, CURLUPART_USER, &user, 0) == CURLUE_NO_USER);
        curl_url_cleanup(url);
        address_release(&address);
    } else {
        MUST(status == API_EXIT_USAGE);
        must_explain(&err);
    }
    free(err.text);
}

/* How it is asked and what comes of it, a status, a host, a port, the head, the body. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const CURLcode codes[] = {CURLE_OK,
                                     CURLE_OK,
                                     CURLE_OK,
                                     CURLE_PARTIAL_FILE,
                                     CURLE_GOT_NOTHING,
                                     CURLE_RECV_ERROR,
                                     CURLE_BAD_CONTENT_ENCODING,
                                     CURLE_COULDNT_CONNECT,
                                     CURLE_OPERATION_TIMEDOUT,
                                     CURLE_WEIRD_SERVER_REPLY,
                                     CURLE_PEER_FAILED_VERIFICATION,
                                     CURLE_SSL_PINNEDPUBKEYNOTMATCH,
                                     CURLE_SSL_CONNECT_ERROR};
    struct input input = {data, size};
    uint8_t chosen = take_byte(&input), which = take_byte(&input);
    peer.code = codes[take_byte(&input) % 13];
    peer.error = chosen & 8 ? EACCES : chosen & 64 ? which : 0;
    peer.piece = chosen & 16 ? 7 : 16384;
    _cleanup_free_ char *status = take_text(&input);
    _cleanup_free_ char *host = take_text(&input);
    _cleanup_free_ char *port = take_text(&input);
    peer.head = take_text(&input);
    peer.body = take_rest(&input, &peer.body_len);
    peer.status = labs(strtol(status, NULL, 10) % 1000);
    peer.status += peer.code == CURLE_OK && peer.status < 100 ? 100 : 0; /* curl sees to that */
    peer.reason = host;
    answer(chosen & 4, chosen & 32, (chosen & 3) % 3, which);
    find_address(host, port, chosen & 32);
    free(peer.head);
    free(peer.body);
    return 0;
}
