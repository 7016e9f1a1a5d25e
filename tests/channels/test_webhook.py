"""The webhook channel against a real server on loopback: conformance, signature, addresses, secrets."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
from datetime import UTC, datetime
from typing import ClassVar

import httpx
import pytest

from channels.webhook import Settings, Webhook, signature
from engine.delivery.channel import ChannelError, Content, Receipt, Result, load_channel
from engine.delivery.guard import Guarded, is_loopback, is_private
from engine.delivery.http import retry_after
from tests.channels.http_sink import HttpCases, Request, answer, says, sink

SECRET, TOKEN, PATH = "sign-me-5f1e", "tok-77aa", "/hooks/T0-path-secret?key=query-secret"


class TestWebhook(HttpCases):
    """Every conformance case, with every kind of secret."""

    use, name, base = "channels.webhook", "sms", "url"
    path = PATH
    settings: ClassVar = {"secret": SECRET, "headers": {"Authorization": f"Bearer {TOKEN}"}}
    secrets = (SECRET, TOKEN, "T0-path-secret", "query-secret")
    replies: ClassVar = {"busy_for": answer(503, b"later", "Retry-After: 7"), "garbles": answer(202, b'{"id": ')}

    def accepts(self, request: Request) -> bytes:
        """With an id."""
        return answer(202, b'{"id": "m-1"}')

    def refusal(self, words: str) -> bytes:
        """With an error; where it quotes secrets it quotes the whole path."""
        return says(422, {"error": words.replace("T0-path-secret, query-secret", PATH)})

    async def test_request(self) -> None:
        """The request carries path, key, headers and message; the signature holds over timestamp and body."""
        async with self.stage("accepts") as stage:
            receipt = await stage.channel.send(self.message(to="+393331234567"))
            head, _, body = stage.arrived()[0].partition(b"\r\n\r\n")
        lines = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
        assert head.decode().split("\r\n")[0] == f"POST {PATH} HTTP/1.1"
        assert lines["Idempotency-Key"] == "e1/how_to_use/0/0"
        assert lines["Authorization"] == f"Bearer {TOKEN}"
        stamp, _, mac = lines["Sojourn-Signature"].partition(",v1=")
        assert mac == hmac.new(SECRET.encode(), stamp[2:].encode() + b"." + body, hashlib.sha256).hexdigest()
        told = json.loads(body)
        assert (told["to"], told["channel"], told["fields"]["subject"]) == ("+393331234567", "sms", "How to use it")
        assert receipt == Receipt(Result.ACCEPTED, provider_id="m-1")


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (answer(200), Receipt(Result.ACCEPTED)),
        (answer(204), Receipt(Result.ACCEPTED)),
        (answer(200, b"[1, 2"), Receipt(Result.ACCEPTED)),
        (answer(200, b"[" * 60_000), Receipt(Result.ACCEPTED)),
        (answer(404), Receipt(Result.REFUSED, words="404")),
        (
            answer(410, b'{"error": "gone", "suppress": "unsubscribed"}'),
            Receipt(Result.REFUSED, "", "410 gone", None, "unsubscribed"),
        ),
        (answer(429, b"", "Retry-After: 999999999"), Receipt(Result.LATER, words="429", retry_after=86400.0)),
        (answer(429, b"", "Retry-After: -5"), Receipt(Result.LATER, words="429")),
        (answer(503), Receipt(Result.UNKNOWN, words="503")),
        (answer(502), Receipt(Result.UNKNOWN, words="502")),
        (answer(504), Receipt(Result.UNKNOWN, words="504")),
        (answer(599, b'{"error": {"deep": 1}}'), Receipt(Result.UNKNOWN, words='599 {"deep": 1}')),
    ],
)
async def test_statuses(reply: bytes, expected: Receipt) -> None:
    """Each status means what the rules for sending once say; Retry-After is bounded; a malformed body changes nothing."""
    async with sink(reply) as told:
        channel = Webhook(Settings(url=f"http://127.0.0.1:{told.port}/"))
        assert await channel.send(TestWebhook().message()) == expected
        await channel.close()


async def test_no_redirect() -> None:
    """A redirect isn't followed, so that no key, signature or person reaches a host that nobody configured."""
    async with sink(answer(200)) as elsewhere, sink(answer(307, b"", f"Location: http://127.0.0.1:{elsewhere.port}/")) as told:
        channel = Webhook(Settings(url=f"http://127.0.0.1:{told.port}/"))
        receipt = await channel.send(TestWebhook().message())
        await channel.close()
    assert (receipt.result, elsewhere.arrived) == (Result.REFUSED, [])


async def test_connections_are_reused() -> None:
    """Twenty messages one after the other take one connection; a batch takes at most `concurrency`."""
    async with sink(answer(200)) as told:
        channel = Webhook(Settings(url=f"http://127.0.0.1:{told.port}/", concurrency=3))
        for n in range(20):
            await channel.send(TestWebhook().message(key=f"e{n}/s/0/0"))
        assert told.connections == 1
        await channel.send_many([TestWebhook().message(key=f"b{n}/s/0/0") for n in range(60)])
        assert told.connections <= 3
        assert len(told.arrived) == 80
        await channel.close()


async def test_endless_answer() -> None:
    """An answer without an end is read up to its limit; one that trickles ends with the deadline."""

    async def flood(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 X\r\nContent-Type: text/plain\r\n\r\n")
        while True:
            writer.write(b"x" * 65_536)
            await writer.drain()

    async def trickle(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 X\r\nContent-Length: 1000\r\n\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.05)

    for reply, expected, timeout in ((flood, Result.ACCEPTED, 50.0), (trickle, Result.UNKNOWN, 0.3)):
        async with sink(reply) as told:
            channel = Webhook(Settings(url=f"http://127.0.0.1:{told.port}/", timeout=timeout))
            receipt = await asyncio.wait_for(channel.send(TestWebhook().message()), 60)
            assert receipt.result == expected
            await channel.close()


async def test_bad_json() -> None:
    """JSON that is none (NaN) is an exception, which parks that message, and fails no other of its batch."""
    async with sink(answer(200)) as told:
        channel = Webhook(Settings(url=f"http://127.0.0.1:{told.port}/"))
        bad = TestWebhook().message(content=Content({}, json={"x": float("nan")}))
        first, second = await channel.send_many([bad, TestWebhook().message()])
        assert isinstance(first, ValueError)
        assert second == Receipt(Result.ACCEPTED)
        await channel.close()


@pytest.mark.parametrize(
    "host",
    [
        "10.0.0.1",
        "169.254.169.254",
        "100.100.100.200",
        "168.63.129.16",
        "[fd00:ec2::254]",
        "[::ffff:10.0.0.1]",
        "0.0.0.0",
        "[64:ff9b::a00:1]",
    ],
)
def test_private_addresses(host: str) -> None:
    """A private, link-local or metadata address is refused when the settings are read, unless `allow_private` is set."""
    with pytest.raises(ChannelError, match="allow_private"):
        load_channel("sms", {"use": "channels.webhook", "url": f"http://{host}/x"})
    allowed = load_channel("sms", {"use": "channels.webhook", "url": f"http://{host}/x", "allow_private": "true"})
    assert allowed.capabilities.local is False


async def test_name_that_leads_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    """A public name that resolves to a private address, or to this machine, is not connected to: nothing is sent."""
    for inside in ("10.1.2.3", "127.0.0.1", "169.254.169.254", "::1"):
        guard = Guarded(httpx.URL("https://hooks.example/x"), 1, allow_private=False)

        async def found(*_: object, address: str = inside, **__: object) -> list[object]:
            return [(2, 1, 6, "", ("93.184.216.34", 443)), (2, 1, 6, "", (address, 443))]

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", found)
        with pytest.raises(httpx.ConnectError, match="private address"):
            await guard.handle_async_request(httpx.Request("POST", "https://hooks.example/"))


async def test_localhost_by_name() -> None:
    """`localhost` counts as loopback, and is reached under whichever of its addresses listens."""
    async with sink(answer(200)) as told:
        channel = Webhook(Settings(url=f"http://localhost:{told.port}/"))
        assert channel.capabilities.local is True
        assert await channel.send(TestWebhook().message()) == Receipt(Result.ACCEPTED)
        assert f"Host: localhost:{told.port}".encode() in told.arrived[0]
        await channel.close()


def test_host_words() -> None:
    """Loopback is 127/8, ::1 and localhost; private is what isn't public; names are judged later."""
    assert [is_loopback(h) for h in ("127.9.9.9", "::1", "LOCALHOST", "10.0.0.1", "localhost.example")] == [
        True,
        True,
        True,
        False,
        False,
    ]
    assert [is_private(h) for h in ("127.0.0.1", "93.184.216.34", "224.0.0.1", "example.com")] == [False, False, True, False]


@pytest.mark.parametrize(
    "settings",
    [
        {"url": "ftp://h3x-secret.example/"},
        {"url": "not a url h3x-secret"},
        {"url": "https://me:h3x-secret@example.com/"},
        {"url": "https://example.com/", "headers": {"X\r\nY": "h3x-secret"}},
        {"url": "https://example.com/", "headers": {"X": "h3x-secret\r\nY: 1"}},
        {"url": "https://example.com/", "headers": {"Idempotency-Key": "h3x-secret"}},
        {"url": "https://example.com/", "secret": ["h3x-secret"]},
        {"secret": "h3x-secret"},
    ],
)
def test_bad_settings(settings: dict[str, object]) -> None:
    """Settings that can't work are refused when they are read, without quoting any of them."""
    with pytest.raises(ChannelError) as refused:
        load_channel("sms", {"use": "channels.webhook", **settings})
    assert "h3x-secret" not in f"{refused.value!r} {refused.value.__cause__!r} {refused.value}"


def test_retry_after_date() -> None:
    """A date in Retry-After is measured against the answer's own Date, and is never negative."""
    at = datetime(2026, 3, 2, 10, tzinfo=UTC)
    date = at.strftime("%a, %d %b %Y %H:%M:%S GMT")
    soon = at.replace(minute=2).strftime("%a, %d %b %Y %H:%M:%S GMT")
    assert retry_after(httpx.Headers({"retry-after": soon, "date": date})) == 120.0
    assert retry_after(httpx.Headers({"retry-after": date, "date": soon})) == 0.0
    assert retry_after(httpx.Headers({"retry-after": soon})) is None
    assert retry_after(httpx.Headers({"retry-after": "soon", "date": date})) is None


def test_signature_is_stable() -> None:
    """The signature of a known body under a known secret and time never changes: receivers have it built in."""
    assert signature("s", 1, b"{}") == "t=1,v1=" + hmac.new(b"s", b"1.{}", hashlib.sha256).hexdigest()


async def test_logs_hold_no_path(caplog: pytest.LogCaptureFixture) -> None:
    """httpx logs every URL it posts to; the path and query of ours never reach it."""
    caplog.set_level(logging.DEBUG)
    async with TestWebhook().stage("accepts") as stage:
        await stage.channel.send(TestWebhook().message())
    assert "HTTP Request: POST http://127.0.0.1" in caplog.text
    assert "path-secret" not in caplog.text
