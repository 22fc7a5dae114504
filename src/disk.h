/*
 * Room on the disks: what all running downloads together still need is kept free, and `min-free`
 * besides. A file's blocks that are allocated already count once. Thread safe; only the holder of a
 * claim asks its file system anything, with no lock held, so one that hangs delays nobody else.
 */
#pragma once

#include <stdint.h>

#include "privsep/files.h"

struct disk;
struct disk_claim; /* one running download's; belongs to its worker */

int disk_create(struct disk **ret_disk); /* 0 or -ENOMEM */
void disk_destroy(struct disk *disk);

/*
 * May a file of `total` bytes (-1: not known) grow behind `fd`, which is `file` now? `min_free`: bytes; -1: the smaller of
 * 512 MiB and 1 % of the file system. 0; -ENOSPC; or another negative errno.
 */
int disk_claim(struct disk *disk, int fd, const struct files_stat *file, int64_t total,
               int64_t min_free, struct disk_claim **ret_claim);
/* NULL is fine. */
void disk_unclaim(struct disk *disk, struct disk_claim *claim);
/* As it goes: counts what is allocated by now; is `min_free` still free? 0 or -ENOSPC. */
int disk_go_on(struct disk *disk, struct disk_claim *claim, int fd, int64_t min_free);
