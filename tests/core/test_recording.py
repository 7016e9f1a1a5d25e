"""What a decision looked at survives its recording: `decide` says the same again, and no address is kept."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings

from engine.core import recording
from engine.core.facts import ConsentFact, Facts, HoldFact, Message, SlotFact
from engine.core.governance import decide
from engine.core.policy import Policy
from engine.core.recording import recall, record
from tests.core.cases import cases
from tests.core.governing import NOON, facts, message


def stored(body: Any) -> Any:
    """As PostgreSQL gives it back."""
    return json.loads(json.dumps(body))


@settings(max_examples=200)
@given(cases())
def test_a_recorded_decision_comes_out_again(case: tuple[Policy, Facts, Message, datetime]) -> None:
    """Verdict, gates, rules, moments and words are the same; what is recorded twice is the same."""
    policy, known, asked, now = case
    kept = stored(record(known, asked))
    known_again, asked_again = recall(kept)
    assert decide(policy, known, asked, now) == decide(policy, known_again, asked_again, now)
    assert asked == asked_again
    assert kept == stored(record(known_again, asked_again))


@given(cases())
def test_a_recording_holds_no_address_and_everything_else(case: tuple[Policy, Facts, Message, datetime]) -> None:
    """Only addresses are left out, whether they are there is not."""
    _, known, asked, _ = case
    kept = record(known, asked)
    again, _ = recall(kept)
    blank = replace(
        known,
        address=None if known.address is None else "",
        planned=tuple(replace(p, address=None if p.address is None else "") for p in known.planned),
    )
    assert blank == again
    assert "example.com" not in json.dumps(kept)


def test_a_usual_recording_is_small() -> None:
    """Somebody with one consent and one message sent today: defaults are left out, lists end with their last value."""
    sent = SlotFact("lifecycle", "email", "offers", "care", NOON - timedelta(hours=3))
    kept = record(facts(slots=(sent,)), message(enrollment=12, entered_at=NOON))
    assert {"zone", "address", "consents", "slots", "message"} == set(kept)
    assert [["*", None, "granted", 1735689600000000]] == kept["consents"]
    assert [["lifecycle", "email", "offers", "care", 1772524800000000]] == kept["slots"]
    assert len(json.dumps(kept, separators=(",", ":"))) < 300


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        {},
        {"message": []},
        {"message": ["care"]},
        {"message": 5},
        {"message": ["care", "s", "t", "email", "lifecycle", "yesterday"]},
        {"message": ["care", "s", "t", "email", "lifecycle", 10**30]},
        {"message": ["care", "s", "t", "email", 7, 0]},
        {"message": ["care", "s", "t", "email", "lifecycle", 0], "mood": "good"},
        {"message": ["care", "s", "t", "email", "lifecycle", 0], "zone": 5},
        {"message": ["care", "s", "t", "email", "lifecycle", 0], "slots": [5]},
        {"message": ["care", "s", "t", "email", "lifecycle", 0, *[None] * 40]},
    ],
)
def test_what_is_no_recording_is_refused(body: Any) -> None:
    """One error for all: neither a guess nor a crash."""
    with pytest.raises(ValueError):  # noqa: PT011  # its words differ
        recall(body)


def test_a_field_of_a_kind_that_no_fact_has_had_is_refused_at_once() -> None:
    """Whoever adds one learns it before anything is recorded."""

    @dataclass(frozen=True)
    class Odd:
        when: timedelta

    with pytest.raises(TypeError, match="nothing says how"):
        recording._row(Odd)
    with pytest.raises(TypeError, match="one type or None"):
        recording._ways(int | str)


def test_moments_are_kept_to_the_microsecond() -> None:
    """In whatever zone they were given."""
    at = datetime(2026, 3, 29, 1, 59, 59, 999_999, tzinfo=UTC)
    known = facts(
        holds=(HoldFact("complaint", ("lifecycle",), at, at + timedelta(days=1)),),
        consents=(ConsentFact("email", None, "granted", at, until=at + timedelta(microseconds=1)),),
        soft_opt_in_at=(("email", at),),
    )
    again, _ = recall(stored(record(known, message())))
    assert (known.holds, known.soft_opt_in_at, known.consents) == (again.holds, again.soft_opt_in_at, again.consents)
