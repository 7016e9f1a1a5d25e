"""Caps and quiet hours against brute force: no window exceeds its limit, no message goes in the night or later than needed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core import clock
from engine.core.clock import Duration
from engine.core.facts import PlannedFact, SlotFact
from engine.core.governance import decide
from engine.core.policy import Cap, QuietHours
from tests.core.governing import BELOW, DAILY, NOON, WEEKLY, facts, message, minutes_of_day, near_a_change, policy, rome, utc

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
TICK = timedelta(microseconds=1)


def slot(at: datetime, tier: str = "lifecycle", channel: str = "email", topic: str | None = "offers") -> SlotFact:
    """A message that was sent."""
    return SlotFact(tier, channel, topic, "care", at)


@pytest.mark.parametrize(
    ("cap", "sent", "changed", "expected"),
    [
        (DAILY, slot(NOON), {}, "defer"),
        (DAILY, slot(NOON), {"tier": "service"}, "skip"),
        (DAILY, slot(NOON, tier="service"), {}, "pass"),
        (DAILY, slot(NOON), {"reserved": True}, "pass"),
        (DAILY, slot(rome("2026-03-03 00:00") - TICK), {"planned_at": NOON - DAY}, "pass"),
        (DAILY, slot(rome("2026-03-03 00:00")), {}, "defer"),
        (Cap("any", 1, "day"), slot(NOON, tier="transactional"), {}, "pass"),
        (Cap("texts", 1, "day", channels=("sms",)), slot(NOON), {"channel": "sms"}, "pass"),
        (Cap("texts", 1, "day", channels=("sms",)), slot(NOON, channel="sms"), {}, "pass"),
        (Cap("texts", 1, "day", channels=("sms",)), slot(NOON, channel="sms"), {"channel": "sms"}, "defer"),
        (Cap("offers", 1, "day", topics=("offers",)), slot(NOON, topic=None), {}, "pass"),
        (Cap("offers", 1, "day", topics=("offers",)), slot(NOON), {"topic": "news"}, "pass"),
        (Cap("care", 1, "week", journeys=("care",)), slot(NOON - DAY), {}, "defer"),
        (Cap("care", 1, "month", journeys=("other",)), slot(NOON - DAY), {}, "pass"),
        (Cap("none", 0, "day"), slot(NOON), {}, "drop"),
        (Cap("hours", 1, "rolling", Duration(seconds=3600)), slot(NOON - HOUR), {}, "pass"),
        (Cap("hours", 1, "rolling", Duration(seconds=3600)), slot(NOON - HOUR + TICK), {}, "defer"),
    ],
)
def test_what_a_cap_counts_and_whom_it_concerns(cap: Cap, sent: SlotFact, changed: dict[str, Any], expected: str) -> None:
    """Filters narrow both the slots counted and the messages capped; uncounted tiers use nothing up; a reservation passes."""
    verdict = decide(policy(caps=(cap,)), facts(slots=(sent,)), message(**changed), NOON)
    assert expected == verdict.gates[10].answer


@pytest.mark.parametrize(
    ("cap", "expected"),
    [
        (DAILY, "2026-03-04 12:00"),
        (Cap("week", 1, "week"), "2026-03-09 12:00"),
        (Cap("month", 1, "month"), "2026-04-01 12:00"),
        (Cap("rolls", 1, "rolling", Duration(days=30)), "2026-04-02 10:00"),
        (Cap("rolls", 1, "rolling", Duration(months=1)), "2026-04-03 10:00"),
    ],
)
def test_what_a_cap_frees(cap: Cap, expected: str) -> None:
    """The calendar frees at the planned local time of day; what rolls at its exact moment, an absolute time after the slot."""
    verdict = decide(policy(caps=(cap,)), facts(slots=(slot(rome("2026-03-03 09:00")),)), message(), NOON)
    assert ("defer", rome(expected), False) == (verdict.decision, verdict.until, verdict.gates[10].certain)


def test_a_day_that_begins_is_no_reason_to_send_at_midnight() -> None:
    """Told to try again at 00:05, a message that the daily cap held still waits for noon; at noon it goes."""
    rules, known = policy(caps=(DAILY,)), facts(slots=(slot(rome("2026-03-03 09:00")),))
    verdict = decide(rules, known, message(), rome("2026-03-04 00:05"))
    assert ("defer", "daily", rome("2026-03-04 12:00")) == (verdict.decision, verdict.rule, verdict.until)
    assert "allow" == decide(rules, known, message(), rome("2026-03-04 12:00")).decision


def test_the_slot_that_must_leave_is_not_always_the_oldest() -> None:
    """With five slots under a limit of three, room comes when the third of them leaves."""
    slots = tuple(slot(NOON - n * DAY) for n in range(5))
    verdict = decide(policy(caps=(WEEKLY,)), facts(slots=slots), message(), NOON + HOUR)
    assert NOON + 5 * DAY == verdict.until


def planned(due: datetime, tier: str = "lifecycle") -> PlannedFact:
    """A send that time alone will reach."""
    return PlannedFact(tier, "email", "offers", "care", due)


@pytest.mark.parametrize(
    ("cap", "ahead", "tier", "expected"),
    [
        (DAILY, planned(NOON + 4 * HOUR), "promotional", "defer"),
        (DAILY, planned(NOON + 4 * HOUR), "lifecycle", "allow"),
        (DAILY, planned(NOON + 4 * HOUR, "promotional"), "lifecycle", "allow"),
        (DAILY, planned(NOON + 13 * HOUR), "promotional", "allow"),
        (Cap("rolls", 1, "rolling", Duration(days=2)), planned(NOON + 2 * DAY - TICK), "promotional", "defer"),
        (Cap("rolls", 1, "rolling", Duration(days=2)), planned(NOON + 2 * DAY), "promotional", "allow"),
        (Cap("any", 1, "day"), planned(NOON + HOUR, "transactional"), "promotional", "allow"),
    ],
)
def test_a_slot_is_set_aside_for_strictly_higher_tiers(cap: Cap, ahead: PlannedFact, tier: str, expected: str) -> None:
    """What is due inside the window counts as used, for lower tiers only, and not where its tier is uncounted."""
    verdict = decide(policy(caps=(cap,)), facts(planned=(ahead,)), message(tier=tier), NOON)
    assert (expected, expected == "allow") == (verdict.decision, verdict.gates[10].certain)


lengths = st.sampled_from([Duration(seconds=3600), Duration(days=1), Duration(days=7), Duration(days=2, seconds=60)])
caps = st.one_of(
    st.builds(Cap, st.just("rolls"), st.integers(1, 4), st.just("rolling"), lengths),
    st.builds(Cap, st.just("calendar"), st.integers(1, 4), st.sampled_from(["day", "week", "month"])),
)


def fullest(cap: Cap, sent: list[datetime], zone: clock.ZoneInfo) -> int:
    """The most messages in any window of `cap`, counted from each message on."""
    if cap.rolling is not None:
        length = timedelta(days=cap.rolling.days, seconds=cap.rolling.seconds)
        return max(sum(first <= at < first + length for at in sent) for first in sent)
    form = {"day": "%Y-%m-%d", "week": "%G-%V", "month": "%Y-%m"}[cap.per]
    names = [at.astimezone(zone).strftime(form) for at in sent]
    return max(names.count(name) for name in names)


@given(near_a_change(), st.lists(caps, min_size=1, max_size=3), st.lists(st.integers(-10_000, 10_000), min_size=1, max_size=14))
@settings(max_examples=150, deadline=None)
def test_no_window_ever_exceeds_its_limit(at: tuple[str, datetime], rules: list[Cap], minutes: list[int]) -> None:
    """Decided in any order, even against the clock, and sent again when deferred: each window holds at most its limit."""
    sent: list[datetime] = []
    for minute in minutes:
        now = at[1] + timedelta(minutes=minute)
        for _ in range(3):
            known = facts(zone=at[0], slots=tuple(slot(s) for s in sent))
            verdict = decide(policy(caps=tuple(rules)), known, message(planned_at=now), now)
            if verdict.decision == "allow":
                sent.append(now)
                break
            assert verdict.until is not None
            assert verdict.until > now
            now = verdict.until
    zone = clock.zone(at[0])
    assert sent
    assert all(fullest(cap, sent, zone) <= cap.limit for cap in rules)


@given(lengths, st.integers(1, 3), st.lists(st.integers(0, 20_000), min_size=1, max_size=9))
@settings(max_examples=150, deadline=None)
def test_a_rolling_cap_frees_not_a_tick_too_late(length: Duration, limit: int, ages: list[int]) -> None:
    """At `until` it passes, one microsecond before it doesn't."""
    rules = policy(caps=(Cap("rolls", limit, "rolling", length),))
    known = facts(slots=tuple(slot(NOON - timedelta(minutes=m)) for m in ages))
    verdict = decide(rules, known, message(), NOON)
    used = sum(timedelta(minutes=m) < timedelta(days=length.days, seconds=length.seconds) for m in ages)
    assert ("allow" if used < limit else "defer") == verdict.decision
    if verdict.until is not None:
        assert "allow" == decide(rules, known, message(), verdict.until).decision
        assert "defer" == decide(rules, known, message(), verdict.until - TICK).decision


@pytest.mark.parametrize(
    ("sent", "now", "until"),
    [
        (["2027-01-28 12:00"], "2027-02-28 11:00", "2027-02-28 12:00"),
        (["2027-01-29 02:00"], "2027-02-28 12:00", "2027-03-01 00:00"),
        (["2027-01-28 16:00", "2027-01-30 00:00", "2027-02-03 11:00"], "2027-02-28 12:00", "2027-02-28 16:00"),
        (["2027-01-30 15:00", "2027-01-31 12:00"], "2027-02-28 13:00", "2027-03-01 00:00"),
        (["2027-03-31 12:00"], "2027-04-30 12:00", "2027-05-01 00:00"),
    ],
)
def test_a_slot_of_a_day_that_the_next_month_lacks_stays_to_its_end(sent: list[str], now: str, until: str) -> None:
    """Where a month rolls, what was sent on the 29th of January counts until February is over, never less than the 28th's."""
    rules = policy(caps=(Cap("rolls", len(sent), "rolling", Duration(months=1)),))
    verdict = decide(rules, facts(slots=tuple(slot(utc(at)) for at in sent)), message(planned_at=utc(now)), utc(now))
    assert ("defer", utc(until)) == (verdict.decision, verdict.until)


HOURS = [utc("2027-01-25 00:00") + n * HOUR for n in range(40 * 24)]
MONTHS = [(at, clock.add(at, Duration(months=1), clock.zone("UTC"))) for at in HOURS]
"""The month from each hour on."""


@given(st.integers(1, 3), st.lists(st.integers(3 * 24, 8 * 24) | st.integers(33 * 24, 36 * 24), min_size=1, max_size=10))
@settings(max_examples=150, deadline=None)
def test_no_month_that_rolls_exceeds_its_limit(limit: int, hours: list[int]) -> None:
    """Around the end of February, decided in any order: each month, from any hour on, holds at most its limit."""
    rules = policy(caps=(Cap("rolls", limit, "rolling", Duration(months=1)),))
    sent: list[datetime] = []
    for hour in hours:
        now = HOURS[hour]
        verdict = decide(rules, facts(slots=tuple(slot(s) for s in sent)), message(planned_at=now), now)
        sent.append(now if verdict.decision == "allow" else verdict.until or now)
    assert all(sum(begins <= at < ends for at in sent) <= limit for begins, ends in MONTHS)


@given(near_a_change(), minutes_of_day, minutes_of_day, minutes_of_day, minutes_of_day)
@settings(max_examples=200, deadline=None)
def test_quiet_hours_end_where_the_last_of_them_ends(at: tuple[str, datetime], a: str, b: str, c: str, d: str) -> None:
    """Deferred over two rules on days of change: at `until` neither holds, and at no minute before was there a gap."""
    rules = policy(quiet_hours=(QuietHours(a, b), QuietHours(c, d)))
    verdict = decide(rules, facts(zone=at[0]), message(planned_at=at[1]), at[1])
    zone = clock.zone(at[0])

    def quiet(moment: datetime) -> bool:
        return any(clock.in_window(moment, r.start, r.end, (), zone) for r in rules.quiet_hours)

    assert (verdict.decision != "allow") == quiet(at[1])
    if verdict.until is not None:
        assert "allow" == decide(rules, facts(zone=at[0]), message(planned_at=at[1]), verdict.until).decision
        assert not quiet(verdict.until)
        minutes = int((verdict.until - at[1]) / timedelta(minutes=1))
        near = [*range(min(minutes, 90)), *range(max(minutes - 90, 0), minutes), *range(0, minutes, 17)]
        assert all(quiet(at[1] + timedelta(minutes=m)) for m in near)


@given(near_a_change(), caps, minutes_of_day, minutes_of_day, st.lists(st.integers(0, 20_000), max_size=8))
@settings(max_examples=200, deadline=None)
def test_a_deferred_message_goes_when_it_was_told_to(
    at: tuple[str, datetime], cap: Cap, start: str, end: str, ages: list[int]
) -> None:
    """With a cap, quiet hours and any history: decided again at `until`, it is allowed."""
    rules = policy(caps=(cap,), quiet_hours=(QuietHours(start, end),))
    known = facts(zone=at[0], slots=tuple(slot(at[1] - timedelta(minutes=m), BELOW[m % 3]) for m in ages))
    verdict = decide(rules, known, message(planned_at=at[1]), at[1])
    if start == end:
        assert ("drop", "quiet_hours") == (verdict.decision, verdict.reason)
    elif verdict.decision == "defer":
        assert verdict.until is not None
        assert verdict.until == verdict.earliest
        assert verdict.until.tzinfo is UTC
        assert "allow" == decide(rules, known, message(planned_at=at[1]), verdict.until).decision
    else:
        assert "allow" == verdict.decision
