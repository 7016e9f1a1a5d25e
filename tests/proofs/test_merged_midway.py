"""A merge in the middle of a delivery, at each of its statements: who took consent back gets nothing that was claimed later."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from engine.core.incoming import Incoming
from tests.proofs.stage import Act
from tests.proofs.world import Passages, World

START = datetime(2026, 6, 3, 11, 30, tzinfo=UTC)


@pytest.fixture
def world(tmp_path: Path, database_url: str) -> Iterator[World]:
    """At noon, with room for two messages a week."""
    made = World(tmp_path, database_url)
    made.deploy("one")
    made.set_clock(START)
    yield made
    made.close()


def told(world: World, kind: str, user: str, number: int, **values: object) -> int:
    """A call; the customer's id."""
    incoming = Incoming(kind, "t", f"{user}-{number}", identifiers={"user_id": user}, **values)  # type: ignore[arg-type]
    return int(world.run(world.intake.accept([incoming]))[0].customer)


def deliver(world: World, passages: Passages) -> Act:
    """Hand over the lifecycle letter."""
    (group,) = [g for g in passages.groups() if g[0] == "deliver" and world.plan(g[1]).journey == "first"]
    act, members = world.activity(passages, group)
    for member in members:
        passages.asked.remove(member)
    return act


def turns(first: int) -> Iterator[int]:
    """The first act so many times, then the second for as long as it can go on."""
    return itertools.chain([0] * first, itertools.repeat(1))


def test_nothing_is_claimed_for_somebody_who_is_another_by_now(world: World) -> None:
    """Whatever statement the merge comes before: a letter that leaves was claimed before it, and what wasn't comes again, and is
    dropped by the other one's withdrawal."""
    seen = set()
    for stop in range(32):
        ada, bob = (told(world, "identify", f"{name}{stop}", 0, traits={"email": f"{name}{stop}@example.com"}) for name in "ab")
        no = {"channel": "email", "topic": None, "state": "withdrawn"}
        told(world, "track", f"b{stop}", 1, name="consent_changed", properties=no)
        told(world, "track", f"a{stop}", 1, name="signed_up", properties={"n": "1"})
        passages = Passages()
        world.relay(passages, [ada, bob])
        sending, merging = deliver(world, passages), Act("merge", world.merge(bob, ada))
        world.play([sending, merging], turns(stop))
        assert (sending.error, merging.error) == (None, None)
        order = [commit.act.name for commit in world.stage.log if commit.handed or commit.act is merging]
        assert order in (["merge"], [sending.name, "merge"]), (stop, order)
        ((_, outcome),) = sending.answer
        rows = world.ask(
            "select m.status, m.reason, m.customer_id from messages m where m.journey = 'first' and m.key like :k",
            k=f"{sending.answer[0][0]}/%",
        )
        found = [(r.status, r.reason) for r in rows]
        assert found in ([("sent", "")], [("dropped", "consent")], []), (stop, found)
        assert (found == [("sent", "")]) == (len(order) == 2)
        assert found or outcome.kind == "again"
        assert all(r.customer_id == bob for r in rows)
        seen.add((tuple(found), outcome.kind))
    assert {((("sent", ""),), "next"), ((), "again")} <= seen, "the merge never came in between"
