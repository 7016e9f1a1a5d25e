"""Zones, durations, windows and the changes of daylight saving time. Pure: `now` and zones are arguments.

One rule settles every awkward local time: it stands for the first moment at which the local clock shows it or a later
time. So a time that DST skips is the first moment after the gap, and one that comes twice is the first of the two.
Moments come in aware and go out in UTC. The `tzdata` package is the only source of zones; don't read the system's.
"""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import Literal
from zoneinfo import ZoneInfo

zoneinfo.reset_tzpath(to=[])  # only the tzdata package is left to look in

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
"""The names of days as policies and journeys write them, Monday first."""

_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True, order=True)
class Duration:
    """`seconds` is absolute; `days` and `months` keep the local wall-clock time. Signed; all parts share one sign."""

    months: int = 0
    days: int = 0
    seconds: int = 0


_UNITS = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), Duration(seconds=1)),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), Duration(seconds=60)),
    **dict.fromkeys(("h", "hour", "hours"), Duration(seconds=3600)),
    **dict.fromkeys(("d", "day", "days"), Duration(days=1)),
    **dict.fromkeys(("w", "week", "weeks"), Duration(days=7)),
    **dict.fromkeys(("month", "months"), Duration(months=1)),
    **dict.fromkeys(("y", "year", "years"), Duration(months=12)),
}
_LONGEST = Duration(months=12_000, days=366_000, seconds=366_000 * 86_400)
_PART = re.compile(r"([0-9]{1,12})\s*([a-z]+)\s*", re.IGNORECASE)


def parse_duration(text: str) -> Duration:
    """The duration that `text` writes: "30s", "15m", "2h", "3d", "2w", "1 month", "1 year", "1d 12h", "-5d".

    A week is seven days, a year twelve months. ValueError says what is wrong and shows what a duration looks like."""
    body = text.strip()
    sign = -1 if body.startswith("-") else 1
    body = body[1:].lstrip() if body[:1] in ("-", "+") else body
    months = days = seconds = place = 0
    while place < len(body):
        part = _PART.match(body, place)
        unit = _UNITS.get(part[2].lower()) if part else None
        if part is None or unit is None:
            what = f"{part[2]!r} is no unit of time" if part else "it isn't whole numbers with units"
            raise ValueError(f"{text!r} is not a duration: {what}; write for example 30s, 15m, 2h, 3d, 2w, 1 month, 1 year")
        number = sign * int(part[1])
        months, days, seconds = months + number * unit.months, days + number * unit.days, seconds + number * unit.seconds
        place = part.end()
    if not body:
        raise ValueError(f"{text!r} is not a duration: it is empty; write for example 30s, 15m, 2h, 3d, 2w, 1 month, 1 year")
    if abs(months) > _LONGEST.months or abs(days) > _LONGEST.days or abs(seconds) > _LONGEST.seconds:
        raise ValueError(f"{text!r} is not a usable duration: it is longer than a thousand years")
    return Duration(months, days, seconds)


@lru_cache(maxsize=1024)
def format_duration(duration: Duration) -> str:
    """The shortest text that `parse_duration` reads back as the same value: "3d", "1 month", "1d 12h", "-5d", "0s"."""
    months, days, seconds = abs(duration.months), abs(duration.days), abs(duration.seconds)
    parts = []
    for number, singular in ((months // 12, "year"), (months % 12, "month")):
        if number:
            parts.append(f"{number} {singular}{'' if number == 1 else 's'}")
    if days:
        parts.append(f"{days}d")
    for number, unit in ((seconds // 3600, "h"), (seconds // 60 % 60, "m"), (seconds % 60, "s")):
        if number:
            parts.append(f"{number}{unit}")
    negative = duration.months < 0 or duration.days < 0 or duration.seconds < 0
    return ("-" if negative else "") + (" ".join(parts) or "0s")


@lru_cache(maxsize=1024)
def zone(name: str) -> ZoneInfo:
    """The IANA zone `name`, from the `tzdata` package. ValueError if there is none such."""
    try:
        return ZoneInfo.no_cache(name)  # not what somebody may have loaded from the system before us
    except (KeyError, ValueError, OSError) as problem:
        raise ValueError(f"{name[:80]!r} is not a time zone; write an IANA name such as Europe/Rome") from problem


def is_zone(name: str) -> bool:
    """Whether there is an IANA zone `name`."""
    try:
        zone(name)
    except ValueError:
        return False
    return True


@lru_cache(maxsize=1024)
def parse_time(text: str) -> time:
    """The time of day that `text` writes ("21:00", "9:30"; 00:00 to 23:59). ValueError if it is none."""
    found = re.fullmatch(r"([0-9]{1,2}):([0-9]{2})", text.strip())
    if not found or int(found[1]) > 23 or int(found[2]) > 59:
        raise ValueError(f"{text!r} is not a time of day; write hours and minutes from 00:00 to 23:59, such as 09:00")
    return time(int(found[1]), int(found[2]))


@lru_cache(maxsize=1024)
def weekdays(days: tuple[str, ...]) -> frozenset[int]:
    """The numbers of `days` (Monday is 0); all seven where none is named. ValueError on an unknown name."""
    unknown = [d for d in days if d not in WEEKDAYS]
    if unknown:
        raise ValueError(f"{unknown[0]!r} is not a day; write mon, tue, wed, thu, fri, sat or sun")
    return frozenset(WEEKDAYS.index(d) for d in days) or frozenset(range(7))


def local(moment: datetime, zone: ZoneInfo) -> datetime:
    """What the clock in `zone` shows at `moment`, aware. ValueError if `moment` isn't aware."""
    if moment.tzinfo is None:
        raise ValueError(f"{moment.isoformat()} has no time zone: moments must be aware")
    return moment.astimezone(zone)


def resolve_local(naive: datetime, zone: ZoneInfo) -> datetime:
    """The first moment, in UTC, at which the clock in `zone` shows `naive` or later.

    In a gap that is the moment after it; of a time that comes twice, the first. ValueError if `naive` is aware."""
    if naive.tzinfo is not None:
        raise ValueError(f"{naive.isoformat()} is a moment already, not a local time")
    late = naive.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if late.astimezone(zone).replace(tzinfo=None, fold=0) == naive:
        return late
    early = naive.replace(tzinfo=zone, fold=1).astimezone(UTC).replace(microsecond=0)
    late = late.replace(microsecond=0)
    while late - early > _SECOND:  # in a gap: early is before the change, late after it, and changes fall on whole seconds
        middle = early + timedelta(seconds=(late - early) // _SECOND // 2)
        if middle.astimezone(zone).replace(tzinfo=None) >= naive:
            late = middle
        else:
            early = middle
    return late


def add(moment: datetime, duration: Duration, zone: ZoneInfo) -> datetime:
    """`moment` plus `duration`, in UTC: months, then days, on the local calendar; then seconds, absolute.

    A day that a month doesn't have becomes its last. ValueError beyond the years 1 to 9999."""
    try:
        if duration.months or duration.days:
            naive = local(moment, zone).replace(tzinfo=None, fold=0)
            moment = resolve_local(_months_later(naive, duration.months) + timedelta(days=duration.days), zone)
        return (moment + timedelta(seconds=duration.seconds)).astimezone(UTC)
    except (OverflowError, ValueError) as problem:
        raise ValueError(f"{moment.isoformat()} plus {format_duration(duration)}: {problem}") from problem


def _months_later(naive: datetime, months: int) -> datetime:
    year, month = divmod(naive.year * 12 + naive.month - 1 + months, 12)
    for day in (naive.day, 30, 29, 28):
        if day <= naive.day:
            try:
                return naive.replace(year=year, month=month + 1, day=day)
            except ValueError:
                if not 1 <= year <= 9999:
                    raise
    raise AssertionError("every month has 28 days")


def next_time_of_day(
    after: datetime, at: str | time, zone: ZoneInfo, days: tuple[str, ...] = (), *, inclusive: bool = False
) -> datetime:
    """The first moment after `after` (with `inclusive`: at or after it) that is local time `at` on one of `days`, in UTC."""
    of_day = parse_time(at) if isinstance(at, str) else at
    for day in _dates(local(after, zone).date(), 9):
        if day.weekday() in weekdays(days):
            moment = resolve_local(datetime.combine(day, of_day), zone)
            if moment > after or (inclusive and moment == after):
                return moment
    raise AssertionError("a week has every day")


def _dates(around: date, ahead: int) -> Iterator[date]:
    # One day back: where clocks go back over midnight, or a window of yesterday's lasts until today.
    return (around + _DAY * n for n in range(-1, ahead + 1))


@lru_cache(maxsize=65_536)
def _spans(
    around: date, ahead: int, start: str, end: str, days: tuple[str, ...], zone: ZoneInfo
) -> tuple[tuple[datetime, datetime], ...]:
    # Between which moments the windows that start on `around` and near it are open; equal ends mean a whole day.
    opens, closes, wanted = parse_time(start), parse_time(end), weekdays(days)
    spans = []
    for day in _dates(around, ahead):
        if day.weekday() in wanted:
            last = day if opens < closes else day + _DAY
            spans.append((resolve_local(datetime.combine(day, opens), zone), resolve_local(datetime.combine(last, closes), zone)))
    return tuple(span for span in spans if span[0] < span[1])


def spans(around: datetime, start: str, end: str, days: tuple[str, ...], zone: ZoneInfo) -> tuple[tuple[datetime, datetime], ...]:
    """The windows, each from its first moment to the one that ends it, that start two local days before `around` to one after."""
    return _spans(local(around, zone).date() - _DAY, 2, start, end, days, zone)


def _covering(moment: datetime, start: str, end: str, days: tuple[str, ...], zone: ZoneInfo) -> datetime | None:
    # When the window that is open at `moment` ends; None where none is open.
    for opens, closes in _spans(local(moment, zone).date(), 1, start, end, days, zone):
        if opens <= moment < closes:
            return closes
    return None


def in_window(moment: datetime, start: str, end: str, days: tuple[str, ...], zone: ZoneInfo) -> bool:
    """Whether `moment` is inside the local window from `start` to before `end` ("HH:MM"), which may pass midnight.

    `days` are those on which it starts (empty: all). Equal times mean from one day to the next."""
    return _covering(moment, start, end, days, zone) is not None


def window_end(moment: datetime, start: str, end: str, days: tuple[str, ...], zone: ZoneInfo) -> datetime | None:
    """The first moment after `moment`, which must be inside the window, that is outside it; None if it never ends.

    ValueError if `moment` isn't inside."""
    until = _covering(moment, start, end, days, zone)
    if until is None:
        raise ValueError(f"{moment.isoformat()} is outside the window {start} to {end}")
    for _ in range(9):
        following = _covering(until, start, end, days, zone)
        if following is None:
            return until
        until = following
    return None


def next_open(moment: datetime, start: str, end: str, days: tuple[str, ...], zone: ZoneInfo) -> datetime | None:
    """The first moment at or after `moment` that is inside the window; None if there is none in the next nine days."""
    for opens, closes in _spans(local(moment, zone).date(), 9, start, end, days, zone):
        if moment < closes:
            return max(opens, moment).astimezone(UTC)
    return None


@lru_cache(maxsize=65_536)
def _edges(day: date, per: Literal["day", "week", "month"], zone: ZoneInfo) -> tuple[datetime, ...]:
    # Where calendar windows begin: the one that `day` is in, and the two after it.
    first = day
    if per == "week":
        first = day - _DAY * day.weekday()
    elif per == "month":
        first = day.replace(day=1)
    elif per != "day":
        raise ValueError(f"{per!r} is not a calendar window; write day, week or month")
    edges = []
    for _ in range(3):
        edges.append(resolve_local(datetime.combine(first, time()), zone))
        first += {"day": 1, "week": 7, "month": 31}[per] * _DAY
        first = first.replace(day=1) if per == "month" else first
    return tuple(edges)


def calendar_window(now: datetime, per: Literal["day", "week", "month"], zone: ZoneInfo) -> tuple[datetime, datetime]:
    """The local day, week (from Monday) or month that `now` is in: its first moment and the next one's, in UTC."""
    for start, end in pairwise(_edges(local(now, zone).date(), per, zone)):
        if now < end:  # clocks that go back over midnight show yesterday's date again: today has begun all the same
            return start, end
    raise AssertionError("a local date lies at most one window behind")


def local_day(moment: datetime, zone: ZoneInfo) -> date:
    """The day that `moment` belongs to in `zone`. One that has begun stays, whatever date a clock that goes back shows."""
    return local(calendar_window(moment, "day", zone)[0], zone).date()
