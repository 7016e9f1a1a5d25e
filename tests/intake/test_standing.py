"""Restrictions, objections and erasures at the door: what they change, what a merge makes of them, and races with events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from engine.core.incoming import Incoming
from engine.delivery.deployment import Needs
from engine.delivery.people import People as Seen
from engine.intake import erasing
from engine.intake.standing import stand
from engine.store.database import now, transaction
from tests.harness import TRACKING
from tests.people import JOURNEYS, People, opened

LETTER = """insert into messages (key, enrollment_id, customer_id, journey, plan, step, attempt, template, channel, tier, status,
    reason, planned_at, decided_at, policy)
    select id || '/s/0/0', id, customer_id, journey, plan, 's', 0, 't', 'email', 'lifecycle', cast(:status as text),
    cast(:reason as text), now(), now(), 'p' from enrollments where customer_id = :id and journey = :journey returning key"""

FILES = {
    **JOURNEYS,
    "journeys/picked.yaml": """
        journey: picked
        tier: lifecycle
        enter: {event: pinged, again: always, while_active: parallel, if: segment("buyers") and customer.orders >= 1}
        steps: [{wait: 1d, id: day}]
    """,
    "journeys/segments.yaml": """
        segments: {buyers: {did: signed_up}}
        stages: [{stage: active, did: signed_up}, {stage: lead}]
    """,
    "journeys/tracking.yaml": TRACKING
    + "computed:\n  orders: {count: signed_up}\n  last_order: {latest: event.order_id, of: signed_up, default: none yet}\n",
}


@pytest.fixture
async def people(tmp_path: Path, database_url: str) -> AsyncIterator[People]:
    """Ada and Bob, who have both done something."""
    async with opened(tmp_path, database_url, files=FILES) as found:
        for user in ("ada", "bob"):
            await found.identify(user, country="IT")
            await found.track(user, "signed_up", None, order_id=f"{user}-1")
        yield found


async def set_to(people: People, user: str, **wanted: bool) -> tuple[str, ...]:
    """Set a standing; what changed."""
    return (await stand(people.core.intake, await people.who(user) or 0, wanted, "cli/test")).changed


async def journeys_entered(people: People, user: str) -> list[str]:
    """By a ping."""
    ids = list((await people.track(user, "pinged")).enrollments)
    found = await people.query("select journey from enrollments where id = any(cast(:ids as bigint[])) order by 1", ids=ids)
    return [r.journey for r in found]


async def test_who_objects_is_in_no_segment_and_has_no_computed_values(people: People) -> None:
    """At once, and until it is lifted; attributes that they gave stay what they are; others are not concerned."""
    assert ["many", "picked"] == await journeys_entered(people, "ada")
    assert ("objected",) == await set_to(people, "ada", objected=True)
    assert () == await set_to(people, "ada", objected=True)
    assert ["many"] == await journeys_entered(people, "ada")
    assert ["many", "picked"] == await journeys_entered(people, "bob")
    async with transaction(people.core.database) as c:
        ids = [await people.who(user) or 0 for user in ("ada", "bob")]
        deployment = await people.core.deployments.current(c)
        needs = Needs(frozenset({"buyers"}), frozenset({"orders", "last_order"}), True)
        seen = await Seen.load(c, deployment, ids, needs, await now(c))
        told = [dict(seen.customer(i, {"country": "IT"})) for i in ids]
    assert [(0, "none yet", None, "IT"), (1, "bob-1", "active", "IT")] == [
        (t["orders"], t["last_order"], t["stage"], t["country"]) for t in told
    ]
    assert ("objected",) == await set_to(people, "ada", objected=False)
    assert ["many", "picked"] == await journeys_entered(people, "ada")
    acts = await people.query("select act from audit where subject like 'customer/%' order by id")
    assert ["object", "lift objection"] == [r.act for r in acts]


@pytest.mark.parametrize("name", ["restricted", "objected"])
async def test_after_a_merge_it_holds_if_it_held_for_either(people: People, name: str) -> None:
    """And each has its own again when the merge is taken back, but for what was said since."""
    ada, bob = await people.who("ada") or 0, await people.who("bob") or 0

    async def standing() -> dict[int, bool]:
        return {r.id: r[1] for r in await people.query(f"select id, {name} from customers order by id")}

    await set_to(people, "bob", **{name: True})
    done = await people.core.intake.merge(ada, bob, "test")
    assert (await standing())[ada]
    await people.core.intake.unmerge(done.id, "test")
    assert {ada: False, bob: True} == await standing()
    again = await people.core.intake.merge(ada, bob, "test")
    await set_to(people, "ada", **{name: False})
    await people.core.intake.unmerge(again.id, "test")
    assert {ada: False, bob: True} == await standing()


async def test_what_waits_is_decided_afresh(people: People) -> None:
    """One input for each enrollment with a message that waits."""
    ada = await people.who("ada") or 0
    await people.query(LETTER, status="deferred", reason="cap", id=ada, journey="once")
    await set_to(people, "ada", restricted=True)
    told = await people.query(
        "select i.kind from inputs i join enrollments e on e.id = i.enrollment_id where e.customer_id = :id", id=ada
    )
    assert 1 == [r.kind for r in told].count("again")


async def test_nobody_is_a_lookup_error(people: People) -> None:
    """Of whoever isn't there."""
    with pytest.raises(LookupError, match="no customer 999"):
        await stand(people.core.intake, 999, {"restricted": True}, "cli/test")
    with pytest.raises(erasing.CantErase, match="no customer 999"):
        await erasing.erase(people.core.intake, 999, "cli/test")


async def test_events_that_come_while_somebody_is_erased_leave_nothing(people: People) -> None:
    """They come before it, and are emptied, or after it, and are a new customer's; no identifier leads to who was erased."""
    for n in range(5):
        user = f"eve{n}"
        eve = await people.identify(user, email=f"{user}@example.com")
        batches = [
            people.accept(
                *(
                    Incoming("track", "web", f"{user}-{i}-{k}", "signed_up", {"order_id": f"o{k}"}, identifiers={"user_id": user})
                    for k in range(3)
                )
            )
            for i in range(4)
        ]
        answers = await asyncio.gather(*batches, erasing.erase(people.core.intake, eve, "cli/test"))
        taken = [a for answer in answers[:-1] for a in answer]  # type: ignore[union-attr]  # the last one is the erasure's
        assert not [a for a in taken if a.quarantined and not a.erased]
        left = await people.query("select 1 from events where customer_id = :id and properties <> '{}'", id=eve)
        assert [] == list(left)
        assert [] == list(await people.query("select 1 from identifiers where customer_id = :id", id=eve))
        assert [] == list(await people.query("select 1 from enrollments where customer_id = :id and status <> 'ended'", id=eve))
        owner = await people.who(user)
        assert owner is None or owner != eve


async def test_another_customers_call_in_the_quarantine_stays(people: People) -> None:
    """A user id that is somebody else's number stays; whatever holds the address goes, however it is written."""
    seven = await people.identify("7", email="Seven@Example.com", phone="+39 06 55510007")
    wrong = [
        Incoming("track", "web", "q1", "pinged", {"number": ["7"]}, identifiers={"user_id": "ada"}),
        Incoming("track", "web", "q2", "pinged", {"number": "x"}, identifiers={"user_id": "7"}),
        Incoming("track", "web", "q3", "pinged", {"number": "see seven@example.com"}, identifiers={"user_id": "bob"}),
        Incoming("track", "web", "q4", "pinged", {"number": "call +39 06 55510007"}, identifiers={"user_id": "bob"}),
    ]
    assert all(a.quarantined for a in await people.accept(*wrong))
    await erasing.erase(people.core.intake, seven, "cli/test")
    found = await people.query("select call is null as gone, dropped_at is null as waits from quarantine order by id")
    assert [(False, True), (True, False), (True, False), (True, False)] == [tuple(r) for r in found]
