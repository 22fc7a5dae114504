"""Rows about an origin that gives each connection so much and no more: W4, W5."""

import time

import origins
import processes
from contestants import AT_ONCE, Aria2, Autodl, Curl, Run, Wget2
from report import Result
from rows_files import seconds, small_jobs
from rounds import interleave

RATE = 4 << 20  # bytes/s of each connection
MIB = processes.MIB


class Known:
    """What the fair origin gave is checked by itself: here, by its length."""

    def __init__(self, place, size):
        self.path = f"{place.dir}/expected-{size}"
        origins.write_fair(self.path, size)

    def __call__(self, url):
        return self.path


def w4(place):
    """256 MiB from an origin that gives each connection 4 MiB/s"""
    size = (64 if place.short else 256) * MIB
    result = Result("W4", f"{size // MIB} MiB at 4 MiB/s per connection", place.rounds(3, 1))
    jobs = [("{}/" + f"{size}/large", "large")]
    origin = origins.fair(place.dir, RATE)
    try:
        jobs = [(url.format(origin.url), name) for url, name in jobs]
        ten = Aria2(place, "aria2 -x10", ["-x10", "-s10", "-k1M"])
        contestants = [Autodl(place), ten]
        once = set()
        if not place.short:
            contestants += [Aria2(place), Curl(place), Wget2(place)]
            once = {"aria2", "curl", "wget2"}  # of one connection: a minute each
        runs = interleave(place, "W4", contestants, jobs, result.rounds, Known(place, size), once)
    finally:
        origin.end()
    result.compare(runs)
    ideal = size / (AT_ONCE * RATE)
    ours = seconds(runs, "autodl")
    result.table.append(("the ideal", f"{ideal:.3g} s", f"{ideal / ours:.2f}"))
    if ten.name in runs:
        result.claim("time / aria2's, as many connections", ours / seconds(runs, ten.name), "<=", 1.05)
    result.claim("time / (size / (workers × rate))", ours / ideal, "<=", 1.05, 1.02)
    return result


class Then:
    """A contestant that gets the small jobs a second after the large one. `small` notes how long
    they took, each time."""

    HEAD_START = 1

    def __init__(self, contestant, count):
        self.contestant, self.name, self.count = contestant, contestant.name, count
        self.small = []

    def missing(self):
        return self.contestant.missing()

    def add(self, jobs, directory):
        if isinstance(self.contestant, Autodl):
            tasks = [{"url": url, "directory": directory, "name": name} for url, name in jobs]
            self.contestant.add(tasks)
        else:
            self.contestant.add(jobs, directory)

    def run(self, jobs, directory):
        contestant = self.contestant
        contestant.start(f"{directory}.side")
        try:
            begun = time.monotonic()
            self.add(jobs[:1], directory)
            time.sleep(self.HEAD_START)
            later = time.monotonic()
            self.add(jobs[1:], directory)
            contestant.wait_finished(self.count)
            self.small.append(time.monotonic() - later)
            contestant.wait_finished(self.count + 1)
            total = time.monotonic() - begun
            pids = processes.tree(contestant.process.pid)
            return Run(total, processes.cpu(pids), processes.rss(pids))
        finally:
            contestant.stop()


def w5(place):
    """128 MiB from that origin, and a second later 200 small files from another"""
    size, count = 128 * MIB, 200
    result = Result("W5", "128 MiB at 4 MiB/s per connection, after 1 s 200 × 10 KiB", place.rounds(5, 1))
    folder = place.nginx.small_files(2000, 10240)
    origin = origins.fair(place.dir, RATE)
    known = Known(place, size)
    try:
        jobs = [(f"{origin.url}/{size}/large", "large")]
        jobs += small_jobs(folder, count, place.nginx.url)
        contestants = [Then(Autodl(place), count)]
        if not place.short:
            contestants.append(Then(Aria2(place, "aria2 -x16", ["-x16", "-s16", "-k1M"]), count))
        runs = interleave(
            place, "W5", contestants, jobs, result.rounds,
            lambda url: known(url) if url.endswith("large") else place.source(url),
        )
    finally:
        origin.end()
    result.compare(runs)
    ideal = size / (AT_ONCE * RATE)
    ours = seconds(runs, "autodl")
    result.table.append(("the ideal", f"{ideal:.3g} s", f"{ideal / ours:.2f}"))
    result.claim("total / (bytes / (workers × rate))", ours / ideal, "<=", 1.2, 1.05)
    small = sorted(contestants[0].small)[result.rounds // 2]
    result.claim("the small ones after", small, "<=", 0.3, 0.15, unit=" s")
    for other in contestants[1:]:
        theirs = sorted(other.small)[result.rounds // 2]
        result.notes.append(f"small ones, {other.name}: {theirs / small:.2f} x as long.")
    return result
