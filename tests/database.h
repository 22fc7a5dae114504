/* The store's file, looked at by a test while no service runs. */
#pragma once

#include <stdint.h>

#include "harness.h"

/* Runs one statement; the first column of its first row, or 0. */
int64_t ask_database(const struct service *service, const char *sql);
