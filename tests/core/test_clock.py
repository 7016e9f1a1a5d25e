"""Durations, zones, local times and sums over changes of daylight saving time."""

from __future__ import annotations

import subprocess
import sys
import time as systime
import zoneinfo
from datetime import UTC, datetime, time, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core import clock
from engine.core.clock import Duration
from tests.core.governing import ZONES, first_showing, near_a_change

ROME = clock.zone("Europe/Rome")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30s", Duration(seconds=30)),
        ("15m", Duration(seconds=900)),
        ("2h", Duration(seconds=7200)),
        ("3d", Duration(days=3)),
        ("2w", Duration(days=14)),
        ("1 week", Duration(days=7)),
        ("1 month", Duration(months=1)),
        ("3 months", Duration(months=3)),
        ("1 year", Duration(months=12)),
        ("-5d", Duration(days=-5)),
        ("- 1 month", Duration(months=-1)),
        ("+4h", Duration(seconds=14400)),
        ("1d 12h", Duration(days=1, seconds=43200)),
        ("1h30m", Duration(seconds=5400)),
        (" 10 Minutes ", Duration(seconds=600)),
        ("0d", Duration()),
    ],
)
def test_a_duration_is_read(text: str, expected: Duration) -> None:
    """Seconds, minutes and hours are absolute; weeks are seven days, years twelve months; a sign counts for all parts."""
    assert expected == clock.parse_duration(text)


@pytest.mark.parametrize("text", ["", "-", "3", "d", "1.5h", "3 fortnights", "1h -30m", "٣d", "3d!", "999999999999y", "1e3s"])
def test_a_duration_that_isnt_one_is_refused(text: str) -> None:
    """Whatever isn't whole numbers with known units is a ValueError that quotes it."""
    with pytest.raises(ValueError, match="is not a") as refused:
        clock.parse_duration(text)
    assert repr(text) in str(refused.value)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("3 fortnights", "'fortnights' is no unit of time; write for example 30s"),
        ("1.5h", "it isn't whole numbers with units; write for example 30s"),
        ("", "it is empty; write for example 30s"),
    ],
)
def test_a_refused_duration_says_what_is_wrong(text: str, wrong: str) -> None:
    """A word that is no unit, numbers that aren't whole, nothing at all: each is named, with what to write."""
    with pytest.raises(ValueError, match="is not a duration") as refused:
        clock.parse_duration(text)
    assert str(refused.value).startswith(f"{text!r} is not a duration: {wrong}")


@pytest.mark.parametrize(("number", "unit"), [(12_000, "months"), (366_000, "d"), (366_000 * 86_400, "s")])
def test_a_duration_of_a_thousand_years_is_the_longest(number: int, unit: str) -> None:
    """Each part alone may be as long as that, and no longer."""
    assert number in vars_of(clock.parse_duration(f"{number}{unit}"))
    with pytest.raises(ValueError, match="longer than a thousand years"):
        clock.parse_duration(f"{number + 1}{unit}")


def vars_of(duration: Duration) -> tuple[int, int, int]:
    return duration.months, duration.days, duration.seconds


@given(st.sampled_from([1, -1]), st.integers(0, 12_000), st.integers(0, 366_000), st.integers(0, 10**9))
def test_a_duration_written_is_read_back(sign: int, months: int, days: int, seconds: int) -> None:
    """`parse_duration` undoes `format_duration`."""
    duration = Duration(sign * months, sign * days, sign * seconds)
    assert duration == clock.parse_duration(clock.format_duration(duration))


@pytest.mark.parametrize(
    ("duration", "text"),
    [
        (Duration(days=7), "7d"),
        (Duration(months=13), "1 year 1 month"),
        (Duration(seconds=5400), "1h 30m"),
        (Duration(25, 3, 14_706), "2 years 1 month 3d 4h 5m 6s"),
        (Duration(), "0s"),
        (Duration(days=-5), "-5d"),
    ],
)
def test_a_duration_is_written(duration: Duration, text: str) -> None:
    """The text is the one a marketer would write."""
    assert text == clock.format_duration(duration)


def test_zones_come_from_the_tzdata_package_only() -> None:
    """Importing the clock empties zoneinfo's search path, and `tzdata` is read even where a zone was loaded before."""
    code = (
        "import zoneinfo; zoneinfo.ZoneInfo('UTC'); import engine.core.clock as c, sys; "
        "assert zoneinfo.TZPATH == (); c.zone('Europe/Rome'); assert any(m.startswith('tzdata') for m in sys.modules)"
    )
    assert 0 == subprocess.run([sys.executable, "-c", code], check=False).returncode
    assert () == zoneinfo.TZPATH


@pytest.mark.parametrize(
    "name", ["", "Mars/Base", "Europe", "../etc", "/etc/passwd", "europe/rome", "x" * 400, "a\0b", "zone.tab"]
)
def test_a_zone_that_isnt_one_is_refused(name: str) -> None:
    """Whatever goes wrong on the way to a zone is one ValueError."""
    with pytest.raises(ValueError, match="is not a time zone"):
        clock.zone(name)


def test_a_refused_zone_is_quoted_as_far_as_a_line_holds() -> None:
    """Eighty characters of the name, and what a name looks like."""
    with pytest.raises(ValueError, match="is not a time zone") as refused:
        clock.zone("x" * 400)
    assert f"{'x' * 80!r} is not a time zone; write an IANA name such as Europe/Rome" == str(refused.value)


def test_whether_there_is_a_zone() -> None:
    """The answer for what a customer's profile says, where a zone that doesn't exist is nobody's mistake."""
    assert (True, False) == (clock.is_zone("Europe/Rome"), clock.is_zone("Mars/Base"))


def test_a_time_of_day_is_read() -> None:
    """Hours and minutes from 00:00 to 23:59; a leading zero may be missing."""
    assert (time(21), time(9, 5), time(0), time(23, 59)) == tuple(map(clock.parse_time, ("21:00", "9:05", "00:00", "23:59")))


@pytest.mark.parametrize("text", ["24:00", "12:60", "9", "9:5", "-1:00", "", "21:00:00", "9am"])
def test_a_time_of_day_that_isnt_one_is_refused(text: str) -> None:
    """Anything else is a ValueError that quotes it."""
    with pytest.raises(ValueError, match="is not a time of day"):
        clock.parse_time(text)


@pytest.mark.parametrize(
    ("zone", "naive", "expected"),
    [
        ("Europe/Rome", "2026-03-29 01:59", "2026-03-29 00:59"),
        ("Europe/Rome", "2026-03-29 02:00", "2026-03-29 01:00"),
        ("Europe/Rome", "2026-03-29 02:30", "2026-03-29 01:00"),
        ("Europe/Rome", "2026-03-29 03:00", "2026-03-29 01:00"),
        ("Europe/Rome", "2026-10-25 02:30", "2026-10-25 00:30"),
        ("Europe/Rome", "2026-10-25 03:00", "2026-10-25 02:00"),
        ("Australia/Lord_Howe", "2026-10-04 02:15", "2026-10-03 15:30"),
        ("Africa/Cairo", "2026-04-24 00:00", "2026-04-23 22:00"),
        ("Pacific/Apia", "2011-12-30 12:00", "2011-12-30 10:00"),
        ("Antarctica/Troll", "2026-03-29 02:00", "2026-03-29 01:00"),
        ("Africa/Casablanca", "2026-02-15 02:30", "2026-02-15 01:30"),
    ],
)
def test_a_local_time_becomes_a_moment(zone: str, naive: str, expected: str) -> None:
    """Skipped: the first moment after the gap. Twice: the first. A day that a zone left out: the day after it begins."""
    moment = clock.resolve_local(datetime.fromisoformat(naive), clock.zone(zone))
    assert datetime.fromisoformat(expected).replace(tzinfo=UTC) == moment


def test_a_time_that_comes_twice_is_the_first_whichever_of_them_it_was_read_from() -> None:
    """Python's mark of the second time round changes nothing."""
    again = datetime.fromisoformat("2026-10-25 02:30").replace(fold=1)
    assert datetime(2026, 10, 25, 0, 30, tzinfo=UTC) == clock.resolve_local(again, ROME)


@given(near_a_change())
@settings(max_examples=300, deadline=None)
def test_a_local_time_is_the_first_moment_that_shows_it_or_later(at: tuple[str, datetime]) -> None:
    """Walking the minutes near any change finds the same moment."""
    zone = clock.zone(at[0])
    naive = at[1].replace(tzinfo=None, second=0, microsecond=0)
    assert first_showing(naive, zone) == clock.resolve_local(naive, zone)


@pytest.mark.parametrize(
    ("start", "duration", "expected"),
    [
        ("2026-01-31 10:00", Duration(months=1), "2026-02-28 10:00"),
        ("2026-01-31 10:00", Duration(months=3), "2026-04-30 10:00"),
        ("2024-01-31 10:00", Duration(months=1), "2024-02-29 10:00"),
        ("2024-02-29 10:00", Duration(months=12), "2025-02-28 10:00"),
        ("2026-03-31 10:00", Duration(months=-1), "2026-02-28 10:00"),
        ("2026-12-15 10:00", Duration(months=1), "2027-01-15 10:00"),
        ("2026-01-30 10:00", Duration(months=1, days=1), "2026-03-01 10:00"),
        ("2026-03-28 10:00", Duration(days=1), "2026-03-29 10:00"),
        ("2026-03-28 10:00", Duration(seconds=86_400), "2026-03-29 11:00"),
        ("2026-10-24 10:00", Duration(seconds=86_400), "2026-10-25 09:00"),
        ("2026-03-28 02:30", Duration(days=1), "2026-03-29 03:00"),
        ("2026-03-30 10:00", Duration(days=-1), "2026-03-29 10:00"),
        ("2026-03-03 10:00", Duration(days=1, seconds=3600), "2026-03-04 11:00"),
    ],
)
def test_a_duration_is_added(start: str, duration: Duration, expected: str) -> None:
    """Months and days keep the local time, a missing day is the month's last, seconds are absolute."""
    moment = clock.resolve_local(datetime.fromisoformat(start), ROME)
    assert datetime.fromisoformat(expected) == clock.add(moment, duration, ROME).astimezone(ROME).replace(tzinfo=None)


def test_seconds_are_absolute_in_the_hour_that_comes_twice() -> None:
    """Thirty minutes after the second 02:10 is the second 02:40: nothing goes through the local calendar."""
    second = datetime(2026, 10, 25, 1, 10, tzinfo=UTC)
    assert second + timedelta(minutes=30) == clock.add(second, Duration(seconds=1800), ROME)


@pytest.mark.parametrize(
    "duration", [Duration(months=12_000 * 9), Duration(days=10**7), Duration(seconds=10**12), Duration(months=-99_999)]
)
def test_a_sum_beyond_the_calendar_is_refused(duration: Duration) -> None:
    """Years before 1 and after 9999 are a ValueError, not an OverflowError."""
    with pytest.raises(ValueError, match="plus"):
        clock.add(datetime(2026, 3, 31, tzinfo=UTC), duration, ROME)


@pytest.mark.parametrize("year", [1, 9999])
def test_a_missing_day_becomes_the_last_in_the_first_and_the_last_year_too(year: int) -> None:
    """At the calendar's ends months are what they are between them."""
    january = datetime(year, 1, 31, tzinfo=UTC)
    assert datetime(year, 2, 28, tzinfo=UTC) == clock.add(january, Duration(months=1), clock.zone("UTC"))


def test_the_month_after_the_last_is_refused() -> None:
    """Also from its last day, which the next month may lack."""
    with pytest.raises(ValueError, match="plus 2 months"):
        clock.add(datetime(9999, 12, 31, tzinfo=UTC), Duration(months=2), clock.zone("UTC"))


@pytest.mark.parametrize("duration", [Duration(days=1), Duration(seconds=1)])
def test_a_sum_goes_out_in_utc(duration: Duration) -> None:
    """Whatever zone the moment came in."""
    assert clock.add(datetime(2026, 3, 3, 12, tzinfo=ROME), duration, ROME).tzinfo is UTC


def test_a_local_time_keeps_its_parts_of_a_second() -> None:
    """Only the end of a gap falls on a whole second."""
    noon = datetime.fromisoformat("2026-03-03 12:00:00.250")
    assert datetime(2026, 3, 3, 11, 0, 0, 250_000, tzinfo=UTC) == clock.resolve_local(noon, ROME)


def test_a_naive_moment_is_refused() -> None:
    """A moment without a zone never takes the system's; a local time with one is no local time."""
    with pytest.raises(ValueError, match="must be aware"):
        clock.add(datetime(2026, 3, 3), Duration(days=1), ROME)  # noqa: DTZ001 - a naive one is what is tried
    with pytest.raises(ValueError, match="is a moment already"):
        clock.resolve_local(datetime(2026, 3, 3, tzinfo=UTC), ROME)


@pytest.mark.parametrize(
    ("after", "days", "inclusive", "expected"),
    [
        ("2026-03-03 08:59", (), False, "2026-03-03 09:00"),
        ("2026-03-03 09:00", (), False, "2026-03-04 09:00"),
        ("2026-03-03 09:00", (), True, "2026-03-03 09:00"),
        ("2026-03-03 09:00", ("tue",), False, "2026-03-10 09:00"),
        ("2026-03-03 09:00", ("mon", "fri"), False, "2026-03-06 09:00"),
        ("2026-03-28 12:00", (), False, "2026-03-29 09:00"),
    ],
)
def test_the_next_time_of_day(after: str, days: tuple[str, ...], inclusive: bool, expected: str) -> None:
    """Strictly after, or at or after with `inclusive`; on the days named."""
    moment = clock.resolve_local(datetime.fromisoformat(after), ROME)
    found = clock.next_time_of_day(moment, "09:00", ROME, days, inclusive=inclusive)
    assert datetime.fromisoformat(expected) == found.astimezone(ROME).replace(tzinfo=None)


def test_a_time_of_day_that_comes_twice_comes_once() -> None:
    """After the first 02:30 of an October Sunday the next one is Monday's."""
    first = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert datetime(2026, 10, 26, 1, 30, tzinfo=UTC) == clock.next_time_of_day(first, "02:30", ROME)


def test_an_unknown_day_is_refused() -> None:
    """Days are named mon to sun; the error names the one that isn't."""
    with pytest.raises(ValueError, match="'monday' is not a day"):
        clock.next_time_of_day(datetime(2026, 3, 3, tzinfo=UTC), "09:00", ROME, ("monday",))


def test_no_day_named_is_every_day() -> None:
    """Monday is 0, Sunday 6."""
    assert ({0, 1, 2, 3, 4, 5, 6}, {0, 6}) == (clock.weekdays(()), clock.weekdays(("mon", "sun")))


@pytest.mark.parametrize("system", ["AHEAD-14", "BEHIND+12"])
def test_the_zone_of_the_machine_changes_nothing(system: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half past eleven at night on Midway and half past midnight on Kiritimati, where the machine's date is another."""
    found = []
    for setting in ("UTC", system):
        monkeypatch.setenv("TZ", setting)
        systime.tzset()
        for name, moment in (("Pacific/Midway", "2026-03-04 10:30+00:00"), ("Pacific/Kiritimati", "2026-03-03 10:30+00:00")):
            zone, now = clock.zone(name), datetime.fromisoformat(moment)
            times = (clock.next_time_of_day(now, at, zone) for at in ("23:45", "00:15"))
            windows = (clock.next_open(now, start, end, (), zone) for start, end in (("23:45", "23:40"), ("00:45", "00:40")))
            found.append((*times, *windows, clock.local_day(now, zone), clock.add(now, Duration(days=1), zone)))
    monkeypatch.undo()
    systime.tzset()
    assert found[:2] == found[2:]


def test_forty_zones_exist() -> None:
    """The awkward zones of these tests are all in the installed `tzdata`."""
    assert 40 == len({clock.zone(name).key for name in ZONES})
