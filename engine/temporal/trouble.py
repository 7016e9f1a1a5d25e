"""What Temporal knows of trouble: task queues that nobody serves, and workflows whose tasks fail again and again. Reads only."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest, DescribeWorkflowExecutionRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from engine.temporal.client import RPC_TIMEOUT, Unreachable
from engine.temporal.grouping import BOTH, main_queue, queue_name
from engine.temporal.histories import quoted

Kind = Literal["workflow", "activity"]

ALIVE = timedelta(seconds=90)
"""Whoever polls asks at least this often: a poll lasts a minute, and Temporal remembers pollers for five."""

ATTEMPTS = 3
"""From this attempt on a workflow task is stuck: the first may have met a plan that was being loaded, or a worker's end."""

SHOWN = 20
"""Stuck workflows that are looked at one by one."""

FLAGGED = (
    "ExecutionStatus = 'Running' AND TemporalReportedProblems IN ('category=WorkflowTaskFailed', 'category=WorkflowTaskTimedOut')"
)
"""How servers that flag workflows with failing tasks are asked for them; others refuse the question."""

_TYPES = {"workflow": TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW, "activity": TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY}


@dataclass(frozen=True, slots=True)
class Queue:
    """A task queue. `pollers`: who asked it for tasks lately · `backlog`: tasks that wait there, about · `waited`: for how many
    seconds the oldest has."""

    name: str
    kind: Kind
    pollers: tuple[str, ...]
    backlog: int
    waited: float


@dataclass(frozen=True, slots=True)
class Stuck:
    """A workflow (a cohort, most often) whose task is at its n-th attempt. `since`: when that task was first scheduled."""

    workflow: str
    journey: str
    attempts: int
    since: datetime


async def queues(client: Client, prefix: str, channels: Sequence[str], now: datetime) -> list[Queue]:
    """Every task queue that the project's workers serve: of cohorts, and of each channel, for each lane. Raises Unreachable."""
    wanted: list[tuple[str, Kind]] = []
    for lane in BOTH:
        name = queue_name(prefix, main_queue(lane))
        wanted += [(name, "workflow"), (name, "activity")]
        wanted += [(queue_name(prefix, f"{channel}.{lane}"), "activity") for channel in channels]
    return list(await asyncio.gather(*(_queue(client, name, kind, now) for name, kind in wanted)))


async def _queue(client: Client, name: str, kind: Kind, now: datetime) -> Queue:
    request = DescribeTaskQueueRequest(
        namespace=client.namespace, task_queue=TaskQueue(name=name), task_queue_type=_TYPES[kind], report_stats=True
    )
    try:
        told = await client.workflow_service.describe_task_queue(request, timeout=RPC_TIMEOUT)
    except RPCError as failed:
        raise Unreachable(f"Temporal: {failed.message}") from failed
    alive = sorted({p.identity for p in told.pollers if now - p.last_access_time.ToDatetime(tzinfo=UTC) < ALIVE})
    waited = told.stats.approximate_backlog_age.ToTimedelta().total_seconds()
    return Queue(name, kind, tuple(alive), told.stats.approximate_backlog_count, waited)


async def stuck(client: Client, prefix: str, cohorts: Sequence[str]) -> list[Stuck]:
    """Running workflows of the project whose task fails again and again: those that the server flags, at most SHOWN, and those of
    `cohorts` (workflow ids), for servers that flag none. Raises Unreachable."""
    found: list[str] = []
    try:
        theirs = f"{FLAGGED} AND WorkflowId STARTS_WITH '{quoted(f'{prefix}-')}'"
        async for w in client.list_workflows(theirs, limit=SHOWN, rpc_timeout=RPC_TIMEOUT):
            found.append(w.id)
    except RPCError as failed:
        if failed.status is not RPCStatusCode.INVALID_ARGUMENT:
            raise Unreachable(f"Temporal: {failed.message}") from failed
    asked = await asyncio.gather(*(_stuck(client, workflow) for workflow in dict.fromkeys([*found, *cohorts])))
    return [one for one in asked if one is not None]


async def _stuck(client: Client, workflow: str) -> Stuck | None:
    request = DescribeWorkflowExecutionRequest(namespace=client.namespace, execution=WorkflowExecution(workflow_id=workflow))
    try:
        told = await client.workflow_service.describe_workflow_execution(request, timeout=RPC_TIMEOUT)
    except RPCError as failed:
        if failed.status is RPCStatusCode.NOT_FOUND:
            return None
        raise Unreachable(f"Temporal: {failed.message}") from failed
    task = told.pending_workflow_task
    if task.attempt < ATTEMPTS:
        return None
    since = task.original_scheduled_time.ToDatetime(tzinfo=UTC)
    return Stuck(workflow, told.workflow_execution_info.type.name, task.attempt, since)
