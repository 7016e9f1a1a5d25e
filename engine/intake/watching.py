"""Which plans look at which events: an index made once per plan, so that an event touches nothing that doesn't concern it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from engine.authoring.model_tracking import by_people
from engine.core.plan import Plan, Wait, WaitFor


@dataclass(frozen=True, slots=True)
class Watch:
    """One thing of a plan that an event can satisfy. `where`: source of the condition on the event, `correlate`: the event must
    carry the entry's value of the plan's key. For waits, (`op`, `alternative`); for exits and goals, `reason`. `message`: the
    step whose message the event must be about."""

    kind: Literal["exit", "goal", "wait"]
    where: str | None = None
    correlate: bool = False
    op: int = 0
    alternative: int = 0
    reason: str = ""
    segment: str | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True)
class Watches:
    """`by_event`: event name → watches, exits first. `always`: those on conditions and segments, looked at with every event of
    the customer. `follows`: customer attribute → the waits that follow it."""

    by_event: Mapping[str, tuple[Watch, ...]]
    always: tuple[Watch, ...]
    follows: Mapping[str, tuple[int, ...]]


_made: dict[str, Watches] = {}


def watches(plan: Plan) -> Watches:
    """The index of `plan`, made once per content hash."""
    found = _made.get(plan.hash)
    if found is None:
        found = _made[plan.hash] = _make(plan)
    return found


def _make(plan: Plan) -> Watches:
    by_event: dict[str, list[Watch]] = defaultdict(list)
    always: list[Watch] = []
    for rule in plan.exits:
        if rule.event:
            by_event[rule.event].append(Watch("exit", by_people(rule.event, rule.where), rule.correlate, reason=rule.reason))
        else:
            always.append(Watch("exit", rule.condition, reason=rule.reason))
    if plan.goal:
        goal = plan.goal
        by_event[goal.event].append(Watch("goal", by_people(goal.event, goal.where), goal.correlate, reason="goal"))
    follows: dict[str, list[int]] = defaultdict(list)
    for number, op in enumerate(plan.ops):
        if isinstance(op, Wait):
            for name in op.follows:
                follows[name].append(number)
        if isinstance(op, WaitFor):
            for i, a in enumerate(op.alternatives):
                if a.event:
                    where = by_people(a.event, a.where)
                    by_event[a.event].append(Watch("wait", where, a.correlate, number, i, message=a.message))
                else:
                    always.append(Watch("wait", a.condition, False, number, i, segment=a.segment))
    return Watches(
        {name: tuple(found) for name, found in by_event.items()},
        tuple(always),
        {name: tuple(found) for name, found in follows.items()},
    )
