"""What holds for every plan and everything that can happen to an enrollment on it."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core import compact
from engine.core.enrollment import Begin, Command, Input, Outcome, State
from engine.core.interpreter import advance, key, park, reissue
from engine.core.plan import Plan
from tests.core.passage import NOON
from tests.core.strategies import Life, lives, wild_plans


def through_json(state: State) -> State:
    """`state` after a trip over the wire."""
    return compact.decode_state(json.loads(json.dumps(compact.encode_state(state))))


@given(lives())
def test_nothing_is_ever_stuck(life: Life) -> None:
    """A state is running with one command that `reissue` knows, or waiting for a wake, or parked, or ended."""
    flying: Command | None = None
    for state, commands in life.states():
        asked = [command for command in commands if command.kind != "record"]
        assert len(asked) <= 1
        flying = asked[0] if asked else flying
        if state.status == "running":
            assert flying == reissue(life.plan, state, NOON)
            assert state.wake is None
        else:
            assert reissue(life.plan, state, NOON) is None
            assert asked == []
            assert (state.status == "waiting") == (state.wake is not None)


@given(lives())
def test_a_state_survives_the_wire_at_every_point(life: Life) -> None:
    """Taking every state through JSON gives the same states and commands, from the first to the last."""
    state, steps = State(), []
    for what, now in life.stream:
        state, commands = advance(life.plan, through_json(state), what, now)
        steps.append((state, commands))
    assert life.states() == steps


@given(lives())
def test_what_came_before_changes_nothing(life: Life) -> None:
    """Begin and inputs that were seen once leave the state as it is, at every later point."""
    seen: list[Begin | Input] = []
    for (what, now), (state, _) in zip(life.stream, life.states(), strict=True):
        if isinstance(what, (Begin, Input)):
            seen.append(what)
        for repeated in seen:
            assert (state, ()) == advance(life.plan, state, repeated, now)


@given(lives(), st.sampled_from(["exit", "stop"]))
def test_an_exit_always_ends(life: Life, kind: str) -> None:
    """At every point an exit or a stop ends at once, asks for nothing, and its reason is kept."""
    for state, _ in life.states():
        if state.status != "ended":
            leave = Input(state.seq + 1, NOON, kind, reason="refunded")  # type: ignore[arg-type] # one of the two kinds
            after, commands = advance(life.plan, state, leave, NOON)
            assert ("ended", "refunded", None, ()) == (after.status, after.reason, after.wake, after.held)
            assert commands == ()


@given(lives())
def test_ended_is_final(life: Life) -> None:
    """Once ended, the state stays what it is and asks for nothing."""
    steps = life.states()
    for before, after in pairwise(steps):
        if before[0].status == "ended":
            assert (before[0], ()) == after


@given(lives())
def test_a_key_names_one_thing(life: Life) -> None:
    """A command that comes again under a key is the same one; (visit, operation, attempt) only ever grows, where the wait for a
    delivery counts as the send's that may come back to its next channel."""
    by_key: dict[str, Command] = {}
    places = []
    for _, commands in life.states():
        for command in commands:
            if command.kind != "record":
                plain = replace(command, confirm=False, taken=())
                assert by_key.setdefault(key(7, life.plan, command), plain) == plain
                waits = command.op > 0 and life.plan.awaits_delivery(command.op - 1)
                places.append((command.visit, command.op - waits, command.attempt, waits))
    assert sorted(places) == places


@given(lives())
def test_time_never_goes_back(life: Life) -> None:
    """A step never starts before the one that led to it, and a wake is never before its step."""
    steps = [state for state, _ in life.states()]
    for before, after in pairwise(steps):
        assert before.at is not None
        assert after.at is not None
        assert before.at <= after.at
        assert after.wake is None or after.again or after.at <= after.wake


@given(lives())
def test_nothing_is_lost_while_a_command_is_in_flight(life: Life) -> None:
    """An event that matches something, new and not taken, is held until the command has its outcome."""
    before = State()
    for (what, _), (state, _) in zip(life.stream, life.states(), strict=True):
        if before.status == "running" and isinstance(what, Input) and what.kind == "event" and what.matched:
            new = what.seq > before.seq and what.seq not in before.taken
            held = [held.seq for held in before.held]
            assert ([*held, what.seq] if new else held) == [held.seq for held in state.held]
        before = state


@given(lives())
def test_an_event_is_used_once(life: Life) -> None:
    """No input ends two waits, and none that ended one is still held."""
    for state, _ in life.states():
        assert len(set(state.taken)) == len(state.taken)
        assert set() == {held.seq for held in state.held} & set(state.taken)


@given(lives(), st.integers(0, 40))
def test_an_outcome_of_another_command_is_ignored(life: Life, other: int) -> None:
    """An outcome counts only for the operation, visit and attempt in flight, and only while one is."""
    for state, _ in life.states():
        strange = Outcome("exit", other, state.visit + (other == state.op), state.attempt, reason="stale")
        assert (state, ()) == advance(life.plan, state, strange, NOON)
        if state.status != "running":
            late = Outcome("exit", state.op, state.visit, state.attempt, reason="late")
            assert (state, ()) == advance(life.plan, state, late, NOON)


@given(lives())
def test_a_parked_member_goes_on_after_its_retry(life: Life) -> None:
    """Parked at any point of its life, a member is running again after a retry, with the command it had."""
    for state, _ in life.states():
        if state.status == "running":
            parked, (record,) = park(state, "broken", NOON)
            assert ("parked", "record", "parked") == (parked.status, record.kind, record.status)
            again, (command,) = advance(life.plan, parked, Input(state.seq + 1, NOON, "retry"), NOON)
            assert (command, "running") == (reissue(life.plan, state, NOON), again.status)


@given(wild_plans())
@settings(max_examples=300)
def test_no_plan_is_walked_for_ever(plan: Plan) -> None:
    """Whatever a plan's jumps and repeats do, a step comes to an end: a command, the end, or parked with the reason."""
    state, commands = advance(plan, State(), Begin(1, NOON), NOON)
    for _ in range(6):
        assert len(commands) == 1
        if state.status != "running":
            break
        answer = Outcome("next", state.op, state.visit, state.attempt)
        state, commands = advance(plan, state, answer, NOON + timedelta(days=1))
    assert state.status in ("running", "parked", "ended")


@given(lives())
def test_an_impossible_outcome_raises_for_the_driver(life: Life) -> None:
    """A target outside the plan is a ValueError, not a state that stands nowhere."""
    for state, _ in life.states():
        if state.status == "running":
            nowhere = Outcome("goto", state.op, state.visit, state.attempt, choice=len(life.plan.ops) + 1)
            with pytest.raises(ValueError, match="leads to"):
                advance(life.plan, state, nowhere, NOON)
