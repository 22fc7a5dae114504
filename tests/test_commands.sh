#!/bin/sh
# shellcheck disable=SC2015,SC2317 # ok never fails; functions are called by others
# Each command in pipes, against a real service: what it prints, and how it ends when it works, when
# it is used wrongly and when it fails.
set -u
. "${AUTODL_SOURCE:?}/tests/tap.sh"
. "$AUTODL_SOURCE/tests/cli.sh"

start_service --max-tasks-num 4 --retry-wait 100ms --retries 0 --max-file-size 1G && start_origin || {
    cat "$T/log" >&2
    exit 99
}
wrong() { # description, what is said, arguments...
    description=$1 pattern=$2
    shift 2
    a "$@"
    check "$description" 2 '' "autodl: $pattern"
}

# --- wrong usage: 2, and nothing is sent ---

wrong "list --limit" '--limit takes a number of tasks, not "x"' list --limit x
printf '%s\n' "$O/a" >"$T/origin-list"
wrong "add --origin-user -i" '--origin-user is for one server; in a list *' \
    add --origin-user me -i "$T/origin-list"
wrong "add --origin-user for two" '--origin-user is for one server; "http://localhost/b" is at another' \
    add --origin-user me http://127.0.0.1/a http://localhost/b
wrong "add --origin-user by two schemes" '--origin-user is for one server; *' \
    add --origin-user me https://127.0.0.1/a http://127.0.0.1/b
wrong "list --state" '--state takes waiting, *, not "lost"' list --state lost
wrong "list --since" '--since takes a time such as 18:00, yesterday, *not "soon"' list --since soon
wrong "list takes no arguments" 'usage: autodl list' list x
wrong "show needs an id" 'usage: autodl show ID...' show
wrong "hold needs something" 'hold what? Give ids *' hold
wrong "hold by id and filter" 'hold takes ids or a filter, not both' hold 5b0c --state waiting
wrong "first takes no filter" 'first takes no --state' first 5b0c --state waiting
wrong "set KEY" 'set knows priority, *, not "color"' set 5b0c color=red
wrong "set KEY=VALUE" 'set takes KEY=VALUE, not "priority"' set 5b0c priority
wrong "set priority" 'priority takes a number from -100 to 100, not "101"' set 5b0c priority=101
wrong "retarget URL" '"x": no scheme; did you mean https://x \?' retarget 5b0c x
wrong "limit RATE" 'limit takes bytes a second such as 500K or 2M, or off, not "fast"' limit fast
wrong "limit twice an end" '--until and --for name two ends; *' limit 1M --until 18:00 --for 1h
wrong "limit without a rate" 'limit what? *' limit --for 1h
wrong "settings KEY" 'settings are max_tasks_num, *, not "min_free"; *' settings min_free=1
wrong "settings VALUE" 'max_per_host takes a number from 1 to 1000, not "0"' settings max_per_host=0
wrong "wait --timeout" '--timeout takes a duration such as *, not "x"' wait --timeout x
wrong "watch takes no --timeout" 'watch takes no --timeout' watch --timeout 1s
wrong "rm by filter keeps files" '--delete-file goes with ids, not with a filter' rm --all --delete-file
wrong "add nothing" 'usage: autodl add URL*' add --label x
wrong "add -o" '-o names one file; *' add -o x "$O/a" "$O/b"
wrong "add -d and PATH" '-d and PATH name two directories; *' add -d /x "$O/a" /y
wrong "add --checksum" '--checksum sha-256= takes 64 hexadecimal digits, not "abc"' add --checksum sha-256=abc "$O/a"
wrong "add --header" "--header takes 'Name: value', or @FILE *" add --header secret "$O/a"
wrong "add --header @FILE" '--header @/nonexistent: No such file*' add --header @/nonexistent "$O/a"
wrong "add --at and --in" '--at and --in name two times; *' add --at 18:00 --in 2h "$O/a"
wrong "add --if-exists" '--if-exists takes rename, skip or overwrite, *' add --if-exists ask "$O/a"
wrong "add --tries" '--tries takes a number up to 1001, or inf, *' add --tries many "$O/a"
wrong "add --priority" '--priority takes a number from -100 to 100, *' add --priority -101 "$O/a"
wrong "add -i" '-i /nonexistent: No such file*' add -i /nonexistent
wrong "add --load-cookies" '--load-cookies /dev/null/x: *' add --load-cookies /dev/null/x "$O/a"
echo "no cookie" >"$T/jar"
wrong "add --load-cookies of something else" '--load-cookies *: line 1 is none of a cookie file *' \
    add --load-cookies "$T/jar" "$O/a"
a --all list
check "an option in front of its command" 0 '' ''

# --- what is not there: 3; who may not: 4; nobody answers: 5 ---

for command in show status "set priority=1" retarget hold release cancel retry rm first watch wait; do
    # shellcheck disable=SC2086 # words
    set -- $command
    case $1 in
    set) a set 00000000 priority=1 ;;
    retarget) a retarget 00000000 "$O/x" ;;
    status) a status 00000000 --text ;;
    *) a "$1" 00000000 ;;
    esac
    check "$1 of none" 3 '' 'autodl: no such task: "00000000"; autodl list prints their ids'
done
a add --after 00000000 "$O/x"
check "add --after none" 3 '' 'autodl: no such task: "00000000"; *'
a add -d /proc/x "$O/bytes/1/x"
check "a directory that cannot be" 4 '' 'autodl: */proc/x*'
a -u root list
check "as somebody else" 4 '' 'autodl: you are *'
for command in list "show 5b0c" watch wait "hold 5b0c" "add $O/x --label x" settings "limit 1M" "stats --text"; do
    # shellcheck disable=SC2086 # words
    a $command --socket "$T/nobody"
    check "$command where nobody answers" 5 '' 'autodl: no service answers at *'
done

# --- what is printed ---

a add "$O/gate/held?size=10" --label mine --priority 7
id=$(id_of "$out")
check "add with an option prints JSON in a pipe" 0 '{"id":"*"priority":7,"label":"mine"*}' ''
a hold "$id"
check "hold" 0 '*  held  held → ~/autodl-storage' ''
a show "$id" --json
check "show --json" 0 "{\"id\":\"$id\"*\"status\":\"PAUSED\"*}" ''
a set "$id" priority=-3 rate_limit=2M max_ranges=2
check "set" 0 '*  held  held → *' ''
a show "$id" --json
check "what was set" 0 '*"priority":-3,*' ''
a retarget "$id" "$O/bytes/10/other"
check "retarget" 0 '*  held  held → *' ''
a hold "$id"
check "hold what is held" 1 '' 'autodl: *'
a rm "$id"
check "rm what has not ended" 1 '' 'autodl: *cancel it first*'
echo "$id" >"$T/ids"
# shellcheck disable=SC2086 # words
$as "$T/autodl" cancel - <"$T/ids" >"$T/out" 2>"$T/err"
status=$? out=$(cat "$T/out") err=$(cat "$T/err")
check "cancel -" 0 '*  cancelled  held → *' ''
a rm "$id"
check "rm" 0 "Forgot $id" ''
a pause 1h --text
a add "$O/bytes/10/turn-1" --label one --tries 3
one=$(id_of "$out")
a add "$O/bytes/10/turn-2" --json
two=$(id_of "$out")
a first "$two"
check "first" 0 '*  waiting, paused until *turn-2 → *' ''
a show "$one" --json
check "the other one comes after it" 0 '*"position":2,*"label":"one"*' ''
a set "$one" label=another
a list --match another --json
check "set label, and a list by it" 0 "{\"id\":\"$one\"*\"label\":\"another\"*}" ''
a add "$O/bytes/10/turn-1" --if-exists skip
check "add --if-exists skip of what waits" 0 "{\"id\":\"$one\"*\"label\":\"another\"*}" ''
a list --match turn --json
[ "$(printf '%s\n' "$out" | wc -l)" = 2 ] && ok "nothing was added" || not_ok "nothing was added" "$(said)"
a cancel "$one" "$two" --keep
check "cancel of two" 0 '*turn-1 → *turn-2 → *' ''
a resume --text
check "resume" 0 'Resumed: what waits may start' ''
a add "$O/gate/turn-3?size=10" --json
three=$(id_of "$out")
a add "$O/bytes/10/turn-4" --after "$(printf %.20s "$three")" --json
check "add --after" 0 '{*"waiting_for":{"reason":"after",*}' ''
a add "$O/bytes/10/turn-5" --in 2h --text
check "add --in" 0 '*  waiting, to start at *turn-5 → *' ''
a cancel --match turn-
check "cancel by a word" 0 'Cancelled [23] downloads (*' '' # turn-4 fails when turn-3 ends
a hold --match nothing-of-that-kind --json
check "a filter that hits nothing" 0 '{"count":0}' ''
a settings max_per_host=5 --json
check "settings --json" 0 '{*"max_per_host":{"value":5,*}' ''
a settings
check "settings" 0 'max_tasks_num = 4 *max_per_host = 5 *' ''
a limit
check "limit" 0 'No limit' ''
a stats --text
check "stats --text" 0 'yours *all *free in *' ''
a clear --json
check "clear --json" 0 '{"count":0}' ''
a pause 1h --json
check "pause --json" 0 '{"scope":"*","until":"*"}' ''
a resume --json
check "resume --json" 0 '{*}' ''

# --- how it ends when it was waited for ---

a add "$O/bytes/100/good" --wait -q
check "add --wait" 0 '' ''
a add "$O/status/404/gone" --wait -q
check "add --wait of what fails" 1 '' 'autodl: gone: failed: the server answered 404*'
a add "$O/bytes/5000000000/large" --wait -q
check "too large" 7 '' 'autodl: large: failed: *'
a add "$O/bytes/100/sum" --checksum "md5=00000000000000000000000000000000" --wait -q
check "a wrong checksum" 8 '' 'autodl: sum: failed: *'
a add "$O/bytes/5000000000/large2" "$O/status/404/gone2" --wait -q
check "both of them" 1 '' 'autodl: *autodl: *'
a wait
check "wait for nothing" 0 '' ''
# Pushed, not polled: a relay sees what it asks while seconds go by.
python="$as env PATH=/usr/bin:/bin python3"
if $python -c '' 2>/dev/null; then
    cat >"$T/relay.py" <<'PYTHON'
import socket, sys, threading
def pump(source, sink, seen):
    while data := source.recv(65536):
        if seen:
            seen.write(data)
        sink.sendall(data)
    sink.shutdown(socket.SHUT_WR)
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
seen = open(sys.argv[3], "wb", buffering=0)
while True:
    client = listener.accept()[0]
    service = socket.socket(socket.AF_UNIX)
    service.connect(sys.argv[2])
    for ends in (client, service, seen), (service, client, None):
        threading.Thread(target=pump, args=ends, daemon=True).start()
PYTHON
    # shellcheck disable=SC2086 # words
    (exec $python "$T/relay.py" "$T/run/relay" "$T/run/autodl.sock" "$T/home/asked" 2>/dev/null 9>&-) &
    pids="$pids $!"
    a add "$O/bytes/100000/waited" --limit 20K
    within 200 test -S "$T/run/relay"
    a wait --socket "$T/run/relay"
    check "wait for what takes seconds" 0 '' ''
    asked=$(grep -c ' HTTP/1.1' "$T/home/asked")
    if grep -q '^GET /v1/events' "$T/home/asked" && [ "$asked" -le 4 ]; then
        ok "it is told of the end, and does not ask for it"
    else
        not_ok "it is told of the end, and does not ask for it" "$(cat "$T/home/asked")"
    fi
else
    skip "what wait asks" "python3 is not installed"
fi
a watch
check "watch nothing" 0 '' ''

# --- a stream that breaks is made anew ---

a add "$O/gate/slow?size=1000"
slow=$(id_of "$(a show "$(echo "$out" | sed 's/.*\\"id\\": \\"\([^\\]*\).*/\1/')" --json; cat "$T/out")")
within 200 state_is "$slow" DOWNLOADING
# shellcheck disable=SC2086 # words
$as "$T/autodl" wait "$slow" >"$T/wait.out" 2>"$T/wait.err" 9>&- &
waiter=$!
sleep 0.5
kill "$service"
wait "$service"
within 200 grep -q 'connecting again' "$T/wait.err"
start_service --max-tasks-num 4 --retry-wait 100ms --retries 0
a cancel "$slow"
wait "$waiter"
status=$? out=$(cat "$T/wait.out") err=$(cat "$T/wait.err")
check "wait goes on over a restart of the service" 1 '' \
    'autodl: the connection to * broke; connecting again*autodl: slow: cancelled'

# --- lists ---

cat >"$T/list" <<LIST
# comment

$O/bytes/10/one
example.org/two
$O/bytes/10/three	$O/bytes/10/mirror
  out=drei.bin
  unknown-option=1
$O/bytes/10/four
  checksum=sha-1=xyz
  magnet:?xt=urn
$O/bytes/10/five
  header=X-Test: 1
LIST
a add -i "$T/list" --text
check "bad lines by number, good ones are added" 2 '*one → *drei.bin → *five → *' \
    "autodl: line 4: \"example.org/two\": no scheme; *line 7: unknown-option is not known here*\
line 9: checksum sha-1= takes 40 *line 10: \"magnet:?xt=urn\": autodl does not speak BitTorrent"
[ "$(printf '%s\n' "$out" | wc -l)" = 3 ] && ok "and no others" || not_ok "and no others" "$out"
printf '%s\r\n' "$O/bytes/10/crlf" >"$T/crlf"
# shellcheck disable=SC2086 # words
$as "$T/autodl" add -i - <"$T/crlf" >"$T/out" 2>"$T/err"
status=$? out=$(cat "$T/out") err=$(cat "$T/err")
check "a list on standard input, with carriage returns" 0 '*"name":"crlf"*' ''
printf '%s\n  out=../x\n%s\n' "$O/bytes/10/bad" "$O/bytes/10/good2" >"$T/refused"
a add -i "$T/refused" --text
check "a line that the service refuses" 2 '*good2 → *' 'autodl: line 1: name *'
a list --match good2 --json --limit 1
check "list --json" 0 '{"id":"*"name":"good2"*}' ''

# --- cookies ---

printf '127.0.0.1\tFALSE\t/\tFALSE\t0\tsession\tsecret\n#HttpOnly_127.0.0.1\tFALSE\t/bytes\tFALSE\t0\ta\tb\n' >"$T/jar"
a add "$O/bytes/10/cookie" --load-cookies "$T/jar" --wait -q
check "a download with cookies" 0 '' ''
a add "$O/bytes/10/cookie" --load-cookies "$T/jar" --in 1h -q # its secrets stay until it is FINISHED
if cat "$T/state"/autodl.db* | grep -qa 'Cookie: a=b; session=secret'; then
    ok "cookies go along"
else
    not_ok "cookies go along"
fi

# --- ssh is a child, and does not outlive us ---

cat >"$T/ssh" <<'SSH'
#!/bin/sh
# Answers one request, and goes on when the connection is closed: until it is asked to end, or
# (stubborn) killed.
echo $$ >"$HOME/ssh.pid"
sleep 60 >/dev/null </dev/null &
trap 'echo asked >"$HOME/ssh.asked"; kill $!; exit' TERM
case $1 in stubborn) trap '' TERM ;; esac
while read -r line && [ ${#line} -gt 1 ]; do :; done
printf 'HTTP/1.1 200 OK\r\nContent-Length: 27\r\n\r\n{"tasks": [], "next": null}'
exec >/dev/null </dev/null
case $1 in stubborn) kill $! && exec sleep 60 ;; esac
wait
SSH
chmod 755 "$T/ssh"
export AUTODL_SSH="$T/ssh"
a -h ssh://me@nas list
check "through ssh" 0 '' ''
if [ "$(cat "$HOME/ssh.asked")" = asked ] && ! kill -0 "$(cat "$HOME/ssh.pid")" 2>/dev/null; then
    ok "ssh is asked to end, and waited for"
else
    not_ok "ssh is asked to end, and waited for" "$(said; cat "$HOME/ssh.pid")"
fi
rm -f "$HOME/ssh.pid"
AUTODL_SSH="$T/ssh stubborn"
a -h ssh://me@nas list
check "through ssh that does not end when it is asked" 0 '' ''
kill -0 "$(cat "$HOME/ssh.pid")" 2>/dev/null && not_ok "it is killed" || ok "it is killed"
unset AUTODL_SSH

# --- help ---

commands=$("$T/autodl" --help | sed -n '/^Commands:/,/^$/s/^  *\([a-z_-]*\).*/\1/p')
for command in $commands; do
    a "$command" --help
    check "$command --help" 0 "Usage: autodl \[OPTIONS\] $command*" ''
done
tap_end
