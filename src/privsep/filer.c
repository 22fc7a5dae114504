#include "privsep/filer.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "privsep/directory.h"
#include "privsep/wire.h"

#define CHANNELS_MAX 1100 /* API_MAX_TASKS_MAX, and some for admitting and finishing */
#define EVENTS       32
#define ROW          16
#define ENTRIES_MAX  1000000 /* of a directory that is searched: about a second */

struct filer {
    int control;
    struct directory_rules rules;
    int epoll;
    unsigned channels;
    uid_t uid;

    /* The directory that was opened last; kept only for the requests that had come by then. */
    int directory; /* or -1 */
    char path[API_PATH_MAX + 1];
};

static void leave_directory(struct filer *filer)
{
    if (filer->directory >= 0)
        close(filer->directory);
    filer->directory = -1;
}

/* A descriptor that the filer keeps, or a negative errno. */
static int enter_directory(struct filer *filer, const char *path)
{
    if (filer->directory >= 0 && strcmp(filer->path, path) == 0)
        return filer->directory;
    leave_directory(filer);
    int fd = directory_open(&filer->rules, path);
    if (fd < 0)
        return fd;
    memcpy(filer->path, path, strlen(path) + 1);
    return filer->directory = fd;
}

/* --- requests --- */

static int do_prepare(const struct filer *filer, const struct wire_request *request,
                      struct wire_reply *reply)
{
    _cleanup_close_ int fd = directory_make(&filer->rules, request->directory, reply->directory);
    if (fd < 0)
        return fd;
    struct statvfs room;
    if (fstatvfs(fd, &room) == 0)
        reply->size = (int64_t)room.f_bavail * (int64_t)room.f_frsize;
    if (reply->size < 0)
        reply->size = INT64_MAX;
    if (faccessat(fd, ".", W_OK | X_OK, AT_EACCESS) == 0)
        return 0;
    reply->directory[0] = '\0';
    return -errno;
}

static void fill(struct wire_reply *reply, const struct stat *st)
{
    reply->mode = st->st_mode;
    reply->dev = st->st_dev;
    reply->ino = st->st_ino;
    reply->size = st->st_size;
}

static int do_stat(struct filer *filer, const struct wire_request *request,
                   struct wire_reply *reply)
{
    int directory = enter_directory(filer, request->directory);
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
static int do_open_part(struct filer *filer, const struct wire_request *request,
                        struct wire_reply *reply, int *ret_fd)
{
    int directory = enter_directory(filer, request->directory);
    if (directory < 0)
        return directory;
    int flags = O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY;
    _cleanup_close_ int fd = openat(directory, request->name, flags | O_CREAT | O_EXCL, 0666);
    bool was_there = fd < 0 && errno == EEXIST;
    if (was_there)
        fd = openat(directory, request->name, flags | O_NONBLOCK);
    if (fd < 0)
        return errno == ELOOP || errno == EISDIR || errno == ENXIO ? -EEXIST : -errno;
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode) || st.st_nlink > 1 || st.st_uid != filer->uid)
        return -EEXIST;
    if (was_there && fcntl(fd, F_SETFL, 0) < 0)
        return -errno;
    fill(reply, &st);
    *ret_fd = TAKE_FD(fd);
    return 0;
}

/* Where the file system cannot rename without replacing, a second name does not replace either. */
static int rename_in(int directory, const char *from, const char *to, bool replace)
{
    if (renameat2(directory, from, directory, to, replace ? 0 : RENAME_NOREPLACE) == 0)
        return 0;
    if (replace || (errno != EINVAL && errno != ENOSYS))
        return -errno;
    if (linkat(directory, from, directory, to, 0) < 0 || unlinkat(directory, from, 0) < 0)
        return -errno;
    return 0;
}

/* What is not a regular file is not the part. */
static int do_rename(struct filer *filer, const struct wire_request *request)
{
    int directory = enter_directory(filer, request->directory);
    if (directory < 0)
        return directory;
    struct stat st;
    if (fstatat(directory, request->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode))
        return -ENOENT;
    const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = request->time}};
    if (request->has_time) /* a file without it is a whole one all the same */
        (void)utimensat(directory, request->name, times, AT_SYMLINK_NOFOLLOW);
    return rename_in(directory, request->name, request->name2, request->replace);
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

static int do_unlink(struct filer *filer, const struct wire_request *request)
{
    int directory = enter_directory(filer, request->directory);
    if (directory < 0)
        return directory == -ENOENT ? 0 : directory;
    int r = request->same ? check_same(directory, request) : 0;
    if (r == 0 && unlinkat(directory, request->name, 0) < 0)
        r = -errno;
    return r == -ENOENT ? 0 : r;
}

static int do_sync(struct filer *filer, const struct wire_request *request)
{
    int directory = enter_directory(filer, request->directory);
    if (directory < 0)
        return directory;
    _cleanup_close_ int fd = directory_open_again(directory);
    if (fd == -EACCES) { /* one that may be written but not read cannot be synced alone */
        sync();
        return 0;
    }
    if (fd < 0)
        return fd;
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

static int read_directory(struct filer *filer, const char *path, DIR **ret_dir)
{
    int directory = enter_directory(filer, path);
    if (directory < 0)
        return directory;
    _cleanup_close_ int fd = directory_open_again(directory);
    if (fd < 0)
        return fd;
    DIR *dir = fdopendir(fd);
    if (!dir)
        return -errno;
    TAKE_FD(fd);
    *ret_dir = dir;
    return 0;
}

static int do_find_part(struct filer *filer, const struct wire_request *request,
                        struct wire_reply *reply)
{
    _cleanup_(close_dir) DIR *dir = NULL;
    int r = read_directory(filer, request->directory, &dir);
    if (r < 0)
        return r;
    for (unsigned seen = 0; seen < ENTRIES_MAX; seen++) {
        errno = 0;
        const struct dirent *entry = readdir(dir);
        if (!entry)
            return errno ? -errno : -ENOENT;
        if (!wire_name_ends(entry->d_name, request->name) || !is_regular(dirfd(dir), entry) ||
            (entry->d_name[0] == '.' && !filer->rules.allow_hidden))
            continue;
        memcpy(reply->name, entry->d_name, strlen(entry->d_name) + 1);
        return 0;
    }
    return -E2BIG;
}

/* The kind of what a name stands for; not of a hidden one, or of no name at all. */
static int kind_of(const struct filer *filer, int directory, const char *name)
{
    struct stat st;
    if (!wire_name_valid(name))
        return -EINVAL;
    if (name[0] == '.' && !filer->rules.allow_hidden)
        return -EPERM;
    if (fstatat(directory, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? WIRE_NOTHING : -errno;
    return S_ISREG(st.st_mode) ? WIRE_FILE : WIRE_OTHER;
}

/* The names in `text`, and a byte for each behind the last one. */
static int find_kinds(const struct filer *filer, int directory, char *text, size_t size)
{
    size_t at = 0, count = 0;
    while (at < size - count) {
        size_t len = strnlen(text + at, size - at);
        if (at + len == size || ++count > WIRE_NAMES_MAX)
            return -EINVAL;
        at += len + 1;
    }
    if (at + count != size)
        return -EINVAL;
    const char *name = text;
    for (char *kind = text + at; kind < text + size; kind++, name += strlen(name) + 1) {
        int r = kind_of(filer, directory, name);
        if (r < 0)
            return r;
        *kind = (char)r;
    }
    return 0;
}

/* Memory alone: no file of somebody's can make the filer wait, or be written to. */
static int do_stat_many(struct filer *filer, const struct wire_request *request, int names)
{
    const size_t most = WIRE_NAMES_MAX * (API_NAME_MAX + 2);
    struct stat st;
    if (names < 0 || fcntl(names, F_GET_SEALS) < 0 || fstat(names, &st) < 0 || st.st_size < 1 ||
        (size_t)st.st_size > most)
        return -EINVAL;
    int directory = enter_directory(filer, request->directory);
    if (directory < 0)
        return directory;
    size_t size = (size_t)st.st_size;
    _cleanup_free_ char *text = malloc(size + 1);
    if (!text)
        return -ENOMEM;
    if (pread(names, text, size, 0) != (ssize_t)size)
        return -EINVAL;
    text[size] = '\0';
    int r = find_kinds(filer, directory, text, size);
    if (r == 0 && pwrite(names, text, size, 0) != (ssize_t)size)
        r = -EINVAL;
    return r;
}

/* --- serving --- */

/* `names`: the descriptor that came with the request, or -1. */
static int perform(struct filer *filer, const struct wire_request *request, int names,
                   struct wire_reply *reply, int *ret_fd)
{
    switch ((enum wire_op)request->op) {
    case WIRE_PREPARE:
        return do_prepare(filer, request, reply);
    case WIRE_STAT:
        return do_stat(filer, request, reply);
    case WIRE_OPEN_PART:
        return do_open_part(filer, request, reply, ret_fd);
    case WIRE_RENAME:
        return do_rename(filer, request);
    case WIRE_UNLINK:
        return do_unlink(filer, request);
    case WIRE_SYNC:
        return do_sync(filer, request);
    case WIRE_FIND_PART:
        return do_find_part(filer, request, reply);
    case WIRE_STAT_MANY:
        return do_stat_many(filer, request, names);
    case WIRE_OPS:
        break;
    }
    return -EINVAL;
}

/* The directory is judged where it is opened. */
static bool has_hidden_name(const struct wire_request *request)
{
    bool suffix = request->op == WIRE_FIND_PART;
    return (request->name[0] == '.' && !suffix) || request->name2[0] == '.';
}

/* 0; 1: there may be another one, since renames come in rows; or a negative errno. */
static int serve(struct filer *filer, int channel)
{
    struct wire_request request;
    _cleanup_close_ int names = -1;
    int r = wire_receive(channel, &request, sizeof(request), &names, 0);
    if (r < 0)
        return r == -ETIMEDOUT ? 0 : r;
    if (names >= 0 && request.op != WIRE_STAT_MANY)
        return -EPROTO;
    struct wire_reply reply = {0};
    _cleanup_close_ int fd = -1;
    if (!wire_request_valid(&request))
        reply.error = -EINVAL;
    else if (!filer->rules.allow_hidden && has_hidden_name(&request))
        reply.error = -EPERM;
    else
        reply.error = perform(filer, &request, names, &reply, &fd);
    r = wire_send(channel, &reply, sizeof(reply), fd);
    return r < 0 ? r : request.op == WIRE_RENAME;
}

/* Bounded, so that others have their turn. 0 or a negative errno. */
static int serve_row(struct filer *filer, int channel)
{
    int r = 1;
    for (unsigned i = 0; r == 1 && i < ROW; i++)
        r = serve(filer, channel);
    return r < 0 ? r : 0;
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
        if (fd != filer->control && (gone || serve_row(filer, fd) < 0)) {
            (void)epoll_ctl(filer->epoll, EPOLL_CTL_DEL, fd, NULL);
            close(fd);
            filer->channels--;
        }
    }
    leave_directory(filer);
}

void filer_run(int control, const char *home, bool allow_hidden)
{
    struct filer filer = {
        .control = control,
        .rules = {.home = home, .allow_hidden = allow_hidden},
        .uid = geteuid(),
        .directory = -1,
    };
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
