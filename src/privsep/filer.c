#include "privsep/filer.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "privsep/wire.h"

#define CHANNELS_MAX 1100 /* API_MAX_TASKS_MAX, and some for admitting and finishing */
#define EVENTS       32
#define ENTRIES_MAX  1000000 /* of a directory that is searched: about a second */

struct filer {
    int control;
    const char *home;
    bool allow_hidden;
    int epoll;
    unsigned channels;
};

static int open_directory(const char *path)
{
    int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

/* --- prepare --- */

/* Appends `path` to `out` (of `length` bytes) without doubled slashes and "." components. */
static int append_normalized(char out[static API_PATH_MAX + 1], size_t *length, const char *path,
                             bool *has_parent)
{
    while (*path) {
        size_t n = strcspn(path, "/");
        bool empty = n == 0 || (n == 1 && path[0] == '.');
        if (!empty && *length + 1 + n > API_PATH_MAX)
            return -ENAMETOOLONG;
        if (!empty) {
            out[(*length)++] = '/';
            memcpy(out + *length, path, n);
            *length += n;
        }
        if (n == 2 && path[0] == '.' && path[1] == '.')
            *has_parent = true;
        path += n;
        path += strspn(path, "/");
    }
    return 0;
}

/* The wanted directory with ~ expanded, as text; "/" alone ends with a slash. */
static int expand(const struct filer *filer, const char *wanted, char out[static API_PATH_MAX + 1],
                  bool *has_parent)
{
    size_t length = 0;
    int r = 0;
    if (wanted[0] == '~') {
        if (filer->home[0] != '/')
            return -ENOENT;
        r = append_normalized(out, &length, filer->home, has_parent);
        wanted++;
    }
    if (r == 0)
        r = append_normalized(out, &length, wanted, has_parent);
    if (r == 0 && length == 0)
        out[length++] = '/';
    out[r == 0 ? length : 0] = '\0';
    return r;
}

/* Makes `name` in `parent` last through a power cut, as far as the user may ask for that. */
static void sync_parent(int parent)
{
    _cleanup_close_ int fd = openat(parent, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0)
        (void)fsync(fd);
}

/* Opens one component of a path, made if it is missing. */
static int enter(int parent, const char *name)
{
    int flags = O_PATH | O_DIRECTORY | O_CLOEXEC;
    int fd = openat(parent, name, flags);
    if (fd >= 0)
        return fd;
    if (errno != ENOENT)
        return -errno;
    if (mkdirat(parent, name, 0777) == 0)
        sync_parent(parent);
    else if (errno != EEXIST)
        return -errno;
    fd = openat(parent, name, flags);
    return fd < 0 ? -errno : fd;
}

/* mkdir -p and open; `path` is normalized. A descriptor or a negative errno. */
static int make_directories(const char *path)
{
    int fd = open_directory(path);
    if (fd != -ENOENT)
        return fd;
    fd = open_directory("/");
    while (fd >= 0 && *path) {
        char name[API_PATH_MAX + 1];
        path += strspn(path, "/");
        size_t n = strcspn(path, "/");
        memcpy(name, path, n);
        name[n] = '\0';
        path += n;
        int next = enter(fd, name);
        close(fd);
        fd = next;
    }
    return fd;
}

/* Where an open directory is: after "..", only the kernel knows (symbolic links). */
static int real_path(int fd, char out[static API_PATH_MAX + 1])
{
    char link[64];
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, out, API_PATH_MAX + 1);
    if (n < 0)
        return -errno;
    if (n > API_PATH_MAX)
        return -ENAMETOOLONG;
    out[n] = '\0';
    struct stat here;
    struct stat there;
    if (fstat(fd, &here) < 0 || stat(out, &there) < 0)
        return -errno;
    return out[0] == '/' && here.st_dev == there.st_dev && here.st_ino == there.st_ino ? 0
                                                                                       : -ENOENT;
}

static int do_prepare(const struct filer *filer, const struct wire_request *request,
                      struct wire_reply *reply)
{
    char path[API_PATH_MAX + 1];
    bool has_parent = false;
    int r = expand(filer, request->directory, path, &has_parent);
    if (r < 0)
        return r;
    _cleanup_close_ int fd = make_directories(path);
    if (fd < 0)
        return fd;
    if (faccessat(fd, ".", W_OK | X_OK, AT_EACCESS) < 0)
        return -errno;
    r = has_parent ? real_path(fd, path) : 0;
    if (r == 0)
        memcpy(reply->directory, path, strlen(path) + 1);
    return r;
}

/* --- files --- */

static void fill(struct wire_reply *reply, const struct stat *st)
{
    reply->mode = st->st_mode;
    reply->dev = st->st_dev;
    reply->ino = st->st_ino;
    reply->size = st->st_size;
}

static int do_stat(const struct wire_request *request, struct wire_reply *reply)
{
    _cleanup_close_ int directory = open_directory(request->directory);
    if (directory < 0)
        return directory;
    struct stat st;
    if (fstatat(directory, request->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    fill(reply, &st);
    return 0;
}

/* Anything but a plain file of the user's, of one name, that stands where the part should be is not
 * ours: somebody's link, FIFO or socket. */
static int do_open_part(const struct wire_request *request, struct wire_reply *reply, int *ret_fd)
{
    _cleanup_close_ int directory = open_directory(request->directory);
    if (directory < 0)
        return directory;
    int flags = O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY;
    _cleanup_close_ int fd = openat(directory, request->name, flags | O_CREAT | O_EXCL, 0666);
    if (fd < 0 && errno == EEXIST)
        fd = openat(directory, request->name, flags);
    if (fd < 0)
        return errno == ELOOP || errno == EISDIR || errno == ENXIO ? -EEXIST : -errno;
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode) || st.st_nlink > 1 || st.st_uid != geteuid())
        return -EEXIST;
    if (fcntl(fd, F_SETFL, 0) < 0)
        return -errno;
    fill(reply, &st);
    *ret_fd = TAKE_FD(fd);
    return 0;
}

/* Where the file system cannot rename without replacing, a second name does not replace either. */
static int do_rename(const struct wire_request *request)
{
    _cleanup_close_ int directory = open_directory(request->directory);
    if (directory < 0)
        return directory;
    const char *from = request->name;
    const char *to = request->name2;
    unsigned flags = request->replace ? 0 : RENAME_NOREPLACE;
    if (renameat2(directory, from, directory, to, flags) == 0)
        return 0;
    if (request->replace || (errno != EINVAL && errno != ENOSYS))
        return -errno;
    if (linkat(directory, from, directory, to, 0) < 0 || unlinkat(directory, from, 0) < 0)
        return -errno;
    return 0;
}

/* Whether the file is still the one that was meant. Between this and what follows only the user,
 * who owns it all, could put another one in its place. */
static int check_same(int directory, const struct wire_request *request)
{
    struct stat st;
    if (fstatat(directory, request->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    bool same = S_ISREG(st.st_mode) && st.st_dev == request->dev && st.st_ino == request->ino &&
                st.st_size == request->size;
    return same ? 0 : -ESTALE;
}

static int do_unlink(const struct wire_request *request)
{
    _cleanup_close_ int directory = open_directory(request->directory);
    if (directory < 0)
        return directory == -ENOENT ? 0 : directory;
    int r = request->same ? check_same(directory, request) : 0;
    if (r == 0 && unlinkat(directory, request->name, 0) < 0)
        r = -errno;
    return r == -ENOENT ? 0 : r;
}

static int do_sync(const struct wire_request *request)
{
    _cleanup_close_ int fd = open(request->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 && errno != EACCES)
        return -errno;
    if (fd < 0) {
        /* A directory that may be written but not read cannot be synced alone. */
        _cleanup_close_ int directory = open_directory(request->directory);
        if (directory < 0)
            return directory;
        sync();
        return 0;
    }
    return fsync(fd) < 0 && errno != EINVAL ? -errno : 0;
}

static bool is_regular(int directory, const struct dirent *entry)
{
    struct stat st;
    return entry->d_type == DT_REG ||
           (entry->d_type == DT_UNKNOWN &&
            fstatat(directory, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
            S_ISREG(st.st_mode));
}

static void close_dir(DIR **dir)
{
    if (*dir)
        closedir(*dir);
}

static int do_find_part(const struct filer *filer, const struct wire_request *request,
                        struct wire_reply *reply)
{
    int fd = open(request->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    _cleanup_(close_dir) DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir) {
        int r = -errno;
        if (fd >= 0)
            close(fd);
        return r;
    }
    for (unsigned seen = 0; seen < ENTRIES_MAX; seen++) {
        errno = 0;
        const struct dirent *entry = readdir(dir);
        if (!entry)
            return errno ? -errno : -ENOENT;
        if (!wire_name_ends(entry->d_name, request->name) || !is_regular(fd, entry) ||
            (entry->d_name[0] == '.' && !filer->allow_hidden))
            continue;
        memcpy(reply->name, entry->d_name, strlen(entry->d_name) + 1);
        return 0;
    }
    return -E2BIG;
}

/* --- serving --- */

static int perform(const struct filer *filer, const struct wire_request *request,
                   struct wire_reply *reply, int *ret_fd)
{
    switch ((enum wire_op)request->op) {
    case WIRE_PREPARE:
        return do_prepare(filer, request, reply);
    case WIRE_STAT:
        return do_stat(request, reply);
    case WIRE_OPEN_PART:
        return do_open_part(request, reply, ret_fd);
    case WIRE_RENAME:
        return do_rename(request);
    case WIRE_UNLINK:
        return do_unlink(request);
    case WIRE_SYNC:
        return do_sync(request);
    case WIRE_FIND_PART:
        return do_find_part(filer, request, reply);
    case WIRE_OPS:
        break;
    }
    return -EINVAL;
}

static bool has_hidden_component(const char *path)
{
    for (const char *c = path; (c = strstr(c, "/.")); c += 2) {
        size_t n = strcspn(c + 1, "/");
        if (n > 2 || (n == 2 && c[2] != '.'))
            return true;
    }
    return false;
}

/* A service that was taken over shall not get at a user's start-up files and keys. What leads to
 * the home itself is not for this program to judge. */
static bool hidden_refused(const struct filer *filer, const struct wire_request *request)
{
    if (filer->allow_hidden || request->op == WIRE_STAT)
        return false;
    const char *directory = request->directory;
    size_t home = strlen(filer->home);
    if (home > 1 && strncmp(directory, filer->home, home) == 0 && directory[home] == '/')
        directory += home;
    bool suffix = request->op == WIRE_FIND_PART;
    return (request->name[0] == '.' && !suffix) || request->name2[0] == '.' ||
           has_hidden_component(directory);
}

static int serve(const struct filer *filer, int channel)
{
    struct wire_request request;
    int r = wire_receive(channel, &request, sizeof(request), NULL, 0);
    if (r < 0)
        return r == -ETIMEDOUT ? 0 : r;
    struct wire_reply reply = {0};
    _cleanup_close_ int fd = -1;
    if (!wire_request_valid(&request))
        reply.error = -EINVAL;
    else if (hidden_refused(filer, &request))
        reply.error = -EPERM;
    else
        reply.error = perform(filer, &request, &reply, &fd);
    return wire_send(channel, &reply, sizeof(reply), fd);
}

static int watch(const struct filer *filer, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    return epoll_ctl(filer->epoll, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

/* The service sent a channel, or is gone. One channel too many is closed, which says it all. */
static void take_channel(struct filer *filer)
{
    struct wire_channel message;
    _cleanup_close_ int fd = -1;
    int r = wire_receive(filer->control, &message, sizeof(message), &fd, 0);
    if (r == -ETIMEDOUT || r == -EMFILE)
        return;
    if (r < 0 || fd < 0 || message.reserved != 0)
        _exit(r == -EPIPE ? 0 : 1);
    if (filer->channels < CHANNELS_MAX && watch(filer, fd) == 0) {
        filer->channels++;
        (void)TAKE_FD(fd);
    }
}

static void step(struct filer *filer)
{
    struct epoll_event events[EVENTS];
    int n = epoll_wait(filer->epoll, events, EVENTS, -1);
    if (n < 0 && errno != EINTR)
        _exit(1);
    for (int i = 0; i < n; i++) /* first: without the service, nothing is done any more */
        if (events[i].data.fd == filer->control)
            take_channel(filer);
    for (int i = 0; i < n; i++) {
        int fd = events[i].data.fd;
        /* Nobody waits at the other end: what was asked there is overtaken by now. */
        bool gone = events[i].events & (EPOLLHUP | EPOLLERR);
        if (fd != filer->control && (gone || serve(filer, fd) < 0)) {
            (void)epoll_ctl(filer->epoll, EPOLL_CTL_DEL, fd, NULL);
            close(fd);
            filer->channels--;
        }
    }
}

void filer_run(int control, const char *home, bool allow_hidden)
{
    struct filer filer = {.control = control, .home = home, .allow_hidden = allow_hidden};
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
    filer.epoll = epoll_create1(EPOLL_CLOEXEC);
    int error = filer.epoll < 0 ? -errno : watch(&filer, control);
    struct wire_hello hello = {.error = error, .uid = getuid()};
    if (wire_send(control, &hello, sizeof(hello), -1) < 0 || error < 0)
        _exit(1);
    for (;;)
        step(&filer);
}
