/*
 * What is remembered of passwords. That one was right: 60 s, under a keyed hash, never the password
 * itself. How many were wrong: by user from one origin (an address, or a local uid), by origin, and
 * by user, so that guessing is slow and yet nobody can lock out somebody else:
 *
 *   one user from one origin    5 at once, then one in 30 s
 *   one origin, all users      20 at once, then one in 6 s
 *   one user, all origins      50 at once, then one in 6 s
 *
 * A user who gave the right password from an origin within a day is held back there by the first of
 * these alone. What is refused here is not looked at and does not count. A fixed amount of memory.
 * Pure: the clock (ms, never going back) is an argument. Not thread safe.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define PASSWORDS_KEY_SIZE 32 /* bytes */

struct passwords;

/* Stands for one password of one user from one address. */
struct passwords_mark {
    uint8_t bytes[32];
};

/* `key`: random bytes. 0 or -ENOMEM. */
int passwords_create(const uint8_t key[static PASSWORDS_KEY_SIZE],
                     struct passwords **ret_passwords);
void passwords_destroy(struct passwords *passwords); /* NULL is fine */

/* No copy of the password stays. 0 or -EINVAL: one of them is too long. */
int passwords_mark(const struct passwords *passwords, const char *user, const char *password,
                   const char *address, struct passwords_mark *ret_mark);
bool passwords_equal(const struct passwords_mark *a, const struct passwords_mark *b);
/* Was it found right within the last 60 s? */
bool passwords_are_right(const struct passwords *passwords, const struct passwords_mark *mark,
                         int64_t now);

/* May a password be tried? 0, and it counts as wrong until one of the next two says otherwise; else
 * after how many ms. */
int64_t passwords_try(struct passwords *passwords, const char *user, const char *origin,
                      int64_t now);
/* It was right. */
void passwords_right(struct passwords *passwords, const struct passwords_mark *mark,
                     const char *user, const char *origin, int64_t now);
/* It could not be told whether it was right. */
void passwords_untried(struct passwords *passwords, const char *user, const char *origin);
