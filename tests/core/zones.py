"""Every IANA zone as the stretches of one offset that its clock went and will go through, and what follows from them alone.

An answer to `clock` and `stretches` that shares no line with them: no fold, no gap, only offsets and when they change.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from zoneinfo import available_timezones

from engine.core import clock
from engine.core.plan import Window
from engine.core.policy import DayOff, QuietHours

FIRST, LAST = datetime(2020, 1, 1, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC)
"""Ten years: some with surprises that are known, some as they are announced."""

DAY = timedelta(days=1)
_AROUND = 14 * DAY
_STEP = 10 * DAY
_SECOND = timedelta(seconds=1)

Span = tuple[datetime, datetime]


@dataclass(frozen=True, slots=True)
class Offsets:
    """From `begins[i]` on the clock is `ahead[i]` ahead of UTC; the first one holds from before `FIRST` on."""

    begins: tuple[datetime, ...]
    ahead: tuple[timedelta, ...]

    def changes(self) -> list[datetime]:
        """The moments of the ten years at which the clock is moved."""
        return [b for b in self.begins[1:] if FIRST <= b < LAST]

    def first_showing(self, naive: datetime) -> datetime:
        """The first moment at which the clock shows `naive` or later."""
        there = naive.replace(tzinfo=UTC)
        for i in range(max(bisect_right(self.begins, there - 2 * DAY) - 1, 0), len(self.begins)):
            moment = max(self.begins[i], there - self.ahead[i])
            if i + 1 == len(self.begins) or moment < self.begins[i + 1]:
                return moment
        raise AssertionError("the last stretch has no end")

    def shown(self, moment: datetime) -> datetime:
        """What the clock shows."""
        return (moment + self.ahead[max(bisect_right(self.begins, moment) - 1, 0)]).replace(tzinfo=None)


def _ahead(moment: datetime, zone: clock.ZoneInfo) -> timedelta:
    return moment.astimezone(zone).utcoffset() or timedelta()


@cache
def offsets(name: str) -> Offsets:
    """The stretches of zone `name`, found by halving; two changes within ten days would be missed, and there are none."""
    zone = clock.zone(name)
    moment = FIRST - _AROUND
    begins, ahead = [moment], [_ahead(moment, zone)]
    while moment < LAST + _AROUND:
        later = moment + _STEP
        if _ahead(later, zone) != ahead[-1]:
            low, high = moment, later
            while high - low > _SECOND:
                middle = low + (high - low) // _SECOND // 2 * _SECOND
                low, high = (middle, high) if _ahead(middle, zone) == ahead[-1] else (low, middle)
            begins.append(high)
            ahead.append(_ahead(high, zone))
        moment = later
    return Offsets(tuple(begins), tuple(ahead))


@cache
def by_clock() -> dict[Offsets, list[str]]:
    """All zones there are, by what their clocks do."""
    found: dict[Offsets, list[str]] = {}
    for name in sorted(available_timezones()):
        found.setdefault(offsets(name), []).append(name)
    return found


def _dates(around: date) -> list[date]:
    return [around + n * DAY for n in range(-3, 9)]


def _nights(clocks: Offsets, around: date, start: str, end: str, days: Sequence[str]) -> Iterable[Span]:
    begins, ends = time.fromisoformat(start), time.fromisoformat(end)
    for day in _dates(around):
        if not days or clock.WEEKDAYS[day.weekday()] in days:
            last = day if begins < ends else day + DAY
            span = clocks.first_showing(datetime.combine(day, begins)), clocks.first_showing(datetime.combine(last, ends))
            if span[0] < span[1]:
                yield span


def _is_off(off: DayOff, day: date) -> bool:
    years = [""] if len(off.first) == 10 else [f"{day.year - 1}-", f"{day.year}-"]
    for year in years:
        first, last = date.fromisoformat(year + off.first), date.fromisoformat(year + off.last)
        last = last if last >= first else last.replace(year=last.year + 1)
        if first <= day <= last:
            return True
    return False


def closed_spans(clocks: Offsets, around: datetime, quiet: Sequence[QuietHours], window: Window | None) -> list[Span]:
    """When nothing may go near `around`, each from its first moment to the first one after it; none touch."""
    today = clocks.shown(around).date()
    spans: list[Span] = []
    for rule in quiet:
        if rule.start:
            spans += _nights(clocks, today, rule.start, rule.end, rule.days)
        for day in _dates(today):
            if any(_is_off(off, day) for off in rule.days_off):
                spans.append(
                    (
                        clocks.first_showing(datetime.combine(day, time())),
                        clocks.first_showing(datetime.combine(day + DAY, time())),
                    )
                )
    if window is not None:
        edge = around - 3 * DAY
        for begins, ends in sorted(_nights(clocks, today, window.start, window.end, window.days)):
            spans.append((edge, begins))
            edge = max(edge, ends)
    merged: list[Span] = []
    for begins, ends in sorted(s for s in spans if s[0] < s[1]):
        if merged and begins <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], ends))
        else:
            merged.append((begins, ends))
    return merged


def closed_until(spans: Sequence[Span], moment: datetime) -> datetime | None:
    """When the span that `moment` lies in ends; None where it lies in none."""
    return next((ends for begins, ends in spans if begins <= moment < ends), None)
