"""When journeys that begin by the calendar begin: schedules for everybody, anniversaries for one customer. Pure.

A local time becomes a moment by the one rule of `clock`: skipped by a change of clocks it is the first moment after the gap,
and where it comes twice it is the first. Source of the rules: semantics.md, "Time"; authoring.md, "Entries".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from engine.core.clock import Duration, add, format_duration, local_day, parse_time, resolve_local, weekdays
from engine.core.clock import zone as zone_named
from engine.core.cron import parse_cron

FIRST_ZONE, LAST_ZONE = timedelta(hours=14), timedelta(hours=-12)
"""How far local time is ahead of UTC at the most and at the least, anywhere."""

_DAY = timedelta(days=1)

LOOK_AHEAD = timedelta(days=40)
"""Occurrences are looked for so far at a time …"""

LOOKS = 50
"""… and so often before a schedule counts as over: five years and more."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """Exactly one of `once` (local, "2026-12-01T09:00"), `at` ("09:00", on `days` or every day) and `cron`. `timezone`: an
    IANA name, or "customer": each at their own local time."""

    timezone: str
    once: str | None = None
    at: str | None = None
    days: tuple[str, ...] = ()
    cron: str | None = None

    def on(self, day: date) -> Iterator[datetime]:
        """The local times (naive) that it names on `day`, in order."""
        if self.once is not None:
            if (written := datetime.fromisoformat(self.once)).date() == day:
                yield written
        elif self.cron is not None:
            yield from (datetime.combine(day, t) for t in parse_cron(self.cron).times(day))
        elif self.at is not None and day.weekday() in weekdays(self.days):
            yield datetime.combine(day, parse_time(self.at))

    def first(self, naive: datetime) -> datetime:
        """The moment at which an occurrence begins, in UTC: where it is `naive` first."""
        if self.timezone == "customer":
            return naive.replace(tzinfo=UTC) - FIRST_ZONE
        return resolve_local(naive, zone_named(self.timezone))

    def last(self, naive: datetime) -> datetime:
        """The moment after which nobody's clock shows `naive` any more."""
        return naive.replace(tzinfo=UTC) - LAST_ZONE if self.timezone == "customer" else self.first(naive)

    def due(self, naive: datetime, zone: ZoneInfo) -> datetime:
        """When the occurrence `naive` comes for a customer whose own zone is `zone`."""
        return resolve_local(naive, zone) if self.timezone == "customer" else self.first(naive)


def occurrences(schedule: Schedule, since: datetime, until: datetime) -> list[tuple[str, datetime]]:
    """The occurrences that begin by `until` and aren't over everywhere at `since`: (name, first moment). The name is the
    local time ("2026-12-01T09:00"): a local time that comes twice is one occurrence."""
    found = []
    day, end = (since + LAST_ZONE).date() - _DAY, (until + FIRST_ZONE).date() + _DAY
    if schedule.once is not None:
        day = end = datetime.fromisoformat(schedule.once).date()
    while day <= end:
        for naive in schedule.on(day):
            first = schedule.first(naive)
            if first <= until and schedule.last(naive) > since:
                found.append((naive.isoformat(timespec="minutes"), first))
        day += _DAY
    return found


def coming_up(schedule: Schedule, since: datetime, after: str = "") -> Iterator[tuple[str, datetime]]:
    """The same without an end: those after the one called `after` that aren't over everywhere at `since`, each once, in
    order."""
    for n in range(LOOKS):
        for name, first in occurrences(schedule, since + n * LOOK_AHEAD, since + (n + 1) * LOOK_AHEAD):
            if name > after:
                after = name
                yield name, first


@dataclass(frozen=True, slots=True)
class Anniversary:
    """`attribute` of the customer gives a date; its moment is local time `at` of that day, moved by `offset`. `every`
    "year": on each anniversary, and 29 February is the 28th in other years. `on_past`: who learns of it after the moment and
    not after the day enters at once, or not this time."""

    attribute: str
    at: str = "09:00"
    offset: Duration | None = None
    every: Literal["year"] | None = None
    on_past: Literal["enter", "skip"] = "skip"

    def moment(self, day: date, zone: ZoneInfo) -> datetime:
        """The moment that belongs to `day`: days and months of the offset are counted on the calendar, then it is that local
        time, then seconds are exact. ValueError beyond the years 1 to 9999."""
        naive = datetime.combine(day, parse_time(self.at))
        if self.offset is None:
            return resolve_local(naive, zone)
        moved = add(naive.replace(tzinfo=UTC), Duration(self.offset.months, self.offset.days), zone_named("UTC"))
        return resolve_local(moved.replace(tzinfo=None), zone) + timedelta(seconds=self.offset.seconds)

    def day(self, value: date, occasion: str) -> date:
        """The day of `occasion`: of a year's anniversary of `value`, or `value` itself."""
        return in_year(value, int(occasion)) if self.every else value


@dataclass(frozen=True, slots=True)
class Occasion:
    """One coming up for one customer. `name`: the year of an anniversary ("2026"), else the date: nobody enters twice for
    one name."""

    name: str
    due: datetime


def in_year(value: date, year: int) -> date:
    """The anniversary of `value` in `year`."""
    return date(year, 2, 28) if (value.month, value.day) == (2, 29) and not _leap(year) else value.replace(year=year)


def _leap(year: int) -> bool:
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


def upcoming(rule: Anniversary, value: date, now: datetime, zone: ZoneInfo, *, after: str = "") -> Occasion | None:
    """The next occasion of somebody whose date is `value`, seen at `now`; None where none is to come. `after`: the name of
    one that has been, which with all before it is left out."""
    today = local_day(now, zone)
    for name, day in _days(rule, value, today):
        if after and name <= after:
            continue
        try:
            due = rule.moment(day, zone)
        except ValueError:  # later than a calendar can say
            return None
        if due > now or (rule.on_past == "enter" and today <= day):
            return Occasion(name, due)
    return None


def _days(rule: Anniversary, value: date, today: date) -> Iterator[tuple[str, date]]:
    """Occasions by name, those first whose moment may be near `today`."""
    if not rule.every:
        yield value.isoformat(), value
        return
    offset = rule.offset or Duration()
    reach = 2 + abs(offset.months) // 12 + (abs(offset.days) + abs(offset.seconds) // 86_400) // 365
    for year in range(max(value.year, today.year - reach, 1), min(max(today.year, value.year) + reach, 9999) + 1):
        yield f"{year:04}", in_year(value, year)


def moved(rule: Anniversary, value: date, planned: Occasion, zone: ZoneInfo) -> Occasion:
    """What `planned` becomes for somebody who is in `zone` now: the same occasion. Where its moment there is over, it comes
    at once: who travels loses nothing."""
    return Occasion(planned.name, rule.moment(rule.day(value, planned.name), zone))


def told_schedule(schedule: Schedule) -> str:
    """A schedule in words: "tue, thu at 09:00, local time"."""
    if schedule.once is not None:
        when = schedule.once.replace("T", " ")
    elif schedule.cron is not None:
        when = f"cron {schedule.cron}"
    else:
        when = f"{', '.join(schedule.days) or 'every day'} at {schedule.at}"
    return f"{when}, {'local time' if schedule.timezone == 'customer' else schedule.timezone}"


def told_date(rule: Anniversary) -> str:
    """An entry by date in words: "3d before customer.birthday at 09:00, every year"."""
    text = format_duration(rule.offset) if rule.offset is not None else ""
    way = "" if not text else f"{text[1:]} before " if text.startswith("-") else f"{text} after "
    return f"{way}customer.{rule.attribute} at {rule.at}{', every year' if rule.every else ''}"
