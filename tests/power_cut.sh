#!/bin/sh
# Power cuts (make power-cut): the service works on an ext4 file system whose disk is recorded write
# by write. Then, for each flush of that disk, the disk is put together as it was, mounted, and the
# service started on it: nothing that was acknowledged may be missing, no file may be in pieces.
# No device mapper and no virtual machine: QEMU's storage daemon records, by FUSE and a loop device.
#
# CUTS=n: how many flushes at most (200), evenly spread. As root, in a mount namespace of its own.
set -u
build=${AUTODL_BUILD:-.}
helper=$build/tests/power_cut
cuts_max=${CUTS:-200}
fs_mib=120
disk_mib=128

skip() { echo "power-cut: skipped: $1"; exit 0; }
fail() { echo "power-cut: $1" >&2; exit 1; }

for tool in qemu-storage-daemon losetup mkfs.ext4 mount unshare; do
    command -v $tool >/dev/null || skip "$tool is not installed"
done
[ "$(id -u)" = 0 ] || skip "only root can mount"
[ -c /dev/fuse ] || skip "there is no /dev/fuse"
[ -c /dev/loop-control ] || skip "there are no loop devices"
[ -x "$helper" ] || fail "$helper is missing: run make power-cut"
if [ "${POWER_CUT_INSIDE:-}" != yes ]; then
    unshare -m true 2>/dev/null || skip "mount namespaces are not allowed here"
    POWER_CUT_INSIDE=yes exec unshare -m "$0" "$@"
fi

work=$(mktemp -d "${TMPDIR:-/tmp}/autodl-power-cut-XXXXXX") || exit 1
chmod 755 "$work"
mnt=$work/mnt; boot_id=/proc/sys/kernel/random/boot_id
loop=; daemon=; origin=

clean_up() {
    umount -l "$mnt" 2>/dev/null
    [ -z "$loop" ] || losetup -d "$loop" 2>/dev/null
    [ -z "$daemon" ] || { kill "$daemon"; wait "$daemon"; } 2>/dev/null
    stop_origin
    umount "$boot_id" 2>/dev/null
    rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 1' INT TERM

start_origin() { # PORT [fast]
    rm -f "$work/hold" "$work/port"
    mkfifo "$work/hold"
    "$helper" origin "$@" <"$work/hold" >"$work/port" &
    origin=$!
    exec 3>"$work/hold"
    until [ -s "$work/port" ] || ! kill -0 $origin 2>/dev/null; do sleep 0.05; done
    read -r port <"$work/port" || fail "the origin does not start"
}

stop_origin() {
    [ -n "$origin" ] || return 0
    exec 3>&-
    wait "$origin"
    origin=
}

start_disk() {
    truncate -s ${disk_mib}M "$work/data"
    truncate -s 8G "$work/log"
    : >"$work/export"
    qemu-storage-daemon \
        --blockdev "driver=file,node-name=data,filename=$work/data" \
        --blockdev "driver=file,node-name=record,filename=$work/log" \
        --blockdev driver=blklogwrites,node-name=disk,file=data,log=record,log-sector-size=512 \
        --export "type=fuse,id=disk,node-name=disk,mountpoint=$work/export,writable=on" \
        >"$work/daemon" 2>&1 &
    daemon=$!
    until [ -s "$work/export" ]; do
        kill -0 $daemon 2>/dev/null || skip "no recorded disk: $(head -n 1 "$work/daemon")"
        sleep 0.05
    done
}

attach() { # FILE
    loop=$(losetup -f --show "$1" 2>&1) || { reason=$loop; loop=; skip "no loop device: $reason"; }
}

detach() {
    umount "$mnt" || fail "the file system cannot be let go"
    losetup -d "$loop" || fail "the loop device cannot be let go"
    loop=
}

# So that each start is one after a reboot: what was written and not synced is not to be trusted.
reboot() {
    cat /proc/sys/kernel/random/uuid >"$work/boot_id"
    [ "$(cat "$boot_id")" = "$(cat "$work/boot_id")" ] ||
        mount --bind "$work/boot_id" "$boot_id" || skip "the boot id cannot be replaced here"
}

mkdir "$mnt"
export POWER_CUT_OFFSET=$((fs_mib * 1048576)) POWER_CUT_SERVICE="$work/service"
start_origin 0
start_disk
attach "$work/export"
mkfs.ext4 -q -E lazy_itable_init=0,lazy_journal_init=0 "$loop" ${fs_mib}M || fail "no file system"
mount "$loop" "$mnt" || fail "the file system cannot be mounted"
chmod 755 "$mnt"
reboot
POWER_CUT_DISK="$work/export" TMPDIR="$mnt" AUTODL_KEEP=yes "$helper" work "$port" >"$work/out" ||
    { cat "$work/out"; fail "the workload failed"; }
grep 'records$' "$work/out"
detach
kill $daemon; wait $daemon; daemon=
stop_origin
start_origin "$port" fast

"$helper" flushes "$work/log" >"$work/flushes" || fail "the log cannot be read"
read -r first last <"$work/flushes"
step=$(((last - first) / cuts_max + 1))
echo "# flushes $first to $last, each ${step}th is a cut"
cuts=0; failed=0; files=0; records=0
cut=$first
while [ "$cut" -lt "$last" ]; do
    image=$work/image
    rm -f "$image"
    truncate -s ${disk_mib}M "$image"
    # every other time with a random half of what was on its way to the disk
    "$helper" replay "$work/log" "$image" "$cut" $((cuts % 2 * cut)) || fail "replay failed"
    attach "$image"
    mount "$loop" "$mnt" || fail "flush $cut: the file system cannot be mounted"
    reboot
    if POWER_CUT_DISK="$loop" "$helper" verify "$port" >"$work/out" 2>&1; then
        sed -n 's/^# verified: \([0-9]*\) files, \([0-9]*\) records$/\1 \2/p' "$work/out" \
            >"$work/verified"
        read -r some_files some_records <"$work/verified" || fail "nothing was verified"
        files=$((files + some_files)); records=$((records + some_records))
    else
        failed=$((failed + 1))
        echo "# flush $cut:"; sed 's/^/#   /' "$work/out"
    fi
    detach
    cuts=$((cuts + 1)); cut=$((cut + step))
done
echo "power-cut: $cuts cut points, $failed failed; $records acknowledgements and $files files checked"
[ "$failed" = 0 ] || exit 1
[ "$cuts" -ge 100 ] || [ "$cuts_max" -lt 100 ] || fail "these are fewer than 100 cut points"
