/* A worker that has no task helps with one that another runs. */
#pragma once

#include "engine.h"
#include "worker.h"

/* On the worker's thread; blocks until nothing is left to help with, or the place is wanted back. */
void help_run(struct engine *engine, struct worker_tools *tools, const struct helping_place *place);
