"""Skips, pauses and retries in any order: where they lead, and that nothing is lost or done twice."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core.enrollment import Input
from engine.core.interpreter import advance, key, reissue
from engine.core.plan import Act, Alternative, Branch, Exit, Jump, Loop, NextChannel, Op, Plan, Send, Split, Wait, WaitFor
from engine.core.walk import behind
from tests.core.passage import A_DAY, NOON, Passage, after, plan_of, wait, wait_for
from tests.core.strategies import Life, lives, plans

ACT = Act("a", "set", {"vars.x": 1})
SEND = Send("s", ("email",), "t", "lifecycle")
DELIVERY = WaitFor("s.delivery", (Alternative(2, "e", message="s"),), A_DAY, 2, skip_to=2)
TWO = replace(SEND, channels=("email", "sms"))


def skip(seq: int, *ops: int) -> Input:
    """A skip of the step that has these operations."""
    return Input(seq, after(hours=1), "skip", tuple((op, 0) for op in ops))


@pytest.mark.parametrize(
    ("ops", "at", "expected"),
    [
        ((ACT,), 0, 1),
        ((wait(skip_to=2), ACT), 0, 2),
        ((wait_for(1, on_timeout=2, skip_to=3), ACT, ACT), 0, 3),
        ((Branch("b", (), 1, skip_to=2), ACT), 0, 2),
        ((Loop("r", 3, 3), ACT, Jump(0)), 0, 3),
        ((Exit("x", "enough", "c"),), 0, 1),
        ((SEND, wait()), 0, 1),
        ((SEND, DELIVERY), 0, 2),
        ((TWO, replace(DELIVERY, skip_to=3), NextChannel(0)), 0, 3),
        ((TWO, replace(DELIVERY, skip_to=3), NextChannel(0)), 1, 3),
    ],
)
def test_behind_a_step_is_behind_its_blocks_and_its_delivery(ops: tuple[Op, ...], at: int, expected: int) -> None:
    """Whatever a step consists of is skipped with it."""
    assert expected == behind(plan_of(*ops), at)


def test_a_skip_ends_a_wait_and_the_next_step_begins_with_it() -> None:
    """Asleep, parked, or waiting for another try: it goes on behind the step; of another step it changes nothing."""
    asleep = Passage(wait(), ACT).begin().answer("sleep", until=after(days=1))
    assert asleep.state == replace(asleep.give(skip(2, 1)).state, seq=1)
    assert ("act", after(hours=1)) == ((command := asleep.give(skip(3, 0)).ask).kind, command.at)
    deferred = Passage(SEND, ACT).begin().answer("again", until=after(days=1))
    assert "act" == deferred.give(skip(2, 0)).ask.kind
    parked = Passage(SEND, ACT).begin().answer("park", reason="broken")
    assert "act" == parked.give(skip(2, 0)).ask.kind


def test_who_is_parked_elsewhere_tries_again() -> None:
    """The store has them as live since the skip: should it break again, they park again."""
    assert "deliver" == Passage(SEND, ACT).begin().answer("park", reason="broken").give(skip(2, 1)).ask.kind


@pytest.mark.parametrize(
    ("kind", "more", "expected"),
    [
        ("next", {}, ("running", 1, "act")),
        ("again", {"until": after(days=1)}, ("running", 1, "act")),
        ("park", {"reason": "broken"}, ("running", 1, "act")),
        ("exit", {"reason": "over"}, ("ended", 0, "record")),
    ],
)
def test_what_is_in_flight_is_answered_first(kind: str, more: dict[str, object], expected: tuple[str, int, str]) -> None:
    """Sent stays sent; what would have been tried again, or parked, is left. Nobody is told of a parking that isn't one."""
    flying = Passage(SEND, ACT).begin()
    assert () == flying.give(skip(2, 0)).asked
    done = flying.answer(kind, **more)
    assert expected == (done.state.status, done.state.op, done.ask.kind)
    assert () == done.state.held


def test_another_channel_in_flight_is_answered_first_too() -> None:
    """The skip outlasts the first channel, and a try that an `again` brought forward."""
    flying = Passage(TWO, ACT).begin().give(skip(2, 0)).answer("fallback")
    assert ("deliver", 1) == (flying.ask.kind, flying.ask.attempt)
    assert "act" == flying.answer("again", until=after(days=1)).ask.kind
    twice = Passage(SEND, ACT).begin().give(skip(2, 0)).give(Input(3, NOON, "again")).answer("again", until=after(days=1))
    assert "deliver" == twice.ask.kind
    assert "act" == twice.answer("again", until=after(days=1)).ask.kind


def test_a_skip_of_one_round_leaves_the_next_alone() -> None:
    """A repeat that came back to the step while its command was in flight: that round was answered."""
    round_ = Passage(Loop("r", 3, 3), SEND, Jump(0)).begin().give(skip(2, 1)).answer("next")
    assert ("deliver", 1, ()) == (round_.ask.kind, round_.ask.visit, round_.state.held)


@given(lives())
def test_a_skip_moves_past_the_step_or_changes_nothing(life: Life) -> None:
    """At every point of every life: whoever stands in it stands behind it, whatever is in flight stays so, and no event that was
    kept is lost."""
    for state, _ in life.states():
        if state.at is None or state.op == len(life.plan.ops):
            continue
        given_ = skip(state.seq + 1, state.op)
        done, commands = advance(life.plan, state, given_, NOON)
        if state.status == "ended":
            assert (state, ()) == (done, commands)
        elif state.status == "running":
            assert (replace(state, seq=given_.seq, held=(*state.held, given_)), ()) == (done, commands)
        else:
            assert done.op >= behind(life.plan, state.op) or done.visit > state.visit or done.status == "ended"
            kept = [held.seq for held in state.held if held.kind == "event"]
            assert kept == [held.seq for held in done.held] or done.status == "ended"


ACTS = st.sampled_from(["pause", "resume", "skip", "retry", "again", "wake", "drive", "drive", "break"])


class Driver:
    """Does what an enrollment asks for, once under its key; while it is paused neither sends nor acts, as deliveries do."""

    def __init__(self, plan: Plan) -> None:
        self.life = Passage(*plan.ops).begin()
        self.paused, self.done, self.seq, self.now = False, list[str](), 1, NOON

    def put(self, kind: str, *ops: int) -> None:
        """An input; a resume is one that has it ask again."""
        self.seq += 1
        self.life.give(Input(self.seq, self.now, kind, tuple((op, 0) for op in ops)), self.now)  # type: ignore[arg-type]  # a kind

    def drive(self) -> None:
        """Answer the command in flight, or let time pass."""
        state, plan = self.life.state, self.life.plan
        command = reissue(plan, state, self.now)
        if command is None:
            self.now = max(self.now, state.wake or self.now)
            self.life.wake(self.now)
            return
        match plan.ops[state.op]:
            case Send() | Act() if self.paused:
                self.life.answer("again", until=self.now + timedelta(days=365))
            case Send() | Act():
                self.done.append(key(1, plan, command))
                self.life.answer("next", at=self.now)
            case Wait() | WaitFor():
                self.life.answer(*(("timeout",) if state.confirm else ("sleep",)), until=self.now + timedelta(days=1))
            case Branch(arms=arms):
                self.life.answer("goto", choice=arms[0].target)
            case Split(arms=split):
                self.life.answer("goto", choice=split[-1].target)
            case _:
                self.life.answer("next")

    def act(self, act: str) -> None:
        """What an operator does, or the driver."""
        self.now += timedelta(minutes=1)
        if act in ("pause", "resume"):
            self.paused = act == "pause"
        if act == "drive":
            self.drive()
        elif act == "wake":
            self.life.wake(self.now)
        elif act == "break" and self.life.state.status == "running":
            self.life.answer("park", reason="broken")
        elif act in ("skip", "retry"):
            self.put(act, self.life.state.op)
        elif act in ("resume", "again"):
            self.put("again")


@given(plans(), st.lists(ACTS, max_size=30))
def test_whatever_operators_do_in_whatever_order_each_thing_is_done_once(plan: Plan, acts: list[str]) -> None:
    """Nothing leaves while it is paused, nothing twice under its key; resumed and retried, everybody comes to an end."""
    driver = Driver(plan)
    for act in acts:
        before = list(driver.done)
        driver.act(act)
        assert before == driver.done or not driver.paused
    driver.act("resume")
    for _ in range(2_000):
        if driver.life.state.status == "ended":
            break
        driver.act("retry" if driver.life.state.status == "parked" else "drive")
    assert "ended" == driver.life.state.status
    assert len(driver.done) == len(set(driver.done))
