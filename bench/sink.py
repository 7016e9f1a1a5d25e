"""A provider on loopback, in a process of its own: it takes every message and counts idempotency keys. `python -m bench.sink`.

    POST anything        one message, answered 200 at once
    GET /arrivals        {key: [monotonic nanoseconds of the first arrival, how often it came]}
    GET /reached/N       answered when N different keys have come

It does as little as a server can, because its processor time is taken from the engine's.
"""

from __future__ import annotations

import asyncio
import json
import signal
import time
from typing import cast

import uvloop


class Arrivals:
    """What has come, and who waits for more."""

    def __init__(self) -> None:
        self.keys: dict[str, list[int]] = {}
        self.waiting: list[tuple[int, asyncio.Transport]] = []

    def note(self, key: str) -> None:
        """One message under `key`."""
        found = self.keys.get(key)
        if found is not None:
            found[1] += 1
            return
        self.keys[key] = [time.monotonic_ns(), 1]
        if self.waiting:
            self.tell()

    def tell(self) -> None:
        """Answer those whose number has been reached."""
        ready = [t for n, t in self.waiting if n <= len(self.keys)]
        self.waiting = [(n, t) for n, t in self.waiting if n > len(self.keys)]
        for transport in ready:
            transport.write(answer(b"{}"))


class Provider(asyncio.Protocol):
    """One connection, kept alive."""

    transport: asyncio.Transport

    def __init__(self, arrivals: Arrivals) -> None:
        self.arrivals = arrivals
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name

    def data_received(self, data: bytes) -> None:
        """Answer every request that has come whole."""
        self.buffer += data
        while True:
            end = self.buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self.buffer[:end]
            size = int(_header(head, b"content-length") or 0)
            if len(self.buffer) < end + 4 + size:
                return
            self.buffer = self.buffer[end + 4 + size :]
            self.take(head)

    def take(self, head: bytes) -> None:
        """One request."""
        if head.startswith(b"POST"):
            self.arrivals.note(_header(head, b"idempotency-key").decode())
            self.transport.write(answer(b"{}"))
            return
        path = head.split(b" ", 2)[1].decode()
        if path.startswith("/reached/"):
            self.arrivals.waiting.append((int(path.rpartition("/")[2]), self.transport))
            self.arrivals.tell()
        else:
            self.transport.write(answer(json.dumps(self.arrivals.keys).encode()))


def _header(head: bytes, name: bytes) -> bytes:
    for line in head.split(b"\r\n")[1:]:
        key, _, value = line.partition(b":")
        if key.lower() == name:
            return value.strip()
    return b""


def answer(body: bytes) -> bytes:
    """An HTTP answer with `body`."""
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


async def serve() -> None:
    """Serve on a free port, which is printed, until SIGTERM."""
    arrivals = Arrivals()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Provider(arrivals), "127.0.0.1", 0, backlog=1024)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    print(server.sockets[0].getsockname()[1], flush=True)
    await stop.wait()
    server.close()


if __name__ == "__main__":
    uvloop.run(serve())
