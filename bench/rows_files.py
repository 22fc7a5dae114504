"""Rows about fetching: W1, W1L, W2 (small files), W3, W8 (large ones)."""

import os

import origins
import processes
from contestants import Aria2, Autodl, Bare, Curl, Dd, Wget2
from report import Result, median
from rounds import interleave

GIB = 1 << 30


def seconds(runs, name):
    return median(run.seconds for run in runs[name])


def cpu(runs, name):
    return median(run.cpu for run in runs[name])


def small_jobs(folder, count, url):
    names = map(origins.small_name, range(count))
    return [(f"{url}/{folder}/{name}", name) for name in names]


def small_files(place, row, result, count, size, url=None, once=(), more=()):
    folder = place.nginx.small_files(count, size)
    jobs = small_jobs(folder, count, url or place.nginx.url)
    contestants = [Autodl(place), Curl(place), Wget2(place), *more]
    if row == "W1" or not place.short:
        contestants.append(Aria2(place))
    runs = interleave(place, row, contestants, jobs, result.rounds, once=once)
    result.compare(runs, "files/s", count)
    return runs


def w1(place):
    """2,000 files of 10 KiB, 10 at once, from the first add to the last file"""
    count = 2000
    result = Result("W1", "2,000 files of 10 KiB, 10 at once", place.rounds(5, 3))
    runs = small_files(place, "W1", result, count, 10240, once=place.if_short("aria2"))
    if "curl" in runs:
        result.claim("speed / curl's", seconds(runs, "curl") / seconds(runs, "autodl"), ">=", 1.3, 2)
    return result


def w1l(place):
    """the same, 20 ms before the first byte of each"""
    count = 500 if place.short else 2000
    result = Result("W1L", f"{count:,} files of 10 KiB, 20 ms before the first byte", place.rounds(5, 3))
    origin = origins.thoughtful(place.dir, place.nginx.www)
    try:
        url = origin.url + "/20"
        runs = small_files(place, "W1L", result, count, 10240, url, more=[Bare(place)])
    finally:
        origin.end()
    floor = count / 10 * 0.020
    result.table.append(("the floor", f"{floor:.3g} s", f"{floor / seconds(runs, 'autodl'):.2f}"))
    result.notes.append("The origin is in Python and the machine has other work: what bare sockets"
                        " take is the floor that is there.")
    result.claim("time / the floor", seconds(runs, "autodl") / floor, "<=", 1.05, 1.0125)
    return result


def w2(place):
    """20,000 files of 1 KiB"""
    count = 4000 if place.short else 20000
    result = Result("W2", f"{count:,} files of 1 KiB", place.rounds(5, 3))
    runs = small_files(place, "W2", result, count, 1024, once={"aria2"})
    if "wget2" in runs:
        ratio = seconds(runs, "wget2") / seconds(runs, "autodl")
        result.claim("speed / wget2's", ratio, ">=", 1.2, 2)
    rss = median(run.rss for run in runs["autodl"]) / processes.MIB
    result.claim("peak RSS of all processes", rss, "<=", 50, unit=" MiB")
    return result


def large_size(place, most):
    """Served from memory, so a quarter of that at most."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    size = min(most, GIB if place.short else most)
    while size > memory // 4:
        size //= 2
    return size


def w3(place):
    """one file of 4 GiB"""
    size = large_size(place, 4 * GIB)
    name = place.nginx.large_file(size)
    jobs = [(f"{place.nginx.url}/{name}", name)]
    result = Result("W3", f"one file of {size / GIB:g} GiB", place.rounds(5, 5))
    contestants = [Autodl(place), Dd(place), Wget2(place, synced=True), Curl(place)]
    fast = Aria2(place, "aria2 -x16", ["-x16", "-s16", "-k1M"])
    if not place.short:
        contestants += [fast, Aria2(place)]
    runs = interleave(place, "W3", contestants, jobs, result.rounds, once={"aria2"}, large=True)
    result.compare(runs, gib=size / GIB)
    ours = seconds(runs, "autodl")
    result.claim("speed / dd conv=fsync's", seconds(runs, "dd") / ours, ">=", 0.95, 1)
    if "wget2 + sync" in runs:
        result.claim("speed / (wget2; sync)'s", seconds(runs, "wget2 + sync") / ours, ">=", 1.2)
    result.claim("CPU s/GiB", cpu(runs, "autodl") / (size / GIB), "<=", 0.9, 0.7)
    return result


def w8(place):
    """1 GiB over https"""
    size = large_size(place, GIB)
    result = Result("W8", f"https, one file of {size / GIB:g} GiB", place.rounds(5, 5))
    if not place.nginx.certificate:
        result.notes.append("openssl is not installed, or makes no certificate: skipped")
        return result
    name = place.nginx.large_file(size)
    jobs = [(f"{place.nginx.tls_url}/{name}", name)]
    contestants = [Autodl(place, ["--ca-file", place.nginx.certificate]), Curl(place)]
    contestants.append(Wget2(place))
    if not place.short:
        contestants.append(Aria2(place, "aria2 -x16", ["-x16", "-s16", "-k1M"]))
    runs = interleave(place, "W8", contestants, jobs, result.rounds, large=True)
    result.compare(runs, gib=size / GIB)
    if "curl" in runs:
        ratio = seconds(runs, "curl") / seconds(runs, "autodl")
        result.claim("speed / curl's", ratio, ">=", 1.15, 1.4)
    result.claim("CPU s/GiB", cpu(runs, "autodl") / (size / GIB), "<=", 2.0, 1.6)
    return result
