#!/bin/sh
# shellcheck disable=SC2015,SC2317 # ok never fails; functions are called by others
# What must not be seen by others on the way from the command line to an origin: passwords, headers,
# cookies. They arrive, and stand on no command line, on no screen and in no log.
set -u
. "${AUTODL_SOURCE:?}/tests/tap.sh"
. "$AUTODL_SOURCE/tests/cli.sh"

start_service --max-tasks-num 4 --retries 0 && start_origin || {
    cat "$T/log" >&2
    exit 99
}
arrived() { # description, line of the request's head, name of the file
    if grep -qFx "$2" "$HOME/autodl-storage/$3" 2>/dev/null; then
        ok "$1"
    else
        not_ok "$1" "$(said; cat "$HOME/autodl-storage/$3" 2>&1)"
    fi
}
basic() { printf 'Authorization: Basic %s' "$(printf '%s' "$1" | base64)"; }

# --- headers and cookies, from files ---

printf 'X-Token: one secret\r\n\nX-Other:two\n' >"$T/headers"
a add "$O/head/headers" --header "@$T/headers" --header 'X-Third: three' --wait -q
check "headers from a file" 0 '' ''
arrived "they arrive" "X-Token: one secret" headers
arrived "each of them" "X-Other: two" headers
arrived "with those of the command line" "X-Third: three" headers
{
    printf '# Netscape HTTP Cookie File\n127.0.0.1\tFALSE\t/\tFALSE\t0\tsession\tsecret\n'
    printf '#HttpOnly_127.0.0.1\tFALSE\t/head\tFALSE\t0\ta\tb\n127.0.0.1\tFALSE\t/other\tFALSE\t0\tc\td\n'
    printf 'example.org\tFALSE\t/\tFALSE\t0\te\tf\n127.0.0.1\tFALSE\t/\tTRUE\t0\tg\th\n'
} >"$T/jar"
a add "$O/head/cookies" --load-cookies "$T/jar" --header "@$T/headers" --wait -q
check "cookies from a file" 0 '' ''
arrived "those for this place arrive, and no others" "Cookie: a=b; session=secret" cookies
arrived "with the headers" "X-Token: one secret" cookies
printf '%s\n  header=X-In: list\n  http-user=me\n  http-passwd=pass:word\n' "$O/head/listed" >"$T/list"
a add -i "$T/list" --load-cookies "$T/jar" --wait -q
check "a list" 0 '' ''
arrived "its headers arrive" "X-In: list" listed
arrived "and its passwords" "$(basic me:pass:word)" listed
arrived "and the cookies" "Cookie: a=b; session=secret" listed

# --- a password of the origin ---

# shellcheck disable=SC2086 # words
ask_nobody() { $as setsid -w "$T/autodl" "$@" >"$T/out" 2>"$T/err" 9>&- </dev/null; }
ask_nobody add "$O/head/nobody" --origin-user me
status=$? out=$(cat "$T/out") err=$(cat "$T/err")
check "without a terminal nobody is asked" 4 '' 'autodl: no password of me for 127.0.0.1: add "machine *'

prompts() { grep -q 'Password of me at 127.0.0.1: ' "$T/run/screen"; }
# On a terminal of its own: arguments of autodl; typed when it asks. Sets `out`, all that was shown.
type_in() { # what is typed, arguments...
    typed=$1
    shift
    mkfifo "$T/keys"
    : >"$T/run/screen"
    chmod 666 "$T/run/screen"
    # shellcheck disable=SC2086 # words
    $as script -qefc "$T/autodl $*" "$T/run/screen" <"$T/keys" >/dev/null 2>&1 9>&- &
    script=$!
    exec 8>"$T/keys"
    within 200 prompts && tr '\0' ' ' <"/proc/$(pgrep -f "^$T/autodl ")/cmdline" >"$T/line"
    printf "$typed" >&8
    wait "$script"
    status=$?
    exec 8>&-
    rm "$T/keys"
    out=$(grep -v '^Script ' "$T/run/screen")
    err=
}
if command -v script >/dev/null; then
    type_in 'se cret\n' add "$O/head/asked" --origin-user me --wait --text
    check "a password is asked for" 0 '*Password of me at 127.0.0.1: *asked → *' ''
    arrived "and arrives" "$(basic 'me:se cret')" asked
    case $out in *cret*) not_ok "it is not echoed" "$out" ;; *) ok "it is not echoed" ;; esac
    grep -q origin-user "$T/line" && ! grep -q cret "$T/line" && ok "it is on no command line" ||
        not_ok "it is on no command line" "$(cat "$T/line")"
    type_in 'se\003' add "$O/head/interrupted" --origin-user me
    check "the interrupt key ends it" 130 '*Password of me at 127.0.0.1: *' ''
    a list --match interrupted
    check "and nothing was sent" 0 '' ''
else
    skip "a password is asked for" "script(1) is not installed"
fi
printf 'machine 127.0.0.1 login me password from-netrc\n' >"$T/home/.netrc"
ask_nobody add "$O/head/netrc" --origin-user me --wait -q
status=$? out=$(cat "$T/out") err=$(cat "$T/err")
check "netrc has it" 0 '' ''
arrived "and it arrives" "$(basic me:from-netrc)" netrc

# --- what is left ---

if grep -q -e secret -e cret -e 'pass:word' -e from-netrc "$T/log"; then
    not_ok "none is in the log" "$(grep -e cret -e word -e netrc "$T/log")"
else
    ok "none is in the log"
fi
a list --json
case $out in
*cret* | *pass:word* | *from-netrc*) not_ok "none is shown" "$out" ;;
*) ok "none is shown" ;;
esac
tap_end
