"""Whose limit a cap has: never above what policy says, whatever the customer chose, and `why` says whose it is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core.allowances import allowance, most
from engine.core.clock import Duration
from engine.core.facts import CapFact, SlotFact
from engine.core.governance import decide
from engine.core.policy import Cap, SegmentLimit
from tests.core.governing import NOON, facts, message, policy

LIMITS = (SegmentLimit("lapsing", 1), SegmentLimit("vip", 5))
POLICYS, VIPS = Cap("weekly", 3, "week", own_limit="customer.x"), Cap("weekly", 3, "week", limits=LIMITS, own_limit="customer.x")
RAISED = Cap("weekly", 3, "week", own_limit="customer.x", own_up_to=7)


@pytest.mark.parametrize(
    ("rule", "fact", "limit", "whose"),
    [
        (POLICYS, None, 3, ""),
        (POLICYS, CapFact(), 3, ""),
        (POLICYS, CapFact(own=1), 1, "the customer's own limit; policy's limit is 3"),
        (POLICYS, CapFact(own=0), 0, "the customer's own limit; policy's limit is 3"),
        (POLICYS, CapFact(own=1.9), 1, "the customer's own limit; policy's limit is 3"),
        (POLICYS, CapFact(own=3), 3, ""),
        (POLICYS, CapFact(own=9), 3, "policy's limit: the customer's own is higher"),
        (POLICYS, CapFact(own=float("inf")), 3, "policy's limit: the customer's own is higher"),
        (POLICYS, CapFact(own=float("nan")), 3, "policy's limit: the customer's own is no number of messages"),
        (POLICYS, CapFact(own=-1), 3, "policy's limit: the customer's own is no number of messages"),
        (POLICYS, CapFact(unusable=True), 3, "policy's limit: the customer's own is no number of messages"),
        (VIPS, CapFact(segment="vip"), 5, "the limit for vip"),
        (VIPS, CapFact(segment="vip", own=4), 4, "the customer's own limit; the limit for vip is 5"),
        (VIPS, CapFact(segment="vip", own=5), 5, "the limit for vip"),
        (VIPS, CapFact(segment="lapsing", own=2), 1, "the limit for lapsing: the customer's own is higher"),
        (
            VIPS,
            CapFact(segment="lapsing", unusable=True),
            1,
            "the limit for lapsing: the customer's own is no number of messages",
        ),
        (VIPS, CapFact(segment="gone"), 3, ""),
        (RAISED, CapFact(own=6), 6, "the customer's own limit; policy's limit is 3"),
        (RAISED, CapFact(own=8), 7, "the most that policy lets a customer choose: the customer's own is higher"),
    ],
)
def test_whose_limit_it_is(rule: Cap, fact: CapFact | None, limit: int, whose: str) -> None:
    """Policy's, the segment's or the customer's own, with the words for it."""
    assert (limit, whose) == allowance(rule, fact)


numbers = st.one_of(st.none(), st.integers(-5, 12), st.floats(), st.integers(10**300, 10**400))


@given(
    st.builds(
        Cap,
        st.just("a"),
        st.integers(0, 6),
        st.just("day"),
        limits=st.sampled_from([(), LIMITS]),
        own_up_to=st.one_of(st.none(), st.integers(0, 9)),
    ),
    st.builds(CapFact, st.just(True), st.sampled_from([None, "vip", "lapsing"]), numbers, st.booleans()),
)
def test_nobody_gets_more_than_policy_lets_them(rule: Cap, fact: CapFact) -> None:
    """Whatever stands in the attribute: at most the limit for that customer, or as far up as policy says; never below nothing."""
    base = next((one.limit for one in rule.limits if one.segment == fact.segment), rule.limit)
    found = allowance(rule, fact)
    assert found is not None
    assert 0 <= found.limit <= max(base, rule.own_up_to or 0) <= most(rule)
    if fact.own is not None and fact.own >= 0 and not fact.unusable:
        assert found.limit <= fact.own or found.limit == base
        assert (found.limit < base) == (fact.own < base)
    else:
        assert base == found.limit


def slots(count: int) -> tuple[SlotFact, ...]:
    """So many messages of today."""
    return tuple(SlotFact("lifecycle", "email", "offers", "care", NOON) for _ in range(count))


@pytest.mark.parametrize(
    ("rule", "fact", "sent", "answer", "words"),
    [
        (POLICYS, CapFact(own=1), 1, "defer", "weekly: 1 of 1 used in the week from 2 March (Europe/Rome) (the customer's own"),
        (POLICYS, CapFact(own=0), 0, "drop", "weekly: its limit of 0 leaves no room at all (the customer's own limit; policy's"),
        (POLICYS, CapFact(unusable=True), 1, "pass", "1 of 3 used in the week from 2 March (Europe/Rome) (policy's limit: the"),
        (
            VIPS,
            CapFact(segment="vip"),
            4,
            "pass",
            "weekly: 4 of 5 used in the week from 2 March (Europe/Rome) (the limit for vip)",
        ),
        (Cap("new", 1, "day", segments=("new", "late")), CapFact(False), 1, "pass", "new: only for new and late."),
        (Cap("new", 1, "day", segments=("new", "late")), CapFact(True), 1, "defer", "new: 1 of 1 used on 3 March (Europe/Rome);"),
        (Cap("new", 1, "day", segments=("new",)), None, 1, "defer", "new: 1 of 1 used on 3 March (Europe/Rome);"),
        (
            Cap("rolls", 2, "rolling", Duration(days=7)),
            CapFact(own=1),
            1,
            "defer",
            "rolls: 1 of 1 used within 7d (the customer's",
        ),
    ],
)
def test_the_gate_says_which_cap_what_was_used_and_whose_limit(
    rule: Cap, fact: CapFact | None, sent: int, answer: str, words: str
) -> None:
    """Decided by the customer's limit; a cap for a segment leaves the others alone, and nobody whom no one has looked at."""
    known = facts(slots=slots(sent), caps=() if fact is None else (fact,))
    found = decide(policy(caps=(rule,)), known, message(), NOON).gates[10]
    assert answer == found.answer
    assert words in found.detail
