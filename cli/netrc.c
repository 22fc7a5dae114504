#include "netrc.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"

#define FILE_MAX ((off_t)1 << 20)
#define BLANKS   " \t\r\n"

struct text {
    char *data; /* NUL-terminated */
    size_t size;
};

static void wipe_text(struct text *text)
{
    if (text->data)
        explicit_bzero(text->data, text->size);
    free(text->data);
}

static int read_text(const char *path, struct text *text)
{
    struct stat status;
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

    if (fd < 0 || fstat(fd, &status) < 0)
        return -errno;
    if (!S_ISREG(status.st_mode) || status.st_size > FILE_MAX)
        return -EFBIG;
    text->size = (size_t)status.st_size;
    text->data = calloc(1, text->size + 1);
    if (!text->data)
        return -ENOMEM;
    return read(fd, text->data, text->size) < 0 ? -errno : 0;
}

/* In place, up to the closing quote; a backslash takes the next character as it is. */
static char *quoted_word(char *at, char **ret_rest)
{
    char *to = at, *word = at;

    for (; *at && *at != '"'; at++) {
        if (*at == '\\' && at[1])
            at++;
        *to++ = *at;
    }
    *ret_rest = *at ? at + 1 : at;
    *to = '\0';
    return word;
}

/* The next word, cut out in place; NULL: there are no more. A '#' that begins a line makes it a
 * comment. */
static char *next_word(char **at, bool *is_line_start)
{
    for (;;) {
        size_t len = strspn(*at, BLANKS);
        if (memchr(*at, '\n', len))
            *is_line_start = true;
        *at += len;
        if (**at != '#' || !*is_line_start)
            break;
        *at += strcspn(*at, "\n");
    }
    *is_line_start = false;
    if (**at == '\0')
        return NULL;
    if (**at == '"')
        return quoted_word(*at + 1, at);
    char *word = *at;
    *at += strcspn(*at, BLANKS);
    if (**at) {
        *is_line_start = **at == '\n';
        *(*at)++ = '\0';
    }
    return word;
}

/* The lines of a macro, up to an empty one. */
static void skip_macro(char **at)
{
    char *end = strstr(*at, "\n\n");
    *at = end ? end + 1 : *at + strlen(*at);
}

struct entry {
    bool fits; /* the machine */
    const char *login, *password;
};

static bool is_found(const struct entry *entry, const char *user)
{
    return entry->fits && entry->password && (!entry->login || strcmp(entry->login, user) == 0);
}

static const char *search(char *text, const char *host, const char *user)
{
    struct entry entry = {0};
    bool is_line_start = true;
    char *word;

    while ((word = next_word(&text, &is_line_start))) {
        bool is_machine = strcmp(word, "machine") == 0;
        if (is_machine || strcmp(word, "default") == 0) {
            if (is_found(&entry, user))
                break;
            const char *name = is_machine ? next_word(&text, &is_line_start) : host;
            entry = (struct entry){.fits = name && strcasecmp(name, host) == 0};
        } else if (strcmp(word, "login") == 0) {
            entry.login = next_word(&text, &is_line_start);
        } else if (strcmp(word, "password") == 0) {
            entry.password = next_word(&text, &is_line_start);
        } else if (strcmp(word, "account") == 0) {
            next_word(&text, &is_line_start);
        } else if (strcmp(word, "macdef") == 0) {
            skip_macro(&text);
        }
    }
    return is_found(&entry, user) ? entry.password : NULL;
}

int netrc_find(const char *path, const char *host, const char *user, char **ret_password)
{
    _cleanup_(wipe_text) struct text text = {0};
    int r = read_text(path, &text);

    if (r < 0)
        return r;
    const char *found = search(text.data, host, user);
    char *password = found ? strdup(found) : NULL;
    if (!password)
        return found ? -ENOMEM : -ENOENT;
    *ret_password = password;
    return 0;
}
