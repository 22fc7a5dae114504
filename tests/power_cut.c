/*
 * The parts of power_cut.sh that are not for a shell:
 *
 *   power_cut origin PORT [fast]     serves until its standard input ends; says the port
 *   power_cut work PORT              runs a service in $TMPDIR, with tasks, for a while
 *   power_cut flushes LOG            the first flush after the first record, and the last
 *   power_cut replay LOG IMAGE N S   the disk as it was at flush N; with S > 0 also a random half
 * of what was written between that and the next one power_cut verify PORT            starts the
 * service on what is left, and looks
 *
 * What the workload was told (added, finished, cancelled) it records behind the file system, on the
 * same disk ($POWER_CUT_DISK, from $POWER_CUT_OFFSET on), so that each cut says by itself what had
 * been acknowledged before it. The log is that of the kernel's dm-log-writes, written by QEMU.
 */
#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hostile.h"
#include "v1.h"

#define SOON        60000 /* ms */
#define TASKS       90
#define WORK_MS     14000 /* longer than a durable checkpoint takes to come */
#define LARGE       48000000 /* fetched in ranges by the workers that are idle, until the cut */
#define SECTOR      512
#define LOG_MAGIC   0x6a736677736872
#define LOG_FLUSH   1
#define LOG_DISCARD 4
#define WRITE_MAX   (64 << 20)

/* --- records --- */

#define RECORD_MAGIC "recorded"

struct record {
    char magic[8];
    char what; /* A: added, F: finished, C: cancelled */
    char id[40];
    char name[64];
};

static int disk_fd = -1;
static unsigned record_count;

static off_t record_position(unsigned number)
{
    return (off_t)strtoll(getenv("POWER_CUT_OFFSET"), NULL, 10) + (off_t)number * SECTOR;
}

static void open_disk(int flags)
{
    disk_fd = open(getenv("POWER_CUT_DISK"), flags | O_CLOEXEC);
    ck_assert_int_ge(disk_fd, 0);
}

static void record(char what, const char *id, const char *name)
{
    char sector[SECTOR] = "";
    struct record entry = {.magic = RECORD_MAGIC, .what = what};
    snprintf(entry.id, sizeof(entry.id), "%s", id);
    snprintf(entry.name, sizeof(entry.name), "%s", name);
    memcpy(sector, &entry, sizeof(entry));
    ck_assert_int_eq(pwrite(disk_fd, sector, SECTOR, record_position(record_count++)), SECTOR);
}

static bool read_record(unsigned number, struct record *ret_record)
{
    return pread(disk_fd, ret_record, sizeof(*ret_record), record_position(number)) ==
               (ssize_t)sizeof(*ret_record) &&
           memcmp(ret_record->magic, RECORD_MAGIC, sizeof(ret_record->magic)) == 0;
}

/* --- the workload --- */

static struct service service;
static unsigned origin_port;
static const char *directory;

struct added {
    const char *id, *name;
    bool ended;
};

/* A name says how large its file is. */
static const char *path_of(const char *name)
{
    unsigned long size = strtoul(strchr(name, '-') + 1, NULL, 10);
    return textf("/%s?size=%lu&rate=400000", name, size);
}

static const char *url_of(const char *name)
{
    return textf("http://127.0.0.1:%u%s", origin_port, path_of(name));
}

static void add_one(struct added *task, unsigned number)
{
    unsigned size = number == 0 ? LARGE : number % 8 == 1 ? 1000000 : number * 7919 % 30000;
    task->name = textf("f%u-%u", number, size);
    task->id = v1_add(&service, url_of(task->name), directory, NULL);
    record('A', task->id, task->name);
}

/* Records what it is told about the ends. */
static void look_after(struct added *task)
{
    if (!task->id || task->ended)
        return;
    task->ended = strcmp(v1_get(&service, task->id, "status"), "FINISHED") == 0;
    if (task->ended)
        record('F', task->id, task->name);
}

static void cancel(struct added *task)
{
    if (task->ended ||
        v1_call(&service, "POST", textf("/v1/tasks/%s/cancel", task->id), NULL, NULL) != 200)
        return;
    task->ended = true;
    record('C', task->id, task->name);
}

START_TEST(work)
{
    struct added tasks[TASKS] = {0};
    int64_t begin = harness_now(), most_ranges = 0;
    open_disk(O_WRONLY);
    service_init(&service);
    directory = make_directory(&service, "files");
    service_start(&service, "--min-free", "off", "--retry-wait", "50ms", NULL);
    for (unsigned i = 0; i < TASKS; i++) {
        add_one(&tasks[i], i);
        if (i % 11 == 9)
            cancel(&tasks[i]);
        for (unsigned k = 0; k <= i; k++)
            look_after(&tasks[k]);
        int64_t ranges = tasks[0].ended ? 0 : v1_number(&service, tasks[0].id, "ranges");
        most_ranges = ranges > most_ranges ? ranges : most_ranges;
        while (harness_now() < begin + (int64_t)i * WORK_MS / TASKS)
            poll(NULL, 0, 5);
    }
    service_kill_all(&service);
    file_write(getenv("POWER_CUT_SERVICE"), service.dir);
    ck_assert_int_gt(most_ranges, 2);
    printf("# %u records, up to %d ranges\n", record_count, (int)most_ranges);
}
END_TEST

/* --- the log --- */

struct log_entry {
    uint64_t sector, sectors, flags, length;
};

struct log_reader {
    int fd;
    uint64_t entries, next; /* all, and the number of the one that comes */
    uint64_t sector_size;
    off_t position;
};

__attribute__((noreturn)) static void die(const char *what)
{
    fprintf(stderr, "power_cut: %s: %s\n", what, strerror(errno));
    exit(EXIT_FAILURE);
}

static void open_log(const char *path, struct log_reader *reader)
{
    uint64_t super[3];
    uint32_t sector_size;
    reader->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (reader->fd < 0 || pread(reader->fd, super, sizeof(super), 0) != sizeof(super) ||
        pread(reader->fd, &sector_size, 4, sizeof(super)) != 4 || le64toh(super[0]) != LOG_MAGIC)
        die(path);
    reader->entries = le64toh(super[2]);
    reader->sector_size = le32toh(sector_size);
    reader->next = 0;
    reader->position = (off_t)reader->sector_size;
}

/* False at the end; `ret_data`: where its data is in the log. */
static bool read_entry(struct log_reader *reader, struct log_entry *ret_entry, off_t *ret_data)
{
    uint64_t raw[4];
    if (reader->next++ == reader->entries)
        return false;
    if (pread(reader->fd, raw, sizeof(raw), reader->position) != sizeof(raw))
        die("the log ends early");
    *ret_entry =
        (struct log_entry){le64toh(raw[0]), le64toh(raw[1]), le64toh(raw[2]), le64toh(raw[3])};
    *ret_data = reader->position + (off_t)reader->sector_size;
    reader->position = *ret_data;
    if (!(ret_entry->flags & LOG_DISCARD))
        reader->position += (off_t)(ret_entry->sectors * reader->sector_size);
    return true;
}

static int print_flushes(const char *log)
{
    struct log_reader reader;
    struct log_entry entry;
    off_t data;
    uint64_t flushes = 0, first = 0;
    off_t records = record_position(0);

    open_log(log, &reader);
    while (read_entry(&reader, &entry, &data)) {
        bool recorded = entry.sectors > 0 && (off_t)(entry.sector * reader.sector_size) >= records;
        flushes += entry.flags & LOG_FLUSH;
        if (recorded && first == 0)
            first = flushes + 1;
    }
    printf("%llu %llu\n", (unsigned long long)first, (unsigned long long)flushes);
    return EXIT_SUCCESS;
}

static void apply(const struct log_reader *reader, const struct log_entry *entry, off_t data,
                  int image)
{
    size_t len = (size_t)(entry->sectors * reader->sector_size);
    if (len == 0 || (entry->flags & LOG_DISCARD))
        return;
    char *bytes = len <= WRITE_MAX ? malloc(len) : NULL;
    if (!bytes || pread(reader->fd, bytes, len, data) != (ssize_t)len ||
        pwrite(image, bytes, len, (off_t)(entry->sector * reader->sector_size)) != (ssize_t)len)
        die("replay");
    free(bytes);
}

static int replay(const char *log, const char *path, uint64_t flush, unsigned seed)
{
    struct log_reader reader;
    struct log_entry entry;
    uint64_t flushes = 0;
    off_t data;
    int image = open(path, O_WRONLY | O_CLOEXEC);
    if (image < 0)
        die(path);
    open_log(log, &reader);
    srandom(seed);
    while (flushes <= flush && read_entry(&reader, &entry, &data)) {
        bool counts = flushes < flush || (seed > 0 && random() % 2);
        if (counts)
            apply(&reader, &entry, data, image);
        flushes += entry.flags & LOG_FLUSH;
        if (flushes == flush && seed == 0)
            break;
    }
    close(image);
    return EXIT_SUCCESS;
}

/* --- after the cut --- */

static void take_up(struct service *taken)
{
    _cleanup_free_ char *dir = file_read(getenv("POWER_CUT_SERVICE"));
    *taken = (struct service){.dir = textf("%s", dir), .notify_fd = -1};
    taken->home = textf("%s/home", taken->dir);
    taken->socket = textf("%s/run/autodl.sock", taken->dir);
    taken->log = textf("%s/log", taken->dir);
    taken->notify = textf("%s/notify", taken->dir);
    directory = textf("%s/files", taken->home);
}

static void expect_whole(const char *name)
{
    int result = hostile_expect_file(textf("%s/%s", directory, name), path_of(name), 0);
    ck_assert_msg(result == 0, "%s: %s", name, strerror(-result));
}

/* What has its final name is whole, before anybody repairs anything. */
static unsigned check_names(void)
{
    DIR *dir = opendir(directory);
    struct dirent *entry;
    unsigned count = 0;
    ck_assert_ptr_nonnull(dir);
    while ((entry = readdir(dir))) {
        if (entry->d_name[0] == '.' || strstr(entry->d_name, ".part"))
            continue;
        ck_assert_msg(!strchr(strchr(entry->d_name, '-') + 1, '-'), "a copy: %s", entry->d_name);
        expect_whole(entry->d_name);
        count++;
    }
    closedir(dir);
    return count;
}

static unsigned check_records(void)
{
    struct record entry;
    unsigned count = 0;
    for (unsigned i = 0; i < TASKS * 2; i++) {
        if (!read_record(i, &entry))
            continue; /* it was being written */
        const char *body = "";
        int status = v1_call(&service, "GET", textf("/v1/tasks/%s", entry.id), NULL, &body);
        ck_assert_msg(status == 200, "%s is lost", entry.name);
        const char *state = json_at(body, "status");
        if (entry.what == 'F')
            expect_whole(entry.name);
        ck_assert_msg(entry.what == 'A' ||
                          strcmp(state, entry.what == 'F' ? "FINISHED" : "CANCELLED") == 0,
                      "%s was %c and is %s", entry.name, entry.what, state);
        count++;
    }
    return count;
}

static bool all_ended(void *data)
{
    (void)data;
    return read_count(&service, "ENQUEUED") + read_count(&service, "DOWNLOADING") +
               read_count(&service, "FINISHING") ==
           0;
}

static void check_drained(void)
{
    struct record entry;
    wait_until(all_ended, NULL, SOON, "all has ended");
    ck_assert_int_eq(read_count(&service, "FAILED"), 0);
    ck_assert_uint_eq(count_names(directory, ".part"), 0);
    for (unsigned i = 0; i < TASKS * 2; i++) {
        if (!read_record(i, &entry))
            continue;
        const char *state = v1_get(&service, entry.id, "status");
        if (strcmp(state, "FINISHED") == 0)
            expect_whole(entry.name);
        else
            ck_assert_msg(strcmp(state, "CANCELLED") == 0, "%s is %s", entry.name, state);
    }
    check_names();
}

START_TEST(verify)
{
    open_disk(O_RDONLY);
    take_up(&service);
    unsigned names = check_names();
    service_start(&service, "--min-free", "off", "--retry-wait", "50ms", NULL);
    unsigned records = check_records();
    check_drained();
    service_stop(&service);
    printf("# verified: %u files, %u records\n", names, records);
}
END_TEST

static int run(const char *name, const TTest *test, const char *port)
{
    Suite *suite = suite_create("power cut");
    TCase *tcase = tcase_create(name);
    origin_port = (unsigned)strtoul(port, NULL, 10);
    tcase_set_timeout(tcase, 300);
    tcase_add_test(tcase, test);
    suite_add_tcase(suite, tcase);
    return harness_main(suite);
}

static int serve(const char *port, bool fast)
{
    struct hostile *hostile;
    char rest[64];
    int result = hostile_start((unsigned)strtoul(port, NULL, 10), &hostile);
    if (result < 0)
        return EXIT_FAILURE;
    if (fast)
        hostile_hurry(hostile);
    printf("%u\n", hostile_port(hostile));
    fflush(stdout);
    while (read(0, rest, sizeof(rest)) > 0)
        ;
    hostile_stop(hostile);
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    const char *command = argc > 2 ? argv[1] : "";
    if (strcmp(command, "origin") == 0)
        return serve(argv[2], argc > 3);
    if (strcmp(command, "work") == 0)
        return run("work", work, argv[2]);
    if (strcmp(command, "verify") == 0)
        return run("verify", verify, argv[2]);
    if (strcmp(command, "flushes") == 0)
        return print_flushes(argv[2]);
    if (strcmp(command, "replay") == 0 && argc == 6)
        return replay(argv[2], argv[3], strtoull(argv[4], NULL, 10),
                      (unsigned)strtoul(argv[5], NULL, 10));
    fprintf(stderr, "usage: see the head of power_cut.c\n");
    return EXIT_FAILURE;
}
