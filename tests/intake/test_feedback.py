"""What providers tell, through the door: in any order and however often, people stand the same in the end."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.delivery.channel import Feedback
from engine.intake import feedback
from engine.store import customers, planned
from engine.store.database import transaction
from tests.harness import Sink
from tests.people import People, opened

START = datetime(2026, 3, 2, 10, tzinfo=UTC)
NUMBER = "+39 06 5551 0001"
_users = itertools.count()


@pytest.fixture
async def people(tmp_path: Path, database_url: str) -> AsyncIterator[People]:
    """A door."""
    async with opened(tmp_path, database_url) as found:
        yield found


async def hear(people: People, told: Sequence[Feedback], answers: dict[str, str] | None = None) -> feedback.Heard:
    """As the route does, without HTTP."""
    channel = Sink("sms", "phone")
    async with transaction(people.core.database) as c:
        deployment = await people.core.deployments.current(c)
        heard = await feedback.hear(c, deployment, channel, told, START, lambda real: real, answers or {})
    await people.accept(*heard.events)
    return heard


async def standing(people: People, customer: int) -> tuple[Any, ...]:
    """What holds of somebody: suppressed, the last word about consent, and the events, by when they happened."""
    shut = await people.query(
        "select reason from suppressions where customer_id = :id and lifted_at is null order by 1", id=customer
    )
    said = await people.query("select state from consents where customer_id = :id order by at desc, id desc limit 1", id=customer)
    came = await people.query(
        "select name, occurred_at, properties - 'address' as p from events where customer_id = :id and source = 'channel/sms' "
        "order by occurred_at, message_id",
        id=customer,
    )
    return [r.reason for r in shut], [r.state for r in said], [(r.name, r.occurred_at, r.p) for r in came]


async def test_a_stop_is_for_the_number(people: People) -> None:
    """Who shares a number with somebody who said STOP, or gets it later, isn't written to either, however they write it; a START
    from it ends that, and a STOP after it begins it again. Other numbers and other channels are none of it."""
    async with transaction(people.core.database) as c:
        await planned.know_channels(c, {"sms": "phone", "whatsapp": "phone", "chat": ""})
    ada = await people.identify("ada1", phone="+39 06 5551 0007")
    bob = await people.identify("bob1", phone="+390655510007")
    eve = await people.identify("eve1", phone="+39 06 5551 0008")

    async def stopped() -> set[tuple[int, str, str]]:
        async with transaction(people.core.database) as c:
            return {(r.customer_id, r.channel, r.address) for r in await customers.suppressions(c, [ada, bob, eve, cy])}

    cy = 0
    said = Feedback("received", address="+390655510007", words="STOP", id="s1", at=START - timedelta(hours=3))
    await hear(people, [said])
    both = {(ada, "sms", "+39 06 5551 0007"), (bob, "sms", "+390655510007")}
    assert both <= await stopped()
    assert {owner for owner, _, _ in await stopped()} == {ada, bob}
    cy = await people.identify("cy1", phone="+39 (06) 5551-0007")
    assert both | {(cy, "sms", "+39 (06) 5551-0007")} <= await stopped()
    await hear(people, [replace(said, words="START", id="s2", at=START - timedelta(hours=2))])
    assert await stopped() == set()
    await hear(people, [replace(said, id="s3", at=START - timedelta(hours=1))])
    assert {owner for owner, _, _ in await stopped()} == {ada, bob, cy}


async def test_a_task_that_is_over_here_is_no_news(people: People) -> None:
    """Where it was handed to, its closing may be our own: only one that is open here has been completed."""
    ada = await people.identify("ada2")
    await people.query(
        "insert into tasks (key, enrollment_id, customer_id, queue, title, body, assignee, created_at, status, receiver, "
        "handover) select s, 1, :id, 'care', 'x', '', '', sojourn_now(), s, 'sms', 'there' "
        "from unnest(array['open', 'done', 'closed']) s returning 1",
        id=ada,
    )
    heard = await hear(people, [Feedback("completed", key=key, id=key) for key in ("open", "done", "closed")])
    assert [(e.message_id, e.customer) for e in heard.events] == [("completed/open", ada)]
    assert (heard.alien, heard.early) == (0, 0)
    told = await people.query("select status, handover from tasks order by key")
    assert [tuple(r) for r in told] == [("closed", "finished"), ("done", "finished"), ("done", "finished")]


KINDS = ("delivered", "opened", "clicked", "failed", "bounced", "complained", "STOP", "START", "HELP", "when?")


def notice(place: int, kind: str) -> Feedback:
    """The notice at a place in time; words are texts that somebody sent."""
    at = START - timedelta(minutes=60 - place)
    if kind in feedback.EVENTS:
        return Feedback(kind, id=f"n{place}", at=at, suppress="hard_bounce" if kind == "bounced" else None)  # type: ignore[arg-type]
    return Feedback("received", words=kind, id=f"n{place}", at=at)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=6), data=st.data())
async def test_any_order_and_any_repeats_lead_to_the_same(people: People, kinds: list[str], data: Any) -> None:
    """Every kind of notice, shuffled, repeated, and cut into any batches, leaves somebody as the notices in their order do."""
    once = [notice(i, kind) for i, kind in enumerate(kinds)]
    shuffled = data.draw(st.permutations([*once, *data.draw(st.lists(st.sampled_from(once), max_size=4))]))
    cut = data.draw(st.integers(0, len(shuffled)))
    found = []
    for batches in ([[one] for one in once], [shuffled[:cut], shuffled[cut:]]):
        n = next(_users)
        number = f"+39 06 {5_500_0000 + n}"
        customer = await people.identify(f"user{n}", phone=number)
        for batch in batches:
            await hear(people, [replace(one, id=f"{n}-{one.id}", address=number.replace(" ", "")) for one in batch])
        found.append(await standing(people, customer))
    assert found[0] == found[1]
    words = [kind for kind in kinds if kind in ("STOP", "START")]
    assert (words[-1:] == ["STOP"]) == ("stop" in found[0][0]) or {"bounced", "complained"} & set(kinds)


async def test_machines_are_nobody(tmp_path: Path, database_url: str) -> None:
    """A click of a link scanner ends no wait, enrolls nobody, reaches no goal and brings nobody into a segment, unless the
    condition asks about machines itself; a person's does."""
    one = "{event: message_clicked, again: always, while_active: parallel%s}"
    journey = "journey: %s\ntier: lifecycle\nenter: %s\nsteps: [{wait_for: message_opened, timeout: 30d, id: opening}]\n"
    files = {
        "journeys/people.yaml": journey % ("people", one % ""),
        "journeys/scanned.yaml": journey % ("scanned", one % ", where: event.machine"),
        "journeys/segments.yaml": (
            "segments: {readers: {did: message_clicked}, seen: {did: message_opened, where: event.machine}}"
        ),
    }
    async with opened(tmp_path, database_url, files=files) as people:
        ada = await people.identify("ada", phone=NUMBER)

        async def told(*kinds: str, machine: bool) -> tuple[list[str], list[str], int]:
            await hear(people, [Feedback(k, address=NUMBER, id=f"{k}{machine}", machine=machine) for k in kinds])  # type: ignore[arg-type]
            inside = await people.query("select distinct journey from enrollments order by 1")
            members = await people.query("select segment from memberships where customer_id = :id order by 1", id=ada)
            inputs = await people.query("select 1 from inputs where kind = 'event'")
            return [r.journey for r in inside], [r.segment for r in members], len(inputs)

        assert (["scanned"], ["seen"], 0) == await told("clicked", "opened", machine=True)
        assert (["people", "scanned"], ["readers", "seen"], 2) == await told("clicked", "opened", machine=False)
