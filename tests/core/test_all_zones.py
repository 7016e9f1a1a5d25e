"""Quiet hours, days off and windows over every IANA zone and every change of its clock in ten years.

What is expected is worked out from offsets alone (`zones`): a deferred message goes at the first moment that is open, so never
inside quiet hours and never later than needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from engine.core.clock import Duration
from engine.core.governance import decide
from engine.core.plan import Window
from engine.core.policy import DayOff, QuietHours
from tests.core.governing import facts, message, policy
from tests.core.zones import DAY, FIRST, Offsets, by_clock, closed_spans, closed_until

MINUTE = timedelta(minutes=1)
JITTER = timedelta(minutes=45)

NIGHTS = [("21:00", "08:00"), ("01:30", "02:30"), ("02:30", "05:00"), ("00:00", "00:30"), ("23:15", "00:45"), ("02:10", "02:50")]
WEEK = Window("09:00", "18:00", ("mon", "tue", "wed", "thu", "fri"))
Rules = tuple[tuple[QuietHours, ...], Window | None]

NEAR = [timedelta(hours=h, minutes=m) for h, m in ((-26, 0), (-2, -29), (0, -1), (0, 0), (0, 44), (5, 0))]
"""Moments to look at, from a change on."""


def rules(change: datetime) -> list[Rules]:
    """Nights, a night of weekends only, days off around the change, a window, two rules that overlap."""
    day = change.date()
    off = DayOff(day.isoformat(), (day + DAY).isoformat(), "Change")
    yearly = DayOff(*[(day + n * DAY).strftime("%m-%d").replace("02-29", "02-28") for n in (1, 2)])
    return [
        *[((QuietHours(*night),), None) for night in NIGHTS],
        ((QuietHours("22:00", "07:00", days=("sat", "sun")),), None),
        ((QuietHours("", "", calendar="it", days_off=(off,)),), None),
        ((QuietHours("21:00", "08:00", calendar="it", days_off=(yearly,)),), None),
        ((QuietHours("21:00", "08:00"), QuietHours("00:30", "09:30", calendar="it", days_off=(off,))), WEEK),
        ((), WEEK),
    ]


def check(name: str, clocks: Offsets, moments: Sequence[datetime], chosen: Rules) -> int:
    """Decide a message at each of these moments, near each other, with and without a spread; how many were deferred."""
    quiet, window = chosen
    spans = closed_spans(clocks, moments[len(moments) // 2], quiet, window)
    plain = policy(quiet_hours=quiet)
    spread = replace(plain, jitter=Duration(seconds=int(JITTER.total_seconds())))
    deferred = 0
    for moment in moments:
        one = message(planned_at=moment, window=window)
        until = closed_until(spans, moment)
        verdict = decide(plain, facts(zone=name), one, moment)
        told = f"{name} at {moment} under {chosen}"
        assert until == verdict.until, told
        later = decide(spread, facts(zone=name, customer=7), one, moment).until
        assert (until is None) == (later is None), told
        if until is not None and later is not None:
            deferred += 1
            assert until <= later < until + JITTER, told
            assert closed_until(spans, later) is None, told
            assert closed_until(spans, later) == closed_until(spans, until), told
            assert "allow" == decide(spread, facts(zone=name, customer=7), one, later).decision, told
            assert later == until or "defer" == decide(spread, facts(zone=name, customer=7), one, later - MINUTE / 60).decision, (
                told
            )
    return deferred


def every_change() -> Iterator[tuple[int, str, Offsets, datetime]]:
    """Number, zone, clock and moment: each change of each clock that differs, for one zone that has it after the other."""
    number = 0
    for clocks, names in by_clock().items():
        for change in clocks.changes() or [FIRST + 90 * DAY]:
            yield number, names[number % len(names)], clocks, change
            number += 1


def test_every_zone_is_looked_at() -> None:
    """There are some six hundred names, more than eighty clocks that differ, and hundreds of changes."""
    assert 590 < sum(len(names) for names in by_clock().values())
    assert 80 < len(by_clock())
    assert 700 < sum(len(clocks.changes()) for clocks in by_clock())


def test_a_deferred_message_goes_at_the_first_open_moment_around_every_change_of_every_clock() -> None:
    """One set of rules for each change, in turn: none is left out, and each meets dozens of changes."""
    deferred = 0
    for number, name, clocks, change in every_change():
        chosen = rules(change)
        deferred += check(name, clocks, [change + near for near in NEAR], chosen[number % len(chosen)])
    assert 1500 < deferred


def test_a_deferred_message_goes_at_the_first_open_moment_in_every_zone() -> None:
    """Each of all names once, also those whose clock never changes."""
    for number, (name, clocks) in enumerate((n, c) for c, names in by_clock().items() for n in names):
        moment = FIRST + number * 6 * DAY + number * 7 * MINUTE
        chosen = rules(moment)
        check(name, clocks, [moment, moment + 13 * timedelta(hours=1)], chosen[number % len(chosen)])


@pytest.mark.nightly
def test_every_half_hour_around_every_change_under_every_set_of_rules() -> None:
    """The whole grid: a day and a half before and after each change of each clock."""
    near = [timedelta(minutes=30 * n) for n in range(-72, 73)]
    for _, name, clocks, change in every_change():
        for chosen in rules(change):
            check(name, clocks, [change + n for n in near], chosen)
