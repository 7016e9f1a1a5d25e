"""Cron expressions: which local times they name, held against a reading of one minute after the other."""

from __future__ import annotations

import re
from datetime import date, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core.cron import parse_cron

TUESDAY = date(2026, 12, 1)


@pytest.mark.parametrize(
    ("text", "day", "times"),
    [
        ("0 9 * * tue", TUESDAY, ["09:00"]),
        ("0 9 * * tue", date(2026, 12, 2), []),
        ("0 9 * * 2", TUESDAY, ["09:00"]),
        ("0 9 * * 0", date(2026, 12, 6), ["09:00"]),
        ("0 9 * * 7", date(2026, 12, 6), ["09:00"]),
        ("0 9 * * mon-fri", date(2026, 12, 5), []),
        ("30 8,18 1 dec *", TUESDAY, ["08:30", "18:30"]),
        ("*/20 7 * * *", TUESDAY, ["07:00", "07:20", "07:40"]),
        ("10/25 7 * * *", TUESDAY, ["07:10", "07:35"]),
        ("0 9 13 * tue", TUESDAY, ["09:00"]),
        ("0 9 1 * wed", TUESDAY, ["09:00"]),
        ("0 9 13 * wed", TUESDAY, []),
        ("0 9 1 * *", date(2026, 12, 8), []),
        ("0 0 29 2 *", date(2028, 2, 29), ["00:00"]),
    ],
)
def test_which_times_an_expression_names(text: str, day: date, times: list[str]) -> None:
    """Names, lists, ranges and steps; Sunday is 0 and 7; two narrowed fields of days mean either."""
    assert times == [t.strftime("%H:%M") for t in parse_cron(text).times(day)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0 9 * *", "has 4"),
        ("60 9 * * *", "'60' can't be the minute: it goes from 0 to 59"),
        ("0 9 0 * *", "can't be the day of the month"),
        ("0 9 * foo *", "it goes from 1 to 12 or jan to dec"),
        ("0 17-9 * * *", "'17-9' ends before it begins"),
        ("*/0 9 * * *", "'0' can't be the minute"),
        ("0 9 * * tue,", "'' can't be the day of the week"),
        ("٣ 9 * * *", "can't be the minute"),
    ],
)
def test_what_is_no_expression_says_which_field_is_wrong(text: str, words: str) -> None:
    """The message names the field and what may stand there."""
    with pytest.raises(ValueError, match=re.escape(words)):
        parse_cron(text)


def field(least: int, most: int) -> st.SearchStrategy[str]:
    """A field of a cron expression."""
    number = st.integers(least, most)
    spread = st.tuples(number, number).map(lambda p: f"{min(p)}-{max(p)}")
    part = st.one_of(st.just("*"), number.map(str), spread)
    stepped = st.tuples(part, st.integers(1, most)).map(lambda p: f"{p[0]}/{p[1]}")
    return st.lists(st.one_of(part, stepped), min_size=1, max_size=3).map(",".join)


def names(text: str, least: int, most: int, value: int) -> bool:
    """Whether a field names `value`, read part by part."""
    for part in text.split(","):
        spread, _, step = part.partition("/")
        if spread == "*":
            low, high = least, most
        elif "-" in spread:
            low, high = map(int, spread.split("-"))
        else:
            low, high = int(spread), most if step else int(spread)
        if low <= value <= high and (value - low) % int(step or 1) == 0:
            return True
    return False


@given(field(0, 59), field(0, 23), field(1, 31), field(1, 12), field(0, 6), st.dates(date(2024, 1, 1), date(2030, 1, 1)))
def test_an_expression_names_what_its_fields_name(m: str, h: str, d: str, month: str, w: str, day: date) -> None:
    """Minute by minute of a day."""
    in_month, in_week = names(d, 1, 31, day.day), names(w, 0, 6, day.isoweekday() % 7)
    either = not d.startswith("*") and not w.startswith("*")
    fits = names(month, 1, 12, day.month) and ((in_month or in_week) if either else (in_month and in_week))
    start = datetime.combine(day, time())
    every = [(start + timedelta(minutes=n)).time() for n in range(24 * 60)]
    expected = [t for t in every if fits and names(m, 0, 59, t.minute) and names(h, 0, 23, t.hour)]
    assert expected == list(parse_cron(f"{m} {h} {d} {month} {w}").times(day))


def test_steps_from_a_day_of_the_week_go_on_until_saturday() -> None:
    """A week begins with Sunday, whatever Sunday is called."""
    assert {0, 2, 4} == parse_cron("0 9 * * 1/2").weekdays
    assert {6, 1, 3, 5} == parse_cron("0 9 * * 7/2").weekdays == parse_cron("0 9 * * 0/2").weekdays
