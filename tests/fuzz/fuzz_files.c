/*
 * A filer that lies: the service's end (files.c) hears its hello, its replies and the descriptors
 * that come with them. What a call gives back is sound, and no descriptor is left over.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "fuzz.h"
#include "privsep/files.h"
#include "privsep/wire.h"

#define UID       1000
#define TIMEOUT   2000 /* ms; a liar that says nothing is not waited for */
#define LIES_MAX  4
#define CALLS_MAX 6
#define SPAWN_MAX 64
#define SUFFIX    ".0123cdef.part"
#define PART "name" SUFFIX

/* What the filer says, written down before anything is asked. */
static struct {
    struct wire_hello hello;
    bool short_hello, hangs_up;
    struct {
        struct wire_reply reply;
        size_t size;
        int fd; /* what goes along, or -1 */
    } replies[LIES_MAX];
    unsigned count;
} lies;

static int descriptors[6];    /* what can go along */
static int filers[SPAWN_MAX]; /* their ends of the control sockets */
static unsigned spawned;

/* --- the filer --- */

int __real_socketpair(int domain, int type, int protocol, int ends[2]);
int __wrap_socketpair(int domain, int type, int protocol, int ends[2]);

/* A channel has all replies in it, and their end, before its first request. */
int __wrap_socketpair(int domain, int type, int protocol, int ends[2])
{
    int r = __real_socketpair(domain, type, protocol, ends);
    for (unsigned i = 0; r == 0 && i < lies.count; i++)
        MUST(wire_send(ends[1], &lies.replies[i].reply, lies.replies[i].size, lies.replies[i].fd) ==
             0);
    MUST(r < 0 || shutdown(ends[1], SHUT_WR) == 0);
    return r;
}

/* In place of privsep.c. */
int privsep_spawn_filer(struct privsep *privsep, uid_t uid, mode_t umask, int *ret_control)
{
    int ends[2];
    (void)privsep;
    (void)umask;
    MUST(uid == UID && spawned < SPAWN_MAX);
    MUST(__real_socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
    size_t size = lies.short_hello ? sizeof lies.hello - 1 : sizeof lies.hello;
    MUST(wire_send(ends[1], &lies.hello, size, -1) == 0);
    if (lies.hangs_up)
        close(ends[1]);
    else
        filers[spawned++] = ends[1];
    *ret_control = ends[0];
    return 0;
}

static void make_descriptors(void)
{
    char path[64];
    int pair[2];
    if (descriptors[0])
        return;
    descriptors[0] = memfd_create("part", MFD_CLOEXEC);
    snprintf(path, sizeof path, "/proc/self/fd/%d", descriptors[0]);
    descriptors[1] = open(path, O_RDONLY | O_CLOEXEC);
    descriptors[2] = open(path, O_PATH | O_CLOEXEC);
    descriptors[3] = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    descriptors[4] = open("/dev/null", O_RDWR | O_CLOEXEC);
    MUST(pipe2(pair, O_CLOEXEC) == 0);
    descriptors[5] = pair[1];
    for (size_t i = 0; i < sizeof descriptors / sizeof *descriptors; i++)
        MUST(descriptors[i] >= 0);
}

/* --- what it says --- */

static void put(char *field, size_t size, struct input *input, bool endless)
{
    _cleanup_free_ char *text = take_text(input);
    size_t len = strnlen(text, size);
    memcpy(field, text, len);
    if (endless)
        memset(field + len, 'x', size - len);
}

static void read_reply(struct input *input)
{
    struct wire_reply *reply = &lies.replies[lies.count].reply;
    uint8_t options = take_byte(input), along = take_byte(input);
    memset(reply, 0, sizeof *reply);
    reply->error = -(int32_t)take_byte(input) * (options & 1 ? 257 : 1);
    if (options & 2) {
        reply->error = -reply->error;
        reply->mode = (uint32_t)take_number(input);
        reply->dev = take_number(input);
        reply->ino = take_number(input);
        reply->size = (int64_t)take_number(input);
    }
    put(reply->directory, sizeof reply->directory, input, options & 4);
    put(reply->name, sizeof reply->name, input, options & 8);
    lies.replies[lies.count].size = options & 16 ? sizeof *reply - 1 : sizeof *reply;
    lies.replies[lies.count].fd = along % 8 < 6 ? descriptors[along % 8] : -1;
    lies.count++;
}

static void read_lies(struct input *input)
{
    uint8_t options = take_byte(input);
    lies.short_hello = options & 1;
    lies.hangs_up = options & 2;
    lies.hello.uid = options & 4 ? 0 : UID;
    lies.hello.error = options & 8 ? (int32_t)take_number(input) : 0;
    lies.count = 0;
    for (unsigned i = 0; i < (options >> 4) % (LIES_MAX + 1); i++)
        read_reply(input);
}

/* --- what is made of it --- */

static void check_directory(const char *directory)
{
    MUST(*directory == '/' && strlen(directory) <= API_PATH_MAX);
}

static void check_name(const char *name)
{
    MUST(wire_name_ends(name, SUFFIX) && !strchr(name, '/') && strlen(name) <= API_NAME_MAX);
}

static void check_part(int fd)
{
    struct stat st;
    MUST(fstat(fd, &st) == 0 && S_ISREG(st.st_mode));
    MUST((fcntl(fd, F_GETFL) & (O_ACCMODE | O_PATH)) == O_RDWR);
    MUST(fcntl(fd, F_GETFD) & FD_CLOEXEC);
}

static int call(struct files_channel *channel, unsigned which)
{
    _cleanup_free_ char *text = NULL;
    _cleanup_close_ int fd = -1;
    struct files_stat st = {.size = -1};
    struct files_move move = {.directory = "/x",
                              .from = PART,
                              .to = "other",
                              .replace = which & 8,
                              .dev = 1,
                              .ino = 1};
    int r = 0;
    switch (which % 8) {
    case 0:
        if ((r = files_prepare(channel, "~/x", TIMEOUT, &text)) == 0)
            check_directory(text);
        break;
    case 1:
        r = files_stat(channel, "/x", "name", TIMEOUT, &st);
        MUST((r == 0) == (st.size >= 0));
        break;
    case 2:
    case 3:
        if ((r = files_open_part(channel, "/x", PART, TIMEOUT, &fd, &st)) == 0)
            check_part(fd);
        break;
    case 4:
        r = files_rename(channel, &move, TIMEOUT);
        break;
    case 5:
        r = files_unlink_if(channel, "/x", "name", 1, 1, 1, TIMEOUT);
        break;
    case 6:
        if ((r = files_find_part(channel, "/x", SUFFIX, TIMEOUT, &text)) == 0)
            check_name(text);
        break;
    case 7:
        r = files_sync(channel, "/x", TIMEOUT);
    }
    return r;
}

static void on_answer(void *data, uid_t uid)
{
    (void)data;
    MUST(uid == UID);
}

static void talk(struct input *input)
{
    struct files *files;
    struct files_channel *channel;
    MUST(files_create(NULL, 022, 60000, on_answer, NULL, &files) == 0);
    MUST(files_open(files, UID, &channel) == 0);
    for (unsigned i = 0; i < CALLS_MAX && input->size; i++) {
        int r = call(channel, take_byte(input));
        MUST(r <= 0 && r > -4096);
        MUST(r != -EPROTO && r != -EPIPE && r != -ETIMEDOUT && r != -ESHUTDOWN);
    }
    files_close(channel);
    files_destroy(files);
}

static unsigned open_descriptors(void)
{
    unsigned count = 0;
    for (int fd = 0; fd < 64; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

/* Options and the hello, some replies, and what is asked: a byte each. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    make_descriptors();
    unsigned before = open_descriptors();
    read_lies(&input);
    talk(&input);
    while (spawned)
        close(filers[--spawned]);
    MUST(open_descriptors() == before);
    return 0;
}
