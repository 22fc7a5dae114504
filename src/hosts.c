#include "hosts.h"

#include <ctype.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/url.h"

struct held {
    struct held *next;
    char *host;
    int64_t until;
};

struct hosts {
    pthread_mutex_t lock;
    /* protected by lock */
    struct held *held; /* those whose time is over go when somebody looks */
};

int hosts_create(struct hosts **ret_hosts)
{
    struct hosts *hosts = calloc(1, sizeof *hosts);
    if (!hosts)
        return -ENOMEM;
    pthread_mutex_init(&hosts->lock, NULL);
    *ret_hosts = hosts;
    return 0;
}

static void free_first(struct held **link)
{
    struct held *held = *link;
    *link = held->next;
    free(held->host);
    free(held);
}

void hosts_destroy(struct hosts *hosts)
{
    if (!hosts)
        return;
    while (hosts->held)
        free_first(&hosts->held);
    pthread_mutex_destroy(&hosts->lock);
    free(hosts);
}

/* A port that goes without saying is not part of it. */
static size_t without_default_port(const char *scheme, const char *host, size_t len)
{
    static const struct {
        const char *scheme, *port;
    } defaults[] = {
        {"http://",  ":80" },
        {"https://", ":443"},
        {"ftp://",   ":21" },
        {"sftp://",  ":22" }
    };
    for (size_t i = 0; i < sizeof defaults / sizeof *defaults; i++) {
        size_t n = strlen(defaults[i].port);
        if (strncasecmp(scheme, defaults[i].scheme, strlen(defaults[i].scheme)) == 0 && len > n &&
            strncmp(host + len - n, defaults[i].port, n) == 0)
            return len - n;
    }
    return len;
}

char *hosts_of_url(const char *url)
{
    const char *host = url_host(url);
    if (!host)
        return NULL;
    size_t len = strcspn(host, "/?#");
    len = without_default_port(url, host, len);
    char *copy = len > 0 ? strndup(host, len) : NULL;
    for (char *c = copy; c && *c; c++)
        *c = (char)tolower((unsigned char)*c);
    return copy;
}

/* Also forgets those whose time is over. */
static struct held *find_locked(struct hosts *hosts, const char *host, int64_t now)
{
    struct held **link = &hosts->held;
    while (*link) {
        if ((*link)->until <= now)
            free_first(link);
        else if (strcmp((*link)->host, host) == 0)
            return *link;
        else
            link = &(*link)->next;
    }
    return NULL;
}

void hosts_hold(struct hosts *hosts, const char *host, int64_t until)
{
    pthread_mutex_lock(&hosts->lock);
    struct held *held = find_locked(hosts, host, 0);
    if (held) {
        if (held->until < until)
            held->until = until;
    } else if ((held = calloc(1, sizeof *held))) {
        held->host = strdup(host);
        held->until = until;
        held->next = hosts->held;
        if (held->host)
            hosts->held = held;
        else
            free(held);
    }
    pthread_mutex_unlock(&hosts->lock);
}

int64_t hosts_held_until(struct hosts *hosts, const char *host, int64_t now)
{
    pthread_mutex_lock(&hosts->lock);
    struct held *held = find_locked(hosts, host, now);
    int64_t until = held ? held->until : 0;
    pthread_mutex_unlock(&hosts->lock);
    return until;
}
