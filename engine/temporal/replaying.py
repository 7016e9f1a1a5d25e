"""Histories through today's workflows: would this worker go on with what runs, or stumble?

The plans must be on the shelf. Nothing is sent and nothing is stored: Temporal's own replayer asks the workflow for its commands
and compares them with those that the history holds.
"""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from temporalio.client import WorkflowHistory
from temporalio.runtime import Runtime, TelemetryConfig
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner, WorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from engine.observe.quiet import quiet
from engine.temporal.broadcast_workflow import Broadcast
from engine.temporal.chore_workflow import ChoreRun
from engine.temporal.client import converter
from engine.temporal.histories import Run
from engine.temporal.workflow import Cohort

Told = AsyncIterator[tuple[Run, WorkflowHistory]]

WORKFLOWS = (Cohort, Broadcast, ChoreRun)
"""All that a worker runs."""

REASON = 300
"""Characters of a reason, at the most."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """A run that was replayed: how many events it has, and why today's workflow doesn't fit it ("": it does)."""

    run: Run
    events: int
    reason: str = ""


async def replay(
    histories: Told, *, encryption_key: str = "", sandboxed: bool = False, workflows: Sequence[type] = WORKFLOWS
) -> AsyncIterator[Replayed]:
    """Each history, replayed, in their order. `sandboxed`: under Temporal's sandbox, which also refuses clocks and chance in
    workflow code, and takes twice as long. `workflows`: in the place of the worker's."""
    runner: WorkflowRunner = SandboxedWorkflowRunner() if sandboxed else UnsandboxedWorkflowRunner()
    replayer = Replayer(
        workflows=list(workflows),
        workflow_runner=runner,
        data_converter=converter(encryption_key),
        runtime=Runtime(telemetry=TelemetryConfig(logging=None)),  # failures are answers here, not news for a log
    )
    under_way: list[Run] = []

    async def each() -> AsyncIterator[WorkflowHistory]:
        async for run, history in histories:
            under_way.append(run)
            yield history

    with quiet("temporalio.worker", logging.CRITICAL):  # what fails is told as an answer: the SDK needn't log it too
        async with replayer.workflow_replay_iterator(each()) as results:
            async for result in results:
                failure = result.replay_failure
                reason = "" if failure is None else _in_a_line(failure)
                yield Replayed(under_way.pop(), len(result.history.events), reason)


_MESSAGE = re.compile(r'message: "((?:[^"\\]|\\.)+)"')
_KIND = re.compile(r'type: "(\w+)"')


def _in_a_line(failure: Exception) -> str:
    """What is wrong, in one line: the failure's own words out of all that Temporal's core wraps around them."""
    text = str(failure)
    found, kind = _MESSAGE.search(text), _KIND.search(text)
    words = found[1].replace('\\"', '"') if found else text
    if kind and not words.startswith("["):
        words = f"{kind[1]}: {words}"
    return (" ".join(words.split()) or type(failure).__name__)[:REASON]
