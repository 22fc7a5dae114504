#include "disk.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "common/units.h"

#define MIN_FREE_MAX ((int64_t)512 << 20)
#define BLOCK        512 /* bytes, of st_blocks (stat(2)) */

/* With so much to spare, a look that is not older than this will do for a small file. */
#define LOOK_LASTS ((int64_t)100)     /* ms */
#define AMPLE      ((int64_t)8 << 30) /* bytes */
#define SMALL      ((int64_t)1 << 20) /* a file of which very many do not use that up meanwhile */

struct disk_claim {
    /* immutable */
    dev_t dev;
    int64_t total; /* -1: not known */

    /* protected by the disk's lock */
    int64_t allocated;
    struct disk_claim *next;
};

struct disk {
    pthread_mutex_t lock;
    /* protected by lock */
    struct disk_claim *claims;
    dev_t ample_dev; /* the file system that had AMPLE bytes to spare, beside all claims, ... */
    int64_t ample_min_free;
    int64_t ample_until; /* ... until then, boot time in ms */
};

int disk_create(struct disk **ret_disk)
{
    struct disk *disk = calloc(1, sizeof *disk);
    if (!disk)
        return -ENOMEM;
    pthread_mutex_init(&disk->lock, NULL);
    *ret_disk = disk;
    return 0;
}

void disk_destroy(struct disk *disk)
{
    if (!disk)
        return;
    pthread_mutex_destroy(&disk->lock);
    free(disk);
}

static int64_t outstanding(const struct disk_claim *claim)
{
    return claim->total > claim->allocated ? claim->total - claim->allocated : 0;
}

/* How many bytes may be used up behind `fd` before min_free is touched. 0 or a negative errno. */
static int spare_bytes(int fd, int64_t min_free, int64_t *ret_spare)
{
    struct statvfs fs;
    if (fstatvfs(fd, &fs) < 0)
        return -errno;
    int64_t unit = (int64_t)fs.f_frsize;
    if (min_free < 0) {
        int64_t percent = (int64_t)fs.f_blocks / 100 * unit;
        min_free = percent < MIN_FREE_MAX ? percent : MIN_FREE_MAX;
    }
    *ret_spare = (int64_t)fs.f_bavail * unit - min_free;
    return 0;
}

static int64_t outstanding_of_others_locked(struct disk *disk, dev_t dev)
{
    int64_t sum = 0;
    for (struct disk_claim *claim = disk->claims; claim; claim = claim->next)
        if (claim->dev == dev)
            sum += outstanding(claim);
    return sum;
}

static void link_locked(struct disk *disk, struct disk_claim *claim)
{
    claim->next = disk->claims;
    disk->claims = claim;
}

/* A small file, and the last look at its file system was just now. */
static bool claim_ample(struct disk *disk, struct disk_claim *claim, int64_t min_free)
{
    pthread_mutex_lock(&disk->lock);
    bool ample = claim->total >= 0 && claim->total <= SMALL &&
                 claim->dev == disk->ample_dev && min_free == disk->ample_min_free &&
                 units_now_boottime() < disk->ample_until;
    if (ample)
        link_locked(disk, claim);
    pthread_mutex_unlock(&disk->lock);
    return ample;
}

/* 0 or -ENOSPC. */
static int claim_of(struct disk *disk, struct disk_claim *claim, int64_t spare, int64_t min_free)
{
    pthread_mutex_lock(&disk->lock);
    int64_t left =
        spare - outstanding_of_others_locked(disk, claim->dev) - outstanding(claim);
    bool fits = left >= 0 && spare > 0;
    if (fits)
        link_locked(disk, claim);
    if (left >= AMPLE) {
        disk->ample_dev = claim->dev;
        disk->ample_min_free = min_free;
        disk->ample_until = units_now_boottime() + LOOK_LASTS;
    }
    pthread_mutex_unlock(&disk->lock);
    return fits ? 0 : -ENOSPC;
}

int disk_claim(struct disk *disk, int fd, const struct files_stat *file, int64_t total,
               int64_t min_free, struct disk_claim **ret_claim)
{
    struct disk_claim *claim = calloc(1, sizeof *claim);
    if (!claim)
        return -ENOMEM;
    claim->dev = file->dev;
    claim->total = total;
    claim->allocated = file->allocated;
    int64_t spare;
    int r = 0;
    if (!claim_ample(disk, claim, min_free)) {
        r = spare_bytes(fd, min_free, &spare);
        if (r == 0)
            r = claim_of(disk, claim, spare, min_free);
    }
    if (r < 0)
        free(claim);
    else
        *ret_claim = claim;
    return r;
}

void disk_unclaim(struct disk *disk, struct disk_claim *claim)
{
    if (!claim)
        return;
    pthread_mutex_lock(&disk->lock);
    struct disk_claim **link = &disk->claims;
    while (*link != claim)
        link = &(*link)->next;
    *link = claim->next;
    pthread_mutex_unlock(&disk->lock);
    free(claim);
}

int disk_go_on(struct disk *disk, struct disk_claim *claim, int fd, int64_t min_free)
{
    struct stat stat;
    int64_t spare;
    if (fstat(fd, &stat) < 0 || spare_bytes(fd, min_free, &spare) < 0)
        return 0; /* writing will tell */
    pthread_mutex_lock(&disk->lock);
    claim->allocated = (int64_t)stat.st_blocks * BLOCK;
    bool has_all = claim->total >= 0 && outstanding(claim) == 0; /* it takes no more */
    pthread_mutex_unlock(&disk->lock);
    return spare <= 0 && !has_all ? -ENOSPC : 0;
}
