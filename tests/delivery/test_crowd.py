"""What is kept with a decision where very many messages of one customer wait."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from engine.core.clock import Duration
from engine.core.facts import PlannedFact
from engine.core.governance import decide
from engine.core.policy import Cap
from engine.core.queue import Line
from engine.core.recording import recall, record
from engine.delivery.facts import CROWD, whole
from tests.core.governing import DAILY, NOON, facts, message, policy

RULES = policy(caps=(Cap("weekly", 5, "rolling", Duration(days=7)), DAILY))


@pytest.mark.parametrize(("count", "size"), [(CROWD, 20_000), (CROWD + 1, 5_000), (4 * CROWD, 18_000)])
def test_a_crowd_is_kept_by_the_slots_that_it_leaves(count: int, size: int) -> None:
    """Up to a hundred one by one; beyond that only when slots are set aside. The same decision comes out again, word for word."""
    waiting = [
        PlannedFact(
            "lifecycle", "email", "offers", "care", NOON, n, NOON - timedelta(minutes=n), waiting=True, address="a@b.example"
        )
        for n in range(1, count + 1)
    ]
    known = facts(queue=Line(RULES, facts(), waiting, NOON))
    asked = message(tier="promotional", enrollment=count + 1, entered_at=NOON)
    told = decide(RULES, known, asked, NOON)
    kept = json.dumps(record(whole(RULES, known, asked, NOON), asked), separators=(",", ":"))
    again, about = recall(json.loads(kept))
    assert told == decide(RULES, again, about, NOON)
    assert ("defer", count <= CROWD, count > CROWD) == (told.decision, bool(again.planned), bool(again.aside))
    assert len(kept) < size


def test_nothing_of_a_crowd_is_kept_where_no_cap_was_asked() -> None:
    """It holds its slot already, or its tier skips caps."""
    known = facts(queue=Line(RULES, facts(), [PlannedFact("lifecycle", "email", "offers", "care", NOON, 1)], NOON))
    for asked in (message(reserved=True), message(tier="transactional")):
        found = whole(RULES, known, asked, NOON)
        assert (None, (), ()) == (found.queue, found.planned, found.aside)
