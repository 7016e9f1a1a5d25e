"""A send that goes by several channels is one message to caps; a hold on a channel is one on that channel only."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core.caps import counts
from engine.core.facts import HoldFact, PlannedFact, SlotFact
from engine.core.governance import decide
from engine.core.policy import Cap, Policy, Tier
from engine.core.recording import recall, record
from tests.core.governing import facts, message

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
CHANNELS = ("push", "sms", "email")
DAILY = Cap("daily", 1, "day", tiers=("lifecycle",))
TEXTS = Cap("texts", 1, "day", channels=("sms",))
POLICY = Policy((Tier("lifecycle", skip=("consent",)),), caps=(DAILY, TEXTS))

chains = st.lists(st.sampled_from(CHANNELS), min_size=1, max_size=3, unique=True)
caps = st.builds(
    Cap, st.just("c"), st.just(1), st.just("day"), channels=st.lists(st.sampled_from(CHANNELS), unique=True).map(tuple)
)


def slot(channel: str, *charged: str, minutes: int = 60) -> SlotFact:
    """A slot taken some time ago."""
    return SlotFact("lifecycle", channel, "offers", "care", NOW - timedelta(minutes=minutes), charged=charged)


@given(chains, caps)
def test_a_cap_counts_each_send_once_if_it_counts_any_of_its_channels(chain: list[str], cap: Cap) -> None:
    """Whatever the order, and whichever channels the cap is about."""
    counted = [counts(cap, slot(channel, *chain[:n])) for n, channel in enumerate(chain)]
    assert int(any(not cap.channels or c in cap.channels for c in chain)) == sum(counted)


def test_what_was_counted_on_the_first_channel_needs_no_room_on_the_next() -> None:
    """The daily cap is full with this very send; the cap on texts is asked, and says no where it is full."""
    before = (slot("push"),)
    text = replace(message(channel="sms"), tier="lifecycle", planned_at=NOW, charged=("push",))
    verdict = decide(POLICY, facts(slots=before), text, NOW)
    gate = next(g for g in verdict.gates if g.gate == "cap")
    assert ("allow", "daily: counted on push already; texts: 0 of 1 used on 1 June (Europe/Rome).") == (
        verdict.decision,
        gate.detail,
    )
    full = decide(POLICY, facts(slots=(*before, slot("sms", minutes=90))), text, NOW)
    assert ("defer", "texts") == (full.decision, full.rule)
    alone = decide(POLICY, facts(slots=before), replace(text, charged=()), NOW)
    assert ("defer", "daily") == (alone.decision, alone.rule)


def test_one_that_waits_sets_aside_what_it_will_count_as() -> None:
    """Another message of the same tier, later, finds the slot of texts set aside, and the daily one only taken once."""
    waiting = PlannedFact(
        "lifecycle", "sms", "offers", "care", NOW, enrollment=1, entered_at=NOW, waiting=True, charged=("push",)
    )
    later = replace(message(channel="sms"), tier="lifecycle", planned_at=NOW, enrollment=2, entered_at=NOW + timedelta(hours=1))
    two = replace(POLICY, caps=(replace(DAILY, limit=2), TEXTS))
    verdict = decide(two, facts(slots=(slot("push"),), planned=(waiting,)), later, NOW)
    assert ("defer", "texts") == (verdict.decision, verdict.rule)
    mail = decide(two, facts(slots=(slot("push"),), planned=(waiting,)), replace(later, channel="email"), NOW)
    assert "allow" == mail.decision


@pytest.mark.parametrize(("channel", "decision"), [("email", "defer"), ("sms", "allow")])
def test_a_hold_on_a_channel_pauses_that_channel_in_its_own_words(channel: str, decision: str) -> None:
    """And is kept with the decision."""
    resting = HoldFact(
        "complaints on email", ("lifecycle",), NOW, NOW + timedelta(days=9), channels=("email",), why="email rests: 4 of 500"
    )
    one = replace(message(channel=channel), tier="lifecycle", planned_at=NOW)
    known = facts(holds=(resting,), address="")
    verdict = decide(POLICY, known, one, NOW)
    assert decision == verdict.decision
    assert ("email rests: 4 of 500. lifecycle waits on email" in verdict.detail) == (decision == "defer")
    assert (known, one) == recall(record(known, one))
