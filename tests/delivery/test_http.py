"""The base of HTTP adapters against a real server on loopback: what is sent, where, and how answers are read."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest
from pydantic import TypeAdapter, ValidationError

from engine.delivery.channel import Receipt, Result
from engine.delivery.http import MAX_ANSWER, UNSPEAKABLE, Answer, Credential, HttpAdapter, ProviderUrl, basic, header_key
from tests.channels.http_sink import Sink, answer, free_port, sink


@asynccontextmanager
async def adapter(reply: Any, base: str = "/v3?key=q-1", **options: Any) -> AsyncIterator[tuple[HttpAdapter, Sink]]:
    """A bare adapter before a server that answers `reply`."""
    async with sink(reply) as told:
        made = HttpAdapter(
            f"http://127.0.0.1:{told.port}{base}", **{"concurrency": 2, "timeout": 50.0, "secrets": ["s-1", ""], **options}
        )
        yield made, told
        await made.close()


async def test_requests(caplog: pytest.LogCaptureFixture) -> None:
    """Path, query and body arrive as they were given, on one connection, with odd text made fit; logs hold none of them."""
    caplog.set_level(0)
    async with adapter(answer(200, b'{"id": 7}', "X-Id: a"), base="/v3/") as (http, told):
        first = await http.ask("POST", "/mail/é?a=1", params={"to": ["a", "b"], "odd": "\ud800 &"}, json={"x": "é\ud800"})
        await http.ask(
            "POST", "send", data={"Body": "ü&\ud83d\ude00", "Tag": ["a", "b"]}, headers={"X-Key": header_key("e/\r\n")}
        )
        await http.ask("PUT", content=b"\x00raw", headers={"Accept-Encoding": "gzip"})
        await http.ask("GET", params={"q": "1"})
    assert isinstance(first, Answer)
    assert (first.status, first.json, first.headers["x-id"]) == (200, {"id": 7}, "a")
    assert first.words == '{"id": 7}'
    heads = [raw.partition(b"\r\n\r\n")[0].decode() for raw in told.arrived]
    assert [head.split("\r\n")[0] for head in heads] == [
        "POST /v3/mail/%C3%A9?a=1&to=a&to=b&odd=%EF%BF%BD+%26 HTTP/1.1",
        "POST /v3/send HTTP/1.1",
        "PUT /v3/ HTTP/1.1",
        "GET /v3/?q=1 HTTP/1.1",
    ]
    bodies = [raw.partition(b"\r\n\r\n")[2] for raw in told.arrived]
    assert bodies == ['{"x":"é\ufffd"}'.encode(), b"Body=%C3%BC%26%F0%9F%98%80&Tag=a&Tag=b", b"\x00raw", b""]
    assert "X-Key: e/%0D%0A" in heads[1]
    assert all("Accept-Encoding: identity" in head and "gzip" not in head for head in heads)
    assert told.connections == 1
    assert "/v3" not in caplog.text


async def test_nothing_heard() -> None:
    """Without a connection nothing was sent; a request larger than the channel takes never leaves; both say so in a receipt."""
    lonely = HttpAdapter(f"http://127.0.0.1:{free_port()}/s-1", concurrency=1, timeout=50.0, secrets=["s-1"])
    assert isinstance(refused := await lonely.ask("POST", "/x"), Receipt)
    assert (refused.result, "s-1" in refused.words) == (Result.LATER, False)
    await lonely.close()
    async with adapter(answer(200), max_bytes=10) as (http, told):
        big = await http.ask("POST", "/x", content=b"x" * 11)
        assert big == Receipt(Result.REFUSED, words="not sent: the message has 11 bytes and this channel takes at most 10")
        with pytest.raises(ValueError, match="JSON"):
            await http.ask("POST", "/x", json={"x": float("nan")})
        assert told.arrived == []


@pytest.mark.parametrize(
    ("status", "headers", "body", "expected"),
    [
        (200, {}, b"s-1", Receipt(Result.ACCEPTED, provider_id="m-[secret]")),
        (
            307,
            {"location": "/"},
            b"",
            Receipt(Result.REFUSED, words="307: it redirects elsewhere, which is not followed; give the final URL"),
        ),
        (400, {}, b'{"message": "bad s-1"}', Receipt(Result.REFUSED, words="400 bad [secret]", suppress="invalid")),
        (408, {}, b"", Receipt(Result.LATER, words="408")),
        (429, {"retry-after": "7"}, b"{", Receipt(Result.LATER, words="429 {", retry_after=7.0)),
        (429, {}, b"", Receipt(Result.LATER, words="429")),
        (503, {"retry-after": "3"}, b'{"error": {"a": 1}}', Receipt(Result.LATER, words='503 {"a": 1}', retry_after=3.0)),
        (503, {}, b"[1]", Receipt(Result.UNKNOWN, words="503 [1]")),
        (500, {}, b"\xff", Receipt(Result.UNKNOWN, words="500 \ufffd")),
        (799, {}, b"[" * MAX_ANSWER, Receipt(Result.UNKNOWN, words="799 " + "[" * 496)),
    ],
)
async def test_status(status: int, headers: dict[str, str], body: bytes, expected: Receipt) -> None:
    """Each status means what the rules for sending once say; words and ids hold no secret."""
    http = HttpAdapter("http://127.0.0.1:1", concurrency=1, timeout=1.0, secrets=["s-1"])
    assert http.receipt(Answer(status, httpx.Headers(headers), body), id="m-s-1", suppress="invalid") == expected
    assert http.receipt(Answer(400, httpx.Headers(), b"long"), words="short s-1").words == "400 short [secret]"
    await http.close()


@pytest.mark.parametrize("status", [401, 403])
async def test_our_own_mistake(status: int) -> None:
    """Where a provider doesn't let us in the message waits, and its words say for what; unless it is about the recipient."""
    http = HttpAdapter("http://127.0.0.1:1", concurrency=1, timeout=1.0, secrets=["s-1"])
    told = Answer(status, httpx.Headers(), b'{"message": "no such key s-1 ' + b"x" * 600 + b'"}')
    waits = http.receipt(told)
    assert (waits.result, waits.suppress, waits.retry_after) == (Result.LATER, None, None)
    assert waits.words.startswith(f"{status} no such key [secret]")
    assert waits.words.endswith("sojourn.yaml")
    assert http.receipt(told, recipient=True).result == Result.REFUSED
    assert http.receipt(told, suppress="blocked") == replace(http.receipt(told, recipient=True), suppress="blocked")
    await http.close()


async def test_a_line_end_in_a_credential() -> None:
    """What isn't HTTP never leaves, counts as not sent, and its header is quoted nowhere; in settings it is refused before."""
    async with adapter(answer(200), secrets=["SG.secret"]) as (http, told):
        for value in ("Bearer SG.secret\n", "Bearer SG.\x00secret"):
            said = await http.ask("POST", "/x", headers={"Authorization": value}, json={})
            assert said == Receipt(Result.LATER, words=UNSPEAKABLE)
        assert told.arrived == []
    read = TypeAdapter(Credential)
    for wrong in ("SG.secret\n", " SG.secret", "SG.secret\x7f", "SG.secr\u00e9t"):
        with pytest.raises(ValidationError, match="printable ASCII") as refused:
            read.validate_python(wrong)
        assert "SG." not in str(refused.value.errors(include_input=False))
    assert [read.validate_python(good).get_secret_value() for good in ("", "x", "a b~")] == ["", "x", "a b~"]


@pytest.mark.parametrize("url", ["http://api.example", "https://10.0.0.1", "ftp://x", "https://u:p@x.example", "nothing", ""])
def test_provider_url(url: str) -> None:
    """Credentials go to https hosts and to this machine, nowhere else."""
    read = TypeAdapter(ProviderUrl)
    with pytest.raises(ValidationError):
        read.validate_python(url)
    assert [read.validate_python(u) for u in ("https://api.example/v1", "http://localhost:1")]


def test_basic() -> None:
    """The example of RFC 7617, section 2."""
    assert basic("Aladdin", "open sesame") == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
