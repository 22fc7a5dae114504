#!/bin/sh
# shellcheck disable=SC2015,SC2317 # ok never fails; functions are called by others
# What a person sees on a terminal of 60 or 80 columns: golden screens, with wide and combining
# characters; what is drawn live, resized and interrupted.
set -u
. "${AUTODL_SOURCE:?}/tests/tap.sh"
if ! command -v tmux >/dev/null; then
    skip "screens" "tmux is not installed"
    tap_end
fi
. "$AUTODL_SOURCE/tests/cli.sh"

start_service --max-tasks-num 4 --retry-wait 1h && start_origin || {
    cat "$T/log" >&2
    exit 99
}
terminals=0
tm() {
    # shellcheck disable=SC2086 # words
    $as tmux -S "$T/run/tmux$terminals" -f /dev/null "$@" 9>&-
}
finish_screens() {
    tm kill-server 2>/dev/null
    finish_cli
}
trap finish_screens EXIT

# Each is of a server of its own: one that is ending may still take a new session along.
open_terminal() { # columns, rows
    tm kill-server 2>/dev/null
    terminals=$((terminals + 1))
    tm new-session -d -s s -x "$1" -y "$2" -c "$T/home" "env PATH=$T:\$PATH PS1='> ' sh"
    within 100 screen_has '^>'
}
# Ids are the same each time, and how fast it was is left out.
screen() {
    tm capture-pane -p -t s | sed -E -e 's/[0-9a-f]{8}(-[0-9a-f]{4}){0,4}(-[0-9a-f]*)?( +)/5b0c9a1e\3/g' \
        -e 's/\b[0-9a-f]{8}$/5b0c9a1e/; s/watch [0-9a-f]{8}[-0-9a-f]*/watch 5b0c9a1e/' \
        -e 's/ in [0-9.]+s/ in 1s/; s/ +[0-9.]+[KMG]?\/s(  [0-9ms ]+ left)?//; s/, [0-9ms ]+ left//' \
        -e 's/ +$//' | sed -e :a -e '/^\n*$/{$d;N;ba' -e '}'
}
screen_has() { screen | grep -q -e "$1"; }
type_in() { tm send-keys -t s "$1" Enter; }
ends_with_prompt() { [ "$(screen | tail -1)" = '>' ]; }
run_in() { # a command; waits for the prompt
    tm send-keys -t s "clear; $1" Enter
    sleep 0.2
    within 200 ends_with_prompt
}
wide="$O/bytes/1000/日本語の長いファイル名がここにあります.iso"
combining="$O/bytes/1000/$(printf 'e\314\201te\314\201').zip"
long="$O/bytes/2000000/a-very-long-name-of-a-file-that-does-not-fit-0123456789.tar.xz"

open_terminal 60 24
run_in "autodl add '$wide' --at 2040-01-31"
if [ "$(screen | sed -e '/^>/d' | tr -d '\n')" = "5b0c9a1e  waiting, to start at 2040-01-31 00:00  \
日本語の長いファイル名がここにあります.iso → ~/autodl-storagefollow it: autodl watch 5b0c9a1e" ]; then
    ok "add"
else
    not_ok "add" "$(screen)"
fi
a add "$combining" "$long" --wait -q
run_in "autodl list"
# Ids are of different lengths: the widths of the first column too.
seen=$(screen | sed -E -e '/^>/d' -e 's/^(ID|5b0c9a1e) +/\1 /')
rows=$(tm capture-pane -p -t s | sed -e '/^>/d' -e '/^ *$/d' | wc -l)
if printf '%s\n' "$seen" | grep -Eq '^ID STATE +SIZE  NAME +NOTE$' &&
    printf '%s\n' "$seen" | grep -Eq '^5b0c9a1e finished +1.9M  a-very-.*…[-0-9a-z.]*.tar.xz$' &&
    printf '%s\n' "$seen" | grep -Eq '^5b0c9a1e finished +1.0K  .*t.*.zip$' &&
    printf '%s\n' "$seen" | grep -Eq '^5b0c9a1e waiting +日本語.*…[^ ]*iso +to start.*…$' &&
    [ "$rows" = 4 ]; then
    ok "list fits, and cuts long names in the middle"
else
    not_ok "list fits, and cuts long names in the middle" "$seen ($rows)"
fi
# Wide characters take two columns, combining ones none: NOTE begins where "to start" does.
run_in "autodl hold --match zip; autodl list"
columns_before() { # pattern: how many columns are in front of it
    tm capture-pane -p -t s | grep "$1" | sed "s/$1.*//" | tr -d '\n' |
        sed -e 's/[日本語の長いファ名がここにありますイルす]/xx/g' -e "s/$(printf '\314\201')//g" | wc -m
}
if [ "$(columns_before NOTE)" -gt 0 ] && [ "$(columns_before NAME)" -gt 0 ] &&
    [ "$(columns_before NOTE)" = "$(columns_before 'to start')" ] &&
    [ "$(columns_before NAME)" = "$(columns_before "$(printf 'e\314\201te')")" ]; then
    ok "columns are straight"
else
    not_ok "columns are straight" "$(columns_before NOTE) $(columns_before 'to start')
$(tm capture-pane -p -t s)"
fi
run_in "autodl list --state waiting --json | autodl show -"
if screen_has '^ *name  日本語の長いファイル名がここにあります.iso$' &&
    screen_has '^ *state  waiting, to start at 2040-01-31 00:00$'; then
    ok "show"
else
    not_ok "show" "$(screen)"
fi
if tm capture-pane -e -p -t s | grep -q "$(printf '\033')"; then ok "in colour"; else not_ok "in colour"; fi
run_in "NO_COLOR=1 autodl list; NO_COLOR=1 autodl add $O/bytes/10/x --at 2040-01-31"
if tm capture-pane -e -p -t s | grep -q "$(printf '\033')"; then
    not_ok "NO_COLOR" "$(tm capture-pane -e -p -t s)"
else
    ok "NO_COLOR"
fi
run_in "autodl cancel --state waiting"
screen_has '^Cancelled 2 downloads (autodl retry --state cancelled starts' && ok "cancel" ||
    not_ok "cancel" "$(screen)"

open_terminal 80 24
run_in "autodl clear; autodl pause 2h; autodl resume; autodl update_tasks_num 5"
cat >"$T/expected" <<'END'
Cleared 0 waiting downloads
Paused all downloads until 14:02 (autodl resume ends it)
Resumed: what waits may start
Up to 5 downloads run at once now
END
if screen | sed -E -e 's/until [-0-9 ]*[0-9]+:[0-9]+/until 14:02/' -e '/^>/d' |
    diff "$T/expected" - >"$T/diff"; then
    ok "what happened is said"
else
    not_ok "what happened is said" "$(cat "$T/diff")"
fi

# --- live ---

type_in "clear; autodl add '$O/gate/日本語.iso?size=4000000' --wait; echo \$?"
if within 200 screen_has '50% \[='; then
    lines=$(screen | grep -c '50% \[')
    [ "$lines" = 1 ] && ok "one live line" || not_ok "one live line" "$(screen)"
else
    not_ok "one live line" "$(screen)"
fi
tm resize-window -t s -x 50
sleep 1.5
if [ "$(screen | grep -c '50%')" = 1 ] && ! screen_has '\[='; then
    ok "drawn anew on a narrower terminal"
else
    not_ok "drawn anew on a narrower terminal" "$(screen)"
fi
tm resize-window -t s -x 100
sleep 1.5
if [ "$(screen | grep -c '50%')" = 1 ] && screen_has '50% \[='; then
    ok "and on a wider one"
else
    not_ok "and on a wider one" "$(screen)"
fi
tm send-keys -t s C-c
if within 100 screen_has '^130$' && screen_has '^autodl: still downloading; autodl watch 5b0c9a1e$' &&
    ! screen_has '50%'; then
    ok "the interrupt leaves it running, and nothing drawn"
else
    not_ok "the interrupt leaves it running, and nothing drawn" "$(screen)"
fi
run_in "autodl add $O/status/503/busy; autodl add $O/bytes/10/quick --wait; echo \$?"
if screen_has '^5b0c9a1e  finished, 10 in 1s  quick → ~/autodl-storage$' && screen_has '^0$'; then
    ok "an end stays on the screen"
else
    not_ok "an end stays on the screen" "$(screen)"
fi
type_in "clear; autodl watch"
if within 100 screen_has '^1 running, 1 waiting' && screen_has '日本語.iso .*50% \[' &&
    screen_has 'waiting, trying again .*busy → ~/autodl-storage  (the server answered 503'; then
    ok "watch has a line for each that runs, the retry with its reason, and a summary"
else
    not_ok "watch has a line for each that runs, the retry with its reason, and a summary" "$(screen)"
fi
tm send-keys -t s C-c
within 100 screen_has 'still downloading (2); autodl watch' && ok "and says what is left" ||
    not_ok "and says what is left" "$(screen)"

# --- a list, with a bar ---

seq -f "$O/bytes/1/n%.0f" 1 1200 >"$T/many"
run_in "autodl pause; autodl add -i $T/many --if-exists skip"
if screen_has '^Added 1200 downloads$' && screen_has '^follow them: autodl watch$'; then
    ok "a long list is counted"
else
    not_ok "a long list is counted" "$(screen)"
fi
run_in "autodl clear"
screen_has '^Cleared 120[01] waiting downloads (autodl retry --state CLEARED brings' &&
    ok "and cleared" || not_ok "and cleared" "$(screen)"
run_in "autodl stats"
screen_has '^10 min *|' && screen_has 'free in' && ok "stats" || not_ok "stats" "$(screen)"
tap_end
