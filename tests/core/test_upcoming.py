"""What time alone will reach: waits as written, acts that can't fail, every round of a repeat; nothing behind a question."""

from __future__ import annotations

from datetime import timedelta

import pytest

from engine.core.clock import Duration
from engine.core.enrollment import Begin, Outcome, State, Wake
from engine.core.interpreter import key
from engine.core.plan import Act, Arm, Branch, Exit, Jump, Loop, Moment, Op, Send, Split, SplitArm, Wait, WaitFor
from engine.core.upcoming import next_send
from tests.core.governing import rome
from tests.core.passage import NOON, Passage, after, plan_of

DAY = Duration(days=1)
SEND = Send("hello", ("email",), "hello", "lifecycle")
WAIT = Wait("wait", Moment(after=DAY))


def reached(*ops: Op) -> tuple[str, object] | None:
    """The send that a customer in Rome who enters at noon reaches, and after how long."""
    plan = plan_of(*ops)
    found = next_send(plan, State(), Begin(1, NOON), "Europe/Rome")
    return None if found is None else (plan.ops[found.op].step, found.at - NOON)


@pytest.mark.parametrize(
    ("ops", "after"),
    [
        ((SEND,), timedelta()),
        ((WAIT, SEND), timedelta(days=1)),
        ((WAIT, WAIT, SEND), timedelta(days=2)),
        ((Wait("wait", Moment(time_of_day="09:00")), SEND), rome("2026-03-03 09:00") - NOON),
        ((Wait("wait", Moment(after=DAY, offset=Duration(seconds=-3600))), SEND), timedelta(hours=23)),
        ((Wait("wait", Moment(after=DAY, offset=Duration(days=-2))), SEND), timedelta()),
        ((Act("note", "set", {}), Act("call", "task", {}), SEND), timedelta()),
        ((Loop("again", 3, 3), SEND, Jump(0)), timedelta()),
        ((Jump(2), Exit("out", "never"), SEND), timedelta()),
        (
            (Wait("wait", Moment(after=DAY, offset=Duration(days=-2)), on_past="skip", skip_to=2), Exit("x", "no"), SEND),
            timedelta(),
        ),
        ((Loop("again", 3, 3), WAIT, Jump(0), SEND), timedelta(days=3)),
    ],
)
def test_what_time_alone_reaches(ops: tuple[Op, ...], after: timedelta) -> None:
    """The send and the sum of the waits before it."""
    assert ("hello", after) == reached(*ops)


@pytest.mark.parametrize(
    "before",
    [
        Branch("branch", (Arm("x", 1),), 1),
        WaitFor("wait", (), Moment(after=DAY), 1),
        Split("split", "ab", (SplitArm("a", 1, 1),)),
        Wait("wait", Moment(after=DAY), condition="x"),
        Wait("wait", Moment(expression="customer.birthday")),
        Wait("wait", Moment(after=DAY, jitter=DAY)),
        Wait("wait", Moment(after=DAY, offset=Duration(days=-2)), on_past="exit"),
        Act("ask", "call", {}),
        Loop("again", 3, 2, until="x"),
        Exit("out", "gone", condition="x"),
        Exit("out", "gone"),
    ],
)
def test_what_may_never_be_reached(before: Op) -> None:
    """Behind a question, a moment from data, a call or an end nothing is certain."""
    assert reached(before, SEND) is None


def test_a_send_with_a_condition_is_not_certain() -> None:
    """Nor is one behind it, which may be reached earlier."""
    conditional = Send("maybe", ("email",), "hello", "lifecycle", condition="x")
    assert reached(conditional, SEND) is None


def test_a_plan_without_a_send_reaches_none() -> None:
    """It ends, or goes back to where it was."""
    assert reached(WAIT) is None
    assert reached(WAIT, Jump(0)) is None
    assert reached(Loop("again", 1_000, 3), Act("note", "set", {}), Jump(0), SEND) is None, "too far to look"


def test_the_later_rounds_of_a_repeat_count_too() -> None:
    """From the wait at its end on, under the key that the round's message will have."""
    ops = (Loop("again", 3, 4), SEND, WAIT, Jump(0))
    member = Passage(*ops).begin().answer("next", at=NOON)
    asleep = Outcome("sleep", member.ask.op, member.ask.visit, 0, until=after(days=1))
    coming = next_send(member.plan, member.state, asleep, "Europe/Rome")
    member.give(asleep).give(Wake(), after(days=1))
    assert coming == member.ask
    assert key(7, member.plan, member.ask) == "7/hello/1/0"
