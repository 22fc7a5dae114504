#include "ssh.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/cleanup.h"

#define WORDS_MAX    32
#define CHILDREN_MAX 64 /* a connection is kept: more than one is rare */
#define ANSWER_MAX   ((size_t)1 << 20)
#define PATIENCE     40 /* twentieths of a second between asking a child to end and killing it */

struct ssh {
    const struct ssh_place *place;
    char target[64];
    pid_t children[CHILDREN_MAX];
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

/* Starts ssh over these descriptors, which are left to the caller. */
static pid_t start(const struct ssh_place *place, const char *const *options, int in, int out)
{
    struct words words = {0};
    pid_t pid = -1;

    errno = ENOMEM;
    if (make_words(place, options, &words) == 0)
        pid = fork();
    if (pid == 0)
        exec(&words, in, out);
    free(words.program);
    return pid < 0 ? -errno : pid;
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
    static const char *const options[] = {"-G", NULL};
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    _cleanup_close_ int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    pid_t pid = start(place, options, null, ends[1]);
    close(ends[1]);
    FILE *file = fdopen(ends[0], "r");
    int r = pid < 0 ? pid : file ? read_user(file, ret_user) : -errno;
    if (file)
        fclose(file); /* what it has still to say is of no interest */
    else
        close(ends[0]);
    if (pid > 0)
        waitpid(pid, NULL, 0);
    return r;
}

/* --- ssh -W --- */

struct ssh *ssh_create(const struct ssh_place *place, const char *port)
{
    struct ssh *ssh = calloc(1, sizeof *ssh);

    if (!ssh)
        return NULL;
    ssh->place = place;
    snprintf(ssh->target, sizeof ssh->target, "localhost:%s", port);
    return ssh;
}

/* -W has no shell and no terminal there, and ends with 255 if nobody answers at its target. */
int ssh_connect(struct ssh *ssh)
{
    const char *const options[] = {"-o", "ConnectTimeout=15", "-W", ssh->target, NULL};
    int ends[2];

    if (ssh->count == CHILDREN_MAX)
        return -EMFILE;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
        return -errno;
    pid_t pid = start(ssh->place, options, ends[1], ends[1]);
    close(ends[1]);
    if (pid < 0) {
        close(ends[0]);
        return pid;
    }
    ssh->children[ssh->count++] = pid;
    return ends[0];
}

/* Whether it has ended. */
static bool reap(struct ssh *ssh, size_t child, int flags)
{
    int status = 0;
    pid_t pid = waitpid(ssh->children[child], &status, flags);

    if (pid == 0)
        return false;
    if (pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) != 0)
        ssh->failed = true;
    ssh->children[child] = ssh->children[--ssh->count];
    return true;
}

/* Its socket is closed just before it ends: a moment is given to the one for the other. */
bool ssh_failed(struct ssh *ssh)
{
    for (int i = 0; i < PATIENCE && !ssh->failed && ssh->count > 0; i++) {
        if (i > 0)
            usleep(50000);
        for (size_t child = ssh->count; child-- > 0;)
            reap(ssh, child, WNOHANG);
    }
    return ssh->failed;
}

void ssh_destroy(struct ssh *ssh)
{
    if (!ssh)
        return;
    for (size_t child = 0; child < ssh->count; child++)
        kill(ssh->children[child], SIGTERM);
    for (int i = 0; i < PATIENCE && ssh->count > 0; i++) {
        if (!reap(ssh, 0, WNOHANG))
            usleep(i < 10 ? 1000 : 50000);
    }
    for (size_t child = ssh->count; child-- > 0;) {
        kill(ssh->children[child], SIGKILL);
        reap(ssh, child, 0);
    }
    free(ssh);
}
