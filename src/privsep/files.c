#include "privsep/files.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>

#include "common/buf.h"
#include "common/cleanup.h"
#include "common/units.h"
#include "privsep/wire.h"

#define WAKE_ID 0
#define BLOCK   512 /* bytes, of stx_blocks (statx(2)) */
#define AHEAD   8   /* requests that are sent before an answer is waited for: they fit in a socket */

enum filer_state {
    FILER_NONE,
    FILER_STARTING, /* its hello is awaited by the watcher */
    FILER_READY,
    FILER_FAILED, /* as `error` says; the next call tries again */
};

/* A user and the filer that is theirs at the moment; all protected by files->lock. */
struct user {
    struct user *next;
    uid_t uid;
    enum filer_state state;
    uint64_t id; /* of this filer; a new one has a new id */
    int control;
    int error;
    bool outdated;     /* starting by a configuration that has changed since */
    bool missed;       /* a channel was closed that gave up waiting for the start */
    unsigned channels; /* open ones and those aside */
    int64_t last_use;
    pthread_cond_t changed;
};

struct files_channel {
    /* immutable */
    struct files *files;
    struct user *user;

    /* owner only (after files_close: the watcher) */
    bool stuck; /* an answer is outstanding: no further request */
    bool late;  /* it gave up waiting for the filer to start, or to take the channel */

    /* written by the owner under files->lock */
    int fd;         /* -1: not connected */
    uint64_t filer; /* id of the filer at the other end */

    /* protected by files->lock */
    struct files_channel *next;
    struct files_channel **link; /* what points here, in files->channels or files->aside */
    uint64_t id;                 /* aside: for epoll */
};

struct files {
    /* immutable */
    struct privsep *privsep;
    void (*on_answer)(void *data, uid_t uid);
    void *data;
    int64_t idle; /* ms */
    int epoll;    /* the watcher's: `wake`, control sockets, channels aside, by their ids */
    int wake;
    pthread_t watcher;
    bool started;

    pthread_mutex_t lock; /* held for table work only: no call in it blocks */
    /* protected by lock */
    struct user *users;
    struct files_channel *channels; /* open */
    struct files_channel *aside;    /* closed by their owners while stuck */
    uint64_t last_id;
    mode_t umask;
    bool shut;
    bool ending;
};

/* --- deadlines: milliseconds on the boot clock, -1: none --- */

static int64_t deadline_in(int timeout)
{
    return timeout < 0 ? -1 : units_now_boottime() + timeout;
}

static int deadline_left(int64_t deadline)
{
    if (deadline < 0)
        return -1;
    int64_t left = deadline - units_now_boottime();
    return left < 0 ? 0 : left > INT_MAX ? INT_MAX : (int)left;
}

static int wait_until(pthread_cond_t *cond, pthread_mutex_t *lock, int64_t deadline)
{
    int left = deadline_left(deadline);
    if (left < 0)
        return -pthread_cond_wait(cond, lock);
    struct timespec when = units_monotonic_in(left);
    return -pthread_cond_timedwait(cond, lock, &when);
}

/* --- lists of channels --- */

static void channel_link(struct files_channel **list, struct files_channel *channel)
{
    channel->next = *list;
    channel->link = list;
    if (channel->next)
        channel->next->link = &channel->next;
    *list = channel;
}

static void channel_unlink(struct files_channel *channel)
{
    *channel->link = channel->next;
    if (channel->next)
        channel->next->link = channel->link;
}

/* --- users and their filers --- */

static struct user *user_find_locked(struct files *files, uid_t uid)
{
    for (struct user *user = files->users; user; user = user->next)
        if (user->uid == uid)
            return user;
    return NULL;
}

static struct user *user_create(uid_t uid)
{
    struct user *user = calloc(1, sizeof(*user));
    if (!user)
        return NULL;
    user->uid = uid;
    user->control = -1;
    units_condition_init(&user->changed);
    return user;
}

static void user_destroy(struct user *user)
{
    assert(user->control < 0 && user->channels == 0);
    pthread_cond_destroy(&user->changed);
    free(user);
}

static int watch_locked(struct files *files, int fd, uint64_t id)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = id};
    return epoll_ctl(files->epoll, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

static void unwatch_locked(struct files *files, int *fd)
{
    if (*fd < 0)
        return;
    (void)epoll_ctl(files->epoll, EPOLL_CTL_DEL, *fd, NULL);
    close(*fd);
    *fd = -1;
}

/* Lets go of the filer (which ends, if it has not already) and tells who waits for it. */
static void filer_lost_locked(struct files *files, struct user *user, int error)
{
    unwatch_locked(files, &user->control);
    user->state = FILER_FAILED;
    user->error = error;
    pthread_cond_broadcast(&user->changed);
}

static void filer_start_locked(struct files *files, struct user *user)
{
    user->id = ++files->last_id;
    user->missed = user->outdated = false;
    int r = privsep_spawn_filer(files->privsep, user->uid, files->umask, &user->control);
    if (r == 0)
        r = watch_locked(files, user->control, user->id);
    if (r < 0)
        filer_lost_locked(files, user, r);
    else
        user->state = FILER_STARTING;
}

/* Sees that the user's filer runs: the first caller starts it, the others wait with it. */
static int filer_wait_locked(struct files *files, struct user *user, int64_t deadline)
{
    if (!files->shut && user->state != FILER_STARTING && user->state != FILER_READY)
        filer_start_locked(files, user);
    uint64_t id = user->id;
    while (!files->shut && user->id == id && user->state == FILER_STARTING) {
        if (wait_until(&user->changed, &files->lock, deadline) == -ETIMEDOUT && user->id == id &&
            user->state == FILER_STARTING) {
            return -ETIMEDOUT;
        }
    }
    if (files->shut)
        return -ESHUTDOWN;
    if (user->id != id)
        return -EPIPE; /* lost, and another one is already on its way */
    return user->state == FILER_READY ? 0 : user->error;
}

/* --- the watcher: late answers, hellos, ends --- */

/* A filer's hello, or its end. True: somebody gave up waiting for it. */
static bool control_event_locked(struct files *files, struct user *user)
{
    struct wire_hello hello;
    int r = wire_receive(user->control, &hello, sizeof(hello), NULL, 0);
    if (r == -ETIMEDOUT)
        return false;
    bool expected =
        user->state == FILER_STARTING && wire_hello_valid(&hello) && hello.uid == user->uid;
    if (r == 0 && !expected)
        r = -EPROTO;
    else if (r == 0)
        r = user->outdated ? -EPIPE : hello.error;
    if (r < 0) {
        filer_lost_locked(files, user, r);
    } else {
        user->state = FILER_READY;
        pthread_cond_broadcast(&user->changed);
    }
    bool missed = user->missed;
    user->missed = false;
    return missed;
}

/* The channel's last trace: it must be unlinked, and stuck no more. */
static void channel_free_locked(struct files_channel *channel)
{
    struct user *user = channel->user;
    if (channel->fd >= 0)
        close(channel->fd);
    user->channels--;
    user->last_use = units_now_boottime();
    free(channel);
}

static bool has_aside_locked(const struct files *files, const struct user *user)
{
    for (const struct files_channel *channel = files->aside; channel; channel = channel->next)
        if (channel->user == user)
            return true;
    return false;
}

/* The late answer, or the end. True when it was that and no other is outstanding: what was asked
 * before must not be done after what is asked then. The answer is not received: to close(2) a
 * descriptor that came with it asks the user's file system, which may not answer; what nobody took
 * out of a socket the kernel lets go of without. */
static bool aside_event_locked(struct files *files, struct files_channel *channel)
{
    struct user *user = channel->user;
    channel_unlink(channel);
    unwatch_locked(files, &channel->fd);
    channel_free_locked(channel);
    return !has_aside_locked(files, user);
}

/* Whose event this is; it may be nobody's any more. True: `ret_uid` answered at last. */
static bool event_locked(struct files *files, uint64_t id, uid_t *ret_uid)
{
    eventfd_t unused;
    if (id == WAKE_ID) {
        (void)eventfd_read(files->wake, &unused);
        return false;
    }
    for (struct user *user = files->users; user; user = user->next) {
        if (user->id == id && user->control >= 0) {
            *ret_uid = user->uid;
            return control_event_locked(files, user);
        }
    }
    for (struct files_channel *channel = files->aside; channel; channel = channel->next) {
        if (channel->id == id) {
            *ret_uid = channel->user->uid;
            return aside_event_locked(files, channel);
        }
    }
    return false;
}

/* Ends filers that have idled long enough. ms until there may be a next one, -1: none. */
static int reap_locked(struct files *files)
{
    int64_t now = units_now_boottime();
    int64_t next = -1;
    struct user **link = &files->users;
    while (*link) {
        struct user *user = *link;
        /* One that is starting says so, or ends, within a bounded time. */
        bool busy = user->channels > 0 || user->state == FILER_STARTING;
        int64_t left = (busy ? now : user->last_use) + files->idle - now;
        if (busy || left > 0) {
            if (next < 0 || left < next)
                next = left;
            link = &user->next;
            continue;
        }
        *link = user->next;
        unwatch_locked(files, &user->control);
        user_destroy(user);
    }
    return next > INT_MAX ? INT_MAX : (int)next;
}

static void *watcher_thread(void *data)
{
    struct files *files = data;
    int timeout = -1;
    for (;;) {
        struct epoll_event event = {.data.u64 = WAKE_ID};
        int n = epoll_wait(files->epoll, &event, 1, timeout);
        uid_t uid = 0;
        pthread_mutex_lock(&files->lock);
        bool ending = files->ending;
        bool answered =
            n > 0 && !ending && event_locked(files, event.data.u64, &uid) && !files->shut;
        timeout = reap_locked(files);
        pthread_mutex_unlock(&files->lock);
        if (ending)
            return NULL;
        if (answered)
            files->on_answer(files->data, uid);
    }
}

/* --- all filers --- */

int files_create(struct privsep *privsep, mode_t umask, int64_t idle,
                 void (*on_answer)(void *data, uid_t uid), void *data, struct files **ret_files)
{
    struct files *files = calloc(1, sizeof(*files));
    if (!files)
        return -ENOMEM;
    files->privsep = privsep;
    files->umask = umask;
    files->idle = idle;
    files->on_answer = on_answer;
    files->data = data;
    files->last_id = WAKE_ID;
    pthread_mutex_init(&files->lock, NULL);
    files->epoll = epoll_create1(EPOLL_CLOEXEC);
    files->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int r = files->epoll < 0 || files->wake < 0 ? -errno : 0;
    if (r == 0)
        r = watch_locked(files, files->wake, WAKE_ID);
    if (r == 0)
        r = -pthread_create(&files->watcher, NULL, watcher_thread, files);
    if (r < 0) {
        files_destroy(files);
        return r;
    }
    files->started = true;
    *ret_files = files;
    return 0;
}

void files_renew(struct files *files, mode_t umask)
{
    pthread_mutex_lock(&files->lock);
    files->umask = umask;
    for (struct user *user = files->users; user; user = user->next) {
        user->outdated = user->state == FILER_STARTING;
        if (user->state == FILER_READY)
            filer_lost_locked(files, user, -EPIPE);
    }
    pthread_mutex_unlock(&files->lock);
}

void files_shutdown(struct files *files)
{
    pthread_mutex_lock(&files->lock);
    files->shut = true;
    for (struct files_channel *channel = files->channels; channel; channel = channel->next)
        if (channel->fd >= 0)
            shutdown(channel->fd, SHUT_RDWR);
    for (struct user *user = files->users; user; user = user->next)
        filer_lost_locked(files, user, -ESHUTDOWN);
    pthread_mutex_unlock(&files->lock);
}

static void stop_watcher(struct files *files)
{
    pthread_mutex_lock(&files->lock);
    files->ending = true;
    pthread_mutex_unlock(&files->lock);
    eventfd_write(files->wake, 1);
    pthread_join(files->watcher, NULL);
}

void files_destroy(struct files *files)
{
    if (!files)
        return;
    if (files->started)
        stop_watcher(files);
    assert(!files->channels);
    while (files->aside) {
        struct files_channel *channel = files->aside;
        channel_unlink(channel);
        channel_free_locked(channel);
    }
    while (files->users) {
        struct user *user = files->users;
        files->users = user->next;
        unwatch_locked(files, &user->control);
        user_destroy(user);
    }
    if (files->wake >= 0)
        close(files->wake);
    if (files->epoll >= 0)
        close(files->epoll);
    pthread_mutex_destroy(&files->lock);
    free(files);
}

/* --- channels --- */

int files_open(struct files *files, uid_t uid, struct files_channel **ret_channel)
{
    struct files_channel *channel = calloc(1, sizeof(*channel));
    if (!channel)
        return -ENOMEM;
    channel->files = files;
    channel->fd = -1;
    pthread_mutex_lock(&files->lock);
    struct user *user = user_find_locked(files, uid);
    if (!user && (user = user_create(uid))) {
        user->next = files->users;
        files->users = user;
        eventfd_write(files->wake, 1); /* there is somebody to look after */
    }
    if (user) {
        user->channels++;
        channel->user = user;
        channel_link(&files->channels, channel);
    }
    pthread_mutex_unlock(&files->lock);
    if (!user) {
        free(channel);
        return -ENOMEM;
    }
    *ret_channel = channel;
    return 0;
}

/* Whether somebody will call on_answer for the user of this closed channel, if it has to be. */
static bool answer_expected_locked(struct files *files, struct files_channel *channel)
{
    struct user *user = channel->user;
    if (channel->stuck) {
        channel->id = ++files->last_id;
        return watch_locked(files, channel->fd, channel->id) == 0;
    }
    if (!channel->late)
        return true;
    if (user->state == FILER_STARTING)
        return user->missed = true;
    return has_aside_locked(files, user);
}

void files_close(struct files_channel *channel)
{
    if (!channel)
        return;
    struct files *files = channel->files;
    uid_t uid = channel->user->uid;
    pthread_mutex_lock(&files->lock);
    channel_unlink(channel);
    bool expected = files->shut || answer_expected_locked(files, channel);
    if (channel->id && expected)
        channel_link(&files->aside, channel);
    else
        channel_free_locked(channel);
    pthread_mutex_unlock(&files->lock);
    /* Nobody will hear the answer: better to try again too early than never. */
    if (!expected)
        files->on_answer(files->data, uid);
}

uid_t files_uid(const struct files_channel *channel)
{
    return channel->user->uid;
}

bool files_is_stuck(const struct files_channel *channel)
{
    return channel->stuck || channel->late;
}

/* Passes one end of a new socket to the filer. */
static int channel_connect_locked(struct files_channel *channel)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
        return -errno;
    _cleanup_close_ int ours = ends[0];
    _cleanup_close_ int theirs = ends[1];
    struct wire_channel message = {0};
    int r = wire_send(channel->user->control, &message, sizeof(message), theirs);
    if (r == -EPIPE)
        filer_lost_locked(channel->files, channel->user, r);
    if (r < 0)
        return r == -EAGAIN ? -ETIMEDOUT : r;
    channel->fd = TAKE_FD(ours);
    channel->filer = channel->user->id;
    return 0;
}

static int channel_ready(struct files_channel *channel, int64_t deadline)
{
    struct files *files = channel->files;
    pthread_mutex_lock(&files->lock);
    int r = files->shut ? -ESHUTDOWN : 0;
    if (r == 0 && channel->fd < 0) {
        r = filer_wait_locked(files, channel->user, deadline);
        if (r == 0)
            r = channel_connect_locked(channel);
        channel->late = r == -ETIMEDOUT;
    }
    pthread_mutex_unlock(&files->lock);
    return r;
}

/* The other end is gone, or talks nonsense: the filer with it, unless there is a new one already.
 * The reason, or -ESHUTDOWN. */
static int channel_lost(struct files_channel *channel, int reason)
{
    struct files *files = channel->files;
    struct user *user = channel->user;
    pthread_mutex_lock(&files->lock);
    close(channel->fd);
    channel->fd = -1;
    if (user->id == channel->filer && user->state == FILER_READY)
        filer_lost_locked(files, user, reason);
    int r = files->shut ? -ESHUTDOWN : reason;
    pthread_mutex_unlock(&files->lock);
    return r;
}

/* Whether a part is what a worker may write to without surprises: no device, no pipe, no O_PATH,
 * bytes go where they are written to. Nothing here asks the file's server, which may be the one
 * that does not answer. */
static bool is_part(int fd, struct files_stat *ret_stat)
{
    struct statx st;
    unsigned mask = STATX_TYPE | STATX_MODE | STATX_INO | STATX_SIZE | STATX_BLOCKS;
    int flags = fcntl(fd, F_GETFL);
    int special = O_PATH | O_APPEND | O_DIRECT | O_ASYNC | O_NONBLOCK;
    bool fits = flags >= 0 && (flags & (O_ACCMODE | special)) == O_RDWR &&
                statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, mask, &st) == 0 &&
                S_ISREG(st.stx_mode);
    if (fits)
        *ret_stat = (struct files_stat){
            .mode = st.stx_mode,
            .dev = makedev(st.stx_dev_major, st.stx_dev_minor),
            .ino = st.stx_ino,
            .size = (int64_t)st.stx_size,
            .allocated = (int64_t)st.stx_blocks * BLOCK,
        };
    return fits;
}

static bool answers(const struct wire_request *request, const struct wire_reply *reply, int fd,
                    struct files_stat *ret_stat)
{
    if (!wire_reply_valid(reply))
        return false;
    bool done = reply->error == 0;
    if (request->op == WIRE_PREPARE && done && !reply->directory[0])
        return false;
    if (request->op == WIRE_FIND_PART && done && !wire_name_ends(reply->name, request->name))
        return false;
    if (request->op == WIRE_OPEN_PART && done)
        return fd >= 0 && is_part(fd, ret_stat);
    return fd < 0;
}

struct answer {
    struct wire_reply reply;
    int fd; /* WIRE_OPEN_PART: the caller's, and ... */
    struct files_stat part; /* ... which file it is */
};

/* Waits for the answer to the oldest request that has none yet. */
static int receive(struct files_channel *channel, const struct wire_request *request,
                   struct answer *ret_answer, int64_t deadline)
{
    _cleanup_close_ int fd = -1;
    int r = wire_receive(channel->fd, &ret_answer->reply, sizeof(ret_answer->reply), &fd,
                         deadline_left(deadline));
    if (r == -ETIMEDOUT) {
        channel->stuck = true;
        return r;
    }
    if (r == -EMFILE)
        return r; /* the answer came; its descriptor found no room here */
    if (r == 0 && !answers(request, &ret_answer->reply, fd, &ret_answer->part))
        r = -EPROTO;
    if (r < 0)
        return channel_lost(channel, r);
    ret_answer->fd = TAKE_FD(fd);
    return 0;
}

static int exchange(struct files_channel *channel, const struct wire_request *request, int send_fd,
                    struct answer *ret_answer, int64_t deadline)
{
    int r = channel_ready(channel, deadline);
    if (r < 0)
        return r;
    r = wire_send(channel->fd, request, sizeof(*request), send_fd);
    if (r < 0)
        return channel_lost(channel, r);
    return receive(channel, request, ret_answer, deadline);
}

/* The user's file system may fail as it likes, but not in words that mean something of ours. */
static int user_error(int error)
{
    switch (error) {
    case -ETIMEDOUT:
    case -ESHUTDOWN:
    case -ECANCELED:
    case -EAGAIN:
    case -EPIPE:
    case -EPROTO:
    case -EHOSTDOWN:
        return -EIO;
    default:
        return error;
    }
}

/* No filer to be had, or none that makes sense: that is nobody's file system's fault. */
static int own_error(int error)
{
    switch (error) {
    case -EPIPE:
    case -EPROTO:
    case -EAGAIN:
    case -EMFILE:
    case -ENFILE:
    case -ENOBUFS:
        return -EHOSTDOWN;
    default:
        return error;
    }
}

/* One request and its answer; once more when the filer ended meanwhile. Then 0 means that the answer
 * reports success. */
static int call_with(struct files_channel *channel, const struct wire_request *request, int send_fd,
                     int timeout, struct answer *ret_answer)
{
    int64_t deadline = deadline_in(timeout);
    if (!wire_request_valid(request))
        return -EINVAL;
    if (channel->stuck)
        return -ETIMEDOUT;
    int r = exchange(channel, request, send_fd, ret_answer, deadline);
    if (r == -EPIPE)
        r = exchange(channel, request, send_fd, ret_answer, deadline);
    return r < 0 ? own_error(r) : user_error(ret_answer->reply.error);
}

static int call(struct files_channel *channel, const struct wire_request *request, int timeout,
                struct answer *ret_answer)
{
    return call_with(channel, request, -1, timeout, ret_answer);
}

static int copy_string(char *to, size_t size, const char *from)
{
    size_t length = strlen(from);
    if (length >= size)
        return -ENAMETOOLONG;
    memcpy(to, from, length + 1);
    return 0;
}

static int request_init(struct wire_request *request, enum wire_op op, const char *directory,
                        const char *name, const char *name2)
{
    memset(request, 0, sizeof(*request));
    request->op = op;
    int r = copy_string(request->directory, sizeof(request->directory), directory);
    if (r == 0 && name)
        r = copy_string(request->name, sizeof(request->name), name);
    if (r == 0 && name2)
        r = copy_string(request->name2, sizeof(request->name2), name2);
    return r;
}

/* --- calls --- */

int files_room(struct files_channel *channel, const char *directory, int timeout,
               char **ret_directory, int64_t *ret_free)
{
    struct wire_request request;
    struct answer answer;
    int r = request_init(&request, WIRE_PREPARE, directory, NULL, NULL);
    if (r == 0)
        r = call(channel, &request, timeout, &answer);
    if (r < 0)
        return r;
    char *prepared = strdup(answer.reply.directory);
    if (!prepared)
        return -ENOMEM;
    *ret_directory = prepared;
    *ret_free = answer.reply.size;
    return 0;
}

int files_prepare(struct files_channel *channel, const char *directory, int timeout,
                  char **ret_directory)
{
    int64_t unused;
    return files_room(channel, directory, timeout, ret_directory, &unused);
}

int files_stat(struct files_channel *channel, const char *directory, const char *name, int timeout,
               struct files_stat *ret_stat)
{
    struct wire_request request;
    struct answer answer;
    int r = request_init(&request, WIRE_STAT, directory, name, NULL);
    if (r == 0)
        r = call(channel, &request, timeout, &answer);
    if (r == 0)
        *ret_stat = (struct files_stat){
            .mode = answer.reply.mode,
            .dev = answer.reply.dev,
            .ino = answer.reply.ino,
            .size = answer.reply.size,
        };
    return r;
}

#define NOT_SET ((char)WIRE_KINDS)
static_assert((int)FILES_OTHER == (int)WIRE_OTHER && FILES_NAMES_MAX == WIRE_NAMES_MAX,
              "handed through");

/* The names, and as many bytes behind them, not set yet. */
static int make_names(const char *const *names, size_t count, int *ret_fd, size_t *ret_length)
{
    _cleanup_(buf_release) struct buf text;
    buf_init(&text, (size_t)WIRE_NAMES_MAX * (API_NAME_MAX + 2));
    for (size_t i = 0; i < count; i++)
        buf_add(&text, names[i], strlen(names[i]) + 1);
    size_t length = text.len;
    for (size_t i = 0; i < count; i++)
        buf_add_char(&text, NOT_SET);
    if (text.error)
        return text.error;
    _cleanup_close_ int fd = memfd_create("names", MFD_CLOEXEC);
    if (fd < 0)
        return -errno;
    if (pwrite(fd, text.data, text.len, 0) != (ssize_t)text.len)
        return -ENOMEM;
    *ret_length = length;
    *ret_fd = TAKE_FD(fd);
    return 0;
}

int files_stat_many(struct files_channel *channel, const char *directory, const char *const *names,
                    size_t count, int timeout, enum files_kind *ret_kinds)
{
    struct wire_request request;
    struct answer answer;
    _cleanup_close_ int file = -1;
    _cleanup_free_ char *kinds = malloc(count);
    size_t length = 0;
    assert(count > 0 && count <= WIRE_NAMES_MAX);
    int r = kinds ? make_names(names, count, &file, &length) : -ENOMEM;
    if (r == 0)
        r = request_init(&request, WIRE_STAT_MANY, directory, NULL, NULL);
    if (r == 0)
        r = call_with(channel, &request, file, timeout, &answer);
    if (r == 0 && pread(file, kinds, count, (off_t)length) != (ssize_t)count)
        r = -EHOSTDOWN;
    for (size_t i = 0; i < count && r == 0; i++) {
        if (kinds[i] < 0 || kinds[i] >= WIRE_KINDS)
            r = -EHOSTDOWN; /* a filer that says it is done, and is not */
        else
            ret_kinds[i] = (enum files_kind)kinds[i];
    }
    return r;
}

int files_open_part(struct files_channel *channel, const char *directory, const char *name,
                    int timeout, int *ret_fd, struct files_stat *ret_stat)
{
    struct wire_request request;
    struct answer answer;
    int r = request_init(&request, WIRE_OPEN_PART, directory, name, NULL);
    if (r == 0)
        r = call(channel, &request, timeout, &answer);
    if (r < 0)
        return r;
    *ret_fd = answer.fd;
    *ret_stat = answer.part;
    return 0;
}

static int call_simple(struct files_channel *channel, enum wire_op op, const char *directory,
                       const char *name, const char *name2, int timeout)
{
    struct wire_request request;
    struct answer answer;
    int r = request_init(&request, op, directory, name, name2);
    return r < 0 ? r : call(channel, &request, timeout, &answer);
}

static int request_move(struct wire_request *request, const struct files_move *move)
{
    int r = request_init(request, WIRE_RENAME, move->directory, move->from, move->to);
    request->replace = move->replace;
    request->has_time = move->has_time;
    request->time = move->has_time ? move->time : 0;
    return r;
}

/* Done before (a filer that died, or answered too late)? Then the target is our file; where two names
 * stand for it, the first one is left over. */
static int judge_move(struct files_channel *channel, const struct files_move *move, int result,
                      int64_t deadline)
{
    if (result != -ENOENT && result != -EEXIST)
        return result;
    struct files_stat st;
    int r = files_stat(channel, move->directory, move->to, deadline_left(deadline), &st);
    if (r < 0)
        return r == -ENOENT ? result : r;
    if (st.dev != move->dev || st.ino != move->ino)
        return result;
    if (result == -EEXIST)
        return files_unlink(channel, move->directory, move->from, deadline_left(deadline));
    return 0;
}

int files_rename(struct files_channel *channel, const struct files_move *move, int timeout)
{
    int64_t deadline = deadline_in(timeout);
    struct wire_request request;
    struct answer answer;
    int r = request_move(&request, move);
    if (r == 0)
        r = call(channel, &request, timeout, &answer);
    return judge_move(channel, move, r, deadline);
}

/* Sends requests for the first of these, as many as the socket takes; how many. */
static size_t send_moves(struct files_channel *channel, const struct files_move *moves, size_t count)
{
    struct wire_request request;
    size_t sent = 0;
    if (channel->stuck || channel_ready(channel, -1) < 0)
        return 0;
    while (sent < count && request_move(&request, &moves[sent]) == 0 &&
           wire_request_valid(&request) &&
           wire_send(channel->fd, &request, sizeof(request), -1) == 0)
        sent++;
    return sent;
}

/* The answers to the first `sent`; how many came. */
static size_t receive_moves(struct files_channel *channel, struct files_move *moves, size_t sent)
{
    static const struct wire_request request = {.op = WIRE_RENAME};
    struct answer answer;
    size_t received = 0;
    while (received < sent && receive(channel, &request, &answer, -1) == 0)
        moves[received++].result = user_error(answer.reply.error);
    return received;
}

void files_rename_all(struct files_channel *channel, struct files_move *moves, size_t count)
{
    while (count > 0) {
        size_t window = count < AHEAD ? count : AHEAD;
        size_t done = receive_moves(channel, moves, send_moves(channel, moves, window));
        for (size_t i = 0; i < done; i++)
            moves[i].result = judge_move(channel, &moves[i], moves[i].result, -1);
        if (done < window) /* the one where it broke off, by itself */
            moves[done].result = files_rename(channel, &moves[done], -1);
        done += done < window;
        moves += done;
        count -= done;
    }
}

int files_unlink(struct files_channel *channel, const char *directory, const char *name,
                 int timeout)
{
    return call_simple(channel, WIRE_UNLINK, directory, name, NULL, timeout);
}

int files_unlink_if(struct files_channel *channel, const char *directory, const char *name,
                    dev_t dev, ino_t ino, int64_t size, int timeout)
{
    struct wire_request request;
    struct answer answer;
    int r = request_init(&request, WIRE_UNLINK, directory, name, NULL);
    request.same = true;
    request.dev = dev;
    request.ino = ino;
    request.size = size;
    return r < 0 ? r : call(channel, &request, timeout, &answer);
}

int files_find_part(struct files_channel *channel, const char *directory, const char *suffix,
                    int timeout, char **ret_name)
{
    struct wire_request request;
    struct answer answer;
    int r = request_init(&request, WIRE_FIND_PART, directory, suffix, NULL);
    if (r == 0)
        r = call(channel, &request, timeout, &answer);
    if (r < 0)
        return r;
    char *name = strdup(answer.reply.name);
    if (!name)
        return -ENOMEM;
    *ret_name = name;
    return 0;
}

int files_sync(struct files_channel *channel, const char *directory, int timeout)
{
    return call_simple(channel, WIRE_SYNC, directory, NULL, NULL, timeout);
}
