#include "names.h"

#include <errno.h>
#include <grp.h>
#include <pthread.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/log.h"

#define BUFFER_SIZE (1 << 20) /* for a large group */

static void warn_of_file(const char *key, const char *path, const char *consequence)
{
    if (access(path, R_OK) < 0)
        log_warning("%s = %s: the service cannot read it (%s): %s", key, path, strerror(errno),
                    consequence);
}

/* --- users and groups --- */

struct lookups {
    char *operators;
    size_t count;
    char *users[];
};

static void release(struct lookups *lookups)
{
    for (size_t i = 0; i < lookups->count; i++)
        free(lookups->users[i]);
    free(lookups->operators);
    free(lookups);
}

/* NULL: no memory. */
static struct lookups *copy(const struct settings *settings)
{
    const struct settings_list *users = &settings->allow_users;
    struct lookups *lookups = calloc(1, sizeof *lookups + users->count * sizeof(char *));
    bool whole = lookups && (lookups->operators = strdup(settings->operators));
    for (size_t i = 0; i < users->count && whole; i++)
        whole = (lookups->users[lookups->count++] = strdup(users->items[i])) != NULL;
    if (whole || !lookups)
        return lookups;
    release(lookups);
    return NULL;
}

static void *look_up(void *data)
{
    struct lookups *lookups = data;
    _cleanup_free_ char *buffer = malloc(BUFFER_SIZE);
    struct group group, *found_group = NULL;
    struct passwd user, *found_user = NULL;
    if (buffer && getgrnam_r(lookups->operators, &group, buffer, BUFFER_SIZE, &found_group) == 0 &&
        !found_group)
        log_warning("operators = %s: there is no such group, so root alone is an operator: "
                    "groupadd --system %s",
                    lookups->operators, lookups->operators);
    for (size_t i = 0; i < lookups->count && buffer; i++)
        if (getpwnam_r(lookups->users[i], &user, buffer, BUFFER_SIZE, &found_user) == 0 &&
            !found_user)
            log_warning("allow-users = %s: there is no such user", lookups->users[i]);
    release(lookups);
    return NULL;
}

void names_warn(const struct settings *settings, bool user_mode)
{
    pthread_t thread;
    if (settings->ca_file)
        warn_of_file("ca-file", settings->ca_file, "no https download will work");
    if (strcmp(settings->known_hosts, SETTINGS_KNOWN_HOSTS) != 0)
        warn_of_file("known-hosts", settings->known_hosts, "no sftp download will work");
    struct lookups *lookups = user_mode ? NULL : copy(settings);
    if (!lookups)
        return;
    if (pthread_create(&thread, NULL, look_up, lookups) == 0)
        pthread_detach(thread);
    else
        release(lookups);
}
