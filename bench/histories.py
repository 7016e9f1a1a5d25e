"""What cohorts cost in Temporal: history events and bytes, read from the histories themselves."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from temporalio.client import Client

from engine.app.wiring import PREFIX
from engine.temporal.histories import wanted


@dataclass(slots=True)
class Weight:
    """What `executions` workflow executions hold; each run of a continue-as-new chain is one. `kinds`: events by type, and
    activities by name."""

    executions: int = 0
    events: int = 0
    bytes: int = 0
    kinds: Counter[str] = field(default_factory=Counter)


async def weigh(address: str, most: int) -> Weight:
    """The histories of at most `most` executions of cohorts, counted and weighed as Temporal stores them. Chores aren't among
    them: what they cost doesn't grow with messages."""
    client = await Client.connect(address)
    weight = Weight()
    async for execution in client.list_workflows(wanted(PREFIX), limit=most):
        handle = client.get_workflow_handle(execution.id, run_id=execution.run_id)
        weight.executions += 1
        async for event in handle.fetch_history_events():
            weight.events += 1
            weight.bytes += event.ByteSize()
            weight.kinds[event.WhichOneof("attributes") or ""] += 1
            if event.HasField("activity_task_scheduled_event_attributes"):
                weight.kinds[event.activity_task_scheduled_event_attributes.activity_type.name] += 1
    return weight
