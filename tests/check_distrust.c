/*
 * Who lies to whom: a service to a filer and to the monitor, a filer to the service. Nobody
 * crashes, hangs or leaks, and nothing is touched that is not a part file's. Random messages;
 * SEED=n repeats.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <grp.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/units.h"
#include "core/settings.h"
#include "privsep/filer.h"
#include "privsep/files.h"
#include "privsep/monitor.h"
#include "privsep/privsep.h"
#include "privsep/wire.h"
#include "tap.h"

#define NOBODY   65534
#define SOON     10000 /* ms */
#define PART     ".0123cdef.part"
#define PRECIOUS "precious bytes"
#define FILERS   50  /* at most, for the monitors here */
#define ASKED    120 /* of them */

static char base[64]; /* a directory of the test's, its real path */
static char home[80];
static unsigned seed;

static unsigned dice(unsigned sides)
{
    return (unsigned)rand_r(&seed) % sides;
}

/* --- a place with what must not be touched --- */

static const char *at(const char *name)
{
    static char paths[8][512];
    static unsigned next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof(paths[0]), "%s/%s", base, name);
    return path;
}

static void make_file(const char *name)
{
    _cleanup_close_ int fd = open(at(name), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, PRECIOUS, strlen(PRECIOUS)), strlen(PRECIOUS));
}

static int give_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return lchown(path, NOBODY, NOBODY);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static void set_up(void)
{
    char made[] = "/tmp/check_distrust.XXXXXX";
    ck_assert_ptr_nonnull(mkdtemp(made));
    _cleanup_free_ char *real = realpath(made, NULL);
    ck_assert_ptr_nonnull(real);
    snprintf(base, sizeof(base), "%s", real);
    snprintf(home, sizeof(home), "%s/home", base);
    const char *given = getenv("SEED");
    ck_assert_int_eq(getrandom(&seed, sizeof(seed), 0), sizeof(seed));
    if (given)
        seed = (unsigned)strtoul(given, NULL, 10);
    fprintf(stderr, "seed %u\n", seed);
}

static void tear_down(void)
{
    nftw(base, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static const char *const precious[] = {"home/.bashrc", "home/.ssh/keys", ("home/.ssh/k" PART),
                                       "home/precious", "outside/precious"};

static void make_place(void)
{
    static const char *const directories[] = {"home", "home/.ssh", "home/pub", "outside",
                                              ("home/directory" PART)};
    for (size_t i = 0; i < sizeof(directories) / sizeof(directories[0]); i++)
        ck_assert_int_eq(mkdir(at(directories[i]), 0755), 0);
    for (size_t i = 0; i < sizeof(precious) / sizeof(precious[0]); i++)
        make_file(precious[i]);
    ck_assert_int_eq(symlink(".ssh", at("home/link")), 0);
    ck_assert_int_eq(symlink("../outside", at("home/out")), 0);
    ck_assert_int_eq(symlink("precious", at("home/symbolic" PART)), 0);
    ck_assert_int_eq(link(at("home/precious"), at("home/hard" PART)), 0);
    ck_assert_int_eq(mkfifo(at("home/pipe" PART), 0666), 0);
    if (geteuid() == 0) {
        ck_assert_int_eq(nftw(base, give_one, 16, FTW_PHYS), 0);
        ck_assert_int_eq(chown(at("outside"), 0, 0), 0);
    } else {
        ck_assert_int_eq(chmod(at("outside"), 0555), 0);
    }
}

/* What is new is empty, for nobody wrote to it, and not hidden. */
static int look_at_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    const char *name = path + ftw->base;
    bool known = false;
    (void)type;
    for (size_t i = 0; i < sizeof(precious) / sizeof(precious[0]); i++)
        known = known || strcmp(path, at(precious[i])) == 0;
    struct stat linked;
    ck_assert_int_eq(stat(at("home/precious"), &linked), 0);
    if (known || strcmp(path, at("home/.ssh")) == 0 || linked.st_ino == st->st_ino)
        return 0;
    ck_assert_msg(name[0] != '.', "%s was made", path);
    ck_assert_msg(!S_ISREG(st->st_mode) || st->st_size == 0, "%s has content", path);
    return 0;
}

static void expect_untouched(void)
{
    for (size_t i = 0; i < sizeof(precious) / sizeof(precious[0]); i++) {
        char content[64] = "";
        _cleanup_close_ int fd = open(at(precious[i]), O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
        ck_assert_msg(fd >= 0, "%s is gone", precious[i]);
        ck_assert_int_eq(read(fd, content, sizeof(content) - 1), strlen(PRECIOUS));
        ck_assert_str_eq(content, PRECIOUS);
    }
    unsigned count = 0;
    DIR *dir = opendir(at("home/.ssh"));
    ck_assert_ptr_nonnull(dir);
    while (readdir(dir))
        count++;
    closedir(dir);
    ck_assert_uint_eq(count, 4); /* with . and .. */
    ck_assert_int_eq(nftw(base, look_at_one, 16, FTW_PHYS), 0);
}

/* --- a filer that is lied to --- */

/* As in a kernel that does not know openat2(2). */
static void forget_openat2(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat2, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof(code) / sizeof(code[0]), .filter = code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
        _exit(97);
}

static void become_nobody(void)
{
    if (geteuid() == 0 && (setgroups(0, NULL) < 0 || setresgid(NOBODY, NOBODY, NOBODY) < 0 ||
                           setresuid(NOBODY, NOBODY, NOBODY) < 0))
        _exit(98);
}

static pid_t start_filer(bool old_kernel, int *ret_control)
{
    int ends[2];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    fflush(NULL);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        close(ends[0]);
        become_nobody();
        if (old_kernel)
            forget_openat2();
        if (chdir("/") < 0) /* where /proc/self/cwd leads */
            _exit(98);
        umask(022);
        filer_run(ends[1], home, false);
    }
    close(ends[1]);
    struct wire_hello hello;
    ck_assert_int_eq(wire_receive(ends[0], &hello, sizeof(hello), NULL, SOON), 0);
    ck_assert_int_eq(hello.error, 0);
    *ret_control = ends[0];
    return pid;
}

static int open_channel(int control)
{
    int ends[2];
    struct wire_channel message = {0};
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    int r = wire_send(control, &message, sizeof(message), ends[1]);
    close(ends[1]);
    ck_assert_int_eq(r, 0);
    return ends[0];
}

static const char *const directories[] = {
    "home",     "home/pub",         "home/link",   "home/.ssh", "home/out",        "home/link/new",
    "home/new", "home/pub/../link", "outside",     "",          "home/../outside", "home/pub/new",
    "home//.",  "home/out/new",     "home/.s/../", "home/x"};
static const char *const names[] = {"a" PART,
                                    "b" PART,
                                    "symbolic" PART,
                                    "hard" PART,
                                    "pipe" PART,
                                    "k" PART,
                                    "directory" PART,
                                    "keys",
                                    "precious",
                                    ".bashrc",
                                    "..",
                                    ".x" PART,
                                    "../precious",
                                    "final",
                                    "link",
                                    ".0123cdef.part",
                                    "../a" PART,
                                    "new/a" PART,
                                    "out",
                                    "pub"};
static const char *const finals[] = {"final", "other", "b" PART, ".bashrc", "../outside/x",
                                     ".",     "pub",   "link",   ".x",      "k" PART};

#define ANY(list) (list)[dice(sizeof(list) / sizeof((list)[0]))]

/* Anywhere, but for the way to the place: others' directories are not for a test to play with. */
static void spoil_request(struct wire_request *request)
{
    static const char bytes[] = {'\0', '/', '.', '~', 'a', '\xff'};
    const size_t directory = offsetof(struct wire_request, directory);
    const size_t starts[] = {offsetof(struct wire_request, op), offsetof(struct wire_request, same),
                             directory + strlen(base), offsetof(struct wire_request, name),
                             offsetof(struct wire_request, name2)};
    size_t where = dice(2) ? dice(sizeof(*request)) : ANY(starts) + dice(20);
    if (where < directory || where >= directory + strlen(base))
        ((char *)request)[where] = dice(4) ? ANY(bytes) : (char)dice(256);
}

static void random_request(struct wire_request *request)
{
    memset(request, 0, sizeof(*request));
    request->op = dice(WIRE_OPS + 1);
    switch (dice(12)) {
    case 0:
        strcpy(request->directory, "~/link");
        break;
    case 1:
        strcpy(request->directory, dice(2) ? "/proc/self/root" : "/proc/self/cwd");
        break;
    default:
        snprintf(request->directory, sizeof(request->directory), "%s/%s", base, ANY(directories));
    }
    bool plain = request->op == WIRE_PREPARE || request->op == WIRE_SYNC || request->op == WIRE_STAT_MANY;
    if (!plain || dice(20) == 0)
        strcpy(request->name, request->op == WIRE_FIND_PART && dice(2) ? PART : ANY(names));
    if (request->op == WIRE_RENAME || dice(20) == 0)
        strcpy(request->name2, ANY(finals));
    request->replace = request->op == WIRE_RENAME && dice(2);
    request->same = request->op == WIRE_UNLINK && dice(2);
    if (request->same)
        request->ino = dice(1000);
    for (unsigned n = dice(8) ? 0 : 1 + dice(4); n > 0; n--)
        spoil_request(request);
}

/* A descriptor comes for parts alone, and only for plain ones that are not hidden. */
static void expect_part(int fd)
{
    char link[64], path[4096];
    struct stat st;
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof(path) - 1);
    ck_assert_int_gt(n, 0);
    path[n] = '\0';
    ck_assert_int_eq(fstat(fd, &st), 0);
    ck_assert(S_ISREG(st.st_mode) && st.st_nlink == 1 && st.st_size == 0);
    ck_assert_msg(strncmp(path, base, strlen(base)) == 0 && strstr(path, ".part") &&
                      !strstr(path, "/."),
                  "%s was opened", path);
}

/* Sends something, hears the answer; the channel may end with it. */
static void lie_once(int control, int *channel, unsigned *ret_done)
{
    struct wire_request request;
    struct wire_reply reply;
    _cleanup_close_ int fd = -1;
    random_request(&request);
    bool broken = dice(200) == 0;
    size_t size = broken ? 1 + dice(sizeof(request) + 100) : sizeof(request);
    char *message = calloc(1, sizeof(request) + 100);
    ck_assert_ptr_nonnull(message);
    memcpy(message, &request, sizeof(request));
    int sent = wire_send(*channel, message, size, dice(200) == 0 ? STDERR_FILENO : -1);
    free(message);
    int r = sent < 0 ? sent : wire_receive(*channel, &reply, sizeof(reply), &fd, SOON);
    if (r < 0) {
        ck_assert_int_eq(r, -EPIPE);
        close(*channel);
        *channel = open_channel(control);
        return;
    }
    ck_assert(wire_reply_valid(&reply));
    bool opened = reply.error == 0 && request.op == WIRE_OPEN_PART;
    ck_assert_int_eq(fd >= 0, opened);
    if (opened)
        expect_part(fd);
    *ret_done += reply.error == 0;
}

static void lie_to_filer(bool old_kernel, int count)
{
    int control;
    unsigned done = 0;
    make_place();
    pid_t pid = start_filer(old_kernel, &control);
    int channel = open_channel(control);
    for (int i = 0; i < count; i++)
        lie_once(control, &channel, &done);
    ck_assert_uint_gt(done, (unsigned)count / 50);
    close(channel);
    close(control);
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the filer ended with %x", status);
    expect_untouched();
}

START_TEST(a_lying_service)
{
    lie_to_filer(false, 15000);
}
END_TEST

START_TEST(a_lying_service_on_an_old_kernel)
{
    lie_to_filer(true, 5000);
}
END_TEST

/* Nonsense on the control socket ends the filer, and nothing worse. */
START_TEST(nonsense_on_the_control_socket)
{
    make_place();
    for (int i = 0; i < 50; i++) {
        int control, status;
        char bytes[64] = {0};
        pid_t pid = start_filer(false, &control);
        for (size_t n = 0; n < sizeof(bytes); n++)
            bytes[n] = (char)dice(256);
        size_t size = dice(2) ? sizeof(struct wire_channel) : 1 + dice(sizeof(bytes) - 1);
        ck_assert_int_eq(wire_send(control, bytes, size, dice(2) ? STDERR_FILENO : -1), 0);
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        ck_assert_msg(WIFEXITED(status), "the filer ended with %x", status);
        close(control);
    }
    expect_untouched();
}
END_TEST

/* --- a service that is lied to --- */

#define ENDS_MAX 4096

/* Monitor and filers of the service, all lying. */
static struct liar {
    int control; /* the monitor's end */
    atomic_bool over;
    pthread_t thread;
    unsigned seed;
    char file[128]; /* a regular file */
    struct {
        int fd;
        bool channel;
    } ends[ENDS_MAX];
    unsigned count;
} liar;

static struct files *files;
static atomic_uint answers;

static unsigned liar_dice(unsigned sides)
{
    return (unsigned)rand_r(&liar.seed) % sides;
}

static void keep(int fd, bool channel)
{
    ck_assert_uint_lt(liar.count, ENDS_MAX);
    liar.ends[liar.count].fd = fd;
    liar.ends[liar.count++].channel = channel;
}

static void say_hello(int fd, uid_t uid)
{
    struct wire_hello hello = {.uid = uid};
    switch (liar_dice(12)) {
    case 0:
        hello.error = -(int)liar_dice(5000);
        break;
    case 1:
        hello.error = 1 + (int)liar_dice(100);
        break;
    case 2:
        hello.uid++;
        break;
    case 3: /* never; that ends too (BECOME_SECONDS) */
        usleep(50000);
        shutdown(fd, SHUT_RDWR);
        return;
    case 4:
        (void)wire_send(fd, "x", 1, -1);
        return;
    case 5:
        (void)wire_send(fd, &hello, sizeof(hello), STDERR_FILENO);
        return;
    case 6:
        (void)wire_send(fd, &hello, sizeof(hello), -1); /* twice */
        break;
    }
    (void)wire_send(fd, &hello, sizeof(hello), -1);
}

/* Some descriptor: only the first kind will do for a part. */
static int some_descriptor(void)
{
    int ends[2];
    switch (liar_dice(9)) {
    case 0:
        return open("/dev/null", O_RDWR | O_CLOEXEC);
    case 1:
        return open(liar.file, O_RDONLY | O_CLOEXEC);
    case 2:
        return open(liar.file, O_RDWR | O_APPEND | O_CLOEXEC);
    case 3:
        return open(liar.file, O_PATH | O_CLOEXEC);
    case 4:
        return open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    case 5:
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
            return -1;
        close(ends[1]);
        return ends[0];
    default:
        return open(liar.file, O_RDWR | O_CLOEXEC);
    }
}

static void spoil(struct wire_reply *reply)
{
    switch (liar_dice(10)) {
    case 0:
        memset(reply->name, 'x', sizeof(reply->name));
        break;
    case 1:
        memset(reply->directory, '/', sizeof(reply->directory));
        break;
    case 2:
        strcpy(reply->name, "../x" PART);
        break;
    case 3:
        strcpy(reply->directory, "relative");
        break;
    case 4:
        reply->error = 7;
        break;
    case 5:
        reply->error = -(int)liar_dice(5000);
        break;
    case 6:
        reply->size = -1;
        break;
    case 7:
        reply->directory[0] = reply->name[0] = '\0';
        break;
    default:
        for (unsigned n = liar_dice(20); n > 0; n--)
            ((char *)reply)[liar_dice(sizeof(*reply))] = (char)liar_dice(256);
    }
}

/* False: this end is of no use any more. */
static bool answer_request(int fd)
{
    struct wire_request request;
    if (wire_receive(fd, &request, sizeof(request), NULL, 0) < 0)
        return false;
    if (!wire_request_valid(&request))
        abort(); /* our own side never lies */
    struct wire_reply reply = {
        .mode = S_IFREG, .dev = liar_dice(9), .ino = liar_dice(9), .size = liar_dice(9)};
    if (request.op == WIRE_PREPARE)
        strcpy(reply.directory, "/somewhere");
    if (request.op == WIRE_FIND_PART)
        snprintf(reply.name, sizeof(reply.name), "a%s", PART);
    if (liar_dice(4) == 0)
        spoil(&reply);
    bool with_file = request.op == WIRE_OPEN_PART ? liar_dice(8) != 0 : liar_dice(30) == 0;
    _cleanup_close_ int file = with_file ? some_descriptor() : -1;
    switch (liar_dice(60)) {
    case 0:
        return false;
    case 1:
        return true; /* no answer */
    case 2:
        return wire_send(fd, &reply, 1 + liar_dice(sizeof(reply) - 1), file) == 0;
    case 3:
        (void)wire_send(fd, &reply, sizeof(reply), file); /* and once more */
        break;
    }
    return wire_send(fd, &reply, sizeof(reply), file) == 0;
}

static bool take_channel(int control)
{
    struct wire_channel message;
    int fd = -1;
    if (wire_receive(control, &message, sizeof(message), &fd, 0) < 0)
        return false;
    if (liar_dice(20) == 0)
        close(fd);
    else
        keep(fd, true);
    return true;
}

static void take_spawn(void)
{
    struct wire_control message;
    int fd = -1;
    if (wire_receive(liar.control, &message, sizeof(message), &fd, 0) < 0)
        return;
    if (message.kind != WIRE_SPAWN_FILER || fd < 0)
        abort();
    if (liar_dice(10) == 0) {
        close(fd);
        return;
    }
    say_hello(fd, message.uid);
    keep(fd, false);
}

static void *liar_thread(void *data)
{
    static struct pollfd items[ENDS_MAX + 1];
    (void)data;
    while (!liar.over) {
        for (unsigned i = 0; i < liar.count; i++)
            items[i] = (struct pollfd){.fd = liar.ends[i].fd, .events = POLLIN};
        unsigned count = liar.count;
        items[count] = (struct pollfd){.fd = liar.control, .events = POLLIN};
        poll(items, count + 1, 20);
        for (unsigned i = count; i-- > 0;) {
            if (!items[i].revents)
                continue;
            int fd = liar.ends[i].fd;
            if (!(liar.ends[i].channel ? answer_request(fd) : take_channel(fd))) {
                close(fd);
                liar.ends[i] = liar.ends[--liar.count];
            }
        }
        if (items[count].revents)
            take_spawn();
    }
    return NULL;
}

static void on_nothing(void *data)
{
    (void)data;
}

static void on_answer(void *data, uid_t uid)
{
    (void)data;
    (void)uid;
    answers++;
}

static int call_something(struct files_channel *channel, unsigned op)
{
    _cleanup_free_ char *text = NULL;
    _cleanup_close_ int fd = -1;
    struct files_stat st;
    struct files_move move = {.directory = "/a", .from = "b" PART, .to = "b", .dev = 1, .ino = 1};
    int r = 0;
    switch (op) {
    case 0:
        r = files_prepare(channel, "/a", 20, &text);
        ck_assert(r < 0 || text[0] == '/');
        return r;
    case 1:
        return files_stat(channel, "/a", "b", 20, &st);
    case 2:
        r = files_open_part(channel, "/a", "b" PART, 20, &fd, &st);
        if (r == 0) {
            int flags = fcntl(fd, F_GETFL);
            struct stat file;
            ck_assert_int_eq(fstat(fd, &file), 0);
            ck_assert(S_ISREG(file.st_mode) && (flags & O_ACCMODE) == O_RDWR);
            ck_assert(!(flags & (O_PATH | O_APPEND)));
            ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
        }
        return r;
    case 3:
        return files_rename(channel, &move, 20);
    case 4:
        return files_unlink(channel, "/a", "b" PART, 20);
    case 5:
        return files_unlink_if(channel, "/a", "b", 1, 1, 1, 20);
    case 6:
        r = files_find_part(channel, "/a", PART, 20, &text);
        ck_assert(r < 0 || (wire_name_ends(text, PART) && !strchr(text, '/')));
        return r;
    default:
        return files_sync(channel, "/a", 20);
    }
}

struct caller {
    pthread_t thread;
    unsigned seed;
    uid_t uid;
    unsigned good;
};

/* Of one user, as a worker does it. */
static void *caller_thread(void *data)
{
    struct caller *caller = data;
    struct files_channel *channel = NULL;
    for (int i = 0; i < 1000; i++) {
        if (!channel)
            ck_assert_int_eq(files_open(files, caller->uid, &channel), 0);
        int r = call_something(channel, (unsigned)rand_r(&caller->seed) % 8);
        ck_assert_int_le(r, 0);
        ck_assert_int_gt(r, -4096);
        caller->good += r == 0;
        if (r == -ETIMEDOUT || rand_r(&caller->seed) % 50 == 0)
            files_close(TAKE_PTR(channel));
        if (rand_r(&caller->seed) % 200 == 0)
            files_renew(files, 022);
    }
    files_close(channel);
    return NULL;
}

static unsigned open_descriptors(void)
{
    unsigned count = 0;
    DIR *dir = opendir("/proc/self/fd");
    ck_assert_ptr_nonnull(dir);
    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

START_TEST(lying_filers)
{
    struct privsep_events events = {.on_stop = on_nothing, .on_reload = on_nothing};
    struct privsep *privsep;
    struct caller callers[4] = {0};
    int ends[2];
    unsigned before = open_descriptors();
    snprintf(liar.file, sizeof(liar.file), "%s", at("file"));
    make_file("file");
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    liar.control = ends[0];
    liar.seed = seed;
    ck_assert_int_eq(privsep_create(ends[1], &events, &privsep), 0);
    ck_assert_int_eq(files_create(privsep, 022, 100, on_answer, NULL, &files), 0);
    ck_assert_int_eq(pthread_create(&liar.thread, NULL, liar_thread, NULL), 0);
    for (unsigned i = 0; i < 4; i++) {
        callers[i].seed = seed + i;
        callers[i].uid = 5000 + i / 2;
        ck_assert_int_eq(pthread_create(&callers[i].thread, NULL, caller_thread, &callers[i]), 0);
    }
    for (unsigned i = 0; i < 4; i++) {
        pthread_join(callers[i].thread, NULL);
        ck_assert_uint_gt(callers[i].good, 100);
    }
    ck_assert_uint_gt(answers, 0);
    files_destroy(files);
    liar.over = true;
    pthread_join(liar.thread, NULL);
    privsep_destroy(privsep);
    for (unsigned i = 0; i < liar.count; i++)
        close(liar.ends[i].fd);
    close(liar.control);
    ck_assert_uint_eq(open_descriptors(), before);
}
END_TEST

/* --- a monitor that is lied to --- */

static struct shared {
    atomic_uint refused, hellos, ended;
    atomic_bool passed;
} * shared;

/* Until the monitor closes its end. */
static void wait_end(int control)
{
    struct pollfd item = {.fd = control};
    while (!(item.revents & POLLHUP))
        poll(&item, 1, -1);
}

static int say_nonsense(int control, void *data)
{
    unsigned char bytes[64];
    (void)data;
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (unsigned char)dice(256);
    size_t size = dice(2) ? sizeof(struct wire_control) : 1 + dice(sizeof(bytes) - 1);
    bytes[0] |= 0x80; /* no kind at all */
    (void)wire_send(control, bytes, size, dice(2) ? STDERR_FILENO : -1);
    wait_end(control);
    return 0;
}

static pid_t start_monitor(monitor_service service)
{
    fflush(NULL);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid > 0)
        return pid;
    become_nobody();
    struct settings settings;
    if (settings_init(&settings, "/nonexistent") < 0)
        _exit(97);
    struct monitor_options options = {
        .run_as = "nobody", .settings = &settings, .filers_max = FILERS, .home = home};
    _exit(monitor_run(&options, service, NULL));
}

static int wait_status(pid_t pid)
{
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

START_TEST(nonsense_to_the_monitor)
{
    for (int i = 0; i < 30; i++) {
        dice(2); /* each service begins with another seed */
        ck_assert_int_eq(wait_status(start_monitor(say_nonsense)), 1);
    }
}
END_TEST

static unsigned children_of(pid_t parent)
{
    unsigned count = 0;
    DIR *proc = opendir("/proc");
    struct dirent *entry;
    while (proc && (entry = readdir(proc))) {
        char path[300], line[256];
        int pid, of;
        snprintf(path, sizeof(path), "/proc/%s/stat", entry->d_name);
        FILE *file = entry->d_name[0] >= '1' && entry->d_name[0] <= '9' ? fopen(path, "re") : NULL;
        if (file && fgets(line, sizeof(line), file) &&
            sscanf(line, "%d (autodl-filer) %*c %d", &pid, &of) == 2 && of == parent)
            count++;
        if (file)
            fclose(file);
    }
    if (proc)
        closedir(proc);
    return count;
}

/* Asks without waiting; the monitor takes its time, and -EAGAIN says so. */
static int ask_filer(int control, uid_t uid)
{
    int ends[2], r;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
        _exit(90);
    struct wire_control message = {.kind = WIRE_SPAWN_FILER, .uid = uid, .umask = 022};
    while ((r = wire_send(control, &message, sizeof(message), ends[1])) == -EAGAIN)
        usleep(1000);
    if (r < 0)
        _exit(91);
    close(ends[1]);
    return ends[0];
}

static void hear_hello(int fd)
{
    struct wire_hello hello;
    int r = wire_receive(fd, &hello, sizeof(hello), NULL, 60000);
    if (r == 0)
        shared->hellos += hello.error == 0;
    else
        shared->ended += r == -EPIPE;
}

static int flood(int control, void *data)
{
    static int filers[ASKED];
    (void)data;
    for (unsigned i = 0; i < 2000; i++) { /* no process for these */
        int fd = ask_filer(control, i % 2 ? 0 : getuid() + 1);
        struct wire_hello hello;
        if (wire_receive(fd, &hello, sizeof(hello), NULL, SOON) == 0 && hello.error == -EACCES)
            shared->refused++;
        close(fd);
    }
    for (unsigned i = 0; i < ASKED; i++)
        filers[i] = ask_filer(control, getuid());
    for (unsigned i = 0; i < ASKED; i++)
        hear_hello(filers[i]);
    /* When they have ended, and been buried, there is room again. */
    for (unsigned i = 0; i < ASKED; i++)
        close(filers[i]);
    for (int i = 0; i < 200 && children_of(getppid()) > 0; i++)
        usleep(50000);
    unsigned before = shared->hellos;
    int fd = ask_filer(control, getuid());
    hear_hello(fd);
    shared->passed = shared->hellos == before + 1 && children_of(getppid()) == 1;
    kill(getppid(), SIGTERM);
    struct wire_control stop;
    return wire_receive(control, &stop, sizeof(stop), NULL, SOON) == 0 ? 0 : 1;
}

START_TEST(a_flood_of_filers)
{
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(shared, MAP_FAILED);
    ck_assert_int_eq(wait_status(start_monitor(flood)), 0);
    ck_assert(shared->passed);
    ck_assert_uint_eq(shared->refused, 2000);
    ck_assert_uint_eq(shared->ended, ASKED - FILERS);
    ck_assert_uint_eq(shared->hellos, FILERS + 1);
    munmap(shared, sizeof(*shared));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("distrust");
    TCase *tcase = tcase_create("distrust");
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, a_lying_service);
    tcase_add_test(tcase, a_lying_service_on_an_old_kernel);
    tcase_add_test(tcase, nonsense_on_the_control_socket);
    tcase_add_test(tcase, lying_filers);
    tcase_add_test(tcase, nonsense_to_the_monitor);
    tcase_add_test(tcase, a_flood_of_filers);
    suite_add_tcase(suite, tcase);
    return tap_main(suite);
}
