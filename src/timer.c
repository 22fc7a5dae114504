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

struct timer {
    /* immutable */
    timer_due due;
    void *data;
    int clock; /* timerfd */
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

static void wait_for_either(struct timer *timer)
{
    struct pollfd fds[] = {
        {.fd = timer->clock, .events = POLLIN},
        {.fd = timer->kick,  .events = POLLIN}
    };
    uint64_t unused;
    poll(fds, 2, -1);
    for (int i = 0; i < 2; i++)
        if (fds[i].revents & POLLIN && read(fds[i].fd, &unused, sizeof unused) < 0)
            continue; /* both are non-blocking: somebody was quicker */
}

static void *timer_thread(void *data)
{
    struct timer *timer = data;
    while (!atomic_load(&timer->stopping)) {
        arm(timer, timer->due(timer->data));
        wait_for_either(timer);
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
    timer->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int r = timer->clock < 0 || timer->kick < 0 ? -errno : 0;
    if (r == 0)
        r = -pthread_create(&timer->thread, NULL, timer_thread, timer);
    if (r < 0) {
        if (timer->clock >= 0)
            close(timer->clock);
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
    close(timer->kick);
    free(timer);
}
