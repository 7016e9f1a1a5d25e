"""The steps that people stay in: `wait`, `wait_for` and the wait for a delivery, to operations."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from engine.authoring import shape_steps as shape
from engine.authoring.scopes import Fields, event_fields
from engine.authoring.shapes import time_meant
from engine.authoring.spots import Spot
from engine.core.clock import Duration, format_duration, parse_time
from engine.core.plan import Alternative, Jump, Moment, NextChannel, Op, Send, Wait, WaitFor

if TYPE_CHECKING:
    from engine.authoring.compile_steps import Steps

_TIME = re.compile(r"\d{1,2}:\d{2}\Z")


def wait(build: Steps, step: shape.Wait, spot: Spot) -> None:
    """Appends a wait and its `then` block."""
    inside = spot / "wait"
    follows: tuple[str, ...] = ()
    if isinstance(step.wait, Duration):
        until, on_past, then = Moment(after=step.wait), None, step.then
        about, place = format_duration(step.wait).replace(" ", ""), spot / "then"
    else:
        body = step.wait
        until, follows = _until(build, body, inside)
        on_past, then, about = body.on_past, body.then, "until"
        place = inside / "then" if body.then is not None else spot / "then"
        if body.then is not None and step.then is not None:
            (spot / "then").report("SJ420", "this wait has two then:", "put all steps under one of them", key=True)
        then = then if then is not None else step.then
        if until.expression and on_past is None:
            hint = "add on_past: run (go on at once), skip (leave out what is under then:) or exit"
            (inside / "until").report("SJ416", "this moment comes from data: what if it is over already?", hint)
    own = build.id(step, spot, about, waits=True)
    at = len(build.ops)
    build.ops.append(Jump(-1))
    if then:
        build.block(then, place)
    build.ops[at] = Wait(own, until, step.if_, on_past or "run", len(build.ops), follows)


def _until(build: Steps, body: shape.Until, spot: Spot) -> tuple[Moment, tuple[str, ...]]:
    time_of_day, expression, follows = _moment(build, body.until, spot)
    if expression and body.days:
        (spot / "days").report("SJ420", "days: goes with a time of day, not with a moment from data", "remove it", key=True)
    moment = Moment(
        time_of_day=time_of_day,
        expression=expression,
        days=body.days,
        timezone=body.timezone,
        offset=body.offset,
        jitter=body.jitter,
    )
    return moment, follows


def _moment(build: Steps, until: str, spot: Spot) -> tuple[str | None, str | None, tuple[str, ...]]:
    """The time of day or the expression that `until` writes, and the attributes that the expression follows."""
    if _TIME.match(until):
        try:
            return parse_time(until).strftime("%H:%M"), None, ()
        except ValueError:
            (spot / "until").report("SJ112", f"{until!r} is not a time of day", "write 00:00 to 23:59")
            return "00:00", None, ()
    if meant := time_meant(until):
        (spot / "until").report("SJ112", f"{until!r} is not a time of day", f'write until: "{meant}"')
        return meant, None, ()
    found = (spot / "until").expression(until, build.names, "moment")
    return None, until, tuple(sorted(found.uses.customer - {"*"})) if found else ()


def wait_for(build: Steps, step: shape.WaitFor, spot: Spot) -> None:
    """Appends a wait for events, segments or conditions, with the blocks that follow each of them."""
    inside = spot / "wait_for"
    listed = isinstance(step.wait_for, tuple)
    things: list[tuple[shape.Awaited, Spot, Spot]] = []
    if isinstance(step.wait_for, tuple):
        things = [(thing, inside / i, inside / i) for i, thing in enumerate(step.wait_for)]
    elif isinstance(step.wait_for, shape.Awaited):
        things = [(step.wait_for, inside, inside)]
    else:
        sole = shape.Awaited.model_construct(
            event=step.wait_for, where=step.where, match=step.match, segment=None, if_=None, then=None
        )
        things = [(sole, spot, inside)]
    if not isinstance(step.wait_for, str) and (step.where or step.match):
        (spot / ("where" if step.where else "match")).report(
            "SJ420", "where: and match: belong beside the event: that they are about", "move them there", key=True
        )
    timeout = _timeout(build, step, spot)
    found = [_alternative(build, thing, here, name) for thing, here, name in things]
    about = next((name for a, _ in found if (name := a.event or a.segment)), "condition")
    own = build.id(step, spot, about, waits=True)
    at = len(build.ops)
    build.ops.append(Jump(-1))
    blocks: list[tuple[shape.Steps | None, Spot, Fields | None]] = []
    for (thing, here, _), (_, event) in zip(things, found, strict=True):
        then, place = (thing.then, here / "then") if thing.then is not None else (step.then, spot / "then")
        blocks.append((then, place, event))
    if listed and step.then is not None:
        (spot / "then").report("SJ420", "with a list, then: stands beside each event", "move it there", key=True)
    targets, end = build.arms([*blocks, (step.else_, spot / "else", None)])
    alternatives = tuple(_aimed(a, t) for (a, _), t in zip(found, targets, strict=False))
    build.ops[at] = WaitFor(own, alternatives, timeout, targets[-1], step.if_, step.since, end)


def _aimed(found: Alternative, target: int) -> Alternative:
    return Alternative(target, found.event, found.where, found.correlate, found.segment, found.condition)


def _timeout(build: Steps, step: shape.WaitFor, spot: Spot) -> Moment:
    if isinstance(step.timeout, Duration):
        return Moment(after=step.timeout)
    body = step.timeout
    time_of_day, expression, _ = _moment(build, body.until, spot / "timeout")
    return Moment(time_of_day=time_of_day, expression=expression, days=body.days, timezone=body.timezone, offset=body.offset)


def _alternative(build: Steps, thing: shape.Awaited, spot: Spot, name: Spot) -> tuple[Alternative, Fields | None]:
    """What is waited for, its target still open, and the fields of the event that may end the wait. `name`: where an event's
    name stands when it isn't under `event:`."""
    if sum(x is not None for x in (thing.event, thing.segment, thing.if_)) != 1:
        spot.report("SJ420", "this waits for exactly one of event:, segment: and if:", "make an item of the list of each")
        return Alternative(-1), None
    if thing.event:
        place = name if name is not spot and name.path[:-1] == spot.path else spot / "event"
        event = build.world.event(place, thing.event)
        fields = event_fields(event)
        (spot / "where").expression(thing.where, build.names.looking_at(fields))
        correlate = build.correlate.of(place, event, thing.match)
        return Alternative(-1, thing.event, thing.where, correlate), fields
    if thing.where or thing.match:
        spot.report("SJ420", "where: and match: belong to an event:", "remove them")
    if thing.segment:
        build.world.segment(spot / "segment", thing.segment)
        return Alternative(-1, segment=thing.segment), None
    (spot / "if").expression(thing.if_, build.names)
    return Alternative(-1, condition=thing.if_), None


WAS_SENT = 'vars.last_send.status == "sent"'


def wait_for_delivery(send: Send, timeout: Duration, at: int) -> tuple[Op, ...]:
    """What stands behind a send, from operation `at` on: the wait until the provider says that the message arrived or did not.
    What was not sent is not waited for. With further channels, what did not arrive goes to the next one."""
    further = len(send.channels) > 1
    lost, end = at + 1, at + 1 + further
    told = (("message_delivered", end), ("message_bounced", lost))
    alternatives = tuple(Alternative(target, event, message=send.step) for event, target in told)
    wait = WaitFor(f"{send.step}.delivery", alternatives, Moment(after=timeout), lost, WAS_SENT, "step", end)
    return (wait, NextChannel(at - 1)) if further else (wait,)
