"""Gate 10: every cap has room, also for what higher tiers have coming. Rules: `semantics.md`, "Caps".

Counting is exact: a cap's `limit` holds for every window of its length, not only for the one that ends now. Reserving is the
store's business.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from engine.core import clock
from engine.core.allowances import Allowance, allowance
from engine.core.case import Case
from engine.core.facts import GateAnswer, Message, PlannedFact, SlotFact
from engine.core.hours import goes_at
from engine.core.policy import Cap, Policy
from engine.core.tally import Book, Tally
from engine.core.telling import tell_day, tell_moment

_SKIPPED = GateAnswer("cap", "skip", detail="No cap applies to this tier: it passes them all.")
_RESERVED = GateAnswer("cap", "pass", rule="reserved", detail="The message holds its slot already.")
_NONE = GateAnswer("cap", "pass", detail="No cap applies to this message.")
_MICROSECOND = timedelta(microseconds=1)


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
        if not _fits(rule, case.message):
            continue
        if earlier := [c for c in case.message.charged if _fits(rule, replace(case.message, channel=c))]:
            told.append(f"{rule.name}: counted on {' and '.join(earlier)} already")
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
    """Whether `rule` counts the message: its filters let it in, and not also what the same send was on a channel before: a send
    is one message to a cap. Whether its tier uses caps up is `Policy.uncounted`'s business."""
    if not _fits(rule, fact):
        return False
    return not fact.charged or (bool(rule.channels) and not any(c in rule.channels for c in fact.charged))


def _fits(rule: Cap, fact: Message | SlotFact | PlannedFact) -> bool:
    return (
        (not rule.tiers or fact.tier in rule.tiers)
        and (not rule.channels or fact.channel in rule.channels)
        and (not rule.topics or fact.topic in rule.topics)
        and (not rule.journeys or fact.journey in rule.journeys)
        and (not rule.tags or any(tag in rule.tags for tag in fact.tags))
    )


def open_book(policy: Policy, slots: Iterable[SlotFact], zone: ZoneInfo) -> Book:
    """What each cap counts of `slots`."""
    return Book(policy.caps, zone, counts, [s for s in slots if s.tier not in policy.uncounted])


def _tally(case: Case, rule: Cap) -> Tally:
    book = case.book or open_book(case.policy, case.facts.slots, case.zone)
    return book.of(rule)


def _rolling(case: Case, rule: Cap, allowed: Allowance, now: datetime) -> GateAnswer | str:
    length = rule.rolling or clock.Duration()
    used = _tally(case, rule)
    counted = used.rolling(now)
    words = f"{rule.name}: {counted} of {allowed.limit} used within {clock.format_duration(length)}{_whose(allowed)}"
    if counted < allowed.limit:
        return f"{rule.name}: {clock.format_duration(length)} between two messages, none is nearer" if rule.gap else words
    until = used.rolling_room(now, allowed.limit)
    words = _nearer(rule, used, now) if rule.gap else f"{words}{_set_aside(used.rolling_aside(now))}"
    detail = f"{words}; room from {tell_moment(until, case.zone)}."
    return GateAnswer("cap", "defer", rule.name, detail, until, certain=False)


def _nearer(rule: Cap, used: Tally, now: datetime) -> str:
    words = "another one is nearer" if used.taken_near(now) else "one that goes first is nearer"
    return f"{rule.name}: {clock.format_duration(rule.rolling or clock.Duration())} between two messages, {words}"


def _calendar(case: Case, rule: Cap, allowed: Allowance, now: datetime) -> GateAnswer | str:
    per: Literal["day", "week", "month"] = rule.per if rule.per != "rolling" else "day"
    start, end = clock.calendar_window(now, per, case.zone)
    used = _tally(case, rule)
    counted = used.calendar(start, end)
    words = f"{rule.name}: {counted} of {allowed.limit} used {_within(per, start, case)}{_whose(allowed)}"
    if counted >= allowed.limit:
        until = goes_at(case, used.calendar_room(end, allowed.limit))
        words += _set_aside(counted - used.calendar_taken(start, end))
        detail = f"{words}; the message goes on {tell_moment(until, case.zone)}."
        return GateAnswer("cap", "defer", rule.name, detail, until, certain=False)
    if case.message.planned_at < start:
        return _begun(case, rule, allowed, per, start, now, used) or words
    return words


def _begun(
    case: Case,
    rule: Cap,
    allowed: Allowance,
    per: Literal["day", "week", "month"],
    start: datetime,
    now: datetime,
    used: Tally,
) -> GateAnswer | None:
    # The window before was full: it held the message, which goes at its planned time of day and not because a day began.
    before, _ = clock.calendar_window(start - _MICROSECOND, per, case.zone)
    counted = used.calendar_taken(before, start)
    until = goes_at(case, start)
    if counted < allowed.limit or now >= until:
        return None
    words = f"{rule.name}: {counted} of {allowed.limit} used {_within(per, before, case)}{_whose(allowed)}"
    return GateAnswer("cap", "defer", rule.name, f"{words}; the message goes on {tell_moment(until, case.zone)}.", until)


def _within(per: Literal["day", "week", "month"], start: datetime, case: Case) -> str:
    return f"{'on' if per == 'day' else f'in the {per} from'} {tell_day(start, case.zone)}"


def _whose(allowed: Allowance) -> str:
    return f" ({allowed.whose})" if allowed.whose else ""


def _set_aside(count: int) -> str:
    return f", {count} of them set aside for messages that go first" if count else ""
