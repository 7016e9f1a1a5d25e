"""What operators do to enrollments: let parked ones go on, end live ones, pause and resume them and whole journeys, skip a step.
One transaction per batch, under the customers' locks. And to broadcasts: let them stand, go on, end.

Like everything else it reaches Temporal only as numbered inputs, and every act leaves a row in the audit log.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from engine.delivery.deployments import Deployments
from engine.delivery.queueing import requeue
from engine.delivery.rulings import SKIPPED
from engine.store import audit, broadcasts, customers, ledger, parking, pauses, planned, tasks
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


async def skip(c: Connection, enrollments: Sequence[int], actor: str) -> list[int]:
    """Have those of `enrollments` go on behind the step in which they stand: a message or a task of it that waits is dropped, one
    that was handed over stays. The ids that it concerned: not those at their very beginning, nor those that have ended."""
    owners = await store.lock_customers(c, enrollments)
    at = await now(c)
    deployments = Deployments()
    deployment = await deployments.current(c)
    standing: dict[str, list[int]] = defaultdict(list)
    inputs = []
    for r in await pauses.steps(c, enrollments):
        plan = await deployments.plan(c, r.plan)
        matched = [[op, 0] for op, one in enumerate(plan.ops) if getattr(one, "step", None) == r.step]
        if matched:
            standing[r.step].append(r.id)
            inputs.append({"enrollment_id": r.id, "kind": "skip", "at": at, "matched": matched, "reason": r.step})
    ids = sorted(i["enrollment_id"] for i in inputs)
    for step, there in standing.items():
        await pauses.skip(c, there, step, at)
        await tasks.give_up(c, there, step)
        await audit.note(c, actor, "skip", _named(there), {"step": step})
    if ids:
        await ledger.drop(c, ids, SKIPPED, "an operator skipped its step")
        await planned.forget(c, ids)
        await store.append_inputs(c, inputs)
        await requeue(c, deployment, owners, at)
        await store.tell_relay(c)
    return ids


async def pause(c: Connection, enrollments: Sequence[int], actor: str) -> list[int]:
    """Let those of `enrollments` that are inside send nothing and act on nothing until they are resumed. Their waits run on and
    their events are kept. The ids that it concerned."""
    await pauses.alone(c)
    owners = await store.lock_customers(c, enrollments)
    paused = await pauses.pause(c, enrollments)
    if paused:
        await requeue(c, await Deployments().current(c), owners, await now(c))
    await _done(c, actor, "pause", paused)
    return paused


async def resume(c: Connection, enrollments: Sequence[int], actor: str) -> list[int]:
    """End the pauses of these enrollments: what was kept back is decided afresh, unless their journey is paused too. The ids that
    it concerned."""
    await pauses.alone(c)
    await store.lock_customers(c, enrollments)
    resumed = await pauses.resume(c, enrollments)
    await store.try_again(c, await pauses.let_go(c, resumed))
    await _done(c, actor, "resume", resumed)
    return resumed


async def pause_journey(c: Connection, journey: str, reason: str, actor: str) -> bool:
    """As `pause`, for all who are in a journey or come into it; whether it wasn't paused already. The audit log keeps the reason,
    for when the pause is over. What waits in other journeys behind its messages is for `make_room`."""
    await pauses.alone(c)
    fresh = await pauses.pause_journey(c, journey, reason)
    if fresh or reason:
        await audit.note(c, actor, "pause", [f"journey/{journey}"], {"because": reason} if reason else {})
    return fresh


async def make_room(c: Connection, ids: Sequence[int]) -> None:
    """Work out the queues of these customers (`pauses.behind`): what a paused journey had set aside is free for others."""
    locked = await customers.lock(c, ids)
    await requeue(c, await Deployments().current(c), sorted(locked), await now(c))


async def resume_journey(c: Connection, journey: str, actor: str) -> bool:
    """End a journey's pause; whether it was paused. Those kept back are let go by `let_go`, a batch at a time."""
    await pauses.alone(c)
    resumed = await pauses.resume_journey(c, journey)
    if resumed:
        await audit.note(c, actor, "resume", [f"journey/{journey}"], {})
    return resumed


async def let_go(c: Connection, enrollments: Sequence[int]) -> int:
    """Have a batch of those who were kept back (`pauses.kept_back`) decided afresh; how many still were."""
    await store.lock_customers(c, enrollments)
    going = await pauses.let_go(c, enrollments)
    await store.try_again(c, going)
    if going:
        await store.tell_relay(c)
    return len(going)


def _named(enrollments: Sequence[int]) -> list[str]:
    return [f"enrollment/{i}" for i in sorted(enrollments)]


async def _done(c: Connection, actor: str, act: str, enrollments: Sequence[int]) -> None:
    await audit.note(c, actor, act, _named(enrollments), {})
    if enrollments:
        await store.tell_relay(c)


async def on_broadcasts(c: Connection, act: str, numbers: Sequence[int], actor: str) -> list[int]:
    """`pause`, `resume` or `cancel` these broadcasts, each between two of its pages; the numbers that it concerned. Whoever
    has been enrolled stays inside."""
    await broadcasts.hold_all(c, numbers)
    if act == "pause":
        done = await broadcasts.pause(c, numbers)
    elif act == "resume":
        done = await broadcasts.resume(c, numbers)
    else:
        done = await broadcasts.close(c, numbers, "cancelled", await now(c))
    await audit.note(c, actor, act, [f"broadcast/{i}" for i in sorted(done)], {})
    if done:
        await broadcasts.tell(c)
    return sorted(done)
