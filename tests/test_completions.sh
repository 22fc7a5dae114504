#!/bin/bash
# What the shells offer, asked of the shells themselves.
set -u
: "${AUTODL_SOURCE:=$(cd "$(dirname "$0")/.." && pwd)}"
: "${AUTODL_BUILD:=.}"
# shellcheck source=tests/tap.sh disable=SC1091
. "$AUTODL_SOURCE/tests/tap.sh"
directory=$(mktemp -d) || exit 1
trap 'rm -rf "$directory"' EXIT
"$AUTODL_BUILD/autodl" completions bash >"$directory/autodl.bash"
mkdir "$directory/functions"
"$AUTODL_BUILD/autodl" completions zsh >"$directory/functions/_autodl"
mkdir "$directory/work" && cd "$directory/work" && mkdir 'is os' isolated && touch iso.txt || exit 1

expect() { # what is typed, what must be offered, what was
    if [ "$2" = "$3" ]; then
        ok "$shell: $1<Tab>"
    else
        not_ok "$shell: $1<Tab>" "offered: $3
expected: $2"
    fi
}

# --- bash: the words as readline would split them, since ':' and '=' end one ---

bash_offers() { # word...
    bash --norc -c '
        . "$0"
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
        _autodl
        (IFS="|"; echo "${COMPREPLY[*]}")' "$directory/autodl.bash" "$@" 2>&1
}

shell=bash
expect 'autodl st' 'status|stats' "$(bash_offers autodl st)"
expect 'autodl -h nas --json st' 'status|stats' "$(bash_offers autodl -h nas --json st)"
expect 'autodl --host=nas sta' 'status|stats' "$(bash_offers autodl --host = nas sta)"
expect 'autodl --ver' '--version' "$(bash_offers autodl --ver)"
expect 'autodl add --so' '--socket' "$(bash_offers autodl add --so)"
expect 'autodl --output=j' 'json' "$(bash_offers autodl --output = j)"
expect 'autodl --output=' 'auto|json|text' "$(bash_offers autodl --output =)"
expect 'autodl stats --output t' 'text' "$(bash_offers autodl stats --output t)"
expect 'autodl add https' '' "$(bash_offers autodl add https)"
expect 'autodl add --ch' '--checksum' "$(bash_offers autodl add --ch)"
expect 'autodl stats --ch' '' "$(bash_offers autodl stats --ch)"
expect 'autodl add --if-exists s' 'skip' "$(bash_offers autodl add --if-exists s)"
expect 'autodl list --state f' 'finished|failed' "$(bash_offers autodl list --state f)"
expect 'autodl add -i is' 'is os|iso.txt|isolated' \
    "$(bash_offers autodl add -i is | tr '|' '\n' | LC_ALL=C sort | paste -sd'|')"
expect 'autodl wa' 'watch|wait' "$(bash_offers autodl wa)"
expect 'autodl add URL is' 'is os|isolated' "$(bash_offers autodl add URL is)"
expect 'autodl --socket is' 'is os|iso.txt|isolated' \
    "$(bash_offers autodl --socket is | tr '|' '\n' | LC_ALL=C sort | paste -sd'|')"
expect 'autodl -u roo' 'root' "$(bash_offers autodl -u roo)"
expect 'autodl help upd' 'update_tasks_num' "$(bash_offers autodl help upd)"
expect 'autodl completions ' 'bash|zsh' "$(bash_offers autodl completions '')"
expect 'autodl status 5b' '' "$(bash_offers autodl status 5b)"

# --- zsh: on a terminal of its own, Tab and Enter are pressed; a stand-in says what was typed ---

cat >"$directory/press" <<'END'
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell "PS1= PROMPT_EOL_MARK=; unsetopt zle_bracketed_paste; fpath=($1 \$fpath)"
zpty -w shell "autoload -Uz compinit; compinit -u -D; compdef _autodl autodl"
zpty -w shell "autodl() { print -r -- ty''ped: \"\${(j.|.)@}.\" }; cd $2"
zpty -w shell "$3"$'\t'
zpty -r -m shell said '*typed: *.*'
said=${said##*typed: }
print -r -- "${said%%.*}"
zpty -d shell
END

zsh_types() { # line
    timeout 30 zsh -f "$directory/press" "$directory/functions" "$directory/work" "$1" 2>&1
}

shell=zsh
if command -v zsh >/dev/null 2>&1; then
    expect 'autodl upd' 'update_tasks_num' "$(zsh_types 'autodl upd')"
    expect 'autodl -h nas upd' '-h|nas|update_tasks_num' "$(zsh_types 'autodl -h nas upd')"
    expect 'autodl stats --ver' 'stats|--version' "$(zsh_types 'autodl stats --ver')"
    expect 'autodl --output=j' '--output=json' "$(zsh_types 'autodl --output=j')"
    expect 'autodl add --che' 'add|--checksum' "$(zsh_types 'autodl add --che')"
    expect 'autodl add URL iso' 'add|URL|isolated' "$(zsh_types 'autodl add URL iso')"
    expect 'autodl help sta' 'help|stat' "$(zsh_types 'autodl help sta')"
    expect 'autodl completions z' 'completions|zsh' "$(zsh_types 'autodl completions z')"
else
    skip "zsh completes" "zsh is not installed"
fi
tap_end
