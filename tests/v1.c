#include "v1.h"

#include <errno.h>
#include <json-c/json.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#define JSON_TYPE "Content-Type: application/json\r\n"

/* For this thread alone, as the harness does: the kernel notes who connects. */
static void act_as(uid_t uid, gid_t gid)
{
    if (uid == 0)
        syscall(SYS_setresuid, -1, uid, -1);
    syscall(SYS_setresgid, -1, gid, -1);
    if (uid != 0)
        syscall(SYS_setresuid, -1, uid, -1);
}

/* Unlike the harness's, this one may fail: soak tests talk to services that were just killed. */
static int try_connect(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    bool switches = getuid() == 0;
    ck_assert_uint_lt(strlen(path), sizeof(address.sun_path));
    memcpy(address.sun_path, path, strlen(path) + 1);
    if (switches)
        act_as(harness_user()->uid, harness_user()->gid);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool connected = fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
    if (switches)
        act_as(0, 0);
    if (!connected && fd >= 0)
        close(fd);
    return connected ? fd : -1;
}

int v1_call(const struct service *service, const char *method, const char *target, const char *json,
            const char **ret_body)
{
    _cleanup_answer_ struct answer answer = {0};
    const char *request = http_request_text(method, target, json ? JSON_TYPE : NULL, json);
    int fd = try_connect(service->socket);
    if (fd < 0)
        return -1;
    http_exchange(fd, request, strlen(request), &answer);
    if (ret_body)
        *ret_body = textf("%s", answer.body ? answer.body : "");
    return answer.status;
}

const char *json_at(const char *json, const char *path)
{
    struct json_object *root = json_tokener_parse(json), *value = root;
    const char *text = NULL;
    while (value && *path) {
        size_t len = strcspn(path, ".");
        const char *key = textf("%.*s", (int)len, path);
        path += len + (path[len] == '.');
        if (!json_object_is_type(value, json_type_object) ||
            !json_object_object_get_ex(value, key, &value))
            value = NULL;
    }
    if (value)
        text = textf("%s", json_object_get_string(value));
    json_object_put(root);
    return text;
}

int v1_try_add(const struct service *service, const char *url, const char *directory,
               const char *more, const char **ret_body)
{
    const char *where = directory ? textf(", \"directory\": \"%s\"", directory) : "";
    const char *json =
        textf("{\"url\": \"%s\"%s%s%s}", url, where, more ? ", " : "", more ? more : "");
    return v1_call(service, "POST", "/v1/tasks", json, ret_body);
}

const char *v1_add(const struct service *service, const char *url, const char *directory,
                   const char *more)
{
    const char *body = "";
    int status = v1_try_add(service, url, directory, more, &body);
    ck_assert_msg(status == 201, "adding %s gives %d: %s", url, status, body);
    const char *id = json_at(body, "id");
    ck_assert_msg(id != NULL, "no id in %s", body);
    return id;
}

const char *v1_get(const struct service *service, const char *id, const char *path)
{
    const char *body = "";
    int status = v1_call(service, "GET", textf("/v1/tasks/%s", id), NULL, &body);
    ck_assert_msg(status == 200, "task %s gives %d: %s", id, status, body);
    return json_at(body, path);
}

int64_t v1_number(const struct service *service, const char *id, const char *path)
{
    const char *text = v1_get(service, id, path);
    return text ? strtoll(text, NULL, 10) : -1;
}

const char *v1_verb(const struct service *service, const char *id, const char *verb, int status)
{
    const char *body = "";
    int got = v1_call(service, "POST", textf("/v1/tasks/%s/%s", id, verb), NULL, &body);
    ck_assert_msg(got == status, "%s of task %s gives %d, not %d: %s", verb, id, got, status, body);
    return body;
}

bool v1_ended(const char *state)
{
    return strcmp(state, "FINISHED") == 0 || strcmp(state, "FAILED") == 0 ||
           strcmp(state, "CLEARED") == 0 || strcmp(state, "CANCELLED") == 0;
}

static const char *describe(const struct service *service, const char *id)
{
    return v1_get(service, id, "");
}

void v1_wait(const struct service *service, const char *id, const char *state, int timeout)
{
    int64_t end = harness_now() + timeout;
    const char *now;
    while (strcmp(now = v1_get(service, id, "status"), state) != 0) {
        ck_assert_msg(!v1_ended(now) && harness_now() < end, "the task is not %s: %s", state,
                      describe(service, id));
        poll(NULL, 0, 10);
    }
}

const char *v1_wait_end(const struct service *service, const char *id, int timeout)
{
    int64_t end = harness_now() + timeout;
    const char *now;
    while (!v1_ended(now = v1_get(service, id, "status"))) {
        ck_assert_msg(harness_now() < end, "the task has not ended: %s", describe(service, id));
        poll(NULL, 0, 10);
    }
    return now;
}

void v1_wait_reason(const struct service *service, const char *id, const char *reason, int timeout)
{
    int64_t end = harness_now() + timeout;
    for (;;) {
        const char *now = v1_get(service, id, "waiting_for.reason");
        if (now && strcmp(now, reason) == 0)
            return;
        ck_assert_msg(harness_now() < end, "the task does not wait for %s: %s", reason,
                      describe(service, id));
        poll(NULL, 0, 10);
    }
}
