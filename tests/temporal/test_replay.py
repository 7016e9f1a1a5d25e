"""Today's workflows replay yesterday's histories, under Temporal's sandbox: what runs today goes on after an upgrade.

Where one fails, the change needs `workflow.patched`; recording anew (`record_histories.py`) would only hide it.
"""

from __future__ import annotations

import asyncio
import base64
import json
import socket
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio import workflow
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner
from temporalio.workflow import NondeterminismError

from engine.core.plan import plan_from_json
from engine.temporal import replaying
from engine.temporal.histories import RECORDER, from_file, from_files, to_text
from engine.temporal.plans import SHELF
from engine.temporal.workflow import Cohort

TASK = "workflowTaskScheduledEventAttributes"
FOLDER = Path(__file__).parent / "histories"
HISTORIES = sorted(FOLDER.glob("*.json"))
COHORTS = sorted(FOLDER.glob("sampler-*.json"))


def recorded(file: Path) -> dict[str, Any]:
    """A recorded history, its plan on the shelf where it follows one."""
    body: dict[str, Any] = json.loads(file.read_text())
    if body["plan"] is not None:
        SHELF.add(plan_from_json(body["plan"]))
    return body


async def replay(body: dict[str, Any]) -> None:
    """Replay under the sandbox; what doesn't fit raises."""
    replayer = Replayer(workflows=replaying.WORKFLOWS, workflow_runner=SandboxedWorkflowRunner())
    await replayer.replay_workflow(WorkflowHistory.from_json(body["workflow_id"], body["history"]))


@pytest.mark.parametrize("file", HISTORIES, ids=lambda file: file.stem)
async def test_a_recorded_history_replays(file: Path) -> None:
    """The workflow does today what it did when the history was recorded."""
    await replay(recorded(file))


def test_a_file_names_no_process_and_keeps_everything_else() -> None:
    """Identities and the queues of single processes are left out; a queue that is called as the machine is not."""
    text = COHORTS[0].read_text().replace("recorder", "17@box").replace('"recorded"', f'"{socket.gethostname()}"')
    body = json.loads(text)
    written = json.loads(to_text(body["plan"], WorkflowHistory.from_json(body["workflow_id"], body["history"])))
    queues = {e[TASK]["taskQueue"]["name"] for e in written["history"]["events"] if TASK in e}
    assert ({socket.gethostname(), RECORDER}, False) == (queues, "box" in json.dumps(written))


def test_the_histories_hold_what_cohorts_do() -> None:
    """Between them they have every activity, an input, a timer, a parking, an exit, continue-as-new and the end."""
    events = [event for file in COHORTS for event in recorded(file)["history"]["events"]]
    activities = {
        e["activityTaskScheduledEventAttributes"]["activityType"]["name"]
        for e in events
        if "activityTaskScheduledEventAttributes" in e
    }
    assert {"deliver", "evaluate", "act", "record"} == activities
    kinds = {e["eventType"].removeprefix("EVENT_TYPE_") for e in events}
    assert {"TIMER_FIRED", "WORKFLOW_EXECUTION_SIGNALED", "WORKFLOW_EXECUTION_COMPLETED"} <= kinds
    assert "WORKFLOW_EXECUTION_CONTINUED_AS_NEW" in kinds
    words = b" ".join(base64.b64decode(text) for text in _data(events))
    assert all(word in words for word in (b'"park"', b'"parked"', b'"retry"', b'"exit"', b'"timeout"', b'"silent"'))


@pytest.mark.parametrize("file", HISTORIES, ids=lambda file: file.stem)
async def test_a_history_that_did_something_else_is_refused(file: Path) -> None:
    """A replay that could not fail would prove nothing: with another activity in its place the history doesn't fit."""
    body = recorded(file)
    first = next(e for e in body["history"]["events"] if "activityTaskScheduledEventAttributes" in e)
    first["activityTaskScheduledEventAttributes"]["activityType"]["name"] = "something_else"
    with pytest.raises(NondeterminismError):
        await replay(body)


async def test_another_order_of_commands_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The danger that the corpus is there for: a timer that comes before the activities of the same task, which all come later.
    Production replays without the sandbox, which would not see the change that is planted here."""
    pump = Cohort._pump

    def timer_first(self: Cohort) -> None:
        pump(self)
        self.timer = self.timer or asyncio.create_task(self._sleep_until(workflow.now() + timedelta(hours=1)))

    monkeypatch.setattr(Cohort, "_pump", timer_first)
    files = [from_file(file) for file in COHORTS]
    for kept in files:
        SHELF.add(plan_from_json(kept.plan))
    told = [one async for one in replaying.replay(from_files(files))]
    assert [True] * len(files) == ["Nondeterminism" in one.reason for one in told]


async def test_where_a_move_meets_a_reset_cohorts_of_before_go_on_as_they_began(monkeypatch: pytest.MonkeyPatch) -> None:
    """What lets a reset stand beside a later move is behind a mark in the history: without one, as in histories of before, the
    move takes its place."""
    kept = from_file(FOLDER / "moved.json")
    SHELF.add(plan_from_json(kept.plan))
    marks = [e for e in json.loads(kept.history.to_json())["events"] if "markerRecordedEventAttributes" in e]
    assert ["reset first"] == [json.loads(base64.b64decode(text))["id"] for text in _data(marks)]
    monkeypatch.setattr("engine.temporal.workflow.keeps_a_reset", lambda *_: False)
    assert [True] == ["Nondeterminism" in one.reason async for one in replaying.replay(from_files([kept]))]


def test_files_say_what_they_are_of() -> None:
    """A cohort, a broadcast with its turn, a chore; and that the run is over."""
    found = {file.stem: from_file(file).run for file in HISTORIES}
    told = {stem: (run.kind, run.name, run.open) for stem, run in found.items()}
    cohort = ("cohort", str(found["sampler-1"].cohort), False)
    assert {"sampler-1": cohort, "sampler-2": cohort, "moved": ("cohort", "1", True)} | {
        "broadcast": ("broadcast", "1-0", False),
        "chore": ("chore", "some", False),
    } == told


def _data(body: Any) -> list[str]:
    """The data of every payload."""
    if isinstance(body, dict):
        own = [body["data"]] if "metadata" in body and isinstance(body.get("data"), str) else []
        return own + [found for value in body.values() for found in _data(value)]
    return [found for value in body for found in _data(value)] if isinstance(body, list) else []
