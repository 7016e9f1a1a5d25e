"""When gate 9 is closed and when it opens: quiet hours, days off and the send's own window, as stretches of one zone's time.

What a gate makes of that is in `hours`; local clocks are `clock`'s business. Rules: `semantics.md`, "Time".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from engine.core import clock
from engine.core.plan import Window
from engine.core.policy import DayOff, QuietHours

_DAY = timedelta(days=1)
_TICK = timedelta(microseconds=1)
_FOR_EVER = 400
"""Days in a row after which days off count as some that never end."""


@dataclass(frozen=True, slots=True)
class Hours:
    """The rules that apply to one message, in the zone that its local times are read in."""

    quiet: tuple[QuietHours, ...]
    window: Window | None
    zone: ZoneInfo


@dataclass(frozen=True, slots=True)
class Closure:
    """What is in the way: the rule's name, words for it, and until when (None: it never ends)."""

    rule: str
    what: str
    until: datetime | None


def closed(hours: Hours, moment: datetime) -> Closure | None:
    """What is in the way at `moment` and ends last; None where nothing is. ValueError on a rule that can't be read."""
    found: Closure | None = None
    for rule in hours.quiet:
        found = _later(found, quiet(rule, moment, hours.zone))
    window = hours.window
    if window and not clock.in_window(moment, window.start, window.end, window.days, hours.zone):
        until = clock.next_open(moment, window.start, window.end, window.days, hours.zone)
        days = f" on {', '.join(window.days)}" if window.days else ""
        words = f"Outside the send window from {window.start} to {window.end}{days}"
        found = _later(found, Closure(f"window {window.start}-{window.end}", words, until))
    return found


def quiet(rule: QuietHours, moment: datetime, zone: ZoneInfo) -> Closure | None:
    """What `rule` says at `moment`: its hours and its days off are one stretch where they touch. None where it is open."""
    off = day_off(rule, clock.local_day(moment, zone)) if rule.days_off else None
    if off is not None:
        return Closure(f"days_off {rule.calendar}", f"A day off ({off.name or rule.calendar})", _end(rule, moment, zone))
    if not rule.start or not clock.in_window(moment, rule.start, rule.end, rule.days, zone):
        return None
    words = f"Quiet hours from {rule.start} to {rule.end}"
    return Closure(f"quiet_hours {rule.start}-{rule.end}", words, _end(rule, moment, zone))


def day_off(rule: QuietHours, day: date) -> DayOff | None:
    """The first of the rule's days off that `day` belongs to."""
    full = day.isoformat()
    for off in rule.days_off:
        shown = full[-len(off.first) :]
        if off.first <= off.last:
            inside = off.first <= shown <= off.last
        else:  # each year, over New Year
            inside = shown >= off.first or shown <= off.last
        if inside:
            return off
    return None


def opened(hours: Hours, moment: datetime) -> datetime | None:
    """When the stretch that is open at `moment` began, where that was on the same local day; None where it began before."""
    today, _ = clock.calendar_window(moment, "day", hours.zone)
    return max((b for b in _endings(hours, moment, today) if today <= b <= moment), default=None)


def _endings(hours: Hours, moment: datetime, today: datetime) -> Iterator[datetime]:
    # Where something that was in the way ends, around `moment`. Where it is open at `moment`, nothing else was after the last.
    for rule in hours.quiet:
        if rule.start:
            yield from (ends for _, ends in clock.spans(moment, rule.start, rule.end, rule.days, hours.zone))
        if rule.days_off and day_off(rule, clock.local_day(today - _TICK, hours.zone)):
            yield today
    window = hours.window
    if window:
        for begins, _ in clock.spans(moment, window.start, window.end, window.days, hours.zone):
            if not clock.in_window(begins - _TICK, window.start, window.end, window.days, hours.zone):
                yield begins


def open_until(hours: Hours, moment: datetime, end: datetime) -> datetime:
    """When the stretch that is open at `moment` closes, at the latest `end`, which lies on the same local day."""
    for rule in hours.quiet:
        if rule.start:
            begins = [b for b, _ in clock.spans(moment, rule.start, rule.end, rule.days, hours.zone) if moment < b < end]
            end = min([*begins, end])
    window = hours.window
    if window:
        closes = clock.window_end(moment, window.start, window.end, window.days, hours.zone)
        end = end if closes is None else min(closes, end)
    return end


def _later(one: Closure | None, other: Closure | None) -> Closure | None:
    if one is None or other is None:
        return one or other
    if one.until is None or other.until is None:
        return one if one.until is None else other
    return other if other.until > one.until else one


def _end(rule: QuietHours, moment: datetime, zone: ZoneInfo) -> datetime | None:
    """The first moment from `moment` on that is neither in the rule's hours nor on one of its days off; None: never."""
    for _ in range(_FOR_EVER):
        day = clock.local_day(moment, zone) if rule.days_off else None
        if day is not None and day_off(rule, day) is not None:
            moment = clock.resolve_local(datetime.combine(day + _DAY, time()), zone)
        elif rule.start and clock.in_window(moment, rule.start, rule.end, rule.days, zone):
            until = clock.window_end(moment, rule.start, rule.end, rule.days, zone)
            if until is None:
                return None
            moment = until
        else:
            return moment
    return None
