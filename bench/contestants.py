"""Who competes: each fetches a list of jobs, (url, name), into a directory, 10 at once."""

import base64
import http.client
import json
import os
import socket
import time
import urllib.parse
from dataclasses import dataclass

import load
import origins
import processes

AT_ONCE = 10
POLL = 0.005
BATCH = 10000
CLI_BATCH = 1000  # as many as `autodl add -i` sends at a time


@dataclass
class Run:
    seconds: float
    cpu: float  # seconds, of all the contestant's processes
    rss: int  # bytes, the peak


class Failed(Exception):
    pass


def wait_until(condition, what, timeout=600):
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise Failed(f"waited {timeout} s for {what}")
        time.sleep(POLL)


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=120)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Autodl:
    """autodl-service with nothing configured but where it listens; in user mode."""

    name = "autodl"

    def __init__(self, place, options=(), user=None):
        self.place, self.options, self.user = place, list(options), user
        self.process = self.connection = None

    def missing(self):
        return None

    def start(self, directory, state=None):
        """`state`: a state directory of before."""
        self.dir = processes.make_directory(directory)
        self.state = state or processes.make_directory(f"{directory}/state")
        run = processes.make_directory(f"{directory}/run")
        self.socket = f"{run}/s"
        self.log = f"{directory}/log"
        self.restart()
        return self

    def restart(self):
        home = processes.make_directory(f"{self.dir}/home")
        env = {"HOME": home, "PATH": os.environ["PATH"], "XDG_CONFIG_HOME": home}
        argv = [self.place.service, "--listen", "none", "--socket", self.socket]
        argv += ["--state-dir", self.state, "--log-level", "warning", *self.options]
        self.process = processes.start(argv, self.log, env, user=self.user)
        self.connection = None
        wait_until(self.answers, f"the service; see {self.log}", 60)
        return self

    def answers(self):
        if self.process.poll() is not None:
            raise Failed(f"the service ended; see {self.log}")
        try:
            self.counts()
            return True
        except OSError:
            self.connection = None
            return False

    def stop(self):
        if self.process:
            processes.end(self.process)
            self.process = None

    def kill(self):
        processes.kill(self.process)
        self.process = None

    def pids(self):
        return processes.tree(self.process.pid)

    def ask(self, method, path, body=None, user=None):
        if not self.connection:
            self.connection = UnixConnection(self.socket)
        headers = {}
        if body is not None:
            body, headers["Content-Type"] = json.dumps(body), "application/json"
        if user:
            headers["Authorization"] = "Basic " + base64.b64encode(f"{user}:".encode()).decode()
        self.connection.request(method, path, body, headers)
        answer = self.connection.getresponse()
        content = json.loads(answer.read() or b"null")
        if answer.status // 100 != 2:
            raise Failed(f"{method} {path}: {answer.status} {content}")
        return content

    def hang_up(self):
        if self.connection:
            self.connection.close()
            self.connection = None

    def counts(self):
        return self.ask("GET", "/stats")["tasks"]

    def add(self, tasks, user=None, at_once=BATCH):
        """Durably; -> the tasks as the service has them."""
        added = []
        for i in range(0, len(tasks), at_once):
            body = {"tasks": tasks[i : i + at_once]}
            added += self.ask("POST", "/v1/tasks", body, user)["tasks"]
        return added

    def wait_finished(self, count, timeout=600):
        def finished():
            counts = self.counts()
            if counts["FAILED"]:
                failed = self.ask("GET", "/v1/tasks?status=FAILED&limit=1")["tasks"]
                raise Failed(f"{counts['FAILED']} downloads failed: {failed}")
            return counts["FINISHED"] >= count

        wait_until(finished, f"{count} files", timeout)

    def pause(self):
        self.ask("POST", "/v1/pause", {"scope": "all"})

    def resume(self):
        self.ask("POST", "/v1/resume", {"scope": "all"})

    def run(self, jobs, directory):
        self.start(f"{directory}.autodl")
        try:
            tasks = [{"url": url, "directory": directory, "name": name} for url, name in jobs]
            pids = self.pids()
            cpu, begun = processes.cpu(pids), time.monotonic()
            self.add(tasks, at_once=CLI_BATCH)
            self.wait_finished(len(jobs))
            seconds = time.monotonic() - begun
            pids = self.pids()  # the filer has come
            return Run(seconds, processes.cpu(pids) - cpu, processes.rss(pids))
        finally:
            self.stop()


class Aria2:
    """The daemon, asked by JSON-RPC; `options` as users give them for speed."""

    def __init__(self, place, name="aria2", options=()):
        self.place, self.name, self.options = place, name, list(options)
        self.process = None

    def missing(self):
        return None if origins.find("aria2c") else "aria2c is not installed"

    def start(self, directory):
        self.dir = processes.make_directory(directory)
        self.restart()
        return self

    def restart(self, more=()):
        self.port = origins.free_port()
        argv = [origins.find("aria2c"), "--no-conf", "--enable-rpc", "--quiet"]
        argv += [f"--rpc-listen-port={self.port}", "--file-allocation=none"]
        argv += [f"--max-concurrent-downloads={AT_ONCE}", "--max-download-result=2000000"]
        argv += ["--disable-ipv6", "--rpc-max-request-size=256M", *self.options, *more]
        if self.place.nginx.certificate:
            argv.append("--ca-certificate=" + self.place.nginx.certificate)
        log = f"{self.dir}/log"
        self.process = processes.start(argv, log, {"HOME": self.dir, "PATH": os.environ["PATH"]})
        origins.wait_for_port(self.port, self.process, log)
        self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)

    def stop(self):
        if self.process:
            processes.end(self.process)
            self.process = None

    def kill(self):
        processes.kill(self.process)
        self.process = None

    def ask(self, method, *parameters):
        body = {"jsonrpc": "2.0", "id": "1", "method": method, "params": parameters}
        self.connection.request("POST", "/jsonrpc", json.dumps(body))
        content = json.loads(self.connection.getresponse().read())
        if "error" in content:
            raise Failed(f"aria2 {method}: {content['error']}")
        return content["result"]

    def add(self, jobs, directory, options={}):
        for i in range(0, len(jobs), BATCH):
            calls = [
                {
                    "methodName": "aria2.addUri",
                    "params": [[url], {"dir": directory, "out": name, **options}],
                }
                for url, name in jobs[i : i + BATCH]
            ]
            self.ask("system.multicall", calls)

    def counts(self):
        return {key: int(n) for key, n in self.ask("aria2.getGlobalStat").items()}

    def wait_finished(self, count, timeout=600):
        def finished():
            return self.counts()["numStopped"] >= count

        wait_until(finished, f"{count} files of aria2", timeout)

    def run(self, jobs, directory):
        self.start(f"{directory}.aria2")
        try:
            pids = [self.process.pid]
            cpu, begun = processes.cpu(pids), time.monotonic()
            self.add(jobs, directory)
            self.wait_finished(len(jobs))
            seconds = time.monotonic() - begun
            return Run(seconds, processes.cpu(pids) - cpu, processes.rss(pids))
        finally:
            self.stop()


class Program:
    """One that ends when it is done, timed from its start. It keeps no queue and syncs nothing."""

    def __init__(self, place, suffix=""):
        self.place, self.name = place, self.program + suffix

    def missing(self):
        return None if origins.find(self.program) else f"{self.program} is not installed"

    def run(self, jobs, directory):
        side = processes.make_directory(f"{directory}.{self.program}")
        argv = self.arguments(jobs, directory, side)
        env = {"HOME": side, "PATH": os.environ["PATH"]}
        code, seconds, cpu, rss = processes.run(argv, f"{side}/log", env)
        if code:
            raise Failed(f"{argv} ended with {code}; see {side}/log")
        return Run(seconds, cpu, rss)


class Curl(Program):
    program = "curl"

    def arguments(self, jobs, directory, side):
        with open(f"{side}/list", "w") as file:
            for url, name in jobs:
                file.write(f'url = "{url}"\noutput = "{directory}/{name}"\n')
        argv = [origins.find("curl"), "-q", "-s", "-S", "--fail", "--parallel"]
        argv += ["--parallel-max", str(AT_ONCE), "-K", f"{side}/list"]
        if self.place.nginx.certificate:
            argv += ["--cacert", self.place.nginx.certificate]
        return argv


class Wget2(Program):
    """Names files as the URL does: jobs have to as well."""

    program = "wget2"

    def __init__(self, place, synced=False):
        super().__init__(place, " + sync" if synced else "")
        self.synced = synced

    def arguments(self, jobs, directory, side):
        with open(f"{side}/list", "w") as file:
            file.writelines(url + "\n" for url, _ in jobs)
        argv = [origins.find("wget2"), "-q", f"--max-threads={AT_ONCE}", "--no-robots"]
        argv += ["-P", directory, "-i", f"{side}/list"]
        if self.place.nginx.certificate:
            argv += ["--ca-certificate=" + self.place.nginx.certificate]
        if not self.synced:
            return argv
        files = [f"{directory}/{name}" for _, name in jobs]
        return ["sh", "-c", '"$@" && exec sync ' + " ".join(files), "sh", *argv]


class Bare:
    """Ten sockets that ask and write, and do nothing else, in one thread: what the origin can."""

    name = "bare sockets"

    def __init__(self, place):
        pass

    def missing(self):
        return None

    def run(self, jobs, directory):
        address = urllib.parse.urlsplit(jobs[0][0])
        requests = []
        for url, name in jobs:
            path = urllib.parse.urlsplit(url).path
            requests.append((f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode(), name))

        def keep(name, body):
            with open(f"{directory}/{name}", "wb") as file:
                file.write(body)

        cpu = time.process_time()
        seconds = load.each(load.tcp(address.port), requests, AT_ONCE, keep)
        return Run(seconds, time.process_time() - cpu, 0)


class Dd(Program):
    """What the disk can: a copy of the file that nginx serves, synced."""

    program = "dd"

    def arguments(self, jobs, directory, side):
        (url, name), = jobs
        source = f"{self.place.nginx.www}/{url.rpartition('/')[2]}"
        return ["dd", f"if={source}", f"of={directory}/{name}", "bs=1M", "conv=fsync"]
