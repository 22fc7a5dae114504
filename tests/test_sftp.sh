#!/bin/sh
# SFTP, against a real sshd: a lost connection is gone on from where it was, as long as size and time
# are the same and the overlap matches. A login by password takes accounts of the test's own, so root
# alone can do it.
set -u
. "${AUTODL_SOURCE:?}/tests/tap.sh"
export PATH="$PATH:/usr/sbin:/sbin"

give_up() { skip "resume over SFTP" "$1"; tap_end; }
[ "$(id -u)" = 0 ] || give_up "only root can make accounts for it"
for tool in sshd ssh-keygen openssl unshare setpriv cmp; do
    command -v "$tool" >/dev/null || give_up "$tool is not installed"
done
if [ -z "${AUTODL_SFTP:-}" ]; then # in a mount namespace of its own
    unshare -m true 2>/dev/null || give_up "no mount namespace can be made"
    AUTODL_SFTP=1 exec unshare -m --propagation private "$0"
fi

T=$(mktemp -d) || exit 99
chmod 755 "$T"
mkdir "$T/run" "$T/home" "$T/sent" "$T/got" "$T/ssh"
pids=
finish() {
    for pid in $pids; do kill "$pid" 2>/dev/null; done
    for pid in $pids; do wait "$pid" 2>/dev/null; done
    umount /etc/passwd /etc/shadow /run 2>/dev/null
    rm -rf "$T"
}
trap finish EXIT
trap 'exit 99' INT TERM

cp /etc/passwd "$T/passwd" && cp /etc/shadow "$T/shadow" || give_up "accounts cannot be copied"
echo "fetcher:x:4711:65534::$T/sent:/bin/sh" >>"$T/passwd"
echo "fetcher:$(openssl passwd -6 secret):19000:0:99999:7:::" >>"$T/shadow"
mount --bind "$T/passwd" /etc/passwd && mount --bind "$T/shadow" /etc/shadow &&
    mount -t tmpfs run /run && mkdir -m 755 /run/sshd || give_up "nothing can be mounted"
ssh-keygen -q -t ed25519 -N '' -f "$T/ssh/key"
port=$((20000 + $$ % 20000))
echo "[127.0.0.1]:$port $(cat "$T/ssh/key.pub")" >"$T/known_hosts"
cat >"$T/ssh/config" <<CONFIG
ListenAddress 127.0.0.1:$port
HostKey $T/ssh/key
PidFile none
UsePAM no
PasswordAuthentication yes
StrictModes no
Subsystem sftp internal-sftp
CONFIG
(exec "$(command -v sshd)" -D -e -f "$T/ssh/config" 2>"$T/sshd.log") &
sshd=$!
pids="$pids $sshd"

cp "${AUTODL_BUILD:?}/autodl" "$AUTODL_BUILD/autodl-service" "$T/"
chown -R 65534:65534 "$T/run" "$T/home" "$T/got"
as_nobody="setpriv --reuid 65534 --regid 65534 --clear-groups env HOME=$T/home XDG_RUNTIME_DIR=$T/run"
# shellcheck disable=SC2086 # words
(exec $as_nobody "$T/autodl-service" --listen none --retry-wait 100ms --known-hosts "$T/known_hosts" \
    2>"$T/log") &
pids="$pids $!"
wait_for() { # twentieths of a second, command
    tries=$1
    shift
    until "$@"; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || return 1
        sleep 0.05
    done
}
logged() { grep -q "$1" "$T/log"; }
says() { grep -q "$1" "$T/sshd.log"; }
begun() { [ -n "$(find "$T/got" -name "$1.*.part" -size +2M)" ]; }
fetch() {
    # shellcheck disable=SC2086 # words
    $as_nobody "$T/autodl" --socket "$T/run/autodl.sock" add \
        "sftp://fetcher:secret@127.0.0.1:$port$T/sent/$1" "$T/got" >/dev/null
}
# All connections are lost, in the middle.
lose() {
    for session in $(ps -o pid= --ppid "$sshd"); do
        kill "$(ps -o pid= --ppid "$session" | head -1)" "$session" 2>/dev/null
    done
}
wait_for 200 test -S "$T/run/autodl.sock" && wait_for 200 says listening ||
    give_up "sshd does not start: $(cat "$T/sshd.log")"

# Large, so that there is a middle; not all alike, so that the overlap says something.
seq 1 12000000 >"$T/sent/same" && cp "$T/sent/same" "$T/sent/other"
chmod 644 "$T/sent/"*

fetch same
wait_for 200 begun same
lose
if wait_for 600 logged FINISHED && cmp -s "$T/sent/same" "$T/got/same" &&
    logged 'attempt=2 from=[1-9]' && ! logged 'starts from zero'; then
    ok "a lost connection is gone on from where it was"
else
    not_ok "a lost connection is gone on from where it was" "$(cat "$T/log" "$T/sshd.log")"
fi

fetch other
wait_for 200 begun other
touch -d 2001-01-01 "$T/sent/other"
lose
if wait_for 600 logged 'FINISHED.*/other' && cmp -s "$T/sent/other" "$T/got/other" &&
    logged 'starts from zero: the file changed on the server: it was modified meanwhile'; then
    ok "another time is another file"
else
    not_ok "another time is another file" "$(cat "$T/log" "$T/sshd.log")"
fi
tap_end
