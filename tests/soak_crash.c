/*
 * The crash loop: kill -9 at random moments, of everything or of one process, while tasks are
 * added, downloaded, finished, held, cancelled and cleared; then a new start, and a look at what
 * became of each. One service, one store and one origin for all rounds.
 *
 * ROUNDS=n: how many (300). SEED=n: the same choices again; the moments are the machine's.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hostile.h"
#include "v1.h"

#define ROUNDS_DEFAULT 300
#define SOON           60000 /* ms */
#define KILL_AFTER     500   /* ms, at most */
#define BURST          60    /* ms */
#define LONG_ROUND     10    /* each so many rounds is a long one, for the large files */
#define TASKS_A_ROUND  16
#define LARGE_AT_ONCE  2
/* Each connection is slow, so that they are fetched in ranges by all workers that are idle. */
#define LARGE          "size=24000000&rate=1000000"
#define FILERS_MAX     16

enum victim {
    EVERYTHING,
    SERVICE,
    MONITOR,
    FILER,
    VICTIMS,
};

enum style {
    ADDING,
    CLEARING,
    MEDDLING, /* hold, release, cancel */
    STYLES,
};

struct tracked {
    char id[40]; /* "": not acknowledged */
    char name[32];
    char path[128];
    const char *must_be; /* what an acknowledged verb says, or NULL */
    bool may_be_gone;    /* a clear or cancel without an answer */
    char ended[16];      /* the end state that was seen first */
};

static struct service service;
static struct hostile *hostile;
static uint64_t dice;

static unsigned round_number;
static const char *directory, *large_directory;
static struct tracked tasks[TASKS_A_ROUND]; /* of this round */
static unsigned task_count;
static struct tracked *ended; /* of all rounds */
static unsigned ended_count;
static struct tracked large[LARGE_AT_ONCE];

static struct {
    unsigned added, acknowledged, finished, cleared, cancelled, kills[VICTIMS];
    /* what must not be */
    unsigned missing, two_states, failed, undone, different, stray, unexpected;
} counts;

static unsigned roll(unsigned sides)
{
    dice ^= dice << 13;
    dice ^= dice >> 7;
    dice ^= dice << 17;
    return (unsigned)(dice >> 33) % sides;
}

#define complain(counter, ...)                                                                     \
    do {                                                                                           \
        counts.counter++;                                                                          \
        printf("# round %u, " #counter ": ", round_number);                                        \
        printf(__VA_ARGS__);                                                                       \
        printf("\n");                                                                              \
        fflush(stdout);                                                                            \
    } while (0)

static void start(void)
{
    service_start(&service, "--retry-wait", "20ms", "--retry-max-wait", "100ms", "--min-free",
                  "off", NULL);
}

/* --- what people do; false: the service does not answer --- */

static const char *url_of(const char *path)
{
    return textf("http://127.0.0.1:%u%s", hostile_port(hostile), path);
}

static const char *percent_encoded(const char *text)
{
    char coded[1024] = "", *to = coded;
    ck_assert_uint_lt(3 * strlen(text), sizeof(coded));
    for (; *text; text++)
        to += snprintf(to, 4, "%%%02x", (unsigned char)*text);
    return textf("%s", coded);
}

static const char *random_path(const char *name)
{
    static const char *const ways[] = {
        "", "", "", "", "&do=chunked", "&do=cut&times=1", "&do=reset&times=1", "&etag=node"};
    unsigned kind = roll(10), size = roll(kind < 6 ? 20000 : kind < 9 ? 300000 : 1000000);
    return textf("/%s?size=%u%s%s", name, size, kind < 9 ? "" : "&rate=2000000",
                 ways[roll(sizeof(ways) / sizeof(*ways))]);
}

static bool add_to(struct tracked *task, const char *where)
{
    const char *body = "", *url = url_of(task->path);
    bool classic = roll(4) == 0;
    int status =
        classic ? v1_call(&service, "POST",
                          textf("/add?url=%s&path=%s", percent_encoded(url), where), NULL, &body)
                : v1_try_add(&service, url, where, NULL, &body);
    counts.added++;
    if (status <= 0)
        return false;
    ck_assert_msg(status == 200 || status == 201 || status == 503, "adding gives %d: %s", status,
                  body);
    const char *json = classic ? json_at(body, "task") : body;
    const char *id = status == 503 || !json ? NULL : json_at(json, "id");
    if (id) {
        snprintf(task->id, sizeof(task->id), "%s", id);
        counts.acknowledged++;
    }
    return true;
}

static bool add_one(void)
{
    if (task_count == TASKS_A_ROUND) { /* enough: is it still there? */
        poll(NULL, 0, 5);
        return v1_call(&service, "GET", "/stats", NULL, NULL) > 0;
    }
    struct tracked *task = &tasks[task_count++];
    *task = (struct tracked){0};
    snprintf(task->name, sizeof(task->name), "r%u-%u", round_number, task_count);
    snprintf(task->path, sizeof(task->path), "%s", random_path(task->name));
    return add_to(task, directory);
}

/* Two large files are always under way: they need several rounds, and show what is fetched again.
 */
static void add_large(void)
{
    for (unsigned i = 0; i < LARGE_AT_ONCE; i++) {
        if (large[i].id[0])
            continue;
        large[i] = (struct tracked){0};
        snprintf(large[i].name, sizeof(large[i].name), "large-%u-%u", round_number, i);
        snprintf(large[i].path, sizeof(large[i].path), "%s", textf("/%s?%s", large[i].name, LARGE));
        add_to(&large[i], large_directory);
    }
}

/* Everything waits, so what was acknowledged before the answer to /clear must be CLEARED. */
static bool clear_some(void)
{
    if (v1_call(&service, "POST", "/pause", NULL, NULL) != 200)
        return false;
    for (unsigned i = 0; i < 4; i++)
        if (!add_one())
            return false;
    int status = v1_call(&service, "POST", "/clear", NULL, NULL);
    for (unsigned i = 0; i < LARGE_AT_ONCE; i++)
        large[i].may_be_gone = true;
    for (unsigned i = 0; i < task_count; i++) {
        if (status == 200 && tasks[i].id[0])
            tasks[i].must_be = "CLEARED";
        else
            tasks[i].may_be_gone = true;
    }
    return status == 200 && v1_call(&service, "POST", "/resume", NULL, NULL) == 200;
}

static bool meddle(void)
{
    static const char *const names[] = {"hold", "release", "cancel"};
    unsigned verb = roll(3);
    struct tracked *task = task_count ? &tasks[roll(task_count)] : NULL;
    if (!task || !task->id[0])
        return add_one();
    if (task->must_be && strcmp(task->must_be, "CANCELLED") == 0)
        return true;
    int status =
        v1_call(&service, "POST", textf("/v1/tasks/%s/%s", task->id, names[verb]), NULL, NULL);
    if (status == 200)
        task->must_be = verb == 0 ? "PAUSED" : verb == 2 ? "CANCELLED" : NULL;
    else if (status != 409)
        task->may_be_gone = task->may_be_gone || verb == 2, task->must_be = NULL;
    return status > 0;
}

static bool act(enum style style)
{
    if (style == CLEARING && task_count == 0)
        return clear_some();
    if (style == MEDDLING && roll(2))
        return meddle();
    return add_one();
}

/* --- the killer, a process of its own so that it strikes in the middle of a request --- */

static void strike(enum victim victim)
{
    pid_t filers[FILERS_MAX], process = service_process(&service);
    unsigned count = service_filers(&service, (uid_t)-1, filers, FILERS_MAX);
    if (victim == MONITOR || victim == EVERYTHING)
        kill(service.monitor, SIGKILL);
    if (victim == SERVICE || victim == EVERYTHING)
        kill(process, SIGKILL);
    for (unsigned i = 0; i < count && (victim == FILER || victim == EVERYTHING); i++)
        kill(filers[i], SIGKILL);
}

static pid_t start_killer(enum victim victim, int delay)
{
    fflush(stdout);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid > 0)
        return pid;
    poll(NULL, 0, delay);
    strike(victim);
    _exit(EXIT_SUCCESS);
}

/* --- what must be so --- */

/* NULL: there is no such task. */
static const char *state_of(const struct tracked *task)
{
    const char *body = "";
    int status = v1_call(&service, "GET", textf("/v1/tasks/%s", task->id), NULL, &body);
    ck_assert_msg(status == 200 || status == 404, "asking gives %d: %s", status, body);
    return status == 200 ? json_at(body, "status") : NULL;
}

/* Right after the start. */
static void check_acknowledged(const struct tracked *task)
{
    const char *state = task->id[0] ? state_of(task) : "";
    if (!state)
        complain(missing, "%s (%s)", task->name, task->id);
    else if (task->id[0] && task->must_be && strcmp(state, task->must_be) != 0)
        complain(undone, "%s was %s and is %s", task->name, task->must_be, state);
}

static const char *now_of(const struct tracked *task)
{
    const char *state = state_of(task);
    return state ? state : "missing";
}

static unsigned unfinished_large(void)
{
    unsigned count = 0;
    for (unsigned i = 0; i < LARGE_AT_ONCE; i++)
        count += large[i].id[0] && !v1_ended(now_of(&large[i]));
    return count;
}

static unsigned long unfinished(void)
{
    const char *body = "";
    ck_assert_int_eq(v1_call(&service, "GET", "/stats", NULL, &body), 200);
    unsigned long count = 0;
    static const char *const states[] = {"ENQUEUED", "DOWNLOADING", "FINISHING", "PAUSED"};
    for (unsigned i = 0; i < 4; i++)
        count += strtoul(json_at(body, textf("tasks.%s", states[i])), NULL, 10);
    return count;
}

static bool is_drained(void *data)
{
    unsigned before = data ? 0 : unfinished_large();
    unsigned long count = unfinished();
    return count == before && (data || unfinished_large() == before);
}

static void release_held(void)
{
    ck_assert_int_eq(v1_call(&service, "POST", "/resume", NULL, NULL), 200);
    for (unsigned i = 0; i < task_count; i++)
        if (tasks[i].id[0] && strcmp(now_of(&tasks[i]), "PAUSED") == 0)
            v1_verb(&service, tasks[i].id, "release", 200);
}

/* The counters agree with the tasks, and nothing waits or runs but the large ones (`all`: nothing).
 */
static void drain(bool all)
{
    wait_until(is_drained, all ? &counts : NULL, SOON, "all has ended");
}

static void remember_end(struct tracked *task, const char *state)
{
    snprintf(task->ended, sizeof(task->ended), "%s", state);
    ended = realloc(ended, (ended_count + 1) * sizeof(*ended));
    ck_assert_ptr_nonnull(ended);
    ended[ended_count++] = *task;
}

static void check_file(const struct tracked *task, const char *where, bool wanted)
{
    const char *file = textf("%s/%s", where, task->name);
    int result = hostile_expect_file(file, task->path, 0);
    if (wanted ? result != 0 : result != 0 && result != -ENOENT)
        complain(different, "%s: %s", task->path, strerror(-result));
    if (!wanted && task->id[0] && result != -ENOENT)
        complain(unexpected, "%s has a file, and is %s", task->name, task->ended);
}

/* Once it has ended. */
static void check_ended(struct tracked *task, const char *where)
{
    const char *state = task->id[0] ? now_of(task) : "";
    bool finished = strcmp(state, "FINISHED") == 0;
    bool cleared = strcmp(state, "CLEARED") == 0, cancelled = strcmp(state, "CANCELLED") == 0;
    bool gone_by_wish = task->may_be_gone || (task->must_be && strcmp(task->must_be, state) == 0);
    counts.finished += finished;
    counts.cleared += cleared;
    counts.cancelled += cancelled;
    if (task->id[0])
        remember_end(task, state);
    if (task->id[0] && task->must_be && strcmp(task->must_be, state) != 0)
        complain(undone, "%s was %s and is %s", task->name, task->must_be, state);
    else if (task->id[0] && !finished && !((cleared || cancelled) && gone_by_wish))
        complain(failed, "%s is %s: %s", task->path, state, v1_get(&service, task->id, ""));
    check_file(task, where, finished);
}

/* No part, no second copy: each name is that of a task. */
static void check_directory(const char *where, const struct tracked *list, unsigned count)
{
    unsigned names = 0, parts = count_names(where, ".part");
    for (unsigned i = 0; i < count; i++)
        names += file_exists(textf("%s/%s", where, list[i].name));
    if (parts > 0)
        complain(stray, "%u parts in %s", parts, where);
    else if (names != count_names(where, NULL))
        complain(unexpected, "%u names in %s, not %u", count_names(where, NULL), where, names);
}

static bool no_part_left(void *data)
{
    return count_names(data, ".part") == 0;
}

static void wait_no_parts(const char *where) /* parts are removed after the answer */
{
    int64_t end = harness_now() + 5000;
    while (!no_part_left((void *)where) && harness_now() < end)
        poll(NULL, 0, 5);
}

static void check_round(void)
{
    wait_no_parts(directory);
    for (unsigned i = 0; i < task_count; i++)
        check_ended(&tasks[i], directory);
    check_directory(directory, tasks, task_count);
    remove_tree(directory);
}

/* Those that have ended make room for new ones. */
static void check_large(void)
{
    for (unsigned i = 0; i < LARGE_AT_ONCE; i++) {
        if (!large[i].id[0] || !v1_ended(now_of(&large[i])))
            continue;
        check_ended(&large[i], large_directory);
        unlink(textf("%s/%s", large_directory, large[i].name));
        large[i].id[0] = '\0';
    }
}

/* --- rounds --- */

static void start_again(void)
{
    service_wait(&service, SOON);
    start();
    for (unsigned i = 0; i < task_count; i++)
        check_acknowledged(&tasks[i]);
    for (unsigned i = 0; i < LARGE_AT_ONCE; i++)
        check_acknowledged(&large[i]);
}

/* So that the blow falls while we are at it: some rounds are one burst around that moment, others
 * spread over the time before. */
static void act_until_struck(enum victim victim, enum style style, int delay)
{
    bool burst = roll(2);
    int64_t end = harness_now() + delay + (victim == FILER ? 0 : SOON);
    if (burst && delay > BURST)
        poll(NULL, 0, delay - (int)roll(BURST));
    while (harness_now() < end && act(style))
        poll(NULL, 0, burst ? 0 : (int)roll(2 * (unsigned)delay / TASKS_A_ROUND + 1));
}

static void run_round(void)
{
    enum victim victim = (enum victim)roll(VICTIMS);
    enum style style = (enum style)roll(STYLES);
    bool is_long = round_number % LONG_ROUND == 0;
    int delay = is_long ? 2000 + (int)roll(1000) : (int)roll(KILL_AFTER);

    directory = make_directory(&service, textf("r%u", round_number));
    task_count = 0;
    add_large();
    pid_t killer = start_killer(victim, delay);
    act_until_struck(victim, style, delay);
    ck_assert_int_eq(wait_exit(killer, SOON), 0);
    counts.kills[victim]++;
    if (victim != FILER)
        start_again();
    release_held();
    for (unsigned i = 0; i < task_count; i++)
        if (tasks[i].must_be && strcmp(tasks[i].must_be, "PAUSED") == 0)
            tasks[i].must_be = NULL;
    drain(false);
    check_round();
    check_large();
    while (waitpid(-1, NULL, WNOHANG) > 0) /* what the dead left behind */
        ;
}

/* A task ends once: what was seen as its end is still that. */
static void check_ends(void)
{
    for (unsigned i = 0; i < ended_count; i++) {
        const char *state = state_of(&ended[i]);
        if (!state)
            complain(missing, "%s (%s)", ended[i].name, ended[i].id);
        else if (strcmp(state, ended[i].ended) != 0)
            complain(two_states, "%s was %s and is %s", ended[i].name, ended[i].ended, state);
    }
}

static uint64_t number_from(const char *variable, uint64_t otherwise)
{
    const char *text = getenv(variable);
    return text && *text ? strtoull(text, NULL, 10) : otherwise;
}

static void report(uint64_t sent, uint64_t again, uint64_t unexcused)
{
    printf("# %u rounds: killed everything %u times, service %u, monitor %u, filers %u\n",
           round_number, counts.kills[EVERYTHING], counts.kills[SERVICE], counts.kills[MONITOR],
           counts.kills[FILER]);
    printf("# %u added, %u acknowledged: %u finished, %u cleared, %u cancelled\n", counts.added,
           counts.acknowledged, counts.finished, counts.cleared, counts.cancelled);
    printf("# missing %u, in two states %u, failed %u, undone %u, different %u, stray parts %u, "
           "unexpected files %u\n",
           counts.missing, counts.two_states, counts.failed, counts.undone, counts.different,
           counts.stray, counts.unexpected);
    printf("# %llu bytes sent, %llu of them again, %llu beyond what is excused\n",
           (unsigned long long)sent, (unsigned long long)again, (unsigned long long)unexcused);
    fflush(stdout);
}

START_TEST(crash_loop)
{
    unsigned rounds = (unsigned)number_from("ROUNDS", ROUNDS_DEFAULT);
    uint64_t sent, again, seed = number_from("SEED", (uint64_t)harness_now());
    printf("# SEED=%llu ROUNDS=%u\n", (unsigned long long)seed, rounds);
    dice = seed * 2 + 1;
    ck_assert_int_eq(hostile_start(0, &hostile), 0);
    service_init(&service);
    large_directory = make_directory(&service, "large");
    start();
    for (round_number = 1; round_number <= rounds; round_number++)
        run_round();
    round_number--;
    drain(true);
    check_large();
    check_ends();
    wait_no_parts(large_directory);
    check_directory(large_directory, NULL, 0);
    uint64_t unexcused = hostile_unexcused(hostile, &sent, &again);
    report(sent, again, unexcused);
    ck_assert_uint_eq(counts.missing + counts.two_states + counts.failed + counts.undone, 0);
    ck_assert_uint_eq(counts.different + counts.stray + counts.unexpected, 0);
    ck_assert_uint_eq(unexcused, 0);
    service_release(&service);
    hostile_stop(hostile);
    free(ended);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("crash");
    TCase *tcase = tcase_create("loop");
    tcase_set_timeout(tcase, 0);
    tcase_add_test(tcase, crash_loop);
    suite_add_tcase(suite, tcase);
    return harness_main(suite);
}
