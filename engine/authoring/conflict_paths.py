"""Steps that nobody gets to: behind a condition that is always the same (SJ430), behind steps that all leave (SJ415), or in an
alternative of a wait that an earlier one always takes (SJ431). All are warnings: nobody is written to wrongly.
"""

from __future__ import annotations

from collections.abc import Iterator

from engine.authoring.conditions import verdict
from engine.authoring.passages import Placed
from engine.authoring.spots import Spot
from engine.core.plan import Alternative, Branch, Exit, Jump, Loop, NextChannel, Op, Plan, Split, Wait, WaitFor


def report(journey: Placed) -> None:
    """Reports where nobody gets to, each time at its cause."""
    conditions(journey)
    alternatives(journey)
    plan, before = journey.plan, True
    open_to = reached(plan, judged=False)
    for at, op in enumerate(plan.ops):
        if isinstance(op, (Jump, NextChannel)) or journey.step(at) not in journey.spots:
            continue
        if before and at not in open_to:
            message = "nobody gets here: every way that leads to this step leaves the journey before it"
            journey.spot(at).report("SJ415", message, "remove the step, or one of the exits before it", level="warning")
        before = at in open_to


def conditions(journey: Placed) -> None:
    """Reports conditions that never hold, and those that always do and so leave nothing to what stands below them."""
    for at, op in enumerate(journey.plan.ops):
        if isinstance(op, (Jump, NextChannel)) or journey.step(at) not in journey.spots:
            continue
        spot = journey.spot(at)
        if op.condition is not None and (held := verdict(op.condition)) is not None:
            if not held:
                _say(spot / "if", "this never holds: the step is always skipped")
            elif isinstance(op, Exit):
                _say(spot / "if", "this always holds: everybody leaves here")
        if not isinstance(op, Branch):
            continue
        for i, arm in enumerate(op.arms):
            place, held = spot / "branch" / i / "if", verdict(arm.condition)
            if held is False:
                _say(place, "this never holds: the arm is never taken")
            elif arm.condition in [a.condition for a in op.arms[:i]]:
                _say(place, "an arm above has the same condition: this one is never taken")
            elif held and (i + 1 < len(op.arms) or op.otherwise not in (op.skip_to, arm.target)):
                _say(place, "this always holds: no arm below is ever taken")


def _say(spot: Spot, message: str) -> None:
    spot.report("SJ430", message, "mend the condition, or remove what hangs on it", level="warning")


def alternatives(journey: Placed) -> None:
    """Reports alternatives of a wait that are never taken."""
    for at, op in enumerate(journey.plan.ops):
        if not isinstance(op, WaitFor) or journey.step(at) not in journey.spots:
            continue
        for i, one in enumerate(op.alternatives):
            place = journey.spot(at) / "wait_for" / i
            if verdict(one.where) is False or verdict(one.condition) is False:
                _say(
                    place / ("where" if one.where is not None else "if"), "this never holds: nothing ever ends the wait this way"
                )
            elif any(takes(first, one) for first in op.alternatives[:i]):
                message = "one above takes all that would come here: this one is never taken"
                hint = "put the narrower one first, or narrow the one above"
                place.report("SJ431", message, hint, level="warning")


def takes(first: Alternative, other: Alternative) -> bool:
    """Whether whatever would take `other` takes `first`, which stands above it."""
    if (first.event, first.segment, first.condition) != (other.event, other.segment, other.condition):
        return False
    wider = verdict(first.where) is True or first.where == other.where
    return wider and (other.correlate or not first.correlate)


def reached(plan: Plan, *, judged: bool = True) -> set[int]:
    """The operations that somebody may get to. `judged`: conditions that are always the same are taken at their word."""
    found: set[int] = set()
    todo = [0]
    while todo:
        at = todo.pop()
        if at not in found and at < len(plan.ops):
            found.add(at)
            todo += leads(plan, at, plan.ops[at], judged=judged)
    return found


def skipped(op: Op, at: int) -> int:
    """Where operation `op` at `at` leads when its `if` is false."""
    if isinstance(op, Loop):
        return op.done
    jumps = isinstance(op, (Wait, WaitFor, Branch, Split)) and op.skip_to >= 0
    return op.skip_to if jumps else at + 1  # type: ignore[union-attr]  # it is one of those that have it


def leads(plan: Plan, at: int, op: Op, *, judged: bool) -> Iterator[int]:
    """Where operation `op` at `at` may lead."""

    def may(condition: str | None) -> bool:
        return not judged or verdict(condition) is not False

    if isinstance(op, Jump):
        yield op.target
        head = plan.ops[op.target] if op.target < len(plan.ops) else None
        if isinstance(head, Loop) and op.target <= at:
            yield head.done  # after the last round
        return
    if isinstance(op, NextChannel):
        yield from (op.send, at + 1)
        return
    if op.condition is not None and (not judged or verdict(op.condition) is not True):
        yield skipped(op, at)
    if not may(op.condition):
        return
    match op:
        case Exit():
            pass
        case Wait():
            yield at + 1
            if op.on_past == "skip" and op.skip_to >= 0:
                yield op.skip_to
        case WaitFor():
            yield op.on_timeout
            for i, one in enumerate(op.alternatives):
                passed = judged and any(takes(first, one) for first in op.alternatives[:i])
                if may(one.where) and may(one.condition) and not passed:
                    yield one.target
        case Branch():
            closed = False
            for i, arm in enumerate(op.arms):
                again = judged and arm.condition in [a.condition for a in op.arms[:i]]
                if may(arm.condition) and not closed and not again:
                    yield arm.target
                closed = closed or (judged and verdict(arm.condition) is True)
            if not closed:
                yield op.otherwise
        case Split():
            yield from (arm.target for arm in op.arms)
            if op.holdout:
                yield op.skip_to
        case Loop():
            yield at + 1
            if op.until is not None:
                yield op.done
        case _:
            yield at + 1
