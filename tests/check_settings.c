#include <config.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/settings.h"
#include "tap.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static struct settings settings;
static char directory[] = "/tmp/check_settings-XXXXXX";
static char path[sizeof(directory) + 5];

static void set_up(void)
{
    ck_assert_ptr_nonnull(mkdtemp(directory));
    snprintf(path, sizeof(path), "%s/conf", directory);
    ck_assert_int_eq(settings_init(&settings, "/nonexistent"), 0);
}

static void tear_down(void)
{
    settings_release(&settings);
    unlink(path);
    rmdir(directory);
}

static void write_file(const char *data, size_t len)
{
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(data, 1, len, file), len);
    ck_assert_int_eq(fclose(file), 0);
}

static void reads(const char *text)
{
    char message[512] = "";
    write_file(text, strlen(text));
    int r = settings_read_file(&settings, path, false, message);
    ck_assert_msg(r == 0, "%d: %s", r, message);
}

/* The message, without the directory, must be exactly this. */
static void fails_bytes(const char *data, size_t len, const char *expected)
{
    char message[512] = "";
    write_file(data, len);
    ck_assert_int_eq(settings_read_file(&settings, path, false, message), -EINVAL);
    ck_assert_mem_eq(message, path, strlen(path));
    ck_assert_str_eq(message + strlen(path), expected);
}

static void fails(const char *text, const char *expected)
{
    fails_bytes(text, strlen(text), expected);
}

static void takes(const char *key, const char *value)
{
    char message[256] = "";
    int r = settings_set(&settings, key, value, message);
    ck_assert_msg(r == 0, "%s = %s: %d: %s", key, value, r, message);
    ck_assert_str_eq(message, "");
}

static void refuses(const char *key, const char *value)
{
    char message[256] = "";
    int r = settings_set(&settings, key, value, message);
    ck_assert_msg(r == -EINVAL, "%s = %s: %d", key, value, r);
    ck_assert_msg(strstr(message, "expected ") || strstr(message, "the IPv4 address"), "%s",
                  message);
}

START_TEST(defaults)
{
    ck_assert_uint_eq(settings.max_tasks_num, 10);
    ck_assert_uint_eq(settings.max_per_host, 16);
    ck_assert_uint_eq(settings.max_ranges, 16);
    ck_assert_uint_eq(settings.listen.count, 2);
    ck_assert_str_eq(settings.listen.items[0], "127.0.0.1:6736");
    ck_assert_str_eq(settings.listen.items[1], "[::1]:6736");
    ck_assert(!settings.listen_set);
    ck_assert_ptr_null(settings.tls_cert);
    ck_assert_ptr_null(settings.tls_key);
    ck_assert(!settings.allow_plain_http);
    ck_assert_ptr_null(settings.socket);
    ck_assert_uint_eq(settings.socket_mode, 0666);
    ck_assert_ptr_null(settings.state_dir);
    ck_assert_str_eq(settings.run_as, "_autodl");
    ck_assert_uint_eq(settings.first_uid, 1000);
    ck_assert_uint_eq(settings.allow_users.count, 0);
    ck_assert_str_eq(settings.operators, "autodl");
    ck_assert_uint_eq(settings.auth, SETTINGS_AUTH_PEER | SETTINGS_AUTH_PAM);
    ck_assert_int_eq(settings.connect_timeout, 30000);
    ck_assert_int_eq(settings.stall_timeout, 60000);
    ck_assert_uint_eq(settings.retries, 8);
    ck_assert_int_eq(settings.retry_wait, 1000);
    ck_assert_int_eq(settings.retry_max_wait, 600000);
    ck_assert_int_eq(settings.min_free, -1);
    ck_assert_int_eq(settings.max_file_size, 0);
    ck_assert_int_eq(settings.durability, DURABILITY_BATCH);
    ck_assert_int_eq(settings.keep_history, INT64_C(30) * 86400 * 1000);
    ck_assert_uint_eq(settings.keep_history_count, 100000);
    ck_assert(!settings.unique_names);
    ck_assert(!settings.remote_time);
    ck_assert(!settings.allow_hidden);
    ck_assert_str_eq(settings.default_directory, "~/autodl-storage");
    ck_assert_uint_eq(settings.umask, 022);
    ck_assert_uint_eq(settings.host_names.count, 0);
    ck_assert_uint_eq(settings.deny_networks.count, 0);
    ck_assert_str_eq(settings.known_hosts, "/etc/ssh/ssh_known_hosts");
    ck_assert_ptr_null(settings.ca_file);
    ck_assert_ptr_null(settings.proxy);
    ck_assert_str_eq(settings.user_agent, "autodl/" PACKAGE_VERSION);
    ck_assert_int_eq(settings.log_level, LOG_LEVEL_INFO);
}
END_TEST

START_TEST(every_key_is_set_from_a_file)
{
    reads("# all of them\n"
          "max-tasks-num = 1000\n"
          "listen = 127.0.0.1:0\n"
          "tls-cert = /etc/ssl/certs/a b.pem\n"
          "tls-key = /etc/ssl/private/a.pem\n"
          "allow-plain-http = yes\n"
          "socket = /run/x.sock\n"
          "socket-mode = 0660\n"
          "state-dir = /srv/autodl\n"
          "run-as = nobody\n"
          "first-uid = 500\n"
          "allow-users = alice, bob\n"
          "allow-users = carol\n"
          "operators = adm\n"
          "auth = pam\n"
          "connect-timeout = 500ms\n"
          "stall-timeout = 2m\n"
          "retries = 0\n"
          "retry-wait = 100ms\n"
          "retry-max-wait = 1h\n"
          "min-free = 2G\n"
          "max-file-size = 1T\n"
          "rate-limit = 2M\n"
          "max-waiting-per-user = 5000\n"
          "max-per-host = 1000\n"
          "max-ranges = 64\n"
          "durability = each\n"
          "keep-history = 7d, 500\n"
          "unique-names = yes\n"
          "remote-time = yes\n"
          "allow-hidden = on\n"
          "default-directory = /srv/downloads\n"
          "umask = 077\n"
          "host-names = dl.lan,dl.example.org\n"
          "deny-networks = 10.0.0.0/8, 2001:db8::/32\n"
          "deny-networks = 192.0.2.7\n"
          "known-hosts = /etc/autodl/known_hosts\n"
          "ca-file = /etc/ssl/ours.pem\n"
          "proxy = socks5h://proxy.lan:1080\n"
          "user-agent = Mozilla/5.0 (autodl)\n"
          "log-level = debug\n");
    ck_assert_uint_eq(settings.max_tasks_num, 1000);
    ck_assert_uint_eq(settings.listen.count, 1);
    ck_assert_str_eq(settings.listen.items[0], "127.0.0.1:0");
    ck_assert(settings.listen_set);
    ck_assert_str_eq(settings.tls_cert, "/etc/ssl/certs/a b.pem");
    ck_assert_str_eq(settings.tls_key, "/etc/ssl/private/a.pem");
    ck_assert(settings.allow_plain_http);
    ck_assert_str_eq(settings.socket, "/run/x.sock");
    ck_assert_uint_eq(settings.socket_mode, 0660);
    ck_assert_str_eq(settings.state_dir, "/srv/autodl");
    ck_assert_str_eq(settings.run_as, "nobody");
    ck_assert_uint_eq(settings.first_uid, 500);
    ck_assert_uint_eq(settings.allow_users.count, 3);
    ck_assert_str_eq(settings.allow_users.items[0], "alice");
    ck_assert_str_eq(settings.allow_users.items[1], "bob");
    ck_assert_str_eq(settings.allow_users.items[2], "carol");
    ck_assert_str_eq(settings.operators, "adm");
    ck_assert_uint_eq(settings.auth, SETTINGS_AUTH_PAM);
    ck_assert_int_eq(settings.connect_timeout, 500);
    ck_assert_int_eq(settings.stall_timeout, 120000);
    ck_assert_uint_eq(settings.retries, 0);
    ck_assert_int_eq(settings.retry_wait, 100);
    ck_assert_int_eq(settings.retry_max_wait, 3600000);
    ck_assert_int_eq(settings.min_free, INT64_C(2) << 30);
    ck_assert_int_eq(settings.max_file_size, INT64_C(1) << 40);
    ck_assert_int_eq(settings.rate_limit, 2 << 20);
    ck_assert_uint_eq(settings.max_waiting_per_user, 5000);
    ck_assert_uint_eq(settings.max_per_host, 1000);
    ck_assert_uint_eq(settings.max_ranges, 64);
    ck_assert_int_eq(settings.durability, DURABILITY_EACH);
    ck_assert_int_eq(settings.keep_history, INT64_C(7) * 86400 * 1000);
    ck_assert_uint_eq(settings.keep_history_count, 500);
    ck_assert(settings.unique_names);
    ck_assert(settings.remote_time);
    ck_assert(settings.allow_hidden);
    ck_assert_str_eq(settings.default_directory, "/srv/downloads");
    ck_assert_uint_eq(settings.umask, 077);
    ck_assert_uint_eq(settings.host_names.count, 2);
    ck_assert_str_eq(settings.host_names.items[1], "dl.example.org");
    ck_assert_uint_eq(settings.deny_networks.count, 3);
    ck_assert_str_eq(settings.deny_networks.items[2], "192.0.2.7");
    ck_assert_str_eq(settings.known_hosts, "/etc/autodl/known_hosts");
    ck_assert_str_eq(settings.ca_file, "/etc/ssl/ours.pem");
    ck_assert_str_eq(settings.proxy, "socks5h://proxy.lan:1080");
    ck_assert_str_eq(settings.user_agent, "Mozilla/5.0 (autodl)");
    ck_assert_int_eq(settings.log_level, LOG_LEVEL_DEBUG);
}
END_TEST

START_TEST(lines_as_people_write_them)
{
    reads("\n"
          "   # an indented comment\n"
          "\tmax-tasks-num=3\t\r\n"
          "user-agent =  a#b = c  # a comment\r\n"
          "default-directory = ~/caf\xc3\xa9 au lait\r\n"
          "#max-tasks-num = 4\n"
          " \t \r\n"
          "host-names = last.line.without.end");
    ck_assert_uint_eq(settings.max_tasks_num, 3);
    ck_assert_str_eq(settings.user_agent, "a#b = c");
    ck_assert_str_eq(settings.default_directory, "~/caf\xc3\xa9 au lait");
    ck_assert_str_eq(settings.host_names.items[0], "last.line.without.end");
    reads("");
    ck_assert_uint_eq(settings.max_tasks_num, 3);
}
END_TEST

START_TEST(the_last_line_of_a_key_wins)
{
    reads("max-tasks-num = 3\nmax-tasks-num = 4\nproxy = http://a\nproxy = none\n");
    ck_assert_uint_eq(settings.max_tasks_num, 4);
    ck_assert_ptr_null(settings.proxy);
}
END_TEST

START_TEST(errors_name_file_line_and_what_was_expected)
{
    fails("max-tasks-num = abc\n", ":1: max-tasks-num = abc: expected a number from 1 to 1000");
    fails("\n\nmax-tasks-num = 0\n", ":3: max-tasks-num = 0: expected a number from 1 to 1000");
    fails("max-tasks-num = 1001", ":1: max-tasks-num = 1001: expected a number from 1 to 1000");
    fails("max-tasks-num =\n", ":1: max-tasks-num = : expected a number from 1 to 1000");
    fails("ca-file = # none\n", ":1: ca-file = : expected an absolute path");
    fails("max-tasks-num 5\n", ":1: expected key = value");
    fails("[section]\n", ":1: expected key = value");
    fails("# x\n= 5\n", ":2: expected key = value");
    fails("max_tasks_num = 5\n", ":1: there is no key max_tasks_num; did you mean max-tasks-num?");
    fails("umaks = 022\n", ":1: there is no key umaks; did you mean umask?");
    fails("something = else\n", ":1: there is no key something");
    fails("listen = [::ffff:192.0.2.1]:6736\n",
          ":1: listen = [::ffff:192.0.2.1]:6736: write it as the IPv4 address that it is");
    fails("proxy = alice:secret@proxy.lan\n",
          ":1: proxy: expected an http, https or socks URL, such as http://proxy.example.org:3128, "
          "or none");
    fails("log-level = info\nuser-agent = caf\xe9\n", ":2: this line is not valid UTF-8");
    fails_bytes("umask = 022\n# a\0b\n", 18, ":2: there is a NUL byte in this line");
    fails_bytes("\0", 1, ":1: there is a NUL byte in this line");
}
END_TEST

START_TEST(long_lines)
{
    static char line[70000], message[512];
    int prefix;
    for (size_t len = 65534; len <= 65538; len++) {
        prefix = snprintf(line, sizeof(line), "user-agent = ");
        memset(line + prefix, 'u', len - (size_t)prefix);
        line[len] = '\n';
        write_file(line, len + 1);
        int r = settings_read_file(&settings, path, false, message);
        ck_assert_int_eq(r, len <= 65536 ? 0 : -EMSGSIZE);
        if (r == 0)
            ck_assert_uint_eq(strlen(settings.user_agent), len - (size_t)prefix);
        else
            ck_assert_str_eq(message + strlen(path), ":1: this line is longer than 64 KiB");
    }

    memset(line, 'k', 300);
    memset(line + 300, 'v', 60000);
    line[150] = '=';
    line[60300] = '\n';
    write_file(line, 60301);
    ck_assert_int_eq(settings_read_file(&settings, path, false, message), -EINVAL);
    ck_assert_ptr_nonnull(strstr(message, ":1: there is no key kkk"));
    prefix = snprintf(line, sizeof(line), "umask = ");
    memset(line + prefix, '7', 60000);
    write_file(line, 60000);
    ck_assert_int_eq(settings_read_file(&settings, path, false, message), -EINVAL);
    ck_assert_ptr_nonnull(strstr(message, ": expected an octal mode from 0 to 0777"));
}
END_TEST

START_TEST(files_that_cannot_be_read)
{
    char message[512] = "";
    ck_assert_int_eq(settings_read_file(&settings, path, true, message), 0);
    ck_assert_int_eq(settings_read_file(&settings, path, false, message), -ENOENT);
    ck_assert_mem_eq(message, path, strlen(path));
    ck_assert_str_eq(message + strlen(path), ": cannot be read: No such file or directory");
    ck_assert_int_eq(settings_read_file(&settings, directory, true, message), -EISDIR);
    ck_assert_ptr_nonnull(strstr(message, "cannot be read: Is a directory"));
}
END_TEST

START_TEST(values_that_are_refused)
{
    static const struct {
        const char *key;
        const char *values[12];
    } cases[] = {
        {"max-tasks-num",        {"-1", "+1", "1.5", "1 ", "0x10", "99999999999999999999"}},
        {"listen",
         {"localhost:6736", "127.0.0.1", ":6736", "6736", "127.0.0.1:65536",
          "127.0.0.1:", "::1:6736", "[::1]", "[::1:6736", "[::1]x:6736", "[127.0.0.1]:1"} },
        {"listen",
         {"[::ffff:127.0.0.1]:1", "[]:1", "127.0.0.1:1,", "127.0.0.1:1,none", "127.1:1",
          "10.0.0.256:1", "[%lo]:1", "10.0.0.1%lo:1", "fe80::1:1"}                        },
        {"tls-cert",             {"cert.pem", "~/cert.pem", "none"}                       },
        {"tls-key",              {"key.pem"}                                              },
        {"allow-plain-http",     {"maybe"}                                                },
        {"socket",               {"autodl.sock", "~/autodl.sock", "./x"}                  },
        {"socket-mode",          {"888", "01000", "rw", "-1", "0o66"}                     },
        {"state-dir",            {"relative", "~/state", "none"}                          },
        {"run-as",               {"a b", "-x", "a:b", "a/b"}                              },
        {"first-uid",            {"0", "4294967295", "-1"}                                },
        {"allow-users",          {"none", ",", "a,,b", "a b", "a,", "-a"}                 },
        {"operators",            {"a b", "a,b"}                                           },
        {"auth",                 {"none", "peer pam", "peer,", ",pam", "peer,,pam", "PAM"}},
        {"connect-timeout",      {"0", "0s", "soon", "2d", "-1s", "1.5s"}                 },
        {"stall-timeout",        {"0ms", "off"}                                           },
        {"retries",              {"-1", "1001", "off"}                                    },
        {"retry-wait",           {"0", "2d", "soon", "off"}                               },
        {"retry-max-wait",       {"0", "25h", "off"}                                      },
        {"min-free",             {"-1", "1%", "5X", "Auto", "1.5G", "9999999999999999999"}},
        {"max-file-size",        {"0", "-1", "none", "auto", "1 G"}                       },
        {"rate-limit",           {"0", "-1", "none", "2M/s"}                              },
        {"max-per-host",         {"0", "-1", "off", "1001"}                               },
        {"max-ranges",           {"0", "-1", "off", "65"}                                 },
        {"max-waiting-per-user", {"0", "-1", "off", "1K", "1000000001"}                   },
        {"durability",           {"Batch", "0", "all", "batch,each"}                      },
        {"keep-history",
         {"off", ",", "30d,", ",5", "30d,40d", "5,6", "30d,5,6", "-1", "1000000001", "0d", "30d 5",
          "99999999999999999999d"}                                                        },
        {"unique-names",         {"maybe", "YES", "2"}                                    },
        {"remote-time",          {"maybe", "YES", "2"}                                    },
        {"default-directory",    {"downloads", "~", "~alice/x", "./x", "$HOME/x"}         },
        {"umask",                {"8", "1777", "u=rwx"}                                   },
        {"host-names",           {"a b", "http://a", "a,,b"}                              },
        {"deny-networks",
         {"10", "10.0.0.0/33", "10.0.0.1/8", "::/129", "localhost", "10.0.0.0/8,", "[::1]",
          "fe80::%eth0/64", "10.0.0.0/8 192.168.0.0/16"}                                  },
        {"known-hosts",          {"known_hosts", "~/.ssh/known_hosts"}                    },
        {"ca-file",              {"ours.pem"}                                             },
        {"proxy",                {"proxy.lan", "ftp://proxy.lan", "http://", "http://a b"}},
        {"user-agent",           {"a\r\nCookie: x", "\x7f", "a\tb"}                       },
        {"log-level",            {"verbose", "7", "Info"}                                 },
    };
    size_t count;
    const struct settings_key *keys = settings_keys(&count);
    for (size_t i = 0; i < count; i++)
        refuses(keys[i].name, "");
    for (size_t i = 0; i < COUNT(cases); i++)
        for (size_t v = 0; v < COUNT(cases[i].values) && cases[i].values[v]; v++)
            refuses(cases[i].key, cases[i].values[v]);

    static char text[5000];
    memset(text, '/', sizeof(text) - 1);
    refuses("state-dir", text);
    refuses("ca-file", text);
    text[0] = '~';
    refuses("default-directory", text);
    memset(text, '/', 108);
    text[108] = '\0';
    refuses("socket", text);
    text[107] = '\0';
    takes("socket", text);
}
END_TEST

static void history_is(const char *value, int64_t ms, uint64_t count)
{
    takes("keep-history", value);
    ck_assert_int_eq(settings.keep_history, ms);
    ck_assert_uint_eq(settings.keep_history_count, count);
}

START_TEST(history_by_time_and_number)
{
    history_is("12h", 43200000, UINT64_MAX);
    history_is("0", INT64_MAX, 0); /* a number without a unit is never a duration here */
    history_is("30", INT64_MAX, 30);
    history_is("1000000000,1ms", 1, 1000000000);
    history_is(" 1d ,  7 ", 86400000, 7);
    refuses("keep-history", "1h,x");
    ck_assert_int_eq(settings.keep_history, 86400000);
    ck_assert_uint_eq(settings.keep_history_count, 7);
}
END_TEST

START_TEST(sizes_and_words)
{
    static const struct {
        const char *text;
        enum settings_durability value;
    } words[] = {
        {"none",  DURABILITY_NONE },
        {"each",  DURABILITY_EACH },
        {"batch", DURABILITY_BATCH}
    };
    for (size_t i = 0; i < COUNT(words); i++) {
        takes("durability", words[i].text);
        ck_assert_int_eq(settings.durability, words[i].value);
    }
    takes("min-free", "off");
    ck_assert_int_eq(settings.min_free, 0);
    takes("min-free", "64K");
    ck_assert_int_eq(settings.min_free, 65536);
    takes("min-free", "auto");
    ck_assert_int_eq(settings.min_free, -1);
    takes("max-file-size", "1");
    ck_assert_int_eq(settings.max_file_size, 1);
    takes("max-file-size", "off");
    ck_assert_int_eq(settings.max_file_size, 0);
    takes("rate-limit", "1500");
    ck_assert_int_eq(settings.rate_limit, 1500);
    takes("rate-limit", "off");
    ck_assert_int_eq(settings.rate_limit, 0);
}
END_TEST

START_TEST(a_refused_value_changes_nothing)
{
    takes("listen", "127.0.0.1:1");
    refuses("listen", "127.0.0.1:2, 127.0.0.1");
    ck_assert_uint_eq(settings.listen.count, 1);
    refuses("max-tasks-num", "0");
    ck_assert_uint_eq(settings.max_tasks_num, 10);
    settings_new_layer(&settings);
    refuses("listen", "[::1]:2,192.0.2.1");
    ck_assert_uint_eq(settings.listen.count, 1);
    takes("listen", "[::1]:3");
    ck_assert_uint_eq(settings.listen.count, 1);
    ck_assert_str_eq(settings.listen.items[0], "[::1]:3");
}
END_TEST

START_TEST(a_stronger_layer_replaces_lists)
{
    reads("listen = 127.0.0.1:1\nlisten = 127.0.0.2:2\nallow-users = alice\n");
    ck_assert_uint_eq(settings.listen.count, 2);
    settings_new_layer(&settings);
    takes("listen", "[::1]:3");
    takes("listen", "[0:0:0:0:0:0:0:1]:4, 127.255.0.1:0");
    ck_assert_uint_eq(settings.listen.count, 3);
    ck_assert_str_eq(settings.listen.items[0], "[::1]:3");
    ck_assert_str_eq(settings.listen.items[2], "127.255.0.1:0");
    ck_assert_uint_eq(settings.allow_users.count, 1);
    takes("allow-users", "all");
    ck_assert_uint_eq(settings.allow_users.count, 0);
}
END_TEST

START_TEST(none_empties)
{
    takes("listen", "none");
    ck_assert_uint_eq(settings.listen.count, 0);
    ck_assert(settings.listen_set);
    takes("listen", "127.0.0.1:5");
    ck_assert_uint_eq(settings.listen.count, 1);
    takes("listen", "none");
    ck_assert_uint_eq(settings.listen.count, 0);
    takes("socket", "none");
    ck_assert_str_eq(settings.socket, "");
    takes("host-names", "a.lan");
    takes("host-names", "none");
    ck_assert_uint_eq(settings.host_names.count, 0);
    takes("deny-networks", "10.0.0.0/8");
    takes("deny-networks", "none");
    ck_assert_uint_eq(settings.deny_networks.count, 0);
}
END_TEST

START_TEST(which_addresses_other_machines_reach)
{
    static const struct {
        const char *listen;
        bool loopback;
    } cases[] = {
        {"127.0.0.1:6736",        true },
        {"127.255.0.1:0",         true },
        {"[::1]:6736",            true },
        {"[0:0:0:0:0:0:0:1]:1",   true },
        {"0.0.0.0:6736",          false},
        {"[::]:6736",             false},
        {"128.0.0.1:1",           false},
        {"10.0.0.1:1",            false},
        {"192.0.2.1:6736",        false},
        {"[2001:db8::1]:6736",    false},
        {"[fe80::1%eth0]:6736",   false},
        {"[::7f00:1]:6736",       false},
        {"[64:ff9b::7f00:1]:443", false},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        takes("listen", cases[i].listen);
        ck_assert_msg(settings_is_loopback(cases[i].listen) == cases[i].loopback, "%s",
                      cases[i].listen);
    }
}
END_TEST

/* What settings_check says of these lines; NULL: nothing. */
static void checks(const char *text, const char *expected)
{
    char message[512] = "";
    settings_release(&settings);
    ck_assert_int_eq(settings_init(&settings, "/nonexistent"), 0);
    reads(text);
    ck_assert_msg(settings_check(&settings, message) == (expected ? -EINVAL : 0), "%s", text);
    ck_assert_msg(strncmp(message, expected ? expected : "", strlen(expected ? expected : "")) == 0,
                  "%s: %s", text, message);
}

START_TEST(other_machines_need_tls)
{
    const char *pair = "tls-cert = /c\ntls-key = /k\n";
    const char *refusal = "listen = 192.0.2.1:6736: other machines reach that address, so it needs "
                          "TLS: set tls-cert and tls-key (autodl-service --make-cert /etc/autodl";
    char text[256];
    checks("", NULL);
    checks("listen = none\n", NULL);
    checks("listen = 127.0.0.1:1, [::1]:1\n", NULL);
    checks("listen = 192.0.2.1:6736\n", refusal);
    checks("listen = 127.0.0.1:1, 192.0.2.1:6736\n", refusal);
    checks("listen = 192.0.2.1:6736\nallow-plain-http = no\n", refusal);
    checks("listen = 192.0.2.1:6736\nallow-plain-http = yes\n", NULL);
    checks("listen = 0.0.0.0:6736\n", "listen = 0.0.0.0:6736: other machines");
    checks("listen = [::]:6736\n", "listen = [::]:6736: other machines");
    checks(pair, NULL);
    snprintf(text, sizeof(text), "%slisten = 192.0.2.1:6736\n", pair);
    checks(text, NULL);
    checks("tls-cert = /c\n", "tls-cert and tls-key go together; tls-key is missing");
    checks("tls-key = /k\nlisten = 192.0.2.1:6736\nallow-plain-http = yes\n",
           "tls-cert and tls-key go together; tls-cert is missing");
}
END_TEST

START_TEST(umask_is_that_of_login_defs)
{
    static const struct {
        const char *text;
        mode_t mask;
    } cases[] = {
        {"",                                                 022},
        {"UMASK 027\n",                                      027},
        {"# UMASK 077\n\tUMASK\t\t002 \n",                   02 },
        {"UMASK 077 # private\n",                            077},
        {"UMASK\n",                                          022},
        {"UMASK abc\n",                                      022},
        {"UMASK 7777\n",                                     022},
        {"USERGROUPS_ENAB yes\nHOME_MODE 0700\nUMASK 007\n", 07 },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct settings other;
        write_file(cases[i].text, strlen(cases[i].text));
        ck_assert_int_eq(settings_init(&other, path), 0);
        ck_assert_msg(other.umask == cases[i].mask, "%s: 0%o", cases[i].text, other.umask);
        settings_release(&other);
    }
}
END_TEST

START_TEST(the_table_is_whole)
{
    size_t count;
    const struct settings_key *keys = settings_keys(&count);
    ck_assert_uint_eq(count, 38);
    for (size_t i = 0; i < count; i++) {
        ck_assert(keys[i].name && keys[i].expects && keys[i].help && keys[i].by_default);
        bool listener = strcmp(keys[i].name, "listen") == 0 ||
                        strncmp(keys[i].name, "socket", strlen("socket")) == 0;
        bool fixed = listener || strcmp(keys[i].name, "state-dir") == 0 ||
                     strcmp(keys[i].name, "run-as") == 0;
        ck_assert_int_eq(keys[i].on_reload, !fixed);
        if (keys[i].by_default[0] != '(')
            takes(keys[i].name, keys[i].by_default);
        for (size_t j = 0; j < i; j++)
            ck_assert_str_ne(keys[i].name, keys[j].name);
    }
}
END_TEST

/* --- the file that is installed: every line of it is the default --- */

static char installed[16384];

static void read_installed(void)
{
    const char *build = getenv("AUTODL_BUILD");
    char name[4096];
    snprintf(name, sizeof(name), "%s/system/autodl.conf", build ? build : ".");
    FILE *file = fopen(name, "r");
    ck_assert_msg(file, "%s: %s", name, strerror(errno));
    size_t len = fread(installed, 1, sizeof(installed) - 1, file);
    ck_assert(len > 0 && len < sizeof(installed) - 1);
    installed[len] = '\0';
    ck_assert_int_eq(fclose(file), 0);
}

/* The value of the one line "#KEY = VALUE", or of the example "#   KEY = VALUE" where there is no
 * default; it ends with the line. */
static const char *installed_value(const struct settings_key *key)
{
    bool example = strcmp(key->by_default, "(none)") == 0;
    char begin[64];
    snprintf(begin, sizeof(begin), "\n#%s%s = ", example ? "   " : "", key->name);
    const char *line = strstr(installed, begin);
    ck_assert_msg(line, "system/autodl.conf.in has no line \"%s%s\"", begin + 1, key->by_default);
    ck_assert_msg(!strstr(line + 1, begin), "%s stands there twice", key->name);
    return line + strlen(begin);
}

START_TEST(the_installed_file_is_the_defaults)
{
    char fixed[512] = "";
    size_t count;
    const struct settings_key *keys = settings_keys(&count);
    read_installed();
    for (size_t i = 0; i < count; i++) {
        const char *value = installed_value(&keys[i]), *by_default = keys[i].by_default;
        size_t len = strcspn(value, "\n");
        if (by_default[0] != '(')
            ck_assert_msg(strncmp(value, by_default, len) == 0 && by_default[len] == '\0',
                          "%s = %.*s, but the default is %s", keys[i].name, (int)len, value,
                          by_default);
        if (!keys[i].on_reload)
            snprintf(fixed + strlen(fixed), sizeof(fixed) - strlen(fixed), "%s%s",
                     fixed[0] ? ", " : "", keys[i].name);
    }
    ck_assert_msg(strstr(installed, fixed), "it does not say what takes effect at a restart: %s",
                  fixed);

    for (char *c = installed; (c = strstr(c, "\n#")); c++)
        if (c[2] >= 'a' && c[2] <= 'z')
            memmove(c + 1, c + 2, strlen(c + 2) + 1); /* as an administrator does it */
    write_file(installed, strlen(installed));
    char message[512] = "";
    ck_assert_msg(settings_read_file(&settings, path, false, message) == 0, "%s", message);
    ck_assert(settings.min_free == -1 && settings.umask == 022);
    ck_assert_str_eq(settings.socket, "/run/autodl/autodl.sock");
    ck_assert_str_eq(settings.state_dir, "/var/lib/autodl");
}
END_TEST

static Suite *suite(void)
{
    Suite *suite = suite_create("settings");
    TCase *tcase = tcase_create("settings");
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, defaults);
    tcase_add_test(tcase, every_key_is_set_from_a_file);
    tcase_add_test(tcase, lines_as_people_write_them);
    tcase_add_test(tcase, the_last_line_of_a_key_wins);
    tcase_add_test(tcase, errors_name_file_line_and_what_was_expected);
    tcase_add_test(tcase, long_lines);
    tcase_add_test(tcase, files_that_cannot_be_read);
    tcase_add_test(tcase, values_that_are_refused);
    tcase_add_test(tcase, history_by_time_and_number);
    tcase_add_test(tcase, sizes_and_words);
    tcase_add_test(tcase, a_refused_value_changes_nothing);
    tcase_add_test(tcase, a_stronger_layer_replaces_lists);
    tcase_add_test(tcase, none_empties);
    tcase_add_test(tcase, which_addresses_other_machines_reach);
    tcase_add_test(tcase, other_machines_need_tls);
    tcase_add_test(tcase, umask_is_that_of_login_defs);
    tcase_add_test(tcase, the_table_is_whole);
    tcase_add_test(tcase, the_installed_file_is_the_defaults);
    suite_add_tcase(suite, tcase);
    return suite;
}

int main(void)
{
    return tap_main(suite());
}
