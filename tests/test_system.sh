#!/bin/sh
# The units: systemd understands them, and how exposed the service is at most.
set -u
: "${AUTODL_SOURCE:=$(cd "$(dirname "$0")/.." && pwd)}"
: "${AUTODL_BUILD:=.}"
# shellcheck source=tests/tap.sh disable=SC1091
. "$AUTODL_SOURCE/tests/tap.sh"
most=25 # tenths

if ! command -v systemd-analyze >/dev/null; then
    skip "the units" "systemd-analyze is not installed"
    tap_end
fi
scratch=$(mktemp -d) || exit 99
trap 'rm -rf "$scratch"' EXIT
export SYSTEMD_LOG_LEVEL=warning
mkdir "$scratch/system" "$scratch/user"
cp "$AUTODL_BUILD/system/systemd/autodl-service.service" "$scratch/system/"
cp "$AUTODL_BUILD/system/systemd/user/autodl-service.service" "$scratch/user/"

for kind in system user; do
    unit=$scratch/$kind/autodl-service.service
    # the program and the pages are not installed here, and nobody runs a manager
    sed -i -e "s,^ExecStart=.*,ExecStart=/bin/true," -e '/^Documentation=/d' "$unit"
    said=$(systemd-analyze verify --man=no "--$kind" "$unit" 2>&1 | grep -F "${unit##*/}")
    if [ -z "$said" ]; then
        ok "systemd understands the $kind unit"
    else
        not_ok "systemd understands the $kind unit" "$said"
    fi
done

if ! said=$(systemd-analyze security --offline=yes --no-pager "$scratch/system/autodl-service.service" 2>&1) &&
    ! echo "$said" | grep -q 'Overall exposure'; then
    skip "the exposure" "systemd-analyze cannot tell: $said"
    tap_end
fi
exposure=$(echo "$said" | sed -n 's/.*Overall exposure level[^:]*: \([0-9.]*\).*/\1/p')
if [ -n "$exposure" ] && [ "$(echo "$exposure" | tr -d .)" -le $most ]; then
    ok "exposure $exposure is at most 2.5"
else
    not_ok "exposure is at most 2.5" "$said"
fi
for example in "$AUTODL_SOURCE/system/examples/"*.conf; do
    name=${example##*/}
    mkdir "$scratch/system/autodl-service.service.d"
    cp "$example" "$scratch/system/autodl-service.service.d/"
    said=$(systemd-analyze verify --man=no "$scratch/system/autodl-service.service" 2>&1 | grep -F "$name")
    if [ -z "$said" ]; then ok "systemd understands $name"; else not_ok "systemd understands $name" "$said"; fi
    rm -r "$scratch/system/autodl-service.service.d"
done
tap_end
