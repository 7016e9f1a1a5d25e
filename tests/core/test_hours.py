"""Days off, and the spread of what waited: where they touch quiet hours, windows, holds, caps and the end of a message."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core.clock import Duration, zone
from engine.core.facts import HoldFact, SlotFact
from engine.core.governance import decide
from engine.core.plan import Window
from engine.core.policy import Cap, DayOff, Policy, QuietHours, policy_from_json, policy_to_json
from engine.core.stretches import day_off
from engine.core.wire import share
from tests.core.governing import BELOW, DAILY, NIGHT, NOON, day_sets, facts, message, minutes_of_day, near_a_change, policy, rome

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
TICK = timedelta(microseconds=1)
HALF = Duration(seconds=1800)
LATE = next(n for n in range(1, 1000) if share("jitter", str(n)) > 0.95)
"""A customer whose part of a spread is nearly all of it."""
CHRISTMAS = DayOff("12-25", "12-26", "Christmas")


def off(*days: DayOff, start: str = "", end: str = "", **changed: Any) -> QuietHours:
    """Quiet hours with these days off."""
    return QuietHours(start, end, calendar="holidays/it.yaml", days_off=days, **changed)


def goes(rules: Policy, now: str, planned: str | None = None, customer: int = LATE, **known: Any) -> datetime | None:
    """Until when a message that is decided at `now` waits, planned then or at `planned`; the moment itself where it may go."""
    own = message(planned_at=rome(planned or now), **{k: known.pop(k) for k in ("expires_at", "window", "tier") if k in known})
    verdict = decide(rules, facts(customer=customer, **known), own, rome(now))
    return rome(now) if verdict.decision == "allow" else verdict.until


@pytest.mark.parametrize(
    ("rule", "now", "until"),
    [
        (off(DayOff("2026-12-25", "2026-12-25")), "2026-12-24 23:59", "2026-12-24 23:59"),
        (off(DayOff("2026-12-25", "2026-12-25")), "2026-12-25 00:00", "2026-12-26 00:00"),
        (off(DayOff("2026-12-25", "2026-12-25")), "2027-12-25 12:00", "2027-12-25 12:00"),
        (off(CHRISTMAS), "2031-12-25 12:00", "2031-12-27 00:00"),
        (off(CHRISTMAS, start="21:00", end="08:00"), "2026-12-24 22:00", "2026-12-27 08:00"),
        (off(CHRISTMAS, start="21:00", end="08:00"), "2026-12-26 12:00", "2026-12-27 08:00"),
        (off(CHRISTMAS, start="21:00", end="08:00", days=("mon",)), "2026-12-26 12:00", "2026-12-27 00:00"),
        (off(DayOff("12-24", "01-06")), "2026-12-30 12:00", "2027-01-07 00:00"),
        (off(DayOff("12-24", "01-06")), "2026-12-23 12:00", "2026-12-23 12:00"),
        (off(DayOff("2026-08-10", "2026-08-21")), "2026-08-10 00:00", "2026-08-22 00:00"),
        (off(DayOff("2026-03-29", "2026-03-29")), "2026-03-29 02:59", "2026-03-30 00:00"),
        (off(CHRISTMAS, channels=("sms",)), "2026-12-25 12:00", "2026-12-25 12:00"),
        (off(CHRISTMAS, tiers=("promotional",)), "2026-12-25 12:00", "2026-12-25 12:00"),
    ],
)
def test_nothing_goes_on_a_day_off(rule: QuietHours, now: str, until: str) -> None:
    """From its first local moment to its last, each year where it has none; touching quiet hours are one stretch with it."""
    assert rome(until) == goes(policy(quiet_hours=(rule,)), now)


def test_a_condition_says_for_whom_a_day_is_off() -> None:
    """Only where the flag of its rule holds."""
    rules = policy(quiet_hours=(off(CHRISTMAS), off(DayOff("07-04", "07-04"))))
    known = {"quiet": (False, True)}
    assert rome("2026-12-25 12:00") == goes(rules, "2026-12-25 12:00", **known)
    assert rome("2026-07-05 00:00") == goes(rules, "2026-07-04 12:00", **known)


def test_a_day_off_is_the_customers_own() -> None:
    """When Christmas begins in Auckland it is the morning before in Rome."""
    rules, auckland = policy(quiet_hours=(off(CHRISTMAS),)), zone("Pacific/Auckland")
    verdict = decide(rules, facts(zone="Pacific/Auckland"), message(), rome("2026-12-24 13:00"))
    assert datetime(2026, 12, 27, tzinfo=auckland) == verdict.until
    assert ("days_off holidays/it.yaml", "quiet_hours") == (verdict.rule, verdict.reason)
    assert "A day off (Christmas) until 27 December 2026 at 00:00 (Pacific/Auckland)" in verdict.detail


def test_a_day_off_that_has_begun_stays_where_the_clock_goes_back_over_midnight() -> None:
    """In St John's of 2010 the clock showed 00:00, then 23:01 of the day before again."""
    rules, there = policy(quiet_hours=(off(DayOff("2010-11-07", "2010-11-07")),)), facts(zone="America/St_Johns")
    verdict = decide(rules, there, message(), datetime(2010, 11, 7, 3, tzinfo=UTC))
    assert datetime(2010, 11, 8, 3, 30, tzinfo=UTC) == verdict.until


def test_days_off_without_end_drop() -> None:
    """A calendar of the whole year leaves no day; one whose name nobody gave goes by its file."""
    verdict = decide(policy(quiet_hours=(off(DayOff("01-01", "12-31")),)), facts(), message(), NOON)
    assert ("drop", "Dropped: A day off (holidays/it.yaml), and this never ends.") == (verdict.decision, verdict.detail)


@given(st.dates(datetime(2023, 1, 1).date(), datetime(2029, 1, 1).date()))  # noqa: DTZ001 - a date
def test_the_29th_of_february_is_off_where_there_is_one(day: Any) -> None:
    """A yearly day that a year doesn't have is off in no other place."""
    assert ((day.month, day.day) == (2, 29)) == (day_off(off(DayOff("02-29", "02-29")), day) is not None)


def test_days_off_and_jitter_are_kept_in_the_deployed_policy() -> None:
    """They come back from JSON as they were; a policy of an older version has none of them."""
    rules = policy(quiet_hours=(off(CHRISTMAS, start="21:00", end="08:00"),), jitter=HALF)
    body = policy_to_json(rules)
    assert rules == policy_from_json(body)
    del body["jitter"], body["quiet_hours"][0]["days_off"], body["quiet_hours"][0]["calendar"]
    assert policy(quiet_hours=(NIGHT,)) == policy_from_json(body)


@pytest.mark.parametrize(
    ("now", "planned", "changed", "until"),
    [
        ("2026-03-03 22:00", None, {}, "2026-03-04 08:29"),
        ("2026-03-04 08:00", "2026-03-03 22:00", {}, "2026-03-04 08:29"),
        ("2026-03-04 08:30", "2026-03-03 22:00", {}, "2026-03-04 08:30"),
        ("2026-03-04 08:00", None, {}, "2026-03-04 08:00"),
        ("2026-03-04 08:05", "2026-03-04 08:00", {}, "2026-03-04 08:05"),
        ("2026-03-04 08:10", "2026-03-04 08:05", {}, "2026-03-04 08:10"),
        ("2026-03-04 09:05", "2026-03-04 08:30", {"window": Window("09:00", "09:00")}, "2026-03-04 09:05"),
        ("2026-03-04 08:10", "2026-03-03 12:00", {}, "2026-03-04 08:29"),
        ("2026-03-03 22:00", None, {"window": Window("10:00", "10:10")}, "2026-03-04 10:09"),
        ("2026-03-03 22:00", None, {"window": Window("08:20", "12:00", ("thu",))}, "2026-03-05 08:49"),
        ("2026-03-03 22:00", None, {"expires_at": rome("2026-03-04 08:10")}, "2026-03-04 08:09"),
        ("2026-03-03 22:00", None, {"tier": "transactional"}, "2026-03-03 22:00"),
    ],
)
def test_what_waited_goes_spread(now: str, planned: str | None, changed: dict[str, Any], until: str) -> None:
    """What quiet hours or a window held goes at a moment of the customer's own after they end: inside the window and before it
    expires. What was planned in the open goes at once; so does what may go at any hour."""
    found = goes(policy(quiet_hours=(NIGHT,), jitter=HALF), now, planned, **changed)
    assert found is not None
    assert rome(until) == found.replace(second=0)


def test_everybody_has_a_moment_of_their_own() -> None:
    """A thousand who waited overnight: over all of the half hour, no minute with more than a tenth of them, each the same."""
    rules = policy(quiet_hours=(NIGHT,), jitter=HALF)
    eight = rome("2026-03-04 08:00")
    found = [goes(rules, "2026-03-03 22:00", customer=n) for n in range(1000)]
    minutes = [int(((at or eight) - eight) / timedelta(minutes=1)) for at in found]
    assert set(range(30)) == set(minutes)
    assert max(minutes.count(m) for m in range(30)) < 100
    assert found == [goes(rules, "2026-03-04 07:00", customer=n) for n in range(1000)]


def test_why_says_that_it_is_spread() -> None:
    """Before quiet hours end, and after."""
    rules, own = policy(quiet_hours=(NIGHT,), jitter=HALF), message(planned_at=rome("2026-03-03 22:00"))
    before = decide(rules, facts(customer=LATE), own, rome("2026-03-03 22:00"))
    assert "because what waited goes spread over 30m" in before.gates[9].detail
    after = decide(rules, facts(customer=LATE), own, rome("2026-03-04 08:01"))
    assert ("jitter", before.until) == (after.rule, after.until)
    assert after.gates[9].detail.startswith(
        "It waited until 4 March 2026 at 08:00 (Europe/Rome), and goes on 4 March 2026 at 08:"
    )


def test_what_a_calendar_cap_sets_free_goes_spread_from_its_planned_time_of_day() -> None:
    """Full today: tomorrow at noon and a little, not at midnight, and on that very day also where midnight is near."""
    rules = policy(caps=(DAILY,), jitter=HALF)
    sent = SlotFact("lifecycle", "email", None, "care", rome("2026-03-03 09:00"))
    until = goes(rules, "2026-03-03 12:00", slots=(sent,))
    assert until is not None
    assert rome("2026-03-04 12:28") < until < rome("2026-03-04 12:30")
    assert until == goes(rules, "2026-03-04 12:00", "2026-03-03 12:00", slots=(sent,))
    late = goes(rules, "2026-03-03 23:50", slots=(sent,))
    assert late is not None
    assert rome("2026-03-04 23:59") < late < rome("2026-03-05 00:00")


def test_what_a_hold_sets_free_goes_spread() -> None:
    """It closed in the morning: at the planned noon and a little; what has a hold's end in the night takes the night's end."""
    rules = policy(quiet_hours=(NIGHT,), jitter=HALF)
    hold = HoldFact("complaint", BELOW, NOON - DAY, NOON + 9 * DAY, rome("2026-03-05 10:00"))
    until = goes(rules, "2026-03-05 10:00", "2026-03-03 12:00", holds=(hold,))
    assert until is not None
    assert rome("2026-03-05 12:28") < until < rome("2026-03-05 12:30")
    own = message(planned_at=rome("2026-03-03 22:00"))
    verdict = decide(
        rules, facts(customer=LATE, holds=(replace(hold, closed_at=rome("2026-03-05 23:00")),)), own, rome("2026-03-05 23:00")
    )
    assert verdict.until is not None
    assert rome("2026-03-06 08:28") < verdict.until < rome("2026-03-06 08:30")


quiet_rules = st.lists(
    st.tuples(minutes_of_day, minutes_of_day, day_sets, st.booleans()).filter(lambda r: r[0] != r[1]), min_size=1, max_size=2
)


@given(
    near_a_change(),
    quiet_rules,
    st.none() | st.tuples(minutes_of_day, minutes_of_day),
    st.sampled_from([None, DAILY, Cap("rolls", 1, "rolling", Duration(days=2)), Cap("monthly", 2, "month")]),
    st.lists(st.integers(0, 6000), max_size=4),
    st.none() | st.integers(-3000, 3000),
    st.none() | st.integers(1, 4000),
    st.sampled_from([60, 1800, 7200, 30_000]),
    st.integers(1, 50),
)
@settings(max_examples=150, deadline=None)
def test_a_spread_costs_no_message_and_no_more_time_than_it_says(
    at: tuple[str, datetime],
    drawn: list[tuple[str, str, tuple[str, ...], bool]],
    window: tuple[str, str] | None,
    cap: Cap | None,
    ages: list[int],
    closes: int | None,
    lasts: int | None,
    seconds: int,
    customer: int,
) -> None:
    """Under any quiet hours, days off, window, cap and hold: what goes without a spread goes with it too, later by less than its
    length, at the very moment that it was told first, and whatever it is asked on the way it is told the same."""
    day = DayOff(*[(at[1] + DAY).date().isoformat()] * 2)
    rules = policy(
        quiet_hours=tuple(off(*([day] if is_off else []), start=a, end=b, days=days) for a, b, days, is_off in drawn),
        caps=() if cap is None else (cap,),
    )
    minute = timedelta(minutes=1)
    hold = () if closes is None else (HoldFact("h", BELOW, at[1] - 3 * DAY, at[1] + 9 * DAY, at[1] + closes * minute),)
    slots = tuple(SlotFact(BELOW[m % 3], "email", "offers", "care", at[1] - m * minute) for m in ages)
    known = facts(zone=at[0], customer=customer, slots=slots, holds=hold)
    own = message(
        planned_at=at[1],
        window=None if window is None else Window(*window),
        expires_at=None if lasts is None else at[1] + lasts * minute,
    )
    spread = replace(rules, jitter=Duration(seconds=seconds))
    plain, told = decide(rules, known, own, at[1]), decide(spread, known, own, at[1])
    assert plain.decision == told.decision
    if told.earliest is None or plain.earliest is None:
        assert told.earliest == plain.earliest
        return
    assert plain.earliest <= told.earliest < plain.earliest + timedelta(seconds=seconds)
    if told.decision != "defer" or told.until != told.earliest:
        return
    assert "allow" == decide(spread, known, own, told.earliest).decision
    for part in (0.1, 0.5, 0.9, 0.999):
        moment = at[1] + part * (told.earliest - at[1])
        assert (told.earliest, "defer") == (
            decide(spread, known, own, moment).earliest,
            decide(spread, known, own, moment).decision,
        )
    if told.earliest > plain.earliest:
        assert told.earliest == decide(spread, known, own, plain.earliest).earliest
        assert told.earliest == decide(spread, known, own, told.earliest - TICK).earliest
