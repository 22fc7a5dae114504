/* Digests of files, as people give them with a task: "sha-256=HEX", sha-512, sha-1, md5. */
#pragma once

#include <stddef.h>

#define CHECKSUM_TEXT_MAX 160 /* the longest text, NUL included */

struct checksum;

/* Checks `text` and writes it in lower case. 0, or -EINVAL: `message` says what is expected. */
int checksum_normalise(const char *text, char normal[static CHECKSUM_TEXT_MAX],
                       char message[static 256]);

/* For a normalised text. 0, -ENOMEM, or -EOPNOTSUPP: this system does not allow that digest (md5 in
 * FIPS mode). */
int checksum_create(const char *expected, struct checksum **ret_checksum);
void checksum_destroy(struct checksum *checksum);
void checksum_add(struct checksum *checksum, const void *data, size_t len);
/* 0: as expected; -EBADMSG: `message` names both values, expected and found. Only once. */
int checksum_verify(struct checksum *checksum, char message[static 400]);
