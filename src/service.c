#include "service.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "common/units.h"
#include "http/auth.h"
#include "http/events.h"
#include "http/http.h"
#include "http/routes.h"
#include "manager.h"
#include "names.h"
#include "privsep/privsep.h"

#define LOCK_PATIENCE  15000 /* ms to wait for another instance to end */
#define LOCK_INTERVAL  100   /* ms */
#define STOP_WITHIN    10    /* seconds */
#define ANSWERS_WITHIN 2000  /* ms, when the manager has answered */

struct service {
    const struct service_options *options;
    int stop, reload; /* eventfds */
    int watchdog;     /* a timerfd, or -1 */
    int lock;         /* the instance's */
    struct privsep *privsep;
    struct events *events;
    struct manager *manager;
    struct auth *auth;
    struct routes routes;
    struct http *http;
};

static void on_stop(void *data)
{
    struct service *service = data;
    eventfd_write(service->stop, 1);
}

static void on_reload(void *data)
{
    struct service *service = data;
    eventfd_write(service->reload, 1);
}

/* --- one instance per state directory --- */

static void say_running(int fd, const char *state_dir)
{
    char pid[32] = {0};
    ssize_t len = pread(fd, pid, sizeof pid - 1, 0);
    pid[len > 0 ? strcspn(pid, "\n") : 0] = '\0';
    log_error("already running as PID %s with %s; stop that one first, or give this one another "
              "--state-dir",
              pid[0] ? pid : "unknown", state_dir);
}

/* Others who could write there could have the service write files as anybody. */
static int check_state_dir(const char *state_dir)
{
    struct stat stat;
    _cleanup_close_ int fd = open(state_dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &stat) < 0) {
        log_error("%s: %s; it has to be a directory that this service may write", state_dir,
                  strerror(errno));
        return -errno;
    }
    if (stat.st_uid == geteuid() && (stat.st_mode & (S_IWGRP | S_IWOTH)) == 0)
        return 0;
    log_error("%s: others may write there; make it the service's alone: chown %u '%s' && chmod 700 "
              "'%s'",
              state_dir, (unsigned)geteuid(), state_dir, state_dir);
    return -EPERM;
}

/* A service that is just ending is waited for. The lock goes with the process. */
static int lock_instance(struct service *service)
{
    const char *state_dir = service->options->settings->state_dir;
    char path[API_PATH_MAX + 1];
    int r = check_state_dir(state_dir);
    if (r < 0)
        return r;
    snprintf(path, sizeof path, "%s/lock", state_dir);
    service->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (service->lock < 0) {
        log_error("%s: %s; it has to be a directory that this service may write", path,
                  strerror(errno));
        return -errno;
    }
    int64_t until = units_now_boottime() + LOCK_PATIENCE;
    while (flock(service->lock, LOCK_EX | LOCK_NB) < 0) {
        if (errno != EWOULDBLOCK || units_now_boottime() >= until) {
            say_running(service->lock, state_dir);
            return -EBUSY;
        }
        struct pollfd stop = {.fd = service->stop, .events = POLLIN};
        if (poll(&stop, 1, LOCK_INTERVAL) > 0)
            return -EINTR;
    }
    char pid[32];
    int len = snprintf(pid, sizeof pid, "%d\n", (int)getppid());
    if (ftruncate(service->lock, 0) < 0 || pwrite(service->lock, pid, (size_t)len, 0) != len)
        log_warning("%s: %s", path, strerror(errno));
    return 0;
}

static void raise_file_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/* While very many tasks are read: tables that grow are moved by the kernel and leave nothing behind
 * (mallopt(3)); left alone, malloc puts larger and larger ones among the rest. */
static void give_memory_back(void)
{
    (void)mallopt(M_MMAP_THRESHOLD, 128 << 10);
}

/* From then on: what a long request took is ready for the next one, which would wait for the kernel
 * otherwise, page by page. It goes back when a lane ends. */
static void keep_memory(void)
{
    (void)mallopt(M_MMAP_THRESHOLD, 8 << 20);
    (void)mallopt(M_TRIM_THRESHOLD, 24 << 20);
}

/* --- start, reload, stop --- */

/* AUTODL_BOOT_ID is for units that hide /proc/sys (ProcSubset=pid). */
static void read_boot_id(const char *given, char id[static 64])
{
    _cleanup_close_ int fd =
        given ? -1 : open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t len = fd >= 0 ? read(fd, id, 63) : 0;
    id[len > 0 ? len : 0] = '\0';
    if (given)
        snprintf(id, 64, "%s", given);
    id[strcspn(id, "\n")] = '\0';
}

static int start_manager(struct service *service)
{
    char boot_id[64];
    read_boot_id(service->options->boot_id, boot_id);
    int r = events_create(&service->events);
    if (r < 0)
        return r;
    struct manager_events events = events_of_manager(service->events);
    r = manager_create(service->options->settings, boot_id, service->privsep, &events,
                       &service->manager);
    return r < 0 ? r : events_start(service->events, service->manager);
}

static int start_http(struct service *service)
{
    const struct service_options *options = service->options;
    service->routes = (struct routes){service->manager, service->auth, service->events, NULL};
    int r = readers_create(&service->routes.readers);
    if (r < 0)
        return r;
    struct http_options http = {
        .settings = options->settings,
        .socket = options->settings->socket[0] ? options->settings->socket : NULL,
        .auth = service->auth,
        .tables = routes_tables,
        .data = &service->routes,
    };
    return http_create(&http, &service->http);
}

/* No download may reach the service itself. */
static int tell_listeners(struct service *service)
{
    _cleanup_free_ struct address_endpoint *endpoints = NULL;
    size_t count = 0;
    int r = http_listeners(service->http, &endpoints, &count);
    return r < 0 ? r : manager_set_listeners(service->manager, endpoints, count);
}

/* Twice in the time that systemd gives (sd_watchdog_enabled(3)). */
static int start_watchdog(struct service *service)
{
    int64_t every = service->options->watchdog / 2;
    struct timespec time = {.tv_sec = every / 1000, .tv_nsec = every % 1000 * 1000000};
    struct itimerspec times = {.it_value = time, .it_interval = time};
    if (every == 0)
        return 0;
    service->watchdog = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (service->watchdog < 0 || timerfd_settime(service->watchdog, 0, &times, NULL) < 0)
        return -errno;
    return 0;
}

static int start(struct service *service, int control)
{
    const struct service_options *options = service->options;
    struct privsep_events events = {.on_stop = on_stop, .on_reload = on_reload, .data = service};
    service->stop = eventfd(0, EFD_CLOEXEC);
    service->reload = eventfd(0, EFD_CLOEXEC);
    int r = service->stop < 0 || service->reload < 0 ? -errno : 0;
    if (r == 0)
        r = privsep_create(control, &events, &service->privsep);
    if (r == 0)
        r = lock_instance(service);
    if (r == 0)
        names_warn(options->settings, options->user_mode);
    if (r == 0)
        r = start_manager(service);
    if (r == 0)
        r = auth_create(options->settings, options->user_mode, service->privsep, &service->auth);
    if (r == 0)
        r = start_http(service);
    if (r == 0)
        r = tell_listeners(service);
    if (r == 0)
        r = manager_start(service->manager);
    if (r == 0)
        r = start_watchdog(service);
    if (r == 0)
        r = privsep_ready(service->privsep);
    return r;
}

static bool is_same_list(const struct settings_list *a, const struct settings_list *b)
{
    bool same = a->count == b->count;
    for (size_t i = 0; i < a->count && same; i++)
        same = strcmp(a->items[i], b->items[i]) == 0;
    return same;
}

/* Who closes a socket by a reload is not to believe that it is closed. */
static void warn_of_restart(const struct settings *old, const struct settings *fresh)
{
    const bool listen = is_same_list(&old->listen, &fresh->listen);
    const bool socket = strcmp(old->socket, fresh->socket) == 0;
    const bool mode = old->socket_mode == fresh->socket_mode;
    const bool state_dir = strcmp(old->state_dir, fresh->state_dir) == 0;
    const bool run_as = strcmp(old->run_as, fresh->run_as) == 0;
    const struct {
        const char *key;
        bool same;
    } keys[] = {
        {"listen",      listen   },
        {"socket",      socket   },
        {"socket-mode", mode     },
        {"state-dir",   state_dir},
        {"run-as",      run_as   },
    };
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (!keys[i].same)
            log_warning("%s has changed, which takes effect at a restart only", keys[i].key);
}

static void reload(struct service *service)
{
    const struct service_options *options = service->options;
    struct settings fresh;
    char message[512];
    if (options->reload(options->data, &fresh, message) < 0) {
        log_error("not reloaded, the old settings stay: %s", message);
        return;
    }
    log_set_level(fresh.log_level);
    manager_reload(service->manager, &fresh);
    auth_reload(service->auth, &fresh);
    names_warn(&fresh, options->user_mode);
    warn_of_restart(options->settings, &fresh);
    http_reload(service->http, &fresh);
    settings_release(&fresh);
    log_info("reloaded");
}

static void on_alive(void *data, const struct manager_reply *reply)
{
    struct service *service = data;
    if (reply->error == 0)
        privsep_alive(service->privsep);
}

static void serve(struct service *service)
{
    for (;;) {
        struct pollfd fds[] = {
            {.fd = service->stop,     .events = POLLIN},
            {.fd = service->reload,   .events = POLLIN},
            {.fd = service->watchdog, .events = POLLIN},
        };
        uint64_t unused;
        if (poll(fds, 3, -1) < 0)
            continue;
        if (fds[0].revents)
            return;
        if (fds[1].revents && eventfd_read(service->reload, &unused) == 0)
            reload(service);
        if (fds[2].revents && read(service->watchdog, &unused, sizeof unused) > 0)
            manager_prove_alive(service->manager, on_alive, service);
    }
}

/* Whatever does not end by itself (a file system that hangs) ends with the process: all that was
 * acknowledged is in the store. */
static void on_patience_over(int signal)
{
    (void)signal;
    _exit(0);
}

/* Everybody has an answer, and what was acknowledged is in the store: what hangs is left behind. */
static void leave_behind(int status)
{
    log_warning("something does not end: a file system or an account look-up hangs; ending without "
                "it");
    _exit(status);
}

static void stop(struct service *service, int status)
{
    signal(SIGALRM, on_patience_over);
    alarm(STOP_WITHIN - 1);
    if (service->privsep)
        privsep_stopping(service->privsep);
    if (service->http)
        http_quiesce(service->http);
    if (service->auth)
        auth_stop(service->auth);
    if (service->routes.readers)
        readers_stop(service->routes.readers);
    int r = service->manager ? manager_stop(service->manager) : 0;
    if (service->http && http_settle(service->http, r < 0 ? 0 : ANSWERS_WITHIN) < 0)
        r = -ETIMEDOUT;
    if (r < 0)
        leave_behind(status);
    http_destroy(service->http);
    readers_destroy(service->routes.readers);
    auth_destroy(service->auth);
    events_stop(service->events);
    manager_destroy(service->manager);
    events_destroy(service->events);
    privsep_destroy(service->privsep);
    alarm(0);
}

int service_run(int control, void *data)
{
    struct service service = {
        .options = data, .stop = -1, .reload = -1, .watchdog = -1, .lock = -1};
    log_set_level(service.options->settings->log_level);
    raise_file_limit();
    give_memory_back();
    int r = start(&service, control);
    if (r == 0) {
        keep_memory();
        serve(&service);
    }
    log_info("stopping");
    int status = r == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
    stop(&service, status);
    settings_release(service.options->settings);
    return status;
}
