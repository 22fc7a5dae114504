# shellcheck shell=sh
# A machine for tests: Debian 12 with systemd as PID 1, booted by systemd-nspawn over an overlay of a tree
# that is built once. To be sourced; needs root. The caller sets `work` (a directory of its own).
#
# The machine's network is the namespace $net, which stays over a reboot; 10.77.0.1 is its address for
# another host, in the namespace $lan.

machine_tree=${AUTODL_BOOT_TREE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/autodl-boot/bookworm}
machine=autodl-boot-$$
net=$machine
lan=$machine-lan
root=$work/root
leader=
nspawn=
cgroups=

# Why it cannot be done here; nothing: it can.
machine_obstacle() {
    [ "$(id -u)" = 0 ] || { echo "only root can boot a machine"; return; }
    for tool in mmdebstrap systemd-nspawn ip nsenter unshare; do
        command -v $tool >/dev/null || { echo "$tool is not installed"; return; }
    done
    grep -qE ' cgroup2? ' /proc/mounts || { echo "there are no control groups"; return; }
    unshare -m true 2>/dev/null || { echo "mount namespaces are not allowed here"; return; }
    ip netns add "$net" 2>/dev/null || { echo "network namespaces are not allowed here"; return; }
    ip netns del "$net"
}

# Built once, and anew after 30 days. Takes a minute or two.
machine_make_tree() {
    [ -z "$(find "$machine_tree/.complete" -mtime -30 2>/dev/null)" ] || return 0
    echo "# making $machine_tree"
    rm -rf "$machine_tree"
    mkdir -p "${machine_tree%/*}"
    sources=/etc/apt/sources.list.d/debian.sources
    [ -e "$sources" ] || sources=/etc/apt/sources.list
    mmdebstrap -q --variant=minbase --aptopt='Acquire::Languages "none"' \
        --include=systemd-sysv,dbus,libpam-systemd,procps,iproute2,curl \
        --dpkgopt=force-unsafe-io bookworm "$machine_tree" "$sources" >&2 || return 1
    echo "127.0.0.1 localhost" >"$machine_tree/etc/hosts"
    touch "$machine_tree/.complete"
}

# These packages, and those that they depend on and the tree lacks, into a directory.
machine_fetch() { # directory, packages (files, or names)
    directory=$1
    shift
    mkdir -p "$directory/partial"
    apt-get -qq -y --no-install-recommends -o Dir::State::status="$machine_tree/var/lib/dpkg/status" \
        -o Dir::Cache::archives="$directory" -o APT::Sandbox::User=root --download-only \
        install "$@" >"$work/fetch.log" 2>&1 || { cat "$work/fetch.log" >&2; return 1; }
    for package in "$@"; do
        [ ! -e "$package" ] || cp "$package" "$directory"
    done
    rm -rf "$directory/partial" "$directory/lock"
}

machine_create() {
    mkdir -p "$work/upper" "$root"
    mount -t tmpfs -o mode=755 autodl-boot "$work/upper" || return 1
    mkdir "$work/upper/up" "$work/upper/work"
    mount -t overlay overlay -o "lowerdir=$machine_tree,upperdir=$work/upper/up,workdir=$work/upper/work" \
        "$root" || return 1
    ip netns add "$net" && ip netns add "$lan" &&
        ip -n "$net" link add lan0 type veth peer name lan0 netns "$lan" &&
        ip -n "$net" addr add 10.77.0.1/24 dev lan0 && ip -n "$lan" addr add 10.77.0.2/24 dev lan0 &&
        ip -n "$net" link set lan0 up && ip -n "$lan" link set lan0 up &&
        ip -n "$net" link set lo up && ip -n "$lan" link set lo up
}

# systemd needs a cgroup that nobody else is in.
machine_make_cgroups() {
    for hierarchy in /sys/fs/cgroup/unified /sys/fs/cgroup/systemd /sys/fs/cgroup; do
        [ -e "$hierarchy/cgroup.procs" ] || continue
        mkdir -p "$hierarchy/$machine" && cgroups="$cgroups $hierarchy/$machine"
    done
}

machine_boot() {
    [ -n "$cgroups" ] || machine_make_cgroups
    # shellcheck disable=SC2016 # its own $$
    SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 sh -c '
        for group in $1; do echo $$ >"$group/cgroup.procs"; done
        shift
        exec "$@"' boot "$cgroups" \
        systemd-nspawn -q -D "$root" -M "$machine" --register=no --keep-unit \
        --network-namespace-path="/run/netns/$net" --link-journal=no --resolv-conf=off --timezone=off \
        --console=pipe --boot </dev/null >>"$work/console" 2>&1 &
    nspawn=$!
    tries=600
    until leader=$(cat "/proc/$nspawn/task/$nspawn/children" 2>/dev/null) && leader=${leader%% *} &&
        [ -n "$leader" ] && nsenter -t "$leader" -a test -S /run/systemd/private 2>/dev/null; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] && kill -0 $nspawn 2>/dev/null || { cat "$work/console" >&2; return 1; }
        sleep 0.1
    done
    until run true 2>/dev/null; do # there is a bus
        tries=$((tries - 1))
        [ $tries -gt 0 ] || return 1
        sleep 0.1
    done
    run systemctl is-system-running --wait >/dev/null # degraded will do
    return 0
}

# In the machine, as root; the exit status is the command's.
run() {
    nsenter -t "$leader" -a systemd-run -q --pipe --wait --collect -E PATH=/usr/sbin:/usr/bin:/sbin:/bin \
        -E DEBIAN_FRONTEND=noninteractive -E LC_ALL=C.UTF-8 -- "$@" </dev/null
}

# In the machine: a user's login shell runs the words.
as() { # user, shell words
    as_user=$1
    shift
    run su -l "$as_user" -c "$*"
}

# Waits for nspawn to end: 133 after a reboot.
machine_wait_end() {
    wait "$nspawn"
    ended=$?
    nspawn=
    leader=
    return $ended
}

machine_reboot() {
    run systemctl reboot 2>/dev/null # its own end may be cut short
    machine_wait_end
    [ $? -eq 133 ] || return 1
    machine_boot
}

machine_destroy() {
    if [ -n "$nspawn" ]; then
        [ -z "$leader" ] || nsenter -t "$leader" -a systemctl --force --force exit 0 2>/dev/null
        kill "$nspawn" 2>/dev/null
        wait "$nspawn" 2>/dev/null
    fi
    for group in $cgroups; do
        find "$group" -depth -type d -exec rmdir {} \; 2>/dev/null
    done
    ip netns del "$net" 2>/dev/null
    ip netns del "$lan" 2>/dev/null
    umount "$root" 2>/dev/null
    umount "$work/upper" 2>/dev/null
    return 0
}
