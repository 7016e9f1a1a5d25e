"""Gate 10: every cap has room, also for what higher tiers have coming. Rules: `semantics.md`, "Caps".

Counting is exact: a cap's `limit` holds for every window of its length, not only for the one that ends now. Reserving is the
store's business.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Literal

from engine.core import clock
from engine.core.allowances import Allowance, allowance
from engine.core.case import Case
from engine.core.clock import Duration
from engine.core.facts import GateAnswer, Message, PlannedFact, SlotFact
from engine.core.hours import goes_at
from engine.core.policy import Cap
from engine.core.telling import tell_day, tell_moment

_SKIPPED = GateAnswer("cap", "skip", detail="No cap applies to this tier: it passes them all.")
_RESERVED = GateAnswer("cap", "pass", rule="reserved", detail="The message holds its slot already.")
_NONE = GateAnswer("cap", "pass", detail="No cap applies to this message.")
_MICROSECOND = timedelta(microseconds=1)
_UTC = clock.zone("UTC")


def cap(case: Case, now: datetime) -> GateAnswer:
    """Gate 10. Defers to the latest moment at which a full cap has room, uncertain: a slot may be released before.

    What the calendar set free waits, certainly, for its planned time of day. A limit of nothing drops."""
    if "caps" in case.tier.skip:
        return _SKIPPED
    if case.message.reserved:
        return _RESERVED
    told: list[str] = []
    found: GateAnswer | None = None
    known = case.facts.caps
    for i, rule in enumerate(case.policy.caps):
        if not counts(rule, case.message):
            continue
        allowed = allowance(rule, known[i] if i < len(known) else None)
        if allowed is None:
            told.append(f"{rule.name}: only for {' and '.join(rule.segments)}")
            continue
        if allowed.limit < 1:
            detail = f"{rule.name}: its limit of {allowed.limit} leaves no room at all{_whose(allowed)}."
            return GateAnswer("cap", "drop", rule.name, detail)
        answer = (_rolling if rule.per == "rolling" else _calendar)(case, rule, allowed, now)
        if isinstance(answer, str):
            told.append(answer)
        elif found is None or (
            answer.until and found.until and (answer.until, not answer.certain) > (found.until, not found.certain)
        ):
            found = answer
    return found or (GateAnswer("cap", "pass", detail=f"{'; '.join(told)}.") if told else _NONE)


def counts(rule: Cap, fact: Message | SlotFact | PlannedFact) -> bool:
    """Whether the filters of `rule` let the message in. Whether its tier uses caps up is `Policy.uncounted`'s business."""
    return (
        (not rule.tiers or fact.tier in rule.tiers)
        and (not rule.channels or fact.channel in rule.channels)
        and (not rule.topics or fact.topic in rule.topics)
        and (not rule.journeys or fact.journey in rule.journeys)
        and (not rule.tags or any(tag in rule.tags for tag in fact.tags))
    )


def _used(case: Case, rule: Cap) -> tuple[list[datetime], list[datetime]]:
    # When the slots that `rule` counts were taken, and when those are that what goes before this message will take.
    uncounted = case.policy.uncounted
    taken = [s.at for s in case.facts.slots if s.tier not in uncounted and counts(rule, s)]
    return taken, [at for p, at in case.ahead if p.tier not in uncounted and counts(rule, p)]


def _rolling(case: Case, rule: Cap, allowed: Allowance, now: datetime) -> GateAnswer | str:
    length = rule.rolling or clock.Duration()
    taken, aside = _used(case, rule)
    ats = sorted(taken + aside)
    ends = [_leaves(at, length) for at in ats]
    counted = _peak(ats, ends, now, length)
    words = f"{rule.name}: {counted} of {allowed.limit} used within {clock.format_duration(length)}{_whose(allowed)}"
    if counted < allowed.limit:
        return f"{rule.name}: {clock.format_duration(length)} between two messages, none is nearer" if rule.gap else words
    until = next(end for end in ends if end > now and _peak(ats, ends, end, length) < allowed.limit)
    words = _nearer(rule, taken, now, length) if rule.gap else f"{words}{_set_aside(aside)}"
    detail = f"{words}; room from {tell_moment(until, case.zone)}."
    return GateAnswer("cap", "defer", rule.name, detail, until, certain=False)


def _nearer(rule: Cap, taken: list[datetime], now: datetime, length: Duration) -> str:
    ats = sorted(taken)
    sent = _peak(ats, [_leaves(at, length) for at in ats], now, length) > 0
    words = "another one is nearer" if sent else "one that goes first is nearer"
    return f"{rule.name}: {clock.format_duration(length)} between two messages, {words}"


def _leaves(at: datetime, length: Duration) -> datetime:
    # When a slot taken at `at` leaves the window that rolls: absolute time, only months are the calendar's (in UTC).
    if length.months:
        return clock.add(at, length, _UTC)
    return at + _absolute(length)


@lru_cache(maxsize=1024)
def _absolute(length: Duration) -> timedelta:
    return timedelta(days=length.days, seconds=length.seconds)


def _peak(ats: list[datetime], ends: list[datetime], now: datetime, length: Duration) -> int:
    # The most slots in any one window that a message sent at `now` would be in; slots are taken at `ats` and leave at `ends`,
    # both in order. Windows are open at their beginning: a slot exactly as old as the window no longer counts.
    counted = bisect_right(ats, now) - bisect_right(ends, now)
    if not ats or ats[-1] <= now:
        return counted
    later = ats[bisect_right(ats, now) : bisect_left(ats, _leaves(now, length))]
    return max([counted, *(bisect_right(ats, at) - bisect_right(ends, at) for at in later)])


def _calendar(case: Case, rule: Cap, allowed: Allowance, now: datetime) -> GateAnswer | str:
    per: Literal["day", "week", "month"] = rule.per if rule.per != "rolling" else "day"
    start, end = clock.calendar_window(now, per, case.zone)
    taken, aside = _used(case, rule)
    counted = len([at for at in taken + aside if start <= at < end])
    words = f"{rule.name}: {counted} of {allowed.limit} used {_within(per, start, case)}{_whose(allowed)}"
    if counted >= allowed.limit:
        until = goes_at(case, end)
        detail = f"{words}{_set_aside(aside)}; the message goes on {tell_moment(until, case.zone)}."
        return GateAnswer("cap", "defer", rule.name, detail, until, certain=False)
    if case.message.planned_at < start:
        return _begun(case, rule, allowed, per, start, now, taken) or words
    return words


def _begun(
    case: Case,
    rule: Cap,
    allowed: Allowance,
    per: Literal["day", "week", "month"],
    start: datetime,
    now: datetime,
    taken: list[datetime],
) -> GateAnswer | None:
    # The window before was full: it held the message, which goes at its planned time of day and not because a day began.
    before, _ = clock.calendar_window(start - _MICROSECOND, per, case.zone)
    counted = sum(before <= at < start for at in taken)
    until = goes_at(case, start)
    if counted < allowed.limit or now >= until:
        return None
    words = f"{rule.name}: {counted} of {allowed.limit} used {_within(per, before, case)}{_whose(allowed)}"
    return GateAnswer("cap", "defer", rule.name, f"{words}; the message goes on {tell_moment(until, case.zone)}.", until)


def _within(per: Literal["day", "week", "month"], start: datetime, case: Case) -> str:
    return f"{'on' if per == 'day' else f'in the {per} from'} {tell_day(start, case.zone)}"


def _whose(allowed: Allowance) -> str:
    return f" ({allowed.whose})" if allowed.whose else ""


def _set_aside(aside: list[datetime]) -> str:
    return f", {len(aside)} of them set aside for messages that go first" if aside else ""
