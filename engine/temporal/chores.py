"""Chores: what is to be done every so often, whatever happens meanwhile. Each is a Temporal Schedule, which starts a workflow,
which runs one activity until there is nothing more to do; so one process does it at a time, however many there are.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from temporalio import activity
from temporalio.client import (
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleUpdate,
    ScheduleUpdateInput,
)
from temporalio.service import RPCError

from engine.observe import metrics
from engine.temporal.activities import beating
from engine.temporal.chore_workflow import CHORE
from engine.temporal.client import RPC_TIMEOUT, Journeys, Unreachable, chore_prefix
from engine.temporal.grouping import BULK, main_queue, queue_name

AT_ONCE_SECONDS = 2.0
"""For how long one activity goes on: a workflow task per page would cost more than the page."""

LEAST_SECONDS = 10.0
"""How often a chore is begun at the most, in real time, whatever the time scale."""


@dataclass(frozen=True, slots=True)
class Chore:
    """`every`: in logical time. `run` does a bounded part and says whether there is more to do at once; it may be run twice,
    and while events come in. `after_deploy`: there is something to do when another project has been deployed."""

    name: str
    every: timedelta
    run: Callable[[], Awaitable[bool]]
    after_deploy: bool = False


@dataclass(slots=True)
class Chores:
    """The activity of all chores of one worker process. `done` hears the name of one that has nothing more to do now."""

    chores: Sequence[Chore]
    done: Callable[[str], Awaitable[None]]

    def activities(self) -> list[Callable[..., Awaitable[Any]]]:
        """Those that run on the main queue."""
        return [self.chore]

    @activity.defn(name="chore")
    async def chore(self, name: str) -> bool:
        """Parts of the chore `name`, until it is done or `AT_ONCE_SECONDS` have passed; whether there is more to do. One
        that this version doesn't know is done."""
        run = next((c.run for c in self.chores if c.name == name), None)
        end = time.monotonic() + AT_ONCE_SECONDS
        async with beating():
            while run is not None and await run():
                if time.monotonic() >= end:
                    return True
        if run is not None:
            await self.done(name)
            metrics.CHORES.labels(name).inc()
        return False


def chore_id(prefix: str, name: str) -> str:
    """The id of a chore's Temporal Schedule."""
    return f"{chore_prefix(prefix)}{name}"


async def keep(journeys: Journeys, chores: Sequence[Chore]) -> None:
    """Let Temporal's Schedules run these chores; those that are there follow what is said here. Schedules count in UTC, so
    Temporal needs no zones: local times are worked out by the engine, which has its own. Raises Unreachable."""
    for chore in chores:
        await _keep(journeys, chore)


async def _keep(journeys: Journeys, chore: Chore) -> None:
    every = timedelta(seconds=max(LEAST_SECONDS, journeys.clock.real_seconds(chore.every)))
    name = chore_id(journeys.prefix, chore.name)
    schedule = Schedule(
        action=ScheduleActionStartWorkflow(
            CHORE,
            [chore.name, max(1, int(journeys.heartbeat_seconds))],
            id=f"{name}-run",
            task_queue=queue_name(journeys.prefix, main_queue(BULK)),
        ),
        spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=every)]),
        policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP, catchup_window=every),
    )

    async def as_said(found: ScheduleUpdateInput) -> ScheduleUpdate:
        schedule.state = found.description.schedule.state  # one that somebody has paused stays so
        return ScheduleUpdate(schedule)

    try:
        try:
            await journeys.client.create_schedule(name, schedule, rpc_timeout=RPC_TIMEOUT)
        except ScheduleAlreadyRunningError:
            await journeys.client.get_schedule_handle(name).update(as_said, rpc_timeout=RPC_TIMEOUT)
    except RPCError as failed:
        raise Unreachable(f"Temporal: {failed.message}") from failed


async def after_deploy(journeys: Journeys, chores: Sequence[Chore]) -> None:
    """Have those of these chores done now that a deploy gives something to do; one that is under way goes on instead. They
    are kept already. Raises Unreachable."""
    try:
        for chore in chores:
            if chore.after_deploy:
                handle = journeys.client.get_schedule_handle(chore_id(journeys.prefix, chore.name))
                await handle.trigger(rpc_timeout=RPC_TIMEOUT)
    except RPCError as failed:
        raise Unreachable(f"Temporal: {failed.message}") from failed
