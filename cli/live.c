#include "live.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "bar.h"
#include "common/cleanup.h"
#include "human.h"
#include "output.h"
#include "width.h"

#define LINES_MAX  64
#define TEXT_BYTES ((size_t)1 << 16)
#define BAR_WIDTH  20
#define NAME_MIN   12
#define WIDE       80 /* columns: with a bar */
#define NARROW     60 /* columns: below that without the bytes */

struct live {
    unsigned widths[LINES_MAX]; /* of the lines that stand on the terminal */
    unsigned count;
    unsigned columns, rows; /* of the terminal */
    unsigned left_out;
};

struct live *live_create(void)
{
    return calloc(1, sizeof(struct live));
}

void live_destroy(struct live *live)
{
    free(live);
}

/* A terminal that became narrower has broken the lines. */
void live_erase(struct live *live)
{
    unsigned rows = 0;

    output_size(&live->columns, &live->rows);
    for (unsigned i = 0; i < live->count; i++)
        rows += live->widths[i] > 0 ? (live->widths[i] - 1) / live->columns + 1 : 1;
    if (live->count > 0)
        output_rewind(rows);
    live->count = 0;
}

void live_begin(struct live *live)
{
    live_erase(live);
    live->left_out = 0;
}

static void print_line(struct live *live, const char *text)
{
    _cleanup_(buf_release) struct buf line = {0};

    buf_init(&line, TEXT_BYTES);
    width_add_cut(&line, text, live->columns - 1); /* one less: nothing wraps */
    live->widths[live->count++] = (unsigned)width_of(line.data ? line.data : "");
    output_print("%s\n", line.data ? line.data : "");
}

/* "45% [===>   ]  1.2G of 3.4G  12M/s  1m 03s left  x3" */
static void add_progress(struct buf *buf, const struct view *view, unsigned columns)
{
    bool is_known = view->bytes_total > 0;
    char done[HUMAN_MAX], total[HUMAN_MAX], rate[HUMAN_MAX], left[HUMAN_MAX];

    if (is_known)
        buf_printf(buf, "%3d%%", (int)(view->bytes_done * 100 / view->bytes_total));
    if (columns >= WIDE) {
        buf_add_char(buf, ' ');
        bar_add(buf, view->bytes_done, view->bytes_total, BAR_WIDTH);
    }
    if (columns >= NARROW || !is_known)
        buf_printf(buf, " %5s", human_size(view->bytes_done < 0 ? 0 : view->bytes_done, done));
    if (columns >= NARROW && is_known)
        buf_printf(buf, " of %s", human_size(view->bytes_total, total));
    if (view->rate >= 0)
        buf_printf(buf, "  %5s/s", human_size(view->rate, rate));
    if (view->eta >= 0)
        buf_printf(buf, "  %s left", human_duration(view->eta * 1000, left));
    if (view->ranges > 1)
        buf_printf(buf, "  x%" PRId64, view->ranges);
}

static void add_blanks(struct buf *buf, size_t count)
{
    while (count-- > 0)
        buf_add_char(buf, ' ');
}

void live_add(struct live *live, const struct view *view)
{
    _cleanup_(buf_release) struct buf line = {0}, name = {0}, right = {0};
    char id[VIEW_ID_MAX];

    if (live->count + 2 >= live->rows || live->count + 2 >= LINES_MAX) { /* one for the summary */
        live->left_out++;
        return;
    }
    buf_init(&line, TEXT_BYTES);
    buf_init(&name, TEXT_BYTES);
    buf_init(&right, TEXT_BYTES);
    output_add_visible(&name, view->name ? view->name : "?");
    if (strcmp(view->status, "DOWNLOADING") == 0)
        add_progress(&right, view, live->columns);
    else
        view_add_state(&right, view);
    buf_printf(&line, "%s  ", view_short_id(view->id, id));
    size_t taken = width_of(line.data) + width_of(right.data ? right.data : "") + 3;
    size_t room = live->columns > taken + NAME_MIN ? live->columns - taken : NAME_MIN;
    size_t width = width_of(name.data ? name.data : "");
    width_add_cut(&line, name.data ? name.data : "", room);
    if (width < room && live->columns >= WIDE) /* the right sides stand below each other */
        add_blanks(&line, room > 40 && width < 40 ? 40 - width : 0);
    buf_printf(&line, "  %s", right.data ? right.data : "");
    print_line(live, line.data ? line.data : "");
}

void live_end(struct live *live, const char *summary)
{
    _cleanup_(buf_release) struct buf line = {0};

    buf_init(&line, TEXT_BYTES);
    if (summary)
        buf_add_string(&line, summary);
    if (live->left_out)
        buf_printf(&line, "  (%u more are not shown)", live->left_out);
    if (line.len)
        print_line(live, line.data);
    output_flush();
}
