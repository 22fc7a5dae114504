#include "client.h"

#include <config.h>
#include <ctype.h>
#include <curl/curl.h>
#include <errno.h>
#include <json-c/json.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/cleanup.h"
#include "output.h"

#define CONNECT_TIMEOUT 5   /* seconds */
#define ANSWER_TIMEOUT  30  /* an add waits 5 s for the user's file system, and then for a commit */
#define SSH_TIMEOUT     120 /* with it ssh may ask for a password */
#define BODY_MAX        ((size_t)8 << 20)
#define HEAD_MAX        ((size_t)64 << 10)

struct client {
    struct address address;
    struct login login;
    struct ssh *ssh; /* or NULL */
    CURL *curl;
    struct curl_slist *json_headers;
    const struct client_listener *listener; /* or NULL */
    bool is_enough;                         /* it said so */
    struct buf url;
    struct buf body;
    size_t head_len;
    char *server;
    struct json_object *json; /* the body, if it is a JSON object */
    char *error;
    char reason[CURL_ERROR_SIZE];
};

#define SET(option, value) failed = failed ? failed : curl_easy_setopt(curl, option, value)

static bool is_heard(const struct client *client)
{
    long status = 0;

    if (!client->listener)
        return false;
    curl_easy_getinfo(client->curl, CURLINFO_RESPONSE_CODE, &status);
    return status == 200;
}

static size_t on_body(char *data, size_t size, size_t count, void *pointer)
{
    struct client *client = pointer;

    if (is_heard(client)) {
        const struct client_listener *listener = client->listener;
        client->is_enough =
            client->is_enough || !listener->on_data(listener->data, data, size * count);
        return client->is_enough ? 0 : size * count;
    }
    return buf_add(&client->body, data, size * count) == 0 ? size * count : 0;
}

static size_t on_header(char *data, size_t size, size_t count, void *pointer)
{
    struct client *client = pointer;
    size_t len = size * count;

    client->head_len += len;
    if (client->head_len > HEAD_MAX)
        return 0;
    if (len > 7 && strncasecmp(data, "server:", 7) == 0) {
        size_t start = 7;
        while (start < len && isspace((unsigned char)data[start]))
            start++;
        size_t end = len;
        while (end > start && isspace((unsigned char)data[end - 1]))
            end--;
        free(client->server);
        client->server = strndup(data + start, end - start);
    }
    return len;
}

static int on_progress(void *pointer, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    struct client *client = pointer;
    const struct client_listener *listener = client->listener;

    (void)a, (void)b, (void)c, (void)d;
    client->is_enough = client->is_enough || (listener && !listener->on_tick(listener->data));
    return client->is_enough;
}

/* --- through ssh --- */

static curl_socket_t on_open_socket(void *pointer, curlsocktype purpose, struct curl_sockaddr *to)
{
    struct client *client = pointer;

    (void)purpose;
    if (ssh_start(client->ssh) < 0)
        return CURL_SOCKET_BAD;
    return socket(to->family, to->socktype | SOCK_CLOEXEC, to->protocol);
}

/* --- options --- */

static CURLcode set_ssh(struct client *client)
{
    CURL *curl = client->curl;
    CURLcode failed = CURLE_OK;

    SET(CURLOPT_UNIX_SOCKET_PATH, ssh_path(client->ssh));
    SET(CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
    SET(CURLOPT_OPENSOCKETDATA, client);
    return failed;
}

/* A pin stands for both, the chain of issuers and the name; curl checks it in any case. */
static CURLcode set_trust(CURL *curl, const struct address *address)
{
    bool by_chain = address->cacert || !address->pin;
    CURLcode failed = CURLE_OK;

    SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    SET(CURLOPT_SSL_VERIFYPEER, by_chain ? 1L : 0L);
    SET(CURLOPT_SSL_VERIFYHOST, by_chain ? 2L : 0L);
    if (address->cacert) {
        SET(CURLOPT_CAINFO, address->cacert);
        SET(CURLOPT_CAPATH, NULL);
    }
    if (address->pin)
        SET(CURLOPT_PINNEDPUBLICKEY, address->pin);
    return failed;
}

static int set_options(struct client *client)
{
    const struct address *address = &client->address;
    const struct login *login = &client->login;
    CURL *curl = client->curl;
    CURLcode failed = CURLE_OK;

    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_QUICK_EXIT, 1L);
    SET(CURLOPT_PROTOCOLS_STR, address->is_https ? "https" : "http");
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_PROXY, "");
    SET(CURLOPT_NOPROXY, "*");
    SET(CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_CONNECTTIMEOUT, (long)CONNECT_TIMEOUT);
    SET(CURLOPT_USERAGENT, "autodl/" PACKAGE_VERSION);
    SET(CURLOPT_ERRORBUFFER, client->reason);
    SET(CURLOPT_WRITEFUNCTION, on_body);
    SET(CURLOPT_WRITEDATA, client);
    SET(CURLOPT_HEADERFUNCTION, on_header);
    SET(CURLOPT_HEADERDATA, client);
    if (address->socket)
        SET(CURLOPT_UNIX_SOCKET_PATH, address->socket);
    if (address->ssh.host)
        failed = failed ? failed : set_ssh(client);
    if (address->is_https)
        failed = failed ? failed : set_trust(curl, address);
    if (login->user) {
        SET(CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
        SET(CURLOPT_USERNAME, login->user);
        SET(CURLOPT_PASSWORD, address->is_https && login->password ? login->password : "");
    }
    return failed ? -ENOMEM : 0;
}

static int copy_login(const struct login *login, struct login *ret_login)
{
    ret_login->user = login->user ? strdup(login->user) : NULL;
    ret_login->password = login->password ? strdup(login->password) : NULL;
    return (login->user && !ret_login->user) || (login->password && !ret_login->password) ? -ENOMEM
                                                                                          : 0;
}

struct client *client_create(struct address *address, const struct login *login)
{
    struct client *client = calloc(1, sizeof(*client));

    if (!client)
        return NULL;
    buf_init(&client->url, BODY_MAX);
    buf_init(&client->body, BODY_MAX);
    client->address = *address;
    *address = (struct address){0};
    client->curl = curl_easy_init();
    client->json_headers = curl_slist_append(NULL, "Content-Type: application/json");
    int r = client->address.ssh.host
                ? ssh_create(&client->address.ssh, client->address.port, &client->ssh)
                : 0;
    if (r < 0)
        output_note("no way to ssh can be made: %s", strerror(-r));
    if (!client->curl || !client->json_headers || r < 0 || copy_login(login, &client->login) < 0 ||
        set_options(client) < 0) {
        client_destroy(client);
        return NULL;
    }
    return client;
}

struct client *client_twin(const struct client *client)
{
    struct address address;

    if (address_copy(&client->address, &address) < 0)
        return NULL;
    return client_create(&address, &client->login);
}

void client_destroy(struct client *client)
{
    if (!client)
        return;
    curl_easy_cleanup(client->curl);
    curl_slist_free_all(client->json_headers);
    ssh_destroy(client->ssh);
    json_object_put(client->json);
    buf_release(&client->url);
    buf_release(&client->body);
    address_release(&client->address);
    login_release(&client->login);
    free(client->server);
    free(client->error);
    free(client);
}

bool client_is_unix(const struct client *client)
{
    return client->address.socket != NULL;
}

bool client_names_user(const struct client *client)
{
    return client->address.socket || client->address.ssh.host;
}

const char *client_name(const struct client *client)
{
    return client->address.name;
}

const char *client_channel(const struct client *client)
{
    const struct address *address = &client->address;

    if (address->socket)
        return "unix socket";
    if (address->ssh.host)
        return "ssh";
    if (!address->is_https)
        return "plain HTTP";
    if (address->pin)
        return address->cacert ? "TLS, key pinned, certificate checked" : "TLS, key pinned";
    return "TLS, certificate checked";
}

int client_add_escaped(struct buf *buf, const char *text)
{
    char *escaped = curl_easy_escape(NULL, text, (int)strlen(text));

    if (!escaped)
        return buf->error = -ENOMEM;
    buf_add_string(buf, escaped);
    curl_free(escaped);
    return buf->error;
}

int client_add_field(struct buf *form, const char *key, const char *value)
{
    buf_printf(form, "%s%s=", form->len ? "&" : "", key);
    return client_add_escaped(form, value);
}

static void forget_answer(struct client *client)
{
    buf_clear(&client->body);
    client->head_len = 0;
    free(client->server);
    client->server = NULL;
    json_object_put(client->json);
    client->json = NULL;
    free(client->error);
    client->error = NULL;
    client->reason[0] = '\0';
}

static __attribute__((format(printf, 2, 3))) void set_error(struct client *client,
                                                            const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    if (vasprintf(&client->error, format, arguments) < 0)
        client->error = NULL;
    va_end(arguments);
}

static void explain_no_connection(struct client *client)
{
    const struct address *address = &client->address;
    long number = 0;

    curl_easy_getinfo(client->curl, CURLINFO_OS_ERRNO, &number);
    if (address->socket && (number == EACCES || number == EPERM))
        set_error(client, "you may not connect to %s: %s", address->name, strerror((int)number));
    else
        set_error(client,
                  "no service answers at %s; start it: systemctl start autodl-service; elsewhere: "
                  "-h ssh://HOST",
                  address->tried ? address->tried : address->name);
}

static bool is_plain_remote(const struct address *address)
{
    return address->host && !address->is_https && strcmp(address->host, "localhost") != 0 &&
           strncmp(address->host, "127.", 4) != 0 && strcmp(address->host, "::1") != 0;
}

/* OpenSSL's X509_V_ERR_*, which curl passes on. */
enum {
    CERT_NOT_YET_VALID = 9,
    CERT_EXPIRED = 10,
    CERT_SELF_SIGNED = 18,
    CERT_SELF_SIGNED_IN_CHAIN = 19,
    CERT_NO_LOCAL_ISSUER = 20,
    CERT_NO_FIRST_ISSUER = 21,
};

static void explain_certificate(struct client *client)
{
    const struct address *address = &client->address;
    const char *name = address->name;
    long found = 0;

    curl_easy_getinfo(client->curl, CURLINFO_SSL_VERIFYRESULT, &found);
    switch (found) {
    case CERT_EXPIRED:
        set_error(client,
                  "the certificate of %s has expired; have it renewed, or trust its key alone by "
                  "--pin sha256//...",
                  name);
        break;
    case CERT_NOT_YET_VALID:
        set_error(client, "the certificate of %s is not valid yet; are the clocks right?", name);
        break;
    case CERT_SELF_SIGNED:
    case CERT_SELF_SIGNED_IN_CHAIN:
    case CERT_NO_LOCAL_ISSUER:
    case CERT_NO_FIRST_ISSUER:
        set_error(client,
                  "nobody whom %s trusts vouches for the certificate of %s; if it is the right "
                  "service: --cacert FILE with its certificate, or --pin sha256//... as it logs it "
                  "at its start",
                  address->cacert ? "--cacert" : "this machine", name);
        break;
    default:
        if (strstr(client->reason, "does not match") || strstr(client->reason, "no alternative"))
            set_error(client,
                      "the certificate of %s is not made out to that name; use one that is in it, "
                      "or trust its key alone by --pin sha256//...",
                      name);
        else
            set_error(client, "the certificate of %s is not to be trusted: %s", name,
                      client->reason);
    }
}

/* What goes wrong before anything is said over TLS. */
static bool explain_tls(struct client *client, CURLcode code)
{
    const struct address *address = &client->address;

    if (code == CURLE_SSL_PINNEDPUBKEYNOTMATCH)
        set_error(client,
                  "the key of %s is not the one that --pin names: either it was changed, then ask "
                  "its administrator for the new pin, or somebody is in between; nothing was sent",
                  address->name);
    else if (code == CURLE_PEER_FAILED_VERIFICATION)
        explain_certificate(client);
    else if (code == CURLE_SSL_CACERT_BADFILE && address->cacert)
        set_error(client, "--cacert %s: there is no certificate in PEM form in it",
                  address->cacert);
    else if (code == CURLE_SSL_CACERT_BADFILE)
        set_error(client,
                  "this machine knows no authorities to check %s by (apt install ca-certificates); "
                  "or name the service's own: --pin sha256//... as it logs it when it starts, or "
                  "--cacert FILE",
                  address->name);
    else if (code == CURLE_SSL_CONNECT_ERROR)
        set_error(client, "there is no TLS with %s (%s); look at the host and the port",
                  address->name, client->reason);
    else
        return false;
    return true;
}

/* ssh has said itself what it found; whatever curl saw follows from that. */
static bool explain_ssh(struct client *client)
{
    const struct address *address = &client->address;

    if (!client->ssh || !ssh_failed(client->ssh))
        return false;
    set_error(client,
              "no way through ssh to the service at localhost:%s of %s; if ssh got there: "
              "systemctl start autodl-service there; if not, try: ssh %s",
              address->port, address->ssh.host, address->ssh.host);
    return true;
}

/* Says in a sentence why curl has no answer for us. */
static void explain(struct client *client, CURLcode code)
{
    const char *name = client->address.name;
    long sent = 0;

    if (explain_tls(client, code) || explain_ssh(client))
        return;
    curl_easy_getinfo(client->curl, CURLINFO_REQUEST_SIZE, &sent);
    if (code == CURLE_COULDNT_RESOLVE_HOST)
        set_error(client, "the host of %s is not known; look at its spelling, or give its address",
                  name);
    else if (code == CURLE_COULDNT_CONNECT || (code == CURLE_OPERATION_TIMEDOUT && sent == 0))
        explain_no_connection(client);
    else if (code == CURLE_OPERATION_TIMEDOUT)
        set_error(client,
                  "the service at %s did not answer within %d seconds; whether it did what was "
                  "asked is not known, see autodl stats",
                  name, ANSWER_TIMEOUT);
    else if (code == CURLE_GOT_NOTHING && is_plain_remote(&client->address))
        set_error(client,
                  "the service at %s broke off the connection without an answer; if it speaks TLS: "
                  "-h https://%s",
                  name, name);
    else if (code == CURLE_GOT_NOTHING || code == CURLE_RECV_ERROR || code == CURLE_SEND_ERROR ||
             code == CURLE_PARTIAL_FILE)
        set_error(client,
                  "the service at %s broke off the connection; whether it did what was asked is "
                  "not known, see autodl stats",
                  name);
    else if (code == CURLE_UNSUPPORTED_PROTOCOL || code == CURLE_WEIRD_SERVER_REPLY)
        set_error(client, "what answers at %s does not speak HTTP; look at the host and the port",
                  name);
    else if (client->body.error == -EMSGSIZE || client->head_len > HEAD_MAX)
        set_error(client,
                  "the answer of %s is too large for autodl-service; look at the host and "
                  "the port",
                  name);
    else
        set_error(client, "talking to the service at %s failed: %s", name,
                  client->reason[0] ? client->reason : curl_easy_strerror(code));
}

static struct json_object *parse_object(const struct buf *body)
{
    struct json_tokener *tokener = json_tokener_new();

    if (!tokener || body->len == 0) {
        json_tokener_free(tokener);
        return NULL;
    }
    json_tokener_set_flags(tokener, JSON_TOKENER_STRICT);
    struct json_object *json = json_tokener_parse_ex(tokener, body->data, (int)body->len);
    json_tokener_free(tokener);
    if (json_object_is_type(json, json_type_object))
        return json;
    json_object_put(json);
    return NULL;
}

/* Is this an answer of autodl-service? */
static void judge(struct client *client, const struct client_request *request, int status)
{
    client->json = parse_object(&client->body);
    if (!request->expects)
        return;
    bool is_ours = client->json && status >= 200 && (status < 300 || status >= 400);
    if (is_ours && status < 300)
        is_ours = json_object_object_get_ex(client->json, request->expects, NULL);
    if (!is_ours)
        set_error(client,
                  "what answers at %s is not autodl-service (HTTP %d, server %s); look at the host "
                  "and the port",
                  client->address.name, status, client->server ? client->server : "without a name");
}

static const char *message_of(const struct client *client)
{
    struct json_object *message;

    if (client->json && json_object_object_get_ex(client->json, "message", &message) &&
        json_object_is_type(message, json_type_string) && *json_object_get_string(message))
        return json_object_get_string(message);
    return NULL;
}

/* Runs what is set up; true: there is an answer. */
static bool perform(struct client *client)
{
    CURLcode code = curl_easy_perform(client->curl);

    if (code != CURLE_OK && !client->is_enough) {
        explain(client, code);
    } else if (client->address.is_doubtful) {
        output_note("nobody answers at %s; this is from %s, where anybody on this machine may "
                    "answer",
                    API_SYSTEM_SOCKET, client->address.name);
        client->address.is_doubtful = false;
    }
    return code == CURLE_OK || client->is_enough;
}

/* What is sent: nothing (GET and the like), a form, or JSON. */
static CURLcode prepare_body(struct client *client, const struct client_request *request)
{
    CURL *curl = client->curl;
    CURLcode failed = CURLE_OK;
    const char *body = request->json ? request->json : request->form;

    SET(CURLOPT_HTTPHEADER, request->json ? client->json_headers : NULL);
    SET(CURLOPT_CUSTOMREQUEST, NULL);
    if (body) {
        SET(CURLOPT_POST, 1L);
        SET(CURLOPT_POSTFIELDSIZE, (long)strlen(body));
        SET(CURLOPT_COPYPOSTFIELDS, body);
    } else {
        SET(CURLOPT_HTTPGET, 1L);
    }
    if (request->method)
        SET(CURLOPT_CUSTOMREQUEST, request->method);
    return failed;
}

static int prepare(struct client *client, const struct client_request *request, int64_t timeout)
{
    CURL *curl = client->curl;
    CURLcode failed = CURLE_OK;

    buf_clear(&client->url);
    buf_printf(&client->url, "%s%s%s%s", client->address.url, request->path,
               request->query ? "?" : "", request->query ? request->query : "");
    if (client->url.error)
        return -ENOMEM;
    SET(CURLOPT_URL, client->url.data);
    SET(CURLOPT_TIMEOUT_MS, (long)timeout);
    SET(CURLOPT_NOPROGRESS, client->listener ? 0L : 1L);
    SET(CURLOPT_XFERINFOFUNCTION, on_progress);
    SET(CURLOPT_XFERINFODATA, client);
    failed = failed ? failed : prepare_body(client, request);
    return failed ? -ENOMEM : 0;
}

static void exchange(struct client *client, const struct client_request *request, int64_t timeout,
                     struct client_answer *ret_answer)
{
    long status = 0;

    forget_answer(client);
    bool prepared = prepare(client, request, timeout) == 0;
    if (prepared && perform(client)) {
        curl_easy_getinfo(client->curl, CURLINFO_RESPONSE_CODE, &status);
        if (!client->listener || status != 200)
            judge(client, request, (int)status);
    }
    if (status == 0 && !client->error && !client->is_enough)
        client->error = strdup("out of memory");
    *ret_answer = (struct client_answer){
        .status = (int)status,
        .server = client->server,
        .body = client->body.data ? client->body.data : "",
        .len = client->body.len,
        .json = client->json,
        .message = message_of(client),
        .error = client->error,
    };
}

void client_send(struct client *client, const struct client_request *request,
                 struct client_answer *ret_answer)
{
    exchange(client, request, 1000 * (client->ssh ? SSH_TIMEOUT : ANSWER_TIMEOUT), ret_answer);
}

void client_listen(struct client *client, const struct client_request *request,
                   const struct client_listener *listener, int64_t timeout,
                   struct client_answer *ret_answer)
{
    client->listener = listener;
    client->is_enough = false;
    exchange(client, request, timeout, ret_answer);
    client->listener = NULL;
    client->is_enough = false;
}

bool client_probe(struct client *client, struct client_answer *ret_answer)
{
    forget_answer(client);
    curl_easy_setopt(client->curl, CURLOPT_URL, client->address.url);
    curl_easy_setopt(client->curl, CURLOPT_CONNECT_ONLY, 1L);
    bool connected = perform(client);
    curl_easy_setopt(client->curl, CURLOPT_CONNECT_ONLY, 0L);
    *ret_answer = (struct client_answer){.body = "", .error = client->error};
    return connected;
}
