/*
 * Passwords, end to end: real accounts and PAM's own modules, in a mount namespace of our own with
 * its own /etc/passwd, group, shadow and pam.d. The stack is the one that is shipped, behind a
 * script that writes down who was asked about, and waits while a file is there.
 *
 * A connection that root makes is vouched for by nobody, as one from another machine.
 */
#include <arpa/inet.h>
#include <config.h>
#include <crypt.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/api.h"
#include "harness.h"
#include "privsep/monitor.h"
#include "privsep/privsep.h"

#define SOON        20000 /* ms */
#define DELAY       2000  /* ms until a wrong password is told */
#define PROMPT      5000  /* ms; nobody is in the way, the machine may be busy */
#define SERVICE_UID 951

#define RIGHT "correct-horse-battery"
#define WRONG "wrong-donkey-capacitor"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* `extra`: the fields of shadow(5) behind the password. */
static const struct person {
    const char *name;
    unsigned uid;
    const char *shell, *lock, *extra;
} people[] = {
    {"alice",    52001, "/bin/sh",           "",  "19000::::::"   },
    {"alias",    52001, "/bin/sh",           "",  "19000::::::"   }, /* alice's other name */
    {"bob",      52002, "/bin/sh",           "",  "19000::::::"   },
    {"carol",    52003, "/bin/sh",           "",  "19000::::::"   },
    {"dave",     52004, "/bin/sh",           "",  "19000::::::"   }, /* not in allow-users */
    {"expired",  52005, "/bin/sh",           "",  "19000:::::1:"  }, /* chage -E */
    {"locked",   52006, "/bin/sh",           "!", "19000::::::"   }, /* passwd -l */
    {"nologin",  52007, "/usr/sbin/nologin", "",  "19000::::::"   },
    {"outdated", 52008, "/bin/sh",           "",  "0:0:99999:7:::"}, /* has to change it */
    {"toor",     0,     "/bin/sh",           "",  "19000::::::"   },
    {"_somed",   952,   "/usr/sbin/nologin", "",  "19000::::::"   },
};
#define ALLOWED "alice,bob,carol,expired,locked,nologin,outdated,_somed"

static const struct identity alice = {"alice", 52001, 52001};
static const struct identity bob = {"bob", 52002, 52002};
static const struct identity carol = {"carol", 52003, 52003};
static const struct identity root = {"root", 0, 0};

static struct service service;

/* --- the machine --- */

static const char *in_dir(const char *name)
{
    return textf("%s/%s", harness_dir(), name);
}

static const char *whole_file(const char *path)
{
    FILE *file = fopen(path, "re");
    const char *text = "";
    char line[4096];
    while (file && fgets(line, sizeof(line), file))
        text = textf("%s%s", text, line);
    if (file)
        fclose(file);
    return text;
}

static const char *put_file(const char *path, const char *content, mode_t mode)
{
    FILE *file = fopen(path, "we");
    if (!file)
        return textf("%s: %s", path, strerror(errno));
    fputs(content, file);
    return fclose(file) == 0 && chmod(path, mode) == 0 ? NULL
                                                       : textf("%s: %s", path, strerror(errno));
}

static const char *replace_file(const char *path, const char *name, const char *lines, mode_t mode)
{
    const char *copy = in_dir(name);
    const char *why = put_file(copy, textf("%s%s", whole_file(path), lines), mode);
    if (!why && mount(copy, path, NULL, MS_BIND, NULL) < 0)
        why = textf("%s cannot be replaced: %s", path, strerror(errno));
    return why;
}

static const char *make_people(void)
{
    const char *passwd =
        textf("_autodl:x:%d:%d::/nonexistent:/usr/sbin/nologin\n", SERVICE_UID, SERVICE_UID);
    const char *group = textf("_autodl:x:%d:\n", SERVICE_UID), *shadow = "";
    const char *hash = textf("%s", crypt(RIGHT, "$6$rounds=1000$autodl$"));
    for (unsigned i = 0; i < COUNT(people); i++) {
        const struct person *who = &people[i];
        const char *home = in_dir(textf("home-%u", who->uid));
        if (mkdir(home, 0700) == 0 && chown(home, who->uid, who->uid) < 0)
            return textf("%s: %s", home, strerror(errno));
        passwd =
            textf("%s%s:x:%u:%u::%s:%s\n", passwd, who->name, who->uid, who->uid, home, who->shell);
        if (who->uid && strcmp(who->name, "alias") != 0)
            group = textf("%s%s:x:%u:\n", group, who->name, who->uid);
        shadow = textf("%s%s:%s%s:%s\n", shadow, who->name, who->lock, hash, who->extra);
    }
    const char *why = replace_file("/etc/passwd", "passwd", passwd, 0644);
    if (!why)
        why = replace_file("/etc/group", "group", group, 0644);
    if (!why)
        why = replace_file("/etc/shadow", "shadow", shadow, 0600);
    return why;
}

/* The shipped stack with `extra` lines behind it; /etc/nologin is a file of ours. */
static const char *make_stack(const char *extra)
{
    const char *source = getenv("AUTODL_SOURCE");
    const char *shipped = whole_file(textf("%s/src/privsep/autodl.pam", source ? source : ".."));
    const char *module = strstr(shipped, "pam_nologin.so");
    if (!module)
        return "src/privsep/autodl.pam is not there, or has no pam_nologin.so; set AUTODL_SOURCE";
    int before = (int)(module - shipped + (ptrdiff_t)strlen("pam_nologin.so"));
    return put_file(in_dir("pam.d/autodl"),
                    textf("auth optional pam_exec.so quiet %s\n%.*s file=%s%s%s", in_dir("script"),
                          before, shipped, in_dir("nologin-file"), shipped + before, extra),
                    0644);
}

static const char *make_pam(void)
{
    DIR *dir = opendir("/etc/pam.d");
    struct dirent *entry;
    const char *why = NULL;
    if (!dir || access("/etc/pam.d/common-auth", R_OK) < 0)
        return "PAM is not set up as Debian does it";
    if (mkdir(in_dir("pam.d"), 0755) < 0)
        return textf("pam.d: %s", strerror(errno));
    while (!why && (entry = readdir(dir)))
        if (entry->d_name[0] != '.')
            why = put_file(in_dir(textf("pam.d/%s", entry->d_name)),
                           whole_file(textf("/etc/pam.d/%s", entry->d_name)), 0644);
    closedir(dir);
    if (!why)
        why = put_file(in_dir("script"),
                       textf("#!/bin/sh\nPATH=/usr/bin:/bin\necho \"$PAM_USER $PAM_RHOST\" >>%s\n"
                             "while [ -e %s ]; do sleep 0.05; done\n",
                             in_dir("asked"), in_dir("hold")),
                       0755);
    if (!why)
        why = make_stack("");
    if (!why && mount(in_dir("pam.d"), "/etc/pam.d", NULL, MS_BIND, NULL) < 0)
        why = textf("/etc/pam.d cannot be replaced: %s", strerror(errno));
    return why;
}

/* NULL, or why it cannot be done here. */
static const char *make_machine(void)
{
    if (geteuid() != 0)
        return "accounts and PAM need root";
    if (unshare(CLONE_NEWNS) < 0)
        return textf("no mount namespace of our own: %s", strerror(errno));
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return textf("mounts cannot be made private: %s", strerror(errno));
    if (mount("tmpfs", "/run", "tmpfs", 0, "mode=0755") < 0)
        return textf("/run cannot be replaced: %s", strerror(errno));
    const char *why = make_people();
    return why ? why : make_pam();
}

/* --- steps --- */

static void start(const char *auth)
{
    service_start(&service, "--state-dir", textf("%s/lib", service.dir), "--socket", service.socket,
                  "--umask", "022", "--log-level", "debug", "--allow-users", ALLOWED, "--auth",
                  auth, NULL);
}

static void clean_machine(void)
{
    ck_assert_ptr_null(put_file(in_dir("asked"), "", 0644));
    unlink(in_dir("hold"));
    unlink(in_dir("nologin-file"));
    ck_assert_ptr_null(make_stack(""));
}

static void set_up(void)
{
    clean_machine();
    service_init(&service);
    service.system_mode = true;
    service.socket = textf("%s/system-run/autodl.sock", service.dir);
    ck_assert_int_eq(chown(service.dir, 0, 0), 0);
    start("peer, pam");
}

static void tear_down(void)
{
    clean_machine();
    service_release(&service);
}

/* How many times PAM was asked since the test began. */
static unsigned asked(void)
{
    unsigned lines = 0;
    for (const char *c = whole_file(in_dir("asked")); *c; c++)
        lines += *c == '\n';
    return lines;
}

/* A request under way. */
struct
try {
    int fd;
    int64_t begin, took; /* ms */
    struct answer answer;
};

static struct try begin(const struct identity *who, const char *user, const char *password)
{
    const char *text = http_request_text("GET", "/stats", http_basic(user, password), NULL);
    struct try result = {.fd = connect_tcp(service.port, who), .begin = harness_now()};
    ck_assert_int_eq(send(result.fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
    return result;
}

static int end(struct try *try)
{
    http_exchange(try->fd, "", 0, &try->answer);
    try->took = harness_now() - try->begin;
    return try->answer.status;
}

static void expect(const struct identity *who, const char *user, const char *password, int status,
                   const char *says)
{
    struct try try = begin(who, user, password);
    end(&try);
    ck_assert_msg(try.answer.status == status, "%s with %s: %d, not %d: %s", user, password,
                  try.answer.status, status, try.answer.body);
    const char *message = says ? answer_string(&try.answer, "message") : NULL;
    ck_assert_msg(!says || (message && strstr(message, says)), "no \"%s\" in: %s", says,
                  try.answer.body);
    answer_release(&try.answer);
}

static bool pam_child(void *data)
{
    pid_t *ret_pid = data;
    DIR *proc = opendir("/proc");
    struct dirent *entry;
    ck_assert_ptr_nonnull(proc);
    *ret_pid = 0;
    while ((entry = readdir(proc))) {
        char name[32] = "";
        int fd = openat(dirfd(proc), textf("%s/comm", entry->d_name), O_RDONLY | O_CLOEXEC);
        if (fd >= 0 && read(fd, name, sizeof(name) - 1) > 0 && strcmp(name, "autodl-pam\n") == 0)
            *ret_pid = (pid_t)strtol(entry->d_name, NULL, 10);
        if (fd >= 0)
            close(fd);
    }
    closedir(proc);
    return *ret_pid != 0;
}

static unsigned awaited;

static bool asked_that_often(void *data)
{
    (void)data;
    return asked() >= awaited;
}

static void wait_asked(unsigned times)
{
    awaited = times;
    wait_until(asked_that_often, NULL, SOON, textf("PAM is asked %u times", times));
}

static void hold(void)
{
    ck_assert_ptr_null(put_file(in_dir("hold"), "", 0644));
}

static void let_go(void)
{
    ck_assert_int_eq(unlink(in_dir("hold")), 0);
}

/* --- right and wrong --- */

/* Those that are wrong are told after the same time and in the same words, whoever they are for. */
START_TEST(wrong_is_wrong)
{
    static const char *const users[] = {"alice", "nosuchuser", "locked", "dave", "_somed", "toor"};
    struct try tries[COUNT(users)];
    const struct identity *from[] = {&root, &bob}; /* four at once from one origin */
    for (unsigned i = 0; i < COUNT(users); i++)
        tries[i] = begin(from[i % 2], users[i], strcmp(users[i], "locked") == 0 ? RIGHT : WRONG);
    for (unsigned i = 0; i < COUNT(users); i++) {
        ck_assert_msg(end(&tries[i]) == 401, "%s: %d", users[i], tries[i].answer.status);
        ck_assert_msg(tries[i].took >= DELAY - 10 && tries[i].took < 3 * DELAY, "%s: %d ms",
                      users[i], (int)tries[i].took);
        ck_assert_str_eq(tries[i].answer.body, tries[0].answer.body);
        ck_assert_str_eq(answer_header(&tries[i].answer, "WWW-Authenticate"),
                         "Basic realm=\"autodl\"");
    }
    ck_assert_uint_eq(asked(), COUNT(users));
    ck_assert_ptr_nonnull(strstr(whole_file(in_dir("asked")), "nosuchuser 127.0.0.1\n"));
    for (unsigned i = 0; i < COUNT(users); i++)
        answer_release(&tries[i].answer);
}
END_TEST

START_TEST(right_is_right)
{
    struct try many[20];
    expect(&root, "alice", RIGHT, 200, NULL);
    ck_assert_uint_eq(asked(), 1);
    expect(&root, "alice", RIGHT, 200, NULL); /* remembered */
    expect(&bob, "alice", RIGHT, 200, NULL);  /* the same address */
    ck_assert_uint_eq(asked(), 1);
    for (unsigned i = 0; i < COUNT(many); i++)
        many[i] = begin(&root, "carol", RIGHT); /* one is asked, all are answered */
    for (unsigned i = 0; i < COUNT(many); i++) {
        ck_assert_int_eq(end(&many[i]), 200);
        answer_release(&many[i].answer);
    }
    ck_assert_uint_eq(asked(), 2);
    expect(&alice, "alice", WRONG, 200, NULL); /* the kernel vouches, whatever the password */
    ck_assert_uint_eq(asked(), 2);
}
END_TEST

/* What is wrong with an account is told to those who have its password. */
START_TEST(accounts_that_are_not_served)
{
    expect(&root, "expired", RIGHT, 403, "does not let expired in");
    expect(&root, "outdated", RIGHT, 403, "the password of outdated has expired");
    expect(&root, "dave", RIGHT, 403, "dave is not among this service's users");
    expect(&root, "_somed", RIGHT, 403, "_somed (uid 952) is a system account");
    expect(&root, "toor", RIGHT, 401, "root is not served over TCP");
    ck_assert_uint_eq(asked(), 5);

    expect(&root, "nologin", RIGHT, 200, NULL); /* a shell is not asked for, */
    expect(&root, "bob", RIGHT, 200, NULL);
    ck_assert_ptr_null(make_stack("account required pam_shells.so\n")); /* unless it says so */
    service_stop(&service); /* it remembers right passwords */
    start("peer, pam");
    expect(&root, "nologin", RIGHT, 403, "does not let nologin in");
    ck_assert_ptr_null(put_file(in_dir("nologin-file"), "closed\n", 0644));
    expect(&root, "bob", RIGHT, 403, "does not let bob in");
}
END_TEST

/* Each of the messages says what to do instead. */
START_TEST(root_and_those_without_a_password)
{
    const char *use = textf("autodl --socket '%s'", service.socket);
    expect(&root, "root", RIGHT, 401, use);
    expect(&root, "root", "", 401, use);
    expect(&alice, "root", WRONG, 401, use);
    expect(&root, "alice", "", 401, service.socket);
    expect(&root, "alice", "", 401, "send the password of alice");
    expect(&bob, "alice", "", 401, "send the password of alice");
    ck_assert_uint_eq(asked(), 0);
}
END_TEST

START_TEST(ways)
{
    service_stop(&service);
    start("pam");
    expect(&alice, "alice", "", 401, "send the password of alice");
    expect(&alice, "alice", RIGHT, 200, NULL);
    call(&service, &alice, "GET", "/stats"); /* the unix socket */
    service_stop(&service);
    start("peer");
    expect(&alice, "alice", "", 200, NULL);
    expect(&bob, "alice", RIGHT, 401, "takes no passwords");
    ck_assert_uint_eq(asked(), 1);
}
END_TEST

/* One uid with two names is one user, who has the first of them. */
START_TEST(two_names)
{
    _cleanup_answer_ struct answer added = {0}, over_unix = {0};
    const char *body = "{\"url\": \"http://127.0.0.1:1/a\"}";
    const char *headers = textf("%sContent-Type: application/json\r\n", http_basic("alias", "x"));
    expect(&alice, "alias", "x", 200, NULL);
    expect(&root, "alias", RIGHT, 200, NULL);
    http_tcp(&service, &alice, http_request_text("POST", "/v1/tasks", headers, body), &added);
    ck_assert_msg(added.status == 201, "%s", added.body);
    ck_assert_str_eq(answer_string(&added, "user"), "alice");
    http_unix(&service, &alice, http_request_text("POST", "/v1/tasks", headers, body), &over_unix);
    ck_assert_msg(over_unix.status == 201, "%s", over_unix.body);
    ck_assert_str_eq(answer_string(&over_unix, "user"), "alice");
}
END_TEST

/* --- guessing --- */

START_TEST(a_thousand_wrong_ones)
{
    enum { ROUND = 100 };
    struct try tries[ROUND];
    unsigned wrong = 0, later = 0, busy = 0;
    for (unsigned i = 0; i < 1000; i++) {
        bool is_last = i % ROUND == ROUND - 1;
        int64_t before = harness_now();
        if (is_last) {
            expect(&alice, "alice", "", 200, NULL);   /* herself */
            expect(&root, "alice", RIGHT, 200, NULL); /* the same, with her password */
            expect(&root, "carol", RIGHT, 200, NULL); /* another */
            expect(&bob, "carol", RIGHT, 200, NULL);  /* from the same place */
            ck_assert_msg(harness_now() - before < PROMPT, "others: %d ms",
                          (int)(harness_now() - before));
        }
        tries[i % ROUND] = begin(&bob, "alice", textf("%s-%u", WRONG, i));
        if (!is_last)
            continue;
        unsigned looked_at = wrong;
        for (unsigned j = ROUND; j-- > 0;) { /* the last first: it waits for its own answer alone */
            int status = end(&tries[j]);
            const char *seconds = answer_header(&tries[j].answer, "Retry-After");
            ck_assert_msg(status == 401 || (seconds && atoi(seconds) > 0 && atoi(seconds) <= 30),
                          "%d with Retry-After: %s", status, seconds ? seconds : "(none)");
            wrong += status == 401;
            later += status == 429;
            busy += status == 503;
            answer_release(&tries[j].answer);
        }
        ck_assert_msg(wrong > looked_at || tries[ROUND - 1].took < DELAY, "refused after %d ms",
                      (int)tries[ROUND - 1].took);
    }
    fprintf(stderr, "1000 wrong passwords: %u times 401, %u times 429, %u times 503\n", wrong,
            later, busy);
    ck_assert_uint_eq(wrong + later + busy, 1000);
    ck_assert_uint_eq(wrong, 5);
    ck_assert_uint_le(busy, ROUND - 4); /* of the first round alone: four are checked at once */
    ck_assert_uint_eq(asked(), 5 + 2);  /* alice's and carol's own */
}
END_TEST

/* Eight are checked at once, four for one origin. */
START_TEST(so_many_at_once)
{
    struct try tries[10];
    hold();
    for (unsigned i = 0; i < 4; i++)
        tries[i] = begin(&root, textf("user%u", i), WRONG);
    wait_asked(4);
    expect(&root, "user4", WRONG, 503, "try again in");
    for (unsigned i = 4; i < 8; i++)
        tries[i] = begin(&bob, textf("user%u", i), WRONG);
    wait_asked(8);
    expect(&carol, "user8", WRONG, 503, "try again in");
    expect(&alice, "alice", "", 200, NULL); /* nobody else is in the way */
    let_go();
    for (unsigned i = 0; i < 8; i++) {
        ck_assert_int_eq(end(&tries[i]), 401);
        answer_release(&tries[i].answer);
    }
    ck_assert_uint_eq(asked(), 8);
    expect(&carol, "alice", RIGHT, 200, NULL);
}
END_TEST

/* --- the monitor by itself: a service that was taken over may ask as often as it likes --- */

static int greedy_service(int control, void *data)
{
    static const struct privsep_events none = {0};
    struct privsep *privsep;
    unsigned *refused = data;
    if (privsep_create(control, &none, &privsep) < 0)
        return 1;
    int sockets[40];
    for (unsigned i = 0; i < COUNT(sockets); i++)
        while (privsep_check_password(privsep, "alice", RIGHT, "", &sockets[i]) < 0)
            poll(NULL, 0, 1);
    /* Those that are refused end at once, the others are held. */
    while (asked() < 2 * PRIVSEP_CHECKS_MAX)
        poll(NULL, 0, 10);
    for (unsigned i = 0; i < COUNT(sockets); i++) {
        struct pollfd event = {.fd = sockets[i], .events = POLLIN};
        *refused += poll(&event, 1, 50) == 1 && privsep_read_verdict(sockets[i]) == WIRE_UNDECIDED;
    }
    _exit(0);
}

START_TEST(the_monitor_has_its_own_bound)
{
    struct settings settings;
    ck_assert_int_eq(settings_init(&settings, "/dev/null"), 0);
    const struct monitor_options options = {
        .run_as = "_autodl", .settings = &settings, .state_dir = in_dir("greedy")};
    unsigned *refused =
        mmap(NULL, sizeof(*refused), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert(refused != MAP_FAILED);
    hold();
    pid_t pid = fork();
    if (pid == 0)
        _exit(monitor_run(&options, greedy_service, refused));
    wait_exit(pid, SOON);
    ck_assert_uint_eq(*refused, 40 - 2 * PRIVSEP_CHECKS_MAX);
    ck_assert_uint_eq(asked(), 2 * PRIVSEP_CHECKS_MAX);
    let_go();
    settings_release(&settings);
}
END_TEST

/* --- the process --- */

static void expect_blank_environment(pid_t pid)
{
    char bytes[65536];
    int fd = open(textf("/proc/%d/environ", (int)pid), O_RDONLY | O_CLOEXEC);
    ck_assert_msg(fd >= 0, "%d: %s", (int)pid, strerror(errno));
    ssize_t len = read(fd, bytes, sizeof(bytes));
    close(fd);
    for (ssize_t i = 0; i < len; i++)
        ck_assert_msg(bytes[i] == '\0', "process %d has an environment: %s", (int)pid, bytes + i);
}

START_TEST(the_pam_child)
{
    pid_t pid;
    hold();
    struct try try = begin(&root, "alice", RIGHT);
    wait_asked(1);
    wait_until(pam_child, &pid, SOON, "a PAM child is there");
    ck_assert_str_eq(process_status(pid, "Uid"), "0\t0\t0\t0");
    ck_assert_str_eq(process_status(pid, "Gid"), "0\t0\t0\t0");
    ck_assert_str_eq(process_status(pid, "CapPrm"), "00000000000000c0");
    ck_assert_str_eq(process_status(pid, "CapInh"), "0000000000000000");
    ck_assert_str_eq(process_status(pid, "CapAmb"), "0000000000000000");
    ck_assert_str_eq(process_status(pid, "NoNewPrivs"), "1");
    expect_blank_environment(pid);
    expect_blank_environment(service.monitor);
    expect_blank_environment(service_process(&service));
    /* Standard streams and its socket, nothing of the others'. */
    ck_assert_uint_eq(count_names(textf("/proc/%d/fd", (int)pid), NULL), 4);

    service_kill(pid); /* nobody is let in, and nothing is remembered */
    ck_assert_int_eq(end(&try), 503);
    ck_assert_str_eq(answer_header(&try.answer, "Retry-After"), "2");
    answer_release(&try.answer);
    let_go();
    service_wait_log(&service, "gave no answer (signal 9)", SOON);
    expect(&bob, "carol", RIGHT, 200, NULL);
}
END_TEST

START_TEST(a_stop_does_not_wait_for_pam)
{
    hold();
    struct try held = begin(&root, "alice", RIGHT);
    wait_asked(1);
    int64_t took = service_stop(&service);
    ck_assert_msg(took < 5000, "%d ms", (int)took);
    ck_assert_int_eq(end(&held), 503);
    answer_release(&held.answer);
    let_go();
    start("peer, pam");
}
END_TEST

/* --- secrets --- */

/* Where in the memory of a process the text is; "": nowhere. */
__attribute__((unused)) static const char *find_in_memory(pid_t pid, const char *text)
{
    enum { SIZE = 1 << 20 };
    FILE *maps = fopen(textf("/proc/%d/maps", (int)pid), "re");
    int memory = open(textf("/proc/%d/mem", (int)pid), O_RDONLY | O_CLOEXEC);
    char line[1024], *bytes = malloc(SIZE);
    const char *where = "";
    ck_assert(maps && memory >= 0 && bytes);
    while (!*where && fgets(line, sizeof(line), maps)) {
        unsigned long from, to;
        char mode[8];
        if (sscanf(line, "%lx-%lx %7s", &from, &to, mode) != 3 || strncmp(mode, "rw", 2) != 0)
            continue;
        for (unsigned long at = from; at < to && !*where;) {
            size_t want = to - at < SIZE ? to - at : SIZE;
            ssize_t len = pread(memory, bytes, want, (off_t)at);
            if (len <= 0)
                break;
            if (memmem(bytes, (size_t)len, text, strlen(text)))
                where = textf("%s", line);
            at += (size_t)len == SIZE ? SIZE - 256 : (size_t)len;
        }
    }
    fclose(maps);
    close(memory);
    free(bytes);
    return where;
}

static void expect_nowhere_below(const char *directory, const char *secret)
{
    DIR *dir = opendir(directory);
    struct dirent *entry;
    ck_assert_msg(dir != NULL, "%s: %s", directory, strerror(errno));
    while ((entry = readdir(dir))) {
        struct stat status;
        const char *path = textf("%s/%s", directory, entry->d_name);
        if (entry->d_name[0] == '.' || stat(path, &status) < 0 || !S_ISREG(status.st_mode))
            continue;
        _cleanup_free_ char *text = malloc((size_t)status.st_size + 1);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t len = read(fd, text, (size_t)status.st_size);
        close(fd);
        ck_assert_msg(len <= 0 || !memmem(text, (size_t)len, secret, strlen(secret)),
                      "%s holds a password", path);
    }
    closedir(dir);
}

/* A request that is known to be alice's, and whose body does not come. */
static int begin_body(void)
{
    const char *text = http_request_text(
        "POST", "/add",
        textf("%sContent-Length: 100\r\nExpect: 100-continue\r\n", http_basic("alice", RIGHT)),
        NULL);
    char answer[64] = "";
    int fd = connect_tcp(service.port, &root);
    ck_assert_int_eq(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
    ck_assert_int_gt(recv(fd, answer, sizeof(answer) - 1, 0), 0);
    ck_assert_msg(strncmp(answer, "HTTP/1.1 100 ", 13) == 0, "%s", answer);
    return fd;
}

START_TEST(passwords_stay_nowhere)
{
    expect(&root, "alice", RIGHT, 200, NULL);
    expect(&root, "alice", WRONG, 401, NULL);
    expect(&carol, "carol", RIGHT "-vouched", 200, NULL); /* not looked at, and still one */
    int waiting = begin_body();
    const char *coded = strstr(http_basic("alice", RIGHT), "Basic ") + strlen("Basic ");
    const char *const secrets[] = {"horse-battery", "donkey-capacitor", textf("%.30s", coded)};
    const pid_t pids[] = {service.monitor, service_process(&service)};
    for (unsigned i = 0; i < COUNT(secrets); i++) {
        expect_nowhere_below(textf("%s/lib", service.dir), secrets[i]);
        _cleanup_free_ char *log = file_read(service.log);
        ck_assert_ptr_null(strstr(log, secrets[i]));
        for (unsigned j = 0; j < COUNT(pids); j++) {
            expect_nowhere_below(textf("/proc/%d", (int)pids[j]), secrets[i]);
#ifndef AUTODL_DEBUG /* sanitizers keep what was freed */
            const char *where = find_in_memory(pids[j], secrets[i]);
            ck_assert_msg(!*where, "%s is in the memory of %u: %s", secrets[i], j, where);
#endif
        }
    }
    close(waiting);
#ifndef AUTODL_DEBUG
    ck_assert_msg(*find_in_memory(getpid(), secrets[0]), "the search finds nothing at all");
#endif
}
END_TEST

/* --- from elsewhere --- */

static pid_t run_as(const struct identity *who, const char *output, const char *const *arguments)
{
    pid_t parent = getpid(), pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid > 0)
        return pid;
    int null = open("/dev/null", O_RDWR);
    int out = open(output, O_WRONLY | O_CREAT | O_APPEND, 0666);
    if (setresgid(who->gid, who->gid, who->gid) < 0 || setresuid(who->uid, who->uid, who->uid) < 0)
        _exit(126);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent || dup2(null, 0) < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0)
        _exit(126);
    syscall(SYS_close_range, 3, ~0U, 0);
    execv(arguments[0], (char **)arguments);
    _exit(127);
}

static int run_and_wait(const struct identity *who, const char *output,
                        const char *const *arguments)
{
    return wait_exit(run_as(who, output, arguments), SOON);
}

static int curl(const struct identity *who, unsigned port, const char *login)
{
    const char *output = textf("%s/curl-%s", service.dir, who->name);
    const char *const arguments[] = {"/usr/bin/curl",
                                     "-sS",
                                     "-o",
                                     "/dev/null",
                                     "-w",
                                     "%{http_code}",
                                     "-u",
                                     login,
                                     textf("http://localhost:%u/stats", port),
                                     NULL};
    unlink(output);
    ck_assert_int_eq(run_and_wait(who, output, arguments), 0);
    return atoi(whole_file(output));
}

START_TEST(as_people_do_it)
{
    ck_assert_int_eq(curl(&alice, service.port, "alice:x"), 200);
    ck_assert_int_eq(curl(&bob, service.port, "alice:x"), 401);
    ck_assert_int_eq(curl(&bob, service.port, "alice:" RIGHT), 200);
}
END_TEST

static unsigned free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    _cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, size), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    return ntohs(address.sin_port);
}

static bool answers(void *data)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t) * (unsigned *)data),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    _cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
}

static void make_key(const char *path)
{
    const char *const arguments[] = {
        "/usr/bin/ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path, NULL};
    ck_assert_int_eq(run_and_wait(&root, in_dir("keygen-log"), arguments), 0);
}

/* Real sshd, real ssh -N -L: what arrives comes from a process that is alice. */
START_TEST(through_ssh)
{
    unsigned port = free_port(), forwarded = free_port();
    const char *config = textf("%s/sshd_config", service.dir);
    const char *log = textf("%s/ssh-log", service.dir);
    const char *host_key = textf("%s/host_key", service.dir);
    const char *key = textf("%s/key", service.dir);
    make_key(host_key);
    make_key(key);
    mkdir("/run/sshd", 0755);
    ck_assert_ptr_null(put_file(config,
                                textf("Port %u\nListenAddress 127.0.0.1\nHostKey %s\n"
                                      "AuthorizedKeysFile %s.pub\nStrictModes no\nUsePAM no\n"
                                      "PasswordAuthentication no\nPidFile none\n",
                                      port, host_key, key),
                                0644));
    const char *const server[] = {"/usr/sbin/sshd", "-D", "-e", "-f", config, NULL};
    const char *const client[] = {"/usr/bin/ssh",
                                  "-F",
                                  "none",
                                  "-N",
                                  "-i",
                                  key,
                                  "-p",
                                  textf("%u", port),
                                  "-o",
                                  "StrictHostKeyChecking=no",
                                  "-o",
                                  "UserKnownHostsFile=/dev/null",
                                  "-o",
                                  "ExitOnForwardFailure=yes",
                                  "-o",
                                  "BatchMode=yes",
                                  "-L",
                                  textf("127.0.0.1:%u:localhost:%u", forwarded, service.port),
                                  "alice@127.0.0.1",
                                  NULL};
    pid_t sshd = run_as(&root, log, server);
    wait_until(answers, &port, SOON, textf("sshd answers; see %s", log));
    pid_t ssh = run_as(&root, log, client);
    wait_until(answers, &forwarded, SOON, textf("ssh forwards; it said: %s", whole_file(log)));

    /* As the client of 2017 did it. */
    const char *body = "url=http://127.0.0.1:1/a";
    const char *request = http_request_text("POST", "/add", http_basic("alice", ""), body);
    _cleanup_answer_ struct answer answer = {0}, other = {0};
    http_exchange(connect_tcp(forwarded, &bob), request, strlen(request), &answer);
    ck_assert_msg(answer.status == 200, "%d: %s", answer.status, answer.body);
    ck_assert_msg(strstr(answer.body, "home-52001/autodl-storage"), "%s", answer.body);
    request = http_request_text("GET", "/stats", http_basic("bob", ""), NULL);
    http_exchange(connect_tcp(forwarded, &bob), request, strlen(request), &other);
    ck_assert_int_eq(other.status, 401);
    ck_assert_uint_eq(asked(), 0);
    service_kill(ssh);
    wait_exit(ssh, SOON);
    service_kill(sshd);
    wait_exit(sshd, SOON);
}
END_TEST

/* --- a user's own service --- */

START_TEST(user_mode_has_no_passwords)
{
    struct service own;
    service_init(&own);
    service_start(&own, NULL);
    const char *name = harness_user()->name;
    const char *request = http_request_text("GET", "/stats", http_basic(name, RIGHT), NULL);
    _cleanup_answer_ struct answer answer = {0};
    http_tcp(&own, &bob, request, &answer);
    ck_assert_int_eq(answer.status, 401);
    ck_assert_msg(strstr(answer.body, "cannot check passwords"), "%s", answer.body);
#ifndef AUTODL_DEBUG
    struct stat status; /* of a process that may not be dumped, it is root's */
    ck_assert_int_eq(stat(textf("/proc/%d/environ", (int)service_process(&own)), &status), 0);
    ck_assert_uint_eq(status.st_uid, 0);
#endif
    expect_blank_environment(service_process(&own));
    service_release(&own);
}
END_TEST

int main(void)
{
    const char *why = make_machine();
    if (why)
        return harness_skip(why);
    const TTest *const tests[] = {
        wrong_is_wrong,
        right_is_right,
        accounts_that_are_not_served,
        root_and_those_without_a_password,
        ways,
        two_names,
        a_thousand_wrong_ones,
        so_many_at_once,
        the_pam_child,
        a_stop_does_not_wait_for_pam,
        passwords_stay_nowhere,
        as_people_do_it,
        user_mode_has_no_passwords,
    };
    Suite *suite = suite_create("passwords");
    TCase *tcase = tcase_create("passwords");
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_set_timeout(tcase, 120);
    for (unsigned i = 0; i < COUNT(tests); i++)
        tcase_add_test(tcase, tests[i]);
    if (access("/usr/sbin/sshd", X_OK) == 0 && access("/usr/bin/ssh", X_OK) == 0)
        tcase_add_test(tcase, through_ssh);
    else
        fprintf(stderr, "through_ssh: skipped: openssh-server or openssh-client is missing\n");
    suite_add_tcase(suite, tcase);

    TCase *alone = tcase_create("alone");
    tcase_add_checked_fixture(alone, clean_machine, clean_machine);
    tcase_set_timeout(alone, 60);
    tcase_add_test(alone, the_monitor_has_its_own_bound);
    suite_add_tcase(suite, alone);
    return harness_main(suite);
}
