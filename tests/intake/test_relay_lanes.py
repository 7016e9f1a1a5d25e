"""Who relays what: two relays never own one lane, whatever number of partitions each of them has been told."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from engine.core.wire import Json
from engine.intake import relay as relay_module
from engine.intake.relay import Relay
from engine.store import relay as store
from engine.store.customers import LANES
from engine.store.database import transaction
from engine.temporal.client import Journeys
from engine.temporal.grouping import Lanes
from tests.harness import Running, running, write_project

JOURNEY = """
journey: hello
tier: lifecycle
enter: {event: signed_up, again: always, while_active: parallel}
steps:
  - send: email
    id: hello
    template: hello
    topic: news
"""

PEOPLE = [f"user{i}" for i in range(60)]


class Noting:
    """Journeys that note which enrollments they were brought, as `told`."""

    def __init__(self, inner: Journeys) -> None:
        self.inner, self.max_size = inner, inner.max_size
        self.told: list[int] = []

    async def bring(self, cohort: int, journey: str, plan: str, lanes: Lanes, items: Sequence[Json], *, lane: str) -> str:
        """As Journeys does."""
        self.told += [item[0] for item in items]
        return await self.inner.bring(cohort, journey, plan, lanes, items, lane=lane)


def another(sojourn: Running, partitions: int) -> tuple[Relay, Noting]:
    """The relay of a second process."""
    first = sojourn.worker.relay
    noting = Noting(first.journeys)
    return replace(first, journeys=cast(Journeys, noting), partitions=partitions, owner=f"with {partitions}"), noting


async def everybody(sojourn: Running) -> list[int]:
    """Enroll everybody; the enrollments."""
    entered = await sojourn.accept([sojourn.event(u, "signed_up") for u in PEOPLE])
    return sorted(e for answer in entered for e in answer.enrollments)


@pytest.mark.parametrize(("old", "new"), [(4, 1), (4, 2), (2, 4), (4, 3), (1, 8)])
async def test_a_relay_with_another_number_of_partitions_waits_its_turn(
    old: int, new: int, tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """As long as the old one has leases, the new one moves nothing that the old one would; when it gives them back, the new one
    takes over all of it at once. Everybody is brought exactly once."""
    folder = write_project(tmp_path, {"journeys/hello.yaml": JOURNEY})
    async with running(folder, database_url, temporal_address, task_queue_prefix) as sojourn:
        await sojourn.accept([sojourn.known(u) for u in PEOPLE])
        await sojourn.pause()
        (before, by_old), (after, by_new) = another(sojourn, old), another(sojourn, new)
        assert [0] * old == [await before.round(p) for p in range(old)]
        first = await everybody(sojourn)
        assert [0] * new == [await after.round(p) for p in range(new)]
        assert len(first) == sum([await before.round(p) for p in range(old)])
        second = await everybody(sojourn)
        async with transaction(before.database) as c:
            await store.drop_lanes(c, range(LANES), before.owner, urgent=False)
        assert len(second) == sum([await after.round(p) for p in range(new)])
        assert [0] * old == [await before.round(p) for p in range(old)]
        assert (first, second) == (sorted(by_old.told), sorted(by_new.told))
        async with transaction(after.database) as c:
            await store.drop_lanes(c, range(LANES), after.owner, urgent=False)
        sojourn.resume()
        await sojourn.settled()
        assert 2 * len(PEOPLE) == len(sojourn.email.seen) == len({m.key for m in sojourn.email.seen})


async def test_a_relay_that_gets_some_of_its_lanes_keeps_none(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """Two relays with a half each of what both need would wait for each other for ever: who gets a part gives it back."""
    folder = write_project(tmp_path, {"journeys/hello.yaml": JOURNEY})
    async with running(folder, database_url, temporal_address, task_queue_prefix) as sojourn:
        await sojourn.pause()
        (quarter, _), (whole, _), (half, _) = another(sojourn, 4), another(sojourn, 1), another(sojourn, 2)
        await quarter.round(1)
        await whole.round(0)
        await half.round(0)
        leases = await sojourn.query("select owner, count(*) as n from leases group by 1 order by 1")
        assert [("with 2", 32), ("with 4", 16)] == [(r.owner, r.n) for r in leases]


async def test_two_relays_of_different_numbers_at_work_bring_everybody_once(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One with four partitions runs, one with three comes beside it, the first one stops: nobody is lost or brought twice."""
    monkeypatch.setattr(relay_module, "IDLE_SECONDS", 0.05)
    folder = write_project(tmp_path, {"journeys/hello.yaml": JOURNEY})
    async with running(folder, database_url, temporal_address, task_queue_prefix) as sojourn:
        await sojourn.accept([sojourn.known(u) for u in PEOPLE])
        await sojourn.pause()
        relays = [another(sojourn, 4), another(sojourn, 3)]
        stops = [asyncio.Event(), asyncio.Event()]
        works = []
        entered: list[int] = []
        for (relay, _), stop in zip(relays, stops, strict=True):
            works.append(asyncio.create_task(relay.run(stop)))
            entered += await everybody(sojourn)
            await sojourn.relayed()
            entered += await everybody(sojourn)
        stops[0].set()
        await works[0]
        entered += await everybody(sojourn)
        await sojourn.relayed()
        stops[1].set()
        await works[1]
        told = [noting.told for _, noting in relays]
        assert sorted(entered) == sorted(told[0] + told[1])
        assert all(told)
        assert [] == list(await sojourn.query("select 1 from leases"))


RESET = """
journey: reset
tier: transactional
enter: {event: confirmed, again: always, while_active: parallel}
exit: [{event: cancelled}]
steps:
  - send: email
    id: reset
    template: hello
"""


async def test_urgent_enrollments_stand_behind_no_others(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """Sixty ordinary inputs are pending when two urgent ones come: these have a round of their own, which brings them and no
    others, in cohorts of their own. What happens to these people later is urgent too."""
    folder = write_project(tmp_path, {"journeys/hello.yaml": JOURNEY, "journeys/reset.yaml": RESET})
    async with running(folder, database_url, temporal_address, task_queue_prefix) as sojourn:
        await sojourn.accept([sojourn.known(u) for u in PEOPLE])
        await sojourn.pause()
        relay, noting = another(sojourn, 1)
        assert 0 == await relay.round(0, urgent=True)
        assert [] == list(await sojourn.query("select 1 from leases")), "without anything urgent it takes no lease"
        ordinary = await everybody(sojourn)
        urgent = [
            *(await sojourn.track("user1", "confirmed")).enrollments,
            *(await sojourn.track("user2", "confirmed")).enrollments,
        ]
        assert 2 == await relay.round(0, urgent=True)
        assert sorted(urgent) == sorted(noting.told)
        await sojourn.track("user2", "cancelled")
        assert 1 == await relay.round(0, urgent=True)
        assert urgent[-1] == noting.told[-1]
        assert len(ordinary) == await relay.round(0)
        assert [*urgent, urgent[-1], *ordinary] == [*sorted(noting.told[:2]), *noting.told[2:3], *sorted(noting.told[3:])]
        found = await sojourn.query(
            "select c.owner, e.urgent, count(*) as n from cohorts c join enrollments e on e.cohort_id = c.id "
            "group by 1, 2 order by 1"
        )
        assert [("relay/0/1", False, 60), ("urgent-queue/0/1", True, 2)] == [(r.owner, r.urgent, r.n) for r in found]


async def test_urgent_lanes_have_one_owner_too(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """Who owns the lanes of the urgent keeps others from them, and from nothing else."""
    folder = write_project(tmp_path, {"journeys/hello.yaml": JOURNEY, "journeys/reset.yaml": RESET})
    async with running(folder, database_url, temporal_address, task_queue_prefix) as sojourn:
        await sojourn.accept([sojourn.known(u) for u in PEOPLE])
        await sojourn.pause()
        (one, _), (two, by_two) = another(sojourn, 1), another(sojourn, 2)
        await sojourn.track("user1", "confirmed")
        assert 1 == await one.round(0, urgent=True)
        await sojourn.accept([sojourn.event(u, "confirmed") for u in PEOPLE[:10]])
        assert [0, 0] == [await two.round(p, urgent=True) for p in range(2)]
        first = await everybody(sojourn)
        assert len(first) == sum([await two.round(p) for p in range(2)])
        async with transaction(one.database) as c:
            await store.drop_lanes(c, range(LANES), one.owner, urgent=True)
        assert 10 == sum([await two.round(p, urgent=True) for p in range(2)])
        assert len(first) + 10 == len(by_two.told)
