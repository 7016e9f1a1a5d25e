"""A send that must arrive: its channels one after the other, each awaited, none twice."""

from __future__ import annotations

from datetime import timedelta

import pytest

from engine.core.interpreter import key, reissue
from engine.core.plan import Act, Alternative, Jump, Loop, NextChannel, Op, Plan, Send, WaitFor, plan_from_json, plan_to_json
from tests.core.passage import A_DAY, NOON, Passage, after, plan_of

CHANNELS = ("push", "sms", "email")
DELIVERED, BOUNCED = 0, 1


def block(at: int = 0) -> tuple[Op, ...]:
    """What the compiler writes for such a send at operation `at`."""
    told = (Alternative(at + 3, "message_delivered", message="hi"), Alternative(at + 2, "message_bounced", message="hi"))
    wait = WaitFor("hi.delivery", told, A_DAY, at + 2, "sent", "step", at + 3)
    return Send("hi", CHANNELS, "t", "lifecycle"), wait, NextChannel(at)


def sent(*ops: Op) -> Passage:
    """A member whose first message has been handed over, at noon, and whose delivery is awaited for a day."""
    member = Passage(*(ops or (*block(), Act("then", "set", {})))).begin()
    return member.answer("next", at=NOON).answer("sleep", until=after(days=1))


def in_vain(member: Passage, days: int) -> Passage:
    """Its delivery is awaited until the deadline, `days` after noon, and nobody told anything."""
    return member.wake(after(days=days)).answer("timeout", at=after(days=days))


def asked(member: Passage) -> tuple[str, str]:
    """The key and channel of what it asks for."""
    return key(7, member.plan, member.ask), member.ask.channel


def test_what_arrived_goes_no_other_way() -> None:
    """A delivery that is told in time leads behind the send."""
    member = sent().event(2, after(hours=1), (1, DELIVERED))
    assert "then" == getattr(member.plan.ops[member.ask.op], "step", "")
    assert (0, after(hours=1)) == (member.ask.attempt, member.ask.at)


def test_what_does_not_arrive_goes_by_each_channel_once_and_then_on() -> None:
    """Each has a key of its own under the same visit, begins at its deadline, and is the command that a rebuilt state asks
    for."""
    member = sent()
    for days, channel in ((1, "sms"), (2, "email")):
        in_vain(member, days)
        assert (f"7/hi/0/{days}", channel) == asked(member)
        assert (after(days=days), member.ask) == (member.ask.at, reissue(member.plan, member.state, NOON))
        member.answer("next", at=after(days=days)).answer("sleep", until=after(days=days + 1))
    in_vain(member, 3)
    assert ("7/then/0/0", "") == asked(member)


def test_a_bounce_is_not_waited_out() -> None:
    """The next channel begins when the bounce is told; a delivery on the first that comes late then ends the wait for the
    second."""
    member = sent().event(2, after(minutes=1), (1, BOUNCED))
    assert ("7/hi/0/1", "sms") == asked(member)
    member.answer("next", at=after(minutes=1)).answer("sleep", until=after(days=1))
    assert ("7/then/0/0", "") == asked(member.event(3, after(minutes=9), (1, DELIVERED)))


def test_a_channel_that_cannot_be_used_is_passed_over_at_once() -> None:
    """`fallback` in between needs no wait; where nothing was sent at the end, nothing is waited for."""
    member = in_vain(sent(), 1).answer("fallback")
    assert ("7/hi/0/2", "email") == asked(member)
    member.answer("next")
    assert ("evaluate", 1) == (member.ask.kind, member.ask.op)
    assert ("7/then/0/0", "") == asked(member.answer("goto", choice=3))


@pytest.mark.parametrize(("seconds", "taken"), [(30, True), (120, False)])
def test_a_providers_clock_may_be_a_little_behind(seconds: int, taken: bool) -> None:
    """What is told while the send is still under way counts, also where it seems to be older than the handover by less than a
    minute."""
    member = Passage(*block(), Act("then", "set", {})).begin(after(hours=-9))
    member.event(2, NOON - timedelta(seconds=seconds), (1, DELIVERED))
    member.answer("next", at=NOON).answer("sleep", until=after(days=1))
    assert taken == (member.state.status == "running")


def test_each_round_of_a_repeat_tries_every_channel_anew() -> None:
    """Keys never come twice."""
    member = sent(Loop("r", 2, 5), *block(1), Jump(0))
    keys = []
    for day in range(1, 7):
        in_vain(member, day)
        if member.asked and member.ask.kind == "deliver":
            keys.append(asked(member)[0])
            member.answer("next", at=after(days=day)).answer("sleep", until=after(days=day + 1))
    assert ["7/hi/0/1", "7/hi/0/2", "7/hi/1/0", "7/hi/1/1", "7/hi/1/2"] == keys
    assert "ended" == member.state.status


def test_plans_from_before_keep_their_hash() -> None:
    """A plan without such a send is written as it always was; one with it is read back whole."""
    old = plan_of(WaitFor("w", (Alternative(1, "e"),), A_DAY, 1))
    body = plan_to_json(old)
    assert "message" not in body["ops"][0]["alternatives"][0]
    new = plan_of(*block())
    found: Plan = plan_from_json(plan_to_json(new))
    assert new.ops == found.ops
