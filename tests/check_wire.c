#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/units.h"
#include "privsep/wire.h"
#include "tap.h"

static int ends[2];

static void open_sockets(void)
{
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
}

static void close_sockets(void)
{
    for (int i = 0; i < 2; i++)
        if (ends[i] >= 0)
            close(ends[i]);
}

static unsigned open_descriptors(void)
{
    unsigned count = 0;
    for (int fd = 0; fd < 1024; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static void send_with(const void *data, size_t size, const int *fds, size_t count)
{
    struct iovec part = {.iov_base = (void *)data, .iov_len = size};
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(8 * sizeof(int))];
    } control = {.bytes = {0}};
    struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};
    if (count > 0) {
        header.msg_control = control.bytes;
        header.msg_controllen = CMSG_SPACE(count * sizeof(int));
        struct cmsghdr *item = CMSG_FIRSTHDR(&header);
        item->cmsg_level = SOL_SOCKET;
        item->cmsg_type = SCM_RIGHTS;
        item->cmsg_len = CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(item), fds, count * sizeof(int));
    }
    ck_assert_int_eq(sendmsg(ends[0], &header, MSG_NOSIGNAL), (ssize_t)size);
}

START_TEST(message_arrives)
{
    struct wire_control sent = {.kind = WIRE_SPAWN_FILER, .uid = 7, .umask = 022};
    struct wire_control got;
    int fd = 42;
    ck_assert_int_eq(wire_send(ends[0], &sent, sizeof(sent), -1), 0);
    ck_assert_int_eq(wire_receive(ends[1], &got, sizeof(got), &fd, -1), 0);
    ck_assert_mem_eq(&sent, &got, sizeof(got));
    ck_assert_int_eq(fd, -1);
}
END_TEST

START_TEST(descriptor_arrives)
{
    struct wire_channel sent = {0};
    struct wire_channel got;
    _cleanup_close_ int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    _cleanup_close_ int fd = -1;
    ck_assert_int_eq(wire_send(ends[0], &sent, sizeof(sent), null), 0);
    ck_assert_int_eq(wire_receive(ends[1], &got, sizeof(got), &fd, 1000), 0);
    struct stat a;
    struct stat b;
    ck_assert_int_eq(fstat(null, &a), 0);
    ck_assert_int_eq(fstat(fd, &b), 0);
    ck_assert(a.st_rdev == b.st_rdev && a.st_ino == b.st_ino);
    ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
}
END_TEST

START_TEST(wrong_sizes)
{
    char bytes[sizeof(struct wire_request) + 1] = {0};
    struct wire_request got;
    static const size_t sizes[] = {1, sizeof(got) - 1, sizeof(got) + 1};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        send_with(bytes, sizes[i], NULL, 0);
        ck_assert_int_eq(wire_receive(ends[1], &got, sizeof(got), NULL, 1000), -EPROTO);
    }
    send_with(bytes, sizeof(got), NULL, 0);
    ck_assert_int_eq(wire_receive(ends[1], &got, sizeof(got), NULL, 1000), 0);
}
END_TEST

START_TEST(unwanted_descriptors_are_closed)
{
    _cleanup_close_ int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    int many[8] = {null, null, null, null, null, null, null, null};
    struct wire_hello hello = {0};
    struct wire_hello got;
    unsigned before = open_descriptors();
    int fd = 42;
    for (size_t count = 2; count <= 8; count++) {
        send_with(&hello, sizeof(hello), many, count);
        ck_assert_int_eq(wire_receive(ends[1], &got, sizeof(got), &fd, 1000), -EPROTO);
    }
    send_with(&hello, sizeof(hello), many, 1);
    ck_assert_int_eq(wire_receive(ends[1], &got, sizeof(got), NULL, 1000), -EPROTO);
    /* A wrong size with a descriptor. */
    send_with(&hello, 1, many, 1);
    ck_assert_int_eq(wire_receive(ends[1], &got, sizeof(got), &fd, 1000), -EPROTO);
    ck_assert_int_eq(fd, 42);
    ck_assert_uint_eq(open_descriptors(), before);
}
END_TEST

START_TEST(the_end)
{
    struct wire_hello hello = {0};
    struct wire_hello got;
    /* What was sent before the end is still read. */
    ck_assert_int_eq(wire_send(ends[0], &hello, sizeof(hello), -1), 0);
    close(ends[0]);
    ends[0] = -1;
    ck_assert_int_eq(wire_receive(ends[1], &got, sizeof(got), NULL, -1), 0);
    ck_assert_int_eq(wire_receive(ends[1], &got, sizeof(got), NULL, -1), -EPIPE);
    ck_assert_int_eq(wire_receive(ends[1], &got, sizeof(got), NULL, 0), -EPIPE);
    ck_assert_int_eq(wire_send(ends[1], &hello, sizeof(hello), -1), -EPIPE);
}
END_TEST

/* The kernel calls it ECONNRESET when the other side goes with something unread. */
START_TEST(the_end_with_unread)
{
    struct wire_hello hello = {0};
    struct wire_hello got;
    ck_assert_int_eq(wire_send(ends[1], &hello, sizeof(hello), -1), 0);
    close(ends[0]);
    ends[0] = -1;
    ck_assert_int_eq(wire_receive(ends[1], &got, sizeof(got), NULL, 1000), -EPIPE);
}
END_TEST

static void nothing(int number)
{
    (void)number;
}

/* Signals that interrupt the wait neither end nor lengthen it. */
START_TEST(timeout)
{
    struct wire_hello got;
    ck_assert_int_eq(wire_receive(ends[1], &got, sizeof(got), NULL, 0), -ETIMEDOUT);
    struct sigaction action = {.sa_handler = nothing};
    sigaction(SIGALRM, &action, NULL);
    struct itimerval often = {.it_interval.tv_usec = 10000, .it_value.tv_usec = 10000};
    struct itimerval never = {.it_value.tv_usec = 0};
    int64_t start = units_now_boottime();
    setitimer(ITIMER_REAL, &often, NULL);
    ck_assert_int_eq(wire_receive(ends[1], &got, sizeof(got), NULL, 200), -ETIMEDOUT);
    setitimer(ITIMER_REAL, &never, NULL);
    int64_t took = units_now_boottime() - start;
    ck_assert_int_ge(took, 199);
    ck_assert_int_lt(took, 2000);
}
END_TEST

START_TEST(sending_never_blocks)
{
    struct wire_reply reply = {0};
    int r = 0;
    for (int i = 0; i < 100000 && r == 0; i++)
        r = wire_send(ends[0], &reply, sizeof(reply), -1);
    ck_assert_int_eq(r, -EAGAIN);
}
END_TEST

START_TEST(control_rules)
{
    for (uint32_t kind = 0; kind < WIRE_CONTROL_KINDS; kind++) {
        bool spawn = kind == WIRE_SPAWN_FILER;
        ck_assert(wire_control_valid(&(struct wire_control){.kind = kind}));
        ck_assert(wire_control_valid(&(struct wire_control){.kind = kind, .uid = 1}) == spawn);
        ck_assert(wire_control_valid(&(struct wire_control){.kind = kind, .umask = 0777}) == spawn);
        ck_assert(!wire_control_valid(&(struct wire_control){.kind = kind, .umask = 01000}));
    }
    ck_assert(!wire_control_valid(&(struct wire_control){.kind = WIRE_CONTROL_KINDS}));
    ck_assert(!wire_control_valid(&(struct wire_control){.kind = UINT32_MAX}));
}
END_TEST

START_TEST(error_rules)
{
    static const struct {
        int32_t error;
        bool valid;
    } cases[] = {
        {0,         true },
        {-EACCES,   true },
        {-4095,     true },
        {-4096,     false},
        {1,         false},
        {INT32_MAX, false},
        {INT32_MIN, false}
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct wire_reply reply = {.error = cases[i].error};
        ck_assert(wire_hello_valid(&(struct wire_hello){.error = cases[i].error}) ==
                  cases[i].valid);
        ck_assert(wire_reply_valid(&reply) == cases[i].valid);
    }
}
END_TEST

static const struct wire_password good_password = {"alice", "secret: /\x01\xff", "192.0.2.1"};

START_TEST(password_rules)
{
    static const char *const users[] = {"", "a/b", "a:b", "a\nb", "a\x7f", "\x1b[m"};
    static const char *const hosts[] = {"localhost", "192.0.2.1 ", "::1%1", "\n", "/"};
    struct wire_password message = good_password;
    ck_assert(wire_password_valid(&message));
    message.host[0] = '\0';
    ck_assert(wire_password_valid(&message));
    strcpy(message.host, "2001:db8::1");
    ck_assert(wire_password_valid(&message));
    message.password[0] = '\0';
    ck_assert(!wire_password_valid(&message));
    for (size_t i = 0; i < sizeof(users) / sizeof(users[0]); i++) {
        message = good_password;
        strcpy(message.user, users[i]);
        ck_assert_msg(!wire_password_valid(&message), "user \"%s\"", users[i]);
    }
    for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
        message = good_password;
        strcpy(message.host, hosts[i]);
        ck_assert_msg(!wire_password_valid(&message), "host \"%s\"", hosts[i]);
    }
    for (size_t field = 0; field < 3; field++) {
        message = good_password;
        if (field == 0)
            memset(message.user, 'x', sizeof(message.user));
        else if (field == 1)
            memset(message.password, 'x', sizeof(message.password));
        else
            memset(message.host, '1', sizeof(message.host));
        ck_assert(!wire_password_valid(&message));
    }
}
END_TEST

START_TEST(verdict_rules)
{
    struct wire_verdict verdict = {0};
    ck_assert_uint_eq(verdict.verdict, WIRE_UNDECIDED); /* what nobody set lets nobody in */
    for (; verdict.verdict < WIRE_VERDICTS; verdict.verdict++)
        ck_assert(wire_verdict_valid(&verdict));
    ck_assert(!wire_verdict_valid(&verdict));
    verdict.verdict = UINT32_MAX;
    ck_assert(!wire_verdict_valid(&verdict));
}
END_TEST

START_TEST(mutated_passwords)
{
    unsigned seed, valid = 0;
    ck_assert_int_eq(getrandom(&seed, sizeof(seed), 0), sizeof(seed));
    fprintf(stderr, "mutated_passwords: seed %u\n", seed);
    for (int i = 0; i < 50000; i++) {
        struct wire_password *message = malloc(sizeof(*message));
        ck_assert_ptr_nonnull(message);
        *message = good_password;
        if (rand_r(&seed) % 4 == 0)
            memset(message->host, '1', sizeof(message->host));
        for (int n = rand_r(&seed) % 4; n > 0; n--)
            ((char *)message)[(size_t)rand_r(&seed) % sizeof(*message)] =
                rand_r(&seed) % 2 ? 'a' : (char)rand_r(&seed);
        if (wire_password_valid(message)) {
            valid++;
            ck_assert_uint_lt(strnlen(message->user, sizeof(message->user)),
                              sizeof(message->user));
            ck_assert_uint_lt(strnlen(message->password, sizeof(message->password)),
                              sizeof(message->password));
            ck_assert_uint_lt(strnlen(message->host, sizeof(message->host)),
                              sizeof(message->host));
            ck_assert(message->user[0] && !strpbrk(message->user, "/:\n"));
        }
        free(message);
    }
    ck_assert_uint_gt(valid, 1000);
}
END_TEST

START_TEST(reply_rules)
{
    struct wire_reply reply = {.directory = "/x"};
    ck_assert(wire_reply_valid(&reply));
    reply.size = -1;
    ck_assert(!wire_reply_valid(&reply));
    reply.size = INT64_MAX;
    ck_assert(wire_reply_valid(&reply));
    static const char *const names[] = {"a", "...", "/", "a/b", ".", ".."};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        snprintf(reply.name, sizeof(reply.name), "%s", names[i]);
        ck_assert(wire_reply_valid(&reply) == (i < 2));
    }
    memset(reply.name, 'a', sizeof(reply.name));
    ck_assert(!wire_reply_valid(&reply));
    reply.name[API_NAME_MAX] = '\0';
    ck_assert(wire_reply_valid(&reply));
    reply.directory[0] = '~';
    reply.directory[1] = '\0';
    ck_assert(!wire_reply_valid(&reply));
    memset(reply.directory, '/', sizeof(reply.directory));
    ck_assert(!wire_reply_valid(&reply));
    reply.directory[API_PATH_MAX] = '\0';
    ck_assert(wire_reply_valid(&reply));
}
END_TEST

struct request_case {
    enum wire_op op;
    const char *directory;
    const char *name;
    const char *name2;
    bool valid;
};

static const struct request_case request_cases[] = {
    {WIRE_PREPARE,   "/",      "",                 "",                 true },
    {WIRE_PREPARE,   "/a/./b", "",                 "",                 true },
    {WIRE_PREPARE,   "~",      "",                 "",                 true },
    {WIRE_PREPARE,   "~/a",    "",                 "",                 true },
    {WIRE_PREPARE,   "~bob",   "",                 "",                 false},
    {WIRE_PREPARE,   "",       "",                 "",                 false},
    {WIRE_PREPARE,   "a",      "",                 "",                 false},
    {WIRE_PREPARE,   "/",      "a",                "",                 false},
    {WIRE_PREPARE,   "/",      "",                 "a",                false},
    {WIRE_STAT,      "/",      "a",                "",                 true },
    {WIRE_STAT,      "/",      "...",              "",                 true },
    {WIRE_STAT,      "/",      "",                 "",                 false},
    {WIRE_STAT,      "/",      ".",                "",                 false},
    {WIRE_STAT,      "/",      "..",               "",                 false},
    {WIRE_STAT,      "/",      "/",                "",                 false},
    {WIRE_STAT,      "/",      "../a",             "",                 false},
    {WIRE_STAT,      "~",      "a",                "",                 false},
    {WIRE_STAT,      "/",      "a",                "b",                false},
    {WIRE_OPEN_PART, "/",      "a.0123cdef.part",  "",                 true },
    {WIRE_OPEN_PART, "/",      "...0123cdef.part", "",                 true },
    {WIRE_OPEN_PART, "/",      "a",                "",                 false},
    {WIRE_OPEN_PART, "/",      ".0123cdef.part",   "",                 false},
    {WIRE_OPEN_PART, "/",      "a.0123cde.part",   "",                 false},
    {WIRE_OPEN_PART, "/",      "a.0123cdeF.part",  "",                 false},
    {WIRE_OPEN_PART, "/",      "a.0123cdeg.part",  "",                 false},
    {WIRE_OPEN_PART, "/",      "a.0123cdef.parts", "",                 false},
    {WIRE_OPEN_PART, "/",      "a.0123cdef.PART",  "",                 false},
    {WIRE_OPEN_PART, "/",      "a_0123cdef.part",  "",                 false},
    {WIRE_OPEN_PART, "/",      "/.0123cdef.part",  "",                 false},
    {WIRE_OPEN_PART, "~/",     "a.0123cdef.part",  "",                 false},
    {WIRE_OPEN_PART, "/",      "a.0123cdef.part",  "b",                false},
    {WIRE_RENAME,    "/",      "a.0123cdef.part",  "b",                true },
    {WIRE_RENAME,    "/",      "a.0123cdef.part",  "b.0123cdef.part",  true },
    {WIRE_RENAME,    "/",      "a.0123cdef.part",  "",                 false},
    {WIRE_RENAME,    "/",      "a",                "b",                false},
    {WIRE_RENAME,    "/",      "",                 "b",                false},
    {WIRE_RENAME,    "/",      "a.0123cdef.part",  "..",               false},
    {WIRE_RENAME,    "/",      "a.0123cdef.part",  "b/",               false},
    {WIRE_UNLINK,    "/",      "a.0123cdef.part",  "",                 true },
    {WIRE_UNLINK,    "/",      "a",                "",                 false},
    {WIRE_UNLINK,    "",       "a.0123cdef.part",  "",                 false},
    {WIRE_UNLINK,    "/",      "..",               "",                 false},
    {WIRE_SYNC,      "/",      "",                 "",                 true },
    {WIRE_SYNC,      "/",      "a",                "",                 false},
    {WIRE_SYNC,      "~",      "",                 "",                 false},
    {WIRE_FIND_PART, "/",      ".0123cdef.part",   "",                 true },
    {WIRE_FIND_PART, "/",      ".0123cdef.part",   "a",                false},
    {WIRE_FIND_PART, "~",      ".0123cdef.part",   "",                 false},
    {WIRE_FIND_PART, "/",      "",                 "",                 false},
    {WIRE_FIND_PART, "/",      ".part",            "",                 false},
    {WIRE_FIND_PART, "/",      "a.0123cdef.part",  "",                 false},
    {WIRE_FIND_PART, "/",      ".0123cdeF.part",   "",                 false},
    {WIRE_FIND_PART, "/",      ".0123cde.part",    "",                 false},
    {WIRE_FIND_PART, "/",      ".0123cdef0.part",  "",                 false},
    {WIRE_FIND_PART, "/",      ".0123cdef.parts",  "",                 false},
    {WIRE_FIND_PART, "/",      "/0123cdef.part",   "",                 false},
    {WIRE_OPS,       "/",      "",                 "",                 false},
};

START_TEST(request_rules)
{
    for (size_t i = 0; i < sizeof(request_cases) / sizeof(request_cases[0]); i++) {
        const struct request_case *c = &request_cases[i];
        struct wire_request request = {.op = c->op};
        snprintf(request.directory, sizeof(request.directory), "%s", c->directory);
        snprintf(request.name, sizeof(request.name), "%s", c->name);
        snprintf(request.name2, sizeof(request.name2), "%s", c->name2);
        ck_assert_msg(wire_request_valid(&request) == c->valid, "op %d \"%s\" \"%s\" \"%s\"", c->op,
                      c->directory, c->name, c->name2);
    }
}
END_TEST

/* Flags and numbers belong to their ops alone. */
START_TEST(number_rules)
{
    for (uint32_t op = 0; op < WIRE_OPS; op++) {
        bool named = op != WIRE_PREPARE && op != WIRE_SYNC && op != WIRE_STAT_MANY;
        struct wire_request plain = {.op = op, .directory = "/"}, request;
        if (named)
            snprintf(plain.name, sizeof(plain.name), "%s.0123cdef.part",
                     op == WIRE_FIND_PART ? "" : "a");
        if (op == WIRE_RENAME)
            plain.name2[0] = 'b';
        ck_assert(wire_request_valid(&plain));
        request = plain;
        request.replace = 1;
        ck_assert(wire_request_valid(&request) == (op == WIRE_RENAME));
        request.replace = 2;
        ck_assert(!wire_request_valid(&request));
        for (uint32_t same = 0; same < 3; same++) {
            request = plain;
            request.same = same;
            ck_assert(wire_request_valid(&request) ==
                      (same == 0 || (same == 1 && op == WIRE_UNLINK)));
            bool valid = same == 1 && op == WIRE_UNLINK;
            request.dev = 1;
            ck_assert(wire_request_valid(&request) == valid);
            request.dev = 0;
            request.ino = UINT64_MAX;
            ck_assert(wire_request_valid(&request) == valid);
            request.ino = 0;
            request.size = INT64_MAX;
            ck_assert(wire_request_valid(&request) == valid);
            request.size = -1;
            ck_assert(!wire_request_valid(&request));
        }
    }
}
END_TEST

START_TEST(name_ends)
{
    ck_assert(wire_name_ends("a.part", ".part"));
    ck_assert(!wire_name_ends(".part", ".part"));
    ck_assert(!wire_name_ends("", ".part"));
    ck_assert(!wire_name_ends("a.parts", ".part"));
    ck_assert(!wire_name_ends("a", ".part"));
}
END_TEST

START_TEST(unterminated_strings)
{
    struct wire_request request = {
        .op = WIRE_RENAME, .directory = "/", .name = "a.0123cdef.part", .name2 = "b"};
    ck_assert(wire_request_valid(&request));
    memset(request.name2, 'b', sizeof(request.name2));
    ck_assert(!wire_request_valid(&request));
    request.name2[API_NAME_MAX] = '\0';
    ck_assert(wire_request_valid(&request));
    memset(request.name, 'a', sizeof(request.name));
    ck_assert(!wire_request_valid(&request));
    snprintf(request.name + sizeof(request.name) - 15, 15, ".0123cdef.part");
    ck_assert(wire_request_valid(&request));
    request.name[API_NAME_MAX] = 't'; /* ends where nothing of it may end */
    ck_assert(!wire_request_valid(&request));
    request.name[API_NAME_MAX] = '\0';
    memset(request.directory, '/', sizeof(request.directory));
    ck_assert(!wire_request_valid(&request));
    request.directory[API_PATH_MAX] = '\0';
    ck_assert(wire_request_valid(&request));
}
END_TEST

/* What a filer relies on, said in another way than wire.c says it. */
static void assert_safe_name(const char *name, size_t size, bool wanted)
{
    size_t length = strnlen(name, size);
    ck_assert_uint_lt(length, size);
    ck_assert(wanted == (length > 0));
    for (size_t i = 0; i < length; i++)
        ck_assert_int_ne(name[i], '/');
    ck_assert_str_ne(name, ".");
    ck_assert_str_ne(name, "..");
}

static void assert_safe(const struct wire_request *request)
{
    ck_assert_uint_lt(request->op, WIRE_OPS);
    ck_assert_uint_lt(strnlen(request->directory, sizeof(request->directory)),
                      sizeof(request->directory));
    if (request->op != WIRE_PREPARE)
        ck_assert_int_eq(request->directory[0], '/');
    if (request->replace)
        ck_assert(request->op == WIRE_RENAME && request->replace == 1);
    if (request->same || request->dev || request->ino || request->size)
        ck_assert(request->op == WIRE_UNLINK && request->same == 1 && request->size >= 0);
    bool named =
        request->op != WIRE_PREPARE && request->op != WIRE_SYNC && request->op != WIRE_STAT_MANY;
    assert_safe_name(request->name, sizeof(request->name), named);
    if (request->op == WIRE_FIND_PART)
        ck_assert(request->name[0] == '.' && strlen(request->name) == 14);
    if (request->op == WIRE_OPEN_PART || request->op == WIRE_RENAME ||
        (request->op == WIRE_UNLINK && !request->same))
        ck_assert_ptr_nonnull(strstr(request->name, ".part"));
    assert_safe_name(request->name2, sizeof(request->name2), request->op == WIRE_RENAME);
}

static void put(void *message, size_t size, unsigned *seed)
{
    static const char bytes[] = {'\0', '/', '.', '~', 'a', '\xff'};
    size_t at = (size_t)rand_r(seed) % size;
    /* Half of the changes near the start of a field, where they matter most. */
    if (rand_r(seed) % 2)
        at =
            (size_t[]){
                offsetof(struct wire_request, op),
                offsetof(struct wire_request, replace),   offsetof(struct wire_request, same),
                offsetof(struct wire_request, dev),       offsetof(struct wire_request, size),
                offsetof(struct wire_request, directory), offsetof(struct wire_request, name),
                offsetof(struct wire_request, name2)}[rand_r(seed) % 8] +
            (size_t)rand_r(seed) % 3;
    ((char *)message)[at] =
        rand_r(seed) % 4 ? bytes[(size_t)rand_r(seed) % sizeof(bytes)] : (char)rand_r(seed);
}

START_TEST(mutated_requests)
{
    unsigned seed;
    ck_assert_int_eq(getrandom(&seed, sizeof(seed), 0), sizeof(seed));
    fprintf(stderr, "mutated_requests: seed %u\n", seed);
    unsigned valid = 0;
    for (int i = 0; i < 100000; i++) {
        /* On the heap, so that a read past the end is seen. */
        struct wire_request *request = calloc(1, sizeof(*request));
        ck_assert_ptr_nonnull(request);
        const struct request_case *c =
            &request_cases[(size_t)rand_r(&seed) %
                           (sizeof(request_cases) / sizeof(request_cases[0]))];
        request->op = c->op;
        memcpy(request->directory, c->directory, strlen(c->directory));
        memcpy(request->name, c->name, strlen(c->name));
        memcpy(request->name2, c->name2, strlen(c->name2));
        if (rand_r(&seed) % 8 == 0)
            memset(request->name2, 'x', sizeof(request->name2));
        for (int n = rand_r(&seed) % 4; n > 0; n--)
            put(request, sizeof(*request), &seed);
        if (wire_request_valid(request)) {
            valid++;
            assert_safe(request);
        }
        free(request);
    }
    ck_assert_uint_gt(valid, 1000);
}
END_TEST

START_TEST(random_bytes)
{
    unsigned seed;
    ck_assert_int_eq(getrandom(&seed, sizeof(seed), 0), sizeof(seed));
    fprintf(stderr, "random_bytes: seed %u\n", seed);
    unsigned before = open_descriptors();
    for (int i = 0; i < 20000; i++) {
        char bytes[256];
        size_t size = 1 + (size_t)rand_r(&seed) % sizeof(bytes);
        for (size_t n = 0; n < size; n++)
            bytes[n] = rand_r(&seed) % 2 ? 0 : (char)rand_r(&seed);
        send_with(bytes, size, NULL, 0);
        struct wire_control control;
        int r = wire_receive(ends[1], &control, sizeof(control), NULL, 1000);
        ck_assert_int_eq(r, size == sizeof(control) ? 0 : -EPROTO);
        if (r == 0 && wire_control_valid(&control))
            ck_assert(control.kind < WIRE_CONTROL_KINDS && control.umask <= 0777);
    }
    ck_assert_uint_eq(open_descriptors(), before);
}
END_TEST

static Suite *wire_suite(void)
{
    Suite *suite = suite_create("wire");
    TCase *sockets = tcase_create("sockets");
    tcase_add_checked_fixture(sockets, open_sockets, close_sockets);
    tcase_set_timeout(sockets, 60);
    tcase_add_test(sockets, message_arrives);
    tcase_add_test(sockets, descriptor_arrives);
    tcase_add_test(sockets, wrong_sizes);
    tcase_add_test(sockets, unwanted_descriptors_are_closed);
    tcase_add_test(sockets, the_end);
    tcase_add_test(sockets, the_end_with_unread);
    tcase_add_test(sockets, timeout);
    tcase_add_test(sockets, sending_never_blocks);
    tcase_add_test(sockets, random_bytes);
    suite_add_tcase(suite, sockets);

    TCase *rules = tcase_create("rules");
    tcase_set_timeout(rules, 60);
    tcase_add_test(rules, control_rules);
    tcase_add_test(rules, error_rules);
    tcase_add_test(rules, password_rules);
    tcase_add_test(rules, verdict_rules);
    tcase_add_test(rules, mutated_passwords);
    tcase_add_test(rules, reply_rules);
    tcase_add_test(rules, request_rules);
    tcase_add_test(rules, number_rules);
    tcase_add_test(rules, name_ends);
    tcase_add_test(rules, unterminated_strings);
    tcase_add_test(rules, mutated_requests);
    suite_add_tcase(suite, rules);
    return suite;
}

int main(void)
{
    return tap_main(wire_suite());
}
