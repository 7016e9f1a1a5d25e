"""What adapters take of a message's time: each before a stand-in on loopback, beside a bare loop that sends the same bytes.

One process sends, as a worker does, and one answers. An adapter that isn't in ADAPTERS isn't measured.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import aiosmtplib
import httpx
import uvloop

from bench.stack import ROOT, WrongResult
from channels.mime import compose
from engine.authoring.templates import Source, sealed
from engine.delivery.channel import Channel, Content, Outgoing, Receipt, Result, load_channel
from engine.delivery.http import HttpAdapter
from engine.delivery.render import render

ADAPTERS: Mapping[str, Mapping[str, Any]] = {
    "smtp": {"host": "127.0.0.1"},
    "ses": {"region": "eu-west-1", "access_key_id": "AKIDEXAMPLE", "secret_access_key": "bench"},
    "sendgrid": {"token": "bench"},
    "postmark": {"token": "bench"},
    "mailgun": {"token": "bench", "domain": "bench.example"},
    "resend": {"token": "bench"},
    "brevo": {"token": "bench"},
    "webhook": {"secret": "bench"},
}
"""The settings of each, without where its provider is; all others have their defaults."""

FULL, QUICK = 10_000, 500
"""Messages for each adapter."""

TEXT = "Apply a pea-sized amount in the morning and in the evening, on dry skin. " * 12
CONTENT = Content(
    {"subject": "How to use your new serum"},
    text=TEXT,
    html=f"<html><body><h1>Hello Ada</h1><p>{TEXT}</p>{'<p></p>' * 100}</body></html>",
)

TEMPLATE = {
    "subject": "How to use your new serum, {{ customer.first_name }}",
    "txt": f"Hello {{{{ customer.first_name }}}}\n{TEXT}\n{{{{ unsubscribe_url }}}}\n",
    "html": f"<html><body><h1>Hello {{{{ customer.first_name }}}}</h1><p>{TEXT}</p>{'<p></p>' * 100}"
    '<p><a href="{{ unsubscribe_url }}">Unsubscribe</a></p></body></html>',
}
"""What is rendered for each message: 3 kB."""

Send = Callable[[], Awaitable[object]]


def keys() -> set[str]:
    """Every figure."""
    figures = {f"channels.{name}_{what}" for name in ADAPTERS for what in ("per_s", "to_bare")}
    return figures | {"channels.lines_median", "render.messages_per_s"}


def measure(messages: int) -> dict[str, float]:
    """Every figure of every adapter. Raises WrongResult where a message wasn't accepted, or the provider has another number."""
    return uvloop.run(_measure(messages))


async def _measure(count: int) -> dict[str, float]:
    figures = {}
    with _provider() as (http, smtp):
        for name, settings in ADAPTERS.items():
            where = {"smtp": {"port": smtp}, "webhook": {"url": f"http://127.0.0.1:{http}/webhook"}}
            base = where.get(name, {"base_url": f"http://127.0.0.1:{http}"})
            channel = load_channel("email", {"use": f"channels.{name}", **settings, **base})
            try:
                ours, bare = await _compare(channel, _messages(count), http, smtp)
            finally:
                await channel.close()
            figures |= {f"channels.{name}_per_s": ours, f"channels.{name}_to_bare": ours / bare}
        figures["render.messages_per_s"] = await _rendered(count, smtp)
    lines = [len((ROOT / "channels" / f"{name}.py").read_text().splitlines()) for name in ADAPTERS]
    return {**figures, "channels.lines_median": float(median(lines))}


async def _compare(channel: Channel, messages: Sequence[Outgoing], http: int, smtp: int) -> tuple[float, float]:
    """Messages a second through the adapter, and of a bare loop."""
    together = channel.capabilities.at_once
    batches = [messages[i : i + together] for i in range(0, len(messages), together)]
    sent: list[httpx.Request] = []
    if isinstance(channel, HttpAdapter):
        channel._client.event_hooks = {"request": [_keep(sent)]}
    await _accepted(channel, batches[0])  # opens the connections, and keeps what is sent
    if isinstance(channel, HttpAdapter):
        channel._client.event_hooks = {"request": []}
    requests = len(sent) / len(batches[0])
    before = await _taken(http)
    begin = time.perf_counter()
    for batch in batches:
        await _accepted(channel, batch)
    ours = len(messages) / (time.perf_counter() - begin)
    came = sum(await _taken(http)) - sum(before)
    expected = sum(-(-len(batch) // channel.capabilities.batch) for batch in batches)
    if came != expected:
        raise WrongResult(f"{channel.name}: {expected} requests were sent, and {came} came")
    if isinstance(channel, HttpAdapter):
        return ours, await _bare_http(sent, round(len(messages) * requests), channel.capabilities.concurrency, http) / requests
    return ours, await _bare_smtp(messages, channel.capabilities.concurrency, smtp)


async def _rendered(count: int, smtp: int) -> float:
    """Messages a second that are rendered from a template and handed over by SMTP, as many at once as the engine takes."""
    source = {name: Source(f"templates/email/serum.{name}", 1, text) for name, text in TEMPLATE.items()}
    template = sealed("email", "serum", {"subject": source.pop("subject")}, source, {})
    channel = load_channel("email", {"use": "channels.smtp", "host": "127.0.0.1", "port": smtp})
    together = channel.capabilities.at_once
    messages = _messages(count)
    begin = time.perf_counter()
    try:
        for i in range(0, count, together):
            part = messages[i : i + together]
            names = [{"customer": {"first_name": f"Ada {m.customer}"}, "unsubscribe_url": m.unsubscribe_url} for m in part]
            await _accepted(channel, [replace(m, content=render(template, n)) for m, n in zip(part, names, strict=True)])
        return count / (time.perf_counter() - begin)
    finally:
        await channel.close()


def _keep(sent: list[httpx.Request]) -> Callable[[httpx.Request], Awaitable[None]]:
    async def keep(request: httpx.Request) -> None:
        sent.append(request)

    return keep


async def _accepted(channel: Channel, batch: Sequence[Outgoing]) -> None:
    for answer in await channel.send_many(batch):
        if not isinstance(answer, Receipt) or answer.result is not Result.ACCEPTED:
            raise WrongResult(f"{type(channel).__name__}: {answer}")


async def _bare_http(sent: Sequence[httpx.Request], count: int, concurrency: int, port: int) -> float:
    """Requests a second of an httpx client that sends what the adapter sent, again and again."""
    limits = httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
    async with httpx.AsyncClient(limits=limits, trust_env=False, base_url=f"http://127.0.0.1:{port}") as client:

        async def one(request: httpx.Request) -> None:
            target = request.extensions["target"].decode()
            (await client.request(request.method, target, content=request.content, headers=request.headers)).raise_for_status()

        return await _rate([partial(one, sent[n % len(sent)]) for n in range(count)], concurrency)


async def _bare_smtp(messages: Sequence[Outgoing], concurrency: int, port: int) -> float:
    """Mails a second of as many aiosmtplib clients as the adapter has connections."""
    now = datetime.now(UTC)
    mails = [(m.to, compose(m, now)) for m in messages]
    clients = [aiosmtplib.SMTP(hostname="127.0.0.1", port=port, start_tls=False) for _ in range(concurrency)]
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


def _messages(count: int) -> list[Outgoing]:
    return [
        Outgoing(
            key=f"{n}/how_to_use/0/0",
            to=f"ada{n}@example.com",
            content=CONTENT,
            sender={"from": "Skin Co <care@skin.example>", "reply_to": "help@skin.example"},
            customer=str(n),
            journey="post_purchase_care",
            step="how_to_use",
            template="post_purchase/how_to_use",
            tier="lifecycle",
            topic="product_education",
            unsubscribe_url=f"https://m.skin.example/u/{b64encode(str(n).encode()).decode()}",
        )
        for n in range(count)
    ]


async def _taken(port: int) -> list[int]:
    async with httpx.AsyncClient(trust_env=False) as client:
        return list(json.loads((await client.get(f"http://127.0.0.1:{port}/taken")).content).values())


@contextmanager
def _provider() -> Iterator[tuple[int, int]]:
    """The ports of a provider for HTTP and for SMTP."""
    child = subprocess.Popen([sys.executable, "-m", "bench.provider"], cwd=Path(ROOT), stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        http, smtp = child.stdout.readline().split()
        yield int(http), int(smtp)
    finally:
        child.terminate()
        child.wait()
