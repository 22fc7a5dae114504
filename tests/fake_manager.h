/* For the tests of the routes: a manager that only notes what it is asked, and answers what it was
 * told to. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <sys/types.h>

#include "manager.h"

#define FAKE_ID "5b0c9a1e-0000-4000-8000-000000000001"

struct manager {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool hold;  /* replies are kept until release_replies */
    bool block; /* manager_stats waits inside */
    unsigned blocked;
    unsigned calls; /* of any verb */

    /* what was asked last */
    const char *verb;
    uid_t scope;
    unsigned number; /* seconds, or max_tasks_num */
    bool flag;       /* keep, or delete_file */
    char id[API_ID_LENGTH + 1];
    struct manager_filter filter; /* its strings, or NULL, are in these */
    char filter_texts[3][300];
    int64_t list_after;
    size_t limit;
    struct manager_settings_change setting;
    struct manager_change change;
    char change_texts[2][API_URL_MAX + 1];
    int64_t pause_until;
    enum manager_verb many;
    size_t id_count;
    size_t added; /* add_many: how many; the last of them is the following */
    struct manager_add add; /* its strings, or NULL, are the following */
    char url[API_URL_MAX + 1], directory[API_PATH_MAX + 1], user[API_USER_MAX + 1];
    char label[300], mirrors[20000], after[API_ID_LENGTH + 1];
    char name[API_NAME_MAX + 1], checksum[200], headers[20000], username[2000], password[2000];

    bool watched;
    struct manager_running running[100]; /* what runs; its texts live on */
    unsigned running_count;

    /* what it answers */
    int error;
    const char *message;
    bool twin;
    struct task task;
    struct manager_view view; /* its task is the above */
    size_t count;             /* so many of it */
    int64_t next;

    struct {
        manager_done done;
        void *data;
    } held[64];
    unsigned held_count;
};

extern struct manager manager;

unsigned calls(void);
const struct manager *seen(void); /* a copy of it as it is now, until the next call */
void set_reply(int error, const char *message);
void set_hold(bool hold);
void wait_for_held(unsigned count);
void *release_replies(void *data); /* for pthread_create, too */
