"""What must be true whenever nothing is left to do now: no slot is lost. Whoever waits is asked for as soon as there is room; a
slot is taken only by what got through, may have, or comes within a minute; one is set aside only for what is still to come.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.proofs.model import Model, Registered, Sent
from tests.proofs.world import HOUR, Passages, World

PUT_OFF = ("provider", "unknown")
"""Reasons of messages whose time their provider has named."""

MESSAGES = """
select m.*, e.entered_at, e.status as stands, coalesce(p.waiting, false) as queued
from messages m join enrollments e on e.id = m.enrollment_id left join planned p on p.enrollment_id = e.id
where m.customer_id = any(:ids) and (m.slot_at is not null or m.status = 'deferred') order by m.id
"""

IDLE = """
select p.enrollment_id from planned p join enrollments e on e.id = p.enrollment_id
left join messages m on m.enrollment_id = e.id and m.status = 'deferred'
where p.customer_id = any(:ids) and (e.status = 'ended' or case when p.waiting then m.key is null else p.due <= :now end)
"""


def lost(world: World, passages: Passages, models: Mapping[int, Model], coming: Mapping[int, list[Registered]]) -> list[str]:
    """What slots are lost to these customers, in words. `coming`: by customer, who is registered and hasn't been asked for."""
    rows = world.ask(MESSAGES, ids=list(models))
    deferred = [r for r in rows if r.status == "deferred" and r.stands == "live"]
    idle = [r.enrollment_id for r in world.ask(IDLE, ids=list(models), now=world.now)]
    late = [_late(world, passages, m, coming[c], [r for r in rows if r.customer_id == c]) for c, m in models.items()]
    return [
        *(f"{r.key} has a slot for nothing" for r in rows if r.slot_at is not None and _for_nothing(r)),
        *(f"{r.key} waits in no queue" for r in deferred if r.slot_at is None and not r.queued),
        *(f"a slot is set aside for {n}, which is past it" for n in idle if not _due(passages, n, world)),
        *(words for found in late for words in found),
    ]


def waiting(r: Any) -> Registered:
    """The row of a message that waits, with its enrollment's `entered_at`."""
    return Registered(
        r.enrollment_id, r.entered_at, r.tier, r.channel, r.topic, r.journey, r.planned_at, r.planned_at, waits=True
    )


def _for_nothing(r: Any) -> bool:
    if r.status == "deferred" and r.reason != "unknown":
        return bool(r.until - r.slot_at > HOUR / 60)
    return r.status in ("dropped", "refused")


def _due(passages: Passages, enrollment: int, world: World) -> bool:
    """Whether it is to be woken now: nobody has got to it."""
    state = passages.states[enrollment]
    return state.status == "waiting" and state.wake is not None and state.wake <= world.now


def _late(world: World, passages: Passages, model: Model, coming: list[Registered], rows: list[Any]) -> list[str]:
    """Who of one customer's is asked for too late."""
    deferred = [(r, waiting(r)) for r in rows if r.status == "deferred" and r.stands == "live"]
    slots = [
        Sent(r.key, r.enrollment_id, r.tier, r.channel, r.topic, r.journey, r.slot_at)
        for r in rows
        if r.slot_at is not None and r.key not in model.sent
    ]
    found = []
    for r, one in deferred:
        state = passages.states[r.enrollment_id]
        if r.reason in PUT_OFF or state.status != "waiting" or state.wake is None:
            continue
        before = [o for o in (*coming, *(w for _, w in deferred)) if model.goes_before(o, one)]
        at = model.late(one, state.wake, before, slots, world.now)
        if at is not None:
            found.append(f"{r.key} is overlooked: it might go at {at} and is asked for at {state.wake}")
    return found
