/*
 * For the end to end tests: starts the real programs as processes of their own, talks to them as
 * people do, and waits for conditions, never for time alone. What goes wrong in here fails the test
 * that called (Check's ck_abort), so that a test reads as a list of steps.
 *
 * The programs come from $AUTODL_BUILD (else the current directory) and are copied, so that other
 * users can run them too. When root runs the tests, service and clients are uid 65534.
 */
#pragma once

#include <check.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/cleanup.h"

struct identity {
    const char *name;
    uid_t uid;
    gid_t gid;
};

/* Runs the suite over a temporary directory (mode 0755) that is removed afterwards, with every
 * process that is left; prints the logs of services whose test failed. For `return` in main. */
int harness_main(Suite *suite);
/* Before harness_main: says in TAP that all is skipped, and why. For `return` in main. */
int harness_skip(const char *why);
/* The same directory; made by the first call. */
const char *harness_dir(void);
/* Who runs the service in user mode, and asks when a test names nobody. */
const struct identity *harness_user(void);
/* Milliseconds of a clock that never goes back. */
int64_t harness_now(void);
/* Waits until `condition` is true; fails the test after `timeout` ms, saying what was awaited. */
void wait_until(bool (*condition)(void *data), void *data, int timeout, const char *what);
/* printf to a string that lives as long as the test. */
const char *textf(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* --- files --- */

bool file_exists(const char *path);
void file_write(const char *path, const char *content); /* owned by harness_user() */
/* NUL-terminated; the caller frees it. */
char *file_read(const char *path);
/* A new directory of harness_user() in the service's home. */
struct service;
const char *make_directory(const struct service *service, const char *name);
/* How many names are in it (0: it is not there); with `suffix`: that end so. */
unsigned count_names(const char *directory, const char *suffix);
/* Removes it with all it holds; a missing one is fine. */
void remove_tree(const char *path);

/* --- processes --- */

/* Waits for a child, at most `timeout` ms (then it is killed and the test fails). Its exit status,
 * or -SIGNAL. */
int wait_exit(pid_t pid, int timeout);
/* Waits until the process, anybody's child, is gone; fails the test after `timeout` ms. */
void wait_gone(pid_t pid, int timeout);
/* Its /proc status line without the name ("Uid" gives "0\t0\t0\t0"); lives as long as the test. */
const char *process_status(pid_t pid, const char *field);

/* --- a service --- */

struct service {
    const char *dir; /* the test's own: home, run, state, config, log */
    const char *home;
    const char *config; /* autodl.conf, not there at first */
    const char *socket;
    const char *log; /* its standard error, of all starts */
    const char *notify; /* the socket that it says READY to */
    bool system_mode; /* started as root, as _autodl; set before the start */
    unsigned file_limit; /* its RLIMIT_NOFILE, 0: the test's own; set before the start */
    const char *boot_id; /* set before the start; NULL: the machine's */
    unsigned watchdog; /* ms, as systemd would say it; set before the start, 0: none */

    pid_t monitor; /* 0: not running */
    unsigned port; /* on 127.0.0.1 */
    bool ready, stopping; /* said to systemd */
    unsigned alive; /* how often it said so */
    int notify_fd;
    off_t log_start; /* where this start's lines begin */
};

/* Makes its directories; nothing runs yet. */
void service_init(struct service *service);
/* Starts autodl-service with these options (strings, ended by NULL) and, unless one of them is
 * --listen, `--listen 127.0.0.1:0`; returns when it is ready. */
void service_start(struct service *service, ...) __attribute__((sentinel));
/* The same for a start that must fail; its exit status. */
int service_start_failing(struct service *service, ...) __attribute__((sentinel));
/* SIGTERM; it must say STOPPING and exit with 0 in time (10 s). How many ms it took. */
int64_t service_stop(struct service *service);
/* kill -9 of the monitor and all that it started. */
void service_kill_all(struct service *service);
/* kill -9 of one process of it. */
void service_kill(pid_t pid);
/* The exit status of a monitor that ends without our asking, or -SIGNAL. */
int service_wait(struct service *service, int timeout);
/* Stops what runs, removes its directory. */
void service_release(struct service *service);
/* Waits until it has said to the watchdog that it is alive, so many times from now. */
void service_wait_alive(struct service *service, unsigned times, int timeout);
/* How often it says so in that time. */
unsigned service_heard_alive(struct service *service, int while_ms);
/* Waits for a line of this start's log that holds `text`. */
void service_wait_log(struct service *service, const char *text, int timeout);
/* The process that meets the network. */
pid_t service_process(const struct service *service);
/* How much memory that has, in KiB: VmRSS. */
long service_memory(const struct service *service);
/* Filers of a user (or of all: (uid_t)-1); how many were put into `pids`. */
unsigned service_filers(const struct service *service, uid_t uid, pid_t *pids, unsigned max);

/* --- the command line --- */

struct output {
    int status;
    char *out;
    char *err;
};

/* Runs autodl with --socket and these arguments (ended by NULL). `who` NULL: harness_user(). */
void cli_as(const struct service *service, const struct identity *who, struct output *output, ...)
    __attribute__((sentinel));
#define cli(service, output, ...) cli_as(service, NULL, output, __VA_ARGS__)
void output_release(struct output *output);
#define _cleanup_output_ _cleanup_(output_release)

/* --- raw HTTP --- */

struct answer {
    int status; /* 0: closed without an answer */
    char *head; /* status line and headers, each line ended by \r\n */
    char *body;
    size_t body_length;
};

/* Connected, made by `who` (NULL: harness_user()) as far as the kernel is concerned. */
int connect_tcp(unsigned port, const struct identity *who);
int connect_unix(const char *path, const struct identity *who);
/* Sends the bytes (a peer that stops reading is fine), reads one answer, closes `fd`. */
void http_exchange(int fd, const void *bytes, size_t len, struct answer *ret_answer);
/* A request with Host: localhost, Connection: close and these headers ("Name: value\r\n"...; NULL:
 * none); a body (NULL: none) comes with its Content-Length, urlencoded unless the headers say a
 * Content-Type. Lives as long as the test. */
const char *http_request_text(const char *method, const char *target, const char *headers,
                              const char *body);
void http_unix(const struct service *service, const struct identity *who, const char *request,
               struct answer *ret_answer);
void http_tcp(const struct service *service, const struct identity *who, const char *request,
              struct answer *ret_answer);
/* "Authorization: Basic ...\r\n"; lives as long as the test. */
const char *http_basic(const char *user, const char *password);
/* The value of a header, or NULL; lives as long as the test. */
const char *answer_header(const struct answer *answer, const char *name);
/* The string under this key of the JSON body, or NULL; lives as long as the test. */
const char *answer_string(const struct answer *answer, const char *key);
void answer_release(struct answer *answer);
#define _cleanup_answer_ _cleanup_(answer_release)

/* --- tasks --- */

struct task_view {
    char id[40];
    char status[16];
    double duration;
    char *url;
    char *dest;
};

void task_view_release(struct task_view *view);
#define _cleanup_view_ _cleanup_(task_view_release)
/* From the body of a classic answer: {"task": "{...}"}. */
void task_parse(const char *body, struct task_view *ret_view);
/* POST /add over the unix socket; `directory` NULL: the default. The HTTP status; the view is set
 * with 200 only. */
int add_task(const struct service *service, const struct identity *who, const char *url,
             const char *directory, struct task_view *ret_view);
/* GET /status over the unix socket; the HTTP status. */
int get_task(const struct service *service, const struct identity *who, const char *id,
             struct task_view *ret_view);
/* Waits until the task is in this state; fails at once when it ended in another. */
void wait_state(const struct service *service, const struct identity *who, const char *id,
                const char *state, int timeout);
/* The text of /stats; the caller frees it. */
char *read_stats(const struct service *service);
/* One number of /stats: a state, or a key of "downloader"; absent: 0. */
long read_count(const struct service *service, const char *key);
void wait_count(const struct service *service, const char *key, long number, int timeout);
/* A verb with a success of no interest: "POST", "/pause?seconds=2". */
void call(const struct service *service, const struct identity *who, const char *method,
          const char *target);
