#include "privsep/makedir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/api.h"
#include "common/cleanup.h"
#include "common/log.h"

#define LINKS_MAX 40

struct walk {
    int directory; /* where it is */
    unsigned links;
    char left[API_PATH_MAX + 1]; /* of the path */
};

static bool others_may_write(const struct stat *st)
{
    return S_ISDIR(st->st_mode) && (st->st_mode & (S_IWGRP | S_IWOTH)) && !(st->st_mode & S_ISVTX);
}

/* The next component; false: that was all. */
static bool next_name(struct walk *walk, char name[static API_PATH_MAX + 1])
{
    size_t start = strspn(walk->left, "/");
    size_t length = strcspn(walk->left + start, "/");
    memcpy(name, walk->left + start, length);
    name[length] = '\0';
    memmove(walk->left, walk->left + start + length, strlen(walk->left + start + length) + 1);
    return length > 0;
}

/* Goes on with what the symbolic link says in place of it. */
static int follow(struct walk *walk, int link)
{
    char target[2 * API_PATH_MAX + 2];
    ssize_t n = readlinkat(link, "", target, API_PATH_MAX + 1);
    if (n < 0)
        return -errno;
    if (++walk->links > LINKS_MAX)
        return -ELOOP;
    size_t left = strlen(walk->left);
    if ((size_t)n + left > API_PATH_MAX)
        return -ENAMETOOLONG;
    memcpy(target + n, walk->left, left + 1);
    memcpy(walk->left, target, (size_t)n + left + 1);
    if (target[0] != '/')
        return 0;
    int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root < 0)
        return -errno;
    close(walk->directory);
    walk->directory = root;
    return 0;
}

static int step(struct walk *walk, const char *name)
{
    struct stat st;
    _cleanup_close_ int fd = openat(walk->directory, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        return -errno;
    if (st.st_uid != 0 || others_may_write(&st))
        return -EPERM;
    if (S_ISLNK(st.st_mode))
        return follow(walk, fd);
    if (!S_ISDIR(st.st_mode))
        return -ENOTDIR;
    close(walk->directory);
    walk->directory = TAKE_FD(fd);
    return 0;
}

/* The directory that a path (of whole components) leads to. A descriptor or a negative errno. */
static int walk_to(const char *path)
{
    char name[API_PATH_MAX + 1];
    struct walk walk = {.directory = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC)};
    int r = walk.directory < 0 ? -errno : 0;
    snprintf(walk.left, sizeof(walk.left), "%s", path);
    while (r == 0 && next_name(&walk, name))
        r = step(&walk, name);
    if (r == 0)
        return walk.directory;
    if (walk.directory >= 0)
        close(walk.directory);
    return r;
}

/* It was made here, by root, and others cannot have put another one in its place. */
static int give(int parent, const char *name, mode_t mode, uid_t uid, gid_t gid)
{
    struct stat st;
    _cleanup_close_ int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        return -errno;
    if (st.st_uid != 0)
        return -EPERM;
    return fchmod(fd, mode) < 0 || fchown(fd, uid, gid) < 0 ? -errno : 0;
}

static void explain(const char *path, int error)
{
    if (error == -EPERM)
        log_error("cannot make the directory %s: somebody else than root may change the way to it; "
                  "choose a place in directories of root, such as below /var/lib or /run, or make "
                  "it yourself for the service's user",
                  path);
    else
        log_error("cannot make the directory %s: %s", path, strerror(-error));
}

int makedir_for(const char *path, mode_t mode, uid_t uid, gid_t gid)
{
    char parent[API_PATH_MAX + 1];
    struct stat st;
    if (stat(path, &st) == 0)
        return 0; /* its owner's, whoever that is: the service looks at it */
    int length = snprintf(parent, sizeof(parent), "%s", path);
    if (length < 0 || (size_t)length >= sizeof(parent)) {
        explain(path, -ENAMETOOLONG);
        return -ENAMETOOLONG;
    }
    while (length > 1 && parent[length - 1] == '/')
        parent[--length] = '\0';
    char *slash = strrchr(parent, '/');
    if (!slash || !slash[1]) {
        explain(path, -EINVAL);
        return -EINVAL;
    }
    *slash = '\0';
    const char *name = slash + 1;
    _cleanup_close_ int directory = walk_to(parent);
    int r = directory < 0 ? directory : 0;
    if (r == 0 && mkdirat(directory, name, 0700) < 0)
        r = -errno;
    if (r == 0)
        r = give(directory, name, mode, uid, gid);
    else if (r == -EEXIST)
        return 0; /* a dangling link, or made meanwhile */
    if (r < 0)
        explain(path, r);
    return r;
}
