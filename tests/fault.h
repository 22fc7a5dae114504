/* What tests/fault.c, inside a program, and tests/test_faults.c, outside, have in common. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum fault_call {
    FAULT_MEMORY,
    FAULT_WRITE,
    FAULT_SYNC,
    FAULT_OPEN,
    FAULT_RENAME,
    FAULT_TRUNCATE,
    FAULT_CALLS, /* how many kinds */
};

/*
 * Besides what fails at random: with `aim`, an errno, what is under the path `target` cannot be
 * opened; with `sync_error`, an errno, the next sync of a part file fails.
 */
struct fault_board {
    atomic_bool armed; /* set from outside: false, nothing fails */
    atomic_uint_least64_t rolls; /* of the dice, in all processes */
    atomic_uint failed[FAULT_CALLS];
    atomic_int sync_error; /* 0: none; it is told once, as the kernel does it */
    atomic_int aim; /* 0: at nothing */
    char target[256]; /* set before `aim` */
};
