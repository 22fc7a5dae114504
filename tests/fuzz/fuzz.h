/*
 * What the fuzzers have in common. Each is a function over some bytes that aborts when something
 * that must hold does not. `make fuzz` gives it to libFuzzer; in `make check` replay.c gives it
 * what is in tests/fuzz/corpus/NAME.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* Before the first input; where a fuzzer has one. */
int LLVMFuzzerInitialize(int *argc, char ***argv);

#define MUST(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* An input is used up from its start on; at its end come zeros and empty texts. */
struct input {
    const uint8_t *data;
    size_t size;
};

uint8_t take_byte(struct input *input);
uint64_t take_number(struct input *input); /* eight bytes, little endian */
/* Up to the next NUL, which is used up too. The caller frees it; its end is the end of its memory,
 * so that reading on is seen. */
char *take_text(struct input *input);
/* All that is left, and a NUL behind it that `ret_len` does not count. */
char *take_rest(struct input *input, size_t *ret_len);

/* Valid UTF-8, said in another way than by the house. */
bool is_utf8(const char *text);
/* A name that may come into a user's directory: at most `max` bytes of UTF-8 without '/', control
 * and bidi characters, not "", ".", ".."; hidden only if `allow_hidden`, no option of commands. */
bool is_fit_name(const char *name, size_t max, bool allow_hidden);
/* Has the JSON text half of a surrogate pair alone in it? Not every reader takes that. */
bool has_half_pair(const char *json);
/* Percent-encodes each byte that is not a letter or a digit. The caller frees it. */
char *percent_encode(const char *data, size_t len);
