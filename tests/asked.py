"""What enrollments really asked for, in order, as Temporal's histories have it: to hold replays from the record against."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from temporalio.client import Client, WorkflowHistory

from engine.core.compact import decode_command
from engine.insight.retracing import Retraced
from engine.temporal.client import converter

Place = tuple[int, int, int]
"""Operation, visit, attempt."""


async def runs_of(client: Client, workflow: str) -> list[WorkflowHistory]:
    """The histories of a workflow, the newest run first: one that grows long continues as new."""
    found, run = list[WorkflowHistory](), None
    while run != "":
        found.append(await client.get_workflow_handle(workflow, run_id=run).fetch_history())
        run = found[-1].events[0].workflow_execution_started_event_attributes.continued_execution_run_id
    return found


async def asked_for(histories: Iterable[WorkflowHistory]) -> dict[int, list[Place]]:
    """Enrollment → where it stood with each command; what is asked again there counts once."""
    scheduled = [
        (event.event_time.ToNanoseconds(), event.activity_task_scheduled_event_attributes.input.payloads)
        for history in histories
        for event in history.events
        if event.HasField("activity_task_scheduled_event_attributes")
        and event.activity_task_scheduled_event_attributes.activity_type.name != "record"
    ]
    found: dict[int, list[Place]] = defaultdict(list)
    for _, payloads in sorted(scheduled, key=lambda one: one[0]):
        (batch,) = await converter("").decode(payloads, [dict])
        for member, body, _state in batch["members"]:
            command = decode_command(body)
            _add(found[member], (command.op, command.visit, command.attempt))
    return found


def asked_in(told: Retraced) -> list[Place]:
    """The same of a replay."""
    found: list[Place] = []
    for transition in told.transitions:
        for command in transition.commands:
            if command.kind != "record":
                _add(found, (command.op, command.visit, command.attempt))
    return found


def _add(places: list[Place], place: Place) -> None:
    if places[-1:] != [place]:
        places.append(place)
