"""What is kept of events is exact, whatever their order, and survives the store's JSON."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.authoring.kept import why_not_kept
from engine.authoring.model_tracking import Computed, EventType, Points, Tracking
from engine.authoring.types import Type
from engine.core.clock import Duration
from engine.core.wire import Json
from engine.delivery import computing
from engine.delivery.computing import Definition, brought_up, passed, reaches, read
from engine.delivery.tallies import Counted, micros, pack, sameness, score_at, tallied, unpack, value_of

NOW = datetime(2026, 3, 2, 10, tzinfo=UTC)
KINDS = ("sum", "count", "latest", "earliest", "last", "first", "median_gap_days", "most_frequent", "distinct")

VALUES = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=60)
EVENTS = st.lists(st.tuples(st.integers(0, 40 * 86_400 * 10**6), VALUES), max_size=12).map(
    lambda found: [(micros(NOW) - ago, number, pack(value)) for number, (ago, value) in enumerate(found)]
)


def attribute(kind: Any, **more: Any) -> Computed:
    """A computed attribute."""
    return Computed("x", kind, "e", Type("any"), value="event.v", **{"last": 3 if kind in ("last", "first") else 0, **more})


def stored(body: Json) -> Json:
    """As PostgreSQL gives it back."""
    return json.loads(json.dumps(body))


@given(st.sampled_from(KINDS), EVENTS, st.data())
def test_the_order_in_which_events_come_is_no_matter(kind: str, events: list[Counted], data: st.DataObject) -> None:
    """One after the other in any order, with the tally stored in between, is as much as all at once."""
    computed = attribute(kind, at_least=2, default="none")
    at_once = value_of(computed, tallied(computed, None, events))
    tally = None
    for one in data.draw(st.permutations(events)):
        tally = stored(tallied(computed, tally, [one]))
    one_by_one = value_of(computed, tally if tally is not None else tallied(computed, None, []))
    assert at_once == one_by_one


@given(
    st.lists(st.tuples(st.integers(-(30 * 365), 400), st.integers(-10_000, 10_000)), max_size=12),
    st.integers(3_600, 90 * 86_400) | st.none(),
    st.data(),
)
def test_points_fade_by_half(events: list[tuple[int, int]], seconds: int | None, data: st.DataObject) -> None:
    """In any order exactly the same; as many as the sum of what is left of each."""
    computed = attribute("score", points=(Points(1, "e"),), half_life=Duration(seconds=seconds) if seconds else None)
    scored = [(micros(NOW) - days * 86_400 * 10**6, n, points) for n, (days, points) in enumerate(events) if days >= 0]
    tally = tallied(computed, None, [])
    for one in data.draw(st.permutations(scored)):
        tally = stored(tallied(computed, tally, [one]))
    at_once = tallied(computed, None, scored)
    assert at_once == tally
    later = micros(NOW) + 86_400 * 10**6
    left = [p / 1_000 * (2.0 ** -((later - at) / 10**6 / seconds) if seconds else 1) for at, _, p in scored]
    assert math.isclose(sum(left), score_at(computed, tally, later), rel_tol=1e-9, abs_tol=1e-9)


def test_sums_are_exact() -> None:
    """Ten cents ten times are a whole; what is huge doesn't swallow what is small; whole numbers stay whole."""
    cents = [(n, n, 0.1) for n in range(10)]
    assert 1.0 == value_of(attribute("sum"), tallied(attribute("sum"), None, cents))
    mixed = [(1, 1, 1e300), (2, 2, 0.25), (3, 3, -1e300)]
    assert 0.25 == value_of(attribute("sum"), tallied(attribute("sum"), None, mixed))
    whole = value_of(attribute("sum"), tallied(attribute("sum"), None, [(1, 1, 2), (2, 2, 3)]))
    assert (5, int) == (whole, type(whole))
    assert 0.3 == value_of(attribute("sum"), tallied(attribute("sum"), None, [(1, 1, 0.1), (2, 2, 0.2), (3, 3, "x")]))


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("latest", "c"),
        ("earliest", "b"),
        ("last", ["c", "b", "a"]),
        ("first", ["b", "a", "b"]),
        ("most_frequent", "b"),
        ("distinct", 3),
        ("count", 5),
        ("median_gap_days", 2),
    ],
)
def test_each_kind(kind: str, expected: object) -> None:
    """`last` is the latest first, `first` the earliest first; events without a value count where no value is asked for."""
    day = 86_400 * 10**6
    events = [(5 * day, 3, "b"), (0, 1, "b"), (2 * day, 2, "a"), (9 * day, 5, None), (7 * day, 4, "c")]
    assert expected == value_of(attribute(kind), tallied(attribute(kind), None, events))


def test_of_values_that_come_as_often_the_latest_counts() -> None:
    """A late event changes how often, and not which came last."""
    events = [(3, 1, "a"), (2, 2, "b"), (1, 3, "b"), (0, 4, "a")]
    assert "a" == value_of(attribute("most_frequent"), tallied(attribute("most_frequent"), None, events))


@given(
    st.recursive(
        VALUES | st.datetimes(timezones=st.just(UTC)) | st.dates() | st.just(Duration(days=3)),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3) | st.just("$date"), inner, max_size=3),
        max_leaves=6,
    )
)
def test_values_survive_the_store(value: object) -> None:
    """Moments, dates and durations too, inside of lists and objects; only what JSON can't hold is lost."""
    packed = pack(value)
    again = unpack(stored(packed))
    assert packed == pack(again)
    large = re.search(r"\d{19}", repr(value))  # a whole number of more than 64 bits becomes a float
    if "\x00" not in repr(value) and "inf" not in repr(value) and "\\" not in repr(value) and not large:
        assert value == again


def test_one_is_one_and_not_true() -> None:
    """1 and 1.0 are the same value, `true` and "1" are others."""
    assert sameness(1) == sameness(1.0)
    assert 4 == len({sameness(v) for v in (1, True, "1", None)})
    assert sameness("x" * 100) != sameness("x" * 101)


@given(EVENTS, st.integers(0, 5), st.sampled_from(["UTC", "Pacific/Apia", "Pacific/Niue", "Europe/Rome"]), st.data())
def test_a_window_that_moves_is_what_is_left_of_all_events(
    events: list[Counted], months: int, zone: str, data: st.DataObject
) -> None:
    """Kept event by event while time passes, then read at any later moment, or a little before: as from all events."""
    computed = attribute("last", within=Duration(months=months, days=5))
    d = Definition(computed, "hash", "")
    state, at = None, NOW - timedelta(days=3)
    for one in data.draw(st.permutations(events)):
        at += timedelta(hours=data.draw(st.integers(0, 72)))
        state = brought_up(d, stored(state) if state else None, [one], at)
    now = at + timedelta(days=data.draw(st.integers(-1, 40)))
    if state is not None:
        assert reaches(d, state, now)
        assert computing.worked_out(computed, events, now, zone) == read(d, stored(state), now, zone)


def test_what_is_too_much_is_not_kept() -> None:
    """Beyond the limits only that is remembered; a window that has passed is kept again."""
    events = [(micros(NOW), n, "x") for n in range(computing.ENTRIES + 1)]
    d = Definition(attribute("last", within=Duration(days=30)), "hash", "")
    state = brought_up(d, None, events, NOW)
    assert ["over"] == list(state)
    assert not reaches(d, state, NOW)
    assert state is brought_up(d, state, events, NOW)
    assert (False, True) == (passed(state, NOW + timedelta(days=30)), passed(state, NOW + timedelta(days=40)))
    for kind in ("median_gap_days", "most_frequent", "distinct"):
        many = [(n, n, n) for n in range(computing.ENTRIES + 1)]
        assert {"over": None} == brought_up(Definition(attribute(kind), "hash", ""), None, many, NOW)
    long = [(1, 1, "x" * computing.STATE_BYTES)]
    assert {"over": None} == brought_up(Definition(attribute("latest"), "hash", ""), None, long, NOW)


TRACKING = Tracking(
    (
        EventType(
            "e",
            (("v", Type("string")), ("total", Type("number")), ("on", Type("date")), ("lines", Type("list", item=Type("date")))),
        ),
    )
)


@pytest.mark.parametrize(
    ("where", "value", "why"),
    [
        (None, "event.total", ""),
        ('event.v == "x" and event.total > 3', "event.occurred_at", ""),
        ("event.total > customer.limit", "event.v", "reads attributes of the customer"),
        ("event.total > 3", "customer.country", "reads attributes of the customer"),
        ("event.occurred_at > now - days(3)", "event.v", "reads `now`"),
        ('event.occurred_at | date("%H") == "10"', "event.v", "time zone"),
        ('event.on >= "2026-01-01"', "event.v", "time zone"),
        (None, "event.lines[0]", "time zone"),
        ('event.v | time == "10:00"', "event.v", "time zone"),
        (None, "event.v + days(3)", "time zone"),
        (None, "event.on", ""),
        (None, "event.v ~ event.total", ""),
    ],
)
def test_what_is_kept_is_known_from_the_expressions(where: str | None, value: str, why: str) -> None:
    """Only what the event alone decides is kept."""
    found = why_not_kept(replace(attribute("latest"), where=where, value=value), TRACKING)
    assert (why in found) if why else found == ""


def test_a_definition_is_another_when_anything_of_it_is() -> None:
    """Its hash follows the condition, the window, and the types of the event's properties."""
    one = Definition.of(attribute("sum"), TRACKING)
    assert one.hash == Definition.of(attribute("sum"), TRACKING).hash
    other = Tracking((EventType("e", (("v", Type("datetime")),)),))
    different = [
        Definition.of(attribute("sum", where="event.total > 1"), TRACKING),
        Definition.of(attribute("sum", within=Duration(days=1)), TRACKING),
        Definition.of(attribute("sum"), other),
    ]
    assert 4 == len({one.hash, *(d.hash for d in different)})


def test_dates_are_no_moments() -> None:
    """A date is read back as a date, a moment as a moment."""
    assert [date, datetime] == [type(unpack(pack(v))) for v in (date(2026, 1, 1), NOW)]
