"""Sends requests over N connections at once, on each the next when the one before is answered.

One thread, requests made beforehand: some 20 µs of CPU for each, which who answers does not have
meanwhile. The same for all contestants."""

import json
import selectors
import socket
import time


def autodl_request(task):
    body = json.dumps(task)
    head = "POST /v1/tasks HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()


def aria2_request(method, *params):
    body = json.dumps({"jsonrpc": "2.0", "id": "1", "method": method, "params": params})
    head = "POST /jsonrpc HTTP/1.1\r\nHost: localhost\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()


class Answers:
    """Cuts what arrives on one connection into answers. The pieces of a long one are put together
    once, at its end."""

    def __init__(self):
        self.pieces, self.missing = [], None  # None: its head is not whole

    def push(self, data):
        """The body when an answer is whole, else None."""
        self.pieces.append(data)
        if self.missing is None:
            head, found, body = b"".join(self.pieces).partition(b"\r\n\r\n")
            if not found:
                return None
            if not head.startswith(b"HTTP/1.1 20"):
                raise RuntimeError(f"refused: {head[:200]!r} {body[:500]!r}")
            at = head.lower().index(b"content-length:") + 15
            self.pieces, self.missing = [body], int(head[at:].split(b"\r", 1)[0]) - len(body)
        else:
            self.missing -= len(data)
        if self.missing > 0:
            return None
        body = b"".join(self.pieces)
        self.pieces, self.missing = [], None
        return body


def each(connect, requests, connections, on_answer):
    """`connect`() gives a socket; of `requests`, (bytes, token), each connection has one under way,
    and on_answer(token, body) is called. -> seconds."""
    waiting = iter(requests)
    selector = selectors.EpollSelector()
    sockets = [connect() for _ in range(min(connections, len(requests)))]
    begun, left = time.monotonic(), len(requests)

    def ask(sock, answers):
        request, token = next(waiting, (None, None))
        answers.token = token
        if request:
            sock.sendall(request)

    for sock in sockets:
        answers = Answers()
        selector.register(sock, selectors.EVENT_READ, answers)
        ask(sock, answers)
    while left:
        for key, _ in selector.select():
            data = key.fileobj.recv(65536)
            if not data:
                raise RuntimeError("the connection was closed")
            body = key.data.push(data)
            if body is not None:
                left -= 1
                on_answer(key.data.token, body)
                ask(key.fileobj, key.data)
    seconds = time.monotonic() - begun
    selector.close()
    for sock in sockets:
        sock.close()
    return seconds


def waits(connect, requests):
    """One after the other over one connection. -> ms that each took."""
    sock, answers, spent = connect(), Answers(), []
    for request in requests:
        begun = time.perf_counter()
        sock.sendall(request)
        while answers.push(sock.recv(1 << 20)) is None:
            pass
        spent.append((time.perf_counter() - begun) * 1000)
    sock.close()
    return spent


def get_request(path):
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


def adds(connect, requests, connections):
    """-> acknowledged per second."""
    return len(requests) / each(connect, [(r, None) for r in requests], connections, lambda *_: None)


def unix(path):
    def connect():
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(path)
        return sock

    return connect


def tcp(port):
    def connect():
        sock = socket.create_connection(("127.0.0.1", port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    return connect
