#include "people.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

const struct identity alice = {"alice", ALICE_UID, ALICE_UID};
const struct identity bob = {"bob", BOB_UID, BOB_UID};
const struct identity dora = {"dora", DORA_UID, DORA_UID};
const struct identity somed = {"_somed", DAEMON_UID, DAEMON_UID};
const struct identity root = {"root", 0, 0};

const char *home_of(const struct identity *who)
{
    return textf("%s/home-%s", harness_dir(), who->name);
}

static int append(const char *from, const char *to, const char *lines)
{
    char buffer[4096];
    size_t len;
    FILE *in = fopen(from, "re"), *out = fopen(to, "we");
    if (!in || !out)
        return -errno;
    while ((len = fread(buffer, 1, sizeof(buffer), in)) > 0)
        fwrite(buffer, 1, len, out);
    fputs(lines, out);
    fclose(in);
    return fclose(out) == 0 ? 0 : -errno;
}

static const char *replace_file(const char *path, const char *name, const char *lines)
{
    const char *copy = textf("%s/%s", harness_dir(), name);
    int result = append(path, copy, lines);
    if (result == 0 && mount(copy, path, NULL, MS_BIND, NULL) < 0)
        result = -errno;
    return result == 0 ? NULL : textf("%s cannot be replaced: %s", path, strerror(-result));
}

static const char *account_lines(void)
{
    const char *lines = textf("_autodl:x:%d:%d::/nonexistent:/usr/sbin/nologin\n"
                              "_somed:x:%d:%d::/nonexistent:/usr/sbin/nologin\n",
                              SERVICE_UID, SERVICE_UID, DAEMON_UID, DAEMON_UID);
    const struct identity *everybody[] = {&alice, &bob, &dora};
    for (unsigned i = 0; i < 3; i++)
        lines = textf("%s%s:x:%u:%u::%s:/bin/sh\n", lines, everybody[i]->name, everybody[i]->uid,
                      everybody[i]->gid, home_of(everybody[i]));
    return textf("%salias:x:%u:%u::%s:/bin/sh\n", lines, BOB_UID, BOB_UID, home_of(&bob));
}

static const char *group_lines(void)
{
    return textf("_autodl:x:%d:\n_somed:x:%d:\nautodl:x:%d:dora\nalice:x:%d:\nbob:x:%d:\n"
                 "dora:x:%d:\ncrew:x:%d:alice\n",
                 SERVICE_UID, DAEMON_UID, OPERATORS, ALICE_UID, BOB_UID, DORA_UID, CREW);
}

const char *make_accounts(void)
{
    const struct identity *everybody[] = {&alice, &bob, &dora};
    if (geteuid() != 0)
        return "several users need root";
    if (unshare(CLONE_NEWNS) < 0)
        return textf("no mount namespace of our own: %s", strerror(errno));
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return textf("mounts cannot be made private: %s", strerror(errno));
    for (unsigned i = 0; i < 3; i++)
        if (mkdir(home_of(everybody[i]), 0700) < 0 ||
            chown(home_of(everybody[i]), everybody[i]->uid, everybody[i]->gid) < 0)
            return textf("%s: %s", home_of(everybody[i]), strerror(errno));
    const char *why = replace_file("/etc/passwd", "passwd", account_lines());
    if (!why)
        why = replace_file("/etc/group", "group", group_lines());
    if (!why)
        why = replace_file("/etc/shadow", "shadow",
                           "alice:!:19000::::::\nbob:!:19000::::::\ndora:!:19000::::::\n");
    return why;
}

void remove_storage(void)
{
    const struct identity *everybody[] = {&alice, &bob, &dora};
    for (unsigned i = 0; i < 3; i++)
        remove_tree(textf("%s/autodl-storage", home_of(everybody[i])));
}
