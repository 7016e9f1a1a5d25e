"""Whether a workflow waits, read from its history: what lets the time of a test move on."""

from __future__ import annotations

from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowHistory

_TASK = (
    EventType.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED,
    EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED,
    EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED,
    EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED,
    EventType.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT,
)
_ANSWERED = (
    EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED,
    EventType.EVENT_TYPE_ACTIVITY_TASK_FAILED,
    EventType.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT,
    EventType.EVENT_TYPE_ACTIVITY_TASK_CANCELED,
)


def at_rest(history: WorkflowHistory) -> bool:
    """Whether a workflow waits: its last task is done, and every activity that it asked for has answered."""
    kinds = [e.event_type for e in history.events]
    asked = kinds.count(EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED)
    last = next((k for k in reversed(kinds) if k in _TASK), None)
    return asked == sum(kinds.count(k) for k in _ANSWERED) and last == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED


def completed(history: WorkflowHistory) -> bool:
    """Whether a workflow is over, and no signal brings it back."""
    return history.events[-1].event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED
