/*
 * Filers, monitor and the service's end of both, as real processes in user mode. A test forks a
 * monitor; the scenario runs in its service, which ends by having itself stopped.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <grp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/units.h"
#include "privsep/files.h"
#include "privsep/monitor.h"
#include "privsep/privsep.h"
#include "privsep/wire.h"
#include "tap.h"

#define NOBODY 65534
#define SOON   10000 /* ms; only a failing test waits that long */
#define PART   ".0123cdef.part"

/* In the service, where Check's assertions would not be heard. */
#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            dprintf(STDERR_FILENO, "%s:%d: %s (errno %d)\n", __FILE__, __LINE__, #condition,       \
                    errno);                                                                        \
            _exit(99);                                                                             \
        }                                                                                          \
    } while (0)

#define CHECK_INT(value, expected)                                                                 \
    do {                                                                                           \
        long long value_ = (value);                                                                \
        long long expected_ = (expected);                                                          \
        if (value_ != expected_) {                                                                 \
            dprintf(STDERR_FILENO, "%s:%d: %s is %lld, not %lld\n", __FILE__, __LINE__, #value,    \
                    value_, expected_);                                                            \
            _exit(99);                                                                             \
        }                                                                                          \
    } while (0)

/* The tests look into /proc of processes that would not be dumpable. */
int __real_prctl(int option, ...);
int __wrap_prctl(int option, ...);
int __wrap_prctl(int option, ...)
{
    unsigned long values[4];
    va_list arguments;
    va_start(arguments, option);
    for (size_t i = 0; i < 4; i++)
        values[i] = va_arg(arguments, unsigned long);
    va_end(arguments);
    if (option == PR_SET_DUMPABLE && values[0] == 0)
        return 0;
    return __real_prctl(option, values[0], values[1], values[2], values[3]);
}

/* What test and service both see. */
static struct shared {
    atomic_int service; /* pid, once it is up */
    atomic_bool passed;
    atomic_int reloads;
} * shared;

static char base[64]; /* a directory of the test's, its real path */
static char home[80];

/* The service's. */
static struct {
    struct privsep *privsep;
    struct files *files;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool stopped;
    unsigned answers;
} world = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

/* --- the test's side --- */

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static void setup(void)
{
    char made[] = "/tmp/check_files.XXXXXX";
    ck_assert_ptr_nonnull(mkdtemp(made));
    _cleanup_free_ char *real = realpath(made, NULL);
    ck_assert_ptr_nonnull(real);
    snprintf(base, sizeof(base), "%s", real);
    snprintf(home, sizeof(home), "%s/home", base);
    ck_assert_int_eq(mkdir(home, 0755), 0);
    if (geteuid() == 0) {
        ck_assert_int_eq(chown(base, NOBODY, NOBODY), 0);
        ck_assert_int_eq(chown(home, NOBODY, NOBODY), 0);
    }
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(shared, MAP_FAILED);
}

static void teardown(void)
{
    nftw(base, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    munmap(shared, sizeof(*shared));
}

static int service_main(int control, void *data);

/* An ordinary user's monitor, in a process of its own. */
static pid_t start_monitor(void (*scenario)(void))
{
    fflush(NULL);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid > 0)
        return pid;
    if (geteuid() == 0) {
        CHECK(setgroups(0, NULL) == 0);
        CHECK(setresgid(NOBODY, NOBODY, NOBODY) == 0);
        CHECK(setresuid(NOBODY, NOBODY, NOBODY) == 0);
        CHECK(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) == 0);
    }
    static struct settings settings;
    CHECK_INT(settings_init(&settings, "/nonexistent"), 0);
    struct monitor_options options = {.run_as = "nobody", .settings = &settings, .home = home};
    _exit(monitor_run(&options, service_main, (void *)scenario));
}

static int wait_exit(pid_t pid)
{
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static void run(void (*scenario)(void))
{
    pid_t pid = start_monitor(scenario);
    ck_assert_int_eq(wait_exit(pid), 0);
    ck_assert(shared->passed);
}

static void tick(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

static pid_t wait_service(void)
{
    for (int i = 0; i < SOON && !shared->service; i++)
        tick();
    ck_assert_int_gt(shared->service, 0);
    return shared->service;
}

/* A process that need not be our child has ended (or was never there). */
static bool ended(pid_t pid, int timeout)
{
    _cleanup_close_ int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (fd < 0)
        return true;
    struct pollfd item = {.fd = fd, .events = POLLIN};
    return poll(&item, 1, timeout) == 1;
}

/* --- the service's side --- */

static void on_stop(void *data)
{
    (void)data;
    pthread_mutex_lock(&world.lock);
    world.stopped = true;
    pthread_cond_broadcast(&world.changed);
    pthread_mutex_unlock(&world.lock);
}

static void on_reload(void *data)
{
    (void)data;
    shared->reloads++;
}

static void on_answer(void *data, uid_t uid)
{
    (void)data;
    (void)uid;
    pthread_mutex_lock(&world.lock);
    world.answers++;
    pthread_cond_broadcast(&world.changed);
    pthread_mutex_unlock(&world.lock);
}

static unsigned answers(void)
{
    pthread_mutex_lock(&world.lock);
    unsigned n = world.answers;
    pthread_mutex_unlock(&world.lock);
    return n;
}

static void wait_answers(unsigned n)
{
    struct timespec when;
    clock_gettime(CLOCK_REALTIME, &when);
    when.tv_sec += SOON / 1000;
    pthread_mutex_lock(&world.lock);
    while (world.answers < n)
        CHECK_INT(pthread_cond_timedwait(&world.changed, &world.lock, &when), 0);
    pthread_mutex_unlock(&world.lock);
}

static void wait_stop(void)
{
    pthread_mutex_lock(&world.lock);
    while (!world.stopped)
        pthread_cond_wait(&world.changed, &world.lock);
    pthread_mutex_unlock(&world.lock);
}

static int service_main(int control, void *data)
{
    void (*scenario)(void) = (void (*)(void))data;
    struct privsep_events events = {.on_stop = on_stop, .on_reload = on_reload};
    CHECK_INT(privsep_create(control, &events, &world.privsep), 0);
    CHECK_INT(files_create(world.privsep, 027, 60000, on_answer, NULL, &world.files), 0);
    shared->service = getpid();
    scenario();
    files_destroy(world.files);
    kill(getppid(), SIGTERM);
    wait_stop();
    CHECK_INT(privsep_stopping(world.privsep), 0);
    privsep_destroy(world.privsep);
    shared->passed = true;
    return 0;
}

/* Living children of the monitor that are filers: their number, the last one's pid. */
static unsigned filers(pid_t *ret_pid)
{
    unsigned count = 0;
    DIR *proc = opendir("/proc");
    CHECK(proc);
    struct dirent *entry;
    while ((entry = readdir(proc))) {
        char path[300];
        char text[512];
        snprintf(path, sizeof(path), "/proc/%s/stat", entry->d_name);
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
        if (n <= 0)
            continue;
        text[n] = '\0';
        int pid;
        int parent;
        char name[32];
        char state;
        if (sscanf(text, "%d (%31[^)]) %c %d", &pid, name, &state, &parent) == 4 &&
            strcmp(name, "autodl-filer") == 0 && parent == getppid() && state != 'Z') {
            count++;
            *ret_pid = pid;
        }
    }
    closedir(proc);
    return count;
}

/* One that was killed closes its sockets a moment before it is gone. */
static pid_t the_filer(void)
{
    pid_t pid = 0;
    int64_t end = units_now_boottime() + SOON;
    while (filers(&pid) > 1 && units_now_boottime() < end)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    CHECK_INT(filers(&pid), 1);
    return pid;
}

/* Those of the one filer, until its channels are closed but standard streams, control and epoll. */
static unsigned open_filer_descriptors(void)
{
    char path[64];
    unsigned count = 0;
    snprintf(path, sizeof(path), "/proc/%d/fd", (int)the_filer());
    for (int i = 0; i < SOON && count != 5; i++) {
        DIR *dir = opendir(path);
        CHECK(dir);
        for (count = 0; readdir(dir); count++)
            ;
        closedir(dir);
        count -= 2; /* . and .. */
    }
    return count;
}

static struct files_channel *channel_open(void)
{
    struct files_channel *channel;
    CHECK_INT(files_open(world.files, getuid(), &channel), 0);
    CHECK_INT(files_uid(channel), getuid());
    return channel;
}

static const char *in_base(const char *name)
{
    static _Thread_local char paths[4][512];
    static _Thread_local unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof(paths[0]), "%s/%s", base, name);
    return path;
}

static void make_file(const char *name, const char *content)
{
    _cleanup_close_ int fd = open(in_base(name), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    CHECK(fd >= 0);
    CHECK_INT(write(fd, content, strlen(content)), (ssize_t)strlen(content));
}

static struct stat look(const char *name)
{
    struct stat st;
    CHECK_INT(lstat(in_base(name), &st), 0);
    return st;
}

static void check_prepared(struct files_channel *channel, const char *wanted, const char *expected)
{
    _cleanup_free_ char *got = NULL;
    CHECK_INT(files_prepare(channel, wanted, SOON, &got), 0);
    if (strcmp(got, expected) != 0)
        dprintf(STDERR_FILENO, "%s gave %s, not %s\n", wanted, got, expected);
    CHECK(strcmp(got, expected) == 0);
    struct stat st;
    CHECK(stat(got, &st) == 0 && S_ISDIR(st.st_mode));
}

static void check_unprepared(struct files_channel *channel, const char *wanted, int expected)
{
    char *got = (char *)"untouched";
    int r = files_prepare(channel, wanted, SOON, &got);
    if (r != expected)
        dprintf(STDERR_FILENO, "%s gave %d\n", wanted, r);
    CHECK_INT(r, expected);
    CHECK(strcmp(got, "untouched") == 0);
}

/* --- scenarios: one filer that works --- */

static void prepare(void)
{
    struct files_channel *channel = channel_open();
    check_prepared(channel, base, base);
    check_prepared(channel, in_base("a/b/c"), in_base("a/b/c"));
    CHECK_INT(look("a/b/c").st_mode & 07777, 0750);
    check_prepared(channel, in_base("a//./b/d/."), in_base("a/b/d"));
    check_prepared(channel, in_base("a/"), in_base("a"));
    check_prepared(channel, "~", home);
    check_prepared(channel, "~/", home);
    check_prepared(channel, "~/x/./y//", in_base("home/x/y"));

    /* Behind a symbolic link, ".." is where the kernel says. */
    check_prepared(channel, in_base("real/inner"), in_base("real/inner"));
    CHECK_INT(symlink("real/inner", in_base("link")), 0);
    check_prepared(channel, in_base("link/more"), in_base("link/more"));
    check_prepared(channel, in_base("link/../other"), in_base("real/other"));
    check_prepared(channel, in_base("new/../a"), in_base("a"));
    files_close(channel);
}

static void prepare_refused(void)
{
    struct files_channel *channel = channel_open();
    check_unprepared(channel, "/", -EACCES);
    check_unprepared(channel, "/no-such-directory-of-ours/x", -EACCES);
    make_file("file", "");
    check_unprepared(channel, in_base("file"), -ENOTDIR);
    check_unprepared(channel, in_base("file/x"), -ENOTDIR);
    CHECK_INT(symlink("nowhere", in_base("dangling")), 0);
    check_unprepared(channel, in_base("dangling/x"), -ENOENT);
    CHECK_INT(symlink("circle", in_base("circle")), 0);
    check_unprepared(channel, in_base("circle"), -ELOOP);
    CHECK_INT(mkdir(in_base("readonly"), 0555), 0);
    check_unprepared(channel, in_base("readonly"), -EACCES);
    check_unprepared(channel, in_base("readonly/x"), -EACCES);
    check_unprepared(channel, "~/.hidden/z", -EPERM);
    check_unprepared(channel, in_base("home/.hidden"), -EPERM);
    check_unprepared(channel, in_base("x/../.hidden"), -EPERM);
    check_unprepared(channel, in_base("x/..."), -EPERM);
    check_unprepared(channel, "relative", -EINVAL);
    check_unprepared(channel, "", -EINVAL);
    check_unprepared(channel, "~other", -EINVAL);
    char text[5001];
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    text[0] = '/';
    check_unprepared(channel, text, -ENAMETOOLONG);
    text[0] = '~'; /* fits as it is, but not with ~ expanded */
    text[1] = '/';
    text[API_PATH_MAX] = '\0';
    check_unprepared(channel, text, -ENAMETOOLONG);
    text[0] = '/';
    text[300] = '\0';
    check_unprepared(channel, text, -ENAMETOOLONG);
    files_close(channel);
}

static _Thread_local struct files_stat unused;

static int rename_part(struct files_channel *channel, const char *directory, const char *from,
                       const char *to, bool replace, dev_t dev, ino_t ino, int timeout)
{
    struct files_move move = {directory, from, to, replace, dev, ino, 0, false, 0};
    return files_rename(channel, &move, timeout);
}

static void open_part(void)
{
    struct files_channel *channel = channel_open();
    int fd = -1;
    CHECK_INT(files_open_part(channel, base, "p" PART, SOON, &fd, &unused), 0);
    CHECK_INT(fcntl(fd, F_GETFD), FD_CLOEXEC);
    CHECK_INT(fcntl(fd, F_GETFL) & (O_ACCMODE | O_NONBLOCK | O_APPEND), O_RDWR);
    CHECK_INT(pwrite(fd, "hello", 5, 3), 5);
    close(fd);
    CHECK_INT(look("p" PART).st_size, 8);
    CHECK_INT(look("p" PART).st_mode & 07777, 0640);

    struct files_stat st;
    CHECK_INT(files_stat(channel, base, "p" PART, SOON, &st), 0);
    CHECK(S_ISREG(st.mode) && st.size == 8);
    CHECK(st.dev == look("p" PART).st_dev && st.ino == look("p" PART).st_ino);
    CHECK_INT(files_stat(channel, base, "none", SOON, &st), -ENOENT);

    CHECK_INT(files_open_part(channel, base, "p" PART, SOON, &fd, &unused), 0);
    close(fd);
    CHECK_INT(look("p" PART).st_size, 8); /* opening changes nothing */
    CHECK_INT(files_open_part(channel, in_base("none"), "p" PART, SOON, &fd, &unused), -ENOENT);
    CHECK_INT(files_open_part(channel, base, "a/b", SOON, &fd, &unused), -EINVAL);
    CHECK_INT(files_open_part(channel, base, "..", SOON, &fd, &unused), -EINVAL);
    CHECK_INT(files_open_part(channel, base, "other", SOON, &fd, &unused), -EINVAL);
    CHECK_INT(files_open_part(channel, base, ".bashrc" PART, SOON, &fd, &unused), -EPERM);
    CHECK_INT(files_open_part(channel, "~", "p" PART, SOON, &fd, &unused), -EINVAL);
    files_close(channel);
}

static void stat_many(void)
{
    struct files_channel *channel = channel_open();
    const char *names[FILES_NAMES_MAX];
    static char texts[FILES_NAMES_MAX][12];
    static enum files_kind kinds[FILES_NAMES_MAX];
    for (int i = 0; i < FILES_NAMES_MAX; i++) {
        snprintf(texts[i], sizeof(texts[i]), "n%d", i);
        names[i] = texts[i];
    }
    make_file("n7", "");
    make_file("n9999", "x");
    CHECK_INT(mkdir(in_base("n0"), 0755), 0);
    CHECK_INT(symlink("nothing", in_base("n8")), 0);
    CHECK_INT(files_stat_many(channel, base, names, FILES_NAMES_MAX, SOON, kinds), 0);
    for (int i = 0; i < FILES_NAMES_MAX; i++)
        CHECK_INT(kinds[i], i == 7 || i == 9999 ? FILES_FILE
                            : i == 0 || i == 8  ? FILES_OTHER
                                                : FILES_NOTHING);
    CHECK_INT(files_stat_many(channel, base, names + 7, 1, SOON, kinds), 0);
    CHECK_INT(kinds[0], FILES_FILE);
    static const char *const bad[] = {"a/b", "..", "."};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        names[1] = bad[i];
        CHECK_INT(files_stat_many(channel, base, names, 3, SOON, kinds), -EINVAL);
    }
    names[1] = ".hidden";
    CHECK_INT(files_stat_many(channel, base, names, 3, SOON, kinds), -EPERM);
    CHECK_INT(files_stat_many(channel, in_base("none"), names, 1, SOON, kinds), -ENOENT);
    CHECK_INT(kinds[0], FILES_FILE); /* untouched */
    char *directory = NULL;
    int64_t room = 0;
    CHECK_INT(files_room(channel, base, SOON, &directory, &room), 0);
    CHECK(room > 0);
    free(directory);
    files_close(channel);
}

/* What somebody planted where a part should be. */
static void planted(void)
{
    struct files_channel *channel = channel_open();
    int fd = -1;
    make_file("victim", "precious");
    CHECK_INT(mkfifo(in_base("fifo" PART), 0666), 0);
    CHECK_INT(symlink("victim", in_base("symlink" PART)), 0);
    CHECK_INT(symlink("nothing", in_base("dangling" PART)), 0);
    CHECK_INT(link(in_base("victim"), in_base("hardlink" PART)), 0);
    CHECK_INT(mkdir(in_base("directory" PART), 0755), 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", in_base("socket" PART));
    _cleanup_close_ int socket_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK_INT(bind(socket_fd, (struct sockaddr *)&address, sizeof(address)), 0);
    static const char *const names[] = {"fifo" PART,     "symlink" PART,   "dangling" PART,
                                        "hardlink" PART, "directory" PART, "socket" PART};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        int r = files_open_part(channel, base, names[i], SOON, &fd, &unused);
        if (r != -EEXIST)
            dprintf(STDERR_FILENO, "%s: %d\n", names[i], r);
        CHECK_INT(r, -EEXIST);
    }
    CHECK_INT(fd, -1);
    CHECK_INT(look("victim").st_size, 8);
    CHECK_INT(access(in_base("nothing"), F_OK), -1);

    struct files_stat st;
    CHECK_INT(files_stat(channel, base, "symlink" PART, SOON, &st), 0);
    CHECK(S_ISLNK(st.mode));
    /* Nor is any of it renamed or, but for names that are the part's, removed. */
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        int r = rename_part(channel, base, names[i], "final", true, 0, 0, SOON);
        CHECK_INT(r, strcmp(names[i], "hardlink" PART) == 0 ? 0 : -ENOENT);
    }
    CHECK_INT(look("victim").st_size, 8);
    make_file("p" PART, "");
    CHECK_INT(rename_part(channel, base, "p" PART, "dangling" PART, false, 0, 0, SOON), -EEXIST);
    files_close(channel);
}

static void rename_unlink_sync(void)
{
    struct files_channel *channel = channel_open();
    static const char a_part[] = "a" PART, b_part[] = "b" PART, b2_part[] = "b2" PART;
    make_file(a_part, "a");
    make_file("other", "other");
    struct stat a = look(a_part);
    CHECK_INT(rename_part(channel, base, a_part, "other", false, a.st_dev, a.st_ino, SOON),
              -EEXIST);
    CHECK_INT(look("other").st_size, 5);
    CHECK_INT(rename_part(channel, base, a_part, b_part, false, a.st_dev, a.st_ino, SOON), 0);
    CHECK(look(b_part).st_ino == a.st_ino);
    /* Again: done already. To another name: not done. */
    CHECK_INT(rename_part(channel, base, a_part, b_part, false, a.st_dev, a.st_ino, SOON), 0);
    CHECK_INT(rename_part(channel, base, a_part, "c", false, a.st_dev, a.st_ino, SOON), -ENOENT);
    CHECK_INT(rename_part(channel, base, a_part, "other", false, a.st_dev, a.st_ino, SOON),
              -ENOENT);
    /* Half done by link and unlink. */
    CHECK_INT(link(in_base(b_part), in_base(b2_part)), 0);
    CHECK_INT(rename_part(channel, base, b_part, b2_part, false, a.st_dev, a.st_ino, SOON), 0);
    CHECK_INT(access(in_base(b_part), F_OK), -1);
    CHECK_INT(rename_part(channel, base, b2_part, ".b", false, a.st_dev, a.st_ino, SOON), -EPERM);
    CHECK_INT(rename_part(channel, base, "other", "b", false, a.st_dev, a.st_ino, SOON), -EINVAL);

    CHECK_INT(files_unlink(channel, base, b2_part, SOON), 0);
    CHECK_INT(access(in_base(b2_part), F_OK), -1);
    CHECK_INT(files_unlink(channel, base, b2_part, SOON), 0);
    CHECK_INT(files_unlink(channel, in_base("none"), b2_part, SOON), 0);
    CHECK_INT(files_unlink(channel, base, "other", SOON), -EINVAL);
    CHECK_INT(look("other").st_size, 5);
    CHECK_INT(mkdir(in_base("d" PART), 0755), 0);
    CHECK(files_unlink(channel, base, "d" PART, SOON) < 0);
    CHECK_INT(files_sync(channel, base, SOON), 0);
    CHECK_INT(files_sync(channel, in_base("none"), SOON), -ENOENT);
    CHECK_INT(files_sync(channel, in_base("other"), SOON), -ENOTDIR);
    CHECK_INT(mkdir(in_base("dropbox"), 0333), 0);
    CHECK_INT(files_sync(channel, in_base("dropbox"), SOON), 0);
    files_close(channel);
}

#define MOVES 21 /* more than are under way at once */

/* In two directories, some with results of their own. */
static void fill_moves(struct files_move moves[MOVES], char names[MOVES][2][32])
{
    static char places[2][API_PATH_MAX + 1];
    snprintf(places[0], sizeof(places[0]), "%s", base);
    snprintf(places[1], sizeof(places[1]), "%s/sub", base);
    for (int i = 0; i < MOVES; i++) {
        const char *place = i % 3 == 0 ? "sub/" : "";
        char path[64];
        snprintf(names[i][0], sizeof(names[i][0]), "m%d" PART, i);
        snprintf(names[i][1], sizeof(names[i][1]), "m%d", i);
        snprintf(path, sizeof(path), "%sm%d" PART, place, i);
        make_file(path, "m");
        struct stat st = look(path);
        moves[i] = (struct files_move){.directory = places[i % 3 == 0],
                                       .from = names[i][0],
                                       .to = names[i][1],
                                       .dev = st.st_dev,
                                       .ino = st.st_ino};
    }
    make_file("m5", "taken");
    CHECK_INT(unlink(in_base("m7" PART)), 0);
    CHECK_INT(rename(in_base("sub/m9" PART), in_base("sub/m9")), 0); /* done before */
    moves[11].to = "a/b";
    make_file("m13", "old");
    moves[13].replace = true;
}

static void many_renames(void)
{
    struct files_channel *channel = channel_open();
    struct files_move moves[MOVES];
    char names[MOVES][2][32];
    CHECK_INT(mkdir(in_base("sub"), 0755), 0);
    fill_moves(moves, names);
    files_rename_all(channel, moves, MOVES);
    for (int i = 0; i < MOVES; i++) {
        char path[64];
        int expected = i == 5 ? -EEXIST : i == 7 ? -ENOENT : i == 11 ? -EINVAL : 0;
        CHECK_INT(moves[i].result, expected);
        snprintf(path, sizeof(path), "%sm%d", i % 3 == 0 ? "sub/" : "", i);
        CHECK(expected || look(path).st_ino == moves[i].ino);
    }
    CHECK_INT(look("m5").st_size, 5);
    CHECK_INT(look("m11" PART).st_size, 1);
    /* The directory is the one that has the name now, not the one that had it before. */
    CHECK_INT(rename(in_base("sub"), in_base("moved")), 0);
    CHECK_INT(mkdir(in_base("sub"), 0755), 0);
    make_file("sub/again" PART, "m");
    CHECK_INT(rename_part(channel, in_base("sub"), "again" PART, "again", false, 0, 0, SOON), 0);
    CHECK_INT(look("sub/again").st_size, 1);
    files_rename_all(channel, moves, 0);
    files_close(channel);
}

static void rename_replaces(void)
{
    struct files_channel *channel = channel_open();
    static const char a_part[] = "a" PART, b_part[] = "b" PART, link_part[] = "link" PART;
    make_file(a_part, "new");
    make_file("other", "other");
    struct stat a = look(a_part);
    CHECK_INT(rename_part(channel, base, a_part, "other", true, a.st_dev, a.st_ino, SOON), 0);
    CHECK(look("other").st_ino == a.st_ino);
    /* Again: done already. To another name: not done. */
    CHECK_INT(rename_part(channel, base, a_part, "other", true, a.st_dev, a.st_ino, SOON), 0);
    CHECK_INT(rename_part(channel, base, a_part, "c", true, a.st_dev, a.st_ino, SOON), -ENOENT);
    /* One that nobody has is fine as well. */
    make_file(b_part, "b");
    struct stat b = look(b_part);
    CHECK_INT(rename_part(channel, base, b_part, "c", true, b.st_dev, b.st_ino, SOON), 0);

    /* A link is replaced, not what it leads to; a directory never is. */
    make_file(b_part, "b");
    b = look(b_part);
    make_file("precious", "precious");
    CHECK_INT(symlink("precious", in_base(link_part)), 0);
    CHECK_INT(rename_part(channel, base, b_part, link_part, true, b.st_dev, b.st_ino, SOON), 0);
    CHECK(look(link_part).st_ino == b.st_ino);
    CHECK_INT(look("precious").st_size, 8);
    CHECK_INT(mkdir(in_base("directory"), 0755), 0);
    CHECK_INT(rename_part(channel, base, link_part, "directory", true, b.st_dev, b.st_ino, SOON),
              -EISDIR);
    CHECK_INT(rename_part(channel, base, link_part, "directory", false, b.st_dev, b.st_ino, SOON),
              -EEXIST);
    CHECK(S_ISDIR(look("directory").st_mode));
    CHECK_INT(rename_part(channel, base, link_part, ".x", true, b.st_dev, b.st_ino, SOON), -EPERM);
    files_close(channel);
}

/* Where a directory really is decides, whatever leads there. */
static void hidden_places(void)
{
    struct files_channel *channel = channel_open();
    int fd = -1;
    struct files_stat st;
    char *found = NULL;
    CHECK_INT(mkdir(in_base("home/.ssh"), 0700), 0);
    CHECK_INT(mkdir(in_base("home/open"), 0755), 0);
    make_file("home/.ssh/k" PART, "key");
    CHECK_INT(symlink(".ssh", in_base("home/link")), 0);
    CHECK_INT(symlink("home/link", in_base("far")), 0);
    CHECK_INT(symlink("../open", in_base("home/.ssh/out")), 0);
    static const char *const places[] = {"home/.ssh", "home/link", "far", "home/open/../link",
                                         "home/.ssh/../.ssh"};
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        const char *place = in_base(places[i]);
        check_unprepared(channel, place, -EPERM);
        CHECK_INT(files_stat(channel, place, "k" PART, SOON, &st), -EPERM);
        CHECK_INT(files_open_part(channel, place, "k" PART, SOON, &fd, &unused), -EPERM);
        CHECK_INT(files_open_part(channel, place, "new" PART, SOON, &fd, &unused), -EPERM);
        CHECK_INT(rename_part(channel, place, "k" PART, "k", true, 0, 0, SOON), -EPERM);
        CHECK_INT(files_unlink(channel, place, "k" PART, SOON), -EPERM);
        CHECK_INT(files_find_part(channel, place, PART, SOON, &found), -EPERM);
        CHECK_INT(files_sync(channel, place, SOON), -EPERM);
    }
    check_unprepared(channel, in_base("far/new"), -EPERM);
    check_unprepared(channel, "~/link/new/newer", -EPERM);
    CHECK_INT(access(in_base("home/.ssh/new"), F_OK), -1);
    CHECK_INT(files_stat(channel, base, ".bashrc", SOON, &st), -EPERM);
    /* What is not hidden there is not, though the way is. */
    check_prepared(channel, in_base("home/.ssh/out"), in_base("home/.ssh/out"));
    CHECK_INT(look("home/.ssh/k" PART).st_size, 3);
    files_close(channel);
}

/* Ways that only the kernel's own links open. */
static void magic_links(void)
{
    struct files_channel *channel = channel_open();
    int fd = -1;
    check_unprepared(channel, "/proc/self/cwd", -ELOOP);
    check_unprepared(channel, "/proc/self/root", -ELOOP);
    CHECK_INT(files_open_part(channel, "/proc/self/cwd/tmp", "p" PART, SOON, &fd, &unused), -ELOOP);
    char path[64];
    _cleanup_close_ int here = open(base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)getpid(), here);
    CHECK_INT(files_open_part(channel, path, "p" PART, SOON, &fd, &unused), -ELOOP);
    CHECK_INT(symlink(path, in_base("trick")), 0);
    CHECK_INT(files_open_part(channel, in_base("trick"), "p" PART, SOON, &fd, &unused), -ELOOP);
    files_close(channel);
}

static void unlink_if(void)
{
    struct files_channel *channel = channel_open();
    make_file("a", "12345");
    make_file("b", "12345");
    struct stat a = look("a");
    struct stat b = look("b");
    CHECK_INT(files_unlink_if(channel, base, "a", a.st_dev, b.st_ino, 5, SOON), -ESTALE);
    CHECK_INT(files_unlink_if(channel, base, "a", a.st_dev + 1, a.st_ino, 5, SOON), -ESTALE);
    CHECK_INT(files_unlink_if(channel, base, "a", a.st_dev, a.st_ino, 6, SOON), -ESTALE);
    CHECK_INT(files_unlink_if(channel, base, "a", a.st_dev, a.st_ino, -1, SOON), -EINVAL);
    CHECK_INT(symlink("a", in_base("link")), 0);
    CHECK_INT(files_unlink_if(channel, base, "link", a.st_dev, a.st_ino, 5, SOON), -ESTALE);
    struct stat link_st = look("link");
    CHECK_INT(files_unlink_if(channel, base, "link", link_st.st_dev, link_st.st_ino,
                              link_st.st_size, SOON),
              -ESTALE);
    CHECK_INT(look("a").st_size, 5);
    CHECK_INT(files_unlink_if(channel, base, "a", a.st_dev, a.st_ino, 5, SOON), 0);
    CHECK_INT(access(in_base("a"), F_OK), -1);
    CHECK_INT(look("b").st_size, 5);
    CHECK_INT(files_unlink_if(channel, base, "a", a.st_dev, a.st_ino, 5, SOON), 0);
    CHECK_INT(files_unlink_if(channel, in_base("none"), "a", a.st_dev, a.st_ino, 5, SOON), 0);
    CHECK_INT(files_unlink_if(channel, base, ".a", a.st_dev, a.st_ino, 5, SOON), -EPERM);
    files_close(channel);
}

static void check_found(struct files_channel *channel, const char *suffix, const char *expected)
{
    _cleanup_free_ char *name = NULL;
    CHECK_INT(files_find_part(channel, base, suffix, SOON, &name), 0);
    CHECK(strcmp(name, expected) == 0);
}

static void find_part(void)
{
    struct files_channel *channel = channel_open();
    char *name = (char *)"untouched";
    static const char suffix[] = ".0123cdef.part";
    CHECK_INT(files_find_part(channel, base, suffix, SOON, &name), -ENOENT);
    /* What only looks like it. */
    make_file("a.0123cdef.part.txt", "");
    make_file("a.0123cdee.part", "");
    make_file(".0123cdef.part", "");
    make_file(".hidden.0123cdef.part", "");
    CHECK_INT(mkdir(in_base("directory.0123cdef.part"), 0755), 0);
    CHECK_INT(symlink("a.0123cdee.part", in_base("link.0123cdef.part")), 0);
    CHECK_INT(mkfifo(in_base("fifo.0123cdef.part"), 0644), 0);
    for (int i = 0; i < 3000; i++) {
        char other[32];
        snprintf(other, sizeof(other), "%d.%08x.part", i, (unsigned)i);
        make_file(other, "");
    }
    CHECK_INT(files_find_part(channel, base, suffix, SOON, &name), -ENOENT);
    make_file("a b \xff.0123cdef.part", "");
    check_found(channel, suffix, "a b \xff.0123cdef.part");
    check_found(channel, ".00000bb7.part", "2999.00000bb7.part");

    CHECK_INT(files_find_part(channel, base, ".bashrc", SOON, &name), -EINVAL);
    CHECK_INT(files_find_part(channel, base, "0123cdef.part", SOON, &name), -EINVAL);
    CHECK_INT(files_find_part(channel, in_base("none"), suffix, SOON, &name), -ENOENT);
    CHECK_INT(files_find_part(channel, in_base("a.0123cdee.part"), suffix, SOON, &name), -ENOTDIR);
    CHECK_INT(mkdir(in_base(".ssh"), 0700), 0);
    CHECK_INT(files_find_part(channel, in_base(".ssh"), suffix, SOON, &name), -EPERM);
    CHECK_INT(mkdir(in_base("dropbox"), 0333), 0);
    CHECK_INT(files_find_part(channel, in_base("dropbox"), suffix, SOON, &name), -EACCES);
    CHECK(strcmp(name, "untouched") == 0);
    files_close(channel);
    CHECK_INT(open_filer_descriptors(), 5); /* no directory was left open */
}

static void other_users(void)
{
    struct files_channel *channel;
    char *got = NULL;
    for (int i = 0; i < 2; i++) {
        uid_t uid = i == 0 ? getuid() + 1 : 0;
        CHECK_INT(files_open(world.files, uid, &channel), 0);
        CHECK_INT(files_prepare(channel, base, SOON, &got), -EACCES);
        CHECK_INT(files_prepare(channel, base, SOON, &got), -EACCES);
        files_close(channel);
    }
}

static void new_umask(void)
{
    struct files_channel *channel = channel_open();
    check_prepared(channel, in_base("d1"), in_base("d1"));
    pid_t filer = the_filer();
    files_renew(world.files, 077);
    CHECK(ended(filer, SOON));
    check_prepared(channel, in_base("d2"), in_base("d2"));
    CHECK_INT(look("d1").st_mode & 07777, 0750);
    CHECK_INT(look("d2").st_mode & 07777, 0700);
    files_close(channel);
}

/* --- scenarios: filers that die or do not answer --- */

static void killed_between(void)
{
    struct files_channel *channel = channel_open();
    check_prepared(channel, base, base);
    pid_t first = the_filer();
    kill(first, SIGKILL);
    CHECK(ended(first, SOON));
    check_prepared(channel, base, base);
    CHECK(the_filer() != first);
    /* An open channel and a new one. */
    kill(the_filer(), SIGKILL);
    struct files_channel *second = channel_open();
    check_prepared(second, base, base);
    check_prepared(channel, base, base);
    the_filer();
    files_close(channel);
    files_close(second);
}

struct caller {
    struct files_channel *channel;
    int timeout;
    int (*call)(struct caller *caller); /* NULL: open a part */
    const char *name;
    struct stat file;
    atomic_int thread;
    int result;
};

static int call_open(struct caller *caller)
{
    int fd = -1;
    const char *name = caller->name ? caller->name : "p" PART;
    int r = files_open_part(caller->channel, base, name, caller->timeout, &fd, &unused);
    if (r == 0)
        close(fd);
    return r;
}

static void *caller_thread(void *data)
{
    struct caller *caller = data;
    caller->thread = (int)syscall(SYS_gettid);
    caller->result = caller->call ? caller->call(caller) : call_open(caller);
    return NULL;
}

static void call_start(pthread_t *thread, struct caller *caller)
{
    CHECK_INT(pthread_create(thread, NULL, caller_thread, caller), 0);
    /* Until it waits for the answer. */
    for (;;) {
        char path[64];
        char text[256] = "";
        snprintf(path, sizeof(path), "/proc/self/task/%d/syscall", caller->thread);
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0)
            snprintf(text, sizeof(text), "unknown");
        int number = -1;
        if (caller->thread && sscanf(text, "%d", &number) == 1 &&
            (number == SYS_poll || number == SYS_ppoll || number == SYS_futex))
            return;
        tick();
    }
}

/* What a task asks on its way: each is done once, whether the filer died before or after. */

static int call_prepare(struct caller *caller)
{
    _cleanup_free_ char *got = NULL;
    return files_prepare(caller->channel, in_base("prepared/deep"), caller->timeout, &got);
}

static int call_stat(struct caller *caller)
{
    struct files_stat st;
    return files_stat(caller->channel, base, caller->name, caller->timeout, &st);
}

static int call_rename(struct caller *caller)
{
    return rename_part(caller->channel, base, caller->name, "final", false, caller->file.st_dev,
                        caller->file.st_ino, caller->timeout);
}

static int call_sync(struct caller *caller)
{
    return files_sync(caller->channel, base, caller->timeout);
}

static int call_find(struct caller *caller)
{
    _cleanup_free_ char *got = NULL;
    int r = files_find_part(caller->channel, base, PART, caller->timeout, &got);
    return r == 0 && strcmp(got, caller->name) != 0 ? -EUCLEAN : r;
}

static int call_unlink(struct caller *caller)
{
    return files_unlink(caller->channel, base, caller->name, caller->timeout);
}

static void no_more(void)
{
}

static void rename_it(void)
{
    CHECK_INT(rename(in_base("r" PART), in_base("final")), 0);
}

/* As where a file system cannot rename without replacing. */
static void link_it(void)
{
    CHECK_INT(link(in_base("r" PART), in_base("final")), 0);
}

static void unlink_it(void)
{
    CHECK_INT(unlink(in_base("r" PART)), 0);
}

static void prepare_it(void)
{
    CHECK(mkdir(in_base("prepared"), 0755) == 0 || errno == EEXIST);
}

static const struct {
    int (*call)(struct caller *caller);
    void (*done_before)(void); /* by the filer that died */
} deaths[] = {
    {call_prepare, no_more   },
    {call_prepare, prepare_it},
    {call_stat,    no_more   },
    {call_open,    no_more   },
    {call_find,    no_more   },
    {call_rename,  no_more   },
    {call_rename,  rename_it },
    {call_rename,  link_it   },
    {call_sync,    no_more   },
    {call_unlink,  no_more   },
    {call_unlink,  unlink_it },
};

static void killed_during(void)
{
    struct caller caller = {.channel = channel_open(), .timeout = SOON, .name = "r" PART};
    for (size_t i = 0; i < sizeof(deaths) / sizeof(deaths[0]); i++) {
        unlink(in_base("r" PART));
        unlink(in_base("final"));
        make_file("r" PART, "content");
        caller.file = look("r" PART);
        caller.call = deaths[i].call;
        caller.thread = 0;
        check_prepared(caller.channel, base, base);
        pid_t filer = the_filer();
        pthread_t thread;
        kill(filer, SIGSTOP);
        call_start(&thread, &caller);
        deaths[i].done_before();
        kill(filer, SIGKILL);
        pthread_join(thread, NULL);
        CHECK_INT(caller.result, 0);
        CHECK(the_filer() != filer);
        if (caller.call == call_rename)
            CHECK(look("final").st_ino == caller.file.st_ino);
        if (caller.call == call_rename || caller.call == call_unlink)
            CHECK_INT(access(in_base("r" PART), F_OK), -1);
    }
    files_close(caller.channel);
    CHECK_INT(answers(), 0);
}

static void time_out(struct files_channel *channel)
{
    int fd = -1;
    int64_t start = units_now_boottime();
    CHECK_INT(files_open_part(channel, base, "late" PART, 300, &fd, &unused), -ETIMEDOUT);
    int64_t took = units_now_boottime() - start;
    CHECK(took >= 299 && took < 3000);
    CHECK_INT(fd, -1);
}

static unsigned open_descriptors(void)
{
    unsigned count = 0;
    DIR *dir = opendir("/proc/self/fd");
    CHECK(dir);
    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

static void stopped(void)
{
    struct files_channel *channel = channel_open();
    check_prepared(channel, base, base);
    files_close(channel);
    unsigned before = open_descriptors();

    channel = channel_open();
    kill(the_filer(), SIGSTOP);
    time_out(channel);
    int fd;
    CHECK_INT(files_open_part(channel, base, "x" PART, -1, &fd, &unused), -ETIMEDOUT);
    /* Others are served meanwhile. */
    other_users();
    struct files_channel *second = channel_open();
    time_out(second);
    files_close(second);
    files_close(channel);
    CHECK_INT(answers(), 0);

    kill(the_filer(), SIGCONT);
    wait_answers(1); /* once, when the last of them has been answered */
    /* The late descriptors were closed, and it works again. */
    CHECK_INT(open_descriptors(), before);
    CHECK_INT(access(in_base("late" PART), F_OK), 0);
    channel = channel_open();
    check_prepared(channel, base, base);
    files_close(channel);
}

static void stopped_then_killed(void)
{
    struct files_channel *channel = channel_open();
    check_prepared(channel, base, base);
    kill(the_filer(), SIGSTOP);
    time_out(channel);
    files_close(channel);
    kill(the_filer(), SIGKILL);
    wait_answers(1);
    channel = channel_open();
    check_prepared(channel, base, base);
    files_close(channel);
}

/* A filer that does not come up: its monitor stands still. */
static void late_start(void)
{
    struct files_channel *channel = channel_open();
    kill(getppid(), SIGSTOP);
    time_out(channel);
    time_out(channel);
    files_close(channel);
    CHECK_INT(answers(), 0);
    kill(getppid(), SIGCONT);
    wait_answers(1);
    channel = channel_open();
    check_prepared(channel, base, base);
    the_filer();
    files_close(channel);
}

/* It started between the time-out and the close: nobody else would say so. */
static void late_close(void)
{
    struct files_channel *channel = channel_open();
    kill(getppid(), SIGSTOP);
    time_out(channel);
    kill(getppid(), SIGCONT);
    struct files_channel *other = channel_open();
    check_prepared(other, base, base);
    CHECK_INT(answers(), 0);
    files_close(channel);
    wait_answers(1);
    files_close(other);
}

static void closed_while_aside(void)
{
    struct files_channel *channel = channel_open();
    check_prepared(channel, base, base);
    pid_t filer = the_filer();
    kill(filer, SIGSTOP);
    time_out(channel);
    files_close(channel);
    /* files_destroy comes while it is aside; the filer ends once it can. */
    kill(getppid(), SIGHUP);
    files_destroy(TAKE_PTR(world.files));
    kill(filer, SIGCONT);
    CHECK(ended(filer, SOON));
}

static void shutdown_unblocks(void)
{
    struct caller caller = {.channel = channel_open(), .timeout = -1};
    check_prepared(caller.channel, base, base);
    pid_t filer = the_filer();
    kill(filer, SIGSTOP);
    pthread_t thread;
    call_start(&thread, &caller);
    files_shutdown(world.files);
    pthread_join(thread, NULL);
    CHECK_INT(caller.result, -ESHUTDOWN);
    char *got;
    CHECK_INT(files_prepare(caller.channel, base, -1, &got), -ESHUTDOWN);
    struct files_channel *channel = channel_open();
    CHECK_INT(files_prepare(channel, base, -1, &got), -ESHUTDOWN);
    files_close(channel);
    files_close(caller.channel);
    kill(filer, SIGCONT);
    CHECK(ended(filer, SOON));
    CHECK_INT(answers(), 0);
}

static void shutdown_unblocks_start(void)
{
    struct caller caller = {.channel = channel_open(), .timeout = -1};
    kill(getppid(), SIGSTOP);
    pthread_t thread;
    call_start(&thread, &caller);
    files_shutdown(world.files);
    pthread_join(thread, NULL);
    CHECK_INT(caller.result, -ESHUTDOWN);
    files_close(caller.channel);
    kill(getppid(), SIGCONT);
}

/* A filer ends by itself once nobody needs it, not before, and comes back when somebody does. */
static void reap(void)
{
    struct files *usual = world.files;
    CHECK_INT(files_create(world.privsep, 027, 300, on_answer, NULL, &world.files), 0);
    struct files_channel *channel = channel_open();
    check_prepared(channel, base, base);
    pid_t filer = the_filer();
    CHECK(!ended(filer, 700)); /* in use */
    files_close(channel);
    CHECK(ended(filer, SOON));
    channel = channel_open();
    check_prepared(channel, base, base);
    CHECK(the_filer() != filer);
    files_close(channel);
    files_destroy(world.files);
    world.files = usual;
}

/* --- scenarios: many threads --- */

#define THREADS 8
#define ROUNDS  100

static atomic_bool killing;

static void *worker_thread(void *data)
{
    unsigned number = *(unsigned *)data;
    struct files_channel *channel = channel_open();
    for (int i = 0; i < ROUNDS; i++) {
        char part[32];
        char name[32];
        snprintf(part, sizeof(part), "%u-%d" PART, number, i);
        snprintf(name, sizeof(name), "%u-%d", number, i);
        int fd = -1;
        int r;
        while ((r = files_open_part(channel, base, part, -1, &fd, &unused)) == -EHOSTDOWN && killing)
            ;
        CHECK_INT(r, 0);
        struct stat st;
        CHECK_INT(fstat(fd, &st), 0);
        close(fd);
        while ((r = rename_part(channel, base, part, name, false, st.st_dev, st.st_ino, -1)) ==
                   -EHOSTDOWN &&
               killing)
            ;
        CHECK_INT(r, 0);
        if (i % 10 == 0) {
            files_close(channel);
            channel = channel_open();
        }
    }
    files_close(channel);
    return NULL;
}

static void start_workers(pthread_t threads[THREADS], unsigned numbers[THREADS])
{
    for (unsigned i = 0; i < THREADS; i++) {
        numbers[i] = i;
        CHECK_INT(pthread_create(&threads[i], NULL, worker_thread, &numbers[i]), 0);
    }
}

static void check_work(void)
{
    for (unsigned number = 0; number < THREADS; number++) {
        for (int i = 0; i < ROUNDS; i++) {
            char name[32];
            snprintf(name, sizeof(name), "%u-%d", number, i);
            look(name);
        }
    }
}

static void many_threads(void)
{
    pthread_t threads[THREADS];
    unsigned numbers[THREADS];
    start_workers(threads, numbers);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    the_filer();
    check_work();
}

static void many_threads_and_deaths(void)
{
    unsigned seed;
    CHECK_INT(getrandom(&seed, sizeof(seed), 0), sizeof(seed));
    dprintf(STDERR_FILENO, "many_threads_and_deaths: seed %u\n", seed);
    pthread_t threads[THREADS];
    unsigned numbers[THREADS];
    killing = true;
    start_workers(threads, numbers);
    for (int i = 0; i < 30; i++) {
        pid_t pid = 0;
        if (filers(&pid) > 0)
            kill(pid, SIGKILL);
        nanosleep(&(struct timespec){.tv_nsec = rand_r(&seed) % 10000000}, NULL);
    }
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    check_work();
}

static void *killer_thread(void *data)
{
    unsigned *seed = data;
    while (killing) {
        pid_t pid = 0;
        if (filers(&pid) > 0)
            kill(pid, SIGKILL);
        nanosleep(&(struct timespec){.tv_nsec = rand_r(seed) % 3000000}, NULL);
    }
    return NULL;
}

/* Each is renamed once, or known to be not yet, however often the filer dies in their midst. */
static void many_renames_and_deaths(void)
{
    unsigned seed;
    CHECK_INT(getrandom(&seed, sizeof(seed), 0), sizeof(seed));
    dprintf(STDERR_FILENO, "many_renames_and_deaths: seed %u\n", seed);
    struct files_channel *channel = channel_open();
    pthread_t killer;
    killing = true;
    CHECK_INT(pthread_create(&killer, NULL, killer_thread, &seed), 0);
    for (int round = 0; round < 20; round++) {
        struct files_move moves[ROUNDS];
        char names[ROUNDS][2][32];
        for (int i = 0; i < ROUNDS; i++) {
            snprintf(names[i][0], sizeof(names[i][0]), "%d-%d" PART, round, i);
            snprintf(names[i][1], sizeof(names[i][1]), "%d-%d", round, i);
            make_file(names[i][0], "x");
            struct stat st = look(names[i][0]);
            moves[i] = (struct files_move){
                base, names[i][0], names[i][1], false, st.st_dev, st.st_ino, 0, false, 0};
        }
        files_rename_all(channel, moves, ROUNDS);
        for (int i = 0; i < ROUNDS; i++) {
            CHECK(moves[i].result == 0 || moves[i].result == -EHOSTDOWN);
            if (moves[i].result == 0)
                CHECK(look(names[i][1]).st_ino == moves[i].ino);
        }
    }
    killing = false;
    pthread_join(killer, NULL);
    files_close(channel);
}

/* --- scenarios: distrust --- */

static int raw_filer(void)
{
    int control = -1;
    struct wire_hello hello;
    CHECK_INT(privsep_spawn_filer(world.privsep, getuid(), 022, &control), 0);
    CHECK_INT(wire_receive(control, &hello, sizeof(hello), NULL, SOON), 0);
    CHECK_INT(hello.error, 0);
    CHECK_INT(hello.uid, getuid());
    return control;
}

static int raw_channel(int control)
{
    int ends[2];
    struct wire_channel message = {0};
    CHECK_INT(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    CHECK_INT(wire_send(control, &message, sizeof(message), ends[1]), 0);
    close(ends[1]);
    return ends[0];
}

static void filer_distrusts(void)
{
    _cleanup_close_ int control = raw_filer();
    pid_t filer = the_filer();
    _cleanup_close_ int good = raw_channel(control);
    _cleanup_close_ int bad = raw_channel(control);
    struct wire_request request = {.op = WIRE_STAT, .directory = "/", .name = "x/../y"};
    struct wire_reply reply;
    CHECK_INT(wire_send(good, &request, sizeof(request), -1), 0);
    CHECK_INT(wire_receive(good, &reply, sizeof(reply), NULL, SOON), 0);
    CHECK_INT(reply.error, -EINVAL);
    request.op = 77;
    CHECK_INT(wire_send(good, &request, sizeof(request), -1), 0);
    CHECK_INT(wire_receive(good, &reply, sizeof(reply), NULL, SOON), 0);
    CHECK_INT(reply.error, -EINVAL);
    /* A channel that breaks the rules ends alone. */
    CHECK_INT(wire_send(bad, "x", 1, -1), 0);
    CHECK_INT(wire_receive(bad, &reply, sizeof(reply), NULL, SOON), -EPIPE);
    /* Names come in memory, in their form, or not at all. */
    static const char *const broken[] = {"", "a", "a/b\0\3", "a\0\3\3", "a\0b\0\3", "\0\3"};
    static const size_t sizes[] = {0, 1, 5, 4, 5, 2};
    request = (struct wire_request){.op = WIRE_STAT_MANY, .directory = "/"};
    for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]) + 2; i++) {
        _cleanup_close_ int names = i == 6   ? open("/dev/null", O_RDWR | O_CLOEXEC)
                                    : i == 7 ? -1
                                             : memfd_create("names", MFD_CLOEXEC);
        if (i < 6)
            CHECK_INT(write(names, broken[i], sizes[i]), (ssize_t)sizes[i]);
        CHECK_INT(wire_send(good, &request, sizeof(request), names), 0);
        CHECK_INT(wire_receive(good, &reply, sizeof(reply), NULL, SOON), 0);
        CHECK_INT(reply.error, -EINVAL);
    }
    request = (struct wire_request){.op = WIRE_STAT, .directory = "/", .name = "proc"};
    CHECK_INT(wire_send(good, &request, sizeof(request), bad), 0);
    CHECK_INT(wire_receive(good, &reply, sizeof(reply), NULL, SOON), -EPIPE);
    CHECK(!ended(filer, 0));
    CHECK_INT(wire_send(control, "x", 1, -1), 0);
    CHECK(ended(filer, SOON));
}

static void too_many_channels(void)
{
    _cleanup_close_ int control = raw_filer();
    int channels[1200];
    size_t count = sizeof(channels) / sizeof(channels[0]);
    for (size_t i = 0; i < count; i++) {
        channels[i] = raw_channel(control);
        struct wire_request request = {.op = WIRE_STAT, .directory = "/", .name = "proc"};
        struct wire_reply reply;
        if (wire_send(channels[i], &request, sizeof(request), -1) == 0 &&
            wire_receive(channels[i], &reply, sizeof(reply), NULL, SOON) == 0)
            CHECK(i < 1100);
        else
            CHECK(i >= 900); /* fewer where the number of open files is limited */
    }
    for (size_t i = 0; i < count; i++)
        close(channels[i]);
}

static void monitor_distrusts(void)
{
    /* The control socket is 3 in every child of the monitor. */
    struct wire_control message = {.kind = WIRE_STOP};
    CHECK_INT(wire_send(3, &message, sizeof(message), -1), 0);
    wait_stop();
}

/* In user mode nobody can be asked; and what is no name or password is not sent at all. */
static void no_passwords(void)
{
    int socket = -1;
    CHECK_INT(privsep_check_password(world.privsep, "alice", "secret", "127.0.0.1", &socket), 0);
    struct pollfd event = {.fd = socket, .events = POLLIN};
    CHECK_INT(poll(&event, 1, SOON), 1);
    CHECK_INT(privsep_read_verdict(socket), WIRE_UNDECIDED);
    close(socket);
    char long_text[API_PASSWORD_MAX + 2];
    memset(long_text, 'x', sizeof(long_text) - 1);
    long_text[sizeof(long_text) - 1] = '\0';
    CHECK_INT(privsep_check_password(world.privsep, "", "x", "", &socket), -EINVAL);
    CHECK_INT(privsep_check_password(world.privsep, "a\nb", "x", "", &socket), -EINVAL);
    CHECK_INT(privsep_check_password(world.privsep, "alice", "", "", &socket), -EINVAL);
    CHECK_INT(privsep_check_password(world.privsep, "alice", long_text, "", &socket), -EINVAL);
    CHECK_INT(privsep_check_password(world.privsep, long_text, "x", "", &socket), -EINVAL);
    CHECK_INT(privsep_check_password(world.privsep, "alice", "x", "a b", &socket), -EINVAL);
}

static void check_without_socket(void)
{
    struct wire_control message = {.kind = WIRE_CHECK_PASSWORD};
    CHECK_INT(wire_send(3, &message, sizeof(message), -1), 0);
    wait_stop();
}

static void spawn_without_socket(void)
{
    struct wire_control message = {.kind = WIRE_SPAWN_FILER, .uid = getuid()};
    CHECK_INT(wire_send(3, &message, sizeof(message), -1), 0);
    wait_stop();
}

/* --- scenarios: the processes themselves --- */

static bool status_has(pid_t pid, const char *line)
{
    char path[64];
    char text[4096];
    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    CHECK(n > 0);
    text[n] = '\0';
    return strstr(text, line) != NULL;
}

static void check_process(pid_t pid, const char *name)
{
    char line[64];
    snprintf(line, sizeof(line), "Name:\t%s\n", name);
    CHECK(status_has(pid, line));
    CHECK(status_has(pid, "NoNewPrivs:\t1\n"));
    CHECK(status_has(pid, "CapPrm:\t0000000000000000\n"));
    CHECK(status_has(pid, "CapEff:\t0000000000000000\n"));
    CHECK(status_has(pid, "CapAmb:\t0000000000000000\n"));
}

static void processes(void)
{
    struct files_channel *channel = channel_open();
    check_prepared(channel, base, base);
    pid_t filer = the_filer();
    check_process(getpid(), "autodl-service");
    check_process(getppid(), "autodl-monitor");
    check_process(filer, "autodl-filer");
    CHECK(!environ || !*environ);
    char path[64];
    char target[64];
    snprintf(path, sizeof(path), "/proc/%d/fd/0", (int)filer);
    ssize_t n = readlink(path, target, sizeof(target));
    CHECK(n == 9 && memcmp(target, "/dev/null", 9) == 0);
    /* Standard streams, control, epoll, one channel. */
    snprintf(path, sizeof(path), "/proc/%d/fd/5", (int)filer);
    CHECK_INT(access(path, F_OK), 0);
    snprintf(path, sizeof(path), "/proc/%d/fd/6", (int)filer);
    CHECK(readlink(path, target, sizeof(target)) < 0);
    CHECK(setresuid(0, 0, 0) < 0);
    files_close(channel);
}

static void say_ready(void)
{
    CHECK_INT(privsep_ready(world.privsep), 0);
}

static void live_on(void)
{
    wait_stop();
    for (;;)
        pause();
}

static void reload(void)
{
    for (int i = 0; i < SOON && shared->reloads < 1; i++)
        tick();
    CHECK_INT(shared->reloads, 1);
}

static void die(void)
{
    CHECK_INT(privsep_ready(world.privsep), 0);
    kill(getpid(), SIGKILL);
}

static void leave(void)
{
    _exit(0);
}

#define SCENARIO(name)                                                                             \
    START_TEST(test_##name)                                                                        \
    {                                                                                              \
        run(name);                                                                                 \
    }                                                                                              \
    END_TEST

SCENARIO(no_passwords)
SCENARIO(prepare)
SCENARIO(prepare_refused)
SCENARIO(open_part)
SCENARIO(stat_many)
SCENARIO(planted)
SCENARIO(rename_unlink_sync)
SCENARIO(many_renames)
SCENARIO(many_renames_and_deaths)
SCENARIO(rename_replaces)
SCENARIO(hidden_places)
SCENARIO(magic_links)
SCENARIO(unlink_if)
SCENARIO(find_part)
SCENARIO(other_users)
SCENARIO(new_umask)
SCENARIO(killed_between)
SCENARIO(killed_during)
SCENARIO(stopped)
SCENARIO(stopped_then_killed)
SCENARIO(late_start)
SCENARIO(late_close)
SCENARIO(closed_while_aside)
SCENARIO(shutdown_unblocks)
SCENARIO(shutdown_unblocks_start)
SCENARIO(reap)
SCENARIO(many_threads)
SCENARIO(many_threads_and_deaths)
SCENARIO(filer_distrusts)
SCENARIO(too_many_channels)

START_TEST(test_processes)
{
    setenv("NOTIFY_SOCKET", "/nonexistent/notify", 1);
    setenv("WATCHDOG_USEC", "1000000", 1);
    run(processes);
}
END_TEST

START_TEST(test_monitor_distrusts)
{
    pid_t monitor = start_monitor(monitor_distrusts);
    pid_t service = wait_service();
    ck_assert_int_eq(wait_exit(monitor), 1);
    ck_assert(ended(service, SOON));
    ck_assert(!shared->passed);
}
END_TEST

START_TEST(test_spawn_without_socket)
{
    pid_t monitor = start_monitor(spawn_without_socket);
    pid_t service = wait_service();
    ck_assert_int_eq(wait_exit(monitor), 1);
    ck_assert(ended(service, SOON));
}
END_TEST

START_TEST(test_check_without_socket)
{
    pid_t monitor = start_monitor(check_without_socket);
    pid_t service = wait_service();
    ck_assert_int_eq(wait_exit(monitor), 1);
    ck_assert(ended(service, SOON));
}
END_TEST

START_TEST(test_notify)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/notify", base);
    _cleanup_close_ int notify = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(notify, (struct sockaddr *)&address, sizeof(address)), 0);
    ck_assert_int_eq(chmod(address.sun_path, 0777), 0);
    setenv("NOTIFY_SOCKET", address.sun_path, 1);
    run(say_ready);
    char text[64] = "";
    ck_assert_int_gt(recv(notify, text, sizeof(text) - 1, MSG_DONTWAIT), 0);
    ck_assert_str_eq(text, "READY=1");
    ssize_t n = recv(notify, text, sizeof(text) - 1, MSG_DONTWAIT);
    ck_assert_int_gt(n, 0);
    text[n] = '\0';
    ck_assert_str_eq(text, "STOPPING=1");
}
END_TEST

START_TEST(test_reload)
{
    pid_t monitor = start_monitor(reload);
    wait_service();
    kill(monitor, SIGHUP);
    ck_assert_int_eq(wait_exit(monitor), 0);
    ck_assert(shared->passed);
}
END_TEST

/* The first stop is heard, the second one is not a matter of hearing. */
START_TEST(test_stop_twice)
{
    pid_t monitor = start_monitor(live_on);
    pid_t service = wait_service();
    kill(monitor, SIGINT);
    ck_assert(!ended(service, 100));
    kill(monitor, SIGTERM);
    ck_assert_int_eq(wait_exit(monitor), 0);
    ck_assert(ended(service, SOON));
}
END_TEST

/* Signals that a terminal or an administrator sends to all processes are the monitor's alone. */
START_TEST(test_children_ignore_signals)
{
    pid_t monitor = start_monitor(live_on);
    pid_t service = wait_service();
    kill(service, SIGINT);
    kill(service, SIGTERM);
    kill(service, SIGHUP);
    kill(service, SIGPIPE);
    ck_assert(!ended(service, 100));
    kill(service, SIGKILL);
    ck_assert_int_eq(wait_exit(monitor), 1);
}
END_TEST

START_TEST(test_monitor_killed)
{
    pid_t monitor = start_monitor(live_on);
    pid_t service = wait_service();
    kill(monitor, SIGKILL);
    ck_assert_int_eq(wait_exit(monitor), -SIGKILL);
    ck_assert(ended(service, SOON));
}
END_TEST

START_TEST(test_service_dies)
{
    ck_assert_int_eq(wait_exit(start_monitor(die)), 1);
    /* Ending well without having been asked is not well. */
    ck_assert_int_eq(wait_exit(start_monitor(leave)), 1);
}
END_TEST

static Suite *files_suite(void)
{
    const TTest *const tests[] = {
        test_prepare,
        test_prepare_refused,
        test_open_part,
        test_stat_many,
        test_planted,
        test_rename_unlink_sync,
        test_many_renames,
        test_many_renames_and_deaths,
        test_rename_replaces,
        test_hidden_places,
        test_magic_links,
        test_unlink_if,
        test_find_part,
        test_other_users,
        test_new_umask,
        test_killed_between,
        test_killed_during,
        test_stopped,
        test_stopped_then_killed,
        test_late_start,
        test_late_close,
        test_closed_while_aside,
        test_shutdown_unblocks,
        test_shutdown_unblocks_start,
        test_reap,
        test_many_threads,
        test_many_threads_and_deaths,
        test_filer_distrusts,
        test_too_many_channels,
        test_monitor_distrusts,
        test_spawn_without_socket,
        test_check_without_socket,
        test_no_passwords,
        test_processes,
        test_notify,
        test_reload,
        test_stop_twice,
        test_children_ignore_signals,
        test_monitor_killed,
        test_service_dies,
    };
    Suite *suite = suite_create("files");
    TCase *processes_case = tcase_create("processes");
    tcase_add_checked_fixture(processes_case, setup, teardown);
    tcase_set_timeout(processes_case, 60);
    for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
        tcase_add_test(processes_case, tests[i]);
    suite_add_tcase(suite, processes_case);
    return suite;
}

int main(void)
{
    return tap_main(files_suite());
}
