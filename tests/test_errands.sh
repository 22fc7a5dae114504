#!/bin/sh
# shellcheck disable=SC2015,SC2317 # ok never fails; functions are called by others
# Ten errands of a new user, each one or two commands, as autodl(1) has them (ERRANDS); the first
# over ssh, through a real sshd.
set -u
. "${AUTODL_SOURCE:?}/tests/tap.sh"
export PATH="$PATH:/usr/sbin:/sbin"

# sshd lets nobody in whose account is locked: root makes it another one, in a mount namespace.
if [ "$(id -u)" = 0 ] && [ -z "${AUTODL_ERRANDS:-}" ] && unshare -m true 2>/dev/null; then
    AUTODL_ERRANDS=1 exec unshare -m --propagation private "$0"
fi
. "$AUTODL_SOURCE/tests/cli.sh"
unlock() {
    sed "s/^nobody:[^:]*:/nobody:*:/" /etc/shadow >"$T/shadow" &&
        mount --bind "$T/shadow" /etc/shadow && mount -t tmpfs run /run && mkdir -m 755 /run/sshd
}

start_service --max-tasks-num 4 --retry-wait 100ms --retries 0 && start_origin || {
    cat "$T/log" >&2
    exit 99
}

# --- queue a list over ssh ---

start_sshd() {
    touch "$T/sshd.log"
    for tool in ssh sshd ssh-keygen; do
        command -v "$tool" >/dev/null || return 1
    done
    [ -z "$as" ] || unlock || return 1
    mkdir "$T/ssh"
    ssh-keygen -q -t ed25519 -N '' -f "$T/ssh/host" && ssh-keygen -q -t ed25519 -N '' -f "$T/ssh/key" ||
        return 1
    cp "$T/ssh/key.pub" "$T/ssh/authorized"
    sshd_port=$((port + 1))
    echo "[127.0.0.1]:$sshd_port $(cat "$T/ssh/host.pub")" >"$T/ssh/known_hosts"
    cat >"$T/ssh/sshd_config" <<CONFIG
ListenAddress 127.0.0.1:$sshd_port
HostKey $T/ssh/host
PidFile none
UsePAM no
StrictModes no
AuthorizedKeysFile $T/ssh/authorized
CONFIG
    cat >"$T/ssh/config" <<CONFIG
Host nas
HostName 127.0.0.1
Port $sshd_port
User $me
IdentityFile $T/ssh/key
IdentitiesOnly yes
UserKnownHostsFile $T/ssh/known_hosts
BatchMode yes
CONFIG
    [ -z "$as" ] || chown -R 65534:65534 "$T/ssh"
    (exec "$(command -v sshd)" -D -e -f "$T/ssh/sshd_config" 2>"$T/sshd.log") &
    pids="$pids $!"
    export AUTODL_SSH="ssh -F $T/ssh/config"
    within 200 grep -q listening "$T/sshd.log"
}
accepted() { grep -c 'Accepted publickey' "$T/sshd.log"; }
no_ssh_left() { ! pgrep -f "$T/ssh/config" >/dev/null; }

printf '# a list\n%s\n%s\n\n  out=second.bin\n' "$O/bytes/1000/one.bin" "$O/bytes/2000/two.bin" >"$T/list"
if start_sshd; then
    a -h ssh://nas -p "$port" add -i "$T/list" --wait --json
    check "queue a list over ssh" 0 '*"name":"one.bin"*"name":"second.bin"*' ''
    if [ -s "$T/home/autodl-storage/second.bin" ]; then
        ok "the files are there"
    else
        not_ok "the files are there" "$(ls "$T/home/autodl-storage" 2>&1)"
    fi
    before=$(accepted)
    printf '%s\n' "$O/bytes/10/a" "$O/bytes/10/b" >"$T/short"
    a -h "ssh://$me@nas" -p "$port" add -i "$T/short" "$O/bytes/10/c"
    [ $(($(accepted) - before)) = 1 ] && [ "$status" = 0 ] && ok "one ssh for all requests" ||
        not_ok "one ssh for all requests" "$(said; cat "$T/sshd.log")"
    AUTODL_HOST=ssh://nas AUTODL_PORT=$port
    export AUTODL_HOST AUTODL_PORT
    a -V
    check "AUTODL_HOST takes it too" 0 "*service: autodl/* at ssh://nas (ssh)" ''
    unset AUTODL_HOST AUTODL_PORT
    within 40 no_ssh_left && ok "no ssh is left" || not_ok "no ssh is left" "$(pgrep -af "$T/ssh/config")"
    a -h ssh://nas -p 1 list
    check "ssh says what it found, and the end is 5" 5 '' \
        '*onnection refused*autodl: no way through ssh to the service at localhost:1 of nas; *'
    AUTODL_SSH=/nonexistent/ssh
    a -h ssh://me@nas list
    check "without ssh" 5 '' '/nonexistent/ssh: No such file*autodl: no way through ssh *'
    a -h ssh://nas list
    check "without ssh nobody knows whom it logs in as" 5 '' '*autodl: ssh does not say whom *'
    unset AUTODL_SSH
else
    skip "queue a list over ssh" "sshd does not start: $(head -1 "$T/sshd.log" 2>/dev/null)"
    a add -i "$T/list" --wait --json
fi

# --- follow it ---

a add --json "$O/gate/film?size=4000000"
film=$(id_of "$out")
within 200 state_is "$film" DOWNLOADING
# shellcheck disable=SC2086 # words
$as "$T/autodl" watch "$film" >"$T/watch.out" 2>"$T/watch.err" 9>&- &
watcher=$!
within 200 grep -q running "$T/watch.out" && kill -INT "$watcher"
wait "$watcher"
status=$? out=$(cat "$T/watch.out") err=$(cat "$T/watch.err")
check "follow it; the interrupt leaves it running" 130 '*  running*film → *' \
    "autodl: still downloading; autodl watch *"
state_is "$film" DOWNLOADING && ok "it is still running" || not_ok "it is still running" "$out"

# --- hold one, let it go ---

a hold "$film"
check "hold one" 0 '*  held  film → *' ''
a release "$film"
check "let it go" 0 '*  [wr]*ing*film → *' ''

# --- retry the failed ---

a add --json "$O/status/404/gone" --wait
check "one fails" 1 '*"status":"FAILED"*' ''
a retry --state failed
check "retry the failed" 0 'Queued again 1 download' ''

# --- find what came since yesterday ---

a list --state finished --since yesterday
check "find what came since yesterday" 0 '*finished, 2.0K in *second.bin → ~/autodl-storage*' ''

# --- limit the rate until evening ---

a limit 2M --for 2h
check "limit the rate for a while" 0 'At most 2.0M/s until * (autodl limit off ends it)' ''
a limit 2M --until 18:00
check "limit the rate until evening" 0 'At most 2.0M/s until *18:00 (autodl limit off ends it)' ''
a limit off
check "and no more" 0 'No limit' ''

# --- wait in a script ---

a add --json "$O/bytes/100/script"
script=$(id_of "$out")
a wait "$script" --timeout 30s
check "wait in a script" 0 '' ''
a wait "$film" --timeout 1s
check "but not for ever" 6 '' 'autodl: time is up; still * autodl watch *'

# --- cancel all of one host ---

a cancel --host "${O#http://}"
check "cancel all of one host" 0 'Cancelled 1 download (*' ''
a list --state unfinished
check "nothing of it is left" 0 '' ''

# --- see why nothing moves ---

a pause 2h --all --text
check "pause" 0 "Paused everybody's downloads until * (autodl resume --all ends it)" ''
a add --text "$O/bytes/10/later"
check "add shouts that all is paused" 0 '*  waiting, paused until *later → *' \
    'autodl: all downloads are paused until *: none starts; autodl resume --all ends it'
a list --state waiting
check "see why nothing moves" 0 '*  waiting, paused until *later → *' 'autodl: all downloads are paused *'
a resume --all --text
check "resume" 0 'Resumed for everybody: what waits may start' ''

# --- the same cron list twice, without copies ---

printf '%s\n' "$O/bytes/300/daily.a" "$O/bytes/400/daily.b" >"$T/cron"
a add -i "$T/cron" --if-exists skip --wait -q
check "a cron list" 0 '' ''
a add -i "$T/cron" --if-exists skip --wait --text
check "the same cron list twice" 0 '*daily.a → *daily.b → *' ''
copies=$(find "$T/home/autodl-storage" -name 'daily*' | wc -l)
[ "$copies" = 2 ] && ok "without copies" || not_ok "without copies" "$(ls "$T/home/autodl-storage")"

# --- the manual has the same ones ---

errands() { # command and options of each line, without what is somebody's own
    sed -n '/^\.Sh ERRANDS/,/^\.Sh COMMANDS/p' "$AUTODL_SOURCE/man/autodl.1" |
        sed -n -e 's/ ssh:\/\/nas//' -e 's/^\.Dl.*autodl \(.*\)/\1/p' |
        sed -e 's/ [&|)].*//' -e 's/ 5b0c9a1e//; s/ URL//; s/ [^ ]*id[^ ]*//; s/ [^ ]*list.txt//; s/ mirror.example.org//' \
            -e 's/ 1h//; s/^-h //'
}
missing=$(errands | while read -r words; do
    for word in $words; do
        grep -Eq -e "(^ *a|/autodl\") .*$word" "$0" || echo "autodl $words: $word"
    done
done)
[ -z "$missing" ] && [ "$(errands | wc -l)" -ge 10 ] && ok "each errand of autodl(1) is run here" ||
    not_ok "each errand of autodl(1) is run here" "$(errands; echo; echo "$missing")"
tap_end
