"""The hand-over of whoever a cohort has let go, to another plan or another step: one transaction, under the customers' locks.

Migrations and resets come here, both as a `move` among an enrollment's inputs. Told a second time, after a crash, it finds nobody
left in that cohort and changes nothing. `core.moving` says what becomes of a state.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from engine.core.compact import encode_state
from engine.core.enrollment import Command, Input, State
from engine.core.interpreter import key
from engine.core.moving import Carried, Pairs, as_before, behind, carried, in_turn, matched_on, to_come
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
    """One that goes on: `left`: the state in which it was let go · `plan`: with which it goes on · `there`: where · `over`: the
    highest input by which its moves are done · `crossed`: the pairs by which it came from the plan before, none where it stays on
    it · `followed`: whether it went by that move, and not on as before · `first`: the reset that it went by before that, in one
    with it · `passed`: it went on behind the send that it stood at."""

    id: int
    left: State
    plan: Plan
    there: Carried
    over: int
    crossed: Pairs = ()
    followed: bool = True
    first: int | None = None
    passed: bool = False


async def hand_over(c: Connection, deployments: Deployments, plan: Plan, cohort: int, left: Mapping[int, State]) -> None:
    """Have those go on that `cohort` has `left` behind, each as the moves say that it was told (`in_turn`). The caller holds the
    locks of their customers and their own, and looks at the customers' queues afterwards."""
    told: dict[int, list[Input]] = defaultdict(list)
    for r in await moves.let_go(c, cohort, plan.hash, sorted(left)):
        told[r.id].append(Input(r.seq, r.at, "move", tuple((here, there) for here, there in r.matched), r.to))
    if not told:
        return
    in_force = (await deployments.current(c)).plans.get(plan.journey, plan).hash
    plans = {h: await deployments.plan(c, h) for h in {plan.hash, in_force}}
    arrived = await _may_have_arrived(c, plan, {id_: left[id_] for id_ in told})
    going = [_goes_on(plans, plan, id_, left[id_], asked, arrived=id_ in arrived) for id_, asked in told.items()]
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


def _goes_on(
    plans: Mapping[str, Plan], plan: Plan, enrollment: int, state: State, asked: Sequence[Input], *, arrived: bool
) -> Going:
    """Where an enrollment on `plan` goes on. A reset and a move that was asked while it was under way are both made here, where
    the step that the reset leads to lets it change over; else the move waits until it comes to one that does. `plans`: the one
    that it is on, and the one in force · `arrived`: whether the message that it stands at may have gone."""
    going = None
    for move in in_turn(plan, asked):
        here = state if going is None else going.there.state
        if move.reason not in plans or all(at != here.op for at, _ in move.matched):
            break
        new = plans[move.reason]
        there = carried(plan, new, here, move)
        passed = arrived and not there.anew and there.state.visit != here.visit
        there = behind(new, there) if passed else there
        crossed, first = move.matched if new.hash != plan.hash else (), None if going is None else going.over
        going = Going(enrollment, state, new, there, move.seq, crossed, first=first, passed=passed)
    if going is not None:
        return going
    # To a plan that a later deploy took back; or a later move, which doesn't know the step that an earlier one let it go at: it
    # goes on until it comes to one.
    there = Carried(as_before(state), anew=to_come(state), dropped=False)
    return Going(enrollment, state, plan, there, state.seq, followed=False)


async def _may_have_arrived(c: Connection, plan: Plan, left: Mapping[int, State]) -> set[int]:
    """Those of `left` whose message that they stand at was handed over, by whatever is known of it."""
    names = {
        key(enrollment, plan, Command("deliver", s.op, s.visit, s.attempt, later(s, None))): enrollment
        for enrollment, s in left.items()
        if s.op < len(plan.ops) and isinstance(plan.ops[s.op], Send)
    }
    found = await ledger.by_key(c, list(names)) if names else {}
    return {names[k] for k, r in found.items() if r.status in ("handed_over", "sent", "unknown") or r.reason == UNKNOWN}


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
        "first": one.first,
        "done_to": one.over,
        "behind": one.passed,
        "left": encode_state(one.left),
    }


async def _rematch(c: Connection, old: Plan, going: Sequence[Going]) -> None:
    """Let what came before count for the same waits of the new plan."""
    to = {one.id: (one.plan, one.crossed) for one in going if one.plan.hash != old.hash}
    if not to:
        return
    changed = []
    for i in await moves.matching(c, sorted(to)):
        new, pairs = to[i.enrollment_id]
        matched = [list(pair) for pair in matched_on(old, new, pairs, i.kind, i.matched)]
        if matched != i.matched:
            changed.append({"enrollment_id": i.enrollment_id, "seq": i.seq, "matched": matched})
    await moves.rematch(c, changed)
