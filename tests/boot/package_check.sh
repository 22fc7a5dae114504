#!/bin/sh
# make package-check: the Debian packages of the last commit. Built as an ordinary user, with the tests;
# built again elsewhere, at another time, with another umask, time zone, locale and number of jobs, which
# must give the same bytes; lintian and blhc have nothing to say; piuparts installs, upgrades, removes and
# purges them. As root; what cannot be done is skipped, with the reason.
#
# NOCHECK=yes do not run the tests in the build
set -u
: "${AUTODL_SOURCE:=$(cd "$(dirname "$0")/../.." && pwd)}"
: "${AUTODL_BUILD:=.}"
export AUTODL_SOURCE PATH="$PATH:/usr/sbin:/sbin"
. "$AUTODL_SOURCE/tests/tap.sh"

work=$(mktemp -d "${TMPDIR:-/tmp}/autodl-packages.XXXXXX") || exit 99
chmod 755 "$work"
trap 'rm -rf "$work"' EXIT
trap 'exit 99' INT TERM
. "$AUTODL_SOURCE/tests/boot/machine.sh"

give_up() { skip "the packages" "$1"; tap_end; }
have() { command -v "$1" >/dev/null; }
have dpkg-buildpackage || give_up "dpkg-dev is not installed"
git -C "$AUTODL_SOURCE" rev-parse HEAD >/dev/null 2>&1 || give_up "the packages are built from a git clone"

ordinary() { # as nobody when root does all this
    if [ "$(id -u)" = 0 ]; then
        setpriv --reuid 65534 --regid 65534 --clear-groups env HOME=/nonexistent USER=nobody TMPDIR=/tmp "$@"
    else
        "$@"
    fi
}

build() { # directory, options of the build, command that runs what follows
    mkdir -p "$1" && git clone -q "$AUTODL_SOURCE" "$1/autodl" || return 1
    [ "$(id -u)" != 0 ] || chown -R 65534:65534 "$1"
    where=$1
    options=$2
    shift 2
    (cd "$where/autodl" && ordinary "$@" ./bootstrap dist &&
        ordinary "$@" env DEB_BUILD_OPTIONS="$options" dpkg-buildpackage -us -uc) >"$where/log" 2>&1
}

silent() { # description, what was said
    if [ -z "$2" ]; then ok "$1"; else not_ok "$1" "$2"; fi
}

nocheck=
[ "${NOCHECK:-}" != yes ] || nocheck=nocheck
first=$work/first
second=$work/a/longer/way/to/the/second

if build "$first" "$nocheck parallel=$(nproc)" env LC_ALL=C.UTF-8; then
    ok "the packages are built, by an ordinary user${nocheck:+, without the tests}"
else
    not_ok "the packages are built, by an ordinary user" "$(grep -E '^(FAIL|ERROR): |error:' "$first/log"
        tail -n 40 "$first/log")"
    tap_end
fi

if ! have faketime; then
    skip "a second build gives the same bytes" "faketime is not installed"
elif build "$second" "nocheck parallel=1" \
    env TZ=Pacific/Kiritimati LC_ALL=C LANGUAGE=tr sh -c 'umask 027; exec faketime "+400 days" "$@"' -; then
    different=
    for file in "$first"/*.deb "$first"/*.orig.tar.xz "$first"/*.debian.tar.xz; do
        cmp -s "$file" "$second/${file##*/}" || different="$different ${file##*/}"
    done
    silent "a second build gives the same bytes" "${different:+different:$different}"
else
    not_ok "a second build gives the same bytes" "$(tail -n 40 "$second/log")"
fi

if have lintian; then
    silent "lintian has nothing to say" \
        "$(ordinary lintian --pedantic -EvIL +pedantic "$first"/*.changes 2>&1 | grep -v '^N:')"
else
    skip "lintian has nothing to say" "it is not installed"
fi
if have blhc; then
    silent "blhc has nothing to say" "$(blhc "$first/log" 2>&1)"
else
    skip "blhc has nothing to say" "it is not installed"
fi

if [ "$(id -u)" != 0 ] || ! have piuparts; then
    skip "piuparts has nothing to say" "it is not installed, or you are not root"
elif [ -n "$(machine_obstacle)" ]; then
    skip "piuparts has nothing to say" "$(machine_obstacle)"
else
    machine_make_tree || { not_ok "the tree for piuparts"; tap_end; }
    rm -f "$first"/*dbgsym*
    if piuparts -d bookworm -e "$machine_tree" --no-eatmydata --warn-on-leftovers-after-purge \
        --scriptsdir=/etc/piuparts/scripts "$first"/autodl_*.deb "$first"/autodl-service_*.deb \
        >"$work/piuparts" 2>&1; then
        ok "piuparts installs, removes and purges"
    else
        not_ok "piuparts installs, removes and purges" "$(tail -n 40 "$work/piuparts")"
    fi
    silent "piuparts has nothing to say" "$(grep -E 'WARN|ERROR' "$work/piuparts")"
fi
tap_end
