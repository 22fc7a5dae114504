#include "path.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "output.h"

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
enum api_exit path_resolve(const struct client *client, const char *where, const char *path,
                           char **ret_path)
{
    _cleanup_free_ char *directory = NULL;
    char *resolved;

    where = where ? where : "";
    if (*path == '\0')
        return output_fail(API_EXIT_USAGE,
                           "%sPATH is empty; leave it out for the default directory", where);
    if (path[0] == '~' && path[1] != '/' && path[1] != '\0')
        return output_fail(API_EXIT_USAGE,
                           "%s\"%s\": only '~/...' is understood, your own directory", where, path);
    if (path[0] == '/' || path[0] == '~') {
        resolved = strdup(strcmp(path, "~") == 0 ? "~/" : path);
    } else if (!client_is_unix(client)) {
        return output_fail(API_EXIT_USAGE,
                           "%s\"%s\" is relative, but the directory is on the service's machine; "
                           "write '~/%s' in quotes, or an absolute path",
                           where, path, path);
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
