/*
 * Settings: the keys of autodl.conf(5), which are the long options of autodl-service(8) too. One
 * table holds name, meaning, default, range and whether a reload applies it; the file parser, the
 * command line, --help and the tests all read that table.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/log.h"

#define SETTINGS_KNOWN_HOSTS "/etc/ssh/ssh_known_hosts" /* need not be there */

struct settings_list { /* of owned strings */
    char **items;
    size_t count;
    bool weak; /* set by an earlier layer: the next value replaces the list */
};

enum settings_durability {
    DURABILITY_BATCH, /* synced before FINISHED, many files at once */
    DURABILITY_EACH, /* each file by itself */
    DURABILITY_NONE, /* FINISHED when renamed: a power cut may take it */
};

enum settings_auth { /* who vouches for a user on TCP */
    SETTINGS_AUTH_PEER = 1, /* the kernel, on loopback */
    SETTINGS_AUTH_PAM = 2, /* a password */
};

#define SETTINGS_KEYS_MAX 64

struct settings {
    unsigned max_tasks_num;
    struct settings_list listen; /* ADDRESS:PORT; empty with listen_set: none */
    bool listen_set; /* false: the default listeners, which may be missing */
    char *tls_cert; /* a path; NULL: none */
    char *tls_key;
    bool allow_plain_http;
    char *socket; /* NULL: the default; "": none */
    mode_t socket_mode;
    char *state_dir; /* NULL: the default */
    char *run_as;
    uid_t first_uid;
    struct settings_list allow_users; /* empty: all */
    char *operators; /* a group */
    unsigned auth; /* enum settings_auth, or'ed */
    int64_t connect_timeout; /* ms */
    int64_t stall_timeout; /* ms */
    unsigned retries; /* attempts without progress */
    int64_t retry_wait; /* ms */
    int64_t retry_max_wait; /* ms */
    int64_t min_free; /* bytes; -1: the smaller of 512 MiB and 1 % of the file system */
    int64_t max_file_size; /* bytes; 0: off */
    int64_t rate_limit; /* bytes per second; 0: off */
    unsigned max_per_host; /* tasks that run at once */
    unsigned max_ranges; /* of one file that are fetched at once */
    unsigned max_waiting_per_user; /* tasks */
    enum settings_durability durability;
    int64_t keep_history; /* ms; INT64_MAX: however long */
    uint64_t keep_history_count; /* UINT64_MAX: however many */
    bool unique_names;
    bool remote_time;
    bool allow_hidden;
    char *default_directory; /* absolute or ~/... */
    mode_t umask;
    struct settings_list host_names;
    struct settings_list deny_networks; /* each is one (core/address.h) */
    char *ca_file; /* NULL: the system's */
    char *known_hosts;
    char *proxy; /* NULL: none */
    char *user_agent;
    enum log_level log_level;

    /* settings.c only */
    unsigned layer;
    uint8_t sources[SETTINGS_KEYS_MAX]; /* the layer of each key's value */
};

enum settings_source {
    SETTINGS_DEFAULT,
    SETTINGS_FILE,
    SETTINGS_COMMAND_LINE,
};

struct settings_key {
    const char *name; /* as in the file and, with "--", on the command line */
    const char *expects; /* what a value looks like, for messages and --help */
    const char *help; /* one line */
    /* As it would be written in the file; in parentheses: a description of what is worked out
     * elsewhere, or of what is not a value. */
    const char *by_default;
    bool repeatable; /* each line adds one; several on a line are separated by commas */
    bool on_reload; /* SIGHUP applies it */
    bool secret; /* a value may hold a password: no message shows it */

    /* settings.c only */
    int (*set)(const struct settings_key *key, struct settings *settings, const char *value,
               char message[static 256]);
    size_t offset; /* of the field */
    int64_t min, max; /* numbers, modes, milliseconds, or the length of a path */
};

/* All keys, in the order of the manual page. */
const struct settings_key *settings_keys(size_t *ret_count);

/* Every key at its default, all lists weak; umask from UMASK in `login_defs` (a path,
 * /etc/login.defs), else 022. 0 or -ENOMEM. */
int settings_init(struct settings *settings, const char *login_defs);
void settings_release(struct settings *settings);

/*
 * One key from text. On failure `message` (256 bytes) says what was expected and the setting is as
 * it was. 0, -ENOENT (no such key), -EINVAL or -ENOMEM. In a repeatable key the first settings_set
 * after settings_new_layer replaces what an earlier layer said; `none` (allow-users: `all`)
 * empties it.
 */
int settings_set(struct settings *settings, const char *key, const char *value,
                 char message[static 256]);

/*
 * Reads `key = value` lines ('#' starts a comment at the start of a line, or after white space). A
 * missing file is fine when `may_be_missing`. On a problem `message` gets one line with file, line
 * and what was expected, and a negative errno returns; `settings` is then half changed: release it.
 */
int settings_read_file(struct settings *settings, const char *path, bool may_be_missing,
                       char message[static 512]);

/* Whether an item of `listen` is an address that only this machine reaches. */
bool settings_is_loopback(const char *listen);

/* What one key cannot tell by itself: listeners that other machines reach have TLS, or are allowed
 * to go without; tls-cert and tls-key come together. 0, or -EINVAL and one line. */
int settings_check(const struct settings *settings, char message[static 512]);

/* Where the value of a key came from, by the layers of this service: defaults, file, command line. */
enum settings_source settings_source(const struct settings *settings, const char *key);

/* What follows is a stronger layer (the command line over the file): its first value of a
 * repeatable key replaces the list. */
void settings_new_layer(struct settings *settings);
