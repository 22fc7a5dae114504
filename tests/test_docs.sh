#!/bin/sh
# What the programs say of themselves, the manual pages and README agree.
set -u
: "${AUTODL_SOURCE:=$(cd "$(dirname "$0")/.." && pwd)}"
: "${AUTODL_BUILD:=.}"
# shellcheck source=tests/tap.sh disable=SC1091
. "$AUTODL_SOURCE/tests/tap.sh"
man=$AUTODL_SOURCE/man

long_options() { # of help text
    grep -Eo -- '(^|[[:space:],[(])--[a-z][a-z-]+' | sed 's/^.*--/--/' | LC_ALL=C sort -u
}

man_options() { # the tags of a manual page's lists
    sed -n 's/^\.It \(Fl .*\)/\1/p' "$1" | grep -Eo 'Fl -[a-z][a-z-]+' | sed 's/^Fl -/--/' |
        LC_ALL=C sort -u
}

man_keys() {
    sed -n 's/^\.It Cm \([a-z-]*\).*/\1/p' "$1" | LC_ALL=C sort -u
}

man_commands() {
    sed -n 's/^\.It \(Ic\|Cm\|Nm\|Sy\) \([a-z][a-z_-]*\).*/\2/p' "$1" | LC_ALL=C sort -u
}

help_commands() { # the first words of the list under "Commands:"
    sed -n '/^Commands:/,/^$/s/^  *\([a-z_-]\{1,\}\).*/\1/p' | LC_ALL=C sort -u
}

same() { # description, one list, its name, the other, its name
    scratch=$(mktemp -d) || exit 1
    printf '%s\n' "$2" >"$scratch/one"
    printf '%s\n' "$4" >"$scratch/other"
    different=$(LC_ALL=C comm -23 "$scratch/one" "$scratch/other" | sed "s/\$/ is only in $3/"
        LC_ALL=C comm -13 "$scratch/one" "$scratch/other" | sed "s/\$/ is only in $5/")
    rm -r "$scratch"
    if [ -z "$2" ]; then
        not_ok "$1" "nothing was found in $3"
    elif [ -z "$different" ]; then
        ok "$1"
    else
        not_ok "$1" "$different"
    fi
}

lint() {
    if ! command -v mandoc >/dev/null 2>&1; then
        skip "mandoc has nothing to say" "mandoc is not installed"
        return
    fi
    for page in "$man"/*.[1578]; do
        # which other pages are installed is the machine's affair
        said=$(mandoc -T lint "$page" 2>&1 |
            sed -e '/referenced manual not found/d' -e '/outdated mandoc.db/d')
        if [ -z "$said" ]; then
            ok "mandoc has nothing to say about ${page##*/}"
        else
            not_ok "mandoc has nothing to say about ${page##*/}" "$said"
        fi
    done
}

client_help=$("$AUTODL_BUILD/autodl" --help)
service_help=$("$AUTODL_BUILD/autodl-service" --help)
service_options=$(echo "$service_help" | long_options)

lint
all_help=$client_help
for command in $(echo "$client_help" | help_commands); do
    all_help="$all_help
$("$AUTODL_BUILD/autodl" "$command" --help)"
done
same "autodl --help and autodl(1) have the same options" \
    "$(echo "$all_help" | sed -n 's/^  .*\(--[a-z-]*\).*  .*/\1/p' | LC_ALL=C sort -u)" "autodl --help" \
    "$(man_options "$man/autodl.1")" "autodl.1"
same "autodl-service --help and autodl-service(8) have the same options" \
    "$service_options" "autodl-service --help" \
    "$(man_options "$man/autodl-service.8")" "autodl-service.8"
same "each key of autodl.conf(5) is an option, and each option but some a key" \
    "$(echo "$service_options" | sed -e 's/^--//' -e '/^config$/d' -e '/^help$/d' -e '/^make-cert$/d' \
        -e '/^usage$/d' -e '/^version$/d')" "autodl-service --help" \
    "$(man_keys "$man/autodl.conf.5")" "autodl.conf.5"

commands=$(echo "$client_help" | help_commands)
[ -n "$commands" ] || not_ok "autodl --help lists commands" "$client_help"
for command in $commands; do
    if grep -Eq "^\.It (Nm|Ic|Cm|Sy)? ?$command( |\$)" "$man/autodl.1"; then
        ok "autodl(1) has the command $command"
    else
        not_ok "autodl(1) has the command $command"
    fi
    if said=$("$AUTODL_BUILD/autodl" "$command" --help 2>&1) && [ -n "$said" ]; then
        ok "autodl $command --help"
    else
        not_ok "autodl $command --help" "$said"
    fi
    [ "$command" = help ] && continue
    if grep -qw "$command" "$AUTODL_SOURCE/README"; then
        ok "README mentions $command"
    else
        not_ok "README mentions $command"
    fi
done
same "autodl(1) has no other commands" \
    "$commands" "autodl --help" \
    "$(man_commands "$man/autodl.1")" "autodl.1"

# --- tables of the code ---

man_routes() { # "METHOD, METHOD /path": each method on a line of its own
    sed -n 's/^\.It \([A-Z, ]*\) \(\/[^ ]*\).*/\1 \2/p' "$1" | tr -d , |
        awk '{ for (i = 1; i < NF; i++) print $i, $NF }' | LC_ALL=C sort -u
}

man_words() { # page, section: the tags Ql of the lists in it
    awk -v section="$2" '/^\.S[hs]/ { on = substr($0, 5) == section } on' "$1" |
        sed -n 's/^\.It Ql \([a-z_]*\)$/\1/p' | LC_ALL=C sort -u
}

source_words() { # file, pattern whose \1 is the word
    sed -n "s/$2.*/\1/p" "$AUTODL_SOURCE/$1" | LC_ALL=C sort -u
}

man_defaults() { # as tests/tables prints them: what is in parentheses is described, not written
    sed -n -e 's/^\.It Cm \([a-z-]*\) No = \((.*)\|\/.*\)\( \*\)$/\1\3/p' \
        -e t -e 's/^\.It Cm \([a-z-]*\) No = (.*)$/\1/p' \
        -e t -e 's/^\.It Cm \([a-z-]*\) No = \(.*\)/\1 = \2/p' "$1" | LC_ALL=C sort
}

if [ -x "$AUTODL_BUILD/tests/tables" ]; then
    same "autodl-api(7) has every route" \
        "$("$AUTODL_BUILD/tests/tables" routes | LC_ALL=C sort -u)" "the code" \
        "$(man_routes "$man/autodl-api.7")" "autodl-api.7"
    same "autodl.conf(5) has every default, and marks what a reload leaves" \
        "$("$AUTODL_BUILD/tests/tables" keys | LC_ALL=C sort)" "the code" \
        "$(man_defaults "$man/autodl.conf.5")" "autodl.conf.5"
else
    skip "autodl-api(7) has every route" "tests/tables is not built: Check is missing"
fi
same "autodl-api(7) has every field of tasks and lists" \
    "$({ source_words src/http/task_fields.c '.*{\.name = "\([a-z_]*\)",'
        source_words src/http/filter_fields.c '.*{\.name = "\([a-z_]*\)",'; } |
        LC_ALL=C sort -u | grep -vx -e keep -e file -e ids)" "task_fields.c and filter_fields.c" \
    "$(man_words "$man/autodl-api.7" 'VERSION 1 ROUTES')" "autodl-api.7"
same "autodl-api(7) has every word for a failure" \
    "$(source_words src/transfer/retry.c '^ *{"\([a-z_]*\)",')" "retry.c" \
    "$(man_words "$man/autodl-api.7" 'Why a task failed')" "autodl-api.7"
same "autodl(1) has every reason to wait" \
    "$(source_words src/http/task_json.c '^ *return "\(slot\|[a-z_]*\)";')" "task_json.c" \
    "$(man_words "$man/autodl.1" 'WHY NOTHING MOVES')" "autodl.1"
tap_end
