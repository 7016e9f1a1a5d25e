"""Dates, times, numbers and money in the languages of the world."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.authoring.formats import date_text, money, number_text, time_text
from engine.authoring.locales import fallbacks, known

DAY = date(2026, 3, 2)
MOMENT = datetime(2026, 3, 2, 23, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (date_text(DAY, "UTC"), "02 March 2026"),
        (date_text(DAY, "UTC", "long"), "March 2, 2026"),
        (date_text(DAY, "UTC", locale="it"), "2 marzo 2026"),
        (date_text(DAY, "UTC", "full", locale="de"), "Montag, 2. März 2026"),
        (date_text(DAY, "UTC", "%A %-d %B, %a %b", locale="it"), "lunedì 2 marzo, lun mar"),
        (date_text(MOMENT, "Europe/Rome", "short", locale="en-GB"), "03/03/2026"),
        (date_text("nonsense", "UTC", locale="it"), None),
        (time_text(MOMENT, "Europe/Rome"), "00:05"),
        (time_text(MOMENT, "Europe/Rome", locale="it"), "00:05"),
        (time_text(MOMENT, "America/New_York", locale="en-US"), "6:05\xa0PM"),
        (time_text(MOMENT, "UTC", "%I:%M %p", locale="en"), "11:05 PM"),
        (time_text(MOMENT, "UTC", "%I:%M %p", locale="it"), "11:05 PM"),
        (time_text(MOMENT, "UTC", "%p", locale="ja"), "午後"),
        (money(1e28, "UTC", "€", 0, locale="it"), "10" + 9 * ".000" + "\xa0€"),
        (money(1234.5, "UTC", "€"), "€1,234.50"),
        (money(1234.5, "UTC", "EUR"), "1,234.50 EUR"),
        (money(1234567.5, "UTC", "EUR", locale="it"), "1.234.567,50\xa0€"),
        (money(-1234567.5, "UTC", "EUR", locale="fr"), "-1\xa0234\xa0567,50\xa0€"),
        (money("12", "UTC", "¥", 0, locale="ja"), "¥12"),
        (money(12, "UTC", locale="de"), "12,00"),
        (number_text(1234567, "UTC"), "1,234,567"),
        (number_text(1234.5, "UTC"), "1,234.5"),
        (number_text(1234.5, "UTC", 2), "1,234.50"),
        (number_text(1234567.5, "UTC", locale="it"), "1.234.567,5"),
        (number_text(0.5, "UTC", 2, locale="it"), "0,50"),
        (number_text("x", "UTC", locale="it"), None),
    ],
)
def test_as_people_write_it(made: object, expected: object) -> None:
    """English without a locale, else as the CLDR has it."""
    assert expected == made


@given(
    st.none() | st.booleans() | st.floats() | st.integers(-(2**70), 2**70) | st.text(max_size=20) | st.datetimes() | st.dates(),
    st.sampled_from(["", "it", "ar", "hi-IN", "zh-Hant", "fa", "xx", "nonsense"]) | st.text(max_size=12),
    st.none() | st.integers(-9, 9) | st.sampled_from(["short", "full", "%B %p %A %j", ""]),
)
def test_whatever_comes_gives_a_text_or_nothing(value: object, locale: str, how: object) -> None:
    """No value, locale or format raises anything that a filter doesn't catch."""
    for made in (date_text, time_text, number_text):
        assert isinstance(_tried(lambda made=made: made(value, "Europe/Rome", how, locale=locale)), str | None)
    assert isinstance(_tried(lambda: money(value, "UTC", "EUR", how, locale=locale)), str | None)


def _tried(make: object) -> object:
    try:
        return make()  # type: ignore[operator]  # a function without arguments
    except (TypeError, ValueError, ArithmeticError):
        return None  # as `closures` has it


@given(st.text(max_size=40))
def test_a_locale_is_one_or_none(tag: str) -> None:
    """Whatever a customer's attribute holds: fallbacks are proper tags, the nearest first, and Babel is asked for no other."""
    found = fallbacks(tag)
    assert list(found) == sorted(found, key=len, reverse=True)
    assert all(fallbacks(one)[0] == one for one in found)
    assert found or known(tag) is None
