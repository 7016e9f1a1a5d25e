"""Bringing enrollments to another plan, or to another step of theirs: each is asked by a numbered input, like everything else.

    a deploy's `moves` ─▶ `Moving.round`, batch by batch ─▶ a `move` for each ─▶ its cohort lets it go ─▶ `delivery.moving`

A batch is asked whole or not at all; who was asked is never asked again, and what is left over after a crash is gone on with by
the next round, in this process or another. Source: semantics.md, "Versions".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from engine.core.moving import crossings, places, to_step
from engine.delivery.deployments import Deployments
from engine.settings.problems import nearest
from engine.store import audit, enrollments, moves, tasks
from engine.store.database import Connection, Database, now
from engine.store.deployments import following_one

BATCH = 500
"""Enrollments of one transaction."""


class NoSuchStep(Exception):
    """A step that a plan doesn't have. `hint`: what it has."""

    def __init__(self, message: str, hint: str) -> None:
        self.hint = hint
        super().__init__(message)


class OnItsWay(Exception):
    """An enrollment that is to go on with another plan. `hint`: what to do."""

    def __init__(self, enrollment: int) -> None:
        self.hint = "reset it once it has: its step may be another one there"
        super().__init__(f"enrollment {enrollment} is on its way to another plan")


@dataclass(slots=True)
class Moving:
    """Carries out what deploys have said about those inside, for one process."""

    database: Database
    deployments: Deployments

    async def batch(self) -> int | None:
        """Ask the next batch, whole or not at all: how many that concerned, None where everybody has been asked."""
        return await following_one(self.database, partial(ask_next, deployments=self.deployments))

    async def round(self) -> bool:
        """The same; whether there may be more."""
        return await self.batch() is not None


async def ask_next(c: Connection, deployments: Deployments) -> int | None:
    """Ask the next batch of the oldest unfinished move; how many that concerned, None where nothing is unfinished."""
    move = await moves.unfinished(c)
    if move is None:
        return None
    ids = await moves.next_inside(c, move.journey, move.plan, move.after, BATCH)
    if not ids:
        await moves.finish(c, move.id)
        return 0
    await enrollments.lock_customers(c, ids)
    new = await deployments.plan(c, move.plan)
    pairs = {}
    asked = []
    for r in await moves.standing(c, ids):
        if r.plan == new.hash:
            continue
        if r.plan not in pairs:
            pairs[r.plan] = crossings(await deployments.plan(c, r.plan), new, move.named)
        asked.append({"enrollment_id": r.id, "matched": pairs[r.plan], "reason": new.hash})
    await _ask(c, asked)
    await moves.progress(c, move.id, ids[-1], len(asked))
    return len(asked)


async def reset(c: Connection, deployments: Deployments, ids: Sequence[int], step: str, actor: str) -> list[int]:
    """Have those of `ids` that haven't ended go on at `step` of the plan that they are on, as if they had just come there; the
    ids that it concerned. Raises NoSuchStep where one of their plans has no such step, OnItsWay where
    one of them is to go on with the plan that its journey has now."""
    await enrollments.lock_customers(c, ids)
    asked = []
    told, in_force = await moves.told(c, ids), (await deployments.current(c)).plans
    for r in await moves.standing(c, ids):
        plan = await deployments.plan(c, r.plan)
        if r.id in told and r.journey in in_force and told[r.id] == in_force[r.journey].hash != r.plan:
            raise OnItsWay(r.id)
        there = places(plan)
        if step not in there:
            hint = nearest(step, there) or f"it has {', '.join(there)}"
            raise NoSuchStep(f"the plan of enrollment {r.id} has no step {step!r}", hint)
        asked.append({"enrollment_id": r.id, "matched": to_step(plan, there[step]), "reason": plan.hash})
    await _ask(c, asked)
    going = [a["enrollment_id"] for a in asked]
    await tasks.give_up(c, going)
    await audit.note(c, actor, "reset", [f"enrollment/{i}" for i in going], {"to": step})
    return going


async def _ask(c: Connection, asked: Sequence[dict[str, object]]) -> None:
    """A `move` for each of these enrollments, whose rows the caller has locked."""
    if asked:
        at = await now(c)
        await enrollments.append_inputs(c, [{**a, "kind": "move", "at": at} for a in asked])
        await enrollments.tell_relay(c)
