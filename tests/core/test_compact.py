"""The compact lists: what they look like, how small they are, and that nothing is lost in them."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core import compact
from engine.core.enrollment import Begin, Command, Input, Outcome, State

WHOLE = st.integers(0, 10**9)
AT = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - bounds of the strategy, which adds UTC
PAIRS = st.lists(st.tuples(WHOLE, WHOLE), max_size=3).map(tuple)
NUMBERS = st.lists(WHOLE, max_size=3).map(tuple)
INPUTS = st.builds(Input, WHOLE, AT, st.sampled_from(["event", "exit", "stop", "again", "replan", "retry"]), PAIRS, st.text())
STATES = st.builds(
    State,
    *(st.sampled_from(["running", "waiting", "parked", "ended"]), WHOLE, st.none() | AT, st.none() | AT, WHOLE, WHOLE, WHOLE),
    *(WHOLE, NUMBERS, PAIRS, st.lists(INPUTS, max_size=2).map(tuple), st.booleans(), st.text(), st.booleans(), st.none() | AT),
)
OUTCOMES = st.builds(
    Outcome,
    *(st.sampled_from(["next", "took", "park"]), WHOLE, WHOLE, WHOLE, st.none() | AT, st.none() | AT, WHOLE, WHOLE, st.text()),
)
COMMANDS = st.builds(
    Command,
    *(st.sampled_from(["evaluate", "record"]), WHOLE, WHOLE, WHOLE, AT, WHOLE, NUMBERS, st.booleans(), WHOLE),
    *(st.text(), st.text(), st.text()),
)


def wire(body: list[object]) -> list[object]:
    """`body` after a trip through JSON text."""
    back: list[object] = json.loads(json.dumps(body))
    return back


@given(STATES, st.builds(Begin, WHOLE, AT) | INPUTS, OUTCOMES, COMMANDS)
def test_nothing_is_lost(state: State, came: Begin | Input, outcome: Outcome, command: Command) -> None:
    """Every value comes back from JSON as it was, to the microsecond."""
    assert state == compact.decode_state(wire(compact.encode_state(state)))
    assert came == compact.decode_input(wire(compact.encode_input(came)))
    assert outcome == compact.decode_outcome(wire(compact.encode_outcome(outcome)))
    assert command == compact.decode_command(wire(compact.encode_command(command)))


def test_defaults_at_the_end_are_left_out() -> None:
    """A state that hasn't begun is an empty list, an input says only what it has, a Begin is told by its word."""
    noon = datetime(2026, 3, 2, 12, tzinfo=UTC)
    assert [] == compact.encode_state(State())
    assert [5, 1772452800000000, "exit", [], "refunded"] == compact.encode_input(Input(5, noon, "exit", reason="refunded"))
    assert [1, 1772452800000000, "begin"] == compact.encode_input(Begin(1, noon))


def test_a_waiting_member_is_small() -> None:
    """A member deep in a repeat, with events behind it, takes well under 250 bytes; a cohort of 500 stays under 64 KB."""
    noon = datetime(2026, 3, 2, 12, 34, 56, 789012, tzinfo=UTC)
    plain = State("waiting", 12, noon, noon, seq=7)
    deep = State("waiting", 137, noon, noon, 12, 2, 118, 97, (12, 40, 61, 97), ((100, 12), (120, 3)), again=True)
    assert 64 > len(json.dumps(compact.encode_state(plain)))
    assert 128 > len(json.dumps(compact.encode_state(deep)))


def test_a_list_of_a_newer_version_is_refused() -> None:
    """More fields than are known can't be left out silently."""
    with pytest.raises(ValueError, match="a newer version wrote it"):
        compact.decode_state(["waiting"] + [0] * 20)


def test_a_moment_without_a_zone_is_refused() -> None:
    """A naive moment would mean something else on every machine."""
    with pytest.raises(TypeError, match="offset-naive"):
        compact.encode_input(Begin(1, datetime(2026, 3, 2, 12)))  # noqa: DTZ001 - the mistake under test
