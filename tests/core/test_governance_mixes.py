"""Caps in any mix of tier, channel, topic, journey and tag, with gaps and limits of the customer's own: none is ever exceeded,
and who gets through doesn't depend on the order in which messages are decided."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core import clock
from engine.core.clock import Duration
from engine.core.facts import CapFact, Message, PlannedFact, SlotFact, Verdict
from engine.core.governance import decide
from engine.core.policy import Cap, Policy, SegmentLimit, Tier
from engine.core.queue import moments
from tests.core.governing import NOON, facts, message, near_a_change, policy

HOUR = timedelta(hours=1)
TICK = timedelta(microseconds=1)
FOUR = Cap("breather", 1, "rolling", Duration(seconds=4 * 3600), gap=True)
DISCOUNTS = Cap("discounts", 1, "rolling", Duration(days=30), tags=("discount", "voucher"))


def slot(one: Message | PlannedFact, at: datetime) -> SlotFact:
    """`one`, sent."""
    return SlotFact(one.tier, one.channel, one.topic, one.journey, at, one.tags)


@pytest.mark.parametrize(
    ("cap", "sent", "changed", "expected"),
    [
        (DISCOUNTS, {"tags": ("discount",)}, {"tags": ("discount",)}, "defer"),
        (DISCOUNTS, {"tags": ("news", "voucher")}, {"tags": ("discount", "news")}, "defer"),
        (DISCOUNTS, {"tags": ("news",)}, {"tags": ("discount",)}, "pass"),
        (DISCOUNTS, {"tags": ("discount",)}, {"tags": ("news",)}, "pass"),
        (DISCOUNTS, {}, {"tags": ("discount",)}, "pass"),
        (DISCOUNTS, {"tags": ("discount",), "tier": "service"}, {"tags": ("discount",)}, "defer"),
        (DISCOUNTS, {"tags": ("discount",)}, {"tags": ("discount",), "tier": "service"}, "skip"),
        (DISCOUNTS, {"tags": ("discount",), "tier": "transactional"}, {"tags": ("discount",)}, "pass"),
        (DISCOUNTS, {"tags": ("discount",)}, {"tags": ("discount",), "tier": "free"}, "defer"),
        (DISCOUNTS, {"tags": ("discount",), "tier": "free"}, {"tags": ("discount",)}, "pass"),
        (replace(DISCOUNTS, channels=("sms",)), {"tags": ("discount",)}, {"tags": ("discount",), "channel": "sms"}, "pass"),
        (FOUR, {}, {}, "defer"),
        (FOUR, {"tier": "service"}, {}, "defer"),
        (FOUR, {}, {"tier": "service"}, "skip"),
        (FOUR, {"tier": "transactional"}, {}, "pass"),
        (FOUR, {}, {"tier": "free"}, "defer"),
        (FOUR, {"tier": "free"}, {}, "pass"),
        (replace(FOUR, topics=("news",)), {"topic": "news"}, {"topic": "offers"}, "pass"),
        (replace(FOUR, topics=("news",)), {"topic": "news"}, {"topic": "news"}, "defer"),
    ],
)
def test_tags_and_gaps_count_by_the_two_switches(cap: Cap, sent: dict[str, Any], changed: dict[str, Any], expected: str) -> None:
    """Any of the tags is enough. A tier that skips caps passes and is counted; one that is uncounted (`free`) waits and isn't."""
    rules = policy(caps=(cap,), tiers=(*policy().tiers, Tier("free")), uncounted=("transactional", "free"))
    known = facts(slots=(slot(message(**sent), NOON - HOUR),))
    assert expected == decide(rules, known, message(**changed), NOON).gates[10].answer


def test_a_gap_ends_to_the_microsecond_and_says_what_is_in_the_way() -> None:
    """Four hours after the last message, and four hours after one of a higher tier that is due in three."""
    rules, known = policy(caps=(FOUR,)), facts(slots=(slot(message(), NOON - HOUR),))
    verdict = decide(rules, known, message(), NOON)
    assert ("breather", NOON + 3 * HOUR) == (verdict.rule, verdict.until)
    words = "breather: 4h between two messages, another one is nearer; room from 3 March 2026 at 15:00 (Europe/Rome)."
    assert words == verdict.gates[10].detail
    assert "defer" == decide(rules, known, message(), NOON + 3 * HOUR - TICK).decision
    free = decide(rules, known, message(), NOON + 3 * HOUR)
    assert ("allow", "breather: 4h between two messages, none is nearer.") == (free.decision, free.gates[10].detail)
    ahead = PlannedFact("lifecycle", "email", "offers", "care", NOON + 3 * HOUR)
    low = decide(rules, facts(planned=(ahead,)), message(tier="promotional"), NOON)
    assert NOON + 7 * HOUR == low.until
    assert "breather: 4h between two messages, one that goes first is nearer; room" in low.gates[10].detail


def test_a_slot_is_set_aside_for_what_carries_the_tag_only() -> None:
    """A cap on a tag looks at the tags of what is registered, too."""
    ahead = PlannedFact("lifecycle", "email", "offers", "care", NOON + HOUR, tags=("voucher",))
    rules = policy(caps=(DISCOUNTS,))
    low = message(tier="promotional", tags=("discount",))
    assert "defer" == decide(rules, facts(planned=(ahead,)), low, NOON).decision
    assert "allow" == decide(rules, facts(planned=(replace(ahead, tags=("news",)),)), low, NOON).decision
    assert "allow" == decide(rules, facts(planned=(ahead,)), replace(low, tags=("news",)), NOON).decision


def test_the_queue_of_a_cap_on_a_tag_holds_what_carries_it() -> None:
    """Of three in one tier the second waits for the first one's tag, and the third, without it, for nobody."""
    one = PlannedFact("lifecycle", "email", "offers", "care", NOON, 1, NOON - HOUR, tags=("discount",))
    waiting = [one, replace(one, enrollment=2), replace(one, enrollment=3, tags=("news",))]
    found = moments(policy(caps=(DISCOUNTS,)), facts(), waiting, NOON)
    assert [(1, NOON), (2, NOON + timedelta(days=30)), (3, NOON)] == [(p.enrollment, at) for p, at in found]


TIERS, CHANNELS, TOPICS = ("lifecycle", "triggered", "promotional"), ("email", "sms"), ("offers", "news")
JOURNEYS, TAGS = ("care", "cart"), ("discount", "survey")


def some(values: tuple[str, ...]) -> st.SearchStrategy[tuple[str, ...]]:
    """A filter: most often none, else one or more of `values`."""
    return st.one_of(st.just(()), st.lists(st.sampled_from(values), min_size=1, max_size=2, unique=True).map(tuple))


Windows = st.SearchStrategy[tuple[str, Duration | None]]
calendar: Windows = st.sampled_from([("day", None), ("week", None), ("month", None)])
rolls: Windows = st.sampled_from(
    [("rolling", length) for length in (Duration(seconds=3600), Duration(days=1), Duration(days=3, seconds=60))]
)


@st.composite
def mixed_caps(draw: st.DrawFn, windows: Windows = calendar | rolls) -> Cap:
    """A cap or a gap of any mix, over one of these windows."""
    per, rolling = draw(windows)
    cap = Cap(
        name=f"c{draw(st.integers(0, 10**9))}",
        limit=draw(st.integers(1, 3)),
        per=per,  # type: ignore[arg-type]  # one of the four
        rolling=rolling,
        tiers=draw(some(TIERS)),
        channels=draw(some(CHANNELS)),
        topics=draw(some(TOPICS)),
        journeys=draw(some(JOURNEYS)),
        tags=draw(some(TAGS)),
        segments=draw(st.sampled_from([(), ("vip",)])),
        limits=draw(st.sampled_from([(), (SegmentLimit("vip", 2),)])),
        own_up_to=draw(st.sampled_from([None, 4])),
    )
    gap = per == "rolling" and draw(st.booleans())
    return replace(cap, limit=1, limits=(), own_up_to=None, gap=True) if gap else cap


def cap_facts(cap: Cap, vip: bool, own: int | None) -> CapFact:
    """What `cap` is to a customer who is a VIP or not, and chose a limit of their own or not."""
    return CapFact(not cap.segments or vip, "vip" if vip and cap.limits else None, None if cap.gap else own)


@dataclass(frozen=True)
class Wanted:
    """A message somebody wants to send, `minute` minutes from the beginning."""

    minute: int
    tier: str
    channel: str
    topic: str
    journey: str
    tags: tuple[str, ...]

    def message(self, at: datetime) -> Message:
        """What the gates see."""
        fields = {"tier": self.tier, "channel": self.channel, "topic": self.topic, "journey": self.journey, "tags": self.tags}
        return message(planned_at=at, **fields)


wants = st.builds(
    Wanted,
    st.integers(-6_000, 6_000),
    st.sampled_from(TIERS),
    st.sampled_from(CHANNELS),
    st.sampled_from(TOPICS),
    st.sampled_from(JOURNEYS),
    st.lists(st.sampled_from(TAGS), max_size=2, unique=True).map(tuple),
)


def fullest(cap: Cap, sent: list[tuple[datetime, Wanted]], zone: clock.ZoneInfo) -> int:
    """The most messages that `cap` counts in any one of its windows."""
    ats = [
        at
        for at, one in sent
        if all(not f or v in f for f, v in ((cap.tiers, one.tier), (cap.channels, one.channel), (cap.topics, one.topic)))
        and (not cap.journeys or one.journey in cap.journeys)
        and (not cap.tags or set(cap.tags) & set(one.tags))
    ]
    if cap.rolling is not None:
        length = timedelta(days=cap.rolling.days, seconds=cap.rolling.seconds)
        return max((sum(first <= at < first + length for at in ats) for first in ats), default=0)
    form = {"day": "%Y-%m-%d", "week": "%G-%V", "month": "%Y-%m"}[cap.per]
    names = [at.astimezone(zone).strftime(form) for at in ats]
    return max((names.count(name) for name in names), default=0)


@given(
    near_a_change(),
    st.lists(mixed_caps(), min_size=1, max_size=4),
    st.lists(wants, min_size=1, max_size=14),
    st.booleans(),
    st.sampled_from([None, None, 1, 2, 9]),
)
@settings(max_examples=200, deadline=None)
def test_no_cap_of_any_mix_is_ever_exceeded(
    at: tuple[str, datetime], rules: list[Cap], wanted: list[Wanted], vip: bool, own: int | None
) -> None:
    """Decided in any order, even against the clock, and sent again when deferred."""
    sent: list[tuple[datetime, Wanted]] = []
    told = tuple(cap_facts(cap, vip, own) for cap in rules)
    for one in wanted:
        now = at[1] + timedelta(minutes=one.minute)
        for _ in range(3):
            known = facts(zone=at[0], slots=tuple(slot(w.message(s), s) for s, w in sent), caps=told)
            verdict = decide(policy(caps=tuple(rules)), known, one.message(now), now)
            if verdict.decision == "allow":
                sent.append((now, one))
                break
            assert verdict.until is not None
            assert verdict.until > now
            now = verdict.until
    zone = clock.zone(at[0])
    assert sent
    for cap in rules:
        limit = 2 if vip and cap.limits else cap.limit
        if own is not None and not cap.gap:
            limit = min(own, max(limit, cap.own_up_to or 0))
        if not cap.segments or vip:
            assert fullest(cap, sent, zone) <= limit


@given(
    st.permutations(range(7)),
    st.lists(wants, min_size=7, max_size=7),
    st.sampled_from([calendar, rolls]).flatmap(lambda windows: st.lists(mixed_caps(windows), min_size=1, max_size=3)),
    st.booleans(),
    st.lists(st.tuples(st.integers(1, 4000), wants), max_size=3),
)
@settings(max_examples=150, deadline=None)
def test_who_gets_through_does_not_depend_on_who_is_decided_first(
    order: list[int], wanted: list[Wanted], rules: list[Cap], vip: bool, before: list[tuple[int, Wanted]]
) -> None:
    """Seven at once under any mix of caps that roll, or of caps of the calendar: each goes, or is told the same time."""
    known = policy(caps=tuple(rules))
    told = tuple(cap_facts(cap, vip, None) for cap in rules)
    slots = tuple(slot(one.message(NOON), NOON - timedelta(minutes=ago)) for ago, one in before)
    assert outcome(sorted(order, key=lambda n: (TIERS.index(wanted[n].tier), n)), wanted, known, told, slots) == outcome(
        order, wanted, known, told, slots
    )


def outcome(
    order: list[int], wanted: list[Wanted], rules: Policy, told: tuple[CapFact, ...], slots: tuple[SlotFact, ...]
) -> list[tuple[str, datetime | None]]:
    """Verdict and time of each message, decided in `order` at noon while all that haven't gone are registered."""
    everyone: dict[int, PlannedFact] = {}
    for n, one in enumerate(wanted):
        due = PlannedFact(one.tier, one.channel, one.topic, one.journey, NOON, n + 1, NOON - HOUR + n * TICK, tags=one.tags)
        everyone[n] = due
    said: dict[int, Verdict] = {}
    for n in order:
        one = everyone[n]
        asked = replace(wanted[n].message(NOON), enrollment=one.enrollment, entered_at=one.entered_at)
        known = facts(slots=slots, planned=tuple(everyone.values()), caps=told)
        said[n] = decide(rules, known, asked, NOON)
        if said[n].decision == "allow":
            slots = (*slots, slot(asked, NOON))
            del everyone[n]
        else:
            everyone[n] = replace(one, waiting=True, planned_at=NOON)
    return [(said[n].decision, said[n].until) for n in sorted(said)]
