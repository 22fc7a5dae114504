#!/usr/bin/env python3
"""Hands bytes on between a client and a server, and counts those that go to the client.

    relay.py PORT

It prints its URL; a line on its standard input is answered with the count so far."""

import asyncio
import sys

sent = 0


async def hand_on(reader, writer, counted):
    global sent
    try:
        while data := await reader.read(16384):
            writer.write(data)
            await writer.drain()
            if counted:
                sent += len(data)
    except OSError:
        pass
    writer.close()


async def on_client(reader, writer):
    there, back = await asyncio.open_connection("127.0.0.1", int(sys.argv[1]))
    await asyncio.gather(hand_on(reader, back, False), hand_on(there, writer, True))


async def main():
    server = await asyncio.start_server(on_client, "127.0.0.1", 0)
    print("http://127.0.0.1:%d" % server.sockets[0].getsockname()[1], flush=True)
    loop = asyncio.get_running_loop()
    while await loop.run_in_executor(None, sys.stdin.readline):
        print(sent, flush=True)


if __name__ == "__main__":
    asyncio.run(main())
