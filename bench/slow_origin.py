#!/usr/bin/env python3
"""A web server that waits before the first byte of each answer, which nginx cannot without a module.

    slow_origin.py ROOT

It prints its URL. /MS/PATH is the file ROOT/PATH after MS milliseconds. Plain sockets and select(),
which takes microseconds (with epoll all waits would be rounded up to milliseconds), and answers made
beforehand, since what it takes itself is added to each wait."""

import functools
import heapq
import itertools
import select
import socket
import sys
import time

ROOT = sys.argv[1]


@functools.lru_cache(maxsize=None)
def answer(path):
    try:
        with open(f"{ROOT}/{path}", "rb") as file:
            body, status = file.read(), b"200 OK"
    except OSError:
        body, status = b"", b"404 Not Found"
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n" % (status, len(body)) + body


class Origin:
    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.sockets = [self.listener]
        self.got = {}  # by socket: what came of a request
        self.due = []  # a heap of (when, number, socket, bytes)
        self.numbers = itertools.count()

    def accept(self):
        sock, _ = self.listener.accept()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sockets.append(sock)
        self.got[sock] = b""

    def forget(self, sock):
        self.sockets.remove(sock)
        del self.got[sock]
        sock.close()

    def read(self, sock, now):
        try:
            data = sock.recv(65536)
        except ConnectionError:
            data = b""
        if not data:
            self.forget(sock)
            return
        got = self.got[sock] + data
        while b"\r\n\r\n" in got:
            head, _, got = got.partition(b"\r\n\r\n")
            _, milliseconds, path = head.split(b" ", 2)[1].decode().split("/", 2)
            when = now + int(milliseconds) / 1000
            heapq.heappush(self.due, (when, next(self.numbers), sock, answer(path)))
        self.got[sock] = got

    def answer_due(self):
        while self.due and self.due[0][0] <= time.monotonic():
            _, _, sock, data = heapq.heappop(self.due)
            if sock in self.got:
                try:
                    sock.sendall(data)
                except ConnectionError:
                    self.forget(sock)

    def serve(self):
        while True:
            wait = max(0, self.due[0][0] - time.monotonic()) if self.due else None
            ready, _, _ = select.select(self.sockets, [], [], wait)
            now = time.monotonic()
            for sock in ready:
                if sock is self.listener:
                    self.accept()
                else:
                    self.read(sock, now)
            self.answer_due()


if __name__ == "__main__":
    origin = Origin()
    print("http://127.0.0.1:%d" % origin.listener.getsockname()[1], flush=True)
    try:
        origin.serve()
    except KeyboardInterrupt:
        pass
