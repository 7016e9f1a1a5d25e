"""Journeys to plans: which operations a step becomes, where they lead, and what the shared files become."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from engine.authoring.graph import mermaid
from engine.authoring.model_segments import Did, Either, Every, Holds, InSegment, Not, Segments
from engine.authoring.model_tracking import Tracking
from engine.authoring.project import Compiled, load_project
from engine.core.clock import Duration
from engine.core.plan import (
    Act,
    Arm,
    Branch,
    Exit,
    Jump,
    Loop,
    Moment,
    NextChannel,
    Send,
    Split,
    SplitArm,
    Wait,
    WaitFor,
    Window,
    plan_from_json,
    plan_to_json,
)
from engine.core.policy import Cap, SegmentLimit, policy_from_json, policy_to_json
from engine.core.wire import digest
from tests.authoring.conftest import CHANNELS, HEAD, POLICY

Compiling = Callable[..., Compiled]


def test_a_wait_and_a_send(compiled: Compiling) -> None:
    """A duration is a moment after the step's start; a send carries its channels, tier and what was written."""
    steps = "- wait: 3d\n- {send: email, template: hello, topic: news, fallback: [sms], with: {n: 00118}, expires: 4d}"
    ops = compiled(steps).plans["j"].ops
    assert ops == (
        Wait("wait.3d", Moment(after=Duration(days=3)), skip_to=1),
        Send("send.hello", ("email", "sms"), "hello", "lifecycle", "news", values={"n": "00118"}, expires=Duration(days=4)),
    )


def test_a_wait_until_a_date_follows_the_attributes_it_reads(compiled: Compiling) -> None:
    """`on_past: skip` leads behind the `then` block, and the wait names what would move it."""
    steps = "- wait: {until: customer.renews_on, offset: -5d, on_past: skip, then: [{exit: due}]}\n- exit: late"
    ops = compiled(steps).plans["j"].ops
    moment = Moment(expression="customer.renews_on", offset=Duration(days=-5))
    assert ops[0] == Wait("wait.until", moment, on_past="skip", skip_to=2, follows=("renews_on",))
    assert ("due", "late") == tuple(op.reason for op in ops if isinstance(op, Exit))


def test_a_wait_until_a_time_of_day(compiled: Compiling) -> None:
    """Quoted or not, "9:30" is a time of day, and stays text."""
    op = compiled("- wait: {until: 9:30, days: [mon, fri], timezone: Europe/Rome, jitter: 10m}").plans["j"].ops[0]
    expected = Moment(time_of_day="09:30", days=("mon", "fri"), timezone="Europe/Rome", jitter=Duration(seconds=600))
    assert isinstance(op, Wait)
    assert expected == op.until


def test_wait_for_leads_to_then_else_and_behind(compiled: Compiling) -> None:
    """The event leads to `then`, the timeout to `else`, both to the next step; the key correlates."""
    steps = (
        "- wait_for: review_submitted\n  where: event.rating >= 4\n  timeout: 10d\n"
        "  then: [{task: sales, title: Good}]\n  else: [{task: sales, title: None came}]\n- exit: done"
    )
    compiled_project = compiled(steps)
    ops = compiled_project.plans["j"].ops
    found = ops[0]
    assert isinstance(found, WaitFor)
    assert ("review_submitted", "event.rating >= 4", True, 1) == (
        found.alternatives[0].event,
        found.alternatives[0].where,
        found.alternatives[0].correlate,
        found.alternatives[0].target,
    )
    assert (3, 4) == (found.on_timeout, found.skip_to)
    assert Jump(4) == ops[2]
    assert any("review_submitted matches the same order_id" in note for note in compiled_project.notes)


def test_wait_for_a_list_gives_each_its_block(compiled: Compiling) -> None:
    """Events, segments and conditions stand beside each other; one without `then` goes on behind them."""
    steps = (
        "- wait_for:\n    - {event: order_refunded, match: any, then: [{exit: refunded}]}\n    - segment: vip\n"
        "    - {if: customer.orders > 3, then: [{exit: many}]}\n  timeout: {until: entry.occurred_at + days(3), offset: 1h}\n"
        "  since: step\n- exit: done"
    )
    op = compiled(steps).plans["j"].ops[0]
    assert isinstance(op, WaitFor)
    assert [
        (1, "order_refunded", None, None, False),
        (4, None, "vip", None, False),
        (3, None, None, "customer.orders > 3", False),
    ] == [(a.target, a.event, a.segment, a.condition, a.correlate) for a in op.alternatives]
    assert Moment(expression="entry.occurred_at + days(3)", offset=Duration(seconds=3600)) == op.timeout
    assert ("step", 4, 4) == (op.since, op.on_timeout, op.skip_to)


def test_branch_split_and_repeat(compiled: Compiling) -> None:
    """Arms lead into blocks that jump behind; a holdout goes behind the split; a repeat's body jumps back."""
    steps = (
        "- branch:\n    - {if: entry.total is none, then: [{exit: a}]}\n    - else: [{exit: b}]\n"
        "- split: test\n  holdout: 10%\n  arms: [{name: x, weight: 3, then: [{exit: c}]}, {name: y}]\n"
        "- repeat: {times: 2, every: 1d, steps: [{task: sales, title: T}]}\n- exit: end"
    )
    ops = compiled(steps).plans["j"].ops
    assert ops[0] == Branch("branch", (Arm("entry.total is none", 1),), 3, None, 4)
    assert ops[4] == Split("split.test", "test", (SplitArm("x", 3.0, 5), SplitArm("y", 1.0, 6)), 0.1, None, 6)
    assert ops[6] == Loop("repeat", 2, 10)
    assert ops[8] == Wait("repeat.every", Moment(after=Duration(days=1)), skip_to=9)
    assert (Jump(6), Exit("exit.end", "end")) == ops[9:]


def test_waiting_for_delivery(compiled: Compiling) -> None:
    """It is a wait for what is told of this step's own message, if it was sent: delivered, bounced and the timeout all go on."""
    ops = compiled("- {send: email, id: hi, template: hello, topic: news, wait_for_delivery: 1h}\n- exit: x").plans["j"].ops
    found = ops[1]
    assert isinstance(found, WaitFor)
    assert found.condition == 'vars.last_send.status == "sent"'
    assert ("hi.delivery", "step", 2, Duration(seconds=3600)) == (found.step, found.since, found.on_timeout, found.timeout.after)
    assert [("message_delivered", "hi", 2), ("message_bounced", "hi", 2)] == [
        (a.event, a.message, a.target) for a in found.alternatives
    ]


def test_what_is_not_delivered_goes_by_the_next_channel(compiled: Compiling) -> None:
    """With a fallback, a bounce and the timeout lead back to the send; what arrived, or was never sent, goes on behind."""
    steps = "- {send: email, id: hi, template: hello, topic: news, fallback: [sms], wait_for_delivery: 1h}\n- exit: x"
    plan = compiled(steps).plans["j"]
    found = plan.ops[1]
    assert isinstance(found, WaitFor)
    assert [("message_delivered", 3), ("message_bounced", 2)] == [(a.event, a.target) for a in found.alternatives]
    assert (2, 3, NextChannel(0)) == (found.on_timeout, found.skip_to, plan.ops[2])
    assert plan.awaits_delivery(0)
    assert "next channel" in mermaid(plan)


def test_acts_keep_their_fields(compiled: Compiling) -> None:
    """Literals take the types that tracking.yaml declares; templates and durations stay text."""
    steps = (
        "- set: {customer.first_name: 00118, vars.x: 1}\n"
        '- {task: sales, title: "{{ customer.first_name }}", due: 1d}\n'
        "- {call: POST https://a.example/x, json: {a: no}, into: vars.r, timeout: 5s}\n"
        "- {emit: review_submitted, with: {rating: 4, order_id: 7}, to: \"'c' ~ vars.r.id\"}\n"
        "- {start: other, with: {order_id: 1}}"
    )
    other = HEAD.replace("journey: j", "journey: other") + "- exit: x"
    acts = [op for op in compiled(steps, other=other).plans["j"].ops if isinstance(op, Act)]
    assert ["set", "task", "call", "emit", "start"] == [a.verb for a in acts]
    assert {"customer.first_name": "00118", "vars.x": "1"} == acts[0].fields
    assert ("1d", "sales") == (acts[1].fields["due"], acts[1].fields["queue"])
    assert ("POST", {"a": "no"}, "5s", "retry") == tuple(acts[2].fields[k] for k in ("method", "json", "timeout", "on_error"))
    assert {"event": "review_submitted", "with": {"rating": 4, "order_id": "7"}, "to": "'c' ~ vars.r.id"} == acts[3].fields
    assert {"journey": "other", "with": {"order_id": "1"}} == acts[4].fields


def test_the_head_of_a_journey(write: Callable[..., Path]) -> None:
    """Entries, exits, goal, holdout and dates become the plan's; naive dates are in policy's zone."""
    journey = """\
journey: j
tier: lifecycle
status: closed
holdout: 10%
starts: 2026-12-01 09:00
ends: 2027-01-01
enter:
  - {event: order_completed, key: order_id, where: event.category == "food", again: after 30d, while_active: restart}
  - {api: true, key: order_id, once_per: customer.plan}
exit: {event: order_refunded}
goal: {event: order_completed, match: any, within: 60d, value: event.total, exit: true}
steps: [{exit: x}]
"""
    plan = load_project(write({"journeys/j.yaml": journey}), CHANNELS).plans["j"]
    first, second = plan.entries
    assert ("event", "after", Duration(days=30), "restart") == (first.kind, first.again, first.again_after, first.while_active)
    assert ("api", "always", "customer.plan") == (second.kind, second.again, second.once_per)
    assert ("order_id", 0.1, "closed") == (plan.key, plan.holdout, plan.status)
    assert ("2026-12-01T09:00:00+00:00", "2027-01-01T00:00:00+00:00") == (plan.starts, plan.ends)
    assert [("order_refunded", True)] == [(x.reason, x.correlate) for x in plan.exits]
    assert plan.goal is not None
    assert (False, Duration(days=60), True) == (plan.goal.correlate, plan.goal.within, plan.goal.exit)
    assert frozenset({"order_completed", "order_refunded"}) == plan.events()


def test_policy(compiled: Compiling) -> None:
    """Rolling windows have a length, calendar ones don't; a hold is named after what opens it; it survives JSON."""
    policy = """\
tiers: [{name: service, skip: [consent, caps], only: [service/*]}, {name: lifecycle}]
timezone: Europe/Rome
caps: [{name: day, limit: 1, per: day}, {name: roll, limit: 3, per: 7d, channel: sms, tiers: [lifecycle]}]
holds:
  - {while_in: j, pause: [lifecycle], at_most: 14d}
  - {from: order_refunded, until: review_submitted, key: order_id, pause: [lifecycle], at_most: 1d}
quiet_hours: [{from: 21:00, to: "08:00", channels: [sms], if: customer.plan == "pro"}]
consent: {email: {soft: {after: order_completed, topics: [news]}, double_opt_in: true}}
topics: [news]
senders: {sms: {from: 00118}}
holdout: {name: global, share: 2%, tiers: [lifecycle], salt: a1}
"""
    found = compiled(policy=policy).policy
    assert (Cap("day", 1, "day"), Cap("roll", 3, "rolling", Duration(days=7), ("lifecycle",), ("sms",))) == found.caps
    assert ["j", "order_refunded"] == [h.name for h in found.holds]
    assert ("21:00", "08:00", 'customer.plan == "pro"') == (
        found.quiet_hours[0].start,
        found.quiet_hours[0].end,
        found.quiet_hours[0].condition,
    )
    assert {"from": "00118"} == found.senders[0].values
    assert found == policy_from_json(policy_to_json(found))


def test_caps_on_tags_and_segments_and_gaps(compiled: Compiling) -> None:
    """A gap is one message in every window of its length; limits keep their order; a journey's tags stand before a send's."""
    policy = """\
tiers: [{name: lifecycle}]
topics: [news]
tags: [offer, survey]
caps:
  - name: weekly
    limit: 3
    per: 7d
    tags: [offer]
    segments: [vip]
    limits: [{segment: vip, limit: 5}]
    own_limit: customer.orders
    own_up_to: 7
gaps: [{name: breather, gap: 4h, channel: sms}]
"""
    found = compiled(policy=policy).policy
    week, four = Duration(days=7), Duration(seconds=14_400)
    assert found.caps == (
        Cap("weekly", 3, "rolling", week, (), (), (), (), ("offer",), ("vip",), (SegmentLimit("vip", 5),), "customer.orders", 7),
        Cap("breather", 1, "rolling", four, channels=("sms",), gap=True),
    )
    assert found == policy_from_json(policy_to_json(found))
    send = "- {send: email, template: hello, topic: news, tags: [offer, survey]}\n- {send: sms, template: hello, topic: news}"
    plan = compiled(policy=policy, j="tags: [survey]\n" + HEAD + send).plans["j"]
    assert [("survey", "offer"), ("survey",)] == [op.tags for op in plan.ops if isinstance(op, Send)]
    assert plan == plan_from_json(plan_to_json(plan))


def test_a_plan_and_a_policy_of_before_there_were_tags_can_be_read(compiled: Compiling) -> None:
    """Stored documents stay what they are: fields that they don't have yet mean nothing, and a plan keeps its hash."""
    found = compiled("- {send: email, template: hello, topic: news}", policy=POLICY + "caps: [{name: a, limit: 1, per: day}]\n")
    body = plan_to_json(found.plans["j"])
    for op in body["ops"]:
        op.pop("tags", None)
    older = plan_from_json(body)
    assert older == found.plans["j"]
    assert older.hash == plan_from_json(body).hash == digest(body)
    rules = policy_to_json(found.policy)
    rules.pop("tags")
    for name in ("tags", "segments", "limits", "own_limit", "own_up_to", "gap"):
        rules["caps"][0].pop(name)
    assert replace(found.policy, tags=()) == policy_from_json(rules)


def test_segments_stand_behind_those_they_refer_to(compiled: Compiling) -> None:
    """Trees of conditions, in an order in which they can be decided; they survive JSON."""
    segments = """\
segments:
  a: {all: [{segment: b}, {not: {if: 'customer.plan == "pro"'}}]}
  b: {any: [{did: order_completed, at_least: 2, within: 60d, where: event.total > 10}, {did_not: order_refunded}]}
stages: [{stage: old, segment: a}, {stage: lead}]
"""
    found = compiled(segments=segments).segments
    did = Did("order_completed", 2, Duration(days=60), "event.total > 10")
    assert [
        ("b", Either((did, Not(Did("order_refunded"))))),
        ("a", Every((InSegment("b"), Not(Holds('customer.plan == "pro"'))))),
    ] == [(s.name, s.condition) for s in found.segments]
    assert [("old", InSegment("a")), ("lead", None)] == [(s.name, s.condition) for s in found.stages]
    assert found == Segments.from_json(found.to_json())


def test_tracking_gives_computed_attributes_types(compiled: Compiling) -> None:
    """What is computed has a type of its own, that of the property it is made of where it is made of one; it survives JSON."""
    tracking = """\
events:
  order_completed:
    properties: {order_id: string, total: number, category: [food, skincare]}
    required: [order_id]
    retention: 400d
computed:
  spent: {sum: event.total, of: order_completed, within: 30d}
  orders: {count: order_completed}
  last_at: {latest: event.occurred_at, of: order_completed}
  kinds: {last: 5, of: order_completed, value: event.category}
  gap: {median_gap_days: order_completed, at_least: 3, default: 30}
  liked: {most_frequent: event.category, of: order_completed}
"""
    journey = HEAD + "- exit: x"
    found = compiled(tracking=tracking, j=journey, segments="segments: {}\n").tracking
    assert ["number", "integer", "datetime", "[[food, skincare]]", "number", "[food, skincare]"] == [
        c.type.describe() for c in found.computed
    ]
    assert (3, 30, False) == (found.computed[4].at_least, found.computed[4].default, found.computed[4].type.optional)
    assert found == Tracking.from_json(found.to_json())


def test_a_plan_is_sealed_and_the_same_for_the_same_text(compiled: Compiling) -> None:
    """The hash is of the content: read back it is the same, and comments don't change it."""
    first = compiled("- wait: 3d").plans["j"]
    second = compiled("- wait: 3d   # a comment").plans["j"]
    assert first.hash == second.hash
    assert first.hash == plan_from_json(plan_to_json(first)).hash
    assert first.hash != compiled("- wait: 4d").plans["j"].hash


def test_a_send_keeps_window_and_condition(compiled: Compiling) -> None:
    """The send's own window is local wall-clock time."""
    steps = (
        '- {send: sms, if: not segment("vip"), template: hello, topic: news, '
        'window: {from: 9:00, to: "18:00", days: [sat]}, on_defer: skip}'
    )
    op = compiled(steps).plans["j"].ops[0]
    assert isinstance(op, Send)
    assert ('not segment("vip")', Window("09:00", "18:00", ("sat",)), "skip") == (op.condition, op.window, op.on_defer)


def test_the_drawing_names_every_step(compiled: Compiling) -> None:
    """Arrows go to where jumps lead, and what would break Mermaid is escaped."""
    steps = '- branch:\n    - {if: entry.category == "food", then: [{wait: 3d}]}\n- {send: email, template: hello, topic: news}'
    drawn = mermaid(compiled(steps).plans["j"])
    assert drawn.startswith("flowchart TD\n")
    assert 'n0 -->|"entry.category == #quot;food#quot;"| n1' in drawn
    assert 'n0 -->|"else"| n2' in drawn
    assert 'n1(["wait 3d"])' in drawn
    assert 'n2["email: hello"]' in drawn
    assert "n2 --> done" in drawn
