"""Windows over midnight and over changes of daylight saving time, against a walk through the minutes."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Literal

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from engine.core import clock
from tests.core.governing import day_sets, first_showing, minutes_of_day, near_a_change, rome

ROME = clock.zone("Europe/Rome")
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("moment", "inside"),
    [
        ("2026-03-03 20:59", False),
        ("2026-03-03 21:00", True),
        ("2026-03-04 00:00", True),
        ("2026-03-04 07:59", True),
        ("2026-03-04 08:00", False),
    ],
)
def test_a_window_passes_midnight(moment: str, inside: bool) -> None:
    """21:00 to 08:00 includes its first minute and not its last."""
    assert inside == clock.in_window(rome(moment), "21:00", "08:00", (), ROME)


def test_days_are_those_on_which_a_window_starts() -> None:
    """Friday's night lasts into Saturday morning; Saturday's own begins only at 21:00."""
    nights = ("21:00", "08:00", ("fri",), ROME)
    assert (True, False, True) == (
        clock.in_window(rome("2026-03-06 22:00"), *nights),
        clock.in_window(rome("2026-03-07 22:00"), *nights),
        clock.in_window(rome("2026-03-07 07:00"), *nights),
    )


@pytest.mark.parametrize(
    ("evening", "length"), [("2026-03-28 21:00", timedelta(hours=10)), ("2026-10-24 21:00", timedelta(hours=12))]
)
def test_a_night_is_shorter_in_march_and_longer_in_october(evening: str, length: timedelta) -> None:
    """21:00 to 08:00 takes 10 hours where a clock goes forward and 12 where it goes back."""
    assert length == (clock.window_end(rome(evening), "21:00", "08:00", (), ROME) or rome(evening)) - rome(evening)


def test_a_window_that_never_ends_and_one_that_never_opens() -> None:
    """A whole day every day has no end; a window inside the hour that is skipped doesn't open that day."""
    assert clock.window_end(rome("2026-03-03 12:00"), "09:00", "09:00", (), ROME) is None
    assert rome("2026-03-30 02:10") == clock.next_open(rome("2026-03-29 00:00"), "02:10", "02:50", (), ROME)


def test_at_its_end_a_window_is_over() -> None:
    """The next one is the next evening's; one that is open already is open now, and both are told in UTC."""
    night = ("21:00", "08:00", (), ROME)
    assert rome("2026-03-03 21:00") == clock.next_open(rome("2026-03-03 08:00"), *night)
    opened = clock.next_open(rome("2026-03-03 07:59").astimezone(ROME), *night)
    assert rome("2026-03-03 07:59") == opened
    assert opened is not None
    assert opened.tzinfo is UTC


def test_the_next_nine_days_are_looked_through() -> None:
    """The last Sunday in March skips this window; the one after it is nine days from a Friday and ten from a Thursday."""
    skipped = ("02:10", "02:50", ("sun",), ROME)
    assert rome("2026-04-05 02:10") == clock.next_open(rome("2026-03-27 12:00"), *skipped)
    assert clock.next_open(rome("2026-03-26 12:00"), *skipped) is None


def test_a_window_of_yesterday_is_looked_for_on_the_local_calendar() -> None:
    """In Los Angeles, where it is still the day before by UTC, the window that began the evening before is open."""
    pacific = clock.zone("America/Los_Angeles")
    moment = datetime(2026, 7, 2, 0, 30, tzinfo=UTC)
    assert moment == clock.next_open(moment, "18:00", "17:45", (), pacific)


def test_windows_from_two_days_before_to_one_after() -> None:
    """Each is there from its first moment to the one that ends it; the days are counted in local time."""
    nights = tuple((rome(f"2026-03-0{day} 21:00"), rome(f"2026-03-0{day + 1} 08:00")) for day in (1, 2, 3, 4))
    for around in ("2026-03-03 00:30", "2026-03-03 12:00", "2026-03-03 23:59"):
        assert nights == clock.spans(rome(around), "21:00", "08:00", (), ROME)
    assert nights[2:3] == clock.spans(rome("2026-03-03 12:00"), "21:00", "08:00", ("tue",), ROME)


def test_a_whole_day_on_one_weekday_ends() -> None:
    """Equal times mean from one day to the next."""
    assert rome("2026-03-02 00:00") == clock.window_end(rome("2026-03-01 12:00"), "00:00", "00:00", ("sun",), ROME)


def test_the_end_of_a_window_one_isnt_in_is_refused() -> None:
    """Asking for it is a mistake of the caller."""
    with pytest.raises(ValueError, match="outside the window"):
        clock.window_end(rome("2026-03-03 12:00"), "21:00", "08:00", (), ROME)


def oracle(moment: datetime, start: str, end: str, days: tuple[str, ...], zone: clock.ZoneInfo) -> bool:
    """Whether a window is open, from the first moments that show its start and end."""
    opens, closes = time.fromisoformat(start), time.fromisoformat(end)
    for back in range(-1, 4):
        day = moment.astimezone(zone).date() - DAY * back
        if not days or clock.WEEKDAYS[day.weekday()] in days:
            last = day if opens < closes else day + DAY
            began = first_showing(datetime.combine(day, opens), zone)
            if began <= moment < first_showing(datetime.combine(last, closes), zone):
                return True
    return False


@given(near_a_change(), minutes_of_day, minutes_of_day, day_sets)
@settings(max_examples=150, deadline=None)
def test_windows_agree_with_a_walk(at: tuple[str, datetime], start: str, end: str, days: tuple[str, ...]) -> None:
    """Open or closed, its end and its next opening: each is where a walk near the moment finds it, in any zone."""
    zone, moment = clock.zone(at[0]), at[1]
    inside = oracle(moment, start, end, days, zone)
    assert inside == clock.in_window(moment, start, end, days, zone)
    turn = clock.window_end(moment, start, end, days, zone) if inside else clock.next_open(moment, start, end, days, zone)
    assume(turn is not None and turn > moment)
    assert turn is not None
    assert (inside, not inside) == (oracle(turn - MINUTE, start, end, days, zone), oracle(turn, start, end, days, zone))
    assert not any(inside != oracle(moment + (turn - moment) * n / 7, start, end, days, zone) for n in range(7))


@given(near_a_change(), minutes_of_day, day_sets, st.booleans())
@settings(max_examples=150, deadline=None)
def test_a_next_time_of_day_is_the_earliest(at: tuple[str, datetime], text: str, days: tuple[str, ...], inclusive: bool) -> None:
    """No earlier day shows the time after the moment."""
    zone, moment = clock.zone(at[0]), at[1]
    of_day = time.fromisoformat(text)
    dates = [moment.astimezone(zone).date() + DAY * n for n in range(-3, 11)]
    all_of_them = [
        first_showing(datetime.combine(d, of_day), zone) for d in dates if not days or clock.WEEKDAYS[d.weekday()] in days
    ]
    expected = min(m for m in all_of_them if m > moment or (inclusive and m == moment))
    assert expected == clock.next_time_of_day(moment, text, zone, days, inclusive=inclusive)


@pytest.mark.parametrize(
    ("per", "expected"),
    [
        ("day", ("2026-03-29 00:00", "2026-03-30 00:00")),
        ("week", ("2026-03-23 00:00", "2026-03-30 00:00")),
        ("month", ("2026-03-01 00:00", "2026-04-01 00:00")),
    ],
)
def test_calendar_windows(per: Literal["day", "week", "month"], expected: tuple[str, str]) -> None:
    """A day, a week from Monday and a month, in local time; the Sunday in March has 23 hours."""
    assert (rome(expected[0]), rome(expected[1])) == clock.calendar_window(rome("2026-03-29 12:00"), per, ROME)


def test_a_day_that_begins_in_a_gap_begins_after_it() -> None:
    """In Cairo the last Friday of April begins at 01:00."""
    cairo = clock.zone("Africa/Cairo")
    start, end = clock.calendar_window(datetime(2026, 4, 24, 10, tzinfo=UTC), "day", cairo)
    assert (datetime(2026, 4, 23, 22, tzinfo=UTC), timedelta(hours=23)) == (start, end - start)


def test_an_hour_that_comes_again_from_yesterday_belongs_to_today() -> None:
    """In St John's of 2010 the clock showed 00:00, then 23:01 of the day before again: the new day had begun."""
    zone = clock.zone("America/St_Johns")
    start, _ = clock.calendar_window(datetime(2010, 11, 7, 3, 0, tzinfo=UTC), "day", zone)
    assert first_showing(datetime(2010, 11, 7), zone) == start  # noqa: DTZ001 - a local time
    assert date(2010, 11, 7) == clock.local_day(datetime(2010, 11, 7, 3, 0, tzinfo=UTC), zone)


def test_a_day_is_the_local_one() -> None:
    """Half past midnight in Rome is still the day before by UTC."""
    assert date(2026, 3, 3) == clock.local_day(rome("2026-03-03 00:30"), ROME)


def test_an_unknown_calendar_window_is_refused() -> None:
    """There are days, weeks and months."""
    with pytest.raises(ValueError, match="'year' is not a calendar window"):
        clock.calendar_window(rome("2026-03-03 12:00"), "year", ROME)  # type: ignore[arg-type] # the wrong word is what is tried


@given(near_a_change(), st.sampled_from(["day", "week", "month"]))
@settings(max_examples=300, deadline=None)
def test_calendar_windows_leave_no_gap(at: tuple[str, datetime], per: Literal["day", "week", "month"]) -> None:
    """A window holds its moment, begins where the day's first moment is, and the next one begins where it ends."""
    zone, moment = clock.zone(at[0]), at[1]
    start, end = clock.calendar_window(moment, per, zone)
    assert start <= moment < end
    assert (end, start) == (clock.calendar_window(end, per, zone)[0], clock.calendar_window(start, per, zone)[0])
    assert start == clock.calendar_window(end - timedelta(microseconds=1), per, zone)[0]
