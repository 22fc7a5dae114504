#include "follow.h"

#include <errno.h>
#include <json-c/json.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/buf.h"
#include "common/cleanup.h"
#include "common/units.h"
#include "human.h"
#include "live.h"
#include "output.h"
#include "sse.h"
#include "view.h"

#define TEXT_BYTES   ((size_t)1 << 16)
#define ONE_BY_ONE   50              /* ids: more are looked up in lists */
#define DRAW_EVERY   100             /* ms */
#define GIVE_UP      INT64_C(300000) /* ms without a connection, after there was one */
#define PATIENCE_MIN 250             /* ms between attempts to connect */
#define PATIENCE_MAX 5000

struct follow {
    const struct command_call *call;
    const struct follow_wish *wish;
    struct json_object *tasks; /* id -> task, or null while nothing is known of it */
    struct client *twin;       /* for looking while the events come; NULL: not needed yet */
    struct sse sse;
    struct live *live; /* or NULL */
    int64_t begun_at;  /* realtime: what ended before is of no interest */
    int64_t deadline;  /* boot time; 0: none */
    int64_t drawn_at;  /* boot time */
    bool is_connected, was_connected;
    enum api_exit failure; /* of a look */
};

static volatile sig_atomic_t interrupted, resized;

static void on_signal(int number)
{
    if (number == SIGWINCH)
        resized = 1;
    else
        interrupted = 1;
}

/* --- what there is --- */

static bool is_unfinished(struct json_object *task)
{
    struct view view;
    return !task || !view_read(task, &view) || !view_has_ended(&view);
}

static bool all_ended(const struct follow *follow)
{
    if (!follow->was_connected)
        return false;
    json_object_object_foreach(follow->tasks, id, task)
    {
        (void)id;
        if (is_unfinished(task))
            return false;
    }
    return true;
}

struct counts {
    unsigned running, waiting, held, finished, failed;
    int64_t rate;
};

static struct counts count(const struct follow *follow)
{
    struct counts counts = {0};
    struct view view;

    json_object_object_foreach(follow->tasks, id, task)
    {
        (void)id;
        if (!task || !view_read(task, &view))
            counts.waiting++;
        else if (strcmp(view.status, "FINISHED") == 0)
            counts.finished++;
        else if (view_went_wrong(&view))
            counts.failed++;
        else if (strcmp(view.status, "PAUSED") == 0)
            counts.held++;
        else if (strcmp(view.status, "ENQUEUED") == 0)
            counts.waiting++;
        else
            counts.running++, counts.rate += view.rate > 0 ? view.rate : 0;
    }
    return counts;
}

/* --- what is seen of it --- */

static void add_count(struct buf *buf, unsigned number, const char *word)
{
    if (number > 0)
        buf_printf(buf, "%s%u %s", buf->len ? ", " : "", number, word);
}

static void add_summary(struct buf *buf, const struct counts *counts)
{
    char rate[HUMAN_MAX];

    add_count(buf, counts->running, "running");
    add_count(buf, counts->waiting, "waiting");
    add_count(buf, counts->held, "held");
    add_count(buf, counts->finished, "finished");
    add_count(buf, counts->failed, "failed");
    if (counts->rate > 0)
        buf_printf(buf, "  %s/s", human_size(counts->rate, rate));
}

static void draw(struct follow *follow)
{
    _cleanup_(buf_release) struct buf summary = {0};
    struct counts counts = count(follow);
    bool is_single = json_object_object_length(follow->tasks) == 1 && !follow->wish->with_new;
    struct view view;

    if (!follow->live)
        return;
    buf_init(&summary, TEXT_BYTES);
    resized = 0;
    follow->drawn_at = units_now_boottime();
    live_begin(follow->live);
    json_object_object_foreach(follow->tasks, id, task)
    {
        (void)id;
        if (!task || !view_read(task, &view) || view_has_ended(&view))
            continue;
        if (is_single || strcmp(view.status, "DOWNLOADING") == 0 ||
            strcmp(view.status, "FINISHING") == 0)
            live_add(follow->live, &view);
    }
    add_summary(&summary, &counts);
    live_end(follow->live, is_single ? NULL : summary.data);
}

/* A line that stays. */
static void print_change(struct follow *follow, struct json_object *task)
{
    struct view view;
    bool is_read = view_read(task, &view);

    if (follow->live)
        live_erase(follow->live);
    if (!follow->wish->is_silent)
        view_print(task, output_is_json(follow->wish->is_classic));
    else if (is_read && view_went_wrong(&view))
        output_note("%s: %s%s%s", view.name ? view.name : view.id, view_state_word(&view),
                    view.error_message ? ": " : "", view.error_message ? view.error_message : "");
    if (!follow->live)
        output_flush();
}

/* What is worth a line: a new state, and each attempt that failed. A person sees the others live.
 */
static bool is_news(const struct follow *follow, const struct view *before, const struct view *now)
{
    bool is_retry = now->reason && strcmp(now->reason, "retry") == 0 &&
                    (!before || before->attempts != now->attempts || !before->reason ||
                     strcmp(before->reason, "retry") != 0);
    bool is_change = !before || strcmp(before->status, now->status) != 0;

    if (view_has_ended(now))
        return is_change;
    if (follow->wish->is_silent)
        return false;
    bool is_finishing = strcmp(now->status, "FINISHING") == 0;
    return is_retry || (is_change && !is_finishing && !follow->live);
}

static bool is_followed(const struct follow *follow, const char *id)
{
    return json_object_object_get_ex(follow->tasks, id, NULL) || follow->wish->with_new;
}

/* Takes note of a task as it is now. */
static void see_task(struct follow *follow, struct json_object *task)
{
    struct json_object *old = NULL;
    struct view now, before;

    if (!view_read(task, &now) || !is_followed(follow, now.id))
        return;
    json_object_object_get_ex(follow->tasks, now.id, &old);
    bool has_old = old && view_read(old, &before);
    bool news = is_news(follow, has_old ? &before : NULL, &now);
    json_object_object_add(follow->tasks, now.id, json_object_get(task));
    if (news)
        print_change(follow, task);
}

/* --- looking --- */

static void look_at(struct follow *follow, const char *id)
{
    struct json_object *task;
    enum api_exit status = tasks_get(follow->twin, id, &task);

    if (status == API_EXIT_DONE) {
        see_task(follow, task);
    } else if (status == API_EXIT_NO_TASK) { /* forgotten meanwhile; that was said */
        struct json_object *gone = json_object_new_object();
        json_object_object_add(gone, "id", json_object_new_string(id));
        json_object_object_add(gone, "status", json_object_new_string("CANCELLED"));
        json_object_object_add(follow->tasks, id, gone);
    } else {
        follow->failure = status;
    }
}

struct seen {
    struct follow *follow;
    struct json_object *ids; /* id -> null */
};

static bool on_listed(void *data, struct json_object *task)
{
    struct seen *seen = data;
    struct view view;

    if (!view_read(task, &view))
        return true;
    json_object_object_add(seen->ids, view.id, NULL);
    if (!seen->follow->was_connected && !seen->follow->wish->ids)
        json_object_object_add(seen->follow->tasks, view.id, NULL);
    see_task(seen->follow, task);
    return true;
}

/* At first, without ids, the unfinished ones; later those too that ended meanwhile. */
static void look_at_list(struct follow *follow, struct json_object *seen_ids)
{
    struct seen seen = {follow, seen_ids};
    _cleanup_(buf_release) struct buf query = {0};
    char time[HUMAN_MAX];

    buf_init(&query, TEXT_BYTES);
    if (!follow->was_connected && !follow->wish->ids)
        client_add_field(&query, "status", "ENQUEUED,DOWNLOADING,FINISHING,PAUSED");
    else
        client_add_field(&query, "since", human_rfc3339(follow->begun_at, time));
    enum api_exit status = tasks_each(follow->twin, query.data, 0, on_listed, &seen);
    if (status != API_EXIT_DONE)
        follow->failure = status;
}

/* All of them, since what happened meanwhile is not known. */
static void look(struct follow *follow)
{
    struct json_object *seen = json_object_new_object();
    struct id_list left = {0};

    if (!follow->twin)
        follow->twin = client_twin(follow->call->client);
    if (!follow->twin) {
        follow->failure = cmd_no_memory();
        json_object_put(seen);
        return;
    }
    if (!follow->wish->ids || follow->wish->ids->count > ONE_BY_ONE)
        look_at_list(follow, seen);
    json_object_object_foreach(follow->tasks, id, task)
    {
        if (is_unfinished(task) && !json_object_object_get_ex(seen, id, NULL))
            id_list_add(&left, id);
    }
    for (size_t i = 0; i < left.count && follow->failure == API_EXIT_DONE; i++)
        look_at(follow, left.ids[i]);
    id_list_release(&left);
    json_object_put(seen);
    follow->was_connected = true;
}

/* --- events --- */

static void merge(struct follow *follow, struct json_object *progress)
{
    struct json_object *id = NULL, *task = NULL;

    if (!json_object_object_get_ex(progress, "id", &id) ||
        !json_object_object_get_ex(follow->tasks, json_object_get_string(id), &task) || !task)
        return;
    json_object_object_foreach(progress, name, value)
        json_object_object_add(task, name, json_object_get(value));
}

static bool on_event(void *data, const char *name, const char *text, size_t len)
{
    struct follow *follow = data;

    (void)len;
    struct json_object *object = json_tokener_parse(text);
    if (strcmp(name, "reset") == 0)
        look(follow);
    else if (strcmp(name, "task") == 0 && object)
        see_task(follow, object);
    else if (strcmp(name, "progress") == 0 && object)
        merge(follow, object);
    json_object_put(object);
    return follow->failure == API_EXIT_DONE;
}

static bool is_enough(const struct follow *follow)
{
    return interrupted || follow->failure != API_EXIT_DONE ||
           (follow->is_connected && all_ended(follow)) ||
           (follow->deadline && units_now_boottime() >= follow->deadline);
}

static bool on_tick(void *data)
{
    struct follow *follow = data;

    if (follow->is_connected && (resized || units_now_boottime() >= follow->drawn_at + 1000))
        draw(follow);
    return !is_enough(follow);
}

static bool on_data(void *data, const char *bytes, size_t len)
{
    struct follow *follow = data;

    if (!follow->is_connected) { /* from here on nothing is missed */
        follow->is_connected = true;
        look(follow);
    }
    sse_feed(&follow->sse, bytes, len);
    if (units_now_boottime() >= follow->drawn_at + DRAW_EVERY)
        draw(follow);
    return !is_enough(follow);
}

/* --- the connection --- */

/* One connection to its end. */
static void listen_once(struct follow *follow, struct client_answer *ret_answer)
{
    struct client_listener listener = {.on_data = on_data, .on_tick = on_tick, .data = follow};
    _cleanup_(buf_release) struct buf query = {0};
    const struct id_list *ids = follow->wish->ids;
    int64_t rest = follow->deadline ? follow->deadline - units_now_boottime() : 0;

    buf_init(&query, TEXT_BYTES);
    for (size_t i = 0; ids && ids->count <= ONE_BY_ONE && i < ids->count; i++)
        client_add_field(&query, "task", ids->ids[i]);
    sse_restart(&follow->sse);
    follow->is_connected = false;
    client_listen(follow->call->client,
                  &(struct client_request){.path = "/v1/events", .query = query.data}, &listener,
                  follow->deadline ? (rest > 1 ? rest : 1) : 0, ret_answer);
}

/* Less than `ms` if a signal comes. */
static void sleep_for(int64_t ms)
{
    struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    nanosleep(&time, NULL);
}

/* Until it is enough, or nobody answers. */
static enum api_exit listen_on(struct follow *follow)
{
    int64_t patience = PATIENCE_MIN, lost_at = 0;
    struct client_answer answer;

    for (;;) {
        listen_once(follow, &answer);
        if (follow->failure != API_EXIT_DONE || interrupted || is_enough(follow))
            return follow->failure;
        bool is_refusal = !answer.error && answer.status >= 400 && answer.status < 500;
        int64_t now = units_now_boottime();
        if (follow->is_connected)
            patience = PATIENCE_MIN, lost_at = 0;
        if (!follow->was_connected || is_refusal || (lost_at && now > lost_at + GIVE_UP))
            return cmd_judge(&answer, NULL);
        if (!lost_at) {
            lost_at = now;
            if (follow->live)
                live_erase(follow->live);
            output_flush();
            output_note("the connection to %s broke; connecting again",
                        client_name(follow->call->client));
        }
        int64_t rest = follow->deadline ? follow->deadline - now : patience;
        sleep_for(rest < patience ? rest > 0 ? rest : 0 : patience);
        patience = patience * 2 < PATIENCE_MAX ? patience * 2 : PATIENCE_MAX;
        if (interrupted || (follow->deadline && units_now_boottime() >= follow->deadline))
            return API_EXIT_DONE;
    }
}

/* --- the end --- */

static enum api_exit judge(const struct follow *follow)
{
    unsigned failed = 0, no_room = 0, checksum = 0;
    struct view view;

    json_object_object_foreach(follow->tasks, id, task)
    {
        (void)id;
        if (!task || !view_read(task, &view) || !view_went_wrong(&view))
            continue;
        const char *code =
            strcmp(view.status, "FAILED") == 0 && view.error_code ? view.error_code : "";
        failed++;
        no_room += strcmp(code, "disk") == 0 || strcmp(code, "too_large") == 0;
        checksum += strcmp(code, "checksum") == 0;
    }
    if (failed == 0)
        return API_EXIT_DONE;
    if (no_room == failed)
        return API_EXIT_NO_ROOM;
    return checksum == failed ? API_EXIT_CHECKSUM : API_EXIT_REFUSED;
}

/* What goes on without us. */
static void say_what_is_left(const struct follow *follow, const char *why)
{
    struct counts counts = count(follow);
    unsigned left = counts.running + counts.waiting + counts.held;
    char id[VIEW_ID_MAX] = "", more[64] = "";

    json_object_object_foreach(follow->tasks, key, task) if (is_unfinished(task))
        view_short_id(key, id);
    if (left == 0)
        return;
    if (left > 1)
        snprintf(more, sizeof more, " (%u)", left);
    output_note("%sstill %s%s; autodl watch%s%s", why,
                counts.running   ? "downloading"
                : counts.waiting ? "waiting"
                                 : "held",
                more, left == 1 ? " " : "", left == 1 ? id : "");
}

static enum api_exit finish(struct follow *follow, enum api_exit status)
{
    _cleanup_(buf_release) struct buf summary = {0};
    struct counts counts = count(follow);

    buf_init(&summary, TEXT_BYTES);
    if (follow->live)
        live_erase(follow->live);
    if (follow->live && json_object_object_length(follow->tasks) != 1) {
        add_summary(&summary, &counts);
        output_print("%s\n", summary.data ? summary.data : "Nothing waits or runs.");
    }
    output_flush();
    if (interrupted) {
        say_what_is_left(follow, "");
        return API_EXIT_INTERRUPTED;
    }
    if (status != API_EXIT_DONE)
        return status;
    if (all_ended(follow))
        return judge(follow);
    say_what_is_left(follow, "time is up; ");
    return API_EXIT_TIMEOUT;
}

static void catch_signals(bool with_resize)
{
    struct sigaction action = {.sa_handler = on_signal}; /* no SA_RESTART: waiting ends */

    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    if (with_resize)
        sigaction(SIGWINCH, &action, NULL);
}

enum api_exit follow(const struct command_call *call, const struct follow_wish *wish)
{
    struct follow follow = {
        .call = call,
        .wish = wish,
        .tasks = json_object_new_object(),
        .begun_at = units_now_realtime() - 5000,
        .deadline = wish->timeout ? units_now_boottime() + wish->timeout : 0,
    };

    sse_init(&follow.sse, on_event, &follow);
    if (output_to_terminal() && !wish->is_silent)
        follow.live = live_create();
    for (size_t i = 0; wish->ids && i < wish->ids->count; i++) {
        struct json_object *task = NULL;
        json_object_object_get_ex(wish->known, wish->ids->ids[i], &task);
        json_object_object_add(follow.tasks, wish->ids->ids[i], json_object_get(task));
    }
    catch_signals(follow.live != NULL);
    enum api_exit status = finish(&follow, listen_on(&follow));
    live_destroy(follow.live);
    sse_release(&follow.sse);
    client_destroy(follow.twin);
    json_object_put(follow.tasks);
    return status;
}
