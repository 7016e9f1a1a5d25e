"""Journeys that can't fit their own caps (SJ432): proved by counting for every customer, or shown on one for some.

The count: all messages of a stretch would have to be sent within a span that is known, because each comes by time alone and
expires; a cap lets only so many through in the windows that such a span can touch. What a cap speaks about is asked of its gate.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from engine.authoring.entry_hours import entered
from engine.authoring.hours_of_week import EVERY
from engine.authoring.passages import (
    MONDAY,
    SLACK,
    Fate,
    Placed,
    Reached,
    at_most,
    begun,
    decided,
    latest,
    lone,
    past,
    tier_of,
)
from engine.authoring.spots import Spot
from engine.core.caps import cap as gate
from engine.core.case import open_case
from engine.core.clock import format_duration, local, parse_time, resolve_local, weekdays, zone
from engine.core.enrollment import Command
from engine.core.facts import Facts, Message
from engine.core.plan import Plan, Send, Wait
from engine.core.policy import Cap, Policy

_WEEK = 7 * 24
_LEAST = {"day": timedelta(days=1) - SLACK, "week": timedelta(days=7) - SLACK, "month": timedelta(days=28) - SLACK}
_HINT = "wait longer before it, give it a longer expires:, or raise the limit in policy.yaml"


@dataclass(frozen=True, slots=True)
class Misfit:
    """Of the `count` messages of the sends `ops`, in order, at least one is dropped because of `cap`. `always`: of every customer
    whom these sends are for; else of all those who get the ones before the last."""

    cap: Cap
    ops: tuple[int, ...]
    always: bool


def report(journey: Placed, policy: Policy, others: Set[str]) -> None:
    """Reports each send that can't fit, or doesn't for some. `others`: events that come without the customer."""
    policy = replace(policy, caps=understood(policy.caps))
    told: set[int] = set()
    for misfit in sorted(never_fit(journey.plan, policy), key=lambda m: not m.always):
        op = misfit.ops[-1]
        if op in told:
            continue
        told.add(op)
        first = journey.step(misfit.ops[0])
        among = f"of these {len(misfit.ops)} messages, from {first!r} on, one is always dropped"
        if not misfit.always:
            among = f"who gets the {len(misfit.ops) - 1} before it, from {first!r} on, never gets this one"
        message = f"{_words(misfit.cap)}: {among}, because they come too fast and expire before there is room"
        (journey.spot(op) / "send").report("SJ432", message, _HINT, key=True, level="error" if misfit.always else "warning")
    for op, (fate, at) in misses(journey.plan, policy, others).items():
        if op in told or journey.step(op) not in journey.spots:
            continue
        when = local(at, zone(policy.timezone))
        name = next(c for c in policy.caps if c.name == fate.cap)
        message = (
            f"{_words(name)}: who enters on a {when:%A} at {when:%H:%M} never gets this one, which expires before there is room"
        )
        (journey.spot(op) / "send").report("SJ432", message, _HINT, key=True, level="warning")


def report_closed(policy: Policy, journeys: Sequence[Placed], top: Spot) -> None:
    """Reports each cap that lets nothing through at all, once."""
    for i, rule in enumerate(policy.caps):
        if rule.limit > 0 or not understood((rule,)):
            continue
        concerned = [
            f"{journey.step(op)!r} of {journey.plan.journey!r}"
            for journey in journeys
            for op, send in enumerate(journey.plan.ops)
            if isinstance(send, Send) and counts(policy, rule, journey.plan, send)
        ]
        if concerned:
            more = f" and {len(concerned) - 1} more" if len(concerned) > 1 else ""
            message = f"the cap {rule.name!r} lets nothing through: {concerned[0]}{more} can't be sent"
            (top / "caps" / i / "limit").report("SJ432", message, "raise the limit, or remove the sends", level="warning")


def understood(caps: Iterable[Cap]) -> tuple[Cap, ...]:
    """The caps that say no more than what is reasoned about here."""
    return tuple(c for c in caps if c == Cap(c.name, c.limit, c.per, c.rolling, c.tiers, c.channels, c.topics, c.journeys))


def counts(policy: Policy, rule: Cap, plan: Plan, send: Send) -> bool:
    """Whether a message of `send` needs room under `rule` and uses it up, on whichever channel it goes."""
    if send.tier in policy.uncounted or "caps" in tier_of(policy, send).skip:
        return False
    alone = replace(policy, caps=(replace(rule, limit=0),))  # which drops what it speaks about, and nothing else
    messages = (Message(plan.journey, send.step, send.template, c, send.tier, MONDAY, send.topic) for c in send.channels)
    return all(gate(open_case(alone, Facts(), m), MONDAY).answer == "drop" for m in messages)


# For every customer


def never_fit(plan: Plan, policy: Policy) -> list[Misfit]:
    """Stretches of sends of which at least one message is always dropped.

    Each stretch begins with a send, or with a wait for a time of day: then also the calendar's windows are known."""
    found: list[Misfit] = []
    rules = [r for r in understood(policy.caps) if r.limit >= 1]
    for op, start in enumerate(plan.ops):
        if isinstance(start, Send):
            chain = [Reached(op, start, MONDAY, MONDAY), *latest(plan, policy, past(plan, op, MONDAY))]
            found += [m for r in rules if (m := _overflow(plan, policy, r, chain, MONDAY, aligned=False)) and m.ops[0] == op]
        elif isinstance(start, Wait) and start.until.time_of_day is not None:
            found += _from_a_clock(plan, policy, rules, op, start)
    return found


def _from_a_clock(plan: Plan, policy: Policy, rules: list[Cap], op: int, wait: Wait) -> Iterator[Misfit]:
    until = wait.until
    if until.time_of_day is None or until.timezone != "customer" or until.offset is not None or wait.condition is not None:
        return
    at = parse_time(until.time_of_day)
    spread = (at_most(until.jitter) if until.jitter is not None else timedelta()) + SLACK
    starts = [MONDAY + timedelta(days=day, hours=at.hour, minutes=at.minute) for day in sorted(weekdays(until.days))]
    chains = [(start, latest(plan, policy, past(plan, op, start + spread), aligned=True)) for start in starts]
    for rule in rules:
        each = [_overflow(plan, policy, rule, chain, start, aligned=True) for start, chain in chains]
        if all(each):
            yield max((m for m in each if m is not None), key=lambda m: len(m.ops))


def _overflow(plan: Plan, policy: Policy, rule: Cap, chain: list[Reached], start: datetime, *, aligned: bool) -> Misfit | None:
    counted: list[Reached] = []
    for one in chain:
        certain = one.send.condition is None and one.send.on_defer == "wait"
        if one.until is None or not certain or not counts(policy, rule, plan, one.send):
            continue
        counted.append(one)
        if len(counted) > rule.limit * windows(rule, start, one.until, aligned=aligned):
            alike = {(c.send.channels, c.send.topic, c.send.tier) for c in counted}
            return Misfit(rule, tuple(c.op for c in counted), always=len(alike) == 1)
    return None


def windows(rule: Cap, start: datetime, until: datetime, *, aligned: bool) -> int:
    """How many windows of `rule` moments from `start` to `until` can touch at most, such that none is in two of them."""
    if rule.rolling is not None:
        length = timedelta(days=28 * rule.rolling.months + rule.rolling.days, seconds=rule.rolling.seconds)
        return (until - start) // max(length, timedelta(seconds=1)) + 1
    touched = (until - start) // _LEAST[rule.per] + 2
    if aligned and rule.per in ("day", "week"):
        days = (until.date() - start.date()).days
        exact = days if rule.per == "day" else (start.weekday() + days) // 7
        return min(touched, exact + 1)
    return touched


# For some


def misses(plan: Plan, policy: Policy, others: Set[str]) -> dict[int, tuple[Fate, datetime]]:
    """Sends that somebody who is alone loses to the caps, each with what became of it and the moment of entry: looked for at
    every hour, of one day or (where days of the week matter) of a week; or where only the calendar lets people in, at its
    times."""
    first = lone(plan, policy, begun(plan, MONDAY), policy.timezone, others)
    sends = [send for fate in first if isinstance(send := plan.ops[fate.op], Send)]
    tight = [r for r in policy.caps if sum(counts(policy, r, plan, send) for send in sends) > r.limit > 0]
    if not tight:
        return {}
    found: dict[int, tuple[Fate, datetime]] = {}
    where = zone(policy.timezone)
    for minutes in _entries(plan, policy):
        at = resolve_local(MONDAY.replace(tzinfo=None) + timedelta(minutes=minutes), where)
        for fate in lone(plan, policy, begun(plan, at), policy.timezone, others):
            if fate.op not in found and fate.cap and _lost_to_caps(plan, policy, fate):
                found[fate.op] = (fate, at)
    return found


def _entries(plan: Plan, policy: Policy) -> Sequence[int]:
    """The minutes of the week at which entering is tried: at most as many as a week has hours."""
    known = entered(plan, policy)
    if known == EVERY or not all(e.kind in ("schedule", "date") for e in plan.entries):
        return range(0, (_WEEK if _weekly(plan, policy) else 24) * 60, 60)
    there = [m for m in range(_WEEK * 60) if known >> m & 1]
    return there[:: 1 + len(there) // _WEEK]


def _weekly(plan: Plan, policy: Policy) -> bool:
    waits = any(isinstance(op, Wait) and op.until.days for op in plan.ops)
    hours = any(isinstance(op, Send) and op.window and op.window.days for op in plan.ops)
    return waits or hours or any(q.days for q in policy.quiet_hours) or any(c.per == "week" for c in policy.caps)


def _lost_to_caps(plan: Plan, policy: Policy, fate: Fate) -> bool:
    send = plan.ops[fate.op]
    if fate.sent is not None or fate.verdict is None or not isinstance(send, Send):
        return False
    command = Command("deliver", fate.op, 0, 0, fate.message.planned_at, channel=send.channels[0])
    return decided(plan, replace(policy, caps=()), send, command, policy.timezone, ()).sent is not None


def _words(rule: Cap) -> str:
    span = f"in any {format_duration(rule.rolling)}" if rule.rolling is not None else f"a {rule.per}"
    return f"the cap {rule.name!r} lets {rule.limit} through {span}"
