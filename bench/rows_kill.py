"""Rows about kill -9 of all processes, and a new start: what is lost, what is fetched again."""

import collections
import os
import subprocess
import time

import load
import origins
import processes
from contestants import Aria2, Autodl, wait_until
from report import Result, median
from rows_queue import progress, tasks_for
from rows_files import small_jobs

MIB = processes.MIB


def adds(place):
    """kill -9 after 1,000 acknowledged adds: how many are lost"""
    result = Result("kill-adds", "kill -9 after 1,000 acknowledged adds", place.rounds(3, 2))
    lost = {"autodl": [], "aria2": []}
    for number in range(result.rounds):
        directory = place.new_directory("kill-adds")
        tasks = tasks_for(place, 1000, directory)
        autodl = Autodl(place).start(f"{directory}.autodl")
        try:
            autodl.pause()
            load.adds(load.unix(autodl.socket), list(map(load.autodl_request, tasks)), 8)
            autodl.kill()
            autodl.restart()
            lost["autodl"].append(1000 - autodl.counts()["ENQUEUED"])
        finally:
            autodl.stop()
        if not Aria2(place).missing():
            lost["aria2"].append(aria2_adds_lost(place, directory, tasks))
        progress(f"kill-adds round {number + 1}/{result.rounds}: {lost}")
    for name, counts in lost.items():
        if counts:
            ratio = f"{median(counts) / 1000:.2f}"
            result.table.append((name, f"{min(counts)}–{max(counts)} of 1,000 lost", ratio))
    result.notes.append("Here x is the part that was lost.")
    result.claim("lost", max(lost["autodl"]), "<=", 0)
    return result


def with_session(place, directory):
    """aria2 as safe as it gets: the session saved each second, and read again."""
    session = f"{directory}.session"
    with open(session, "a"):
        pass
    processes.own(session)
    options = [f"--save-session={session}", "--save-session-interval=1", f"--input-file={session}"]
    return Aria2(place, options=options + ["--continue=true"])


def aria2_adds_lost(place, directory, tasks):
    aria2 = with_session(place, directory).start(f"{directory}.aria2")
    try:
        options = {"pause": "true", "dir": directory}
        requests = [load.aria2_request("aria2.addUri", [task["url"]], {**options, "out": task["name"]}) for task in tasks]
        load.adds(load.tcp(aria2.port), requests, 8)
        aria2.kill()
        aria2.restart()
        counts = aria2.counts()
        return max(0, 1000 - counts["numWaiting"] - counts["numActive"] - counts["numStopped"])
    finally:
        aria2.stop()


class CountingRelay(origins.Python):
    """The fair origin behind a relay that counts bytes."""

    def __init__(self, place, rate):
        self.origin = origins.fair(place.dir, rate)
        super().__init__(place.dir, "relay.py", self.origin.url.rpartition(":")[2], stdin=subprocess.PIPE)

    def sent(self):
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def end(self):
        super().end()
        self.origin.end()


def part(place):
    """kill -9 in the middle of a file of 96 MiB: how much is fetched again"""
    size, rate = 96 * MIB, 16 * MIB
    result = Result("kill-part", "kill -9 in a 96 MiB file at 16 MiB/s per connection", place.rounds(3, 1))
    again, allowed = [], []
    for number in range(result.rounds):
        directory = place.new_directory("kill-part")
        relay = CountingRelay(place, rate)
        autodl = Autodl(place).start(f"{directory}.autodl")
        try:
            begun = time.monotonic()
            task = {"url": f"{relay.url}/{size}/part", "directory": directory, "name": "part"}
            autodl.add([task])
            wait_until(lambda: relay.sent() >= size // 2, "half of it", 60)
            speed = relay.sent() / (time.monotonic() - begun)
            page = autodl.ask("GET", "/v1/tasks")["tasks"][0]
            autodl.kill()
            autodl.restart()
            autodl.wait_finished(1, 120)
            again.append(relay.sent() - size)
            ranges = page.get("ranges") or 1
            allowed.append(1.5 * speed + 65536 * ranges)
            subprocess.run([origins.sys.executable, f"{origins.HERE}/fair_origin.py", "--check",
                            f"{directory}/part"], check=True)
        finally:
            autodl.stop()
            relay.end()
        progress(f"kill-part round {number + 1}/{result.rounds}: {again[-1] / MIB:.1f} MiB again,"
                 f" {allowed[-1] / MIB:.1f} allowed")
    ratio = max(one / other for one, other in zip(again, allowed))
    result.table.append(("autodl", f"{median(again) / MIB:.1f} MiB fetched again"
                         f" ({min(again) / MIB:.1f}–{max(again) / MIB:.1f})", f"{median(again) / size:.2f}"))
    result.notes.append("Here x is the part of the file.")
    result.claim("fetched again / (what 1.5 s carried + 64 KiB a range)", ratio, "<=", 1)
    return result


def fetched_again(place, already, mark):
    """How many of these names were asked for more than once since the log had `mark` lines."""
    asked = collections.Counter(uri.rpartition("/")[2] for uri in place.nginx.requests()[mark:])
    return sum(asked[name] > 1 for name in already)


def kill_in_small_files(place, contestant, add, directory, jobs):
    """-> where the log of requests began, and the files that were whole before the kill."""
    mark = len(place.nginx.requests())
    names = {name for _, name in jobs}
    add()
    wait_until(lambda: len(os.listdir(directory)) >= len(jobs) // 3, "a third of them", 60)
    already = whole(directory, names)
    contestant.kill()
    contestant.restart()
    return mark, already


def whole(directory, names):
    """Those with their final name and all their bytes. Looked at just before the kill."""
    found = set()
    for name in os.listdir(directory):
        if name in names and os.path.getsize(f"{directory}/{name}") == 10240:
            found.add(name)
    return found


def small(place):
    """kill -9 at a third of 1,000 small files: how many whole ones are fetched again"""
    count = 1000
    result = Result("kill-small", "kill -9 at a third of 1,000 files of 10 KiB", place.rounds(3, 2))
    folder = place.nginx.small_files(2000, 10240)
    jobs = small_jobs(f"logged/{folder}", count, place.nginx.url)
    found, never = {"autodl": [], "aria2": []}, {"autodl": [], "aria2": []}
    names = {name for _, name in jobs}
    for number in range(result.rounds):
        directory = place.new_directory("kill-small-autodl")
        autodl = Autodl(place).start(f"{directory}.side")
        try:
            tasks = [{"url": url, "directory": directory, "name": name} for url, name in jobs]
            mark, already = kill_in_small_files(
                place, autodl, lambda: autodl.add(tasks), directory, jobs)
            wait_until(lambda: all_done(autodl), "all of them", 60)
            extra = len(os.listdir(directory)) - count
            found["autodl"].append(fetched_again(place, already, mark) + extra)
            never["autodl"].append(count - len(whole(directory, names)))
        finally:
            autodl.stop()
        if not Aria2(place).missing():
            directory = place.new_directory("kill-small-aria2")
            aria2 = with_session(place, directory).start(f"{directory}.side")
            try:
                mark, already = kill_in_small_files(
                    place, aria2, lambda: aria2.add(jobs, directory), directory, jobs)
                wait_until(lambda: aria2.counts()["numActive"] + aria2.counts()["numWaiting"] == 0,
                           "aria2", 60)
                found["aria2"].append(fetched_again(place, already, mark))
                never["aria2"].append(count - len(whole(directory, names)))
            finally:
                aria2.stop()
        progress(f"kill-small round {number + 1}/{result.rounds}: {found}")
    for name, counts in found.items():
        if counts:
            result.table.append((name, f"{min(counts)}–{max(counts)} whole files fetched again,"
                                 f" {min(never[name])}–{max(never[name])} of {count:,} never fetched",
                                 f"{median(counts) / count:.3f}"))
    result.notes.append("Here x is the part of all files.")
    result.claim("fetched again, or there twice", max(found["autodl"]), "<=", 0)
    result.claim("never fetched", max(never["autodl"]), "<=", 0)
    return result


def all_done(autodl):
    """FINISHED, before the kill or since; /stats counts the latter alone."""
    left = autodl.ask("GET", "/v1/tasks?status=ENQUEUED,DOWNLOADING,FINISHING,FAILED&limit=1")
    return not left["tasks"]
