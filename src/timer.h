/* One thread that wakes at a time of CLOCK_BOOTTIME (timerfd_create(2)), which condition variables
 * cannot wait for. It sleeps while there is no such time. */
#pragma once

#include <stdint.h>

struct timer;

/* Does what is due, on the timer's thread, also when the wall clock was set; gives the next time
 * (ms since the boot), 0: none. */
typedef int64_t (*timer_due)(void *data);

/* 0 or a negative errno. */
int timer_start(timer_due due, void *data, struct timer **ret_timer);
/* Asks `due` again, soon: there may be an earlier time now. */
void timer_kick(struct timer *timer);
/* Ends the thread. NULL is fine. */
void timer_stop(struct timer *timer);
