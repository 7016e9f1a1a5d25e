"""Schedules and anniversaries over zones, changes of clocks, leap days and people who travel."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from itertools import islice
from zoneinfo import available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core.clock import Duration, local, parse_duration, resolve_local, zone
from engine.core.occasions import (
    Anniversary,
    Occasion,
    Schedule,
    coming_up,
    in_year,
    moved,
    occurrences,
    told_date,
    told_schedule,
    upcoming,
)
from tests.core.zones import offsets
from tests.harness import utc

DAY = timedelta(days=1)
ZONES = sorted(available_timezones() - {"Factory", "localtime"})
zones = st.sampled_from(ZONES)
times = st.times().map(lambda t: t.strftime("%H:%M"))


def named(schedule: Schedule, since: datetime, until: datetime) -> list[str]:
    return [name for name, _ in occurrences(schedule, since, until)]


# Schedules


def test_a_skipped_time_is_the_first_moment_after_the_gap_and_one_that_comes_twice_is_once() -> None:
    """Rome, 29 March and 25 October 2026: half past two is skipped, then comes twice."""
    rome = Schedule("Europe/Rome", at="02:30")
    assert [("2026-03-29T02:30", utc("2026-03-29 01:00"))] == occurrences(rome, utc("2026-03-28 12:00"), utc("2026-03-29 12:00"))
    assert [("2026-10-25T02:30", utc("2026-10-25 00:30"))] == occurrences(rome, utc("2026-10-24 12:00"), utc("2026-10-25 12:00"))
    often = Schedule("Europe/Rome", cron="*/30 2 * * *")
    assert ["2026-10-25T02:00", "2026-10-25T02:30"] == named(often, utc("2026-10-24 12:00"), utc("2026-10-25 12:00"))


def test_local_time_begins_where_the_day_begins_and_ends_where_it_ends() -> None:
    """Nine o'clock for each customer lasts 26 hours."""
    everywhere = Schedule("customer", at="09:00", days=("tue",))
    tuesday = datetime.fromisoformat("2026-12-01T09:00")
    assert (utc("2026-11-30 19:00"), utc("2026-12-01 21:00")) == (everywhere.first(tuesday), everywhere.last(tuesday))
    assert ["2026-12-01T09:00"] == named(everywhere, utc("2026-11-30 18:00"), utc("2026-11-30 19:00"))
    assert [] == named(everywhere, utc("2026-11-30 18:00"), utc("2026-11-30 18:59"))
    assert ["2026-12-01T09:00"] == named(everywhere, utc("2026-12-01 20:59"), utc("2026-12-02 20:00"))
    assert [] == named(everywhere, utc("2026-12-01 21:00"), utc("2026-12-02 20:00"))


def test_a_single_one_comes_once() -> None:
    """Also seen from far away."""
    once = Schedule("Europe/Rome", once="2026-12-01T09:00")
    assert [("2026-12-01T09:00", utc("2026-12-01 08:00"))] == occurrences(once, utc("2026-01-01 00:00"), utc("2027-01-01 00:00"))
    assert [] == occurrences(once, utc("2026-12-01 08:00"), utc("2027-01-01 00:00"))


def test_those_to_come_come_each_once_and_in_order_however_far_ahead() -> None:
    """From one that is under way somewhere; a single one once, from however far; and behind one that is named."""
    first = Schedule("customer", cron="0 9 1 * *")
    found = [name for name, _ in islice(coming_up(first, utc("2026-03-01 20:00")), 4)]
    assert ["2026-03-01T09:00", "2026-04-01T09:00", "2026-05-01T09:00", "2026-06-01T09:00"] == found
    assert ("2026-05-01T09:00", utc("2026-04-30 19:00")) == next(coming_up(first, utc("2026-03-01 20:00"), found[1]))
    once = Schedule("Europe/Rome", once="2029-12-01T09:00")
    assert [("2029-12-01T09:00", utc("2029-12-01 08:00"))] == list(coming_up(once, utc("2026-01-01 00:00")))
    assert [] == list(coming_up(once, utc("2029-12-01 08:00")))


@given(zones, times, st.dates(date(2020, 2, 1), date(2029, 11, 1)), st.integers(1, 40))
def test_every_day_has_one_occurrence_in_every_zone(name: str, at: str, day: date, days: int) -> None:
    """At the first moment at which the clock there shows the time or a later one, whatever happens to the clock."""
    schedule = Schedule(name, at=at)
    since = schedule.first(datetime.combine(day, time.fromisoformat(at)))
    last = datetime.combine(day + days * DAY, time.fromisoformat(at))
    found = occurrences(schedule, since, schedule.first(last))
    wanted = [datetime.combine(day + n * DAY, time.fromisoformat(at)) for n in range(1, days + 1)]
    expected = [(w.isoformat(timespec="minutes"), offsets(name).first_showing(w)) for w in wanted]
    # A day that a zone left out altogether has the moment of the day after it.
    assert [e for e in expected if e[1] > since] == found


@given(zones, st.datetimes(datetime.fromisoformat("2020-02-01"), datetime.fromisoformat("2029-11-01")))
def test_whose_local_time_it_is_lies_between_the_first_and_the_last(name: str, naive: datetime) -> None:
    """Nobody's clock shows it before the occurrence begins, or after it is over."""
    naive = naive.replace(second=0, microsecond=0)
    everywhere = Schedule("customer", once=naive.isoformat(timespec="minutes"))
    mine = everywhere.due(naive, zone(name))
    assert resolve_local(naive, zone(name)) == mine
    assert everywhere.first(naive) <= mine <= everywhere.last(naive) + DAY  # a day's slack where a zone left out a day


# Anniversaries


@pytest.mark.parametrize(
    ("value", "year", "day"),
    [("1996-02-29", 2026, "2026-02-28"), ("1996-02-29", 2028, "2028-02-29"), ("1996-03-01", 2026, "2026-03-01")],
)
def test_the_29th_of_february_is_the_28th_in_other_years(value: str, year: int, day: str) -> None:
    """And itself in leap years; 2100 isn't one."""
    assert date.fromisoformat(day) == in_year(date.fromisoformat(value), year)
    assert date(2100, 2, 28) == in_year(date(1996, 2, 29), 2100)


BIRTHDAY = Anniversary("birthday", "09:00", every="year")
ROME = zone("Europe/Rome")


@pytest.mark.parametrize(
    ("rule", "value", "now", "expected"),
    [
        (BIRTHDAY, "1990-05-03", "2026-05-03 06:59", ("2026", "2026-05-03 07:00")),
        (BIRTHDAY, "1990-05-03", "2026-05-03 07:00", ("2027", "2027-05-03 07:00")),
        (Anniversary("b", every="year", on_past="enter"), "1990-05-03", "2026-05-03 08:00", ("2026", "2026-05-03 07:00")),
        (Anniversary("b", every="year", on_past="enter"), "1990-05-03", "2026-05-03 22:00", ("2027", "2027-05-03 07:00")),
        (
            Anniversary("b", "09:00", parse_duration("-3d"), "year"),
            "1990-01-02",
            "2026-12-29 12:00",
            ("2027", "2026-12-30 08:00"),
        ),
        (Anniversary("b", "09:00", parse_duration("-90d")), "2026-09-01", "2026-05-01 12:00", ("2026-09-01", "2026-06-03 07:00")),
        (Anniversary("b", "09:00", parse_duration("-90d")), "2026-09-01", "2026-07-01 12:00", None),
        (
            Anniversary("b", "09:00", parse_duration("-90d"), on_past="enter"),
            "2026-09-01",
            "2026-07-01 12:00",
            ("2026-09-01", "2026-06-03 07:00"),
        ),
        (Anniversary("b", "09:00", parse_duration("-90d"), on_past="enter"), "2026-09-01", "2026-09-02 12:00", None),
        (BIRTHDAY, "2030-05-03", "2026-01-01 12:00", ("2030", "2030-05-03 07:00")),
        (
            Anniversary("b", "02:30", parse_duration("-1d"), "year"),
            "1990-03-30",
            "2026-01-01 12:00",
            ("2026", "2026-03-29 01:00"),
        ),
    ],
)
def test_the_next_occasion(rule: Anniversary, value: str, now: str, expected: tuple[str, str] | None) -> None:
    """The year names it; a moment that is over is left out unless `on_past` says otherwise and the day isn't over."""
    found = upcoming(rule, date.fromisoformat(value), utc(now), ROME)
    assert (None if expected is None else Occasion(expected[0], utc(expected[1]))) == found


def test_the_last_year_of_the_calendar_is_the_end() -> None:
    """No anniversary lies beyond it."""
    assert upcoming(BIRTHDAY, date(1990, 5, 3), datetime(9999, 6, 1, tzinfo=UTC), ROME) is None


@given(
    value=st.dates(date(1930, 1, 1), date(2019, 12, 31))
    | st.sampled_from([date(1996, 2, 29), date(2000, 2, 29), date(2000, 2, 28)]),
    at=times,
    offset=st.none()
    | st.integers(-40, 40).map(lambda n: Duration(days=n))
    | st.sampled_from([Duration(seconds=-5400), Duration(months=-1)]),
    start=st.datetimes(datetime.fromisoformat("2020-02-01"), datetime.fromisoformat("2021-02-01"), timezones=st.just(UTC)),
    home=zones,
    travels=st.lists(st.tuples(st.integers(1, 8 * 365 * 24 * 60), zones), max_size=8),
    on_past=st.sampled_from(["enter", "skip"]),
)
def test_once_a_year_whatever_the_clock_and_wherever_they_go(
    value: date,
    at: str,
    offset: Duration | None,
    start: datetime,
    home: str,
    travels: list[tuple[int, str]],
    on_past: str,
) -> None:
    """Over eight years and as many moves to other zones each year has its day exactly once, at its local time or, where that
    was over on arrival, at once."""
    rule = Anniversary("birthday", at, offset, "year", on_past)  # type: ignore[arg-type]  # one of the two
    moves = sorted((start + timedelta(minutes=minutes), name) for minutes, name in travels)
    now, here = start, home
    planned = upcoming(rule, value, now, zone(here))
    fired: list[tuple[str, datetime, str, datetime]] = []
    since = start
    while planned is not None and (planned.due < start + 8 * 365 * DAY or moves):
        if moves and moves[0][0] < max(planned.due, now):
            now, here = moves.pop(0)
            since = now
            planned = moved(rule, value, planned, zone(here))
            continue
        now = max(planned.due, now)
        fired.append((planned.name, now, here, since))
        planned = upcoming(rule, value, now, zone(here), after=planned.name)
    years = [int(name) for name, *_ in fired]
    assert list(range(years[0], years[0] + len(years))) == years
    assert len(years) >= 7
    for name, when, where, arrived in fired:
        own = rule.moment(in_year(value, int(name)), zone(where))
        assert when == own or (own < when and when in (arrived, start))
    assert planned is None or planned.name == f"{years[-1] + 1:04}"


@given(zones, st.datetimes(datetime.fromisoformat("2021-01-01"), datetime.fromisoformat("2028-01-01"), timezones=st.just(UTC)))
def test_leap_people_have_their_day_in_february(name: str, now: datetime) -> None:
    """On the 29th where there is one, else on the 28th, at nine by their own clock or just after a gap."""
    found = upcoming(BIRTHDAY, date(2000, 2, 29), now, zone(name))
    assert found is not None
    shown = local(found.due, zone(name))
    leap = shown.year % 4 == 0
    assert (2, 29 if leap else 28, 9) == (shown.month, shown.day, shown.hour)


def test_words() -> None:
    """As `graph` and `why` say them."""
    assert "tue, thu at 09:00, local time" == told_schedule(Schedule("customer", at="09:00", days=("tue", "thu")))
    assert "2026-12-01 09:00, Europe/Rome" == told_schedule(Schedule("Europe/Rome", once="2026-12-01T09:00"))
    assert "3d before customer.birthday at 09:00, every year" == told_date(
        Anniversary("birthday", offset=Duration(days=-3), every="year")
    )
