#include <json-c/json.h>
#include <stdio.h>
#include <string.h>

#include "bar.h"
#include "cmd.h"
#include "common/buf.h"
#include "common/cleanup.h"
#include "human.h"
#include "output.h"
#include "pauses.h"
#include "view.h"

#define TEXT_BYTES ((size_t)1 << 14)
#define POINTS_MAX 120

static struct json_object *member(struct json_object *object, const char *key)
{
    struct json_object *value = NULL;
    json_object_object_get_ex(object, key, &value);
    return value;
}

/* "3 running, 12 waiting, ..." of {"ENQUEUED": 12, ...}. */
static void print_counts(const char *title, struct json_object *counts)
{
    static const struct {
        const char *state, *word;
    } states[] = {
        {"DOWNLOADING", "running"  },
        {"FINISHING",   "finishing"},
        {"ENQUEUED",    "waiting"  },
        {"PAUSED",      "held"     },
        {"FINISHED",    "finished" },
        {"FAILED",      "failed"   },
        {"CANCELLED",   "cancelled"},
        {"CLEARED",     "cleared"  },
    };
    _cleanup_(buf_release) struct buf line = {0};

    buf_init(&line, TEXT_BYTES);
    if (!counts)
        return;
    for (size_t i = 0; i < sizeof states / sizeof *states; i++) {
        int64_t number = json_object_get_int64(member(counts, states[i].state));
        if (number > 0)
            buf_printf(&line, "%s%lld %s", line.len ? ", " : "", (long long)number, states[i].word);
    }
    output_print("%-9s %s\n", title, line.len ? line.data : "none");
}

static size_t read_series(struct json_object *series, int64_t numbers[static POINTS_MAX])
{
    size_t count =
        json_object_is_type(series, json_type_array) ? json_object_array_length(series) : 0;
    size_t from = count > POINTS_MAX ? count - POINTS_MAX : 0;

    for (size_t i = from; i < count; i++)
        numbers[i - from] = json_object_get_int64(json_object_array_get_idx(series, i));
    return count - from;
}

/* Bytes of each few seconds; the last one may be growing. */
static void print_rates(struct json_object *stats)
{
    _cleanup_(buf_release) struct buf line = {0};
    int64_t numbers[POINTS_MAX], most = 0, sum = 0;
    char mean[HUMAN_MAX], peak[HUMAN_MAX];
    int64_t step = json_object_get_int64(member(stats, "step_seconds"));
    size_t count = read_series(member(stats, "bytes"), numbers);

    buf_init(&line, TEXT_BYTES);
    if (count == 0 || step <= 0)
        return;
    for (size_t i = 0; i < count; i++) {
        sum += numbers[i];
        most = numbers[i] > most ? numbers[i] : most;
    }
    bar_add_sparkline(&line, numbers, count);
    output_print("%-9s |", "10 min");
    output_paint(PAINT_BLUE);
    output_print("%s", line.data ? line.data : "");
    output_paint(PAINT_NONE);
    output_print("|\n");
    output_print("%-9s %s/s on average, %s/s at most\n", "",
                 human_size(sum / (int64_t)count / step, mean), human_size(most / step, peak));
}

static void print_disk(struct json_object *stats)
{
    _cleanup_(buf_release) struct buf directory = {0};
    struct json_object *disk = member(stats, "disk");
    char text[HUMAN_MAX];

    buf_init(&directory, TEXT_BYTES);
    if (!disk)
        return;
    view_add_directory(&directory, json_object_get_string(member(disk, "directory")));
    output_print("%-9s %s free in %s\n", "disk",
                 human_size(json_object_get_int64(member(disk, "free")), text),
                 directory.data ? directory.data : "?");
}

enum api_exit cmd_stats(const struct command_call *call)
{
    struct client_answer answer;

    if (cmd_is_classic(call))
        return cmd_send(call, &(struct client_request){.path = "/stats", .expects = "tasks"});
    enum api_exit status = cmd_ask(
        call, &(struct client_request){.path = "/v1/stats", .expects = "tasks"}, NULL, &answer);
    if (status != API_EXIT_DONE)
        return status;
    if (output_is_json(true)) {
        output_json(answer.json);
        return status;
    }
    struct json_object *tasks = member(answer.json, "tasks");
    print_counts("yours", member(tasks, "own"));
    print_counts("all", member(tasks, "all"));
    print_rates(answer.json);
    print_disk(answer.json);
    output_flush();
    pauses_say(answer.json);
    return status;
}
