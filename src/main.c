/* autodl-service: reads options and configuration, then becomes the monitor. */
#include <argp.h>
#include <config.h>
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/api.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "common/units.h"
#include "core/settings.h"
#include "http/certificate.h"
#include "privsep/monitor.h"
#include "service.h"

#define LOGIN_DEFS   "/etc/login.defs"
#define SYSTEM_CONF  "/etc/autodl/autodl.conf"
#define SYSTEM_STATE "/var/lib/autodl"

#define KEYS_MAX    64
#define KEY_CONFIG  0x1000 /* option keys: first our own, then one per settings key */
#define KEY_CERT    0x1001
#define OWN_OPTIONS 2
#define KEY_SETTING 0x1100

const char *argp_program_version = "autodl-service " PACKAGE_VERSION;

/* One option of the command line that is a setting. */
struct given {
    const char *key, *value;
};

/* What we want of the environment; read once, since the monitor wipes it. NULL: not set. */
struct environment {
    char *home;                                   /* user mode: what ~ means */
    char *config_home, *state_home, *runtime_dir; /* XDG Base Directory Specification */
    char *boot_id;
};

struct command_line {
    const char *config;    /* NULL: the default file, which may be missing */
    const char *make_cert; /* a directory; NULL: run the service */
    struct given *given;
    size_t count;
    bool user_mode;
    struct environment environment;
};

/* --- the command line --- */

static void release_environment(struct environment *environment)
{
    free(environment->home);
    free(environment->config_home);
    free(environment->state_home);
    free(environment->runtime_dir);
    free(environment->boot_id);
}

static void command_line_release(struct command_line *line)
{
    release_environment(&line->environment);
    free(line->given);
}

static void add_given(struct command_line *line, const char *key, const char *value)
{
    struct given *more = realloc(line->given, (line->count + 1) * sizeof *more);
    if (!more) {
        log_error("out of memory");
        exit(EXIT_FAILURE);
    }
    line->given = more;
    line->given[line->count++] = (struct given){key, value};
}

static error_t parse_option(int option, char *value, struct argp_state *state)
{
    struct command_line *line = state->input;
    size_t count;
    const struct settings_key *keys = settings_keys(&count);

    if (option == KEY_CONFIG) {
        line->config = value;
    } else if (option == KEY_CERT) {
        line->make_cert = value;
    } else if (option >= KEY_SETTING && option < KEY_SETTING + (int)count) {
        add_given(line, keys[option - KEY_SETTING].name, value);
    } else if (option == ARGP_KEY_ARG && state->arg_num == 0) {
        add_given(line, "max-tasks-num", value);
    } else if (option == ARGP_KEY_ARG) {
        argp_error(state, "one number is taken, MAX_TASKS_NUM; \"%s\" is too much", value);
    } else {
        return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

/* The options are the keys of the configuration file. */
static void parse_command_line(int argc, char **argv, struct command_line *line)
{
    static struct argp_option options[OWN_OPTIONS + KEYS_MAX + 1];
    size_t count;
    const struct settings_key *keys = settings_keys(&count);
    options[0] = (struct argp_option){
        .name = "config",
        .key = KEY_CONFIG,
        .arg = "FILE",
        .doc = "read this file (by default " SYSTEM_CONF
               ", or autodl/autodl.conf in $XDG_CONFIG_HOME when a user starts it)"};
    options[1] = (struct argp_option){
        .name = "make-cert",
        .key = KEY_CERT,
        .arg = "DIR",
        .doc = "make a private key and a certificate in this directory, and end"};
    for (size_t i = 0; i < count && i < KEYS_MAX; i++)
        options[OWN_OPTIONS + i] = (struct argp_option){
            .name = keys[i].name, .key = KEY_SETTING + (int)i, .arg = "VALUE", .doc = keys[i].help};
    struct argp argp = {
        .options = options,
        .parser = parse_option,
        .args_doc = "[MAX_TASKS_NUM]",
        .doc = "Download manager: runs the downloads that people enqueue with autodl(1) or "
               "HTTP.\v"
               "MAX_TASKS_NUM is how many downloads run at once (10). Started by root it runs as "
               "the user named with --run-as and writes files as the users who ask; started by "
               "anybody else it serves that user alone. See autodl-service(8) and "
               "autodl.conf(5).",
    };
    argp_err_exit_status = EXIT_FAILURE;
    argp_parse(&argp, argc, argv, 0, NULL, line);
}

/* --- the settings: defaults, then the file, then the command line --- */

static char *path_in(const char *directory, const char *rest)
{
    char *path;
    return asprintf(&path, "%s/%s", directory, rest) < 0 ? NULL : path;
}

/* DIRECTORY/REST, or HOME/FALLBACK/REST when it is not an absolute path (XDG Base Directory
 * Specification). */
static char *xdg_path(const char *directory, const char *home, const char *fallback,
                      const char *rest)
{
    if (directory && directory[0] == '/')
        return path_in(directory, rest);
    _cleanup_free_ char *by_default = path_in(home, fallback);
    return by_default ? path_in(by_default, rest) : NULL;
}

static char *user_socket(const char *directory)
{
    char by_default[64];
    snprintf(by_default, sizeof by_default, "/run/user/%u", (unsigned)getuid());
    if (directory && directory[0] == '/')
        return path_in(directory, API_SOCKET_NAME);
    if (access(by_default, W_OK) == 0)
        return path_in(by_default, API_SOCKET_NAME);
    log_info("no unix socket: XDG_RUNTIME_DIR is not set and %s is not there", by_default);
    return strdup("");
}

static int read_config(const struct command_line *line, struct settings *settings,
                       char message[static 512])
{
    if (line->config)
        return settings_read_file(settings, line->config, false, message);
    _cleanup_free_ char *path =
        line->user_mode ? xdg_path(line->environment.config_home, line->environment.home, ".config",
                                   "autodl/autodl.conf")
                        : strdup(SYSTEM_CONF);
    if (!path) {
        snprintf(message, 512, "out of memory");
        return -ENOMEM;
    }
    return settings_read_file(settings, path, true, message);
}

/* Everybody on the machine can read a command line (ps(1)). */
static bool tells_secret(const char *name, const char *value)
{
    size_t count;
    const struct settings_key *keys = settings_keys(&count);
    for (size_t i = 0; i < count; i++)
        if (strcmp(keys[i].name, name) == 0)
            return keys[i].secret && strchr(value, '@');
    return false;
}

static int apply_command_line(const struct command_line *line, struct settings *settings,
                              char message[static 512])
{
    settings_new_layer(settings);
    for (size_t i = 0; i < line->count; i++) {
        char expected[256];
        if (tells_secret(line->given[i].key, line->given[i].value)) {
            snprintf(message, 512,
                     "--%s: everybody on this machine can read a password on the command line; "
                     "write it into the configuration file instead: %s = ...",
                     line->given[i].key, line->given[i].key);
            return -EINVAL;
        }
        int r = settings_set(settings, line->given[i].key, line->given[i].value, expected);
        if (r < 0) {
            snprintf(message, 512, "--%s: %s", line->given[i].key,
                     r == -ENOMEM ? "out of memory" : expected);
            return r;
        }
    }
    return 0;
}

/* Those defaults that depend on who started us. */
static int set_places(const struct command_line *line, struct settings *settings,
                      char message[static 512])
{
    if (!settings->state_dir)
        settings->state_dir = line->user_mode
                                  ? xdg_path(line->environment.state_home, line->environment.home,
                                             ".local/state", "autodl")
                                  : strdup(SYSTEM_STATE);
    if (!settings->socket)
        settings->socket = line->user_mode ? user_socket(line->environment.runtime_dir)
                                           : strdup(API_SYSTEM_SOCKET);
    if (settings->state_dir && settings->socket)
        return 0;
    snprintf(message, 512, "out of memory");
    return -ENOMEM;
}

static int load_settings(const struct command_line *line, struct settings *ret_settings,
                         char message[static 512])
{
    struct settings settings;
    int r = settings_init(&settings, LOGIN_DEFS);
    if (r < 0) {
        snprintf(message, 512, "out of memory");
        return r;
    }
    r = read_config(line, &settings, message);
    if (r == 0)
        r = apply_command_line(line, &settings, message);
    if (r == 0)
        r = set_places(line, &settings, message);
    if (r < 0)
        settings_release(&settings);
    else
        *ret_settings = settings;
    return r;
}

static int load_checked_settings(void *data, struct settings *ret_settings,
                                 char message[static 512])
{
    struct settings settings;
    int r = load_settings(data, &settings, message);
    if (r < 0)
        return r;
    r = settings_check(&settings, message);
    if (r < 0)
        settings_release(&settings);
    else
        *ret_settings = settings;
    return r;
}

/* --- a certificate --- */

/* The settings may still lack it, so they are not checked. */
static int make_certificate(const struct command_line *line)
{
    struct settings settings;
    struct certificate made;
    char message[512];
    if (load_settings(line, &settings, message) < 0) {
        log_error("%s", message);
        return EXIT_FAILURE;
    }
    int r = certificate_make(line->make_cert, &settings, !line->user_mode, &made);
    settings_release(&settings);
    if (r < 0)
        return EXIT_FAILURE;
    printf("made %s\nmade %s\nfor %s\n\n"
           "autodl.conf:\ntls-cert = %s\ntls-key = %s\n\n"
           "elsewhere: autodl -h https://HOST[:PORT] --pin %s\n",
           made.cert_path, made.key_path, made.names, made.cert_path, made.key_path, made.pin);
    certificate_release(&made);
    return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* --- before the monitor --- */

static const char *own_home(void)
{
    const char *home = getenv("HOME");
    if (home && home[0] == '/')
        return home;
    struct passwd *entry = getpwuid(getuid());
    return entry && entry->pw_dir[0] == '/' ? entry->pw_dir : "/";
}

static char *copy_of(const char *value)
{
    char *copy = value ? strdup(value) : NULL;
    if (value && !copy) {
        log_error("out of memory");
        exit(EXIT_FAILURE);
    }
    return copy;
}

static void read_environment(bool user_mode, struct environment *ret_environment)
{
    *ret_environment = (struct environment){
        .home = user_mode ? copy_of(own_home()) : NULL,
        .config_home = copy_of(getenv("XDG_CONFIG_HOME")),
        .state_home = copy_of(getenv("XDG_STATE_HOME")),
        .runtime_dir = copy_of(getenv("XDG_RUNTIME_DIR")),
        .boot_id = copy_of(getenv("AUTODL_BOOT_ID")),
    };
}

/* User mode: the state directory, with its parents, 0700. */
static int make_state_dir(const char *path)
{
    char partial[API_PATH_MAX + 1];
    int r = 0;
    for (const char *end = path; end && r == 0;) {
        end = strchr(end + 1, '/');
        size_t len = end ? (size_t)(end - path) : strlen(path);
        if (len >= sizeof partial)
            return -ENAMETOOLONG;
        memcpy(partial, path, len);
        partial[len] = '\0';
        r = mkdir(partial, 0700) < 0 && errno != EEXIST ? -errno : 0;
    }
    return r;
}

/* The directory of the unix socket, or NULL. */
static char *socket_directory(const struct settings *settings)
{
    char *directory = settings->socket[0] ? strdup(settings->socket) : NULL;
    char *slash = directory ? strrchr(directory, '/') : NULL;
    if (slash)
        *slash = '\0';
    return directory;
}

int main(int argc, char **argv)
{
    _cleanup_(command_line_release) struct command_line line = {0};
    struct settings settings;
    char message[512];

    line.user_mode = !monitor_system_mode();
    read_environment(line.user_mode, &line.environment);
    parse_command_line(argc, argv, &line);
    if (line.make_cert)
        return make_certificate(&line);
    if (load_checked_settings(&line, &settings, message) < 0) {
        log_error("%s", message);
        return EXIT_FAILURE;
    }
    log_set_level(settings.log_level);
    int r = line.user_mode ? make_state_dir(settings.state_dir) : 0;
    if (r < 0) {
        log_error("%s: cannot be made: %s", settings.state_dir, strerror(-r));
        return EXIT_FAILURE;
    }

    _cleanup_free_ char *socket_dir = socket_directory(&settings);
    struct monitor_options monitor = {
        .run_as = settings.run_as,
        .settings = &settings,
        .reload = load_checked_settings,
        .data = &line,
        .home = line.environment.home,
        .state_dir = settings.state_dir,
        .socket_dir = socket_dir,
    };
    struct service_options service = {
        .settings = &settings,
        .reload = load_checked_settings,
        .data = &line,
        .user_mode = line.user_mode,
        .boot_id = line.environment.boot_id,
        .watchdog = monitor_watchdog(),
    };
    r = monitor_run(&monitor, service_run, &service);
    settings_release(&settings);
    return r;
}
