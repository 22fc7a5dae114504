#include "timer.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define FAR_AWAY INT64_C(8000000000) /* s since the epoch; timers take little more */

struct timer {
    /* immutable */
    timer_due due;
    void *data;
    int clock; /* timerfd */
    int wall;  /* timerfd that goes off when the wall clock is set */
    int kick;  /* eventfd */
    pthread_t thread;

    atomic_bool stopping;
};

static void arm(struct timer *timer, int64_t at)
{
    struct itimerspec time = {
        .it_value = {.tv_sec = at / 1000, .tv_nsec = at % 1000 * 1000000}
    }; /* 0: disarmed */
    timerfd_settime(timer->clock, TFD_TIMER_ABSTIME, &time, NULL);
}

/* Far away: it is the setting of the clock that ends the waiting (timerfd_settime(2)). */
static void arm_wall(struct timer *timer)
{
    struct itimerspec time = {
        .it_value = {.tv_sec = sizeof(time_t) > 4 ? (time_t)FAR_AWAY : INT32_MAX}};
    timerfd_settime(timer->wall, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &time, NULL);
}

static void wait_for_any(struct timer *timer)
{
    struct pollfd fds[] = {
        {.fd = timer->clock, .events = POLLIN},
        {.fd = timer->kick,  .events = POLLIN},
        {.fd = timer->wall,  .events = POLLIN}
    };
    uint64_t unused;
    poll(fds, 3, -1);
    for (int i = 0; i < 3; i++)
        if (fds[i].revents & POLLIN && read(fds[i].fd, &unused, sizeof unused) < 0)
            continue; /* all are non-blocking: somebody was quicker, or the clock was set */
    if (fds[2].revents)
        arm_wall(timer);
}

static void *timer_thread(void *data)
{
    struct timer *timer = data;
    while (!atomic_load(&timer->stopping)) {
        arm(timer, timer->due(timer->data));
        wait_for_any(timer);
    }
    return NULL;
}

int timer_start(timer_due due, void *data, struct timer **ret_timer)
{
    struct timer *timer = calloc(1, sizeof *timer);
    if (!timer)
        return -ENOMEM;
    timer->due = due;
    timer->data = data;
    timer->clock = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
    timer->wall = timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC | TFD_NONBLOCK);
    timer->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int r = timer->clock < 0 || timer->wall < 0 || timer->kick < 0 ? -errno : 0;
    if (r == 0)
        arm_wall(timer);
    if (r == 0)
        r = -pthread_create(&timer->thread, NULL, timer_thread, timer);
    if (r < 0) {
        if (timer->clock >= 0)
            close(timer->clock);
        if (timer->wall >= 0)
            close(timer->wall);
        if (timer->kick >= 0)
            close(timer->kick);
        free(timer);
        return r;
    }
    *ret_timer = timer;
    return 0;
}

void timer_kick(struct timer *timer)
{
    eventfd_write(timer->kick, 1);
}

void timer_stop(struct timer *timer)
{
    if (!timer)
        return;
    atomic_store(&timer->stopping, true);
    timer_kick(timer);
    pthread_join(timer->thread, NULL);
    close(timer->clock);
    close(timer->wall);
    close(timer->kick);
    free(timer);
}
