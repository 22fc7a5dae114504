#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "cmd.h"
#include "common/buf.h"
#include "common/cleanup.h"
#include "output.h"

#define FORM_MAX ((size_t)1 << 20) /* the command line is shorter */

static bool is_magnet(const char *url)
{
    return strncasecmp(url, "magnet:", 7) == 0;
}

static enum api_exit check_url(const char *url)
{
    static const char *const schemes[] = {"http", "https", "ftp", "ftps", "sftp"};
    const char *end = strstr(url, "://");

    if (is_magnet(url))
        return output_fail(API_EXIT_USAGE, "\"%s\": autodl does not speak BitTorrent", url);
    if (*url == '\0')
        return output_fail(API_EXIT_USAGE, "the URL is empty");
    size_t len = end ? (size_t)(end - url) : 0;
    if (!end || len == 0 ||
        strcspn(url, "/?#") < len) /* the :// belongs to the path or the query */
        return output_fail(API_EXIT_USAGE, "\"%s\": no scheme; did you mean https://%s ?", url,
                           url);
    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++)
        if (strlen(schemes[i]) == len && strncasecmp(url, schemes[i], len) == 0)
            return API_EXIT_DONE;
    return output_fail(API_EXIT_USAGE,
                       "\"%s\": autodl does not speak %.*s, only http, https, ftp, ftps and sftp",
                       url, (int)len, url);
}

/* Joins an absolute directory and a relative path, without "." and "..", as cd(1) does. */
static char *join_path(const char *directory, const char *path)
{
    _cleanup_free_ char *joined = malloc(strlen(directory) + strlen(path) + 2);

    if (!joined)
        return NULL;
    size_t used = strcmp(directory, "/") == 0 ? 0 : strlen(directory);
    memcpy(joined, directory, used);
    while (*path) {
        size_t len = strcspn(path, "/");
        if (len == 2 && memcmp(path, "..", 2) == 0) {
            while (used > 0 && joined[--used] != '/')
                ;
        } else if (len > 0 && !(len == 1 && *path == '.')) {
            joined[used++] = '/';
            memcpy(joined + used, path, len);
            used += len;
        }
        path += len + (path[len] == '/');
    }
    if (used == 0)
        joined[used++] = '/';
    joined[used] = '\0';
    return TAKE_PTR(joined);
}

/* What the service is told for PATH as it was typed. */
static enum api_exit resolve_path(const struct command_call *call, const char *path,
                                  char **ret_path)
{
    _cleanup_free_ char *directory = NULL;
    char *resolved;

    if (*path == '\0')
        return output_fail(API_EXIT_USAGE, "PATH is empty; leave it out for the default directory");
    if (path[0] == '~' && path[1] != '/' && path[1] != '\0')
        return output_fail(API_EXIT_USAGE, "\"%s\": only '~/...' is understood, your own directory",
                           path);
    if (path[0] == '/' || path[0] == '~') {
        resolved = strdup(strcmp(path, "~") == 0 ? "~/" : path);
    } else if (!client_is_unix(call->client)) {
        return output_fail(API_EXIT_USAGE,
                           "\"%s\" is relative, but the directory is on the service's machine; "
                           "write '~/%s' in quotes, or an absolute path",
                           path, path);
    } else {
        directory = getcwd(NULL, 0);
        if (!directory)
            return output_fail(API_EXIT_USAGE,
                               "the current directory has no path: %s; write PATH "
                               "as an absolute path",
                               strerror(errno));
        resolved = join_path(directory, path);
    }
    if (!resolved)
        return output_fail(API_EXIT_REFUSED, "out of memory");
    *ret_path = resolved;
    return API_EXIT_DONE;
}

/* Over TCP nobody vouches for root, whose downloads would have no home anyway. */
static enum api_exit check_user(const struct command_call *call)
{
    struct client_answer answer;

    if (call->user || client_is_unix(call->client) || geteuid() != 0)
        return API_EXIT_DONE;
    if (!client_probe(call->client, &answer))
        return cmd_report(&answer, NULL);
    return output_fail(API_EXIT_DENIED, "root has no downloads here; use -u USER");
}

static enum api_exit add_one(const struct command_call *call, const char *url, const char *path,
                             const char *subject, bool *ret_answered)
{
    _cleanup_(buf_release) struct buf form;
    struct client_answer answer;

    buf_init(&form, FORM_MAX);
    client_add_field(&form, "url", url);
    if (path)
        client_add_field(&form, "path", path);
    if (form.error)
        return output_fail(API_EXIT_REFUSED, "\"%.100s...\" is too long", url);
    client_send(call->client,
                &(struct client_request){.path = "/add", .form = form.data, .expects = "task"},
                &answer);
    *ret_answered = answer.error == NULL;
    return cmd_report(&answer, subject);
}

enum api_exit cmd_add(const struct command_call *call)
{
    _cleanup_free_ char *path = NULL;
    enum api_exit worst = API_EXIT_DONE;
    int urls = call->argc;

    if (urls == 2 && !strstr(call->argv[1], "://") && !is_magnet(call->argv[1]))
        urls = 1;
    if (urls > 2 && strspn(call->argv[urls - 1], "~/.") > 0)
        return output_fail(API_EXIT_USAGE,
                           "\"%s\": PATH goes with one URL alone; add them one by one",
                           call->argv[urls - 1]);
    for (int i = 0; i < urls; i++) {
        enum api_exit status = check_url(call->argv[i]);
        if (status != API_EXIT_DONE)
            return status;
    }
    if (urls < call->argc)
        worst = resolve_path(call, call->argv[1], &path);
    if (worst == API_EXIT_DONE)
        worst = check_user(call);
    if (worst != API_EXIT_DONE)
        return worst;

    bool answered = true;
    int sent = 0;
    while (sent < urls && answered && output_flush()) {
        const char *url = call->argv[sent++];
        enum api_exit status = add_one(call, url, path, urls > 1 ? url : NULL, &answered);
        if (status > worst)
            worst = status;
    }
    if (sent < urls)
        output_fail(worst, "stopped; not sent: %s%s", call->argv[sent],
                    sent + 1 < urls ? " and what follows it" : "");
    return worst;
}
