#include "ssh.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/cleanup.h"
#include "common/units.h"

#define WORDS_MAX    32
#define CHILDREN_MAX 64 /* a connection is kept: more than one is rare */
#define ANSWER_MAX   ((size_t)1 << 20)
#define PATIENCE     2000 /* ms between asking a child to end and killing it */

struct child {
    pid_t pid;
    int fd; /* of the process: can be read once it has ended (pidfd_open(2)) */
};

struct ssh {
    const struct ssh_place *place;
    char target[64];
    int listener;
    char path[32]; /* of `place_fd`, which is the listener's place in the file system */
    int place_fd;
    struct child children[CHILDREN_MAX];
    size_t count;
    bool failed;
};

void ssh_place_release(struct ssh_place *place)
{
    free(place->host);
    free(place->user);
    free(place->port);
    *place = (struct ssh_place){0};
}

/* A command line: ssh, `options` (ended by NULL), whom and where. */
struct words {
    char *program; /* owned: what the first words point into */
    const char *list[WORDS_MAX];
};

static int make_words(const struct ssh_place *place, const char *const *options,
                      struct words *words)
{
    const char *program = secure_getenv("AUTODL_SSH");
    size_t count = 0;
    char *rest;

    words->program = strdup(program && *program ? program : "ssh");
    if (!words->program)
        return -ENOMEM;
    for (char *word = strtok_r(words->program, " ", &rest); word && count < WORDS_MAX - 16;
         word = strtok_r(NULL, " ", &rest))
        words->list[count++] = word;
    for (; *options; options++)
        words->list[count++] = *options;
    if (place->user) {
        words->list[count++] = "-l";
        words->list[count++] = place->user;
    }
    if (place->port) {
        words->list[count++] = "-p";
        words->list[count++] = place->port;
    }
    words->list[count++] = "--"; /* the host is no option */
    words->list[count++] = place->host;
    words->list[count] = NULL;
    return 0;
}

static _Noreturn void exec(const struct words *words, int in, int out)
{
    signal(SIGPIPE, SIG_DFL);
    if (dup2(in, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0)
        _exit(255);
    execvp(words->list[0], (char **)words->list);
    dprintf(STDERR_FILENO, "%s: %s\n", words->list[0], strerror(errno));
    _exit(255);
}

/* --- ssh -G --- */

static int read_user(FILE *file, char **ret_user)
{
    _cleanup_free_ char *line = NULL;
    size_t size = 0;
    ssize_t len;

    while ((len = getline(&line, &size, file)) > 0) {
        if (strncmp(line, "user ", 5) != 0 || len < 7)
            continue;
        line[len - 1] = '\0';
        *ret_user = strdup(line + 5);
        return *ret_user ? 0 : -ENOMEM;
    }
    return -ENOENT;
}

int ssh_find_user(const struct ssh_place *place, char **ret_user)
{
    static const char *const options[] = {"-T", "-G", NULL};
    struct words words = {0};
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    _cleanup_close_ int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    pid_t pid = make_words(place, options, &words) < 0 ? -1 : fork();
    if (pid == 0)
        exec(&words, null, ends[1]);
    free(words.program);
    close(ends[1]);
    FILE *file = fdopen(ends[0], "r");
    int r = pid < 0 ? -ENOMEM : file ? read_user(file, ret_user) : -errno;
    if (file)
        fclose(file); /* what it has still to say is of no interest */
    else
        close(ends[0]);
    if (pid > 0)
        waitpid(pid, NULL, 0);
    return r;
}

/* --- ssh -W --- */

/* Takes note of those that have ended; with `flags` 0 waits for each of them. */
static void reap(struct ssh *ssh, int flags)
{
    for (size_t i = ssh->count; i-- > 0;) {
        int status = 0;
        pid_t pid = waitpid(ssh->children[i].pid, &status, flags);
        if (pid == 0)
            continue;
        if (pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) != 0)
            ssh->failed = true;
        close(ssh->children[i].fd);
        ssh->children[i] = ssh->children[--ssh->count];
    }
}

/* Until one of them ends. False: there is none, or none did before `deadline` (boot time). */
static bool wait_for_end(const struct ssh *ssh, int64_t deadline)
{
    struct pollfd fds[CHILDREN_MAX];
    int64_t rest = deadline - units_now_boottime();

    for (size_t i = 0; i < ssh->count; i++)
        fds[i] = (struct pollfd){.fd = ssh->children[i].fd, .events = POLLIN};
    return ssh->count > 0 && rest > 0 && poll(fds, ssh->count, (int)rest) != 0;
}

static void signal_all(const struct ssh *ssh, int number)
{
    for (size_t i = 0; i < ssh->count; i++)
        kill(ssh->children[i].pid, number);
}

/*
 * A listener that has a place but no name. (Not a socketpair, which libcurl 7.88 would connect once
 * more, nor an abstract address, of which it does not keep connections.)
 */
static int listen_in(const char *directory, struct ssh *ssh)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    if (snprintf(address.sun_path, sizeof address.sun_path, "%s/s", directory) >=
        (int)sizeof address.sun_path)
        return -ENAMETOOLONG;
    ssh->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (ssh->listener < 0 || bind(ssh->listener, (struct sockaddr *)&address, sizeof address) < 0)
        return -errno;
    ssh->place_fd = open(address.sun_path, O_PATH | O_CLOEXEC);
    int error = ssh->place_fd < 0 ? errno : 0;
    unlink(address.sun_path);
    if (!error && listen(ssh->listener, 8) < 0)
        error = errno;
    snprintf(ssh->path, sizeof ssh->path, "/proc/self/fd/%d", ssh->place_fd);
    return -error;
}

static int listen_somewhere(struct ssh *ssh)
{
    const char *temporary = secure_getenv("TMPDIR");
    _cleanup_free_ char *directory = NULL;

    if (asprintf(&directory, "%s/autodl-XXXXXX",
                 temporary && *temporary == '/' ? temporary : "/tmp") < 0)
        return -ENOMEM;
    if (!mkdtemp(directory)) /* mode 0700 */
        return -errno;
    int r = listen_in(directory, ssh);
    rmdir(directory);
    return r;
}

int ssh_create(const struct ssh_place *place, const char *port, struct ssh **ret_ssh)
{
    struct ssh *ssh = calloc(1, sizeof *ssh);

    if (!ssh)
        return -ENOMEM;
    *ssh = (struct ssh){.place = place, .listener = -1, .place_fd = -1};
    snprintf(ssh->target, sizeof ssh->target, "localhost:%s", port);
    int r = listen_somewhere(ssh);
    if (r < 0)
        ssh_destroy(ssh);
    else
        *ret_ssh = ssh;
    return r;
}

const char *ssh_path(const struct ssh *ssh)
{
    return ssh->path;
}

/* Its end has to be waited for. */
static int keep_child(struct ssh *ssh, pid_t pid)
{
    int fd = pidfd_open(pid, 0); /* close-on-exec by itself */

    if (fd < 0) {
        int error = errno;
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        return -error;
    }
    ssh->children[ssh->count++] = (struct child){pid, fd};
    return 0;
}

/* -W has no shell and no terminal there, and ends with 255 if nobody answers at its target. */
int ssh_start(struct ssh *ssh)
{
    const char *const options[] = {"-o", "ConnectTimeout=15", "-W", ssh->target, NULL};
    struct words words = {0};

    reap(ssh, WNOHANG);
    if (ssh->count == CHILDREN_MAX)
        return -EMFILE;
    if (make_words(ssh->place, options, &words) < 0)
        return -ENOMEM;
    pid_t pid = fork();
    if (pid == 0) {
        int fd = accept4(ssh->listener, NULL, NULL, SOCK_CLOEXEC);
        exec(&words, fd, fd);
    }
    free(words.program);
    return pid < 0 ? -errno : keep_child(ssh, pid);
}

/* Its socket is closed just before it ends: a moment is given to the one for the other. */
bool ssh_failed(struct ssh *ssh)
{
    int64_t deadline = units_now_boottime() + PATIENCE;

    do
        reap(ssh, WNOHANG);
    while (!ssh->failed && wait_for_end(ssh, deadline));
    return ssh->failed;
}

void ssh_destroy(struct ssh *ssh)
{
    int64_t deadline = units_now_boottime() + PATIENCE;

    if (!ssh)
        return;
    signal_all(ssh, SIGTERM);
    do
        reap(ssh, WNOHANG);
    while (wait_for_end(ssh, deadline));
    signal_all(ssh, SIGKILL);
    reap(ssh, 0);
    cleanup_close(&ssh->listener);
    cleanup_close(&ssh->place_fd);
    free(ssh);
}
