"""How a wait_for is ended: by events, by its timeout, and by what comes while a command is in flight."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from engine.core.compact import encode_state
from engine.core.enrollment import Command, Input
from engine.core.interpreter import HELD
from engine.core.plan import Act, Send
from tests.core.passage import NOON, Passage, after, wait, wait_for

TICK = timedelta(microseconds=1)
WON, LOST = Act("won", "set", {}), Act("lost", "set", {})
DEADLINE = after(days=10)


def waiting(since: str = "entry") -> Passage:
    """Asleep in `0 wait_for → 1 won | 2 lost` until DEADLINE."""
    member = Passage(wait_for(1, on_timeout=2, since=since), WON, LOST)
    return member.begin().answer("sleep", until=DEADLINE)


def test_an_event_ends_the_wait_at_its_own_time() -> None:
    """The next step starts when the event occurred, and knows it."""
    member = waiting().event(5, after(days=2), (0, 0))
    assert Command("act", 1, 0, 0, after(days=2), event=5) == member.ask
    assert ((5,), None) == (member.state.taken, member.state.wake)


def test_an_event_from_before_the_step_counts_as_its_start() -> None:
    """Time doesn't go back for a late arrival."""
    assert NOON == waiting().event(5, after(days=-2), (0, 0)).ask.at


def test_the_first_alternative_that_matches_is_taken() -> None:
    """One event that satisfies two takes the one written first."""
    member = Passage(wait_for(2, 1, on_timeout=2), WON, LOST).begin().answer("sleep", until=DEADLINE)
    assert 2 == member.event(5, NOON, (0, 1), (0, 0)).ask.op


def test_an_event_for_another_wait_is_let_go() -> None:
    """It is in the store; the state doesn't grow, but the event counts as seen."""
    member = waiting().event(5, after(days=2), (4, 0))
    assert ((), (), 5, DEADLINE) == (member.asked, member.state.held, member.state.seq, member.state.wake)


def test_a_timeout_is_confirmed_before_it_counts() -> None:
    """At the deadline the store is asked; then the other way is taken, at the deadline, and no event is known."""
    member = waiting().wake(after(days=11))
    assert Command("evaluate", 0, 0, 0, NOON, confirm=True) == member.ask
    assert Command("act", 2, 0, 0, DEADLINE) == member.answer("timeout").ask


def test_an_event_in_the_store_wins_over_the_timeout() -> None:
    """The store knew an event that this enrollment hadn't been told of; its input, when it comes, is used up."""
    member = waiting().wake(DEADLINE).answer("took", seq=5, at=after(days=9), choice=0)
    assert Command("act", 1, 0, 0, after(days=9), event=5) == member.ask
    member.event(5, after(days=9), (0, 0))
    assert ((), (), 5) == (member.asked, member.state.held, member.state.seq)


@pytest.mark.parametrize(("at", "target", "start"), [(DEADLINE, 1, DEADLINE), (DEADLINE + TICK, 2, DEADLINE)])
def test_a_tie_goes_to_the_event(at: object, target: int, start: object) -> None:
    """An event at the deadline itself wins, a microsecond later it doesn't: it comes before the wake is handled…"""
    member = waiting().event(5, at, (0, 0))  # type: ignore[arg-type] # a datetime
    if member.state.status == "waiting":
        member.wake(after(days=11)).answer("timeout")
    assert (target, start) == (member.ask.op, member.ask.at)


@pytest.mark.parametrize(("at", "target"), [(DEADLINE, 1), (DEADLINE + TICK, 2)])
def test_a_tie_goes_to_the_event_while_the_store_is_asked(at: object, target: int) -> None:
    """… or while the timeout is being confirmed."""
    member = waiting().wake(after(days=11)).event(5, at, (0, 0))  # type: ignore[arg-type] # a datetime
    assert () == member.asked
    assert target == member.answer("timeout").ask.op


def test_an_event_after_the_deadline_is_kept_for_the_next_wait() -> None:
    """Nothing that occurred is lost because a worker was late."""
    member = Passage(wait_for(2, on_timeout=1), wait_for(2, on_timeout=3, step="g", since="step"), WON)
    member.begin().answer("sleep", until=DEADLINE).event(5, DEADLINE + TICK, (0, 0), (1, 0))
    member.wake(after(days=11)).answer("timeout").answer("sleep", until=after(days=20))
    assert Command("act", 2, 0, 0, DEADLINE + TICK, event=5) == member.ask


def test_a_confirmation_that_is_put_off_keeps_its_deadline() -> None:
    """`again` for a confirmation asks for it again, and the timeout still counts at the deadline."""
    member = waiting().wake(DEADLINE).answer("again", until=after(days=12))
    assert member.wake(after(days=12)).ask.confirm
    assert DEADLINE == member.answer("timeout").ask.at


def test_a_click_can_be_faster_than_the_outcome_of_its_send() -> None:
    """An event that comes while the send is in flight is held until the wait behind it has been evaluated."""
    send = Send("hello", ("email",), "t", "lifecycle")
    member = Passage(send, wait_for(2, on_timeout=3, since="step"), WON, LOST).begin()
    member.event(5, after(seconds=2), (1, 0)).answer("next", at=after(seconds=1))
    assert ("evaluate", [5]) == (member.ask.kind, [held.seq for held in member.state.held])
    member.answer("sleep", until=DEADLINE)
    assert (Command("act", 2, 0, 0, after(seconds=2), event=5), ()) == (member.ask, member.state.held)


def test_since_step_means_since_the_step() -> None:
    """What was held from before the handover doesn't end a wait that looks only forward; one that came since does."""
    send = Send("hello", ("email",), "t", "lifecycle")
    member = Passage(send, wait_for(2, on_timeout=3, since="step"), WON, LOST).begin()
    member.event(5, after(seconds=1), (1, 0)).answer("next", at=after(seconds=2)).answer("sleep", until=DEADLINE)
    assert ("waiting", (), ()) == (member.state.status, member.asked, member.state.held)
    assert 2 == member.event(6, after(seconds=3), (1, 0)).ask.op


def test_held_inputs_act_in_order_and_the_rest_stays() -> None:
    """The first that matches ends the wait; what came with it is still there for the next one."""
    member = Passage(wait_for(1, on_timeout=1), wait_for(2, on_timeout=2, step="g"), WON).begin()
    member.event(5, after(days=1), (9, 0)).event(6, after(days=1), (0, 0)).event(7, after(days=2), (1, 0))
    member.answer("sleep", until=DEADLINE)
    assert (1, 6, [7]) == (member.ask.op, member.state.event, [held.seq for held in member.state.held])
    assert (2, 7) == (member.answer("sleep", until=DEADLINE).ask.op, member.ask.event)


def test_an_event_that_the_store_answered_with_is_not_used_twice() -> None:
    """Held and found in the store: the same event; the wait behind doesn't get it again."""
    member = Passage(wait_for(1, on_timeout=1), wait_for(2, on_timeout=2, step="g"), WON).begin()
    member.event(5, after(days=1), (0, 0), (1, 0)).answer("took", seq=5, at=after(days=1), choice=0)
    assert (1, (5,), ()) == (member.ask.op, member.ask.taken, member.state.held)
    assert ("waiting", ()) == (member.answer("sleep", until=DEADLINE).state.status, member.asked)


def test_a_plain_wait_keeps_the_event_known() -> None:
    """`event` is the one that ended the last wait_for, also after a wait for time; a timeout forgets it."""
    member = Passage(wait_for(1, on_timeout=1), wait(), wait_for(3, on_timeout=3, step="g"), WON).begin()
    member.answer("took", seq=5, at=NOON, choice=0).answer("sleep", until=after(days=1)).wake(after(days=1))
    assert (2, 5) == (member.ask.op, member.ask.event)
    member.answer("sleep", until=after(days=2)).wake(after(days=2)).answer("timeout")
    assert 0 == member.ask.event


def test_a_skipped_wait_for_goes_on_behind_itself() -> None:
    """`if: false` skips both of its blocks."""
    assert 2 == Passage(wait_for(1, on_timeout=1, skip_to=2), WON, LOST).begin().answer("next").ask.op


def test_an_event_kept_while_parked_acts_after_the_retry() -> None:
    """Somebody mends the template days later; what happened meanwhile still counts."""
    member = Passage(wait_for(1, on_timeout=2), WON, LOST).begin().answer("park", reason="expression broken")
    member.event(5, after(days=1), (0, 0)).give(Input(6, after(days=2), "retry")).answer("sleep", until=DEADLINE)
    assert Command("act", 1, 0, 0, after(days=1), event=5) == member.ask


def test_a_parked_member_does_not_grow_with_what_happens_meanwhile() -> None:
    """Of a thousand events it keeps a few; the retry asks the store, which knows them all, and any of them can be the answer."""
    member = Passage(wait_for(1, on_timeout=2), WON, LOST).begin().answer("park", reason="expression broken")
    for seq in range(2, 1002):
        member.event(seq, after(minutes=seq), (0, 0))
    assert ("parked", HELD, 1001) == (member.state.status, len(member.state.held), member.state.seq)
    assert len(json.dumps(encode_state(member.state))) < 50 * HELD
    member.give(Input(1002, after(days=2), "retry")).answer("took", seq=900, at=after(minutes=900), choice=0)
    assert Command("act", 1, 0, 0, after(minutes=900), event=900) == member.ask


def test_a_deferred_send_does_not_grow_either_and_one_in_flight_keeps_everything() -> None:
    """What comes during a deferral is in the store before the wait behind it asks; what comes during a command may be too late
    for its answer."""
    member = Passage(Send("hello", ("email",), "t", "lifecycle"), wait_for(2, on_timeout=3), WON, LOST).begin()
    for seq in range(2, 102):
        member.event(seq, after(seconds=seq), (1, 0))
    assert 100 == len(member.state.held)
    member.answer("again", until=after(hours=1)).event(102, after(minutes=30), (1, 0))
    assert (100, 102) == (len(member.state.held), member.state.seq)


def test_an_event_before_begin_is_kept() -> None:
    """Inputs may overtake Begin; none is lost."""
    member = Passage(wait_for(1, on_timeout=2), WON, LOST).event(2, after(days=1), (0, 0)).begin()
    assert 1 == member.answer("sleep", until=DEADLINE).ask.op


def test_a_choice_that_the_wait_does_not_have_raises() -> None:
    """An outcome that names an alternative that isn't there is a bug, not a place."""
    with pytest.raises(ValueError, match="no alternative 3"):
        Passage(wait_for(1, on_timeout=2), WON, LOST).begin().answer("took", seq=5, choice=3)


def test_an_early_event_during_the_waits_own_evaluation_counts() -> None:
    """A clock that runs behind doesn't matter once the step has been reached: the event counts from the step's start."""
    member = Passage(wait_for(1, on_timeout=2, since="step"), WON, LOST).begin()
    assert NOON == member.event(5, after(minutes=-1), (0, 0)).answer("sleep", until=DEADLINE).ask.at


def test_an_event_during_a_deferral_is_held() -> None:
    """While a send waits to be tried again its outcome is open: a click may already be there."""
    send = Send("hello", ("email",), "t", "lifecycle")
    member = Passage(send, wait_for(2, on_timeout=3, since="step"), WON, LOST).begin().answer("again", until=after(hours=1))
    member.event(5, after(minutes=30), (1, 0)).wake(after(hours=1)).answer("next", at=after(minutes=30))
    assert Command("act", 2, 0, 0, after(minutes=30), event=5) == member.answer("sleep", until=DEADLINE).ask


def test_a_deadline_that_moved_is_waited_for_afresh() -> None:
    """A confirmation that finds a later deadline sleeps on; the next one is asked for at the new deadline."""
    member = waiting().wake(DEADLINE).answer("sleep", until=after(days=20))
    assert (False, None, after(days=20)) == (member.state.confirm, member.state.deadline, member.state.wake)
    assert after(days=20) == member.wake(after(days=20)).answer("timeout").ask.at


def test_the_wait_behind_a_timeout_is_not_a_confirmation() -> None:
    """Each wait_for asks first where it stands, then confirms its own deadline."""
    member = Passage(wait_for(1, on_timeout=1), wait_for(2, on_timeout=2, step="g"), WON).begin()
    member.answer("sleep", until=DEADLINE).wake(DEADLINE).answer("timeout")
    assert Command("evaluate", 1, 0, 0, DEADLINE) == member.ask


def test_an_attribute_that_changed_after_the_wait_was_over_does_not_replan_it() -> None:
    """The wait is logically over; the wake that is on its way decides."""
    member = Passage(wait(), WON).begin().answer("sleep", until=DEADLINE)
    member.give(Input(5, DEADLINE + TICK, "replan", ((0, 0),)))
    assert ("waiting", (), DEADLINE) == (member.state.status, member.asked, member.state.wake)


def test_an_end_lets_go_of_what_was_held() -> None:
    """When a held event leads to the end, what came behind it is not kept: ended states are small and final."""
    member = Passage(wait_for(1, on_timeout=1)).begin()
    member.event(5, after(days=1), (0, 0)).event(6, after(days=1), (0, 0)).answer("sleep", until=DEADLINE)
    assert ("ended", (), "record") == (member.state.status, member.state.held, member.ask.kind)


def test_a_wait_that_leads_to_itself_is_another_visit() -> None:
    """Going back counts a visit even when it goes nowhere, so that no key is used twice."""
    member = Passage(wait_for(0, on_timeout=1), LOST).begin().answer("took", seq=5, at=NOON, choice=0)
    assert (0, 1) == (member.ask.op, member.ask.visit)
