"""Gate 10: every cap has room, also for what higher tiers have coming. Rules: `semantics.md`, "Caps".

Counting is exact: a cap's `limit` holds for every window of its length, not only for the one that ends now. Reserving is the
store's business.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from engine.core import clock
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
    for rule in case.policy.caps:
        if not _matches(rule, case.message):
            continue
        if rule.limit < 1:
            return GateAnswer("cap", "drop", rule.name, f"{rule.name}: its limit of {rule.limit} leaves no room at all.")
        answer = _rolling(case, rule, now) if rule.per == "rolling" else _calendar(case, rule, now)
        if isinstance(answer, str):
            told.append(answer)
        elif found is None or (
            answer.until and found.until and (answer.until, not answer.certain) > (found.until, not found.certain)
        ):
            found = answer
    return found or (GateAnswer("cap", "pass", detail=f"{'; '.join(told)}.") if told else _NONE)


def _matches(rule: Cap, fact: Message | SlotFact | PlannedFact) -> bool:
    return (
        (not rule.tiers or fact.tier in rule.tiers)
        and (not rule.channels or fact.channel in rule.channels)
        and (not rule.topics or fact.topic in rule.topics)
        and (not rule.journeys or fact.journey in rule.journeys)
    )


def open_book(policy: Policy, slots: Iterable[SlotFact], zone: ZoneInfo) -> Book:
    """What each cap counts of `slots`."""
    return Book(policy.caps, zone, _matches, [s for s in slots if s.tier not in policy.uncounted])


def _tally(case: Case, rule: Cap) -> Tally:
    book = case.book or open_book(case.policy, case.facts.slots, case.zone)
    return book.of(rule)


def _rolling(case: Case, rule: Cap, now: datetime) -> GateAnswer | str:
    length = rule.rolling or clock.Duration()
    used = _tally(case, rule)
    counted = used.rolling(now)
    words = f"{rule.name}: {counted} of {rule.limit} used within {clock.format_duration(length)}"
    if counted < rule.limit:
        return words
    until = used.rolling_room(now)
    detail = f"{words}{_set_aside(used)}; room from {tell_moment(until, case.zone)}."
    return GateAnswer("cap", "defer", rule.name, detail, until, certain=False)


def _calendar(case: Case, rule: Cap, now: datetime) -> GateAnswer | str:
    per: Literal["day", "week", "month"] = rule.per if rule.per != "rolling" else "day"
    start, end = clock.calendar_window(now, per, case.zone)
    used = _tally(case, rule)
    counted = used.calendar(start, end)
    words = f"{rule.name}: {counted} of {rule.limit} used {_within(per, start, case)}"
    if counted >= rule.limit:
        until = goes_at(case, used.calendar_room(end))
        detail = f"{words}{_set_aside(used)}; the message goes on {tell_moment(until, case.zone)}."
        return GateAnswer("cap", "defer", rule.name, detail, until, certain=False)
    if case.message.planned_at < start:
        return _begun(case, rule, per, start, now, used) or words
    return words


def _begun(
    case: Case, rule: Cap, per: Literal["day", "week", "month"], start: datetime, now: datetime, used: Tally
) -> GateAnswer | None:
    # The window before was full: it held the message, which goes at its planned time of day and not because a day began.
    before, _ = clock.calendar_window(start - _MICROSECOND, per, case.zone)
    counted = used.calendar_taken(before, start)
    until = goes_at(case, start)
    if counted < rule.limit or now >= until:
        return None
    words = f"{rule.name}: {counted} of {rule.limit} used {_within(per, before, case)}"
    return GateAnswer("cap", "defer", rule.name, f"{words}; the message goes on {tell_moment(until, case.zone)}.", until)


def _within(per: Literal["day", "week", "month"], start: datetime, case: Case) -> str:
    return f"{'on' if per == 'day' else f'in the {per} from'} {tell_day(start, case.zone)}"


def _set_aside(used: Tally) -> str:
    return f", {used.aside} of them set aside for messages that go first" if used.aside else ""
