#!/bin/sh
# The floors of the house (HACKING): which folder may include which, and which file calls which
# library. Every #include goes to the same folder and floor, or to a lower floor.
set -u
: "${AUTODL_SOURCE:=$(cd "$(dirname "$0")/.." && pwd)}"
# shellcheck source=tests/tap.sh disable=SC1091
. "$AUTODL_SOURCE/tests/tap.sh"

floor_of() { # prints the floor of a file; cli has its own house over the ground floor
    case $1 in
    src/common/*) echo 0 ;;
    src/core/*) echo 1 ;;
    src/transfer/* | src/privsep/* | src/store/*) echo 2 ;;
    src/http/*) echo 4 ;;
    src/main.c | src/service.[ch]) echo 5 ;;
    src/*/*) echo none ;;
    src/*.[ch]) echo 3 ;;
    cli/*.[ch]) echo 1 ;;
    *) echo none ;;
    esac
}

# Which files may include a library's header: patterns of case.
library_allowed() { # header file
    case $1 in
    curl/*) case $2 in src/transfer/download.[ch] | cli/client.[ch]) ;; *) return 1 ;; esac ;;
    microhttpd.h) case $2 in src/http/*) ;; *) return 1 ;; esac ;;
    sqlite3.h) case $2 in src/store/*) ;; *) return 1 ;; esac ;;
    json.h | json-c/* | json_*) case $2 in src/common/* | cli/*) ;; *) return 1 ;; esac ;;
    openssl/*)
        case $2 in
        src/hosts.c | src/transfer/checksum.c | src/http/tls.c | src/http/certificate.c | src/http/passwords.c) ;;
        *) return 1 ;;
        esac ;;
    systemd/*) case $2 in src/privsep/monitor.c) ;; *) return 1 ;; esac ;;
    security/*) case $2 in src/privsep/pam.c) ;; *) return 1 ;; esac ;;
    argp.h | getopt.h) case $2 in src/main.c | cli/*) ;; *) return 1 ;; esac ;;
    esac
}

resolve() { # file "included name": the file it means
    if [ -e "${1%/*}/$2" ]; then
        echo "${1%/*}/$2"
    elif [ -e "src/$2" ]; then
        echo "src/$2"
    else
        echo "missing/$2"
    fi
}

may_include() { # from to
    from=$(floor_of "$1")
    to=$(floor_of "$2")
    [ "$from" != none ] && [ "$to" != none ] || return 1
    case $1 in
    cli/*) case $2 in cli/* | src/common/*) return 0 ;; *) return 1 ;; esac ;;
    esac
    [ "$to" -lt "$from" ] || { [ "$to" -eq "$from" ] && [ "${1%/*}" = "${2%/*}" ]; }
}

includes() { # the included names of one file: "name" or <name>, as $1 says
    sed -n 's/^[[:space:]]*#[[:space:]]*include[[:space:]]*'"$1"'.*/\1/p' "$2"
}

sources() {
    find src cli -name '*.[ch]' | LC_ALL=C sort
}

upward_includes() {
    sources | while read -r file; do
        includes '"\([^"]*\)"' "$file" | while read -r name; do
            target=$(resolve "$file" "$name")
            may_include "$file" "$target" || echo "$file includes \"$name\" ($target)"
        done
    done
}

stray_libraries() {
    sources | while read -r file; do
        includes '<\([^>]*\)>' "$file" | while read -r header; do
            library_allowed "$header" "$file" || echo "$file includes <$header>"
        done
    done
}

homeless() {
    sources | while read -r file; do
        [ "$(floor_of "$file")" != none ] || echo "$file"
    done
}

none_of() { # description, what was found
    if [ -z "$2" ]; then ok "$1"; else not_ok "$1" "$2"; fi
}

plant() { # file, line
    mkdir -p "${1%/*}"
    printf '%s\n' "$2" >>"$1"
}

# The rules themselves: each planted line must be found, and nothing else.
planted() {
    house=$(mktemp -d) || exit 1
    cd "$house" || exit 1
    for header in common/a core/b store/c privsep/d http/e manager service; do
        plant "src/$header.h" '#include <stddef.h>'
    done
    plant cli/main.c '#include "common/a.h"'
    plant src/manager.c '#include "manager.h"'
    plant src/manager.c '#include "store/c.h"'
    plant src/http/e.c '#include "manager.h"'
    none_of "a clean house is clean" "$(upward_includes; stray_libraries; homeless)"

    plant src/core/b.c '#include "store/c.h"'
    plant src/store/c.c '#include "privsep/d.h"'
    plant src/manager.c ' # include "service.h"'
    plant src/core/b.c '#include "manager.h"'
    plant cli/main.c '#include "core/b.h"'
    plant src/common/a.c '#include "gone.h"'
    plant src/manager.c '#include <sqlite3.h>'
    plant src/service.c '#include <curl/curl.h>'
    plant src/attic/f.c ''
    found=$({ upward_includes; stray_libraries; homeless; } | wc -l)
    if [ "$found" -eq 9 ]; then
        ok "each of 9 planted lines is found"
    else
        not_ok "each of 9 planted lines is found" "$(upward_includes; stray_libraries; homeless)"
    fi
    rm -rf "$house"
}

planted
cd "$AUTODL_SOURCE" || exit 1
none_of "every source file has a floor" "$(homeless)"
none_of "includes point down only" "$(upward_includes)"
none_of "each library is called where it should be" "$(stray_libraries)"
tap_end
