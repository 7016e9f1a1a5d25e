"""Moving to another plan: which operation becomes which, when a cohort lets go, and what is carried along."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st

from engine.core import compact
from engine.core.clock import Duration
from engine.core.enrollment import Given, Input, Outcome, State, Wake
from engine.core.interpreter import advance, reissue
from engine.core.moving import behind, carried, crossings, in_turn, matched_on, places, to_step
from engine.core.plan import (
    Act,
    Alternative,
    Branch,
    Exit,
    Jump,
    Loop,
    Moment,
    NextChannel,
    Plan,
    Send,
    Split,
    Wait,
    WaitFor,
    sealed,
)
from tests.core.passage import A_DAY, NOON, Passage, after, plan_of, wait, wait_for
from tests.core.strategies import Life, inputs, lives, plans

MAIL = Send("mail", ("email", "push"), "t", "lifecycle")


def move(seq: int, *pairs: tuple[int, int], to: str = "new") -> Input:
    """A `move` along `pairs`, an hour after noon."""
    return Input(seq, after(hours=1), "move", pairs, to)


def test_a_waiting_member_is_let_go_at_once_and_nothing_happens_to_it_any_more() -> None:
    """Its state says where it stands, and the store is told with the number of the move."""
    passage = Passage(wait(), MAIL).begin().answer("sleep", until=after(days=1)).give(move(2, (0, 4)))
    assert passage.state.left
    assert ("record", "moved", 2, "new") == (passage.ask.kind, passage.ask.status, passage.ask.event, passage.ask.reason)
    assert passage.ask == reissue(passage.plan, passage.state, passage.now), "a cohort that goes on tells it once more"
    assert passage.state == compact.decode_state(compact.encode_state(passage.state))
    here = passage.state
    assert here == passage.wake(after(days=2)).state
    assert here == passage.event(3, NOON, (0, 0)).state


def test_what_is_under_way_is_finished_first() -> None:
    """A send's outcome comes, the next command is asked for where it goes on; a step that is gone is passed through."""
    passage = Passage(MAIL, Act("gone", "set", {}), wait()).begin().give(move(2, (0, 0), (2, 1)))
    assert (False, ()) == (passage.state.left, passage.asked)
    passage.answer("next", at=NOON)
    assert (False, "act") == (passage.state.left, passage.ask.kind), "nobody may be left on a step that isn't there"
    passage.answer("next")
    assert (True, 2, "moved") == (passage.state.left, passage.state.op, passage.ask.status)


def test_a_later_move_takes_the_place_of_an_earlier_one() -> None:
    """Two deploys while a message is on its way: the last one counts."""
    passage = Passage(MAIL, wait()).begin().give(move(2, (1, 1), to="b")).give(move(3, (1, 0), to="c")).answer("next")
    assert (3, "c") == (passage.ask.event, passage.ask.reason)


def test_a_reset_comes_before_a_move_to_another_plan() -> None:
    """Whatever is asked later while a message is on its way; what leads to another plan goes along, and only the newest of
    it. Another reset takes the place of both."""
    passage = Passage(MAIL, wait("a"), wait("b"))
    passage.plan = sealed(passage.plan)
    here = passage.plan.hash
    passage.begin().give(move(2, *to_step(passage.plan, 2), to=here)).give(move(3, (1, 0), to="c")).give(move(4, (2, 0), to="d"))
    passage.answer("next", at=NOON)
    assert (True, 2, here) == (passage.state.left, passage.ask.event, passage.ask.reason)
    there = carried(passage.plan, passage.plan, passage.state, passage.state.held[0]).state
    assert [move(4, (2, 0), to="d")] == list(there.held)
    state, _ = advance(passage.plan, there, Input(5, NOON, "retry"), NOON)
    assert (True, 2) == (state.left, state.op)
    state, _ = advance(passage.plan, replace(passage.state, left=False, op=0), move(6, (0, 1), to=here), NOON)
    assert [6] == [held.seq for held in state.held]


def test_the_moves_that_count_are_the_newest_and_a_reset_before_it() -> None:
    """By plan, not by their number."""
    plan = sealed(plan_of(MAIL))
    to = {seq: move(seq, to=plan.hash if seq in (2, 5) else "other") for seq in range(1, 8)}

    def turn(*asked: int) -> list[int]:
        return [one.seq for one in in_turn(plan, [to[seq] for seq in asked])]

    assert ([1], [4], [2, 3], [5, 7], [5]) == (turn(1), turn(3, 4), turn(1, 2, 3), turn(2, 4, 5, 6, 7), turn(2, 4, 5))


def test_whoever_was_put_at_a_step_anew_comes_to_it_on_whatever_plan() -> None:
    """Moved on before the `retry` came that lets them arrive: by the first channel, and not parked."""
    old = sealed(plan_of(wait(), MAIL))
    new = sealed(plan_of(replace(MAIL, channels=("sms", "email"))))
    there = carried(old, old, State("waiting", 0, NOON, NOON), move(2, *to_step(old, 1), to=old.hash)).state
    moved = carried(old, new, there, move(3, (1, 0)))
    assert (True, 0, 0, 1) == (moved.anew, moved.state.op, moved.state.attempt, moved.state.visit)
    parked = carried(old, new, replace(there, reason="template"), move(3, (1, 0)))
    assert (False, 1) == (parked.anew, parked.state.attempt), "who is parked tries what failed"


def test_what_is_parked_at_that_moment_is_told_both() -> None:
    """That it stopped, with its reason, and that it left."""
    passage = Passage(MAIL).begin().give(move(2, (0, 0))).answer("park", reason="template")
    assert ["parked", "moved"] == [c.status for c in passage.asked]


def test_a_move_outlasts_whatever_else_is_held() -> None:
    """Held inputs have a limit while nothing is under way; the move is not counted out."""
    passage = Passage(wait("gone"), wait("there")).begin().answer("sleep", until=after(days=1))
    for seq in range(2, 60):
        passage.event(seq, after(days=2), (1, 0))
    passage.give(move(60, (1, 0)))
    assert not passage.state.left
    assert passage.wake(after(days=1)).state.left, "it comes to a step that the new plan has"


def test_steps_are_the_same_by_id_and_verb_or_where_somebody_says_so() -> None:
    """What stands beside a step goes with it."""
    old = plan_of(
        wait("a"), wait("b"), MAIL, Act("c", "set", {}), replace(MAIL, step="d"), wait_for(6, on_timeout=6, step="d.delivery")
    )
    new = plan_of(wait("c"), wait("a"), wait("z"), replace(MAIL, step="e"), wait_for(5, on_timeout=5, step="e.delivery"))
    assert ((0, 1),) == crossings(old, new, {})
    assert ((0, 1), (1, 2), (3, 0), (4, 3), (5, 4)) == crossings(old, new, {"b": "z", "c": "c", "d": "e", "other": "z"})


def test_an_act_of_another_verb_is_another_step() -> None:
    """Nobody changes over unless it is said; then they come to it as for the first time."""
    old, new = sealed(plan_of(Act("a", "call", {}))), sealed(plan_of(Act("a", "task", {})))
    assert () == crossings(old, new, {})
    there = carried(old, new, State("parked", 0, NOON, reason="internal"), move(2, *crossings(old, new, {"a": "a"})))
    assert (True, after(hours=1)) == (there.anew, there.state.at)


def test_a_wait_is_worked_out_again_from_its_start() -> None:
    """Running, so that whoever takes it over asks for the new moment; with what it had taken and seen."""
    old, new = sealed(plan_of(wait("a"))), sealed(plan_of(MAIL, wait("a")))
    state = State("waiting", 0, NOON, after(days=1), visit=3, seq=2, event=2, taken=(2,))
    there = carried(old, new, replace(state, left=True), move(3, (0, 1)))
    assert (replace(state, op=1, status="running", wake=None), False, False) == (there.state, there.anew, there.dropped)
    again = reissue(new, there.state, NOON)
    assert again is not None
    assert ("evaluate", NOON, 3) == (again.kind, again.at, again.visit)


def test_a_message_that_was_put_off_waits_on_where_its_step_is_the_same() -> None:
    """Under the same key. Another channel list: the one that is being tried; another text: asked for again; renamed: the old one
    is dropped."""
    old = sealed(plan_of(MAIL))
    state = State("waiting", 0, NOON, after(hours=5), attempt=1, seq=1, again=True)

    def to(send: Send) -> tuple[str, int, bool]:
        there = carried(old, sealed(plan_of(wait("x"), send)), state, move(2, (0, 1)))
        return there.state.status, there.state.attempt, there.dropped

    assert ("waiting", 1, False) == to(MAIL)
    assert ("running", 1, False) == to(replace(MAIL, template="other"))
    assert ("running", 0, True) == to(replace(MAIL, channels=("push",)))
    assert ("running", 1, True) == to(replace(MAIL, step="renamed"))


def test_a_channel_that_has_another_place_is_tried_under_another_visit() -> None:
    """The number that it has now named another channel before: what became of that is nothing of it. In its old place it goes on
    under its key."""
    old = sealed(plan_of(replace(MAIL, channels=("sms", "email"))))
    for status in ("waiting", "running", "parked"):
        wake, reason = after(hours=5) if status == "waiting" else None, "template" if status == "parked" else ""
        state = State(status, 0, NOON, wake, 3, 1, 1, again=status == "waiting", reason=reason)

        def to(*channels: str, state: State = state) -> tuple[int, int, bool]:
            there = carried(old, sealed(plan_of(replace(MAIL, channels=channels))), state, move(2, (0, 0)))
            return there.state.visit, there.state.attempt, there.dropped

        assert (4, 0, True) == to("email")
        assert (4, 2, True) == to("push", "sms", "email")
        assert (3, 1, False) == to("push", "email")
        assert (3, 0, True) == to("sms"), "what was sent by it is not sent once more"


def test_whose_delivery_is_awaited_is_known_by_its_channel() -> None:
    """The next one is what stands behind it in the new list; behind the last one nothing is tried again."""

    def plan(*channels: str) -> Plan:
        told = wait_for(3, on_timeout=2, step="mail.delivery")
        return sealed(plan_of(replace(MAIL, channels=channels), told, NextChannel(0), wait("then")))

    def tried(*channels: str) -> list[tuple[str, int]]:
        new = plan(*channels)
        there = carried(plan("sms", "email"), new, State("waiting", 1, NOON, after(days=1), attempt=1, seq=1), move(2, (1, 1)))
        _, asked = advance(new, there.state, Outcome("goto", 1, there.state.visit, there.state.attempt, choice=2), NOON)
        return [(c.channel, c.visit) for c in asked]

    assert [("", 1)] == tried("push", "sms", "email")
    assert [("sms", 1)] == tried("email", "sms")
    assert [("push", 0)] == tried("sms", "email", "push")


def test_what_may_have_arrived_is_passed() -> None:
    """Its send is behind whoever goes on so, and what comes next is asked for; at the end of the plan they are through."""
    old, lone = sealed(plan_of(replace(MAIL, channels=("sms", "email")))), replace(MAIL, channels=("email",))
    state = State("waiting", 0, NOON, after(hours=5), attempt=1, seq=1, again=True)
    for more, came in (((wait("a"),), "running"), ((), "ended")):
        new = sealed(plan_of(lone, *more))
        there = behind(new, carried(old, new, state, move(2, (0, 0))))
        assert there.anew
        assert came == advance(new, there.state, Input(3, NOON, "retry"), NOON)[0].status


def test_rounds_of_repeats_go_along() -> None:
    """By the repeat's step; one that is new around it is in its first round, one that is gone is forgotten."""
    old = sealed(plan_of(Loop("r", 5, 4), Loop("gone", 5, 3), wait("a"), Jump(0)))
    new = sealed(plan_of(Loop("more", 2, 5), Loop("r", 5, 4), wait("a"), Jump(1), Jump(0)))
    state = State("waiting", 2, NOON, after(days=1), visit=4, seq=1, loops=((0, 3), (1, 1)))
    there = carried(old, new, state, move(2, *crossings(old, new, {}))).state
    assert (((0, 0), (1, 3)), 4) == (there.loops, there.visit)


def test_a_reset_arrives_anew_on_another_visit() -> None:
    """Nothing is named as before, so what is passed again is sent again."""
    plan = sealed(plan_of(MAIL, wait("a"), Exit("x", "over")))
    state = State("waiting", 1, NOON, after(days=1), visit=2, seq=4, taken=(3,), attempt=0)
    there = carried(plan, plan, state, move(5, *to_step(plan, 0)))
    assert ("parked", 0, 3, after(hours=1), True, True) == (
        there.state.status, there.state.op, there.state.visit, there.state.at, there.anew, there.dropped,
    )  # fmt: skip
    going, asked = advance(plan, there.state, Input(6, NOON, "retry"), NOON)
    assert ("running", "deliver", 3) == (going.status, asked[0].kind, asked[0].visit)


def test_what_came_before_satisfies_the_same_alternative() -> None:
    """By its event and condition, wherever it stands in the new wait; what was changed is asked afresh by what comes next."""
    one, two = Alternative(1, "e"), Alternative(1, "e", "event.x")
    old = sealed(plan_of(WaitFor("f", (one, two), A_DAY, 1)))
    new = sealed(plan_of(wait("a"), WaitFor("f", (replace(two, target=2), Alternative(2, "other")), A_DAY, 2)))
    assert ((1, 0),) == matched_on(old, new, [(0, 1)], "event", ((0, 0), (0, 1), (7, 0)))
    assert ((0, 0), (0, 1)) == matched_on(old, old, [(0, 1)], "event", ((0, 0), (0, 1)))
    waits = sealed(plan_of(wait("a")))
    assert ((0, 0),) == matched_on(waits, new, [(0, 0)], "replan", ((0, 0),))


def test_a_move_that_says_nothing_of_a_place_leads_nowhere() -> None:
    """The cohort doesn't let go there; whoever says so is wrong."""
    old, new = sealed(plan_of(wait("a"))), sealed(plan_of(wait("b")))
    with pytest.raises(ValueError, match="nothing of operation 0"):
        carried(old, new, State("waiting", 0, NOON), move(2))


@st.composite
def _moves(draw: st.DrawFn) -> tuple[Life, Plan, dict[str, str]]:
    """A life, another plan with some of its steps (other lengths, places, verbs), and names for some of those that are gone."""
    life, new = draw(lives()), sealed(draw(plans()))
    new = replace(new, ops=tuple(_longer(op, draw(st.integers(1, 3))) for op in new.ops))
    steps = sorted(places(new))
    gone = sorted(places(life.plan).keys() - places(new).keys())
    named = {step: draw(st.sampled_from(steps)) for step in gone if draw(st.booleans())}
    return replace(life, plan=sealed(life.plan)), sealed(new), named


def _longer(op: object, days: int) -> object:
    return replace(op, until=Moment(after=Duration(days=days))) if isinstance(op, Wait) else op


def test_wherever_somebody_stands_they_go_on_as_was_said() -> None:
    """Let go once, at a step that the pairs know, with everything that was seen and taken; then on to the end of the new plan,
    in the plain course of things."""
    settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))(given(_moves(), st.data())(_they_go_on))()


@pytest.mark.nightly
def test_wherever_somebody_stands_they_go_on_as_was_said_at_length() -> None:
    """The same a thousand times."""
    settings(max_examples=2000, deadline=None, suppress_health_check=list(HealthCheck))(given(_moves(), st.data())(_they_go_on))()


def _they_go_on(case: tuple[Life, Plan, dict[str, str]], data: st.DataObject) -> None:
    life, new, named = case
    assume(life.plan.hash != new.hash)
    state, now = life.states()[-1][0], life.stream[-1][1]
    order = Input(state.seq + 1, now, "move", crossings(life.plan, new, named), new.hash)
    state, commands = advance(life.plan, state, order, now)
    while not (state.left or state.status == "ended"):
        given_, now = _onward(life.plan, state, now)
        state, commands = advance(life.plan, state, given_, now)
    event(f"left {state.left}")
    if not state.left:
        return
    assert 1 == sum(c.status == "moved" for c in commands)
    assert (state, ()) == advance(life.plan, state, inputs(data.draw, life.plan, state, now), now)
    there = carried(life.plan, new, state, order)
    was, will = (getattr(plan.ops[at.op], "step", "") for plan, at in ((life.plan, state), (new, there.state)))
    assert will == named.get(was, was) or (was.endswith(".delivery") and will.endswith(".delivery"))
    assert (state.taken, state.event) == (there.state.taken, there.state.event)
    assert there.state.visit - state.visit in ((0, 1) if there.state.attempt != state.attempt else (0,))
    assert all(g.kind != "move" for g in there.state.held)
    state = there.state
    if there.anew:
        state, _ = advance(new, state, Input(state.seq + 1, now, "retry"), now)
    while state.status != "ended":
        assert (reissue(new, state, now) is not None) == (state.status == "running")
        assert (state.wake is not None) == (state.status == "waiting")
        given_, now = _onward(new, state, now)
        state, _ = advance(new, state, given_, now)


def _onward(plan: Plan, state: State, now: datetime) -> tuple[Given, datetime]:
    """What brings `state` on in the plain course of things: waits last a day, conditions are false, messages are sent."""
    if state.status == "waiting" and state.wake is not None:
        return Wake(), max(now, state.wake)
    if state.status != "running":
        return Input(state.seq + 1, now, "retry"), now
    op, place = plan.ops[state.op], (state.op, state.visit, state.attempt)
    match op:
        case Branch(otherwise=target) | Split(skip_to=target):
            return Outcome("goto", *place, choice=target), now
        case WaitFor() if state.confirm:
            return Outcome("timeout", *place, at=state.deadline), now
        case Wait() | WaitFor():
            return Outcome("sleep", *place, until=now + timedelta(days=1)), now
        case _:
            return Outcome("next", *place, at=now), now
