"""The one door, against a real PostgreSQL and without Temporal: what is stored, once, and for whom."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import Row
from sqlalchemy.exc import DBAPIError

from engine.app.deploying import deploy
from engine.app.wiring import Core, open_core
from engine.authoring.project import load_project
from engine.core.incoming import Accepted, Incoming
from engine.settings.project import Settings
from engine.store.database import fetch, transaction
from tests.harness import TRACKING, utc, write_project

JOURNEYS = {
    "journeys/once.yaml": """
        journey: once
        tier: lifecycle
        enter: {event: signed_up, again: never}
        steps: [{wait: 1h, id: hour}]
    """,
    "journeys/order.yaml": """
        journey: order
        tier: lifecycle
        enter: {event: signed_up, key: order_id, again: always, where: event.order_id is not none}
        exit: [{event: cancelled}]
        goal: {event: confirmed, within: 30d, value: 7}
        steps: [{wait: 30d, id: long}]
    """,
    "journeys/latest.yaml": """
        journey: latest
        tier: lifecycle
        enter: {event: pinged, again: always, while_active: restart}
        steps: [{wait: 1h, id: hour}]
    """,
    "journeys/many.yaml": """
        journey: many
        tier: lifecycle
        enter: {event: pinged, again: always, while_active: parallel}
        steps: [{wait: 1h, id: hour}]
    """,
    "journeys/account.yaml": """
        journey: account
        tier: lifecycle
        enter: {event: pinged, again: after 30d, once_per: customer.country}
        steps: [{wait: 1h, id: hour}]
    """,
    "journeys/team.yaml": """
        journey: team
        tier: lifecycle
        enter: {event: joined, again: never, once_per: customer.chosen}
        steps: [{wait: 1h, id: hour}]
    """,
    "journeys/rested.yaml": """
        journey: rested
        tier: lifecycle
        enter: {event: confirmed, again: after 30d}
        steps: [{exit: done}]
    """,
    "journeys/steep.yaml": """
        journey: steep
        tier: lifecycle
        enter: {event: climbed, again: always, where: event.number ** event.number > 0}
        steps: [{exit: done}]
    """,
    "journeys/tracking.yaml": TRACKING.replace("events:", "events:\n  joined: {}\n  climbed: {properties: {number: integer}}")
    + "computed: {chosen: {latest: event.plan, of: signed_up}}\n",
}


@dataclass(slots=True)
class Doorway:
    """The door of a deployed project, with short ways to use it."""

    core: Core

    async def accept(self, *batch: Incoming) -> list[Accepted]:
        """Through the door, in one batch."""
        return await self.core.intake.accept(list(batch))

    async def query(self, statement: str, **values: Any) -> Sequence[Row[Any]]:
        """Rows straight from the store."""
        async with transaction(self.core.database) as c:
            return await fetch(c, statement, **values)


def event(name: str, number: int | str, user: str = "ada", /, **properties: Any) -> Incoming:
    """A tracked event with a message id made of `number`."""
    return Incoming("track", "test", f"m{number}", name, properties, identifiers={"user_id": user})


@pytest.fixture
async def door(tmp_path: Path, database_url: str) -> AsyncIterator[Doorway]:
    """A door with JOURNEYS deployed."""
    async with open_core(Settings(), database_url) as core:
        await deploy(core.database, load_project(write_project(tmp_path, JOURNEYS), {"email", "sms"}), "test")
        yield Doorway(core)


async def test_the_same_message_id_changes_nothing(door: Doorway) -> None:
    """A message id that its source has used is acknowledged as a duplicate, in the same batch and in a later one."""
    first = await door.accept(event("signed_up", 1), event("signed_up", 1))
    again = await door.accept(event("signed_up", 1))
    assert [False, True, True] == [a.duplicate for a in (*first, *again)]
    assert 1 == (await door.query("select count(*) from events"))[0][0]
    assert 1 == (await door.query("select count(*) from enrollments where journey = 'once'"))[0][0]


async def test_one_source_does_not_shadow_another(door: Doorway) -> None:
    """A message id is unique per source, not over all sources."""
    await door.accept(event("pinged", 1))
    other = await door.accept(Incoming("track", "other", "m1", "pinged", identifiers={"user_id": "ada"}))
    assert not other[0].duplicate


async def test_never_again_holds_within_a_batch_and_after_the_end(door: Doorway) -> None:
    """`again: never` enrolls once, also when two entries come in one batch or after the first has ended."""
    first = await door.accept(event("signed_up", 1), event("signed_up", 2))
    assert [1, 0] == [len(a.enrollments) for a in first]
    await door.query("update enrollments set status = 'ended' returning id")
    assert () == (await door.accept(event("signed_up", 3)))[0].enrollments


async def test_a_condition_that_fails_on_one_event_loses_neither_it_nor_those_beside_it(door: Doorway) -> None:
    """An event whose numbers make a `where` too large to be meant is stored and enrolls nobody; the one after it enrolls."""
    found = await door.accept(event("climbed", 1, number=10**9), event("climbed", 2, "bob", number=2))
    assert [0, 1] == [len(a.enrollments) for a in found]
    assert 2 == (await door.query("select count(*) from events where name = 'climbed'"))[0][0]


async def test_a_key_tells_enrollments_apart(door: Doorway) -> None:
    """One order's cancellation ends that order's enrollment and leaves the other; the goal counts for its own."""
    await door.accept(event("signed_up", 1, order_id="A"), event("signed_up", 2, order_id="B"))
    await door.accept(event("cancelled", 3, order_id="A"), event("confirmed", 4, order_id="B"))
    found = await door.query("select key, status, reason, goal_value from enrollments where journey = 'order' order by key")
    assert [("A", "ended", "cancelled", None), ("B", "live", "", 7.0)] == [tuple(r) for r in found]


async def test_a_goal_counts_after_the_end_while_its_time_lasts(door: Doorway) -> None:
    """The goal's event is counted once, also after the enrollment has ended."""
    await door.accept(event("signed_up", 1, order_id="A"), event("cancelled", 2, order_id="A"))
    await door.accept(event("confirmed", 3, order_id="A"), event("confirmed", 4, order_id="A"))
    found = await door.query("select status, goal_value, goal_at is not null from enrollments where journey = 'order'")
    assert [("ended", 7.0, True)] == [tuple(r) for r in found]


async def test_restart_ends_the_old_one_and_parallel_numbers_them(door: Doorway) -> None:
    """`restart` leaves one live enrollment, `parallel` as many as there were events; in one batch and over several."""
    await door.accept(event("pinged", 1), event("pinged", 2))
    await door.accept(event("pinged", 3))
    found = await door.query(
        "select journey, status, reason, count(*) from enrollments where journey in ('latest', 'many') group by 1, 2, 3 "
        "order by 1, 2"
    )
    assert [("latest", "ended", "restarted", 2), ("latest", "live", "", 1), ("many", "live", "", 3)] == [tuple(r) for r in found]
    numbers = await door.query("select number from enrollments where journey = 'many' order by number")
    assert [0, 1, 2] == [r.number for r in numbers]


async def test_again_after_counts_from_the_last_entry(door: Doorway) -> None:
    """`again: after 30d` refuses an entry within 30 days of the last and takes one after it."""
    at = utc("2026-01-01 10:00")
    days = [(1, 0), (2, 29), (3, 31)]
    answers = []
    for number, day in days:
        moment = at.replace(month=1 + (day // 31), day=1 + day % 31)
        item = Incoming("track", "test", f"r{number}", "confirmed", identifiers={"user_id": "ada"}, occurred_at=moment)
        answers.append(len((await door.accept(item))[0].enrollments))
        await door.query("update enrollments set status = 'ended' where journey = 'rested' returning id")
    assert [1, 0, 1] == answers


async def test_a_property_of_the_wrong_type_is_kept_aside_with_the_reason(door: Doorway) -> None:
    """An event that doesn't fit tracking.yaml is quarantined in words, stored nowhere else, and loses nothing."""
    answer = (await door.accept(event("pinged", 1, number="many")))[0]
    assert "pinged: number 'many' is not an integer" == answer.quarantined
    kept = await door.query("select reason, body->'properties' from quarantine")
    assert [("pinged: number 'many' is not an integer", {"number": "many"})] == [tuple(r) for r in kept]
    assert 0 == (await door.query("select count(*) from events"))[0][0]


async def test_history_enrolls_nobody(door: Doorway) -> None:
    """An event imported as history is stored and changes the profile only."""
    item = Incoming("track", "test", "h1", "signed_up", identifiers={"user_id": "ada"}, history=True)
    assert () == (await door.accept(item))[0].enrollments
    assert 1 == (await door.query("select count(*) from events"))[0][0]


async def test_an_occurrence_in_the_future_is_clamped_to_its_acceptance(door: Doorway) -> None:
    """`occurred_at` is never later than the acceptance."""
    item = Incoming("track", "test", "f1", "pinged", identifiers={"user_id": "ada"}, occurred_at=utc("2126-01-01 00:00"))
    await door.accept(item)
    assert [True] == [r[0] for r in await door.query("select occurred_at = accepted_at from events")]


async def test_strangers_who_come_at_once_become_one_customer(door: Doorway) -> None:
    """Many first events of the same people from many connections make one customer each, with every event kept."""

    async def burst(worker: int) -> None:
        for round_ in range(5):
            await door.accept(*(event("pinged", f"{worker}-{round_}-{user}", f"user-{user}") for user in range(8)))

    await asyncio.gather(*(burst(w) for w in range(6)))
    assert 8 == (await door.query("select count(*) from customers"))[0][0]
    assert 8 == (await door.query("select count(*) from identifiers"))[0][0]
    assert 240 == (await door.query("select count(*) from events"))[0][0]
    live = await door.query("select count(*) from enrollments where journey = 'latest' and status = 'live'")
    assert 8 == live[0][0]


async def test_an_anonymous_person_is_known_by_both_names_after_identify(door: Doorway) -> None:
    """Events under an anonymous id and, after an identify that names both, under the user id belong to one customer."""
    anonymous = Incoming("track", "web", "a1", "pinged", identifiers={"anonymous_id": "x-1"})
    both = Incoming("identify", "web", "a2", traits={"first_name": "Ada"}, identifiers={"user_id": "ada", "anonymous_id": "x-1"})
    owners = {a.customer for a in await door.accept(anonymous, both, event("pinged", 3))}
    assert 1 == len(owners)


async def test_inputs_are_numbered_without_gaps(door: Doorway) -> None:
    """Every input of an enrollment has the next number, its begin being the first."""
    await door.accept(event("signed_up", 1, order_id="A"))
    await door.accept(event("cancelled", 2, order_id="A"))
    found = await door.query(
        "select i.seq, i.kind, i.reason from inputs i join enrollments e on e.id = enrollment_id where e.journey = 'order' "
        "order by seq"
    )
    assert [(1, "begin", ""), (2, "exit", "cancelled")] == [tuple(r) for r in found]


async def test_one_bad_item_is_kept_aside_and_the_rest_of_its_batch_is_taken(door: Doorway) -> None:
    """A key too long to be one and a customer who isn't there are quarantined each with its reason; the others go on."""
    nobody = Incoming("track", "test", "n1", "pinged", customer=999_999)
    answers = await door.accept(event("signed_up", 1, order_id="x" * 600), nobody, event("pinged", 2))
    assert [
        "signed_up: order_id has more than 500 characters, which is too long for a key",
        "there is no customer 999999",
        "",
    ] == [a.quarantined for a in answers]
    assert 1 == (await door.query("select count(*) from events"))[0][0]


async def test_once_per_enrolls_one_person_for_a_value(door: Doorway) -> None:
    """Two people of one account: the first enters, the second doesn't while the first is inside nor before `again` allows it."""
    for user in ("ada", "bob"):
        traits = {"country": "IT"}
        await door.accept(Incoming("identify", "test", f"i-{user}", traits=traits, identifiers={"user_id": user}))
    await door.accept(event("pinged", 1, "ada"), event("pinged", 2, "bob"))
    await door.accept(event("pinged", 3, "bob"), event("pinged", 4, "eve"))
    inside = "select count(*) from enrollments where journey = 'account' and once is not distinct from :once"
    assert [1, 1] == [(await door.query(inside, once=once))[0][0] for once in ("IT", None)]
    await door.query("update enrollments set status = 'ended' where journey = 'account' returning id")
    await door.accept(event("pinged", 5, "bob"))
    assert 1 == (await door.query(inside, once="IT"))[0][0]
    await door.query("update enrollments set entered_at = entered_at - interval '31 days' returning id")
    await door.accept(event("pinged", 6, "bob"))
    assert 2 == (await door.query(inside, once="IT"))[0][0]


async def test_once_per_may_ask_for_what_is_worked_out_of_events(door: Doorway) -> None:
    """In batches of their own and in one, with an event of the same batch too: one person for each value."""
    await door.accept(event("signed_up", 1, plan="pro"), event("signed_up", 2, "bob", plan="pro"))
    await door.accept(event("joined", 3))
    await door.accept(event("joined", 4, "bob"), event("signed_up", 5, "eve", plan="basic"), event("joined", 6, "eve"))
    await door.accept(event("signed_up", 7, "bob", plan="basic"), event("joined", 8, "bob"))
    found = await door.query(
        "select i.value, e.once from enrollments e join identifiers i using (customer_id) where journey = 'team' order by 1"
    )
    assert [("ada", "pro"), ("eve", "basic")] == [tuple(r) for r in found]


async def test_people_of_one_account_who_come_at_once_enter_once(door: Doorway) -> None:
    """`once_per` holds over many connections."""
    people = [f"person-{n}" for n in range(20)]
    for user in people:
        await door.accept(Incoming("identify", "test", f"i-{user}", traits={"country": "IT"}, identifiers={"user_id": user}))
    await asyncio.gather(*(door.accept(event("pinged", f"p-{user}", user)) for user in people))
    assert 1 == (await door.query("select count(*) from enrollments where journey = 'account'"))[0][0]


async def test_an_error_of_the_database_tells_nothing_of_the_people_concerned(door: Doorway) -> None:
    """What a failed statement's error says holds no value that it was given: errors go into logs and histories."""
    with pytest.raises(DBAPIError) as failed:
        await door.query("select cast(:number as integer), cast(:mail as text) from nowhere", number=1, mail="ada@example.com")
    assert "ada@example.com" not in str(failed.value)
