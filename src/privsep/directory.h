/*
 * A user's directories, opened and made by the filer as that user: the kernel decides where they may
 * lead. Hidden ones (a component that begins with '.') are kept from a service that was taken over:
 * by where a directory really is, whatever symbolic links led there. What leads to the home itself is
 * not for this program to judge.
 */
#pragma once

#include <stdbool.h>

#include "common/api.h"

struct directory_rules {
    const char *home; /* what ~ means */
    bool allow_hidden;
};

/* Opens an absolute path (O_PATH), not through magic links (proc(5)). A descriptor, or a negative
 * errno: -EPERM when it is hidden. */
int directory_open(const struct directory_rules *rules, const char *path);
/* The same directory, to be read or synced. A descriptor or a negative errno. */
int directory_open_again(int directory);
/* Expands ~, makes what is missing, opens it. `ret_path` is where it is, normalized; after ".." only
 * the kernel knows. A descriptor or a negative errno; nothing hidden is made. */
int directory_make(const struct directory_rules *rules, const char *wanted,
                   char ret_path[static API_PATH_MAX + 1]);
