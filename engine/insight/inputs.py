"""What reached one enrollment, in words, from rows of `history.inputs`. Pure; moves to another plan or step are told here too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from engine.core.limits import DISPLACED
from engine.core.moving import to_step
from engine.core.plan import Plan
from engine.core.telling import tell_moment
from engine.insight.story import Moment
from engine.store.relay import DONE

INNER = {
    "$enroll": "the API",
    "$identify": "a new attribute",
    "$set": "a changed attribute",
    "$schedule": "a schedule",
    "$date": "a date",
    "$segment": "being in a segment at the deploy",
    "$time": "the passing of time",
    "$alias": "another name",
    "$merged": "a merge",
    "$unmerged": "the end of a merge",
}
"""What events are called that have no name of their own."""


def begun(inputs: Sequence[Any]) -> dict[int, list[Any]]:
    """Those of an enrollment's inputs (in order) that nobody gave: they only bring it to the cohort in which it begins after a
    move. Their numbers, with the moves that were done before each (in order); `engine.delivery.moving` makes them."""
    found = {}
    done: list[Any] = []
    for i in inputs:
        if i.kind == "move" and i.note == DONE:
            done.append(i)
        elif done and i.kind in ("retry", "replan") and not i.matched and (i.note or i.relayed_at is None):
            found[i.seq], done = done, []
    return found


def inputs_told(
    inputs: Sequence[Any], plan: Plan, plans: Mapping[str, Plan], deployed: Mapping[str, datetime], zone: ZoneInfo
) -> Iterator[Moment]:
    """One enrollment's inputs (in order), which is on `plan` now. `plans`: those that moves lead to, by hash · `deployed`:
    when each of these was first deployed."""
    nudges = begun(inputs)
    newest = max((moves[-1].seq for moves in nudges.values()), default=0)
    for i in inputs:
        if i.kind == "move":
            where = _where(i, plans[i.reason])
            since = f" (first deployed on {tell_moment(deployed[i.reason], zone)})" if i.reason in deployed else ""
            yield Moment(i.at, "move", f"Asked to go on {where}{since if where.startswith('with') else ''}.")
        elif i.seq in nudges:
            *before, move = nudges[i.seq]
            where = _where(move, plans[move.reason])
            # A reset begins its step anew; one that a later deploy took back stays on its plan.
            if (move.seq < newest or move.reason == plan.hash) if where.startswith("with") else i.kind == "retry":
                resets = [at for at in (_where(one, plans[one.reason]) for one in before) if at.startswith("at")]
                first = f"{resets[-1]}, and from there " if resets and where.startswith("with") else ""
                yield Moment(i.at, "moved", f"Went on {first}{where}.")
        elif i.kind != "replan" or i.matched:
            yield _input(i, plan)


def _where(move: Any, plan: Plan) -> str:
    """Where a `move` leads: a step of the plan that it was on already, or the same step of another `plan`."""
    pairs = tuple((here, there) for here, there in move.matched)
    if pairs and pairs == to_step(plan, pairs[0][1]):
        return f"at {plan.step_at(pairs[0][1])}"
    return f"with plan {plan.hash}"


def _input(i: Any, plan: Plan) -> Moment:
    steps = " and ".join(dict.fromkeys(plan.step_at(op) or f"#{op}" for op, _ in i.matched))
    what = i.name or "an event"
    if i.kind == "begin":
        text, kind = f"Entered by {_event(i)}.", "entered"
    elif i.kind == "exit":
        by = {"goal": f"Left: {what} reached the goal.", "restarted": f"Left: {what} began it anew."}
        by["erased"] = "Left: the customer was erased."
        by["merged"] = "Left: two customers became one, who was in this journey earlier already."
        if i.reason.startswith(DISPLACED):
            by[i.reason] = f"Left: {i.reason.removeprefix(DISPLACED)} began, which stands above it in a limit."
        text, kind = by.get(i.reason, f"Left: {_event(i)} came."), "exit"
    else:
        kind = i.kind
        text = {
            "event": f"{_event(i)} came, for which {steps or 'a step'} waits.",
            "stop": "Stopped by an operator.",
            "again": "Something that stood in the way is gone: what waits is decided again.",
            "replan": f"An attribute changed: {steps or 'a wait'} is worked out again.",
            "retry": "Retried by an operator, after it was parked.",
            "skip": f"An operator skipped {i.reason}.",
        }.get(i.kind, i.kind)
    if i.note:
        text += f" ({i.note})"
    return Moment(i.at, kind, text)


def _event(i: Any) -> str:
    """The event's name with a few of its plain properties, as a reminder which one it was."""
    name = INNER.get(i.name or "", i.name) or "an event"
    plain = [f"{k} {v}" for k, v in (i.properties or {}).items() if isinstance(v, (str, int, float)) and len(str(v)) <= 24]
    return f"{name} ({', '.join(plain[:3])})" if plain and not (i.name or "").startswith("$") else name
