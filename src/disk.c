#include "disk.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#define MIN_FREE_MAX ((int64_t)512 << 20)
#define BLOCK        512 /* bytes, of st_blocks (stat(2)) */

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

int disk_claim(struct disk *disk, int fd, int64_t total, int64_t min_free,
               struct disk_claim **ret_claim)
{
    struct stat stat;
    int64_t spare;
    int r = fstat(fd, &stat) < 0 ? -errno : spare_bytes(fd, min_free, &spare);
    if (r < 0)
        return r;
    struct disk_claim *claim = calloc(1, sizeof *claim);
    if (!claim)
        return -ENOMEM;
    claim->dev = stat.st_dev;
    claim->total = total;
    claim->allocated = (int64_t)stat.st_blocks * BLOCK;

    pthread_mutex_lock(&disk->lock);
    int64_t needed = outstanding_of_others_locked(disk, claim->dev) + outstanding(claim);
    if (spare < needed || spare <= 0) {
        r = -ENOSPC;
    } else {
        claim->next = disk->claims;
        disk->claims = claim;
    }
    pthread_mutex_unlock(&disk->lock);
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
