#include "grasp.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "common/units.h"

struct grasps {
    pthread_mutex_t lock;
    pthread_cond_t let_go;
    /* protected by lock */
    struct grasp *ones;
    struct grasp_many *manies;
};

int grasps_create(struct grasps **ret_grasps)
{
    struct grasps *grasps = calloc(1, sizeof *grasps);
    if (!grasps)
        return -ENOMEM;
    units_condition_init(&grasps->let_go);
    pthread_mutex_init(&grasps->lock, NULL);
    *ret_grasps = grasps;
    return 0;
}

void grasps_destroy(struct grasps *grasps)
{
    if (!grasps)
        return;
    pthread_cond_destroy(&grasps->let_go);
    pthread_mutex_destroy(&grasps->lock);
    free(grasps);
}

static int compare(const void *left, const void *right)
{
    int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
    return a < b ? -1 : a > b;
}

static bool has(const struct grasp_many *many, int64_t row)
{
    return bsearch(&row, many->rows, many->count, sizeof row, compare) != NULL;
}

static bool is_taken_locked(const struct grasps *grasps, int64_t row)
{
    for (const struct grasp *one = grasps->ones; one; one = one->next)
        if (one->row == row)
            return true;
    for (const struct grasp_many *many = grasps->manies; many; many = many->next)
        if (has(many, row))
            return true;
    return false;
}

bool grasp_one(struct grasps *grasps, struct grasp *grasp, int64_t row)
{
    pthread_mutex_lock(&grasps->lock);
    bool taken = is_taken_locked(grasps, row);
    if (!taken) {
        grasp->row = row;
        grasp->next = grasps->ones;
        grasps->ones = grasp;
    }
    pthread_mutex_unlock(&grasps->lock);
    return !taken;
}

void grasp_let_go(struct grasps *grasps, struct grasp *grasp)
{
    pthread_mutex_lock(&grasps->lock);
    for (struct grasp **link = &grasps->ones; *link; link = &(*link)->next) {
        if (*link == grasp) {
            *link = grasp->next;
            break;
        }
    }
    grasp->row = 0;
    pthread_cond_broadcast(&grasps->let_go);
    pthread_mutex_unlock(&grasps->lock);
}

static bool meet(const struct grasp_many *many, const int64_t *rows, size_t count)
{
    size_t i = 0, k = 0;
    while (i < many->count && k < count) {
        if (many->rows[i] == rows[k])
            return true;
        if (many->rows[i] < rows[k])
            i++;
        else
            k++;
    }
    return false;
}

static bool meets_locked(const struct grasps *grasps, const int64_t *rows, size_t count)
{
    for (const struct grasp_many *other = grasps->manies; other; other = other->next)
        if (meet(other, rows, count))
            return true;
    return false;
}

bool grasp_many(struct grasps *grasps, struct grasp_many *many, const int64_t *rows, size_t count,
                int64_t ms)
{
    struct timespec until = units_monotonic_in(ms);
    bool meets;
    pthread_mutex_lock(&grasps->lock);
    while ((meets = meets_locked(grasps, rows, count)) &&
           pthread_cond_timedwait(&grasps->let_go, &grasps->lock, &until) == 0)
        ;
    if (!meets) {
        *many = (struct grasp_many){.rows = rows, .count = count, .next = grasps->manies};
        grasps->manies = many;
    }
    pthread_mutex_unlock(&grasps->lock);
    return !meets;
}

void grasp_many_let_go(struct grasps *grasps, struct grasp_many *many)
{
    pthread_mutex_lock(&grasps->lock);
    for (struct grasp_many **link = &grasps->manies; *link; link = &(*link)->next) {
        if (*link == many) {
            *link = many->next;
            break;
        }
    }
    *many = (struct grasp_many){0};
    pthread_cond_broadcast(&grasps->let_go);
    pthread_mutex_unlock(&grasps->lock);
}

static bool is_whole_locked(const struct grasps *grasps, const struct grasp_many *many)
{
    for (const struct grasp *one = grasps->ones; one; one = one->next)
        if (has(many, one->row))
            return false;
    return true;
}

bool grasp_many_is_whole(struct grasps *grasps, const struct grasp_many *many, int64_t ms)
{
    struct timespec until = units_monotonic_in(ms);
    bool whole;
    pthread_mutex_lock(&grasps->lock);
    while (!(whole = is_whole_locked(grasps, many)) &&
           pthread_cond_timedwait(&grasps->let_go, &grasps->lock, &until) == 0)
        ;
    pthread_mutex_unlock(&grasps->lock);
    return whole;
}

size_t grasp_many_missing(struct grasps *grasps, const struct grasp_many *many, int64_t *ret_rows)
{
    size_t count = 0;
    pthread_mutex_lock(&grasps->lock);
    for (const struct grasp *one = grasps->ones; one; one = one->next)
        if (has(many, one->row))
            ret_rows[count++] = one->row;
    pthread_mutex_unlock(&grasps->lock);
    return count;
}
