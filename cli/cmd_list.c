#include <json-c/json.h>
#include <stdio.h>
#include <string.h>

#include "cmd.h"
#include "common/buf.h"
#include "common/cleanup.h"
#include "common/units.h"
#include "human.h"
#include "output.h"
#include "pauses.h"
#include "table.h"
#include "tasks.h"
#include "view.h"

#define QUERY_MAX ((size_t)1 << 16)
#define ROWS      500 /* columns are as wide as these many rows need */
#define RECENTLY  INT64_C(86400000)

struct listing {
    struct table *table; /* NULL: a line each */
    size_t count, in_table;
    bool is_paused; /* one waits for the end of a pause */
};

/* clang-format off */
static const struct table_column columns[] = {
    {.title = "ID"},
    {.title = "STATE"},
    {.title = "SIZE", .is_right = true},
    {.title = "NAME", .is_flexible = true, .least = 20},
    {.title = "NOTE", .is_flexible = true, .is_cut_at_end = true, .least = 16},
};
/* clang-format on */
#define COLUMNS (sizeof columns / sizeof *columns)

static enum output_paint paint_of(const struct view *view)
{
    if (strcmp(view->status, "FAILED") == 0)
        return PAINT_RED;
    if (strcmp(view->status, "FINISHED") == 0)
        return PAINT_GREEN;
    if (strcmp(view->status, "DOWNLOADING") == 0)
        return PAINT_BOLD;
    return view_has_ended(view) ? PAINT_DIM : PAINT_NONE;
}

static void add_size(struct buf *buf, const struct view *view)
{
    char text[HUMAN_MAX];

    if (view->bytes_total >= 0 || view->bytes_done > 0)
        buf_add_string(
            buf, human_size(view->bytes_total >= 0 ? view->bytes_total : view->bytes_done, text));
}

/* How far it is, how fast, or why it is not. */
static void add_note(struct buf *buf, const struct view *view)
{
    _cleanup_(buf_release) struct buf why = {0};
    bool is_begun = view->bytes_total > 0 && view->bytes_done > 0 && !view_has_ended(view);
    char text[HUMAN_MAX];

    buf_init(&why, QUERY_MAX);
    view_add_why(&why, view);
    if (strcmp(view->status, "DOWNLOADING") == 0 && view->rate > 0)
        buf_printf(&why, "%s/s", human_size(view->rate, text));
    if (strcmp(view->status, "DOWNLOADING") == 0 && view->eta >= 0)
        buf_printf(&why, ", %s left", human_duration(view->eta * 1000, text));
    if (is_begun)
        buf_printf(buf, "%d%%%s", (int)(view->bytes_done * 100 / view->bytes_total),
                   why.len ? ", " : "");
    if (why.len)
        buf_add_string(buf, why.data);
}

static void add_row(struct table *table, const struct view *view)
{
    _cleanup_(buf_release) struct buf size = {0}, note = {0};
    char id[VIEW_ID_MAX];

    buf_init(&size, QUERY_MAX);
    buf_init(&note, QUERY_MAX);
    add_size(&size, view);
    add_note(&note, view);
    const char *cells[COLUMNS] = {view_short_id(view->id, id), view_state_word(view), size.data,
                                  view->name, note.data};
    table_add(table, cells, paint_of(view));
}

static bool on_task(void *data, struct json_object *task)
{
    struct listing *listing = data;
    struct view view;

    if (!view_read(task, &view))
        return true;
    listing->count++;
    listing->is_paused = listing->is_paused || (view.reason && strcmp(view.reason, "paused") == 0);
    if (!listing->table) {
        view_print(task, output_is_json(false));
        return output_flush();
    }
    add_row(listing->table, &view);
    if (++listing->in_table % ROWS == 0)
        table_print(listing->table, listing->in_table == ROWS);
    return output_flush();
}

static enum api_exit add_time(const struct command_call *call, const char *option,
                              struct buf *query)
{
    const char *text = given_value(&call->given, option);
    char what[16], time[HUMAN_MAX];
    int64_t ms;

    if (!text)
        return API_EXIT_DONE;
    snprintf(what, sizeof what, "--%s", option);
    enum api_exit status = human_parse_time(what, text, true, &ms);
    if (status == API_EXIT_DONE)
        client_add_field(query, option, human_rfc3339(ms, time));
    return status;
}

/* Without another wish: the unfinished ones, and those that ended in the last 24 hours. */
static enum api_exit make_query(const struct command_call *call, struct buf *query,
                                size_t *ret_limit)
{
    const struct given *given = &call->given;
    const char *limit = given_value(given, "limit");
    uint64_t number = 0;
    char time[HUMAN_MAX];

    if (limit && units_parse_uint(limit, 1, 1000000000, &number) < 0)
        return output_fail(API_EXIT_USAGE, "--limit takes a number of tasks, not \"%s\"", limit);
    *ret_limit = (size_t)number;
    enum api_exit status = filter_add_query(call, query);
    if (status == API_EXIT_DONE)
        status = add_time(call, "since", query);
    if (status == API_EXIT_DONE)
        status = add_time(call, "until", query);
    if (!given_value(given, "state") && !given_value(given, "since") &&
        !given_value(given, "until"))
        client_add_field(query, "since", human_rfc3339(units_now_realtime() - RECENTLY, time));
    return status;
}

static void destroy_table(struct table **table)
{
    table_destroy(*table);
}

enum api_exit cmd_list(const struct command_call *call)
{
    _cleanup_(buf_release) struct buf query = {0};
    _cleanup_(destroy_table) struct table *table = NULL;
    struct listing listing = {0};
    size_t limit = 0;

    buf_init(&query, QUERY_MAX);
    enum api_exit status = make_query(call, &query, &limit);
    if (status != API_EXIT_DONE)
        return status;
    if (output_to_terminal()) {
        table = listing.table = table_create(columns, COLUMNS);
        if (!table)
            return cmd_no_memory();
    }
    status = tasks_each(call->client, query.data ? query.data : "", limit, on_task, &listing);
    if (listing.table)
        table_print(listing.table, listing.in_table < ROWS);
    if (status != API_EXIT_DONE)
        return status;
    if (listing.count == 0 && listing.table)
        output_print("%s\n",
                     filter_is_given(call) || given_value(&call->given, "since")
                         ? "None."
                         : "Nothing waits or runs, and nothing ended in the last 24 hours.");
    if (listing.is_paused && !output_is_json(false))
        pauses_shout(call);
    return status;
}
