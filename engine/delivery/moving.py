"""The hand-over of whoever a cohort has let go, to another plan or another step: one transaction, under the customers' locks.

Migrations and resets come here, both as a `move` among an enrollment's inputs. Told a second time, after a crash, it finds nobody
left in that cohort and changes nothing. `core.moving` says what becomes of a state.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from engine.core.compact import encode_state
from engine.core.enrollment import Command, Input, State
from engine.core.interpreter import key
from engine.core.moving import Carried, as_before, behind, carried, matched_on
from engine.core.plan import Plan, Send
from engine.core.walk import later
from engine.delivery.deployments import Deployments
from engine.store import enrollments, ledger, moves, planned
from engine.store.database import Connection, now
from engine.store.ledger import UNKNOWN

MOVED = "moved"
"""The reason with which a message is dropped whose step its enrollment has left."""


@dataclass(frozen=True, slots=True)
class Going:
    """One that goes on: `plan`: with which · `there`: where · `over`: the highest input by which its moves are done · `followed`:
    whether the newest of them was, and it doesn't go on as before · `passed`: it went on behind the send that it stood at."""

    id: int
    left: State
    plan: Plan
    pairs: Sequence[tuple[int, int]]
    there: Carried
    over: int
    followed: bool
    passed: bool = False


async def hand_over(c: Connection, deployments: Deployments, plan: Plan, cohort: int, left: Mapping[int, State]) -> None:
    """Have those go on that `cohort` has `left` behind, each as the newest move that it was told says. The caller holds the locks
    of their customers and their own, and looks at the customers' queues afterwards."""
    told = await moves.let_go(c, cohort, plan.hash, sorted(left))
    if not told:
        return
    now_in_force = (await deployments.current(c)).plans.get(plan.journey, plan).hash
    going: list[Going] = []
    for r in told:
        move = Input(r.seq, r.at, "move", tuple((here, there) for here, there in r.matched), r.to)
        state = left[r.id]
        if r.to in (plan.hash, now_in_force) and any(here == state.op for here, _ in move.matched):
            new = await deployments.plan(c, r.to)
            there = carried(plan, new, state, move)
            passed = not there.anew and there.state.visit != state.visit and await _may_have_arrived(c, r.id, plan, state)
            there = behind(new, there) if passed else there
            going.append(Going(r.id, state, new, move.matched, there, r.seq, followed=True, passed=passed))
        else:  # to a plan that a later deploy took back; or a later move, which doesn't know the step that an earlier one let it
            # go at: it goes on until it comes to one
            there = Carried(as_before(state), anew=False, dropped=False)
            going.append(Going(r.id, state, plan, (), there, state.seq, followed=False))
    await moves.go_on(c, cohort, [_row(one) for one in going])
    await _rematch(c, plan, going)
    dropped = [one.id for one in going if one.there.dropped]
    await ledger.drop(c, dropped, MOVED, "its enrollment went on at another step")
    await planned.forget(c, dropped)
    at = await now(c)
    # A pending input is what the relay brings them to a cohort for; a `replan` of nothing changes nothing there.
    nudges = [{"enrollment_id": one.id, "kind": "retry" if one.there.anew else "replan", "at": at} for one in going]
    await enrollments.append_inputs(c, nudges)
    await moves.note(c, plan.hash, [_noted(one, at) for one in going])


async def _may_have_arrived(c: Connection, enrollment: int, plan: Plan, state: State) -> bool:
    """Whether the message that `state` stands at was handed over, by whatever is known of it."""
    op = plan.ops[state.op]
    if not isinstance(op, Send):
        return False
    name = key(enrollment, plan, Command("deliver", state.op, state.visit, state.attempt, later(state, None)))
    row = (await ledger.by_key(c, [name])).get(name)
    return row is not None and (row.status in ("handed_over", "sent", "unknown") or row.reason == UNKNOWN)


def _row(one: Going) -> dict[str, Any]:
    state = one.there.state
    return {
        "id": one.id,
        "plan": one.plan.hash,
        "step": one.plan.step_at(state.op),
        "state": encode_state(state),
        "wake_at": state.wake,
        "status": "parked" if state.status == "parked" and not one.there.anew else "live",
        "over": one.over,
    }


def _noted(one: Going, at: datetime) -> dict[str, Any]:
    return {
        "id": one.id,
        "plan": one.plan.hash,
        "at": at,
        "asked": next(given.seq for given in one.left.held if given.kind == "move"),
        "followed": one.followed,
        "done_to": one.over,
        "behind": one.passed,
        "left": encode_state(one.left),
    }


async def _rematch(c: Connection, old: Plan, going: Sequence[Going]) -> None:
    """Let what came before count for the same waits of the new plan."""
    to = {one.id: (one.plan, one.pairs) for one in going if one.plan.hash != old.hash}
    if not to:
        return
    changed = []
    for i in await moves.matching(c, sorted(to)):
        new, pairs = to[i.enrollment_id]
        matched = [list(pair) for pair in matched_on(old, new, pairs, i.kind, i.matched)]
        if matched != i.matched:
            changed.append({"enrollment_id": i.enrollment_id, "seq": i.seq, "matched": matched})
    await moves.rematch(c, changed)
