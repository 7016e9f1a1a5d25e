"""Schedules, dates and events about things on the real servers, from the Temporal Schedule to the provider."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from temporalio.client import WorkflowExecutionStatus

from engine.store import clock as clock_store
from engine.store.database import connect, transaction
from engine.temporal.chores import chore_id
from tests.harness import POLICY, TRACKING, Running, running, utc, write_project
from tests.letters import letter

SCALE = 600
"""An hour in six seconds."""

FACTS = TRACKING.replace("attributes: {", "attributes: {birthday: date, ")


def entering(name: str, enter: str, tier: str = "lifecycle", **more: str) -> str:
    """A journey of one letter with another entry."""
    return letter(name, tier, **more).replace("{event: signed_up, again: always}", enter)


@asynccontextmanager
async def at(
    folder: Path, url: str, temporal: str, prefix: str, moment: str, *journeys: str, rules: str = "", keeps_chores: bool = False
) -> AsyncIterator[Running]:
    """These journeys, on a clock that begins at `moment` and goes fast."""
    files = {f"journeys/j{i}.yaml": text for i, text in enumerate(journeys)}
    write_project(folder, {"journeys/policy.yaml": f"{POLICY}{rules}", "journeys/tracking.yaml": FACTS, **files})
    database = connect(url)
    async with transaction(database) as c:
        await clock_store.begin(c, SCALE, utc(moment))
    await database.dispose()
    async with running(folder, url, temporal, prefix, keeps_chores=keeps_chores, time_scale=SCALE) as sojourn:
        yield sojourn


async def test_a_schedule_goes_out_and_temporal_plans_the_next(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """Everybody in the audience gets the letter at its time; Temporal's Schedule is there, and what it starts plans ahead."""
    daily = entering("daily", "{schedule: {at: '09:00', timezone: UTC}, audience: customer.country == 'IT'}")
    async with at(
        tmp_path, database_url, temporal_address, task_queue_prefix, "2026-12-01 07:15", daily, keeps_chores=True
    ) as sojourn:
        ada, bob = await sojourn.identify("ada", country="IT"), await sojourn.identify("bob", country="IT")
        await sojourn.identify("cyd", country="FR")
        await sojourn.until(lambda: len(sojourn.email.seen) == 2, 40)
        assert {str(ada), str(bob)} == {m.customer for m in sojourn.email.seen}
        [row] = await sojourn.query("select min(entered_at) as first from enrollments")
        assert utc("2026-12-01 09:00") <= row.first < utc("2026-12-01 12:00")
        client = sojourn.worker.relay.journeys.client
        calendar = client.get_schedule_handle(chore_id(task_queue_prefix, "calendar"))
        try:
            await sojourn.query("delete from broadcasts where began_at is null returning id")
            await calendar.trigger()

            async def planned() -> bool:
                return bool(await sojourn.query("select 1 from broadcasts where occurrence = '2026-12-02T09:00'"))

            await sojourn.until(planned, 40)
            info = (await calendar.describe()).info
            assert info.recent_actions
            run = info.recent_actions[0].action
            status = (await client.get_workflow_handle(run.workflow_id).describe()).status  # type: ignore[attr-defined]  # it starts one
            assert status in (WorkflowExecutionStatus.RUNNING, WorkflowExecutionStatus.COMPLETED)
        finally:
            await calendar.delete()


async def test_an_event_about_a_thing_goes_out_at_once(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """Through the one door, to those whom it concerns."""
    enter = "{broadcast: confirmed, audience: {did: signed_up, where: event.order_id == entry.order_id}, key: order_id}"
    journey = entering("cheaper", enter)
    async with at(tmp_path, database_url, temporal_address, task_queue_prefix, "2026-12-01 07:15", journey) as sojourn:
        ada = await sojourn.identify("ada")
        await sojourn.identify("bob")
        await sojourn.track("ada", "signed_up", order_id="lamp")
        await sojourn.track("bob", "signed_up", order_id="sofa")
        await sojourn.track("catalogue", "confirmed", order_id="lamp")
        await sojourn.settled()
        await sojourn.until(lambda: len(sojourn.email.seen) == 1)
        assert [str(ada)] == [m.customer for m in sojourn.email.seen]


async def test_a_slot_is_set_aside_for_a_date_as_for_an_event(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """Who came in by their birthday at nine, for a letter at eleven, has room for it when the promotion goes out at ten:
    that waits."""
    high = entering("high", "{date: customer.birthday, at: '09:00', every: year}", before="{wait: 2h, id: two}")
    low = entering("low", "{schedule: {at: '10:00', timezone: UTC}, audience: customer.birthday is not none}", "promotional")
    cap = "caps: [{name: weekly, limit: 1, per: 7d}]\n"
    async with at(
        tmp_path, database_url, temporal_address, task_queue_prefix, "2026-12-01 07:15", high, low, rules=cap
    ) as sojourn:
        await sojourn.identify("ada", birthday="1990-12-01")
        await sojourn.until(lambda: len(sojourn.email.seen) == 1, 60)
        assert ["high"] == [m.step for m in sojourn.email.seen]

        async def decided() -> bool:
            return bool(await sojourn.query("select 1 from messages where journey = 'low'"))

        await sojourn.until(decided)
        [first] = await sojourn.query("select at, decision, rule from decisions where key like '%/low/%' order by id limit 1")
        assert ("defer", "weekly") == (first.decision, first.rule)
        assert first.at < utc("2026-12-01 11:00"), "before the other letter went"
        assert 1 == len(sojourn.email.seen)
