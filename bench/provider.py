"""Every provider's stand-in on loopback, in a process of its own: it takes whatever comes. `python -m bench.provider`.

    POST …          answered as the provider at that path documents it
    GET /taken      {"requests": n, "mails": n}

Prints the ports for HTTP and SMTP. It does as little as a server can, because its processor time is taken from the adapters'.
"""

from __future__ import annotations

import asyncio
import json
import signal
from typing import cast

import uvloop

from bench.sink import Arrivals, Provider, answer

ID = "0100018c-bench"
ANSWERS = {
    "/v2/email/outbound-emails": {"MessageId": ID},
    "/v3/mail/send": {},
    "/email": {"ErrorCode": 0, "Message": "OK", "MessageID": ID},
    "/email/batch": [{"ErrorCode": 0, "Message": "OK", "MessageID": ID}] * 500,
    "/v3/bench.example/messages": {"id": f"<{ID}@bench.example>", "message": "Queued. Thank you."},
    "/emails": {"id": ID},
    "/v3/smtp/email": {"messageId": f"<{ID}@bench.example>"},
}
"""What each path answers; any other an empty object."""

READY = {path.encode(): answer(json.dumps(told).encode()) for path, told in ANSWERS.items()}
OTHER = answer(b"{}")


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
        if head.startswith(b"POST"):
            self.counts.requests += 1
            self.transport.write(READY.get(path, OTHER))
        else:
            self.transport.write(answer(json.dumps(vars(self.counts)).encode()))


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
    smtp = await loop.create_server(lambda: Smtp(counts), "127.0.0.1", 0, backlog=1024)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    print(http.sockets[0].getsockname()[1], smtp.sockets[0].getsockname()[1], flush=True)
    await stop.wait()
    http.close()
    smtp.close()


if __name__ == "__main__":
    uvloop.run(serve())
