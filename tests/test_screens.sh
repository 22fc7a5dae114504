#!/bin/sh
# shellcheck disable=SC2015,SC2016,SC2218,SC2317 # ok never fails; scenes expand themselves; functions are called by
# others, and made anew
# What a person sees on a terminal: each screen is tests/screens/NAME to the character, with wide and
# combining ones, drawn live, on terminals that change their width, interrupted; and what goes into a
# pipe. Ids, times, rates and free room are made the same first.
#     AUTODL_SCREENS=write tests/test_screens.sh    writes the screens anew, to be looked at
set -u
. "${AUTODL_SOURCE:?}/tests/tap.sh"
if ! command -v tmux >/dev/null; then
    skip "screens" "tmux is not installed"
    tap_end
fi
. "$AUTODL_SOURCE/tests/cli.sh"
golden=$AUTODL_SOURCE/tests/screens

start_service --max-tasks-num 4 --retry-wait 1h --retry-max-wait 1h --stall-timeout 1h && start_origin || {
    cat "$T/log" >&2
    exit 99
}

# --- a terminal ---

tm() {
    # shellcheck disable=SC2086 # words
    $as tmux -u -S "$T/run/tmux" -f /dev/null "$@" 9>&-
}
finish_screens() {
    tm kill-server 2>/dev/null
    finish_cli
}
trap finish_screens EXIT
tm new-session -d -s s -x 80 -y 24 -c "$T/home" "exec cat" \; \
    set-option -g default-shell /bin/sh

# Runs commands, each as it is typed, in a terminal of so many columns. The last line tells their end.
play() { # columns, commands a line each
    {
        echo 'trap : INT' # it is the command that is interrupted
        printf '%s\n' "$2" | while IFS= read -r command; do
            printf '%s\n' "cat <<'END'" "> $command" END "$command"
            echo 'status=$?; [ $status = 0 ] || echo "(ended with $status)"'
        done
        echo 'echo --end--; exec cat'
    } >"$T/scene"
    tm resize-window -t s -x "$1" -y 40
    tm clear-history -t s
    tm respawn-pane -k -t s -c "$T/home" "exec env -i HOME='$HOME' PATH='$T:/usr/bin:/bin' TERM=xterm \
LC_ALL=C.UTF-8 TZ=UTC XDG_RUNTIME_DIR='$XDG_RUNTIME_DIR' O='$O' T='$T' sh '$T/scene'"
}
raw() { tm capture-pane -J -p -S -200 -t s; } # with what went out at the top
has_ended() { raw | grep -q -e '^--end--'; }
seen() { raw | grep -q -e "$1"; }

# Lines of one screen as they are each time.
normal() {
    sed -E -e 's/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/5b0c9a1e-UUID/g' \
        -e 's/\b[0-9a-f]{8}\b/5b0c9a1e/g' -e "s|$O|http://origin|g; s|$T/home|/home/me|g" \
        -e 's/(, [0-9.]+[KMG]?) in [0-9.]+(s|m [0-9]+s)/\1 in 0.1s/' \
        -e '/^>/!s/(until|at) (20[23][0-9]-[0-9]{2}-[0-9]{2} )?[0-9]{2}:[0-9]{2}( |:|$)/\1 14:02\3/' \
        -e 's/^( *(added|started|ended)  ).*/\114:02/' -e 's/trying again in [0-9]+m [0-9]+s/trying again in 59m 59s/' \
        -e 's/[0-9.]+[KMGTP] free/9.9G free/; s/[0-9.]+[KMG]?\/s on average, [0-9.]+[KMG]?\/s at most/9.9K\/s on average, 9.9M\/s at most/' \
        -e '/ → /s/  (running|waiting for its turn|waiting, [0-9]+[a-z]+ in line)  /  waiting, 1st in line  /' \
        -e '/^(yours|all) /{s/, [0-9]+ cancelled//;s/[0-9]+ /9 /g}' \
        -e 's/^(10 min +)\|[ ▁▂▃▄▅▆▇█]{60}\|/\1|60 columns|/' -e '/^--end--$/d; s/ +$//' | sed -e :a -e '/^\n*$/{$d;N;ba' -e '}'
}
is_golden() { raw | normal | diff -u "$golden/$1" - >"$T/diff"; }
# The screen becomes what is written down.
golden() { # name, what it shows
    if [ "${AUTODL_SCREENS:-}" = write ]; then
        sleep 3
        raw | normal >"$golden/$1"
    fi
    if within 40 is_golden "$1"; then ok "$2"; else not_ok "$2" "$(cat "$T/diff")"; fi
}
# The same of commands that end by themselves. Ids are as random as they are, and a few are longer
# than the others: what was added with such a one is forgotten, and the scene played again.
has_long_id() { raw | grep -Eq '(^|[^-0-9a-f])[0-9a-f]{8}(-?[0-9a-f])+( |$)' && ! raw | grep -q '^ *id  '; }
still() { # columns, commands, name, what it shows
    for _ in 1 2 3 4 5; do
        play "$1" "$2"
        within 1200 has_ended || break
        has_long_id || break
        undo
    done
    golden "$3" "$4"
}
undo() { :; }

# --- the first minutes ---

undo() {
    a cancel --state unfinished
    a rm --all
}
still 80 'autodl list
autodl watch
autodl add example.org/a.iso
autodl add "$O/bytes/1000/日本語の長いファイル名がここにあります.iso" --at 2040-01-31
autodl hold --match 日本
autodl release --match 日本
autodl pause 2h
autodl resume
autodl clear
autodl update_tasks_num 4
autodl limit 2M --until 18:00
autodl limit off' minutes "what happened is said"

# --- tables and cards ---

# As the screens need it, an id is eight characters long.
prepare() { # arguments of add; sets `id`
    while :; do
        a add --json "$@"
        id=$(id_of "$out")
        case $(printf %.8s "$id") in *[abcef]*) return ;; esac
        a cancel "$id"
        a rm "$id"
    done
}
is_held_at() { # id, bytes: it does not move any more
    a --json show "$1"
    case $out in *"\"bytes_done\":$2,"*'"bytes_per_second":0,'*) ;; *) return 1 ;; esac
}
undo
prepare "$O/bytes/1000/日本語の長いファイル名がここにあります.iso" --at 2040-01-31
prepare "$O/bytes/1000/$(printf 'e\314\201te\314\201').zip" --wait
prepare "$O/bytes/2000000/a-very-long-name-of-a-file-that-does-not-fit-into-any-column.tar.xz" --wait
prepare "$O/status/404/gone" --wait --label nightly
prepare "$O/status/503/busy" --limit 500K --priority 7
prepare "$O/bytes/1000/kept" --in 1h
a hold "$id"
prepare "$O/gate/film.mkv?size=4000000"
within 400 is_held_at "$id" 2000000
film=$id
still 100 'autodl list' list-100 "a table, with wide and combining characters in it"
painted() { tm capture-pane -e -p -t s | grep -q "$(printf '\033')"; }
if painted; then ok "in colour"; else not_ok "in colour"; fi
play 100 'NO_COLOR=1 autodl list'
within 1200 has_ended
if seen film && ! painted; then ok "and without, as NO_COLOR says"; else not_ok "and without, as NO_COLOR says"; fi
still 60 'autodl list' list-60 "names are cut in the middle"
still 40 'autodl list' list-40 "and further"
still 200 'autodl list | cat
NO_COLOR=1 autodl list --state finished --limit 1' list-pipe "a line each in a pipe, uncut"
still 80 "autodl show $film
autodl list --match gone --json | autodl show -
autodl list --match busy --json | autodl show -" show "cards"

# --- live ---

# A screen that moves until it stands still, at half of the file.
live() { # columns, commands
    for _ in 1 2 3 4 5; do
        play "$1" "$2"
        within 600 seen ' 50% .* 0/s' || break
        has_long_id || break
        tm send-keys -t s C-c
        undo
    done
}
interrupt() {
    tm send-keys -t s C-c
    within 400 has_ended
}
undo() {
    a cancel --match iso --state running
    a rm --match iso --state cancelled
}
live 80 'autodl add "$O/gate/日本語.iso?size=4000000" --wait
autodl list --match 日本語.iso'
golden wait-80 "one live line, at half of the file"
tm resize-window -t s -x 50
golden wait-50 "drawn anew on a narrower terminal"
tm resize-window -t s -x 120
golden wait-120 "and on a wider one"
interrupt
golden wait-interrupted "the interrupt leaves it running, and nothing drawn"
live 100 'autodl watch'
golden watch "watch: a line for each that runs, each retry with its reason, and a summary"
interrupt
golden watch-interrupted "and what is left is said"
undo
undo() {
    a rm --match quick
    a rm --match gone
    rm -f "$HOME"/autodl-storage/quick*
}
still 100 'autodl add "$O/bytes/10/quick" --wait
autodl add "$O/status/404/gone" "$O/bytes/10/quick" --wait
autodl add "$O/status/404/gone" --wait -q
autodl add "$O/bytes/10/quick" --if-exists skip --wait' ends "how they ended stays on the screen"
play 100 'autodl watch | cat'
within 400 seen 'running'
interrupt
golden watch-pipe "in a pipe a line for each change"

# --- a pause that was forgotten, a long list, what is seen at a glance ---

undo() {
    a cancel --match x.iso
    a rm --match x.iso
}
a pause 2h
still 80 'autodl add "$O/bytes/10/x.iso"
autodl list --match x.iso' paused "a pause is shouted by add and list"
seq -f "$O/bytes/1/n%.0f" 1 100000 >"$T/many"
printf 'example.org/no-scheme\n' >>"$T/many"
a clear
play 80 'autodl add -i "$T/many" --if-exists skip
autodl clear
autodl resume'
bar='^adding [1-9][0-9]*000 \[=*>\{0,1\} *\]$'
within 400 seen "$bar" && ok "a bar moves while a long list is added" ||
    not_ok "a bar moves while a long list is added" "$(raw)"
within 1200 has_ended
golden many "100,000 are counted; bad lines are told by number"
still 80 'autodl stats
autodl settings' stats "what is seen at a glance"
raw | grep -q '█' && ok "the rates of ten minutes are drawn" || not_ok "the rates of ten minutes are drawn" "$(raw)"
tap_end
