#include "privsep/wire.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "common/cleanup.h"
#include "common/units.h"

#define WIRE_ERROR_MAX 4095 /* what the kernel's own calls can return */
#define PART_ID_LENGTH 8

static bool error_valid(int32_t error)
{
    return error <= 0 && error >= -WIRE_ERROR_MAX;
}

static bool terminated(const char *string, size_t size)
{
    return memchr(string, '\0', size) != NULL;
}

static bool name_valid(const char *name, size_t size)
{
    return terminated(name, size) && name[0] != '\0' && !strchr(name, '/') &&
           strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

static bool directory_valid(const char *directory, size_t size, bool home_allowed)
{
    if (!terminated(directory, size))
        return false;
    if (directory[0] == '/')
        return true;
    return home_allowed && directory[0] == '~' && (directory[1] == '\0' || directory[1] == '/');
}

bool wire_control_valid(const struct wire_control *message)
{
    if (message->kind >= WIRE_CONTROL_KINDS)
        return false;
    if (message->kind == WIRE_SPAWN_FILER)
        return message->umask <= 0777;
    return message->uid == 0 && message->umask == 0;
}

/* What a user's name may be anywhere: it goes into the logs and look-ups of PAM's modules. */
static bool user_valid(const char *user, size_t size)
{
    if (!terminated(user, size) || user[0] == '\0')
        return false;
    for (; *user; user++)
        if ((unsigned char)*user < 0x20 || *user == 0x7f || *user == ':' || *user == '/')
            return false;
    return true;
}

bool wire_password_valid(const struct wire_password *message)
{
    return user_valid(message->user, sizeof(message->user)) &&
           terminated(message->password, sizeof(message->password)) &&
           message->password[0] != '\0' && terminated(message->host, sizeof(message->host)) &&
           message->host[strspn(message->host, "0123456789abcdef:.")] == '\0';
}

bool wire_verdict_valid(const struct wire_verdict *message)
{
    return message->verdict < WIRE_VERDICTS;
}

bool wire_hello_valid(const struct wire_hello *message)
{
    return error_valid(message->error);
}

/* ".XXXXXXXX.part": what a filer looks for is never the choice of a service that was taken over. */
static bool part_suffix_valid(const char *suffix, size_t size)
{
    static const char end[] = ".part";
    size_t length = 1 + PART_ID_LENGTH + strlen(end);
    return strnlen(suffix, size) == length && suffix[0] == '.' &&
           strspn(suffix + 1, "0123456789abcdef") == PART_ID_LENGTH &&
           strcmp(suffix + 1 + PART_ID_LENGTH, end) == 0;
}

/* "NAME.XXXXXXXX.part": what a service that was taken over may open, move and remove. */
static bool part_valid(const char *name, size_t size)
{
    size_t length = strnlen(name, size);
    size_t end = strlen(".XXXXXXXX.part");
    return name_valid(name, size) && length > end &&
           part_suffix_valid(name + length - end, size - (length - end));
}

static bool request_name_valid(const struct wire_request *request)
{
    switch ((enum wire_op)request->op) {
    case WIRE_PREPARE:
    case WIRE_SYNC:
    case WIRE_STAT_MANY:
        return !request->name[0];
    case WIRE_FIND_PART:
        return part_suffix_valid(request->name, sizeof(request->name));
    case WIRE_OPEN_PART:
    case WIRE_RENAME:
        return part_valid(request->name, sizeof(request->name));
    case WIRE_UNLINK:
        return request->same ? name_valid(request->name, sizeof(request->name))
                             : part_valid(request->name, sizeof(request->name));
    case WIRE_STAT:
        return name_valid(request->name, sizeof(request->name));
    case WIRE_OPS:
        break;
    }
    return false;
}

/* Numbers that an op does not use are 0. */
static bool flags_valid(const struct wire_request *request)
{
    bool identity = request->dev || request->ino || request->size;
    return request->replace <= (request->op == WIRE_RENAME) &&
           request->same <= (request->op == WIRE_UNLINK) && (request->same || !identity) &&
           request->has_time <= (request->op == WIRE_RENAME) &&
           (request->has_time || request->time == 0) &&
           request->size >= 0;
}

bool wire_name_valid(const char *name)
{
    return name_valid(name, API_NAME_MAX + 1);
}

bool wire_request_valid(const struct wire_request *request)
{
    if (request->op >= WIRE_OPS || !flags_valid(request))
        return false;
    if (!directory_valid(request->directory, sizeof(request->directory),
                         request->op == WIRE_PREPARE))
        return false;
    bool has_name2 = request->op == WIRE_RENAME;
    return request_name_valid(request) &&
           (has_name2 ? name_valid(request->name2, sizeof(request->name2)) : !request->name2[0]);
}

bool wire_reply_valid(const struct wire_reply *reply)
{
    return error_valid(reply->error) && reply->size >= 0 &&
           (reply->directory[0] == '\0' ||
            directory_valid(reply->directory, sizeof(reply->directory), false)) &&
           (reply->name[0] == '\0' || name_valid(reply->name, sizeof(reply->name)));
}

bool wire_name_ends(const char *name, const char *suffix)
{
    size_t length = strlen(name), end = strlen(suffix);
    return length > end && strcmp(name + length - end, suffix) == 0;
}

/* Whatever way the other side went, the caller is told in one way. */
static int socket_error(int error)
{
    return error == ECONNRESET || error == ENOTCONN ? -EPIPE : -error;
}

int wire_send(int socket, const void *message, size_t size, int fd)
{
    struct iovec part = {.iov_base = (void *)message, .iov_len = size};
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {.bytes = {0}};
    struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};
    if (fd >= 0) {
        header.msg_control = control.bytes;
        header.msg_controllen = sizeof(control.bytes);
        struct cmsghdr *item = CMSG_FIRSTHDR(&header);
        item->cmsg_level = SOL_SOCKET;
        item->cmsg_type = SCM_RIGHTS;
        item->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(item), &fd, sizeof(int));
    }
    ssize_t n;
    do
        n = sendmsg(socket, &header, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    return n < 0 ? socket_error(errno) : 0;
}

/* Waits until there is something to read, or the end. */
static int wait_readable(int socket, int64_t deadline)
{
    for (;;) {
        int64_t left = -1;
        if (deadline >= 0) {
            left = deadline - units_now_boottime();
            left = left < 0 ? 0 : left > INT_MAX ? INT_MAX : left;
        }
        struct pollfd item = {.fd = socket, .events = POLLIN};
        int n = poll(&item, 1, (int)left);
        if (n > 0)
            return 0;
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n == 0 && left < INT_MAX)
            return -ETIMEDOUT;
    }
}

/* Takes the descriptors out of a received message: closes all but the first. Their number. */
static size_t take_descriptors(struct msghdr *header, int *ret_fd)
{
    size_t count = 0;
    for (struct cmsghdr *item = CMSG_FIRSTHDR(header); item; item = CMSG_NXTHDR(header, item)) {
        if (item->cmsg_level != SOL_SOCKET || item->cmsg_type != SCM_RIGHTS)
            continue;
        size_t n = (item->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < n; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(item) + i * sizeof(int), sizeof(int));
            if (count++ == 0)
                *ret_fd = fd;
            else
                close(fd);
        }
    }
    return count;
}

/* One try: -EAGAIN when nothing is there. */
static int receive_now(int socket, void *message, size_t size, int *ret_fd)
{
    struct iovec part = {.iov_base = message, .iov_len = size};
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(4 * sizeof(int))];
    } control;
    struct msghdr header = {.msg_iov = &part,
                            .msg_iovlen = 1,
                            .msg_control = control.bytes,
                            .msg_controllen = sizeof(control.bytes)};
    ssize_t n = recvmsg(socket, &header, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (n < 0)
        return socket_error(errno);
    _cleanup_close_ int fd = -1;
    size_t descriptors = take_descriptors(&header, &fd);
    if (n == 0)
        return -EPIPE;
    /* The kernel had a descriptor for us, but our table has no room. */
    if ((header.msg_flags & MSG_CTRUNC) && descriptors == 0)
        return -EMFILE;
    if ((size_t)n != size || (header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) ||
        descriptors > (ret_fd ? 1 : 0))
        return -EPROTO;
    if (ret_fd)
        *ret_fd = TAKE_FD(fd);
    return 0;
}

int wire_receive(int socket, void *message, size_t size, int *ret_fd, int timeout)
{
    int64_t deadline = timeout < 0 ? -1 : units_now_boottime() + timeout;
    bool waits = timeout > 0; /* without a timeout something is often there already */
    for (;;) {
        int r = waits ? wait_readable(socket, deadline) : 0;
        if (r == 0)
            r = receive_now(socket, message, size, ret_fd);
        if (r == -EAGAIN && timeout == 0)
            return -ETIMEDOUT;
        if (r != -EAGAIN && r != -EINTR)
            return r;
        waits = timeout != 0;
    }
}
