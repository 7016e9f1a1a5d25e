"""Clicks and opens on the real API: they lead where the message said, are noted once, and machines are told from people."""

from __future__ import annotations

import asyncio
import socket
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from engine.api import following
from engine.api.machines import is_machine
from engine.delivery.links import Links
from engine.store import short_links
from engine.store.database import transaction
from tests.api.conftest import Api
from tests.api.test_webhooks import SENT
from tests.harness import utc

PERSON = {"User-Agent": "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148"}
KEY = "7/hello/0/0"


async def ada(api: Api) -> int:
    """Somebody who was sent a letter."""
    await api.http.post("/v1/identify", json={"userId": "ada"})
    [row] = await api.query("select customer_id from identifiers where value = 'ada'")
    await api.query(SENT, key=KEY, id=row.customer_id, channel="email", provider="")
    return int(row.customer_id)


def reader(api: Api) -> httpx.AsyncClient:
    """A person with a browser."""
    return httpx.AsyncClient(base_url=api.http.base_url, headers=PERSON, follow_redirects=False, timeout=60)


async def noted(api: Api) -> list[tuple[Any, ...]]:
    """(event, step, url, machine) of what was noted, in order."""
    rows = await api.query("select name, properties as p from events where source = 'links' order by id")
    return [(r.name, r.p.get("step"), r.p.get("url"), r.p.get("machine")) for r in rows]


async def test_a_click_leads_on_and_is_noted(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the URL that was in the message, of a letter and of a text; once a minute for each link, people and machines apart. What
    was tampered with, or leads inside, leads nowhere."""
    customer = await ada(api)
    url = "https://shop.example/ü?a=1&b=2#c"
    letter = urlsplit(api.core.links.clicked(KEY, customer, url)).path
    row = {"code": "aB3", "customer_id": customer, "enrollment_id": 1, "message": KEY, "url": url, "at": "2026-03-02T10:00:00Z"}
    async with transaction(api.core.database) as c:
        assert await short_links.keep(c, [row, row]) == set()
        assert await short_links.keep(c, [{**row, "url": "https://other.example"}, {**row, "code": "x"}]) == {"aB3"}
    looked: list[str] = []
    loop, moment = asyncio.get_running_loop(), utc("2026-03-02 10:00")
    ask = loop.getaddrinfo
    object.__setattr__(api.reach, "now", lambda: moment)

    async def found(host: str, port: Any, **more: Any) -> Any:
        if not str(host).endswith(".example"):
            return await ask(host, port, **more)
        looked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.1" if "rebound" in host else "93.184.216.34", port))]

    monkeypatch.setattr(loop, "getaddrinfo", found)
    async with reader(api) as http:
        for path in (letter, letter, "/l/aB3"):
            answer = await http.get(path)
            assert (302, "https://shop.example/%C3%BC?a=1&b=2#c") == (answer.status_code, answer.headers["location"])
            assert ("no-store", "no-referrer") == (answer.headers["cache-control"], answer.headers["referrer-policy"])
        assert 302 == (await http.head(letter)).status_code
        assert 302 == (await http.get(letter, headers={"User-Agent": "Mozilla/5.0 (compatible; Barracuda Sentinel)"})).status_code
        assert [("message_clicked", "hello", url, None), ("message_clicked", "hello", url, True)] == await noted(api)
        assert [customer] == [r[0] for r in await api.query("select distinct customer_id from events where source = 'links'")]
        signed = api.core.links
        forged = Links({1: b"another"}, signed.base).clicked(KEY, customer, "https://evil.example")
        wrong = [
            *(urlsplit(forged).path, letter[:-1], letter[:-3] + "AAA", "/r/x", "/l/aB4", "/l/%00", "/l/a-b", "/r/1.2.3"),
            letter.replace("/r/", "/u/"),
            f"/r/{signed.sign([customer, 'email', 'news'])}",
            f"/r/{signed.sign(['open', KEY, customer])}",
            f"/r/{signed.sign(['click', KEY, customer, 7])}",
            *(urlsplit(signed.clicked(KEY, customer, u)).path for u in ("http://127.1/", "http://169.254.169.254/latest")),
            urlsplit(signed.clicked(KEY, customer, "http://rebound.example/")).path,
        ]
        for path in wrong:
            answer = await http.get(path)
            assert (path, 404, None) == (path, answer.status_code, answer.headers.get("location"))
    assert 2 == len(await noted(api))
    assert {"shop.example", "rebound.example"} == set(looked)


async def test_an_open_is_a_picture_and_noted(
    api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Gmail's and Apple's proxies are machines; a HEAD is nothing; a token of nobody's gets its picture too. A reader gets where
    they want also while nothing can be noted, and the log says so."""
    customer = await ada(api)
    path, moment = urlsplit(api.core.links.opened(KEY, customer)).path, utc("2026-03-02 10:00")
    object.__setattr__(api.reach, "now", lambda: moment)
    async with reader(api) as http:
        for headers in ({}, {"User-Agent": "Mozilla/5.0"}, {"User-Agent": "Mozilla/5.0 (via ggpht.com GoogleImageProxy)"}):
            answer = await http.get(path, headers=headers)
            assert (200, "image/gif", following.PIXEL) == (answer.status_code, answer.headers["content-type"], answer.content)
        assert 200 == (await http.head(path)).status_code == (await http.get("/o/1.x.y")).status_code
        assert [("message_opened", "hello", None, None), ("message_opened", "hello", None, True)] == await noted(api)
        await api.query("update messages set journey = 'gone' returning id")
        await api.query("delete from messages returning id")
        other = urlsplit(api.core.links.opened("9/old/0/0", customer)).path
        assert 200 == (await http.get(other)).status_code
        assert ("message_opened", None, None, None) == (await noted(api))[-1], "its row is gone by retention: the person isn't"

        async def busy(batch: object) -> None:
            raise TimeoutError

        monkeypatch.setattr(type(api.reach.entrance), "accept", lambda _, batch: busy(batch))
        click = urlsplit(api.core.links.clicked(KEY, customer, "https://8.8.8.8/")).path
        assert 302 == (await http.get(click)).status_code
    assert "a message_clicked couldn't be noted" in caplog.text
    assert "8.8.8.8" not in caplog.text


@pytest.mark.parametrize(
    ("headers", "machine"),
    [
        (PERSON, False),
        ({"User-Agent": "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/126.0.0.0 Safari/537.36"}, False),
        ({"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0"}, False),
        ({"User-Agent": "Mozilla/5.0"}, True),
        ({"User-Agent": ""}, True),
        ({}, True),
        ({"User-Agent": "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)"}, True),
        ({"User-Agent": "YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html"}, True),
        ({"User-Agent": "WhatsApp/2.24.1 A"}, True),
        ({"User-Agent": "Mozilla/5.0 (compatible; bingbot/2.0)"}, True),
        ({"User-Agent": "Mozilla/5.0 (Linux; Android 14; CUBOT X70) AppleWebKit/537.36 Chrome/126.0.0.0 Mobile"}, False),
        ({"User-Agent": "curl/8.5.0"}, True),
        ({**PERSON, "Sec-Purpose": "prefetch;prerender"}, True),
        ({**PERSON, "X-Moz": "prefetch"}, True),
        ({**PERSON, "X-Purpose": "preview"}, True),
    ],
)
def test_machines_are_known_by_what_they_say(headers: dict[str, str], machine: bool) -> None:
    """Proxies, scanners, previews and fetches in advance; a browser is a person."""
    assert is_machine({name.lower(): value for name, value in headers.items()}) is machine
