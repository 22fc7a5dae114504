#include "fake_manager.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

struct manager manager = {
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .changed = PTHREAD_COND_INITIALIZER,
    .task = {.id = FAKE_ID,
             .user = (char *)"x",
             .url = (char *)"http://h/a b\"\xc3\xa9",
             .directory = (char *)"/srv/d",
             .name = (char *)"a \xf0\x9f\x98\x80",
             .state = TASK_FINISHED,
             .created_at = 1000,
             .ended_at = 2234,
             .bytes_total = -1},
    .view = {.bytes_per_second = -1},
    .count = 3,
};

static void reply(struct manager *m, manager_done done, void *data)
{
    pthread_mutex_lock(&m->lock);
    struct task task = m->task;
    struct manager_view views[3] = {m->view, m->view, m->view};
    for (int i = 0; i < 3; i++)
        views[i].task = &task;
    struct manager_reply answer = {.error = m->error,
                                   .message = m->message,
                                   .view = m->error ? NULL : views,
                                   .twin = m->twin,
                                   .count = m->count,
                                   .next = m->next};
    pthread_mutex_unlock(&m->lock);
    done(data, &answer);
}

static void note(struct manager *m, const char *verb, uid_t scope, unsigned number,
                 manager_done done, void *data)
{
    pthread_mutex_lock(&m->lock);
    m->calls++;
    m->verb = verb;
    m->scope = scope;
    m->number = number;
    bool hold = m->hold;
    if (hold) {
        assert(m->held_count < 64);
        m->held[m->held_count].done = done;
        m->held[m->held_count++].data = data;
    }
    pthread_cond_broadcast(&m->changed);
    pthread_mutex_unlock(&m->lock);
    if (!hold)
        reply(m, done, data);
}

static void copy(char *to, size_t size, const char *from, const char **ret_text)
{
    snprintf(to, size, "%s", from ? from : "");
    *ret_text = from ? to : NULL;
}

static void note_add(struct manager *m, const struct manager_add *add)
{
    pthread_mutex_lock(&m->lock);
    m->add = *add;
    copy(m->url, sizeof m->url, add->url, &m->add.url);
    copy(m->directory, sizeof m->directory, add->directory, &m->add.directory);
    copy(m->user, sizeof m->user, add->user, &m->add.user);
    copy(m->name, sizeof m->name, add->name, &m->add.name);
    copy(m->checksum, sizeof m->checksum, add->checksum, &m->add.checksum);
    copy(m->username, sizeof m->username, add->username, &m->add.username);
    copy(m->password, sizeof m->password, add->password, &m->add.password);
    copy(m->headers, sizeof m->headers, add->headers, &m->add.headers);
    copy(m->label, sizeof m->label, add->label, &m->add.label);
    copy(m->mirrors, sizeof m->mirrors, add->mirrors, &m->add.mirrors);
    copy(m->after, sizeof m->after, add->after, &m->add.after);
    pthread_mutex_unlock(&m->lock);
}

void manager_add(struct manager *m, const struct manager_add *add, manager_done done, void *data)
{
    note_add(m, add);
    note(m, "add", add->uid, 0, done, data);
}

void manager_add_many(struct manager *m, const struct manager_add *adds, size_t count,
                      manager_done done, void *data)
{
    note_add(m, &adds[count - 1]);
    pthread_mutex_lock(&m->lock);
    m->added = count;
    pthread_mutex_unlock(&m->lock);
    note(m, "add_many", adds->uid, 0, done, data);
}

static void note_filter(struct manager *m, const struct manager_filter *filter)
{
    pthread_mutex_lock(&m->lock);
    m->filter = *filter;
    copy(m->filter_texts[0], sizeof m->filter_texts[0], filter->user, &m->filter.user);
    copy(m->filter_texts[1], sizeof m->filter_texts[1], filter->host, &m->filter.host);
    copy(m->filter_texts[2], sizeof m->filter_texts[2], filter->text, &m->filter.text);
    pthread_mutex_unlock(&m->lock);
}

void manager_list(struct manager *m, const struct manager_filter *filter, int64_t after,
                  size_t limit, manager_done done, void *data)
{
    note_filter(m, filter);
    pthread_mutex_lock(&m->lock);
    m->list_after = after;
    m->limit = limit;
    pthread_mutex_unlock(&m->lock);
    note(m, "list", filter->scope, 0, done, data);
}

static void note_task(struct manager *m, const char *verb, uid_t scope, const char *prefix,
                      bool flag, manager_done done, void *data)
{
    pthread_mutex_lock(&m->lock);
    assert(strlen(prefix) < sizeof m->id);
    snprintf(m->id, sizeof m->id, "%s", prefix);
    m->flag = flag;
    pthread_mutex_unlock(&m->lock);
    note(m, verb, scope, 0, done, data);
}

void manager_find(struct manager *m, uid_t scope, const char *prefix, manager_done done, void *data)
{
    note_task(m, "find", scope, prefix, false, done, data);
}

void manager_hold(struct manager *m, uid_t scope, const char *prefix, manager_done done, void *data)
{
    note_task(m, "hold", scope, prefix, false, done, data);
}

void manager_release(struct manager *m, uid_t scope, const char *prefix, manager_done done,
                     void *data)
{
    note_task(m, "release", scope, prefix, false, done, data);
}

void manager_cancel(struct manager *m, uid_t scope, const char *prefix, bool keep,
                    manager_done done, void *data)
{
    note_task(m, "cancel", scope, prefix, keep, done, data);
}

void manager_retry(struct manager *m, uid_t scope, const char *prefix, manager_done done,
                   void *data)
{
    note_task(m, "retry", scope, prefix, false, done, data);
}

void manager_forget(struct manager *m, uid_t scope, const char *prefix, bool delete_file,
                    manager_done done, void *data)
{
    note_task(m, "forget", scope, prefix, delete_file, done, data);
}

void manager_clear(struct manager *m, uid_t scope, manager_done done, void *data)
{
    note(m, "clear", scope, 0, done, data);
}

void manager_pause(struct manager *m, uid_t scope, unsigned seconds, manager_done done, void *data)
{
    note(m, "pause", scope, seconds, done, data);
}

void manager_resume(struct manager *m, uid_t scope, manager_done done, void *data)
{
    note(m, "resume", scope, 0, done, data);
}

void manager_watch(struct manager *m, bool on)
{
    pthread_mutex_lock(&m->lock);
    m->watched = on;
    pthread_mutex_unlock(&m->lock);
}

void manager_each_running(struct manager *m, manager_see see, void *data)
{
    pthread_mutex_lock(&m->lock);
    for (unsigned i = 0; i < m->running_count; i++)
        see(data, &m->running[i]);
    pthread_mutex_unlock(&m->lock);
}

int manager_count_own(struct manager *m, uid_t uid, uint64_t ret_own[static TASK_STATES])
{
    (void)m;
    (void)uid;
    memset(ret_own, 0, TASK_STATES * sizeof *ret_own);
    ret_own[TASK_PAUSED] = 4;
    return 0;
}

void manager_totals(struct manager *m, struct manager_totals *ret_totals)
{
    (void)m;
    *ret_totals = (struct manager_totals){.stats = {.bytes = 12345, .other_responses = 2},
                                          .commits = 8,
                                          .commit_seconds = 0.5,
                                          .started_at = 1000};
    ret_totals->stats.responses[200 - STATS_CODE_MIN] = 7;
    ret_totals->stats.responses[STATS_CODE_MAX - STATS_CODE_MIN] = 1;
}

void manager_stats(struct manager *m, struct stats_snapshot *ret_snapshot)
{
    pthread_mutex_lock(&m->lock);
    m->calls++;
    m->blocked++;
    pthread_cond_broadcast(&m->changed);
    while (m->block)
        pthread_cond_wait(&m->changed, &m->lock);
    m->blocked--;
    pthread_mutex_unlock(&m->lock);
    *ret_snapshot = (struct stats_snapshot){.responses_total = 3, .codes = 2};
    ret_snapshot->tasks[TASK_ENQUEUED] = 1;
    ret_snapshot->tasks[TASK_CANCELLED] = 7;
    ret_snapshot->by_code[0].code = 200;
    ret_snapshot->by_code[0].count = 2;
    ret_snapshot->by_code[1].code = 404;
    ret_snapshot->by_code[1].count = 1;
}

void manager_settings(struct manager *m, struct manager_setting_view ret_views[MANAGER_SETTINGS])
{
    pthread_mutex_lock(&m->lock);
    m->calls++;
    pthread_mutex_unlock(&m->lock);
    ret_views[MANAGER_MAX_TASKS] = (struct manager_setting_view){.value = 10};
    ret_views[MANAGER_RATE_LIMIT] = (struct manager_setting_view){
        .value = 5, .who = "dora", .until = 1700000000007};
    ret_views[MANAGER_MAX_PER_HOST] =
        (struct manager_setting_view){.value = 16, .source = SETTINGS_COMMAND_LINE};
}

int manager_change_settings(struct manager *m, const struct manager_settings_change *change)
{
    pthread_mutex_lock(&m->lock);
    m->setting = *change;
    m->number = (unsigned)change->value[MANAGER_MAX_TASKS];
    int error = m->error;
    m->calls++;
    pthread_mutex_unlock(&m->lock);
    return error;
}

void manager_overview(struct manager *m, uid_t uid, manager_looked looked, void *data)
{
    uint64_t own[TASK_STATES] = {[TASK_PAUSED] = 4}, all[TASK_STATES] = {[TASK_FINISHED] = 5};
    struct stats_series series = {.bytes = {[59] = 1000}, .responses = {7}};
    struct manager_overview overview = {.own = own,
                                        .all = all,
                                        .series = &series,
                                        .pauses = {.own = true},
                                        .directory = "/home/x/d \xc3\xa9",
                                        .free = INT64_C(5000000000)};
    pthread_mutex_lock(&m->lock);
    m->calls++;
    m->verb = "overview";
    m->scope = uid;
    int error = m->error;
    pthread_mutex_unlock(&m->lock);
    looked(data, error, &overview);
}

void manager_pause_until(struct manager *m, uid_t scope, int64_t until, manager_done done,
                         void *data)
{
    pthread_mutex_lock(&m->lock);
    m->pause_until = until;
    pthread_mutex_unlock(&m->lock);
    note(m, "pause_until", scope, 0, done, data);
}

void manager_first(struct manager *m, uid_t scope, const char *prefix, manager_done done, void *data)
{
    note_task(m, "first", scope, prefix, false, done, data);
}

void manager_change(struct manager *m, uid_t scope, const char *prefix,
                    const struct manager_change *change, manager_done done, void *data)
{
    pthread_mutex_lock(&m->lock);
    m->change = *change;
    copy(m->change_texts[0], sizeof m->change_texts[0], change->url, &m->change.url);
    copy(m->change_texts[1], sizeof m->change_texts[1], change->label, &m->change.label);
    pthread_mutex_unlock(&m->lock);
    note_task(m, "change", scope, prefix, false, done, data);
}

void manager_do_many(struct manager *m, enum manager_verb verb, const struct manager_filter *filter,
                     const char *const *ids, size_t id_count, manager_done done, void *data)
{
    note_filter(m, filter);
    pthread_mutex_lock(&m->lock);
    m->many = verb;
    m->id_count = id_count;
    snprintf(m->id, sizeof m->id, "%s", id_count ? ids[id_count - 1] : "");
    pthread_mutex_unlock(&m->lock);
    note(m, "do_many", filter->scope, 0, done, data);
}

unsigned calls(void)
{
    pthread_mutex_lock(&manager.lock);
    unsigned count = manager.calls;
    pthread_mutex_unlock(&manager.lock);
    return count;
}

/* What was asked last. */
const struct manager *seen(void)
{
    static struct manager now;
    pthread_mutex_lock(&manager.lock);
    now = manager;
    pthread_mutex_unlock(&manager.lock);
    return &now;
}

void set_reply(int error, const char *message)
{
    pthread_mutex_lock(&manager.lock);
    manager.error = error;
    manager.message = message;
    pthread_mutex_unlock(&manager.lock);
}

void set_hold(bool hold)
{
    pthread_mutex_lock(&manager.lock);
    manager.hold = hold;
    pthread_mutex_unlock(&manager.lock);
}

void wait_for_held(unsigned count)
{
    pthread_mutex_lock(&manager.lock);
    while (manager.held_count < count)
        pthread_cond_wait(&manager.changed, &manager.lock);
    pthread_mutex_unlock(&manager.lock);
}

void *release_replies(void *data)
{
    (void)data;
    for (;;) {
        pthread_mutex_lock(&manager.lock);
        if (!manager.held_count) {
            pthread_mutex_unlock(&manager.lock);
            return NULL;
        }
        unsigned i = --manager.held_count;
        manager_done done = manager.held[i].done;
        void *request = manager.held[i].data;
        pthread_mutex_unlock(&manager.lock);
        reply(&manager, done, request);
    }
}
