/* A bar of progress, of plain characters. */
#pragma once

#include <stdint.h>

#include "common/buf.h"

/* Adds "[=====>    ]", `width` columns in all; total <= 0: nobody knows how much there is. */
void bar_add(struct buf *buf, int64_t done, int64_t total, unsigned width);
/* Adds a line of block characters that grow with the numbers. */
void bar_add_sparkline(struct buf *buf, const int64_t *numbers, size_t count);
