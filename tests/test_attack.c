/*
 * Attacks with real users, on the service as root starts it: users on each other, a service that
 * was taken over on its monitor, processes of a user on their own files while downloads end there.
 * What one may not write oneself is never reached through the service.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "core/settings.h"
#include "harness.h"
#include "origin.h"
#include "people.h"
#include "privsep/monitor.h"
#include "privsep/wire.h"
#include "v1.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define SOON         30000 /* ms */

static struct service service;
static struct origin *origin;

/* --- steps --- */

static void start(const char *umask)
{
    service_start(&service, "--config", textf("%s/system.conf", service.dir), "--state-dir",
                  textf("%s/lib", service.dir), "--socket", service.socket, "--umask", umask, NULL);
}

static void configure(const char *lines)
{
    const char *path = textf("%s/system.conf", service.dir);
    unlink(path);
    file_write(path, lines);
}

static void reconfigure(const char *lines)
{
    off_t seen = service.log_start;
    struct stat st;
    ck_assert_int_eq(stat(service.log, &st), 0);
    service.log_start = st.st_size;
    configure(lines);
    ck_assert_int_eq(kill(service.monitor, SIGHUP), 0);
    service_wait_log(&service, "reloaded", SOON);
    service.log_start = seen;
}

static void set_up(void)
{
    ck_assert_int_eq(origin_start(&origin), 0);
    service_init(&service);
    service.system_mode = true;
    service.socket = textf("%s/system-run/autodl.sock", service.dir);
    ck_assert_int_eq(chown(service.dir, 0, 0), 0);
    configure("");
    start("022");
}

static void tear_down(void)
{
    service_release(&service);
    origin_stop(origin);
    remove_storage();
}

static void add(const struct identity *who, const char *path, const char *directory,
                struct task_view *ret_view)
{
    ck_assert_int_eq(add_task(&service, who, origin_url(origin, path), directory, ret_view), 200);
}

/* A version 1 call; the status, and the body when it is wanted. */
static int v1(const struct identity *who, const char *method, const char *target, const char *json,
              const char **ret_body)
{
    _cleanup_answer_ struct answer answer = {0};
    const char *type = "Content-Type: application/json\r\n";
    http_unix(&service, who, http_request_text(method, target, json ? type : NULL, json), &answer);
    if (ret_body)
        *ret_body = textf("%s", answer.body ? answer.body : "");
    return answer.status;
}

static const char *member(const struct identity *who, const char *id, const char *path)
{
    const char *body;
    ck_assert_int_eq(v1(who, "GET", textf("/v1/tasks/%s", id), NULL, &body), 200);
    return json_at(body, path);
}

static bool waits_for_storage(void *data)
{
    const char *reason = member(&alice, data, "waiting_for.reason");
    return reason && strcmp(reason, "storage") == 0;
}

static bool has_bytes(void *data)
{
    const char *bytes = member(&alice, data, "bytes_done");
    return bytes && strtoll(bytes, NULL, 10) > 0;
}

static bool is_gone(void *data)
{
    return v1(&alice, "GET", textf("/v1/tasks/%s", (const char *)data), NULL, NULL) == 404;
}

/* In a process of this user, with their groups; false ends the test. */
static bool succeeds_as(const struct identity *who, bool (*act)(const char *path), const char *path)
{
    fflush(NULL);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        if (initgroups(who->name, who->gid) < 0 || setresgid(who->gid, who->gid, who->gid) < 0 ||
            setresuid(who->uid, who->uid, who->uid) < 0)
            _exit(2);
        _exit(act(path) ? 0 : 1);
    }
    int status = wait_exit(pid, SOON);
    ck_assert_int_ne(status, 2);
    return status == 0;
}

static bool can_read(const char *path)
{
    return open(path, O_RDONLY | O_CLOEXEC) >= 0;
}

static const char *owned_directory(const char *path, const struct identity *who, gid_t gid,
                                   mode_t mode)
{
    ck_assert_msg(mkdir(path, 0700) == 0, "%s: %s", path, strerror(errno));
    ck_assert_int_eq(chown(path, who->uid, gid), 0);
    ck_assert_int_eq(chmod(path, mode), 0);
    return path;
}

static void owned_file(const char *path, const struct identity *who, mode_t mode)
{
    unlink(path);
    file_write(path, textf("content of %s\n", path));
    ck_assert_int_eq(chown(path, who->uid, who->gid), 0);
    ck_assert_int_eq(chmod(path, mode), 0);
}

static void expect_file(const char *path, uid_t uid, gid_t gid, mode_t mode)
{
    struct stat st;
    ck_assert_msg(stat(path, &st) == 0, "%s: %s", path, strerror(errno));
    ck_assert_uint_eq(st.st_uid, uid);
    ck_assert_uint_eq(st.st_gid, gid);
    ck_assert_msg((st.st_mode & 07777) == mode, "%s: mode %o", path, st.st_mode & 07777);
}

static void download(const struct identity *who, const char *directory, struct task_view *ret_view)
{
    add(who, "/bytes/1000/a", directory, ret_view);
    wait_state(&service, who, ret_view->id, "FINISHED", SOON);
}

/* --- files are made as the user would make them --- */

START_TEST(umask_groups_and_setgid)
{
    _cleanup_view_ struct task_view plain = {0}, crew = {0}, inherited = {0}, refused = {0};
    const char *shared = owned_directory(textf("%s/shared", service.dir), &root, CREW, 0770);
    const char *setgid = owned_directory(textf("%s/setgid", service.dir), &root, CREW, 02770);

    service_stop(&service);
    start("027");
    download(&alice, textf("%s/new/deep", home_of(&alice)), &plain);
    expect_file(plain.dest, ALICE_UID, ALICE_UID, 0640);
    expect_file(textf("%s/new", home_of(&alice)), ALICE_UID, ALICE_UID, 0750);

    download(&alice, shared, &crew);
    expect_file(crew.dest, ALICE_UID, ALICE_UID, 0640);
    ck_assert_int_eq(
        add_task(&service, &bob, origin_url(origin, "/bytes/1000/a"), shared, &refused), 403);

    download(&alice, textf("%s/sub", setgid), &inherited);
    expect_file(textf("%s/sub", setgid), ALICE_UID, CREW, 02750);
    expect_file(inherited.dest, ALICE_UID, CREW, 0640);
    remove_tree(textf("%s/new", home_of(&alice)));
}
END_TEST

/* acl(5) as the kernel keeps it: user::rw-, user:bob:r--, group::---, mask::rw-, other::---. */
static int set_default_acl(const char *path)
{
    struct {
        uint32_t version;
        struct {
            uint16_t tag, permissions;
            uint32_t id;
        } entries[5];
    } acl = {
        2,
        {{0x01, 7, UINT32_MAX},
          {0x02, 4, BOB_UID},
          {0x04, 0, UINT32_MAX},
          {0x10, 6, UINT32_MAX},
          {0x20, 0, UINT32_MAX}}
    };
    return setxattr(path, "system.posix_acl_default", &acl, sizeof(acl), 0) < 0 ? -errno : 0;
}

START_TEST(default_acls)
{
    _cleanup_view_ struct task_view task = {0};
    const char *directory = textf("%s/acl", service.dir);
    owned_directory(directory, &alice, ALICE_UID, 0755);
    int r = set_default_acl(directory);
    if (r == -EOPNOTSUPP) {
        fprintf(stderr, "# no ACLs on the file system of %s\n", harness_dir());
        return;
    }
    ck_assert_int_eq(r, 0);
    service_stop(&service);
    start("077"); /* which a default ACL takes the place of */
    download(&alice, directory, &task);
    expect_file(task.dest, ALICE_UID, ALICE_UID, 0660); /* the group's bits are the mask */
    ck_assert(succeeds_as(&bob, can_read, task.dest));
    ck_assert(!succeeds_as(&dora, can_read, task.dest));
}
END_TEST

/* --- other users --- */

START_TEST(bob_learns_nothing_and_changes_nothing)
{
    _cleanup_view_ struct task_view task = {0}, done = {0};
    static const char *const verbs[] = {"hold", "release", "cancel", "retry"};
    static const char *const keeps[] = {"ENQUEUED", "FINISHED"};

    download(&alice, NULL, &done);
    call(&service, &root, "POST", "/pause");
    add(&alice, "/bytes/1000/secret", NULL, &task);
    const char *ids[] = {task.id, done.id};
    for (unsigned i = 0; i < 2; i++) {
        const char *of_hers[] = {ids[i], textf("%.8s", ids[i])};
        for (unsigned n = 0; n < 2; n++) {
            const char *body, *target = textf("/v1/tasks/%s", of_hers[n]);
            ck_assert_int_eq(v1(&bob, "GET", target, NULL, &body), 404);
            ck_assert_ptr_null(strstr(body, "secret"));
            ck_assert_ptr_null(strstr(body, "alice"));
            ck_assert_int_eq(v1(&bob, "DELETE", target, NULL, NULL), 404);
            ck_assert_int_eq(v1(&bob, "DELETE", textf("%s?file=delete", target), NULL, NULL), 404);
            for (unsigned v = 0; v < 4; v++)
                ck_assert_int_eq(v1(&bob, "POST", textf("%s/%s", target, verbs[v]), NULL, NULL),
                                 404);
            struct task_view view = {0};
            ck_assert_int_eq(get_task(&service, &bob, of_hers[n], &view), 404);
        }
        ck_assert_str_eq(member(&alice, ids[i], "status"), keeps[0 + (ids[i] == done.id)]);
    }
    call(&service, &bob, "POST", "/clear");
    call(&service, &bob, "POST", "/resume");
    ck_assert_str_eq(member(&alice, task.id, "status"), "ENQUEUED");
    ck_assert(file_exists(done.dest));
    call(&service, &root, "POST", "/resume");
    wait_state(&service, &alice, task.id, "FINISHED", SOON);
}
END_TEST

/* --- what stands where a file should be --- */

static const char *const kinds[] = {"fifo", "socket",   "device", "directory",
                                    "link", "dangling", "second"};
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

/* Something of alice's that is not a part or a plain file. */
static void plant(unsigned kind, const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd;
    switch (kind) {
    case 0:
        ck_assert_int_eq(mkfifo(path, 0666), 0);
        break;
    case 1:
        ck_assert_uint_lt(strlen(path), sizeof(address.sun_path));
        strcpy(address.sun_path, path);
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
        close(fd);
        break;
    case 2:
        ck_assert_int_eq(mknod(path, S_IFCHR | 0666, makedev(1, 3)), 0);
        break;
    case 3:
        ck_assert_int_eq(mkdir(path, 0777), 0);
        break;
    case 4:
        ck_assert_int_eq(symlink(textf("%s/victim", home_of(&alice)), path), 0);
        break;
    case 5:
        ck_assert_int_eq(symlink(textf("%s/nothing", home_of(&alice)), path), 0);
        break;
    default:
        ck_assert_int_eq(link(textf("%s/victim", home_of(&alice)), path), 0);
    }
    ck_assert_int_eq(lchown(path, ALICE_UID, ALICE_UID), 0);
}

static void expect_victim(void)
{
    const char *path = textf("%s/victim", home_of(&alice));
    _cleanup_free_ char *content = file_read(path);
    ck_assert_str_eq(content, textf("content of %s\n", path));
    ck_assert(!file_exists(textf("%s/nothing", home_of(&alice))));
}

START_TEST(planted_at_the_final_name)
{
    struct task_view tasks[KINDS] = {0};
    const char *home = owned_directory(textf("%s/kinds", service.dir), &alice, ALICE_UID, 0700);
    owned_file(textf("%s/victim", home_of(&alice)), &alice, 0644);
    for (unsigned i = 0; i < KINDS; i++)
        add(&alice, textf("/gate/%s?size=5000", kinds[i]), home, &tasks[i]);
    for (unsigned i = 0; i < KINDS; i++) {
        wait_state(&service, &alice, tasks[i].id, "DOWNLOADING", SOON);
        plant(i, textf("%s/%s", home, kinds[i]));
        origin_open_gate(origin, kinds[i]);
        wait_state(&service, &alice, tasks[i].id, "FINISHED", SOON);
        ck_assert_str_eq(member(&alice, tasks[i].id, "dest"), textf("%s/%s-1", home, kinds[i]));
        task_view_release(&tasks[i]);
    }
    expect_victim();
}
END_TEST

START_TEST(planted_at_the_part)
{
    const char *home = owned_directory(textf("%s/kinds", service.dir), &alice, ALICE_UID, 0700);
    owned_file(textf("%s/victim", home_of(&alice)), &alice, 0644);
    call(&service, &root, "POST", "/pause");
    struct task_view tasks[KINDS] = {0};
    for (unsigned i = 0; i < KINDS; i++) {
        add(&alice, textf("/bytes/5000/%s", kinds[i]), home, &tasks[i]);
        plant(i, textf("%s/%s.%.8s.part", home, kinds[i], tasks[i].id));
    }
    call(&service, &root, "POST", "/resume");
    for (unsigned i = 0; i < KINDS; i++) {
        wait_state(&service, &alice, tasks[i].id, "FAILED", SOON);
        ck_assert_str_eq(member(&alice, tasks[i].id, "error.code"), "exists");
        task_view_release(&tasks[i]);
    }
    expect_victim();
}
END_TEST

/* A link that stands at the final name is replaced, not what it leads to. */
START_TEST(overwriting_follows_no_link)
{
    const char *home = owned_directory(textf("%s/over", service.dir), &alice, ALICE_UID, 0700);
    const char *file = textf("%s/over", home), *body;
    owned_file(textf("%s/victim", home_of(&alice)), &alice, 0644);
    owned_file(file, &alice, 0644);
    const char *wish = textf("{\"url\": \"%s\", \"directory\": \"%s\", \"name\": \"over\", "
                             "\"if_exists\": \"overwrite\"}",
                             origin_url(origin, "/gate/over?size=5000"), home);
    ck_assert_msg(v1(&alice, "POST", "/v1/tasks", wish, &body) == 201, "%s", body);
    const char *id = json_at(body, "id");
    wait_state(&service, &alice, id, "DOWNLOADING", SOON);
    ck_assert_int_eq(unlink(file), 0);
    plant(4, file);
    origin_open_gate(origin, "over");
    wait_state(&service, &alice, id, "FINISHED", SOON);
    struct stat st;
    ck_assert_int_eq(lstat(file, &st), 0);
    ck_assert(S_ISREG(st.st_mode) && st.st_size == 5000);
    expect_victim();
}
END_TEST

/* --- a race --- */

#define RACERS 1000 /* tasks */

/* What must be the same at the end, byte for byte. */
static struct canary {
    const char *path, *content;
    struct stat st;
} canaries[8];
static unsigned canary_count;

static void put_canary(const char *path, const struct identity *who, mode_t mode)
{
    struct canary *canary = &canaries[canary_count++];
    owned_file(path, who, mode);
    canary->path = path;
    canary->content = textf("content of %s\n", path);
    ck_assert_int_eq(stat(path, &canary->st), 0);
}

static void expect_canaries(void)
{
    for (unsigned i = 0; i < canary_count; i++) {
        const struct canary *canary = &canaries[i];
        struct stat st;
        ck_assert_msg(lstat(canary->path, &st) == 0, "%s is gone", canary->path);
        _cleanup_free_ char *content = file_read(canary->path);
        ck_assert_str_eq(content, canary->content);
        ck_assert(st.st_ino == canary->st.st_ino && st.st_mode == canary->st.st_mode &&
                  st.st_uid == canary->st.st_uid && st.st_gid == canary->st.st_gid &&
                  st.st_mtim.tv_sec == canary->st.st_mtim.tv_sec &&
                  st.st_mtim.tv_nsec == canary->st.st_mtim.tv_nsec);
    }
}

/* Names of parts that are or will be, as her own processes can work out from her tasks. */
static char (*parts)[64];

static const char *anything(unsigned *seed, char buffer[static 512])
{
    const struct canary *canary = &canaries[(unsigned)rand_r(seed) % canary_count];
    snprintf(buffer, 512, "%s", canary->path);
    return buffer;
}

/* A name in the directory: a part or a file; false: none. */
static bool some_name(unsigned *seed, int directory, char name[static 256])
{
    int fd = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *entry;
    unsigned seen = 0;
    while (dir && (entry = readdir(dir)))
        if (entry->d_name[0] != '.' && strncmp(entry->d_name, "aside", 5) != 0 &&
            (strstr(entry->d_name, ".part") || rand_r(seed) % 16 == 0) &&
            (unsigned)rand_r(seed) % ++seen == 0)
            snprintf(name, 256, "%s", entry->d_name);
    if (dir)
        closedir(dir);
    return seen > 0;
}

/* Puts a link where a part is or was, or where a file will be, and often the old thing back. In the
 * directory itself: what this one does elsewhere would be its own doing. */
static void swap_name(unsigned *seed, const char *path)
{
    static int directory = -1;
    char name[256], aside[32], target[512];
    while (directory < 0)
        directory = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (rand_r(seed) % 3 == 0 || !some_name(seed, directory, name))
        snprintf(name, sizeof(name), "f%u", (unsigned)rand_r(seed) % RACERS);
    const char *part = parts[(unsigned)rand_r(seed) % RACERS];
    if (part[0] && rand_r(seed) % 2)
        snprintf(name, sizeof(name), "%s", part);
    snprintf(aside, sizeof(aside), "aside%d", (int)getpid());
    anything(seed, target);
    bool moved = renameat(directory, name, directory, aside) == 0;
    bool linked = rand_r(seed) % 4 ? symlinkat(target, directory, name) == 0
                                   : linkat(AT_FDCWD, target, directory, name, 0) == 0;
    for (unsigned n = (unsigned)rand_r(seed) % 200; n > 0; n--)
        getppid();
    if (linked)
        unlinkat(directory, name, 0);
    if (moved && rand_r(seed) % 8)
        renameat(directory, aside, directory, name);
    else if (moved)
        unlinkat(directory, aside, 0);
}

/* Puts a link where the directory is, and the directory back. */
static void swap_directory(unsigned *seed, const char *directory)
{
    static const char *const places[] = {"bob", "root", "hidden", "pub"};
    char aside[1024], target[1024];
    snprintf(aside, sizeof(aside), "%s.aside", directory);
    snprintf(target, sizeof(target), "%s.%s", directory, places[rand_r(seed) % 4]);
    if (rename(directory, aside) < 0)
        return;
    bool linked = symlink(target, directory) == 0;
    usleep((unsigned)rand_r(seed) % 300);
    if (linked)
        unlink(directory);
    rename(aside, directory);
    usleep((unsigned)rand_r(seed) % 10000);
}

static pid_t start_attacker(unsigned seed, const char *directory,
                            void (*swap)(unsigned *seed, const char *directory))
{
    fflush(NULL);
    pid_t parent = getpid(), pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid > 0)
        return pid;
    if (initgroups("alice", ALICE_UID) < 0 || setresgid(ALICE_UID, ALICE_UID, ALICE_UID) < 0 ||
        setresuid(ALICE_UID, ALICE_UID, ALICE_UID) < 0)
        _exit(2);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    while (getppid() == parent) {
        swap(&seed, directory);
        usleep((unsigned)rand_r(&seed) % 200);
    }
    _exit(0);
}

static long unfinished(void)
{
    return read_count(&service, "ENQUEUED") + read_count(&service, "DOWNLOADING") +
           read_count(&service, "FINISHING");
}

static bool all_ended(void *data)
{
    (void)data;
    return unfinished() == 0;
}

START_TEST(links_swapped_while_tasks_finish)
{
    unsigned seed;
    ck_assert_int_eq(getrandom(&seed, sizeof(seed), 0), sizeof(seed));
    if (getenv("SEED"))
        seed = (unsigned)strtoul(getenv("SEED"), NULL, 10);
    fprintf(stderr, "links_swapped_while_tasks_finish: seed %u\n", seed);

    canary_count = 0;
    const char *hers = owned_directory(textf("%s/hers", service.dir), &alice, ALICE_UID, 0755);
    const char *arena = owned_directory(textf("%s/in", hers), &alice, ALICE_UID, 0755);
    const char *his = owned_directory(textf("%s/his", service.dir), &bob, BOB_UID, 0755);
    const char *roots = owned_directory(textf("%s/roots", service.dir), &root, 0, 0755);
    const char *hidden = owned_directory(textf("%s/.ssh", hers), &alice, ALICE_UID, 0755);
    const char *outside = owned_directory(textf("%s/pub", hers), &alice, ALICE_UID, 0755);
    put_canary(textf("%s/readable", roots), &root, 0644);
    put_canary(textf("%s/secret", roots), &root, 0600);
    put_canary(textf("%s/f1", roots), &root, 0644);
    put_canary(textf("%s/file", his), &bob, 0644);
    put_canary(textf("%s/f2", his), &bob, 0600);
    put_canary(textf("%s/keys", hidden), &alice, 0600);
    put_canary(textf("%s/precious", hers), &alice, 0644);
    ck_assert_int_eq(symlink(his, textf("%s.bob", arena)), 0);
    ck_assert_int_eq(symlink(roots, textf("%s.root", arena)), 0);
    ck_assert_int_eq(symlink(hidden, textf("%s.hidden", arena)), 0);
    ck_assert_int_eq(symlink(outside, textf("%s.pub", arena)), 0);

    parts = mmap(NULL, RACERS * sizeof(*parts), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                 -1, 0);
    ck_assert_ptr_ne(parts, MAP_FAILED);
    call(&service, &alice, "POST", "/pause");
    pid_t attackers[] = {start_attacker(seed, arena, swap_name),
                         start_attacker(seed + 1, arena, swap_name),
                         start_attacker(seed + 2, arena, swap_directory)};
    unsigned refused = 0;
    for (unsigned i = 0; i < RACERS;) {
        _cleanup_view_ struct task_view view = {0};
        const char *url = origin_url(origin, textf("/bytes/%u/f%u", 2000 + i, i));
        int status = add_task(&service, &alice, url, arena, &view);
        ck_assert_msg(status == 200 || status == 403, "status %d", status);
        if (status == 200)
            snprintf(parts[i], sizeof(*parts), "f%u.%.8s.part", i, view.id);
        i += status == 200;
        refused += status == 403;
        ck_assert_uint_lt(refused, 20 * RACERS);
    }
    call(&service, &alice, "POST", "/resume");
    wait_until(all_ended, NULL, 5 * SOON, "all tasks end");
    for (unsigned i = 0; i < 3; i++) {
        kill(attackers[i], SIGKILL);
        ck_assert_int_eq(wait_exit(attackers[i], SOON), -SIGKILL);
    }
    long finished = read_count(&service, "FINISHED"), failed = read_count(&service, "FAILED");
    fprintf(stderr, "# finished %ld, failed %ld, refused at first %u\n", finished, failed, refused);
    ck_assert_int_eq(finished + failed, RACERS);
    ck_assert_int_gt(finished, 0);
    expect_canaries();
    ck_assert_uint_eq(count_names(roots, NULL), 3);
    ck_assert_uint_eq(count_names(his, NULL), 2);
    ck_assert_uint_eq(count_names(hidden, NULL), 1);
    _cleanup_view_ struct task_view after = {0};
    download(&alice, NULL, &after);
}
END_TEST

/* --- filers that die or stand still --- */

/* Kills her filer, if there is one. Apart enough that one request seldom meets it twice. */
static unsigned kill_filer(int64_t *last)
{
    pid_t pids[8];
    if (harness_now() < *last + 100 || service_filers(&service, ALICE_UID, pids, 8) == 0)
        return 0;
    *last = harness_now();
    return kill(pids[0], SIGKILL) == 0;
}

START_TEST(filers_killed_again_and_again)
{
    static struct task_view tasks[2000];
    int64_t last = 0;
    unsigned killed = 0, count = 0;
    for (; (count < 100 || killed <= 3) && count < COUNT(tasks); count++) {
        add(&alice, textf("/bytes/20000/k%u", count), NULL, &tasks[count]);
        killed += kill_filer(&last);
    }
    while (!all_ended(NULL))
        killed += killed < 12 ? kill_filer(&last) : 0;
    ck_assert_uint_gt(killed, 3);
    for (unsigned i = 0; i < count; i++) {
        wait_state(&service, &alice, tasks[i].id, "FINISHED", SOON);
        ck_assert_int_eq(origin_expect_file(tasks[i].dest, textf("/bytes/20000/k%u", i)), 0);
        task_view_release(&tasks[i]);
    }
}
END_TEST

START_TEST(a_stopped_filer_is_told_and_waited_for)
{
    _cleanup_view_ struct task_view hers = {0}, before = {0};
    pid_t filers[8];
    download(&alice, NULL, &before);
    call(&service, &alice, "POST", "/pause");
    add(&alice, "/bytes/1000/hers", NULL, &hers);
    ck_assert_uint_eq(service_filers(&service, ALICE_UID, filers, 8), 1);
    ck_assert_int_eq(kill(filers[0], SIGSTOP), 0);
    call(&service, &alice, "POST", "/resume");
    wait_until(waits_for_storage, hers.id, SOON, "hers waits for storage");
    int64_t begin = harness_now();
    for (unsigned i = 0; i < 20; i++) {
        _cleanup_view_ struct task_view his = {0};
        add(&bob, "/bytes/1000/his", NULL, &his);
        wait_state(&service, &bob, his.id, "FINISHED", SOON);
    }
    ck_assert_int_lt(harness_now() - begin, 10000);
    ck_assert_str_eq(member(&alice, hers.id, "status"), "ENQUEUED");
    ck_assert_int_eq(kill(filers[0], SIGCONT), 0);
    wait_state(&service, &alice, hers.id, "FINISHED", SOON);
}
END_TEST

/* What is asked of many is done for those whose file systems answer. */
START_TEST(a_stopped_filer_does_not_hold_up_what_is_asked_of_many)
{
    _cleanup_view_ struct task_view running = {0}, hers = {0}, his = {0};
    pid_t filers[8];
    add(&alice, "/status/404/hers", NULL, &hers);
    wait_state(&service, &alice, hers.id, "FAILED", SOON);
    add(&alice, "/gate/many?size=1000", NULL, &running);
    wait_state(&service, &alice, running.id, "DOWNLOADING", SOON);
    wait_until(has_bytes, running.id, SOON, "its first bytes are there");
    ck_assert_uint_eq(service_filers(&service, ALICE_UID, filers, 8), 1);
    ck_assert_int_eq(kill(filers[0], SIGSTOP), 0);
    origin_open_gate(origin, "many");
    wait_state(&service, &alice, running.id, "FINISHING", SOON);
    add(&bob, "/status/404/his", NULL, &his);
    wait_state(&service, &bob, his.id, "FAILED", SOON);

    int64_t begin = harness_now();
    ck_assert_int_eq(v1(&root, "POST", "/v1/tasks/forget",
                        "{\"status\": \"FAILED\", \"scope\": \"all\"}", NULL),
                     503);
    ck_assert_int_lt(harness_now() - begin, 15000);
    ck_assert_int_eq(v1(&bob, "GET", textf("/v1/tasks/%s", his.id), NULL, NULL), 404);
    ck_assert_int_eq(v1(&alice, "GET", textf("/v1/tasks/%s", hers.id), NULL, NULL), 200);
    ck_assert_int_eq(kill(filers[0], SIGCONT), 0);
    wait_state(&service, &alice, running.id, "FINISHED", SOON);
    /* It was left as it is: neither forgotten later, nor kept from who asks again. */
    ck_assert_int_eq(v1(&alice, "GET", textf("/v1/tasks/%s", hers.id), NULL, NULL), 200);
    ck_assert_int_eq(v1(&root, "POST", "/v1/tasks/forget",
                        "{\"status\": \"FAILED\", \"scope\": \"all\"}", NULL),
                     200);
    wait_until(is_gone, hers.id, SOON, "hers is forgotten");
}
END_TEST

/* --- what a reload changes --- */

START_TEST(a_reload_decides_who_is_served)
{
    _cleanup_view_ struct task_view hers = {0}, his = {0}, view = {0}, hidden = {0};
    static const char *const without_alice[] = {"allow-users = alias, dora\n",
                                                "first-uid = 51002\n"};
    for (unsigned i = 0; i < 2; i++) {
        task_view_release(&hers);
        task_view_release(&his);
        call(&service, &root, "POST", "/pause");
        add(&alice, "/bytes/1000/hers", NULL, &hers); /* with a filer that runs */
        reconfigure(without_alice[i]);
        ck_assert_int_eq(add_task(&service, &alice, "http://127.0.0.1/a", NULL, &view), 403);
        call(&service, &root, "POST", "/resume");
        wait_state(&service, &root, hers.id, "FAILED", SOON);
        ck_assert_str_eq(member(&dora, hers.id, "error.code"), "permission");
        ck_assert_uint_eq(service_filers(&service, ALICE_UID, (pid_t[8]){0}, 8), 0);
        ck_assert_int_eq(v1(&root, "POST", textf("/v1/tasks/%s/retry", hers.id), NULL, NULL), 200);
        wait_state(&service, &root, hers.id, "FAILED", SOON);
        reconfigure("");
        ck_assert_int_eq(v1(&alice, "POST", textf("/v1/tasks/%s/retry", hers.id), NULL, NULL), 200);
        wait_state(&service, &alice, hers.id, "FINISHED", SOON);
    }
    const char *secret = textf("%s/.secret", home_of(&alice));
    ck_assert_int_eq(add_task(&service, &alice, "http://127.0.0.1/a", secret, &view), 403);
    reconfigure("allow-hidden = yes\n");
    download(&alice, secret, &hidden);
    reconfigure("");
    ck_assert_int_eq(add_task(&service, &alice, "http://127.0.0.1/a", secret, &view), 403);
    remove_tree(secret);
}
END_TEST

/* A configuration with a mistake changes nothing, neither here nor there. */
START_TEST(a_bad_reload_changes_nothing)
{
    _cleanup_view_ struct task_view task = {0};
    configure("allow-users = bob\nmax-tasks-num = many\n");
    ck_assert_int_eq(kill(service.monitor, SIGHUP), 0);
    service_wait_log(&service, "not reloaded, the old settings stay", SOON);
    download(&alice, NULL, &task);
}
END_TEST

/* --- a service that was taken over, and its monitor --- */

static struct settings strict;

static int ask(int control, uid_t uid, int *ret_filer)
{
    int ends[2];
    struct wire_control message = {.kind = WIRE_SPAWN_FILER, .uid = uid, .umask = 022};
    struct wire_hello hello;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0 ||
        wire_send(control, &message, sizeof(message), ends[1]) < 0)
        _exit(90);
    close(ends[1]);
    int r = wire_receive(ends[0], &hello, sizeof(hello), NULL, SOON);
    *ret_filer = ends[0];
    return r < 0 ? r : hello.error;
}

/* The value is the number of the first case that went wrong. */
static int ask_for_filers(int control, void *data)
{
    static const struct {
        uid_t uid;
        int error;
    } cases[] = {
        {0,           -EACCES}, /* root */
        {DAEMON_UID,  -EACCES}, /* below first-uid */
        {SERVICE_UID, -EACCES},
        {65534,       -EACCES},
        {(uid_t)-1,   -EACCES},
        {DORA_UID,    -EACCES}, /* not in allow-users */
        {51999,       -ENOENT}, /* no such user */
        {ALICE_UID,   0      },
        {BOB_UID,     0      }, /* by his other name */
    };
    (void)data;
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int filer, r = ask(control, cases[i].uid, &filer);
        if (r != cases[i].error) {
            fprintf(stderr, "# uid %u: %d\n", cases[i].uid, r);
            return (int)i + 1;
        }
        close(filer);
    }
    kill(getppid(), SIGTERM);
    struct wire_control stop;
    return wire_receive(control, &stop, sizeof(stop), NULL, SOON) == 0 ? 0 : 80;
}

START_TEST(the_monitor_knows_whom_it_serves)
{
    char message[256];
    ck_assert_int_eq(settings_init(&strict, "/nonexistent"), 0);
    ck_assert_int_eq(settings_set(&strict, "allow-users", "alice, alias, nosuch", message), 0);
    struct monitor_options options = {
        .run_as = "_autodl",
        .settings = &strict,
        .state_dir = textf("%s/asked", service.dir),
    };
    fflush(NULL);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0)
        _exit(monitor_run(&options, ask_for_filers, NULL));
    ck_assert_int_eq(wait_exit(pid, SOON), 0);
    settings_release(&strict);
}
END_TEST

/* --- directories that root makes --- */

static int start_in(const char *state_dir, const char *socket)
{
    service.log_start = 0;
    return service_start_failing(&service, "--state-dir", state_dir, "--socket", socket, NULL);
}

START_TEST(root_is_led_nowhere)
{
    service_stop(&service);
    const char *state = textf("%s/lib", service.dir), *socket = service.socket;
    const char *hers = owned_directory(textf("%s/hers", service.dir), &alice, ALICE_UID, 0755);
    const char *target = owned_directory(textf("%s/target", service.dir), &root, 0, 0755);
    const char *shared = owned_directory(textf("%s/open", service.dir), &root, 0, 0777);
    const char *sticky = owned_directory(textf("%s/sticky", service.dir), &root, 0, 01777);
    ck_assert_int_eq(symlink(target, textf("%s/link", hers)), 0);
    ck_assert_int_eq(symlink(target, textf("%s/link", sticky)), 0);
    ck_assert_int_eq(lchown(textf("%s/link", sticky), ALICE_UID, ALICE_UID), 0);
    ck_assert_int_eq(symlink(hers, textf("%s/into-hers", service.dir)), 0);
    const char *unsafe[] = {hers, textf("%s/link", hers), shared, textf("%s/link", sticky),
                            textf("%s/into-hers", service.dir)};
    for (unsigned i = 0; i < 5; i++) {
        ck_assert_int_eq(start_in(textf("%s/new", unsafe[i]), socket), 1);
        service_wait_log(&service, "somebody else than root may change the way to it", SOON);
        ck_assert_int_eq(start_in(state, textf("%s/new/s", unsafe[i])), 1);
    }
    ck_assert_uint_eq(count_names(hers, NULL), 1);
    ck_assert_uint_eq(count_names(target, NULL), 0);
    ck_assert_uint_eq(count_names(shared, NULL), 0);

    /* By root's own links it may go. */
    ck_assert_int_eq(symlink("target", textf("%s/way", service.dir)), 0);
    service.socket = textf("%s/run/autodl.sock", textf("%s/way", service.dir));
    start("022");
    expect_file(textf("%s/run", target), SERVICE_UID, SERVICE_UID, 0755);
    expect_file(textf("%s/run/autodl.sock", target), SERVICE_UID, SERVICE_UID, 0666);
}
END_TEST

int main(void)
{
    const char *why = make_accounts();
    if (why)
        return harness_skip(why);
    Suite *suite = suite_create("attack");
    TCase *tcase = tcase_create("attack");
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_set_timeout(tcase, 300);
    tcase_add_test(tcase, umask_groups_and_setgid);
    tcase_add_test(tcase, default_acls);
    tcase_add_test(tcase, bob_learns_nothing_and_changes_nothing);
    tcase_add_test(tcase, planted_at_the_final_name);
    tcase_add_test(tcase, planted_at_the_part);
    tcase_add_test(tcase, overwriting_follows_no_link);
    tcase_add_test(tcase, links_swapped_while_tasks_finish);
    tcase_add_test(tcase, filers_killed_again_and_again);
    tcase_add_test(tcase, a_stopped_filer_is_told_and_waited_for);
    tcase_add_test(tcase, a_stopped_filer_does_not_hold_up_what_is_asked_of_many);
    tcase_add_test(tcase, a_reload_decides_who_is_served);
    tcase_add_test(tcase, a_bad_reload_changes_nothing);
    tcase_add_test(tcase, the_monitor_knows_whom_it_serves);
    tcase_add_test(tcase, root_is_led_nowhere);
    suite_add_tcase(suite, tcase);
    return harness_main(suite);
}
