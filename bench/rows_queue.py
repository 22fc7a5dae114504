"""Rows about tasks that wait: W6 (adding), W6Q and W7 (many of them), a million, two users, idling."""

import os
import shutil
import sqlite3
import sys
import time

import load
import origins
import processes
from contestants import BATCH, Aria2, Autodl, UnixConnection, wait_until
from report import Result, median

MIB = processes.MIB
MANY = ["--max-waiting-per-user", "4000000"]


def progress(text):
    print(text, file=sys.stderr, flush=True)


def tasks_for(place, count, directory, first=0):
    """Tasks that could run: small files of nginx, each under a name of its own."""
    folder = place.nginx.small_files(2000, 10240)
    url = f"{place.nginx.url}/{folder}"
    return [
        {"url": f"{url}/{origins.small_name(i % 2000)}?{i}", "directory": directory, "name": f"n{i}"}
        for i in range(first, first + count)
    ]


# --- W6 ---


def sqlite_commits(directory, count=300):
    """One commit each, as durable as ours: what the disk and SQLite can."""
    connection = sqlite3.connect(f"{directory}/commits.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE IF NOT EXISTS t (row INTEGER PRIMARY KEY, text TEXT)")
    begun = time.monotonic()
    for _ in range(count):
        connection.execute("INSERT INTO t (text) VALUES (?)", ("x" * 300,))
    seconds = time.monotonic() - begun
    connection.close()
    return count / seconds


def autodl_adds(place, connections, count):
    directory = place.new_directory(f"W6-{connections}")
    autodl = Autodl(place).start(f"{directory}.autodl")
    try:
        autodl.pause()
        requests = list(map(load.autodl_request, tasks_for(place, count, directory)))
        return load.adds(load.unix(autodl.socket), requests, connections)
    finally:
        autodl.stop()


def autodl_batches(place, count):
    directory = place.new_directory("W6-batches")
    autodl = Autodl(place).start(f"{directory}.autodl")
    try:
        autodl.pause()
        bodies = []
        for i in range(0, count, BATCH):
            bodies.append(load.autodl_request({"tasks": tasks_for(place, BATCH, directory, i)}))
        return load.adds(load.unix(autodl.socket), bodies, 1) * BATCH
    finally:
        autodl.stop()


def aria2_adds(place, connections, count):
    directory = place.new_directory("W6-aria2")
    aria2 = Aria2(place).start(f"{directory}.aria2")
    try:
        options = {"pause": "true", "dir": directory}
        requests = [load.aria2_request("aria2.addUri", [task["url"]], {**options, "out": task["name"]})
                    for task in tasks_for(place, count, directory)]
        return load.adds(load.tcp(aria2.port), requests, connections)
    finally:
        aria2.stop()


def client_alone(place, connections, count):
    """What our own client can, against nginx."""
    folder = place.nginx.small_files(2000, 1024)
    names = (origins.small_name(i % 2000) for i in range(count))
    requests = [f"GET /{folder}/{name} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode() for name in names]
    return load.adds(load.tcp(place.nginx.port), requests, connections)


def w6(place):
    """adds acknowledged per second, durably, over 1, 8 and 64 connections; in batches"""
    result = Result("W6", "adds/s acknowledged", place.rounds(5, 3))
    have_aria2 = not Aria2(place).missing()
    ways = {
        "SQLite FULL": lambda: sqlite_commits(place.new_directory("W6-sqlite")),
        "client, 64": lambda: client_alone(place, 64, 20000),
        "autodl, 1": lambda: autodl_adds(place, 1, 500),
        "autodl, 8": lambda: autodl_adds(place, 8, 3000),
        "autodl, 64": lambda: autodl_adds(place, 64, 20000),
        "autodl, batches": lambda: autodl_batches(place, 50000),
    }
    if have_aria2:
        ways["aria2, 8"] = lambda: aria2_adds(place, 8, 3000)
        ways["aria2, 1"] = lambda: aria2_adds(place, 1, 2000)
    rates = {name: [] for name in ways}
    for number in range(result.rounds):
        for name, way in ways.items():
            os.sync()
            rates[name].append(way())
            progress(f"W6 round {number + 1}/{result.rounds}: {name} {rates[name][-1]:,.0f}/s")
    rates = {name: median(of_one) for name, of_one in rates.items()}
    base = rates["SQLite FULL"]
    for name, rate in rates.items():
        result.table.append((name, f"{rate:,.0f}/s", f"{rate / base:.2f}"))
    result.notes.append("Here x is the rate as a multiple of SQLite's commits; aria2's are not durable;"
                        " client: what our own client reaches against nginx.")
    result.claim("1 connection / SQLite FULL commits", rates["autodl, 1"] / base, ">=", 0.8)
    result.claim("8 connections / SQLite FULL commits", rates["autodl, 8"] / base, ">=", 4)
    if have_aria2:
        result.claim("64 connections / aria2's 8", rates["autodl, 64"] / rates["aria2, 8"], ">=", 4, 8)
    result.claim("tasks in batches", rates["autodl, batches"], ">=", 30000, 60000, unit="/s")
    return result


# --- many that wait ---


class Filled:
    """A state directory with so many waiting tasks, which services may be started on copies of."""

    def __init__(self, place, count):
        self.place, self.count = place, count
        base = f"{place.dir}/filled-{count}"
        self.directory = processes.make_directory(f"{base}/files")
        autodl = Autodl(place, MANY).start(f"{base}/autodl")
        autodl.pause()
        self.empty_rss = processes.rss(autodl.pids(), "VmRSS")
        self.ids = []
        for first in range(0, count, BATCH):
            tasks = tasks_for(place, min(BATCH, count - first), self.directory, first)
            self.ids += [task["id"] for task in autodl.add(tasks)][:: max(1, count // 5000)]
        time.sleep(1)
        self.rss = processes.rss(autodl.pids(), "VmRSS")
        autodl.stop()
        self.state = autodl.state
        self.starts = 0

    def start(self):
        """-> a service on a copy, paused, and how long its start took. Its files go to an empty
        directory."""
        self.starts += 1
        if os.listdir(self.directory):
            os.rename(self.directory, f"{self.directory}.{self.starts}")
            processes.make_directory(self.directory)
        base = self.place.new_directory(f"filled-{self.count}")
        state = processes.make_directory(f"{base}/state")
        for name in os.listdir(self.state):
            if os.path.isfile(f"{self.state}/{name}"):
                shutil.copy(f"{self.state}/{name}", f"{state}/{name}")
                processes.own(f"{state}/{name}")
        os.sync()
        autodl = Autodl(self.place, MANY)
        begun = time.monotonic()
        autodl.start(base, state)
        seconds = time.monotonic() - begun
        assert autodl.counts()["ENQUEUED"] == self.count, autodl.counts()
        return autodl, seconds


def filled(place, count):
    if count not in place.filled:
        progress(f"filling a queue with {count:,} tasks")
        place.filled[count] = Filled(place, count)
    return place.filled[count]


def status_time(autodl, ids, times=300):
    paths = (f"/status?task_id={ids[i * 7 % len(ids)]}" for i in range(times))
    return median(load.waits(load.unix(autodl.socket), map(load.get_request, paths)))


def page_time(autodl, times=100):
    request = load.get_request("/v1/tasks?limit=100")
    return median(load.waits(load.unix(autodl.socket), [request] * times))


def w6q(place):
    """memory of 100,000 and of 1,000,000 waiting tasks"""
    few, many = 100000, place.many
    counts = sorted({few, many})
    result = Result("W6Q", " and ".join(f"{count:,}" for count in counts) + " waiting tasks", 1)
    for count in counts:
        queue = filled(place, count)
        autodl, _ = queue.start()
        try:
            rss = processes.rss(autodl.pids(), "VmRSS")
        finally:
            autodl.stop()
        ours = rss if count == few else ours
        each = (rss - queue.empty_rss) / count
        grown = (queue.rss - queue.empty_rss) / count
        result.table.append((f"autodl, {count:,}", f"{rss / MIB:.1f} MiB ({each:.0f} B each) after a"
                             f" restart; {queue.rss / MIB:.1f} MiB ({grown:.0f} B each) after adding"
                             " them", f"{rss / ours:.2f}"))
        result.claim(f"RSS with {count:,}", rss / MIB, "<=", 30 if count == few else 120, unit=" MiB")
        result.claim(f"RSS of each of {count:,}", each, "<=", 100, 32, unit=" B")
    if not Aria2(place).missing() and not place.short:
        aria2 = aria2_filled(place, few)
        theirs = processes.rss([aria2.process.pid], "VmRSS")
        aria2.stop()
        result.table.append((f"aria2, {few:,}", f"{theirs / MIB:.0f} MiB", f"{theirs / ours:.1f}"))
    result.notes.append("RSS is that of monitor and service; the queue's own count of bytes (≤ 64 a"
                        " task) is held to by tests/check_queue.")
    return result


def aria2_filled(place, count):
    directory = place.new_directory("aria2-filled")
    aria2 = Aria2(place).start(f"{directory}.aria2")
    jobs = [(task["url"], task["name"]) for task in tasks_for(place, count, directory)]
    aria2.add(jobs, directory, {"pause": "true"})
    return aria2


def export(autodl):
    """All pages, as one connection reads them, while another asks for one task again and again."""
    other = UnixConnection(autodl.socket)
    after, pages, spent, begun = None, 0, [], time.monotonic()
    some = autodl.ask("GET", "/v1/tasks?limit=1")["tasks"][0]["id"]
    while pages == 0 or after:
        path = "/v1/tasks?limit=1000" + (f"&after={after}" if after else "")
        other.request("GET", path)
        asked = time.perf_counter()
        autodl.ask("GET", f"/status?task_id={some}")
        spent.append((time.perf_counter() - asked) * 1000)
        content = other.getresponse().read()
        after = content[content.rindex(b'"next":') + 7 :].strip(b' "}\n').decode()
        after = None if after == "null" else after
        pages += 1
    return pages, time.monotonic() - begun, max(spent)


def w7(place):
    """status of one of very many tasks, a page of 100, all of them"""
    count = place.many
    result = Result("W7", f"asked with {count:,} waiting", 1)
    queue = filled(place, count)
    autodl, _ = queue.start()
    try:
        status_time(autodl, queue.ids)
        status = status_time(autodl, queue.ids)
        page = page_time(autodl)
        pages, seconds, slowest = export(autodl)
    finally:
        autodl.stop()
    result.table.append(("autodl, status", f"{status:.3f} ms", "1.00"))
    result.table.append(("autodl, page", f"{page:.3f} ms", f"{page / status:.2f}"))
    result.table.append(("autodl, export", f"{seconds:.2f} s, {pages} pages of 1000; slowest status"
                         f" meanwhile {slowest:.2f} ms", f"{seconds * 1000 / status:,.0f}"))
    if not Aria2(place).missing() and not place.short:
        aria2 = aria2_filled(place, 100000)
        gid = aria2.ask("aria2.tellWaiting", 0, 1)[0]["gid"]
        request = load.aria2_request("aria2.tellStatus", gid)
        theirs = median(load.waits(load.tcp(aria2.port), [request] * 100))
        begun = time.monotonic()
        aria2.ask("aria2.tellWaiting", 0, 100000)
        whole = time.monotonic() - begun
        aria2.stop()
        result.table.append(("aria2, status", f"{theirs:.3f} ms", f"{theirs / status:.2f}"))
        result.table.append(("aria2, list", f"{whole:.2f} s for 100,000, API stalled",
                             f"{whole * 1000 / status:,.0f}"))
    result.notes.append("Seen by a client in Python, which sends bytes and reads bytes; x: as a multiple"
                        " of autodl's status.")
    result.claim("status", status, "<=", 0.2, unit=" ms")
    result.claim("page of 100", page, "<=", 1, unit=" ms")
    result.claim("slowest status during a whole export", slowest, "<=", 20, unit=" ms")
    return result


def figures(queue):
    """One service on this queue, and what everything takes there, in ms."""
    autodl, start = queue.start()
    try:
        spent = {"start-up": start * 1000}
        status_time(autodl, queue.ids, 100)
        spent["status"] = status_time(autodl, queue.ids)
        spent["page"] = page_time(autodl)
        more = tasks_for(queue.place, 2000, queue.directory, queue.count)
        rate = load.adds(load.unix(autodl.socket), list(map(load.autodl_request, more)), 8)
        spent["add"] = 1000 / rate
        drained = 2000
        begun = time.monotonic()
        autodl.resume()
        autodl.wait_finished(drained, 60)
        spent["pop and fetch"] = (time.monotonic() - begun) * 1000 / drained
        return spent
    finally:
        autodl.stop()


def million(place):
    """1,000,000 waiting: start-up; add, status, pop, page beside those with 10,000"""
    few, many = 10000, place.many
    result = Result("million", f"{many:,} waiting beside {few:,}", place.rounds(3, 1))
    found = {few: [], many: []}
    for number in range(result.rounds):
        for count in (few, many):
            found[count].append(figures(filled(place, count)))
            progress(f"million round {number + 1}/{result.rounds}: {count:,}: "
                     + ", ".join(f"{key} {ms:.3g} ms" for key, ms in found[count][-1].items()))
    for what in found[few][0]:
        one, other = (median(figure[what] for figure in found[count]) for count in (few, many))
        result.table.append((what, f"{one:.3g} ms with {few:,}, {other:.3g} ms with {many:,}",
                             f"{other / one:.2f}"))
        if what == "start-up":
            result.claim(f"start-up with {many:,}", other / 1000, "<=", 2, unit=" s")
        else:
            result.claim(f"{what}, with {many:,} / with {few:,}", other / one, "<=", 2)
    result.notes.append("Here x is the time with many as a multiple of that with few.")
    return result


# --- two users ---


def users(place):
    """two users, one with 100,000 waiting: when the other's one small task starts"""
    count = 20000 if place.short else 100000
    result = Result("users", f"a task beside {count:,} of another user", place.rounds(7, 5))
    if os.geteuid() != 0:
        result.notes.append("Only root can start a service for several users: skipped.")
        return result
    import pwd

    alice, bob = pwd.getpwnam("games"), pwd.getpwnam("www-data")
    base = place.new_directory("users")
    state = processes.make_directory(f"{base}/state")
    run_as = pwd.getpwnam("backup")
    os.chown(state, run_as.pw_uid, run_as.pw_gid)
    options = MANY + ["--run-as", "backup", "--first-uid", "1"]
    directories = {}
    for user in (alice, bob):
        directories[user] = f"{base}/{user.pw_name}"
        os.mkdir(directories[user])
        os.chown(directories[user], user.pw_uid, user.pw_gid)
    folder = place.nginx.small_files(2000, 10240)
    origin = origins.thoughtful(place.dir, place.nginx.www)
    os.makedirs(f"{base}/run", exist_ok=True)
    autodl = Autodl(place, options, user={})
    delay = 300
    try:
        os.chown(processes.make_directory(f"{base}/run"), run_as.pw_uid, run_as.pw_gid)
        autodl.dir, autodl.state, autodl.socket, autodl.log = base, state, f"{base}/run/s", f"{base}/log"
        autodl.restart()

        def task(i, user):
            url = f"{origin.url}/{delay}/{folder}/{origins.small_name(i % 2000)}"
            return {"url": url, "directory": directories[user], "name": f"n{i}"}

        for i in range(0, count, BATCH):
            autodl.add([task(n, alice) for n in range(i, i + BATCH)], alice.pw_name)
        waited, took = [], []
        for number in range(result.rounds):
            begun = time.monotonic()
            added = autodl.add([task(number, bob)], bob.pw_name)[0]
            path = f"/v1/tasks/{added['id']}"
            wait_until(lambda: autodl.ask("GET", path)["status"] != "ENQUEUED", "bob's task", 60)
            waited.append(time.monotonic() - begun)
            wait_until(lambda: autodl.ask("GET", path)["status"] == "FINISHED", "bob's task", 60)
            took.append(time.monotonic() - begun - waited[-1])
            progress(f"users round {number + 1}/{result.rounds}: started after {waited[-1]:.3f} s")
        took = median(took)
        result.table.append(("one task", f"{took:.3g} s, {delay} ms of that at the origin", "1.00"))
        result.table.append(("until ours starts", f"{median(waited):.3g} s"
                             f" ({min(waited):.3g}–{max(waited):.3g})", f"{median(waited) / took:.2f}"))
        result.notes.append("Here x is the time as a multiple of one task's.")
        result.claim("the longest of these waits / one task's time", max(waited) / took, "<=", 1)
    finally:
        autodl.stop()
        origin.end()
    return result


# --- idle ---


def idle_figures(pids, seconds):
    cpu, switches = processes.cpu(pids), processes.switches(pids)
    time.sleep(seconds)
    return {
        "PSS": (processes.pss(pids) or 0) / MIB,
        "CPU": (processes.cpu(pids) - cpu) / seconds * 100,
        "wake-ups": (processes.switches(pids) - switches) / seconds,
    }


def idle(place):
    """idling: memory, wake-ups, CPU; with nothing and with 100,000 waiting"""
    seconds = 5 if place.short else 10
    result = Result("idle", "idling, and with 100,000 waiting", 1)
    directory = place.new_directory("idle")
    autodl = Autodl(place).start(f"{directory}.autodl")
    try:
        autodl.hang_up()  # the HTTP library looks at open connections each second
        time.sleep(3)
        ours = idle_figures(autodl.pids(), seconds)
    finally:
        autodl.stop()
    found = {"autodl": ours}
    autodl, _ = filled(place, 100000).start()
    try:
        autodl.hang_up()
        time.sleep(3)
        found["autodl, 100,000"] = idle_figures(autodl.pids(), seconds)
    finally:
        autodl.stop()
    if not Aria2(place).missing():
        aria2 = Aria2(place).start(f"{directory}.aria2")
        time.sleep(3)
        found["aria2"] = idle_figures([aria2.process.pid], seconds)
        aria2.stop()
    for name, figure in found.items():
        ratio = f"{figure['PSS'] / ours['PSS']:.2f}" if ours["PSS"] else "-"
        result.table.append((name, f"{figure['PSS']:.1f} MiB PSS, {figure['wake-ups']:.1f} wake-ups/s,"
                             f" {figure['CPU']:.2f} % CPU", ratio))
    result.notes.append("Here x is PSS as a multiple of autodl's.")
    if ours["PSS"]:
        result.claim("PSS of all processes", ours["PSS"], "<=", 14, unit=" MiB")
    else:
        result.notes.append("PSS of the service's processes is shown to root alone.")
    for name in ("autodl", "autodl, 100,000"):
        result.claim(f"wake-ups of {name}", found[name]["wake-ups"], "<=", 0, unit="/s")
        result.claim(f"CPU of {name}", found[name]["CPU"], "<=", 0, unit=" %")
    return result
