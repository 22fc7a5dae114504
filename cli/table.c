#include "table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "width.h"

#define GAP      2
#define LEAST    4 /* columns that are left of anything */
#define CELL_MAX ((size_t)1 << 17)
#define BLANKS   "                                                                "

struct row {
    enum output_paint paint;
    char *cells[TABLE_COLUMNS_MAX];
};

struct table {
    const struct table_column *columns;
    size_t count;
    struct row *rows;
    size_t row_count, row_size;
};

struct table *table_create(const struct table_column *columns, size_t count)
{
    struct table *table = calloc(1, sizeof *table);

    if (table)
        *table = (struct table){.columns = columns, .count = count};
    return table;
}

static void release_row(const struct table *table, struct row *row)
{
    for (size_t i = 0; i < table->count; i++)
        free(row->cells[i]);
}

static void forget_rows(struct table *table)
{
    for (size_t i = 0; i < table->row_count; i++)
        release_row(table, &table->rows[i]);
    table->row_count = 0;
}

void table_destroy(struct table *table)
{
    if (!table)
        return;
    forget_rows(table);
    free(table->rows);
    free(table);
}

/* What a cell looks like, before it is cut. */
static char *visible(const char *text)
{
    struct buf buf;

    buf_init(&buf, CELL_MAX);
    output_add_visible(&buf, text ? text : "");
    return buf_take(&buf);
}

int table_add(struct table *table, const char *const *cells, enum output_paint paint)
{
    struct row row = {.paint = paint};

    if (table->row_count == table->row_size) {
        size_t size = table->row_size ? 2 * table->row_size : 64;
        struct row *grown = reallocarray(table->rows, size, sizeof *grown);
        if (!grown)
            return -ENOMEM;
        table->rows = grown;
        table->row_size = size;
    }
    for (size_t i = 0; i < table->count; i++) {
        row.cells[i] = visible(cells[i]);
        if (!row.cells[i]) {
            release_row(table, &row);
            return -ENOMEM;
        }
    }
    table->rows[table->row_count++] = row;
    return 0;
}

/* A column in which nothing stands has no width, and is left out. */
static void measure(const struct table *table, bool with_titles, size_t *widths)
{
    for (size_t c = 0; c < table->count; c++) {
        widths[c] = 0;
        for (size_t r = 0; r < table->row_count; r++) {
            size_t width = width_of(table->rows[r].cells[c]);
            widths[c] = width > widths[c] ? width : widths[c];
        }
        size_t title = with_titles && widths[c] ? width_of(table->columns[c].title) : 0;
        widths[c] = title > widths[c] ? title : widths[c];
    }
}

static size_t total(const struct table *table, const size_t *widths)
{
    size_t sum = 0;

    for (size_t c = 0; c < table->count; c++)
        sum += widths[c] ? widths[c] + (sum ? GAP : 0) : 0;
    return sum;
}

/* Takes columns from the widest flexible one, while one is wider than it has to be, until all fits.
 * On a narrow terminal they have to be narrower still. */
static void fit(const struct table *table, size_t *widths, size_t columns, bool is_narrow)
{
    while (total(table, widths) > columns) {
        size_t widest = table->count;
        for (size_t c = 0; c < table->count; c++) {
            size_t least = is_narrow ? LEAST : table->columns[c].least;
            if (table->columns[c].is_flexible && widths[c] > least &&
                (widest == table->count || widths[c] > widths[widest]))
                widest = c;
        }
        if (widest == table->count)
            return;
        widths[widest]--;
    }
}

static void add_blanks(struct buf *buf, size_t count)
{
    for (; count > strlen(BLANKS); count -= strlen(BLANKS))
        buf_add_string(buf, BLANKS);
    buf_add(buf, BLANKS, count);
}

/* Adds what fits into the column; how wide that is. */
static size_t add_cell(struct buf *line, const struct table_column *column, const char *text,
                       size_t width, size_t blanks)
{
    _cleanup_(buf_release) struct buf cut = {0};

    buf_init(&cut, CELL_MAX);
    if (column->is_cut_at_end)
        width_add_start(&cut, text, width);
    else
        width_add_cut(&cut, text, width);
    size_t taken = width_of(cut.data ? cut.data : "");
    if (taken == 0)
        return 0;
    add_blanks(line, blanks + (column->is_right ? width - taken : 0));
    buf_add_string(line, cut.data);
    return column->is_right ? width : taken;
}

static void print_row(const struct table *table, const char *const *cells, const size_t *widths,
                      enum output_paint paint)
{
    _cleanup_(buf_release) struct buf line = {0};
    size_t blanks = 0; /* in front of what comes: nothing stands behind the last text */

    buf_init(&line, CELL_MAX * TABLE_COLUMNS_MAX);
    for (size_t c = 0; c < table->count; c++) {
        if (widths[c] == 0)
            continue;
        size_t taken = add_cell(&line, &table->columns[c], cells[c], widths[c], blanks);
        blanks = (taken ? 0 : blanks) + widths[c] - taken + GAP;
    }
    if (paint != PAINT_NONE)
        output_paint(paint);
    output_print("%s", line.data ? line.data : "");
    if (paint != PAINT_NONE)
        output_paint(PAINT_NONE);
    output_print("\n");
}

void table_print(struct table *table, bool with_titles)
{
    const char *titles[TABLE_COLUMNS_MAX];
    size_t widths[TABLE_COLUMNS_MAX];
    unsigned columns, rows;

    output_size(&columns, &rows);
    measure(table, with_titles, widths);
    fit(table, widths, columns, false);
    fit(table, widths, columns, true);
    for (size_t c = 0; c < table->count; c++)
        titles[c] = table->columns[c].title;
    if (with_titles && table->row_count > 0)
        print_row(table, titles, widths, PAINT_DIM);
    for (size_t r = 0; r < table->row_count; r++)
        print_row(table, (const char *const *)table->rows[r].cells, widths, table->rows[r].paint);
    forget_rows(table);
}
