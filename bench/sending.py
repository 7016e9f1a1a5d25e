"""What rendering and an adapter take of a message's time: before a stand-in on loopback, beside a bare loop that sends the same
bytes.

One process sends, as a worker does, and one answers. `bench.adapters` has what differs from one adapter to the next.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import median

import aiosmtplib
import httpx
import uvloop

from bench.adapters import ADAPTERS, Case, StandIns, Unrendered
from bench.stack import ROOT, WrongResult
from channels.mime import compose
from engine.delivery.channel import Channel, Outgoing, Receipt, Result, load_channel
from engine.delivery.http import HttpAdapter

FULL, QUICK = 3_000, 100
"""Messages for each adapter."""

Send = Callable[[], Awaitable[object]]


def keys() -> set[str]:
    """Every figure."""
    figures = {f"channels.{name}_per_s" for name in ADAPTERS}
    figures |= {f"channels.{name}_to_bare" for name, case in ADAPTERS.items() if case.bare}
    return figures | {"channels.lines_median"}


def shipped() -> dict[str, str]:
    """The source of every adapter in `channels/`, measured or not, by its name."""
    modules = {path.stem: path.read_text() for path in sorted((ROOT / "channels").glob("*.py"))}
    return {name: source for name, source in modules.items() if "\ndef channel(" in source}


def measure(messages: int) -> dict[str, float]:
    """Every figure of every adapter. Raises WrongResult where a message wasn't accepted, or the provider has another number."""
    return uvloop.run(_measure(messages))


async def _measure(count: int) -> dict[str, float]:
    figures: dict[str, float] = {}
    with _stand_ins() as where:
        for name, case in ADAPTERS.items():
            channel = load_channel(name, {"use": f"channels.{name}", **case.settings(where)})
            try:
                figures |= await _figures(channel, case, count, where)
            finally:
                await channel.close()
    lines = [len(source.splitlines()) for source in shipped().values()]
    return {**figures, "channels.lines_median": float(median(lines))}


async def _figures(channel: Channel, case: Case, count: int, where: StandIns) -> dict[str, float]:
    """What an adapter makes of `count` messages, and how that compares with a bare loop that sends the same bytes."""
    few = min(count, channel.capabilities.at_once)
    made = [case.message(n, where) for n in range(few + count)]
    first, messages = [m.rendered() for m in made[:few]], made[few:]
    await _accepted(channel, first)  # opens the connections, and asks for a token
    figures = {f"channels.{channel.name}_per_s": await _sent(channel, messages, where)}
    if isinstance(channel, HttpAdapter):
        requests = await _requests(channel, first)
        share = len(requests) / len(first)
        bare = await _bare_http(requests, round(count * share), channel.capabilities.concurrency, where) / share
    elif case.bare:
        bare = await _bare_smtp([m.rendered() for m in messages], channel.capabilities.concurrency, where)
    else:
        return figures
    return {**figures, f"channels.{channel.name}_to_bare": figures[f"channels.{channel.name}_per_s"] / bare}


async def _sent(channel: Channel, messages: Sequence[Unrendered], where: StandIns) -> float:
    """Messages a second, rendered and handed over to the adapter as the engine does it."""
    together = channel.capabilities.at_once
    batches = [messages[i : i + together] for i in range(0, len(messages), together)]
    before = _taken(where)
    begin = time.perf_counter()
    for batch in batches:
        await _accepted(channel, [m.rendered() for m in batch])
    rate = len(messages) / (time.perf_counter() - begin)
    came = _taken(where) - before
    expected = sum(-(-len(batch) // channel.capabilities.batch) for batch in batches)
    if came != expected:
        raise WrongResult(f"{channel.name}: {expected} requests were sent, and {came} came")
    return rate


async def _requests(channel: HttpAdapter, messages: Sequence[Outgoing]) -> list[httpx.Request]:
    """What the adapter sends for `messages`."""
    requests: list[httpx.Request] = []

    async def keep(request: httpx.Request) -> None:
        requests.append(request)

    channel._client.event_hooks = {"request": [keep]}
    await _accepted(channel, messages)
    channel._client.event_hooks = {"request": []}
    return requests


async def _accepted(channel: Channel, batch: Sequence[Outgoing]) -> None:
    for answer in await channel.send_many(batch):
        if not isinstance(answer, Receipt) or answer.result is not Result.ACCEPTED:
            raise WrongResult(f"{type(channel).__name__}: {answer}")


async def _bare_http(sent: Sequence[httpx.Request], count: int, concurrency: int, where: StandIns) -> float:
    """Requests a second of as many httpx clients as the adapter has connections, which send what the adapter sent again and
    again. One client with as many connections would be slower: it looks through all of them for every request."""
    base = sent[0].url
    http2 = base.port == where.http2
    free: asyncio.Queue[httpx.AsyncClient] = asyncio.Queue()
    async with contextlib.AsyncExitStack() as open_:
        for _ in range(concurrency):
            client = httpx.AsyncClient(http1=not http2, http2=http2, trust_env=False, base_url=base)
            free.put_nowait(await open_.enter_async_context(client))

        async def one(request: httpx.Request) -> None:
            client, target = await free.get(), request.extensions["target"].decode()
            try:
                told = await client.request(request.method, target, content=request.content, headers=request.headers)
                told.raise_for_status()
            finally:
                free.put_nowait(client)

        await _rate([partial(one, sent[n % len(sent)]) for n in range(concurrency)], concurrency)  # opens the connections
        return await _rate([partial(one, sent[n % len(sent)]) for n in range(count)], concurrency)


async def _bare_smtp(messages: Sequence[Outgoing], concurrency: int, where: StandIns) -> float:
    """Mails a second of as many aiosmtplib clients as the adapter has connections."""
    now = datetime.now(UTC)
    mails = [(m.to, compose(m, now)) for m in messages]
    clients = [aiosmtplib.SMTP(hostname="127.0.0.1", port=where.smtp, start_tls=False) for _ in range(concurrency)]
    free: asyncio.Queue[aiosmtplib.SMTP] = asyncio.Queue()
    for client in clients:
        await client.connect()
        free.put_nowait(client)

    async def one(to: str, mail: bytes) -> None:
        client = await free.get()
        await client.sendmail("care@skin.example", [to], mail)
        free.put_nowait(client)

    rate = await _rate([partial(one, to, mail) for to, mail in mails], concurrency)
    for client in clients:
        await client.quit()
    return rate


async def _rate(sends: Sequence[Send], concurrency: int) -> float:
    """How many a second, `concurrency` at once."""
    waiting = iter(sends)

    async def work() -> None:
        for send in waiting:
            await send()

    begin = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(concurrency)))
    return len(sends) / (time.perf_counter() - begin)


def _taken(where: StandIns) -> int:
    """How many requests, mails and files have come."""
    with urllib.request.urlopen(f"{where.url}/taken", timeout=60) as told:
        counts: dict[str, int] = json.load(told)
    return sum(counts.values()) + len(list(where.folder.iterdir()))


@contextlib.contextmanager
def _stand_ins() -> Iterator[StandIns]:
    """A provider in a process of its own, and a folder."""
    with tempfile.TemporaryDirectory(prefix="sojourn-bench-") as folder:
        child = subprocess.Popen([sys.executable, "-m", "bench.provider"], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        try:
            assert child.stdout is not None
            http, http2, smtp = map(int, child.stdout.readline().split())
            yield StandIns(http, http2, smtp, Path(folder))
        finally:
            child.terminate()
            child.wait()
