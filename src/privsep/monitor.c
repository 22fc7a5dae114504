#include "privsep/monitor.h"

#include <config.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <systemd/sd-daemon.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "privsep/caps.h"
#include "privsep/filer.h"
#include "privsep/makedir.h"
#include "privsep/pam.h"
#include "privsep/privsep.h"
#include "privsep/wire.h"

#define NOBODY         65534
#define FILERS_MAX     4096
#define BECOME_SECONDS 30 /* a filer that is still looking up its user after this ends */
#define PAM_SECONDS    30 /* a PAM child that has no answer after this ends */
/* At once. The service asks for half as many: a child that has answered may not be gone yet. */
#define PAM_CHILDREN_MAX (2 * PRIVSEP_CHECKS_MAX)

struct monitor {
    /* immutable */
    const struct monitor_options *options;
    bool system; /* may become other users */
    sigset_t old_mask;
    int signals; /* a signalfd */
    pid_t service;

    const struct settings *settings; /* in force */
    struct settings reloaded;        /* those, unless they are the options' */

    int control;    /* the service's other end; -1: the service is not heard any more */
    unsigned stops; /* signals that asked for a stop */
    unsigned filers;
    bool full;                            /* there were too many, and that is said */
    pid_t pam_children[PAM_CHILDREN_MAX]; /* 0: none */
    char *notify_socket;                  /* systemd's, taken out of the environment; or NULL */
    bool ready;
    bool ended;
    int status; /* of the program, once ended */
};

bool monitor_system_mode(void)
{
    return caps_may_become_others();
}

int64_t monitor_watchdog(void)
{
    uint64_t us;
    return sd_watchdog_enabled(0, &us) > 0 ? (int64_t)(us / 1000) : 0;
}

/* --- from root to run_as --- */

static const struct passwd *find_run_as(const char *name)
{
    errno = 0;
    const struct passwd *user = getpwnam(name);
    if (!user && errno != 0 && errno != ENOENT && errno != ESRCH)
        log_error("cannot look up the user %s: %s", name, strerror(errno));
    else if (!user)
        log_error("user %s does not exist; create it (adduser --system --group %s) or name another "
                  "with --run-as",
                  name, name);
    else if (user->pw_uid == 0)
        log_error("the service never runs as root; name another user than %s with --run-as", name);
    else
        return user;
    return NULL;
}

static int become_run_as(const struct monitor_options *options)
{
    const struct passwd *user = find_run_as(options->run_as);
    if (!user)
        return -ENOENT;
    uid_t uid = user->pw_uid;
    gid_t gid = user->pw_gid;
    int r = makedir_for(options->state_dir, 0700, uid, gid);
    if (r == 0 && options->socket_dir)
        r = makedir_for(options->socket_dir, 0755, uid, gid);
    if (r < 0)
        return r;
    caps_drop_bounding();
    if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0 || initgroups(options->run_as, gid) < 0 ||
        setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0 ||
        prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) < 0) {
        r = -errno;
        log_error("cannot become the user %s: %s", options->run_as, strerror(errno));
    }
    return r;
}

/* No core may hold what users sent; who debugs a service of their own builds it for that. The
 * kernel forgets PR_SET_DUMPABLE with each change of user. */
static int forbid_cores(const struct monitor *monitor)
{
#ifdef AUTODL_DEBUG
    if (!monitor->system)
        return 0;
#endif
    (void)monitor;
    struct rlimit none = {0};
    return setrlimit(RLIMIT_CORE, &none) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ? -errno : 0;
}

/* System mode: from what we were started with to run_as with two capabilities. */
static int reduce_privileges(const struct monitor *monitor)
{
    int r = 0;
    if (monitor->system && geteuid() == 0)
        r = become_run_as(monitor->options);
    if (r < 0)
        return r;
    r = monitor->system ? caps_keep_setid() : caps_give_up();
    if (r < 0) {
        log_error("cannot keep CAP_SETUID and CAP_SETGID alone: %s; start autodl-service as root, "
                  "with both of them, or with neither",
                  strerror(-r));
        return r;
    }
    /* With no_new_privs set*id(2) still work; programs do not gain anything. */
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        r = -errno;
    if (r == 0)
        r = forbid_cores(monitor);
    if (r < 0)
        log_error("cannot give up privileges: %s", strerror(-r));
    return r;
}

/* --- children --- */

/* A child keeps 0 (made /dev/null), 1, 2 and `fd`, which becomes 3 and is returned. */
static int begin_child(const struct monitor *monitor, const char *name, int fd)
{
    static const int ignored[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGXFSZ};
    if ((fd != 3 && dup3(fd, 3, O_CLOEXEC) < 0) || close_range(4, ~0U, 0) < 0)
        _exit(1);
    int null = open("/dev/null", O_RDWR);
    if (null < 0 || dup2(null, STDIN_FILENO) < 0)
        _exit(1);
    close(null);
    /* Not in the session of a terminal that we were started on: who is in it can type there
     * (TIOCSTI, ioctl_tty(2)). */
    if (setsid() < 0)
        _exit(1);
    for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
        signal(ignored[i], SIG_IGN);
    if (sigprocmask(SIG_SETMASK, &monitor->old_mask, NULL) < 0 ||
        prctl(PR_SET_NAME, name, 0, 0, 0) < 0)
        _exit(1);
    return 3;
}

/* A child that is whom it shall be: without any capability, for good, and without a core. */
static int give_up(const struct monitor *monitor)
{
    int r = caps_give_up();
    return r == 0 ? forbid_cores(monitor) : r;
}

static void run_service(const struct monitor *monitor, monitor_service service, void *data, int fd)
    __attribute__((noreturn));
static void run_service(const struct monitor *monitor, monitor_service service, void *data, int fd)
{
    fd = begin_child(monitor, "autodl-service", fd);
    uid_t uid = getuid();
    gid_t gid = getgid();
    int r = 0;
    if (monitor->system && (setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0))
        r = -errno;
    if (r == 0)
        r = give_up(monitor);
    if (r < 0) {
        log_error("the service cannot give up its privileges: %s", strerror(-r));
        _exit(1);
    }
    exit(service(fd, data));
}

/* Is this one of allow-users? If not by name, then by uid: one account may have several names. */
static bool is_allowed(const struct settings_list *names, uid_t uid, const char *name)
{
    for (size_t i = 0; i < names->count; i++)
        if (strcmp(names->items[i], name) == 0)
            return true;
    for (size_t i = 0; i < names->count; i++) {
        const struct passwd *user = getpwnam(names->items[i]);
        if (user && user->pw_uid == uid)
            return true;
    }
    return names->count == 0;
}

/* System mode: the user with this uid, their groups, irrevocably. `ret_home` is the caller's. */
static int become_user(const struct settings *settings, uid_t uid, char **ret_home)
{
    errno = 0;
    const struct passwd *user = getpwuid(uid);
    if (!user)
        return errno == 0 || errno == ENOENT || errno == ESRCH ? -ENOENT : -EAGAIN;
    gid_t gid = user->pw_gid;
    _cleanup_free_ char *name = strdup(user->pw_name);
    _cleanup_free_ char *home = strdup(user->pw_dir);
    if (!name || !home)
        return -ENOMEM;
    if (!is_allowed(&settings->allow_users, uid, name))
        return -EACCES;
    if (initgroups(name, gid) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
        return -errno;
    *ret_home = TAKE_PTR(home);
    return 0;
}

static int become_self(const struct monitor_options *options, char **ret_home)
{
    char *home = strdup(options->home ? options->home : "");
    if (!home)
        return -ENOMEM;
    *ret_home = home;
    return 0;
}

static void refuse_filer(const struct wire_control *request, int fd, int error)
{
    struct wire_hello hello = {.error = error, .uid = request->uid};
    (void)wire_send(fd, &hello, sizeof(hello), -1);
}

/* What hangs in a look-up of a user ends with the child, whatever signals were blocked by who
 * started us. */
static void limit_time(unsigned seconds)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGALRM);
    signal(SIGALRM, SIG_DFL);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    alarm(seconds);
}

static void run_filer(const struct monitor *monitor, const struct wire_control *request, int fd)
    __attribute__((noreturn));
static void run_filer(const struct monitor *monitor, const struct wire_control *request, int fd)
{
    fd = begin_child(monitor, "autodl-filer", fd);
    limit_time(BECOME_SECONDS);
    char *home = NULL;
    int r = monitor->system ? become_user(monitor->settings, request->uid, &home)
                            : become_self(monitor->options, &home);
    if (r == 0)
        r = give_up(monitor);
    if (r == 0 && chdir("/") < 0)
        r = -errno;
    if (r < 0) {
        refuse_filer(request, fd, r);
        _exit(1);
    }
    alarm(0);
    umask(request->umask);
    filer_run(fd, home, monitor->settings->allow_hidden);
}

/* What needs no look-up is refused without a process. */
static bool never_served(const struct monitor *monitor, uid_t uid)
{
    if (!monitor->system)
        return uid != getuid();
    return uid < monitor->settings->first_uid || uid == 0 || uid == NOBODY || uid == (uid_t)-1;
}

/* A filer that cannot be started is one whose control socket ends. */
static void spawn_filer(struct monitor *monitor, const struct wire_control *request, int fd)
{
    if (never_served(monitor, request->uid)) {
        refuse_filer(request, fd, -EACCES);
        return;
    }
    unsigned max = monitor->options->filers_max ? monitor->options->filers_max : FILERS_MAX;
    if (monitor->filers >= max) {
        if (!monitor->full)
            log_warning("more than %u filers are wanted at once; refusing more", max);
        monitor->full = true;
        return;
    }
    monitor->full = false;
    pid_t pid = fork();
    if (pid == 0)
        run_filer(monitor, request, fd);
    if (pid < 0)
        log_error("cannot start a filer: %s", strerror(errno));
    else
        monitor->filers++;
}

/* The one child that is root: with the monitor's two capabilities, without its groups. */
static void run_pam_child(const struct monitor *monitor, int fd) __attribute__((noreturn));
static void run_pam_child(const struct monitor *monitor, int fd)
{
    fd = begin_child(monitor, "autodl-pam", fd);
    limit_time(PAM_SECONDS);
    umask(077);
    if (chdir("/") < 0 || setgroups(0, NULL) < 0 || setresgid(0, 0, 0) < 0 ||
        setresuid(0, 0, 0) < 0 || forbid_cores(monitor) < 0) {
        log_error("cannot become root to ask PAM: %s", strerror(errno));
        _exit(1);
    }
    pam_child_run(fd);
}

/* A check that cannot be made is one whose socket ends. */
static void spawn_pam_child(struct monitor *monitor, int fd)
{
    size_t i = 0;
    while (i < PAM_CHILDREN_MAX && monitor->pam_children[i])
        i++;
    if (!monitor->system || i == PAM_CHILDREN_MAX)
        return;
    pid_t pid = fork();
    if (pid == 0)
        run_pam_child(monitor, fd);
    if (pid < 0)
        log_error("cannot start a process to ask PAM: %s", strerror(errno));
    else
        monitor->pam_children[i] = pid;
}

/* --- the monitor's life --- */

static void end(struct monitor *monitor, int status)
{
    monitor->ended = true;
    monitor->status = status;
}

/* The service learns of it by the end of its socket, and ends. */
static void stop_hearing(struct monitor *monitor)
{
    if (monitor->control >= 0)
        close(monitor->control);
    monitor->control = -1;
}

/* The variable is there for this call alone (sd_notify(3)). */
static void tell_systemd(struct monitor *monitor, const char *state)
{
    if (monitor->notify_socket && setenv("NOTIFY_SOCKET", monitor->notify_socket, 1) == 0)
        (void)sd_notify(1, state);
}

static bool obey(struct monitor *monitor, const struct wire_control *message, int fd)
{
    bool brings_socket = message->kind == WIRE_SPAWN_FILER || message->kind == WIRE_CHECK_PASSWORD;
    if (!wire_control_valid(message) || (fd >= 0) != brings_socket)
        return false;
    switch (message->kind) {
    case WIRE_READY:
        monitor->ready = true;
        tell_systemd(monitor, "READY=1");
        return true;
    case WIRE_ALIVE:
        tell_systemd(monitor, "WATCHDOG=1");
        return true;
    case WIRE_STOPPING:
        tell_systemd(monitor, "STOPPING=1");
        return true;
    case WIRE_SPAWN_FILER:
        spawn_filer(monitor, message, fd);
        return true;
    case WIRE_CHECK_PASSWORD:
        spawn_pam_child(monitor, fd);
        return true;
    default:
        return false;
    }
}

static void hear_service(struct monitor *monitor)
{
    struct wire_control message;
    _cleanup_close_ int fd = -1;
    int r = wire_receive(monitor->control, &message, sizeof(message), &fd, 0);
    if (r == -ETIMEDOUT || (r == 0 && obey(monitor, &message, fd)))
        return;
    stop_hearing(monitor);
    if (r == -EPIPE)
        return;
    log_error("the service sent what it never sends (%s); ending it",
              r < 0 ? strerror(-r) : "bad message");
    end(monitor, 1);
}

static void tell_service(struct monitor *monitor, enum wire_control_kind kind)
{
    struct wire_control message = {.kind = kind};
    int r =
        monitor->control < 0 ? -EPIPE : wire_send(monitor->control, &message, sizeof(message), -1);
    if (r == 0 || kind == WIRE_RELOAD)
        return;
    /* A service that does not listen is not waited for. */
    stop_hearing(monitor);
    end(monitor, 1);
}

/* Filers that are started from now on go by what the configuration says now; the service asks for
 * new ones when it hears of it. */
static void reload(struct monitor *monitor)
{
    struct settings fresh;
    char message[512];
    if (monitor->options->reload) {
        if (monitor->options->reload(monitor->options->data, &fresh, message) < 0) {
            log_error("not reloaded, the old settings stay: %s", message);
            return;
        }
        log_set_level(fresh.log_level);
        settings_release(&monitor->reloaded);
        monitor->reloaded = fresh;
        monitor->settings = &monitor->reloaded;
    }
    tell_service(monitor, WIRE_RELOAD);
}

static void service_ended(struct monitor *monitor, int status)
{
    bool exited = WIFEXITED(status);
    if (exited && WEXITSTATUS(status) == 0 && monitor->stops > 0) {
        end(monitor, 0);
        return;
    }
    if (!exited)
        log_error("the service died (signal %d)", WTERMSIG(status));
    else if (monitor->ready || WEXITSTATUS(status) == 0)
        log_error("the service died (status %d)", WEXITSTATUS(status));
    /* else it could not start, and has said why */
    end(monitor, 1);
}

static bool was_pam_child(struct monitor *monitor, pid_t pid)
{
    for (size_t i = 0; i < PAM_CHILDREN_MAX; i++) {
        if (monitor->pam_children[i] != pid)
            continue;
        monitor->pam_children[i] = 0;
        return true;
    }
    return false;
}

static void reap_children(struct monitor *monitor)
{
    pid_t pid;
    int status;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (pid == monitor->service) {
            service_ended(monitor, status);
            continue;
        }
        if (was_pam_child(monitor, pid)) {
            if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
                log_warning("PAM was asked about a password and gave no answer (%s %d)",
                            WIFEXITED(status) ? "status" : "signal",
                            WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
            continue;
        }
        if (monitor->filers > 0)
            monitor->filers--;
        log_debug("filer %d ended (%s %d)", (int)pid, WIFEXITED(status) ? "status" : "signal",
                  WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
    }
}

static void take_signal(struct monitor *monitor)
{
    struct signalfd_siginfo info;
    if (read(monitor->signals, &info, sizeof(info)) != (ssize_t)sizeof(info))
        return;
    switch (info.ssi_signo) {
    case SIGCHLD:
        reap_children(monitor);
        break;
    case SIGHUP:
        reload(monitor);
        break;
    default:
        if (monitor->stops++ < 2)
            tell_service(monitor, monitor->stops == 1 ? WIRE_STOP : WIRE_STOP_NOW);
    }
}

static void step(struct monitor *monitor)
{
    struct pollfd items[] = {
        {.fd = monitor->signals, .events = POLLIN},
        {.fd = monitor->control, .events = POLLIN},
    };
    if (poll(items, 2, -1) < 0)
        return;
    if (items[1].revents)
        hear_service(monitor);
    if (items[0].revents && !monitor->ended)
        take_signal(monitor);
}

static int open_signals(struct monitor *monitor)
{
    static const int heard[] = {SIGTERM, SIGINT, SIGHUP, SIGCHLD};
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < sizeof(heard) / sizeof(heard[0]); i++)
        sigaddset(&set, heard[i]);
    if (sigprocmask(SIG_BLOCK, &set, &monitor->old_mask) < 0)
        return -errno;
    /* An ignored signal would not be seen, however we were started. */
    for (size_t i = 0; i < sizeof(heard) / sizeof(heard[0]); i++)
        signal(heard[i], SIG_DFL);
    signal(SIGPIPE, SIG_IGN);
    monitor->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return monitor->signals < 0 ? -errno : 0;
}

/* No socket of ours may become a standard stream because that was closed when we were started. */
static int fill_standard_streams(void)
{
    int fd;
    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd < 0)
        return -errno;
    close(fd);
    return 0;
}

static int start(struct monitor *monitor, monitor_service service, void *data)
{
    int r = fill_standard_streams();
    if (r == 0)
        r = open_signals(monitor);
    if (r < 0)
        return r;
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
        return -errno;
    monitor->control = ends[0];
    _cleanup_close_ int theirs = ends[1];
    fflush(NULL);
    monitor->service = fork();
    if (monitor->service == 0)
        run_service(monitor, service, data, theirs);
    return monitor->service < 0 ? -errno : 0;
}

/* No child of ours has anything of it, not even where /proc would show it. */
static int take_environment(struct monitor *monitor)
{
    const char *socket = getenv("NOTIFY_SOCKET");
    monitor->notify_socket = socket ? strdup(socket) : NULL;
    if (socket && !monitor->notify_socket)
        return -ENOMEM;
    for (char **variable = environ; variable && *variable; variable++)
        explicit_bzero(*variable, strlen(*variable));
    clearenv();
    return 0;
}

int monitor_run(const struct monitor_options *options, monitor_service service, void *data)
{
    struct monitor monitor = {
        .options = options,
        .system = monitor_system_mode(),
        .settings = options->settings,
        .control = -1,
        .signals = -1,
    };
    if (reduce_privileges(&monitor) < 0)
        return 1;
    prctl(PR_SET_NAME, "autodl-monitor", 0, 0, 0);
    int r = take_environment(&monitor);
    if (r == 0)
        r = start(&monitor, service, data);
    if (r < 0) {
        log_error("cannot start the service: %s", strerror(-r));
        end(&monitor, 1);
    }
    while (!monitor.ended)
        step(&monitor);
    stop_hearing(&monitor);
    if (monitor.signals >= 0)
        close(monitor.signals);
    settings_release(&monitor.reloaded);
    free(monitor.notify_socket);
    return monitor.status;
}
