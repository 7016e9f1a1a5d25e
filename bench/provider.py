"""Every provider's stand-in on loopback, in a process of its own: it takes all messages. `python -m bench.provider`.

    GET /taken      {"requests": n, "mails": n}
    …/token         a token, which isn't counted
    all others      one message, or a batch; answered as `bench.adapters` says, or with 404

Prints the ports for HTTP/1.1, for HTTP/2 in the clear and for SMTP. It does as little as a server can, because its processor time
is taken from the adapters'.
"""

from __future__ import annotations

import asyncio
import json
import signal
from typing import cast

import uvloop
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, StreamEnded

from bench.adapters import ADAPTERS, UUID
from bench.sink import Arrivals, Provider, answer

READY = {path.encode(): answer(json.dumps(told).encode()) for case in ADAPTERS.values() for path, told in case.answers.items()}
MISSING = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"


class Counts:
    """What has come."""

    def __init__(self) -> None:
        self.requests = self.mails = 0


class Http(Provider):
    """One connection over HTTP."""

    def __init__(self, counts: Counts) -> None:
        super().__init__(Arrivals())
        self.counts = counts

    def take(self, head: bytes) -> None:
        """One request."""
        path = head.split(b" ", 2)[1]
        if path == b"/taken":
            self.transport.write(answer(json.dumps(vars(self.counts)).encode()))
            return
        self.counts.requests += not path.endswith(b"/token")
        self.transport.write(READY.get(path) or READY.get(path.rpartition(b"/")[0], MISSING))


class Http2(asyncio.Protocol):
    """One connection over HTTP/2, whose requests are answered with a status alone, as Apple does."""

    transport: asyncio.Transport

    def __init__(self, counts: Counts) -> None:
        self.counts, self.spoken = counts, H2Connection(H2Configuration(client_side=False))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say the settings."""
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name
        self.spoken.initiate_connection()
        self.transport.write(self.spoken.data_to_send())

    def data_received(self, data: bytes) -> None:
        """Answer every request that has come whole."""
        for event in self.spoken.receive_data(data):
            if isinstance(event, DataReceived):
                self.spoken.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, StreamEnded):
                self.counts.requests += 1
                self.spoken.send_headers(event.stream_id, [(":status", "200"), ("apns-id", UUID)], end_stream=True)
        self.transport.write(self.spoken.data_to_send())


class Smtp(asyncio.Protocol):
    """One connection over SMTP, which offers nothing and takes everything."""

    transport: asyncio.Transport

    def __init__(self, counts: Counts) -> None:
        self.counts, self.buffer, self.in_data = counts, b"", False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet."""
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name
        self.transport.write(b"220 bench\r\n")

    def data_received(self, data: bytes) -> None:
        """Answer every command, and every message that has come whole."""
        self.buffer += data
        while True:
            until = b"\r\n.\r\n" if self.in_data else b"\r\n"
            line, found, rest = self.buffer.partition(until)
            if not found:
                return
            self.buffer = rest
            self.say(line)

    def say(self, line: bytes) -> None:
        """The answer to a command, or to a message."""
        if self.in_data:
            self.in_data = False
            self.counts.mails += 1
            self.transport.write(b"250 taken\r\n")
        elif line.upper().startswith(b"DATA"):
            self.in_data = True
            self.transport.write(b"354 go on\r\n")
        elif line.upper().startswith(b"QUIT"):
            self.transport.write(b"221 bye\r\n")
            self.transport.close()
        else:
            self.transport.write(b"250 ok\r\n")


async def serve() -> None:
    """Serve on free ports, which are printed, until SIGTERM."""
    counts, loop, stop = Counts(), asyncio.get_running_loop(), asyncio.Event()
    http = await loop.create_server(lambda: Http(counts), "127.0.0.1", 0, backlog=1024)
    http2 = await loop.create_server(lambda: Http2(counts), "127.0.0.1", 0, backlog=1024)
    smtp = await loop.create_server(lambda: Smtp(counts), "127.0.0.1", 0, backlog=1024)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    servers = (http, http2, smtp)
    print(*(server.sockets[0].getsockname()[1] for server in servers), flush=True)
    await stop.wait()
    for server in servers:
        server.close()


if __name__ == "__main__":
    uvloop.run(serve())
