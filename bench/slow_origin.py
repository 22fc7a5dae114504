#!/usr/bin/env python3
"""A web server that waits before the first byte of each answer, which nginx cannot without a module.

    slow_origin.py ROOT

It prints its URL. /MS/PATH is the file ROOT/PATH after MS milliseconds."""

import asyncio
import selectors
import sys

ROOT = sys.argv[1]


class Connection(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.got = transport, b""

    def data_received(self, data):
        self.got += data
        while b"\r\n\r\n" in self.got:
            head, _, self.got = self.got.partition(b"\r\n\r\n")
            _, milliseconds, path = head.split(b" ", 2)[1].decode().split("/", 2)
            loop = asyncio.get_running_loop()
            loop.call_later(int(milliseconds) / 1000, self.answer, path)

    def answer(self, path):
        try:
            with open(f"{ROOT}/{path}", "rb") as file:
                body, status = file.read(), b"200 OK"
        except OSError:
            body, status = b"", b"404 Not Found"
        head = b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n" % (status, len(body))
        self.transport.write(head + body)


async def main():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Connection, "127.0.0.1", 0, backlog=1024)
    print("http://127.0.0.1:%d" % server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    try:
        # select() takes microseconds; with epoll all waits would be rounded up to milliseconds.
        asyncio.SelectorEventLoop(selectors.SelectSelector()).run_until_complete(main())
    except KeyboardInterrupt:
        pass
