/* Bytes that look random and follow from a text alone: what both test origins serve. */
#pragma once

#include <stddef.h>
#include <stdint.h>

uint64_t content_seed(const char *text);
/* The bytes from `pos` on. */
void content_fill(uint64_t seed, uint64_t pos, char *data, size_t len);
