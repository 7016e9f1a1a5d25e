"""Limits on journeys as rules: what is never exceeded, who goes for whom, and who goes first."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from graphlib import CycleError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core import clock
from engine.core.limits import Admission, Present, admit, covers, in_order
from engine.core.policy import JourneyLimit
from tests.core.governing import NOON, policy

ROME = clock.zone("Europe/Rome")
NAMES = ("a", "b", "c", "d")
ONE = JourneyLimit("one", ("a", "b", "c"), at_once=1)


def inside(*journeys: str) -> list[Present]:
    """Enrollments numbered from 1, each a minute after the one before."""
    return [Present(i, j, NOON + timedelta(minutes=i)) for i, j in enumerate(journeys, 1)]


def moving(at_once: int = 1, *journeys: str) -> JourneyLimit:
    """A limit where higher journeys displace."""
    return JourneyLimit("moving", journeys or ("a", "b", "c"), at_once=at_once, displaces=True)


@pytest.mark.parametrize(
    ("limit", "there", "journey", "expected"),
    [
        (ONE, (), "b", ()),
        (ONE, ("d",), "b", ()),
        (ONE, ("a",), "d", ()),
        (ONE, ("c",), "a", "one"),
        (ONE, ("b",), "b", "one"),
        (JourneyLimit("all", (), at_once=2), ("a",), "d", ()),
        (JourneyLimit("all", (), at_once=2), ("a", "x"), "d", "all"),
        (moving(), ("b",), "a", (1,)),
        (moving(), ("a",), "b", "moving"),
        (moving(), ("b",), "b", "moving"),
        (moving(2), ("b", "c"), "a", (2,)),
        (moving(2), ("c", "b"), "a", (1,)),
        (moving(3), ("b", "c", "c"), "a", (3,)),
        (moving(2), ("a", "b", "c"), "b", "moving"),
        (moving(2), ("a", "c", "c"), "b", (2, 3)),
        (moving(1), ("c", "c", "c"), "a", (1, 2, 3)),
    ],
)
def test_who_is_let_in_and_who_goes_for_them(
    limit: JourneyLimit, there: tuple[str, ...], journey: str, expected: str | tuple[int, ...]
) -> None:
    """A full limit bars, or the lowest below go, the latest of equals first: exactly as many as are too many, or none."""
    found = admit([limit], journey, inside(*there), [], NOON, ROME)
    assert expected == (found.rule or found.leaving)


def test_who_leaves_for_one_limit_makes_room_in_another_and_nobody_leaves_for_nothing() -> None:
    """Whatever the order of limits: a barring one counts those who go as gone; where it bars all the same they stay."""
    bar = JourneyLimit("bar", ("b", "c"), at_once=1)
    limits = [bar, moving(1, "b", "c")]
    assert (
        Admission((1,))
        == admit(limits, "b", inside("c"), [], NOON, ROME)
        == admit(limits[::-1], "b", inside("c"), [], NOON, ROME)
    )
    full = JourneyLimit("full", (), at_once=2)
    for limits in ([full, moving()], [moving(), full]):
        found = admit(limits, "a", inside("b", "d", "d"), [], NOON, ROME)
        assert ((), "full") == (found.leaving, found.rule)


def test_sentences_name_the_limit_and_who_is_where() -> None:
    """For `why`: what is allowed, and what there was."""
    assert "the limit one allows 1 at a time of a, b and c, and they were in c (number 1)." == (
        admit([ONE], "a", inside("c"), [], NOON, ROME).detail
    )
    many = JourneyLimit("many", (), at_once=4)
    assert admit([many], "a", inside("a", "b", "c", "d"), [], NOON, ROME).detail.endswith(
        "of all journeys, and they were in a (number 1), b (number 2), c (number 3) and 1 more."
    )
    calm = JourneyLimit("calm", ("a",), entries=1, per="day")
    assert "the limit calm allows 1 entry a day into a, and 1 had been made on 3 March (Europe/Rome)." == (
        admit([calm], "a", [], [("a", NOON)], NOON, ROME).detail
    )


def test_a_day_is_the_customers() -> None:
    """23:30 and 00:30 in Rome are two days, though one in UTC; other journeys' entries don't count."""
    calm = JourneyLimit("calm", ("a", "b"), entries=2, per="day")
    late, early = datetime(2026, 3, 3, 22, 30, tzinfo=UTC), datetime(2026, 3, 3, 23, 30, tzinfo=UTC)
    before = [("a", late), ("b", late), ("c", late)]
    assert "calm" == admit([calm], "a", [], before, late, ROME).rule
    assert Admission() == admit([calm], "a", [], before, early, ROME)
    assert "calm" == admit([calm], "a", [], before, early, clock.zone("UTC")).rule
    assert Admission() == admit([calm], "c", [], before, late, ROME)


limits = st.builds(
    JourneyLimit,
    st.sampled_from(["one", "two"]),
    st.permutations(NAMES).flatmap(lambda p: st.integers(0, 4).map(lambda n: tuple(p[:n]))),
    at_once=st.none() | st.integers(1, 3),
    entries=st.none() | st.integers(1, 3),
    per=st.sampled_from(["day", "week", "month"]),
    displaces=st.booleans(),
)
entries = st.tuples(st.sampled_from(NAMES), st.integers(0, 40), st.booleans())


@given(st.lists(limits, max_size=3), st.lists(entries, max_size=25))
def test_no_limit_is_ever_exceeded(rules: list[JourneyLimit], wanted: list[tuple[str, int, bool]]) -> None:
    """Whoever wants in, in whatever order of time, and whoever leaves between: no limit holds more than it allows; nobody goes
    for somebody who isn't higher in a limit that covers both; who is refused, is refused by a limit that has no room."""
    there: list[Present] = []
    entered: list[tuple[str, datetime]] = []
    for number, (journey, hours, first_leaves) in enumerate(wanted):
        if first_leaves:
            there = there[1:]
        at = NOON + timedelta(hours=hours)
        found = admit(rules, journey, there, entered, at, ROME)
        gone = [p for p in there if p.enrollment in found.leaving]
        for p in gone:
            both = [r for r in rules if r.displaces and {p.journey, journey} <= set(r.journeys)]
            assert any(r.journeys.index(journey) < r.journeys.index(p.journey) for r in both)
        if found.rule:
            assert () == found.leaving
            assert any(r.name == found.rule and covers(r, journey) for r in rules)
            continue
        there = [*(p for p in there if p not in gone), Present(number, journey, at)]
        entered.append((journey, at))
        for rule in rules:
            assert rule.at_once is None or sum(covers(rule, p.journey) for p in there) <= rule.at_once
            start, end = clock.calendar_window(at, rule.per, ROME)
            made = [1 for name, when in entered if covers(rule, name) and start <= when < end]
            assert rule.entries is None or not covers(rule, journey) or len(made) <= rule.entries


def test_higher_journeys_enter_first() -> None:
    """By the order of limits, also by way of journeys that this event doesn't open; else by tier, then by name."""
    rules = policy(limits=(JourneyLimit("x", ("z", "m"), at_once=1), JourneyLimit("y", ("m", "a"), at_once=2)))
    assert ["z", "a"] == in_order(rules, [("a", "lifecycle"), ("z", "promotional")])
    assert ["c", "a", "b"] == in_order(policy(), [("a", "lifecycle"), ("b", "lifecycle"), ("c", "service")])
    counted = policy(limits=(JourneyLimit("x", ("b", "a"), entries=1),))
    assert ["a", "b"] == in_order(counted, [("a", "lifecycle"), ("b", "lifecycle")])
    with pytest.raises(CycleError):
        in_order(policy(limits=(moving(1, "a", "b"), moving(1, "b", "a"))), [("a", "lifecycle"), ("b", "lifecycle")])
