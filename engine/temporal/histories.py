"""Histories of cohorts, broadcasts and chores: which runs Temporal still has, what happened in them, and files to keep them in.
Reads only.

A run is one execution of a workflow; each continue-as-new begins another one. Histories hold ids and moments, nothing personal.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHistory
from temporalio.service import RPCError, RPCStatusCode

from engine.core.wire import Json
from engine.temporal.broadcast_workflow import CARRY
from engine.temporal.chore_workflow import CHORE
from engine.temporal.client import Unreachable, broadcast_prefix, chore_prefix, cohort_prefix

RECORDER = "recorder"
"""Stands in files where the history names the machine or the process that did it."""

STICKY = "TASK_QUEUE_KIND_STICKY"
"""The kind of a task queue that is one process's own, and called after it."""

Kind = Literal["cohort", "broadcast", "chore"]

CLOSED = ("Completed", "ContinuedAsNew", "Failed", "Canceled", "Terminated", "TimedOut")
"""How a run may have ended, as Temporal's queries call it."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a workflow. `journey`: its type, which for cohorts is their journey's name. `open`: it still runs; a cohort then
    carries its members. `cohort` 0: it is none, or its id doesn't tell."""

    workflow: str
    run: str
    journey: str
    cohort: int
    open: bool

    @property
    def kind(self) -> Kind:
        """What is run. No journey can have the type of the other two."""
        return "broadcast" if self.journey == CARRY else "chore" if self.journey == CHORE else "cohort"

    @property
    def name(self) -> str:
        """Of which cohort, broadcast (with its turn) or chore."""
        if self.kind == "cohort":
            return str(self.cohort)
        return self.workflow.rpartition(f"-{self.kind}-")[2].partition("-run")[0]

    @property
    def short(self) -> str:
        """The end of its id: ids begin with the time, those of one chore's runs for about a minute with the same digits."""
        return self.run[-12:]


@dataclass(frozen=True, slots=True)
class Kept:
    """A history in a file: of which run, the plan (JSON) that it followed, None without one, and what happened."""

    run: Run
    plan: Json
    history: WorkflowHistory


class BadHistory(Exception):
    """A file that holds no history; the message names it and says what is wrong."""


def wanted(prefix: str, journey: str | None = None, *, open_only: bool = False, since: datetime | None = None) -> str:
    """Temporal's query for the runs of cohorts: of one journey (None: of all), perhaps only those that still run, begun at
    `since` or later. Paused ones are left out: the client can't read their status."""
    of_journey = "" if journey is None else f" AND WorkflowType = '{quoted(journey)}'"
    return _begun(cohort_prefix(prefix), open_only, since) + of_journey


def _begun(start: str, open_only: bool, since: datetime | None) -> str:
    states = ("Running",) if open_only else ("Running", *CLOSED)
    parts = [f"WorkflowId STARTS_WITH '{quoted(start)}'", f"ExecutionStatus IN ({', '.join(repr(s) for s in states)})"]
    if since is not None:
        parts.append(f"StartTime >= '{since.astimezone(UTC).isoformat()}'")
    return " AND ".join(parts)


def wanted_beside(prefix: str, *, open_only: bool = False, since: datetime | None = None) -> list[str]:
    """The queries for the runs of what isn't a journey's: broadcasts, and chores."""
    return [_begun(start, open_only, since) for start in (broadcast_prefix(prefix), chore_prefix(prefix))]


def quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "\\'")


async def runs(client: Client, prefix: str, query: str, limit: int | None = None) -> list[Run]:
    """The runs that a query (`wanted`) finds, the newest first, at most `limit`. Raises Unreachable."""
    try:
        return [
            Run(e.id, e.run_id, e.workflow_type, cohort_of(prefix, e.id), e.status == WorkflowExecutionStatus.RUNNING)
            async for e in client.list_workflows(query, limit=limit)
        ]
    except RPCError as failed:
        raise Unreachable(f"Temporal: {failed.message}") from failed


def cohort_of(prefix: str, workflow: str) -> int:
    """The number of the cohort whose workflow id this is; 0 where it is none."""
    number = workflow.removeprefix(cohort_prefix(prefix))
    return int(number) if number.isascii() and number.isdigit() else 0


async def fetch(client: Client, run: Run) -> WorkflowHistory | None:
    """What happened in a run; None where Temporal has it no more. Raises Unreachable."""
    try:
        return await client.get_workflow_handle(run.workflow, run_id=run.run).fetch_history()
    except RPCError as failed:
        if failed.status == RPCStatusCode.NOT_FOUND:
            return None
        raise Unreachable(f"Temporal: {failed.message}") from failed


def to_file(folder: Path, run: Run, plan: Json, history: WorkflowHistory) -> Path:
    """Write a history with its plan into `folder`. The file."""
    path = folder / f"{run.journey}-{run.name}-{run.short}.json"
    path.write_text(to_text(plan, history), encoding="utf-8")
    return path


def to_text(plan: Json, history: WorkflowHistory) -> str:
    """A history with its plan (None: it follows none) as `from_file` reads it, without the names of machines."""
    body = {"workflow_id": history.workflow_id, "plan": plan, "history": _anonymous(json.loads(history.to_json()))}
    return json.dumps(body, indent=1, sort_keys=True) + "\n"


def from_file(path: Path) -> Kept:
    """The history that `to_file` wrote. Raises BadHistory."""
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
        history = WorkflowHistory.from_json(body["workflow_id"], body["history"])
        if not history.events:
            raise BadHistory(f"{path} holds no history: it has no events")
        plan = body["plan"]
        started = history.events[0].workflow_execution_started_event_attributes
        last = history.events[-1].WhichOneof("attributes") or ""
    except (OSError, ValueError, KeyError, TypeError) as wrong:
        raise BadHistory(f"{path} holds no history: {type(wrong).__name__}: {wrong}"[:300]) from None
    journey = started.workflow_type.name
    number = "" if journey in (CARRY, CHORE) else history.workflow_id.rpartition("-")[2]
    cohort = int(number) if number.isascii() and number.isdigit() else 0
    return Kept(Run(history.workflow_id, history.run_id, journey, cohort, not _closes(last)), plan, history)


def _closes(attributes: str) -> bool:
    """Whether an event with these attributes is the last of a run."""
    ends = ("completed", "failed", "timed_out", "canceled", "terminated", "continued_as_new")
    return any(attributes == f"workflow_execution_{end}_event_attributes" for end in ends)


def _anonymous(body: Any) -> Any:
    """The history without the names of the processes and machines that made it: identities, and sticky task queues."""
    if isinstance(body, dict):
        named = ("identity", "name") if body.get("kind") == STICKY else ("identity",)
        return {k: RECORDER if k in named and isinstance(v, str) else _anonymous(v) for k, v in body.items()}
    if isinstance(body, list):
        return [_anonymous(v) for v in body]
    return body


async def from_files(files: list[Kept]) -> AsyncIterator[tuple[Run, WorkflowHistory]]:
    """Histories of files, as `replaying.replay` takes them."""
    for kept in files:
        yield kept.run, kept.history
