"""Sources that are browsers: analytics.js's calls as it sends them, beacons, and the questions that browsers ask first (CORS)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from engine.settings.project import SourceSettings
from tests.api.conftest import SETTINGS, Api, error, serving

SHOP, ELSEWHERE = "https://shop.example", "https://elsewhere.example"
TEXT = {"Content-Type": "text/plain", "Origin": SHOP}
CONTEXT = {
    "page": {"path": "/", "referrer": "", "search": "", "title": "Shop", "url": "https://shop.example/"},
    "userAgent": "Mozilla/5.0",
    "locale": "en-GB",
    "library": {"name": "analytics.js", "version": "npm:next-1.76.0"},
    "timezone": "Europe/Rome",
}
"""What analytics.js says of a page with every call."""


def call(kind: str, **more: Any) -> dict[str, Any]:
    """One call in the form in which analytics.js sends it alone: with the key in the body, and what it says of itself."""
    return {
        "timestamp": "2026-03-02T10:00:00.000Z",
        "integrations": {},
        "anonymousId": "0b2a7b1c-1d7e-4e6b-8c1c-7d1f0a0c9c11",
        "type": kind,
        "context": CONTEXT,
        "messageId": f"ajs-next-1772445600000-{kind}",
        "userId": None,
        "writeKey": "wk_website",
        "sentAt": "2026-03-02T10:00:00.100Z",
        "_metadata": {"bundled": ["Segment.io"], "unbundled": [], "bundledIds": []},
        **more,
    }


@pytest_asyncio.fixture
async def shop(database_url: str, temporal_address: str, project: Path) -> AsyncIterator[Api]:
    """The API, where browsers may send from the shop as `website`, and from nowhere as `backend`."""
    sources = {"website": SourceSettings(origins=[SHOP]), "backend": SourceSettings(origins=[])}
    async with serving(database_url, temporal_address, project, SETTINGS.model_copy(update={"sources": sources})) as running:
        running.http.auth = None
        yield running


async def test_the_calls_of_a_page_come_in_one_by_one(shop: Api) -> None:
    """As text, with the write key in the body, under paths of one letter: a visit that ends in signing up is one person."""
    visit = [
        ("p", call("page", name="Home", properties={"path": "/", "title": "Shop", "url": "https://shop.example/"})),
        ("t", call("track", event="pinged", properties={"number": 3})),
        ("i", call("identify", userId="ada", traits={"email": "ada@example.com"})),
        ("g", call("group", userId="ada", groupId="acme", traits={"plan": "team"})),
        ("t", call("track", userId="ada", event="signed_up", messageId="ajs-2")),
    ]
    for path, body in visit:
        answer = await shop.http.post(f"/v1/{path}", content=json.dumps(body), headers=TEXT)
        assert (200, {"success": True}) == (answer.status_code, answer.json())
        assert SHOP == answer.headers["access-control-allow-origin"]
    assert ["page", "pinged", "$identify", "$group", "signed_up"] == await shop.events()
    found = await shop.query("select id, attributes from customers")
    assert ["Europe/Rome"] == [r.attributes["timezone"] for r in found]
    assert ["welcome"] == [r.journey for r in await shop.query("select journey from enrollments")]


async def test_a_batch_of_a_page_and_a_beacon_need_no_header(shop: Api) -> None:
    """analytics.js's batching, whose key stands beside the batch, and a beacon, which can't set a header."""
    calls = [{k: v for k, v in call("track", event="pinged", messageId=f"b{n}").items() if k != "sentAt"} for n in range(3)]
    body = {"writeKey": "wk_website", "batch": calls, "sentAt": "2026-03-02T10:00:05.000Z"}
    answer = await shop.http.post("/v1/b", content=json.dumps(body), headers=TEXT)
    assert (200, {"success": True}) == (answer.status_code, answer.json())
    beacon = await shop.http.post(
        "/v1/track",
        content=json.dumps(call("track", event="pinged")),
        headers={**TEXT, "Content-Type": "text/plain;charset=UTF-8"},
    )
    assert 200 == beacon.status_code
    assert ["pinged"] * 4 == await shop.events()


@pytest.mark.parametrize("path", ["/v1/t", "/v1/track", "/v1/batch", "/v1/b", "/v1/alias"])
async def test_a_browser_that_asks_is_told_that_it_may(shop: Api, path: str) -> None:
    """A question is answered without a key, for the origins that some source names, with the headers that were asked for."""
    asked = {
        "Origin": SHOP,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,x-retry-count",
    }
    answer = await shop.http.options(path, headers=asked)
    assert (204, b"") == (answer.status_code, answer.content)
    told = {name: answer.headers[f"access-control-allow-{name}"] for name in ("origin", "methods", "headers")}
    assert {"origin": SHOP, "methods": "POST", "headers": "authorization,x-retry-count"} == told
    assert "Origin" in answer.headers["vary"]
    odd = await shop.http.options(path, headers={**asked, "Access-Control-Request-Headers": "x;y"})
    assert "Authorization" in odd.headers["access-control-allow-headers"]


async def test_no_other_site_and_no_other_route_is_opened(shop: Api) -> None:
    """Other origins get no such header, nor do routes that sources don't send to; and a source takes only from its own."""
    asked = {"Origin": ELSEWHERE, "Access-Control-Request-Method": "POST"}
    assert "access-control-allow-origin" not in (await shop.http.options("/v1/track", headers=asked)).headers
    assert "access-control-allow-origin" not in (await shop.http.get("/v1/customers/ada", headers={"Origin": SHOP})).headers
    body = json.dumps(call("track", event="pinged"))
    for key, origin in (("wk_website", ELSEWHERE), ("wk_backend", SHOP)):
        answer = await shop.http.post("/v1/t", content=body, headers={"Origin": origin}, auth=httpx.BasicAuth(key, ""))
        assert (403, "wrong_origin") == error(answer)
    assert [] == await shop.events()
    servers = await shop.http.post("/v1/t", content=body, auth=httpx.BasicAuth("wk_backend", ""))
    assert 200 == servers.status_code


async def test_a_refusal_can_be_read_by_the_browser(shop: Api) -> None:
    """Errors carry the header too, or a page would see nothing but a failed request."""
    for body, code in (({"writeKey": "nobody's", "event": "x"}, 401), ({"writeKey": "wk_website", "event": "x"}, 400), ({}, 401)):
        answer = await shop.http.post("/v1/t", content=json.dumps(body), headers=TEXT)
        assert (code, SHOP) == (answer.status_code, answer.headers["access-control-allow-origin"])
        assert "Retry-After" in answer.headers["access-control-expose-headers"]


async def test_a_key_in_the_header_wins_and_a_wrong_one_is_not_made_up_for_by_the_body(shop: Api) -> None:
    """Official clients send both."""
    body = json.dumps(call("track", event="pinged"))
    assert 200 == (await shop.http.post("/v1/t", content=body, auth=httpx.BasicAuth("wk_backend", ""))).status_code
    assert ["backend"] == [r.source for r in await shop.query("select source from events")]
    wrong = await shop.http.post("/v1/t", content=body, auth=httpx.BasicAuth("wk_wrong", ""))
    assert (401, "bad_write_key") == error(wrong)


async def test_without_a_rule_browsers_may_send_from_anywhere(api: Api) -> None:
    """The write key is what lets a source in; `origins` is for those who want to say more."""
    body = json.dumps(call("track", event="pinged"))
    answer = await api.http.post("/v1/t", content=body, headers={"Origin": "null"})
    assert (200, "null") == (answer.status_code, answer.headers["access-control-allow-origin"])
