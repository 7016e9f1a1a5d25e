"""How an enrollment walks its plan: control operations, sends, waits, ends, parking."""

from __future__ import annotations

from datetime import timedelta

import pytest

from engine.core.enrollment import Begin, Command, Input, Outcome, State, Wake
from engine.core.interpreter import advance, key, park, reissue
from engine.core.plan import Act, Arm, Branch, Exit, Jump, Loop, Send, Split, SplitArm
from engine.core.walk import ENDLESS
from tests.core.passage import NOON, Passage, after, wait, wait_for

SEND = Send("hello", ("email", "push"), "t", "lifecycle")
ACT = Act("note", "set", {"vars.x": 1})


def test_it_begins_when_its_entry_occurred() -> None:
    """The first step starts at the time of the entry, not when the worker got to it."""
    member = Passage(SEND).give(Begin(1, NOON), after(hours=3))
    assert Command("deliver", 0, 0, 0, NOON, channel="email") == member.ask
    assert 1 == member.state.seq


def test_a_send_goes_on_at_its_handover() -> None:
    """The step after a send starts when the message was handed over."""
    member = Passage(SEND, ACT).begin().answer("next", at=after(minutes=5))
    assert Command("act", 1, 0, 0, after(minutes=5)) == member.ask


def test_an_outcome_without_a_time_keeps_the_steps_own() -> None:
    """A branch takes no time."""
    member = Passage(Branch("b", (Arm("x", 2),), 1), SEND, ACT).begin().answer("goto", choice=2)
    assert Command("act", 2, 0, 0, NOON) == member.ask


def test_falling_off_the_end_completes() -> None:
    """After the last operation the enrollment has ended as completed, and the store is told."""
    member = Passage(ACT).begin().answer("next", at=after(minutes=1))
    assert ("ended", "completed") == (member.state.status, member.state.reason)
    assert Command("record", 1, 0, 0, after(minutes=1), status="ended", reason="completed") == member.ask


@pytest.mark.parametrize("condition", [None, "x"])
def test_an_exit_leaves_with_its_reason(condition: str | None) -> None:
    """With a condition an exit is asked for first; either way its own reason is recorded."""
    member = Passage(Exit("x", "unhappy", condition), ACT).begin()
    if condition:
        assert "evaluate" == member.ask.kind
        member.answer("exit")
    assert ("record", "ended", "unhappy") == (member.ask.kind, member.ask.status, member.ask.reason)


def test_an_exit_whose_condition_is_false_is_passed() -> None:
    """The enrollment goes on behind it."""
    assert "act" == Passage(Exit("x", "unhappy", "x"), ACT).begin().answer("next").ask.kind


@pytest.mark.parametrize("skipped", [Branch("b", (), 1, "x", 2), Split("b", "b", (SplitArm("a", 1, 1),), 0, "x", 2)])
def test_a_skipped_fork_goes_on_behind_itself(skipped: Branch | Split) -> None:
    """`if: false` on a branch or split skips its arms."""
    assert 2 == Passage(skipped, SEND, ACT).begin().answer("next").ask.op


def test_fallbacks_come_in_order_and_then_the_next_step() -> None:
    """Each channel is an attempt of the same step; behind the last one it is dropped. The next send starts afresh."""
    member = Passage(SEND, Send("more", ("sms",), "t", "lifecycle")).begin().answer("fallback")
    assert Command("deliver", 0, 0, 1, NOON, channel="push") == member.ask
    member.answer("fallback")
    assert Command("deliver", 1, 0, 0, NOON, channel="sms") == member.ask


@pytest.mark.parametrize("op", [SEND, ACT, wait(), wait_for(1, on_timeout=1), Loop("r", 2, 1, until="x")])
def test_again_issues_the_same_command_under_the_same_key(op: object) -> None:
    """What was deferred sleeps until its time and then asks for exactly what it asked for before."""
    member = Passage(op).begin()  # type: ignore[arg-type] # the list mixes operations
    first = member.ask
    member.answer("again", until=after(hours=2))
    assert ("waiting", after(hours=2), ()) == (member.state.status, member.state.wake, member.asked)
    assert () == member.wake(after(hours=1)).asked
    assert first == member.wake(after(hours=2)).ask


def test_a_release_tries_a_deferred_send_at_once() -> None:
    """A hold that ends, or a slot that comes free, doesn't wait for the time that was planned."""
    member = Passage(SEND).begin()
    first = member.ask
    member.answer("again", until=after(days=2)).give(Input(2, after(hours=1), "again"))
    assert (first, None) == (member.ask, member.state.wake)


def test_a_release_that_crosses_the_outcome_is_not_lost() -> None:
    """Released while the gates were deciding to defer: decided again, once."""
    member = Passage(SEND).begin()
    first = member.ask
    member.give(Input(2, NOON, "again")).answer("again", until=after(days=2))
    assert first == member.ask
    assert () == member.answer("again", until=after(days=2)).asked


def test_a_wait_ends_when_it_is_due_not_when_it_is_handled() -> None:
    """The step behind a wait starts at the wake's time, however late the worker is."""
    member = Passage(wait(), ACT).begin().answer("sleep", until=after(days=3)).wake(after(days=4))
    assert Command("act", 1, 0, 0, after(days=3)) == member.ask


def test_a_wake_before_its_time_is_ignored() -> None:
    """A stale timer changes nothing."""
    member = Passage(wait(), ACT).begin().answer("sleep", until=after(days=3))
    before = member.state
    assert (before, ()) == advance(member.plan, before, Wake(), after(days=3) - timedelta(microseconds=1))


def test_a_moment_that_is_over_still_waits_for_its_wake() -> None:
    """A sleep into the past ends at the step's own start: time doesn't go back."""
    member = Passage(wait(), ACT).begin().answer("sleep", until=after(days=-1))
    assert ("waiting", NOON) == (member.state.status, member.state.wake)
    assert NOON == member.wake(NOON).ask.at


def test_a_skipped_wait_skips_its_block() -> None:
    """`on_past: skip` goes where the outcome says."""
    assert 2 == Passage(wait(skip_to=2), SEND, ACT).begin().answer("goto", choice=2).ask.op


def test_a_changed_attribute_replans_the_wait_it_concerns() -> None:
    """The wait is evaluated again from the same start; another wait's attribute changes nothing."""
    member = Passage(wait(), ACT).begin()
    first = member.ask
    member.answer("sleep", until=after(days=30))
    assert () == member.give(Input(2, after(days=1), "replan", ((5, 0),))).asked
    assert first == member.give(Input(3, after(days=1), "replan", ((0, 0),))).ask
    assert after(days=9) == member.answer("sleep", until=after(days=9)).state.wake


def test_a_replan_that_crosses_the_outcome_is_not_lost() -> None:
    """The attribute changed while the old value was being looked at: looked at again."""
    member = Passage(wait(), ACT).begin().give(Input(2, NOON, "replan", ((0, 0),))).answer("sleep", until=after(days=30))
    assert "evaluate" == member.ask.kind


def test_a_counted_repeat_is_walked_without_asking() -> None:
    """`times: 3` runs its body three times; each round is a visit, so that no key is used twice."""
    member = Passage(Loop("r", 3, 3), ACT, Jump(0), SEND).begin()
    keys = []
    while member.ask.kind == "act":
        keys.append(key(7, member.plan, member.ask))
        member.answer("next")
    assert ["7/note/0/0", "7/note/1/0", "7/note/2/0"] == keys
    assert (3, ()) == (member.ask.op, member.state.loops)


def test_a_repeat_until_asks_before_every_round() -> None:
    """`until` is looked at with the rounds done so far, and never after the last round."""
    member = Passage(Loop("r", 2, 3, until="x"), ACT, Jump(0), SEND).begin()
    assert ("evaluate", 0) == (member.ask.kind, member.ask.rounds)
    member.answer("next").answer("next")
    assert ("evaluate", 1) == (member.ask.kind, member.ask.rounds)
    assert 3 == member.answer("next").answer("next").ask.op


def test_a_repeat_with_a_condition_asks_once() -> None:
    """`if:` on a repeat decides whether it is entered, not each round."""
    member = Passage(Loop("r", 2, 3, condition="x"), ACT, Jump(0), SEND).begin()
    assert ("evaluate", 0) == (member.ask.kind, member.ask.op)
    assert 1 == member.answer("next").ask.op
    assert 1 == member.answer("next").ask.op
    assert 3 == member.answer("next").ask.op


def test_an_inner_repeat_starts_afresh_in_every_outer_round() -> None:
    """Two by two rounds are four."""
    member = Passage(Loop("o", 2, 5), Loop("i", 2, 4), ACT, Jump(1), Jump(0)).begin()
    rounds = 0
    while member.ask.kind == "act":
        rounds += 1
        member.answer("next")
    assert (4, "ended") == (rounds, member.state.status)


def test_a_circle_that_asks_for_nothing_parks() -> None:
    """A plan that would be walked for ever parks its member, says why, and does so again after a retry."""
    member = Passage(Jump(0)).begin()
    assert ("parked", ENDLESS) == (member.state.status, member.ask.reason)
    assert ("parked", ENDLESS) == (member.give(Input(2, NOON, "retry")).state.status, member.ask.reason)


def test_a_parked_member_retries_the_command_that_failed() -> None:
    """The reason is recorded; `retry` asks again under the same key, also in the middle of a repeat."""
    member = Passage(Loop("r", 3, 3, until="x"), ACT, Jump(0)).begin().answer("next").answer("next")
    failed = member.ask
    assert (0, 1) == (failed.op, failed.rounds)
    member.answer("park", reason="template broken")
    assert Command("record", 0, 1, 0, NOON, status="parked", reason="template broken") == member.ask
    assert failed == member.give(Input(2, NOON, "retry")).ask
    assert ("running", "") == (member.state.status, member.state.reason)


def test_a_retry_means_nothing_unless_parked() -> None:
    """Neither a running nor a waiting member is disturbed by one."""
    member = Passage(wait()).begin().give(Input(2, NOON, "retry"))
    assert ("running", (), ()) == (member.state.status, member.asked, member.state.held)
    assert () == member.answer("sleep", until=after(days=1)).give(Input(3, NOON, "retry")).asked


def test_a_driver_can_park_a_member_that_has_not_begun() -> None:
    """What failed before the start is parked at `now` and can be retried; an ended one stays ended."""
    member = Passage(ACT)
    member.state, (record,) = park(member.state, "plan missing", NOON)
    assert ("parked", NOON) == (record.status, record.at)
    assert "act" == member.give(Input(2, NOON, "retry")).ask.kind
    gone = State(status="ended", reason="stopped")
    assert (gone, ()) == park(gone, "plan missing", NOON)


def test_a_stop_ends_before_the_beginning_too() -> None:
    """A stop that comes before Begin ends; the Begin behind it is ignored."""
    member = Passage(ACT).give(Input(2, NOON, "stop", reason="erased")).begin()
    assert ("ended", "erased", ()) == (member.state.status, member.state.reason, member.asked)


def test_a_second_begin_is_ignored() -> None:
    """Begin counts once, whatever its number."""
    member = Passage(ACT).begin()
    before = member.state
    assert (before, ()) == advance(member.plan, before, Begin(9, after(days=1)), NOON)


@pytest.mark.parametrize("kind", ["fallback", "took", "timeout", "sleep", "again"])
def test_an_outcome_that_does_not_fit_raises(kind: str) -> None:
    """An act can't time out: that is a bug of the driver, who parks the member."""
    with pytest.raises(ValueError, match="operation 0"):
        Passage(ACT).begin().answer(kind)


def test_reissue_builds_the_command_in_flight_from_the_state_alone() -> None:
    """For every kind of command; nothing is in flight in a state that isn't running."""
    member = Passage(SEND).begin().answer("fallback")
    assert member.ask == reissue(member.plan, member.state, after(days=1))
    assert None is reissue(member.plan, member.answer("again", until=after(days=2)).state, NOON)


def test_a_key_names_enrollment_step_visit_and_attempt() -> None:
    """A place without a step of its own is named by its number."""
    member = Passage(SEND).begin().answer("fallback")
    assert "7/hello/0/1" == key(7, member.plan, member.ask)
    assert "7/#1/0/0" == key(7, member.plan, member.answer("next").ask)


def test_an_outcome_counts_once() -> None:
    """The answer to a command that has been answered is stale."""
    member = Passage(SEND, ACT).begin().answer("next", at=NOON)
    before = member.state
    assert (before, ()) == advance(member.plan, before, Outcome("next", 0, 0, 0, NOON), NOON)
