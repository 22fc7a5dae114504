/*
 * A binary heap of numbers that stand for elements kept elsewhere. Each element is told where it
 * stands, so that it can be taken out, or put right after a change, wherever that is. O(log n).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct heap { /* zeroed: empty */
    uint32_t *slots;
    uint32_t count;
    uint32_t size;
};

struct heap_order {
    /* Whether `a` comes before `b`. */
    bool (*before)(void *data, uint32_t a, uint32_t b);
    /* `element` stands at `at` now. */
    void (*stands)(void *data, uint32_t element, uint32_t at);
};

/* Room for so many elements in all. 0 or -ENOMEM. */
int heap_reserve(struct heap *heap, uint32_t count);
/* There must be room. */
void heap_add(struct heap *heap, const struct heap_order *order, void *data, uint32_t element);
void heap_remove(struct heap *heap, const struct heap_order *order, void *data, uint32_t at);
/* What stands there has changed, and moves to where it belongs. */
void heap_settle(struct heap *heap, const struct heap_order *order, void *data, uint32_t at);
/* Empties it and gives its memory back. */
void heap_release(struct heap *heap);
