"""The hand-over of whoever a cohort has let go, to another plan or another step: one transaction, under the customers' locks.

Migrations and resets come here, both as a `move` among an enrollment's inputs. Told a second time, after a crash, it finds nobody
left in that cohort and changes nothing. `core.moving` says what becomes of a state.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from engine.core.compact import encode_state
from engine.core.enrollment import Command, Input, State
from engine.core.interpreter import key
from engine.core.moving import Carried, behind, carried, matched_on
from engine.core.plan import Plan, Send
from engine.core.walk import later
from engine.delivery.deployments import Deployments
from engine.store import enrollments, ledger, moves, planned
from engine.store.database import Connection, now
from engine.store.ledger import UNKNOWN

MOVED = "moved"
"""The reason with which a message is dropped whose step its enrollment has left."""


async def hand_over(c: Connection, deployments: Deployments, plan: Plan, cohort: int, left: Mapping[int, State]) -> None:
    """Have those go on that `cohort` has `left` behind, each as the newest move that it was told says. The caller holds the locks
    of their customers and their own, and looks at the customers' queues afterwards."""
    told = await moves.let_go(c, cohort, plan.hash, sorted(left))
    if not told:
        return
    now_in_force = (await deployments.current(c)).plans.get(plan.journey, plan).hash
    going: list[tuple[Any, Plan, Carried, int]] = []
    for r in told:
        move = Input(r.seq, r.at, "move", tuple((here, there) for here, there in r.matched), r.to)
        state = left[r.id]
        if r.to in (plan.hash, now_in_force) and any(here == state.op for here, _ in move.matched):
            new = await deployments.plan(c, r.to)
            there = carried(plan, new, state, move)
            if not there.anew and there.state.visit != state.visit and await _may_have_arrived(c, r.id, plan, state):
                there = behind(new, there)
            going.append((r, new, there, r.seq))
        else:  # to a plan that a later deploy took back; or a later move, which doesn't know the step that an earlier one let it
            # go at: it goes on until it comes to one
            same = replace(state, left=False, held=tuple(g for g in state.held if g.kind != "move"))
            going.append((r, plan, Carried(same, anew=False, dropped=False), state.seq))
    await moves.go_on(c, cohort, [_row(r, new, there, over) for r, new, there, over in going])
    await _rematch(c, plan, going)
    dropped = [r.id for r, _, there, _ in going if there.dropped]
    await ledger.drop(c, dropped, MOVED, "its enrollment went on at another step")
    await planned.forget(c, dropped)
    at = await now(c)
    # A pending input is what the relay brings them to a cohort for; a `replan` of nothing changes nothing there.
    nudges = [{"enrollment_id": r.id, "kind": "retry" if there.anew else "replan", "at": at} for r, _, there, _ in going]
    await enrollments.append_inputs(c, nudges)


async def _may_have_arrived(c: Connection, enrollment: int, plan: Plan, state: State) -> bool:
    """Whether the message that `state` stands at was handed over, by whatever is known of it."""
    op = plan.ops[state.op]
    if not isinstance(op, Send):
        return False
    name = key(enrollment, plan, Command("deliver", state.op, state.visit, state.attempt, later(state, None)))
    row = (await ledger.by_key(c, [name])).get(name)
    return row is not None and (row.status in ("handed_over", "sent", "unknown") or row.reason == UNKNOWN)


def _row(r: Any, new: Plan, there: Carried, over: int) -> dict[str, Any]:
    state = there.state
    return {
        "id": r.id,
        "plan": new.hash,
        "step": new.step_at(state.op),
        "state": encode_state(state),
        "wake_at": state.wake,
        "status": "parked" if state.status == "parked" and not there.anew else "live",
        "over": over,
    }


async def _rematch(c: Connection, old: Plan, going: Sequence[tuple[Any, Plan, Carried, int]]) -> None:
    """Let what came before count for the same waits of the new plan."""
    to = {r.id: (new, r.matched) for r, new, _, _ in going if new.hash != old.hash}
    if not to:
        return
    changed = []
    for i in await moves.matching(c, sorted(to)):
        new, pairs = to[i.enrollment_id]
        matched = [list(pair) for pair in matched_on(old, new, pairs, i.kind, i.matched)]
        if matched != i.matched:
            changed.append({"enrollment_id": i.enrollment_id, "seq": i.seq, "matched": matched})
    await moves.rematch(c, changed)
