"""A raw HTTP server on loopback that does exactly what a test says, bytes and all; conformance cases before it. Tests only."""

from __future__ import annotations

import asyncio
import inspect
import json
import socket
from abc import abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar, cast
from urllib.parse import parse_qs

from engine.delivery.channel import load_channel
from engine.delivery.testing import Behaviour, ChannelCases, Stage

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
"""Takes over the connection once a request has come."""


@dataclass(frozen=True)
class Request:
    """One request. `target`: path and query. `headers`: names in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @classmethod
    def read(cls, raw: bytes) -> Request:
        """The request that these bytes are."""
        head, _, body = raw.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ")
        return cls(method, target, {name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)}, body)

    @property
    def json(self) -> Any:
        """Its body as JSON."""
        return json.loads(self.body)

    @property
    def form(self) -> dict[str, list[str]]:
        """Its body as a form."""
        return parse_qs(self.body.decode(), keep_blank_values=True)


Reply = bytes | Callable[[Request], bytes] | Answer
"""What a server says: always the same, something for each request, or whatever it does with the connection."""


@dataclass
class Sink:
    """`arrived`: raw requests that came whole. `connections`: how many were opened."""

    port: int = 0
    arrived: list[bytes] = field(default_factory=list)
    connections: int = 0


def answer(status: int, body: bytes = b"", *headers: str) -> bytes:
    """The bytes of an HTTP answer."""
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def says(status: int, body: Any, *headers: str) -> bytes:
    """The bytes of an HTTP answer in JSON."""
    return answer(status, json.dumps(body).encode(), "Content-Type: application/json", *headers)


@asynccontextmanager
async def sink(reply: Reply) -> AsyncIterator[Sink]:
    """A server that reads each request whole and answers with `reply`, then goes on."""
    heard = Sink()
    tasks: set[asyncio.Task[None] | None] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.connections += 1
        tasks.add(asyncio.current_task())
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                lengths = [int(x.split(b":")[1]) for x in head.split(b"\r\n") if x.lower().startswith(b"content-length")]
                raw = head + await reader.readexactly(sum(lengths))
                heard.arrived.append(raw)
                if inspect.iscoroutinefunction(reply):
                    await cast(Answer, reply)(reader, writer)
                    return
                writer.write(reply if isinstance(reply, bytes) else cast(Callable[[Request], bytes], reply)(Request.read(raw)))
                await writer.drain()
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):  # the end of the connection or of the test
            return
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    heard.port = server.sockets[0].getsockname()[1]
    try:
        yield heard
    finally:
        server.close()
        for task in tasks:
            if task is not None:
                task.cancel()
        await asyncio.gather(*(t for t in tasks if t is not None), return_exceptions=True)


async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Never answer."""
    await reader.read()


async def break_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Hang up without an answer."""
    writer.transport.abort()


def free_port() -> int:
    """A port on loopback where nothing listens."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


USUAL: Mapping[Behaviour, Reply] = {
    "garbles": answer(200, b'{"cut": "of'),
    "busy": answer(429, b"slow down"),
    "busy_for": answer(429, b"slow down", "Retry-After: 7"),
    "fails": answer(500, b"<h1>oops</h1>"),
    "breaks_off": break_off,
    "hangs": hang,
    "nonsense": b"\x00\xff this is not HTTP\r\n\r\n",
}
"""What providers over HTTP do alike."""


class HttpCases(ChannelCases):
    """Every conformance case for an adapter whose provider is an HTTP API, with the provider's literal answers:

        class TestPost(HttpCases):
            use = "channels.post"                   # what is tested; `name`: what sojourn.yaml calls it ("email")
            settings: ClassVar = {"token": "t-9c"}  # without the base URL (the setting `base`, then `path`) and `timeout`
            secrets = ("t-9c",)

            def accepts(self, request):             # bytes; may look at the request, as for a batch
                return says(200, {"id": "m-1"})

            def refusal(self, words):               # for ever; also used to quote the secrets
                return says(422, {"error": words})

    `replies`: what it does otherwise than USUAL, by behaviour: {"busy": says(503, {…}, "Retry-After: 1")}. `heard(stage)` gives
    the requests. For the webhook set `told` and `max_age` and implement `notice`, as ChannelCases says."""

    use: ClassVar[str]
    name: ClassVar[str] = "email"
    base: ClassVar[str] = "base_url"
    settings: ClassVar[Mapping[str, object]] = {}
    path: ClassVar[str] = ""
    replies: ClassVar[Mapping[Behaviour, Reply]] = {}

    @abstractmethod
    def accepts(self, request: Request) -> bytes:
        """The provider takes the message, or the messages, of `request`."""

    @abstractmethod
    def refusal(self, words: str) -> bytes:
        """The provider refuses for ever, and says `words`."""

    def reply(self, behaviour: Behaviour) -> Reply:
        """What the provider does."""
        if behaviour in self.replies:
            return self.replies[behaviour]
        if behaviour in ("accepts", "unreachable"):
            return self.accepts
        if behaviour in ("refuses", "quotes"):
            return self.refusal("no, never" if behaviour == "refuses" else f"bad {', '.join(self.secrets)}")
        return USUAL[behaviour]

    @asynccontextmanager
    async def stage(self, behaviour: Behaviour) -> AsyncIterator[Stage]:
        """The adapter as sojourn.yaml would load it, before the provider."""
        async with self.before(self.reply(behaviour), hangs=behaviour == "hangs", gone=behaviour == "unreachable") as stage:
            yield stage

    @asynccontextmanager
    async def before(self, reply: Reply, hangs: bool = False, gone: bool = False) -> AsyncIterator[Stage]:
        """The adapter before a provider that answers `reply`; for cases of an adapter's own."""
        async with sink(reply) as heard:
            port = free_port() if gone else heard.port
            base = {self.base: f"http://127.0.0.1:{port}{self.path}", "timeout": 1.0 if hangs else 50.0}
            settings = {"use": self.use, **base, **self.settings}
            channel = load_channel(self.name, settings)
            yield Stage(channel, settings, lambda: heard.arrived)
            await channel.close()

    def heard(self, stage: Stage) -> list[Request]:
        """The requests that came whole, in order."""
        return [Request.read(raw) for raw in stage.arrived()]
