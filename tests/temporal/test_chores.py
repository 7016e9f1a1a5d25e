"""Chores on a real Temporal server: a Schedule starts each, parts follow one another, and what an operator paused stays so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pytest
from temporalio.client import Client, ScheduleIntervalSpec
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from engine.core.logical import LogicalClock
from engine.temporal.chore_workflow import ChoreRun
from engine.temporal.chores import Chore, Chores, chore_id, keep
from engine.temporal.client import Journeys, connect
from engine.temporal.grouping import BULK, main_queue, queue_name
from tests.harness import utc

START = utc("2026-03-02 10:00")
HOUR = timedelta(hours=1)


async def nothing() -> bool:
    """A chore that is done at once."""
    return False


@pytest.fixture
async def journeys(temporal_address: str, task_queue_prefix: str) -> Journeys:
    """A client with a prefix of its own."""
    client = await connect(temporal_address, "default")
    return Journeys(client, task_queue_prefix, LogicalClock(1.0, START, START), 100, 5.0)


async def noted(chore: str) -> None:
    """Nobody wants to know."""


@asynccontextmanager
async def kept(journeys: Journeys, *chores: Chore) -> AsyncIterator[None]:
    """These chores are kept, and done by a worker."""
    queue = queue_name(journeys.prefix, main_queue(BULK))
    runner = UnsandboxedWorkflowRunner()
    activities = Chores(chores, noted).activities()
    try:
        async with Worker(journeys.client, task_queue=queue, workflows=[ChoreRun], activities=activities, workflow_runner=runner):
            await keep(journeys, chores)
            yield
    finally:
        for chore in chores:
            await journeys.client.get_schedule_handle(chore_id(journeys.prefix, chore.name)).delete()


async def ended(client: Client, prefix: str, name: str) -> None:
    """The run that the Schedule of `name` started is over."""
    handle = client.get_schedule_handle(chore_id(prefix, name))
    async with asyncio.timeout(30):
        while not (actions := (await handle.describe()).info.recent_actions):
            await asyncio.sleep(0.05)
    await client.get_workflow_handle(actions[-1].action.workflow_id).result()  # type: ignore[attr-defined]  # it starts one


async def test_a_run_goes_on_until_there_is_nothing_more(journeys: Journeys) -> None:
    """The Schedule starts it; parts follow one another, also after one that failed, and another chore isn't touched."""
    left, done = [3, 2, 1], []

    async def some() -> bool:
        done.append(left.pop())
        if len(done) == 2 and len(left) == 1:
            left.append(0)
            raise RuntimeError("the database is gone")
        return bool(left)

    async def other() -> bool:
        raise AssertionError("nobody asked for it")

    async with kept(journeys, Chore("some", HOUR, some), Chore("other", HOUR, other)):
        await journeys.client.get_schedule_handle(chore_id(journeys.prefix, "some")).trigger()
        await ended(journeys.client, journeys.prefix, "some")
    assert [1, 2, 0, 3] == done


async def test_a_schedule_follows_what_is_said_and_stays_paused(journeys: Journeys) -> None:
    """Another interval counts from the next start on; whoever paused the Schedule finds it paused."""
    chore = Chore("tidy", HOUR, nothing)
    async with kept(journeys, chore):
        handle = journeys.client.get_schedule_handle(chore_id(journeys.prefix, "tidy"))
        await handle.pause(note="not tonight")
        await keep(journeys, [replace(chore, every=timedelta(hours=6))])
        found = (await handle.describe()).schedule
        assert [ScheduleIntervalSpec(every=timedelta(hours=6))] == list(found.spec.intervals)
        assert (True, "not tonight") == (found.state.paused, found.state.note)


async def test_under_a_time_scale_a_chore_comes_as_often_as_its_time_does(journeys: Journeys) -> None:
    """A day in two minutes is a chore every two minutes; but none comes more often than every ten seconds."""
    fast = replace(journeys, clock=LogicalClock(720.0, START, START))
    async with kept(fast, Chore("daily", timedelta(days=1), nothing), Chore("hourly", HOUR, nothing)):
        spans = []
        for name in ("daily", "hourly"):
            about = await journeys.client.get_schedule_handle(chore_id(journeys.prefix, name)).describe()
            spans.append(about.schedule.spec.intervals[0].every.total_seconds())
    assert [120.0, 10.0] == spans
