"""Which way out of an operation the record speaks for: messages, tasks and events of its own name the step that they come from.

Pure. A way is where an operation may lead; a trace is a key that something left behind, `enrollment/step/visit/attempt`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from engine.core.plan import Branch, Exit, Jump, Loop, NextChannel, Plan, Send, Split, Wait, WaitFor


def ways(plan: Plan, op: int) -> tuple[int, ...]:
    """Where the operation may lead, each place once, in the order of the plan's text. An exit of its own is `len(plan.ops)`."""
    found: list[int] = []
    match plan.ops[op]:
        case Branch(arms=arms, otherwise=otherwise, skip_to=skip):
            found = [*(a.target for a in arms), otherwise, skip]
        case Split(arms=split_arms, skip_to=skip):
            found = [*(a.target for a in split_arms), skip]
        case WaitFor(alternatives=alternatives, on_timeout=timeout, skip_to=skip):
            found = [*(a.target for a in alternatives), timeout, skip]
        case Wait(skip_to=skip):
            found = [op + 1, skip]
        case Loop(done=done):
            found = [op + 1, done]
        case Exit():
            found = [op + 1, len(plan.ops)]
        case Jump(target=target):
            found = [target]
        case NextChannel(send=send):
            found = [send, op + 1]
        case _:
            found = [op + 1]
    return tuple(dict.fromkeys(w for w in found if w >= 0))


def ahead(plan: Plan, start: int) -> frozenset[int]:
    """Every operation that may come from `start` on without going back: within one round of every repeat."""
    seen: set[int] = set()
    waiting = [start]
    while waiting:
        op = waiting.pop()
        if op in seen or op >= len(plan.ops):
            continue
        seen.add(op)
        waiting += [w for w in ways(plan, op) if w > op]
    return frozenset(seen)


def straight(plan: Plan, start: int) -> int:
    """The first operation from `start` on that isn't a jump."""
    hops = 0
    while start < len(plan.ops) and hops <= len(plan.ops):
        op = plan.ops[start]
        if not isinstance(op, Jump):
            break
        start, hops = op.target, hops + 1
    return start


def spoken_for(
    plan: Plan,
    op: int,
    visit: int,
    enrollment: int,
    traces: Mapping[str, datetime],
    choices: Sequence[int],
    since: datetime,
    whole: bool = True,
) -> int | None:
    """The one of `choices` (of `ways`) that the record speaks for, at this visit from `since` on; None where it is silent about
    it, or speaks for several.

    Speaks for: a step that lies on this way alone left a trace. Against, where the record is `whole`: a way begins with a send,
    which would have left one."""
    reach = {w: ahead(plan, w) for w in choices}
    for_it = []
    for way in choices:
        others: frozenset[int] = frozenset().union(*(reach[w] for w in choices if w != way))
        if any(_left(plan, at, visit, enrollment, traces, since) for at in reach[way] - others):
            for_it.append(way)
    if len(for_it) == 1:
        return for_it[0]
    if for_it or not whole:
        return None
    possible = [
        w for w in choices if not _would_show(plan, w, op) or _left(plan, straight(plan, w), visit, enrollment, traces, since)
    ]
    return possible[0] if len(possible) == 1 else None


def _would_show(plan: Plan, way: int, op: int) -> bool:
    """Whether whoever takes this way leaves a trace with its first step."""
    at = straight(plan, way)
    if at >= len(plan.ops) or at <= op:
        return False
    first = plan.ops[at]
    return isinstance(first, Send) and first.condition is None


def _left(plan: Plan, op: int, visit: int, enrollment: int, traces: Mapping[str, datetime], since: datetime) -> bool:
    return any(key in traces and traces[key] >= since for key in _keys(plan, op, visit, enrollment))


def _keys(plan: Plan, op: int, visit: int, enrollment: int) -> Iterable[str]:
    step = plan.step_at(op)
    if step is not None:
        one = plan.ops[op]
        for attempt in range(len(one.channels) if isinstance(one, Send) else 1):
            yield f"{enrollment}/{step}/{visit}/{attempt}"
