#include "grasp.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

struct grasps {
    pthread_mutex_t lock;
    /* protected by lock */
    struct grasp *ones;
    struct grasp_many *manies;
};

int grasps_create(struct grasps **ret_grasps)
{
    struct grasps *grasps = calloc(1, sizeof *grasps);
    if (!grasps)
        return -ENOMEM;
    pthread_mutex_init(&grasps->lock, NULL);
    *ret_grasps = grasps;
    return 0;
}

void grasps_destroy(struct grasps *grasps)
{
    if (!grasps)
        return;
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

bool grasp_many(struct grasps *grasps, struct grasp_many *many, const int64_t *rows, size_t count)
{
    bool meets = false;
    pthread_mutex_lock(&grasps->lock);
    for (const struct grasp_many *other = grasps->manies; other && !meets; other = other->next)
        meets = meet(other, rows, count);
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
    pthread_mutex_unlock(&grasps->lock);
}

size_t grasp_many_missing(struct grasps *grasps, const struct grasp_many *many, int64_t *ret_rows,
                          size_t max)
{
    size_t count = 0;
    pthread_mutex_lock(&grasps->lock);
    for (const struct grasp *one = grasps->ones; one && count < max; one = one->next)
        if (has(many, one->row))
            ret_rows[count++] = one->row;
    pthread_mutex_unlock(&grasps->lock);
    return count;
}
