#include "privsep/caps.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SETID_CAPS (1ULL << CAP_SETUID | 1ULL << CAP_SETGID)

static int caps_get(uint64_t *ret_permitted, uint64_t *ret_effective)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
    if (syscall(SYS_capget, &header, data) < 0)
        return -errno;
    *ret_permitted = data[0].permitted | (uint64_t)data[1].permitted << 32;
    *ret_effective = data[0].effective | (uint64_t)data[1].effective << 32;
    return 0;
}

/* Exactly these, permitted and effective; nothing inheritable, nothing ambient. */
static int caps_set(uint64_t caps)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {0};
    data[0].permitted = data[0].effective = (uint32_t)caps;
    data[1].permitted = data[1].effective = (uint32_t)(caps >> 32);
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 ||
        syscall(SYS_capset, &header, data) < 0)
        return -errno;
    return 0;
}

bool caps_may_become_others(void)
{
    uint64_t permitted;
    uint64_t effective;
    return geteuid() == 0 ||
           (caps_get(&permitted, &effective) == 0 && (effective & 1ULL << CAP_SETUID));
}

int caps_keep_setid(void)
{
    return caps_set(SETID_CAPS);
}

void caps_drop_bounding(void)
{
    for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
        if (!(SETID_CAPS & 1ULL << cap))
            (void)prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
}

#ifdef __SANITIZE_THREAD__
/* capset(2) is for one thread, and the sanitizer has one of its own in each process: with what that
 * kept, set*id(2), which the C library does in all threads alike (nptl(7)), would end there in
 * another way than here. Whoever was root and is not any more has no capability, in every thread
 * (capabilities(7)). */
static int clear_in_all_threads(void)
{
    uid_t uid = getuid();
    if (!caps_may_become_others() || uid == 0)
        return 0;
    return setresuid(0, 0, 0) < 0 || setresuid(uid, uid, uid) < 0 ? -errno : 0;
}
#else
static int clear_in_all_threads(void)
{
    return 0; /* there is this one */
}
#endif

int caps_give_up(void)
{
    uint64_t permitted;
    uint64_t effective;
    int r = clear_in_all_threads();
    if (r == 0)
        r = caps_set(0);
    if (r == 0)
        r = caps_get(&permitted, &effective);
    if (r < 0)
        return r;
    if (permitted || effective || setresuid(0, 0, 0) == 0)
        return -ENOTRECOVERABLE;
    return 0;
}
