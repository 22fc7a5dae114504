/*
 * Tasks that wait for another one of their user's (`after`): FINISHED lets them go on, any other
 * end fails them, with the code "dependency". They wait in the queue, which knows no time for them;
 * what the other's end means is decided here, on a thread of its own, by what is committed. Whoever
 * takes a task out of the queue (queue_take_after) decides, so that it is decided once.
 *
 * That the other is FINISHED is needed once: then `after` is forgotten, and the other may be.
 */
#pragma once

#include "engine.h"

struct dependants;

/* 0 or -ENOMEM. The engine outlives it. */
int dependants_create(struct engine *engine, struct dependants **ret_dependants);
/* What is not decided then, the next start decides. */
void dependants_stop(struct dependants *dependants);
void dependants_destroy(struct dependants *dependants);

/* A task with `after` has come into the queue: the other may have ended before. */
void dependants_look(struct dependants *dependants, const struct task *task);
/* This task has ended, and that is committed. */
void dependants_ended(struct dependants *dependants, const struct task *task);
/* Some tasks have ended, and that is committed: after a clear, or a start. */
void dependants_look_at_all(struct dependants *dependants);
