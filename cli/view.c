#include "view.h"

#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/cleanup.h"
#include "common/units.h"
#include "human.h"
#include "output.h"

#define SOON           3600000 /* ms: what comes sooner is told by how long it takes */
#define LINE_MAX_BYTES ((size_t)1 << 20)

static const char *get_text(struct json_object *object, const char *key)
{
    struct json_object *value;

    if (!json_object_object_get_ex(object, key, &value) ||
        !json_object_is_type(value, json_type_string))
        return NULL;
    return json_object_get_string(value);
}

/* As far as JSON's numbers are the same everywhere (RFC 8259, section 6): whatever a service says,
 * they can be multiplied by a hundred or a thousand. */
#define NUMBER_MAX (INT64_C(1) << 53)

static int64_t get_number(struct json_object *object, const char *key)
{
    struct json_object *value;

    if (!json_object_object_get_ex(object, key, &value) ||
        !json_object_is_type(value, json_type_int))
        return -1;
    int64_t number = json_object_get_int64(value);
    return number > NUMBER_MAX ? NUMBER_MAX : number < -NUMBER_MAX ? -NUMBER_MAX : number;
}

/* Seconds. */
static double get_duration(struct json_object *object)
{
    struct json_object *value = NULL;

    json_object_object_get_ex(object, "duration", &value);
    double duration = json_object_get_double(value);
    return duration >= 0 && duration < (double)NUMBER_MAX / 1000 ? duration : 0; /* nor NaN */
}

static int64_t get_time(struct json_object *object, const char *key)
{
    const char *text = get_text(object, key);
    int64_t ms;

    return text && units_parse_moment(text, &ms) == 0 ? ms : -1;
}

bool view_read(struct json_object *object, struct view *ret_view)
{
    struct json_object *waiting = NULL, *error = NULL;
    const char *id = get_text(object, "id"), *status = get_text(object, "status");

    if (!id || !status)
        return false;
    json_object_object_get_ex(object, "waiting_for", &waiting);
    json_object_object_get_ex(object, "error", &error);
    *ret_view = (struct view){
        .id = id,
        .status = status,
        .url = get_text(object, "url"),
        .user = get_text(object, "user"),
        .directory = get_text(object, "directory"),
        .name = get_text(object, "name"),
        .dest = get_text(object, "dest"),
        .label = get_text(object, "label"),
        .checksum = get_text(object, "checksum"),
        .reason = get_text(waiting, "reason"),
        .until = get_time(waiting, "until"),
        .error_code = get_text(error, "code"),
        .error_message = get_text(error, "message"),
        .position = get_number(object, "position"),
        .priority = get_number(object, "priority"),
        .bytes_done = get_number(object, "bytes_done"),
        .bytes_total = get_number(object, "bytes_total"),
        .rate = get_number(object, "bytes_per_second"),
        .eta = get_number(object, "eta_seconds"),
        .ranges = get_number(object, "ranges"),
        .attempts = get_number(object, "attempts"),
        .http_status = get_number(object, "http_status"),
        .rate_limit = get_number(object, "rate_limit"),
        .created = get_time(object, "created_at"),
        .started = get_time(object, "started_at"),
        .ended = get_time(object, "finished_at"),
        .not_before = get_time(object, "not_before"),
        .duration = get_duration(object),
    };
    return true;
}

/* --- states --- */

static const struct {
    const char *status, *word;
} states[] = {
    {"ENQUEUED",    "waiting"  },
    {"DOWNLOADING", "running"  },
    {"FINISHING",   "finishing"},
    {"PAUSED",      "held"     },
    {"FINISHED",    "finished" },
    {"FAILED",      "failed"   },
    {"CANCELLED",   "cancelled"},
    {"CLEARED",     "cleared"  },
};
#define STATES (sizeof states / sizeof *states)

const char *view_state(const char *word)
{
    for (size_t i = 0; i < STATES; i++)
        if (strcasecmp(word, states[i].status) == 0 || strcasecmp(word, states[i].word) == 0)
            return states[i].status;
    return NULL;
}

static bool is(const struct view *view, const char *status)
{
    return strcmp(view->status, status) == 0;
}

bool view_went_wrong(const struct view *view)
{
    return is(view, "FAILED") || is(view, "CLEARED") || is(view, "CANCELLED");
}

bool view_has_ended(const struct view *view)
{
    return is(view, "FINISHED") || view_went_wrong(view);
}

/* 'd' alone would leave "12345678" with it to be read as days. */
const char *view_short_id(const char *id, char text[static VIEW_ID_MAX])
{
    size_t len = strlen(id) < API_ID_LENGTH ? strlen(id) : API_ID_LENGTH;
    size_t shown = len < 8 ? len : 8;

    size_t letter = strcspn(id, "abcef") + 1;
    if (letter > shown)
        shown = letter < len ? letter : len;
    memcpy(text, id, shown);
    text[shown] = '\0';
    return text;
}

/* --- in words --- */

static void add_reason(struct buf *buf, const struct view *view)
{
    static const struct {
        const char *reason, *words, *until; /* NULL: when it ends is nothing to say */
    } reasons[] = {
        {"paused",     "paused",                      "until"},
        {"retry",      "trying again",                "at"   },
        {"host",       "its host is busy",            "until"},
        {"disk",       "no room on the disk",         NULL   },
        {"storage",    "the storage does not answer", NULL   },
        {"start_time", "to start",                    "at"   },
        {"after",      "until another one is there",  NULL   },
    };
    char text[HUMAN_MAX];

    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++) {
        if (strcmp(view->reason, reasons[i].reason) != 0)
            continue;
        buf_add_string(buf, reasons[i].words);
        int64_t rest = view->until - units_now_realtime();
        if (view->until >= 0 && reasons[i].until && strcmp(view->reason, "retry") == 0 &&
            rest < SOON)
            buf_printf(buf, " in %s",
                       human_duration(rest > 0 ? (rest + 999) / 1000 * 1000 : 0, text));
        else if (view->until >= 0 && reasons[i].until)
            buf_printf(buf, " %s %s", reasons[i].until, human_time(view->until, text));
        return;
    }
    if (view->position > 0)
        buf_printf(buf, "%s in line", human_ordinal(view->position, text));
    else
        buf_add_string(buf, "for its turn");
}

static void add_progress(struct buf *buf, const struct view *view)
{
    char size[HUMAN_MAX], rate[HUMAN_MAX], left[HUMAN_MAX];

    buf_add_string(buf, "running");
    if (view->bytes_total > 0)
        buf_printf(buf, ", %d%% of %s", (int)(view->bytes_done * 100 / view->bytes_total),
                   human_size(view->bytes_total, size));
    else if (view->bytes_done > 0)
        buf_printf(buf, ", %s", human_size(view->bytes_done, size));
    if (view->rate > 0)
        buf_printf(buf, " at %s/s", human_size(view->rate, rate));
    if (view->eta >= 0)
        buf_printf(buf, ", %s left", human_duration(view->eta * 1000, left));
}

const char *view_state_word(const struct view *view)
{
    for (size_t i = 0; i < STATES; i++)
        if (is(view, states[i].status))
            return states[i].word;
    return view->status;
}

void view_add_state(struct buf *buf, const struct view *view)
{
    char size[HUMAN_MAX], length[HUMAN_MAX];

    if (is(view, "DOWNLOADING")) {
        add_progress(buf, view);
    } else if (is(view, "ENQUEUED")) {
        buf_add_string(buf, "waiting");
        if (view->reason) {
            buf_add_string(buf,
                           strcmp(view->reason, "slot") == 0 && view->position <= 0 ? " " : ", ");
            add_reason(buf, view);
        }
    } else if (is(view, "FINISHED") && view->error_code &&
               strcmp(view->error_code, "exists") == 0) {
        buf_add_string(buf, "already there");
    } else if (is(view, "FINISHED")) {
        buf_printf(buf, "finished, %s in %s", human_size(view->bytes_done, size),
                   human_duration((int64_t)(view->duration * 1000), length));
    } else {
        buf_add_string(buf, view_state_word(view));
    }
}

void view_add_why(struct buf *buf, const struct view *view)
{
    bool waits = is(view, "ENQUEUED") && view->reason;

    if (waits)
        add_reason(buf, view);
    if (view->error_message && !is(view, "FINISHED")) {
        buf_add_string(buf, waits ? ": " : "");
        output_add_visible(buf, view->error_message);
    }
}

void view_add_directory(struct buf *buf, const char *directory)
{
    const char *home = secure_getenv("HOME");
    size_t len = home ? strlen(home) : 0;

    if (!directory)
        return;
    if (len > 1 && strncmp(directory, home, len) == 0 &&
        (directory[len] == '/' || directory[len] == '\0')) {
        buf_add_char(buf, '~');
        directory += len;
    }
    output_add_visible(buf, directory);
}

void view_print(struct json_object *object, bool as_json)
{
    _cleanup_(buf_release) struct buf line = {0};
    char id[VIEW_ID_MAX];
    struct view view;

    if (as_json || !view_read(object, &view)) {
        output_json(object);
        return;
    }
    buf_init(&line, LINE_MAX_BYTES);
    view_add_state(&line, &view);
    buf_add_string(&line, "  ");
    output_add_visible(&line, view.name ? view.name : "?");
    buf_add_string(&line, " \xe2\x86\x92 ");
    view_add_directory(&line, view.directory);
    if (view.error_message && !is(&view, "FINISHED")) {
        buf_add_string(&line, "  (");
        output_add_visible(&line, view.error_message);
        buf_add_char(&line, ')');
    }
    output_paint(PAINT_BOLD);
    output_print("%s", view_short_id(view.id, id));
    output_paint(PAINT_NONE);
    output_print("  %s\n", line.data ? line.data : "");
}
