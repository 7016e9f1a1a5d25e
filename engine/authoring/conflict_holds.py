"""Holds that stop those who opened them: a journey's own messages (SJ435), and two journeys that pause each other (SJ436).

A hold of `while_in` ends with the enrollment, which can't end before its message is sent or dropped. Holds by events aren't
judged: which events come is nothing that the files say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from heapq import heappop, heappush

from engine.authoring.conditions import verdict
from engine.authoring.conflict_paths import leads
from engine.authoring.passages import MONDAY, Placed, at_least, begun, latest, longest, tier_of
from engine.authoring.spots import Spot
from engine.core.clock import format_duration
from engine.core.plan import Moment, Plan, Send, Wait, WaitFor
from engine.core.policy import HoldRule, Policy


def report(journeys: Mapping[str, Placed], policy: Policy, top: Spot) -> None:
    """Reports what holds of `while_in` make impossible, or slow."""
    for rule in policy.holds:
        if journey := journeys.get(rule.while_in or ""):
            own(journey, policy, rule)
    mutual(journeys, policy, top)


def own(journey: Placed, policy: Policy, rule: HoldRule) -> None:
    """Reports the messages of a journey that its own hold pauses. An error where all of one step expire while it lasts."""
    plan, lasts = journey.plan, at_least(rule.at_most)
    soonest, sure = quickest(plan), sure_to_fail(plan, policy, rule)
    for op, send in paused(plan, policy, rule):
        if soonest.get(op, lasts) >= lasts:
            continue
        always = op in sure
        message = f"the hold while in {plan.journey!r} pauses its own tier {send.tier!r}: this message "
        if send.on_defer != "wait":
            message += f"is {'always ' if always else ''}left out"
        elif always:
            message += "always expires while it waits for the end of its own journey"
        else:
            message += f"waits for the end of its own journey until it expires, or until {format_duration(rule.at_most)} are over"
        hint = f"take {send.tier!r} out of the hold's pause:, or give the message a tier that holds don't pause"
        spot = journey.spot(op)
        (spot / ("tier" if spot.document.key_at((*spot.path, "tier")) else "send")).report(
            "SJ435", message, hint, key=True, level="error" if always else "warning"
        )


def sure_to_fail(plan: Plan, policy: Policy, rule: HoldRule) -> set[int]:
    """The operations of sends whose first message is over, at the latest, while the hold of their own journey lasts."""
    lasts, concerned = at_least(rule.at_most), dict(paused(plan, policy, rule))
    certain = {r.op: r for r in reversed(latest(plan, policy, begun(plan, MONDAY)))}
    return {
        op
        for op, one in certain.items()
        if op in concerned and one.send.condition is None and one.until is not None and one.until - MONDAY <= lasts
    }


def paused(plan: Plan, policy: Policy, rule: HoldRule) -> Iterator[tuple[int, Send]]:
    """The sends that `rule` pauses."""
    for op, send in enumerate(plan.ops):
        if not isinstance(send, Send) or verdict(send.condition) is False:
            continue
        if send.tier in rule.pause and "holds" not in tier_of(policy, send).skip:
            yield op, send


def mutual(journeys: Mapping[str, Placed], policy: Policy, top: Spot) -> None:
    """Reports, at the later one, two holds of which each pauses what the other's journey sends."""
    for i, later in enumerate(policy.holds):
        for earlier in policy.holds[:i]:
            one, other = journeys.get(earlier.while_in or ""), journeys.get(later.while_in or "")
            if one is None or other is None or one is other:
                continue
            if _meets(one.plan, policy, later) and _meets(other.plan, policy, earlier):
                names = f"{one.plan.journey!r} and {other.plan.journey!r}"
                message = f"{names} pause each other: in somebody who is in both, each waits until the other has ended"
                hint = "let only the more important of the two hold the other's tier"
                (top / "holds" / i / "pause").report("SJ436", message, hint, level="warning")


def _meets(plan: Plan, policy: Policy, rule: HoldRule) -> bool:
    there = quickest(plan)
    return any(op in there for op, _ in paused(plan, policy, rule))


def quickest(plan: Plan) -> dict[int, timedelta]:
    """The soonest that some get to each operation, counted from the entry; what comes from data isn't passed."""
    found: dict[int, timedelta] = {}
    todo = [(timedelta(), 0)]
    while todo:
        took, at = heappop(todo)
        if at in found or at >= len(plan.ops):
            continue
        found[at] = took
        op = plan.ops[at]
        for target in leads(plan, at, op, judged=True):
            if isinstance(op, Wait) and op.condition is None:
                ends = _ends(op.until)
            elif isinstance(op, WaitFor) and op.condition is None and all(a.target != target for a in op.alternatives):
                ends = _ends(op.timeout)
            else:
                ends = timedelta()
            if ends is not None:
                heappush(todo, (took + ends, target))
    return found


def _ends(until: Moment) -> timedelta | None:
    return None if until.expression is not None else max(longest(until), timedelta())
