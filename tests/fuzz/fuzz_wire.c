/*
 * What monitor, service and filers say to each other. Messages are judged by the rules; and
 * requests go to a real filer's serving, in this process, with a small directory tree as its root
 * (chroot(2), which needs root or a user namespace; without, only the rules are looked at). A filer
 * answers what is valid, never gives out or changes a hidden file, and gives descriptors of plain
 * files alone.
 */
#include <fcntl.h>
#include <fts.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "fuzz.h"
#include "privsep/filer.c" /* its serving without its process */

#define MESSAGES_MAX 8
#define SECRET       "not for the service"

static char root[64]; /* of the filer; "": there can be none here */
static int real_root, real_directory;
static int hidden_file = -1; /* where the secret is */
static bool touched = true;  /* it may not be any more as it was furnished */

/* --- the filer's root --- */

static void enter_root(void)
{
    MUST(chroot(root) == 0);
}

static void leave_root(void)
{
    MUST(fchdir(real_root) == 0 && chroot(".") == 0 && fchdir(real_directory) == 0);
}

ssize_t __real_readlink(const char *path, char *text, size_t size);
ssize_t __wrap_readlink(const char *path, char *text, size_t size);

/* There is no /proc in that root: what it would say there is said from outside. */
ssize_t __wrap_readlink(const char *path, char *text, size_t size)
{
    size_t len = strlen(root);
    leave_root();
    ssize_t n = __real_readlink(path, text, size);
    enter_root();
    if (n < (ssize_t)len || memcmp(text, root, len) != 0)
        return n;
    if (n == (ssize_t)len)
        text[--len] = '/';
    memmove(text, text + len, (size_t)n - len);
    return n - (ssize_t)len;
}

static void write_text(const char *path, const char *text)
{
    _cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    MUST(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
}

/* Each entry below the root, a directory after what is in it. */
static void walk(void (*visit)(const FTSENT *entry))
{
    char *paths[] = {root, NULL};
    FTS *tree = fts_open(paths, FTS_PHYSICAL | FTS_NOSTAT, NULL);
    MUST(tree);
    for (const FTSENT *entry; (entry = fts_read(tree));)
        if (entry->fts_level > 0 && entry->fts_info != FTS_D)
            visit(entry);
    fts_close(tree);
}

static void remove_one(const FTSENT *entry)
{
    MUST(remove(entry->fts_accpath) == 0);
}

/* The same for each input. */
static void furnish(void)
{
    if (!touched)
        return;
    walk(remove_one);
    close(hidden_file);
    umask(022);
    enter_root();
    MUST(mkdir("/h", 0755) == 0 && mkdir("/h/d", 0755) == 0 && mkdir("/h/.ssh", 0700) == 0);
    write_text("/h/.ssh/key", SECRET);
    write_text("/h/f", "f");
    write_text("/h/d/a.0123cdef.part", "part");
    write_text("/h/d/.a.89abcdef.part", "hidden");
    write_text("/h/g.01234567.part", "part");
    MUST(symlink(".ssh/key", "/h/link.01234567.part") == 0 && symlink(".ssh", "/h/to") == 0);
    MUST(link("/h/.ssh/key", "/h/hard.01234567.part") == 0);
    MUST(mkfifo("/h/fifo.01234567.part", 0600) == 0);
    hidden_file = open("/h/.ssh/key", O_RDONLY | O_CLOEXEC);
    leave_root();
    touched = false;
}

static void remove_root(void)
{
    walk(remove_one);
    rmdir(root);
}

static void try_filer(void);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    snprintf(root, sizeof root, "%s/fuzz_wire.XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    real_root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    real_directory = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    MUST(real_root >= 0 && real_directory >= 0 && mkdtemp(root));
    atexit(remove_root);
    if (geteuid() != 0 && unshare(CLONE_NEWUSER) < 0)
        fprintf(stderr, "# no filer: %s\n", strerror(errno));
    else if (chroot(root) == 0)
        return leave_root(), try_filer(), 0;
    remove_root();
    *root = '\0';
    return 0;
}

/* --- the rules, said in another way than wire.c says them --- */

static bool is_name(const char *name, size_t size)
{
    return strnlen(name, size) < size && *name && !strchr(name, '/') && strcmp(name, ".") != 0 &&
           strcmp(name, "..") != 0;
}

/* "NAME.XXXXXXXX.part" */
static bool is_part(const char *name)
{
    size_t len = strlen(name);
    return len > 14 && name[len - 14] == '.' && strcmp(name + len - 5, ".part") == 0 &&
           strspn(name + len - 13, "0123456789abcdef") == 8;
}

static void check_request(const struct wire_request *request)
{
    if (!wire_request_valid(request))
        return;
    bool named = request->op != WIRE_PREPARE && request->op != WIRE_SYNC && request->op != WIRE_STAT_MANY;
    MUST(request->op < WIRE_OPS);
    MUST(strnlen(request->directory, sizeof request->directory) < sizeof request->directory);
    MUST(*request->directory == '/' || (request->op == WIRE_PREPARE && *request->directory == '~' &&
                                        (!request->directory[1] || request->directory[1] == '/')));
    MUST(named ? is_name(request->name, sizeof request->name) : !*request->name);
    if (request->op == WIRE_OPEN_PART || request->op == WIRE_RENAME ||
        (request->op == WIRE_UNLINK && !request->same))
        MUST(is_part(request->name));
    MUST(request->op == WIRE_RENAME ? is_name(request->name2, sizeof request->name2)
                                    : !*request->name2);
    MUST(!request->replace || (request->replace == 1 && request->op == WIRE_RENAME));
    MUST(!request->same || (request->same == 1 && request->op == WIRE_UNLINK));
    MUST(request->same || (!request->dev && !request->ino && !request->size));
}

static void check_reply(const struct wire_reply *reply)
{
    if (!wire_reply_valid(reply))
        return;
    MUST(reply->error <= 0 && reply->error > -4096 && reply->size >= 0);
    MUST(strnlen(reply->directory, sizeof reply->directory) < sizeof reply->directory);
    MUST(!*reply->directory || *reply->directory == '/');
    MUST(!*reply->name || is_name(reply->name, sizeof reply->name));
}

static void check_small(struct input input)
{
    struct wire_control control = {.kind = (uint32_t)take_number(&input),
                                   .uid = (uint32_t)take_number(&input),
                                   .umask = (uint32_t)take_number(&input)};
    struct wire_hello hello = {.error = (int32_t)take_number(&input)};
    if (wire_control_valid(&control)) {
        MUST(control.kind < WIRE_CONTROL_KINDS && control.umask <= 0777);
        MUST(control.kind == WIRE_SPAWN_FILER || (!control.uid && !control.umask));
    }
    MUST(!wire_hello_valid(&hello) || (hello.error <= 0 && hello.error > -4096));
}

/* --- the filer --- */

/* No hidden name is new, and nothing in the hidden directory. */
static void check_one(const FTSENT *entry)
{
    bool in_hidden = strcmp(entry->fts_parent->fts_name, ".ssh") == 0;
    MUST(*entry->fts_name != '.' || strcmp(entry->fts_name, ".ssh") == 0 ||
         strcmp(entry->fts_name, ".a.89abcdef.part") == 0);
    MUST(!in_hidden || strcmp(entry->fts_name, "key") == 0);
}

/* The hidden file is as it was, and still has its hidden name. */
static void check_hidden(void)
{
    char text[64] = "";
    struct stat st;
    if (!touched)
        return;
    MUST(pread(hidden_file, text, sizeof text - 1, 0) > 0 && strcmp(text, SECRET) == 0);
    MUST(fstat(hidden_file, &st) == 0 && st.st_nlink > 0);
    walk(check_one);
}

/* Of a plain file that has no other name, to read and write. */
static void check_part(int fd, const struct wire_reply *reply)
{
    struct stat st;
    MUST(fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_nlink == 1);
    MUST(st.st_ino == reply->ino && st.st_dev == reply->dev && st.st_size == reply->size);
    MUST((fcntl(fd, F_GETFL) & (O_ACCMODE | O_APPEND | O_NONBLOCK)) == O_RDWR);
    MUST(fcntl(fd, F_GETFD) & FD_CLOEXEC);
}

/* The directory of the reply, if there is one. */
static const char *ask(const void *message, size_t size, uint32_t op)
{
    struct filer filer = {.rules = {.home = "/h"}, .uid = geteuid(), .directory = -1};
    static struct wire_reply reply;
    _cleanup_close_ int fd = -1;
    int ends[2];
    MUST(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
    MUST(wire_send(ends[0], message, size, -1) == 0);
    enter_root();
    int r = serve(&filer, ends[1]);
    leave_directory(&filer);
    leave_root();
    close(ends[1]);
    int got = wire_receive(ends[0], &reply, sizeof reply, &fd, 0);
    close(ends[0]);
    MUST((r >= 0) == (size == sizeof(struct wire_request)));
    MUST((r >= 0) == (got == 0));
    if (r < 0)
        return "";
    MUST(wire_reply_valid(&reply));
    MUST((fd >= 0) == (op == WIRE_OPEN_PART && reply.error == 0));
    if (fd >= 0)
        check_part(fd, &reply);
    if (op == WIRE_PREPARE)
        MUST((reply.error == 0) == (*reply.directory == '/'));
    if (op == WIRE_FIND_PART)
        MUST((reply.error == 0) == (*reply.name != '\0') && *reply.name != '.');
    return reply.directory;
}

/* Otherwise all that follows would be about errors. */
static void try_filer(void)
{
    struct wire_request request = {.op = WIRE_PREPARE, .directory = "~/d/.."};
    furnish();
    MUST(strcmp(ask(&request, sizeof request, request.op), "/h") == 0);
}

/* A text into a field of so many bytes; `endless`: filled, so that no NUL is there. */
static void put(char *field, size_t size, struct input *input, bool endless)
{
    _cleanup_free_ char *text = take_text(input);
    size_t len = strnlen(text, size);
    memcpy(field, text, len);
    if (endless)
        memset(field + len, 'x', size - len);
}

static void read_request(struct input *input, struct wire_request *request)
{
    uint8_t options = take_byte(input);
    request->op = take_byte(input) % (WIRE_OPS + 1);
    request->replace = options & 3;
    request->same = options >> 2 & 3;
    if (request->same) {
        request->dev = take_number(input);
        request->ino = take_number(input);
        request->size = (int64_t)take_number(input);
    }
    bool endless = options & 128;
    put(request->directory, sizeof request->directory, input, endless && options & 16);
    put(request->name, sizeof request->name, input, endless && options & 32);
    put(request->name2, sizeof request->name2, input, endless && options & 64);
}

/* A reply of a filer that lies, for the rules alone. */
static void read_reply(struct input input)
{
    struct wire_reply reply = {0};
    uint8_t options = take_byte(&input);
    reply.error = (int32_t)take_number(&input);
    reply.size = (int64_t)take_number(&input);
    put(reply.directory, sizeof reply.directory, &input, options & 1);
    put(reply.name, sizeof reply.name, &input, options & 2);
    check_reply(&reply);
}

/* Some requests, one after the other; each: options, an op, numbers if wanted, three texts, and
 * whether it is of the right size. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    check_small(input);
    read_reply(input);
    if (*root)
        furnish();
    for (unsigned i = 0; i < MESSAGES_MAX && input.size; i++) {
        struct wire_request request = {0};
        read_request(&input, &request);
        check_request(&request);
        size_t sent = take_byte(&input) ? sizeof request : sizeof request - 1;
        touched |= wire_request_valid(&request) && request.op != WIRE_STAT;
        if (*root)
            ask(&request, sent, request.op);
    }
    if (*root)
        check_hidden();
    return 0;
}
