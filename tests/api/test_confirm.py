"""`/c/TOKEN`: double opt-in by the link in a message."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import pytest_asyncio

from engine.app.deploying import deploy
from engine.authoring.project import load_project
from engine.delivery.links import Links
from engine.insight.why import why
from engine.store import planned
from engine.store.database import transaction
from tests.api.conftest import OPERATOR, Api, serving
from tests.harness import POLICY, running, write_project

YES = {"Confirm": "Yes"}
TWICE = POLICY.replace("email: {default: granted}", "email: {default: none, double_opt_in: true}")
ASK = """
journey: ask
tier: transactional
enter: {event: consent_changed, where: event.state == "pending", again: always}
steps:
  - send: email
    id: ask
    template: ask
  - wait_for: consent_changed
    where: event.state == "granted"
    id: answer
    timeout: 30d
    then:
      - send: email
        id: news
        tier: lifecycle
        template: hello
        topic: news
"""
FILES = {
    "journeys/policy.yaml": TWICE,
    "journeys/ask.yaml": ASK,
    "templates/email/ask.txt": "---\nsubject: Please confirm\n---\nIs it you? {{ confirm_url }}\n",
}


@pytest_asyncio.fixture
async def api(database_url: str, temporal_address: str, tmp_path: Path) -> AsyncIterator[Api]:
    """The API of a project that wants e-mail confirmed, with ada known."""
    async with serving(database_url, temporal_address, write_project(tmp_path, FILES)) as found:
        async with transaction(found.core.database) as c:
            await planned.know_channels(c, {"email": "email"})  # as a worker does when it starts
        await found.http.post("/v1/identify", json={"userId": "ada", "traits": {"email": "ada@example.com"}})
        yield found


async def agree(api: Api, topic: str | None = "news", **properties: Any) -> None:
    """Ada agrees to e-mail."""
    told = {"channel": "email", "topic": topic, "state": "granted", **properties}
    answer = await api.http.post("/v1/track", json={"userId": "ada", "event": "consent_changed", "properties": told})
    assert answer.status_code == 200


async def link(api: Api, topic: str | None = "news", address: str = "ada@example.com") -> str:
    """The path of a link to ada."""
    [row] = await api.query("select customer_id from identifiers where value = 'ada'")
    return urlsplit(api.core.links.confirm(row.customer_id, "email", topic, address)).path


async def states(api: Api) -> list[tuple[Any, ...]]:
    return [tuple(r) for r in await api.query("select topic, state, source, wording from consents order by id")]


def stranger(api: Api) -> httpx.AsyncClient:
    """A client that has no key and follows nothing."""
    return httpx.AsyncClient(base_url=api.http.base_url, follow_redirects=False, timeout=60)


async def test_a_post_confirms_what_is_pending_with_its_wording_once(api: Api) -> None:
    """Ten clicks are one consent, which keeps the wording agreed to and says how it was confirmed."""
    await agree(api, source="signup form", wording="2026-01")
    path = await link(api)
    async with stranger(api) as http:
        answers = await asyncio.gather(*(http.post(path, data=YES) for _ in range(10)))
        assert {a.status_code for a in answers} == {200}
        assert "Nothing to confirm" in (await http.post(path, data=YES)).text
    assert await states(api) == [("news", "pending", "signup form", "2026-01"), ("news", "granted", "link", "2026-01")]


async def test_a_get_or_another_post_changes_nothing(api: Api) -> None:
    """Programs follow links: they see a page with one button that posts what counts."""
    await agree(api)
    path = await link(api)
    async with stranger(api) as http:
        shown = await http.get(path)
        assert (await http.head(path)).status_code == 200
        assert 'name="Confirm" value="Yes"' in shown.text
        assert (await http.post(path, data={"Confirm": "No"})).status_code == 400
        assert (await http.post(path)).status_code == 400
    assert [s for _, s, *_ in await states(api)] == ["pending"]


async def test_an_old_link_revives_nothing_that_was_withdrawn(api: Api) -> None:
    """After a withdrawal there is nothing to confirm; after agreeing anew there is."""
    await agree(api)
    path = await link(api)
    await agree(api, state="withdrawn")
    async with stranger(api) as http:
        assert "Nothing to confirm" in (await http.post(path, data=YES)).text
        await agree(api)
        assert "Thank you" in (await http.post(path, data=YES)).text
    assert [s for _, s, *_ in await states(api)] == ["pending", "withdrawn", "pending", "granted"]


@pytest.mark.parametrize(
    ("asked", "withdrawn"),
    [(("*", None), ("email", None)), (("email", None), ("email", "offers")), (("email", "news"), ("*", None))],
)
async def test_a_link_revives_no_broader_and_no_narrower_withdrawal(
    api: Api, asked: tuple[str, str | None], withdrawn: tuple[str, str | None]
) -> None:
    """Who took something of it back since isn't asked any more: nothing is granted, and the page says so."""
    await agree(api, asked[1], channel=asked[0])
    path = await link(api, asked[1])
    await agree(api, withdrawn[1], channel=withdrawn[0], state="withdrawn")
    async with stranger(api) as http:
        assert "Nothing to confirm" in (await http.post(path, data=YES)).text
    assert ["pending", "withdrawn"] == [s for _, s, *_ in await states(api)]


async def test_agreeing_again_is_confirmed_again_where_a_topic_was_taken_back(api: Api) -> None:
    """Anybody may type the address into a form once more: what was withdrawn since stays so until its owner confirms."""
    await agree(api, None, confirmed=True)
    await agree(api, "offers", state="withdrawn")
    await agree(api, None)
    assert [(None, "granted"), ("offers", "withdrawn"), (None, "pending")] == [(t, s) for t, s, *_ in await states(api)]


async def test_a_link_confirms_its_own_topic_or_without_one_all_of_the_channel(api: Api) -> None:
    """A topic's link leaves other topics alone, and what was said of the whole channel."""
    for topic in ("news", "offers", None):
        await agree(api, topic)
    async with stranger(api) as http:
        await http.post(await link(api, "offers"), data=YES)
        assert [(t, s) for t, s, *_ in await states(api)][3:] == [("offers", "granted")]
        await http.post(await link(api, None), data=YES)
    assert [(t, s) for t, s, *_ in await states(api)][4:] == [("news", "granted"), (None, "granted")]


async def test_every_channel_is_confirmed_by_a_link_only_where_no_other_wants_its_own(api: Api, tmp_path: Path) -> None:
    """Who reads the e-mail speaks for the whole where e-mail alone wants it; else for e-mail."""
    await agree(api, None, channel="*")
    async with stranger(api) as http:
        await http.post(await link(api, None), data=YES)
        told = "select channel, state from consents order by id"
        assert [("*", "pending"), ("*", "granted")] == [tuple(r) for r in await api.query(told)]
        both = TWICE.replace("sms: {default: granted}", "sms: {default: none, double_opt_in: true}")
        folder = write_project(tmp_path, {**FILES, "journeys/policy.yaml": both})
        await deploy(api.core.database, load_project(folder, {"email", "sms"}), "test")
        await agree(api, "news", channel="*")
        await http.post(await link(api), data=YES)
        assert [("*", "pending"), ("email", "granted")] == [tuple(r) for r in await api.query(told)][2:]


async def test_a_link_that_went_to_another_address_confirms_nothing(api: Api) -> None:
    """It proves who reads at that address, and says nothing of the one that came after."""
    await agree(api)
    path = await link(api)
    await api.http.post("/v1/identify", json={"userId": "ada", "traits": {"email": "new@example.com"}})
    async with stranger(api) as http:
        assert (await http.post(path, data=YES)).status_code == 404
        assert (await http.post(await link(api, address="new@example.com"), data=YES)).status_code == 200


async def test_no_other_token_confirms(api: Api) -> None:
    """Not a forged one, nor an unsubscribe link's; and a confirmation link withdraws nothing."""
    await agree(api)
    path = await link(api)
    [row] = await api.query("select customer_id from identifiers where value = 'ada'")
    forged = Links({1: b"another"}, "http://x").confirm(row.customer_id, "email", "news", "ada@example.com")
    leave = urlsplit(api.core.links.unsubscribe(row.customer_id, "email", "news")).path
    async with stranger(api) as http:
        for wrong in (urlsplit(forged).path, path[:-1], leave.replace("/u/", "/c/"), "/c/x", "/c/1.abc.%C3%A9"):
            assert (await http.post(wrong, data=YES)).status_code == 404
            assert (await http.get(wrong)).status_code == 404
        answer = await http.post(path.replace("/c/", "/u/"), data={"List-Unsubscribe": "One-Click"})
        assert answer.status_code == 404
    assert [s for _, s, *_ in await states(api)] == ["pending"]


async def test_who_was_erased_confirms_nothing(api: Api) -> None:
    """A link of theirs no longer works."""
    await agree(api)
    await api.query("update customers set erased_at = now() returning id")
    async with stranger(api) as http:
        assert (await http.post(await link(api), data=YES)).status_code == 404


async def test_the_history_of_a_consent_is_shown(api: Api) -> None:
    """The newest statement of each channel and topic, with those before it, the latest first: who told, how, when, which
    wording."""
    await agree(api, source="signup form", wording="2026-01")
    async with stranger(api) as http:
        await http.post(await link(api), data=YES)
    await agree(api, "offers", confirmed=True)
    await agree(api, "offers", state="withdrawn", until="2099-12-24T00:00:00Z")
    shown = (await api.http.get("/v1/customers/ada", headers=OPERATOR, auth=None)).json()["consents"]  # type: ignore[arg-type]
    assert [(s["topic"], s["state"], s["until"]) for s in shown] == [
        ("news", "granted", None),
        ("offers", "withdrawn", "2099-12-24T00:00:00Z"),
    ]
    assert [(s["state"], s["source"], s["via"], s["wording"]) for s in shown[0]["history"]] == [
        ("pending", "signup form", "website", "2026-01")
    ]
    assert (shown[0]["via"], shown[0]["source"]) == ("confirmation", "link")
    assert shown[0]["recorded_at"] >= shown[0]["at"] >= shown[0]["history"][0]["recorded_at"]
    assert [s["state"] for s in shown[1]["history"]] == ["granted"]


async def test_from_asking_to_the_first_letter_on_the_real_engine(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """Agreeing sends the letter with the link and nothing else; the link's button lets the first real one out, and `why` names
    the statement that allowed it."""
    folder = write_project(tmp_path, FILES)
    async with (
        running(folder, database_url, temporal_address, task_queue_prefix) as sojourn,
        serving(database_url, temporal_address, None) as api,
    ):
        ada = await sojourn.identify("ada")
        asked = {"channel": "email", "topic": "news", "state": "granted", "wording": "2026-01"}
        await sojourn.track("ada", "consent_changed", **asked)
        await sojourn.waiting_in("answer")
        [letter] = sojourn.email.to(ada)
        [url] = re.findall(r"http\S*/c/\S+", letter.content.text or "")
        async with stranger(api) as http:
            assert "Thank you" in (await http.post(urlsplit(url).path, data=YES)).text
        await sojourn.settled(60)
        assert ["ask", "news"] == [m.step for m in sojourn.email.to(ada)]
        async with transaction(sojourn.worker.core.database) as c:
            told = await why(c, ada, "ask")
        last = [m.message for p in told.passages for m in p.moments if m.message is not None][-1]
        gate = last.decisions[-1].gates[6]
        assert ("granted", True) == (gate.rule, gate.detail.endswith(", link, wording 2026-01."))
