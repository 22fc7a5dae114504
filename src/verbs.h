/* What people ask of one task: find, hold, release, cancel, retry, forget; each on the thread that looks
 * tasks up, so never on an HTTP thread. */
#pragma once

#include "engine.h"
#include "finisher.h"
#include "grasp.h"
#include "manager.h"

struct verbs;

enum verb_kind {
    VERB_FIND,
    VERB_HOLD,
    VERB_RELEASE,
    VERB_CANCEL,
    VERB_CANCEL_KEEP, /* the part file stays */
    VERB_RETRY,
    VERB_FORGET,
    VERB_FORGET_FILE, /* the finished file goes too */
    VERB_FIRST,
    VERB_CHANGE, /* by verbs_change */
    VERB_PRUNE, /* forget, as nobody asked for */
};

/* 0 or -ENOMEM. Engine and finisher outlive it. */
int verbs_create(struct engine *engine, struct finisher *finisher, struct verbs **ret_verbs);
/* What was asked is answered; what comes later is answered -ESHUTDOWN. */
void verbs_stop(struct verbs *verbs);
void verbs_destroy(struct verbs *verbs);
/* Which tasks are in the hands of a verb. */
struct grasps *verbs_grasps(struct verbs *verbs);

/* Has an old task forgotten, its part file first; if that cannot be removed now, it stays until asked
 * for again. */
void verbs_prune(struct verbs *verbs, const struct task *task);

/* As manager_change. */
void verbs_change(struct verbs *verbs, uid_t scope, const char *prefix,
                  const struct manager_change *change, manager_done done, void *data);
/* As the functions of manager.h about one task. */
void verbs_ask(struct verbs *verbs, enum verb_kind kind, uid_t scope, const char *prefix,
               manager_done done, void *data);
