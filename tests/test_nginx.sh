#!/bin/sh
# Against a real web server: a directory tree is fetched and compared, and 2,000 small files are
# drained beside curl on the same list (the ratio is printed, not judged: machines differ).
set -u
. "${AUTODL_SOURCE:?}/tests/tap.sh"

nginx=$(PATH=$PATH:/usr/sbin command -v nginx) || nginx=
if [ -z "$nginx" ] || ! command -v curl >/dev/null; then
    skip "real web server" "nginx or curl is not installed"
    tap_end
fi

T=$(mktemp -d) || exit 99
chmod 755 "$T"
mkdir "$T/bin" "$T/www" "$T/home" "$T/run" "$T/curl"
cp "${AUTODL_BUILD:?}/autodl" "$AUTODL_BUILD/autodl-service" "$T/bin/"

# Root's tests run as nobody: a service started by root would serve everybody.
as_user=
if [ "$(id -u)" = 0 ]; then
    chown -R 65534:65534 "$T"
    as_user="setpriv --reuid 65534 --regid 65534 --clear-groups"
fi
run() { $as_user env HOME="$T/home" XDG_RUNTIME_DIR="$T/run" XDG_STATE_HOME="$T/home/state" "$@"; }
autodl() { run "$T/bin/autodl" --socket "$T/run/autodl.sock" "$@"; }

pids=
finish() {
    for pid in $pids; do kill "$pid" 2>/dev/null; done
    for pid in $pids; do wait "$pid" 2>/dev/null; done
    rm -rf "$T"
}
trap finish EXIT
trap 'exit 99' INT TERM

# Waits until a command succeeds, 60 s at most.
wait_for() {
    tries=0
    until "$@"; do
        tries=$((tries + 1))
        [ "$tries" -lt 600 ] || return 1
        sleep 0.1
    done
}

# --- what is served: a tree with awkward names, and the small files ---
(
    cd "$T/www" || exit
    mkdir -p tree/a/b tree/empty small
    printf 'hello\n' >tree/plain.txt
    : >tree/a/zero
    head -c 1048577 /dev/urandom >tree/a/odd-size.bin
    head -c 33554432 /dev/urandom >tree/a/b/large.bin
    printf 'x' >'tree/a/with space & more.txt'
    printf 'y' >'tree/a/b/größe.txt'
    printf 'z' >'tree/a/b/100%.txt'
    rmdir tree/empty
    head -c 20480000 /dev/urandom >blob
    split -b 10240 -a 4 -d blob small/f
    rm blob
)

# nginx takes no port 0: find one that it can have.
port=$((20000 + $$ % 20000))
start_nginx() {
    port=$((port + 1))
    cat >"$T/nginx.conf" <<CONF
worker_processes 1; daemon off; pid $T/nginx.pid; error_log $T/nginx.log;
events { worker_connections 1024; }
http { access_log off; sendfile on; keepalive_requests 100000; default_type application/octet-stream;
  client_body_temp_path $T/n1; proxy_temp_path $T/n2; fastcgi_temp_path $T/n3;
  uwsgi_temp_path $T/n4; scgi_temp_path $T/n5;
  server { listen 127.0.0.1:$port; root $T/www; } }
CONF
    (exec $as_user "$nginx" -e "$T/nginx.log" -c "$T/nginx.conf" >/dev/null 2>&1) &
    nginx_pid=$!
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        curl -fs -o /dev/null "http://127.0.0.1:$port/tree/plain.txt" && break
        kill -0 "$nginx_pid" 2>/dev/null || return 1
        sleep 0.1
    done
    pids="$pids $nginx_pid"
}
started=1
for _ in 1 2 3 4 5; do start_nginx && started=0 && break; done
if [ "$started" != 0 ]; then
    not_ok "nginx starts" "$(cat "$T/nginx.log")"
    tap_end
fi
base=http://127.0.0.1:$port

# exec: so that $! is the service itself, not a shell around it.
(
    exec $as_user env HOME="$T/home" XDG_RUNTIME_DIR="$T/run" XDG_STATE_HOME="$T/home/state" \
        "$T/bin/autodl-service" --listen none 2>"$T/service.log"
) &
pids="$pids $!"
if ! wait_for test -S "$T/run/autodl.sock"; then
    not_ok "the service starts" "$(cat "$T/service.log")"
    tap_end
fi

count() { autodl stats | sed -n "s/.*\"$1\": \\([0-9]*\\).*/\\1/p"; }
finished() { [ "$(count FINISHED)" -ge "$1" ]; }
# Percent-encodes a path, byte by byte.
encode() { printf %s "$1" | od -An -v -tx1 | tr -d ' \n' | sed 's/../%&/g; s/%2f/\//g'; }

# --- the tree ---
files=0
cd "$T/www" || exit 99
find tree -type f >"$T/list"
while IFS= read -r file; do
    files=$((files + 1))
    autodl add "$base/$(encode "$file")" "$T/home/$(dirname "$file")" >/dev/null
done <"$T/list"
if wait_for finished "$files" && difference=$(diff -r "$T/www/tree" "$T/home/tree" 2>&1); then
    ok "a tree of $files files is the same as the served one"
else
    not_ok "a tree of $files files is the same as the served one" \
        "${difference:-} $(autodl stats) $(tail -n 20 "$T/service.log")"
fi

# --- the small files, beside curl ---
autodl pause >/dev/null
cd "$T/www/small" || exit 99
for file in *; do
    printf 'url = "%s/small/%s"\noutput = "%s/curl/%s"\n' "$base" "$file" "$T" "$file"
done >"$T/curl.list"
for file in *; do
    printf 'next\nurl = "http://localhost/add"\nunix-socket = "%s/run/autodl.sock"\n' "$T"
    printf 'data-urlencode = "url=%s/small/%s"\ndata-urlencode = "path=%s/home/small"\nfail\n' \
        "$base" "$file" "$T"
done | sed 1d >"$T/add.list"
run curl -s -K "$T/add.list" >/dev/null || not_ok "2,000 adds are accepted"

now() { date +%s%N; }
begin=$(now)
autodl resume >/dev/null
wait_for finished $((files + 2000))
ours=$(($(now) - begin))
begin=$(now)
run curl -s --parallel --parallel-max 10 -K "$T/curl.list" 2>/dev/null
theirs=$(($(now) - begin))
if difference=$(diff -r "$T/www/small" "$T/home/small" 2>&1); then
    ok "2,000 files of 10 KiB are drained"
else
    not_ok "2,000 files of 10 KiB are drained" "$(autodl stats) $(echo "$difference" | head -n 5)"
fi
echo "# rate against curl --parallel-max 10: $((theirs * 100 / ours)) % (durable here, not there;" \
    "$((ours / 1000000)) ms and $((theirs / 1000000)) ms)"
tap_end
