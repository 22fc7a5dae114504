#include "privsep/directory.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/cleanup.h"

#define FLAGS (O_PATH | O_DIRECTORY | O_CLOEXEC)

/* openat2(2) is in Linux 5.6; older ones judge where a magic link leads as any other directory. */
static int open_at(int parent, const char *name)
{
    struct open_how how = {.flags = FLAGS, .resolve = RESOLVE_NO_MAGICLINKS};
    long fd = syscall(SYS_openat2, parent, name, &how, sizeof(how));
    if (fd < 0 && errno == ENOSYS)
        fd = openat(parent, name, FLAGS);
    return fd < 0 ? -errno : (int)fd;
}

/* --- what is hidden --- */

/* Where an open directory is, as the kernel says. */
static int read_path(int directory, char out[static API_PATH_MAX + 1])
{
    char link[64];
    snprintf(link, sizeof(link), "/proc/self/fd/%d", directory);
    ssize_t n = readlink(link, out, API_PATH_MAX + 1);
    if (n < 0)
        return -errno;
    if (n > API_PATH_MAX)
        return -ENAMETOOLONG;
    out[n] = '\0';
    return out[0] == '/' ? 0 : -ENOENT; /* not where this process can see it */
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

/* What is left of the path of something in the home; otherwise all of it. */
static const char *below_home(const char *home, const char *path)
{
    char real[API_PATH_MAX + 1];
    _cleanup_close_ int fd = home[0] == '/' ? open_at(AT_FDCWD, home) : -ENOENT;
    if (fd < 0 || read_path(fd, real) < 0)
        return path;
    size_t n = strlen(real);
    bool inside = n > 1 && strncmp(path, real, n) == 0 && (path[n] == '/' || path[n] == '\0');
    return inside ? path + n : path;
}

static int judge(const struct directory_rules *rules, int directory)
{
    char path[API_PATH_MAX + 1];
    if (rules->allow_hidden)
        return 0;
    int r = read_path(directory, path);
    if (r < 0)
        return r;
    return has_hidden_component(path) && has_hidden_component(below_home(rules->home, path))
               ? -EPERM
               : 0;
}

/* --- opening --- */

int directory_open(const struct directory_rules *rules, const char *path)
{
    _cleanup_close_ int fd = open_at(AT_FDCWD, path);
    if (fd < 0)
        return fd;
    int r = judge(rules, fd);
    return r < 0 ? r : TAKE_FD(fd);
}

int directory_open_again(int directory)
{
    int fd = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

/* --- making --- */

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
static int expand(const char *home, const char *wanted, char out[static API_PATH_MAX + 1],
                  bool *has_parent)
{
    size_t length = 0;
    int r = 0;
    if (wanted[0] == '~') {
        if (home[0] != '/')
            return -ENOENT;
        r = append_normalized(out, &length, home, has_parent);
        wanted++;
    }
    if (r == 0)
        r = append_normalized(out, &length, wanted, has_parent);
    if (r == 0 && length == 0)
        out[length++] = '/';
    out[r == 0 ? length : 0] = '\0';
    return r;
}

/* Makes what is in `parent` last through a power cut, as far as the user may ask for that. */
static void sync_parent(int parent)
{
    _cleanup_close_ int fd = directory_open_again(parent);
    if (fd >= 0)
        (void)fsync(fd);
}

/* Opens one component of a path, made if it is missing and neither it nor `parent` is hidden. */
static int enter(const struct directory_rules *rules, int parent, const char *name)
{
    int fd = open_at(parent, name);
    if (fd != -ENOENT)
        return fd;
    int r = name[0] == '.' && !rules->allow_hidden ? -EPERM : judge(rules, parent);
    if (r < 0)
        return r;
    if (mkdirat(parent, name, 0777) == 0)
        sync_parent(parent);
    else if (errno != EEXIST)
        return -errno;
    return open_at(parent, name);
}

/* mkdir -p and open; `path` is normalized. */
static int make_all(const struct directory_rules *rules, const char *path)
{
    int fd = open_at(AT_FDCWD, path);
    if (fd != -ENOENT)
        return fd;
    fd = open_at(AT_FDCWD, "/");
    while (fd >= 0 && *path) {
        char name[API_PATH_MAX + 1];
        path += strspn(path, "/");
        size_t n = strcspn(path, "/");
        memcpy(name, path, n);
        name[n] = '\0';
        path += n;
        int next = enter(rules, fd, name);
        close(fd);
        fd = next;
    }
    return fd;
}

/* Where an open directory is, if it is there still. */
static int find_path(int directory, char out[static API_PATH_MAX + 1])
{
    struct stat here;
    struct stat there;
    int r = read_path(directory, out);
    if (r < 0)
        return r;
    if (fstat(directory, &here) < 0 || stat(out, &there) < 0)
        return -errno;
    return here.st_dev == there.st_dev && here.st_ino == there.st_ino ? 0 : -ENOENT;
}

int directory_make(const struct directory_rules *rules, const char *wanted,
                   char ret_path[static API_PATH_MAX + 1])
{
    char path[API_PATH_MAX + 1];
    bool has_parent = false;
    int r = expand(rules->home, wanted, path, &has_parent);
    if (r < 0)
        return r;
    _cleanup_close_ int fd = make_all(rules, path);
    if (fd < 0)
        return fd;
    r = judge(rules, fd);
    if (r == 0 && has_parent)
        r = find_path(fd, path);
    if (r < 0)
        return r;
    memcpy(ret_path, path, strlen(path) + 1);
    return TAKE_FD(fd);
}
