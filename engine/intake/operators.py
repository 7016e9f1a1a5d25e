"""What operators do to enrollments: let parked ones go on, end live ones. One transaction per batch, under the customers' locks.

Like everything else it reaches Temporal only as numbered inputs, and every act leaves a row in the audit log.
"""

from __future__ import annotations

from collections.abc import Sequence

from engine.delivery.deployments import Deployments
from engine.delivery.queueing import requeue
from engine.store import audit, parking
from engine.store import enrollments as store
from engine.store.database import Connection, now

STOPPED = "stopped"
"""The reason with which an enrollment ends that an operator stopped."""


async def retry(c: Connection, enrollments: Sequence[int], actor: str) -> list[int]:
    """Let the parked ones of `enrollments` go on with what failed; the ids that it concerned."""
    await store.lock_customers(c, enrollments)
    going = await parking.unpark(c, enrollments)
    await _done(c, actor, "retry", going)
    return sorted(going)


async def stop(c: Connection, enrollments: Sequence[int], actor: str) -> list[int]:
    """End those of `enrollments` that haven't ended: what they had waiting is dropped, their tasks are closed. The ids that it
    concerned."""
    owners = await store.lock_customers(c, enrollments)
    at = await now(c)
    ended = await store.end(c, [{"id": i, "reason": STOPPED, "at": at} for i in sorted(set(enrollments))], close_tasks=True)
    items = [{"enrollment_id": i, "kind": "stop", "at": at, "reason": STOPPED} for i in sorted(ended)]
    await store.append_inputs(c, items)
    if ended:
        await requeue(c, await Deployments().current(c), owners, at)
    await _done(c, actor, "stop", ended)
    return sorted(ended)


async def _done(c: Connection, actor: str, act: str, enrollments: Sequence[int]) -> None:
    await audit.note(c, actor, act, [f"enrollment/{i}" for i in sorted(enrollments)], {})
    if enrollments:
        await store.tell_relay(c)
