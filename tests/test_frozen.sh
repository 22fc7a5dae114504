#!/bin/sh
# A file system that hangs in the middle of a write: the worker is replaced after 5 s, its user's tasks
# wait, and go on when the file system does; a stop waits for it no longer than for anything else. It
# takes a loop device, so root alone can do it.
set -u
. "${AUTODL_SOURCE:?}/tests/tap.sh"
export PATH="$PATH:/usr/sbin:/sbin"

give_up() { skip "a file system that hangs" "$1"; tap_end; }
[ "$(id -u)" = 0 ] || give_up "only root can freeze a file system"
for tool in fsfreeze mkfs.ext4 losetup python3 unshare; do
    command -v "$tool" >/dev/null || give_up "$tool is not installed"
done
if [ -z "${AUTODL_FROZEN:-}" ]; then # in a mount namespace of its own
    unshare -m true 2>/dev/null || give_up "no mount namespace can be made"
    AUTODL_FROZEN=1 exec unshare -m --propagation private "$0"
fi

T=$(mktemp -d) || exit 99
chmod 755 "$T"
mkdir "$T/fs" "$T/run" "$T/home"
pids=
frozen=
finish() {
    [ -z "$frozen" ] || fsfreeze -u "$T/fs"
    for pid in $pids; do kill "$pid" 2>/dev/null; done
    for pid in $pids; do wait "$pid" 2>/dev/null; done
    umount "$T/fs" 2>/dev/null
    rm -rf "$T"
}
trap finish EXIT
trap 'exit 99' INT TERM

truncate -s 64M "$T/image" && mkfs.ext4 -q "$T/image" &&
    mount -o loop "$T/image" "$T/fs" 2>/dev/null || give_up "no loop device can be had"
cp "${AUTODL_BUILD:?}/autodl" "$AUTODL_BUILD/autodl-service" "$T/"
chown -R 65534:65534 "$T/fs" "$T/run" "$T/home"
as_nobody="setpriv --reuid 65534 --regid 65534 --clear-groups env HOME=$T/home XDG_RUNTIME_DIR=$T/run"

# 16 MiB, in steps slow enough for the freeze to come in between.
cat >"$T/origin.py" <<'PYTHON'
import http.server, sys, time
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *args): pass
    def do_GET(self):
        first = int((self.headers.get("Range") or "bytes=0-")[6:].split("-")[0])
        size = 16 << 20
        self.send_response(206 if first else 200)
        self.send_header("ETag", '"one"')
        self.send_header("Content-Length", str(size - first))
        if first:
            self.send_header("Content-Range", "bytes %d-%d/%d" % (first, size - 1, size))
        self.end_headers()
        for at in range(first, size, 1 << 19):
            self.wfile.write(b"x" * (min(at + (1 << 19), size) - at))
            self.wfile.flush()
            time.sleep(0.05)
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
PYTHON
mkfifo "$T/port"
(exec python3 "$T/origin.py" >"$T/port" 2>/dev/null) &
pids="$pids $!"
read -r port <"$T/port"

start_service() {
    # shellcheck disable=SC2086 # words
    (exec $as_nobody "$T/autodl-service" --listen none 1 2>>"$T/log") &
    service=$!
    pids="$pids $service"
}
add() { # file, directory: the id
    # shellcheck disable=SC2086 # words
    $as_nobody "$T/autodl" --socket "$T/run/autodl.sock" add "http://127.0.0.1:$port/$1" "$2" |
        grep -o '[0-9a-f]\{8\}-[0-9a-f-]\{27\}'
}
start_service
wait_for() { # seconds, command
    tries=$(($1 * 10))
    shift
    until "$@"; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || return 1
        sleep 0.1
    done
}
logged() { grep -q "$1" "$T/log"; }
logged_twice() { [ "$(grep -c "$1" "$T/log")" -ge 2 ]; }
begun() { [ -n "$(find "$T/fs" -name '*.part' -size +1M)" ]; }
whole() { [ "$(tr -d x <"$1" | wc -c)" = 0 ] && [ "$(wc -c <"$1")" = 16777216 ]; }
ended() { ! kill -0 "$1" 2>/dev/null; }
wait_for 20 test -S "$T/run/autodl.sock"
add file "$T/fs/d" >/dev/null
wait_for 20 begun
fsfreeze -f "$T/fs" && frozen=1
if wait_for 20 logged "hangs in the middle of a write"; then
    ok "the worker is replaced"
else
    not_ok "the worker is replaced" "$(cat "$T/log")"
fi
fsfreeze -u "$T/fs" && frozen=
if wait_for 30 logged FINISHED && whole "$T/fs/d/file"; then
    ok "the download goes on when the file system does"
else
    not_ok "the download goes on when the file system does" "$(cat "$T/log")"
fi

# A wish that only the worker that hangs could grant, and a task that is acknowledged meanwhile.
cat >"$T/cancel.py" <<'PYTHON'
import socket, sys
connection = socket.socket(socket.AF_UNIX)
connection.connect(sys.argv[1])
connection.sendall(b"POST /v1/tasks/%s/cancel HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                   b"Content-Length: 0\r\n\r\n" % sys.argv[2].encode())
print("sent", flush=True)
print(connection.makefile("rb").readline().decode().strip(), flush=True)
PYTHON
id=$(add second "$T/fs/d")
wait_for 20 begun
fsfreeze -f "$T/fs" && frozen=1
wait_for 20 logged_twice "hangs in the middle of a write"
third=$(add third "$T/fs/e")
# shellcheck disable=SC2086 # words
(exec $as_nobody python3 "$T/cancel.py" "$T/run/autodl.sock" "$id" >"$T/answer" 2>&1) &
asker=$!
pids="$pids $asker"
wait_for 20 grep -q sent "$T/answer"
sleep 0.5 # the wish has come; an answer before the stop would fail below
kill "$service"
if wait_for 7 ended "$asker" && grep -q "^HTTP/1.1 503 " "$T/answer"; then
    ok "a stop answers those who wait for the worker that hangs"
else
    not_ok "a stop answers those who wait for the worker that hangs" "$(cat "$T/answer" "$T/log")"
fi
fsfreeze -u "$T/fs" && frozen=
wait_for 20 ended "$service"
start_service
if wait_for 40 logged "task=$id.* FINISHED" && wait_for 40 logged "task=$third.* FINISHED" &&
    whole "$T/fs/d/second" && whole "$T/fs/e/third"; then
    ok "the next start has all that was acknowledged"
else
    not_ok "the next start has all that was acknowledged" "$(cat "$T/log")"
fi
tap_end
