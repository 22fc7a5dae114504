/*
 * Elements of one size, each known by its number (from 1; it never changes) and found by a 64-bit
 * key. They lie in pieces of some hundred, so that growing copies none of them and an element's
 * address is good until it is dropped.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct table_head { /* what each element begins with */
    uint64_t key;
    uint32_t next; /* table.c only */
};

struct table {
    size_t size; /* of an element, in bytes; set it, and zero the rest */

    /* table.c only */
    char **pieces;
    uint32_t piece_count;
    uint32_t used; /* numbers given so far, those that are free again too */
    uint32_t free; /* the first of these */
    uint32_t count;
    uint32_t *buckets;
    uint32_t bucket_count; /* a power of two */
};

/* How many there are. */
uint32_t table_count(const struct table *table);
/* The number of a new element, zeroed but for its key, which no other may have; 0: no memory. */
uint32_t table_add(struct table *table, uint64_t key);
/* The number of the element with this key; 0: there is none. */
uint32_t table_find(const struct table *table, uint64_t key);
void *table_at(const struct table *table, uint32_t number);
void table_drop(struct table *table, uint32_t number);
/* The first number from `number` on that is an element's; 0: there is none. For (n = table_next(t,
 * 1); n; n = table_next(t, n + 1)) visits all; dropping while visiting is fine. */
uint32_t table_next(const struct table *table, uint32_t number);
/* Bytes of memory. */
size_t table_bytes(const struct table *table);
/* Drops all, gives the memory back. */
void table_release(struct table *table);
