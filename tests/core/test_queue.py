"""Who goes first: in whatever order messages are decided, the highest ones get the slots, and each of the others its own."""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from engine.core.clock import Duration
from engine.core.facts import ConsentFact, HoldFact, Message, PlannedFact, SlotFact, Verdict
from engine.core.governance import decide
from engine.core.policy import Cap, Policy, QuietHours
from engine.core.queue import Line, moments
from tests.core.governing import BELOW, DAILY, GRANTED, NIGHT, NOON, facts, message, policy, rome

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
THREE_A_DAY = Cap("daily", 3, "day", tiers=BELOW)
LONG = Cap("rolls", 2, "rolling", Duration(days=7), tiers=BELOW)


def registered(number: int, tier: str, due: datetime = NOON, **changed: Any) -> PlannedFact:
    """The send of enrollment `number`, which entered as the number says."""
    return PlannedFact(tier, "email", "offers", "care", due, number, NOON - DAY + number * HOUR / 100, **changed)


def decided(one: PlannedFact, others: list[PlannedFact], sent: list[SlotFact], rules: Policy, now: datetime = NOON) -> Verdict:
    """What the gates say of `one` while `others` are registered and `sent` have gone."""
    wanted = replace(message(tier=one.tier, planned_at=one.due), enrollment=one.enrollment, entered_at=one.entered_at)
    return decide(rules, facts(slots=tuple(sent), planned=(*others, one)), wanted, now)


def slot(one: PlannedFact | Message, at: datetime) -> SlotFact:
    """`one`, sent."""
    return SlotFact(one.tier, one.channel, one.topic, one.journey, at)


@given(st.permutations(range(8)), st.lists(st.sampled_from(BELOW), min_size=8, max_size=8), st.integers(1, 8))
@settings(max_examples=100, deadline=None)
def test_exactly_the_highest_get_through_in_whatever_order_they_are_decided(
    order: list[int], tiers: list[str], room: int
) -> None:
    """Eight at once with room for some today: tier first, then the earlier enrollment; and everybody is decided just once,
    because the first of those who wait gets the first day that is free, the next the next."""
    rules = policy(caps=(Cap("daily", room, "day", tiers=BELOW),))
    everyone = [registered(n + 1, tier) for n, tier in enumerate(tiers)]
    sent: list[SlotFact] = []
    through, waits = [], {}
    for index in order:
        one = everyone[index]
        verdict = decided(one, [p for p in everyone if p is not one], sent, rules)
        if verdict.decision == "allow":
            sent.append(slot(one, NOON))
            through.append(one.enrollment)
            everyone[index] = replace(one, tier="transactional")  # it is no longer registered: its slot stands for it
        else:
            waits[one.enrollment] = verdict.until
            everyone[index] = replace(one, waiting=True, planned_at=one.due)
    ranked = sorted(range(1, 9), key=lambda n: (BELOW.index(tiers[n - 1]), n))
    assert sorted(ranked[:room]) == sorted(through)
    assert {n: NOON + (1 + i // room) * DAY for i, n in enumerate(ranked[room:])} == waits


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (registered(1, "lifecycle", NOON + 3 * DAY), "defer"),
        (registered(1, "lifecycle", NOON + 8 * DAY), "allow"),
        (registered(1, "promotional", NOON + 3 * DAY), "allow"),
        (registered(1, "lifecycle", NOON + 3 * DAY, address=None), "allow"),
        (registered(1, "lifecycle", NOON + 3 * DAY, suppressed="hard_bounce"), "allow"),
        (registered(1, "triggered", NOON + 3 * DAY), "allow"),
        (registered(1, "triggered"), "defer"),
        (registered(3, "triggered"), "allow"),
        (registered(2, "lifecycle"), "allow"),
        (registered(1, "lifecycle", NOON, expires_at=NOON), "allow"),
    ],
)
def test_what_sets_a_slot_aside(other: PlannedFact, expected: str) -> None:
    """A higher tier that is due within the window and can be sent; of the same tier only what is due and entered earlier;
    never the message's own registration."""
    rules = policy(caps=(replace(LONG, limit=1),))
    assert expected == decided(registered(2, "triggered"), [other], [], rules).decision


@pytest.mark.parametrize(
    "known",
    [
        {"consents": (*GRANTED, ConsentFact("email", "offers", "withdrawn", NOON - DAY))},
        {"holds": (HoldFact("complaint", ("lifecycle",), NOON - DAY, NOON + DAY),)},
    ],
)
def test_what_consent_or_a_hold_keeps_back_sets_nothing_aside(known: dict[str, Any]) -> None:
    """A lower tier goes where the higher one could not."""
    rules = policy(caps=(DAILY,))
    low = replace(message(tier="promotional", topic="news"), enrollment=2)
    assert "allow" == decide(rules, facts(planned=(registered(1, "lifecycle"),), **known), low, NOON).decision


def test_why_says_that_the_slot_is_set_aside() -> None:
    """The cap's answer counts what goes first."""
    verdict = decided(registered(2, "promotional"), [registered(1, "lifecycle", NOON + HOUR)], [], policy(caps=(DAILY,)))
    assert "1 of 1 used on 3 March (Europe/Rome), 1 of them set aside for messages that go first" in verdict.gates[10].detail


def test_a_freed_slot_moves_everybody_up() -> None:
    """Worked out anew, each of those who wait gets the slot of the one before it."""
    rules = policy(caps=(DAILY,))
    waiting = [registered(n, "lifecycle", waiting=True, planned_at=NOON) for n in (3, 1, 2)]
    full = moments(rules, facts(slots=(slot(waiting[0], rome("2026-03-03 09:00")),)), waiting, NOON)
    assert [(1, NOON + DAY), (2, NOON + 2 * DAY), (3, NOON + 3 * DAY)] == [(p.enrollment, at) for p, at in full]
    free = moments(rules, facts(), waiting, NOON)
    assert [(1, NOON), (2, NOON + DAY), (3, NOON + 2 * DAY)] == [(p.enrollment, at) for p, at in free]


@given(
    st.lists(st.tuples(st.sampled_from(BELOW), st.integers(-48, 240), st.booleans(), st.integers(1, 60)), min_size=1, max_size=7),
    st.lists(st.integers(-200, 0), max_size=4),
    st.sampled_from([DAILY, LONG, THREE_A_DAY]),
)
@example([("lifecycle", -1, True, 18), ("lifecycle", -1, True, 27)], [-1, -1, -1], THREE_A_DAY)
@settings(max_examples=150, deadline=None)
def test_who_is_told_and_who_is_decided_agree(drawn: list[tuple[str, int, bool]], before: list[int], cap: Cap) -> None:
    """The moment that the whole queue gives a message that waits is the one that the gates give it."""
    everyone = [
        registered(n + 1, tier, NOON + hours * HOUR, waiting=waits, planned_at=NOON - ago * HOUR if waits else None)
        for n, (tier, hours, waits, ago) in enumerate(drawn)
    ]
    sent = [slot(message(), NOON + hours * HOUR) for hours in before]
    rules = policy(caps=(cap,))
    known = facts(slots=tuple(sent))
    for one, at in moments(rules, known, everyone, NOON):
        if not one.waiting or one.due > NOON:
            continue
        wanted = replace(message(tier=one.tier, planned_at=one.planned_at), enrollment=one.enrollment, entered_at=one.entered_at)
        verdict = decide(rules, replace(known, planned=tuple(everyone)), wanted, NOON)
        assert (at if verdict.decision == "defer" else NOON) == (verdict.until or at)


@given(
    st.lists(
        st.tuples(st.sampled_from(BELOW), st.integers(-48, 72), st.integers(1, 60), st.none() | st.integers(1, 9000)),
        min_size=1,
        max_size=5,
    ),
    st.lists(st.integers(-200, 0), max_size=3),
    st.sampled_from([DAILY, LONG, THREE_A_DAY]),
    st.sampled_from([QuietHours("21:00", "11:30"), QuietHours("12:05", "12:15"), NIGHT]),
    st.none() | st.integers(-40, 40),
    st.integers(1, 30),
)
@example([("lifecycle", -1, 30, None), ("lifecycle", -1, 30, 25)], [], THREE_A_DAY, QuietHours("21:00", "11:55"), None, 1)
@example([("lifecycle", -1, 30, None), ("lifecycle", -1, 1, None)], [], LONG, QuietHours("21:00", "11:00"), None, 1)
@settings(max_examples=150, deadline=None)
def test_who_is_told_and_who_is_decided_agree_also_where_what_waited_goes_spread(
    drawn: list[tuple[str, int, int, int | None]],
    before: list[int],
    cap: Cap,
    quiet: QuietHours,
    closes: int | None,
    customer: int,
) -> None:
    """With quiet hours, a hold and a spread of two hours, for messages that expire and such that don't."""
    everyone = [
        registered(
            n + 1,
            tier,
            NOON + hours * HOUR,
            waiting=hours <= 0,
            planned_at=NOON - ago * HOUR if hours <= 0 else None,
            expires_at=None if ends is None else NOON + ends * HOUR / 60,
        )
        for n, (tier, hours, ago, ends) in enumerate(drawn)
    ]
    hold = () if closes is None else (HoldFact("h", BELOW, NOON - 3 * DAY, NOON + 9 * DAY, NOON + min(closes, 0) * HOUR),)
    rules = policy(caps=(cap,), quiet_hours=(quiet,), jitter=Duration(seconds=7200))
    known = facts(slots=tuple(slot(message(), NOON + hours * HOUR) for hours in before), holds=hold, customer=customer)
    for one, at in moments(rules, known, everyone, NOON):
        if not one.waiting:
            continue
        wanted = replace(
            message(tier=one.tier, planned_at=one.planned_at, expires_at=one.expires_at),
            enrollment=one.enrollment,
            entered_at=one.entered_at,
        )
        verdict = decide(rules, replace(known, planned=tuple(everyone)), wanted, NOON)
        goes = verdict.earliest if verdict.decision == "defer" else NOON if verdict.decision == "allow" else None
        assert at == (None if goes is None or (one.expires_at is not None and goes >= one.expires_at) else goes)


@given(
    st.permutations(range(7)),
    st.lists(st.tuples(st.sampled_from(BELOW), st.integers(-48, 60), st.booleans(), st.booleans()), min_size=7, max_size=7),
    st.lists(st.integers(-200, 0), max_size=4),
    st.sampled_from([(DAILY,), (LONG,), (THREE_A_DAY, LONG), (DAILY, replace(LONG, tiers=("promotional",), limit=1))]),
)
@settings(max_examples=150, deadline=None)
def test_a_line_that_is_kept_up_says_what_working_it_out_anew_says(
    order: list[int], drawn: list[tuple[str, int, bool, bool]], before: list[int], caps: tuple[Cap, ...]
) -> None:
    """Message after message of one batch, in any order, and also where one leaves: the same verdicts, word for word; so does what
    it leaves set aside, alone."""
    rules = policy(caps=caps)
    known = facts(slots=tuple(slot(message(), NOON + hours * HOUR) for hours in before))
    line = {n + 1: registered(n + 1, tier, NOON + hours * HOUR, waiting=waits) for n, (tier, hours, waits, _) in enumerate(drawn)}
    kept = Line(rules, known, line.values(), NOON)
    for index in order:
        one, gone = line[index + 1], drawn[index][3]
        if one.due > NOON:
            continue
        if gone:
            assert kept.leaves(one.enrollment)
            del line[one.enrollment]
            continue
        wanted = replace(message(tier=one.tier, planned_at=one.due), enrollment=one.enrollment, entered_at=one.entered_at)
        told = dict(kept)
        verdict = decide(rules, replace(known, queue=kept), wanted, NOON)
        assert decide(rules, replace(known, queue=told, planned=tuple(line.values())), wanted, NOON) == verdict
        aside = kept.before(wanted, known, NOON).aside(wanted)
        assert decide(rules, replace(known, aside=aside), wanted, NOON) == verdict
        if verdict.decision == "defer":
            line[one.enrollment] = replace(one, waiting=True)
            kept.stays(line[one.enrollment], verdict.until)
        else:
            taken = slot(one, NOON)
            known = replace(known, slots=(*known.slots, taken))
            kept.goes(taken)
            assert kept.leaves(one.enrollment)
            del line[one.enrollment]
    assert kept.keys() == line.keys()


def steps(caps: tuple[Cap, ...], count: int) -> int:
    """How many calls it takes to work out a queue of so many, who were planned at different times of the day."""
    calls = 0

    def note(*_: object) -> None:
        nonlocal calls
        calls += 1

    waiting = [registered(n, BELOW[n % 3], NOON - n * HOUR / 300, waiting=True) for n in range(1, count + 1)]
    sys.setprofile(note)
    try:
        found = moments(policy(caps=caps, quiet_hours=(NIGHT,)), facts(), waiting, NOON)
    finally:
        sys.setprofile(None)
    assert count == len({at for _, at in found if at is not None}) or caps[0].limit > 1
    assert all(at is not None for _, at in found)
    return calls


@pytest.mark.parametrize("caps", [(DAILY,), (replace(LONG, limit=1),), (THREE_A_DAY, LONG)])
def test_a_queue_twice_as_long_takes_twice_the_work(caps: tuple[Cap, ...]) -> None:
    """Not four times: a thousand who wait must not stop a worker. And whoever stands far behind still gets a moment."""
    steps(caps, 200)  # the calendar's pages are looked up once
    assert steps(caps, 200) < 2.5 * steps(caps, 100)


def test_a_hundred_and_twenty_who_wait_each_get_a_day() -> None:
    """Also the last of them, and no two the same."""
    waiting = [registered(n, "lifecycle", waiting=True, planned_at=NOON) for n in range(1, 121)]
    found = moments(policy(caps=(DAILY,)), facts(slots=(slot(waiting[0], NOON - HOUR),)), waiting, NOON)
    assert [rome("2026-03-03 12:00").astimezone().date() + (n + 1) * DAY for n in range(120)] == [
        at.astimezone().date() for _, at in found if at is not None
    ]


@pytest.mark.parametrize("expires", [None, datetime.max.replace(tzinfo=UTC)])
def test_a_date_at_the_end_of_the_calendar_stands_in_nobodys_way(expires: datetime | None) -> None:
    """What is due in the year 9999 sets nothing aside and breaks nothing."""
    far = registered(1, "lifecycle", datetime(9999, 12, 31, 22, tzinfo=UTC), expires_at=expires)
    assert "allow" == decided(registered(2, "promotional"), [far], [], policy(caps=(LONG, DAILY))).decision


def test_the_queue_ends_where_messages_expire() -> None:
    """One that would get its slot too late takes none, and the next one gets it."""
    rules = policy(caps=(DAILY,))
    used = (slot(registered(9, "lifecycle"), NOON - HOUR),)
    waiting = [registered(1, "lifecycle", waiting=True, expires_at=NOON + HOUR), registered(2, "promotional", waiting=True)]
    assert [None, NOON + DAY] == [at for _, at in moments(rules, facts(slots=used), waiting, NOON)]
