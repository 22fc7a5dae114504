# shellcheck shell=sh
# TAP for shell tests: `. tap.sh`, then ok/not_ok per check, and `tap_end`.
tap_count=0
tap_failed=0
ok() { tap_count=$((tap_count + 1)); echo "ok $tap_count - $1"; }
not_ok() {
    tap_count=$((tap_count + 1)); tap_failed=1
    echo "not ok $tap_count - $1"
    [ $# -lt 2 ] || printf '%s\n' "$2" | sed 's/^/# /'
}
skip() { tap_count=$((tap_count + 1)); echo "ok $tap_count - $1 # SKIP $2"; }
tap_end() { echo "1..$tap_count"; exit "$tap_failed"; }
