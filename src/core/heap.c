#include "core/heap.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#define FIRST_SIZE 6 /* what fits into the smallest piece that malloc gives */

int heap_reserve(struct heap *heap, uint32_t count)
{
    if (count <= heap->size)
        return 0;
    uint64_t size = heap->size ? (uint64_t)heap->size + heap->size / 2 : FIRST_SIZE;
    if (size < count)
        size = count;
    if (size > UINT32_MAX)
        return -ENOMEM;
    uint32_t *slots = reallocarray(heap->slots, size, sizeof *slots);
    if (!slots)
        return -ENOMEM;
    heap->slots = slots;
    heap->size = (uint32_t)size;
    return 0;
}

static void put(struct heap *heap, const struct heap_order *order, void *data, uint32_t element,
                uint32_t at)
{
    heap->slots[at] = element;
    order->stands(data, element, at);
}

/* From `at` towards the top, until nothing above comes after it. */
static uint32_t rise(struct heap *heap, const struct heap_order *order, void *data, uint32_t at)
{
    uint32_t element = heap->slots[at];
    for (; at > 0 && order->before(data, element, heap->slots[(at - 1) / 2]); at = (at - 1) / 2)
        put(heap, order, data, heap->slots[(at - 1) / 2], at);
    put(heap, order, data, element, at);
    return at;
}

static void sink(struct heap *heap, const struct heap_order *order, void *data, uint32_t at)
{
    uint32_t element = heap->slots[at];
    for (;;) {
        uint64_t child = 2 * (uint64_t)at + 1;
        if (child + 1 < heap->count &&
            order->before(data, heap->slots[child + 1], heap->slots[child]))
            child++;
        if (child >= heap->count || !order->before(data, heap->slots[child], element))
            break;
        put(heap, order, data, heap->slots[child], at);
        at = (uint32_t)child;
    }
    put(heap, order, data, element, at);
}

void heap_add(struct heap *heap, const struct heap_order *order, void *data, uint32_t element)
{
    assert(heap->count < heap->size);
    heap->slots[heap->count] = element;
    rise(heap, order, data, heap->count++);
}

void heap_settle(struct heap *heap, const struct heap_order *order, void *data, uint32_t at)
{
    assert(at < heap->count);
    if (rise(heap, order, data, at) == at)
        sink(heap, order, data, at);
}

void heap_remove(struct heap *heap, const struct heap_order *order, void *data, uint32_t at)
{
    assert(at < heap->count);
    uint32_t last = heap->slots[--heap->count];
    if (at == heap->count)
        return;
    heap->slots[at] = last;
    heap_settle(heap, order, data, at);
}

void heap_release(struct heap *heap)
{
    free(heap->slots);
    *heap = (struct heap){0};
}
