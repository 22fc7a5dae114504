# shellcheck shell=sh
# For tests of the command line on the real programs: a service in user mode and an origin, run by
# nobody when root runs the tests. Sourced after tap.sh. Sets T (a directory of the test's own) and
# O (the origin's URL); `a` is autodl, `out` and `err` are what it printed, `status` how it ended.

T=$(mktemp -d) || exit 99
chmod 755 "$T"
mkdir "$T/run" "$T/home" "$T/state"
pids=
finish_cli() {
    for pid in $pids; do kill "$pid" 2>/dev/null; done
    for pid in $pids; do wait "$pid" 2>/dev/null; done
    rm -rf "$T"
}
trap finish_cli EXIT
trap 'exit 99' INT TERM

port=$((20000 + 2 * ($$ % 10000)))
as=
me=$(id -un)
if [ "$(id -u)" = 0 ]; then
    as="setpriv --reuid 65534 --regid 65534 --clear-groups"
    me=nobody
    chown -R 65534:65534 "$T/run" "$T/home" "$T/state"
fi
export HOME="$T/home" XDG_RUNTIME_DIR="$T/run" SHELL=/bin/sh LC_ALL=C.UTF-8 TERM=xterm TZ=UTC
unset NO_COLOR COLUMNS LINES AUTODL_HOST AUTODL_PORT AUTODL_SOCKET AUTODL_OUTPUT AUTODL_SSH
cp "${AUTODL_BUILD:?}/autodl" "$AUTODL_BUILD/autodl-service" "$AUTODL_BUILD/tests/origin" "$T/"

within() { # twentieths of a second, command...
    tries=$1
    shift
    until "$@"; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || return 1
        sleep 0.05
    done
}

start_service() { # options...
    rm -f "$T/run/autodl.sock"
    # shellcheck disable=SC2086 # words
    (cd "$T/home" && exec $as "$T/autodl-service" --listen "127.0.0.1:$port" \
        --state-dir "$T/state" --deny-networks none "$@" 2>>"$T/log") &
    service=$!
    pids="$pids $service"
    within 200 test -S "$T/run/autodl.sock" && within 200 grep -q listening "$T/log"
}

start_origin() {
    mkfifo "$T/hold"
    # shellcheck disable=SC2086 # words
    (exec $as "$T/origin" <"$T/hold" >"$T/origin.url") &
    pids="$pids $!"
    exec 9>"$T/hold"
    within 200 test -s "$T/origin.url" && O=$(cat "$T/origin.url") && O=${O%/}
}

# Gates of the origin are never opened: what waits there runs for as long as the test. One that does
# not end has failed with 124.
a() {
    # shellcheck disable=SC2086 # words
    $as timeout 60 "$T/autodl" "$@" >"$T/out" 2>"$T/err" 9>&-
    status=$?
    out=$(cat "$T/out")
    err=$(cat "$T/err")
}

said() { # for not_ok
    printf 'status %s\n%s\n--\n%s\n' "$status" "$out" "$err"
}

check() { # description, expected status, pattern of standard output, of standard error
    # shellcheck disable=SC2254 # patterns
    if [ "$status" = "$2" ] && case $out in $3) true ;; *) false ;; esac &&
        case $err in $4) true ;; *) false ;; esac; then
        ok "$1"
    else
        not_ok "$1" "$(said)
expected: status $2
$3
--
$4"
    fi
}

state_is() { # id, state
    a --json show "$1"
    case $out in *"\"status\":\"$2\""*) ;; *) return 1 ;; esac
}

id_of() { # JSON of a task
    printf '%s\n' "$1" | sed 's/.*"id":"\([^"]*\)".*/\1/'
}
