#include "core/table.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define PIECE         256 /* elements */
#define FIRST_BUCKETS 64
#define FREE_MARK     UINT32_MAX /* in `next` of what is free; its key is the next one that is */

static uint32_t bucket_of(const struct table *table, uint64_t key)
{
    return (uint32_t)((key * 0x9e3779b97f4a7c15) >> 32) & (table->bucket_count - 1);
}

static struct table_head *head_at(const struct table *table, uint32_t number)
{
    assert(number > 0 && number <= table->used);
    return (struct table_head *)(void *)(table->pieces[(number - 1) / PIECE] +
                                         (number - 1) % PIECE * table->size);
}

uint32_t table_count(const struct table *table)
{
    return table->count;
}

void *table_at(const struct table *table, uint32_t number)
{
    struct table_head *head = head_at(table, number);
    assert(head->next != FREE_MARK);
    return head;
}

/* --- memory --- */

static bool add_piece(struct table *table)
{
    char **pieces = reallocarray(table->pieces, table->piece_count + 1, sizeof *pieces);
    if (!pieces)
        return false;
    table->pieces = pieces;
    pieces[table->piece_count] = calloc(PIECE, table->size);
    if (!pieces[table->piece_count])
        return false;
    table->piece_count++;
    return true;
}

/* 0: no memory. */
static uint32_t take_number(struct table *table)
{
    uint32_t number = table->free;
    if (number) {
        table->free = (uint32_t)head_at(table, number)->key;
        memset(head_at(table, number), 0, table->size);
        return number;
    }
    if (table->used == UINT32_MAX - 1 ||
        (table->used == table->piece_count * PIECE && !add_piece(table)))
        return 0;
    return ++table->used;
}

/* Without memory the chains just get longer; false: there are none at all. */
static bool grow_buckets(struct table *table)
{
    uint32_t count = table->bucket_count ? table->bucket_count * 2 : FIRST_BUCKETS;
    if (table->count < table->bucket_count || count == 0)
        return true;
    uint32_t *buckets = calloc(count, sizeof *buckets);
    if (!buckets)
        return table->bucket_count > 0;
    free(table->buckets);
    table->buckets = buckets;
    table->bucket_count = count;
    for (uint32_t n = table_next(table, 1); n; n = table_next(table, n + 1)) {
        struct table_head *head = head_at(table, n);
        uint32_t *bucket = &buckets[bucket_of(table, head->key)];
        head->next = *bucket;
        *bucket = n;
    }
    return true;
}

/* What came in a rush leaves no memory behind. */
static void shrink(struct table *table)
{
    if (table->piece_count > 1 || table->bucket_count > FIRST_BUCKETS)
        table_release(table);
}

/* --- elements --- */

uint32_t table_add(struct table *table, uint64_t key)
{
    uint32_t number = grow_buckets(table) ? take_number(table) : 0;
    if (!number)
        return 0;
    struct table_head *head = head_at(table, number);
    uint32_t *bucket = &table->buckets[bucket_of(table, key)];
    head->key = key;
    head->next = *bucket;
    *bucket = number;
    table->count++;
    return number;
}

uint32_t table_find(const struct table *table, uint64_t key)
{
    uint32_t number = table->bucket_count ? table->buckets[bucket_of(table, key)] : 0;
    while (number && head_at(table, number)->key != key)
        number = head_at(table, number)->next;
    return number;
}

void table_drop(struct table *table, uint32_t number)
{
    struct table_head *head = table_at(table, number);
    uint32_t *link = &table->buckets[bucket_of(table, head->key)];
    while (*link != number)
        link = &head_at(table, *link)->next;
    *link = head->next;
    head->next = FREE_MARK;
    head->key = table->free;
    table->free = number;
    if (--table->count == 0)
        shrink(table);
}

uint32_t table_next(const struct table *table, uint32_t number)
{
    for (; number <= table->used; number++)
        if (head_at(table, number)->next != FREE_MARK)
            return number;
    return 0;
}

size_t table_bytes(const struct table *table)
{
    return (size_t)table->piece_count * (PIECE * table->size + sizeof *table->pieces) +
           (size_t)table->bucket_count * sizeof *table->buckets;
}

void table_release(struct table *table)
{
    for (uint32_t i = 0; i < table->piece_count; i++)
        free(table->pieces[i]);
    free(table->pieces);
    free(table->buckets);
    *table = (struct table){.size = table->size};
}
