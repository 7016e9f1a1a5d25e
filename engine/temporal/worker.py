"""One process's Temporal workers: for each lane that it serves a queue with cohorts, and one for each channel."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker, WorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from engine.observe.words import Sayable, in_a_line
from engine.store.database import transaction
from engine.store.trouble import Trouble, lost
from engine.temporal.activities import Activities
from engine.temporal.broadcast_workflow import Broadcast
from engine.temporal.broadcasting import Broadcasting
from engine.temporal.chore_workflow import ChoreRun
from engine.temporal.chores import Chores
from engine.temporal.grouping import BOTH, BULK, main_queue, queue_name
from engine.temporal.plans import SHELF
from engine.temporal.workflow import Cohort

log = logging.getLogger("sojourn.worker")

PLAN_CHECK_SECONDS = 0.1
"""How often a worker looks whether a workflow waits for a plan that it hasn't loaded."""


def tell_plainly(record: logging.LogRecord) -> bool:
    """A filter for what Temporal says of failed activities: that the database is gone, and the activity is tried again, is
    nothing to alarm with a trace; the relay of the same process says it once."""
    error = record.exc_info[1] if record.exc_info else None
    if error is not None and lost(error):
        record.msg, record.args, record.exc_info = f"an activity is tried again: {in_a_line(error)}", (), None
        record.levelno, record.levelname = logging.INFO, "INFO"
    return True


@dataclass(slots=True)
class Workers:
    """The workers of this process; `run` lasts until `stop` is set. `lanes`: those that it serves. `broadcasting`: what the
    worker of the bulk lane does for broadcasts. `cached`: workflows kept in memory between tasks, in a lane at the most."""

    client: Client
    prefix: str
    activities: Activities
    channels: Sequence[str]
    lanes: Sequence[str] = BOTH
    broadcasting: Broadcasting | None = None
    chores: Chores | None = None
    sandboxed: bool = False
    cached: int = 2_000
    concurrency: int = 16
    sticky_seconds: float = 10.0

    async def run(self, stop: asyncio.Event) -> None:
        """Load the plans, poll, and stop in order: workers first, so that nothing in flight is cut off."""
        logging.getLogger("temporalio.activity").addFilter(tell_plainly)
        await self._load_plans()
        runner: WorkflowRunner = SandboxedWorkflowRunner() if self.sandboxed else UnsandboxedWorkflowRunner()
        workers = []
        for lane in self.lanes:
            own = [a for part in (self.broadcasting, self.chores) if part is not None and lane == BULK for a in part.activities()]
            workers.append(
                Worker(
                    self.client,
                    task_queue=queue_name(self.prefix, main_queue(lane)),
                    workflows=[Cohort, Broadcast, ChoreRun] if own else [Cohort],
                    activities=[*self.activities.on_main_queue(), *own],
                    workflow_runner=runner,
                    max_cached_workflows=self.cached,
                    max_concurrent_activities=self.concurrency,
                    max_concurrent_workflow_tasks=self.concurrency,
                    sticky_queue_schedule_to_start_timeout=timedelta(seconds=self.sticky_seconds),
                    graceful_shutdown_timeout=timedelta(seconds=10),
                )
            )
            for channel in self.channels:
                workers.append(
                    Worker(
                        self.client,
                        task_queue=queue_name(self.prefix, f"{channel}.{lane}"),
                        activities=self.activities.on_channel_queue(),
                        max_concurrent_activities=8,
                        max_concurrent_activity_task_polls=2,
                        graceful_shutdown_timeout=timedelta(seconds=10),
                    )
                )
        watcher = asyncio.create_task(self._watch_plans())
        running = [asyncio.create_task(w.run()) for w in workers]
        stopping = asyncio.create_task(stop.wait())
        try:
            done, _ = await asyncio.wait([stopping, watcher, *running], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                if task is not stopping:
                    task.result()
        finally:
            watcher.cancel()
            stopping.cancel()
            await asyncio.gather(*(w.shutdown() for w in workers))
            await asyncio.gather(*running, return_exceptions=True)

    async def _load_plans(self) -> None:
        async with transaction(self.activities.database) as c:
            for plan in await self.activities.deployments.plans_needed(c):
                SHELF.add(plan)

    async def _watch_plans(self) -> None:
        """Load what workflows wait for."""
        trouble = Trouble(log, "loading plans")
        while True:
            await asyncio.sleep(PLAN_CHECK_SECONDS)
            for plan_hash in sorted(SHELF.wanted):
                try:
                    async with transaction(self.activities.database) as c:
                        SHELF.add(await self.activities.deployments.plan(c, plan_hash))
                except KeyError:  # a cohort of another database: it alone stands still
                    trouble.met(plan_hash, Sayable(f"no plan {plan_hash} was ever deployed to this database"))
                except (DBAPIError, PoolTimeout, OSError) as failed:
                    trouble.met(plan_hash, failed)
                else:
                    trouble.over(plan_hash)
