/*
 * Loaded into a program with LD_PRELOAD: makes file operations, and allocations that the program
 * itself (not its libraries) asks for, fail at random.
 *
 *   FAULT_RATE    one call in so many fails
 *   FAULT_SEED    of the dice
 *   FAULT_BOARD   a file that all processes map: struct fault_board
 *
 * Without FAULT_BOARD nothing fails.
 */
#include "fault.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

/* glibc's own, so that nothing need be looked up before the first allocation. */
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *old, size_t size);

static struct fault_board *board; /* NULL: nothing fails */
static uintptr_t program_start, program_end;
static uint64_t rate, seed;

static int find_program(struct dl_phdr_info *info, size_t size, void *data)
{
    (void)size, (void)data;
    for (unsigned i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &info->dlpi_phdr[i];
        if (header->p_type != PT_LOAD || !(header->p_flags & PF_X))
            continue;
        program_start = info->dlpi_addr + header->p_vaddr;
        program_end = program_start + header->p_memsz;
    }
    return 1; /* the program comes first */
}

__attribute__((constructor)) static void prepare(void)
{
    const char *path = getenv("FAULT_BOARD"), *every = getenv("FAULT_RATE"),
               *start = getenv("FAULT_SEED");
    dl_iterate_phdr(find_program, NULL);
    rate = every ? strtoull(every, NULL, 10) : 0;
    seed = start ? strtoull(start, NULL, 10) : 0;
    int fd = path && rate > 0 ? (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    void *map = mmap(NULL, sizeof(*board), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (map != MAP_FAILED)
        board = map;
}

/* splitmix64 */
static uint64_t roll(void)
{
    uint64_t x = seed + (atomic_fetch_add(&board->rolls, 1) + 1) * 0x9E3779B97F4A7C15U;
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9U;
    x = (x ^ x >> 27) * 0x94D049BB133111EBU;
    return x ^ x >> 31;
}

static bool fails(enum fault_call call)
{
    static const int errors[] = {ENOSPC, EIO, EDQUOT, EMFILE};
    if (!board || !atomic_load(&board->armed))
        return false;
    uint64_t dice = roll();
    if (dice % rate != 0)
        return false;
    atomic_fetch_add(&board->failed[call], 1);
    errno = call == FAULT_MEMORY ? ENOMEM : errors[dice / rate % 4];
    return true;
}

static bool memory_fails(const void *caller)
{
    uintptr_t at = (uintptr_t)caller;
    return at >= program_start && at < program_end && fails(FAULT_MEMORY);
}

#define CALLER __builtin_extract_return_addr(__builtin_return_address(0))

/* The library's function; two threads that look it up find the same. */
#define NEXT(name)                                                                                 \
    ({                                                                                             \
        static _Atomic(void *) next_;                                                              \
        if (!next_)                                                                                \
            next_ = dlsym(RTLD_NEXT, #name);                                                       \
        (__typeof__(&name))(uintptr_t)next_;                                                       \
    })

EXPORT void *malloc(size_t size)
{
    return memory_fails(CALLER) ? NULL : __libc_malloc(size);
}

EXPORT void *calloc(size_t count, size_t size)
{
    return memory_fails(CALLER) ? NULL : __libc_calloc(count, size);
}

EXPORT void *realloc(void *old, size_t size)
{
    return memory_fails(CALLER) ? NULL : __libc_realloc(old, size);
}

EXPORT void *reallocarray(void *old, size_t count, size_t size)
{
    return memory_fails(CALLER) ? NULL : NEXT(reallocarray)(old, count, size);
}

EXPORT char *strdup(const char *text)
{
    return memory_fails(CALLER) ? NULL : NEXT(strdup)(text);
}

EXPORT ssize_t pwrite(int fd, const void *bytes, size_t len, off_t at)
{
    return fails(FAULT_WRITE) ? -1 : NEXT(pwrite)(fd, bytes, len, at);
}

EXPORT ssize_t pwrite64(int fd, const void *bytes, size_t len, off64_t at)
{
    return fails(FAULT_WRITE) ? -1 : NEXT(pwrite64)(fd, bytes, len, at);
}

EXPORT int fsync(int fd)
{
    return fails(FAULT_SYNC) ? -1 : NEXT(fsync)(fd);
}

static bool is_part(int fd)
{
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path);
    return length > 5 && memcmp(path + length - 5, ".part", 5) == 0;
}

static bool part_is_lost(int fd)
{
    if (!board || !atomic_load(&board->sync_error) || !is_part(fd))
        return false;
    int error = atomic_exchange(&board->sync_error, 0);
    errno = error;
    return error != 0;
}

EXPORT int fdatasync(int fd)
{
    return part_is_lost(fd) || fails(FAULT_SYNC) ? -1 : NEXT(fdatasync)(fd);
}

EXPORT int ftruncate(int fd, off_t size)
{
    return fails(FAULT_TRUNCATE) ? -1 : NEXT(ftruncate)(fd, size);
}

EXPORT int ftruncate64(int fd, off64_t size)
{
    return fails(FAULT_TRUNCATE) ? -1 : NEXT(ftruncate64)(fd, size);
}

EXPORT int renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags)
{
    return fails(FAULT_RENAME) ? -1 : NEXT(renameat2)(from_fd, from, to_fd, to, flags);
}

/* A path of the process, or one from an open directory. */
static void make_absolute(int directory, const char *path, char out[static PATH_MAX])
{
    char link[64], parent[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", directory);
    ssize_t length = path[0] == '/' ? 0 : readlink(link, parent, sizeof parent);
    snprintf(out, PATH_MAX, "%.*s%s%s", length > 0 ? (int)length : 0, parent,
             length > 0 && parent[length - 1] != '/' ? "/" : "", path);
}

static bool is_target(int directory, const char *path)
{
    char absolute[PATH_MAX];
    int aim = board ? atomic_load(&board->aim) : 0;
    if (aim == 0)
        return false;
    make_absolute(directory, path, absolute);
    if (strncmp(absolute, board->target, strlen(board->target)) != 0)
        return false;
    errno = aim;
    return true;
}

/* The mode, which is there only when something is to be made. */
static mode_t mode_of(int flags, va_list arguments)
{
    bool makes = (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE;
    return makes ? va_arg(arguments, mode_t) : 0;
}

#define OPENING(name)                                                                              \
    EXPORT int name(const char *path, int flags, ...)                                              \
    {                                                                                              \
        va_list arguments;                                                                         \
        va_start(arguments, flags);                                                                \
        mode_t mode = mode_of(flags, arguments);                                                   \
        va_end(arguments);                                                                         \
        return is_target(AT_FDCWD, path) || fails(FAULT_OPEN) ? -1                                 \
                                                              : NEXT(name)(path, flags, mode);     \
    }

#define OPENING_AT(name)                                                                           \
    EXPORT int name(int fd, const char *path, int flags, ...)                                      \
    {                                                                                              \
        va_list arguments;                                                                         \
        va_start(arguments, flags);                                                                \
        mode_t mode = mode_of(flags, arguments);                                                   \
        va_end(arguments);                                                                         \
        return fails(FAULT_OPEN) ? -1 : NEXT(name)(fd, path, flags, mode);                         \
    }

OPENING(open)
OPENING(open64)
OPENING_AT(openat)
OPENING_AT(openat64)

/* The C library has no function for openat2(2). */
EXPORT long syscall(long number, ...)
{
    long given[6];
    va_list arguments;
    va_start(arguments, number);
    for (unsigned i = 0; i < 6; i++)
        given[i] = va_arg(arguments, long);
    va_end(arguments);
    if (number == SYS_openat2 &&
        (is_target((int)given[0], (const char *)given[1]) || fails(FAULT_OPEN)))
        return -1;
    return NEXT(syscall)(number, given[0], given[1], given[2], given[3], given[4], given[5]);
}
