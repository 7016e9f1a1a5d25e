"""The inbox from end to end: what the channel puts down, the customer's app reads, marks and archives; and who else may not."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest_asyncio
from pydantic import SecretStr

from channels.inbox import channel
from engine.api.inbox import customer_in
from engine.delivery.channel import Content, Outgoing, Receipt, Result
from engine.delivery.testing import INJECTION, ODD
from engine.settings.project import InboxSettings
from tests.api.conftest import SETTINGS, Api, error, serving

KEY = "inbox-key-5b0c"
SHOP = "https://shop.example"
PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "show-an-inbox.md"
MAKER: dict[str, Any] = {}
exec(re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)[1], MAKER)  # type: ignore[index]  # or it fails


def token(user: str, minutes: float = 5, key: str = KEY) -> str:
    """As the how-to page has the backend make it."""
    return str(MAKER["inbox_token"](user, minutes, key))


@pytest_asyncio.fixture
async def app(database_url: str, temporal_address: str, project: Path) -> AsyncIterator[Api]:
    """The API, whose inbox the shop's pages may read."""
    inbox = InboxSettings(key=SecretStr(KEY), origins=[SHOP])
    async with serving(database_url, temporal_address, project, SETTINGS.model_copy(update={"inbox": inbox})) as running:
        yield running


async def known(api: Api, user: str) -> int:
    """A new customer's number."""
    await api.http.post("/v1/identify", json={"userId": user})
    return int((await api.query("select customer_id as id from identifiers where value = :user", user=user))[0].id)


def message(customer: int, n: int = 0, **changes: object) -> Outgoing:
    """A message for the inbox."""
    content = Content({"title": f"Title {n}"}, text=f"Text {n}", json={"url": f"https://skin.example/{n}"})
    plain = Outgoing(f"e{customer}/s/{n}/0", str(customer), content, {}, str(customer), "j", "s", "t", "lifecycle")
    return replace(plain, **changes)  # type: ignore[arg-type]  # the caller names fields of Outgoing


@asynccontextmanager
async def as_app(api: Api, user: str) -> AsyncIterator[httpx.AsyncClient]:
    """The customer's app."""
    async with httpx.AsyncClient(base_url=api.address, headers={"Authorization": f"Bearer {token(user)}"}, timeout=60) as http:
        yield http


async def test_the_whole_way(app: Api) -> None:
    """Put down once under its key, read page by page, marked, archived; nobody sees or touches another's."""
    ada, bob = await known(app, "ada"), await known(app, "bob")
    inbox = channel({})
    inbox.name = "inbox"
    inbox.open(app.core.database)
    given = [message(ada, n) for n in range(5)]
    answers = await inbox.send_many([*given, message(bob), message(999_999), message(ada, 9, content=Content({}))])
    assert [Result.ACCEPTED] * 6 == [a.result for a in answers[:6] if isinstance(a, Receipt)]
    assert isinstance(answers[6], Receipt)
    assert (Result.REFUSED, "not sent: there is no such customer any more") == (answers[6].result, answers[6].words)
    assert isinstance(answers[7], ValueError)
    assert answers[0] == await inbox.send(replace(given[0], content=Content({}, text="another text")))
    assert [] == await inbox.send_many([])

    async with as_app(app, "ada") as http:
        first = (await http.get("/v1/inbox", params={"limit": 3})).json()
        assert (["Text 4", "Text 3", "Text 2"], 5) == ([m["body"] for m in first["messages"]], first["unread"])
        assert {"url": "https://skin.example/4"} == first["messages"][0]["data"]
        rest = (await http.get("/v1/inbox", params={"limit": 3, "before": first["next"]})).json()
        assert (["Text 1", "Text 0"], None) == ([m["body"] for m in rest["messages"]], rest["next"])
        theirs = int((await app.query("select id from inbox where customer_id = :bob", bob=bob))[0].id)
        read, archived = first["messages"][0]["id"], first["messages"][1]["id"]
        for _ in range(2):
            marked = await http.post("/v1/inbox", json={"read": [read, theirs], "archive": [archived]})
            assert {"marked": 2} == marked.json()
        now = (await http.get("/v1/inbox")).json()
        assert (["Text 4", "Text 2", "Text 1", "Text 0"], 3) == ([m["body"] for m in now["messages"]], now["unread"])
        assert [True, False, False, False] == [m["read_at"] is not None for m in now["messages"]]
        kept = (await http.get("/v1/inbox", params={"archived": "true"})).json()["messages"]
        assert [("Text 3", True)] == [(m["body"], m["read_at"] is not None) for m in kept]
    assert [None] == [r.read_at for r in await app.query("select read_at from inbox where id = :id", id=theirs)]

    await app.core.intake.merge(ada, bob, "test")  # what either got is now read by both ids
    for user in ("ada", "bob"):
        async with as_app(app, user) as http:
            assert 5 == len((await http.get("/v1/inbox")).json()["messages"])


async def test_odd_messages(app: Api) -> None:
    """What people and templates write is kept as text, whatever it is; what is too large, or for no customer, isn't kept."""
    ada = await known(app, "ada")
    inbox = channel({"max_bytes": 5_000})
    inbox.name = "inbox"
    inbox.open(app.core.database)
    odd = Content({"title": INJECTION}, text=ODD, json={ODD: [ODD, {"n": 1.5, "t": None}]})
    assert Result.ACCEPTED == (await inbox.send(message(ada, content=odd, key=f"e/{ODD}"))).result
    async with as_app(app, "ada") as http:
        (found,) = (await http.get("/v1/inbox")).json()["messages"]
    assert ("👧" in found["body"], "\n" in found["title"], [1.5]) == (True, False, [v[1]["n"] for v in found["data"].values()])
    deep: object = "x"
    for _ in range(300):
        deep = [deep]
    unfit = [Content({}, text="x", json=one) for one in ({"n": 2**64}, {"n": -(2**70)}, {"deep": deep})]
    mixed = [message(ada, 20 + n, content=c) for n, c in enumerate([*unfit, Content({}, text="fit", json={"n": 2**63 - 1})])]
    *failed, fit = await inbox.send_many(mixed)  # what one template does wrong blocks no other
    assert (3, Result.ACCEPTED) == (sum(isinstance(f, ValueError) for f in failed), getattr(fit, "result", fit))
    big = await inbox.send(message(ada, 1, content=Content({}, text="x" * 6_000)))
    assert re.search(r"\d+ bytes.*at most 5000", big.words)
    for stranger in ("c1", "", "-1", "9" * 30):
        assert Result.REFUSED == (await inbox.send(replace(message(ada, 2), customer=stranger))).result


async def test_without_a_token_of_ours(app: Api) -> None:
    """Nobody's token, one that has ended, one of another key, a role's, and half a one open nothing; a body must be right."""
    await known(app, "ada")
    good = token("ada")
    for bad in (
        "x",
        "token_operator",
        good[:-1],
        good.replace(".", ""),
        token("ada", -1),
        token("ada", key="another"),
        "." + good,
    ):
        headers = {"Authorization": f"Bearer {bad}"}
        async with httpx.AsyncClient(base_url=app.address, headers=headers, timeout=60) as http:
            for answer in (await http.get("/v1/inbox"), await http.post("/v1/inbox", json={})):
                assert (401, "bad_customer_token") == error(answer), bad
    async with as_app(app, "nobody") as http:
        assert (404, "unknown_customer") == error(await http.get("/v1/inbox"))
    async with as_app(app, "ada") as http:
        for body in (
            {"read": 1},
            {"read": [0]},
            {"read": ["1"]},
            {"read": [True]},
            {"archive": list(range(1, 102))},
            {"reads": []},
        ):
            assert (400, "bad_request") == error(await http.post("/v1/inbox", json=body)), body
        for query in ("limit=0", "limit=101", "before=0", "archived=maybe"):
            assert (400, "bad_request") == error(await http.get(f"/v1/inbox?{query}")), query


async def test_browsers(app: Api) -> None:
    """Pages of the sites that `inbox.origins` names may ask and read; other sites' may not."""
    asked = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization"}
    await known(app, "ada")
    async with as_app(app, "ada") as http:
        told = await http.options("/v1/inbox", headers={"Origin": SHOP, **asked})
        assert (204, SHOP, "GET, POST", "authorization") == (
            told.status_code,
            *(told.headers[f"access-control-allow-{name}"] for name in ("origin", "methods", "headers")),
        )
        assert SHOP == (await http.get("/v1/inbox", headers={"Origin": SHOP})).headers["access-control-allow-origin"]
        elsewhere = await http.options("/v1/inbox", headers={"Origin": "https://elsewhere.example", **asked})
        assert "access-control-allow-origin" not in elsewhere.headers


def test_tokens() -> None:
    """The page's function and the API agree; nothing that is malformed, though signed, is anybody's token."""
    now = datetime.now(UTC)
    assert "ada/7 ü" == customer_in(token("ada/7 ü"), KEY, now)
    for odd in (
        "[]",
        "7",
        "{",
        '{"customer": "ada"}',
        '{"customer": 7, "until": 9e9}',
        '{"customer": "a", "until": true}',
        "[" * 9_999,
    ):
        payload = base64.urlsafe_b64encode(odd.encode()).rstrip(b"=").decode()
        assert customer_in(f"{payload}.{MAKER['mac'](payload, KEY)}", KEY, now) is None, odd
    assert json.loads(base64.urlsafe_b64decode(token("ada").partition(".")[0] + "=="))["customer"] == "ada"
