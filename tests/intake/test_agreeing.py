"""What the door makes of consents and replies: who must confirm first, who wants no more; against a real PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from engine.app.deploying import deploy
from engine.app.wiring import open_core
from engine.authoring.project import load_project
from engine.core.case import open_case
from engine.core.consent import consent
from engine.core.incoming import Incoming
from engine.core.policy import ConsentRule, Policy, Tier
from engine.delivery.facts import consent_fact
from engine.intake.agreeing import CONFIRMATION
from engine.settings.project import Settings
from engine.store import customers
from engine.store.database import transaction
from tests.core.governing import facts, message
from tests.harness import POLICY, utc, write_project
from tests.intake.test_door import Doorway, event

TWICE = POLICY.replace("email: {default: granted}", "email: {default: none, double_opt_in: true}")
ASK = """
journey: ask
tier: service
enter: {event: consent_changed, where: event.state == "pending", again: always}
steps: [{wait: 1h, id: hour}]
"""


@pytest.fixture
async def door(tmp_path: Path, database_url: str) -> AsyncIterator[Doorway]:
    """A door of a project that wants e-mail confirmed and texts not."""
    folder = write_project(tmp_path, {"journeys/policy.yaml": TWICE, "journeys/ask.yaml": ASK})
    async with open_core(Settings(), database_url) as core:
        await deploy(core.database, load_project(folder, {"email", "sms"}), "test")
        yield Doorway(core)


async def said(door: Doorway) -> list[tuple[Any, ...]]:
    """What is recorded, oldest first."""
    return [tuple(r) for r in await door.query("select channel, topic, state from consents order by id")]


async def answer(door: Doorway, customer: int) -> str:
    """What the gate says to e-mail about news."""
    async with transaction(door.core.database) as c:
        told = tuple(consent_fact(r) for r in await customers.consents(c, [customer]))
    policy = Policy((Tier("lifecycle"),), consent=(ConsentRule("email", double_opt_in=True),), topics=("news", "offers"))
    asked = open_case(policy, facts(consents=told), message(channel="email", topic="news"))
    return str(consent(asked, utc("2999-01-01 00:00")).answer)


def agrees(number: int, at: datetime | None = None, /, **properties: Any) -> Incoming:
    """Somebody agrees to e-mail about news, changed as said."""
    told = {"channel": "email", "topic": "news", "state": "granted", **properties}
    return Incoming("track", "shop", f"c{number}", "consent_changed", told, identifiers={"user_id": "ada"}, occurred_at=at)


async def test_agreeing_to_what_must_be_confirmed_is_pending_and_journeys_see_it_so(door: Doorway) -> None:
    """On a channel with double opt-in a grant waits for its confirmation; the journey that asks begins with it."""
    answers = await door.accept(agrees(1), agrees(2, channel="sms"))
    assert [("email", "news", "pending"), ("sms", "news", "granted")] == await said(door)
    assert [1, 0] == [len(a.enrollments) for a in answers]


@pytest.mark.parametrize("channel", [None, "*"])
async def test_agreeing_to_every_channel_is_pending_where_one_of_them_wants_it(door: Doorway, channel: str | None) -> None:
    """Where a case is in doubt, nothing is sent."""
    await door.accept(agrees(1, channel=channel))
    assert [("*", "news", "pending")] == await said(door)


async def test_a_source_that_had_it_confirmed_says_so(door: Doorway) -> None:
    """`confirmed: true` is consent at once; any other value isn't."""
    await door.accept(agrees(1, confirmed=True), agrees(2, topic="offers", confirmed=False))
    assert [("email", "news", "granted"), ("email", "offers", "pending")] == await said(door)


async def test_who_has_confirmed_need_not_again_until_they_withdraw(door: Doorway) -> None:
    """Agreeing once more changes nothing of a confirmed consent; after a withdrawal it must be confirmed anew. In one batch and
    over several alike."""
    await door.accept(agrees(1, confirmed=True), agrees(2))
    await door.accept(agrees(3))
    gone = event("unsubscribed", "u", channel="email", topic="news")
    await door.accept(gone, agrees(4))
    await door.accept(agrees(5))
    assert ["granted", "granted", "granted", "withdrawn", "pending", "pending"] == [s for *_, s in await said(door)]


async def test_a_confirmation_of_the_past_does_not_outlast_a_later_withdrawal(door: Doorway) -> None:
    """What counts is when it was said, not when it came: a late report of an old consent doesn't spare the confirmation."""
    await door.accept(agrees(1, utc("2026-03-05 10:00"), state="withdrawn"), agrees(2, utc("2026-03-01 10:00"), confirmed=True))
    await door.accept(agrees(3, utc("2026-03-06 10:00")))
    assert ["withdrawn", "granted", "pending"] == [s for *_, s in await said(door)]


async def test_every_statement_keeps_who_how_when_and_which_wording(door: Doorway) -> None:
    """The event's source, how it was said, the moment it was said and the one it was recorded, the wording, and its end."""
    at, until = utc("2026-03-02 10:00"), "2026-12-24T00:00:00+00:00"
    await door.accept(agrees(1, at, confirmed=True, source="signup form", wording="2026-01", until=until))
    await door.accept(event("unsubscribed", "u", channel="email", until="not a moment"))
    rows = await door.query("select via, source, wording, at, until, recorded_at > at as later, state from consents order by id")
    assert ("shop", "signup form", "2026-01", at, datetime.fromisoformat(until), True, "granted") == tuple(rows[0])
    assert ("test", "test", "", None, "withdrawn") == (rows[1].via, rows[1].source, rows[1].wording, rows[1].until, rows[1].state)


async def test_a_repeat_confirms_nothing(door: Doorway) -> None:
    """An old confirmation that a source sends once more, together with a new wish, doesn't spare the new one its own."""
    old = agrees(1, confirmed=True)
    await door.accept(old, event("unsubscribed", "u", channel="email", topic="news"))
    await door.accept(old, agrees(2), agrees(3))
    assert ["granted", "withdrawn", "pending", "pending"] == [s for *_, s in await said(door)]
    await door.accept(agrees(4, confirmed=True), agrees(4, confirmed=True), agrees(5))
    assert ["granted", "granted"] == [s for *_, s in await said(door)][4:]


async def test_a_word_in_a_letter_is_no_stop(door: Doorway) -> None:
    """By e-mail people have a link: an answer is for people."""
    await door.accept(Incoming("identify", "test", "i1", traits={"email": "a@example.com"}, identifiers={"user_id": "ada"}))
    await door.accept(event("message_replied", 1, channel="email", text="stop"))
    assert [] == await door.query("select 1 from suppressions")


@pytest.mark.parametrize(
    ("text", "stops"),
    [
        *((word, True) for word in ("STOP", "quit", "End", "CANCEL", "revoke", "OPT OUT", "opt-out", "unsubscribe")),
        *((word, True) for word in (" Stop. ", "STOP!!", "opt\u00a0 out")),
        *((word, False) for word in ("", "please stop by tomorrow", "STOP IT", "the end", "when does it end?", "ok", None, 7)),
    ],
)
async def test_a_reply_that_is_a_stop_word_suppresses_the_address(door: Doorway, text: Any, stops: bool) -> None:
    """STOP and its like, alone, whatever the case; other replies are for people."""
    await door.accept(Incoming("identify", "test", "i1", traits={"phone": "+39333"}, identifiers={"user_id": "ada"}))
    await door.accept(event("message_replied", 1, channel="sms", text=text))
    found = [tuple(r) for r in await door.query("select channel, address, reason from suppressions")]
    assert ([("sms", "+39333", "stop")] if stops else []) == found


async def test_what_is_cleared_counts_from_now_and_not_as_history(door: Doorway) -> None:
    """What was withdrawn holds no more, and nothing is agreed to; of the past it would bring back who has left since."""
    await door.accept(agrees(1, state="withdrawn"), replace(agrees(2, state="cleared"), history=True))
    assert ["withdrawn"] == [state for *_, state in await said(door)]
    await door.accept(agrees(3, state="cleared"), agrees(4, state="gone"))
    assert ["withdrawn", "cleared"] == [state for *_, state in await said(door)]


@pytest.mark.parametrize("cleared", [("email", None), ("email", "news"), ("*", None)])
async def test_what_was_cleared_is_agreed_to_anew(door: Doorway, cleared: tuple[str, str | None]) -> None:
    """No consent of before comes back by it: where it must be confirmed, it must be once more, a link of before confirms
    nothing, and what comes late doesn't count."""
    about = {"channel": cleared[0], "topic": cleared[1]}
    await door.accept(agrees(1, confirmed=True), agrees(2, topic="offers"))
    await door.accept(agrees(3, state="withdrawn", **about), agrees(4, state="cleared", **about))
    (customer, waits) = (await door.query("select customer_id, id from consents where state = 'pending'"))[0]
    granted = {"channel": "email", "topic": "offers", "state": "granted", "confirmed": True}
    link = Incoming("track", CONFIRMATION, f"{customer}/{waits}/email", "consent_changed", granted, customer=customer)
    await door.accept(link, agrees(5), agrees(6, utc("2026-03-01 10:00"), confirmed=True))
    overtaken = "pending" if cleared[1] is None else "granted"
    assert [overtaken, "pending", "granted"] == [state for *_, state in await said(door)][4:]
    assert "drop" == await answer(door, customer)


@pytest.mark.parametrize("source", ["token/crm", "shop"])
async def test_history_that_does_not_say_when_lifts_no_withdrawal(door: Doorway, source: str) -> None:
    """It waits for its confirmation, also where the source shares its message ids with one that is live."""
    await door.accept(agrees(1, channel="sms"), agrees(2, channel="sms", state="withdrawn"))
    await door.accept(replace(agrees(3, channel="sms"), source=source, history=True))
    assert ["granted", "withdrawn", "pending"] == [state for _, _, state in await said(door)]
