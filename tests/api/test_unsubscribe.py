"""`/u/TOKEN`, RFC 8058."""

from __future__ import annotations

import asyncio
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from engine.delivery.links import Links
from tests.api.conftest import Api, serving

ONE_CLICK = {"List-Unsubscribe": "One-Click"}


async def make(api: Api, user: str = "ada", channel: str = "email", topic: str | None = "news") -> tuple[int, str]:
    """A customer and the path of their link."""
    await api.http.post("/v1/identify", json={"userId": user})
    [row] = await api.query("select customer_id from identifiers where value = :user", user=user)
    return row.customer_id, urlsplit(api.core.links.unsubscribe(row.customer_id, channel, topic)).path


async def consents(api: Api) -> list[tuple[Any, ...]]:
    return [tuple(r) for r in await api.query("select customer_id, channel, topic, state from consents order by id")]


def stranger(api: Api) -> httpx.AsyncClient:
    """A client that has no key and follows nothing."""
    return httpx.AsyncClient(base_url=api.http.base_url, follow_redirects=False, timeout=60)


async def test_one_post_withdraws_at_once_without_login_cookie_or_redirect(api: Api) -> None:
    """The link's channel and topic are withdrawn, for this customer and no other."""
    ada, path = await make(api)
    await make(api, "bob")
    async with stranger(api) as http:
        answer = await http.post(path, data=ONE_CLICK)
    assert (answer.status_code, "set-cookie" in answer.headers) == (200, False)
    assert await consents(api) == [(ada, "email", "news", "withdrawn")]


async def test_repeats_change_nothing_and_after_a_new_consent_the_link_works_again(api: Api) -> None:
    """Ten clicks are one withdrawal; somebody who came back can leave by the same old link."""
    ada, path = await make(api)
    async with stranger(api) as http:
        await asyncio.gather(*(http.post(path, data=ONE_CLICK) for _ in range(10)))
        assert await consents(api) == [(ada, "email", "news", "withdrawn")]
        back = {"channel": "email", "topic": "news", "state": "granted"}
        await api.http.post("/v1/track", json={"userId": "ada", "event": "consent_changed", "properties": back})
        await http.post(path, data=ONE_CLICK)
        await http.post(path, data=ONE_CLICK)
    states = [state for *_, state in await consents(api)]
    assert states == ["withdrawn", "granted", "withdrawn"]


async def test_a_link_without_a_topic_withdraws_the_whole_channel(api: Api) -> None:
    """`topic` is null then; another topic's link is a withdrawal of its own."""
    ada, path = await make(api, topic=None)
    _, offers = await make(api, topic="offers")
    async with stranger(api) as http:
        await http.post(path, data=ONE_CLICK)
        await http.post(offers, data=ONE_CLICK)
    assert await consents(api) == [(ada, "email", None, "withdrawn"), (ada, "email", "offers", "withdrawn")]


async def test_both_forms_of_the_rfc_are_understood(api: Api) -> None:
    """urlencoded and multipart/form-data."""
    ada, path = await make(api)
    async with stranger(api) as http:
        answer = await http.post(path, files={"List-Unsubscribe": (None, "One-Click")})
    assert answer.status_code == 200
    assert await consents(api) == [(ada, "email", "news", "withdrawn")]


async def test_a_get_changes_nothing_and_shows_one_button(api: Api) -> None:
    """Programs follow links: GET and HEAD only show the page, whose one form posts what RFC 8058 wants to where it came from."""
    ada, path = await make(api, topic="product_education")
    async with stranger(api) as http:
        shown = await http.get(path)
        assert (await http.head(path)).status_code == 200
        assert await consents(api) == []
        assert "e-mails about “product education”" in shown.text
        page = Page.of(shown.text)
        assert page.forms == [{"method": "post"}]
        assert page.fields == [{"type": "hidden", "name": "List-Unsubscribe", "value": "One-Click"}]
        assert (page.language, page.headings, page.buttons) == ("en", 1, 1)
        assert page.outside == []
        assert "default-src 'none'" in shown.headers["content-security-policy"]
        assert "no-store" in shown.headers["cache-control"]
        done = await http.post(path, data={str(f["name"]): f["value"] for f in page.fields})
    assert "You’re unsubscribed" in done.text
    assert await consents(api) == [(ada, "email", "product_education", "withdrawn")]


async def test_a_post_that_does_not_say_one_click_asks_first(api: Api) -> None:
    """An empty POST, of a scanner for example, withdraws nothing."""
    _, path = await make(api)
    async with stranger(api) as http:
        for body in (b"", b"List-Unsubscribe=", b"x=One-Click", b"\xff" * 100):
            answer = await http.post(path, content=body, headers={"Content-Type": "application/x-www-form-urlencoded"})
            assert answer.status_code == 400
            assert "<button" in answer.text
    assert await consents(api) == []


async def test_a_forged_token_is_a_404_page(api: Api) -> None:
    """Another customer's number, a cut, another key, nonsense: a page that says so, and nothing changes."""
    ada, path = await make(api)
    forged = Links({1: b"another"}, "http://x").unsubscribe(ada, "email", "news")
    signed = api.core.links.sign
    tokens = [
        urlsplit(forged).path,
        path[:-1],
        path[:-1] + ("A" if path[-1] != "A" else "B"),
        "/u/x",
        "/u/1.2.3",
        "/u/é.ü.ö",
        "/u/%00",
        f"/u/{signed(['x', 'email', None])}",
        f"/u/{signed([1])}",
        f"/u/{signed([999_999, 'email', None])}",
    ]
    async with stranger(api) as http:
        for token in tokens:
            answer = await http.post(token, data=ONE_CLICK)
            assert (token, answer.status_code) == (token, 404)
            assert answer.headers["content-type"].startswith("text/html")
        assert (await http.get("/u/x")).status_code == 404
    assert await consents(api) == []


async def test_what_a_link_names_is_escaped(api: Api) -> None:
    """Even our own words never become markup."""
    _, path = await make(api, topic="<script>alert(1)</script>")
    async with stranger(api) as http:
        for answer in (await http.get(path), await http.post(path, data=ONE_CLICK)):
            assert "<script" not in answer.text
            assert "&lt;script&gt;" in answer.text


async def test_a_link_goes_on_working_after_erasure(api: Api) -> None:
    """The withdrawal of somebody who was erased is still taken."""
    ada, path = await make(api)
    await api.query("update customers set erased_at = now() returning id")
    async with stranger(api) as http:
        assert (await http.post(path, data=ONE_CLICK)).status_code == 200
    assert await consents(api) == [(ada, "email", "news", "withdrawn")]


async def test_a_withdrawal_that_cannot_be_stored_now_says_so(bare: Api) -> None:
    """With nothing deployed the door takes nothing: a page with 503 that never claims success."""
    await bare.query("insert into customers (created_at, updated_at) values (now(), now()) returning id")
    path = urlsplit(bare.core.links.unsubscribe(1, "email", None)).path
    async with stranger(bare) as http:
        answer = await http.post(path, data=ONE_CLICK)
    assert (answer.status_code, "retry-after" in answer.headers) == (503, True)
    assert "You are not unsubscribed yet" in answer.text


@pytest.mark.parametrize("quarantine", [False, True])
async def test_a_strict_project_withdraws_too(database_url: str, temporal_address: str, project: Any, quarantine: bool) -> None:
    """`on_unknown: quarantine` keeps unknown events aside; `unsubscribed` is ours and always known."""
    tracking = project / "journeys" / "tracking.yaml"
    tracking.write_text(tracking.read_text() + ("on_unknown: quarantine\n" if quarantine else ""))
    async with serving(database_url, temporal_address, project) as api, stranger(api) as http:
        _, path = await make(api)
        await http.post(path, data=ONE_CLICK)
        assert [state for *_, state in await consents(api)] == ["withdrawn"]


class Page(HTMLParser):
    """What stands on a page."""

    def __init__(self) -> None:
        super().__init__()
        self.forms: list[dict[str, str | None]] = []
        self.fields: list[dict[str, str | None]] = []
        self.outside: list[str] = []
        self.language: str | None = None
        self.headings = self.buttons = 0

    @classmethod
    def of(cls, html: str) -> Page:
        page = cls()
        page.feed(html)
        return page

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        match tag:
            case "html":
                self.language = given.get("lang")
            case "form":
                self.forms.append(given)
            case "input":
                self.fields.append(given)
            case "button":
                self.buttons += 1
            case "h1":
                self.headings += 1
        if "src" in given or "href" in given or tag == "script":
            self.outside.append(tag)
