"""What is downloaded from: nginx, a server that thinks before it answers, one that is slow."""

import os
import random
import shutil
import socket
import subprocess
import sys
import time

import fair_origin
import processes

HERE = os.path.dirname(os.path.abspath(__file__))
LARGE_BLOCK = 1 << 20

NGINX = """
worker_processes 1;
daemon off;
pid {dir}/pid;
error_log {dir}/log;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  sendfile on;
  keepalive_requests 10000000;
  default_type application/octet-stream;
  client_body_temp_path {dir}/t1;
  proxy_temp_path {dir}/t2;
  fastcgi_temp_path {dir}/t3;
  uwsgi_temp_path {dir}/t4;
  scgi_temp_path {dir}/t5;
  log_format uri '$uri';
  server {{
    listen 127.0.0.1:{port} backlog=1024;
    root {www};
    location /logged/ {{ alias {www}/; access_log {dir}/requests uri; }}
  }}
  {https}
}}
"""
HTTPS = """
  server {{
    listen 127.0.0.1:{tls_port} ssl;
    ssl_certificate {dir}/cert.pem;
    ssl_certificate_key {dir}/key.pem;
    root {www};
  }}
"""


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def find(program):
    return shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def wait_for_port(port, process, log):
    for _ in range(500):
        if process.poll() is not None:
            break
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.02)
    sys.exit(f"a server does not start: see {log}")


class Nginx:
    """Serves `www`; in there, small files (small_files) and large ones (large_file)."""

    def __init__(self, directory):
        self.dir = processes.make_directory(f"{directory}/nginx")
        self.www = processes.make_directory(f"{directory}/www")
        self.port, self.tls_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.certificate = None
        names = {"dir": self.dir, "www": self.www, "port": self.port, "tls_port": self.tls_port}
        https = HTTPS.format(**names) if self.make_certificate() else ""
        with open(f"{self.dir}/conf", "w") as file:
            file.write(NGINX.format(https=https, **names))
        log = f"{self.dir}/log"
        argv = [find("nginx"), "-e", log, "-p", self.dir, "-c", f"{self.dir}/conf"]
        self.process = processes.start(argv, f"{self.dir}/out")
        wait_for_port(self.port, self.process, log)

    def make_certificate(self):
        if not find("openssl"):
            return False
        argv = [find("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
        argv += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
        argv += ["-keyout", f"{self.dir}/key.pem", "-out", f"{self.dir}/cert.pem"]
        if subprocess.run(argv, capture_output=True).returncode:
            return False
        for name in ("key.pem", "cert.pem"):
            processes.own(f"{self.dir}/{name}")
        self.certificate = f"{self.dir}/cert.pem"
        self.tls_url = f"https://localhost:{self.tls_port}"
        return True

    def small_files(self, count, size):
        """-> the folder in www, names that are numbers: f00000, …"""
        folder = f"{count}x{size}"
        path = f"{self.www}/{folder}"
        if not os.path.isdir(path):
            processes.make_directory(path)
            source = random.Random(folder)
            for i in range(count):
                with open(f"{path}/{small_name(i)}", "wb") as file:
                    file.write(source.randbytes(size))
            os.sync()
        return folder

    def large_file(self, size):
        """-> its name in www. Each MiB of it is another one."""
        name = f"large-{size}"
        path = f"{self.www}/{name}"
        if not os.path.exists(path):
            block = random.Random(name).randbytes(LARGE_BLOCK)
            with open(path, "wb") as file:
                for i in range(size // LARGE_BLOCK):
                    file.write(i.to_bytes(8, "big") + block[8:])
            os.sync()
        return name

    def requests(self):
        """Paths asked for below /logged/, from the first on."""
        with open(f"{self.dir}/requests") as file:
            return file.read().split()


def small_name(i):
    return f"f{i:05}"


class Python:
    """A server in Python beside this file, that prints its URL."""

    def __init__(self, directory, script, *arguments, stdin=subprocess.DEVNULL):
        log = f"{directory}/{script}.log"
        argv = [sys.executable, f"{HERE}/{script}", *map(str, arguments)]
        user = {}  # the source may be where nobody else can read it
        self.process = processes.start(argv, log, stdin=stdin, stdout=subprocess.PIPE, user=user)
        self.url = self.process.stdout.readline().decode().strip()
        if not self.url:
            sys.exit(f"{script} does not start: see {log}")

    def end(self):
        processes.end(self.process)


def thoughtful(directory, root):
    return Python(directory, "slow_origin.py", root)


def fair(directory, rate):
    return Python(directory, "fair_origin.py", "--rate", rate)


def write_fair(path, size):
    """What fair_origin.py sends for a file of this size."""
    with open(path, "wb") as file:
        for at in range(0, size, 1 << 20):
            file.write(fair_origin.content(at, min(1 << 20, size - at)))
