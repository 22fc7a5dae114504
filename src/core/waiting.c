#include "core/waiting.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

/* A task. It is in its strand's heap, or, `later`, in the heap of those that wait for their time.
 */
struct item {
    struct table_head head; /* key: the row */
    uint32_t strand;
    int64_t order; /* of those of one priority the smallest goes first; `later`: its time */
    uint32_t at;   /* where it stands in its heap */
    int8_t priority;
    bool later;
    uint8_t why;
    uint8_t given_back;
};

/* The tasks of one line for one host, as long as there are any, or some that were started run. The
 * line's heap has it while its first task may start. */
struct strand {
    struct table_head head; /* key: line and host, by number */
    uint32_t line, host;
    uint32_t next;  /* of the same host */
    uint32_t at;    /* where it stands in the line's heap; OUT: it is not there */
    uint32_t later; /* its tasks that wait for their time: there is room for them to come back */
    uint32_t running;
    struct heap items; /* the first to start on top */
};

struct host {
    struct table_head head; /* key: the caller's number for it */
    uint32_t strands;       /* the first one */
    uint32_t running;
    uint32_t at;   /* where it stands in the heap of held ones; OUT: it is not held */
    int64_t until; /* held back until then */
};

struct line {
    struct table_head head;
    uint32_t length;
    uint32_t strands; /* how many: the heap has room for all ... */
    uint32_t drained; /* ... these too, of which none waits */
    struct heap ready;
};

#define OUT UINT32_MAX

/* --- elements by number --- */

static struct item *item_at(const struct waiting *waiting, uint32_t number)
{
    return table_at(&waiting->items, number);
}

static struct strand *strand_at(const struct waiting *waiting, uint32_t number)
{
    return table_at(&waiting->strands, number);
}

static struct host *host_at(const struct waiting *waiting, uint32_t number)
{
    return table_at(&waiting->hosts, number);
}

static struct line *line_at(const struct waiting *waiting, uint32_t number)
{
    return table_at(&waiting->lines, number);
}

/* --- the four heaps --- */

static bool item_before(void *data, uint32_t a, uint32_t b)
{
    const struct item *left = item_at(data, a), *right = item_at(data, b);
    if (left->priority != right->priority)
        return left->priority > right->priority;
    return left->order < right->order;
}

static bool item_sooner(void *data, uint32_t a, uint32_t b)
{
    const struct item *left = item_at(data, a), *right = item_at(data, b);
    if (left->order != right->order)
        return left->order < right->order;
    return (int64_t)left->head.key < (int64_t)right->head.key;
}

static void item_stands(void *data, uint32_t number, uint32_t at)
{
    item_at(data, number)->at = at;
}

static bool strand_before(void *data, uint32_t a, uint32_t b)
{
    return item_before(data, strand_at(data, a)->items.slots[0],
                       strand_at(data, b)->items.slots[0]);
}

static void strand_stands(void *data, uint32_t number, uint32_t at)
{
    strand_at(data, number)->at = at;
}

static bool host_sooner(void *data, uint32_t a, uint32_t b)
{
    return host_at(data, a)->until < host_at(data, b)->until;
}

static void host_stands(void *data, uint32_t number, uint32_t at)
{
    host_at(data, number)->at = at;
}

static const struct heap_order by_turn = {item_before, item_stands};
static const struct heap_order by_time = {item_sooner, item_stands};
static const struct heap_order by_first_item = {strand_before, strand_stands};
static const struct heap_order by_patience = {host_sooner, host_stands};

/* --- hosts --- */

static bool is_held(const struct host *host)
{
    return host->at != OUT;
}

static bool is_busy(const struct waiting *waiting, const struct host *host)
{
    return host->running >= waiting->host_max;
}

/* The number; 0: no memory. */
static uint32_t get_host(struct waiting *waiting, uint64_t key)
{
    uint32_t number = table_find(&waiting->hosts, key);
    if (!number && (number = table_add(&waiting->hosts, key)))
        host_at(waiting, number)->at = OUT;
    return number;
}

static void forget_idle_host(struct waiting *waiting, uint32_t number)
{
    const struct host *host = host_at(waiting, number);
    if (!host->strands && !host->running && !is_held(host))
        table_drop(&waiting->hosts, number);
}

/* A strand whose first task may start is in its line's heap, at the right place. */
static void settle_strand(struct waiting *waiting, uint32_t number)
{
    struct strand *strand = strand_at(waiting, number);
    const struct host *host = host_at(waiting, strand->host);
    struct heap *ready = &line_at(waiting, strand->line)->ready;
    if (strand->items.count == 0 || is_held(host) || is_busy(waiting, host)) {
        if (strand->at != OUT)
            heap_remove(ready, &by_first_item, waiting, strand->at);
        strand->at = OUT;
    } else if (strand->at == OUT) {
        heap_add(ready, &by_first_item, waiting, number);
    } else {
        heap_settle(ready, &by_first_item, waiting, strand->at);
    }
}

/* Whether they may start has changed for the tasks of this host. O(users). */
static void settle_host(struct waiting *waiting, const struct host *host)
{
    for (uint32_t number = host->strands; number; number = strand_at(waiting, number)->next)
        settle_strand(waiting, number);
}

static void let_go(struct waiting *waiting, uint32_t number)
{
    struct host *host = host_at(waiting, number);
    heap_remove(&waiting->held, &by_patience, waiting, host->at);
    host->at = OUT;
    settle_host(waiting, host);
    forget_idle_host(waiting, number);
}

/* --- strands --- */

static bool is_drained(const struct strand *strand)
{
    return strand->items.count == 0 && strand->later == 0;
}

/* Those without a task go. */
static void forget_empty_strand(struct waiting *waiting, uint32_t number)
{
    struct strand *strand = strand_at(waiting, number);
    if (!is_drained(strand))
        return;
    heap_release(&strand->items);
    if (strand->running > 0)
        return;
    uint32_t host_number = strand->host;
    uint32_t *link = &host_at(waiting, host_number)->strands;
    while (*link != number)
        link = &strand_at(waiting, *link)->next;
    *link = strand->next;
    line_at(waiting, strand->line)->strands--;
    line_at(waiting, strand->line)->drained--;
    table_drop(&waiting->strands, number);
    forget_idle_host(waiting, host_number);
}

static uint64_t strand_key(uint32_t line, uint32_t host)
{
    return (uint64_t)line << 32 | host;
}

/* 0: there is none. */
static uint32_t find_strand(const struct waiting *waiting, uint32_t line, uint64_t host_key)
{
    uint32_t host = table_find(&waiting->hosts, host_key);
    return host ? table_find(&waiting->strands, strand_key(line, host)) : 0;
}

static uint32_t make_strand(struct waiting *waiting, uint32_t line_number, uint32_t host_number,
                            uint64_t key)
{
    struct line *line = line_at(waiting, line_number);
    struct host *host = host_at(waiting, host_number);
    if (heap_reserve(&line->ready, line->strands + 1) < 0)
        return 0;
    uint32_t number = table_add(&waiting->strands, key);
    if (!number)
        return 0;
    struct strand *strand = strand_at(waiting, number);
    strand->line = line_number;
    strand->host = host_number;
    strand->at = OUT;
    strand->next = host->strands;
    host->strands = number;
    line->strands++;
    line->drained++;
    return number;
}

/* The strand, with room for one more task. 0: no memory. */
static uint32_t get_strand(struct waiting *waiting, uint32_t line, uint64_t host_key)
{
    uint32_t host = get_host(waiting, host_key);
    if (!host)
        return 0;
    uint64_t key = strand_key(line, host);
    uint32_t number = table_find(&waiting->strands, key);
    if (!number)
        number = make_strand(waiting, line, host, key);
    if (!number) {
        forget_idle_host(waiting, host);
        return 0;
    }
    struct strand *strand = strand_at(waiting, number);
    if (heap_reserve(&strand->items, strand->items.count + strand->later + 1) == 0)
        return number;
    forget_empty_strand(waiting, number);
    return 0;
}

/* --- coming --- */

/* The number of a new item that stands nowhere yet. 0: no memory. */
static uint32_t make_item(struct waiting *waiting, uint32_t line, const struct waiting_task *task)
{
    uint32_t strand = get_strand(waiting, line, task->host);
    if (!strand)
        return 0;
    assert(table_find(&waiting->items, (uint64_t)task->row) == 0);
    uint32_t number = table_add(&waiting->items, (uint64_t)task->row);
    if (!number) {
        forget_empty_strand(waiting, strand);
        return 0;
    }
    struct item *item = item_at(waiting, number);
    item->strand = strand;
    item->priority = task->priority;
    item->given_back = task->given_back;
    line_at(waiting, line)->length++;
    line_at(waiting, line)->drained -= is_drained(strand_at(waiting, strand));
    return number;
}

/* There is room. */
static void join_strand(struct waiting *waiting, uint32_t number, bool in_front)
{
    struct item *item = item_at(waiting, number);
    item->order = in_front ? --waiting->first : ++waiting->last;
    heap_add(&strand_at(waiting, item->strand)->items, &by_turn, waiting, number);
    settle_strand(waiting, item->strand);
}

int waiting_push(struct waiting *waiting, uint32_t line, const struct waiting_task *task,
                 bool in_front)
{
    uint32_t number = make_item(waiting, line, task);
    if (!number)
        return -ENOMEM;
    join_strand(waiting, number, in_front);
    return 0;
}

int waiting_push_later(struct waiting *waiting, uint32_t line, const struct waiting_task *task,
                       int64_t at, uint8_t why)
{
    if (heap_reserve(&waiting->later, waiting->later.count + 1) < 0)
        return -ENOMEM;
    uint32_t number = make_item(waiting, line, task);
    if (!number)
        return -ENOMEM;
    struct item *item = item_at(waiting, number);
    item->later = true;
    item->order = at;
    item->why = why;
    waiting->endless += at == WAITING_NEVER;
    strand_at(waiting, item->strand)->later++;
    heap_add(&waiting->later, &by_time, waiting, number);
    return 0;
}

void waiting_shift(struct waiting *waiting, uint8_t why, int64_t by)
{
    struct heap *later = &waiting->later;
    uint32_t count = later->count;
    for (uint32_t i = 0; i < count; i++) {
        struct item *item = item_at(waiting, later->slots[i]);
        item->order += item->why == why ? by : 0;
    }
    later->count = 0;
    for (uint32_t i = 0; i < count; i++) /* each is read before its slot is written */
        heap_add(later, &by_time, waiting, later->slots[i]);
}

/* --- going --- */

static void take_out_of_heap(struct waiting *waiting, struct item *item)
{
    struct strand *strand = strand_at(waiting, item->strand);
    if (item->later) {
        heap_remove(&waiting->later, &by_time, waiting, item->at);
        strand->later--;
        waiting->endless -= item->order == WAITING_NEVER;
        if (waiting->later.count == 0)
            heap_release(&waiting->later);
        return;
    }
    /* The line's heap first: it compares first tasks, and there may be none then. */
    bool was_ready = strand->at != OUT;
    if (was_ready)
        heap_remove(&line_at(waiting, strand->line)->ready, &by_first_item, waiting, strand->at);
    strand->at = OUT;
    heap_remove(&strand->items, &by_turn, waiting, item->at);
    if (was_ready)
        settle_strand(waiting, item->strand);
}

static void drop(struct waiting *waiting, uint32_t number)
{
    struct item *item = item_at(waiting, number);
    uint32_t strand = item->strand;
    take_out_of_heap(waiting, item);
    struct line *line = line_at(waiting, strand_at(waiting, strand)->line);
    line->length--;
    line->drained += is_drained(strand_at(waiting, strand));
    table_drop(&waiting->items, number);
    forget_empty_strand(waiting, strand);
}

int waiting_remove(struct waiting *waiting, int64_t row)
{
    uint32_t number = table_find(&waiting->items, (uint64_t)row);
    if (!number)
        return -ENOENT;
    drop(waiting, number);
    return 0;
}

bool waiting_next(struct waiting *waiting, uint32_t line, struct waiting_task *ret_task)
{
    const uint32_t strands = line_at(waiting, line)->strands - line_at(waiting, line)->drained;
    const struct heap *ready = &line_at(waiting, line)->ready;
    if (ready->count == 0)
        return false;
    const struct strand *strand = strand_at(waiting, ready->slots[0]);
    const struct item *item = item_at(waiting, strand->items.slots[0]);
    *ret_task = (struct waiting_task){.row = (int64_t)item->head.key,
                                      .host = host_at(waiting, strand->host)->head.key,
                                      .priority = item->priority,
                                      .given_back = item->given_back,
                                      .out_of_turn = ready->count < strands};
    return true;
}

void waiting_start(struct waiting *waiting, int64_t row)
{
    uint32_t number = table_find(&waiting->items, (uint64_t)row);
    assert(number);
    struct strand *strand = strand_at(waiting, item_at(waiting, number)->strand);
    struct host *host = host_at(waiting, strand->host);
    strand->running++; /* first: they are not forgotten then */
    host->running++;
    drop(waiting, number);
    if (is_busy(waiting, host))
        settle_host(waiting, host);
}

void waiting_end(struct waiting *waiting, uint32_t line, uint64_t host_key)
{
    uint32_t number = find_strand(waiting, line, host_key);
    struct strand *strand = strand_at(waiting, number);
    struct host *host = host_at(waiting, strand->host);
    assert(strand->running > 0 && host->running > 0);
    bool was_busy = is_busy(waiting, host);
    strand->running--;
    host->running--;
    if (was_busy && !is_busy(waiting, host))
        settle_host(waiting, host);
    forget_empty_strand(waiting, number);
}

bool waiting_is_full(const struct waiting *waiting, uint64_t host_key)
{
    uint32_t number = table_find(&waiting->hosts, host_key);
    const struct host *host = number ? host_at(waiting, number) : NULL;
    return host && is_busy(waiting, host) && !is_held(host);
}

unsigned waiting_at_host(const struct waiting *waiting, uint32_t line, uint64_t host_key,
                         bool *ret_more)
{
    uint32_t number = find_strand(waiting, line, host_key);
    const struct strand *strand = number ? strand_at(waiting, number) : NULL;
    *ret_more = strand && strand->items.count > 0;
    return strand ? strand->running : 0;
}

unsigned waiting_room(const struct waiting *waiting, uint64_t host_key)
{
    uint32_t number = table_find(&waiting->hosts, host_key);
    const struct host *host = number ? host_at(waiting, number) : NULL;
    if (!host)
        return waiting->host_max;
    return is_held(host) || is_busy(waiting, host) ? 0 : waiting->host_max - host->running;
}

bool waiting_ready(const struct waiting *waiting, uint32_t line, uint32_t index, uint64_t *ret_host,
                   unsigned *ret_number)
{
    const struct heap *ready = &line_at(waiting, line)->ready;
    if (index >= ready->count)
        return false;
    const struct strand *strand = strand_at(waiting, ready->slots[index]);
    *ret_host = host_at(waiting, strand->host)->head.key;
    unsigned room = waiting_room(waiting, *ret_host);
    *ret_number = strand->items.count < room ? strand->items.count : room;
    return true;
}

/* The order of what goes is looked at no more. */
static void forget_order(struct waiting *waiting, uint32_t line)
{
    for (uint32_t n = table_next(&waiting->lines, 1); n; n = table_next(&waiting->lines, n + 1))
        if (!line || n == line) {
            line_at(waiting, n)->ready.count = 0;
            line_at(waiting, n)->drained = line_at(waiting, n)->strands; /* soon */
        }
    for (uint32_t n = table_next(&waiting->strands, 1); n;
         n = table_next(&waiting->strands, n + 1)) {
        struct strand *strand = strand_at(waiting, n);
        if (line && strand->line != line)
            continue;
        strand->at = OUT;
        strand->items.count = 0;
    }
}

size_t waiting_clear(struct waiting *waiting, uint32_t line, int64_t *rows)
{
    size_t count = 0;
    forget_order(waiting, line);
    for (uint32_t n = table_next(&waiting->items, 1); n; n = table_next(&waiting->items, n + 1)) {
        struct item *item = item_at(waiting, n);
        struct strand *strand = strand_at(waiting, item->strand);
        if (line && strand->line != line)
            continue;
        rows[count++] = (int64_t)item->head.key;
        line_at(waiting, strand->line)->length--;
        if (item->later)
            take_out_of_heap(waiting, item);
        table_drop(&waiting->items, n);
    }
    for (uint32_t n = table_next(&waiting->strands, 1); n; n = table_next(&waiting->strands, n + 1))
        forget_empty_strand(waiting, n);
    return count;
}

/* --- what keeps them waiting --- */

int waiting_hold_host(struct waiting *waiting, uint64_t host_key, int64_t until)
{
    uint32_t number = get_host(waiting, host_key);
    if (!number)
        return -ENOMEM;
    struct host *host = host_at(waiting, number);
    if (is_held(host)) {
        if (host->until < until)
            host->until = until;
        heap_settle(&waiting->held, &by_patience, waiting, host->at);
        return 0;
    }
    if (heap_reserve(&waiting->held, waiting->held.count + 1) < 0) {
        forget_idle_host(waiting, number);
        return -ENOMEM;
    }
    host->until = until;
    heap_add(&waiting->held, &by_patience, waiting, number);
    settle_host(waiting, host);
    return 0;
}

void waiting_set_host_max(struct waiting *waiting, unsigned host_max)
{
    waiting->host_max = host_max;
    for (uint32_t n = table_next(&waiting->hosts, 1); n; n = table_next(&waiting->hosts, n + 1))
        settle_host(waiting, host_at(waiting, n));
}

int waiting_look(const struct waiting *waiting, int64_t row, struct waiting_view *ret_view)
{
    uint32_t number = table_find(&waiting->items, (uint64_t)row);
    if (!number)
        return -ENOENT;
    const struct item *item = item_at(waiting, number);
    const struct strand *strand = strand_at(waiting, item->strand);
    const struct host *host = host_at(waiting, strand->host);
    *ret_view = (struct waiting_view){.line = strand->line,
                                      .host = host->head.key,
                                      .priority = item->priority,
                                      .later = item->later,
                                      .why = item->why,
                                      .at = item->later ? item->order : 0,
                                      .host_busy = is_busy(waiting, host),
                                      .host_at = is_held(host) ? host->until : 0};
    return 0;
}

/* A place in the heap of a strand; the first one there stands for the strand's place in the line's
 * heap too. */
struct place {
    uint32_t strand;
    uint32_t at;    /* in the strand's heap */
    uint32_t ready; /* with `at` 0: in the line's */
};

struct places { /* still to be looked at */
    struct place at[4 * WAITING_POSITION_MAX + 1];
    size_t count;
};

static void look_at(struct waiting *waiting, const struct place *place, uint32_t item,
                    struct places *places)
{
    const struct heap *items = &strand_at(waiting, place->strand)->items;
    if (place->at < items->count && item_before(waiting, items->slots[place->at], item))
        places->at[places->count++] = *place;
}

static void look_at_ready(struct waiting *waiting, const struct heap *ready, uint32_t at,
                          uint32_t item, struct places *places)
{
    if (at < ready->count)
        look_at(waiting, &(struct place){ready->slots[at], 0, at}, item, places);
}

/* Whether nothing keeps this one but those before it in its line. */
static bool is_in_line(struct waiting *waiting, uint32_t number)
{
    const struct item *item = number ? item_at(waiting, number) : NULL;
    return item && !item->later && strand_at(waiting, item->strand)->at != OUT;
}

/* Of two that are in line. */
static bool is_behind(struct waiting *waiting, uint32_t number, uint32_t other)
{
    uint32_t line = strand_at(waiting, item_at(waiting, number)->strand)->line;
    return strand_at(waiting, item_at(waiting, other)->strand)->line == line &&
           item_before(waiting, other, number);
}

/* What does not come before a task in a heap has nothing below it that does: of the others, each is
 * counted once. */
unsigned waiting_position(struct waiting *waiting, int64_t row, int64_t *far)
{
    uint32_t number = table_find(&waiting->items, (uint64_t)row);
    if (!is_in_line(waiting, number))
        return 0;
    uint32_t known = *far ? table_find(&waiting->items, (uint64_t)*far) : 0;
    if (is_in_line(waiting, known) && is_behind(waiting, number, known))
        return 0;
    const struct item *item = item_at(waiting, number);
    const struct heap *ready = &line_at(waiting, strand_at(waiting, item->strand)->line)->ready;
    struct places places;
    unsigned position = 1;
    places.count = 0;
    look_at_ready(waiting, ready, 0, number, &places);
    for (; places.count > 0; position++) {
        if (position == WAITING_POSITION_MAX) {
            *far = row;
            return 0;
        }
        struct place place = places.at[--places.count];
        for (uint32_t below = 1; below <= 2; below++) {
            if (place.at == 0)
                look_at_ready(waiting, ready, 2 * place.ready + below, number, &places);
            look_at(waiting, &(struct place){place.strand, 2 * place.at + below, 0}, number,
                    &places);
        }
    }
    return position;
}

/* The latest first, so that the earliest comes to stand foremost. */
static void join_due(struct waiting *waiting, int64_t now)
{
    struct heap *later = &waiting->later;
    uint32_t count = later->count, due = 0;
    while (later->count > 0 && item_at(waiting, later->slots[0])->order <= now) {
        uint32_t number = later->slots[0];
        heap_remove(later, &by_time, waiting, 0);
        later->slots[later->count] = number; /* where the heap was longer by one */
        due++;
    }
    for (uint32_t i = count - due; i < count; i++) {
        struct item *item = item_at(waiting, later->slots[i]);
        item->later = false;
        strand_at(waiting, item->strand)->later--;
        join_strand(waiting, later->slots[i], true);
    }
    if (later->count == 0)
        heap_release(later);
}

bool waiting_tick(struct waiting *waiting, int64_t now)
{
    int64_t next = waiting_next_time(waiting);
    if (next == 0 || next > now)
        return false;
    join_due(waiting, now);
    while (waiting->held.count > 0 && host_at(waiting, waiting->held.slots[0])->until <= now)
        let_go(waiting, waiting->held.slots[0]);
    if (waiting->held.count == 0)
        heap_release(&waiting->held);
    return true;
}

int64_t waiting_next_time(const struct waiting *waiting)
{
    const struct heap *later = &waiting->later, *held = &waiting->held;
    int64_t next = later->count > 0 ? item_at(waiting, later->slots[0])->order : 0;
    if (next == WAITING_NEVER)
        next = 0;
    int64_t host = held->count > 0 ? host_at(waiting, held->slots[0])->until : 0;
    return next == 0 || (host != 0 && host < next) ? host : next;
}

/* --- lines, making and ending --- */

void waiting_init(struct waiting *waiting, unsigned host_max)
{
    *waiting = (struct waiting){.items.size = sizeof(struct item),
                                .strands.size = sizeof(struct strand),
                                .hosts.size = sizeof(struct host),
                                .lines.size = sizeof(struct line),
                                .host_max = host_max};
}

void waiting_release(struct waiting *waiting)
{
    for (uint32_t n = table_next(&waiting->strands, 1); n; n = table_next(&waiting->strands, n + 1))
        heap_release(&strand_at(waiting, n)->items);
    for (uint32_t n = table_next(&waiting->lines, 1); n; n = table_next(&waiting->lines, n + 1))
        heap_release(&line_at(waiting, n)->ready);
    heap_release(&waiting->later);
    heap_release(&waiting->held);
    table_release(&waiting->items);
    table_release(&waiting->strands);
    table_release(&waiting->hosts);
    table_release(&waiting->lines);
}

uint32_t waiting_open(struct waiting *waiting)
{
    return table_add(&waiting->lines, waiting->line_keys++);
}

void waiting_close(struct waiting *waiting, uint32_t number)
{
    struct line *line = line_at(waiting, number);
    assert(line->length == 0 && line->strands == 0);
    heap_release(&line->ready);
    table_drop(&waiting->lines, number);
}

uint32_t waiting_length(const struct waiting *waiting, uint32_t line)
{
    return line_at(waiting, line)->length;
}

size_t waiting_bytes(const struct waiting *waiting)
{
    size_t bytes = table_bytes(&waiting->items) + table_bytes(&waiting->strands) +
                   table_bytes(&waiting->hosts) + table_bytes(&waiting->lines);
    uint64_t slots = waiting->later.size + (uint64_t)waiting->held.size;
    for (uint32_t n = table_next(&waiting->strands, 1); n; n = table_next(&waiting->strands, n + 1))
        slots += strand_at(waiting, n)->items.size;
    for (uint32_t n = table_next(&waiting->lines, 1); n; n = table_next(&waiting->lines, n + 1))
        slots += line_at(waiting, n)->ready.size;
    return bytes + slots * sizeof(uint32_t);
}
