"""Has cohorts continue as new: their histories begin afresh, on the code of the workers that run now. Nobody inside notices."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from temporalio.api.enums.v1 import PendingWorkflowTaskState
from temporalio.client import Client, WorkflowExecutionDescription
from temporalio.service import RPCError, RPCStatusCode

from engine.temporal import histories
from engine.temporal.client import RPC_TIMEOUT, Unreachable
from engine.temporal.histories import Run

AT_ONCE = 20
"""Signals, or questions, that are on their way to Temporal together."""

LOOK_SECONDS = 0.5
"""How often it is looked who has continued."""

REASON = 200
"""Characters of a reason, at the most."""


@dataclass(frozen=True, slots=True)
class Behind:
    """A run that has not continued as new in time, and what it waits for."""

    run: Run
    reason: str


async def roll(
    client: Client, prefix: str, runs: Sequence[Run], *, seconds: float, step: Callable[[int], None] = lambda done: None
) -> list[Behind]:
    """Signal these open runs and wait, `seconds` at most, until each has continued as new or is over; those that have not.
    `step` hears how many have, each time it is looked. Raises Unreachable."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    free = asyncio.Semaphore(AT_ONCE)

    async def ask(run: Run) -> Run | None:
        async with free:
            try:
                await client.get_workflow_handle(run.workflow, run_id=run.run).signal("roll", rpc_timeout=RPC_TIMEOUT)
            except RPCError as failed:
                if failed.status == RPCStatusCode.NOT_FOUND:  # over, or continued by itself since it was listed
                    return None
                raise Unreachable(f"Temporal: {failed.message}") from failed
            return run

    left = [r for r in await asyncio.gather(*map(ask, runs)) if r is not None]
    while left and loop.time() < end:
        step(len(runs) - len(left))
        await asyncio.sleep(LOOK_SECONDS)
        open_now = {(r.workflow, r.run) for r in await histories.runs(client, prefix, histories.wanted(prefix, open_only=True))}
        left = [r for r in left if (r.workflow, r.run) in open_now]
    step(len(runs) - len(left))

    async def behind(run: Run) -> Behind | None:
        async with free:
            try:
                told = await client.get_workflow_handle(run.workflow, run_id=run.run).describe(rpc_timeout=RPC_TIMEOUT)
            except RPCError as failed:
                raise Unreachable(f"Temporal: {failed.message}") from failed
        return Behind(run, _why(told)) if told.close_time is None else None

    return [b for b in await asyncio.gather(*map(behind, left)) if b is not None]


def _why(told: WorkflowExecutionDescription) -> str:
    """What keeps a run from continuing as new, from what Temporal says of it."""
    raw = told.raw_description
    task = raw.pending_workflow_task
    if raw.HasField("pending_workflow_task"):
        if task.attempt > 1:
            return f"its workflow task has failed {task.attempt - 1} times: `sojourn replay` says why"
        if task.state != PendingWorkflowTaskState.PENDING_WORKFLOW_TASK_STATE_STARTED:
            waited = (datetime.now(UTC) - task.scheduled_time.ToDatetime(tzinfo=UTC)).total_seconds()
            return f"no worker has taken its workflow task for {max(0.0, waited):.0f} s: does one run?"
    if raw.pending_activities:
        parts = []
        for activity in raw.pending_activities:
            failed = activity.last_failure.message if activity.HasField("last_failure") else ""
            words = f", which failed: {failed}" if failed else ""
            parts.append(f"{activity.activity_type.name} (attempt {activity.attempt}{words})")
        return f"waits for {'; '.join(parts)}"[:REASON]
    return "has the signal, and is still at work"
