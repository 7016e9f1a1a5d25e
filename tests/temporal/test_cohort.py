"""Cohorts under strain: continue-as-new while work goes on, members taken over from a workflow that is gone, full ones."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import pytest
from temporalio.client import WorkflowHandle

from engine.core.wire import Json
from engine.intake import relay
from engine.store import relay as relay_store
from engine.store.database import transaction
from engine.temporal import workflow
from engine.temporal.client import Journeys, Unreachable
from engine.temporal.grouping import Lanes
from tests.harness import Running, running, write_project

TWICE = """
journey: twice
tier: lifecycle
enter: {event: signed_up, again: never}
exit: [{event: cancelled}]
steps:
  - send: email
    id: first
    template: hello
    topic: news
  - wait_for: confirmed
    id: one
    timeout: 30d
  - wait_for: pinged
    id: two
    timeout: 30d
  - send: email
    id: second
    template: again
    topic: news
"""


async def handle(sojourn: Running, cohort: int) -> WorkflowHandle[object, object]:
    """The workflow of a cohort."""
    journeys = sojourn.worker.relay.journeys
    return journeys.client.get_workflow_handle(journeys.cohort_id(cohort))


async def cohorts(sojourn: Running) -> list[int]:
    """The ids of all cohorts, oldest first."""
    return [r.id for r in await sojourn.query("select id from cohorts order by id")]


async def test_continue_as_new_under_load_loses_nothing(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a history limit of 20 events, two hundred members in one cohort get both of their messages once, over many runs."""
    monkeypatch.setattr(workflow, "HISTORY_LIMIT", 20)  # two rounds of messages pass it, however many come at once
    folder = write_project(tmp_path, {"journeys/twice.yaml": TWICE})
    chance = random.Random(7)
    async with running(folder, database_url, temporal_address, task_queue_prefix, max_size=200, partitions=1) as sojourn:
        users = [f"user{i}" for i in range(200)]
        await sojourn.accept([sojourn.known(u) for u in users])
        later = [("confirmed", u) for u in users] + [("pinged", u) for u in users]
        for i in range(0, 200, 20):
            await sojourn.accept([sojourn.event(u, "signed_up") for u in users[i : i + 20]])
        await sojourn.waiting_in("one", 200)
        chance.shuffle(later)
        for i in range(0, 400, 20):
            await sojourn.accept([sojourn.event(u, name) for name, u in later[i : i + 20]])
        await sojourn.settled(60)
        assert {"sent": 400} == await sojourn.statuses()
        assert 400 == len({m.key for m in sojourn.email.seen}) == len(sojourn.email.seen)
        await sojourn.relayed()
        runs = [(await (await handle(sojourn, c)).describe()).raw_description for c in await cohorts(sojourn)]
        assert any(r.workflow_execution_info.first_run_id != r.workflow_execution_info.execution.run_id for r in runs)


@pytest.mark.parametrize("seen", [False, True], ids=["new input", "input it had seen"])
async def test_members_of_a_workflow_that_is_gone_go_on_in_another(
    seen: bool, tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """Live members of a terminated cohort are rebuilt from their recorded state with their next input; no message repeats."""
    folder = write_project(tmp_path, {"journeys/twice.yaml": TWICE})
    async with running(folder, database_url, temporal_address, task_queue_prefix, partitions=1) as sojourn:
        ada, bob = await sojourn.identify("ada"), await sojourn.identify("bob")
        await sojourn.accept([sojourn.event(u, "signed_up") for u in ("ada", "bob")])
        await sojourn.waiting_in("one", 2)
        await sojourn.track("ada", "confirmed")
        await sojourn.waiting_in("two")
        (first,) = await cohorts(sojourn)
        await (await handle(sojourn, first)).terminate("a test")
        if seen:  # as if the relay had died between the signal and its mark
            await sojourn.query("update inputs set relayed_at = null where kind = 'event' returning 1")

            async def moved() -> bool:
                return len(await cohorts(sojourn)) == 2

            await sojourn.until(moved)
        await sojourn.track("ada", "pinged", number=1)
        await sojourn.track("bob", "confirmed")
        await sojourn.track("bob", "pinged", number=1)
        await sojourn.settled()
        assert ["first", "second"] == [m.step for m in sojourn.email.to(ada)] == [m.step for m in sojourn.email.to(bob)]
        assert 2 == len(await cohorts(sojourn))


async def test_who_is_admitted_to_a_cohort_that_is_over_goes_on_at_once(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The relay doesn't wait for its next look, which is far away here, when a cohort turns out to take nobody any more."""
    monkeypatch.setattr(relay, "IDLE_SECONDS", 3_600.0)
    folder = write_project(tmp_path, {"journeys/twice.yaml": TWICE})
    async with running(folder, database_url, temporal_address, task_queue_prefix, partitions=1) as sojourn:
        await sojourn.accept([sojourn.known(u) for u in ("ada", "bob")])
        await sojourn.track("ada", "signed_up")
        await sojourn.waiting_in("one")
        (first,) = await cohorts(sojourn)
        await (await handle(sojourn, first)).terminate("a test")
        await sojourn.track("bob", "signed_up")
        await sojourn.waiting_in("one", 2)
        assert 2 == len(await cohorts(sojourn))


class Dying:
    """Journeys whose first hand-over of a rebuilt member never arrives, as when the relay dies between placing and telling."""

    def __init__(self, inner: Journeys) -> None:
        self.inner, self.max_size, self.died = inner, inner.max_size, False

    async def bring(self, cohort: int, journey: str, plan: str, lanes: Lanes, items: Sequence[Json], *, lane: str) -> str:
        """As Journeys does, but for the first time that a member's state is among the items."""
        if not self.died and any(len(item) > 2 for item in items):
            self.died = True
            raise Unreachable("a test")
        return await self.inner.bring(cohort, journey, plan, lanes, items, lane=lane)


async def test_a_move_that_was_cut_off_before_the_new_cohort_was_told_is_made_again(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """A member whose new cohort is committed, but hasn't been told where it stood, is rebuilt by the next round."""
    folder = write_project(tmp_path, {"journeys/twice.yaml": TWICE})
    async with running(folder, database_url, temporal_address, task_queue_prefix, partitions=1) as sojourn:
        ada = await sojourn.identify("ada")
        await sojourn.track("ada", "signed_up")
        await sojourn.waiting_in("one")
        (first,) = await cohorts(sojourn)
        await (await handle(sojourn, first)).terminate("a test")
        dying = Dying(sojourn.worker.relay.journeys)
        sojourn.worker.relay.journeys = cast(Journeys, dying)
        await sojourn.track("ada", "confirmed")
        await sojourn.relayed()
        assert dying.died
        await sojourn.track("ada", "pinged", number=1)
        await sojourn.settled()
        assert ["first", "second"] == [m.step for m in sojourn.email.to(ada)]


async def test_a_member_that_another_relay_has_moved_stays_in_its_new_cohort(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """A relay that was slow hears that the old cohort is over: it takes nobody out of the new one, and admits nobody twice."""
    folder = write_project(tmp_path, {"journeys/twice.yaml": TWICE})
    async with running(folder, database_url, temporal_address, task_queue_prefix) as sojourn:
        await sojourn.identify("ada")
        await sojourn.track("ada", "signed_up")
        await sojourn.waiting_in("one")
        (row,) = await sojourn.query("select id, cohort_id from enrollments")
        member, home = row.id, row.cohort_id
        async with transaction(sojourn.worker.core.database) as c:
            assert [] == await relay_store.reopen_members(c, home - 1, [member])
            assert [] == await relay_store.homeless(c, [member])
            assert [member] == await relay_store.reopen_members(c, home, [member])
            assert [member] == await relay_store.homeless(c, [member])
            await relay_store.admit(c, home, [member])


async def test_an_input_for_a_workflow_that_is_gone_is_noted_when_its_member_has_ended(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """The exit of the last member of a terminated cohort is recorded as having come after the end; nothing stays pending."""
    folder = write_project(tmp_path, {"journeys/twice.yaml": TWICE})
    async with running(folder, database_url, temporal_address, task_queue_prefix) as sojourn:
        await sojourn.identify("ada")
        await sojourn.track("ada", "signed_up")
        await sojourn.waiting_in("one")
        (first,) = await cohorts(sojourn)
        await (await handle(sojourn, first)).terminate("a test")
        await sojourn.track("ada", "cancelled")
        await sojourn.relayed()
        notes = await sojourn.query("select note from inputs where kind = 'exit'")
        assert ["came after the end"] == [r.note for r in notes]
        assert [first] == await cohorts(sojourn)


async def test_a_roll_continues_as_new_and_keeps_everybody(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """Asked to roll, a cohort goes on in a new run where its members stood."""
    folder = write_project(tmp_path, {"journeys/twice.yaml": TWICE})
    async with running(folder, database_url, temporal_address, task_queue_prefix, sandboxed=True) as sojourn:
        ada = await sojourn.identify("ada")
        await sojourn.track("ada", "signed_up")
        await sojourn.waiting_in("one")
        (cohort,) = await cohorts(sojourn)
        before = (await (await handle(sojourn, cohort)).describe()).run_id
        await sojourn.worker.relay.journeys.roll(cohort)

        async def rolled() -> bool:
            return (await (await handle(sojourn, cohort)).describe()).run_id != before

        await sojourn.until(rolled)
        await sojourn.track("ada", "confirmed")
        await sojourn.track("ada", "pinged", number=1)
        await sojourn.settled()
        assert ["first", "second"] == [m.step for m in sojourn.email.to(ada)]


async def test_a_full_cohort_makes_room_in_the_next(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """Cohorts admit `max_size` members and no more."""
    folder = write_project(tmp_path, {"journeys/twice.yaml": TWICE})
    async with running(folder, database_url, temporal_address, task_queue_prefix, max_size=7) as sojourn:
        users = [f"user{i}" for i in range(30)]
        await sojourn.accept([sojourn.known(u) for u in users])
        for i in range(0, 30, 5):
            await sojourn.accept([sojourn.event(u, "signed_up") for u in users[i : i + 5]])
        await sojourn.waiting_in("one", 30)
        rows = await sojourn.query("select cohort_id, count(*) as n from enrollments group by 1")
        assert 30 == sum(r.n for r in rows)
        assert max(r.n for r in rows) <= 7
        admitted = {r.id: r.admitted for r in await sojourn.query("select id, admitted from cohorts")}
        assert {r.cohort_id: r.n for r in rows} == admitted
