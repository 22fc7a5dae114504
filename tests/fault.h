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

struct fault_board {
    atomic_bool armed; /* set from outside: false, nothing fails */
    atomic_uint_least64_t rolls; /* of the dice, in all processes */
    atomic_uint failed[FAULT_CALLS];
};
