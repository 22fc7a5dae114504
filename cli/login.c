#include "login.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <termios.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "netrc.h"
#include "output.h"

#define PASSWORD_MAX 1023 /* bytes */

void login_release(struct login *login)
{
    if (login->password)
        explicit_bzero(login->password, strlen(login->password));
    free(login->password);
    free(login->user);
    *login = (struct login){0};
}

static enum api_exit no_memory(void)
{
    return output_fail(API_EXIT_REFUSED, "out of memory");
}

/* The name that the service looks for among the accounts of its machine. */
static char *own_name(void)
{
    char *name = NULL;
    const struct passwd *entry = getpwuid(geteuid());

    if (entry)
        return strdup(entry->pw_name);
    return asprintf(&name, "%u", (unsigned)geteuid()) < 0 ? NULL : name;
}

/* --- a prompt --- */

/* Without echo. The interrupt key ends the line in place of the process, which would leave the
 * terminal so; it is then the line's last character. */
static int hide_input(int terminal, struct termios *ret_before, char *ret_interrupt)
{
    struct termios hidden;

    if (tcgetattr(terminal, &hidden) < 0)
        return -errno;
    *ret_before = hidden;
    *ret_interrupt = (char)hidden.c_cc[VINTR];
    hidden.c_lflag &= ~(tcflag_t)(ECHO | ISIG);
    hidden.c_lflag |= ICANON | ECHONL;
    hidden.c_cc[VEOL] = hidden.c_cc[VINTR];
    return tcsetattr(terminal, TCSAFLUSH, &hidden) < 0 ? -errno : 0;
}

static enum api_exit take_line(char *line, ssize_t len, char interrupt, char **ret_password)
{
    if (len > 0 && line[len - 1] == interrupt)
        return API_EXIT_INTERRUPTED;
    if (len <= 0 || line[len - 1] != '\n')
        return output_fail(API_EXIT_DENIED, len > 0 ? "that password is too long" : "no password");
    line[len - 1] = '\0';
    *ret_password = strdup(line);
    return *ret_password ? API_EXIT_DONE : no_memory();
}

static enum api_exit ask(int terminal, const char *place, const char *user, char **ret_password)
{
    char line[PASSWORD_MAX + 2] = "";
    struct termios before;
    char interrupt = 0;

    if (hide_input(terminal, &before, &interrupt) < 0)
        return output_fail(API_EXIT_DENIED, "the terminal does not hide passwords: %s",
                           strerror(errno));
    dprintf(terminal, "Password of %s at %s: ", user, place);
    ssize_t len = read(terminal, line, sizeof(line) - 1);
    tcsetattr(terminal, TCSAFLUSH, &before);
    enum api_exit status = take_line(line, len, interrupt, ret_password);
    explicit_bzero(line, sizeof(line));
    return status;
}

/* --- a password --- */

static char *netrc_path(void)
{
    const char *home = secure_getenv("HOME");
    const struct passwd *entry = home && *home ? NULL : getpwuid(geteuid());
    char *path = NULL;

    if (entry)
        home = entry->pw_dir;
    return asprintf(&path, "%s/.netrc", home ? home : "") < 0 ? NULL : path;
}

static enum api_exit find_password(const struct address *address, const char *user,
                                   char **ret_password)
{
    const char *variable = secure_getenv("AUTODL_PASSWORD");
    _cleanup_free_ char *path = netrc_path();

    if (variable && *variable) {
        *ret_password = strdup(variable);
        return *ret_password ? API_EXIT_DONE : no_memory();
    }
    if (!path)
        return no_memory();
    int r = netrc_find(path, address->host, user, ret_password);
    if (r == 0)
        return API_EXIT_DONE;
    if (r != -ENOENT)
        return output_fail(API_EXIT_DENIED, "%s cannot be read: %s", path, strerror(-r));
    _cleanup_close_ int terminal = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    if (terminal >= 0)
        return ask(terminal, address->name, user, ret_password);
    return output_fail(API_EXIT_DENIED,
                       "no password of %s for %s: set AUTODL_PASSWORD, add \"machine %s login %s "
                       "password ...\" to %s, or run autodl on a terminal",
                       user, address->name, address->host, user, path);
}

enum api_exit login_find_origin(const char *host, const char *user, char **ret_password)
{
    _cleanup_free_ char *path = netrc_path();

    if (!path)
        return no_memory();
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); /* no core holds the password */
    int r = *host ? netrc_find(path, host, user, ret_password) : -ENOENT;
    if (r == 0)
        return API_EXIT_DONE;
    if (r != -ENOENT)
        return output_fail(API_EXIT_DENIED, "%s cannot be read: %s", path, strerror(-r));
    _cleanup_close_ int terminal = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    if (terminal >= 0)
        return ask(terminal, *host ? host : "the origin", user, ret_password);
    return output_fail(API_EXIT_DENIED,
                       "no password of %s for %s: add \"machine %s login %s password ...\" to %s, "
                       "or run autodl on a terminal",
                       user, *host ? host : "the origin", *host ? host : "HOST", user, path);
}

enum api_exit login_find(const struct address *address, const char *user, struct login *ret_login)
{
    struct login login = {0};

    if (!user && address->is_https && geteuid() == 0)
        return output_fail(API_EXIT_DENIED,
                           "root is known to the service on its own machine's unix socket alone; "
                           "use -u USER");
    if (!user && address->ssh.host)
        user = address->ssh.user;
    if (!user && address->ssh.host) {
        int r = ssh_find_user(&address->ssh, &login.user);
        if (r < 0)
            return output_fail(API_EXIT_UNREACHABLE,
                               "ssh does not say whom it logs in as at %s (%s); name the user: "
                               "ssh://USER@%s",
                               address->ssh.host, strerror(-r), address->ssh.host);
    } else if (user || !address->socket) {
        login.user = user ? strdup(user) : own_name();
        if (!login.user)
            return no_memory();
    }
    enum api_exit status = API_EXIT_DONE;
    if (address->is_https) {
        prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); /* no core holds the password */
        status = find_password(address, login.user, &login.password);
    }
    if (status == API_EXIT_DONE)
        *ret_login = login;
    else
        login_release(&login);
    return status;
}
