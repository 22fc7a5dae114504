#!/usr/bin/env python3
"""A web server that limits each connection to a rate of its own, fairly: without a head start, and
whatever part of whatever file is asked for. For measuring what several connections gain; nginx's
limit_rate counts anew with each request, so that many small parts nearly escape it.

    fair_origin.py [--port N] [--rate BYTES_PER_SECOND] [--no-ranges] [--connections N]

It prints its URL. /SIZE/NAME is a file of SIZE bytes (suffixes K, M, G): always the same for the
same SIZE and NAME, with a strong ETag, Range and If-Range. `fair_origin.py --check FILE` compares a
file with what /SIZE/NAME gave, SIZE being its own."""

import argparse
import asyncio
import random
import re
import socket
import sys
import time

SLICE = 16384  # bytes sent at once, at the most
PERIOD = 1048573  # of the content, a prime: what is at the wrong place is seen
BLOCK = random.Random(6736).randbytes(PERIOD)
DOUBLE = BLOCK + BLOCK
UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def content(first, length):
    at = first % PERIOD
    return DOUBLE[at : at + length]


class Origin:
    def __init__(self, rate, ranges, connections):
        self.rate, self.ranges, self.connections = rate, ranges, connections
        self.open = 0

    async def pace(self, writer, first, end):
        """Sends bytes so that none is ahead of the connection's rate."""
        begun, sent = time.monotonic(), 0
        slice_size = max(1, min(SLICE, self.rate // 100)) if self.rate else 65536
        while first < end:
            length = min(slice_size, end - first)
            if self.rate:
                wait = begun + (sent + length) / self.rate - time.monotonic()
                if wait > 0:
                    await asyncio.sleep(wait)
            writer.write(content(first, length))
            await writer.drain()
            first, sent = first + length, sent + length

    async def answer(self, writer, method, target, headers):
        match = re.fullmatch(r"/(\d+)([KMG]?)/([^?]*)", target)
        if not match:
            writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            return
        size = int(match[1]) * UNITS[match[2]]
        etag = f'"{size}-{match[3]}"'
        first, end, status, more = 0, size, "200 OK", ""
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", headers.get("range", ""))
        if wanted and self.ranges and headers.get("if-range", etag) == etag:
            first = int(wanted[1])
            end = min(size, int(wanted[2]) + 1) if wanted[2] else size
            if first >= end:
                head = f"HTTP/1.1 416 No\r\nContent-Range: bytes */{size}\r\nContent-Length: 0\r\n\r\n"
                writer.write(head.encode())
                return
            status = "206 Partial Content"
            more = f"Content-Range: bytes {first}-{end - 1}/{size}\r\n"
        head = f"HTTP/1.1 {status}\r\nETag: {etag}\r\nContent-Length: {end - first}\r\n{more}\r\n"
        writer.write(head.encode())
        if method != "HEAD":
            await self.pace(writer, first, end)

    async def serve(self, reader, writer):
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                method, target, _ = head[0].split(" ", 2)
                headers = {k.lower(): v.strip() for k, _, v in (h.partition(":") for h in head[1:])}
                await self.answer(writer, method, target, headers)
                await writer.drain()
        except (asyncio.IncompleteReadError, OSError, ValueError):
            pass
        finally:
            writer.close()

    async def on_connection(self, reader, writer):
        if self.connections and self.open >= self.connections:
            writer.transport.abort()
            return
        self.open += 1
        if self.rate:  # what was sent is not far from what arrived
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32768)
            writer.transport.set_write_buffer_limits(high=16384)
        try:
            await self.serve(reader, writer)
        finally:
            self.open -= 1


def check(path):
    with open(path, "rb") as file:
        at = 0
        while piece := file.read(1 << 20):
            if piece != content(at, len(piece)):
                sys.exit(f"{path}: other bytes at {at} or soon after")
            at += len(piece)


async def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--rate", type=int, default=4 << 20, help="0: none (4 MiB)")
    parser.add_argument("--no-ranges", action="store_true")
    parser.add_argument("--connections", type=int, default=0, help="at most so many; 0: any")
    parser.add_argument("--check", metavar="FILE")
    options = parser.parse_args()
    if options.check:
        check(options.check)
        return
    origin = Origin(options.rate, not options.no_ranges, options.connections)
    server = await asyncio.start_server(origin.on_connection, "127.0.0.1", options.port, backlog=1024)
    print("http://127.0.0.1:%d" % server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        pass
