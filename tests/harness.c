#include "harness.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <grp.h>
#include <json-c/json.h>
#include <limits.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>

#include "tap.h"

#define ARGUMENTS_MAX  64
#define PROCESSES_MAX  256
#define START_TIMEOUT  20000
#define STOP_TIMEOUT   10000
#define CLIENT_TIMEOUT 60000
#define ANSWER_TIMEOUT 30000
#define LOG_LINES      40

static char suite_dir[PATH_MAX];

int64_t harness_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* What textf gave, kept reachable until the test's process ends. */
static struct text {
    struct text *older;
    char *text;
} * newest_text;

const char *textf(const char *format, ...)
{
    struct text *text = malloc(sizeof(*text));
    va_list arguments;
    va_start(arguments, format);
    if (!text || vasprintf(&text->text, format, arguments) < 0)
        abort(); /* may be called outside of tests, where Check's macros do not work */
    va_end(arguments);
    text->older = newest_text;
    newest_text = text;
    return text->text;
}

const struct identity *harness_user(void)
{
    static struct identity user;
    if (user.name)
        return &user;
    struct passwd *entry = getpwuid(geteuid() == 0 ? 65534 : geteuid());
    if (!entry) {
        printf("Bail out! this user has no entry in /etc/passwd\n");
        exit(EXIT_FAILURE);
    }
    user = (struct identity){
        .name = strdup(entry->pw_name), .uid = entry->pw_uid, .gid = entry->pw_gid};
    return &user;
}

static void pause_briefly(void)
{
    poll(NULL, 0, 20);
}

void wait_until(bool (*condition)(void *data), void *data, int timeout, const char *what)
{
    int64_t end = harness_now() + timeout;
    while (!condition(data)) {
        ck_assert_msg(harness_now() < end, "not within %d ms: %s", timeout, what);
        pause_briefly();
    }
}

/* --- files --- */

bool file_exists(const char *path)
{
    struct stat status;
    return lstat(path, &status) == 0;
}

static void give_to_user(const char *path)
{
    if (geteuid() == 0)
        ck_assert_int_eq(lchown(path, harness_user()->uid, harness_user()->gid), 0);
}

void file_write(const char *path, const char *content)
{
    FILE *file = fopen(path, "we");
    ck_assert_msg(file != NULL, "%s: %s", path, strerror(errno));
    fputs(content, file);
    ck_assert_int_eq(fclose(file), 0);
    give_to_user(path);
}

static char *read_from(int fd, off_t start)
{
    struct stat status;
    ck_assert_int_eq(fstat(fd, &status), 0);
    size_t size = status.st_size > start ? (size_t)(status.st_size - start) : 0;
    char *text = malloc(size + 1);
    ck_assert_ptr_nonnull(text);
    ssize_t len = pread(fd, text, size, start);
    ck_assert_int_ge(len, 0);
    text[len] = '\0';
    return text;
}

static char *file_read_from(const char *path, off_t start)
{
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    ck_assert_msg(fd >= 0, "%s: %s", path, strerror(errno));
    return read_from(fd, start);
}

char *file_read(const char *path)
{
    return file_read_from(path, 0);
}

static const char *make_owned_directory(const char *path, mode_t mode)
{
    ck_assert_msg(mkdir(path, mode) == 0, "%s: %s", path, strerror(errno));
    give_to_user(path);
    return path;
}

const char *make_directory(const struct service *service, const char *name)
{
    return make_owned_directory(textf("%s/%s", service->home, name), 0755);
}

unsigned count_names(const char *directory, const char *suffix)
{
    DIR *dir = opendir(directory);
    unsigned count = 0;
    struct dirent *entry;
    if (!dir)
        return 0;
    while ((entry = readdir(dir))) {
        size_t len = strlen(entry->d_name), end = suffix ? strlen(suffix) : 0;
        bool dots = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
        if (!dots && len >= end && strcmp(entry->d_name + len - end, suffix ? suffix : "") == 0)
            count++;
    }
    closedir(dir);
    return count;
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status, (void)type, (void)walk;
    remove(path);
    return 0;
}

void remove_tree(const char *path)
{
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

/* --- the suite --- */

const char *harness_dir(void)
{
    if (suite_dir[0])
        return suite_dir;
    const char *base = getenv("TMPDIR");
    snprintf(suite_dir, sizeof(suite_dir), "%s/autodl-test-XXXXXX", base ? base : "/tmp");
    if (!mkdtemp(suite_dir) || chmod(suite_dir, 0755) < 0) {
        printf("Bail out! %s: %s\n", suite_dir, strerror(errno));
        exit(EXIT_FAILURE);
    }
    return suite_dir;
}

static int copy_file(const char *from, const char *to)
{
    char buffer[65536];
    ssize_t len;
    _cleanup_close_ int in = open(from, O_RDONLY | O_CLOEXEC);
    _cleanup_close_ int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
    if (in < 0 || out < 0)
        return -errno;
    while ((len = read(in, buffer, sizeof(buffer))) > 0)
        if (write(out, buffer, (size_t)len) != len)
            return -EIO;
    return len < 0 ? -errno : 0;
}

static void copy_program(const char *name)
{
    const char *build = getenv("AUTODL_BUILD");
    char from[PATH_MAX], to[PATH_MAX + 32];
    snprintf(from, sizeof(from), "%s/%s", build ? build : ".", name);
    snprintf(to, sizeof(to), "%s/%s", harness_dir(), name);
    int result = copy_file(from, to);
    if (result == 0)
        return;
    printf("Bail out! %s: %s; run make, and set AUTODL_BUILD to where it built\n", from,
           strerror(-result));
    remove_tree(harness_dir());
    exit(EXIT_FAILURE);
}

/* Directories that are still there belong to tests that failed. */
static void print_logs(void)
{
    DIR *dir = opendir(suite_dir);
    struct dirent *entry;
    while (dir && (entry = readdir(dir))) {
        char path[PATH_MAX + NAME_MAX + 8], line[1024];
        unsigned lines = 0, number = 0;
        snprintf(path, sizeof(path), "%s/%s/log", suite_dir, entry->d_name);
        FILE *log = fopen(path, "re");
        if (!log)
            continue;
        while (fgets(line, sizeof(line), log))
            lines++;
        rewind(log);
        printf("# log of a service whose test failed, %s:\n", entry->d_name);
        while (fgets(line, sizeof(line), log))
            if (++number + LOG_LINES > lines)
                printf("#   %s", line);
        fclose(log);
    }
    if (dir)
        closedir(dir);
}

static unsigned descendants(pid_t root, pid_t *pids, unsigned max);

static void end_descendants(void)
{
    pid_t pids[PROCESSES_MAX];
    unsigned count = descendants(getpid(), pids, PROCESSES_MAX);
    for (unsigned i = 0; i < count; i++)
        kill(pids[i], SIGKILL);
    while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
        ;
}

int harness_main(Suite *suite)
{
    umask(022);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    copy_program("autodl-service");
    copy_program("autodl");
    int status = tap_main(suite);
    end_descendants();
    fflush(stdout);
    print_logs();
    if (!getenv("AUTODL_KEEP"))
        remove_tree(suite_dir);
    return status;
}

int harness_skip(const char *why)
{
    printf("1..0 # SKIP %s\n", why);
    if (suite_dir[0])
        remove_tree(suite_dir);
    return EXIT_SUCCESS;
}

/* --- processes --- */

static pid_t parent_of(pid_t pid)
{
    char path[64], line[512];
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "re");
    if (!file)
        return 0;
    int parent = 0;
    if (fgets(line, sizeof(line), file) && strrchr(line, ')') &&
        sscanf(strrchr(line, ')'), ") %*c %d", &parent) != 1)
        parent = 0;
    fclose(file);
    return parent;
}

static bool among(pid_t pid, const pid_t *pids, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (pids[i] == pid)
            return true;
    return false;
}

/* Children of `root` and, as long as something is added, children of these. */
static unsigned descendants(pid_t root, pid_t *pids, unsigned max)
{
    unsigned count = 0, before;
    do {
        before = count;
        DIR *proc = opendir("/proc");
        struct dirent *entry;
        while (proc && (entry = readdir(proc))) {
            if (!isdigit((unsigned char)entry->d_name[0]))
                continue;
            pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10), parent = parent_of(pid);
            if ((parent == root || among(parent, pids, count)) && !among(pid, pids, count) &&
                count < max)
                pids[count++] = pid;
        }
        if (proc)
            closedir(proc);
    } while (count > before);
    return count;
}

/* NULL: the process is gone. */
static const char *status_of(pid_t pid, const char *field)
{
    char line[4096];
    size_t len = strlen(field);
    const char *value = NULL;
    FILE *file = fopen(textf("/proc/%d/status", (int)pid), "re");
    while (file && !value && fgets(line, sizeof(line), file)) {
        if (strncmp(line, field, len) != 0 || line[len] != ':')
            continue;
        line[strcspn(line, "\n")] = '\0';
        value = textf("%s", line + len + 1 + strspn(line + len + 1, " \t"));
    }
    if (file)
        fclose(file);
    return value;
}

const char *process_status(pid_t pid, const char *field)
{
    const char *value = status_of(pid, field);
    ck_assert_msg(value != NULL, "no %s of process %d; it may be gone", field, (int)pid);
    return value;
}

static bool pid_ended(pid_t pid, int timeout)
{
    _cleanup_close_ int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (fd < 0)
        return true;
    struct pollfd event = {.fd = fd, .events = POLLIN};
    return poll(&event, 1, timeout) > 0;
}

int wait_exit(pid_t pid, int timeout)
{
    int status;
    bool ended = pid_ended(pid, timeout);
    if (!ended)
        kill(pid, SIGKILL);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(ended, "a process did not end within %d ms", timeout);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

void wait_gone(pid_t pid, int timeout)
{
    ck_assert_msg(pid_ended(pid, timeout), "process %d was still there after %d ms", (int)pid,
                  timeout);
    waitpid(pid, NULL, WNOHANG);
}

struct program {
    const struct identity *who; /* NULL: as the test */
    const char *arguments[ARGUMENTS_MAX];
    unsigned count;
    const char *environment[ARGUMENTS_MAX];
    unsigned variables;
    unsigned file_limit; /* 0: as the test */
    int out, err;
};

static void program_add(struct program *program, const char *argument)
{
    ck_assert_uint_lt(program->count, ARGUMENTS_MAX - 1);
    program->arguments[program->count++] = argument;
}

static void program_set(struct program *program, const char *variable)
{
    ck_assert_uint_lt(program->variables, ARGUMENTS_MAX - 1);
    program->environment[program->variables++] = variable;
}

static void program_init(struct program *program, const char *name)
{
    *program = (struct program){.out = -1, .err = -1};
    program_add(program, textf("%s/%s", harness_dir(), name));
    program_set(program, "PATH=/usr/sbin:/usr/bin:/sbin:/bin");
    program_set(program, "LC_ALL=C.UTF-8");
    static const char *const sanitizers[] = {"ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS",
                                             "LSAN_OPTIONS"};
    for (unsigned i = 0; i < 4; i++)
        if (getenv(sanitizers[i]))
            program_set(program, textf("%s=%s", sanitizers[i], getenv(sanitizers[i])));
}

static void become(const struct identity *who)
{
    if (!who || geteuid() != 0 || who->uid == 0)
        return;
    if (setgroups(0, NULL) < 0 || setresgid(who->gid, who->gid, who->gid) < 0 ||
        setresuid(who->uid, who->uid, who->uid) < 0)
        _exit(127);
}

static pid_t program_run(const struct program *program)
{
    pid_t parent = getpid(), pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid > 0)
        return pid;
    struct rlimit files = {program->file_limit, program->file_limit};
    if (program->file_limit > 0 && setrlimit(RLIMIT_NOFILE, &files) < 0)
        _exit(127);
    become(program->who);
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* after `become`, which would undo it */
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (getppid() != parent || chdir("/") < 0 || dup2(null, 0) < 0 ||
        dup2(program->out < 0 ? null : program->out, 1) < 0 ||
        dup2(program->err < 0 ? null : program->err, 2) < 0)
        _exit(127);
    syscall(SYS_close_range, 3, ~0U, 0);
    execve(program->arguments[0], (char **)program->arguments, (char **)program->environment);
    _exit(127);
}

/* --- a service --- */

void service_init(struct service *service)
{
    char *dir = (char *)textf("%s/XXXXXX", harness_dir());
    ck_assert_ptr_nonnull(mkdtemp(dir));
    ck_assert_int_eq(chmod(dir, 0755), 0);
    give_to_user(dir);
    prctl(PR_SET_CHILD_SUBREAPER, 1); /* orphans come to us, not to init */
    *service = (struct service){.dir = dir, .notify_fd = -1};
    service->home = make_owned_directory(textf("%s/home", dir), 0755);
    make_owned_directory(textf("%s/run", dir), 0700);
    make_owned_directory(textf("%s/state", dir), 0700);
    make_owned_directory(textf("%s/config", dir), 0700);
    make_owned_directory(textf("%s/config/autodl", dir), 0700);
    service->config = textf("%s/config/autodl/autodl.conf", dir);
    service->socket = textf("%s/run/autodl.sock", dir);
    service->log = textf("%s/log", dir);
    service->notify = textf("%s/notify", dir);
}

static void open_notify_socket(struct service *service)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", service->notify);
    unlink(address.sun_path);
    service->notify_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    ck_assert_int_ge(service->notify_fd, 0);
    ck_assert_int_eq(bind(service->notify_fd, (struct sockaddr *)&address, sizeof(address)), 0);
    ck_assert_int_eq(chmod(address.sun_path, 0777), 0);
}

static void read_notifications(struct service *service)
{
    char text[1024];
    ssize_t len;
    while ((len = recv(service->notify_fd, text, sizeof(text) - 1, 0)) >= 0) {
        text[len] = '\0';
        if (strstr(text, "READY=1"))
            service->ready = true;
        if (strstr(text, "STOPPING=1"))
            service->stopping = true;
        if (strstr(text, "WATCHDOG=1"))
            service->alive++;
    }
}

static char *start_log(const struct service *service)
{
    return file_read_from(service->log, service->log_start);
}

static unsigned port_in_log(const struct service *service)
{
    static const char text[] = "listening on 127.0.0.1:";
    _cleanup_free_ char *log = start_log(service);
    const char *line = strstr(log, text);
    return line ? (unsigned)strtoul(line + strlen(text), NULL, 10) : 0;
}

static void set_environment(struct program *program, const struct service *service)
{
    program_set(program, textf("NOTIFY_SOCKET=%s", service->notify));
    if (service->boot_id)
        program_set(program, textf("AUTODL_BOOT_ID=%s", service->boot_id));
    if (service->watchdog)
        program_set(program, textf("WATCHDOG_USEC=%u000", service->watchdog));
    if (service->system_mode) {
        program_set(program, "HOME=/root");
        return;
    }
    program->who = harness_user();
    program_set(program, textf("HOME=%s", service->home));
    program_set(program, textf("XDG_RUNTIME_DIR=%s/run", service->dir));
    program_set(program, textf("XDG_STATE_HOME=%s/state", service->dir));
    program_set(program, textf("XDG_CONFIG_HOME=%s/config", service->dir));
}

static void spawn_service(struct service *service, va_list options)
{
    struct program program;
    struct stat status;
    const char *option;
    bool listens = false;

    program_init(&program, "autodl-service");
    set_environment(&program, service);
    program.file_limit = service->file_limit;
    while ((option = va_arg(options, const char *))) {
        program_add(&program, option);
        listens = listens || strncmp(option, "--listen", 8) == 0;
    }
    if (!listens) {
        program_add(&program, "--listen");
        program_add(&program, "127.0.0.1:0");
    }
    program.err = open(service->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    ck_assert_int_ge(program.err, 0);
    ck_assert_int_eq(fstat(program.err, &status), 0);
    service->log_start = status.st_size;
    service->ready = service->stopping = false;
    open_notify_socket(service);
    service->monitor = program_run(&program);
    close(program.err);
}

static int ended(struct service *service, int status)
{
    read_notifications(service);
    close(service->notify_fd);
    service->notify_fd = -1;
    service->monitor = 0;
    return status;
}

int service_wait(struct service *service, int timeout)
{
    return ended(service, wait_exit(service->monitor, timeout));
}

static void wait_ready(struct service *service)
{
    int64_t end = harness_now() + START_TIMEOUT;
    _cleanup_close_ int pidfd = (int)syscall(SYS_pidfd_open, service->monitor, 0);
    ck_assert_int_ge(pidfd, 0);
    while (!service->ready) {
        struct pollfd fds[] = {
            {.fd = service->notify_fd, .events = POLLIN},
            {.fd = pidfd,              .events = POLLIN}
        };
        int64_t left = end - harness_now();
        poll(fds, 2, left > 0 ? (int)left : 0);
        read_notifications(service);
        if (service->ready)
            return;
        _cleanup_free_ char *log = start_log(service);
        ck_assert_msg(!fds[1].revents, "autodl-service ended before it was ready:\n%s", log);
        ck_assert_msg(left > 0, "autodl-service was not ready after %d ms:\n%s", START_TIMEOUT,
                      log);
    }
}

void service_start(struct service *service, ...)
{
    va_list options;
    va_start(options, service);
    spawn_service(service, options);
    va_end(options);
    wait_ready(service);
    service->port = port_in_log(service);
}

int service_start_failing(struct service *service, ...)
{
    va_list options;
    va_start(options, service);
    spawn_service(service, options);
    va_end(options);
    int status = service_wait(service, START_TIMEOUT);
    ck_assert_msg(!service->ready, "it said READY, and should not have started");
    return status;
}

int64_t service_stop(struct service *service)
{
    int64_t begin = harness_now();
    ck_assert_int_gt(service->monitor, 0);
    ck_assert_int_eq(kill(service->monitor, SIGTERM), 0);
    int status = service_wait(service, STOP_TIMEOUT);
    ck_assert_msg(status == 0, "autodl-service ended with %d after SIGTERM", status);
    ck_assert_msg(service->stopping, "it did not say STOPPING");
    return harness_now() - begin;
}

void service_kill(pid_t pid)
{
    ck_assert_int_eq(kill(pid, SIGKILL), 0);
}

void service_kill_all(struct service *service)
{
    pid_t pids[PROCESSES_MAX];
    unsigned count = descendants(service->monitor, pids, PROCESSES_MAX);
    service_kill(service->monitor);
    for (unsigned i = 0; i < count; i++)
        kill(pids[i], SIGKILL);
    ck_assert_int_eq(service_wait(service, STOP_TIMEOUT), -SIGKILL);
    for (unsigned i = 0; i < count; i++)
        wait_gone(pids[i], STOP_TIMEOUT);
}

void service_release(struct service *service)
{
    if (service->monitor > 0)
        service_stop(service);
    if (!getenv("AUTODL_KEEP"))
        remove_tree(service->dir);
}

void service_wait_log(struct service *service, const char *text, int timeout)
{
    int64_t end = harness_now() + timeout;
    for (;;) {
        _cleanup_free_ char *log = start_log(service);
        if (strstr(log, text))
            return;
        ck_assert_msg(harness_now() < end, "no \"%s\" in the log:\n%s", text, log);
        pause_briefly();
    }
}

void service_wait_alive(struct service *service, unsigned times, int timeout)
{
    int64_t end = harness_now() + timeout;
    read_notifications(service);
    for (service->alive = 0; service->alive < times; read_notifications(service)) {
        ck_assert_msg(harness_now() < end, "the watchdog heard of the service %u times, not %u",
                      service->alive, times);
        pause_briefly();
    }
}

unsigned service_heard_alive(struct service *service, int while_ms)
{
    struct pollfd fd = {.fd = service->notify_fd, .events = POLLIN};
    int64_t end = harness_now() + while_ms;
    read_notifications(service);
    service->alive = 0;
    for (int64_t left; (left = end - harness_now()) > 0; read_notifications(service))
        poll(&fd, 1, (int)left);
    return service->alive;
}

static bool is_filer(pid_t pid)
{
    const char *name = status_of(pid, "Name");
    return name && strcmp(name, "autodl-filer") == 0;
}

static unsigned children(pid_t parent, pid_t *pids, unsigned max)
{
    unsigned kept = 0, count = descendants(parent, pids, max);
    for (unsigned i = 0; i < count; i++)
        if (parent_of(pids[i]) == parent)
            pids[kept++] = pids[i];
    return kept;
}

pid_t service_process(const struct service *service)
{
    pid_t pids[PROCESSES_MAX], found = 0; /* the oldest: a filer gets its name a little later */
    unsigned count = children(service->monitor, pids, PROCESSES_MAX);
    for (unsigned i = 0; i < count; i++)
        if (!is_filer(pids[i]) && (found == 0 || pids[i] < found))
            found = pids[i];
    ck_assert_msg(found > 0, "the monitor has no service process");
    return found;
}

long service_memory(const struct service *service)
{
    return strtol(process_status(service_process(service), "VmRSS"), NULL, 10);
}

unsigned service_filers(const struct service *service, uid_t uid, pid_t *pids, unsigned max)
{
    unsigned kept = 0, count = children(service->monitor, pids, max);
    for (unsigned i = 0; i < count; i++) {
        const char *owner = status_of(pids[i], "Uid");
        bool wanted = uid == (uid_t)-1 || (owner && strtoul(owner, NULL, 10) == uid);
        if (wanted && is_filer(pids[i]))
            pids[kept++] = pids[i];
    }
    return kept;
}

/* --- the command line --- */

static int memory_file(void)
{
    int fd = memfd_create("output", MFD_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    return fd;
}

void cli_as(const struct service *service, const struct identity *who, struct output *output, ...)
{
    struct program program;
    const char *argument;
    va_list arguments;

    program_init(&program, "autodl");
    program.who = who ? who : harness_user();
    program_set(&program, textf("HOME=%s", service->home));
    program_add(&program, "--socket");
    program_add(&program, service->socket);
    va_start(arguments, output);
    while ((argument = va_arg(arguments, const char *)))
        program_add(&program, argument);
    va_end(arguments);
    _cleanup_close_ int out = memory_file();
    _cleanup_close_ int err = memory_file();
    program.out = out;
    program.err = err;
    int status = wait_exit(program_run(&program), CLIENT_TIMEOUT);
    *output = (struct output){.status = status, .out = read_from(out, 0), .err = read_from(err, 0)};
}

void output_release(struct output *output)
{
    free(output->out);
    free(output->err);
    *output = (struct output){0};
}

/* --- raw HTTP --- */

/* For this thread alone (glibc's functions would change all threads): what the kernel notes about
 * a socket is who made it. */
static void set_thread_user(uid_t uid, gid_t gid)
{
    if (uid == 0)
        ck_assert_int_eq(syscall(SYS_setresuid, -1, uid, -1), 0);
    ck_assert_int_eq(syscall(SYS_setresgid, -1, gid, -1), 0);
    if (uid != 0)
        ck_assert_int_eq(syscall(SYS_setresuid, -1, uid, -1), 0);
}

static int connect_as(const struct identity *who, const void *address, socklen_t size)
{
    bool switches = getuid() == 0;
    const struct identity *user = who ? who : harness_user();
    if (switches)
        set_thread_user(user->uid, user->gid);
    int fd = socket(((const struct sockaddr *)address)->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int result = fd < 0 ? -errno : connect(fd, address, size) < 0 ? -errno : 0;
    if (switches)
        set_thread_user(0, 0);
    ck_assert_msg(result == 0, "cannot connect: %s", strerror(-result));
    return fd;
}

int connect_tcp(unsigned port, const struct identity *who)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    return connect_as(who, &address, sizeof(address));
}

int connect_unix(const char *path, const struct identity *who)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    ck_assert_uint_lt(strlen(path), sizeof(address.sun_path));
    memcpy(address.sun_path, path, strlen(path) + 1);
    return connect_as(who, &address, sizeof(address));
}

/* Where the body begins; 0: the head is not whole. */
static size_t head_length(const char *data)
{
    const char *end = strstr(data, "\r\n\r\n");
    return end ? (size_t)(end - data) + 4 : 0;
}

/* Of a stream without end, the head is enough. */
static bool answer_whole(const char *data, size_t len)
{
    size_t head = head_length(data);
    const char *stream = head ? strcasestr(data, "\r\nContent-Type: text/event-stream") : NULL;
    if (stream && stream < data + head)
        return true;
    const char *length = head ? strcasestr(data, "\r\nContent-Length:") : NULL;
    if (!length || length >= data + head)
        return false;
    return len - head >= strtoul(length + 17, NULL, 10);
}

static void parse_answer(char *data, size_t len, struct answer *ret_answer)
{
    size_t head = head_length(data);
    struct answer answer = {0};
    if (head > 0) {
        ck_assert_msg(sscanf(data, "HTTP/1.%*[01] %d", &answer.status) == 1, "not HTTP: %s", data);
        answer.head = strndup(data, head - 2);
        answer.body_length = len - head;
        answer.body = malloc(answer.body_length + 1);
        ck_assert_ptr_nonnull(answer.body);
        memcpy(answer.body, data + head, answer.body_length + 1);
    }
    free(data);
    *ret_answer = answer;
}

void http_exchange(int fd, const void *bytes, size_t len, struct answer *ret_answer)
{
    int64_t end = harness_now() + ANSWER_TIMEOUT;
    size_t sent = 0, got = 0, size = 2 << 20;
    char *data = calloc(1, size + 1);
    bool open = true;

    while (open && !(answer_whole(data, got) && sent == len)) {
        struct pollfd event = {.fd = fd, .events = POLLIN | (sent < len ? POLLOUT : 0)};
        int left = (int)(end - harness_now());
        ck_assert_msg(left > 0 && poll(&event, 1, left) > 0, "no answer within %d ms; so far: %s",
                      ANSWER_TIMEOUT, data);
        if (sent < len && (event.revents & POLLOUT)) {
            ssize_t n =
                send(fd, (const char *)bytes + sent, len - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
            sent = n > 0 ? sent + (size_t)n : errno == EAGAIN ? sent : len;
        }
        if (event.revents & (POLLIN | POLLHUP | POLLERR)) {
            ck_assert_uint_lt(got, size);
            ssize_t n = recv(fd, data + got, size - got, MSG_DONTWAIT);
            open = n > 0 || (n < 0 && errno == EAGAIN);
            got += n > 0 ? (size_t)n : 0;
        }
    }
    close(fd);
    parse_answer(data, got, ret_answer);
}

const char *http_request_text(const char *method, const char *target, const char *headers,
                              const char *body)
{
    const char *type = headers && strcasestr(headers, "Content-Type:")
                           ? ""
                           : "Content-Type: application/x-www-form-urlencoded\r\n";
    const char *head = textf("%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n%s", method,
                             target, headers ? headers : "");
    if (!body)
        return textf("%s\r\n", head);
    return textf("%s%sContent-Length: %zu\r\n\r\n%s", head, type, strlen(body), body);
}

void http_unix(const struct service *service, const struct identity *who, const char *request,
               struct answer *ret_answer)
{
    http_exchange(connect_unix(service->socket, who), request, strlen(request), ret_answer);
}

void http_tcp(const struct service *service, const struct identity *who, const char *request,
              struct answer *ret_answer)
{
    http_exchange(connect_tcp(service->port, who), request, strlen(request), ret_answer);
}

const char *http_basic(const char *user, const char *password)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *text = (const unsigned char *)textf("%s:%s", user, password);
    size_t len = strlen((const char *)text);
    char coded[512] = "", *to = coded;
    ck_assert_uint_lt(len, 300);
    for (size_t i = 0; i < len; i += 3) {
        unsigned second = i + 1 < len ? text[i + 1] : 0, third = i + 2 < len ? text[i + 2] : 0;
        unsigned bits = (unsigned)text[i] << 16 | second << 8 | third;
        *to++ = digits[bits >> 18];
        *to++ = digits[bits >> 12 & 63];
        *to++ = i + 1 < len ? digits[bits >> 6 & 63] : '=';
        *to++ = i + 2 < len ? digits[bits & 63] : '=';
    }
    return textf("Authorization: Basic %s\r\n", coded);
}

const char *answer_header(const struct answer *answer, const char *name)
{
    const char *line = answer->head ? strcasestr(answer->head, textf("\r\n%s:", name)) : NULL;
    if (!line)
        return NULL;
    line += 2 + strlen(name) + 1;
    line += strspn(line, " \t");
    return textf("%.*s", (int)strcspn(line, "\r\n"), line);
}

const char *answer_string(const struct answer *answer, const char *key)
{
    struct json_object *object = answer->body ? json_tokener_parse(answer->body) : NULL;
    struct json_object *value;
    const char *text = NULL;
    if (json_object_is_type(object, json_type_object) &&
        json_object_object_get_ex(object, key, &value) &&
        json_object_is_type(value, json_type_string))
        text = textf("%s", json_object_get_string(value));
    json_object_put(object);
    return text;
}

void answer_release(struct answer *answer)
{
    free(answer->head);
    free(answer->body);
    *answer = (struct answer){0};
}

/* --- tasks --- */

void task_view_release(struct task_view *view)
{
    free(view->url);
    free(view->dest);
    *view = (struct task_view){0};
}

static const char *member_text(struct json_object *object, const char *key)
{
    struct json_object *value;
    ck_assert_msg(json_object_object_get_ex(object, key, &value), "no \"%s\" in %s", key,
                  json_object_to_json_string(object));
    return json_object_get_string(value);
}

void task_parse(const char *body, struct task_view *ret_view)
{
    struct json_object *outer = json_tokener_parse(body);
    ck_assert_msg(json_object_is_type(outer, json_type_object), "not an object: %s", body);
    struct json_object *task = json_tokener_parse(member_text(outer, "task"));
    ck_assert_msg(json_object_is_type(task, json_type_object), "no task in %s", body);
    *ret_view = (struct task_view){.url = strdup(member_text(task, "url")),
                                   .dest = strdup(member_text(task, "dest")),
                                   .duration = strtod(member_text(task, "duration"), NULL)};
    snprintf(ret_view->id, sizeof(ret_view->id), "%s", member_text(task, "id"));
    snprintf(ret_view->status, sizeof(ret_view->status), "%s", member_text(task, "status"));
    json_object_put(task);
    json_object_put(outer);
}

static const char *form_encode(const char *text)
{
    char *coded = (char *)textf("%*s", (int)strlen(text) * 3, ""), *to = coded;
    for (; *text; text++)
        to += isalnum((unsigned char)*text) ? snprintf(to, 2, "%c", *text)
                                            : snprintf(to, 4, "%%%02X", (unsigned char)*text);
    return coded;
}

int add_task(const struct service *service, const struct identity *who, const char *url,
             const char *directory, struct task_view *ret_view)
{
    _cleanup_answer_ struct answer answer;
    const char *body = textf("url=%s", form_encode(url));
    if (directory)
        body = textf("%s&path=%s", body, form_encode(directory));
    http_unix(service, who, http_request_text("POST", "/add", NULL, body), &answer);
    if (answer.status == 200)
        task_parse(answer.body, ret_view);
    return answer.status;
}

int get_task(const struct service *service, const struct identity *who, const char *id,
             struct task_view *ret_view)
{
    _cleanup_answer_ struct answer answer;
    const char *target = textf("/status?task_id=%s", id);
    http_unix(service, who, http_request_text("GET", target, NULL, NULL), &answer);
    if (answer.status == 200)
        task_parse(answer.body, ret_view);
    return answer.status;
}

static bool state_ended(const char *state)
{
    return strcmp(state, "FINISHED") == 0 || strcmp(state, "FAILED") == 0 ||
           strcmp(state, "CLEARED") == 0 || strcmp(state, "CANCELLED") == 0;
}

void wait_state(const struct service *service, const struct identity *who, const char *id,
                const char *state, int timeout)
{
    int64_t end = harness_now() + timeout;
    for (;;) {
        _cleanup_view_ struct task_view view = {0};
        ck_assert_int_eq(get_task(service, who, id, &view), 200);
        if (strcmp(view.status, state) == 0)
            return;
        ck_assert_msg(!state_ended(view.status) && harness_now() < end, "task %s is %s, not %s", id,
                      view.status, state);
        pause_briefly();
    }
}

char *read_stats(const struct service *service)
{
    static const struct identity root = {"root", 0, 0};
    _cleanup_answer_ struct answer answer;
    http_unix(service, service->system_mode ? &root : NULL,
              http_request_text("GET", "/stats", NULL, NULL), &answer);
    ck_assert_int_eq(answer.status, 200);
    return TAKE_PTR(answer.body);
}

long read_count(const struct service *service, const char *key)
{
    static const char *const groups[] = {"tasks", "downloader"};
    _cleanup_free_ char *text = read_stats(service);
    struct json_object *stats = json_tokener_parse(text), *group, *value;
    long count = 0;
    ck_assert_msg(json_object_is_type(stats, json_type_object), "not an object: %s", text);
    for (unsigned i = 0; i < 2; i++) {
        ck_assert_msg(json_object_object_get_ex(stats, groups[i], &group), "no \"%s\" in %s",
                      groups[i], text);
        if (json_object_object_get_ex(group, key, &value))
            count = (long)json_object_get_int64(value);
    }
    json_object_put(stats);
    return count;
}

void wait_count(const struct service *service, const char *key, long number, int timeout)
{
    int64_t end = harness_now() + timeout;
    while (read_count(service, key) != number) {
        _cleanup_free_ char *text = read_stats(service);
        ck_assert_msg(harness_now() < end, "%s did not become %ld within %d ms: %s", key, number,
                      timeout, text);
        pause_briefly();
    }
}

void call(const struct service *service, const struct identity *who, const char *method,
          const char *target)
{
    _cleanup_answer_ struct answer answer;
    http_unix(service, who, http_request_text(method, target, NULL, NULL), &answer);
    ck_assert_msg(answer.status == 200, "%s %s gives %d: %s", method, target, answer.status,
                  answer.body);
}
