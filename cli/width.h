/* How many columns text takes on a terminal: wide characters two, combining ones none. Texts are
 * UTF-8; a byte that is not part of it counts as one column. */
#pragma once

#include <stddef.h>

#include "common/buf.h"

size_t width_of(const char *text);
/* Adds at most `columns` columns of it: cut in the middle, where an ellipsis stands. */
void width_add_cut(struct buf *buf, const char *text, size_t columns);
/* The same, cut at the end. */
void width_add_start(struct buf *buf, const char *text, size_t columns);
