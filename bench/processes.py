"""Processes that are measured: started by us, ended by pid, whatever happens."""

import atexit
import os
import signal
import subprocess
import sys
import threading
import time

TICK = os.sysconf("SC_CLK_TCK")
MIB = 1 << 20
NOBODY = 65534

started = []


def as_user():
    """Root measures as nobody: a service that root starts would serve everybody."""
    if os.geteuid() == 0:
        return {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    return {}


def own(path):
    if os.geteuid() == 0:
        os.chown(path, NOBODY, NOBODY)


def make_directory(path):
    os.makedirs(path, mode=0o755, exist_ok=True)
    own(path)
    return path


def start(argv, log, env=None, stdin=subprocess.DEVNULL, stdout=None, user=None):
    """A process of its own session, so that ^C reaches us alone."""
    with open(log, "ab") as file:
        process = subprocess.Popen(
            argv,
            stdin=stdin,
            stdout=stdout or file,
            stderr=file,
            env=env,
            start_new_session=True,
            **(as_user() if user is None else user),
        )
    started.append(process)
    return process


def tree(pid):
    """The pid and those of all that descend from it."""
    pids = [pid]
    for parent in pids:
        try:
            for thread in os.listdir(f"/proc/{parent}/task"):
                with open(f"/proc/{parent}/task/{thread}/children") as file:
                    pids += [int(word) for word in file.read().split()]
        except OSError:
            pass
    return pids


def end(process, timeout=30):
    """SIGTERM, and SIGKILL for the tree if that does not help."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            kill(process)
    if process in started:
        started.remove(process)


def kill(process):
    """kill -9 for the whole tree; returns when it is gone."""
    pids = tree(process.pid)
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    process.wait()
    while any(os.path.exists(f"/proc/{pid}") for pid in pids):
        time.sleep(0.005)
    if process in started:
        started.remove(process)


@atexit.register
def end_all():
    for process in list(started):
        end(process, 10)


def end_on_signals():
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, lambda n, _: sys.exit(128 + n))


def cpu(pids):
    """Seconds of user and system time, without those of children that ended."""
    ticks = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/stat") as file:
                fields = file.read().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        except OSError:
            pass
    return ticks / TICK


def status(pid, key):
    try:
        with open(f"/proc/{pid}/status") as file:
            for line in file:
                if line.startswith(key + ":"):
                    return int(line.split()[1])
    except OSError:
        pass
    return 0


def rss(pids, key="VmHWM"):
    """Bytes, summed: what is shared counts as often as it is mapped."""
    return sum(status(pid, key) for pid in pids) * 1024


def pss(pids):
    """Bytes, or None where the kernel does not tell us: the service's processes show it to root."""
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/smaps_rollup") as file:
                total += sum(int(line.split()[1]) for line in file if line.startswith("Pss:"))
        except OSError:
            return None
    return total * 1024


def switches(pids):
    """How often their threads were put to sleep or moved away since they began."""
    total = 0
    for pid in pids:
        for thread in os.listdir(f"/proc/{pid}/task"):
            path = f"{pid}/task/{thread}"
            total += status(path, "voluntary_ctxt_switches")
            total += status(path, "nonvoluntary_ctxt_switches")
    return total


def run(argv, log, env=None, stdin=subprocess.DEVNULL):
    """Runs a program to its end: exit status, seconds, CPU seconds, peak of its memory."""
    begun = time.monotonic()
    process = start(argv, log, env, stdin)
    peak, over = [0], threading.Event()

    def watch():
        while not over.wait(0.02):
            peak[0] = max(peak[0], rss(tree(process.pid)))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        _, status_, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - begun
    finally:
        over.set()
        watcher.join()
    process.returncode = os.waitstatus_to_exitcode(status_)
    started.remove(process)
    return process.returncode, seconds, usage.ru_utime + usage.ru_stime, peak[0]
