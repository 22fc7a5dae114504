#!/bin/sh
# make boot-check: the packages of the last commit, installed in a clean Debian 12 that systemd boots
# (machine.sh). As root; skipped, with the reason, where it cannot be. A web server (nginx) runs in the
# machine's network, so that it outlives the machine's reboots.
#
# AUTODL_BOOT_TREE=DIR   where the tree is kept between runs
# ONLY="part part"       those parts alone, after install
# UPDATE_EXPECTED=yes    what the first minutes say now is what they should say: read it
set -u
: "${AUTODL_SOURCE:=$(cd "$(dirname "$0")/../.." && pwd)}"
: "${AUTODL_BUILD:=.}"
export AUTODL_SOURCE PATH="$PATH:/usr/sbin:/sbin"
. "$AUTODL_SOURCE/tests/tap.sh"
boot=$AUTODL_SOURCE/tests/boot

work=$(mktemp -d "${TMPDIR:-/tmp}/autodl-boot.XXXXXX") || exit 99
chmod 755 "$work"
. "$boot/machine.sh"
web=
finish() {
    [ -z "$web" ] || { kill "$web"; wait "$web"; } 2>/dev/null
    machine_destroy
    rm -rf "$work"
}
trap finish EXIT
trap 'exit 99' INT TERM

give_up() { skip "the packages on a booted machine" "$1"; tap_end; }
bail_out() { not_ok "$1" "${2:-}"; tap_end; }
obstacle=$(machine_obstacle)
[ -z "$obstacle" ] || give_up "$obstacle"
for tool in dpkg-buildpackage nginx git; do
    command -v $tool >/dev/null || give_up "$tool is not installed"
done
git -C "$AUTODL_SOURCE" rev-parse HEAD >/dev/null 2>&1 || give_up "the packages are built from a git clone"

# --- small tools ---

check() { # description, command (in this shell): succeeds?
    what=$1
    shift
    if "$@" >"$work/said" 2>&1; then ok "$what"; else not_ok "$what" "$(cat "$work/said")"; fi
}

check_not() { # description, command: must fail
    what=$1
    shift
    if "$@" >"$work/said" 2>&1; then not_ok "$what" "$(cat "$work/said")"; else ok "$what"; fi
}

same() { # description, is, should be
    if [ "$2" = "$3" ]; then ok "$1"; else not_ok "$1" "is \"$2\", not \"$3\""; fi
}

now_ms() { date +%s%3N; }

within() { # description, ms it took, bound
    if [ "$2" -le "$3" ]; then ok "$1 ($2 ms)"; else not_ok "$1" "it took $2 ms, not $3"; fi
}

wait_for() { # seconds, command
    until_ms=$(($(now_ms) + $1 * 1000))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$(now_ms)" -lt "$until_ms" ] || return 1
        sleep 0.2
    done
}

size_of() { stat -c %s "$root$1" 2>/dev/null || echo 0; }
bigger() { # than bytes: a file in the machine (a pattern)
    # shellcheck disable=SC2086 # a pattern
    set -- "$1" $root$2
    [ -e "$2" ] && [ "$(stat -c %s "$2")" -ge "$1" ]
}
part_bytes() { stat -c %b "$root"$1 2>/dev/null | awk '{ print $1 * 512 }'; }

# Adds as a user; the id, or what was said.
add() { # user, url, [directory]
    answer=$(as "$1" "autodl add '$2' ${3:-}" 2>&1) || { echo "$answer"; return 1; }
    echo "$answer" | sed -n 's/.*\\"id\\": \\"\([^"]*\)\\".*/\1/p'
}

state() { as "$1" "autodl status $2" | sed -n 's/.*\\"status\\": \\"\([A-Z]*\)\\".*/\1/p'; }
is_state() { [ "$(state "$1" "$2")" = "$3" ]; }

# In the machine: waits until the task is FINISHED.
finished() { # user, id, seconds
    as "$1" "i=0; until autodl status $2 | grep -q FINISHED; do
        i=\$((i + 1)); [ \$i -lt $(($3 * 5)) ] || { autodl status $2; exit 1; }; sleep 0.2; done" \
        >/dev/null 2>&1 && return
    as "$1" "autodl status $2"
    run journalctl -u autodl-service -o cat -n 20 --no-pager
    return 1
}

unit() { run systemctl show -p "$1" --value autodl-service; }
pids_of() { run pgrep -x "$1" | tr '\n' ' '; }

web_bytes() { # how much was sent of a path
    awk -v path="$1" '$2 == path { sum += $4 } END { print sum + 0 }' "$work/access.log"
}
web_has() { awk -v path="$1" -v code="$2" '$2 == path && $3 == code { found = 1 } END { exit !found }' \
    "$work/access.log"; }

# --- a web server in the machine's network ---

mebibyte=1048576
big=$((16 * mebibyte))

start_web() {
    mkdir -p "$work/www/slow" "$work/www/fast"
    head -c $big /dev/urandom >"$work/www/big"
    for name in monitor service filer stop reboot upgrade strict remove; do
        ln "$work/www/big" "$work/www/slow/$name.bin"
    done
    head -c 300000 /dev/urandom >"$work/www/small"
    for name in home srv tmp late secret one two three four; do
        ln "$work/www/small" "$work/www/fast/$name"
    done
    chmod -R a+rX "$work/www"
    cat >"$work/nginx.conf" <<CONF
worker_processes 1; daemon off; pid $work/nginx.pid; error_log $work/nginx.log;
events { worker_connections 256; }
http {
    log_format plain '- \$uri \$status \$body_bytes_sent';
    access_log $work/access.log plain;
    default_type application/octet-stream;
    server {
        listen 127.0.0.1:8080;
        root $work/www;
        location /slow/ {
            limit_rate 512k;
            if (-e $work/hurry) { set \$limit_rate 0; }
        }
        location /slow/filer.bin { limit_rate 3m; }
    }
}
CONF
    ip netns exec "$net" nginx -c "$work/nginx.conf" 2>/dev/null &
    web=$!
    wait_for 10 nsenter --net="/run/netns/$net" curl -sf -o /dev/null http://127.0.0.1:8080/fast/one
}

# --- the parts ---

install_packages() {
    mkdir -p "$root/debs"
    cp "$work/debs/"*.deb "$root/debs/"
    check "the packages are installed" run sh -c 'apt-get install -y /debs/*.deb'
    run sh -c 'useradd -m -s /bin/bash alice; useradd -m -s /bin/bash bob; install -d -o alice /srv/alice
        install -d -m 1777 /data'
}

part_boot() {
    same "it is enabled" "$(run systemctl is-enabled autodl-service)" enabled
    same "it is active after the installation" "$(run systemctl is-active autodl-service)" active
    check "the machine reboots" machine_reboot
    same "it is active after a boot" "$(run systemctl is-active autodl-service)" active
    same "nothing failed" "$(run systemctl --failed --no-legend --plain | grep -v systemd-)" ""
    same "the state is the service's alone" \
        "$(run stat -c '%U:%G %a' /var/lib/autodl)" "_autodl:_autodl 700"
    same "so is the queue" "$(run stat -c '%U %a' /var/lib/autodl/autodl.db)" "_autodl 600"
    same "monitor and service run as _autodl" \
        "$(run ps -C autodl-monitor,autodl-service -o user= | sort -u | tr -d ' ')" _autodl
    check "there is the group of operators" run getent group autodl
    exposure=$(run systemd-analyze security --no-pager autodl-service.service | tail -n 1)
    exposure=${exposure#*: }
    exposure=${exposure%% *}
    if awk -v e="$exposure" 'BEGIN { exit !(e > 0 && e <= 2.5) }'; then
        ok "exposure $exposure is at most 2.5"
    else
        not_ok "exposure is at most 2.5" "$exposure"
    fi
    before=$(run journalctl -u autodl-service -o cat --no-pager | grep -c '^reloaded')
    check "it reloads" run systemctl reload autodl-service
    reloaded() { [ "$(run journalctl -u autodl-service -o cat --no-pager | grep -c '^reloaded')" -gt "$before" ]; }
    check "and says so" wait_for 10 reloaded
}

part_ready() {
    check "when started, it answers at once" run sh -c 'for i in 1 2 3 4 5; do
        systemctl restart autodl-service && su bob -s /bin/sh -c "autodl stats" || exit 1; done'
    # Another holds the lock: it waits, and is not ready.
    run systemctl stop autodl-service
    run systemd-run -q --unit=holder flock /var/lib/autodl/lock sleep 60
    run sh -c 'until ! flock -n /var/lib/autodl/lock true; do sleep 0.1; done'
    run systemctl start --no-block autodl-service
    sleep 1
    same "not ready while it cannot answer" "$(run systemctl is-active autodl-service)" activating
    check_not "and nobody answers" as bob autodl stats
    run systemctl stop holder
    check "ready when it can" wait_for 10 run systemctl is-active autodl-service
}

part_places() {
    run sh -c 'mkdir -p /mnt/late && mount -t tmpfs late /mnt/late && chown bob /mnt/late'
    places="home: srv:/srv/alice tmp:/tmp/alices"
    for place in $places; do
        name=${place%%:*}
        id=$(add alice "http://127.0.0.1:8080/fast/$name" "${place#*:}") || bail_out "add $name" "$id"
        check "a download to ${name} is FINISHED" finished alice "$id" 20
    done
    id=$(add bob http://127.0.0.1:8080/fast/late /mnt/late) || bail_out "add late" "$id"
    check "so is one to a mount made after the start" finished bob "$id" 20
    same "they belong to who added them, and are where they should be" \
        "$(run stat -c '%U %n' /home/alice/autodl-storage/home /srv/alice/srv /tmp/alices/tmp /mnt/late/late)" \
        "alice /home/alice/autodl-storage/home
alice /srv/alice/srv
alice /tmp/alices/tmp
bob /mnt/late/late"
    sum=$(md5sum <"$work/www/small")
    same "their bytes are right" "$(run sh -c 'md5sum </home/alice/autodl-storage/home; md5sum </mnt/late/late')" \
        "$sum
$sum"
    check_not "nobody writes where they may not" as bob "autodl add http://127.0.0.1:8080/fast/one /srv/alice"
}

# A slow download of alice's that has begun; sets id.
begin_slow() { # name
    rm -f "$work/hurry"
    id=$(add alice "http://127.0.0.1:8080/slow/$1.bin") || bail_out "add $1" "$id"
    wait_for 30 slow_has "$1" $((2 * mebibyte)) || bail_out "$1: the download does not begin" "$(state alice "$id")"
    sleep 1.2 # a checkpoint is written once a second
}
slow_has() { [ "$(part_bytes "/home/alice/autodl-storage/$1.bin.*.part")" -ge "$2" ] 2>/dev/null; }

check_comes() { # name
    check "$1: the download goes on to its end" finished alice "$id" 60
    check "$1: its bytes are right" cmp "$work/www/big" "$root/home/alice/autodl-storage/$1.bin"
}

# Before what interrupts it: the next request is answered quickly.
hurry() { : >"$work/hurry"; }

# It goes on, and was not fetched from its beginning.
check_goes_on() { # name
    check_comes "$1"
    check "$1: the rest was asked for, not all" web_has "/slow/$1.bin" 206
    sent=$(web_bytes "/slow/$1.bin")
    if [ "$sent" -lt $((big + mebibyte)) ]; then
        ok "$1: little came twice ($((sent - big)) bytes)"
    else
        not_ok "$1: little came twice" "$sent bytes of $big"
    fi
}

answers() { as bob autodl stats; }

# Kills in the machine, and waits there until a monitor and a service run and answer; prints the ms.
kill_and_wait() { # process
    run sh -c 'old=$(pgrep -x "$1"); began=$(date +%s%3N); kill -9 $old
        until pgrep -x autodl-monitor >/dev/null && [ "$(pgrep -x "$1")" != "$old" ] &&
            curl -sf -o /dev/null --unix-socket /run/autodl/autodl.sock http://localhost/stats; do
            [ $(($(date +%s%3N) - began)) -lt 30000 ] || break
            sleep 0.05
        done
        echo $(($(date +%s%3N) - began))' - "$1"
}

part_kill() {
    for process in monitor service filer; do
        begin_slow $process
        hurry
        within "$process: killed, and it is back" "$(kill_and_wait autodl-$process)" 5000
        if [ $process = filer ]; then
            check_comes $process # the worker has the file already: it does not even notice
        else
            check_goes_on $process
        fi
    done
    same "no restart was needed for the filer" "$(unit NRestarts)" 2
}

part_stop() {
    begin_slow stop
    hurry
    began=$(now_ms)
    check "stop: it stops" run systemctl stop autodl-service
    within "stop: with a running download" $(($(now_ms) - began)) 10000
    same "stop: it ended well" "$(unit Result) $(unit ExecMainStatus)" "success 0"
    same "stop: nobody is left" "$(pids_of autodl-filer)$(pids_of autodl-service)" ""
    run systemctl start autodl-service
    check_goes_on stop
}

part_reboot() {
    begin_slow reboot
    hurry
    boot_before=$(run cat /proc/sys/kernel/random/boot_id)
    check "reboot: the machine reboots" machine_reboot
    check_not "reboot: it is another boot" test "$boot_before" = "$(run cat /proc/sys/kernel/random/boot_id)"
    check_goes_on reboot
}

part_journal() {
    id=$(add alice 'http://user:hushword@127.0.0.1:8080/fast/secret?token=hushtoken') || bail_out "add" "$id"
    finished alice "$id" 20 >/dev/null
    journal=$(run journalctl -u autodl-service -o cat --no-pager)
    check "the journal has task, user and outcome" \
        sh -c 'echo "$1" | grep -q "task=$2 user=alice FINISHED"' - "$journal" "$id"
    same "and no secret" "$(echo "$journal" | grep -c hush)" 0
    same "nothing is wrong in it" "$(run journalctl -u autodl-service -p err -o cat --no-pager |
        grep -v -e 'the service died (signal 9)' -e 'the monitor is gone; ending')" ""
}

part_strict() {
    id=$(add alice http://127.0.0.1:8080/fast/one /data) || bail_out "add to /data" "$id"
    check "as installed, /data can be written" finished alice "$id" 20
    drop_in=/etc/systemd/system/autodl-service.service.d
    examples=/usr/share/doc/autodl-service/examples
    run sh -c "mkdir -p $drop_in && cp $examples/strict.conf $drop_in/ && systemctl daemon-reload &&
        systemctl restart autodl-service"
    same "strict.conf: /data cannot, and it says why" \
        "$(add alice http://127.0.0.1:8080/fast/two /data | tail -n 1)" \
        "autodl: /data is read-only for the service; see EXTRA DIRECTORIES in autodl-service(8)"
    id=$(add alice http://127.0.0.1:8080/fast/three) || bail_out "add" "$id"
    check "strict.conf: homes can be written" finished alice "$id" 20
    run sh -c "cp $examples/extra-directories.conf $drop_in/ && systemctl daemon-reload &&
        systemctl restart autodl-service"
    id=$(add alice http://127.0.0.1:8080/fast/two /data) || bail_out "add to /data again" "$id"
    check "extra-directories.conf: /data can be written" finished alice "$id" 20
    run sh -c "rm -r $drop_in && systemctl daemon-reload && systemctl restart autodl-service"
}

watchdog_bit() { [ "$(unit NRestarts)" -gt "$restarts" ]; }

part_watchdog() {
    drop_in=/run/systemd/system/autodl-service.service.d
    run sh -c "mkdir -p $drop_in && printf '[Service]\nWatchdogSec=3\n' >$drop_in/quick.conf &&
        systemctl daemon-reload && systemctl restart autodl-service"
    restarts=$(unit NRestarts)
    id=$(add alice http://127.0.0.1:8080/fast/four) || bail_out "add" "$id"
    finished alice "$id" 20
    filers=$(pids_of autodl-filer)
    # shellcheck disable=SC2086 # words
    run kill -STOP $filers
    as alice "autodl add http://127.0.0.1:8080/fast/four" >/dev/null 2>&1 # takes 5 s
    sleep 5
    same "a file system that hangs is no reason to be killed" "$(unit NRestarts)" "$restarts"
    # shellcheck disable=SC2086 # words
    run kill -CONT $filers
    # shellcheck disable=SC2046 # words
    run kill -STOP $(pids_of autodl-service)
    check "a service that hangs is started anew" wait_for 20 watchdog_bit
    check "and answers" wait_for 10 answers
    run sh -c "rm -r $drop_in && systemctl daemon-reload && systemctl restart autodl-service"
}

part_user_unit() {
    run loginctl enable-linger bob
    wait_for 10 test -S "/proc/$leader/root/run/user/$(run id -u bob)/bus"
    check "a user starts a service of their own" as bob "systemctl --user start autodl-service"
    answer=$(as bob "autodl add http://127.0.0.1:8080/fast/one '~/own'") || not_ok "add to one's own" "$answer"
    own_done() { run test -e /home/bob/own/one; }
    check "which downloads" wait_for 20 own_done
    check "its state is the user's" run test -e /home/bob/.local/state/autodl/autodl.db
    check "it stops" as bob "systemctl --user stop autodl-service"
    run loginctl disable-linger bob
}

part_upgrade() {
    as alice "autodl pause" >/dev/null
    waiting=$(add alice http://127.0.0.1:8080/fast/four /srv/alice) || bail_out "add" "$waiting"
    as alice "autodl resume" >/dev/null
    begin_slow upgrade
    running=$id
    hurry
    as alice "autodl pause" >/dev/null
    waiting=$(add alice http://127.0.0.1:8080/fast/three /srv/alice) || bail_out "add" "$waiting"
    mkdir -p "$root/next"
    cp "$packages/next/"autodl*.deb "$root/next/"
    check "upgrade: the next version is installed" run sh -c 'rm -f /next/*dbgsym*; apt-get install -y /next/*.deb'
    same "upgrade: it is active" "$(run systemctl is-active autodl-service)" active
    check "upgrade: it is the next version" run sh -c 'dpkg-query -W autodl-service | grep -q +next'
    same "upgrade: what waited, waits" "$(state alice "$waiting")" ENQUEUED
    id=$running
    as alice "autodl resume" >/dev/null
    check_goes_on upgrade
    check "upgrade: what waited is downloaded" finished alice "$waiting" 20
}

part_remove() {
    begin_slow remove
    hurry
    check "remove: both packages" run apt-get remove -y autodl-service autodl
    same "remove: nothing runs" "$(pids_of autodl-monitor)$(pids_of autodl-service)" ""
    check "remove: the queue stays" run test -s /var/lib/autodl/autodl.db
    check "remove: so does the configuration" run test -s /etc/autodl/autodl.conf
    check "reinstall" run sh -c 'apt-get install -y /next/*.deb'
    check_goes_on remove
    check "purge" run apt-get purge -y autodl-service autodl
    for gone in /var/lib/autodl /etc/autodl /etc/pam.d/autodl /run/autodl \
        /lib/systemd/system/autodl-service.service \
        /etc/systemd/system/multi-user.target.wants/autodl-service.service; do
        check_not "purge: $gone is gone" run test -e $gone -o -L $gone
    done
    check "purge: the system user stays" run getent passwd _autodl
    check "purge: so do the files of users" cmp "$work/www/big" "$root/home/alice/autodl-storage/remove.bin"
}

# As autopkgtest runs them, in their order; the last one purges.
part_autopkgtests() {
    cp -r "$work/test-debs" "$AUTODL_SOURCE/debian/tests" "$root"
    check "the packages and what their tests need are installed" \
        run sh -c 'apt-get install -y /debs/*.deb /test-debs/*.deb'
    for name in cli pam purge; do
        check "autopkgtest: $name" run sh -x "/tests/$name"
    done
}

part_first_minutes() {
    . "$boot/first_minutes.sh"
    first_minutes >"$work/first_minutes" 2>&1
    [ -z "${UPDATE_EXPECTED:-}" ] || cp "$work/first_minutes" "$boot/first_minutes.expected"
    if said=$(diff -u "$boot/first_minutes.expected" "$work/first_minutes"); then
        ok "the first ten minutes read as they should"
    else
        not_ok "the first ten minutes read as they should" "$said"
    fi
}

# --- all of it ---

packages=$AUTODL_BUILD/packages
"$boot/packages.sh" "$packages" || bail_out "the packages are built" "see above"
packages=$(cd "$packages" && pwd)
machine_make_tree || bail_out "the tree is made" "see above"
rm -f "$packages"/*dbgsym*
machine_fetch "$work/debs" "$packages"/autodl*.deb || bail_out "dependencies are fetched" "see above"
machine_fetch "$work/test-debs" nginx-light || bail_out "what autopkgtests need is fetched" "see above"
machine_create || bail_out "the machine is set up"
machine_boot || bail_out "the machine boots"
start_web || bail_out "nginx starts" "$(cat "$work/nginx.log")"
install_packages
for part in ${ONLY:-boot first_minutes ready places kill stop reboot journal strict watchdog user_unit upgrade remove \
    autopkgtests}; do
    part_began=$(now_ms)
    part_$part
    echo "# $part: $(($(now_ms) - part_began)) ms"
done
tap_end
