"""Memberships are never behind: whatever events, attributes and time do to random segments, who is written down is who is in."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from engine.authoring.model_segments import Condition, InSegment, Segment, Segments, Stage
from engine.core.incoming import Incoming
from engine.delivery.deployment import Deployment
from engine.delivery.deployments import Deployments
from engine.delivery.interpretation import STAGES, of
from engine.delivery.selecting import YES, Page, Selection
from engine.intake.door import Intake
from engine.intake.sweeping import Sweep
from engine.store import memberships
from engine.store.database import Connection, Database, fetch, now, run, transaction
from tests.conditions import NOW, Store, conditions, deployed

WITHOUT_SHRINKING = (Phase.explicit, Phase.reuse, Phase.generate)
"""An example takes a tenth of a second: smaller ones would be looked for until everybody has gone home."""

PEOPLE = ("ada", "bob", "cyd")
_numbers = itertools.count()


class Fixed(Deployments):
    """One deployment, which nobody has compiled."""

    def __init__(self, deployment: Deployment) -> None:
        super().__init__()
        self.deployment = deployment

    async def current(self, c: Connection) -> Deployment:
        return self.deployment


@st.composite
def segments(draw: st.DrawFn) -> Segments:
    """Some that may ask for those before them, and stages."""
    made: list[Segment] = []
    for i in range(draw(st.integers(1, 3))):
        made.append(Segment(f"s{i}", draw(conditions([s.name for s in made]))))
    stages = [Stage(f"stage{i}", draw(conditions([s.name for s in made]))) for i in range(draw(st.integers(0, 2)))]
    stages += draw(st.sampled_from([[], [Stage("rest")]]))
    return Segments(tuple(made), tuple(stages))


WHO = st.sampled_from(PEOPLE)
VALUES = st.sampled_from([0, 1, 2, 1.5, "a", "b", None])
EVENTS = st.builds(
    lambda who, name, values, old: ("event", who, name, values, old),
    WHO,
    st.sampled_from(["order", "order", "viewed", "unheard"]),
    st.dictionaries(st.sampled_from(["total", "kind", "o"]), VALUES, max_size=2),
    st.sampled_from([0, 0, 1, 29, 31, 45]),
)
TRAITS = st.dictionaries(
    st.sampled_from(["a", "n", "s", "flag", "o", "tags", "timezone", "when"]),
    st.one_of(VALUES, st.sampled_from([True, ["a"], {"x": 1}, "Pacific/Auckland", NOW.isoformat()])),
    min_size=1,
    max_size=3,
)
ACTIONS = st.lists(
    st.one_of(
        st.lists(st.one_of(EVENTS, st.tuples(st.just("identify"), WHO, TRAITS)), min_size=1, max_size=3),
        st.sampled_from([0.01, 1, 2, 31]),
    ),
    min_size=1,
    max_size=6,
)


def incoming(action: Sequence[Any]) -> Incoming:
    """What comes in."""
    who = {"user_id": action[1]}
    if action[0] == "identify":
        return Incoming("identify", "t", f"n{next(_numbers)}", traits=action[2], identifiers=who)
    return Incoming("track", "t", f"n{next(_numbers)}", action[2], action[3], identifiers=who)


async def _written(c: Connection) -> dict[int, tuple[set[str], str | None]]:
    """Customer → segments and stage, as they are kept."""
    people = {r.id: set() for r in await fetch(c, "select id from customers")}
    for r in await fetch(c, "select customer_id, segment from memberships"):
        people[r.customer_id].add(r.segment)
    stages = {r.customer_id: r.stage for r in await fetch(c, "select customer_id, stage from stage_history where until is null")}
    return {i: (found, stages.get(i)) for i, found in people.items()}


async def _check(database: Database, deployment: Deployment, *, time: bool) -> None:
    """Everybody is written down where they are; without a sweep (`time`), as far as time has no part in it."""
    index = of(deployment)
    names = [n for n in index.names if time or not index.concerns[n].time]
    async with transaction(database) as c:
        moment, written = await now(c), await _written(c)
        known = [s.name for s in deployment.segments.segments]
        asked: list[Condition] = [InSegment(n) for n in known]
        signs = await Selection(deployment, asked).answers(c, Page(ids=sorted(written)), moment)
        stages = await index.selection([STAGES]).answers(c, Page(ids=sorted(written)), moment) if STAGES in names else {}
        for i, (inside, stage) in written.items():
            real = {n for n, sign in zip(known, signs.get(i, "0" * len(known)), strict=True) if sign == YES}
            assert {n for n in real if n in names} == {n for n in inside if n in names}
            if STAGES in names:
                assert stage == index.told([STAGES], stages.get(i))[1]


async def _play(database: Database, found: Segments, actions: Sequence[Any]) -> None:
    deployment = deployed(found)
    intake = Intake(database, Fixed(deployment))
    sweep = Sweep(intake.deployments, intake)
    async with transaction(database) as c:
        for table in ("customers", "identifiers", "events", "memberships", "stage_history", "sweeps", "interpretations"):
            await run(c, f"delete from {table}")
        await run(c, "update clock set real_epoch = clock_timestamp(), logical_epoch = :at", at=NOW)
        await memberships.begin(c, of(deployment).definitions)
    for action in actions:
        if isinstance(action, list):
            await intake.accept([incoming(one) for one in action])
            await _check(database, deployment, time=False)
            continue
        async with transaction(database) as c:
            await run(c, "update clock set logical_epoch = logical_epoch + make_interval(secs => :s)", s=action * 86_400)
        while await sweep.round():
            pass
        await _check(database, deployment, time=True)
        async with transaction(database) as c:
            before = (await fetch(c, "select count(*) as n from events"))[0].n
        while await sweep.round():
            pass
        async with transaction(database) as c:
            assert before == (await fetch(c, "select count(*) as n from events"))[0].n, "a second sweep says nothing"


@given(segments(), ACTIONS)
@settings(max_examples=15, phases=WITHOUT_SHRINKING, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_who_is_written_down_is_who_is_in(store: Store, found: Segments, actions: Sequence[Any]) -> None:
    """After every batch, as far as events and attributes decide; after every sweep, all of it; a second sweep changes nothing."""
    store.run(_play(store.database, found, actions))


@pytest.mark.nightly
@given(segments(), ACTIONS)
@settings(max_examples=3_000, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_who_is_written_down_is_who_is_in_at_length(store: Store, found: Segments, actions: Sequence[Any]) -> None:
    """The same, with more patience."""
    store.run(_play(store.database, found, actions))
