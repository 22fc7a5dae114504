#include "http/routes_metrics.h"

#include <config.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/cleanup.h"
#include "common/units.h"
#include "hosts.h"
#include "http/events.h"
#include "http/routes.h"

#define METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"
#define METRICS_MAX  (256 << 10) /* bytes */
#define HOSTS_SHOWN  20          /* the busiest */

static void handle_health(struct http_request *request, void *data)
{
    (void)data;
    http_answer(request, 200, strdup("{\"status\": \"ok\"}"));
}

/* --- the format --- */

static void begin(struct buf *buf, const char *name, const char *type, const char *help)
{
    buf_printf(buf, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void add_label(struct buf *buf, const char *name, const char *label, const char *value)
{
    buf_printf(buf, "%s{%s=\"", name, label);
    for (; *value; value++) {
        if (*value == '\\' || *value == '"')
            buf_add_char(buf, '\\');
        buf_add_char(buf, (unsigned char)*value < ' ' ? ' ' : *value);
    }
    buf_add_string(buf, "\"} ");
}

static void add_number(struct buf *buf, uint64_t number)
{
    buf_printf(buf, "%llu\n", (unsigned long long)number);
}

static void add_plain(struct buf *buf, const char *name, uint64_t number)
{
    buf_printf(buf, "%s ", name);
    add_number(buf, number);
}

/* --- hosts --- */

struct hosts {
    char **names; /* as many as run, some of them the same */
    size_t count, size;
};

static void see_host(void *data, const struct manager_running *running)
{
    struct hosts *hosts = data;
    if (hosts->count == hosts->size) {
        size_t size = hosts->size ? hosts->size * 2 : 16;
        char **grown = reallocarray(hosts->names, size, sizeof *grown);
        if (!grown)
            return;
        hosts->names = grown;
        hosts->size = size;
    }
    char *name = hosts_of_url(running->url);
    if (name)
        hosts->names[hosts->count++] = name;
}

struct busy_host {
    const char *name;
    unsigned running;
};

static int compare_names(const void *one, const void *other)
{
    return strcmp(*(char *const *)one, *(char *const *)other);
}

static int compare_busy(const void *one, const void *other)
{
    const struct busy_host *left = one, *right = other;
    if (left->running != right->running)
        return left->running < right->running ? 1 : -1;
    return strcmp(left->name, right->name);
}

/* Into `busy`, which has room for all; how many there are. */
static size_t group(const struct hosts *hosts, struct busy_host *busy)
{
    size_t count = 0;
    if (hosts->count > 0)
        qsort(hosts->names, hosts->count, sizeof *hosts->names, compare_names);
    for (size_t i = 0; i < hosts->count; i++) {
        if (count == 0 || strcmp(busy[count - 1].name, hosts->names[i]) != 0)
            busy[count++] = (struct busy_host){.name = hosts->names[i]};
        busy[count - 1].running++;
    }
    if (count > 0)
        qsort(busy, count, sizeof *busy, compare_busy);
    return count;
}

static void add_hosts(struct buf *buf, struct manager *manager)
{
    struct hosts hosts = {0};
    manager_each_running(manager, see_host, &hosts);
    _cleanup_free_ struct busy_host *busy = calloc(hosts.count + 1, sizeof *busy);
    size_t count = busy ? group(&hosts, busy) : 0;
    begin(buf, "autodl_running", "gauge", "Downloads under way by host, of the 20 busiest.");
    for (size_t i = 0; i < count && i < HOSTS_SHOWN; i++) {
        add_label(buf, "autodl_running", "host", busy[i].name);
        add_number(buf, busy[i].running);
    }
    for (size_t i = 0; i < hosts.count; i++)
        free(hosts.names[i]);
    free(hosts.names);
}

/* --- what else there is --- */

static void add_tasks(struct buf *buf, struct manager *manager)
{
    struct stats_snapshot snapshot;
    manager_stats(manager, &snapshot);
    begin(buf, "autodl_tasks", "gauge",
          "Tasks by state; those that have ended, since the service started.");
    for (int state = 0; state < TASK_STATES; state++) {
        add_label(buf, "autodl_tasks", "state", task_state_name(state));
        add_number(buf, snapshot.tasks[state]);
    }
}

static void add_totals(struct buf *buf, const struct manager_totals *totals)
{
    const struct stats_totals *stats = &totals->stats;
    begin(buf, "autodl_bytes_received_total", "counter", "Bytes of files that came.");
    add_plain(buf, "autodl_bytes_received_total", stats->bytes);
    begin(buf, "autodl_responses_total", "counter", "Responses of servers by status code.");
    for (int i = 0; i <= STATS_CODE_MAX - STATS_CODE_MIN; i++) {
        char code[16];
        snprintf(code, sizeof code, "%d", STATS_CODE_MIN + i);
        if (stats->responses[i] == 0)
            continue;
        add_label(buf, "autodl_responses_total", "code", code);
        add_number(buf, stats->responses[i]);
    }
    if (stats->other_responses > 0) {
        add_label(buf, "autodl_responses_total", "code", "other");
        add_number(buf, stats->other_responses);
    }
    begin(buf, "autodl_store_commit_seconds", "summary", "How long commits of the store took.");
    buf_printf(buf, "autodl_store_commit_seconds_sum %.6f\n", totals->commit_seconds);
    add_plain(buf, "autodl_store_commit_seconds_count", totals->commits);
}

static double seconds(struct timeval time)
{
    return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

static uint64_t resident_bytes(void)
{
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    bool read = file && fscanf(file, "%*u %lu", &pages) == 1;
    if (file)
        fclose(file);
    return read ? (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

/* As client libraries of Prometheus name these. */
static void add_process(struct buf *buf, int64_t started_at)
{
    struct rusage usage;
    struct rlimit files;
    begin(buf, "process_start_time_seconds", "gauge", "When the service started.");
    buf_printf(buf, "process_start_time_seconds %.3f\n", (double)started_at / 1000);
    begin(buf, "process_cpu_seconds_total", "counter",
          "CPU time of the process that meets the network.");
    getrusage(RUSAGE_SELF, &usage);
    buf_printf(buf, "process_cpu_seconds_total %.3f\n",
               seconds(usage.ru_utime) + seconds(usage.ru_stime));
    begin(buf, "process_resident_memory_bytes", "gauge", "Its memory.");
    add_plain(buf, "process_resident_memory_bytes", resident_bytes());
    begin(buf, "process_max_fds", "gauge", "How many files it may have open.");
    getrlimit(RLIMIT_NOFILE, &files);
    add_plain(buf, "process_max_fds", files.rlim_cur);
}

static void handle_metrics(struct http_request *request, void *data)
{
    const struct routes *routes = data;
    struct manager_totals totals;
    _cleanup_(buf_release) struct buf buf;
    uid_t scope;
    buf_init(&buf, METRICS_MAX); /* before any return: it is released there */
    if (!routes_may(request, routes, AUTH_METRICS, NULL, &scope))
        return;
    manager_totals(routes->manager, &totals);
    begin(&buf, "autodl_build_info", "gauge", "1; the version is in the label.");
    add_label(&buf, "autodl_build_info", "version", PACKAGE_VERSION);
    add_number(&buf, 1);
    add_tasks(&buf, routes->manager);
    add_hosts(&buf, routes->manager);
    add_totals(&buf, &totals);
    begin(&buf, "autodl_event_streams", "gauge", "Clients that listen to events.");
    add_plain(&buf, "autodl_event_streams", events_listeners(routes->events));
    add_process(&buf, totals.started_at);
    http_answer_text(request, 200, buf_take(&buf), METRICS_TYPE);
}

const struct http_route routes_metrics[] = {
    {.path = "/healthz",
     .methods = HTTP_GET | HTTP_HEAD,
     .handle = handle_health,
     .body_max = 1,
     .is_open = true},
    {.path = "/metrics", .methods = HTTP_GET | HTTP_HEAD, .handle = handle_metrics, .body_max = 1},
    {.path = NULL        },
};
