/* Configuration files: a bad one is told with file and line, and no secret in it; what was read,
 * written down and read again, is the same; a value that is refused changes nothing. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "common/api.h"
#include "common/buf.h"
#include "common/cleanup.h"
#include "core/settings.h"
#include "fuzz.h"

/* --- writing settings down --- */

static void put_text(struct buf *out, const char *name, const char *text, const char *empty)
{
    if (text) /* a '#' after a space begins a comment */
        buf_printf(out, "%s =%s%s\n", name, *text == '#' ? "" : " ", *text ? text : empty);
}

static void put_list(struct buf *out, const char *name, const struct settings_list *list,
                     const char *empty)
{
    bool hash = list->count && list->items[0][0] == '#';
    buf_printf(out, "%s =%s%s", name, hash ? "" : " ", list->count ? "" : empty);
    for (size_t i = 0; i < list->count; i++)
        buf_printf(out, "%s%s", i ? ", " : "", list->items[i]);
    buf_add_char(out, '\n');
}

static void put_history(struct buf *out, const struct settings *s)
{
    buf_add_string(out, "keep-history = ");
    if (s->keep_history != INT64_MAX)
        buf_printf(out, "%jdms", (intmax_t)s->keep_history);
    if (s->keep_history_count != UINT64_MAX)
        buf_printf(out, "%s%ju", s->keep_history == INT64_MAX ? "" : ", ",
                   (uintmax_t)s->keep_history_count);
    buf_add_char(out, '\n');
}

static const char *level_name(enum log_level level)
{
    return level == LOG_LEVEL_ERROR     ? "error"
           : level == LOG_LEVEL_WARNING ? "warning"
           : level == LOG_LEVEL_INFO    ? "info"
                                        : "debug";
}

/* A file that says what these settings are. The caller frees it. */
static char *write_settings(const struct settings *s)
{
    static const char *const durability[] = {"batch", "each", "none"};
    struct buf out;
    buf_init(&out, 1 << 24);
    buf_printf(&out, "max-tasks-num = %u\n", s->max_tasks_num);
    if (s->listen_set)
        put_list(&out, "listen", &s->listen, "none");
    put_text(&out, "tls-cert", s->tls_cert, "");
    put_text(&out, "tls-key", s->tls_key, "");
    buf_printf(&out, "allow-plain-http = %s\n", s->allow_plain_http ? "on" : "off");
    put_text(&out, "socket", s->socket, "none");
    buf_printf(&out, "socket-mode = %o\n", (unsigned)s->socket_mode);
    put_text(&out, "state-dir", s->state_dir, "");
    put_text(&out, "run-as", s->run_as, "");
    buf_printf(&out, "first-uid = %u\n", (unsigned)s->first_uid);
    buf_printf(&out, "auth = %s%s%s\n", s->auth & SETTINGS_AUTH_PEER ? "peer" : "",
               s->auth == (SETTINGS_AUTH_PEER | SETTINGS_AUTH_PAM) ? ", " : "",
               s->auth & SETTINGS_AUTH_PAM ? "pam" : "");
    put_list(&out, "allow-users", &s->allow_users, "all");
    put_text(&out, "operators", s->operators, "");
    buf_printf(&out, "connect-timeout = %jdms\n", (intmax_t)s->connect_timeout);
    buf_printf(&out, "stall-timeout = %jdms\n", (intmax_t)s->stall_timeout);
    buf_printf(&out, "retries = %u\n", s->retries);
    buf_printf(&out, "retry-wait = %jdms\n", (intmax_t)s->retry_wait);
    buf_printf(&out, "retry-max-wait = %jdms\n", (intmax_t)s->retry_max_wait);
    if (s->min_free >= 0)
        buf_printf(&out, "min-free = %jd\n", (intmax_t)s->min_free);
    else
        buf_printf(&out, "min-free = auto\n");
    if (s->max_file_size)
        buf_printf(&out, "max-file-size = %jd\n", (intmax_t)s->max_file_size);
    else
        buf_printf(&out, "max-file-size = off\n");
    if (s->rate_limit)
        buf_printf(&out, "rate-limit = %jd\n", (intmax_t)s->rate_limit);
    else
        buf_printf(&out, "rate-limit = off\n");
    buf_printf(&out, "max-per-host = %u\n", s->max_per_host);
    buf_printf(&out, "max-ranges = %u\n", s->max_ranges);
    buf_printf(&out, "max-waiting-per-user = %u\n", s->max_waiting_per_user);
    buf_printf(&out, "durability = %s\n", durability[s->durability]);
    put_history(&out, s);
    buf_printf(&out, "unique-names = %s\n", s->unique_names ? "yes" : "no");
    buf_printf(&out, "remote-time = %s\n", s->remote_time ? "yes" : "no");
    buf_printf(&out, "allow-hidden = %s\n", s->allow_hidden ? "1" : "0");
    put_text(&out, "default-directory", s->default_directory, "");
    buf_printf(&out, "umask = %03o\n", (unsigned)s->umask);
    put_list(&out, "host-names", &s->host_names, "none");
    put_list(&out, "deny-networks", &s->deny_networks, "none");
    put_text(&out, "ca-file", s->ca_file, "");
    put_text(&out, "known-hosts", s->known_hosts, "");
    put_text(&out, "proxy", s->proxy ? s->proxy : "none", "");
    put_text(&out, "user-agent", s->user_agent, "");
    buf_printf(&out, "log-level = %s\n", level_name(s->log_level));
    char *text = buf_take(&out);
    MUST(text);
    return text;
}

/* A key that write_settings does not know would never be looked at. */
static void must_know_all_keys(void)
{
    static bool known;
    struct settings settings;
    size_t count;
    const struct settings_key *keys = settings_keys(&count);
    char message[256], line[128];
    if (known)
        return;
    MUST(settings_init(&settings, "/dev/null") == 0);
    MUST(settings_set(&settings, "listen", "none", message) == 0);
    for (size_t i = 0; i < count; i++)
        if (*keys[i].by_default == '(')
            settings_set(&settings, keys[i].name, "/a/path", message); /* if it is one */
    _cleanup_free_ char *written = write_settings(&settings);
    for (size_t i = 0; i < count; i++) {
        snprintf(line, sizeof line, "%s = ", keys[i].name);
        known = strstr(written, line) != NULL;
        if (!known)
            fprintf(stderr, "%s: write_settings has to write %s too\n", __FILE__, keys[i].name);
        MUST(known);
    }
    settings_release(&settings);
}

/* --- reading --- */

/* 0 or the errno of settings_read_file; then nothing is to be released. */
static int read_text(const char *text, size_t len, struct settings *ret_settings,
                     char path[static 32], char message[static 512])
{
    int fd = memfd_create("settings", MFD_CLOEXEC);
    MUST(fd >= 0);
    MUST(write(fd, text, len) == (ssize_t)len);
    snprintf(path, 32, "/proc/self/fd/%d", fd);
    MUST(settings_init(ret_settings, "/dev/null") == 0);
    int r = settings_read_file(ret_settings, path, false, message);
    if (r < 0)
        settings_release(ret_settings);
    close(fd);
    return r;
}

/* "FILE:LINE: what is wrong", in one line. */
static void must_explain(int error, const char *path, const char *message)
{
    MUST(memchr(message, '\0', 512) && !strchr(message, '\n'));
    MUST(error == -EINVAL || error == -EMSGSIZE);
    MUST(strncmp(message, path, strlen(path)) == 0);
    const char *c = message + strlen(path);
    MUST(*c == ':' && c[1] >= '1' && c[1] <= '9');
    c += 1 + strspn(c + 1, "0123456789");
    MUST(strncmp(c, ": ", 2) == 0 && c[2]);
    MUST(strncmp(c, ": proxy: ", 9) != 0 || !strchr(c, '@'));
    MUST(strncmp(c, ": proxy =", 9) != 0);
}

static bool in_range(const struct settings *s)
{
    return s->max_tasks_num >= 1 && s->max_tasks_num <= API_MAX_TASKS_MAX && s->umask <= 0777 &&
           s->socket_mode <= 0777 && s->first_uid >= 1 && s->first_uid != (uid_t)-1 &&
           s->retries <= 1000 && s->connect_timeout > 0 && s->stall_timeout > 0 &&
           s->retry_wait > 0 && s->retry_max_wait > 0 && s->min_free >= -1 &&
           s->max_file_size >= 0 && s->keep_history > 0 && s->default_directory &&
           strchr("/~", *s->default_directory) && s->run_as && *s->run_as && s->operators &&
           *s->operators;
}

static void read_file(const char *text, size_t len)
{
    struct settings settings, again;
    char path[32], message[512];
    memset(message, 'x', sizeof message);
    int r = read_text(text, len, &settings, path, message);
    if (r < 0) {
        must_explain(r, path, message);
        return;
    }
    MUST(in_range(&settings));
    _cleanup_free_ char *written = write_settings(&settings);
    MUST(is_utf8(written));
    for (const char *c = written; *c; c++)
        MUST(((unsigned char)*c >= ' ' && *c != 0x7f) || *c == '\n');
    settings_release(&settings);
    MUST(read_text(written, strlen(written), &again, path, message) == 0);
    _cleanup_free_ char *same = write_settings(&again);
    settings_release(&again);
    MUST(strcmp(written, same) == 0);
}

/* --- one key --- */

static void set_key(const char *name, const char *value)
{
    struct settings settings;
    char message[256];
    MUST(settings_init(&settings, "/dev/null") == 0);
    _cleanup_free_ char *before = write_settings(&settings);
    memset(message, 'x', sizeof message);
    int r = settings_set(&settings, name, value, message);
    _cleanup_free_ char *after = write_settings(&settings);
    MUST(memchr(message, '\0', sizeof message));
    MUST(r == 0 || r == -EINVAL || r == -ENOENT);
    MUST(r == 0 ? in_range(&settings) : *message && strcmp(before, after) == 0);
    settings_release(&settings);
}

/* A file; its first line is a value, too, for a key that its first byte chooses. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    size_t len, count;
    const struct settings_key *keys = settings_keys(&count);
    must_know_all_keys();
    _cleanup_free_ char *text = take_rest(&input, &len);
    read_file(text, len);
    text[strcspn(text, "\n")] = '\0';
    if (*text)
        set_key(keys[(unsigned char)*text % count].name, text + 1);
    set_key(text, "1");
    return 0;
}
